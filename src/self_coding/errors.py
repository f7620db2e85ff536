"""Every exception this package raises on purpose, and what each one means.

An exception means *this layer could not do its work*. Failing tests, a refused change or a
moved main branch are values and events, not exceptions; this module holds no control flow.
"""

from __future__ import annotations


class SelfCodingError(Exception):
    """Something this layer was asked for could not be done."""

    slug = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class GitSafetyError(SelfCodingError):
    """The repository could not be read or changed safely."""

    slug = "git-safety"


class GitNotRepositoryError(GitSafetyError):
    """The given path lies in no git repository."""

    slug = "not-a-repository"


class GitDirtyWorkingDirectoryError(GitSafetyError):
    """Uncommitted work stands in the way; it was left as it is."""

    slug = "dirty-working-directory"


class GitOperationError(GitSafetyError):
    """Git refused an operation, or it would not have been safe."""

    slug = "git-operation"

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        argv: tuple[str, ...] = (),
        returncode: int | None = None,
        stderr: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.argv = argv
        self.returncode = returncode
        self.stderr = stderr


class GitTimeoutError(GitOperationError):
    """A git command took longer than its limit and was ended."""

    slug = "git-timeout"


class RemoteUnreachableError(GitOperationError):
    """A remote did not answer, or let nobody in; what was sent may have arrived."""

    slug = "remote-unreachable"


class MergeConflictError(GitOperationError):
    """Two sides changed the same lines; the repository was left as it was."""

    slug = "merge-conflict"

    def __init__(self, message: str, *, paths: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.paths = paths


class MainMovedError(GitOperationError):
    """A branch is no longer at the commit that was read; nothing was changed."""

    slug = "main-moved"


class GateError(SelfCodingError):
    """The gate could not run, so it has no verdict."""

    slug = "gate"


class SandboxUnavailableError(GateError):
    """This machine offers less isolation than `require_sandbox` asks for."""

    slug = "sandbox-unavailable"


class GateTimeoutError(GateError):
    """Preparing the gate took longer than its limit."""

    slug = "gate-timeout"


class IndexerError(SelfCodingError):
    """The index cannot answer."""

    slug = "indexer"


class JournalError(SelfCodingError):
    """The journal refuses the request."""

    slug = "journal"


class StorageError(SelfCodingError):
    """A database file cannot be used; nothing was written into it."""

    slug = "storage"

    def __init__(self, message: str, *, path: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path


class StorageVersionError(StorageError):
    """The file was written by a newer version, or by another program."""

    slug = "storage-version"


class StorageBusyError(StorageError):
    """Another process held the file for longer than the wait."""

    slug = "storage-busy"


class StorageDamagedError(StorageError):
    """The file's bytes are not a whole database."""

    slug = "storage-damaged"


class ProcessError(SelfCodingError):
    """A command could not be started at all."""

    slug = "process"

    def __init__(self, message: str, *, argv: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.argv = argv


class ModelError(SelfCodingError):
    """A language model could not be used."""

    slug = "model"


class ModelUnavailableError(ModelError):
    """No model answers at the configured place."""

    slug = "model-unavailable"


class ModelReplyError(ModelError):
    """A model answered, but not in the form that was asked for."""

    slug = "model-reply"


class ConfigError(SelfCodingError):
    """A setting is unknown or out of range."""

    slug = "config"


class EditError(SelfCodingError):
    """An editor could not make its edit; the repository is as it was."""

    slug = "edit"


class MissingExtraError(SelfCodingError):
    """A feature needs an optional extra that is not installed."""

    slug = "missing-extra"

    def __init__(self, extra: str, feature: str) -> None:
        super().__init__(
            f"{feature} needs the extra '{extra}'",
            hint=f'pip install "self-coding[{extra}]"',
        )
        self.extra = extra
