"""What is kept of a command's output."""

from __future__ import annotations

import sys

from self_coding.adapters import process
from self_coding.adapters.process import Kept


def fed(kept: Kept, *chunks: bytes) -> bytes:
    for chunk in chunks:
        kept.add(chunk)
    return kept.content()


def test_a_short_stream_is_kept_whole():
    """Up to the limit nothing is cut and nothing is marked."""
    assert fed(Kept(10, 5), b"abcde", b"fghij") == b"abcdefghij"
    assert fed(Kept(None), b"x" * 100) == b"x" * 100


def test_a_long_stream_keeps_head_and_tail_and_marks_the_cut():
    """Beyond the limit the middle goes, and its size is said."""
    kept = Kept(10, 4)
    assert fed(kept, b"abcdef", b"0123456789" * 3, b"wxyz") == (
        b"abcdef\n[... 30 bytes left out ...]\nwxyz"
    )
    assert kept.dropped == 30


def test_without_a_tail_the_rest_is_dropped_unmarked():
    """A plain limit keeps the head alone, as callers that parse it expect."""
    kept = Kept(3)
    assert fed(kept, b"ab", b"cdef") == b"abc"
    assert kept.dropped == 3


def test_the_tail_does_not_grow_with_the_stream():
    """What is held at any moment is bounded."""
    kept = Kept(10, 4)
    for _ in range(1000):
        kept.add(b"0123456789")
    assert len(kept._head) + len(kept._tail) <= 6 + 2 * 4 + 10


def test_merged_output_comes_in_one_stream():
    """Standard error follows standard output where it was written."""
    code = "import sys; print('a', flush=True); print('b', file=sys.stderr, flush=True); print('c')"
    done = process.run([sys.executable, "-c", code], merged=True)
    assert (done.stdout, done.stderr) == (b"a\nb\nc\n", b"")
