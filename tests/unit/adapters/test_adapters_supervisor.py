"""What the supervisor counts of what a run uses."""

from __future__ import annotations

import os
import subprocess

import pytest

from self_coding.adapters.supervisor import Watch


def test_a_disk_of_the_host_is_no_memory() -> None:
    """Until the sandbox has mounted its own, a process sees the host's disks: they do not count."""
    space = os.statvfs("/")
    used = (space.f_blocks - space.f_bfree) * space.f_frsize
    if used < 4 << 30:
        pytest.skip("the disk here is no larger than what processes hold")
    bounds = {"memory": used // 2, "disk": 0, "processes": 0}
    with subprocess.Popen(["sleep", "30"]) as child:
        try:
            assert Watch({**bounds, "in_memory": ["/"], "written": []}).excess() == ""
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(0.3)
        finally:
            child.kill()
