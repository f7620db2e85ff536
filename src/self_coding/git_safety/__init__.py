"""GitSafety: snapshots, isolation, the gate and landing."""

from self_coding.errors import (
    GitDirtyWorkingDirectoryError,
    GitNotRepositoryError,
    GitOperationError,
    GitSafetyError,
)
from self_coding.git_safety.service import GitSafety
from self_coding.values.repository import Snapshot

__all__ = [
    "GitDirtyWorkingDirectoryError",
    "GitNotRepositoryError",
    "GitOperationError",
    "GitSafety",
    "GitSafetyError",
    "Snapshot",
]
