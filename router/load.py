"""From a routes file, the catalog and an environment to a `Config`; or to one error that lists every problem.

Knows the order: read, fill from the environment, validate, lay over the catalog, check what refers to what, compile.
Refuses to look into the environment of the process (it is an argument) and to compile endpoints that nobody asks for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from providers.dialect import Auth, DialectRow, Endpoint, Price, compile_dialect, layer
from providers.secret import Secret
from providers.types import PriceLimit
from router import catalog as packaged
from router.config import (
    Affinity,
    Backoff,
    CircuitSettings,
    Config,
    Deployment,
    Gateway,
    Hedge,
    Key,
    Lazy,
    Limits,
    Policy,
    Provider,
    Route,
    Spending,
    Timeouts,
)
from router.documents import Document, plain, read
from router.environment import fill
from router.layers import Facts, Stack
from router.lint import warnings
from router.problems import together
from router.references import check_facts, check_routes
from router.rows import (
    CatalogFile,
    EntryRow,
    GatewayRow,
    LimitsRow,
    PolicyRow,
    PriceLimitRow,
    ProviderRow,
    RouteRow,
    RoutesFile,
)
from router.validate import check
from router.written import without_secrets

__all__ = ["Loaded", "examine", "load"]

# Headers that are called like a secret hold one: they are never shown.
_HIDDEN = re.compile(r"key|token|secret|auth|password|cookie|credential|signature", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, and what it was made from: what `router.lint` looks at.

    *rows*: the file's, which stand in *document*; *facts*: the catalog's below them, too.
    """

    config: Config
    rows: RoutesFile
    document: Document
    facts: Facts


def load(
    source: str | Path | Mapping[str, Any] | Document | None = None,
    *,
    environ: Mapping[str, str],
    catalog: Path | None = None,
) -> Config:
    """The configuration that *source* means: a path, a mapping, a document that was read, or None for the catalog alone.

    *environ* is where `${NAME}` is looked up; *catalog* replaces the packaged one.

    Raises:
        ConfigError: it cannot be read, or means nothing; `.problems` has all that is wrong.
    """
    return examine(source, environ=environ, catalog=catalog).config


def examine(
    source: str | Path | Mapping[str, Any] | Document | None = None,
    *,
    environ: Mapping[str, str],
    catalog: Path | None = None,
) -> Loaded:
    """The same as `load`, with what it was made from.

    Raises:
        ConfigError: as `load`.
    """
    facts = Facts()
    below = fill(packaged.document(catalog), environ, optional=True)
    base = check(below, CatalogFile)
    document = fill(_document(source), environ)
    ours = check(document, RoutesFile)
    problems = [*base.problems, *ours.problems]
    problems += facts.add(base.rows, below)
    problems += facts.add(ours.rows, document)
    broken = base.broken | ours.broken
    problems += check_facts(facts, broken)
    problems += check_routes(ours.rows, document, facts, broken)
    if problems:
        raise together(problems)
    return Loaded(_Compiler(facts, ours.rows).config(document), ours.rows, document, facts)


def _document(source: str | Path | Mapping[str, Any] | Document | None) -> Document:
    if source is None:
        return Document(None)
    if isinstance(source, Document):
        return source
    if isinstance(source, Mapping):
        return plain(source)
    return read(Path(source), file=str(source))


class _Compiler:
    """Rows that are known to be sound, into the values of `config`."""

    def __init__(self, facts: Facts, rows: RoutesFile) -> None:
        self._facts, self._rows = facts, rows
        self._providers = {name: _provider(name, stack) for name, stack in facts.providers.items()}
        default = {"default": Policy()}
        self._policies = default | {name: _policy(name, row) for name, row in rows.policies.items()}
        self._deployments = Lazy(facts.deployments, self._deployment)

    def config(self, document: Document) -> Config:
        """The whole configuration."""
        return Config(
            file=document.file,
            providers=self._providers,
            deployments=self._deployments,
            models=Lazy(self._facts.models, lambda name: self._plain_route(name, self._facts.models[name])),
            routes=Lazy(self._rows.routes, lambda name: self._route(name, self._rows.routes[name])),
            alone=Lazy(self._facts.deployments, lambda name: self._plain_route(name, (name,))),
            policies=self._policies,
            gateway=_gateway(self._rows.gateway),
            sampling=self._facts.sampling,
            warnings=tuple(warnings(self._rows, document)),
            written=without_secrets(document.value),
        )

    def _deployment(self, name: str) -> Deployment:
        provider = self._facts.deployments[name].top.row.provider
        return Deployment(self._endpoint(name, provider), self._providers[provider])

    def _endpoint(self, name: str, provider: str) -> Endpoint:
        from providers.client import PROTOCOLS  # it brings aiohttp, which `load` alone does not need

        above, own = self._facts.providers[provider], self._facts.deployments[name]
        protocol = above.last("protocol")
        wire = PROTOCOLS[protocol]
        rows: tuple[DialectRow, ...] = (DialectRow.model_validate(wire.row), *above.rows, *own.rows)
        said = layer(*rows)
        headers: Mapping[str, str] = said.get("headers", {})
        media = own.last("input")
        kinds = None if media is None else frozenset(media)
        price = own.merged("price")
        return Endpoint(
            name=name,
            provider=provider,
            model=name.removeprefix(f"{provider}/"),
            wire_model=own.last("model"),
            protocol=protocol,
            url=self._providers[provider].base_url + wire.path,
            dialect=compile_dialect(*rows, max_output=own.last("max_output"), media=kinds),
            auth=said.get("auth") or Auth(),
            headers={name: value for name, value in headers.items() if not _HIDDEN.search(name)},
            hidden_headers={name: Secret(value) for name, value in headers.items() if _HIDDEN.search(name)},
            context=own.last("context"),
            max_output=own.last("max_output"),
            input=kinds,
            price=Price(**price) if price else None,
        )

    def _plain_route(self, name: str, deployments: Mapping[str, None] | Sequence[str]) -> Route:
        chosen = tuple(self._deployments[one] for one in deployments)
        return Route(name, chosen, policy=self._policies["default"])

    def _route(self, name: str, row: RouteRow) -> Route:
        own = row.policy
        return Route(
            name=name,
            deployments=tuple(self._placed(entry) for entry in row.deployments),
            select=row.select,
            fidelity={"default": "declared", **row.fidelity},
            policy=_policy(name, own) if isinstance(own, PolicyRow) else self._policies[own or "default"],
            needs=row.needs,
            sampling=row.sampling,
            budget=None if row.budget is None else Spending(**row.budget.model_dump()),
            max_price=_price_limit(row.max_price),
            prefer_price=_price_limit(row.prefer_price),
            affinity=None if row.affinity is None else Affinity(row.affinity.by, row.affinity.for_),
        )

    def _placed(self, entry: EntryRow) -> Deployment:
        known = self._deployments[entry.deployment]
        endpoint = known.endpoint
        if entry.price is not None:
            own = entry.price.model_dump(exclude_unset=True)
            endpoint = replace(endpoint, price=(endpoint.price or Price()).model_copy(update=own))
        limits = _limits(entry.limits)
        return replace(known, endpoint=endpoint, priority=entry.priority, weight=entry.weight, limits=limits)


def _provider(name: str, stack: Stack[ProviderRow]) -> Provider:
    keys, missing = _account(stack)
    return Provider(
        name=name,
        base_url=stack.last("base_url"),
        keys=keys,
        keyless=not keys and not missing,
        missing=missing,
        limits=Limits(**stack.merged("limits")),
    )


def _account(stack: Stack[ProviderRow]) -> tuple[tuple[Key, ...], tuple[str, ...]]:
    """The keys of the last row that speaks of keys, and the variables that would hold more."""
    said = stack.who_says("api_key", "api_keys")
    if said is None:
        return (), ()
    keys = _keys([said.row.api_key] if said.row.api_keys is None else said.row.api_keys)
    places = [(*said.steps, key) for key in ("api_key", "api_keys")]
    missing = said.document.missing.items()
    return keys, tuple(name for steps, names in missing if steps[: len(places[0])] in places for name in names)


def _keys(pool: Sequence[Secret | None] | Mapping[str, Secret | None] | None) -> tuple[Key, ...]:
    if pool is None:
        return ()
    labelled = pool.items() if isinstance(pool, Mapping) else ((str(place), key) for place, key in enumerate(pool, 1))
    return tuple(Key(label, secret) for label, secret in labelled if secret)


def _limits(row: LimitsRow) -> Limits:
    return Limits(**row.model_dump())


def _policy(name: str, row: PolicyRow) -> Policy:
    return Policy(
        name=name,
        attempts=row.attempts,
        attempts_per_deployment=row.attempts_per_deployment,
        order=row.order,
        backoff=Backoff(**row.backoff.model_dump()),
        deadline=row.deadline,
        timeouts=Timeouts(**row.timeouts.model_dump()),
        circuit=CircuitSettings(**row.circuit.model_dump()),
        on_interruption=row.on_interruption,
        hold=row.hold,
        max_cost=row.max_cost,
        hedge=None if row.hedge is None else Hedge(**row.hedge.model_dump()),
    )


def _price_limit(row: PriceLimitRow | None) -> PriceLimit | None:
    return None if row is None else PriceLimit(**row.model_dump())


def _gateway(row: GatewayRow) -> Gateway:
    return Gateway(keys=_keys(row.api_keys), max_body=row.max_body, host=row.host, port=row.port)
