#!/usr/bin/env python3
"""Which files aider's repository map puts first for a task: a peer of `localize.py --aider PYTHON`.

Runs in aider's own environment, and imports nothing of ours. A line of input is a JSON object of
`root` and `task`; a line of output the files of its ranked tags, best first, those that a map of
4,000 tokens names, and the CPU seconds.
What the task mentions is found as aider does: its words as identifiers, the files that it names,
and those that are called like one of its words.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import PurePosixPath

from aider.io import InputOutput
from aider.repomap import RepoMap

_BUDGET = 4000
_SHORT = 5  # aider takes shorter words for no file's name


class Tokens:
    """Counts tokens as ours does: of four characters."""

    def token_count(self, text: str) -> float:
        """Return how many a text has."""
        return len(text) / 4


def shown(maps: dict[str, RepoMap], root: str, task: str) -> tuple[list[str], list[str]]:
    """Return the files of a tree by rank, and those that a map within the budget names."""
    if root not in maps:
        io = InputOutput(yes=True, pretty=False)
        maps[root] = RepoMap(_BUDGET, root, main_model=Tokens(), io=io, refresh="always")
    argv = ["git", "-C", root, "ls-files", "-z"]
    listed = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split("\0")
    files = [path for path in listed if path]
    words = {*re.split(r"\W+", task)}
    named = {path for path in files if path in task or PurePosixPath(path).name in task}
    long = {word.lower() for word in words if len(word) >= _SHORT}
    named |= {path for path in files if PurePosixPath(path).stem.lower() in long}
    places = [f"{root}/{path}" for path in files]
    tags = maps[root].get_ranked_tags([], places, named, words)
    text = maps[root].get_ranked_tags_map([], places, _BUDGET, named, words) or ""
    inside = {line.removesuffix(":") for line in text.splitlines()}
    return list(dict.fromkeys(tag[0] for tag in tags)), [path for path in files if path in inside]


def main() -> None:
    maps: dict[str, RepoMap] = {}
    told, sys.stdout = sys.stdout, sys.stderr  # aider prints what it is at
    for line in sys.stdin:
        asked, before = json.loads(line), time.process_time()
        ranked, inside = shown(maps, asked["root"], asked["task"])
        print(
            json.dumps([ranked[:10], inside, time.process_time() - before]), file=told, flush=True
        )


if __name__ == "__main__":
    main()
