"""The dashboard: what needs a person, what happened, and why, as pages on loopback.

It shows what the services tell, and acts through the table of operations alone; no rule is here.
Every stored text is taken for hostile. Needs the extra `web`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from self_coding.errors import MissingExtraError

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from self_coding.app import App
    from self_coding.dashboard.access import Access
    from self_coding.dashboard.board import Examine


def build(app: App, *, examine: Examine) -> Starlette:
    """Return the pages over one repository, without what guards them.

    Args:
        app: the repository's services.
        examine: looks at what self-coding needs here, as `self-coding doctor` does.

    Raises:
        MissingExtraError: the extra `web` is not installed.
    """
    try:
        import jinja2
        import starlette
    except ImportError as error:
        raise MissingExtraError("web", "the dashboard") from error
    del jinja2, starlette
    from self_coding.dashboard.board import Board
    from self_coding.dashboard.pages import application

    return application(Board(app, examine))


def guarded(pages: Starlette, *, port: int) -> Access:
    """Return the pages behind their door: a token once, then a cookie."""
    from self_coding.dashboard.access import Access

    return Access(pages, port=port)
