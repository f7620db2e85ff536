"""The command line of bubblewrap for one box: what is seen, what is hidden, what may be used.

Everything is read-only but the tested tree and private temporary folders; homes, `/run` and the
host's temporary files are hidden, and only what the box names is bound back. Runs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ADDRESS_SPACE = 4  # address space per byte of data: interpreters reserve far more than they use
_TMP_BYTES = 1 << 30
SECRETS = ("/etc/shadow", "/etc/gshadow", "/etc/shadow-", "/etc/gshadow-", "/etc/sudoers")
_SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "etc", "dev", "proc", "sys", "nix")
_UNIT = 512  # what `ulimit -f` counts in


@dataclass(frozen=True, kw_only=True)
class Box:
    """What a contained command sees and may use.

    Attributes:
        tree: the folder it may write; it starts there.
        mount: where `tree` appears, if the level can move it.
        readable: (source, place) pairs that are bound back, read-only.
        files: (place, content) pairs that appear read-only over what lies there.
        hidden: folders, where there are any, that appear empty.
        env: its whole environment.
        network: True leaves the network open; loopback: True leaves 127.0.0.1 open where the
            level has no private one.
    Limits of 0 take no limit; they are per process, but for `processes`.
    """

    tree: Path
    mount: Path
    env: Mapping[str, str]
    readable: tuple[tuple[Path, Path], ...] = ()
    files: tuple[tuple[Path, bytes], ...] = ()
    hidden: tuple[Path, ...] = ()
    network: bool = False
    loopback: bool = False
    cpu_seconds: int = 0
    memory_bytes: int = 0
    processes: int = 0
    file_bytes: int = 0


def hidden_folders() -> tuple[Path, ...]:
    """Folders of this machine that a contained command does not see, outermost first."""
    try:
        own = Path.home()
    except RuntimeError:  # a user without an entry and without HOME
        own = Path("/root")
    homes = [Path("/home"), Path("/root"), own]
    rest = [Path(name) for name in ("/tmp", "/var/tmp", "/run", "/mnt", "/media")]  # noqa: S108
    found: list[Path] = []
    for path in sorted({path.resolve() for path in (*homes, *rest) if path.is_dir()}):
        system = path == Path("/") or path.parts[1] in _SYSTEM  # a service's "home"
        if not system and not any(path.is_relative_to(one) for one in found):
            found.append(path)
    return tuple(found)


def arguments(box: Box, binary: str, command: str) -> tuple[list[str], list[int]]:
    """The argument list that runs `command` in `box`, and the descriptors to hand over with it.

    The caller closes the descriptors by handing them over.
    """
    handed: list[int] = []
    argv = [binary, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    argv += ["--share-net"] if box.network else []
    argv += ["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"]
    # As root the tests hold the host's uid 0, which alone decides on writes to /proc/sys: a
    # core_pattern with a pipe is a program that the host runs as root. bwrap covers such folders
    # only where access(2) says they are writable, which it denies for /proc/sys itself.
    argv += ["--ro-bind", "/proc/sys", "/proc/sys"]
    for folder in ("/proc/fs", "/proc/acpi", "/proc/scsi", "/sys"):
        argv += ["--ro-bind-try", folder, folder]
    size = str(box.file_bytes or _TMP_BYTES)
    for folder in ("/dev/shm", *map(str, hidden_folders())):  # noqa: S108
        argv += ["--size", size, "--tmpfs", folder]
    for secret in SECRETS:
        if os.access(secret, os.R_OK):
            argv += ["--ro-bind", "/dev/null", secret]
    argv += ["--bind", str(box.tree), str(box.mount)]
    names = Path("/etc/resolv.conf").resolve()
    if box.network and names.is_relative_to("/run"):
        argv += ["--ro-bind-try", str(names), str(names)]
    for source, place in box.readable:
        argv += ["--ro-bind", str(source), str(place)]
    for source, place in box.readable:
        for empty in box.hidden:
            if empty.is_relative_to(place) and (source / empty.relative_to(place)).is_dir():
                argv += ["--tmpfs", str(empty)]
    for place, content in box.files:
        handed.append(_readable_end(content))
        argv += ["--ro-bind-data", str(handed[-1]), str(place)]
    argv += ["--dir", "/tmp/home", "--chdir", str(box.mount)]  # noqa: S108
    for name, value in (("HOME", "/tmp/home"), ("TMPDIR", "/tmp")):  # noqa: S108
        argv += ["--setenv", name, value]
    argv += ["--", "/bin/sh", "-c", _limited(box), "sh", command]
    return argv, handed


def _limited(box: Box) -> str:
    """A shell line that takes on the limits, for good, and then becomes the command."""
    kilobytes = box.memory_bytes // 1024
    limits = [("-c", 0, True), ("-t", box.cpu_seconds, False), ("-d", kilobytes, False)]
    limits += [("-v", kilobytes * ADDRESS_SPACE, False), ("-f", box.file_bytes // _UNIT, False)]
    words = [f"ulimit {flag} {amount}" for flag, amount, always in limits if amount or always]
    if box.processes:  # the flag differs between shells
        words.append(f"ulimit -u {box.processes} 2>/dev/null || ulimit -p {box.processes}")
    # one that cannot be set is one that stands lower already
    return "".join(f"{{ {word}; }} 2>/dev/null; " for word in words) + 'eval "$1"'


def _readable_end(content: bytes) -> int:
    """A descriptor from which `content` can be read once; it must fit into a pipe."""
    reading, writing = os.pipe()
    try:
        os.write(writing, content)
    finally:
        os.close(writing)
    return reading
