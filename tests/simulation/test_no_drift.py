"""The simulation against the router that sends: the same scenario through both, to the attempt.

Both have the same providers (constant times, no chance of theirs), the same arrivals, and the same seed for the router's
own chance. What differs is everything between a socket and the router, which is what a simulation leaves out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import pytest

from providers.types import Attempt
from router import Router
from router.config import Limits
from router.errors import RouterError
from router.events import RequestEnded
from router.lab import EMULATORS, Answer, Fault, in_memory
from router.lab.simulation import Assumptions, Scene, Traffic, simulate
from router.lab.simulation.course import expressible
from router.lab.simulation.series import Series
from router.lab.virtual import DOWN, Script, VirtualProvider, VirtualTransports, always, run_virtually, windows
from router.lab.virtual import Conduct as Virtual
from tests.lab.simulated import config, script

SECONDS, RATE, SEED = 240.0, 5.0, 3
REQUEST = {"model": "chat", "messages": [{"role": "user", "content": "17 * 23?"}]}
UP = Virtual(latency=0.5, spread=0.0)
SLOW = replace(UP, latency=5.0)
REFUSING = replace(DOWN, latency=0.02)
FAST = 1e9  # tokens a second: a whole answer comes with its first token, as the virtual providers' do


@dataclass
class End:
    """What is compared of a request's end."""

    outcome: str
    deployment: str
    duration: float
    attempts: tuple[Attempt, ...]


@contextmanager
def overheard(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[End]]:
    """The ends of the requests that a simulation makes."""
    heard: list[End] = []
    real = Series.ended

    def ended(
        self: Series, began: float, outcome: str, attempts: Sequence[Attempt], *, first: float | None, duration: float
    ) -> None:
        name = attempts[-1].deployment if outcome == "success" else ""
        heard.append(End(outcome, name, duration, tuple(attempts)))
        real(self, began, outcome, attempts, first=first, duration=duration)

    with monkeypatch.context() as patch:
        patch.setattr(Series, "ended", ended)
        yield heard


def told(ends: Sequence[End | RequestEnded]) -> list[tuple[Any, ...]]:
    """What is compared: how each request ended, and all of its attempts; in an order that does not hang on ties."""
    return sorted(
        (
            end.outcome,
            end.deployment or "",
            round(end.duration, 6),
            tuple((one.deployment, one.outcome, round(one.started, 6), round(one.duration, 6)) for one in end.attempts),
        )
        for end in ends
    )


def sent(providers: dict[str, Script], *, limit: int | None = None, **policy: Any) -> list[RequestEnded]:
    """The scenario through the router that sends."""
    ends: list[RequestEnded] = []

    async def live() -> None:
        loop = asyncio.get_running_loop()
        rng = Random(f"{SEED}/router/0")
        hooks = [lambda event: ends.append(event) if isinstance(event, RequestEnded) else None]
        transports = VirtualTransports(
            *(VirtualProvider(name, one, Random(1), limit) for name, one in providers.items())
        )
        async with (
            Router(config(*providers, **policy), hooks=hooks, rng=rng, transports=transports) as router,
            asyncio.TaskGroup() as tasks,
        ):
            for place in range(int(SECONDS * RATE)):
                at = 0.5 / RATE + place / RATE
                await asyncio.sleep(max(at - loop.time(), 0.0))
                tasks.create_task(ask(router))

    async def ask(router: Router) -> None:
        with suppress(RouterError):
            await router.complete(REQUEST)

    run_virtually(live())
    return ends


def supposed(
    providers: dict[str, list[dict[str, Any]]], *, shortcuts: bool = False, limit: int | None = None, **policy: Any
) -> Mapping[str, Any]:
    """The scenario through the simulation: its facts."""
    conduct: dict[str, Any] = {"first_token": 0.5, "spread": 0.0, "tokens_per_second": FAST, "refusal": 0.02}
    if limit is not None:  # a virtual provider that is full says so at once
        conduct |= {"limits": Limits(requests_per_minute=limit), "retry_after": True, "refusal": 0.0}
    traffic = Traffic(arrivals="even", stream=False, answer_tokens=1, answer_spread=0)
    faults = [{"who": name, **entry} for name, entries in providers.items() for entry in entries]
    scene = Scene(
        rate=RATE,
        seconds=SECONDS,
        seed=SEED,
        faults=[script(*faults)] if faults else [],
        assumptions=Assumptions(traffic, {"all": conduct}),
        shortcuts=shortcuts,
    )
    return simulate(config(*providers, **policy), scene).facts


def during(begin: float, end: float) -> dict[str, Any]:
    return {"from": f"{begin:g}s", "until": f"{end:g}s"}


SCENARIOS: dict[str, tuple[dict[str, Script], dict[str, list[dict[str, Any]]], dict[str, Any]]] = {
    "all is well": ({"alpha": always(UP), "beta": always(UP)}, {"alpha": [], "beta": []}, {}),
    "the first is down for a minute": (
        {"alpha": windows(UP, (60.05, 120.05, REFUSING)), "beta": always(UP)},
        {"alpha": [{"what": "down", "when": during(60.05, 120.05)}], "beta": []},
        {},
    ),
    "everybody is down for a minute": (
        dict.fromkeys(("alpha", "beta"), windows(UP, (60.05, 120.05, REFUSING))),
        {name: [{"what": "down", "when": during(60.05, 120.05)}] for name in ("alpha", "beta")},
        {"deadline": "20s"},
    ),
    "the first resets, here first": (
        {"alpha": windows(UP, (60.05, 90.05, replace(UP, kind="reset", latency=0.02))), "beta": always(UP)},
        {"alpha": [{"what": "reset", "when": during(60.05, 90.05)}], "beta": []},
        {"order": "here_first", "backoff": {"initial": "100ms", "max": "1s"}},
    ),
    "the first is silent": (
        {"alpha": windows(UP, (60.05, 90.05, replace(UP, kind="silent"))), "beta": always(UP)},
        {"alpha": [{"what": "silence", "when": during(60.05, 90.05)}], "beta": []},
        {"deadline": "10s", "timeouts": {"headers": "4s"}},
    ),
    "the first is ten times slower": (
        {"alpha": windows(UP, (60.05, 150.05, SLOW)), "beta": always(UP)},
        {"alpha": [{"what": {"slow": {"times": 10}}, "when": during(60.05, 150.05)}], "beta": []},
        {"select": "fastest"},
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_request_ends_alike(monkeypatch, name):
    """Outcome, deployment, times and attempts of every one of 1,200 requests; and the shorter way has the same facts."""
    real, faults, policy = SCENARIOS[name]
    with overheard(monkeypatch) as ends:
        facts = supposed(faults, **policy)

    assert facts == supposed(faults, shortcuts=True, **policy)
    assert SECONDS * RATE == len(ends)
    assert told(sent(real, **policy)) == told(ends)


def test_an_account_that_is_full_refuses_alike(monkeypatch):
    """A limit of the provider's that the routes file does not know: 429, with the time when there is room."""
    with overheard(monkeypatch) as ends:
        supposed({"alpha": [], "beta": []}, limit=200)
    real = sent({"alpha": always(UP), "beta": always(UP)}, limit=200)
    heard: tuple[Sequence[End | RequestEnded], ...] = (ends, real)
    refused = [sum(one.outcome == "RateLimited" for end in some for one in end.attempts) for some in heard]

    # A minute ends to the very moment at which a request comes: rounding decides who is the one too many.
    assert min(refused) > 3
    assert abs(refused[0] - refused[1]) <= 2
    assert {end.outcome for end in real} == {end.outcome for end in ends} == {"success"}


# -- every fault that a simulation can tell -----------------------------------------------------------------------------

ARGUMENTS: dict[str, dict[str, Any]] = {
    "status": {"code": 500},
    "redirect": {"url": "http://else.test/"},
    "slow_headers": {"seconds": 1.0},
    "slow": {"times": 3.0},
    "first_token_delay": {"seconds": 1.0},
    "truncate_body": {"size": 20},
    "cut_after": {"events": 4},
    "reset_after": {"events": 4},
    "stall_after": {"events": 4},
    "malformed_event": {"at": 4},
    "error_event": {"at": 4},
    "comments_forever": {"after": 4},
}
IMPATIENT: dict[str, Any] = {
    "attempts": 1,
    "deadline": "30s",
    "timeouts": {"connect": "2s", "headers": "3s", "first_token": "4s", "idle": "5s"},
}
NOT_TOLD = ("trickle", "trickle_headers", "duplicate_event", "late_usage")  # they need arguments, and are about bytes
MADE = {name: ARGUMENTS.get(name, {}) for name in Fault.names() if name not in NOT_TOLD}
TOLD = [name for name, arguments in MADE.items() if expressible(getattr(Fault, name)(**arguments))]


def by_emulator(fault: Fault, *, streaming: bool) -> str:
    """The outcome of one attempt at an emulator that has *fault*."""
    outcomes: list[str] = []

    async def live() -> None:
        words = Answer("one two three four five six seven eight nine ten eleven twelve")
        emulator = EMULATORS["openai"]()
        emulator.reply(words)
        async with in_memory({"alpha": emulator}) as lab:
            emulator.fail(fault, times=None)
            hooks = [lambda event: outcomes.append(event.outcome) if isinstance(event, RequestEnded) else None]
            async with Router(one_provider(), hooks=hooks, transports=lab.transports) as router:
                await asked(router, streaming=streaming)

    run_virtually(live())
    return outcomes[0]


async def asked(router: Router, *, streaming: bool) -> None:
    with suppress(RouterError):
        if streaming:
            async for _ in router.stream(REQUEST):
                pass
        else:
            await router.complete(REQUEST)


def one_provider() -> Any:
    return config("alpha", **IMPATIENT)


def by_simulation(fault: Fault, *, streaming: bool) -> str:
    traffic = Traffic(arrivals="even", stream=streaming, answer_tokens=12, answer_spread=0)
    rows = {"all": {"first_token": 0.1, "spread": 0.0}}
    name = next(one for one, arguments in MADE.items() if getattr(Fault, one)(**arguments) == fault)
    scene = Scene(
        rate=1,
        seconds=1,
        faults=[script({"who": "alpha", "what": {name: MADE[name]} if MADE[name] else name})],
        assumptions=Assumptions(traffic, rows),
    )
    facts = simulate(one_provider(), scene).facts
    return next(iter(facts["errors"]), "success")


@pytest.mark.parametrize("streaming", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("name", TOLD)
def test_a_fault_means_the_same_as_at_an_emulator(name, streaming):
    """The caller gets the same class of error, or the same success."""
    fault = getattr(Fault, name)(**MADE[name])

    assert by_emulator(fault, streaming=streaming) == by_simulation(fault, streaming=streaming)
