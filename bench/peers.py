#!/usr/bin/env python3
# ruff: noqa: E501 - one command a line
"""What other tools know of the same tree, beside ours: who imports whom, and which tests to run.

    python bench/peers.py TREE PEERS-BIN

TREE is a git working tree with a Python package `src/NAME`, PEERS-BIN the `bin` of an environment
with what there is of ruff, grimp, pytest-testmon, siftwise, agent-countercheck, ai-code-guardrails,
mergetrain and aider-chat. CPU seconds of whole processes, children included, cold caches of their
own; of ours the first and the second look. What is not there is said.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from self_coding.testing import SAMPLE, git, sample_repo, write_files

OURS = [sys.executable, "-m", "self_coding", "-q", "--json"]
_GRIMP = "import grimp, sys; g = grimp.build_graph(sys.argv[1], cache_dir=None); print(len(g.modules), g.count_imports())"
#: The command that tells a peer's version, and where ours and it are compared.
PEERS = {
    "ruff": (["ruff", "--version"], "below; bench/index.py cost"),
    "grimp": (["python", "-c", "import importlib.metadata as m; print('grimp', m.version('grimp'))"], "below"),
    "ctags": (["ctags", "--version"], "below"),
    "pytest-testmon": (["python", "-c", "import importlib.metadata as m; print('testmon', m.version('pytest-testmon'))"], "below"),
    "agent-countercheck": (["countercheck", "--version"], "bench/cheats/peers.py"),
    "ai-code-guardrails": (["ai-code-guardrails", "--version"], "bench/cheats/peers.py"),
    "aider": (["aider", "--version"], "as an editor: tests/e2e/test_aider.py"),
    "siftwise": (["python", "-c", "import importlib.metadata as m; print('siftwise', m.version('siftwise'))"], "in words: comparison.md; it selects by a server's recorded runs"),
    "mergetrain": (["python", "-c", "import importlib.metadata as m; print('mergetrain', m.version('mergetrain'))"], "in words: comparison.md; it lands branches of a remote"),
}  # fmt: skip


def spent(words: list[str], cwd: Path, env: dict[str, str]) -> tuple[float, str]:
    """Return the CPU seconds of a command and its children, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, done.stdout if not done.returncode else f"failed: {done.stderr.strip()[:80]}"


def versions(env: dict[str, str]) -> dict[str, str]:
    """Return which peers are there, each with its version; empty for one that is not."""
    found = {}
    for name, (words, _) in PEERS.items():
        where = shutil.which(words[0], path=env["PATH"])
        said = spent(words, Path.cwd(), env)[1] if where else "failed"
        found[name] = "" if said.startswith("failed") else said.strip().splitlines()[0][:40]
    return found


def graph(tree: Path, env: dict[str, str], there: dict[str, str]) -> None:
    """Print what reading a tree's imports costs each."""
    [package] = [one.name for one in (tree / "src").iterdir() if (one / "__init__.py").exists()]
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "tree"
        git(tree, "clone", "--quiet", "--no-hardlinks", ".", str(clone))
        commands = {
            "self-coding, first look": [*OURS, "impact", f"src/{package}/__init__.py"],
            "self-coding, again": [*OURS, "impact", f"src/{package}/__init__.py"],
            "ruff analyze graph": ["ruff", "analyze", "graph", "--isolated", "."],
            "grimp": ["python", "-c", _GRIMP, package],
            "ctags": ["ctags", "-R", "-f", "/dev/null", "."],
        }
        for name, words in commands.items():
            if name.startswith("self") or there[name.split()[0]]:
                cpu, said = spent(words, clone, {**env, "PYTHONPATH": str(clone / "src")})
                print(f"  {name:26} {cpu:6.2f} CPU s{'  ' + said if said[:6] == 'failed' else ''}")


def tests(env: dict[str, str], there: dict[str, str]) -> None:
    """Print which tests each runs after one edit of a small repository."""
    with tempfile.TemporaryDirectory() as folder:
        top = sample_repo(Path(folder) / "repo", {**SAMPLE, ".gitignore": ".testmondata*\n"})
        line = ["python", "-m", "pytest", "-q"]
        if there["pytest-testmon"]:
            spent([*line, "--testmon"], top, env)
        core = (top / "src/calc/report.py").read_text()
        write_files(top, {"src/calc/report.py": core.replace("return", "return ", 1) + "\nX = 1\n"})
        cpu, said = spent([*OURS, "impact", "src/calc/report.py"], top, env)
        found = said.count('"tests/') if said.startswith("{") else said
        print(f"  self-coding impact names   {found} paths of tests   {cpu:.2f} CPU s")
        if there["pytest-testmon"]:
            cpu, said = spent([*line, "--testmon"], top, env)
            print(f"  testmon runs               {said.strip().splitlines()[-1]}   {cpu:.2f} CPU s")


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    tree, peers = (Path(one).resolve() for one in sys.argv[1:])
    env = {**os.environ, "PATH": f"{peers}:{os.environ['PATH']}"}
    there = versions(env)
    for name, version in there.items():
        print(f"  {name:20} {version or 'could not be had here':32} {PEERS[name][1]}")
    print("who imports whom:")
    graph(tree, env, there)
    print("which tests, after an edit of one module:")
    tests(env, there)


if __name__ == "__main__":
    main()
