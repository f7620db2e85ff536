"""How a test command is observed: what goes beside the tree and into its environment, and back.

The observers go with every command: what runs neither pytest nor unittest never loads them, and
`make test` may well run either. So do the shims of other runners; report files that the run left
in the tree are read, and TAP in its output. An empty report then means that only the exit status
is known.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from self_coding.adapters.process import Completed
from self_coding.gate.report_files import is_report, read_files, read_tap
from self_coding.gate.runner_reports import Tree, read_stream
from self_coding.gate.shims import PIPE, put_shims
from self_coding.gate.test_report import KEY_BYTES, TestReport, combine, read
from self_coding.languages import is_manifest

OBSERVER = Path(__file__).with_name("observer")
_MODULE = "self_coding_report"  # the plugin's name inside the test run
_PACKAGE = "self_coding_observer"
_PLUGIN = f"from {_PACKAGE}.pytest_plugin import *  # pragma: no cover\n"
_CHANNEL = "SELF_CODING_REPORT"  # the variable in which the plugin finds its descriptors
_SESSIONS = 8  # pytest sessions that one command may hold
_REPORT_BYTES = 64 << 20
_CLOSING = re.compile(r"\b(?:hatch|tox|nox)\b[^;&|]*")  # they hand no descriptor to what they start
_NAMED = re.compile(r"\bpy\.?test\b|\bpython[\d.]*(?: -[bBuv]+| -[WX] ?\S+){0,9} -m unittest\b")
_SHIMMED = re.compile(
    r"(?:^|[\s;&|(])(?:go test|cargo test|node --test|npx (?:vitest|jest|mocha))\b"
)
_REPORT_FILE_BYTES = 32 << 20
_IDLE = frozenset((".git", "node_modules", "vendor", "__pycache__"))  # where no report is


@dataclass(frozen=True, kw_only=True)
class Observation:
    """How a command must be started so that its tests can be observed, and how to read them."""

    env: Mapping[str, str]
    handed: tuple[int, ...]
    readers: Mapping[int, int]
    report: Callable[[Completed], tuple[TestReport, str]]


def must_report(command: str, at: str) -> bool:
    """Return whether a command names a runner that is observed at a level of the sandbox, so that
    a missing report is suspicious."""
    named = _NAMED.search(_CLOSING.sub("", command))
    # Landlock lets nobody open the pipe, which then only its exit status speaks for.
    return bool(named or (at != "landlock" and _SHIMMED.search(command)))


@contextmanager
def observe(
    folder: Path, settings: Mapping[str, Any], tree: Path, path: str
) -> Iterator[Observation]:
    """Hand the observers a one-time key for each session and a pipe for their signed report.

    Args:
        folder: read-only, beside the tree, on the import path of the command.
        settings: `top` of the tree, tests to `select` (None: all), `collect_only` (list all, run
            none but those selected), `fail_fast`, and the `names` that the tree's own code is
            imported by.
        tree: the checkout, to which the reports of other runners are related.
        path: the PATH of the tests.
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
    chosen = () if settings.get("collect_only") else settings["select"] or ()
    put_shims(folder, path, tree, str(settings["top"]), chosen)
    # Opened for both ends here, so that it ends when the last process of the run does.
    stream_read = os.open(folder / PIPE, os.O_RDONLY | os.O_NONBLOCK)
    stream_written = os.open(folder / PIPE, os.O_WRONLY)
    started = time.time()

    def report(done: Completed) -> tuple[TestReport, str]:
        received, stream = done.extra
        python = read(received, keys, cut=len(received) >= _REPORT_BYTES)
        if python.sessions and not stream:
            return python, ""
        said = b"" if done.truncated else done.stdout
        other, shown = _other_runners(stream, said, tree, str(settings["top"]), started)
        return combine(python, other), shown

    try:
        yield Observation(
            env={
                "PYTEST_PLUGINS": _MODULE,
                _CHANNEL: f"{keys_read},{report_written},{folder}/settings.json",
            },
            # closed here as soon as the command runs
            handed=(keys_read, report_written, stream_written),
            readers={report_read: _REPORT_BYTES, stream_read: _REPORT_BYTES},
            report=report,
        )
    finally:
        os.close(report_read)
        os.close(stream_read)


def _other_runners(
    stream: bytes, said: bytes, tree: Path, top: str, started: float
) -> tuple[TestReport, str]:
    """Return what shims, report files or else the output say, and what people would have seen."""
    files: dict[str, Path] = {}
    reports: list[Path] = []
    for folder, inside, names in os.walk(tree):
        inside[:] = [each for each in inside if each not in _IDLE]
        for name in names:
            place = Path(folder, name)
            path = place.relative_to(tree).as_posix()
            # A report of an earlier run, or one that is committed, says nothing of this one. A
            # second is left to file systems that keep whole ones.
            if is_report(path) and place.is_file() and place.stat().st_mtime >= started - 1:
                reports.append(place)
            else:
                files[path] = place

    def text(path: str) -> str | None:
        try:
            return files[path].read_text("utf-8", "replace") if path in files else None
        except OSError:
            return None

    # TAP has no file and no shim: it is what the command prints, and is read last.
    is_tap = b"\nok " in said or b"\nnot ok " in said
    if not (stream or reports or is_tap):
        return TestReport(), ""
    manifests = {path: text(path) or "" for path in files if is_manifest(path)}
    known = Tree(top, frozenset(files), text, manifests)
    if stream:
        report, shown = read_stream(stream.decode("utf-8", "replace"), known)
        # What fills the pipe to its bound was cut: the failures may be in the rest.
        if len(stream) >= _REPORT_BYTES:
            report = replace(report, tampered="it was too long")
        if report.sessions:
            return report, shown
    small = (place for place in sorted(reports) if place.stat().st_size < _REPORT_FILE_BYTES)
    paths = ((place.relative_to(tree).as_posix(), place.read_bytes()) for place in small)
    found = read_files(paths, known)
    if not found.sessions and is_tap:
        found = read_tap(said.decode("utf-8", "replace"), known)
    return found, ""


def observer_digest() -> str:
    """Return the digest of what runs inside: a changed observer makes old verdicts stale."""
    digest = hashlib.sha256()
    others = (
        OBSERVER.with_name(f"{name}.py") for name in ("shims", "runner_reports", "report_files")
    )
    for file in (*sorted(OBSERVER.glob("*.py")), *others):
        digest.update(file.read_bytes())
    return digest.hexdigest()
