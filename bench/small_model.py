"""What a small language model can do: whole self-edits and a reflection, over loopback.

    python bench/small_model.py MODEL.gguf [--tries 3] [--json OUT]
    python bench/small_model.py MODEL.gguf --tools 12

Serves the file with llama.cpp (the `xllamacpp` wheel, one thread) and lets the model editor do
small tasks in the sample repository, each in a fresh copy, through the configured client and the
whole gate. A task counts as done when it landed and a check that the model never saw holds. Before
that the same server is asked for a reflection on a failure. Prints one row a task.

With --tools it only chooses, for so many tasks in an agent's words, one of the MCP server's tools
by its name and the first line of its description; its answer is held to a tool's name.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path

from self_coding.app import model_editor, open_app
from self_coding.reflection import ReflectionService
from self_coding.testing import git, sample_repo
from self_coding.values.attempts import ModificationAttempt, Outcome

TASKS = {
    "In src/calc/core.py, add a function triple(a) that returns three times a.": (
        "from calc.core import triple\nassert triple(4) == 12"
    ),
    "In src/calc/core.py, let add accept floats in its annotations, too.": (
        "from calc.core import add\nassert add(1.5, 2) == 3.5\n"
        "assert 'float' in str(add.__annotations__)"
    ),
    "Add a new file src/calc/product.py with a function times(a, b) that returns a * b.": (
        "from calc.product import times\nassert times(3, 4) == 12"
    ),
    "In src/calc/report.py, add a function twice(a) which returns for 4 the text 'twice 4 = 8'.": (
        "from calc.report import twice\nassert twice(4) == 'twice 4 = 8'"
    ),
    "In src/calc/report.py, rename line to sentence, and change its test.": (
        "from calc.report import sentence\nassert sentence(1, 2) == '1 + 2 = 3'"
    ),
    "Let double in src/calc/core.py raise a ValueError when a is negative.": (
        "from calc.core import double\nassert double(2) == 4\n"
        "try:\n    double(-1)\nexcept ValueError:\n    pass\nelse:\n    raise SystemExit(1)"
    ),
}
OUTPUT = """\
    def test_mean():
>       assert mean([1, 2]) == 1.5
E       assert 1 == 1.5
tests/test_stats.py:4: AssertionError
FAILED tests/test_stats.py::test_mean - assert 1 == 1.5
"""
DIFF = """\
--- a/src/stats.py
+++ b/src/stats.py
@@ -1,2 +1,2 @@
 def mean(values):
-    return sum(values) / len(values)
+    return sum(values) // len(values)
"""


@dataclass
class Row:
    """What came of one task."""

    task: str
    landed: bool
    right: bool
    why: str
    tokens: int
    seconds: float


def serve(weights: Path) -> tuple[object, str]:
    """llama.cpp on a free port of loopback; the server lives as long as the first value."""
    import xllamacpp

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = xllamacpp.CommonParams()
    settings.model.path = str(weights)
    settings.hostnames = ["127.0.0.1"]
    settings.port, settings.n_ctx, settings.n_parallel = port, 8192, 1
    settings.cpuparams.n_threads, settings.cpuparams.poll = 1, 0
    return xllamacpp.Server(settings), f"http://127.0.0.1:{port}/v1"


async def attempt(task: str, check: str, url: str, tries: int) -> Row:
    """One self-edit in a fresh repository, judged from outside."""
    with tempfile.TemporaryDirectory() as folder:
        repo = sample_repo(Path(folder) / "repo")
        model = {"name": "openai:small", "base_url": url, "timeout": 400.0, "max_tokens": 600}
        layer = open_app(repo, environ={}, model=model, context_tokens=800, edit_seconds=900.0)
        layer.reflection.llm_adapter = None
        started = time.monotonic()
        result = await layer.edit.self_edit(task, editor=model_editor(layer.settings), tries=tries)
        events = [await layer.journal.events(number) for number in result.attempts]
        tokens = sum(
            int(str(event.data.get("tokens") or 0))
            for events_ in events
            for event in events_
            if event.kind == "written"
        )
        git(repo, "checkout", "-q", "main")
        checked = subprocess.run(
            [sys.executable, "-c", check], cwd=repo / "src", capture_output=True, check=False
        )
        return Row(
            task=task,
            landed=result.success,
            right=result.success and not checked.returncode,
            why="" if result.success else result.message,
            tokens=tokens,
            seconds=round(time.monotonic() - started),
        )


async def reflect(url: str) -> str:
    """What the service makes of the model's typed reply."""
    from self_coding.adapters.llm import open_model

    failed = ModificationAttempt(
        "Make mean faster", diff=DIFF, test_results=OUTPUT, outcome=Outcome.FAILURE,
        files_modified=["src/stats.py"], failure_analysis="tests/test_stats.py::test_mean failed",
    )  # fmt: skip
    model = open_model("openai:small", base_url=url, timeout=400, max_tokens=600)
    with_model = await ReflectionService(model).reflect_on_attempt(failed)
    without = await ReflectionService(None).reflect_on_attempt(failed)
    return "the text from the evidence" if with_model == without else with_model


async def campaign(url: str, tries: int) -> list[Row]:
    print("reflection:", await reflect(url), flush=True)
    rows = []
    for task, check in TASKS.items():
        row = await attempt(task, check, url, tries)
        ended = "landed, right" if row.right else "landed, WRONG" if row.landed else row.why
        print(f"| {row.task} | {ended} | {row.tokens} | {row.seconds:.0f} |", flush=True)
        rows.append(row)
    return rows


def choose(url: str, count: int) -> None:
    """Have the model choose a tool for the tasks that the tests have in an agent's words."""
    sys.path.append(str(Path(__file__).parents[1] / "tests" / "unit" / "mcp"))
    from test_mcp_tools import TASKS as WORDS

    from self_coding.mcp_server import build

    with tempfile.TemporaryDirectory() as folder:
        top = sample_repo(Path(folder) / "repository")
        tools = asyncio.run(build(open_app(top, environ={})).list_tools())
    told = "\n".join(f"{one.name}: {(one.description or '').splitlines()[0]}" for one in tools)
    system = f"Choose the one tool for the task. Answer with its name alone.\n{told}"
    schema = {"name": "tool", "schema": {"enum": [one.name for one in tools]}}
    right = 0
    for name, (task, *_) in list(WORDS.items())[:count]:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": task}]
        asked = {"messages": messages, "temperature": 0, "max_tokens": 20}
        asked["response_format"] = {"type": "json_schema", "json_schema": schema}
        request = urllib.request.Request(
            f"{url}/chat/completions",
            json.dumps(asked).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=300) as answer:
            said = json.load(answer)["choices"][0]["message"]["content"].strip().strip('"')
        right += said == name
        print(f"| {task} | {name} | {said} |", flush=True)
    print(f"{right} of {count} right, of {len(tools)} tools")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("--tries", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tools", type=int, metavar="TASKS")
    args = parser.parse_args()
    server, url = serve(args.weights)
    if args.tools:
        choose(url, args.tools)
        return
    rows = asyncio.run(campaign(url, args.tries))
    del server
    right, landed = sum(row.right for row in rows), sum(row.landed for row in rows)
    print(f"{args.weights.name}: {len(rows)} tasks, {landed} landed, {right} of them right")
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
