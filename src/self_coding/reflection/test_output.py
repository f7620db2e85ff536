"""Read a test runner's terminal output, however it was cut, into failing tests.

Pure. pytest in every style: the short summary names the tests, the blocks below FAILURES and
ERRORS explain them, and progress lines help where either is missing. unittest: ids stay as the
runner takes them (`tests.test_a.TestA.test_x`). An id that no line supports is not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise

from self_coding.reflection.tracebacks import (
    Frame,
    Raised,
    ends_failure,
    read_exceptions,
    split_raised,
)

# Lines are of any length: no loop below is tried again from within what another one took.
_SECTION = re.compile(r"=+ (?P<name>\S.*?) =+$")
_TITLE = re.compile(r"_+ (?P<name>\S.*?) _+$")
_CUT = re.compile(
    r"\W*\b(?:truncated|omitted|cut|skipped|snipped|elided)\b\W*$"
    r"|\.\.\.(?=.*(?:truncated|omitted|cut)).*\.\.\.$"
)
_TOTAL = re.compile(r"(?:\d+ [a-z ]+, )*\d+ [a-z ]+ in \d[\d.]*s(?: \([\d:]+\))?$")
_CAPTURED = re.compile(r"-+ ?(?:Captured|live log|generated|benchmark) .*-+$", re.IGNORECASE)
_SUMMARY = re.compile(
    r"(?P<word>FAILED|ERROR|SUBFAIL|SUBFAILED)"
    r"(?P<sub>(?:\[(?:[^\]]|\](?![ (]))*+\])?(?: ?\((?:[^)]|\)(?! ))*+\))?) "
    r"(?P<rest>\S[^\s:]*?(?:\.\w+|/|\))(?:::.*| - .*)?)$"
)
_VERBOSE = re.compile(
    r"(?:\[gw\d+\] (?:\[ *\d+%\] )?(?P<xword>FAILED|ERROR) (?P<xid>\S.*?)"
    r"|(?P<id>\S[^\s:]*\.\w+::.+?) (?P<word>FAILED|ERROR))(?: +\[ *\d+%\])?\s*$"
)
_PHASE = re.compile(r"ERROR (?P<phase>collecting|at setup of|at teardown of) (?P<name>.+)$")
_SUBTEST = re.compile(
    r"(?: \[[^\]]{0,300}+\])?(?: \([^)]{0,300}+\))?$"
)  # what a subtest adds to a title
_PROGRESS = re.compile(r"(?P<path>\S+\.py) [.FEsxXR]*[FE][.FEsxXR]*(?: +\[ *\d+%\])?$")
_CRASHED = re.compile(r"worker '(?P<worker>\w+)' crashed while running '(?P<id>[^']+)'")
_CONFTEST = re.compile(r"\S*Error while loading conftest '(?P<path>[^']+)'")
_USAGE = re.compile(r"(?:ERROR: |(?=[^:]*pytest)[^:]*+: error: )(?P<message>.+)$")
_INTERNAL = "INTERNALERROR> "
_MARKS = re.compile(
    r"(?m)^(?:=+ (?:test session starts|FAILURES|ERRORS|short test summary info) =+"
    r"|E   .+|INTERNALERROR> .*|ERROR: (?:file or directory not found|usage: ).*"
    r"|(?=[^:\n]*pytest)[^:\n]*+: error: .*"
    r"|.*Error while loading conftest '|(?:FAILED|ERROR) \S+\.py\b.*"
    r"|(?:=+ )?(?:\d+ \w+, )*\d+ (?:passed|failed|errors?)\b.* in [\d.]+s.*)$"
)
_DOCTEST = re.compile(
    r"(?P<path>[^\s:]+):(?P<line>\d+): (?P<type>DocTestFailure|UnexpectedException)$"
)
_COMMON = (  # noqa: SIM905
    "AssertionError AttributeError TypeError ValueError KeyError IndexError NameError ImportError "
    "ModuleNotFoundError RuntimeError RecursionError OSError FileNotFoundError PermissionError "
    "StopIteration NotImplementedError UnboundLocalError ZeroDivisionError SyntaxError "
    "IndentationError UnicodeDecodeError UnicodeEncodeError TimeoutError Failed"
).split()
_UNITTEST_RULE = re.compile(r"={60,}$")
_UNITTEST_DASHES = re.compile(r"-{60,}$")
_UNITTEST_HEAD = re.compile(
    r"(?:FAIL|ERROR): (?P<name>\S+)(?: \((?P<where>[\w.]+)\))?(?P<sub>(?: [\[(].*[\])])?)$"
)


@dataclass(frozen=True, kw_only=True)
class FailedTest:
    """One failing test, or one failure outside any test (then `id` is empty)."""

    id: str
    raised: Raised


@dataclass
class _Block:
    """The text below one title; an untitled one may hold several failures.

    `torn` is a block whose end was cut away, so that what it ends with is not known.
    """

    title: str = ""
    torn: bool = False
    lines: list[str] = field(default_factory=list)


@dataclass
class _Named:
    """A failing test as a summary or progress line gives it."""

    id: str
    reason: str = ""


def read_output(output: str) -> list[FailedTest]:
    """Return the failing tests that the output of pytest or unittest shows; none for other text."""
    lines = output.split("\n")
    heads = any(_UNITTEST_RULE.match(a) and _UNITTEST_HEAD.match(b) for a, b in pairwise(lines))
    if heads:
        return _read_unittest(lines)
    if _MARKS.search(output) is None:
        return []
    blocks, summary = _divide(lines)
    named = _named(lines, summary, {block.title for block in blocks if block.title})
    return _joined(named, blocks, lines) or _without_tests(lines)


def _divide(lines: Iterable[str]) -> tuple[list[_Block], list[str]]:
    """The blocks that explain failures, and the lines of the short summary."""
    blocks: list[_Block] = []
    summary: list[str] = []
    section = ""
    skipping = False
    for line in lines:
        heading = _SECTION.match(line) if len(line) > 30 else None
        if heading is None and _TOTAL.match(line):
            section = ""
        if heading is not None or (_CUT.match(line) and not section.startswith("short")):
            section = heading["name"] if heading else "FAILURES"
            skipping = False
            if section.startswith("short test summary"):
                summary.clear()  # only the last one is the run's own, not a printed one
            if heading is None and blocks:
                blocks[-1].torn = True
            blocks.append(_Block())
        elif section.startswith("short test summary"):
            summary.append(line)
        elif section not in ("FAILURES", "ERRORS"):
            continue
        elif line.startswith("_") and (title := _TITLE.match(line)) and title["name"].strip("_ "):
            blocks.append(_Block(title["name"]))
            skipping = False
        elif _CAPTURED.match(line):
            skipping = True
        # Captured output of an untitled failure ends where the next begins, or where it ends.
        elif not skipping or (
            not blocks[-1].title and (line.startswith("E   ") or ends_failure(line))
        ):
            skipping = False
            blocks[-1].lines.append(line)
    return [block for block in blocks if block.title or any(block.lines)], summary


def _named(lines: list[str], summary: list[str], titles: set[str]) -> list[_Named]:
    """The failing ids: the summary's first, then those that only progress lines name."""
    tests: dict[str, _Named] = {}
    for line in summary or lines:
        match = _SUMMARY.match(line.rstrip())
        if match is None:
            continue
        name, reason = _split_reason(match["rest"], titles)
        is_file = name.endswith((".py", ".pyi", ".txt", ".rst", ".md", "/"))
        if ("::" in name or is_file) and (name not in tests or not tests[name].reason):
            tests[name] = _Named(name, reason)
    for line in lines:
        match = _VERBOSE.match(line)
        if match is not None:
            name = match["id"] or match["xid"]
            if " " not in name.partition("[")[0]:
                tests.setdefault(name, _Named(name))
        elif (crash := _CRASHED.search(line)) is not None:
            tests[crash["id"]] = _Named(crash["id"], "WorkerCrash: the worker died")
    return list(tests.values())


def _split_reason(text: str, titles: set[str]) -> tuple[str, str]:
    """Where the id ends and the reason begins; parameters may hold the divider themselves."""
    cuts = [divider.start() for divider in re.finditer(r" - ", text)]
    if "[" not in text.partition(" - ")[0]:
        return (text[: cuts[0]], text[cuts[0] + 3 :]) if cuts else (text, "")
    options = [cut for cut in [*cuts, len(text)] if text[:cut].endswith("]")]
    for cut in options:
        if _titled(text[:cut]) in titles:
            return text[:cut], text[cut + 3 :]
    reasons = {cut: text[cut + 3 :] for cut in options}
    likely = [
        cut
        for cut, reason in reasons.items()
        if reason.startswith("assert") or split_raised(reason) is not None
    ] or options
    return (text[: likely[0]], text[likely[0] + 3 :]) if likely else (text, "")


def _titled(test_id: str) -> str:
    """The title that pytest prints above the failure of `test_id`."""
    name, bracket, parameters = test_id.partition("[")
    return ".".join(name.split("::")[1:]) + bracket + parameters


def _joined(named: list[_Named], blocks: list[_Block], lines: list[str]) -> list[FailedTest]:
    """Each named test with its block; blocks that no name fits become tests of their own."""
    waiting: dict[str, list[Raised]] = {}
    unnamed: list[Raised] = []
    for block in blocks:
        raised = read_exceptions(
            line.removeprefix(_INTERNAL)
            for line in block.lines
            if not line.startswith(("[gw", "Hint: ", "ImportError while importing test module"))
        )
        if place := next((m for line in block.lines if (m := _DOCTEST.match(line))), None):
            text = "\n".join(part for part in block.lines if part.strip())
            frames = (Frame(place["path"], int(place["line"]), "<doctest>"),)
            raised.append(Raised(exception=place["type"], message=text[-400:], frames=frames))
        if block.torn and not (raised and raised[-1].exception):
            raised = raised[:-1]  # where it would have ended is not known
        if block.title:
            phase = _PHASE.match(block.title)
            title = (phase["name"] if phase else block.title).removeprefix("[doctest] ")
            same = waiting.setdefault(_SUBTEST.sub("", title), [])
            # What failed while it ran says more than what failed around it.
            same.insert(len(same) if phase else 0, _last(raised))
        else:
            unnamed += [one for one in raised if one.exception and (one.frames or one.details)]
    explained: list[tuple[_Named, Raised]] = []
    for test in named:
        titles = (_titled(test.id), test.id, test.id.partition("::")[0])
        same = next((many for title in titles if (many := waiting.get(title))), [Raised()])
        # Of several (subtests, phases) the first that shows a frame.
        at = next((number for number, raised in enumerate(same) if raised.inside), 0)
        explained.append((test, same.pop(at)))
    failed = _spread(explained, unnamed)
    left = [(title, one) for title, many in waiting.items() for one in many]
    totals = [line for line in lines if _TOTAL.match(line.strip("= "))]
    counts = re.findall(r"(?<!\d)(\d++) (?:failed|errors?)\b", totals[-1]) if totals else []
    if totals and len(named) >= sum(map(int, counts)):
        left = []  # the run says that these were all; the rest was printed by a test
    for title, one in left:
        # No summary line names it: its file is that of its frames, else the one that ran.
        paths = {place["path"] for line in lines if (place := _PROGRESS.match(line))}
        path = one.inside[0].path if one.inside else paths.pop() if len(paths) == 1 else ""
        name, bracket, parameters = title.partition("[")
        test_id = f"{path}::{name.replace('.', '::')}{bracket}{parameters}" if path else ""
        if re.fullmatch(r"\S+\.py", title):
            test_id = title
        if not one.is_empty and not any(test_id.endswith(test.id) for test in failed if test.id):
            failed.append(FailedTest(id=test_id, raised=one))
    return [_completed(test, named, failed) for test in failed]


def _spread(named: list[tuple[_Named, Raised]], unnamed: list[Raised]) -> list[FailedTest]:
    """Give failures without a title to the tests without an explanation.

    In order where the numbers agree, else by the exception that the summary names.
    """
    bare = [one for one, raised in named if raised.is_empty]
    given: dict[str, Raised] = {}
    pairs = list(zip(bare, unnamed, strict=False))
    if len(unnamed) == len(bare) and all(_fits(one.reason, raised) for one, raised in pairs):
        given = {one.id: raised for one, raised in pairs}
    else:
        left = list(unnamed)
        for one in bare:
            fitting = next((raised for raised in left if _fits(one.reason, raised)), None)
            if fitting is not None:
                left.remove(fitting)
                given[one.id] = fitting
    failed = [FailedTest(id=one.id, raised=given.get(one.id, raised)) for one, raised in named]
    return failed or [FailedTest(id="", raised=raised) for raised in unnamed]


def _fits(reason: str, raised: Raised) -> bool:
    """Whether a summary's reason, as far as it was printed, speaks of `raised`."""
    start = re.sub(r"^(?:\w+\.)+(?=\w+:)", "", reason.removesuffix("...").rstrip())
    first = raised.message.partition("\n")[0]
    printed = (f"{raised.exception}: {first}", first, raised.exception)
    return any(text.startswith(start) for text in printed)


def _last(raised: list[Raised]) -> Raised:
    """The exception with which a titled block, and so its test, ended."""
    return next(
        (one for one in reversed(raised) if one.exception), raised[-1] if raised else Raised()
    )


def _completed(test: FailedTest, named: list[_Named], failed: list[FailedTest]) -> FailedTest:
    """A test whose block is missing, with what the summary's reason still says."""
    if test.raised.exception:
        return test
    reason = next((one.reason for one in named if one.id == test.id), "")
    exception, message = "", reason
    if reason.startswith("assert"):
        exception = "AssertionError"
    elif (parts := split_raised(reason)) is not None and not parts[0].endswith(".."):
        exception, message = parts
    elif reason.endswith("..."):  # pytest cuts the reason at the terminal's width
        stem = reason.removesuffix("...").rpartition(".")[2]
        seen = [other.raised.exception for other in failed if other.raised.exception]
        match = next((name for name in [*seen, *_COMMON] if stem and name.startswith(stem)), "")
        if match:
            exception, message = match, ""
    raised = replace(test.raised, exception=exception, message=test.raised.message or message)
    return replace(test, raised=raised)


def _without_tests(lines: list[str]) -> list[FailedTest]:
    """Failures outside any test: a conftest, a usage error, pytest's own crash."""
    for number, line in enumerate(lines):
        if _CONFTEST.match(line):
            return [FailedTest(id="", raised=_last(read_exceptions(lines[number + 1 :])))]
        if line.startswith(_INTERNAL):
            own = [one.removeprefix(_INTERNAL) for one in lines if one.startswith(_INTERNAL)]
            return [FailedTest(id="", raised=_last(read_exceptions(own)))]
    for line in lines:
        if (usage := _USAGE.match(line)) is not None and "usage: " not in usage["message"]:
            raised = Raised(exception="UsageError", message=usage["message"])
            return [FailedTest(id="", raised=raised)]
    return []


def _read_unittest(lines: list[str]) -> list[FailedTest]:
    """The failing tests of a unittest run, each once, with what was raised in it."""
    heads = [
        (number, head)
        for number, (rule, line) in enumerate(pairwise(lines), 1)
        if _UNITTEST_RULE.match(rule) and (head := _UNITTEST_HEAD.match(line))
    ]
    tests: dict[str, FailedTest] = {}
    ends = [number for number, _ in heads[1:]]
    for (start, head), end in zip(heads, [*ends, len(lines)], strict=True):
        name, where = head["name"], head["where"] or ""
        if where and not where.startswith("unittest.loader._FailedTest"):
            # Before 3.11 the runner left the method out of the dotted name.
            name = where if where.endswith(f".{name}") else f"{where}.{name}"
        # The traceback is between the dashes below the head and the next rule of any kind.
        body = lines[start + 1 : end]
        dashes = [number for number, line in enumerate(body) if _UNITTEST_DASHES.match(line)]
        first = dashes[0] + 1 if dashes else 0
        last = next((number for number in dashes if number >= first), len(body))
        last = next((n for n in range(first, last) if _UNITTEST_RULE.match(body[n])), last)
        raised = read_exceptions(
            line for line in body[first:last] if not line.startswith(("Stdout:", "Stderr:"))
        )
        tests.setdefault(name, FailedTest(id=name, raised=raised[-1] if raised else Raised()))
    return list(tests.values())
