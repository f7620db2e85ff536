"""Texts of strangers: each character has a shape, and nothing is without end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from self_coding.dashboard.texts import ago, block, line, span, visible, within

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain words, naïve Ünïcode", "plain words, naïve Ünïcode"),
        ("日本語 עברית 👩‍💻 ❤️", "日本語 עברית 👩‍💻 ❤️"),
        ("\x1b[31mred\x1b[0m", "␛[31mred␛[0m"),
        ("nul\x00bell\x07del\x7f", "nul␀bell␇del␡"),
        ("abc\u202edcba", "abc⟨U+202E⟩dcba"),
        ("zero\u200bwidth\ufeff", "zero⟨U+200B⟩width⟨U+FEFF⟩"),
        ("\x85next\u2028line", "⟨U+0085⟩next⟨U+2028⟩line"),
        ("lone \ud800 half", "lone ⟨U+D800⟩ half"),
        ("tag \U000e0041", "tag ⟨U+E0041⟩"),
    ],
)
def test_what_has_no_shape_gets_one(text: str, shown: str) -> None:
    """Steering and hiding characters are shown by name; letters of any script stay."""
    assert visible(text) == shown


def test_towers_of_accents_are_cut() -> None:
    """A letter carries a few accents, not forty."""
    assert visible("a" + "\u0301" * 40 + "b") == "a" + "\u0301" * 4 + "⟨more accents⟩b"
    assert visible("e\u0301te\u0301") == "e\u0301te\u0301"


def test_a_line_is_one_line() -> None:
    """Breaks become spaces, a long text ends in an ellipsis, a huge one costs nothing."""
    assert line("a\nb\t c") == "a b c"
    assert line("x" * 700) == "x" * 600 + "…"
    assert len(line("\x1b" * 10_000_000, 50)) == 51
    assert len(line("\u202e" * 1000, 50)) <= 51


def test_a_block_keeps_head_and_tail() -> None:
    """Of a long output its beginning and its end are shown; no line is too wide."""
    shown = block("head\n" + "x" * 100_000 + "\ntail", 900)
    assert shown.startswith("head\n")
    assert shown.endswith("\ntail")
    assert "characters are left out here" in shown
    assert max(map(len, shown.split("\n"))) <= 401
    assert block("a\tb\n\x1b[2Jc") == "a\tb\n␛[2Jc"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.2, "just now"), (59, "59 s ago"), (600, "10 min ago"), (7200, "2 h ago"),
     (86_400 * 3, "3 d ago"), (-86_400 * 40, "in 1 mo")],
)  # fmt: skip
def test_times_are_told_as_people_do(seconds: float, told: str) -> None:
    """In the largest unit, past or to come."""
    assert ago(NOW - timedelta(seconds=seconds), NOW) == told


def test_spans() -> None:
    """How long after the start something was, and a time that is not there."""
    assert (within(NOW, NOW + timedelta(seconds=1.24)), span(3600 * 30)) == ("+1.2 s", "1 d")
    assert within(NOW, NOW - timedelta(seconds=1)) == "+0.0 s"
    assert ago(None, NOW) == "-"
