"""Names to files: source roots, packages, relative imports."""

from __future__ import annotations

import pytest

from self_coding.languages import is_test
from self_coding.languages.python_imports import Layout


def layout(*paths: str, declared: tuple[str, ...] = ()) -> tuple[Layout, dict[int, str]]:
    ids = {path: number for number, path in enumerate(paths, 1)}
    return Layout(ids, declared), {number: path for path, number in ids.items()}


def resolved(paths: tuple[str, ...], importer: str, module: str, *names: str) -> set[str]:
    found, shown = layout(*paths)
    return {shown[file] for file in found.resolve(importer, module, names)}


TREE = (
    "src/pkg/__init__.py",
    "src/pkg/a.py",
    "src/pkg/sub/__init__.py",
    "src/pkg/sub/b.py",
    "src/space/one.py",
    "src/space/deep/__init__.py",
    "src/space/deep/two.py",
    "tests/conftest.py",
    "tests/helpers.py",
    "tests/unit/test_a.py",
    "other/lib/__init__.py",
    "other/lib/x.py",
    "script.py",
    "tests/data/pkg2/__init__.py",
)


@pytest.mark.parametrize(
    ("importer", "module", "names", "expected"),
    [
        ("script.py", "pkg.a", (), {"src/pkg/a.py"}),
        ("script.py", "pkg", ("a",), {"src/pkg/__init__.py", "src/pkg/a.py"}),
        ("script.py", "pkg.a", ("thing",), {"src/pkg/a.py"}),
        ("script.py", "pkg", ("*",), {"src/pkg/__init__.py"}),
        ("src/pkg/a.py", ".", ("sub",), {"src/pkg/__init__.py", "src/pkg/sub/__init__.py"}),
        ("src/pkg/sub/b.py", "..a", ("x",), {"src/pkg/a.py"}),
        ("src/pkg/sub/b.py", "...a", ("x",), set()),
        ("src/pkg/__init__.py", ".a", ("x",), {"src/pkg/a.py"}),
        ("script.py", "space.one", (), {"src/space/one.py"}),
        ("script.py", "space.deep.two", ("f",), {"src/space/deep/two.py"}),
        ("script.py", "lib.x", (), {"other/lib/x.py"}),
        ("tests/unit/test_a.py", "helpers", (), {"tests/helpers.py"}),
        ("tests/unit/test_a.py", "tests.helpers", (), {"tests/helpers.py"}),
        ("src/pkg/a.py", "helpers", (), set()),
        ("src/pkg/a.py", "pkg2", (), set()),
        ("tests/unit/test_a.py", "pkg2", (), {"tests/data/pkg2/__init__.py"}),
        ("script.py", "requests", ("get",), set()),
        ("script.py", "pkg.a.attribute", ("x",), {"src/pkg/a.py"}),
        ("script.py", "src.pkg.a", (), {"src/pkg/a.py"}),
    ],
)
def test_imports_resolve(
    importer: str, module: str, names: tuple[str, ...], expected: set[str]
) -> None:
    """An import means the file that Python would load, from where it stands."""
    assert resolved(TREE, importer, module, *names) == expected


def test_nearest_of_equal_names() -> None:
    """Where two source roots hold the same name, the nearest to the importer counts."""
    paths = ("one/src/pkg/__init__.py", "two/src/pkg/__init__.py", "two/app.py", "one/app.py")
    assert resolved(paths, "two/app.py", "pkg") == {"two/src/pkg/__init__.py"}
    assert resolved(paths, "one/app.py", "pkg") == {"one/src/pkg/__init__.py"}


def test_one_relative_import_means_another_file_elsewhere() -> None:
    """The same words mean the importer's own neighbour, whoever asked before."""
    found, shown = layout("a/__init__.py", "a/x.py", "a/const.py", "b/x.py", "b/const.py", "b/y.py")
    for importer in ("a/x.py", "b/x.py", "b/y.py", "a/x.py"):
        (target,) = found.resolve(importer, ".const", ("NAME",))
        assert shown[target] == importer[0] + "/const.py"


def test_module_names() -> None:
    """A module is named below its source root, also in namespace packages."""
    found, _ = layout(*TREE)
    assert found.module("src/pkg/sub/b.py") == "pkg.sub.b"
    assert found.module("src/pkg/__init__.py") == "pkg"
    assert found.module("src/space/deep/two.py") == "space.deep.two"
    assert found.module("tests/unit/test_a.py") == "tests.unit.test_a"
    assert found.module("script.py") == "script"


def test_declared_roots() -> None:
    """A root that the project declares is one."""
    found, shown = layout("code/ns/mod.py", "run.py", declared=("code",))
    assert [shown[file] for file in found.resolve("run.py", "ns.mod", ())] == ["code/ns/mod.py"]
    assert found.module("code/ns/mod.py") == "ns.mod"


def test_literals() -> None:
    """A string names a module, an attribute of one, or a script."""
    found, shown = layout(*TREE)
    assert [shown[f] for f in found.literal("script.py", "pkg.a.Class")] == ["src/pkg/a.py"]
    assert [shown[f] for f in found.literal("tests/unit/test_a.py", "../helpers.py")] == [
        "tests/helpers.py"
    ]
    assert [shown[f] for f in found.literal("tests/unit/test_a.py", "script.py")] == ["script.py"]
    assert found.literal("script.py", "nothing.at.all") == ()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("tests/test_a.py", True),
        ("src/pkg/tests/helper.py", True),
        ("a_test.py", True),
        ("conftest.py", True),
        ("src/pkg/testing.py", False),
        ("test/support.py", True),
        ("src/test/deep/support.py", True),
        ("src/latest/a.py", False),
        ("contest.py", False),
    ],
)
def test_what_is_a_test(path: str, expected: bool) -> None:
    """Tests, conftests and what lies in folders of tests."""
    assert is_test(path) is expected


def test_a_package_in_a_folder_without_modules() -> None:
    """A relative import reaches packages below a namespace folder that holds no file itself."""
    layout = Layout({"pkg/__init__.py": 1, "pkg/a.py": 2, "pkg/ns/inner/__init__.py": 3})
    assert 3 in layout.resolve("pkg/a.py", ".ns", ("inner",))


def test_a_module_of_the_folders_name_is_not_its_package() -> None:
    """`from . import c` in a folder without an `__init__` does not mean the module beside it."""
    assert resolved(("pkg.py", "pkg/b.py"), "pkg/b.py", ".", "c") == set()
    assert resolved(("pkg.py", "pkg/b.py", "pkg/c.py"), "pkg/b.py", ".", "c") == {"pkg/c.py"}
