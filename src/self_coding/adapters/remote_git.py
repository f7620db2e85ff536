"""The one door to a remote: git again, with the user's own way of proving who they are.

Whoever is asked for a password gets none from us: git's credential helpers and ssh's agent
answer, or nobody does. Nothing of them is kept, logged or put into an argument, and what git
says is shown without what stands before the `@` of an address.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from self_coding.adapters import git
from self_coding.errors import ConfigError, GitOperationError, RemoteUnreachableError

if TYPE_CHECKING:
    from self_coding.adapters.process import Completed

PROTOCOLS = ("https", "ssh", "git", "file")
SECONDS = 120.0  # for a fetch or a push: through a dead link either would hang for hours
CLONE_SECONDS = 3600.0
_TRIES = 5
_CONFIG = (
    *git.QUIET,
    "core.askPass=",
    "transfer.fsckObjects=true",  # what comes from outside is looked at before it is kept
    "fetch.recurseSubmodules=false",
    "submodule.recurse=false",
    "push.recurseSubmodules=no",
    "push.gpgSign=false",
    "push.followTags=false",
)
_USER_PART = re.compile(r"(?<=://)[^/@\s']*@")
_LOCKED = re.compile(
    r"could not read (?:username|password)|authentication failed|terminal prompts disabled"
    r"|permission denied \(|host key verification|401 unauthorized|403 forbidden",
    re.IGNORECASE,
)
_ABSENT = re.compile(
    r"not appear to be a git repo|repository .{0,300}not found|does not exist|not exported",
    re.IGNORECASE,
)
# Words of git's client and server by which a ref was not moved because it was elsewhere; with
# `--atomic` the server says of every ref the same.
_MOVED = re.compile(
    r"stale info|fetch first|non-fast-forward|failed to update ref|atomic transaction failed"
    r"|cannot lock ref|incorrect old value|reference already exists|failed to lock",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"hook declined|protected|den(?:y|ied)|prohibited|refus|funny refname|hidden ref|not allowed"
    r"|shallow update",
    re.IGNORECASE,
)
_LINE = re.compile(r"^([ +\-*!=])\t[^\t]*:([^\t:]+)\t(.*)$", re.MULTILINE)


class Answer(StrEnum):
    """What became of a push."""

    DONE = "done"
    MOVED = "moved"  # a ref was not where the push expected it: nothing was changed
    REFUSED = "refused"  # a hook or the host's rules said no, and would again
    UNKNOWN = "unknown"  # the answer was lost: it may have been done, or be done yet


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """The answer to a push, what was said of each ref that was not moved, and what a hook said."""

    answer: Answer
    reasons: Mapping[str, str] = field(default_factory=dict)
    said: str = ""


def shown(text: str) -> str:
    """Return text without the user names and passwords in its addresses."""
    return _USER_PART.sub("", text)


def is_remote(address: str) -> bool:
    """Return whether git would take an address for a remote's, and not for a path."""
    # `host:path` is ssh's, unless a slash comes before the colon.
    return "://" in address or re.match(r"[\w.-]+(?:@[\w.-]+)?:", address) is not None


def check_url(url: str) -> str:
    """Return the address of a remote when git can be asked for it, and it holds no password.

    Raises:
        ConfigError: it cannot be used; the address is not repeated where it holds a password.
    """
    scheme, found, rest = url.partition("://")
    if found and ":" in rest.partition("@")[0] and "@" in rest.partition("/")[0]:
        raise ConfigError(
            f"the address {shown(url)} was given with a password in it",
            hint="leave it out: git's credential helpers keep it (`git help credentials`)",
        )
    odd = not url or url.startswith("-") or re.search(r"[\x00-\x20\x7f]", url) or "::" in url
    if odd or (found and scheme not in PROTOCOLS):
        raise ConfigError(
            f"{shown(url)!r} is not the address of a remote that can be used",
            hint=f"give one that begins with {', '.join(f'{one}://' for one in PROTOCOLS)}",
        )
    return url


def talk(
    args: Sequence[str], *, cwd: Path, stdin: bytes = b"", timeout: float = SECONDS
) -> Completed:
    """Run a git command that reaches a remote, and return it, however it ended."""
    asks_nobody = {
        "GIT_ALLOW_PROTOCOL": ":".join(PROTOCOLS),
        # No window and no terminal: there may be nobody, and what is typed is not ours to see. Our
        # commands have no terminal that ssh could open.
        "GIT_ASKPASS": "",
        "SSH_ASKPASS": "",
        "SSH_ASKPASS_REQUIRE": "never",
        "GIT_NO_REPLACE_OBJECTS": "1",
    }
    return git.run(
        args, cwd=cwd, config=_CONFIG, env=asks_nobody, stdin=stdin, ok=None, timeout=timeout
    )


def fetch(cwd: Path, remote: str, refspecs: Sequence[str], *, timeout: float = SECONDS) -> None:
    """Fetch these refs and nothing else: no tags, no other branch, no submodule.

    Raises:
        RemoteUnreachableError: it did not answer, or let nobody in.
        GitOperationError: it has no such branch.
    """
    quiet = ("--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--quiet", "--prune")
    for _ in range(_TRIES):
        done = talk(("fetch", *quiet, "--", remote, *refspecs), cwd=cwd, timeout=timeout)
        if not done.returncode and not done.timed_out:
            return
        if done.timed_out or b"cannot lock ref" not in done.stderr:
            break  # another process of ours that fetches the same is gone in a moment
    raise unreachable(remote, done)


def unreachable(remote: str, done: Completed) -> GitOperationError:
    """Return what went wrong with a command that reached for a remote, in one sentence."""
    said = shown(git.decode(done.stderr, errors="replace"))
    name = shown(remote)
    if done.timed_out:
        text, hint = "did not answer in time", "nothing was lost; `resume` goes on when it answers"
    elif _LOCKED.search(said):
        text = "wants to know who asks, and nobody is here to type a password"
        hint = "set a git credential helper, or give ssh-agent the key; try with `git fetch`"
    elif "remote ref" in said:
        missing = said.rpartition("remote ref ")[2].split("\n")[0].removeprefix("refs/heads/")
        hint = "set `main_branch`, or push a first commit there"
        return GitOperationError(f"{name} has no branch called {missing!r}", hint=hint)
    elif "shallow" in said:
        text = "is a shallow clone itself: its history is cut off"
        hint = "`git fetch --unshallow` there, or name the repository that it was cloned from"
    elif "not allowed" in said:
        text = "is reached by a protocol that is not allowed"
        hint = f"those that are: {', '.join(PROTOCOLS)}"
    elif _ABSENT.search(said):
        text, hint = "is no repository that can be read", "check the address with `git ls-remote`"
    else:
        lines = [one for one in said.splitlines() if one.strip()] or ["no reason was given"]
        text, hint = f"cannot be reached: {lines[0][:300]}", "check with `git ls-remote`"
    return RemoteUnreachableError(f"{name} {text}", hint=hint, returncode=done.returncode)


def push(
    cwd: Path,
    remote: str,
    moves: Sequence[tuple[str, str | None, str]],
    *,
    timeout: float = SECONDS,
) -> Pushed:
    """Move refs at the remote, all or none, each only from where it is expected.

    Args:
        cwd: the repository that has the commits.
        remote: its name or address.
        moves: (ref, old, new); an empty old is "no such ref", None "wherever it is"; an empty new
            deletes it.
        timeout: wall seconds, after which nobody knows whether it was done.
    """
    # With `=REF:OLD`: without it git trusts its tracking ref, which any fetch moves.
    leases = [f"--force-with-lease={ref}:{old}" for ref, old, _ in moves if old is not None]
    specs = [f"{'+' if old is None else ''}{new}:{ref}" for ref, old, new in moves]
    flags = ("--porcelain", "--atomic", "--no-verify", "--no-follow-tags")
    done = talk(("push", *flags, *leases, "--", remote, *specs), cwd=cwd, timeout=timeout)
    told = git.decode(done.stdout, errors="replace")
    reasons = {ref: why for flag, ref, why in _LINE.findall(told) if flag == "!"}
    stderr = shown(git.decode(done.stderr, errors="replace"))
    hook = [line[8:].strip() for line in stderr.splitlines() if line.startswith("remote: ")]
    said = " ".join(filter(None, hook))[:500] or stderr.strip()[-300:]
    # Whatever is not understood may have been carried out: never told as a no.
    answer = Answer.UNKNOWN
    if done.timed_out:
        pass
    elif done.returncode == 0:
        answer = Answer.DONE
    elif any(_REFUSED.search(why) for why in reasons.values()):
        answer = Answer.REFUSED
    elif any(_MOVED.search(why) for why in reasons.values()):
        answer = Answer.MOVED
    return Pushed(answer=answer, reasons=reasons, said=said)
