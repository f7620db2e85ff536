"""The searchable side of an attempt: its words by field, its paths, its functions; pure.

A row's features are computed once, when it is stored; a query's when it is asked. Both go
through here, so that they always agree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from self_coding.modification_journal import diffs
from self_coding.retrieval import split_identifier, words

_TEXT = 4000  # characters of a task that are read; the rest repeats what is said by then
_WORDS = 400  # words a field may have
_LONGEST = 40  # characters of a word; what is longer is no word


@dataclass(frozen=True)
class Features:
    """The words of each field, in order, and the whole paths and function names."""

    body: tuple[str, ...] = ()
    subject: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    head: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    title: str = ""


def features(task: str, *, files: Sequence[str] = (), diff: str = "", notes: str = "") -> Features:
    """The features of an attempt, or of a task that is about to become one."""
    subject, _, body = task[:_TEXT].strip().partition("\n")
    touched = list(dict.fromkeys([*files, *diffs.paths(diff)]))
    symbols = diffs.symbols(diff)
    spoken = _words(subject)
    return Features(
        body=(spoken + _words(f"{body}\n{notes[:_TEXT]}"))[:_WORDS],
        subject=spoken,
        places=tuple(word for path in touched for word in path_words(path))[:_WORDS],
        names=tuple(word for name in symbols for word in split_identifier(name))[:_WORDS],
        head=_words(diffs.head(diff)),
        files=tuple(path.replace(" ", "?") for path in touched[:60]),
        symbols=tuple(symbols[:60]),
        title=" ".join(subject.split())[:200],
    )


def path_words(path: str) -> list[str]:
    """The words of a path, without its suffix."""
    stem = path.rpartition(".")[0] or path
    return split_identifier(stem.replace("/", "_"))


def terms(found: Features) -> set[str]:
    """Every term by which the inverted index finds a row of these features."""
    fields = (found.body, found.places, found.names, found.head)
    plain = {word for field in fields for word in field}
    return plain | {path_term(path) for path in found.files} | symbol_terms(found.symbols)


def path_term(path: str) -> str:
    """The index term of a whole path."""
    return "p_" + hashlib.blake2b(path.encode(), digest_size=6).hexdigest()


def symbol_terms(symbols: Iterable[str]) -> set[str]:
    """The index terms of whole function names."""
    return {
        "y_" + hashlib.blake2b(symbol.lower().encode(), digest_size=6).hexdigest()
        for symbol in symbols
    }


def pack(found: Features) -> str:
    """Features as one stored text, a field a line."""
    fields = (
        found.body,
        found.subject,
        found.places,
        found.names,
        found.head,
        found.files,
        found.symbols,
    )
    return "\n".join([*(" ".join(field) for field in fields), found.title])


def unpack(stored: str) -> Features:
    """The features that `pack` stored; what is missing is empty."""
    lines = stored.split("\n")
    lines += [""] * (8 - len(lines))
    body, subject, places, names, head, files, symbols = (
        tuple(line.split(" ")) if line else () for line in lines[:7]
    )
    return Features(body, subject, places, names, head, files, symbols, lines[7])


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in islice(words(text), _WORDS) if len(word) <= _LONGEST)
