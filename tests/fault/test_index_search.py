"""Relevant files of a real working tree: never stale, of any text, with history as it is."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from self_coding.codebase_indexer import CodebaseIndexer
from self_coding.languages import is_test

FILES = {
    "pkg/__init__.py": "",
    "pkg/sessions.py": "from pkg.adapters import Adapter\n\nclass Session:\n    send = None\n",
    "pkg/adapters.py": "class Adapter:\n    def close_pool(self):\n        raise OSError\n",
    "pkg/cookies.py": "def merge_cookies(jar):\n    return jar\n",
    "pkg/chunks.py": "def read(source):\n    return source\n",
    "docs/conf.py": "project = 'cookies'\n",
    "tests/test_cookies.py": "from pkg.cookies import merge_cookies\n\ndef test_cookies(): ...\n",
}


def _git(root: Path, *arguments: str) -> None:
    argv = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b.invalid"]
    subprocess.run([*argv, *arguments], check=True, capture_output=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small package under git."""
    root = tmp_path / "repo"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    _git(tmp_path, "init", "-q", "-b", "main", str(root))
    _git(root, "add", "-A")
    _git(root, "commit", "-q", "-m", "start")
    return root


@pytest.fixture
def indexer(root: Path, tmp_path: Path) -> CodebaseIndexer:
    return CodebaseIndexer(root, tmp_path / "index.db")


async def test_words_names_and_tracebacks(indexer: CodebaseIndexer) -> None:
    """Words, a defined name and a traceback's last frame each lead to their file."""
    assert (await indexer.get_relevant_files("merging of cookies"))[0] == "pkg/cookies.py"
    assert (await indexer.get_relevant_files("`Session` is odd"))[0] == "pkg/sessions.py"
    trace = 'It breaks\n\n  File "/usr/lib/python3/site-packages/pkg/adapters.py", line 3, in x\n'
    assert (await indexer.get_relevant_files(trace))[0] == "pkg/adapters.py"


async def test_tests_last_and_each_file_once(indexer: CodebaseIndexer) -> None:
    """The test that fits best comes after the code, and no file comes twice."""
    found = await indexer.get_relevant_files("test cookies", limit=10)
    assert found[-1] == "tests/test_cookies.py" and len(found) == len(set(found))


async def test_old_versions_do_not_weigh(
    root: Path, indexer: CodebaseIndexer, tmp_path: Path
) -> None:
    """An index that saw many edits of a small tree scores as one that was made just now."""
    await indexer.index_all()
    for number in range(3):
        for name, text in FILES.items():
            (root / name).write_text(f"{text}# cookies {'pool ' * number}\n")
        await indexer.index_changed()
    for name, text in FILES.items():
        (root / name).write_text(text)
    await indexer.index_changed()
    now = CodebaseIndexer(root, tmp_path / "now.db")
    for task in ("merging of cookies", "`Session` closes the pool", "test cookies"):
        assert await indexer.relevant_files(task) == await now.relevant_files(task)


async def test_explained(indexer: CodebaseIndexer) -> None:
    """With `explain`, the same files come with reasons; scores fall, sources before tests."""
    plain = await indexer.get_relevant_files("merging of cookies", limit=3)
    told = await indexer.get_relevant_files("merging of cookies", limit=3, explain=True)
    assert [each.path for each in told] == plain
    ranks = [(is_test(each.path), -each.score) for each in told]
    assert ranks == sorted(ranks)
    assert told[0].reasons[0].startswith("its words are those of the task")


async def test_nothing_matches(indexer: CodebaseIndexer) -> None:
    """Words that stand nowhere find nothing, and neither do no words."""
    for task in ("xylophone zzz", "", "   ", "???", "\0"):
        assert await indexer.get_relevant_files(task) == []
    assert await indexer.get_relevant_files("cookies", limit=0) == []
    assert await indexer.get_relevant_files("cookies", limit=-3) == []


async def test_a_word_inside_an_imported_name_alone(indexer: CodebaseIndexer, root: Path) -> None:
    """A word that stands nowhere but inside the names that a file imports finds nothing."""
    (root / "pkg/chunks.py").write_text("from outside import LazyQuokka\n")
    assert await indexer.get_relevant_files("quokka") == []
    assert (await indexer.get_relevant_files("quokka cookies"))[0] == "pkg/cookies.py"


@pytest.mark.parametrize(
    "task",
    ['"', "a AND (b OR", "NEAR(x, 3)", "body: cookies", "^cookies *", "ünïcode Ⅷ", "cookies\0jar",
     "\ud800 cookies", "-- cookies; DROP TABLE files", "{names} : x", "cookies " * 20_000],
)  # fmt: skip
async def test_any_characters(indexer: CodebaseIndexer, task: str) -> None:
    """Whatever stands in a task is text, never a query language."""
    found = await indexer.get_relevant_files(task)
    assert ("cookies" not in task) or "pkg/cookies.py" in found


async def test_never_a_stale_path(indexer: CodebaseIndexer, root: Path) -> None:
    """A file that is deleted, moved or on another branch is not named."""
    assert "pkg/cookies.py" in await indexer.get_relevant_files("cookies")
    (root / "pkg/cookies.py").rename(root / "pkg/jars.py")
    found = await indexer.get_relevant_files("cookies")
    assert "pkg/jars.py" in found and "pkg/cookies.py" not in found
    _git(root, "add", "-A")
    _git(root, "commit", "-q", "-m", "cookies are kept in jars")
    _git(root, "checkout", "-q", "--detach", "HEAD~1")
    found = await indexer.get_relevant_files("cookies jars", limit=10)
    assert "pkg/cookies.py" in found and "pkg/jars.py" not in found


async def test_past_commits_speak_for_files(indexer: CodebaseIndexer, root: Path) -> None:
    """A word that only a past commit's message holds leads to the file it touched."""
    task = "gzip support: read fails"
    before = await indexer.get_relevant_files("gzip return", limit=10)
    (root / "pkg/chunks.py").write_text(FILES["pkg/chunks.py"] + "# more\n")
    _git(root, "commit", "-q", "-am", "support gzip")
    assert before != ["pkg/chunks.py"]
    assert (await indexer.get_relevant_files(task))[0] == "pkg/chunks.py"
    reasons = (await indexer.relevant_files(task, limit=1))[0].reasons
    assert any("past commits" in reason for reason in reasons)


async def test_votes_follow_a_rename(indexer: CodebaseIndexer, root: Path) -> None:
    """What a commit said of a file counts for it under its new name."""
    (root / "pkg/chunks.py").write_text(FILES["pkg/chunks.py"] + "# more\n")
    _git(root, "commit", "-q", "-am", "support gzip")
    _git(root, "mv", "pkg/chunks.py", "pkg/pieces.py")
    _git(root, "commit", "-q", "-m", "tidy")
    (best,) = await indexer.relevant_files("support gzip: source", limit=1)
    assert best.path == "pkg/pieces.py"
    assert any("past commits" in reason for reason in best.reasons)


async def test_of_two_alike_the_one_changed_lately(indexer: CodebaseIndexer, root: Path) -> None:
    """Of two files that fit a terse task the one of the newest commit is first, and is told so."""
    for name in ("apple", "peach"):
        (root / f"pkg/{name}.py").write_text("def ripen(fruit):\n    return fruit\n")
        _git(root, "add", "-A")
        _git(root, "commit", "-q", "-m", f"add {name}")
    assert (await indexer.get_relevant_files("ripen fruit"))[0] == "pkg/peach.py"
    (root / "pkg/apple.py").write_text("def ripen(fruit):\n    return [fruit]\n")
    _git(root, "commit", "-q", "-am", "tidy")
    (best,) = await indexer.relevant_files("ripen fruit", limit=1)
    assert best.path == "pkg/apple.py"
    assert best.reasons[-1].startswith("the newest commits changed it")


async def test_what_changed_lately_follows_a_rename(indexer: CodebaseIndexer, root: Path) -> None:
    """A file that the newest commits changed and then moved counts under its new name."""
    (root / "pkg/chunks.py").write_text(FILES["pkg/chunks.py"] + "# more\n")
    _git(root, "commit", "-q", "-am", "tidy")
    _git(root, "mv", "pkg/chunks.py", "pkg/pieces.py")
    _git(root, "commit", "-q", "-m", "move")
    (best,) = await indexer.relevant_files("source", limit=1)
    assert best.path == "pkg/pieces.py"
    assert best.reasons[-1].startswith("the newest commits changed it")


async def test_words_of_the_past_alone_find_nothing(indexer: CodebaseIndexer, root: Path) -> None:
    """What only a message says, or only an older version of a file said, is not in the code."""
    (root / "pkg/chunks.py").write_text("zebra = 1\n")
    _git(root, "commit", "-q", "-am", "support gzip")
    assert await indexer.get_relevant_files("zebra") == ["pkg/chunks.py"]
    (root / "pkg/chunks.py").write_text("okapi = 1\n")
    assert await indexer.get_relevant_files("zebra") == []
    assert await indexer.get_relevant_files("gzip") == []


async def test_summary_follows_the_task(indexer: CodebaseIndexer) -> None:
    """With a task, the summary tells its files first, and names all others that hold anything."""
    text = await indexer.get_summary(task="merging of cookies")
    assert text.index(" pkg.cookies: merge_cookies") < text.index("Session")
    names = ("pkg.adapters", "pkg.chunks", "pkg.cookies", "pkg.sessions")
    assert "\npkg/:\n" in text and [name for name in names if f"\n {name}" not in text] == []
