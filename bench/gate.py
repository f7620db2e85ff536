"""Figures of the gate: what each sandbox level contains, and what a trivial run costs.

    python bench/gate.py hostile [PYTHON]   # PYTHON must be readable by the ordinary user
    python bench/gate.py overhead
    python bench/gate.py cost PYTHON CLONE...   # PYTHON runs the suites of the clones

`hostile` runs the corpus of `tests/fault/gate_hostile.py` as this user and, when this user is
root, as `nobody` too. `cost` lands edits in copies of the clones: the first one, one of the code
alone, one of the code and a test; each beside the suite alone. CPU times are user + system of the
process and its children.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
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
from self_coding.config import open_layer  # noqa: E402
from self_coding.gate import gate_run  # noqa: E402
from self_coding.testing import ScriptedEditor  # noqa: E402

LEVELS = "bwrap,landlock,limits,plain"


def main(argv: list[str]) -> None:
    if argv[:1] == ["overhead"]:
        overhead()
    elif argv[:1] == ["cost"]:
        for clone in argv[2:]:
            cost(Path(argv[1]), Path(clone))
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


def cost(python: Path, clone: Path) -> None:
    """Print the CPU seconds of whole self-edits of a clone, and of its suite beside each."""
    runs = []  # the CPU seconds of each contained run of an edit
    was_run = gate_run.run

    def run(layout, command, **how):
        before = used()
        record = was_run(layout, command, **how)
        runs.append(round(used() - before, 2))
        return record

    gate_run.run = run
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder) / clone.name
        subprocess.run(["git", "clone", "-q", str(clone), str(top)], check=True)
        subprocess.run(["git", "-C", str(top), "checkout", "-q", "-B", "main"], check=True)
        os.environ["SELF_CODING_GATE__PYTHON"] = str(python)
        os.environ["SELF_CODING_TEST_COMMAND"] = "python -m pytest -q --tb=short"
        env = {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}"}
        env["PYTHONPATH"] = str(top / "src") if (top / "src").is_dir() else str(top)
        listed = sorted((top / "src").glob("*/*.py")) or sorted(top.glob("*/*.py"))
        code = max((p for p in listed if "tests" not in p.parts), key=lambda p: p.stat().st_size)
        test = next(p for p in sorted(top.glob("**/test*.py")) if "def test_" in p.read_text())
        for what, paths in (("first", [code]), ("code", [code]), ("tests", [code, test])):
            alone = used()
            argv = ["sh", "-c", "python -m pytest -q --tb=short"]
            nothing = subprocess.DEVNULL
            subprocess.run(argv, cwd=top, env=env, stdin=nothing, capture_output=True)
            alone = used() - alone
            subprocess.run(["git", "-C", str(top), "clean", "-qfdx"], check=True)

            def edit(tree: Path, what=what, paths=paths) -> None:
                for path in paths:
                    name = "test_added" if path is test else "_added"
                    text = f"\n\ndef {name}_{what}():\n    assert 1 + 1 == 2\n"
                    with (tree / path.relative_to(top)).open("a") as file:
                        file.write(text)

            runs.clear()
            spent = used()
            result = asyncio.run(
                open_layer(top).edit.self_edit(f"Add one: {what}", editor=ScriptedEditor(edit))
            )
            spent = used() - spent
            print(
                f"{clone.name:10} {what:6} edit {spent:6.2f} s, suite {alone:6.2f} s,"
                f" {(spent - 0.8) / alone:5.2f} x + .8; runs {runs}"
                f" {result.message[:150]}",
                flush=True,
            )


def plain(repo: Repo, command: str) -> None:
    subprocess.run(["sh", "-c", command], cwd=repo.path, capture_output=True)


def checkout_only(repo: Repo, commit: str) -> None:
    with repo.checkout(commit):
        pass


def fresh(repo: Repo, commit: str, level: str, command: str) -> None:
    gate = repo.gate(command, sandbox=level)
    shutil.rmtree(gate.memory.folder / "verdicts", ignore_errors=True)
    report = gate.run(commit, tree=repo.tree(commit))
    assert report.passed, report.output


def cpu(call: Callable[[], object]) -> float:
    """The median CPU milliseconds of seven calls."""
    spent = []
    for _ in range(7):
        before = used()
        call()
        spent.append((used() - before) * 1000)
    return round(statistics.median(spent), 1)


def used() -> float:
    both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    found = [resource.getrusage(who) for who in both]
    return sum(one.ru_utime + one.ru_stime for one in found)


if __name__ == "__main__":
    main(sys.argv[1:])
