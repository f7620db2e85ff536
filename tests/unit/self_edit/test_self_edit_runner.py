"""What a self-edit does from task to result, over services in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from journal_stores import address
from memory_services import Disk, MemoryEditor, MemoryRepository, MemoryRules, memory_services
from self_coding.adapters import postgres
from self_coding.errors import (
    EditError,
    GateError,
    GitOperationError,
    JournalError,
    SelfCodingError,
    StorageError,
)
from self_coding.modification_journal.postgres import PostgresStore
from self_coding.self_edit import SelfEdit
from self_coding.self_edit.leases import Leases
from self_coding.values.attempts import Json, Outcome
from self_coding.values.edits import (
    Assignment,
    EditReport,
    Limits,
    Progress,
    Question,
    SelfEditResult,
)
from self_coding.values.repository import Candidate
from self_coding.values.verdicts import GateReport

Task = asyncio.Task[SelfEditResult]
GOOD, BUG, BAD = {"a.py": "2"}, {"a.py": "bug"}, {"a.py": "forbidden"}


class World:
    """A disk, and self-edits over it."""

    def __init__(self, folder: Path, rules: MemoryRules | None = None) -> None:
        self.disk = Disk()
        self.folder = folder
        self.rules = rules

    def layer(self, **limits: float) -> SelfEdit:
        services = memory_services(self.disk, self.rules)
        return SelfEdit(services, leases=self.folder, limits=Limits(**limits))

    def editor(self, *acts: dict[str, str]) -> MemoryEditor:
        return MemoryEditor(self.disk, dict(enumerate(acts, start=1)))

    @property
    def main(self) -> Mapping[str, str]:
        return self.disk.trees[self.disk.main[-1]]

    def kinds(self, attempt: int = 1) -> list[str]:
        return [event.kind for event in self.disk.events[attempt]]

    def refusal(self, attempt: int = 1) -> Mapping[str, Json]:
        told = [e.data for e in self.disk.events[attempt] if e.kind in ("refused", "stopped")]
        return told[-1]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_a_good_change_lands(world: World) -> None:
    """A green change is on main afterwards, and its result says what happened."""
    result = await world.layer().self_edit("make it two", editor=world.editor(GOOD))
    assert result.success
    assert result.stage == "landed"
    assert result.commit_hash == world.disk.main[-1]
    assert result.files_modified == ["a.py"]
    assert result.diff == "+a.py: 2\n"
    assert world.main["a.py"] == "2"
    assert world.disk.ended == {1: (Outcome.SUCCESS, "landed")}
    assert world.disk.worktrees == {}


async def test_a_breaking_change_is_refused_and_explained(world: World) -> None:
    """A red change leaves main alone; the result names the test and the lesson."""
    result = await world.layer().self_edit("break it", editor=world.editor(BUG))
    assert not result.success
    assert (result.stage, result.by) == ("refused", "gate")
    assert result.failing_tests == ("test_a",)
    assert result.lesson == "do not write bugs"
    assert "FAILED" in result.test_results
    assert result.commit_hash is None
    assert world.main["a.py"] == "1"
    assert world.disk.ended == {1: (Outcome.FAILURE, "refused")}


async def test_a_broken_rule_is_refused_before_any_test(world: World) -> None:
    """What the policy forbids is never tested; the finding is in the result."""
    result = await world.layer().self_edit("edit", editor=world.editor(BAD))
    assert result.by == "policy"
    assert [finding.rule for finding in result.findings] == ["forbidden"]
    assert "tested" not in world.kinds()


async def test_a_policy_may_ask(world: World) -> None:
    """Where the policy asks, a broken rule is a question, and the answer decides."""
    world.rules = MemoryRules(asks=True)
    asked: list[Question] = []

    async def ask(question: Question) -> bool:
        asked.append(question)
        return True

    result = await world.layer().self_edit("edit", editor=world.editor(BAD), ask=ask)
    assert result.success
    assert [finding.rule for finding in asked[0].findings] == ["forbidden"]
    assert "1 broken rule" in asked[0].text


async def test_a_policy_that_asks_nobody_waits(world: World) -> None:
    """Where the policy asks and nobody can be asked, nothing lands; it waits for an answer."""
    world.rules = MemoryRules(asks=True)
    result = await world.layer().self_edit("edit", editor=world.editor(BAD))
    assert (result.stage, result.waiting) == ("waiting", "approval")
    assert world.main["a.py"] == "1"
    assert (await world.layer().land_edit(1)).success


async def test_an_empty_edit_is_an_outcome(world: World) -> None:
    """An editor that changes nothing is told so, and nothing lands."""
    result = await world.layer().self_edit("edit", editor=world.editor({}))
    assert (result.success, result.by) == (False, "empty")
    assert "nothing was changed" in result.message
    assert result.hint == f"show_attempt(attempt={result.attempt_id})"


async def test_the_next_try_is_told_why(world: World) -> None:
    """A further try begins from a fresh base, with the failure and the lesson in its context."""
    seen: list[Assignment] = []

    class Editor(MemoryEditor):
        async def edit(self, assignment: Assignment) -> EditReport:
            seen.append(assignment)
            return await super().edit(assignment)

    editor = Editor(world.disk, {1: BUG, 2: GOOD})
    result = await world.layer().self_edit("edit", editor=editor, tries=3)
    assert result.success
    assert result.attempts == (1, 2)
    told = seen[1].context
    assert seen[0].context.feedback == ()
    assert told.feedback[0].failing_tests == ("test_a",)
    assert "do not write bugs" in told.text
    assert "> FAILED test_a" in told.text
    assert world.disk.ended[1][0] is Outcome.FAILURE


async def test_the_same_failure_twice_is_enough(world: World) -> None:
    """Tries end when one fails exactly as an earlier one did."""
    result = await world.layer().self_edit("edit", editor=world.editor(BUG), tries=9)
    assert not result.success
    assert result.attempts == (1, 2)


async def test_tries_are_bounded(world: World) -> None:
    """Different failures are tried as often as asked, and no more."""
    acts = [{"a.py": f"bug {number}"} for number in range(9)]
    result = await world.layer().self_edit("edit", editor=world.editor(*acts), tries=3)
    assert result.attempts == (1, 2, 3)


async def test_the_budget_ends_the_tries(world: World) -> None:
    """When the tries have cost as much as they may, no further one begins."""

    class Dear(MemoryEditor):
        async def edit(self, assignment: Assignment) -> EditReport:
            await super().edit(assignment)
            return EditReport(summary="dear", cost=0.6)

    acts = {number: {"a.py": f"bug {number}"} for number in range(1, 9)}
    editor = Dear(world.disk, acts)
    result = await world.layer(cost=1.0).self_edit("edit", editor=editor, tries=9)
    assert result.attempts == (1, 2)


async def test_the_smallest_of_several_lands(world: World) -> None:
    """Of attempts side by side the smallest green one lands; all are journaled."""
    acts = ({"a.py": "2", "b.py": "2"}, GOOD, BUG)
    result = await world.layer().self_edit("edit", editor=world.editor(*acts), best_of=3)
    assert result.success
    assert result.attempt_id == 2
    assert result.attempts == (1, 2, 3)
    assert "b.py" not in world.main
    assert [world.disk.ended[n][1] for n in (1, 2, 3)] == ["passed over", "landed", "refused"]
    assert len(world.disk.landings) == 1


async def test_best_of_tries_again_when_all_fail(world: World) -> None:
    """When a whole round fails, the next one is told of all of it."""
    acts = (BUG, {"a.py": "bug 2"}, GOOD, GOOD)
    layer = world.layer()
    result = await layer.self_edit("edit", editor=world.editor(*acts), best_of=2, tries=2)
    assert result.success
    assert result.attempts == (1, 2, 3, 4)
    facts = world.disk.events[3][0].data["facts"]
    assert isinstance(facts, dict)
    feedback = facts["feedback"]
    assert isinstance(feedback, list)
    assert len(feedback) == 2


async def test_a_refusal_is_an_outcome_with_its_reason(world: World) -> None:
    """A person's no lands nothing and is remembered with its words."""
    asked: list[str] = []

    def ask(question: Question) -> str:
        asked.append(question.text)
        return "use a dict"

    layer = world.layer()
    result = await layer.self_edit("edit", editor=world.editor(GOOD, GOOD), ask=ask, tries=2)
    assert (result.success, result.by) == (False, "approval")
    assert "use a dict" in result.message
    assert result.attempts == (1, 2), "a reason can be bettered by another try"
    assert asked[0].startswith("Land attempt 1: 1 file, +1 -0")


async def test_a_plain_no_ends_it(world: World) -> None:
    """A no without a reason is not asked again."""
    layer = world.layer()
    result = await layer.self_edit(
        "edit", editor=world.editor(GOOD), ask=lambda question: False, tries=5
    )
    assert result.attempts == (1,)


async def test_a_dry_run_moves_nothing(world: World) -> None:
    """A dry run does everything but land, and says that it would have."""
    result = await world.layer().self_edit("edit", editor=world.editor(GOOD), dry_run=True)
    assert (result.success, result.stage, result.commit_hash) == (True, "held", None)
    assert world.main["a.py"] == "1"


async def test_a_moved_main_is_tested_anew(world: World) -> None:
    """When main moves between test and landing, the new merge is tested before it lands."""
    world.disk.strangers = 2
    result = await world.layer().self_edit("edit", editor=world.editor(GOOD))
    assert result.success
    assert world.kinds().count("tested") == 3
    assert world.main["a.py"] == "2"
    assert world.main["z.py"] == "0"


async def test_a_main_that_keeps_moving_is_given_up(world: World) -> None:
    """A candidate is made anew a bounded number of times."""
    world.disk.strangers = 99
    result = await world.layer(moves=2).self_edit("edit", editor=world.editor(GOOD), tries=3)
    assert (result.by, result.attempts) == ("moved", (1,))
    assert world.kinds().count("moved") == 3


async def test_a_conflict_is_data(world: World) -> None:
    """A change that does not merge is refused with its paths, and another try may follow."""

    class Late(MemoryEditor):
        async def edit(self, assignment: Assignment) -> EditReport:
            if assignment.attempt == 1:
                other = {**self.disk.trees[self.disk.main[-1]], "a.py": "other"}
                self.disk.main.append(self.disk.store(other))
            return await super().edit(assignment)

    result = await world.layer().self_edit("edit", editor=Late(world.disk, {1: GOOD}))
    assert result.by == "conflict"
    assert "a.py" in result.message
    assert world.refusal()["paths"] == ["a.py"]


@pytest.mark.parametrize(
    ("task", "hint"), [("", "in words"), (" \n\t", "in words"), ("x" * 1_000_000, "a file")]
)
async def test_an_impossible_task_is_refused(world: World, task: str, hint: str) -> None:
    """An empty task and one of a megabyte are refused with a hint, before anything is stored."""
    layer = world.layer()
    for call in (layer.self_edit(task, editor=world.editor(GOOD)), layer.begin_edit(task)):
        with pytest.raises(EditError) as caught:
            await call
        assert hint in caught.value.hint
    assert world.disk.events == {}


@pytest.mark.parametrize("wrong", [{"tries": 0}, {"best_of": 17}, {"tries": 51}])
async def test_numbers_out_of_range_are_refused(world: World, wrong: dict[str, int]) -> None:
    """Tries and side-by-side attempts have their bounds."""
    with pytest.raises(EditError, match="must be between"):
        await world.layer().self_edit("t", editor=world.editor(GOOD), **wrong)
    assert world.disk.events == {}


async def test_the_caller_edits_and_submits(world: World) -> None:
    """A caller gets a worktree with context, edits with its own tools, and submits."""
    layer = world.layer()
    begun = await layer.begin_edit("edit")
    assert begun.context.files[0].path == "a.py"
    world.disk.worktrees[begun.worktree.attempt]["a.py"] = "2"
    result = await layer.submit_edit(begun.attempt, summary="by hand")
    assert result.success
    assert world.main["a.py"] == "2"
    with pytest.raises(EditError, match="it is landed"):
        await layer.submit_edit(begun.attempt)


async def test_a_refusal_keeps_the_edit(world: World) -> None:
    """What was refused is corrected where it stands and submitted again; it counts once."""
    layer = world.layer()
    begun = await layer.begin_edit("edit")
    tree = world.disk.worktrees[begun.worktree.attempt]
    for act, by in ((BUG, "gate"), (BAD, "policy")):
        tree.update(act)
        world.rules = MemoryRules()
        refused = await world.layer().submit_edit(begun.attempt)
        assert (refused.stage, refused.by, refused.waiting) == ("refused", by, "submit")
        assert refused.worktree == str(begun.worktree.path)
        assert world.disk.ended == {}
    assert refused.lesson == "do not write bugs"
    assert refused.failing_tests == (), "nothing of the try before is told again"
    (waits,) = await layer.waiting()
    assert (waits.waiting, "forbidden" in waits.why) == ("submit", True)
    tree.update(GOOD)
    assert (await layer.submit_edit(begun.attempt)).success
    assert world.disk.ended == {1: (Outcome.SUCCESS, "landed")}
    assert world.kinds().count("tried") == 2
    assert world.disk.worktrees == {}


async def test_a_refused_edit_that_is_given_up_counts_as_refused(world: World) -> None:
    """Dropped after a refusal, an attempt ends as what it came to: one failure."""
    layer = world.layer()
    begun = await layer.begin_edit("edit")
    world.disk.worktrees[begun.worktree.attempt].update(BUG)
    await layer.submit_edit(begun.attempt)
    dropped = await layer.drop_edit(begun.attempt, "no time")
    assert dropped.message.startswith("attempt 1 refused and given up: tests failed")
    assert world.disk.ended == {1: (Outcome.FAILURE, "refused")}
    assert world.disk.worktrees == {}
    assert world.kinds().count("reflected") == 2, "explained once, told twice"


@pytest.mark.parametrize("before", ["nothing", "a check", "a red check", "a refusal", "twice"])
async def test_an_untouched_worktree_keeps_waiting(world: World, before: str) -> None:
    """To submit or check what is as it began is told and ends nothing, whatever came before; the
    edit that follows lands."""
    layer = world.layer()
    begun = await layer.begin_edit("edit")
    tree = world.disk.worktrees[begun.worktree.attempt]
    untouched = dict(tree)
    if before not in ("nothing", "twice"):
        tree.update(GOOD if before == "a check" else BUG)
        call = layer.submit_edit if before == "a refusal" else layer.check_edit
        assert (await call(begun.attempt)).success == (before == "a check")
        tree.clear()
        tree.update(untouched)
    for call in (layer.submit_edit, layer.check_edit, layer.submit_edit):
        with pytest.raises(EditError, match="nothing is edited yet") as told:
            await call(begun.attempt)
        assert f"attempt {begun.attempt} still waits" in told.value.hint
        assert [one.waiting for one in await layer.waiting()] == ["submit"]
    assert world.disk.ended == {}
    tree.update(GOOD)
    assert (await layer.submit_edit(begun.attempt)).stage == "landed"


async def test_a_check_ends_nothing(world: World) -> None:
    """What a submission would come to is told, red and green; nothing of it is stored."""
    layer = world.layer()
    begun = await layer.begin_edit("edit")
    with pytest.raises(EditError, match="nothing is edited yet"):
        await layer.check_edit(begun.attempt)
    stored = world.kinds()
    tree = world.disk.worktrees[begun.worktree.attempt]
    for act, success, by, said in (
        (BUG, False, "gate", "would be refused: tests failed: test_a"),
        (BAD, False, "policy", "would be refused: forbidden"),
        (GOOD, True, "", "would land: 1 file, +1 -0"),
    ):
        tree.update(act)
        told = await layer.check_edit(begun.attempt)
        assert (told.success, told.by, told.stage) == (success, by, "checked")
        assert said in told.message
        assert told.waiting == "submit"
    assert [kind for kind in world.kinds() if kind != "checked"] == stored
    assert world.disk.ended == {}
    assert world.main["a.py"] == "1"
    assert (await layer.submit_edit(begun.attempt)).success


async def test_an_edit_begins_with_an_earlier_one(world: World) -> None:
    """The change of an attempt that ended, or waits, is in the worktree of a new one."""
    layer = world.layer()
    await layer.self_edit("edit", editor=world.editor(BUG))
    second = await layer.begin_edit("again", from_attempt=1)
    tree = world.disk.worktrees[second.worktree.attempt]
    assert tree["a.py"] == "bug"
    tree["a.py"] = "better"
    third = await layer.begin_edit("and again", from_attempt=second.attempt)
    assert world.disk.worktrees[third.worktree.attempt]["a.py"] == "better"
    with pytest.raises(EditError, match="no edit to begin with"):
        await layer.begin_edit("never", from_attempt=99)


@pytest.mark.parametrize("ends", ["landed", "dropped"])
async def test_what_was_written_after_a_submission_is_not_lost(
    world: World, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """It is told that it is no part of what was judged, and a new attempt can begin with it."""
    layer = world.layer()
    begun = await layer.begin_edit("edit")
    tree = world.disk.worktrees[begun.worktree.attempt]
    tree.update(GOOD if ends == "landed" else BUG)
    test = MemoryRepository.test

    async def slow(self: MemoryRepository, candidate: Candidate, **how: object) -> GateReport:
        tree["late.py"] = "late"
        return await test(self, candidate, **how)

    monkeypatch.setattr(MemoryRepository, "test", slow)
    told = await layer.submit_edit(begun.attempt)
    monkeypatch.undo()
    if ends == "dropped":
        told = await layer.drop_edit(begun.attempt)
    assert "written after it was submitted, and no part of it: late.py" in told.message
    if ends == "landed":
        assert "late.py" not in world.main
        assert told.hint.startswith(f"begin_edit(from_attempt={begun.attempt})")
    again = await layer.begin_edit("the rest", from_attempt=begun.attempt)
    assert world.disk.worktrees[again.worktree.attempt]["late.py"] == "late"


async def test_what_no_commit_can_hold_stops_no_landing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worktree whose last state cannot be recorded is given back as it is."""
    layer = world.layer()
    begun = await layer.begin_edit("edit")
    world.disk.worktrees[begun.worktree.attempt].update(GOOD)

    async def refuse(*_: object) -> None:
        raise GitOperationError("a filter would run")

    monkeypatch.setattr(MemoryRepository, "record_late", refuse)
    assert (await layer.submit_edit(begun.attempt)).stage == "landed"
    assert world.disk.worktrees == {}


async def test_an_edit_that_nobody_submits_expires(world: World) -> None:
    """After `edit_days` a worktree is given back when the next self-edit begins, not before."""
    await world.layer().begin_edit("edit")
    await world.layer().begin_edit("another")
    assert world.disk.ended == {}
    await world.layer(edit_days=1e-9).begin_edit("a third")
    assert [stage for _, stage in world.disk.ended.values()] == ["cancelled", "cancelled"]
    assert "nobody submitted it" in str(world.refusal(1)["reason"])
    assert len(world.disk.worktrees) == 1


async def test_an_edit_in_the_wrong_place_is_named(world: World) -> None:
    """Files changed in the checkout since the edit began are told, with how to carry them over."""
    world.disk.dirty = ["before.py"]
    layer = world.layer()
    begun = await layer.begin_edit("edit")
    world.disk.dirty = ["a.py", "before.py"]
    with pytest.raises(
        EditError, match=r"changed since in the checkout checkout: a\.py "
    ) as caught:
        await layer.submit_edit(begun.attempt)
    assert "git diff HEAD -- a.py | git -C" in caught.value.hint


@pytest.mark.parametrize("known", [["before.py"], [f"{n}.py" for n in range(500)]])
async def test_an_edit_that_strayed_in_part_is_noted(world: World, known: list[str]) -> None:
    """Beside a good edit, new changes of the checkout are noted where they are certain."""
    world.disk.dirty = known
    layer = world.layer()
    begun = await layer.begin_edit("edit")
    world.disk.worktrees[begun.worktree.attempt].update(GOOD)
    world.disk.dirty = ["a.py", *known]
    noted = "not part of it: changed since in the checkout checkout: a.py (" * (len(known) == 1)
    assert noted in (await layer.check_edit(begun.attempt)).message
    landed = await layer.submit_edit(begun.attempt)
    assert landed.stage == "landed"
    assert noted in landed.message
    assert ("git diff HEAD -- a.py" in landed.message) == bool(noted)


async def test_a_caller_may_be_approved(world: World) -> None:
    """A caller's edit waits for approval where that was asked for, and lands with it."""
    layer = world.layer()
    begun = await layer.begin_edit("edit", ask=True)
    world.disk.worktrees[begun.worktree.attempt]["a.py"] = "2"
    result = await layer.submit_edit(begun.attempt)
    assert (result.success, result.waiting) == (False, "approval")
    assert world.main["a.py"] == "1"
    assert (await layer.land_edit(begun.attempt)).success


async def test_a_caller_may_be_asked_at_once(world: World) -> None:
    """Who submits with somebody to ask has them asked, whatever was said at the beginning."""
    layer = world.layer()
    begun = await layer.begin_edit("edit")
    world.disk.worktrees[begun.worktree.attempt]["a.py"] = "2"
    result = await layer.submit_edit(begun.attempt, ask=lambda question: "no")
    assert result.by == "approval"


async def test_holding_and_dropping(world: World) -> None:
    """A held attempt waits green; dropped, it ends with the reason and nothing has moved."""
    layer = world.layer()
    held = await layer.self_edit("edit", editor=world.editor(GOOD), hold=True)
    assert held.waiting == "approval"
    assert await layer.resume() == []
    dropped = await layer.drop_edit(1, "not now")
    assert (dropped.by, "not now" in dropped.message) == ("approval", True)
    assert world.disk.worktrees == {}
    with pytest.raises(EditError):
        await layer.land_edit(1)


async def test_who_decided_is_recorded(world: World) -> None:
    """An approval and a refusal name the person, whichever way they were given."""
    layer = world.layer()
    await layer.self_edit("one", editor=world.editor(GOOD), hold=True)
    await layer.land_edit(1)
    await layer.self_edit("two", editor=MemoryEditor(world.disk, {2: {"a.py": "3"}}), hold=True)
    await layer.drop_edit(2, "not now")
    asked = MemoryEditor(world.disk, {3: {"a.py": "4"}})
    await layer.self_edit("three", editor=asked, ask=lambda question: True)
    told = {
        event.attempt: (event.kind, event.data.get("person"))
        for events in world.disk.events.values()
        for event in events
        if event.kind in ("approved", "refused")
    }
    person = "A Person <person@example.invalid>"
    assert told == {1: ("approved", person), 2: ("refused", person), 3: ("approved", person)}


async def test_an_approval_expires(world: World) -> None:
    """What nobody approves in time ends with its edit kept, and cannot be landed any more."""
    layer = world.layer(approval_days=1e-9)
    held = await layer.self_edit("edit", editor=world.editor(GOOD), hold=True)
    assert (await layer.waiting())[0].expires is not None
    with pytest.raises(EditError, match="has expired: nobody approved or refused it") as caught:
        await layer.land_edit(held.attempt_id or 0)
    assert "begin_edit(from_attempt=1)" in caught.value.hint
    assert (world.main["a.py"], world.refusal(1)["by"]) == ("1", "expired")
    await layer.self_edit("another", editor=MemoryEditor(world.disk, {2: GOOD}), hold=True)
    await layer.begin_edit("a third")  # what has waited too long is ended before something begins
    assert world.refusal(2)["by"] == "expired"
    assert [stage for _, stage in world.disk.ended.values()] == ["refused", "refused"]


async def test_what_waits_is_told(world: World) -> None:
    """Each attempt that somebody has to go on with, newest first; of several only the chosen."""
    layer = world.layer()
    begun = await layer.begin_edit("by hand")
    editor = world.editor({"a.py": "2", "b.py": "2"}, GOOD)
    held = await layer.self_edit("ask", editor=editor, best_of=2, hold=True)
    told = [(one.attempt, one.task, one.waiting) for one in await layer.waiting()]
    assert told == [(held.attempt_id, "ask", "approval"), (1, "by hand", "submit")]
    assert (await layer.waiting())[1].path == str(begun.worktree.path)
    await layer.drop_edit(1)
    await layer.land_edit(held.attempt_id or 0)
    assert await layer.waiting() == []


async def test_a_caller_may_give_up(world: World) -> None:
    """A worktree that was handed out can be given back unsubmitted."""
    layer = world.layer()
    begun = await layer.begin_edit("edit")
    dropped = await layer.drop_edit(begun.attempt)
    assert dropped.stage == "cancelled"
    assert world.disk.worktrees == {}


async def test_a_submission_that_is_cancelled_goes_back_to_its_caller(world: World) -> None:
    """A client that stops waiting loses no edit, at whatever event its call is cancelled."""
    for stop in ("written", "edited", "judged", "tested", "landing", "landed", "cleaned"):
        world = World(world.folder / stop)
        world.folder.mkdir(parents=True)
        layer = world.layer()
        begun = await layer.begin_edit("edit")
        world.disk.worktrees[begun.worktree.attempt].update(GOOD)

        task = asyncio.create_task(layer.submit_edit(begun.attempt))

        def gone(disk: Disk = world.disk, stop: str = stop, task: Task = task) -> None:
            if disk.events[1][-1].kind == stop:
                disk.on_point = lambda: None
                task.cancel()
                raise asyncio.CancelledError  # as whatever runs when its call is cancelled

        world.disk.on_point = gone
        with pytest.raises(asyncio.CancelledError):
            await task
        if stop not in ("landed", "cleaned"):
            assert world.kinds()[-1] == "returned"
            assert world.disk.worktrees, stop
            (waits,) = await layer.waiting()
            assert waits.waiting == "submit"
            assert (await layer.submit_edit(begun.attempt)).stage == "landed"
        assert world.disk.ended == {1: (Outcome.SUCCESS, "landed")}
        assert len(world.disk.landings) == 1


@pytest.mark.parametrize("attempt", [0, 7, -1])
async def test_an_unknown_attempt_is_an_error(world: World, attempt: int) -> None:
    """Ids that name no self-edit are refused with a hint."""
    layer = world.layer()
    for call in (layer.submit_edit, layer.land_edit, layer.drop_edit):
        with pytest.raises(EditError, match="no self-edit attempt"):
            await call(attempt)


async def test_cancelling_ends_it_cleanly(world: World) -> None:
    """Cancelled in the middle, an attempt is closed as cancelled and its worktree given back."""
    begun = asyncio.Event()

    class Slow(MemoryEditor):
        async def edit(self, assignment: Assignment) -> EditReport:
            begun.set()
            await asyncio.sleep(60)
            return EditReport()

    work = world.layer().self_edit("edit", editor=Slow(world.disk, {1: GOOD}), tries=4, best_of=2)
    task = asyncio.create_task(work)
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [stage for _, stage in world.disk.ended.values()] == ["cancelled", "cancelled"]
    assert world.disk.worktrees == {}
    assert len(world.disk.events) == 2, "no further try begins"


async def test_an_editor_that_never_ends_is_ended(world: World) -> None:
    """An edit is bounded even where its editor does not look at its limit."""

    class Slow(MemoryEditor):
        async def edit(self, assignment: Assignment) -> EditReport:
            await asyncio.sleep(60)
            return EditReport()

    layer = world.layer(edit_seconds=-9.95)
    result = await layer.self_edit("edit", editor=Slow(world.disk, {1: GOOD}))
    assert (result.by, "longer than its limit" in result.message) == ("editor", True)


async def test_a_room_that_fails_ends_the_attempt(world: World) -> None:
    """When the gate cannot run, the error reaches the caller and the attempt is closed."""

    def broken(tree: Mapping[str, str]) -> bool:
        raise GateError("no sandbox", hint="install one")

    world.disk.broken = broken
    with pytest.raises(GateError, match="no sandbox"):
        await world.layer().self_edit("edit", editor=world.editor(GOOD), tries=3, best_of=2)
    assert {stage for _, stage in world.disk.ended.values()} == {"stopped"}
    assert "no sandbox" in str(world.refusal())
    assert world.disk.worktrees == {}


async def test_a_lesson_that_cannot_be_stored_does_not_undo_a_landing(world: World) -> None:
    """What has landed is told as landed, even when nothing can be learnt from it."""
    services = memory_services(world.disk)

    class Mute(type(services.reflection)):  # type: ignore[misc]
        async def reflect_with_context(self, *attempts: object, **more: object) -> str:
            raise JournalError("cannot")

    broken = type(services)(
        services.repository, services.index, services.journal, Mute(), services.rules
    )
    layer = SelfEdit(broken, leases=world.folder)
    result = await layer.self_edit("edit", editor=world.editor(GOOD))
    assert result.success


async def test_progress_tells_the_story(world: World) -> None:
    """Whoever watches is told each step, as it happens, with what it came to."""
    told: list[Progress] = []
    await world.layer().self_edit("edit", editor=world.editor(GOOD), on_progress=told.append)
    steps = [one.step for one in told]
    assert steps[:4] == ["planned", "isolated", "edit", "written"]
    assert steps[-4:] == ["landing", "landed", "cleaned", "reflected"]
    assert {one.attempt for one in told} == {1}
    assert "a.py, +1 -0" in [one.message for one in told]


async def test_an_interrupted_function_ends_as_crashed(world: World) -> None:
    """An edit whose editor cannot be had again is closed, not left open for ever."""
    layer = world.layer()
    runner_plan = {"of": 1, "tries": 3, "try": 0, "index": 0}
    await layer.services.journal.begin("t", edit="abc", facts=runner_plan)
    assert "interrupted after 'planned'" in (await layer.recover())[0]
    [result] = await layer.resume()
    assert result.stage == "crashed"
    assert world.disk.ended[1] == (Outcome.FAILURE, "crashed")
    assert await layer.resume() == []


async def test_attempts_of_others_are_left_alone(world: World) -> None:
    """An attempt that was only logged, and belongs to no self-edit, is not resumed."""
    layer = world.layer()
    await layer.services.journal.begin("somebody's own")
    assert await layer.resume() == []
    assert await layer.recover() == []


async def test_a_landing_is_recorded_at_the_next_start(world: World) -> None:
    """A landing that a crash kept from being written down is written down before anything new."""
    layer = world.layer()
    await layer.self_edit("edit", editor=world.editor(GOOD))
    events = world.disk.events[1]
    cut = next(n for n, event in enumerate(events) if event.kind == "landed")
    del events[cut:]
    del world.disk.ended[1]
    second = {"a.py": "2", "c.py": "3"}
    result = await layer.self_edit("more", editor=world.editor(GOOD, second))
    assert result.success
    assert world.disk.ended[1] == (Outcome.SUCCESS, "landed")
    assert len(world.disk.landings) == 2


def test_errors_are_ours() -> None:
    """Everything a self-edit refuses is an error with a hint."""
    assert issubclass(EditError, SelfCodingError)


async def test_self_edits_take_turns_when_main_is_busy(world: World) -> None:
    """Many that are tested at once all land, none tested more than twice, whatever comes first."""

    async def one(number: int) -> list[str]:
        layer = world.layer(moves=1)
        repository = layer.services.repository
        test = repository.test

        async def slowly(*args: object, **kwargs: object) -> object:
            await asyncio.sleep(0.03 * number)
            return await test(*args, **kwargs)  # type: ignore[arg-type]

        repository.test = slowly  # type: ignore[method-assign, assignment]
        editor = MemoryEditor(world.disk, {number: {f"{number}.py": "2"} for number in range(1, 9)})
        result = await layer.self_edit(f"make number {number}", editor=editor)
        assert result.success, result.message
        return world.kinds(result.attempt_id or 0)

    kinds = await asyncio.gather(*(one(number) for number in range(1, 7)))
    assert max(each.count("tested") for each in kinds) == 2
    assert len(world.disk.main) == 7
    assert not list(world.folder.glob("*.lock")), "no turn is held afterwards"


async def test_a_turn_is_a_courtesy(tmp_path: Path) -> None:
    """Waited for in vain once, it is not waited for again; where nothing can be locked, never."""
    told: list[int] = []
    async with Leases(tmp_path).turn("main") as held:
        await held.take()
        late = Leases(tmp_path).turn("main", patience=0.05)
        await late.take(lambda: told.append(1))
        await late.take(lambda: told.append(2))
    assert 2 not in told
    assert told
    (tmp_path / "file").write_text("")
    await Leases(tmp_path / "file").turn("main").take()


async def test_a_turn_that_is_never_given_up_is_not_waited_for_without_end(tmp_path: Path) -> None:
    """Whoever has waited long enough goes on without the turn; main is safe without it."""
    leases = Leases(tmp_path)
    async with leases.turn("main") as held, leases.turn("main") as free:
        await held.take()
        told: list[str] = []
        late = leases.turn("main", patience=0.05)
        await late.take(lambda: told.append("waits"))
        await late.release()
        assert told == ["waits"]
        assert [*tmp_path.glob("landing-*")], "it is still held by its holder"
        await held.release()
        await free.take(lambda: told.append("waits"))
        assert told == ["waits"]
    assert not [*tmp_path.iterdir()]


async def test_the_turn_is_one_for_all_machines_of_a_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the journal is on a server, its connection holds the turn; it ends with that."""
    monkeypatch.setattr(postgres, "GRACE", 0.0)  # the server of the tests is young
    one, two = PostgresStore(place := address()), PostgresStore(place)
    here, there = Leases(tmp_path / "one", one.sessions), Leases(tmp_path / "two", two.sessions)
    async with here.turn("main") as held, there.turn("other") as other, there.turn("main") as next_:
        await held.take()
        told: list[str] = []
        await there.turn("main", patience=0.05).take(lambda: told.append("waits"))
        await other.take(lambda: told.append("the other branch's"))
        assert told == ["waits"]
        one.close()  # as its process dies
        await next_.take()
        told.clear()
        await here.turn("main", patience=0.05).take(lambda: told.append("waits"))
        assert told == ["waits"], "it is the other's now"
    one.close()
    two.close()


async def test_a_landing_that_happened_is_recorded_while_another_one_has_the_turn(
    world: World,
) -> None:
    """After a crash between the landing and its event, nobody waits for somebody else's tests."""
    layer = world.layer()
    begun = await layer.begin_edit("make it two")
    world.disk.worktrees[begun.worktree.attempt]["a.py"] = "2"
    repository = layer.services.repository
    land = repository.land

    async def lands_and_dies(*args: object, **kwargs: object) -> object:
        await land(*args, **kwargs)  # type: ignore[arg-type]
        raise StorageError("the disk is gone")

    repository.land = lands_and_dies  # type: ignore[method-assign, assignment]
    with pytest.raises(StorageError):
        await layer.submit_edit(begun.attempt)
    async with layer.leases.turn("main") as theirs:
        assert await theirs.take()
        async with asyncio.timeout(5):
            (told,) = await world.layer().recover()
    assert "had landed" in told
    assert "landed" in world.kinds(begun.attempt)


async def test_a_missing_dependency_is_not_the_codes_fault(world: World) -> None:
    """Of tests that lack a new dependency one learns how to have it, not which line failed."""
    world.disk.failure = "ModuleNotFoundError: No module named 'tabulate'"
    act = {"a.py": "bug\n+++ b/pyproject.toml\n+tabulate"}
    result = await world.layer().self_edit("add tables", editor=world.editor(act))
    assert "set gate.setup_command" in result.lesson
    assert result.hint == result.lesson == world.disk.lessons[0].text
