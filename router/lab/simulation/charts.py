"""What the report draws: the traces of each chart, as plotly reads them, and a sentence for who cannot see it. Pure.

Knows which numbers are drawn over time and how fault windows are shaded. Refuses to know colours, which depend on the
reader's screen (`report.js` sets them by their names), and HTML.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Facts = Mapping[str, Any]
SERIES = 8  # colours of deployments, by number
DASHES = ("solid", "dash")  # of the first and the second simulation
_UNITS = ((2 * 3600.0, 3600.0, "hours"), (300.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))  # from so many seconds on


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart: its *title*, what its y axis counts, a sentence that *says* what it shows, its *traces*.

    *format* is plotly's for the y axis. *wide*: it is logarithmic where the values lie far apart.
    """

    name: str
    title: str
    says: str
    traces: tuple[dict[str, Any], ...]
    format: str = ""
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """Virtual time as a person reads it: *title*, and the *seconds* of one unit."""

    title: str
    seconds: float
    end: float

    @classmethod
    def of(cls, facts: Facts) -> Axis:
        """The axis for so long a simulation."""
        seconds, title = next((unit, title) for least, unit, title in _UNITS if facts["seconds"] >= least)
        return cls(title, seconds, facts["seconds"] / seconds)


def charts(names: Sequence[str], made: Sequence[Facts]) -> tuple[Chart, ...]:
    """The charts of one simulation, or of two beside each other; *names* are those of the configurations."""
    both: dict[str, Any] = {"names": names, "made": made}
    found = [
        _lines(
            "success",
            title="Success",
            what="share of the requests that were answered, by when they came",
            wanted={"": lambda row: row["success"]},
            format=".2%",
            **both,
        )
    ]
    for place, (name, facts) in enumerate(zip(names, made, strict=True)):
        found.append(_shares(f"share-{place}", name if len(made) > 1 else "", facts))
    if made[0]["traffic"]["stream"]:
        found.append(_latency("first_token", "Time to the first token", names, made))
    found.append(_latency("total", "Time to the whole answer", names, made))
    found.append(
        _lines(
            "attempts",
            title="Attempts per request",
            what="attempts that a request took, by when it came",
            wanted={"": lambda row: row["attempts_per_request"]},
            **both,
        )
    )
    width = made[0]["buckets"]["seconds"]
    found.append(
        _lines(
            "cost",
            title="Cost",
            what="dollars a minute, failed attempts included",
            wanted={"": lambda row: row["usd"] * 60 / width},
            format="$.3~g",
            **both,
        )
    )
    return tuple(found)


def windows(facts: Facts) -> tuple[dict[str, Any], ...]:
    """The spans in which something was wrong: *from* and *until* in units of the axis, and what."""
    axis = Axis.of(facts)
    return tuple(
        {
            "from": (fault["from"] or 0.0) / axis.seconds,
            "until": min(fault["until"] or facts["seconds"], facts["seconds"]) / axis.seconds,
            "text": f"{', '.join(fault['who'])}: {fault['what']}",
        }
        for fault in facts["faults"]
        if (fault["from"] is not None or fault["until"] is not None) and (fault["from"] or 0.0) < facts["seconds"]
    )


def _times(facts: Facts) -> list[float]:
    axis, width = Axis.of(facts), facts["buckets"]["seconds"]
    ends = [min(row["at"] + width, facts["seconds"]) for row in facts["buckets"]["rows"]]
    return [
        round((row["at"] + end) / 2 / axis.seconds, 6) for row, end in zip(facts["buckets"]["rows"], ends, strict=True)
    ]


def _lines(
    chart: str,
    *,
    title: str,
    what: str,
    names: Sequence[str],
    made: Sequence[Facts],
    wanted: Mapping[str, Callable[[Mapping[str, Any]], float | None]],
    **more: Any,
) -> Chart:
    traces, said = [], []
    for place, (name, facts) in enumerate(zip(names, made, strict=True)):
        for colour, (label, pick) in enumerate(wanted.items()):
            values = [pick(row) for row in facts["buckets"]["rows"]]
            shown = " ".join(part for part in (name if len(made) > 1 else "", label) if part) or title
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": shown,
                    "x": _times(facts),
                    "y": [None if value is None else round(value, 6) for value in values],
                    "colour": colour if len(wanted) > 1 else place,
                    "line": {"dash": DASHES[place], "width": 2},
                }
            )
            said.append(_range(shown, values, percent=more.get("format", "").endswith("%")))
    return Chart(chart, title, f"{what[0].upper()}{what[1:]}. {' '.join(said)}".strip(), tuple(traces), **more)


def _latency(key: str, title: str, names: Sequence[str], made: Sequence[Facts]) -> Chart:
    shares = ("p50", "p95", "p99") if len(made) == 1 else ("p50", "p95")
    return _lines(
        key,
        title=title,
        what="seconds, of answered requests, by when they came",
        names=names,
        made=made,
        wanted={share: _percentile(key, share) for share in shares},
        format=".3~g",
        wide=True,
    )


def _percentile(key: str, share: str) -> Callable[[Mapping[str, Any]], float | None]:
    return lambda row: row[key][share]


def _shares(chart: str, name: str, facts: Facts) -> Chart:
    """Who answered, stacked, and on top what nobody did."""
    rows, traces = facts["buckets"]["rows"], []
    for place, deployment in enumerate(facts["deployments"]):
        counts = [row["answered"][deployment] for row in rows]
        if any(counts):
            traces.append(_area(deployment, place % SERIES, facts, counts))
    failed = [sum(row["errors"].values()) for row in rows]
    if any(failed):
        traces.append(_area("no answer", "failed", facts, failed))
    said = ", ".join(
        f"{deployment} {row['share']:.1%}" for deployment, row in facts["deployments"].items() if row["share"]
    )
    title = f"Who answered{f' ({name})' if name else ''}"
    return Chart(chart, title, f"Share of the requests by who answered them. Over all of the time: {said or 'nobody'}.",
                 tuple(traces), format=".0%")  # fmt: skip


def _area(name: str, colour: int | str, facts: Facts, counts: Sequence[int]) -> dict[str, Any]:
    rows = facts["buckets"]["rows"]
    shares = [
        round(count / row["requests"], 6) if row["requests"] else 0 for count, row in zip(counts, rows, strict=True)
    ]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "stackgroup": "all",
        "x": _times(facts),
        "y": shares,
        "colour": colour,
        "line": {"width": 0.5},
    }


def _range(name: str, values: Sequence[float | None], *, percent: bool) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return f"{name}: nothing."
    least, most = (f"{value:.2%}" if percent else f"{value:.4g}" for value in (min(known), max(known)))
    return f"{name}: always {least}." if least == most else f"{name}: {least} to {most}."


def rows_of(facts: Facts) -> Iterator[tuple[str, ...]]:
    """The numbers over time, for a table: the time, requests, success, attempts, median and p95 of both latencies, cost."""
    for row in facts["buckets"]["rows"]:
        first, total = row["first_token"], row["total"]
        cells = (row["success"], row["attempts_per_request"], first["p50"], first["p95"], total["p50"], total["p95"])
        yield (f"{row['at']:g}", str(row["requests"]), *("–" if cell is None else f"{cell:.4g}" for cell in cells),
               f"{row['usd']:.4g}")  # fmt: skip
