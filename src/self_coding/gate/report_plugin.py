"""A pytest plugin that reports every test to the gate; it is loaded from outside the tested tree.

It imports the standard library and pytest alone. Each line of its report carries a keyed checksum
over its place in the report, so that a line that is forged, lost or repeated shows; the key is
read once from a pipe before any file of the tested tree is imported, and the way back is a
descriptor that child processes do not inherit. Code in the same process can defeat any such
scheme with enough effort: the audit of the change is the other half.
"""
# ruff: noqa: D102, D103, PTH100, PTH109, PTH113, PTH116, PTH117, PTH120 - pytest documents hooks; os is loaded anyway

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import sys
import traceback
import unittest
from typing import TYPE_CHECKING, cast

import _pytest
import pluggy
import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from typing import Any

ENVIRONMENT = "SELF_CODING_REPORT"
NAME = "self_coding_observer"
FAILURE = "self_coding_failure"  # an attribute of a report; pytest-xdist carries it over
KEY_BYTES = 32
TEXT = 600  # characters of a message
CALLS = 40  # of a traceback: the innermost ones
CHUNK = 200  # ids in one line
RUNNERS = tuple(os.path.dirname(str(one.__file__)) + os.sep for one in (_pytest, pluggy))
PLAIN_DEF = re.compile(r"(?:\A|(?:\A|\n)(?![@)])[^\n]*\n)(?:async )?def (\w+)")
HAS_COLLECTION_PATH = int(pytest.__version__.split(".", 1)[0]) >= 7  # an argument of the hook


def failing_functions() -> dict[str, object]:
    """The functions by which tests fail; replaced ones are cheats."""
    case = unittest.TestCase
    names = [name for name in dir(case) if name.startswith(("assert", "fail"))]
    methods: dict[str, object] = {f"TestCase.{name}": getattr(case, name) for name in names}
    return methods | {"pytest.raises": pytest.raises, "pytest.fail": pytest.fail}


class Channel:
    """The way to the gate: lines of JSON, numbered and signed."""

    def __init__(self, reading: int, writing: int) -> None:
        self._key = os.read(reading, KEY_BYTES)
        os.close(reading)
        self._fd = os.dup(writing)  # not inherited by children, as the original is
        os.close(writing)
        # The functions as they are now: a test may replace them.
        self._write, self._dumps, self._getpid = os.write, json.dumps, os.getpid
        self._blake, self._owner, self._number = hashlib.blake2b, os.getpid(), 0

    def send(self, kind: str, value: object) -> None:
        if self._getpid() != self._owner:
            return  # a fork of the test process is not the test process
        body = self._dumps([self._number, kind, value], separators=(",", ":")).encode()
        self._number += 1
        mac = self._blake(body, digest_size=8, key=self._key).hexdigest().encode()
        line = self._key[:4].hex().encode() + b" " + mac + b" " + body + b"\n"
        while line:
            line = line[self._write(self._fd, line) :]


def open_channel() -> tuple[Channel | None, dict[str, object]]:
    """The channel and the settings of this process; None where the gate started something else."""
    value = os.environ.pop(ENVIRONMENT, "")
    if not value:
        return None, {}
    reading, writing, path = value.split(",", 2)
    try:
        channel = Channel(int(reading), int(writing))
        with open(path, encoding="utf-8") as file:
            settings = json.load(file)
    except (OSError, ValueError):
        return None, {}
    channel.send("hello", {"pytest": pytest.__version__})
    return channel, settings


ORIGINAL = failing_functions()
CHANNEL, SETTINGS = open_channel()
TAKEN: list[pytest.Config] = []  # the session that reports: the first one of this process


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    given = getattr(config, "workerinput", {}).get(NAME)
    if given is not None:
        config.pluginmanager.register(WorkerObserver(given), NAME)
    elif CHANNEL is not None and not TAKEN and not hasattr(config, "workerinput"):
        TAKEN.append(config)
        # `-x` in the settings would hide what fails behind an old failure.
        config.option.maxfail = 0
        config.option.continue_on_collection_errors = True
        if SETTINGS.get("collect_only"):
            config.option.collectonly = True
        config.pluginmanager.register(Reporter(SETTINGS, CHANNEL), NAME)


class Observer:
    """Keeps only the tests that were asked for, and sees what they raise before any other plugin
    can turn it into something else."""

    def __init__(self, settings: dict[str, object]) -> None:
        self.settings = settings
        self.top = str(settings.get("top", ""))
        chosen = cast("list[str] | None", settings.get("select"))
        self.chosen = None if chosen is None else frozenset(chosen)
        self.files = {os.path.abspath(name.split("::")[0]) for name in chosen or ()}
        self.whole_files = {os.path.abspath(name) for name in chosen or () if "::" not in name}
        self.raised: set[str] = set()
        self.called: set[str] = set()
        self.rewritten: list[str] = []

    if HAS_COLLECTION_PATH:

        def pytest_ignore_collect(
            self, collection_path: os.PathLike[str], config: pytest.Config
        ) -> bool | None:
            if self.chosen is None or not os.path.isfile(collection_path):
                return None
            by_id = str(config.rootpath) != os.getcwd()  # ids do not name files from here
            return None if by_id or os.path.abspath(collection_path) in self.files else True

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        if self.chosen is None:
            return
        kept: list[pytest.Item] = []
        dropped: list[pytest.Item] = []
        for item in items:
            # an id may also name the class or the function, without its parameters
            parts = item.nodeid.split("[", 1)[0].split("::")
            names = {item.nodeid, *("::".join(parts[:end]) for end in range(1, len(parts) + 1))}
            in_file = str(getattr(item, "path", "")) in self.whole_files
            (kept if in_file or names & self.chosen else dropped).append(item)
        items[:] = kept
        if dropped:
            config.hook.pytest_deselected(items=dropped)

    # The innermost wrapper: it sees what the test itself raised.
    @pytest.hookimpl(hookwrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, None]:
        self.raised.discard(item.nodeid)
        self.called.add(item.nodeid)
        outcome = yield
        raised = getattr(outcome, "excinfo", None)
        if raised and not isinstance(raised[1], pytest.skip.Exception):
            self.raised.add(item.nodeid)

    # The outermost wrapper: it has the report that all others have agreed on.
    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
        outcome = yield
        self.keep_failure(outcome.get_result(), call)

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_make_collect_report(self) -> Generator[None, Any, None]:
        outcome = yield
        report = outcome.get_result()
        self.keep_failure(report, getattr(report, "call", None))

    def keep_failure(self, report: object, call: pytest.CallInfo[object] | None) -> None:
        """Attach where it failed and why to a failed report, while its exception is at hand."""
        if call is not None and call.excinfo is not None and getattr(report, "failed", False):
            setattr(report, FAILURE, failure_parts(call.excinfo.value, report, self.top))

    def note(self, report: pytest.TestReport) -> None:
        """Remember a pass that no call led to, or that the call did not mean."""
        meant = report.nodeid in self.called and report.nodeid not in self.raised
        if report.when == "call" and report.passed and not meant:
            self.rewritten.append(report.nodeid)

    def state(self, config: pytest.Config, *, early: bool = False) -> dict[str, object]:
        """What holds of the process now; `early`, before the first test, also what is replaced:
        later a test may have left something so, and its base's tests need not have run.
        """
        now = failing_functions()
        return {
            "replaced": replaced_functions() if early else [],
            "probe": import_origins(cast("list[str]", self.settings.get("names", []))),
            "hooks": tree_hooks(config),
            "patched": [name for name, was in now.items() if ORIGINAL.get(name) is not was],
            "rewritten": self.rewritten,
        }


class WorkerObserver(Observer):
    """In a worker of pytest-xdist: observes, and tells the controller at the end."""

    early: dict[str, object]

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.early = self.state(session.config, early=True)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.note(report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        states = [getattr(self, "early", None), self.state(session.config)]
        cast("Any", session.config).workeroutput[NAME] = json.dumps([s for s in states if s])


class Reporter(Observer):
    """In the one process that speaks to the gate."""

    def __init__(self, settings: dict[str, object], channel: Channel) -> None:
        super().__init__(settings)
        self.send = channel.send
        self.elsewhere = False  # whether the tests run in other processes than this one

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        config = session.config
        forked = getattr(config.option, "forked", False)
        self.elsewhere = config.pluginmanager.hasplugin("dsession") or bool(forked)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput[NAME] = self.settings

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Iterable[str]) -> None:
        self.collected(ids)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        for state in json.loads(getattr(node, "workeroutput", {}).get(NAME) or "[]"):
            self.send("state", state)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if session.items or not self.elsewhere:
            self.collected(item.nodeid for item in session.items)
            self.send("state", self.state(session.config, early=True))

    def collected(self, ids: Iterable[str]) -> None:
        names = list(ids)
        for start in range(0, len(names), CHUNK):
            self.send("collected", names[start : start + CHUNK])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if not report.passed:
            self.result(report, "collect", report.outcome, 0.0)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.send("start", nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.passed:
            return  # set-up and teardown count only where they fail
        if not self.elsewhere:
            self.note(report)
        outcome: str = report.outcome
        if hasattr(report, "wasxfail"):
            outcome = "xpassed" if report.passed else "xfailed"
        self.result(report, str(report.when), outcome, round(float(report.duration), 4))

    def result(
        self,
        report: pytest.CollectReport | pytest.TestReport,
        when: str,
        outcome: str,
        seconds: float,
    ) -> None:
        skipped_file = when == "collect" and outcome == "skipped"
        quiet = report.passed or skipped_file
        text = "" if quiet else getattr(report, "longreprtext", "")[-TEXT:]
        failure = getattr(report, FAILURE, None) if outcome == "failed" else None
        self.send("result", [report.nodeid, when, outcome, seconds, text, failure])

    # The outermost wrapper: no other plugin changes the exit status after it.
    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        yield
        if not self.elsewhere:
            self.send("state", self.state(session.config))
        self.send("end", {"status": int(session.exitstatus)})


def failure_parts(error: BaseException, report: object, top: str) -> list[object]:
    """Where an exception was raised, what it says, and the calls on the way there.

    The traceback is read and not `longrepr`, whose entries have no functions, depend on `--tb`
    and end inside unittest; what it hides is left out here, too.
    """
    while isinstance(error, pytest.Collector.CollectError) and error.__cause__ is not None:
        error = error.__cause__  # what pytest wraps when a test file cannot be imported

    def inside(path: str) -> str:
        return path[len(top) + 1 :] if top and path.startswith(top + os.sep) else path

    calls = []
    for frame, line in traceback.walk_tb(error.__traceback__):
        path = frame.f_code.co_filename
        hidden = "__unittest" in frame.f_globals or frame.f_locals.get("__tracebackhide__") is True
        if not hidden and not path.startswith((*RUNNERS, "<frozen importlib")):
            calls.append([inside(path), line, frame.f_code.co_name])
    place = calls[-1][:2] if calls else ["", 0]
    if isinstance(error, SyntaxError) and os.path.isabs(error.filename or ""):
        place = [inside(error.filename or ""), error.lineno or 0]
    crash = getattr(getattr(report, "longrepr", None), "reprcrash", None)
    message = str(getattr(crash, "message", "")) or "".join(
        traceback.format_exception_only(type(error), error)
    )
    return [*place, message.strip()[:TEXT], calls[-CALLS:]]


def import_origins(names: Iterable[str]) -> dict[str, list[object]]:
    """Where each name is imported from: device and inode of the file, and its path."""
    origins: dict[str, list[object]] = {}
    for name in names:
        # What was imported counts; device and inode see through links and mounts.
        path = getattr(sys.modules.get(name), "__file__", None)
        if path is None and name not in sys.modules:
            try:
                path = getattr(importlib.util.find_spec(name), "origin", None)
            except (ImportError, ValueError, AttributeError):
                path = None
        try:
            status = os.stat(path or "")
        except (OSError, TypeError, ValueError):
            continue
        origins[name] = [status.st_dev, status.st_ino, str(path)]
    return origins


def tree_hooks(config: pytest.Config) -> list[str]:
    """Which files of the tested tree implement which of pytest's hooks."""
    top = os.getcwd() + os.sep
    hooks: set[str] = set()
    for name in dir(config.pluginmanager.hook):
        if not name.startswith("pytest_"):
            continue
        for implementation in getattr(config.pluginmanager.hook, name).get_hookimpls():
            module: object = implementation.plugin
            if not hasattr(module, "__file__"):
                module = sys.modules.get(getattr(type(module), "__module__", ""))
            path = os.path.abspath(getattr(module, "__file__", None) or "")
            if path.startswith(top) and "site-packages" not in path:
                hooks.add(f"{name} in {path[len(top) :]}")
    return sorted(hooks)


def replaced_functions() -> list[str]:
    """The functions of the tested tree in whose place there is something else.

    Those that their module defines without a decorator at its margin, and binds no other way;
    modules of tests are left out (what pytest has rewritten names the file it was made from).
    """
    top = os.getcwd() + os.sep
    replaced: set[str] = set()
    for module in list(sys.modules.values()):
        path = str(getattr(module, "__file__", None) or "")
        inside = path.startswith(top) and "site-packages" not in path
        loader = type(getattr(module, "__loader__", None)).__name__
        if not inside or not path.endswith(".py") or loader == "AssertionRewritingHook":
            continue
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:
            continue
        for name in vars(module).keys() & set(PLAIN_DEF.findall(text)):
            code = getattr(vars(module)[name], "__code__", None)
            home = getattr(code, "co_filename", "")
            if home == path or os.path.realpath(home) == os.path.realpath(path):
                continue
            if not re.search(rf"^(?:del |global )?{name}\b\s*[:=\n]", text, re.MULTILINE):
                replaced.add(f"{module.__name__}.{name}")
    return sorted(replaced)
