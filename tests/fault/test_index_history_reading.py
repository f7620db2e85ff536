"""Git's history in the index: incremental, of HEAD's ancestors only, bounded, never in the way."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from self_coding.adapters import git as adapter
from self_coding.adapters.db import Database
from self_coding.codebase_indexer import commits, history, store

Git = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """A repository with one commit, driven by git itself."""
    root = tmp_path / "repo"
    root.mkdir()

    def run(*arguments: str) -> str:
        argv = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b.invalid"]
        done = subprocess.run([*argv, *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    run("init", "-q", "-b", "main")
    _commit(root, run, "a.py", "start of parsing")
    return run


@pytest.fixture
def root(git: Git, tmp_path: Path) -> Path:
    return tmp_path / "repo"


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(
        tmp_path / "index.db", application=store.APPLICATION, migrations=store.MIGRATIONS
    )


def _commit(root: Path, git: Git, name: str, message: str) -> None:
    path = root / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(path.read_text() + "#\n" if path.exists() else "x = 1\n" * 20)
    git("add", "-A")
    git("commit", "-q", "-m", message)


def _found(database: Database, *words: str) -> list[list[str]]:
    with database.read() as connection:
        alike = commits.commits_like(connection, words, limit=10)
        return [commits.paths_of_commit(connection, commit) for commit, _ in alike]


def test_reads_what_is_new_and_no_more(
    database: Database, root: Path, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second reading asks git for the new commits alone, a third for nothing."""
    history.refresh(database, root)
    _commit(root, git, "b.py", "printing of reports")
    asked: list[tuple[str, ...]] = []
    run = adapter.run
    monkeypatch.setattr(adapter, "run", lambda a, **more: (asked.append(a), run(a, **more))[1])
    history.refresh(database, root)
    assert [arguments[0] for arguments in asked] == ["rev-list", "log"]
    assert ".." in asked[1][-2]
    assert _found(database, "reports") == [["b.py"]] and _found(database, "parsing") == [["a.py"]]
    history.refresh(database, root)
    assert len(asked) == 2


def test_only_ancestors_of_head_vote(database: Database, root: Path, git: Git) -> None:
    """After a switch, commits of the other branch are silent; back again, they speak again."""
    git("checkout", "-q", "-b", "other")
    _commit(root, git, "b.py", "printing of reports")
    history.refresh(database, root)
    assert _found(database, "reports") == [["b.py"]]
    git("checkout", "-q", "main")
    history.refresh(database, root)
    assert _found(database, "reports") == [] and _found(database, "parsing") == [["a.py"]]
    git("checkout", "-q", "--detach", "other")
    history.refresh(database, root)
    assert _found(database, "reports") == [["b.py"]]


def test_amended_and_collected_history(database: Database, root: Path, git: Git) -> None:
    """When the old HEAD is gone for good, history is read anew."""
    _commit(root, git, "b.py", "printing of reports")
    history.refresh(database, root)
    git("commit", "-q", "--amend", "-m", "drawing of charts")
    git("reflog", "expire", "--expire=now", "--all")
    git("gc", "-q", "--prune=now")
    history.refresh(database, root)
    assert _found(database, "reports") == [] and _found(database, "charts") == [["b.py"]]


def test_renames_are_followed(database: Database, root: Path, git: Git) -> None:
    """A file that was renamed twice keeps the votes it got under its first name."""
    git("mv", "a.py", "b.py")
    git("commit", "-q", "-m", "rename")
    git("mv", "b.py", "c.py")
    git("commit", "-q", "-m", "rename again")
    history.refresh(database, root)
    with database.read() as connection:
        ((number, _),) = commits.commits_like(connection, ["parsing"], limit=5)
        assert commits.renamed_path(connection, "a.py", number) == "c.py"
        assert commits.renamed_path(connection, "c.py", number) is None


def test_first_reading_is_bounded(database: Database, root: Path, git: Git) -> None:
    """Of a long history the newest commits are read, and more when a switch leaves few of them."""
    for number in range(6):
        _commit(root, git, "a.py", f"step{number} of many")
    history.refresh(database, root, depth=4)
    assert _found(database, "step0") == [] and _found(database, "step5") == [["a.py"]]
    git("checkout", "-q", "--detach", "HEAD~4")
    history.refresh(database, root, depth=4)
    assert _found(database, "step1") == [["a.py"]] and _found(database, "step5") == []


def _stored(database: Database) -> list[tuple[str, int]]:
    """The live commits, newest first, each with how many numbers it is below the newest."""
    with database.read() as connection:
        rows = connection.execute(
            "SELECT hash, (SELECT max(id) FROM commits WHERE live) - id FROM commits WHERE live"
            " ORDER BY id DESC"
        )
        return [(commit, age) for commit, age in rows]


def test_history_is_read_step_by_step(
    database: Database, root: Path, git: Git, tmp_path: Path
) -> None:
    """Each question reads some commits further back, and at last all is as if read at once."""
    for number in range(6):
        _commit(root, git, "a.py", f"step{number} of many")
    at_once = Database(tmp_path / "o.db", application=1, migrations=store.MIGRATIONS)
    history.refresh(at_once, root, depth=5, step=5)
    lengths = []
    for _ in range(4):
        history.refresh(database, root, depth=5, step=2)
        lengths.append(len(_stored(database)))
    assert lengths == [2, 4, 5, 5]
    assert _stored(database) == _stored(at_once)
    assert _found(database, "step1") == [["a.py"]] and _found(database, "step0") == []


@pytest.mark.parametrize("back", [1, 2, 3, 5])
def test_steps_go_on_while_head_moves(database: Database, root: Path, git: Git, back: int) -> None:
    """New commits between two steps are read too, and those of a left branch stay silent."""
    for number in range(7):
        _commit(root, git, "a.py", f"step{number} of many")
    history.refresh(database, root, step=3)
    _commit(root, git, "b.py", "printing of reports")
    history.refresh(database, root, step=1)
    git("checkout", "-q", "--detach", f"HEAD~{back}")
    for _ in range(6):
        history.refresh(database, root, step=1)
    ancestors = git("rev-list", "HEAD").split()
    assert [commit for commit, _ in _stored(database)] == ancestors
    git("checkout", "-q", "main")
    history.refresh(database, root, step=1)
    assert [commit for commit, _ in _stored(database)] == git("rev-list", "HEAD").split()


def test_steps_silence_what_another_branch_left_unread(
    database: Database, root: Path, git: Git
) -> None:
    """Older commits of a branch that HEAD has left are silent when a later step reads them."""
    git("checkout", "-q", "-b", "other")
    for number in range(4):
        _commit(root, git, "b.py", f"aside{number}")
    git("checkout", "-q", "main")
    for number in range(3):
        _commit(root, git, "a.py", f"step{number} of many")
    git("checkout", "-q", "other")
    history.refresh(database, root, step=1)
    git("checkout", "-q", "main")
    for _ in range(6):
        history.refresh(database, root, step=1)
    assert sorted(c for c, _ in _stored(database)) == sorted(git("rev-list", "HEAD").split())


def test_ages_do_not_depend_on_what_was_read_before(
    database: Database, root: Path, git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However HEAD moved while history was read, each commit is as old as in one reading."""
    for number in range(8):
        monkeypatch.setenv("GIT_COMMITTER_DATE", f"2030-01-0{number + 1}T00:00:00Z")
        _commit(root, git, "a.py", f"step{number} of many")

    def ages(database: Database) -> dict[str, int]:
        with database.read() as connection:
            hashes = dict(connection.execute("SELECT id, hash FROM commits").fetchall())
            return {hashes[each]: age for each, age in commits.commit_ages(connection).items()}

    for place in ("main~4", "main~1", "main~3", "main~7", "main", "main~2"):
        git("checkout", "-q", "--detach", place)
        history.refresh(database, root)
    at_once = Database(tmp_path / "o.db", application=1, migrations=store.MIGRATIONS)
    history.refresh(at_once, root)
    assert ages(database) == ages(at_once)


def test_steps_survive_collected_commits(database: Database, root: Path, git: Git) -> None:
    """When the commit at which reading began is gone for good, reading begins anew."""
    for number in range(4):
        _commit(root, git, "a.py", f"step{number} of many")
    history.refresh(database, root, step=2)
    git("commit", "-q", "--amend", "-m", "drawing of charts")
    history.refresh(database, root, step=1)
    git("reflog", "expire", "--expire=now", "--all")
    git("gc", "-q", "--prune=now")
    for _ in range(4):
        history.refresh(database, root, step=2)
    assert [commit for commit, _ in _stored(database)] == git("rev-list", "HEAD").split()


def test_no_repository_and_no_commit(database: Database, tmp_path: Path) -> None:
    """Outside a repository, and before the first commit, there is simply no history."""
    history.refresh(database, tmp_path)
    subprocess.run(["git", "init", "-q", str(tmp_path / "empty")], check=True)
    history.refresh(database, tmp_path / "empty")
    assert history.head(tmp_path / "empty") == "" and _found(database, "anything") == []


def test_head_is_read_in_every_layout(root: Path, git: Git, tmp_path: Path) -> None:
    """HEAD is found when detached, packed, and in a linked working tree with its own."""
    tip = git("rev-parse", "HEAD")
    assert history.head(root) == tip
    git("pack-refs", "--all")
    assert history.head(root) == tip
    git("worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    _commit(tmp_path / "side", lambda *a: git("-C", str(tmp_path / "side"), *a), "z.py", "aside")
    assert history.head(tmp_path / "side") != tip == history.head(root)
    git("checkout", "-q", "--detach")
    assert history.head(root) == tip


def test_hooks_and_settings_of_the_user_change_nothing(
    database: Database, root: Path, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No pager, signature, date or rename setting of the user reaches what is read."""
    for key, value in (
        ("log.showSignature", "true"),
        ("log.showRoot", "false"),
        ("diff.renames", "false"),
        ("core.pager", "false"),
        ("color.ui", "always"),
        ("format.pretty", "oneline"),
        ("diff.noprefix", "true"),
        ("status.relativePaths", "false"),
    ):
        git("config", key, value)
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_PAGER", "false")
    history.refresh(database, root)
    assert _found(database, "parsing") == [["a.py"]]


def test_messages_of_any_characters(database: Database, root: Path, git: Git) -> None:
    """Quotes, operators, control characters and odd file names neither break nor leak."""
    _commit(root, git, "o dd\x01é'.py", 'weird "quoted" AND NOT* (x) \x01\x02 ünï: -col:y')
    history.refresh(database, root)
    for word in ('"quoted"', "AND", "NOT*", "(x)", "ünï", "col:y", '"', "^x", "-"):
        _found(database, word)
    assert _found(database, "ünï") == [["o dd\x01é'.py"]]
