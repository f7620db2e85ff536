"""How a test command is observed: what goes beside the tree and into its environment, and back.

The observers go with every command: what runs neither pytest nor unittest never loads them, and
`make test` may well run either. An empty report then means that only the exit status is known.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from self_coding.adapters.process import Completed
from self_coding.gate.test_report import KEY_BYTES, TestReport, read

OBSERVER = Path(__file__).with_name("observer")
_MODULE = "self_coding_report"  # the plugin's name inside the test run
_PACKAGE = "self_coding_observer"
_PLUGIN = f"from {_PACKAGE}.pytest_plugin import *  # pragma: no cover\n"
_CHANNEL = "SELF_CODING_REPORT"  # the variable in which the plugin finds its descriptors
_SESSIONS = 8  # pytest sessions that one command may hold
_REPORT_BYTES = 64 << 20
_CLOSING = re.compile(r"\b(?:hatch|tox|nox)\b[^;&|]*")  # they hand no descriptor to what they start
_NAMED = re.compile(r"\bpy\.?test\b|\bpython[\d.]*(?: -[bBuv]+| -[WX] ?\S+)* -m unittest\b")


@dataclass(frozen=True, kw_only=True)
class Observation:
    """How a command must be started so that its tests can be observed, and how to read them."""

    env: Mapping[str, str]
    handed: tuple[int, ...]
    readers: Mapping[int, int]
    report: Callable[[Completed], TestReport]


def must_report(command: str) -> bool:
    """Return whether a command names pytest or unittest, so that a missing report is suspicious."""
    return _NAMED.search(_CLOSING.sub("", command)) is not None


@contextmanager
def observe(folder: Path, settings: Mapping[str, object]) -> Iterator[Observation]:
    """Hand the observers a one-time key for each session and a pipe for their signed report.

    Args:
        folder: read-only, beside the tree, on the import path of the command.
        settings: `top` of the tree, tests to `select` (None: all), `collect_only`, `fail_fast`,
            and the `names` that the tree's own code is imported by.
    """
    package = folder / _PACKAGE
    package.mkdir()
    (folder / f"{_MODULE}.py").write_text(_PLUGIN, encoding="utf-8")
    (folder / "sitecustomize.py").write_bytes((OBSERVER / "start.py").read_bytes())
    for file in OBSERVER.glob("*.py"):
        # Compiled under a name that is no file's, so that no meter of coverage counts it.
        code = f"exec(compile({file.read_text('utf-8')!r}, '<self-coding>', 'exec'))"
        code += "  # pragma: no cover\n"
        (package / file.name).write_text(code, encoding="utf-8")
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
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
                _CHANNEL: f"{keys_read},{report_written},{folder}/settings.json",
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
