"""The gate: run the tests of exactly one commit and say what they prove.

Code under test was just written by a model, so it is run contained, and its own word about
itself is not taken. This module orders the steps; it judges nothing itself and lands nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from self_coding.adapters import process
from self_coding.values.verdicts import GateReport, GateSettings


class Gate:
    """Tests commits of one repository.

    Args:
        top: the user's working tree; a candidate is mounted there where the sandbox can.
        settings: the command, its limits, the isolation required.
        checkout: yields a folder that holds exactly the given commit.
        store: the folder of verdicts, baselines, quarantine and receipts; by default
            `self_coding` in the git common directory.
    """

    def __init__(
        self,
        top: Path,
        settings: GateSettings,
        checkout: Callable[[str], AbstractContextManager[Path]],
        *,
        store: Path | None = None,
    ) -> None:
        self.top = top
        self.settings = settings
        self.checkout = checkout
        self.store = store

    def run(
        self, commit: str, *, tree: str, base: str | None = None, first: Sequence[str] = ()
    ) -> GateReport:
        """Test `commit`, whose tree is `tree`.

        Args:
            commit: what is tested.
            tree: its tree; verdicts are kept by it.
            base: the commit it goes onto; failures that were there already do not count.
            first: test files or ids that run before the rest, for a fast no.

        Raises:
            GateError: the gate could not run, so there is no verdict.
        """
        started = time.monotonic()
        with self.checkout(commit) as path:
            done = process.run(
                ["sh", "-c", self.settings.command],
                cwd=path,
                env=dict(os.environ),
                timeout=self.settings.timeout,
                limit=self.settings.output_bytes,
            )
        passed = done.returncode == 0 and not done.timed_out
        return GateReport(
            passed=passed,
            commit=commit,
            tree=tree,
            command=self.settings.command,
            exit_status=done.returncode,
            reason="" if passed else f"exit status {done.returncode}",
            output=(done.stdout + done.stderr).decode(errors="replace"),
            timed_out=done.timed_out,
            seconds=time.monotonic() - started,
        )
