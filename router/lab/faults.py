"""What can go wrong with an answer, as frozen values.

Knows the names and the numbers of the faults. Knows no provider's words (an emulator has them) and no socket
(``emulators.sending`` has it).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from math import inf
from typing import Any

Body = bytes | str | Mapping[str, Any] | list[Any] | None

# Stand in place of the whole answer: the request is not even validated.
_AT_ARRIVAL = frozenset(
    {"status", "words", "error_in_200", "redirect", "html_200", "empty_200"}
    | {"refuse", "reset", "silence", "garbage", "interim_forever"}
)
# Only mean something for a request that asks for a stream; others leave them waiting in the script.
_STREAM_ONLY = frozenset(
    {"json_instead_of_stream", "first_token_delay", "cut_after", "reset_after", "stall_after", "hold_open", "no_done"}
    | {"malformed_event", "error_event", "duplicate_event", "empty_stream", "comments_forever", "framing"}
    | {"late_usage"}
)
# Only mean something for a whole answer.
_WHOLE_ONLY = frozenset({"truncate_body", "body_reset", "stall_body", "trickle_headers"})
_REDIRECTS = (301, 302, 303, 307, 308)
_NEWLINES = ("\n", "\r", "\r\n")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. Make it with one of the constructors; what a field means depends on *kind*."""

    kind: str
    http_status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body: Body = None
    code: str | int | None = None
    seconds: float = 0.0
    count: int = 0
    flag: bool = False
    newline: str = "\n"
    times: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no emulator could carry out.

        Raises:
            ValueError: with what would have been right.
        """
        for problem in _problems(self):
            raise ValueError(f"{self.kind}: {problem}")

    @property
    def needs(self) -> str:
        """What kind of request it is for: `stream`, `whole` or `any`."""
        return "stream" if self.kind in _STREAM_ONLY else "whole" if self.kind in _WHOLE_ONLY else "any"

    def __repr__(self) -> str:
        """The constructor's name and what differs from the defaults."""
        said = {field.name: getattr(self, field.name) for field in fields(self)[1:]}
        shown = [f"{name}={value!r}" for name, value in said.items() if value not in (0, (), None, "\n")]
        return f"Fault({', '.join([repr(self.kind), *shown])})"

    @property
    def at_arrival(self) -> bool:
        """Whether it replaces the answer before the request is looked at."""
        return self.kind in _AT_ARRIVAL

    def fits(self, *, streaming: bool, generates: bool) -> bool:
        """Whether it can be applied to such a request; if not, it waits for one that fits."""
        if self.at_arrival:
            return True
        return generates and self.kind not in (_WHOLE_ONLY if streaming else _STREAM_ONLY)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Every constructor, sorted: what a drill walks through."""
        made = (name for name, value in vars(cls).items() if isinstance(value, classmethod))
        return tuple(sorted(name for name in made if name != "names" and not name.startswith("_")))

    @classmethod
    def status(cls, code: int, headers: Mapping[str, str] | None = None, body: Body = None) -> Fault:
        """Any status; without *body* in the provider's own envelope for it."""
        return cls("status", http_status=code, headers=tuple((headers or {}).items()), body=body)

    @classmethod
    def _words(cls, code: str, headers: Mapping[str, str] | None = None) -> Fault:
        return cls("words", code=code, headers=tuple((headers or {}).items()))

    @classmethod
    def rate_limited(cls, retry_after: str | float | None = None) -> Fault:
        """429. None of the four providers is known to send Retry-After, so it is absent unless asked for."""
        return cls._words("rate_limited", None if retry_after is None else {"Retry-After": str(retry_after)})

    @classmethod
    def out_of_credit(cls) -> Fault:
        """402; AIML's 403, OpenAI's 429 "insufficient_quota"."""
        return cls._words("out_of_credit")

    @classmethod
    def bad_key(cls) -> Fault:
        """401, as if the key had been revoked."""
        return cls._words("bad_key")

    @classmethod
    def server_error(cls) -> Fault:
        """500."""
        return cls._words("server_error")

    @classmethod
    def overloaded(cls) -> Fault:
        """503."""
        return cls._words("overloaded")

    @classmethod
    def gateway_timeout(cls) -> Fault:
        """504: the provider's upstream did not answer."""
        return cls._words("gateway_timeout")

    @classmethod
    def model_gone(cls) -> Fault:
        """The model has left the catalogue: the provider's words for an unknown model."""
        return cls._words("model_gone")

    @classmethod
    def context_length(cls) -> Fault:
        """The prompt is too long for the model."""
        return cls._words("context_length")

    @classmethod
    def content_policy(cls) -> Fault:
        """The prompt was refused by moderation."""
        return cls._words("content_policy")

    @classmethod
    def error_in_200(cls, code: str | int | None = None) -> Fault:
        """HTTP 200 whose JSON body is an error; as the first event when a stream was asked for is *error_event*."""
        return cls("error_in_200", code=code)

    # --- The connection, before an answer -----------------------------------------------------------------------

    @classmethod
    def refuse(cls) -> Fault:
        """Close before any header (FIN)."""
        return cls("refuse")

    @classmethod
    def reset(cls) -> Fault:
        """Reset before any header (RST)."""
        return cls("reset")

    @classmethod
    def silence(cls) -> Fault:
        """Read the request and never answer, until the client leaves."""
        return cls("silence")

    @classmethod
    def interim_forever(cls, interval: float = 0.02) -> Fault:
        """Interim 102 responses, one every *interval* seconds, and never a final one."""
        return cls("interim_forever", seconds=interval)

    @classmethod
    def slow_headers(cls, seconds: float) -> Fault:
        """A right answer whose headers come after *seconds*."""
        return cls("slow_headers", seconds=seconds)

    @classmethod
    def slow(cls, times: float) -> Fault:
        """A right answer whose first token, and every token after it, takes so many times as long."""
        return cls("slow", times=times)

    @classmethod
    def trickle_headers(cls, size: int = 1, interval: float = 0.02) -> Fault:
        """A right answer whose bytes, headers first, come *size* at a time."""
        return cls("trickle_headers", count=size, seconds=interval)

    @classmethod
    def garbage(cls, raw: bytes = b"SSH-2.0-OpenSSH_9.6\r\n") -> Fault:
        """Any raw bytes in place of an HTTP response, then close: a broken status line, two lengths, a second answer."""
        return cls("garbage", body=raw)

    @classmethod
    def redirect(cls, url: str, code: int = 307) -> Fault:
        """A redirect to *url*; code is 301, 302, 303, 307 or 308."""
        return cls("redirect", http_status=code, headers=(("Location", url),))

    @classmethod
    def html_200(cls) -> Fault:
        """An HTML page under 200, as a proxy or a captive portal sends it."""
        return cls("html_200")

    @classmethod
    def empty_200(cls) -> Fault:
        """200 with no body at all."""
        return cls("empty_200")

    @classmethod
    def lost_response(cls) -> Fault:
        """The request is accepted, worked on and billed; the connection dies before the answer."""
        return cls("lost_response")

    @classmethod
    def duplicate_task(cls) -> Fault:
        """The request arrives twice, and the second copy is answered: where tasks have names, that one is taken.

        Only Runware's have; elsewhere it changes nothing.
        """
        return cls("duplicate_task")

    @classmethod
    def truncate_body(cls, size: int) -> Fault:
        """The first *size* bytes of the body, then close although Content-Length promised more."""
        return cls("truncate_body", count=size)

    @classmethod
    def body_reset(cls) -> Fault:
        """Half of the body, then RST."""
        return cls("body_reset")

    @classmethod
    def stall_body(cls, size: int = 1) -> Fault:
        """The first *size* bytes of the body, then nothing."""
        return cls("stall_body", count=size)

    @classmethod
    def trickle(cls, size: int, interval: float) -> Fault:
        """The body, whole or stream, *size* bytes at a time, one piece every *interval* seconds."""
        return cls("trickle", count=size, seconds=interval)

    @classmethod
    def drop_after(cls) -> Fault:
        """A right answer, after which the kept-alive connection is closed without having said so."""
        return cls("drop_after")

    # --- A stream. Events are counted from 0; comments and [DONE] do not count ----------------------------------

    @classmethod
    def json_instead_of_stream(cls) -> Fault:
        """The whole answer as one JSON body, although a stream was asked for."""
        return cls("json_instead_of_stream")

    @classmethod
    def first_token_delay(cls, seconds: float) -> Fault:
        """Headers (and a role-only event, where the provider has one) at once, the first token after *seconds*."""
        return cls("first_token_delay", seconds=seconds)

    @classmethod
    def cut_after(cls, events: int, *, clean: bool = True) -> Fault:
        """End after so many events: a proper end of the HTTP body, or with clean=False a bare FIN."""
        return cls("cut_after", count=events, flag=clean)

    @classmethod
    def reset_after(cls, events: int) -> Fault:
        """RST after so many events."""
        return cls("reset_after", count=events)

    @classmethod
    def stall_after(cls, events: int) -> Fault:
        """Nothing more after so many events, the connection stays open."""
        return cls("stall_after", count=events)

    @classmethod
    def hold_open(cls) -> Fault:
        """A complete stream, [DONE] included, whose HTTP body never ends."""
        return cls("hold_open")

    @classmethod
    def malformed_event(cls, at: int) -> Fault:
        """Event number *at*, from 0, is broken JSON; the rest is right."""
        return cls("malformed_event", count=at)

    @classmethod
    def error_event(cls, at: int, body: Body = None, *, done: bool = False) -> Fault:
        """In place of event number *at*, from 0, an error frame, which ends the stream, with or without [DONE]."""
        return cls("error_event", count=at, body=body, flag=done)

    @classmethod
    def duplicate_event(cls, at: int) -> Fault:
        """Event number *at*, from 0, comes twice."""
        return cls("duplicate_event", count=at)

    @classmethod
    def no_done(cls) -> Fault:
        """Everything but [DONE]."""
        return cls("no_done")

    @classmethod
    def late_usage(cls, seconds: float) -> Fault:
        """The last event, which brings usage or cost where a provider has them, comes *seconds* after the others."""
        return cls("late_usage", seconds=seconds)

    @classmethod
    def no_finish(cls) -> Fault:
        """finish_reason stays null, whole or streamed."""
        return cls("no_finish")

    @classmethod
    def abort(cls) -> Fault:
        """An engine's abort: half of the text, finish_reason "abort" and a normal [DONE]."""
        return cls("abort")

    @classmethod
    def empty_stream(cls, *, done: bool = True) -> Fault:
        """A stream with nothing but [DONE], or with nothing at all."""
        return cls("empty_stream", flag=done)

    @classmethod
    def comments_forever(cls, interval: float = 0.02, *, after: int = 0) -> Fault:
        """After so many events only comments, for ever: bytes flow and nothing is said."""
        return cls("comments_forever", seconds=interval, count=after)

    @classmethod
    def framing(cls, newline: str = "\r\n", *, bom: bool = False) -> Fault:
        """A right stream in another legal framing: CRLF or CR line ends, a byte order mark first."""
        return cls("framing", newline=newline, flag=bom)

    @classmethod
    def think_in_content(cls) -> Fault:
        """Reasoning leaks into content as <think>…</think>."""
        return cls("think_in_content")

    @classmethod
    def answer_in_reasoning(cls) -> Fault:
        """The whole answer lands in the reasoning field and content stays empty."""
        return cls("answer_in_reasoning")

    @classmethod
    def usage_missing(cls) -> Fault:
        """No usage, where there should be one."""
        return cls("usage_missing")


def _problems(fault: Fault) -> Iterator[str]:
    """What keeps *fault* from being carried out."""
    yield from _wrong_numbers(fault)
    if fault.kind == "status" and not (isinstance(fault.http_status, int) and 99 <= fault.http_status <= 999):
        yield f"{fault.http_status!r} is no status; write 99 to 999"  # three digits, and the one below them
    if fault.kind == "redirect" and fault.http_status not in _REDIRECTS:
        yield f"{fault.http_status!r} is no redirect; write {', '.join(map(str, _REDIRECTS))}"
    for name, value in fault.headers:
        if _HEADER.fullmatch(name) is None or _CONTROL.search(str(value)):
            yield f"the header {name!r} has characters that no header can have"
    if fault.newline not in _NEWLINES:
        yield f"{fault.newline!r} ends no line; write one of {', '.join(map(repr, _NEWLINES))}"


def _wrong_numbers(fault: Fault) -> Iterator[str]:
    for name in ("count", "seconds", "times"):
        value, whole = getattr(fault, name), name == "count"
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            yield f"{value!r} is no {'whole number' if whole else 'number'}"
        elif not 0 <= value < inf:
            yield f"{value!r} is less than 0, or endless"
    if fault.kind == "slow" and not fault.times:
        yield "0 times as long is no time at all; write e.g. 10"
    if fault.kind in ("trickle", "trickle_headers") and not fault.count:
        yield "pieces of 0 bytes never come to an end; write e.g. 1"
