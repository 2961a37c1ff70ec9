"""What AI/ML API sells, and what each model's own schema takes: parameters differ per model there. Pure.

Prices and sizes FOUND[A7] (section 5.7 of ``wire-protocols.md``); the fields of ``alibaba/qwen3.6-35b-a3b`` are the
page's (DOC) and its schema's (A1), those of the others FOUND[A1's siblings], one OpenAPI file per model.
"""

from __future__ import annotations

from collections.abc import Mapping

from router.lab.emulators.checks import BOOLEAN, OBJECT, STRING, Field
from router.lab.emulators.words import Model

_MILLION = 1_000_000
# The first reproduces the DOC's 7022 credits. A context or an output that nobody states is left at the default.
CATALOGUE: Mapping[str, Model] = {
    "alibaba/qwen3.6-35b-a3b": Model(0.4875, 2.925, context=262_144, max_output=252_000),
    "alibaba/qwen3.6-27b": Model(0.78, 4.68, context=256_000, max_output=252_000),
    "alibaba/qwen3.6-flash": Model(0.325, 1.95, context=_MILLION),
    "alibaba/qwen3.6-plus": Model(0.52, 3.12, context=_MILLION),
    "alibaba/qwen3.6-max-preview": Model(0.65, 3.90, context=262_144),
    "alibaba/qwen3.5-flash": Model(0.13, 0.52, context=262_144),
    "alibaba/qwen3.5-plus": Model(0.52, 3.12, context=_MILLION),
    "alibaba/qwen3.7-plus": Model(0.416, 1.664, 0.0832, context=_MILLION),
    "alibaba/qwen3.7-max": Model(2.60, 7.80, 2.60, context=_MILLION),
    "alibaba/qwen3.8-27b": Model(0.61893, 4.40128, context=262_144, max_output=131_072),
    "alibaba/qwen3.8-flash": Model(0.208, 0.611, 0.0208),
    "alibaba/qwen3.8-max": Model(2.60, 7.80, 0.325, context=_MILLION),
    "alibaba/qwen3-max": Model(1.56, 7.80, 0.312),
    "alibaba/qwen3-32b": Model(0.208, 0.832, context=131_000, max_output=16_384),
}

_PENALTY = Field("number null", -2, 2)
FIELDS: Mapping[str, Field] = {
    "model": STRING,
    "messages": Field("array"),
    "max_tokens": Field("number", 1),
    "stream": BOOLEAN,
    "stream_options": OBJECT,  # FOUND[A1]
    "tools": Field("array", many=128),  # FOUND[A1]
    "tool_choice": Field("string object"),
    "parallel_tool_calls": BOOLEAN,
    # DOC names no lower bound: its page shows none that is 0 (top_logprobs has 0 in A1 as well, and "max: 20" there).
    "temperature": Field("number", 0, 2),
    "top_p": Field("number", 0.01, 1),
    "stop": Field("string array null", many=4, item=STRING),
    "logit_bias": Field("object null"),  # FOUND[A1]
    "logprobs": Field("boolean null"),
    "top_logprobs": Field("number null", 0, 20),
    "frequency_penalty": _PENALTY,
    "presence_penalty": _PENALTY,
    "prediction": OBJECT,  # FOUND[A1]
    "seed": Field("integer", 1),
    "reasoning_effort": Field("string", choices=("low", "medium", "high")),
    "response_format": OBJECT,
}

_REPETITION = {"repetition_penalty": Field("number null")}
_SWITCH = {"enable_thinking": BOOLEAN, "thinking_budget": Field("integer", 1)}
_REASONING = {"reasoning": OBJECT}  # {effort, max_tokens, exclude}


def _but(*absent: str, **more: Field) -> dict[str, Field]:
    return {name: field for name, field in FIELDS.items() if name not in absent} | more


_NO_EFFORT = _but("logit_bias", "reasoning_effort", **_REPETITION)
_BARE = _but("presence_penalty", "frequency_penalty", "seed", "response_format", **_REASONING)
FIELDS_OF: Mapping[str, Mapping[str, Field]] = {
    "alibaba/qwen3.5-flash": _but(
        top_k=Field("number"), min_p=Field("number", 0.001, 0.999), **_REPETITION, **_REASONING
    ),
    "alibaba/qwen3.5-plus": _NO_EFFORT,
    "alibaba/qwen3.6-flash": _NO_EFFORT,
    "alibaba/qwen3.6-plus": _NO_EFFORT,
    "alibaba/qwen3.6-max-preview": _NO_EFFORT,
    "alibaba/qwen3.7-plus": _but(
        "logprobs", "top_logprobs", "logit_bias", "reasoning_effort", **_REPETITION, **_SWITCH
    ),
    "alibaba/qwen3.7-max": _BARE,
    "alibaba/qwen3.8-27b": _but(
        "logit_bias",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        top_k=Field("number"),
        **_REPETITION,
        **_REASONING,
    ),
    "alibaba/qwen3.8-flash": _BARE,
    # The schema has `high` as well; a catalogue (A7) knows two efforts only, and what both name is certain.
    "alibaba/qwen3.8-max": _BARE | {"reasoning_effort": Field("string", choices=("low", "medium"))},
    # No schema was found; INFERRED from the page's model, but for the efforts, of which A7 lists none.
    "alibaba/qwen3-max": _but("reasoning_effort"),
    "alibaba/qwen3-32b": _but("logit_bias", "reasoning_effort", **_REPETITION, **_SWITCH),
}

# Which models take `video_url` parts: FOUND in the schema of the first. The second is the page's own model, INFERRED.
VIDEO = "alibaba/qwen3.8-27b"
MULTIMODAL = "alibaba/qwen3.6-35b-a3b"
