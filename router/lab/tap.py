"""A transport that another one stands behind, and through which everything goes: what is heard is told to a recorder.

Knows what the router does with a transport and with a response, and passes every call on as it is. Refuses to know what
is done with what it tells (`recorder`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from providers.errors import ProviderError
from router.lab.recording import Answered, Ended, Failed, Piece, Recorded

if TYPE_CHECKING:
    from providers.transport import Response, Transport
    from providers.wire import HttpRequest
    from router.config import Provider
    from router.lab.recorder import Recorder


class Tap:
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
        self.most = recorder.most_each

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
