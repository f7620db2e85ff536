"""What callers may name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_coding.errors import GitOperationError
from self_coding.git_safety import repository as names


@pytest.mark.parametrize(
    "name", ["a", "timmy/self-edit/20260101-000000", "x.y", "caf\u00e9", "a-b_c"]
)
def test_good_branches(name: str) -> None:
    """Ordinary names pass unchanged."""
    assert names.check_branch(name) == name


@pytest.mark.parametrize(
    "name", ["", "-x", "@", "HEAD", "refs/heads/x", "a..b", "a b", "a~1", "a^", "a:b", "a?", "a*",
             "a[", "a\\b", "a//b", "/a", "a/", "a.", "a.lock", "a.lock/b", ".a", "a/.b", "a@{1}",
             "a\x7f", "a\n", "x" * 241],
)  # fmt: skip
def test_bad_branches(name: str) -> None:
    """What git could read as anything else is refused, with a hint."""
    with pytest.raises(GitOperationError) as caught:
        names.check_branch(name)
    assert caught.value.hint


@given(st.text(max_size=30))
def test_branches_never_crash(name: str) -> None:
    """Any text is either a name or refused with our error."""
    try:
        assert names.check_branch(name) == name
    except GitOperationError:
        return
    assert not name.startswith("-")
    assert "\n" not in name


@given(st.text(max_size=30))
def test_paths_stay_inside(path: str) -> None:
    """A path that passes is relative, inside, and not in .git."""
    try:
        found = names.check_path(path)
    except GitOperationError:
        return
    parts = found.split("/")
    assert not found.startswith("/")
    assert ".." not in parts
    assert ".git" not in [part.lower() for part in parts]


@pytest.mark.parametrize(
    "path", [".git", "a/.GIT/x", ".git./x", "GIT~1/config", ".git /x", "a/../b"]
)
def test_bad_paths(path: str) -> None:
    """Every spelling of the git directory is refused."""
    with pytest.raises(GitOperationError):
        names.check_path(path)


@pytest.mark.parametrize("name", ["", "-a", ".a", "a/b", "a b", "a..b", "a\n"])
def test_bad_attempts(name: str) -> None:
    """An attempt's name stands in refs and folders."""
    with pytest.raises(GitOperationError):
        names.check_attempt(name)


def test_messages() -> None:
    """A message is words, and is stored as bytes with one line end."""
    assert names.check_message("caf\u00e9\n\n") == "caf\u00e9\n".encode()
    for bad in ("", "  \n", "a\0b"):
        with pytest.raises(GitOperationError):
            names.check_message(bad)
