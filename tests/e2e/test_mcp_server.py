"""The MCP server through the official SDK's own client, over the wire."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from mcp import StdioServerParameters
from mcp.client import Client
from mcp_types import ElicitRequestParams, ElicitResult

import forked
from self_coding import open_app
from self_coding.testing import sample_repo

TOOLS = {
    "self_edit", "begin_edit", "check_edit", "submit_edit", "wait_edit", "land_edit",
    "drop_edit", "context", "report_error",
    "relevant_files", "impact", "symbol_users", "code_summary", "similar_attempts", "attempts",
    "show_attempt", "success_rates", "status",
    "snapshot", "plan_rollback", "rollback", "undo", "plan_undo", "inbox",
}  # fmt: skip
READ_ONLY = {
    "context", "relevant_files", "impact", "symbol_users", "code_summary", "similar_attempts",
    "attempts", "show_attempt", "success_rates", "plan_rollback", "plan_undo", "status", "inbox",
}  # fmt: skip
EDIT = "\n\ndef triple(number: int) -> int:\n    return number * 3\n"
BREAK = "raise RuntimeError('broken on purpose')\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return sample_repo(tmp_path / "repository")


def _server(repository: Path) -> StdioServerParameters:
    command, *words = forked.command("--repo", str(repository), "mcp")
    return StdioServerParameters(command=command, args=words)


async def _yes(context: object, params: ElicitRequestParams) -> ElicitResult:
    return ElicitResult(action="accept", content={"go_ahead": True})


async def _called_off(context: object, params: ElicitRequestParams) -> ElicitResult:
    return ElicitResult(action="cancel")


async def _no(context: object, params: ElicitRequestParams) -> ElicitResult:
    return ElicitResult(action="decline")


def connected(test: Callable[[Client, Path], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Run a test with a client over stdio, once for each generation of the protocol."""
    return _connected(test, ["auto", "legacy"])


def connected_once(
    test: Callable[[Client, Path], Awaitable[None]],
) -> Callable[..., Awaitable[None]]:
    """Run a test of our own answers, which no generation of the protocol changes."""
    return _connected(test, ["auto"])


def _connected(
    test: Callable[[Client, Path], Awaitable[None]], modes: list[str]
) -> Callable[..., Awaitable[None]]:
    @pytest.mark.parametrize("mode", modes)
    async def run(repository: Path, mode: str) -> None:
        async with Client(_server(repository), mode=mode, elicitation_callback=_yes) as client:
            await test(client, repository)

    run.__doc__ = test.__doc__
    return run


async def _call(client: Client, tool: str, **arguments: object) -> dict[str, object]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert isinstance(result.structured_content, dict)
    return result.structured_content


def _source(repository: Path) -> Path:
    return repository / "src" / "calc" / "__init__.py"


@connected
async def test_the_tools_are_typed_and_hinted(client: Client, repository: Path) -> None:
    """Every promised tool is there with an output schema; those that only read say so."""
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == TOOLS
    assert all(tool.output_schema and tool.description for tool in tools.values())
    hinted = {name for name, t in tools.items() if t.annotations and t.annotations.read_only_hint}
    assert hinted == READ_ONLY
    assert all(
        tool.title and tool.annotations.idempotent_hint is not None for tool in tools.values()
    )
    parameters = [
        one for tool in tools.values() for one in tool.input_schema["properties"].values()
    ]
    assert all(one["description"] for one in parameters)


@connected_once
async def test_the_caller_edits_and_it_lands(client: Client, repository: Path) -> None:
    """begin_edit, an edit in the worktree, submit_edit: main has it, the checkout was not used."""
    begun = await _call(client, "begin_edit", task="Add a function that triples a number")
    relative = _source(repository).relative_to(repository)
    file = Path(str(begun["worktree"])) / relative
    file.write_text(file.read_text() + EDIT)
    assert "triple" not in (repository / relative).read_text()
    edited = await _call(client, "submit_edit", attempt=begun["attempt"], summary="one function")
    assert edited["success"], edited
    shown = subprocess.run(
        ["git", "show", f"main:{relative}"], cwd=repository, capture_output=True, text=True
    )
    assert "triple" in shown.stdout


@connected_once
async def test_a_new_session_finds_its_way_from_status(client: Client, repository: Path) -> None:
    """What waits is told with its worktree, its age and the next call; and where main is."""
    begun = await _call(client, "begin_edit", task="Add triple")
    told = await _call(client, "status")
    assert (told["main_branch"], told["failing"]) == ("main", [])
    [open_one] = told["waiting"]
    assert (open_one["worktree"], open_one["minutes"]) == (begun["worktree"], 0)
    assert f"submit_edit(attempt={begun['attempt']})" in open_one["next"]


@connected_once
async def test_a_breaking_edit_is_refused_and_remembered(client: Client, repository: Path) -> None:
    """A red change does not land; the next one at the same task is warned."""
    begun = await _call(client, "begin_edit", task="Make the import of the package fail")
    relative = _source(repository).relative_to(repository)
    (Path(str(begun["worktree"])) / relative).write_text(BREAK)
    edited = await _call(client, "submit_edit", attempt=begun["attempt"])
    assert (edited["success"], edited["refused_by"]) == (False, "gate")
    similar = await _call(client, "similar_attempts", task="Make the import of the package fail")
    assert similar["warning"]
    shown = await _call(client, "show_attempt", attempt=begun["attempt"])
    assert "broken on purpose" in str(shown["diff"])
    assert shown["editor_output"] == "", "the caller is the editor, and prints nothing"


@connected
async def test_a_patch_is_proposed_then_landed(client: Client, repository: Path) -> None:
    """With propose, a green patch waits; land_edit asks the person and lands it."""
    patch = _patch(repository)
    edited = await _call(client, "self_edit", task="Add triple", patch=patch, propose=True)
    assert "land_edit" in edited["hint"]
    assert edited["waiting"] == "approval", edited
    landed = await _call(client, "land_edit", attempt=edited["attempt"])
    assert landed["success"], landed


def _patch(repository: Path) -> str:
    source = _source(repository)
    before = source.read_text()
    source.write_text(before + EDIT)
    diff = subprocess.run(
        ["git", "diff"], cwd=repository, capture_output=True, text=True, check=True
    ).stdout
    source.write_text(before)
    return diff


@connected
async def test_progress_arrives(client: Client, repository: Path) -> None:
    """The steps of a self-edit reach the client while it runs."""
    steps: list[str] = []

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        steps.append(message or "")

    arguments = {"task": "Add triple", "patch": _patch(repository)}
    await client.call_tool("self_edit", arguments, progress_callback=on_progress)
    assert any("test" in step for step in steps)


@connected_once
async def test_reading_tools_answer(client: Client, repository: Path) -> None:
    """Index, journal and plan answer with what stands in the repository."""
    relative = _source(repository).relative_to(repository).as_posix()
    assert (await _call(client, "impact", paths=[relative]))["paths"] == [relative]
    found = await _call(client, "symbol_users", symbol="add", limit=1)
    assert len(found["uses"]) == 1 < found["counts"]["uses"]
    rest = found["more"]["uses"].rpartition(" ")[2]
    assert "test_core.py" in (await client.read_resource(rest)).contents[0].text
    assert "Codebase Summary" in str((await _call(client, "code_summary"))["text"])
    assert await _call(client, "context", task=f"change {relative}")
    assert (await _call(client, "attempts"))["attempts"] == []
    assert "rates" in await _call(client, "success_rates")
    assert "files" in await _call(client, "relevant_files", task=relative)


@connected_once
async def test_a_snapshot_can_be_gone_back_to(client: Client, repository: Path) -> None:
    """snapshot, an edit, rollback with the person's yes, undo with the person's yes."""
    taken = await _call(client, "snapshot")
    source = _source(repository)
    before = source.read_text()
    source.write_text(before + EDIT)
    plan = await _call(client, "plan_rollback", target=taken["ref"])
    assert [step["action"] for step in plan["paths"]] == ["write"]
    assert (await _call(client, "rollback", target=taken["ref"]))["done"]
    assert source.read_text() == before
    assert (await _call(client, "undo"))["done"]
    assert source.read_text() == before + EDIT


@pytest.mark.parametrize(
    ("answer", "told"),
    [(_no, "by the person"), (_called_off, "was not answered"), (None, "cannot ask")],
)
async def test_without_a_yes_nothing_is_rolled_back(
    repository: Path, answer: object, told: str
) -> None:
    """A no, no answer and a client that cannot ask change nothing, and are told apart."""
    async with Client(_server(repository), elicitation_callback=answer) as client:
        taken = await _call(client, "snapshot")
        source = _source(repository)
        source.write_text(source.read_text() + EDIT)
        after = source.read_text()
        done = await _call(client, "rollback", target=taken["ref"])
        assert not done["done"]
        assert "declined" in str(done["message"]) and told in str(done["message"])
        assert source.read_text() == after


@connected
async def test_an_error_names_the_next_step(client: Client, repository: Path) -> None:
    """A refusal of the layer is a tool error in words, with its hint."""
    result = await client.call_tool("begin_edit", {"task": "   "})
    assert result.is_error
    assert "hint:" in str(result.content)


@connected_once
async def test_errors_are_in_the_words_of_tools(client: Client, repository: Path) -> None:
    """No option of the command line, no text of a library, and no prefix in what a tool refuses."""
    for tool, arguments, said in (
        ("show_attempt", {"attempt": 99}, "there is no attempt 99\nhint: `attempts` lists them"),
        ("submit_edit", {"attempt": "x"}, "attempt: input should be a valid integer"),
        ("impact", {"paths": ["no/where.py"]}, "no/where.py is neither in"),
        ("self_edit", {"task": "x"}, "no editor is configured"),
        ("status", {"repo": "/nowhere"}, "hint:"),
    ):
        result = await client.call_tool(tool, arguments)
        text = result.content[0].text
        assert result.is_error
        assert said in text
        assert not [
            one for one in ("--", "pydantic", "Error executing", "self-coding") if one in text
        ]


@connected_once
async def test_any_repository_can_be_named(client: Client, repository: Path) -> None:
    """A call goes to the repository that it names, whatever its main branch is called."""
    other = sample_repo(repository.parent / "other")
    subprocess.run(["git", "branch", "-m", "trunk"], cwd=other, check=True)
    told = await _call(client, "status", repo=str(other / "src"))
    assert (told["repository"], told["main_branch"]) == (str(other), "trunk")
    begun = await _call(client, "begin_edit", task="Add triple", repo=str(other))
    file = Path(str(begun["worktree"])) / "src/calc/core.py"
    file.write_text(file.read_text() + EDIT)
    attempt, repo = begun["attempt"], str(other)
    assert (await _call(client, "submit_edit", attempt=attempt, repo=repo))["stage"] == "landed"
    assert (await _call(client, "attempts"))["attempts"] == []
    assert (await _call(client, "status"))["repository"] == str(repository)


@connected_once
async def test_an_open_attempt_is_shown_with_its_next_call(
    client: Client, repository: Path
) -> None:
    """show_attempt tells what waits, in which worktree, after which refusal."""
    begun = await _call(client, "begin_edit", task="Break it")
    (Path(str(begun["worktree"])) / "src/calc/core.py").write_text(BREAK)
    await _call(client, "submit_edit", attempt=begun["attempt"])
    shown = await _call(client, "show_attempt", attempt=begun["attempt"])
    assert shown["waiting"]["worktree"] == begun["worktree"]
    assert "tests failed" in shown["waiting"]["why"]
    assert "submit_edit" in shown["waiting"]["next"]


@connected_once
async def test_an_open_attempt_is_called_open(client: Client, repository: Path) -> None:
    """An attempt that waits for its next try is no failure; its resource names the next call."""
    begun = await _call(client, "begin_edit", task="Break it")
    (Path(str(begun["worktree"])) / "src/calc/core.py").write_text(BREAK)
    assert (await _call(client, "submit_edit", attempt=begun["attempt"]))["stage"] == "refused"
    read = (await client.read_resource(f"attempt://{begun['attempt']}")).contents[0]
    told = json.loads(read.text)
    assert told["outcome"] == "open"
    assert told["waiting"]["worktree"] == begun["worktree"]
    assert f"submit_edit(attempt={begun['attempt']})" in told["waiting"]["next"]
    shown = await _call(client, "show_attempt", attempt=begun["attempt"])
    assert shown["attempt"]["outcome"] == "open"
    await _call(client, "drop_edit", attempt=begun["attempt"])
    ended = (await _call(client, "attempts"))["attempts"]
    assert [one["outcome"] for one in ended] == ["failure"], "its last try was refused"


@connected_once
async def test_what_is_written_while_tests_run_is_not_lost(
    client: Client, repository: Path
) -> None:
    """Who edits on after a submission is told that it did not land, and can begin with it."""
    begun = await _call(client, "begin_edit", task="Add triple")
    place = Path(str(begun["worktree"]))
    (place / "src/calc/extra.py").write_text(EDIT)
    (place / "tests/test_slow.py").write_text("import time\n\ndef test_slow(): time.sleep(20)\n")
    told = await _call(client, "submit_edit", attempt=begun["attempt"], wait=0)
    while "test:" not in told["message"]:
        told = await _call(client, "wait_edit", attempt=begun["attempt"], wait=1)
    assert told["stage"] == "testing"
    (place / "src/calc/late.py").write_text("LATE = 1\n")
    told = await _call(client, "submit_edit", attempt=begun["attempt"])
    assert told["stage"] == "landed"
    assert "no part of it: src/calc/late.py" in str(told["message"])
    assert f"begin_edit(from_attempt={begun['attempt']})" in str(told["hint"])
    again = await _call(client, "begin_edit", task="The rest", from_attempt=begun["attempt"])
    assert (Path(str(again["worktree"])) / "src/calc/late.py").read_text() == "LATE = 1\n"


@connected_once
async def test_links_lead_to_the_repository_of_the_call(client: Client, repository: Path) -> None:
    """Links of a call for another repository read that one's attempts, not the server's own."""
    other = sample_repo(repository.parent / "an other")
    begun = await _call(client, "begin_edit", task="Break it", repo=str(other))
    (Path(str(begun["worktree"])) / "src/calc/core.py").write_text(BREAK)
    call = {"attempt": begun["attempt"], "repo": str(other)}
    red = await client.call_tool("submit_edit", call)
    uris = [str(one.uri) for one in red.content if one.type == "resource_link"]
    texts = [(await client.read_resource(uri)).contents[0].text for uri in uris]
    assert any("broken on purpose" in text for text in texts)
    with pytest.raises(Exception, match="no attempt 1"):
        await client.read_resource("attempt://1")


@connected
async def test_attempts_are_resources(client: Client, repository: Path) -> None:
    """An attempt and its diff can be read as resources; an unknown one is not found."""
    edited = await _call(client, "self_edit", task="Add triple", patch=_patch(repository))
    number = edited["attempt"]
    told = (await client.read_resource(f"attempt://{number}")).contents[0]
    assert json.loads(told.text)["id"] == number
    diff = (await client.read_resource(f"attempt://{number}/diff")).contents[0]
    assert "triple" in diff.text
    assert "modules" in (await client.read_resource("repository://summary")).contents[0].text
    with pytest.raises(Exception, match="no attempt"):
        await client.read_resource("attempt://999")


@connected
async def test_prompts_are_offered(client: Client, repository: Path) -> None:
    """The prompts carry the task into a sequence of tool calls."""
    prompt = await client.get_prompt("safe_edit", {"task": "fix it"})
    assert "begin_edit" in str(prompt.messages[0].content)


async def test_a_cancelled_call_leaves_the_editor_at_work(repository: Path, tmp_path: Path) -> None:
    """Who stops waiting finds the attempt again, and what came of it; `drop_edit` kills it."""
    mark = tmp_path / "started"
    (repository / "self-coding.toml").write_text(
        f"[editors]\nslow = \"sh -c 'touch {mark}; sleep 60; touch {tmp_path}/survived'\"\n"
    )
    open_app(repository).trust()
    async with Client(_server(repository), mode="legacy") as client:
        call = asyncio.create_task(client.call_tool("self_edit", {"task": "x", "editor": "slow"}))
        async with asyncio.timeout(30):
            while not mark.exists():
                await asyncio.sleep(0.05)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        [open_one] = (await _call(client, "status"))["waiting"]
        assert open_one["waiting"] == "process"
        dropped = await _call(client, "drop_edit", attempt=open_one["attempt"])
    assert dropped["stage"] == "cancelled"
    assert not (tmp_path / "survived").exists()
    left = subprocess.run(["pgrep", "-f", str(mark)], capture_output=True, text=True)
    assert left.stdout == ""
