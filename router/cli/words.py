"""How one endpoint says each part of a request: found by leaving that part out, and looking at what changes. Pure.

Refuses to know any provider's words: they come from the very calls that would be sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from providers.client import encode
from providers.errors import InvalidRequest, Untranslatable

if TYPE_CHECKING:
    from providers.dialect import Endpoint
    from providers.types import Request

KEY = "plan"  # what `Router.plan` calls a request: the same name gives the same task
# Fields that can only be left out together. All others stand alone.
_TOGETHER: Mapping[str, tuple[str, ...]] = {
    "reasoning": ("reasoning_effort", "reasoning_budget"),
    "tools": ("tools", "tool_choice", "parallel_tool_calls"),
    "logprobs": ("logprobs", "top_logprobs"),
}
_NOT_PARTS = frozenset(("model", "messages", "extra", "fidelity", "sampling"))
_MISSING = object()


def parts(request: Request) -> dict[str, tuple[str, ...]]:
    """What *request* asks for beside its messages: a name, and the fields that make it up."""
    asked = [
        name for name in type(request).model_fields if getattr(request, name) is not None and name not in _NOT_PARTS
    ]
    found = {
        part: fields for part, fields in _TOGETHER.items() if any(getattr(request, name) is not None for name in fields)
    }
    grouped = {name for fields in found.values() for name in fields}
    return found | {name: (name,) for name in asked if name not in grouped}


def said(request: Request, endpoint: Endpoint, fields: tuple[str, ...]) -> dict[str, Any]:
    """The wire fields, by dotted path, that say *fields* to *endpoint*; empty where nothing does."""
    try:
        whole = encode(request, endpoint, key=KEY).http.json
        rest = encode(request.but(**dict.fromkeys(fields)), endpoint, key=KEY).http.json
    except (InvalidRequest, Untranslatable):
        return {}
    before = dict(flat(rest))
    return {path: value for path, value in flat(whole) if before.get(path, _MISSING) != value}


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of a body by its dotted path. A list is a leaf; the list of tasks around a task is none."""
    if not path and isinstance(value, list):
        value = value[0]
    if not isinstance(value, dict) or (path and not value):
        yield path, value
        return
    for key, item in value.items():
        yield from flat(item, f"{path}.{key}" if path else str(key))
