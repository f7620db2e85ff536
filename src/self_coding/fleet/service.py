"""Fleet: tasks for many machines are handed in, followed, called off, and worked off."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from self_coding.adapters.threads import in_thread
from self_coding.errors import ConfigError
from self_coding.fleet.jobs import Job, address
from self_coding.fleet.queue import TASK, Queue
from self_coding.values.results import FleetJob, FleetStatus, Submitted

if TYPE_CHECKING:
    from self_coding.app import App


class Fleet:
    """The fleet of one server.

    Args:
        database: `postgresql://USER@HOST/DATABASE`, as the setting of that name.
        opened: opens the services over a repository: its address, a folder for clones, settings
            by name (`open_anywhere`).
    """

    def __init__(self, database: str, opened: Callable[..., App]) -> None:
        self._database = database
        self._opened = opened

    @cached_property
    def queue(self) -> Queue:
        """The queue itself.

        Raises:
            ConfigError: no PostgreSQL server is named, or Procrastinate is not installed.
        """
        return Queue(self._database)

    async def submit(
        self,
        task: str,
        *,
        repo: str,
        priority: int = 0,
        requires: Collection[str] = (),
        editor: str = "",
        command: str = "",
        patch: str = "",
        tries: int | None = None,
        propose: bool = False,
        base: str = "",
    ) -> Submitted:
        """Store a task for the fleet; a worker does it, and its journal says what came of it.

        Args:
            task: what is to be done, in words.
            repo: an address that git knows, or a path that every worker has.
            priority: higher ones come first.
            requires: names that a worker must provide.
            editor, command, patch: who makes the edit, as for `self_edit`.
            tries: as for `self_edit`.
            propose: stop green before landing, for a person's approval.
            base: the branch that it begins from and lands on.

        Raises:
            ConfigError: the task is empty, or the address holds a password.
            StorageError: the server cannot be reached; nothing is stored.
        """
        if not task.strip():
            raise ConfigError("the task is empty", hint="say in words what is to be done")
        job = Job(
            task=task.strip(),
            repo=address(repo),
            edit=secrets.token_hex(8),
            priority=priority,
            requires=tuple(sorted({*requires})),
            editor=editor,
            command=command,
            patch=patch,
            tries=tries,
            propose=propose,
            base=base,
        )
        queue = job.queue

        def defer() -> int:
            with self.queue.open() as app:
                # The lock: whatever goes wrong elsewhere, no two workers have one self-edit.
                placed = app.configure_task(TASK, queue=queue, lock=job.edit, priority=priority)
                return int(placed.defer(**job.stored()))

        number = await in_thread(defer)
        return Submitted(job=number, edit=job.edit, repository=job.repo)

    async def cancel(self, number: int) -> FleetJob:
        """Call a job off: what waits never begins, what runs is ended where it runs.

        Raises:
            ConfigError: there is no such job, or it has ended.
        """

        def work() -> FleetJob:
            with self.queue.open() as app:
                done = app.job_manager.cancel_job_by_id(number, abort=True)
                found = [one for one in self.queue.jobs() if one.job == number]
                if not found or not done:
                    state = f"job {number} has ended: {found[0].state}" if found else ""
                    raise ConfigError(
                        state or f"there is no job {number}", hint="`workers` lists them"
                    )
                return found[0]

        return await in_thread(work)

    async def workers(self, limit: int = 50) -> FleetStatus:
        """Return who works, and what waits, runs and has ended lately."""

        def work() -> FleetStatus:
            self.queue.check()
            return FleetStatus(workers=self.queue.workers(), jobs=self.queue.jobs(limit))

        return await in_thread(work)

    async def worker(
        self,
        *,
        slots: int = 1,
        provides: Collection[str] = (),
        each: int = 0,
        in_all: int = 0,
        until_idle: bool = False,
        cache: Path | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> FleetStatus:
        """Take jobs and do them, until cancelled; what is under way then is left to others.

        Args:
            slots: how many at a time.
            provides: what is to be had here, for jobs that require it.
            each: of one repository at a time, over all workers; 0: any number.
            in_all: of all at a time, over all workers; 0: any number.
            until_idle: end when nothing is left to be taken.
            cache: where clones of remotes are kept; in the user's cache when None.
            say: is told what happens, a line each.

        Raises:
            StorageError: the server cannot be reached at the start, or its schema not be used.
        """
        from self_coding.fleet.worker import Share, Worker

        share = Share(slots=slots, provides=tuple(provides), each=each, in_all=in_all, cache=cache)
        await Worker(self.queue, self._opened, share, say=say, once=until_idle).run()
        return await self.workers()
