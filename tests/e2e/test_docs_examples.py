"""Every example in the documentation runs and prints what it says.

A `console` block holds commands after `$ ` and what they print; `...` in a line stands for any
text, a line that is only `...` for any lines. A `python` block runs as a program; with a name after
`python` it is saved as that file, for commands to run. The blocks of one page run in order, in one
empty directory with an empty home.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```(console|python)(?: (\S+))?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _blocks(page: Path) -> list[tuple[str, str, str]]:
    """The language, the file's name and the text of each block."""
    return [(m[1], m[2] or "", m[3]) for m in _BLOCK.finditer(page.read_text("utf-8"))]


def _commands(block: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block with the output that is expected of it."""
    command, expected = "", []
    for line in block.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, "\n".join(expected)
            command, expected = line[2:], []
        elif (line == ">" or line.startswith("> ")) and not expected:
            command += "\n" + line[2:]
        else:
            expected.append(line)
    if command:
        yield command, "\n".join(expected)


def _matches(expected: str, printed: str) -> bool:
    """Whether the output is the expected one, `...` standing for anything."""
    pattern = ""
    for line in expected.strip("\n").splitlines():
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*?".join(re.escape(part) for part in line.rstrip().split("...")) + r"\s*\n"
    text = printed.strip("\n")
    return re.fullmatch(pattern, f"{text}\n" if text else "") is not None


def _environment(home: Path) -> dict[str, str]:
    scripts = Path(sys.executable).parent
    kept = {key: os.environ[key] for key in ("LANG", "COVERAGE_PROCESS_START") if key in os.environ}
    return {
        **kept,
        "HOME": str(home),
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "COLUMNS": "100",
        "NO_COLOR": "1",
    }


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "page", [p for p in PAGES if _blocks(p)], ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_the_examples_of_a_page_run(page: Path, tmp_path: Path) -> None:
    """All commands and programs of the page run in order and print what the page says."""
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    identity = "[user]\n\tname = A Reader\n\temail = reader@example.invalid\n"
    (home / ".gitconfig").write_text(identity + "[init]\n\tdefaultBranch = main\n")
    environment = _environment(home)
    for language, name, block in _blocks(page):
        if name:
            (work / name).write_text(block)
            continue
        if language == "python":
            script = f"{shlex.quote(sys.executable)} - <<'END' || echo FAILED\n{block}\nEND"
            printed = _run(["bash", "-c", script], work, environment)
            assert "FAILED" not in printed, printed
            continue
        for command, expected in _commands(block):
            # `cd` must outlive its line: the directory is handed on through a file.
            script = f'cd "$(cat {home}/cwd 2>/dev/null || pwd)"\n{command}\nstatus=$?\n'
            script += f"pwd > {home}/cwd\nexit $status"
            printed = _run(["bash", "-c", script], work, environment)
            assert _matches(expected, printed), f"$ {command}\n{printed}\n--- expected\n{expected}"


def _run(argv: list[str], work: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        argv, cwd=work, env=environment, capture_output=True, text=True, timeout=240
    )
    return done.stdout + done.stderr


def test_the_matcher_can_fail() -> None:
    """A wrong line is seen, an ellipsis stands for one part or for whole lines."""
    assert _matches("a ... c\n...\nend", "a b c\nx\ny\nend\n")
    assert not _matches("a ... c", "a b d\n")
    assert not _matches("one", "one\ntwo\n")
