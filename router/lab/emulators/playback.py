"""Outcomes as values, and what a fault makes of a stream. Pure.

A stream is computed whole before its first byte is sent, so that a fault is a change of a list. Knows no provider and
no socket.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from router.lab.faults import Body, Fault
from router.lab.recording import Piece

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Whole:
    """A response with a length."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    refused: bool = False  # nothing was generated: a fault that was to shape the answer stays in the script


@dataclass(frozen=True, slots=True)
class Frame:
    """One event of a stream: *data* without framing. Faults count "event" and "token"."""

    data: bytes
    kind: Literal["event", "token", "done", "comment"] = "event"
    delay: float = 0.0

    @property
    def counts(self) -> bool:
        """Whether it is an event in the sense of a fault's count."""
        return self.kind in ("event", "token")

    def encode(self, newline: str = "\n") -> bytes:
        """The frame as it goes over the wire."""
        end = newline.encode()
        return (b": " if self.kind == "comment" else b"data: ") + self.data + end + end


@dataclass(frozen=True, slots=True)
class Stream:
    """A response of server-sent events; *whole* is the same answer unstreamed, *error* the provider's error event."""

    frames: tuple[Frame, ...]
    whole: Whole
    error: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


Ending = Literal["eof", "fin", "reset", "stall", "comments"]


@dataclass(frozen=True, slots=True)
class Raw:
    """A response whose bytes are given, each piece with the seconds to wait before it: a recorded one.

    *after*: seconds to wait before its headers.
    """

    pieces: tuple[Piece, ...]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    ending: Ending = "eof"
    after: float = 0.0


Outcome = Whole | Stream
DONE = Frame(b"[DONE]", "done")


def play(stream: Stream, fault: Fault | None) -> tuple[list[Frame], Ending]:
    """Return the frames to send and how the connection ends after them."""
    frames = list(stream.frames)
    if fault is None:
        return frames, "eof"
    match fault.kind:
        case "cut_after":
            return _first(frames, fault.count), "eof" if fault.flag else "fin"
        case "reset_after":
            return _first(frames, fault.count), "reset"
        case "stall_after":
            return _first(frames, fault.count), "stall"
        case "comments_forever":
            return _first(frames, fault.count), "comments"
        case "hold_open":
            return frames, "stall"
        case "empty_stream":
            return [DONE] if fault.flag else [], "eof"
        case "error_event":
            body = stream.error if fault.body is None else body_bytes(fault.body)
            return [*_first(frames, fault.count), Frame(body), *([DONE] if fault.flag else [])], "eof"
    return _rewritten(frames, fault), "eof"


def _rewritten(frames: list[Frame], fault: Fault) -> list[Frame]:
    if fault.kind == "no_done":
        return [frame for frame in frames if frame.kind != "done"]
    if fault.kind == "malformed_event":
        return _at(frames, fault.count, lambda frame: [replace(frame, data=frame.data[: len(frame.data) // 2])])
    if fault.kind == "duplicate_event":
        return _at(frames, fault.count, lambda frame: [frame, frame])
    if fault.kind == "first_token_delay":
        at = next((number for number, frame in enumerate(frames) if frame.kind == "token"), 0)
        return [replace(f, delay=fault.seconds) if number == at else f for number, f in enumerate(frames)]
    if fault.kind == "late_usage":
        last = max((number for number, frame in enumerate(frames) if frame.counts), default=0)
        return [replace(f, delay=fault.seconds) if number == last else f for number, f in enumerate(frames)]
    return frames


def _first(frames: Sequence[Frame], events: int) -> list[Frame]:
    """The frames of the first so many events, comments between them included, [DONE] never."""
    kept: list[Frame] = []
    seen = 0
    for frame in frames:
        if frame.kind == "done" or (frame.counts and seen == events):
            break
        kept.append(frame)
        seen += frame.counts
    return kept


def _at(frames: Sequence[Frame], event: int, change: Callable[[Frame], list[Frame]]) -> list[Frame]:
    """Replace the event number *event*, counted from zero, by what *change* makes of it."""
    changed: list[Frame] = []
    number = 0
    for frame in frames:
        changed += change(frame) if frame.counts and number == event else [frame]
        number += frame.counts
    return changed


def body_bytes(body: Body) -> bytes:
    """A fault's body as it goes over the wire."""
    if body is None:
        return b""
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()
