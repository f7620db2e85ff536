"""Hook mode with real processes: what an agent or git calls, and what it is answered."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import forked
from self_coding.app import App, open_app
from self_coding.hooks.install import install
from self_coding.hooks.main_guard import note_bypass
from self_coding.testing import ScriptedEditor, sample_repo

CORE = "src/calc/core.py"
SUMMED = "    return a + b\n"
WRONG = "    difference = a - b\n    return difference * negative_scale\n"
EDITED = {"src/calc/extra.py": "def triple(n):\n    return 3 * n\n"}


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which attempt 1 landed and attempt 2 was refused by the gate."""
    top = sample_repo(tmp_path_factory.mktemp("past") / "repository")
    app = open_app(top)
    bad = (top / CORE).read_text().replace(SUMMED, WRONG)
    landed = asyncio.run(app.edit.self_edit("Add triple", editor=ScriptedEditor(EDITED)))
    editor = ScriptedEditor({CORE: bad})
    refused = asyncio.run(app.edit.self_edit("Simplify add", editor=editor))
    assert (landed.success, refused.success) == (True, False), landed
    asyncio.run(app.journal.close())
    return top


@pytest.fixture
def repository(past: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(past, tmp_path / "repository", symlinks=True))


@pytest.fixture
def app(repository: Path) -> Iterator[App]:
    opened = open_app(repository)
    yield opened
    asyncio.run(opened.journal.close())


def _hook(
    repository: Path, event: str, given: str | bytes, *, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Call the hook as Claude Code does: the installed command line, JSON on standard input."""
    install(repository, ("claude",))
    settings = json.loads((repository / ".claude" / "settings.local.json").read_text())
    name = {"pre-edit": "PreToolUse", "post-edit": "PostToolUse"}[event]
    command = settings["hooks"][name][0]["hooks"][0]["command"]
    done = subprocess.run(
        ["sh", "-c", command], cwd=cwd or repository, timeout=150, capture_output=True,
        input=given if isinstance(given, bytes) else given.encode(),
        env={**os.environ, "CLAUDE_PROJECT_DIR": str(repository)},
    )  # fmt: skip
    text = (done.stdout.decode(), done.stderr.decode())
    return subprocess.CompletedProcess(done.args, done.returncode, *text)


def _asked(tool: str, **tool_input: object) -> str:
    """What Claude Code sends, with the fields that its documentation names."""
    return json.dumps(
        {
            "session_id": "abc",
            "transcript_path": "/nowhere.jsonl",
            "cwd": "/",
            "permission_mode": "default",
            "hook_event_name": "PreToolUse",
            "tool_name": tool,
            "tool_input": tool_input,
            "tool_use_id": "toolu_1",
        }
    )


def _edits(repository: Path, shape: str) -> str:
    """The refused edit, in the form of each tool."""
    file = repository / CORE
    text = file.read_text()
    head = '    """The sum."""\n'
    part = {"old_string": head + SUMMED, "new_string": head + WRONG}
    if shape == "Write":
        return _asked("Write", file_path=str(file), content=text.replace(SUMMED, WRONG))
    if shape == "MultiEdit":
        return _asked("MultiEdit", file_path=str(file), edits=[part])
    return _asked("Edit", file_path=str(file), **part, replace_all=False)


@pytest.mark.parametrize("shape", ["Edit", "Write", "MultiEdit"])
def test_a_repeated_edit_is_warned_of(repository: Path, shape: str) -> None:
    """The edit that was refused before is answered with a warning, whichever tool makes it."""
    done = _hook(repository, "pre-edit", _edits(repository, shape), cwd=repository.parent)
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    assert "Simplify add" in answer["systemMessage"]
    told = answer["hookSpecificOutput"]
    assert told == {
        "hookEventName": "PreToolUse",
        "additionalContext": answer["systemMessage"],
    }  # no decision: the warning never answers the person's question of permission


def test_another_edit_is_not_warned_of(repository: Path) -> None:
    """An edit of the same file that was never tried is answered with silence."""
    part = {"old_string": '"""Sums."""', "new_string": '"""Sums and products of numbers."""'}
    asked = _asked("Edit", file_path=str(repository / CORE), **part)
    done = _hook(repository, "pre-edit", asked)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_edit_is_followed_by_a_snapshot(repository: Path, app: App) -> None:
    """After an edit the whole working tree can be gone back to."""
    (repository / CORE).write_text("lost = True\n")
    done = _hook(repository, "post-edit", _asked("Write", file_path=str(repository / CORE)))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    (taken, *_) = asyncio.run(app.git.snapshots())
    shown = _git(repository, "log", "-1", "--format=%H", taken.ref)
    assert shown
    (repository / CORE).write_text("worse = True\n")
    asyncio.run(app.git.rollback(taken.ref))
    assert (repository / CORE).read_text() == "lost = True\n"


def test_a_shell_command_that_edits_is_noticed(repository: Path, app: App) -> None:
    """What Bash wrote is in a snapshot, and warned of when it was tried and refused before."""
    file = repository / CORE
    asked = _asked("Bash", command="ls").replace("PreToolUse", "PostToolUse")
    _hook(repository, "post-edit", asked)
    file.write_text(file.read_text().replace(SUMMED, WRONG))
    done = _hook(repository, "post-edit", asked)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)["hookSpecificOutput"]
    assert told["hookEventName"] == "PostToolUse"
    assert "Simplify add" in told["additionalContext"]
    (taken, *_) = asyncio.run(app.git.snapshots())
    assert WRONG in _git(repository, "show", f"{taken.ref}:worktree/{CORE}") + "\n"


def test_a_shell_command_that_looks_leaves_nothing(repository: Path, app: App) -> None:
    """After a command that changed nothing there is no further snapshot, and no word."""
    for _ in range(3):
        done = _hook(repository, "post-edit", _asked("Bash", command="ls"))
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(asyncio.run(app.git.snapshots())) == 1
    (repository / "new.txt").write_text("x")
    _hook(repository, "post-edit", _asked("Bash", command="ls"))
    assert len(asyncio.run(app.git.snapshots())) == 2


@pytest.mark.parametrize(
    "given",
    ["{not json", b"\xff\xfe", "[" * 200_000, '{"tool_input": {"file_path": "\\ud800\\u0000"}}'],
    ids=["not JSON", "not text", "too deep", "not a path"],
)
def test_nonsense_never_stops_the_agent(repository: Path, given: str | bytes) -> None:
    """What cannot be read is told on standard error at the most; the agent goes on."""
    done = _hook(repository, "pre-edit", given)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "Traceback" not in done.stderr


def test_broken_settings_never_stop_the_agent(repository: Path) -> None:
    """With settings that cannot be read the hook says so and lets the agent go on."""
    (repository / "self-coding.toml").write_text("no such = setting =")
    done = _hook(repository, "pre-edit", _edits(repository, "Edit"))
    assert (done.returncode, done.stdout) == (0, "")
    assert "self-coding.toml" in done.stderr


def _git(repository: Path, *words: str) -> str:
    named = ["-c", "user.name=A Person", "-c", "user.email=person@example.org"]
    done = subprocess.run(
        ["git", *named, *words], cwd=repository, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def _plain_commit(repository: Path, name: str = "plain.txt") -> str:
    (repository / name).write_text("by hand\n")
    _git(repository, "add", name)
    _git(repository, "commit", "-q", "-m", "by hand")
    return _git(repository, "rev-parse", "HEAD")


def _push(repository: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", "push", "origin", *words],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=150,
    )


@pytest.fixture
def pushing(repository: Path, tmp_path: Path) -> Path:
    """The repository with our guard and a bare remote."""
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "remote")], check=True)
    _git(repository, "remote", "add", "origin", str(tmp_path / "remote"))
    install(repository, ("git",))
    return repository


def test_the_guard_lets_landings_and_branches_pass(pushing: Path) -> None:
    """A landed main is pushed, and so are other branches and the deletion of one."""
    landed = _push(pushing, "main")
    assert landed.returncode == 0, landed.stderr
    _git(pushing, "checkout", "-q", "-b", "other")
    _plain_commit(pushing)
    other = _push(pushing, "other")
    assert other.returncode == 0, other.stderr
    gone = _push(pushing, "--delete", "other")
    assert gone.returncode == 0, gone.stderr


def test_the_guard_refuses_what_was_not_tested(pushing: Path) -> None:
    """A plain commit on main is not pushed, whatever it is called locally; a hint says why."""
    commit = _plain_commit(pushing)
    for words in (["main"], ["HEAD:main"], [f"{commit}:refs/heads/main"]):
        refused = _push(pushing, *words)
        assert refused.returncode, words
        assert commit[:12] in refused.stderr
        assert "hint: land it" in refused.stderr
    assert _git(pushing, "ls-remote", "origin") == ""


def _command(repository: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return forked.run(*words, cwd=repository)


def test_a_bypass_is_told_and_recorded_once(pushing: Path, app: App) -> None:
    """Past the guard, the next start says which commit came and records it on the last landing."""
    rates = asyncio.run(app.journal.get_success_rate())
    commit = _plain_commit(pushing)
    told = _command(pushing, "recover")
    assert f"bypassed: 1 commit reached main untested since attempt 1 landed: {commit[:12]}" in (
        told.stdout
    )
    assert "bypassed" not in _command(pushing, "recover").stdout
    events = asyncio.run(app.journal.events(1))
    (event,) = [one for one in events if one.kind == "bypassed"]
    assert event.data == {"tip": commit, "commits": [commit]}
    assert asyncio.run(app.journal.get_success_rate()) == rates
    found = asyncio.run(app.journal.get_by_id(1))
    assert found is not None and found.outcome.value == "success"
    assert asyncio.run(app.journal.unfinished()) == []


def test_a_try_tells_the_bypass_first(pushing: Path) -> None:
    """`try` says on standard error what moved main, whatever becomes of the try itself."""
    commit = _plain_commit(pushing)
    done = _command(pushing, "try", "x", "--with", "false")
    assert f"bypassed: 1 commit reached main untested since attempt 1 landed: {commit[:12]}" in (
        done.stderr
    )


async def test_only_new_bypasses_are_told(pushing: Path, app: App) -> None:
    """A second commit by hand is told alone; what was told before is not told again."""
    _plain_commit(pushing)
    assert await note_bypass(app)
    second = _plain_commit(pushing, "second.txt")
    found = await note_bypass(app)
    assert found is not None and found.commits == (second,)


async def test_our_own_moves_are_no_bypass(pushing: Path, app: App) -> None:
    """A landing, an undone landing and a founding merge are nobody's bypass."""
    assert await note_bypass(app) is None
    _git(pushing, "checkout", "-q", "-b", "side")
    _plain_commit(pushing)
    _git(pushing, "checkout", "-q", "main")
    await app.git.merge_to_main("side", require_tests=False)
    assert await note_bypass(app) is None
    await app.git.undo()
    assert await note_bypass(app) is None


async def test_without_the_guard_nobody_looks(repository: Path, app: App) -> None:
    """Who did not ask for the guard commits as ever, unremarked."""
    _plain_commit(repository)
    assert await note_bypass(app) is None
