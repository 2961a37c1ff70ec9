"""Connections in memory: what asyncio and TCP do over a socket, between two protocols of one event loop.

Knows the duties of an asyncio transport (order, flow control, half-close, reset), the hosts of a network, and what
becomes of a connection to each. Refuses HTTP and providers (`emulators` speak, `emulate` starts them), sockets, threads
and the machine's clock: what is written arrives in the next turns of the loop, so that no time passes while bytes are
under way. On virtual time the same requests bring the same bytes in the same order.
"""

# ruff: noqa: SLF001  # the two ends of a connection are one thing

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from contextvars import Context, copy_context
from itertools import count
from typing import Literal, NamedTuple

HIGH, LOW = 2**16, 2**14  # bytes waiting to be sent, above which a writer pauses and up to which he goes on: asyncio's
WINDOW = 2**18  # bytes under way until the reader takes them: what asyncio reads at a time
BEGINNING = 1_767_225_600.0  # the time of day at which every network begins: 2026-01-01 00:00 UTC

Ending = Literal["eof", "reset"]
Way = Literal["refused", "unanswered", "unknown"]


class End(asyncio.Transport):
    """One end of a connection. What it writes arrives at the other end, which `join` gives it."""

    _peer: End

    def __init__(
        self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol, name: object, peer: object, context: Context
    ) -> None:
        super().__init__({"sockname": name, "peername": peer})
        self._loop, self._protocol, self._context = loop, protocol, context
        self._outbox = bytearray()  # written, and no room for it on the way
        self._inbox = bytearray()  # arrived, and not read yet
        self._low, self._high = LOW, HIGH
        self._reading = True
        self._writing_paused = False
        self._eof_written = False
        self._ending: Ending | None = None  # what comes behind the inbox
        self._eof_read = False
        self._into_the_void = False  # written once to a peer that was gone
        self._closing = False  # nothing is read or written any more, what was written is still sent
        self._shut = False  # gone: `connection_lost` was called or soon is
        self._turn: asyncio.Handle | None = None

    def __repr__(self) -> str:
        state = "closed" if self._shut else "closing" if self._closing else "open"
        return f"<{type(self).__name__} {state}, to {self.get_extra_info('peername')}>"

    # -- reading

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._wake()

    def _wake(self) -> None:
        """Read in the next turn, if there is something to read."""
        ended = self._ending == "reset" or (self._ending == "eof" and not self._eof_read)
        if (self._inbox or ended) and self.is_reading() and self._turn is None:
            self._turn = self._loop.call_soon(self._read, context=self._context)

    def _read(self) -> None:
        self._turn = None
        if not self.is_reading():
            return
        try:
            if self._inbox:
                data, self._inbox = bytes(self._inbox), bytearray()
                self._peer._send()
                self._protocol.data_received(data)
            elif self._ending == "reset":
                self._lose(ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))
            else:
                self._eof_read = True
                if not self._protocol.eof_received():
                    self.close()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001  # as asyncio: whatever a protocol raises ends its connection
            self._report(error)
            self._lose(error if isinstance(error, Exception) else None)
        self._wake()

    def _hear(self, ending: Ending) -> None:
        """The peer will send nothing more. The first word counts; who has read the end can still be reset."""
        if self._ending is None or (self._eof_read and ending == "reset"):
            self._ending = ending
            self._wake()

    # -- writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._eof_written:
            message = "write() after write_eof()"
            raise RuntimeError(message)
        if self._shut or not data:
            return
        self._outbox += data
        self._send()
        if len(self._outbox) > self._high and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()

    def write_eof(self) -> None:
        if not self._eof_written and not self._closing:
            self._eof_written = True
            self._send()

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return len(self._outbox)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = HIGH if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high}) must not be less than low ({low}), and neither less than 0")
        self._low, self._high = low, high

    def _send(self) -> None:
        """Send as much as there is room for on the way; then what the end of it means."""
        peer = self._peer
        if peer._shut and self._outbox:
            self._send_to_nobody()
        room = WINDOW - len(peer._inbox)
        if self._outbox and room > 0:
            peer._inbox += self._outbox[:room]
            del self._outbox[:room]
            peer._wake()
        if self._writing_paused and len(self._outbox) <= self._low:
            self._writing_paused = False
            self._protocol.resume_writing()
        if self._outbox:
            return
        if self._closing:
            self._lose(None)
        elif self._eof_written:
            peer._hear("eof")

    def _send_to_nobody(self) -> None:
        """As TCP: the first bytes are answered with a reset, the next fail at once."""
        self._outbox.clear()
        if self._into_the_void:
            self._lose(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)))
        self._into_the_void = True
        self._hear("reset")

    # -- the end

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """Read nothing more; send what was written, and then the end."""
        if not self._closing:
            self._closing = True
            self._send()

    def abort(self) -> None:
        """Drop everything; the peer gets a reset."""
        self._lose(None, reset=True)

    def _lose(self, error: Exception | None, *, reset: bool = False) -> None:
        if self._shut:
            return
        self._closing = self._shut = True
        ending: Ending = "reset" if reset or self._inbox else "eof"  # as TCP: closed on unread bytes is a reset
        self._inbox.clear()
        self._outbox.clear()
        peer = self._peer
        peer._hear(ending)
        if peer._outbox:
            peer._send()
        self._loop.call_soon(self._protocol.connection_lost, error, context=self._context)

    def _report(self, error: BaseException) -> None:
        message = "a protocol in memory has failed"
        told = {"message": message, "exception": error, "transport": self, "protocol": self._protocol}
        self._loop.call_exception_handler(told)

    # -- the protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        if not isinstance(protocol, asyncio.Protocol):
            raise TypeError(f"a connection in memory takes an asyncio.Protocol, not {type(protocol).__name__}")
        self._protocol = protocol


def join(
    client: asyncio.Protocol,
    server: asyncio.Protocol,
    *,
    host: str = "memory",
    ports: tuple[int, int] = (49152, 80),
    context: Context | None = None,
) -> tuple[End, End]:
    """Connect two protocols of the running loop: the client's end, and the server's.

    *host*, *ports*: what the ends take for their addresses. *context*: in which the server's protocol is called, an
    empty one by default: a server knows nothing of its client's variables.
    """
    loop = asyncio.get_running_loop()
    here, there = ("127.0.0.1", ports[0]), (host, ports[1])
    context = Context() if context is None else context
    near = End(loop, client, here, there, copy_context())
    far = End(loop, server, there, here, context)
    near._peer, far._peer = far, near
    client.connection_made(near)
    loop.call_soon(server.connection_made, far, context=context)
    return near, far


class _Server(NamedTuple):
    factory: Callable[[], asyncio.Protocol]
    context: Context


class Network:
    """Hosts by their names, and who listens there, on every port. Its time of day goes by the event loop's clock."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._servers: dict[str, _Server] = {}
        self._ways: dict[str, Way] = {}
        self._ports = count(49152)

    def now(self) -> float:
        """The time of day, in seconds since 1970: the loop's clock, from `BEGINNING` on."""
        return BEGINNING + asyncio.get_running_loop().time()

    def listen(self, host: str, factory: Callable[[], asyncio.Protocol]) -> None:
        """Connect whoever asks for *host* with a protocol that *factory* makes.

        Raises:
            OSError: somebody listens there already.
        """
        if host in self._servers:
            raise OSError(errno.EADDRINUSE, f"{host} has a server already; give each emulator a name of its own")
        self._known.add(host)
        self._servers[host] = _Server(factory, copy_context())

    def stop(self, host: str) -> None:
        """Listen there no more: who asks is refused. Connections that are open stay."""
        self._servers.pop(host, None)

    def block(self, host: str, way: Way) -> None:
        """From now on a connection to *host* is `refused`, `unanswered` for ever, or its name is `unknown`."""
        self._ways[host] = way

    def unblock(self, host: str) -> None:
        """From now on *host* can be reached again."""
        self._ways.pop(host, None)

    async def create_connection(
        self, factory: Callable[[], asyncio.Protocol], host: str, port: int
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """As the event loop's own.

        Raises:
            OSError: as over sockets: `socket.gaierror` for a name that is not known, `ConnectionRefusedError`.
        """
        await asyncio.sleep(0)  # a connection takes a turn of the loop, and can be cancelled
        way = self._ways.get(host)
        if way == "unanswered":
            await asyncio.get_running_loop().create_future()
        if way == "unknown" or host not in self._known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        server = self._servers.get(host)
        if way == "refused" or server is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        protocol = factory()
        near, _ = join(
            protocol, server.factory(), host=host, ports=(next(self._ports), port), context=server.context.copy()
        )
        return near, protocol
