"""What GitSafety costs beside plain git doing the least it could, in CPU milliseconds.

    pip download Django==5.1.4 --no-binary :all: --no-deps -d /tmp/django
    python bench/git.py /tmp/django/Django-5.1.4.tar.gz [--dir /dev/shm] [--rounds 5]

User and system time of this process and its children, median of the rounds; the interpreter's
start is not in it. The tree is dirty: 20 changed files, 200 new ones, one of 20 MB.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import shutil
import statistics
import subprocess
import tarfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from self_coding.adapters import git
from self_coding.git_safety import GitSafety

CALLS = [0]


def sh(place: Path, *args: str) -> str:
    return subprocess.run(
        ["git", *args], cwd=place, check=True, capture_output=True, text=True
    ).stdout.strip()


def tree(archive: Path, place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    with tarfile.open(archive) as packed:
        packed.extractall(place, filter="data")
    [inner] = place.iterdir()
    for child in inner.iterdir():
        child.rename(place / child.name)
    inner.rmdir()
    sh(place, "init", "-q", "-b", "main")
    for key, value in {"user.name": "P", "user.email": "p@p", "gc.auto": "0"}.items():
        sh(place, "config", key, value)
    sh(place, "add", "-A", "-f")
    sh(place, "commit", "-qm", "one")
    sh(place, "gc", "-q")


def dirty(place: Path) -> None:
    for name in sh(place, "ls-files", "django/*.py").splitlines()[:400:20]:
        with (place / name).open("a") as file:
            file.write("# changed\n")
    for number in range(200):
        target = place / "new" / f"f{number}.txt"
        target.parent.mkdir(exist_ok=True)
        target.write_text(f"new {number}\n")
    (place / "new" / "big.bin").write_bytes(os.urandom(20_000_000))


def count_calls() -> None:
    real = git.start

    def start(argv, **kw):  # type: ignore[no-untyped-def]
        CALLS[0] += 1
        return real(argv, **kw)

    git.start = start


def fine() -> float:
    """CPU seconds of this process and its children, finer than os.times."""
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in parts) * 1000


async def measure(
    name: str, rounds: int, work: Callable[[], Awaitable[object]],
    before: Callable[[], Awaitable[object]] | None = None,
) -> float:  # fmt: skip
    spent, calls = [], 0
    for _ in range(rounds):
        if before is not None:
            await before()
        CALLS[0], start = 0, fine()
        await work()
        spent.append(fine() - start)
        calls = CALLS[0]
    value = statistics.median(spent)
    print(f"{name:52} {value:8.1f} ms CPU {calls:4} git", flush=True)
    return value


def plainly(place: Path, *commands: str) -> Callable[[], Awaitable[object]]:
    async def work() -> None:
        for command in commands:
            sh(place, *command.split())

    return work


async def bench(place: Path, rounds: int) -> None:
    g = GitSafety(place, test_command="true")
    dirty(place)
    print("-- plain git")
    await measure("git status", rounds, plainly(place, "status --porcelain"))
    await measure("git stash push -u; pop", 1, plainly(place, "stash push -q -u", "stash pop -q"))
    print("-- snapshot")
    await measure("first snapshot (dirty, 20 MB new)", 1, lambda: g.snapshot(run_tests=False))
    await measure("repeat snapshot (dirty)", rounds, lambda: g.snapshot(run_tests=False))

    async def touch() -> None:
        for name in sh(place, "ls-files", "tests/*.py").splitlines()[:11]:
            with (place / name).open("a") as file:
                file.write(f"# {time.time_ns()}\n")

    await measure(
        "snapshot after 11 more files changed", rounds, lambda: g.snapshot(run_tests=False), touch
    )
    taken = await g.snapshot(run_tests=False)
    await touch()
    await measure("plan_rollback (11 files)", rounds, lambda: g.plan_rollback(taken))
    await measure("rollback (11 files)", rounds, lambda: g.rollback(taken), touch)
    print("-- attempts and landing (a person's dirty tree stands on main)")
    number = [0]

    async def free() -> None:
        number[0] += 1
        if number[0] > 1:
            await g.release(await g.isolate(f"a{number[0] - 1}"))

    await measure("isolate, first (a new worktree)", 1, lambda: g.isolate("a1"), free)
    await measure("isolate from the pool", rounds, lambda: g.isolate(f"a{number[0]}"), free)
    worktree = await g.isolate(f"a{number[0]}")
    for index, name in enumerate(sh(place, "ls-files", "docs/*.txt").splitlines()[:11]):
        (worktree.path / name).write_text(f"agent {index}\n")
    change = [await g.record(worktree, "agent")]
    await measure("record, nothing new", rounds, lambda: g.record(worktree, "agent"))

    landed: list[object] = []

    async def landing() -> None:
        what = await g.candidate(change[0])
        landed.append(await g.land(what))

    async def more() -> None:
        (worktree.path / "docs" / "more.txt").write_text(f"{time.time_ns()}\n")
        change[0] = await g.record(worktree, "more")

    await measure("candidate + land, the checkout follows", rounds, landing, more)
    print("  ", landed[-1])
    sh(place, "checkout", "-q", "-b", "elsewhere")
    await measure("candidate + land, the checkout is elsewhere", rounds, landing, more)
    sh(place, "checkout", "-q", "main")
    await measure("release", 1, lambda: g.release(worktree))
    print("-- the founding flow")
    flows = [0]

    async def flow() -> None:
        flows[0] += 1
        fresh = GitSafety(place, test_command="true")
        await fresh.snapshot(run_tests=False)
        branch = await fresh.create_branch(f"flow-{flows[0]}")
        (place / "README.rst").write_text(f"{time.time_ns()}\n")
        await fresh.commit("agent", ["README.rst"])
        await fresh.merge_to_main(branch, require_tests=False)

    await measure("snapshot + branch + commit + merge", rounds, flow)

    async def by_hand() -> None:
        flows[0] += 1
        sh(place, "stash", "create")
        sh(place, "checkout", "-q", "-b", f"flow-{flows[0]}")
        (place / "README.rst").write_text(f"{time.time_ns()}\n")
        sh(place, "commit", "-qm", "agent", "--", "README.rst")
        sh(place, "checkout", "-q", "main")
        sh(place, "merge", "-q", "--no-ff", "--no-edit", f"flow-{flows[0]}")

    await measure("the same by plain git (stash create, porcelain)", rounds, by_hand)
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    print(f"peak memory: this process {own} MiB, its largest child {children} MiB")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("archive", type=Path)
    parser.add_argument("--dir", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    place = options.dir / f"self-coding-bench-{os.getpid()}"
    try:
        tree(options.archive, place)
        count_calls()
        asyncio.run(bench(place, options.rounds))
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
