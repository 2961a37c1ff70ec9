"""Which recorded exchange answers a request, and what of it is sent. Pure: knows recordings, no socket and no provider.

A request is answered by the recorded one that asked the same: the same path, and the same body but for what is new in
every request (the UUID of a task, the address of a webhook). Several such answer in their order, the last one from then
on. The UUID that was asked under takes the place of the recorded one in what is sent.

Refuses to guess: where nothing matches, it says which recorded request is the nearest, and what differs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from router.lab.emulators.playback import DONE, Frame, Outcome, Raw, Stream, Whole
from router.lab.emulators.record import Received
from router.lab.faults import Fault
from router.lab.recording import Answered, Piece, Recorded, Recording

_NEW_EVERY_TIME = ("taskUUID", "webhookURL")
_DIFFERENCES = 4  # so many are named where nothing matches
# What these do to an answer is done while it is generated; a recorded one was generated long ago.
_SHAPES = frozenset(
    {"no_finish", "abort", "think_in_content", "answer_in_reasoning", "usage_missing", "duplicate_task"}
)


@dataclass(frozen=True, slots=True)
class Again:
    """A recorded exchange, ready to be sent again.

    *raw* is what is sent. *shaped* is the same as a stream or a whole answer, for a fault to work on; None where that
    would not be the same any more. *fault* stands in place of an answer that never came. *use* says that it is sent: the
    next request of its kind gets the next one.
    """

    line: int
    raw: Raw | None
    use: Callable[[], None]
    shaped: Outcome | None = None
    fault: Fault | None = None

    def suits(self, fault: Fault) -> bool:
        """Whether *fault* can be applied to it."""
        return fault.at_arrival or (self.shaped is not None and fault.kind not in _SHAPES)

    def outcome(self, fault: Fault | None) -> tuple[Outcome | Raw | None, Fault | None]:
        """What is sent, and the fault on its way; it is used by this."""
        self.use()
        if self.fault is not None:
            return None, self.fault
        return (self.shaped, fault) if fault is not None and self.shaped is not None else (self.raw, None)


class Replay:
    """The exchanges with one provider, and which of them have been used.

    *pace*: 1 for the recorded times, 0 for at once. *generates*: whether the emulator answers by itself what was not
    recorded.
    """

    def __init__(self, recording: Recording, exchanges: Sequence[Recorded], *, pace: float, generates: bool) -> None:
        self.generates = generates
        self._name, self._pace = recording.name, pace
        self._usable = [one for one in exchanges if one.withheld is None]
        self._withheld = len(exchanges) - len(self._usable)
        self._used: dict[str, int] = {}
        self._by: dict[str, list[Recorded]] = {}
        self._names: dict[str, str] = {}  # the UUID that was asked under -> the recorded one
        for one in self._usable:
            self._by.setdefault(_key(one.method, one.path, one.body), []).append(one)

    def find(self, received: Received) -> Again | None:
        """The recorded exchange that answers *received*; None where nothing matches."""
        key = _key(received.method, _path(received), self._renamed(received.body))
        found = self._by.get(key)
        if not found:
            return None
        one = found[min(self._used.get(key, 0), len(found) - 1)]
        names = dict(zip(_uuids(one.body), _uuids(received.body), strict=False))

        def use() -> None:
            self._used[key] = self._used.get(key, 0) + 1
            self._names.update({asked: recorded for recorded, asked in names.items()})

        return self._again(one, names, use)

    def why_not(self, received: Received) -> str:
        """What to say where nothing matches."""
        message = f"{self._name} holds no answer to this request"
        if self._withheld:
            message += f" ({self._withheld} exchanges have no body in it)"
        asked = dict(_flat(_canonical(self._renamed(received.body))))
        near = min(
            self._usable, key=lambda one: len(_differences(dict(_flat(_canonical(one.body))), asked)), default=None
        )
        if near is None:
            return f"{message}: nothing that went to this provider is in it"
        if near.path.rstrip("/") != _path(received):
            return (
                f"{message}: the nearest, line {near.line}, went to {near.path or '/'}, not to {_path(received) or '/'}"
            )
        found = _differences(dict(_flat(_canonical(near.body))), asked)
        more = f", and {len(found) - _DIFFERENCES} more" if len(found) > _DIFFERENCES else ""
        return f"{message}: the nearest is line {near.line}, and differs in {', '.join(found[:_DIFFERENCES])}{more}"

    def _renamed(self, body: Any) -> Any:
        """*body* with the recorded UUIDs where it asks after a task that was answered from the recording."""
        if isinstance(body, list):
            return [self._renamed(item) for item in body]
        if isinstance(body, dict) and body.get("taskUUID") in self._names:
            return {**body, "taskUUID": self._names[body["taskUUID"]]}
        return body

    def _again(self, one: Recorded, names: Mapping[str, str], use: Callable[[], None]) -> Again:
        answered = one.response
        if answered is None:
            fault = Fault.silence() if one.ended == "left" else Fault.refuse()
            return Again(one.line, None, use, fault=fault)
        pieces = [
            Piece(piece.after * self._pace, data)
            for piece, data in zip(answered.pieces, _renamed(answered, names), strict=True)
        ]
        ending = {"whole": "eof", "left": "stall", "failed": "fin"}[one.ended]
        raw = Raw(tuple(pieces), answered.status, answered.headers, ending, answered.after * self._pace)  # type: ignore[arg-type]  # it is one of them
        shaped = _shaped(raw) if one.ended == "whole" else None
        return Again(one.line, raw, use, shaped)


def _renamed(answered: Answered, names: Mapping[str, str]) -> list[bytes]:
    """The pieces under the UUIDs that were asked under; one may be spread over several pieces."""
    joined = answered.body
    for recorded, asked in names.items():
        if len(recorded) == len(asked):
            joined = joined.replace(recorded.encode(), asked.encode())
    found, at = [], 0
    for piece in answered.pieces:
        found.append(joined[at : at + len(piece.data)])
        at += len(piece.data)
    return found


def kind_of(provider: str, recording: Recording) -> str:
    """Whose emulator can answer what was recorded of a provider that has none of its own name."""
    return "runware" if any(isinstance(one.body, list) for one in recording.of(provider)) else "openai"


# -- what asks the same -----------------------------------------------------------------------------------------------


def _path(received: Received) -> str:
    return received.path.removeprefix("/v1").rstrip("/")


def _key(method: str, path: str, body: Any) -> str:
    return f"{method} {path.rstrip('/')} {json.dumps(_canonical(body), sort_keys=True)}"


def _canonical(body: Any) -> Any:
    """*body* without what is new in every request. Whoever asks after a task (`getResponse`) means that very one."""
    if isinstance(body, list):
        return [_canonical(item) for item in body]
    if isinstance(body, dict) and body.get("taskType") != "getResponse":
        return {name: value for name, value in body.items() if name not in _NEW_EVERY_TIME}
    return body


def _uuids(body: Any) -> list[str]:
    tasks = body if isinstance(body, list) else []
    return [str(task["taskUUID"]) for task in tasks if isinstance(task, dict) and "taskUUID" in task]


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _flat(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list) and value:
        for place, item in enumerate(value):
            yield from _flat(item, f"{path}[{place}]")
    else:
        yield path, value


def _differences(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    found = []
    for path in dict.fromkeys((*recorded, *asked)):
        if path not in asked:
            found.append(f"{path} (recorded {_short(recorded[path])}, not asked)")
        elif path not in recorded:
            found.append(f"{path} (not recorded, asked {_short(asked[path])})")
        elif recorded[path] != asked[path]:
            found.append(f"{path} (recorded {_short(recorded[path])}, asked {_short(asked[path])})")
    return found


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:39] + "…"


# -- as a stream or a whole answer, for a fault to work on ------------------------------------------------------------


def _shaped(raw: Raw) -> Outcome | None:
    body = b"".join(piece.data for piece in raw.pieces)
    is_stream = any(
        name.lower() == "content-type" and value.startswith("text/event-stream") for name, value in raw.headers.items()
    )
    if not is_stream:
        return Whole(body, raw.status, raw.headers, refused=raw.status >= 400)
    frames = list(_frames(raw.pieces))
    if raw.status != 200 or b"".join(frame.encode() for frame in frames) != body:
        return None
    error = json.dumps({"error": {"message": "The server had an error.", "type": "server_error"}}).encode()
    return Stream(tuple(frames), Whole(body, raw.status, raw.headers), error, raw.headers)


def _frames(pieces: Iterable[Piece]) -> Iterator[Frame]:
    """The events in *pieces*, each after as many seconds as its end came after the end of the one before."""
    held, waited = b"", 0.0
    for piece in pieces:
        held, waited = held + piece.data, waited + piece.after
        while b"\n\n" in held:
            block, _, held = held.partition(b"\n\n")
            yield replace(_frame(block), delay=waited)
            waited = 0.0
    if held:
        yield replace(_frame(held), delay=waited)


def _frame(block: bytes) -> Frame:
    if block.startswith(b": "):
        return Frame(block[2:], "comment")
    data = block.removeprefix(b"data: ")
    if data == DONE.data:
        return DONE
    return Frame(data, "token" if _says_something(data) else "event")


def _says_something(data: bytes) -> bool:
    try:
        event = json.loads(data)
        choices = event.get("choices") or [event]
        deltas = [choice.get("delta") or {} for choice in choices]
    except (ValueError, AttributeError):
        return False
    return any(value for delta in deltas for name, value in delta.items() if name != "role")
