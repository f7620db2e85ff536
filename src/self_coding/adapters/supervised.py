"""Run a command of the user's choice with everything the user has, but let nothing outlive it.

For agents: they need the network, the home directory and their keys, so nothing is hidden from
them. What ends them is the same supervisor that ends tests: at the time limit, when the call is
cancelled, and when this process is gone, `setsid` and double forks included.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from self_coding.adapters import process
from self_coding.adapters.process import Completed
from self_coding.adapters.sandbox import MARK, sweep

_GUARD = Path(__file__).with_name("sandbox_guard.py")


def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdin: bytes = b"",
    timeout: float,
    output_bytes: int = 1 << 20,
    watch: Callable[[bytes], None] | None = None,
) -> Completed:
    """Run `argv` (its first word an absolute path); its two outputs are merged and capped.

    Raises:
        ProcessError: it could not be started.
    """
    mark = secrets.token_hex(16)
    reading, writing = os.pipe()  # its far end closes when this process is gone
    plan = {
        "parent": os.getpid(),
        "lifeline": reading,
        "limits": {},
        "landlock": None,
        "argv": list(argv),
    }
    try:
        return process.run(
            [sys.executable, "-I", "-S", str(_GUARD), json.dumps(plan, ensure_ascii=False)],
            cwd=cwd,
            env={**env, MARK: mark},
            stdin=stdin,
            timeout=timeout,
            limit=output_bytes,
            tail=output_bytes // 2,
            merged=True,
            handed=(reading,),
            kill=_terminate,
            watch=watch,
        )
    finally:
        os.close(writing)
        sweep(mark)


def _terminate(pid: int) -> None:
    """Ask the supervisor to end everything below it, and itself."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
