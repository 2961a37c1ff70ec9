"""How outcomes and faults reach the socket. Knows aiohttp's server and TCP; knows no provider.

Faults below HTTP need the transport itself: a FIN is ``close``, an RST is SO_LINGER 0 and ``abort``, rubbish is written
past aiohttp's response writer. The handler then returns a response that nobody can receive any more.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from http import HTTPStatus

from aiohttp import web

from router.lab.emulators.playback import Ending, Frame, Raw, Stream, Whole, body_bytes, play
from router.lab.faults import Fault

# Seconds that a peer gets to read what was written before a reset: an RST may overtake unread bytes.
_BEFORE_RESET = 0.01


async def disturb(request: web.Request, fault: Fault) -> web.StreamResponse:
    """End or hold a connection on which no answer shall come."""
    match fault.kind:
        case "refuse" | "lost_response":
            _close(request)
        case "reset":
            _abort(request)
        case "garbage":
            await _write_raw(request, body_bytes(fault.body))
            _close(request)
        case "interim_forever":
            while request.transport is not None:
                await _write_raw(request, b"HTTP/1.1 102 Processing\r\n\r\n")
                await asyncio.sleep(fault.seconds)
        case _:
            await _wait_for_leaving()
    return web.Response()


async def send_whole(request: web.Request, whole: Whole, fault: Fault | None = None) -> web.StreamResponse:
    """Send a whole answer, or what *fault* leaves of it."""
    if fault is not None and fault.kind == "trickle_headers":
        return await _trickle_raw(request, whole, fault)
    if fault is not None and fault.kind in ("truncate_body", "body_reset", "stall_body", "trickle"):
        return await _send_part(request, whole, fault)
    response = web.Response(body=whole.body, status=whole.status, headers=dict(whole.headers))
    if fault is not None and fault.kind == "drop_after":
        await _end(request, response)
    return response


async def _send_part(request: web.Request, whole: Whole, fault: Fault) -> web.StreamResponse:
    response = web.StreamResponse(status=whole.status, headers=dict(whole.headers))
    response.content_length = len(whole.body)
    await response.prepare(request)
    if fault.kind == "trickle":
        await _write_slowly(response, whole.body, fault)
        return response
    size = len(whole.body) // 2 if fault.kind == "body_reset" else min(fault.count, max(len(whole.body) - 1, 0))
    await response.write(whole.body[:size])
    endings: dict[str, Ending] = {"truncate_body": "fin", "body_reset": "reset", "stall_body": "stall"}
    await _finish(request, response, endings[fault.kind], fault)
    return response


async def send_stream(
    request: web.Request, stream: Stream, fault: Fault | None = None, *, token_delay: float = 0.0
) -> web.StreamResponse:
    """Send a stream, or what *fault* makes of it, *token_delay* seconds before every token."""
    frames, ending = play(stream, fault)
    newline = fault.newline if fault is not None else "\n"
    headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", **stream.headers}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    if fault is not None and fault.kind == "trickle":
        await _write_slowly(response, b"".join(frame.encode() for frame in frames), fault)
        return response
    if fault is not None and fault.kind == "framing" and fault.flag:
        await response.write("\ufeff".encode())
    for frame in frames:
        await _pause(frame, token_delay)
        await response.write(frame.encode(newline))
    await _finish(request, response, ending, fault)
    return response


async def send_raw(request: web.Request, raw: Raw) -> web.StreamResponse:
    """Send a recorded response: its headers and its pieces as they came, when they came, and its end."""
    if raw.after > 0:
        await asyncio.sleep(raw.after)
    response = web.StreamResponse(status=raw.status, headers=dict(raw.headers))
    await response.prepare(request)
    for piece in raw.pieces:
        if piece.after > 0:
            await asyncio.sleep(piece.after)
        await response.write(piece.data)
    await _finish(request, response, raw.ending, None)
    return response


async def _pause(frame: Frame, token_delay: float) -> None:
    delay = frame.delay + (token_delay if frame.kind == "token" else 0.0)
    if delay > 0:
        await asyncio.sleep(delay)


async def _finish(request: web.Request, response: web.StreamResponse, ending: Ending, fault: Fault | None) -> None:
    match ending:
        case "fin":
            _close(request)
        case "reset":
            await asyncio.sleep(_BEFORE_RESET)
            _abort(request)
        case "stall":
            await _wait_for_leaving()
        case "comments":
            while request.transport is not None:
                await response.write(Frame(b"ping", "comment").encode())
                await asyncio.sleep(fault.seconds if fault is not None else 1.0)
        case _ if fault is not None and fault.kind == "drop_after":
            await _end(request, response)


async def _end(request: web.Request, response: web.StreamResponse) -> None:
    await response.prepare(request)
    await response.write_eof()
    _close(request)


def _slices(body: bytes, size: int) -> Iterator[bytes]:
    step = max(size, 1)
    return (body[at : at + step] for at in range(0, len(body), step))


async def _write_slowly(response: web.StreamResponse, body: bytes, fault: Fault) -> None:
    for piece in _slices(body, fault.count):
        await response.write(piece)
        await asyncio.sleep(fault.seconds)


async def _trickle_raw(request: web.Request, whole: Whole, fault: Fault) -> web.StreamResponse:
    try:
        phrase = HTTPStatus(whole.status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {whole.status} {phrase}", *(f"{name}: {value}" for name, value in whole.headers.items())]
    head = "\r\n".join([*lines, f"Content-Length: {len(whole.body)}", "Connection: close", "", ""])
    for piece in _slices(head.encode() + whole.body, fault.count):
        await _write_raw(request, piece)
        await asyncio.sleep(fault.seconds)
    _close(request)
    return web.Response()


async def _write_raw(request: web.Request, raw: bytes) -> None:
    if request.transport is not None and not request.transport.is_closing():
        request.transport.write(raw)
        await asyncio.sleep(0)


async def _wait_for_leaving() -> None:
    """Wait to be cancelled: by the client's leaving or by the emulator's end."""
    await asyncio.get_running_loop().create_future()


def _close(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()


def _abort(request: web.Request) -> None:
    if request.transport is None:
        return
    connection = request.transport.get_extra_info("socket")
    if connection is not None:  # there is none in memory, where `abort` is a reset
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()
