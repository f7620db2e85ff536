"""The door to text embeddings: one protocol, a model from a wheel, and any service on HTTP.

Off by default; a caller stores `name` and `dimension` beside each vector, since vectors of two
models never compare. It refuses to download anything: the wheel's own weights, or a service.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

from self_coding.adapters import threads
from self_coding.errors import MissingExtraError, ModelReplyError, ModelUnavailableError

_BATCH = 128  # texts in one request


class Embedder(Protocol):
    """Turns texts into vectors of one length."""

    @property
    def name(self) -> str:
        """The model's name, stored with every vector."""

    @property
    def dimension(self) -> int:
        """The length of every vector."""

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text, in order."""


class _Rows(Protocol):
    """A matrix, as far as it is used here."""

    def tolist(self) -> list[list[float]]:
        """Its rows."""


class _Static(Protocol):
    """What is used of a loaded wordllama model."""

    def embed(self, texts: list[str], *, norm: bool) -> _Rows:
        """One row for each text."""


class WordLlamaEmbedder:
    """A small static model out of the `wordllama` wheel (extra `embed`); needs no network."""

    name = "wordllama:l2_supercat_256"
    dimension = 256

    def __init__(self) -> None:
        self._model: _Static | None = None

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One unit vector for each text, in order.

        Raises:
            MissingExtraError: the extra `embed` is not installed.
        """
        return await threads.in_thread(self._embed, list(texts)) if texts else []

    def _embed(self, texts: list[str]) -> list[list[float]]:
        try:
            import wordllama
        except ImportError as error:
            raise MissingExtraError("embed", "the wordllama embedder") from error
        if self._model is None:
            # Without these two arguments the library asks a hub for a file that it has.
            folder = Path(wordllama.__file__).parent
            loaded = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
            self._model = cast("_Static", loaded)
        return self._model.embed(texts, norm=True).tolist()


class OpenAIEmbedder:
    """Any service that speaks OpenAI's `/v1/embeddings` (extra `llm`).

    Args:
        model: the model's name there.
        dimension: the length of its vectors; a reply of another length is refused.
        base_url: the service's address, up to and with `/v1`; None is OpenAI's own.
        api_key: the key; a local service needs none.
        timeout: wall seconds for one call.
    """

    def __init__(
        self,
        model: str,
        *,
        dimension: int,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout: float = 60.0,
    ) -> None:
        self.name = f"openai:{model}"
        self.dimension = dimension
        self._model = model
        self._base_url = base_url
        self._api_key = api_key or ("none" if base_url else None)
        self._timeout = timeout

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text, in order.

        Raises:
            ModelUnavailableError: the service does not answer, or not in time.
            ModelReplyError: it answers with other vectors than were asked for.
            MissingExtraError: the extra `llm` is not installed.
        """
        if not texts:
            return []
        try:
            openai = await threads.in_thread(__import__, "openai")
        except ImportError as error:
            raise MissingExtraError("llm", "the embeddings client") from error
        try:
            async with (
                asyncio.timeout(self._timeout),
                openai.AsyncOpenAI(
                    base_url=self._base_url, api_key=self._api_key, max_retries=1
                ) as client,
            ):
                batches = [texts[at : at + _BATCH] for at in range(0, len(texts), _BATCH)]
                return [vector for batch in batches for vector in await self._batch(client, batch)]
        except (openai.OpenAIError, TimeoutError) as error:
            raise ModelUnavailableError(
                f"{self.name} does not answer: {type(error).__name__}",
                hint="check the address, the model's name and the key",
            ) from error

    async def _batch(self, client: object, texts: Sequence[str]) -> list[list[float]]:
        reply = await client.embeddings.create(  # type: ignore[attr-defined]
            model=self._model, input=list(texts), encoding_format="float"
        )
        vectors = [list(item.embedding) for item in sorted(reply.data, key=lambda item: item.index)]
        if len(vectors) != len(texts) or any(len(one) != self.dimension for one in vectors):
            raise ModelReplyError(
                f"{self.name} sent {len(vectors)} vectors for {len(texts)} texts of "
                f"{self.dimension} numbers",
                hint="set the dimension that the model has",
            )
        return vectors
