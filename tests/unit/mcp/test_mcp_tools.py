"""The tools as a model meets them: by their list alone."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path

import pytest
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import Tool

from journal_stores import database
from self_coding.app import open_app
from self_coding.mcp_server import build
from self_coding.mcp_server.answers import ANSWERS
from self_coding.testing import sample_repo
from self_coding.values.edits import SelfEditResult

LONGEST = 12_000  # characters of the list: 3,000 tokens; JSON of this kind has 4.3 a token
#: What an agent wants in words of its own, twice for each tool; the chooser knows nothing else.
TASKS = {
    "relevant_files": (
        "Which files does this bug report concern: the total of an invoice is rounded wrongly?",
        "Locate the source files related to this traceback.",
    ),
    "impact": (
        "What can break, and which tests must run, if I change src/shop/prices.py?",
        "List the dependents of this module that may be affected by modifying it.",
    ),
    "symbol_users": (
        "Who calls the function parse_date?",
        "Find all usages and references of the class Invoice.",
    ),
    "code_summary": (
        "Give me an overview of the modules and classes of this code base in two thousand tokens.",
        "Summarize the architecture of the project.",
    ),
    "context": (
        "Show me all that an editor would be shown for this task: code, lessons, past attempts.",
        "What context and lessons should I read before I edit the parser?",
    ),
    "begin_edit": (
        "Begin a change: I want a worktree of my own to edit files with my own tools.",
        "Create an isolated worktree for a new task.",
    ),
    "check_edit": (
        "Run the tests on my edit of attempt 4 so far, but do not land it yet.",
        "Verify my unfinished edit against the test suite; nothing may be merged.",
    ),
    "submit_edit": (
        "My edit of attempt 4 is finished: test it and land it on main.",
        "I am done editing; submit the change so that it is tested and merged.",
    ),
    "wait_edit": (
        "Attempt 4 is still being tested. Wait until that has ended.",
        "Poll the running submission until its result is there.",
    ),
    "self_edit": (
        "Apply this unified diff for me, and land it when its tests pass.",
        "Let another editor such as claude or aider make this change.",
    ),
    "land_edit": (
        "The person has approved attempt 4, which waits green. Land it.",
        "Merge the proposed attempt that was approved.",
    ),
    "drop_edit": (
        "Give up attempt 4: end it, but keep its commits.",
        "Discard the attempt; we do not want it any more.",
    ),
    "status": (
        "I am new here: does anything wait from an earlier session, and is main red?",
        "Which edits are unfinished right now, and what is the next step for each?",
    ),
    "inbox": (
        "What needs my decision most urgently, and what was decided lately?",
        "Tell me about approvals and edits that are about to expire.",
    ),
    "report_error": (
        "The program printed this uncaught traceback. Report it, so that it becomes a task.",
        "Report this exception of the program as an error, without editing anything yet.",
    ),
    "attempts": (
        "List the newest attempts that failed.",
        "Show the history of attempts.",
    ),
    "show_attempt": (
        "Why did attempt 7 fail? Show its change and its events.",
        "Display the diff and the test output of attempt 12.",
    ),
    "similar_attempts": (
        "Has anybody tried this task before, and is it a known dead end?",
        "Look for earlier attempts at a similar task and the lessons from them.",
    ),
    "success_rates": (
        "How often do edits succeed, for each editor?",
        "Show statistics: the share of attempts that succeeded.",
    ),
    "snapshot": (
        "Record the state of the working tree before I try something risky.",
        "Save a checkpoint of uncommitted files so that they can be restored later.",
    ),
    "plan_rollback": (
        "What would a rollback to this commit do? Change nothing.",
        "Preview which files a rollback would overwrite.",
    ),
    "rollback": (
        "Go back to the snapshot that I took.",
        "Restore the repository to an earlier commit.",
    ),
    "plan_undo": (
        "What would undo take back? Change nothing.",
        "Preview whether undo would be refused, and why.",
    ),
    "undo": (
        "Take back the last landing.",
        "Revert what the last merge did to the repository.",
    ),
}
_COMMON = re.compile(
    r"(?:an?|and|any|are|as|at|be|been|before|by|can|did|do|does|for|from|get|give|has|have|how|i|"
    r"if|in|into|is|its?|just|me|my|not|now|o[fnr]|out|so|that|the|their|them|then|there|these|"
    r"they|this|to|up|was|what|when|where|which|who|why|will|with|without|your?)"
)


def _words(text: str) -> list[str]:
    """The words that tell something, without their commonest endings."""
    found = [word for word in re.findall(r"[a-z]+", text.lower()) if not _COMMON.fullmatch(word)]
    return [re.sub(r"(?<=\w{3})(?:ing|ed|es|s|e)$", "", word) for word in found]


def _choose(task: str, tools: list[Tool]) -> str:
    """The tool whose name, title, texts and parameters rank first by BM25, the name twice."""
    texts: dict[str, Counter[str]] = {}
    for tool in tools:
        parameters = tool.input_schema["properties"].items()
        said = [f"{name} {one['description']}" for name, one in parameters]
        whole = " ".join([tool.name, tool.name, tool.title or "", tool.description or "", *said])
        texts[tool.name] = Counter(_words(whole.replace("_", " ")))
    length = sum(map(Counter.total, texts.values())) / len(texts)
    scores: Counter[str] = Counter()
    for word in set(_words(task)):
        having = sum(word in text for text in texts.values())
        rarity = math.log(1 + (len(texts) - having + 0.5) / (having + 0.5))
        for name, text in texts.items():
            share = 1.2 * (0.25 + 0.75 * text.total() / length)
            scores[name] += rarity * text[word] * 2.2 / (text[word] + share)
    return scores.most_common(1)[0][0]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_repo(tmp_path_factory.mktemp("tools") / "repository")


async def test_descriptions_alone_lead_to_the_right_tool(repository: Path) -> None:
    """Who ranks the tools by the words of a task finds the one for it first, whatever the words."""
    tools = await build(open_app(repository, environ={})).list_tools()
    chosen = {task: _choose(task, tools) for tasks in TASKS.values() for task in tasks}
    wanted = {task: name for name, tasks in TASKS.items() for task in tasks}
    assert chosen == wanted


async def test_the_list_is_short_and_says_all(repository: Path) -> None:
    """A model sees each parameter described and bounded, within three thousand tokens."""
    tools = await build(open_app(repository, environ={})).list_tools()
    told = [[tool.name, tool.description, tool.input_schema] for tool in tools]
    assert len(json.dumps(told, separators=(",", ":"))) <= LONGEST
    schemas = [one for tool in tools for one in tool.input_schema["properties"].values()]
    assert all(one["description"] for one in schemas)
    assert all("minimum" in one for one in schemas if one["type"] == "integer")
    assert not [one for one in schemas if "title" in one or "anyOf" in one], "costs, tells nothing"


async def test_a_model_hands_tasks_to_the_fleet(repository: Path, monkeypatch) -> None:
    """Where a server has the journals there are tools for it, which cost nobody else a token."""
    fleet = {"submit", "workers", "cancel"}
    alone = await build(open_app(repository, environ={})).list_tools()
    assert not fleet & {tool.name for tool in alone}
    app = open_app(repository, environ={}, database=database())
    server = build(app)
    tools = [tool for tool in await server.list_tools() if tool.name in fleet]
    assert {tool.name for tool in tools} == fleet
    told = [[tool.name, tool.description, tool.input_schema] for tool in tools]
    assert len(json.dumps(told, separators=(",", ":"))) <= LONGEST / 6
    given = {"task": "Add two", "patch": "", "repo": None, "editor": "claude", "priority": 3}
    done = (await server.call_tool("submit", given)).structured_content
    assert (done["job"], done["repository"]) == (1, str(repository))
    assert "`workers`" in done["next"]
    [job] = (await server.call_tool("workers", {})).structured_content["jobs"]
    assert (job["task"], job["state"], job["priority"]) == ("Add two", "waiting", 3)
    ended = (await server.call_tool("cancel", {"job": 1})).structured_content
    assert ended["state"] == "cancelled"
    with pytest.raises(ToolError, match="has ended: cancelled"):
        await server.call_tool("cancel", {"job": 1})


async def test_null_still_means_not_given(repository: Path) -> None:
    """A model that fills in every argument with null, or with nothing, is understood."""
    server = build(open_app(repository, environ={}))
    nothing = {"task": "add two numbers", "limit": 1, "repo": None}
    told = (await server.call_tool("relevant_files", nothing)).structured_content
    assert [one["path"] for one in told["files"]] == ["src/calc/core.py"]
    empty = {"symbol": "add", "path": "", "repo": ""}
    assert (await server.call_tool("symbol_users", empty)).structured_content["uses"]


@pytest.mark.parametrize("number", [2, 40])
def test_an_empty_edit_names_the_tool_that_shows_it(number: int) -> None:
    """A refusal's next call is one of the list, with its argument."""
    hint = f"show_attempt(attempt={number})"
    result = SelfEditResult(
        success=False, message="nothing was changed", by="empty", attempt_id=number, hint=hint
    )
    assert ANSWERS["self_edit"].of(result).hint == hint
