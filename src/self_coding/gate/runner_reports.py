"""Pure: what runners other than Python's report, in one form: each test's outcome, by id.

Ids are `file::name`, as pytest has them, wherever the file can be told. Of two outcomes of one
test the worse counts, so that a line more in a stream never hides a failure. What a stream began
and did not end is unfinished.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from self_coding.gate.test_report import TestReport, combine
from self_coding.languages import language_of
from self_coding.values.verdicts import TestFailure, TestResult

_MARK = "\x1e"
_PLACE = re.compile(r"(?m)(?:^|[\s(\[])(?:file://)?((?:[\w.@+-]*/)*[\w.@+-]+\.[A-Za-z]{1,4}):(\d+)")
_GO_PLACE = re.compile(r"(?m)^[^\S\n]+([\w./-]+\.go):(\d+): ?(.*(?:\n {8}.*)*)")
_GO_BUILD = re.compile(r"FAIL\t(\S+) \[(?:build|setup) failed\]")
_RUNNING = re.compile(r"^\s+Running (?:unittests )?(\S+) \(\S*?deps/([\w-]+?)-[0-9a-f]+\)")
_DOC = re.compile(r"^\s+Doc-tests (\S+)")
_TEST = re.compile(r"^test (.+?)(?: - should panic)? \.\.\. (ok|FAILED|ignored)\b")
_COUNT = re.compile(r"(?m)^running \d+ tests?$")
_RESULT = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored")
_STDOUT = re.compile(r"(?ms)^---- (\S.*?) stdout ----\n(.*?)(?=^---- |^failures:$|\Z)")
# Until Rust 1.73 the message came first, in quotes.
_PANIC = re.compile(
    r"(?s)panicked at (?:'((?:(?!panicked at ).)*?)', )?([\w./-]+\.rs):(\d+)(?::\d+)?:?\n?(.*)"
)
MESSAGE = 4_000  # characters kept of what a test said
Text = Callable[[str], str | None]


@dataclass(frozen=True)
class Tree:
    """The tree that was tested: where it was, its files, and how to read one."""

    top: str
    files: frozenset[str] = frozenset()
    text: Text = lambda path: None
    manifests: Mapping[str, str] = field(default_factory=dict)

    def relative(self, path: str) -> str:
        """Return a path from the top of the tree on, as it is where it lies elsewhere."""
        return path.removeprefix("file://").removeprefix(f"{self.top}/")


def read_stream(stream: str, tree: Tree) -> tuple[TestReport, str]:
    """Return what the shims' programs reported, and what of it a person would have seen."""
    report, shown = TestReport(), []
    for part in stream.split(f"{_MARK}begin ")[1:]:
        head, _, body = part.partition("\n")
        runner, _, folder = head.partition(" ")
        body, ended, tail = body.partition(f"{_MARK}end ")
        reader = _READERS.get(runner)
        if reader is None:
            continue
        results, running, wrong, text = reader(body, tree.relative(folder + "/").rstrip("/"), tree)
        exit_status = int(match[0]) if (match := re.match(r"\d+", tail)) else 1
        merged = worst(results)
        one = TestReport(
            sessions=1,
            is_foreign=f"{_MARK}chosen\n" not in body,
            ended=bool(ended),
            # cargo's status for failed tests is 101, which other runners have for a crash
            statuses=(min(exit_status, 1),) if ended else (),
            collected=tuple(dict.fromkeys([*merged, *running])),
            results=tuple(merged.values()),
            unfinished=tuple(name for name in running if name not in merged),
            tampered=wrong,
        )
        report = combine(report, one)
        shown.append(text)
    return report, "".join(shown)


def place_failure(text: str, message: str, path: str, tree: Tree) -> TestFailure:
    """Return where a test failed: the first place in the tree that its text names."""
    first = ""
    for match in _PLACE.finditer(text):
        place = tree.relative(match[1])
        if place not in tree.files:  # a stack of Java names files without their folders
            near = [each for each in tree.files if each.endswith(f"/{place}")]
            place = path if path in near else (near[0] if len(near) == 1 else "")
        if place:
            first = first or f"{place}:{match[2]}"
    place, _, line = first.partition(":")
    return TestFailure(path=place or path, line=int(line or 0), message=message[:MESSAGE])


def worst(results: Iterable[TestResult]) -> dict[str, TestResult]:
    """Return the worst outcome of each test, by id."""
    order = ("error", "failed", "passed", "skipped")
    merged: dict[str, TestResult] = {}
    for each in results:
        old = merged.get(each.id, each)
        merged[each.id] = min(old, each, key=lambda one: order.index(one.outcome))
    return merged


def _made(
    name: str, outcome: str, seconds: float, text: str, failure: TestFailure | None = None
) -> TestResult:
    return TestResult(id=name, outcome=outcome, seconds=seconds, message=text, failure=failure)


Read = tuple[list[TestResult], list[str], str, str]


def _read_go(body: str, folder: str, tree: Tree) -> Read:
    """Read `go test -json`: an event a line, whatever is none of them was said by the build."""
    outputs: dict[tuple[str, str], list[str]] = {}
    results: list[TestResult] = []
    running: list[str] = []
    shown: list[str] = []
    ids: dict[tuple[str, str], str] = {}
    failing: set[str] = set()
    unbuilt: list[str] = []
    outcomes = {"pass": "passed", "fail": "failed", "skip": "skipped"}
    for line in body.split("\n"):
        try:
            event = json.loads(line)
            action, package = event["Action"], event.get("Package", "")
        except (ValueError, KeyError, TypeError):
            shown.append(f"{line}\n" if line else "")
            if match := _GO_BUILD.match(line):
                unbuilt.append(match[1])
            continue
        if action == "build-output":
            shown.append(event.get("Output", ""))
        key = (package, event.get("Test", ""))
        if action == "output":
            outputs.setdefault(key, []).append(event.get("Output", ""))
            shown.append(event.get("Output", ""))
        elif key[1]:
            name = ids.setdefault(key, _go_id(*key, tree))
            if action == "run":
                running.append(name)
            elif action in outcomes:
                text = "".join(outputs.get(key, ()))[-MESSAGE:]
                failure = _go_failure(text, name) if action == "fail" else None
                seconds = float(event.get("Elapsed", 0))
                results.append(_made(name, outcomes[action], seconds, text, failure))
                if action == "fail":
                    failing.add(package)
        elif action == "fail" and package not in failing:  # it was not built, or it ended early
            unbuilt.append(package)
    said = "".join(shown)
    for package in dict.fromkeys(unbuilt):
        # The compiler names files from where it was started, each package under a heading.
        heading = rf"(?ms)^# {re.escape(package)}\b[^\n]*\n(.*?)(?=^# |^FAIL|^ok |\Z)"
        part = re.search(heading, said)
        name = _go_folder(package, tree)
        text = (part[1] if part else "".join(outputs.get((package, ""), [said])))[-MESSAGE:]
        first = text.strip().partition("\n")[0]
        results.append(_made(name, "error", 0.0, text, place_failure(text, first, name, tree)))
    return results, running, "", said


def _go_folder(package: str, tree: Tree) -> str:
    roots = language_of("a.go").project(tree.manifests).roots
    for name, top in sorted((each.rpartition("=")[::2] for each in roots), reverse=True):
        if package == name or package.startswith(f"{name}/"):
            return f"{top}/{package[len(name) + 1 :]}".strip("/") or "."
    return package


def _go_id(package: str, test: str, tree: Tree) -> str:
    folder = _go_folder(package, tree)
    head = re.compile(rf"(?m)^func {re.escape(test.partition('/')[0])}\(")
    beside = (each for each in sorted(tree.files) if (each.rpartition("/")[0] or ".") == folder)
    for path in beside:
        if path.endswith("_test.go") and head.search(tree.text(path) or ""):
            return f"{path}::{test}"
    return f"{folder}::{test}"


def _go_failure(text: str, name: str) -> TestFailure:
    path = name.partition("::")[0]
    folder = path.rpartition("/")[0]
    match = _GO_PLACE.search(text)
    if match is None:
        said = [
            line for line in text.splitlines() if line.strip() and line[:3] not in ("===", "---")
        ]
        return TestFailure(path=path, line=0, message="\n".join(said[:5]).strip())
    place = match[1] if "/" in match[1] else f"{folder}/{match[1]}".lstrip("/")
    return TestFailure(path=place, line=int(match[2]), message=match[3].strip())


def _read_cargo(body: str, folder: str, tree: Tree) -> Read:
    """Read what libtest says, binary for binary; its own counts must be those of the lines."""
    results: list[TestResult] = []
    wrong = ""
    for part in re.split(r"(?m)(?=^[^\S\n]+(?:Running|Doc-tests) )", body)[1:]:
        said = dict(_STDOUT.findall(part))
        running, doc = _RUNNING.match(part), _DOC.match(part)
        root = rust_root(running[1], running[2], folder, tree) if running else ""
        root = root or (doc[1] if doc else "cargo")
        counts, told = dict.fromkeys(("ok", "FAILED", "ignored"), 0), 0
        for line in part.splitlines():
            if match := _TEST.match(line):
                name, outcome = match[1], match[2]
                counts[outcome] += 1
                word = {"ok": "passed", "FAILED": "failed"}.get(outcome, "skipped")
                path = rust_file(root, name, tree) if running else name.partition(" - ")[0]
                text = said.get(name, "")[-MESSAGE:]
                failure = _rust_failure(text, path, folder, tree) if word == "failed" else None
                results.append(_made(f"{path}::{name}", word, 0.0, text, failure))
            elif match := _RESULT.match(line):
                told += 1
                # A test can print a line like cargo's own; the binary's summary would not agree.
                if tuple(map(int, match.groups())) != (*counts.values(),):
                    wrong = "cargo counted other tests than it listed"
        if told != len(_COUNT.findall(part)):
            wrong = "a test binary of cargo ended before its tests did"
    # cargo ends with an `error:` after failing tests, too; alone it is a crate that does not build.
    error = re.search(r"(?ms)^error(?:\[E\d+\])?: .*?(?:\n\n|\Z)", body)
    if error and not any(each.outcome == "failed" for each in results):
        text, name = error[0][-MESSAGE:], folder or "cargo"
        failure = place_failure(text, text.partition("\n")[0], name, tree)
        results.append(_made(name, "error", 0.0, text, failure))
    return results, [], wrong, ""


def rust_root(path: str, crate: str, folder: str, tree: Tree) -> str:
    """Return the root file of a test binary: cargo names it from its package's folder on."""
    near = [each for each in sorted(tree.files) if f"/{each}".endswith(f"/{path}")]
    for root in language_of("a.rs").project(tree.manifests).roots:
        name, _, place = root.partition("=")
        if name == crate.replace("-", "_") and place in near:
            return place
    own = f"{folder}/{path}".lstrip("/")
    return own if own in near else (near[0] if near else "")


def rust_file(root: str, name: str, tree: Tree) -> str:
    """Return the file of the innermost module of a test that is one."""
    folder, path = root.rpartition("/")[0], root
    for part in name.split("::")[:-1]:
        folder = f"{folder}/{part}".lstrip("/")
        path = next(
            (one for one in (f"{folder}.rs", f"{folder}/mod.rs") if one in tree.files), path
        )
    return path


def _rust_failure(text: str, path: str, folder: str, tree: Tree) -> TestFailure:
    match = _PANIC.search(text)
    if match is None:
        return TestFailure(path=path, line=0, message=text.strip()[:MESSAGE])
    named = tree.relative(match[2])
    place = f"{folder}/{named}".lstrip("/")
    near = [each for each in sorted(tree.files) if each.endswith(named)]
    place = place if place in tree.files else (path if path in near else (near or [place])[0])
    text = match[1] or match[4].partition("\nnote: ")[0].partition("\nstack backtrace")[0]
    return TestFailure(path=place, line=int(match[3]), message=text.strip())


def _read_node(body: str, folder: str, tree: Tree) -> Read:
    """Read the lines of our reporter for `node --test`."""
    results: list[TestResult] = []
    running: list[str] = []
    stack: dict[str, list[str]] = {}
    for line in body.split("\n"):
        try:
            event = json.loads(line)
            name, depth, file = str(event["name"]), int(event["nesting"]), event.get("file") or ""
        except (ValueError, KeyError, TypeError):
            continue
        path = tree.relative(file) or folder or "node"
        names = stack.setdefault(path, [])
        del names[depth:]
        names += [""] * (depth - len(names)) + [name]
        node = f"{path}::{' > '.join(names)}"
        if event["type"] == "test:start":
            continue
        failed = event["type"] == "test:fail"
        if event["suite"] and not (failed and event.get("how") not in (None, "subtestsFailed")):
            continue
        if failed and event.get("how") == "subtestsFailed":
            continue
        if event["skip"] or (event["todo"] and failed):
            outcome = "skipped"
        else:
            outcome = "failed" if failed else "passed"
        if name == file or tree.relative(name) == path:  # the file as a whole: it did not load
            node, outcome = path, "error" if failed else ""
        if outcome:
            text, message = event["stack"][:MESSAGE], event["message"][:MESSAGE]
            failure = place_failure(text, message, path, tree) if failed else None
            results.append(_made(node, outcome, float(event["seconds"]), text or message, failure))
    return results, running, "", ""


def _read_mocha(body: str, folder: str, tree: Tree) -> Read:
    """Read what our hook of mocha writes: a test a line, and one line at the end."""
    results: list[TestResult] = []
    last: Mapping[str, Any] = {}
    for line in body.split("\n"):
        try:
            event = json.loads(line)
            kind, file = event["type"], tree.relative(event.get("file") or "")
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        last = event
        if kind in ("passed", "failed", "skipped"):
            path, names = file or folder or "mocha", [str(name) for name in event["names"]]
            text, message = (str(event.get(key) or "") for key in ("stack", "message"))
            node, outcome = f"{path}::{' > '.join(names)}", kind
            if event["hook"]:  # the file as a whole: which tests it kept from running is not said
                node, outcome, message = path, "error", f"{names[-1]}: {message}"
            failure = place_failure(text, message, path, tree) if kind == "failed" else None
            seconds = float(event["seconds"])
            results.append(_made(node, outcome, seconds, text[:MESSAGE], failure))
    if last.get("type") != "end":  # a file that cannot be loaded ends mocha before any test
        text = str(last.get("stack", "mocha ended before its tests did"))[:MESSAGE]
        failure = place_failure(text, str(last.get("message", text)), folder, tree)
        results.append(_made("mocha", "error", 0.0, text, failure))
    return results, [], "", ""


def _read_jest(body: str, folder: str, tree: Tree) -> Read:
    """Read the JSON that jest and vitest write."""
    start = body.find("{")
    try:
        data = json.JSONDecoder().raw_decode(body[start:])[0] if start >= 0 else {}
    except ValueError:
        return [], [], "its JSON cannot be read", ""
    results = list(_jest_results(data, tree))
    wrong = "" if data else "the test runner wrote no report"
    total = data.get("numTotalTests")
    if isinstance(total, int) and total != sum("::" in each.id for each in results):
        wrong = "the test runner counted other tests than it listed"
    return results, [], wrong, ""


def _jest_results(data: Mapping[str, object], tree: Tree) -> Iterator[TestResult]:
    suites = data.get("testResults")
    for suite in suites if isinstance(suites, list) else ():
        path = tree.relative(str(suite.get("name", "")))
        cases = suite.get("assertionResults") or []
        if suite.get("status") == "failed" and not cases:
            text = str(suite.get("message", ""))[:MESSAGE]
            yield _made(path, "error", 0.0, text, place_failure(text, text, path, tree))
        for case in cases:
            name = " > ".join([*case.get("ancestorTitles", ()), str(case.get("title", ""))])
            word = str(case.get("status"))
            outcome = word if word in ("passed", "failed") else "skipped"
            text = "\n".join(map(str, case.get("failureMessages") or ()))[:MESSAGE]
            message = text.partition("\n    at ")[0].strip()
            failure = place_failure(text, message, path, tree) if outcome == "failed" else None
            seconds = float(case.get("duration") or 0) / 1000
            yield _made(f"{path}::{name}", outcome, seconds, text, failure)


_READERS: Mapping[str, Callable[[str, str, Tree], Read]] = {
    "go": _read_go,
    "cargo": _read_cargo,
    "node": _read_node,
    "jest": _read_jest,
    "mocha": _read_mocha,
    "vitest": _read_jest,
}
