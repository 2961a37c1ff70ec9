"""The canonical answer: chunks, usage, cost, attempts, and the completion that they make up.

Knows what an answer holds, whoever gave it, streamed or whole. Refuses to know providers, dialects and wires. Slotted
dataclasses, because the hot path makes one `Chunk` an event.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from providers.messages import Message, ToolCall

How = Literal["nearest", "clamped", "defaulted", "emulated", "dropped", "inverted"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "unknown"]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between what was asked and what is sent.

    *param* is the canonical field, *asked* its value (None: nothing was asked), *sent* what is on the wire (None:
    nothing), *how* one of nearest, clamped, defaulted, emulated, dropped, inverted, *why* a reason for a person.
    """

    param: str
    asked: Any
    sent: Any
    how: How
    why: str

    def __str__(self) -> str:
        return f"{self.param}: asked {_short(self.asked)}, sent {_short(self.sent)} ({self.how}: {self.why})"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider counted them; None where it did not say. `estimated`: some were counted by us."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    estimated: bool = False


CostSource = Literal["reported", "estimated", "unknown"]


@dataclass(frozen=True, slots=True)
class Cost:
    """US dollars: *reported* by the provider, *estimated* from the catalog's prices, or *unknown* (`usd` is None)."""

    usd: float | None = None
    source: CostSource = "unknown"


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a tool call: *index* says of which, *arguments* is appended."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(slots=True)  # not frozen: one is made per event, and freezing triples what that costs
class Chunk:
    """A piece of an answer. `index` is the choice it belongs to; `completion` is on the last chunk only.

    `restart` (only with `on_interruption: restart`): forget all that came so far, the answer begins again.
    """

    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: tuple[ToolCallDelta, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    cost: Cost | None = None
    index: int = 0
    raw_finish_reason: str | None = None
    logprobs: Any = None
    completion: Completion | None = None
    restart: bool = False

    @property
    def says_something(self) -> bool:
        """True for what a consumer can see: text, reasoning or a piece of a tool call."""
        return bool(self.content or self.reasoning_content or self.tool_calls)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the answers: the text, the reasoning, the tool calls, and why it ended (*raw*: in the provider's word)."""

    index: int = 0
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason = "unknown"
    raw_finish_reason: str | None = None
    logprobs: Any = None

    def to_openai(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": self.content}
        if self.reasoning_content is not None:
            message["reasoning_content"] = self.reasoning_content
        if self.tool_calls:
            message["tool_calls"] = [call.model_dump() for call in self.tool_calls]
        reason = "stop" if self.finish_reason == "unknown" else self.finish_reason
        return {"index": self.index, "message": message, "finish_reason": reason, "logprobs": self.logprobs}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One HTTP exchange and how it ended.

    *outcome* is `success` or the name of the failure's class; *started* (after the request came in) and *duration* are
    seconds; *status* the HTTP status, None where no answer came; *why* the failure in one line; *chosen* why this deployment
    was asked, and who was passed over for it; *delay* the seconds waited before it; *credential* the label of the key used,
    never the key.
    """

    deployment: str
    outcome: str
    status: int | None = None
    duration: float = 0.0
    started: float = 0.0
    cost: Cost = Cost()
    why: str = ""
    delay: float = 0.0
    changes: tuple[Change, ...] = ()
    usage: Usage | None = None
    request_id: str | None = None
    credential: str | None = None
    chosen: str = ""
    error: Exception | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Seam:
    """Where a broken stream went on: *before* had been answering, *after* took over.

    *how*: `spliced` (the same answer again, skipped as far as delivered), `continued` (from the text delivered) or
    `restarted`. *reasoning* and *content* are the characters delivered when it broke; *why* is what broke it.
    """

    before: str
    after: str
    how: Literal["spliced", "continued", "restarted"]
    reasoning: int
    content: int
    why: str


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer, the same in shape whoever gave it, streamed or not.

    `model` is the name the provider gives the model that answered; `deployment` is who served; `changes` is every
    difference between what was asked and what was sent; `attempts` is every exchange, the wasted ones too, and `cost`
    is the sum over them. `seams` are the places where a stream that had broken went on.
    """

    choices: tuple[Choice, ...] = ()
    usage: Usage = Usage()
    cost: Cost = Cost()
    id: str = ""
    model: str = ""
    created: int = 0
    deployment: str = ""
    request_id: str | None = None
    changes: tuple[Change, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    seams: tuple[Seam, ...] = ()

    @property
    def _first(self) -> Choice:
        return self.choices[0] if self.choices else Choice()

    @property
    def content(self) -> str | None:
        return self._first.content

    @property
    def reasoning_content(self) -> str | None:
        return self._first.reasoning_content

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return self._first.tool_calls

    @property
    def finish_reason(self) -> FinishReason:
        return self._first.finish_reason

    @property
    def message(self) -> Message:
        """The answer as a turn of the conversation, to be appended to `messages`."""
        first = self._first
        content = first.content if first.content is not None or first.tool_calls else ""
        return Message(
            role="assistant",
            content=content,
            reasoning_content=first.reasoning_content,
            tool_calls=first.tool_calls,
        )

    def to_openai(self) -> dict[str, Any]:
        """The plain OpenAI mapping, with `reasoning_content`; ready for JSON."""
        return {
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [choice.to_openai() for choice in self.choices],
            "usage": usage_to_openai(self.usage),
        }


def usage_to_openai(usage: Usage) -> dict[str, Any]:
    """*usage* as OpenAI's mapping."""
    out: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens or 0,
        "completion_tokens": usage.completion_tokens or 0,
        "total_tokens": usage.total_tokens or 0,
    }
    if usage.cached_tokens is not None:
        out["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.reasoning_tokens is not None:
        out["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return out
