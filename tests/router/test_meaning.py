"""The same meaning or not used: what refusals teach, the makers' advice, histories that move, prompts that do not fit."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from providers.types import Message
from router import Request, Router
from router.errors import BadRequest, NoDeployment
from router.events import Learned
from router.lab import Answer, Fault, emulate

RUNWARE = "runware/qwen3.5-27b"
ASK = [{"role": "user", "content": "17 * 23?"}]
KEY = "k-0123456789"


def at(emulator, **row):
    return {"providers": {emulator.name: {"base_url": emulator.base_url, "api_key": KEY, **row}}}


def told(changes):
    return [(change.param, change.how) for change in changes if change.how != "defaulted"]


# -- learning from refusals -------------------------------------------------------------------------------------------


async def test_the_words_that_a_provider_would_have_taken_are_learned(caplog):
    """Runware lists `allowedValues`: the one word that is left over is the one for off. Told once, with the YAML."""
    events: list[object] = []
    async with (
        emulate("runware", thinking_levels=("none", "high")) as emulator,
        Router.open(at(emulator), hooks=[events.append]) as router,
    ):
        request = Request(model=RUNWARE, messages=ASK, reasoning_effort="none")
        with caplog.at_level(logging.WARNING, "router"), pytest.raises(BadRequest) as caught:
            await router.complete(request)
        answers = [await router.complete(request) for _ in range(2)]

    learned = [event.fact for event in events if isinstance(event, Learned)]

    assert ("settings.thinkingLevel", ("none", "high")) == (caught.value.parameter, caught.value.allowed)
    assert ["none", "none"] == [one.body[0]["settings"]["thinkingLevel"] for one in emulator.requests[1:]]
    assert [[], []] == [told(answer.changes) for answer in answers]
    assert [(RUNWARE, "reasoning_effort")] == [(fact.deployment, fact.param) for fact in learned]
    assert "none: 'none'" in learned[0].fix
    assert 1 == sum("does not take reasoning_effort" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("Unsupported parameter: 'seed'", "seed"),
        ("Unrecognized key(s) in object: 'top_k'", "top_k"),
        ("Unknown field 'stop'", "stop"),
        ("Invalid value for 'seed': must be positive", None),
        ("'seed' looks odd to us", None),
        ("Unsupported parameter: 'colour'", None),
    ],
)
async def test_only_a_plain_refusal_teaches(message, param):
    """What was refused is not sent again, and reported; what was not said plainly teaches nothing."""
    async with emulate("mixlayer") as emulator, Router.open(at(emulator)) as router:
        emulator.fail(Fault.status(400, body={"error": {"message": message, "type": "invalid_request_error"}}))
        request = {"model": "mixlayer/qwen3.5-27b", "messages": ASK, "seed": 7, "top_k": 5, "stop": ["x"],
                   "fidelity": "best_effort"}  # fmt: skip
        with pytest.raises(BadRequest):
            await router.complete(request)
        answer = await router.complete(request)

    sent = emulator.requests[-1].body

    assert ([(param, "dropped")] if param else []) == told(answer.changes)
    assert {"seed", "top_k", "stop"} - {param} == {"seed", "top_k", "stop"} & sent.keys()


# -- the makers' advice -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "temperature", "presence"),
    [
        ({"sampling": "recommended"}, 1.0, 0.0),
        ({"sampling": "recommended", "reasoning_effort": "high"}, 1.0, 0.0),
        ({"sampling": "recommended", "reasoning_effort": "none"}, 0.7, 1.5),
        ({"sampling": "precise_coding"}, 0.6, 0.0),
        ({"sampling": "instruct", "temperature": 0.1}, 0.1, 1.5),
        ({}, None, None),
    ],
)
@pytest.mark.parametrize("where", ["request", "route"])
def test_the_advice_fits_the_mode_and_comes_under_what_is_asked(asked, temperature, presence, where):
    """On the request or on the route; reported, and never a reason to leave a deployment."""
    asked = dict(asked)
    sampling = asked.pop("sampling", None)
    route = {
        "deployments": ["mixlayer/qwen3.5-27b"],
        **({"sampling": sampling} if sampling and where == "route" else {}),
    }
    router = Router.open({"routes": {"chat": route}}, environ={"MIXLAYER_API_KEY": KEY})
    if where == "request" and sampling:
        asked["sampling"] = sampling
    (candidate,) = router.plan({"model": "chat", "messages": ASK, **asked}).candidates
    body = candidate.call.http.json
    advised = {change.param for change in candidate.call.changes if "advice" in change.why}

    assert (temperature, presence) == (body.get("temperature"), body.get("presence_penalty"))
    assert "min_p" not in body
    assert ("temperature" in advised) is (sampling is not None and "temperature" not in asked)
    assert [] == [change for change in told(candidate.call.changes) if change[0] != "reasoning_effort"]


# -- histories that move ----------------------------------------------------------------------------------------------

CALLS: list[dict[str, Any]] = [
    {"role": "user", "content": "Weather in Tokyo?"},
    {
        "role": "assistant",
        "content": None,
        "reasoning_content": "I need the tool.",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Tokyo"}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "22 degrees"},
]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


async def test_an_answer_goes_back_into_the_conversation():
    """`answer.message` is a turn; its reasoning is left out where the dialect strips it, and that is reported."""
    async with emulate("mixlayer") as emulator, Router.open(at(emulator)) as router:
        emulator.reply(Answer(content="391", reasoning_content="17 * 20 and 17 * 3"))
        first = await router.complete({"model": "mixlayer/qwen3.5-27b", "messages": ASK, "thinking": True})
        turns = [*ASK, first.message, {"role": "user", "content": "And 18 * 23?"}]
        second = await router.complete({"model": "mixlayer/qwen3.5-27b", "messages": turns, "thinking": True})

    assert {"role": "assistant", "content": "391"} == emulator.requests[-1].body["messages"][1]
    assert [("reasoning_content", "dropped")] == told(second.changes)


async def test_a_dialect_may_want_the_reasoning_back():
    """One line of YAML."""
    turn = Message(role="assistant", content="391", reasoning_content="17 * 20 and 17 * 3")
    asked = {"model": "mixlayer/qwen3.5-27b", "messages": [*ASK, turn, *ASK], "thinking": True}
    async with (
        emulate("mixlayer") as emulator,
        Router.open(at(emulator, history={"reasoning": "replay"})) as router,
    ):
        answer = await router.complete(asked)

    assert "17 * 20 and 17 * 3" == emulator.requests[-1].body["messages"][1]["reasoning_content"]
    assert [] == told(answer.changes)


async def test_tool_calls_are_said_in_each_providers_shape():
    """OpenAI's at Mixlayer, its own at Runware; and where tools have no word the deployment is not used."""
    words = {"tools": "tools", "tool_choice": "toolChoice"}
    async with emulate("mixlayer") as chat, emulate("runware", tools=True) as tasks:
        async with Router.open(at(chat)) as router:
            await router.complete({"model": "mixlayer/qwen3.5-27b", "messages": CALLS, "tools": [TOOL]})
        async with Router.open(at(tasks, params=words)) as router:
            await router.complete({"model": RUNWARE, "messages": CALLS, "tools": [TOOL]})
        async with Router.open(at(tasks)) as router:
            with pytest.raises(NoDeployment, match="tool"):
                await router.complete({"model": RUNWARE, "messages": CALLS})
    task = tasks.requests[-1].body[0]

    assert CALLS[1]["tool_calls"] == chat.requests[-1].body["messages"][1]["tool_calls"]
    assert {"id": "c1", "name": "weather", "input": {"city": "Tokyo"}} == task["messages"][1]["tools"][0]
    assert {"role": "tool", "id": "c1", "content": "22 degrees"} == task["messages"][2]
    assert {"type": "function", "name": "weather", "schema": {"type": "object", "properties": {}}} == task["tools"][0]


def test_several_system_messages_are_one_where_only_one_is_read():
    """The leading ones without a change of meaning; one amid the conversation is reported."""
    router = Router.open(environ={"MIXLAYER_API_KEY": KEY})
    brief, german = {"role": "system", "content": "Be brief."}, {"role": "system", "content": "In German."}
    for messages, changes in [([brief, german, *ASK], []), ([brief, *ASK, german, *ASK], [("messages", "emulated")])]:
        (candidate,) = router.plan(
            {"model": "mixlayer/qwen3.5-27b", "messages": messages, "thinking": False}
        ).candidates
        turns = candidate.call.http.json["messages"]

        assert {"role": "system", "content": "Be brief.\n\nIn German."} == turns[0]
        assert 1 == sum(turn["role"] == "system" for turn in turns)
        assert changes == told(candidate.call.changes)


# -- prompts that do not fit ------------------------------------------------------------------------------------------


def test_a_prompt_that_cannot_fit_is_not_sent():
    """By a rule of thumb with 30 % of margin, or by the tokenizer that is plugged in; `max_tokens` needs room too."""
    models = {"small": {"deployments": [{"provider": "p", "model": "m", "context": 1000, "max_output": 600}]}}
    file = {"providers": {"p": {"base_url": "http://127.0.0.1:9/v1"}}, "models": models}

    def fits(text, tokenizer=None, **fields):
        router = Router.open(file, **({"tokenizer": tokenizer} if tokenizer else {}))
        return bool(
            router.plan({"model": "small", "messages": [{"role": "user", "content": text}], **fields}).candidates
        )

    assert fits("x" * 4000)
    assert fits("x" * 5000)
    assert not fits("x" * 6000)
    assert not fits("漢" * 2500)
    assert not fits("x" * 4000, max_tokens=600)
    assert not fits("x y z", tokenizer=lambda text: 10_000)
    assert fits("x" * 6000, tokenizer=lambda text: 10)


# -- steps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "sent", "how"),
    [(0.6, 0.6, None), (0.29, 0.29, None), (0.123, 0.12, "nearest"), (0.1 + 0.2, 0.1 + 0.2, None), (2.5, 2, "clamped")],
)
def test_a_value_between_two_steps_is_rounded_and_reported(asked, sent, how):
    """Runware's page gives a step of 0.01; what only a float cannot say is no change."""
    router = Router.open(environ={"RUNWARE_API_KEY": KEY})
    (candidate,) = router.plan({"model": RUNWARE, "messages": ASK, "temperature": asked}).candidates

    assert sent == candidate.call.http.json[0]["settings"]["temperature"]
    assert ([("temperature", how)] if how else []) == told(candidate.call.changes)
