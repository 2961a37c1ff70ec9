"""The field's public fault benchmark: its sixteen scenarios and some variants, over one pair of deployments.

Knows on which route of the pair each is played, and how its models speak. Everything else stands in the two files beside
it, which are a routes file and fault scripts like anybody's. Refuses to play and to judge (`rehearsal`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from router.documents import Document, read
from router.lab.drills.engine import loaded
from router.lab.drills.rehearsal import Rehearsal, rehearse
from router.lab.drills.stage import Clock, Ground, Voice
from router.lab.script import Script, scripts_of

if TYPE_CHECKING:
    from router.config import Config

FACTOR = 20.0  # over sockets its clock runs so many times as fast
SEED = 7
VOICE = Voice(thought="", latency=0.0, token_delay=0.08)  # seconds: a model of middling speed that does not think
ROUTE = "usual"
ROUTES: Mapping[str, str] = {
    **dict.fromkeys(("wait", "one-500-here", "503-here", "silence-here", "slow-first-token-here"), "here-first"),
    "prefill-rejected": "going-on",
}
"""On which route a scenario is played where that is not the usual one."""


@cache
def benchmark_scenarios() -> tuple[Script, ...]:
    """The sixteen, and the variants behind them."""
    return scripts_of(_read("benchmark.yaml"))


@cache
def benchmark_config() -> Config:
    """The pair, and its routes."""
    return loaded(_read("benchmark-routes.yaml")).config


def ground_for(script: Script, *, clock: Clock = "virtual", factor: float = FACTOR) -> Ground:
    """Where *script* is played; over sockets *factor* times as fast."""
    config = benchmark_config()
    route = config.route(ROUTES.get(script.name, ROUTE))
    assert route is not None  # noqa: S101  # it stands in the file
    return Ground(config, route, clock, SEED, voice=VOICE, factor=factor if clock == "real" else 1.0)


def rehearsals(
    scripts: Sequence[Script] | None = None, *, clock: Clock = "virtual", factor: float = FACTOR
) -> Iterator[Rehearsal]:
    """Play *scripts*, all of the benchmark by default, one after the other."""
    for script in benchmark_scenarios() if scripts is None else scripts:
        yield rehearse(ground_for(script, clock=clock, factor=factor), script)


def _read(name: str) -> Document:
    return read(resources.files("router.lab.drills") / name, file=name)
