"""AI/ML API's emulator against the provider's own page."""

from __future__ import annotations

import pytest

from router.lab import Answer, Fault, emulate
from tests.lab.talk import DONE, KEY, ask, body_for, get, send

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}

REFUSED = [
    {"seed": 0},
    {"seed": 1.5},
    {"top_p": 0},
    {"top_p": 1.01},
    {"temperature": 2.1},
    {"max_tokens": 0},
    {"stop": ["a", "b", "c", "d", "e"]},
    {"reasoning_effort": "none"},
    {"reasoning_effort": "minimal"},
    {"frequency_penalty": 2.1},
    {"presence_penalty": -2.1},
    {"logit_bias": {"1": 101}},
    {"top_logprobs": 21, "logprobs": True},
    {"top_logprobs": 2},
    {"tools": [TOOL] * 129},
    {"tools": [{**TOOL, "extra": 1}]},
    {"tools": [{"type": "function", "function": {"name": "f", "more": 1}}]},
    {"tool_choice": "any"},
    {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
    {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
    {"stream_options": {}},
    {"messages": [{"role": "developer", "content": "x"}]},
    {"messages": [{"role": "user", "content": [{"type": "audio_url", "audio_url": {"url": "x"}}]}]},
    {"temperature": -0.1},
    {"max_completion_tokens": 5},
    {"top_k": 20},
    {"min_p": 0},
    {"repetition_penalty": 1},
    {"n": 1},
    {"user": "me"},
    {"enable_thinking": False},
]
ACCEPTED = [
    {"temperature": 0},
    {"top_p": 0.01},
    {"seed": 1},
    {"stop": None},
    {"stop": "x"},
    {"logprobs": True, "top_logprobs": 0},
    {"tools": [TOOL], "tool_choice": "none", "parallel_tool_calls": False},
    {"stream_options": {"include_usage": True}},
    {"prediction": {"type": "content", "content": "x"}},
    {"response_format": {"type": "text"}},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x", "detail": "low"}}]}]},
]


@pytest.mark.parametrize("fields", REFUSED, ids=lambda fields: str(fields)[:60])
async def test_what_it_refuses(fields):
    """In Zod's words, as a problem document."""
    async with emulate("aiml") as emulator:
        reply = await ask(emulator, **fields)

    assert 400 == reply.status
    assert "application/problem+json" == reply.headers["Content-Type"]
    assert reply.json["message"].startswith("Body validation error")
    assert {"title", "status", "message", "instance", "requestId", "timestamp", "error"} == set(reply.json)


@pytest.mark.parametrize("fields", ACCEPTED, ids=str)
async def test_what_it_accepts(fields):
    """The edges, and what the published schema has beyond the page."""
    async with emulate("aiml") as emulator:
        assert 200 == (await send(emulator, body_for(emulator) | fields)).status


VIDEO = [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}}]}]


async def test_a_video_is_taken_where_a_schema_has_it_or_the_page_says_multimodal():
    """qwen3.8-27b.json lists `video_url` parts; for the page's own model it is a switch, because its schema does not."""
    async with emulate("aiml") as emulator, emulate("aiml", video=False) as literal:
        statuses = {
            model: (await ask(emulator, model=f"alibaba/{model}", messages=VIDEO)).status
            for model in ("qwen3.6-35b-a3b", "qwen3.8-27b", "qwen3.6-27b")
        }
        by_its_schema = await ask(literal, messages=VIDEO)

    assert {"qwen3.6-35b-a3b": 200, "qwen3.8-27b": 200, "qwen3.6-27b": 400} == statuses
    assert 400 == by_its_schema.status


@pytest.mark.parametrize(
    ("model", "accepted", "refused"),
    [
        ("qwen3.7-plus", {"enable_thinking": True, "thinking_budget": 1}, {"reasoning_effort": "low"}),
        ("qwen3.7-plus", {"repetition_penalty": 1.1}, {"logprobs": True}),
        ("qwen3.5-flash", {"min_p": 0.001}, {"min_p": 0}),
        ("qwen3.5-flash", {"reasoning": {"max_tokens": 1}}, {"reasoning": {"max_tokens": 0}}),
        ("qwen3.8-max", {"reasoning": {"effort": "low"}}, {"reasoning": {"effort": "low", "max_tokens": 5}}),
        ("qwen3.8-max", {"logit_bias": {"1": 1}}, {"seed": 1}),
        ("qwen3.6-plus", {"logprobs": True}, {"reasoning_effort": "low"}),
        ("qwen3-32b", {"enable_thinking": False}, {"logit_bias": {"1": 1}}),
    ],
)
async def test_parameters_are_per_model(model, accepted, refused):
    """Each model has a schema of its own."""
    async with emulate("aiml") as emulator:
        good = await ask(emulator, model=f"alibaba/{model}", **accepted)
        bad = await ask(emulator, model=f"alibaba/{model}", **refused)

    assert (200, 400) == (good.status, bad.status)


async def test_a_switch_of_a_sibling_is_off_by_default():
    """`enable_thinking` is false unless it is said, and a budget alone counts for nothing."""
    async with emulate("aiml") as emulator:
        said = [
            (await ask(emulator, model="alibaba/qwen3-32b", **fields)).json["choices"][0]["message"]
            for fields in ({}, {"thinking_budget": 100}, {"enable_thinking": True})
        ]

    assert [False, False, True] == ["reasoning_content" in message for message in said]


async def test_the_cost_may_be_in_the_headers_alone_or_come_after_the_end():
    """`meta` may be null, and its place in a stream is not settled."""
    async with (
        emulate("aiml", meta=False, cost_headers=True) as headers,
        emulate("aiml", done=True, late_meta=True) as late,
    ):
        whole = await ask(headers)
        reply = await ask(late, stream=True)

    assert "meta" not in whole.json
    assert float(whole.headers["x-aimlapi-usd-spent"]) == pytest.approx(headers.invoices[0].usd)
    assert [DONE, {"meta"}] == [reply.events[-2], set(reply.events[-1])]


async def test_an_enum_is_refused_with_the_published_words():
    """Expected, and received."""
    async with emulate("aiml") as emulator:
        reply = await ask(emulator, reasoning_effort="none")

    words = "Invalid enum value. Expected 'low' | 'medium' | 'high', received 'none'"
    assert [{"path": ["reasoning_effort"], "message": words}] == reply.json["error"]["data"]


async def test_the_other_envelope():
    """Its statusCode is a string, and it has no error."""
    async with emulate("aiml", envelope="legacy") as emulator:
        emulator.fail(Fault.rate_limited())
        reply = await ask(emulator)

    assert {"message", "path", "requestId", "statusCode", "timestamp"} == set(reply.json)
    assert ("429", "Too Many Requests") == (reply.json["statusCode"], reply.json["message"])
    assert "Retry-After" not in reply.headers


@pytest.mark.parametrize("status", [400, 404])
async def test_an_unknown_model_is_one_of_two_statuses(status):
    """Nobody knows which."""
    async with emulate("aiml", unknown_model=status) as emulator:
        reply = await ask(emulator, model="alibaba/nothing")

    assert status == reply.status
    assert "alibaba/nothing" in reply.json["message"]


async def test_no_credit_is_a_403():
    """With the word that tells it from a missing permission."""
    async with emulate("aiml") as emulator:
        emulator.fail(Fault.out_of_credit())
        reply = await ask(emulator)

    assert 403 == reply.status
    assert "run out of credits" in reply.json["message"]


async def test_the_answer_of_the_document_costs_its_7022_credits():
    """Credits round up per component; reasoning is inside completion_tokens and text_tokens."""
    async with emulate("aiml") as emulator:
        emulator.reply(Answer("x", prompt_tokens=19, completion_tokens=1197, reasoning_tokens=840))
        reply = await ask(emulator)

    assert {"usage": {"credits_used": 7022, "usd_spent": 0.003511}} == reply.json["meta"]
    assert ("7022", "0.003511000") == (
        reply.headers["x-aimlapi-credits-used"],
        reply.headers["x-aimlapi-usd-spent"],
    )
    assert {
        "prompt_tokens": 19,
        "completion_tokens": 1197,
        "total_tokens": 1216,
        "completion_tokens_details": {"reasoning_tokens": 840, "text_tokens": 1197},
        "prompt_tokens_details": {"text_tokens": 19},
    } == reply.json["usage"]
    assert "qwen3.6-35b-a3b" == reply.json["model"]
    assert reply.json["choices"][0]["logprobs"] is None
    assert 0.003511 == emulator.invoices[0].usd


async def test_the_stream_is_that_of_the_capture():
    """Null usage on ordinary chunks, an empty content at the finish, usage alone, meta alone, no [DONE]."""
    async with emulate("aiml") as emulator:
        emulator.reply(Answer("Hi", reasoning_content="Okay"))
        reply = await ask(emulator, stream=True)

    role, reasoning, content, finish, usage, meta = reply.events
    assert {"content": None, "role": "assistant", "refusal": None, "reasoning_content": ""} == role["choices"][0][
        "delta"
    ]
    assert {"content": None, "refusal": None, "reasoning_content": "Okay"} == reasoning["choices"][0]["delta"]
    assert {"content": "Hi", "refusal": None, "reasoning_content": None} == content["choices"][0]["delta"]
    assert {"content": "", "refusal": None, "reasoning_content": None} == finish["choices"][0]["delta"]
    assert "stop" == finish["choices"][0]["finish_reason"]
    assert [None] * 4 == [event["usage"] for event in (role, reasoning, content, finish)]
    assert ([], 2) == (usage["choices"], usage["usage"]["completion_tokens"])
    assert {"meta"} == set(meta)
    assert "x-aimlapi-credits-used" not in reply.headers


async def test_the_stream_may_end_in_done_and_lack_the_rest():
    """Switches."""
    async with emulate("aiml", done=True, stream_usage=False, meta=False) as emulator:
        reply = await ask(emulator, stream=True)
        whole = await ask(emulator)

    assert DONE == reply.events[-1]
    assert "stop" == reply.events[-2]["choices"][0]["finish_reason"]
    assert "meta" not in whole.json


async def test_headers_on_every_reply():
    """Two ids of the provider's own; the client's comes back if it is well formed."""
    async with emulate("aiml") as emulator:
        emulator.fail(Fault.status(503))
        failed = await ask(emulator, headers={**KEY, "X-Client-Request-Id": "abc:1"})
        well = await ask(emulator, headers={**KEY, "X-Client-Request-Id": "no spaces"})

    for reply in (failed, well):
        assert reply.headers["x-inference-id"]
        assert reply.headers["x-request-id"]
    assert "abc:1" == failed.headers["x-client-request-id"]
    assert (200, None) == (well.status, well.headers.get("x-client-request-id"))


async def test_it_is_served_on_three_paths():
    """With, without and before /v1."""
    async with emulate("aiml") as emulator:
        root = emulator.base_url.removesuffix("/v1")
        statuses = [
            (await send(emulator, body_for(emulator), to=root + path)).status
            for path in ("/chat/completions", "/api/v1/chat/completions")
        ]

    assert [200, 200] == statuses


async def test_thinking_cannot_be_turned_off():
    """Low is the floor."""
    async with emulate("aiml") as emulator:
        reply = await ask(emulator, reasoning_effort="low")

    assert reply.json["choices"][0]["message"]["reasoning_content"]


async def test_the_list_of_models_is_open_and_grows_with_include():
    """Prices only when asked for."""
    async with emulate("aiml") as emulator:
        plain = await get(emulator.base_url + "/models")
        priced = await get(emulator.base_url + "/models?include=pricing,nonsense")
        single = await get(emulator.base_url.removesuffix("/v1") + "/model/alibaba/qwen3.6-35b-a3b")

    assert "pricing" not in plain.json["data"][0]
    assert ["qwen3.6-35b-a3b"] == plain.json["data"][0]["aliases"]
    assert 2.925 == priced.json["data"][0]["pricing"]["units"][1]["price"]
    assert "model" == single.json["object"]
