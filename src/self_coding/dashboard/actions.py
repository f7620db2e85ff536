"""What a page can do: each button is one operation of the one table, named by its form.

A result or an error of ours becomes the notice of the next page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from self_coding.dashboard.access import FORM, SESSION
from self_coding.dashboard.board import Board
from self_coding.errors import SelfCodingError
from self_coding.operation import spoken
from self_coding.operations import NAMES
from self_coding.values.edits import SelfEditResult

_PATIENCE = 1  # seconds that a page waits for what goes on without it
#: Each verb of a form, with its operation and the arguments that it takes beside the attempt.
VERBS: dict[str, tuple[str, Callable[[dict[str, str]], dict[str, object]]]] = {
    "land": ("land_edit", lambda form: {"wait": _PATIENCE}),
    "drop": ("drop_edit", lambda form: {"reason": form.get("reason", "")[:2000]}),
    "submit": ("submit_edit", lambda form: {"wait": _PATIENCE}),
    "check": ("check_edit", lambda form: {"wait": _PATIENCE}),
    "go-on": ("wait_edit", lambda form: {"wait": _PATIENCE}),
    "undo": ("undo", lambda form: {}),
}


async def act(request: Request) -> Response:
    """Do what a form asks for, on its attempt; then show that attempt, or where it came from."""
    board: Board = request.app.state.board
    attempt, form = request.path_params["attempt"], request.scope[FORM]
    name, arguments = VERBS[request.path_params["verb"]]
    given = {"attempt": attempt, **arguments(form)}
    kind, told = await _told(NAMES[name](board.app, None, **given))
    board.notices[request.scope[SESSION]] = (kind, told)
    back = form.get("back", "")
    # Only a page of ours: "//x" and "/\\x" would be another site.
    inside = back.startswith("/") and back[1:2] not in ("/", "\\") and back.isprintable()
    return RedirectResponse(back if inside else f"/attempts/{attempt}", 303)


async def _told(work: Awaitable[Any]) -> tuple[str, str]:
    """Return the kind and the words of what came of an operation."""
    try:
        result = await work
    except SelfCodingError as error:
        hint = f" Next: {spoken(error.hint, calls=False)}" if error.hint else ""
        return "error", f"{error.message}.{hint}"
    if isinstance(result, SelfEditResult):
        good = result.success or result.waiting in ("process", "approval")
        more = f" Your checkout: {result.checkout}" if result.checkout else ""
        return "done" if good or result.by == "approval" else "note", f"{result.message}.{more}"
    left = f" Left as they were: {', '.join(result.left[:5])}." if result.left else ""
    return "done", f"Taken back: {result.reason}.{left}"


async def drop_error(request: Request) -> Response:
    """Offer a reported error no more; then show what needs a person."""
    board: Board = request.app.state.board
    error, form = request.path_params["error"], request.scope[FORM]
    given = {"error": error, "reason": form.get("reason", "")[:2000]}
    try:
        await NAMES["drop_error"](board.app, None, **given)
        told = ("done", f"Error {error} is not offered any more.")
    except SelfCodingError as problem:
        told = ("error", f"{problem.message}. Next: {spoken(problem.hint, calls=False)}")
    board.notices[request.scope[SESSION]] = told
    board.forget_inbox()
    return RedirectResponse("/", 303)


async def examine(request: Request) -> Response:
    """Have the doctor look again."""
    board: Board = request.app.state.board
    board.examine()
    return RedirectResponse("/health", 303)


async def theme(request: Request) -> Response:
    """Remember the colours that a person chose, in a cookie of its own."""
    chosen = request.scope[FORM].get("theme", "")
    back = request.scope[FORM].get("back", "/")
    inside = back.startswith("/") and back[1:2] not in ("/", "\\") and back.isprintable()
    answer = RedirectResponse(back if inside else "/", 303)
    kept = chosen if chosen in ("light", "dark") else "auto"
    answer.set_cookie("self_coding_theme", kept, max_age=31_536_000, samesite="strict")
    return answer
