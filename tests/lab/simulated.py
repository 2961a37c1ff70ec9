"""Configurations and scenes for the tests of the simulation."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from router.config import Config
from router.lab.script import Script, load_scripts
from router.lab.simulation import Assumptions, Scene, Simulated, load_assumptions, simulate
from router.lab.simulation.report import report
from router.load import load

ALPHA, BETA = "alpha/alpha-model", "beta/beta-model"


def config(*names: str, select: str = "priority", limits: Mapping[str, Any] | None = None, **policy: Any) -> Config:
    """A route `chat` over one deployment at each of the providers *names*."""
    limited = {"limits": dict(limits)} if limits else {}
    return load(
        {
            "providers": {
                name: {
                    "protocol": "chat_completions",
                    "base_url": f"http://{name}.test/v1",
                    "api_key": f"sk-{name}",
                    **limited,
                }
                for name in names
            },
            "models": {
                f"{name}-model": {
                    "deployments": [
                        {"provider": name, "model": "model", "price": {"input": 0.1, "output": 0.4}, "context": 131072}
                    ]
                }
                for name in names
            },
            "routes": {
                "chat": {"deployments": [f"{name}/{name}-model" for name in names], "select": select, "policy": "p"}
            },
            "policies": {"p": {"on_interruption": "error", **policy}},
        },
        environ={},
    )


def script(*faults: Mapping[str, Any], seed: int = 0) -> Script:
    """A fault script of these entries."""
    return load_scripts({"name": "faults", "seed": seed, "faults": list(faults)})[0]


def assumed(traffic: Mapping[str, Any] | None = None, **conduct: Mapping[str, Any]) -> Assumptions:
    """Assumptions, as YAML would have them."""
    return load_assumptions({"traffic": dict(traffic or {}), "conduct": conduct})


@cache
def outage() -> Simulated:
    """Half an hour at ten requests a second: the first of two is down for eight minutes, and one in a hundred breaks."""
    down = {"who": "first", "what": "overloaded", "when": {"from": "10m", "until": "18m"}}
    breaks = {"who": "all", "what": "reset", "when": {"share": "2%"}}
    scene = Scene(
        rate=10,
        seconds=1800,
        faults=[script(down, breaks)],
        assumptions=assumed(alpha={"first_token": "400ms"}, beta={"first_token": "900ms", "tokens_per_second": 40}),
    )
    return simulate(config("alpha", "beta"), scene)


def shown() -> str:
    """The report about `outage`."""
    return report(["routes.yaml"], [outage()])
