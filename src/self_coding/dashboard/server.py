"""Serve the dashboard on loopback, and say where; nothing of it is reachable from elsewhere."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable

from self_coding.adapters.loopback import HOST, bound
from self_coding.app import App
from self_coding.dashboard import build, guarded
from self_coding.dashboard.board import Examine

CONNECTIONS = 100  # at once


def serve(
    app: App, *, port: int, examine: Examine, browse: bool, say: Callable[[str], None]
) -> None:
    """Serve until interrupted.

    Args:
        app: the repository's services.
        port: where to listen; 0 takes a free one.
        examine: looks at what self-coding needs here.
        browse: open the address in the person's browser.
        say: is told the address, and each further one.

    Raises:
        ConfigError: the port is taken.
        MissingExtraError: the extra `web` is not installed.
    """
    pages = build(app, examine=examine)
    import uvicorn

    with bound(port) as ours:
        ours.listen(CONNECTIONS)  # now: a browser that is open already asks before we serve
        at = ours.getsockname()[1]
        door = guarded(pages, port=at)
        address = f"http://{HOST}:{at}/?token="
        say(f"the dashboard of {app.top} is at {address}{door.token}")
        door.renewed = lambda token: say(f"for another browser: {address}{token}")
        if browse:
            webbrowser.open(f"{address}{door.token}")
        config = uvicorn.Config(
            door, log_level="warning", ws="none", lifespan="off", server_header=False,
            limit_concurrency=CONNECTIONS, timeout_keep_alive=30, timeout_graceful_shutdown=3,
        )  # fmt: skip
        server = uvicorn.Server(config)
        pages.state.board.is_stopping = lambda: server.should_exit
        server.run(sockets=[ours])
