"""OpenAI's chat shapes, read and written: messages, tool calls, log probabilities. Pure; knows no provider."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from router.lab.answers import ToolCall, count_tokens, split
from router.lab.emulators.playback import Json

# One picture or video counts as so many prompt tokens: any fixed number does, no provider publishes its own.
MEDIA_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Delta:
    """One event of a choice before it is put into its chunk."""

    body: Json
    token: bool = False
    finish: str | None = None


def dumps(body: Any) -> bytes:
    """JSON as these servers write it."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def rendered_call(call: ToolCall) -> Json:
    """A tool call in OpenAI's shape."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def tool_deltas(calls: Sequence[ToolCall], *, typed: bool = True) -> Iterator[Delta]:
    """The events of tool calls: a name with empty arguments, then the arguments in pieces."""
    for index, call in enumerate(calls):
        first: Json = {"index": index, "id": call.id, "function": {"name": call.name, "arguments": ""}}
        yield Delta({"tool_calls": [first | ({"type": "function"} if typed else {})]}, token=True)
        for piece in split(call.arguments):
            yield Delta({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}, token=True)


def logprobs(pieces: Sequence[str], top: int) -> Json:
    """Log probabilities in OpenAI's shape: made up, but the tokens join to the content."""
    return {"content": [_logprob(piece) | {"top_logprobs": _ranked(piece, top)} for piece in pieces]}


def _logprob(token: str, rank: int = 0) -> Json:
    return {"token": token, "logprob": round(-0.1 * (rank + 1), 6), "bytes": list(token.encode())}


def _ranked(piece: str, top: int) -> list[Json]:
    return [_logprob(f"{piece}~{rank}" if rank else piece, rank) for rank in range(top)]


def message_tokens(message: Mapping[str, Any]) -> int:
    """Count what the model reads of one message."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
    texts = [str(part["text"]) if "text" in part else "" for part in parts]
    media = sum("text" not in part and "refusal" not in part for part in parts)
    calls = [f"{call['function']['name']} {call['function']['arguments']}" for call in message.get("tool_calls") or []]
    return sum(map(count_tokens, texts + calls)) + media * MEDIA_TOKENS


def last_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """The text of the last message that is not the model's own."""
    content = next((m.get("content") for m in reversed(messages) if m["role"] in ("user", "tool")), "") or ""
    return content if isinstance(content, str) else " ".join(str(part["text"]) for part in content if "text" in part)


def forced(choice: Any, tools: Mapping[str, Any]) -> str | None:
    """The tool that the model is made to call."""
    if isinstance(choice, dict):
        return str(choice["function"]["name"])
    return next(iter(tools), None) if choice == "required" else None


def schema(wanted: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The schema that the answer must fit; an empty one for any JSON object."""
    if wanted is None or wanted["type"] == "text":
        return None
    schema: Mapping[str, Any] = wanted["json_schema"]["schema"] if wanted["type"] == "json_schema" else {}
    return schema
