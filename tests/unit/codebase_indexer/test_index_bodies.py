"""A class's body uses a method by its bare name; whatever else is called so does not count."""

from __future__ import annotations

import pytest

from self_coding.codebase_indexer.bodies import uses_in_bodies


@pytest.mark.parametrize(
    ("after", "lines"),
    [
        ("    @size.setter\n", [3]),
        ("    wide = size\n", [3]),
        ("    size = property(size)\n", [3]),
        ("    size: int = 3\n", []),
        ("    size = 3\n", []),
        ("    same = size == 3\n", [3]),
        ("    kept = dict(size=1)\n", []),
        ("    kept = other.size\n", []),
        ("    kept = 'size'  # size\n", []),
        ('    """the size of it"""\n', []),
        ("    def size(self): pass\n", []),
        ("    def grow(self):\n        return size\n", []),
        ("# a comment at the margin\n    @size.setter\n", [4]),
        ("wide = size\n", []),
        ("class L:\n    wide = size\n", []),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_counts(after: str, lines: list[int], end: str) -> None:
    """Only a statement of the same body, below the head, that uses the name and no other's."""
    text = "class K:\n    def size(self): return 1\n" + after
    assert uses_in_bodies(text.replace("\n", end), "size", [2]) == lines


def test_a_file_that_was_cut() -> None:
    """A head that is no longer there is passed over."""
    assert uses_in_bodies("x = 1\n", "size", [9]) == []
