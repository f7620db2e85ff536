"""Diffs as rows: numbered, what differs marked, bounded, whatever comes in."""

from __future__ import annotations

import time

from self_coding.dashboard.diffs import files

DIFF = """diff --git a/src/a.py b/src/a.py
index 1..2 100644
--- a/src/a.py
+++ b/src/a.py
@@ -3,4 +3,5 @@ def add(a, b):
 same
-    return a + b
+    return a - b
+new
 last
diff --git a/gone.txt b/gone.txt
deleted file mode 100644
--- a/gone.txt
+++ /dev/null
@@ -1 +0,0 @@
-bye
"""


def test_rows_have_their_numbers() -> None:
    """Each line has its number on its side; a file counts what came and went."""
    first, gone = files(DIFF)
    told = [(row.kind, row.old, row.new, row.text) for row in first.rows]
    assert told == [
        ("hunk", None, None, "def add(a, b):"),
        ("same", 3, 3, "same"),
        ("del", 4, None, "    return a + b"),
        ("add", None, 4, "    return a - b"),
        ("add", None, 5, "new"),
        ("same", 5, 6, "last"),
    ]
    assert (first.path, first.added, first.removed) == ("src/a.py", 2, 1)
    assert (gone.path, gone.note, gone.removed) == ("gone.txt", "deleted file", 1)


def test_what_differs_is_marked() -> None:
    """Where as many lines came as went, and they are alike, the part that differs is told."""
    (one,) = files(DIFF.partition("+new\n")[0])
    gone, came = one.rows[2:4]
    assert (gone.parts[1], came.parts[1]) == ("+", "-")
    assert one.rows[1].parts == ("same", "", "")


def test_a_long_diff_is_cut_and_counted() -> None:
    """Rows beyond the limit are counted, of later files as well; nothing is slow."""
    many = "diff --git a/{0}.py b/{0}.py\n@@ -0,0 +1,9000 @@\n" + "+x\n" * 9000
    began = time.process_time()
    shown = files("".join(many.format(n) for n in range(20)), most=100)
    assert time.process_time() - began < 3
    assert [len(one.rows) for one in shown[:2]] == [100, 0]
    assert (shown[0].left_out, shown[1].left_out, shown[1].added) == (8901, 9001, 9000)


def test_anything_may_come_in() -> None:
    """What is no diff has no rows; control characters are shown, wide lines cut."""
    for text in (
        "",
        "hello",
        "@@ -1 +1 @@\n+x",
        "diff --git",
        "diff --git a/x b/y\n\x00",
        "-\n+\n",
    ):
        assert [row for one in files(text) for row in one.rows if row.kind != "hunk"] == []
    (one,) = files("diff --git a/x b/x\n@@ -0,0 +1 @@\n+\x1b[31m" + "w" * 9000)
    assert one.rows[1].text.startswith("␛[31m")
    assert len(one.rows[1].text) <= 401
