"""Prints every mutant of the catalog and who caught it, and the score; `scripts/mutation` runs it.

Exit code 1 if one survives. `--write` puts the score into docs/mutation.md.
"""

from __future__ import annotations

import logging
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from tests.mutation.mutants import PROVIDERS
from tests.mutation.verdicts import UNSEEN, Verdict, verdicts

PAGE = Path(__file__).parents[2] / "docs" / "mutation.md"
REGION = re.compile(
    r"(?P<head><!-- output of scripts/mutation -->\n)(?P<output>.*?)(?P<end><!-- end of output -->)", re.DOTALL
)
KINDS = ("caught", "cannot be asked", "cannot be seen", "the same", "survived")
STYLES = {"caught": "green", "survived": "bold red"}


@click.command(help=__doc__)
@click.argument("providers", nargs=-1, type=click.Choice(PROVIDERS))
@click.option("--score", "brief", is_flag=True, help="Only the score, and what was not caught.")
@click.option("--write", is_flag=True, help="Put the score into docs/mutation.md.")
def main(*, providers: tuple[str, ...], brief: bool, write: bool) -> None:
    """Try them all."""
    logging.disable(logging.ERROR)  # thousands of failures that are asked for
    out = Console(highlight=False, markup=False)
    out.width = max(out.width, 160)
    alive = False
    for provider in providers or PROVIDERS:
        tried = verdicts(provider)
        alive |= any(verdict.kind == "survived" for verdict in tried)
        out.print(table(verdict for verdict in tried if not brief or verdict.kind in ("cannot be seen", "survived")))
        out.print()
    if not providers:
        out.print(page(), soft_wrap=True)
    if write:
        text = PAGE.read_text("utf-8")
        PAGE.write_text(REGION.sub(lambda found: found["head"] + page() + found["end"], text), "utf-8")
    sys.exit(alive)


def table(some: Iterable[Verdict]) -> Table:
    """Mutants with what became of them."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("row", "rule", "mutation", "caught by"):
        made.add_column(name, header_style="bold", overflow="fold")
    for verdict in some:
        mutant = verdict.mutant
        told = verdict.by if verdict.kind == "caught" else f"{verdict.kind}: {verdict.why}".rstrip(": ")
        made.add_row(mutant.where, mutant.rule, mutant.change, told, style=STYLES.get(verdict.kind, "yellow"))
    return made


def line(provider: str, tried: Sequence[Verdict]) -> str:
    """The score of one provider, as a row of the page's table."""
    counted = Counter(verdict.kind for verdict in tried)
    return f"| {provider} | {len(tried)} | " + " | ".join(str(counted[kind]) for kind in KINDS) + " |\n"  # type: ignore[index]  # its kinds


def page() -> str:
    """The score as docs/mutation.md has it."""
    head = f"| row of | mutants | {' | '.join(KINDS)} |\n| --- {'| ---: ' * (len(KINDS) + 1)}|\n"
    lines = "".join(line(provider, verdicts(provider)) for provider in PROVIDERS)
    return f"\n{head}{lines}\n{unseen()}\n"


def unseen() -> str:
    """The short list, with its reasons."""
    names = {
        pattern: [verdict.mutant.name for one in PROVIDERS for verdict in verdicts(one) if verdict.by == pattern]
        for pattern in UNSEEN
    }
    return "".join(
        f"- {', '.join(f'`{name}`' for name in names[pattern])}: {why}.\n" for pattern, why in UNSEEN.items()
    )


if __name__ == "__main__":
    main()
