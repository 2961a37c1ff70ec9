"""EmpirioLabs, from ``empiriolabs-qwen3.5-4b.txt`` and section 4 of ``wire-protocols.md``.

DOC: every parameter, its range and default, the price. FOUND: error codes, the injected system prompt, the open model
list. No captured answer is public: the answer's shape is INFERRED from "OpenAI-compatible" and from SGLang, which the
document names, and its variations are arguments of the constructor.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from router.lab.answers import Generation, count_tokens, distort, split
from router.lab.emulators import chat_checks
from router.lab.emulators.chat import ChatEmulator, UnknownFields
from router.lab.emulators.chat_shapes import Delta, dumps, logprobs, rendered_call, tool_deltas
from router.lab.emulators.checks import BOOLEAN, OBJECT, STRING, Complaint, Field
from router.lab.emulators.playback import Frame, Json, Whole
from router.lab.emulators.record import Invoice, Received
from router.lab.emulators.words import JSON_TYPE, Model, Problem

_CATALOGUE = {
    "qwen3-5-4b": Model(0.04, 0.07, 0.02, context=262_144, max_output=32_768),  # DOC
    "qwen3-5-9b": Model(0.09, 0.13, 0.045, context=262_144, max_output=32_768),  # FOUND[E2, E5]
    # Prices of the others FOUND[E5], sizes where section 4.5 has them.
    "qwen3-5-27b": Model(0.086, 0.688, context=262_144),
    "qwen3-5-35b-a3b": Model(0.057, 0.459, context=262_144),
    "qwen3-5-122b-a10b": Model(0.115, 0.917, context=262_144),
    "qwen3-5-397b-a17b": Model(0.172, 1.032, context=262_144),
    "qwen3-5-plus": Model(0.36, 2.21),
    "qwen3-6-27b": Model(0.412564, 2.475384),
    "qwen3-6-flash": Model(0.25, 1.50),
    "qwen3-6-plus": Model(0.50, 3.00),
    "qwen3-6-max-preview": Model(1.31, 7.88),
    "qwen3-7-plus": Model(0.40, 1.60, context=1_000_000),
    "qwen3-7-max": Model(2.50, 7.50, context=1_000_000),  # FOUND[E1, E5]
    "qwen3-8-max": Model(2.00, 6.00, 2.00),
    "qwen3-max": Model(1.08, 5.52),
}
_RAW = ("disable_formatting", "raw", "passthrough", "raw_response")  # FOUND[E1]: one switch, four names
_HEADING = "**Answer**\n\n"
_PENALTY = Field("number", -2, 2)
_FIELDS = {
    "model": STRING,
    "messages": Field("array"),
    "temperature": Field("number", 0, 2),
    "top_p": Field("number", 0, 1),
    "max_tokens": Field("integer", 1, 32_768),
    "stop": Field("string array", many=4, item=STRING),
    "reasoning_effort": Field("string", choices=("none", "low", "medium", "high", "max")),
    "enable_thinking": BOOLEAN,
    "thinking_budget": Field("integer", 1024, 32_768),
    "top_k": Field("integer", 1, 200),
    "min_p": Field("number", 0, 1),
    "presence_penalty": _PENALTY,
    "frequency_penalty": _PENALTY,
    "repetition_penalty": Field("number", 0.1, 2),
    "seed": Field("integer", 0, 2_147_483_647),
    "logprobs": BOOLEAN,
    "top_logprobs": Field("integer", 0, 20),
    "logit_bias": OBJECT,
    "tools": Field("array"),
    "tool_choice": Field("string object"),
    "response_format": OBJECT,
    "stream": BOOLEAN,
    "stream_options": OBJECT,  # INFERRED: NOT FOUND, but part of the compatibility that is claimed
    "parallel_tool_calls": BOOLEAN,  # INFERRED likewise
    **dict.fromkeys(_RAW, BOOLEAN),
}
_FIELDS_OF = {"qwen3-8-max": {"thinking_budget": Field("integer", 1, 262_144)}}  # FOUND[E5]
_DEFAULT_MAX_TOKENS = 4096  # DOC
# DOC: medium is the default effort and 4096 the default budget, so medium is 4096. INFERRED: the other three.
_EFFORTS = {"low": 1024, "medium": 4096, "high": 16_384, "max": 32_768}
# The id of Qwen's end-of-turn token, which SGLang shows in matched_stop. INFERRED.
_END_OF_TURN = 248_046

_WORDS = {
    "bad_json": Problem(400, "Request body is not valid JSON.", code="invalid_request"),
    "no_key": Problem(401, "Missing API key.", "authentication_error", "missing_api_key"),
    "bad_key": Problem(401, "Invalid API key.", "authentication_error", "invalid_api_key"),
    "out_of_credit": Problem(402, "Insufficient credits.", "insufficient_credits", "insufficient_credits"),
    # The codes from here on FOUND[E1]; their statuses INFERRED.
    "model_gone": Problem(404, "Model '{model}' not found.", "model_not_found", "model_not_found"),
    "rate_limited": Problem(429, "Rate limit exceeded.", "rate_limit_exceeded", "rate_limit_exceeded"),
    "overloaded": Problem(503, "The model is currently unavailable.", "model_unavailable", "model_unavailable"),
    "upstream": Problem(502, "The model service failed.", "upstream_error", "upstream_error"),
    # INFERRED altogether.
    "server_error": Problem(500, "Internal server error.", "server_error", "internal_error"),
    "gateway_timeout": Problem(504, "The model service timed out.", "timeout", "timeout"),
    "context_length": Problem(400, "The prompt exceeds the context of {model}.", code="context_length_exceeded"),
    "content_policy": Problem(400, "The request was refused by the content policy.", code="content_policy_violation"),
    "too_large": Problem(413, "Request body too large.", code="request_too_large"),
    "no_route": Problem(404, "Not found.", code="not_found"),
    "bad_method": Problem(405, "Method not allowed.", code="method_not_allowed"),
}


class EmpirioLabs(ChatEmulator):
    """api.empiriolabs.ai."""

    name = "empiriolabs"
    words = _WORDS
    catalogue = _CATALOGUE
    fields = _FIELDS
    rules = chat_checks.ChatRules(
        roles=("system", "developer", "user", "assistant", "tool"),  # developer FOUND[E1]
        user_parts=("text", "image_url", "video_url"),
    )

    def __init__(
        self,
        *,
        unknown_fields: UnknownFields = "refuse",
        system_prompt: str = "You are a helpful assistant served by EmpirioLabs AI.",
        contradictions: Literal["refuse", "budget_wins"] = "refuse",
        answer_reserve: float = 0.25,
        efforts: Mapping[str, int] | None = None,
        stop_arrays: bool = True,
        tool_choice_strings: bool = True,
        reformat: bool = False,
        stream_usage: Literal["chunk", "finish", "absent"] = "chunk",
        reasoning_field: Literal["reasoning_content", "reasoning", "think"] = "reasoning_content",
        usage_details: bool = True,
        sglang_extras: bool = True,
        **common: Any,
    ) -> None:
        """Make one; every argument is INFERRED but for *system_prompt*, whose existence is FOUND[E1] and wording ours.

        *unknown_fields* refused, so that a test sees what should not have been sent. *contradictions*: an effort beside
        a budget, or controls that disagree on thinking. *answer_reserve*: the part of max_tokens that "the service
        reserves for the answer" (DOC says that, not how much). *efforts*: the budget of each word. *stop_arrays*: the
        DOC types stop as string and speaks of four. *tool_choice_strings*: the DOC types it as object. *reformat*:
        FOUND[E1] for some workers, unless disable_formatting. *stream_usage*: "when the model service reports it".
        """
        super().__init__(unknown_fields=unknown_fields, **common)
        self._system_prompt = system_prompt
        self._refuse_contradictions = contradictions == "refuse"
        self._reserve = answer_reserve
        self._efforts = dict(_EFFORTS if efforts is None else efforts)
        self._stop_arrays = stop_arrays
        self._choice_strings = tool_choice_strings
        self._reformat = reformat
        self._stream_usage = stream_usage
        self._reasoning_field = reasoning_field
        self._usage_details = usage_details
        self._extras = sglang_extras

    def fields_for(self, body: Json) -> Mapping[str, Field]:
        model = self.models.get(str(body.get("model")))
        own = {} if model is None else {"max_tokens": Field("integer", 1, model.max_output)}
        return {**self.fields, **own, **_FIELDS_OF.get(str(body.get("model")), {})}

    def key_of(self, received: Received) -> str:
        return super().key_of(received) or str(received.headers.get("x-api-key", ""))  # FOUND[E1]

    def check_shapes(self, body: Json) -> Complaint | None:
        if isinstance(body.get("stop"), list) and not self._stop_arrays:
            return Complaint("stop", "type", "Expected string, received array")
        bias = body.get("logit_bias") or {}
        for token, value in bias.items():
            if complaint := Field("number", -100, 100).complain(f"logit_bias.{token}", value):  # INFERRED from OpenAI
                return complaint
        return super().check_shapes(body)

    def check_choice(self, choice: Any, tools: list[Any]) -> Complaint | None:
        return chat_checks.check_tool_choice(choice, tools, strings=self._choice_strings)

    def check_rules(self, body: Json) -> Problem | None:
        """Refuse thinking controls that contradict each other: their precedence is NOT FOUND."""
        enabled, effort, budget = (
            body.get(name) for name in ("enable_thinking", "reasoning_effort", "thinking_budget")
        )
        off = enabled is False or effort == "none"
        on = enabled is True or effort not in (None, "none") or budget is not None
        if self._refuse_contradictions and ((off and on) or (budget is not None and effort is not None)):
            message = "enable_thinking, reasoning_effort and thinking_budget contradict each other."
            return Problem(400, message, code="invalid_request", param="reasoning_effort")
        return None

    def thinking(self, body: Json) -> tuple[bool, int | None]:
        effort = body.get("reasoning_effort", "medium")
        if body.get("enable_thinking") is False or effort == "none":
            return False, None
        budget = body.get("thinking_budget") or self._efforts[effort]
        limit = self.max_tokens(body) or _DEFAULT_MAX_TOKENS
        room = limit - max(1, math.ceil(limit * self._reserve))
        return True, min(budget, room)  # DOC: "If max_tokens is lower, the service reserves room for the answer"

    def max_tokens(self, body: Json) -> int | None:
        return int(body.get("max_tokens", _DEFAULT_MAX_TOKENS))

    def count_prompt(self, body: Json) -> int:
        spoken = any(message["role"] in ("system", "developer") for message in body["messages"])
        return super().count_prompt(body) + (0 if spoken else count_tokens(self._system_prompt))

    def shape(self, made: Generation, body: Json) -> Generation:
        if self._reasoning_field == "think" and made.reasoning:
            made = distort(made, "think_in_content")
        if self._reformat and not any(body.get(name) for name in _RAW):
            made = replace(made, content=_HEADING + made.content, pieces=(_HEADING, *made.pieces))
        return made

    def usage(self, invoice: Invoice) -> Json:
        usage = super().usage(invoice)
        if self._usage_details:
            usage["prompt_tokens_details"] = {"cached_tokens": invoice.cached}
            usage["completion_tokens_details"] = {"reasoning_tokens": invoice.reasoning}
        return usage

    def message(self, made: Generation) -> Json:
        message: Json = {"role": "assistant", "content": made.content if not made.tool_calls else made.content or None}
        if made.reasoning or self._extras:
            message[self._field] = made.reasoning or None
        calls = [rendered_call(call) for call in made.tool_calls] or None
        return message | ({"tool_calls": calls} if calls or self._extras else {})

    @property
    def _field(self) -> str:
        return "reasoning" if self._reasoning_field == "reasoning" else "reasoning_content"

    def choice_extras(self, made: Generation, pieces: Sequence[str], body: Json, *, last: bool) -> Json:
        extras: Json = {"logprobs": None} if self._extras else {}
        if body.get("logprobs") and pieces:
            extras["logprobs"] = logprobs(pieces, body.get("top_logprobs", 0))
        if self._extras:
            ended = last and made.finish_reason == "stop"
            extras["matched_stop"] = (made.stopped_by or _END_OF_TURN) if ended else None
        return extras

    def deltas(self, made: Generation) -> Iterator[Delta]:
        def padded(delta: Json) -> Json:
            nulls = {"role": None, "content": None, self._field: None, "tool_calls": None} if self._extras else {}
            return nulls | delta

        yield Delta(padded({"role": "assistant", "content": ""}))
        for piece in split(made.reasoning):
            yield Delta(padded({self._field: piece}), token=True)
        for piece in made.pieces:
            yield Delta(padded({"content": piece}), token=True)
        for delta in tool_deltas(made.tool_calls):
            yield replace(delta, body=padded(delta.body))
        yield Delta(padded({"content": ""}), finish=made.finish_reason)

    def tail(self, head: Json, usage: Json | None, invoice: Invoice) -> list[Json]:
        if usage is None or self._stream_usage != "chunk" or self._declined(invoice):
            return []
        return [{**head, "object": "chat.completion.chunk", "choices": [], "usage": usage}]

    def events(self, head: Json, choices: Sequence[Generation], usage: Json | None, invoice: Invoice) -> list[Frame]:
        frames = super().events(head, choices, usage, invoice)
        if usage is not None and self._stream_usage == "finish" and not self._declined(invoice):
            frames[-1] = replace(frames[-1], data=dumps(json.loads(frames[-1].data) | {"usage": usage}))
        return frames

    def _declined(self, invoice: Invoice) -> bool:
        return (invoice.request.body.get("stream_options") or {}).get("include_usage") is False

    def envelope(self, problem: Problem, received: Received) -> Whole:
        error = {"message": problem.message, "type": problem.type, "param": problem.param, "code": problem.code}
        return Whole(dumps({"error": error}), problem.status, JSON_TYPE)

    def invalid(self, complaint: Complaint) -> Problem:
        message = f"Invalid parameter '{complaint.param}': {complaint.message}"
        return Problem(400, message, code="invalid_request", param=complaint.param)

    def other(self, received: Received) -> Whole:
        """FOUND[E1, E2]: the catalogue and the health checks are open, no key needed."""
        if received.method != "GET":
            return super().other(received)
        if received.path == "/v1/models":
            row = alternative_row if received.query.get("format") == "alternative1" else model_row
            rows = [row(name, model) for name, model in self.models.items()]
            return Whole(dumps({"object": "list", "data": rows}), headers=JSON_TYPE)
        name = received.path.removeprefix("/v1/models/")
        if name in self.models:
            return Whole(dumps(model_row(name, self.models[name])), headers=JSON_TYPE)
        if received.path.startswith("/v1/models/"):
            return self.refuse(replace(self.words["model_gone"], message=f"Model '{name}' not found."), received)
        if received.path in ("/health", "/livez"):
            return Whole(dumps({"status": "ok"}), headers=JSON_TYPE)
        return super().other(received)


def model_row(name: str, model: Model) -> Json:
    """A model as GET /v1/models has it: the names FOUND[E1], their nesting INFERRED."""
    return {
        "id": name,
        "object": "model",
        "category": "text",
        "input_modalities": ["text", "image", "video"],
        "output_modalities": ["text"],
        "context_window": model.context,
        "max_output_tokens": model.max_output,
        "pricing": {"prompt": model.input, "completion": model.output, "input_cache_read": model.cached},
        "capabilities": dict.fromkeys(("streaming", "system_prompt", "tool_calling", "vision", "thinking"), True),
        "supported_parameters": [
            {"name": field, "type": rule.kinds.split()[0], "min": rule.low, "max": rule.high}
            for field, rule in _FIELDS.items()
        ],
        "supported_endpoints": ["POST /v1/chat/completions"],
    }


def alternative_row(name: str, model: Model) -> Json:
    """A model as ?format=alternative1 has it (real, E2): prices are strings of dollars per token."""
    prices = {"prompt": model.input, "completion": model.output, "input_cache_read": model.cached or 0}
    return {
        "id": name,
        "input_modalities": ["text", "image", "video"],
        "output_modalities": ["text"],
        "context_length": model.context,
        "max_output_length": model.max_output,
        "pricing": {kind: f"{price / 1e6:.12f}".rstrip("0") for kind, price in prices.items()},
        "supported_features": ["tools", "json_mode", "structured_outputs", "reasoning"],
        "is_ready": True,
    }
