"""Operations by which work comes in, and by which people keep an eye on it.

Rows of the one table, as those of `operations`, which imports this module.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from self_coding.operation import (
    Arg,
    Base,
    Caller,
    Command,
    EditorName,
    Patch,
    Propose,
    Reason,
    Task,
    Tries,
    operation,
)
from self_coding.values.results import Watched

if TYPE_CHECKING:
    from self_coding.app import App
    from self_coding.values.results import (
        Digest,
        FleetJob,
        FleetStatus,
        ReportedError,
        Submitted,
    )

COMES_IN, LOOK_BACK, FLEET = "Work comes in", "Look back", "Many machines"
Days = Annotated[float, Arg("How many days back.", option="-d")]
Stack = Annotated[
    str, Arg("A file with the traceback, or what else the program printed.", file=True)
]
Since = Annotated[str, Arg("The revision that the first look compares with.")]
Once = Annotated[bool, Arg("Look once, and end: with status 1 where a test fails.")]
Repo = Annotated[
    str,
    Arg(
        "Its address for git, or a path on every worker (this repository, or where it lands).",
        only="cli",
    ),
]
Priority = Annotated[int, Arg("Higher ones come first.", least=-1000, most=1000)]
Requires = Annotated[list[str] | None, Arg("What a worker must provide: `gpu`, `aider`.")]
Slots = Annotated[int, Arg("How many attempts at a time.", least=1, most=64)]
Provides = Annotated[list[str] | None, Arg("What is to be had here, for `--requires`.")]
Each = Annotated[int, Arg("Of one repository at a time, over all workers; 0: any number.", least=0)]
InAll = Annotated[int, Arg("Of all, over all workers; 0: any number.", least=0)]
UntilIdle = Annotated[bool, Arg("End when nothing is left to be taken.")]
Cache = Annotated[str, Arg("A folder for clones of remotes (your cache).")]
JobId = Annotated[int, Arg("Its number, from `workers`: 12.", least=1)]
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


@operation(FLEET, "fleet.submit", effect="adds", tool="server", anywhere=True)
async def submit(
    app: App,
    task: Task,
    repo: Repo = "",
    priority: Priority = 0,
    requires: Requires = None,
    patch: Patch = None,
    command: Command = None,
    editor: EditorName = None,
    tries: Tries = None,
    propose: Propose = False,
    base: Base = "",
) -> Submitted:
    """Hand TASK to the fleet: a worker makes the edit, tests it, and lands it when green.

    The answer comes at once; `workers` tells which attempt the job has become.
    """
    return await app.fleet.submit(
        task,
        repo=repo or await app.git.address(),
        priority=priority,
        requires=requires or (),
        patch=patch or "",
        command=command or "",
        editor=editor or "",
        tries=tries,
        propose=propose,
        base=base,
    )


@operation(FLEET, "fleet.worker", effect="adds", tool=False, anywhere=True)
async def worker(
    app: App,
    caller: Caller,
    slots: Slots = 1,
    provides: Provides = None,
    each: Each = 0,
    in_all: InAll = 0,
    until_idle: UntilIdle = False,
    cache: Cache = "",
) -> FleetStatus:
    """Take tasks of the fleet and do them, until it is interrupted; what was begun is taken over.

    Killed, it loses nothing: another worker goes on with its attempts.
    """
    return await app.fleet.worker(
        slots=slots,
        provides=provides or (),
        each=each,
        in_all=in_all,
        until_idle=until_idle,
        cache=Path(cache) if cache else None,
        say=caller.say,
    )


@operation(FLEET, "fleet.workers", tool="server", anywhere=True)
async def workers(app: App) -> FleetStatus:
    """List who works for the fleet, and its tasks: running, waiting, ended lately."""
    return await app.fleet.workers()


@operation(FLEET, "fleet.cancel", effect="adds", tool="server", anywhere=True)
async def cancel(app: App, job: JobId) -> FleetJob:
    """Call off JOB of the fleet, wherever it runs; what it has edited is kept, unlanded."""
    return await app.fleet.cancel(job)
