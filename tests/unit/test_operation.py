"""What an operation says of itself is what its function says."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

import pytest

import self_coding
from self_coding import open_app
from self_coding.cli import COMMANDS
from self_coding.errors import IndexerError
from self_coding.operation import Arg, Caller, Operation, spoken
from self_coding.operations import OPERATIONS
from self_coding.testing import ScriptedEditor, git, sample_repo
from self_coding.values.attempts import Lesson, ModificationAttempt

Count = Annotated[int, Arg("How many.", least=1, option="-n")]
Kind = Annotated[Literal["a", "b"] | None, Arg("Only these.")]


async def count_things(app: object, caller: Caller, count: Count, kind: Kind = None) -> list[str]:
    """Count things.

    All of them.
    """
    caller.say(f"{count} {kind}")
    return ["thing"] * count


ROW = Operation(call=count_things, section="Things", method="things.count", old_names=("count",))


def test_a_row_reads_its_function() -> None:
    """Names, help, arguments, defaults and result are those of the function."""
    assert (ROW.name, ROW.command) == ("count_things", "count-things")
    assert ROW.description == "Count things.\n\nAll of them."
    count, kind = ROW.parameters
    assert (count.name, count.type, count.required, count.arg.least) == ("count", int, True, 1)
    assert (kind.type, kind.required, kind.default) == (Literal["a", "b"], False, None)
    assert ROW.result == list[str]


async def test_a_row_is_called_by_name() -> None:
    """Only an operation that wants to know its caller is told; remarks reach the caller."""
    said: list[str] = []
    assert await ROW(object(), Caller(say=said.append), count=2) == ["thing", "thing"]
    assert said == ["2 None"]
    assert await ROW(object(), count=1) == ["thing"]


def _unmeasured() -> dict[str, str]:
    """The environment without coverage.py, which loads libraries of its own in each process."""
    return {name: value for name, value in os.environ.items() if "COVERAGE" not in name}


def test_help_needs_none_of_the_services() -> None:
    """`--help` reads the table, and loads neither a service nor a library but click."""
    code = (
        "import sys; from self_coding.cli import cli\n"
        "cli.main(['--help'], standalone_mode=False)\n"
        "rooms = ('app', 'settings', 'git_safety', 'modification_journal', 'codebase_indexer')\n"
        "heavy = {f'self_coding.{room}' for room in rooms} | {'asyncio', 'pydantic', 'sqlite3'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=_unmeasured()
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert all(row.command in done.stdout for row in OPERATIONS.values())


@pytest.mark.parametrize(
    "words", [["attempts"], ["relevant-files", "add"], ["impact", "src/calc/core.py"]]
)
def test_a_look_up_loads_little(tmp_path: Path, words: list[str]) -> None:
    """What only reads is answered without the event loop and all that comes with it."""
    code = (
        "import sys; from self_coding.cli import cli\n"
        "cli.main(sys.argv[1:], standalone_mode=False)\n"
        "sys.exit(' '.join({'asyncio', 'ssl', 'pydantic', 'tempfile'} & set(sys.modules)) or 0)"
    )
    repository = sample_repo(tmp_path / "repository")
    argv = [sys.executable, "-c", code, "--repo", str(repository), *words]
    done = subprocess.run(argv, capture_output=True, text=True, env=_unmeasured())
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("event", ["pre-edit", "post-edit"])
def test_a_hook_loads_little(tmp_path: Path, event: str) -> None:
    """A hook runs at each edit of an agent: neither gate nor audit nor event loop come with it."""
    repository = sample_repo(tmp_path / "repository")
    given = {"tool_input": {"file_path": "src/calc/core.py", "old_string": "a", "new_string": "b"}}
    (repository / "src/calc/core.py").write_text("b = 1\n")
    code = (
        "import sys; from self_coding.cli import cli\n"
        "cli.main(sys.argv[1:], standalone_mode=False)\n"
        "heavy = {'asyncio', 'pydantic', 'self_coding.gate', 'self_coding.audit'}\n"
        "heavy |= {'self_coding.mcp_server', 'self_coding.cli.install'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    argv = [sys.executable, "-c", code, "--repo", str(repository), "hook", event]
    done = subprocess.run(
        argv, input=json.dumps(given), capture_output=True, text=True, env=_unmeasured()
    )
    assert (done.returncode, done.stderr) == (0, "")
    taken = git(repository, "for-each-ref", "refs/self-coding/snap")
    assert bool(taken) == (event == "post-edit")


async def test_a_mistyped_path_is_not_good_news(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """A path that is neither here nor committed is refused; a deleted one still has dependents."""
    app = open_app(sample_repo(tmp_path / "repository"), environ={})
    impact = OPERATIONS["impact"]
    for wrong in ("src/nowhere.py", "../outside.py", "x" * 300):
        with pytest.raises(IndexerError, match="is neither in"):
            await impact(app, paths=[wrong])
    (app.top / "src/calc/core.py").unlink()
    assert (await impact(app, paths=["src/calc/core.py"])).paths == ("src/calc/core.py",)


def test_an_operation_is_named_as_its_caller_names_it() -> None:
    """A hint says `wait_edit` to a model and `self-coding wait-edit` at a terminal."""
    hint = "`wait_edit` waits, begin_edit(from_attempt=3) begins, `self-coding attempts` lists"
    assert spoken(hint, calls=False) == (
        "`self-coding wait-edit` waits, self-coding begin-edit --from-attempt 3 begins, "
        "`self-coding attempts` lists"
    )
    assert spoken("see `self-coding show-attempt 3`", calls=True) == "see `show_attempt 3`"
    hint = "`operations` lists what was done; submit_edit(attempt=3), see `attempts`"
    assert spoken(hint, calls=True) == (
        "the command `self-coding operations` lists what was done; submit_edit(attempt=3), "
        "see `attempts`"
    )
    assert spoken(hint, calls=False) == (
        "`self-coding operations` lists what was done; self-coding submit-edit 3, "
        "see `self-coding attempts`"
    )
    for calls in (True, False):
        path = "src/self_edit/x.py is on timmy/self-edit/1, in the self-edit of 3"
        assert spoken(path, calls=calls) == path


def _texts(node: ast.AST) -> list[str]:
    """Every text in an expression; what is computed in it as `7`."""
    if isinstance(node, ast.JoinedStr):
        parts = (one.value if isinstance(one, ast.Constant) else "7" for one in node.values)
        return ["".join(map(str, parts))]
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    return [text for one in ast.iter_child_nodes(node) for text in _texts(one)]


def _hints() -> dict[str, str]:
    """Every hint below the entry points, by where it stands."""
    top, found = Path(self_coding.__file__).parent, {}
    for file in sorted(top.rglob("*.py")):
        name = file.relative_to(top).as_posix()
        if name.startswith(("cli/", "dashboard/", "hooks/install", "intake")):
            continue  # no tool comes there
        for node in ast.walk(ast.parse(file.read_text())):
            held: list[ast.expr] = []
            if isinstance(node, ast.Call):
                held = [one.value for one in node.keywords if one.arg == "hint"]
            elif isinstance(node, ast.Assign) and "hint" in ast.unparse(node.targets[0]).lower():
                held = [node.value]
            elif isinstance(node, ast.FunctionDef) and (
                "hint" in node.name or node.name in ("ways_on", "new_dependency", "after_conflict")
            ):
                held = [one.value for one in ast.walk(node) if isinstance(one, ast.Return)]
            found |= {f"{name}:{node.lineno}: {t}": t for one in held for t in _texts(one)}
    return found


def test_hints_speak_the_words_of_their_interface() -> None:
    """No hint names a flag, a command or a call that whoever reads it does not have."""
    tools = {row.name for row in OPERATIONS.values() if row.tool}
    wrong = []
    for where, hint in _hints().items():
        for_tools, for_people = (spoken(hint, calls=calls) for calls in (True, False))
        # A whole command of the shell is what it is; the rest is about the tools.
        said = re.sub(r"`(?:git|self-coding|pip) [^`]*`|\bgit [^;]*", "", for_tools)
        named = set(re.findall(r"`([a-z_]+)\b", said)) & {row.name for row in OPERATIONS.values()}
        called = set(re.findall(r"\b([a-z_]+)\((?=\w)", said))
        commands = {row.command for row in OPERATIONS.values() if row.tool}
        shell = set(re.findall(r"`self-coding ([a-z-]+)", for_tools))
        if re.search(r"(?<!\w)--?[a-z]", said) or "self-coding " in said:
            wrong.append(where)
        if (named | called) - tools or shell & commands or shell - {*COMMANDS}:
            wrong.append(where)
        if re.search(r"\b\w+_edit\b|show_attempt|\w\((?:attempt|from_attempt)=", for_people):
            wrong.append(where)
    assert len(_hints()) > 150
    assert wrong == [], "\n".join(wrong)


async def test_status_tells_a_red_main(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Tests that failed when main as it is was last run are named, and no longer once it moved."""
    app = open_app(sample_repo(tmp_path / "repository"), environ={})
    assert (await OPERATIONS["status"](app)).failing == []
    (app.top / "tests/test_red.py").write_text("def test_red():\n    assert 1 == 2\n")
    await app.git.commit("red", ["tests/test_red.py"])
    await app.git.test(await app.git.get_main_commit())
    assert (await OPERATIONS["status"](app)).failing == ["tests/test_red.py::test_red"]
    (app.top / "tests/test_red.py").unlink()
    await app.git.commit("green", ["tests/test_red.py"])
    assert (await OPERATIONS["status"](app)).failing == []


async def test_users_are_counted_past_the_limit(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """What a limit leaves out is counted."""
    app = open_app(sample_repo(tmp_path / "repository"), environ={})
    users = await OPERATIONS["symbol_users"](app, symbol="add", limit=1)
    everyone = await OPERATIONS["symbol_users"](app, symbol="add", limit=50)
    assert (len(users.uses), users.more_uses) == (1, len(everyone.uses) - 1)
    assert everyone.more_uses == 0


async def test_a_lesson_whose_code_changed_is_stale(tmp_path: Path) -> None:
    """The rates of the memory itself are judged by the code that is on main now."""
    top = sample_repo(tmp_path)
    app = open_app(top)
    digest = sha256((top / "src/calc/core.py").read_bytes()).hexdigest()
    attempt = await app.journal.log_attempt(ModificationAttempt("Add two numbers"))
    for path, hashed in (("src/calc/core.py", digest), ("src/calc/core.py", "0"), ("gone.py", "0")):
        text = f"A sum of {path} overflows where {hashed} is added to it"
        lesson = Lesson(text=text, anchors=((path, hashed),), evidence=(attempt,))
        await app.journal.learn(lesson)
    told = await OPERATIONS["success_rates"](app)
    await app.journal.close()
    assert told.quality["stale"] == pytest.approx(2 / 3)


async def test_an_undone_landing_counts_as_undone(tmp_path: Path) -> None:
    """`undo` takes the success out of the rates, and `redo` brings it back."""
    app = open_app(sample_repo(tmp_path / "repository"), environ={}, test_command="true")
    done = await app.edit.self_edit("Add it", editor=ScriptedEditor({"new.py": "x = 1\n"}))
    assert done.success
    await OPERATIONS["undo"](app)
    rate = (await OPERATIONS["success_rates"](app)).rates["overall"]
    assert (rate.successes, rate.total) == (0, 1)
    await OPERATIONS["redo"](app)
    assert (await OPERATIONS["success_rates"](app)).rates["overall"].successes == 1
