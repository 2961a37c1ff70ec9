"""HTTP by aiohttp: the only client code that imports it.

Knows connections, time limits and what aiohttp raises, mapped in one place. Refuses to know JSON, protocols, retries.
One `Transport` a provider: a hundred hung calls to one provider must not block another's.

What is set otherwise than aiohttp's defaults, and why, is in reference to its traps: no redirects (they re-send keys),
no cookies and no proxy environment (they leak between tenants), no limit of connections (ours are elsewhere), no
rounding of deadlines, `Accept-Encoding` as aiohttp can decode.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from email.utils import formatdate
from functools import partial
from io import BytesIO
from math import inf
from types import TracebackType
from typing import Self, cast
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawResponseMessage
from aiohttp.streams import StreamReader
from aiohttp.tracing import Trace
from multidict import CIMultiDict

from providers import errors as e
from providers.mailbox import Mailbox
from providers.wire import HttpRequest

LARGE = 2**20  # bytes from which aiohttp wants a body as a file, to send it in pieces
DEAD = 0.05  # seconds in which a connection shows that it had been closed before; later, the provider has worked on it
INTERIM = 100  # responses of the kind 1xx that may come before an answer (reliability.md, row B6)
DRAIN = 0.1  # seconds a finished stream may take to close, so that its connection is used again (as openai-python)
KEPT = 15.0  # seconds that an idle connection is kept: aiohttp's own
_LOCAL = (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM)
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None, ceil_threshold=1e9)

CreateConnection = Callable[
    [Callable[[], asyncio.Protocol], str, int], Awaitable[tuple[asyncio.Transport, asyncio.Protocol]]
]
"""As an event loop's `create_connection`: from a protocol's factory, a host and a port; raises OSError as it does."""

# What aiohttp raises. RuntimeError: a connection that was closed between two of its own steps.
_RAISED = (aiohttp.ClientError, OSError, ValueError, RuntimeError)


class Response:
    """An answer whose headers have come. Read with `read_now`, then `read`; leave with the transport's `leave`."""

    __slots__ = ("_raw", "content_type", "headers", "status")

    def __init__(self, raw: aiohttp.ClientResponse) -> None:
        self._raw = raw
        self.status = raw.status
        self.headers: Mapping[str, str] = raw.headers
        self.content_type = raw.headers.get("Content-Type", "").split(";", 1)[0].strip().lower()

    @property
    def at_end(self) -> bool:
        return self._raw.content.at_eof()

    @property
    def is_broken(self) -> bool:
        """True when the connection is gone before the end: aiohttp does not wake a reader after a bad chunk size."""
        connection = self._raw.connection
        return connection is not None and (connection.transport is None or connection.transport.is_closing())

    def read_now(self) -> bytes:
        """What has arrived already, without waiting; empty if nothing has."""
        try:
            return self._raw.content.read_nowait()
        except _RAISED as error:
            failure = _body_failure(error)
        raise failure  # outside the handler: aiohttp's own error, which shows headers, must not be its context

    async def read(self) -> bytes:
        """The next bytes; empty at the end."""
        try:
            return await self._raw.content.readany()
        except _RAISED as error:
            failure = _body_failure(error)
        raise failure

    def close(self) -> None:
        """Drop the connection."""
        self._raw.close()

    def release(self) -> None:
        """Give the connection back; it is used again if the answer was read to its end."""
        self._raw.release()


class _Sent:
    """What is known of one sending: whether its connection had been used before."""

    __slots__ = ("reused",)

    def __init__(self) -> None:
        self.reused = False


_SENDING: ContextVar[_Sent] = ContextVar("sending")  # aiohttp's own tracing says it too, for a dozen calls a request


class _Protocol(ResponseHandler):
    """One connection's side of HTTP, which counts what comes before an answer: aiohttp itself never stops doing so.

    *used*: whether a request was sent on it before.
    """

    interim = 0
    used = False

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        code = data[0].code
        if self.exception() is not None:
            return  # what lies behind too many of them is not looked at
        if not 100 <= code <= 199 or code == 101:
            self.interim = 0
        elif (interim := self.interim + 1) <= INTERIM:
            self.interim = interim
        else:
            self.set_exception(HttpProcessingError(code=400, message=f"more than {INTERIM} interim responses"))
            if self.transport is not None:
                self.transport.close()
            return
        super().feed_data(data, size)


class _Pool(aiohttp.BaseConnector):
    """A pool that hands out no connection on which something has arrived while nobody had asked.

    A second response stuffed behind the first would otherwise be the answer to somebody else's question. It also says
    whether a connection had been used before.
    """

    def __init__(self, *, limit: int, keepalive_timeout: float | None) -> None:
        super().__init__(limit=limit, keepalive_timeout=keepalive_timeout)
        self._factory: partial[_Protocol] = partial(_Protocol, loop=self._loop)  # type: ignore[assignment]  # is one

    def abandon(self) -> None:
        """Never close anything, not even when this is collected."""
        self._closed = True

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  # the signature is aiohttp's
    ) -> Connection:
        connection = await super().connect(req, traces, timeout)
        while connection.protocol is not None and connection.protocol.should_close:
            connection.close()
            connection = await super().connect(req, traces, timeout)
        protocol = cast("_Protocol | None", connection.protocol)  # the pool's own factory makes no others
        if protocol is not None:
            _SENDING.get().reused, protocol.used = protocol.used, True
        return connection


class _SocketPool(_Pool, aiohttp.TCPConnector):
    """Connections over sockets."""


class _OwnPool(_Pool):
    """Connections that somebody else makes. They grow old by the loop's clock; aiohttp's pool goes by the machine's."""

    def __init__(self, create_connection: CreateConnection, *, limit: int, keepalive_timeout: float) -> None:
        super().__init__(limit=limit, keepalive_timeout=None)
        self._create, self._kept = create_connection, keepalive_timeout
        self._idle_since: WeakKeyDictionary[object, float] = WeakKeyDictionary()

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  # the signature is aiohttp's
    ) -> Connection:
        connection = await super().connect(req, traces, timeout)
        while self._is_old(connection.protocol):
            connection.close()
            connection = await super().connect(req, traces, timeout)
        return connection

    def _is_old(self, protocol: ResponseHandler | None) -> bool:
        return protocol is not None and self._loop.time() - self._idle_since.get(protocol, inf) > self._kept

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        self._idle_since[protocol] = self._loop.time()
        super()._release(key, protocol, should_close=should_close)

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  # the signature is aiohttp's
    ) -> ResponseHandler:
        try:
            _, protocol = await self._create(self._factory, req.url.raw_host or "", req.url.port or 0)
        except socket.gaierror as error:
            raise aiohttp.ClientConnectorDNSError(req.connection_key, error) from error
        except ssl.SSLError as error:
            raise aiohttp.ClientConnectorSSLError(req.connection_key, error) from error
        except TimeoutError:
            raise  # the limit's, which aiohttp translates
        except OSError as error:
            raise aiohttp.ClientConnectorError(req.connection_key, error) from error
        return cast("ResponseHandler", protocol)


_ABANDONED: list[object] = []  # kept as long as the process: see `Transport.abandon`


class Transport:
    """Connections to one provider. Must be closed; made on first use, in the event loop that uses it.

    *create_connection*: opens a connection in place of the event loop's own, which goes over sockets; TLS is then its
    business. *clock*: the time of day in seconds since 1970, for an answer without a `Date`.
    """

    def __init__(
        self,
        *,
        user_agent: str = "provider-router",
        create_connection: CreateConnection | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._user_agent = user_agent
        self._create_connection = create_connection
        self.clock = clock
        self._drains: set[asyncio.Task[None]] = set()
        self.mailbox = Mailbox()
        self._timeouts: dict[float | None, aiohttp.ClientTimeout] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        for drain in self._drains:
            drain.cancel()
        if self._drains:
            await asyncio.wait(self._drains)
        if self._session is not None:
            await self._session.close()
            self._session = None

    def abandon(self) -> None:
        """Forget every connection without touching it: after a fork they are the other process's, and so is their loop.

        Closing one here would take it out of the selector that both processes share, and out of use over there.
        """
        if self._session is not None and isinstance(self._session.connector, _Pool):
            self._session.connector.abandon()
            _ABANDONED.append((self._session, self._session.connector))
            self._session.detach()
        self._session = self._loop = None
        self._drains = set()

    async def send(self, http: HttpRequest, *, secrets: Mapping[str, str], connect: float | None = None) -> Response:
        """Send *http* and return when the headers have come. *secrets*: what its hidden headers really hold.

        Raises:
            ConnectionFailed, CertificateRejected, LocalFailure, ProviderTimeout, ProtocolViolation.
        """
        headers = {name: value for name, value in http.headers.items() if name not in http.hidden}
        headers.update(secrets)
        session, timeout = self._connected(), self._timeout(connect)
        now = asyncio.get_running_loop().time
        sent, begun = _Sent(), now()
        try:
            return Response(await self._request(session, http, headers, timeout, sent))
        except _RAISED as error:
            quick = now() - begun < DEAD
            failure, again = _request_failure(error), quick and sent.reused and _is_dead_connection(error)
        if again:
            # A kept-alive connection that the provider had closed meanwhile: nothing has happened yet, so the request
            # is sent once more, on a connection of its own.
            try:
                return Response(await self._request(session, http, headers, timeout, _Sent()))
            except _RAISED as error:
                failure = _request_failure(error)
        raise failure  # outside the handler: aiohttp's own error, which shows headers, must not be its context

    async def _request(
        self,
        session: aiohttp.ClientSession,
        http: HttpRequest,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  # aiohttp's own record of limits, not a number of seconds
        sent: _Sent,
    ) -> aiohttp.ClientResponse:
        _SENDING.set(sent)
        return await session.request(
            http.method,
            http.url,
            data=http.body if len(http.body) <= LARGE else BytesIO(http.body),
            headers=headers,
            timeout=timeout,
            allow_redirects=False,
        )

    def leave(self, response: Response, *, whole: bool) -> None:
        """Give *response* back. *whole*: all that matters was read, and the connection may be used again.

        A stream whose end is still on its way gets a moment for it, so that its connection can be used again.
        """
        if response.at_end:
            response.release()
            return
        if not whole:
            response.close()
            return
        drain = asyncio.ensure_future(_drain(response))
        self._drains.add(drain)

        def over(task: asyncio.Task[None]) -> None:  # also where it was canceled before it had begun
            self._drains.discard(task)
            response.release() if response.at_end else response.close()

        drain.add_done_callback(over)

    def _connected(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._session is None or self._session.closed:
            self._loop = loop
            self._session = aiohttp.ClientSession(
                connector=self._pool(),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=_NO_TIMEOUT,
                trust_env=False,
                headers={"User-Agent": self._user_agent},
            )
        elif self._loop is not loop:
            message = "this router belongs to another event loop: open one in each loop, and close it there"
            raise RuntimeError(message)
        return self._session

    def _pool(self) -> _Pool:
        if self._create_connection is None:
            return _SocketPool(limit=0, keepalive_timeout=KEPT)
        return _OwnPool(self._create_connection, limit=0, keepalive_timeout=KEPT)

    def _timeout(self, connect: float | None) -> aiohttp.ClientTimeout:
        found = self._timeouts.get(connect)
        if found is None:
            found = self._timeouts[connect] = aiohttp.ClientTimeout(
                total=None, connect=connect, sock_connect=connect, sock_read=None, ceil_threshold=1e9
            )
        return found


def _is_dead_connection(error: Exception) -> bool:
    if isinstance(error, aiohttp.ClientConnectorError):
        return False
    return isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)


async def _drain(response: Response) -> None:
    try:
        async with asyncio.timeout(DRAIN):
            while await response.read():
                pass
    except (TimeoutError, e.ProviderError):
        return


def received(headers: Mapping[str, str], now: float) -> Mapping[str, str]:
    """*headers* with a `Date`: RFC 9110, 6.6.1 has the recipient note the time, *now*, where the sender did not."""
    if "Date" in headers:
        return headers
    dated: CIMultiDict[str] = CIMultiDict(headers)
    dated["Date"] = formatdate(now, usegmt=True)
    return dated


# -- what aiohttp raises ----------------------------------------------------------------------------------------------


def _request_failure(error: Exception) -> e.ProviderError:
    """What `session.request` raised. Never chained: the repr of aiohttp's own errors shows headers, and so the key."""
    name = type(error).__name__
    if isinstance(error, aiohttp.ClientSSLError):
        message = "the TLS handshake failed: " + _reason(error)
        return e.CertificateRejected(message)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return e.Unreachable("the host name cannot be resolved")
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return e.ProviderTimeout("no connection within the limit", phase="connect")
    if isinstance(error, aiohttp.ServerTimeoutError):
        return e.ProviderTimeout("no headers within the limit", phase="headers")
    if isinstance(error, aiohttp.ClientResponseError):
        # aiohttp gives protocol rubbish the status 400; it is the provider's failure, never the caller's.
        return e.ProtocolViolation("what came back is not proper HTTP: " + e.one_line(str(error.message)))
    if isinstance(error, OSError) and error.errno in _LOCAL:
        return e.LocalFailure(f"no connection can be opened on this machine: {errno.errorcode[error.errno]}")
    if isinstance(error, aiohttp.ClientConnectorError):
        return e.Unreachable("no connection: " + _reason(error))
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return e.ConnectionFailed("the connection was closed before an answer came")
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError | ValueError):
        return e.LocalFailure("the request cannot be sent: its URL or a header is not valid")
    return e.ConnectionFailed(f"the connection broke before an answer came ({name})")


def _body_failure(error: Exception) -> e.ProviderError:
    """What reading a body raised: by now the provider has accepted the request."""
    if isinstance(error, aiohttp.ServerTimeoutError):
        return e.ProviderTimeout("the answer stopped coming", phase="idle")
    if isinstance(error, aiohttp.ClientResponseError):
        return e.ProtocolViolation("what came back is not proper HTTP: " + e.one_line(str(error.message)))
    return e.TruncatedReply(f"the connection broke inside the answer ({type(error).__name__})", status=200)


def _reason(error: Exception) -> str:
    code = getattr(error, "errno", None)
    if isinstance(code, int) and code in errno.errorcode:
        return errno.errorcode[code]
    inner = getattr(error, "os_error", None) or getattr(error, "certificate_error", None)
    return e.one_line(str(inner)) if inner is not None else type(error).__name__
