"""Tell somebody outside that something needs them: by a command, or by a web address.

A notice is told, never asked: what it answers is not read, and whatever goes wrong comes back as a
text. It takes no longer than it may, so that nobody waits for it.
"""

from __future__ import annotations

import http.client
import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from self_coding.adapters import process
from self_coding.errors import ProcessError
from self_coding.text import first_line

#: All that a command is given of our environment: how to find programs, whom to show it and in
#: which language. Keys and tokens are under other names, and stay here.
PASSED_ON = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "DISPLAY",
             "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")  # fmt: skip


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: what is told is for the address that was set."""

    def redirect_request(self, *args: object, **more: object) -> None:
        return None


@dataclass(frozen=True)
class Notices:
    """The ways that are set, each bounded by so many seconds."""

    command: str
    url: str
    seconds: float
    folder: Path

    def send(self, notice: Mapping[str, object]) -> str:
        """Send a notice by each way; return what went wrong, empty for nothing."""
        data = json.dumps(notice, ensure_ascii=True).encode()
        wrong = []
        if self.command:
            wrong.append(self._by_command(data))
        if self.url:
            said = ["the address did not answer in time"]

            def post() -> None:
                said[0] = self._by_address(data)

            # A thread that is left behind: a server may send a byte a minute for ever, which no
            # time limit of a socket notices.
            thread = threading.Thread(target=post, daemon=True)
            thread.start()
            thread.join(self.seconds)
            wrong.append(said[0])
        return "; ".join(filter(None, wrong))

    def _by_command(self, data: bytes) -> str:
        env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        words = ("/bin/sh", "-c", self.command)
        try:
            done = process.run(
                words, cwd=self.folder, env=env, stdin=data, timeout=self.seconds, limit=4096
            )
        except ProcessError as error:
            return error.message
        if done.timed_out:
            return f"the command was ended after {self.seconds:g} s"
        said = first_line(done.stderr.decode(errors="replace"), 200)
        return f"the command ended with {done.returncode}: {said}" if done.returncode else ""

    def _by_address(self, data: bytes) -> str:
        if not self.url.startswith(("http://", "https://")):
            return "the address is neither http:// nor https://"
        kind = {"Content-Type": "application/json", "User-Agent": "self-coding"}
        try:
            request = urllib.request.Request(self.url, data, kind, method="POST")  # noqa: S310
            opener = urllib.request.build_opener(_Stay)
            with opener.open(request, timeout=self.seconds):
                return ""
        except urllib.error.HTTPError as error:
            return f"the address answered {error.code}"
        except (OSError, ValueError, http.client.HTTPException) as error:
            # Never with the address: a webhook's is a secret.
            return f"the address cannot be reached: {type(error).__name__}"
