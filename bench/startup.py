#!/usr/bin/env python3
"""Measure what a command costs before it does anything: CPU seconds of whole processes.

    python bench/startup.py [REPOSITORY] [--times 9]

Each command runs in REPOSITORY (default: a small made one), in turn with the baseline, and the
least of N counts: what other work on the machine adds is not ours. The baseline is an interpreter
that imports the two libraries a command line of this kind is made with.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from self_coding import ModificationAttempt, open_app
from self_coding.testing import sample_repo

BASELINE = ("-c", "import pydantic, click")
LIMITS = {  # command: at most so many times the baseline
    ("--help",): 1.2,
    ("attempts",): 1.8,
    ("show-attempt", "1"): 1.8,
    ("relevant-files", "add two numbers"): 1.8,
    ("impact", "FILE"): 1.8,
    ("mcp",): 2.0,
    ("hook", "pre-edit"): 2.0,
    ("hook", "post-edit"): 3.0,
}
CLIENT = {"name": "bench", "version": "1"}
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": CLIENT}
GIVEN = {  # on standard input; FILE as above
    "mcp": [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
    ],
    "hook": [
        {
            "tool_name": "Edit",
            "tool_input": {"file_path": "FILE", "old_string": "a", "new_string": "b"},
        }
    ],
}  # fmt: skip


def cpu_seconds(words: tuple[str, ...], cwd: Path, file: str = "") -> float:
    """Return what one process and its children used, user and system."""
    said = [
        json.dumps(one).replace("FILE", file) + "\n"
        for one in GIVEN.get(next(iter(words[2:3]), ""), ())
    ]
    # Byte code is cached, as where a package is installed: compiling is no part of a start.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(cwd / ".git" / "byte-code")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    child = subprocess.Popen(
        [sys.executable, *words],
        cwd=cwd,
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert child.stdin is not None
    child.stdin.write("".join(said))
    child.stdin.close()
    _, _, used = os.wait4(child.pid, 0)
    child.returncode = 0
    return used.ru_utime + used.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("repository", nargs="?", type=Path)
    parser.add_argument("--times", type=int, default=9)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        top = given.repository or sample_repo(Path(folder) / "repository")
        tracked = subprocess.check_output(["git", "ls-files", "*.py"], cwd=top, text=True)
        file = next(name for name in tracked.splitlines() if not name.startswith("test"))
        commands = {
            words: ("-m", "self_coding", *(file if word == "FILE" else word for word in words))
            for words in LIMITS
        }
        journal = open_app(top).journal
        asyncio.run(journal.log_attempt(ModificationAttempt("Add two numbers")))
        for words in [BASELINE, *commands.values()]:
            cpu_seconds(words, top, file)  # byte code, index and journal are there from now on
        least = {words: float("inf") for words in [BASELINE, *commands]}
        for _ in range(given.times):
            least[BASELINE] = min(least[BASELINE], cpu_seconds(BASELINE, top))
            for words, argv in commands.items():
                least[words] = min(least[words], cpu_seconds(argv, top, file))
    base = least[BASELINE]
    print(f"{'baseline':32} {base:6.3f} CPU s")
    for words, limit in LIMITS.items():
        ratio = least[words] / base
        verdict = "" if ratio <= limit else f"  over {limit}"
        print(f"{' '.join(words):32} {least[words]:6.3f} CPU s  {ratio:4.1f} x{verdict}")
    return int(any(least[words] / base > limit for words, limit in LIMITS.items()))


if __name__ == "__main__":
    sys.exit(main())
