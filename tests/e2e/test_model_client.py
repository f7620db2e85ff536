"""The model clients speak the real protocol to a real server, whatever that server does."""

from __future__ import annotations

import json
import socket
import sys
import time
from dataclasses import asdict, dataclass

import pytest
from openai_server import Say, serving

from self_coding.adapters.llm import LanguageModel, Usage, open_model
from self_coding.errors import (
    ConfigError,
    MissingExtraError,
    ModelReplyError,
    ModelUnavailableError,
)
from self_coding.reflection import ReflectionService
from self_coding.reflection.texts import Analysis
from self_coding.values.attempts import ModificationAttempt, Outcome


@dataclass
class Colour:
    name: str
    parts: list[int]


GOOD = '{"name": "red", "parts": [255, 0, 0]}'


def model(url: str, timeout: float = 20.0) -> LanguageModel:
    return open_model("openai:scripted", base_url=url, timeout=timeout)


async def test_a_reply_comes_with_what_it_took() -> None:
    """Text, provider and the tokens that the service counted."""
    with serving(Say("hello")) as script:
        reply = await model(script.url).chat(message="Hi", context="Be kind")
    assert (reply.content, reply.provider_used) == ("hello", "openai:scripted")
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (100, 20)
    assert "Hi" in script.prompt(0)
    assert "Be kind" in script.prompt(0)


@pytest.mark.parametrize("text", [GOOD, f"```json\n{GOOD}\n```"])
async def test_a_typed_reply_is_a_value(text: str) -> None:
    """JSON in the asked form comes back as the dataclass, fenced or not."""
    with serving(Say(text)) as script:
        answer = await model(script.url).ask(message="A colour?", form=Colour)
    assert answer.value == Colour("red", [255, 0, 0])
    assert len(script.asked) == 1


@pytest.mark.parametrize("first", ["not json", '{"name": "red"}', '{"name": "red", "parts": [1'])
async def test_a_wrong_reply_is_asked_for_once_more(first: str) -> None:
    """The second request carries what was wrong with the first reply."""
    with serving(Say(first), Say(GOOD)) as script:
        answer = await model(script.url).ask(message="A colour?", form=Colour)
    assert answer.value.name == "red"
    assert answer.usage.requests == 2
    assert first[:8] in script.prompt(1)


async def test_the_form_is_handed_over_and_said() -> None:
    """The service gets the schema to constrain the reply with, the model the same in words."""
    with serving(Say(GOOD)) as script:
        await model(script.url).ask(message="A colour?", form=Colour)
    wanted = script.asked[0]["response_format"]
    assert isinstance(wanted, dict)
    assert wanted["type"] == "json_schema"
    assert set(wanted["json_schema"]["schema"]["properties"]) == {"name", "parts"}
    assert '"parts"' in script.prompt(0)


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_a_service_that_knows_no_schemas_is_asked_in_words(status: int) -> None:
    """A request that it refuses is made once more without them, and from then on only so."""
    with serving(Say("no such field", status=status), Say(GOOD)) as script:
        asked = model(script.url)
        for _ in range(2):
            answer = await asked.ask(message="A colour?", form=Colour)
            assert answer.value == Colour("red", [255, 0, 0])
    formats = [request.get("response_format") for request in script.asked]
    plain = [isinstance(one, dict) and one["type"] == "json_schema" for one in formats]
    assert plain == [True, False, False]


async def test_a_failed_check_is_told_to_the_model() -> None:
    """What the caller's check says reaches the model word for word."""
    blue = '{"name": "blue", "parts": []}'
    with serving(Say(GOOD), Say(blue)) as script:
        answer = await model(script.url).ask(
            message="A colour?",
            form=Colour,
            check=lambda said: "" if said.name == "blue" else "it must be blue",
        )
    assert answer.value.name == "blue"
    assert "it must be blue" in script.prompt(1)


@pytest.mark.parametrize("text", ["nonsense", "", '{"name": 1}'])
async def test_a_model_that_never_fits_is_refused(text: str) -> None:
    """After the second wrong reply comes an error, not a third request."""
    with serving(Say(text)) as script, pytest.raises(ModelReplyError):
        await model(script.url).ask(message="A colour?", form=Colour)
    assert len(script.asked) == 2


async def test_a_silent_model_costs_its_time_limit_and_no_more() -> None:
    """A server that does not answer is given up after the limit."""
    started = time.monotonic()
    with (
        serving(Say("late", delay=30)) as script,
        pytest.raises(ModelUnavailableError, match="within"),
    ):
        await model(script.url, timeout=0.5).chat(message="Hi")
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
async def test_a_refusing_server_is_a_model_that_does_not_answer(status: int) -> None:
    """Every error status is one typed error with a hint."""
    with (
        serving(Say("no", status=status)) as script,
        pytest.raises(ModelUnavailableError) as caught,
    ):
        await model(script.url).chat(message="Hi")
    assert caught.value.hint


@pytest.mark.parametrize("raw", [b"", b"<html>proxy</html>", b"{}", b'{"choices": []}'])
async def test_garbage_on_the_wire_is_a_typed_error(raw: bytes) -> None:
    """An answer that is no completion at all never surfaces as a foreign exception."""
    with serving(Say(raw=raw)) as script, pytest.raises((ModelReplyError, ModelUnavailableError)):
        await model(script.url).chat(message="Hi")


async def test_nobody_listening_is_a_model_that_does_not_answer() -> None:
    """A refused connection is one typed error."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(ModelUnavailableError):
        await model(url).chat(message="Hi")


@pytest.mark.parametrize("name", ["gpt", "openai:", "nobody:x"])
def test_an_unknown_name_is_a_setting_error(name: str) -> None:
    """A model is named by provider and name; anything else is refused with a hint."""
    with pytest.raises(ConfigError) as caught:
        open_model(name)
    assert caught.value.hint


def test_ollama_is_this_machine_by_default() -> None:
    """The name is enough for a local model."""
    assert open_model("ollama:qwen3").name == "ollama:qwen3"


@pytest.mark.parametrize(
    ("name", "extra", "module"),
    [("openai:x", "llm", "openai"), ("anthropic:x", "anthropic", "anthropic")],
)
def test_a_missing_extra_is_named(
    name: str, extra: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the library there is one sentence that says what to install."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=extra) as caught:
        open_model(name)
    assert caught.value.extra == extra


OUTPUT = (
    "=" * 35 + " FAILURES " + "=" * 35 + "\n___________ test_a ___________\n"
    "tests/test_a.py:3: in test_a\n    assert f() == 2\nE   assert 1 == 2\n"
    "=========================== short test summary info ============================\n"
    "FAILED tests/test_a.py::test_a - assert 1 == 2\n1 failed in 0.01s\n"
)
ATTEMPT = ModificationAttempt(
    task_description="Make f return 2",
    files_modified=["a.py"],
    test_results=OUTPUT,
    outcome=Outcome.FAILURE,
    failure_analysis="f still returns 1",
)
CITING = Analysis("It ran.", "Return 2.", "f returns 1", "Check f first.", ["assert 1 == 2"])


async def test_a_reflection_is_the_models_when_it_cites_evidence() -> None:
    """A typed reply with real evidence becomes the text, beside our own facts."""
    with serving(Say(json.dumps(asdict(CITING)))) as script:
        text = await ReflectionService(llm_adapter=model(script.url)).reflect_on_attempt(ATTEMPT)
    assert "Check f first." in text
    assert "- tests/test_a.py::test_a" in text
    assert "assert 1 == 2" in script.prompt(0)


async def test_invented_evidence_is_refused_once_and_then_replaced() -> None:
    """A reply that cites what nobody wrote is objected to, then the evidence alone speaks."""
    lie = json.dumps(asdict(CITING) | {"evidence": ["assert 7 == 8, surely"]})
    with serving(Say(lie)) as script:
        text = await ReflectionService(llm_adapter=model(script.url)).reflect_on_attempt(ATTEMPT)
    assert len(script.asked) == 2
    assert "not in the quoted data" in script.prompt(1)
    assert "Check f first." not in text
    assert "f still returns 1" in text


@pytest.mark.parametrize("say", [Say("1.1.1.1.1"), Say("", status=500), Say("x", delay=30)])
async def test_a_useless_model_leaves_the_evidence(say: Say) -> None:
    """Whatever the model does, a reflection comes back, made from the attempt."""
    with serving(say) as script:
        service = ReflectionService(llm_adapter=model(script.url, timeout=0.7))
        text = await service.reflect_on_attempt(ATTEMPT)
    assert "What could be improved" in text
    assert "Exception: AssertionError" in text


def test_usage_adds_up() -> None:
    """Costs that are not known do not hide those that are."""
    both = Usage(input_tokens=1, cost=0.5) + Usage(output_tokens=2, requests=1)
    assert (both.tokens, both.requests, both.cost) == (3, 1, 0.5)
    assert (Usage() + Usage()).cost is None
