"""`router replay`: recorded decisions made again, step by step; the same ones, or another configuration's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from router.cli.base import FILE, FOUND, Failure, config_option, json_option, open_config, warn
from router.cli.output import NOTHING, console, milliseconds, print_json, styled, table

if TYPE_CHECKING:
    from rich.console import Console

    from router.config import Config
    from router.decisions.record import Recorded
    from router.decisions.replay import Replay, Replayer, Turn

_EPILOG = """\b
Examples:
  router replay decisions.jsonl
  router replay decisions.jsonl --request 3f2a
  router replay decisions.jsonl --config other.yaml
  router replay decisions.jsonl --json | jq '.requests[] | select(.same | not)'

\b
With --config it tells what would have been decided otherwise. How a deployment answered is
taken from the record; of one that nobody asked it is not known, and there a replay stops.

\b
Exit codes: 0 the same decisions, and with --config always; 1 a decision is another one; 2 wrong
usage, no record, a version of records that this router does not read, or a wrong configuration.
"""


@click.command(short_help="Recorded decisions made again; or another configuration's.", epilog=_EPILOG)
@click.argument("record", metavar="RECORD", type=FILE)
@config_option
@click.option("--request", "wanted", metavar="ID", help="Only the request whose id begins so.")
@json_option
def replay(*, record: Path, config: Path | None, wanted: str | None, as_json: bool) -> int:
    """Make the decisions in RECORD again, from what was known when they were made.

    RECORD is what a DecisionRecorder has written. Nothing is sent anywhere, and no key is needed.
    """
    replays = [*_replays(record, config, wanted)]
    if not replays:
        message = f"{record} holds no request" + (f" whose id begins with {wanted}" if wanted else "")
        raise Failure(message, hint="see: router replay RECORD, which lists the requests in it")
    same = all(one.is_same for one in replays)
    if as_json:
        print_json({"ok": same or config is not None, "same": same, "counterfactual": config is not None,
                    "requests": [_facts(one) for one in replays]})  # fmt: skip
    else:
        _show(replays, config)
    return 0 if same or config is not None else FOUND


def _replays(record: Path, config: Path | None, wanted: str | None) -> Iterator[Replay]:
    from router.decisions.record import ForeignRecord, read
    from router.decisions.replay import Replayer

    other = Replayer(open_config(config, ignore_keys=True), other=True) if config is not None else None
    own: dict[str, Replayer] = {}
    try:
        with record.open(encoding="utf-8") as lines:
            for one in read(lines):
                if wanted is None or one.id.startswith(wanted):
                    yield (other or _own(own, one)).replay(one)
    except ForeignRecord as error:
        message = f"{record}:{error.line}: {error}"
        raise Failure(message, hint="give the file that a router.decisions.DecisionRecorder has written") from None
    except (UnicodeDecodeError, KeyError, TypeError) as error:
        message = f"{record} is no sound record: {type(error).__name__}: {error}"
        raise Failure(message, hint="was it cut or edited?") from None


def _own(known: dict[str, Replayer], one: Recorded) -> Replayer:
    """A replayer under the configuration that *one* was recorded under."""
    import json

    from router.decisions.replay import Replayer

    name = json.dumps([one.facts["config"], one.facts["accounts"]])
    if name not in known:
        known[name] = Replayer(_recorded_config(one))
    return known[name]


def _recorded_config(one: Recorded) -> Config:
    from router.decisions.record import with_accounts
    from router.load import load

    if one.written is None:
        message = f"the record of {one.id} holds no configuration: its router was not made from a routes file"
        raise Failure(message, hint="give one with --config")
    document, environ = with_accounts(one.written, one.facts["accounts"])
    return load(document, environ=environ)


# -- for machines -----------------------------------------------------------------------------------------------------


def _facts(one: Replay) -> dict[str, Any]:
    facts = one.recorded.facts
    return {
        "id": one.recorded.id,
        "route": facts["route"],
        "outcome": facts["outcome"],
        "same": one.is_same,
        "first_difference": one.first_difference,
        "facts_as_then": one.is_as_then,
        "steps": [_turn_facts(turn) for turn in one.turns],
    }


def _turn_facts(turn: Turn) -> dict[str, Any]:
    return {
        "elapsed": turn.elapsed,
        "same": turn.is_same,
        "recorded": turn.then,
        "decided": turn.now,
        "passed": [{"deployment": out.deployment, "why": out.why, "retry_in": out.retry_in} for out in turn.passed],
        "outcome": turn.outcome or None,
    }


# -- for people -------------------------------------------------------------------------------------------------------


def _show(replays: list[Replay], config: Path | None) -> None:
    if config is None and any(not one.is_as_then for one in replays):
        warn("the facts are not those of then (another catalog, or another version): what differs may come from that")
    out = console()
    if len(replays) == 1:
        _chain(out, replays[0])
        return
    shown = table("request", "route", "decisions", "ended", "replay", right=("decisions",))
    for one in replays:
        style = "green" if one.is_same else "yellow"
        shown.add_row(one.recorded.id, one.recorded.facts["route"], str(len(one.turns)),
                      one.recorded.facts["outcome"], styled(_verdict(one), style))  # fmt: skip
    out.print(shown)
    others = [one for one in replays if not one.is_same]
    out.print()
    out.print(styled(f"{len(replays)} requests: {len(replays) - len(others)} with the same decisions"))
    if others:
        out.print(styled("\nThe first that differs:\n"))
        _chain(out, others[0])


def _verdict(one: Replay) -> str:
    place = one.first_difference
    return "the same decisions" if place is None else f"decision {place + 1} is another one"


def _chain(out: Console, one: Replay) -> None:
    facts = one.recorded.facts
    shown = table("#", "at", "decided", "why", "what came of it", right=("#", "at"),
                  title=f"{facts['route']}, request {one.recorded.id}")  # fmt: skip
    for place, turn in enumerate(one.turns, 1):
        why = "\n".join([str(turn.now["why"]), *(f"not {out.deployment}: {out.why}" for out in turn.passed)])
        style = "" if turn.is_same else "yellow"
        shown.add_row(str(place), milliseconds(turn.elapsed), styled(_said(turn.now), style), styled(why),
                      styled(turn.outcome or NOTHING))  # fmt: skip
    out.print(shown)
    out.print()
    different = one.first_difference
    if different is None:
        out.print(styled(f"The same decisions; it ended with: {facts['outcome']}, {facts['why']}.", "green"))
        return
    turn = one.turns[different]
    then = "nothing: it had come to its end" if turn.then is None else _said(turn.then)
    out.print(styled(f"Decision {different + 1} is another one.", "yellow"))
    out.print(styled(f"  on record: {then}{'' if turn.then is None else ' (' + str(turn.then['why']) + ')'}"))
    out.print(styled(f"  now:       {_said(turn.now)} ({turn.now['why']})"))


def _said(decision: Mapping[str, Any]) -> str:
    if "stop" in decision:
        return "stop"
    after = f" after {milliseconds(decision['delay'])}" if decision["delay"] else ""
    return f"ask {decision['try']}{after}, for at most {milliseconds(decision['limit'])}"
