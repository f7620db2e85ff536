"""Dependents, impact and the choice of tests, as values."""

from __future__ import annotations

from self_coding.codebase_indexer.impact import Facts, Graph, assess
from self_coding.values.code import BlindSpot

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
TESTS = frozenset(("tests/test_a.py", "tests/test_c.py", "tests/test_none.py"))


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


def test_impact_is_the_closure() -> None:
    """The affected tests are those from which imports lead to the change."""
    found = assess(GRAPH, ["pkg/a.py"], Facts(tests=TESTS))
    assert found.tests == ("tests/test_a.py", "tests/test_c.py")
    assert found.complete
    assert 0 < found.risk < 1


def test_a_changed_test_is_affected() -> None:
    """A test that is itself changed is to be run."""
    assert assess(GRAPH, ["tests/test_none.py"], Facts(tests=TESTS)).tests == (
        "tests/test_none.py",
    )


def test_blind_spots_widen_and_are_told() -> None:
    """What imports by a computed name may reach the change: its tests run, and it is said."""
    blind = BlindSpot(path="tests/test_none.py", line=3, reason="computed")
    found = assess(GRAPH, ["pkg/a.py"], Facts(tests=TESTS, blind=(blind,)))
    assert "tests/test_none.py" in found.tests
    assert found.blind_spots == (blind,)
    assert not found.complete


def test_data_files_are_not_missed() -> None:
    """A changed data file affects who names it, and that others may read it is said."""
    facts = Facts(tests=TESTS, reading={"pkg/table.json": ["pkg/c.py"]})
    found = assess(GRAPH, ["pkg/table.json"], facts)
    assert found.dependents[0].path == "pkg/c.py"
    assert found.tests == ("tests/test_c.py", "tests/test_a.py")
    assert not found.complete


def test_configuration_and_plugins_run_everything() -> None:
    """A change of the test configuration or of a pytest plugin affects every test."""
    assert set(assess(GRAPH, ["pyproject.toml"], Facts(tests=TESTS)).tests) == TESTS
    facts = Facts(tests=TESTS, plugins=frozenset(("pkg/c.py",)))
    assert set(assess(GRAPH, ["pkg/b.py"], facts).tests) == TESTS


def test_deleted_files_have_importers() -> None:
    """A file that is gone still affects those whose imports meant it."""
    facts = Facts(tests=TESTS, gone={"pkg/old.py": ["pkg/c.py"]})
    assert assess(GRAPH, ["pkg/old.py"], facts).tests == ("tests/test_c.py", "tests/test_a.py")


def test_entry_points_depend() -> None:
    """An installed command depends on the module that it names."""
    facts = Facts(tests=TESTS, entries={"pkg/a.py": "pyproject.toml"})
    found = assess(GRAPH, ["pkg/a.py"], facts).dependents
    assert "pyproject.toml" in [each.path for each in found if each.distance == 1]


def test_nothing_changed_has_no_risk() -> None:
    """No path, no impact."""
    found = assess(GRAPH, [], Facts(tests=TESTS))
    assert (found.dependents, found.tests, found.risk, found.complete) == ((), (), 0.0, True)


def test_untested_is_riskier() -> None:
    """The same change is riskier when no test reaches it."""
    tested = assess(GRAPH, ["pkg/a.py"], Facts(tests=TESTS)).risk
    assert assess(GRAPH, ["pkg/a.py"], Facts(tests=frozenset())).risk > tested
