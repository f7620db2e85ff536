"""The pages: each asks the services, and fills one template.

Nothing is decided here, and nothing is written: buttons lead to `actions`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from http import HTTPStatus
from importlib import resources
from typing import Any
from urllib.parse import urlencode

import jinja2
from markupsafe import Markup, escape
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from self_coding.dashboard import actions, attempt_page, charts, texts
from self_coding.dashboard.access import SESSION, form_key
from self_coding.dashboard.board import Board
from self_coding.dashboard.live import live
from self_coding.errors import JournalError, SelfCodingError
from self_coding.operation import spoken
from self_coding.settings import Settings, named, sources
from self_coding.values.attempts import AttemptLine
from self_coding.values.edits import Waiting
from self_coding.values.explanations import EXPLANATIONS

Endpoint = Callable[[Request], Awaitable[Response]]
PAGE = 50  # attempts on one page
STATES = ("landed", "open", "refused", "environment", "held", "stopped", "crashed", "cancelled",
          "rollback")  # fmt: skip
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_COST_DAYS = 30  # that the cost of a landed change is taken of
_CODE = re.compile("`([^`]+)`")
_DEPENDENTS, _MOST_USED = 200, 25  # rows of a table
_UNDER_WAY = frozenset(("open", "review", "running"))  # what nobody is asked about
_LABELS = {
    "approval": "waits for approval",
    "review": "waits for review",
    "submit": "waits for its edit",
    "resume": "interrupted",
    "process": "under way",
}


def application(board: Board) -> Starlette:
    """Return the routes over one board."""
    app = Starlette(
        routes=[
            Route("/", _marked(attention)),
            Route("/attempts", _marked(attempts)),
            Route("/attempts/{attempt:int}", _marked(attempt)),
            Route("/attempts/{attempt:int}/undo", _marked(undo)),
            Route("/attempts/{attempt:int}/{part}.txt", part),
            Route("/attempts/{attempt:int}/{verb}", act, methods=["POST"]),
            Route("/errors/{error}", _marked(reported)),
            Route("/errors/{error}/drop", actions.drop_error, methods=["POST"]),
            Route("/rates", _marked(rates)),
            Route("/map", _marked(map_page)),
            Route("/map.json", map_json),
            Route("/queue", _marked(queue)),
            Route("/health", _marked(health)),
            Route("/health", actions.examine, methods=["POST"]),
            Route("/settings", _marked(settings)),
            Route("/theme", actions.theme, methods=["POST"]),
            Route("/live", live),
            Route("/static/{name}", static),
        ],
        exception_handlers={SelfCodingError: _failed, HTTPException: _failed, Exception: _failed},
    )
    app.state.board = board
    for name in _templates().list_templates():  # read now: the first look at a page waits for none
        _templates().get_template(name)
    return app


def _marked(page: Endpoint) -> Endpoint:
    """Return a page that knows of which moment it is, taken before it asks for anything."""

    async def marked(request: Request) -> Response:
        board: Board = request.app.state.board
        with suppress(SelfCodingError):
            request.state.mark = await board.look()
        return await page(request)

    return marked


async def act(request: Request) -> Response:
    """Do what a button says."""
    if request.path_params["verb"] not in actions.VERBS:
        raise HTTPException(404)
    return await actions.act(request)


async def attention(request: Request) -> Response:
    """What needs a person."""
    board: Board = request.app.state.board
    board.examine() if board.health.at is None else None
    board.warm()
    with suppress(SelfCodingError):  # where the queue cannot be reached, its own page says why
        fleet = await board.fleet()
        idle = fleet and not fleet.workers and sum(job.state == "waiting" for job in fleet.jobs)
        return await _page(request, "attention", inbox=await board.inbox(), idle=idle)
    return await _page(request, "attention", inbox=await board.inbox(), idle=0)


async def attempts(request: Request) -> Response:
    """The attempts, newest first: filtered, searched, a page at a time."""
    board: Board = request.app.state.board
    await board.catch_up()
    query = {
        name: request.query_params.get(name, "")[:500]
        for name in ("words", "state", "editor", "path")
    }
    before = _number(request.query_params.get("before", ""))
    rows = await board.app.journal.lines(**query, before=before, limit=PAGE + 1)  # type: ignore[arg-type]
    older = ""
    if len(rows) > PAGE:
        older = urlencode({**_filled(query), "before": rows[PAGE - 1].id})
    waiting = {}
    if any(one.ended is None for one in rows):
        waiting = {one.attempt: one for one in await board.app.edit.waiting()}
    editors = list(await board.app.journal.success_rates("editor"))[:20]
    more: dict[str, Any] = {"query": query, "older": older, "editors": editors, "waiting": waiting}
    more["undone"] = await board.undone()
    return await _page(request, "attempts", rows=rows[:PAGE], before=before, states=STATES, **more)


async def attempt(request: Request) -> Response:
    """One attempt."""
    board: Board = request.app.state.board
    await board.catch_up()
    shown = await attempt_page.gather(
        board.app, request.path_params["attempt"], await board.undone()
    )
    return await _page(request, "attempt", page=shown)


async def undo(request: Request) -> Response:
    """What an undo would take back, before it does."""
    board: Board = request.app.state.board
    number = request.path_params["attempt"]
    plan = await board.app.git.plan_undo(attempt=str(number))
    return await _page(request, "undo", plan=plan, number=number)


async def reported(request: Request) -> Response:
    """An error that was reported: its stack, and how it becomes a task."""
    board: Board = request.app.state.board
    known = {one.id: one for one in await board.app.reported.errors()}
    found = known.get(request.path_params["error"])
    if found is None:
        raise HTTPException(404)
    return await _page(request, "reported", error=found)


async def part(request: Request) -> Response:
    """The whole diff or output of an attempt, as plain text."""
    board: Board = request.app.state.board
    found = await board.app.journal.get_by_id(request.path_params["attempt"])
    name = request.path_params["part"]
    if found is None or name not in ("diff", "output"):
        raise HTTPException(404)
    return PlainTextResponse(
        (found.diff if name == "diff" else found.test_results).encode("utf-8", "replace")
    )


async def rates(request: Request) -> Response:
    """How often attempts succeed: over time, by what they are counted under, by what they knew."""
    board: Board = request.app.state.board
    told, journal = await board.rates(), board.app.journal
    tables = [
        (title, list((await journal.success_rates(by)).items())[:25])
        for by, title in (("area", "By area"), ("editor", "By editor"), ("model", "By model"))
    ]
    tables.append(("By what memory showed", list(told.shown.items())))
    daily = await journal.daily()
    since = datetime.now(UTC) - timedelta(days=_COST_DAYS)
    first = since.timestamp() // 86400
    good = sum(count for day, outcome, count in daily if day >= first and outcome == "success")
    _, cost = await journal.spent(since)
    drawn: dict[str, Any] = {"chart": charts.over_time(daily), "c": charts}
    drawn |= {"cost": cost, "days": _COST_DAYS, "landed": good, "told": told}
    drawn["missed"] = await journal.recent_events(("missed",), 20) if told.missed else []
    overall = told.rates["overall"]
    return await _page(request, "rates", overall=overall, tables=tables, **drawn)


async def queue(request: Request) -> Response:
    """What the fleet is at, and who works."""
    board: Board = request.app.state.board
    fleet = await board.fleet()
    if fleet is None:
        raise HTTPException(404)
    ours = {}
    for job in fleet.jobs:  # the queue is of all repositories: which are attempts of this one?
        if found := await board.app.journal.of_edit(job.edit) if job.edit else []:
            ours[job.job] = found[-1]
    return await _page(request, "queue", fleet=fleet, ours=ours)


async def map_page(request: Request) -> Response:
    """The import graph, and what a change of some files can break."""
    board: Board = request.app.state.board
    paths = await _changed(request, board)
    impact = await board.impact(paths) if paths else None
    kept = {name: request.query_params.get(name, "") for name in ("attempt", "path")}
    query = urlencode(_filled(kept))
    used = [] if paths else (await board.map()).most_used(_MOST_USED)
    drawn: dict[str, Any] = {"impact": impact, "most": _DEPENDENTS, "query": query, "used": used}
    return await _page(request, "map", paths=paths, **drawn)


async def map_json(request: Request) -> Response:
    """What the map is drawn from."""
    board: Board = request.app.state.board
    drawn = await board.drawing(await _changed(request, board))
    return Response(drawn, media_type="application/json")


async def _changed(request: Request, board: Board) -> list[str]:
    """Return the files that a map is asked for: by name, or those of an attempt."""
    number = _number(request.query_params.get("attempt", ""))
    if number is not None:
        found = await board.app.journal.get_by_id(number)
        return found.files_modified[:100] if found else []
    asked = request.query_params.get("path", "").split("\n")
    known = (await board.map()).places if any(asked) else {}
    return [path for one in asked if (path := one.strip()) in known][:100]


async def health(request: Request) -> Response:
    """What the doctor said."""
    board: Board = request.app.state.board
    if board.health.at is None:
        board.examine()
    return await _page(request, "health", health=board.health, busy=board.is_examining)


async def settings(request: Request) -> Response:
    """Every setting: its value, where it comes from, what it means."""
    board: Board = request.app.state.board
    app = board.app
    environ = os.environ if app.environ is None else app.environ
    where, defaults = sources(app.top, environ), dict(named(Settings()))
    rows = [
        (name, value, where.get(name, ""), defaults.get(name), EXPLANATIONS[name])
        for name, value in named(app.settings)
    ]
    groups: dict[str, list[Any]] = {}
    for row in rows:
        group, dot, _ = row[0].rpartition(".")
        groups.setdefault(group if dot else "general", []).append(row)
    return await _page(request, "settings", groups=groups)


async def static(request: Request) -> Response:
    """A file of ours: style, script, icon."""
    name = request.path_params["name"]
    data = _static().get(name)
    if data is None:
        raise HTTPException(404)
    return Response(data, media_type=_TYPES[name.rpartition(".")[2]])


async def _failed(request: Request, error: Exception) -> Response:
    """Answer an error in words: ours with its hint, anything else as a bug, without its insides."""
    status, message, hint = 500, "something went wrong here", "this is a bug in self-coding"
    if isinstance(error, HTTPException):
        status, message, hint = error.status_code, HTTPStatus(error.status_code).phrase, ""
    elif isinstance(error, SelfCodingError):
        status = 404 if isinstance(error, JournalError) else 409
        message, hint = error.message, spoken(error.hint, calls=False)
    context = {"message": message, "hint": hint}
    return await _page(request, "error", status, **context)


async def _page(request: Request, name: str, status: int = 200, **more: Any) -> Response:
    """Fill a template with what all pages show and what this one does."""
    board: Board = request.app.state.board
    session = request.scope.get(SESSION, "")
    theme = request.cookies.get("self_coding_theme", "auto")
    needs = 0
    # The page of an error is made here as well, and must not fail for the same reason.
    with suppress(SelfCodingError):
        inbox = await board.inbox()
        needs = sum(one.kind not in _UNDER_WAY for one in inbox.needs)
    query = f"?{request.url.query}" if request.url.query else ""
    text = (
        _templates()
        .get_template(f"{name}.html")
        .render(
            name=name,
            repository=board.app.top.name,
            top=str(board.app.top),
            branch=board.app.settings.main_branch,
            has_fleet=board.has_fleet,
            under_way=_UNDER_WAY,
            needs=needs,
            now=datetime.now(UTC),
            csrf=form_key(session),
            mark=getattr(request.state, "mark", ""),
            theme=theme if theme in ("light", "dark") else "auto",
            notice=board.notices.pop(session, None),
            here=f"{request.url.path}{query}",
            sick=sum(one.state == "fail" for one in board.health.checks),
            **more,
        )
    )
    return HTMLResponse(text, status)


@cache
def _templates() -> jinja2.Environment:
    """Return the templates; every text that one prints is made visible and escaped."""
    # By hand and not by filters in the templates: one that was forgotten would be a hole.
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("self_coding.dashboard"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: texts.line(value) if type(value) is str else value,
    )
    environment.filters |= {
        "block": lambda text, limit=texts.BLOCK: Markup(escape(texts.block(text, limit))),  # noqa: S704 - escaped here
        "as_commands": partial(spoken, calls=False),
        # as str: what a Markup is joined with would be escaped
        "marked": lambda text: Markup(_CODE.sub(r"<code>\1</code>", str(escape(text)))),  # noqa: S704 - escaped here
        "short": texts.line,
        "row": lambda text: Markup(escape(text)),  # noqa: S704 - visible already, escaped here
        "percent": lambda share: f"{share:.0%}",
        "exact": texts.exact,
        "span": texts.span,
        "state": _state,
    }
    environment.globals |= {"ago": texts.ago, "asset": _asset}
    return environment


def _state(
    line: AttemptLine, waiting: Waiting | None = None, undone: bool = False
) -> tuple[str, str]:
    """Return how an attempt stands in words, and how that looks."""
    if line.ended is None:
        told = _LABELS.get(waiting.waiting, "open") if waiting else "open"
        looks = {"approval": "wait", "resume": "bad", "process": "busy", "review": "busy"}
        if waiting and waiting.waiting == "submit" and waiting.why:
            return "refused, waits", "bad"
        return told, looks.get(waiting.waiting, "open") if waiting else "open"
    if line.outcome == "rollback" or undone:
        return "undone" if undone else "reverted", "dim"
    look = {"landed": "good", "refused": "bad", "environment": "bad", "crashed": "bad"}
    plain = {"success": "good", "failure": "bad"}
    word = {"ended": line.outcome}.get(line.stage, line.stage)
    return word or line.outcome, look.get(line.stage) or plain.get(word, "dim")


@cache
def _static() -> dict[str, bytes]:
    folder = resources.files("self_coding.dashboard") / "static"
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def _asset(name: str) -> str:
    """Return the address of a file of ours, another one whenever its content is."""
    return f"/static/{name}?{hashlib.sha256(_static()[name]).hexdigest()[:12]}"


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 16 else None


def _filled(query: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in query.items() if value}
