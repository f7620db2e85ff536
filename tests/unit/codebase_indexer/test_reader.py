"""Dependents as values, impact and the choice of tests on real files."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from self_coding import CodebaseIndexer
from self_coding.codebase_indexer.reader import Graph

PATHS = dict(
    enumerate(
        (
            "pkg/__init__.py",
            "pkg/a.py",
            "pkg/b.py",
            "pkg/c.py",
            "tests/conftest.py",
            "tests/test_a.py",
            "tests/test_c.py",
            "tests/test_none.py",
        ),
        1,
    )
)
IDS = {path: number for number, path in PATHS.items()}
EDGES = [
    (IDS["pkg/b.py"], IDS["pkg/a.py"]),
    (IDS["pkg/c.py"], IDS["pkg/b.py"]),
    (IDS["pkg/a.py"], IDS["pkg/c.py"]),
    (IDS["tests/test_a.py"], IDS["pkg/a.py"]),
    (IDS["tests/test_c.py"], IDS["pkg/c.py"]),
]
GRAPH = Graph(PATHS, EDGES)
TESTS = {"tests/test_a.py", "tests/test_c.py", "tests/test_none.py"}
TEXTS = {
    "pkg/__init__.py": "",
    "pkg/a.py": "from pkg import c\n",
    "pkg/b.py": "from pkg.a import x\n",
    "pkg/c.py": "from pkg.b import x\n",
    "tests/test_a.py": "import pkg.a\n\ndef test_a(): pass\n",
    "tests/test_c.py": "import pkg.c\n\ndef test_c(): pass\n",
    "tests/test_none.py": "def test_none(): pass\n",
}
Write = Callable[[str, str], object]


@pytest.fixture
def indexer(tree: Path, tmp_path: Path) -> CodebaseIndexer:
    return CodebaseIndexer(tree, tmp_path / "index.db")


@pytest.fixture
def package(write: Callable[..., None]) -> Write:
    """The same package as files."""
    write(**TEXTS)
    return lambda path, text: write(**{path: text})


def test_dependents_nearest_first() -> None:
    """Distances count imports, cycles end, and each says what it came through."""
    found = GRAPH.dependents(["pkg/a.py"])
    assert [(each.path, each.distance, each.through) for each in found] == [
        ("pkg/b.py", 1, "pkg/a.py"),
        ("tests/test_a.py", 1, "pkg/a.py"),
        ("pkg/c.py", 2, "pkg/b.py"),
        ("tests/test_c.py", 3, "pkg/c.py"),
    ]


def test_packages_and_conftests_are_needed() -> None:
    """Importing a module runs its packages; a test needs every conftest above it."""
    assert {"pkg/a.py", "tests/test_a.py"} <= set(GRAPH.importers("pkg/__init__.py"))
    assert "tests/test_none.py" in GRAPH.importers("tests/conftest.py")


def test_packages_beyond_a_folder_without_init_are_needed() -> None:
    """Importing `pkg.ns.mod` runs `pkg`, although `ns` is a folder without an `__init__`."""
    graph = Graph({1: "pkg/__init__.py", 2: "pkg/ns/mod.py", 3: "tests/test_mod.py"}, [(3, 2)])
    assert graph.importers("pkg/__init__.py") == ["pkg/ns/mod.py", "tests/test_mod.py"]


async def test_impact_is_the_closure(package: Write, indexer: CodebaseIndexer) -> None:
    """The affected tests are those from which imports lead to the change."""
    found = await indexer.impact(["pkg/a.py"])
    assert found.tests == ("tests/test_a.py", "tests/test_c.py")
    assert found.complete
    assert 0 < found.risk < 1


async def test_a_changed_test_is_affected(package: Write, indexer: CodebaseIndexer) -> None:
    """A test that is itself changed is to be run."""
    assert (await indexer.impact(["tests/test_none.py"])).tests == ("tests/test_none.py",)


async def test_blind_spots_widen_and_are_told(package: Write, indexer: CodebaseIndexer) -> None:
    """What imports by a computed name may reach the change: its tests run, and it is said."""
    package("tests/test_none.py", "import importlib\n\nimportlib.import_module(f())\n")
    found = await indexer.impact(["pkg/a.py"])
    assert "tests/test_none.py" in found.tests
    assert [(each.path, each.line) for each in found.blind_spots] == [("tests/test_none.py", 3)]
    assert not found.complete


@pytest.mark.parametrize("with_git", [True, False])
async def test_a_language_that_is_not_read_is_told(
    package: Write, indexer: CodebaseIndexer, tree: Path, *, with_git: bool
) -> None:
    """Impact is not complete where files of a language that nothing here reads may use a change."""
    if with_git:
        subprocess.run(["git", "init", "-q", str(tree)], check=True)
    assert (await indexer.impact(["pkg/a.py"])).complete
    package("tool/Main.kt", "fun main() {}\n")
    impact = await indexer.impact(["pkg/a.py"])
    assert not impact.complete
    assert "Kotlin is not read" in impact.blind_spots[-1].reason
    (tree / "tool/Main.kt").unlink()
    assert (await indexer.impact(["pkg/a.py"])).complete


async def test_data_files_are_not_missed(package: Write, indexer: CodebaseIndexer) -> None:
    """A changed data file affects who names it, and that others may read it is said."""
    package("pkg/c.py", TEXTS["pkg/c.py"] + "NAME = 'table.json'\n")
    found = await indexer.impact(["pkg/table.json"])
    assert found.dependents[0].path == "pkg/c.py"
    assert found.tests == ("tests/test_c.py", "tests/test_a.py")
    assert not found.complete


async def test_configuration_and_plugins_run_everything(
    package: Write, indexer: CodebaseIndexer
) -> None:
    """A change of the test configuration or of a pytest plugin affects every test."""
    assert set((await indexer.impact(["pyproject.toml"])).tests) == TESTS
    package("pyproject.toml", '[project.entry-points.pytest11]\nown = "pkg.c"\n')
    assert set((await indexer.impact(["pkg/b.py"])).tests) == TESTS


async def test_deleted_files_have_importers(package: Write, indexer: CodebaseIndexer) -> None:
    """A file that is gone still affects those whose imports meant it."""
    package("pkg/c.py", "from pkg.b import x\nfrom pkg import old\n")
    found = await indexer.impact(["pkg/old.py"])
    assert found.tests == ("tests/test_c.py", "tests/test_a.py")


async def test_entry_points_depend(package: Write, indexer: CodebaseIndexer) -> None:
    """An installed command depends on the module that it names."""
    package("pyproject.toml", '[project.scripts]\nrun = "pkg.a:main"\n')
    found = (await indexer.impact(["pkg/a.py"])).dependents
    assert "pyproject.toml" in [each.path for each in found if each.distance == 1]


async def test_nothing_changed_has_no_risk(package: Write, indexer: CodebaseIndexer) -> None:
    """No path, no impact."""
    found = await indexer.impact([])
    assert (found.dependents, found.tests, found.risk, found.complete) == ((), (), 0.0, True)


async def test_untested_is_riskier(package: Write, indexer: CodebaseIndexer) -> None:
    """The same change is riskier when no test reaches it."""
    package("pkg/lone.py", "")
    package("tests/test_lone.py", "import pkg.lone\n\ndef test_lone(): pass\n")
    tested = (await indexer.impact(["pkg/lone.py"])).risk
    package("tests/test_lone.py", "def test_lone(): pass\n")
    assert (await indexer.impact(["pkg/lone.py"])).risk > tested
