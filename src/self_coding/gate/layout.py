"""What one run shows the tested code: the box around a checkout, and the kit beside it.

The candidate stands at the repository's own path where the sandbox can mount it there, with the
interpreter, git's data and what is carried bound back, read-only. Whatever this puts into a
checkout it takes out again.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from self_coding.adapters import sandbox_bwrap
from self_coding.adapters.git import git_directories
from self_coding.adapters.paths import FOLDER
from self_coding.adapters.sandbox_bwrap import Box
from self_coding.gate.roots import interpreter_folders
from self_coding.values.verdicts import GateSettings

PLUGIN = Path(__file__).with_name("census_plugin.py")
MODULE = "self_coding_census"  # the plugin's name inside the test run
_NO_CUSTOM = (
    "# stands before a file of this name in the tested tree, which would run first of all\n"
)
_HANDED_ON = ("LANG", "LANGUAGE", "TZ", "PATH", "LD_LIBRARY_PATH", "SSL_CERT_FILE")


@contextmanager
def kit_for(python: Path, wanted: dict[str, object]) -> Iterator[Path]:
    """A read-only folder of ours beside the tree: the plugin, its settings, a `python`."""
    kit = Path(tempfile.mkdtemp(prefix="self-coding-kit-"))
    try:
        (kit / f"{MODULE}.py").write_bytes(PLUGIN.read_bytes())
        (kit / "settings.json").write_text(json.dumps(wanted), encoding="utf-8")
        (kit / "sitecustomize.py").write_text(_NO_CUSTOM, encoding="utf-8")
        (kit / "usercustomize.py").write_text(_NO_CUSTOM, encoding="utf-8")
        (kit / "git").mkdir()
        (kit / "bin").mkdir()
        if not (python.parent / "python").exists():
            starter = kit / "bin" / "python"
            starter.write_text(f'#!/bin/sh\nexec "{python}" "$@"\n', encoding="utf-8")
            starter.chmod(0o755)
        yield kit
    finally:
        shutil.rmtree(kit, ignore_errors=True)


@contextmanager
def box_for(
    top: Path,
    settings: GateSettings,
    at: str,
    *,
    path: Path,
    python: Path,
    kit: Path,
    setup: Path | None,
) -> Iterator[Box]:
    """The box for one checkout; what it had to put into the checkout is taken out again."""
    bound = [(kit, kit), *_interpreter_binds(python, top, setup)]
    carried = [(top / name, Path(name)) for name in settings.carry if (top / name).exists()]
    if setup is not None:
        carried += [(one, one.relative_to(setup)) for one in sorted(setup.iterdir())]
    files, git = _git_binds(path, top, kit)
    bound += git + [(source, top / inside) for source, inside in carried]
    box = Box(
        tree=path,
        mount=top,
        env=environment(settings),
        readable=tuple(bound),
        files=files,
        hidden=(kit / "git" / FOLDER,) if git else (),
        network=settings.network,
        loopback=settings.loopback,
        cpu_seconds=settings.cpu_seconds,
        memory_bytes=settings.memory_bytes,
        processes=settings.processes,
        file_bytes=settings.file_bytes,
    )
    inside = [p.relative_to(top) for _, p in bound if p.is_relative_to(top)]
    new = [path / name for name in inside if not os.path.lexists(path / name)]
    try:
        if at != "bwrap":
            _link(path, carried)
        yield box
    finally:
        for place in new:
            _take_out(place, path)


def environment(settings: GateSettings) -> dict[str, str]:
    """What of our environment the tested code gets: a few harmless names, and those allowed."""
    names = {*_HANDED_ON, *settings.environment}
    return {
        name: value for name, value in os.environ.items() if name in names or name.startswith("LC_")
    }


def command_folder(python: Path, inside: Path, kit: Path) -> str:
    """What stands first on PATH, so that `python` and its scripts are this interpreter's.

    `inside` is where the tested code finds the interpreter `python`.
    """
    own = str(inside.parent)
    return own if (python.parent / "python").exists() else f"{kit / 'bin'}{os.pathsep}{own}"


def _interpreter_binds(python: Path, top: Path, setup: Path | None) -> list[tuple[Path, Path]]:
    """Those folders of the interpreter that would be hidden or covered otherwise."""
    covered = (*sandbox_bwrap.hidden_folders(), top)
    return [
        (folder, folder)
        for folder in interpreter_folders(python)
        if any(folder.is_relative_to(one) for one in covered)
        and not top.is_relative_to(folder)
        and not _holds_code(folder, top)
        and not (setup is not None and folder.is_relative_to(setup))  # carried, elsewhere
    ]


def _holds_code(folder: Path, top: Path) -> bool:
    """Whether an interpreter's path leads into the checkout itself, not into an environment."""
    inside = folder.is_relative_to(top)
    return inside and not any(
        (one / "pyvenv.cfg").exists() for one in (folder, *folder.parents) if one != top
    )


def _git_binds(
    path: Path, top: Path, kit: Path
) -> tuple[tuple[tuple[Path, bytes], ...], list[tuple[Path, Path]]]:
    """How git keeps working, read-only, when the checkout stands where the repository stood."""
    pointer = path / ".git"
    if pointer.is_dir():
        return (), [(pointer, top / ".git")]
    checkout = git_directories(path) if pointer.is_file() else None
    if checkout is None or not checkout.directory.is_relative_to(checkout.common):
        return (), []
    inside = checkout.directory.relative_to(checkout.common)
    place = kit / "git" / inside
    return ((top / ".git", os.fsencode(f"gitdir: {place}\n")),), [(checkout.common, kit / "git")]


def _link(path: Path, carried: Sequence[tuple[Path, Path]]) -> None:
    """Without a mount of its own, what is carried is linked to."""
    for source, inside in carried:
        place = path / inside
        if not os.path.lexists(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(source)


def _take_out(place: Path, path: Path) -> None:
    """Remove an empty mount point or a link of ours, and the empty folders above it."""
    with suppress(OSError):
        if place.is_symlink() or (place.is_file() and not place.stat().st_size):
            place.unlink()
    for folder in (place, *place.parents):
        if folder == path or not folder.is_relative_to(path):
            return
        with suppress(OSError):
            folder.rmdir()
