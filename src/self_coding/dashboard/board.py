"""The board: the services behind the pages, and what is remembered between two of them.

Remembered is only what would cost too much to ask for anew: how the repository stands, what the
doctor said, the import graph. All of it can be thrown away.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Protocol

from self_coding.adapters.paths import FOLDER
from self_coding.adapters.threads import in_thread
from self_coding.app import App
from self_coding.dashboard.blast_map import BlastMap
from self_coding.errors import SelfCodingError
from self_coding.operations import NAMES
from self_coding.values.code import Impact
from self_coding.values.results import FleetStatus, Inbox, SuccessRates

_LOOK_SECONDS = 30.0  # for which a look at the files is good enough for a map
_FLEET_SECONDS = 5.0  # for which the queue is shown as it was
_REMEMBERED = 20  # drawings that are kept
_OPERATIONS = 500  # newest ones that are looked through for what was undone
_LOOKS = 1.0  # seconds between two looks at what may have changed


class Check(Protocol):
    """One thing that the doctor looked at."""

    @property
    def name(self) -> str:
        """What was looked at."""

    @property
    def state(self) -> str:
        """Return "ok", "note" or "fail"."""

    @property
    def told(self) -> str:
        """What was found."""

    @property
    def hint(self) -> str:
        """What to do about it."""


Examine = Callable[[], Awaitable[Sequence[Check]]]


@dataclass(frozen=True)
class Health:
    """What the doctor said, and when; empty while it is looking for the first time."""

    checks: Sequence[Check] = ()
    at: datetime | None = None


class Board:
    """The repository as the pages show it.

    Args:
        app: the repository's services.
        examine: looks at what self-coding needs here.
    """

    def __init__(self, app: App, examine: Examine) -> None:
        self.app = app
        self.health = Health()
        self.notices: dict[str, tuple[str, str]] = {}  # by session: what came of its last action
        self.listeners = 0
        self.is_stopping: Callable[[], bool] = lambda: False  # streams end then by themselves
        self._examine = examine
        self._examining: asyncio.Task[None] | None = None
        self._inbox: tuple[str, Inbox] | None = None
        self._rates: tuple[str, SuccessRates] | None = None
        self._fleet: tuple[float, FleetStatus] | None = None
        self._map: BlastMap | None = None
        self._drawings: dict[tuple[str, ...], bytes] = {}  # of that map, as the impacts
        self._impacts: dict[tuple[str, ...], Impact] = {}
        self._warming: asyncio.Task[None] | None = None
        self._caught_up = ""
        self._changed = asyncio.Condition()
        self._looking: asyncio.Task[None] | None = None
        self.mark = ""

    async def inbox(self) -> Inbox:
        """Return what needs a person; asked anew only where something has changed."""
        await self.catch_up()
        mark = await self.look()
        if self._inbox is None or self._inbox[0] != mark:
            self._inbox = (mark, await self.app.edit.inbox())
        return self._inbox[1]

    async def rates(self) -> SuccessRates:
        """Return statistics; asked anew only where something has changed."""
        mark = await self.look()
        if self._rates is None or self._rates[0] != mark:
            self._rates = (mark, await NAMES["success_rates"](self.app, None))
        return self._rates[1]

    @property
    def has_fleet(self) -> bool:
        """Whether there may be a queue: it is on the server that keeps the journal."""
        is_server = self.app.settings.database.startswith("postgres")
        return is_server and find_spec("procrastinate") is not None

    async def fleet(self) -> FleetStatus | None:
        """Return who works and what waits, as of a moment ago; None where no fleet is used."""
        if not self.has_fleet:
            return None
        if self._fleet is None or time.monotonic() - self._fleet[0] > _FLEET_SECONDS:
            self._fleet = (time.monotonic(), await self.app.fleet.workers())
        return self._fleet[1]

    def forget_inbox(self) -> None:
        """Ask anew what needs a person: something has changed that leaves no mark."""
        self._inbox = None

    async def catch_up(self) -> None:
        """Let the journal follow main's history, where main has moved."""
        with suppress(SelfCodingError):  # a repository without a main has nothing to follow
            main = await self.app.git.get_main_commit()
            if main != self._caught_up:
                await self.app.catch_up()
                self._caught_up = main

    async def undone(self) -> set[int]:
        """Return the attempts whose landing was taken back, among the newest operations."""
        done = await self.app.git.operations(_OPERATIONS)
        landings = [one for one in done if one.kind == "land" and one.attempt.isdigit()]
        return {int(one.attempt) for one in landings if one.undone}

    async def map(self) -> BlastMap:
        """Return the map of who imports whom, as of the last look or of at most half a minute ago.

        Looking at thousands of files costs as much as all else that a page does, and people look at
        one map after the other.
        """
        graph = await self.app.indexer.graph(max_age=_LOOK_SECONDS)
        if self._map is None or self._map.graph is not graph:
            self._map, self._drawings, self._impacts = BlastMap(graph), {}, {}
            # It stays as long as nothing changes: the collector of cycles would look through it at
            # any page, for 60 ms of thousands of files.
            gc.freeze()
        return self._map

    async def impact(self, paths: list[str]) -> Impact:
        """Return what a change of files can break, as `map` has it."""
        await self.map()
        kept, key = self._impacts, tuple(paths)
        if key not in kept:  # a page asks, and then its drawing
            kept[key] = await self.app.indexer.impact(paths=paths, max_age=_LOOK_SECONDS)
            while len(kept) > _REMEMBERED:
                del kept[next(iter(kept))]
        return kept[key]

    def warm(self) -> None:
        """Read the import graph before anybody asks for it: the first time takes longest."""

        async def read() -> None:
            with suppress(SelfCodingError):  # whoever asks is told
                await self.map()

        if self._warming is None:
            self._warming = asyncio.create_task(read())

    async def drawing(self, paths: list[str]) -> bytes:
        """Return what the map of a change of files is drawn from, as JSON."""
        drawn, key = await self.map(), tuple(paths)
        kept = self._drawings  # of this map: there may be another one when the impact is known
        if key not in kept:
            distances, tests = dict.fromkeys(paths, 0), tuple[str, ...]()
            if paths:
                impact = await self.impact(paths)
                distances |= {one.path: one.distance for one in impact.dependents}
                tests = impact.tests
            told = json.dumps(drawn.drawing(distances, tests), separators=(",", ":"))
            kept[key] = told.encode()
            while len(kept) > _REMEMBERED:
                del kept[next(iter(kept))]
        return kept[key]

    def examine(self) -> None:
        """Have the doctor look, without waiting for it; once at a time."""

        async def look() -> None:
            self.health = Health(await self._examine(), datetime.now(UTC))
            await self._tell(f"{self.mark}+")

        if self._examining is None or self._examining.done():
            self._examining = asyncio.create_task(look())

    @property
    def is_examining(self) -> bool:
        """Whether the doctor is looking right now."""
        return self._examining is not None and not self._examining.done()

    async def look(self) -> str:
        """Return a text that is another one whenever something that pages show has changed."""
        leases, common = self.app.common / FOLDER / "leases", self.app.common
        main = f"refs/heads/{self.app.settings.main_branch}"

        def stamps() -> list[str]:
            found = []
            seen = (common / main, common / "packed-refs", common / FOLDER / "errors")
            for path in (*seen, *sorted(leases.glob("*.lock"))):
                with suppress(OSError):
                    state = path.stat()
                    found.append(f"{path.name}:{state.st_mtime_ns}:{state.st_size}")
            return found

        # Whoever works on an attempt writes into its lease, and main moves with its file.
        seen = "|".join([await self.app.journal.mark(), *await in_thread(stamps)])
        return hashlib.sha256(seen.encode()).hexdigest()[:16]

    async def next_change(self, seen: str) -> str:
        """Wait until something has changed since the mark `seen`; return the new mark."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._watch())
        async with self._changed:
            await self._changed.wait_for(lambda: self.mark not in ("", seen))
            return self.mark

    async def _watch(self) -> None:
        while self.listeners:  # one looks for all, and nobody where nobody listens
            if self.is_stopping():
                await self._tell("stopping")
                return
            with suppress(SelfCodingError):
                mark = await self.look()
                if mark != self.mark.rstrip("+"):
                    await self._tell(mark)
            await asyncio.sleep(_LOOKS)

    async def _tell(self, mark: str) -> None:
        async with self._changed:
            self.mark = mark
            self._changed.notify_all()
