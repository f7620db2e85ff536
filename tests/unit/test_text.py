"""Shortened texts keep their limits, and a diff's paths are read whatever git quotes."""

from __future__ import annotations

import subprocess
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from self_coding.text import cut_middle, diff_paths, first_line, move_diff, shorten


@given(st.text(), st.integers(0, 40))
def test_a_shortened_text_fits(text: str, limit: int) -> None:
    """A shortened text has at most `limit` characters, and one that fits is left as it is."""
    short = shorten(text, limit)
    assert len(short) <= limit
    assert short == text or short.endswith("…") or not limit


def test_the_first_line_that_says_something() -> None:
    """Blank lines before the first words are passed over."""
    assert first_line("\n  \n  add a test  \nmore", 80) == "add a test"
    assert first_line("\n \n", 80) == ""


def test_both_ends_survive_a_cut() -> None:
    """Of a long output the beginning and the end are kept, and the cut says how much went."""
    cut = cut_middle("BEGIN" + "x" * 1000 + "END", 100)
    assert cut.startswith("BEGIN") and cut.endswith("END")
    assert "[... 908 characters cut ...]" in cut
    assert cut_middle("short", 100) == "short"


def test_the_paths_of_a_real_diff(tmp_path: Path) -> None:
    """Changed, new, deleted, renamed, empty and quoted names of git's own diff are all read."""

    def git(*args: str) -> str:
        command = ["git", "-c", "user.name=A", "-c", "user.email=a@b", *args]
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout

    git("init", "-q")
    for name in ("changed.py", "gone.py", "old name.py", 'caf\u00e9 "x"\t.py'):
        (tmp_path / name).write_text(f"{name}\n" * 9)
    git("add", "-A")
    git("commit", "-qm", "base")
    (tmp_path / "changed.py").write_text("other\n")
    (tmp_path / 'caf\u00e9 "x"\t.py').write_text("other\n")
    (tmp_path / "gone.py").unlink()
    (tmp_path / "old name.py").rename(tmp_path / "new.py")
    (tmp_path / "empty.py").touch()
    git("add", "-A")
    names = {"changed.py", "gone.py", "old name.py", "new.py", "empty.py", 'caf\u00e9 "x"\t.py'}
    assert set(diff_paths(git("diff", "--cached", "-M"))) == names


def test_what_is_not_a_diff_names_nothing() -> None:
    """Prose, a lone separator and a deleted file's null device name no path."""
    assert diff_paths("hello\n--- \n") == []
    assert diff_paths("--- /dev/null\n+++ b/new.py\n") == ["new.py"]


def test_a_diff_is_moved_into_a_folder() -> None:
    """Headers get the folder; /dev/null and lines of a hunk that look like headers stay."""
    diff = (
        "diff --git a/x.py b/x.py\n--- a/x.py\n+++ b/x.py\n@@ -1,2 +1,2 @@\n c\n"
        "--- a/y\n+++ b/y\n--- /dev/null\n+++ b/new.py\n@@ -0,0 +1 @@\n+1\n"
        "diff --git a/p q.py b/r.py\nrename from p q.py\nrename to r.py\n"
    )
    assert move_diff(diff, "s/t") == (
        "diff --git a/s/t/x.py b/s/t/x.py\n--- a/s/t/x.py\n+++ b/s/t/x.py\n@@ -1,2 +1,2 @@\n c\n"
        "--- a/y\n+++ b/y\n--- /dev/null\n+++ b/s/t/new.py\n@@ -0,0 +1 @@\n+1\n"
        "diff --git a/s/t/p q.py b/s/t/r.py\nrename from s/t/p q.py\nrename to s/t/r.py\n"
    )
