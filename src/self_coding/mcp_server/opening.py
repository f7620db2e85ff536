"""Serve stdio: what a client asks at first is answered from a record, the SDK loaded for a call.

Importing the SDK is most of what a start costs, and most sessions only look at the list of tools.
What is asked then has one answer in every process of an installation, whatever the repository. So
the SDK is asked once, in each version of the protocol, and its answers are kept in the user's cache
until a package changes. Whatever the record does not hold goes to the SDK itself, which is first
given what the client has sent so far: nothing of the protocol is decided here.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import queue
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from self_coding.adapters.files import replace_file
from self_coding.errors import MissingExtraError
from self_coding.mcp_server import build

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

    from self_coding.app import App

Answers = dict[str, dict[str, Any]]  # of each version, of each method
_LISTS = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")
_VERSION = "io.modelcontextprotocol/protocolVersion"  # since 2026-07-28 every request carries these
_CLIENT = "io.modelcontextprotocol/clientInfo"
_CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
_INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}
_KEPT = 8  # records, of as many installations


def cache() -> Path:
    """Return the folder of the user's cache where the record is kept."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home, "self-coding")


def serve(app: App) -> None:
    """Serve MCP on standard input and output until the client goes.

    Raises:
        MissingExtraError: the extra `mcp` is not installed.
    """
    answers = recorded(app, cache())
    wire, out = os.dup(0), os.dup(1)
    # What a child of ours reads or prints is not the client's: the wire is ours alone.
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    receive = partial(os.read, wire, 1 << 16)

    def send(data: bytes) -> None:
        with suppress(BrokenPipeError):  # the client is gone: the end of its input ends us, too
            while data:
                data = data[os.write(out, data) :]

    held, version = b"", ""
    sent: dict[object, bytes] = {}  # by their ids: what decides the version, for the SDK
    while chunk := receive():
        held += chunk
        while b"\n" in held:
            line, end, rest = held.partition(b"\n")
            message: Any = {}
            with suppress(ValueError, RecursionError):
                message = json.loads(line)
            message = message if isinstance(message, dict) else {}
            is_known = message == _INITIALIZED and bool(version)
            result = None if is_known else _look_up(message, version, answers)
            if result is None and not is_known:
                first = b"".join([*sent.values(), held])
                with _standard_streams(_Reader(first, receive), _Writer(send, {*sent} - {""})):
                    build(app).run("stdio")
                return
            if result is not None:
                answer = {"jsonrpc": "2.0", "id": message["id"], "result": result[1]}
                send(json.dumps(answer, ensure_ascii=False).encode() + b"\n")
                version = result[0]
            if is_known or not sent:
                sent[message.get("id", "")] = line + end
            held = rest


def _look_up(
    message: dict[str, Any], version: str, answers: Answers
) -> tuple[str, dict[str, Any]] | None:
    """Return the version that a request is in and its result; None if it is the SDK's to answer.

    The record holds for requests that are sound and ask for nothing in particular.
    """
    try:
        params = message.get("params", {})
        meta = params.get("_meta", {})
        if opens := message["method"] == "initialize":
            asked = params["protocolVersion"]
            said = [params["clientInfo"], params["capabilities"]]
        else:
            asked = meta.get(_VERSION, version)
            said = [meta[_CLIENT], meta[_CAPABILITIES]] if _VERSION in meta else []
        has_opening = "initialize" in answers[asked]
        is_sound = (
            message["jsonrpc"] == "2.0"
            and type(message["id"]) in (int, str)
            and (opens != bool(version) if has_opening else version in ("", asked))
            and (_VERSION in meta) != has_opening
            and (opens or params.keys() <= {"_meta"})
            and all(isinstance(one, dict) for one in said)
            and all(isinstance(said[0][name], str) for name in ("name", "version") if said)
        )
        return (asked, answers[asked][message["method"]]) if is_sound else None
    except (LookupError, TypeError, AttributeError):
        return None


# -- the record -------------------------------------------------------------------------------


def recorded(app: App, folder: Path) -> Answers:
    """Return the SDK's answers to what clients ask at first; asked for now if need be."""
    spec = find_spec("mcp")
    if spec is None or spec.origin is None:
        raise MissingExtraError("mcp", "the MCP server")
    # Names of the installed distributions hold their versions; reading those costs more.
    facts: list[object] = [sys.version]
    facts += sorted(one.name for one in Path(spec.origin).parents[1].glob("*.dist-info"))
    for file in sorted(Path(__file__).parents[1].rglob("*.py")):
        status = file.stat()
        facts.append((str(file), status.st_mtime_ns, status.st_size))
    name = f"opening-{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}.json"
    with suppress(OSError, ValueError):
        held = json.loads((folder / name).read_bytes())
        if isinstance(held, dict):
            return held
    answers = _ask(build(app))
    with suppress(OSError):  # a cache that cannot be written costs time alone
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / name, json.dumps(answers))
        kept = sorted(folder.glob("opening-*.json"), key=lambda file: file.stat().st_mtime)
        for file in kept[:-_KEPT]:
            file.unlink()
    return answers


def _ask(server: MCPServer[object]) -> Answers:
    """Ask the SDK, over the wire that clients use, in each version that it serves."""
    from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, SUPPORTED_PROTOCOL_VERSIONS

    info = {"name": "self-coding", "version": "1"}
    answers: Answers = {}
    for version in SUPPORTED_PROTOCOL_VERSIONS:
        if version in HANDSHAKE_PROTOCOL_VERSIONS:
            opening: Any = {"protocolVersion": version, "capabilities": {}, "clientInfo": info}
            asked = {"initialize": opening} | {method: {} for method in ("ping", *_LISTS)}
        else:
            meta: dict[str, Any] = {"_meta": {_VERSION: version, _CLIENT: info, _CAPABILITIES: {}}}
            asked = dict.fromkeys(("server/discover", *_LISTS), meta)
        answers[version] = _converse(server, asked)
    return answers


def _converse(server: MCPServer[object], asked: Mapping[str, object]) -> dict[str, Any]:
    """Return the results of requests, sent one after the other to the server's stdio."""
    results: dict[str, Any] = {}
    waiting = iter([*asked.items()])
    wire: queue.Queue[bytes] = queue.Queue()

    def send() -> None:
        method, params = next(waiting, ("", {}))
        message = {"jsonrpc": "2.0", "id": method, "method": method, "params": params}
        wire.put(json.dumps(message).encode() + b"\n" if method else b"")

    def receive(line: bytes) -> None:
        answer = json.loads(line)
        if "result" in answer:
            results[answer["id"]] = answer["result"]
        if answer.get("id") == "initialize":
            wire.put(json.dumps(_INITIALIZED).encode() + b"\n")
        send()

    send()
    with _standard_streams(_Reader(b"", wire.get), _Writer(receive, set())):
        server.run("stdio")
    return results


# -- the wire ---------------------------------------------------------------------------------


class _Reader(io.RawIOBase):
    """Standard input for the SDK: some bytes that were read already, then what comes."""

    def __init__(self, first: bytes, more: Callable[[], bytes]) -> None:
        self._held, self._more = first, more

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._held = self._held or self._more()
        count = min(len(buffer), len(self._held))
        buffer[:count], self._held = self._held[:count], self._held[count:]
        return count


class _Writer(io.RawIOBase):
    """Standard output for the SDK: whole lines, without the answers that the client has."""

    def __init__(self, send: Callable[[bytes], object], known: set[object]) -> None:
        self._send, self._known, self._held = send, known, b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        *lines, self._held = (self._held + bytes(data)).split(b"\n")
        for line in lines:
            answered = json.loads(line).get("id", "") if self._known else ""
            if answered in self._known:
                self._known.discard(answered)
            else:
                self._send(line + b"\n")
        return len(data)


@contextmanager
def _standard_streams(reader: io.RawIOBase, writer: io.RawIOBase) -> Iterator[None]:
    """Have the SDK, which serves what `sys` names, serve these."""
    held = sys.stdin, sys.stdout
    sys.stdin = io.TextIOWrapper(io.BufferedReader(reader))
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(writer))
    try:
        yield
    finally:
        sys.stdin, sys.stdout = held
