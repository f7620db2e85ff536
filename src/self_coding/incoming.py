"""Operations by which work comes in, and by which people keep an eye on it.

Rows of the one table, as those of `operations`, which imports this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from self_coding.operation import Arg, Reason, operation

if TYPE_CHECKING:
    from self_coding.app import App
    from self_coding.values.results import ReportedError

COMES_IN = "Work comes in"
Stack = Annotated[
    str, Arg("A file with the traceback, or what else the program printed.", file=True)
]
ErrorId = Annotated[str, Arg("Its number, from `inbox`: 3f2a91c0de.")]


@operation(COMES_IN, "reported.report_error", effect="adds", tool=False)
async def report_error(app: App, stack: Stack) -> ReportedError:
    """Report an uncaught error, which becomes a task in the inbox; known ones are counted.

    Nothing is edited for it until somebody asks. Secrets are taken out before it is stored.
    """
    return await app.reported.report_error(stack)


@operation(COMES_IN, "reported.drop_error", effect="adds", tool=False)
async def drop_error(app: App, error: ErrorId, reason: Reason = "") -> ReportedError:
    """Offer a reported ERROR no more; it goes on being counted."""
    return await app.reported.drop_error(error, reason)
