"""What is told while it happens: attempts, transitions, waits, changes of plan; why this one, why not that one, why the end."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from dataclasses import replace
from random import Random
from typing import Any, get_args

import pytest

from router import Router
from router import events as told_of
from router.errors import DeadlineExceeded, DeploymentsExhausted, NoDeployment
from router.events import CoolingDown, Event, PassedOver, PlanChanged, RequestEnded, Waiting, log_event
from router.lab.virtual import DOWN, UP, VirtualProvider, VirtualTransports, always, run_virtually, windows
from router.load import load
from tests.matrix.timeline import ALPHA, QUICK, REQUEST, ask, says
from tests.simulation import fleet

BETA = "beta/beta-model"
KINDS = get_args(Event)


# -- why this one -----------------------------------------------------------------------------------------------------


def test_an_attempt_says_why_it_was_chosen():
    """The rule that led to it, on the answer, in words."""
    attempts = ask(DOWN).heard[0].attempts

    assert ["first in order", "not asked yet"] == [attempt.chosen for attempt in attempts]


def test_an_attempt_says_who_was_passed_over_for_it():
    """With why not; and an attempt after it does not say so again."""
    told = ask(windows(DOWN, (30.0, 1e9, QUICK)), 0, 0.5, 0.6, 1.0, beta=windows(QUICK, (0.9, 2.0, DOWN)), attempts=2)
    first, *_ = told.heard[3].attempts

    assert first.deployment == BETA
    assert first.chosen.startswith(
        f"first in order; passed over: {ALPHA} (its circuit is open after {ALPHA}: Overloaded"
    )


def test_the_end_says_why_and_who_was_passed_over():
    """Success too: who reads the events alone can tell the whole story."""
    told = ask(windows(DOWN, (30.0, 1e9, QUICK)), 0, 0.5, 0.6, 1.0)
    end = told.kinds(RequestEnded)[3]

    assert "it was answered" == end.why
    assert [ALPHA] == [out.deployment for out in end.passed]
    assert end.passed[0].why.startswith("its circuit is open after")
    assert end.passed[0].retry_in > 0


# -- why it stopped ---------------------------------------------------------------------------------------------------


def test_an_error_names_every_deployment():
    """Those that failed with how, the others with why they were not asked, and what ended it."""
    names = ("alpha", "beta", "gamma", "delta")

    async def main() -> Any:
        providers = VirtualTransports(*(VirtualProvider(name, always(DOWN), Random(1)) for name in names))
        config = fleet.fleet_config(names, written="attempts=2")
        async with Router(config, rng=Random(1), transports=providers) as router:
            with pytest.raises(DeploymentsExhausted) as caught:
                await router.complete(REQUEST)
            return caught.value

    error = run_virtually(main())
    text = str(error)

    assert "all 2 attempts of the policy are used up" == error.why
    assert error.why in text
    assert all(name in text for name in names)
    assert ("delta/delta-model was never come to",) == error.others[1:]
    assert error.others[0].startswith("gamma/gamma-model was")


def test_an_error_lists_a_long_route_only_so_far():
    """Twenty that were not asked, and how many more: an error is no phone book."""
    names = tuple(f"p{number:02}" for number in range(60))

    async def main() -> Any:
        providers = VirtualTransports(*(VirtualProvider(name, always(DOWN), Random(1)) for name in names))
        config = fleet.fleet_config(names, written="attempts=1")
        async with Router(config, rng=Random(1), transports=providers) as router:
            with pytest.raises(DeploymentsExhausted) as caught:
                await router.complete(REQUEST)
            return caught.value

    error = run_virtually(main())

    assert "and 39 more that were not asked" == error.others[-1]
    assert 21 == len(error.others)


def test_a_deadline_says_where_it_was_met():
    """After the last attempt, here."""
    error = ask(replace(UP, kind="silent"), alone=True, deadline="1s").heard[0].error

    assert isinstance(error, DeadlineExceeded)
    assert "the deadline is over" == error.why


@pytest.mark.parametrize(
    ("conduct", "policy", "outcome", "why"),
    [
        (says(400), {}, "BadRequest", "the request itself is at fault"),
        (DOWN, {"attempts": 1}, "DeploymentsExhausted", "all 1 attempts of the policy are used up"),
        (DOWN, {}, "DeploymentsExhausted", "nobody is left who may be asked"),
        (QUICK, {}, "success", "it was answered"),
    ],
)
def test_the_end_of_a_request_says_why(conduct, policy, outcome, why):
    """In the words of the rule that ended it."""
    (end,) = ask(conduct, alone=True, **{"attempts_per_deployment": 1, **policy}).kinds(RequestEnded)

    assert (outcome, why) == (end.outcome, end.why)


def test_nobody_who_may_serve_is_told_one_by_one():
    """Each with its why, as an event and on the error."""
    config = load(
        {
            "providers": {"mine": {"protocol": "chat_completions", "base_url": "http://mine.test/v1", "api_key": "k",
                                   "params": {"seed": None}}},
            "models": {"m": {"deployments": [{"provider": "mine", "model": "m"}]}},
        },
        environ={},
    )  # fmt: skip
    events: list[Any] = []

    async def main() -> None:
        async with Router(config, hooks=[events.append]) as router:
            with pytest.raises(NoDeployment, match="mine/m"):
                await router.complete({**REQUEST, "model": "mine/m", "seed": 7, "fidelity": "strict"})

    asyncio.run(main())

    assert ["PassedOver", "RequestEnded"] == [type(event).__name__ for event in events]
    assert "seed" in events[0].why
    assert None is events[0].retry_in
    assert "no deployment may serve this request" == events[1].why


# -- what happens on the way ------------------------------------------------------------------------------------------


def test_every_change_of_plan_is_told():
    """Who failed, who is next, and by which rule; at the end, that nobody is."""
    changes = ask(DOWN, beta=DOWN, attempts_per_deployment=1).kinds(PlanChanged)

    assert [(ALPHA, BETA, "not asked yet"), (BETA, None, "nobody is left who may be asked")] == [
        (one.failed, one.deployment, one.why) for one in changes
    ]


def test_a_wait_before_a_retry_is_told():
    """Before it begins, with its length: as long as the attempt after it says it waited."""
    told = ask(windows(QUICK, (0.0, 0.005, says(429, {"Retry-After": "2"}))), alone=True)
    (waiting,) = told.kinds(Waiting)

    assert (ALPHA, told.heard[0].attempts[1].delay) == (waiting.deployment, waiting.seconds)
    assert 2.0 <= waiting.seconds <= 3.0
    assert "asked again after a wait" == waiting.why


def test_a_wait_for_a_place_is_told():
    """For a place among those under way it is not known how long."""
    events: list[Any] = []

    async def main() -> None:
        config = fleet.fleet_config(("alpha",), concurrency=1)
        alpha = VirtualTransports(VirtualProvider("alpha", always(QUICK), Random(1)))
        async with Router(config, rng=Random(1), hooks=[events.append], transports=alpha) as router:
            await asyncio.gather(router.complete(REQUEST), router.complete(REQUEST))

    run_virtually(main())
    (waiting,) = [event for event in events if isinstance(event, Waiting)]

    assert (ALPHA, None) == (waiting.deployment, waiting.seconds)
    assert "limit of concurrency" in waiting.why


def test_a_rest_is_told():
    """Whose, and for how long: one key's, where there are several."""
    (rest,) = ask(windows(QUICK, (0.0, 0.005, says(429, {"Retry-After": "7"}))), keys=2).kinds(CoolingDown)

    assert (ALPHA, "1", 7.0) == (rest.deployment, rest.label, rest.seconds)
    assert "RateLimited" in rest.why


def test_who_is_passed_over_is_told_once_a_request():
    """With how long it will be so."""
    told = ask(DOWN, 0, 0.5, 0.6, 1.0)
    (passed,) = [one for one in told.kinds(PassedOver) if one.request == told.kinds(RequestEnded)[3].request]

    assert ALPHA == passed.deployment
    assert passed.retry_in > 0


# -- the records themselves -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_event_is_frozen_and_the_log_can_say_it(kind):
    """Every kind that there is."""
    assert kind.__dataclass_params__.frozen
    assert kind in told_of._LOGGED
    assert kind.__doc__


def test_no_record_is_forgotten():
    """What is a record in `router.events` is an `Event`."""
    records = {
        value
        for value in vars(told_of).values()
        if dataclasses.is_dataclass(value) and value.__module__ == told_of.__name__
    }

    assert records == set(KINDS)


def test_the_log_tells_the_detours(caplog):
    """Waits and changes of plan for information, who is passed over for debugging."""
    with caplog.at_level(logging.DEBUG, "router"):
        log_event(PassedOver("r", "chat", ALPHA, "its circuit\nis open", 3.0))
        log_event(PlanChanged("r", "chat", ALPHA, None, 0.0, "nobody is left"))
        log_event(Waiting("r", "chat", BETA, None, "no place"))
        log_event(CoolingDown(BETA, "2", 7.0, "429"))

    assert [
        (logging.DEBUG, f"chat: {ALPHA} is passed over: its circuit is open"),
        (logging.INFO, f"chat: {ALPHA} failed, next is nobody: nobody is left"),
        (logging.INFO, f"chat: waits until there is a place to ask {BETA}: no place"),
        (logging.INFO, f"{BETA} with key 2 rests for 7 s: 429"),
    ] == [(record.levelno, record.getMessage()) for record in caplog.records]
