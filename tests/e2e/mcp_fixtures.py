"""Our MCP server with the conformance suite's fixtures beside its tools; a program for tests.

`python mcp_fixtures.py REPOSITORY PORT`. It has no token, since the suite cannot send one.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated

import uvicorn
from mcp.server.mcpserver import (
    AcceptedElicitation,
    Context,
    Elicit,
    ElicitationResult,
    MCPServer,
    Resolve,
)
from pydantic import BaseModel

from self_coding.app import open_app
from self_coding.mcp_server import build


class Answer(BaseModel):
    username: str
    email: str


class Name(BaseModel):
    name: str


def add_tools(server: MCPServer[object]) -> None:
    @server.tool()
    async def test_simple_text() -> str:
        """A fixture of the conformance suite."""
        return "This is a simple text response for testing."

    @server.tool()
    async def test_error_handling() -> str:
        """A fixture of the conformance suite."""
        raise RuntimeError("This tool intentionally returns an error for testing")

    @server.tool()
    async def test_tool_with_progress(context: Context[object, object]) -> str:
        """A fixture of the conformance suite."""
        for done in (0, 50, 100):
            await context.report_progress(done, 100)
            await asyncio.sleep(0.05)
        return "done"

    @server.tool()
    async def test_elicitation(message: str, context: Context[object, object]) -> str:
        """A fixture of the conformance suite."""
        return f"User response: {await context.elicit(message, Answer)}"

    # asked before the tool runs, as our own questions are
    async def user_name() -> Elicit[Name]:
        return Elicit("What is your name?", Name)

    @server.tool()
    async def test_input_required_result_elicitation(
        user_name: Annotated[ElicitationResult[Name], Resolve(user_name)],
    ) -> str:
        """A fixture of the conformance suite."""
        is_told = isinstance(user_name, AcceptedElicitation)
        return f"Hello, {user_name.data.name if is_told else 'nobody'}!"


def add_resources_and_prompts(server: MCPServer[object]) -> None:
    @server.resource("test://static-text", mime_type="text/plain")
    async def static_text() -> str:
        """A fixture of the conformance suite."""
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    async def static_binary() -> bytes:
        """A fixture of the conformance suite."""
        return b"\x89PNG\r\n\x1a\n"

    @server.resource("test://template/{id}/data", mime_type="application/json")
    async def template(id: str) -> str:
        """A fixture of the conformance suite."""
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})

    @server.prompt()
    def test_simple_prompt() -> str:
        """A fixture of the conformance suite."""
        return "This is a simple prompt for testing."

    @server.prompt()
    def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        """A fixture of the conformance suite."""
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


if __name__ == "__main__":
    built = build(open_app(Path(sys.argv[1])))
    add_tools(built)
    add_resources_and_prompts(built)
    application = built.streamable_http_app(host="127.0.0.1")
    uvicorn.run(application, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
