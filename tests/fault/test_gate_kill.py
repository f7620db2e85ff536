"""Nothing outlives a run: at the time limit, when the call is cancelled, when we are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from gate_repo import LEVELS, Repo

from self_coding.adapters import process, sandbox
from self_coding.adapters.sandbox import RunLimits, SandboxSpec
from self_coding.errors import GateError

# three ways out: a double fork with setsid, a child that ignores TERM, a holder of the pipe
ESCAPES = r"""
import os, signal, sys, time
mark = sys.argv[1]
def child(*, detach, deaf):
    if os.fork():
        return
    if detach:
        os.setsid()
        if os.fork():
            os._exit(0)
    if deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.execv(sys.executable, [sys.executable, '-S', '-c', 'import time; time.sleep(300)', mark])
child(detach=True, deaf=False)
child(detach=True, deaf=True)
child(detach=False, deaf=True)
open('started', 'w').close()
time.sleep(300)
"""


def box(tree: Path, **more: object) -> SandboxSpec:
    (tree / "escape.py").write_text(ESCAPES)
    env = {"PATH": os.environ["PATH"]}
    prefixes = {Path(sys.base_prefix), Path(sys.prefix)}
    return SandboxSpec(
        tree=tree, mount=tree, env=env, readable=tuple((p, p) for p in prefixes), **more
    )


def alive(mark: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def gone_within(mark: str, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not alive(mark):
            return True
        time.sleep(0.05)
    return False


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, "the contained command did not start"
        time.sleep(0.02)


def command(mark: str) -> str:
    return f"{sys.executable} escape.py {mark}"


@pytest.mark.parametrize("level", LEVELS)
def test_a_time_limit_leaves_nothing(tmp_path, level):
    """At the time limit every descendant ends, detached and deaf ones included."""
    mark = f"mark-{os.getpid()}-limit-{level}"
    limits = RunLimits(timeout=1.5)
    done = sandbox.run(box(tmp_path), command(mark), limits, at=level)
    assert done.timed_out
    assert (tmp_path / "started").exists()
    assert gone_within(mark, 10)


@pytest.mark.parametrize("level", LEVELS)
def test_the_end_of_the_command_ends_what_it_left_behind(tmp_path, level):
    """A background child that holds the output neither delays the result nor survives it."""
    mark = f"mark-{os.getpid()}-end-{level}"
    shell = f"({command(mark)} &) ; while ! [ -e started ]; do sleep 0.05; done"
    done = sandbox.run(box(tmp_path), shell, RunLimits(timeout=150), at=level)
    assert (done.returncode, done.timed_out) == (0, False)
    assert done.seconds < 30
    assert gone_within(mark, 10)


@pytest.mark.parametrize("level", LEVELS)
def test_cancelling_leaves_nothing(tmp_path, level):
    """Cancelling the scope of a call ends the run and all that it started."""
    mark = f"mark-{os.getpid()}-cancel-{level}"
    scope = process.Scope()
    results = []

    def work() -> None:
        with process.scope(scope):
            results.append(
                sandbox.run(box(tmp_path), command(mark), RunLimits(timeout=150), at=level)
            )

    thread = threading.Thread(target=work)
    thread.start()
    wait_for(tmp_path / "started")
    scope.cancel()
    thread.join(10)
    assert not thread.is_alive()
    assert gone_within(mark, 10)


_OURS = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
import test_gate_kill as t
t.sandbox.run(t.box(Path({tree!r})), t.command({mark!r}), t.RunLimits(timeout=150), at={level!r})
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("level", LEVELS)
def test_our_own_end_leaves_nothing(tmp_path, level, number):
    """kill -9 and Ctrl-C of the process that runs the gate leave no descendant."""
    mark = f"mark-{os.getpid()}-{int(number)}-{level}"
    code = _OURS.format(here=str(Path(__file__).parent), tree=str(tmp_path), mark=mark, level=level)
    ours = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    try:
        wait_for(tmp_path / "started")
        ours.send_signal(number)
        ours.wait(10)
    finally:
        ours.kill()
    assert gone_within(mark, 10), alive(mark)


def test_a_command_that_kills_its_supervisor_is_swept(tmp_path):
    """At the weakest level, killing the supervisor frees nobody."""
    mark = f"mark-{os.getpid()}-supervisor"
    shell = (
        f"{command(mark)} & while ! [ -e started ]; do sleep 0.05; done; kill -9 $PPID; sleep 99"
    )
    sandbox.run(box(tmp_path), shell, RunLimits(timeout=20), at="limits")
    assert gone_within(mark, 10)


def test_a_hanging_test_is_named(tmp_path):
    """A test that hangs is ended at the limit and named in the report."""
    repo = Repo(tmp_path / "repo")
    commit = repo.commit({"test_h.py": "import time\n\ndef test_hangs():\n    time.sleep(99)\n"})
    report = repo.run(commit, timeout=3)
    assert (report.passed, report.timed_out) == (False, True)
    assert report.reason == "the time limit was reached in test_h.py::test_hangs"


def test_a_cancelled_gate_keeps_nothing(tmp_path):
    """A run that is cancelled leaves no verdict behind; the next one is run again."""
    repo = Repo(tmp_path / "repo")
    slow = "import pathlib, time\n\ndef test_slow():\n    if not pathlib.Path('fast').exists():\n"
    commit = repo.commit({"test_s.py": slow + "        time.sleep(99)\n"})
    gate, scope, raised = repo.gate(), process.Scope(), []

    def work() -> None:
        with process.scope(scope):
            try:
                gate.run(commit, tree=repo.tree(commit))
            except GateError as error:
                raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(2)
    scope.cancel()
    thread.join(20)
    assert [error.message for error in raised] == ["the run was cancelled"]
    assert not list((gate.memory.folder / "verdicts").glob("*"))


def test_much_output_takes_little_memory(tmp_path):
    """300 MB of output: head and tail are kept, the cut is marked, our memory stays flat."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import test_gate_kill as t\n"
        "b = t.box(Path(sys.argv[1]))\n"
        "c = 'echo the head; head -c 300000000 /dev/zero | tr \"\\\\0\" x; echo the tail'\n"
        "d = t.sandbox.run(b, c, t.RunLimits(timeout=150), at=sys.argv[2])\n"
        # not getrusage: its peak is inherited from the process that started this one
        "words = Path('/proc/self/status').read_text().split()\n"
        "peak = int(words[words.index('VmHWM:') + 1]) // 1024\n"
        "print(d.returncode, len(d.stdout) < 1100000, d.stdout[:8], d.stdout[-9:], d.truncated)\n"
        "print(b'bytes left out' in d.stdout)\n"
        "print(peak)\n"
    )
    argv = [sys.executable, "-c", code, str(tmp_path), "bwrap"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=150)
    lines = done.stdout.splitlines()
    assert lines[:2] == ["0 True b'the head' b'the tail\\n' True", "True"], done
    assert int(lines[2]) < 60, f"{lines[2]} MB"
