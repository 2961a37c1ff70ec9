"""Plays a scenario, in memory on virtual time or over real sockets, and keeps what both sides saw of it.

Knows how two emulators and a router over them are set up, and what is noted. Refuses to judge (`verdict`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from providers.transport import Transport
from router.lab.answers import Answer
from router.lab.emulate import in_memory
from router.lab.emulators import Model, OpenAICompatible
from router.lab.scenarios import FACTOR, TOKEN_DELAY, TOKENS, Scenario, Trouble, scaled, scaled_policy
from router.lab.virtual import run_virtually

if TYPE_CHECKING:
    from providers.types import Completion
    from router import Router
    from router.config import Provider
    from router.lab.emulators import Emulator, Invoice, Received

SIDES = ("primary", "secondary")
TEXT = " ".join(f"word{number}" for number in range(1, TOKENS + 1))  # one token each, none like another
QUESTION = [{"role": "user", "content": "Count the words."}]
PRICES = {"primary": Model(1.0, 3.0), "secondary": Model(2.0, 5.0)}  # no two numbers alike: a mix-up shows
SLACK = 2.0  # seconds of the real clock that a busy machine may add to any limit; virtual time is exact
ROUNDING = 1e-6  # seconds; virtual time adds nothing else


@dataclass
class Heard:
    """What one caller got, and when: seconds since he asked, of the rehearsal's clock."""

    text: str = ""
    finish_reason: str | None = None
    answer: Completion | None = None
    error: Exception | None = None
    first: float | None = None
    last: float | None = None
    total: float = 0.0
    asked_at: float = 0.0


@dataclass
class Played:
    """Both views of one scenario: the callers', and what arrived at each provider. Seconds are the rehearsal's own.

    *factor*: how many times as fast its clock ran. *slack*: seconds that may have been added to any of them.
    """

    scenario: Scenario
    factor: float = 1.0
    slack: float = ROUNDING
    heard: list[Heard] = field(default_factory=list)
    requests: dict[str, list[Received]] = field(default_factory=dict)
    invoices: dict[str, list[Invoice]] = field(default_factory=dict)
    down: dict[str, int] = field(default_factory=dict)  # requests that came while the primary was down
    healed_at: float | None = None
    served_again_at: float | None = None

    @property
    def only(self) -> Heard:
        """The one caller, or the last of several."""
        return self.heard[-1]

    def count(self, side: str) -> int:
        """Requests that arrived there; of an outage, those that came while it lasted."""
        return self.down[side] if self.down else len(self.requests[side])


def play_virtually(scenario: Scenario) -> Played:
    """Play *scenario* in memory, on virtual time: its seconds are real ones, and take none."""
    return run_virtually(_in_memory(Played(scenario)))


async def play(scenario: Scenario, *, factor: float = FACTOR) -> Played:
    """Play *scenario* over sockets, every time divided by *factor*."""
    played = Played(scenario, factor, SLACK)
    async with AsyncExitStack() as stack:
        emulators = {side: await stack.enter_async_context(_emulator(side, played)) for side in SIDES}
        await _play(played, emulators, lambda _: Transport())
    return played


async def _in_memory(played: Played) -> Played:
    async with in_memory({side: _emulator(side, played) for side in SIDES}) as lab:
        await _play(played, lab.emulators, lab.transports)
    return played


def _emulator(side: str, played: Played) -> Emulator:
    sold = {f"lab/{side}": PRICES[side]}
    emulator = OpenAICompatible(token_delay=TOKEN_DELAY / played.factor, models=sold, api_key=f"key-of-{side}")
    emulator.reply(Answer(TEXT))
    _script(emulator, played.scenario.primary if side == "primary" else played.scenario.secondary, played.factor)
    return emulator


async def _play(played: Played, emulators: Mapping[str, Emulator], transports: Callable[[Provider], Transport]) -> None:
    async with _router(played, emulators, transports) as router:
        if played.scenario.outage is None:
            played.heard.append(await ask(router))
        else:
            await _outage(played, router, emulators)
    played.requests = {side: list(emulator.requests) for side, emulator in emulators.items()}
    played.invoices = {side: list(emulator.invoices) for side, emulator in emulators.items()}


def _script(emulator: Emulator, troubles: tuple[Trouble, ...], factor: float) -> None:
    for trouble in troubles:
        when = _prefilled if trouble.prefilled else None
        emulator.fail(scaled(trouble.fault, factor), times=trouble.times, when=when)


def _prefilled(received: Received) -> bool:
    return bool(received.body["messages"][-1]["role"] == "assistant")


def _router(played: Played, emulators: Mapping[str, Emulator], transports: Callable[[Provider], Transport]) -> Router:
    from router import Router

    scenario = played.scenario
    providers: dict[str, Any] = {}
    models: dict[str, Any] = {}
    for side, emulator in emulators.items():
        price = {"input": PRICES[side].input, "output": PRICES[side].output}
        entry = {"provider": side, "model": f"lab/{side}", "price": price}
        if scenario.continues and side == "secondary":
            entry["continuation"] = {"modes": ["instruct", "thinking"]}
        providers[side] = {
            "protocol": "chat_completions", "base_url": emulator.base_url, "api_key": f"key-of-{side}",
        }  # fmt: skip
        models[f"model-{side}"] = {"deployments": [entry]}
    written = {
        "providers": providers,
        "models": models,
        "routes": {"chat": {"deployments": [f"{side}/model-{side}" for side in SIDES], "policy": "rehearsed"}},
        "policies": {"rehearsed": scaled_policy(scenario.policy, played.factor)},
    }
    return Router.open(written, environ={}, rng=Random(7), transports=transports)


async def ask(router: Router) -> Heard:
    """One streamed question; a failure is kept, not raised."""
    clock = asyncio.get_running_loop().time
    heard = Heard(asked_at=clock())
    try:
        async for chunk in router.stream({"model": "chat", "messages": QUESTION}):
            if chunk.content:
                heard.text += chunk.content
                heard.last = clock() - heard.asked_at
                heard.first = heard.last if heard.first is None else heard.first
            heard.finish_reason = chunk.finish_reason or heard.finish_reason
            heard.answer = chunk.completion or heard.answer
    except Exception as error:  # noqa: BLE001  # which one it was is judged
        heard.error = error
    heard.total = clock() - heard.asked_at
    return heard


async def _outage(played: Played, router: Router, emulators: Mapping[str, Emulator]) -> None:
    outage, factor = played.scenario.outage, played.factor
    assert outage is not None  # noqa: S101  # the caller has looked
    loop = asyncio.get_running_loop()
    end = loop.time() + outage.down / factor
    waiting: list[asyncio.Task[Heard]] = []
    while loop.time() < end:
        waiting.append(asyncio.create_task(ask(router)))
        await asyncio.sleep(outage.every / factor)
    played.down = {side: len(emulator.requests) for side, emulator in emulators.items()}
    emulators["primary"].heal()
    played.healed_at = loop.time()
    played.heard += await asyncio.gather(*waiting)
    while played.served_again_at is None and loop.time() < played.healed_at + 2 * outage.back / factor:
        heard = await ask(router)
        played.heard.append(heard)
        if heard.answer is not None and heard.answer.deployment.startswith("primary/"):
            played.served_again_at = heard.asked_at
