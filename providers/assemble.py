"""What providers call reasoning, text, tool calls and the end, into canonical chunks.

Knows the differences that every wire protocol meets: which field reasoning came in, `<think>` in the text, tool calls
without an index, words for the end, an answer that landed in the wrong field. Refuses to know any envelope.

The law of conservation: every byte of reasoning and of content is delivered once, in order, in one field.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic_core import to_json

from providers.errors import BrokenReply, EmptyReply, GenerationAborted, TruncatedReply
from providers.quick import quick
from providers.think import ThinkSplitter
from providers.types import Change, Chunk, Cost, FinishReason, ToolCallDelta, Usage
from providers.wire import Call

# An open table: a word that is not here is `unknown`, and the raw word is kept. `failed` makes it a failure: vLLM ends
# an aborted generation with `abort` and a normal [DONE] (wire-protocols.md, 7).
FINISH_REASONS: Mapping[str, FinishReason | str] = {
    "stop": "stop",
    "end_turn": "stop",
    "eos": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "content_filter": "content_filter",
    "abort": "failed",
    "error": "failed",
    "network_error": "failed",
}

_NOTHING_IS_FINE = ("length", "content_filter")  # ends that explain an empty answer
_tokens = quick(Usage)
_MOST_TOKENS = 10**12  # a larger count is rubbish


class Assembler:
    """The state of one answer while it arrives."""

    __slots__ = ("_by_id", "_call", "_held", "_open", "_plain", "_positions", "_said", "_splitters", "aborted",
                 "changes", "finishes")  # fmt: skip

    def __init__(self, call: Call) -> None:
        self._call = call
        self._plain: set[int] = set()  # choices whose text needs no more looking for <think>
        self._splitters: dict[int, ThinkSplitter] = {}
        self._held: dict[int, list[str]] = {}  # reasoning that came although it was off
        self._said: set[int] = set()
        self._positions: dict[int, dict[Any, int]] = {}
        self._open: dict[int, int] = {}
        self.finishes: dict[int, str] = {}
        self.aborted: str | None = None  # the word by which the provider gave up
        self.changes: list[Change] = []  # what the answer shows to have been otherwise than sent

    @property
    def finished(self) -> bool:
        """True when every choice has ended that was asked for or has begun."""
        ended = self.finishes.keys()
        return len(ended) >= self._call.facts.get("choices", 1) and not self._said - ended

    def delta(
        self,
        index: int = 0,
        *,
        content: str | None = None,
        reasoning: str | None = None,
        tool_calls: Iterable[Any] | None = None,
        finish: str | None = None,
        logprobs: Any = None,
    ) -> Chunk | None:
        """One piece of choice *index* as a chunk; None where it says nothing."""
        if content and index not in self._plain:
            reasoning, content = self._split(index, reasoning, content)
        elif reasoning:
            self._plain.add(index)  # reasoning has a field of its own here: a <think> in the text is text
        calls = self._tool_calls(index, tool_calls) if tool_calls else ()
        if finish is not None or self._splitters or self._held or (reasoning and self._call.thinking is False):
            reasoning, content = self._settle(index, reasoning, content, ends=finish is not None)
        if not (content or reasoning or calls or finish is not None or logprobs is not None):
            return None
        if content or reasoning or calls:
            self._said.add(index)
        chunk = Chunk(content or None, reasoning or None, calls)
        chunk.index, chunk.logprobs = index, logprobs
        if finish is not None:
            chunk.finish_reason, chunk.raw_finish_reason = self._finish(index, finish), finish
        return chunk

    def end(self, *, closed: bool) -> list[Chunk]:
        """The answer has ended: what is still held. *closed*: the provider itself said that this is the end.

        Raises:
            GenerationAborted: the provider gave up and said so; raised only now, so that usage behind it was read.
            TruncatedReply: it ended before it was finished.
            EmptyReply: there was nothing in it.
        """
        if self.aborted is not None:
            message = f"the provider gave up: finish_reason {self.aborted!r}"
            raise GenerationAborted(message, status=200, code=self.aborted)
        chunks = [chunk for index in self._unsettled() if (chunk := self._flush(index)) is not None]
        said = bool(self._said)
        cut = self._said - self.finishes.keys()
        if not closed and (not self.finished or cut):
            message = "the answer stopped before its end" if said else "the answer ended before it began"
            raise TruncatedReply(message, status=200) if said else EmptyReply(message, status=200)
        if not said and not any(word in _NOTHING_IS_FINE for word in map(self._canonical, self.finishes.values())):
            message = "a success with no text, no reasoning and no tool call in it"
            raise EmptyReply(message, status=200)
        chunks += [Chunk(finish_reason="unknown", index=index) for index in sorted(self._said - self.finishes.keys())]
        return chunks

    # -- <think>, and reasoning that was off

    def _split(self, index: int, reasoning: str | None, content: str) -> tuple[str | None, str | None]:
        think = self._call.endpoint.dialect.reading.think
        if think == "never" or reasoning:
            self._plain.add(index)
            return reasoning, content
        splitter = self._splitters.get(index)
        if splitter is None:
            if think == "leading" and not content.lstrip().startswith("<") and content.strip():
                self._plain.add(index)  # the usual case: no block, and never a splitter
                return reasoning, content
            splitter = self._splitters[index] = ThinkSplitter(opened=think == "opened")
        found, rest = splitter.feed(content)
        if splitter.done:
            del self._splitters[index]
            self._plain.add(index)
        return found, rest

    def _settle(
        self, index: int, reasoning: str | None, content: str | None, *, ends: bool
    ) -> tuple[str | None, str | None]:
        if ends and (splitter := self._splitters.pop(index, None)) is not None:
            found, rest = splitter.end()
            reasoning, content = (reasoning or "") + found, (content or "") + rest
        if self._call.thinking is not False:
            return reasoning, content
        return self._unasked(index, reasoning, content, ends=ends)

    def _unasked(
        self, index: int, reasoning: str | None, content: str | None, *, ends: bool
    ) -> tuple[str | None, str | None]:
        """Reasoning was off and came all the same: held until it is known whether it is the answer itself.

        With thinking off some servers put the whole answer into the reasoning field (wire-protocols.md, 7).
        """
        held = self._held.setdefault(index, [])
        if reasoning:
            held.append(reasoning)
        if content or (held and (index in self._said or index in self._positions)):
            reasoning = "".join(held)
            held.clear()
            if reasoning:
                self._note("the provider reasoned although it was told not to")
            return reasoning, content
        if not ends or not held:
            return None, content
        text = "".join(held)
        held.clear()
        self._note("the whole answer came in the reasoning field; it was taken for the answer")
        return None, text

    def _note(self, why: str) -> None:
        if not any(change.why == why for change in self.changes):
            self.changes.append(Change("reasoning_effort", "none", "none", "inverted", why))

    def _unsettled(self) -> list[int]:
        return sorted({*self._splitters, *(index for index, held in self._held.items() if held)})

    def _flush(self, index: int) -> Chunk | None:
        reasoning, content = self._settle(index, None, None, ends=True)
        if not (reasoning or content):
            return None
        self._said.add(index)
        return Chunk(content or None, reasoning or None, index=index)

    # -- tool calls

    def _tool_calls(self, index: int, deltas: Iterable[Any]) -> tuple[ToolCallDelta, ...]:
        return tuple(self._tool_call(index, delta) for delta in deltas if isinstance(delta, Mapping))

    def _tool_call(self, index: int, delta: Mapping[str, Any]) -> ToolCallDelta:
        function = delta.get("function")
        function = function if isinstance(function, Mapping) else {}
        arguments = function.get("arguments")
        if arguments is not None and not isinstance(arguments, str):
            arguments = to_json(arguments).decode()
        call_id, name = delta.get("id"), function.get("name")
        call_id = str(call_id) if call_id else None
        return ToolCallDelta(
            index=self._position(index, delta.get("index"), call_id),
            id=call_id,
            name=name if isinstance(name, str) and name else None,
            arguments=arguments or "",
        )

    def _position(self, index: int, number: Any, call_id: Any) -> int:
        """Which call a piece belongs to: by its index, else by its id, else the last one open."""
        positions = self._positions.setdefault(index, {})
        if isinstance(number, int) and not isinstance(number, bool):
            key: Any = number
        elif call_id:
            key = call_id
        elif positions:
            return self._open[index]
        else:
            key = 0
        position = positions.setdefault(key, len(set(positions.values())))
        self._open[index] = position
        return position

    # -- the end

    def _canonical(self, word: str) -> str:
        own = self._call.endpoint.dialect.reading.finish_reasons
        return own.get(word) or FINISH_REASONS.get(word, "unknown")

    def _finish(self, index: int, word: str) -> FinishReason | None:
        """The canonical end of a choice; None where it is none, because the provider gave up."""
        reason = self._canonical(word)
        self.finishes[index] = word
        if reason == "failed":
            self.aborted = word
            return None
        if reason == "stop" and index in self._positions:
            return "tool_calls"  # several servers end a tool call with `stop`
        return reason  # type: ignore[return-value]  # the table's words but `failed`


class Reading:
    """What the readers of all formats have in common: see `providers.wire.Reader`."""

    __slots__ = ("_assembler", "_call", "_costs", "closed", "failure", "id", "model")

    def __init__(self, call: Call, *, call_id: str = "", model: str = "") -> None:
        self._call = call
        self._assembler = Assembler(call)
        self._costs = 0  # how often a cost was told
        self.closed = False
        self.failure: BrokenReply | None = None
        self.id, self.model = call_id, model

    @property
    def finished(self) -> bool:
        return self._assembler.finished

    @property
    def awaits_cost(self) -> bool:
        return self._costs == 0 and self._call.endpoint.dialect.reading.late_cost

    @property
    def changes(self) -> list[Change]:
        return self._assembler.changes

    def end(self) -> list[Chunk]:
        return self._assembler.end(closed=self.closed)

    def _ended(self, chunks: list[Chunk]) -> list[Chunk]:
        """*chunks* of a whole answer with its end; of one that is none only what it has cost, and `failure` is set."""
        self.closed = True
        try:
            return [*chunks, *self._assembler.end(closed=True)]
        except BrokenReply as failure:
            bill = [Chunk(usage=chunk.usage, cost=chunk.cost) for chunk in chunks if chunk.usage or chunk.cost]
            if not bill:
                raise
            self.failure = failure
            return bill


def text_of(value: Any) -> str:
    """Text that comes as a string, a list of strings, or a list of mappings with a `text`."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(text_of(item) for item in value)
    if isinstance(value, Mapping):
        return text_of(value.get("text") or value.get("summary") or value.get("content"))
    return ""


def count(value: Any) -> int | None:
    """A number of tokens; None for anything that cannot be one."""
    if value.__class__ is not int and value.__class__ is not float:
        return None
    return int(value) if 0 <= value < _MOST_TOKENS else None


def usage_of(
    prompt: Any = None, completion: Any = None, total: Any = None, reasoning: Any = None, cached: Any = None
) -> Usage | None:
    """The usage that these counts make; None when they say nothing (some servers send zeroes on every chunk)."""
    prompt, completion, total = count(prompt), count(completion), count(total)
    if not (prompt or completion or total):
        return None
    if total is None and prompt is not None and completion is not None:
        total = prompt + completion
    return _tokens(prompt, completion, total, count(reasoning), count(cached))


def reported_cost(value: Any, call: Call) -> Cost | None:
    """What the provider says the call cost. A zero from a model that has a price is *unknown*, not free."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
        return None
    price = call.endpoint.price
    if value == 0 and price is not None and (price.input or price.output):
        return None
    return Cost(float(value), "reported")


def dig(value: Any, path: str) -> Any:
    """The value at a dotted *path*, None where there is none."""
    for step in path.split("."):
        if value is None or (value.__class__ is not dict and not isinstance(value, Mapping)):  # to ask for that is dear
            return None
        value = value.get(step)
    return value
