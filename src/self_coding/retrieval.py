"""Pure text retrieval shared by the index and the journal: words, budgets, fusion.

It knows nothing of files, databases or tasks: text in, words and numbers out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import chain

CHARACTERS_PER_TOKEN = 4  # the founding API's bound where no tokenizer is at hand

_WORD = re.compile(r"[^\W_]+(?:_+[^\W_]+)*")
_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_FOREIGN_PART = re.compile(r"[^\W\d_]+|\d+")  # outside ASCII, letter case marks no border


def split_identifier(name: str) -> list[str]:
    """Split an identifier into lower-case words: `getUser`, `get_user` -> get, user."""
    return list(_parts(name))


@lru_cache(maxsize=1 << 14)  # a code base has few names, used again and again
def _parts(name: str) -> tuple[str, ...]:
    pattern = _PART if name.isascii() else _FOREIGN_PART
    return tuple([part.lower() for part in pattern.findall(name)])


def words(text: str) -> Iterator[str]:
    """Return the words of a text in order, lower-case: an identifier's parts, then itself."""
    return chain.from_iterable(map(_words_of, _WORD.findall(text)))


@lru_cache(maxsize=1 << 14)
def _words_of(name: str) -> tuple[str, ...]:
    parts = _parts(name)
    return (*parts, name.replace("_", "").lower()) if len(parts) > 1 else parts


def estimate_tokens(text: str) -> int:
    """Return how many tokens a text counts as without a tokenizer (a rounded-up bound)."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def fit(
    lines: Iterable[str], budget: int, count: Callable[[str], int] = estimate_tokens
) -> list[str]:
    """Return the first lines whose joined text counts at most `budget` tokens; a line that is too
    long is skipped, as shorter ones after it may still fit."""
    kept: list[str] = []
    for line in lines:
        if count("\n".join([*kept, line])) <= budget:
            kept.append(line)
    return kept
