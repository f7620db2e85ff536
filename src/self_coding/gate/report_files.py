"""Pure: reports in a form that many runners share: JUnit XML, CTRF, and TAP on standard output.

One reader a form; which files are reports, `READERS` says. They lie in the tree, so the tests
could have written them: what is read of them never makes a failed command pass.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree

from self_coding.gate.runner_reports import (
    MESSAGE,
    Tree,
    place_failure,
    rust_file,
    rust_root,
    worst,
)
from self_coding.gate.test_report import TestReport
from self_coding.values.verdicts import TestFailure, TestResult

_POINT = re.compile(r"( *)(not )?ok\b(?: +(\d+))?(?: +-)? *(.*)")
_MARK = re.compile(r"(?i)(?:^|(?<=\s))# *(skip|todo)\b")
_PLAN = re.compile(r"( *)1\.\.(\d+)\b")
_HEADING = re.compile(r"# (?!Subtest: )(\S.*)")
_FILE = re.compile(r"(\S+) \.\.+ ?$")  # how prove tells whose points follow
_PLACE = re.compile(r"\b(?:file|at) (\S+?),? line (\d+)")
_SAID = re.compile(r"(?m)^ *(?:message|error): *(?:[|>][-+]? *\n *)?(\S[^\n]*)")
_SECONDS = re.compile(r"\bduration_ms: (\d+(?:\.\d+)?)")
_NO_HEADING = re.compile(r"(?:tests|suites|pass|fail|ok|cancelled|skipped|todo|duration_ms)\b")


def _report(results: Iterable[TestResult], wrong: str = "") -> TestReport:
    merged = worst(results)
    return TestReport(
        sessions=1,
        is_foreign=True,
        ended=True,
        collected=tuple(merged),
        results=tuple(merged.values()),
        tampered=wrong,
    )


def read_files(documents: Iterable[tuple[str, bytes]], tree: Tree) -> TestReport:
    """Return what the reports among some files say; one that cannot be read says it is torn."""
    results: list[TestResult] = []
    wrong, is_any = "", False
    for path, document in documents:
        for pattern, reader in READERS:
            if pattern.match(path):
                found = reader(document, tree)
                is_any = is_any or found is not None
                if isinstance(found, str):
                    wrong = found
                else:
                    results += found or ()
    return _report(results, wrong) if is_any else TestReport()


def _read_junit(document: bytes, tree: Tree) -> list[TestResult] | str:
    if b"<!DOCTYPE" in document or b"<!ENTITY" in document:  # it may unfold without end
        return "a JUnit file of it declares entities"
    try:
        root = ElementTree.fromstring(document)  # noqa: S314 - no entities, see above
    except ElementTree.ParseError:
        return "a JUnit file of it cannot be read"
    return [_case(case, tree) for case in root.iter("testcase")]


def _case(case: ElementTree.Element, tree: Tree) -> TestResult:
    name, owner = case.get("name", ""), case.get("classname", "")
    path = tree.relative(case.get("file", "")) or _file_of(owner, name, tree) or owner or "junit"
    outcome, message, text = "passed", "", ""
    for kind, told in (("failure", "failed"), ("error", "error"), ("skipped", "skipped")):
        if (found := case.find(kind)) is not None:
            outcome, text = told, found.text or ""
            message = found.get("message") or text.strip().partition("\n")[0]
            if found.get("type") and kind != "skipped":
                message = f"{found.get('type')}: {message}".replace(": : ", ": ")
            break
    inner = f".{owner.rpartition('.')[2].partition('$')[2]}" if "$" in owner else ""
    failure = place_failure(text, message, path, tree) if outcome in ("failed", "error") else None
    try:
        seconds = float(case.get("time", "0").replace(",", ""))
    except ValueError:
        seconds = 0.0
    return TestResult(
        id=f"{path}::{inner[1:] + '::' if inner else ''}{name}",
        outcome=outcome,
        seconds=seconds,
        message=(text or message)[:MESSAGE],
        failure=failure,
    )


def _file_of(owner: str, name: str, tree: Tree) -> str:
    """Return the file of a class of Java, or of a test binary as nextest names it."""
    end = "/" + owner.partition("$")[0].replace(".", "/") + ".java"
    if java := next((path for path in sorted(tree.files) if f"/{path}".endswith(end)), ""):
        return java
    # `crate` for its library, `crate::file` for one of its tests, `crate::bin/name`.
    crate, _, target = owner.partition("::")
    kind, _, program = target.rpartition("/")
    place = f"src/bin/{program}.rs" if kind == "bin" else f"tests/{target}.rs"
    root = rust_root(place if target else "src/lib.rs", "" if target else crate, "", tree)
    if not root and kind == "bin":
        root = rust_root("src/main.rs", "", "", tree)
    return rust_file(root, name, tree) if root else ""


def _read_ctrf(document: bytes, tree: Tree) -> list[TestResult] | str | None:
    try:
        data = json.loads(document)["results"]
        tests, total = data["tests"], data["summary"]["tests"]
        results = [_ctrf_test(each, tree) for each in tests]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None if b'"tests"' not in document else "a CTRF file of it cannot be read"
    return (
        results if total == len(results) else "a CTRF file of it counts other tests than it lists"
    )


def _ctrf_test(test: Mapping[str, object], tree: Tree) -> TestResult:
    suite = test.get("suite")
    names = suite if isinstance(suite, list) else str(suite or "").split(" > ")
    path = tree.relative(str(test.get("filePath") or ""))
    titles = [str(each) for each in (*names, test["name"]) if each and each != path]
    status = str(test["status"])
    outcome = status if status in ("passed", "failed") else "skipped"
    message, trace = (str(test.get(key) or "") for key in ("message", "trace"))
    failure = None
    if outcome == "failed":
        place = f"{path}:{test['line']}\n" if path and test.get("line") else ""
        failure = place_failure(f"{trace}\n{place}", message, path, tree)
    seconds = float(str(test.get("duration") or 0)) / 1000
    return TestResult(
        id=f"{path or 'ctrf'}::{' > '.join(titles)}",
        outcome=outcome,
        seconds=seconds,
        message="\n".join(filter(None, (message, trace)))[:MESSAGE],
        failure=failure,
    )


#: Which files that a run left are reports, and what reads them: None from a reader for a file that
#: is none after all, words for one that is torn.
READERS: tuple[
    tuple[re.Pattern[str], Callable[[bytes, Tree], list[TestResult] | str | None]], ...
] = (
    (
        re.compile(
            r"(?s)\A(?=.*\.xml\Z)(?:.*/)?(?:(?:surefire-reports|failsafe-reports)/TEST-[^/]*\Z"
            r"|(?:test-results|test-reports|reports?)/|junit[^/]*\Z)"
        ),
        _read_junit,
    ),
    (
        re.compile(r"(?s)\A(?=.*\.json\Z)(?:.*/)?(?:ctrf/|(?=[^/]*+\Z)[^/]*?ctrf)[^/]*\Z"),
        _read_ctrf,
    ),
)


def is_report(path: str) -> bool:
    """Return whether a file is one that runners report into, going by its name."""
    return path.endswith((".xml", ".json")) and any(each.match(path) for each, _ in READERS)


@dataclass
class _Point:
    """A test point of TAP: its name below those around it, and what was said of it."""

    names: list[str]
    outcome: str
    path: str
    said: list[str] = field(default_factory=list)


class _Tap:
    """TAP as it is read, line for line: a point after deeper ones is what they are below."""

    def __init__(self) -> None:
        self.points: dict[int, list[_Point]] = {}  # by how far they are indented
        self.planned = self.seen = 0
        self._path = self._heading = ""
        self._last: _Point | None = None

    def read(self, line: str) -> None:
        """Take in a line."""
        if match := _FILE.fullmatch(line):
            self._path, self._heading = match[1], ""
        elif line.startswith("Bail out!"):
            self._point(0, True, "", line)
        elif match := _PLAN.match(line):
            self.planned += 0 if match[1] else int(match[2])
        elif (match := _POINT.fullmatch(line)) and (match[3] or match[4]):
            self._point(len(match[1]), bool(match[2]), match[3] or "", match[4])
        elif self._last is not None and line.strip() and "# Subtest: " not in line:
            self._last.said.append(line)
            if line.strip() == "...":  # of YAML no more is said
                self._last = None
        elif match := _HEADING.fullmatch(line):
            self._heading = "" if _NO_HEADING.match(match[1]) else match[1]

    def _point(self, depth: int, failed: bool, number: str, told: str) -> None:
        mark = _MARK.search(told)
        name = (told[: mark.start()] if mark else told).strip() or number
        if mark is None or (mark[1].lower() == "todo" and not failed):
            outcome = "failed" if failed else "passed"
        else:
            outcome = "skipped"
        levels = [level for level in sorted(self.points) if level > depth]
        found = [each for level in levels for each in self.points.pop(level)]
        for each in found:
            each.names.insert(0, name)
        names = [self._heading, name] if self._heading and not (depth or found) else [name]
        # Around others it is a test of its own where it failed, and none of them did.
        own = _Point(names, outcome, self._path)
        if not found or (failed and "failed" not in {each.outcome for each in found}):
            found.append(own)
        self.points.setdefault(depth, []).extend(found)
        self._last = own if outcome == "failed" else None
        self.seen += not depth


def read_tap(text: str, tree: Tree) -> TestReport:
    """Return what the TAP in a command's output says; nothing where it holds none.

    Where none failed, the points at the margin must be as many as the plans say, or the report is
    torn.
    """
    if not (re.search(r"(?m)^1\.\.\d", text) and re.search(r"(?m)^(?:not )?ok +\d", text)):
        return TestReport()
    tap = _Tap()
    for line in text.split("\n"):
        tap.read(line.rstrip())
    holders = [
        each for each in sorted(tree.files) if each.endswith((".bats", ".t")) or "test" in each
    ]
    texts = {each: tree.text(each) or "" for each in holders}
    points = [each for level in sorted(tap.points) for each in tap.points[level]]
    # A run that failed may well have ended before the rest of its tests.
    torn = tap.planned != tap.seen and all(each.outcome != "failed" for each in points)
    wrong = "its TAP planned other tests than it reported" if torn else ""
    return _report([_tap_test(each, texts, tree) for each in points], wrong)


def _tap_test(point: _Point, texts: Mapping[str, str], tree: Tree) -> TestResult:
    said = "\n".join(point.said)
    # Unless prove told the file, it is what holds the outermost name in quotes, or defines it.
    names = [tree.relative(each) for each in point.names]
    name = names[0]
    heads = (*(f"{mark}{name}{mark}" for mark in "\"'`"), f" {name}\n", f" {name}(")
    path = tree.relative(point.path) or next(
        (one for one, text in texts.items() if any(each in text for each in heads)), "tap"
    )
    failure = None
    if point.outcome == "failed":
        rows = [row.strip().lstrip("# ") for row in point.said]
        plain = [row for row in rows if row and not row.startswith(("Failed test", "at ", "(in "))]
        told = _SAID.search(said)
        message = told[1].strip("'\"") if told else "\n".join(plain)
        failure = place_failure(said, message or " > ".join(names), path, tree)
        if (where := _PLACE.search(said)) and tree.relative(where[1]) in tree.files:
            place = tree.relative(where[1])
            failure = TestFailure(path=place, line=int(where[2]), message=failure.message)
    seconds = _SECONDS.search(said)
    return TestResult(
        id=f"{path}::{' > '.join(names)}",
        outcome=point.outcome,
        seconds=float(seconds[1]) / 1000 if seconds else 0.0,
        message=said[:MESSAGE],
        failure=failure,
    )
