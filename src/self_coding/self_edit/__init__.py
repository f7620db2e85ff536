"""The orchestrator of self-edits: judges, lifecycle and runner."""

from __future__ import annotations

from self_coding.self_edit.service import SelfEdit
from self_coding.self_edit.tool import SelfEditTool
from self_coding.values.edits import SelfEditResult

__all__ = ["SelfEdit", "SelfEditResult", "SelfEditTool"]
