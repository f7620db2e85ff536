"""Landing by request, against a forge that answers as recorded: no real forge was asked."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from forges_fake import TOKEN, FakeForge
from self_coding.app import App, open_app
from self_coding.errors import ConfigError, RemoteUnreachableError
from self_coding.git_safety.remote import clone
from self_coding.testing import ScriptedEditor, git, sample_repo

EDIT = {"src/calc/more.py": "MORE = 1\n"}


@pytest.fixture(params=["github", "gitlab", "forgejo"])
def forge(request) -> Iterator[FakeForge]:
    fake = FakeForge(request.param)
    yield fake
    fake.close()


@pytest.fixture
def bare(tmp_path: Path, monkeypatch) -> Path:
    config = tmp_path / "config"
    helper = f'"!f() {{ echo username=x; echo password={TOKEN}; }}; f"'
    config.write_text(f"[credential]\nhelper = {helper}\n[user]\nname = P\nemail = p@e.invalid\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    place = tmp_path / "sample.git"
    git(sample_repo(tmp_path / "first"), "clone", "-q", "--bare", ".", str(place))
    return place


def opened(bare: Path, forge: FakeForge, **more: object) -> App:
    remote = {"name": "origin", "land_by": "request", "forge": forge.kind, "api": forge.api}
    top = clone(f"file://{bare}", bare.parent / "cache")
    command = f"{sys.executable} -m pytest -q"
    return open_app(top, environ={}, test_command=command, remote=remote, **more)


async def proposed(app: App) -> int:
    result = await app.edit.self_edit("add more", editor=ScriptedEditor(EDIT))
    assert result.waiting == "review", result.message
    return result.attempt_id


async def test_a_green_attempt_becomes_a_request(bare, forge, caplog) -> None:
    """The branch is pushed, the request says what was tested, and nothing moves main."""
    caplog.set_level(logging.DEBUG)
    before = git(bare, "rev-parse", "main")
    app = opened(bare, forge)
    number = await proposed(app)
    [request] = forge.requests.values()
    for words in ("add more", "3 tests, green", "tested: tree", f"Self-edit: attempt {number}"):
        assert words in request["text"]
    assert git(bare, "rev-parse", "main") == before
    assert len(git(bare, "for-each-ref", "refs/heads/self-coding").splitlines()) == 1
    [waiting] = await app.edit.waiting()
    assert waiting.waiting == "review"
    stored = [str(one.data) for one in await app.journal.events(number)]
    assert TOKEN not in "".join([*stored, caplog.text])


@pytest.mark.parametrize("way", ["merge", "squash"])
async def test_a_merged_request_is_a_landing(bare, forge, way) -> None:
    """However it was merged, main tells: the attempt has landed as that commit."""
    app = opened(bare, forge)
    number = await proposed(app)
    assert [one.waiting for one in await app.edit.resume()] == ["review"]
    [branch] = git(bare, "for-each-ref", "--format=%(objectname)", "refs/heads/self-coding").split()
    parents = ["-p", "main", *(["-p", branch] if way == "merge" else [])]
    text = forge.requests[1]["text"] if way == "squash" else "Merge pull request"
    made = git(bare, "commit-tree", "-m", text, *parents, f"{branch}^{{tree}}")
    git(bare, "update-ref", "refs/heads/main", made)
    forge.merged(1, made)
    [result] = await app.edit.resume()
    assert (result.stage, result.attempt_id) == ("landed", number)
    assert result.commit_hash in (made, branch)
    assert await app.git.get_main_commit() == made


async def test_what_a_forge_calls_merged_must_be_on_main(bare, forge) -> None:
    """A forge that says merged while main has no such commit is not believed yet."""
    app = opened(bare, forge)
    await proposed(app)
    forge.merged(1, "0" * 40)
    [result] = await app.edit.resume()
    assert result.waiting == "review"


async def test_a_request_that_is_being_merged_is_still_open(bare, forge) -> None:
    """GitLab calls it locked meanwhile; only what is closed is a no."""
    app = opened(bare, forge)
    number = await proposed(app)
    forge.requests[1]["state"] = "locked"
    assert [one.waiting for one in await app.edit.resume(attempt=number)] == ["review"]


async def test_a_closed_request_is_a_no(bare, forge) -> None:
    """Closed without being merged, the attempt is refused by whoever closed it."""
    app = opened(bare, forge)
    await proposed(app)
    forge.requests[1]["state"] = "closed"
    [result] = await app.edit.resume()
    assert (result.stage, result.by) == ("refused", "approval")


async def test_a_stale_request_is_closed(bare, forge) -> None:
    """What nobody has merged for `approval_days` is closed there and has expired here."""
    app = opened(bare, forge, approval_days=1e-9)
    await proposed(app)
    [result] = await app.edit.resume()
    assert (result.stage, result.by) == ("refused", "expired")
    assert forge.requests[1]["state"] == "closed"


async def test_a_lost_answer_opens_no_second_request(bare, forge) -> None:
    """The forge did it and its answer was lost: the next look finds the one request."""
    forge.broken = 1
    app = opened(bare, forge)
    with pytest.raises(RemoteUnreachableError, match="answers 502"):
        await app.edit.self_edit("add more", editor=ScriptedEditor(EDIT))
    [result] = await app.edit.resume()
    assert result.waiting == "review"
    assert len(forge.requests) == 1


async def test_a_token_that_is_refused_is_not_repeated(bare, forge, monkeypatch, tmp_path) -> None:
    """An error of the forge is told without the token, and nothing is lost."""
    config = tmp_path / "config"
    config.write_text(config.read_text().replace(TOKEN, "stale-secret"))
    app = opened(bare, forge)
    with pytest.raises(RemoteUnreachableError, match="answers 401") as caught:
        await app.edit.self_edit("add more", editor=ScriptedEditor(EDIT))
    assert "stale-secret" not in str(caught.value)
    config.write_text(config.read_text().replace("password=stale-secret", "quit=0"))
    with pytest.raises(ConfigError, match="no credential helper"):
        await app.edit.resume()
