"""How the commands show things: JSON for machines; tables, colours and short texts for people.

Knows how a change, a cost and an attempt are said. Refuses to know what a command is about.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from math import floor, log10
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from providers.types import Attempt, Change, Cost
    from router.config import Config

MASK = "***"
NOTHING = "–"
SECRET_LENGTH = (
    8  # characters from which a key is looked for in what is shown; a shorter one would be found in anything
)
DECIMALS = 12  # of dollars: the millionth part of a token's price is noise
_SECRET_HEADER = re.compile(r"auth|key|token|secret|cookie", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and newline


def console(*, stderr: bool = False) -> Console:
    """Where people read. Plain where the stream is no terminal, without colour where NO_COLOR is set."""
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # one place decides how a run ends

    # No markup and no guessing: what is shown comes from providers and users, and is shown as it is.
    return Plain(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=False)


def table(*columns: str, title: str = "", right: Iterable[str] = ()) -> Table:
    """An empty table in the one style of this command; the columns of *right* hold numbers."""
    from rich import box
    from rich.table import Table

    made = Table(title=title or None, title_justify="left", title_style="bold", header_style="bold",
                 box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)  # fmt: skip
    for column in columns:
        numbers = column in set(right)
        made.add_column(column, justify="right" if numbers else "left", no_wrap=numbers, overflow="fold")
    return made


def styled(text: str, style: str = "") -> Text:
    """*text* in a style, and never more than text."""
    from rich.text import Text

    return Text(clean(text), style=style)


def clean(text: str) -> str:
    """*text* without control characters: a model must not steer the terminal of its reader."""
    return _CONTROL.sub("", text)


def print_json(value: Any) -> None:
    """*value* on stdout: ASCII, so that no locale can spoil it."""
    click.echo(json.dumps(value, indent=2, default=str))


def one_line_json(value: Any) -> str:
    """*value* as compact JSON, for a cell or a line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


# -- facts, for machines ----------------------------------------------------------------------------------------------


def change_facts(change: Change) -> dict[str, Any]:
    """A change, ready for JSON."""
    return {name: getattr(change, name) for name in ("param", "asked", "sent", "how", "why")}


def cost_facts(cost: Cost) -> dict[str, Any]:
    """A cost, ready for JSON."""
    return {"usd": None if cost.usd is None else round(cost.usd, DECIMALS), "source": cost.source}


def attempt_facts(attempt: Attempt) -> dict[str, Any]:
    """An attempt, ready for JSON; times are seconds."""
    return {
        "deployment": attempt.deployment,
        "outcome": attempt.outcome,
        "status": attempt.status,
        "duration": round(attempt.duration, 6),
        "cost": cost_facts(attempt.cost),
        "why": attempt.why,
        "chosen": attempt.chosen,
    }


def plain(value: Any) -> Any:
    """*value* as JSON would hold it: models and tuples become mappings and lists."""
    from pydantic_core import to_jsonable_python

    return to_jsonable_python(value, fallback=str)


# -- facts, for people ------------------------------------------------------------------------------------------------


def money(cost: Cost) -> str:
    """Dollars with three figures that count; `~` where they are estimated."""
    if cost.usd is None:
        return "unknown"
    return ("~" if cost.source == "estimated" and cost.usd else "") + dollars(cost.usd)


def dollars(usd: float) -> str:
    """*usd* with at least two decimals, and three figures that count."""
    if not usd:
        return "$0"
    places = max(2, 2 - floor(log10(abs(usd))))
    whole, _, rest = f"{usd:.{places}f}".partition(".")
    return f"${whole}.{rest.rstrip('0').ljust(2, '0')}"


def milliseconds(seconds: float) -> str:
    """*seconds*, as people read times of this size."""
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.1f} s"


def short(value: Any, limit: int = 32) -> str:
    """*value* as JSON on one line, cut to *limit* characters."""
    text = one_line_json(plain(value))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def dotted(path: str) -> str:
    """A dotted path for a narrow column: broken behind its dots, not inside its words."""
    return path.replace(".", ".\n")


def change_line(change: Change) -> str:
    """A change in a few words: `reasoning_effort "low" → true, nearest`."""
    if change.how == "defaulted":
        return f"{change.param}: {short(change.sent)} by default"
    if change.how == "dropped":
        return f"{change.param} {short(change.asked)} dropped"
    return f"{change.param} {short(change.asked)} → {short(change.sent)}, {change.how}"


def attempts_table(attempts: Iterable[Attempt], title: str = "") -> Table:
    """Who was asked, and how it went."""
    made = table("#", "deployment", "outcome", "status", "time", "cost", title=title,
                 right=("#", "status", "time", "cost"))  # fmt: skip
    for place, attempt in enumerate(attempts, 1):
        style = "green" if attempt.outcome == "success" else "red"
        status = NOTHING if attempt.status is None else str(attempt.status)
        made.add_row(str(place), attempt.deployment, styled(attempt.outcome, style), status,
                     milliseconds(attempt.duration), money(attempt.cost))  # fmt: skip
    return made


# -- secrets ----------------------------------------------------------------------------------------------------------


def shown_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """*headers* with everything masked that is called like a secret; those of the provider's key are masked already."""
    return {
        name: MASK if _SECRET_HEADER.search(name) and MASK not in value else value for name, value in headers.items()
    }


def without_secrets(value: Any, config: Config) -> Any:
    """*value* with every key of *config* masked, wherever somebody has put one."""
    pool = [key for provider in config.providers.values() for key in provider.keys] + [*config.gateway.keys]
    secrets = sorted({text for key in pool if len(text := key.secret.reveal()) >= SECRET_LENGTH}, key=len, reverse=True)
    return _masked(value, secrets) if secrets else value


def _masked(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, dict):
        return {_masked(key, secrets): _masked(item, secrets) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, secrets) for item in value]
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, MASK)
    return value


def flush() -> None:
    """What was said so far is to be read now."""
    sys.stdout.flush()
