"""The console script: where it does not run, what a shell completes, its manual."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from self_coding.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(sys.executable).parent / "self-coding"


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_elsewhere_it_says_so_at_once(platform: str) -> None:
    """On another system one sentence says that, and where it runs, whatever was asked for."""
    code = (
        # click first: it would load what only Windows has
        f"import sys, click; sys.platform = {platform!r}\n"
        "for name in ('fcntl', 'resource', 'pwd', 'termios'): sys.modules[name] = None\n"
        "from self_coding.cli import main; sys.argv = ['self-coding', 'inbox']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr.startswith("error: self-coding runs on Linux only for now")
    assert "WSL 2" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("self-coding wat", {"watch"}),
        ("self-coding drop-", {"drop-edit", "drop-error"}),
        ("self-coding watch --s", {"--since"}),
        ("self-coding success-rates --by ed", {"editor"}),
    ],
)
def test_a_shell_completes_what_there_is(words: str, offered: set[str]) -> None:
    """Commands, options and the words of an option are completed from the table."""
    count = len(words.split()) - 1
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(count)}
    env = {**os.environ, **asked, "_SELF_CODING_COMPLETE": "bash_complete"}
    done = subprocess.run([SCRIPT], env=env, capture_output=True, text=True)
    assert {line.partition(",")[2] for line in done.stdout.split()} == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell: str) -> None:
    """What the manual says to evaluate is there."""
    if shell == "bash" and not shutil.which("bash"):
        pytest.skip("needs: bash")
    env = {**os.environ, "_SELF_CODING_COMPLETE": f"{shell}_source"}
    done = subprocess.run([SCRIPT], env=env, capture_output=True, text=True)
    assert "_SELF_CODING_COMPLETE" in done.stdout


def test_the_manual_has_every_command() -> None:
    """Each command has its section, and no line is a request that is none."""
    text = (ROOT / "docs" / "reference" / "self-coding.1").read_text("utf-8")
    named = {name.replace("\\-", "-") for name in re.findall(r"^\.SS (\S+)$", text, re.MULTILINE)}
    assert named == {name for name, section in COMMANDS.items() if section}
    requests = set(re.findall(r"^\.(\w*)", text, re.MULTILINE))
    assert requests == {"TH", "SH", "SS", "PP", "TP", "B", "BR"}
    assert not re.search(r"^'", text, re.MULTILINE)
