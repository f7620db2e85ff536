"""What a job says: a task, where, by whom it is edited, what a worker must have for it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from self_coding.adapters.remote_git import check_url, is_remote
from self_coding.errors import ConfigError

# What the words of a job mean. A worker leaves later ones to those who know them.
FORM = 1
_NAME = re.compile(r"[a-z0-9][a-z0-9._+-]{0,30}")
_QUEUE = 128  # characters of a queue's name that Procrastinate stores


@dataclass(frozen=True, kw_only=True)
class Job:
    """One task for a fleet.

    `repo` is an address that git knows, or a path that is the same on every worker. `edit` names
    the self-edit: whoever takes the job again finds by it what was done. `requires` are names that
    a worker must provide. `cancelled`: only to be called off.
    """

    task: str
    repo: str
    edit: str
    priority: int = 0
    requires: tuple[str, ...] = ()
    editor: str = ""
    command: str = ""
    patch: str = ""
    tries: int | None = None
    propose: bool = False
    base: str = ""
    cancelled: bool = False

    @property
    def queue(self) -> str:
        """The queue's name: the form, the repository, what a worker must have.

        Raises:
            ConfigError: a required name cannot be one, or there are too many.
        """
        for name in self.requires:
            if not _NAME.fullmatch(name):
                hint = "small letters, digits, `.`, `_`, `+` and `-`, at most 31: gpu, aider"
                raise ConfigError(f"{name!r} cannot be required of a worker", hint=hint)
        name = f"{FORM}|{key(self.repo)}|{','.join(sorted({*self.requires}))}"
        if len(name) > _QUEUE:
            raise ConfigError("too much is required of a worker", hint="name fewer things")
        return name

    def stored(self) -> dict[str, Any]:
        """Return the arguments under which Procrastinate stores it: what is not the default."""
        given = asdict(self)
        return {one.name: given[one.name] for one in fields(self) if given[one.name] != one.default}

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Job:
        """Return the job of stored arguments; what is not ours is left out."""
        known = {one.name for one in fields(cls)}
        values = {name: value for name, value in stored.items() if name in known}
        return cls(**{**values, "requires": tuple(values.get("requires", ()))})


def address(repo: str) -> str:
    """Return a repository's address as every worker can use it.

    Raises:
        ConfigError: it holds a password, which would be stored; or there is no such path.
    """
    parts = urlsplit(repo) if "://" in repo else None
    if parts and (parts.password or (parts.username and parts.scheme.startswith("http"))):
        raise ConfigError(
            f"the address of the repository at {parts.hostname} names a user or a password",
            hint="leave them out: git's credential helpers on the workers answer for them",
        )
    if is_remote(repo):
        return check_url(repo)
    place = Path(repo).expanduser().resolve()
    if not place.is_dir():
        raise ConfigError(
            f"there is no folder {place}", hint="give the address of a repository, or its path"
        )
    return str(place)


def key(repo: str) -> str:
    """Return what the queue calls a repository: never its address, which may say too much."""
    plain = repo.rstrip("/").removesuffix(".git")
    return hashlib.sha256(plain.encode()).hexdigest()[:16]
