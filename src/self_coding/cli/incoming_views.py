"""How people read the results of the operations of `incoming`, as `views` has it of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from self_coding.cli.session import table
from self_coding.cli.view import WIDTH, view, when
from self_coding.text import first_line

if TYPE_CHECKING:
    from self_coding.values.results import (
        Digest,
        FleetJob,
        FleetStatus,
        ReportedError,
        Submitted,
        Watched,
    )


def report_error(error: ReportedError) -> str:
    """Return an error, how often it came, and what can be done about it."""
    often = "once" if error.count == 1 else f"{error.count} times"
    head = f"error {error.id}: {error.title}\nseen {often}, last {when(error.last)}"
    if error.dropped:
        return f"{head}\nnot offered any more: {first_line(error.dropped, 200)}"
    return f'{head}\nnext: self-coding self-edit "Fix error {error.id}"'


drop_error = report_error


@view(status=lambda look: int(not look.is_green))
def watch(look: Watched) -> str:
    """Return the last look in words."""
    return str(look)


def digest(told: Digest) -> str:
    """Return the Markdown."""
    return told.text.rstrip()


def submit(done: Submitted) -> str:
    """Return the job, and how it is followed."""
    return f"job {done.job} for {done.repository}; `self-coding workers` tells how far it is"


def cancel(job: FleetJob) -> str:
    """Return what becomes of it."""
    if job.state == "running":
        return f"job {job.job} is being called off by {job.worker or 'its worker'}"
    return f"job {job.job} is cancelled"


def workers(status: FleetStatus) -> str:
    """Return the workers, then the jobs."""
    lines = [
        f"{one.name}: {one.running} of {one.slots} at work, since {when(one.since)}"
        + (f", provides {', '.join(one.provides)}" if one.provides else "")
        for one in status.workers
    ]
    rows = [
        [
            str(job.job),
            f"{job.state}{f' by {job.worker}' if job.worker else ''}",
            f"attempt {job.attempt}" if job.attempt else "",
            job.repository,
            ", ".join(job.requires) if job.state == "waiting" else "",
            first_line(": ".join(filter(None, (job.said, job.task))), WIDTH),
        ]
        for job in status.jobs
    ]
    return "\n".join([*(lines or ["no worker is alive"]), table(rows)]).rstrip()


worker = workers
