"""Run command lines of ours in real processes that need not load what another one has loaded.

A server, one for each process of the tests, has imported our modules and forks. Arguments,
environment, folder, streams and exit status are those of a process started anew. What a test says
about the start itself (what it loads, how it is found) is tested without this.
"""

from __future__ import annotations

import atexit
import json
import os
import pkgutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path

_APART = ("dashboard", "gate.observer", "adapters.supervisor", "__main__")


def run(
    *words: str, cwd: Path | None = None, env: Mapping[str, str] | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run `self-coding WORDS`; the result is that of `subprocess.run` with text captured."""
    with (
        tempfile.TemporaryFile("w+") as given,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
    ):
        given.write(stdin)
        given.seek(0)
        streams = [one.fileno() for one in (given, out, err)]
        status = ended(start("cli", words, streams, cwd=cwd, env=env))
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read())
    return subprocess.CompletedProcess(words, status, *texts)


def start(
    entry: str,
    words: Sequence[str],
    streams: Sequence[int],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> socket.socket:
    """Start the command line ("cli") or the MCP SDK's server ("sdk"), one at a time."""
    request = {
        "entry": entry,
        "argv": ["self-coding", *words],
        "cwd": str(cwd or Path.cwd()),
        "env": dict(os.environ if env is None else env),
    }
    server = _server(entry)
    socket.send_fds(server, [json.dumps(request).encode()], list(streams))
    return server


def ended(server: socket.socket) -> int:
    """Wait for what was started there; return its exit status."""
    return int(server.recv(100))


@cache
def _server(entry: str) -> socket.socket:
    ours, its = socket.socketpair(type=socket.SOCK_SEQPACKET)
    words = [sys.executable, __file__, entry, str(its.fileno())]
    process = subprocess.Popen(words, pass_fds=[its.fileno()])
    its.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    ours.settimeout(150)
    return ours


def _serve(entry: str, number: int) -> None:
    import self_coding

    apart = _APART if entry == "sdk" else (*_APART, "mcp_server")
    for module in pkgutil.walk_packages(self_coding.__path__, "self_coding."):
        if not module.name.removeprefix("self_coding.").startswith(apart):
            import_module(module.name)
    if entry == "sdk":
        import mcp.server.stdio  # noqa: F401
    connection = socket.socket(fileno=number)
    while True:
        data, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
        if not data:
            return
        child = os.fork()
        if not child:
            connection.close()
            _become(json.loads(data), streams)
            return
        for one in streams:
            os.close(one)
        _, status = os.waitpid(child, 0)
        connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())


def _become(request: dict[str, object], streams: list[int]) -> None:
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = request["argv"]
    for number, opened in enumerate(streams):
        os.dup2(opened, number)
        os.close(opened)
    if request["entry"] == "cli":
        from self_coding.cli import main

        main()
    from self_coding.app import open_app
    from self_coding.mcp_server import build

    build(open_app()).run("stdio")


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
