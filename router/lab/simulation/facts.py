"""What a simulation has shown, as numbers: percentiles, shares, money; over all of it and over time. Pure.

Knows how they are rounded, so that they are the same bytes everywhere, and how two simulations differ. Refuses to know
how they are drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from router.config import Route
    from router.lab.script import Script, Trouble
    from router.lab.simulation.fleet import Scene
    from router.lab.simulation.series import Bucket, Series

PERCENTILES = (50, 90, 95, 99)
FIGURES = 6  # decimals of seconds and shares
DECIMALS = 9  # of dollars


@dataclass(frozen=True, slots=True)
class Simulated:
    """The numbers of one simulation, ready for JSON: `facts`."""

    facts: Mapping[str, Any]

    @classmethod
    def of(cls, scene: Scene, route: Route, order: Sequence[str], series: Series, met: Sequence[int]) -> Simulated:
        """The numbers of *series*, with what they are numbers of; *met*: calls that each script's faults came to."""
        return cls({**_scene(scene, route, met), **_whole(order, series), "buckets": _over_time(order, series)})

    @property
    def success(self) -> float:
        """The share of the requests that were answered."""
        return float(self.facts["success"])

    @property
    def unmet(self) -> tuple[str, ...]:
        """The scripts whose faults no call has met: what was simulated is as if they were not there."""
        return tuple(dict.fromkeys(fault["script"] for fault in self.facts["faults"] if not fault["met"]))


def _scene(scene: Scene, route: Route, met: Sequence[int]) -> dict[str, Any]:
    traffic = scene.assumptions.traffic
    return {
        "route": route.name,
        "seed": scene.seed,
        "rate": scene.rate,
        "seconds": scene.seconds,
        "routers": scene.routers,
        "traffic": asdict(traffic),
        "conducts": {
            deployment.name: _conduct(asdict(scene.assumptions.conduct(deployment.name)))
            for deployment in route.deployments
        },
        "faults": [
            {**_fault(script, trouble), "met": count}
            for script, count in zip(scene.faults, met, strict=True)
            for trouble in script.troubles
        ],
    }


def _conduct(said: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if value is not None}


def _fault(script: Script, trouble: Trouble) -> dict[str, Any]:
    when = trouble.when
    return {
        "script": script.name,
        "who": list(trouble.who),
        "what": str(trouble.what.code or trouble.what.kind),
        "from": when.begin,
        "until": when.until,
        "share": when.share,
        "requests": None if when.first is None else [when.first, when.last],
    }


def _whole(order: Sequence[str], series: Series) -> dict[str, Any]:
    buckets = series.buckets
    requests, attempts = sum(one.requests for one in buckets), sum(one.attempts for one in buckets)
    errors = _added(one.errors for one in buckets)
    answered, asked = _added(one.answered for one in buckets), _added(one.asked for one in buckets)
    usd = sum(one.usd for one in buckets)
    return {
        "requests": requests,
        "success": _share(requests - errors.total(), requests),
        "errors": _sorted(errors),
        "attempts": attempts,
        "attempts_per_request": _share(attempts, requests),
        "first_token": percentiles(value for one in buckets for value in sorted(one.first)),
        "total": percentiles(value for one in buckets for value in sorted(one.total)),
        "cost": {
            "usd": round(usd, DECIMALS),
            "per_request": round(usd / requests, DECIMALS) if requests else None,
            "wasted_usd": round(series.wasted, DECIMALS),
            "unknown": sum(one.unpriced for one in buckets),
        },
        "deployments": {
            name: {
                "share": _share(answered[name], answered.total()),
                "answered": answered[name],
                "attempts": asked[name],
                "failed": _sorted(series.failed.get(name, Counter())),
                "circuit_opened": series.opened[name],
                "usd": round(series.usd[name], DECIMALS),
            }
            for name in order
        },
    }


def _over_time(order: Sequence[str], series: Series) -> dict[str, Any]:
    return {
        "seconds": series.width,
        "rows": [_row(place * series.width, one, order) for place, one in enumerate(series.buckets)],
    }


def _row(at: float, bucket: Bucket, order: Sequence[str]) -> dict[str, Any]:
    return {
        "at": at,
        "requests": bucket.requests,
        "success": _share(bucket.requests - bucket.errors.total(), bucket.requests),
        "errors": _sorted(bucket.errors),
        "attempts_per_request": _share(bucket.attempts, bucket.requests),
        "first_token": percentiles(sorted(bucket.first)),
        "total": percentiles(sorted(bucket.total)),
        "usd": round(bucket.usd, DECIMALS),
        "answered": {name: bucket.answered[name] for name in order},
        "attempts": {name: bucket.asked[name] for name in order},
    }


def percentiles(values: Iterable[float]) -> dict[str, float | None]:
    """p50, p90, p95 and p99 of *values*, each the smallest that so many are not above; None where there are none."""
    ordered = sorted(values)
    count = len(ordered)
    return {
        f"p{share}": round(ordered[-(-count * share // 100) - 1], FIGURES) if count else None for share in PERCENTILES
    }


def _share(part: float, whole: float) -> float | None:
    return round(part / whole, FIGURES) if whole else None


def _added(counters: Iterable[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for counter in counters:
        total.update(counter)
    return total


def _sorted(counter: Counter[str]) -> dict[str, int]:
    return dict(sorted(counter.items()))


# -- two simulations --------------------------------------------------------------------------------------------------

_COMPARED = (
    ("success", ("success",)),
    ("attempts_per_request", ("attempts_per_request",)),
    *((f"first_token.p{one}", ("first_token", f"p{one}")) for one in PERCENTILES),
    *((f"total.p{one}", ("total", f"p{one}")) for one in PERCENTILES),
    ("cost.per_request", ("cost", "per_request")),
    ("cost.usd", ("cost", "usd")),
    ("cost.wasted_usd", ("cost", "wasted_usd")),
)


def differences(one: Simulated, other: Simulated) -> dict[str, dict[str, float | None]]:
    """Each number of *one*, of *other*, and the second less the first; None where one of them has none."""
    found: dict[str, dict[str, float | None]] = {}
    for name, steps in _COMPARED:
        before, after = _at(one.facts, steps), _at(other.facts, steps)
        change = None if before is None or after is None else round(after - before, DECIMALS)
        found[name] = {"before": before, "after": after, "change": change}
    return found


def _at(facts: Mapping[str, Any], steps: Sequence[str]) -> float | None:
    value: Any = facts
    for step in steps:
        value = value[step]
    return None if value is None else float(value)
