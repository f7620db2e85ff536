"""Tier 2: what the parser of the running interpreter says."""

from __future__ import annotations

import ast

import pytest

from self_coding.languages.python_syntax import syntax_error

_REFUSED = [
    "nonlocal x",
    "def f(a, a): pass",
    "def f():\n  global a\n  nonlocal a",
    "def f():\n  from x import *",
    "def f():\n  print(a)\n  global a",
    "[i := 1 for i in x]",
    "def f(a): global a",
    "from __future__ import nope",
    "return",
    "def f(:",
    "a b",
    "x = 'a",
    "\0",
    "x = 08",
    "*a, *b = c",
    "(" * 300,
]


@pytest.mark.parametrize("code", _REFUSED)
def test_the_verdict_is_that_of_ast(code: str) -> None:
    """What the symbol table alone refuses is no failure; what the parser refuses is, once asked."""
    try:
        ast.parse(code)
        accepted = True
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        accepted = False
    assert (syntax_error(code.encode()) is None) == accepted
