"""What can happen to a connection, made to happen by raw servers; and aiohttp's exceptions, every one of them mapped."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import inspect
import resource
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, Self

import aiohttp
import aiohttp.client_exceptions
import pytest
from yarl import URL

from providers import errors as e
from providers.client import Exchange, Limits, encode
from providers.dialect import Dialect, Endpoint
from providers.transport import Response, Transport, _body_failure, _request_failure
from providers.types import Request
from providers.wire import HttpRequest
from router import Router

KEY = "sk-canary-0123456789abcdef"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
ANSWER = b'{"choices": [{"message": {"content": "Yes."}, "finish_reason": "stop"}]}'
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


class Server:
    """A raw server that plays one script a connection, and counts."""

    def __init__(self, script: Script, **more: Any) -> None:
        self.script, self.more = script, more
        self.connections = 0
        self.received = b""
        self.gone = 0
        self._tasks: set[Any] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._play, "127.0.0.1", 0, **self.more)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if 'ssl' in self.more else 'http'}://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        self.connections += 1
        try:
            self.received += await reader.readuntil(b"\r\n\r\n")
            await self.script(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone += 1
        except asyncio.CancelledError:
            pass  # our own end; asyncio's streams of Python 3.11 would log it
        finally:
            self._tasks.discard(task)
            writer.close()


def says(*pieces: bytes, pause: float = 0.02) -> Script:
    """Send the pieces one by one, then close."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return script


def resets(*pieces: bytes) -> Script:
    """Send the pieces, then RST."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await says(*pieces)(reader, writer)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    return script


def hangs(*pieces: bytes) -> Script:
    """Send the pieces, then nothing, until the client has gone."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await says(*pieces, pause=0)(reader, writer)
        while await reader.read(65536):
            pass
        raise ConnectionError

    return script


def forever(piece: bytes, *first: bytes, pause: float = 0.0) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await says(*first, pause=0)(reader, writer)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return script


def endpoint(url: str) -> Endpoint:
    known = Router.open({}, environ={"MIXLAYER_API_KEY": KEY}).config.deployments["mixlayer/qwen3.5-27b"].endpoint
    return Endpoint(name="p/m", provider="p", model="m", wire_model="m", protocol="chat_completions", url=url,
                    dialect=known.dialect, auth=known.auth)  # fmt: skip


@pytest.fixture(scope="module")
def dialect() -> Dialect:
    return endpoint("http://x.test").dialect


LIMITS = Limits(connect=2, headers=0.2, first_token=0.25, idle=0.2, total=2)


async def exchange(url: str, *, streaming: bool = False, limits: Limits = LIMITS, secret: str = KEY) -> Any:
    """The chunks of one exchange, or its failure; with the transport closed behind it."""
    call = encode(
        Request.of({"model": "m", "messages": [{"role": "user", "content": "?"}]}), endpoint(url), streaming=streaming
    )
    async with Transport() as transport:
        under_way = Exchange(call, transport, secret=secret, limits=limits)
        chunks: list[Any] = []
        try:
            async with asyncio.timeout(5):
                while found := await under_way.next():
                    chunks += found
        except e.ProviderError as error:
            return error
        finally:
            under_way.close()
        return chunks


def everything_said(error: BaseException) -> str:
    """All text of an exception and of what hangs on it, as far as a log or a crash reporter would follow."""
    seen, texts, todo = set(), [], [error]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        texts += [str(one), repr(one), repr(one.args), repr(vars(one)), *getattr(one, "__notes__", [])]
        todo += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]  # type: ignore[list-item]
    return "\n".join(texts)


# -- Appendix B, and 2.B to 2.D ---------------------------------------------------------------------------------------

CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'data: {"choices": [{"delta": {"content": "Y"}}]}\n\n'


def sized(body: bytes, more: int = 0) -> bytes:
    return OK + b"Content-Length: %d\r\n\r\n" % (len(body) + more) + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n" % len(data) + data + b"\r\n"


PROVOKED: dict[str, tuple[Script, type[e.ProviderError]]] = {
    "close before headers": (says(), e.ConnectionFailed),
    "reset before headers": (resets(), e.ConnectionFailed),
    "reset inside headers": (resets(OK), e.ConnectionFailed),
    "close inside headers": (says(OK), e.ConnectionFailed),
    "close inside a sized body": (says(sized(ANSWER[:9], 50)), e.TruncatedReply),
    "reset inside a sized body": (resets(sized(ANSWER[:9], 50)), e.TruncatedReply),
    "close inside a chunked body": (says(CHUNKED + chunk(ANSWER[:9])), e.TruncatedReply),
    "reset inside a chunked body": (resets(CHUNKED + chunk(ANSWER[:9])), e.TruncatedReply),
    "HTTP/1.0, truncated JSON": (says(b"HTTP/1.0 200 OK\r\n\r\n" + ANSWER[:30]), e.MalformedReply),
    "HTML with 200": (says(sized(b"<html>hello</html>")), e.ProtocolViolation),
    "204": (says(b"HTTP/1.1 204 No Content\r\n\r\n"), e.EmptyReply),
    "empty 200": (says(sized(b"")), e.EmptyReply),
    "blank 200": (says(sized(b" \r\n ")), e.EmptyReply),
    "invalid UTF-8": (says(sized(b'{"choices": "\xff\xfe"}')), e.MalformedReply),
    "bad status line": (says(b"SSH-2.0-OpenSSH_9.6\r\n"), e.ProtocolViolation),
    "HTTP/2 bytes": (says(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64"), e.ProtocolViolation),
    "long header": (says(OK + b"X: " + b"a" * 20_000 + b"\r\n\r\n"), e.ProtocolViolation),
    "length and chunks": (says(OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"), e.ProtocolViolation),
    "two lengths": (says(OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"), e.ProtocolViolation),
    "unknown encoding": (says(OK + b"Content-Encoding: snappy\r\nContent-Length: 2\r\n\r\n{}"), e.ProviderError),
    "bad chunk size, at once": (says(CHUNKED + b"ZZZ\r\nabc"), e.ProtocolViolation),
    "bad chunk size, later": (says(CHUNKED, chunk(ANSWER[:9]), b"ZZZ\r\nabc", pause=0.03), e.BrokenReply),
    "bad chunk size, with a piece": (says(CHUNKED, chunk(ANSWER[:9]) + b"ZZZ\r\nabc", pause=0.03), e.BrokenReply),
    "bad trailer, later": (says(CHUNKED, chunk(ANSWER[:9]) + b"0\r\n\x01bad\r\n\r\n", pause=0.03), e.BrokenReply),
    "gzip that is none": (says(OK + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"), e.BrokenReply),
    "gzip that is none, later": (says(OK + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\n", b"hello"), e.BrokenReply),
    "endless 102": (forever(b"HTTP/1.1 102 Processing\r\n\r\n", pause=0.01), e.ProviderTimeout),
    "101": (says(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"), e.ProviderError),
    "no headers": (hangs(), e.ProviderTimeout),
    "half of the headers": (hangs(OK), e.ProviderTimeout),
    "headers by the byte": (forever(b"X", OK + b"X-Long: ", pause=0.02), e.ProviderTimeout),
    "stalled body": (hangs(sized(ANSWER[:9], 50)), e.ProviderTimeout),
    "no body": (hangs(sized(b"", 50)), e.ProviderTimeout),
}  # fmt: skip


@pytest.mark.parametrize(("script", "kind"), PROVOKED.values(), ids=PROVOKED)
@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
async def test_what_a_server_can_do(script, kind, streaming):
    """One of our failures, elsewhere allowed, soon, with a name, and with no key in or behind it."""
    began = time.monotonic()
    async with Server(script) as server:
        failure = await exchange(server.url, streaming=streaming)

    assert isinstance(failure, kind), repr(failure)
    assert failure.elsewhere
    assert not isinstance(failure, e.CallerFault)
    assert 1 == server.connections
    assert KEY.encode() in server.received
    assert time.monotonic() - began < 1.5
    assert "p/m" == failure.deployment
    assert KEY not in everything_said(failure)


STREAMS: dict[str, tuple[Script, type[e.ProviderError], int]] = {
    "close inside": (says(SSE + chunk(EVENT)), e.TruncatedReply, 1),
    "reset inside": (resets(SSE + chunk(EVENT)), e.TruncatedReply, 1),
    "clean end without an end": (says(SSE + chunk(EVENT) + b"0\r\n\r\n"), e.TruncatedReply, 1),
    "stall": (hangs(SSE + chunk(EVENT)), e.ProviderTimeout, 1),
    "bad chunk size": (says(SSE + chunk(EVENT), b"ZZZ\r\nabc", pause=0.03), e.BrokenReply, 1),
    "bad chunk size, at once": (says(SSE + chunk(EVENT) + b"ZZZ\r\nabc"), e.BrokenReply, 0),
    "comments": (forever(chunk(b": ping\n\n"), SSE + chunk(EVENT), pause=0.02), e.ProviderTimeout, 1),
    "an endless line": (forever(chunk(b"x" * 65536), SSE + chunk(EVENT)), e.MalformedReply, 1),
    "rubbish": (says(SSE + chunk(EVENT) + chunk(b"data: {half\n\n") + b"0\r\n\r\n"), e.MalformedReply, 1),
}


@pytest.mark.parametrize(("script", "kind", "least"), STREAMS.values(), ids=STREAMS)
async def test_what_can_happen_to_a_stream(script, kind, least):
    """What came before is delivered; then the failure."""
    call = encode(
        Request.of({"model": "m", "messages": [{"role": "user", "content": "?"}]}), endpoint("x"), streaming=True
    )
    began = time.monotonic()
    async with Server(script) as server, Transport() as transport:
        call.http.url = server.url
        under_way = Exchange(call, transport, secret=KEY, limits=LIMITS)
        chunks: list[Any] = []
        with pytest.raises(kind) as caught:
            await asyncio.wait_for(_read(under_way, chunks), 5)
        under_way.close()

    assert least <= len([one for one in chunks if one.content])
    assert set() == {one.content for one in chunks} - {"Y"}
    assert time.monotonic() - began < 1.5
    assert KEY not in everything_said(caught.value)


async def _read(under_way: Exchange, chunks: list[Any]) -> None:
    while found := await under_way.next():
        chunks += found


# -- an error whose body breaks off -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "kind"), [
    (413, e.RequestTooLarge), (400, e.BadRequest), (429, e.RateLimited), (401, e.AuthenticationFailed), (503, e.Overloaded)
])  # fmt: skip
@pytest.mark.parametrize("ending", [says, resets, hangs])
async def test_a_refusal_is_a_refusal_though_its_body_breaks_off(status, kind, ending):
    """The status has been read, and it says enough; 413 often comes while we still send, and a reset follows it."""
    head = b"HTTP/1.1 %d No\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n" % status
    async with Server(ending(head + b'{"error": {"mess')) as server:
        failure = await exchange(server.url)

    assert kind is type(failure)
    assert status == failure.status


async def test_an_endless_error_body_is_cut():
    """64 KiB are read, not 114 MB; the connection is dropped."""
    head = b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with Server(forever(chunk(b"x" * 65536), head)) as server:
        failure = await exchange(server.url)

    assert e.ServerError is type(failure)
    assert len(failure.body) <= e.BODY_LIMIT


async def test_a_second_response_behind_the_first_is_never_delivered():
    """Two requests over one transport: the stuffed response reaches nobody."""
    stuffed = sized(ANSWER) + sized(ANSWER.replace(b"Yes.", b"FORGED"))
    call = encode(Request.of({"model": "m", "messages": [{"role": "user", "content": "?"}]}), endpoint("x"))
    async with Server(says(stuffed)) as server, Transport() as transport:
        call.http.url = server.url
        said = []
        for _ in range(2):
            under_way = Exchange(call, transport, secret=KEY, limits=LIMITS)
            with contextlib.suppress(e.ProviderError):
                while found := await under_way.next():
                    said += [one.content for one in found if one.content]
            under_way.close()

    assert "FORGED" not in said


async def test_old_servers_and_closing_servers_are_fine():
    """HTTP/1.0 with a close for an end; `Connection: close` on every response."""
    for head in (b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n",
                 OK + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)):  # fmt: skip
        async with Server(says(head + ANSWER)) as server:
            chunks = await exchange(server.url)

        assert "Yes." == "".join(one.content or "" for one in chunks)


async def test_interim_responses_are_skipped():
    """A 100 and a 103 before the answer."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    async with Server(says(interim + sized(ANSWER))) as server:
        assert isinstance(await exchange(server.url), list)


# -- before a connection stands ---------------------------------------------------------------------------------------


async def test_refused():
    """Nobody listens there: nothing was sent, nothing is billed."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        failure = await exchange(f"http://127.0.0.1:{held.getsockname()[1]}")

    assert e.Unreachable is type(failure)
    assert failure.billed is False
    assert "ECONNREFUSED" in str(failure)
    assert KEY not in everything_said(failure)


async def test_a_name_that_nobody_knows():
    """`.invalid` never resolves."""
    failure = await exchange("http://provider.invalid/v1")

    assert isinstance(failure, e.Unreachable | e.ProviderTimeout)
    assert KEY not in everything_said(failure)


async def test_tls_to_a_plain_port():
    """One that talks, and one that is silent."""
    async with _plain(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        talks = await exchange(f"https://127.0.0.1:{port}")
    async with _plain(b"") as port:
        silent = await exchange(f"https://127.0.0.1:{port}", limits=Limits(connect=0.2, total=2))

    assert isinstance(talks, e.ConnectionFailed)
    assert e.ProviderTimeout is type(silent)
    assert "connect" == silent.phase


@asynccontextmanager
async def _plain(says_first: bytes) -> AsyncIterator[int]:
    gate = asyncio.Event()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(says_first)
        if not says_first:
            await gate.wait()
        writer.close()

    server = await asyncio.start_server(play, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        gate.set()
        server.close()
        await asyncio.sleep(0.01)


async def test_a_certificate_that_nobody_signed(tmp_path):
    """Never retried here, never downgraded, and the key was not sent."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-days", "2",
            "-keyout", str(key), "-out", str(certificate)]  # fmt: skip
    await asyncio.to_thread(subprocess.run, made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with Server(says(sized(ANSWER)), ssl=context) as server:
        failure = await exchange(server.url)
        await asyncio.sleep(0.05)  # the server's side of the handshake ends, too

    assert e.CertificateRejected is type(failure)
    assert not failure.here
    assert failure.elsewhere
    assert "certificate" in str(failure).lower()
    assert b"" == server.received


@contextlib.contextmanager
def no_more_files() -> Iterator[None]:
    """As many open files as there are, and no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(socket.socket())
        yield
    finally:
        for one in held:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_our_own_machine_has_no_file_descriptors_left():
    """That is nobody's failure but ours."""
    call = encode(Request.of({"model": "m", "messages": [{"role": "user", "content": "?"}]}), endpoint("x"))
    async with Server(says(sized(ANSWER))) as server, Transport() as transport:
        call.http.url = server.url
        transport._connected()
        with no_more_files(), pytest.raises(e.LocalFailure, match="EMFILE") as caught:
            await Exchange(call, transport, secret=KEY, limits=LIMITS).next()

        assert "local" == caught.value.blames
        assert await Exchange(call, transport, secret=KEY, limits=LIMITS).next()


@pytest.mark.parametrize("secret", ["sk-\nnewline", "sk-\r\nX-Evil: 1", "sk-\x00nul"])
async def test_a_key_with_control_characters_sends_nothing(secret):
    """And is not shown."""
    async with Server(says(sized(ANSWER))) as server:
        failure = await exchange(server.url, secret=secret)

    assert isinstance(failure, e.LocalFailure)
    assert b"" == server.received
    assert "sk-" not in everything_said(failure)


# -- redirects --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("streaming", [False, True])
async def test_a_redirect_is_not_followed(code, streaming):
    """The other host gets no connection at all: no key, no prompt."""
    async with Server(says(sized(ANSWER))) as other:
        to = b"HTTP/1.1 %d Moved\r\nLocation: %s/steal?key=%s\r\nContent-Length: 0\r\n\r\n" % (
            code, other.url.encode(), KEY.encode()
        )  # fmt: skip
        async with Server(says(to)) as server:
            failure = await exchange(server.url, streaming=streaming)

    assert e.ProtocolViolation is type(failure)
    assert code == failure.status
    assert (1, 0, b"") == (server.connections, other.connections, other.received)
    assert failure.elsewhere
    assert KEY not in everything_said(failure)


async def test_cookies_are_not_kept():
    """A provider's cookie would leak between tenants."""
    call = encode(Request.of({"model": "m", "messages": [{"role": "user", "content": "?"}]}), endpoint("x"))
    cookie = OK + b"Set-Cookie: id=1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER
    async with Server(says(cookie)) as server, Transport() as transport:
        call.http.url = server.url
        for _ in range(2):
            assert await Exchange(call, transport, secret=KEY, limits=LIMITS).next()

    assert 2 == server.connections
    assert b"cookie" not in server.received.lower()


async def test_the_proxy_of_the_environment_is_ignored(monkeypatch):
    """A key does not go where the configuration does not send it."""
    async with Server(says(sized(ANSWER))) as proxy, Server(says(sized(ANSWER))) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        await exchange(server.url)

    assert (0, 1) == (proxy.connections, server.connections)


# -- the table is complete --------------------------------------------------------------------------------------------

KEY_INFO = SimpleNamespace(
    host="h", port=1, is_ssl=True, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None, server_hostname=None
)
INFO: Any = aiohttp.RequestInfo(URL("http://h.test/?key=" + KEY), "POST", {"Authorization": KEY}, URL("http://h.test"))  # type: ignore[arg-type]
OS = OSError(errno.ECONNRESET, "reset")
# How each is made; what it is while asking; what it is while reading. None: it cannot come from an HTTP exchange.
MAPPED: dict[str, tuple[tuple[Any, ...], type[e.ProviderError], type[e.ProviderError]] | None] = {
    "ClientError": (("x",), e.ConnectionFailed, e.TruncatedReply),
    "ClientConnectionError": (("x",), e.ConnectionFailed, e.TruncatedReply),
    "ClientConnectionResetError": (("x",), e.ConnectionFailed, e.TruncatedReply),
    "ClientOSError": ((errno.ECONNRESET, "x"), e.ConnectionFailed, e.TruncatedReply),
    "ClientConnectorError": ((KEY_INFO, OS), e.Unreachable, e.TruncatedReply),
    "ClientProxyConnectionError": ((KEY_INFO, OS), e.Unreachable, e.TruncatedReply),
    "ClientSSLError": ((KEY_INFO, OS), e.CertificateRejected, e.TruncatedReply),
    "ClientConnectorDNSError": ((KEY_INFO, OS), e.Unreachable, e.TruncatedReply),
    "ClientConnectorSSLError": ((KEY_INFO, OS), e.CertificateRejected, e.TruncatedReply),
    "ClientConnectorCertificateError": ((KEY_INFO, Exception("self-signed")), e.CertificateRejected, e.TruncatedReply),
    "ConnectionTimeoutError": (("x",), e.ProviderTimeout, e.ProviderTimeout),
    "SocketTimeoutError": (("x",), e.ProviderTimeout, e.ProviderTimeout),
    "ServerConnectionError": (("x",), e.ConnectionFailed, e.TruncatedReply),
    "ServerTimeoutError": (("x",), e.ProviderTimeout, e.ProviderTimeout),
    "ServerDisconnectedError": (("x",), e.ConnectionFailed, e.TruncatedReply),
    "ServerFingerprintMismatch": ((b"a", b"b", "h", 1), e.ConnectionFailed, e.TruncatedReply),
    "ClientResponseError": ((INFO, ()), e.ProtocolViolation, e.ProtocolViolation),
    "ClientHttpProxyError": ((INFO, ()), e.ProtocolViolation, e.ProtocolViolation),
    "WSServerHandshakeError": ((INFO, ()), e.ProtocolViolation, e.ProtocolViolation),
    "ContentTypeError": ((INFO, ()), e.ProtocolViolation, e.ProtocolViolation),
    "ClientPayloadError": (("x",), e.ConnectionFailed, e.TruncatedReply),
    "UploadAbortedError": (("x",), e.ConnectionFailed, e.TruncatedReply),
    "InvalidURL": (("http://x",), e.LocalFailure, e.TruncatedReply),
    "InvalidUrlClientError": (("http://x",), e.LocalFailure, e.TruncatedReply),
    "TooManyRedirects": ((INFO, ()), e.ProtocolViolation, e.ProtocolViolation),
    "UnixClientConnectorError": (("path", KEY_INFO, OS), e.Unreachable, e.TruncatedReply),
    "RedirectClientError": (("x",), e.ConnectionFailed, e.TruncatedReply),
    "NonHttpUrlClientError": (("ftp://x",), e.LocalFailure, e.TruncatedReply),
    "InvalidUrlRedirectClientError": (("http://x",), e.LocalFailure, e.TruncatedReply),
    "NonHttpUrlRedirectClientError": (("ftp://x",), e.ConnectionFailed, e.TruncatedReply),
    "WSMessageTypeError": None,  # a TypeError of web sockets
}


def test_every_exception_of_aiohttp_is_in_the_table():
    """A new release may bring a new one."""
    known = {name for name, value in vars(aiohttp.client_exceptions).items()
             if inspect.isclass(value) and issubclass(value, aiohttp.ClientError)}  # fmt: skip

    assert set(MAPPED) == known | set(aiohttp.client_exceptions.__all__)


@pytest.mark.parametrize(
    ("name", "row"), [(name, row) for name, row in MAPPED.items() if row], ids=lambda value: str(value)[:30]
)
def test_every_exception_of_aiohttp_becomes_one_of_ours(name, row):
    """While asking, and while reading."""
    made, asking, reading = row
    error = getattr(aiohttp, name, getattr(aiohttp.client_exceptions, name))(*made)
    while_asking, while_reading = _request_failure(error), _body_failure(error)

    assert isinstance(while_asking, asking), while_asking
    assert isinstance(while_reading, reading), while_reading
    for failure in (while_asking, while_reading):
        assert not isinstance(failure, e.CallerFault)
        assert failure.message
        assert KEY not in everything_said(failure)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM])
def test_our_own_shortages_are_ours(code):
    """Whatever wraps them."""
    inner = OSError(code, "x")

    assert e.LocalFailure is type(_request_failure(inner))
    assert e.LocalFailure is type(_request_failure(aiohttp.ClientConnectorError(KEY_INFO, inner)))  # type: ignore[arg-type]
    assert e.LocalFailure is type(_request_failure(aiohttp.ClientOSError(code, "x")))


@pytest.mark.parametrize("error", [
    aiohttp.ClientPayloadError("x"), OS, ValueError("x"), aiohttp.ServerDisconnectedError(), RuntimeError("Connection closed."),
    ConnectionResetError("Cannot write to closing transport"), TimeoutError(errno.ETIMEDOUT, "Connection timed out"),
], ids=repr)  # fmt: skip
@pytest.mark.parametrize("how", ["read", "read_now"])
async def test_whatever_reading_raises_is_one_of_ours(error, how):
    """aiohttp's stream raises more than its own exceptions: a RuntimeError where the connection was closed on an error."""

    async def readany():
        raise error

    def read_nowait():
        raise error

    content = SimpleNamespace(readany=readany, read_nowait=read_nowait)
    response = Response(SimpleNamespace(status=200, headers={}, content=content))  # type: ignore[arg-type]

    with pytest.raises(e.ProviderError):
        response.read_now() if how == "read_now" else await response.read()


# -- ownership --------------------------------------------------------------------------------------------------------


def test_another_loop_gets_a_clear_error():
    """Not a hang, and not a connection of another loop."""
    transport = Transport()
    http = HttpRequest("http://127.0.0.1:9/", {}, {})

    async def use():
        with contextlib.suppress(e.ProviderError):
            await transport.send(http, secrets={}, connect=0.2)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(use())
    with pytest.raises(RuntimeError, match="another event loop"):
        asyncio.run(use())
    loop.run_until_complete(transport.close())
    loop.close()


async def test_a_connection_is_used_again():
    """Ten answers, whole and streamed, one connection."""
    stream = (
        SSE + chunk(EVENT) + chunk(b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n')
    )

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(stream)
            await writer.drain()
            await asyncio.sleep(0.005)
            writer.write(b"0\r\n\r\n")
            await writer.drain()
            await reader.readuntil(b"\r\n\r\n")

    request = Request.of({"model": "m", "messages": [{"role": "user", "content": "?"}]})
    async with Server(script) as server, Transport() as transport:
        for _ in range(10):
            call = encode(request, endpoint(server.url), streaming=True)
            under_way = Exchange(call, transport, secret=KEY, limits=LIMITS)
            while await under_way.next():
                pass
            under_way.close()
            await asyncio.sleep(0.02)

        assert server.connections <= 2


@pytest.mark.parametrize("works", [0.0, 0.3], ids=["dead at once", "after some work"])
async def test_only_a_dead_connection_is_opened_anew(works):
    """A kept-alive connection that was closed is one thing; a provider that took the request and died is another.

    The first is sent again, unseen: nothing had happened. The second may have been worked on and billed: it is a failure
    like any other, for the policy to decide and the record to show.
    """
    requests = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        requests += 1
        writer.write(sized(ANSWER))
        await writer.drain()
        await reader.readuntil(b"\r\n\r\n")
        requests += 1
        await asyncio.sleep(works)

    request = Request.of({"model": "m", "messages": [{"role": "user", "content": "?"}]})
    async with Server(script) as server, Transport() as transport:
        call = encode(request, endpoint(server.url))
        assert await Exchange(call, transport, secret=KEY, limits=Limits(total=2)).next()
        await asyncio.sleep(0.01)
        again = Exchange(call, transport, secret=KEY, limits=Limits(total=2))
        if works:
            with pytest.raises(e.ConnectionFailed):
                await again.next()
        else:
            assert await again.next()
        again.close()

    assert (2 if works else 3) == requests
