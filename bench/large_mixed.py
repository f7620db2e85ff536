"""Questions to the index over a tree of many languages, laid out of the sources of many projects.

    python bench/large_mixed.py FOLDER... --files 10000 [--questions 40]

Each folder below a FOLDER is a project. Code files of all languages are taken in turn until there
are enough, with the settings that their imports need. CPU seconds of a refresh from nothing, with
nothing changed, and with one file changed, beside `git status`; then of each question in one
process that stays, whatever it starts included: at a look at the tree each (as they come), and at
one look for all (the question alone).
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Awaitable
from pathlib import Path

from index import SRC, cpu

sys.path.insert(0, str(SRC))
from self_coding import CodebaseIndexer
from self_coding.codebase_indexer import indexer as module
from self_coding.errors import SelfCodingError

KINDS = {
    ".py": "Python", ".ts": "TypeScript", ".tsx": "TypeScript", ".js": "TypeScript",
    ".go": "Go", ".rs": "Rust", ".java": "Java",
}  # fmt: skip
DEFINED = re.compile(r"\b(?:class|def|func|fn|function|struct|interface)[ \t]+(\w{4,})")
SETTINGS = ("go.mod", "package.json", "tsconfig.json", "Cargo.toml", "pyproject.toml", "pom.xml")


def found(folders: list[Path]) -> dict[str, list[Path]]:
    """Return the code files of all projects by language, and their settings."""
    files: dict[str, list[Path]] = {name: [] for name in (*dict.fromkeys(KINDS.values()), "")}
    for folder in folders:
        for file in sorted(folder.resolve().rglob("*")):
            name = KINDS.get(file.suffix, "" if file.name in SETTINGS else None)
            if name is not None and file.is_file() and not file.is_symlink():
                files[name].append(file)
    return files


def lay(folders: list[Path], top: Path, wanted: int) -> int:
    """Write the tree and commit it; return how many code files it has."""
    files = found(folders)
    settings = files.pop("")
    # The scarce languages first, whole: the others share the rest.
    chosen: list[Path] = []
    for left, some in zip(range(len(files), 0, -1), sorted(files.values(), key=len), strict=True):
        step = max(1.0, len(some) / max(1, (wanted - len(chosen)) // left))
        chosen += [some[int(n * step)] for n in range(int(len(some) / step))]
    for file in [*settings, *chosen]:
        at = top / file.relative_to(file.anchor)
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(file.read_bytes())
    for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=b", "-c",
                  "user.email=b@example.invalid", "commit", "-qm", "Lay"]):  # fmt: skip
        subprocess.run(["git", *words], cwd=top, check=True)
    return len(chosen)


async def spent(asked: Awaitable[object]) -> float:
    """Return the CPU milliseconds of an answer, with those of what it starts."""

    def now() -> float:
        both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(one.ru_utime + one.ru_stime for one in both)

    before = now()
    await asked
    return 1000 * (now() - before)


async def questions(top: Path, place: Path, count: int, *, at_one_look: bool) -> None:
    """Ask each question many times, about files and names drawn at random."""
    dice, index = random.Random(1), CodebaseIndexer(top, place)
    await index.refresh()
    if at_one_look:
        module.refresh = lambda *given, **named: None
    run = subprocess.run(["git", "ls-files"], cwd=top, capture_output=True, text=True, check=True)
    paths = [one for one in run.stdout.split("\n") if Path(one).suffix in KINDS]
    rows: dict[str, list[float]] = {"relevant": [], "impact": [], "users": []}
    for turn in range(count + 2):
        path = dice.choice(paths)
        text = (top / path).read_text("utf-8", "replace")
        words = sorted({one for one in re.findall(r"\w{6,}", text) if one.isidentifier()})
        said = " ".join(dice.sample(words, min(3, len(words))))
        asked = {
            "relevant": index.relevant_files(f"Fix {said} in {Path(path).stem}"),
            "impact": index.impact([path]),
        }
        if defined := DEFINED.findall(text):
            asked["users"] = index.symbol_users(dice.choice(defined))
        for what, one in asked.items():
            try:
                took = await spent(one)
            except SelfCodingError:
                continue  # a name that only a comment defines
            if turn > 1:  # the first ones read git's history
                rows[what].append(took)
    for what, took in rows.items():
        p95 = statistics.quantiles(took, n=20)[-1]
        print(f"{what:12} median {statistics.median(took):6.0f}  p95 {p95:6.0f} CPU ms", flush=True)
    index.close()


def main() -> None:
    form = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--questions", type=int, default=40)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-large-") as folder:
        top, place = Path(folder) / "tree", Path(folder) / "i.db"
        top.mkdir()
        print(f"{lay(chosen.folders, top, chosen.files)} code files", flush=True)
        code = (
            f"import sys,asyncio;sys.path.insert(0,{str(SRC)!r})\n"
            "from self_coding import CodebaseIndexer\n"
            f"asyncio.run(CodebaseIndexer({str(top)!r},{str(place)!r}).refresh())\n"
        )
        status = min(cpu(["git", "status", "--porcelain"], top)[0] for _ in range(5))
        start = min(
            cpu([sys.executable, "-c", code.partition("asyncio.run")[0]], top)[0] for _ in range(5)
        )
        print(f"git status {status:.3f} s, the start of Python with the imports {start:.3f} s")
        print(
            f"refresh, from nothing {cpu([sys.executable, '-c', code], top)[0]:.2f} s", flush=True
        )
        none = min(cpu([sys.executable, "-c", code], top)[0] for _ in range(5)) - start
        file = next(iter(sorted(top.rglob("*.go"))))
        one = []
        for n in range(5):
            file.write_text(f"{file.read_text()}\n// {n}\n")
            one.append(cpu([sys.executable, "-c", code], top)[0] - start)
        print(
            f"nothing changed {none / status:.2f} x git status,"
            f" one changed {min(one) / status:.2f} x"
        )
        for at_one_look in (False, True):
            print("questions alone" if at_one_look else "questions, with a look at the tree each")
            asyncio.run(questions(top, place, chosen.questions, at_one_look=at_one_look))


if __name__ == "__main__":
    main()
