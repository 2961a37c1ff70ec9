"""`router plan`: who would be asked, in which order and in which words; and who is out, and why. Nothing is sent."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from router.cli.base import FOUND, Failure, config_option, json_option, open_config
from router.cli.output import (
    NOTHING,
    change_facts,
    change_line,
    console,
    cost_facts,
    dotted,
    money,
    one_line_json,
    plain,
    print_json,
    short,
    shown_headers,
    styled,
    table,
    without_secrets,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from providers.types import Change, Request
    from router.config import Config
    from router.plan import Candidate, Plan

_EPILOG = """\b
Examples:
  router plan request.json
  router plan request.json --config routes.yaml --bodies
  router plan request.json --ignore-keys --json | jq '.candidates[0].call.body'
  echo '{"model": "qwen3.5-27b", "messages": [{"role": "user", "content": "Hi"}]}' | router plan -

\b
Exit codes: 0; 1 nobody may serve it; 2 wrong usage, request or configuration.
"""
ROOMY = 100  # columns from which a path fits on one line


@click.command(short_help="Who would be asked for a request, and in which words.", epilog=_EPILOG)
@click.argument("request_file", metavar="REQUEST.json", type=click.Path(allow_dash=True))
@config_option
@click.option("--stream", is_flag=True, help="Plan the calls of a stream.")
@click.option("--bodies", is_flag=True, help="Print each call in full.")
@click.option("--ignore-keys", is_flag=True, help="Plan as if every provider had a key.")
@json_option
def plan(
    *, request_file: str, config: Path | None, stream: bool, bodies: bool, ignore_keys: bool, as_json: bool
) -> int:
    """Show who would be asked for the request in REQUEST.json, and in which words.

    The request is canonical or OpenAI-shaped; - reads it from stdin. Nothing is sent anywhere, and keys are masked.
    """
    from providers.types import Request
    from router import Router

    request = Request.of(read_request(request_file))
    opened = open_config(config, ignore_keys=ignore_keys)
    made = Router(opened).plan(request, streaming=stream)
    if as_json:
        print_json(without_secrets(facts(made), opened))
    else:
        _show(made, request, opened, bodies=bodies)
    return 0 if made.candidates else FOUND


def read_request(name: str) -> dict[str, Any]:
    """The JSON object in the file *name*, - for stdin."""
    source = "stdin" if name == "-" else name
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        value = json.loads(data.decode("utf-8-sig"), parse_constant=_no_constant)
    except OSError as error:
        message = f"{source} cannot be read: {error.strerror or error}"
        raise Failure(message, hint="give the path of a JSON file, or - for stdin") from None
    except json.JSONDecodeError as error:
        message = f"{source}:{error.lineno}: is not JSON: {error.msg} (column {error.colno})"
        raise Failure(message, hint="a request is a JSON object with model and messages") from None
    except (ValueError, RecursionError) as error:
        message = f"{source} is not JSON: {error}"
        raise Failure(message, hint="a request is a JSON object with model and messages") from None
    if not isinstance(value, dict):
        message = f"{source} holds no JSON object"
        raise Failure(message, hint='write {"model": "...", "messages": [...]}')
    return value


def _no_constant(name: str) -> NoReturn:
    message = f"{name} is no JSON value"
    raise ValueError(message)


# -- for machines -----------------------------------------------------------------------------------------------------


def facts(made: Plan) -> dict[str, Any]:
    """A plan, ready for JSON."""
    return {
        "route": made.route,
        "candidates": [_candidate(one) for one in made.candidates],
        "excluded": [
            {"deployment": out.deployment, "why": out.why, "changes": _changes(out.changes)} for out in made.excluded
        ],
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    http = candidate.call.http
    return {
        "deployment": candidate.deployment,
        "call": {
            "method": http.method,
            "url": http.url,
            "headers": shown_headers(http.headers),
            "body": json.loads(http.body),
        },
        "changes": _changes(candidate.call.changes),
        "cost": cost_facts(candidate.cost),
    }


def _changes(changes: tuple[Change, ...]) -> list[dict[str, Any]]:
    return [plain(change_facts(change)) for change in changes]


# -- for people -------------------------------------------------------------------------------------------------------


def _show(made: Plan, request: Request, config: Config, *, bodies: bool) -> None:
    out = console()
    if made.candidates:
        out.print(_candidates(made, request, narrow=out.width < ROOMY))
        out.print()
    else:
        out.print(styled(f"{made.route}: nobody may serve this request.", "bold red"))
    if bodies:
        for place, candidate in enumerate(made.candidates, 1):
            _body(out, place, without_secrets(_candidate(candidate), config))
    if made.excluded:
        excluded = table("excluded", "why")
        for one in made.excluded:
            excluded.add_row(styled(one.deployment, "red"), styled(one.why))
        out.print(excluded)


def _candidates(made: Plan, request: Request, *, narrow: bool) -> Table:
    from router.cli.words import parts, said

    reasoning = parts(request).get("reasoning")
    shown = table("#", "deployment", "says for reasoning", "changes", "est. cost", title=made.route,
                  right=("#", "est. cost"))  # fmt: skip
    for place, candidate in enumerate(made.candidates, 1):
        words = said(request, candidate.call.endpoint, reasoning) if reasoning else {}
        asked = [change_line(one) for one in candidate.call.changes if one.how != "defaulted"]
        defaults = [change_line(one) for one in candidate.call.changes if one.how == "defaulted"]
        changes = styled("\n".join(asked), "yellow")
        if defaults:
            changes.append("\n" * bool(asked) + "\n".join(defaults), style="dim")
        shown.add_row(
            str(place),
            candidate.deployment,
            "\n".join(f"{dotted(path) if narrow else path}: {short(value)}" for path, value in words.items())
            or NOTHING,
            changes if candidate.call.changes else styled("none", "green"),
            money(candidate.cost),
        )
    return shown


def _body(out: Console, place: int, candidate: dict[str, Any]) -> None:
    """One call as it would be sent; not wrapped, so that it can be copied."""
    call = candidate["call"]
    out.print(styled(f"{place}. {candidate['deployment']}", "bold"))
    out.print(styled(f"{call['method']} {call['url']}", "cyan"), soft_wrap=True)
    for name, value in call["headers"].items():
        out.print(styled(f"{name}: {value}", "dim"), soft_wrap=True)
    out.print(styled(one_line_json(call["body"])), soft_wrap=True)
    out.print()
