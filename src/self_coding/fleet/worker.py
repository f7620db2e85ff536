"""A worker: takes jobs off the queue, and drives each through the lifecycle in its repository.

A job that is taken again finds by its self-edit what the journal has of it, and goes on from
there. Nothing is remembered here: a worker may be killed anywhere.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any

from procrastinate import App, JobContext, RetryDecision
from procrastinate.exceptions import ConnectorException, JobAborted
from procrastinate.job_context import AbortReason
from procrastinate.jobs import Job as StoredJob
from procrastinate.manager import JobManager, NotificationCallback
from procrastinate.retry import BaseRetryStrategy
from psycopg import OperationalError

from self_coding.adapters import postgres
from self_coding.adapters.threads import in_thread
from self_coding.errors import RemoteUnreachableError, SelfCodingError, StorageError
from self_coding.fleet import telemetry
from self_coding.fleet.jobs import FORM, Job
from self_coding.fleet.queue import TASK, Queue, life

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from self_coding.app import App as Services
    from self_coding.values.edits import Progress, SelfEditResult

_LOOKS = 2.0  # seconds between two looks for what is new, or has died
_PATIENCE = 20  # times that a job is tried again while the server or the remote is away
_MOST = 60  # seconds between two of them


@dataclass(frozen=True, kw_only=True)
class Share:
    """What a worker takes: `slots` at a time; of one repository `each`, and `in_all` of all
    workers together, at most; 0 for any number. Clones of remotes are in `cache`."""

    slots: int = 1
    provides: tuple[str, ...] = ()
    each: int = 0
    in_all: int = 0
    cache: Path | None = None


class NotYetError(Exception):
    """The job is to be tried again soon; nothing of it is wrong."""

    def __init__(self, message: str, seconds: float = _LOOKS) -> None:
        super().__init__(message)
        self.seconds = seconds


class Worker:
    """One process of the fleet.

    Args:
        queue: the queue it takes jobs from.
        opened: opens the services over a repository: its address, a folder for clones, settings.
        share: which, and how many.
        say: is told what happens, a line each.
        once: end when nothing is left that it may take.
    """

    def __init__(
        self,
        queue: Queue,
        opened: Callable[..., Services],
        share: Share,
        *,
        say: Callable[[str], None] = lambda line: None,
        once: bool = False,
    ) -> None:
        self._queue = queue
        self._opened = opened
        self.share = share
        self._say = say
        self._once = once
        self.name = f"{socket.gethostname()}/{os.getpid()}"
        self._running: set[int] = set()
        self._number = 0  # Procrastinate's, while it runs
        self._is_idle = False

    async def run(self) -> None:
        """Work until cancelled; what is under way then is left to others, as after a crash.

        Raises:
            StorageError: the server cannot be reached at the start, or its schema not be used.
        """
        await in_thread(self._queue.check)
        for name in ("procrastinate", "psycopg"):
            # What went wrong is said here, in a sentence; they would print a traceback to nobody.
            logging.getLogger(name).addHandler(logging.NullHandler())
        self._say(f"worker {self.name}: {self.share.slots} at a time")
        while True:
            try:
                await self._serve()
            except ConnectorException as error:
                # The server is away: who waits for it loses nothing.
                self._say(f"the server is away ({type(error.__cause__).__name__}); trying again")
                await asyncio.sleep(_LOOKS)
                continue
            if self._is_idle:
                return

    async def _serve(self) -> None:
        app = App(connector=self._queue.connector(is_async=True))
        manager = _Manager(app.job_manager.connector, self)
        app.job_manager = manager
        app.task(name=TASK, pass_context=True, retry=_Again())(self._attempt)
        async with app.open_async():
            serving = asyncio.create_task(
                app.run_worker_async(
                    name=self.name,
                    concurrency=self.share.slots,
                    fetch_job_polling_interval=_LOOKS,
                    abort_job_polling_interval=_LOOKS,
                    shutdown_graceful_timeout=0,
                    install_signal_handlers=False,  # the command line's own cancel this task
                    delete_jobs="never",
                )
            )
            keeping = asyncio.create_task(self._keep(serving, manager))
            try:
                await serving
            except asyncio.CancelledError:
                if not self._is_idle:
                    raise
            finally:
                keeping.cancel()

    async def entered(self, number: int) -> None:
        """Live in the others' eyes, under Procrastinate's number."""
        self._number = number
        share = self.share
        await in_thread(self._queue.enter, number, self.name, share.slots, share.provides)

    async def give_back(self, *, own: bool) -> bool:
        """Give back what the dead have left, and of our `own` what runs no more."""
        ours = self._number if own else 0
        given = await in_thread(self._queue.requeue, ours, {*self._running})
        for one in given:
            self._say(f"job {one}: its worker is gone; it is given to another")
        return bool(given)

    async def _keep(self, serving: asyncio.Task[None], manager: _Manager) -> None:
        """Stay alive in the others' eyes, and give back what the dead have left."""
        while True:
            await asyncio.sleep(_LOOKS)
            if not self._number:
                continue
            with suppress(StorageError):
                database, name = self._queue.database, life(self._number)
                if not await in_thread(database.holds, name):
                    # A link was cut, and our jobs are the others': each finds its lease taken
                    # while we still have it.
                    await in_thread(database.unclaim, name)
                    await in_thread(database.claim, name)
                if await self.give_back(own=True):
                    manager.found_nothing = False
                if self._once and manager.found_nothing and not self._running:
                    self._is_idle = not await in_thread(self._queue.is_busy)
                if self._is_idle:
                    serving.cancel()
                    return

    async def _attempt(self, context: JobContext, /, **stored: Any) -> None:
        """Drive the job of these arguments as far as it goes."""
        number = context.job.id
        assert number is not None
        job = Job.read(stored)
        self._running.add(number)
        try:
            with telemetry.attempt(job.task, number) as span:
                try:
                    results = await self._drive(number, job, span.step)
                except asyncio.CancelledError:
                    if context.abort_reason() != AbortReason.USER_REQUEST:
                        raise
                    task = asyncio.current_task()
                    assert task is not None
                    task.uncancel()  # it was for the attempt, which is now called off in order
                    await self._drive(number, replace(job, cancelled=True), span.step)
                    raise JobAborted from None
                span.ended([one.stage for one in results])
            for one in results:
                self._say(f"job {number}: attempt {one.attempt_id}: {one.stage}")
                with suppress(StorageError):  # for whoever looks at the queue; the journal has it
                    told = {"attempt": one.attempt_id, "said": one.stage}
                    await in_thread(self._queue.note, number, **told)
        except (StorageError, RemoteUnreachableError) as error:
            self._say(f"job {number}: {error.message}; it is tried again")
            raise
        except SelfCodingError as error:
            said = f"{error.message} ({error.hint})" if error.hint else error.message
            self._say(f"job {number}: {said}")
            with suppress(StorageError):
                await in_thread(self._queue.note, number, said=said)
            raise
        finally:
            self._running.discard(number)

    async def _drive(
        self, number: int, job: Job, told: Callable[[Progress], None]
    ) -> list[SelfEditResult]:
        app: Services = await in_thread(
            self._opened,
            job.repo,
            self.share.cache,
            database=self._queue.at(application_name=self._program),
        )
        journal = app.journal
        try:
            known = await journal.of_edit(job.edit)
            if job.cancelled:
                for one in (known and await journal.unfinished(job.edit))[:1]:
                    await app.edit.drop_edit(one, "it was cancelled")
                return []
            editor = app.editor(
                patch=job.patch.encode("utf-8", "surrogateescape") if job.patch else None,
                command=job.command or None,
                name=job.editor or None,
            )
            if not known:
                planned = await app.edit.plan_edit(
                    job.task,
                    editor=editor,
                    edit=job.edit,
                    tries=job.tries,
                    hold=job.propose,
                    base=job.base,
                )
                known = [planned]
                await in_thread(self._queue.note, number, attempt=planned)
            results = await app.edit.resume(attempt=known[0], editor=editor, on_progress=told)
            # Whoever waits for a person has nothing to be done; whoever else has not ended is
            # another worker's, or was a moment ago.
            still = [] if results else await journal.unfinished(job.edit)
            for waiting in await app.edit.waiting() if still else ():
                if waiting.attempt in still and waiting.waiting in ("process", "resume"):
                    # After a restart of the server nobody takes up what another may have held:
                    # until then, to ask again is in vain.
                    grace = postgres.GRACE - await in_thread(self._queue.database.uptime)
                    why = f"another worker has attempt {waiting.attempt}"
                    raise NotYetError(why, max(_LOOKS, grace))
            return results
        finally:
            await journal.close()

    @property
    def _program(self) -> str:
        return f"self-coding worker {self.name}"[:63]


class _Again(BaseRetryStrategy):
    """Which jobs are done again, and when."""

    def get_retry_decision(
        self, *, exception: BaseException, job: StoredJob
    ) -> RetryDecision | None:
        """Return None for a job that is at fault itself."""
        if isinstance(exception, NotYetError):
            return RetryDecision(retry_in={"seconds": ceil(exception.seconds)})
        if isinstance(exception, asyncio.CancelledError):  # this worker ends
            return RetryDecision(retry_in={"seconds": 0})
        away = isinstance(exception, StorageError | RemoteUnreachableError)
        if away and job.attempts < _PATIENCE:
            return RetryDecision(retry_in={"seconds": min(_MOST, 2**job.attempts)})
        return None


class _Manager(JobManager):
    """Procrastinate's own, except in what comes next, and that a server may be away for a while."""

    def __init__(self, connector: Any, worker: Worker) -> None:
        super().__init__(connector)
        self._worker = worker
        self.found_nothing = False  # when it was asked last

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> StoredJob | None:
        """Return the next job that is this worker's to take."""
        share = self._worker.share
        with suppress(StorageError):
            # First what the dead have begun: a look of its own, later, would find our slots full.
            # Nothing of ours: what was fetched a moment ago does not run yet.
            await self._worker.give_back(own=False)
        with suppress(ConnectorException):
            row = await self.connector.execute_query_one_async(
                "SELECT * FROM self_coding_next(%(worker)s, %(form)s, %(provides)s::text[],"
                " %(each)s, %(in_all)s)",
                worker=worker_id,
                form=FORM,
                provides=[*share.provides],
                each=share.each,
                in_all=share.in_all,
            )
            self.found_nothing = row["id"] is None
            return None if self.found_nothing else StoredJob.from_row(row)
        return None

    async def finish_job(self, *given: Any, **more: Any) -> None:
        """End a job, where the server hears it; another who was given it meanwhile has ended it."""
        with suppress(ConnectorException):
            await super().finish_job(*given, **more)

    async def retry_job(self, *given: Any, **more: Any) -> None:
        """Have a job tried again, where the server hears it and it is still ours."""
        with suppress(ConnectorException):
            await super().retry_job(*given, **more)

    async def register_worker(self) -> int:
        """Register, and enter what the engine does not ask."""
        number = await super().register_worker()
        await self._worker.entered(number)
        return number

    async def prune_stalled_workers(self, seconds_since_heartbeat: float) -> list[int]:
        """Leave that to `Queue.requeue`: a heartbeat that is late says nothing of a session."""
        return []

    async def update_heartbeat(self, worker_id: int) -> None:
        """Beat where the server hears it."""
        with suppress(ConnectorException):
            await super().update_heartbeat(worker_id)

    async def listen_for_jobs(
        self, *, on_notification: NotificationCallback, queues: Iterable[str] | None = None
    ) -> None:
        """Listen, and begin again when the server is back."""
        while True:
            with suppress(ConnectorException, OperationalError):
                await super().listen_for_jobs(on_notification=on_notification, queues=queues)
            await asyncio.sleep(_LOOKS)
