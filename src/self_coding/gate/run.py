"""One run of a command on one checkout, contained and observed, and proof of whose code it was.

It judges nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from self_coding.adapters import sandbox
from self_coding.adapters.sandbox import RunLimits
from self_coding.errors import GateError, GateTimeoutError
from self_coding.gate.python_env import import_names
from self_coding.gate.runners import observe
from self_coding.gate.sandbox_layout import SandboxLayout, TreeGuard
from self_coding.gate.test_report import Probe, RunRecord

_DEPENDENCIES = (
    "pyproject.toml", "setup.py", "setup.cfg", "*requirements*.txt", "requirements/*.txt", "*.lock",
    "package.json", "package-lock.json", "pnpm-lock.yaml", "go.mod", "go.sum", "Cargo.toml",
)  # fmt: skip
_KEPT = 4  # prepared environments
_ENDED = 128 + 15  # the supervisor's exit status where it ended the run itself
_EXCEEDED = re.compile(r"(?m)^self-coding: the run was ended: (.*)$")
_NO_ROOM, _LEAST_ROOM = "No space left on device", 64 << 20  # in a box of ours alone: not the disk
_FIND_ORIGINS = """
import json, sys
from self_coding_observer.originals import import_origins
print(json.dumps(import_origins(sys.argv[1:])))
"""


def run(
    layout: SandboxLayout,
    command: str,
    *,
    tests: Sequence[str] | None = None,
    collect_only: bool = False,
    fail_fast: bool = False,
) -> RunRecord:
    """Run a command in a checkout, only the given tests of it, or up to a first failure.

    Raises:
        GateError: the sandbox could not be set up, twice.
    """
    once = partial(_run, layout, command, tests, collect_only=collect_only, fail_fast=fail_fast)
    try:
        return once()
    except GateError:
        # What had to be covered may be gone since it was looked at, as a daemon's socket is when
        # it ends. Nothing of the command has run then.
        return once()


def _run(
    layout: SandboxLayout,
    command: str,
    tests: Sequence[str] | None,
    *,
    collect_only: bool,
    fail_fast: bool,
) -> RunRecord:
    tree, settings, at = layout.tree, layout.settings, layout.at
    names = import_names(tree, layout.roots)
    with layout.sandbox() as (spec, support):
        told = {
            "top": str(layout.mount),
            "names": sorted(names),
            "select": tests,
            "collect_only": collect_only,
            "fail_fast": fail_fast,
        }
        path = spec.env.get("PATH", os.defpath)
        with observe(support, told, tree, path) as observed:
            guard = TreeGuard(tree)  # after the layout, whose mount points and links are ours
            done = sandbox.run(
                replace(spec, env={**spec.env, **observed.env}),
                command,
                RunLimits(
                    timeout=settings.timeout,
                    output_bytes=settings.output_bytes,
                    handed=observed.handed,
                    readers=observed.readers,
                ),
                at=at,
            )
            report, shown = observed.report(done)
        output = done.stdout.decode(errors="replace") + shown[-settings.output_bytes :]
        if done.returncode and output.startswith(("bwrap: ", "self-coding: cannot contain")):
            raise GateError(
                f"the sandbox could not be set up: {output.splitlines()[0]}",
                hint="see the page about the sandbox",
            )
        ended = done.returncode == _ENDED and _EXCEEDED.search(output)
        # A full disk makes tests fail that the change did not break: asked while it is full.
        room = min(shutil.disk_usage(place).free for place in (tree, tempfile.gettempdir()))
        # A pass rests on the tree's own code. Where no runner told whence it was imported,
        # and the mount does not settle it, the interpreter is asked.
        unproved = not report.sessions and not done.returncode and at != "bwrap"
        probes: tuple[Probe, ...] = () if names and unproved else tuple(report.probes)
        if names and unproved:
            asking = shlex.join(["python", "-c", _FIND_ORIGINS, *sorted(names)])
            answer = sandbox.run(spec, asking, RunLimits(timeout=60.0), at=at).stdout
            with suppress(ValueError, IndexError, TypeError, AttributeError):
                origins = json.loads(answer.splitlines()[-1]).items()
                probes = tuple((name, int(d), int(i), str(path)) for name, (d, i, path) in origins)
        return RunRecord(
            exit_status=done.returncode,
            timed_out=done.timed_out,
            output=output,
            # other runners are told of no tests: they ran all that the command says
            complete=(tests is None and not collect_only) or report.is_foreign,
            report=report,
            planted=guard.planted(trusted=at == "bwrap"),
            rewrote=guard.rewritten(),
            foreign=_foreign_imports(probes, tree, names),
            exceeded=ended[1] if ended else "",
            disk_full=bool(done.returncode and _NO_ROOM in output and room < _LEAST_ROOM),
        )


def prepare(layout: SandboxLayout, store: Path) -> Path | None:
    """Return the folder of what the setup command makes for this checkout; None without one.

    It runs contained like the tests, once for each state of the dependency files. What it
    leaves in the checkout is moved into `store`, to be bound back read-only into every run.

    Raises:
        GateError: the setup command failed, so the tests could not be run.
    """
    tree, command = layout.tree, layout.settings.setup_command
    if not command:
        return None
    place = store / setup_key(layout)
    if place.is_dir():
        # Used now: the oldest are what is removed below.
        os.utime(place)
        return place
    before = {entry.name for entry in tree.iterdir()}
    settings = replace(layout.settings, network=layout.settings.setup_network)
    record = run(replace(layout, settings=settings), command)
    if record.timed_out:
        raise GateTimeoutError("the setup command hit the time limit", hint="raise `timeout`")
    if record.exit_status:
        raise GateError(
            f"the setup command failed with exit status {record.exit_status}:"
            f" {record.output[-2000:]}",
            hint="run it by hand; `setup_network` lets it use the network",
        )
    # Moved under another name first, so that it is there whole or not at all.
    part = place.with_name(place.name + ".part")
    # Left by a set-up that was killed.
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name in sorted({entry.name for entry in tree.iterdir()} - before):
        shutil.move(tree / name, part / name)
    part.rename(place)
    for old in sorted(store.iterdir(), key=lambda one: one.stat().st_mtime)[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return place


def setup_key(layout: SandboxLayout) -> str:
    """Return the name of what the setup command makes for the dependency files of a tree."""
    digest = hashlib.sha256(f"{layout.settings.setup_command}\0{layout.at}".encode())
    # Installing takes minutes: it is repeated only when a file that names dependencies changes.
    for pattern in _DEPENDENCIES:
        for file in sorted(layout.tree.glob(pattern)):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:32]


def _foreign_imports(
    probes: Sequence[Probe], tree: Path, names: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """Return the imports of the test run that were not this checkout's files."""
    foreign = []
    for name, device, inode, origin in probes:
        own = set()
        for file in names.get(name, ()):
            with suppress(OSError):
                status = (tree / file).stat()
                own.add((status.st_dev, status.st_ino))
        if own and (device, inode) not in own:
            foreign.append(f"{name} from {origin}")
    return tuple(foreign)
