"""Undo, redo, and whose doing a commit is."""

from __future__ import annotations

import sqlite3

import pytest

from self_coding import open_app
from self_coding.errors import MainMovedError
from self_coding.git_safety import GitOperationError
from self_coding.testing import ScriptedEditor, sample_repo


async def test_undo_and_redo_in_steps(repo, git) -> None:
    """Several steps back and forth end where they began."""
    start = repo("rev-parse", "HEAD")
    for number in range(3):
        repo.write("app.py", f"{number}\n")
        await git.commit(f"step {number}")
    end = repo("rev-parse", "HEAD")
    await git.undo(3)
    assert repo("rev-parse", "HEAD") == start
    assert repo.read("app.py") == "2\n"
    await git.redo(3)
    assert repo("rev-parse", "HEAD") == end
    assert repo("status", "--porcelain") == ""


async def test_undo_of_a_merge(repo, git) -> None:
    """Main, branch, HEAD and files are as before the merge; redo merges again."""
    start = repo("rev-parse", "main")
    branch = await git.create_branch("try")
    repo.write("new.py")
    tip = await git.commit("new")
    merged = await git.merge_to_main(branch, require_tests=False)
    await git.undo()
    assert repo("rev-parse", "main", "try", "HEAD").split() == [start, tip, tip]
    assert repo("status", "--porcelain", "-b") == "## try"
    await git.redo()
    assert repo("rev-parse", "HEAD", "main").split() == [merged, merged]
    assert repo("branch", "--list", "try") == ""
    assert repo("status", "--porcelain") == ""


async def test_undo_of_a_new_branch(repo, git) -> None:
    """The branch is gone, HEAD is back, and edits came along."""
    await git.create_branch("try")
    repo.write("mine.txt", "mine")
    await git.undo()
    assert repo("branch", "--show-current") == "main"
    assert repo("branch", "--list", "try") == ""
    assert repo.read("mine.txt") == "mine"


async def test_undo_of_a_landing(repo, git) -> None:
    """Main and the checkout go back, however many others there are."""
    start = repo("rev-parse", "main")
    tree = await git.isolate("a")
    (tree.path / "new.py").write_text("x")
    await git.land(await git.candidate(await git.record(tree, "new")), attempt="a")
    assert repo.has("new.py")
    await git.undo(attempt="a")
    assert repo("rev-parse", "main") == start
    assert not repo.has("new.py")
    assert repo("status", "--porcelain") == ""


async def test_undo_over_somebody_elses_commit(repo, git) -> None:
    """A branch that has moved on since is not taken back."""
    repo.write("new.py")
    await git.commit("new")
    theirs = repo.commit("theirs", **{"t.py": "t"})
    with pytest.raises(MainMovedError):
        await git.undo()
    assert repo("rev-parse", "HEAD") == theirs


async def test_undo_of_a_rollback_keeps_what_came_since(repo, git) -> None:
    """A file that a person changed after the rollback is theirs; the rest comes back."""
    taken = await git.snapshot(run_tests=False)
    repo.write("a.txt", "a")
    repo.write("b.txt", "b")
    await git.rollback(taken)
    repo.write("a.txt", "newer")
    done = await git.undo()
    assert (repo.read("a.txt"), repo.read("b.txt")) == ("newer", "b")
    assert done.kind == "undo"
    [operation] = [one for one in await git.operations() if one.id == done.id]
    assert operation.left == ("a.txt",)


@pytest.mark.parametrize("known", [True, False])
async def test_undo_of_a_rollback_stages_no_deletion_of_what_was_committed_since(
    repo, git, known
) -> None:
    """The index goes back path by path: new commits stay in it, and what was staged comes back."""
    taken = await git.snapshot(run_tests=False)
    repo.write("staged.txt", "s")
    repo("add", "staged.txt")
    await git.rollback(taken)
    repo.commit("theirs", **{"theirs.txt": "t"})
    if not known:  # as versions before wrote it
        log = repo.path / ".git/self_coding/operations.db"
        with sqlite3.connect(log) as connection:
            connection.execute("UPDATE operations SET data = json_remove(data, '$.index')")
        connection.close()
    await git.undo()
    assert repo("status", "--porcelain") == "A  staged.txt"
    await git.redo()
    assert repo("status", "--porcelain") == ""
    assert repo("ls-files").split()[-1] == "theirs.txt"


async def test_undo_of_a_rollback_leaves_what_was_staged_since(repo, git) -> None:
    """A path that was staged anew after the rollback is not the rollback's any more."""
    repo.write("app.py", "old\n")
    repo("add", "app.py")
    await git.rollback("HEAD")
    repo.write("app.py", "new\n")
    repo("add", "app.py")
    await git.undo()
    assert repo("show", ":app.py") == "new"
    assert repo.read("app.py") == "new\n"


async def test_nothing_to_undo(git) -> None:
    """With nothing done there is nothing to take back, and no step count below one."""
    for call in (git.undo(), git.redo(), git.undo(0), git.undo(attempt="nobody")):
        with pytest.raises(GitOperationError):
            await call


async def test_more_steps_than_there_are(repo, git) -> None:
    """Asked for more steps than there are, undo and redo change nothing and say how many."""
    repo.write("app.py", "1\n")
    made = await git.commit("one")
    with pytest.raises(GitOperationError, match=r"no more to undo than 1 step \("):
        await git.undo(5)
    assert repo("rev-parse", "HEAD") == made
    await git.undo()
    with pytest.raises(GitOperationError, match="no more to redo than 1 step"):
        await git.redo(2)
    assert repo("rev-parse", "HEAD") != made


async def test_a_step_that_cannot_be_taken_back(repo, git) -> None:
    """Where a later one of several steps fails, it is said how many are done."""
    repo.write("app.py", "1\n")
    await git.commit("one")
    theirs = repo.commit("theirs", **{"t.py": "t"})
    repo.write("app.py", "2\n")
    await git.commit("two")
    with pytest.raises(MainMovedError, match="1 of 2 steps were done before it"):
        await git.undo(2)
    assert repo("rev-parse", "HEAD") == theirs


async def test_undo_does_not_cross_actors(repo) -> None:
    """One agent's undo does not take back another's work."""
    one, two = repo.safety(actor="one"), repo.safety(actor="two")
    repo.write("new.py")
    await two.commit("two's")
    with pytest.raises(GitOperationError, match="nothing to undo"):
        await one.undo()


async def test_explain(repo, git) -> None:
    """Commits and reflog entries are told to be ours or not."""
    theirs = repo("rev-parse", "HEAD")
    repo.write("new.py")
    ours = await git.commit("ours")
    assert (await git.explain(ours)).kind == "commit"
    assert (await git.explain("main@{0}")).kind == "commit"
    assert await git.explain(theirs) is None

    repo("reset", "-q", "--hard", theirs)
    repo("reset", "-q", "--hard", ours)
    assert await git.explain("main@{0}") is None


async def test_a_commit_that_was_gone_back_to_is_not_ours(repo, git) -> None:
    """Going to a person's commit, in whatever way, does not make it a commit of ours."""
    theirs = repo("rev-parse", "HEAD")
    await git.rollback("HEAD")
    assert await git.explain(theirs) is None
    repo("checkout", "-q", "main")
    await git.create_branch("mine")
    repo.write("new.py")
    ours = await git.commit("ours")
    await git.undo()
    assert await git.explain(theirs) is None
    assert (await git.explain(ours)).kind == "commit"
    await git._run_git("reset", "-q", "--soft", ours)
    await git._run_git("reset", "-q", "--soft", theirs)
    assert await git.explain(theirs) is None


async def test_a_commit_that_an_attempt_begins_at_is_not_ours(repo, git) -> None:
    """The branch of an attempt is ours, and its reflog entry; the commit it begins at is not."""
    tree = await git.isolate("a")
    assert await git.explain("HEAD") is None
    assert (await git.explain(f"{tree.branch}@{{0}}")).kind == "isolate"


async def test_undo_takes_back_what_a_person_means(repo, git) -> None:
    """The last landing goes, not the book-keeping of a refused attempt after it; it has a name."""
    start = repo("rev-parse", "main")
    one = await git.isolate("a")
    (one.path / "new.py").write_text("x")
    what = await git.candidate(await git.record(one, "new"))
    await git.land(what, attempt="1", reason="Add discounts")
    two = await git.isolate("b")
    (two.path / "app.py").write_text("bad")
    await git.record(two, "refused")
    await git.rollback(two.base, attempt="b")
    await git.release(two)
    done = await git.undo()
    assert done.reason == "the landing of attempt 1 'Add discounts'"
    assert repo("rev-parse", "main") == start
    assert (await git.redo()).reason == done.reason
    assert repo("rev-parse", "main") == what.commit
    assert (await git.undo()).reason == done.reason


async def test_undo_of_an_attempts_own_step_needs_its_name(repo, git) -> None:
    """Where there is nothing but book-keeping, nothing is undone; by name it still can be."""
    tree = await git.isolate("b")
    (tree.path / "app.py").write_text("bad")
    change = await git.record(tree, "edit")
    with pytest.raises(GitOperationError, match="nothing to undo"):
        await git.undo()
    assert (await git.undo(attempt="b")).reason == "the edit of attempt b 'edit'"
    assert repo("rev-parse", tree.branch) == change.base
    await git.redo()
    assert repo("rev-parse", tree.branch) == change.head


async def test_what_was_done_again_is_not_undone(repo, git) -> None:
    """The list of operations says what is in effect: after redo nothing of it is taken back."""
    repo.write("app.py", "1\n")
    await git.commit("step")
    await git.undo()
    assert [one.kind for one in await git.operations() if one.undone] == ["commit"]
    await git.redo()
    undone = {one.kind: one.undone for one in await git.operations()}
    assert not undone["commit"], "see the end of `_reverse_once`"


async def test_an_undo_is_planned_without_effect(repo, git) -> None:
    """The plan names refs and lines, says why it would be refused, and changes nothing."""
    start = repo("rev-parse", "main")
    tree = await git.isolate("a")
    (tree.path / "new.py").write_text("x\ny\n")
    landed = await git.land(await git.candidate(await git.record(tree, "new")), attempt="a")
    plan = await git.plan_undo(attempt="a")
    assert ("refs/heads/main", landed.new, start) in plan.refs
    assert [(one.path, one.added, one.removed) for one in plan.files] == [("new.py", 0, 2)]
    assert (plan.operation.kind, plan.blocked) == ("land", "")
    assert repo("rev-parse", "main") == landed.new
    repo.commit("later", **{"b.py": "1"})
    assert "main has moved" in (await git.plan_undo(attempt="a")).blocked
    with pytest.raises(GitOperationError, match="nothing to undo"):
        await git.plan_undo(attempt="nobody")


async def test_a_self_edit_that_landed_alone_is_undone_by_its_number(tmp_path) -> None:
    """A landing of one is no group: the number of its attempt takes it back."""
    app = open_app(sample_repo(tmp_path / "repo"), environ={}, test_command="true")
    before = await app.git.get_main_commit()
    result = await app.edit.self_edit("Add x", editor=ScriptedEditor({"x.py": "x = 1\n"}))
    assert result.success
    await app.git.undo(attempt=str(result.attempt_id))
    assert await app.git.get_main_commit() == before
