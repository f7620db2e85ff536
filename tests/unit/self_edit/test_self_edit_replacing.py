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
