"""Mixlayer's emulator against the provider's own pages."""

from __future__ import annotations

from typing import Any

import pytest

from router.lab import Answer, ToolCall, emulate
from tests.lab.talk import DONE, KEY, ask, body_for, get, send

SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object", "properties": {}}}}
OBJECT = {"type": "json_object"}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
USER = [{"role": "user", "content": [{"type": "text", "text": "what?"}, PICTURE]}]

REFUSED = [
    ({"stop": "a bare string"}, "invalid_request_error"),
    ({"stop": [1]}, "invalid_request_error"),
    ({"temperature": "hot"}, "invalid_request_error"),
    ({"temperature": True}, "invalid_request_error"),
    ({"top_p": 1.1}, "invalid_request_error"),
    ({"top_k": 1.5}, "invalid_request_error"),
    ({"presence_penalty": -2.1}, "invalid_request_error"),
    ({"frequency_penalty": 2.1}, "invalid_request_error"),
    ({"repetition_penalty": 2.1}, "invalid_request_error"),
    ({"max_tokens": 0}, "invalid_request_error"),
    ({"max_completion_tokens": "9"}, "invalid_request_error"),
    ({"seed": 1.5}, "invalid_request_error"),
    ({"stream": "yes"}, "invalid_request_error"),
    ({"thinking": "on"}, "invalid_request_error"),
    ({"reasoning_effort": "none"}, "invalid_request_error"),
    ({"reasoning_effort": "max"}, "invalid_request_error"),
    ({"messages": []}, "invalid_request_error"),
    ({"messages": [{"role": "developer", "content": "x"}]}, "invalid_request_error"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "missing_required_parameter"),
    ({"tools": [{"type": "function", "function": {"name": "no spaces"}}]}, "invalid_request_error"),
    ({"response_format": {"type": "xml"}}, "invalid_request_error"),
    ({"response_format": SCHEMA, "thinking": True}, "invalid_response_format"),
    ({"response_format": SCHEMA, "reasoning_effort": "low"}, "invalid_response_format"),
    ({"model": "qwen/none"}, "model_not_found"),
    ({"messages": USER, "tools": TOOLS}, "invalid_media"),
    ({"messages": USER, "response_format": SCHEMA}, "invalid_media"),
    ({"messages": [{"role": "user", "content": [PICTURE] * 9}]}, "invalid_media"),
]


@pytest.mark.parametrize(("fields", "code"), REFUSED, ids=str)
async def test_what_it_refuses(fields, code):
    """Always a 400, also for an unknown model, in the documented envelope."""
    async with emulate("mixlayer") as emulator:
        reply = await ask(emulator, **fields)

    assert 400 == reply.status
    assert code == reply.json["error"]["code"]
    assert {"message", "type", "code"} <= set(reply.json["error"])
    assert [] == emulator.invoices


async def test_the_envelope_of_an_unknown_model_is_the_published_one():
    """Literally."""
    async with emulate("mixlayer") as emulator:
        reply = await ask(emulator, model="x")

    expected = {"error": {"message": "Model not found.", "type": "model_not_found", "code": "model_not_found"}}
    assert expected == reply.json


async def test_seven_fields_are_silently_ignored_and_so_are_unknown_ones():
    """Whatever their value: no second choice, no log probabilities, no forced tool."""
    ignored = {"n": 3, "min_p": "?", "tool_choice": "required", "logprobs": True, "top_logprobs": 99, "user": 1}
    async with emulate("mixlayer") as emulator:
        reply = await ask(emulator, **ignored, logit_bias=[], tools=TOOLS, chat_template_kwargs={})

    choice = reply.json["choices"][0]
    assert 1 == len(reply.json["choices"])
    assert "stop" == choice["finish_reason"]
    assert {"index", "message", "finish_reason"} == set(choice)


async def test_the_header_session_id_is_refused():
    """With an underscore."""
    async with emulate("mixlayer") as emulator:
        reply = await ask(emulator, headers={**KEY, "session_id": "1"})

    assert 400 == reply.status


@pytest.mark.parametrize(
    ("fields", "thinks"),
    [
        ({}, True),
        ({"thinking": True}, True),
        ({"thinking": False}, False),
        ({"reasoning_effort": "low"}, True),
        ({"thinking": False, "reasoning_effort": "high"}, False),
        ({"response_format": SCHEMA}, False),
        ({"response_format": SCHEMA, "thinking": False}, False),
        ({"response_format": OBJECT, "thinking": True}, True),
    ],
    ids=str,
)
async def test_when_it_thinks(fields, thinks):
    """On by default, off when told, any effort only switches it on."""
    async with emulate("mixlayer") as emulator:
        reply = await ask(emulator, **fields)

    message = reply.json["choices"][0]["message"]
    assert thinks == bool(message.get("reasoning_content"))
    assert thinks == (emulator.invoices[0].reasoning > 0)


async def test_the_last_content_event_carries_the_finish_reason():
    """There is no empty finishing event, and usage only when it is asked for."""
    async with emulate("mixlayer") as emulator:
        emulator.reply(Answer("17 * 23 = 391.", reasoning_content="Let me think."))
        reply = await ask(emulator, stream=True)
        asked = await ask(emulator, stream=True, stream_options={"include_usage": True})

    *chunks, done = reply.events
    assert DONE == done
    assert {"role": "assistant"} == chunks[0]["choices"][0]["delta"]
    assert {"delta": {"content": "391."}, "finish_reason": "stop", "index": 0} == chunks[-1]["choices"][0]
    assert "chat.completion.chunk" == chunks[0]["object"]
    assert not any("usage" in chunk for chunk in chunks)
    assert [] == asked.events[-2]["choices"]
    assert {"prompt_tokens", "completion_tokens", "total_tokens"} == set(asked.events[-2]["usage"])


async def test_tool_deltas_have_no_type_and_an_empty_finish():
    """As published; whole, content is empty."""
    async with emulate("mixlayer") as emulator:
        emulator.reply(Answer(tool_calls=(ToolCall("call_abc", "f", '{"a": 1}'),)))
        streamed = await ask(emulator, stream=True, tools=TOOLS)
        whole = await ask(emulator, tools=TOOLS)

    first = next(delta for delta in streamed.deltas() if "tool_calls" in delta)
    assert {"index": 0, "id": "call_abc", "function": {"name": "f", "arguments": ""}} == first["tool_calls"][0]
    assert {"index": 0, "delta": {}, "finish_reason": "tool_calls"} == streamed.events[-2]["choices"][0]
    assert "" == whole.json["choices"][0]["message"]["content"]


async def test_variations_of_the_stream():
    """Without ids as on the reasoning page, with both fields in one event, without [DONE]."""
    async with emulate("mixlayer", omit_ids=True, merge_fields=True, done=False) as emulator:
        emulator.reply(Answer("a b", reasoning_content="x y z"))
        reply = await ask(emulator, stream=True)

    deltas = [event["choices"][0]["delta"] for event in reply.events]
    assert [
        {"role": "assistant", "reasoning_content": "x "},
        {"reasoning_content": "y "},
        {"content": "a ", "reasoning_content": "z"},
        {"content": "b"},
    ] == deltas
    assert {"choices"} == set(reply.events[0])
    assert "index" not in reply.events[0]["choices"][0]


async def test_switches_for_what_nobody_knows():
    """Strict unknown fields, json_schema against the default of thinking, null content, a model out of reach."""
    switches: dict[str, Any] = {
        "unknown_fields": "refuse",
        "default_thinking_conflicts": True,
        "empty_tool_content": "null",
    }
    async with emulate("mixlayer", forbidden_models=("qwen/qwen3.5-9b",), **switches) as emulator:
        emulator.reply(Answer(tool_calls=(ToolCall("1", "f", "{}"),), cached_tokens=2))
        unknown = await ask(emulator, nonsense=1)
        conflict = await ask(emulator, response_format=SCHEMA)
        forbidden = await ask(emulator, model="qwen/qwen3.5-9b")
        called = await ask(emulator, tools=TOOLS)
        models = await get(emulator.base_url + "/models", headers=KEY)

    assert [400, 400, 403] == [unknown.status, conflict.status, forbidden.status]
    assert called.json["choices"][0]["message"]["content"] is None
    assert {"cached_tokens": 2} == called.json["usage"]["prompt_tokens_details"]
    assert "qwen/qwen3.5-9b" not in [row["id"] for row in models.json["data"]]
    assert "qwen/qwen3.5-27b" in [row["id"] for row in models.json["data"]]


async def test_the_list_of_models_needs_the_key():
    """It is the list for that key."""
    async with emulate("mixlayer") as emulator:
        reply = await get(emulator.base_url + "/models")

    assert 401 == reply.status


async def test_max_completion_tokens_wins_and_the_price_is_right():
    """0.30 and 2.40 dollars per million."""
    async with emulate("mixlayer") as emulator:
        emulator.reply(Answer("a b c d", prompt_tokens=1_000_000, completion_tokens=1_000_000))
        reply = await send(emulator, body_for(emulator, max_tokens=3, max_completion_tokens=2, thinking=False))

    assert "a b" == reply.json["choices"][0]["message"]["content"]
    assert pytest.approx(2.70) == emulator.invoices[0].usd


async def test_a_prompt_over_the_context_is_refused():
    """131K by the document."""
    async with emulate("mixlayer") as emulator:
        reply = await ask(emulator, messages=[{"role": "user", "content": "x " * 131_073}])

    assert (400, "context_length_exceeded") == (reply.status, reply.json["error"]["code"])
