"""Test runners: a command goes in, a result for each test comes out.

A runner knows one kind of test command: what must be beside the tree and in the environment, so
that its tests can be observed, and how the report is read when the command has ended. A further
one (go test, cargo test, node) is a class of its own and a line in `runner_for`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from self_coding.adapters.process import Completed
from self_coding.gate.test_report import KEY_BYTES, TestReport, read

OBSERVER = Path(__file__).with_name("observer")
_MODULE = "self_coding_report"  # the plugin's name inside the test run
_PACKAGE = "self_coding_observer"
_PLUGIN = f"from {_PACKAGE}.pytest_plugin import *  # pragma: no cover\n"
_CHANNEL = "SELF_CODING_REPORT"  # the variable in which the plugin finds its descriptors
_SESSIONS = 8  # pytest sessions that one command may hold
_REPORT_BYTES = 64 << 20
_NAMED = re.compile(r"\bpy\.?test\b|\bpython[\d.]*(?: -[bBuvW]\w*)* -m unittest\b")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is wanted of one run.

    Attributes:
        folder: a read-only folder beside the tree, on the import path of the command.
        top: where the command finds the tree.
        tests: the test files or ids that run; None for all.
        collect_only: True runs none and lists them.
        import_names: the names of the tree's packages, whose origin is asked for.
    """

    folder: Path
    top: Path
    tests: Sequence[str] | None = None
    collect_only: bool = False
    import_names: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Observation:
    """How a command must be started so that its tests can be observed, and how to read them."""

    env: Mapping[str, str] = field(default_factory=dict)
    handed: tuple[int, ...] = ()
    readers: Mapping[int, int] = field(default_factory=dict)
    report: Callable[[Completed], TestReport] = lambda done: TestReport()


class TestRunner(Protocol):
    """One kind of test command."""

    def must_report(self, command: str) -> bool:
        """Return whether `command` names this runner, so that a missing report is suspicious."""
        ...

    def observe(self, request: Request) -> AbstractContextManager[Observation]:
        """Prepare one run; the observation is valid inside of the block."""
        ...


class Pytest:
    """pytest and unittest, by observers of ours that are loaded from outside the tested tree."""

    def must_report(self, command: str) -> bool:
        """Return whether the command names either; a Makefile target may run one unnamed."""
        return _NAMED.search(command) is not None

    @contextmanager
    def observe(self, request: Request) -> Iterator[Observation]:
        """Hand the plugin a one-time key for each session and a pipe for its signed report."""
        package = request.folder / _PACKAGE
        package.mkdir()
        (request.folder / f"{_MODULE}.py").write_text(_PLUGIN, encoding="utf-8")
        (request.folder / "sitecustomize.py").write_bytes((OBSERVER / "start.py").read_bytes())
        for file in OBSERVER.glob("*.py"):
            # Compiled under a name that is no file's, so that no meter of coverage counts it.
            code = f"exec(compile({file.read_text('utf-8')!r}, '<self-coding>', 'exec'))"
            code += "  # pragma: no cover\n"
            (package / file.name).write_text(code, encoding="utf-8")
        settings = request.folder / "settings.json"
        content = {
            "top": str(request.top),
            "select": request.tests,
            "collect_only": request.collect_only,
            "names": request.import_names,
        }
        settings.write_text(json.dumps(content), encoding="utf-8")
        # One for each pytest session that the command may start: who reads a key uses it up, so
        # that nothing which starts later can sign in its name.
        keys = [secrets.token_bytes(KEY_BYTES) for _ in range(_SESSIONS)]
        keys_read, keys_written = os.pipe()
        os.write(keys_written, b"".join(keys))
        os.close(keys_written)
        report_read, report_written = os.pipe()

        def report(done: Completed) -> TestReport:
            [received] = done.extra
            return read(received, keys, cut=len(received) >= _REPORT_BYTES)

        try:
            yield Observation(
                env={
                    "PYTEST_PLUGINS": _MODULE,
                    _CHANNEL: f"{keys_read},{report_written},{settings}",
                },
                handed=(keys_read, report_written),  # closed here as soon as the command runs
                readers={report_read: _REPORT_BYTES},
                report=report,
            )
        finally:
            os.close(report_read)


def observer_digest() -> str:
    """Return the digest of what runs inside: a changed observer makes old verdicts stale."""
    digest = hashlib.sha256()
    for file in sorted(OBSERVER.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


class ExitStatus:
    """Any command of which only the exit status is known, such as a setup command."""

    def must_report(self, command: str) -> bool:
        """Return False: it never reports a test."""
        return False

    @contextmanager
    def observe(self, request: Request) -> Iterator[Observation]:
        """Observe nothing."""
        yield Observation()


def runner_for(command: str) -> TestRunner:
    """Return the runner that observes a test command.

    pytest's plugin goes with every command: what is not pytest never loads it, and `make test`
    may well be pytest. Its empty report then means that only the exit status is known.
    """
    return Pytest()
