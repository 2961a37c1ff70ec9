"""EmpirioLabs' emulator against the provider's own page."""

from __future__ import annotations

import pytest

from router.lab import Answer, emulate
from router.lab.answers import count_tokens
from tests.lab.talk import DONE, ask, get

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]

REFUSED = [
    {"temperature": 2.1},
    {"temperature": -0.1},
    {"top_p": 1.1},
    {"max_tokens": 0},
    {"max_tokens": 32_769},
    {"stop": ["a", "b", "c", "d", "e"]},
    {"reasoning_effort": "minimal"},
    {"enable_thinking": 1},
    {"thinking_budget": 1023},
    {"thinking_budget": 32_769},
    {"top_k": 0},
    {"top_k": 201},
    {"min_p": 1.1},
    {"presence_penalty": 2.1},
    {"frequency_penalty": -2.1},
    {"repetition_penalty": 0},
    {"seed": -1},
    {"seed": 2_147_483_648},
    {"logprobs": "yes"},
    {"top_logprobs": 21},
    {"logit_bias": []},
    {"tools": {}},
    {"tool_choice": "sometimes"},
    {"n": 2},
    {"user": "me"},
    {"max_completion_tokens": 5},
    {"chat_template_kwargs": {}},
    # Thinking controls that disagree: which one would win is not known.
    {"enable_thinking": False, "reasoning_effort": "high"},
    {"enable_thinking": False, "thinking_budget": 2048},
    {"enable_thinking": True, "reasoning_effort": "none"},
    {"reasoning_effort": "none", "thinking_budget": 2048},
    {"reasoning_effort": "low", "thinking_budget": 2048},
]
ACCEPTED = [
    {"temperature": 0},
    {"top_p": 0},
    {"stop": "x"},
    {"stop": ["a", "b", "c", "d"]},
    {"seed": 0},
    {"tools": TOOLS, "tool_choice": "auto", "parallel_tool_calls": True},
    {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "f"}}},
    {"logit_bias": {"17": 5}},
    {"disable_formatting": True},
    {"stream_options": {"include_usage": True}},
    {"enable_thinking": False, "reasoning_effort": "none"},
    {"enable_thinking": True, "reasoning_effort": "max"},
    {"messages": [{"role": "developer", "content": "x"}, {"role": "user", "content": "y"}]},
    {"response_format": {"type": "json_object"}},
]


@pytest.mark.parametrize("fields", REFUSED, ids=str)
async def test_what_it_refuses(fields):
    """Every range of the table, unknown fields, contradictions."""
    async with emulate("empiriolabs") as emulator:
        reply = await ask(emulator, **fields)

    assert (400, "invalid_request_error") == (reply.status, reply.json["error"]["type"])


@pytest.mark.parametrize("fields", ACCEPTED, ids=str)
async def test_what_it_accepts(fields):
    """The edges of the table, and what its compatibility implies."""
    async with emulate("empiriolabs") as emulator:
        assert 200 == (await ask(emulator, **fields)).status


async def test_unknown_models_and_keys():
    """404 and two kinds of 401; x-api-key is as good as a bearer key."""
    async with emulate("empiriolabs", api_key="right") as emulator:
        missing = await ask(emulator, headers={"X-Nothing": "1"})
        wrong = await ask(emulator)
        model = await ask(emulator, headers={"x-api-key": "right"}, model="qwen")

    assert (401, "missing_api_key") == (missing.status, missing.json["error"]["code"])
    assert (401, "invalid_api_key") == (wrong.status, wrong.json["error"]["code"])
    assert (404, "model_not_found") == (model.status, model.json["error"]["code"])
    assert "***" in repr(emulator.requests[2].headers)
    assert "right" not in repr(emulator.requests[2])


async def test_a_default_system_prompt_is_injected_when_none_is_sent():
    """Visible in the count of tokens; one's own replaces it fully."""
    async with emulate("empiriolabs", system_prompt="one two three") as emulator:
        await ask(emulator)
        await ask(emulator, messages=[{"role": "system", "content": "a"}, {"role": "user", "content": "17 * 23?"}])

    question = count_tokens("17 * 23?")
    assert [question + 3, question + 1] == [invoice.prompt for invoice in emulator.invoices]


@pytest.mark.parametrize(
    ("fields", "reasoning"),
    [
        ({}, 2000),
        ({"enable_thinking": False}, 0),
        ({"reasoning_effort": "none"}, 0),
        ({"reasoning_effort": "low"}, 1024),
        ({"thinking_budget": 1500}, 1500),
        ({"thinking_budget": 1500, "max_tokens": 400}, 300),
        ({"max_tokens": 32_768, "reasoning_effort": "max"}, 2000),
    ],
    ids=str,
)
async def test_thinking_is_bounded_and_leaves_room_for_the_answer(fields, reasoning):
    """By effort, by budget, and by what max_tokens leaves."""
    async with emulate("empiriolabs") as emulator:
        emulator.reply(Answer("the answer", reasoning_content="hm " * 2000))
        reply = await ask(emulator, **fields)

    assert "the answer" == reply.json["choices"][0]["message"]["content"]
    assert reasoning == reply.json["usage"]["completion_tokens_details"]["reasoning_tokens"]


async def test_max_tokens_is_4096_by_default():
    """Reasoning and answer together."""
    async with emulate("empiriolabs") as emulator:
        emulator.reply(Answer("word " * 5000))
        reply = await ask(emulator, enable_thinking=False)

    assert 4096 == reply.json["usage"]["completion_tokens"]
    assert "length" == reply.json["choices"][0]["finish_reason"]


async def test_sglangs_extras_are_on():
    """Nulls in every delta, matched_stop on the last one, an empty final content."""
    async with emulate("empiriolabs") as emulator:
        emulator.reply(Answer("a STOP b"))
        reply = await ask(emulator, stream=True, stop="STOP", enable_thinking=False)

    *chunks, usage, done = reply.events
    assert DONE == done
    assert [] == usage["choices"]
    last = chunks[-1]["choices"][0]
    assert ("", "stop", "STOP") == (last["delta"]["content"], last["finish_reason"], last["matched_stop"])
    assert chunks[0]["choices"][0]["matched_stop"] is None
    assert chunks[0]["choices"][0]["delta"]["reasoning_content"] is None


@pytest.mark.parametrize(
    ("switch", "options", "places"),
    [
        ("chunk", None, [[]]),
        ("chunk", {"include_usage": False}, []),
        ("finish", None, [["stop"]]),
        ("absent", None, []),
    ],
)
async def test_where_a_streams_usage_is(switch, options, places):
    """On a chunk of its own, on the finishing one, or nowhere."""
    async with emulate("empiriolabs", stream_usage=switch) as emulator:
        reply = await ask(emulator, stream=True, stream_options=options)

    found = [event for event in reply.events if event != DONE and "usage" in event]
    assert places == [[choice["finish_reason"] for choice in event["choices"]] for event in found]


@pytest.mark.parametrize(("field", "name"), [("reasoning", "reasoning"), ("reasoning_content", "reasoning_content")])
async def test_the_field_of_the_reasoning_may_vary(field, name):
    """Not documented, so a switch."""
    async with emulate("empiriolabs", reasoning_field=field) as emulator:
        whole, streamed = await ask(emulator), await ask(emulator, stream=True)

    assert whole.json["choices"][0]["message"][name] == streamed.joined(name) != ""


async def test_reasoning_may_stay_in_content_and_content_may_be_reformatted():
    """The second unless disable_formatting."""
    async with emulate("empiriolabs", reasoning_field="think", reformat=True) as emulator:
        formatted = await ask(emulator)
        raw = await ask(emulator, disable_formatting=True)

    assert "**Answer**\n\n<think>\n" in formatted.json["choices"][0]["message"]["content"]
    assert raw.json["choices"][0]["message"]["content"].startswith("<think>\n")


async def test_log_probabilities_have_openais_shape():
    """The tokens join to the content, in both modes."""
    async with emulate("empiriolabs") as emulator:
        whole = await ask(emulator, logprobs=True, top_logprobs=2, enable_thinking=False)
        streamed = await ask(emulator, logprobs=True, enable_thinking=False, stream=True)

    entries = whole.json["choices"][0]["logprobs"]["content"]
    assert "You said: 17 * 23?" == "".join(entry["token"] for entry in entries)
    assert all(len(entry["top_logprobs"]) == 2 for entry in entries)
    parts = [choice["logprobs"] for event in streamed.events[:-1] for choice in event["choices"] if choice["logprobs"]]
    assert "You said: 17 * 23?" == "".join(part["content"][0]["token"] for part in parts)


async def test_a_json_schema_is_answered_with_a_fitting_object():
    """The smallest one."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "s": {"enum": ["x"]}}, "required": ["n", "s"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    async with emulate("empiriolabs") as emulator:
        reply = await ask(emulator, response_format=wanted)

    assert '{"n": 0, "s": "x"}' == reply.json["choices"][0]["message"]["content"]


async def test_a_required_tool_is_called_with_fitting_arguments():
    """The first one, or the named one."""
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools = [*TOOLS, {"type": "function", "function": {"name": "g", "parameters": parameters}}]
    async with emulate("empiriolabs") as emulator:
        first = await ask(emulator, tools=tools, tool_choice="required")
        named = await ask(emulator, tools=tools, tool_choice={"type": "function", "function": {"name": "g"}})

    calls = [reply.json["choices"][0]["message"]["tool_calls"][0]["function"] for reply in (first, named)]
    assert [{"name": "f", "arguments": "{}"}, {"name": "g", "arguments": '{"city": "text"}'}] == calls


async def test_the_catalogue_is_open():
    """No key; the single model is the machine-readable schema."""
    async with emulate("empiriolabs") as emulator:
        models = await get(emulator.base_url + "/models")
        model = await get(emulator.base_url + "/models/qwen3-5-4b")
        alternative = await get(emulator.base_url + "/models?format=alternative1")
        missing = await get(emulator.base_url + "/models/nothing")
        health = await get(emulator.base_url.removesuffix("/v1") + "/health")

    assert ["qwen3-5-4b", "qwen3-5-9b"] == [row["id"] for row in models.json["data"]][:2]
    rules = {row["name"]: row for row in model.json["supported_parameters"]}
    assert {"name": "top_k", "type": "integer", "min": 1, "max": 200} == rules["top_k"]
    assert "0.00000004" == alternative.json["data"][0]["pricing"]["prompt"]
    assert (404, 200) == (missing.status, health.status)


async def test_cached_tokens_cost_half():
    """0.04 and 0.02 dollars per million."""
    async with emulate("empiriolabs") as emulator:
        emulator.reply(Answer("x", prompt_tokens=2_000_000, cached_tokens=1_000_000, completion_tokens=0))
        reply = await ask(emulator)

    assert {"cached_tokens": 1_000_000} == reply.json["usage"]["prompt_tokens_details"]
    assert pytest.approx(0.06) == emulator.invoices[0].usd
