"""Which interpreter, which import roots, which names: read from files alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from self_coding.gate import python_env

OURS = Path(sys.executable)


def put(folder: Path, *names: str, text: str = "") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("text", "root"),
    [
        ('[tool.setuptools.packages.find]\nwhere = ["lib"]', "lib"),
        ('[tool.setuptools]\npackage-dir = {"" = "lib"}', "lib"),
        ('[tool.pytest.ini_options]\npythonpath = "lib"', "lib"),
        ('[tool.hatch.build.targets.wheel]\npackages = ["lib/thing"]', "lib"),
        ('[[tool.poetry.packages]]\ninclude = "thing"\nfrom = "lib"', "lib"),
    ],
)
def test_configured_roots_are_found(tmp_path, text, root):
    """The usual build backends and pytest name their roots."""
    put(tmp_path, "lib/thing/__init__.py")
    put(tmp_path, "pyproject.toml", text=text)
    assert python_env.import_roots(tmp_path, tmp_path, OURS) == (root, "")


@pytest.mark.parametrize("text", ["not toml [", "tool = 3", "[tool]\nsetuptools = 1", ""])
def test_odd_configuration_is_no_error(tmp_path, text):
    """A configuration that makes no sense names no root."""
    put(tmp_path, "pyproject.toml", text=text)
    put(tmp_path, "src/pkg/__init__.py")
    assert python_env.import_roots(tmp_path, tmp_path, OURS) == ("src", "")


def test_roots_outside_are_ignored(tmp_path):
    """A root that leads out of the tree is none."""
    text = '[tool.pytest.ini_options]\npythonpath = ["../other", "/abs"]'
    put(tmp_path, "pyproject.toml", text=text)
    assert python_env.import_roots(tmp_path, tmp_path, OURS) == ("",)


def test_an_editable_install_names_its_root(tmp_path):
    """A `.pth` line and a finder's mapping into the checkout become roots of the candidate."""
    top = tmp_path / "top"
    put(top, "code/pkg/__init__.py", "more/other/__init__.py")
    site = tmp_path / "venv/lib/python3.11/site-packages"
    put(site, "a.pth", text=f"{top}/code\nimport x\n/nowhere\n")
    put(site, "__editable___x_finder.py", text=f"MAPPING = {{'other': '{top}/more/other'}}")
    roots = python_env.import_roots(top, top, tmp_path / "venv/bin/python")
    assert set(roots) == {"code", "more", ""}


def test_names_are_code_not_furniture(tmp_path):
    """Packages and modules are names; tests, setup files and stdlib names are not."""
    put(tmp_path, "src/pkg/__init__.py", "src/mod.py", "tests/__init__.py", "setup.py")
    put(
        tmp_path, "conftest.py", "types.py", "test_x.py", "x_test.py", "flat/__init__.py", "no/x.py"
    )
    names = python_env.import_names(tmp_path, ("src", ""))
    assert names == {
        "pkg": ("src/pkg/__init__.py",),
        "mod": ("src/mod.py",),
        "flat": ("flat/__init__.py",),
    }


def test_the_repositorys_environment_comes_first(tmp_path):
    """A virtual environment in the checkout is `python`, for pytest only if it has pytest."""
    put(tmp_path, ".venv/bin/python")
    assert python_env.interpreter(tmp_path, "make") == tmp_path / ".venv/bin/python"
    assert python_env.interpreter(tmp_path, "python -m pytest") == OURS
    put(tmp_path, ".venv/lib/python3.11/site-packages/pytest/__init__.py")
    assert python_env.interpreter(tmp_path, "python -m pytest") == tmp_path / ".venv/bin/python"
    assert python_env.interpreter(None, "python -m pytest") == OURS


def test_the_folders_of_an_interpreter(tmp_path):
    """The environment, the installation it was made from, and what links lead to."""
    real = tmp_path / "install/bin/python3"
    put(tmp_path, "install/bin/python3")
    put(tmp_path, "venv/pyvenv.cfg", text=f"home = {tmp_path}/install/bin\n")
    (tmp_path / "venv/bin").mkdir()
    (tmp_path / "venv/bin/python").symlink_to("python3")
    (tmp_path / "venv/bin/python3").symlink_to(real)
    folders = python_env.interpreter_folders(tmp_path / "venv/bin/python")
    assert set(folders) == {tmp_path / "venv", tmp_path / "install"}


def test_stamps_change_with_an_install(tmp_path):
    """Installing something makes kept verdicts stale."""
    put(tmp_path, "bin/python", "lib/python3.11/site-packages/a.py")
    before = python_env.install_stamps(tmp_path / "bin/python")
    put(tmp_path, "lib/python3.11/site-packages/new/__init__.py")
    assert python_env.install_stamps(tmp_path / "bin/python") != before
