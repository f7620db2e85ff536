"""The index's file broken, outdated, foreign, or used by many at once."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from self_coding import CodebaseIndexer
from self_coding.errors import StorageError, StorageVersionError


@pytest.fixture
def top(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    tree.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=tree, check=True)
    for number in range(30):
        (tree / f"m{number}.py").write_text(f"import m{number + 1}\ndef f{number}(): pass\n")
    return tree


async def test_damaged_index_is_rebuilt(top: Path, tmp_path: Path) -> None:
    """An index of ours with broken pages is thrown away and built anew."""
    path = tmp_path / "index.db"
    indexer = CodebaseIndexer(top, path)
    await indexer.index_all()
    indexer.close()
    raw = bytearray(path.read_bytes())
    raw[4096:] = b"\x5a" * (len(raw) - 4096)
    path.write_bytes(raw)
    assert (await CodebaseIndexer(top, path).index_all())["indexed"] == 30


async def test_garbage_at_the_default_place_is_rebuilt(top: Path) -> None:
    """Where only we put files, even a file that is no database is replaced."""
    indexer = CodebaseIndexer(top)
    indexer.db_path.parent.mkdir(parents=True)
    indexer.db_path.write_bytes(b"garbage " * 1000)
    assert (await indexer.index_all())["indexed"] == 30


@pytest.mark.parametrize("version", [0, 999])
async def test_other_schemas_are_rebuilt(top: Path, tmp_path: Path, version: int) -> None:
    """An index of another version of ours, older or newer, is no reason to stop."""
    path = tmp_path / "index.db"
    indexer = CodebaseIndexer(top, path)
    await indexer.index_all()
    indexer.close()
    with sqlite3.connect(path) as connection:
        if version:
            connection.execute(f"PRAGMA user_version={version}")
        connection.execute("UPDATE meta SET value = 'old' WHERE key = 'schema'")
    connection.close()
    assert (await CodebaseIndexer(top, path).index_all())["indexed"] == 30


async def test_foreign_files_are_refused(top: Path, tmp_path: Path) -> None:
    """A database of another program, or a text file, is left as it is."""
    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE precious (x)")
    connection.close()
    text = tmp_path / "notes.txt"
    text.write_text("my notes, longer than a header " * 50)
    before = foreign.read_bytes(), text.read_bytes()
    with pytest.raises(StorageVersionError):
        await CodebaseIndexer(top, foreign).index_all()
    with pytest.raises(StorageError):
        await CodebaseIndexer(top, text).index_all()
    assert (foreign.read_bytes(), text.read_bytes()) == before


async def test_deleted_while_open(top: Path, tmp_path: Path) -> None:
    """When the file is deleted under an open indexer, the next question builds it anew."""
    path = tmp_path / "index.db"
    indexer = CodebaseIndexer(top, path)
    await indexer.index_all()
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    assert await indexer.get_dependency_chain("m3.py") == ["m2.py", "m1.py", "m0.py"]


async def test_many_indexers_in_one_process(top: Path, tmp_path: Path) -> None:
    """Several objects on one file, at once, all succeed and agree."""
    several = [CodebaseIndexer(top, tmp_path / "index.db") for _ in range(4)]
    runs = await asyncio.gather(*(each.index_all() for each in several))
    assert all(run["indexed"] + run["skipped"] == 30 for run in runs)
    assert len(await several[0].get_dependency_chain("m30.py")) == 0


def test_many_processes(top: Path, tmp_path: Path) -> None:
    """Several processes at once, while files change, all succeed."""
    code = (
        "import asyncio, sys\nfrom self_coding import CodebaseIndexer\n"
        f"i = CodebaseIndexer({str(top)!r}, {str(tmp_path / 'index.db')!r})\n"
        "for n in range(3):\n"
        f"    open({str(top)!r} + f'/m{{sys.argv[1]}}.py', 'a').write('# x\\n')\n"
        "    assert sum(asyncio.run(i.index_all()).values()) == 30\n"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", code, str(number)], stderr=subprocess.PIPE)
        for number in range(3)
    ]
    for run in runs:
        _, errors = run.communicate(timeout=150)
        assert run.returncode == 0, errors.decode()
