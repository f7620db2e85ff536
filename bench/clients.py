"""MCP clients and a person at work in one repository, side by side, and what became of it.

    python bench/clients.py --clients 8 --minutes 10 --seed 1

Every client is the official SDK's, over stdio, with a server process of its own. They hand in
patches, edit in worktrees, propose and land, read, cancel, plant bugs, delete tests and undo. With
--kills N, clients are killed in the middle of an edit (half of them with their server), and the
next session goes on from what `status` tells it: each such edit has to land. The person stands in
the checkout: commits on main, uncommitted and staged work, branches. Afterwards the repository is
judged from outside. A conflict, a moved main and a refusal with its reason are answers; what counts
as wrong:

    error         an exception, a traceback, a tool error or an attempt that a fault stopped
    red           main stood at a commit whose own suite is red, or a landing has no receipt
    lost          a byte, a commit or a staged file of the person; a row of the journal; fsck;
                  what a killed client had written, or its attempt
    stuck         an attempt is open, a worktree is held, or a further self-edit does not land

Exit status 1 when there was any.
"""

from __future__ import annotations

import argparse
import asyncio
import difflib
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from mcp import StdioServerParameters
from mcp.client import Client
from mcp_types import ElicitRequestParams, ElicitResult

from self_coding.app import open_app
from self_coding.git_safety.receipts import read_receipts
from self_coding.self_edit.editors import PatchEditor
from self_coding.testing import SAMPLE, git, sample_repo, write_files

Answer = dict[str, object]

SUITE = "python -m pytest -q -x -p no:cacheprovider"
SHARED = "shared"
PATIENCE = 1500.0  # wall seconds after which a call counts as hung
OWN = "person/"


@dataclass
class Told:
    """What one participant saw."""

    name: str
    calls: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    stages: dict[int, str] = field(default_factory=dict)
    cancelled: int = 0
    killed: int = 0
    slowest: float = 0.0


def source(name: str) -> str:
    return f"src/calc/{name}.py"


def test_file(name: str) -> str:
    return f"tests/test_{name}.py"


def prepare(folder: Path, clients: int) -> Path:
    """A package with a module for each client, one for all, and a person's folder."""
    files = dict(SAMPLE)
    for name in (SHARED, *(f"client{number}" for number in range(clients))):
        files[source(name)] = f'"""Of {name}."""\n\n\ndef zero() -> int:\n    return 0\n'
        files[test_file(name)] = (
            f"from calc import {name}\n\n\ndef test_zero():\n    assert {name}.zero() == 0\n"
        )
    files["self-coding.toml"] = f'test_command = "{SUITE}"\n'
    files[".gitignore"] = "__pycache__/\n"
    files[f"{OWN}notes.md"] = "notes\n"
    return sample_repo(folder / "repo", files)


class Worker:
    """One client: picks what to do next, does it, and notes what it was told."""

    def __init__(self, repo: Path, number: int, seed: int) -> None:
        self.repo = repo
        self.number = number
        self.own = f"client{number}"
        self.told = Told(self.own)
        self.dice = random.Random(seed * 100 + number)
        self.made = 0
        undo = [(self.undo, 2)] if number == 0 else []
        self.chores: list[tuple[Callable[[Client], Awaitable[None]], int]] = [
            (self.patch, 5), (self.share, 3), (self.by_hand, 4), (self.plant, 2), (self.cheat, 1),
            (self.drop, 1), (self.propose, 1), (self.safeguard, 1), (self.read, 6),
            (self.cancel, 1), *undo,
        ]  # fmt: skip

    async def work(self, until: float, kills: int) -> None:
        """Chores until the time is over; the server lives as long as the client."""
        mode = "auto" if self.number % 2 else "legacy"
        chores, weights = zip(*self.chores, *[(self.die, 30)] * bool(kills), strict=True)
        async with Client(_server(self.repo), mode=mode, elicitation_callback=_yes) as client:
            while time.monotonic() < until or self.told.killed < kills:
                (chore,) = self.dice.choices(chores, weights)
                chore = chore if time.monotonic() < until else self.die
                try:
                    async with asyncio.timeout(PATIENCE):
                        await chore(client)
                except Exception as error:  # noqa: BLE001 - whatever it is, it surfaced
                    shown = "".join(traceback.format_exception(error))[-600:]
                    self.wrong(f"{chore.__name__}: {type(error).__name__}: {error} {shown}")
                await asyncio.sleep(self.dice.uniform(0, 1.5))

    def wrong(self, what: str) -> None:
        self.told.wrong.append(f"error {self.own} {what}")
        print(self.told.wrong[-1], flush=True)

    async def call(self, client: Client, tool: str, **arguments: object) -> Answer | None:
        """One call, counted; None when it is a tool error, which is wrong unless it may be."""
        started = time.monotonic()
        result = await client.call_tool(tool, arguments, progress_callback=_listen)
        self.told.slowest = max(self.told.slowest, time.monotonic() - started)
        self.told.calls[tool] += 1
        if not result.is_error and isinstance(result.structured_content, dict):
            answer = result.structured_content
            if answer.get("waiting") == "process":  # it goes on without its caller
                return await self.call(client, "wait_edit", attempt=answer["attempt"])
            return answer
        text = " ".join(getattr(part, "text", "") for part in result.content)
        if tool in ("undo", "plan_rollback") and "\nhint: " in text:
            # somebody stands on what it would take back, or has committed since
            self.told.reasons[f"{tool}: {text.splitlines()[0][:70]}"] += 1
        else:
            self.wrong(f"{tool}: {text[:600]}")
        return None

    def note(self, what: str, answer: Answer | None, allowed: tuple[str, ...]) -> None:
        """Count how an edit ended; `allowed` are the stages and refusals that it may end in."""
        if answer is None:
            return
        stage, by = str(answer["stage"]), str(answer["refused_by"])
        self.told.stages[int(str(answer["attempt"]))] = stage
        ended = f"refused by {by}" if stage == "refused" else stage
        self.told.ends[ended] += 1
        if ended != "landed":
            self.told.reasons[f"{what}: {ended}: {str(answer['message'])[:70]}"] += 1
        if ended not in allowed:
            self.wrong(f"{what} ended as {ended}: {answer['message']} {answer['test_output']}")

    def texts(self, module: str, *, at: str = "main", broken: bool = False) -> dict[str, str]:
        """The module and its tests with one more function."""
        self.made += 1
        name = f"f_{self.number}_{self.made}"
        value = self.number * 1000 + self.made
        code = git(self.repo, "show", f"{at}:{source(module)}")
        tests = git(self.repo, "show", f"{at}:{test_file(module)}")
        told = value + 1 if broken else value
        return {
            source(module): f"{code}\n\n\ndef {name}() -> int:\n    return {told}\n",
            test_file(module): (
                f"{tests}\n\n\ndef test_{name}():\n    assert {module}.{name}() == {value}\n"
            ),
        }

    def diff(self, new: dict[str, str]) -> str:
        """The patch from main to these texts."""
        parts: list[str] = []
        for path, text in new.items():
            old = git(self.repo, "show", f"main:{path}") + "\n"
            lines = old.splitlines(keepends=True), text.splitlines(keepends=True)
            parts += difflib.unified_diff(*lines, f"a/{path}", f"b/{path}")
        return "".join(parts)

    async def _self_edit(self, client: Client, module: str, **more: object) -> Answer | None:
        new = await asyncio.to_thread(self.texts, module)
        patch = await asyncio.to_thread(self.diff, new)
        task = f"Give {module} the function number {self.made}"
        return await self.call(client, "self_edit", task=task, patch=patch, **more)

    async def patch(self, client: Client) -> None:
        """An edit in a module of one's own: nothing but a busy main can stop it."""
        # What was called off goes on alone, and may land at the same place meanwhile.
        allowed = CONTENDED if self.told.cancelled else GOOD
        self.note("own patch", await self._self_edit(client, self.own), allowed)

    async def share(self, client: Client) -> None:
        """An edit at the same end of the same file as everybody's."""
        self.note("shared patch", await self._self_edit(client, SHARED), CONTENDED)

    async def by_hand(self, client: Client) -> None:
        """Edit in a worktree with one's own tools and hand it in."""
        module = self.dice.choice((self.own, SHARED))
        begun = await self.call(client, "begin_edit", task=f"Let {module} do more by hand")
        if begun is None:
            return
        await asyncio.to_thread(self._type, begun, module)
        await asyncio.sleep(self.dice.uniform(0, 2))
        answer = await self.call(client, "submit_edit", attempt=begun["attempt"], summary="typed")
        if answer is not None and answer["waiting"] == "submit":  # refused: nobody corrects it here
            await self.call(client, "drop_edit", attempt=begun["attempt"], reason="refused")
        is_alone = module == self.own and not self.told.cancelled
        self.note("by hand", answer, GOOD if is_alone else CONTENDED)

    def _type(self, begun: Answer, module: str) -> None:
        tree = Path(str(begun["worktree"]))
        write_files(tree, self.texts(module, at=str(begun["base"])))

    async def plant(self, client: Client) -> None:
        """A patch whose own test is red."""
        new = await asyncio.to_thread(lambda: self.texts(self.own, broken=True))
        patch = await asyncio.to_thread(self.diff, new)
        answer = await self.call(client, "self_edit", task="Plant a bug", patch=patch)
        self.note("planted bug", answer, ("refused by gate", "refused by editor"))

    async def cheat(self, client: Client) -> None:
        """A patch that takes a test away."""
        tests = await asyncio.to_thread(git, self.repo, "show", f"main:{test_file(self.own)}")
        short = tests.replace("def test_zero", "def no_test_zero") + "\n"
        patch = await asyncio.to_thread(self.diff, {test_file(self.own): short})
        answer = await self.call(client, "self_edit", task="Take a test away", patch=patch)
        allowed = ("refused by policy", "refused by gate", "refused by editor")
        self.note("removed test", answer, allowed)

    async def drop(self, client: Client) -> None:
        """Begin, type, and give it back."""
        begun = await self.call(client, "begin_edit", task=f"Let {self.own} do nothing")
        if begun is not None:
            await asyncio.to_thread(self._type, begun, self.own)
            answer = await self.call(client, "drop_edit", attempt=begun["attempt"], reason="no")
            self.note("dropped", answer, ("cancelled",))

    async def propose(self, client: Client) -> None:
        """Stop before landing; the person behind the client says yes."""
        answer = await self._self_edit(client, self.own, propose=True)
        if answer is not None and answer["waiting"]:
            await asyncio.sleep(self.dice.uniform(0, 2))
            answer = await self.call(client, "land_edit", attempt=answer["attempt"], wait=900)
        self.note("proposed", answer, CONTENDED if self.told.cancelled else GOOD)

    async def safeguard(self, client: Client) -> None:
        """A snapshot, and what a rollback to it would do."""
        taken = await self.call(client, "snapshot")
        if taken is not None:
            await self.call(client, "plan_rollback", target=taken["ref"])

    async def read(self, client: Client) -> None:
        """One of the tools that only read."""
        calls: list[tuple[str, Answer]] = [
            ("context", {"task": f"let {self.own} do more"}),
            ("impact", {"paths": [source(SHARED)]}),
            ("similar_attempts", {"task": "Give shared the function"}),
            ("relevant_files", {"task": f"a function of {self.own}"}),
            ("code_summary", {"max_tokens": 1000}),
            ("attempts", {"limit": 20}),
            ("success_rates", {}),
        ]
        if self.told.stages:
            calls.append(("show_attempt", {"attempt": max(self.told.stages)}))
        tool, arguments = self.dice.choice(calls)
        await self.call(client, tool, **arguments)

    async def cancel(self, client: Client) -> None:
        """Hang up in the middle of a self-edit."""
        self.told.cancelled += 1
        self.told.ends["called off"] += 1
        with suppress(TimeoutError):
            async with asyncio.timeout(self.dice.uniform(0.2, 4)):
                await self._self_edit(client, self.own)

    async def die(self, client: Client) -> None:
        """Be killed in the middle of an edit; another session finds it, and lands it."""
        new = await asyncio.to_thread(self.texts, self.own)
        task = f"Give {self.own} the function number {self.made} at once"
        words = [sys.executable, __file__, "--one-edit", str(self.repo)]
        victim = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert victim.stdin is not None and victim.stdout is not None
        victim.stdin.write(json.dumps({"task": task, "files": new}).encode())
        victim.stdin.close()
        said = []
        with suppress(TimeoutError):
            # From its first word on, since until then nothing of it can be lost.
            async with asyncio.timeout(PATIENCE):
                said.append((await victim.stdout.readline()).decode().strip())
            async with asyncio.timeout(self.dice.uniform(0, 12)):
                while line := await victim.stdout.readline():
                    said.append(line.decode().strip())
        children = Path(f"/proc/{victim.pid}/task/{victim.pid}/children")
        servers = children.read_text().split() if children.exists() else []
        with suppress(ProcessLookupError):
            victim.kill()
            for pid in servers if self.dice.random() < 0.5 else ():
                os.kill(int(pid), signal.SIGKILL)
        await victim.wait()
        self.told.killed += 1
        await self._take_up(client, task, new, said)

    async def _take_up(
        self, client: Client, task: str, new: dict[str, str], said: list[str]
    ) -> None:
        """Go on with the edit of a client that was killed, from what `status` tells."""
        answer: Answer | None = None
        for _ in range(60):
            told = await self.call(client, "status")
            opened = [one for one in (told or {}).get("waiting", ()) if one["task"] == task]  # type: ignore[attr-defined]
            if not opened:
                break
            attempt, waiting = opened[0]["attempt"], opened[0]["waiting"]
            if waiting == "submit":
                tree = Path(opened[0]["worktree"])
                for path, text in new.items():
                    if "typed" in said and (tree / path).read_text() != text:
                        self.told.wrong.append(f"lost: {path} of attempt {attempt}, {self.own}")
                await asyncio.to_thread(write_files, tree, new)
                answer = await self.call(client, "submit_edit", attempt=attempt)
            else:
                answer = await self.call(client, "wait_edit", attempt=attempt)
            if answer is not None and answer["refused_by"] == "conflict":
                # an edit that was called off has landed meanwhile, at the same place
                answer = await self.call(client, "drop_edit", attempt=attempt, reason="conflict")
                self.note("killed", answer, ("cancelled", "refused by conflict"))
                return
            if answer is not None and not answer["waiting"]:
                # Killed in `begin_edit`, before there was a worktree, it is called off.
                self.note("killed", answer, GOOD if "begun" in said else (*GOOD, "cancelled"))
                return
            await asyncio.sleep(0.5)
        found = await self.call(client, "attempts", limit=1000)
        rows = [one for one in (found or {}).get("attempts", ()) if one["task"] == task]  # type: ignore[attr-defined]
        landed = bool(rows) and rows[0]["outcome"] == "success"
        self.told.stages |= {rows[0]["id"]: "landed"} if landed else {}
        self.told.ends["landed" if landed else "killed before it began"] += 1
        if not landed and (rows or "begun" in said):
            self.told.wrong.append(f"stuck: {self.own} killed after {said}: {answer} {rows}")

    async def undo(self, client: Client) -> None:
        """Take back what was done last here, whoever did it."""
        done = await self.call(client, "undo")
        if done is not None:
            self.told.ends["undone"] += 1


# An undo may take back what a patch was made on; then it does not apply.
GOOD = ("landed", "refused by moved", "refused by editor")
CONTENDED = (*GOOD, "refused by conflict")


def _server(repo: Path) -> StdioServerParameters:
    """The server that a client starts."""
    argv = ["-m", "self_coding", "--repo", str(repo), "mcp"]
    environment = dict(os.environ) | {"PYTHONWARNINGS": "ignore"}
    return StdioServerParameters(command=sys.executable, args=argv, env=environment)


async def one_edit(repo: Path) -> None:
    """Edit and submit what stands in standard input; say how far it came. To be killed."""
    given = json.loads(sys.stdin.read())
    async with Client(_server(repo)) as client:
        print("connected", flush=True)
        result = await client.call_tool("begin_edit", {"task": given["task"]})
        begun = result.structured_content or {}
        print("begun", flush=True)
        write_files(Path(begun["worktree"]), given["files"])
        print("typed", flush=True)
        await client.call_tool("submit_edit", {"attempt": begun["attempt"], "wait": 600})
        print("submitted", flush=True)


async def _yes(context: object, params: ElicitRequestParams) -> ElicitResult:
    return ElicitResult(action="accept", content={"go_ahead": True})


async def _listen(progress: float, total: float | None, message: str | None) -> None:
    """Somebody who wants to hear of progress."""


class Person:
    """Somebody at the checkout with plain git, who knows what each of their files must hold."""

    def __init__(self, repo: Path, seed: int) -> None:
        self.repo = repo
        self.told = Told("person")
        self.dice = random.Random(seed)
        self.files = {f"{OWN}notes.md": b"notes\n"}
        self.commits: dict[str, str] = {}  # path and commit, on main
        self.branches: dict[str, str] = {}
        self.kept = 0
        self.staged = ""
        self.turn = 0

    async def work(self, until: float) -> None:
        """One thing after the other, and a look at the files after each."""
        chores = (self.scribble, self.commit, self.stage, self.touch_shared, self.branch)
        while time.monotonic() < until:
            self.turn += 1
            chore = self.dice.choice(chores)
            self.told.calls[chore.__name__] += 1
            await asyncio.to_thread(chore)
            await asyncio.to_thread(self.look)
            await asyncio.sleep(self.dice.uniform(1, 8))
        await asyncio.to_thread(self.put_back)
        await asyncio.to_thread(self.look)

    def wrong(self, what: str) -> None:
        self.told.wrong.append(what)
        print(what, flush=True)

    def git(self, *words: str) -> str | None:
        """Plain git; where another process is at it, a person tries again."""
        for _ in range(40):
            done = subprocess.run(
                ["git", *words], cwd=self.repo, capture_output=True, text=True, check=False
            )
            if not done.returncode:
                return done.stdout
            busy = [one for one in ("index.lock", "cannot lock ref") if one in done.stderr]
            if not busy:
                break
            self.told.reasons[f"git {words[0]} was told to try again: {busy[0]}"] += 1
            time.sleep(0.2)
        self.wrong(f"lost: git {' '.join(words)}: {done.stderr.strip()[:300]}")
        return None

    def write(self, path: str, content: bytes) -> None:
        (self.repo / path).write_bytes(content)
        self.files[path] = content

    def scribble(self) -> None:
        """Uncommitted work: a tracked file, and one that git does not know."""
        self.write(f"{OWN}notes.md", f"notes {self.turn}\r\nno newline".encode())
        self.write(f"{OWN}loose{self.turn % 5}.bin", self.dice.randbytes(300))

    def commit(self) -> str:
        """A commit of one more file of their own, wherever HEAD is; its path, "" without one."""
        self.kept += 1
        path = f"{OWN}kept{self.kept}.txt"
        self.write(path, f"kept in turn {self.turn}\n".encode())
        if self.git("add", "--", path) is None or self.git("commit", "-qm", path) is None:
            return ""
        head = (self.git("rev-parse", "HEAD") or "").strip()
        touched = (self.git("diff", "--name-only", f"{head}^", head) or "").split()
        if set(touched) != {path, self.staged} - {""}:
            self.wrong(f"lost: the commit of {path} touches {touched}")
        self.commits[path] = head
        self.staged = ""
        return path

    def stage(self) -> None:
        """Something staged, and then changed further."""
        path = f"{OWN}staged.txt"
        self.write(path, f"staged {self.turn}\n".encode())
        if self.git("add", "--", path) is not None:
            self.staged = path
        self.write(path, f"staged {self.turn}, and more\n".encode())

    def touch_shared(self) -> None:
        """An uncommitted line in a file that everybody lands changes of; later it is dropped."""
        path = source(SHARED)
        if path in self.files:
            self.put_back()
        else:
            self.write(path, (self.repo / path).read_bytes() + b"# an idea\n")

    def put_back(self) -> None:
        path = source(SHARED)
        if self.files.pop(path, None) is not None:
            self.git("restore", "--", path)

    def branch(self) -> None:
        """To a branch of their own, a commit there, and back, uncommitted work carried along."""
        self.put_back()
        if self.staged:
            self.commit()
        if self.git("switch", "-qc", f"idea-{self.turn}") is None:
            return
        time.sleep(self.dice.uniform(0, 2))
        path = self.commit()
        self.look()
        if self.git("switch", "-q", "main") is not None and path:
            self.files.pop(path)
            self.branches[f"idea-{self.turn}"] = self.commits.pop(path)

    def look(self) -> None:
        """Every byte as it was left; nothing staged but what they staged, once landings rest."""
        for path, content in self.files.items():
            file = self.repo / path
            found = file.read_bytes() if file.is_file() else None
            if found != content:
                self.wrong(f"lost: {path} holds {found!r}, not {content!r}")
                self.files.pop(path)
                return


def dirty(person: Person) -> list[str]:
    """What `git status` shows that the person did not do."""
    rows = git(person.repo, "status", "--porcelain", "--untracked-files=all").splitlines()
    return [row for row in rows if not row[3:].startswith(OWN)]


def suite(repo: Path, commit: str) -> bool:
    """Whether the suite of this commit is green, in a folder that holds nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        data = subprocess.run(
            ["git", "archive", commit], cwd=repo, capture_output=True, check=True
        ).stdout
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            archive.extractall(folder, filter="data")
        argv = [sys.executable, *SUITE.split()[1:]]
        return not subprocess.run(argv, cwd=folder, capture_output=True, check=False).returncode


def judge_main(repo: Path, commits: list[str], sample: int, dice: random.Random) -> list[str]:
    """Main at every moment: a sample of suites, and a receipt for all that is not the person's."""
    stood = git(repo, "log", "-g", "--format=%H", "main").split()
    newest, *older = dict.fromkeys(stood)
    chosen = [newest, *dice.sample(older, min(sample, len(older)))]
    wrong = [f"red: the suite of {commit}" for commit in chosen if not suite(repo, commit)]
    layer = open_app(repo, environ={})
    wrong += [f"red: {finding}" for finding in asyncio.run(layer.git.verify())]
    sealed = {receipt.landed for receipt in read_receipts(repo / ".git" / "self_coding")}
    first = stood[-1]
    unsealed = set(stood) - sealed - set(commits) - {first}
    wrong += [f"red: {commit} landed without a receipt" for commit in unsealed]
    print(f"main stood at {len({*stood})} commits; {len(chosen)} suites run again", flush=True)
    return wrong


def judge_rows(repo: Path, told: list[Told]) -> list[str]:
    """The journal against what the clients were told; what is open, held or stuck."""
    layer = open_app(repo, environ={})
    wrong = []

    async def look() -> None:
        for _ in range(600):  # what a client called off may go on without it
            if not [one for one in await layer.edit.waiting() if one.waiting == "process"]:
                break
            await asyncio.sleep(0.5)
        rows = {one.id: one for one in await layer.journal.attempts(100_000)}
        seen = {number for one in told for number in one.stages}
        spare = len(rows) - len(seen)
        if seen - rows.keys() or not 0 <= spare <= sum(one.cancelled for one in told):
            wrong.append(f"lost: {len(rows)} rows, {len(seen)} answers, {seen - rows.keys()}")
        for number, stage in ((n, s) for one in told for n, s in one.stages.items()):
            if (kept := await layer.journal.stage(number)) != stage:
                wrong.append(f"lost: attempt {number} is {kept}, its client was told {stage}")
        if found := await layer.journal.unfinished():
            wrong.append(f"stuck: open are {found}")
        edit = PatchEditor(b"--- /dev/null\n+++ b/src/calc/last.py\n@@ -0,0 +1 @@\n+Z = 1\n")
        result = await layer.edit.self_edit("Add the last one", editor=edit)
        if not result.success:
            wrong.append(f"stuck: a further self-edit: {result.message}")

    asyncio.run(look())
    with closing(sqlite3.connect(repo / ".git" / "self_coding" / "operations.db")) as log:
        held = log.execute("SELECT name, attempt FROM worktrees WHERE attempt IS NOT NULL")
        wrong += [f"stuck: {name} is held by {attempt}" for name, attempt in held]
    return wrong


def judge_person(person: Person) -> list[str]:
    """The person's commits and files, and the repository's health."""
    repo, wrong = person.repo, []
    for commit in person.commits.values():
        if subprocess.run(
            ["git", "merge-base", "--is-ancestor", commit, "main"], cwd=repo
        ).returncode:
            wrong.append(f"lost: {commit} of the person is not in main")
    for name, commit in person.branches.items():
        if git(repo, "rev-parse", name) != commit:
            wrong.append(f"lost: {name} is not where the person left it")
    if rows := dirty(person):
        wrong.append(f"lost: the checkout shows what nobody did: {rows}")
    fsck = subprocess.run(["git", "fsck", "--strict"], cwd=repo, capture_output=True, text=True)
    if fsck.returncode:
        wrong.append(f"lost: fsck: {fsck.stdout} {fsck.stderr}")
    return wrong


async def campaign(workers: list[Worker], person: Person, minutes: float, kills: int) -> None:
    until = time.monotonic() + minutes * 60
    async with asyncio.TaskGroup() as group:
        group.create_task(person.work(until))
        for worker in workers:
            group.create_task(worker.work(until, -(-kills // len(workers))))


def report(told: list[Told]) -> None:
    """A row for each participant, then the reasons, without the numbers that differ."""
    print("| who | calls | how edits ended | slowest call, s |\n|---|---|---|---|")
    for one in told:
        calls = ", ".join(f"{count} {name}" for name, count in one.calls.most_common())
        ends = ", ".join(f"{count} {name}" for name, count in one.ends.most_common())
        print(f"| {one.name} | {calls} | {ends} | {one.slowest:.0f} |")
    reasons: Counter[str] = Counter()
    for one in told:
        for reason, count in one.reasons.items():
            reasons[re.sub(r"\d+", "N", reason)] += count
    for reason, count in reasons.most_common(40):
        print(f"{count:5} {reason}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--kills", type=int, default=0, help="clients that are killed")
    parser.add_argument("--one-edit", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sample", type=int, default=100, help="suites to run again")
    parser.add_argument("--keep", action="store_true", help="leave the repository where it is")
    args = parser.parse_args()
    if args.one_edit:
        asyncio.run(one_edit(args.one_edit))
        return 0
    folder = Path(tempfile.mkdtemp(prefix="self-coding-clients-"))
    started = time.monotonic()
    try:
        repo = prepare(folder, args.clients)
        workers = [Worker(repo, number, args.seed) for number in range(args.clients)]
        person = Person(repo, args.seed)
        asyncio.run(campaign(workers, person, args.minutes, args.kills))
        told = [*(worker.told for worker in workers), person.told]
        report(told)
        dice = random.Random(args.seed)
        wrong = [what for one in told for what in one.wrong]
        after = judge_person(person) + judge_main(
            repo, list(person.commits.values()), args.sample, dice
        )
        after += judge_rows(repo, told)
        print(*after, sep="\n")
    finally:
        print(f"in {folder}") if args.keep else shutil.rmtree(folder, ignore_errors=True)
    wrong += after
    table = Counter(what.split(":")[0].split(" ")[0] for what in wrong)
    rows = ", ".join(f"{table.get(k, 0)} {k}" for k in ("error", "red", "lost", "stuck"))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    landed = sum(one.ends["landed"] for one in told)
    calls = sum(sum(one.calls.values()) for one in told[:-1])
    killed = sum(one.killed for one in told)
    print(
        f"{args.clients} clients and a person, {calls} calls, {landed} landed, {killed} killed, "
        f"{args.minutes:g} minutes of work, {(time.monotonic() - started) / 60:.1f} in all, "
        f"{used.ru_utime + used.ru_stime:.0f} CPU s: {rows}"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
