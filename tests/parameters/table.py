"""What each provider is to be sent for each parameter at its edges: typed in from the providers' pages.

A case is one canonical request and, for each of the four, what of it is to arrive (dotted paths into the JSON), which
changes are to be reported for it, and whether that excludes the deployment unless `fidelity` is best_effort.
Where a streamed call differs from a whole one, the case says both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Provider = Literal["mixlayer", "runware", "empiriolabs", "aiml"]
PROVIDERS: tuple[Provider, ...] = ("mixlayer", "runware", "empiriolabs", "aiml")
MODELS: Mapping[Provider, str] = {
    "mixlayer": "mixlayer/qwen3.5-27b",
    "runware": "runware/qwen3.5-27b",
    "empiriolabs": "empiriolabs/qwen3.5-4b",
    "aiml": "aiml/qwen3.6-35b-a3b",
}

Changes = tuple[tuple[str, str, Any], ...]  # param, how, sent


INTEGERS = (
    "max_tokens",
    "max_completion_tokens",
    "maxTokens",
    "top_k",
    "topK",
    "seed",
    "numberResults",
    "top_logprobs",
)
# What is on the wire of a request that asks for nothing.
BARE: Mapping[Provider, Mapping[str, Any]] = {
    "mixlayer": {"model": "qwen/qwen3.5-27b"},
    "runware": {
        "taskType": "textInference",
        "model": "alibaba:qwen@3.5-27b",
        "deliveryMethod": "sync",
        "includeCost": True,
        "includeUsage": True,
    },
    "empiriolabs": {"model": "qwen3-5-4b", "disable_formatting": True},
    "aiml": {"model": "alibaba/qwen3.6-35b-a3b"},
}
STREAMED: Mapping[Provider, Mapping[str, Any]] = {
    "mixlayer": {"stream": True, "stream_options.include_usage": True},
    "runware": {"deliveryMethod": "stream"},
    "empiriolabs": {"stream": True},
    "aiml": {"stream": True, "stream_options.include_usage": True},
}
# What the pages say that a provider does on its own.
DEFAULTS: Mapping[Provider, Changes] = {
    "mixlayer": (("reasoning_effort", "defaulted", "on"),),
    "runware": (("reasoning_effort", "defaulted", "high"),),
    "empiriolabs": (("max_tokens", "defaulted", 4096), ("reasoning_effort", "defaulted", "medium")),
    "aiml": (("reasoning_effort", "defaulted", "on"),),
}


def flat(body: Any, path: str = "") -> dict[str, Any]:
    """A body by dotted paths; only what a provider nests is opened."""
    found: dict[str, Any] = {}
    for name, value in body.items():
        if isinstance(value, Mapping) and name in ("settings", "stream_options", "inputs", "reasoning"):
            found |= flat(value, f"{path}{name}.")
        else:
            found[path + name] = value
    return found


def without(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {path: value for path, value in one.items() if path not in other or other[path] != value}


@dataclass(frozen=True)
class Sent:
    """What one provider is sent: *wire* by path, *changes* but for what is merely `defaulted`, *out*: not by default."""

    wire: Mapping[str, Any] = field(default_factory=dict)
    changes: Changes = ()
    out: bool = False
    streamed: Sent | None = None  # where a stream is sent otherwise

    def when(self, *, streaming: bool) -> Sent:
        return self.streamed if streaming and self.streamed is not None else self


@dataclass(frozen=True)
class Case:
    """One canonical request, and what each provider is sent of it."""

    name: str
    fields: Mapping[str, Any]
    sent: Mapping[Provider, Sent]


def says(path: str, value: Any, *changes: tuple[str, str, Any], out: bool = False) -> Sent:
    return Sent({path: value}, changes, out)


NOTHING = Sent()


def dropped(*names: str, out: bool = False) -> Sent:
    return Sent({}, tuple((name, "dropped", None) for name in names), out)


CASES: list[Case] = []


def case(name: str, fields: Mapping[str, Any], *sent: Sent) -> None:
    """Add a case; *sent* in the order of the providers."""
    CASES.append(Case(name, fields, dict(zip(PROVIDERS, sent, strict=True))))


# -- numbers ----------------------------------------------------------------------------------------------------------

Bounds = tuple[float | None, float | None]


@dataclass(frozen=True)
class Number:
    """One numeric parameter: its path at each provider with its range there; None where it cannot be said."""

    name: str
    mixlayer: tuple[str, Bounds] | None
    runware: tuple[str, Bounds] | None
    empiriolabs: tuple[str, Bounds] | None
    aiml: tuple[str, Bounds] | None
    values: tuple[float, ...]
    neutral: tuple[float, ...] = ()  # asks for nothing: where it cannot be said there is no change

    def sent(self, provider: Provider, value: float) -> Sent:
        word: tuple[str, Bounds] | None = getattr(self, provider)
        if word is None:
            return NOTHING if value in self.neutral else dropped(self.name)
        path, (low, high) = word
        nearest = value if low is None else max(value, low)
        nearest = nearest if high is None else min(nearest, high)
        changes = () if nearest == value else ((self.name, "clamped", nearest),)
        if provider == "runware" and (value, self.name) in OFF_STEP:
            nearest = OFF_STEP[value, self.name]
            changes = ((self.name, "nearest", nearest),)
        return Sent({path: nearest}, changes)


# Runware's page: "step: 0.01". What lies between two steps is sent as the nearer one, and reported.
OFF_STEP = {(0.125, "temperature"): 0.12, (0.005, "top_p"): 0.0}

ANY: Bounds = (None, None)
NUMBERS = (
    Number(
        "max_tokens",
        ("max_completion_tokens", (1, None)),
        ("settings.maxTokens", (1, 65536)),
        ("max_tokens", (1, 32768)),
        ("max_tokens", (1, None)),
        (1, 2, 32768, 32769, 65536, 65537),
    ),
    Number(
        "temperature",
        ("temperature", ANY),
        ("settings.temperature", (0, 2)),
        ("temperature", (0, 2)),
        ("temperature", (None, 2)),
        (0, 0.125, 0.7, 1, 2, 2.01),
    ),
    Number(
        "top_p",
        ("top_p", (0, 1)),
        ("settings.topP", (0, 1)),
        ("top_p", (0, 1)),
        ("top_p", (0.01, 1)),
        (0, 0.005, 0.01, 0.95, 1, 1.0),
    ),
    Number(
        "top_k",
        ("top_k", ANY),
        ("settings.topK", (1, 100)),
        ("top_k", (1, 200)),
        None,
        (1, 20, 100, 101, 200, 201),
    ),
    Number("min_p", None, ("settings.minP", (0, 1)), ("min_p", (0, 1)), None, (0, 0.05, 1), neutral=(0,)),
    *(
        Number(
            f"{kind}_penalty",
            (f"{kind}_penalty", (-2, 2)),
            (f"settings.{kind}Penalty", (0, 2)),
            (f"{kind}_penalty", (-2, 2)),
            (f"{kind}_penalty", (-2, 2)),
            (-2.01, -2, -0.01, 0, 0.5, 2, 2.01),
        )
        for kind in ("presence", "frequency")
    ),
    Number(
        "repetition_penalty",
        ("repetition_penalty", (0, 2)),
        ("settings.repetitionPenalty", (0, 2)),
        ("repetition_penalty", (0.1, 2)),
        None,
        (0, 0.09, 0.1, 1, 1.05, 2, 2.01),
        neutral=(1,),
    ),
    Number(
        "seed",
        ("seed", ANY),
        ("seed", (0, 4294967295)),
        ("seed", (0, 2147483647)),
        ("seed", (1, None)),
        (-1, 0, 1, 7, 2147483647, 2147483648, 4294967295, 4294967296),
    ),
)
for number in NUMBERS:
    for value in number.values:
        sent = {provider: number.sent(provider, value) for provider in PROVIDERS}
        CASES.append(Case(f"{number.name}={value}", {number.name: value}, sent))
case(
    "max_completion_tokens",
    {"max_completion_tokens": 100},
    says("max_completion_tokens", 100),
    says("settings.maxTokens", 100),
    says("max_tokens", 100),
    says("max_tokens", 100),
)

# -- stop -------------------------------------------------------------------------------------------------------------

FOUR = ["##", "@@", "%%", "&&"]
FIVE = [*FOUR, "$$"]
FIRST_FOUR = ("stop", "dropped", FOUR)
for name, asked in (("a lone stop", "##"), ("a stop in a list", ["##"])):
    case(
        name,
        {"stop": asked},
        says("stop", ["##"]),
        says("settings.stopSequences", ["##"]),
        says("stop", "##"),  # the page types it as a string
        says("stop", ["##"]),
    )
case(
    "stop=4",
    {"stop": FOUR},
    says("stop", FOUR),
    says("settings.stopSequences", FOUR),
    says("stop", FOUR),
    says("stop", FOUR),
)
case(
    "stop=5",
    {"stop": FIVE},
    says("stop", FIVE),
    says("settings.stopSequences", FIVE),
    says("stop", FOUR, FIRST_FOUR, out=True),
    says("stop", FOUR, FIRST_FOUR, out=True),
)
case("stop=[]", {"stop": []}, NOTHING, NOTHING, NOTHING, NOTHING)

# -- n ----------------------------------------------------------------------------------------------------------------

NO_N = dropped("n", out=True)
case("n=1", {"n": 1}, NOTHING, Sent({"numberResults": 1}, streamed=NOTHING), NOTHING, NOTHING)
for count in (2, 4):
    case(f"n={count}", {"n": count}, NO_N, Sent({"numberResults": count}, streamed=NO_N), NO_N, NO_N)
case("n=5", {"n": 5}, NO_N, Sent({"numberResults": 4}, (("n", "clamped", 4),), out=True, streamed=NO_N), NO_N, NO_N)

# -- log probabilities ------------------------------------------------------------------------------------------------

NO_LOGPROBS = dropped("logprobs", out=True)
case("logprobs=False", {"logprobs": False}, NOTHING, NOTHING, says("logprobs", False), says("logprobs", False))
case("logprobs=True", {"logprobs": True}, NO_LOGPROBS, NO_LOGPROBS, says("logprobs", True), says("logprobs", True))
for top in (0, 20, 21):
    kept = Sent(
        {"logprobs": True, "top_logprobs": min(top, 20)}, (("top_logprobs", "clamped", 20),) if top > 20 else ()
    )
    neither = dropped("logprobs", "top_logprobs", out=True)
    case(f"top_logprobs={top}", {"logprobs": True, "top_logprobs": top}, neither, neither, kept, kept)
for bias in ({"42": 100}, {"42": -100, "7": 0.5}):
    said = says("logit_bias", bias)
    case(f"logit_bias={bias}", {"logit_bias": bias}, dropped("logit_bias"), dropped("logit_bias"), said, said)

# -- tools ------------------------------------------------------------------------------------------------------------

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get weather for a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
TOOLS = says("tools", [TOOL])
NO_TOOLS = dropped("tools", out=True)
NAMED = {"type": "function", "function": {"name": "get_weather"}}
case("tools", {"tools": [TOOL]}, TOOLS, NO_TOOLS, TOOLS, TOOLS)
for choice in ("auto", "none", "required", NAMED):
    both = Sent({"tools": [TOOL], "tool_choice": choice})
    ignored = Sent({"tools": [TOOL]}, () if choice == "auto" else (("tool_choice", "dropped", None),), choice != "auto")
    neither = dropped("tools", *(() if choice in ("auto", "none") else ("tool_choice",)), out=True)
    case(f"tool_choice={choice}", {"tools": [TOOL], "tool_choice": choice}, ignored, neither, both, both)
for parallel in (True, False):
    silent = Sent({"tools": [TOOL]}, () if parallel else (("parallel_tool_calls", "dropped", None),))
    none = dropped("tools", *(() if parallel else ("parallel_tool_calls",)), out=True)
    both = Sent({"tools": [TOOL], "parallel_tool_calls": parallel})
    fields = {"tools": [TOOL], "parallel_tool_calls": parallel}
    case(f"parallel_tool_calls={parallel}", fields, silent, none, silent, both)

# -- response formats -------------------------------------------------------------------------------------------------

SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "out", "schema": {"type": "object", "properties": {"a": {"type": "integer"}}}},
}
NO_FORMAT = dropped("response_format", out=True)
for wanted in ({"type": "text"}, {"type": "json_object"}):
    said = says("response_format", wanted)
    case(
        wanted["type"],
        {"response_format": wanted},
        said,
        NOTHING if wanted["type"] == "text" else NO_FORMAT,
        said,
        said,
    )
SAID = says("response_format", SCHEMA)
OFF = Sent({"response_format": SCHEMA, "thinking": False})  # an error there if both are on
case("json_schema", {"response_format": SCHEMA}, OFF, NO_FORMAT, SAID, SAID)
case(
    "json_schema, thinking off",
    {"response_format": SCHEMA, "reasoning_effort": "none"},
    OFF,
    Sent({"settings.thinkingLevel": "off"}, (("response_format", "dropped", None),), out=True),
    Sent({"response_format": SCHEMA, "enable_thinking": False, "reasoning_effort": "none"}),
    Sent({"response_format": SCHEMA, "reasoning_effort": "low"}, (("reasoning_effort", "inverted", "low"),), out=True),
)
case(
    "json_schema, thinking on",
    {"response_format": SCHEMA, "reasoning_effort": "high"},
    Sent({"response_format": SCHEMA, "thinking": False}, (("reasoning_effort", "inverted", False),), out=True),
    Sent({"settings.thinkingLevel": "high"}, (("response_format", "dropped", None),), out=True),
    Sent({"response_format": SCHEMA, "reasoning_effort": "high"}),
    Sent({"response_format": SCHEMA, "reasoning_effort": "high"}),
)
case(
    "json_object, thinking on",  # the way out that Mixlayer's page names
    {"response_format": {"type": "json_object"}, "thinking": True},
    Sent({"response_format": {"type": "json_object"}, "thinking": True}),
    Sent({"settings.thinkingLevel": "high"}, (("response_format", "dropped", None),), out=True),
    Sent({"response_format": {"type": "json_object"}, "reasoning_effort": "medium"}),
    Sent({"response_format": {"type": "json_object"}, "reasoning_effort": "medium"}),
)
case("user", {"user": "u-1"}, *(dropped("user"),) * 4)

# -- reasoning --------------------------------------------------------------------------------------------------------

EFFORT = "reasoning_effort"
OFF_AT_EMPIRIO = Sent({"enable_thinking": False, "reasoning_effort": "none"})  # its two switches agree
EMPIRIO = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "max", "max": "max"}
AIML = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
for spelling in ({"reasoning_effort": "none"}, {"thinking": False}, {"enable_thinking": False}):
    case(
        f"{spelling}",
        spelling,
        says("thinking", False),
        says("settings.thinkingLevel", "off"),
        OFF_AT_EMPIRIO,
        says("reasoning_effort", "low", (EFFORT, "inverted", "low"), out=True),
    )
for level, near_e in EMPIRIO.items():
    near_a = AIML[level]
    case(
        f"reasoning_effort={level}",
        {"reasoning_effort": level},
        says("thinking", True, (EFFORT, "nearest", True)),
        says("settings.thinkingLevel", "high", *(() if level == "high" else ((EFFORT, "nearest", "high"),))),
        says("reasoning_effort", near_e, *(() if near_e == level else ((EFFORT, "nearest", near_e),))),
        says("reasoning_effort", near_a, *(() if near_a == level else ((EFFORT, "nearest", near_a),))),
    )
for spelling in ({"thinking": True}, {"enable_thinking": True}):
    case(
        f"{spelling}",  # whatever level it is, it is as asked
        spelling,
        says("thinking", True),
        says("settings.thinkingLevel", "high"),
        says("reasoning_effort", "medium"),
        says("reasoning_effort", "medium"),
    )
BUDGET = "reasoning_budget"
for budget, clamped, near in (
    (1, 1024, "low"),
    (1023, 1024, "low"),
    (1024, 1024, "low"),
    (2048, 2048, "low"),
    (4096, 4096, "medium"),
    (8192, 8192, "high"),
    (32768, 32768, "high"),
    (32769, 32768, "high"),
):
    case(
        f"reasoning_budget={budget}",
        {"thinking_budget": budget},
        says("thinking", True, (BUDGET, "nearest", True)),
        says("settings.thinkingLevel", "high", (BUDGET, "nearest", "high")),
        says("thinking_budget", clamped, *(() if clamped == budget else ((BUDGET, "clamped", clamped),))),
        says("reasoning_effort", near, (BUDGET, "nearest", near)),
    )
case(
    "a level and a budget",
    {"reasoning_effort": "high", "reasoning_budget": 2000},
    says("thinking", True, (BUDGET, "dropped", None), (EFFORT, "nearest", True)),
    says("settings.thinkingLevel", "high", (BUDGET, "dropped", None)),
    says("thinking_budget", 2000, (EFFORT, "emulated", {"thinking_budget": 2000})),  # one control is sent
    says("reasoning_effort", "high", (BUDGET, "dropped", None)),
)
case(
    "thinking on with a budget",
    {"thinking": True, "thinking_budget": 2000},
    says("thinking", True, (BUDGET, "nearest", True)),
    says("settings.thinkingLevel", "high", (BUDGET, "nearest", "high")),
    says("thinking_budget", 2000),
    says("reasoning_effort", "low", (BUDGET, "nearest", "low")),
)

# -- several at once, and what goes along verbatim --------------------------------------------------------------------

case(
    "sampling as Qwen advises for instruct",
    {
        "temperature": 0.7,
        "top_p": 0.8,
        "top_k": 20,
        "min_p": 0.0,
        "presence_penalty": 1.5,
        "repetition_penalty": 1.0,
        "thinking": False,
    },
    Sent(
        {
            "temperature": 0.7,
            "top_p": 0.8,
            "top_k": 20,
            "presence_penalty": 1.5,
            "repetition_penalty": 1.0,
            "thinking": False,
        }
    ),
    Sent(
        {
            "settings.temperature": 0.7,
            "settings.topP": 0.8,
            "settings.topK": 20,
            "settings.minP": 0.0,
            "settings.presencePenalty": 1.5,
            "settings.repetitionPenalty": 1.0,
            "settings.thinkingLevel": "off",
        }
    ),
    Sent(
        {
            "temperature": 0.7,
            "top_p": 0.8,
            "top_k": 20,
            "min_p": 0.0,
            "presence_penalty": 1.5,
            "repetition_penalty": 1.0,
            "enable_thinking": False,
            "reasoning_effort": "none",
        }
    ),
    Sent(
        {"temperature": 0.7, "top_p": 0.8, "presence_penalty": 1.5, "reasoning_effort": "low"},
        (("top_k", "dropped", None), (EFFORT, "inverted", "low")),
        out=True,
    ),
)
