"""Live pages: a stream of server-sent events, one for each change of what is shown.

An event carries no content: the browser asks for its page anew, by the one way there is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from self_coding.dashboard.board import Board

LISTENERS = 32  # pages at once; each holds a connection
_BEAT = (
    20.0  # seconds after which a line is sent although nothing changed, so that a dead end shows
)


async def live(request: Request) -> Response:
    """Answer with a stream that tells each change."""
    board: Board = request.app.state.board
    if board.listeners >= LISTENERS:
        return PlainTextResponse("too many pages listen\n", 503)

    async def stream() -> AsyncIterator[str]:
        board.listeners += 1
        try:
            # What the page has shown: a change between that and this connection is told at once.
            seen = request.query_params.get("seen") or await board.look()
            yield "retry: 3000\n\n"
            while True:
                try:
                    async with asyncio.timeout(_BEAT):
                        changed = await board.next_change(seen)
                except TimeoutError:
                    yield ": nothing new\n\n"
                    continue
                if board.is_stopping():
                    return
                if changed != seen:
                    seen = changed
                    yield "event: change\ndata: 1\n\n"
        finally:
            board.listeners -= 1

    return StreamingResponse(stream(), media_type="text/event-stream")
