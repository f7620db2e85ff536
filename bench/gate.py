"""Figures of the gate: what each sandbox level contains, and what a trivial run costs.

    python bench/gate.py hostile [PYTHON]   # PYTHON must be readable by the ordinary user
    python bench/gate.py overhead

`hostile` runs the corpus of `tests/fault/gate_hostile.py` as this user and, when this user is
root, as `nobody` too. CPU milliseconds are user + system of the process and its children.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(HERE / "src"), str(HERE / "tests" / "fault")]

from gate_hostile import PROGRAMS  # noqa: E402
from gate_repo import Repo  # noqa: E402

from self_coding.adapters import sandbox  # noqa: E402

LEVELS = "bwrap,landlock,limits,plain"


def main(argv: list[str]) -> None:
    if argv[:1] == ["overhead"]:
        overhead()
    else:
        hostile(argv[1] if len(argv) > 1 else sys.executable)


def hostile(ordinary: str) -> None:
    users = [("as this user", [], sys.executable)]
    if os.getuid() == 0:
        drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        users = [("as root", [], sys.executable), ("as nobody", drop, ordinary)]
    for name, prefix, python in users:
        with outside() as root:
            root.chmod(0o777)
            print(f"{name}:")
            argv = [*prefix, python, str(HERE / "tests/fault/gate_hostile.py"), str(root), LEVELS]
            done = subprocess.run(
                argv, env=environment(root), capture_output=True, text=True, timeout=600
            )
            if done.returncode:
                print(done.stderr)
                continue
            for level, found in json.loads(done.stdout).items():
                report(level, found)


def report(level: str, found: dict[str, object]) -> None:
    missed = found["missed"]
    assert isinstance(missed, list)
    count = f"{len(PROGRAMS) - len(missed)}/{len(PROGRAMS)}"
    print(f"  {level:9} {count}  control {found['control']}  not contained: {', '.join(missed)}")


def environment(root: Path) -> dict[str, str]:
    """The ordinary user's: with our sources and the bundled bubblewrap at hand."""
    binary = sandbox.bubblewrap()
    path = os.environ["PATH"] + (f":{binary.parent}" if binary else "")
    return {"PATH": path, "PYTHONPATH": str(HERE / "src"), "HOME": str(root)}


@contextlib.contextmanager
def outside() -> Iterator[Path]:
    """A folder that the sandbox does not hide by default, so that hiding proves nothing."""
    for parent in ("/srv", "/opt", tempfile.gettempdir()):
        if os.access(parent, os.W_OK):
            root = Path(tempfile.mkdtemp(prefix="gate-bench-", dir=parent))
            try:
                yield root
            finally:
                shutil.rmtree(root, ignore_errors=True)
            return


def overhead() -> None:

    with tempfile.TemporaryDirectory() as folder:
        repo = Repo(Path(folder) / "repo")
        commit = repo.commit({"test_a.py": "def test_a():\n    pass\n"})
        os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        sandbox.level()
        add = cpu(lambda: checkout_only(repo, commit))
        print(f"worktree add and remove (this bench's checkout, taken off below): {add} CPU ms")
        for command in ("true", "python -m pytest -q"):
            print(f"`{command}`: bare {cpu(lambda: plain(repo, command))} CPU ms", end="")  # noqa: B023
            for level in ("bwrap", "landlock", "limits"):
                spent = cpu(lambda: fresh(repo, commit, level, command))  # noqa: B023
                print(f", gate at {level} {spent - add:.1f}", end="")
            print()
        gate = repo.gate("true")
        gate.run(commit, tree=repo.tree(commit))
        tree = repo.tree(commit)
        print(f"cached verdict: {cpu(lambda: gate.run(commit, tree=tree))} CPU ms")


def counted(command: str) -> str:
    """The command, saying at its end what CPU time it and its children took."""
    return f"{command}; code=$?; times; exit $code"


def told(output: str) -> float:
    """The CPU seconds that `times` wrote: the shell's own and its children's."""
    found = re.findall(r"(\d+)m([\d.]+)s", "\n".join(output.splitlines()[-2:]))
    return sum(60 * int(minutes) + float(seconds) for minutes, seconds in found)


def plain(repo: Repo, command: str) -> None:
    subprocess.run(["sh", "-c", command], cwd=repo.path, capture_output=True)


def checkout_only(repo: Repo, commit: str) -> None:
    with repo.checkout(commit):
        pass


def fresh(repo: Repo, commit: str, level: str, command: str) -> float:
    gate = repo.gate(counted(command), sandbox=level)
    shutil.rmtree(gate.memory.folder / "verdicts", ignore_errors=True)
    report = gate.run(commit, tree=repo.tree(commit))
    assert report.passed, report.output
    # what runs inside bubblewrap is not a child that we wait for; elsewhere it is
    return told(report.output) if level == "bwrap" else 0.0


def cpu(call: Callable[[], object]) -> float:
    """The median CPU milliseconds of seven calls, with what the call says it spent elsewhere."""
    spent = []
    for _ in range(7):
        before = used()
        extra = call()
        more = extra if isinstance(extra, float) else 0.0
        spent.append((used() - before + more) * 1000)
    return round(statistics.median(spent), 1)


def used() -> float:
    both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    found = [resource.getrusage(who) for who in both]
    return sum(one.ru_utime + one.ru_stime for one in found)


if __name__ == "__main__":
    main(sys.argv[1:])
