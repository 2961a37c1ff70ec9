"""What goes over the wire and comes back, as values; and the interface of a wire protocol.

Knows an HTTP request, a call, and what a protocol turns into what. Refuses to know any protocol, and does no I/O: a
`Reader` is fed what arrived and answers with chunks, with a `Poll` (*not finished, send this*), or with a failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from pydantic_core import to_json

if TYPE_CHECKING:
    from providers.dialect import Endpoint
    from providers.errors import ProviderError
    from providers.types import Change, Chunk, Request


class HttpRequest:
    """One HTTP request, without its keys.

    `headers` show them masked and `hidden` names those headers; what they really hold is put in as it is sent.
    `body` is the JSON as bytes, made once, when it is first looked at: most planned calls are never sent.
    """

    __slots__ = ("_body", "headers", "hidden", "json", "method", "url")

    def __init__(
        self,
        url: str,
        json: Any,
        headers: Mapping[str, str],
        method: str = "POST",
        hidden: frozenset[str] = frozenset(),
    ) -> None:
        self.method, self.url, self.json, self.headers, self.hidden = method, url, json, headers, hidden
        self._body: bytes | None = None

    @property
    def body(self) -> bytes:
        if self._body is None:
            self._body = to_json(self.json)
        return self._body

    def __repr__(self) -> str:
        return f"<{self.method} {self.url}>"


def with_extra(body: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """*body* with the caller's own fields: verbatim, and taking nothing away from a mapping that both know."""
    for name, value in extra.items():
        known = body.get(name)
        both = isinstance(known, dict) and isinstance(value, Mapping)
        body[name] = with_extra(dict(known), value) if both else value  # type: ignore[arg-type]  # both are mappings
    return body


@dataclass(frozen=True, slots=True)
class Call:
    """A request in an endpoint's own words.

    *changes* is every difference between what was asked and what is sent; *thinking* what was settled about reasoning
    (None: left to the provider); *streaming* whether the answer is asked for as a stream; *polled* whether it is a job,
    whose answer is fetched later.
    """

    endpoint: Endpoint
    http: HttpRequest
    changes: tuple[Change, ...] = ()
    thinking: bool | None = None
    streaming: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)  # what a protocol's reader needs to know of its own call
    polled: bool = False


@dataclass(frozen=True, slots=True)
class Poll:
    """Not finished: send *http* in *after* seconds, and feed what comes back to the same reader."""

    http: HttpRequest
    after: float
    task: str = ""
    """The id under which the answer may also be brought, by a webhook."""


class Reader(Protocol):
    """Reads the answer to one call. Fed in the order of arrival; every method may raise a `ProviderError`."""

    finished: bool
    """True when nothing more is needed: all has been said, usage and cost may still follow."""

    closed: bool
    """True when the provider itself has said that this is the end (`[DONE]`)."""

    failure: ProviderError | None
    """Why a whole answer is none, where it has been read for what it cost: to be raised behind that."""

    @property
    def awaits_cost(self) -> bool:
        """True while the cost is still to come and may come even after the end."""
        ...

    def event(self, data: str) -> list[Chunk] | Poll:
        """The chunks that one server-sent event's data means; or that the answer is to be fetched instead."""
        ...

    def whole(self, body: bytes, headers: Mapping[str, str]) -> list[Chunk] | Poll:
        """The chunks that a whole JSON body means."""
        ...

    def delivered(self, payload: Mapping[str, Any]) -> list[Chunk] | Poll:
        """The chunks that a result means which was brought by a webhook."""
        ...

    def refused(self, status: int, body: bytes, headers: Mapping[str, str]) -> Poll:
        """Raise the failure that a refusal means; or a `Poll`, where it means that the answer is to be fetched."""
        ...

    def end(self) -> list[Chunk]:
        """The stream has ended: what was still held, or a failure if it ended too soon."""
        ...


class WireProtocol(Protocol):
    """`encode` and `decode` of one wire format. Pure."""

    row: Mapping[str, Any]
    """What the format itself says of parameters, as YAML would: the lowest layer of every dialect that speaks it."""

    path: str
    """Appended to `base_url`."""

    def encode(self, request: Request, endpoint: Endpoint, *, streaming: bool, key: str) -> Call:
        """*request* in *endpoint*'s words. *key* names the logical request, the same for every retry of it."""
        ...

    def reader(self, call: Call) -> Reader:
        """A fresh reader for the answer to *call*."""
        ...
