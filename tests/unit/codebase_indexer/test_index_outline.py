"""Outlines: what runs at import, and what only when it is called."""

from __future__ import annotations

import pytest

from self_coding.codebase_indexer.outline import outline

BEFORE = (
    "LIMIT = 1\n"
    "def outer(a=2):\n"
    "    '''Doc.'''\n"
    "    x = a\n"
    "    def inner():\n"
    "        return x\n"
    "    return inner\n"
    "class K:\n"
    "    def m(self): return 1\n"
    'TEXT = """\\\n# Title\nbody\n"""\n'
    "@show.register\n"
    "def _(x: int):\n"
    "    return repr(x)\n"
    "@show.register\n"
    "def _(x: str):\n"
    "    return repr(x)\n"
    "def hook():\n"
    "    '''Override me.'''\n"
    "def gen(n):\n"
    "    yield n\n"
)


def changed(old: str, new: str) -> tuple[bool, int]:
    """Whether the outline changed, and how many bodies are no longer there."""
    one, two = outline(BEFORE.encode()), outline(BEFORE.replace(old, new).encode())
    assert one is not None
    assert two is not None
    return one.digest != two.digest, len(one.bodies.keys() - two.bodies.keys())


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("x = a", "x = a + 1", (False, 1)),
        ("return x", "return -x", (False, 1)),
        ("LIMIT = 1", "LIMIT = 2", (True, 0)),
        ("a=2", "a=3", (True, 0)),
        ("return 1", "return 2", (True, 0)),
        ("LIMIT = 1", "# why\n\nLIMIT = 1", (False, 0)),
        ("LIMIT = 1", "def new(): pass\nLIMIT = 1", (True, 0)),
        ("# Title", "# Other", (True, 0)),
        ("body\n", "body\n\n", (True, 0)),
        ("'''Doc.'''", "'''Other.'''", (True, 0)),
        ("x: str):\n    return repr(x)", "x: str):\n    return 'x'", (False, 1)),
        ("x: int):\n    return repr(x)", "x: int):\n    return 'x'", (False, 1)),
        ("yield n", "yield -n", (False, 1)),
        ("def gen", "    raise ValueError\ndef gen", (True, 0)),
        ("yield n", "return iter([n])", (True, 1)),
    ],
)
def test_what_changed(old: str, new: str, expected: tuple[bool, int]) -> None:
    """A body is its own; what can be told without a call of it belongs to the outline."""
    assert changed(old, new) == expected


def test_a_default_on_the_last_line_of_the_head() -> None:
    """A body that shares its line with a default runs at import as far as one can tell."""
    one = outline(b"def f(a,\n      b=2): return 1\n")
    two = outline(b"def f(a,\n      b=3): return 1\n")
    assert one is not None
    assert two is not None
    assert one.digest != two.digest


def test_lines_of_bodies() -> None:
    """Each function has its own lines, inner ones not counted to the outer."""
    seen = outline(BEFORE.encode())
    assert seen is not None
    first = [frozenset((4, 5, 7)), frozenset((6,))]
    assert set(seen.bodies.values()) == {*first, *(frozenset((n,)) for n in (16, 19, 23))}


def test_what_cannot_be_parsed_has_none() -> None:
    """Broken source has no outline."""
    assert outline(b"def f(:") is None
