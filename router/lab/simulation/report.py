"""The report of a simulation: one HTML file with plots, for a phone and for a desk, without a network.

Knows the page. Everything that comes from a user's file is text in it: escaped in HTML, and in JSON where the script
reads it. A content security policy lets nothing be fetched, whatever the page holds. The charts are drawn by plotly,
whose script is in the file; every number that they show is in a table too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from router.lab.simulation.charts import Axis, Chart, Facts, charts, rows_of, windows
from router.lab.simulation.words import NOTHING, NUMBERS, Number, better, change, shown, value

if TYPE_CHECKING:
    from router.lab.simulation.facts import Simulated

_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
_TILES = ("success", "first token, p95", "whole answer, p95", "attempts per request", "cost per request")
_BETTER = {True: ("better", "better"), False: ("worse", "worse"), None: ("", "")}
_OVER_TIME = (
    "from, s",
    "requests",
    "success",
    "attempts",
    "first token p50, s",
    "p95, s",
    "answer p50, s",
    "p95, s",
    "$",
)


def report(names: Sequence[str], made: Sequence[Simulated]) -> str:
    """The page about one simulation, or about two that are compared; *names* are those of the configurations."""
    from plotly.offline import get_plotlyjs

    facts = [one.facts for one in made]
    drawn = charts(names, facts)
    title = f"{facts[0]['route']}: {' and '.join(names)}" if len(made) > 1 else str(facts[0]["route"])
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            '<link rel="icon" href="data:,">',
            f"<title>{escape(title)} – simulated</title>",
            f"<style>{_asset('report.css')}</style>",
            "</head>",
            "<body>",
            *_head(title, facts),
            *_tiles(facts),
            *(_figure(chart) for chart in drawn),
            *_numbers(names, facts),
            *_faults(facts[0]),
            *_assumed(names, facts),
            *_over_time(names, facts),
            "<noscript><p>The charts need JavaScript; the tables have the same numbers.</p></noscript>",
            f'<script type="application/json" id="data">{_data(drawn, facts[0])}</script>',
            f"<script>{get_plotlyjs()}</script>",
            f"<script>{_asset('report.js')}</script>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _asset(name: str) -> str:
    return files("router.lab.simulation").joinpath(name).read_text(encoding="utf-8")


def _data(drawn: Sequence[Chart], facts: Facts) -> str:
    """What the script draws. No text in it can end the element that holds it."""
    axis = Axis.of(facts)
    data = {
        "axis": {"title": axis.title, "end": axis.end},
        "windows": windows(facts),
        "charts": [{"name": one.name, "format": one.format, "wide": one.wide, "traces": one.traces} for one in drawn],
    }
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c").replace("&", "\\u0026")


def _head(title: str, facts: Sequence[Facts]) -> list[str]:
    one = facts[0]
    routers = "1 router" if one["routers"] == 1 else f"{one['routers']} routers"
    said = (
        f"{one['requests']:,} requests at {one['rate']:g}/s for {_time(one['seconds'])}, {routers}, seed {one['seed']}."
    )
    note = (
        "Simulated: the router's own planner, policy and health on virtual time, over providers whose speed is assumed "
        "(below). Nothing was sent to anybody."
    )
    return [f"<header><h1>{escape(title)}</h1>", f"<p>{escape(said)} {escape(note)}</p></header>"]


def _time(seconds: float) -> str:
    for unit, name in ((3600.0, "h"), (60.0, "min")):
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds / unit:g} {name}"
    return f"{seconds:g} s"


# -- numbers ----------------------------------------------------------------------------------------------------------


def _tiles(facts: Sequence[Facts]) -> list[str]:
    numbers = [one for one in NUMBERS if one.name in _TILES and value(one, facts[-1]) is not None]
    return ['<section class="tiles" aria-label="In short">', *(_tile(one, facts) for one in numbers), "</section>"]


def _tile(number: Number, facts: Sequence[Facts]) -> str:
    more = ""
    if len(facts) > 1:
        style, word = _BETTER[better(number, facts[0], facts[1])]
        said = change(number, facts[0], facts[1]) + (f", {word}" if word else "")
        more = f'<span class="{style}">{escape(said)}</span>'
    return f"<div><span>{escape(number.name)}</span><strong>{escape(shown(number, facts[-1]))}</strong>{more}</div>"


def _numbers(names: Sequence[str], facts: Sequence[Facts]) -> list[str]:
    columns = list(names) if len(facts) > 1 else ["all of the time"]
    more = ["change"] if len(facts) > 1 else []
    rows = [
        [number.name, *(shown(number, one) for one in facts), *([change(number, *facts)] if more else [])]
        for number in NUMBERS
    ]
    errors = [", ".join(f"{count} {name}" for name, count in one["errors"].items()) or NOTHING for one in facts]
    rows.append(["errors", *errors, *("" for _ in more)])
    found = ["<h2>Numbers</h2>", _table(["", *columns, *more], rows)]
    for name, one in zip(names, facts, strict=True):
        found.append(f"<h2>Deployments{f' ({escape(name)})' if len(facts) > 1 else ''}</h2>")
        found.append(_table(["", "share", "attempts", "failed", "circuit opened", "cost"], list(_deployments(one))))
    return found


def _deployments(facts: Facts) -> Iterable[list[str]]:
    for name, row in facts["deployments"].items():
        share = NOTHING if row["share"] is None else f"{row['share']:.1%}"
        failed = ", ".join(f"{count} {kind}" for kind, count in row["failed"].items()) or NOTHING
        yield [name, share, f"{row['attempts']:,}", failed, str(row["circuit_opened"]), f"${row['usd']:.4g}"]


def _faults(facts: Facts) -> list[str]:
    if not facts["faults"]:
        return []
    rows = [[", ".join(fault["who"]), fault["what"], _when(fault)] for fault in facts["faults"]]
    return ["<h2>What went wrong</h2>", _table(["who", "what", "when"], rows)]


def _when(fault: Facts) -> str:
    parts = []
    if fault["from"] is not None or fault["until"] is not None:
        until = "the end" if fault["until"] is None else _time(fault["until"])
        parts.append(f"from {_time(fault['from'] or 0.0)} to {until}")
    if fault["share"] is not None:
        parts.append(f"{fault['share']:.3g} of the requests")
    if fault["requests"] is not None:
        first, last = fault["requests"]
        parts.append(f"requests {first} to {'the last' if last is None else last}")
    return ", ".join(parts) or "always"


def _assumed(names: Sequence[str], facts: Sequence[Facts]) -> list[str]:
    traffic = [[key.replace("_", " "), str(said)] for key, said in facts[0]["traffic"].items()]
    found = [
        "<h2>What is assumed</h2>",
        "<details><summary>Traffic</summary>",
        _table(["", "assumed"], traffic),
        "</details>",
    ]
    for name, one in zip(names, facts, strict=True):
        said = f" ({escape(name)})" if len(facts) > 1 else ""
        found += [f"<details><summary>Providers{said}</summary>", _conducts(one), "</details>"]
    return found


def _conducts(facts: Facts) -> str:
    keys = ("first_token", "spread", "tokens_per_second", "refusal")
    rows = [
        [name, *(f"{row[key]:g}" for key in keys), _limits(row.get("limits"))]
        for name, row in facts["conducts"].items()
    ]
    return _table(["", "first token, s", "spread", "tokens/s", "refusal, s", "limits"], rows)


def _limits(limits: dict[str, Any] | None) -> str:
    said = {name: limit for name, limit in (limits or {}).items() if limit is not None}
    return ", ".join(f"{limit} {name.replace('_', ' ')}" for name, limit in said.items()) or NOTHING


def _over_time(names: Sequence[str], facts: Sequence[Facts]) -> list[str]:
    found = []
    for name, one in zip(names, facts, strict=True):
        said = f" ({escape(name)})" if len(facts) > 1 else ""
        found += [
            f"<details><summary>Numbers over time{said}</summary>",
            _table(_OVER_TIME, rows_of(one)),
            "</details>",
        ]
    return found


# -- HTML -------------------------------------------------------------------------------------------------------------


def _figure(chart: Chart) -> str:
    name = escape(chart.name)
    return (
        f'<figure><figcaption><h2>{escape(chart.title)}</h2><p id="{name}-says">{escape(chart.says)}</p></figcaption>'
        f'<div class="chart" id="{name}" role="img" aria-labelledby="{name}-says"></div></figure>'
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return f'<div class="table" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
