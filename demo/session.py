"""One real venice-mcp process on stdio and the client at its other end; every frame that arrives is kept."""

import json
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO, cast

import anyio
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.message import SessionMessage
from mcp_types import CallToolResult, TextContent, TextResourceContents

from demo.person import Desk

ANSWER_TIMEOUT_S = 20.0


class StepFailedError(Exception):
    """Something is not as the tour says; the message says what was expected."""


@dataclass(frozen=True)
class Reply:
    """What a tool call came back with."""

    ok: bool
    text: str
    data: dict[str, Any]


@dataclass
class Session:
    """A connected client."""

    client: Client
    frames: list[str]

    async def call(self, tool: str, **arguments: Any) -> Reply:
        result: CallToolResult = await self.client.call_tool(tool, arguments)
        text = "\n".join(part.text for part in result.content if isinstance(part, TextContent))
        return Reply(not result.is_error, text, cast("dict[str, Any]", result.structured_content or {}))

    async def read(self, tool: str, **arguments: Any) -> Reply:
        """A call that must succeed."""
        reply = await self.call(tool, **arguments)
        if not reply.ok:
            raise StepFailedError(f"{tool} answers; it said: {reply.text}")
        return reply

    async def resource(self, uri: str) -> list[dict[str, Any]]:
        """The lines of a resource that is JSON lines."""
        result = await self.client.read_resource(uri)
        text = "".join(part.text for part in result.contents if isinstance(part, TextResourceContents))
        return [json.loads(line) for line in text.splitlines()]

    async def keys(self) -> dict[str, tuple[Any, ...]]:
        """Every active key by id, as Venice tells it now."""
        reply = await self.read("venice_list_api_keys", limit=100)
        return {str(row[0]): tuple(row) for row in reply.data["rows"]}


@dataclass
class Recorder:
    """What the servers of the tour wrote: the frames on stdout, and the file that takes stderr."""

    stderr: TextIO
    frames: list[str] = field(default_factory=list[str])

    def last_words(self) -> str:
        """The last lines of stderr, short enough to be read."""
        self.stderr.flush()
        lines = Path(self.stderr.name).read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(line.strip()[:200] for line in lines if line.strip())[-600:]


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's own, without the reader's real keys, which are no business of a demo."""
    return {name: value for name, value in os.environ.items() if not name.startswith("VENICE_")} | dict(more or {})


@asynccontextmanager
async def connected(
    state_dir: Path, recorder: Recorder, desk: Desk | None, env: Mapping[str, str] | None = None
) -> AsyncGenerator[Session]:
    """A session with a fresh `venice-mcp --sandbox`, or with one that `env` sets up for a sandbox elsewhere.

    Without a desk the client cannot ask a person.
    """
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "venice_mcp", *([] if env else ["--sandbox"]), "--state-dir", str(state_dir)],
        env=environment(env),
        # Its own folder: what is imported is what is installed, not what lies around.
        cwd=str(state_dir.parent),
    )
    client = Client(
        _recorded(server, recorder),
        elicitation_callback=desk.ask if desk else None,
        read_timeout_seconds=ANSWER_TIMEOUT_S,
    )
    async with client:
        yield Session(client, recorder.frames)


@asynccontextmanager
async def _recorded(server: StdioServerParameters, recorder: Recorder) -> AsyncGenerator[Any]:
    """The stdio transport, with a copy of everything the server sends."""
    async with stdio_client(server, errlog=recorder.stderr) as (read, write):
        send, receive = anyio.create_memory_object_stream[SessionMessage | Exception](0)

        async def forward() -> None:
            async with send:
                async for item in read:
                    frame = repr(item) if isinstance(item, Exception) else item.message.model_dump_json(by_alias=True)
                    recorder.frames.append(frame)
                    await send.send(item)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(forward)
            yield receive, write
            tasks.cancel_scope.cancel()
