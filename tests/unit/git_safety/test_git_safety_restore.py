"""Going back, and what must stay."""

from __future__ import annotations

import time

import pytest

from self_coding.errors import SelfCodingError
from self_coding.git_safety import GitOperationError, tree_state


async def test_untracked_files_from_before_stay(repo, git) -> None:
    """A rollback keeps untracked files that were there before the snapshot."""
    repo.write("notes.txt", "mine")
    taken = await git.snapshot(run_tests=False)
    await git.create_branch("try")
    repo.write("app.py", "two = 2\n")
    await git.commit("two", ["app.py"])
    await git.rollback(taken)
    assert repo.read("notes.txt") == "mine"


async def test_commit_of_everything_then_rollback(repo, git) -> None:
    """Untracked files that were swept into a commit come back as untracked files."""
    repo.write("notes.txt", "mine")
    taken = await git.snapshot(run_tests=False)
    await git.create_branch("try")
    await git.commit("all")
    await git.rollback(taken)
    assert repo.read("notes.txt") == "mine"
    assert repo("status", "--porcelain") == "?? notes.txt"


async def test_unstaged_and_staged_edits_from_before_stay(repo, git) -> None:
    """Edits made before the snapshot are back byte for byte, staged ones staged."""
    repo.write("app.py", "staged = 1\n")
    repo("add", "app.py")
    repo.write("app.py", "staged = 1\nunstaged = 2\n")
    repo.write("lib/core.py", "edited\n")
    before = repo("status", "--porcelain")
    taken = await git.snapshot(run_tests=False)
    repo.write("app.py", "agent\n")
    repo("add", "app.py")
    repo.write("lib/core.py", "agent\n")
    await git.rollback(taken)
    assert repo.read("app.py") == "staged = 1\nunstaged = 2\n"
    assert repo("show", ":app.py") == "staged = 1"
    assert repo.read("lib/core.py") == "edited\n"
    assert repo("status", "--porcelain") == before


async def test_files_of_later_can_be_had_back(repo, git) -> None:
    """What appeared since the snapshot goes, and `undo` brings it back."""
    taken = await git.snapshot(run_tests=False)
    repo.write("later.txt", "precious")
    await git.rollback(taken)
    assert not repo.has("later.txt")
    await git.undo()
    assert repo.read("later.txt") == "precious"


async def test_ignored_files_stay(repo, git) -> None:
    """Ignored files are neither deleted nor captured."""
    repo.commit("ignore", **{".gitignore": ".env\nbuild/\n"})
    repo.write(".env", "SECRET=1")
    taken = await git.snapshot(run_tests=False)
    repo.write("build/out.bin", "made later")
    await git.rollback(taken)
    assert repo.read(".env") == "SECRET=1"
    assert repo.read("build/out.bin") == "made later"
    assert ".env" not in repo("ls-tree", "-r", "--name-only", taken.ref)


async def test_gitignore_edit_rolled_back(repo, git) -> None:
    """Files that only an uncommitted .gitignore hides stay when that edit goes."""
    taken = await git.snapshot(run_tests=False)
    repo.write(".gitignore", "data/\n")
    repo.write("data/big.csv", "rows")
    await git.rollback(taken)
    assert repo.read("data/big.csv") == "rows"


@pytest.mark.parametrize("rules", [".gitignore", "lib/.gitignore", ".git/info/exclude"])
async def test_files_that_were_ignored_at_the_snapshot_stay(repo, git, rules) -> None:
    """A file that was ignored at the snapshot stays, though nothing ignores it any more."""
    repo.write("lib/data/m.bin", "precious")
    repo.write(rules, "data/\n")
    taken = await git.snapshot(run_tests=False)
    repo.write(rules, "other/\n")
    repo.write("lib/later.py", "later")
    plan = await git.plan_rollback(taken)
    actions = {path.path: path.action for path in plan.paths}
    assert (actions["lib/data/m.bin"], actions["lib/later.py"]) == ("keep", "delete")
    await git.rollback(taken.ref)
    assert repo.read("lib/data/m.bin") == "precious"
    assert not repo.has("lib/later.py")


async def test_a_folder_that_ignored_itself_stays(repo, git, monkeypatch) -> None:
    """What stood uncaptured at the snapshot stays, though the rule is gone and was never kept."""
    repo.write("cache/.gitignore", "*\n")
    repo.write("cache/m.bin", "precious")
    monkeypatch.setattr(tree_state, "CLOCK_SLACK", 0.0)
    time.sleep(0.05)
    taken = await git.snapshot(run_tests=False)
    (repo.path / "cache/.gitignore").unlink()
    repo("mv", "lib", "moved")
    await git.rollback(taken)
    assert repo.read("cache/m.bin") == "precious"
    assert repo.has("lib/core.py")
    assert not repo.has("moved/core.py")


async def test_ignored_files_that_became_tracked_stay(repo, git) -> None:
    """Going back to a commit that ignores a file leaves the file, though it is tracked by now."""
    start = repo.commit("ignore", **{".gitignore": "data/\n"})
    repo.write("data/m.bin", "precious")
    repo.commit("tracks it", **{".gitignore": ""})
    await git.rollback(start)
    assert repo.read("data/m.bin") == "precious"
    assert repo("status", "--porcelain") == ""


async def test_rollback_from_a_persons_branch(repo, git) -> None:
    """A person's branch is left, never moved."""
    taken = await git.snapshot(run_tests=False)
    repo("checkout", "-qb", "feature/x")
    theirs = repo.commit("theirs", **{"x.py": "x"})
    await git.rollback(taken)
    assert repo("rev-parse", "feature/x") == theirs
    assert repo("branch", "--show-current") == "main"


async def test_rollback_over_a_persons_commits_is_refused(repo, git) -> None:
    """Commits on the snapshot's branch that we did not make are not taken off it."""
    taken = await git.snapshot(run_tests=False)
    theirs = repo.commit("theirs", **{"x.py": "x"})
    with pytest.raises(GitOperationError, match="not made through this"):
        await git.rollback(taken)
    assert repo("rev-parse", "main", "HEAD").split() == [theirs, theirs]
    assert repo.read("x.py") == "x"


async def test_an_attempts_commits_stay_reachable(repo, git) -> None:
    """After a rollback the failed attempt's commits are still under a ref."""
    taken = await git.snapshot(run_tests=False)
    await git.create_branch("try")
    tip = await git.commit("try", allow_empty=True)
    await git.rollback(taken)
    assert repo("rev-parse", "try") == tip


async def test_commits_taken_off_a_branch_stay_reachable(repo, git) -> None:
    """Commits that a rollback takes off main survive a garbage collection."""
    taken = await git.snapshot(run_tests=False)
    repo.write("x.py")
    lost = await git.commit("x")
    await git.rollback(taken)
    repo("reflog", "expire", "--expire=now", "--all")
    repo("gc", "-q", "--prune=now")
    assert repo("cat-file", "-t", lost) == "commit"


@pytest.fixture
def conflicting(repo):
    """Branch `other` and main changed the same line."""
    repo("checkout", "-qb", "other")
    repo.commit("theirs", **{"app.py": "theirs = 1\n"})
    repo("checkout", "-q", "main")
    repo.commit("ours", **{"app.py": "ours = 1\n"})
    return repo


@pytest.fixture
def merging(conflicting):
    """A person is in the middle of a merge with a conflict."""
    conflicting("merge", "-q", "other", check=False)
    assert conflicting.has(".git/MERGE_HEAD")
    return conflicting


@pytest.mark.parametrize("operation", ["branch", "commit", "rollback", "merge", "land"])
async def test_a_merge_in_progress_stays(merging, operation) -> None:
    """Whatever we are asked for, a person's unfinished merge is not touched."""
    git = merging.safety()
    before = merging("status", "--porcelain"), merging.read("app.py")
    what = await git.candidate("main~1")
    calls = {
        "branch": lambda: git.create_branch("x"),
        "commit": lambda: git.commit("x"),
        "rollback": lambda: git.rollback("main~1"),
        "merge": lambda: git.merge_to_main("other", require_tests=False),
        "land": lambda: git.land(what),
    }
    with pytest.raises(GitOperationError):
        await calls[operation]()
    assert (merging("status", "--porcelain"), merging.read("app.py")) == before
    assert merging.has(".git/MERGE_HEAD")


async def test_a_rebase_in_progress_stays(conflicting) -> None:
    """A person's unfinished rebase is not touched by a rollback."""
    git = conflicting.safety()
    taken = await git.snapshot(run_tests=False)
    conflicting("rebase", "other", check=False)
    before = conflicting("status", "--porcelain")
    with pytest.raises(GitOperationError, match="rebase"):
        await git.rollback(taken)
    assert conflicting("status", "--porcelain") == before
    conflicting("rebase", "--abort")


async def test_rollback_inside_one_merge(merging) -> None:
    """A snapshot of a half-resolved merge can be gone back to while it lasts."""
    git = merging.safety()
    merging.write("app.py", "half resolved\n")
    before = merging("status", "--porcelain")
    taken = await git.snapshot(run_tests=False)
    merging.write("app.py", "agent\n")
    merging("add", "app.py")
    await git.rollback(taken)
    assert merging.read("app.py") == "half resolved\n"
    assert merging("status", "--porcelain") == before


async def test_rolling_back_one_attempt_of_many(repo, git) -> None:
    """An attempt's rollback changes no path and no ref of another one."""
    trees = [await git.isolate(f"a{number}") for number in range(3)]
    for number, tree in enumerate(trees):
        (tree.path / "app.py").write_text(f"attempt {number}\n")
        (tree.path / "own.py").write_text("x")
        await git.record(tree, "work")
    before = repo("for-each-ref", "refs/heads").splitlines()
    await git.rollback(trees[1].base, attempt="a1")
    after = repo("for-each-ref", "refs/heads").splitlines()
    assert [line for line in before if "/a1" not in line] == [
        line for line in after if "/a1" not in line
    ]
    assert [(tree.path / "app.py").read_text() for tree in trees] == [
        "attempt 0\n", "one = 1\n", "attempt 2\n"
    ]  # fmt: skip
    await git.undo(attempt="a1")
    assert [(tree.path / "own.py").exists() for tree in trees] == [True, True, True]


async def test_attempt_rollback_leaves_what_others_wrote(repo, git) -> None:
    """In an attempt's worktree a path that changed after the record is a conflict, and stays."""
    tree = await git.isolate("a")
    (tree.path / "app.py").write_text("agent\n")
    (tree.path / "new.py").write_text("agent\n")
    await git.record(tree, "work")
    (tree.path / "app.py").write_text("a person's\n")
    await git.rollback(tree.base, attempt="a")
    assert (tree.path / "app.py").read_text() == "a person's\n"
    assert not (tree.path / "new.py").exists()
    assert (await git.operations(1))[0].left == ("app.py",)


async def test_filemode_off(repo, git) -> None:
    """Where the file system knows no exec bit, a rollback still restores."""
    repo("config", "core.fileMode", "false")
    (repo.path / "app.py").chmod(0o755)
    taken = await git.snapshot(run_tests=False)
    repo.write("app.py", "agent\n")
    repo.write("new.py")
    (repo.path / "new.py").chmod(0o755)
    await git.rollback(taken)
    assert repo.read("app.py") == "one = 1\n"
    assert not repo.has("new.py")


async def test_rollback_does_not_take_another_sessions_landing_off_main(repo, git) -> None:
    """What somebody else landed meanwhile stays landed."""
    taken = await git.snapshot(run_tests=False)
    other = repo.safety()
    tree = await other.isolate("a")
    (tree.path / "new.py").write_text("x")
    landed = await other.land(await other.candidate(await other.record(tree, "x")))
    with pytest.raises(SelfCodingError, match="not made through this"):
        await git.rollback(taken)
    assert repo("rev-parse", "main") == landed.new
    assert repo.has("new.py")


async def test_a_database_that_git_tracks(repo, git) -> None:
    """Even one that was committed before it was hidden is not rewound."""
    from self_coding.adapters.paths import hide

    repo.commit("oops", **{"journal.db": "old rows"})
    taken = await git.snapshot(run_tests=False)
    hide(repo.path / "journal.db")
    repo.write("journal.db", "new rows")
    assert await git.commit("all") == taken.commit_hash
    await git.rollback(taken)
    assert repo.read("journal.db") == "new rows"
