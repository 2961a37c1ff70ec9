"""Chunks into the answer that they make up: the same for a streamed and a whole one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from providers.answer import Choice, Chunk, Completion, Cost, FinishReason, ToolCallDelta, Usage
from providers.messages import Function, ToolCall
from providers.quick import quick

_choice = quick(Choice)


class Folder:
    """Collects chunks into the answer they make up; `add` is on the hot path, `completion` is not."""

    __slots__ = ("_choices", "cost", "usage")

    def __init__(self) -> None:
        self._choices: dict[int, _Parts] = {}
        self.usage: Usage | None = None
        self.cost: Cost | None = None

    @property
    def has_reasoning(self) -> bool:
        """Whether any choice has reasoned so far."""
        for parts in self._choices.values():  # noqa: SIM110  # asked of every answer, and a generator costs more
            if parts.reasoning:
                return True
        return False

    def add(self, chunk: Chunk) -> None:
        parts = self._choices.get(chunk.index)
        if parts is None:
            parts = self._choices[chunk.index] = _Parts()
        if chunk.content:
            parts.content.append(chunk.content)
        if chunk.reasoning_content:
            parts.reasoning.append(chunk.reasoning_content)
        if chunk.tool_calls:
            parts.add_calls(chunk.tool_calls)
        if chunk.finish_reason is not None:
            parts.finish_reason, parts.raw_finish_reason = chunk.finish_reason, chunk.raw_finish_reason
        if chunk.logprobs is not None:
            parts.add_logprobs(chunk.logprobs)
        if chunk.usage is not None:
            self.usage = chunk.usage
        if chunk.cost is not None:
            self.cost = chunk.cost

    def copy(self) -> Folder:
        """What has come so far, without how it ended: to go on from there."""
        other = Folder()
        other._choices = {index: parts.copy() for index, parts in self._choices.items()}
        return other

    def choices(self) -> tuple[Choice, ...]:
        """The answers as far as they have come, in order."""
        if len(self._choices) == 1:
            ((index, parts),) = self._choices.items()
            return (parts.choice(index),)
        return tuple([self._choices[index].choice(index) for index in sorted(self._choices)])

    def completion(self) -> Completion:
        return Completion(choices=self.choices(), usage=self.usage or Usage(), cost=self.cost or Cost())


class _Parts:
    __slots__ = ("calls", "content", "finish_reason", "logprobs", "raw_finish_reason", "reasoning")

    def __init__(self) -> None:
        self.content: list[str] = []
        self.reasoning: list[str] = []
        self.calls: dict[int, list[Any]] = {}  # index: [id, name, [arguments]]
        self.finish_reason: FinishReason | None = None
        self.raw_finish_reason: str | None = None
        self.logprobs: Any = None

    def copy(self) -> _Parts:
        """The same pieces, without the end."""
        other = _Parts()
        other.content, other.reasoning, other.logprobs = [*self.content], [*self.reasoning], self.logprobs
        other.calls = {index: [call[0], call[1], [*call[2]]] for index, call in self.calls.items()}
        return other

    def add_calls(self, deltas: tuple[ToolCallDelta, ...]) -> None:
        for delta in deltas:
            call = self.calls.setdefault(delta.index, [None, None, []])
            call[0] = delta.id or call[0]
            call[1] = delta.name or call[1]
            call[2].append(delta.arguments)

    def add_logprobs(self, logprobs: Any) -> None:
        """Streamed log probabilities come in pieces, each a mapping of lists."""
        if not isinstance(self.logprobs, dict) or not isinstance(logprobs, dict):
            self.logprobs = logprobs
            return
        for key, value in logprobs.items():
            known = self.logprobs.get(key)
            both = isinstance(known, list) and isinstance(value, list)
            self.logprobs = {**self.logprobs, key: known + value if both else value}

    def tool_calls(self) -> tuple[ToolCall, ...]:
        whole = self.finish_reason not in (None, "length")
        return tuple(
            ToolCall(
                id=call_id or f"call_{place}",
                function=Function(name=name or "unknown", arguments="".join(arguments) or "{}"),
                complete=whole,
            )
            for place, (call_id, name, arguments) in sorted(self.calls.items())
        )

    def choice(self, index: int) -> Choice:
        content, reasoning = "".join(self.content), "".join(self.reasoning)
        calls = self.tool_calls() if self.calls else ()
        return _choice(
            index=index,
            content=content or (None if calls or reasoning else ""),
            reasoning_content=reasoning or None,
            tool_calls=calls,
            finish_reason=self.finish_reason or "unknown",
            raw_finish_reason=self.raw_finish_reason,
            logprobs=self.logprobs,
        )


def fold(chunks: Iterable[Chunk]) -> Completion:
    """The answer that *chunks* make up. The same for a streamed and a whole answer."""
    folder = Folder()
    for chunk in chunks:
        folder.add(chunk)
    return folder.completion()


def with_completion(chunk: Chunk, completion: Completion) -> Chunk:
    """*chunk* as the last one: it carries the whole answer."""
    return replace(chunk, completion=completion)
