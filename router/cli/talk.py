"""An answer on a screen: reasoning dimmed, the answer, and a footer that says who gave it and what it cost.

The answer goes to stdout, all else to stderr. Refuses to know how an answer is asked for.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from router.cli.output import change_line, clean, console, milliseconds, money, styled

if TYPE_CHECKING:
    from rich.console import Console

    from providers.types import Chunk, Completion


class Screen:
    """Where one conversation is read. In *one* place, where a demonstration wants all of it on stdout."""

    def __init__(self, *, one: Console | None = None) -> None:
        self._out = one or console()
        self._aside = one or console(stderr=True)
        self._kind = ""  # what was written last: reasoning, content, or nothing on this line

    async def follow(self, chunks: AsyncGenerator[Chunk, None]) -> Completion:
        """Show *chunks* as they come; the whole answer."""
        answer: Completion | None = None
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    self._piece(chunk)
                    answer = chunk.completion or answer
        finally:
            self._end()
        assert answer is not None  # noqa: S101  # the last chunk of a stream that did not raise carries it
        self._calls(answer)
        return answer

    def show(self, answer: Completion) -> None:
        """Show a whole *answer*."""
        for choice in answer.choices:
            self._write("reasoning", choice.reasoning_content or "")
            self._write("content", choice.content or "")
            self._end()
        self._calls(answer)

    def note(self, text: str) -> None:
        """Say something beside the conversation."""
        self._aside.print(styled(text, "dim"), soft_wrap=True)

    def footer(self, answer: Completion, *, attempts: bool = True) -> None:
        """Who answered, after which attempts, what was changed, what it took and what it cost."""
        usage = answer.usage
        tokens = f"{usage.prompt_tokens or 0} + {usage.completion_tokens or 0} tokens"
        if usage.reasoning_tokens:
            tokens += f" ({usage.reasoning_tokens} of them reasoning)"
        facts = [answer.deployment, tokens, money(answer.cost)]
        if answer.finish_reason not in ("stop", "tool_calls"):
            facts.append(f"finish: {answer.finish_reason}")
        self.note("— " + " · ".join(facts))
        if attempts and len(answer.attempts) > 1:
            for place, one in enumerate(answer.attempts, 1):
                status = f" ({one.status})" if one.status is not None else ""
                self.note(f"  attempt {place}: {one.deployment} {one.outcome}{status}, {milliseconds(one.duration)}")
        for change in answer.changes:
            self.note(f"  changed: {change_line(change)}")

    def _piece(self, chunk: Chunk) -> None:
        if chunk.index:
            return  # the first choice is read as it comes; there is one screen
        self._write("reasoning", chunk.reasoning_content or "")
        self._write("content", chunk.content or "")

    def _write(self, kind: str, text: str) -> None:
        if not text:
            return
        if self._kind and self._kind != kind:
            self._end()
        self._kind = kind
        if kind == "content":  # character by character what the model said; a pipe gets even what a terminal must not
            self._out.file.write(clean(text) if self._out.is_terminal else text)
            self._out.file.flush()
        else:
            self._aside.print(styled(text, "dim"), end="", soft_wrap=True)
            self._aside.file.flush()

    def _end(self) -> None:
        """End the line of what was written last."""
        if self._kind:
            (self._out if self._kind == "content" else self._aside).print()
        self._kind = ""

    def _calls(self, answer: Completion) -> None:
        for call in answer.tool_calls:
            self._out.print(styled(f"{call.name}({call.arguments})", "cyan"), soft_wrap=True)
