"""What a route's callers rely on (`needs`), held against a deployment by translating a request that asks for it. Pure.

There is no table of capabilities: the translation that would serve the request says whether it can.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from providers.client import encode
from providers.errors import Untranslatable
from providers.types import Fidelity, Request
from router.fidelity import forbidden

if TYPE_CHECKING:
    from providers.dialect import Endpoint
    from router.config import Need, Route

_ASK = {"role": "user", "content": "17 * 23?"}
_SCHEMA = {"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"]}
_TOOL = {"type": "function", "function": {"name": "multiply", "parameters": _SCHEMA}}


def _seeing(kind: str, url: str) -> dict[str, Any]:
    parts = [{"type": "text", "text": "What is this?"}, {"type": kind, kind: {"url": url}}]
    return {"messages": [{"role": "user", "content": parts}]}


# A need -> the requests that must all be served. Those of `reasoning_levels` must be told apart: see `_HELD`.
_PROBES: Mapping[Need, tuple[dict[str, Any], ...]] = {
    "tools": ({"tools": [_TOOL]},),
    "json_object": ({"response_format": {"type": "json_object"}},),
    "json_schema": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": _SCHEMA}}},
    ),
    "images": (_seeing("image_url", "https://example.com/a.png"),),
    "video": (_seeing("video_url", "https://example.com/a.mp4"),),
    "logprobs": ({"logprobs": True},),
    "reasoning_off": ({"reasoning_effort": "none"},),
    "reasoning_levels": tuple({"reasoning_effort": level} for level in ("low", "medium", "high")),
}
# To rely on something is to ask for `declared` at least, whatever else the route lets pass; and to rely on levels is to
# mind when one of them becomes another.
_DECLARED: Mapping[str, Fidelity] = {"default": "declared"}
_HELD: Mapping[Need, Mapping[str, Fidelity]] = {
    "reasoning_levels": {"default": "declared", "reasoning_effort": "strict"}
}


def unmet(route: Route) -> Iterator[tuple[int, Need, str]]:
    """Every need of *route* that one of its deployments cannot meet: the place of the deployment, the need, and why."""
    for place, deployment in enumerate(route.deployments):
        if deployment.weight == 0:
            continue
        for need in route.needs:
            if why := refusal(deployment.endpoint, need, route):
                yield place, need, why


def refusal(endpoint: Endpoint, need: Need, route: Route) -> str:
    """Why *endpoint* cannot meet *need* as the callers of *route* would have it; empty if it can.

    What speaks against a request that asks for nothing has nothing to do with the need.
    """
    anyway = _against(endpoint, {}, need, route)
    for probe in _PROBES[need]:
        if why := [reason for reason in _against(endpoint, probe, need, route) if reason not in anyway]:
            return "; ".join(why)
    return ""


def _against(endpoint: Endpoint, probe: dict[str, Any], need: Need, route: Route) -> list[str]:
    """All that speaks against sending *probe* to *endpoint*."""
    request = Request(**{"model": route.name, "messages": [_ASK], **probe})
    try:
        call = encode(request, endpoint, key="check")
    except Untranslatable as error:
        return [str(error)]
    bad = forbidden(call.changes, route.fidelity) or forbidden(call.changes, _HELD.get(need, _DECLARED))
    return [str(change) for change in bad]
