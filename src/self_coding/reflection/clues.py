"""Takes a failing test apart: its frames, its failing lines' words, the names it may be about.

What blame weighs, gathered once. It refuses to weigh.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from self_coding.reflection.reports import FailedTest, Frame, Raised, is_test_path

_WORD = re.compile(r"[A-Za-z_]\w+")
_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_CALL = re.compile(r"(?<![\w@])((?:\w+\.)*)(\w+)\(")
SYNTHETIC = ("<lambda>", "<genexpr>", "<listcomp>", "<dictcomp>", "<setcomp>", "<doctest>")
_COMMON_WORDS = (
    "self cls assert assertEqual assertTrue assertFalse assertRaises raise raises return with for "
    "not and None True False pytest test import from class def lambda print len str int list dict "
    "tuple set isinstance range type repr value name data result expected match error Error"
)
EVERYDAY = frozenset(_COMMON_WORDS.split())


@dataclass(frozen=True)
class Clue:
    """One failing test, taken apart for scoring.

    `source` and `tests` are its frames inside the repository, the likeliest at fault last;
    `words` are the names in its failing lines, `parts` the words its id is made of, `module`
    the stem of its file.
    """

    test: FailedTest
    source: tuple[Frame, ...]
    tests: tuple[Frame, ...]
    words: frozenset[str]
    parts: frozenset[str]
    module: str

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The test's frames, then the source's."""
        return self.tests + self.source


def take_apart(test: FailedTest) -> Clue:
    """The clues that one failing test gives."""
    frames = _frames(test.raised)
    source = tuple(frame for frame in frames if not is_test_path(frame.path))
    tests = tuple(frame for frame in frames if is_test_path(frame.path))
    text = " ".join([*(frame.code for frame in frames), *_shown(test.raised), test.raised.message])
    words = (frozenset(_WORD.findall(text)) - EVERYDAY) | _operators(" ".join(_lines(test.raised)))
    name = test.id.partition("[")[0]
    return Clue(test, source, tests, words, frozenset(parts(name)), stem(_test_file(test, tests)))


def _frames(raised: Raised) -> tuple[Frame, ...]:
    """Frames inside the repository, the likeliest to be at fault last.

    What an exception was raised `from` lies nearer to the fault than itself; what was being
    handled when it was raised does not.
    """
    earlier = tuple(frame for cause in raised.causes for frame in cause.inside)
    return (*raised.inside, *earlier) if raised.direct else (*earlier, *raised.inside)


_OPERATORS = (
    (" == ", "__eq__"), (" != ", "__ne__"), ("len(", "__len__"), ("repr(", "__repr__"),
    ("str(", "__str__"), (" in ", "__contains__"), ("set(", "__iter__"), ("list(", "__iter__"),
    ("hash(", "__hash__"), ("bool(", "__bool__"), (" < ", "__lt__"), ("del ", "__delitem__"),
)  # fmt: skip


def _operators(text: str) -> frozenset[str]:
    """The methods that the operators in the failing lines call."""
    return frozenset(method for sign, method in _OPERATORS if sign in text)


def _lines(raised: Raised) -> list[str]:
    return [*_shown(raised), *(frame.code for frame in raised.inside if is_test_path(frame.path))]


def _shown(raised: Raised) -> list[str]:
    """The source lines that failed, and the few above them in the same frame."""
    marked = [number for number, line in enumerate(raised.source) if line.startswith(">")]
    return [line for at in marked for line in raised.source[max(0, at - 3) : at + 1]]


def _test_file(test: FailedTest, tests: Sequence[Frame]) -> str:
    path = test.id.partition("::")[0]
    return path if path.endswith(".py") else (tests[0].path if tests else "")


def stem(path: str) -> str:
    """A file's name without what marks tests and private modules."""
    name = path.rpartition("/")[2].removesuffix(".py").removesuffix("_test")
    return name.removeprefix("test_").strip("_")


def parts(text: str) -> list[str]:
    """The words that identifiers in `text` are made of, in lower case."""
    return [part.lower() for part in _PART.findall(text)]


def plural(words: Collection[str]) -> set[str]:
    """The same words with and without a plural's s."""
    return {word + "s" for word in words} | {word.removesuffix("s") for word in words}


def called(clue: Clue) -> dict[str, float]:
    """Functions that the failing lines of the test call, the likelier the nearer to its name."""
    found: dict[str, float] = {}
    lines = [*_lines(clue.test.raised), *clue.test.raised.details]
    about = clue.parts | plural(clue.parts)
    for late, line in enumerate(lines):
        for call in _CALL.finditer(line):
            name = call[2]
            if name in EVERYDAY or name.startswith(("assert", "test_")) or "pytest." in call[1]:
                continue
            shared = set(parts(name)) & about
            found[name] = 0.2 + 0.3 * len(shared) + 0.01 * late
    return found


def namesake(clue: Clue) -> dict[str, float]:
    """Functions that the test's own name may name: TestFilterByLevel, test_typedkey."""
    names = clue.test.id.partition("[")[0].split("::")[1:]
    if not names:
        return {}
    words = names[-1].removeprefix("test_").split("_")
    found = {"_".join(words): 0.3 / len(words)} if len(words) < 3 else {}
    about = parts(names[0].removeprefix("Test").removesuffix("Test")) if len(names) > 1 else []
    if 1 < len(about) < 5:
        found.setdefault("_".join(about), 0.45)
    return found
