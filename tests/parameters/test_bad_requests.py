"""What cannot mean anything is refused with a sentence that says what would have been right, and nothing is sent.

Every request here goes to a route over all four emulators, whole, streamed and planned: none of them ever hears of it.
"""

from __future__ import annotations

from collections import UserDict
from typing import Any

import pytest

from router import Request
from router.config import Config
from router.errors import InvalidRequest, NoDeployment, RouterError, UnknownModel
from tests.parameters.table import MODELS

USER = {"role": "user", "content": "Hello"}
INF, NAN = float("inf"), float("nan")
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
ASKS = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "22°C"}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}


async def refusals(
    lab: Any, request: Any, expected: type[RouterError], config: Config | None = None
) -> list[RouterError]:
    """What each way to ask raises; after that no emulator has heard anything."""
    errors: list[RouterError] = []
    async with lab.router(config) as router:
        with pytest.raises(expected) as caught:
            await router.complete(request)
        errors.append(caught.value)
        with pytest.raises(expected) as caught:
            async for _ in router.stream(request):
                pass
        errors.append(caught.value)
        if expected is not NoDeployment:
            with pytest.raises(expected) as caught:
                router.plan(request)
            errors.append(caught.value)
    assert [] == lab.arrived()
    return errors


# The fields that are wrong, and what the message must say.
BAD: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    # an unknown field, with the nearest right name
    "temprature": ({"temprature": 1}, ("temprature", "temperature", "extra")),
    "top-p": ({"top-p": 1}, ("top-p", "top_p")),
    "maxTokens": ({"maxTokens": 1}, ("maxTokens", "max_tokens")),
    "reasoning": ({"reasoning": {"effort": "low"}}, ("reasoning", "reasoning_effort")),
    "of a message": ({"messages": [{**USER, "contnt": "x"}]}, ("messages.0", "contnt", "content")),
    "of a part": ({"messages": [{"role": "user", "content": [{"type": "text", "txt": "x"}]}]}, ("messages.0", "text")),
    "of a tool": ({"tools": [{**TOOL, "function": {"name": "f", "paramters": {}}}]}, ("paramters", "parameters")),
    "of a format": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "shcema": {}}}},
        ("response_format", "schema"),
    ),
    "of fidelity": ({"fidelity": {"sede": "strict"}}, ("fidelity", "sede", "seed")),
    # two spellings that disagree
    "max tokens": ({"max_tokens": 1, "max_completion_tokens": 2}, ("max_tokens=1", "max_completion_tokens=2")),
    "budgets": ({"reasoning_budget": 1, "thinking_budget": 2}, ("reasoning_budget=1", "thinking_budget=2")),
    "on and none": ({"thinking": True, "reasoning_effort": "none"}, ("thinking=True", "'none'")),
    "off and low": ({"enable_thinking": False, "reasoning_effort": "low"}, ("enable_thinking=False", "'low'")),
    "on and off": ({"thinking": True, "enable_thinking": False}, ("thinking", "enable_thinking")),
    "off and on": ({"thinking": False, "enable_thinking": True}, ("thinking", "enable_thinking")),
    "off with a budget": ({"thinking": False, "thinking_budget": 2000}, ("disagree",)),
    "none with a budget": ({"reasoning_effort": "none", "reasoning_budget": 2000}, ("disagree",)),
    # messages
    "no messages": ({"messages": []}, ("messages", "at least one")),
    "messages of another kind": ({"messages": "Hello"}, ("messages",)),
    "messages are null": ({"messages": None}, ("messages",)),
    "a message of another kind": ({"messages": ["Hello"]}, ("messages.0",)),
    "no role": ({"messages": [{"content": "x"}]}, ("messages.0.role", "required")),
    "an unknown role": ({"messages": [{"role": "usr", "content": "x"}]}, ("messages.0.role", "user")),
    "no content": ({"messages": [{"role": "user"}]}, ("messages[0]", "content")),
    "null content": ({"messages": [{"role": "system", "content": None}]}, ("messages[0]", "content")),
    "no parts": ({"messages": [{"role": "user", "content": []}]}, ("messages[0]", "content")),
    "content of another kind": ({"messages": [{"role": "user", "content": 5}]}, ("messages.0.content",)),
    "an unknown part": ({"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, ("messages.0", "audio")),
    "a picture without url": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": ""}}]}]},
        ("messages.0", "url"),
    ),
    "a lone surrogate": ({"messages": [{"role": "user", "content": "\ud800"}]}, ("messages.0",)),
    # roles in an impossible order
    "a result of nothing": ({"messages": [RESULT]}, ("messages[0]", "tool_call")),
    "a result of another call": ({"messages": [USER, ASKS, {**RESULT, "tool_call_id": "c2"}]}, ("messages[2]", "c2")),
    "a result without id": ({"messages": [USER, ASKS, {"role": "tool", "content": "x"}]}, ("messages[2]",)),
    "a result twice": ({"messages": [USER, ASKS, RESULT, RESULT]}, ("messages[3]",)),
    "a call unanswered": ({"messages": [USER, ASKS]}, ("c1",)),
    "a call passed over": ({"messages": [USER, ASKS, USER]}, ("messages[2]", "c1")),
    "a call by the user": ({"messages": [{**ASKS, "role": "user"}]}, ("messages[0]", "assistant")),
    "a call id twice": ({"messages": [USER, {**ASKS, "tool_calls": [CALL, CALL]}, RESULT]}, ("messages[1]", "c1")),
    "a picture by the assistant": ({"messages": [USER, {"role": "assistant", "content": [IMAGE]}]}, ("messages[1]",)),
    # numbers that are none, and numbers out of any range
    **{
        f"{name}={value}": ({name: value}, (name,))
        for name in (
            "temperature",
            "top_p",
            "min_p",
            "presence_penalty",
            "frequency_penalty",
            "repetition_penalty",
            "seed",
            "max_tokens",
        )
        for value in (NAN, INF, -INF)
    },
    "a nan of logit_bias": ({"logit_bias": {"5": NAN}}, ("logit_bias",)),
    "a nan in extra": ({"extra": {"a": [NAN]}}, ("extra",)),
    "an infinity in a tool": (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"maximum": INF}}}]},
        ("tools",),
    ),
    "a nan in a schema": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"const": NAN}}}},
        ("response_format",),
    ),
    "temperature=-0.1": ({"temperature": -0.1}, ("temperature",)),
    "top_p=1.01": ({"top_p": 1.01}, ("top_p",)),
    "top_p=-0.01": ({"top_p": -0.01}, ("top_p",)),
    "min_p=1.01": ({"min_p": 1.01}, ("min_p",)),
    "top_k=0": ({"top_k": 0}, ("top_k",)),
    "max_tokens=0": ({"max_tokens": 0}, ("max_tokens",)),
    "max_completion_tokens=0": ({"max_completion_tokens": 0}, ("max_tokens",)),
    "n=0": ({"n": 0}, ("n:",)),
    "thinking_budget=0": ({"thinking_budget": 0}, ("reasoning_budget",)),
    "repetition_penalty=-0.1": ({"repetition_penalty": -0.1}, ("repetition_penalty",)),
    "logit_bias=101": ({"logit_bias": {"5": 101}}, ("logit_bias",)),
    "top_logprobs=-1": ({"logprobs": True, "top_logprobs": -1}, ("top_logprobs",)),
    # wrong types
    **{
        f"{name}={value!r}": ({name: value}, (name,))
        for name, value in {
            "max_tokens": "100",
            "temperature": "0.7",
            "top_p": True,
            "top_k": 20.0,
            "seed": 1.5,
            "n": True,
            "stop": 5,
            "logprobs": 1,
            "tools": {"name": "f"},
            "tool_choice": "maybe",
            "parallel_tool_calls": "yes",
            "response_format": "json",
            "user": 7,
            "extra": [1],
            "fidelity": "lax",
            "thinking": "on",
            "enable_thinking": 1,
            "reasoning_effort": True,
            "logit_bias": {"5": "1"},
        }.items()
    },
    "max_tokens is a boolean": ({"max_tokens": True}, ("max_tokens",)),
    "reasoning_effort=hihg": ({"reasoning_effort": "hihg"}, ("reasoning_effort", "high")),
    "a stop in a list is a number": ({"stop": ["a", 5]}, ("stop",)),
    "an empty stop": ({"stop": ["a", ""]}, ("stop", "empty")),
    "something that is no JSON, in extra": ({"extra": {"a": object()}}, ("extra",)),
    "something that is no JSON, in a tool": (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"a": object()}}}]},
        ("tools",),
    ),
    # what contradicts itself
    "top_logprobs without logprobs": ({"top_logprobs": 2}, ("top_logprobs", "logprobs=True")),
    "a choice without tools": ({"tool_choice": "required"}, ("tool_choice", "tools")),
    "a choice of another tool": (
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "get_wether"}}},
        ("get_wether", "get_weather"),
    ),
    "json_schema without a schema": ({"response_format": {"type": "json_schema"}}, ("response_format", "schema")),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_request_is_refused(name, lab):
    """With the field and the right word, before anything is sent."""
    fields, words = BAD[name]
    for error in await refusals(lab, {"model": "chat", "messages": [USER], **fields}, InvalidRequest):
        for word in words:
            assert word in str(error)
        assert len(str(error)) < 600  # a sentence, not a wall of JSON
        assert "pydantic" not in str(error)


@pytest.mark.parametrize("name", ["temprature", "max tokens", "no messages", "a result of nothing", "temperature=nan"])
def test_a_bad_request_is_refused_as_it_is_made(name):
    """A `Request` in Python is as strict as a mapping."""
    fields, words = BAD[name]
    with pytest.raises(InvalidRequest) as caught:
        Request(**{"model": "chat", "messages": [USER], **fields})

    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("request_", [None, 5, "Hello", [("model", "chat")], [USER]], ids=repr)
async def test_what_is_no_request_at_all_is_refused(request_, lab):
    """A request is a Request or a mapping."""
    for error in await refusals(lab, request_, InvalidRequest):
        assert "mapping" in str(error)


@pytest.mark.parametrize("missing", ["model", "messages"])
async def test_what_must_be_there_is_named(missing, lab):
    """Both are required."""
    request = {"model": "chat", "messages": [USER]}
    del request[missing]
    for error in await refusals(lab, request, InvalidRequest):
        assert missing in str(error)
        assert "required" in str(error)


async def test_a_misspelt_name_comes_before_what_is_missing_for_it(lab):
    """Else the sentence would ask for what its reader sees written there."""
    for error in await refusals(lab, {"model": "chat", "mesages": [USER]}, InvalidRequest):
        assert "unknown field 'mesages'; did you mean 'messages'?" in str(error)


async def test_any_mapping_is_a_request(lab):
    """Also one that is no dict."""
    async with lab.router() as router:
        assert (await router.complete(UserDict({"model": "chat", "messages": [USER]}))).content


@pytest.mark.parametrize(
    ("model", "near"),
    [
        ("qwen3.5-27", "qwen3.5-27b"),
        ("qwen-3.5-27b", "qwen3.5-27b"),
        ("mixlayer/qwen3.5-27B", "mixlayer/qwen3.5-27b"),
        ("mixlayer", "mixlayer/"),
        ("cht", "chat"),
        ("qwen/qwen3.5-27b", "qwen3.5-27b"),
        ("gpt-4o", "known"),
        (" ", "known"),
    ],
)
async def test_a_model_that_nobody_knows(model, near, lab):
    """With near names, else with those that there are."""
    for error in await refusals(lab, {"model": model, "messages": [USER]}, UnknownModel):
        assert repr(model) in str(error)
        assert near in str(error).replace(repr(model), "")
        assert isinstance(error, InvalidRequest)


@pytest.mark.parametrize("model", ["", None, 5, ["chat"]], ids=repr)
async def test_a_model_that_is_no_name(model, lab):
    """Refused as a field, not looked up."""
    for error in await refusals(lab, {"model": model, "messages": [USER]}, InvalidRequest):
        assert "model" in str(error)


async def test_a_message_of_20_mb(lab):
    """No model of the pages holds five million tokens: each deployment is named with its context, and nothing is sent."""
    request = {"model": "chat", "messages": [{"role": "user", "content": "abcd " * 2**22}]}
    for error in await refusals(lab, request, NoDeployment):
        for name in MODELS.values():
            assert name in str(error)
        assert "tokens" in str(error)
        assert len(str(error)) < 2000


async def test_no_key_for_any_deployment(lab):
    """Each deployment is named, with the variable that would hold its key."""
    for error in await refusals(lab, {"model": "chat", "messages": [USER]}, NoDeployment, lab.load({"PATH": "/bin"})):
        for name, variable in (
            ("mixlayer/qwen3.5-27b", "MIXLAYER_API_KEY"),
            ("runware/qwen3.5-27b", "RUNWARE_API_KEY"),
            ("empiriolabs/qwen3.5-4b", "EMPIRIOLABS_API_KEY"),
            ("aiml/qwen3.6-35b-a3b", "AIML_API_KEY"),
        ):
            (line,) = [line for line in str(error).splitlines() if name in line]
            assert variable in line


async def test_a_key_for_one_deployment_is_enough(lab):
    """The others are left out, and never asked."""
    async with lab.router(lab.load({"RUNWARE_API_KEY": "sk-emulated"})) as router:
        answer = await router.complete({"model": "chat", "messages": [USER]})

    assert "runware/qwen3.5-27b" == answer.deployment
    assert ["runware"] == [name for name, emulator in lab.emulators.items() if emulator.requests]


async def test_no_deployment_that_can_say_it(lab):
    """Two answers with log probabilities and a picture: each deployment is named, with what it cannot say."""
    request = {
        "model": "chat",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Look."}, IMAGE]}],
        "n": 2,
        "logprobs": True,
    }
    for error in await refusals(lab, request, NoDeployment):
        for name in MODELS.values():
            (line,) = [line for line in str(error).splitlines() if name in line]
            assert "n:" in line or "logprobs:" in line


async def test_a_refused_request_spoils_nothing(lab):
    """The request after it is served."""
    async with lab.router() as router:
        for fields, _words in (BAD["temprature"], BAD["a nan in extra"], BAD["something that is no JSON, in extra"]):
            with pytest.raises(RouterError):
                await router.complete({"model": "chat", "messages": [USER], **fields})
        answer = await router.complete({"model": "chat", "messages": [USER]})

        assert "You said: Hello" == answer.content
        assert 1 == len(answer.attempts)
