"""Play the sixteen scenarios of the public fault benchmark against emulators, and print what came of them.

`python scripts/scenarios.py` prints a table, exit code 1 if one does not pass; `--write` puts it into docs/streams.md.
They are played by the engine of `router drill`, in memory on virtual time, where every second is one and takes none; with
`--sockets` over real sockets, while really streaming, on a clock that runs some times as fast as the machine's.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the checkout that this file lies in

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from router.lab.drills.benchmark import FACTOR, VOICE, rehearsals  # noqa: E402
from router.lab.drills.named import SIXTEEN  # noqa: E402
from router.lab.drills.play import Played  # noqa: E402
from router.lab.drills.rehearsal import Rehearsal  # noqa: E402
from router.lab.drills.stage import WORDS  # noqa: E402
from router.lab.script import provider_of  # noqa: E402

PAGE = ROOT / "docs" / "streams.md"
REGION = re.compile(
    r"(?P<head><!-- output of scripts/scenarios -->\n)(?P<output>.*?)(?P<end><!-- end of output -->)", re.DOTALL
)
WIDTH = 170
STYLES = {"pass": "green", "partial": "yellow", "safe": "yellow", "fail": "bold red"}


def table(rows: Sequence[Rehearsal]) -> Table:
    """The table; times are those of the drill's clock."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    made.add_column("#", justify="right", no_wrap=True, min_width=2)
    made.add_column("Scenario", no_wrap=True)
    made.add_column("Verdict", no_wrap=True, min_width=7)
    made.add_column("What `recover` did", no_wrap=True)
    for name in ("A", "B", "First", "Total"):
        made.add_column(name, justify="right", no_wrap=True)
    for number, row in enumerate(rows, 1):
        place = str(number) if number <= SIXTEEN else "–"
        word = f"[{STYLES.get(row.verdict, 'red')}]{row.verdict}[/]"
        made.add_row(place, row.script.says.replace("[", "\\["), word, *_seen(row.played))
    return made


def _seen(played: Played | None) -> list[str]:
    """What was done, how often each was asked, and how long the last caller waited."""
    if played is None:
        return []
    last = played.heard[-1]
    counts = [str(played.count(name)) for name in played.cast.order]
    return [recovery(played), *counts, _ms(last.first), _ms(last.total)]


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1000:.0f} ms"


def recovery(played: Played) -> str:
    """What was done about the failure, for a person."""
    if played.script.ends is not None:
        return f"failed over unseen; {_back(played, played.script.ends)}"
    last = played.heard[-1]
    facts, attempts = last.answer or getattr(last.error, "partial", None), last.attempts
    if last.error is not None:
        return f"raises {type(last.error).__name__}"
    if facts is not None and facts.seams:
        rejected = any(attempt.outcome == "ContinuationRejected" for attempt in attempts)
        after, seam = "continuation refused; " if rejected else "", facts.seams[0]
        tokens = len((facts.content or "")[: seam.content].split())
        return f"{after}{seam.how} by {provider_of(seam.after)} after token {tokens}"
    if len(attempts) < 2:
        return "nothing to mend"
    same = any(before.deployment == after.deployment for before, after in pairwise(attempts))
    if same and attempts[-1].deployment == attempts[0].deployment:
        return f"asked again after {attempts[-1].delay:.1f} s"
    return f"failed over unseen{' after a second try here' if same else ''}"


def _back(played: Played, ends: float) -> str:
    """How soon whoever is first served again when the window was over."""
    first = played.cast.order[0]
    served = (
        one.asked_at
        for one in played.heard
        if one.asked_at >= ends and one.answer is not None and one.answer.deployment == first
    )
    again = min(served, default=None)
    name = provider_of(first)
    if again is None:
        return f"{name} is not asked again"
    return f"{name} serves within {math.ceil(again - ends)} s of its return"


def show(console: Console, rows: Sequence[Rehearsal], *, factor: float | None = None) -> None:
    """Print everything that there is to say. *factor*: how many times as fast the clock ran over sockets."""
    sixteen = rows[:SIXTEEN]
    passed = sum(row.verdict == "pass" for row in sixteen)
    where = "in memory, on virtual time" if factor is None else f"over sockets; the clock runs {factor:g} times as fast"
    console.print(
        f"Two emulators, {WORDS} tokens, one every {VOICE.token_delay * 1000:g} ms; {where}.", highlight=False
    )
    console.print(table(rows), highlight=False)
    console.print(f"\n{passed} of {len(sixteen)} pass. A, B: requests that the providers got.", highlight=False)
    for row in rows:
        for line in [row.skipped] if row.skipped else [f"{flaw.kind}: {flaw.cause.message}" for flaw in row.flaws]:
            said = f"{row.script.name}: {line}"
            console.print(said, markup=False, highlight=False, style="red", soft_wrap=True)


def rendered(rows: Sequence[Rehearsal]) -> str:
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
    parser.add_argument("--factor", type=float, default=FACTOR, help="how many times as fast the clock runs there")
    arguments = parser.parse_args()
    if arguments.write and arguments.sockets:
        parser.error("the page has the table of virtual time, which is always the same; leave out --sockets")
    if arguments.factor <= 0:
        parser.error("a clock runs some times as fast: --factor is more than 0")
    rows = list(rehearsals(clock="real" if arguments.sockets else "virtual", factor=arguments.factor))
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    show(console, rows, factor=arguments.factor if arguments.sockets else None)
    if any(row.verdict != "pass" for row in rows):
        sys.exit(1)
    if arguments.write:
        page = PAGE.read_text("utf-8")
        text = f"\n```text\n{rendered(rows)}\n```\n\n"
        PAGE.write_text(REGION.sub(lambda found: f"{found['head']}{text}{found['end']}", page), "utf-8")


if __name__ == "__main__":
    main()
