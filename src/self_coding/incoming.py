"""Operations by which work comes in, and by which people keep an eye on it.

Rows of the one table, as those of `operations`, which imports this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from self_coding.operation import Arg, Caller, Reason, operation
from self_coding.values.results import Watched

if TYPE_CHECKING:
    from self_coding.app import App
    from self_coding.values.results import Digest, ReportedError

COMES_IN, LOOK_BACK = "Work comes in", "Look back"
Days = Annotated[float, Arg("How many days back.", option="-d")]
Stack = Annotated[
    str, Arg("A file with the traceback, or what else the program printed.", file=True)
]
Since = Annotated[str, Arg("The revision that the first look compares with.")]
Once = Annotated[bool, Arg("Look once, and end: with status 1 where a test fails.")]
ErrorId = Annotated[str, Arg("Its number, from `inbox`: 3f2a91c0de.")]


@operation(COMES_IN, "reported.report_error", effect="adds")
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


@operation(COMES_IN, "edit.watch", effect="adds", tool=False)
async def watch(app: App, caller: Caller, since: Since = "HEAD", once: Once = False) -> Watched:
    """Run the affected tests as files change, and say which edit, commit or attempt broke them.

    Contained, on a copy of your working tree. Ctrl-C ends it.
    """

    def told(look: Watched) -> None:
        if not once:
            caller.say(str(look))

    last = await app.edit.watch(since=since, once=once, on_look=told)
    return last or Watched(changed=[], files=[], broken=[])


@operation(LOOK_BACK, "edit.digest", tool=False)
async def digest(app: App, days: Days = 7.0) -> Digest:
    """Sum up the last days in Markdown: landed, refused and why, cost, lessons, what waits."""
    await app.catch_up()
    return await app.edit.digest(days)
