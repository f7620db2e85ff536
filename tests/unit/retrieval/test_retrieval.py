"""Identifiers split into words, and texts fitted into budgets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_coding import retrieval


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("getUserName", ["get", "user", "name"]),
        ("get_user_name", ["get", "user", "name"]),
        ("HTTPServerError", ["http", "server", "error"]),
        ("utf8decoder", ["utf", "8", "decoder"]),
        ("__init__", ["init"]),
        ("größe", ["größe"]),
    ],
)
def test_identifiers_are_split(name: str, parts: list[str]) -> None:
    """Camel case, snake case and digits are word borders."""
    assert retrieval.split_identifier(name) == parts


def test_compounds_stay_findable_whole() -> None:
    """A compound gives its parts and itself, however it was written."""
    assert "getusername" in set(retrieval.words("getUserName"))
    assert "getusername" in set(retrieval.words("get_user_name()"))


@given(st.text())
def test_any_text_gives_lower_case_words(text: str) -> None:
    """No text breaks the tokeniser, and what it gives is lower-case."""
    assert all(word == word.lower() and word for word in retrieval.words(text))


@given(st.lists(st.text(max_size=30)), st.integers(min_value=0, max_value=40))
def test_what_fits_is_within_the_budget(lines: list[str], budget: int) -> None:
    """The kept lines never count more than the budget, in their order."""
    kept = retrieval.fit(lines, budget)
    assert retrieval.estimate_tokens("\n".join(kept)) <= budget
    remaining = iter(lines)
    assert all(line in remaining for line in kept)


def test_a_short_line_fits_after_a_long_one() -> None:
    """A line that is too long is skipped, not the end."""
    assert retrieval.fit(["x" * 100, "ab"], 2) == ["ab"]
