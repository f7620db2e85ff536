"""Kill -9 real self-edits at every boundary and at random moments, resume them, and look.

    python bench/kills.py --kills 1000 --seed 1

Each trial works on a fresh copy of a small repository in which a person has uncommitted work.
A process attempts a self-edit and is killed; another resumes it, and may be killed too; the last
one is left to end. Then the repository is judged from outside, with plain git and the journal:

    lost          a person's file, staged content or commit is not as it was; fsck complains
    half-landed   main is neither where it was nor at the tested merge, or the journal and main
                  do not say the same
    twice         more than one landing on main
    stuck         an attempt is open, a worktree is held, or a later self-edit does not land

Exit status 1 when there was any.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from self_coding.app import App, open_app
from self_coding.self_edit import SelfEdit
from self_coding.self_edit.editors import CommandEditor
from self_coding.self_edit.ports import Services
from self_coding.testing import git, sample_repo, write_files

Trial = tuple[str, int, int, float]
"""The scenario, the points at which the first and the second process die, the seconds it lives."""

GATE = "! grep -rq bug src"
EDIT = "printf 'X = 1\\n' > src/calc/more.py; printf 'Y = 2\\n' >> src/calc/report.py"
RED = "printf 'bug = 1\\n' > src/calc/more.py"
SCENARIOS = ("good", "red", "retry", "moved", "best of two")
WATCHED = {
    "repository": ("isolate", "record", "candidate", "test", "land", "contains", "release"),
    "journal": ("begin", "append", "finish", "learn", "used"),
}


class Deadly:
    """A service whose watched methods count points; at the fatal one the process is killed."""

    counted = 0
    fatal = 0

    def __init__(self, service: object, watched: tuple[str, ...]) -> None:
        self._service = service
        self._watched = watched

    def __getattr__(self, name: str):
        method = getattr(self._service, name)
        if name not in self._watched:
            return method

        async def counted(*args: object, **kwargs: object) -> object:
            Deadly.point()
            done = await method(*args, **kwargs)
            Deadly.point()
            return done

        return counted

    @classmethod
    def point(cls) -> None:
        cls.counted += 1
        if cls.counted == cls.fatal:
            os.kill(os.getpid(), signal.SIGKILL)


def open_deadly(repo: Path) -> tuple[App, SelfEdit]:
    layer = open_app(repo, environ={}, test_command=GATE, gate={"baseline": False})
    services = layer.edit.services
    deadly = Services(
        Deadly(services.repository, WATCHED["repository"]),
        services.index,
        Deadly(services.journal, WATCHED["journal"]),
        services.reflection,
        services.rules,
    )
    leases = repo / ".git" / "self_coding" / "leases"
    return layer, SelfEdit(deadly, leases=leases, limits=layer.settings.limits)


def editor(scenario: str) -> CommandEditor:
    """One that can be had again after a crash."""
    told = "grep -q 'What failed before' $SELF_CODING_CONTEXT"
    lines = {
        "red": RED,
        "retry": f"if {told}; then {EDIT}; else {RED}; fi",
    }
    return CommandEditor(lines.get(scenario, EDIT), shell=True)


async def work(repo: Path, scenario: str, mode: str) -> None:
    """What one process does: begin a self-edit, or repair and resume what is open."""
    layer, edit = open_deadly(repo)
    if mode == "resume":
        await layer.git.recover()
        if (
            await edit.resume()
            or await layer.journal.attempts()
            or await layer.journal.unfinished()
        ):
            return
    tries = 3 if scenario == "retry" else 1
    best_of = 2 if scenario == "best of two" else 1

    def meddle(progress: object) -> None:
        flag = repo / ".git" / "stranger"
        if getattr(progress, "step", "") == "tested" and flag.exists():
            flag.unlink()
            stranger(repo)

    await edit.self_edit(
        "Add X and Y",
        editor=editor(scenario),
        tries=tries,
        best_of=best_of,
        on_progress=meddle,
    )


def stranger(repo: Path) -> None:
    """Somebody else moves main while we test."""
    tree = git(repo, "rev-parse", "main^{tree}")
    made = git(repo, "commit-tree", tree, "-p", "main", "-m", "somebody else")
    git(repo, "update-ref", "refs/heads/main", made)


def worker(args: argparse.Namespace) -> None:
    Deadly.fatal = args.kill_at
    asyncio.run(work(args.repo, args.scenario, args.worker))
    print(json.dumps({"points": Deadly.counted}))


def run(repo: Path, scenario: str, mode: str, *, kill_at: int = 0, after: float = 0.0) -> str:
    """One process: "killed", "ended N" after N points, or what went wrong."""
    argv = [sys.executable, __file__, "--worker", mode, "--repo", str(repo)]
    argv += ["--scenario", scenario, "--kill-at", str(kill_at)]
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, err = child.communicate(timeout=after or 120)
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
        return "killed" if after else "hung"
    if child.returncode == -signal.SIGKILL:
        return "killed"
    if child.returncode:
        return f"error: {err.decode()[-600:]}"
    return f"ended {json.loads(out.decode().splitlines()[-1])['points']}"


def prepare(folder: Path, scenario: str) -> tuple[Path, dict[str, str]]:
    """A repository with a person's work in it, and what it looks like."""
    repo = sample_repo(folder / "repo")
    git(repo, "checkout", "--quiet", "-b", "mine")
    write_files(repo, {"src/calc/core.py": "# half an idea\n", "notes.txt": "mine\n"})
    git(repo, "add", "notes.txt")
    write_files(repo, {"notes.txt": "mine, and more\n", "loose.txt": "loose\n"})
    if scenario == "moved":
        (repo / ".git" / "stranger").touch()
    return repo, look(repo)


def look(repo: Path) -> dict[str, str]:
    return {
        "status": git(repo, "status", "--porcelain", "--untracked-files=all"),
        "staged": git(repo, "diff", "--cached"),
        "unstaged": git(repo, "diff"),
        "head": git(repo, "symbolic-ref", "HEAD") + git(repo, "rev-parse", "HEAD"),
        "loose": (repo / "loose.txt").read_text(),
    }


def judge(repo: Path, scenario: str, before: dict[str, str], base: str) -> list[str]:
    """What is wrong, in the words of the table."""
    wrong = []
    fsck = subprocess.run(["git", "fsck", "--strict"], cwd=repo, capture_output=True, check=False)
    if look(repo) != before or fsck.returncode:
        wrong.append("lost")
    merges = git(repo, "rev-list", "--first-parent", "--merges", f"{base}..main").split()
    wanted = 0 if scenario == "red" else 1
    if len(merges) > 1:
        wrong.append("twice")
    layer = open_app(repo, environ={}, test_command=GATE, gate={"baseline": False})
    stages = asyncio.run(_stages(layer))
    if len(merges) != stages["landed"] or (merges and not _whole(repo)):
        wrong.append("half-landed")
    open_ = asyncio.run(layer.journal.unfinished())
    if open_ or len(merges) < wanted or not asyncio.run(_goes_on(layer)):
        wrong.append("stuck")
    return wrong


async def _stages(layer: App) -> Counter[str]:
    attempts = await layer.journal.attempts(100)
    return Counter([await layer.journal.stage(one.id or 0) for one in attempts])


def _whole(repo: Path) -> bool:
    more = git(repo, "show", "main:src/calc/more.py")
    return more == "X = 1" and git(repo, "show", "main:src/calc/report.py").endswith("Y = 2")


async def _goes_on(layer: App) -> bool:
    """Whether a further self-edit lands as if nothing had been."""
    edit = CommandEditor("printf 'Z = 3\\n' > src/calc/later.py", shell=True)
    result = await layer.edit.self_edit("Add Z", editor=edit)
    return result.success


def trial(scenario: str, first: int, second: int, after: float) -> tuple[int, list[str]]:
    """Kill once or twice, resume to the end, judge; the kills that hit and what went wrong."""
    folder = Path(tempfile.mkdtemp(prefix="self-coding-kills-"))
    try:
        repo, before = prepare(folder, scenario)
        base = git(repo, "rev-parse", "main")
        told = [run(repo, scenario, "first", kill_at=first, after=after)]
        if second:
            told.append(run(repo, scenario, "resume", kill_at=second))
        kills = told.count("killed")
        told.append(run(repo, scenario, "resume"))
        wrong = judge(repo, scenario, before, base)
        wrong += [one for one in told if one.startswith(("error", "hung"))]
        return kills, [f"{scenario} {first} {second} {after:.3f}: {one}" for one in wrong]
    except Exception as error:  # noqa: BLE001 - whatever it is, this trial is a fault to report
        return 0, [f"{scenario} {first} {second} {after:.3f}: {type(error).__name__}: {error}"]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def points(scenario: str) -> int:
    """How many points an undisturbed self-edit has."""
    folder = Path(tempfile.mkdtemp(prefix="self-coding-kills-"))
    try:
        repo, _ = prepare(folder, scenario)
        told = run(repo, scenario, "first")
        if not told.startswith("ended "):
            raise SystemExit(f"{scenario}: an undisturbed self-edit did not end: {told}")
        return int(told.removeprefix("ended "))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def boundaries(counts: Counter[str], dice: random.Random) -> Iterator[Trial]:
    """Every boundary of every scenario once, then pairs and random moments, without end."""
    each = [(name, point, 0, 0.0) for name in counts for point in range(1, counts[name] + 1)]
    dice.shuffle(each)
    yield from each
    while True:
        name = dice.choice(list(counts))
        if dice.random() < 0.5:
            yield name, 0, 0, dice.uniform(0.3, 2.5)
        else:
            yield name, dice.randrange(1, counts[name] + 1), dice.randrange(1, 20), 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", choices=SCENARIOS, help="one scenario")
    parser.add_argument("--worker", choices=("first", "resume"))
    parser.add_argument("--repo", type=Path)
    parser.add_argument("--scenario", default="good")
    parser.add_argument("--kill-at", type=int, default=0)
    args = parser.parse_args()
    if args.worker:
        worker(args)
        return 0
    started = time.monotonic()
    names = [args.only] if args.only else list(SCENARIOS)
    counts = Counter({name: points(name) for name in names})
    print("points:", ", ".join(f"{name} {count}" for name, count in counts.items()), flush=True)
    planned = boundaries(counts, random.Random(args.seed))
    kills, trials, wrong = 0, 0, []
    with ThreadPoolExecutor(args.jobs) as pool:
        while kills < args.kills:
            some = list(islice(planned, min(args.kills - kills, 50)))
            for hit, faults in pool.map(lambda one: trial(*one), some):
                trials, kills, wrong = trials + 1, kills + hit, wrong + faults
                for fault in faults:
                    print(fault, flush=True)
            print(f"{trials} trials, {kills} kills", flush=True)
    table = Counter(fault.rsplit(": ", 1)[-1] for fault in wrong)
    rows = ", ".join(f"{table.get(k, 0)} {k}" for k in ("lost", "half-landed", "twice", "stuck"))
    minutes = (time.monotonic() - started) / 60
    print(f"{kills} kills in {trials} trials, seed {args.seed}: {rows}; {minutes:.1f} minutes")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
