"""Who has no fleet pays nothing for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from self_coding.testing import sample_repo

_PRINTS = """
import atexit, json, sys
def told():
    ours = ("self_coding.fleet", "self_coding.adapters.postgres", "procrastinate", "psycopg",
            "opentelemetry", "self_coding.git_safety.remote")
    found = sorted(one for one in sys.modules if one.startswith(ours))
    print("\\nMODULES" + json.dumps(found))
atexit.register(told)
"""


@pytest.mark.parametrize(
    "words",
    [[], ["--help"], ["submit", "--help"], ["try", "Add a line", "--with", "echo 1 >> new.txt"]],
)
def test_without_a_database_nothing_of_the_fleet_is_loaded(
    words: list[str], tmp_path: Path
) -> None:
    """Importing the package, its help and a self-edit load no module of fleet or server."""
    place = sample_repo(tmp_path / "repository")
    code = f"{_PRINTS}\nimport self_coding\n" + (
        f"from self_coding.cli import main; sys.argv = ['self-coding', *{words}]; main()"
        if words
        else "[getattr(self_coding, name) for name in self_coding.__all__]"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place, capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.rpartition("MODULES")[2]) == []
