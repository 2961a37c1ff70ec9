"""What every emulator does: it records, obeys its script, counts tokens alike in both modes, and ends at once."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from router.lab import EMULATORS, Answer, Fault, ToolCall, emulate, emulate_all
from router.lab.answers import count_tokens
from tests.lab.talk import KEY, ask, body_for, send, url

NAMES = tuple(EMULATORS)
every = pytest.mark.parametrize("name", NAMES)
SWITCHES: dict[str, dict[str, Any]] = {"runware": {"tools": True}}


def content_of(reply) -> str | None:
    body = reply.json
    return body["data"][0]["text"] if "data" in body else body["choices"][0]["message"]["content"]


def usage_of(reply):
    found = [event for event in reply.events if event != "[DONE]" and event.get("usage")] or [reply.json]
    body = found[-1]["data"][0] if "data" in found[-1] else found[-1]
    usage = body["usage"]
    return usage.get("prompt_tokens", usage.get("promptTokens")), usage.get(
        "completion_tokens", usage.get("completionTokens")
    )


@every
async def test_the_default_answer_echoes_and_is_the_same_every_time(name):
    """Content is derived from the last user message alone."""
    async with emulate(name) as emulator:
        first, second = await ask(emulator), await ask(emulator)

    assert "You said: 17 * 23?" == content_of(first) == content_of(second)
    assert 200 == first.status


@every
async def test_requests_are_recorded_with_their_keys_masked(name):
    """Everything that arrived is kept; a rendering of it shows no key."""
    async with emulate(name) as emulator:
        await ask(emulator)
        received = emulator.requests[0]

    assert ("POST", 200) == (received.method, received.status)
    assert url(emulator).endswith(received.path)
    assert body_for(emulator)[0]["model"] if name == "runware" else received.body["model"]
    assert "Bearer a-key" == received.headers["authorization"]
    assert "a-key" not in repr(received) + repr(received.headers) + str(received.headers)
    assert received.raw.startswith(b"[" if name == "runware" else b"{")


@every
async def test_no_key_is_a_401_and_any_key_will_do_unless_one_was_set(name):
    """The refusal is in the provider's words and costs nothing."""
    async with emulate(name) as anyone:
        missing = await ask(anyone, headers={})
    async with emulate(name, api_key="right") as strict:
        wrong = await ask(strict)
        right = await ask(strict, headers={"Authorization": "Bearer right"})

    assert (401, 401, 200) == (missing.status, wrong.status, right.status)
    assert b"key" in missing.raw.lower()
    assert [] == anyone.invoices
    assert 1 == len(strict.invoices)


@every
async def test_scripted_answers_are_said_in_order_then_the_standing_one(name):
    """Counted answers first; one without a count stays."""
    async with emulate(name) as emulator:
        emulator.reply(Answer("always"))
        emulator.reply(Answer("first"), times=1)
        emulator.reply(Answer("second"), times=2)
        said = [content_of(await ask(emulator)) for _ in range(5)]

    assert ["first", "second", "second", "always", "always"] == said


@every
async def test_an_answer_may_wait_for_its_request(name):
    """`when` sees the request."""
    async with emulate(name) as emulator:
        emulator.reply(Answer("found"), when=lambda received: b"needle" in received.raw)
        other = await ask(emulator)
        found = await ask(emulator, messages=[{"role": "user", "content": "needle"}])

    assert ("You said: 17 * 23?", "found") == (content_of(other), content_of(found))


@every
async def test_whole_and_streamed_answers_have_the_same_text_and_tokens(name):
    """Both are rendered from one generation."""
    extra = {} if name == "runware" else {"stream_options": {"include_usage": True}}
    async with emulate(name) as emulator:
        emulator.reply(Answer("The answer is 391, as ever.", reasoning_content="17 * 20 = 340, and 51."))
        whole = await ask(emulator)
        streamed = await ask(emulator, stream=True, **extra)

    text = "text" if name == "runware" else "content"
    reasoning = "reasoningContent" if name == "runware" else "reasoning_content"
    assert "The answer is 391, as ever." == content_of(whole) == streamed.joined(text)
    assert "17 * 20 = 340, and 51." == streamed.joined(reasoning)
    assert usage_of(whole) == usage_of(streamed)
    first, second = emulator.invoices
    assert (first.prompt, first.completion, first.usd) == (second.prompt, second.completion, second.usd)
    assert first.completion == count_tokens("The answer is 391, as ever. 17 * 20 = 340, and 51.")
    assert first.usd > 0 or name == "openai"


@every
async def test_pieces_and_token_counts_may_be_given(name):
    """A script decides how the text is cut and what is counted."""
    answer = Answer(pieces=("ab", "cd", " é"), prompt_tokens=7, completion_tokens=9)
    async with emulate(name) as emulator:
        emulator.reply(answer)
        streamed = await ask(emulator, stream=True)

    field = "text" if name == "runware" else "content"
    assert ["ab", "cd", " é"] == [delta[field] for delta in streamed.deltas() if delta.get(field)]
    assert (7, 9) == (emulator.invoices[0].prompt, emulator.invoices[0].completion)


@every
async def test_the_token_limit_cuts_and_says_length(name):
    """Reasoning is spent first; what is left is the answer's."""
    limit = {"settings": {"maxTokens": 3, "thinkingLevel": "off"}} if name == "runware" else {"max_tokens": 3}
    async with emulate(name) as emulator:
        emulator.reply(Answer("one two three four"))
        reply = await ask(emulator, **limit)

    finish = reply.json["data"][0]["finishReason"] if name == "runware" else reply.json["choices"][0]["finish_reason"]
    assert ("one two three", "length") == (content_of(reply), finish)


@every
async def test_a_stop_sequence_ends_the_text_before_it(name):
    """The sequence itself is not in the answer."""
    stop = {"settings": {"stopSequences": ["STOP"]}} if name == "runware" else {"stop": ["STOP"]}
    async with emulate(name) as emulator:
        emulator.reply(Answer("one STOP two"))
        reply = await ask(emulator, **stop)

    assert "one " == content_of(reply)


@every
async def test_scripted_tool_calls_arrive_in_both_modes(name):
    """Arguments are pieced together to the same JSON."""
    call = ToolCall("call_1", "get_weather", '{"city": "New York"}')
    tool = {"name": "get_weather", "description": "w", "parameters": {"type": "object"}}
    tools: list = [{"type": "function", "function": tool}]
    if name == "runware":
        tools = [{"type": "function", "name": "get_weather", "schema": {"type": "object"}}]
    async with emulate(name, **SWITCHES.get(name, {})) as emulator:
        emulator.reply(Answer(tool_calls=(call,)))
        whole = await ask(emulator, tools=tools)
        streamed = await ask(emulator, tools=tools, stream=True)

    if name == "runware":
        expected = [{"id": "call_1", "name": "get_weather", "input": {"city": "New York"}}]
        assert expected == whole.json["data"][0]["tools"]
        assert expected == next(delta["tools"] for delta in streamed.deltas() if "tools" in delta)
    else:
        held = whole.json["choices"][0]["message"]["tool_calls"][0]
        assert ("call_1", "get_weather", call.arguments) == (held["id"], *held["function"].values())
        fragments = [delta["tool_calls"][0]["function"] for delta in streamed.deltas() if delta.get("tool_calls")]
        assert call.arguments == "".join(fragment["arguments"] for fragment in fragments)
        assert "tool_calls" == whole.json["choices"][0]["finish_reason"]


@every
async def test_malformed_json_is_a_400(name):
    """Also NaN, which is no JSON, and nesting without end."""
    async with emulate(name) as emulator:
        replies = [await send(emulator, body) for body in (b"{", b'{"a": NaN}', b"", b"[" * 20_000)]

    assert [400] * 4 == [reply.status for reply in replies]


@every
async def test_unknown_paths_and_methods_have_an_answer(name):
    """In the provider's envelope, and without consuming a fault."""
    async with emulate(name) as emulator, aiohttp.ClientSession() as session:
        emulator.fail(Fault.status(503))
        async with session.get(url(emulator), headers=KEY) as wrong_method:
            assert 405 == wrong_method.status
        async with session.post(emulator.base_url + "/nothing", headers=KEY, json={}) as wrong_path:
            assert 404 == wrong_path.status
        reply = await ask(emulator)

    assert 503 == reply.status


@every
async def test_a_limit_of_requests_per_minute_may_be_set(name):
    """The first over the limit is a 429."""
    async with emulate(name, requests_per_minute=2) as emulator:
        statuses = [(await ask(emulator)).status for _ in range(3)]

    assert [200, 200, 429] == statuses


@every
async def test_a_body_over_the_limit_is_a_413(name):
    """In the provider's envelope."""
    async with emulate(name, max_body=1000) as emulator:
        reply = await send(emulator, b'"' + b"x" * 2000 + b'"')

    assert 413 == reply.status


@every
async def test_token_delay_spreads_a_stream(name):
    """Every token waits; the role and the end do not."""
    async with emulate(name, token_delay=0.01) as emulator:
        emulator.reply(Answer("a b c d e"))
        begun = asyncio.get_running_loop().time()
        await ask(emulator, stream=True)

        assert asyncio.get_running_loop().time() - begun >= 0.05


@every
async def test_it_ends_at_once_with_clients_that_wait(name):
    """Within 100 ms, whatever they wait for; the conftest sees that no task is left."""
    async with aiohttp.ClientSession() as session:
        async with emulate(name) as emulator:
            emulator.fail(Fault.silence())
            emulator.fail(Fault.stall_after(2))
            emulator.fail(Fault.comments_forever())
            bodies = [body_for(emulator), body_for(emulator, stream=True), body_for(emulator, stream=True)]
            tasks = []
            for number, body in enumerate(bodies):
                if name == "runware":
                    body[0]["taskUUID"] = body[0]["taskUUID"][:-1] + str(number)
                tasks.append(asyncio.create_task(_read(session, emulator, body)))
                await asyncio.sleep(0.05)
            begun = asyncio.get_running_loop().time()
        took = asyncio.get_running_loop().time() - begun
        await asyncio.gather(*tasks)

    assert took < 0.1


async def _read(session, emulator, body) -> None:
    try:
        async with session.post(url(emulator), json=body, headers=KEY) as response:
            await response.read()
    except aiohttp.ClientError:
        pass


async def test_the_four_providers_run_together():
    """By name, each on a port of its own, with its own switches."""
    async with emulate_all(switches={"aiml": {"done": True}}) as emulators:
        statuses = [(await ask(emulator)).status for emulator in emulators.values()]
        streamed = await ask(emulators["aiml"], stream=True)

    assert ["mixlayer", "runware", "empiriolabs", "aiml"] == list(emulators)
    assert [200] * 4 == statuses
    assert "[DONE]" == streamed.events[-1]
    assert 4 == len({emulator.base_url for emulator in emulators.values()})


async def test_an_unknown_provider_is_refused_with_the_right_names():
    """The message lists them."""
    with pytest.raises(ValueError, match="mixlayer, runware, empiriolabs, aiml, openai"):
        async with emulate("nobody"):
            pass
