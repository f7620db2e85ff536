"""Run a command below a supervisor, so that nothing outlives it: `setsid`, double forks and all.

At the time limit, when the call is cancelled, and when this process is gone, the supervisor ends
every descendant. Nothing is hidden from the command unless limits or a Landlock domain are given:
agents need the network, the home directory and their keys.
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

from self_coding.adapters import process, process_list
from self_coding.adapters.process import Completed

MARK = "SELF_CODING_RUN"  # a variable that every process of one run carries
_SUPERVISOR = Path(__file__).with_name("supervisor.py")


def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    timeout: float | None,
    stdin: bytes = b"",
    output_bytes: int = 1 << 20,
    watch: Callable[[bytes], None] | None = None,
    limits: Mapping[str, int] | None = None,
    landlock: Mapping[str, object] | None = None,
    handed: Sequence[int] = (),
    readers: Mapping[int, int] | None = None,
) -> Completed:
    """Run `argv` (its first word an absolute path); its two outputs are merged and capped.

    Args:
        argv: the command and its arguments.
        cwd: the directory it runs in.
        env: its whole environment.
        timeout: wall seconds; None waits for ever.
        stdin: bytes fed to it.
        output_bytes: bytes of output kept, head and tail.
        watch: called with each piece of output when it comes.
        limits: resource limits by name (`RLIMIT_CPU`).
        landlock: the `read` and `write` paths of a Landlock domain, and whether it has `network`.
        handed: descriptors that go over to it.
        readers: descriptors to read while it runs, each with the bytes kept of it.

    Raises:
        ProcessError: it could not be started.
    """
    mark = secrets.token_hex(16)
    # The supervisor watches the reading end: it closes when this process is gone, however it went.
    lifeline, ours = os.pipe()
    plan = {
        "parent": os.getpid(),
        "lifeline": lifeline,
        "limits": dict(limits or {}),
        "landlock": landlock,
        "argv": list(argv),
    }

    def terminate(pid: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)

    try:
        return process.run(
            [sys.executable, "-I", "-S", str(_SUPERVISOR), json.dumps(plan, ensure_ascii=False)],
            cwd=cwd,
            env={**env, MARK: mark},
            stdin=stdin,
            timeout=timeout,
            limit=output_bytes,
            tail=output_bytes // 2,
            merged=True,
            handed=(lifeline, *handed),
            readers=readers,
            kill=terminate,
            watch=watch,
        )
    finally:
        os.close(ours)
        process_list.kill_marked(MARK, mark)
