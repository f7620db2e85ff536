"""The services that a self-edit works with; `testing.memory` has a fake of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from self_coding.codebase_indexer import CodebaseIndexer
    from self_coding.git_safety import GitSafety
    from self_coding.modification_journal import ModificationJournal
    from self_coding.reflection import ReflectionService
    from self_coding.values.repository import Change
    from self_coding.values.verdicts import Verdict

Files = Mapping[str, bytes | None]
"""Contents by path; None for a path that is not there."""


class Judge(Protocol):
    """The policy of a commit."""

    @property
    def asks(self) -> bool:
        """Whether broken rules are a question to a person, and not a refusal."""
        ...

    def judge(
        self, change: Change, *, before: Files, after: Files, covered: frozenset[str]
    ) -> Verdict:
        """Return every rule that the change breaks."""
        ...


class Rules(Protocol):
    """Reads the policy out of the settings files of a commit."""

    @property
    def files(self) -> tuple[str, ...]:
        """The paths that settings are read from."""
        ...

    def read(self, files: Files) -> Judge:
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
