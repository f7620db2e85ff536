"""No answer of a tool is longer than a client can take, and nothing of it is lost."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from mcp_types import CallToolResult, ResourceLink, TextContent

from self_coding.app import open_app
from self_coding.mcp_server import build
from self_coding.mcp_server.answers import ANSWERS
from self_coding.mcp_server.bounds import BUDGET, Answers, compact, fit
from self_coding.modification_journal import ModificationAttempt
from self_coding.testing import sample_repo
from self_coding.values.attempts import Outcome
from self_coding.values.results import Attempts

TOKENS = 4_000


def test_the_largest_part_is_cut_first() -> None:
    """What is short stays whole; lists, tables and texts lose their ends or their middle."""
    whole = {"many": list(range(9999)), "few": [1, 2], "text": "x\n" * 9000, "by": {"a": 1}}
    whole["own"] = {"id": 1, "text": "x" * 500}
    cut = fit(whole, 2_500)
    assert len(compact(cut)) <= 2_600
    assert (cut["few"], cut["by"], cut["own"]) == ([1, 2], {"a": 1}, whole["own"])
    assert cut["many"] == list(range(len(cut["many"])))
    assert fit(whole, 1_000_000) == whole
    assert fit({"one": ["x" * 50]}, 10) == {"one": ["x" * 50]}, "a single entry stays"


def test_what_is_left_out_can_be_read() -> None:
    """A cut list says how many more there are and where; page by page all of it comes."""
    answers = Answers()
    whole = [f"src/module_{number}.py" for number in range(2_000)]
    result = answers.result({"paths": whole, "risk": 0.5})
    told = result.structured_content or {}
    [link] = [one for one in result.content if isinstance(one, ResourceLink)]
    assert told["more"]["paths"] == f"{2_000 - len(told['paths'])} more: {link.uri}"
    seen, uri = list(told["paths"]), str(link.uri)
    while uri:
        text = answers.read(*uri.removeprefix("answer://").split("/")) or ""
        assert len(text) < BUDGET * 1.2
        *lines, last = text.splitlines()
        uri = last.rpartition(" ")[2] if "more: answer://" in last else ""
        seen += lines if uri else [*lines, last]
    assert seen == whole
    assert answers.read("99", "paths", "0") is None
    assert answers.read("x", "paths", "y") is None


def test_prose_is_plain_text_and_facts_are_compact() -> None:
    """A text of several lines is not escaped into JSON; empty facts are not told."""
    result = Answers().result({"attempt": 1, "context": "one\ntwo", "warning": "", "files": []})
    texts = [one.text for one in result.content if isinstance(one, TextContent)]
    assert texts == ['{"attempt":1}', "context:\none\ntwo"]
    assert (result.structured_content or {})["warning"] == ""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of ten thousand files, most of which import one, with a long journal."""
    top = tmp_path_factory.mktemp("large")
    package = top / "src" / "pkg"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from pkg.core import Thing\n")
    (package / "core.py").write_text("class Thing:\n    def run(self): ...\n")
    for number in range(100):
        folder = package / f"part_{number}"
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        for file in range(98):
            uses = "from pkg.core import Thing\nTHING = Thing\n" if file < 20 else "import pkg\n"
            blind = "import importlib\nimportlib.import_module(input())\n" if not file else ""
            (folder / f"module_{file}.py").write_text(
                f"{uses}{blind}def f_{number}_{file}(): ...\n"
            )
    (top / "tests").mkdir()
    for number in range(200):
        (top / "tests" / f"test_{number}.py").write_text(
            "import pkg\n\ndef test_it(): assert pkg\n"
        )
    words = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for rest in (["init", "-qb", "main"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*words, *rest], cwd=top, check=True)
    journal = open_app(top, environ={}).journal

    async def fill() -> None:
        for number in range(60):
            await journal.log_attempt(
                ModificationAttempt(
                    task_description=f"Change the thing {number} " + "again " * 400,
                    files_modified=[f"src/pkg/part_{one}/module_1.py" for one in range(99)],
                    diff="+x = 1\n" * 5000,
                    test_results="E  assert\n" * 5000,
                    outcome=Outcome.FAILURE,
                    failure_analysis="because " * 500,
                    reflection="what was learnt " * 300,
                )
            )

    asyncio.run(fill())
    return top


CALLS: dict[str, dict[str, Any]] = {
    "status": {},
    "attempts": {"limit": 60},
    "show_attempt": {"attempt": 1},
    "similar_attempts": {"task": "Change the thing again", "limit": 50},
    "success_rates": {"by": "area"},
    "relevant_files": {"task": "thing", "limit": 500},
    "impact": {"paths": ["src/pkg/core.py"]},
    "symbol_users": {"symbol": "Thing", "limit": 5000},
    "code_summary": {},
    "context": {"task": "change the Thing in src/pkg/core.py"},
    "begin_edit": {"task": "Change the thing"},
    "snapshot": {},
    "plan_rollback": {"target": "HEAD"},
    "inbox": {},
}

#: Their answers are about one attempt or one operation, and have the same bound.
ANSWER_OF_ONE = {
    "self_edit", "check_edit", "submit_edit", "wait_edit", "land_edit", "drop_edit", "rollback",
    "undo", "plan_undo", "report_error",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_every_answer_is_bounded_on_a_large_repository(large: Path) -> None:
    """On ten thousand files and a long journal no answer has more than four thousand tokens."""
    server = build(open_app(large, environ={}))
    offered = {tool.name for tool in await server.list_tools()}
    assert offered - CALLS.keys() <= ANSWER_OF_ONE, "a new tool is called here, too"
    sizes: dict[str, int] = {}
    for tool, arguments in CALLS.items():
        result = await server.call_tool(tool, arguments)
        assert isinstance(result, CallToolResult)
        assert not result.is_error, result.content
        told = sum(len(getattr(one, "text", "") or str(one)) for one in result.content)
        sizes[tool] = max(told, len(json.dumps(result.structured_content))) // 4
    assert {tool: size for tool, size in sizes.items() if size > TOKENS} == {}
    assert sizes["impact"] <= 2_700
    impact = await server.call_tool("impact", CALLS["impact"])
    told = impact.structured_content
    assert told["counts"]["dependents"] > 9_000
    assert told["counts"]["using"] == 2_001
    assert all("uses Thing" in one for one in told["dependents"])
    assert all(one.startswith("src/pkg") for one in told["blind_spots"])
    assert "more: answer://" in told["more"]["dependents"]


async def test_what_is_beyond_a_limit_can_be_read(tmp_path: Path) -> None:
    """Every list that has a limit says how much more there is, and as which resource."""
    app = open_app(sample_repo(tmp_path / "repository"), environ={})
    for number in range(6):
        await app.journal.log_attempt(ModificationAttempt(f"Change number {number} of the sums"))
    no_word = await app.journal.begin("Change the sums where nothing runs")
    await app.journal.finish(no_word, Outcome.FAILURE, stage="environment")
    server = build(app)
    limited = {
        "attempts": ("attempts", {}),
        "similar_attempts": ("similar", {"task": "Change the sums"}),
        "relevant_files": ("files", {"task": "add two numbers, report the line"}),
        "symbol_users": ("uses", {"symbol": "add"}),
    }
    tools = await server.list_tools()
    assert {tool.name for tool in tools if "limit" in tool.input_schema["properties"]} == {*limited}
    for tool, (name, arguments) in limited.items():
        whole = (await server.call_tool(tool, {**arguments, "limit": 50})).structured_content[name]
        result = await server.call_tool(tool, {**arguments, "limit": 1})
        assert result.structured_content[name] == whole[:1] != whole
        [link] = [one for one in result.content if isinstance(one, ResourceLink)]
        [rest] = await server.read_resource(str(link.uri))
        assert len(rest.content.splitlines()) == len(whole) - 1, tool
    told = (await server.call_tool("attempts", {})).structured_content["attempts"]
    assert [one["outcome"] for one in told] == ["environment", *["failure"] * 6]


def test_a_list_inside_an_entry_tells_what_it_left_out() -> None:
    """An entry of a list names some files and says how many more there are."""
    files = [f"{n}.py" for n in range(8)]
    one = ModificationAttempt("t", files_modified=files, id=1)
    told = ANSWERS["attempts"].of(Attempts(attempts=[one], waiting=[], has_more=True))
    assert told.attempts[0].files == [*files[:5], "and 3 more"]
    assert told.has_more
