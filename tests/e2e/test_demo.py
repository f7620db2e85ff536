"""The demo of the README keeps its promises."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest


@pytest.mark.timeout(290)
def test_the_demo_keeps_every_promise() -> None:
    """On a copy of this repository: refused and explained, landed, warned; nothing touched."""
    argv = [sys.executable, "-m", "self_coding", "--json", "demo"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=280)
    story = json.loads(done.stdout)
    shutil.rmtree(story["repository"], ignore_errors=True)
    assert done.returncode == 0, done.stderr
    assert any("unit/journal" in test for test in story["refused"]["failing_tests"])
    assert story["landed"]["success"]
    assert story["checkout_untouched"]
    assert "this was tried" in story["warning"]
