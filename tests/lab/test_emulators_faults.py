"""Every fault, on every emulator, as a bare client sees it."""

from __future__ import annotations

import asyncio
import contextlib
import json

import aiohttp
import pytest

from router.lab import EMULATORS, Answer, Fault, emulate
from tests.lab.talk import DONE, KEY, Reply, ask, body_for, send, url, uuid

NAMES = tuple(EMULATORS)
every = pytest.mark.parametrize("name", NAMES)
LONG = Answer("one two three four five six seven eight nine ten")
# The status that a provider has for each situation.
STATUSES = {
    "mixlayer": {"rate_limited": 429, "out_of_credit": 402, "model_gone": 400},
    "runware": {"rate_limited": 429, "out_of_credit": 402, "model_gone": 400},
    "empiriolabs": {"rate_limited": 429, "out_of_credit": 402, "model_gone": 404},
    "aiml": {"rate_limited": 429, "out_of_credit": 403, "model_gone": 404},
    "openai": {"rate_limited": 429, "out_of_credit": 429, "model_gone": 404},
}
ALIKE = {
    "bad_key": 401,
    "server_error": 500,
    "overloaded": 503,
    "gateway_timeout": 504,
    "context_length": 400,
    "content_policy": 400,
}


def error_in(reply: Reply):
    """The inner error of any envelope."""
    body = reply.json
    return body["errors"][0] if "errors" in body else body.get("error") or body


@every
@pytest.mark.parametrize("kind", [*STATUSES["aiml"], *ALIKE])
async def test_a_situation_in_the_providers_own_words(name, kind):
    """Once, then the provider is well again; nothing is billed."""
    async with emulate(name) as emulator:
        emulator.fail(getattr(Fault, kind)())
        failed, well = await ask(emulator), await ask(emulator)

    assert {**ALIKE, **STATUSES[name]}[kind] == failed.status == emulator.requests[0].status
    assert error_in(failed)["message"]
    assert "{model}" not in failed.raw.decode()
    assert 200 == well.status
    assert 1 == len(emulator.invoices)


@every
async def test_a_status_with_headers_and_body(name):
    """As said; without a body in the provider's envelope, even for a status that it does not know."""
    async with emulate(name) as emulator:
        emulator.fail(Fault.status(503, {"Retry-After": "7"}))
        emulator.fail(Fault.status(529))
        emulator.fail(Fault.status(418, body="<html>teapot</html>"))
        emulator.fail(Fault.status(400, body={"detail": "no"}))
        emulator.fail(Fault.rate_limited(retry_after=1.5))
        busy, odd, teapot, own, limited = [await ask(emulator) for _ in range(5)]

    assert (503, "7") == (busy.status, busy.headers["Retry-After"])
    assert error_in(busy)["message"]
    assert 529 == odd.status
    assert (418, b"<html>teapot</html>", "text/html") == (teapot.status, teapot.raw, teapot.headers["Content-Type"])
    assert {"detail": "no"} == own.json
    assert "1.5" == limited.headers["Retry-After"]


@every
async def test_an_error_inside_200(name):
    """With a code of the script's choice."""
    async with emulate(name) as emulator:
        emulator.fail(Fault.error_in_200(code="providerTimeout"))
        reply = await ask(emulator, stream=True)

    assert 200 == reply.status
    assert b"providerTimeout" in reply.raw
    assert error_in(reply)["message"]


@every
async def test_faults_come_in_order_and_for_as_long_as_they_were_given(name):
    """First in, first out; None is for ever, until `heal`."""
    async with emulate(name) as emulator:
        emulator.fail(Fault.status(500), times=2)
        emulator.fail(Fault.status(502))
        emulator.fail(Fault.status(503), times=None)
        statuses = [(await ask(emulator)).status for _ in range(5)]
        emulator.heal()
        statuses.append((await ask(emulator)).status)

    assert [500, 500, 502, 503, 503, 200] == statuses


@every
async def test_a_fault_may_wait_for_its_request(name):
    """`when` sees the request; a stream's fault waits for a stream, and for a valid one."""
    async with emulate(name) as emulator:
        emulator.fail(Fault.status(503), when=lambda received: b"needle" in received.raw)
        emulator.fail(Fault.no_done)
        plain = await ask(emulator)
        invalid = await ask(emulator, messages=[], stream=True)
        streamed = await ask(emulator, stream=True)
        found = await ask(emulator, messages=[{"role": "user", "content": "needle"}])

    assert (200, 400, 200, 503) == (plain.status, invalid.status, streamed.status, found.status)
    assert DONE not in streamed.events


@every
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.refuse(), aiohttp.ServerDisconnectedError),
        (Fault.reset(), aiohttp.ClientOSError),
        (Fault.garbage(), aiohttp.ClientResponseError),
        (Fault.garbage(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"), aiohttp.ClientError),
        (Fault.lost_response(), aiohttp.ServerDisconnectedError),
        (Fault.truncate_body(10), aiohttp.ClientPayloadError),
        (Fault.body_reset(), (aiohttp.ClientPayloadError, aiohttp.ClientOSError, ConnectionResetError)),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
async def test_a_broken_connection(name, fault, error):
    """The client's own exception says how it broke; the next request is answered."""
    async with emulate(name) as emulator:
        emulator.fail(fault)
        with pytest.raises(error):
            await ask(emulator)

        assert 200 == (await ask(emulator)).status
        assert fault.at_arrival != (len(emulator.invoices) == 2)


@every
@pytest.mark.parametrize(
    "fault", [Fault.silence(), Fault.stall_body(5), Fault.interim_forever()], ids=lambda fault: fault.kind
)
async def test_a_silent_server(name, fault):
    """It waits for the client to leave; its handler then ends."""
    async with emulate(name) as emulator, aiohttp.ClientSession() as session:
        emulator.fail(fault)
        with pytest.raises(asyncio.TimeoutError):
            async with asyncio.timeout(0.1), session.post(url(emulator), json=body_for(emulator), headers=KEY) as held:
                await held.read()
        for _ in range(20):
            await asyncio.sleep(0.005)

        assert not emulator._tasks


@every
async def test_slow_answers_are_right_answers(name):
    """Late headers, and bytes in a trickle, whole and streamed."""
    loop = asyncio.get_running_loop()
    async with emulate(name) as emulator:
        emulator.fail(Fault.slow_headers(0.05))
        begun = loop.time()
        assert 200 == (await ask(emulator)).status
        assert loop.time() - begun >= 0.05
        emulator.fail(Fault.trickle_headers(200, 0.001))
        assert 200 == (await ask(emulator)).status
        emulator.fail(Fault.trickle(50, 0.001), times=2)
        whole, streamed = await ask(emulator), await ask(emulator, stream=True)

    assert whole.json
    assert "You said: 17 * 23?" == streamed.joined("text" if name == "runware" else "content")


@every
async def test_answers_of_somebody_else(name):
    """A redirect, a captive portal's page, nothing."""
    async with emulate(name) as emulator:
        for fault in (Fault.redirect("http://127.0.0.1:1/x", 302), Fault.html_200(), Fault.empty_200()):
            emulator.fail(fault)
        redirected, page, empty = [await ask(emulator) for _ in range(3)]

    assert (302, "http://127.0.0.1:1/x") == (redirected.status, redirected.headers["Location"])
    assert (200, True) == (page.status, page.raw.startswith(b"<!DOCTYPE html>"))
    assert (200, b"") == (empty.status, empty.raw)


@every
async def test_json_instead_of_a_stream(name):
    """The whole answer, although a stream was asked for."""
    async with emulate(name) as emulator:
        emulator.fail(Fault.json_instead_of_stream())
        reply = await ask(emulator, stream=True)

    assert "application/json" == reply.headers["Content-Type"]
    assert b"You said" in reply.raw


@every
async def test_a_connection_that_drops_after_the_answer(name):
    """The kept-alive connection is gone, the answers are whole."""
    async with emulate(name) as emulator, aiohttp.ClientSession() as session:
        emulator.fail(Fault.drop_after(), times=2)
        for stream in (False, True):
            async with session.post(url(emulator), json=body_for(emulator, stream=stream), headers=KEY) as response:
                assert b"17" in await response.read()
                assert "close" != response.headers.get("Connection")
            await asyncio.sleep(0.02)  # at once, the next request would go into the dead connection: that is the fault


async def streamed_until_broken(emulator):
    """The events that arrived, and how the reading ended."""
    raw = b""
    async with aiohttp.ClientSession() as session:
        try:
            async with (
                asyncio.timeout(0.25),
                session.post(url(emulator), json=body_for(emulator, stream=True), headers=KEY) as response,
            ):
                async for part in response.content.iter_any():
                    raw += part
        except (aiohttp.ClientError, TimeoutError, ConnectionResetError) as error:
            return raw.count(b"data: "), type(error)
    return raw.count(b"data: "), None


@every
@pytest.mark.parametrize(
    ("fault", "events", "ends"),
    [
        (Fault.cut_after(3), 3, (type(None),)),
        (Fault.cut_after(0), 0, (type(None),)),
        (Fault.cut_after(3, clean=False), 3, (aiohttp.ClientPayloadError,)),
        (Fault.reset_after(3), 3, (aiohttp.ClientError, ConnectionResetError)),
        (Fault.stall_after(3), 3, (TimeoutError,)),
        (Fault.comments_forever(after=3), 3, (TimeoutError,)),
        (Fault.empty_stream(), 1, (type(None),)),
        (Fault.empty_stream(done=False), 0, (type(None),)),
    ],
    ids=repr,
)
async def test_a_stream_that_breaks_off(name, fault, events, ends):
    """After exactly so many events, each in its own way."""
    async with emulate(name) as emulator:
        emulator.reply(LONG)
        emulator.fail(fault)
        count, error = await streamed_until_broken(emulator)

    assert events == count
    assert isinstance(None, ends) if error is None else issubclass(error, ends)


@every
async def test_a_stream_that_is_held_open(name):
    """Everything is said, the end never comes."""
    async with emulate(name) as emulator:
        complete = await ask(emulator, stream=True)
        emulator.fail(Fault.hold_open())
        count, error = await streamed_until_broken(emulator)

    assert (len(complete.events), TimeoutError) == (count, error)


def split_events(raw: bytes) -> list[bytes]:
    return [line[6:] for line in raw.split(b"\n") if line.startswith(b"data: ")]


@every
async def test_a_malformed_event(name):
    """One is no JSON, the others are."""
    async with emulate(name) as emulator:
        emulator.reply(LONG)
        emulator.fail(Fault.malformed_event(2))
        async with (
            aiohttp.ClientSession() as session,
            session.post(url(emulator), json=body_for(emulator, stream=True), headers=KEY) as response,
        ):
            events = [event for event in split_events(await response.read()) if event != b"[DONE]"]

    broken = []
    for number, event in enumerate(events):
        try:
            json.loads(event)
        except ValueError:
            broken.append(number)
    assert [2] == broken


@every
async def test_an_error_event(name):
    """It ends the stream, with or without [DONE], in the provider's words or in the script's."""
    async with emulate(name) as emulator:
        emulator.reply(LONG)
        emulator.fail(Fault.error_event(2))
        emulator.fail(Fault.error_event(0, {"error": "boom"}, done=True))
        own, said = await ask(emulator, stream=True), await ask(emulator, stream=True)

    assert 3 == len(own.events)
    assert "errors" in own.events[2] or "error" in own.events[2]
    assert [{"error": "boom"}, DONE] == said.events


@every
async def test_a_duplicated_event(name):
    """The same bytes twice."""
    async with emulate(name) as emulator:
        emulator.reply(LONG)
        plain = await ask(emulator, stream=True)
        emulator.fail(Fault.duplicate_event(3))
        doubled = await ask(emulator, stream=True)

    assert len(plain.events) + 1 == len(doubled.events)
    assert doubled.events[3] == doubled.events[4]


@every
async def test_a_late_first_token(name):
    """Headers at once; what has no text comes before the delay."""
    loop = asyncio.get_running_loop()
    async with emulate(name) as emulator, aiohttp.ClientSession() as session:
        emulator.fail(Fault.first_token_delay(0.3))
        begun = loop.time()
        async with session.post(url(emulator), json=body_for(emulator, stream=True), headers=KEY) as response:
            headers_after = loop.time() - begun
            await response.read()

    assert headers_after < 0.25
    assert loop.time() - begun >= 0.3


@every
async def test_other_framings_carry_the_same_events(name):
    """CRLF, lone CR, a byte order mark."""
    async with emulate(name) as emulator:
        emulator.reply(LONG)
        emulator.fail(Fault.framing("\r\n", bom=True))
        emulator.fail(Fault.framing("\r"))
        crlf, cr = await ask(emulator, stream=True), await ask(emulator, stream=True)

    field = "text" if name == "runware" else "content"
    assert LONG.content == crlf.joined(field) == cr.joined(field)
    assert crlf.raw.startswith("\ufeff".encode())
    assert b"\r\n" in crlf.raw
    assert b"\n" not in cr.raw


def finishes(reply: Reply) -> list[str | None]:
    bodies = [event for event in reply.events if event != DONE] or [reply.json]
    found = []
    for body in bodies:
        items = body.get("choices") or body.get("data") or [body]
        found += [item.get("finish_reason", item.get("finishReason")) for item in items]
    return [finish for finish in found if finish is not None]


@every
@pytest.mark.parametrize("stream", [False, True])
async def test_no_finish_reason_and_an_engines_abort(name, stream):
    """The first stays null, the second is a word that nobody documents."""
    async with emulate(name) as emulator:
        emulator.reply(LONG)
        emulator.fail(Fault.no_finish())
        emulator.fail(Fault.abort())
        unfinished, aborted = await ask(emulator, stream=stream), await ask(emulator, stream=stream)

    assert [] == finishes(unfinished)
    assert ["abort"] == finishes(aborted)
    assert b"seven" in unfinished.raw
    assert b"seven" not in aborted.raw


@every
@pytest.mark.parametrize("stream", [False, True])
async def test_reasoning_in_the_wrong_place(name, stream):
    """Leaked into content as a tag, or the answer in its field."""
    async with emulate(name) as emulator:
        emulator.reply(Answer("391", reasoning_content="Hm."))
        emulator.fail(Fault.think_in_content())
        emulator.fail(Fault.answer_in_reasoning())
        leaked, swallowed = await ask(emulator, stream=stream), await ask(emulator, stream=stream)

    text, reasoning = ("text", "reasoningContent") if name == "runware" else ("content", "reasoning_content")
    if stream:
        assert ("<think>\nHm.\n</think>\n\n391", "") == (leaked.joined(text), leaked.joined(reasoning))
        assert ("", "391") == (swallowed.joined(text), swallowed.joined(reasoning))
        return
    messages = [
        reply.json["data"][0] if name == "runware" else reply.json["choices"][0]["message"]
        for reply in (leaked, swallowed)
    ]
    assert ("<think>\nHm.\n</think>\n\n391", "") == (messages[0][text], messages[0].get(reasoning) or "")
    assert "" == messages[1][text]
    assert "391" == "".join(messages[1][reasoning])


@every
@pytest.mark.parametrize("stream", [False, True])
async def test_usage_may_be_missing(name, stream):
    """The answer is whole but for its usage."""
    async with emulate(name) as emulator:
        emulator.fail(Fault.usage_missing())
        reply = await ask(emulator, stream=stream)

    for body in [event for event in reply.events if event != DONE] or [reply.json]:
        assert not body.get("usage")
        assert not (body.get("data") or [{}])[0].get("usage")


async def test_a_lost_response_was_worked_on_and_billed():
    """At Runware the same task is then a conflict, and its result can be polled for."""
    async with emulate("runware") as emulator:
        emulator.fail(Fault.lost_response)
        task = body_for(emulator, taskUUID=uuid(1))
        with contextlib.suppress(aiohttp.ServerDisconnectedError):
            await send(emulator, task)
        again = await send(emulator, task)
        polled = await send(emulator, [{"taskType": "getResponse", "taskUUID": uuid(1)}])

    assert [None, 400, 200] == [received.status for received in emulator.requests]
    assert "conflictTaskUUID" == again.json["errors"][0]["code"]
    assert ("success", "You said: 17 * 23?") == (polled.json["data"][0]["status"], polled.json["data"][0]["text"])
    assert 1 == len(emulator.invoices)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_task_that_arrives_twice_is_taken_once(stream):
    """The second copy is told that the name is taken; what the first one said can be polled for, and is billed once."""
    async with emulate("runware") as emulator:
        emulator.fail(Fault.duplicate_task)
        copy = await ask(emulator, stream=stream, taskUUID=uuid(1))
        polled = await send(emulator, [{"taskType": "getResponse", "taskUUID": uuid(1)}])

    assert (400, "conflictTaskUUID") == (copy.status, error_in(copy)["code"])
    assert "You said: 17 * 23?" == polled.json["data"][0]["text"]
    assert 1 == len(emulator.invoices)


@every
async def test_usage_may_come_late(name):
    """After everything else, by as long as was said; nothing is lost."""
    async with emulate(name) as emulator:
        emulator.fail(Fault.late_usage(0.1))
        began = asyncio.get_running_loop().time()
        late = await ask(emulator, stream=True)
        took = asyncio.get_running_loop().time() - began
        usual = await ask(emulator, stream=True)

    assert took >= 0.1
    assert len(late.events) == len(usual.events)


async def test_shaping_faults_leave_polls_alone():
    """A poll makes no answer; a status hits it like any other request."""
    async with emulate("runware") as emulator:
        emulator.fail(Fault.truncate_body(5))
        poll = [{"taskType": "getResponse", "taskUUID": uuid(1)}]
        untouched = await send(emulator, poll)
        emulator.heal()
        emulator.fail(Fault.status(500))
        failed = await send(emulator, poll)

    assert (200, 500) == (untouched.status, failed.status)


def test_a_fault_says_what_it_is():
    """Only what differs from the defaults; every constructor is listed."""
    assert "Fault('cut_after', count=3, flag=True)" == repr(Fault.cut_after(3))
    assert {"silence", "rate_limited", "lost_response"} <= set(Fault.names())
    assert "status" in Fault.names()
    assert not [name for name in Fault.names() if name.startswith("_") or name == "names"]
