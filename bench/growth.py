"""How far do snapshots grow a repository? Many of them, one changed file each, beside naive copies.

    python bench/growth.py [--snapshots 10000] [--files 300] [--bytes 4000]

A repository of that many files of that many random printable bytes; before each snapshot one of
them changes. What `.git` takes on the disk (in blocks, as `du` counts) is set beside one copy of
the working tree for each snapshot, after every tenth part and after `gc`. Exit status 1 at 2 %.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import string
import subprocess
import tempfile
from pathlib import Path

from self_coding import GitSafety

REACH = 0.02


def blocks(place: Path) -> int:
    """Bytes on the disk."""
    return int(subprocess.check_output(["du", "-s", "-B1", str(place)]).split()[0])


def filled(place: Path, files: int, size: int, rng: random.Random) -> list[Path]:
    """The repository's files, committed."""
    paths = [place / f"pkg{n % 20}" / f"module{n}.py" for n in range(files)]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(rng.choices(string.printable, k=size)))
    for command in ("init -q -b main", "add -A", "-c user.name=a -c user.email=a@b commit -qm a"):
        subprocess.run(["git", *command.split()], cwd=place, check=True)
    return paths


async def grow(place: Path, paths: list[Path], count: int, rng: random.Random) -> float:
    """Take the snapshots, print as they go, and give the last share of the naive copies."""
    git = GitSafety(place, test_command="true")
    copy, empty, share = blocks(place) - blocks(place / ".git"), blocks(place / ".git"), 0.0
    print("snapshots  grown MiB  naive MiB  share")
    for number in range(1, count + 1):
        path = rng.choice(paths)
        path.write_text(path.read_text()[:-10] + f"{number:010}")
        await git.snapshot(run_tests=False)
        if number % max(1, count // 10) == 0:
            share = report(place, number, copy, empty)
    await git.gc(keep=count)
    print("after gc, all of them kept:")
    return max(share, report(place, count, copy, empty))


def report(place: Path, number: int, copy: int, empty: int) -> float:
    grown, naive = blocks(place / ".git") - empty, number * copy
    sizes = f"{grown / 2**20:10.1f} {naive / 2**20:10.0f}"
    print(f"{number:9,} {sizes} {grown / naive:6.2%}", flush=True)
    return grown / naive


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--snapshots", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--bytes", type=int, default=4_000)
    options = parser.parse_args()
    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        paths = filled(Path(folder), options.files, options.bytes, rng)
        share = asyncio.run(grow(Path(folder), paths, options.snapshots, rng))
    used = sum(resource.getrusage(who).ru_utime for who in (0, -1))
    print(f"{share:.2%} of naive copies at the most in the end; {used:.0f} s of user CPU")
    return share >= REACH


if __name__ == "__main__":
    raise SystemExit(main())
