#!/usr/bin/env python3
# ruff: noqa: E501 - a row a line
"""Reproduce every figure that the README and the docs publish: one row a figure, or table of them.

    python bench/all.py --list                      the rows: claim, command, page
    python bench/all.py --quick                     a smaller form of each row that has one
    python bench/all.py --only soak,dashboard       some rows
    python bench/all.py --shared FOLDER --tree TREE --peers BIN ...

Some rows need what is not in this repository; without it they are skipped, and say so:

    SHARED   development sets: `histories/*.bundle`, `localize/`, `journal/` (bench/README.md)
    TREE     a large Python working tree, home-assistant/core for the published figures
    PEERS    the `bin` of an environment with ruff, grimp, pytest-testmon, siftwise,
             agent-countercheck, ai-code-guardrails, arma-veto, mergetrain, aider-chat
    EXAM     the cheats of others, as bench/cheats/peers.py takes them
    AXE      axe.js of the npm package axe-core
    CLIENTS  the folder in which npm installed the agents' clients
    MODEL    a small model's weights, as .gguf
    ROOT     a project; EDGES its imports (bench/import_truth.py), COVERAGE its .coverage by function

Figures depend on the machine: it is printed first, with the versions of what takes part.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEEDS = ("SHARED", "TREE", "PEERS", "EXAM", "AXE", "CLIENTS", "MODEL", "ROOT", "EDGES", "COVERAGE")


@dataclass(frozen=True)
class Row:
    """A claim, the command that measures it, the page that publishes it.

    `quick` is the same in about a minute, empty where there is no such form. `exits` says that the
    command itself judges: it fails where the claim does not hold.
    """

    name: str
    claim: str
    command: str
    page: str
    quick: str = ""
    exits: bool = False


_DOCS = "docs/explanation/"
ROWS = (
    Row("soak", "an hour of hostile agents, audited with git and ssh-keygen alone",
        "bench/soak.py --minutes 60", _DOCS + "guarantees.md", "bench/soak.py --minutes 2", exits=True),
    Row("faults", "kills, failing git, full disks, concurrent people: nothing lost",
        "bench/faults.py --trials 1700 --seed 1", _DOCS + "guarantees.md", "bench/faults.py --trials 60", exits=True),
    Row("kills", "whole self-edits killed at every boundary land once or not at all",
        "bench/kills.py --kills 1000", _DOCS + "lifecycle.md", "bench/kills.py --kills 20", exits=True),
    Row("clients", "clients and a person in one repository, clients that are killed",
        "bench/clients.py --clients 8 --minutes 10 --kills 100", _DOCS + "lifecycle.md",
        "bench/clients.py --clients 2 --minutes 1", exits=True),
    Row("switches", "a person who switches branches under landings carries none of them along",
        "bench/switches.py --minutes 5 --burn 3", _DOCS + "guarantees.md", "bench/switches.py --minutes .5", exits=True),
    Row("fleet", "workers, a database and links that are killed: no edit lands twice, none is stuck",
        "bench/fleet.py chaos", _DOCS + "fleet.md", "bench/fleet.py chaos --attempts 20"),
    Row("landing", "what landing several together saves, and a remote",
        "bench/landing.py group", "bench/README.md"),
    Row("git", "snapshot, rollback, landing, isolation beside plain git",
        "bench/git.py TREE", _DOCS + "guarantees.md"),
    Row("growth", "what 10,000 snapshots cost on disk",
        "bench/growth.py", _DOCS + "guarantees.md", "bench/growth.py --snapshots 300"),
    Row("hostile programs", "33 hostile programs by sandbox level and user",
        "bench/gate.py hostile /usr/bin/python3", _DOCS + "sandbox.md", "bench/gate.py hostile /usr/bin/python3"),
    Row("gate", "the gate's own cost", "bench/gate.py overhead", _DOCS + "sandbox.md", "bench/gate.py overhead"),
    Row("refusals", "human commits that the audit refuses",
        "bench/refusals.py SHARED/histories/*.bundle", _DOCS + "integrity.md",
        "bench/refusals.py SHARED/histories/h11.bundle --each 50"),
    Row("cheats", "cheats and honest changes, beside agent-countercheck, ai-code-guardrails, arma-veto",
        "bench/cheats/peers.py EXAM PEERS --set own", _DOCS + "integrity.md"),
    Row("cheats in pairs", "one change prepares, the next breaks", "bench/cheats/pairs.py EXAM", _DOCS + "integrity.md"),
    Row("canaries", "secrets found, and code wrongly accused, beside detect-secrets",
        "bench/canaries.py", _DOCS + "dependencies.md", "bench/canaries.py"),
    Row("index", "index cost beside ruff; import graph and affected tests against their truth",
        "bench/index.py cost TREE", _DOCS + "index.md", "bench/index.py cost ."),
    Row("large", "every question on a large tree with 50,000 commits", "bench/large.py TREE", _DOCS + "index.md"),
    Row("large and mixed", "every question on a tree laid out of many projects' sources, in all languages",
        "bench/large_mixed.py ROOT --files 10000", _DOCS + "index.md"),
    Row("import graph", "imports against a run of the program",
        "bench/index.py graph ROOT EDGES", _DOCS + "index.md"),
    Row("affected tests", "the tests of a change against per-function coverage",
        "bench/index.py tests ROOT COVERAGE", _DOCS + "index.md"),
    Row("languages", "imports against what each language's own tools resolve",
        "bench/languages.py go ROOT", _DOCS + "languages.md"),
    Row("selected tests", "tests that a mutant breaks beside those selected, Go and vitest",
        "bench/selected.py go ROOT 100", _DOCS + "languages.md"),
    Row("relevance", "relevant files, with ablations",
        "bench/localize.py --set SHARED/localize", _DOCS + "relevance.md",
        "bench/localize.py --set SHARED/localize --each 3"),
    Row("repository map", "relevant files beside aider's repository map",
        "bench/localize.py --set SHARED/localize --aider PEERS/python", _DOCS + "relevance.md",
        "bench/localize.py --set SHARED/localize --each 2 --aider PEERS/python"),
    Row("made tasks", "relevant files on tasks made of past commits",
        "bench/localize.py --made 200 --histories SHARED/histories", _DOCS + "relevance.md"),
    Row("lines", "the changed lines inside a budget of tokens",
        "bench/localize.py --set SHARED/localize --lines", _DOCS + "relevance.md"),
    Row("similar attempts", "nDCG@5 over replayed histories, each idea taken out",
        "bench/journal.py ablation SHARED/journal", _DOCS + "journal.md", "bench/journal.py retrieval SHARED/journal --repos mypy"),
    Row("warnings", "precision and recall of the warning", "bench/journal.py dead-ends SHARED/journal", _DOCS + "journal.md"),
    Row("journal scale", "CPU of each question at many rows", "bench/journal.py scale 100000", _DOCS + "journal.md", "bench/journal.py scale 3000"),
    Row("journal writers", "rows lost with many processes, and with killed ones",
        "bench/journal.py writers", _DOCS + "journal.md", "bench/journal.py kill 3"),
    Row("reflection", "what is read from test output", "bench/reflection.py SHARED/journal --ablate", _DOCS + "reflection.md"),
    Row("reflection on others", "what is read from failures of other languages' runners",
        "bench/reflection_others.py make go ROOT /tmp/go.jsonl", _DOCS + "reflection.md"),
    Row("agents", "time limits, silence, tokens and CPU of an agent's session",
        "bench/agents.py --suite 180 --limit 60", _DOCS + "mcp.md", "bench/agents.py"),
    Row("real clients", "Claude Code, OpenCode, Codex, Gemini CLI over MCP",
        "bench/real_clients.py CLIENTS", "docs/how-to/connect-a-client.md"),
    Row("small model", "what a small model can do as an editor", "bench/small_model.py MODEL", "docs/how-to/bring-your-editor.md"),
    Row("dashboard", "CPU, weight and first paint of every page at 10,000 attempts",
        "bench/dashboard.py scale", "docs/how-to/dashboard.md", "bench/dashboard.py scale --count 300"),
    Row("hostile texts", "1,000 hostile texts in every stored field",
        "bench/dashboard.py hostile", "docs/how-to/dashboard.md", "bench/dashboard.py hostile --count 40"),
    Row("axe", "axe-core on every page, both themes, three widths", "bench/dashboard.py axe AXE", "docs/how-to/dashboard.md"),
    Row("first look", "from an empty environment to the first look at a refused cheat",
        "bench/first_look.py", "README.md", "bench/first_look.py"),
    Row("start-up", "CPU of single commands", "bench/startup.py", "bench/README.md", "bench/startup.py --times 3"),
    Row("replays", "real commits landed, with a bug planted refused", "bench/replays.py SHARED/histories --per-repo 8", "bench/README.md"),
    Row("size", "modules, lines and one-use helpers", "bench/house.py", _DOCS + "architecture.md", "bench/house.py"),
    Row("peers", "the same tree and edit beside ruff, grimp, ctags, testmon; who else is there",
        "bench/peers.py . PEERS", _DOCS + "comparison.md"),
)  # fmt: skip


def machine() -> str:
    """Return what the figures depend on: the machine, and the versions of what takes part."""
    found = [f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"]
    found.append(f"Python {platform.python_version()}")
    for words in (
        "git --version",
        "go version",
        "node --version",
        "rustc --version",
        "java --version",
        "chromium --version",
    ):
        if shutil.which(words.split()[0]):
            done = subprocess.run(words.split(), capture_output=True, text=True, check=False)
            found.append(f"{words.split()[0]}: {done.stdout.partition(chr(10))[0]}")
    return "; ".join(found)


def filled(command: str, given: dict[str, Path | None]) -> list[str] | str:
    """Return the words of a command, or what it needs that was not given."""
    for name in NEEDS:
        if re.search(rf"\b{name}\b", command):
            if given[name] is None:
                return f"needs --{name.lower()}"
            command = re.sub(rf"\b{name}\b", str(given[name]), command)
    words: list[str] = []
    for word in command.split():
        found = sorted(str(one) for one in Path("/").glob(word[1:])) if "*" in word else [word]
        words += found
    return [sys.executable, str(ROOT / words[0]), *words[1:]]


def main() -> int:
    form = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", help="names of rows, comma-separated")
    for name in NEEDS:
        parser.add_argument(f"--{name.lower()}", type=Path)
    args = parser.parse_args()
    only = [one.strip() for one in args.only.split(",") if one.strip()]
    if unknown := set(only) - {row.name for row in ROWS}:
        parser.error(f"no such row: {', '.join(sorted(unknown))}; see --list")
    chosen = [row for row in ROWS if not only or row.name in only]
    if args.list:
        for row in chosen:
            print(f"{row.name:18} {row.claim}\n{'':18} python {row.command}   ({row.page})")
        return 0
    paths = {name: getattr(args, name.lower()) for name in NEEDS}
    given = {name: path and path.resolve() for name, path in paths.items()}
    print(machine(), flush=True)
    failed = []
    for row in chosen:
        command = row.quick if args.quick else row.command
        words = filled(command, given) if command else "has no quick form"
        print(f"\n== {row.name}: {row.claim} ({row.page})", flush=True)
        if isinstance(words, str):
            print(f"   skipped: {words}")
            continue
        print(f"   python {command}", flush=True)
        began = time.monotonic()
        status = subprocess.run(words, cwd=ROOT, check=False).returncode
        print(f"   {time.monotonic() - began:.0f} s, status {status}", flush=True)
        failed += [row.name] if status else []
    print(f"\nfailed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
