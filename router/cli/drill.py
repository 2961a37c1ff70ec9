"""`router drill`: a routes file through every named failure, and what came of each.

Knows the options, how progress and the verdicts are shown, and where the JUnit file goes. What a drill is, is
`router.lab.drills`'s business.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from router.cli.base import FILE, FOUND, Failure, explained, json_option
from router.cli.output import NOTHING, clean, console, milliseconds, print_json, styled, table

if TYPE_CHECKING:
    from rich.console import Console

    from router.lab.drills import Finding, Report, Result

_EPILOG = """\b
Examples:
  router drill routes.yaml
  router drill routes.yaml --scenario cut --scenario outage --route chat
  router drill routes.yaml --faults faults.yaml      your own scripts
  router drill routes.yaml --junit drill.xml         for a CI
  router drill --list                                the named scenarios

\b
Verdicts:
  pass      rescued, and every provider was asked as it should be
  partial   rescued; something about the way there was not right
  safe      not rescued; a clean error, in time
  fail      misled, kept waiting, or a provider was hammered

\b
Exit codes: 0 nothing below --at-least; 1 findings; 2 wrong usage, or a wrong file.
"""
_COLOURS = {"pass": "green", "partial": "yellow", "safe": "yellow", "fail": "bold red", "skipped": "dim"}


@click.command(short_help="A routes file through every failure we know of.", epilog=_EPILOG)
@click.argument("file", required=False, type=FILE, metavar="[ROUTES.yaml]")
@click.option("-c", "--config", "config", type=FILE, metavar="F", help="The same, as an option.")
@click.option("--scenario", "scenarios", multiple=True, metavar="NAME", help="Only this one; may be repeated.")
@click.option("--faults", "faults", multiple=True, type=FILE, metavar="F",
              help="Fault scripts of your own (YAML), instead of all named scenarios; may be repeated.")  # fmt: skip
@click.option("--route", "routes", multiple=True, metavar="NAME", help="Only this route; may be repeated.")
@click.option("--at-least", type=click.Choice(["pass", "partial", "safe"]), default="pass", show_default=True,
              help="The worst verdict that is no finding.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Of all chance; the same seed, the same report.")
@click.option("--clock", type=click.Choice(["virtual", "real"]), default="virtual", show_default=True,
              help="real: over sockets, where a minute takes a minute.")  # fmt: skip
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), metavar="F", help="Write JUnit XML, too.")
@click.option("--list", "listing", is_flag=True, help="List the named scenarios, and end.")
@json_option
def drill(
    *,
    file: Path | None,
    config: Path | None,
    scenarios: tuple[str, ...],
    faults: tuple[Path, ...],
    routes: tuple[str, ...],
    junit: Path | None,
    listing: bool,
    as_json: bool,
    **how: Any,
) -> int:
    """Run a routes file through scenarios of trouble, against emulators of its providers.

    No key, no environment and no network is needed. Each route meets each scenario; what is tested is what the file
    says: tiers, policies, timeouts, fidelity.
    """
    if listing:
        return _list(as_json=as_json)
    if file is not None and config is not None:
        raise click.UsageError("give the file once: as an argument, or with --config")
    path = file or config
    if path is None:
        raise click.UsageError("give the routes file that is to be drilled; examples/minimal.yaml is a short one")
    wanted: list[str | Path] | None = [*scenarios, *faults] or None
    report = _drilled(path, wanted, routes or None, how, quiet=as_json)
    if junit is not None:
        _write(junit, report)
    if as_json:
        print_json(report.facts())
    else:
        _show(console(), report)
    return 0 if report.ok else FOUND


def _drilled(
    path: Path, wanted: Sequence[str | Path] | None, routes: tuple[str, ...] | None, how: dict[str, Any], *, quiet: bool
) -> Report:
    """The report; with progress where a person waits.

    Raises:
        UsageError: a scenario or a route is not known.
    """
    from rich.progress import Progress

    import router.lab.drills as lab

    with Progress(console=console(stderr=True), transient=True, disable=quiet or not sys.stderr.isatty()) as progress:
        bar = progress.add_task("drill", total=None)

        def tell(done: int, total: int, result: Result) -> None:
            progress.update(bar, total=total, completed=done, description=f"{result.route}: {result.name}")

        try:
            with explained((one for one in wanted or () if isinstance(one, Path)), "docs/failover-testing.md"):
                report = lab.drill(path, wanted, routes=routes, progress=tell, **how)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    if not report.scenarios:
        message = f"{path} has no routes: there is nothing to drill"
        raise Failure(message, hint="add routes:, or name a model with --route")
    return report


def _write(path: Path, report: Report) -> None:
    from router.lab.drills.junit import to_junit

    try:
        path.write_bytes(to_junit(report))
    except OSError as error:
        message = f"cannot write {path}: {error.strerror or error}"
        raise Failure(message, hint="check the directory and its permissions") from None


def _list(*, as_json: bool) -> int:
    from router.lab.drills import named_scenarios

    named = named_scenarios()
    if as_json:
        print_json({"scenarios": [{"name": one.name, "says": one.says} for one in named.values()]})
        return 0
    made = table("scenario", "what goes wrong")
    for one in named.values():
        made.add_row(styled(one.name, "cyan"), one.says)
    console().print(made)
    return 0


# -- for people -------------------------------------------------------------------------------------------------------


def _show(out: Console, report: Report) -> None:
    for route in dict.fromkeys(one.route for one in report.scenarios):
        results = [one for one in report.scenarios if one.route == route]
        made = table("verdict", "scenario", "what goes wrong", "first token", "requests",
                     title=route, right=("first token",))  # fmt: skip
        made.columns[1].no_wrap = True
        for one in results:
            made.add_row(
                styled(one.verdict, _COLOURS[one.verdict]), one.name, clean(one.says), _first(one), _requests(one)
            )
        out.print(made)
        for why, names in _skipped(results).items():
            out.print(styled(f"skipped: {clean(why)}  [{', '.join(names)}]", "dim"), soft_wrap=True)
        out.print()
    for finding in _together(report.findings):
        _tell(out, finding)
    counted = ", ".join(f"{count} {word}" for word in _COLOURS if (count := report.counts.get(word, 0)))
    out.print(styled("ok" if report.ok else "findings", "bold green" if report.ok else "bold"), styled(counted))


def _first(result: Result) -> str:
    return NOTHING if result.first_token is None else milliseconds(result.first_token)


def _requests(result: Result) -> str:
    """Who was asked, and how often."""
    providers = [name.partition("/")[0] for name in result.providers]
    told = []
    for name, provider in zip(result.providers, providers, strict=True):
        if count := result.providers[name]["requests"]:
            told.append(f"{provider if providers.count(provider) == 1 else name} {count}")
    return clean(", ".join(told))


def _skipped(results: Sequence[Result]) -> dict[str, list[str]]:
    """Why scenarios were skipped, and which."""
    found: dict[str, list[str]] = {}
    for one in results:
        if one.verdict == "skipped":
            found.setdefault(one.skipped, []).append(one.name)
    return found


def _together(findings: Sequence[Finding]) -> list[tuple[Finding, list[str]]]:
    """Findings that say the same of the same place stand once, with the scenarios in which they showed."""
    found: dict[tuple[Any, ...], tuple[Finding, list[str]]] = {}
    for one in findings:
        _, scenarios = found.setdefault((one.route, one.message, one.path), (one, []))
        if one.scenario is not None:
            scenarios.append(one.scenario)
    return list(found.values())


def _tell(out: Console, found: tuple[Finding, list[str]]) -> None:
    finding, scenarios = found
    line = styled(f"{finding.severity}: ", "red" if finding.severity == "error" else "yellow")
    where = finding.path if finding.scenario is None else finding.route
    line.append(f"{clean(where)}: " if where else "", style="cyan").append(clean(finding.message))
    line.append(f"  [{', '.join(scenarios)}]" if scenarios else "", style="dim")
    out.print(line, soft_wrap=True)
    if finding.fix:
        place = f"line {finding.line}, " if finding.line is not None else ""
        out.print(styled(f"    → {place}{finding.path + ': ' if finding.path else ''}{finding.fix}", "dim"),
                  soft_wrap=True)  # fmt: skip
