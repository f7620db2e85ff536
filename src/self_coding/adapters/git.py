"""How git is called: a scrubbed environment, the safety switches, bytes in and out.

Every git process of this room starts here. No hook, pager, prompt, signature, file system
monitor, external diff, merge driver or filter of the user's configuration runs from it. It
refuses to interpret output; that is its callers' work.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from self_coding.adapters import process
from self_coding.adapters.process import Completed
from self_coding.errors import GitOperationError, GitTimeoutError, ProcessError

ZERO = {"sha1": "0" * 40, "sha256": "0" * 64}
_PLUMBING_SECONDS = 600.0
_KEPT = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM")
_QUIET = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "commit.gpgSign=false",
    "tag.gpgSign=false",
    "log.showSignature=false",
    "core.pager=cat",
    "color.ui=false",
    "gc.auto=0",
    "maintenance.auto=false",
)
_PLUMBING = (
    *_QUIET,
    "diff.autoRefreshIndex=false",  # reading must not write the index, not even its stat data
    "core.quotePath=false",
    "core.safecrlf=false",
    "core.trustctime=true",
    "core.checkStat=default",
    "core.ignoreStat=false",
    "core.logAllRefUpdates=true",
    "core.splitIndex=false",
    "core.sshCommand=false",
    "i18n.commitEncoding=UTF-8",
    "advice.addEmbeddedRepo=false",
    "protocol.allow=never",
)

#: File descriptors every git process inherits: the operation lock lives until the last of them
#: has ended, so that nobody starts while a child of a killed process still writes.
held_descriptors: ContextVar[tuple[int, ...]] = ContextVar("self_coding_git_fds", default=())


@dataclass(frozen=True)
class Settings:
    """The repository's effective configuration: keys in lower case, the last value of each."""

    values: Mapping[str, str] = field(default_factory=dict)

    def drivers(self, kind: str, ends: Sequence[str]) -> tuple[str, ...]:
        """The names N of `kind.N.END` keys: filters and merge drivers that would run programs."""
        names = [
            key[len(kind) + 1 : -len(end) - 1]
            for key in self.values
            for end in ends
            if key.startswith(f"{kind}.") and key.endswith(f".{end}")
        ]
        return tuple(dict.fromkeys(name for name in names if name))

    @property
    def filters(self) -> tuple[str, ...]:
        """The content filters that are configured."""
        return self.drivers("filter", ("clean", "smudge", "process"))


def environment() -> dict[str, str]:
    """Our environment without anything that points git at another repository or program."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name in _KEPT
    }
    return env | {"LC_ALL": "C.UTF-8", "LANGUAGE": "C", "GIT_TERMINAL_PROMPT": "0"}


@dataclass(frozen=True)
class Git:
    """Git in one checkout: where it works, and the settings it must not obey.

    `directory` is the checkout's git directory, `common` the repository's, `top` the working
    tree (None in a bare repository). `index`, `objects` and `config` replace git's own.
    """

    directory: Path
    common: Path
    top: Path | None
    settings: Settings = field(default_factory=Settings)
    index: Path | None = None
    objects: Path | None = None
    config: tuple[str, ...] = ()

    def run(
        self,
        *args: str,
        stdin: bytes = b"",
        ok: Iterable[int] = (0,),
        env: Mapping[str, str] | None = None,
        limit: int | None = None,
        timeout: float = _PLUMBING_SECONDS,
    ) -> Completed:
        """Run a git command; an exit status outside `ok` (empty: any goes) is an error.

        Raises:
            GitOperationError: git refused. GitTimeoutError: it took too long.
        """
        argv = ["git", *switches((*_PLUMBING, *self._tamed(), *self.config)), *args]
        done = start(
            argv,
            cwd=self.top or self.directory,
            env=self._environment() | dict(env or {}),
            stdin=stdin,
            timeout=timeout,
            limit=limit,
        )
        return checked(done, tuple(ok), args)

    def text(self, *args: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> str:
        """The one line a plumbing command answers with."""
        return decode(self.run(*args, stdin=stdin, env=env).stdout).strip()

    def _tamed(self) -> list[str]:
        """Switch every configured filter and merge driver off, which goes by name only."""
        tamed = []
        for name in self.settings.filters:
            tamed += [f"filter.{name}.{end}=" for end in ("clean", "smudge", "process")]
            tamed.append(f"filter.{name}.required=false")
        tamed += [
            f"merge.{name}.driver=false" for name in self.settings.drivers("merge", ("driver",))
        ]
        return tamed

    def _environment(self) -> dict[str, str]:
        env = environment() | identity(self.settings)
        env |= {
            "GIT_DIR": str(self.directory),
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_LITERAL_PATHSPECS": "1",
            "GIT_ALLOW_PROTOCOL": "none",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
        }
        if self.top is not None:
            env["GIT_WORK_TREE"] = str(self.top)
        if self.index is not None:
            env["GIT_INDEX_FILE"] = str(self.index)
        if self.objects is not None:
            env["GIT_OBJECT_DIRECTORY"] = str(self.objects)
        return env


def plain(
    repo_path: Path, args: Sequence[str], settings: Settings, *, check: bool, timeout: float
) -> Completed:
    """A caller's own git command, found from `repo_path`: no hooks, prompts, pager or monitor."""
    argv = ["git", *switches(_QUIET), *args]
    env = environment() | identity(settings)
    done = start(argv, cwd=repo_path, env=env, stdin=b"", timeout=timeout, limit=None)
    return checked(done, (0,) if check else (), args)


def start(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdin: bytes,
    timeout: float,
    limit: int | None,
) -> Completed:
    """Start git and wait for it; that it cannot be started is an error of this room."""
    encoded = [argument.replace("\x00", "\ufffd") for argument in argv]
    if encoded != list(argv):
        raise GitOperationError("a git argument holds a NUL character", argv=tuple(encoded))
    try:
        return process.run(
            argv,
            cwd=cwd,
            env=env,
            stdin=stdin,
            timeout=timeout,
            limit=limit,
            pass_fds=held_descriptors.get(),
        )
    except ProcessError as error:
        hint = "install git 2.38 or newer, and check that the repository still exists"
        raise GitOperationError(error.message, argv=tuple(argv), hint=hint) from error


def checked(done: Completed, ok: tuple[int, ...], args: Sequence[str]) -> Completed:
    """`done`, when git did what it was asked.

    Raises:
        GitOperationError: the exit status is not in `ok`. GitTimeoutError: time ran out.
    """
    shown = "git " + " ".join(args[:3])
    stderr = decode(done.stderr, errors="replace")
    if done.timed_out:
        raise GitTimeoutError(
            f"{shown} took longer than its limit and was ended",
            argv=done.argv,
            returncode=done.returncode,
            stderr=stderr,
            hint="try again, or give it more time",
        )
    if ok and done.returncode not in ok:
        said = stderr.strip() or f"exit status {done.returncode}"
        raise GitOperationError(
            f"{shown} failed: {said[:2000]}",
            argv=done.argv,
            returncode=done.returncode,
            stderr=stderr,
        )
    return done


def switches(config: Iterable[str]) -> list[str]:
    """`-c KEY=VALUE` for each."""
    return [part for pair in config for part in ("-c", pair)]


def identity(settings: Settings) -> dict[str, str]:
    """Who commits: the user's configured identity, else ours."""
    name = settings.values.get("user.name", "").strip() or "self-coding"
    email = settings.values.get("user.email", "").strip() or "self-coding@localhost"
    return {
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": email,
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": email,
    }


def decode(data: bytes, *, errors: str = "surrogateescape") -> str:
    """Git's bytes as text; file names survive the way back through `encode`."""
    return data.decode("utf-8", errors)


def encode(text: str) -> bytes:
    """Text as git's bytes."""
    return text.encode("utf-8", "surrogateescape")


def fields(data: bytes) -> list[str]:
    """The parts of NUL-ended output."""
    return [decode(part) for part in data.split(b"\0") if part]
