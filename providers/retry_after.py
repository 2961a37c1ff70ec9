"""How long a provider asks us to wait, from its headers. Pure.

Knows the forms in use: `retry-after-ms`, `Retry-After` in seconds or as an HTTP date (RFC 9110, 10.2.3), vendors'
`x-ratelimit-remaining-*` with `x-ratelimit-reset-*`, and the IETF fields `RateLimit` and `RateLimit-Policy` (draft 11).
Refuses to know whether anybody waits (`router.policy`). Rubbish, zero and negative values mean that nothing was asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST = 1e9  # seconds; what is larger is only ever compared with a deadline

# Compiled where they are first used: most processes never meet some of them.
# ASCII digits only: float() would take nan, inf, 1_0, +5 and full-width digits.
_NUMBER = r"[0-9]{1,40}(?:\.[0-9]{1,9})?"
_SPAN = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|h|m|s)"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
# One limit of a list: its name, and parameters that are whole numbers where they matter (RFC 9651).
_ITEM = (
    r'\s*("(?:[^"\\]|\\.)*"|[A-Za-z*][\w.:/%*-]*)((?:\s*;\s*[a-z*][a-z0-9_.*-]*(?:=(?:"[^"]*"|[^;,\s"]+))?)*)\s*(?:,|$)'
)
_PARAMETER = r"\s*([a-z*][a-z0-9_.*-]*)=([0-9]{1,15})\s*"
LONGEST_FIELD = 1024  # characters of a RateLimit field that are looked at
_RESETS = (("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
           ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"))  # fmt: skip


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, or None where nothing usable was asked. A date is measured against the reply's own `Date`."""
    for value in _values(headers, "retry-after-ms"):
        if (milliseconds := _number(value)) is not None:
            return milliseconds / 1000
    for value in _values(headers, "Retry-After"):
        seconds = _number(value)
        if seconds is None:
            seconds = _until(value, headers.get("Date"))
        if seconds is not None:
            return seconds
    return _reset(headers)


def _values(headers: Mapping[str, str], name: str) -> list[str]:
    """Every value of a header: a proxy may have added a line of its own."""
    getall = getattr(headers, "getall", None)
    if getall is not None:
        return list(getall(name, []))
    return [headers[name]] if name in headers else []


def _number(value: str | None) -> float | None:
    if value is None or not re.fullmatch(_NUMBER, value.strip(" \t"), re.ASCII):
        return None
    number = min(float(value), LONGEST)
    return number if number > 0 else None


def _until(value: str, now: str | None) -> float | None:
    then, start = _date(value), _date(now or "")
    if then is None or start is None:
        return None
    seconds = (then - start).total_seconds()
    return min(seconds, LONGEST) if seconds > 0 else None


def _date(value: str) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(value)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    if not value[:3].isalpha() or value[:3].title() not in ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"):
        return None
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed


def nothing_left(headers: Mapping[str, str]) -> float | None:
    """Seconds until there is room again, where an answer says that none is left; None where it says nothing of it.

    An answer that succeeded asks for no wait: this is what the next one would be told.
    """
    return _reset(headers) if headers else None


def _reset(headers: Mapping[str, str]) -> float | None:
    waits = [
        wait
        for remaining, reset in _RESETS
        if headers.get(remaining) == "0" and (wait := _span(headers.get(reset, ""))) is not None
    ]
    if waits:
        return max(waits)
    field = headers.get("RateLimit")
    return None if field is None else _rate_limit(field, headers.get("RateLimit-Policy", ""))


def _rate_limit(field: str, policy: str) -> float | None:
    """The longest wait among the limits that have nothing remaining (`r=0`): `t`, else the policy's window `w`."""
    windows = {name: parameters.get("w") for name, parameters in _items(policy)}
    waits = [
        min(float(wait), LONGEST)
        for name, parameters in _items(field)
        if parameters.get("r") == 0 and (wait := parameters.get("t", windows.get(name)))
    ]
    return max(waits, default=None)


def _items(field: str) -> list[tuple[str, dict[str, int]]]:
    """The limits of a `RateLimit` or `RateLimit-Policy` field; none where it is malformed, which the draft has us ignore."""
    items, place, pattern = [], 0, re.compile(_ITEM, re.ASCII)
    while place < len(field) <= LONGEST_FIELD:
        match = pattern.match(field, place)
        if match is None:
            return []
        pieces = [found for piece in match[2].split(";") if (found := re.fullmatch(_PARAMETER, piece, re.ASCII))]
        items.append((match[1], {piece[1]: int(piece[2]) for piece in pieces}))
        place = match.end()
    return items


def _span(value: str) -> float | None:
    """`6m0s`, `120ms`, `1h2m3.5s`, `20`; None for an unknown unit."""
    if (plain := _number(value)) is not None:
        return plain
    pieces = re.findall(_SPAN, value, re.ASCII)
    if not pieces or "".join(number + unit for number, unit in pieces) != value:
        return None
    total = sum(float(number) * _UNITS[unit] for number, unit in pieces)
    return total if total > 0 else None
