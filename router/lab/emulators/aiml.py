"""AI/ML API, from ``aiml-qwen3.6-35b-a3b.txt`` and section 5 of ``wire-protocols.md``.

DOC: the parameters and their ranges, the whole answer, the credits. FOUND: the stream, the headers, both error
envelopes. What is INFERRED is an argument of the constructor.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from router.lab.answers import Generation, split
from router.lab.emulators import aiml_models as sold
from router.lab.emulators import aiml_words as wording
from router.lab.emulators import chat_checks
from router.lab.emulators.chat import ChatEmulator, UnknownFields
from router.lab.emulators.chat_shapes import Delta, dumps, logprobs, rendered_call, tool_deltas
from router.lab.emulators.checks import BOOLEAN, Complaint, Field, check_fields
from router.lab.emulators.playback import Json, Outcome, Stream, Whole
from router.lab.emulators.record import Invoice, Received
from router.lab.emulators.words import JSON_TYPE, Model, Problem
from router.lab.faults import Fault

CREDITS_PER_DOLLAR = 2_000_000  # DOC: 120000 credits are $0.06, 7022 are $0.003511
_REASONING = {
    "effort": Field("string", choices=("low", "medium", "high")),
    "max_tokens": Field("integer", 1),
    "exclude": BOOLEAN,
}
_CLIENT_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")  # FOUND[A2]
_NAMESPACE = uuid.UUID("a1a1a1a1-0000-4000-8000-000000000000")


class AIML(ChatEmulator):
    """api.aimlapi.com."""

    name = "aiml"
    words = wording.WORDS
    catalogue = sold.CATALOGUE
    fields = sold.FIELDS
    # FOUND[A4, A6]: the same is served without /v1 and with /api/v1.
    paths = ("/v1/chat/completions", "/chat/completions", "/api/v1/chat/completions")
    rules = chat_checks.ChatRules(max_tools=128, strict_tools=True)

    def __init__(
        self,
        *,
        unknown_fields: UnknownFields = "refuse",
        unknown_model: Literal[400, 404] = 404,
        envelope: Literal["problem", "legacy"] = "problem",
        done: bool = False,
        stream_usage: bool = True,
        meta: bool = True,
        details: bool = True,
        cost_headers: bool | None = None,
        late_meta: bool = False,
        video: bool = True,
        like_schema: bool = False,
        **common: Any,
    ) -> None:
        """Make one.

        *unknown_fields*: A1 declares nothing about unknown keys; INFERRED refused, so that a test sees what should not
        have been sent. *unknown_model*: 404 or the enum's 400 (both INFERRED). *envelope*: the two of FOUND[A6, A3].
        *done*: the one published capture has no [DONE], its parser expects one. *stream_usage*, *meta*, *details*:
        whether the usage chunk, the cost and usage's details are there (DOC: details may be null, FOUND[A1] meta too).
        *cost_headers*: whether an unstreamed answer has the cost in its headers as well (FOUND[A2]); None: as *meta*.
        *late_meta*: the cost comes after [DONE] (open question 5: its place is not settled). *video*: whether the
        page's model, which it calls multimodal, takes `video_url` parts. INFERRED: a sibling's schema has them
        (qwen3.8-27b.json), its own (A1) lists text and image_url, and lacks reasoning_content, which the DOC shows.
        *like_schema*: an unstreamed answer as in the example of the DOC's schema, with its nulls and the model's prefix.
        """
        super().__init__(unknown_fields=unknown_fields, done=done, **common)
        self._unknown_model = unknown_model
        self._legacy = envelope == "legacy"
        self._stream_usage = stream_usage
        self._meta = meta
        self._details = details
        self._cost_headers = meta if cost_headers is None else cost_headers
        self._late_meta = late_meta
        self._video = video
        self._like_schema = like_schema
        self._replies = 0

    def reply_headers(self, received: Received) -> Mapping[str, str]:
        self._replies += 1
        headers = {"x-request-id": str(uuid.uuid5(_NAMESPACE, f"request {self._replies}"))}  # FOUND[A6]: always
        if self.is_inference(received):
            headers["x-inference-id"] = str(uuid.uuid5(_NAMESPACE, f"inference {self._replies}"))
        client_id = str(received.headers.get("X-Client-Request-Id", ""))
        if _CLIENT_ID.fullmatch(client_id):  # FOUND[A2]: a bad one is silently dropped
            headers["x-client-request-id"] = client_id
        return headers

    def fields_for(self, body: Json) -> Mapping[str, Field]:
        return sold.FIELDS_OF.get(str(body.get("model")), sold.FIELDS)  # a model of nobody's: as the page's own

    def rules_for(self, body: Json) -> chat_checks.ChatRules:
        model = body["model"]
        if model == sold.VIDEO or (model == sold.MULTIMODAL and self._video):
            return replace(self.rules, user_parts=("text", "image_url", "video_url"))
        return self.rules

    def check(self, received: Received) -> Problem | None:
        problem = super().check(received)
        if problem is self.words["model_gone"] and self._unknown_model == 400:
            known = " | ".join(f"'{name}'" for name in self.models)
            asked = received.body["model"]
            return wording.body_error(Complaint("model", "enum", wording.enum_message(known, asked), list(self.models)))
        return problem

    def check_shapes(self, body: Json) -> Complaint | None:
        complaint = super().check_shapes(body) or _check_reasoning(body.get("reasoning") or {})
        if complaint is None and body.get("top_logprobs") is not None and body.get("logprobs") is not True:
            return Complaint("top_logprobs", "value", "logprobs must be set to true if this parameter is used")  # DOC
        for token, value in (body.get("logit_bias") or {}).items():
            complaint = complaint or Field("number", -100, 100).complain(f"logit_bias.{token}", value)
        return complaint

    def invalid(self, complaint: Complaint) -> Problem:
        return wording.body_error(complaint)

    def thinking(self, body: Json) -> tuple[bool, int | None]:
        """DOC: on in the document's answer, NOT FOUND how to turn it off; two siblings have a switch, off by default."""
        if "enable_thinking" not in self.fields_for(body):
            return True, (body.get("reasoning") or {}).get("max_tokens")
        on = body.get("enable_thinking", False)
        return on, body.get("thinking_budget") if on else None  # "effective only when enable_thinking is set to true"

    def charge(self, model: Model, prompt: int, cached: int, completion: int) -> float:
        """Credits round up per component (checked against the DOC's 7022)."""
        return self._credits(model, prompt, completion) / CREDITS_PER_DOLLAR

    def _credits(self, model: Model, prompt: int, completion: int) -> int:
        scale = CREDITS_PER_DOLLAR / 1_000_000
        parts = (prompt * model.input * scale, completion * model.output * scale)
        return sum(math.ceil(round(part, 6)) for part in parts)  # rounded first: 0.1 + 0.2 must not cost a credit

    # --- Rendering ----------------------------------------------------------------------------------------------

    def head(self, body: Json) -> Json:
        head = super().head(body)
        head["id"] = f"chatcmpl-{uuid.uuid5(_NAMESPACE, head['id'])}"
        head["model"] = str(body["model"]).rpartition("/")[2]  # DOC: the prefix is gone
        return head

    def usage(self, invoice: Invoice) -> Json:
        """DOC: completion_tokens includes reasoning, text_tokens equals the total."""
        details: Json | None = None
        prompt: Json | None = None
        if self._details:
            details = {"reasoning_tokens": invoice.reasoning, "text_tokens": invoice.completion}
            prompt = {"text_tokens": invoice.prompt} | ({"cached_tokens": invoice.cached} if invoice.cached else {})
        return super().usage(invoice) | {"completion_tokens_details": details, "prompt_tokens_details": prompt}

    def cost(self, invoice: Invoice) -> Json:
        """What the request cost, twice."""
        return {"usage": {"credits_used": round(invoice.usd * CREDITS_PER_DOLLAR), "usd_spent": invoice.usd}}

    def whole(self, head: Json, choices: Sequence[Generation], usage: Json | None, invoice: Invoice) -> Whole:
        rendered: list[Json] = [
            {"message": self.message(made), "finish_reason": made.finish_reason, "index": number}
            | self.choice_extras(made, made.pieces, invoice.request.body, last=True)
            for number, made in enumerate(choices)
        ]
        body: Json = {"choices": rendered, "object": "chat.completion"}
        body |= ({"usage": usage} if usage is not None else {}) | {"system_fingerprint": None} | head
        if self._like_schema:
            del body["system_fingerprint"]
            body["model"] = invoice.model
            for choice in rendered:
                nulls: Json = dict.fromkeys(("refusal", "annotations", "audio", "tool_calls"))
                choice["message"] = nulls | choice["message"]
        cost = self.cost(invoice)
        body |= {"meta": cost} if self._meta else {}
        if not self._cost_headers:
            return Whole(dumps(body), headers=JSON_TYPE)
        credits_used = str(cost["usage"]["credits_used"])
        headers = {"x-aimlapi-credits-used": credits_used, "x-aimlapi-usd-spent": f"{invoice.usd:.9f}"}
        return Whole(dumps(body), headers={**JSON_TYPE, **headers})

    def message(self, made: Generation) -> Json:
        message: Json = {"content": made.content}
        if made.reasoning:
            message["reasoning_content"] = made.reasoning
        message["role"] = "assistant"
        return message | ({"tool_calls": [rendered_call(call) for call in made.tool_calls]} if made.tool_calls else {})

    def choice_extras(self, made: Generation, pieces: Sequence[str], body: Json, *, last: bool) -> Json:
        if body.get("logprobs") and pieces:
            return {"logprobs": logprobs(pieces, int(body.get("top_logprobs") or 0))}
        return {"logprobs": None} if body.get("stream") is not True else {}

    def deltas(self, made: Generation) -> Iterator[Delta]:
        """FOUND[A5]: all fields in every delta; the finishing one has an empty content."""
        yield Delta({"content": None, "role": "assistant", "refusal": None, "reasoning_content": ""})
        for piece in split(made.reasoning):
            yield Delta({"content": None, "refusal": None, "reasoning_content": piece}, token=True)
        for piece in made.pieces:
            yield Delta({"content": piece, "refusal": None, "reasoning_content": None}, token=True)
        yield from tool_deltas(made.tool_calls)
        yield Delta({"content": "", "refusal": None, "reasoning_content": None}, finish=made.finish_reason)

    def chunk(self, head: Json, choice: Json) -> Json:
        return {"id": head["id"], "choices": [choice]} | self._rest(head) | {"usage": None}

    def answer(self, received: Received, fault: Fault | None) -> Outcome:
        outcome = super().answer(received, fault)
        if isinstance(outcome, Stream) and self._meta and self._late_meta and outcome.frames[-1].kind == "done":
            *rest, meta, done = outcome.frames
            return replace(outcome, frames=(*rest, done, meta))
        return outcome

    def tail(self, head: Json, usage: Json | None, invoice: Invoice) -> list[Json]:
        """FOUND[A5, A2]: a chunk of usage alone, then one of meta alone."""
        chunks: list[Json] = []
        if usage is not None and self._stream_usage:
            chunks.append({"id": head["id"], "choices": []} | self._rest(head) | {"usage": usage})
        return [*chunks, *([{"meta": self.cost(invoice)}] if self._meta else [])]

    def _rest(self, head: Json) -> Json:
        return {"created": head["created"], "model": head["model"], "object": "chat.completion.chunk"}

    def envelope(self, problem: Problem, received: Received) -> Whole:
        return wording.envelope(problem, received.path, legacy=self._legacy)

    def other(self, received: Received) -> Whole:
        """FOUND[A4]: the list needs no key."""
        if received.method == "GET" and received.path in ("/v1/models", "/models"):
            rows = [wording.model_row(name, model, received.query) for name, model in self.models.items()]
            headers = {**JSON_TYPE, "ETag": '"emulated-1"', "Cache-Control": "public, max-age=60"}
            return Whole(dumps({"object": "list", "data": rows}), headers=headers)
        name = received.path.removeprefix("/model/")
        if received.method == "GET" and name in self.models:
            row = wording.model_row(name, self.models[name], {"include": "all"})
            return Whole(dumps({"object": "model", "data": row}), headers=JSON_TYPE)
        return super().other(received)


def _check_reasoning(reasoning: Json) -> Complaint | None:
    """FOUND[A1's siblings]: an effort or a number of tokens, never both."""
    complaint = check_fields(reasoning, _REASONING, ignore_unknown=True)
    if complaint is None and {"effort", "max_tokens"} <= reasoning.keys():
        complaint = Complaint("max_tokens", "value", "Cannot be used simultaneously with effort")
    return complaint.inside("reasoning") if complaint is not None else None
