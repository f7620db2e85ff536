"""Checkouts move along around what a person is doing there."""

from __future__ import annotations

import os

import pytest

from self_coding.git_safety import GitDirtyWorkingDirectoryError


@pytest.fixture
def tracked_elsewhere(repo):
    """`.env` is ignored and precious on main, and tracked on the branch `other`."""
    repo("checkout", "-qb", "other")
    repo.write(".env", "theirs")
    repo("add", "-f", ".env")
    repo("commit", "-qm", "tracks it")
    repo("checkout", "-q", "main")
    repo.commit("ignore", **{".gitignore": ".env\n"})
    repo.write(".env", "precious")
    return repo


async def test_ignored_file_against_create_branch(tracked_elsewhere) -> None:
    """A branch whose base tracks an ignored file is not checked out over it."""
    git = tracked_elsewhere.safety()
    with pytest.raises(GitDirtyWorkingDirectoryError):
        await git.create_branch("new", base="other")
    assert tracked_elsewhere.read(".env") == "precious"
    assert tracked_elsewhere("branch", "--show-current") == "main"
    assert tracked_elsewhere("branch", "--list", "new") == ""


async def test_ignored_file_against_merge(tracked_elsewhere) -> None:
    """A merge that would write over an ignored file is refused before main moves."""
    start = tracked_elsewhere("rev-parse", "main")
    with pytest.raises(GitDirtyWorkingDirectoryError):
        await tracked_elsewhere.safety().merge_to_main("other", require_tests=False)
    assert tracked_elsewhere.read(".env") == "precious"
    assert tracked_elsewhere("rev-parse", "main") == start


async def test_ignored_file_against_rollback(tracked_elsewhere) -> None:
    """A rollback to a commit that tracks an ignored file leaves the file."""
    git = tracked_elsewhere.safety()
    plan = await git.plan_rollback("other")
    assert [path.action for path in plan.paths if path.path == ".env"] == ["keep"]
    await git.rollback("other")
    assert tracked_elsewhere.read(".env") == "precious"


async def test_ignored_file_against_landing(tracked_elsewhere) -> None:
    """Main may move, but the ignored file is left, and that is said."""
    git = tracked_elsewhere.safety()
    landed = await git.land(await git.candidate("other"))
    assert landed.checkout.startswith("left: .env")
    assert tracked_elsewhere.read(".env") == "precious"


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
async def test_files_that_git_was_told_not_to_look_at(repo, git, flag) -> None:
    """A local edit hidden by an index flag is not written over when main is followed."""
    repo("update-index", flag, "app.py")
    repo.write("app.py", "local secret\n")
    tree = await git.isolate("a")
    (tree.path / "app.py").write_text("agent\n")
    (tree.path / "README.md").write_text("agent\n")
    landed = await git.land(await git.candidate(await git.record(tree, "x")))
    assert landed.checkout.startswith("left: app.py")
    assert (repo.read("app.py"), repo.read("README.md")) == ("local secret\n", "agent\n")
    assert repo("ls-files", "-v", "app.py")[0] in "hS"
    assert repo("status", "--porcelain") == ""


async def test_landing_beside_uncommitted_work(repo, git) -> None:
    """Each path follows where it is not the person's; their next commit reverts nothing."""
    repo.write("app.py", "mine\n")
    repo.write("mine.py", "mine\n")
    repo("add", "mine.py")
    tree = await git.isolate("a")
    (tree.path / "app.py").write_text("agent\n")
    (tree.path / "lib" / "core.py").write_text("agent\n")
    landed = await git.land(await git.candidate(await git.record(tree, "x")))
    assert landed.checkout.startswith("left: app.py (uncommitted changes); `git commit -a` would ")
    assert (repo.read("app.py"), repo.read("lib/core.py")) == ("mine\n", "agent\n")
    assert repo("status", "--porcelain") == " M app.py\nA  mine.py"
    repo("commit", "-qm", "mine")
    assert repo("show", "main:app.py") == "agent"


async def test_a_file_that_was_only_touched_follows(repo, git) -> None:
    """A file with another time and the same content is no uncommitted change, and no diff."""
    os.utime(repo.path / "app.py", (1, 1))
    index = (repo.path / ".git" / "index").read_bytes()
    assert await git.get_modified_files() == []
    assert await git.get_diff("main") == ""
    assert (repo.path / ".git" / "index").read_bytes() == index
    tree = await git.isolate("a")
    (tree.path / "app.py").write_text("agent\n")
    landed = await git.land(await git.candidate(await git.record(tree, "x")))
    assert (landed.checkout, repo.read("app.py")) == ("followed", "agent\n")
    assert repo("status", "--porcelain") == ""


async def test_sparse_checkout(repo, git) -> None:
    """Files outside of a sparse checkout stay out of it, and out of every diff."""
    repo("sparse-checkout", "set", "--no-cone", "/*", "!lib/")
    assert not repo.has("lib/core.py")
    taken = await git.snapshot(run_tests=False)
    branch = await git.create_branch("try")
    repo.write("app.py", "agent\n")
    commit = await git.commit("x")
    assert repo("show", "--name-only", "--format=", commit) == "app.py"
    await git.merge_to_main(branch, require_tests=False)
    tree = await git.isolate("a")
    (tree.path / "lib" / "core.py").write_text("agent\n")
    await git.land(await git.candidate(await git.record(tree, "x")))
    assert not repo.has("lib/core.py")
    assert repo("status", "--porcelain") == ""
    await git.rollback(taken)
    assert repo.read("app.py") == "one = 1\n"
    assert not repo.has("lib/core.py")


async def test_landing_on_a_staged_edit(repo, git) -> None:
    """A path that a person has staged keeps what they staged, and their file."""
    repo.write("app.py", "staged\n")
    repo("add", "app.py")
    tree = await git.isolate("a")
    (tree.path / "app.py").write_text("agent\n")
    landed = await git.land(await git.candidate(await git.record(tree, "x")))
    assert landed.checkout.startswith("left: app.py (staged); `git commit` would take ")
    assert (repo.read("app.py"), repo("show", ":app.py")) == ("staged\n", "staged")


FLAGS = {
    "hidden": ("app.py", "--skip-worktree"),
    "trusted": ("app.py", "--assume-unchanged"),
    "in a folder": ("lib/core.py", "--skip-worktree"),
    "marked valid": ("README.md", "--fsmonitor-valid"),
}


@pytest.mark.parametrize("edited", [False, True])
@pytest.mark.parametrize("kind", FLAGS)
async def test_flags_of_the_index_stay(repo, git, kind, edited) -> None:
    """Through a snapshot, a rollback and a landing each flag stays where it is, and so does the
    edit that it hides, or a rollback brings back the one that it took."""
    name, flag = FLAGS[kind]
    repo("update-index", flag, name)
    hides = edited and flag != "--fsmonitor-valid"
    if hides:
        repo.write(name, "mine\n")
    flags, was = repo("ls-files", "-v", "-f"), repo.read(name)
    taken = await git.snapshot(run_tests=False)
    assert repo("ls-files", "-v", "-f") == flags
    repo.write("new.py", "x\n")
    repo("add", "new.py")
    await git.rollback(taken)
    assert (repo("ls-files", "-v", "-f"), repo.read(name)) == (flags, was)
    tree = await git.isolate("a")
    (tree.path / "other.py").write_text("agent\n")
    await git.land(await git.candidate(await git.record(tree, "x")))
    assert repo("ls-files", "-v", "-f", name) == next(
        line for line in flags.splitlines() if line.endswith(name)
    )
    assert (repo.read(name), repo.read("other.py")) == (was, "agent\n")


SPARSE = {
    "cone": ("--cone", "docs"),
    "sparse index": ("--cone", "--sparse-index", "docs"),
    "patterns": ("--no-cone", "/*", "!/lib/"),
    "nothing of it": ("--no-cone", "/none"),
}


@pytest.mark.parametrize("kind", SPARSE)
async def test_a_sparse_checkout_stays_sparse(repo, git, kind) -> None:
    """A landing that changes, adds and deletes files outside changes these alone, and a rollback
    brings none of them in."""
    repo.commit("docs", **{"docs/a.md": "a\n", "lib/gone.py": "x\n"})
    repo("sparse-checkout", "set", *SPARSE[kind])
    before = sorted(repo("ls-files").split()), repo.has("docs/a.md")
    taken = await git.snapshot(run_tests=False)
    tree = await git.isolate("a")
    (tree.path / "lib/core.py").write_text("agent\n")
    (tree.path / "lib/new.py").write_text("agent\n")
    (tree.path / "lib/gone.py").unlink()
    landed = await git.land(await git.candidate(await git.record(tree, "x")))
    changed = repo("diff", "--name-status", landed.old, landed.new).split()
    assert changed == ["M", "lib/core.py", "D", "lib/gone.py", "A", "lib/new.py"]
    assert repo("status", "--porcelain") == ""
    assert not (repo.path / "lib").exists()
    repo.write("docs/b.md", "b\n")
    await git.rollback(taken)
    assert (sorted(repo("ls-files").split()), repo.has("docs/a.md")) == before
    assert (repo("status", "--porcelain"), repo.has("docs/b.md")) == ("", False)


@pytest.mark.parametrize(
    ("staged", "lands"), [("place/mine.md", "place"), ("place", "place/theirs.md")]
)
async def test_a_landing_takes_no_staged_file_out_of_the_index(repo, staged, lands) -> None:
    """A file that lands where a staged one has its folder, or has its file, waits outside."""
    git = repo.safety()
    tree = await git.isolate("theirs")
    (tree.path / lands).parent.mkdir(exist_ok=True)
    (tree.path / lands).write_text("theirs\n")
    repo.write(staged, "mine")
    repo("add", "--", staged)
    landed = await git.land(await git.candidate(await git.record(tree, "theirs")))
    assert repo("show", f":{staged}") == "mine"
    assert repo.read(staged) == "mine"
    assert f"{lands} ({staged} is staged)" in landed.checkout
    assert "`git commit` would take the landing back in" in landed.checkout
