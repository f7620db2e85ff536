#!/usr/bin/env python3
"""Which files aider's repository map puts first for a task: a peer of `localize.py --aider PYTHON`.

Runs in aider's own environment, and imports nothing of ours. A line of input is a JSON object of
`root` and `task`; a line of output the files of its ranked tags, best first, and the CPU seconds.
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

_SHORT = 5  # aider takes shorter words for no file's name


def ranked(maps: dict[str, RepoMap], root: str, task: str) -> list[str]:
    """Return the files of a tree, those first that the map would show first."""
    one = maps.setdefault(root, RepoMap(4000, root, io=InputOutput(yes=True, pretty=False)))
    argv = ["git", "-C", root, "ls-files", "-z"]
    files = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split("\0")
    words = {*re.split(r"\W+", task)}
    named = {path for path in files if path and (path in task or PurePosixPath(path).name in task)}
    long = {word.lower() for word in words if len(word) >= _SHORT}
    named |= {path for path in files if PurePosixPath(path).stem.lower() in long}
    tags = one.get_ranked_tags([], [f"{root}/{path}" for path in files if path], named, words)
    return list(dict.fromkeys(tag[0] for tag in tags))


def main() -> None:
    maps: dict[str, RepoMap] = {}
    for line in sys.stdin:
        asked, before = json.loads(line), time.process_time()
        found = ranked(maps, asked["root"], asked["task"])[:10]
        print(json.dumps([found, time.process_time() - before]), flush=True)


if __name__ == "__main__":
    main()
