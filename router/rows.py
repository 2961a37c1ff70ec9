"""The rows of catalog and routes file, as people write them; and the JSON Schema that publishes them.

Knows every key, its type, its units and what one row alone can get wrong. Refuses to know other rows (`load`), lines
(`documents`) and what compiled values look like beyond their defaults (`config`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from providers.dialect import MEDIA, REASONING, DeploymentRow, DialectRow, Row, Source
from providers.errors import nearest
from providers.secret import Secret
from providers.types import PARAMS, Fidelity, OnInterruption, Sampling
from router.config import Affinity, AffinityBy, Gateway, Hedge, Need, Order, Policy, Select
from router.fields import (
    Amount,
    BaseURL,
    Count,
    Dollars,
    Duration,
    HedgeAfter,
    HoldFor,
    Money,
    Name,
    Pool,
    Protocol,
    ProviderName,
    SecretText,
    Share,
    Size,
    Whole,
)

CANONICAL = (*PARAMS, *REASONING, *MEDIA, "messages", "reasoning_content")  # every field that a Change can speak of
_PORTS = 65_535

_policy, _gateway, _hedge, _affinity = Policy(), Gateway(), Hedge(), Affinity()


# -- providers and models ---------------------------------------------------------------------------------------------


class LimitsRow(Row):
    """What an account, or a deployment in a route, may carry. null: unknown."""

    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    concurrency: Count | None = None


class _Wire(DialectRow):
    @model_validator(mode="after")
    def _headers_are_sound(self) -> Self:
        for name, value in self.headers.items():
            if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
                raise ValueError(f"headers: {name!r} is not the name of a header")
            if not value.isprintable():
                raise ValueError(f"headers: {name!r} holds control characters")
        return self


class ProviderRow(_Wire):
    """One account at one provider: where it is, with which key, and what it calls things."""

    protocol: Protocol = Field(default="chat_completions", description="the wire protocol")
    base_url: BaseURL | None = Field(default=None, description="with the version: https://api.example.com/v1")
    api_key: SecretText | None = Field(default=None, description="write ${NAME}; empty for a server that wants none")
    api_keys: Pool | None = Field(default=None, description="a pool: a list, or a mapping of label to key")
    limits: LimitsRow = Field(default_factory=LimitsRow, description="of the account, shared by its keys")
    source: tuple[Source, ...] = ()

    @model_validator(mode="after")
    def _one_way_to_say_keys(self) -> Self:
        if self.api_key is not None and self.api_keys is not None:
            raise ValueError("api_keys and api_key are both given: leave one out")
        _refuse_twins(self.api_keys, "api_keys")
        return self


def _refuse_twins(keys: list[Secret | None] | dict[str, Secret | None] | None, name: str) -> None:
    given = [key for key in (keys.values() if isinstance(keys, dict) else keys or ()) if key]
    if len(set(given)) < len(given):
        raise ValueError(f"{name}: the same key stands twice")


class PlacedRow(_Wire, DeploymentRow):
    """One model at one provider. In a file that overrides the catalog's only *provider* is required."""

    model: str = Field(default="", description="what the provider calls the model")
    price: Dollars = None


class ModelRow(Row):
    """One model, whoever serves it. sampling: what its makers advise, by mode."""

    deployments: tuple[PlacedRow, ...] = ()
    sampling: dict[str, dict[str, Any]] = Field(default_factory=dict)
    source: tuple[Source, ...] = ()

    @model_validator(mode="after")
    def _sampling_is_canonical(self) -> Self:
        for mode, values in self.sampling.items():
            for name in values:
                if name not in PARAMS:
                    raise ValueError(f"sampling.{mode}: {name!r} is not a canonical field; {nearest(name, PARAMS)}")
        return self


class CatalogFile(Row):
    """catalog.yaml: facts."""

    providers: dict[ProviderName, ProviderRow] = Field(default_factory=dict)
    models: dict[Name, ModelRow] = Field(default_factory=dict)


# -- decisions --------------------------------------------------------------------------------------------------------


class BackoffRow(Row):
    """The wait before the same deployment is asked again."""

    initial: Duration = _policy.backoff.initial
    max: Duration = _policy.backoff.max

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.max < self.initial:
            raise ValueError(f"max ({self.max:g}s) is less than initial ({self.initial:g}s)")
        return self


class TimeoutsRow(Row):
    """Time limits of one attempt. null: none."""

    connect: Duration = _policy.timeouts.connect
    headers: Duration | None = _policy.timeouts.headers
    first_token: Duration | None = _policy.timeouts.first_token
    idle: Duration | None = _policy.timeouts.idle


class CircuitRow(Row):
    """When a deployment is left alone, and for how long."""

    failures: Count = _policy.circuit.failures
    cooldown: Duration = _policy.circuit.cooldown
    max_cooldown: Duration = _policy.circuit.max_cooldown

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.max_cooldown < self.cooldown:
            raise ValueError(f"max_cooldown ({self.max_cooldown:g}s) is less than cooldown ({self.cooldown:g}s)")
        return self


class HedgeRow(Row):
    """A second call, elsewhere, while the first one has not said anything; off unless it stands here."""

    after: HedgeAfter = Field(default=_hedge.after, description="p95 (of its first token, at least 1s), or a duration")
    budget: Share = Field(default=_hedge.budget, description="of the requests that may have one")


class PolicyRow(Row):
    """What may be done for one request. The one named `default` serves wherever no policy is named."""

    attempts: Count = _policy.attempts
    attempts_per_deployment: Count = _policy.attempts_per_deployment
    order: Order = _policy.order
    backoff: BackoffRow = Field(default_factory=BackoffRow)
    deadline: Duration = _policy.deadline
    timeouts: TimeoutsRow = Field(default_factory=TimeoutsRow)
    circuit: CircuitRow = Field(default_factory=CircuitRow)
    on_interruption: OnInterruption = Field(
        default=_policy.on_interruption, description="when a committed stream breaks"
    )
    hold: HoldFor | None = None
    max_cost: Money | None = Field(default=None, description="dollars for one request, all its attempts together")
    hedge: HedgeRow | None = None


def _shorthand(key: str) -> Callable[[object], object]:
    return lambda value: {key: value} if isinstance(value, str) else value


class EntryRow(Row):
    """A deployment in a route, `provider/model`. A lower priority is asked first; weight 0: never."""

    deployment: str
    priority: Whole = 1
    weight: Amount = 1.0
    price: Dollars = None
    limits: LimitsRow = Field(default_factory=LimitsRow)


Entry = Annotated[EntryRow, BeforeValidator(_shorthand("deployment"), json_schema_input_type=str | EntryRow)]


def _fields(value: dict[str, Fidelity]) -> dict[str, Fidelity]:
    for name in value:
        if name not in ("default", *CANONICAL):
            raise ValueError(f"{name!r} is not a canonical field; {nearest(name, ('default', *CANONICAL))}")
    return value


FidelityByField = Annotated[
    dict[str, Fidelity],
    BeforeValidator(lambda value: _fields(value) if isinstance(value, dict) else value),
    BeforeValidator(_shorthand("default"), json_schema_input_type=Fidelity | dict[str, Fidelity]),
]
PolicyOrName = Annotated[
    Annotated[str, Tag("a name")] | Annotated[PolicyRow, Tag("a mapping")],
    Discriminator(lambda value: "a name" if isinstance(value, str) else "a mapping"),
]


class BudgetRow(Row):
    """What a route may cost in any span of time. Then it refuses, before anything is sent."""

    limit: Money
    per: Duration = 3600.0


class PriceLimitRow(Row):
    """Dollars per million tokens. null: no limit."""

    input: Money | None = None
    output: Money | None = None

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.input is None and self.output is None:
            raise ValueError("limits nothing; write e.g. {input: $0.50, output: $2}")
        return self


class AffinityRow(Row):
    """Whose requests stay where they were answered last, while that is no dearer: its prompt cache is warm."""

    by: AffinityBy = _affinity.by
    for_: Duration = Field(default=_affinity.seconds, alias="for", description="after the last answer")


class RouteRow(Row):
    """What a name in `model` stands for: deployments, and how they are chosen."""

    deployments: tuple[Entry, ...] = Field(json_schema_extra={"minItems": 1})  # counted once all are looked at
    select: Select = Field(default="priority", description="the order inside a tier of equal priority")
    fidelity: FidelityByField = Field(default_factory=dict, description="for everything, or by canonical field")
    policy: PolicyOrName | None = None
    sampling: Sampling | None = Field(default=None, description="the makers' advice where a request says nothing")
    affinity: (
        Annotated[AffinityRow, BeforeValidator(_shorthand("by"), json_schema_input_type=AffinityBy | AffinityRow)]
        | None
    ) = Field(default=None, description="what stays at one deployment while its prompt cache is warm")
    needs: tuple[Need, ...] = Field(
        default=(), description="what this route's callers rely on; `router check` holds it"
    )
    budget: BudgetRow | None = None
    max_price: PriceLimitRow | None = Field(default=None, description="whoever costs more is not asked")
    prefer_price: PriceLimitRow | None = Field(default=None, description="whoever costs more is asked after the others")


class GatewayRow(Row):
    """Only read by `router serve`."""

    api_keys: Pool | None = None
    max_body: Size = _gateway.max_body
    host: str | None = None
    port: Annotated[Whole, Field(le=_PORTS)] | None = None

    @model_validator(mode="after")
    def _no_key_is_empty(self) -> Self:
        keys = self.api_keys.values() if isinstance(self.api_keys, dict) else self.api_keys or ()
        if not all(keys):
            raise ValueError("api_keys: one is empty; leave api_keys out if everybody may call")
        _refuse_twins(self.api_keys, "api_keys")
        return self


class RoutesFile(CatalogFile):
    """routes.yaml: decisions; and facts beyond, or instead of, the catalog's."""

    routes: dict[Name, RouteRow] = Field(default_factory=dict)
    policies: dict[Name, PolicyRow] = Field(default_factory=dict)
    gateway: GatewayRow = Field(default_factory=GatewayRow)


def schema() -> dict[str, Any]:
    """The JSON Schema of a routes file, for editors."""
    from providers.client import PROTOCOLS

    made = RoutesFile.model_json_schema()
    rows = made["$defs"]
    for name in ("ProviderRow", "PlacedRow"):
        # The shorthand `top_k: topK`, which the row of providers.dialect does not publish.
        options = rows[name]["properties"]["params"]["additionalProperties"]["anyOf"]
        if {"type": "string"} not in options:
            options.append({"type": "string"})
    rows["ProviderRow"]["properties"]["protocol"]["enum"] = sorted(PROTOCOLS)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": "routes.yaml"}
