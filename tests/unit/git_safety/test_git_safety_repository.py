"""Repositories of every layout, and names that mean nothing else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_coding.errors import GitNotRepositoryError
from self_coding.git_safety import GitOperationError, GitSafety
from self_coding.git_safety import repository as names

HOSTILE = [
    "-f",
    "--",
    "--output=stolen",
    "-q",
    "",
    "a\0b",
    "a\nb",
    "--upload-pack=x",
    "@{-1",
    "x y",
]


@pytest.mark.parametrize("revision", HOSTILE)
async def test_hostile_revisions(repo, git, revision) -> None:
    """No revision is ever read as an option; a person's edits stay."""
    repo.write("app.py", "mine\n")
    for call in (
        git.rollback(revision),
        git.get_diff(revision),
        git.get_diff("main", revision),
        git.get_modified_files(revision),
        git.create_branch("x", base=revision),
        git.isolate("x", base=revision),
        git.candidate(revision),
    ):
        with pytest.raises(GitOperationError):
            await call
    assert repo.read("app.py") == "mine\n"
    assert not repo.has("stolen")


@pytest.mark.parametrize(
    "name",
    ["-f", "@", "HEAD", "refs/heads/x", "a..b", "a.lock", "a b", "", ".a", "a/", "a\0", "x" * 300],
)
async def test_hostile_branch_names(repo, git, name) -> None:
    """What cannot be a branch's name is refused, and HEAD stays."""
    with pytest.raises(GitOperationError):
        await git.create_branch(name)
    with pytest.raises(GitOperationError):
        await git.merge_to_main(name, require_tests=False)
    assert repo("branch", "--show-current") == "main"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize(
    ("given", "place"),
    [((".", ".git"), "."), ((".",), "."), ((".git",), "."), ((".", ".git"), "lib"),
     (("../linked", "../linked/.git"), "../linked")],
    ids=["all", "its folder", "its git directory", "from a sub-folder", "a linked worktree"],
)  # fmt: skip
def test_a_repository_of_somebody_else_hints_as_git_does(repo, given, place) -> None:
    """Where git refuses for the owner, the hint is git's own command, not `git init`."""
    repo("worktree", "add", "-q", "../linked")
    for name in given:
        os.chown(repo.path / name, 1234, 1234)
    with pytest.raises(GitNotRepositoryError) as refused:
        GitSafety(repo.path / place)
    assert "dubious ownership" in refused.value.message
    assert refused.value.hint.startswith("git config --global --add safe.directory ")


async def test_detached_head(repo, git) -> None:
    """On a detached HEAD the flow works, and a rollback ends detached at the commit."""
    repo("checkout", "-q", "--detach")
    taken = await git.snapshot(run_tests=False)
    assert (taken.branch, await git.get_current_branch()) == ("", "")
    repo.write("new.py")
    commit = await git.commit("new")
    assert repo("rev-parse", "HEAD") == commit
    assert repo("rev-parse", "main") == taken.commit_hash
    await git.rollback(taken)
    assert repo("rev-parse", "HEAD") == taken.commit_hash
    assert repo("branch", "--show-current") == ""


async def test_bare_repository(make) -> None:
    """A bare repository is refused with a type where a working tree is needed."""
    bare = make("bare.git", "--bare")
    git = GitSafety(bare.path)
    for call in (git.snapshot(run_tests=False), git.is_clean(), git.commit("x")):
        with pytest.raises(GitOperationError):
            await call


async def test_linked_worktree(repo, make) -> None:
    """In a linked worktree everything works, and merging to a main held elsewhere is refused."""
    linked = repo.path.parent / "linked"
    repo("worktree", "add", "-q", "-b", "side", str(linked))
    git = GitSafety(linked, test_command="true")
    (linked / "mine.txt").write_text("mine")
    taken = await git.snapshot(run_tests=False)
    branch = await git.create_branch("try")
    (linked / "new.py").write_text("x")
    await git.commit("new", ["new.py"])
    with pytest.raises(GitOperationError, match="already checked out"):
        await git.merge_to_main(branch, require_tests=False)
    await git.rollback(taken)
    assert await git.get_current_branch() == "side"
    assert (linked / "mine.txt").read_text() == "mine"
    assert repo("status", "--porcelain") == ""


async def test_sub_directory(repo) -> None:
    """From a sub-directory the whole repository is kept, and paths count from there."""
    git = GitSafety(repo.path / "lib", test_command="true")
    assert git.repo_path == repo.path / "lib"
    taken = await git.snapshot(run_tests=False)
    repo.write("lib/new.py", "x")
    await git.commit("new", ["new.py"])
    assert repo("ls-files", "lib") == "lib/core.py\nlib/new.py"
    repo.write("app.py", "agent")
    await git.rollback(taken)
    assert repo.read("app.py") == "one = 1\n"


@pytest.mark.parametrize("wanted", ["blob:none", "blob:limit=1", "tree:0"])
async def test_a_partial_clone(make, wanted: str) -> None:
    """What is not here is not fetched behind anybody's back; the hint's command brings it."""
    there = make("there")
    there("config", "uploadpack.allowFilter", "true")
    there.commit("main", **{"app.py": "one = 1\n", "lib/core.py": "two = 2\n"})
    there("checkout", "-qb", "work")
    there.commit("work", **{"app.py": "work = 1\n", "lib/core.py": "work = 2\n"})
    here = make("here")
    here("remote", "add", "origin", f"file://{there.path}")
    here("fetch", "-q", f"--filter={wanted}", "origin", "work", "main")
    here("checkout", "-qf", "-B", "work", "origin/work")
    here("branch", "-qf", "main", "origin/main")
    git = here.safety()
    with pytest.raises(GitOperationError) as refused:
        await git.isolate("a")
    assert here("status", "--porcelain") == ""
    words = refused.value.hint.partition("`")[2].partition("`")[0]
    here(*words.removeprefix("git ").split())
    assert (await git.isolate("a")).path.joinpath("app.py").read_text() == "one = 1\n"


async def test_sha256(make) -> None:
    """A sha256 repository works in full."""
    repo = make("sha256", "--object-format=sha256")
    repo.commit("first", **{"app.py": "one\n"})
    git = repo.safety()
    repo.write("mine.txt", "mine")
    taken = await git.snapshot(run_tests=False)
    assert len(taken.commit_hash) == 64
    branch = await git.create_branch("try")
    repo.write("app.py", "two\n")
    await git.commit("two", ["app.py"])
    await git.merge_to_main(branch, require_tests=False)
    await git.rollback(taken)
    assert (repo.read("app.py"), repo.read("mine.txt")) == ("one\n", "mine")
    await git.undo()
    assert repo.read("app.py") == "two\n"


@pytest.mark.parametrize(
    "name",
    [b"caf\xe9", b"a b", b"a:b=c;d", b"#x?y%41&z", b"it's \"quoted\" $HOME `x` \\n", b"-x", b"[a]*",
     "\u6d4b\u8bd5 \u00fc".encode(), b"x" * 200],
)  # fmt: skip
async def test_undecodable_repository_path(tmp_path, name: bytes) -> None:
    """A repository in a folder with any name works, one that is no text too."""
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    place.mkdir()
    for args in (["init", "-q", "-b", "main"], ["commit", "-q", "--allow-empty", "-m", "one"]):
        flags = ["-c", "user.name=p", "-c", "user.email=p@p"]
        subprocess.run(["git", *flags, *args], cwd=place, check=True)
    git = GitSafety(place, test_command="true")
    (place / "a.txt").write_text("a")
    taken = await git.snapshot()
    tree = await git.isolate("a")
    (tree.path / "b.txt").write_text("b")
    await git.land(await git.candidate(await git.record(tree, "b")))
    assert (place / "b.txt").exists()
    await git.release(tree)
    assert taken.test_status is True


@pytest.mark.parametrize(
    "name", ["a", "timmy/self-edit/20260101-000000", "x.y", "caf\u00e9", "a-b_c"]
)
def test_good_branches(name: str) -> None:
    """Ordinary names pass unchanged."""
    assert names.check_branch(name) == name


@pytest.mark.parametrize(
    "name", ["", "-x", "@", "HEAD", "refs/heads/x", "a..b", "a b", "a~1", "a^", "a:b", "a?", "a*",
             "a[", "a\\b", "a//b", "/a", "a/", "a.", "a.lock", "a.lock/b", ".a", "a/.b", "a@{1}",
             "a\x7f", "a\n", "x" * 241],
)  # fmt: skip
def test_bad_branches(name: str) -> None:
    """What git could read as anything else is refused, with a hint."""
    with pytest.raises(GitOperationError) as caught:
        names.check_branch(name)
    assert caught.value.hint


@given(st.text(max_size=30))
def test_branches_never_crash(name: str) -> None:
    """Any text is either a name or refused with our error."""
    try:
        assert names.check_branch(name) == name
    except GitOperationError:
        return
    assert not name.startswith("-")
    assert "\n" not in name


@given(st.text(max_size=30))
def test_paths_stay_inside(path: str) -> None:
    """A path that passes is relative, inside, and not in .git."""
    try:
        found = names.check_path(path)
    except GitOperationError:
        return
    parts = found.split("/")
    assert not found.startswith("/")
    assert ".." not in parts
    assert ".git" not in [part.lower() for part in parts]


@pytest.mark.parametrize(
    "path", [".git", "a/.GIT/x", ".git./x", "GIT~1/config", ".git /x", "a/../b"]
)
def test_bad_paths(path: str) -> None:
    """Every spelling of the git directory is refused."""
    with pytest.raises(GitOperationError):
        names.check_path(path)


@pytest.mark.parametrize("name", ["", "-a", ".a", "a/b", "a b", "a..b", "a\n"])
def test_bad_attempts(name: str) -> None:
    """An attempt's name stands in refs and folders."""
    with pytest.raises(GitOperationError):
        names.check_attempt(name)


def test_messages() -> None:
    """A message is words, and is stored as bytes with one line end."""
    assert names.check_message("caf\u00e9\n\n") == "caf\u00e9\n".encode()
    for bad in ("", "  \n", "a\0b"):
        with pytest.raises(GitOperationError):
            names.check_message(bad)
