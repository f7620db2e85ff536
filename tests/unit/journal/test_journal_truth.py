"""Outcomes follow main's history, and the rates follow the outcomes."""

import subprocess

import pytest

from self_coding.modification_journal import ModificationJournal, Outcome, truth

A, B, C, D = ("a" * 40, "b" * 40, "c" * 40, "d" * 40)


def log(*entries):
    return "".join(f"\x1e{commit}\x1f{message}\n" for commit, message in entries)


@pytest.fixture
async def journal(tmp_path):
    opened = ModificationJournal(tmp_path / "j.db")
    for commit in (A, B):
        number = await opened.begin(f"task {commit[0]}")
        await opened.finish(number, Outcome.SUCCESS, commit=commit, files_modified=["m/x.py"])
    yield opened
    await opened.close()


async def test_a_reverted_attempt_did_not_succeed(journal):
    """It becomes a rollback with the reason, once, and every rate follows."""
    history = log((C, f'Revert "task a"\n\nThis reverts commit {A}.'), (A, "task a"))
    assert await journal.scan(history) == [1]
    assert await journal.scan(history) == []
    found = await journal.get_by_id(1)
    assert found.outcome is Outcome.ROLLBACK
    assert "reverted by cccccccccccc" in found.failure_analysis
    assert (await journal.get_success_rate())["rollback"] == 1
    assert (await journal.rates("area"))["m"].successes == 1
    assert [one.id for one in await journal.get_recent_failures()] == [1]
    assert (await journal.find_similar("task a", include_outcomes=[Outcome.ROLLBACK]))[0].id == 1
    assert [event.kind for event in await journal.events(1)][-1] == "relabelled"


async def test_a_revert_that_was_reverted_gives_the_outcome_back(journal):
    """The history as it is now decides, not the one of yesterday."""
    revert = (C, f"Revert\n\nThis reverts commit {A[:12]}.")
    assert await journal.scan(log(revert)) == [1]
    again = (D, f"Reapply\n\nThis reverts commit {C}.")
    assert await journal.scan(log(again, revert)) == [1]
    assert (await journal.get_by_id(1)).outcome is Outcome.SUCCESS
    assert (await journal.get_success_rate())["success"] == 2


async def test_only_a_revert_that_names_a_commit_counts(journal):
    """Talk about reverting changes nothing."""
    assert await journal.scan(log((C, "Revert the dragons\n\nreverts abc"))) == []
    assert await journal.scan("") == []
    assert await journal.relabel({"0" * 40: "x"}) == []


def test_gits_own_revert_is_read(tmp_path):
    """What `git revert` writes is what is looked for, in the format that is asked for."""

    def git(*args):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *args]
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout

    git("init", "-q")
    (tmp_path / "f").write_text("1")
    git("add", "f")
    git("commit", "-qm", "one")
    (tmp_path / "f").write_text("2")
    git("commit", "-qam", "two")
    commit = git("rev-parse", "HEAD").strip()
    git("revert", "--no-edit", "HEAD")
    undone, restored = truth.reverted(git("log", f"--format={truth.FORMAT}"))
    assert list(undone) == [commit]
    assert not restored


async def test_searching_sees_the_new_outcome(journal):
    """A re-labelled attempt is found, and explained, as the failure that it is."""
    assert "did not succeed" not in str((await journal.similar("task a"))[0].reasons)
    await journal.relabel({A: "it broke"})
    assert "did not succeed" in str((await journal.similar("task a"))[0].reasons)
