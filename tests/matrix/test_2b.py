"""Fault matrix 2.B: the request was sent, and no response came."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from router.errors import DeadlineExceeded, RequestTooLarge
from router.lab import Fault
from tests.matrix.raw import (
    OK,
    PRICE,
    TEXT,
    Line,
    answers,
    forever,
    says,
    scene,
    sized,
    to_b,
    whole,
)
from tests.router.stage import soon, stage

both = pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
SHORT: dict[str, Any] = {"timeouts": {"connect": "1s", "headers": "80ms", "first_token": "2s", "idle": "2s"}}


@both
async def test_b1_closed_before_the_headers(streaming):
    """To B; what the first one cost is unknown, because it may have worked on it."""
    found = await to_b(says(), "ConnectionFailed", streaming=streaming)

    assert ("unknown", None) == (found.failed.cost.source, found.failed.cost.usd)
    assert None is found.failed.status


async def test_b1_with_a_price_the_prompt_is_what_it_may_have_cost():
    """The project says more than `unknown` where the row has a price: an estimate of the prompt, marked as one."""
    async with scene(says(), answers(), rows={"price": PRICE}) as on:
        heard = await on.ask()

        assert None is heard.error
        assert "estimated" == heard.answer.attempts[0].cost.source
        assert heard.answer.attempts[0].cost.usd > 0


@both
@pytest.mark.parametrize("fault", [Fault.refuse(), Fault.lost_response(), Fault.reset()], ids=lambda fault: fault.kind)
async def test_b1_a_job_is_sent_again_as_the_same_job(fault, streaming):
    """There is no `AmbiguousResult` here: Runware's task UUID is the idempotency key, so a resend is safe and paid once."""
    async with stage("runware", policy={"attempts_per_deployment": 2}) as on:
        on.first.fail(fault)
        heard = await on.ask(streaming=streaming)

        assert None is heard.error
        tasks = [json.loads(received.raw)[0] for received in on.first.requests]
        assert ["textInference"] * 2 == [task["taskType"] for task in tasks][:2]
        assert 1 == len({task["taskUUID"] for task in tasks})
        assert 1 == len(on.first.invoices)
        assert ["ConnectionFailed", "success"] == on.outcomes


@both
async def test_b2_reset_before_the_headers(streaming):
    """As B1."""
    found = await to_b(says(ending="reset"), "ConnectionFailed", streaming=streaming)

    assert "unknown" == found.failed.cost.source


async def _dies(line: Line) -> None:
    """Read the request and close: what a kept-alive connection that was dead already looks like."""


@both
async def test_b3_a_dead_reused_connection(streaming, monkeypatch):
    """One transparent re-send, soon, and no failure of anybody.

    The project counts it nowhere, not even as a `transparent` attempt: nothing was asked of the provider twice.
    """
    monkeypatch.setattr("providers.transport.DEAD", 1.0)  # 50 ms are short on a busy machine
    extra: list[float] = []
    while len(extra) < 10 and not any(seconds < 0.02 for seconds in extra):
        async with scene([answers(), _dies, answers()], answers("B")) as on:
            await on.ask(streaming=streaming)
            heard = await on.ask(streaming=streaming)

            assert None is heard.error
            assert TEXT == heard.content
            assert [3, 0] == on.counts
            assert 2 == on.a.connections
            assert ["success", "success"] == on.outcomes
            assert 1 == len(heard.answer.attempts)
            await on.at_rest()
            extra.append(on.a.at[2] - on.a.at[1])

    assert min(extra) < 0.02


@both
async def test_b4_dead_twice_in_a_row(streaming, monkeypatch):
    """The second one, on a fresh connection, is an ordinary failure."""
    monkeypatch.setattr("providers.transport.DEAD", 1.0)
    async with scene([answers("first"), _dies, _dies, _dies], answers()) as on:
        await on.ask(streaming=streaming)
        heard = await on.ask(streaming=streaming)

        assert None is heard.error
        assert TEXT == heard.content
        assert [3, 1] == on.counts
        assert ["success", "ConnectionFailed", "success"] == on.outcomes
        await on.at_rest()


@pytest.mark.virtual
@both
async def test_b5_no_headers_for_ever(streaming):
    """The limit ends it, and its socket is closed within 50 ms of the switch."""
    found = await to_b(says(ending="hang"), "ProviderTimeout", streaming=streaming, **SHORT)

    assert 0.08 <= found.failed.duration < 0.3
    assert abs(found.on.a.left[0] - found.on.b.at[0]) < 0.05


@both
@pytest.mark.parametrize("pause", [0.0, 0.005], ids=["flood", "trickle"])
async def test_b6_endless_interim_responses(streaming, pause):
    """They do not reset the headers' limit."""
    for status in (b"102 Processing", b"103 Early Hints"):
        script = forever(b"HTTP/1.1 " + status + b"\r\n\r\n", pause=pause)
        found = await to_b(script, ("ProviderTimeout", "ProtocolViolation"), streaming=streaming, **SHORT)

        assert found.failed.duration < 0.5


async def test_b6_at_most_100_interim_responses():
    """One more than a hundred is no provider; a hundred are borne, before every answer anew."""
    await to_b(says(b"HTTP/1.1 102 Processing\r\n\r\n" * 101, sized(whole("A"))), "ProtocolViolation")

    async def patient(line: Line) -> bool:
        await line.say(b"HTTP/1.1 102 Processing\r\n\r\n" * 100)
        return bool(await answers()(line))

    async with scene(patient) as on:
        for _ in range(2):  # the same connection
            heard = await on.ask(streaming=False)
            assert (TEXT, None) == (heard.content, heard.error)


@both
async def test_b7_a_100_continue_first(streaming):
    """A normal success."""

    async def script(line: Line) -> bool:
        await line.say(b"HTTP/1.1 100 Continue\r\n\r\n")
        return bool(await answers()(line))

    async with scene(script) as on:
        heard = await on.ask(streaming=streaming)

        assert None is heard.error
        assert (TEXT, ["success"]) == (heard.content, on.outcomes)


@pytest.mark.virtual
@both
async def test_b8_headers_by_the_byte(streaming):
    """The limit is for all of them."""
    found = await to_b(forever(b"X", OK + b"X-Long: ", pause=0.01), "ProviderTimeout", streaming=streaming, **SHORT)

    assert 0.08 <= found.failed.duration < 0.3


LONG = [{"role": "user", "content": "x" * 10_000_000}]
# What aiohttp says of every body beyond 1 MiB; `test_b9_a_large_body_is_sent_without_a_warning` is about that.
large = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")


async def test_b9_a_large_body_is_sent_without_a_warning():
    """A few pictures are more than 1 MiB, and whoever turns warnings into errors is not to lose the request."""
    async with scene(answers()) as on:
        heard = await on.ask(messages=[{"role": "user", "content": "x" * 2_000_000}])

        assert None is heard.error
        assert TEXT == heard.content


async def _reads_slowly(line: Line) -> None:
    while await line.reader.read(1024):  # noqa: ASYNC110  # slowness is what is wanted, not an event
        await asyncio.sleep(0.02)


@large
async def test_b9_a_slow_upload_ends_at_the_deadline():
    """10 MB that are read 1 KB at a time."""
    async with scene(_reads_slowly, uploads=True, policy={"deadline": "300ms"}) as on:
        heard = await on.ask(messages=LONG)

        assert isinstance(heard.error, DeadlineExceeded)
        assert 0.3 <= heard.seconds < 0.8
        await on.at_rest()


@large
async def test_b9_a_slow_upload_can_be_cancelled():
    """While it is being written: the socket is closed within 100 ms."""
    async with scene(_reads_slowly, uploads=True) as on:
        task = asyncio.ensure_future(on.ask(messages=LONG))
        assert await soon(lambda: on.a.requests)
        await asyncio.sleep(0.02)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert time.monotonic() - began < 0.1
        await on.at_rest()
        assert ["canceled"] == on.outcomes


@large
async def test_b10_413_while_we_still_upload():
    """It is what it says, although a reset follows; and it is the caller's to know."""

    async def script(line: Line) -> None:
        await line.reader.read(1024)
        body = b'{"error": {"message": "too large"}}'
        await line.say(sized(body, head=b"HTTP/1.1 413 Too Large\r\nContent-Type: application/json\r\n"))
        await asyncio.sleep(0.03)
        await line.reset()

    async with scene(script, answers(), uploads=True) as on:
        heard = await on.ask(messages=LONG)

        assert RequestTooLarge is type(heard.error)
        assert 413 == heard.error.status
        assert [1, 0] == on.counts
        await on.at_rest()
