"""Who works on a self-edit: a lock that names its holder, and tells how far it has come.

The kernel drops a lock with its holder, however that dies; what the file says counts only while
it is held. The holder looks for a request to stop: nobody is killed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from self_coding.adapters.file_lock import FileLock, is_locked, try_lock
from self_coding.errors import EditError
from self_coding.values.edits import OnProgress, Progress

PATIENCE = 2.0  # seconds: who only looks whether a lock is held may hold it for a moment
_LOOKS = 0.25  # seconds between two looks


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
    """The leases of one repository, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

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

    @asynccontextmanager
    async def hold(self, edit: str, *, patience: float) -> AsyncIterator[Lease | None]:
        """Work on a self-edit in this process alone; None where another one does.

        Raises:
            EditError: it was asked to stop meanwhile; the work inside was cancelled.
        """
        loop, lock = asyncio.get_running_loop(), try_lock(self.path(edit))
        end = loop.time() + patience
        while lock is None and loop.time() < end:
            await asyncio.sleep(0.05)
            lock = try_lock(self.path(edit))
        if lock is None:
            yield None
            return
        lease, task = Lease(lock), asyncio.current_task()
        self.path(edit, "stop").unlink(missing_ok=True)  # it was for whoever came before

        async def watch() -> None:
            while not self.path(edit, "stop").exists():  # noqa: ASYNC110 - another process asks
                await asyncio.sleep(_LOOKS)
            lease.stopped = True
            assert task is not None
            # Cancelled in its own process: it ends its commands and gives back what it holds, which
            # no signal from outside would do.
            task.cancel()

        watching = asyncio.create_task(watch())
        try:
            yield lease
        except asyncio.CancelledError as error:
            if not lease.stopped:
                raise
            assert task is not None
            # The cancellation was ours, and ends here as an error: the caller's task goes on.
            task.uncancel()
            raise EditError("the attempt was ended by `drop_edit`", hint="") from error
        finally:
            watching.cancel()
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
        self.stopped = False
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
