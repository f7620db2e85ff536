"""Every editor, on real files and processes: what it changes, and how it fails."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from self_coding.errors import EditError
from self_coding.operations import OPERATIONS
from self_coding.self_edit.editors import (
    PRESETS,
    CallableEditor,
    CallerEditor,
    CommandEditor,
    Editor,
    PatchEditor,
    preset,
    restored,
)
from self_coding.testing import git, sample_repo
from self_coding.values.edits import Assignment, Context, Section, Task
from self_coding.values.repository import Worktree

PATCH = """\
--- a/src/calc/core.py
+++ b/src/calc/core.py
@@ -4,3 +4,3 @@
 def add(a: int, b: int) -> int:
-    \"\"\"The sum.\"\"\"
+    \"\"\"The sum of both.\"\"\"
     return a + b
"""


def assignment(path: Path, text: str = "say more", seconds: float = 20.0) -> Assignment:
    part = Section(heading="Lessons", text="> mind the gap", source="journal")
    return Assignment(
        task=Task("t", text),
        worktree=Worktree(path, "branch", "0" * 40, "1"),
        context=Context(parts=(part,)),
        attempt=1,
        seconds=seconds,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return sample_repo(tmp_path / "tree")


def changed(tree: Path) -> str:
    return git(tree, "status", "--porcelain", "--untracked-files=all")


def script(tmp_path: Path, body: str) -> str:
    file = tmp_path / "agent.py"
    file.write_text(body)
    return f"{sys.executable} {file}"


async def test_equal_edits_from_every_editor(tree: Path, tmp_path: Path) -> None:
    """Whoever makes the edit, the worktree holds the same afterwards."""

    def function(path: Path) -> str:
        return write(path)

    async def coroutine(path: Path) -> str:
        return write(path)

    def write(path: Path) -> str:
        file = path / "src/calc/core.py"
        file.write_text(file.read_text().replace("The sum.", "The sum of both."))
        return "said more"

    body = (
        "from pathlib import Path\nfile = Path('src/calc/core.py')\n"
        "file.write_text(file.read_text().replace('The sum.', 'The sum of both.'))\n"
        "print('said more')\n"
    )
    makers: list[Editor] = [
        PatchEditor(PATCH),
        CallableEditor(function),
        CallableEditor(coroutine),
        CommandEditor(script(tmp_path, body)),
    ]
    diffs = []
    for editor in makers:
        report = await editor.edit(assignment(tree))
        assert report.summary
        diffs.append(git(tree, "diff"))
        git(tree, "checkout", "--", ".")
    assert len(set(diffs)) == 1
    assert "+" in diffs[0]


@pytest.mark.parametrize(
    ("patch", "hint"),
    [
        (PATCH.replace("The sum.", "The product."), "main as it is now"),
        ("no patch at all\n", "unified diff"),
        ("--- a/../x\n+++ b/../x\n@@ -0,0 +1 @@\n+x\n", "inside the repository"),
        ("--- a//etc/x\n+++ b//etc/x\n@@ -0,0 +1 @@\n+x\n", "inside the repository"),
        ("--- /dev/null\n+++ b/.git/hooks/post-commit\n@@ -0,0 +1 @@\n+x\n", "inside"),
        ("--- /dev/null\n+++ b/out/x\n@@ -0,0 +1 @@\n+x\n", "inside the repository"),
    ],
)
async def test_a_patch_that_does_not_fit_changes_nothing(
    tree: Path, tmp_path: Path, patch: str, hint: str
) -> None:
    """A patch that does not apply, or leads out of the worktree, is refused whole, with a hint."""
    (tmp_path / "outside").mkdir()
    (tree / "out").symlink_to(tmp_path / "outside")
    before = changed(tree)
    mixed = PATCH + patch if "/dev/null" in patch else patch
    with pytest.raises(EditError) as caught:
        await PatchEditor(mixed).edit(assignment(tree))
    assert hint in caught.value.hint
    assert changed(tree) == before
    assert not list((tmp_path / "outside").iterdir())
    assert not (tmp_path / "x").exists()


async def test_a_patch_may_be_binary_rename_and_delete(tree: Path) -> None:
    """What `git diff --binary` writes is applied byte for byte, modes and all."""
    (tree / "data.bin").write_bytes(bytes(range(256)))
    (tree / "run.sh").write_text("#!/bin/sh\n")
    (tree / "run.sh").chmod(0o755)
    git(tree, "mv", "src/calc/report.py", "src/calc/words.py")
    git(tree, "rm", "--quiet", "tests/test_report.py")
    git(tree, "add", "--all")
    patch = git(tree, "diff", "--cached", "--binary", "HEAD") + "\n"
    git(tree, "reset", "--quiet", "--hard")
    await PatchEditor(patch).edit(assignment(tree))
    git(tree, "add", "--all")
    assert git(tree, "diff", "--cached", "--binary", "HEAD") + "\n" == patch


async def test_a_patch_runs_nothing_of_the_repository(tree: Path, tmp_path: Path) -> None:
    """Filters that the repository configures do not run while a patch is applied."""
    git(tree, "config", "filter.evil.clean", f"touch {tmp_path}/ran; cat")
    git(tree, "config", "filter.evil.smudge", f"touch {tmp_path}/ran; cat")
    (tree / ".git/info/attributes").write_text("* filter=evil\n")
    await PatchEditor(PATCH).edit(assignment(tree))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("patch", ["", " \n\n", b"x" * ((20 << 20) + 1)])
def test_an_impossible_patch_is_refused_at_once(patch: str | bytes) -> None:
    """An empty patch and one beyond the bound are refused before anything begins."""
    with pytest.raises(EditError) as caught:
        PatchEditor(patch)
    assert caught.value.hint


async def test_a_command_is_told_everything(tree: Path, tmp_path: Path) -> None:
    """Task, prompt and context reach the command in its words, its variables and its file."""
    body = (
        "import os, sys, pathlib\n"
        "told = pathlib.Path(os.environ['SELF_CODING_CONTEXT']).read_text()\n"
        "assert sys.argv[1] == ' --say {prompt}', sys.argv\n"
        "assert sys.argv[2].startswith('x=Task: --say'), sys.argv\n"
        "assert '> mind the gap' in told and '> mind the gap' in sys.argv[2]\n"
        "assert pathlib.Path(sys.argv[3]) == pathlib.Path(os.environ['SELF_CODING_CONTEXT'])\n"
        "assert os.environ['SELF_CODING_TASK'] == '--say {prompt}'\n"
        "assert 'GIT_DIR' not in os.environ and sys.stdin.read() == ''\n"
        "pathlib.Path('seen').write_text(os.getcwd())\n"
    )
    os.environ["GIT_DIR"] = "/nowhere"
    try:
        command = script(tmp_path, body) + " {task} x={prompt} {context}"
        await CommandEditor(command).edit(assignment(tree, "--say {prompt}"))
    finally:
        del os.environ["GIT_DIR"]
    assert (tree / "seen").read_text() == str(tree)


async def test_a_command_without_places_reads_the_prompt(tree: Path) -> None:
    """A command that names no place for the task gets all of it on its standard input."""
    await CommandEditor("cp /dev/stdin told.md").edit(assignment(tree))
    assert (tree / "told.md").read_text().startswith("Task: say more")


async def test_a_shell_only_where_asked(tree: Path) -> None:
    """Shell syntax is plain words unless a shell is asked for, which has the task as a variable."""
    await CommandEditor(["cp", "src/calc/core.py", "a; touch b"]).edit(assignment(tree))
    assert (tree / "a; touch b").exists()
    line = 'printf %s "$SELF_CODING_TASK" > c && echo done'
    await CommandEditor(line, shell=True).edit(assignment(tree, "$(touch d)"))
    assert (tree / "c").read_text() == "$(touch d)"
    assert not (tree / "b").exists()
    assert not (tree / "d").exists()


@pytest.mark.parametrize("place", ["{task}", "'{task}'", '"{task}"', "a{task}b"])
async def test_a_task_is_never_part_of_the_line(tree: Path, place: str) -> None:
    """However a place is quoted, the shell gets the task as one word and runs nothing of it."""
    task = 'it\'s "$(touch d)" `touch d`; touch d'
    line = f"printf '%s|' {place} > c && echo '# note' >> src/calc/core.py"
    editor = CommandEditor(line, shell=True)
    again = CommandEditor.restored(editor.spec() or {})
    assert again is not None
    await again.edit(assignment(tree, task))
    shown = place.strip("'\"").replace("{task}", task)
    assert (tree / "c").read_text() == f"{shown}|"
    assert (tree / "src/calc/core.py").read_text().endswith("# note\n")
    assert not (tree / "d").exists()


@pytest.mark.parametrize(("folder", "where"), [("src/calc", "src/calc"), ("nowhere", ".")])
async def test_a_command_runs_where_its_person_is(tree: Path, folder: str, where: str) -> None:
    """A folder of the checkout is the same folder of the worktree, or its top without it."""
    await CommandEditor("pwd > seen", shell=True, folder=folder).edit(assignment(tree))
    assert (tree / where / "seen").exists()


@pytest.mark.parametrize("line", ["", " ", "no-such-agent {task}", "./no/script", "x\0y"])
def test_an_impossible_line_is_refused_at_once(line: str) -> None:
    """So is a shell's line whose first word is no command; what the shell knows itself is one."""
    with pytest.raises(EditError) as caught:
        CommandEditor(line, shell=True)
    assert caught.value.hint
    assert CommandEditor("cd src && pwd", shell=True).name == "sh"


@pytest.mark.parametrize("command", ["", "'", "no-such-agent {task}", "x\0y"])
def test_an_impossible_command_is_refused_at_once(command: str) -> None:
    """A command that cannot run is refused before anything begins, with a hint."""
    with pytest.raises(EditError) as caught:
        CommandEditor(command)
    assert caught.value.hint


async def test_a_failing_command_is_no_edit(tree: Path) -> None:
    """A non-zero exit status is an EditError that tells the command's last words."""
    with pytest.raises(EditError, match=r"status 3: no key"):
        await CommandEditor("echo no key >&2; exit 3", shell=True).edit(assignment(tree))


async def test_a_hanging_command_is_ended_with_all_it_started(tree: Path) -> None:
    """At its limit a command dies, and so do its children that left its session."""
    line = "echo waiting; setsid sleep 31.25 & sleep 31.25"
    started = time.monotonic()
    with pytest.raises(EditError, match="limit of 1 s") as caught:
        await CommandEditor(line, shell=True).edit(assignment(tree, seconds=1))
    assert "waiting" in caught.value.hint
    assert time.monotonic() - started < 10
    assert not alive("31.25")


async def test_nothing_outlives_a_command_that_ended(tree: Path) -> None:
    """What a command leaves behind in the background is ended with it."""
    line = "(setsid sleep 32.25 >/dev/null 2>&1 &) ; exit 0"
    await CommandEditor(line, shell=True).edit(assignment(tree))
    assert not alive("32.25")


async def test_cancelling_ends_the_command(tree: Path) -> None:
    """Cancelling the edit ends the command before the cancellation goes on."""
    editor = CommandEditor("touch begun; sleep 33.25", shell=True)
    task = asyncio.create_task(editor.edit(assignment(tree)))
    while not (tree / "begun").exists():
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive("33.25")


async def test_what_aider_keeps_for_itself_is_no_edit(tree: Path, tmp_path: Path) -> None:
    """Its history and cache are gone afterwards; what lay there before, and its edit, stay."""
    agent = tmp_path / "aider"
    leave = "echo new > .aider.input.history; echo new > .aider.chat.history.md"
    cache = "mkdir .aider.tags.cache.v4; echo new > .aider.tags.cache.v4/db; echo new > new.py"
    agent.write_text(f"#!/bin/sh\n{leave}\n{cache}\n")
    agent.chmod(0o755)
    (tree / ".aider.input.history").write_text("old")
    await CommandEditor(f"{agent} {{task}}").edit(assignment(tree))
    assert changed(tree).split("\n") == ["?? .aider.input.history", "?? new.py"]


async def test_a_flood_of_output_is_bounded(tree: Path) -> None:
    """A command may print without end: what is kept is bounded, its end included."""
    line = "head -c 60000000 /dev/zero | tr '\\0' 'x'; echo; echo the end"
    report = await CommandEditor(line, shell=True).edit(assignment(tree))
    assert len(report.output) < 2_200_000
    assert report.summary.endswith("the end")


async def test_progress_is_told_while_a_command_runs(tree: Path) -> None:
    """The lines a command prints are told while it runs, not in one piece afterwards."""
    said: list[tuple[float, str]] = []
    work = assignment(tree)
    told = Assignment(
        task=work.task,
        worktree=work.worktree,
        context=work.context,
        say=lambda line: said.append((time.monotonic(), line)),
    )
    line = "echo one; sleep 0.7; echo two"
    await CommandEditor(line, shell=True).edit(told)
    assert [line for _, line in said] == ["one", "two"]
    assert said[1][0] - said[0][0] > 0.4


async def test_a_large_task_still_fits(tree: Path) -> None:
    """A prompt too long for an argument is cut there and stands whole in the context file."""
    text = "é" * 32_000
    line = 'test -n "$1"; cp "$2" whole; printf %s "$1" > given'
    editor = CommandEditor(["sh", "-c", line, "sh", "{prompt}", "{context}"])
    await editor.edit(assignment(tree, text))
    assert text in (tree / "whole").read_text()
    assert "the rest is in" in (tree / "given").read_text()


async def test_a_function_may_raise_whatever_it_likes(tree: Path) -> None:
    """What a caller's own function raises is the attempt's failure, with its words."""

    def function(path: Path) -> None:
        raise ZeroDivisionError("oh")

    with pytest.raises(EditError, match="ZeroDivisionError: oh"):
        await CallableEditor(function).edit(assignment(tree))


async def test_a_slow_coroutine_is_ended(tree: Path) -> None:
    """An async function is ended at its limit."""

    async def function(path: Path) -> None:
        await asyncio.sleep(30)

    with pytest.raises(EditError, match="longer than"):
        await CallableEditor(function).edit(assignment(tree, seconds=0.05))


async def test_the_caller_is_never_called(tree: Path) -> None:
    """The caller's own edit is waited for; calling it is a mistake that says so."""
    with pytest.raises(EditError) as caught:
        await CallerEditor().edit(assignment(tree))
    assert "submit_edit(1)" in caught.value.hint


def test_editors_can_be_stored_and_had_again() -> None:
    """What the journal stores of an editor builds one that does the same; a function cannot be."""
    made = [
        PatchEditor(PATCH),
        CommandEditor("true {task}", name="agent"),
        CommandEditor("exit 0", shell=True),
        CallerEditor(),
    ]
    for editor in made:
        spec = editor.spec()
        assert spec is not None
        again = restored(spec)
        assert again is not None
        assert again.spec() == spec
        assert again.name == editor.name
    assert CallableEditor(print).spec() is None
    assert PatchEditor(b"\xff").spec() is None
    assert restored({}) is None
    spec = dict(CommandEditor([str(Path(sys.executable)), "-V"]).spec() or {})
    assert restored({**spec, "words": ["no-such-agent"]}) is None


def test_an_editor_that_was_redacted_is_not_used() -> None:
    """A stored patch or command that the journal had to change is not taken for the given one."""
    spec = dict(PatchEditor(PATCH).spec() or {})
    spec["patch"] = PATCH.replace("both", "[secret]")
    assert restored(spec) is None
    spec = dict(CommandEditor("true --key abc").spec() or {})
    spec["words"] = ["true", "--key", "[secret]"]
    assert restored(spec) is None


def test_presets_are_commands_for_known_agents() -> None:
    """Each preset is a command line with a place for the prompt; one that is missing says so."""
    assert {"aider", "claude", "codex", "gemini", "opencode", "goose"} <= set(PRESETS)
    assert all("{prompt}" in line for line in PRESETS.values())
    page = (Path(__file__).parents[2] / "docs/how-to/bring-your-editor.md").read_text("utf-8")
    for name in PRESETS:
        assert f"`{name}`" in page or f"--editor {name}`" in page, f"{name}: bring-your-editor.md"
        help_ = OPERATIONS["self_edit"].description
        assert name in help_, f"{name}: the docstring of operations.self_edit lists the presets"
    with pytest.raises(EditError) as caught:
        preset("nobody")
    assert "aider" in caught.value.hint


def alive(mark: str) -> bool:
    done = subprocess.run(["pgrep", "-f", f"sleep {mark}"], capture_output=True, check=False)
    return done.returncode == 0
