"""Answer a hook call: warn before an edit, snapshot after it, guard main before a push."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from self_coding.adapters.git import git_directories
from self_coding.adapters.threads import in_thread
from self_coding.app import App
from self_coding.values.attempts import DeadEnd, Json

LONGEST_FILE = 1 << 20  # bytes of a file that is compared with what is to replace it


@dataclass(frozen=True)
class PushVerdict:
    """Whether a push may go on, and why not."""

    allowed: bool
    reason: str = ""


async def on_edit(app: App, event: str, payload: Json) -> dict[str, Json]:
    """The answer to an edit hook in Claude Code's format; empty when there is nothing to say.

    Args:
        app: the repository's services.
        event: "pre-edit" or "post-edit".
        payload: what the client sent: `tool_name`, `tool_input`, ...
    """
    data = payload if isinstance(payload, dict) else {}
    tool_input = data.get("tool_input")
    edit = tool_input if isinstance(tool_input, dict) else {}
    if event == "pre-edit":
        path, diff = await in_thread(_proposed, edit, app.top)
        found = await app.journal.dead_end("", diff=diff, files=[path] if path else [], at="edit")
        return _warning(found) if found else {}
    taken = await app.git.snapshot(run_tests=False)
    missing = [one.path for one in taken.uncaptured]
    return {"systemMessage": f"not in the snapshot: {', '.join(missing)}"} if missing else {}


def _proposed(edit: dict[str, Json], top: Path) -> tuple[str, str]:
    """The path that is about to be edited, and the edit as a small diff of what really changes."""
    named = str(edit.get("file_path") or edit.get("notebook_path") or "").replace("\0", "")
    if not named:
        return "", ""
    path = top / named
    relative = _relative(path, top)
    several = edit.get("edits")
    parts = several if isinstance(several, list) else [edit]
    lines = [f"diff --git a/{relative} b/{relative}"]
    for part in parts:
        if isinstance(part, dict):
            old, new = _sides(part, path)
            files = (f"a/{relative}", f"b/{relative}")
            lines += difflib.unified_diff(
                old.splitlines(), new.splitlines(), *files, n=0, lineterm=""
            )
    return relative, "\n".join(lines) + "\n"


def _relative(path: Path, top: Path) -> str:
    """The path within its repository, be it in the checkout or in an attempt's worktree."""
    found = git_directories(path.parent)
    resolved = path.parent.resolve() / path.name
    inside = found.top if found and resolved.is_relative_to(found.top) else top
    return resolved.relative_to(inside).as_posix() if resolved.is_relative_to(inside) else str(path)


def _sides(part: dict[str, Json], path: Path) -> tuple[str, str]:
    """The text that goes and the text that comes; a whole new file replaces what stands there."""
    if "content" in part:
        return _standing(path), str(part["content"])
    return str(part.get("old_string") or ""), str(
        part.get("new_string") or part.get("new_source") or ""
    )


def _standing(path: Path) -> str:
    """The file as it is; empty for none and for one too long to compare."""
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST_FILE + 1)
    except OSError:
        return ""
    return data.decode("utf-8", "replace") if len(data) <= LONGEST_FILE else ""


def _warning(found: DeadEnd) -> dict[str, Json]:
    text = f"self-coding remembers: {found}"
    context: Json = {"hookEventName": "PreToolUse", "additionalContext": text}
    return {"systemMessage": text, "hookSpecificOutput": context}


async def before_push(app: App, lines: str) -> PushVerdict:
    """Whether main may be pushed: each new tip needs a receipt of a tested landing.

    Args:
        app: the repository's services.
        lines: what git gives a pre-push hook: "local-ref local-id remote-ref remote-id" a line.
    """
    main = f"refs/heads/{app.git.main_branch}"
    for line in lines.splitlines():
        parts = line.split()
        if len(parts) != 4 or parts[2] != main or set(parts[1]) == {"0"}:
            continue
        if not await app.git.has_receipt(parts[1]):
            return PushVerdict(
                False, f"{parts[1][:12]} reached {app.git.main_branch} without a tested landing"
            )
    return PushVerdict(True)
