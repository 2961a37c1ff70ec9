"""A stage for failures: emulators, a router over them, and every event that it emitted.

Over sockets; in memory where the test runs in virtual time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random
from typing import Any

from router import Router
from router.config import Config, Deployment
from router.events import AttemptEnded, Event, RequestEnded
from router.lab import Answer, Emulator, emulate_all, in_memory
from router.lab.emulators import EMULATORS
from router.lab.virtual import VirtualLoop
from router.load import load

PROVIDERS = ("mixlayer", "runware", "empiriolabs", "aiml")
MODELS = {
    "mixlayer": "mixlayer/qwen3.5-27b",
    "runware": "runware/qwen3.5-27b",
    "empiriolabs": "empiriolabs/qwen3.5-4b",
    "aiml": "aiml/qwen3.6-35b-a3b",
}
PLACEHOLDER = "http://{}.test/v1"
KEYS = {name: f"sk-{name}-canary-0123456789" for name in PROVIDERS}
QUICK = {
    "attempts": 4,
    "attempts_per_deployment": 1,
    "backoff": {"initial": "5ms", "max": "10ms"},
    "deadline": "10s",
    "timeouts": {"connect": "3s", "headers": "3s", "first_token": "3s", "idle": "3s"},
    "on_interruption": "error",
}
REQUEST = {"model": "chat", "messages": [{"role": "user", "content": "17 * 23?"}]}
THOUGHT, TEXT = "Seventeen times twenty is 340.", "It is 391, says {name}."


@dataclass
class Stage:
    """What a test looks at: the router, its emulators in the order of the route, and its events."""

    router: Router
    emulators: dict[str, Emulator]
    events: list[Event] = field(default_factory=list)

    @property
    def first(self) -> Emulator:
        return next(iter(self.emulators.values()))

    @property
    def second(self) -> Emulator:
        return [*self.emulators.values()][1]

    @property
    def counts(self) -> list[int]:
        """Requests that arrived, emulator by emulator."""
        return [len(emulator.requests) for emulator in self.emulators.values()]

    @property
    def attempts(self) -> list[AttemptEnded]:
        return [event for event in self.events if isinstance(event, AttemptEnded)]

    @property
    def outcomes(self) -> list[str]:
        return [event.attempt.outcome for event in self.attempts]

    @property
    def ends(self) -> list[RequestEnded]:
        return [event for event in self.events if isinstance(event, RequestEnded)]

    @property
    def loads(self) -> list[float]:
        return [self.router.health.load(MODELS[name]) for name in self.emulators]

    @property
    def served(self) -> int:
        """Requests that the emulators are still busy with."""
        return sum(len(emulator._tasks) for emulator in self.emulators.values())

    @property
    def connections(self) -> int:
        """Connections of the router that are in use."""
        sessions = [transport._session for transport in self.router._transports.values()]
        return sum(len(session.connector._acquired) for session in sessions if session and session.connector)

    async def ask(self, *, streaming: bool = False, **fields: Any) -> Heard:
        """Ask; a failure is kept, not raised."""
        heard, loop = Heard(), asyncio.get_running_loop()
        began = loop.time()
        request = {**REQUEST, **fields}
        try:
            if streaming:
                async for chunk in self.router.stream(request):
                    heard.chunks.append(chunk)
                    heard.answer = chunk.completion or heard.answer
            else:
                heard.answer = await self.router.complete(request)
        except Exception as error:  # noqa: BLE001  # what it is is asserted by the test
            heard.error = error
        heard.seconds = loop.time() - began
        return heard


@dataclass
class Heard:
    """What a caller got."""

    chunks: list[Any] = field(default_factory=list)
    answer: Any = None
    error: Any = None
    seconds: float = 0.0

    @property
    def content(self) -> str:
        """What was delivered: the chunks' text, else the answer's."""
        if self.chunks:
            return "".join(chunk.content or "" for chunk in self.chunks)
        return (self.answer.content or "") if self.answer is not None else ""

    @property
    def reasoning(self) -> str:
        if self.chunks:
            return "".join(chunk.reasoning_content or "" for chunk in self.chunks)
        return (self.answer.reasoning_content or "") if self.answer is not None else ""


@cache
def _loaded(written: str) -> Config:
    """The configuration, read once: hundreds of tests differ in nothing but the emulators' ports."""
    return load(json.loads(written), environ={})


def _moved(config: Config, emulators: Mapping[str, Emulator]) -> Config:
    """*config* with the emulators' addresses in place of the placeholders."""

    def moved(deployment: Deployment) -> Deployment:
        name, url = deployment.provider.name, deployment.endpoint.url
        url = url.replace(PLACEHOLDER.format(name), emulators[name].base_url)
        return replace(deployment, endpoint=replace(deployment.endpoint, url=url))

    route = config.routes["chat"]
    moved_route = replace(route, deployments=tuple(moved(deployment) for deployment in route.deployments))
    return replace(config, routes={"chat": moved_route})


@asynccontextmanager
async def emulated(
    names: Sequence[str], switches: Mapping[str, Mapping[str, Any]]
) -> AsyncIterator[tuple[Mapping[str, Emulator], dict[str, Any]]]:
    """Emulators of *names*, and what a router is given to reach them: nothing for sockets."""
    if not isinstance(asyncio.get_running_loop(), VirtualLoop):
        async with emulate_all(names=tuple(names), switches=switches) as emulators:
            yield emulators, {}
        return
    async with in_memory({name: EMULATORS[name](**switches.get(name, {})) for name in names}) as lab:
        yield lab.emulators, {"transports": lab.transports}


@asynccontextmanager
async def stage(
    *names: str,
    policy: Mapping[str, Any] | None = None,
    providers: Mapping[str, Mapping[str, Any]] | None = None,
    switches: Mapping[str, Mapping[str, Any]] | None = None,
    hooks: Sequence[Any] = (),
) -> AsyncIterator[Stage]:
    """Emulators of *names*, and a router whose route `chat` asks them in this order under QUICK and *policy*."""
    async with emulated(names, switches or {}) as (emulators, reached):
        for name, emulator in emulators.items():
            emulator.reply(Answer(TEXT.format(name=name), THOUGHT))
        written = {
            "providers": {
                name: {"base_url": PLACEHOLDER.format(name), "api_key": KEYS[name], **(providers or {}).get(name, {})}
                for name in names
            },
            "routes": {"chat": {"deployments": [MODELS[name] for name in names], "policy": "quick"}},
            "policies": {"quick": {**QUICK, **(policy or {})}},
        }
        if "runware" in names:
            written["providers"]["runware"].setdefault("polling", {"first": 0.02, "factor": 1.2, "longest": 0.05})
        config = _moved(_loaded(json.dumps(written)), emulators)
        events: list[Event] = []
        async with Router(config, hooks=[events.append, *hooks], rng=Random(7), **reached) as router:
            yield Stage(router, dict(emulators), events)
        # The emulators see that the router has gone before they end, or each would wait for its connections.
        await asyncio.sleep(0.001)


async def soon(condition: Any, within: float = 5.0) -> bool:
    """Whether *condition* comes true within so many seconds: of patience, for the machine may be busy."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within):
            while not condition():  # noqa: ASYNC110  # what is waited for tells nobody
                await asyncio.sleep(0.002)
    return bool(condition())
