"""Answer a hook call: warn before an edit, snapshot after it, guard main before a push."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from self_coding.config import Layer
from self_coding.values.attempts import DeadEnd, Json


@dataclass(frozen=True)
class PushVerdict:
    """Whether a push may go on, and why not."""

    allowed: bool
    reason: str = ""


async def on_edit(layer: Layer, event: str, payload: Json) -> dict[str, Json]:
    """The answer to an edit hook in Claude Code's format; empty when there is nothing to say.

    Args:
        layer: the repository's services.
        event: "pre-edit" or "post-edit".
        payload: what the client sent: `tool_name`, `tool_input`, ...
    """
    data = payload if isinstance(payload, dict) else {}
    tool_input = data.get("tool_input")
    edit = tool_input if isinstance(tool_input, dict) else {}
    if event == "pre-edit":
        path, diff = _proposed(edit, layer.top)
        found = await layer.journal.dead_end("", diff=diff, files=[path] if path else [], at="edit")
        return _warning(found) if found else {}
    taken = await layer.git.snapshot(run_tests=False)
    missing = [one.path for one in taken.uncaptured]
    return {"systemMessage": f"not in the snapshot: {', '.join(missing)}"} if missing else {}


def _proposed(edit: dict[str, Json], top: Path) -> tuple[str, str]:
    """The path that is about to be edited, and the edit as a small diff."""
    path = Path(str(edit.get("file_path") or edit.get("notebook_path") or ""))
    relative = path.relative_to(top).as_posix() if path.is_relative_to(top) else path.as_posix()
    several = edit.get("edits")
    parts = several if isinstance(several, list) else [edit]
    lines = [f"diff --git a/{relative} b/{relative}", f"--- a/{relative}", f"+++ b/{relative}"]
    for part in parts:
        if isinstance(part, dict):
            new = part.get("new_string") or part.get("content") or part.get("new_source") or ""
            lines.append("@@ -1 +1 @@")
            lines += [f"-{line}" for line in str(part.get("old_string") or "").splitlines()]
            lines += [f"+{line}" for line in str(new).splitlines()]
    return relative, "\n".join(lines) + "\n"


def _warning(found: DeadEnd) -> dict[str, Json]:
    text = f"self-coding remembers: {found}"
    context: Json = {"hookEventName": "PreToolUse", "additionalContext": text}
    return {"systemMessage": text, "hookSpecificOutput": context}


async def before_push(layer: Layer, lines: str) -> PushVerdict:
    """Whether main may be pushed: each new tip needs a receipt of a tested landing.

    Args:
        layer: the repository's services.
        lines: what git gives a pre-push hook: "local-ref local-id remote-ref remote-id" a line.
    """
    main = f"refs/heads/{layer.git.main_branch}"
    for line in lines.splitlines():
        parts = line.split()
        if len(parts) != 4 or parts[2] != main or set(parts[1]) == {"0"}:
            continue
        if not await layer.git.has_receipt(parts[1]):
            return PushVerdict(
                False, f"{parts[1][:12]} reached {layer.git.main_branch} without a tested landing"
            )
    return PushVerdict(True)
