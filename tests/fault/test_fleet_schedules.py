"""A machine dies at every point of a self-edit; another, with only what was pushed, ends it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from memory_services import (
    Crash,
    Disk,
    MemoryEditor,
    MemoryJournal,
    MemoryRepository,
    MemoryRules,
    memory_services,
)
from self_coding.errors import GitOperationError, SelfCodingError
from self_coding.self_edit import SelfEdit
from self_coding.values.edits import Assignment, EditReport, Limits
from self_coding.values.repository import Candidate, Change, Conflict, Worktree

if TYPE_CHECKING:
    from self_coding.git_safety import GitSafety
    from self_coding.modification_journal import ModificationJournal

GOOD, BUG = {"a.py": "2"}, {"a.py": "bug"}
_NOWHERE = Worktree(Path(), "", "", "")


@dataclass
class World:
    """A remote, a journal's server, and what each machine has of its own."""

    disk: Disk = field(default_factory=Disk)
    pushes: bool = True  # the remote takes the heads of attempts
    known: dict[str, set[str]] = field(default_factory=lambda: {"origin": {"c0"}})
    claims: dict[str, str] = field(default_factory=dict)
    acts: dict[int, dict[str, str]] = field(default_factory=lambda: {1: GOOD})
    limits: Limits = Limits()  # noqa: RUF009 - frozen


@dataclass
class Sessions:
    """The claims of one process; the server drops them with it."""

    world: World
    machine: str

    def claim(self, name: str, *, fresh: bool = False) -> bool:
        """Hold a name that nobody holds."""
        return self.world.claims.setdefault(name, self.machine) == self.machine

    def unclaim(self, name: str) -> None:
        """Give it up."""
        if self.world.claims.get(name) == self.machine:
            del self.world.claims[name]

    def holds(self, name: str) -> bool:
        """Whether it is ours."""
        return self.world.claims.get(name) == self.machine

    def holders(self, names: Iterable[str]) -> dict[str, str]:
        """Who holds which."""
        return {name: self.world.claims[name] for name in names if name in self.world.claims}


@dataclass
class Machine(MemoryRepository):
    """A clone: worktrees and candidates are its own, heads are pushed, main is the remote's."""

    world: World = field(default_factory=World)
    name: str = "a"

    def _own(self, worktree: Worktree) -> Worktree:
        return replace(worktree, attempt=f"{self.name}/{worktree.attempt}")

    def _learn(self, commit: str, *, pushed: bool = False) -> None:
        self.world.known.setdefault(self.name, set()).add(commit)
        if pushed:
            self.world.known["origin"].add(commit)

    async def isolate(
        self, attempt: str, base: str | None = None, branch: str = "", *, equip: bool = False
    ) -> Worktree:
        """A worktree that only this machine has."""
        made = await super().isolate(f"{self.name}/{attempt}", base, branch, equip=equip)
        return replace(made, attempt=attempt)

    async def record(self, worktree: Worktree, message: str) -> Change:
        """The commit, pushed before it is stored."""
        head = self.disk.store(self.disk.worktrees[self._own(worktree).attempt])
        self._learn(head, pushed=self.world.pushes)
        return await super().record(self._own(worktree), message)

    async def record_late(self, worktree: Worktree, message: str, head: str) -> Change | None:
        """What stands beyond it here."""
        return await super().record_late(self._own(worktree), message, head)

    async def release(self, worktree: Worktree) -> None:
        """Another machine's worktree is none of ours."""
        await super().release(self._own(worktree))

    async def candidate(self, change: Change, message: str = "") -> Candidate | Conflict:
        """A candidate that only this machine has, until it lands."""
        assert await self.has(_NOWHERE, change.head)
        made = await super().candidate(change, message)
        if isinstance(made, Candidate):
            self._learn(made.commit)
        return made

    async def change(self, base: str, head: str) -> Change:
        """Only of commits that can be had here."""
        if not await self.has(_NOWHERE, head):
            raise GitOperationError(f"no commit {head}")
        return await super().change(base, head)

    async def has(self, worktree: Worktree, commit: str = "") -> bool:
        """Whether this machine, or the remote, has it."""
        if not commit:
            return self._own(worktree).attempt in self.disk.worktrees
        here = self.world.known.get(self.name, set()) | self.world.known["origin"]
        landed = (self.disk.trees[one].get(".merge", "") for one in self.main)
        return commit in here or commit in self.main or any(commit in one for one in landed)


class Editor(MemoryEditor):
    """Writes into the worktree of its own machine."""

    machine = "a"

    async def edit(self, assignment: Assignment) -> EditReport:
        """As the memory's editor does."""
        place = assignment.worktree
        own = replace(place, attempt=f"{self.machine}/{place.attempt}")
        return await super().edit(replace(assignment, worktree=own))


def process(world: World, name: str, folder: Path) -> tuple[SelfEdit, Editor]:
    """A process on a machine, with its own folder of leases."""
    editor = Editor(world.disk, world.acts)
    editor.machine = name
    services = replace(
        memory_services(world.disk, MemoryRules()),
        repository=cast("GitSafety", Machine(world.disk, world=world, name=name)),
        journal=cast("ModificationJournal", MemoryJournal(world.disk, Sessions(world, name))),
    )
    return SelfEdit(
        services, leases=folder / name, limits=world.limits, restore=lambda spec: editor
    ), editor


async def run(world: World, folder: Path, schedule: Sequence[int]) -> World:
    """Machine n dies at point `schedule[n]` of its process, the last one does not."""
    layer, editor = process(world, "a", folder)
    for machine, point in zip("abc", [*schedule, 0], strict=False):
        world.disk.restart([point] if point else [])
        layer, editor = process(world, machine, folder)
        try:
            if world.disk.events:
                await layer.resume()
            else:
                await layer.plan_edit("a task", editor=editor, edit="e")
                await layer.resume(attempt=1, editor=editor)
        except Crash:
            world.claims.clear()
    return world


def end(world: World) -> tuple[object, ...]:
    """What is left, without what a dead machine has on its disk."""
    main = world.disk.trees[world.disk.main[-1]]
    content = {path: text for path, text in main.items() if path not in (".merge", "z.py")}
    stages = [stage for _, stage in world.disk.ended.values()]
    # Whoever is tested anew after its sibling has landed conflicts with it, and is not passed over.
    if world.limits.best_of > 1:
        stages = ["passed over" if stage == "refused" else stage for stage in stages]
    return content, sorted(stages), len(world.disk.landings)


CASES = {
    "good": World(),
    "nothing is pushed": World(pushes=False),
    "moved": World(disk=Disk(strangers=1)),
    "red, then good": World(acts={1: BUG, 2: GOOD}, limits=Limits(tries=3)),
    "best of two": World(acts={1: {"a.py": "2", "b.py": "2"}, 2: GOOD}, limits=Limits(best_of=2)),
}


def fresh(case: str) -> World:
    """A world in which nothing has happened."""
    made = CASES[case]
    disk = Disk(strangers=made.disk.strangers)
    return World(disk=disk, pushes=made.pushes, acts=made.acts, limits=made.limits)


@pytest.mark.parametrize("case", CASES)
async def test_another_machine_ends_what_one_began(case: str, tmp_path: Path) -> None:
    """Wherever a machine dies, another ends the self-edit as if the first had lived."""
    whole = await run(fresh(case), tmp_path / "whole", [])
    wanted, points = end(whole), whole.disk.points
    assert wanted[2] == 1
    for point in range(1, points + 1):
        world = await run(fresh(case), tmp_path / f"{point}", [point])
        assert end(world) == wanted, f"died at point {point}"


async def test_a_third_machine_ends_what_two_left(tmp_path: Path) -> None:
    """The second machine may die anywhere, too; nothing lands twice."""
    whole = await run(fresh("good"), tmp_path / "whole", [])
    wanted, points = end(whole), whole.disk.points
    for first in range(1, points + 1):
        for second in range(1 + first % 3, points + 1, 3):
            world = await run(fresh("good"), tmp_path / f"{first}.{second}", [first, second])
            assert end(world) == wanted, f"died at {first} and {second}"


async def test_a_pushed_head_is_not_edited_again(tmp_path: Path) -> None:
    """Where the commit was pushed the other machine judges it; else it makes the edit anew."""
    for pushes, kinds in ((True, ["adopted"]), (False, ["restarted"])):
        world = fresh("good")
        world.pushes = pushes
        world.disk.on_point = lambda disk=world.disk: _die_after(disk, "tested")  # type: ignore[misc]
        await run(world, tmp_path / str(pushes), [10_000])
        stored = [one.kind for one in world.disk.events[1]]
        assert [kind for kind in stored if kind in ("adopted", "restarted")] == kinds
        assert stored.count("edited") == (1 if pushes else 2)
        assert world.disk.landings == ["1"]


def _die_after(disk: Disk, kind: str) -> None:
    if disk.events and disk.events[1][-1].kind == kind:
        disk.on_point = lambda: None
        disk.dead = True
        raise Crash


async def test_what_lives_is_left_alone(tmp_path: Path) -> None:
    """While a machine holds a self-edit, others neither resume nor land it, and see who has it."""
    world, seen = fresh("good"), []
    layer, editor = process(world, "a", tmp_path)
    other, _ = process(world, "b", tmp_path)

    async def ask(question: object) -> bool:
        seen.append(await other.resume(ask=lambda q: True))
        seen.append([(one.waiting, one.holder) for one in await other.waiting()])
        with pytest.raises(SelfCodingError, match="another process works on this attempt: a"):
            await other.land_edit(1)
        seen.append((await other.wait_edit(1, seconds=0)).success)
        return True

    assert (await layer.self_edit("a task", editor=editor, ask=ask)).success
    assert seen == [[], [("process", "a")], False]
    assert world.claims == {}
