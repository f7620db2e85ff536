"""Whether a commit's tests can prove anything here: asked before the first change, not after it.

The tests are listed in the sandbox that they will run in. A command that cannot list them is run
itself, for a short time. It judges no change and keeps nothing.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from self_coding.adapters import sandbox
from self_coding.adapters.sandbox import RunLimits
from self_coding.gate.gate_run import Gate
from self_coding.gate.missing import what_is_missing
from self_coding.gate.run import prepare, run
from self_coding.gate.sandbox_layout import SandboxLayout
from self_coding.gate.test_report import RunRecord

_SECONDS = 60.0
_NOTHING_COLLECTED = 5  # pytest's exit status
_UNITTEST = """
import sys, unittest
def cases(suite):
    for one in suite:
        yield from cases(one) if isinstance(one, unittest.TestSuite) else [one]
loader = unittest.defaultTestLoader
folder, _, pattern = " ".join(sys.argv[1:]).partition("-p ")
found = list(cases(loader.discover(folder.strip() or ".", pattern or "test*.py")))
for one in found:
    if "_FailedTest" not in one.id():
        print(one.id(), ": test")
sys.exit("\\n".join(loader.errors) or 0)
"""
#: A command, the part of it that is replaced so that it lists its tests, and by what.
_LISTING = (
    (re.compile(r"\bgo test\b"), "go test -list ."),
    (re.compile(r"\bcargo test\b(?!.* -- )[^&|;]*"), r"\g<0> -- --list"),
    (
        re.compile(
            r"-m unittest(?: -[qv]+)*$"
            r"|-m unittest discover(?: -[qvs]+)*(?=(?: [\w./]+)?(?: -p ['\"*\w.]+)?$)"
        ),
        f"-c {shlex.quote(_UNITTEST)}".replace("\\", "\\\\"),
    ),
)
_LISTED = re.compile(r"(?m)^(?:(?:Test|Example|Fuzz)\w*|.*: (?:test|benchmark))$")
_NO_PLUGINS = "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1"
# Of any tool, and an exception of Python's that no test of its own names.
_ERROR = re.compile(r"(?i:\W*(?:npm )?(?:fatal|err(?:or|!)))|(?:[a-z_]\w*\.)*[A-Z]\w+: \S")
_NO_MODULE = re.compile(r"No module named '?([\w.]+)'?")


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """What a commit's tests have here and what they lack.

    Attributes:
        program: where the first word of the command is inside the sandbox; "" is nowhere.
        tests: how many there are; None where the command does not list them.
        broken: the files that could not be collected, each with why.
        failure: why nothing can be proved, in words; empty where something can.
        hint: the way out of it.
        listed: False where the command itself ran, for want of a listing.
        unfinished: it was still running when the time for this was up.
        seconds: wall time.
    """

    program: str
    tests: int | None = None
    broken: Mapping[str, str]
    failure: str = ""
    hint: str = ""
    listed: bool = True
    unfinished: bool = False
    seconds: float = 0.0


def readiness(gate: Gate, commit: str, seconds: float = _SECONDS) -> Readiness:
    """Return what the tests of a commit have here and what they lack.

    Raises:
        GateError: the sandbox or the setup command failed.
    """
    started = time.monotonic()
    command = listing = gate.settings.command
    for pattern, replacement in _LISTING:
        listing = pattern.sub(replacement, listing, count=1)
    settings = replace(gate.settings, timeout=min(seconds, gate.settings.timeout))
    with gate.checkout(commit) as tree:
        layout = SandboxLayout(top=gate.top, settings=settings, at=gate.level(), tree=tree)
        # Installing is not part of the time: it is done once, and every later run has it.
        setup = prepare(replace(layout, settings=gate.settings), gate.memory.folder / "setup")
        layout = replace(layout, setup=setup)
        words = [word for word in command.split() if not re.match(r"\w+=", word)]
        with layout.sandbox() as (spec, _):
            # `command -v` is the shell's own: it finds what the shell will start.
            ask = f"command -v {shlex.quote(words[0] if words else command)}"
            done = sandbox.run(spec, ask, RunLimits(timeout=_SECONDS), at=layout.at)
        record = run(layout, listing, collect_only=True)
        bare = RunRecord(exit_status=0)
        if "INTERNALERROR> " in record.output:  # a plugin may hide what else is missing
            bare = run(layout, f"export {_NO_PLUGINS}; {listing}", collect_only=True)
    report = record.report
    # What reports while it runs was run, not listed: that it takes long says nothing against it.
    ran = report.is_foreign and record.timed_out
    listed = (record.understood and not ran) or listing != command
    tests = len(report.collected) if record.understood else None
    if not record.understood and listing != command:
        tests = len(_LISTED.findall(record.output))
    broken = {}
    for one in report.results:
        if one.outcome == "error":  # what says why is the last line, but for a missing module
            match = _NO_MODULE.search(one.message)
            last = (one.message.strip() or "it failed").splitlines()[-1]
            broken[one.id] = match[0] if match else last.removeprefix("E").strip()[:120]
    failure, hint = _failure(gate, record, bare, tests, broken)
    return Readiness(
        program=done.stdout.decode(errors="replace").strip(),
        tests=tests,
        broken=broken,
        failure="" if record.timed_out and not listed else failure,
        hint=hint,
        listed=listed,
        unfinished=record.timed_out,
        seconds=time.monotonic() - started,
    )


def _failure(
    gate: Gate,
    record: RunRecord,
    bare: RunRecord,
    tests: int | None,
    broken: Mapping[str, str],
) -> tuple[str, str]:
    """Return why nothing can be proved, and the way out; both empty where something can."""
    if tests and (record.understood or not record.exit_status):
        return "", ""
    results = [*record.report.results, *bare.report.results]
    texts = [record.output, bare.output, *(one.message for one in results)]
    modules = dict.fromkeys(name for text in texts for name in _NO_MODULE.findall(text))
    lacking = what_is_missing(record, gate.top, gate.settings)
    if bare.output and modules and lacking:
        lacking = f"no module {', '.join(modules)}, and {lacking}"
    elif len(modules) > 1 and "gate.carry" not in lacking:  # all of them at once, not one a day
        lacking = f"no modules {', '.join(modules)}; install them, or set gate.python"
    what, _, way = lacking.rpartition("; ")
    file, why = next(iter(broken.items()), ("", ""))
    plain = re.sub(r"\x1b\[[\d;]*m", "", record.output)  # colours
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    # What it calls an error, where it does: the last lines are often what follows from that.
    errors = [line for line in lines if _ERROR.match(line)][:2]
    lines = [*dict.fromkeys([*errors, *lines[-2 if errors else -3 :]])]
    said = f"exit status {record.exit_status} on main: {' | '.join(lines) or 'it says nothing'}"[
        :400
    ]
    cases: tuple[tuple[object, str, str], ...] = (
        (what, what, way),
        (record.timed_out, "the tests could not even be listed in time", "run the command by hand"),
        (file, f"no test can be collected: {file}: {why}", "repair that first"),
        (
            tests == 0 and record.exit_status in (0, _NOTHING_COLLECTED),
            "there are no tests, so nothing can be proved",
            "write a first one, or let a command prove what it can:"
            ' test_command = "python -m compileall -q ."',
        ),
        (record.exit_status, said, "main has to pass this command before anything can land"),
    )
    return next(((told, hint) for holds, told, hint in cases if holds), ("", ""))
