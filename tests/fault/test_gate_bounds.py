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


GREEN = "def test_ok():\n    pass\n"
WEIGHTY = "x = " + " + ".join(["1"] * 400) + "\n"
ERRORS = {
    "no such module": {"test_a.py": WEIGHTY + "import no_such_module\n"},
    "no Python": {"test_a.py": "def test_a(:\n"},
    "a folder's conftest": {"sub/conftest.py": "import no_such_module\n", "sub/test_a.py": GREEN},
    "many files": {f"test_{n}.py": WEIGHTY + "import no_such_module\n" for n in range(60)},
    "a fixture of many": {
        "test_a.py": "import pytest\n\n@pytest.fixture\ndef bad():\n"
        "    raise OSError('x' * 2_999)\n\n"
        "@pytest.mark.parametrize('n', range(200))\ndef test_a(n, bad):\n    pass\n"
    },
    "an exit": {"test_a.py": "raise SystemExit(3)\n"},
    "recursion": {"test_a.py": "def f():\n    f()\n\nf()\n"},
}


@pytest.mark.parametrize("kind", ERRORS)
def test_what_cannot_be_collected_ends_in_bounds(tmp_path, kind):
    """Errors of collection and of fixtures end the run soon, with an output in bounds; those of
    main are known, and a change beside them lands, unless nothing at all can be collected."""
    repo = Repo(tmp_path / "repo")
    base = repo.commit({"test_green.py": GREEN, **ERRORS[kind]})
    changed = repo.commit({"a.txt": "x"})
    report = repo.run(changed, base, timeout=60, output_bytes=1 << 16)
    assert not report.timed_out
    assert report.seconds < 40
    assert len(report.output) <= (1 << 16) + 100
    if report.passed:
        assert report.known_failures
        assert report.new_failures == ()
    else:
        assert (kind, bool(report.reason)) in {("an exit", True), ("a folder's conftest", True)}
