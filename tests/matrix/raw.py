"""Raw servers for the fault matrix, a router over two of them (`a` has the fault, `b` is healthy).

Over sockets; in memory where the test runs in virtual time.

A script plays one request: it writes whatever bytes it likes and says whether the connection is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Literal, cast

from providers.transport import Transport
from providers.types import Attempt
from router import Router
from router.events import Event
from router.lab.memory import Network
from router.lab.virtual import VirtualLoop
from tests.router.stage import PLACEHOLDER, QUICK, Heard, Stage, _loaded, _moved, soon

KEY = "sk-matrix-canary-0123456789"
THOUGHT, TEXT = "Seventeen times twenty is 340.", "It is 391."
PRICE = {"input": 1, "output": 2}  # dollars per million tokens

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
DONE = b"data: [DONE]\n\n"


# -- bytes


def chunk(data: bytes) -> bytes:
    return b"%x\r\n" % len(data) + data + b"\r\n"


def sized(body: bytes, *, more: int = 0, head: bytes = OK) -> bytes:
    return head + b"Content-Length: %d\r\n\r\n" % (len(body) + more) + body


def whole(content: Any = TEXT, *, finish: str | None = "stop", **more: Any) -> bytes:
    """A chat completion; *more* are fields of the object beside `choices`."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish}
    return json.dumps({"id": "c-1", "model": "m", "choices": [choice], **more}).encode()


def event(payload: Any) -> bytes:
    return b"data: " + json.dumps(payload, ensure_ascii=False).encode() + b"\n\n"


def delta(content: str | None = None, *, finish: str | None = None, **fields: Any) -> bytes:
    """One event with one choice; *fields* are those of its delta."""
    said = {**({} if content is None else {"content": content}), **fields}
    return event({"id": "c-1", "model": "m", "choices": [{"index": 0, "delta": said, "finish_reason": finish}]})


FINISH = delta(finish="stop")
ROLE = delta("", role="assistant")


def usage(prompt: Any = 9, completion: Any = 7, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, **more}


# -- scripts


@dataclass
class Line:
    """A connection at the server's side, with the request that has just come over it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    body: Any = None

    async def say(self, *pieces: bytes, pause: float = 0.0) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(pause)

    async def reset(self) -> None:
        """RST; what was written before gets a moment to be read, which an RST would overtake."""
        await asyncio.sleep(0.01)
        connection = self.writer.get_extra_info("socket")
        if connection is not None:  # in memory there is none: there, to abort is to reset
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def hang(self) -> None:
        """Nothing more, until the client has gone."""
        while await self.reader.read(65536):
            pass


Script = Callable[[Line], Awaitable[Any]]
Ending = Literal["close", "reset", "hang", "keep"]


def says(*pieces: bytes, pause: float = 0.0, ending: Ending = "close") -> Script:
    async def script(line: Line) -> bool:
        await line.say(*pieces, pause=pause)
        if ending == "reset":
            await line.reset()
        if ending == "hang":
            await line.hang()
        return ending == "keep"

    return script


def streams(*events: bytes, pause: float = 0.001, ending: Ending = "close") -> Script:
    """A stream of *events*, each in a read of its own; `keep` and `close` end its body properly."""
    tail = [END] if ending in ("keep", "close") else []
    return says(SSE, *map(chunk, events), *tail, pause=pause, ending=ending)


def forever(piece: bytes, *first: bytes, pause: float = 0.0) -> Script:
    async def script(line: Line) -> None:
        await line.say(*first)
        while True:
            await line.say(piece, pause=pause)

    return script


def answers(content: str = TEXT, reasoning: str | None = THOUGHT) -> Script:
    """A healthy server: whole or streamed, as it is asked, and its connection is kept."""

    async def script(line: Line) -> bool:
        accounts = {"usage": usage()}
        if line.body.get("stream"):
            thought = [delta(reasoning_content=word) for word in re.findall(r"\S+\s*", reasoning or "")]
            words = [delta(word) for word in re.findall(r"\S+\s*", content)]
            events = [ROLE, *thought, *words, FINISH, event({"choices": [], **accounts}), DONE]
            await line.say(SSE + b"".join(map(chunk, events)) + END)
        else:
            message = {"role": "assistant", "content": content, "reasoning_content": reasoning}
            choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
            await line.say(sized(json.dumps({"id": "c-1", "model": "m", "choices": choices, **accounts}).encode()))
        return True

    return script


# -- servers


@dataclass
class Origin:
    """A server that plays *scripts* in turn, request by request, the last one again and again, and counts.

    *at*: when each request came; *left*: when each connection was over. *uploads*: scripts read the bodies themselves.
    """

    scripts: Sequence[Script]
    uploads: bool = False
    base_url: str = ""
    connections: int = 0
    open: int = 0
    requests: list[Any] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    left: list[float] = field(default_factory=list)
    _tasks: set[Any] = field(default_factory=set)

    async def _play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())
        self.connections += 1
        self.open += 1
        loop = asyncio.get_running_loop()
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                keep = True
                while keep:
                    keep = bool(await self._request(Line(reader, writer)))
        except asyncio.CancelledError:
            pass  # our own end; asyncio's streams of Python 3.11 would log it
        finally:
            self._tasks.discard(asyncio.current_task())
            self.open -= 1
            self.left.append(loop.time())
            writer.close()

    async def _request(self, line: Line) -> Any:
        head = (await line.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        size = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
        if not self.uploads:
            line.body = json.loads(await line.reader.readexactly(int(size[1]))) if size else None
        self.at.append(asyncio.get_running_loop().time())
        self.heads.append(head)
        self.requests.append(line.body)
        return await self.scripts[min(len(self.requests), len(self.scripts)) - 1](line)


@asynccontextmanager
async def serve(
    *scripts: Script, uploads: bool = False, name: str = "", network: Network | None = None
) -> AsyncIterator[Origin]:
    """An origin on a free port; or in memory, as *name* on *network*."""
    origin = Origin(scripts, uploads)
    if network is None:
        server = await asyncio.start_server(origin._play, "127.0.0.1", 0)
        origin.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        stop = server.close
    else:
        network.listen(f"{name}.test", lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader(), origin._play))
        origin.base_url, stop = f"http://{name}.test/v1", partial(network.stop, f"{name}.test")
    try:
        yield origin
    finally:
        stop()
        for task in [*origin._tasks]:
            task.cancel()
        await asyncio.gather(*origin._tasks, return_exceptions=True)
        await asyncio.sleep(0)


@dataclass
class Scene(Stage):
    """A stage whose providers are raw servers."""

    @property
    def a(self) -> Origin:
        return cast("Origin", self.first)

    @property
    def b(self) -> Origin:
        return cast("Origin", self.second)

    @property
    def loads(self) -> list[float]:
        return [self.router.health.load(f"{name}/m") for name in self.emulators]

    async def at_rest(self) -> None:
        """Nothing is held any more: no connection in use, no load."""
        assert await soon(lambda: self.connections == 0)
        assert [0] * len(self.emulators) == self.loads


@asynccontextmanager
async def scene(
    *scripts: Script | Sequence[Script],
    policy: Mapping[str, Any] | None = None,
    rows: Mapping[str, Any] | None = None,
    row_of_b: Mapping[str, Any] | None = None,
    uploads: bool = False,
) -> AsyncIterator[Scene]:
    """A router whose route `chat` asks origins `a`, `b`, … in this order, each playing its script or scripts in turn.

    *rows* is added to every deployment's row, *row_of_b* to that of `b` alone.
    """
    names = "abcdef"[: len(scripts)]
    written = {
        "providers": {
            name: {"protocol": "chat_completions", "base_url": PLACEHOLDER.format(name), "api_key": KEY}
            for name in names
        },
        "models": {
            "m": {
                "deployments": [
                    {"provider": name, "model": "m", **(rows or {}), **((row_of_b or {}) if name == "b" else {})}
                    for name in names
                ]
            }
        },
        "routes": {"chat": {"deployments": [f"{name}/m" for name in names], "policy": "quick"}},
        "policies": {"quick": {**QUICK, **(policy or {})}},
    }
    network = Network() if isinstance(asyncio.get_running_loop(), VirtualLoop) else None
    reached: dict[str, Any] = {}
    if network is not None:
        reached["transports"] = lambda _: Transport(create_connection=network.create_connection, clock=network.now)
    async with contextlib.AsyncExitStack() as stack:
        origins = {
            name: await stack.enter_async_context(
                serve(
                    *(script if isinstance(script, Sequence) else [script]),
                    uploads=uploads and name == "a",
                    name=name,
                    network=network,
                )
            )
            for name, script in zip(names, scripts, strict=True)
        }
        events: list[Event] = []
        config = _moved(_loaded(json.dumps(written)), cast("Any", origins))
        async with Router(config, hooks=[events.append], rng=Random(7), **reached) as router:
            yield Scene(router, cast("Any", origins), events)
        await asyncio.sleep(0.001)


@dataclass
class Outcome:
    """What became of a request that `a` failed and `b` served."""

    heard: Heard
    failed: Attempt
    on: Scene


async def to_b(
    script: Script | Sequence[Script],
    outcome: str | tuple[str, ...] = "",
    *,
    streaming: bool = False,
    within: float = 2.0,
    uploads: bool = False,
    **policy: Any,
) -> Outcome:
    """`→B` of the matrix: one request each, b's answer and not a byte of a's, both attempts on record, nothing held."""
    async with scene(script, answers(), policy=policy, uploads=uploads) as on:
        heard = await on.ask(streaming=streaming)

        assert None is heard.error, heard.error
        assert [1, 1] == on.counts
        assert (TEXT, THOUGHT) == (heard.content, heard.reasoning)
        assert (TEXT, THOUGHT) == (heard.answer.content, heard.answer.reasoning_content)
        assert "b/m" == heard.answer.deployment
        failed, won = heard.answer.attempts
        assert ("a/m", "b/m") == (failed.deployment, won.deployment)
        assert ("success", 200, 0.0) == (won.outcome, won.status, won.delay)
        assert failed.outcome in ((outcome,) if isinstance(outcome, str) else outcome), failed.why
        assert failed.why
        assert [failed.outcome, "success"] == on.outcomes
        assert ["success"] == [end.outcome for end in on.ends]
        assert heard.seconds < within
        assert KEY not in repr(on.events) + repr(heard.answer)
        await on.at_rest()
        return Outcome(heard, failed, on)


# -- time


async def longest_stall(work: Awaitable[Any]) -> tuple[Any, float]:
    """What *work* gives, and the longest time that the event loop was not free meanwhile, beyond a tick of 1 ms."""
    loop, longest = asyncio.get_running_loop(), 0.0

    async def tick() -> None:
        nonlocal longest
        while True:
            before = loop.time()
            await asyncio.sleep(0.001)
            longest = max(longest, loop.time() - before - 0.001)

    ticking = asyncio.ensure_future(tick())
    try:
        return await work, longest
    finally:
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)
