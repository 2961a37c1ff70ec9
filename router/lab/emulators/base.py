"""One emulated provider as a server: it receives, asks its script for faults, and sends.

Knows HTTP and the order of things. Knows no provider's words: a subclass turns one request into one ``Outcome``, at
once and without I/O, and everything below that (delays, broken connections, broken streams) is the same for all.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from email.utils import formatdate
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal, Self, cast

from aiohttp import web

from router.lab.answers import Answer
from router.lab.emulators import sending
from router.lab.emulators.playback import Outcome, Raw, Stream, Whole
from router.lab.emulators.record import Headers, Invoice, Newest, Received, Script
from router.lab.emulators.replaying import Again, Replay
from router.lab.emulators.words import Problem, problem_of, stand_in
from router.lab.faults import Fault
from router.lab.memory import Network
from router.lab.recording import Recording, RecordingError, read_recording

Director = Callable[[Received, Callable[[Fault], bool], bool], Fault | None]
"""Chooses the fault of a request: what arrived, whether a fault can be carried out on it, and whether it makes a new
answer."""


class Emulator(ABC):
    """A provider's emulator, running between ``async with`` and its end."""

    name: ClassVar[str]
    words: ClassVar[Mapping[str, Problem]]  # the provider's own words for each kind of ``Fault.words``

    def __init__(
        self,
        *,
        api_key: str | None = None,
        token_delay: float = 0.0,
        latency: float = 0.0,
        requests_per_minute: int | None = None,
        max_body: int = 160 * 2**20,
        keep: int | None = None,
    ) -> None:
        """Make an emulator. *api_key* None accepts any key but not none at all.

        *requests_per_minute* is off by default even where a limit is documented: a test suite is not an account.
        *keep*: how many of the newest requests, and of the newest invoices, are remembered; None remembers all, which
        is right for a test and wrong for a server that runs for weeks.
        """
        if keep is not None and keep < 1:
            raise ValueError(f"keep must be at least 1, or None for all, not {keep}")
        self.api_key = api_key
        self.token_delay = token_delay
        self.latency = latency
        self.requests: Newest[Received] = Newest(keep)
        self.invoices: Newest[Invoice] = Newest(keep)
        self.base_url = ""
        self._requests_per_minute = requests_per_minute
        self._max_body = max_body
        self._answers: Script[tuple[Answer, ...]] = Script()
        self._faults: Script[Fault] = Script()
        self._replay: Replay | None = None
        self._director: Director | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._runner: web.AppRunner | None = None
        self._host, self._port = "127.0.0.1", 0
        self._network: Network | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.base_url or 'not started'}>"

    # --- The script ---------------------------------------------------------------------------------------------

    def reply(
        self,
        answer: Answer | Sequence[Answer],
        *,
        times: int | None = None,
        when: Callable[[Received], bool] | None = None,
    ) -> None:
        """Answer with *answer* (several: one per choice) so many times, None for ever; counted ones come first."""
        self._answers.add((answer,) if isinstance(answer, Answer) else tuple(answer), times, when)

    def fail(
        self,
        fault: Fault | Callable[[], Fault],
        *,
        times: int | None = 1,
        when: Callable[[Received], bool] | None = None,
    ) -> None:
        """Apply *fault* to the next requests that it fits; *times* None is for ever, ``heal`` ends it."""
        if not callable(fault) and not isinstance(fault, Fault):
            raise TypeError(f"{fault!r} is no Fault; write Fault.{fault if fault in Fault.names() else 'overloaded'}")
        self._faults.add(fault if isinstance(fault, Fault) else fault(), times, when)

    def direct(self, director: Director | None) -> None:
        """Let *director* choose the fault of every request, where none of `fail` is meant for it."""
        self._director = director

    def heal(self) -> None:
        """Forget the faults."""
        self._faults.clear()
        self._director = None

    def replay(
        self,
        recording: Recording | str | Path,
        *,
        provider: str | None = None,
        pace: float = 1.0,
        otherwise: Literal["refuse", "generate"] = "refuse",
    ) -> None:
        """Answer from *recording* (a file, or what `read_recording` has read of it) what was asked there.

        *provider*: whose exchanges; by default this emulator's name. *pace*: 1 for the recorded times, 0.5 for twice as
        fast, 0 for at once. *otherwise*: whether a request that was not recorded is refused, with the nearest recorded
        one and what differs, or answered as if there were no recording. Recorded answers are on nobody's invoice.

        Raises:
            RecordingError: the file cannot be read, or nothing in it went to *provider*.
        """
        recording = recording if isinstance(recording, Recording) else read_recording(recording)
        name = self.name if provider is None else provider
        exchanges = recording.of(name)
        if not exchanges:
            message = f"{recording.name}: nothing in it went to {name!r}; it has {', '.join(recording.providers) or 'nothing'}"
            raise RecordingError(message)
        self._replay = Replay(recording, exchanges, pace=pace, generates=otherwise == "generate")

    def forget(self) -> None:
        """Forget faults, answers, a recording, requests and invoices."""
        self.heal()
        self._answers.clear()
        self._replay = None
        self.requests.clear()
        self.invoices.clear()

    # --- What a provider is -------------------------------------------------------------------------------------

    @abstractmethod
    def is_inference(self, received: Received) -> bool:
        """Whether faults and limits apply to this request."""

    @abstractmethod
    def wants_stream(self, received: Received) -> bool:
        """Whether the request asks for a stream."""

    @abstractmethod
    def answer(self, received: Received, fault: Fault | None) -> Outcome:
        """Validate, generate, bill and render; *fault* is one that shapes an answer, not its way."""

    @abstractmethod
    def other(self, received: Received) -> Whole:
        """Answer a request that is not inference: the list of models, an unknown path."""

    @abstractmethod
    def envelope(self, problem: Problem, received: Received) -> Whole:
        """A refusal in the provider's own envelope."""

    def generates(self, received: Received) -> bool:
        """Whether the request makes a new answer; a poll does not."""
        return True

    def asked_model(self, received: Received) -> str:
        """The model that the request names."""
        return str(received.body.get("model")) if isinstance(received.body, dict) else ""

    def reply_headers(self, received: Received) -> Mapping[str, str]:
        """Headers that the provider sets on every reply to this request."""
        return {}

    # --- Running ------------------------------------------------------------------------------------------------

    def bind(self, host: str = "127.0.0.1", port: int = 0) -> Self:
        """Say where to listen; port 0 takes a free one."""
        self._host, self._port, self._network = host, port, None
        return self

    def inside(self, network: Network, host: str) -> Self:
        """Say to listen in memory, as *host* of *network*, which has the time of day too."""
        self._host, self._network = host, network
        return self

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=self._max_body)
        app.router.add_route("*", "/{path:.*}", self._handle)
        # A handler dies with its client, and nobody's patience is tested by the end of an emulator.
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.01, lingering_time=0.1
        )
        await self._runner.setup()
        try:
            address = await self._listen(self._runner)
        except OSError:
            await self._runner.cleanup()
            raise
        self.base_url = f"http://{address}/v1"
        return self

    async def _listen(self, runner: web.AppRunner) -> str:
        if self._network is not None:
            self._network.listen(self._host, cast("web.Server", runner.server))  # set up just before
            return self._host
        await web.TCPSite(runner, self._host, self._port).start()
        port = runner.addresses[0][1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{port}"

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._network is not None:
            self._network.stop(self._host)
        if self._runner is not None:
            await self._runner.cleanup()
        for _ in range(3):  # the connections' own tasks end a turn of the loop after their handlers
            await asyncio.sleep(0)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        task = cast("asyncio.Task[Any]", asyncio.current_task())  # a handler always runs in one
        self._tasks.add(task)
        try:
            return await self._serve(request)
        finally:
            self._tasks.discard(task)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        received = await self._receive(request)
        self.requests.append(received)
        await _sleep(self.latency)
        outcome, fault = self.respond(received)
        if outcome is None:
            return await sending.disturb(request, cast("Fault", fault))
        return await self._send(request, received, outcome, fault)

    def respond(self, received: Received) -> tuple[Outcome | Raw | None, Fault | None]:
        """What is answered, and the fault on its way, without I/O; no outcome: the fault disturbs the connection."""
        if received.too_large:
            return self.in_words("too_large", received), None
        if not self.is_inference(received):
            return self.other(received), None
        again = self._replay.find(received) if self._replay is not None else None
        fits = partial(self._fits, received=received, again=again)
        entry = self._faults.take(received, fits)
        fault = entry.item if entry is not None else None
        if fault is None and self._director is not None:
            fault = self._director(received, fits, self.generates(received))
        if fault is not None and fault.at_arrival:
            return self._at_arrival(received, fault)
        if again is not None:
            received.replayed = again.line
            return again.outcome(fault)
        outcome = self._over_limit(received) or self._not_recorded(received) or self.answer(received, fault)
        if fault is not None and isinstance(outcome, Whole) and outcome.refused:
            fault = None
            if entry is not None:
                self._faults.give_back(entry)
        return outcome, fault

    def _fits(self, fault: Fault, received: Received, again: Again | None) -> bool:
        fits = fault.fits(streaming=self.wants_stream(received), generates=self.generates(received))
        return fits and (again is None or again.suits(fault))

    def _not_recorded(self, received: Received) -> Whole | None:
        if self._replay is None or self._replay.generates:
            return None
        problem = Problem(400, self._replay.why_not(received), code="not_recorded")
        return replace(self.envelope(problem, received), refused=True)

    async def _receive(self, request: web.Request) -> Received:
        at = asyncio.get_running_loop().time()
        raw, too_large = b"", False
        try:
            raw = await request.read()
        except web.HTTPRequestEntityTooLarge:
            too_large = True
        headers, query = Headers(request.headers), dict(request.query)
        return Received(at, request.method, request.path, query, headers, raw, _parsed(raw), too_large=too_large)

    async def _send(
        self, request: web.Request, received: Received, outcome: Outcome | Raw, fault: Fault | None
    ) -> web.StreamResponse:
        if isinstance(outcome, Raw):
            received.status = outcome.status
            return await sending.send_raw(request, replace(outcome, headers={**self._dated(), **outcome.headers}))
        kind = fault.kind if fault is not None else ""
        if fault is not None and kind == "lost_response":
            return await sending.disturb(request, fault)
        if fault is not None and kind == "slow_headers":
            await _sleep(fault.seconds)
        slow = fault.times if kind == "slow" and fault is not None else 1.0
        await _sleep(self.latency * (slow - 1))
        if kind == "json_instead_of_stream" and isinstance(outcome, Stream):
            outcome = outcome.whole
        headers = {**self._dated(), **self.reply_headers(received), **outcome.headers}
        received.status = outcome.status if isinstance(outcome, Whole) else 200
        if isinstance(outcome, Whole):
            return await sending.send_whole(request, replace(outcome, headers=headers), fault)
        return await sending.send_stream(
            request, replace(outcome, headers=headers), fault, token_delay=self.token_delay * slow
        )

    def _dated(self) -> Mapping[str, str]:
        """The `Date` of a network in memory; over sockets aiohttp writes the machine's."""
        return {} if self._network is None else {"Date": formatdate(self._network.now(), usegmt=True)}

    # --- Faults that stand in place of an answer ----------------------------------------------------------------

    def _at_arrival(self, received: Received, fault: Fault) -> tuple[Outcome | None, Fault | None]:
        whole = self._in_place_of_answer(received, fault)
        if whole is None:
            return None, fault
        return replace(whole, headers={**whole.headers, **dict(fault.headers)}), None

    def _in_place_of_answer(self, received: Received, fault: Fault) -> Whole | None:
        if fault.kind == "words":
            return self.in_words(str(fault.code), received)
        if fault.kind == "status" and fault.body is None:
            return self.envelope(problem_of(self.words, fault.http_status), received)
        if fault.kind == "error_in_200":
            return replace(self.envelope(self.problem_in_200(fault.code), received), status=200)
        return stand_in(fault)

    def in_words(self, kind: str, received: Received) -> Whole:
        """The provider's own words for *kind*, as a refusal."""
        return self.refuse(self.words[kind], received)

    def refuse(self, problem: Problem, received: Received) -> Whole:
        """Put a problem into the provider's envelope; {model} in its message is the one that was asked for."""
        message = problem.message.replace("{model}", self.asked_model(received))
        return replace(self.envelope(replace(problem, message=message), received), refused=True)

    def problem_in_200(self, code: str | int | None) -> Problem:
        """The error that hides in an HTTP 200, or in an event of a stream."""
        problem = self.words["server_error"]
        return problem if code is None else replace(problem, code=code, type=str(code))

    def _over_limit(self, received: Received) -> Whole | None:
        if self._requests_per_minute is None:
            return None
        recent = sum(self.is_inference(r) and r.at > received.at - 60 for r in self.requests)
        return self.in_words("rate_limited", received) if recent > self._requests_per_minute else None


async def _sleep(seconds: float) -> None:
    if seconds > 0:
        await asyncio.sleep(seconds)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
