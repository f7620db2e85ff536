"""What the gate recorded while it ran tests: which lines ran, and on whose behalf."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Doer(NamedTuple):
    """On whose behalf something ran: a test file's, or `once` for all that load `file`.

    Work is done once while a file is imported, and in a fixture of it that several test files
    share. Without a file it is done for all tests.
    """

    file: str
    once: bool


FOR_ALL = Doer("", True)


@dataclass(frozen=True, kw_only=True)
class Recording:
    """The lines of a tree's files that one test run executed, or the reason why none are told.

    `lines` maps a doer and a path to line numbers; a test file without any tests' lines stands
    there too. `imports` are the files that a doer asked for by import statements, whether they had
    been loaded before or not; what stands there for all is loaded in ways that nobody follows.
    `unseen` had been loaded before the recording began; what `starting` did went on in
    other processes, which nobody followed. `left_out` are test files that were asked for and of
    which nothing is told: some of their tests do not run here, or end otherwise when recorded. With
    a `silence` all else is empty.
    """

    lines: Mapping[Doer, Mapping[str, frozenset[int]]] = field(default_factory=dict)
    imports: Mapping[Doer, frozenset[str]] = field(default_factory=dict)
    unseen: frozenset[str] = frozenset()
    starting: frozenset[Doer] = frozenset()
    left_out: frozenset[str] = frozenset()
    silence: str = ""

    @property
    def paths(self) -> frozenset[str]:
        """Every file of which a line ran or that was asked for, and every test file."""
        found = {path for files in self.lines.values() for path in files}
        asked = {path for files in self.imports.values() for path in files}
        doers = {doer.file for doer in self.lines if doer.file}
        return frozenset(found | asked | self.unseen | doers)
