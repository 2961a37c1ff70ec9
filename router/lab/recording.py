"""Recorded traffic: one file of JSON lines, what stands in it, and how it is read and written. Pure but for the file.

Knows the format and its version. Refuses to know who recorded (`recorder`), who serves it again (`emulators.replaying`)
and what it means to a dialect (`drift`); emulators import it, so it knows nothing of the adapters either.

The first line names the format and its version. Every other line is one HTTP exchange:

    {"provider": "mixlayer", "at": 0.0,
     "request": {"method": "POST", "path": "/chat/completions", "headers": {}, "body": {}},
     "response": {"status": 200, "headers": {"Content-Type": "text/event-stream"}, "after": 0.41,
                  "pieces": [[0.0, "data: ..."], [0.03, {"base64": "4oI="}]]},
     "ended": "whole"}

*at*: seconds since the recording began. *path*: what the provider's `base_url` is followed by. *after*: seconds from the
request to the headers. *pieces*: the body as it came, each with the seconds after the one before; text where it is UTF-8.
*ended*: `whole`; `left`, where the router went away first; `failed`, and then *failure* names the class and says why.
Without *response* nothing had come. *withheld* says why the bodies of an exchange are not in the file.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

FORMAT, VERSION = "provider-router traffic", 1
LINE_LIMIT = 64 * 2**20  # bytes of one line; a longer one was not written by us

Ended = Literal["whole", "left", "failed"]


class RecordingError(ValueError):
    """A file of recorded traffic cannot be read, or not be written to. The message names file and line."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes as they came, *after* so many seconds."""

    after: float
    data: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """A response: its headers came *after* so many seconds, its body in *pieces*."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    after: float = 0.0
    pieces: tuple[Piece, ...] = ()

    @property
    def body(self) -> bytes:
        """All the pieces, joined."""
        return b"".join(piece.data for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class Failed:
    """What broke an exchange: the class of the failure, and what it said."""

    kind: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One exchange; *line* is its place in the file, from 1, or 0 where it is in none."""

    provider: str
    method: str
    path: str
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    at: float = 0.0
    response: Answered | None = None
    ended: Ended = "whole"
    failure: Failed | None = None
    withheld: str | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class Recording:
    """A file of recorded traffic, read; *name* is what its findings call it."""

    name: str
    exchanges: tuple[Recorded, ...]

    def __len__(self) -> int:
        return len(self.exchanges)

    @property
    def providers(self) -> tuple[str, ...]:
        """Whom the traffic went to, in the order of the first request."""
        return tuple(dict.fromkeys(one.provider for one in self.exchanges))

    def of(self, provider: str) -> tuple[Recorded, ...]:
        """The exchanges with one provider."""
        return tuple(one for one in self.exchanges if one.provider == provider)


# -- writing ----------------------------------------------------------------------------------------------------------


def first_line() -> bytes:
    """What a file of recorded traffic begins with."""
    return _dumped({"format": FORMAT, "version": VERSION})


def line_of(one: Recorded) -> bytes:
    """*one* as a line, its end included."""
    said: dict[str, Any] = {
        "provider": one.provider,
        "at": round(one.at, 6),
        "request": {"method": one.method, "path": one.path, "headers": dict(one.headers), "body": one.body},
    }
    if one.response is not None:
        said["response"] = {
            "status": one.response.status,
            "headers": dict(one.response.headers),
            "after": round(one.response.after, 6),
            "pieces": [[round(piece.after, 6), _text_of(piece.data)] for piece in one.response.pieces],
        }
    said["ended"] = one.ended
    if one.failure is not None:
        said["failure"] = {"kind": one.failure.kind, "why": one.failure.why}
    if one.withheld is not None:
        said["withheld"] = one.withheld
    return _dumped(said)


def _dumped(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


def _text_of(data: bytes) -> Any:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode("ascii")}


# -- reading ----------------------------------------------------------------------------------------------------------


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


Seconds = Annotated[float, Field(ge=0, strict=False)]


class _First(BaseModel):
    format: str
    version: int


class _Bytes(_Strict):
    base64: str


class _Request(_Strict):
    method: str
    path: str
    headers: dict[str, str] = Field(default_factory=dict)
    body: Any = None


class _Response(_Strict):
    status: Annotated[int, Field(ge=100, le=599)]
    headers: dict[str, str] = Field(default_factory=dict)
    after: Seconds = 0.0
    pieces: list[tuple[Seconds, str | _Bytes]] = Field(default_factory=list, strict=False)


class _Failure(_Strict):
    kind: str
    why: str = ""


class _Line(_Strict):
    provider: str
    at: Seconds = 0.0
    request: _Request
    response: _Response | None = None
    ended: Ended = "whole"
    failure: _Failure | None = None
    withheld: str | None = None


def read_recording(file: str | Path) -> Recording:
    """The traffic in *file*.

    Raises:
        RecordingError: it is not a recording, or of a version that this one does not know; with the line.
    """
    path = Path(file)
    try:
        with path.open("rb") as opened:
            lines = iter(lambda: opened.readline(LINE_LIMIT + 1), b"")
            check_first(next(lines, b""), str(file))
            read = [_read(line, number, str(file)) for number, line in enumerate(lines, 2) if line.strip()]
    except OSError as error:
        message = f"{file}: cannot be read: {error.strerror or error}"
        raise RecordingError(message) from None
    return Recording(str(file), tuple(read))


def check_first(line: bytes, name: str) -> None:
    """Refuse what is not the first line of a recording that can be read here.

    Raises:
        RecordingError: says what it is instead.
    """
    try:
        first = _First.model_validate_json(line)
    except ValidationError:
        first = _First(format="", version=0)
    if first.format != FORMAT:
        message = f'{name}:1: not recorded traffic: the first line is {{"format": "{FORMAT}", "version": {VERSION}}}'
        raise RecordingError(message)
    if first.version != VERSION:
        message = (
            f"{name}:1: version {first.version} of the format; this router reads version {VERSION}: record it again"
        )
        raise RecordingError(message)


def _read(line: bytes, number: int, name: str) -> Recorded:
    if not line.endswith(b"\n"):
        message = f"{name}:{number}: the line is cut: the recording was interrupted, or is longer than {LINE_LIMIT} bytes; delete it"
        raise RecordingError(message)
    try:
        said = _Line.model_validate_json(line)
        return _recorded(said, number)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        message = f"{name}:{number}: {place}: {first['msg']}" if place else f"{name}:{number}: {first['msg']}"
    except ValueError as error:
        message = f"{name}:{number}: {error}"
    raise RecordingError(message)


def _recorded(said: _Line, number: int) -> Recorded:
    response = said.response
    return Recorded(
        provider=said.provider,
        method=said.request.method,
        path=said.request.path,
        body=said.request.body,
        headers=said.request.headers,
        at=said.at,
        response=None
        if response is None
        else Answered(response.status, response.headers, response.after, _pieces(response.pieces)),
        ended=said.ended,
        failure=None if said.failure is None else Failed(said.failure.kind, said.failure.why),
        withheld=said.withheld,
        line=number,
    )


def _pieces(said: Sequence[tuple[float, str | _Bytes]]) -> tuple[Piece, ...]:
    return tuple(
        Piece(after, base64.b64decode(text.base64, validate=True) if isinstance(text, _Bytes) else text.encode())
        for after, text in said
    )
