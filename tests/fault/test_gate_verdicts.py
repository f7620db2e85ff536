"""The gate on real repositories: what passes, what does not, and what it says of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from gate_repo import PYTEST, Repo

from self_coding.adapters import sandbox
from self_coding.errors import ConfigError, GateError, SandboxUnavailableError

CODE = "def add(a, b):\n    return a + b\n"
TEST = "from calc import add\n\ndef test_add():\n    assert add(1, 2) == 3\n"
OLD_RED = "def test_old():\n    assert False, 'has been red for ever'\n"
FILES = {"calc.py": CODE, "tests/test_calc.py": TEST}


@pytest.fixture
def repo(tmp_path):
    return Repo(tmp_path / "repo")


def test_a_green_tree_passes_and_names_its_tests(repo):
    """A green suite passes, with every test by id, and pytest is understood."""
    report = repo.run(repo.commit(FILES))
    assert report.passed, report.output
    assert report.understood
    assert [(test.id, test.outcome) for test in report.tests] == [
        ("tests/test_calc.py::test_add", "passed")
    ]
    assert report.reason == ""


def test_a_bare_command_with_paths_works_without_any_install(repo):
    """`python -m pytest tests/ -v` runs in a repository that installs nothing."""
    report = repo.run(repo.commit(FILES), command="python -m pytest tests/ -v")
    assert report.passed, report.output


def test_the_same_tree_twice_runs_nothing(repo):
    """The second verdict of a tree comes from memory: no checkout, no process."""
    commit = repo.commit(FILES)
    gate = repo.gate()
    first = gate.run(commit, tree=repo.tree(commit))
    before = repo.checkouts
    again = gate.run(repo.commit({}), tree=repo.tree(commit))
    assert (first.passed, again.passed) == (True, True)
    assert (first.cached, again.cached) == (False, True)
    assert repo.checkouts == before
    assert again.tests == first.tests


def test_another_command_is_another_verdict(repo):
    """A kept verdict is not used for other settings."""
    commit = repo.commit(FILES)
    assert repo.run(commit).passed
    assert not repo.run(commit, command="exit 3").passed


@pytest.mark.parametrize(
    ("command", "passed"), [("true", True), ("exit 1", False), ("no-such", False)]
)
def test_other_commands_count_by_their_exit_status(repo, command, passed):
    """What is not pytest is judged by its exit status, and the report says so."""
    report = repo.run(repo.commit(FILES), command=command)
    assert (report.passed, report.understood) == (passed, False)
    assert "exit status" in report.reason


@pytest.mark.parametrize("more", ["", " -p xdist -n 2", " --tb=no"])
def test_a_failure_is_reported_in_parts(repo, more):
    """Path, line, message and calls of a failure come as values, relative to the tree."""
    deep = "def outer(n):\n    return inner(n)\n\n\ndef inner(n):\n    return 1 // n\n"
    test = (
        "import unittest\nfrom deep import outer\n\n\ndef test_deep():\n    outer(0)\n\n\n"
        "class TestCase(unittest.TestCase):\n    def test_equal(self):\n"
        "        self.assertEqual(1, 2)\n"
    )
    gone = {"test_gone.py": "import no_such\n", "test_bad.py": "x = 1\ndef (:\n"}
    commit = repo.commit({"deep.py": deep, "test_d.py": test} | gone)
    report = repo.run(commit, command=PYTEST + more)
    failures = {one.id: one.failure for one in report.tests}
    deepest = failures["test_d.py::test_deep"]
    assert (deepest.path, deepest.line) == ("deep.py", 6)
    assert deepest.message.startswith("ZeroDivisionError: ")
    assert [(one.path, one.line, one.function) for one in deepest.entries] == [
        ("test_d.py", 6, "test_deep"),
        ("deep.py", 2, "outer"),
        ("deep.py", 6, "inner"),
    ]
    method = failures["test_d.py::TestCase::test_equal"]
    assert (method.path, method.line, len(method.entries)) == ("test_d.py", 11, 1)
    assert method.message == "AssertionError: 1 != 2"
    assert (failures["test_gone.py"].path, failures["test_gone.py"].line) == ("test_gone.py", 1)
    assert failures["test_gone.py"].message == "ModuleNotFoundError: No module named 'no_such'"
    assert (failures["test_bad.py"].path, failures["test_bad.py"].line) == ("test_bad.py", 2)


def test_a_red_base_lets_a_good_change_land_and_stops_a_bad_one(repo):
    """On a red base only new failures count, by test id."""
    base = repo.commit(FILES | {"tests/test_old.py": OLD_RED})
    good = repo.commit({"calc.py": CODE + "\ndef sub(a, b):\n    return a - b\n"})
    report = repo.run(good, base)
    assert report.passed, report.reason
    assert report.known_failures == ("tests/test_old.py::test_old",)
    assert "no new failures: 1 known" in report.reason
    bad = repo.commit({"calc.py": CODE.replace("+", "-")})
    report = repo.run(bad, good)
    assert not report.passed
    assert report.new_failures == ("tests/test_calc.py::test_add",)
    assert "tests failed" in report.reason
    assert not repo.run(base).passed, "without a base red is red"


def test_a_red_base_that_stops_at_its_first_failure_hides_nothing(repo):
    """`-x` in the configuration does not keep new failures behind an old one."""
    base = repo.commit(
        FILES | {"tests/test_a_old.py": OLD_RED, "pytest.ini": "[pytest]\naddopts=-x\n"}
    )
    bad = repo.commit({"calc.py": CODE.replace("+", "-")})
    assert repo.run(bad, base).new_failures == ("tests/test_calc.py::test_add",)


def test_an_old_import_error_does_not_hide_new_failures(repo):
    """A module that cannot be imported on the base is known; the others still run."""
    base = repo.commit(FILES | {"tests/test_gone.py": "import no_such_module_here\n"})
    good = repo.commit({"README": "x"})
    report = repo.run(good, base)
    assert report.passed, report.reason
    assert report.known_failures == ("tests/test_gone.py",)
    bad = repo.commit({"calc.py": CODE.replace("+", "-")})
    assert not repo.run(bad, base).passed


def test_no_tests_is_not_green(repo):
    """A run that collects nothing proves nothing."""
    base = repo.commit(FILES)
    gone = repo.commit({"tests/test_calc.py": None})
    report = repo.run(gone, base)
    assert not report.passed
    assert "no test was collected" in report.reason


BROKEN = "from gone import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n"


@pytest.mark.parametrize(
    "test", [BROKEN, OLD_RED, "import pytest\n\n\ndef test_later():\n    pytest.skip('later')\n"]
)
def test_a_suite_of_which_no_test_passed_proves_nothing(repo, test):
    """What failed before, cannot be collected or is skipped is no proof that a change works."""
    base = repo.commit({"calc.py": CODE, "tests/test_calc.py": test})
    report = repo.run(repo.commit({"calc.py": CODE.replace("+", "-")}), base)
    assert not report.passed
    assert "no test passed, so nothing was proved" in report.reason
    assert ("make at least one test pass" in report.reason) is (test != BROKEN)


def test_a_file_that_cannot_be_collected_is_not_a_test(repo):
    """The number of tests counts outcomes of tests, not of files."""
    report = repo.run(repo.commit(FILES | {"tests/test_gone.py": BROKEN}))
    assert (len(report.tests), report.ran) == (2, 1)


def test_a_flaky_old_test_does_not_block(repo, tmp_path):
    """A test that fails and then passes, on the base as well, is flaky, and said so."""
    flaky = (
        "import os\n\ndef test_flaky():\n"
        "    odd = os.path.exists('seen')\n"
        "    os.remove('seen') if odd else open('seen', 'w').close()\n"
        "    assert odd == os.path.exists('first')\n"
    )
    base = repo.commit(FILES | {"test_flaky.py": flaky})
    change = repo.commit({"first": ""})
    report = repo.gate(retries=2).run(change, tree=repo.tree(change), base=base)
    assert report.passed, report.reason
    assert report.flaky == ("test_flaky.py::test_flaky",)


ODD = [
    "1 + 1", "a::b", "x]y[z", "- FAILED - x", "\\u6d4b", "\u6d4b\u8bd5", "tab\there", "",
    "quote'\"", "nul\0",
    "/slash", "%s", "--opt", "@file", "new\nline", "\U0001f600 e\u0301", "a" * 300,
    "a/../b.py::test",
]  # fmt: skip


def test_tests_with_odd_ids_are_run_again(repo):
    """A test is found again by its id, whatever signs and letters that has."""
    flaky = (
        f"import os, pytest\nODD = {ODD!r}\n\n@pytest.mark.parametrize('s', ODD)\n"
        "def test_flaky(s):\n    name = f'seen{ODD.index(s)}'\n    odd = os.path.exists(name)\n"
        "    os.remove(name) if odd else open(name, 'w').close()\n"
        "    assert odd == os.path.exists('first')\n"
    )
    base = repo.commit(FILES | {"tests/[id] x/test_odd.py": flaky})
    change = repo.commit({"first": ""})
    report = repo.gate(retries=2).run(change, tree=repo.tree(change), base=base)
    assert report.passed, report.reason
    assert len(report.flaky) == len(ODD)


@pytest.mark.parametrize("when", ["len(seen) == 1", "seen == [2, 3]"])
def test_what_passes_alone_is_no_excuse(repo, when):
    """A bug at random, or by a state that leaks, passes when run again: the base never fails."""
    tests = "".join(f"def test_{n}():\n    assert calc.same({n}) == {n}\n\n" for n in (2, 3))
    code = CODE + "\ndef same(n):\n    return n\n"
    leaks = f"\nseen = []\n\ndef same(n):\n    seen.append(n)\n    return -n if {when} else n\n"
    if "len" in when:  # only in the first process of all
        leaks = leaks.replace(when, "not os.path.exists('seen') and not open('seen', 'w').close()")
    base = repo.commit(FILES | {"calc.py": code, "tests/test_same.py": "import calc\n\n" + tests})
    change = repo.commit({"calc.py": "import os\n" + CODE + leaks})
    report = repo.gate(retries=2).run(change, tree=repo.tree(change), base=base)
    assert (report.passed, len(report.new_failures), report.flaky) == (False, 1, ())


def test_a_new_flaky_test_blocks(repo):
    """A test that is new with the change has no excuse to fail even once."""
    flaky = (
        "import os\n\ndef test_flaky():\n"
        "    seen = os.path.exists('seen')\n    open('seen', 'w').close()\n    assert seen\n"
    )
    base = repo.commit(FILES)
    change = repo.commit({"test_flaky.py": flaky})
    report = repo.gate(retries=2).run(change, tree=repo.tree(change), base=base)
    assert not report.passed
    assert report.new_failures == ("test_flaky.py::test_flaky",)


def test_affected_tests_say_no_first(repo):
    """With the affected tests named, a break shows before the rest has run."""
    slow = "import time\n\ndef test_slow():\n    time.sleep(20)\n"
    others = {f"tests/test_{name}.py": slow for name in ("slow", "slower")}
    base = repo.commit(FILES | others)
    bad = repo.commit({"calc.py": CODE.replace("+", "-")})
    gate = repo.gate(retries=0, baseline=False)
    report = gate.run(bad, tree=repo.tree(bad), base=base, first=["tests/test_calc.py"])
    assert not report.passed
    assert report.seconds < 15
    assert [test.id for test in report.tests] == ["tests/test_calc.py::test_add"]
    by_id = gate.run(bad, tree=repo.tree(bad), base=base, first=["tests/test_calc.py::test_add"])
    assert [test.id for test in by_id.tests] == ["tests/test_calc.py::test_add"]


@pytest.mark.parametrize(("more", "runs"), [(1, 1), (2, 2)])
def test_affected_tests_run_first_only_below_half_of_the_suite(repo, monkeypatch, more, runs):
    """Where the affected test files are half of the suite, it runs once and nothing before it."""
    others = {f"tests/test_{n}.py": "def test_fine():\n    pass\n" for n in range(more)}
    change = repo.commit(FILES | others)
    ran, run = [], sandbox.run
    monkeypatch.setattr(sandbox, "run", lambda *a, **k: ran.append(a) or run(*a, **k))
    report = repo.gate(baseline=False).run(
        change, tree=repo.tree(change), first=["tests/test_calc.py"]
    )
    assert (report.passed, len(report.tests), len(ran)) == (True, more + 1, runs)


def test_what_the_first_tests_leave_is_no_file_of_the_change(repo):
    """The runner's cache, which the affected tests write and then the whole suite, is nobody's."""
    others = {f"tests/test_{n}.py": "def test_fine():\n    pass\n" for n in range(3)}
    base = repo.commit(FILES | others)
    gate = repo.gate()
    assert gate.run(base, tree=repo.tree(base)).passed
    change = repo.commit({"calc.py": CODE + "# more\n"})
    report = gate.run(change, tree=repo.tree(change), base=base, first=["tests/test_calc.py"])
    assert (report.passed, report.findings) == (True, ()), report.reason


def test_nothing_runs_twice_while_the_base_is_unknown(repo, monkeypatch):
    """The first landing runs its suite once: without the base's failures no fast no is possible."""
    others = {f"tests/test_{n}.py": "def test_fine():\n    pass\n" for n in range(4)}
    base = repo.commit(FILES | others)
    change = repo.commit({"calc.py": CODE + "# more\n"})
    ran, run = [], sandbox.run
    monkeypatch.setattr(sandbox, "run", lambda *a, **k: ran.append(a) or run(*a, **k))
    report = repo.gate().run(
        change, tree=repo.tree(change), base=base, first=["tests/test_calc.py"]
    )
    assert report.passed
    assert len(ran) == 2, "the suite, and the base's collection"


def test_a_skip_that_appears_silently_is_refused(repo):
    """A test that ran on the base and is skipped now, with its file unchanged, is refused."""
    base = repo.commit(FILES)
    hook = (
        "import pytest\n\ndef pytest_collection_modifyitems(items):\n"
        "    for item in items:\n        item.add_marker(pytest.mark.skip)\n"
    )
    report = repo.run(repo.commit({"conftest.py": hook}), base)
    assert not report.passed
    assert {finding.rule for finding in report.findings} == {"skips-grew"}


def test_a_skip_of_a_test_that_passed_is_refused(repo):
    """A skip written into the test file is named and refused: what passed here runs here."""
    base = repo.commit(FILES | {"tests/test_more.py": "def test_more():\n    pass\n"})
    skipped = "import pytest\n\n@pytest.mark.skip\ndef test_more():\n    pass\n"
    report = repo.run(repo.commit({"tests/test_more.py": skipped}), base)
    assert not report.passed
    assert [finding.rule for finding in report.findings] == ["skips-grew"]


def test_a_census_that_shrinks_silently_is_refused(repo):
    """Tests that are no longer collected although they are still there are refused."""
    more = {"tests/test_more.py": "def test_more():\n    pass\n"}
    base = repo.commit(FILES | more)
    report = repo.run(repo.commit({"pytest.ini": "[pytest]\naddopts = -k add\n"}), base)
    assert not report.passed
    assert [finding.rule for finding in report.findings] == ["census-shrank"]


def test_a_deleted_test_is_a_finding(repo):
    """A test deleted openly is named, and left to the audit to judge."""
    base = repo.commit(FILES | {"tests/test_more.py": "def test_more():\n    pass\n"})
    report = repo.run(repo.commit({"tests/test_more.py": None}), base)
    assert report.passed
    assert [finding.rule for finding in report.findings] == ["census-shrank"]


ASKED = {
    "log --format=%s": "the subject",
    "rev-parse --show-toplevel": "{top}",
    "ls-files test_git.py": "test_git.py",
    "describe --tags --always": "v1",
    "status --porcelain": "",
    "rev-parse --is-inside-work-tree": "true",
    "cat-file -t HEAD": "commit",
    "diff --stat HEAD": "",
}


def test_tests_that_run_git_find_the_repository(repo):
    """A test that asks git about its own repository gets an answer at every level, and nothing in
    its own path is hidden or called worktrees."""
    ask = (
        "import subprocess, pytest\nfrom pathlib import Path\n\n"
        f"@pytest.mark.parametrize(('words', 'answer'), {list(ASKED.items())!r})\n"
        "def test_git(words, answer):\n"
        "    done = subprocess.run(['git', *words.split()], capture_output=True, text=True)\n"
        "    top = Path(__file__).resolve().parent\n"
        "    assert done.returncode == 0 and (top / '.git').exists()\n"
        "    told, answer = done.stdout.strip(), answer.format(top=top)\n"
        "    assert told.startswith(answer) if answer else not told\n"
        "    assert not [one for one in top.parts if one.startswith('.') or one == 'worktrees']\n"
        "\ndef test_clone(tmp_path):\n"
        "    subprocess.run(['git', 'clone', '-q', '.', str(tmp_path / 'c')], check=True)\n"
        "    subprocess.run(['git', 'init', '-q', str(tmp_path / 'd')], check=True)\n"
    )
    repo.commit(FILES | {".gitignore": "*.pyc\n.pytest_cache\n", "test_git.py": ask})
    repo.git("commit", "-q", "--amend", "-m", "the subject")
    repo.git("tag", "v1.0")
    commit = repo.git("rev-parse", "HEAD")
    for level in ("bwrap", "limits"):
        report = repo.run(commit, sandbox=level)
        assert report.passed, (level, report.output)


def test_what_is_carried_is_there_and_cannot_be_written(repo):
    """An ignored file named in `carry` is seen by the tests, read-only."""
    (repo.path / "data").mkdir()
    (repo.path / "data" / "big.txt").write_text("from the user's tree")
    read = (
        "def test_data():\n    assert open('data/big.txt').read().startswith('from')\n"
        "    try:\n        open('data/big.txt', 'w').write('changed')\n"
        "    except OSError:\n        pass\n"
    )
    commit = repo.commit({".gitignore": "data/\n", "test_data.py": read})
    for level in ("bwrap", "landlock"):
        report = repo.run(commit, carry=("data",), sandbox=level)
        assert report.passed, (level, report.output)
        assert (repo.path / "data" / "big.txt").read_text() == "from the user's tree"


def test_setup_runs_once_per_dependency_change(repo):
    """What the setup command made is kept and bound back until a dependency file changes."""
    use = "import made.thing\n\ndef test_it():\n    assert made.thing.n\n"
    setup = "mkdir made && echo n=1 > made/thing.py && echo ran >> made/count && cat pyproject.toml"
    commit = repo.commit({"pyproject.toml": "", "test_made.py": use, ".gitignore": "made/\n"})
    gate = repo.gate(setup_command=setup)
    report = gate.run(commit, tree=repo.tree(commit))
    assert report.passed, report.output
    second = repo.commit({"other.py": ""})
    assert gate.run(second, tree=repo.tree(second)).passed
    assert len(list((gate.memory.folder / "setup").iterdir())) == 1
    third = repo.commit({"pyproject.toml": "[project]\n"})
    assert gate.run(third, tree=repo.tree(third)).passed
    assert len(list((gate.memory.folder / "setup").iterdir())) == 2


def test_an_environment_that_setup_made_runs_the_tests(repo):
    """A virtual environment made by the setup command is the `python` of the test command."""
    setup = "python -m venv --without-pip --system-site-packages .venv"
    commit = repo.commit({".gitignore": ".venv\n"})
    command = "python -c 'import sys; sys.exit(not sys.prefix.endswith(\".venv\"))'"
    for level in ("bwrap", "limits"):
        report = repo.run(commit, command=command, setup_command=setup, sandbox=level)
        assert report.passed, (level, report)


def test_a_failing_setup_is_no_verdict(repo):
    """When the setup command fails the tests could not run, which is an error, not a red."""
    with pytest.raises(GateError, match="setup command failed"):
        repo.run(repo.commit(FILES), setup_command="exit 7")


def test_a_path_outside_is_not_carried(repo):
    """A carried path cannot lead out of the repository."""
    for name in ("../x", "/etc"):
        with pytest.raises(ConfigError):
            repo.gate(carry=(name,))


def test_a_level_that_is_not_there_is_refused(repo):
    """With less isolation than required nothing runs."""
    with pytest.raises(SandboxUnavailableError):
        repo.gate(sandbox="limits", require_sandbox="bwrap").level()
    with pytest.raises(SandboxUnavailableError):
        repo.gate(require_sandbox="a cage").level()


def test_a_daemon_that_ends_as_tests_begin_ends_no_run(repo, monkeypatch):
    """A socket that is gone when the sandbox would cover it costs a second start, no verdict."""
    if sandbox.bubblewrap() is None:
        pytest.skip("no bubblewrap works here")
    left = [Path("/srv/gone"), Path("/srv/gone")]
    monkeypatch.setattr(sandbox, "_socket_places", lambda spec: [left.pop()][: len(left)])
    commit = repo.commit(FILES)
    repo.gate().level()  # its own trial of the sandbox
    left[:] = [Path("/srv/gone")] * 2
    assert repo.run(commit, sandbox="bwrap").passed
    left[:] = [Path("/srv/gone")] * 3
    with pytest.raises(GateError, match="could not be set up"):
        repo.gate(command=PYTEST + " -x", sandbox="bwrap").run(commit, tree=repo.tree(commit))


@pytest.mark.parametrize("level", ["bwrap", "landlock"])
def test_only_allowed_variables_are_handed_on(repo, monkeypatch, level):
    """A variable of ours reaches the tests only where the settings name it."""
    monkeypatch.setenv("MY_TOKEN", "secret")
    commit = repo.commit(FILES)
    assert repo.run(commit, command='test -z "$MY_TOKEN"', sandbox=level).passed
    seen = 'test "$MY_TOKEN" = secret'
    assert repo.run(commit, command=seen, sandbox=level, environment=("MY_TOKEN",)).passed


def test_the_users_tree_is_untouched(repo):
    """A run leaves no file, no worktree entry and no change in the user's tree."""
    write = "def test_write():\n    open('made-by-test', 'w').close()\n"
    report = repo.run(repo.commit(FILES | {"test_write.py": write}))
    assert report.passed
    assert repo.git("status", "--porcelain") == ""
    assert not (repo.path / "made-by-test").exists()


def test_xdist_is_understood(repo):
    """Under pytest-xdist the census comes from the controller, complete."""
    command = PYTEST + " -p xdist -n 2"
    report = repo.run(
        repo.commit(FILES | {"test_b.py": "def test_b():\n    assert 0\n"}), command=command
    )
    assert report.understood
    assert {test.id: test.outcome for test in report.tests} == {
        "tests/test_calc.py::test_add": "passed",
        "test_b.py::test_b": "failed",
    }
    assert not report.passed


@pytest.mark.parametrize("level", ["bwrap", "landlock"])
def test_a_readable_folder_brings_a_tool_in(repo, tmp_path, monkeypatch, level):
    """A tool below a hidden folder is explained, and runs once its folder is readable."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "tool").write_text("#!/bin/sh\ntouch made && ! (echo x >> $0) 2>/dev/null\n")
    (tools / "tool").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    base, commit = repo.commit(FILES), repo.commit({"calc.py": CODE + "\n"})
    hidden = repo.run(commit, base, command="tool", sandbox=level)
    assert not hidden.passed
    assert hidden.environment
    assert hidden.reason.startswith("main fails this command itself (exit status 12")
    assert f"`tool` was not found: it is in {tools}" in hidden.reason
    again = repo.run(commit, base, command="tool", sandbox=level)
    assert not again.cached  # it may have been installed since
    shown = repo.run(commit, base, command="tool", sandbox=level, readable=(str(tools),))
    assert shown.passed, shown.output


def test_a_red_main_is_named(repo):
    """A command that fails on main too says so for every change, and is asked again: its bare exit
    status may be the machine's."""
    base, first = repo.commit(FILES), repo.commit({"calc.py": CODE + "\n"})
    red = repo.run(first, base, command="exit 3")
    assert (red.passed, red.environment) == (False, True)
    assert red.reason.startswith("main fails this command itself (exit status 3)")
    second = repo.commit({"calc.py": CODE + "\n\n"})
    assert repo.run(second, base, command="exit 3").environment
    mine = repo.run(second, base, command="test $(wc -l < calc.py) -lt 4")
    assert (mine.passed, mine.environment, mine.reason) == (False, False, "exit status 1")


def test_what_runs_beside_green_tests_and_is_red_on_main_is_named(repo):
    """A linter, an audit or an upload that fails on main too is no fault of the change; what only
    the change breaks is."""
    command = "python -m pytest -q && grep -q fine calc.py"
    base, commit = repo.commit(FILES), repo.commit({"calc.py": CODE + "\n"})
    red = repo.run(commit, base, command=command)
    assert (red.passed, red.environment) == (False, True)
    assert red.reason.startswith("main fails this command itself (exit status 1 although no test")
    fine = repo.commit({"calc.py": CODE + "# fine\n"})
    mine = repo.run(base, fine, command=command)
    assert (mine.passed, mine.environment) == (False, False)
    assert mine.reason == "exit status 1 although no test failed"


ORDINARY = """
import getpass, os, pty, subprocess

def test_a_pseudo_terminal_opens():
    first, second = pty.openpty()
    os.write(second, b"x")
    assert os.read(first, 1) == b"x"
    assert os.ttyname(second)

def test_a_commit_has_an_author(tmp_path):
    def git(*args):
        return subprocess.check_output(["git", *args], cwd=tmp_path, text=True)
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "x")
    assert git("log", "--format=%an").strip() == "self-coding"
    git("config", "user.name", "somebody")  # what a test sets comes over it
    git("config", "--global", "user.email", "other@example.org")
    git("commit", "-q", "--allow-empty", "-m", "y")
    assert git("log", "-1", "--format=%an %ae").strip() == "somebody other@example.org"

def test_there_is_a_user_and_a_shell():
    assert getpass.getuser() == os.environ["USER"] == os.environ["LOGNAME"]
    assert os.access(os.environ["SHELL"], os.X_OK)
    assert os.environ["TERM"] == "dumb"
"""


@pytest.mark.parametrize("level", ["bwrap", "landlock", "limits"])
def test_ordinary_programs_find_what_they_need(repo, monkeypatch, level):
    """A pseudo-terminal, a user, a shell and a git identity are there at every level."""
    for name in ("USER", "LOGNAME", "SHELL", "EMAIL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    report = repo.run(repo.commit({"tests/test_o.py": ORDINARY}), sandbox=level)
    assert report.passed, report.output


UNSTABLE = """
import os, pytest
TOKENS = [os.urandom(8).hex() for _ in range(2)]

@pytest.mark.parametrize("token", TOKENS)
def test_token(token):
    assert TOKENS.index(token) == {}
"""


def test_ids_that_no_run_repeats_are_no_new_failures(repo):
    """Where each collection makes other ids, old failures stay known, and one more is new."""
    base = repo.commit({"calc.py": CODE, "tests/test_u.py": UNSTABLE.format("0"), **FILES})
    same = repo.commit({"calc.py": CODE + "\n"})
    report = repo.run(same, base)
    assert (report.passed, len(report.known_failures)) == (True, 1), report.reason
    assert repo.run(same, base).cached
    worse = repo.commit({"tests/test_u.py": UNSTABLE.format("2")})
    assert len(repo.run(worse, base).new_failures) == 2
    other = UNSTABLE.format("0").replace("os.urandom(8).hex()", "f'new{_}'")
    assert not repo.run(repo.commit({"tests/test_u.py": other}), base).passed
