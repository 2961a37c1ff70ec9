"""Several keys for one account: the load is spread, and a key that fails rests while the others go on."""

from __future__ import annotations

from collections import Counter

import pytest

from router import Router
from router.errors import DeploymentsExhausted
from router.events import AttemptEnded, KeySetAside
from router.lab import Fault, emulate

MODEL = "mixlayer/qwen3.5-27b"
ASK = {"model": MODEL, "messages": [{"role": "user", "content": "17 * 23?"}]}


def file(emulator, *keys):
    return {"providers": {"mixlayer": {"base_url": emulator.base_url, "api_keys": list(keys)}}}


async def test_a_pool_spreads_its_load():
    """In turn."""
    used: list[object] = []
    async with (
        emulate("mixlayer") as emulator,
        Router.open(file(emulator, "key-aaaa", "key-bbbb", "key-cccc"), hooks=[used.append]) as router,
    ):
        for _ in range(9):
            await router.complete(ASK)

    assert {"1": 3, "2": 3, "3": 3} == Counter(e.attempt.credential for e in used if isinstance(e, AttemptEnded))


@pytest.mark.parametrize("stream", [False, True], ids=["complete", "stream"])
async def test_a_dead_key_rests_and_another_serves_at_once(stream):
    """The same deployment, the other key; told once, by label, and not tried again on the next requests."""
    events: list[object] = []
    async with (
        emulate("mixlayer", api_key="key-good") as emulator,
        Router.open(file(emulator, "key-dead", "key-good"), hooks=[events.append]) as router,
    ):
        for _ in range(4):
            if stream:
                *_, last = [chunk async for chunk in router.stream(ASK)]
                answer = last.completion or pytest.fail("the last chunk has the answer")
            else:
                answer = await router.complete(ASK)

            assert MODEL == answer.deployment

    aside = [event for event in events if isinstance(event, KeySetAside)]

    assert 5 == len(emulator.requests)
    assert [("mixlayer", "1")] == [(event.provider, event.label) for event in aside]
    assert "closed" == router.health.state(MODEL)


@pytest.mark.parametrize(
    ("provider", "fault", "outcome"),
    [
        ("mixlayer", Fault.bad_key(), "AuthenticationFailed"),
        ("empiriolabs", Fault.out_of_credit(), "OutOfCredit"),
        ("aiml", Fault.out_of_credit(), "OutOfCredit"),
        ("runware", Fault.out_of_credit(), "OutOfCredit"),
    ],
)
async def test_all_keys_dead_says_so_without_asking(provider, fault, outcome):
    """The next request fails at once, names the keys by label, and sends nothing."""
    models = {
        "mixlayer": "qwen3.5-27b",
        "empiriolabs": "qwen3.5-4b",
        "aiml": "qwen3.6-35b-a3b",
        "runware": "qwen3.5-27b",
    }
    ask = {**ASK, "model": f"{provider}/{models[provider]}"}
    async with emulate(provider) as emulator:
        rows = {
            "providers": {
                provider: {"base_url": emulator.base_url, "api_keys": {"blue": "key-aaaa", "red": "key-bbbb"}}
            }
        }
        async with Router.open(rows) as router:
            emulator.fail(fault, times=None)
            with pytest.raises(DeploymentsExhausted) as first:
                await router.complete(ask)
            arrived = len(emulator.requests)
            with pytest.raises(DeploymentsExhausted) as second:
                await router.complete(ask)

    assert [outcome, outcome] == [attempt.outcome for attempt in first.value.attempts]
    assert {"blue", "red"} == {attempt.credential for attempt in first.value.attempts}
    assert (2, 2) == (arrived, len(emulator.requests))
    assert all(word in str(second.value) for word in ("all its keys are dead", "blue", "red", outcome))
    assert second.value.retry_after is not None


async def test_a_429_rests_the_key_it_came_for():
    """The other one serves, and the deployment is none the worse."""
    async with (
        emulate("mixlayer") as emulator,
        Router.open(file(emulator, "key-aaaa", "key-bbbb")) as router,
    ):
        emulator.fail(Fault.rate_limited(retry_after=30), times=1)
        answers = [await router.complete(ASK) for _ in range(4)]

    assert ["RateLimited", "success"] == [attempt.outcome for attempt in answers[0].attempts]
    assert [["2"], ["2"], ["2"]] == [[attempt.credential for attempt in answer.attempts] for answer in answers[1:]]
    assert ("closed", 0) == (router.health.state(MODEL), router.health.load(MODEL))


async def test_whoever_was_not_asked_is_no_attempt():
    """Where all keys are dead nothing is sent: the words count what `attempts` counts."""
    async with (
        emulate("mixlayer", api_key="key-good") as emulator,
        Router.open(file(emulator, "key-dead")) as router,
    ):
        with pytest.raises(DeploymentsExhausted, match=r"^1 attempt, no answer"):
            await router.complete(ASK)
        with pytest.raises(DeploymentsExhausted, match=r"^no attempts, no answer") as caught:
            await router.complete(ASK)

    assert () == caught.value.attempts
    assert 1 == len(emulator.requests)
