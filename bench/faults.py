"""A fault campaign: random dirty repositories, one fault each, and a judge from outside.

    python bench/faults.py --trials 2000 --seed 1 [--dir /dev/shm] [--only rollback]

Each trial builds a repository full of a person's work, runs one flow of GitSafety in a child
process, breaks it at one point (kill -9 of us at a git call or a file-system change, kill of git
under us, a failing git, a full disk, nothing), lets the next start repair it, and then looks at
the repository with plain git: is every byte the person wrote still there, is main old or new, is
there a lock left, does `fsck` agree, does the next flow work?
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from self_coding.adapters import git
from self_coding.adapters.process import Completed
from self_coding.errors import GitSafetyError, SelfCodingError
from self_coding.git_safety import GitSafety, file_swap

NAMES = ["a.py", "b.py", "lib/c.py", "lib/deep/d.py", "data/e.txt", "data/f.bin", "g h.txt"]
ODD = [
    "-dash",
    ":(top)m",
    "new\nline",
    "caf\u00e9",
    "*",
    " lead",
    "lib/extra",
    "data/x/y/z",
    "b\udcff",
]
IGNORED = ["build/out.o", ".env", "lib/cache.tmp"]
WRITTEN = ("agent.py", "later one", "a.py", "b.py")
FAULTS = [
    "none",
    "kill-call",
    "kill-after",
    "kill-git",
    "kill-change",
    "fail-call",
    "fail-after",
    "full",
]


def sh(place: Path, *args: str, check: bool = True) -> bytes:
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    done = subprocess.run(["git", *args], cwd=place, capture_output=True, env=env)
    if check and done.returncode:
        raise RuntimeError(f"git {args}: {done.stderr!r}")
    return done.stdout


# -- the repository and the person ------------------------------------------------------------


@dataclass
class World:
    """A repository, and what a person has in it: the last bytes written to each path."""

    place: Path
    chance: random.Random
    mine: dict[str, bytes] = field(default_factory=dict)  # present on the disk, must stay
    versions: set[str] = field(default_factory=set)  # blob ids that must be found somewhere
    staged: dict[str, str] = field(default_factory=dict)
    commits: set[str] = field(default_factory=set)
    main: str = ""

    def write(self, name: str, content: bytes, *, person: bool = True) -> None:
        path = self.place / name
        if path.is_symlink() or path.is_dir():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if person:
            self.mine[name] = content
            self.versions.add(blob(content))

    def text(self) -> bytes:
        ends = self.chance.choice([b"\n", b"\r\n", b"\n\r\n", b""])
        body = [
            self.chance.randbytes(self.chance.randrange(1, 12)).hex().encode() for _ in range(4)
        ]
        return ends.join(body) + ends


def blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def template(place: Path) -> None:
    place.mkdir(parents=True)
    sh(place, "init", "-q", "-b", "main")
    for key, value in {"user.name": "P", "user.email": "p@p", "gc.auto": "0"}.items():
        sh(place, "config", key, value)
    for number, name in enumerate(NAMES):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(b"line %d\n" % number * 6)
    (place / ".gitignore").write_text("build/\n.env\n*.tmp\n")
    (place / ".gitattributes").write_text("*.txt text=auto\ndata/e.txt text eol=crlf\n")
    sh(place, "add", "-A")
    sh(place, "commit", "-qm", "one")
    sh(place, "checkout", "-qb", "other")
    (place / "b.py").write_bytes(b"other\n")
    (place / "other.py").write_bytes(b"other\n")
    sh(place, "rm", "-q", "data/f.bin")
    sh(place, "add", "-A")
    sh(place, "commit", "-qm", "other")
    sh(place, "checkout", "-q", "main")


def dirty(world: World) -> None:
    """What a person has lying about: edits, staged edits, untracked and ignored files."""
    chance = world.chance
    for name in chance.sample(NAMES[:4], chance.randrange(3)):
        world.write(name, world.text())
        if chance.random() < 0.5:
            sh(world.place, "add", "--", name)
            world.staged[name] = sh(world.place, "rev-parse", f":{name}").decode().strip()
            world.versions.add(world.staged[name])
            if chance.random() < 0.5:
                world.write(name, world.text())
    for name in chance.sample(ODD, chance.randrange(5)):
        world.write(name, world.text())
    for name in chance.sample(IGNORED, chance.randrange(4)):
        world.write(name, world.text())
    if chance.random() < 0.3:
        (world.place / "link").symlink_to("/nowhere")
    if chance.random() < 0.2:
        world.write(".gitignore", b"build/\n.env\n*.tmp\nsecret\n")
        world.write("secret", world.text())
    if chance.random() < 0.2:
        inner = world.place / "nested"
        inner.mkdir()
        sh(inner, "init", "-q")
        world.write("nested/inner.txt", world.text())
    world.main = sh(world.place, "rev-parse", "main").decode().strip()
    world.commits.add(world.main)


# -- flows: each returns the paths that it may legitimately change on the disk ------------------


async def snapshot(g: GitSafety, w: World) -> None:
    await g.snapshot(run_tests=False)


async def commit_named(g: GitSafety, w: World) -> None:
    w.write("agent.py", b"agent\n", person=False)
    await g.commit("agent", ["agent.py"])


async def commit_all(g: GitSafety, w: World) -> None:
    await g.create_branch("try")
    w.write("agent.py", b"agent\n", person=False)
    await g.commit("all")


async def branch_elsewhere(g: GitSafety, w: World) -> None:
    await g.create_branch("try", base="other")


async def merge(g: GitSafety, w: World) -> None:
    await g.merge_to_main("other", require_tests=False)


async def founding(g: GitSafety, w: World) -> None:
    await g.snapshot(run_tests=False)
    await g.create_branch("try")
    w.write("agent.py", b"agent\n", person=False)
    await g.commit("agent", ["agent.py"])
    await g.merge_to_main("try", require_tests=False)


async def land(g: GitSafety, w: World) -> None:
    tree = await g.isolate("one")
    (tree.path / "agent.py").write_bytes(b"agent\n")
    (tree.path / "a.py").write_bytes(b"agent\n")
    change = await g.record(tree, "agent")
    what = await g.candidate(change)
    await g.land(what, attempt="one")
    await g.release(tree)


async def attempt_rollback(g: GitSafety, w: World) -> None:
    tree = await g.isolate("one")
    (tree.path / "agent.py").write_bytes(b"agent\n")
    await g.record(tree, "agent")
    await g.rollback(tree.base, attempt="one")
    await g.release(tree)


async def rollback(g: GitSafety, w: World) -> None:
    taken = await g.snapshot(run_tests=False)
    await g.create_branch("try")
    w.write("agent.py", b"agent\n", person=False)
    w.write("b.py", b"agent\n", person=False) if "b.py" not in w.mine else None
    await g.commit("agent", ["agent.py"])
    await g.rollback(taken)


async def rollback_undo(g: GitSafety, w: World) -> None:
    taken = await g.snapshot(run_tests=False)
    w.write("later one", b"later\n")
    w.write("a.py", b"later edit\n")
    await g.rollback(taken)
    await g.undo()


async def rollback_hash(g: GitSafety, w: World) -> None:
    await g.rollback("other")


FLOWS: dict[str, Callable[[GitSafety, World], object]] = {
    flow.__name__: flow
    for flow in (
        snapshot, commit_named, commit_all, branch_elsewhere, merge, founding, land,
        attempt_rollback, rollback, rollback_undo, rollback_hash,
    )
}  # fmt: skip
#: Flows that may take a person's present bytes from the disk, after capturing them.
TAKES = {"rollback_undo", "rollback_hash"}


# -- faults -------------------------------------------------------------------------------------


class Fault:
    """Breaks the flow at the `at`th boundary of its kind, in the child process only."""

    def __init__(self, kind: str, at: int, root: Path) -> None:
        self.kind, self.at, self.root = kind, at, str(root)
        self.calls = self.changes = 0
        self.armed = True

    def install(self) -> None:
        real, rename = git.start, file_swap.rename

        def start(argv, **kw):  # type: ignore[no-untyped-def]
            self.calls += 1
            hit = self.armed and self.calls == self.at
            if hit and self.kind == "kill-call":
                os.kill(os.getpid(), signal.SIGKILL)
            if hit and self.kind == "kill-git":
                self.armed = False
                return self.killed(argv, **kw)
            if hit and self.kind == "fail-call":
                self.armed = False
                return Completed(tuple(argv), 128, b"", b"fatal: fault injected")
            done = real(argv, **kw)
            if hit and self.kind == "kill-after":
                os.kill(os.getpid(), signal.SIGKILL)
            if hit and self.kind == "fail-after":
                self.armed = False
                return Completed(tuple(argv), 128, b"", b"fatal: fault injected afterwards")
            return done

        def renameat(*args):  # type: ignore[no-untyped-def]
            self.changed()
            return rename(*args)

        git.start, file_swap.rename = start, renameat
        sys.addaudithook(self.audit)

    def killed(self, argv, **kw):  # type: ignore[no-untyped-def]
        """Git is killed after a moment, and we with it."""
        child = subprocess.Popen(
            argv, cwd=kw["cwd"], env=kw["env"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, pass_fds=git.held_descriptors.get(),
        )  # fmt: skip
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(kw["stdin"])
            child.stdin.close()
        time.sleep(random.Random(self.at).random() * 0.004)
        child.kill()
        os.kill(os.getpid(), signal.SIGKILL)

    def audit(self, event: str, args: tuple[object, ...]) -> None:
        if event == "open" and isinstance(args[2], int):
            if not args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        elif event not in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.chmod"):
            return
        if event == "open" and str(args[0]).rsplit("/", 1)[-1] in WRITTEN:
            return  # the person or the agent writes, not we
        text = os.fsdecode(args[0]) if isinstance(args[0], str | bytes) else ""
        if text.startswith((self.root, "/proc/self/fd")) or not text:
            self.changed()

    def changed(self) -> None:
        self.changes += 1
        if not self.armed or self.changes != self.at:
            return
        if self.kind == "kill-change":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "full":
            self.armed = False
            raise OSError(28, "No space left on device")


def run_flow(name: str, world: World, fault: Fault | None) -> int:
    """The flow in a child; its exit status: 0 done, 3 a typed error, 9 killed, 4 a wrong error."""
    told = world.place.parent / "told.json"
    told.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        code = 4
        try:
            os.setsid()
            if fault is not None:
                fault.install()
            asyncio.run(FLOWS[name](GitSafety(world.place, test_command="true"), world))  # type: ignore[arg-type]
            code = 0
        except SelfCodingError as error:
            code = 3
            told.write_text(repr(error))
        except BaseException as error:  # noqa: BLE001
            told.write_text(f"WRONG {type(error).__name__}: {error}")
        finally:
            if fault is not None:
                fault.armed = False
                with contextlib.suppress(OSError):
                    (world.place.parent / "counts").write_text(f"{fault.calls} {fault.changes}")
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return 9 if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


# -- the judge ----------------------------------------------------------------------------------


def judge(name: str, world: World, code: int) -> list[str]:
    """What is wrong with the repository now, seen with plain git."""
    place, wrong = world.place, []
    told = place.parent / "told.json"
    if code == 4:
        wrong.append(f"not a SelfCodingError: {told.read_text() if told.exists() else '?'}")
    try:
        recovered = asyncio.run(GitSafety(place).recover())
    except GitSafetyError as error:
        return [*wrong, f"recover: {error}"]
    del recovered
    known = set(sh(place, "rev-list", "--objects", "--all", "--no-object-names").decode().split())
    fsck = subprocess.run(
        ["git", "fsck", "--connectivity-only", "--no-dangling"], cwd=place, capture_output=True
    )
    if fsck.returncode:
        wrong.append(f"fsck: {fsck.stderr!r}")
    wrong += [f"lock left: {lock}" for lock in (place / ".git").rglob("*.lock") if ours(lock)]
    head = sh(place, "rev-parse", "--verify", "HEAD", check=False).decode().strip()
    main = sh(place, "rev-parse", "--verify", "main", check=False).decode().strip()
    if not head or not main:
        wrong.append(f"HEAD {head!r} main {main!r}")
    elif (
        main != world.main
        and subprocess.run(
            ["git", "merge-base", "--is-ancestor", world.main, main], cwd=place
        ).returncode
    ):
        wrong.append("main lost its commits")
    wrong += [f"commit lost: {commit}" for commit in world.commits if commit not in known]
    index = set(sh(place, "ls-files", "-s").decode("utf-8", "replace").split())
    for path, content in world.mine.items():
        wrong += lost(name, world, path, content, known)
    for oid in world.versions:
        if oid not in known and oid not in index and oid not in on_disk(world):
            wrong.append(f"a version is nowhere: {oid}")
    if name not in TAKES:
        for path, oid in world.staged.items():
            found = sh(place, "rev-parse", f":{path}", check=False).decode().strip()
            if found != oid and name != "commit_all":
                wrong.append(f"staged content of {path!r} changed")
    if code:
        try:
            asyncio.run(again(place))
        except SelfCodingError as error:
            wrong.append(f"the next flow fails: {error}")
    return wrong


def ours(lock: Path) -> bool:
    return lock.name not in ("lock",) and "exclude" not in lock.name


def on_disk(world: World) -> set[str]:
    return {
        blob((world.place / path).read_bytes())
        for path in world.mine
        if (world.place / path).is_file()
    }


def lost(name: str, world: World, path: str, content: bytes, known: set[str]) -> list[str]:
    place = world.place / path
    present = place.read_bytes() if place.is_file() else None
    if present == content:
        return []
    ignored = path in IGNORED or path.startswith("nested/")
    if ignored or name not in TAKES:
        return [f"{path!r} is not as the person left it"]
    return [] if blob(content) in known else [f"{path!r} is lost"]


async def again(place: Path) -> None:
    git_again = GitSafety(place, test_command="true")
    await git_again.snapshot(run_tests=False)
    await git_again.isolate("again")


# -- the campaign -------------------------------------------------------------------------------


def trial(
    base: Path,
    made: Path,
    name: str,
    kind: str,
    seed: int,
    totals: dict[str, tuple[int, int]],
    at: int = 0,
) -> tuple[list[str], int]:
    """One repository, one flow, one fault; what is wrong afterwards, and how the flow ended."""
    chance = random.Random(seed)
    home = base / f"t{seed}"
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(made, home / "repo", symlinks=True)
    world = World(home / "repo", chance)
    dirty(world)
    calls, changes = totals.get(name, (30, 80))
    most = changes if kind in ("kill-change", "full") else calls
    at = at or chance.randrange(1, most + 1)
    fault = Fault(kind, at, home)
    code = run_flow(name, world, fault)
    with contextlib.suppress(OSError, ValueError):
        first, second = (home / "counts").read_text().split()
        totals[name] = (max(calls, int(first)), max(changes, int(second)))
    wrong = judge(name, world, code)
    if not wrong:
        shutil.rmtree(home, ignore_errors=True)
    return [f"{name} {kind}@{at} seed {seed} exit {code}: {line}" for line in wrong], code


def campaign(base: Path, names: list[str], kinds: list[str], seed: int, trials: int) -> list[str]:
    """Random trials; the violations."""
    table: Counter[tuple[str, str]] = Counter()
    violations: list[str] = []
    totals: dict[str, tuple[int, int]] = {}
    for number in range(trials):
        name = names[number % len(names)]
        kind = kinds[(number // len(names)) % len(kinds)]
        found, _ = trial(base, base / "template", name, kind, seed * 1_000_000 + number, totals)
        table[name, kind] += 1
        for line in found:
            print("VIOLATION", line, flush=True)
        violations += found
    for kind in kinds:
        print(f"{kind:12}", " ".join(f"{table[name, kind]:5}" for name in names))
    return violations


def every(base: Path, names: list[str], kinds: list[str], seed: int) -> list[str]:
    """Each boundary of each flow in turn, until a run comes to its end unhurt."""
    violations: list[str] = []
    for name in names:
        for kind in kinds:
            at = 0
            while kind != "none":
                at += 1
                totals: dict[str, tuple[int, int]] = {}
                found, code = trial(base, base / "template", name, kind, seed, totals, at)
                violations += found
                for line in found:
                    print("VIOLATION", line, flush=True)
                calls, changes = totals.get(name, (0, 0))
                reached = changes if kind in ("kill-change", "full") else calls
                if code != 9 and reached and at > reached:
                    break
            print(f"{name} {kind}: {at} boundaries", flush=True)
    return violations


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dir", default="/dev/shm")
    parser.add_argument("--only", default="")
    parser.add_argument("--fault", default="")
    parser.add_argument("--every", action="store_true")
    options = parser.parse_args()
    base = Path(options.dir) / f"self-coding-faults-{os.getpid()}"
    template(base / "template")
    started, cpu = time.time(), os.times()
    names = [name for name in FLOWS if options.only in name]
    kinds = [kind for kind in FAULTS if options.fault in kind]
    if options.every:
        violations = every(base, names, kinds, options.seed)
    else:
        violations = campaign(base, names, kinds, options.seed, options.trials)
    spent = sum(os.times()[:4]) - sum(cpu[:4])
    facts = {"seed": options.seed, "trials": options.trials, "violations": len(violations)}
    print(json.dumps(facts | {"wall": round(time.time() - started), "cpu": round(spent)}))
    if not violations:
        shutil.rmtree(base, ignore_errors=True)
    return 1 if violations else 0


if __name__ == "__main__":
    raise SystemExit(main())
