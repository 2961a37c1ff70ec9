"""Recorded answers, read again: by the code that reads them in service, on virtual time, with nothing on the wire.

Knows how to give an answer to the reader as it was, or altered in one field, and to tell whether that made a difference.
Refuses to judge (`drift`).
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from providers.client import Exchange, Limits
from providers.errors import ProviderError
from providers.sse import EventParser, LimitExceeded
from providers.types import Folder
from router.lab.recording import Answered, Piece
from router.lab.virtual import Threadless, VirtualResponse, VirtualTransport

if TYPE_CHECKING:
    from providers.types import Change, Completion
    from providers.wire import Call, HttpRequest
    from router.lab.recording import Recorded

_NO_LIMITS = Limits(connect=None, headers=None, first_token=None, idle=None, total=None)
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading an answer gave: the answer, or the failure that it was read into; None for neither: it was still to come."""

    answer: Completion | None = None
    error: ProviderError | None = None
    changes: tuple[Change, ...] = ()
    said: tuple[Any, ...] = ()  # all that a caller could see of it

    @property
    def finish_reasons(self) -> list[str]:
        """Why its choices ended, in the provider's words."""
        choices = self.answer.choices if self.answer is not None else ()
        return [choice.raw_finish_reason for choice in choices if choice.raw_finish_reason]


class _StillToCome(Exception):  # no failure: the recording ended first
    """The answer would be fetched by one more poll, and none is recorded."""


class _Recorded:
    """Stands for a `VirtualProvider`: answers with what was recorded, one after the other."""

    name = "recorded"

    def __init__(self, answers: Sequence[Answered]) -> None:
        self._left = list(answers)

    async def answer(self, http: HttpRequest, now: float) -> VirtualResponse:
        """The next one, whatever is asked."""
        del http, now
        if not self._left:
            raise _StillToCome
        one = self._left.pop(0)
        content_type = next((value for name, value in one.headers.items() if name.lower() == "content-type"), "")
        pieces = [(0.0, piece.data) for piece in one.pieces]
        return VirtualResponse(one.status, content_type.split(";", 1)[0].strip().lower(), pieces, one.headers)


def reread(call: Call, answered: Answered, polls: Sequence[Recorded] = ()) -> Reading:
    """What the reader of *call* makes of *answered*, and of the polls that followed it."""
    answers = [answered, *(poll.response for poll in polls if poll.response is not None)]
    return _run(_reread(call, answers))


def _run(reading: Coroutine[Any, Any, Reading]) -> Reading:
    with asyncio.Runner(loop_factory=Threadless) as runner:
        return runner.run(reading)


async def _reread(call: Call, answers: Sequence[Answered]) -> Reading:
    provider: Any = _Recorded(answers)
    transport: Any = VirtualTransport(provider)
    exchange = Exchange(call, transport, secret=None, limits=_NO_LIMITS)
    folder = Folder()
    try:
        while chunks := await exchange.next():
            for chunk in chunks:
                folder.add(chunk)
    except ProviderError as error:
        return Reading(None, error, said=(type(error).__name__, str(error)))
    except _StillToCome:
        return Reading()
    finally:
        exchange.close()
    reader: Any = exchange.reader
    answer, cost = folder.completion(), folder.cost
    changes = tuple(reader.changes)
    said = (answer, cost, changes, reader.id, reader.model, exchange.request_id)
    return Reading(answer, None, changes, said)


# -- fields -----------------------------------------------------------------------------------------------------------


def fields_not_read(
    call: Call, answered: Answered, polls: Sequence[Recorded], skip: Callable[[str], bool]
) -> Iterator[tuple[str, Any, bool]]:
    """Each field that says something, by its path, with its value, and whether the answer would be another one without it.

    Places in a list count as one: `choices[].message.content`. Fields that *skip* is true of are left out.
    """
    answers = [answered, *(poll.response for poll in polls if poll.response is not None)]
    parsed = [_Parsed.of(one) for one in answers]
    values: dict[str, Any] = {}
    for one in parsed:
        for document in one.documents:
            values |= {path: value for path, value in _leaves(document) if path not in values}

    def said(alter: Callable[[Any], Any], path: str) -> tuple[Any, ...]:
        return _run(_reread(call, [one.altered(path, alter) for one in parsed])).said

    as_it_was = _run(_reread(call, [one.altered("", _same) for one in parsed])).said
    for path, value in values.items():
        if not skip(path):
            yield path, value, any(said(alter, path) != as_it_was for alter in (_drop, _other))


@dataclass(frozen=True, slots=True)
class _Parsed:
    """An answer as the JSON documents that it is made of; none where it is not JSON."""

    answered: Answered
    documents: tuple[Any, ...]
    streamed: bool = False

    @classmethod
    def of(cls, answered: Answered) -> _Parsed:
        body = answered.body
        try:
            return cls(answered, (json.loads(body),))
        except (ValueError, RecursionError):
            pass
        try:
            events = [event.data for event in EventParser().feed(body)]
            return cls(
                answered, tuple("[DONE]" if data == "[DONE]" else json.loads(data) for data in events), streamed=True
            )
        except (ValueError, RecursionError, LimitExceeded):
            return cls(answered, ())

    def altered(self, path: str, alter: Callable[[Any], Any]) -> Answered:
        """The answer with the field at *path* altered wherever it stands."""
        if not self.documents:
            return self.answered
        texts = []
        for document in self.documents:
            changed = copy.deepcopy(document)
            if path:
                _alter(changed, path.split("."), alter)
            texts.append(changed if changed == "[DONE]" else json.dumps(changed))
        body = "".join(f"data: {text}\n\n" for text in texts) if self.streamed else texts[0]
        return Answered(self.answered.status, self.answered.headers, 0.0, (Piece(0.0, body.encode()),))


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that says something, with its path."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, f"{path}[]")
    elif path and value not in (None, "", 0, False):
        yield path, value


def _alter(value: Any, steps: list[str], alter: Callable[[Any], Any]) -> None:
    """Put what *alter* makes of it in place of what stands at the end of *steps*, wherever there is something."""
    if not isinstance(value, dict):
        return
    name = steps[0].rstrip("[]")
    depth = steps[0].count("[]")
    if name not in value:
        return
    if len(steps) == 1:
        made = _deep(value[name], depth, alter)
        if made is _MISSING:
            del value[name]
        else:
            value[name] = made
        return
    held = [value[name]]
    for _ in range(depth):
        held = [item for one in held if isinstance(one, list) for item in one]
    for one in held:
        _alter(one, steps[1:], alter)


def _deep(value: Any, depth: int, alter: Callable[[Any], Any]) -> Any:
    if not depth or not isinstance(value, list):
        return alter(value)
    made = [_deep(item, depth - 1, alter) for item in value]
    return [item for item in made if item is not _MISSING]


def _same(value: Any) -> Any:
    return value


def _drop(_: Any) -> Any:
    return _MISSING


def _other(value: Any) -> Any:
    """Something else of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return f"{value}~" if isinstance(value, str) else value
