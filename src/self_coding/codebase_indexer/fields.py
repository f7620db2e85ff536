"""What the full text takes in of a file: its path, names, docstrings and text, as words.

Pure. The tokenizer of the database splits at "_" alone. A name is given whole, as one word by
which its definitions are found, and in the parts that `retrieval.split_identifier` makes of it;
the text itself goes in as it is.
"""

from __future__ import annotations

from functools import lru_cache

from self_coding.codebase_indexer.packed import whole
from self_coding.codebase_indexer.scan import Scan
from self_coding.retrieval import split_identifier


def fields(path: str, told: Scan) -> tuple[str, ...]:
    """The text of one file, one string a field, in the order of `store.FIELDS`."""
    shown = path.removesuffix(".py").encode("utf-8", "replace").decode("utf-8")
    return shown, _names(told.names), told.docstrings, told.text


def _names(names: list[str]) -> str:
    """All names at once, whole and then in parts: the steps for one would cost more than it."""
    if not names:
        return ""
    told = exact = " ".join(names)
    if not told.islower():
        told = " ".join([name if name.islower() else _parts(name) for name in names])
    return f"{whole(exact)} {told}"


@lru_cache(maxsize=50_000)
def _parts(name: str) -> str:
    return " ".join(split_identifier(name))
