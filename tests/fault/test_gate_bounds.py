"""The bounds over all processes of a run, and what a machine without room means for a verdict."""

from __future__ import annotations

import os
import re
import threading

import pytest
from gate_repo import PYTEST, Repo

from self_coding.adapters import sandbox
from self_coding.gate import run

FILLS = """import time
def test_it():
    for name in "abcdef":
        with open(name, "wb") as file:
            file.write(bytes(1 << 20))
    time.sleep(20)
"""


@pytest.fixture(params=["bwrap", "landlock"])
def level(request):
    if request.param == "bwrap" and sandbox.bubblewrap() is None:
        pytest.skip("no bubblewrap works here")
    return request.param


def test_the_bound_and_its_setting_are_in_the_reason(tmp_path, level):
    """Six files, each allowed, that are too much together: the run ends, and why is said."""
    repo = Repo(tmp_path / "repo")
    commit = repo.commit({"test_a.py": FILLS})
    gate = repo.gate(PYTEST, sandbox=level, file_bytes=2 << 20)
    report = gate.run(commit, tree=repo.tree(commit))
    assert not report.passed
    said = r"the run was ended: [2-6] MiB of files written; raise gate\.file_bytes"
    assert re.fullmatch(said, report.reason)


def test_a_full_disk_is_an_environment(tmp_path, level, monkeypatch):
    """What fails for want of room on the host is not the change's offence."""
    repo = Repo(tmp_path / "repo")
    commit = repo.commit(
        {"test_a.py": "def test_it():\n    raise OSError(28, 'No space left on device')\n"}
    )
    gate = repo.gate(PYTEST, sandbox=level)
    assert not gate.run(commit, tree=repo.tree(commit)).environment, "there is room"
    monkeypatch.setattr(run, "_LEAST_ROOM", 1 << 60)
    other = repo.commit({"b.txt": "x"})
    report = gate.run(other, tree=repo.tree(other))
    assert report.environment and "the disk is full" in report.reason


def test_a_pipe_in_a_carried_folder_leads_nowhere(tmp_path, level):
    """A pipe of a daemon takes what is written, also through a read-only mount: it is covered."""
    repo = Repo(tmp_path / "repo")
    test = "def test_it():\n    with open('run/in/pipe', 'w') as file:\n        file.write('x')\n"
    commit = repo.commit({"test_a.py": test, ".gitignore": "run/\n"})
    (repo.path / "run/in").mkdir(parents=True)
    os.mkfifo(repo.path / "run/in/pipe")
    reading = os.open(repo.path / "run/in/pipe", os.O_RDONLY | os.O_NONBLOCK)
    writing = os.open(repo.path / "run/in/pipe", os.O_WRONLY)  # else a reader sees an end
    os.set_blocking(reading, True)
    heard: list[bytes] = []
    threading.Thread(target=lambda: heard.append(os.read(reading, 10)), daemon=True).start()
    gate = repo.gate(PYTEST, sandbox=level, carry=("run",), timeout=20)
    report = gate.run(commit, tree=repo.tree(commit))
    assert heard == [] and not report.timed_out
    os.write(writing, b"end")
