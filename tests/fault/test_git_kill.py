"""The fault campaign in small: killed, failing and full at some or at every boundary."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FAULTS = Path(__file__).parents[2] / "bench" / "faults.py"
FLOWS = ["snapshot", "commit_named", "merge", "land", "rollback_undo", "attempt_rollback"]


def run(tmp_path: Path, *options: str) -> None:
    done = subprocess.run(
        [sys.executable, str(FAULTS), "--dir", str(tmp_path), *options],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("fault", ["kill-call", "kill-git", "kill-change", "fail-call", "full"])
def test_git_random_boundaries(tmp_path: Path, fault: str) -> None:
    """Whatever breaks the flows at a random point, nothing is lost and the next start repairs."""
    run(tmp_path, "--fault", fault, "--trials", "11", "--seed", "77")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("fault", ["kill-call", "kill-after", "kill-change", "fail-call"])
def test_git_every_boundary(tmp_path: Path, flow: str, fault: str) -> None:
    """The same at every single git call and every single file-system change."""
    run(tmp_path, "--every", "--only", flow, "--fault", fault, "--seed", "5")
