"""Where a drill takes place: the user's route, its providers stood in for by emulators, and a request it can serve.

Knows which emulator stands in for whom, what it sells and says, and how time passes. Refuses the user's keys and
environment, and any connection to the world outside. Refuses to know faults.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from router.lab.answers import Answer
from router.lab.emulate import in_memory
from router.lab.emulators import EMULATORS, Emulator, Model, OpenAICompatible
from router.lab.redirect import redirect

if TYPE_CHECKING:
    from providers.transport import Transport
    from router.config import Config, Deployment, Need, Provider, Route
    from router.events import Hook
    from router.plan import Plan
    from router.router import Router

Clock = Literal["virtual", "real"]
CLOCKS: tuple[Clock, ...] = ("virtual", "real")

WORDS = 60  # of an answer; one event each
ROUNDING = 1e-6  # seconds by which a limit may be passed on virtual time, which adds nothing else
BUSY = 2.0  # seconds of the machine's clock that a busy machine may add to any limit
_STEMS = ("word", "term", "noun", "name", "item", "line", "verb", "note")
_BY_PROTOCOL = {"tasks": "runware", "chat_completions": "openai"}

_SCHEMA = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
_TOOL = {"type": "function", "function": {"name": "look_up", "parameters": _SCHEMA}}
_FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": _SCHEMA}}
_QUESTION = "Say sixty words."
_NEEDS: Mapping[Need, Mapping[str, Any]] = {
    "tools": {"tools": [_TOOL]},
    "json_object": {"response_format": {"type": "json_object"}},
    "json_schema": {"response_format": _FORMAT},
    "logprobs": {"logprobs": True},
    "reasoning_levels": {"reasoning_effort": "high"},
    "reasoning_off": {"reasoning_effort": "none"},
}
_SEEN: Mapping[Need, Mapping[str, Any]] = {
    "images": {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    "video": {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}},
}


class Unplayable(Exception):
    """The route cannot be drilled; the message says why."""


def request_for(route: Route) -> dict[str, Any]:
    """A request that asks for all that the route's callers rely on."""
    seen = [_SEEN[need] for need in route.needs if need in _SEEN]
    content: Any = [{"type": "text", "text": _QUESTION}, *seen] if seen else _QUESTION
    asked = {"model": route.name, "messages": [{"role": "user", "content": content}]}
    for need in route.needs:
        asked |= _NEEDS.get(need, {})
    return asked


class Voice(NamedTuple):
    """How every model speaks: the *thought* before its answer, seconds to the first token and between two tokens."""

    thought: str = "The user wants a list of words, so here they are. "
    latency: float = 0.3
    token_delay: float = 0.05  # a model of middling speed


USUAL = Voice()


class Said(NamedTuple):
    """What a model says: the same wherever it is served."""

    content: str
    reasoning: str


@dataclass(frozen=True)
class Ground:
    """One route of a configuration, and what a drill has to know of it.

    *asks*: beside what the route's callers rely on. *factor*: how many times as fast as the machine's the real clock runs.
    """

    config: Config
    route: Route
    clock: Clock = "virtual"
    seed: int = 0
    asks: Mapping[str, Any] = field(default_factory=dict)
    voice: Voice = USUAL
    factor: float = 1.0

    @property
    def slack(self) -> float:
        """Seconds of the drill's clock that a limit may be passed by."""
        return ROUNDING if self.clock == "virtual" else BUSY * self.factor

    @cached_property
    def request(self) -> dict[str, Any]:
        """What every caller asks."""
        return {**request_for(self.route), **self.asks}

    @cached_property
    def deployments(self) -> Mapping[str, Deployment]:
        """Those of the route that may ever be asked, by name."""
        return {one.name: one for one in self.route.deployments if one.weight > 0}

    @cached_property
    def plan(self) -> Plan:
        """Whom the first caller's request goes to, in order, when everybody is well."""
        from providers.types import Request
        from router.health import Health
        from router.plan import Setting, make_plan

        addresses = dict.fromkeys(self.config.providers, "http://lab.test/v1")
        config = redirect(self.config, addresses)
        route = config.route(self.route.name) or self.route
        setting = Setting(Health(Random(self.seed)), config.sampling)
        return make_plan(Request.of(self.request), route, setting, rng=Random(self.seed), streaming=True)

    @property
    def lost(self) -> str:
        """What the scenario asks beside, and the first deployment cannot say; empty if there is nothing."""
        changes = self.plan.candidates[0].call.changes
        lost = (one for one in changes if one.param in self.asks and one.how in ("dropped", "inverted"))
        return "; ".join(map(str, lost))

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The deployments in the order in which they are asked: the parts of the roles."""
        return tuple(candidate.deployment for candidate in self.plan.candidates)

    @cached_property
    def accounts(self) -> Mapping[str, str]:
        """Providers that are one account in truth: the same address and the same keys under several names."""
        first: dict[tuple[str, frozenset[str]], str] = {}
        names = dict.fromkeys(one.provider.name for one in self.deployments.values())
        return {name: first.setdefault(_account(self.config.providers[name]), name) for name in names}

    @cached_property
    def said(self) -> Mapping[str, Said]:
        """What each deployment answers. One model says the same wherever it is served, another something else."""
        models = list(dict.fromkeys(one.endpoint.model for one in self.deployments.values()))
        return {name: self._say(models.index(one.endpoint.model)) for name, one in self.deployments.items()}

    def _say(self, model: int) -> Said:
        stem = _STEMS[model] if model < len(_STEMS) else f"m{model}x"
        text = " ".join(f"{stem}{number}" for number in range(1, WORDS + 1))
        if "response_format" in self.request:
            text = f'{{"answer": "{text}"}}'
        return Said(text, self.voice.thought)

    def deployment_of(self, provider: str, wire_model: str) -> str:
        """The deployment that a request for *wire_model* is for; of a poll, which names none, the provider's first."""
        own = [one for one in self.deployments.values() if one.provider.name == provider]
        return next((one.name for one in own if one.endpoint.wire_model == wire_model), own[0].name)


def _account(provider: Provider) -> tuple[str, frozenset[str]]:
    """What makes two providers the same account."""
    keys = frozenset(key.secret.reveal() for key in provider.keys)
    return (provider.base_url.lower(), keys) if keys else (f"{provider.base_url.lower()} {provider.name}", keys)


# -- emulators --------------------------------------------------------------------------------------------------------


def emulators_for(ground: Ground) -> dict[str, Emulator]:
    """An emulator for each provider of the route, by the provider's name; it sells what the route buys there.

    Raises:
        Unplayable: no emulator speaks a provider's protocol.
    """
    made: dict[str, Emulator] = {}
    for one in ground.deployments.values():
        name = one.provider.name
        if name not in made:
            kind = EMULATORS.get(name) or EMULATORS.get(_BY_PROTOCOL.get(one.endpoint.protocol, ""))
            if kind is None:
                message = f"no emulator speaks {one.endpoint.protocol}, the protocol of {name}"
                raise Unplayable(message)
            voice = ground.voice
            switches: dict[str, Any] = {
                "models": _sold(ground, name), "latency": voice.latency, "token_delay": voice.token_delay,
            }  # fmt: skip
            if issubclass(kind, OpenAICompatible):
                switches["auth"] = (one.endpoint.auth.header, one.endpoint.auth.scheme)
            made[name] = kind(**switches)
        said = ground.said[one.name]
        made[name].reply(
            Answer(said.content, said.reasoning or None), when=_asks_for(made[name], one.endpoint.wire_model)
        )
    return made


def _sold(ground: Ground, provider: str) -> dict[str, Model]:
    sold = {}
    for one in ground.deployments.values():
        endpoint, price = one.endpoint, one.price
        if one.provider.name != provider:
            continue
        limits = {"context": endpoint.context, "max_output": endpoint.max_output}
        sold[endpoint.wire_model] = Model(
            (price.input if price else None) or 0.0,
            (price.output if price else None) or 0.0,
            price.cached if price else None,
            **{name: limit for name, limit in limits.items() if limit is not None},
        )
    return sold


def _asks_for(emulator: Emulator, wire_model: str) -> Callable[[Any], bool]:
    return lambda received: emulator.asked_model(received) == wire_model


# -- a stage ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """Emulators that run, and a router over them and nothing else."""

    ground: Ground
    emulators: Mapping[str, Emulator]
    router: Router


@asynccontextmanager
async def set_up(ground: Ground, *, hooks: tuple[Hook, ...] = ()) -> AsyncIterator[Stage]:
    """A stage for one rehearsal, fresh and the same every time."""
    from router.router import Router

    emulators = emulators_for(ground)
    async with AsyncExitStack() as stack:
        transports: Callable[[Provider], Transport] = _over_sockets
        if ground.clock == "virtual":
            hosts = {name: _host(name, place) for place, name in enumerate(emulators)}
            running = await stack.enter_async_context(
                in_memory({hosts[name]: emulator for name, emulator in emulators.items()})
            )
            transports = running.transports
        else:
            for emulator in emulators.values():
                await stack.enter_async_context(emulator)
        config = redirect(ground.config, {name: emulator.base_url for name, emulator in emulators.items()})
        keys = count(1)
        router = Router(
            config, hooks=hooks, rng=Random(ground.seed), transports=transports, new_key=lambda: key_of(next(keys))
        )
        yield Stage(ground, emulators, await stack.enter_async_context(router))


def _over_sockets(_: Provider) -> Transport:
    from providers.transport import Transport

    return Transport()


def key_of(number: int) -> str:
    """The key of the request that came as the *number*-th."""
    return f"{number:032x}"


def _host(name: str, place: int) -> str:
    """A name that can stand in a URL."""
    return name if re.fullmatch(r"[a-z][a-z0-9-]*", name) else f"provider-{place}"
