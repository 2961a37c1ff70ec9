"""Answers that come later: polled, or brought by a webhook; and the gates before an account that carries few calls."""

from __future__ import annotations

import asyncio

import pytest

from router import Request, Router
from router.errors import DeploymentsExhausted, InvalidRequest
from router.lab import Answer, Fault, emulate

MODEL = "runware/qwen3.5-27b"
ASK = [{"role": "user", "content": "17 * 23?"}]
PACE = {"first": 0.01, "factor": 1, "longest": 0.01}


def config(emulator, **row):
    return {
        "providers": {"runware": {"base_url": emulator.base_url, "api_key": "k-0123456789", "polling": PACE, **row}},
        "routes": {"chat": {"deployments": [MODEL], "policy": {"deadline": "3s", "backoff": {"initial": "10ms"}}}},
    }


def request(**fields):
    return Request(model="chat", messages=ASK, delivery="async", **fields)


async def polled(emulator, times=2):
    """Until the task was asked after so often; its id."""
    while True:
        polls = [one.body[0] for one in emulator.requests if one.body[0]["taskType"] == "getResponse"]
        if len(polls) >= times:
            return polls[0]["taskUUID"]
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("stream", [False, True], ids=["complete", "stream"])
async def test_an_answer_that_comes_later_is_the_same_answer(stream):
    """Acknowledged at once, polled until it is there; asked for by the request, not by the row."""
    async with emulate("runware", processing_polls=3) as emulator, Router.open(config(emulator)) as router:
        emulator.reply(Answer(content="391"))
        if stream:
            *_, last = [chunk async for chunk in router.stream(request())]
            answer = last.completion or pytest.fail("the last chunk has the answer")
        else:
            answer = await router.complete(request())

        assert "391" == answer.content
        assert "reported" == answer.cost.source
        assert ["textInference", *["getResponse"] * 4] == [one.body[0]["taskType"] for one in emulator.requests]


async def test_a_poll_that_fails_does_not_fail_the_job():
    """The job goes on; it is asked after once more."""
    async with emulate("runware", processing_polls=1) as emulator, Router.open(config(emulator)) as router:
        emulator.reply(Answer(content="391"))
        first = {"seen": False}

        def is_first_poll(received):
            poll = received.body[0]["taskType"] == "getResponse" and not first["seen"]
            first["seen"] = first["seen"] or poll
            return poll

        emulator.fail(Fault.status(503), when=is_first_poll)
        answer = await router.complete(request())

        assert ("391", 1) == (answer.content, len(answer.attempts))


async def test_a_webhook_that_comes_during_a_poll_is_awaited_too():
    """Whoever asks is on the wire just then, and reads what was brought once he has his answer; afterwards nobody waits."""
    async with emulate("runware", processing_polls=10_000, latency=0.2) as emulator:
        row = config(emulator, webhook="https://example.com/hook?token=t")
        async with Router.open(row) as router:
            waiting = asyncio.ensure_future(router.complete(request()))
            task = await polled(emulator, times=1)
            payload = {"taskType": "textInference", "taskUUID": task, "text": "391", "finishReason": "stop"}
            during = router.deliver(payload)
            answer = await waiting

            assert (True, False) == (during, router.deliver(payload))
            assert "391" == answer.content


async def test_a_webhook_completes_the_waiting_request():
    """Also when it comes twice; and one for nobody says so."""
    async with emulate("runware", processing_polls=10_000) as emulator:
        row = config(emulator, webhook="https://example.com/hook?token=t")
        async with Router.open(row) as router:
            waiting = asyncio.ensure_future(router.complete(request()))
            task = await polled(emulator)
            payload = {
                "taskType": "textInference",
                "taskUUID": task,
                "text": "391",
                "finishReason": "stop",
                "cost": 0.5,
            }
            known, again = router.deliver(payload), router.deliver(payload)
            answer = await waiting

            assert (True, True) == (known, again)
            assert ("391", "stop", 0.5) == (answer.content, answer.finish_reason, answer.cost.usd)
            assert "https://example.com/hook?token=t" == emulator.requests[0].body[0]["webhookURL"]
            assert not router.deliver({**payload, "taskUUID": "somebody else's"})
            with pytest.raises(InvalidRequest, match="taskUUID"):
                router.deliver({"text": "391"})


async def test_a_webhook_that_brings_a_failure():
    """It is the provider's, as if it had been polled."""
    async with emulate("runware", processing_polls=10_000) as emulator, Router.open(config(emulator)) as router:
        waiting = asyncio.ensure_future(router.complete(request()))
        task = await polled(emulator)
        emulator.fail(Fault.status(503), times=None)
        router.deliver({"errors": [{"code": "timeoutProvider", "message": "late", "taskUUID": task}], "taskUUID": task})
        with pytest.raises(DeploymentsExhausted) as caught:
            await waiting

        assert "UpstreamTimeout" == caught.value.attempts[0].outcome


async def test_a_caller_who_leaves_stops_the_polling():
    """No request after that."""
    async with emulate("runware", processing_polls=10_000) as emulator, Router.open(config(emulator)) as router:
        waiting = asyncio.ensure_future(router.complete(request()))
        await polled(emulator)
        waiting.cancel()
        await asyncio.wait([waiting])
        count = len(emulator.requests)
        await asyncio.sleep(0.05)

        assert waiting.cancelled()
        assert count == len(emulator.requests)


async def test_who_cannot_answer_later_says_so():
    """Chat Completions has no such thing: it answers at once, and the answer reports it."""
    async with emulate("mixlayer") as emulator:
        async with Router.open(
            {"providers": {"mixlayer": {"base_url": emulator.base_url, "api_key": "k-0123"}}}
        ) as router:
            answer = await router.complete(Request(model="mixlayer/qwen3.5-27b", messages=ASK, delivery="async"))

        assert [("delivery", "dropped")] == [(c.param, c.how) for c in answer.changes if c.how != "defaulted"]


@pytest.mark.parametrize("place", ["account", "deployment"])
async def test_no_more_calls_at_once_than_the_gate_lets_through(place):
    """The others wait, in order, and all are served."""
    most = {"at_once": 0, "now": 0}
    async with emulate("runware", latency=0.02) as emulator:
        settings = config(emulator, **({"limits": {"concurrency": 2}} if place == "account" else {}))
        if place == "deployment":
            settings["routes"]["chat"]["deployments"] = [{"deployment": MODEL, "limits": {"concurrency": 2}}]

        def watch(event):
            most["at_once"] = max(most["at_once"], len(emulator.requests) - most["now"])
            most["now"] += 1

        async with Router.open(
            settings, hooks=[lambda event: watch(event) if hasattr(event, "place") else None]
        ) as router:
            asks = [router.complete(Request(model="chat", messages=ASK, seed=seed)) for seed in range(8)]
            answers = await asyncio.gather(*asks)

        assert [None] * 8 == [answer.attempts[0].error for answer in answers]
        assert 2 >= most["at_once"]
