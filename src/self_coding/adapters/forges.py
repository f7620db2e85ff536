"""Requests to merge at a forge, over its REST API: opened, looked at, closed, never merged.

One table of forges. The token is what git's credential helpers answer for the forge's address; it
goes into a header of the one request and nowhere else, and no redirect takes it along.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from self_coding.adapters import remote_git
from self_coding.adapters.git import decode
from self_coding.errors import ConfigError, RemoteUnreachableError

_MOST = 4 << 20  # bytes of an answer


@dataclass(frozen=True, kw_only=True)
class Forge:
    """How one kind of forge is spoken to.

    `api` is where its API is, from the host; `place` where requests are, `one` a single one;
    `source` and `target` are its words for the branches, `text` for the description, `number` for
    what counts the requests of a project. `closing` is how one is closed, by `method`. `scheme` is
    what stands before the token.
    """

    api: str
    place: str
    source: str
    target: str
    text: str
    number: str
    find: str
    method: str
    closing: Mapping[str, str]
    hosts: tuple[str, ...]
    scheme: str = "Bearer"


_LIKE_GITHUB: Mapping[str, Any] = {
    "place": "repos/{project}/pulls",
    "source": "head",
    "target": "base",
    "text": "body",
    "number": "number",
    "method": "PATCH",
    "closing": {"state": "closed"},
}
FORGES: Mapping[str, Forge] = {
    "github": Forge(
        api="https://{host}/api/v3", find="state=all&head={owner}:{branch}", hosts=("github",),
        **_LIKE_GITHUB,
    ),
    "forgejo": Forge(
        api="https://{host}/api/v1", find="state=all&sort=recentupdate&limit=50",
        hosts=("codeberg", "forgejo", "gitea"), scheme="token", **_LIKE_GITHUB,
    ),
    "gitlab": Forge(
        api="https://{host}/api/v4", place="projects/{project}/merge_requests",
        source="source_branch", target="target_branch", text="description", number="iid",
        find="state=all&source_branch={branch}", method="PUT", closing={"state_event": "close"},
        hosts=("gitlab",),
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class MergeRequest:
    """A request to merge a branch: "open", "merged" or "closed", and as which commit."""

    number: int
    url: str
    state: str
    commit: str = ""


@dataclass(frozen=True)
class Project:
    """One project of a forge.

    Args:
        forge: which kind.
        api: the address of its API.
        path: its name there, with its owner's.
        token: what proves who asks; never shown.
        seconds: how long an answer may take.
    """

    forge: Forge
    api: str
    path: str
    token: str = field(repr=False)
    seconds: float

    def find(self, branch: str) -> MergeRequest | None:
        """Return the newest request that was opened for a branch."""
        owner = self.path.partition("/")[0]
        words = self.forge.find.format(owner=quote(owner), branch=quote(branch, safe=""))
        for one in self._ask("GET", f"{self._place}?{words}"):
            source = one.get(self.forge.source)
            if branch == (source.get("ref") if isinstance(source, dict) else source):
                return self._read(one)
        return None

    def open(self, branch: str, onto: str, title: str, text: str) -> MergeRequest:
        """Open a request to merge a branch, or return the one that a crash left unrecorded."""
        forge = self.forge
        body = {"title": title, forge.source: branch, forge.target: onto, forge.text: text}
        return self.find(branch) or self._read(self._ask("POST", self._place, body))

    def look(self, number: int) -> MergeRequest:
        """Return how a request stands."""
        return self._read(self._ask("GET", f"{self._place}/{number}"))

    def close(self, number: int) -> None:
        """Close a request that nobody has merged."""
        self._ask(self.forge.method, f"{self._place}/{number}", dict(self.forge.closing))

    @property
    def _place(self) -> str:
        # GitLab takes the whole path as one name.
        whole = "/" if self.forge.place.startswith("repos") else ""
        return self.forge.place.format(project=quote(self.path, safe=whole))

    def _read(self, one: Mapping[str, Any]) -> MergeRequest:
        merged = one.get("merged") or one.get("merged_at") or one.get("state") == "merged"
        # GitLab calls one that it is merging just now "locked".
        state = "closed" if one.get("state") == "closed" else "open"
        commit = one.get("merge_commit_sha") or one.get("squash_commit_sha") or ""
        return MergeRequest(
            number=int(one[self.forge.number]),
            url=str(one.get("html_url") or one.get("web_url") or ""),
            state="merged" if merged else state,
            commit=str(commit) if merged else "",
        )

    def _ask(self, method: str, path: str, body: Mapping[str, str] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self.api}/{path}", data, method=method)  # noqa: S310 - checked below
        request.add_header("Accept", "application/json")
        request.add_header("Content-Type", "application/json")
        request.add_header("User-Agent", "self-coding")
        # "Unredirected": it is for this host alone.
        request.add_unredirected_header("Authorization", f"{self.forge.scheme} {self.token}")
        host = urlsplit(self.api).hostname
        try:
            with build_opener(_NoRedirect).open(request, timeout=self.seconds) as answer:
                return json.loads(answer.read(_MOST))
        except HTTPError as error:
            said = decode(error.read(2000), errors="replace").replace(self.token, "***")
            hint = "the token needs the right to open requests, and the project must be there"
            text = f"{host} answers {error.code} to a request to merge: {said[:300]}"
            raise RemoteUnreachableError(text, hint=hint) from None
        except (URLError, OSError, ValueError) as error:
            text = f"{host} cannot be reached: {getattr(error, 'reason', error)}"
            raise RemoteUnreachableError(text, hint="`resume` asks again") from None


class _NoRedirect(HTTPRedirectHandler):
    """A redirect is an error: its target was not chosen by the user."""

    def redirect_request(self, *asked: Any) -> None:
        """Follow nothing."""


def project(url: str, *, forge: str, api: str, cwd: Path, seconds: float) -> Project:
    """Return the project at a remote's address, with the token that git's helpers have for it.

    Raises:
        ConfigError: the forge cannot be told from the address, or no helper has a token.
    """
    # git@host:owner/name is ssh's short form.
    full = url if "://" in url else "ssh://" + url.replace(":", "/", 1)
    parts = urlsplit(full)
    host = parts.hostname or ""
    named = [name for name, one in FORGES.items() if any(word in host for word in one.hosts)]
    kind = forge or next(iter(named), "")
    if not kind or not (host or api):
        raise ConfigError(
            f"which forge {remote_git.shown(url)} is at cannot be told from its address",
            hint=f"set remote.forge to one of {', '.join(FORGES)}, and remote.api where it differs",
        )
    place = api or FORGES[kind].api.format(host=host)
    if host == "github.com" and not api:
        place = "https://api.github.com"
    if urlsplit(place).scheme != "https" and urlsplit(place).hostname not in ("127.0.0.1", "::1"):
        raise ConfigError(f"{place} is not an https address", hint="a token is sent there")
    # The forge's own host where there is one: its web address is what helpers know.
    asked = f"protocol=https\nhost={host or urlsplit(place).netloc}\n\n"
    done = remote_git.talk(("credential", "fill"), cwd=cwd, stdin=asked.encode(), timeout=seconds)
    answers = dict(line.partition("=")[::2] for line in decode(done.stdout).splitlines())
    token = answers.get("password", "")
    if not token:
        raise ConfigError(
            f"no credential helper of git has a token for {host}",
            hint="`git credential approve` stores one; see docs/how-to/land-at-a-remote.md",
        )
    path = parts.path.strip("/").removesuffix(".git")
    return Project(FORGES[kind], place.rstrip("/"), path, token, seconds)
