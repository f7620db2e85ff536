"""A server on loopback that plays a model to real clients: four protocols, one script.

A script is a list of steps. Which one is next is told by the conversation that a request carries:
the number of tool results in it. A step gets these results and the names of the tools on offer and
answers with a call or with a text, so the same script plays Claude Code (Anthropic's messages),
OpenCode (OpenAI's chat completions), Codex (OpenAI's responses) and Gemini CLI (generateContent).
A tool that is not on offer is looked for first (Claude Code's ToolSearch), or waited for with the
client's shell (Codex asks before its servers have started). Requests without tools get a title.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Json = dict[str, object]

_PATIENCE = 20  # calls that only wait for a tool to be offered


@dataclass(frozen=True)
class Call:
    """A tool to call, by the end of its name: clients put their own words before ours."""

    tool: str
    arguments: Json


@dataclass(frozen=True)
class Turn:
    """What a step may look at: the results so far, and the names of the tools on offer."""

    results: list[str]
    tools: list[str]
    kinds: dict[str, str] = field(default_factory=dict)


Step = Callable[[Turn], "Call | str"]


@dataclass
class Script:
    """The steps, and what the client was seen to send."""

    steps: Sequence[Step]
    url: str = ""
    asked: list[tuple[str, Json]] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    tools: list[str] = field(default_factory=list)
    waits: set[int] = field(default_factory=set)

    def answer(self, turn: Turn) -> Call | str:
        """The next step's answer; a finished script has nothing more to do."""
        if not turn.tools:
            return "A title"
        self.tools = turn.tools
        told = [text for at, text in enumerate(turn.results) if at not in self.waits]
        self.results = max(self.results, told, key=len)
        if len(told) >= len(self.steps):
            return "Done."
        answer = self.steps[len(told)](Turn(told, turn.tools))
        if isinstance(answer, str):
            return answer
        name = _full(answer.tool, turn.tools)
        if name not in turn.tools and len(self.waits) < _PATIENCE:
            for waiting in _waiting(answer.tool):
                if waiting.tool in turn.tools:
                    self.waits.add(len(turn.results))
                    return waiting
        return Call(name, answer.arguments)


def _waiting(tool: str) -> tuple[Call, ...]:
    """What a client can do about a tool that it does not offer yet."""
    search = {"query": f"select:mcp__self-coding__{tool}", "max_results": 3}
    return (
        Call("ToolSearch", search),
        Call("exec_command", {"cmd": "sleep 1"}),
        Call("bash", {"command": "sleep 1", "description": "wait"}),
    )


def _full(tool: str, offered: list[str]) -> str:
    """The tool's name as this client calls it."""
    exact = [name for name in offered if name == tool]
    ends = sorted((name for name in offered if name.endswith(tool)), key=len)  # undo, not plan_undo
    return (exact or ends or [tool])[0]


def _items(value: object) -> list[Json]:
    """The objects of a list; nothing where it is none."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(value: object) -> str:
    """A content as text, whether it is one or a list of parts."""
    if isinstance(value, str):
        return value
    return "\n".join(str(part.get("text", "")) for part in _items(value))


class Anthropic:
    """The Messages API, streamed."""

    path = "/v1/messages"

    def turn(self, body: Json) -> Turn:
        """Results are `tool_result` blocks of the user's messages."""
        results = [
            _text(block.get("content"))
            for message in _items(body.get("messages"))
            for block in _items(message.get("content"))
            if block.get("type") == "tool_result"
        ]
        names = [str(tool["name"]) for tool in _items(body.get("tools"))]
        return Turn(results, names)

    def reply(self, body: Json, answer: Call | str, number: int) -> Iterator[tuple[str, Json]]:
        """The events of one message."""
        usage = {"input_tokens": 10, "output_tokens": 5}
        message: Json = {
            "id": f"msg_{number}", "type": "message", "role": "assistant", "content": [],
            "model": body.get("model"), "stop_reason": None, "stop_sequence": None, "usage": usage,
        }  # fmt: skip
        yield "message_start", {"message": message}
        if isinstance(answer, str):
            block: Json = {"type": "text", "text": ""}
            delta: Json = {"type": "text_delta", "text": answer}
        else:
            block = {"type": "tool_use", "id": f"toolu_{number}", "name": answer.tool, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(answer.arguments)}
        yield "content_block_start", {"index": 0, "content_block": block}
        yield "content_block_delta", {"index": 0, "delta": delta}
        yield "content_block_stop", {"index": 0}
        reason = "end_turn" if isinstance(answer, str) else "tool_use"
        yield "message_delta", {"delta": {"stop_reason": reason, "stop_sequence": None},
                                "usage": usage}  # fmt: skip
        yield "message_stop", {}


class Chat:
    """OpenAI's chat completions, streamed."""

    path = "/v1/chat/completions"

    def turn(self, body: Json) -> Turn:
        """Results are the messages of the role `tool`."""
        results = [
            _text(one.get("content"))
            for one in _items(body.get("messages"))
            if one.get("role") == "tool"
        ]
        functions = [tool.get("function") for tool in _items(body.get("tools"))]
        return Turn(results, [str(one["name"]) for one in _items(functions)])

    def reply(self, body: Json, answer: Call | str, number: int) -> Iterator[tuple[str, Json]]:
        """The chunks of one completion."""
        if isinstance(answer, str):
            delta: Json = {"role": "assistant", "content": answer}
        else:
            function = {"name": answer.tool, "arguments": json.dumps(answer.arguments)}
            call = {"index": 0, "id": f"call_{number}", "type": "function", "function": function}
            delta = {"role": "assistant", "content": None, "tool_calls": [call]}
        end = "stop" if isinstance(answer, str) else "tool_calls"
        frame: Json = {
            "id": f"chat_{number}", "object": "chat.completion.chunk", "created": 0,
            "model": body.get("model"),
        }  # fmt: skip
        yield "", {**frame, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        last = {"index": 0, "delta": {}, "finish_reason": end}
        yield "", {**frame, "choices": [last], "usage": usage}


class Responses:
    """OpenAI's responses, streamed."""

    path = "/v1/responses"

    def turn(self, body: Json) -> Turn:
        """Results are the outputs of calls; tools may stand in namespaces or be free text."""
        results = [
            _text(one.get("output"))
            for one in _items(body.get("input"))
            if str(one.get("type")).endswith("_call_output")
        ]
        names, kinds = [], {}
        for tool in _items(body.get("tools")):
            inner = _items(tool.get("tools"))
            for one in inner or [tool]:
                name = str(one.get("name"))
                names.append(name)
                kinds[name] = str(tool.get("name")) if inner else str(one.get("type"))
                kinds[name] = ("namespace:" if inner else "") + kinds[name]
        return Turn(results, names, kinds)

    def reply(self, body: Json, answer: Call | str, number: int) -> Iterator[tuple[str, Json]]:
        """The events of one response."""
        kinds = self.turn(body).kinds
        if isinstance(answer, str):
            item: Json = {
                "type": "message", "role": "assistant", "id": f"m{number}",
                "content": [{"type": "output_text", "text": answer}],
            }  # fmt: skip
        else:
            item = {
                "type": "function_call", "call_id": f"call_{number}", "name": answer.tool,
                "arguments": json.dumps(answer.arguments),
            }  # fmt: skip
            kind = kinds.get(answer.tool, "")
            if kind.startswith("namespace:"):
                item["namespace"] = kind.removeprefix("namespace:")
            if kind == "custom":
                item = {
                    "type": "custom_tool_call", "call_id": f"call_{number}",
                    "name": answer.tool, "input": answer.arguments["input"],
                }  # fmt: skip
        usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
        yield "response.created", {"response": {"id": f"r{number}"}}
        yield "response.output_item.done", {"output_index": 0, "item": item}
        yield "response.completed", {"response": {"id": f"r{number}", "usage": usage}}


class Gemini:
    """Google's generateContent, streamed or not."""

    path = "/v1beta/models/"

    def turn(self, body: Json) -> Turn:
        """Results are the `functionResponse` parts of the contents."""
        results = [
            json.dumps(part["functionResponse"])
            for content in _items(body.get("contents"))
            for part in _items(content.get("parts"))
            if "functionResponse" in part
        ]
        names = [
            str(one["name"])
            for tool in _items(body.get("tools"))
            for one in _items(tool.get("functionDeclarations"))
        ]
        return Turn(results, names)

    def reply(self, body: Json, answer: Call | str, number: int) -> Iterator[tuple[str, Json]]:
        """The one chunk of one answer."""
        part: Json = (
            {"text": answer}
            if isinstance(answer, str)
            else {"functionCall": {"name": answer.tool, "args": answer.arguments}}
        )
        content = {"role": "model", "parts": [part]}
        candidate = {"content": content, "finishReason": "STOP", "index": 0}
        usage = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
        yield "", {"candidates": [candidate], "usageMetadata": usage}


PROTOCOLS = (Anthropic(), Chat(), Responses(), Gemini())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        try:
            body = json.loads(data or b"{}")
        except ValueError:
            body = {}
        self.script.asked.append((self.path, body))
        spoken = [one for one in PROTOCOLS if path.startswith(one.path)]
        if not spoken or path.endswith(("count_tokens", ":countTokens")):
            self._send(json.dumps({"input_tokens": 10, "totalTokens": 10}).encode(), "json")
            return
        protocol = spoken[0]
        answer = self.script.answer(protocol.turn(body))
        events = list(protocol.reply(body, answer, len(self.script.asked)))
        if path.endswith(":generateContent"):
            self._send(json.dumps(events[0][1]).encode(), "json")
            return
        lines = "".join(
            (f"event: {name}\n" if name else "")
            + f"data: {json.dumps({'type': name, **told} if name else told)}\n\n"
            for name, told in events
        )
        end = "data: [DONE]\n\n" if isinstance(protocol, Chat) else ""
        self._send((lines + end).encode(), "stream")

    def do_GET(self) -> None:
        self.script.asked.append((self.path, {}))
        self._send(b'{"data": [], "models": []}', "json")

    do_HEAD = do_GET

    def _send(self, data: bytes, kind: str) -> None:
        media = "text/event-stream" if kind == "stream" else "application/json"
        try:
            self.send_response(200)
            self.send_header("Content-Type", media)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)
        except OSError:
            self.close_connection = True  # the client has gone

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@contextmanager
def playing(*steps: Step) -> Iterator[Script]:
    """A server that plays `steps`; it is gone when the block ends."""
    script = Script(steps)
    handler = type("Handler", (_Handler,), {"script": script})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    script.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
