"""Prepare a checkout once per change of its dependency files, and keep what that made.

The setup command runs contained like the tests. What it leaves in the checkout is moved into a
store and bound back, read-only, into every later run with the same dependency files.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

from self_coding.errors import GateError, GateTimeoutError
from self_coding.gate.run import Runner

_DEPENDENCIES = ("pyproject.toml", "setup.py", "setup.cfg", "*requirements*.txt", "*.lock")
_KEPT = 4  # prepared environments


def prepared(runner: Runner, path: Path, store: Path) -> Path | None:
    """The folder of what the setup command makes for this checkout; None without one.

    Raises:
        GateError: the setup command failed, so the tests could not be run.
    """
    settings = runner.settings
    if not settings.setup_command:
        return None
    place = store / _key(path, settings.setup_command, runner.at)
    if place.is_dir():
        os.utime(place)
        return place
    before = set(_entries(path))
    open_or_not = replace(settings, network=settings.setup_network)
    done = replace(runner, settings=open_or_not).run(path, command=settings.setup_command)
    if done.timed_out:
        raise GateTimeoutError("the setup command hit the time limit", hint="raise `timeout`")
    if done.exit_status:
        raise GateError(
            f"the setup command failed with exit status {done.exit_status}: {done.output[-2000:]}",
            hint="run it by hand; `setup_network` lets it use the network",
        )
    _move([name for name in _entries(path) if name not in before], path, place)
    for old in sorted(store.iterdir(), key=lambda one: one.stat().st_mtime)[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return place


def _key(path: Path, command: str, at: str) -> str:
    digest = hashlib.sha256(f"{command}\0{at}".encode())
    for pattern in _DEPENDENCIES:
        for file in sorted(path.glob(pattern)):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:32]


def _entries(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


def _move(names: list[str], path: Path, place: Path) -> None:
    """Move into the store under another name first, so that it is there whole or not at all."""
    part = place.with_name(place.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name in names:
        shutil.move(path / name, part / name)
    part.rename(place)
