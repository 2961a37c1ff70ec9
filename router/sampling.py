"""The makers' own advice on sampling, applied under what the caller sets. Pure.

Knows which mode a call is in and which advice goes with it. Refuses to know where the advice comes from (the catalog's
`sampling`, with its source) and how a value is said on the wire.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from providers.types import Change, Request

if TYPE_CHECKING:
    from providers.dialect import Endpoint

Advice = Mapping[str, Mapping[str, Any]]  # mode: {canonical field: value}


def mode_of(request: Request, endpoint: Endpoint) -> str:
    """The mode whose advice fits: the one asked for, else `thinking` or `instruct` as this endpoint will have it."""
    if request.sampling not in (None, "recommended"):
        return str(request.sampling)
    if request.reasoning_effort is not None:
        return "instruct" if request.reasoning_effort == "none" else "thinking"
    if request.reasoning_budget is not None:
        return "thinking"
    return "instruct" if endpoint.dialect.defaults.get("reasoning_effort") in ("none", "off", False) else "thinking"


def advised(request: Request, endpoint: Endpoint, advice: Advice) -> tuple[Request, Mapping[str, Any]]:
    """*request* with the advice of its mode where it says nothing itself; and what was filled in."""
    values = advice.get(mode_of(request, endpoint)) or {}
    filled = {name: value for name, value in values.items() if getattr(request, name, None) is None}
    return (request.model_copy(update=filled), filled) if filled else (request, {})


def reported(changes: Iterable[Change], filled: Mapping[str, Any], mode: str) -> tuple[Change, ...]:
    """*changes* with what the advice did told as such: nobody asked for it, so nothing asked for was changed."""
    told, sent = [], dict(filled)
    for change in changes:
        if change.param in filled:
            sent[change.param] = change.sent
        else:
            told.append(change)
    why = f"the makers' advice for {mode}"
    return (*told, *(Change(name, None, value, "defaulted", why) for name, value in sent.items()))
