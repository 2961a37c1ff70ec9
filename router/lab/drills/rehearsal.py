"""One scenario on one route, played and judged: what every drill is made of, of whichever file.

Knows whether a scenario can show anything on a route, and on whose clock it is played. Refuses to know where scenarios
and routes come from (`engine`, `benchmark`).
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from router.events import log
from router.lab.drills.judge import judge
from router.lab.drills.play import Played, play
from router.lab.drills.stage import Ground, Unplayable
from router.lab.script import provider_of

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from router.lab.drills.judge import Flaw, Word
    from router.lab.script import Script


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """One scenario on one route: what was seen of it, the verdict, and why it is no better, or why it is `skipped`."""

    script: Script
    verdict: Word
    played: Played | None = None
    flaws: tuple[Flaw, ...] = ()
    skipped: str = ""


def rehearse(ground: Ground, script: Script) -> Rehearsal:
    """Play *script* on *ground*, in a loop of its own, and judge it."""
    try:
        why = _why_not(ground, script)
        if why:
            return Rehearsal(script, "skipped", skipped=why)
        played = _run(play(ground, script), ground)
    except Unplayable as error:
        return Rehearsal(script, "skipped", skipped=str(error))
    verdict, flaws = judge(played)
    if script.troubles and not played.met and verdict != "fail":
        asked = ", ".join(dict.fromkeys(one.deployment for one in played.asked))
        why = f"no request met the fault: only {asked} was asked, or it does not fit such a request"
        if not asked:
            why = "no request met the fault: nobody was asked"
        return Rehearsal(script, "skipped", played, skipped=why)
    return Rehearsal(script, verdict, played, flaws)


def _why_not(ground: Ground, script: Script) -> str:
    """Why *script* cannot show anything on this route; empty if it can."""
    if not ground.order:
        why = "; ".join(f"{out.deployment}: {out.why}" for out in ground.plan.excluded)
        return f"no deployment may serve the request ({why})"
    if lost := ground.lost:
        return f"{ground.order[0]} cannot be asked for it: {lost}"
    concerned = script.cast(ground.order, ground.accounts).concerned
    if script.troubles and not concerned:
        meant = ", ".join(dict.fromkeys(who for one in script.troubles for who in one.who))
        return f"it is about {meant}, and the route has {', '.join(dict.fromkeys(map(provider_of, ground.order)))}"
    return ""


def _run(main: Coroutine[Any, Any, Played], ground: Ground) -> Played:
    from router.lab.hurried import HurriedLoop
    from router.lab.virtual import run_virtually

    with _unlogged():
        if ground.clock == "virtual":
            return run_virtually(main)
        with asyncio.Runner(loop_factory=lambda: HurriedLoop(ground.factor)) as runner, _uncollected(ground.factor):
            return runner.run(main)


@contextmanager
def _uncollected(factor: float) -> Iterator[None]:
    """On a hurried clock, spare the collector all that was there before: its pause would pass for a silence."""
    if factor > 1:
        gc.freeze()
    try:
        yield
    finally:
        if factor > 1:
            gc.unfreeze()


@contextmanager
def _unlogged() -> Iterator[None]:
    """Keep what is rehearsed in this thread out of the log: it has not happened."""
    here = threading.get_ident()

    def happened(record: logging.LogRecord) -> bool:
        return record.thread != here

    log.addFilter(happened)
    try:
        yield
    finally:
        log.removeFilter(happened)
