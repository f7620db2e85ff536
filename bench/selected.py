"""Which tests a mutant breaks, and whether they are among the affected ones: Go and vitest.

    python bench/selected.py go|vitest FOLDER [MUTANTS [SEED]]

One operator or number is changed at a time, in files that are no tests; all tests run. A file of
tests is missed when it fails and `impact` of the changed file does not name it. Selected and needed
are numbers of files of tests; what fails without a mutant counts nowhere. A mutant that does not
build, or with which the tests take over two minutes, tells no test apart and is left out.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from self_coding.codebase_indexer import CodebaseIndexer
from self_coding.languages import is_test, is_test_module

SWAPS = {
    "==": "!=",
    "!=": "==",
    "<": ">=",
    ">": "<=",
    "&&": "||",
    "||": "&&",
    "+": "-",
    "true": "false",
}
SIGN = re.compile(r" (==|!=|<|>|&&|\|\||\+) |\b([0-9])\b")
ENDS = {"go": ".go", "vitest": (".ts", ".js", ".tsx", ".mjs")}
LIMIT = 120  # seconds a run of all tests may take


def go(folder: Path) -> set[str]:
    """Return the files of the tests that fail; none where the package is not built."""
    try:
        done = subprocess.run(["go", "test", "-json", "./..."], cwd=folder, capture_output=True,
                              text=True, timeout=LIMIT)  # fmt: skip
    except subprocess.TimeoutExpired:
        return set()
    top = re.search(r"(?m)^module (\S+)", (folder / "go.mod").read_text())
    found: set[str] = set()
    for line in done.stdout.splitlines():
        row = json.loads(line) if line.startswith("{") else {}
        if row.get("Action") == "fail" and "Test" in row and top:
            place = folder / row["Package"].removeprefix(top[1]).lstrip("/")
            name = row["Test"].partition("/")[0]
            for each in place.glob("*_test.go"):
                if re.search(rf"(?m)^func {name}\(", each.read_text()):
                    found.add(each.relative_to(folder).as_posix())
    return found


def vitest(folder: Path) -> set[str]:
    """Return the files of the tests that fail."""
    argv = ["npx", "--no-install", "vitest", "run", "--reporter=json"]
    try:
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return set()
    at = done.stdout.find('{"num')
    results = json.loads(done.stdout[at:])["testResults"] if at >= 0 else []
    failed = [Path(each["name"]) for each in results if each["status"] == "failed"]
    return {each.relative_to(folder).as_posix() for each in failed}


async def main() -> None:
    kind, folder = sys.argv[1], Path(sys.argv[2]).resolve()
    count, seed = int((*sys.argv, "100")[3]), int((*sys.argv, "", "1")[4] or 1)
    run = {"go": go, "vitest": vitest}[kind]
    listed = subprocess.run(["git", "ls-files"], cwd=folder, capture_output=True, text=True)
    files = [each for each in listed.stdout.split() if each.endswith(ENDS[kind])]
    tests = {each for each in files if is_test_module(each)}
    places = [
        (path, match.start(), match.group())
        for path in files
        if not is_test(path) and not path.endswith((".d.ts", ".config.ts", ".config.js"))
        for match in SIGN.finditer((folder / path).read_text())
    ]
    red = run(folder)
    killed = missed = selected = needed = 0
    with tempfile.TemporaryDirectory() as place:
        index = CodebaseIndexer(folder, db_path=Path(place) / "i.db")
        for path, at, old in random.Random(seed).sample(places, min(count, len(places))):
            text = (folder / path).read_text()
            sign = old.strip()
            new = old.replace(sign, SWAPS.get(sign, "7" if sign != "7" else "3"))
            chosen = set((await index.impact([path])).tests) & tests
            (folder / path).write_text(text[:at] + new + text[at + len(old) :])
            try:
                failed = (run(folder) - red) & tests
            finally:
                (folder / path).write_text(text)
            if failed:
                killed += 1
                selected += len(chosen)
                needed += len(failed)
                for each in sorted(failed - chosen):
                    missed += 1
                    print(f"  missed: {path}: {old!r} -> {new!r} breaks {each}", flush=True)
    share = f"{selected / max(1, killed):.1f} selected, {needed / max(1, killed):.1f} failed"
    print(f"{folder.name}: {killed} of {count} mutants noticed, {missed} tests missed")
    print(f"  of {len(tests)} files of tests {share}; {len(red)} red before")


if __name__ == "__main__":
    asyncio.run(main())
