"""A folder of equals: each module is one kind of editor, all with the same two methods.

`restored` builds an editor anew from what the journal stored of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from self_coding.errors import EditError
from self_coding.self_edit.editors.caller import CallerEditor
from self_coding.self_edit.editors.command import PRESETS, CommandEditor, preset
from self_coding.self_edit.editors.function import CallableEditor
from self_coding.self_edit.editors.model import ModelEditor
from self_coding.self_edit.editors.patch import PatchEditor
from self_coding.self_edit.editors.protocol import Editor
from self_coding.values.attempts import Json

__all__ = [
    "PRESETS",
    "CallableEditor",
    "CallerEditor",
    "CommandEditor",
    "Editor",
    "ModelEditor",
    "PatchEditor",
    "preset",
    "restored",
]


def restored(spec: Mapping[str, Json]) -> Editor | None:
    """The editor that `spec` was made of; None where it cannot be had again."""
    try:
        if spec.get("kind") == "patch":
            return PatchEditor.restored(spec)
        if spec.get("kind") == "command":
            return CommandEditor.restored(spec)
    except EditError:
        return None
    return CallerEditor() if spec.get("kind") == "caller" else None
