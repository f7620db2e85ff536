#!/usr/bin/env python3
"""Replay real commits as self-edits: the good land, the same with a bug planted are refused.

    python bench/replays.py HISTORIES [--per-repo 5] [--repos h11,tomlkit] [--work DIR] [--json OUT]

HISTORIES is a folder of git bundles. Each commit (its parent as the base, its own test suite as
the gate) is given to `self-coding self-edit --patch` on a fresh clone; then the same commit with
one mutated line, of which the plain suite is known to go red; then `self-coding similar-attempts`
is asked whether it warns. Prints one row a commit and the totals. The interpreter that runs this
needs `self_coding` and what the four test suites import:

    pip install pretend freezegun time-machine twisted simplejson structlog
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

SUITES = {
    "cachetools": "python -m pytest -q",
    "h11": "python -m pytest -q",
    "tomlkit": "python -m pytest -q --ignore tests/test_toml_tests.py",
    "structlog": "python -m pytest -q -p no:randomly",
}
MOST_UNFIT = 20  # commits, after which the interpreter lacks something rather than they
MUTATIONS = (
    (r" == ", " != "),
    (r" != ", " == "),
    (r" is not None", " is None"),
    (r" is None", " is not None"),
    (r" not in ", " in "),
    (r" in ", " not in "),
    (r" and ", " or "),
    (r" < ", " >= "),
    (r" > ", " <= "),
    (r"\bTrue\b", "False"),
    (r"\bFalse\b", "True"),
    (r"\bif not ", "if "),
    (r"\bif ", "if not "),
    (r"return .+", "return None"),
    (r" = .+", " = None"),
)


@dataclass
class Row:
    """What came of one commit."""

    repo: str
    commit: str
    subject: str
    good: str
    planted: str
    mutation: str
    warned: bool
    seconds: float


def git(cwd: Path, *args: str, stdin: str | None = None) -> str:
    done = subprocess.run(
        ["git", "-C", str(cwd), *args], capture_output=True, text=True, input=stdin, check=True
    )
    return done.stdout


def suite(cwd: Path, command: str) -> bool:
    """Whether the plain suite is green in this folder, the folder's own code imported."""
    shell = f"PYTHONPATH=src:. timeout 120 {command.replace('python', sys.executable, 1)} -x"
    done = subprocess.run(["sh", "-c", shell], cwd=cwd, capture_output=True)
    return done.returncode == 0


def commits(repo: Path) -> Iterator[str]:
    """Newest first: single-parent commits that change a little source code and nothing odd."""
    for commit in git(repo, "rev-list", "--no-merges", "HEAD").split():
        try:
            rows = git(repo, "diff", "--numstat", f"{commit}^", commit).splitlines()
        except subprocess.CalledProcessError:
            continue
        counts = [row.split("\t") for row in rows]
        paths = [row[2] for row in counts]
        source = [path for path in paths if path.endswith(".py") and "test" not in path]
        plain = all(path.endswith((".py", ".rst", ".md")) for path in paths)
        small = sum(int(row[0]) + int(row[1]) for row in counts if row[0] != "-") <= 300
        if source and plain and small and len(paths) <= 8 and "setup.py" not in paths:
            yield commit


def added_lines(repo: Path, commit: str) -> Iterator[tuple[str, int]]:
    """The (path, line) of each source line that the commit adds."""
    diff = git(repo, "diff", "-U0", "--no-renames", f"{commit}^", commit, "--", "*.py")
    path, line = "", 0
    for text in diff.splitlines():
        if text.startswith("+++ "):
            path = text[6:]
        elif found := re.match(r"@@ -\S+ \+(\d+)", text):
            line = int(found[1])
        elif text.startswith("+"):
            if "test" not in path:
                yield path, line
            line += 1


def plant(tree: Path, repo: Path, commit: str, command: str) -> tuple[str, str]:
    """A diff from the parent with one mutated line that turns the suite red, and the mutation."""
    for path, number in added_lines(repo, commit):
        file = tree / path
        lines = file.read_text().splitlines(keepends=True)
        original = lines[number - 1]
        if original.lstrip().startswith(("#", '"', "'", "@", "def ", "class ", "import", "from ")):
            continue
        for pattern, replacement in MUTATIONS:
            changed = re.sub(pattern, replacement, original.rstrip("\n"), count=1) + "\n"
            if changed == original:
                continue
            file.write_text("".join([*lines[: number - 1], changed, *lines[number:]]))
            if not suite(tree, command):
                diff = git(tree, "diff", "--binary", "--no-renames", f"{commit}^")
                git(tree, "checkout", "-q", "--", ".")
                return (
                    diff,
                    f"{path}:{number} {original.strip()[:40]!r} -> {changed.strip()[:40]!r}",
                )
            git(tree, "checkout", "-q", "--", ".")
    return "", ""


def attempt(clone: Path, subject: str, patch: str, command: str) -> dict[str, object]:
    """One `self-coding self-edit` on the command line."""
    argv = [sys.executable, "-m", "self_coding", "--repo", str(clone), "--json", "-q", "self-edit"]
    argv += [subject, "--patch", "-", "--test-command", command]
    done = subprocess.run(argv, capture_output=True, text=True, input=patch, timeout=900)
    try:
        told = json.loads(done.stdout)
    except json.JSONDecodeError:
        told = {"success": False, "message": f"{done.stdout[-400:]} {done.stderr[-400:]}"}
    return told if isinstance(told, dict) else {}


def replay(bundle: Path, commit: str, work: Path, command: str) -> Row | None:
    """One commit: land it, then have it refused with a bug planted; None where it cannot tell."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    repo, clone, tree = bundle, work / "clone", work / "tree"
    for folder in (clone, tree):
        shutil.rmtree(folder, ignore_errors=True)
        git(work, "clone", "-q", str(repo), str(folder))
    git(tree, "checkout", "-q", "--detach", f"{commit}^")
    if not suite(tree, command):
        return None
    git(tree, "checkout", "-q", "--detach", commit)
    if not suite(tree, command):
        return None
    planted, mutation = plant(tree, repo, commit, command)
    if not planted:
        return None
    git(clone, "checkout", "-q", "-B", "main", f"{commit}^")
    subject = git(repo, "show", "-s", "--format=%s", commit).strip()
    good = git(repo, "diff", "--binary", "--no-renames", f"{commit}^", commit)
    bad = attempt(clone, subject, planted, command)
    head = git(clone, "rev-parse", "main").strip()
    parent = git(repo, "rev-parse", f"{commit}^").strip()
    warned = attempt_warns(clone, subject)
    landed = attempt(clone, subject, good, command)
    same = git(clone, "rev-parse", "main^{tree}") == git(repo, "rev-parse", f"{commit}^{{tree}}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Row(
        repo=bundle.name,
        commit=commit[:9],
        subject=subject[:60],
        good="landed" if landed.get("success") and same else f"NOT: {landed.get('message')}",
        planted="refused" if head == parent and not bad.get("success") else "LANDED",
        mutation=mutation,
        warned=warned,
        seconds=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    )


def attempt_warns(clone: Path, subject: str) -> bool:
    """Whether `similar` brings up the refused attempt as a dead end or first hit."""
    argv = [
        sys.executable,
        "-m",
        "self_coding",
        "--repo",
        str(clone),
        "--json",
        "similar-attempts",
        subject,
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    told = json.loads(done.stdout or "{}")
    return bool(told.get("dead_end")) and bool(told.get("similar"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("histories", type=Path)
    parser.add_argument("--per-repo", type=int, default=5)
    parser.add_argument("--repos", default=",".join(SUITES))
    parser.add_argument("--work", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="replays-", dir=options.work))
    rows: list[Row] = []
    try:
        for name in options.repos.split(","):
            mirror = work / name
            git(
                work,
                "clone",
                "-q",
                "--bare",
                str(options.histories / f"{name}.bundle"),
                str(mirror),
            )
            branch = git(mirror, "for-each-ref", "--format=%(refname)", "refs/heads").split()[0]
            git(mirror, "symbolic-ref", "HEAD", branch)
            found, unfit = 0, 0
            for commit in commits(mirror):
                row = replay(mirror, commit, work, SUITES[name])
                if row is None:
                    unfit += 1
                    if not found and unfit == MOST_UNFIT:
                        raise SystemExit(f"{name}: no commit's suite is green; see --help")
                    continue
                rows.append(row)
                found += 1
                print(
                    f"| {row.repo} | {row.commit} | {row.subject} | {row.good} | {row.planted} "
                    f"| {'warned' if row.warned else 'silent'} | {row.mutation} |",
                    flush=True,
                )
                if found == options.per_repo:
                    break
    finally:
        shutil.rmtree(work, ignore_errors=True)
    good = sum(row.good == "landed" for row in rows)
    refused = sum(row.planted == "refused" for row in rows)
    warned = sum(row.warned for row in rows)
    print(f"{len(rows)} commits: {good} landed, {refused} refused when planted, {warned} warned")
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
