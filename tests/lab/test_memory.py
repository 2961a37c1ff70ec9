"""Connections in memory, as asyncio's documents describe a transport; a socket pair of the real loop is the measure."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.lab.memory import HIGH, WINDOW, End, Network, join
from router.lab.virtual import run_virtually

PIECE = bytes(range(256)) * 1024  # 256 KiB


class Ear(asyncio.Protocol):
    """Notes what it is told. *stays*: what it answers to the end of what it reads."""

    def __init__(self, *, stays: bool = False, at_data: Callable[[bytes], None] | None = None) -> None:
        self.told: list[Any] = []
        self.data = bytearray()
        self.stays, self.at_data = stays, at_data
        self.transport: asyncio.Transport
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        if self.at_data is not None:
            self.at_data(data)

    def eof_received(self) -> bool:
        self.told.append("eof")
        return self.stays

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append(type(exc).__name__ if exc is not None else "lost")
        self.lost.set_result(None)

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")


@asynccontextmanager
async def in_memory(near: Ear, far: Ear) -> AsyncIterator[None]:
    join(near, far)
    await asyncio.sleep(0)
    yield
    for ear in (near, far):
        if not ear.lost.done():  # asyncio does not take it twice
            ear.transport.abort()
    await asyncio.gather(near.lost, far.lost)


@asynccontextmanager
async def over_sockets(near: Ear, far: Ear) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: far, "127.0.0.1", 0)
    await loop.create_connection(lambda: near, *server.sockets[0].getsockname())
    await until(lambda: hasattr(far, "transport"))
    yield
    for ear in (near, far):
        if not ear.lost.done():  # asyncio does not take it twice
            ear.transport.abort()
    await asyncio.gather(near.lost, far.lost)
    server.close()


async def until(condition: Callable[[], bool]) -> None:
    """Turn the loop until *condition* holds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # over sockets nobody says when the bytes have come
            await asyncio.sleep(0.001)


Joined = Callable[[Ear, Ear], Any]
both = pytest.mark.parametrize("joined", [in_memory, over_sockets])


@both
async def test_bytes_arrive_whole_and_in_order(joined: Joined):
    """However they are cut, both ways at once; and `close` sends them all before the end."""
    near, far = Ear(), Ear()
    async with joined(near, far):
        far.transport.write(b"hello")
        await until(lambda: b"hello" == near.data)
        for at in range(0, len(PIECE), 1000):
            near.transport.write(PIECE[at : at + 1000])
        near.transport.writelines([PIECE, memoryview(b"end")])
        near.transport.close()
        await until(lambda: near.lost.done() and far.lost.done())

        assert PIECE + PIECE + b"end" == far.data
        assert "lost" == near.told[-1]
        assert ["eof", "lost"] == far.told


@both
async def test_a_reader_that_pauses_holds_the_writer(joined: Joined):
    """The writer is told to pause and to go on; nothing is lost, and no more than a window waits at the reader."""
    near, far = Ear(), Ear()
    async with joined(near, far):
        far.transport.pause_reading()
        written = 0
        while "pause" not in near.told:
            near.transport.write(PIECE)
            written += 1
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)

        assert b"" == far.data
        assert near.transport.get_write_buffer_size() > HIGH
        assert not far.transport.is_reading()
        far.transport.resume_reading()
        await until(lambda: len(far.data) == written * len(PIECE))
        assert PIECE * written == far.data
        assert ["pause", "resume"] == near.told
        assert 0 == near.transport.get_write_buffer_size()


async def test_the_window_is_what_waits_at_the_reader():
    near, far = Ear(), Ear()
    async with in_memory(near, far):
        far.transport.pause_reading()
        near.transport.write(bytes(WINDOW + 10))

        assert 10 == near.transport.get_write_buffer_size()


@both
async def test_a_closed_end_waits_for_its_reader(joined: Joined):
    """What was written before `close` is still sent, however late the reader comes."""
    near, far = Ear(), Ear()
    async with joined(near, far):
        far.transport.pause_reading()
        for _ in range(40):
            near.transport.write(PIECE)
        near.transport.close()
        await asyncio.sleep(0.01)

        assert near.transport.is_closing()
        assert not near.lost.done()
        far.transport.resume_reading()
        await until(far.lost.done)
        assert PIECE * 40 == far.data


@both
async def test_half_a_connection(joined: Joined):
    """After `write_eof` the other side may go on, if it says so."""
    near, far = Ear(), Ear(stays=True)
    async with joined(near, far):
        assert near.transport.can_write_eof()
        near.transport.write(b"question")
        near.transport.write_eof()
        near.transport.write_eof()
        with pytest.raises(RuntimeError, match="write_eof"):
            near.transport.write(b"more")
        await until(lambda: "eof" in far.told)
        far.transport.write(b"answer")
        far.transport.close()
        await until(lambda: near.lost.done() and far.lost.done())

        assert (b"question", b"answer") == (bytes(far.data), bytes(near.data))
        assert (["eof", "lost"], ["eof", "lost"]) == (near.told, far.told)


@both
async def test_half_a_connection_that_is_not_wanted(joined: Joined):
    """Who does not stay is closed by the end of what it reads."""
    near, far = Ear(), Ear()
    async with joined(near, far):
        near.transport.write_eof()
        await until(lambda: near.lost.done() and far.lost.done())

        assert (["eof", "lost"], ["eof", "lost"]) == (near.told, far.told)


async def test_an_abort_is_a_reset():
    """What was on the way arrives, what was not yet is dropped; and nobody is told of an end."""
    near, far = Ear(), Ear()
    async with in_memory(near, far):
        far.transport.pause_reading()
        near.transport.write(bytes(WINDOW + 10))
        near.transport.abort()
        far.transport.resume_reading()
        await far.lost

        assert WINDOW == len(far.data)
        assert (["lost"], ["ConnectionResetError"]) == (near.told, far.told)


@both
async def test_closing_on_unread_bytes_is_a_reset(joined: Joined):
    """As TCP has it: the other side must not believe that they were read."""
    near, far = Ear(), Ear()
    async with joined(near, far):
        far.transport.pause_reading()
        near.transport.write(b"read me")
        await asyncio.sleep(0.01)
        far.transport.close()
        await until(near.lost.done)

        assert ["ConnectionResetError"] == near.told


@both
async def test_writing_to_nobody(joined: Joined):
    """The first bytes are answered with a reset; where the end is read already, the next fail."""
    near, far = Ear(stays=True), Ear()
    async with joined(near, far):
        far.transport.close()
        await until(lambda: "eof" in near.told)
        while not near.lost.done():
            near.transport.write(b"anybody?")
            await asyncio.sleep(0.001)

        assert "eof" == near.told[0]
        assert near.told[-1] in ("ConnectionResetError", "BrokenPipeError")


@both
async def test_a_protocol_that_fails_ends_its_connection(joined: Joined):
    """Its exception goes to the loop's handler; the other side sees the end."""

    def fail(data: bytes) -> None:
        raise LookupError(data)

    near, far = Ear(), Ear(at_data=fail)
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    async with joined(near, far):
        near.transport.write(b"x")
        await until(lambda: near.lost.done() and far.lost.done())

        assert ["LookupError"] == far.told
        assert ["eof", "lost"] == near.told
    assert [LookupError] == [type(context["exception"]) for context in told]


async def test_a_server_knows_nothing_of_its_clients_variables():
    """As over sockets: its callbacks, and the tasks that they start, run in the context of who listens."""
    who: ContextVar[str] = ContextVar("who", default="nobody")
    seen: list[str] = []
    network = Network()
    who.set("server")
    far = Ear(at_data=lambda _: seen.append(who.get()))
    network.listen("one.test", lambda: far)
    who.set("client")
    near = Ear(at_data=lambda _: seen.append(who.get()))
    await network.create_connection(lambda: near, "one.test", 80)
    near.transport.write(b"question")
    await until(lambda: bool(seen))
    far.transport.write(b"answer")
    await until(lambda: len(seen) == 2)
    near.transport.close()
    await asyncio.gather(near.lost, far.lost)

    assert ["server", "client"] == seen


async def test_connections_that_nobody_answers_can_be_given_up():
    """A cancelled one leaves nothing behind; a name that nobody has is not known."""
    network = Network()
    network.listen("one.test", Ear)
    network.block("one.test", "unanswered")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await network.create_connection(Ear, "one.test", 80)
    network.block("one.test", "unknown")
    with pytest.raises(socket.gaierror):
        await network.create_connection(Ear, "one.test", 80)
    network.unblock("one.test")
    network.stop("one.test")
    with pytest.raises(ConnectionRefusedError):
        await network.create_connection(Ear, "one.test", 80)
    with pytest.raises(socket.gaierror):
        await network.create_connection(Ear, "two.test", 80)


def test_no_time_passes_while_bytes_are_under_way():
    """A megabyte each way, through full windows, on virtual time."""

    async def main() -> float:
        near, far = Ear(), Ear()
        join(near, far)
        await asyncio.sleep(0)
        far.at_data = far.transport.write
        for _ in range(4):
            near.transport.write(PIECE)
        near.transport.write_eof()
        await asyncio.gather(near.lost, far.lost)

        assert PIECE * 4 == near.data
        return asyncio.get_running_loop().time()

    assert 0.0 == run_virtually(main())


STEPS = st.tuples(
    st.booleans(),  # whose step it is
    st.sampled_from(["write", "pause_reading", "resume_reading", "turn", "write_eof", "close", "abort"]),
    st.integers(1, 2 * WINDOW),  # bytes to write
)


async def walk(ears: tuple[Ear, Ear], steps: list[tuple[bool, str, int]]) -> list[bytes]:
    """Take the steps; what each has written."""
    written, over = [b"", b""], {"write_eof", "close", "abort"}
    ended = [False, False]
    for one, step, size in steps:
        transport = ears[one].transport
        if step == "turn":
            await asyncio.sleep(0)
        elif step == "write" and not ended[one] and not transport.is_closing():
            data = (bytes(range(251)) * (size // 251 + 1))[:size]
            written[one] += data
            transport.write(data)
        elif step != "write":
            ended[one] |= step in over
            getattr(transport, step)()
    return written


@given(st.lists(STEPS, max_size=40))
def test_whatever_two_ends_do(steps):
    """What arrives is the beginning of what was written, and all of it where nobody closed; each learns the end once."""

    async def main() -> None:
        ears = (Ear(stays=True), Ear(stays=True))
        join(*ears)
        await asyncio.sleep(0)
        written = await walk(ears, steps)
        for ear in ears:
            ear.transport.write_eof()
            ear.transport.resume_reading()
        for _ in range(100):  # turns, in which everything arrives: virtual time would not stand still for it
            await asyncio.sleep(0)
        for ear in ears:
            ear.transport.close()
        await asyncio.gather(*(ear.lost for ear in ears))

        closed = any(step in ("close", "abort") for _, step, _ in steps)
        for ear, sent in zip(ears, reversed(written), strict=True):
            assert sent.startswith(ear.data)
            assert closed or sent == ear.data
            assert ear.told.count("eof") <= 1
            assert 1 == sum(told not in ("pause", "resume", "eof") for told in ear.told)
            paused = [told for told in ear.told if told in ("pause", "resume")]
            assert (["pause", "resume"] * len(paused))[: len(paused)] == paused

    run_virtually(main())


async def test_marks_are_checked():
    near, far = Ear(), Ear()
    async with in_memory(near, far):
        assert isinstance(near.transport, End)
        near.transport.set_write_buffer_limits(high=8)
        assert (2, 8) == near.transport.get_write_buffer_limits()
        near.transport.set_write_buffer_limits(low=5)
        assert (5, 20) == near.transport.get_write_buffer_limits()
        with pytest.raises(ValueError, match="must not be less"):
            near.transport.set_write_buffer_limits(high=1, low=2)
        assert ("127.0.0.1", 49152) == far.transport.get_extra_info("peername")
        assert None is far.transport.get_extra_info("socket")
