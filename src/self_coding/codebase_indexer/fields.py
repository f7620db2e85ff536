"""What the full text takes in of a file: its path, names, imports, docstrings and text, as words.

Pure. Identifiers are split as `retrieval.words` splits them, because the tokenizer of the
database splits at "_" alone; the text itself goes in as it is.
"""

from __future__ import annotations

from functools import lru_cache

from self_coding.codebase_indexer.scan import Scan
from self_coding.retrieval import split_identifier


def fields(path: str, told: Scan) -> tuple[str, ...]:
    """The text of one file, one string a field, in the order of `store.FIELDS`."""
    names = " ".join([_split_words(name) for _, _, name, _ in told.symbols])
    camel = [_camel(names) for _, _, names in told.imports if names]
    refs = " ".join(filter(None, camel))
    shown = path.removesuffix(".py").encode("utf-8", "replace").decode("utf-8")
    return shown, names, refs, told.docstrings, told.text


@lru_cache(maxsize=50_000)
def _split_words(name: str) -> str:
    """`retrieval.words` of one identifier; the common kind of name needs no pattern."""
    bare = name.replace("_", "")
    if bare.islower() and bare.isascii() and bare.isalpha():
        return name if bare == name else f"{name.replace('_', ' ')} {bare}"
    parts = split_identifier(name)
    return " ".join([*parts, bare.lower()] if len(parts) > 1 else parts)


@lru_cache(maxsize=50_000)
def _camel(names: tuple[str, ...]) -> str:
    """The words of those names that have capitals inside."""
    return " ".join([_split_words(name) for name in names if not name.islower()])
