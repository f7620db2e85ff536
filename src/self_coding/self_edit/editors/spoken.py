"""A foreign chat adapter, which answers in plain text, made to answer in a typed form.

It asks for JSON, takes the first object of the reply that has the form, and asks once more with
the objection. It knows no provider and opens no connection of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeVar

from self_coding.adapters.llm import Answer, ChatModel, Reply, TypedModel
from self_coding.errors import MissingExtraError, ModelError, ModelReplyError, ModelUnavailableError

T = TypeVar("T")
_ASKED = 2  # how often one question is put


class SpokenModel(TypedModel):
    """A `TypedModel` over an adapter with `async chat(message=..., context=...)`."""

    def __init__(self, adapter: ChatModel, *, name: str = "adapter") -> None:
        self.name = name
        self._adapter = adapter

    async def chat(self, *, message: str, context: str = "") -> Reply:
        """The adapter's text; whatever it raises is a model that does not answer."""
        try:
            reply = await self._adapter.chat(message=message, context=context)
        except ModelError:
            raise
        except Exception as error:
            reason = f"the model adapter raised {type(error).__name__}: {error}"
            raise ModelUnavailableError(reason, hint="look into the adapter") from error
        used = getattr(reply, "provider_used", "")
        return Reply(content=str(reply.content), provider_used=str(used or self.name))

    async def ask(
        self,
        *,
        message: str,
        form: type[T],
        context: str = "",
        check: Callable[[T], str] | None = None,
    ) -> Answer[T]:
        """The reply as a value of type `form`, as `TypedModel.ask` promises."""
        try:
            from pydantic import TypeAdapter, ValidationError
        except ImportError:  # pragma: no cover - pydantic comes with the core
            raise MissingExtraError("llm", "a typed reply") from None
        adapter = TypeAdapter(form)
        schema = json.dumps(adapter.json_schema())
        objection = ""
        for _ in range(_ASKED):
            asked = f"{message}\n\nReply with one JSON object of this schema and nothing else:\n"
            reply = await self.chat(message=f"{asked}{schema}{objection}", context=context)
            problem = "it holds no JSON object"
            for found in _objects(reply.content):
                try:
                    value = adapter.validate_python(found)
                except ValidationError as error:
                    problem = str(error.errors()[0]["msg"])
                    continue
                problem = check(value) if check else ""
                if not problem:
                    return Answer(value=value, provider_used=reply.provider_used)
            objection = f"\n\nYour last reply was not usable: {problem}"
        raise ModelReplyError(f"{self.name} did not reply in the asked form: {problem}")


def _objects(text: str) -> list[object]:
    """Every JSON object that begins somewhere in the text, outermost ones only."""
    decoder, found, at = json.JSONDecoder(), [], text.find("{")
    while at >= 0:
        try:
            value, at = decoder.raw_decode(text, at)
            found.append(value)
        except ValueError:
            at += 1
        at = text.find("{", at)
    return found
