"""One run of the test command on one checkout, contained and observed.

It has the sandbox laid out, loads the census plugin, proves whose code was imported, and gathers
the evidence. It judges nothing.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from self_coding.adapters import sandbox
from self_coding.adapters.sandbox import Allowance
from self_coding.adapters.sandbox_bwrap import Box
from self_coding.errors import GateError
from self_coding.gate.census import KEY_BYTES, Probe, read
from self_coding.gate.evidence import Evidence
from self_coding.gate.integrity import (
    fingerprint,
    restore_and_compare,
    rewritten,
    stamps,
)
from self_coding.gate.layout import MODULE, box_for, command_folder, kit_for
from self_coding.gate.roots import import_names, import_roots, interpreter
from self_coding.values.verdicts import GateSettings

CHANNEL = "SELF_CODING_CENSUS"  # where the plugin finds its descriptors
_SESSIONS = 8  # pytest sessions that one command may hold
_REPORT_BYTES = 64 << 20
_ASK = """
import importlib.util, json, os, sys
found = []
for name in sys.argv[1:]:
    origin = getattr(importlib.util.find_spec(name), "origin", None)
    if origin and os.path.exists(origin):
        status = os.stat(origin)
        found.append([name, status.st_dev, status.st_ino, origin])
print(json.dumps(found))
"""


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Runs the command of `settings` for the repository at `top`, at sandbox level `at`."""

    top: Path
    settings: GateSettings
    at: str

    def run(
        self,
        path: Path,
        *,
        tree: str = "",
        select: Sequence[str] | None = None,
        collect_only: bool = False,
        command: str | None = None,
        setup: Path | None = None,
    ) -> Evidence:
        """Run the command in the checkout at `path`, or only the selected tests of it.

        Raises:
            GateError: the sandbox could not be set up.
        """
        place = setup if self.settings.setup_command else self.top
        python = interpreter(place, self.settings.command)
        roots = import_roots(path, self.top, python)
        names = import_names(path, roots)
        wanted: dict[str, object] = {"select": select, "collect_only": collect_only}
        mount = self.top if self.at == "bwrap" else path
        wanted |= {"names": sorted(names), "top": str(mount)}
        inside = python
        if setup is not None and python.is_relative_to(setup):
            inside = mount / python.relative_to(setup)
        with (
            kit_for(python, wanted) as kit,
            box_for(
                self.top, self.settings, self.at, path=path, python=python, kit=kit, setup=setup
            ) as plain,
        ):
            folder = command_folder(python, inside, kit)
            env = dict(plain.env) | {
                "PATH": f"{folder}{os.pathsep}{plain.env.get('PATH', os.defpath)}",
                "PYTHONPATH": os.pathsep.join(map(str, (kit, *(mount / root for root in roots)))),
                "PYTEST_PLUGINS": MODULE,
            }
            box = replace(plain, env=env)
            before, sources = fingerprint(path), stamps(path)
            evidence = self._observe(box, kit, command or self.settings.command)
            probes = evidence.census.probes
            if self._needs_a_probe(evidence, names):
                probes = self._probe(box, sorted(names))
            planted = restore_and_compare(path, before, trusted=self.at == "bwrap")
            rewrote = rewritten(path, sources)
            foreign = _foreign(probes, path, names)
        partial = select is not None or collect_only
        return replace(
            evidence,
            tree=tree,
            planted=planted,
            rewrote=rewrote,
            foreign=foreign,
            whole=not partial,
        )

    def limits(self) -> str:
        """The limits in words, for reports and keys."""
        s = self.settings
        words = [f"{s.timeout:g} s"]
        for amount, unit in ((s.cpu_seconds, "CPU s"), (s.processes, "processes")):
            words += [f"{amount} {unit}"] if amount else []
        for amount, what in ((s.memory_bytes, "memory"), (s.file_bytes, "a file")):
            words += [f"{amount >> 20} MiB {what}"] if amount else []
        return ", ".join([*words, "network" if s.network else "no network"])

    def _observe(self, box: Box, kit: Path, command: str) -> Evidence:
        keys = [secrets.token_bytes(KEY_BYTES) for _ in range(_SESSIONS)]
        key_out, key_in = os.pipe()
        os.write(key_in, b"".join(keys))
        os.close(key_in)
        report_out, report_in = os.pipe()
        channel = f"{key_out},{report_in},{kit / 'settings.json'}"
        allowance = Allowance(
            timeout=self.settings.timeout,
            output_bytes=self.settings.output_bytes,
            handed=(key_out, report_in),
            readers={report_out: _REPORT_BYTES},
        )
        env = dict(box.env) | {CHANNEL: channel}
        try:
            done = sandbox.run(replace(box, env=env), command, allowance, at=self.at)
        finally:
            os.close(report_out)
        output = done.stdout.decode(errors="replace")
        _refuse_uncontained(done.returncode, output)
        cut = len(done.extra[0]) >= _REPORT_BYTES
        census = read(done.extra[0], keys, cut=cut)
        return Evidence(
            tree="",
            exit_status=done.returncode,
            timed_out=done.timed_out,
            output=output,
            seconds=round(done.seconds, 3),
            sandbox=self.at,
            limits=self.limits(),
            census=census,
        )

    def _needs_a_probe(self, evidence: Evidence, names: Iterable[str]) -> bool:
        """Whether a pass rests on imports that nobody has looked at yet."""
        looked = evidence.understood or evidence.exit_status or self.at == "bwrap"
        return bool(names) and not looked

    def _probe(self, box: Box, names: Sequence[str]) -> tuple[Probe, ...]:
        """Ask `python`, where the command ran, from where it would import each name."""
        argv = ["python", "-c", _ASK, *names]
        done = sandbox.run(box, shlex.join(argv), Allowance(timeout=60.0), at=self.at)
        try:
            found = json.loads(done.stdout.splitlines()[-1])
            return tuple((name, int(d), int(i), str(path)) for name, d, i, path in found)
        except (ValueError, IndexError, TypeError):
            return ()


def _foreign(
    probes: Sequence[Probe], path: Path, names: dict[str, tuple[str, ...]]
) -> tuple[str, ...]:
    """The imports of the test run that were not this checkout's files."""
    found = []
    for name, device, inode, origin in probes:
        own = {(s.st_dev, s.st_ino) for s in _stats(path, names.get(name, ()))}
        if own and (device, inode) not in own:
            found.append(f"{name} from {origin}")
    return tuple(found)


def _stats(path: Path, files: Sequence[str]) -> Iterator[os.stat_result]:
    for file in files:
        with suppress(OSError):
            yield (path / file).stat()


def _refuse_uncontained(status: int, output: str) -> None:
    """No verdict where the sandbox itself failed."""
    if status and output.startswith(("bwrap: ", "self-coding: cannot contain")):
        raise GateError(
            f"the sandbox could not be set up: {output.splitlines()[0]}",
            hint="see the page about the sandbox",
        )
