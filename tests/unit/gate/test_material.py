"""The line between what judges and what is judged."""

from __future__ import annotations

import tomllib

import pytest

from self_coding.gate.material import Material, divide, goes_through


@pytest.mark.parametrize(
    ("path", "judges"),
    [
        ("tests/test_a.py", True),
        ("src/pkg/test_a.py", True),
        ("tests/data/a.json", True),
        ("tests/new/helper.py", True),
        ("conftest.py", True),
        ("src/pkg/conftest.py", True),
        ("pytest.ini", True),
        ("tox.ini", True),
        (".coveragerc", True),
        ("Makefile", True),
        ("noxfile.py", True),
        ("run-tests.sh", True),
        ("tools/other.sh", False),
        ("scripts/tool.py", False),
        (".github/workflows/ci.yml", False),
        ("src/pkg/core.py", False),
        ("Cargo.toml", False),
        ("setup.py", False),
        ("requirements-dev.txt", False),
        ("README.md", False),
    ],
)
def test_what_judges_is_told_by_rule(path, judges):
    """Tests, what stands beside them, and what the runner goes through judge; the rest is code."""
    assert Material(command="./run-tests.sh").judges(path) is judges


def test_what_the_commands_script_names_judges():
    """A runner of the project's own, and the modules that it alone goes through."""
    texts = {
        "runtests.py": "import settings\nimport jobs\n",
        "settings.py": "RUNNER = 'runner.Runner'\n",
        "runner.py": "",
        "jobs.py": "",
        "tests/test_jobs.py": "import jobs\n",
    }
    through = goes_through("python runtests.py", [*texts], texts.get)
    assert through == {"runtests.py", "settings.py", "runner.py"}
    assert Material(command="make test").judges("test")


def test_globs_add_paths_and_take_them_away():
    """`gate.judging` has the last word, and the last of it that matches."""
    material = Material(globs=("checks/**", "!src/pkg/testing/**", "src/pkg/testing/cases.py"))
    assert material.judges("checks/a.txt")
    assert not material.judges("src/pkg/testing/__init__.py")
    assert material.judges("src/pkg/testing/cases.py")


def test_a_file_that_holds_tests_judges_whatever_its_name():
    """Where a runner found tests, there is judging material; a doctest is in the code it tests."""
    ids = ("checks/a.py::test_a", "docs/use.rst::use.rst", "src/a.py::pkg.a.f", "b.py::b")
    material = Material(collected=ids)
    judged = [p for p in ("checks/a.py", "docs/use.rst", "src/a.py", "b.py") if material.judges(p)]
    assert judged == ["checks/a.py", "docs/use.rst"]


BASE = '[project]\nname = "a"\n\n[tool.pytest.ini_options]\naddopts = "-q"\n\n[tool.ruff]\nx = 1\n'


def test_a_manifest_is_divided():
    """The candidate's dependencies, and the base's settings of the tests."""
    changed = BASE.replace('"a"', '"b"').replace('"-q"', '"-k nothing"').replace("x = 1", "x = 2")
    found = tomllib.loads(divide("pyproject.toml", BASE, changed))
    assert found["project"] == {"name": "b"}
    assert found["tool"] == {"pytest": {"ini_options": {"addopts": "-q"}}, "ruff": {"x": 2}}


def test_a_manifest_without_other_test_settings_is_code():
    """A new dependency alone leaves the file as the candidate wrote it."""
    changed = BASE.replace('"a"', '"b"')
    assert divide("pyproject.toml", BASE, changed) == changed


@pytest.mark.parametrize(
    "changed",
    ['tool.pytest.ini_options.addopts = "-k no"\n[project]\nname = "b"\n', "not = [toml", None],
)
def test_what_cannot_be_divided_is_the_bases(changed):
    """A spelling that hides the tests' settings, or none at all, changes nothing for the judge."""
    assert divide("pyproject.toml", BASE, changed) == BASE


def test_a_module_is_divided_into_its_doctests_and_its_code():
    """The base's doctests judge the candidate's code, whatever became of them there."""
    base = 'def one():\n    """One.\n\n    >>> one()\n    1\n    """\n    return 1\n'
    changed = base.replace("    1\n", "    2\n").replace("return 1", "return 2")
    found = divide("a.py", base, changed + "x = 1\n")
    names: dict[str, object] = {}
    exec(found, names)
    assert names["one"].__doc__ == "One.\n\n    >>> one()\n    1\n    "
    assert (names["one"](), names["x"]) == (2, 1)
    assert divide("a.py", base, base + "x = 1\n") == base + "x = 1\n"
    assert divide("a.py", base, None) is None


def test_setup_cfg_is_divided_as_well():
    """An ini file has sections of both kinds, too."""
    base = "[metadata]\nname = a\n[tool:pytest]\naddopts = -q\n"
    changed = "[metadata]\nname = b\n[tool:pytest]\naddopts = -k no\n"
    assert divide("setup.cfg", base, changed).replace("\n\n", "\n") == base.replace(
        "name = a", "name = b"
    )


RUST = "pub fn size(r: u8) -> u8 {\n    r * r\n}\n"
RUST_TESTS = (
    "#[cfg(test)]\nmod tests {\n    #[test]\n    fn squares() {\n"
    "        assert_eq!(super::size(3), 9);\n    }\n}\n"
)


def test_tests_beside_the_code_of_rust_are_divided_from_it() -> None:
    """The candidate's code gets the base's test module, and keeps all that is no test."""
    pytest.importorskip("tree_sitter_rust")
    base = f"{RUST}\n{RUST_TESTS}"
    bent = (
        base.replace("r * r", "r + r").replace("9", "6").replace("pub fn", "/// Doubles.\npub fn")
    )
    made = divide("src/lib.rs", base, bent)
    assert "r + r" in made
    assert "/// Doubles." in made
    assert "size(3), 9" in made
    assert "6" not in made
    assert divide("src/lib.rs", base, RUST) == base
    assert "mod tests" not in divide("src/lib.rs", RUST, base)
    assert divide("src/lib.rs", base, None) is None


def test_a_file_of_rust_with_tests_inside_is_code_still() -> None:
    """That tests were collected from a module does not make all of it judge."""
    material = Material(collected=("src/lib.rs::tests::squares", "area/area_test.go::TestA"))
    assert not material.judges("src/lib.rs")
    assert material.judges("area/area_test.go")
    assert material.judges(".npmrc")
    assert material.judges(".cargo/config.toml")
