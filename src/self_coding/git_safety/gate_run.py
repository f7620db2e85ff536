"""One run of the test command on one checkout, contained and observed.

It lays out what the sandbox shows (the candidate at the repository's own path, the interpreter,
git's data read-only), loads the census plugin, and gathers the evidence. It judges nothing.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from self_coding.adapters import places, sandbox, sandbox_bwrap
from self_coding.adapters.sandbox import Allowance
from self_coding.adapters.sandbox_bwrap import Box
from self_coding.errors import GateError
from self_coding.git_safety import gate_census, gate_integrity, gate_roots
from self_coding.git_safety.gate_evidence import Evidence
from self_coding.values.verdicts import GateSettings

PLUGIN = Path(__file__).with_name("census_plugin.py")
MODULE = "self_coding_census"  # the plugin's name inside the test run
CHANNEL = "SELF_CODING_CENSUS"  # where the plugin finds its descriptors
_SESSIONS = 8  # pytest sessions that one command may hold
_REPORT_BYTES = 64 << 20
_NO_CUSTOM = (
    "# stands before a file of this name in the tested tree, which would run first of all\n"
)
_HANDED_ON = ("LANG", "LANGUAGE", "TZ", "PATH", "LD_LIBRARY_PATH", "TERM", "SSL_CERT_FILE")


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
        python = gate_roots.interpreter(self.top, self.settings.command)
        roots = gate_roots.import_roots(path, self.top, python)
        names = gate_roots.import_names(path, roots)
        wanted: dict[str, object] = {
            "select": select,
            "collect_only": collect_only,
            "names": sorted(names),
        }
        with self._kit(python, wanted) as kit, self._layout(path, python, kit, setup) as box:
            mount = box.mount if self.at == "bwrap" else path
            env = dict(box.env) | {
                "PATH": f"{_command_folder(python, kit)}{os.pathsep}{box.env.get('PATH', '')}",
                "PYTHONPATH": os.pathsep.join(map(str, (kit, *(mount / root for root in roots)))),
                "PYTEST_PLUGINS": MODULE,
            }
            before = gate_integrity.fingerprint(path)
            evidence = self._observe(replace(box, env=env), kit, command or self.settings.command)
            planted = gate_integrity.restore_and_compare(path, before, trusted=self.at == "bwrap")
            foreign = _foreign(evidence, path, names)
        partial = select is not None or collect_only
        return replace(evidence, tree=tree, whole=not partial, planted=planted, foreign=foreign)

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
        keys = [secrets.token_bytes(gate_census.KEY_BYTES) for _ in range(_SESSIONS)]
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
        return Evidence(
            tree="",
            exit_status=done.returncode,
            timed_out=done.timed_out,
            output=output,
            seconds=round(done.seconds, 3),
            sandbox=self.at,
            limits=self.limits(),
            census=gate_census.read(done.extra[0], keys, cut=cut),
        )

    @contextmanager
    def _kit(self, python: Path, wanted: dict[str, object]) -> Iterator[Path]:
        """A read-only folder of ours beside the tree: the plugin, its settings, a `python`."""
        kit = Path(tempfile.mkdtemp(prefix="self-coding-kit-"))
        try:
            (kit / f"{MODULE}.py").write_bytes(PLUGIN.read_bytes())
            (kit / "settings.json").write_text(json.dumps(wanted), encoding="utf-8")
            (kit / "sitecustomize.py").write_text(_NO_CUSTOM, encoding="utf-8")
            (kit / "usercustomize.py").write_text(_NO_CUSTOM, encoding="utf-8")
            (kit / "git").mkdir()
            (kit / "bin").mkdir()
            if not (python.parent / "python").exists():
                starter = kit / "bin" / "python"
                starter.write_text(f'#!/bin/sh\nexec "{python}" "$@"\n', encoding="utf-8")
                starter.chmod(0o755)
            yield kit
        finally:
            shutil.rmtree(kit, ignore_errors=True)

    @contextmanager
    def _layout(self, path: Path, python: Path, kit: Path, setup: Path | None) -> Iterator[Box]:
        """The box for one checkout; what it had to put into the checkout is taken out again."""
        s = self.settings
        bound = [(kit, kit), *_interpreter_binds(python, self.top)]
        carried = [(self.top / name, Path(name)) for name in s.carry if (self.top / name).exists()]
        if setup is not None:
            carried += [(one, one.relative_to(setup)) for one in sorted(setup.iterdir())]
        files, git = _git_binds(path, self.top, kit)
        bound += git + [(source, self.top / inside) for source, inside in carried]
        box = Box(
            tree=path,
            mount=self.top,
            env=environment(s),
            readable=tuple(bound),
            files=files,
            hidden=(kit / "git" / places.FOLDER,) if git else (),
            network=s.network,
            loopback=s.loopback,
            cpu_seconds=s.cpu_seconds,
            memory_bytes=s.memory_bytes,
            processes=s.processes,
            file_bytes=s.file_bytes,
        )
        inside = [p.relative_to(self.top) for _, p in bound if p.is_relative_to(self.top)]
        new = [path / name for name in inside if not os.path.lexists(path / name)]
        try:
            if self.at != "bwrap":
                _link(path, carried)
            yield box
        finally:
            for place in new:
                _take_out(place, path)


def environment(settings: GateSettings) -> dict[str, str]:
    """What of our environment the tested code gets: a few harmless names, and those allowed."""
    names = {*_HANDED_ON, *settings.environment}
    return {
        name: value for name, value in os.environ.items() if name in names or name.startswith("LC_")
    } | {"PYTHONUNBUFFERED": "1"}


def _command_folder(python: Path, kit: Path) -> str:
    """What stands first on PATH, so that `python` and its scripts are this interpreter's."""
    own = str(python.parent)
    return own if (python.parent / "python").exists() else f"{kit / 'bin'}{os.pathsep}{own}"


def _interpreter_binds(python: Path, top: Path) -> list[tuple[Path, Path]]:
    """Those folders of the interpreter that would be hidden or covered otherwise."""
    covered = (*sandbox_bwrap.hidden_folders(), top)
    return [
        (folder, folder)
        for folder in gate_roots.interpreter_folders(python)
        if any(folder.is_relative_to(one) for one in covered)
        and not top.is_relative_to(folder)
        and not _holds_code(folder, top)
    ]


def _holds_code(folder: Path, top: Path) -> bool:
    """Whether an interpreter's path leads into the checkout itself, not into an environment."""
    inside = folder.is_relative_to(top)
    return inside and not any(
        (one / "pyvenv.cfg").exists() for one in (folder, *folder.parents) if one != top
    )


def _git_binds(
    path: Path, top: Path, kit: Path
) -> tuple[tuple[tuple[Path, bytes], ...], list[tuple[Path, Path]]]:
    """How git keeps working, read-only, when the checkout stands where the repository stood."""
    pointer = path / ".git"
    if pointer.is_dir():
        return (), [(pointer, top / ".git")]
    found = places.git_directories(path) if pointer.is_file() else None
    if found is None:
        return (), []
    directory = Path(pointer.read_text(encoding="utf-8", errors="surrogateescape")[8:].strip())
    try:
        inside = (path / directory).resolve().relative_to(found[1])
    except ValueError:
        return (), []
    place = kit / "git" / inside
    return ((top / ".git", os.fsencode(f"gitdir: {place}\n")),), [(found[1], kit / "git")]


def _link(path: Path, carried: Sequence[tuple[Path, Path]]) -> None:
    """Without a mount of its own, what is carried is linked to."""
    for source, inside in carried:
        place = path / inside
        if not os.path.lexists(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(source)


def _take_out(place: Path, path: Path) -> None:
    """Remove an empty mount point or a link of ours, and the empty folders above it."""
    with suppress(OSError):
        if place.is_symlink() or (place.is_file() and not place.stat().st_size):
            place.unlink()
    for folder in (place, *place.parents):
        if folder == path or not folder.is_relative_to(path):
            return
        with suppress(OSError):
            folder.rmdir()


def _foreign(evidence: Evidence, path: Path, names: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The imports of the test run that were not this checkout's files."""
    found = []
    for name, device, inode, origin in evidence.census.probes:
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
