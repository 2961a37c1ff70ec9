"""A server that says it speaks OpenAI's chat API: vLLM, SGLang, a proxy, OpenAI itself.

From OpenAI's public API and section 7 of ``wire-protocols.md``. Any model by default, OpenAI's ranges, the sampling fields of the open engines ignored unless they are to be refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

from router.lab.answers import Generation, distort
from router.lab.emulators import chat_checks
from router.lab.emulators.chat import ChatEmulator, UnknownFields
from router.lab.emulators.chat_shapes import Delta, dumps, logprobs, rendered_call
from router.lab.emulators.checks import BOOLEAN, INTEGER, OBJECT, STRING, Complaint, Field
from router.lab.emulators.playback import Json, Whole
from router.lab.emulators.record import Invoice, Received
from router.lab.emulators.words import JSON_TYPE, Model, Problem

_PENALTY = Field("number null", -2, 2)
_LIMIT = Field("integer null", 1)
_FIELDS = {
    "model": STRING,
    "messages": Field("array"),
    "temperature": Field("number null", 0, 2),
    "top_p": Field("number null", 0, 1),
    "max_tokens": _LIMIT,
    "max_completion_tokens": _LIMIT,
    "n": Field("integer null", 1, 128),
    "stop": Field("string array null", many=4, item=STRING),
    "seed": Field("integer null"),
    "frequency_penalty": _PENALTY,
    "presence_penalty": _PENALTY,
    "logit_bias": Field("object null"),
    "logprobs": Field("boolean null"),
    "top_logprobs": Field("integer null", 0, 20),
    "reasoning_effort": Field("string null", choices=("none", "minimal", "low", "medium", "high", "xhigh", "max")),
    "response_format": OBJECT,
    "tools": Field("array", few=1, many=128),
    "tool_choice": Field("string object"),
    "parallel_tool_calls": BOOLEAN,
    "stream": Field("boolean null"),
    "stream_options": Field("object null"),
    "user": STRING,
    "metadata": Field("object null"),
    # The open engines' own; unknown_fields="refuse" leaves them accepted.
    "top_k": INTEGER,
    "min_p": Field("number", 0, 1),
    "repetition_penalty": Field("number", 0),
    "enable_thinking": BOOLEAN,
    "thinking_budget": INTEGER,
    "chat_template_kwargs": OBJECT,
}

_WORDS = {
    "bad_json": Problem(400, "We could not parse the JSON body of your request."),
    "no_key": Problem(401, "You didn't provide an API key.", "invalid_request_error", "invalid_api_key"),
    "bad_key": Problem(401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
    "model_gone": Problem(
        404, "The model `{model}` does not exist.", "invalid_request_error", "model_not_found", "model"
    ),
    "rate_limited": Problem(429, "Rate limit reached for {model}.", "requests", "rate_limit_exceeded"),
    "out_of_credit": Problem(429, "You exceeded your current quota.", "insufficient_quota", "insufficient_quota"),
    "server_error": Problem(500, "The server had an error while processing your request.", "server_error"),
    "overloaded": Problem(503, "The engine is currently overloaded.", "service_unavailable_error"),
    "gateway_timeout": Problem(504, "The engine did not answer in time.", "server_error", "timeout"),
    "context_length": Problem(
        400, "This model's maximum context length is exceeded.", code="context_length_exceeded", param="messages"
    ),
    "content_policy": Problem(400, "Your request was rejected by our safety system.", code="content_policy_violation"),
    "too_large": Problem(413, "Request body too large."),
    "no_route": Problem(404, "Invalid URL.", code="unknown_url"),
    "bad_method": Problem(405, "Method not allowed."),
}


class OpenAICompatible(ChatEmulator):
    """Some OpenAI-compatible server."""

    name = "openai"
    words = _WORDS
    catalogue: ClassVar[Mapping[str, Model]] = {}
    fields = _FIELDS
    rules = chat_checks.ChatRules(
        roles=("system", "developer", "user", "assistant", "tool"), user_parts=("text", "image_url", "video_url")
    )

    def __init__(
        self,
        *,
        unknown_fields: UnknownFields = "ignore",
        reasoning: Literal["reasoning_content", "reasoning", "both", "think", "none"] = "reasoning_content",
        default_thinking: bool = True,
        price: tuple[float, float] = (0.0, 0.0),
        context: int = 1_000_000,
        details: bool = True,
        auth: tuple[str, str] = ("Authorization", "Bearer"),
        **common: Any,
    ) -> None:
        """Make one; without *models* it serves any name at *price* (dollars per million tokens in and out).

        *reasoning*: the field that holds it; "both" as an interim vLLM did, "think" inline in content, "none" a model
        that does not think. *details*: whether usage has its details. *auth*: the header of the key, and the word before
        it, empty for none.
        """
        super().__init__(unknown_fields=unknown_fields, **common)
        self._reasoning = reasoning
        self._default_thinking = default_thinking
        self._any = Model(*price, context=context)
        self._details = details
        self._auth = auth

    def key_of(self, received: Received) -> str:
        header, scheme = self._auth
        word, _, key = str(received.headers.get(header, "")).rpartition(" ")
        return key if word.lower() == scheme.lower() else ""

    def model_of(self, name: str) -> Model | None:
        return self.models.get(name) if self.models else self._any

    def check_rules(self, body: Json) -> Problem | None:
        if body.get("top_logprobs") is not None and not body.get("logprobs"):
            return Problem(
                400, "'top_logprobs' needs 'logprobs' to be true.", code="invalid_value", param="top_logprobs"
            )
        if body.get("stream_options") is not None and not body.get("stream"):
            message = "'stream_options' is only allowed when 'stream' is enabled."
            return Problem(400, message, code="invalid_value", param="stream_options")
        return None

    def thinking(self, body: Json) -> tuple[bool, int | None]:
        template = body.get("chat_template_kwargs") or {}
        said = [body.get("enable_thinking"), template.get("enable_thinking")]
        off = False in said or body.get("reasoning_effort") == "none"
        on = self._default_thinking or True in said or body.get("reasoning_effort") is not None
        return on and not off and self._reasoning != "none", body.get("thinking_budget")

    def choices(self, body: Json) -> int:
        return body.get("n") or 1

    def shape(self, made: Generation, body: Json) -> Generation:
        return distort(made, "think_in_content") if self._reasoning == "think" and made.reasoning else made

    def usage(self, invoice: Invoice) -> Json:
        usage = super().usage(invoice)
        if self._details:
            usage["prompt_tokens_details"] = {"cached_tokens": invoice.cached}
            usage["completion_tokens_details"] = {"reasoning_tokens": invoice.reasoning}
        return usage

    def message(self, made: Generation) -> Json:
        message: Json = {"role": "assistant", "content": made.content or (None if made.tool_calls else "")}
        message |= dict.fromkeys(self._names(), made.reasoning) if made.reasoning else {}
        return message | ({"tool_calls": [rendered_call(call) for call in made.tool_calls]} if made.tool_calls else {})

    def _names(self) -> Sequence[str]:
        return ("reasoning_content", "reasoning") if self._reasoning == "both" else (self._reasoning,)

    def deltas(self, made: Generation) -> Iterator[Delta]:
        for delta in super().deltas(made):
            piece = delta.body.get("reasoning_content")
            yield delta if piece is None else replace(delta, body=dict.fromkeys(self._names(), piece))

    def choice_extras(self, made: Generation, pieces: Sequence[str], body: Json, *, last: bool) -> Json:
        if body.get("logprobs") and pieces:
            return {"logprobs": logprobs(pieces, body.get("top_logprobs") or 0)}
        return {"logprobs": None}

    def invalid(self, complaint: Complaint) -> Problem:
        code = {"missing": "missing_required_parameter", "unknown": "unknown_parameter", "type": "invalid_type"}
        message = f"Invalid value for '{complaint.param}': {complaint.message}."
        return Problem(400, message, code=code.get(complaint.reason, "invalid_value"), param=complaint.param)

    def envelope(self, problem: Problem, received: Received) -> Whole:
        error = {"message": problem.message, "type": problem.type, "param": problem.param, "code": problem.code}
        return Whole(dumps({"error": error}), problem.status, JSON_TYPE)

    def other(self, received: Received) -> Whole:
        if (received.method, received.path) == ("GET", "/v1/models"):
            if problem := self.check_key(received):
                return self.refuse(problem, received)
            names = list(self.models) or ["emulated"]
            rows = [{"id": name, "object": "model", "created": 1_790_000_000, "owned_by": "emulator"} for name in names]
            return Whole(dumps({"object": "list", "data": rows}), headers=JSON_TYPE)
        return super().other(received)
