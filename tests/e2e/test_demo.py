"""The demo of the README keeps its promises."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest


@pytest.mark.timeout(290)
def test_the_demo_keeps_every_promise() -> None:
    """A break and a cheat are refused and explained, a good change lands; nothing is touched."""
    argv = [sys.executable, "-m", "self_coding", "--json", "demo"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=280)
    story = json.loads(done.stdout)
    shutil.rmtree(story["repository"], ignore_errors=True)
    assert done.returncode == 0, done.stderr
    assert story["refused"]["failing_tests"] == ["tests/test_invoice.py::Invoice::test_line"]
    assert [one["rule"] for one in story["bent"]["findings"]]
    assert story["bent"]["by"] == "policy", "seen by reading, before anything ran"
    assert story["landed"]["success"]
    assert story["checkout_untouched"]
    assert "this was tried" in story["warning"]
