"""A self-edit dies at every point, up to twice, and each time ends as the one that did not die."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from memory_services import Crash, Disk, MemoryEditor, MemoryRules, memory_services
from self_coding.errors import SelfCodingError
from self_coding.self_edit import SelfEdit, leases
from self_coding.values.attempts import Outcome
from self_coding.values.edits import Ask, Limits

GOOD, BUG, BAD = {"a.py": "2"}, {"a.py": "bug"}, {"a.py": "forbidden"}


@dataclass(frozen=True)
class Scenario:
    """One self-edit: what the editor writes in each attempt, and how it should end."""

    acts: dict[int, dict[str, str]]
    limits: Limits = Limits()  # noqa: RUF009 - frozen
    ask: Ask | None = None
    dry_run: bool = False
    strangers: int = 0
    caller: bool = False
    landings: int = 1
    base: str = ""  # the branch that it begins from and lands on
    checks: bool = False  # the caller asks what the gate says before each submission
    cancelled_at: str = ""  # the event after which the caller's call is cancelled, once
    disk: Callable[[], Disk] = field(default=Disk)


SCENARIOS = {
    "good": Scenario({1: GOOD}),
    "appends": Scenario({1: {"a.py": "+2", "b.py": "+3"}}),
    "red": Scenario({1: BUG}, landings=0),
    "refused": Scenario({1: BAD}, landings=0),
    "empty": Scenario({1: {}}, landings=0),
    "dry run": Scenario({1: GOOD}, dry_run=True, landings=0),
    "approved": Scenario({1: GOOD}, ask=lambda question: True),
    "declined": Scenario({1: GOOD}, ask=lambda question: "no", landings=0),
    "moved": Scenario({1: GOOD}, strangers=1),
    "keeps moving": Scenario({1: GOOD}, limits=Limits(moves=1), strangers=9, landings=0),
    "second try": Scenario({1: BUG, 2: GOOD}, limits=Limits(tries=3)),
    "same failure": Scenario({1: BUG, 2: BUG}, limits=Limits(tries=9), landings=0),
    "best of two": Scenario({1: {"a.py": "2", "b.py": "2"}, 2: GOOD}, limits=Limits(best_of=2)),
    "caller": Scenario({1: GOOD}, caller=True),
    "corrected": Scenario({1: BUG, 2: BAD, 3: GOOD}, caller=True),
    "given up": Scenario({1: BUG}, caller=True, landings=0),
    "checked": Scenario({1: BUG, 2: GOOD}, caller=True, checks=True),
    "called off once": Scenario({1: GOOD}, caller=True, cancelled_at="tested"),
    "called off landing": Scenario({1: GOOD}, caller=True, cancelled_at="landing"),
    "on a branch": Scenario({1: GOOD}, base="release", strangers=1),
    "corrected on a branch": Scenario({1: BUG, 2: GOOD}, caller=True, base="release", checks=True),
}
PAIRED = ["good", "refused", "moved"]  # the others have thousands of schedules each
SHARE = 4  # of the second crashes, one in so many is tried; `-m slow` tries all


class World:
    """A self-edit over one disk, started again until nothing is open."""

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self.scenario = scenario
        self.disk = scenario.disk()
        self.disk.strangers = scenario.strangers
        self.disk.branches.setdefault(scenario.base or "main", ["c0"])
        self.folder = folder
        self.call: asyncio.Task[object] | None = None
        if scenario.cancelled_at:
            self.disk.on_point = self._cancel

    def _cancel(self) -> None:
        if self.disk.events and self._kinds()[-1] == self.scenario.cancelled_at:
            self.disk.on_point = lambda: None
            assert self.call is not None
            self.call.cancel()
            raise asyncio.CancelledError

    def _process(self) -> tuple[SelfEdit, MemoryEditor]:
        editor = MemoryEditor(self.disk, self.scenario.acts)
        layer = SelfEdit(
            memory_services(self.disk, MemoryRules()),
            leases=self.folder,
            limits=self.scenario.limits,
            restore=lambda spec: editor,
        )
        return layer, editor

    async def first(self) -> None:
        """The call itself; a user whose process died before anything was stored asks again."""
        layer, editor = self._process()
        scenario = self.scenario
        if scenario.caller:
            await self._as_caller(layer, editor)
            return
        how = {"ask": scenario.ask, "dry_run": scenario.dry_run, "base": scenario.base}
        await layer.self_edit("a task", editor=editor, **how)

    async def _as_caller(self, layer: SelfEdit, editor: MemoryEditor) -> None:
        if not self.disk.events:
            await layer.begin_edit("a task", base=self.scenario.base)
        if self._kinds()[-1] not in ("isolated", "shown", "returned", "tried", "checked"):
            await layer.resume()
        while 1 not in self.disk.ended:
            act = self.scenario.acts.get(self._kinds().count("tried") + 1)
            if act is None:
                await layer.drop_edit(1)
                return
            (worktree,) = self.disk.worktrees.values()
            worktree.update(act)
            if self.scenario.checks:
                checked = await layer.check_edit(1)
                assert checked.success == (act is GOOD)
            with suppress(asyncio.CancelledError):
                self.call = asyncio.create_task(layer.submit_edit(1))
                await self.call

    async def again(self) -> None:
        """A later process: it repairs, goes on with what is open, and asks again if need be."""
        layer, _ = self._process()
        if not self.disk.events:
            await self.first()
        elif self.scenario.caller:
            await layer.resume()
            if 1 not in self.disk.ended:
                await self._as_caller(*self._process())
        else:
            await layer.resume(ask=self.scenario.ask)

    def _kinds(self) -> list[str]:
        return [event.kind for event in self.disk.events[1]]

    def end(self) -> tuple[object, ...]:
        """What is left when all is over, without what a crash may rightly change."""
        main = self.disk.trees[self.disk.branches[self.scenario.base or "main"][-1]]
        assert self.scenario.base == "" or self.disk.main == ["c0"], "main is left alone"
        stages = sorted(str(end) for end in self.disk.ended.values())
        content = {path: text for path, text in main.items() if path not in (".merge", "z.py")}
        return content, stages, len(self.disk.landings), dict(self.disk.worktrees)


async def run(scenario: Scenario, folder: Path, schedule: Collection[Collection[int]]) -> World:
    """Play a scenario; process n dies at the points of `schedule[n]`, the last one does not."""
    world = World(scenario, folder)
    calls = [world.first, *[world.again for _ in schedule]]
    for call, points in zip(calls, [*schedule, ()], strict=True):
        world.disk.restart(points)
        try:
            await call()
        except Crash:
            continue
    world.disk.restart()
    await world.again()  # nothing is left to do
    return world


async def points_of(scenario: Scenario, folder: Path, before: Collection[Collection[int]]) -> int:
    """How many points the process has that comes after the crashes `before`."""
    world = World(scenario, folder)
    for call, points in zip([world.first, *[world.again for _ in before]], [*before, ()]):  # noqa: B905
        world.disk.restart(points)
        try:
            await call()
        except Crash:
            continue
    return world.disk.points


@pytest.mark.parametrize("name", SCENARIOS)
async def test_any_one_crash_ends_as_none(name: str, tmp_path: Path) -> None:
    """Whatever point a self-edit dies at, resumed it ends as if it had not died."""
    scenario = SCENARIOS[name]
    wanted = (await run(scenario, tmp_path, [])).end()
    assert wanted[2] == scenario.landings
    for point in range(1, await points_of(scenario, tmp_path, []) + 1):
        world = await run(scenario, tmp_path, [[point]])
        assert world.end() == wanted, f"crash at point {point}"


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("name", "share"),
    [
        *((name, SHARE) for name in PAIRED),
        *(pytest.param(name, 1, marks=pytest.mark.slow) for name in SCENARIOS),
    ],
)
async def test_any_two_crashes_end_as_none(name: str, share: int, tmp_path: Path) -> None:
    """A self-edit that dies, is resumed and dies again still ends as if it had not died."""
    scenario = SCENARIOS[name]
    wanted = (await run(scenario, tmp_path, [])).end()
    firsts = range(1, await points_of(scenario, tmp_path, []) + 1)
    for first in firsts:
        # others after each first one, so that in all every second point is tried
        start = 1 + first % share
        seconds = range(start, await points_of(scenario, tmp_path, [[first]]) + 1, share)
        for second in seconds:
            world = await run(scenario, tmp_path, [[first], [second]])
            assert world.end() == wanted, f"crashes at points {first} and {second}"


async def test_no_two_processes_drive_one_self_edit(tmp_path: Path) -> None:
    """While a process is at a self-edit, `resume` in another leaves it alone."""
    world = World(SCENARIOS["good"], tmp_path)
    layer, _ = world._process()
    seen = []

    async def ask(question: object) -> bool:
        other, _ = world._process()
        seen.append(await other.resume(ask=lambda q: True))
        with pytest.raises(SelfCodingError, match="another process"):
            await other.land_edit(1)
        return True

    editor = MemoryEditor(world.disk, SCENARIOS["good"].acts)
    result = await layer.self_edit("a task", editor=editor, ask=ask)
    assert result.success
    assert seen == [[]]
    assert list(itertools.chain(world.disk.landings)) == ["1"]


class Crowd:
    """Four self-edits over one disk, in processes that all die at once and come again."""

    def __init__(self, folder: Path) -> None:
        self.disk = Disk()
        self.folder = folder

    def _layer(self) -> tuple[SelfEdit, MemoryEditor]:
        # Which attempt adds which file is told by its number, so that it is the same after a crash.
        editor = MemoryEditor(self.disk, {n: {f"{n}.py": "2"} for n in range(1, 9)})
        services = memory_services(self.disk, MemoryRules())
        test = services.repository.test

        async def slowly(*args: object, **how: object) -> object:
            await asyncio.sleep(0.02)
            return await test(*args, **how)  # type: ignore[arg-type]

        services.repository.test = slowly  # type: ignore[method-assign, assignment]
        layer = SelfEdit(services, leases=self.folder, restore=lambda spec: editor)
        return layer, editor

    async def go(self, *, first: bool) -> None:
        """All at once: begin, or go on; whoever lives when the others die dies, too."""
        calls = []
        for number in range(4):
            layer, editor = self._layer()
            if first:
                calls.append(layer.self_edit(f"task {number}", editor=editor))
            else:
                calls.append(layer.resume())
        for done in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(done, BaseException) and not isinstance(done, Crash):
                raise done


@pytest.mark.timeout(600)
@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 5])
async def test_a_group_that_dies_at_any_point_lands_each_once(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever lands for others may die anywhere: each of them has landed once in the end."""
    monkeypatch.setattr(leases, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(leases, "_ASKED", 0.0)
    whole = Crowd(tmp_path / "whole")
    await whole.go(first=True)
    grouped = 0
    for point in range(1, whole.disk.points + 1, step):
        crowd = Crowd(tmp_path / str(point))
        crowd.disk.restart([point])
        await crowd.go(first=True)
        begun = {str(number) for number in crowd.disk.events}
        for _ in range(3):  # a process may find that another one has the lease still
            crowd.disk.restart()
            await crowd.go(first=False)
        assert sorted(crowd.disk.landings) == sorted(begun), f"crash at point {point}"
        ends = {str(number): end for number, end in crowd.disk.ended.items()}
        landed = (Outcome.SUCCESS, "landed")
        assert ends == dict.fromkeys(begun, landed), f"crash at point {point}"
        main = crowd.disk.trees[crowd.disk.main[-1]]
        assert begun <= {path.removesuffix(".py") for path in main}, f"crash at point {point}"
        grouped += any(e.kind == "stacked" for one in crowd.disk.events.values() for e in one)
    assert grouped, "some of them landed together"
