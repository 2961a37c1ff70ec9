"""The numbers of a simulation as people read them: their names, their units, and which way is better. Pure.

Knows what the table of the command and the report have in common. Refuses to know terminals and HTML.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor, log10
from typing import Any, Literal

NOTHING = "–"


@dataclass(frozen=True, slots=True)
class Number:
    """One number: its *name*, where it stands in the facts, its *kind*, and whether *more* of it is better."""

    name: str
    steps: tuple[str, ...]
    kind: Literal["share", "seconds", "dollars", "count", "ratio"]
    more: bool | None = False


NUMBERS = (
    Number("requests", ("requests",), "count", None),
    Number("success", ("success",), "share", more=True),
    Number("attempts per request", ("attempts_per_request",), "ratio"),
    Number("first token, median", ("first_token", "p50"), "seconds"),
    Number("first token, p95", ("first_token", "p95"), "seconds"),
    Number("first token, p99", ("first_token", "p99"), "seconds"),
    Number("whole answer, median", ("total", "p50"), "seconds"),
    Number("whole answer, p95", ("total", "p95"), "seconds"),
    Number("whole answer, p99", ("total", "p99"), "seconds"),
    Number("cost per request", ("cost", "per_request"), "dollars"),
    Number("cost", ("cost", "usd"), "dollars"),
    Number("spent on failed attempts", ("cost", "wasted_usd"), "dollars"),
)


def value(number: Number, facts: Mapping[str, Any]) -> float | None:
    """The number in *facts*; None where there is none."""
    found: Any = facts
    for step in number.steps:
        found = found[step]
    return None if found is None else float(found)


def shown(number: Number, facts: Mapping[str, Any]) -> str:
    """The number in *facts*, in words."""
    found = value(number, facts)
    return NOTHING if found is None else written(number, found)


def written(number: Number, amount: float) -> str:
    """*amount*, as a number of that kind is written."""
    if number.kind == "share":
        return f"{amount:.3%}".replace(".000%", "%").replace("%", " %")
    if number.kind == "seconds":
        return f"{amount * 1000:.0f} ms" if abs(amount) < 1 else f"{amount:.2f} s"
    if number.kind == "dollars":
        return _dollars(amount)
    return f"{amount:,.0f}" if number.kind == "count" else f"{amount:.4f}"


def change(number: Number, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """What the number has become: the difference, with its sign; of shares in points."""
    one, other = value(number, before), value(number, after)
    if one is None or other is None:
        return NOTHING
    difference = other - one
    if abs(difference) < 1e-9:
        return "the same"
    sign = "+" if difference > 0 else "-"
    if number.kind == "share":
        return f"{sign}{abs(difference) * 100:.3f} points"
    return sign + written(number, abs(difference))


def better(number: Number, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool | None:
    """Whether *after* is better than *before*; None where it is neither, or nobody can say."""
    one, other = value(number, before), value(number, after)
    if one is None or other is None or number.more is None or abs(other - one) < 1e-9:
        return None
    return (other > one) == number.more


def _dollars(usd: float) -> str:
    if not usd:
        return "$0"
    places = max(2, 2 - floor(log10(abs(usd))))
    whole, _, rest = f"{usd:.{places}f}".partition(".")
    return f"${whole}.{rest.rstrip('0').ljust(2, '0')}"
