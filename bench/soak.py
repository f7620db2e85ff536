#!/usr/bin/env python3
"""A hostile agent and a person at work in three repositories, killed now and then; then an audit.

    python bench/soak.py --minutes 60            (one hour; --keep FOLDER leaves what is audited)

Two agents in each repository try the tricks of `soak_hostile.py`: honest changes, bugs behind
weakened tests, code that deletes, kills, forks, moves main or outlives its run, editors that break
their worktree. One process in five is killed in the middle and resumed by the next. They undo and
roll back as well. Meanwhile a person commits on main and on branches, and has staged, changed and
untracked files. Everything is started by the command line, in processes of their own.

At the end what is open is resumed, and `soak_audit.py` judges from outside, without self-coding.
Exit status 1 when it finds anything, an attempt stays open, or a command ends in a traceback.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from soak_hostile import DEEDS, PROJECTS, Project, Trick

HERE = Path(__file__).resolve().parent
PROGRAM = [sys.executable, "-m", "self_coding", "-q"]
WHO = ("Person", "person@example.org")
KILLED = 0.2  # of the processes
SETTINGS = """test_command = {command!r}

[gate]
timeout = 30
processes = 200
memory_bytes = 1073741824
"""


def run(folder: Path, *words: str, check: bool = True) -> str:
    """Run a command of the person's; return what it prints."""
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr}")
    return done.stdout


class Place:
    """A project's repository: the person who works there, and what they noted down."""

    def __init__(self, folder: Path, project: Project, seed: int) -> None:
        self.project, self.folder, self.top = project, folder, folder / "repo"
        self.dice = random.Random(f"{seed} {project.name} person")
        self.files: dict[str, str] = {}
        self.staged: dict[str, str] = {}
        self.commits: dict[str, str] = {}
        self.turns = 0
        self.prepare()

    def prepare(self) -> None:
        """Make the repository, with a key that signs, and a person's work in it."""
        self.top.mkdir(parents=True)
        key = self.folder / "key"
        run(self.folder, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
        (self.folder / "signers").write_text(f"{WHO[1]} {key.with_suffix('.pub').read_text()}")
        run(self.top, "git", "init", "-q", "-b", "main")
        for name, value in (("user.name", WHO[0]), ("user.email", WHO[1]), ("gpg.format", "ssh"),
                            ("user.signingKey", str(key)), ("commit.gpgSign", "true"),
                            ("core.logAllRefUpdates", "always"), ("gc.auto", "0")):  # fmt: skip
            run(self.top, "git", "config", name, value)
        own = {path: path for path in ("person/draft.md", "person/notes.md", "scratch/staged.md")}
        settings = {"self-coding.toml": SETTINGS.format(command=self.project.command)}
        for path, text in {**self.project.files, **own, **settings}.items():
            self.write(path, text)
        run(self.top, "git", "add", "--all")
        run(self.top, "git", "commit", "-qm", "Begin")
        self.base = run(self.top, "git", "rev-parse", "HEAD").strip()
        self.keep("person/draft.md", "a draft that is in no commit\n")
        self.write("scratch/staged.md", "staged\n")
        run(self.top, "git", "add", "scratch/staged.md")
        blob = run(self.top, "git", "rev-parse", ":scratch/staged.md")
        self.staged["scratch/staged.md"] = blob.strip()
        self.keep("scratch/staged.md", "staged, and then more\n")

    def write(self, path: str, text: str) -> None:
        (self.top / path).parent.mkdir(parents=True, exist_ok=True)
        (self.top / path).write_text(text)

    def keep(self, path: str, text: str) -> None:
        """Write a file that nobody but the person may ever change."""
        self.write(path, text)
        self.files[path] = hashlib.sha256(text.encode()).hexdigest()

    def work(self, until: float) -> None:
        """Write, commit, branch and come back until the time is over."""
        while time.time() < until:
            self.turns += 1
            for folder in ("person", "scratch"):
                self.keep(f"{folder}/untracked-{self.turns}.txt", f"only here: {self.turns}\n" * 9)
            self.commit(f"person/on-main-{self.turns}.md")
            if self.dice.random() < 0.3:
                self.git("switch", "-qc", f"idea-{self.turns}")
                self.commit(f"person/idea-{self.turns}.md")
                self.git("switch", "-q", "main")
            self.note()  # each time, in case that somebody ends us as well
            time.sleep(self.dice.uniform(3, 25))
        self.note()

    def commit(self, path: str) -> None:
        """Commit one file, and note which commit that was."""
        self.write(path, f"turn {self.turns}\n")
        self.git("add", "-f", "--", path)  # what has landed may ignore it
        self.git("commit", "-qm", path, "--", path)
        # by its message, not by HEAD: a landing may have moved that already
        made = run(self.top, "git", "log", "-1", "--format=%H", "--all", f"--grep=^{path}$").strip()
        self.commits[made] = path

    def git(self, *words: str) -> None:
        """Run git as a person does: again where somebody else is at it."""
        for _ in range(300):
            done = subprocess.run(
                ["git", *words], cwd=self.top, capture_output=True, text=True, check=False
            )
            if not done.returncode:
                return
            if not any(one in done.stderr for one in ("index.lock", "cannot lock ref")):
                break
            time.sleep(0.1)
        raise RuntimeError(f"git {' '.join(words)}: {done.stderr}")

    def note(self) -> None:
        """Write down what there must be, for the audit."""
        told = {"base": self.base, "command": self.project.command, "suite": self.project.suite,
                "oracle": self.project.oracle, "files": self.files, "staged": self.staged,
                "commits": self.commits}  # fmt: skip
        (self.folder / "person.json").write_text(json.dumps(told, indent=1))


class Agent:
    """One hostile agent of a repository."""

    def __init__(self, place: Place, number: int, seed: int, slots: threading.Semaphore) -> None:
        self.place, self.number, self.slots = place, number, slots
        self.dice = random.Random(f"{seed} {place.project.name} {number}")
        self.turn = 0
        self.ends: Counter[str] = Counter()
        self.wrong: list[str] = []

    def work(self, until: float) -> None:
        """Try one trick after the other until the time is over."""
        while time.time() < until:
            time.sleep(self.dice.uniform(0.1, 1))  # else whoever had the slot has it again
            with self.slots:
                self.turn += 1
                chore = self.dice.choices((self.edit, self.by_hand, self.go_back), (8, 3, 1))[0]
                chore()

    def plan(self) -> tuple[str, str]:
        """Return a task, and the shell lines with which an editor does it."""
        n = f"{self.turn * 10 + self.number}"
        tricks = [*self.place.project.tricks, *(Trick(name, deed=deed) for name, deed in DEEDS)]
        # half of the time something good, so that main moves under the others
        good = [one for one in tricks if one.name.startswith("good:")]
        trick = self.dice.choice(good if self.dice.random() < 0.4 else tricks)

        def filled(text: str) -> str:
            taken = min(int(n), max(1, self.place.turns)) if "untracked" in text else n
            return text.replace("{n}", str(taken)).replace("{top}", str(self.place.top))

        lines = []
        for path, text in trick.write.items():
            at = shlex.quote(filled(path))
            lines.append(f"mkdir -p $(dirname {at}); printf %s {shlex.quote(filled(text))} > {at}")
        lines += [f"rm -f {shlex.quote(path)}" for path in trick.drop]
        lines += [filled(trick.deed)] if trick.deed else []
        return f"{trick.name} ({n})", "\n".join(lines)

    def edit(self) -> None:
        """One whole self-edit by a command."""
        task, lines = self.plan()
        script = self.place.folder / f"edit-{self.number}-{self.turn}.sh"
        script.write_text(lines)
        self.start(task, "self-edit", task, "--with", f"sh {script}", "--wait", "600")

    def by_hand(self) -> None:
        """An edit as clients make it: begin, edit, submit."""
        task, lines = self.plan()
        told = self.start("begin", "--json", "begin-edit", task)
        with_ = json.loads(told) if told.startswith("{") else {}
        if not with_.get("worktree"):
            return
        worktree, attempt = with_["worktree"], str(with_.get("attempt") or with_.get("attempt_id"))
        where = worktree["path"] if isinstance(worktree, dict) else worktree
        script = self.place.folder / f"edit-{self.number}-{self.turn}.sh"
        script.write_text(lines)
        # A shell in between: some editors kill their parent.
        words = ["sh", "-c", f"sh {script}; true"]
        subprocess.run(words, cwd=where, start_new_session=True, check=False,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        self.start(task, "submit-edit", attempt, "--wait", "600")

    def go_back(self) -> None:
        """Undo, or go back to a snapshot, while the person has work in the checkout."""
        if self.dice.random() < 0.5:
            self.start("undo", "undo")
            return
        told = self.start("snapshot", "--json", "snapshot")
        time.sleep(self.dice.uniform(0, 3))
        made = json.loads(told) if told.startswith("{") else {}
        if made.get("ref"):
            self.start("rollback", "rollback", "--yes", made["ref"])

    def start(self, what: str, *words: str) -> str:
        """Run one of our commands, and kill one in five; note how it ended."""
        child = subprocess.Popen([*PROGRAM, *words], cwd=self.place.top, start_new_session=True,
                                 text=True, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
        kind = what.partition(":")[0].partition(" (")[0]
        fate = self.dice.uniform(0.3, 9) if self.dice.random() < KILLED else 900
        try:
            out, err = child.communicate(timeout=fate)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            self.ends[f"{kind}: killed"] += 1
            if fate == 900:
                self.wrong.append(f"{what}: did not end")
            for again in ("recover", "resume"):
                subprocess.run([*PROGRAM, again], cwd=self.place.top, capture_output=True,
                               stdin=subprocess.DEVNULL, check=False)  # fmt: skip
            return ""
        self.ends[f"{kind}: {'yes' if not child.returncode else 'no'}"] += 1
        if "Traceback" in err or child.returncode < 0:
            self.wrong.append(f"{what}: {child.returncode} {err[-600:]}")
        return out


def finish(place: Place) -> list[str]:
    """Resume or drop what is open; return what stays so."""
    for _ in range(5):
        for again in ("recover", "resume"):
            subprocess.run([*PROGRAM, again], cwd=place.top, capture_output=True, check=False)
        told = run(place.top, *PROGRAM, "--json", "status", check=False)
        waiting = json.loads(told)["waiting"] if told.startswith("{") else [{"attempt": 0}]
        if not waiting:
            return []
        for one in waiting:
            words = [*PROGRAM, "drop-edit", str(one["attempt"])]
            subprocess.run(words, cwd=place.top, capture_output=True, check=False)
    return [f"{place.project.name}: open at the end: {told[:600]}"]


def soak(folder: Path, minutes: float, seed: int, slots: int) -> int:
    """Let them work, then judge."""
    until = time.time() + 60 * minutes
    gate = threading.Semaphore(slots)
    places = [Place(folder / one.name, one, seed) for one in PROJECTS]
    agents = [Agent(place, number, seed, gate) for place in places for number in (1, 2)]
    wrong: list[str] = []

    def guarded(one: Place | Agent) -> None:
        try:
            one.work(until)
        except Exception as error:  # noqa: BLE001 - whatever stops a participant is to be told
            wrong.append(f"{type(one).__name__} stopped: {error!r}")
            if isinstance(one, Place):
                one.note()

    threads = [threading.Thread(target=guarded, args=(one,)) for one in (*places, *agents)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    for place in places:
        wrong += finish(place)
    ends = sum((one.ends for one in agents), Counter[str]())
    wrong += [said for one in agents for said in one.wrong]
    print(f"{minutes:g} minutes, {sum(one.turn for one in agents)} turns of {len(agents)} agents")
    for what, count in sorted(ends.items()):
        print(f"  {what:40} {count}")
    print("\n".join(wrong) or "no traceback, nothing open")
    told = subprocess.run([sys.executable, str(HERE / "soak_audit.py"), str(folder)], check=False)
    return 1 if wrong or told.returncode else 0


def main() -> int:
    form = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--slots", type=int, default=3, help="how many agents act at one time")
    parser.add_argument("--keep", type=Path, help="work in this new folder, and leave it")
    args = parser.parse_args()
    # the tests and the audit run the interpreter that runs this
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    if args.keep:
        args.keep.mkdir(parents=True)
        return soak(args.keep.resolve(), args.minutes, args.seed, args.slots)
    with tempfile.TemporaryDirectory(prefix="self-coding-soak-") as folder:
        return soak(Path(folder), args.minutes, args.seed, args.slots)


if __name__ == "__main__":
    sys.exit(main())
