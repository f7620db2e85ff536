"""Who works on a self-edit: a lock that names its holder, and tells how far it has come.

The kernel drops a lock with its holder, however that dies; what the file says counts only while
it is held. The holder looks for a request to stop: nobody is killed. Where the journal is on a
server, its connection holds the self-edit as well, against workers on other machines.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
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
        self._sessions = sessions

    def path(self, edit: str, kind: str = "lock") -> Path:
        """Return the file of a self-edit: its lock, its log, or the request to stop."""
        return self._folder / f"{edit}.{kind}"

    def turn(self, branch: str) -> Path:
        """Return the file by which those take turns that land on a branch."""
        return self.path(f"landing-{hashlib.sha256(branch.encode()).hexdigest()[:16]}")

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
        if self._sessions is None or not (asked := [*edits]):
            return {}
        return await in_thread(self._sessions.holders, asked)

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
        lock = await self._taken(edit, patience, fresh=fresh)
        if lock is None:
            yield None
            return
        lease, task = Lease(lock), asyncio.current_task()
        assert task is not None
        self.path(edit, "stop").unlink(missing_ok=True)  # it was for whoever came before

        async def watch() -> None:
            waited = 0.0
            while not self.path(edit, "stop").exists():
                await asyncio.sleep(_LOOKS)
                waited += _LOOKS
                if self._sessions is not None and waited >= _ASKS:
                    waited = 0.0
                    # A server that is away says nothing of who holds it: the work goes on, and
                    # nothing of it can be stored until the claim is found to stand.
                    with suppress(StorageError):
                        if not await in_thread(self._sessions.holds, edit):
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
            try:
                if self._sessions is not None:
                    await asyncio.wait([watching])  # it may be asking: no new session after ours
                    await in_thread(self._sessions.unclaim, edit)
            finally:
                lock.release()

    async def _taken(self, edit: str, patience: float, *, fresh: bool) -> FileLock | None:
        """Lock a self-edit here, then at the server; None where another holds either."""
        end = asyncio.get_running_loop().time() + patience
        while True:
            lock = try_lock(self.path(edit))
            try:
                if lock is not None and (
                    self._sessions is None
                    or await in_thread(self._sessions.claim, edit, fresh=fresh)
                ):
                    return lock
            except BaseException:
                assert lock is not None
                lock.release()
                raise
            if lock is not None:
                lock.release()
            if asyncio.get_running_loop().time() >= end:
                return None
            await asyncio.sleep(0.05)

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
