"""What binds a command and all that it starts."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from self_coding.adapters import run_supervised
from self_coding.adapters.run_supervised import Box

_FORKS = """
import os, time
os.write(1, open("/proc/self/cgroup", "rb").read())
made = 0
for _ in range(300):
    try:
        if not os.fork():
            time.sleep(5)
            os._exit(0)
        made += 1
    except BlockingIOError:
        pass
os.write(1, b"made %d\\n" % made)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="the kernel counts the processes of others itself")
def test_roots_processes_are_bounded_by_the_kernel(tmp_path: Path) -> None:
    """A burst of forks meets the limit before anybody has looked."""
    group = run_supervised._task_group(50)
    if group is None:
        pytest.skip("no control group can be made here")
    group.rmdir()
    done = run_supervised.run(
        [sys.executable, "-I", "-S", "-c", _FORKS],
        cwd=tmp_path,
        env={},
        timeout=20,
        box=Box(processes=50),
    )
    # It is told by itself, or by the supervisor, which then ends it.
    told = re.findall(rb"made (\d+)|(\d+) processes at once", done.stdout)
    assert told
    assert b"/self-coding-" in done.stdout
    assert all(int(one or other) <= 50 + run_supervised._OWN for one, other in told)


@pytest.mark.skipif(os.geteuid() != 0, reason="the kernel counts the processes of others itself")
def test_a_group_that_nobody_has_entered_yet_stays() -> None:
    """Two runs that begin together take no group from each other."""
    first = run_supervised._task_group(50)
    if first is None:
        pytest.skip("no control group can be made here")
    second = run_supervised._task_group(50)
    assert second is not None
    assert first.is_dir()
    for group in (first, second):
        group.rmdir()
