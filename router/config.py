"""What a routes file means, compiled: providers with their keys, deployments, routes and policies.

Knows the values that the planner, the policy and the shell work with, and how a name that a caller puts in `model` is
resolved. Refuses to know YAML (`documents`), the rows of the file (`rows`) and how these values are made (`load`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from providers.secret import Secret
from providers.types import Fidelity, OnInterruption, PriceLimit, Sampling
from router.problems import Problem
from router.terms import Terms, usual

if TYPE_CHECKING:
    from providers.dialect import Endpoint, Price

Select = Literal["priority", "weighted", "cheapest", "fastest", "least_busy"]
Order = Literal["elsewhere_first", "here_first"]
Need = Literal[
    "tools", "json_object", "json_schema", "images", "video", "logprobs", "reasoning_off", "reasoning_levels"
]
AffinityBy = Literal["conversation", "user"]
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a provider's account. *label* names it in logs and metrics: its place in the file, or its own name."""

    label: str
    secret: Secret


@dataclass(frozen=True, slots=True)
class Limits:
    """What an account, or one deployment in a route, may carry; None for unknown."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None

    @property
    def per_minute(self) -> bool:
        """Whether there is a limit to what a minute takes."""
        return self.requests_per_minute is not None or self.tokens_per_minute is not None


@dataclass(frozen=True, slots=True)
class Provider:
    """An account at a provider: *keys* share its *limits*.

    *keyless*: it needs no key (a local server). *missing*: environment variables that would hold a key and do not.
    """

    name: str
    base_url: str
    keys: tuple[Key, ...] = ()
    keyless: bool = False
    missing: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)

    @property
    def usable(self) -> bool:
        """Whether it can be asked at all."""
        return self.keyless or bool(self.keys)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits of one attempt in seconds; None for none. What they mean stands in `providers.client.Limits`."""

    connect: float = 5.0
    headers: float | None = None
    first_token: float | None = 60.0
    idle: float | None = 60.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds before the same deployment is asked again: *initial*, growing to *max*."""

    initial: float = 0.5
    max: float = 8.0


@dataclass(frozen=True, slots=True)
class CircuitSettings:
    """*failures* in a row open a deployment's circuit for *cooldown* seconds, growing to *max_cooldown*."""

    failures: int = 3
    cooldown: float = 2.0
    max_cooldown: float = 15.0


@dataclass(frozen=True, slots=True)
class Hold:
    """How long a stream is held before the caller sees it: *seconds*, *tokens*, or (neither) until it is whole."""

    seconds: float | None = None
    tokens: int | None = None

    def wants_more(self, tokens: int) -> bool:
        """Whether it is still held when about *tokens* have come."""
        return self.tokens is None or tokens < self.tokens


@dataclass(frozen=True, slots=True)
class Hedge:
    """A second call while the first one is silent: after *after* seconds, None for the observed p95 of its first token.

    *budget* is the share of the requests that may have one.
    """

    after: float | None = None
    budget: float = 0.05


@dataclass(frozen=True, slots=True)
class Spending:
    """*limit* dollars that a route may cost in any *per* seconds."""

    limit: float
    per: float


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be done for one request. *attempts* counts all of them, *deadline* is seconds for the whole of it.

    *max_cost* is dollars for all attempts together; None for no limit.
    """

    name: str = "default"
    attempts: int = 4
    attempts_per_deployment: int = 2
    order: Order = "elsewhere_first"
    backoff: Backoff = field(default_factory=Backoff)
    deadline: float = 600.0
    timeouts: Timeouts = field(default_factory=Timeouts)
    circuit: CircuitSettings = field(default_factory=CircuitSettings)
    on_interruption: OnInterruption = "recover"
    hold: Hold | None = None
    max_cost: float | None = None
    hedge: Hedge | None = None


@dataclass(frozen=True, slots=True)
class Gateway:
    """What `router serve` needs to know. *max_body* is bytes; without *keys* it is open to everybody."""

    keys: tuple[Key, ...] = ()
    max_body: int = 32 * 2**20
    host: str | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Deployment:
    """An endpoint with its place in a route. A lower *priority* is asked first; a *weight* of 0 never.

    *limits* are those of this place alone, beside the ones of the provider's account. *name* is `provider/model`.
    """

    endpoint: Endpoint
    provider: Provider
    priority: int = 1
    weight: float = 1.0
    limits: Limits = field(default_factory=Limits)
    # Kept here, because they are asked for with every request: the name, and whether a minute takes only so much.
    name: str = field(init=False, repr=False, compare=False)
    per_minute: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.endpoint.name)
        object.__setattr__(self, "per_minute", self.provider.limits.per_minute or self.limits.per_minute)

    @property
    def price(self) -> Price | None:
        """Dollars per million tokens: the route's own, where it says one."""
        return self.endpoint.price


@dataclass(frozen=True, slots=True)
class Affinity:
    """What is kept at one deployment, as long as its prompt cache is warm, and for how many *seconds* it is."""

    by: AffinityBy = "conversation"
    seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class Tier:
    """Deployments of one priority, in the order of the file. Only what the planner reads for every request.

    *sums*: their weights, summed up. *places*: where each stands, by name. *by_price*: those with the same price list.
    """

    members: tuple[Deployment, ...]
    sums: tuple[float, ...] = field(init=False, repr=False, compare=False)
    places: Mapping[str, int] = field(init=False, repr=False, compare=False)
    by_price: tuple[tuple[Deployment, ...], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        same: dict[tuple[float | None, ...] | None, list[Deployment]] = {}
        for one in self.members:
            price = one.price
            same.setdefault((price.input, price.output, price.cached) if price else None, []).append(one)
        for name, value in (
            ("sums", tuple(accumulate(one.weight for one in self.members))),
            ("places", {one.name: place for place, one in enumerate(self.members)}),
            ("by_price", tuple(tuple(group) for group in same.values())),
        ):
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True)
class Route:
    """A name that callers may put in `model`. *fidelity* has a `default`, and fields that differ from it.

    *tiers* are the deployments by priority, lowest first, in the order of the file; without those of weight 0. *ranks* are
    the same with what their order needs. *terms* are those of a request that has none of its own.
    """

    name: str
    deployments: tuple[Deployment, ...]
    select: Select = "priority"
    fidelity: Mapping[str, Fidelity] = field(default_factory=lambda: {"default": "declared"})
    policy: Policy = field(default_factory=Policy)
    needs: tuple[Need, ...] = ()
    sampling: Sampling | None = None
    budget: Spending | None = None
    max_price: PriceLimit | None = None
    prefer_price: PriceLimit | None = None
    affinity: Affinity | None = None
    tiers: tuple[tuple[Deployment, ...], ...] = field(init=False, repr=False, compare=False)
    ranks: tuple[Tier, ...] = field(init=False, repr=False, compare=False)
    terms: Terms = field(init=False, repr=False, compare=False)
    is_strict: bool = field(init=False, repr=False, compare=False)
    """Whether a field is held to `strict` by its name: then the provider's default for it may exclude a deployment."""

    def __post_init__(self) -> None:
        tiers: dict[int, list[Deployment]] = {}
        for deployment in self.deployments:
            if deployment.weight > 0:
                tiers.setdefault(deployment.priority, []).append(deployment)
        # The only assignments to a frozen value: the planner reads this for every request.
        sorted_tiers = tuple(tuple(tiers[priority]) for priority in sorted(tiers))
        object.__setattr__(self, "tiers", sorted_tiers)
        object.__setattr__(self, "ranks", tuple(Tier(tier) for tier in sorted_tiers))
        object.__setattr__(self, "terms", usual(self))
        by_name = (level for name, level in self.fidelity.items() if name != "default")
        object.__setattr__(self, "is_strict", "strict" in by_name)

    def under(self, policy: Policy) -> Route:
        """The same route under another policy; what was made of its deployments is not made again."""
        other = copy(self)
        object.__setattr__(other, "policy", policy)
        object.__setattr__(other, "terms", usual(other))
        return other


class Lazy(Mapping[str, V]):
    """A mapping whose names are known and whose values are made when first looked at.

    The catalog has many deployments and a process uses few: opening a router must not compile them all.
    """

    __slots__ = ("_made", "_make", "_names")

    def __init__(self, names: Iterable[str], make: Callable[[str], V]) -> None:
        self._names: dict[str, None] = dict.fromkeys(names)
        self._make = make
        self._made: dict[str, V] = {}

    def __getitem__(self, name: str) -> V:
        if name in self._made:
            return self._made[name]
        if name not in self._names:
            raise KeyError(name)
        made = self._made[name] = self._make(name)
        return made

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._names)})"


@dataclass(frozen=True, slots=True)
class Config:
    """A routes file over the catalog, complete and checked.

    *models*: every model of the catalog and the file as a route. *deployments*: every one, by `provider/model`, with
    priority and weight 1. *alone*: the same as routes of one. *sampling*: what a model's makers advise, by mode.
    *written*: the file itself, filled from the environment and without keys, to be kept with records of decisions; None
    where there was none.
    """

    file: str | None
    providers: Mapping[str, Provider]
    deployments: Mapping[str, Deployment]
    models: Mapping[str, Route]
    routes: Mapping[str, Route]
    alone: Mapping[str, Route]
    policies: Mapping[str, Policy]
    gateway: Gateway = field(default_factory=Gateway)
    sampling: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    warnings: tuple[Problem, ...] = ()
    written: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)

    def route(self, name: str) -> Route | None:
        """What *name* stands for: a route, else a model, else one deployment; None if nothing."""
        if (route := self.routes.get(name)) is not None:
            return route
        for table in (self.models, self.alone):
            if name in table:
                return table[name]
        return None

    def names(self) -> tuple[str, ...]:
        """Every name that `route` knows: routes, models, deployments."""
        return tuple(dict.fromkeys((*self.routes, *self.models, *self.alone)))
