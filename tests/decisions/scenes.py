"""Histories to record: virtual fleets of every kind of trouble, under every kind of route; and what replays them."""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from router.config import Config
from router.decisions import DecisionRecorder
from router.decisions.record import Recorded, read
from router.lab.virtual import DOWN, UP, Script, alternating, always, windows
from router.load import load
from tests.simulation import fleet

SELECTS = ("priority", "weighted", "cheapest", "fastest", "least_busy")
CONDUCTS: Mapping[str, Script] = {
    "up": always(UP),
    "down": always(DOWN),
    "shaky": always(replace(UP, failing=0.4)),
    "resets": alternating(UP, replace(DOWN, kind="reset"), 3.0),
    "refused": windows(UP, (3.0, 9.0, replace(DOWN, kind="unreachable"))),
    "too fast": always(replace(UP, failing=0.5, status=429, headers=(("Retry-After", "2"),))),
    "no key": always(replace(UP, failing=0.2, status=401)),
    "no credit": windows(UP, (4.0, 99.0, replace(DOWN, status=402))),
    "gone": windows(UP, (2.0, 99.0, replace(DOWN, status=404))),
    "caller": always(replace(UP, failing=0.1, status=400)),
    "slow": always(replace(UP, latency=2.5)),
    "silent": windows(UP, (5.0, 8.0, replace(UP, kind="silent"))),
}
QUICK = {"deadline": "8s", "on_interruption": "error"}


def config_of(
    names: tuple[str, ...],
    *,
    select: str = "priority",
    policy: Mapping[str, Any] | None = None,
    keys: int = 1,
    limits: Mapping[str, Any] | None = None,
) -> Config:
    """A route `chat` over one deployment of each provider, two tiers if there are three; *keys* at each account."""
    return load(
        {
            "providers": {
                name: {
                    "protocol": "chat_completions",
                    "base_url": f"http://{name}.test/v1",
                    "api_keys": [f"sk-{name}-canary-{number}" for number in range(keys)],
                    **({"limits": dict(limits)} if limits else {}),
                }
                for name in names
            },
            "models": {
                f"{name}-model": {
                    "deployments": [{"provider": name, "model": "model", "price": {"input": 1, "output": place}}]
                }
                for place, name in enumerate(names, 1)
            },
            "routes": {
                "chat": {
                    "deployments": [
                        {"deployment": f"{name}/{name}-model", "priority": 2 if place > 1 else 1, "weight": place + 1}
                        for place, name in enumerate(names)
                    ],
                    "select": select,
                    "policy": "quick",
                }
            },
            "policies": {"quick": {**QUICK, **(policy or {})}},
        },
        environ={},
    )


def record(config: Config, conducts: Mapping[str, str], *, seed: int = 1, **more: Any) -> str:
    """What a recorder has written of a fleet whose providers do as *conducts* say."""
    out = io.StringIO()
    scripts = {name: CONDUCTS[conduct] for name, conduct in conducts.items()}
    recorder = DecisionRecorder(out, wall_clock=lambda: 0.0)
    given = {"rate": 4, "seconds": 15.0, **more}
    fleet.simulate(scripts, seed=seed, config=config, recorder=recorder, **given)
    return out.getvalue()


def recorded(text: str) -> list[Recorded]:
    return [*read(io.StringIO(text))]


def main() -> None:
    """Print the digest of a record, for comparing processes."""
    names = {"alpha": "shaky", "beta": "too fast", "gamma": "resets"}
    text = record(config_of(tuple(names), select="weighted", keys=2), names, seed=7)
    sys.stdout.write(hashlib.sha256(text.encode()).hexdigest() + "\n")


if __name__ == "__main__":
    main()
