"""Reads pytest's terminal output, in every style and however it was cut, into failing tests.

The short summary names the tests, the blocks below FAILURES and ERRORS explain them, progress
lines stand in where either is missing. It refuses to guess an id that no line supports.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from self_coding.reflection.reports import FailedTest, Frame, Raised
from self_coding.reflection.tracebacks import ends_failure, read_raised, split_raised

_SECTION = re.compile(r"=+ (?P<name>\S.*?) =+$")
_TITLE = re.compile(r"_+ (?P<name>\S.*?) _+$")
_CUT = re.compile(
    r"\W*\b(?:truncated|omitted|cut|skipped|snipped|elided)\b\W*$|\.\.\..*(?:truncated|omitted|cut).*\.\.\.$"
)
_TOTAL = re.compile(r"(?:\d+ [a-z ]+, )*\d+ [a-z ]+ in \d[\d.]*s(?: \([\d:]+\))?$")
_CAPTURED = re.compile(r"-+ ?(?:Captured|live log|generated|benchmark) .*-+$", re.IGNORECASE)
_SUMMARY = re.compile(
    r"(?P<word>FAILED|ERROR|SUBFAIL|SUBFAILED)(?P<sub>(?:\[.*?\])?(?: ?\(.*?\))?) "
    r"(?P<rest>\S[^\s:]*?(?:\.\w+|/|\))(?:::.*| - .*)?)$"
)
_VERBOSE = re.compile(
    r"(?:\[gw\d+\] (?:\[ *\d+%\] )?(?P<xword>FAILED|ERROR) (?P<xid>\S.*?)"
    r"|(?P<id>\S[^\s:]*\.\w+::.+?) (?P<word>FAILED|ERROR))(?: +\[ *\d+%\])?\s*$"
)
_PHASE = re.compile(r"ERROR (?P<phase>collecting|at setup of|at teardown of) (?P<name>.+)$")
_SUBTEST = re.compile(r"(?: \[[^\]]*\])?(?: \([^)]*\))?$")  # what a subtest adds to a title
_PROGRESS = re.compile(r"(?P<path>\S+\.py) [.FEsxXR]*[FE][.FEsxXR]*(?: +\[ *\d+%\])?$")
_CRASHED = re.compile(r"worker '(?P<worker>\w+)' crashed while running '(?P<id>[^']+)'")
_CONFTEST = re.compile(r"\S*Error while loading conftest '(?P<path>[^']+)'")
_USAGE = re.compile(r"(?:ERROR: |[^:]*pytest[^:]*: error: )(?P<message>.+)$")
_INTERNAL = "INTERNALERROR> "
_MARKS = re.compile(
    r"(?m)^(?:=+ (?:test session starts|FAILURES|ERRORS|short test summary info) =+"
    r"|E   .+|INTERNALERROR> .*|ERROR: (?:file or directory not found|usage: ).*"
    r"|[^:\n]*pytest[^:\n]*: error: .*"
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


def is_pytest(output: str) -> bool:
    """Whether the text looks like pytest's."""
    return _MARKS.search(output) is not None


def read_pytest(output: str) -> list[FailedTest]:
    """The failing tests of a run, in the summary's order, each with what was raised in it."""
    lines = output.split("\n")
    blocks, summary = _divide(lines)
    named = _named(lines, summary, {block.title for block in blocks if block.title})
    failed = _joined(named, blocks, lines)
    return failed or _without_tests(lines)


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
        elif (title := _title(line)) is not None:
            blocks.append(_Block(title))
            skipping = False
        elif _CAPTURED.match(line):
            skipping = True
        elif not skipping or (not blocks[-1].title and _resumes(line)):
            skipping = False
            blocks[-1].lines.append(line)
    return [block for block in blocks if block.title or any(block.lines)], summary


def _resumes(line: str) -> bool:
    """Whether captured output of an untitled failure is over: the next one begins, or it ends."""
    return line.startswith("E   ") or ends_failure(line)


def _title(line: str) -> str | None:
    found = _TITLE.match(line) if line.startswith("_") else None
    if found is None or not found["name"].strip("_ "):
        return None
    return found["name"]


def _named(lines: list[str], summary: list[str], titles: set[str]) -> list[_Named]:
    """The failing ids: the summary's first, then those that only progress lines name."""
    found: dict[str, _Named] = {}
    for line in summary or lines:
        entry = _summary_line(line, titles)
        if entry is not None and (entry.id not in found or not found[entry.id].reason):
            found[entry.id] = entry
    for line in lines:
        match = _VERBOSE.match(line)
        if match is not None:
            name = match["id"] or match["xid"]
            if " " not in name.partition("[")[0]:
                found.setdefault(name, _Named(name))
        elif (crash := _CRASHED.search(line)) is not None:
            found[crash["id"]] = _Named(crash["id"], "WorkerCrash: the worker died")
    return list(found.values())


def _summary_line(line: str, titles: set[str]) -> _Named | None:
    found = _SUMMARY.match(line.rstrip())
    if found is None:
        return None
    name, reason = _split_reason(found["rest"], titles)
    if "::" not in name and not name.endswith((".py", ".pyi", ".txt", ".rst", ".md", "/")):
        return None
    return _Named(name, reason)


def _split_reason(text: str, titles: set[str]) -> tuple[str, str]:
    """Where the id ends and the reason begins; parameters may hold the divider themselves."""
    cuts = [found.start() for found in re.finditer(r" - ", text)]
    if "[" not in text.partition(" - ")[0]:
        return (text[: cuts[0]], text[cuts[0] + 3 :]) if cuts else (text, "")
    options = [cut for cut in [*cuts, len(text)] if text[:cut].endswith("]")]
    for cut in options:
        if _titled(text[:cut]) in titles:
            return text[:cut], text[cut + 3 :]
    likely = [cut for cut in options if _is_reason(text[cut + 3 :])] or options
    return (text[: likely[0]], text[likely[0] + 3 :]) if likely else (text, "")


def _is_reason(text: str) -> bool:
    return text.startswith("assert") or split_raised(text) is not None


def _titled(test_id: str) -> str:
    """The title that pytest prints above the failure of `test_id`."""
    name, bracket, parameters = test_id.partition("[")
    return ".".join(name.split("::")[1:]) + bracket + parameters


def _joined(named: list[_Named], blocks: list[_Block], lines: list[str]) -> list[FailedTest]:
    """Each named test with its block; blocks that no name fits become tests of their own."""
    waiting: dict[str, list[Raised]] = {}
    unnamed: list[Raised] = []
    for block in blocks:
        raised = _read_block(block)
        if block.torn and not (raised and raised[-1].exception):
            raised = raised[:-1]  # where it would have ended is not known
        if block.title:
            same = waiting.setdefault(_plain(block.title), [])
            # What failed while it ran says more than what failed around it.
            same.insert(len(same) if _PHASE.match(block.title) else 0, _last(raised))
        else:
            unnamed.extend(one for one in raised if _explains(one))
    failed = _spread([(one, _claim(one, waiting)) for one in named], unnamed)
    left = [(title, one) for title, many in waiting.items() for one in many]
    if len(named) >= _counted(lines):
        left = []  # the run says that these were all; the rest was printed by a test
    for title, one in left:
        test_id = _rebuilt(title, one, lines)
        if not one.is_empty and not any(test_id.endswith(test.id) for test in failed if test.id):
            failed.append(FailedTest(id=test_id, raised=one))
    return [_completed(test, named, failed) for test in failed]


def _counted(lines: list[str]) -> float:
    """How many failures and errors the run's last line counts; endless where it is missing."""
    totals = [line for line in lines if _TOTAL.match(line.strip("= "))]
    if not totals:
        return math.inf
    return sum(int(number) for number in re.findall(r"(\d+) (?:failed|errors?)\b", totals[-1]))


def _plain(title: str) -> str:
    """A block's title without the phase it failed in."""
    found = _PHASE.match(title)
    name = found["name"] if found else title
    return _SUBTEST.sub("", name.removeprefix("[doctest] "))


def _claim(one: _Named, waiting: dict[str, list[Raised]]) -> Raised:
    """The block of a named test; of several (subtests, phases) the first that shows a frame."""
    for title in (_titled(one.id), one.id, one.id.partition("::")[0]):
        if many := waiting.get(title):
            at = next((number for number, raised in enumerate(many) if raised.inside), 0)
            return many.pop(at)
    return Raised()


def _explains(raised: Raised) -> bool:
    return bool(raised.exception and (raised.frames or raised.details))


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
            found = next((raised for raised in left if _fits(one.reason, raised)), None)
            if found is not None:
                left.remove(found)
                given[one.id] = found
    failed = [FailedTest(id=one.id, raised=given.get(one.id, raised)) for one, raised in named]
    return failed or [FailedTest(id="", raised=raised) for raised in unnamed]


def _fits(reason: str, raised: Raised) -> bool:
    """Whether a summary's reason, as far as it was printed, speaks of `raised`."""
    told = re.sub(r"^(?:\w+\.)+(?=\w+:)", "", reason.removesuffix("...").rstrip())
    first = raised.message.partition("\n")[0]
    printed = (f"{raised.exception}: {first}", first, raised.exception)
    return any(text.startswith(told) for text in printed)


def _read_block(block: _Block) -> list[Raised]:
    found = read_raised(_prepared(block.lines))
    doctest = _doctest(block.lines)
    return [*found, doctest] if doctest is not None else found


def _prepared(lines: list[str]) -> Iterator[str]:
    """The lines of a block without what only carries them."""
    for line in lines:
        if not line.startswith(("[gw", "Hint: ", "ImportError while importing test module")):
            yield line.removeprefix(_INTERNAL)


def _last(raised: list[Raised]) -> Raised:
    """A titled block ends with the exception the test ended with."""
    return next(
        (one for one in reversed(raised) if one.exception), raised[-1] if raised else Raised()
    )


def _doctest(lines: list[str]) -> Raised | None:
    for line in lines:
        found = _DOCTEST.match(line)
        if found is not None:
            frame = Frame(found["path"], int(found["line"]), "<doctest>")
            text = "\n".join(part for part in lines if part.strip())
            return Raised(exception=found["type"], message=text[-400:], frames=(frame,))
    return None


def _rebuilt(title: str, raised: Raised, lines: list[str]) -> str:
    """An id for a block that no summary line names: its file from its frames, else progress."""
    if re.fullmatch(r"\S+\.py", title):
        return title
    if not raised.inside:
        paths = {found["path"] for line in lines if (found := _PROGRESS.match(line))}
        path = paths.pop() if len(paths) == 1 else ""
    else:
        path = raised.inside[0].path
    name, bracket, parameters = title.partition("[")
    return f"{path}::{name.replace('.', '::')}{bracket}{parameters}" if path else ""


def _completed(test: FailedTest, named: list[_Named], failed: list[FailedTest]) -> FailedTest:
    """A test whose block is missing, with what the summary's reason still tells."""
    if test.raised.exception:
        return test
    reason = next((one.reason for one in named if one.id == test.id), "")
    known = [other.raised.exception for other in failed if other.raised.exception]
    exception, message = _from_reason(reason, known)
    raised = replace(test.raised, exception=exception, message=test.raised.message or message)
    return replace(test, raised=raised)


def _from_reason(reason: str, known: list[str]) -> tuple[str, str]:
    """Type and message in a summary's reason, which pytest cuts at the terminal's width."""
    if reason.startswith("assert"):
        return "AssertionError", reason
    if (named := split_raised(reason)) is not None and not named[0].endswith(".."):
        return named
    stem = reason.removesuffix("...").rpartition(".")[2] if reason.endswith("...") else ""
    if stem:
        for name in [*known, *_COMMON]:
            if name.startswith(stem):
                return name, ""
    return "", reason


def _without_tests(lines: list[str]) -> list[FailedTest]:
    """Failures outside any test: a conftest, a usage error, pytest's own crash."""
    for number, line in enumerate(lines):
        if (found := _CONFTEST.match(line)) is not None:
            return [FailedTest(id="", raised=_last(read_raised(lines[number + 1 :])))]
        if line.startswith(_INTERNAL):
            own = [one.removeprefix(_INTERNAL) for one in lines if one.startswith(_INTERNAL)]
            return [FailedTest(id="", raised=_last(read_raised(own)))]
    for line in lines:
        if (found := _USAGE.match(line)) is not None and "usage: " not in found["message"]:
            return [
                FailedTest(id="", raised=Raised(exception="UsageError", message=found["message"]))
            ]
    return []
