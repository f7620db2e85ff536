"""A person who switches branches, commits and comes back, as fast as git lets them, under landings.

    python bench/switches.py --minutes 1 --burn 3

One process lands three files again and again; the person makes a branch, commits one file there,
comes back to main and commits one there. Whatever else is in one of their commits was carried onto
their branch, or takes a landing back from main. `--burn` adds processes that only burn CPU, which
stretches every moment between two steps of git. Exit status 1 when there was any.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from self_coding.git_safety import GitSafety
from self_coding.testing import git, sample_repo, write_files
from self_coding.values.repository import Candidate, Landed

TRIES = 200
LEAVES = (("switch", "-qc"), ("checkout", "-qb"))
RETURNS = (("switch", "-q", "main"), ("checkout", "-q", "main"), ("switch", "-q", "-"))
BUSY = ("index.lock", "cannot lock ref")


async def _land(repo: Path, until: float) -> Counter[str]:
    """Landings of three files each, until the time is over."""
    safety = GitSafety(repo, test_command="true", actor="lander")
    told: Counter[str] = Counter()
    number = 0
    while time.time() < until:
        number += 1
        tree = await safety.isolate(f"a{number}")
        write_files(
            tree.path, {f"src/m{i}.py": f"x = {number}\n" + "y = 1\n" * 50 for i in range(3)}
        )
        what = await safety.candidate(await safety.record(tree, f"landing {number}"))
        if isinstance(what, Candidate):
            done = await safety.land(what)
            told["landed" if isinstance(done, Landed) else "moved"] += 1
        await safety.release(tree)
    return told


def lander(repo: Path, until: float) -> None:
    print("landings:", dict(asyncio.run(_land(repo, until))), flush=True)


def burn(until: float) -> None:
    while time.time() < until:
        pass


class Person:
    """Plain git, and the paths that each commit of theirs must hold."""

    def __init__(self, repo: Path) -> None:
        self.repo = repo
        self.again = 0
        self.wrong: list[str] = []

    def git(self, *words: str) -> str:
        for _ in range(TRIES):
            done = subprocess.run(
                ["git", *words], cwd=self.repo, capture_output=True, text=True, check=False
            )
            if not done.returncode:
                return done.stdout
            if not any(one in done.stderr for one in BUSY):
                break
            self.again += 1
            time.sleep(0.02)
        raise SystemExit(f"git {' '.join(words)}: {done.stderr}")

    def commit(self, path: str, content: str) -> None:
        write_files(self.repo, {path: content})
        self.git("add", "--", path)
        made = self.git("commit", "-m", path).split("]")[0].split()[-1]
        touched = self.git("diff", "--name-only", f"{made}^", made).split()
        if touched != [path]:
            self.wrong.append(f"{content.strip()}: {made} touches {touched}")
            print(self.wrong[-1], flush=True)

    def work(self, until: float) -> int:
        turn = 0
        while time.time() < until:
            turn += 1
            self.git(*random.choice(LEAVES), f"idea-{turn}")
            time.sleep(random.choice((0, 0.02, 0.1, 0.4)))
            self.commit(f"own/{turn}.txt", "on a branch\n")
            self.git(*random.choice(RETURNS))
            self.commit(f"own/{turn}.txt", "on main\n")
        return turn


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--burn", type=int, default=3, help="processes that only burn CPU")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        repo = sample_repo(Path(folder) / "repo", {"own/notes.md": "notes\n"})
        git(repo, "config", "gc.auto", "0")  # its packing in the background is no subject here
        until = time.time() + 60 * args.minutes
        others = [multiprocessing.Process(target=lander, args=(repo, until))]
        others += [multiprocessing.Process(target=burn, args=(until,)) for _ in range(args.burn)]
        for one in others:
            one.start()
        person = Person(repo)
        turns = person.work(until - 1)
        for one in others:
            one.join()
        git(repo, "fsck", "--no-dangling")
    print(
        f"{turns} branches, {2 * turns} commits of the person, told to try again {person.again} "
        f"times: {len(person.wrong)} wrong commits"
    )
    sys.exit(bool(person.wrong) or any(one.exitcode for one in others))


if __name__ == "__main__":
    os.environ["PYTHONWARNINGS"] = "ignore"
    main()
