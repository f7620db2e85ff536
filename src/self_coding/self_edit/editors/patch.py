"""An editor that is a patch: a unified diff, applied inside the worktree, whole or not at all.

Git itself reads the patch and refuses paths that lead out of the worktree, into `.git` or
through a symbolic link; nothing is applied with fuzz or left half-applied.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping

from self_coding.adapters import git
from self_coding.adapters.threads import in_thread
from self_coding.errors import EditError, GitOperationError
from self_coding.values.attempts import Json
from self_coding.values.edits import Assignment, EditReport

PATCH_BYTES = 20 << 20
STORED_BYTES = 1 << 20  # a larger patch is not stored in the journal a second time
_CONFIG = ("core.quotePath=false", "core.protectHFS=true", "core.protectNTFS=true")


class PatchEditor:
    """Edits by applying a unified diff, as `git diff` and `diff -u` write it.

    Raises:
        EditError: the patch is empty, or larger than 20 MiB.
    """

    name = "patch"

    def __init__(self, patch: bytes | str) -> None:
        data = patch.encode("utf-8", "surrogateescape") if isinstance(patch, str) else patch
        if not data.strip():
            raise EditError("the patch is empty", hint="give a unified diff: git diff > FILE")
        if len(data) > PATCH_BYTES:
            raise EditError(
                f"the patch has {len(data)} bytes, the most is {PATCH_BYTES}",
                hint="split it into several self-edits",
            )
        self._patch = data if data.endswith(b"\n") else data + b"\n"

    def spec(self) -> Mapping[str, Json] | None:
        """The patch with its digest, where it is text and not too large to be stored twice."""
        if len(self._patch) > STORED_BYTES:
            return None
        try:
            text = self._patch.decode("utf-8")
        except UnicodeDecodeError:
            return None
        return {"kind": "patch", "patch": text, "digest": _digest(self._patch)}

    @classmethod
    def restored(cls, spec: Mapping[str, Json]) -> PatchEditor | None:
        """The editor that `spec` was made of; None if what was stored is not the same patch."""
        patch = str(spec.get("patch") or "").encode("utf-8", "surrogateescape")
        return cls(patch) if patch and _digest(patch) == spec.get("digest") else None

    async def edit(self, assignment: Assignment) -> EditReport:
        """Apply the patch to the worktree; where it does not fit, nothing is changed."""
        return await in_thread(self._apply, assignment)

    def _apply(self, assignment: Assignment) -> EditReport:
        started = time.monotonic()
        try:
            done = git.run(
                ["apply", "--whitespace=nowarn", "-"],
                cwd=assignment.worktree.path,
                config=_CONFIG,
                env=git.NO_REPOSITORY,
                stdin=self._patch,
                ok=None,
                timeout=assignment.seconds,
                limit=1 << 16,
            )
        except GitOperationError as error:
            raise EditError(error.message, hint="install git") from error
        if done.timed_out:
            raise EditError(f"git apply took longer than {assignment.seconds:g} s")
        said = (done.stderr + done.stdout).decode("utf-8", "replace").strip()
        if done.returncode:
            raise EditError(f"the patch does not apply: {_why(said)}", hint=_hint(said))
        return EditReport(
            summary=_summary(self._patch),
            output=said,
            seconds=time.monotonic() - started,
            whole=True,
        )


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _why(said: str) -> str:
    """Git's own first words about what does not fit."""
    lines = [line.removeprefix("error: ") for line in said.splitlines() if line.strip()]
    return "; ".join(lines[:3]) or "git gave no reason"


def _hint(said: str) -> str:
    if "invalid path" in said or "beyond a symbolic link" in said:
        return "a patch may only name paths inside the repository"
    if "No valid patches" in said or "corrupt patch" in said:
        return "give a unified diff, as `git diff` writes it"
    return "make the patch against main as it is now"


def _summary(patch: bytes) -> str:
    files = {
        line[4:].split(b"\t")[0].strip().removeprefix(b"b/").decode("utf-8", "replace")
        for line in patch.splitlines()
        if line.startswith(b"+++ ") and b"/dev/null" not in line
    }
    named = ", ".join(sorted(files)[:5])
    return f"patch of {named or 'deleted files'}"
