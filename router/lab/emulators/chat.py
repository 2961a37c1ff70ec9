"""What the OpenAI-compatible emulators have in common: one request in, one outcome out.

Knows OpenAI's chat shapes. What a provider does differently is in its own file, as data or as an overridden method.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, cast

from router.lab.answers import Answer, Asked, Generation, count_tokens, default_answer, distort, generate, split
from router.lab.emulators import chat_checks as checks
from router.lab.emulators.base import Emulator
from router.lab.emulators.chat_shapes import (
    Delta,
    dumps,
    forced,
    last_text,
    message_tokens,
    rendered_call,
    schema,
    tool_deltas,
)
from router.lab.emulators.checks import Complaint, Field, check_fields
from router.lab.emulators.playback import DONE, Frame, Json, Outcome, Stream, Whole
from router.lab.emulators.record import Invoice, Received
from router.lab.emulators.words import JSON_TYPE, Model, Problem
from router.lab.faults import Fault

UnknownFields = Literal["refuse", "ignore"]


class ChatEmulator(Emulator):
    """An OpenAI-compatible provider."""

    catalogue: ClassVar[Mapping[str, Model]]
    fields: ClassVar[Mapping[str, Field]]
    paths: ClassVar[tuple[str, ...]] = ("/v1/chat/completions",)
    rules = checks.ChatRules()

    def __init__(
        self,
        *,
        models: Mapping[str, Model] | None = None,
        unknown_fields: UnknownFields = "ignore",
        done: bool = True,
        **common: Any,
    ) -> None:
        """Make one. *models* in place of the documented catalogue; *done*: whether a stream ends in [DONE]."""
        super().__init__(**common)
        self.models = dict(self.catalogue if models is None else models)
        self._ignore_unknown = unknown_fields == "ignore"
        self._done = done
        self._made = 0

    def is_inference(self, received: Received) -> bool:
        return received.method == "POST" and received.path in self.paths

    def wants_stream(self, received: Received) -> bool:
        return isinstance(received.body, dict) and received.body.get("stream") is True

    def answer(self, received: Received, fault: Fault | None) -> Outcome:
        problem = self.check_key(received) or self.check(received)
        if problem is not None:
            return self.refuse(problem, received)
        kind = fault.kind if fault is not None else ""
        choices = [self.shape(distort(made, kind), received.body) for made in self._generate(received)]
        invoice = self._bill(received, choices)
        head = self.head(received.body)
        usage = None if kind == "usage_missing" else self.usage(invoice)
        whole = self.whole(head, choices, usage, invoice)
        if not self.wants_stream(received):
            return whole
        events = self.events(head, choices, usage, invoice)
        error = self.envelope(self.problem_in_200(None), received).body
        return Stream((*events, *([DONE] if self._done else [])), whole, error, self.stream_headers())

    # --- Reading a request --------------------------------------------------------------------------------------

    def key_of(self, received: Received) -> str:
        """The presented key, or an empty string."""
        scheme, _, key = str(received.headers.get("Authorization", "")).partition(" ")
        return key.strip() if scheme.lower() == "bearer" else ""

    def check_key(self, received: Received) -> Problem | None:
        """Any key will do if none was set; no key never does."""
        key = self.key_of(received)
        if not key:
            return self.words["no_key"]
        return self.words["bad_key"] if self.api_key is not None and key != self.api_key else None

    def check(self, received: Received) -> Problem | None:
        """Return why the request is refused, or None."""
        body = received.body
        if not isinstance(body, dict):
            return self.words["bad_json"]
        complaint = check_fields(
            body, self.fields_for(body), required=("model", "messages"), ignore_unknown=self._ignore_unknown
        ) or self.check_shapes(body)
        if complaint is not None:
            return self.invalid(complaint)
        model = self.model_of(body["model"])
        if model is None:
            return self.words["model_gone"]
        problem = self.check_rules(body)
        if problem is None and self.read(body).prompt_tokens > model.context:
            return self.words["context_length"]
        return problem

    def fields_for(self, body: Json) -> Mapping[str, Field]:
        """The fields that the request's model takes."""
        return self.fields

    def rules_for(self, body: Json) -> checks.ChatRules:
        """The rules for what has an inner structure, for the request's model."""
        return self.rules

    def check_shapes(self, body: Json) -> Complaint | None:
        """Check what has an inner structure."""
        rules = self.rules_for(body)
        if not body["messages"]:
            return Complaint("messages", "few", "Must contain at least 1 element(s)", 1, 0)
        complaint = checks.check_messages(body["messages"], rules)
        tools = body.get("tools") or []
        complaint = complaint or checks.check_tools(tools, rules)
        if complaint is None and body.get("tool_choice") is not None:
            complaint = self.check_choice(body["tool_choice"], tools)
        if complaint is None and body.get("response_format") is not None:
            complaint = checks.check_response_format(body["response_format"], rules)
        if complaint is None and body.get("stream_options") is not None:
            complaint = checks.check_stream_options(body["stream_options"])
        return complaint

    def check_choice(self, choice: Any, tools: list[Any]) -> Complaint | None:
        """Check the tool choice."""
        return checks.check_tool_choice(choice, tools)

    def check_rules(self, body: Json) -> Problem | None:
        """Check what no table can say: fields that exclude each other."""
        return None

    def invalid(self, complaint: Complaint) -> Problem:
        """Put a complaint into the provider's words."""
        message = f"Invalid '{complaint.param}': {complaint.message}."
        return Problem(400, message, "invalid_request_error", "invalid_value", complaint.param)

    def model_of(self, name: str) -> Model | None:
        """The model of that name."""
        return self.models.get(name)

    def thinking(self, body: Json) -> tuple[bool, int | None]:
        """Whether the model thinks on this request, and at most for how many tokens."""
        return True, None

    def max_tokens(self, body: Json) -> int | None:
        """The token limit of the request."""
        limit = body.get("max_completion_tokens", body.get("max_tokens"))
        return None if limit is None else int(limit)

    def honours_tool_choice(self) -> bool:
        """Whether tool_choice means anything here."""
        return True

    def count_prompt(self, body: Json) -> int:
        """The tokens of everything that the model reads."""
        tools = body.get("tools")
        return sum(map(message_tokens, body["messages"])) + (count_tokens(json.dumps(tools)) if tools else 0)

    def read(self, body: Json) -> Asked:
        """Take from a valid request what matters for its answer."""
        thinking, budget = self.thinking(body)
        stop = body.get("stop") or []
        tools = {tool["function"]["name"]: tool["function"].get("parameters") or {} for tool in body.get("tools") or []}
        return Asked(
            prompt_tokens=self.count_prompt(body),
            last_text=last_text(body["messages"]),
            thinking=thinking,
            thinking_budget=budget,
            max_tokens=self.max_tokens(body),
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            tools=tools,
            forced_tool=forced(body.get("tool_choice"), tools) if self.honours_tool_choice() else None,
            json_schema=schema(body.get("response_format")),
        )

    # --- Generating ---------------------------------------------------------------------------------------------

    def choices(self, body: Json) -> int:
        """How many answers to make; most providers have no *n*."""
        return 1

    def _generate(self, received: Received) -> list[Generation]:
        asked = self.read(received.body)
        entry = self._answers.take(received)
        scripted: Sequence[Answer] = entry.item if entry is not None else (default_answer(asked),)
        return [
            generate(scripted[min(number, len(scripted) - 1)], asked) for number in range(self.choices(received.body))
        ]

    def shape(self, made: Generation, body: Json) -> Generation:
        """Change an answer as this server does before it is rendered."""
        return made

    def _bill(self, received: Received, choices: Sequence[Generation]) -> Invoice:
        name = received.body["model"]
        model = cast("Model", self.model_of(name))  # an unknown one was refused
        prompt, cached = choices[0].prompt_tokens, choices[0].cached_tokens or 0
        completion = sum(made.completion_tokens for made in choices)
        reasoning = sum(made.reasoning_tokens for made in choices)
        usd = self.charge(model, prompt, cached, completion)
        invoice = Invoice(received, name, prompt, cached, completion, reasoning, usd)
        self.invoices.append(invoice)
        return invoice

    def charge(self, model: Model, prompt: int, cached: int, completion: int) -> float:
        """What the provider charges for these tokens."""
        return model.usd(prompt, cached, completion)

    # --- Rendering ----------------------------------------------------------------------------------------------

    def head(self, body: Json) -> Json:
        """What every chunk and the whole answer begin with."""
        self._made += 1
        # Fixed, not the clock: the same requests give the same bytes.
        return {"id": f"chatcmpl-{self._made:08d}", "created": 1_790_000_000 + self._made, "model": body["model"]}

    def usage(self, invoice: Invoice) -> Json:
        """The usage of an answer."""
        total = invoice.prompt + invoice.completion
        return {"prompt_tokens": invoice.prompt, "completion_tokens": invoice.completion, "total_tokens": total}

    def whole(self, head: Json, choices: Sequence[Generation], usage: Json | None, invoice: Invoice) -> Whole:
        """The answer as one JSON object."""
        rendered = [
            {"index": number, "message": self.message(made), "finish_reason": made.finish_reason}
            | self.choice_extras(made, made.pieces, invoice.request.body, last=True)
            for number, made in enumerate(choices)
        ]
        body = {**head, "object": "chat.completion", "choices": rendered}
        return Whole(dumps(body if usage is None else {**body, "usage": usage}), headers=JSON_TYPE)

    def message(self, made: Generation) -> Json:
        """The assistant's message."""
        message: Json = {"role": "assistant", "content": made.content}
        if made.reasoning:
            message["reasoning_content"] = made.reasoning
        if made.tool_calls:
            message["tool_calls"] = [rendered_call(call) for call in made.tool_calls]
        return message

    def choice_extras(self, made: Generation, pieces: Sequence[str], body: Json, *, last: bool) -> Json:
        """What stands in a choice beside its message or delta; *pieces* is the content that it brings."""
        return {}

    def deltas(self, made: Generation) -> Iterator[Delta]:
        """The events of one choice."""
        yield Delta({"role": "assistant", "content": ""})
        for piece in split(made.reasoning):
            yield Delta({"reasoning_content": piece}, token=True)
        for piece in made.pieces:
            yield Delta({"content": piece}, token=True)
        yield from tool_deltas(made.tool_calls)
        yield Delta({}, finish=made.finish_reason)

    def events(self, head: Json, choices: Sequence[Generation], usage: Json | None, invoice: Invoice) -> list[Frame]:
        """Every event of the stream but [DONE]."""
        frames: list[Frame] = []
        for number, made in enumerate(choices):
            for delta in self.deltas(made):
                piece = delta.body.get("content")
                pieces, last = [piece] if piece else [], delta.finish is not None
                extras = self.choice_extras(made, pieces, invoice.request.body, last=last)
                chunk = self.chunk(head, {"index": number, "delta": delta.body, "finish_reason": delta.finish} | extras)
                frames.append(Frame(dumps(chunk), "token" if delta.token else "event"))
        return frames + [Frame(dumps(chunk)) for chunk in self.tail(head, usage, invoice)]

    def chunk(self, head: Json, choice: Json) -> Json:
        """One chunk with one choice."""
        return {**head, "object": "chat.completion.chunk", "choices": [choice]}

    def tail(self, head: Json, usage: Json | None, invoice: Invoice) -> list[Json]:
        """The chunks after the last choice: by OpenAI's rule usage only when it was asked for."""
        options = invoice.request.body.get("stream_options") or {}
        if usage is None or not options.get("include_usage"):
            return []
        return [{**head, "object": "chat.completion.chunk", "choices": [], "usage": usage}]

    def stream_headers(self) -> Mapping[str, str]:
        """Headers of a stream beyond its content type."""
        return {}

    def envelope(self, problem: Problem, received: Received) -> Whole:
        error = {"message": problem.message, "type": problem.type, "code": problem.code}
        return Whole(dumps({"error": error}), problem.status, JSON_TYPE)

    def other(self, received: Received) -> Whole:
        if received.path in self.paths:
            return self.in_words("bad_method", received)
        return self.in_words("no_route", received)
