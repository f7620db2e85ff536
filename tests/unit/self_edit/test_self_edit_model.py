"""A chat adapter that answers in plain text, made to answer in a form."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from self_coding.errors import ModelReplyError, ModelUnavailableError
from self_coding.self_edit.editors.model import JsonChatModel
from self_coding.testing import ScriptedModel


@dataclass
class Form:
    name: str
    number: int


async def test_the_form_is_found_in_the_talk() -> None:
    """The first JSON object that has the form is taken, whatever stands around it."""
    talk = 'Sure {not json}! {"name": 3}\n```json\n{"name": "a", "number": 2}\n```'
    model = JsonChatModel(ScriptedModel([talk]))
    answer = await model.ask(message="give", form=Form)
    assert answer.value == Form("a", 2)
    assert answer.provider_used == "scripted"


async def test_an_objection_is_told_once() -> None:
    """A reply that has not the form, or fails the check, is asked for once more."""
    said = ScriptedModel(['{"name": "bad", "number": 1}', '{"name": "good", "number": 1}'])

    def check(form: Form) -> str:
        return "the name is bad" if form.name == "bad" else ""

    answer = await JsonChatModel(said).ask(message="give", form=Form, check=check)
    assert answer.value.name == "good"
    assert "the name is bad" in said.messages[1]


@pytest.mark.parametrize("reply", ["no", "{}", '{"name": "x", "number": "y"}'])
async def test_two_unusable_replies_are_an_error(reply: str) -> None:
    """After a second unusable reply the model is given up, typed."""
    said = ScriptedModel([reply])
    with pytest.raises(ModelReplyError):
        await JsonChatModel(said).ask(message="give", form=Form)
    assert len(said.messages) == 2


async def test_an_adapter_that_raises_is_a_model_that_does_not_answer() -> None:
    """Whatever a foreign adapter raises comes out as a model error."""
    with pytest.raises(ModelUnavailableError, match="KeyError"):
        await JsonChatModel(ScriptedModel([KeyError("x")])).chat(message="hello")
