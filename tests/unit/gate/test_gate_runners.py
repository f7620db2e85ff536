"""Test runners: how a command is observed, and how its report comes back."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from contextlib import suppress

import pytest

from self_coding.adapters.process import Completed
from self_coding.gate.runners import must_report, observe
from self_coding.gate.test_report import KEY_BYTES


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("python -m pytest -q", True),
        ("py.test", True),
        ("python3 -W error -m unittest", True),
        ("python -I -m unittest", False),  # it looks for nothing of ours
        ("make check", False),
        ("hatch run dev:pytest -q", False),  # it closes what we hand over
        ("tox -e pytest", False),
        ("nox -s pytest && python -m pytest", True),
        ("cd area && go test ./...", True),
        ("cargo test --offline", True),
        ("npx vitest run", True),
        ("go vet ./...", False),
        ("true", False),
    ],
)
def test_silence_is_suspicious_only_of_a_runner_that_is_named(command, named):
    """The observers go with every command; where a runner that is observed is named it must
    report, unless the sandbox keeps it from the pipe of those that are not Python's."""
    assert must_report(command, "bwrap") is named
    assert must_report(command, "landlock") is (named and "py" in command)


def test_pytest_reports_through_a_pipe_with_one_time_keys(tmp_path):
    """What is written to the handed pipe, signed with a handed key, comes back as a report."""
    wanted = {"top": str(tmp_path / "tree"), "select": ["t.py"], "names": ["pkg"]}
    (tmp_path / "bin").mkdir()
    with observe(tmp_path, wanted, tmp_path / "tree", "") as observed:
        keys, report, stream = observed.handed
        key = os.read(keys, KEY_BYTES)
        lines = b""
        for number, (kind, value) in enumerate([("hello", {}), ("end", {"status": 0})]):
            body = json.dumps([number, kind, value]).encode()
            mac = hashlib.blake2b(body, digest_size=8, key=key).hexdigest().encode()
            lines += key[:4].hex().encode() + b" " + mac + b" " + body + b"\n"
        for fd in observed.handed:  # as starting the command does
            os.close(fd)
        found = observed.report(Completed(("x",), 0, b"", b"", extra=(lines, b"")))[0]
        assert (found.sessions, found.ended, found.tampered) == (1, True, "")
        settings = json.loads((tmp_path / "settings.json").read_text())
        assert (settings["select"], settings["names"]) == (["t.py"], ["pkg"])
        assert f"{observed.env['PYTEST_PLUGINS']}.py" in os.listdir(tmp_path)
        readers = tuple(observed.readers)
    for reader in readers:
        with pytest.raises(OSError, match="descriptor"):
            os.fstat(reader)
    for fd in (keys, report, stream):
        with suppress(OSError):
            os.fstat(fd)
            pytest.fail("a descriptor stayed open")


def test_what_runs_beside_the_tests_warns_of_nothing():
    """A suite that makes warnings errors would fail by ours: nothing stays open, nothing is old."""
    code = "import pytest; from self_coding.gate.observer.canaries import sing; sing(pytest)"
    argv = [sys.executable, "-X", "dev", "-W", "always", "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stderr == ""
