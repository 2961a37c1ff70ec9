"""How long a provider asks us to wait, from its headers. Pure.

Knows the forms in use: `retry-after-ms`, `Retry-After` in seconds or as an HTTP date (RFC 9110, 10.2.3), vendors'
`x-ratelimit-reset-*` and the IETF `RateLimit` field. Refuses to know whether anybody waits (`router.policy`).
Rubbish, zero and negative values mean that nothing was asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST = 1e9  # seconds; what is larger is only ever compared with a deadline

# ASCII digits only: float() would take nan, inf, 1_0, +5 and full-width digits.
_NUMBER = re.compile(r"[0-9]{1,40}(?:\.[0-9]{1,9})?", re.ASCII)
_SPAN = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|h|m|s)", re.ASCII)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_RATE_LIMIT_T = re.compile(r";\s*t=([0-9]{1,10})(?:\s*[;,]|\s*$)", re.ASCII)
_EMPTY_T = re.compile(r";\s*r=0(?:\s*[;,]|\s*$)", re.ASCII)
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
    if value is None or not _NUMBER.fullmatch(value.strip(" \t")):
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


def _reset(headers: Mapping[str, str]) -> float | None:
    waits = [
        wait
        for remaining, reset in _RESETS
        if headers.get(remaining) == "0" and (wait := _span(headers.get(reset, ""))) is not None
    ]
    if waits:
        return max(waits)
    field = headers.get("RateLimit", "")
    match = _RATE_LIMIT_T.search(field)
    return _number(match.group(1)) if match and _EMPTY_T.search(field) else None


def _span(value: str) -> float | None:
    """`6m0s`, `120ms`, `1h2m3.5s`, `20`; None for an unknown unit."""
    if (plain := _number(value)) is not None:
        return plain
    pieces = _SPAN.findall(value)
    if not pieces or "".join(number + unit for number, unit in pieces) != value:
        return None
    total = sum(float(number) * _UNITS[unit] for number, unit in pieces)
    return total if total > 0 else None
