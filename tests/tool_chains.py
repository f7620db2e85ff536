"""Which tool chains can be used here: what is found may still refuse, as rustup in a new home."""

from __future__ import annotations

import shutil
import subprocess


def works(program: str) -> bool:
    """Return whether a program is here, and tells its version."""
    if shutil.which(program) is None:
        return False
    ask = "version" if program == "go" else "--version"
    done = subprocess.run([program, ask], capture_output=True, check=False, timeout=60)
    return done.returncode == 0
