"""The way from the judged process to the gate: lines of JSON, numbered and signed.

Each line carries a keyed checksum over its place, so that one that is forged, lost or repeated
shows; the key is read from a pipe before any file of the tree is imported, and children do not
inherit the way back. Code in the same process can defeat this: the audit is the other half.
"""

from __future__ import annotations

import hashlib
import json
import os
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ENVIRONMENT = "SELF_CODING_REPORT"
KEY_BYTES = 32
TEXT = 600  # characters of a message
CALLS = 40  # of a traceback: the innermost ones
CHUNK = 200  # ids in one line


class Channel:
    """One session's report."""

    def __init__(self, reading: int, writing: int) -> None:
        # From a pipe: an environment or a file could still be read by the tree's code.
        self._key = os.read(reading, KEY_BYTES)
        os.close(reading)
        self._fd = os.dup(writing)  # not inherited by children, as the original is
        os.close(writing)
        # The functions as they are now: a test may replace them.
        self._write, self._getpid = os.write, os.getpid
        self._encode = json.JSONEncoder(separators=(",", ":")).encode
        self._blake, self._owner, self._number = hashlib.blake2b, os.getpid(), 0

    def send(self, kind: str, value: object) -> None:
        # By the function kept above: a test that replaces os.getpid could speak as the process.
        if self._getpid() != self._owner:
            return  # a fork of the test process is not the test process
        body = self._encode([self._number, kind, value]).encode()
        self._number += 1
        # Over the number as well: a line that is repeated or left out breaks the order.
        mac = self._blake(body, digest_size=8, key=self._key).hexdigest().encode()
        line = self._key[:4].hex().encode() + b" " + mac + b" " + body + b"\n"
        # A pipe may take less than all of it at once.
        while line:
            line = line[self._write(self._fd, line) :]

    def collected(self, ids: Iterable[str]) -> None:
        names = list(ids)
        for start in range(0, len(names), CHUNK):
            self.send("collected", names[start : start + CHUNK])


def open_channel(runner: str) -> tuple[Channel | None, dict[str, object]]:
    """The channel and the settings of this process; None where the gate started something else."""
    # Popped, so that what the tests start does not report beside them.
    value = os.environ.pop(ENVIRONMENT, "")
    if not value:
        return None, {}
    reading, writing, path = value.split(",", 2)
    try:
        channel = Channel(int(reading), int(writing))
        with open(path, encoding="utf-8") as file:
            settings = json.load(file)
    except (OSError, ValueError):
        return None, {}
    channel.send("hello", {"runner": runner})
    return channel, settings


def failure_parts(
    error: BaseException, top: str, hidden: tuple[str, ...] = (), message: str = ""
) -> list[object]:
    """Where an exception was raised, what it says, and the calls on the way there.

    The runner's text has no functions and ends inside unittest; what it hides is left out, too.
    """

    def inside(path: str) -> str:
        return path[len(top) + 1 :] if top and path.startswith(top + os.sep) else path

    # By the frames' own objects: text of a traceback can be changed by whoever prints it.
    calls = []
    for frame, line in traceback.walk_tb(error.__traceback__):
        path = frame.f_code.co_filename
        unseen = "__unittest" in frame.f_globals or frame.f_locals.get("__tracebackhide__") is True
        if not unseen and not path.startswith((*hidden, "<frozen importlib", "<self-coding")):
            calls.append([inside(path), line, frame.f_code.co_name])
    place = calls[-1][:2] if calls else ["", 0]
    if isinstance(error, SyntaxError) and os.path.isabs(error.filename or ""):
        place = [inside(error.filename or ""), error.lineno or 0]
    message = message or "".join(traceback.format_exception_only(type(error), error))
    return [*place, message.strip()[:TEXT], calls[-CALLS:]]
