"""A new OpenAI-compatible provider is YAML: its address, its words, nothing else. No Python is written in this file.

The server is the lab's `openai` emulator, which speaks like vLLM, SGLang or a proxy; where the very bytes matter, a
server that replays them.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from router import Completion, Router
from router.errors import ConfigError, NoDeployment
from router.lab import Answer, Emulator, Fault, ToolCall, emulate
from tests.wire.replay import Reply, replay

TEXT, THOUGHT = "It is 391.", "17 * 23 = 391."
QUESTION = [{"role": "user", "content": "17 * 23?"}]
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["complete", "stream"])

ROUTES = """
providers:
  my-vllm:
    base_url: "${MY_VLLM}"
    api_key: "${MY_KEY}"
    params:
      max_tokens: {to: max_completion_tokens, range: [1, 8192]}
      top_k: top_k
      min_p: {range: [0, 1]}
      repetition_penalty: {range: [0.5, 1.5]}
      stop: {max_items: 2, shape: one_or_list}
      reasoning_effort:
        to: thinking_mode
        levels: {none: "off", minimal: light, low: light, medium: normal, high: deep, xhigh: deep, max: deep}
        exact: [none, low, medium, high]
      reasoning_budget: {to: thinking_budget, range: [128, 4096]}
    defaults: {reasoning_effort: medium}
models:
  my-model:
    deployments:
      - {provider: my-vllm, model: org/my-model, context: 32768, max_output: 4096, price: {input: 1, output: 2}}
routes:
  chat:
    deployments: [my-vllm/my-model]
policies:
  default: {attempts: 2, backoff: {initial: 1ms, max: 1ms}}
"""


@asynccontextmanager
async def vllm(folder: Path, text: str = ROUTES, **switches: Any) -> AsyncIterator[tuple[Router, Emulator]]:
    """A router for a YAML file, over the emulator that the file points at."""
    path = folder / "routes.yaml"
    path.write_text(dedent(text))
    async with emulate("openai", api_key="sk-mine", **switches) as emulator:
        emulator.reply(Answer(TEXT, THOUGHT))
        environ = {"MY_VLLM": emulator.base_url, "MY_KEY": "sk-mine"}
        async with Router.open(path, environ=environ) as router:
            yield router, emulator


async def ask(router: Router, *, stream: bool, model: str = "chat", **fields: Any) -> Completion:
    request = {"model": model, "messages": QUESTION, **fields}
    if not stream:
        return await router.complete(request)
    *_, last = [chunk async for chunk in router.stream(request)]
    assert last.completion is not None
    return last.completion


@both_ways
@pytest.mark.parametrize("model", ["chat", "my-model", "my-vllm/my-model"])
async def test_a_provider_by_yaml_alone(tmp_path, model, stream):
    """It is asked by route, by model and by deployment, and answers like any other."""
    async with vllm(tmp_path) as (router, emulator):
        answer = await ask(router, stream=stream, model=model)
        (received,), (invoice,) = emulator.requests, emulator.invoices

    assert (TEXT, THOUGHT, "stop") == (answer.content, answer.reasoning_content, answer.finish_reason)
    assert "my-vllm/my-model" == answer.deployment
    assert "/v1/chat/completions" == received.path
    streamed = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    assert {"model": "org/my-model", "messages": QUESTION, **streamed} == received.body
    assert (invoice.prompt, invoice.completion) == (answer.usage.prompt_tokens, answer.usage.completion_tokens)
    assert "estimated" == answer.cost.source
    assert answer.cost.usd == pytest.approx((invoice.prompt + 2 * invoice.completion) / 1e6)


@both_ways
async def test_its_own_words(tmp_path, stream):
    """Its word for the token limit, its ranges, its levels; what it has no word for is reported."""
    async with vllm(tmp_path) as (router, emulator):
        asked: dict[str, Any] = {
            "max_tokens": 5000,
            "top_k": 7,
            "repetition_penalty": 2.0,
            "stop": ["##"],
            "reasoning_effort": "high",
        }
        answer = await ask(router, stream=stream, **asked, user="u-1", n=1, parallel_tool_calls=True)
        body = emulator.requests[-1].body

    assert 4096 == body["max_completion_tokens"]  # the model's max_output is below the provider's range
    assert (7, 1.5, "##", "deep", "u-1") == (
        body["top_k"],
        body["repetition_penalty"],
        body["stop"],
        body["thinking_mode"],
        body["user"],
    )
    assert not {"max_tokens", "reasoning_effort", "thinking_budget"} & body.keys()
    assert [("max_tokens", "clamped", 4096), ("repetition_penalty", "clamped", 1.5)] == [
        (change.param, change.how, change.sent) for change in answer.changes
    ]


@pytest.mark.parametrize(
    ("asked", "sent", "how"),
    [
        ({"reasoning_effort": "none"}, {"thinking_mode": "off"}, []),
        ({"reasoning_effort": "minimal"}, {"thinking_mode": "light"}, ["nearest"]),
        ({"reasoning_effort": "max"}, {"thinking_mode": "deep"}, ["nearest"]),
        ({"thinking": True}, {"thinking_mode": "normal"}, []),
        ({"thinking": False}, {"thinking_mode": "off"}, []),
        ({"reasoning_budget": 100}, {"thinking_budget": 128}, ["clamped"]),
        ({"reasoning_budget": 1000, "reasoning_effort": "low"}, {"thinking_budget": 1000}, ["emulated"]),
        ({}, {}, ["defaulted"]),
    ],
)
async def test_its_own_levels(tmp_path, asked, sent, how):
    """All seven levels and a budget, in its words."""
    async with vllm(tmp_path) as (router, emulator):
        emulator.reply(Answer(TEXT))  # without reasoning: the emulator does not know this switch
        answer = await ask(router, stream=False, **asked)
        body = emulator.requests[-1].body

    assert {"model": "org/my-model", "messages": QUESTION, **sent} == body
    assert how == [change.how for change in answer.changes]


@both_ways
@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "both", "think"])
async def test_reasoning_wherever_it_comes_in(tmp_path, field, stream):
    """Its old name, its new one, both at once, or a `<think>` block in the content."""
    async with vllm(tmp_path, reasoning=field) as (router, _):
        answer = await ask(router, stream=stream)

    assert (TEXT, THOUGHT) == (answer.content, (answer.reasoning_content or "").strip())
    assert "<think>" not in (answer.reasoning_content or "")


async def test_a_think_block_that_the_prompt_has_opened():
    """`reading: {think: opened}`: the text starts inside the block; `never`: a tag is text."""
    said = {"choices": [{"message": {"content": "Hm.\n</think>\n\nYes."}, "finish_reason": "stop"}]}
    for think, content, reasoning in (
        ("opened", "Yes.", "Hm.\n"),
        ("never", "Hm.\n</think>\n\nYes.", None),
        ("leading", "Hm.\n</think>\n\nYes.", None),
    ):
        async with replay(Reply(json.dumps(said).encode())) as server:
            source = {
                "providers": {"x": {"base_url": server.base_url, "reading": {"think": think}}},
                "models": {"m": {"deployments": [{"provider": "x", "model": "m"}]}},
            }
            async with Router.open(source, environ={}) as router:
                answer = await ask(router, stream=False, model="x/m")

        assert (content, reasoning) == (answer.content, answer.reasoning_content)


async def test_thinking_in_chat_template_kwargs(tmp_path):
    """vLLM's and SGLang's own switch is nested, and other fields may stand beside it."""
    text = """
    providers:
      sglang:
        base_url: "${MY_VLLM}"
        api_key: "${MY_KEY}"
        always: {chat_template_kwargs: {add_vision_id: true}}
        params:
          reasoning_effort:
            to: chat_template_kwargs.enable_thinking
            levels: {none: false, minimal: true, low: true, medium: true, high: true, xhigh: true, max: true}
            exact: [none]
    models: {m: {deployments: [{provider: sglang, model: m}]}}
    """
    async with vllm(tmp_path, text) as (router, emulator):
        off = await ask(router, stream=False, model="m", thinking=False)
        on = await ask(router, stream=False, model="m", thinking=True, extra={"chat_template_kwargs": {"more": 1}})
        first, second = (received.body["chat_template_kwargs"] for received in emulator.requests)

    assert {"enable_thinking": False, "add_vision_id": True} == first
    assert {"enable_thinking": True, "add_vision_id": True, "more": 1} == second
    assert (None, THOUGHT) == (off.reasoning_content, on.reasoning_content)


@both_ways
async def test_tools_choices_and_log_probabilities(tmp_path, stream):
    """What OpenAI's API has needs no line of YAML."""
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    async with vllm(tmp_path) as (router, emulator):
        emulator.reply(Answer("", tool_calls=(ToolCall("c1", "f", '{"x": 1}'),)), times=1)
        called = await ask(router, stream=stream, tools=[tool], tool_choice="required", parallel_tool_calls=False)
        emulator.reply([Answer("a b"), Answer("c")], times=1)
        several = await ask(router, stream=stream, n=2, logprobs=True, top_logprobs=1, logit_bias={"5": 1})
        first, second = (received.body for received in emulator.requests)

    assert [("c1", "f", '{"x": 1}')] == [(call.id, call.name, call.arguments) for call in called.tool_calls]
    assert "tool_calls" == called.finish_reason
    assert ([tool], "required", False) == (first["tools"], first["tool_choice"], first["parallel_tool_calls"])
    assert ["a b", "c"] == [choice.content for choice in several.choices]
    assert [2, 1] == [len(choice.logprobs["content"]) for choice in several.choices]
    assert (2, True, 1, {"5": 1}) == tuple(second[name] for name in ("n", "logprobs", "top_logprobs", "logit_bias"))


async def test_what_is_not_openai_s_must_be_said_in_yaml(tmp_path):
    """Without a word for it, a sampling field of the open engines is reported as dropped, and not sent."""
    text = ROUTES.replace("      top_k: top_k\n", "").replace("      min_p: {range: [0, 1]}\n", "")
    async with vllm(tmp_path, text, unknown_fields="refuse") as (router, emulator):
        answer = await ask(router, stream=False, top_k=5, min_p=0.5)
        body = emulator.requests[-1].body

    assert not {"top_k", "min_p"} & body.keys()
    assert ["top_k", "min_p"] == [change.param for change in answer.changes if change.how == "dropped"]


@both_ways
async def test_it_takes_over_from_a_provider_of_the_catalog(tmp_path, stream):
    """A route mixes both: the first is out of order, the new one answers."""
    text = (
        ROUTES.replace("deployments: [my-vllm/my-model]", "deployments: [aiml/qwen3.6-35b-a3b, my-vllm/my-model]")
        + "  # the end\n"
    ).replace("providers:\n", 'providers:\n  aiml: {base_url: "${MY_AIML}", api_key: k}\n', 1)
    path = tmp_path / "routes.yaml"
    path.write_text(text)
    async with emulate("aiml") as broken, emulate("openai") as ours:
        broken.fail(Fault.server_error(), times=None)
        ours.reply(Answer(TEXT, THOUGHT))
        environ = {"MY_VLLM": ours.base_url, "MY_AIML": broken.base_url, "MY_KEY": "k"}
        async with Router.open(path, environ=environ) as router:
            answer = await ask(router, stream=stream)

    assert "my-vllm/my-model" == answer.deployment
    assert [("aiml/qwen3.6-35b-a3b", 500), ("my-vllm/my-model", 200)] == [
        (attempt.deployment, attempt.status) for attempt in answer.attempts
    ]


@pytest.mark.parametrize(
    ("account", "header"),
    [
        ({}, None),
        ({"api_key": ""}, None),
        ({"api_key": "sk-1"}, "authorization: bearer sk-1"),
        ({"api_key": "sk-1", "auth": {"header": "x-api-key", "scheme": ""}}, "x-api-key: sk-1"),
        ({"api_key": "sk-1", "auth": {"scheme": "Token"}}, "authorization: token sk-1"),
    ],
)
async def test_how_it_wants_its_key(account, header):
    """A local server wants none; others want it in a header or under a scheme of their own."""
    said = {"choices": [{"message": {"content": "Yes."}, "finish_reason": "stop"}], "usage": {"cost": 0.25}}
    async with replay(Reply(json.dumps(said).encode())) as server:
        source = {
            "providers": {"x": {"base_url": server.base_url, "headers": {"X-Title": "tests"}, **account}},
            "models": {"m": {"deployments": [{"provider": "x", "model": "m"}]}},
        }
        async with Router.open(source, environ={}) as router:
            answer = await ask(router, stream=False, model="x/m")
        (head,) = (head.lower() for head in server.heads)

    assert "Yes." == answer.content
    assert ("reported", 0.25) == (answer.cost.source, answer.cost.usd)  # `usage.cost`, as gateways say it
    assert "x-title: tests" in head
    assert (header in head.splitlines()) if header else ("authorization" not in head)
    assert "***" not in head


async def test_its_own_failures_and_endings():
    """`errors` and `reading.finish_reasons` say what its words mean."""
    row = {
        "errors": [{"code": "queue_*", "is": "rate_limited"}, {"status": 418, "text": "tea", "is": "overloaded"}],
        "reading": {"finish_reasons": {"eot": "stop", "gave_up": "failed"}, "cost": ["billing.usd"]},
    }
    replies = {
        "queue": Reply(b'{"error": {"code": "queue_full", "message": "later"}}', 400),
        "tea": Reply(b"I am out of tea", 418, "text/plain"),
        "gave_up": Reply(b'{"choices":[{"message":{"content":"x"},"finish_reason":"gave_up"}]}'),
        "eot": Reply(b'{"choices":[{"message":{"content":"x"},"finish_reason":"eot"}],"billing":{"usd":"0.5"}}'),
    }
    found = {}
    for name, reply in replies.items():
        async with replay(reply) as server:
            source = {
                "providers": {"x": {"base_url": server.base_url, **row}},
                "models": {"m": {"deployments": [{"provider": "x", "model": "m"}]}},
                "policies": {"default": {"attempts": 1}},
            }
            async with Router.open(source, environ={}) as router:
                try:
                    answer = await ask(router, stream=False, model="x/m")
                    found[name] = f"{answer.finish_reason} {answer.cost.usd}"
                except ExceptionGroup as group:
                    found[name] = type(group.exceptions[0]).__name__

    assert {"queue": "RateLimited", "tea": "Overloaded", "gave_up": "GenerationAborted", "eot": "stop 0.5"} == found


async def test_its_row_is_held_to_the_strictness_of_code(tmp_path):
    """A bare off, a hole in the levels, a word that is none: each with its line and what would have been right."""
    for wrong, line, words in (
        (('none: "off"', "none: off"), 14, ("off", "boolean", "quotes")),
        (("xhigh: deep, ", ""), 14, ("xhigh",)),
        (("top_k: top_k", "topk: top_k"), 8, ("topk", "top_k")),
        (("max_items: 2", "max_item: 2"), 11, ("max_item", "max_items")),
        (("exact: [none, low", "exact: [none, lowe"), 15, ("low",)),
        (("${MY_KEY}", "${MY_KEI}"), 5, ("MY_KEI", "MY_KEY")),
    ):
        path = tmp_path / "routes.yaml"
        path.write_text(ROUTES.replace(*wrong))
        with pytest.raises(ConfigError) as caught:
            Router.open(path, environ={"MY_VLLM": "http://localhost:1/v1", "MY_KEY": "k"})

        assert line == caught.value.line, str(caught.value)
        for word in words:
            assert word in str(caught.value)


async def test_what_it_cannot_keep_excludes_it(tmp_path):
    """Its row alone decides: more stop sequences than it takes, a level of which it says that nothing is off."""
    text = ROUTES.replace('none: "off"', "none: light").replace("exact: [none, ", "exact: [")
    async with vllm(tmp_path, text) as (router, emulator):
        for fields in ({"stop": ["a", "b", "c"]}, {"thinking": False}):
            with pytest.raises(NoDeployment, match="my-vllm/my-model"):
                await ask(router, stream=False, **fields)

        assert [] == emulator.requests
