"""What an emulated model says: scripted or by default, cut by stop sequences and by the token limit, and counted.

Pure. Knows no provider and no wire format: an emulator reads a request into ``Asked`` and renders a ``Generation``.

The token rule, everywhere: a token is a run of word characters or one other visible character, so "17 * 23?" has four.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from router.lab.samples import sample

_TOKEN = re.compile(r"\w+|[^\w\s]")
_PIECE = re.compile(r"\S+\s*|\s+")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool; *arguments* is a JSON string, right or wrong, or a mapping, which becomes one."""

    id: str
    name: str
    arguments: str

    def __init__(self, id: str, name: str, arguments: str | Mapping[str, Any]) -> None:  # noqa: A002  # OpenAI's name
        said = arguments if isinstance(arguments, str) else json.dumps(arguments)
        for field, value in (("id", id), ("name", name), ("arguments", said)):
            object.__setattr__(self, field, value)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model shall say.

    *reasoning_content* is said only when thinking is on for the request, by the provider's rules: a scripted model
    cannot think when told not to. A None means: by the rules (finish reason, token counts, pieces).
    """

    content: str = ""
    reasoning_content: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    pieces: tuple[str, ...] | None = None

    @property
    def text(self) -> str:
        """The content, which may be given by its pieces alone."""
        return self.content or "".join(self.pieces or ())


@dataclass(frozen=True, slots=True)
class Asked:
    """What matters of a request for the answer, in nobody's wire format."""

    prompt_tokens: int
    last_text: str
    thinking: bool
    thinking_budget: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    tools: Mapping[str, Mapping[str, Any]] | None = None  # name -> JSON schema of its parameters
    forced_tool: str | None = None
    json_schema: Mapping[str, Any] | None = None  # {} is "any object"


@dataclass(frozen=True, slots=True)
class Generation:
    """One choice as it was generated; *completion_tokens* includes *reasoning_tokens*."""

    content: str
    reasoning: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str | None
    pieces: tuple[str, ...]
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cached_tokens: int | None
    stopped_by: str | None = None


def count_tokens(text: str) -> int:
    """Count by the rule of this module."""
    return len(_TOKEN.findall(text))


def truncate(text: str, tokens: int) -> str:
    """Return the start of *text* that has at most so many tokens."""
    for number, match in enumerate(_TOKEN.finditer(text)):
        if number == tokens:
            return text[: match.start()].rstrip()
    return text


def split(text: str) -> tuple[str, ...]:
    """Split into words, each with the whitespace behind it: nothing is lost."""
    return tuple(_PIECE.findall(text))


def default_answer(asked: Asked) -> Answer:
    """Echo: derived from the last message alone, so that the same request has the same answer."""
    reasoning = f"The user says: {asked.last_text} I answer by repeating it."
    if asked.forced_tool is not None and asked.tools:
        arguments = json.dumps(sample(asked.tools[asked.forced_tool]))
        call_id = f"call_{zlib.crc32(f'{asked.forced_tool} {asked.last_text}'.encode()):08x}"
        return Answer(reasoning_content=reasoning, tool_calls=(ToolCall(call_id, asked.forced_tool, arguments),))
    if asked.json_schema is None:
        return Answer(content=f"You said: {asked.last_text}", reasoning_content=reasoning)
    value = sample(asked.json_schema) if asked.json_schema else {"answer": asked.last_text}
    return Answer(content=json.dumps(value), reasoning_content=reasoning)


class _Meter:
    """Lets text through until the token limit is reached."""

    def __init__(self, limit: int | None) -> None:
        self.left = limit
        self.cut = False

    def take(self, text: str, *, at_most: int | None = None) -> str:
        limits = [limit for limit in (self.left, at_most) if limit is not None]
        kept = truncate(text, min(limits)) if limits else text
        if self.left is not None:
            self.cut |= count_tokens(text) > self.left and (at_most is None or at_most > self.left)
            self.left -= count_tokens(kept)
        return kept

    def take_call(self, call: ToolCall) -> ToolCall:
        return ToolCall(call.id, self.take(call.name), self.take(call.arguments))


def generate(answer: Answer, asked: Asked) -> Generation:
    """Say *answer* within the limits of the request: thinking, stop sequences, the token limit."""
    meter = _Meter(asked.max_tokens)
    reasoning = (answer.reasoning_content or "") if asked.thinking else ""
    reasoning = meter.take(reasoning, at_most=asked.thinking_budget)
    stopped, stopped_by = _stop(answer.text, asked.stop)
    content = meter.take(stopped)
    # A call whose name did not fit is not a call; one whose arguments did not fit is a broken one, as on a real server.
    calls = tuple(call for call in map(meter.take_call, answer.tool_calls) if call.name)
    reasoning_tokens = count_tokens(reasoning)
    total = count_tokens(content) + reasoning_tokens + sum(count_tokens(f"{c.name} {c.arguments}") for c in calls)
    finish = "length" if meter.cut else answer.finish_reason or ("tool_calls" if calls else "stop")
    return Generation(
        content=content,
        reasoning=reasoning,
        tool_calls=calls,
        finish_reason=finish,
        pieces=answer.pieces if answer.pieces and "".join(answer.pieces) == content else split(content),
        prompt_tokens=asked.prompt_tokens if answer.prompt_tokens is None else answer.prompt_tokens,
        completion_tokens=total if answer.completion_tokens is None else answer.completion_tokens,
        reasoning_tokens=reasoning_tokens if answer.reasoning_tokens is None else answer.reasoning_tokens,
        cached_tokens=answer.cached_tokens,
        stopped_by=None if meter.cut else stopped_by,
    )


def _stop(text: str, sequences: tuple[str, ...]) -> tuple[str, str | None]:
    found = [(at, sequence) for sequence in sequences if sequence and (at := text.find(sequence)) >= 0]
    if not found:
        return text, None
    at, sequence = min(found)
    return text[:at], sequence


def distort(made: Generation, kind: str) -> Generation:
    """Apply a fault that changes what an answer says, not how it travels; other kinds change nothing."""
    if kind == "no_finish":
        return replace(made, finish_reason=None)
    if kind == "abort":
        pieces = made.pieces[: len(made.pieces) // 2]
        return replace(made, finish_reason="abort", content="".join(pieces), pieces=pieces)
    if kind == "think_in_content":
        leaked = f"<think>\n{made.reasoning or 'Let me think.'}\n</think>\n\n"
        return replace(made, reasoning="", content=leaked + made.content, pieces=split(leaked) + made.pieces)
    if kind == "answer_in_reasoning":
        return replace(made, reasoning=made.content, content="", pieces=())
    return made
