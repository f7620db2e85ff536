"""Peers on strangers' and our own cheats: who refuses the cheats, who refuses honest changes.

    python bench/cheats/peers.py DATA/cheats PEERS-BIN [--set open|own|honest] [--part I/N]

`DATA/cheats` holds the packages and the open exam; `PEERS-BIN` is the `bin` of an environment with
agent-countercheck, ai-code-guardrails, arma-veto, pytest, pytest-xdist and hypothesis. Each change
is a commit on a small repository. countercheck runs the package's own test command with the tests,
settings and runners protected, so that the base's stand in for them; the other two read.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

PROTECTED = (
    *("tests/**", "conftest.py", "**/conftest.py", "pyproject.toml", "pytest.ini", "tox.ini"),
    *("setup.cfg", "Makefile", "GNUmakefile", "runtests.py", "runner.py", "settings.py"),
)


def main() -> None:
    """Print one line a change, then the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("exam", type=Path)
    parser.add_argument("peers", type=Path)
    parser.add_argument("--set", choices=("open", "own", "honest"), default="open")
    parser.add_argument("--part", default="0/1")
    asked = parser.parse_args()
    sys.argv[1:] = []  # the exam reads its own
    sys.path[:0] = [str(asked.exam), str(Path(__file__).parent)]
    import packages  # type: ignore[import-not-found]

    import cheats  # type: ignore[import-not-found]

    if asked.set != "open":
        cheats.C.clear()
        __import__(asked.set)
    part, parts = map(int, asked.part.split("/"))
    refused: Counter[str] = Counter()
    counted: Counter[str] = Counter()
    for number, one in enumerate(cheats.C):
        if number % parts != part:
            continue
        package = packages.BUGS[one.bug][0] if one.bug else "ledger"
        path, right, wrong = packages.BUGS[one.bug][1:4] if one.bug else ("", "", "")
        sound = dict(packages.PACKAGES[package])
        if one.policy:
            sound["pyproject.toml"] += one.policy
        buggy = dict(sound)
        if one.bug:
            buggy[path] = buggy[path].replace(right, wrong)
        before = buggy if one.base_bug else sound
        after = dict(buggy)
        for edit in one.edits:
            edit(after)
        verdicts = judge(before, after, asked.peers.resolve(), runs=not one.static)
        for peer, verdict in verdicts.items():
            counted[peer] += 1
            refused[peer] += verdict
        marks = " ".join(f"{peer}={'refused' if no else 'passed'}" for peer, no in verdicts.items())
        print(f"{one.kind:<14} {one.name[:60]:<60} {marks}", flush=True)
    print({peer: f"{refused[peer]} of {counted[peer]} refused" for peer in counted})


def judge(
    before: dict[str, object], after: dict[str, object], peers: Path, *, runs: bool
) -> dict[str, bool]:
    """Return which peer refuses the change from `before` to `after`."""
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder) / "r"
        top.mkdir()
        environment = {**os.environ, "PATH": f"{peers}:{os.environ['PATH']}", "HOME": folder}

        def run(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                words, cwd=top, env=environment, input=stdin, capture_output=True, text=True
            )

        settings = str(before["pyproject.toml"])
        said = re.search(r'test_command = "(.*)"', settings)
        command = said[1] if said else "python -m pytest -q"
        rules = f"protected = {list(PROTECTED)!r}\n\n[[check]]\nname = 'tests'\n"
        checks = f"{rules}run = '{command}'\ntimeout_secs = 120\n"
        git = ("git", "-c", "user.name=a", "-c", "user.email=a@b")
        run("git", "init", "-q", "-b", "main")
        write(top, {}, {**before, ".countercheck/checks.toml": checks})
        run("git", "add", "-A")
        run(*git, "commit", "-qm", "base")
        run("git", "switch", "-qc", "feature/tidy")
        write(top, before, after)
        run("git", "add", "-A", "-f")
        run(*git, "commit", "-qm", "change")
        patch = run("git", "diff", "main", "HEAD").stdout
        verdicts = {
            "ai-code-guardrails": bool(
                run("ai-code-guardrails", "check", "--base", "main", "--skip", "scope").returncode
            ),
            "arma-veto --strict": bool(run("arma-veto", "--strict", stdin=patch).returncode),
        }
        if runs:
            done = run("countercheck", "verify", "--base", "main")
            verdicts["agent-countercheck"] = done.returncode != 0
        return verdicts


def write(top: Path, before: dict[str, object], after: dict[str, object]) -> None:
    """Bring the files of one side to the other's."""
    for path in before.keys() - after.keys():
        (top / path).unlink()
    for path, text in after.items():
        if before.get(path) == text:
            continue
        place = top / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(text, tuple) and text[0] == "link":
            place.unlink(missing_ok=True)
            place.symlink_to(text[1])
        elif isinstance(text, tuple):  # the source of a compiled file: compile it unchecked
            import py_compile

            source = top.parent / "source.py"
            source.write_text(text[1])
            py_compile.compile(
                str(source),
                cfile=str(place),
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
        else:
            place.write_text(str(text))


if __name__ == "__main__":
    main()
