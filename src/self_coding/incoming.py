"""Operations by which work comes in, and by which people keep an eye on it.

Rows of the one table, as those of `operations`, which imports this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from self_coding.operation import Arg, Reason, operation

if TYPE_CHECKING:
    from self_coding.app import App
    from self_coding.values.results import Digest, ReportedError

COMES_IN, LOOK_BACK = "Work comes in", "Look back"
Days = Annotated[float, Arg("How many days back.", option="-d")]
Stack = Annotated[
    str, Arg("A file with the traceback, or what else the program printed.", file=True)
]
ErrorId = Annotated[str, Arg("Its number, from `inbox`: 3f2a91c0de.")]


@operation(COMES_IN, "reported.report_error", effect="adds", tool=False)
async def report_error(app: App, stack: Stack) -> ReportedError:
    """Report an uncaught error, which becomes a task in the inbox; known ones are counted.

    Nothing is edited for it until somebody asks. Secrets are taken out before it is stored.
    """
    error = await app.reported.report_error(stack)
    if error.count == 1:
        await app.edit.notices.tell(
            "error", error.title, f'self-coding self-edit "Fix error {error.id}"'
        )
    return error


@operation(COMES_IN, "reported.drop_error", effect="adds", tool=False)
async def drop_error(app: App, error: ErrorId, reason: Reason = "") -> ReportedError:
    """Offer a reported ERROR no more; it goes on being counted."""
    return await app.reported.drop_error(error, reason)


@operation(LOOK_BACK, "edit.digest", tool=False)
async def digest(app: App, days: Days = 7.0) -> Digest:
    """Sum up the last days in Markdown: landed, refused and why, cost, lessons, what waits."""
    await app.catch_up()
    return await app.edit.digest(days)
