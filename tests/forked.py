"""Run programs of ours in real processes that need not load what another one has loaded.

A server, one for each process of the tests, has imported our modules and the MCP SDK, and forks.
Arguments, environment, folder, streams and exit status are those of a process started anew. What a
test says about the start itself (what it loads, how it is found), or about who is killed, it tests
without this.
"""

from __future__ import annotations

import array
import atexit
import json
import os
import socket
import subprocess
import sys
import tempfile

PROGRAM = os.path.abspath(__file__)
_APART = ("dashboard", "gate.observer", "adapters.supervisor", "__main__")


def run(
    *words: str, cwd: object = None, env: dict[str, str] | None = None, stdin: str = ""
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
        status = ended(start(["cli", *words], streams, cwd=cwd, env=env))
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read())
    return subprocess.CompletedProcess(words, status, *texts)


def command(*words: str) -> list[str]:
    """Return a command that does as `self-coding WORDS`, for who starts processes by commands."""
    return [sys.executable, "-I", "-S", PROGRAM, "relay", _address(), "cli", *words]


def start(
    words: list[str], streams: list[int], *, cwd: object = None, env: dict[str, str] | None = None
) -> socket.socket:
    """Start "cli" with arguments, or "sdk": the MCP server as it is without our record."""
    return _asked(_address(), words, streams, str(cwd or os.getcwd()), dict(env or os.environ))


def ended(connection: socket.socket) -> int:
    """Wait for what was started; return its exit status."""
    with connection:
        return int(connection.recv(100) or -9)


def _asked(
    address: str, words: list[str], streams: list[int], cwd: str, env: dict[str, str]
) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(150)
    connection.connect(address)
    request = json.dumps({"words": words, "cwd": cwd, "env": env}).encode()
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", streams))
    connection.sendmsg([request], [rights])
    return connection


_started: list[str] = []


def _address() -> str:
    if not _started:
        folder = tempfile.TemporaryDirectory(prefix="forked-")
        address = os.path.join(folder.name, "socket")
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listening.bind(address)
        listening.listen()
        alive, its = os.pipe()
        argv = [sys.executable, PROGRAM, "serve", str(listening.fileno()), str(alive)]
        process = subprocess.Popen(argv, pass_fds=[listening.fileno(), alive])
        os.close(alive)
        listening.close()

        def end() -> None:
            os.close(its)  # the server ends when nobody holds this any more
            process.wait()
            folder.cleanup()

        atexit.register(end)
        _started.append(address)
    return _started[0]


def _serve(listening: socket.socket, alive: int) -> None:
    import gc
    import pkgutil
    import select
    import signal
    from importlib import import_module

    import mcp.server.stdio  # noqa: F401

    import self_coding

    for module in pkgutil.walk_packages(self_coding.__path__, "self_coding."):
        if not module.name.removeprefix("self_coding.").startswith(_APART):
            import_module(module.name)
    gc.collect()
    gc.freeze()  # or a collection in each child would copy every page
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while alive not in select.select([listening, alive], [], [])[0]:
        connection = listening.accept()[0]
        if not os.fork():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listening.close()
            os.close(alive)
            _answer(connection)
            return
        connection.close()


def _answer(connection: socket.socket) -> None:
    data, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    child = os.fork()
    if not child:
        connection.close()
        status = 0
        try:
            _become(json.loads(data), streams)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1 if end.code else 0
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # to tear down all modules would take longer than the command
    for one in streams:
        os.close(one)
    _, status = os.waitpid(child, 0)
    connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())


def _become(request: dict[str, object], streams: list[int]) -> None:
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    entry, *words = request["words"]
    sys.argv = ["self-coding", *words]
    for number, opened in enumerate(streams):
        os.dup2(opened, number)
        os.close(opened)
    if entry == "cli":
        from self_coding.cli import main

        main()
    from self_coding.app import open_app
    from self_coding.mcp_server import build

    build(open_app()).run("stdio")
    sys.exit()


if __name__ == "__main__":
    role, where, *rest = sys.argv[1:]
    if role == "relay":
        made = _asked(where, rest, [0, 1, 2], os.getcwd(), dict(os.environ))
        made.settimeout(None)
        for stream in (0, 1):
            os.close(stream)
        sys.exit(ended(made))
    _serve(socket.socket(fileno=int(where)), int(rest[0]))
