"""A provider that costs as little as it can: a raw asyncio server that answers with bytes made beforehand.

Prints `{"port": …}` when ready and serves until its standard input closes. What it answers stands in the path:

    /whole/…            200 with a whole chat completion
    /fail/…             500 with an error in OpenAI's envelope
    /third/…            that, then the whole chat completion twice, and so on
    /packets/EVENTS/…   a stream of EVENTS events, each written by itself, as quickly as it can be
    /packed/EVENTS/…    the same, EVENTS_PER_PACKET of them in each write
    /paced/EVENTS/…     the same, each written by itself, with a pause that lets the client go to sleep in between
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import threading
import time
from functools import cache
from typing import Any

EVENTS_PER_PACKET = 32
PAUSE = 0.0003  # seconds; about three times what the slowest client needs for an event
CREATED = 1_780_000_000
MODEL = "qwen/qwen3.5-4b"
PIECES = (" The", " product", " of", " 17", " and", " 23", " is", " 391", ",", " für", " 例", ".\n\n")
_third = itertools.count()
USAGE = {
    "prompt_tokens": 212,
    "completion_tokens": 480,
    "total_tokens": 692,
    "completion_tokens_details": {"reasoning_tokens": 240},
}


class FakeProvider(asyncio.Protocol):
    """One connection: reads requests by their Content-Length, answers by their path."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._held = bytearray()

    def data_received(self, data: bytes) -> None:
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._held[:end]).lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            if len(self._held) < end + 4 + length:
                return
            path = bytes(self._held[: self._held.index(b"\r\n")]).split(b" ")[1]
            del self._held[: end + 4 + length]
            self._answer(path.decode())

    def _answer(self, path: str) -> None:
        kind, _, rest = path[1:].partition("/")
        if kind == "third":
            kind = "whole" if next(_third) % 3 else "fail"
        pieces = reply(kind, int(rest.partition("/")[0]) if kind.startswith("pac") else 0)
        for piece in pieces:
            if self._transport.is_closing():  # the client has left early
                return
            self._transport.write(piece)
            if kind == "paced":
                # It blocks the loop, on purpose: asyncio's timers are too coarse, and only one connection is busy.
                time.sleep(PAUSE)


@cache
def reply(kind: str, events: int) -> tuple[bytes, ...]:
    """The bytes of an answer, one item a write."""
    if kind == "whole":
        return (_whole("200 OK", _completion()),)
    if kind == "fail":
        error = {"error": {"message": "The server had an error.", "type": "server_error", "code": None}}
        return (_whole("500 Internal Server Error", error),)
    assert kind in ("packets", "packed", "paced"), kind
    said = [b"data: " + one + b"\n\n" for one in _events(events)]
    size = EVENTS_PER_PACKET if kind == "packed" else 1
    said = [b"".join(said[at : at + size]) for at in range(0, len(said), size)]
    chunks = [b"%x\r\n%b\r\n" % (len(one), one) for one in said]
    head = _head("200 OK", "text/event-stream; charset=utf-8") + b"Transfer-Encoding: chunked\r\n\r\n"
    # The end comes with the last event, so that no client reads it a moment later than another.
    return (head, *chunks[:-1], chunks[-1] + b"0\r\n\r\n")


def _head(status: str, content_type: str) -> bytes:
    lines = (
        f"HTTP/1.1 {status}",
        "Date: Thu, 20 Nov 2025 12:00:00 GMT",
        f"Content-Type: {content_type}",
        "Connection: keep-alive",
        "Cache-Control: no-cache",
        "X-Request-Id: req_0123456789abcdef",
        "X-RateLimit-Limit-Requests: 600",
        "X-RateLimit-Remaining-Requests: 599",
        "Server: uvicorn",
    )
    return "".join(f"{line}\r\n" for line in lines).encode()


def _whole(status: str, payload: dict[str, Any]) -> bytes:
    body = json.dumps(payload).encode()
    return _head(status, "application/json") + b"Content-Length: %d\r\n\r\n" % len(body) + body


def _completion() -> dict[str, Any]:
    message = {"role": "assistant", "reasoning_content": "".join(PIECES) * 20, "content": "".join(PIECES) * 20}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return {
        "id": "chatcmpl-0123456789",
        "object": "chat.completion",
        "created": CREATED,
        "model": MODEL,
        "choices": [choice],
        "usage": USAGE,
    }


def _events(count: int) -> list[bytes]:
    """*count* pieces of an answer, the first half of them reasoning; then the finish, the usage and `[DONE]`."""

    def event(choices: list[dict[str, Any]], **more: Any) -> bytes:
        payload = {"id": "chatcmpl-0123456789", "object": "chat.completion.chunk", "created": CREATED, "model": MODEL}
        return json.dumps({**payload, "choices": choices, **more}, separators=(",", ":")).encode()

    said = []
    for place in range(count):
        field = "reasoning_content" if place < count // 2 else "content"
        piece = PIECES[place % len(PIECES)]
        said.append(event([{"index": 0, "delta": {field: piece}, "logprobs": None, "finish_reason": None}]))
    finish = event([{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}])
    return [*said, finish, event([], usage=USAGE), b"[DONE]"]


async def main() -> None:
    """Serve until standard input closes, so that nobody is left behind when the benchmark dies."""
    server = await asyncio.get_running_loop().create_server(FakeProvider, "127.0.0.1", 0)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
