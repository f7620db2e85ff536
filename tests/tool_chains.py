"""Which tool chains can be used here: what is found may still refuse, as rustup in a new home."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def works(program: str) -> bool:
    """Return whether a program is here, and tells its version."""
    if shutil.which(program) is None:
        return False
    ask = "version" if program == "go" else "--version"
    done = subprocess.run([program, ask], capture_output=True, check=False, timeout=60)
    return done.returncode == 0


def put(source: Path, target: Path) -> None:
    """Copy a package or a module: a link could lead to where a sandbox hides it."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copyfile(source, target)
