"""A patch is applied as it is meant where that is certain, and else refused with the reason."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from self_coding.errors import EditError
from self_coding.self_edit.editors import PatchEditor
from self_coding.testing import git
from self_coding.values.edits import Assignment, Context, Task
from self_coding.values.repository import Worktree

BASE = b"one\ntwo\nthree\nfour\n"
CRLF = BASE.replace(b"\n", b"\r\n")
HUNK = "@@ -1,3 +1,4 @@\n one\n-two\n+TWO\n+2b\n three\n"
PATCH = f"--- a/a.txt\n+++ b/a.txt\n{HUNK}"
AFTER = b"one\nTWO\n2b\nthree\nfour\n"
AFTER_CRLF = AFTER.replace(b"\n", b"\r\n")
FOUR = "--- a/open.txt\n+++ b/open.txt\n@@ -4 +4 @@\n-four\n+4\n"
FIVE = "--- a/open.txt\n+++ b/open.txt\n@@ -4 +4,2 @@\n four\n+five\n"
BLOCK = """\
*** Begin Patch
*** Update File: src/a.txt
@@
 one
-two
+TWO
+2b
 three
*** Add File: src/new.txt
+new
*** Delete File: src/b.txt
*** End Patch
"""


def named(name: str) -> str:
    """The same patch, of another file."""
    return PATCH.replace("a.txt", name)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A worktree with files of every kind of line end."""
    git(tmp_path, "init", "-q")
    (tmp_path / "src").mkdir()
    files = {"a.txt": BASE, "crlf.txt": CRLF, "src/a.txt": BASE, "src/b.txt": b"b\n"}
    files["mixed.txt"] = b"one\r\ntwo\r\nthree\nfour\n"
    files["open.txt"] = BASE.rstrip()
    files["src/deep.txt"] = BASE
    files["twice.txt"] = BASE * 2
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    git(tmp_path, "add", "-A")
    return tmp_path


async def apply(top: Path, patch: str | bytes) -> None:
    place = Worktree(top, "branch", "0" * 40, "1")
    await PatchEditor(patch).edit(
        Assignment(task=Task("t", "x"), worktree=place, context=Context())
    )


@pytest.mark.parametrize(
    ("name", "patch", "after"),
    [
        ("a.txt", PATCH, AFTER),
        ("a.txt", PATCH.replace("\n", "\r\n"), AFTER),
        ("a.txt", PATCH.encode("utf-16"), AFTER),
        ("a.txt", "\ufeff" + PATCH, AFTER),
        ("a.txt", PATCH.replace("a/", "").replace("b/", ""), AFTER),
        ("a.txt", PATCH.replace("a/", "old/").replace("b/", "new/"), AFTER),
        ("a.txt", PATCH.replace("-1,3 +1,4", "-1,9 +1,9"), AFTER),
        ("a.txt", PATCH.replace("-1,3 +1,4", "-1,2 +1,2"), AFTER),
        ("a.txt", PATCH.replace("-1,3 +1,4", "-3,3 +3,4"), AFTER),
        ("a.txt", PATCH.replace("-1,3 +1,4 @@", "@@"), AFTER),
        ("a.txt", PATCH.replace("-1,3 +1,4 @@", "... @@"), AFTER),
        ("a.txt", f"Here it is:\n```diff\n{PATCH}```\n", AFTER),
        ("a.txt", PATCH + "-- \n2.39.5\n", AFTER),
        ("a.txt", PATCH.replace("-1,3 +1,4", "-1,9 +1,9") + "-- \n2.39.5\n", AFTER),
        ("crlf.txt", named("crlf.txt"), AFTER_CRLF),
        ("crlf.txt", named("crlf.txt").replace("\n", "\r\n"), AFTER_CRLF),
        ("mixed.txt", named("mixed.txt"), b"one\r\nTWO\r\n2b\r\nthree\nfour\n"),
        ("open.txt", named("open.txt"), AFTER.rstrip()),
        ("open.txt", FOUR, b"one\ntwo\nthree\n4"),
        ("open.txt", FIVE, BASE + b"five"),
        ("src/deep.txt", named("deep.txt"), AFTER),
        ("src/a.txt", BLOCK, AFTER),
        ("src/a.txt", BLOCK.replace("\n", "\r\n"), AFTER),
        ("twice.txt", named("twice.txt"), AFTER + BASE),
        ("twice.txt", named("twice.txt").replace("-1,3 +1,4", "-5,3 +5"), BASE + AFTER),
    ],
)  # fmt: skip
async def test_what_is_certain_is_applied(
    tree: Path, name: str, patch: str | bytes, after: bytes
) -> None:
    """Line ends, counts, encodings and prefixes that are not git's do not change the meaning."""
    await apply(tree, patch)
    assert (tree / name).read_bytes() == after


MARKED = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    ("hunk", "after"),
    [
        ("@@ -1,2 +1,2 @@\n one\n-two\n+TWO\n", b"one\r\nTWO\r\nthree\r\nfour\r\n"),
        ("@@ -1,2 +1,2 @@\n-one\n+ONE\n two\n", b"ONE\r\ntwo\r\nthree\r\nfour\r\n"),
        ("@@ -1,9 +1,9 @@\n+zero\n one\n", b"zero\r\none\r\ntwo\r\nthree\r\nfour\r\n"),
        ("@@ -1,2 +1 @@\n-one\n two\n", b"two\r\nthree\r\nfour\r\n"),
        ("@@ -3,2 +3,1 @@\n three\n-four\n", b"one\r\ntwo\r\nthree\r\n"),
    ],
)
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
async def test_a_file_keeps_its_byte_order_mark(
    tree: Path, hunk: str, after: bytes, end: bytes
) -> None:
    """A patch that shows no mark applies to a file with one, which stays at the beginning."""
    (tree / "marked.txt").write_bytes(
        MARKED + b"one\r\ntwo\r\nthree\r\nfour\r\n".replace(b"\r\n", end)
    )
    git(tree, "add", "-A")
    await apply(tree, f"--- a/marked.txt\n+++ b/marked.txt\n{hunk}")
    assert (tree / "marked.txt").read_bytes() == MARKED + after.replace(b"\r\n", end)


async def test_a_block_adds_deletes_and_moves(tree: Path) -> None:
    """All that a "*** Begin Patch" block can say is done, whole or not at all."""
    moved = "*** Update File: src/deep.txt\n*** Move to: src/moved.txt\n@@ two\n three\n-four\n+4\n"
    await apply(tree, BLOCK.replace("*** Add", moved + "*** End of File\n*** Add"))
    assert (tree / "src/new.txt").read_bytes() == b"new\n"
    assert (tree / "src/moved.txt").read_bytes() == BASE.replace(b"four", b"4")
    assert not (tree / "src/b.txt").exists()
    assert not (tree / "src/deep.txt").exists()


async def test_a_new_file_goes_beside_those_of_its_sub_folder(tree: Path) -> None:
    """A patch made in a folder below the top puts its new files there, too."""
    new = "--- /dev/null\n+++ b/made.txt\n@@ -0,0 +1 @@\n+made\n"
    await apply(tree, named("deep.txt") + new)
    assert (tree / "src/made.txt").read_bytes() == b"made\n"
    assert not (tree / "made.txt").exists()


async def test_under_autocrlf_a_patch_of_git_applies(tree: Path) -> None:
    """What `git diff` writes in a checkout with converted line ends goes in, in any direction."""
    for setting, name in (("true", "crlf.txt"), ("input", "a.txt")):
        git(tree, "config", "core.autocrlf", setting)
        git(tree, "add", "-A")
        before = (tree / name).read_bytes()
        after = before.replace(b"two", b"2")
        (tree / name).write_bytes(after)
        patch = subprocess.run(["git", "diff"], cwd=tree, capture_output=True, check=True).stdout
        (tree / name).write_bytes(before)
        await apply(tree, patch)
        assert (tree / name).read_bytes() == after


@pytest.mark.parametrize(
    ("patch", "told"),
    [
        (PATCH.replace("two", "tow"), "there is no 'tow'"),
        (named("none.txt"), "none.txt does not exist"),
        (named("twice.txt").replace("-1,3 +1,4 @@", "@@"), "fits at 2 places"),
        (BLOCK.replace("src/a.txt", "src/none.txt"), "src/none.txt does not exist"),
        (BLOCK.replace(" one", "one"), "begins with none of"),
        (BLOCK.replace(" one\n-two\n", "").replace(" three\n", ""), "no line that says where"),
        (BLOCK.replace("src/new.txt", "../new.txt"), "invalid path"),
        (BLOCK.replace("src/new.txt", ".git/hooks/x"), "invalid path"),
        ("*** Begin Patch\n*** End Patch\n", "No valid patches"),
    ],
)
async def test_what_is_not_certain_is_refused_with_the_reason(
    tree: Path, patch: str, told: str
) -> None:
    """A patch with two meanings, or none, changes nothing and says why."""
    before = git(tree, "status", "--porcelain")
    with pytest.raises(EditError, match=told):
        await apply(tree, patch)
    assert git(tree, "status", "--porcelain") == before
