"""The generic OpenAI-compatible emulator."""

from __future__ import annotations

import pytest

from router.lab import Answer, emulate
from tests.lab.talk import DONE, KEY, ask, get

REFUSED = [
    ({"temperature": 2.5}, "invalid_value"),
    ({"n": 0}, "invalid_value"),
    ({"stop": ["a"] * 5}, "invalid_value"),
    ({"top_logprobs": 2}, "invalid_value"),
    ({"stream_options": {"include_usage": True}}, "invalid_value"),
    ({"messages": "hello"}, "invalid_type"),
    ({"messages": None}, "missing_required_parameter"),
]


@pytest.mark.parametrize(("fields", "code"), REFUSED, ids=str)
async def test_what_it_refuses(fields, code):
    """In OpenAI's envelope."""
    async with emulate("openai") as emulator:
        reply = await ask(emulator, **fields)

    assert (400, code) == (reply.status, reply.json["error"]["code"])
    assert {"message", "type", "param", "code"} == set(reply.json["error"])


async def test_any_model_unless_some_are_named():
    """An unknown one is then a 404."""
    async with emulate("openai") as anything:
        assert 200 == (await ask(anything, model="whatever", top_k=1, nonsense=2)).status
        models = await get(anything.base_url + "/models", headers=KEY)
    async with emulate("openai", models=dict.fromkeys(["one"], next(iter(_models())))) as one:
        other = await ask(one, model="two")

    assert ["emulated"] == [row["id"] for row in models.json["data"]]
    assert (404, "model_not_found") == (other.status, other.json["error"]["code"])


def _models():
    from router.lab.emulators import Model

    yield Model(1, 1)


async def test_several_choices_in_both_modes():
    """One answer for all, or one for each."""
    async with emulate("openai", reasoning="none") as emulator:
        emulator.reply([Answer("a"), Answer("b")], times=2)
        whole = await ask(emulator, n=2)
        streamed = await ask(emulator, n=2, stream=True)

    assert ["a", "b"] == [choice["message"]["content"] for choice in whole.json["choices"]]
    said = {0: "", 1: ""}
    for event in streamed.events[:-1]:
        for choice in event["choices"]:
            said[choice["index"]] += choice["delta"].get("content") or ""
    assert {0: "a", 1: "b"} == said
    assert 2 == emulator.invoices[0].completion


@pytest.mark.parametrize(
    ("switch", "names"),
    [
        ("reasoning_content", ["reasoning_content"]),
        ("reasoning", ["reasoning"]),
        ("both", ["reasoning_content", "reasoning"]),
        ("think", []),
        ("none", []),
    ],
)
async def test_where_the_reasoning_is(switch, names):
    """In one field, in another, in both, inline, or nowhere."""
    async with emulate("openai", reasoning=switch) as emulator:
        emulator.reply(Answer("391", reasoning_content="Hm."))
        whole, streamed = await ask(emulator), await ask(emulator, stream=True)

    message = whole.json["choices"][0]["message"]
    assert names == [name for name in ("reasoning_content", "reasoning") if name in message]
    assert all("Hm." == streamed.joined(name) for name in names)
    expected = "<think>\nHm.\n</think>\n\n391" if switch == "think" else "391"
    assert expected == message["content"] == streamed.joined("content")


@pytest.mark.parametrize(
    "off",
    [{"enable_thinking": False}, {"chat_template_kwargs": {"enable_thinking": False}}, {"reasoning_effort": "none"}],
    ids=str,
)
async def test_thinking_can_be_turned_off(off):
    """In any of three words."""
    async with emulate("openai") as emulator:
        reply = await ask(emulator, **off)

    assert "reasoning_content" not in reply.json["choices"][0]["message"]


async def test_a_usage_chunk_only_when_asked_for():
    """By OpenAI's rule, before [DONE]."""
    async with emulate("openai") as emulator:
        plain = await ask(emulator, stream=True)
        asked = await ask(emulator, stream=True, stream_options={"include_usage": True})

    assert not any("usage" in event for event in plain.events[:-1])
    assert ([], DONE) == (asked.events[-2]["choices"], asked.events[-1])
