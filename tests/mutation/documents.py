"""What the documents say of each deployment, typed in from them: the battery's oracle, beside `tests/parameters/table`.

The tables of `wire-protocols.md` 2.7, 3.12, 4.5 and 5.7, of the pages' own heads, and of each AI/ML API model's schema.
Nothing here is read from `catalog.yaml`, and nothing of it is read by an emulator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.parameters.table import Case, Sent, dropped, says


class Sold(NamedTuple):
    """One model at one provider; None where no document says it. *reads*: beside text, i(mages) and v(ideos)."""

    model: str
    context: int | None = None
    max_output: int | None = None
    reads: str = ""


K128, K256, M1 = 131_072, 262_144, 1_000_000
SOLD: Mapping[str, Sold] = {
    "mixlayer/qwen3.5-4b": Sold("qwen/qwen3.5-4b-free", K128),
    "mixlayer/qwen3.5-9b": Sold("qwen/qwen3.5-9b", K128),
    "mixlayer/qwen3.5-27b": Sold("qwen/qwen3.5-27b", K128),
    "mixlayer/qwen3.5-35b-a3b": Sold("qwen/qwen3.5-35b-a3b", K128),
    "mixlayer/qwen3.5-122b-a10b": Sold("qwen/qwen3.5-122b-a10b", K128),
    "mixlayer/qwen3.5-397b-a17b": Sold("qwen/qwen3.5-397b-a17b", K128),
    "runware/qwen3.5-27b": Sold("alibaba:qwen@3.5-27b", K256, 65_536, "iv"),
    "runware/qwen3.5-397b-a17b": Sold("alibaba:qwen@3.5-397b", K256, 128_000, "iv"),
    "empiriolabs/qwen3.5-4b": Sold("qwen3-5-4b", K256, 32_768, "iv"),
    "empiriolabs/qwen3.5-9b": Sold("qwen3-5-9b", K256, 32_768, "iv"),
    "empiriolabs/qwen3.5-27b": Sold("qwen3-5-27b", K256),
    "empiriolabs/qwen3.5-35b-a3b": Sold("qwen3-5-35b-a3b", K256),
    "empiriolabs/qwen3.5-122b-a10b": Sold("qwen3-5-122b-a10b", K256),
    "empiriolabs/qwen3.5-397b-a17b": Sold("qwen3-5-397b-a17b", K256),
    "empiriolabs/qwen3.5-plus": Sold("qwen3-5-plus"),
    "empiriolabs/qwen3.6-27b": Sold("qwen3-6-27b"),
    "empiriolabs/qwen3.6-flash": Sold("qwen3-6-flash"),
    "empiriolabs/qwen3.6-plus": Sold("qwen3-6-plus"),
    "empiriolabs/qwen3.6-max-preview": Sold("qwen3-6-max-preview"),
    "empiriolabs/qwen3.7-plus": Sold("qwen3-7-plus", M1, 65_536),
    "empiriolabs/qwen3.7-max": Sold("qwen3-7-max", M1, 65_536),
    "empiriolabs/qwen3.8-max": Sold("qwen3-8-max"),
    "empiriolabs/qwen3-max": Sold("qwen3-max"),
    "aiml/qwen3.6-35b-a3b": Sold("alibaba/qwen3.6-35b-a3b", K256, 252_000, "iv"),
    "aiml/qwen3.6-27b": Sold("alibaba/qwen3.6-27b", 256_000, 252_000, "i"),
    "aiml/qwen3.6-flash": Sold("alibaba/qwen3.6-flash", M1, 65_536),
    "aiml/qwen3.6-plus": Sold("alibaba/qwen3.6-plus", M1, 65_536),
    "aiml/qwen3.6-max-preview": Sold("alibaba/qwen3.6-max-preview", K256),
    "aiml/qwen3.5-flash": Sold("alibaba/qwen3.5-flash", K256, None, "i"),
    "aiml/qwen3.5-plus": Sold("alibaba/qwen3.5-plus", M1, 65_536),
    "aiml/qwen3.7-plus": Sold("alibaba/qwen3.7-plus", M1, 65_536, "i"),
    "aiml/qwen3.7-max": Sold("alibaba/qwen3.7-max", M1),
    "aiml/qwen3.8-27b": Sold("alibaba/qwen3.8-27b", K256, K128, "iv"),
    "aiml/qwen3.8-flash": Sold("alibaba/qwen3.8-flash", None, None, "i"),
    "aiml/qwen3.8-max": Sold("alibaba/qwen3.8-max", M1, None, "i"),
    "aiml/qwen3-max": Sold("alibaba/qwen3-max"),
    "aiml/qwen3-32b": Sold("alibaba/qwen3-32b", 131_000, 16_384),
}

# -- parameters that one model's schema has otherwise than the page of its provider ------------------------------------

BUDGET, EFFORT = "reasoning_budget", "reasoning_effort"
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def _case(name: str, fields: Mapping[str, Any], sent: Sent) -> Case:
    return Case(name, fields, {"aiml": sent, "empiriolabs": sent})


def _lost(binding: bool, **fields: Any) -> list[Case]:  # whether it is a field that binds
    return [_case(name, {name: value}, dropped(name, out=binding)) for name, value in fields.items()]


def _same(**fields: Any) -> list[Case]:
    return [_case(name, {name: value}, says(name, value)) for name, value in fields.items()]


_TOKENS = "reasoning.max_tokens"  # "Cannot be used simultaneously with effort"
_BUDGETS = [
    *(_case(f"{BUDGET}={n}", {BUDGET: n}, says(_TOKENS, n)) for n in (1, 2, 50, 51, 100_000)),
    _case(
        "a level and a budget", {EFFORT: "low", BUDGET: 100}, says(_TOKENS, 100, (EFFORT, "emulated", {_TOKENS: 100}))
    ),
]
_NO_LEVELS = [
    _case(EFFORT, {EFFORT: "low"}, dropped(EFFORT, out=True)),
    _case(f"{EFFORT}=none", {EFFORT: "none"}, Sent({}, ((EFFORT, "inverted", None),), out=True)),
]
_BARE = [
    *_lost(False, presence_penalty=1, frequency_penalty=1, seed=1),
    *_lost(True, response_format={"type": "json_object"}),
    *_BUDGETS,
]


def _switched() -> list[Case]:
    """`enable_thinking`, and `thinking_budget`, "effective only when enable_thinking is set to true"."""
    budgets = {"minimal": 1024, "low": 2048, "medium": 4096, "high": 8192, "xhigh": 16_384, "max": 32_768}
    found = [_case(f"{EFFORT}=none", {EFFORT: "none"}, says("enable_thinking", False))]
    for level, budget in budgets.items():
        wire = {"enable_thinking": True, "thinking_budget": budget}
        found.append(_case(f"{EFFORT}={level}", {EFFORT: level}, Sent(wire, ((EFFORT, "nearest", wire),))))
        found.append(_case(f"{BUDGET}={budget}", {BUDGET: budget}, Sent(wire, ((BUDGET, "nearest", wire),))))
    return found


def _levels(**words: str) -> list[Case]:
    return [
        _case(
            f"{EFFORT}={level}",
            {EFFORT: level},
            says(EFFORT, word, *(() if word == level else ((EFFORT, how, word),)), out=how == "inverted"),
        )
        for level, word in words.items()
        for how in ("inverted" if level == "none" else "nearest",)
    ]


_REPETITION = _same(repetition_penalty=1.05)
_NO_EFFORT = [*_REPETITION, *_lost(False, logit_bias={"1": 1}), *_NO_LEVELS]
_LOW_P = (("min_p", "clamped", 0.001),)
_HIGH_P = (("min_p", "clamped", 0.999),)
_TWO = {
    "none": "low",
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "medium",
    "xhigh": "medium",
    "max": "medium",
}
OWN: Mapping[str, list[Case]] = {
    "aiml/qwen3.5-flash": [
        *_same(top_k=40, min_p=0.5),
        _case("min_p=0.001", {"min_p": 0.001}, says("min_p", 0.001)),
        _case("min_p=0", {"min_p": 0}, Sent({"min_p": 0.001}, _LOW_P)),
        _case("min_p=0.005", {"min_p": 0.005}, says("min_p", 0.005)),
        _case("min_p=0.995", {"min_p": 0.995}, says("min_p", 0.995)),
        _case("min_p=1", {"min_p": 1}, Sent({"min_p": 0.999}, _HIGH_P)),
        *_REPETITION,
        *_BUDGETS,
    ],
    "aiml/qwen3.5-plus": _NO_EFFORT,
    "aiml/qwen3.6-flash": _NO_EFFORT,
    "aiml/qwen3.6-plus": _NO_EFFORT,
    "aiml/qwen3.6-max-preview": _NO_EFFORT,
    "aiml/qwen3.7-plus": [
        *_REPETITION,
        *_lost(False, logit_bias={"1": 1}),
        *_lost(True, logprobs=True),
        _case("top_logprobs", {"logprobs": True, "top_logprobs": 2}, dropped("logprobs", "top_logprobs", out=True)),
        *_switched(),
    ],
    "aiml/qwen3.7-max": _BARE,
    "aiml/qwen3.8-27b": [
        *_same(top_k=40),
        *_REPETITION,
        *_lost(False, logit_bias={"1": 1}),
        *_lost(True, tools=[TOOL]),
        _case("tool_choice", {"tools": [TOOL], "tool_choice": "required"}, dropped("tools", "tool_choice", out=True)),
        _case(
            "parallel_tool_calls",
            {"tools": [TOOL], "parallel_tool_calls": False},
            dropped("tools", "parallel_tool_calls", out=True),
        ),
        *_BUDGETS,
    ],
    "aiml/qwen3.8-flash": _BARE,
    "aiml/qwen3.8-max": [*_BARE, *_levels(**_TWO)],
    "aiml/qwen3-max": _NO_LEVELS,
    "aiml/qwen3-32b": [*_REPETITION, *_lost(False, logit_bias={"1": 1}), *_switched()],
    "empiriolabs/qwen3.8-max": [
        _case(f"{BUDGET}={n}", {BUDGET: n}, says("thinking_budget", min(n, 262_144), *more))
        for n in (1, 2, 262_143, 262_144, 262_145)
        for more in (() if n <= 262_144 else ((BUDGET, "clamped", 262_144),),)
    ],
}

# What a model does of itself, where its schema has it otherwise than the page: off by default, or nothing is known.
OWN_DEFAULT: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "aiml/qwen3.5-plus",
            "aiml/qwen3.6-flash",
            "aiml/qwen3.6-plus",
            "aiml/qwen3.6-max-preview",
            "aiml/qwen3-max",
        ),
        "unknown",
    ),
    "aiml/qwen3.7-plus": "off",
    "aiml/qwen3-32b": "off",
}

# -- the makers' advice (mixlayer-models.txt): what is sent for a request that asks for it and for nothing else ---------

ADVICE: Mapping[str, Mapping[str, float]] = {
    "thinking": {
        "temperature": 1.0,
        "top_p": 0.95,
        "top_k": 20,
        "min_p": 0.0,
        "presence_penalty": 0.0,
        "repetition_penalty": 1.0,
    },
    "precise_coding": {
        "temperature": 0.6,
        "top_p": 0.95,
        "top_k": 20,
        "min_p": 0.0,
        "presence_penalty": 0.0,
        "repetition_penalty": 1.0,
    },
    "instruct": {
        "temperature": 0.7,
        "top_p": 0.8,
        "top_k": 20,
        "min_p": 0.0,
        "presence_penalty": 1.5,
        "repetition_penalty": 1.0,
    },
}

# Each provider's words for what the advice speaks of, and for what has a step at Runware.
WORDS: Mapping[str, Mapping[str, str]] = {
    "mixlayer": {name: name for name in ("temperature", "top_p", "top_k", "presence_penalty", "repetition_penalty")},
    "runware": {
        "temperature": "settings.temperature",
        "top_p": "settings.topP",
        "top_k": "settings.topK",
        "min_p": "settings.minP",
        "presence_penalty": "settings.presencePenalty",
        "frequency_penalty": "settings.frequencyPenalty",
        "repetition_penalty": "settings.repetitionPenalty",
    },
    "empiriolabs": {name: name for name in ADVICE["thinking"]},
}

# -- failures -----------------------------------------------------------------------------------------------------------

# Runware's raw codes (wire-protocols.md, 3.8, the vendor's own classifier; in 2.5 and 6 what each family means).
RUNWARE_CODES: Mapping[str, str] = {
    "rateLimitExceeded": "RateLimited",
    "providerRateLimitExceeded": "RateLimited",
    "rateLimit": "RateLimited",
    "providerTimeout": "UpstreamTimeout",
    "timeoutProvider": "UpstreamTimeout",
    "timeout": "UpstreamTimeout",
    "contentPolicyViolation": "ContentBlocked",
    "providerContentPolicyViolation": "ContentBlocked",
    "sensitiveContentDetected": "ContentBlocked",
    "unsafeContentDetected": "ContentBlocked",
    "nsfwContentDetected": "ContentBlocked",
    "promptBlocked": "ContentBlocked",
    "imageBlocked": "ContentBlocked",
    "moderationFailed": "ContentBlocked",
    "providerUnauthorized": "ServerError",
    "providerQuotaExceeded": "ServerError",
    "insufficientCredits": "OutOfCredit",
    "quotaExceeded": "OutOfCredit",
    "insufficientBalance": "OutOfCredit",
    "paymentRequired": "OutOfCredit",
    "invalidApiKey": "AuthenticationFailed",
    "missingApiKey": "AuthenticationFailed",
    "unauthorized": "AuthenticationFailed",
    "authFailed": "AuthenticationFailed",
    "missingAuthentication": "AuthenticationFailed",
    "invalidCredentials": "AuthenticationFailed",
    "tokenExpired": "AuthenticationFailed",
    "tokenInvalid": "AuthenticationFailed",
    "tokenMissing": "AuthenticationFailed",
    "tokenRevoked": "AuthenticationFailed",
    "forbidden": "PermissionDenied",
    "permissionDenied": "PermissionDenied",
    "accountSuspended": "PermissionDenied",
    "organizationSuspended": "PermissionDenied",
    "workspaceDisabled": "PermissionDenied",
    "noAvailableServer": "Overloaded",
    "serviceUnavailable": "Overloaded",
    "serverUnavailable": "Overloaded",
    "modelNotReady": "Overloaded",
    "modelUnavailable": "Overloaded",
    "modelNotFound": "ModelNotFound",
    "modelDisabled": "ModelNotFound",
    "invalidModel": "ModelNotFound",
    "unsupportedModel": "ModelNotFound",
    "unknownModel": "ModelNotFound",
    "internalServerError": "ServerError",
    "standardError": "ServerError",
    "unknownError": "ServerError",
    "undefinedError": "ServerError",
    "defaultError": "ServerError",
    "inferenceError": "ServerError",
    "streamingError": "ServerError",
    "processingFailed": "ServerError",
    "taskFailedOrNotFound": "ServerError",
    "taskCancelled": "ServerError",
    "maxContextLengthExceeded": "ContextLengthExceeded",
    "invalidParameter": "BadRequest",
    "missingParameter": "BadRequest",
    "conflictParameters": "BadRequest",
    "duplicateParameter": "BadRequest",
    "unsupportedParameter": "BadRequest",
    "valueOutOfRange": "BadRequest",
    "arrayTooLong": "BadRequest",
    "maxLengthExceeded": "BadRequest",
    "unknownParameter": "BadRequest",
    "incompatibleParameters": "BadRequest",
    "validationFailed": "BadRequest",
}

# Statuses and texts (2.5, 4.4, 5.5), each in the words that the document prints.
TEXTS: Mapping[str, list[tuple[int, str, str]]] = {
    "mixlayer": [(503, "The model is overloaded.", "Overloaded")],
    "runware": [
        (400, "Input exceeds the context length of the model", "ContextLengthExceeded"),
        (200, "Input exceeds the context length of the model", "ContextLengthExceeded"),
        (200, "The messages do not fit the context window", "ContextLengthExceeded"),
        (503, "No server.", "Overloaded"),
    ],
    "empiriolabs": [(503, "The model is currently unavailable.", "Overloaded")],
    "aiml": [
        (403, "You've run out of credits. Please top up your balance", "OutOfCredit"),
        (403, "Forbidden resource", "PermissionDenied"),
        (404, "No credit is given to a model that is deprecated", "ModelNotFound"),
        (429, "Free-tier limit: You've reached your free limit for the hour.", "OutOfCredit"),
        (429, "Too Many Requests", "RateLimited"),
        (500, "Something wrong with the server. Please, try again later.", "ServerError"),
        (500, "The model is under maintenance. Try another one.", "Overloaded"),
        (400, "Invalid enum value. Expected 'alibaba/a', received 'alibaba/b'", "ModelNotFound"),
        (400, "Invalid enum value. Expected 'low' | 'medium', received 'max'", "BadRequest"),
        (503, "Service unavailable", "Overloaded"),
        (504, "Generation timeout", "UpstreamTimeout"),
    ],
}
