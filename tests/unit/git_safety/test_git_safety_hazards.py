"""Every way in which the founding version lost or damaged something, survived.

The rows of `git-safety.md`, section 1, in its order.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from self_coding.git_safety import (
    GitDirtyWorkingDirectoryError,
    GitOperationError,
    GitSafety,
    tree_state,
)


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


@pytest.fixture
def conflicting(repo):
    """Branch `other` and main changed the same line."""
    repo("checkout", "-qb", "other")
    repo.commit("theirs", **{"app.py": "theirs = 1\n"})
    repo("checkout", "-q", "main")
    repo.commit("ours", **{"app.py": "ours = 1\n"})
    return repo


async def test_merge_conflict_leaves_nothing(conflicting) -> None:
    """A conflict is an error with the paths; no merge is in progress, nothing changed."""
    git = conflicting.safety()
    with pytest.raises(GitOperationError, match="conflict") as caught:
        await git.merge_to_main("other", require_tests=False)
    assert caught.value.paths == ("app.py",)
    assert conflicting("status", "--porcelain") == ""
    assert not conflicting.has(".git/MERGE_HEAD")
    assert conflicting.read("app.py") == "ours = 1\n"


async def test_conflict_as_a_value(conflicting) -> None:
    """A candidate that does not merge says which paths, and shows both sides."""
    conflict = await conflicting.safety().candidate("other")
    [file] = conflict.files
    assert (file.path, file.ours, file.theirs) == ("app.py", "ours = 1\n", "theirs = 1\n")
    assert "<<<<<<<" in file.merged
    assert "CONFLICT" in file.message


async def test_failed_tests_put_you_back(repo) -> None:
    """After failed tests the person is where they were, with what they had."""
    git = GitSafety(repo.path, test_command="exit 1")
    branch = await git.create_branch("try")
    await git.commit("empty", allow_empty=True)
    repo("checkout", "-q", "main")
    repo.write("README.md", "# Mine\n")
    with pytest.raises(GitOperationError, match="tests failed"):
        await git.merge_to_main(branch)
    assert repo("branch", "--show-current") == "main"
    assert repo("status", "--porcelain") == " M README.md"
    assert repo("branch", "--list", branch) != ""


async def test_the_merge_result_is_tested(repo) -> None:
    """Two green branches that are red together do not land."""
    git = GitSafety(repo.path, test_command="! (test -f a.txt && test -f b.txt)")
    for name in ("a", "b"):
        await git.create_branch(name)
        repo.write(f"{name}.txt")
        await git.commit(name)
        repo("checkout", "-q", "main")
    await git.merge_to_main("a")
    with pytest.raises(GitOperationError, match="tests failed"):
        await git.merge_to_main("b")
    assert not repo.has("b.txt")


async def test_main_moving_during_the_tests(repo) -> None:
    """When main moves while a candidate is tested, the new merge is tested, too."""
    other = repo.path.parent / "other"
    command = (
        f"if test ! -f {other}; then touch {other}; cd {repo.path} && git -c user.name=p"
        " -c user.email=p@p commit -q --allow-empty -m moved; fi"
    )
    branch = await repo.safety().create_branch("try")
    await repo.safety().commit("try", allow_empty=True)
    repo("checkout", "-q", "main")
    git = GitSafety(repo.path, test_command=command)
    what = await git.candidate(branch)
    repo("commit", "-q", "--allow-empty", "-m", "moved")
    moved = await git.land(what)
    assert moved.expected == what.onto
    assert moved.actual == repo("rev-parse", "main")


async def test_no_pull_ever(repo, make) -> None:
    """A remote that has moved on changes nothing here."""
    upstream = make("upstream")
    upstream.commit("up", **{"app.py": "up\n"})
    repo("remote", "add", "origin", str(upstream.path))
    repo("fetch", "-q", "origin")
    repo("branch", "-q", "-u", "origin/main", "main")
    start = repo("rev-parse", "main")
    await repo.safety().create_branch("try")
    assert repo("rev-parse", "main") == start
    assert repo("status", "--porcelain") == ""


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


BYTES = {
    "autocrlf": ("a.txt", b"one\r\ntwo\nthree\r\n", "* text=auto\n", ("core.autocrlf", "true")),
    "eol": ("a.txt", b"one\r\ntwo\n", "*.txt text eol=crlf\n", None),
    "filter": ("a.dat", b"raw bytes", "*.dat filter=up\n", ("filter.up.clean", "tr a-z A-Z")),
    "encoding": (
        "a.txt", "äöü\n".encode("utf-16"), "*.txt working-tree-encoding=UTF-16\n", None
    ),
    "lfs": ("a.bin", b"\x00\x01real content", "*.bin filter=lfs\n", ("filter.lfs.clean", "false")),
}  # fmt: skip


@pytest.mark.parametrize("kind", BYTES)
async def test_bytes_are_exact(repo, kind) -> None:
    """Whatever conversion is configured, a rollback brings back exactly the bytes there were."""
    name, content, attributes, setting = BYTES[kind]
    repo.commit("attributes", **{".gitattributes": attributes})
    if setting:
        repo("config", *setting)
    path = repo.write(name, content)
    git = repo.safety()
    taken = await git.snapshot(run_tests=False)
    path.write_bytes(b"agent")
    await git.rollback(taken)
    assert path.read_bytes() == content


async def test_odd_names_and_kinds(repo, git) -> None:
    """Symlinks, exec bits, spaces, newlines and undecodable names come back."""
    names = [" lead", "tab\there", "new\nline", "-dash", ":(top)x", "*", "caf\u00e9", '"q"']
    for name in names:
        repo.write(name, name)
    raw = os.fsencode(repo.path) + b"/b\xffad"
    Path(os.fsdecode(raw)).write_text("undecodable")
    (repo.path / "link").symlink_to("/nowhere/at all")
    (repo.path / "app.py").chmod(0o755)
    taken = await git.snapshot(run_tests=False)
    for name in names:
        (repo.path / name).unlink()
    os.unlink(raw)
    (repo.path / "link").unlink()
    (repo.path / "app.py").chmod(0o644)
    await git.rollback(taken)
    assert all(repo.read(name) == name for name in names)
    assert Path(os.fsdecode(raw)).read_text() == "undecodable"
    assert os.readlink(repo.path / "link") == "/nowhere/at all"
    assert os.access(repo.path / "app.py", os.X_OK)


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
        git.contains(revision),
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


async def test_undecodable_diff(repo, git) -> None:
    """A diff of undecodable bytes is text, not an exception."""
    repo.write("latin.txt", b"caf\xe9\n")
    start = await git.get_current_commit()
    await git.commit("latin")
    assert "+caf\ufffd" in await git.get_diff(start)
    assert await git.get_modified_files(start) == ["latin.txt"]


async def test_undecodable_test_output(repo) -> None:
    """Test output that is no UTF-8 is recorded."""
    git = GitSafety(repo.path, test_command="printf 'caf\\351'")
    assert "caf" in (await git.snapshot()).test_output


async def test_a_persons_diff_settings_do_not_leak(repo, git) -> None:
    """Colours, prefixes and external diff programs of a person's do not run or show."""
    repo("config", "color.ui", "always")
    repo("config", "diff.noprefix", "true")
    repo("config", "diff.external", "touch stolen; false")
    repo.write("app.py", "two = 2\n")
    text = await git.get_diff("main")
    assert text.startswith("diff --git a/app.py b/app.py")
    assert "\x1b" not in text
    assert not repo.has("stolen")


async def test_inherited_git_variables(repo, make, monkeypatch) -> None:
    """GIT_* variables of the environment do not lead into another repository."""
    other = make("other")
    other.commit("other", **{"o.txt": "o"})
    start = other("rev-parse", "HEAD"), other("status", "--porcelain")
    for name, value in {
        "GIT_DIR": other.path / ".git",
        "GIT_INDEX_FILE": other.path / ".git" / "index",
        "GIT_WORK_TREE": other.path,
        "GIT_OBJECT_DIRECTORY": other.path / ".git" / "objects",
        "GIT_CONFIG_PARAMETERS": "'core.bare=true'",
    }.items():
        monkeypatch.setenv(name, str(value))
    git = repo.safety()
    branch = await git.create_branch("try")
    repo.write("new.py", "x")
    await git.commit("new")
    merged = await git.merge_to_main(branch, require_tests=False)
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    assert repo("rev-parse", "main") == merged
    assert (other("rev-parse", "HEAD"), other("status", "--porcelain")) == start


PLANTED = {
    "hooks": None,
    "core.fsmonitor": "{}",
    "core.hooksPath": "{hooks}",
    "filter.x.clean": "{}",
    "filter.x.smudge": "{}",
    "filter.x.process": "{}",
    "diff.external": "{}",
    "diff.x.textconv": "{}",
    "diff.x.command": "{}",
    "merge.x.driver": "{}",
    "gpg.program": "{}",
    "core.sshCommand": "{}",
    "core.pager": "{}",
    "core.editor": "{}",
    "core.askPass": "{}",
    "credential.helper": "!{}",
    "core.alternateRefsCommand": "{}",
    "uploadpack.packObjectsHook": "{}",
}


@pytest.mark.parametrize("kind", PLANTED)
async def test_planted_programs_do_not_run(repo, kind) -> None:
    """Nothing that the repository's configuration names is ever run by us."""
    stolen = repo.path.parent / "stolen"
    program = repo.path.parent / "program.sh"
    program.write_text(f"#!/bin/sh\ntouch {stolen}\ncat\n")
    program.chmod(0o755)
    hooks = repo.path / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    repo.commit("attributes", **{".gitattributes": "*.x filter=x diff=x merge=x\n", "a.x": "1\n"})
    if kind == "hooks":
        for name in ("pre-commit", "post-checkout", "reference-transaction", "post-index-change",
                     "post-merge", "prepare-commit-msg", "commit-msg"):  # fmt: skip
            (hooks / name).write_text(f"#!/bin/sh\ntouch {stolen}\n")
            (hooks / name).chmod(0o755)
    else:
        planted = PLANTED[kind]
        value = planted.format(program, hooks=program.parent)
        repo("config", kind, value)
        repo("config", "commit.gpgSign", "true")
    git = repo.safety()
    taken = await git.snapshot(run_tests=False)
    branch = await git.create_branch("try")
    repo.write("app.py", "two\n")
    repo.write("new.py", "x")
    await git.commit("new", ["app.py", "new.py"])
    await git.is_clean()
    await git.get_diff("main")
    await git.get_modified_files("main")
    await git.merge_to_main(branch, require_tests=False)
    worktree = await git.isolate("a")
    (worktree.path / "a.x").write_text("2\n")
    await git.record(worktree, "a")
    await git.release(worktree)
    await git.rollback(taken)
    assert not stolen.exists()


async def test_a_person_at_the_index(repo, git, monkeypatch) -> None:
    """While a person's git holds the index, we wait, then refuse, and leave their lock."""
    monkeypatch.setattr("self_coding.git_safety.locks.INDEX_WAIT_SECONDS", 0.2)
    lock = repo.write(".git/index.lock", "theirs")
    repo.write("new.py")
    with pytest.raises(GitOperationError, match=r"index\.lock"):
        await git.commit("x", ["new.py"])
    assert lock.read_text() == "theirs"
    lock.unlink()
    assert len(await git.commit("x", ["new.py"])) == 40


async def test_a_person_at_a_ref(repo, git) -> None:
    """A foreign lock on a ref is reported, not removed, and nothing has moved."""
    lock = repo.write(".git/refs/heads/main.lock", "theirs")
    start = repo("rev-parse", "main")
    repo.write("new.py")
    with pytest.raises(GitOperationError):
        await git.commit("x", ["new.py"])
    assert lock.exists()
    assert repo("rev-parse", "main") == start
    assert repo("status", "--porcelain") == "?? new.py"


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


async def test_nested_repository_and_submodule(repo, make) -> None:
    """Nested repositories are neither captured, nor changed, nor deleted."""
    inner = make("repo/vendor/inner")
    inner.commit("inner", **{"i.txt": "i"})
    empty = make("repo/vendor/empty")
    empty.write("e.txt", "e")
    git = repo.safety()
    taken = await git.snapshot(run_tests=False)
    assert {item.path for item in taken.uncaptured} >= {"vendor/inner/"}
    inner.write("i.txt", "edited")
    inner.write("new.txt", "new")
    await git.rollback(taken)
    assert (inner.read("i.txt"), inner.read("new.txt"), empty.read("e.txt")) == (
        "edited",
        "new",
        "e",
    )


async def test_folder_replaced_by_a_symlink_to_outside(repo, git, tmp_path) -> None:
    """What lies behind a symlink is not ours to restore into."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "core.py").write_text("theirs")
    taken = await git.snapshot(run_tests=False)
    (repo.path / "lib" / "core.py").unlink()
    (repo.path / "lib").rmdir()
    (repo.path / "lib").symlink_to(outside)
    await git.rollback(taken)
    assert (outside / "core.py").read_text() == "theirs"
    assert repo.read("lib/core.py").startswith("def core")
    assert not (repo.path / "lib").is_symlink()


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


async def test_too_large_untracked_files(repo) -> None:
    """A file over the limit is listed with the reason, and never deleted by a restore."""
    git = repo.safety(max_untracked_bytes=1000)
    repo.write("before.bin", b"b" * 2000)
    taken = await git.snapshot(run_tests=False)
    assert [(item.path, "larger" in item.reason) for item in taken.uncaptured] == [
        ("before.bin", True)
    ]
    repo.write("before.bin", b"s")
    repo.write("after.bin", b"a" * 3000)
    await git.rollback(taken)
    assert repo.read("before.bin") == "s"
    assert repo.has("after.bin")


async def test_special_files(repo, git) -> None:
    """Pipes and sockets are left alone, even where a tracked file was."""
    (repo.path / "app.py").unlink()
    os.mkfifo(repo.path / "app.py")
    os.mkfifo(repo.path / "pipe")
    taken = await git.snapshot(run_tests=False)
    assert [item.path for item in taken.uncaptured] == ["app.py"]
    repo.write("new.py")
    await git.rollback(taken)
    assert (repo.path / "pipe").is_fifo()
    assert (repo.path / "app.py").is_fifo()
    assert not repo.has("new.py")


async def test_snapshot_touches_nothing(repo, git) -> None:
    """Working tree, index, stash and reflog are the same bytes after a snapshot."""
    repo.write("app.py", "edited\n")
    repo.write("new.txt", "new")
    repo("add", "new.txt")

    def state() -> tuple[object, ...]:
        files = sorted(path for path in repo.path.rglob("*") if ".git" not in path.parts)
        stats = [(path, path.lstat().st_mtime_ns, path.lstat().st_ino) for path in files]
        index = (repo.path / ".git" / "index").read_bytes()
        return stats, index, repo("reflog", "--all"), repo("stash", "list")

    before = state()
    await git.snapshot(run_tests=False)
    assert state() == before


async def test_snapshot_survives_gc(repo, git) -> None:
    """What a snapshot holds outlives `git gc --prune=now`, staged content included."""
    repo.write("app.py", "staged only\n")
    repo("add", "app.py")
    repo.write("app.py", "on disk\n")
    repo.write("new.txt", "untracked")
    taken = await git.snapshot(run_tests=False)
    repo("reset", "-q", "--hard")
    (repo.path / "new.txt").unlink()
    repo("reflog", "expire", "--expire=now", "--all")
    repo("gc", "-q", "--prune=now")
    await git.rollback(taken)
    assert (repo.read("app.py"), repo.read("new.txt")) == ("on disk\n", "untracked")
    assert repo("show", ":app.py") == "staged only"


def test_no_dangerous_command_stands_in_the_source() -> None:
    """No reset --hard, clean, checkout -f, stash or pull is in our git layer."""
    folder = Path(__import__("self_coding.git_safety").git_safety.__file__).parent
    words = ('run("clean"', '"--hard"', '"stash"', '"pull"', '"checkout"', '"fetch"', '"gc"')
    for module in folder.glob("*.py"):
        lines = [
            line
            for line in module.read_text().splitlines()
            if any(word in line for word in words) and "operation_lock(" not in line
        ]
        allowed = [line for line in lines if "_MOVES_HEAD" in line or '"commit", "merge"' in line]
        assert lines == allowed, module
