"""An editor that is a patch: a unified diff, applied inside the worktree, whole or not at all.

Git itself applies it and refuses paths that lead out of the worktree, into `.git` or through a
symbolic link; nothing is applied with fuzz or left half-applied. What git cannot read is put into
its words first, where the meaning is certain.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from self_coding.adapters import git
from self_coding.adapters.threads import in_thread
from self_coding.errors import EditError, GitOperationError
from self_coding.self_edit.editors.patch_text import (
    FilePatch,
    PatchError,
    normalized,
    parse,
    render,
)
from self_coding.text import diff_paths
from self_coding.values.attempts import Json
from self_coding.values.edits import Assignment, EditReport

_MOST_BYTES = 20 << 20
_OUTSIDE = "a patch may only name paths inside the repository"
_STORED_BYTES = 1 << 20  # a larger patch is not stored in the journal a second time
# Refuse names that macOS or Windows would take for `.git`, whatever this machine is.
_CONFIG = ("core.quotePath=false", "core.protectHFS=true", "core.protectNTFS=true")


class PatchEditor:
    """Edits by applying a unified diff, or a "*** Begin Patch" block as models write it.

    Raises:
        EditError: the patch is empty, or larger than 20 MiB.
    """

    name = "patch"

    def __init__(self, patch: bytes | str) -> None:
        # Bytes all the way: a patch may hold text in any encoding.
        data = patch.encode("utf-8", "surrogateescape") if isinstance(patch, str) else patch
        if not data.strip():
            raise EditError("the patch is empty", hint="give a unified diff, as of `git diff`")
        if len(data) > _MOST_BYTES:
            raise EditError(
                f"the patch has {len(data)} bytes, the most is {_MOST_BYTES}",
                hint="split it into several self-edits",
            )
        self._patch = data if data.endswith(b"\n") else data + b"\n"

    def spec(self) -> Mapping[str, Json] | None:
        """Return the patch with its digest, if it is text and not too large to be stored twice."""
        if len(self._patch) > _STORED_BYTES:
            return None
        try:
            text = self._patch.decode("utf-8")
        except UnicodeDecodeError:
            return None
        digest = hashlib.sha256(self._patch).hexdigest()
        return {"kind": "patch", "patch": text, "digest": digest}

    @classmethod
    def restored(cls, spec: Mapping[str, object]) -> PatchEditor | None:
        """Build the editor anew; None if the journal had to take a secret out of the patch."""
        patch = str(spec.get("patch") or "").encode("utf-8", "surrogateescape")
        # The journal takes secrets out of what it stores: what is left is another patch.
        unchanged = hashlib.sha256(patch).hexdigest() == spec.get("digest")
        return cls(patch) if unchanged else None

    async def edit(self, assignment: Assignment) -> EditReport:
        """Apply the patch to the worktree; if it does not fit, nothing is changed."""
        return await in_thread(self._apply, assignment)

    def _apply(self, assignment: Assignment) -> EditReport:
        started = time.monotonic()
        files: list[FilePatch] = []
        try:
            files = parse(self._patch)
            output = self._applied(files, assignment)
        except PatchError as error:
            reason = str(error)
            raise EditError(f"the patch does not apply: {reason}", hint=_hint(reason)) from None
        paths = diff_paths(self._patch.decode("utf-8", "replace"))
        paths = paths or [one.new or one.old or "" for one in files]
        return EditReport(
            summary=f"patch of {', '.join(paths[:5])}",
            output=output,
            seconds=time.monotonic() - started,
            whole=True,
        )

    def _applied(self, files: list[FilePatch], assignment: Assignment) -> str:
        """Apply the patch as it is, or else as it is surely meant; return what git said."""
        top = assignment.worktree.path
        # Git first, which knows renames, modes and binary files; ours only fits what models write.
        if all(one.is_plain for one in files):
            output, reason = _git_apply(normalized(self._patch), assignment)
            if not reason:
                return output
            if not files or _hint(reason) == _OUTSIDE:
                raise PatchError(reason)
        fitted = render(files, partial(_read, top), partial(_paths, top))
        output, reason = _git_apply(fitted, assignment, "--unidiff-zero")
        if reason:
            raise PatchError(reason)
        return output


def _git_apply(patch: bytes, assignment: Assignment, *options: str) -> tuple[str, str]:
    """Return what git printed, and why it refused; empty where it applied the patch."""
    try:
        done = git.run(
            ["apply", "--whitespace=nowarn", *options, "-"],
            cwd=assignment.worktree.path,
            config=_CONFIG,
            # In a repository `git apply` skips, without a word, paths that are outside of the
            # folder it runs in.
            env=git.NO_REPOSITORY,
            stdin=patch,
            ok=None,
            timeout=assignment.seconds,
            limit=1 << 16,
        )
    except GitOperationError as error:
        raise EditError(error.message, hint="install git") from error
    if done.timed_out:
        raise EditError(f"git apply took longer than {assignment.seconds:g} s")
    output = (done.stderr + done.stdout).decode("utf-8", "replace").strip()
    if not done.returncode:
        return output, ""
    lines = [line.removeprefix("error: ") for line in output.splitlines() if line.strip()]
    return output, "; ".join(lines[:3]) or "git gave no reason"


def _read(top: Path, path: str) -> bytes | None:
    """Return a file of the worktree; None for what is not there, no file, or led to by a link."""
    target = top / path
    try:
        # A link in the worktree may lead to any file of the machine.
        inside = target.resolve() == top.resolve() / path
        return target.read_bytes() if inside and target.is_file() else None
    except (OSError, ValueError):
        return None


def _paths(top: Path) -> list[str]:
    done = git.run(["ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=top)
    return done.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]


def _hint(output: str) -> str:
    if "invalid path" in output or "beyond a symbolic link" in output:
        return _OUTSIDE
    if "No valid patches" in output or "corrupt patch" in output:
        return "give a unified diff, as `git diff` writes it"
    return "make the patch against main as it is now"
