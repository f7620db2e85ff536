"""The orchestrator of self-edits: judges, lifecycle and runner.

The public names are loaded when first asked for: reading a policy need not load the runner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from self_coding.self_edit.service import SelfEdit
    from self_coding.values.edits import SelfEditResult

__all__ = ["SelfEdit", "SelfEditResult"]


def __getattr__(name: str) -> object:
    if name == "SelfEdit":
        from self_coding.self_edit.service import SelfEdit

        return SelfEdit
    if name == "SelfEditResult":
        from self_coding.values.edits import SelfEditResult

        return SelfEditResult
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
