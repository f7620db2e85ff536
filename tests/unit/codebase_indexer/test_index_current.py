"""The index is never stale: edits, new and vanished files, ignore rules, branches."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest

from self_coding import CodebaseIndexer
from self_coding.adapters import git as git_adapter
from self_coding.adapters.db import Database
from self_coding.codebase_indexer import store
from self_coding.codebase_indexer.refresh import refresh
from self_coding.codebase_indexer.walk import look, settled
from self_coding.errors import IndexerError
from self_coding.values.code import Impact

PKG = {
    "pkg/__init__.py": "",
    "pkg/a.py": "def one(): return 1\n",
    "pkg/b.py": "from pkg.a import one\n",
    "tests/test_b.py": "import pkg.b\ndef test_b(): pass\n",
}


@pytest.fixture
def indexer(tree: Path, tmp_path: Path) -> CodebaseIndexer:
    return CodebaseIndexer(tree, tmp_path / "index.db")


async def names(indexer: CodebaseIndexer, path: str) -> list[str]:
    info = await indexer.get_module_info(path)
    return [] if info is None else [each.name for each in info.functions]


async def test_an_edit_shows_at_once(tree: Path, write, indexer) -> None:
    """A question after an edit is answered of the tree as it is, same size and second or not."""
    write(**PKG)
    assert await indexer.get_dependency_chain("pkg/a.py") == ["pkg/b.py", "tests/test_b.py"]
    write(**{"pkg/b.py": "from pkg.z import one\n"})
    assert await indexer.get_dependency_chain("pkg/a.py") == []
    write(**{"pkg/b.py": "from pkg.a import one\n"})
    assert "pkg/b.py" in await indexer.get_dependency_chain("pkg/a.py")


async def test_a_young_look_is_good_enough_where_it_is_said(write, indexer) -> None:
    """With an age, the last look answers, from what was read then; without one there is another."""
    write(**PKG)
    before = await indexer.graph()
    write(**{"pkg/c.py": "from pkg.a import one\n"})
    assert await indexer.graph(max_age=60) is before
    told = await indexer.impact(["pkg/a.py"], max_age=60)
    assert "pkg/c.py" not in [each.path for each in told.dependents]
    told = await indexer.impact(["pkg/a.py"])
    assert "pkg/c.py" in [each.path for each in told.dependents]


async def test_what_was_read_is_read_anew_when_another_process_updates(
    tree: Path, tmp_path: Path, write, indexer
) -> None:
    """What is kept between questions is of the index's state: another writer ends it."""
    write(**PKG)
    time.sleep(0.06)  # a file as young as its look is looked at again
    before = await indexer.graph()
    assert await indexer.graph() is before
    write(**{"pkg/c.py": "from pkg.a import one\n"})
    other = CodebaseIndexer(tree, tmp_path / "index.db")
    await other.refresh()
    other.close()
    assert "pkg/c.py" in (await indexer.graph(max_age=60)).paths
    (tmp_path / "index.db").unlink()  # whoever makes it anew counts its updates from the start
    assert "pkg/c.py" in (await indexer.graph()).paths


async def test_an_edit_with_old_times_shows(tree: Path, write, indexer) -> None:
    """A file whose modification time was put back is read again all the same."""
    write(**PKG)
    old = (tree / "pkg/b.py").stat()
    os.utime(tree / "pkg/b.py", ns=(10**18, 10**18))
    await indexer.refresh()
    write(**{"pkg/b.py": "from pkg.z import one\n"})
    os.utime(tree / "pkg/b.py", ns=(10**18, 10**18))
    assert (tree / "pkg/b.py").stat().st_size == old.st_size
    assert await indexer.get_dependency_chain("pkg/a.py") == []


async def test_a_new_file_satisfies_old_imports(write, indexer) -> None:
    """An import that resolved to nothing means a file once it is there, and no longer when gone."""
    write(**{"app.py": "import late.thing\n"})
    assert await indexer.get_dependency_chain("late/thing.py") == []
    write(**{"late/thing.py": ""})
    assert await indexer.get_dependency_chain("late/thing.py") == ["app.py"]


async def test_a_package_replaces_a_module(tree: Path, write, indexer) -> None:
    """When `m.py` becomes `m/__init__.py`, the edges follow."""
    write(**{"app.py": "import m\n", "m.py": ""})
    assert await indexer.get_dependency_chain("m.py") == ["app.py"]
    (tree / "m.py").unlink()
    write(**{"m/__init__.py": ""})
    assert await indexer.get_dependency_chain("m/__init__.py") == ["app.py"]


async def test_deleted_files_are_forgotten(tree: Path, write, git, indexer) -> None:
    """A deleted file is in no answer, whether git knows of the deletion or not."""
    write(**PKG)
    git("add", "-A")
    git("commit", "-qm", "one")
    await indexer.refresh()
    (tree / "pkg/b.py").unlink()
    assert await indexer.get_module_info("pkg/b.py") is None
    assert await indexer.get_dependency_chain("pkg/a.py") == []


async def test_branch_switch(write, git, indexer) -> None:
    """After a checkout the answers are those of the other branch."""
    write(**PKG)
    git("add", "-A")
    git("commit", "-qm", "one")
    git("checkout", "-qb", "other")
    write(**{"pkg/a.py": "def two(): return 2\n", "pkg/c.py": "import pkg.a\n"})
    git("add", "-A")
    git("commit", "-qm", "two")
    assert await names(indexer, "pkg/a.py") == ["two"]
    git("checkout", "-q", "main")
    assert await names(indexer, "pkg/a.py") == ["one"]
    assert "pkg/c.py" not in await indexer.get_dependency_chain("pkg/a.py")
    git("checkout", "-q", "other")
    assert "pkg/c.py" in await indexer.get_dependency_chain("pkg/a.py")


async def test_ignore_rules_are_followed(tree: Path, write, indexer) -> None:
    """Ignored files are not indexed; a changed rule counts at once, in any ignore file."""
    write(**{"a.py": "", "deep/b.py": "", "deep/.gitignore": "", ".gitignore": ""})
    assert sum((await indexer.refresh()).values()) == 2
    write(**{"deep/.gitignore": "b.py\n"})
    assert sum((await indexer.refresh()).values()) == 1
    write(**{"deep/.gitignore": "", ".git/info/exclude": "a.py\n"})
    assert await indexer.get_module_info("a.py") is None
    assert await indexer.get_module_info("deep/b.py") is not None


async def test_files_in_new_and_empty_folders(tree: Path, write, indexer) -> None:
    """A file that appears in a folder git did not show before is found."""
    write(**{"a.py": ""})
    (tree / "empty/inner").mkdir(parents=True)
    await indexer.refresh()
    await indexer.refresh()
    write(**{"empty/inner/b.py": ""})
    assert await indexer.get_module_info("empty/inner/b.py") is not None
    write(**{"x/y/z.py": ""})
    assert await indexer.get_module_info("x/y/z.py") is not None


async def test_a_new_pyproject_changes_the_roots(write, indexer) -> None:
    """Source roots that the project declares later count from then on."""
    write(**{"code/ns/mod.py": "", "run.py": "import ns.mod\n", "code/ns/x.txt": ""})
    assert await indexer.get_dependency_chain("code/ns/mod.py") == []
    write(**{"pyproject.toml": "[tool.pytest.ini_options]\npythonpath = ['code']\n"})
    assert await indexer.get_dependency_chain("code/ns/mod.py") == ["run.py"]


async def test_counts_of_both_tiers(write, indexer) -> None:
    """What a question has scanned is still indexed, once, by index_all."""
    write(**PKG)
    assert (await indexer.refresh())["indexed"] == 4
    assert await indexer.index_all() == {"indexed": 4, "failed": 0, "skipped": 0}
    assert await indexer.index_changed() == {"indexed": 0, "failed": 0, "skipped": 4}


async def test_rewritten_but_equal_is_skipped(write, indexer) -> None:
    """A file written again with the same bytes is not indexed again."""
    write(**PKG)
    await indexer.index_all()
    write(**PKG)
    assert await indexer.index_changed() == {"indexed": 0, "failed": 0, "skipped": 4}


async def test_without_git(tmp_path: Path) -> None:
    """A folder without git is walked; caches, virtual environments and hidden folders are not."""
    top = tmp_path / "plain"
    for path in ("a.py", "pkg/b.py", ".hidden/c.py", "node_modules/d.py", "my/bin/e.py"):
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text("import a\n")
    (top / "my/pyvenv.cfg").write_text("")
    indexer = CodebaseIndexer(top, tmp_path / "index.db")
    assert (await indexer.index_all())["indexed"] == 2
    assert await indexer.get_dependency_chain("a.py") == ["pkg/b.py"]
    (top / "pkg/b.py").unlink()
    assert await indexer.get_dependency_chain("a.py") == []


async def test_src_dirs_narrow(write, tree: Path, tmp_path: Path) -> None:
    """Only files below src_dirs are in the index; none means none."""
    write(**PKG)
    some = CodebaseIndexer(tree, tmp_path / "some.db", ["pkg"])
    assert (await some.index_all())["indexed"] == 3
    none = CodebaseIndexer(tree, tmp_path / "none.db", [])
    assert sum((await none.index_all()).values()) == 0


async def test_linked_worktrees_have_their_own(tree: Path, write, git, tmp_path: Path) -> None:
    """Two working trees of one repository do not share an index."""
    write(**PKG)
    git("add", "-A")
    git("commit", "-qm", "one")
    git("worktree", "add", "-q", str(tmp_path / "linked"), "-b", "side")
    (tmp_path / "linked/pkg/b.py").write_text("")
    main, side = CodebaseIndexer(tree), CodebaseIndexer(tmp_path / "linked")
    assert main.db_path != side.db_path
    assert await side.get_dependency_chain("pkg/a.py") == []
    assert "pkg/b.py" in await main.get_dependency_chain("pkg/a.py")
    (tmp_path / "linked/pkg/new.py").write_text("import pkg.a\n")
    assert await side.get_dependency_chain("pkg/a.py") == ["pkg/new.py"]


async def test_impact_end_to_end(write, indexer) -> None:
    """Dependents, tests, data files and deleted files, from the tree itself."""
    write(**PKG, **{"pkg/table.json": "{}", "pkg/c.py": "open('table.json')\n"})
    write(**{"tests/test_c.py": "from pkg.c import x\ndef test_c(): pass\n"})
    found = await indexer.impact(["pkg/a.py"])
    assert isinstance(found, Impact)
    assert found.tests == ("tests/test_b.py",)
    data = await indexer.impact(["pkg/table.json"])
    assert [each.path for each in data.dependents] == ["pkg/c.py", "tests/test_c.py"]
    assert not data.complete
    by_diff = await indexer.impact(diff="--- a/pkg/a.py\n+++ b/pkg/a.py\n")
    assert by_diff.paths == ("pkg/a.py",)
    assert by_diff.tests == found.tests
    assert await indexer.affected_tests(["pkg/b.py"]) == ["tests/test_b.py"]


async def test_impact_of_a_deleted_file(tree: Path, write, indexer) -> None:
    """The importers of a file that is gone are its dependents."""
    write(**PKG)
    await indexer.refresh()
    (tree / "pkg/a.py").unlink()
    found = await indexer.impact(["pkg/a.py"])
    assert [each.path for each in found.dependents] == ["pkg/b.py", "tests/test_b.py"]


async def test_coverage_by_name(write, indexer) -> None:
    """A test of the file's name covers it, where no import says more."""
    write(**PKG, **{"tests/test_a.py": "def test_a(): pass\n"})
    info = await indexer.get_module_info("pkg/a.py")
    assert info is not None
    assert info.test_coverage == "tests/test_a.py"


async def test_unparsable_files_stay(write, indexer) -> None:
    """A file that ast refuses keeps its names and edges, and says why it has no more."""
    write(
        **PKG, **{"pkg/new.py": "import pkg.a\nclass A[T]:\n    def m(self): pass\ndef f(: pass\n"}
    )
    info = await indexer.get_module_info("pkg/new.py")
    assert info is not None
    assert info.error
    assert [each.name for each in info.classes] == ["A"]
    assert [each.name for each in info.classes[0].methods] == ["m"]
    assert info.imports == ["pkg.a"]
    assert "pkg/new.py" in await indexer.get_dependency_chain("pkg/a.py")


async def test_impact_of_nothing(write, indexer) -> None:
    """A question about no change at all is an error with a hint."""
    write(**PKG)
    with pytest.raises(IndexerError, match="no paths and no diff"):
        await indexer.impact()


async def test_dead_text_is_swept(tree: Path, write, tmp_path: Path) -> None:
    """However often a file changes, the full text stays that of the files as they are."""
    write(**{"a.py": "first = 1\n"})
    path = tmp_path / "swept.db"
    indexer = CodebaseIndexer(tree, path)
    for number in range(60):
        write(**{"a.py": f"value{number} = 1\n"})
        await indexer.index_changed()
    assert await indexer.get_relevant_files("value59") == ["a.py"]
    assert await indexer.get_relevant_files("value3") == []
    indexer.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM words_docsize").fetchone()[0] < 55


def age(tree: Path) -> None:
    """Make every file and folder an hour old, so that nothing is too young to be trusted."""
    hour = time.time() - 3600
    for folder, _, names in os.walk(tree):
        for name in (".", *names):
            os.utime(Path(folder) / name, (hour, hour), follow_symlinks=False)


async def relisted(tree: Path) -> bool:
    """Whether a look at an old, unchanged tree asks git for the list again."""
    first = look(tree, None, (), {}, "")
    return look(tree, None, first.files, first.folders, first.view, first.manifests).relisted


async def test_git_is_not_asked_in_vain(tree: Path, write, git) -> None:
    """An unchanged tree is not listed again, also when only git's own notes changed."""
    write(**PKG)
    git("add", "-A")
    age(tree)
    assert not await relisted(tree)
    first = look(tree, None, (), {}, "")
    os.utime(tree / ".git/index")
    assert not look(tree, None, first.files, first.folders, first.view, first.manifests).relisted


async def test_git_is_asked_once_when_it_wrote_its_index_anew(
    tree: Path, write, git, indexer, monkeypatch
) -> None:
    """An index with new times and the same files is looked into by one question, not by each."""
    write(**PKG)
    git("add", "-A")
    age(tree)
    await indexer.refresh()
    os.utime(tree / ".git/index", (1_000_000_000, 1_000_000_000))
    asked = []
    real = git_adapter.run
    monkeypatch.setattr(git_adapter, "run", lambda *a, **more: asked.append(1) or real(*a, **more))
    for _ in range(3):
        await indexer.refresh()
    assert asked == [1]
    write(**{"pkg/b.py": "from pkg.z import one\n"})
    assert await indexer.get_dependency_chain("pkg/a.py") == []


class Overtaken(Database):
    """A database that another process updates just before the first write."""

    overtaken = False

    def write(self) -> AbstractContextManager[sqlite3.Connection]:
        if not self.overtaken:
            self.overtaken = True
            with super().write() as connection:
                store.put_meta(connection, "updates", "1000")
                store.put_meta(connection, "view", "theirs")
        return super().write()


async def test_a_view_is_not_written_over_another_update(
    tree, write, git, indexer, tmp_path
) -> None:
    """The view of an update made between a look and its note is not overwritten by the note."""
    write(**PKG)
    git("add", "-A")
    time.sleep(0.06)  # so that nothing is as young as the look
    await indexer.refresh()
    os.utime(tree / ".git/index", (1_000_000_000, 1_000_000_000))  # worth a note
    schema = {"application": store.APPLICATION, "migrations": store.MIGRATIONS}
    with closing(Overtaken(tmp_path / "index.db", **schema)) as database:
        refresh(database, tree, None)
        assert database.overtaken
        with database.read() as connection:
            assert store.meta(connection, "view") == "theirs"


async def test_exclude_rules_are_noticed(tree: Path, write) -> None:
    """A rule in the repository's own exclude file counts, though no folder changed."""
    write(**PKG)
    age(tree)
    first = look(tree, None, (), {}, "")
    write(**{".git/info/exclude": "b.py\n"})
    assert (
        "pkg/b.py"
        not in look(tree, None, first.files, first.folders, first.view, first.manifests).files
    )


@pytest.mark.parametrize("folder", ["", "pkg/"])
async def test_edited_ignore_files_are_noticed(tree: Path, write, folder: str) -> None:
    """An ignore file that is edited in place counts, though its folder did not change."""
    write(**PKG, **{f"{folder}.gitignore": "nothing\n"})
    age(tree)
    first = look(tree, None, (), {}, "")
    write(**{f"{folder}.gitignore": "b.py\n"})
    assert (
        "pkg/b.py"
        not in look(tree, None, first.files, first.folders, first.view, first.manifests).files
    )


async def test_forced_files_are_noticed(tree: Path, write, git) -> None:
    """An ignored file that is added by force is in git's view from then on."""
    write(**PKG, **{".gitignore": "b.py\n"})
    age(tree)
    first = look(tree, None, (), {}, "")
    assert "pkg/b.py" not in first.files
    git("add", "-f", "pkg/b.py")
    assert (
        "pkg/b.py"
        in look(tree, None, first.files, first.folders, first.view, first.manifests).files
    )


async def test_empty_folders_are_watched(tree: Path, write) -> None:
    """A file in a folder that was empty is noticed, however deep."""
    write(**PKG)
    (tree / "one/two/three").mkdir(parents=True)
    age(tree)
    first = look(tree, None, (), {}, "")
    (tree / "one/two/three/new.py").write_text("")
    assert (
        "one/two/three/new.py"
        in look(tree, None, (), first.folders, first.view, first.manifests).files
    )


def test_young_files_are_not_trusted() -> None:
    """A file as young as the read may change again unseen, so it is hashed again next time."""
    now = 10**18 + 7
    assert settled((now, now, 3), now)[0] == -1
    assert settled((now - 10**9, now - 10**9, 3), now)[0] == now - 10**9
    whole = 10**18 - 10**9
    assert settled((whole, whole, 3), 10**18)[0] == -1


async def test_a_folder_that_hides_itself_is_not_watched(tree: Path, write, indexer) -> None:
    """Work below a folder whose own ignore file hides all costs no question a new listing; when
    that file changes, its files are seen."""
    hidden = {".hidden/.gitignore": "*\n", ".hidden/w1/deep/c.py": ""}
    write(**PKG, **hidden)
    await indexer.refresh()
    with indexer._cache.use(lambda database: database).read() as connection:
        folders = {path for (path,) in connection.execute("SELECT path FROM folders")}
    assert ".hidden" in folders and ".hidden/w1" not in folders
    assert await indexer.get_module_info(".hidden/w1/deep/c.py") is None
    write(**{".hidden/.gitignore": "nothing\n"})
    assert await indexer.get_module_info(".hidden/w1/deep/c.py") is not None


async def test_a_repository_inside_is_not_watched(tree: Path, write, indexer) -> None:
    """Folders of a repository below the tree are its own; without its .git they are seen."""
    write(**PKG, **{"inner/.git/HEAD": "ref: refs/heads/main\n", "inner/deep/c.py": ""})
    (tree / "inner/.git/objects").mkdir()
    (tree / "inner/.git/refs").mkdir()
    await indexer.refresh()
    with indexer._cache.use(lambda database: database).read() as connection:
        folders = {path for (path,) in connection.execute("SELECT path FROM folders")}
    assert "inner/deep" not in folders
    assert await indexer.get_module_info("inner/deep/c.py") is None
    (tree / "inner/.git").rename(tree.parent / "gone")
    assert await indexer.get_module_info("inner/deep/c.py") is not None
