"""What `init` finds out about a repository."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from self_coding.cli import cli
from self_coding.cli.setup import (
    Check,
    detect,
    detect_more,
    examine,
    how_to_prove,
    write_settings,
)
from self_coding.errors import ConfigError, GitNotRepositoryError, SelfCodingError
from self_coding.testing import sample_repo, write_files


def _repository(path: Path, branch: str = "main") -> Path:
    subprocess.run(["git", "init", "-q", "-b", branch, str(path)], check=True)
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    commit = ["commit", "-q", "--allow-empty", "-m", "first"]
    subprocess.run(["git", *identity, *commit], cwd=path, check=True)
    return path


_MESON = "meson setup build && meson test -C build --print-errorlogs"
_NPM = '{"scripts": {"test": "mocha"}}'


@pytest.mark.parametrize("branch", ["main", "master", "trunk", "develop"])
def test_the_main_branch_is_found(tmp_path: Path, branch: str) -> None:
    """A usual name wins, else the branch that is checked out."""
    found = detect(_repository(tmp_path, branch), main_branch=None, test_command=None)
    assert found.main_branch == branch


def test_the_remotes_default_wins(tmp_path: Path) -> None:
    """In a clone, the default branch of its origin is main."""
    _repository(tmp_path / "origin", "develop")
    subprocess.run(["git", "clone", "-q", "origin", "clone"], cwd=tmp_path, check=True)
    _ = subprocess.run(["git", "branch", "main"], cwd=tmp_path / "clone", check=True)
    assert detect(tmp_path / "clone", main_branch=None, test_command=None).main_branch == "develop"


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({}, ""),
        ({"README.md": "test: x\n"}, ""),
        ({"package.json": '{"scripts": {"test": "mocha"}}'}, "npm test"),
        ({"package.json": '{"scripts": {"test": "x"}}', "pnpm-lock.yaml": ""}, "pnpm test"),
        ({"package.json": '{"scripts": {"test": "x"}}', "yarn.lock": ""}, "yarn test"),
        ({"package.json": '{"scripts": {"test": "echo no test specified"}}'}, ""),
        ({"package.json": "{"}, ""),
        ({"go.mod": "module x\n"}, "go test ./..."),
        ({"Cargo.toml": "[package]\n"}, "cargo test"),
        ({"pom.xml": "<project/>"}, "mvn -q -o test"),
        ({"build.gradle.kts": "", "gradlew": ""}, "./gradlew -q --offline test"),
        ({"Makefile": "all: x\n\ntest: all\n\t./x\n"}, "make test"),
        ({"Makefile": "test := x\nall:\n"}, ""),
        (
            {"CMakeLists.txt": "project(x)\n"},
            "cmake -S . -B build && cmake --build build && ctest --test-dir build"
            " --output-on-failure",
        ),
        ({"CMakeLists.txt": "project(x)\n", "Makefile": "test:\n\t./x\n"}, "make test"),
        (
            {"CMakeLists.txt": "enable_testing()\n", "Makefile": "test:\n\t./x\n"},
            "cmake -S . -B build && cmake --build build && ctest --test-dir build"
            " --output-on-failure",
        ),
        ({"manage.py": "", "app/tests.py": "from django import test\n"}, "python manage.py test"),
        (
            {
                "tox.ini": "[testenv]\nsetenv =\n  DJANGO_SETTINGS_MODULE = tests.settings\n",
                "tests/test_a.py": "from django import test\n",
            },
            "python -m django test --settings=tests.settings",
        ),
        (
            {
                "tox.ini": "[testenv]\nsetenv =\n  DJANGO_SETTINGS_MODULE = tests.settings\n"
                "commands = python -b -m coverage run -m django test -v2 {posargs:tests}\n",
                "tests/test_a.py": "from django import test\n",
                "example/test_b.py": "from django import test\n",
            },
            "python -m django test --settings=tests.settings tests",
        ),
        (
            {
                "justfile": "\ntest +FLAGS='':\n    django-admin test --settings=tests.settings\n",
                "tests/tests.py": "from django import test\n",
            },
            "python -m django test --settings=tests.settings",
        ),
        (
            {
                "tests/settings.py": "INSTALLED_APPS = []\n",
                "tests/tests.py": "from django import test\n",
            },
            "python -m django test --settings=tests.settings",
        ),
        (
            {"app/test_settings.py": "INSTALLED_APPS = []\n", "app/tests.py": ""},
            "python -m django test --settings=app.test_settings",
        ),
        ({"tests/settings.py": "DEBUG = 1\n"}, ""),
        ({"runtests.py": "", "tests/test_a.py": "from django import test\n"}, "python runtests.py"),
        (
            {"runtests.py": "", "tests/test_a.py": "", "setup.cfg": "[tool:pytest]\n"},
            "python -m pytest --tb=short -q",
        ),
        ({"tox.ini": "[testenv]\ncommands = ./run\n"}, "tox"),
        ({"noxfile.py": "import nox\n"}, "nox"),
        ({"tests/test_a.py": "import unittest\n"}, "python -m unittest discover -s tests"),
        (
            {
                "a/tests/__init__.py": "",
                "a/tests/test_a.py": "import unittest\n",
                "a/__init__.py": "",
            },
            "python -m unittest discover",
        ),
        (
            {
                "a/tests/test_a.py": "import unittest\n",
                "a/tests/sub/test_b.py": "import unittest\n",
            },
            "python -m unittest discover -s a/tests",
        ),
        # tests that are named as those of other languages are
        ({"package.json": _NPM, "test/a.test.js": "", "src/b.spec.ts": ""}, "npm test"),
        ({"package.json": _NPM, "pnpm-lock.yaml": "", "test/test_a.js": ""}, "pnpm test"),
        ({"go.mod": "module x\n", "a_test.go": "package unittest\n"}, "go test ./..."),
        ({"Cargo.toml": "[package]\n", "tests/a.rs": "", "src/lib.rs": ""}, "cargo test"),
        ({"pom.xml": "<project/>", "src/test/java/x/ATest.java": ""}, "mvn -q -o test"),
        ({"Makefile": "test:\n\tgo test\n", "a_test.go": ""}, "make test"),
        ({"package.json": _NPM, "bun.lock": ""}, "bun run test"),
        ({"deno.json": "{}", "a_test.ts": ""}, "deno test -A"),
        ({"mix.exs": "", "test/a_test.exs": ""}, "mix test"),
        ({"Rakefile": "Rake::TestTask.new\n", "test/test_a.rb": ""}, "rake test"),
        ({"Rakefile": "task test: %w[a]\n", "Gemfile.lock": ""}, "bundle exec rake test"),
        ({"Rakefile": "task :deploy\n"}, ""),
        ({".rspec": "", "spec/a_spec.rb": ""}, "bundle exec rspec"),
        ({"phpunit.xml.dist": "<phpunit/>"}, "vendor/bin/phpunit"),
        ({"meson.build": "test('a', t)\n"}, _MESON),
        ({"meson.build": "subdir('tests')\n"}, _MESON),
        ({"meson.build": "executable('a', 'a.c')\n", "t/a.t": ""}, "prove -lr t"),
        ({"test/a.bats": ""}, "bats -r test"),
        ({"justfile": "# how\n@test *options: build\n  ./run\n"}, "just test"),
        ({"Justfile": "build:\n  test\n"}, ""),
        ({"a.h": "", "tests/Makefile": "all: one\n\t./one\n"}, "make -C tests"),
        ({"test_a.py": "import unittest\n"}, "python -m unittest discover"),
        (
            {
                "a/tests/b_test.py": "import unittest\n",
                "a/__init__.py": "",
                "a/tests/__init__.py": "",
            },
            "python -m unittest discover -p '*_test.py'",
        ),
        ({"tests/test_a.py": "import pytest\n"}, "python -m pytest --tb=short -q"),
        (
            {"tests/test_a.py": "import unittest\n", "setup.cfg": "[tool:pytest]\n"},
            "python -m pytest --tb=short -q",
        ),
    ],
)
def test_the_test_command_is_found(tmp_path: Path, files: dict[str, str], command: str) -> None:
    """The project's own files say what runs its tests; where none does, nothing is guessed."""
    _repository(tmp_path)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    subprocess.run(["git", "add", "-A"], cwd=tmp_path, check=True)
    for folder in (".venv/lib/numpy", "node_modules/x"):  # not the project's own
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "conftest.py").write_text("import pytest\n")
        (tmp_path / folder / "test_x.py").write_text("import pytest\n")
    assert detect(tmp_path, main_branch=None, test_command=None).test_command == command


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"Makefile": "all: sds-test\n\nsds-test: sds.c\n\tcc sds.c\n"}, "make sds-test"),
        ({"makefile": "all: a.c\n\tcc a.c\n"}, '"make" finds'),
        ({"a.py": ""}, "compileall"),
        ({"a.hs": ""}, "--test-command COMMAND"),
    ],
)
def test_what_could_prove_a_change_is_said(
    tmp_path: Path, files: dict[str, str], said: str
) -> None:
    """Where nothing is guessed, the way out is one for this project's own language."""
    _commit(_repository(tmp_path), files)
    told = how_to_prove(tmp_path)
    assert said in told
    assert ("compileall" in told) == ("a.py" in files)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """The file holds what was found, quotes and all; it is not overwritten unasked."""
    found = detect(_repository(tmp_path), main_branch="main", test_command='sh -c "x\\y"')
    path = write_settings(found, force=False)
    assert tomllib.loads(path.read_text()) == {
        "main_branch": "main",
        "test_command": 'sh -c "x\\y"',
    }
    with pytest.raises(ConfigError):
        write_settings(found, force=False)
    write_settings(found, force=True)


def test_what_the_first_look_misses_is_set(tmp_path: Path) -> None:
    """Hints that are settings are taken up: what is named once more is not lost or repeated."""
    found = detect(_repository(tmp_path), main_branch=None, test_command="cargo test")
    hints = ('set gate.readable = ["~/a", "~/b"]', 'set gate.readable = ["~/b", "~/c"]')
    hints = (*hints, 'is there; set gate.carry = ["app/[id]/x"]')
    found = detect_more(found, [Check("tests", "fail", "", hint) for hint in hints])
    made = {"readable": ["~/a", "~/b", "~/c"], "carry": ["app/[id]/x"]}
    assert found.gate == made
    assert detect_more(found, [Check("tests", "fail", "", "install it")]) == found
    path = write_settings(found, force=False, branch_prefix="agents")
    assert tomllib.loads(path.read_text()) == {
        "main_branch": "main",
        "test_command": "cargo test",
        "branch_prefix": "agents",
        "gate": made,
    }


def test_a_node_project_lends_its_modules(tmp_path: Path) -> None:
    """What npm installs is lent to the tests; where nothing is installed, doctor says so."""
    top = _repository(tmp_path)
    project = '{"scripts": {"test": "x"}, "devDependencies": {"mocha": "1"}}'
    _commit(top, {"package.json": project, ".gitignore": "node_modules\n"})
    found = detect(top, main_branch=None, test_command=None)
    assert found.gate == {"carry": ["node_modules"]}
    write_settings(found, force=False)
    assert _states(top)["tests"] == (
        "fail",
        "node_modules is not there: nothing that the tests import is installed",
    )


def test_without_a_command_none_is_written(tmp_path: Path) -> None:
    """Where nothing fits, the file says so in a comment, and doctor fails."""
    top = _repository(tmp_path)
    path = write_settings(detect(top, main_branch=None, test_command=None), force=False)
    assert tomllib.loads(path.read_text()) == {"main_branch": "main"}
    states = {check.name: check.state for check in asyncio.run(examine(top))}
    assert states["test command"] == "fail"


def test_outside_a_repository_is_told(tmp_path: Path) -> None:
    """There is nothing to detect without a repository."""
    with pytest.raises(GitNotRepositoryError):
        detect(tmp_path, main_branch=None, test_command=None)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_the_repository_of_somebody_else_is_told(tmp_path: Path) -> None:
    """Git's own advice is passed on; that there is no commit would be wrong."""
    top = sample_repo(tmp_path / "top")
    os.chown(top, 4321, 4321)
    os.chown(top / ".git", 4321, 4321)
    with pytest.raises(GitNotRepositoryError) as refused:
        detect(top, main_branch=None, test_command=None)
    assert "dubious ownership" in refused.value.message
    assert refused.value.hint.startswith("git config --global --add safe.directory ")


def _states(top: Path, *, run: bool = False) -> dict[str, tuple[str, str]]:
    found = asyncio.run(examine(top, run=run))
    return {check.name: (check.state, check.told) for check in found}


def _commit(top: Path, files: dict[str, str]) -> None:
    write_files(top, files)
    subprocess.run(["git", "add", "-A"], cwd=top, check=True)
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run(["git", *identity, "commit", "-qm", "more"], cwd=top, check=True)


def test_doctor_runs_the_tests_once_when_asked(tmp_path: Path) -> None:
    """Red tests of main are named, with the time; some green ones are enough to go on."""
    top = _repository(tmp_path)
    _commit(top, {"test_a.py": "def test_a(): pass\n\ndef test_b():\n    assert 0\n"})
    assert _states(top)["tests"][0] == "ok"
    state, told = _states(top, run=True)["main's run"]
    assert state == "note"
    assert "2 tests in " in told
    assert "1 red: test_a.py::test_b" in told


def test_doctor_fails_where_everything_is_red(tmp_path: Path) -> None:
    """Tests that all fail on main prove nothing about a change."""
    top = _repository(tmp_path)
    _commit(top, {"test_a.py": "def test_a():\n    assert 0\n"})
    assert _states(top, run=True)["main's run"][0] == "fail"


@pytest.mark.parametrize("kind", ["submodules", "git lfs"])
def test_what_a_checkout_lacks_is_noted(tmp_path: Path, kind: str) -> None:
    """What nobody has fetched is named, until it is there or `gate.carry` lends it to the tests."""
    top = _repository(tmp_path)
    _commit(top, {"test_a.py": "def test_a(): pass\n", "a.bin": "x", ".gitattributes": ""})
    name = "a.bin"
    if kind == "submodules":
        name, head = "lib/dep", "1" * 40
        entry = f"160000,{head},{name}"
        subprocess.run(["git", "update-index", "--add", "--cacheinfo", entry], cwd=top, check=True)
    else:
        (top / ".gitattributes").write_text("*.bin filter=lfs\n")
        (top / "a.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    state, told = _states(top)[kind]
    assert state == "note"
    assert name in told
    place = top / name
    if kind == "submodules":
        place.mkdir(parents=True)
        (place / ".git").touch()
    else:
        place.write_text("what it holds")
    assert kind not in _states(top)
    place = place / ".git" if kind == "submodules" else place
    place.unlink()
    place.write_text("version https://git-lfs") if kind == "git lfs" else None
    (top / "self-coding.toml").write_text(f'[gate]\ncarry = ["{name}"]\n')
    assert kind not in _states(top)


@pytest.mark.parametrize("how", ["first", "again", "from a sub-folder", "no command"])
def test_init_says_what_comes_next(tmp_path: Path, how: str) -> None:
    """The file that init wrote counts once it is committed, which it says with the command; where
    no command was found, to find one comes first."""
    top = _repository(tmp_path)
    files = {"a.c": ""} if how == "no command" else {"test_a.py": "def test_a(): pass\n"}
    _commit(top, files | {"sub/a.txt": ""})
    if how == "again":
        (top / "self-coding.toml").write_text("# mine\n")
    words = ["--repo", str(top / "sub" if how == "from a sub-folder" else top), "init"]
    done = CliRunner().invoke(cli, [*words, *(["--force"] if how == "again" else [])])
    assert (done.exit_code, (top / "self-coding.toml").exists()) == (0, True), done.output
    commit = "next: commit it, for policy is read from commits: git add self-coding.toml &&"
    asks = "next: say what proves a change: self-coding init --force --test-command"
    assert (commit in done.output, asks in done.output) == (
        how != "no command",
        how == "no command",
    )


@pytest.mark.parametrize("branch", ["main", "trunk", "an/odd-one"])
@pytest.mark.parametrize("files", [{}, {"a.py": ""}, {".gitignore": "*\n", "b.py": ""}])
def test_before_the_first_commit_nothing_is_set_up(
    tmp_path: Path, branch: str, files: dict[str, str]
) -> None:
    """On an unborn branch of any name, whatever lies there, init, doctor and an edit ask for a
    first commit, write no file and leave nothing that counts as a failure."""
    subprocess.run(["git", "init", "-q", "-b", branch, str(tmp_path)], check=True)
    write_files(tmp_path, files)
    for words in (["init"], ["self-edit", "x", "--with", "true"], ["begin-edit", "x"]):
        done = CliRunner().invoke(cli, ["--repo", str(tmp_path), *words])
        assert isinstance(done.exception, SelfCodingError), (words, done.output)
        assert "commit" in f"{done.exception.message} {done.exception.hint}"
        assert "first commit" in done.exception.hint, words
    assert "fail" in {check.state for check in asyncio.run(examine(tmp_path))}
    assert not (tmp_path / "self-coding.toml").exists()
    listed = CliRunner().invoke(cli, ["--repo", str(tmp_path), "attempts"])
    assert "no attempts yet" in listed.output
