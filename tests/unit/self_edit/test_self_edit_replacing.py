"""A model's edits apply exactly, all of them or none, and each refusal says what to do."""

from __future__ import annotations

import pytest

from self_coding.self_edit.editors.replacing import (
    Plan,
    Replacement,
    apply,
    path_problem,
    plan_problem,
    syntax_problem,
)

SHOP = "def total(items):\n    return sum(items)\n\n\ndef count(items):\n    return len(items)\n"


def test_edits_apply_in_order() -> None:
    """A later edit sees what an earlier one wrote."""
    done = apply(
        {"shop.py": SHOP, "new.py": None},
        [
            Replacement("shop.py", "sum(items)", "add(items)"),
            Replacement("shop.py", "add(items)", "plus(items)"),
            Replacement("new.py", "", "x = 1\n"),
        ],
    )
    assert done.problem == ""
    assert done.files == {"shop.py": SHOP.replace("sum(", "plus("), "new.py": "x = 1\n"}


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (Replacement("shop.py", "(items)", "()"), "4 times"),
        (Replacement("shop.py", "return sum(item)", "x"), "nearest line"),
        (Replacement("shop.py", "zzz", "x"), "does not occur"),
        (Replacement("shop.py", "len(items)\nx", "x"), "does not occur"),
        (Replacement("other.py", "a", "b"), "not planned"),
        (Replacement("new.py", "a", "b"), "does not exist"),
        (Replacement("shop.py", "", "x = 1\n"), "exists"),
        (Replacement("shop.py", "sum(items)", "sum(items"), "not valid Python at line"),
        (Replacement("shop.py", "sum(items)", "sum(items)"), "change nothing"),
    ],
)
def test_a_wrong_edit_undoes_all_of_them(edit: Replacement, told: str) -> None:
    """One edit that does not fit leaves every file as it was, and says why."""
    good = Replacement("shop.py", "len(items)", "len(items)")
    done = apply({"shop.py": SHOP, "new.py": None}, [good, edit])
    assert done.files == {}
    assert told in done.problem


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../x.py",
        "a/../../x",
        ".git/config",
        "sub/.GIT/hooks/x",
        "",
        " a.py",
        "a//b",
        "a\\b",
        "./a",
    ],
)
def test_paths_stay_in_the_repository(path: str) -> None:
    """Whatever leads out of the worktree or into git is refused."""
    assert path_problem(path)
    assert plan_problem(Plan("do it", [path]))


def test_a_plan_is_small_and_says_what_it_does() -> None:
    """No files, too many, or no approach: refused with the reason."""
    assert plan_problem(Plan("do it", ["a.py"])) == ""
    assert "at least one" in plan_problem(Plan("do it", []))
    assert "at most" in plan_problem(Plan("do it", [f"{n}.py" for n in range(13)]))
    assert "approach" in plan_problem(Plan(" ", ["a.py"]))


def test_only_python_is_checked_for_syntax() -> None:
    """Any other text may be anything; odd escapes in Python are no error."""
    assert syntax_problem("a.txt", "def (") == ""
    assert syntax_problem("a.py", "x = '\\d'\n") == ""
    assert syntax_problem("a.py", "x = (\n")
    assert syntax_problem("a.py", "x = 1\0")


CRLF = "def a():\r\n    return 1\r\n"
MIXED = CRLF + "\nb = 2\n"
LF = "def a():\n    return 1\n"


@pytest.mark.parametrize(
    ("before", "search", "replace", "after"),
    [
        (CRLF, LF, LF.replace("1", "2"), CRLF.replace("1", "2")),
        (CRLF, "    return 1\n", "    #\r\n    x\r\n", "def a():\r\n    #\r\n    x\r\n"),
        (CRLF, "return 1", "x = 1\n    return x", "def a():\r\n    x = 1\r\n    return x\r\n"),
        (MIXED, LF + "\nb = 2\n", LF + "\nb = 3\n", CRLF + "\nb = 3\n"),
        (MIXED, "return 1\n\nb", "return 1\n\nc = 1\nb", CRLF + "\nc = 1\nb = 2\n"),
        (MIXED, "b = 2", "b = 2\nc = 3", MIXED + "c = 3\n"),
        ("a = 1\r\nb = 2", "b = 2\n", "b = 2\nc = 3\n", "a = 1\r\nb = 2\r\nc = 3"),
        ("a = 1\nb = 2", "b = 2\n", "b = 3\n", "a = 1\nb = 3"),
        ("a = 1\rb = 2\r", "a = 1\n", "a = 1\nc = 3\n", "a = 1\rc = 3\rb = 2\r"),
        ("a = 1\r\r\nb = 2\n", "a = 1\n", "a = 3\n", "a = 3\r\nb = 2\n"),
        ("a = 1", "a = 1", "a = 1\nb = 2", "a = 1\nb = 2"),
    ],
)  # fmt: skip
def test_each_line_keeps_its_end(before: str, search: str, replace: str, after: str) -> None:
    """Whatever line ends a model writes, old lines keep theirs; new ones take a neighbour's."""
    done = apply({"a.py": before}, [Replacement("a.py", search, replace)])
    assert done.problem == ""
    assert done.files == {"a.py": after}


def test_nothing_outside_of_an_edit_changes() -> None:
    """A file of any mixture of line ends keeps every byte around the lines that are replaced."""
    ends = ["\n", "\r\n", "\r"]
    lines = [f"line{n} = {n}" for n in range(9)]
    for seed in range(27):
        mixed = [ends[seed // 3 ** (n % 3) % 3] for n in range(9)]
        before = "".join(line + end for line, end in zip(lines, mixed, strict=True))
        edit = Replacement("a.py", "line4 = 4\nline5 = 5\n", "line4 = 4\nfive = 5\n")
        assert apply({"a.py": before}, [edit]).files == {"a.py": before.replace("line5", "five")}
