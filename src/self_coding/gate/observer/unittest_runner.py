"""Reports every test that unittest's own runner runs, whoever calls it: a module, Django, a script.

`sitecustomize` installs it as soon as the process imports unittest. It watches the result object,
whatever class that has, from outside of it, so that an outcome counts which the class drops.
"""

from __future__ import annotations

import atexit
import os
import re
import sys
import traceback
import unittest
from typing import TYPE_CHECKING

from .canaries import sing
from .channel import TEXT, Channel, failure_parts, open_channel
from .originals import Originals, import_origins

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

OUTCOMES = {
    "addSuccess": "passed",
    "addFailure": "failed",
    "addError": "failed",
    "addSkip": "skipped",
    "addExpectedFailure": "xfailed",
    "addUnexpectedSuccess": "failed",
}
FIXTURE = re.compile(r"(?:setUp|tearDown)(Class|Module) \(([\w.]+)\)")
UNITTEST = os.path.dirname(unittest.__file__) + os.sep
# These run the tree's tests at once: the key is read before any file of the tree is imported.
AT_ONCE = re.compile(r"-m unittest\b|manage\.py test\b|django(?:-admin)? test\b")


class Session:
    """What one process reports of all its runs; it ends with the process."""

    def __init__(self) -> None:
        self.originals = Originals(os.getcwd())
        self.channel: Channel | None = None
        self.settings: dict[str, Any] = {}
        self.ran = self.failed = 0
        self.outcomes: dict[str, str] = {}
        self.fixtures: dict[str, tuple[str, str, Any]] = {}
        self.alive: list[str] = []
        self.altered: set[str] = set()

    def open(self) -> bool:
        if self.channel is None:
            self.channel, self.settings = open_channel("unittest")
            if self.channel is not None:
                atexit.register(self.close, self.channel)
        return self.channel is not None

    def close(self, channel: Channel) -> None:
        status = 1 if self.failed else 0
        channel.send("end", {"status": status if self.outcomes else 5})  # as pytest says it

    def run(self, runner: Any, suite: Any, was_run: Any) -> Any:
        assert self.channel is not None
        cases = [(case, self.node(case)) for case in cases_of(suite)]
        chosen, only_listed = self.settings.get("select"), self.settings.get("collect_only")
        listed = [node for _, node in cases]
        if chosen is not None:
            cases = [one for one in cases if names(one[1]) & {*chosen}]
            suite = unittest.TestSuite(case for case, _ in cases)
        nodes = [node for _, node in cases]
        self.channel.collected(node for node in (listed if only_listed else nodes) if "::" in node)
        self.channel.send("state", self.state())
        if only_listed and chosen is None:
            self.outcomes.update(dict.fromkeys(nodes, "collected"))
            result = runner._makeResult()
            result.testsRun = len(cases)  # nothing run is an error of its own since Python 3.12
            return result
        # its own would hide what fails behind an old failure
        runner.failfast = bool(self.settings.get("fail_fast"))
        result = was_run(runner, suite)
        for fixture, told in self.fixtures.items():  # of a class or a module, and its tests
            members = [one for one in nodes if fixture in names(one) and one not in self.outcomes]
            failed = [fixture] if told[0] == "failed" else []
            for node in members or failed:
                self.send(node, "setup", *told)
        self.channel.send("state", self.state())
        return result

    def node(self, test: Any) -> str:
        """The id of a test as pytest would write it; only the file where that is all there is."""
        method = getattr(test, "_testMethodName", "")
        example = getattr(test, "_dt_test", None)
        if example is not None:
            return f"{self.place(example.filename)}::{example.name}"
        fixture = FIXTURE.match(str(getattr(test, "description", "")))
        name = type(test).__module__
        if fixture:  # of a class or a module
            name, _, own = (
                fixture[2].rpartition(".") if fixture[1] == "Class" else (fixture[2],) * 3
            )
            path = self.place(getattr(sys.modules.get(name), "__file__", None) or name)
            return f"{path}::{own}" if fixture[1] == "Class" else path
        if type(test).__name__ == "_FailedTest":  # a module that cannot be imported
            return method.replace(".", "/") + ".py"
        path = self.place(getattr(sys.modules.get(name), "__file__", None) or name)
        return "::".join([path, *type(test).__qualname__.split("."), method])

    def place(self, path: str) -> str:
        return os.path.relpath(path, str(self.settings.get("top") or os.getcwd()))

    def watch(self, result: Any) -> Any:
        def wrapped(name: str, note: Any) -> None:
            was = getattr(result, name)

            def event(*args: Any, **named: Any) -> Any:
                note(*args)
                return was(*args, **named)

            setattr(result, name, event)

        for name, outcome in OUTCOMES.items():
            wrapped(name, lambda test, *rest, to=outcome: self.note(test, to, *rest))
        if hasattr(result, "addSubTest"):
            wrapped("addSubTest", self.note_part)
        wrapped("startTest", self.started)
        return result

    def started(self, test: Any) -> None:
        """Tell which test runs; now and then, none of the last one's mocks in place, try canaries."""
        if self.channel:
            self.channel.send("start", self.node(test))
        self.ran += 1
        if self.ran & (self.ran - 1) == 0:
            self.alive += sing(None, often=True)

    def note_part(self, test: Any, part: Any, error: Any) -> None:
        if error:
            self.note(test, "failed", error)

    def note(self, test: Any, outcome: str, detail: Any = None) -> None:
        self.altered.update(self.originals.changed(often=True))
        test = getattr(test, "test_case", test)  # of a subtest
        text, parts = "unexpected success" if outcome == "failed" else "", None
        if outcome == "skipped":
            text = str(detail)[:TEXT]
        elif outcome == "failed" and isinstance(detail, tuple):
            text = "".join(traceback.format_exception(*detail))[-TEXT:]
            parts = failure_parts(detail[1], str(self.settings.get("top", "")), (UNITTEST,))
        if hasattr(test, "_testMethodName") or hasattr(test, "_dt_test"):
            node = self.node(test)
            self.send(node, "call" if "::" in node else "collect", outcome, text, parts)
        else:
            self.fixtures[self.node(test)] = (outcome, text, parts)

    def send(self, node: str, when: str, outcome: str, text: str, parts: Any = None) -> None:
        assert self.channel is not None
        self.outcomes[node] = outcome
        self.failed += outcome == "failed"
        self.channel.send("result", [node, when, outcome, 0.0, text, parts])

    def state(self) -> dict[str, object]:
        self.alive += sing(None)
        self.altered.update(self.originals.changed(), self.originals.equal_to_all())
        self.altered.update(self.originals.early)
        return {
            "probe": import_origins(self.settings.get("names", [])),
            "altered": sorted(self.altered),
            "looked": sorted(self.originals.looks.found),
            "canaries": sorted(set(self.alive)),
        }


def names(node: str) -> set[str]:
    parts = node.split("::")
    return {"::".join(parts[:end]) for end in range(1, len(parts) + 1)}


def cases_of(suite: Any) -> Iterator[Any]:
    pending = [suite]
    while pending:
        one = pending.pop(0)
        parts = getattr(one, "subsuites", None)
        if parts is None and not isinstance(one, unittest.TestCase):
            parts = [*one] if hasattr(one, "__iter__") else None
        if parts is None:
            yield one
        else:
            pending = [*parts, *pending]


def install() -> None:
    """Put the session into unittest's runner."""
    session = Session()
    runner: Any = unittest.TextTestRunner
    was_run, was_make = runner.run, runner._makeResult

    def run(self: Any, test: Any) -> Any:
        return session.run(self, test, was_run) if session.open() else was_run(self, test)

    def make_result(self: Any) -> Any:
        result = was_make(self)
        return session.watch(result) if session.channel else result

    runner.run, runner._makeResult = run, make_result
    if AT_ONCE.search(" ".join(sys.orig_argv)):
        session.open()
