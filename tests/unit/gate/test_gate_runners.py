"""Test runners: how a command is observed, and how its report comes back."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress

import pytest

from self_coding.adapters.process import Completed
from self_coding.gate.runners import ExitStatus, Pytest, Request, runner_for
from self_coding.gate.test_report import KEY_BYTES


@pytest.mark.parametrize(
    ("command", "named"),
    [("python -m pytest -q", True), ("py.test", True), ("make check", False), ("true", False)],
)
def test_silence_is_suspicious_only_of_a_runner_that_is_named(command, named):
    """pytest's plugin goes with every command; where pytest is named it must report."""
    assert runner_for(command).must_report(command) is named
    assert not ExitStatus().must_report(command)


def test_pytest_reports_through_a_pipe_with_one_time_keys(tmp_path):
    """What is written to the handed pipe, signed with a handed key, comes back as a report."""
    request = Request(folder=tmp_path, top=tmp_path / "tree", tests=["t.py"], import_names=["pkg"])
    with Pytest().observe(request) as observed:
        keys, report = observed.handed
        key = os.read(keys, KEY_BYTES)
        lines = b""
        for number, (kind, value) in enumerate([("hello", {}), ("end", {"status": 0})]):
            body = json.dumps([number, kind, value]).encode()
            mac = hashlib.blake2b(body, digest_size=8, key=key).hexdigest().encode()
            lines += key[:4].hex().encode() + b" " + mac + b" " + body + b"\n"
        for fd in observed.handed:  # as starting the command does
            os.close(fd)
        found = observed.report(Completed(("x",), 0, b"", b"", extra=(lines,)))
        assert (found.sessions, found.ended, found.tampered) == (1, True, "")
        settings = json.loads((tmp_path / "settings.json").read_text())
        assert (settings["select"], settings["names"]) == (["t.py"], ["pkg"])
        assert f"{observed.env['PYTEST_PLUGINS']}.py" in os.listdir(tmp_path)
        [reader] = observed.readers
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(reader)
    for fd in (keys, report):
        with suppress(OSError):
            os.fstat(fd)
            pytest.fail("a descriptor stayed open")


def test_an_exit_status_observes_nothing(tmp_path):
    """Where only the exit status is known, nothing is laid beside the tree or handed over."""
    with ExitStatus().observe(Request(folder=tmp_path, top=tmp_path)) as observed:
        assert (observed.env, observed.handed, observed.readers) == ({}, (), {})
        assert observed.report(Completed(("x",), 0, b"", b"")).sessions == 0
    assert os.listdir(tmp_path) == []
