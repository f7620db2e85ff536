"""Whole self-edits on a real repository: git, SQLite, the gate, the index, the journal."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from self_coding import SelfEditTool
from self_coding.app import App, open_app
from self_coding.errors import (
    EditError,
    GitNotRepositoryError,
    GitOperationError,
    SelfCodingError,
)
from self_coding.git_safety import worktrees
from self_coding.self_edit.editors import CallableEditor, CommandEditor, PatchEditor
from self_coding.testing import ScriptedEditor, ScriptedModel, git, sample_repo, write_files

TESTS = f"{sys.executable} -m pytest -q -p no:cacheprovider tests"
CORE = "src/calc/core.py"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return sample_repo(tmp_path / "repo")


def layer(repo: Path, **settings: object) -> App:
    return open_app(repo, environ={}, test_command=TESTS, **settings)


def replaced(repo: Path, old: str, new: str, file: str = CORE) -> dict[str, str]:
    text = git(repo, "show", f"main:{file}") + "\n"
    assert old in text
    return {file: text.replace(old, new)}


def state(repo: Path) -> tuple[str, ...]:
    """What a user would notice: files, index, HEAD, branches but main, stash, config."""
    return (
        git(repo, "status", "--porcelain", "--untracked-files=all"),
        git(repo, "symbolic-ref", "HEAD"),
        git(repo, "stash", "list"),
        (repo / ".git/config").read_text(),
    )


async def test_a_good_change_lands_and_the_checkout_follows(repo: Path) -> None:
    """A patch that keeps the tests green is merged to main; a clean checkout on main follows."""
    before = state(repo)
    good = replaced(repo, '"""The sum."""', '"""The sum of a and b."""')
    write_files(repo, good)
    patch = git(repo, "diff") + "\n"
    git(repo, "checkout", "--quiet", "--", ".")
    room = layer(repo)
    result = await room.edit.self_edit("Say what add adds", editor=PatchEditor(patch))
    assert result.success, result
    assert git(repo, "rev-parse", "main") == result.commit_hash
    assert len(git(repo, "rev-list", "--parents", "-n1", "main").split()) == 3, "a merge commit"
    assert "The sum of a and b." in (repo / CORE).read_text()
    assert state(repo) == before
    assert result.checkout == "followed"
    stored = await room.journal.get_by_id(result.attempt_id or 0)
    assert stored is not None
    assert (stored.outcome.value, stored.files_modified) == ("success", [CORE])
    assert result.branch.startswith("timmy/self-edit/")
    assert git(repo, "branch", "--format=%(refname:short)") == "main"  # its own has gone
    kept = git(repo, "for-each-ref", "--contains", result.commit_hash + "^2", "refs/self-coding")
    assert kept, "its commits stay"


async def test_a_breaking_change_is_refused_explained_and_remembered(repo: Path) -> None:
    """A change that breaks a distant module is refused with the test, a lesson and a warning."""
    room = layer(repo)
    bad = replaced(repo, "return a + b", "return a - b")
    main = git(repo, "rev-parse", "main")
    result = await room.edit.self_edit("Make add faster", editor=ScriptedEditor(bad))
    assert (result.success, result.by) == (False, "gate")
    assert any("test_line" in test for test in result.failing_tests)
    assert git(repo, "rev-parse", "main") == main
    assert state(repo)[0] == ""
    assert result.reflection
    stored = await room.journal.get_by_id(result.attempt_id or 0)
    assert stored is not None
    assert "test_add" in stored.test_results
    assert "-    return a + b" in stored.diff
    again = await room.edit.context("Make add faster")
    assert again.warning is not None
    assert again.warning.attempt == result.attempt_id
    second = await room.edit.self_edit("Make add faster", editor=ScriptedEditor(bad))
    assert f"attempt {result.attempt_id}" in second.warning


async def test_the_users_work_is_not_touched(repo: Path) -> None:
    """While and after a self-edit the user's files, index and branch are as they were."""
    git(repo, "checkout", "--quiet", "-b", "mine")
    (repo / CORE).write_text("# half an idea\n")
    (repo / "notes.txt").write_text("mine")
    git(repo, "add", "notes.txt")
    before = state(repo)
    seen: list[tuple[str, ...]] = []

    def edit(path: Path) -> None:
        assert path != repo
        seen.append(state(repo))
        write_files(path, {"src/calc/more.py": "X = 1\n"})

    result = await layer(repo).edit.self_edit("Add X", editor=CallableEditor(edit))
    assert result.success, result
    assert seen == [before]
    assert state(repo) == before
    assert (repo / CORE).read_text() == "# half an idea\n"
    assert git(repo, "show", "main:src/calc/more.py") == "X = 1"


async def test_the_second_try_knows_the_first(repo: Path) -> None:
    """A retry starts from main, is shown what failed, and lands."""
    bad = replaced(repo, "return a + b", "return a - b")
    good = replaced(repo, "return a + b", "return b + a")
    editor = ScriptedEditor(bad, good)
    result = await layer(repo).edit.self_edit("Turn add around", editor=editor, tries=3)
    assert result.success, result
    assert len(result.attempts) == 2
    feedback = editor.assignments[1].context.feedback
    assert any("test_add" in test for test in feedback[0].failing_tests)
    assert "test_add" in editor.assignments[1].context.text
    assert editor.assignments[1].worktree.base == editor.assignments[0].worktree.base


async def test_side_by_side_the_smallest_lands(repo: Path) -> None:
    """Two attempts run in worktrees of their own; the smaller green one is on main."""
    small = replaced(repo, "return a + b", "return b + a")
    large = {**small, "src/calc/extra.py": "A = 1\nB = 2\n"}
    editor = ScriptedEditor(large, small)
    result = await layer(repo).edit.self_edit("Turn add", editor=editor, best_of=2)
    assert result.success, result
    assert result.files_modified == [CORE]
    paths = {one.worktree.path for one in editor.assignments}
    assert len(paths) == 2
    assert "extra" not in git(repo, "ls-tree", "-r", "--name-only", "main")


async def test_weakened_tests_are_refused(repo: Path) -> None:
    """An edit that makes its tests say less is refused before it is tested."""
    cheat = {
        **replaced(repo, "return a + b", "return a - b"),
        **replaced(repo, "assert add(2, 3) == 5", "assert True", "tests/test_core.py"),
    }
    result = await layer(repo).edit.self_edit("Make add faster", editor=ScriptedEditor(cheat))
    assert (result.success, result.by) == (False, "policy")
    assert result.findings


async def test_the_policy_is_the_bases(repo: Path) -> None:
    """A change that loosens the policy is judged by the policy that stands on main."""
    settings = '[tool.self_coding]\npolicy = { protected = ["src/calc/report.py"] }\n'
    write_files(repo, {"pyproject.toml": settings})
    git(repo, "add", "pyproject.toml")
    git(repo, "commit", "--quiet", "-m", "protect report")
    loosened = {
        "pyproject.toml": "[tool.self_coding]\npolicy = { protected = [] }\n",
        "src/calc/report.py": "LINE = 1\n",
    }
    result = await layer(repo).edit.self_edit("Rewrite report", editor=ScriptedEditor(loosened))
    assert result.by == "policy"
    assert "src/calc/report.py" in {finding.path for finding in result.findings}


async def test_two_self_edits_at_once_both_land_green(repo: Path) -> None:
    """Whoever lands second is merged with the first and tested again."""
    one = ScriptedEditor({"src/calc/one.py": "ONE = 1\n"})
    two = ScriptedEditor({"src/calc/two.py": "TWO = 2\n"})
    first, second = await asyncio.gather(
        layer(repo).edit.self_edit("Add one", editor=one),
        layer(repo).edit.self_edit("Add two", editor=two),
    )
    assert first.success, first
    assert second.success, second
    names = git(repo, "ls-tree", "-r", "--name-only", "main")
    assert "src/calc/one.py" in names
    assert "src/calc/two.py" in names


async def test_a_conflict_is_an_outcome(repo: Path) -> None:
    """An edit that no longer merges is refused with its path, and nothing is left mid-merge."""

    def edit(path: Path) -> None:
        write_files(path, replaced(repo, "return a + b", "return b + a"))
        write_files(repo, replaced(repo, "return a + b", "return sum((a, b))"))
        git(repo, "commit", "--quiet", "--all", "-m", "meanwhile")

    result = await layer(repo).edit.self_edit("Turn add", editor=CallableEditor(edit))
    assert (result.by, CORE in result.message) == ("conflict", True)
    assert not (repo / ".git/MERGE_HEAD").exists()
    assert state(repo)[0] == ""


async def test_a_caller_edits_with_its_own_tools(repo: Path) -> None:
    """begin_edit hands out a worktree, submit_edit judges, tests and lands what stands in it."""
    room = layer(repo)
    begun = await room.edit.begin_edit("Add a constant")
    assert begun.context.text
    write_files(begun.worktree.path, {"src/calc/two.py": "TWO = 2\n"})
    result = await layer(repo).edit.submit_edit(begun.attempt, summary="one file")
    assert result.success, result
    assert git(repo, "show", "main:src/calc/two.py") == "TWO = 2"


async def test_a_held_attempt_lands_later(repo: Path) -> None:
    """An attempt held for approval lands when somebody says so, main moved or not."""
    room = layer(repo)
    editor = ScriptedEditor({"src/calc/two.py": "TWO = 2\n"})
    held = await room.edit.self_edit("Add two", editor=editor, hold=True)
    assert held.waiting == "approval"
    write_files(repo, {"README.md": "hello\n"})
    git(repo, "add", "README.md")
    git(repo, "commit", "--quiet", "-m", "meanwhile")
    result = await layer(repo).edit.land_edit(held.attempt_id or 0)
    assert result.success, result
    assert "README.md" in git(repo, "ls-tree", "-r", "--name-only", "main")


async def test_an_edit_of_the_same_size_at_once_is_seen(repo: Path) -> None:
    """An edit that keeps the size, in the second of the checkout, is not taken for none."""
    room = layer(repo)
    for attempt in range(3):
        time.sleep(1.0 - time.time() % 1.0)
        worktree = await room.git.isolate(f"racy-{attempt}")
        write_files(worktree.path, replaced(repo, "return a + b", "return b + a"))
        time.sleep(1.0 - time.time() % 1.0)
        assert not (await room.git.record(worktree, "turn it around")).is_empty
        await room.git.release(worktree)


async def test_an_agent_that_commits_by_itself(repo: Path) -> None:
    """An agent that commits in its worktree has edited as well as one that does not."""
    line = (
        "echo 'TWO = 2' > src/calc/two.py && git add -A && "
        "git -c user.name=a -c user.email=a@example.invalid commit -qm mine && "
        "echo 'THREE = 3' > src/calc/three.py"
    )
    editor = CommandEditor(line, shell=True, name="agent")
    result = await layer(repo).edit.self_edit("Add numbers", editor=editor)
    assert result.success, result
    assert result.files_modified == ["src/calc/three.py", "src/calc/two.py"]


RED = (
    "echo 'def add(a, b): return 0' > src/calc/core.py && "
    "git -c user.name=a -c user.email=a@b.c commit -qam red && {move} && "
    "git reset -q --hard HEAD~1 && echo 'TWO = 2' > src/calc/two.py"
)


@pytest.mark.parametrize("ending", ["", " && false", " && rm src/calc/two.py"])
async def test_an_agent_that_moves_main_by_itself(repo: Path, ending: str) -> None:
    """An edit that moved main to what it made is refused, and the refusal says the way back."""
    main, before = git(repo, "rev-parse", "main"), state(repo)
    line = RED.format(move="git update-ref refs/heads/main HEAD") + ending
    editor = CommandEditor(line, shell=True, name="agent")
    room = layer(repo)
    result = await room.edit.self_edit("Add numbers", editor=editor, tries=3)
    assert (result.success, result.by, len(result.attempts)) == (False, "editor", 1), result
    assert "main was moved past the gate" in result.message
    assert result.hint.startswith("put it back: git update-ref refs/heads/main ")
    stored = await room.journal.get_by_id(result.attempt_id or 0)
    assert stored is not None
    assert "main was moved past the gate" in stored.failure_analysis
    git(repo, *result.hint.split()[4:])
    assert (git(repo, "rev-parse", "main"), state(repo)) == (main, before)


async def test_main_that_was_moved_by_an_agent_and_then_by_a_person(repo: Path) -> None:
    """A way back that would take a person's commit along is not offered."""
    git(repo, "checkout", "-q", "--detach")
    onto = "git update-ref refs/heads/main HEAD"
    theirs = "git -c user.name=p -c user.email=p@b.c commit-tree -p main -m p 'main^{tree}'"
    line = RED.format(move=f"{onto} && git update-ref refs/heads/main $({theirs})")
    editor = CommandEditor(line, shell=True, name="agent")
    result = await layer(repo).edit.self_edit("Add numbers", editor=editor)
    assert (result.success, result.by) == (False, "editor"), result
    assert "git revert" in result.hint


async def test_a_person_moves_main_and_the_agent_follows(repo: Path) -> None:
    """Commits of a person that come meanwhile stop nothing, though the agent takes them over."""
    line = (
        f"cd {repo} && echo hi > README.md && git add -A && git -c user.name=p -c"
        " user.email=p@b.c commit -qm p && cd - && git merge -q --ff-only main &&"
        " git checkout -q --detach main && git checkout -q - && echo 'TWO = 2' > src/calc/two.py"
    )
    editor = CommandEditor(line, shell=True, name="agent")
    result = await layer(repo).edit.self_edit("Add numbers", editor=editor)
    assert result.success, result
    assert "README.md" in git(repo, "ls-tree", "-r", "--name-only", "main")


async def test_a_caller_that_moves_main_by_itself(repo: Path) -> None:
    """A caller's edit that moved main is refused at its submission."""
    room = layer(repo)
    begun = await room.edit.begin_edit("Add numbers")
    write_files(begun.worktree.path, {"src/calc/two.py": "TWO = 2\n"})
    git(begun.worktree.path, "add", "-A")
    git(begun.worktree.path, "commit", "-qm", "mine")
    git(begun.worktree.path, "update-ref", "refs/heads/main", "HEAD")
    result = await layer(repo).edit.submit_edit(begun.attempt)
    assert (result.success, result.by) == (False, "editor")
    assert "main was moved past the gate" in result.message


def with_ignored(repo: Path) -> None:
    write_files(repo, {".gitignore": "data/\n__pycache__/\n.venv/\n"})
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "ignore")


async def test_what_an_edit_leaves_out_is_said(repo: Path) -> None:
    """Ignored files and nested repositories are no part of an edit, and its result names them."""
    with_ignored(repo)
    line = (
        "echo 'TWO = 2' > src/calc/two.py && mkdir -p data src/calc/__pycache__ .venv .tool &&"
        " touch data/m.bin src/calc/__pycache__/x.pyc .venv/x && echo '*' > .tool/.gitignore &&"
        " git init -q inner && touch inner/x"
    )
    editor = CommandEditor(line, shell=True, name="agent")
    result = await layer(repo).edit.self_edit("Add two", editor=editor)
    assert result.success, result
    left = "left out: .tool/ (ignored), data/ (ignored), inner/ (a repository of its own)"
    assert left in result.message


@pytest.mark.parametrize(("breaks", "by"), [(False, "empty"), (True, "gate")])
async def test_a_refused_edit_says_what_it_left_out(repo: Path, breaks: bool, by: str) -> None:
    """An edit of ignored files alone is told from none, and a red one names them to the next."""
    with_ignored(repo)
    bad = replaced(repo, "return a + b", "return a - b") if breaks else {}
    editor = ScriptedEditor({"data/m.bin": "x", **bad})
    result = await layer(repo).edit.self_edit("Add data", editor=editor)
    assert result.by == by
    assert "left out: data/ (ignored)" in result.message


PART = (
    "--- /dev/null\n+++ b/{}\n@@ -0,0 +1 @@\n+X = 1\n"
    "--- /dev/null\n+++ b/src/calc/two.py\n@@ -0,0 +1 @@\n+TWO = 2\n"
)


@pytest.mark.parametrize("path", ["data/m.py", "src/calc/__pycache__/m.py"])
async def test_a_patch_of_ignored_files_is_whole_or_nothing(repo: Path, path: str) -> None:
    """A patch that adds an ignored file is refused with its path, and does not land in part."""
    with_ignored(repo)
    main = git(repo, "rev-parse", "main")
    result = await layer(repo).edit.self_edit("Add", editor=PatchEditor(PART.format(path)))
    assert (result.success, result.by) == (False, "editor")
    assert f"left out: {path.rsplit('/', 1)[0]}/ (ignored)" in result.message
    assert ".gitignore" in result.hint
    assert git(repo, "rev-parse", "main") == main


async def test_a_patch_of_an_ignored_file_that_is_tracked_lands(repo: Path) -> None:
    """What git tracks is part of a change, though it is ignored."""
    write_files(repo, {"data/m.py": "X = 0\n"})
    with_ignored(repo)
    git(repo, "add", "-f", "data/m.py")
    git(repo, "commit", "-qm", "track it")
    patch = "--- a/data/m.py\n+++ b/data/m.py\n@@ -1 +1 @@\n-X = 0\n+X = 1\n"
    result = await layer(repo).edit.self_edit("Change", editor=PatchEditor(patch))
    assert result.success, result
    assert "left out" not in result.message


async def test_a_patch_that_does_not_fit_is_an_outcome(repo: Path) -> None:
    """A patch that does not apply is refused with a hint, and the repository is as it was."""
    patch = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"
    before = git(repo, "for-each-ref", "refs/heads/main"), state(repo)
    result = await layer(repo).edit.self_edit("Change x", editor=PatchEditor(patch))
    assert (result.success, result.by) == (False, "editor")
    assert "does not apply" in result.message
    assert result.hint
    assert (git(repo, "for-each-ref", "refs/heads/main"), state(repo)) == before


async def test_cancelling_kills_and_records(repo: Path) -> None:
    """Called off while an agent works, it is killed, and the attempt ends as cancelled."""
    room = layer(repo)
    editor = CommandEditor("touch begun; sleep 34.25", shell=True)
    task = asyncio.create_task(room.edit.self_edit("Wait", editor=editor, tries=3))
    worktrees = repo / ".self-coding/worktrees"
    while not list(worktrees.glob("*/begun")) and not task.done():
        await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await room.journal.unfinished() == []
    assert await room.journal.stage(1) == "cancelled"
    assert state(repo)[0] == ""


@pytest.mark.parametrize("called_off", [True, False])
async def test_a_worktree_that_is_made_in_vain_is_given_back(
    repo: Path, monkeypatch: pytest.MonkeyPatch, called_off: bool
) -> None:
    """Called off while its worktree is made, or failing in that, an attempt keeps none."""
    room = layer(repo)
    enter, made = worktrees.enter_branch, threading.Event()

    def slow(*arguments: object) -> None:
        made.set()
        time.sleep(0.4)
        if not called_off:
            raise GitOperationError("the disk is full")
        enter(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(worktrees, "enter_branch", slow)
    editor = ScriptedEditor([{"src/calc/more.py": "M = 1\n"}])
    task = asyncio.create_task(room.edit.self_edit("Wait", editor=editor))
    await asyncio.to_thread(made.wait)
    if called_off:
        task.cancel()
    with pytest.raises(asyncio.CancelledError if called_off else GitOperationError):
        await task
    assert await room.journal.unfinished() == []
    with closing(sqlite3.connect(repo / ".git/self_coding/operations.db")) as log:
        assert log.execute("SELECT name FROM worktrees WHERE attempt IS NOT NULL").fetchall() == []


async def test_no_repository_and_no_branch(tmp_path: Path, repo: Path) -> None:
    """Outside a repository, and without the main branch, the refusal is typed and hints."""
    with pytest.raises(GitNotRepositoryError):
        open_app(tmp_path, environ={})
    room = layer(repo, main_branch="trunk")
    with pytest.raises(SelfCodingError) as caught:
        await room.edit.self_edit("Add", editor=ScriptedEditor({"a.py": "A = 1\n"}))
    assert "trunk" in str(caught.value)
    assert await room.journal.unfinished() == []


async def test_an_unknown_command_begins_nothing(repo: Path) -> None:
    """A command that is not installed is refused before an attempt begins."""
    with pytest.raises(EditError, match="no command"):
        CommandEditor("no-such-agent {task}")
    assert await layer(repo).journal.attempts() == []


async def test_the_founding_tool_edits_with_a_model(repo: Path) -> None:
    """SelfEditTool takes any chat adapter, and its result has the founding seven fields."""
    (repo / "self-coding.toml").write_text(f"test_command = {json.dumps(TESTS)}\n")
    plan = {"approach": "say more", "files": [CORE]}
    replacement = {
        "path": CORE,
        "search": '    """The sum."""',
        "replace": '    """The sum of a and b."""',
    }
    edits = {"summary": "a longer docstring", "edits": [replacement]}
    model = ScriptedModel([json.dumps(plan), json.dumps(edits), "What went well: all"])
    tool = SelfEditTool(repo_path=repo, llm_adapter=model)
    result = await tool.execute("Say what add adds", context={"hint": "the docstring"})
    assert result.success, result
    assert result.files_modified == [CORE]
    assert (result.attempt_id, result.commit_hash) == (1, git(repo, "rev-parse", "main"))
    assert '+    """The sum of a and b."""' in result.diff
    assert result.test_results
    assert "hint: the docstring" in model.messages[0]


@pytest.mark.parametrize("task", [None, 3, "", "  "])
async def test_the_founding_tool_wants_a_task(repo: Path, task: str) -> None:
    """Whatever is no task is an error with a hint, context or not."""
    (repo / "self-coding.toml").write_text(f"test_command = {json.dumps(TESTS)}\n")
    tool = SelfEditTool(repo_path=repo, llm_adapter=ScriptedModel([]))
    for context in (None, {"hint": "the docstring"}):
        with pytest.raises(EditError, match="the task is empty"):
            await tool.execute(task, context)


async def test_a_machine_that_cannot_run_the_tests_blames_nobody(repo: Path) -> None:
    """A missing tool and a red main end as `environment`: no failure, lesson or warning of it."""
    edit = ScriptedEditor(replaced(repo, '"""The sum."""', '"""The sum of a and b."""'))
    for command in ("no-such-tool --run", "exit 3"):
        app = open_app(repo, environ={}, test_command=command)
        result = await app.edit.self_edit("Describe add", editor=edit)
        assert (result.success, result.stage) == (False, "environment"), command
        assert await app.journal.dead_end("Describe add") is None
        assert await app.journal.lessons(files=[CORE]) == []
        assert (await app.journal.get_success_rate())["total"] == 0
        assert await app.journal.get_recent_failures() == []
    assert (await layer(repo).edit.self_edit("Describe add", editor=edit)).success


FUNCTIONS = "import time\n\ndef test_red():\n    assert 0\n\ndef test_slow():\n    time.sleep(2)\n"
CASES = (
    "import time, unittest\n\nclass T(unittest.TestCase):\n    def test_red(self):\n"
    "        self.fail()\n\n    def test_slow(self):\n        time.sleep(2)\n"
)
NUMBERED = r"\d+ of \d+ tests, 1 new failure, "


@pytest.mark.parametrize(
    ("command", "test", "pattern"),
    [
        ("python -m pytest -q", FUNCTIONS, NUMBERED),
        ("python -m unittest discover -s tests", CASES, NUMBERED),
        ("sleep 1", FUNCTIONS, ""),
        ("make -s -f /dev/null --eval 'all: ; @sleep 1'", FUNCTIONS, ""),
    ],
    ids=["pytest", "unittest", "a command", "make"],
)
async def test_while_tests_run_their_number_is_told(
    repo: Path, monkeypatch, command: str, test: str, pattern: str
) -> None:
    """How many of how many have ended, how many failed anew, the time and its limit; of a command
    that does not count, the time and its limit."""
    monkeypatch.setattr("self_coding.self_edit.runner.BEAT", 0.2)
    editor = ScriptedEditor({"tests/test_a_slow.py": test})
    told: list[str] = []
    await open_app(repo, environ={}, test_command=command).edit.self_edit(
        "Wait",
        editor=editor,
        on_progress=lambda step: told.append(step.message),
    )
    pattern += r"\d+ s of at most 600 a run"
    assert any(re.fullmatch(pattern, line) for line in told), told
