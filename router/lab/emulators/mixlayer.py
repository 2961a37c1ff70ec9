"""Mixlayer, from ``mixlayer-models.txt``, ``mixlayer-reasoning.txt`` and section 2 of ``wire-protocols.md``.

DOC: the model table, thinking and its streaming, json_schema against thinking. FOUND: parameters, ignored fields, error
envelope. What is INFERRED is an argument of the constructor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from router.lab.answers import Generation, split
from router.lab.emulators import chat_checks
from router.lab.emulators.chat import ChatEmulator
from router.lab.emulators.chat_shapes import Delta, dumps, tool_deltas
from router.lab.emulators.checks import ANYTHING, BOOLEAN, INTEGER, NUMBER, OBJECT, STRING, Complaint, Field
from router.lab.emulators.playback import Json, Whole
from router.lab.emulators.record import Invoice, Received
from router.lab.emulators.words import JSON_TYPE, Model, Problem

_CONTEXT = 131_072  # DOC "131K"; FOUND[M9] says 262,144: the document outranks it
# Prices FOUND[M9], the free model DOC.
_CATALOGUE = {
    "qwen/qwen3.5-4b-free": Model(0, 0, context=_CONTEXT),
    "qwen/qwen3.5-9b": Model(0.10, 0.40, context=_CONTEXT),
    "qwen/qwen3.5-27b": Model(0.30, 2.40, context=_CONTEXT),
    "qwen/qwen3.5-35b-a3b": Model(0.25, 1.30, context=_CONTEXT),
    "qwen/qwen3.5-122b-a10b": Model(0.40, 3.20, context=_CONTEXT),
    "qwen/qwen3.5-397b-a17b": Model(0.60, 3.60, context=_CONTEXT),
}
_PENALTY = Field("number", -2, 2)
_FIELDS = {
    "model": STRING,
    "messages": Field("array"),
    "temperature": NUMBER,  # FOUND[M1]: the range is not stated
    "top_p": Field("number", 0, 1),
    "top_k": INTEGER,
    "frequency_penalty": _PENALTY,
    "presence_penalty": _PENALTY,
    "repetition_penalty": Field("number", 0, 2),
    "max_completion_tokens": Field("integer", 1),  # INFERRED: a limit below one makes no sense
    "max_tokens": Field("integer", 1),
    "stop": Field("array", item=STRING),  # FOUND[M1]: never a bare string
    "seed": INTEGER,
    "stream": BOOLEAN,
    "stream_options": OBJECT,
    "response_format": OBJECT,
    "tools": Field("array"),
    "thinking": BOOLEAN,
    "reasoning_effort": Field("string", choices=("low", "medium", "high")),
    # FOUND[M1]: accepted and silently ignored, whatever their value.
    **dict.fromkeys(("n", "min_p", "tool_choice", "logprobs", "top_logprobs", "user", "logit_bias"), ANYTHING),
}
_MEDIA_TYPES = ("image/jpeg", "image/png", "image/webp", "application/pdf")
_MEDIA_PARTS = 8

_WORDS = {
    "bad_json": Problem(400, "Malformed JSON body.", code="invalid_json"),
    "no_key": Problem(401, "Missing API key.", "authentication_error", "authentication_error"),
    "bad_key": Problem(401, "Invalid API key.", "authentication_error", "authentication_error"),
    "forbidden": Problem(403, "Your API key does not have access to {model}.", "permission_error", "permission_error"),
    "model_gone": Problem(400, "Model not found.", "model_not_found", "model_not_found"),
    "context_length": Problem(400, "The prompt exceeds the context window of {model}.", code="context_length_exceeded"),
    "content_policy": Problem(400, "The request was refused by the content policy.", code="content_policy_violation"),
    "too_large": Problem(413, "Request body too large.", code="request_too_large"),
    "server_error": Problem(500, "failed to prefill rendered prompt", "server_error", "model_server_error"),
    # INFERRED: none of these statuses is documented; the free model is "rate-limited" (DOC), so a 429 must exist.
    "rate_limited": Problem(429, "Rate limit exceeded.", "rate_limit_error", "rate_limit_exceeded"),
    "out_of_credit": Problem(402, "Insufficient credits.", "billing_error", "insufficient_credits"),
    "overloaded": Problem(503, "The model is overloaded.", "server_error", "overloaded"),
    "gateway_timeout": Problem(504, "The model did not answer in time.", "server_error", "timeout"),
    "no_route": Problem(404, "Not found.", code="not_found"),
    "bad_method": Problem(405, "Method not allowed.", code="method_not_allowed"),
}


class Mixlayer(ChatEmulator):
    """models.mixlayer.ai."""

    name = "mixlayer"
    words = _WORDS
    catalogue = _CATALOGUE
    fields = _FIELDS
    rules = chat_checks.ChatRules(
        user_parts=("text", "input_text", "image_url"),
        image_details=("low", "high", "auto", "original"),
        schema_name=False,
    )

    def __init__(
        self,
        *,
        default_thinking: bool = True,
        default_thinking_conflicts: bool = False,
        thinking_wins: bool = True,
        omit_ids: bool = False,
        merge_fields: bool = False,
        empty_tool_content: Literal["", "null", "absent"] = "",
        tool_type_in_deltas: bool = False,
        report_reasoning_tokens: bool = False,
        vision: bool = True,
        forbidden_models: Sequence[str] = (),
        **common: Any,
    ) -> None:
        """Make one.

        *default_thinking*: Qwen 3.5 thinks unless told not to (FOUND[M8]). *default_thinking_conflicts*: whether that
        default too is refused together with json_schema (NOT FOUND; INFERRED no: the mode is then off).
        *thinking_wins* over a reasoning_effort that disagrees (INFERRED). *omit_ids*: chunks without id, object and
        index, as in the DOC's stream. *merge_fields*: reasoning and content share an event (FOUND[M7]).
        *empty_tool_content*: how "content is empty" looks beside a tool call. *tool_type_in_deltas*: the docs' deltas
        have no type. *report_reasoning_tokens*: NOT FOUND in chat usage. *vision*: FOUND[M4], not in the DOC's table.
        """
        super().__init__(**{"unknown_fields": "ignore", **common})  # INFERRED from the list of ignored fields
        self._default_thinking = default_thinking
        self._default_conflicts = default_thinking_conflicts
        self._thinking_wins = thinking_wins
        self._omit_ids = omit_ids
        self._merge = merge_fields
        self._empty_content = empty_tool_content
        self._typed = tool_type_in_deltas
        self._report_reasoning = report_reasoning_tokens
        self._vision = vision
        self._forbidden = frozenset(forbidden_models)

    def check(self, received: Received) -> Problem | None:
        if "session_id" in received.headers:  # FOUND[M6]: the underscore alone is answered so
            return Problem(400, "Invalid header: session_id.", code="invalid_header")
        return super().check(received)

    def check_choice(self, choice: Any, tools: list[Any]) -> Complaint | None:
        return None  # silently ignored, whatever it is

    def check_rules(self, body: Json) -> Problem | None:
        if body["model"] in self._forbidden:
            return self.words["forbidden"]
        problem = self._check_media(body)
        wanted = (body.get("response_format") or {}).get("type")
        if problem is None and wanted == "json_schema" and self._asks_to_think(body):
            message = "response_format json_schema is not supported together with thinking."  # DOC; code FOUND[M1]
            return Problem(400, message, "invalid_request_error", "invalid_response_format", "response_format")
        return problem

    def _asks_to_think(self, body: Json) -> bool:
        asked = self._said(body)
        return asked if asked is not None else self._default_thinking and self._default_conflicts

    def _said(self, body: Json) -> bool | None:
        """What the request says of thinking: any effort only switches it on (DOC)."""
        effort, thinking = body.get("reasoning_effort"), body.get("thinking")
        if effort is not None and (thinking is None or not self._thinking_wins):
            return True
        return thinking

    def thinking(self, body: Json) -> tuple[bool, int | None]:
        said = self._said(body)
        schema = (body.get("response_format") or {}).get("type") == "json_schema"
        return said if said is not None else self._default_thinking and not schema, None

    def _check_media(self, body: Json) -> Problem | None:
        urls = [
            part["image_url"]["url"]
            for message in body["messages"]
            for part in (message.get("content") if isinstance(message.get("content"), list) else [])
            if part.get("type") == "image_url"
        ]
        if not urls:
            return None
        reason = self._against_media(urls, body)
        return Problem(400, reason, "invalid_media", "invalid_media") if reason is not None else None

    def _against_media(self, urls: Sequence[str], body: Json) -> str | None:
        if not self._vision:
            return "The model does not accept media."
        if len(urls) > _MEDIA_PARTS:
            return f"At most {_MEDIA_PARTS} media parts are allowed."
        if body.get("tools") or (body.get("response_format") or {}).get("type") == "json_schema":
            return "Media cannot be combined with tools or json_schema."
        data = tuple(f"data:{kind}" for kind in _MEDIA_TYPES)
        if not all(url.startswith(("https://", *data)) for url in urls):
            return "Media must be an https or data URL of a jpeg, png, webp or pdf."
        return None

    def honours_tool_choice(self) -> bool:
        return False  # FOUND[M1]

    def usage(self, invoice: Invoice) -> Json:
        usage = super().usage(invoice)
        if invoice.cached:
            usage["prompt_tokens_details"] = {"cached_tokens": invoice.cached}
        if self._report_reasoning:
            usage["completion_tokens_details"] = {"reasoning_tokens": invoice.reasoning}
        return usage

    def message(self, made: Generation) -> Json:
        message = super().message(made)
        if made.tool_calls and not made.content and self._empty_content != "":
            message["content"] = None
            if self._empty_content == "absent":
                del message["content"]
        return message

    def deltas(self, made: Generation) -> Iterator[Delta]:
        """FOUND[M1], DOC: the last content event itself carries the finish reason, tool calls have an event for it."""
        reasoning, content = list(split(made.reasoning)), list(made.pieces)
        first: Json = {"role": "assistant"}
        if self._merge and reasoning:
            yield Delta(first | {"reasoning_content": reasoning.pop(0)}, token=True)
        else:
            yield Delta(first)
        shared = reasoning.pop() if self._merge and reasoning and content else None
        for piece in reasoning:
            yield Delta({"reasoning_content": piece}, token=True)
        for number, piece in enumerate(content):
            body: Json = {"content": piece}
            if number == 0 and shared is not None:
                body["reasoning_content"] = shared
            last = number == len(content) - 1 and not made.tool_calls
            yield Delta(body, token=True, finish=made.finish_reason if last else None)
        yield from tool_deltas(made.tool_calls, typed=self._typed)
        if made.tool_calls or not content:
            yield Delta({}, finish=made.finish_reason)

    def chunk(self, head: Json, choice: Json) -> Json:
        if not self._omit_ids:
            return super().chunk(head, choice)
        return {"choices": [{name: value for name, value in choice.items() if name != "index" and value is not None}]}

    def envelope(self, problem: Problem, received: Received) -> Whole:
        error = {"message": problem.message, "type": problem.type, "code": problem.code or problem.type}
        if problem.param is not None:
            error["param"] = problem.param
        return Whole(dumps({"error": error}), problem.status, JSON_TYPE)

    def invalid(self, complaint: Complaint) -> Problem:
        code = "missing_required_parameter" if complaint.reason == "missing" else "invalid_request_error"
        return Problem(400, f"{complaint.param}: {complaint.message}", "invalid_request_error", code, complaint.param)

    def other(self, received: Received) -> Whole:
        if (received.method, received.path) == ("GET", "/v1/models"):
            if problem := self.check_key(received):
                return self.refuse(problem, received)
            names = [name for name in self.models if name not in self._forbidden]  # DOC: those authorised for the key
            rows = [{"id": name, "object": "model", "created": 1_790_000_000, "owned_by": "mixlayer"} for name in names]
            return Whole(dumps({"object": "list", "data": rows}), headers=JSON_TYPE)
        return super().other(received)
