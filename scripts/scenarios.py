"""Play the sixteen scenarios of the public fault benchmark against emulators, and print what came of them.

`python scripts/scenarios.py` prints a table, exit code 1 if one does not pass; `--write` puts it into docs/streams.md.
They are played in memory on virtual time, where every second is one and takes none; with `--sockets` over real sockets,
while really streaming, with every clock some times as fast.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the checkout that this file lies in

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from router.lab.rehearsal import SIDES, Played, play, play_virtually  # noqa: E402
from router.lab.scenarios import FACTOR, SIXTEEN, TOKEN_DELAY, TOKENS, VARIANTS  # noqa: E402
from router.lab.verdict import Verdict, judge  # noqa: E402

PAGE = ROOT / "docs" / "streams.md"
REGION = re.compile(
    r"(?P<head><!-- output of scripts/scenarios -->\n)(?P<output>.*?)(?P<end><!-- end of output -->)", re.DOTALL
)
WIDTH = 170
STYLES = {"pass": "green", "partial": "yellow", "safe": "yellow", "fail": "bold red"}


class Row(NamedTuple):
    """A scenario that was played, and its verdict."""

    played: Played
    verdict: Verdict


def rehearse() -> list[Row]:
    """Play them all in memory, on virtual time."""
    return [Row(played, judge(played)) for played in map(play_virtually, SIXTEEN + VARIANTS)]


async def rehearse_over_sockets(factor: float) -> list[Row]:
    """Play them all over sockets, one after the other."""
    return [Row(played, judge(played)) for played in [await play(one, factor=factor) for one in SIXTEEN + VARIANTS]]


def table(rows: Sequence[Row]) -> Table:
    """The table; times are those of the rehearsal's clock."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    made.add_column("#", justify="right", no_wrap=True, min_width=2)
    made.add_column("Scenario", no_wrap=True)
    made.add_column("Verdict", no_wrap=True, min_width=7)
    made.add_column("What `recover` did", no_wrap=True)
    for name in ("A", "B", "First", "Total"):
        made.add_column(name, justify="right", no_wrap=True)
    for number, (played, verdict) in enumerate(rows, 1):
        heard = played.only
        place = str(number) if number <= len(SIXTEEN) else "–"
        word = f"[{STYLES[verdict.word]}]{verdict.word}[/]"
        counts = [str(played.count(side)) for side in SIDES]
        says = played.scenario.says.replace("[", "\\[")
        made.add_row(place, says, word, verdict.recover, *counts, _ms(heard.first), _ms(heard.total))
    return made


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1000:.0f} ms"


def show(console: Console, rows: Sequence[Row], *, factor: float | None = None) -> None:
    """Print everything that there is to say. *factor*: how many times as fast every clock ran over sockets."""
    sixteen = rows[: len(SIXTEEN)]
    passed = sum(row.verdict.word == "pass" for row in sixteen)
    where = (
        "in memory, on virtual time" if factor is None else f"over sockets; every clock runs {factor:g} times as fast"
    )
    console.print(f"Two emulators, {TOKENS} tokens, one every {TOKEN_DELAY * 1000:g} ms; {where}.", highlight=False)
    console.print(table(rows), highlight=False)
    console.print(f"\n{passed} of {len(sixteen)} pass. A, B: requests that the providers got.", highlight=False)
    for row in rows:
        for finding in row.verdict.findings:
            line = f"{row.played.scenario.name}: {finding.kind}: {finding.says}"
            console.print(line, markup=False, highlight=False, style="red", soft_wrap=True)


def rendered(rows: Sequence[Row]) -> str:
    """The same as plain text."""
    console = Console(width=WIDTH, color_system=None, force_terminal=False)
    with console.capture() as capture:
        show(console, rows)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def main() -> None:
    """Play, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the table into docs/streams.md")
    parser.add_argument("--sockets", action="store_true", help="play over real sockets, while really streaming")
    parser.add_argument("--factor", type=float, default=FACTOR, help="how many times as fast every clock runs there")
    arguments = parser.parse_args()
    if arguments.write and arguments.sockets:
        parser.error("the page has the table of virtual time, which is always the same; leave out --sockets")
    logging.getLogger("router").addHandler(logging.NullHandler())  # the table says it all
    logging.getLogger("router").propagate = False
    rows = asyncio.run(rehearse_over_sockets(arguments.factor)) if arguments.sockets else rehearse()
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    show(console, rows, factor=arguments.factor if arguments.sockets else None)
    if any(row.verdict.word != "pass" for row in rows):
        sys.exit(1)
    if arguments.write:
        page = PAGE.read_text("utf-8")
        text = f"\n```text\n{rendered(rows)}\n```\n\n"
        PAGE.write_text(REGION.sub(lambda found: f"{found['head']}{text}{found['end']}", page), "utf-8")


if __name__ == "__main__":
    main()
