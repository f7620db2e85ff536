"""A pytest plugin that reports every test to the gate; it is loaded from outside the tested tree.

It sees what tests raise before any other plugin can turn it into something else, and what holds of
the process before the first test and after the last one: what is patched, and whether tests that are known to fail still do.
"""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING, cast

import _pytest
import pluggy
import pytest

from .canaries import sing
from .channel import TEXT, Channel, failure_parts, open_channel
from .originals import Originals, import_origins, part

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from typing import Any

NAME = "self_coding_observer"
FAILURE = "self_coding_failure"  # an attribute of a report; pytest-xdist carries it over
RUNNERS = tuple(os.path.dirname(str(one.__file__)) + os.sep for one in (_pytest, pluggy))
PLAIN_DEF = re.compile(r"(?:\A|(?:\A|\n)(?![@)])[^\n]*\n)(?:async )?def (\w+)")
HAS_COLLECTION_PATH = int(pytest.__version__.split(".", 1)[0]) >= 7  # an argument of the hook


CHANNEL, SETTINGS = open_channel(f"pytest {pytest.__version__}")
TAKEN: list[pytest.Config] = []  # the session that reports: the first one of this process
WORKER = "PYTEST_XDIST_WORKER" in os.environ
ORIGINALS = Originals(os.getcwd()) if CHANNEL or WORKER else None


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    given = getattr(config, "workerinput", {}).get(NAME)
    if given is not None:
        config.pluginmanager.register(WorkerObserver(given), NAME)
    elif CHANNEL is not None and not TAKEN and not hasattr(config, "workerinput"):
        # A test may run pytest inside of itself: the first session is the one that is judged.
        TAKEN.append(config)
        # `-x` in the settings would hide what fails behind an old failure.
        config.option.maxfail = 1 if SETTINGS.get("fail_fast") else 0
        # One broken file must not hide that the others went red as well.
        config.option.continue_on_collection_errors = True
        if SETTINGS.get("collect_only") and SETTINGS.get("select") is None:
            config.option.collectonly = True
        config.pluginmanager.register(Reporter(SETTINGS, CHANNEL), NAME)


class Observer:
    """Keeps only the tests that were asked for, and sees what they raise before anybody else."""

    def __init__(self, settings: dict[str, object]) -> None:
        self.settings = settings
        self.top = str(settings.get("top", ""))
        chosen = cast("list[str] | None", settings.get("select"))
        self.chosen = None if chosen is None else frozenset(chosen)
        self.files = {os.path.abspath(name.split("::")[0]) for name in chosen or ()}
        self.whole_files = {os.path.abspath(name) for name in chosen or () if "::" not in name}
        self.lists_all = bool(settings.get("collect_only"))
        self.listed: list[str] = []
        self.raised: set[str] = set()
        self.called: set[str] = set()
        self.rewritten: list[str] = []
        self.alive: list[str] = []  # canaries that did not fail
        self.altered: set[str] = set()  # what was replaced while a test ran
        self.functions: dict[str, tuple[object, object]] = {}
        self.ended = 0

    if HAS_COLLECTION_PATH:

        def pytest_ignore_collect(
            self, collection_path: os.PathLike[str], config: pytest.Config
        ) -> bool | None:
            if self.chosen is None or self.lists_all or not os.path.isfile(collection_path):
                return None
            by_id = str(config.rootpath) != os.getcwd()  # ids do not name files from here
            return None if by_id or os.path.abspath(collection_path) in self.files else True

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        self.listed = [item.nodeid for item in items]
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
        # In place: pytest holds this very list.
        items[:] = kept
        if dropped:
            config.hook.pytest_deselected(items=dropped)

    # The innermost wrapper: it sees what the test itself raised.
    @pytest.hookimpl(hookwrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, None]:
        self.raised.discard(item.nodeid)
        self.called.add(item.nodeid)
        if self.functions.get(item.nodeid, (None, None)) != function_of(item):
            path = ORIGINALS.home(function_of(item)[0]) if ORIGINALS else None
            self.altered.add(f"{item.nodeid} by {path or ''}")
        outcome = yield
        if ORIGINALS:  # now, while what a test replaces is in place
            self.altered.update(ORIGINALS.changed(often=True))
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
            error: BaseException = call.excinfo.value
            while isinstance(error, pytest.Collector.CollectError) and error.__cause__ is not None:
                error = error.__cause__  # what pytest wraps when a test file cannot be imported
            crash = getattr(getattr(report, "longrepr", None), "reprcrash", None)
            message = str(getattr(crash, "message", ""))
            setattr(report, FAILURE, failure_parts(error, self.top, RUNNERS, message))

    def note(self, report: pytest.TestReport) -> None:
        """Remember a pass that no call led to, or that the call did not mean."""
        meant = report.nodeid in self.called and report.nodeid not in self.raised
        if report.when == "call" and report.passed and not meant:
            self.rewritten.append(report.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(self) -> None:
        self.ended += 1
        if self.ended & (self.ended - 1) == 0 and self.functions:  # 1, 2, 4, 8: here and there
            self.alive += sing(pytest, often=True)

    def begin(self, session: pytest.Session) -> dict[str, object]:
        """Remember the tests as they were collected; return what holds before the first one."""
        self.functions = {item.nodeid: function_of(item) for item in session.items}
        return self.state(session, early=True)

    def state(self, session: pytest.Session, *, early: bool = False) -> dict[str, object]:
        """What holds of the process now; `early` is before the first test."""
        if self.functions:
            self.alive += sing(pytest, through_pytest(session))
        if ORIGINALS:
            self.altered.update(ORIGINALS.changed(), ORIGINALS.equal_to_all())
            self.altered.update(ORIGINALS.early)
        return {
            "probe": import_origins(cast("list[str]", self.settings.get("names", []))),
            "rewritten": self.rewritten,
            "altered": sorted(self.altered),
            "looked": sorted(ORIGINALS.looks.found) if ORIGINALS else [],
            "canaries": sorted(set(self.alive)),
            # later a test may have left something so, and its base's tests need not have run
            "replaced": replaced_functions() if early else [],
            "examples": examples_of(session.items) if early else [],
        }


class WorkerObserver(Observer):
    """In a worker of pytest-xdist: observes, and tells the controller at the end."""

    early: dict[str, object]

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.early = self.begin(session)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.note(report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        states = [getattr(self, "early", None), self.state(session)]
        cast("Any", session.config).workeroutput[NAME] = json.dumps(
            {"states": [s for s in states if s], "raised": sorted(self.raised)}
        )


class Reporter(Observer):
    """In the one process that speaks to the gate."""

    def __init__(self, settings: dict[str, object], channel: Channel) -> None:
        super().__init__(settings)
        self.send, self.collected = channel.send, channel.collected
        self.elsewhere = False  # whether the tests run in other processes than this one
        self.passes: set[str] = set()

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        config = session.config
        # Each test in a process of its own: what it changes there is not to be seen here.
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
        told = json.loads(getattr(node, "workeroutput", {}).get(NAME) or "{}")
        # A report can be rewritten on its way here; what the test raised there stays.
        self.rewritten += sorted(self.passes.intersection(told.get("raised", ())))
        for state in told.get("states", ()):
            self.send("state", {**state, "rewritten": state["rewritten"] + self.rewritten})

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if session.items or not self.elsewhere:
            ran = [item.nodeid for item in session.items]
            self.collected(self.listed if self.lists_all and self.chosen is not None else ran)
            self.send("state", self.begin(session))

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
        if report.when == "call" and report.passed:
            self.passes.add(report.nodeid)
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
        place = getattr(report, "longrepr", None)
        if outcome == "skipped" and isinstance(place, tuple):  # where it was decided, and why
            path = os.path.relpath(place[0], self.top or os.getcwd())
            text = f"{path}:{place[1]}: {place[2]}"[:TEXT]
        failure = getattr(report, FAILURE, None) if outcome == "failed" else None
        self.send("result", [report.nodeid, when, outcome, seconds, text, failure])

    # The outermost wrapper: no other plugin changes the exit status after it.
    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        yield
        if not self.elsewhere:
            self.send("state", self.state(session))
        self.send("end", {"status": int(session.exitstatus)})


def function_of(item: pytest.Item) -> tuple[object, object]:
    """The function of a test as its module or class has it now, and its code."""
    # Looked up anew, as `item.obj` keeps what was collected: a test may replace the next one.
    owner = getattr(item.parent, "obj", None)
    value = getattr(owner, getattr(item, "originalname", None) or item.name, None)
    value = getattr(value, "__func__", value)
    return value, getattr(value, "__code__", None)


def examples_of(items: Iterable[pytest.Item]) -> list[str]:
    """The lines of doctests: those that run, and those that are skipped one by one."""
    examples, skip = [], getattr(sys.modules.get("doctest"), "SKIP", 0)
    for item in items:
        for one in getattr(getattr(item, "dtest", None), "examples", ()):
            word = "skips" if one.options.get(skip) else "runs"
            source = one.source.partition("# doctest:")[0].strip()
            examples.append(f"{word} {item.nodeid}: {source[:TEXT]}")
    return examples


def through_pytest(session: pytest.Session) -> Callable[[Callable[[], object]], object]:
    """A way to call a canary as pytest calls a test: beside a real one, without its fixtures."""
    module = session.items[-1].getparent(pytest.Module) if session.items else None

    def call(canary: Callable[[], object]) -> None:
        try:
            made = pytest.Function.from_parent(module, name="test_one", callobj=canary)
        except Exception:  # this pytest, or a plugin, will not have it
            canary()
        else:
            made.runtest()

    return call


def replaced_functions() -> list[str]:
    """The functions of the tested tree in whose place there is something else.

    Those that their module defines without a decorator at its margin, and binds no other way;
    modules of tests are left out (what pytest has rewritten names the file it was made from).
    """
    top = os.getcwd() + os.sep
    replaced: set[str] = set()
    for module in list(sys.modules.values()):
        path = str(part(module, "__file__") or "")
        inside = path.startswith(top) and "site-packages" not in path
        loader = type(part(module, "__loader__")).__name__
        if not inside or not path.endswith(".py") or loader == "AssertionRewritingHook":
            continue
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:
            continue
        for name in vars(module).keys() & set(PLAIN_DEF.findall(text)):
            code = part(vars(module)[name], "__code__")
            home = str(part(code, "co_filename", ""))
            if home == path or os.path.realpath(home) == os.path.realpath(path):
                continue
            if not re.search(rf"^(?:del |global )?{name}\b\s*[:=\n]", text, re.MULTILINE):
                replaced.add(f"{module.__name__}.{name}")
    return sorted(replaced)
