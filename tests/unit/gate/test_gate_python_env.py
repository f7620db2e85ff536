"""Which interpreter, which import roots, which names: read from files alone."""

from __future__ import annotations

import base64
import hashlib
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from self_coding.errors import ConfigError
from self_coding.gate import python_env
from self_coding.gate.python_env import TestPython, choose_python
from self_coding.values.verdicts import GateSettings

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


PYTEST = GateSettings(command="python -m pytest")
MAKE = GateSettings(command="make")


def environment(folder: Path, *more: str) -> Path:
    """A virtual environment as far as files show it."""
    put(folder, "bin/python", "pyvenv.cfg", "lib/python3.11/site-packages/x.py", *more)
    (folder / "bin/python").chmod(0o755)
    return folder / "bin/python"


HAS_PYTEST = "lib/python3.11/site-packages/pytest/__init__.py"


@pytest.fixture
def shell(monkeypatch, tmp_path):
    """A shell in which no environment is active."""
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(OURS.parent))
    return monkeypatch


def test_the_checkouts_environment_is_python(tmp_path, shell):
    """A virtual environment in the checkout is `python`, for pytest only if it has pytest."""
    python = environment(tmp_path / ".venv")
    assert choose_python(tmp_path, MAKE).path == python
    chosen = choose_python(tmp_path, PYTEST)
    assert chosen.path == OURS
    assert chosen.why == f"self-coding's own; no pytest in {tmp_path}/.venv"
    environment(tmp_path / ".venv", HAS_PYTEST)
    assert choose_python(tmp_path, PYTEST) == TestPython(python, "environment of the checkout")


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX", "PATH"])
def test_the_active_environment_comes_before_the_checkouts(tmp_path, shell, variable):
    """What is active in the caller's shell runs the tests, however it was activated."""
    environment(tmp_path / ".venv", HAS_PYTEST)
    python = environment(tmp_path / "own", HAS_PYTEST)
    shell.setenv(variable, str(python.parent if variable == "PATH" else tmp_path / "own"))
    assert choose_python(tmp_path, PYTEST) == TestPython(python, "active environment")


def test_a_python_that_is_merely_there_comes_last(tmp_path, shell):
    """conda's base and a system's python on PATH count only where the checkout has none."""
    system = tmp_path / "usr"
    put(system, "bin/python", "lib/python3/dist-packages/pytest/__init__.py")
    (system / "bin/python").chmod(0o755)
    shell.setenv("PATH", f"relative:{system}/bin")
    shell.setenv("CONDA_PREFIX", str(system))
    shell.setenv("CONDA_DEFAULT_ENV", "base")
    chosen = TestPython(system / "bin/python", "first python on PATH")
    assert choose_python(tmp_path, PYTEST) == chosen
    python = environment(tmp_path / "venv", HAS_PYTEST)
    assert choose_python(tmp_path, PYTEST).path == python


def test_our_own_environment_and_shims_are_not_chosen(tmp_path, shell):
    """Our own environment, though active, and a shim without a library count for nothing."""
    put(tmp_path, "shims/bin/python")
    (tmp_path / "shims/bin/python").chmod(0o755)
    shell.setenv("VIRTUAL_ENV", sys.prefix)
    shell.setenv("PATH", f"{tmp_path}/shims/bin")
    assert choose_python(tmp_path, MAKE) == TestPython(OURS, "self-coding's own")


def test_pytest_is_found_where_an_environment_looks_beside_itself(tmp_path, shell):
    """The system's packages and the folders of `.pth` files belong to an environment."""
    system = tmp_path / "usr"
    environment(tmp_path / "a")
    text = f"home = {system}/bin\ninclude-system-site-packages = true\n"
    put(tmp_path, "a/pyvenv.cfg", text=text)
    environment(tmp_path / "b")
    put(
        tmp_path,
        "b/lib/python3.11/site-packages/more.pth",
        text=f"{system}/lib/python3.11/site-packages\n",
    )
    for name in ("a", "b"):
        shell.setenv("VIRTUAL_ENV", str(tmp_path / name))
        assert choose_python(tmp_path, PYTEST).path == OURS, name
    put(system, HAS_PYTEST)
    for name in ("a", "b"):
        shell.setenv("VIRTUAL_ENV", str(tmp_path / name))
        assert choose_python(tmp_path, PYTEST).path == tmp_path / name / "bin/python"


def test_a_setting_decides(tmp_path, shell):
    """`gate.python` comes before all; one that does not exist is an error that names it."""
    environment(tmp_path / ".venv", HAS_PYTEST)
    python = environment(tmp_path / "other")
    setting = replace(PYTEST, python="other/bin/python")
    assert choose_python(tmp_path, setting) == TestPython(python, "setting gate.python")
    with pytest.raises(ConfigError, match=r"gate\.python: .*/none does not exist"):
        choose_python(tmp_path, replace(PYTEST, python="none"))


def test_what_the_setup_command_made_comes_before_the_active_environment(tmp_path, shell):
    """The setup command's environment runs the tests; the checkout's own is not looked at."""
    environment(tmp_path / "top/.venv", HAS_PYTEST)
    python = environment(tmp_path / "made/.venv", HAS_PYTEST)
    shell.setenv("VIRTUAL_ENV", str(tmp_path / "own"))
    setting = replace(PYTEST, setup_command="make venv")
    assert choose_python(tmp_path / "top", setting, tmp_path / "made").path == python
    assert choose_python(tmp_path / "top", setting).path == OURS
    own = environment(tmp_path / "own", HAS_PYTEST)
    assert choose_python(tmp_path / "top", setting).path == own


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


def mark(how: str, path: Path) -> str:
    """The characters by which tools name an environment after a path."""
    digest = hashlib.new(how, str(path).encode()).digest()
    return base64.urlsafe_b64encode(digest).decode()[:8]


@pytest.mark.parametrize(
    ("manifest", "text", "place", "tool"),
    [
        ("tox.ini", "", "top/.tox/unit", "tox"),
        ("noxfile.py", "", "top/.nox/tests-3-11", "nox"),
        ("poetry.lock", "", ".cache/pypoetry/virtualenvs/x-{sha256}-py3.11", "poetry"),
        ("pyproject.toml", "[tool.poetry]", ".cache/pypoetry/virtualenvs/x-{sha256}-py3", "poetry"),
        ("pdm.lock", "", ".local/share/pdm/venvs/top-{md5}-3.11", "pdm"),
        (".pdm-python", "{home}/anywhere/bin/python", "anywhere", "pdm"),
        (
            "hatch.toml",
            "",
            ".local/share/hatch/env/virtual/x/{sha256}/hatch-test.py3.11",
            "hatch",
        ),
        (
            "pyproject.toml",
            "[tool.hatch.envs]",
            ".local/share/hatch/env/virtual/x/{sha256}/x",
            "hatch",
        ),
        ("Pipfile", "", ".local/share/virtualenvs/top-{pipfile}", "pipenv"),
        ("environment.yml", "name: thing\ndependencies: []", "conda/envs/thing", "conda"),
        ("environment.yaml", 'channels: []\nname: "thing"', "conda/envs/thing", "conda"),
    ],
)
def test_environments_of_tools_are_found(tmp_path, shell, manifest, text, place, tool):
    """Where a tool keeps the environment of this checkout, by its own files and folders."""
    top = tmp_path / "top"
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "POETRY_CACHE_DIR", "HATCH_DATA_DIR"):
        shell.delenv(name, raising=False)
    shell.setenv("HOME", str(tmp_path))
    marks = {how: mark(how, top) for how in ("sha256", "md5")}
    folder = tmp_path / place.format(**marks, pipfile=mark("sha256", top / "Pipfile"))
    put(
        tmp_path, ".conda/environments.txt", text=f"{tmp_path}/conda\n{tmp_path}/conda/envs/thing\n"
    )
    python = environment(folder, HAS_PYTEST)
    if tool not in ("tox", "nox"):  # their folders are in the checkout itself
        assert choose_python(top, PYTEST).path == OURS
    put(top, manifest, text=text.format(home=tmp_path) if "{home}" in text else text)
    assert choose_python(top, PYTEST) == TestPython(python, f"made by {tool}")
    own = environment(top / ".venv", HAS_PYTEST)
    assert choose_python(top, PYTEST).path == own


def test_the_newest_environment_for_tests_counts(tmp_path, shell):
    """Of several that tox made the newest with pytest runs the tests; a linter's never does."""
    python = environment(tmp_path / ".tox/py311", HAS_PYTEST)
    os.utime(tmp_path / ".tox/py311", (1, 1))
    environment(tmp_path / ".tox/lint", HAS_PYTEST)
    assert choose_python(tmp_path, PYTEST) == TestPython(python, "made by tox")
    newer = environment(tmp_path / ".tox/py312-django", HAS_PYTEST)
    assert choose_python(tmp_path, PYTEST) == TestPython(newer, "made by tox")
