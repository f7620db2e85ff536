"""What `git log` printed, taken apart."""

from __future__ import annotations

from self_coding.codebase_indexer.history import WIDEST, parse

A, B = "a" * 40, "b" * 40


def test_paths_renames_and_message() -> None:
    """Python files, renames and the message of each commit are read, newest first."""
    text = (
        f"\0{A}\x00200\0Move it\n\nwhy\0\0\nM\0pkg/a.py\0R090\0old name.py\0pkg/new.py\0M\0x.txt\0"
        f"\0{B}\x00100\0First\0\0\nA\0old name.py\0"
    )
    first, second = parse(text)
    assert first[:3] == (A, 200, "Move it\n\nwhy")
    assert first.paths == ("pkg/a.py", "pkg/new.py")
    assert first.renames == (("old name.py", "pkg/new.py"),)
    assert (second.hash, second.paths) == (B, ("old name.py",))


def test_commit_without_files_and_cut_off_end() -> None:
    """An empty commit has no paths, and an end that was cut off is no error."""
    text = f"\0{A}\x00200\0Empty\0\0\0{B}\x00100\0Cut\0\0\nM\0pkg/a.py\0R0"
    assert [(each.hash, each.paths) for each in parse(text)] == [(A, ()), (B, ("pkg/a.py",))]
    for end in range(len(text)):
        list(parse(text[:end]))


def test_copies_are_no_renames() -> None:
    """A copied file leaves its source where it was."""
    (found,) = parse(f"\0{A}\x00200\0Copy\0\0\nC100\0a.py\0b.py\0")
    assert (found.paths, found.renames) == (("b.py",), ())


def test_sweeps_over_many_files_do_not_vote() -> None:
    """A commit that touched very many files keeps its renames alone."""
    changes = "".join(f"M\0f{n}.py\0" for n in range(WIDEST + 1))
    (found,) = parse(f"\0{A}\x00200\0Reformat\0\0\n{changes}R100\0a.py\0b.py\0")
    assert (found.paths, found.renames) == ((), (("a.py", "b.py"),))
