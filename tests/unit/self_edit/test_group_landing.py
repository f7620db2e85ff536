"""Attempts that wait green land together: one test of the topmost, one move of main."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from memory_services import Disk, MemoryEditor, MemoryRepository, memory_services
from self_coding.errors import StorageError
from self_coding.self_edit import SelfEdit, leases
from self_coding.self_edit.group_landing import Landing, stackable
from self_coding.self_edit.history import History
from self_coding.values.edits import Limits, SelfEditResult
from self_coding.values.verdicts import GateReport


class Crowd:
    """Many processes at once over one disk: the n-th adds the file `n.py`."""

    def __init__(self, folder: Path) -> None:
        self.disk = Disk()
        self.folder = folder
        self.tested: list[str] = []
        self.waiting: list[int] = []  # who was to land when a test began
        self.seconds = 0.15  # what a suite takes
        self.affected: tuple[str, ...] = ()

    async def _test(self, repository: MemoryRepository, candidate, **how) -> GateReport:
        self.tested.append(candidate.commit)
        every = self.disk.events.items()
        self.waiting = [n for n, events in every if events[-1].kind == "landing"]
        await asyncio.sleep(self.seconds)
        report = await MemoryRepository.test(repository, candidate)
        if how.get("whole", True) or not self.affected:
            return report
        fields = {**vars(report), "passed": True, "affected": self.affected, "new_failures": ()}
        return GateReport(**fields)

    def layer(self, **limits: int) -> SelfEdit:
        services = memory_services(self.disk)
        repository = services.repository
        repository.test = lambda *a, **how: self._test(repository, *a, **how)  # type: ignore[assignment]
        return SelfEdit(services, leases=self.folder, limits=Limits(**limits))

    def begin(self, number: int, **limits: int) -> asyncio.Task[SelfEditResult]:
        acts = {attempt: {f"{number}.py": str(number)} for attempt in range(1, 99)}
        editor = MemoryEditor(self.disk, acts)
        layer = self.layer(**limits)
        return asyncio.create_task(layer.self_edit(f"add number {number}", editor=editor))

    async def all(self, count: int, **limits: int) -> list[SelfEditResult]:
        return await asyncio.gather(*(self.begin(n, **limits) for n in range(1, count + 1)))

    @property
    def main(self) -> dict[str, str]:
        return self.disk.trees[self.disk.main[-1]]

    def events(self, kind: str) -> list[dict[str, object]]:
        every = [event for events in self.disk.events.values() for event in events]
        return [dict(event.data) for event in every if event.kind == kind]


@pytest.fixture
def crowd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Crowd:
    monkeypatch.setattr(leases, "_FIRST_PAUSE", 0.03)
    monkeypatch.setattr(leases, "_ASKED", 0.03)
    return Crowd(tmp_path)


async def test_those_that_wait_land_with_one_test(crowd: Crowd) -> None:
    """Nine that are green at once cost a run or two more: one lands as it is, the rest together."""
    results = await crowd.all(9)
    assert all(one.success for one in results)
    assert len(crowd.tested) <= 9 + 2
    assert sorted(crowd.disk.landings) == sorted(str(n) for n in range(1, 10))
    tops = {one.get("top") for one in crowd.events("landed")}
    assert len(tops) <= 3
    landed = [str(one["new"]) for one in crowd.events("landed")]
    assert sorted(landed) == sorted(crowd.disk.main[1:]), "each has a merge commit of its own"


async def test_who_has_landed_is_not_stacked_again(crowd: Crowd) -> None:
    """Landed by another and not yet aware of it, an attempt is no part of the next stack."""
    await crowd.all(6)
    landed, events = next(
        (n, events)
        for n, events in crowd.disk.events.items()
        if "stacked" in [one.kind for one in events]
    )
    kinds = [one.kind for one in events]
    del events[kinds.index("stacked") + 1 :]
    unaware = History(events)
    layer = crowd.layer()
    repository = layer.services.repository

    async def dies(*given: object, **more: object) -> object:
        crowd.disk.main.append(crowd.disk.store({**crowd.main, "z.py": "1"}))
        raise StorageError("the disk is gone")

    repository.land = dies  # type: ignore[method-assign, assignment]
    editor = MemoryEditor(crowd.disk, {7: {"7.py": "7"}})
    with pytest.raises(StorageError):
        await layer.self_edit("add number 7", editor=editor)
    first, services = History(crowd.disk.events[7]), crowd.layer().services

    async def waiting() -> list[History]:
        return [unaware]

    landing = Landing(services, waiting, 8, lambda *told: None)
    assert stackable(unaware)
    assert (await landing.swap(first)).kind == "moved", "it is tested by itself"
    assert crowd.disk.landings.count(str(landed)) == 1


async def test_a_group_is_never_larger_than_the_setting(crowd: Crowd) -> None:
    """With one at a time each is tested anew when main has moved, as it was before."""
    results = await crowd.all(4, land_together=1)
    assert all(one.success for one in results)
    assert len(crowd.tested) == 4 + 3
    assert not crowd.events("stacked")


async def test_the_one_that_is_red_with_the_others_is_found(crowd: Crowd) -> None:
    """Halved until it is found, it is refused as its own; all others land, main is never red."""
    crowd.disk.broken = lambda tree: "5.py" in tree and len(tree) > 3
    results = await crowd.all(9)
    # Whether it comes first, and lands alone, is chance: then nothing is left that can be red.
    red = [n for n, one in enumerate(results, start=1) if not one.success]
    assert red in ([5], [])
    if red:
        assert results[4].by == "gate"
        assert results[4].failing_tests == ("test_a",)
        assert len(crowd.tested) <= 9 + 2 + 2 * 3 + 1
    assert not any(crowd.disk.broken(crowd.disk.trees[c]) for c in crowd.disk.main[1:] if red)


async def test_who_is_called_off_in_a_stack_does_not_land(crowd: Crowd) -> None:
    """An attempt that is called off while others test it with theirs stays out of main."""
    crowd.seconds = 0.4
    tasks = [crowd.begin(n) for n in range(1, 5)]
    while len(crowd.waiting) < 2:  # the stack's test has begun
        await asyncio.sleep(0.01)
    crowd.seconds = 0.05
    gone = crowd.waiting[-1]
    names = {n: crowd.disk.events[n][0].data["task"] for n in crowd.disk.events}
    number = int(str(names[gone]).split()[-1])
    tasks[number - 1].cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(done[number - 1], asyncio.CancelledError)
    assert sum(isinstance(one, SelfEditResult) and one.success for one in done) == 3
    assert f"{number}.py" not in crowd.main
    assert str(gone) not in crowd.disk.landings
    assert crowd.disk.ended[gone][1] == "cancelled"


async def test_affected_tests_alone_land_nothing(crowd: Crowd) -> None:
    """Each is tested by what its change reaches, and the whole suite runs before any lands."""
    crowd.affected = ("test_b.py",)
    results = await crowd.all(5)
    assert all(one.success for one in results)
    assert 6 <= len(crowd.tested) <= 10
    whole = {str(one.get("top") or one["new"]) for one in crowd.events("landed")}
    assert whole <= set(crowd.tested)


async def test_what_the_affected_tests_missed_is_on_record(crowd: Crowd) -> None:
    """A failure outside of the affected tests refuses the attempt, and is counted as a miss."""
    crowd.affected = ("test_b.py",)
    crowd.disk.broken = lambda tree: "3.py" in tree
    results = await crowd.all(4)
    assert [one.success for one in results] == [True, True, False, True]
    [missed] = crowd.events("missed")
    assert missed == {"tests": ["test_a"], "affected": ["test_b.py"]}
    assert "3.py" not in crowd.main
