"""The door to language models: one small protocol, and clients of it for the common services.

`ChatModel` is all that callers need and all that a foreign adapter must offer. Our own clients
go through pydantic-ai (extra `llm` or `anthropic`), loaded when first asked, and can also answer
in a typed form: checked, retried once with the objection, else refused. This module holds no
prompt, reads no setting and no environment, and never retries a transport on its own account.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from self_coding.adapters import threads
from self_coding.errors import (
    ConfigError,
    MissingExtraError,
    ModelReplyError,
    ModelUnavailableError,
)
from self_coding.text import first_line

if TYPE_CHECKING:
    from pydantic_ai.models import Model
    from pydantic_ai.output import OutputSpec
    from pydantic_ai.settings import ModelSettings

T = TypeVar("T")
Opener = Callable[[], "AbstractAsyncContextManager[Model]"]

_OLLAMA = "http://127.0.0.1:11434/v1"
_RETRIES = 1  # a reply in the wrong form is asked for once more
_NO_SCHEMAS = (400, 404, 405, 415, 422, 501)  # how services say that they cannot constrain a reply
_TEMPLATE = (
    "Reply with one JSON object and nothing else: the object itself, its fields filled in, that "
    "this JSON schema describes. Do not repeat the schema.\n\n{schema}"
)


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What calls took: tokens and requests as the service counts them, cost in US dollars.

    `cost` is None where the price of the model is not known; `seconds` is wall time.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    requests: int = 0
    cost: float | None = None
    seconds: float = 0.0

    @property
    def tokens(self) -> int:
        """Tokens in and out together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        # None is unknown, not free: two unknown ones are still unknown.
        costs = [cost for cost in (self.cost, other.cost) if cost is not None]
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            requests=self.requests + other.requests,
            cost=sum(costs) if costs else None,
            seconds=self.seconds + other.seconds,
        )


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A model's text, who gave it and what it took."""

    content: str
    provider_used: str = ""
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, kw_only=True)
class Answer(Generic[T]):
    """A model's reply in the asked form, who gave it and what it took."""

    value: T
    provider_used: str = ""
    usage: Usage = field(default_factory=Usage)


class HasContent(Protocol):
    """What a reply must have: its text."""

    @property
    def content(self) -> str:
        """The text of the reply."""


class ChatModel(Protocol):
    """Anything that answers a message; foreign adapters need no more than this."""

    async def chat(self, *, message: str, context: str) -> HasContent:
        """Return the reply to `message`; `context` says in what role to give it."""


class TypedModel(ABC):
    """A ChatModel that can also answer in a given form.

    A class and not a protocol, so that a foreign adapter is never taken for one by accident.
    """

    @abstractmethod
    async def chat(self, *, message: str, context: str = "") -> Reply:
        """Return the reply to `message` as text."""

    @abstractmethod
    async def ask(
        self,
        *,
        message: str,
        form: type[T],
        context: str = "",
        check: Callable[[T], str] | None = None,
    ) -> Answer[T]:
        """Return the reply to `message` as a value of type `form`.

        Args:
            message: what is asked.
            form: a dataclass or another type that pydantic can validate.
            context: the role in which to answer.
            check: what is wrong with a value, in words; empty when nothing is.

        Raises:
            ModelReplyError: no reply had the form and passed the check, not even at the second try.
            ModelUnavailableError: the model does not answer in time, or at all.
        """


class LanguageModel(TypedModel):
    """A model behind pydantic-ai.

    Args:
        opener: makes the pydantic-ai model for one call and closes what it opened.
        name: how replies call it, "provider:model".
        timeout: wall seconds for one call, its retry included.
        max_tokens: the most tokens a reply may have; None leaves it to the service.
        constrained: hand the service the schema of a typed reply, so that it can generate nothing
            else; where it turns out to know no schemas, it is asked in words from then on.
    """

    def __init__(
        self,
        opener: Opener,
        *,
        name: str,
        timeout: float = 120.0,
        max_tokens: int | None = None,
        constrained: bool = False,
    ) -> None:
        self.name = name
        self._constrained = constrained
        self.timeout = timeout
        self.max_tokens = max_tokens
        self._opener = opener

    async def chat(self, *, message: str, context: str = "") -> Reply:
        """Return the reply to `message` as text."""
        value, usage = await self._run(message, context, str, str, None)
        return Reply(content=value, provider_used=self.name, usage=usage)

    async def ask(
        self,
        *,
        message: str,
        form: type[T],
        context: str = "",
        check: Callable[[T], str] | None = None,
    ) -> Answer[T]:
        """Return the reply to `message` as a value of type `form`, as `TypedModel.ask` promises."""
        await threads.in_thread(_load)
        from pydantic_ai import NativeOutput, PromptedOutput

        if self._constrained:
            native = NativeOutput(form, template=_TEMPLATE)
            try:
                value, usage = await self._run(message, context, form, native, check)
            except ModelUnavailableError as error:
                # Asked once: a service that cannot do it would refuse every further call as well.
                if getattr(error.__cause__, "status_code", 0) not in _NO_SCHEMAS:
                    raise
                self._constrained = False
            else:
                return Answer(value=value, provider_used=self.name, usage=usage)
        prompted = PromptedOutput(form, template=_TEMPLATE)
        value, usage = await self._run(message, context, form, prompted, check)
        return Answer(value=value, provider_used=self.name, usage=usage)

    async def _run(
        self,
        message: str,
        context: str,
        form: type[T],
        output: OutputSpec[T],
        check: Callable[[T], str] | None,
    ) -> tuple[T, Usage]:
        """Run the agent once within the time limit; its errors become ours."""
        await threads.in_thread(_load)
        from pydantic_ai import Agent, ModelRetry
        from pydantic_ai.exceptions import AgentRunError, UnexpectedModelBehavior, UserError

        def validate(value: T) -> T:
            if check is not None and (problem := check(value)):
                # It goes back to the model as a message, which then has the rest of its tries.
                raise ModelRetry(problem)
            return value

        settings: ModelSettings = {}
        if self.max_tokens is not None:
            settings["max_tokens"] = self.max_tokens
        started = time.monotonic()
        try:
            # The limit spans the retry and the opening: it is what the caller waits at most.
            async with asyncio.timeout(self.timeout), self._opener() as model:
                agent = Agent(
                    model,
                    output_type=output,
                    instructions=context or None,
                    retries=_RETRIES,
                    model_settings=settings,
                )
                agent.output_validator(validate)
                result = await agent.run(message)
        except TimeoutError as error:
            raise ModelUnavailableError(
                f"{self.name} gave no answer within {self.timeout:g} s",
                hint="give it more time, or choose a faster model",
            ) from error
        except UnexpectedModelBehavior as error:
            raise ModelReplyError(
                f"{self.name} did not reply in the asked form: {error}",
                hint="try a larger model, or work without one",
            ) from error
        except (AgentRunError, UserError) as error:
            reason = first_line(str(error), 300) or type(error).__name__
            raise ModelUnavailableError(
                f"{self.name} does not answer: {reason}",
                hint="check the address, the model's name and the key",
            ) from error
        usage = Usage(
            input_tokens=result.usage.input_tokens,
            output_tokens=result.usage.output_tokens,
            requests=result.usage.requests,
            cost=None if result.usage.cost is None else float(result.usage.cost),
            seconds=time.monotonic() - started,
        )
        return result.output, usage


def open_model(
    name: str,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    timeout: float = 120.0,
    max_tokens: int | None = None,
) -> LanguageModel:
    """Return the model called `name`: "openai:NAME", "anthropic:NAME" or "ollama:NAME".

    Args:
        name: provider and model; "openai:" stands for every service that speaks its protocol.
        base_url: the service's address; None is the provider's own (Ollama: this machine).
        api_key: the key; None lets the provider's library look for its usual variable.
        timeout: wall seconds for one call.
        max_tokens: the most tokens a reply may have.

    Raises:
        ConfigError: the provider is unknown or the name is empty.
        MissingExtraError: the extra that the provider needs is not installed.
    """
    provider, _, model = name.partition(":")
    if not model:
        raise ConfigError(
            f"{name!r} does not name a model", hint='use "PROVIDER:NAME", such as "ollama:qwen3"'
        )
    if provider == "anthropic":
        opener = _anthropic(model, base_url, api_key)
    elif provider in ("openai", "ollama"):
        url = base_url or (_OLLAMA if provider == "ollama" else None)
        opener = _openai(model, url, api_key or ("ollama" if provider == "ollama" else None))
    else:
        raise ConfigError(
            f"the model provider {provider!r} is unknown", hint="use openai, anthropic or ollama"
        )
    constrained = provider != "anthropic"
    return LanguageModel(
        opener, name=name, timeout=timeout, max_tokens=max_tokens, constrained=constrained
    )


def _openai(model: str, base_url: str | None, api_key: str | None) -> Opener:
    _require("openai", "llm")
    # A local server needs no key, but the client insists on one.
    key = api_key or ("none" if base_url else None)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Model]:
        from openai import AsyncOpenAI, OpenAIError
        from pydantic_ai.models.openai import OpenAIChatModel
        from pydantic_ai.providers.openai import OpenAIProvider

        try:
            # Without a key it looks into its environment variable, and raises if that is not set.
            client = AsyncOpenAI(base_url=base_url, api_key=key, max_retries=1)
        except OpenAIError as error:
            raise ModelUnavailableError(str(error), hint="give an API key") from error
        # For one call: a client belongs to the event loop in which it was opened.
        async with client:
            yield OpenAIChatModel(model, provider=OpenAIProvider(openai_client=client))

    return opened


def _anthropic(model: str, base_url: str | None, api_key: str | None) -> Opener:
    _require("anthropic", "anthropic")

    @asynccontextmanager
    async def opened() -> AsyncIterator[Model]:
        from anthropic import AsyncAnthropic  # type: ignore[import-not-found, unused-ignore]
        from pydantic_ai.models.anthropic import AnthropicModel
        from pydantic_ai.providers.anthropic import AnthropicProvider

        async with AsyncAnthropic(base_url=base_url, api_key=api_key, max_retries=1) as client:
            yield AnthropicModel(model, provider=AnthropicProvider(anthropic_client=client))

    return opened


def _require(module: str, extra: str) -> None:
    """Refuse early, without loading anything, when the extra is missing."""
    from importlib.util import find_spec

    # `find_spec` loads nothing, where an import would take seconds.
    if find_spec(module) is None or find_spec("pydantic_ai") is None:
        raise MissingExtraError(extra, f"the {module} client")


def _load() -> None:
    """Load the library, which takes seconds: in a thread, so that the event loop goes on."""
    try:
        import_module("pydantic_ai")
    except ImportError as error:
        raise MissingExtraError("llm", "a language model") from error
