"""Runware's emulator against the provider's own page."""

from __future__ import annotations

from typing import Any

import pytest

from router.lab import Answer, Fault, ToolCall, emulate
from router.lab.emulators import Shape
from tests.lab.talk import DONE, KEY, ask, body_for, get, send, uuid

USER = {"role": "user", "content": "x"}

REFUSED = [
    ({"taskUUID": "not-a-uuid"}, "invalidTaskUUID", "taskUUID"),
    ({"taskUUID": "a770f077-f413-17de-9dac-be0b26a35da6"}, "invalidTaskUUID", "taskUUID"),
    ({"taskUUID": None}, "missingTaskUUID", "taskUUID"),
    ({"model": "alibaba:none@1"}, "invalidModel", "model"),
    ({"model": None}, "missingModel", "model"),
    ({"taskType": "imageInference"}, "invalidTaskType", "taskType"),
    ({"temperature": 0.6}, "unknownParameter", "temperature"),
    ({"tools": []}, "unknownParameter", "tools"),
    ({"jsonSchema": {}}, "unknownParameter", "jsonSchema"),
    ({"deliveryMethod": "push"}, "invalidDeliveryMethod", "deliveryMethod"),
    ({"includeCost": 1}, "invalidIncludeCost", "includeCost"),
    ({"numberResults": 5}, "invalidNumberResults", "numberResults"),
    ({"seed": 4_294_967_296}, "invalidSeed", "seed"),
    ({"webhookURL": "nowhere"}, "invalidWebhookURL", "webhookURL"),
    ({"messages": []}, "invalidMessages", "messages"),
    ({"messages": [{"role": "system", "content": "x"}]}, "invalidRole", "messages[0].role"),
    ({"messages": [USER, {"role": "assistant", "content": "x"}]}, "invalidRole", "messages[1].role"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "invalidContent", "messages[0].content"),
    ({"messages": [{**USER, "name": "me"}]}, "unknownParameter", "messages[0].name"),
    ({"inputs": {"images": []}}, "invalidImages", "inputs.images"),
    ({"inputs": {"audio": ["x"]}}, "unknownParameter", "inputs.audio"),
    ({"inputs": {"images": ["?"]}}, "invalidImages", "inputs.images[0]"),
    ({"settings": {"systemPrompt": ""}}, "invalidSystemPrompt", "settings.systemPrompt"),
    ({"settings": {"systemPrompt": "x" * 131_073}}, "invalidSystemPrompt", "settings.systemPrompt"),
    ({"settings": {"temperature": 2.01}}, "invalidTemperature", "settings.temperature"),
    ({"settings": {"topP": -0.1}}, "invalidTopP", "settings.topP"),
    ({"settings": {"topK": 101}}, "invalidTopK", "settings.topK"),
    ({"settings": {"minP": 1.1}}, "invalidMinP", "settings.minP"),
    ({"settings": {"maxTokens": 65_537}}, "invalidMaxTokens", "settings.maxTokens"),
    ({"settings": {"frequencyPenalty": -1}}, "invalidFrequencyPenalty", "settings.frequencyPenalty"),
    ({"settings": {"presencePenalty": -1}}, "invalidPresencePenalty", "settings.presencePenalty"),
    ({"settings": {"repetitionPenalty": 2.1}}, "invalidRepetitionPenalty", "settings.repetitionPenalty"),
    ({"settings": {"stopSequences": []}}, "invalidStopSequences", "settings.stopSequences"),
    ({"settings": {"stopSequences": "x"}}, "invalidStopSequences", "settings.stopSequences"),
    ({"settings": {"thinkingLevel": "low"}}, "invalidThinkingLevel", "settings.thinkingLevel"),
    ({"settings": {"seed": 1}}, "unknownParameter", "settings.seed"),
]


@pytest.mark.parametrize(("fields", "code", "parameter"), REFUSED, ids=lambda value: str(value)[:50])
async def test_what_it_refuses(fields, code, parameter):
    """Each with its code and the path of the parameter."""
    async with emulate("runware") as emulator:
        reply = await ask(emulator, **fields)

    error = reply.json["errors"][0]
    assert (400, code, parameter) == (reply.status, error["code"], error["parameter"])
    assert error["message"]
    assert [] == reply.json["data"] == emulator.invoices


async def test_a_wrong_thinking_level_names_the_right_ones():
    """So that a client can learn the words, which the page does not show."""
    async with emulate("runware", thinking_levels=("none", "high")) as emulator:
        reply = await ask(emulator, settings={"thinkingLevel": "off"})
        off = await ask(emulator, settings={"thinkingLevel": "none"})

    assert ["none", "high"] == reply.json["errors"][0]["allowedValues"]
    assert "reasoningContent" not in off.json["data"][0]


async def test_the_body_is_an_array():
    """An object is refused, and so is an empty array."""
    async with emulate("runware") as emulator:
        bodies: list[Any] = [{}, body_for(emulator)[0], [], None]
        replies = [await send(emulator, body) for body in bodies]

    assert [400] * 4 == [reply.status for reply in replies]


async def test_a_whole_answer():
    """Reasoning is a list of strings; cost and usage only when asked for."""
    async with emulate("runware") as emulator:
        emulator.reply(Answer("391", reasoning_content="Hm, 340.", prompt_tokens=10))
        full = await ask(emulator, seed=7)
        bare = await ask(emulator, includeCost=None, includeUsage=None)

    (item,) = full.json["data"]
    assert {
        "taskType": "textInference",
        "taskUUID": uuid(0),
        "text": "391",
        "finishReason": "stop",
        "seed": 7,
        "reasoningContent": ["Hm, 340."],
        "usage": {"promptTokens": 10, "completionTokens": 5, "totalTokens": 15, "thinkingTokens": 4},
        "cost": pytest.approx((10 * 0.165 + 5 * 1.326) / 1e6),
    } == item
    assert not {"cost", "usage"} & set(bare.json["data"][0])
    assert item["cost"] == emulator.invoices[0].usd


async def test_thinking_is_on_unless_turned_off():
    """Leaving the level out does not turn it off."""
    async with emulate("runware") as emulator:
        default = await ask(emulator)
        off = await ask(emulator, settings={"thinkingLevel": "off"})

    assert "reasoningContent" in default.json["data"][0]
    assert "reasoningContent" not in off.json["data"][0]


async def test_several_results_have_several_seeds():
    """Same task, same text if it is scripted so."""
    async with emulate("runware") as emulator:
        emulator.reply([Answer("a"), Answer("b")])
        reply = await ask(emulator, numberResults=3, seed=4_294_967_295)
        streamed = await ask(emulator, numberResults=2, stream=True)

    assert [("a", 4_294_967_295), ("b", 0), ("b", 1)] == [(i["text"], i["seed"]) for i in reply.json["data"]]
    assert {uuid(0)} == {item["taskUUID"] for item in reply.json["data"]}
    assert (400, "numberResults") == (streamed.status, streamed.json["error"]["parameter"])
    assert uuid(1) == streamed.json["taskUUID"]


async def test_a_stream_with_pings_and_a_late_cost():
    """Reasoning is a string here; cost comes after the finish reason; comments in between."""
    async with emulate("runware") as emulator:
        emulator.reply(Answer("17 * 23", reasoning_content="Hm, well."))
        reply = await ask(emulator, stream=True)

    *_, finish, cost, done = reply.events
    assert "text/event-stream" == reply.headers["Content-Type"]
    assert ("stop", {}) == (finish["finishReason"], finish["delta"])
    assert {"promptTokens", "completionTokens", "totalTokens", "thinkingTokens"} == set(finish["usage"])
    assert "cost" not in finish
    assert {"taskUUID", "taskType", "cost"} == set(cost)
    assert DONE == done
    assert ": ping" in reply.comments
    assert "Hm, well." == reply.joined("reasoningContent")
    assert {"reasoningContent": "Hm, "} == reply.events[0]["delta"]


async def test_an_async_task_is_acknowledged_polled_and_done():
    """Once processing, then the result, which stays."""
    poll = [{"taskType": "getResponse", "taskUUID": uuid(0)}]
    async with emulate("runware") as emulator:
        acknowledged = await ask(emulator, deliveryMethod="async")
        await ask(emulator, deliveryMethod="async", taskUUID=uuid(10).upper())
        running, done, again = [await send(emulator, poll) for _ in range(3)]

    assert [200] * 5 == [received.status for received in emulator.requests]
    assert {"data": [{"taskType": "textInference", "taskUUID": uuid(0)}]} == acknowledged.json
    assert ["processing"] == [item["status"] for item in running.json["data"]]
    assert ("success", "You said: 17 * 23?") == (done.json["data"][0]["status"], done.json["data"][0]["text"])
    assert done.json == again.json
    assert 2 == len(emulator.invoices)


async def test_an_unknown_task_is_polled_as_nothing_and_so_may_be_a_running_one():
    """The second is a switch."""
    async with emulate("runware", running_reply="empty", processing_polls=2) as emulator:
        unknown = await send(emulator, [{"taskType": "getResponse", "taskUUID": uuid(99)}])
        await ask(emulator, taskUUID=uuid(5), deliveryMethod="async")
        polls = [await send(emulator, [{"taskType": "getResponse", "taskUUID": uuid(5)}]) for _ in range(3)]

    assert {"data": []} == unknown.json == polls[0].json == polls[1].json
    assert "success" == polls[2].json["data"][0]["status"]


async def test_a_task_uuid_is_used_once():
    """In the captured words; a refused task has not used it."""
    async with emulate("runware") as emulator:
        await ask(emulator, taskUUID=uuid(1), seed=-1)
        first = await ask(emulator, taskUUID=uuid(1))
        second = await ask(emulator, taskUUID=uuid(1).upper())
        stored = await send(emulator, [{"taskType": "getResponse", "taskUUID": uuid(1)}])

    assert (200, 400) == (first.status, second.status)
    error = second.json["errors"][0]
    assert ("conflictTaskUUID", "already used") == (error["code"], error["message"])
    assert first.json["data"][0] | {"status": "success"} == stored.json["data"][0]


async def test_a_batch_succeeds_in_part_under_200():
    """Data and errors side by side, each with its task."""
    async with emulate("runware") as emulator:
        good, bad = body_for(emulator, taskUUID=uuid(1))[0], body_for(emulator, taskUUID=uuid(2), seed=-1)[0]
        reply = await send(emulator, [good, bad])
        failed = await send(emulator, [bad])
        two_streams = await send(emulator, [good | {"deliveryMethod": "stream"}, good])

    assert (200, 400, 400) == (reply.status, failed.status, two_streams.status)
    assert [uuid(1)] == [item["taskUUID"] for item in reply.json["data"]]
    assert [uuid(2)] == [error["taskUUID"] for error in reply.json["errors"]]


async def test_a_refusal_may_come_inside_200():
    """As errors do elsewhere at this provider."""
    async with emulate("runware", validation_in_200=True) as emulator:
        reply = await ask(emulator, seed=-1)

    assert (200, "invalidSeed") == (reply.status, reply.json["errors"][0]["code"])


async def test_the_key_may_be_an_element_of_the_array():
    """Which then has an answer of its own; a missing key is refused in the published words."""
    async with emulate("runware", api_key="right") as emulator:
        login = {"taskType": "authentication", "apiKey": "right"}
        reply = await send(emulator, [login, *body_for(emulator)], headers={"X-Nothing": "1"})
        missing = await ask(emulator, headers={"X-Nothing": "1"})
        wrong = await ask(emulator, headers=KEY)

    assert ["authentication", "textInference"] == [item["taskType"] for item in reply.json["data"]]
    assert ("missingApiKey", "invalidApiKey") == (
        missing.json["errors"][0]["code"],
        wrong.json["errors"][0]["code"],
    )
    assert ("apiKey", "authentication") == (wrong.json["errors"][0]["parameter"], wrong.json["errors"][0]["taskType"])
    assert "right" not in repr(emulator.requests)


async def test_tools_and_json_when_they_are_switched_on():
    """In the native shape; the last message may then be a tool's."""
    tool = {"type": "function", "name": "f", "schema": {"type": "object", "properties": {"a": {"type": "integer"}}}}
    conversation = [
        USER,
        {"role": "assistant", "tools": [{"id": "c1", "name": "f", "input": {"a": 1}}]},
        {"role": "tool", "id": "c1", "content": "two"},
    ]
    async with emulate("runware", tools=True, structured=True) as emulator:
        forced = await ask(emulator, tools=[tool], toolChoice={"type": "any"})
        named = await ask(emulator, tools=[tool], toolChoice={"type": "tool", "name": "g"})
        answered = await ask(emulator, tools=[tool], messages=conversation)
        formatted = await ask(emulator, outputFormat="JSON", jsonSchema={"type": "object", "properties": {}})
        emulator.reply(Answer(tool_calls=(ToolCall("1", "f", "{broken"),)))
        broken = await ask(emulator, tools=[tool])

    assert {"a": 0} == forced.json["data"][0]["tools"][0]["input"]
    assert (400, "toolChoice.name") == (named.status, named.json["errors"][0]["parameter"])
    assert "You said: two" == answered.json["data"][0]["text"]
    assert "{}" == formatted.json["data"][0]["text"]
    assert "{broken" == broken.json["data"][0]["tools"][0]["input"]


async def test_variations_of_the_result():
    """Where reasoning tokens, cached tokens and the cost are."""
    shape = Shape(
        reasoning_as="string", reasoning_usage="details", thinking_in_completion=False, late_cost=False, ping_every=0
    )
    async with emulate("runware", shape=shape, stream_error="errors") as emulator:
        emulator.reply(Answer("a b", reasoning_content="c", cached_tokens=2))
        whole, streamed = await ask(emulator), await ask(emulator, stream=True)
        refused = await ask(emulator, stream=True, seed=-1)

    item = whole.json["data"][0]
    assert "c" == item["reasoningContent"]
    assert (2, {"reasoningTokens": 1}) == (
        item["usage"]["completionTokens"],
        item["usage"]["completionTokensDetails"],
    )
    assert 2 == item["usage"]["costBreakdown"]["tokens"]["cache"]["billableTokens"]
    assert item["cost"] == streamed.events[-2]["cost"] == pytest.approx(item["usage"]["costBreakdown"]["total"])
    assert [] == streamed.comments
    assert "errors" in refused.json


async def test_pictures_count_as_prompt():
    """At task level, by URL, data URI or UUID."""
    sources = ["https://example.com/a.png", "data:image/png;base64,AAAA", uuid(3)]
    async with emulate("runware") as emulator:
        plain = await ask(emulator)
        seen = await ask(emulator, inputs={"images": sources})

    counts = [reply.json["data"][0]["usage"]["promptTokens"] for reply in (plain, seen)]
    assert 3 * 256 == counts[1] - counts[0]


async def test_a_timeout_of_the_upstream_is_marked():
    """With a status word in its entry, as observed."""
    async with emulate("runware") as emulator:
        emulator.fail(Fault.gateway_timeout())
        reply = await ask(emulator)

    assert ("failedProviderTimeout", "error") == (
        reply.json["errors"][0]["code"],
        reply.json["errors"][0]["status"],
    )


async def test_the_list_of_models_is_a_bare_array_behind_the_key():
    """No data around it."""
    async with emulate("runware") as emulator:
        models = await get(emulator.base_url + "/models", headers=KEY)
        closed = await get(emulator.base_url + "/models")

    assert ["alibaba:qwen@3.5-27b", "alibaba:qwen@3.5-397b"] == [row["id"] for row in models.json]
    assert {"prompt": 0.165, "completion": 1.326, "input_cache_read": 0.024} == {
        name: round(float(price) * 1e6, 6) for name, price in models.json[0]["pricing"].items()
    }
    assert 401 == closed.status
