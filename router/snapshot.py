"""A piece of state as a plain value, and back. Pure.

Knows that only what differs from a fresh piece need be said, so that a healthy deployment takes no room. Refuses to know
any piece: each says itself, with these two, what of it must be kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import MISSING, Field, fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def differing(piece: DataclassInstance, *, without: Collection[str] = ()) -> dict[str, Any]:
    """The fields of *piece* that are not as in a fresh one, ready for JSON; but those of *without*."""
    found = {}
    for field in fields(piece):
        value = getattr(piece, field.name)
        if field.name not in without and value != _fresh(field):
            found[field.name] = [*value] if isinstance(value, deque) else value
    return found


def rebuilt(kind: type[T], said: Mapping[str, Any]) -> T:
    """The piece that `differing` has said. What it does not know is left out: a later version may say more."""
    given = {}
    for field in fields(kind):
        if field.name in said:
            value, fresh = said[field.name], _fresh(field)
            given[field.name] = deque(value, maxlen=fresh.maxlen) if isinstance(fresh, deque) else value
    return kind(**given)


def _fresh(field: Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return None if field.default is MISSING else field.default
