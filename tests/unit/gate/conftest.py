"""What several tests of the gate need."""

from __future__ import annotations

import pytest


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder with a key, a token and a tool chain."""
    for name in (".ssh", ".cargo/bin", "tools"):
        (tmp_path / "home" / name).mkdir(parents=True)
    (tmp_path / "home/.cargo/credentials.toml").write_text("token")
    (tmp_path / "home/link").symlink_to(".ssh")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"
