"""What becomes of a stream that broke after the caller had seen part of it. Pure.

Knows when a broken answer may be mended at all, how another answer is matched against what was delivered (`Splice`), how
a deployment that can is asked to go on (`continuing`), and the record of where two answers meet (`Seam`). Refuses to
read streams and to choose deployments.

The law: what the caller gets is one deployment's answer to the letter, or an honest interruption; never two answers
glued together, and no prompt text of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from providers.client import encode
from providers.types import Chunk, Completion, Message, Request
from providers.wire import Call, HttpRequest
from router.errors import AnswersDisagree


def mendable(delivered: Completion, request: Request) -> str | None:
    """Why an answer that broke after *delivered* cannot be mended by splicing; None if it can."""
    if len(delivered.choices) > 1 or (request.n or 1) > 1:
        return "several choices were under way"
    choice = delivered.choices[0] if delivered.choices else None
    if choice is not None and choice.tool_calls:
        return "a tool call was under way"
    if request.logprobs:
        return "log probabilities were delivered"
    return None


class Splice:
    """Skips what was delivered already, as long as the new answer says the same to the letter.

    Feed it the new answer's chunks: it gives back what goes beyond the delivered part, or None.
    """

    __slots__ = ("_content", "_had_content", "_reasoning")

    def __init__(self, reasoning: str, content: str) -> None:
        self._reasoning, self._content = reasoning, content
        self._had_content = bool(content)

    def copy(self) -> Splice:
        """A second splice at the same place."""
        twin = Splice(self._reasoning, self._content)
        twin._had_content = self._had_content
        return twin

    @property
    def matched(self) -> bool:
        """Whether all that was delivered has been met again."""
        return not self._reasoning and not self._content

    def feed(self, chunk: Chunk) -> Chunk | None:
        """What of *chunk* is new.

        Raises:
            AnswersDisagree: it says something else than what was delivered.
        """
        if self.matched and not self._had_content:
            return chunk
        reasoning, content = chunk.reasoning_content or "", chunk.content or ""
        if chunk.tool_calls and not self.matched:
            raise _disagree("it calls a tool where the delivered answer went on with text")
        new_reasoning = self._skip_reasoning(reasoning)
        if content and self._reasoning:
            raise _disagree("its reasoning ends sooner than the delivered one")
        content, self._content = _beyond(content, self._content, "text")
        if not (new_reasoning or content or chunk.tool_calls or chunk.finish_reason or chunk.usage or chunk.cost):
            return None
        return replace(chunk, reasoning_content=new_reasoning or None, content=content or None)

    def _skip_reasoning(self, reasoning: str) -> str:
        new, self._reasoning = _beyond(reasoning, self._reasoning, "reasoning")
        if new and self._had_content:
            raise _disagree("it reasons on where the delivered answer had begun")
        return new

    def end(self) -> None:
        """The new answer is over.

        Raises:
            AnswersDisagree: it is shorter than what was delivered.
        """
        if not self.matched:
            raise _disagree("it is shorter than what was delivered")


def _beyond(new: str, delivered: str, what: str) -> tuple[str, str]:
    """What of *new* goes beyond *delivered*, and what of *delivered* is still to be met."""
    if not delivered:
        return new, ""
    if delivered.startswith(new):
        return "", delivered[len(new) :]
    if new.startswith(delivered):
        return new[len(delivered) :], ""
    message = f"its {what} differs from what was delivered"
    raise _disagree(message)


def _disagree(why: str) -> AnswersDisagree:
    return AnswersDisagree(f"the new answer cannot be joined to the delivered one: {why}")


# -- going on where it broke ------------------------------------------------------------------------------------------


def continuing(request: Request, planned: Call, delivered: Completion, spent: int, *, key: str) -> Call | None:
    """The call that has *planned*'s endpoint go on from what was delivered; None where its row does not declare it.

    *spent* is about how many tokens the delivered part has: so many are taken off `max_tokens`.
    """
    rule = planned.endpoint.dialect.continuation
    content = delivered.content or ""
    if rule is None or not content or request.tools or request.response_format:
        return None
    mode = "instruct" if planned.thinking is False else "thinking"
    if mode not in rule.modes:
        return None
    left = None if request.max_tokens is None else max(request.max_tokens - spent, 1)
    partial = Message(role="assistant", content=content)
    longer = request.model_copy(update={"messages": (*request.messages, partial), "max_tokens": left})
    call = encode(longer, planned.endpoint, streaming=True, key=f"{key}/continued")
    return replace(call, http=_with(call.http, rule.fields), changes=planned.changes)


def _with(http: HttpRequest, fields: Mapping[str, Any]) -> HttpRequest:
    body = [{**http.json[0], **fields}] if isinstance(http.json, list) else {**http.json, **fields}
    return HttpRequest(http.url, body, http.headers, http.method, http.hidden)
