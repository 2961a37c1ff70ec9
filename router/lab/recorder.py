"""Records real traffic: stands between a router and its connections, and writes down what goes over them.

Knows what may be kept: no header that holds a key, none that is not known to be harmless, and no body with a key in it.
Refuses to change or to delay anything: what cannot be written is not recorded, and the request goes on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from providers.errors import ProviderError, one_line
from providers.transport import Transport
from router.lab.recording import (
    Answered,
    Ended,
    Failed,
    Piece,
    Recorded,
    RecordingError,
    check_first,
    first_line,
    line_of,
)
from router.lab.scrubbing import Scrub

if TYPE_CHECKING:
    from providers.transport import Response
    from providers.wire import HttpRequest
    from router.config import Provider

log = logging.getLogger("router")

MOST = 256 * 2**20  # bytes of a file, after which nothing more is recorded
MOST_EACH = 8 * 2**20  # bytes of one request, or of one answer, above which its bodies are withheld
# Of an answer's headers those are kept that say how it is to be read, or what the account may still do; a cookie or the
# name of an organization is nobody's business.
_KEPT = re.compile(
    r"content-type|date|server|retry-after(-ms)?|x-should-retry|x-(request|inference)-id|x-\w*cost\w*|[\w-]*rate-?limit[\w-]*"
    r"|[\w-]*quota[\w-]*",
    re.IGNORECASE | re.ASCII,
)
_SENT = frozenset({"content-type", "accept", "user-agent"})


class Recorder:
    """Writes the traffic of a router to *file*; hand it to the router as its `transports`.

    A file that is there already is continued, if it is a recording. It is readable by its owner alone: keys are taken
    out of what is recorded, prompts and answers are not.

    Args:
        file: where to; JSON lines, see `router.lab.recording`.
        secrets: what must not be in it beside the keys and hidden headers of the providers, which are known anyway.
        transports: makes the connections that are recorded; ordinary ones by default.
        most, most_each: bytes of the file, and of one body. What is larger is not recorded, and the log says so.

    Raises:
        RecordingError: *file* cannot be written, or holds something else.
    """

    def __init__(
        self,
        file: str | Path,
        *,
        secrets: Iterable[str] = (),
        transports: Callable[[Provider], Transport] | None = None,
        most: int = MOST,
        most_each: int = MOST_EACH,
    ) -> None:
        self.file, self.recorded, self.stopped = Path(file), 0, ""
        self._make = transports or (lambda _: Transport())
        self._most, self._most_each = most, most_each
        self._scrub = Scrub()
        self._scrub.learn(secrets)
        self._began: float | None = None
        self._opened: int | None
        self._size, self._opened = _opened(self.file)

    def __call__(self, provider: Provider) -> Transport:
        """The connections to *provider*, recorded."""
        self._scrub.learn(key.secret.reveal() for key in provider.keys)
        return cast("Transport", _Recording(self, provider, self._make(provider)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what is still under way is not recorded any more."""
        if self._opened is not None:
            os.close(self._opened)
            self._opened = None

    def time(self) -> float:
        """Seconds since the recording began, by the event loop's clock."""
        now = asyncio.get_running_loop().time()
        self._began = now if self._began is None else self._began
        return now - self._began

    def learn(self, secrets: Iterable[str]) -> None:
        """Keep these out of the file too."""
        self._scrub.learn(secrets)

    def write(self, one: Recorded) -> None:
        """Write *one* exchange, without keys."""
        if self._opened is None or self.stopped:
            return
        line = line_of(self._clean(one))
        if self._size + len(line) > self._most:
            self._stop(f"{self.file} is full: {self._most} bytes")
            return
        try:
            os.write(self._opened, line)
        except OSError as error:
            self._stop(f"{self.file} cannot be written: {error.strerror or error}")
            return
        self._size += len(line)
        self.recorded += 1

    def _stop(self, why: str) -> None:
        self.stopped = why
        log.warning("%s; nothing more is recorded", why)

    def _clean(self, one: Recorded) -> Recorded:
        scrub, response = self._scrub, one.response
        withheld = one.withheld
        if withheld is None and response is not None:
            pieces = scrub.pieces(response.pieces)
            cleaned = Answered(response.status, _harmless(response.headers, scrub), response.after, pieces)
            if scrub.hidden_in(cleaned.body):
                withheld = "a key is spelled out in the answer"
            response = cleaned
        if withheld is not None and response is not None:
            response = Answered(response.status, _harmless(response.headers, scrub), response.after)
        failure = one.failure
        return Recorded(
            provider=one.provider,
            method=one.method,
            path=scrub.text(one.path),
            body=None if withheld is not None else scrub.json(one.body),
            headers={name: scrub.text(value) for name, value in one.headers.items() if name.lower() in _SENT},
            at=one.at,
            response=response,
            ended=one.ended,
            failure=None if failure is None else Failed(failure.kind, one_line(scrub.text(failure.why))),
            withheld=withheld,
        )


def _harmless(headers: Mapping[str, str], scrub: Scrub) -> dict[str, str]:
    return {name: scrub.text(value) for name, value in headers.items() if _KEPT.fullmatch(name)}


def _opened(file: Path) -> tuple[int, int]:
    """The size of *file* and its descriptor, ready to append to."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        message = f"{file}: cannot be written: {error.strerror or error}"
        raise RecordingError(message) from None
    try:
        with open(descriptor, "rb", closefd=False) as reading:  # a descriptor is no path
            first = reading.readline(1000)
            size = reading.seek(0, os.SEEK_END)
            if first:
                check_first(first, str(file))
                reading.seek(size - 1)
                if reading.read(1) != b"\n":
                    size += os.write(descriptor, b"\n")
        if not first:
            size = os.write(descriptor, first_line())
    except BaseException:
        os.close(descriptor)
        raise
    return size, descriptor


class _Recording:
    """Stands for `providers.transport.Transport`: another one, and every exchange on it written down."""

    def __init__(self, recorder: Recorder, provider: Provider, inner: Transport) -> None:
        self._recorder, self._provider, self._inner = recorder, provider, inner
        self.mailbox, self.clock = inner.mailbox, inner.clock

    async def send(self, http: HttpRequest, *, secrets: Mapping[str, str], connect: float | None = None) -> Response:
        """Send *http*; returns when the headers have come."""
        recorder = self._recorder
        recorder.learn(secrets.values())
        at = recorder.time()
        exchange = _Exchange(self._provider, http, at, recorder)
        try:
            inner = await self._inner.send(http, secrets=secrets, connect=connect)
        except ProviderError as error:
            exchange.over("failed", Failed(type(error).__name__, error.message))
            raise
        except asyncio.CancelledError:
            exchange.over("left")
            raise
        return cast("Response", _Tapped(inner, exchange, recorder.time() - at))

    def leave(self, response: Response, *, whole: bool) -> None:
        """Give *response* back, and write down what came of it."""
        tapped = cast("_Tapped", response)
        tapped.over(whole=whole)
        self._inner.leave(tapped.inner, whole=whole)

    async def close(self) -> None:
        """Close every connection."""
        await self._inner.close()


class _Exchange:
    """One exchange under way, written down once it is over."""

    def __init__(self, provider: Provider, http: HttpRequest, at: float, recorder: Recorder) -> None:
        self._provider, self._http, self.at, self.recorder = provider, http, at, recorder
        self.most = recorder._most_each  # noqa: SLF001  # both are this module's

    def over(
        self, ended: Ended, failure: Failed | None = None, response: Answered | None = None, *, too_large: bool = False
    ) -> None:
        http, provider = self._http, self._provider
        too_large |= len(http.body) > self.most
        path = http.url.removeprefix(provider.base_url)
        if path == http.url:  # not below its base_url: then the path of the URL
            path = re.sub(r"^[a-z]+://[^/]*", "", http.url)
        self.recorder.write(
            Recorded(
                provider=provider.name,
                method=http.method,
                path=path.partition("?")[0],
                body=None if too_large else http.json,
                headers={name: value for name, value in http.headers.items() if name not in http.hidden},
                at=self.at,
                response=response,
                ended=ended,
                failure=failure,
                withheld=f"larger than {self.most} bytes" if too_large else None,
            )
        )


class _Tapped:
    """Stands for `providers.transport.Response`: another one, and what was read of it kept until it is over."""

    def __init__(self, inner: Response, exchange: _Exchange, after: float) -> None:
        self.inner, self.status, self.headers = inner, inner.status, inner.headers
        self._exchange, self._after = exchange, after
        self._pieces: list[Piece] = []
        self._size = 0
        self._last = exchange.recorder.time()
        self._failure: Failed | None = None

    @property
    def content_type(self) -> str:
        return self.inner.content_type

    @property
    def at_end(self) -> bool:
        return self.inner.at_end

    @property
    def is_broken(self) -> bool:
        return self.inner.is_broken

    def read_now(self) -> bytes:
        """What has arrived already."""
        try:
            return self._note(self.inner.read_now())
        except ProviderError as error:
            self._failure = Failed(type(error).__name__, error.message)
            raise

    async def read(self) -> bytes:
        """The next bytes; empty at the end."""
        try:
            return self._note(await self.inner.read())
        except ProviderError as error:
            self._failure = Failed(type(error).__name__, error.message)
            raise

    def _note(self, data: bytes) -> bytes:
        if data:
            now = self._exchange.recorder.time()
            self._size += len(data)
            if self._size <= self._exchange.most:
                self._pieces.append(Piece(max(now - self._last, 0.0), data))
            else:
                self._pieces.clear()
            self._last = now
        return data

    def over(self, *, whole: bool) -> None:
        """Write down what came."""
        ended: Ended = "failed" if self._failure else "whole" if whole or self.inner.at_end else "left"
        answered = Answered(self.status, dict(self.headers), self._after, tuple(self._pieces))
        self._exchange.over(ended, self._failure, answered, too_large=self._size > self._exchange.most)

    def close(self) -> None:
        """Drop the connection."""
        self.inner.close()

    def release(self) -> None:
        """Give the connection back."""
        self.inner.release()


def secrets_of(providers: Mapping[str, Any]) -> list[str]:
    """Every key that *providers* of a configuration hold, to keep each of them out of a recording."""
    return [key.secret.reveal() for provider in providers.values() for key in provider.keys]
