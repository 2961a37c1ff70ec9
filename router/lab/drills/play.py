"""Plays one scenario on a stage, and keeps what both sides saw of it.

Knows how many callers call and when, and what is noted. Refuses to judge (`judge`) and to know how a stage is set up.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from router.lab.drills.stage import Ground, Stage, key_of, set_up

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from providers.types import Attempt, Completion
    from router.lab.emulators import Emulator, Invoice, Received
    from router.lab.faults import Fault
    from router.lab.script import Cast, Script

PATIENCE = 30.0  # seconds beyond the deadline until a caller is said to hang
AFTER = 10.0  # seconds that callers go on calling when a window is over and the longest cooldown has passed
SHARED = 40  # callers where chance is at work, so that it shows


@dataclass
class Heard:
    """What one caller got, and when: seconds since he asked. *marks*: how long the text was, each time he looked."""

    asked_at: float
    text: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    answer: Completion | None = None
    error: Exception | None = None
    hung: bool = False
    first: float | None = None
    last: float | None = None
    total: float = 0.0
    attempts: Sequence[Attempt] = ()
    marks: set[int] = field(default_factory=lambda: {0})


class Asked(NamedTuple):
    """A request that arrived: when (seconds since the scenario began), for whom, and the fault that it met.

    *model*: what it asks for, in the provider's word; *deployment* is the nearest that the route has.
    """

    at: float
    deployment: str
    model: str
    received: Received
    fault: Fault | None
    generates: bool


@dataclass
class Played:
    """Both views of one scenario: the callers', and what arrived at each provider."""

    ground: Ground
    script: Script
    cast: Cast
    heard: list[Heard] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    invoices: dict[str, list[Invoice]] = field(default_factory=dict)
    took: float = 0.0

    @property
    def met(self) -> list[Asked]:
        """The requests that met a fault."""
        return [one for one in self.asked if one.fault is not None]

    def requests(self, deployment: str) -> list[Asked]:
        """The requests for a new answer that arrived for *deployment*."""
        return [one for one in self.asked if one.deployment == deployment and one.generates]

    def count(self, deployment: str) -> int:
        """How many of these there were; where the script has time windows, as long as these lasted."""
        ends = math.inf if self.script.ends is None else self.script.ends
        return sum(one.at < ends for one in self.requests(deployment))


async def play(ground: Ground, script: Script) -> Played:
    """Play *script* on a fresh stage."""
    played = Played(ground, script, script.cast(ground.order, ground.accounts))
    attempts: dict[str, list[Attempt]] = {}
    async with set_up(ground, hooks=(_attempts_into(attempts),)) as stage:
        began = asyncio.get_running_loop().time()
        rng = Random(f"{script.seed}/{ground.seed}")
        for name, emulator in stage.emulators.items():
            emulator.direct(_director(played, name, emulator, began, rng))
        await _call(stage, played, began)
        played.took = asyncio.get_running_loop().time() - began
        for number, heard in enumerate(played.heard, 1):
            heard.attempts = attempts.get(key_of(number), ())
        played.invoices = {name: list(emulator.invoices) for name, emulator in stage.emulators.items()}
    return played


def _attempts_into(attempts: dict[str, list[Attempt]]) -> Callable[[Any], None]:
    """A hook that keeps the attempts of every request by its key."""
    from router.events import AttemptEnded

    def hear(event: Any) -> None:
        if isinstance(event, AttemptEnded):
            attempts.setdefault(event.request, []).append(event.attempt)

    return hear


def _director(played: Played, provider: str, emulator: Emulator, began: float, rng: Random) -> Any:
    """Chooses the fault of every request at one provider, and notes that it came."""

    def direct(received: Received, fits: Callable[[Fault], bool], generates: bool) -> Fault | None:  # noqa: FBT001  # as an emulator calls it
        model = emulator.asked_model(received)
        deployment = played.ground.deployment_of(provider, model)
        at = received.at - began
        fault = played.cast.fault_for(deployment, at, rng, fits, counts=generates, continues=continues(received))
        played.asked.append(Asked(at, deployment, model, received, fault, generates))
        return fault

    return direct


def continues(received: Received) -> bool:
    """Whether the last message is the beginning of an answer."""
    body = received.body[0] if isinstance(received.body, list) and received.body else received.body
    messages = body.get("messages") if isinstance(body, dict) else None
    last = messages[-1] if isinstance(messages, list) and messages else None
    return isinstance(last, dict) and last.get("role") == "assistant"


# -- callers ----------------------------------------------------------------------------------------------------------


def callers_of(script: Script, longest_cooldown: float) -> int:
    """How many call: as the script says, else as its times need."""
    callers = script.callers
    if callers.count is not None:
        return callers.count
    if script.ends is not None:
        return math.ceil((script.ends + longest_cooldown + AFTER) / callers.every)
    if any(one.when.share is not None for one in script.troubles):
        return SHARED
    return max(one.when.last or 1 for one in script.troubles) if script.troubles else 1


async def _call(stage: Stage, played: Played, began: float) -> None:
    """Everybody calls at his time, whether or not those before him have been answered."""
    callers, loop = played.script.callers, asyncio.get_running_loop()
    under_way: list[asyncio.Task[Heard]] = []
    async with asyncio.TaskGroup() as group:
        for number in range(callers_of(played.script, stage.ground.route.policy.circuit.max_cooldown)):
            await asyncio.sleep(max(began + number * callers.every - loop.time(), 0.0))
            under_way.append(group.create_task(_ask(stage, began, stream=callers.stream)))
    played.heard = [task.result() for task in under_way]


async def _ask(stage: Stage, began: float, *, stream: bool) -> Heard:
    """One question; a failure is kept, not raised."""
    clock = asyncio.get_running_loop().time
    asked = clock()
    heard = Heard(asked - began)
    try:
        async with asyncio.timeout(stage.ground.route.policy.deadline + PATIENCE) as patience:
            await (_streamed if stream else _whole)(stage, heard, asked)
    except Exception as error:  # noqa: BLE001  # which one it was is judged
        heard.error = error
        heard.hung = patience.expired()
    heard.total = clock() - asked
    return heard


async def _streamed(stage: Stage, heard: Heard, asked: float) -> None:
    clock = asyncio.get_running_loop().time
    async for chunk in stage.router.stream(stage.ground.request):
        if chunk.restart:
            heard.text = heard.reasoning = ""
        heard.reasoning += chunk.reasoning_content or ""
        heard.text += chunk.content or ""
        heard.marks.add(len(heard.text))
        if chunk.says_something:
            heard.last = clock() - asked
            heard.first = heard.last if heard.first is None else heard.first
        heard.finish_reason = chunk.finish_reason or heard.finish_reason
        heard.answer = chunk.completion or heard.answer


async def _whole(stage: Stage, heard: Heard, asked: float) -> None:
    answer = await stage.router.complete(stage.ground.request)
    heard.answer, heard.finish_reason = answer, answer.finish_reason
    heard.text, heard.reasoning = answer.content or "", answer.reasoning_content or ""
    heard.first = heard.last = asyncio.get_running_loop().time() - asked
