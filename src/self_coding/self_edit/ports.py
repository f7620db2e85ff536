"""The services that a self-edit works with; `tests/memory_services.py` has a fake of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from self_coding.codebase_indexer import CodebaseIndexer
    from self_coding.git_safety import GitSafety
    from self_coding.modification_journal import ModificationJournal
    from self_coding.reflection import ReflectionService
    from self_coding.self_edit.policy import Policy

Files = Mapping[str, bytes | None]
"""Contents by path; None for a path that is not there."""


class Rules(Protocol):
    """Reads the policy out of the settings files of a commit."""

    @property
    def files(self) -> tuple[str, ...]:
        """The paths that settings are read from."""
        ...

    def read(self, files: Files) -> Policy:
        """Return the policy of the commit that holds these files."""
        ...


@dataclass(frozen=True)
class Services:
    """All services over one repository."""

    repository: GitSafety
    index: CodebaseIndexer
    journal: ModificationJournal
    reflection: ReflectionService
    rules: Rules

    def onto(self, branch: str) -> Services:
        """Return the services for what lands on this branch; empty for the main one."""
        return replace(self, repository=self.repository.onto(branch))
