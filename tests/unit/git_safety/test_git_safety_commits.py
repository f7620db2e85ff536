"""Commits of exactly what is named."""

from __future__ import annotations

import hashlib

import pytest

from self_coding.git_safety import GitOperationError


async def test_commit_takes_only_named_files(repo, git) -> None:
    """A person's staged file stays staged and out of the commit."""
    repo.write("staged.py", "mine")
    repo("add", "staged.py")
    repo.write("app.py", "agent\n")
    commit = await git.commit("agent", ["app.py"])
    assert repo("show", "--name-only", "--format=", commit) == "app.py"
    assert repo("status", "--porcelain") == "A  staged.py"


async def test_the_whole_flow_beside_a_staged_edit(repo, git) -> None:
    """A person's staged edit neither blocks the flow nor gets into it."""
    repo.write("README.md", "# Mine\n")
    repo("add", "README.md")
    branch = await git.create_branch("try")
    repo.write("app.py", "agent\n")
    await git.commit("agent", ["app.py"])
    await git.merge_to_main(branch, require_tests=False)
    assert repo("branch", "--show-current") == "main"
    assert repo("status", "--porcelain") == "M  README.md"
    assert repo.read("README.md") == "# Mine\n"


@pytest.mark.parametrize("name", ["-dash.py", ":(top)x.py", "a b.py", "*", "caf\u00e9.py", "n\nl"])
async def test_commit_of_odd_names(repo, git, name) -> None:
    """A file is committed by its name, whatever git could read into it."""
    repo.write(name, "x")
    repo.write("other.py", "x")
    await git.commit("odd", [name])
    assert repo("ls-tree", "-z", "--name-only", "HEAD", "--", f"./{name}").strip("\0") == name
    assert repo("status", "--porcelain") == "?? other.py"


@pytest.mark.parametrize(
    "name",
    ["-A", ":/", "*", ".", "--all", "../x", "/etc/passwd", ".git/config", "a\0b", "", "nowhere.py"],
)
async def test_hostile_file_names(repo, git, name) -> None:
    """Options, patterns and paths outside mean nothing: no file of a person gets committed."""
    start = repo("rev-parse", "HEAD")
    repo.write("mine.py", "x")
    if name == ".":
        pytest.skip("the folder itself may be named")
    with pytest.raises(GitOperationError):
        await git.commit("x", [name])
    assert repo("rev-parse", "HEAD") == start
    assert repo("status", "--porcelain") == "?? mine.py"


async def test_no_identity(make, monkeypatch, tmp_path) -> None:
    """Without a configured identity commits are made under our name."""
    monkeypatch.setenv("HOME", str(tmp_path / "empty"))
    repo = make("anonymous")
    repo.commit("first", **{"app.py": "one\n"})
    repo("config", "--unset", "user.name")
    repo("config", "--unset", "user.email")
    git = repo.safety()
    await git.snapshot(run_tests=False)
    repo.write("app.py", "two\n")
    commit = await git.commit("two")
    assert repo("log", "-1", "--format=%an", commit) == "self-coding"


async def test_stage_file(repo, git) -> None:
    """Staging one file leaves everything else; an unknown one is refused."""
    repo.write("a.py")
    repo.write("b.py")
    await git.stage_file("a.py")
    assert repo("status", "--porcelain") == "A  a.py\n?? b.py"
    with pytest.raises(GitOperationError):
        await git.stage_file("nowhere.py")


async def test_commit_of_a_folder(repo, git) -> None:
    """A folder means the files in it that are not ignored."""
    repo.write(".git/info/exclude", "*.log\n")
    repo.write("pkg/a.py")
    repo.write("pkg/sub/b.py")
    repo.write("pkg/x.log")
    repo.write("other.py")
    commit = await git.commit("pkg", ["pkg"])
    assert repo("show", "--name-only", "--format=", commit) == "pkg/a.py\npkg/sub/b.py"


async def test_absolute_paths(repo, git, tmp_path) -> None:
    """An absolute path inside means its file, one outside is refused."""
    path = repo.write("a.py")
    await git.commit("a", [path])
    assert repo("ls-files", "a.py") == "a.py"
    with pytest.raises(GitOperationError, match="not inside"):
        await git.commit("b", [tmp_path / "b.py"])


def blob(text: str) -> str:
    data = text.encode()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("then", ["staged", "unstaged", "committed", "deleted", "renamed"])
async def test_what_is_only_noted_for_adding(repo, git, then) -> None:
    """`git add -N` files, empty ones too, are noted again after a rollback, with nothing staged."""
    repo.write("n.py", "n")
    repo.write("d/empty.py", "")
    repo("add", "-N", "n.py", "d/empty.py")
    before = repo("status", "--porcelain"), repo("ls-files", "-s"), repo("diff", "--cached")
    taken = await git.snapshot(run_tests=False)
    assert before == (
        repo("status", "--porcelain"),
        repo("ls-files", "-s"),
        repo("diff", "--cached"),
    )
    match then:
        case "staged":
            repo.write("n.py", "more")
            repo("add", "-A")
        case "unstaged":
            repo("reset", "-q")
        case "committed":
            await git.commit("all")
        case "deleted":
            repo("rm", "-qf", "n.py", "d/empty.py")
        case "renamed":
            (repo.path / "n.py").rename(repo.path / "m.py")
            repo("add", "-N", "m.py")
    await git.rollback(taken)
    assert before == (
        repo("status", "--porcelain"),
        repo("ls-files", "-s"),
        repo("diff", "--cached"),
    )
    assert (repo.read("n.py"), repo.read("d/empty.py"), repo.has("m.py")) == ("n", "", False)


async def test_a_commit_where_a_file_became_a_folder(repo, git) -> None:
    """The same change can be committed."""
    (repo.path / "app.py").unlink()
    repo.write("app.py/inside", "x")
    await git.commit("all")
    assert repo("ls-files", "app.py") == "app.py/inside"
    assert repo("status", "--porcelain") == ""


async def test_intent_to_add_and_split_index(repo, git) -> None:
    """Unusual indexes come back as they were."""
    repo.write("n.py", "n")
    repo("add", "-N", "n.py")
    repo("update-index", "--split-index")
    before = repo("status", "--porcelain")
    taken = await git.snapshot(run_tests=False)
    repo.write("n.py", "changed")
    repo("add", "n.py")
    await git.rollback(taken)
    assert (repo.read("n.py"), repo("status", "--porcelain")) == ("n", before)


async def test_staged_content_that_a_commit_replaces(repo, git) -> None:
    """A staged version that is not what gets committed stays under a ref."""
    repo.write("app.py", "staged version\n")
    repo("add", "app.py")
    repo.write("app.py", "later version\n")
    await git.commit("later", ["app.py"])
    repo("gc", "-q", "--prune=now")
    known = repo("rev-list", "--objects", "--all", "--no-object-names").split()
    assert blob("staged version\n") in known


async def test_staging_at_the_last_moment(repo, git, monkeypatch) -> None:
    """What a person stages just before we take the index is not written over."""
    from self_coding.git_safety.locks import IndexLock

    acquire, late = IndexLock.acquire, iter(["late.py"])

    def staged_late(self: IndexLock, *wait: float) -> None:
        for name in late:
            repo.write(name, "staged late")
            repo("add", name)
        acquire(self, *wait)

    monkeypatch.setattr(IndexLock, "acquire", staged_late)
    repo.write("new.py")
    commit = await git.commit("new", ["new.py"])
    assert repo("show", "--name-only", "--format=", commit) == "new.py"
    assert repo("status", "--porcelain") == "A  late.py"
