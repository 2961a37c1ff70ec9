"""Values with units, and numbers that must mean something."""

from __future__ import annotations

from typing import Any

import pytest

from router import units

GOOD = [
    (units.duration, "500ms", 0.5),
    (units.duration, "30s", 30.0),
    (units.duration, "1.5 m", 90.0),
    (units.duration, "1h", 3600.0),
    (units.duration, 2, 2.0),
    (units.duration, 0.25, 0.25),
    (units.duration, "7", 7.0),  # a variable of the environment is always text
    (units.size, "64KB", 65_536),
    (units.size, "32MB", 33_554_432),
    (units.size, "1.5GB", 1_610_612_736),
    (units.size, "10B", 10),
    (units.size, 10, 10),
    (units.money, "$0.50", 0.5),
    (units.money, "0.25", 0.25),
    (units.money, 0, 0.0),
    (units.count, 4, 4),
    (units.count, "4", 4),
    (units.whole, 0, 0),
    (units.amount, 0, 0),
    (units.amount, 0.5, 0.5),
    (units.number, "-1.5", -1.5),
]


@pytest.mark.parametrize(("read", "value", "meaning"), GOOD)
def test_values_mean_what_they_say(read, value, meaning):
    """Seconds, bytes (1024-based), dollars, numbers."""
    assert meaning == read(value)


NAN, INF = float("nan"), float("inf")
# reader -> what the message shows as right, and values that it refuses
BAD: list[tuple[Any, str, list[Any]]] = [
    (
        units.duration,
        "write e.g. 500ms",
        ["", "s", "5 parsecs", "1m30s", "-1s", "1e3s", "٣s", NAN, INF, True, None, [1]],
    ),
    (units.duration, "more than 0", [0, "0s", -1, -0.5]),
    (units.size, "write e.g. 64KB", ["", "32mb", "32 MiB", "0B", 0, "0.1B", NAN, False]),
    (units.money, "write e.g. $0.50", ["", "€1", "$-1", "$"]),
    (units.money, "", [-1, NAN, INF, True, None]),
    (units.count, "", [0, -1, 1.5, "1.5", "1_000", "x", NAN, True, None]),
    (units.whole, "", [-1, 0.5, "x", False]),
    (units.amount, "", [-0.1, "x", INF, True]),
    (units.number, "is not a number", ["", "1_0", "0x1", "1e3", "nan", True, None]),
]


@pytest.mark.parametrize(
    ("read", "value", "right"), [(read, value, right) for read, right, bad in BAD for value in bad]
)
def test_values_that_can_mean_nothing_are_refused(read, value, right):
    """Zero, less, NaN, infinity, booleans and foreign units; the message shows what would have been right."""
    with pytest.raises(ValueError, match=r".") as caught:
        read(value)

    assert right in str(caught.value)
