"""Every question to the index on a large repository: CPU seconds of a whole process each.

    python bench/large.py TREE [--commits 50000]      TREE: a git working tree, which is copied

The copy gets a made history: commits that each change one to five Python files, with messages of
names that stand in them. Then each question is asked once by a process of its own, and once more;
after one more commit and one more edit, again. Git's own `status` and `log` stand beside.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from index import SRC, cpu

_ASK = (
    "import sys,asyncio;sys.path.insert(0,{src!r})\n"
    "from self_coding import CodebaseIndexer\n"
    "asyncio.run(CodebaseIndexer({tree!r},{db!r}).{call})\n"
)
_NAME = re.compile(r"\b(?:class|def)[ \t]+(\w{5,})")
_TASK = "Setup of a config entry fails with a timeout when the device is offline"


def history(tree: Path, commits: int) -> Iterator[bytes]:
    """A stream for git fast-import: `commits` commits onto HEAD."""
    chance = random.Random(1)
    files = subprocess.run(
        ["git", "ls-files", "-z", "*.py"], cwd=tree, capture_output=True, check=True
    ).stdout.decode().split("\0")[:-1]  # fmt: skip
    texts = {path: (tree / path).read_bytes() for path in files}
    yield b"reset refs/heads/made\nfrom HEAD\n\n"
    for number in range(commits):
        some = chance.sample(files, chance.choice((1, 1, 1, 2, 2, 3, 5)))
        names = _NAME.findall(texts[some[0]].decode("utf-8", "replace")) or ["module"]
        verb = chance.choice(("Fix", "Add", "Remove", "Speed up", "Simplify", "Rename"))
        words = " ".join(chance.sample(names, min(len(names), 3))).replace("_", " ")
        message = f"{verb} {words} in {some[0].split('/')[-2:][0]}\n".encode()
        yield b"commit refs/heads/made\ncommitter b <b@example.invalid> %d +0000\n" % (
            1_600_000_000 + number * 600
        )
        yield b"data %d\n%s" % (len(message), message)
        for path in some:
            text = texts[path] + b"# %d\n" % number
            yield b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(text), text)
        yield b"\n"


def prepared(tree: Path, folder: Path, commits: int) -> Path:
    copy = folder / "tree"
    git = ["git", "-c", "gc.auto=0", "-c", "core.compression=1"]
    subprocess.run([*git, "clone", "-q", "--no-hardlinks", str(tree), str(copy)], check=True)
    run = subprocess.Popen([*git, "fast-import", "--quiet"], cwd=copy, stdin=subprocess.PIPE)
    assert run.stdin
    for part in history(copy, commits):
        run.stdin.write(part)
    run.stdin.close()
    if run.wait():
        raise SystemExit("git fast-import failed")
    subprocess.run([*git, "reset", "-q", "--hard", "made"], cwd=copy, check=True)
    return copy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tree", type=Path)
    parser.add_argument("--commits", type=int, default=50_000)
    parser.add_argument("--symbols", nargs="*", default=["HomeAssistant", "name", "get", "data"])
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-large-"))
    try:
        tree = prepared(chosen.tree.resolve(), folder, chosen.commits)
        files = sorted(tree.rglob("*.py"), key=lambda path: path.stat().st_size)
        one = str(files[-1].relative_to(tree))
        print(f"{len(files)} Python files, {chosen.commits} commits more", flush=True)
        questions = {
            "refresh": "refresh()",
            "relevant": f"relevant_files({_TASK!r})",
            "summary": "get_summary()",
            "summary of a task": f"get_summary(task={_TASK!r})",
            "impact": f"impact([{one!r}])",
            "dependency chain": f"get_dependency_chain({one!r})",
            "module info": f"get_module_info({one!r})",
            "test coverage": f"has_test_coverage({one!r})",
            "blind spots": "blind_spots()",
            **{f"users of {name}": f"symbol_users({name!r})" for name in chosen.symbols},
        }

        def ask(label: str, call: str) -> None:
            code = _ASK.format(src=str(SRC), tree=str(tree), db=str(folder / "i.db"), call=call)
            print(f"{label:40} {cpu([sys.executable, '-c', code], tree)[0]:7.3f} s", flush=True)

        print(f"{'git status':40} {cpu(['git', 'status', '--porcelain'], tree)[0]:7.3f} s")
        log = ["git", "log", "--name-only", "--format=%B"]
        print(f"{'git log of all commits':40} {cpu(log, tree)[0]:7.3f} s")
        ask("refresh, from nothing", "refresh()")
        ask("relevant, reads history", questions["relevant"])
        for label, call in questions.items():
            ask(label, call)
        files[0].write_text("EDITED = 1\n")
        subprocess.run(
            ["git", "-c", "user.name=b", "-c", "user.email=b@example.invalid",
             "commit", "-qam", "Edit one"], cwd=tree, check=True,
        )  # fmt: skip
        files[1].write_text("EDITED = 2\n")
        for label in ("relevant", "summary", "impact"):
            ask(f"{label}, a commit and an edit later", questions[label])
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
