"""`router check`: everything that is wrong with a routes file, or will disappoint, in one list.

Knows what is asked of a configuration and how a finding looks. The file's own problems come from `router.load`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from router.cli.base import FOUND, WRONG, Failure, json_option, with_keys
from router.cli.output import clean, console, print_json, styled

if TYPE_CHECKING:
    from providers.errors import ConfigError
    from router.config import Deployment, Route
    from router.documents import Document
    from router.problems import Problem, Steps

_EPILOG = """\b
Examples:
  router check routes.yaml
  router check routes.yaml --json | jq '.findings[] | "\\(.line): \\(.message)"'
  router check                    the packaged catalog

\b
Exit codes: 0 nothing found; 1 findings; 2 wrong usage, or the file cannot be read.
"""

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to mend, or to know."""

    severity: Severity
    message: str
    route: str | None = None
    deployment: str | None = None
    path: str | None = None
    line: int | None = None
    fix: str | None = None


@click.command(short_help="What is wrong with a routes file.", epilog=_EPILOG)
@click.argument("file", required=False, type=click.Path(path_type=Path), metavar="[ROUTES.yaml]")
@click.option("-c", "--config", "config", type=click.Path(path_type=Path), metavar="F", help="The same, as an option.")
@json_option
def check(*, file: Path | None, config: Path | None, as_json: bool) -> int:
    """Say everything that is wrong with a routes file: mistakes, missing keys, needs that a deployment cannot meet.

    Nothing is sent anywhere. Without a file: the packaged catalog.
    """
    if file is not None and config is not None:
        raise click.UsageError("give the file once: as an argument, or with --config")
    path = file or config
    unreadable = _unreadable(path)
    found = [unreadable] if unreadable else sorted(findings(path), key=lambda one: one.line or 0)
    if as_json:
        print_json({"ok": not found, "findings": [_facts(one) for one in found]})
    if unreadable:
        raise Failure(f"{path}: {unreadable.message}", hint=unreadable.fix or "", code=WRONG)
    if not as_json:
        _show(found, "catalog.yaml" if path is None else str(path))
    return FOUND if found else 0


def _unreadable(path: Path | None) -> Finding | None:
    if path is None:
        return None
    try:
        with path.open("rb"):
            return None
    except OSError as error:
        return Finding("error", f"cannot be read: {error.strerror or error}", fix="check the path and its permissions")


def _facts(finding: Finding) -> dict[str, Any]:
    order = ("severity", "route", "deployment", "path", "line", "message", "fix")
    said = asdict(finding)
    return {name: said[name] for name in order}


# -- what there is to find --------------------------------------------------------------------------------------------


def findings(path: Path | None) -> Iterator[Finding]:
    """Everything that can be found without asking anybody."""
    from router.errors import ConfigError
    from router.load import load

    document = _document(path)
    try:
        config = load(path, environ=os.environ)
    except ConfigError as error:
        yield from (_finding("error", problem, document) for problem in error.problems)
        # What is only a key that is not set hides nothing else: look at the rest as if it were.
        try:
            config = load(path, environ=with_keys(path, own=True))
        except ConfigError:
            return
    yield from (_finding("warning", problem, document) for problem in config.warnings)
    for name in (*config.deployments, *config.models):
        config.route(name)  # made when first looked at: a row that cannot be compiled is to fail here, not in service
    for route in config.routes.values():
        yield from _missing_keys(route, document)
        yield from _unmet(route, document)
        yield from _never_reached(route, document)


def _document(path: Path | None) -> Document:
    """The file as it was written, for the lines; empty where it cannot be read as YAML."""
    from router import catalog, documents
    from router.errors import ConfigError

    try:
        return catalog.document() if path is None else documents.read(path, file=str(path))
    except ConfigError:
        return documents.Document(None, file=str(path))


def _finding(severity: Severity, problem: ConfigError | Problem, document: Document) -> Finding:
    route, deployment = _about(problem.path, document)
    foreign = problem.file is not None and problem.file != document.file
    message = f"{problem.file}: {problem.message}" if foreign else problem.message
    return Finding(severity, message, route, deployment, problem.path or None, problem.line, problem.hint)


def _about(path: str, document: Document) -> tuple[str | None, str | None]:
    """The route and the deployment that a dotted *path* speaks of. Names may hold dots; so the file is asked."""
    from router.problems import dotted

    known = [steps for steps in document.lines if path == dotted(steps) or path.startswith(dotted(steps) + ".")]
    steps = max(known, key=len, default=())
    route = str(steps[1]) if len(steps) > 1 and steps[0] == "routes" else None
    if len(steps) < 4 or steps[2] != "deployments":
        return route, None
    value = document.value
    for step in steps[:4]:
        value = value[step]
    if route is not None:
        return route, str(value.get("deployment")) if isinstance(value, dict) else str(value)
    return None, f"{value.get('provider')}/{steps[1]}" if isinstance(value, dict) else None


def _placed(
    route: Route, place: int, document: Document, message: str, fix: str, *, severity: Severity = "error"
) -> Finding:
    """A finding about the deployment that stands at *place* of *route*."""
    from router.problems import dotted

    steps: Steps = ("routes", route.name, "deployments", place)
    name = route.deployments[place].name
    return Finding(severity, message, route.name, name, dotted(steps), document.line(steps), fix)


def _missing_keys(route: Route, document: Document) -> Iterator[Finding]:
    for place, deployment in enumerate(route.deployments):
        provider = deployment.provider
        if deployment.weight > 0 and not provider.usable:
            names = " or ".join(provider.missing) or "its variable"
            message = f"{provider.name} has no API key: {deployment.name} is never asked"
            fix = f"set {names}, or api_key under providers.{provider.name}"
            yield _placed(route, place, document, message, fix)


def _unmet(route: Route, document: Document) -> Iterator[Finding]:
    from router.cli.probes import unmet

    for place, need, why in unmet(route):
        name = route.deployments[place].name
        message = f"{name} cannot meet the need {need}: {why}"
        fix = f"take {name} out of the route, or {need} out of its needs"
        yield _placed(route, place, document, message, fix)


def _never_reached(route: Route, document: Document) -> Iterator[Finding]:
    """Deployments behind more others than there are attempts. Those behind a lower priority are found by `lint`."""
    if route.select != "priority":
        return
    attempts, behind = route.policy.attempts, 0
    for tier in route.tiers:
        for number, deployment in enumerate(tier):
            if behind < attempts <= behind + number:
                message = (
                    f"{deployment.name} comes after {behind + number} others, and there are {attempts} attempts:"
                    " when those fail, it is never asked"
                )
                fix = "raise attempts in the policy, or put it further up"
                yield _placed(route, _place(route, deployment), document, message, fix, severity="warning")
        behind += len(tier)


def _place(route: Route, deployment: Deployment) -> int:
    return next(place for place, one in enumerate(route.deployments) if one is deployment)


# -- for people -------------------------------------------------------------------------------------------------------


def _show(found: Sequence[Finding], file: str) -> None:
    out = console()
    if not found:
        out.print(styled("ok", "bold green"), styled(file), soft_wrap=True)
        return
    last: object = None
    for one in found:
        where = file if one.line is None else f"{file}:{one.line}"
        if where != last:
            out.print(styled(where, "bold"), soft_wrap=True)
        last = where
        line = styled(f"  {one.severity}: ", "red" if one.severity == "error" else "yellow")
        line.append(f"{one.path}: " if one.path else "", style="cyan").append(clean(one.message))
        out.print(line, soft_wrap=True)
        if one.fix:
            out.print(styled(f"    → {one.fix}", "dim"), soft_wrap=True)
    count = f"{len(found)} finding{'s' if len(found) != 1 else ''}"
    errors = sum(one.severity == "error" for one in found)
    out.print(styled(f"{count}, {errors} of them errors" if errors else f"{count}, no errors", "bold"))
