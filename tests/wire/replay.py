"""A server that replies literal bytes, in whatever pieces a test asks for, and remembers what it was sent.

Raw on purpose: no HTTP library stands between the bytes in tests/wire/ and the client that reads them.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
# The task UUIDs that the documents print; a task is answered under the one that it was sent with.
PRINTED = (b"a770f077-f413-47de-9dac-be0b26a35da6", b"abc-123")
TYPES = {".json": "application/json", ".sse": "text/event-stream", ".txt": "text/html"}


@dataclass
class Reply:
    """One HTTP response. *split*: bytes a piece, 0 for all at once; *ends*: the body ends as the connection does."""

    body: bytes
    status: int = 200
    content_type: str | None = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    split: int = 0
    pause: float = 0.0  # seconds after each piece
    ends: bool = False
    holds: bool = False  # more is promised than comes, and the connection stays open until the client leaves
    raw: bytes | None = None  # in place of all of it, status line included
    printed: Sequence[bytes] = PRINTED

    def head(self, size: int) -> bytes:
        lines = [f"HTTP/1.1 {self.status} Whatever", "Connection: close"]
        lines += [f"Content-Type: {self.content_type}"] if self.content_type else []
        lines += [] if self.ends else [f"Content-Length: {size + self.holds}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode()


@dataclass
class Replayer:
    """The server: *replies* are given in turn, the last one again and again."""

    replies: Sequence[Reply]
    base_url: str = ""
    requests: list[Any] = field(default_factory=list)  # the JSON bodies
    heads: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            size = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
            raw = await reader.readexactly(int(size[1])) if size else b""
            self.heads.append(head)
            self.requests.append(json.loads(raw))
            await self._answer(writer)
            if self.reply.holds:
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has seen enough
        finally:
            writer.close()

    @property
    def reply(self) -> Reply:
        """The reply to the last request."""
        return self.replies[min(len(self.requests), len(self.replies)) - 1]

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        reply = self.reply
        if reply.raw is not None:
            writer.write(reply.raw)
            await writer.drain()
            return
        body, asked = reply.body, self.requests[-1]
        if isinstance(asked, list):
            for printed in reply.printed:
                body = body.replace(printed, asked[0]["taskUUID"].encode())
        writer.write(reply.head(len(body)))
        step = reply.split or max(len(body), 1)
        for start in range(0, len(body), step):
            writer.write(body[start : start + step])
            await writer.drain()
            if reply.split:  # the client reads each piece before the next one leaves
                await asyncio.sleep(0)
                await asyncio.sleep(reply.pause)


@asynccontextmanager
async def replay(*replies: Reply) -> AsyncIterator[Replayer]:
    """Serve *replies* on a free port."""
    replayer = Replayer(replies)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(replayer.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    replayer.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield replayer
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)


def literal(name: str, **how: Any) -> Reply:
    """The reply that stands in tests/wire/*name*; a status in the name (`error-401.json`) is its status."""
    status = re.search(r"-(\d{3})\.", name)
    content_type = TYPES[Path(name).suffix]
    kept = {"status": int(status[1]) if status else 200, "content_type": content_type}
    return Reply((FOLDER / name).read_bytes(), **{**kept, **how})
