"""`router simulate`: a routes file under traffic and faults, on virtual time, before any of it exists.

Knows the options, the short way to say a fault, and how the numbers are shown. What they mean is `router.lab.simulation`'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from router.cli.base import FILE, Failure, config_option, explained, json_option, open_config
from router.cli.output import NOTHING, console, dollars, print_json, styled, table

if TYPE_CHECKING:
    from rich.table import Table

    from providers.types import Request
    from router.lab.script import Script
    from router.lab.simulation import Scene, Simulated

_EPILOG = """\b
Examples:
  router simulate routes.yaml
  router simulate routes.yaml --rate 200/s --for 1h --fault mixlayer:down:10m-20m --html report.html
  router simulate routes.yaml --fault "runware:slow*10:5m-" --fault all:reset:1% --routers 4
  router simulate routes.yaml --compare cheaper.yaml --seed 7 --json
  router simulate routes.yaml --fault faults.yaml --assume measured.yaml

\b
A fault is WHO:WHAT or WHO:WHAT:WHEN, or a YAML file with a fault script.
  WHO    a provider, a deployment, or first, second, rest, all (several: a,b)
  WHAT   down, slow*10, rate_limited, reset, silence, cut_after*20, … (docs/simulation.md)
  WHEN   10m-20m, 5m-, -30s, 10%, #1-3; several: 10m-20m,10%

No key is needed and nothing is sent. The providers' speed is assumed: see --assume, and docs/simulation.md.

\b
Exit codes: 0; 2 wrong usage or configuration.
"""
_UNITS: Mapping[str, float] = {"s": 1.0, "m": 60.0, "h": 3600.0}
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(?:/([smh]))?")
_SPEC = re.compile(r"(?P<who>[^:]+):(?P<what>[a-z0-9_]+)(?:\*(?P<times>[0-9.]+))?(?::(?P<when>.+))?")
_SPAN = re.compile(r"(?P<begin>[0-9.]+(?:ms|s|m|h)?)?-(?P<until>[0-9.]+(?:ms|s|m|h)?)?")
_ARGUMENTS = ("times", "events", "seconds", "code", "at", "size", "retry_after")  # what `*N` may stand for


def _rate(_: click.Context, __: click.Parameter, value: str) -> float:
    found = _RATE.fullmatch(value)
    if found is None or float(found[1]) <= 0:
        raise click.BadParameter(f"{value!r} is no rate; write e.g. 200/s, 30/m or 5")
    return float(found[1]) / _UNITS[found[2] or "s"]


def _duration(_: click.Context, __: click.Parameter, value: str) -> float:
    from router import units

    try:
        return units.duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command(short_help="A configuration under traffic and faults, on virtual time.", epilog=_EPILOG)
@click.argument("routes", required=False, type=FILE, metavar="[ROUTES.yaml]")
@config_option
@click.option("--route", "route", metavar="R", help="Which route; the first of the file by default.")
@click.option("--rate", default="10/s", show_default=True, callback=_rate, metavar="N/s", help="Requests: 200/s, 30/m.")
@click.option("--for", "seconds", default="10m", show_default=True, callback=_duration, metavar="TIME",
              help="Virtual time in which they come.")  # fmt: skip
@click.option("--fault", "faults", multiple=True, metavar="SPEC|FILE", help="What goes wrong, and when. Repeatable.")
@click.option("--routers", type=click.IntRange(1, 1000), default=1, show_default=True,
              help="Router processes: each has its own health; the providers are shared.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Of all chance: the same seed, the same bytes.")
@click.option("--assume", type=FILE, metavar="FILE", help="What is assumed of providers and traffic (YAML).")
@click.option(
    "--request", "request_file", type=FILE, metavar="FILE", help="What is asked, in place of a question (JSON)."
)
@click.option("--compare", type=FILE, metavar="OTHER.yaml", help="Another routes file under the same conditions.")
@click.option("--html", "html", type=click.Path(dir_okay=False, writable=True, path_type=Path), metavar="FILE",
              help="Write a report with plots, in one file.")  # fmt: skip
@json_option
def simulate(
    *,
    routes: Path | None,
    config: Path | None,
    route: str | None,
    rate: float,
    seconds: float,
    faults: tuple[str, ...],
    routers: int,
    seed: int,
    assume: Path | None,
    request_file: Path | None,
    compare: Path | None,
    html: Path | None,
    as_json: bool,
) -> int:
    """Simulate a routes file: the real planner, policy and health over assumed providers, on virtual time.

    ROUTES.yaml is the same as --config. Without either, --route names a model of the packaged catalog.
    """
    from router.lab.simulation import Assumptions, Scene, load_assumptions

    if routes is not None and config is not None:
        raise click.UsageError("give the routes file once: as ROUTES.yaml or as --config")
    path = routes or config
    if path is None and route is None:
        raise click.UsageError("say which routes file, or which model of the catalog: --route MODEL")
    assumed = () if assume is None else (assume,)
    with explained(faults, "docs/failover-testing.md"), explained(assumed, "docs/simulation.md"):
        scene = Scene(
            rate=rate,
            seconds=seconds,
            routers=routers,
            seed=seed,
            route=route,
            request=_request(request_file),
            faults=_scripts(faults),
            assumptions=Assumptions() if assume is None else load_assumptions(assume),
        )
        if html is not None:
            _has_charts()
        made = _simulated([path] if compare is None else [path, compare], scene, silent=as_json)
    names = [_name(one) for one in ([path] if compare is None else [path, compare])]
    if html is not None:
        _write(html, names, made)
    if as_json:
        print_json(_facts(names, made))
    else:
        _show(names, made, html)
    return 0


def _name(path: Path | None) -> str:
    return path.name if path is not None else "the catalog"


def _request(path: Path | None) -> Request | None:
    from providers.types import Request
    from router.cli.plan import read_request

    return None if path is None else Request.of(read_request(str(path)))


# -- faults -----------------------------------------------------------------------------------------------------------


def _scripts(faults: Sequence[str]) -> tuple[Script, ...]:
    """Every script: those of the files, and one of all that was said on the command line."""
    from router.lab.script import load_scripts

    scripts: list[Script] = []
    for said in faults:
        if _SPEC.fullmatch(said) is None and (Path(said).is_file() or said.endswith((".yaml", ".yml"))):
            found = load_scripts(said)
            if len(found) > 1:
                names = ", ".join(one.name for one in found)
                raise Failure(f"{said} holds several scenarios ({names}); a simulation plays one",
                              hint="put the one you mean into a file of its own")  # fmt: skip
            scripts += found
        else:
            scripts += load_scripts({"name": said, "faults": [fault(said)]})
    return tuple(scripts)


def fault(said: str) -> dict[str, Any]:
    """The entry of a fault script that `WHO:WHAT:WHEN` stands for.

    Raises:
        UsageError: it stands for none.
    """
    found = _SPEC.fullmatch(said)
    if found is None:
        raise click.UsageError(f"{said!r} is no fault; write WHO:WHAT or WHO:WHAT:WHEN, e.g. mixlayer:down:10m-20m")
    what: Any = found["what"]
    if found["times"] is not None:
        what = {what: {_argument(what): float(found["times"]) if "." in found["times"] else int(found["times"])}}
    entry: dict[str, Any] = {"who": found["who"].split(","), "what": what}
    if found["when"] is not None:
        entry["when"] = _when(found["when"], said)
    return entry


def _argument(what: str) -> str:
    """The argument of a fault that a lone number stands for: its first."""
    import inspect

    from router.lab.faults import Fault

    make = getattr(Fault, what, None) if what in Fault.names() else None
    names = tuple(inspect.signature(make).parameters) if make is not None else ()
    return next((name for name in names if name in _ARGUMENTS), "times")


def _when(text: str, said: str) -> dict[str, Any]:
    when: dict[str, Any] = {}
    for part in text.split(","):
        span = _SPAN.fullmatch(part)
        if part.startswith("#"):
            when["requests"] = part[1:]
        elif part.endswith("%"):
            when["share"] = part
        elif span is not None and (span["begin"] or span["until"]):
            when |= {key: value for key, value in (("from", span["begin"]), ("until", span["until"])) if value}
        else:
            message = f"{part!r} in {said!r} is no time; write e.g. 10m-20m, 5m-, -30s, 10% or #1-3"
            raise click.UsageError(message)
    return when


# -- running ----------------------------------------------------------------------------------------------------------


def _simulated(paths: Sequence[Path | None], scene: Scene, *, silent: bool) -> list[Simulated]:
    from router.lab.simulation import simulate as run

    configs = [open_config(path, ignore_keys=True) for path in paths]
    with _progress(len(configs) * scene.seconds, silent=silent) as advance:
        return [
            run(config, scene, None if advance is None else _from(advance, place * scene.seconds))
            for place, config in enumerate(configs)
        ]


def _from(advance: Callable[[float], None], before: float) -> Callable[[float], None]:
    return lambda seconds: advance(before + seconds)


@contextmanager
def _progress(total: float, *, silent: bool) -> Iterator[Callable[[float], None] | None]:
    """Where a person waits: how much virtual time has passed."""
    out = console(stderr=True)
    if silent or not out.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("simulating"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda seconds: progress.update(task, completed=seconds)


def _has_charts() -> None:
    from importlib.util import find_spec

    if find_spec("plotly") is None:
        raise Failure("--html needs plotly, which is not installed", hint="pip install 'provider-router[report]'")


def _write(path: Path, names: Sequence[str], made: Sequence[Simulated]) -> None:
    from router.lab.simulation.report import report

    try:
        path.write_text(report(names, made), encoding="utf-8")
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror or error}") from None


# -- showing ----------------------------------------------------------------------------------------------------------


def _facts(names: Sequence[str], made: Sequence[Simulated]) -> dict[str, Any]:
    from router.lab.simulation import differences

    if len(made) == 1:
        return dict(made[0].facts)
    return {
        "simulations": [{"config": name, **one.facts} for name, one in zip(names, made, strict=True)],
        "differences": differences(made[0], made[1]),
    }


def _show(names: Sequence[str], made: Sequence[Simulated], html: Path | None) -> None:
    out = console()
    out.print(_numbers(names, made))
    for name, one in zip(names, made, strict=True):
        out.print()
        out.print(_deployments(one, name if len(made) > 1 else ""))
    for script in dict.fromkeys(script for one in made for script in one.unmet):
        out.print()
        said = (
            f"warning: no call has met {script}: its time never came, or it is about whole answers and traffic streams"
        )
        out.print(styled(said, "yellow"), soft_wrap=True)
    if html is not None:
        out.print()
        out.print(styled(f"The report is in {html}.", "bold"), soft_wrap=True)


def _numbers(names: Sequence[str], made: Sequence[Simulated]) -> Table:
    from router.lab.simulation.words import NUMBERS, change, shown

    facts = made[0].facts
    fleet = "" if facts["routers"] == 1 else f", {facts['routers']} routers"
    title = f"{facts['route']}: {facts['rate']:g} requests/s for {facts['seconds']:g} s{fleet}, seed {facts['seed']}"
    columns = names if len(made) > 1 else ("all of the time",)
    more = ("change",) if len(made) > 1 else ()
    numbers = table("", *columns, *more, title=title, right=(*columns, *more))
    for number in NUMBERS:
        cells = [shown(number, one.facts) for one in made]
        numbers.add_row(number.name, *cells, *([change(number, made[0].facts, made[1].facts)] if more else []))
    for name in dict.fromkeys(name for one in made for name in one.facts["errors"]) or ("errors",):
        counts = [one.facts["errors"].get(name) for one in made]  # a row for each: a list would squeeze the others
        numbers.add_row(name, *(NOTHING if one is None else f"{one:,}" for one in counts), *("" for _ in more))
    return numbers


def _deployments(one: Simulated, title: str) -> Table:
    columns = ("share", "attempts", "failed", "opened", "cost")
    found = table("deployment", *columns, title=title, right=columns)
    for name, row in one.facts["deployments"].items():
        share = NOTHING if row["share"] is None else f"{row['share']:.1%}"
        failed = sum(row["failed"].values())
        found.add_row(name, share, str(row["attempts"]), styled(str(failed), "red" if failed else ""),
                      str(row["circuit_opened"]), dollars(row["usd"]))  # fmt: skip
    return found
