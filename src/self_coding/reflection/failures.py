"""Turn the output of a failed run into a Failure: what failed, how, where, and what caused it.

Pure. Text in, value out, whichever program wrote the text. Nothing is invented: what the text
does not say stays empty.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from self_coding.reflection.localization import ASSERTIONS, locate
from self_coding.reflection.other_output import read_other_output
from self_coding.reflection.test_output import FailedTest, read_output
from self_coding.reflection.tracebacks import Frame, Raised, read_exceptions, split_raised
from self_coding.values.attempts import Failure
from self_coding.values.verdicts import TestResult

_LONGEST = 2_000_000  # characters read; of a longer text the head and the tail
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_ROOT = re.compile(r"(?m)^rootdir: (?P<path>/[^\n,]*)")
_FATAL = re.compile(r"(?m)^Fatal Python error: (?P<what>[^\n]+)")
_STACK = re.compile(
    r"(?m)^(?:Current thread|Thread) 0x[0-9a-f]++[^\n]*\(most recent call first\):$"
)
_TIMEOUT = re.compile(r"(?m)^\++ Timeout \++$")
_KILLED = re.compile(
    r"(?m)^(?:Killed|Terminated|Aborted|Segmentation fault)(?: \(core dumped\))?$"
    r"|\btimed out after [\d.]+ ?s|\b(?:received|signal) SIG(?:KILL|TERM|SEGV|ABRT)\b"
)
_RUNNING = re.compile(r"(?m)^(?P<id>\S+\.py::\S.*?) *\Z")
_LONGEST_ASSERTION = 1_500


def read_failure(
    output: str,
    *,
    files_modified: Sequence[str] = (),
    diff: str = "",
    importers: Mapping[str, Collection[str]] | None = None,
    root: str = "",
    new_failures: Sequence[TestResult] = (),
) -> Failure:
    """Return what a failing run's output says, and what of the change it points to.

    Args:
        output: the text of a test run (pytest, unittest) or of any Python program.
        files_modified: the paths the change touched.
        diff: the change itself, where it is known.
        importers: for each path, the paths that import it; tells what a change can reach.
        root: the repository's directory, to make absolute paths relative.
        new_failures: the tests that fail with the change and pass without it, where a test
            runner reported them; then no other failure of the output counts.

    Returns:
        The failure; empty where the text shows none.
    """
    failed = failed_tests(output, files_modified=files_modified, root=root)
    if new_failures:
        parsed = {test.id: test for test in failed}
        failed = [_explained(test, parsed.get(test.id)) for test in new_failures]
    cause = locate(
        failed,
        files_modified=files_modified,
        diff=diff,
        importers=importers,
        new=bool(new_failures),
    )
    main = principal(failed)
    if main is None:
        return Failure()
    raised = main.raised
    signature = ""
    if raised.exception:
        # Without line numbers and values: the same on another day, line or machine.
        frame = raised.inside[-1] if raised.inside else Frame(cause.file, 0, cause.function)
        digest = hashlib.sha256(normalised(raised.message).encode("utf-8", "replace")).hexdigest()
        signature = f"{raised.exception}@{frame.path}:{frame.function}#{digest[:8]}"
    assertion = ""
    if raised.exception in ASSERTIONS:
        code = raised.inside[-1].code if raised.inside else ""
        body = "\n".join(raised.details) or raised.message
        text = f"{code}\n{body}" if code and code not in body else body
        assertion = _first_lines(text.strip(), _LONGEST_ASSERTION)
    location = _location(failed, raised.exception) or _location(failed, "")
    return Failure(
        failing_tests=tuple(dict.fromkeys(test.id for test in failed if test.id)),
        exception=raised.exception,
        message=_first_lines(raised.message, 500),
        location=location,
        assertion=assertion,
        root_cause_file=cause.file,
        root_cause_function=cause.function,
        related=cause.related,
        because=cause.because,
        signature=signature,
    )


def failed_tests(
    output: str, *, files_modified: Sequence[str] = (), root: str = ""
) -> list[FailedTest]:
    """Return the failing tests of a run in order, with paths relative to the repository."""
    if len(output) > _LONGEST:
        half = _LONGEST // 2
        output = f"{output[:half]}\n... [cut] ...\n{output[-half:]}"
    text = _ANSI.sub("", output).replace("\r\n", "\n")
    failed = read_output(text) or read_other_output(text) or _crash(text)
    if not failed and ("Traceback (most recent call last):" in text or 'File "' in text):
        # A program that is not a test runner: its last traceback ended it.
        raised = [one for one in read_exceptions(text.split("\n")) if one.exception]
        failed = [FailedTest(id="", raised=one) for one in raised[-1:]]
    # Directories whose absolute paths are the repository's: given, printed, or recognised.
    absolute = sorted({frame.path for test in failed for frame in test.raised.inside})
    printed = (line["path"].strip() for line in _ROOT.finditer(text))
    told = [test.id.partition("::")[0] for test in failed]
    recognised = (
        path[: -len(file) - 1]
        for path in absolute
        for file in dict.fromkeys([*files_modified, *told])
        if path.startswith("/") and file and path.endswith(f"/{file}")
    )
    roots = [one for one in dict.fromkeys([root.rstrip("/"), *printed, *recognised]) if one]
    paths = {frame.path for test in failed for frame in test.raised.inside}
    known = bool(roots) or any(not path.startswith("/") for path in paths)
    # Go and the JVM name files without their folders.
    whole = {
        frame: file for frame in paths for file in files_modified if file.endswith(f"/{frame}")
    }
    return [
        FailedTest(
            id=_inside(test.id, roots), raised=_relative(test.raised, roots, whole, known=known)
        )
        for test in failed
    ]


def _explained(result: TestResult, parsed: FailedTest | None) -> FailedTest:
    """A failure as the output explains it, with values and source lines; else as reported."""
    if parsed is not None and parsed.raised.frames:
        return parsed
    reported = result.failure
    if reported is None:
        return parsed or FailedTest(id=result.id, raised=Raised(message=result.message))
    exception, message = split_raised(reported.message) or ("AssertionError", reported.message)
    frames = tuple(Frame(one.path, one.line, one.function) for one in reported.entries)
    frames = frames or (Frame(reported.path, reported.line),)
    raised = Raised(exception=exception, message=message, frames=frames)
    return FailedTest(id=result.id, raised=raised)


def principal(failed: Sequence[FailedTest]) -> FailedTest | None:
    """Return the run's main failure: of the commonest exception, the one that says most."""
    named = [test for test in failed if test.raised.exception]
    if not named:
        return failed[0] if failed else None
    counts = Counter(test.raised.exception for test in named)
    most = max(counts.values())
    top = next(test.raised.exception for test in named if counts[test.raised.exception] == most)
    same = [test for test in named if test.raised.exception == top]
    place = _location(failed, top)
    at_place = [test for test in same if _place(test.raised) == place]
    return max(at_place or same, key=lambda test: bool(test.raised.details) + bool(test.id))


def _location(failed: Sequence[FailedTest], exception: str) -> str:
    """The last frame inside the repository that most failures (of this exception) share."""
    same = [test.raised for test in failed if exception in ("", test.raised.exception)]
    places = [_place(raised) for raised in same]
    counts = Counter(place for place in places if place)
    return max(counts, key=lambda place: counts[place]) if counts else ""


def _place(raised: Raised) -> str:
    """`path:line` of the last frame inside the repository; a cause's where it has none."""
    for one in (raised, *reversed(raised.causes)):
        if one.inside:
            return f"{one.inside[-1].path}:{one.inside[-1].line}"
    syntax = raised.syntax
    return f"{syntax.path}:{syntax.line}" if syntax is not None and syntax.inside else ""


def _first_lines(text: str, limit: int) -> str:
    """`text` cut at a line end where it is too long, with the cut marked."""
    if len(text) <= limit:
        return text
    return (
        text[: limit - 4].rpartition("\n")[0] + "\n..."
        if "\n" in text[: limit - 4]
        else (text[: limit - 4] + " ...")
    )


def normalised(text: str) -> str:
    """Return `text` without what differs from run to run: numbers, addresses, temporary paths."""
    text = text.split("\n", 1)[0][:300]
    text = re.sub(r"0x[0-9a-fA-F]+", "0x", text)
    text = re.sub(r"(?:/[\w.+\-]+){2,}", "/", text)
    text = re.sub(r"\d+(?:\.\d+)*", "0", text)
    return " ".join(text.split())


def _crash(text: str) -> list[FailedTest]:
    """A run that was ended from outside, and the test that was running then."""
    fatal, timeout = _FATAL.search(text), _TIMEOUT.search(text)
    killed = _KILLED.search(text)
    if not (fatal or timeout or killed):
        return []
    first = next(match for match in (fatal, timeout, killed) if match)
    running = _RUNNING.findall(text[: first.start()].rstrip())
    if fatal:
        stack = _STACK.search(text, fatal.end())
        frames = _frames(text[stack.end() if stack else fatal.end() :])
        # faulthandler prints the innermost frame first.
        raised = Raised(exception="FatalError", message=fatal["what"], frames=frames[::-1])
    elif timeout:
        frames = _frames(text[timeout.end() :])
        raised = Raised(exception="Timeout", message="the run timed out", frames=frames)
    else:
        raised = Raised(exception="Killed", message=first[0].strip())
    return [FailedTest(id=running[-1] if running else "", raised=raised)]


def _frames(text: str) -> tuple[Frame, ...]:
    return tuple(frame for one in read_exceptions(text.split("\n")) for frame in one.frames)


def _relative(
    raised: Raised, roots: Sequence[str], whole: Mapping[str, str], *, known: bool
) -> Raised:
    """`raised` with the repository's paths relative and `whole`, and those outside it marked."""

    def relative(frame: Frame) -> Frame:
        path = _inside(frame.path, roots)
        path = whole.get(path, path)
        return replace(frame, path=path, foreign=known and path.startswith("/"))

    return replace(
        raised,
        frames=tuple(relative(frame) for frame in raised.frames),
        syntax=relative(raised.syntax) if raised.syntax else None,
        causes=tuple(_relative(cause, roots, whole, known=known) for cause in raised.causes),
    )


def _inside(path: str, roots: Sequence[str]) -> str:
    """`path` from the repository's directory on, where that holds it."""
    path = path.replace("\\", "/").removeprefix("./") if "::" not in path else path
    root = next((root for root in roots if path.startswith(f"{root}/")), "")
    return path[len(root) + 1 :] if root else path
