"""Values with units: `500ms`, `30s`, `$0.50`, `32MB`; and plain numbers that must mean something.

Knows how each is written and what can be no value of its kind: text, a boolean, NaN, infinity, and zero or less where
that would mean nothing. Text that is a number is one, because a variable of the environment is always text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite

_SECONDS: Mapping[str, float] = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES: Mapping[str, int] = {"": 1, "B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30}  # 1024-based, as memory is

# Also the patterns of the JSON Schema.
NUMBER = r"[0-9]+(?:\.[0-9]+)?"
DURATION = rf"^({NUMBER}) ?(ms|s|m|h|)$"
SIZE = rf"^({NUMBER}) ?(B|KB|MB|GB|)$"
HOLD_TOKENS = r"^([0-9]{1,9}) tokens?$"
MONEY = rf"^\$? ?({NUMBER})$"
SHARE = rf"^({NUMBER}) ?%$"


def number(value: object) -> float:
    """A finite number.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, str) and re.fullmatch(rf"-?{NUMBER}", value, re.ASCII):
        return float(value) if "." in value else int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
        raise ValueError(f"{value!r} is not a number; write e.g. 1 or 0.5")
    return value


def amount(value: object) -> float:
    """A finite number, zero or more."""
    found = number(value)
    if found < 0:
        raise ValueError(f"{value!r} is less than 0; write 0 or more")
    return found


def whole(value: object) -> int:
    """A whole number, zero or more."""
    found = _integer(value)
    if found is None or found < 0:
        raise ValueError(f"{value!r} is not a whole number, 0 or more; write e.g. 1")
    return found


def count(value: object) -> int:
    """A whole number, one or more."""
    found = _integer(value)
    if found is None or found < 1:
        raise ValueError(f"{value!r} is not a whole number, 1 or more; write e.g. 4")
    return found


def _integer(value: object) -> int | None:
    try:
        found = number(value)
    except ValueError:
        return None  # what would be right is said by who wants a whole one
    return found if isinstance(found, int) else None


def duration(value: object) -> float:
    """Seconds, more than zero: `500ms`, `30s`, `2m`, `1h`; a plain number is seconds."""
    return _positive(value, DURATION, _SECONDS, "a duration; write e.g. 500ms, 30s, 2m or 1h")


def size(value: object) -> int:
    """Bytes, more than zero: `64KB`, `32MB`, 1024-based; a plain number is bytes."""
    return int(_positive(value, SIZE, _BYTES, "a size; write e.g. 64KB, 32MB or 1GB", least=1))


def money(value: object) -> float:
    """Dollars, zero or more: `$0.50`, or the plain number."""
    if not isinstance(value, str):
        return amount(value)
    found = re.fullmatch(MONEY, value, re.ASCII)
    if found is None:
        raise ValueError(f"{value!r} is not an amount of dollars; write e.g. $0.50 or 0.5")
    return float(found[1])


def share(value: object) -> float:
    """A part of a whole, more than zero: `5%`, or 0.05; at most all of it."""
    if isinstance(value, str) and (found := re.fullmatch(SHARE, value, re.ASCII)):
        part = float(found[1]) / 100
    else:
        part = number(value)
    if not 0 < part <= 1:
        raise ValueError(f"{value!r} is not a share; write e.g. 5% or 0.05")
    return part


def hedge_after(value: object) -> float | None:
    """When a second call goes out: `p95` (None), or after a duration."""
    return None if value is None or value == "p95" else duration(value)


def hold(value: object) -> tuple[float | None, int | None]:
    """How long a stream is held: `300ms` (seconds), `64 tokens` (tokens), or `all` (neither: until it is whole)."""
    if value == "all":
        return None, None
    if isinstance(value, str) and (found := re.fullmatch(HOLD_TOKENS, value, re.ASCII)):
        return None, count(int(found[1]))
    if isinstance(value, str):
        return duration(value), None
    raise ValueError(f"{value!r} is not a hold; write e.g. 300ms, 64 tokens or all")


def _positive(value: object, pattern: str, units: Mapping[str, float], what: str, *, least: float = 0.0) -> float:
    result = float("nan")
    if isinstance(value, str) and (found := re.fullmatch(pattern, value, re.ASCII)):
        result = float(found[1]) * units[found[2]]
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        result = float(value)
    if not isfinite(result):
        raise ValueError(f"{value!r} is not {what}")
    if result <= 0 or result < least:
        raise ValueError(f"{value!r} must be more than 0: not {what}")
    return result
