"""A fault script over the emulators of a lab: who has which trouble, and when, for one route.

Knows how a script's roles are given to the deployments of a route, and how an emulator is told. Refuses to say what a
script means (`troubles`) and to judge what comes of it (`drills`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from router.errors import UnknownModel
from router.lab.drills.play import continues
from router.lab.redirect import redirect
from router.lab.script import Script, load_scripts
from router.problems import together

if TYPE_CHECKING:
    from router.config import Config
    from router.lab.emulators import Emulator, Received
    from router.lab.emulators.base import Director
    from router.lab.faults import Fault
    from router.lab.troubles import Cast


def script_of(source: Script | str | Path | Mapping[str, Any]) -> Script:
    """The one script in *source*.

    Raises:
        ConfigError: it means nothing.
        ValueError: there are several in it.
    """
    if isinstance(source, Script):
        return source
    scripts = load_scripts(source)
    if len(scripts) != 1:
        names = ", ".join(script.name for script in scripts)
        message = f"one script at a time, and there are {len(scripts)}: take one of load_scripts(...): {names}"
        raise ValueError(message)
    return scripts[0]


def direct(emulators: Mapping[str, Emulator], config: Config, script: Script, route: str) -> None:
    """Have *emulators* play *script* for *route*; its times begin with the first request that arrives at one of them.

    Raises:
        UnknownModel: there is no such route.
        ConfigError: the script names somebody who is not on it.
    """
    chosen = config.route(route)
    if chosen is None:
        raise UnknownModel(route, config.names())
    known = tuple(deployment.name for deployment in chosen.deployments)
    if strangers := script.strangers(known):
        raise together(strangers)
    wires = {(one.provider.name, one.endpoint.wire_model): one.name for one in chosen.deployments}
    play = _Play(script.cast(_order(config, route)), wires, Random(script.seed))
    for name in dict.fromkeys(one.provider.name for one in chosen.deployments):
        emulators[name].direct(play.at(name, emulators[name]))


def _order(config: Config, route: str) -> tuple[str, ...]:
    """The deployments of *route* in the order in which a plain request goes to them, when everybody is well."""
    from providers.types import Request
    from router.health import Health
    from router.plan import Setting, make_plan

    moved = redirect(config, dict.fromkeys(config.providers, "http://lab.test/v1"))
    request = Request(model=route, messages=[{"role": "user", "content": "?"}])
    chosen = moved.route(route)
    assert chosen is not None  # noqa: S101  # the caller has looked
    plan = make_plan(request, chosen, Setting(Health(Random(0)), moved.sampling), rng=Random(0), streaming=True)
    return tuple(candidate.deployment for candidate in plan.candidates)


class _Play:
    """A script under way: one for all emulators, for its counts and its times are those of the route."""

    def __init__(self, cast: Cast, wires: Mapping[tuple[str, str], str], rng: Random) -> None:
        self._cast, self._wires, self._rng = cast, wires, rng
        self._began: float | None = None

    def at(self, provider: str, emulator: Emulator) -> Director:
        """What one emulator asks for the fault of each request."""

        def fault(received: Received, fits: Callable[[Fault], bool], generates: bool) -> Fault | None:  # noqa: FBT001  # as an emulator calls it
            model = emulator.asked_model(received)
            deployment = self._wires.get((provider, model), f"{provider}/{model}")
            self._began = received.at if self._began is None else self._began
            now = received.at - self._began
            return self._cast.fault_for(
                deployment, now, self._rng, fits, counts=generates, continues=continues(received)
            )

        return fault
