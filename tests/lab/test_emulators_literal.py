"""The emulators against the documents' literal payloads: what they print is taken, and what they print is what comes.

Each case names the document and its section. An emulated model is told to say what the document's did, and the answer has
the same fields of the same types and, but for ids, times and the seed, the same values. Of a stream neighbouring events of
one shape count as one: how text is cut into pieces is nobody's promise.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from router.lab import Answer, Fault, ToolCall, emulate
from router.lab.emulators import Shape
from tests.lab.talk import DONE, KEY, UUID, Reply, ask, body_for, read, send

WIRE = Path(__file__).parents[1] / "wire"
FREE = ("id", "created", "seed", "taskUUID", "requestId", "timestamp", "connectionSessionUUID")
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
WEATHER = ToolCall("call_abc", "get_weather", '{"city":"Tokyo"}')
ON_PAGE = {"model": "qwen/qwen3.5-4b-free", "thinking": False}
OFF = {"settings": {"thinkingLevel": "off"}}


@dataclass(frozen=True)
class Printed:
    """A payload as *where* prints it, in tests/wire/*file*, and how the emulator is brought to give it.

    *free*: fields whose value is the document's own. *more*: fields that stand beside those that the document shows.
    """

    where: str
    file: str
    fields: dict[str, Any] = field(default_factory=dict)
    answer: Any = None
    switches: dict[str, Any] = field(default_factory=dict)
    fault: Fault | None = None
    free: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    status: int = 200
    headers: Any = None

    @property
    def provider(self) -> str:
        return self.file.partition("/")[0]

    @property
    def raw(self) -> bytes:
        return (WIRE / self.file).read_bytes()

    async def given(self, *, stream: bool) -> Reply:
        """What the emulator answers."""
        async with emulate(self.provider, **self.switches) as emulator:
            if self.answer is not None:
                emulator.reply(self.answer)
            if self.fault is not None:
                emulator.fail(self.fault)
            fields = {"stream": True, **self.fields} if stream else self.fields
            return await send(emulator, body_for(emulator, **fields), headers=self.headers)


def differences(printed: Any, given: Any, case: Printed, path: str = "") -> list[str]:
    """Where *given* is not what was *printed*."""
    if isinstance(printed, dict) and isinstance(given, dict):
        missing, more = printed.keys() - given.keys(), given.keys() - printed.keys() - set(case.more)
        found = [f"{path}.{name} is missing" for name in missing] + [f"{path}.{name} is not printed" for name in more]
        for name in printed.keys() & given.keys():
            if name in (*FREE, *case.free):
                found += [] if alike(printed[name], given[name]) else [f"{path}.{name} is {given[name]!r}"]
            else:
                found += differences(printed[name], given[name], case, f"{path}.{name}")
        return found
    if isinstance(printed, list) and isinstance(given, list):
        if len(printed) != len(given):
            return [f"{path} has {len(given)} items, not {len(printed)}"]
        pairs = enumerate(zip(printed, given, strict=True))
        return [what for n, (one, other) in pairs for what in differences(one, other, case, f"{path}[{n}]")]
    return [] if printed == given and alike(printed, given) else [f"{path} is {given!r}, not {printed!r}"]


def alike(one: Any, other: Any) -> bool:
    """Whether two values have one type of JSON's; an integer is a number too."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other))
    return numbers or type(one) is type(other)


# -- answers ----------------------------------------------------------------------------------------------------------

PAGE = json.loads((WIRE / "aiml/answer.json").read_text())["choices"][0]["message"]
SCHEMA = json.loads((WIRE / "aiml/schema-example.json").read_text())["choices"][0]["message"]
HAIKU = "Ocean breathes the dawn"
COUNTED: dict[str, Any] = {"prompt_tokens": 14, "completion_tokens": 17}
TASKED: dict[str, Any] = {"prompt_tokens": 10, "completion_tokens": 5, "reasoning_tokens": 0}
ANSWERS = [
    Printed(
        "wire-protocols.md 2.3, real (M1)",
        "mixlayer/answer.json",
        ON_PAGE,
        Answer("Chihuahuas have the largest brain-to-body ratio of any dog breed.", **COUNTED),
    ),
    Printed(
        "mixlayer-reasoning.txt, Reading reasoning_content",
        "mixlayer/answer-reasoning.json",
        {"thinking": True},
        Answer("The answer is 42.", "Let me work through this. The user is asking about..."),
        more=("id", "object", "created", "model", "usage"),  # it shows `choices` only
    ),
    *(
        Printed(
            "wire-protocols.md 2.3, tool call",
            f"mixlayer/answer-tools-{name}.json",
            {"thinking": False, "tools": [TOOL]},
            Answer(tool_calls=(WEATHER,), **COUNTED),
            {"empty_tool_content": "" if name == "empty" else name},
        )
        for name in ("empty", "null", "absent")
    ),
    Printed(
        "wire-protocols.md 2.3, cached input",
        "mixlayer/answer-cached.json",
        {"thinking": False},
        Answer("Hi.", finish_reason="length", prompt_tokens=100, completion_tokens=2, cached_tokens=64),
    ),
    Printed(
        "wire-protocols.md 4.3, constructed",
        "empiriolabs/answer.json",
        {},
        Answer("Hi!", "The user greets me.", prompt_tokens=20, completion_tokens=30, reasoning_tokens=18),
        more=("matched_stop",),  # SGLang's
    ),
    Printed(
        "aiml-qwen3.6-35b-a3b.txt, the answer at its end",
        "aiml/answer.json",
        {},
        Answer(
            PAGE["content"],
            PAGE["reasoning_content"],
            prompt_tokens=19,
            completion_tokens=1197,
            reasoning_tokens=840,
        ),
    ),
    Printed(
        "aiml-qwen3.6-35b-a3b.txt, the example of its schema",
        "aiml/schema-example.json",
        {},
        Answer(SCHEMA["content"], prompt_tokens=137, completion_tokens=914),
        {"details": False, "like_schema": True},
        free=("credits_used", "usd_spent"),  # 120000 credits for these tokens are no price of this model's
    ),
    Printed(
        "wire-protocols.md 3.6, real-shape",
        "runware/sync.json",
        OFF,
        Answer(HAIKU, **TASKED),
        free=("cost",),
        more=("seed",),
    ),
    Printed(
        "wire-protocols.md 3.6, reasoningContent as a string, tokens in completionTokensDetails",
        "runware/sync-reasoning-string.json",
        {},
        Answer(HAIKU, "Count the syllables.", prompt_tokens=10, completion_tokens=25, reasoning_tokens=20),
        {"shape": Shape(reasoning_as="string", reasoning_usage="details")},
        free=("cost",),
        more=("seed",),
    ),
    Printed(
        "wire-protocols.md 3.6, numberResults: two",
        "runware/sync-two.json",
        {**OFF, "numberResults": 2},
        (
            Answer("One", prompt_tokens=10, completion_tokens=1),
            Answer("Two", finish_reason="length", prompt_tokens=10, completion_tokens=1),
        ),
        free=("cost", "usage"),  # several results read their prompt once (INFERRED)
    ),
    Printed(
        "wire-protocols.md 3.7, the acknowledgement",
        "runware/ack.json",
        {"deliveryMethod": "async"},
    ),
]


@pytest.mark.parametrize("case", ANSWERS, ids=lambda case: f"{case.where} {case.file}")
async def test_an_answer_is_the_printed_one(case):
    """Field by field."""
    reply = await case.given(stream=False)

    assert 200 == reply.status
    assert [] == differences(json.loads(case.raw), reply.json, case)


async def test_costs_are_broken_down_as_printed():
    """wire-protocols.md 3.6: `usage.costBreakdown`, each part with its tokens and its cost, in figures and in words."""
    answer = Answer(
        HAIKU, "Count the syllables.", prompt_tokens=10, completion_tokens=25, reasoning_tokens=20, cached_tokens=2
    )
    case = Printed("3.6", "runware/sync-reasoning.json", answer=answer, switches={"shape": Shape(cost_breakdown=True)})
    reply = await case.given(stream=False)
    printed, given = (one["data"][0]["usage"] for one in (json.loads(case.raw), reply.json))

    assert set(printed) == set(given)
    for part, counted in printed["costBreakdown"]["tokens"].items():
        own = given["costBreakdown"]["tokens"][part]
        assert set(counted) <= set(own)
        assert counted["billableTokens"] == own["billableTokens"]
        assert own["costDisplay"] == f"${own['cost']:.7f}"
    assert {"total", "totalDisplay", "tokens"} == set(given["costBreakdown"])


async def test_a_task_is_polled_for_as_printed():
    """wire-protocols.md 3.7: running, and done."""
    poll = [{"taskType": "getResponse", "taskUUID": UUID}]
    async with emulate("runware") as emulator:
        emulator.reply(Answer("Hello", "Hm.", prompt_tokens=10, completion_tokens=5))
        await ask(emulator, taskUUID=UUID, deliveryMethod="async")
        running, done = [(await send(emulator, poll)).json for _ in range(2)]
    case = Printed("3.7", "runware/poll-success.json", free=("cost",), more=("seed", "thinkingTokens"))
    first, last = json.loads(case.raw)["data"]

    assert [] == differences({"data": [first]}, running, case)
    assert [] == differences({"data": [last]}, done, case)


async def test_a_login_in_the_array_is_answered_as_printed():
    """wire-protocols.md 3.1: an item of its own in `data`."""
    case = Printed("3.1", "runware/sync-authentication.json", free=("cost",), more=("seed",))
    async with emulate("runware") as emulator:
        emulator.reply(Answer("Hello"))
        body = [{"taskType": "authentication", "apiKey": "k"}, *body_for(emulator, includeUsage=None, **OFF)]
        reply = await send(emulator, body, headers={"X-Nothing": "1"})

    assert [] == differences(json.loads(case.raw), reply.json, case)


# -- streams ----------------------------------------------------------------------------------------------------------

GREETS = Answer("Hi!", "The user greets me.", prompt_tokens=20, completion_tokens=30, reasoning_tokens=18)
OKAY = Answer("", "Okay", prompt_tokens=13, completion_tokens=2010, reasoning_tokens=82)
CAPTURED: dict[str, Any] = {"model": "alibaba/qwen3-32b", "enable_thinking": True}
NOT_CAPTURED = ("text_tokens", "prompt_tokens_details")
TASK = Answer("Hello", "Let me think...", prompt_tokens=10, completion_tokens=5)
HEAD = ("id", "object", "created", "model")
STREAMS = [
    Printed(
        "wire-protocols.md 2.4, real (M1)",
        "mixlayer/stream.sse",
        {"thinking": False},
        Answer(pieces=("Chihuahuas ", "are tiny.")),
        more=("created", "model"),
    ),
    Printed(
        "mixlayer-reasoning.txt, Streaming reasoning",
        "mixlayer/stream-reasoning.sse",
        {"thinking": True},
        Answer(reasoning_content="Let me think. 17 * 23 = 17 * 20 + 17 * 3 = 340 + 51.", pieces=("17 * 23 = 391.",)),
        {"omit_ids": True, "done": False},
    ),
    Printed(
        "wire-protocols.md 2.4, real-shape (M7)",
        "mixlayer/stream-usage.sse",
        {"thinking": True, "stream_options": {"include_usage": True}},
        Answer(reasoning_content="step step", pieces=("answer",), prompt_tokens=5, completion_tokens=7),
        {"merge_fields": True},
        more=HEAD,
    ),
    Printed(
        "wire-protocols.md 2.4, tool deltas (M3)",
        "mixlayer/stream-tools.sse",
        {"thinking": False, "tools": [TOOL]},
        Answer(tool_calls=(WEATHER,)),
        more=HEAD,
    ),
    Printed("wire-protocols.md 4.3, SGLang's extras", "empiriolabs/stream.sse", {}, GREETS, free=("matched_stop",)),
    Printed(
        "wire-protocols.md 4.3, usage on the finishing chunk",
        "empiriolabs/stream-usage-on-finish.sse",
        {},
        GREETS,
        {"stream_usage": "finish"},
        free=("matched_stop",),
    ),
    Printed("wire-protocols.md 5.4, real (A5)", "aiml/stream.sse", CAPTURED, OKAY, {"meta": False}, more=NOT_CAPTURED),
    *(
        Printed(
            "wire-protocols.md 5.4, the cost in a chunk of its own (A2)",
            f"aiml/{name}.sse",
            CAPTURED,
            OKAY,
            switches,
            free=("credits_used", "usd_spent"),
            more=NOT_CAPTURED,
        )
        for name, switches in (
            ("stream-meta", {}),
            ("stream-meta-done", {"done": True}),
            ("stream-done-meta", {"done": True, "late_meta": True}),
        )
    ),
    Printed(
        "wire-protocols.md 3.9, real-shape",
        "runware/stream.sse",
        {},
        TASK,
        {"shape": Shape(late_cost=False)},
        free=("cost",),
        more=("finishReason", "thinkingTokens"),
    ),
]


def shape(event: Any, case: Printed) -> str:
    """The fields of an event and their types; [DONE] is itself."""

    def kind(value: Any) -> Any:
        if isinstance(value, dict):
            held = {name: kind(part) for name, part in value.items() if name not in case.more}
            return {name: "free" if name in (*FREE, *case.free) else part for name, part in sorted(held.items())}
        if isinstance(value, list):
            return [kind(part) for part in value]
        if isinstance(value, str) and not value:
            return "empty"
        return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__

    return event if event == DONE else json.dumps(kind(event))


def shapes(reply: Reply, case: Printed) -> list[str]:
    """The shapes of a stream's events, neighbours of one shape as one."""
    return [one for one, _ in groupby(shape(event, case) for event in reply.events)]


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: f"{case.where} {case.file}")
async def test_a_stream_is_the_printed_one(case):
    """The same kinds of events in the same order, saying the same."""
    printed = read(200, {"Content-Type": "text/event-stream"}, case.raw)
    given = await case.given(stream=True)

    assert 200 == given.status
    assert shapes(printed, case) == shapes(given, case)
    for name in ("content", "text"):
        assert printed.joined(name) == given.joined(name)
    said, told = (
        [event["usage"] for event in one.events if event != DONE and event.get("usage")] for one in (printed, given)
    )
    assert [] == differences(said, told, case)
    assert bool(printed.comments) is bool(given.comments)


# -- refusals ---------------------------------------------------------------------------------------------------------

JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}
NO_KEY = {"X-Nothing": "1"}
MORE = ("taskType", "data", "parameter", "type")
SAYS = ("message",)  # where the document describes a refusal and does not print its words
REFUSALS = [
    Printed("2.5, real (M1)", "mixlayer/error-model-400.json", {"model": "qwen/none"}, status=400),
    Printed("2.5", "mixlayer/error-auth-401.json", fault=Fault.bad_key(), status=401),
    Printed(
        "2.2, thinking with json_schema",
        "mixlayer/error-schema-400.json",
        {"thinking": True, "response_format": JSON_SCHEMA},
        free=SAYS,
        more=("param",),
        status=400,
    ),
    Printed(
        "2.2, media with tools",
        "mixlayer/error-media-400.json",
        {
            "tools": [TOOL],
            "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/a.png"}}]}],
        },
        free=SAYS,
        status=400,
    ),
    Printed(
        "2.5",
        "mixlayer/error-permission-403.json",
        switches={"forbidden_models": ("qwen/qwen3.5-27b",)},
        free=SAYS,
        status=403,
    ),
    Printed("2.5", "mixlayer/error-server-500.json", fault=Fault.server_error(), free=(*SAYS, "code"), status=500),
    Printed("3.8, real (R3)", "runware/error-key-401.json", fault=Fault.bad_key(), status=401),
    Printed("3.8", "runware/error-balance-402.json", fault=Fault.out_of_credit(), free=SAYS, more=MORE, status=402),
    Printed(
        "3.8, R19",
        "runware/error-capacity-429.json",
        fault=Fault.rate_limited(),
        free=(*SAYS, "code"),
        more=MORE,
        status=429,
    ),
    Printed("3.8, R24", "runware/error-504.json", fault=Fault.gateway_timeout(), free=SAYS, more=MORE, status=504),
    Printed(
        "3.8, allowedValues (R10)",
        "runware/error-level-400.json",
        {"settings": {"thinkingLevel": "low"}},
        switches={"thinking_levels": ("none", "high")},
        free=SAYS,
        more=MORE,
        status=400,
    ),
    Printed("3.8", "runware/error-model-400.json", {"model": "a:b@1"}, free=SAYS, more=MORE, status=400),
    Printed(
        "3.8, inside 200",
        "runware/error-validation-200.json",
        {"settings": {"temperature": 3}},
        switches={"validation_in_200": True},
        free=(*SAYS, "parameter"),
        more=MORE,
    ),
    Printed(
        "4.4, constructed",
        "empiriolabs/error-credit-402.json",
        fault=Fault.out_of_credit(),
        more=("param",),
        status=402,
    ),
    Printed("5.5, real (A6)", "aiml/error-problem-401.json", headers=NO_KEY, free=SAYS, status=401),
    *(
        Printed(
            f"5.5, {name}",
            f"aiml/error-{name}.json",
            {"model": "alibaba/none"} if "enum" in name else {},
            fault=fault,
            switches={"envelope": "legacy", **({"unknown_model": 400} if "enum" in name else {})},
            free=SAYS,
            status=int(name[-3:]),
        )
        for name, fault in (
            ("rate-429", Fault.rate_limited()),
            ("credit-403", Fault.out_of_credit()),
            ("upstream-500", Fault.server_error()),
            ("timeout-504", Fault.gateway_timeout()),
            ("enum-400", None),
        )
    ),
    Printed(
        "5.5, A3 in A6's envelope",
        "aiml/error-credit-problem-403.json",
        fault=Fault.out_of_credit(),
        free=SAYS,
        status=403,
    ),
]


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: f"wire-protocols.md {case.where} {case.file}")
async def test_a_refusal_is_the_printed_one(case):
    """Its status, its envelope, its codes; its words too, where they are printed."""
    reply = await case.given(stream=False)

    assert case.status == reply.status
    assert [] == differences(json.loads(case.raw), reply.json, case)


async def test_a_known_task_is_refused_in_the_printed_words():
    """wire-protocols.md 3.1, real-shape (R19)."""
    case = Printed("3.1", "runware/conflict-400.json", more=MORE)
    async with emulate("runware") as emulator:
        await ask(emulator, taskUUID=UUID)
        reply = await ask(emulator, taskUUID=UUID)

    assert 400 == reply.status
    assert [] == differences(json.loads(case.raw), reply.json, case)


async def test_a_stream_is_refused_in_an_envelope_of_its_own():
    """wire-protocols.md 3.8 (R1): the task's id stands beside the error."""
    case = Printed("3.8", "runware/error-before-stream-503.json", free=("code", "message"), more=("parameter", "type"))
    async with emulate("runware") as emulator:
        reply = await ask(emulator, stream=True, seed=-1)

    assert [] == differences(json.loads(case.raw), reply.json, case)


# -- requests ---------------------------------------------------------------------------------------------------------

TRAIN = "If a train leaves at 3pm going 60mph and another leaves at 4pm going 80mph, when do they meet?"
MIXLAYER = {"model": "qwen/qwen3.5-27b", "messages": [{"role": "user", "content": TRAIN}]}
EMPIRIOLABS = {"model": "qwen3-5-4b", "messages": [{"role": "user", "content": "Hello"}]}
AIML = {
    "model": "alibaba/qwen3.6-35b-a3b",
    "messages": [{"role": "user", "content": "Hi! What do you think about mankind?"}],
}
NAMED = {"type": "function", "function": {"name": "my_function"}}
MINE = {"type": "function", "function": {"name": "my_function", "parameters": {"type": "object"}}}
RUNWARE = {
    "taskType": "textInference",
    "taskUUID": "a770f077-f413-47de-9dac-be0b26a35da6",
    "model": "alibaba:qwen@3.5-27b",
    "deliveryMethod": "sync",
    "includeCost": True,
    "includeUsage": True,
    "numberResults": 1,
    "seed": 42,
    "messages": [{"role": "user", "content": "Hello"}],
    "settings": {
        "systemPrompt": "Be brief.",
        "temperature": 0.6,
        "topP": 0.95,
        "topK": 20,
        "maxTokens": 4096,
        "thinkingLevel": "high",
    },
}
WEATHER_TASK = {
    "taskType": "textInference",
    "taskUUID": "a770f077-f413-47de-9dac-be0b26a35da6",
    "model": "alibaba:qwen@3.5-27b",
    "messages": [
        {"role": "user", "content": "Weather in Tokyo?"},
        {"role": "assistant", "tools": [{"id": "c1", "name": "get_weather", "input": {"city": "Tokyo"}}]},
        {"role": "tool", "id": "c1", "content": "22°C, partly cloudy."},
    ],
    "tools": [
        {
            "type": "function",
            "name": "get_weather",
            "description": "Get weather for a city.",
            "schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        }
    ],
    "toolChoice": {"type": "auto"},
    "settings": {"maxTokens": 300},
}
ADVICE = (
    {"temperature": 1.0, "top_p": 0.95, "top_k": 20, "presence_penalty": 0.0, "repetition_penalty": 1.0},
    {"temperature": 0.6, "top_p": 0.95, "top_k": 20, "presence_penalty": 0.0, "repetition_penalty": 1.0},
    {"temperature": 0.7, "top_p": 0.80, "top_k": 20, "presence_penalty": 1.5, "repetition_penalty": 1.0},
)
MODELS = ("4b-free", "9b", "27b", "35b-a3b", "122b-a10b", "397b-a17b")
EMPIRIO_DEFAULTS = {
    "temperature": 0.7,
    "top_p": 0.95,
    "max_tokens": 4096,
    "reasoning_effort": "medium",
    "top_k": 20,
    "min_p": 0,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "repetition_penalty": 1,
    "logprobs": False,
    "stream": False,
}
REQUESTS = [
    ("mixlayer-reasoning.txt, Examples", "mixlayer", {**MIXLAYER, "thinking": True}),
    ("mixlayer-reasoning.txt, to disable", "mixlayer", {**MIXLAYER, "thinking": False}),
    *(
        ("mixlayer-reasoning.txt, Enabling thinking", "mixlayer", {**MIXLAYER, "reasoning_effort": level})
        for level in ("low", "medium", "high")
    ),
    (
        "mixlayer-reasoning.txt, Constraints: json_object instead",
        "mixlayer",
        {**MIXLAYER, "thinking": True, "response_format": {"type": "json_object"}},
    ),
    *(("mixlayer-models.txt, recommended sampling", "mixlayer", {**MIXLAYER, **advice}) for advice in ADVICE),
    *(("mixlayer-models.txt, Models", "mixlayer", {**MIXLAYER, "model": f"qwen/qwen3.5-{name}"}) for name in MODELS),
    ("empiriolabs-qwen3.5-4b.txt, Example request", "empiriolabs", EMPIRIOLABS),
    ("empiriolabs-qwen3.5-4b.txt, the defaults", "empiriolabs", {**EMPIRIOLABS, **EMPIRIO_DEFAULTS}),
    (
        "empiriolabs-qwen3.5-4b.txt, the defaults of thinking",
        "empiriolabs",
        {**EMPIRIOLABS, "enable_thinking": True, "thinking_budget": 4096},
    ),
    ("empiriolabs-qwen3.5-4b.txt, Notes", "empiriolabs", {**EMPIRIOLABS, "enable_thinking": False}),
    ("aiml-qwen3.6-35b-a3b.txt, Python and Node.js", "aiml", AIML),
    *(
        ("aiml-qwen3.6-35b-a3b.txt, tool_choice", "aiml", {**AIML, "tools": [MINE], "tool_choice": choice})
        for choice in ("none", "auto", "required", NAMED)
    ),
    ("wire-protocols.md 3.4", "runware", [RUNWARE]),
    ("wire-protocols.md 3.5, tools (R9)", "runware", [WEATHER_TASK]),
    ("wire-protocols.md 3.7, a poll", "runware", [{"taskType": "getResponse", "taskUUID": RUNWARE["taskUUID"]}]),
]


@pytest.mark.parametrize(("where", "name", "body"), REQUESTS, ids=lambda value: value if isinstance(value, str) else "")
async def test_a_printed_request_is_taken(where, name, body):
    """Whole, as it stands there."""
    switches: dict[str, Any] = {"tools": True} if "tools (R9)" in where else {}
    async with emulate(name, **switches) as emulator:
        reply = await send(emulator, body, headers=KEY)

    assert (200, []) == (reply.status, reply.json.get("errors", []))
