"""A clone of a remote: made once, worked in like any repository, told truly when it cannot be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from remotes import BareRemote, daemon, green
from self_coding.adapters import remote_git
from self_coding.app import open_anywhere
from self_coding.errors import ConfigError, RemoteUnreachableError
from self_coding.git_safety.remote import clone
from self_coding.testing import ScriptedEditor, git, sample_repo

PYTEST = f"{sys.executable} -m pytest -q"


@pytest.fixture
def remote(tmp_path: Path) -> BareRemote:
    return BareRemote(tmp_path)


async def test_a_self_edit_lands_at_the_remote(tmp_path) -> None:
    """From the address alone: cloned, edited, tested, landed; a second one finds the clone."""
    git(sample_repo(tmp_path / "first"), "clone", "-q", "--bare", ".", str(tmp_path / "sample.git"))
    url = f"file://{tmp_path / 'sample.git'}"
    for number in (1, 2):
        app = open_anywhere(url, tmp_path / "cache", test_command=PYTEST, environ={})
        editor = ScriptedEditor({f"src/calc/n{number}.py": f"N = {number}\n"})
        result = await app.edit.self_edit(f"add number {number}", editor=editor)
        assert result.success, result.message
        assert git(tmp_path / "sample.git", "rev-parse", "main") == result.commit_hash
        assert await app.git.verify() == []
    assert len([*(tmp_path / "cache").iterdir()]) == 1


async def test_what_was_recorded_outlives_its_machine(remote) -> None:
    """An attempt's commit can be had on another machine until it has landed."""
    a, b = remote.machine("a"), remote.machine("b")
    what = await green(a, "one")
    place = await a.isolate("one")
    assert await b.has(place, what.head)
    assert not await b.has(place, what.commit), "a candidate is never carried"
    await a.land(what, attempt="1")
    await a.release(place)
    assert remote("for-each-ref", "refs/self-coding/attempts") == ""


async def test_what_has_ended_leaves_nothing_at_the_remote(remote) -> None:
    """Whoever ends an attempt clears its commit away there, whichever machine recorded it."""
    a, b = remote.machine("a"), remote.machine("b")
    place = await a.isolate("one")
    (place.path / "one.py").write_text("x = 1\n")
    head = (await a.record(place, "add one")).head
    await b.release(place)
    assert remote("for-each-ref", "refs/self-coding/attempts") == ""
    assert head in git(b.top, "for-each-ref", "refs/self-coding/kept"), "refused, but not lost"
    (place.path / "two.py").write_text("x = 2\n")
    await a.record(place, "add two")
    remote("update-ref", f"refs/self-coding/attempts/{place.attempt}", head)  # as another did
    await a.release(place)
    assert remote("for-each-ref", "refs/self-coding/attempts") == ""
    await a.release(await a.isolate("two"))  # nothing was recorded


def test_a_remote_with_ten_thousand_branches_is_one_branch_here(remote, tmp_path) -> None:
    """Only main is fetched, however many others there are."""
    tip = remote.main
    lines = "".join(f"create refs/heads/b/{n} {tip}\n" for n in range(10_000))
    words = ["git", "update-ref", "--stdin"]
    subprocess.run(words, cwd=remote.path, input=lines, text=True, check=True)
    place = clone(remote.url, tmp_path / "cache")
    assert git(place, "for-each-ref", "--format=%(refname)").splitlines() == [
        "refs/heads/main",
        "refs/remotes/origin/HEAD",
        "refs/remotes/origin/main",
    ]


def test_a_shallow_remote_is_refused_whole(remote, tmp_path) -> None:
    """History that is cut off cannot be landed on: said before anything is kept."""
    git(tmp_path, "clone", "-q", "--bare", "--depth=1", remote.url, str(tmp_path / "shallow.git"))
    with pytest.raises(RemoteUnreachableError, match="shallow") as caught:
        clone(f"file://{tmp_path / 'shallow.git'}", tmp_path / "cache")
    assert "unshallow" in caught.value.hint
    assert not [*(tmp_path / "cache").glob("shallow*/.git")]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("fatal: could not read Username for 'https://h': terminal prompts disabled", "wants to"),
        ("fatal: Authentication failed for 'https://u:tok3n@h/x/'", "wants to"),
        ("git@h: Permission denied (publickey).", "wants to"),
        ("Host key verification failed.", "wants to"),
        ("fatal: couldn't find remote ref refs/heads/main", "has no branch called 'main'"),
        ("fatal: transport 'ext' not allowed", "not allowed"),
        ("fatal: '/x' does not appear to be a git repository", "no repository"),
        ("fatal: unable to access 'https://u:tok3n@h/': Could not resolve host", "cannot be"),
    ],
)
def test_what_git_says_is_one_sentence_with_a_next_step(said, told) -> None:
    """Whatever stands in the way of a remote is said in our words, without a password."""
    done = type("Done", (), {"timed_out": False, "stderr": said.encode(), "returncode": 128})()
    error = remote_git.unreachable("https://u:tok3n@h/x", done)
    assert told in error.message
    assert error.hint
    assert "tok3n" not in str(error)


@pytest.mark.parametrize("url", ["https://me:secret@h/x", "ext::sh -c x", "-x", "", "ftp://h/x"])
def test_addresses_that_are_refused(url, tmp_path) -> None:
    """A password in the address, and whatever runs a program, is refused and not repeated."""
    with pytest.raises(ConfigError) as caught:
        clone(url, tmp_path)
    assert "secret" not in str(caught.value)
    assert caught.value.hint


def test_a_remote_that_asks_for_a_password(tmp_path) -> None:
    """Nobody is there to type: it fails at once, and no program that would ask is started."""
    ask = tmp_path / "ask"
    ask.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\necho secret\n")
    ask.chmod(0o755)
    config = tmp_path / "config"
    config.write_text(f"[core]\naskPass = {ask}\n[credential]\nhelper =\n")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GIT_ASKPASS", "SSH_ASKPASS"):
            patch.setenv(name, str(ask))
        patch.setenv("GIT_CONFIG_GLOBAL", str(config))
        words = ("credential", "fill")
        asked = "protocol=https\nhost=h.invalid\n\n"
        done = remote_git.talk(words, cwd=tmp_path, stdin=asked.encode())
    assert done.returncode
    assert b"secret" not in done.stdout
    assert not (tmp_path / "asked").exists()


async def test_a_remote_that_is_gone_loses_nothing(remote, tmp_path) -> None:
    """Gone in the middle of an attempt, it is told in a sentence; the attempt goes on later."""
    with daemon(remote) as url:
        a = remote.machine("a", url=url)
        what = await green(a, "one")
    with pytest.raises(RemoteUnreachableError, match="cannot be reached"):
        await a.land(what, attempt="1")
    git(a.top, "remote", "set-url", "origin", remote.url)
    await a.land(what, attempt="1")
    assert remote.main == what.commit


def test_tests_see_nothing_of_our_credentials(monkeypatch) -> None:
    """What proves who we are, to a remote or a database, is not in the environment of tests."""
    from self_coding.gate.sandbox_layout import environment
    from self_coding.values.verdicts import GateSettings

    names = ("PGPASSWORD", "PGHOST", "SSH_AUTH_SOCK", "GIT_ASKPASS", "SSH_ASKPASS", "GH_TOKEN")
    for name in (*names, "GIT_CONFIG_GLOBAL", "GIT_SSH_COMMAND"):
        monkeypatch.setenv(name, "secret")
    assert "secret" not in environment(GateSettings()).values()


@pytest.mark.parametrize(
    ("address", "is_so"),
    [
        ("https://example.org/a.git", True),
        ("host:a.git", True),
        ("me@host.example:a.git", True),
        ("./a:b", False),
        ("/srv/a.git", False),
        ("a", False),
    ],
)
def test_an_address_is_a_remotes_where_git_takes_it_for_one(address, is_so) -> None:
    """What the queue stores as an address is opened as one: both ask the same question."""
    assert remote_git.is_remote(address) is is_so
