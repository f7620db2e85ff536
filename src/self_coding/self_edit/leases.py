"""Who works on a self-edit: a lock that names its holder, and tells how far it has come.

The kernel drops a lock with its holder, however that dies; what the file says counts only while
it is held. The holder looks for a request to stop: nobody is killed. Where the journal is on a
server, its connection holds the self-edit as well, against workers on other machines.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from self_coding.adapters.file_lock import FileLock, is_locked, try_lock
from self_coding.adapters.threads import in_thread
from self_coding.errors import EditError, SelfCodingError, StorageError
from self_coding.values.edits import OnProgress, Progress

if TYPE_CHECKING:
    from self_coding.adapters.db import Sessions

PATIENCE = 2.0  # seconds: who only looks whether a lock is held may hold it for a moment
_LOOKS = 0.25  # seconds between two looks
TURN_PATIENCE = 1800.0  # for the turn to land; its holder may have been suspended
_FIRST_PAUSE, _LAST_PAUSE = 0.2, 0.02  # seconds between two looks at it
_LAST_ASKED = 0.1  # where each look asks a server
_ASKED = 1.0  # seconds between two looks at whether others have landed us meanwhile
_ASKS = 2.0  # seconds between two questions to the server whether the session still stands


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The process that works on a self-edit, and what it has told of it, oldest first."""

    pid: int
    program: str
    since: datetime
    told: tuple[Progress, ...] = ()

    def __str__(self) -> str:
        seconds = (datetime.now(UTC) - self.since).total_seconds()
        return f"process {self.pid} ({self.program}), for {seconds:.0f} s"


class Leases:
    """The leases of one repository, in a folder; and in `sessions`, where its journal has them."""

    def __init__(self, folder: Path, sessions: Sessions | None = None) -> None:
        self._folder = folder
        self.sessions = sessions

    def path(self, edit: str, kind: str = "lock") -> Path:
        """Return the file of a self-edit: its lock, its log, or the request to stop."""
        return self._folder / f"{edit}.{kind}"

    def turn(self, branch: str, *, patience: float = TURN_PATIENCE) -> LandingTurn:
        """Return the turn of those who land on a branch, to be taken."""
        name = f"landing-{hashlib.sha256(branch.encode()).hexdigest()[:16]}"
        return LandingTurn(self, name, patience)

    def holder(self, edit: str) -> Holder | None:
        """Return who works on a self-edit now."""
        path = self.path(edit)
        # The lock alone tells whether there is a holder: what a dead one wrote stays in the file.
        if not is_locked(path):
            return None
        told = []
        header: dict[str, object] = {}
        with suppress(OSError, ValueError, TypeError):
            # The last line may be half-written: what cannot be read ends the reading.
            for line in path.read_text(encoding="utf-8").splitlines():
                facts = json.loads(line)
                if header:
                    told.append(Progress(**facts))
                header = header or facts
        return Holder(
            pid=int(str(header.get("pid", 0))),
            program=str(header.get("program", "?")),
            since=datetime.fromtimestamp(float(str(header.get("since", 0))), UTC),
            told=tuple(told),
        )

    async def elsewhere(self, edits: Iterable[str]) -> Mapping[str, str]:
        """Return which of the self-edits a process holds by the journal's server, and who it is."""
        if self.sessions is None or not (asked := [*edits]):
            return {}
        return await in_thread(self.sessions.holders, asked)

    @asynccontextmanager
    async def hold(
        self, edit: str, *, patience: float, fresh: bool = False
    ) -> AsyncIterator[Lease | None]:
        """Work on a self-edit in this process alone; None where another one does.

        Args:
            edit: the self-edit.
            patience: seconds that another one is waited for.
            fresh: nobody has worked on it before.

        Raises:
            EditError: it was asked to stop meanwhile; the work inside was cancelled.
            StorageError: the session that held it is gone, and another may have taken it up.
        """
        end = asyncio.get_running_loop().time() + patience
        while (lock := await self.take(edit, fresh=fresh)) is None:
            if asyncio.get_running_loop().time() >= end:
                yield None
                return
            await asyncio.sleep(0.05)
        lease, task = Lease(lock), asyncio.current_task()
        assert task is not None
        self.path(edit, "stop").unlink(missing_ok=True)  # it was for whoever came before

        async def watch() -> None:
            waited = 0.0
            while not self.path(edit, "stop").exists():
                await asyncio.sleep(_LOOKS)
                waited += _LOOKS
                if self.sessions is not None and waited >= _ASKS:
                    waited = 0.0
                    # A server that is away says nothing of who holds it: the work goes on, and
                    # nothing of it can be stored until the claim is found to stand.
                    with suppress(StorageError):
                        if not await in_thread(self.sessions.holds, edit):
                            lease.ended = StorageError(
                                "the lease was lost with its connection",
                                hint="`resume` goes on where nobody else has taken it up",
                            )
                            break
            # Cancelled in its own process: it ends its commands and gives back what it holds, which
            # no signal from outside would do.
            lease.ended = lease.ended or EditError("the attempt was ended by `drop_edit`", hint="")
            task.cancel()

        watching = asyncio.create_task(watch())
        try:
            yield lease
        except (asyncio.CancelledError, StorageError) as error:
            if lease.ended is None:
                raise
            # The cancellation was ours, and ends here as an error: the caller's task goes on.
            task.uncancel()
            raise lease.ended from error
        finally:
            watching.cancel()
            await asyncio.wait([watching])  # it may be asking: no new session after ours
            await self.give_up(edit, lock)

    async def take(self, name: str, *, fresh: bool = False) -> FileLock | None:
        """Lock a name here, then at the server; None where another holds either."""
        lock = try_lock(self.path(name))
        if lock is None or self.sessions is None:
            return lock
        try:
            if await in_thread(self.sessions.claim, name, fresh=fresh):
                return lock
        except BaseException:
            # Cancelled, it may have been claimed all the same.
            await self.give_up(name, lock)
            raise
        lock.release()
        return None

    async def give_up(self, name: str, lock: FileLock) -> None:
        """Give a name up at the server, then here."""
        try:
            if self.sessions is not None:
                await in_thread(self.sessions.unclaim, name)
        finally:
            lock.release()

    async def stop(self, edit: str) -> None:
        """Have whoever works on a self-edit stop, and wait until it has."""
        request = self.path(edit, "stop")
        # Until the lock is gone, not until the request is seen: only then is nothing of it running.
        while self.holder(edit):
            request.touch()  # again: between two holders it would be lost
            await asyncio.sleep(_LOOKS)
        request.unlink(missing_ok=True)


class Lease:
    """A lease that is held: what happens is written into it, for others to read."""

    def __init__(self, lock: FileLock) -> None:
        self._lock = lock
        self.ended: SelfCodingError | None = None  # why the work was cut short
        program = Path(sys.argv[0]).name.replace("__main__.py", "self-coding")
        since = datetime.now(UTC).timestamp()
        self._write({"pid": os.getpid(), "program": program, "since": since})

    def telling(self, on_progress: OnProgress | None) -> OnProgress:
        """Return a listener that writes each step down before it passes it on."""

        def told(step: Progress) -> None:
            if step.step != "editing":  # what an editor prints may be long
                self._write(asdict(step))
            if on_progress is not None:
                on_progress(step)

        return told

    def _write(self, facts: dict[str, object]) -> None:
        self._lock.write(json.dumps(facts).encode() + b"\n")


class LandingTurn:
    """The turn to land: whose change was tested in vain lands next, undisturbed by the others.

    Without it a busy main starves whoever has the slower tests. It is a courtesy between our own
    processes, on all machines of one journal, and decides nothing: main moves by compare-and-swap
    alone, whoever holds the turn. It ends with the process; leaving the `async with` gives it up.
    """

    def __init__(self, leases: Leases, name: str, patience: float) -> None:
        self._leases = leases
        self._name = name
        self._patience = patience
        self._lock: FileLock | None = None

    async def __aenter__(self) -> LandingTurn:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.release()

    async def take(
        self,
        on_wait: Callable[[], None] = lambda: None,
        needless: Callable[[], Awaitable[bool]] | None = None,
    ) -> bool:
        """Hold the turn, or have waited for it long enough; return False where it was held before.

        `on_wait` is called when others have it, and now and then it is asked whether the turn is
        needless by now. Whoever has waited in vain does not wait again, and nobody waits for a
        file that cannot be locked.
        """
        if self._lock is not None:
            return False
        began, asked = time.monotonic(), -math.inf
        pause, last = _FIRST_PAUSE, _LAST_ASKED if self._leases.sessions else _LAST_PAUSE
        with suppress(StorageError):
            while (lock := await self._leases.take(self._name)) is None:
                now = time.monotonic()
                if now > began + self._patience:
                    self._patience = 0.0
                    break
                if pause == _FIRST_PAUSE:
                    on_wait()
                if needless and now > asked + _ASKED:
                    if await needless():
                        break
                    asked = now
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - who looks when
                pause = max(pause * 0.95, last)  # who has waited longer looks more often
            self._lock = lock
        return True

    async def release(self) -> None:
        """Give the turn up, if it is held."""
        if self._lock is not None:
            lock, self._lock = self._lock, None
            await self._leases.give_up(self._name, lock)
