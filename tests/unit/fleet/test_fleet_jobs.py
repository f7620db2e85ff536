"""What a job says, and what may not stand in one."""

from __future__ import annotations

from pathlib import Path

import pytest

from self_coding.errors import ConfigError
from self_coding.fleet.jobs import Job, address, key


def test_a_job_is_read_as_it_was_stored() -> None:
    """What is stored is only what is not the default, and reads back as the same job."""
    job = Job(task="t", repo="/r", edit="e", requires=("gpu",), tries=3, propose=True)
    stored = job.stored()
    assert stored == {
        "task": "t", "repo": "/r", "edit": "e", "requires": ("gpu",), "tries": 3, "propose": True
    }  # fmt: skip
    assert Job.read({**stored, "requires": ["gpu"], "attempt": 4, "of a later form": 1}) == job


def test_the_queue_has_what_is_required_and_never_the_address() -> None:
    """Spellings of one address are one queue; what is required makes another."""
    one = Job(task="t", repo="https://host/team/shop.git", edit="e")
    assert "host" not in one.queue
    assert one.queue == Job(task="u", repo="https://host/team/shop/", edit="f").queue
    assert Job(task="t", repo="/r", edit="e", requires=("b", "a")).queue.endswith("|a,b")
    assert key("/a") != key("/b")
    with pytest.raises(ConfigError, match="cannot be required"):
        _ = Job(task="t", repo="/r", edit="e", requires=("A b",)).queue


@pytest.mark.parametrize(
    "repo",
    ["https://me:hunter2@host/r", "https://ghp_hunter2@host/r", "ssh://git:hunter2@host/r"],
)
def test_a_password_in_an_address_is_refused_unrepeated(repo: str) -> None:
    """An address with a secret is refused before it is stored, and the secret is not repeated."""
    with pytest.raises(ConfigError, match="names a user or a password") as told:
        address(repo)
    assert "hunter2" not in str(told.value)


def test_an_address_is_what_every_worker_can_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Addresses stay, a path becomes absolute, and one that is not there is refused."""
    for repo in ("https://host/r", "ssh://git@host/r", "git@host:team/r.git", "file:///r"):
        assert address(repo) == repo
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    assert address("here") == str(tmp_path / "here")
    with pytest.raises(ConfigError, match="no folder"):
        address("nowhere")
