"""One call, sent and read: from a `Call` to chunks.

Knows the protocols by name, the time limits of one exchange, and how bytes become events. Refuses to know other
endpoints, retries and routes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from providers import chat_completions, tasks
from providers import errors as e
from providers.alarm import Alarm
from providers.sse import EventParser, LimitExceeded
from providers.transport import Response, Transport, received
from providers.types import Chunk, Request
from providers.wire import Call, HttpRequest, Poll, Reader, WireProtocol

if TYPE_CHECKING:
    from providers.dialect import Endpoint

# A new wire protocol is one file with `row`, `path`, `encode` and `reader`, and one line here.
PROTOCOLS: Mapping[str, WireProtocol] = {
    "chat_completions": cast("WireProtocol", chat_completions),
    "tasks": cast("WireProtocol", tasks),
}

BODY_LIMIT = 64 * 2**20  # bytes of a whole answer
THREAD_ABOVE = 4 * 2**20  # bytes from which JSON is parsed beside the event loop, not in it
PROGRESS, LEAST = 30.0, 1024  # seconds in which so many bytes of a whole answer must come, or it is only a trickle
POLL_FAILURES = 10  # polls that may fail before the job is given up (reliability.md, 1.14)
LOOK = 1.0  # seconds of silence after which the connection is looked at
SNIFF = 6  # bytes that tell a stream of events from anything else
LATE = 0.1  # seconds that the cost may take after the end
GRACE = 2.0  # seconds that usage, cost and the end of a stream may take after its finish_reason


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits of one exchange in seconds; None for none.

    *connect*: until connected. *headers*: until the headers have come. *first_token*: until the first chunk that says
    something. *idle*: between two such chunks, and between two pieces of a whole answer. *total*: of the exchange.
    """

    connect: float | None = 5.0
    headers: float | None = None
    first_token: float | None = 60.0
    idle: float | None = 60.0
    total: float | None = None


def encode(request: Request, endpoint: Endpoint, *, streaming: bool = False, key: str = "") -> Call:
    """*request* in *endpoint*'s own words. Pure.

    Raises:
        Untranslatable: there is no way to say it there.
    """
    return PROTOCOLS[endpoint.protocol].encode(request, endpoint, streaming=streaming, key=key)


class Exchange:
    """One call under way: `next()` until it is empty, and `close()` in any case.

    *reader*: the protocol's reader, with the provider's `id`, its `model`, and the `changes` seen in the answer.
    *status*, *headers*: of the last HTTP response; None and empty before there was one.
    """

    __slots__ = (
        "_alarm",
        "_asked",
        "_call",
        "_failure",
        "_http",
        "_limits",
        "_loop",
        "_parser",
        "_poll",
        "_poll_failures",
        "_polled",
        "_response",
        "_secret",
        "_secrets",
        "_started",
        "_total",
        "_transport",
        "_waited",
        "headers",
        "reader",
        "status",
    )  # fmt: skip

    def __init__(self, call: Call, transport: Transport, *, secret: str | None, limits: Limits) -> None:
        self._call, self._transport, self._secret, self._limits = call, transport, secret, limits
        endpoint = call.endpoint
        hidden = endpoint.hidden_headers
        self._secrets = {name: value.reveal() for name, value in hidden.items()} if hidden else {}
        if secret is not None:
            self._secrets[endpoint.auth.header] = f"{endpoint.auth.scheme} {secret}".strip()
        self._total = limits.total
        self._loop = asyncio.get_running_loop()
        self._started = self._asked = self._loop.time()
        self._alarm = Alarm(self._loop)
        self._waited: float | None = None  # seconds waited since the last progress; None before the first token
        self._http: HttpRequest | None = call.http  # what to send next; None when nothing is left to send
        self._response: Response | None = None
        self._poll: Poll | None = None
        self._polled: Poll | None = None  # the poll that was sent last
        self._poll_failures = 0
        self._failure: e.ProviderError | None = None  # raised after the chunks that came before it
        self.reader: Reader = PROTOCOLS[call.endpoint.protocol].reader(call)
        self.status: int | None = None
        self.headers: Mapping[str, str] = {}

    async def next(self) -> list[Chunk]:
        """The chunks that came with what arrived next; empty when the answer is over.

        Raises:
            ProviderError: whatever went wrong, keys removed. Chunks that came before it were returned before.
        """
        try:
            if self._failure is not None:
                raise self._failure
            while (response := self._response) is not None or self._http is not None:
                if response is None:
                    batch = await self._begin()
                elif self._poll is None:
                    ended = self.reader.closed and not self.reader.awaits_cost
                    batch = self._events(b"" if ended else await self._bytes(response))
                else:
                    poll, self._poll = self._poll, None
                    batch = await self._later(poll)
                if batch:
                    return batch
        except e.ProviderError as error:
            self.close()
            again = await self._poll_again(error)
            if again is not None:
                return again or await self.next()
            error.deployment = self._call.endpoint.name
            for secret in (self._secret, *self._secrets.values()):
                if secret:
                    error.scrub(secret)
            raise
        return []

    @property
    def over(self) -> bool:
        """True when nothing more will come: the next thing that `next` returns is empty."""
        return self._response is None and self._http is None and self._failure is None

    def close(self, *, whole: bool = False) -> None:
        """Give the connection back, or drop it where the answer was not read as a *whole*. May be called again."""
        response, self._response, self._http = self._response, None, None
        self._alarm.stop()
        if response is not None:
            self._transport.leave(response, whole=whole)
        if not whole and self._polled is not None:  # between two polls it is closed as a whole
            self._transport.mailbox.leave(self._polled.task)

    @property
    def clock(self) -> Callable[[], float]:
        """The calendar's clock, as the connections have it: seconds since 1970."""
        return self._transport.clock

    @property
    def request_id(self) -> str | None:
        """The provider's id of the exchange, as its headers say it."""
        found = self.headers.get("x-request-id") or self.headers.get("x-inference-id")
        return found.replace(self._secret, "***") if found and self._secret else found

    def extend(self, total: float) -> None:
        """Let the exchange take *total* seconds from its start: what has begun need not leave time for others."""
        self._total = total

    async def _begin(self) -> list[Chunk]:
        """Send what is to be sent, and read as far as the first chunks."""
        http, self._http = self._http, None
        assert http is not None  # noqa: S101  # `next` asks first
        response = self._response = await self._open(http)
        if not 200 <= response.status < 300:
            body = await self._refusal(response)
            if self._secret:  # before anything is cut: half a key is a key too
                body = body.replace(self._secret.encode(), b"***")
            dated = received(response.headers, self._transport.clock())
            return await self._later(self.reader.refused(response.status, body, dated))
        first = await self._first_bytes(response)
        if _is_stream(response.content_type, first):
            self._parser = EventParser()
            return self._events(first)
        answer = await self._whole(response, first)
        if isinstance(answer, Poll):
            return await self._later(answer)
        self.close(whole=True)
        self._failure = self.reader.failure
        return answer

    async def _poll_again(self, error: e.ProviderError) -> list[Chunk] | None:
        """Get ready to send a poll that failed once more: the job it asks after does not fail with it.

        None where *error* is the answer; else what a webhook has brought meanwhile, if anything.
        """
        poll = self._polled
        if poll is None or not error.here or self.status == 200 or self._poll_failures >= POLL_FAILURES:
            return None
        self._poll_failures += 1
        try:
            return await self._later(poll)
        except e.ProviderTimeout:
            return None

    async def _first_bytes(self, response: Response) -> bytes:
        """As much as it takes to see what this is, where its label does not say."""
        first = await self._bytes(response)
        if response.content_type in ("text/event-stream", "application/json"):
            return first
        while len(first.lstrip()) < SNIFF and first.lstrip()[:1] in (b"d", b"e", b""):
            if not (more := await self._bytes(response)):
                break
            first += more
        return first

    async def _later(self, poll: Poll) -> list[Chunk]:
        """Wait before the poll is sent; nothing has come so far."""
        self.close(whole=True)
        total = self._total
        if total is not None and self._loop.time() + poll.after >= self._started + total:
            message = "the task is not finished, and this attempt has no time left to ask again"
            raise e.ProviderTimeout(message, phase="answer")
        self._polled = poll
        brought = await self._transport.mailbox.wait(poll.task, poll.after)
        if brought is None:
            self._http = poll.http
            return []
        answer = self.reader.delivered(brought)
        if isinstance(answer, Poll):
            return await self._later(answer)
        self._transport.mailbox.forget(poll.task)
        self._failure = self.reader.failure
        return answer

    def _events(self, data: bytes) -> list[Chunk]:
        """The chunks in *data*; at the end of the stream, what was still held."""
        reader, chunks = self.reader, []
        if not data:
            chunks = reader.end()
            self.close(whole=True)
            return chunks
        try:
            for event in self._parser.data(data):
                found = reader.event(event)
                if isinstance(found, Poll):
                    self._poll = found
                    break
                chunks += found
        except LimitExceeded as error:
            for late in error.events:
                chunks += cast("list[Chunk]", reader.event(late.data))
            self._failure = e.MalformedReply(str(error), status=self.status)
        except e.ProviderError as error:
            self._failure = error
        if self._failure is not None and not chunks:
            raise self._failure
        for chunk in chunks:
            if chunk.content or chunk.reasoning_content or chunk.tool_calls:
                self._waited = 0.0
                break
        return chunks

    async def _open(self, http: HttpRequest) -> Response:
        limits = self._limits
        sent = self._loop.time()  # a job is polled by many requests, each with its own limits
        headers_by = None if limits.headers is None else sent + limits.headers
        first_by = sent + limits.first_token if self._call.streaming and limits.first_token is not None else None
        ends = self._by(self._total)
        at = _earliest(headers_by, first_by, ends)
        try:
            with self._alarm.until(at):
                response = await self._transport.send(http, secrets=self._secrets, connect=limits.connect)
        except TimeoutError:
            phase: e.Phase = "answer" if at == ends else "headers" if at == headers_by else "first_token"
            message = f"no answer within {self._loop.time() - self._started:.3g} s"
            raise e.ProviderTimeout(message, phase=phase) from None
        self.status, self.headers = response.status, response.headers
        self._asked = sent
        return response

    def _by(self, limit: float | None) -> float | None:
        return None if limit is None else self._started + limit

    async def _bytes(self, response: Response) -> bytes:
        """The next bytes; empty at the end. Only the time spent waiting for the provider counts."""
        if data := response.read_now():
            return data
        if response.at_end:
            return b""
        begun = now = self._loop.time()
        at, phase = self._next_limit(begun)
        # Looks up now and then: a connection that broke does not always say so.
        while True:
            look = now + LOOK
            until = look if at is None or look < at else at
            try:
                with self._alarm.until(until):
                    data = await response.read()
                break
            except e.BrokenReply:
                if self.reader.finished:
                    return b""  # all has been said; that the connection broke afterwards takes nothing away
                raise
            except TimeoutError:
                looked = self._looked(response, phase if until == at else None)
                if looked is not None:
                    data = looked
                    break
                now = self._loop.time()
        if self._waited is not None:
            self._waited += self._loop.time() - begun
        return data

    def _looked(self, response: Response, phase: str | None) -> bytes | None:
        """What there is although nobody was woken; None where it is still waited for. *phase*: whose time is over.

        Raises:
            TruncatedReply, ProviderTimeout: there is nothing, and nothing will come.
        """
        if response.is_broken:
            if self.reader.finished:
                return b""
            message = "the connection broke inside the answer"
            raise e.TruncatedReply(message, status=self.status) from None
        data = response.read_now()  # it may have arrived together with the timer
        if data or phase is None:
            return data or None
        if phase == "grace":  # all has been said; only usage, cost or the end are missing
            return b""
        raise self._late(phase) from None

    def _late(self, phase: str) -> e.ProviderTimeout:
        seconds = self._limits.idle if phase == "idle" else self._loop.time() - self._started
        message = f"nothing that says anything came for {seconds:.3g} s"
        if phase == "answer" and self._waited is not None:  # it had begun, and may have been coming all the time
            message = f"the answer was not complete after {seconds:.3g} s"
        return e.ProviderTimeout(message, phase=cast("e.Phase", phase), status=self.status)

    def _next_limit(self, now: float) -> tuple[float | None, str]:
        limits = self._limits
        if self.reader.closed:
            at: float | None = now + LATE
            phase = "grace"
        elif self.reader.finished:
            at, phase = now + GRACE, "grace"
        elif self._waited is None:
            at, phase = None if limits.first_token is None else self._asked + limits.first_token, "first_token"
            if not self._call.streaming and limits.idle is not None:
                at, phase = now + limits.idle, "idle"
        else:
            at, phase = (None if limits.idle is None else now + limits.idle - self._waited), "idle"
        ends = self._by(self._total)
        if ends is not None and (at is None or ends < at):
            at, phase = ends, "grace" if phase == "grace" else "answer"
        return at, phase

    async def _whole(self, response: Response, first: bytes) -> list[Chunk] | Poll:
        body = await self._body(response, first)
        if not body.strip():
            message = f"HTTP {response.status} with an empty body"
            raise e.EmptyReply(message, status=response.status)
        if response.content_type == "text/html" or body.lstrip()[:1] == b"<":
            message = "a page of HTML came in place of an answer"
            raise e.ProtocolViolation(message, status=response.status, body=body[:2000].decode("utf-8", "replace"))
        if len(body) > THREAD_ABOVE:
            return await asyncio.to_thread(self.reader.whole, body, response.headers)
        return self.reader.whole(body, response.headers)

    async def _refusal(self, response: Response) -> bytes:
        """As much of an error's body as comes: the status has said what it is, whatever becomes of the words."""
        pieces: list[bytes] = []
        size = 0
        try:
            while size <= e.BODY_LIMIT and (data := await self._bytes(response)):
                pieces.append(data)
                size += len(data)
        except (e.BrokenReply, e.ProviderTimeout):
            self.close()
        return b"".join(pieces)[: e.BODY_LIMIT]

    async def _body(self, response: Response, first: bytes) -> bytes:
        pieces, size = [first], len(first)
        since, before = self._loop.time(), size
        while data := await self._bytes(response):
            pieces.append(data)
            size += len(data)
            if (now := self._loop.time()) - since >= PROGRESS:
                if size - before < LEAST:
                    message = f"less than {LEAST} bytes came in {PROGRESS:g} s"
                    raise e.ProviderTimeout(message, phase="idle", status=response.status)
                since, before = now, size
            if size > BODY_LIMIT:
                message = f"an answer of more than {BODY_LIMIT} bytes"
                raise e.MalformedReply(message, status=response.status)
        return b"".join(pieces) if len(pieces) > 1 else first


def _is_stream(content_type: str, first: bytes) -> bool:
    """Whether these are server-sent events, by their label, else by their looks."""
    if content_type == "text/event-stream":
        return first.lstrip()[:1] not in (b"{", b"[")
    return content_type != "application/json" and first.lstrip().startswith((b"data:", b"event:", b":"))


def _earliest(*times: float | None) -> float | None:
    known = [time for time in times if time is not None]
    return min(known) if known else None
