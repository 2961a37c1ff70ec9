"""Requests at given times to providers in memory, on virtual time: what a caller gets, and who is asked when."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random
from typing import Any

from providers.types import Attempt
from router import Router
from router.config import Config
from router.events import Event
from router.health import Health
from router.lab.virtual import UP, Conduct, Script, VirtualProvider, VirtualTransports, always, run_virtually
from router.load import load

REQUEST = {"model": "chat", "messages": [{"role": "user", "content": "17 * 23?"}]}
QUICK = replace(UP, latency=0.01, spread=0.0)
ALPHA = "alpha/alpha-model"


@dataclass
class Heard:
    """What one caller got, and after how many seconds."""

    answer: Any = None
    error: Any = None
    seconds: float = 0.0

    @property
    def attempts(self) -> Sequence[Attempt]:
        return getattr(self.answer or self.error, "attempts", ())

    @property
    def outcomes(self) -> list[str]:
        return [attempt.outcome for attempt in self.attempts]


@dataclass
class Told:
    """What all of them got, when each provider was asked, the events, and what is known in the end."""

    heard: list[Heard]
    asked: Mapping[str, list[float]]
    health: Health
    events: list[Event] = field(default_factory=list)

    def kinds(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def says(status: int, headers: Mapping[str, str] | None = None, body: Any = None, **fields: Any) -> Conduct:
    """A provider that answers with this at once. *body*: JSON, or bytes as they are."""
    raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    return replace(QUICK, kind="status", status=status, headers=tuple((headers or {}).items()), body=raw, **fields)


@cache
def _config(names: tuple[str, ...], keys: int, policy: str) -> Config:
    return load(
        {
            "providers": {
                name: {
                    "protocol": "chat_completions",
                    "base_url": f"http://{name}.test/v1",
                    "api_keys": [f"sk-{name}-{number}" for number in range(keys)],
                }
                for name in names
            },
            "models": {
                f"{name}-model": {"deployments": [{"provider": name, "model": "model", "context": 131072}]}
                for name in names
            },
            "routes": {"chat": {"deployments": [f"{name}/{name}-model" for name in names], "policy": "matrix"}},
            "policies": {"matrix": {"on_interruption": "error", **json.loads(policy)}},
        },
        environ={},
    )


def ask(
    alpha: Conduct | Script,
    *times: float,
    alone: bool = False,
    keys: int = 1,
    beta: Conduct | Script = QUICK,
    **policy: Any,
) -> Told:
    """One request at each of *times*: to *alpha* first, then to *beta* (*alone*: there is none)."""
    scripts = {"alpha": alpha} if alone else {"alpha": alpha, "beta": beta}
    providers = [
        VirtualProvider(name, always(script) if isinstance(script, Conduct) else script, Random(name))
        for name, script in scripts.items()
    ]
    config = _config(tuple(scripts), keys, json.dumps(policy, sort_keys=True))
    logging.disable(logging.CRITICAL)
    try:
        return run_virtually(_ask(config, providers, times or (0.0,)))
    finally:
        logging.disable(logging.NOTSET)


async def _ask(config: Config, providers: list[VirtualProvider], times: Sequence[float]) -> Told:
    loop, events = asyncio.get_running_loop(), list[Event]()

    async def one(router: Router, at: float) -> Heard:
        await asyncio.sleep(at)
        heard = Heard()
        try:
            heard.answer = await router.complete(REQUEST)
        except Exception as error:  # noqa: BLE001  # what it is is asserted by the test
            heard.error = error
        heard.seconds = loop.time() - at
        return heard

    transports = VirtualTransports(*providers)
    async with Router(config, hooks=[events.append], rng=Random(1), transports=transports) as router:
        heard = await asyncio.gather(*(one(router, at) for at in times))
        return Told(list(heard), {provider.name: provider.began for provider in providers}, router.health, events)
