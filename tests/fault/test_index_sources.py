"""Sources nobody would write: each is indexed or counted as failed, and stops nothing."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest

from self_coding import CodebaseIndexer
from self_coding.adapters.db import Database
from self_coding.codebase_indexer import store
from self_coding.codebase_indexer.refresh import refresh


@pytest.fixture
def top(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    tree.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=tree, check=True)
    (tree / "good.py").write_text("def good(): pass\n")
    return tree


async def counted(top: Path, tmp_path: Path) -> dict[str, int]:
    indexer = CodebaseIndexer(top, tmp_path / "index.db")
    counts = await indexer.index_all()
    assert await indexer.get_module_info("good.py") is not None
    return counts


@pytest.mark.parametrize(
    ("source", "failed"),
    [
        (b"x = '\0'\n", 1),
        (b"# coding: no-such-encoding\nx = 1\n", 1),
        (b"x = '\xff\xfe'\n", 1),
        (b"# coding: latin-1\nx = '\xff'\n", 0),
        (b"\xef\xbb\xbfx = 1\r\ny = 2\r\n", 0),
        (b"(" * 300 + b")" * 300, 1),
        (b"x = " + b"-" * 20_000 + b"1\n", 1),
        (b"x = " + b"1 + " * 20_000 + b"1\n", None),
        (b"print 'python 2'\n", 1),
        (b"def f(x):\n  nonlocal y\n", None),
        (b"x: int = 1\n" * 100_000, 0),
        (b"'''" + b"a" * 5_000_000 + b"'''\n", 0),
        (b"\x0cdef f(): pass\n", 0),
        (b"'\\d'\n", 0),
    ],
    ids=range(14),
)
async def test_hard_sources(top: Path, tmp_path: Path, source: bytes, failed: int | None) -> None:
    """Null bytes, odd encodings, depth and length: counted, never raised."""
    (top / "hard.py").write_bytes(source)
    counts = await counted(top, tmp_path)
    assert sum(counts.values()) == 2
    if failed is not None:
        assert counts["failed"] == failed


async def test_links_and_odd_files(top: Path, tmp_path: Path) -> None:
    """A loop of links, a link to nothing, a folder or pipe named like a module."""
    (top / "loop.py").symlink_to("loop.py")
    (top / "gone.py").symlink_to("nowhere")
    (top / "good_link.py").symlink_to("good.py")
    (top / "around").symlink_to(".")
    (top / "folder.py").mkdir()
    os.mkfifo(top / "pipe.py")
    counts = await counted(top, tmp_path)
    assert counts == {"indexed": 2, "failed": 2, "skipped": 0}


async def test_names_that_are_no_text(top: Path, tmp_path: Path) -> None:
    """A file name that is no UTF-8, with newlines, quotes or spaces, is a name."""
    with open(os.fsencode(top) + b"/b\xff.py", "wb") as file:
        file.write(b"import good\n")
    (top / 'a "b"\n c.py').write_text("import good\n")
    indexer = CodebaseIndexer(top, tmp_path / "index.db")
    assert (await indexer.index_all())["indexed"] == 3
    found = await indexer.get_dependency_chain("good.py")
    assert set(found) == {os.fsdecode(b"b\xff.py"), 'a "b"\n c.py'}
    assert await indexer.get_module_info(os.fsdecode(b"b\xff.py")) is not None
    assert (await indexer.index_all())["skipped"] == 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_unreadable_files(top: Path, tmp_path: Path) -> None:
    """A file without read permission counts as failed."""
    (top / "secret.py").write_text("x = 1\n")
    (top / "secret.py").chmod(0)
    assert await counted(top, tmp_path) == {"indexed": 1, "failed": 1, "skipped": 0}


class Vanishing(Database):
    """A database before whose transaction a file is deleted: after the look, before the read."""

    victim: Path

    def write(self) -> AbstractContextManager[sqlite3.Connection]:
        self.victim.unlink()
        return super().write()


def test_files_that_vanish_before_they_are_read(top: Path, tmp_path: Path) -> None:
    """A file that is gone between the look and the read is no failure."""
    (top / "brief.py").write_text("x = 1\n")
    schema = {"application": store.APPLICATION, "migrations": store.MIGRATIONS}
    with closing(Vanishing(tmp_path / "index.db", **schema)) as database:
        database.victim = top / "brief.py"
        counts = refresh(database, top, None, parse=True)
    assert counts.failed == 0
    assert counts.indexed == 1
