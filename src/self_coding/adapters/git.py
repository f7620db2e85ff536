"""The one door to git: its environment, its safety switches, its processes.

No hook, pager, prompt, signature, file system monitor, external diff, merge driver or filter of
the user's configuration runs from here. Output is returned, not interpreted.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from self_coding.errors import GitOperationError, GitTimeoutError, ProcessError

if TYPE_CHECKING:
    from self_coding.adapters.process import Completed

ZERO = {"sha1": "0" * 40, "sha256": "0" * 64}
SECONDS = 600.0

# Every GIT_* variable is dropped but these. A tool that runs from a git hook, an alias or
# `git rebase --exec` inherits the variables of the git command around it, which describe another
# command and often another repository. Those met in practice, and what each would do to us:
#   GIT_DIR, GIT_COMMON_DIR, GIT_WORK_TREE  set for hooks and in linked worktrees: we would read
#                         and change that repository, not the one we were asked for
#   GIT_INDEX_FILE        `git commit -a` sets it to `index.lock` for its pre-commit hook: we would
#                         stage into an index that git is about to replace
#   GIT_OBJECT_DIRECTORY, GIT_ALTERNATE_OBJECT_DIRECTORIES, GIT_QUARANTINE_PATH  set for
#                         pre-receive: objects written there vanish with a refused push
#   GIT_NAMESPACE         refs would be read and written below another prefix
#   GIT_PREFIX, GIT_CEILING_DIRECTORIES, GIT_DISCOVERY_ACROSS_FILESYSTEM  change which
#                         repository a folder belongs to, or from where paths count
#   GIT_LITERAL_PATHSPECS, GIT_GLOB_PATHSPECS, GIT_ICASE_PATHSPECS  change what a path means
#   GIT_CONFIG_PARAMETERS, GIT_CONFIG_COUNT, GIT_CONFIG_KEY_n, GIT_CONFIG_VALUE_n  carry the
#                         `-c` switches of the outer command, which may name programs to run
#   GIT_EXTERNAL_DIFF, GIT_PAGER, GIT_EDITOR, GIT_SEQUENCE_EDITOR, GIT_ASKPASS, GIT_PROXY_COMMAND
#                         name programs; an editor would wait for a person who is not there
#   GIT_AUTHOR_*, GIT_COMMITTER_*, GIT_REFLOG_ACTION  belong to the outer commit, not to ours
#   GIT_DIFF_OPTS, GIT_TRACE*, GIT_FLUSH  change what is printed, and so what we parse
#   GIT_REPLACE_REF_BASE, GIT_GRAFT_FILE, GIT_SHALLOW_FILE  show another history
_KEPT = frozenset(
    (
        "GIT_CONFIG_GLOBAL",  # where the user's configuration is; without it identity, ignore
        "GIT_CONFIG_SYSTEM",  # rules and safe.directory would differ from what their git does
        "GIT_CONFIG_NOSYSTEM",
        "GIT_SSH_COMMAND",  # how this user reaches a remote; our own plumbing reaches none
    )
)
#: As if in no repository: no configuration, filter or hook of one is read, as `git apply` wants.
NO_REPOSITORY = {
    "GIT_DIR": "/dev/null/none",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
}
QUIET = (
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
    *QUIET,
    "diff.autoRefreshIndex=false",  # reading must not write the index, not even its stat data
    "core.quotePath=false",
    "core.safecrlf=false",
    "core.trustctime=true",
    # The user's may be `minimal`, which compares whole seconds and sizes alone.
    "core.checkStat=default",
    "core.ignoreStat=false",
    # Undo and the guard read reflogs, which a bare repository does not keep by itself.
    "core.logAllRefUpdates=true",
    # Our copies of an index are moved; a split one is two files, one of which stays behind.
    "core.splitIndex=false",
    "core.sshCommand=false",
    # What we write is UTF-8; another setting would mark it as something else.
    "i18n.commitEncoding=UTF-8",
    "advice.addEmbeddedRepo=false",
    # A submodule or a partial clone would make git reach for the network in the middle of a
    # checkout.
    "protocol.allow=never",
)

#: File descriptors every git process inherits: the operation lock is held until the last of them
#: has ended, so that no operation starts while a child of a killed process still writes.
held_descriptors: ContextVar[tuple[int, ...]] = ContextVar("self_coding_git_fds", default=())


def inherited_environment() -> dict[str, str]:
    """Return our environment without the variables of a git command that we run under."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name in _KEPT
    }


def environment() -> dict[str, str]:
    """Return the environment of every git process of ours."""
    return inherited_environment() | {
        "LC_ALL": "C.UTF-8",  # messages in English, which we show and sometimes read
        "LANGUAGE": "C",  # goes before LC_ALL where it is set
        "GIT_TERMINAL_PROMPT": "0",  # fail rather than wait for a password
    }


def run(
    args: Sequence[str],
    *,
    cwd: Path,
    config: Iterable[str] = QUIET,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    ok: Collection[int] | None = (0,),
    timeout: float = SECONDS,
    limit: int | None = None,
) -> Completed:
    """Run a git command in the repository around `cwd`.

    Args:
        args: the command, without "git".
        cwd: where it runs; git finds the repository from there.
        config: `KEY=VALUE` settings that override the user's.
        env: added to the scrubbed environment.
        stdin: bytes fed to it.
        ok: the exit statuses that are no error; empty for any, None to check nothing at all.
        timeout: wall seconds.
        limit: bytes kept of its output.

    Raises:
        GitOperationError: git refused, or cannot be started. GitTimeoutError: it took too long.
    """
    command = ["git", *(part for pair in config for part in ("-c", pair)), *args]
    # Python would refuse it with a ValueError, which no caller of ours expects.
    if any("\x00" in argument for argument in command):
        shown = tuple(argument.replace("\x00", "\ufffd") for argument in command)
        raise GitOperationError("a git argument holds a NUL character", argv=shown)
    full = environment() | dict(env or {})
    done = start(command, cwd=cwd, env=full, stdin=stdin, timeout=timeout, limit=limit)
    if ok is None or (not done.timed_out and (not ok or done.returncode in ok)):
        return done
    name, argv = "git " + " ".join(args[:3]), done.argv
    stderr = decode(done.stderr, errors="replace")
    if done.timed_out:
        raise GitTimeoutError(
            f"{name} took longer than its limit and was ended",
            argv=argv,
            returncode=done.returncode,
            stderr=stderr,
            hint="try again, or give it more time",
        )
    said = stderr.strip() or f"exit status {done.returncode}"
    # A partial clone wants to fetch in the middle of a command, which is not allowed to it; git's
    # own words do not tell how to go on.
    partial = "lazy fetching disabled" in stderr or "promisor" in stderr
    raise GitOperationError(
        f"{name} failed: {said[:2000]}",
        argv=argv,
        returncode=done.returncode,
        stderr=stderr,
        hint="this clone is partial; run `git fetch --refetch --no-filter` once" if partial else "",
    )


def start(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdin: bytes,
    timeout: float,
    limit: int | None,
) -> Completed:
    """Start git and wait for it; every git process of this project begins here.

    Raises:
        GitOperationError: it cannot be started.
    """
    from self_coding.adapters import process  # costs `import subprocess`; many commands need none

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

    @property
    def identity(self) -> dict[str, str]:
        """Who commits, as environment variables: the user's configured identity, else ours."""
        name = self.values.get("user.name", "").strip() or "self-coding"
        email = self.values.get("user.email", "").strip() or "self-coding@localhost"
        return {
            "GIT_AUTHOR_NAME": name,
            "GIT_AUTHOR_EMAIL": email,
            "GIT_COMMITTER_NAME": name,
            "GIT_COMMITTER_EMAIL": email,
        }


@dataclass(frozen=True)
class Git:
    """Plumbing in one checkout: where it works, and the settings it must not obey.

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
        ok: Collection[int] | None = (0,),
        env: Mapping[str, str] | None = None,
        limit: int | None = None,
    ) -> Completed:
        """Run a git command here; arguments and errors as for the function `run`."""
        config = [*_PLUMBING]
        # Filters and merge drivers cannot be switched off as a kind: each goes by its name.
        for name in self.settings.filters:
            config += [f"filter.{name}.{end}=" for end in ("clean", "smudge", "process")]
            config.append(f"filter.{name}.required=false")
        drivers = self.settings.drivers("merge", ("driver",))
        config += [f"merge.{name}.driver=false" for name in drivers]
        return run(
            args,
            cwd=self.top or self.directory,
            config=(*config, *self.config),
            env=self._environment() | dict(env or {}),
            stdin=stdin,
            ok=ok,
            limit=limit,
        )

    def text(self, *args: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> str:
        """Run a plumbing command that answers with one line, and return that line."""
        return decode(self.run(*args, stdin=stdin, env=env).stdout).strip()

    def _environment(self) -> dict[str, str]:
        env = self.settings.identity | {
            "GIT_DIR": str(self.directory),
            "GIT_OPTIONAL_LOCKS": "0",  # reading takes no lock that a person's git would meet
            "GIT_LITERAL_PATHSPECS": "1",  # a file may be called `*` or `:(top)x`
            "GIT_ALLOW_PROTOCOL": "none",  # nothing of ours reaches a network,
            "GIT_NO_LAZY_FETCH": "1",  # not even for an object that a partial clone lacks
            "GIT_NO_REPLACE_OBJECTS": "1",  # the commit itself, not what a person shows for it
        }
        if self.top is not None:
            env["GIT_WORK_TREE"] = str(self.top)
        if self.index is not None:
            env["GIT_INDEX_FILE"] = str(self.index)
        if self.objects is not None:
            env["GIT_OBJECT_DIRECTORY"] = str(self.objects)
        return env


def decode(data: bytes, *, errors: str = "surrogateescape") -> str:
    """Return git's bytes as text; file names survive the way back through `encode`."""
    return data.decode("utf-8", errors)


def encode(text: str) -> bytes:
    """Return text as git's bytes."""
    return text.encode("utf-8", "surrogateescape")


def fields(data: bytes) -> list[str]:
    """Return the parts of NUL-ended output."""
    return [decode(part) for part in data.split(b"\0") if part]
