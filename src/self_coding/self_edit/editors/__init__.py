"""Who makes the edit: a patch, a command, a Python function, a language model or the caller."""

from __future__ import annotations

from collections.abc import Mapping

from self_coding.errors import EditError
from self_coding.self_edit.editors.command import PRESETS, CommandEditor, preset
from self_coding.self_edit.editors.patch import PatchEditor
from self_coding.self_edit.editors.protocol import CallableEditor, CallerEditor, Editor

__all__ = [
    "PRESETS",
    "CallableEditor",
    "CallerEditor",
    "CommandEditor",
    "Editor",
    "PatchEditor",
    "preset",
    "restored",
]


def restored(spec: Mapping[str, object]) -> Editor | None:
    """Build an editor anew from what the journal stored of it; None when that is not possible."""
    try:
        if spec.get("kind") == "patch":
            return PatchEditor.restored(spec)
        if spec.get("kind") == "command":
            return CommandEditor.restored(spec)
    except EditError:
        return None
    return CallerEditor() if spec.get("kind") == "caller" else None
