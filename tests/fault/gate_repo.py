"""A small real repository and a gate for it, for the tests of the gate."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from self_coding.gate import Gate
from self_coding.values.verdicts import GateSettings

PYTEST = "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 python -m pytest -q"
LEVELS = ("bwrap", "landlock", "limits")


class Repo:
    """A git repository at `path` with a checkout function as the gate wants it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkouts = 0
        path.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *args: str) -> str:
        env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        argv = ["git", "-C", str(self.path), *identity, "-c", "core.hooksPath=/dev/null", *args]
        done = subprocess.run(argv, check=True, capture_output=True, text=True, env=env)
        return done.stdout.strip()

    def emptied(self) -> Repo:
        """Take every file out: the next commit begins anew, and verdicts of old trees stay."""
        if self.git("ls-files"):
            self.git("rm", "-rqf", ".")
        return self

    def commit(self, files: dict[str, str | None], message: str = "change") -> str:
        """Write (None: delete) files, commit all, return the commit."""
        for name, text in files.items():
            path = self.path / name
            if text is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def tree(self, commit: str) -> str:
        return self.git("rev-parse", f"{commit}^{{tree}}")

    @contextmanager
    def checkout(self, commit: str) -> Iterator[Path]:
        self.checkouts += 1
        place = Path(tempfile.mkdtemp(prefix="w", dir=self.path.parent)) / "tree"
        self.git("worktree", "add", "-q", "--detach", str(place), commit)
        try:
            yield place
        finally:
            self.git("worktree", "remove", "-f", str(place))
            place.parent.rmdir()

    def gate(self, command: str = PYTEST, **settings: object) -> Gate:
        base = GateSettings(command=command, timeout=150, retries=1)
        return Gate(self.path, replace(base, **settings), self.checkout)

    def run(self, commit: str, base: str | None = None, **settings: object):
        return self.gate(**settings).run(commit, tree=self.tree(commit), base=base)
