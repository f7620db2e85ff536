"""The founding contract of CodebaseIndexer, to the letter."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from self_coding import ClassInfo, CodebaseIndexer, FunctionInfo, ModuleInfo

CALCULATOR = '''"""A calculator."""

import os
from typing import TYPE_CHECKING


def add(a: int, b: int = 2, *rest: int, key: str = "x", **more: int) -> int:
    """Add two numbers."""
    return a + b


async def later(x): pass


class Calculator(Base, metaclass=Meta):
    """Calculates."""

    def multiply(self, a: int, b: int) -> int:
        """Multiply two numbers."""
        return a * b

    async def divide(self): ...

    class Nested:
        def hidden(self): ...
'''
UTILS = '"""Help."""\nfrom myproject.calculator import Calculator\n\ndef helper(): Calculator()\n'
TEST = "from myproject.calculator import add\n\ndef test_add():\n    assert add(1, 2) == 3\n"


def git(repo: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.invalid", *arguments],
        cwd=repo, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    top = tmp_path / "repo"
    for path, text in {
        "src/myproject/__init__.py": "",
        "src/myproject/calculator.py": CALCULATOR,
        "src/myproject/utils.py": UTILS,
        "tests/test_calculator.py": TEST,
        "README.md": "hello",
    }.items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text(text)
    git(top, "init", "-q", "-b", "main")
    git(top, "add", "-A")
    git(top, "commit", "-qm", "first")
    return top


@pytest.fixture
def indexer(repo: Path) -> CodebaseIndexer:
    return CodebaseIndexer(repo_path=repo, db_path=repo / "index.db", src_dirs=["src", "tests"])


async def test_first_run_indexes_every_python_file(indexer: CodebaseIndexer) -> None:
    """The first index_all indexes each file; empty files count."""
    assert await indexer.index_all() == {"indexed": 4, "failed": 0, "skipped": 0}


async def test_second_run_skips_unchanged(indexer: CodebaseIndexer) -> None:
    """Both methods skip files whose bytes are unchanged."""
    await indexer.index_all()
    assert await indexer.index_all() == {"indexed": 0, "failed": 0, "skipped": 4}
    assert await indexer.index_changed() == {"indexed": 0, "failed": 0, "skipped": 4}


async def test_new_file_is_the_only_one_indexed(repo: Path, indexer: CodebaseIndexer) -> None:
    """index_changed indexes a new, untracked file and skips the rest."""
    await indexer.index_all()
    (repo / "src/myproject/new_module.py").write_text("def new_function(): pass\n")
    assert await indexer.index_changed() == {"indexed": 1, "failed": 0, "skipped": 4}


async def test_syntax_error_counts_as_failed(repo: Path, indexer: CodebaseIndexer) -> None:
    """A file that cannot be parsed fails and stops nothing."""
    (repo / "src/myproject/bad_syntax.py").write_text("def broken(:")
    assert await indexer.index_all() == {"indexed": 4, "failed": 1, "skipped": 0}
    assert (await indexer.index_changed())["failed"] == 1


async def test_missing_src_dirs_are_fine(repo: Path) -> None:
    """Folders that do not exist give zeros."""
    indexer = CodebaseIndexer(repo, repo / "index.db", ["nowhere"])
    assert await indexer.index_all() == {"indexed": 0, "failed": 0, "skipped": 0}


async def test_index_all_at_once(indexer: CodebaseIndexer) -> None:
    """Several runs side by side all succeed."""
    runs = await asyncio.gather(*(indexer.index_all() for _ in range(4)))
    assert all(sum(run.values()) == 4 and run["failed"] == 0 for run in runs)


async def test_module_info(indexer: CodebaseIndexer) -> None:
    """A module's facts are those of its source, top level only."""
    info = await indexer.get_module_info("src/myproject/calculator.py")
    assert isinstance(info, ModuleInfo)
    assert (info.file_path, info.module_name) == (
        "src/myproject/calculator.py",
        "myproject.calculator",
    )
    assert info.docstring == "A calculator."
    assert info.imports == ["os", "typing.TYPE_CHECKING"]
    assert info.test_coverage == "tests/test_calculator.py"
    assert [(f.name, f.is_async, f.is_method) for f in info.functions] == [
        ("add", False, False),
        ("later", True, False),
    ]
    add = info.functions[0]
    assert isinstance(add, FunctionInfo)
    assert (add.args[:2], add.returns, add.docstring, add.line_number) == (
        ["a: int", "b: int"],
        "int",
        "Add two numbers.",
        7,
    )
    (calculator,) = info.classes
    assert isinstance(calculator, ClassInfo)
    assert (calculator.name, calculator.bases, calculator.docstring) == (
        "Calculator",
        ["Base"],
        "Calculates.",
    )
    assert [method.name for method in calculator.methods] == ["multiply", "divide"]
    assert all(method.is_method for method in calculator.methods)


async def test_imports_are_dotted_names(indexer: CodebaseIndexer) -> None:
    """`from a.b import C` is `a.b.C`."""
    info = await indexer.get_module_info("src/myproject/utils.py")
    assert info is not None
    assert info.imports == ["myproject.calculator.Calculator"]
    assert info.test_coverage is None


async def test_unknown_module_is_none(indexer: CodebaseIndexer) -> None:
    """A path that is not in the index has no info."""
    assert await indexer.get_module_info("src/nothing.py") is None
    assert await indexer.get_module_info("README.md") is None


async def test_summary(indexer: CodebaseIndexer) -> None:
    """The summary names modules, classes and functions, within any budget."""
    text = await indexer.get_summary()
    assert "Codebase Summary" in text
    assert "Total modules: 4" in text
    assert "calculator" in text
    assert "myproject.calculator" in text and "myproject.utils" in text
    assert "Calculator" in text
    assert "add" in text
    for budget in (0, 1, 5, 20, 100):
        assert len(await indexer.get_summary(max_tokens=budget)) <= budget * 4


async def test_relevant_files(indexer: CodebaseIndexer) -> None:
    """The file that a task names comes first; words nowhere in the code give nothing."""
    files = await indexer.get_relevant_files("add multiply method to calculator", limit=3)
    assert files[0] == "src/myproject/calculator.py"
    assert await indexer.get_relevant_files("zzzqqq xylophone") == []
    assert await indexer.get_relevant_files("") == []
    await indexer.get_relevant_files("\"'*(){}^: NEAR OR AND NOT \0 \ud800 - +")
    assert len(await indexer.get_relevant_files("calculator", limit=1)) == 1


async def test_dependency_chain(indexer: CodebaseIndexer) -> None:
    """Importers come nearest first, without the file itself; a src layout resolves."""
    assert await indexer.get_dependency_chain("src/myproject/calculator.py") == [
        "src/myproject/utils.py",
        "tests/test_calculator.py",
    ]
    assert await indexer.get_dependency_chain("src/myproject/utils.py") == []
    assert await indexer.get_dependency_chain("nothing.py") == []


async def test_dependency_cycles(repo: Path, indexer: CodebaseIndexer) -> None:
    """A cycle ends, and a file is not its own dependent."""
    (repo / "src/myproject/one.py").write_text("import myproject.two\n")
    (repo / "src/myproject/two.py").write_text("import myproject.one\n")
    assert await indexer.get_dependency_chain("src/myproject/one.py") == ["src/myproject/two.py"]


async def test_has_test_coverage(indexer: CodebaseIndexer) -> None:
    """A file that a test imports is covered; one that none touches is not."""
    await indexer.index_all()
    assert await indexer.has_test_coverage("src/myproject/calculator.py")
    assert not await indexer.has_test_coverage("src/myproject/utils.py")


async def test_database_is_no_change_of_the_tree(repo: Path, indexer: CodebaseIndexer) -> None:
    """An index inside the working tree never shows in git status."""
    await indexer.index_all()
    assert git(repo, "status", "--porcelain") == ""


async def test_default_places(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without db_path the index lies in the git directory, elsewhere in the user's data."""
    monkeypatch.chdir(repo)
    indexer = CodebaseIndexer()
    await indexer.index_all()
    assert indexer.repo_path == repo.resolve()
    assert (repo / ".git/self_coding/index.db").exists()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain/a.py").write_text("x = 1\n")
    plain = CodebaseIndexer(tmp_path / "plain")
    assert await plain.index_all() == {"indexed": 1, "failed": 0, "skipped": 0}
    assert list((tmp_path / "data/self-coding").glob("index*.db"))


async def test_encodings(repo: Path, indexer: CodebaseIndexer) -> None:
    """UTF-8, a BOM and a declared encoding all work."""
    folder = repo / "src/myproject"
    (folder / "utf.py").write_bytes('def grüße(): "ä"\n'.encode())
    (folder / "bom.py").write_bytes(b"\xef\xbb\xbfdef bommed(): pass\r\n")
    (folder / "latin.py").write_bytes(
        '# -*- coding: latin-1 -*-\nname = "é"\ndef café(): 1\n'.encode("latin-1")
    )
    assert (await indexer.index_all())["failed"] == 0
    info = await indexer.get_module_info("src/myproject/latin.py")
    assert info is not None
    assert info.functions[0].name == "café"
