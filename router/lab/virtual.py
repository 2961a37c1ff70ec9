"""Virtual time and providers in memory: ten minutes of a fleet in a second, the same to the byte for the same seed.

Knows an event loop whose clock jumps to the next timer, what stands in for the connections to a provider, and models of
providers: how long they take, when they are down, how often they fail, how many calls a minute they take. They speak
OpenAI's chat completions, whole and streamed.

Refuses the real world: no sockets and no threads (time would jump while bytes are under way), no clock of the machine,
no chance but the seed's, and no other wire protocol. A loop in which nothing can ever happen again says so at once
instead of hanging. What comes in between a socket and the router (aiohttp, framing) is not simulated: that is what the
emulators are for, which run in this time too, over the connections of `memory`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import cache
from math import ulp
from random import Random
from typing import TYPE_CHECKING, Any, Literal, TypeVar, TypeVarTuple, cast

from pydantic_core import to_json

from providers import errors as e
from providers.mailbox import Mailbox
from providers.wire import HttpRequest

if TYPE_CHECKING:
    from providers.transport import Response, Transport
    from router.config import Provider

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")
MINUTE = 60.0
FOR_EVER = float("inf")
ROUNDING = 1e-9  # seconds by which a sum of two times may be off


# -- time -------------------------------------------------------------------------------------------------------------


class Standstill(RuntimeError):
    """Everybody waits, and no timer is set: on a real loop this would hang for ever."""


class _Jump:
    """Stands where the base loop expects its selector: nothing is ever ready but the next timer."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, seconds: float | None) -> list[Any]:
        """Let *seconds* pass at once; None: there is no timer to wait for."""
        if seconds is None:
            message = "everybody waits for something that nobody will do, and no timer is set"
            raise Standstill(message)
        if seconds > 0:
            self._loop.jump(seconds)
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop whose clock stands still while anything can run, and jumps to the next timer when nothing can."""

    def __init__(self, clock: float = 0.0) -> None:
        super().__init__()
        self.clock = clock
        self._selector = _Jump(self)
        self._clock_resolution = ulp(clock)  # asyncio runs what is due within it: two moments are never made one

    def time(self) -> float:
        return self.clock

    def jump(self, seconds: float) -> None:
        """Let *seconds* pass; to a timer exactly, for the sum may be off by a rounding and a minute is a minute."""
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]  # asyncio's own heap
        arrived = self.clock + seconds
        due = timers[0].when() if timers else arrived
        self.clock = due if abs(due - arrived) < ROUNDING else arrived
        self._clock_resolution = ulp(self.clock)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Arguments], T], *args: *Arguments
    ) -> asyncio.Future[T]:
        message = "virtual time knows no threads: it would jump while they work"
        raise RuntimeError(message)

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""

    def _process_events(self, events: list[Any]) -> None:
        """There are none."""


class Threadless(VirtualLoop):
    """A virtual loop that does at once, and in the loop, what is meant for a thread: the parsing of a large answer, say."""

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Arguments], T], *args: *Arguments
    ) -> asyncio.Future[T]:
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  # whatever it is, whoever waits for it gets it
            done.set_exception(error)
        return done


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """What *main* returns, run to its end in virtual time, which begins at 0.

    Raises:
        Standstill: nothing can happen any more.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


# -- providers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Conduct:
    """How a provider behaves for a while.

    *kind*: `up` answers; `status` refuses with *status* and *headers*; `unreachable` takes no connection; `reset` drops
    it when the answer is due; `silent` never says anything. Times are seconds. *latency* is the median time to the first
    token, *spread* the sigma of its logarithm (0: always the same). *failing* is the share of calls that are refused
    with *status* although it is up. *body* stands in place of what a refusal, or a whole answer, would say; *headers*
    come with whatever is answered. A stream comes in *pieces*, *gap* apart.
    """

    kind: Literal["up", "status", "unreachable", "reset", "silent"] = "up"
    latency: float = 0.5
    spread: float = 0.3
    failing: float = 0.0
    status: int = 503
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    pieces: int = 4
    gap: float = 0.05


Script = Callable[[float], Conduct]
"""A provider's conduct at every time."""

UP = Conduct()
DOWN = Conduct("status", latency=0.02, spread=0.0)


def always(conduct: Conduct) -> Script:
    """The same at all times."""
    return lambda _: conduct


def windows(otherwise: Conduct, *spans: tuple[float, float, Conduct]) -> Script:
    """*otherwise*, but in each span (from, to, conduct) as it says; the first that fits."""

    def at(now: float) -> Conduct:
        return next((conduct for begin, end, conduct in spans if begin <= now < end), otherwise)

    return at


def alternating(first: Conduct, second: Conduct, seconds: float) -> Script:
    """*first* and *second* in turn, *seconds* each."""
    return lambda now: second if int(now // seconds) % 2 else first


@dataclass(slots=True)
class VirtualProvider:
    """A provider in memory: what it does (*script*), by which chance (*rng*), and how many calls a minute it takes.

    *began* has the time of every call that arrived.
    """

    name: str
    script: Script
    rng: Random
    per_minute: int | None = None
    began: list[float] = field(default_factory=list)
    _minute: deque[float] = field(default_factory=deque)

    async def answer(self, http: HttpRequest, now: float) -> VirtualResponse:
        """What comes back for *http*, when its headers are due.

        Raises:
            Unreachable, ConnectionFailed.
        """
        if not isinstance(http.json, dict) or "messages" not in http.json:
            message = "a virtual provider speaks chat completions only"
            raise TypeError(message)
        conduct = self.script(now)
        self.began.append(now)
        failing, seconds = self._drawn(conduct)
        if conduct.kind == "unreachable":
            message = "no connection: ECONNREFUSED"
            raise e.Unreachable(message)
        if (wait := self._too_fast(now)) is not None:
            return _refusal(429, (("Retry-After", f"{wait:.3f}"),))
        if conduct.kind == "silent":
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(seconds)
        if conduct.kind == "reset":
            message = "the connection was closed before an answer came"
            raise e.ConnectionFailed(message)
        if conduct.kind == "status" or failing:
            return _refusal(conduct.status, conduct.headers, conduct.body)
        if http.json.get("stream"):
            return _stream(conduct, self.name)
        body = _whole(self.name) if conduct.body is None else conduct.body
        return VirtualResponse(200, "application/json", [(0.0, body)], dict(conduct.headers))

    def _drawn(self, conduct: Conduct) -> tuple[bool, float]:
        """Whether this call fails, and how long it takes; two draws, always, so that one script shifts no other."""
        failing, scale = self.rng.random() < conduct.failing, self.rng.lognormvariate(0.0, 1.0)
        return failing, conduct.latency * scale**conduct.spread

    def _too_fast(self, now: float) -> float | None:
        """Seconds until there is room in the minute; None when there is, and then it is taken."""
        if self.per_minute is None:
            return None
        while self._minute and self._minute[0] <= now - MINUTE:
            self._minute.popleft()
        if len(self._minute) >= self.per_minute:
            return max(self._minute[0] + MINUTE - now, 0.001)
        self._minute.append(now)
        return None


def _refusal(status: int, headers: tuple[tuple[str, str], ...], body: bytes | None = None) -> VirtualResponse:
    if body is None:
        body = to_json({"error": {"message": f"simulated {status}"}})
    return VirtualResponse(status, "application/json", [(0.0, body)], dict(headers))


@cache
def _whole(name: str) -> bytes:
    message = {"role": "assistant", "content": f"{name} answers"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return to_json({"id": "virtual", "model": name, "created": 0, "choices": [choice], "usage": _USAGE})


_USAGE = {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}


def _stream(conduct: Conduct, name: str) -> VirtualResponse:
    words = [f"{name} ", *["answers "] * (conduct.pieces - 1)]
    pieces = [(0.0 if place == 0 else conduct.gap, _event({"content": word})) for place, word in enumerate(words)]
    pieces.append((0.0, _event({}, "stop") + b"data: [DONE]\n\n"))
    return VirtualResponse(200, "text/event-stream", pieces, dict(conduct.headers))


def _event(delta: Mapping[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + to_json({"id": "virtual", "choices": [choice]}) + b"\n\n"


# -- connections ------------------------------------------------------------------------------------------------------


class VirtualResponse:
    """Stands for `providers.transport.Response`. *pieces*: bytes, each with the seconds after the one before it."""

    def __init__(
        self,
        status: int,
        content_type: str,
        pieces: list[tuple[float, bytes]],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status, self.content_type = status, content_type
        self.headers: Mapping[str, str] = {"Content-Type": content_type, **(headers or {})}
        self._loop = asyncio.get_running_loop()
        self._due: deque[tuple[float, bytes]] = deque()
        due = self._loop.time()
        for after, data in pieces:
            due += after
            self._due.append((due, data))
        self.is_broken = False

    @property
    def at_end(self) -> bool:
        return not self._due

    def read_now(self) -> bytes:
        """What is due already."""
        now, found = self._loop.time(), []
        while self._due and self._due[0][0] <= now + 1e-9:
            found.append(self._due.popleft()[1])
        return b"".join(found)

    async def read(self) -> bytes:
        """The next bytes, when they are due; empty at the end."""
        if self._due:
            await asyncio.sleep(max(self._due[0][0] - self._loop.time(), 0.0))
        return self.read_now()

    def close(self) -> None:
        """Drop what is still to come."""
        self._due.clear()

    release = close


class VirtualTransport:
    """Stands for `providers.transport.Transport`: the connections to one virtual provider.

    *under_way* counts the calls that were sent and not given back: at the end of a simulation it is 0. *spans* has, for
    each call that is over, when it was sent and when it was given back; *most* were under way at once.
    """

    def __init__(self, provider: VirtualProvider) -> None:
        self.provider, self.mailbox = provider, Mailbox()
        self.clock: Callable[[], float] = asyncio.get_running_loop().time  # the time of day begins with the loop
        self.under_way = self.most = 0
        self.spans: list[tuple[float, float]] = []
        self.closed = False
        self._sent: dict[int, float] = {}

    async def send(self, http: HttpRequest, *, secrets: Mapping[str, str], connect: float | None = None) -> Response:
        """Send *http*; returns when the headers have come."""
        now = asyncio.get_running_loop().time()
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            response = await self.provider.answer(http, now)
        except BaseException:
            self._over(now)
            raise
        self._sent[id(response)] = now
        return cast("Response", response)

    def _over(self, sent: float) -> None:
        self.under_way -= 1
        self.spans.append((sent, asyncio.get_running_loop().time()))

    def leave(self, response: Response, *, whole: bool) -> None:
        """Give *response* back."""
        self._over(self._sent.pop(id(response)))
        response.close()

    async def close(self) -> None:
        """Nothing is held."""
        self.closed = True


class VirtualTransports(dict[str, VirtualTransport]):
    """The connections to *providers*, by their names; called, it is the `transports` of a `Router`."""

    def __init__(self, *providers: VirtualProvider) -> None:
        super().__init__((provider.name, VirtualTransport(provider)) for provider in providers)

    def __call__(self, provider: Provider) -> Transport:
        return cast("Transport", self[provider.name])
