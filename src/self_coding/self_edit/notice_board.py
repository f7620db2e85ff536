"""Which moments of an attempt a person is told of, and that it is recorded that they were."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeAlias

from self_coding.adapters.threads import in_thread
from self_coding.errors import SelfCodingError
from self_coding.self_edit import views
from self_coding.self_edit.history import NOTICED, History
from self_coding.self_edit.lifecycle import Step, decide
from self_coding.self_edit.ports import Services

Send: TypeAlias = Callable[[Mapping[str, object]], str]
"""Sends a notice; returns what went wrong, and raises nothing."""


class NoticeBoard:
    """Sends notices of what needs a person.

    Args:
        services: the services of the repository.
        send: sends one; None where nobody is to be told.
    """

    def __init__(self, services: Services, send: Send | None) -> None:
        self._services = services
        self._send = send

    async def of_attempt(self, attempt: History) -> None:
        """Tell of an attempt that has gone as far as it goes by itself, if it needs a person."""
        if self._send is None:
            return
        if decide(attempt) is Step.APPROVE:
            kind, state, following = "approval", "waits for approval", f"land-edit {attempt.id}"
        elif views.stage_of(attempt) == "environment":
            before = await self._services.journal.lines(before=attempt.id, limit=1)
            if before and before[0].stage == "environment":
                return  # told already
            kind, state, following = "environment", "could not be tested here", "doctor"
        else:
            return
        text = f"attempt {attempt.id} {state}: {views.subject(attempt.task)}"
        await self.tell(kind, text, f"self-coding {following}", attempt.id)

    async def tell(self, kind: str, text: str, following: str, attempt: int = 0) -> None:
        """Send a notice; that it was sent, or why not, is recorded on its attempt.

        Args:
            kind: of what, as the inbox names it.
            text: what is the matter, in one line.
            following: the next command.
            attempt: whose it is, if anybody's.
        """
        if self._send is None:
            return
        name = self._services.repository.top.name
        told = {"text": f"{name}: {text}", "kind": kind, "repository": name, "next": following}
        wrong = await in_thread(self._send, {**told, "attempt": attempt or None})
        if attempt:
            with suppress(SelfCodingError):  # its end is stored; this is a remark on it
                facts = {"of": kind, "failed": wrong}
                await self._services.journal.append(attempt, NOTICED, {**facts})
