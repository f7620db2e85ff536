"""Answer an agent's edit hooks: warn before an edit, snapshot after it."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from self_coding.adapters import git
from self_coding.adapters.paths import git_directories
from self_coding.adapters.threads import in_thread
from self_coding.text import diff_paths
from self_coding.values.attempts import Json

if TYPE_CHECKING:
    from self_coding.app import App

LONGEST_FILE = 1 << 20  # bytes of a file that is compared with what is to replace it


async def on_edit(app: App, event: str, payload: Json) -> dict[str, Json]:
    """Return the answer to an edit hook in Claude Code's format; empty for nothing to say.

    What a shell command edited is only seen after it: then its warning comes with the snapshot.
    """
    data = payload if isinstance(payload, dict) else {}
    tool_input = data.get("tool_input")
    edit = tool_input if isinstance(tool_input, dict) else {}
    text = ""
    if event == "pre-edit":
        path, diff = await in_thread(_proposed, edit, app.top)
        files = [path] if path else []
    else:
        # A hook runs after every command of an agent, and most of those only look.
        taken = await app.git.snapshot_changes()
        if taken is None:
            return {}
        missing = [one.path for one in taken.uncaptured]
        text = f"not in the snapshot: {', '.join(missing)}" if missing else ""
        diff, files = "", []
        if "command" in edit:
            diff, files = await in_thread(_made, app.top)
    found = diff and await app.journal.dead_end("", diff=diff, files=files, at="edit")
    if not found:
        return {"systemMessage": text} if text else {}
    text = "\n".join(filter(None, [f"self-coding remembers: {found}", text]))
    default = "PreToolUse" if event == "pre-edit" else "PostToolUse"
    name = data.get("hook_event_name") or default
    context: Json = {"hookEventName": name, "additionalContext": text}
    return {"systemMessage": text, "hookSpecificOutput": context}


def _made(top: Path) -> tuple[str, list[str]]:
    """Return what the newest snapshot holds beyond the one before it, or beyond HEAD."""
    words = ("for-each-ref", "--sort=-refname", "--count=2", "--format=%(objectname)")
    taken = git.decode(git.run((*words, "refs/self-coding/snap"), cwd=top).stdout).split()
    before = f"{taken[1]}:worktree" if len(taken) > 1 else "HEAD^{tree}"
    plain = ("--no-color", "--no-ext-diff", "--src-prefix=a/", "--dst-prefix=b/", "--unified=0")
    done = git.run(("diff", *plain, before, f"{taken[0]}:worktree"), cwd=top, ok=())
    diff = git.decode(done.stdout[:LONGEST_FILE], errors="replace")
    return diff, diff_paths(diff)


def _proposed(edit: dict[str, Json], top: Path) -> tuple[str, str]:
    """Return the path that is about to be edited, and the edit as a small diff."""
    named = str(edit.get("file_path") or edit.get("notebook_path") or "").replace("\0", "")
    if not named:
        return "", ""
    path = top / named
    # It may be in the checkout or in an attempt's worktree, and the name may be that of a link.
    directories = git_directories(path.parent)
    resolved = path.parent.resolve() / path.name
    inside = top
    if directories and resolved.is_relative_to(directories.top):
        inside = directories.top
    relative = str(path)
    if resolved.is_relative_to(inside):
        relative = resolved.relative_to(inside).as_posix()
    several = edit.get("edits")
    lines = [f"diff --git a/{relative} b/{relative}"]
    for part in several if isinstance(several, list) else [edit]:
        if not isinstance(part, dict):
            continue
        old = str(part.get("old_string") or "")
        new = str(part.get("new_string") or part.get("new_source") or "")
        if "content" in part:  # a whole file, which is compared with the one it replaces
            new = str(part["content"])
            try:
                with path.open("rb") as file:
                    data = file.read(LONGEST_FILE + 1)
            except OSError:
                data = b""
            old = data.decode("utf-8", "replace") if len(data) <= LONGEST_FILE else ""
        names = (f"a/{relative}", f"b/{relative}")
        lines += difflib.unified_diff(old.splitlines(), new.splitlines(), *names, n=0, lineterm="")
    return relative, "\n".join(lines) + "\n"
