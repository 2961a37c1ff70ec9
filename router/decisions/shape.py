"""A request's shape: all of it that decides, none of its text. Pure.

Knows for every field of a request whether it is the caller's own text. Such text becomes `{"tokens": n}`, and is made
again as so many tokens of nothing; names of tools and ids become numbers; schemas, pictures and what goes to the wire
verbatim are emptied. Levels, limits and numbers stay. Refuses to guess: a field that it does not know is emptied too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from providers.types import Request
from router import estimate

# Fields that hold no text of the caller's. Of all others only what `_KEPT` says is kept.
PLAIN = frozenset(
    (
        "model",
        "reasoning_effort",
        "reasoning_budget",
        "max_tokens",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "presence_penalty",
        "frequency_penalty",
        "repetition_penalty",
        "seed",
        "n",
        "logprobs",
        "top_logprobs",
        "parallel_tool_calls",
        "fidelity",
        "sampling",
        "delivery",
        "policy",
        "deadline",
        "attempts",
        "max_cost",
        "on_interruption",
        "only",
        "ignore",
        "max_price",
        "prefer_price",
    )
)
PICTURE = "https://nothing.invalid/"
TOKENS = "tokens"
Count = Callable[[str], int]


def spoken(request: Request) -> dict[str, Any]:
    """*request* as a mapping that `request_of` reads, text and all."""
    said = request.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    if request.any_level:
        said.pop("reasoning_effort", None)
        said["thinking"] = True  # asked for with a switch: every level fits
    return said


def shape(request: Request, count: Count = estimate.text_tokens) -> dict[str, Any]:
    """*request* as a mapping that `request_of` reads, without any text of the caller's. *count*: tokens of a text."""
    said = spoken(request)
    names = {tool["function"]["name"]: f"tool_{place}" for place, tool in enumerate(said.get("tools", ()), 1)}
    kept = {name: value for name, value in said.items() if name in PLAIN or name == "thinking"}
    for name in said.keys() - kept.keys():
        if name in _KEPT:
            kept[name] = _KEPT[name](said[name], names, count)
    return {name: kept[name] for name in said if name in kept}


def request_of(said: Mapping[str, Any]) -> Request:
    """The request that a record holds: as it was, or of the same shape."""
    return Request.of(_filled(said))


def _filled(value: Any) -> Any:
    """*value* with text of so many tokens wherever a record says only their number."""
    if isinstance(value, Mapping):
        if value.keys() == {TOKENS} and isinstance(value[TOKENS], int):
            return "x" * max(int((value[TOKENS] - 1) * estimate.ASCII_PER_TOKEN) + 1, 0) if value[TOKENS] else ""
        return {name: _filled(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_filled(item) for item in value]
    return value


# -- what is kept of each field ---------------------------------------------------------------------------------------

Names = Mapping[str, str]


def _text(text: str, count: Count) -> dict[str, int]:
    return {TOKENS: count(text)}


def _messages(messages: list[dict[str, Any]], names: Names, count: Count) -> list[dict[str, Any]]:
    ids: dict[str, str] = {}
    return [_message(message, names, count, ids) for message in messages]


def _message(message: dict[str, Any], names: Names, count: Count, ids: dict[str, str]) -> dict[str, Any]:
    kept: dict[str, Any] = {"role": message["role"]}
    content = message.get("content")
    if content is not None:
        kept["content"] = (
            _text(content, count) if isinstance(content, str) else [_part(part, count) for part in content]
        )
    if message.get("reasoning_content") is not None:
        kept["reasoning_content"] = _text(message["reasoning_content"], count)
    if message.get("name") is not None:
        kept["name"] = "somebody"
    if message.get("tool_calls"):
        kept["tool_calls"] = [_call(call, names, ids) for call in message["tool_calls"]]
    if message.get("tool_call_id") is not None:
        kept["tool_call_id"] = ids.setdefault(message["tool_call_id"], f"call_{len(ids) + 1}")
    return kept


def _part(part: dict[str, Any], count: Count) -> dict[str, Any]:
    kind = part["type"]
    if kind == "text":
        return {"type": "text", "text": _text(part["text"], count)}
    detail = {"detail": part[kind]["detail"]} if part[kind].get("detail") else {}
    scheme = "data:," if part[kind]["url"].startswith("data:") else PICTURE
    return {"type": kind, kind: {"url": scheme, **detail}}


def _call(call: dict[str, Any], names: Names, ids: dict[str, str]) -> dict[str, Any]:
    name = names.get(call["function"]["name"], "tool")
    known = ids.setdefault(call["id"], f"call_{len(ids) + 1}")
    return {"id": known, "type": "function", "function": {"name": name, "arguments": "{}"}}


def _tools(tools: list[dict[str, Any]], names: Names, count: Count) -> list[dict[str, Any]]:
    return [{"type": "function", "function": _function(tool["function"], names, count)} for tool in tools]


def _function(function: dict[str, Any], names: Names, count: Count) -> dict[str, Any]:
    kept: dict[str, Any] = {"name": names[function["name"]]}
    if "description" in function:
        kept["description"] = _text(function["description"], count)
    if "parameters" in function:
        kept["parameters"] = {"type": "object"}
    return kept | {name: function[name] for name in ("strict",) if name in function}


def _choice(choice: Any, names: Names, _: Count) -> Any:
    if isinstance(choice, str):
        return choice
    return {"type": "function", "function": {"name": names.get(choice["function"]["name"], "tool")}}


def _format(wanted: dict[str, Any], _: Names, __: Count) -> dict[str, Any]:
    if "json_schema" not in wanted:
        return wanted
    strict = {"strict": wanted["json_schema"]["strict"]} if "strict" in wanted["json_schema"] else {}
    return {**wanted, "json_schema": {"name": "schema", "schema": {"type": "object"}, **strict}}


def _numbered(word: str) -> Callable[[Any, Names, Count], Any]:
    return lambda values, _, __: [f"{word}_{place}" for place, _ in enumerate(values, 1)]


_KEPT: Mapping[str, Callable[[Any, Names, Count], Any]] = {
    "messages": _messages,
    "stop": _numbered("stop"),
    "logit_bias": lambda biases, _, __: {str(place): 0 for place, _ in enumerate(biases, 1)},
    "tools": _tools,
    "tool_choice": _choice,
    "response_format": _format,
    "user": lambda *_: "somebody",
    "extra": lambda *_: {},  # it goes to the wire as it is, and decides nothing
}
PRIVATE = frozenset(_KEPT)
