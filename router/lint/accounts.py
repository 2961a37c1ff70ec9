"""Accounts: failures that look independent and are not, limits that cannot carry, keys that are lost on the way. Pure.

Knows providers, compiled: their addresses, keys and limits. Refuses to know what is sent to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from router.lint.hosts import is_near
from router.problems import Problem, Steps

if TYPE_CHECKING:
    from router.config import Deployment, Provider, Route
    from router.load import Loaded


def accounts(loaded: Loaded) -> Iterator[Problem]:
    """Every finding about the accounts of *loaded*."""
    for rule in _RULES:
        yield from rule(loaded)


# -- one account, twice -----------------------------------------------------------------------------------------------


def _account(provider: Provider, known: dict[str, Provider]) -> str:
    """The name of the first provider of *known* that is the same account as *provider*."""
    return next(name for name, other in known.items() if other is provider or _same(provider, other))


def _same(one: Provider, other: Provider) -> bool:
    """Whether two providers are one account: the same address, and a key in common, or neither has one."""
    if _address(one) != _address(other):
        return False
    if one.keyless or other.keyless:
        return one.keyless and other.keyless
    return bool({key.secret for key in one.keys} & {key.secret for key in other.keys})


def _address(provider: Provider) -> tuple[str, str | None, int | None, str]:
    url = urlsplit(provider.base_url)
    return url.scheme, url.hostname, url.port, url.path.rstrip("/")


def _same_account(loaded: Loaded) -> Iterator[Problem]:
    providers, document = dict(loaded.config.providers), loaded.document
    for name, provider in providers.items():
        first = _account(provider, providers)
        if first == name or (name not in loaded.rows.providers and first not in loaded.rows.providers):
            continue
        later, earlier = (name, first) if name in loaded.rows.providers else (first, name)
        if not _meet(loaded, later, earlier):
            continue
        what = "server" if provider.keyless else "account: the same address, and the same key"
        message = f"{later} and {earlier} are one {what}; they fail together, and their limits are counted apart"
        hint = f"put the deployments of {later} under {earlier}"
        yield document.problem(("providers", later), message, hint, code="same-account")


def _meet(loaded: Loaded, one: str, other: str) -> bool:
    """Whether it matters that two providers are one account: they stand in one route, or have limits to share."""
    limits = (loaded.config.providers[name].limits for name in (one, other))
    if any(
        (each.requests_per_minute, each.tokens_per_minute, each.concurrency) != (None, None, None) for each in limits
    ):
        return True
    routes = ({each.provider.name for each in route.deployments} for route in loaded.config.routes.values())
    return any({one, other} <= names for names in routes)


def _single_account(loaded: Loaded) -> Iterator[Problem]:
    known = dict(loaded.config.providers)
    for route in loaded.config.routes.values():
        asked = [one for tier in route.tiers for one in tier]
        names = {_account(one.provider, known) for one in asked}
        if len(asked) > 1 and len(names) == 1:
            message = (
                f"{'both' if len(asked) == 2 else f'all {len(asked)}'} deployments are at one account, {names.pop()}: its outage, its empty balance and its"
                " limits hit all of them at once"
            )
            steps: Steps = ("routes", route.name, "deployments")
            hint = "add a deployment at another provider"
            yield loaded.document.problem(steps, message, hint, code="single-account")


def _unused(loaded: Loaded) -> Iterator[Problem]:
    served = {name.partition("/")[0] for name in loaded.config.deployments}
    for name in loaded.rows.providers:
        if name not in served:
            message = f"{name} serves no model: nobody can be sent there"
            hint = f"add models: <name>: deployments: [{{provider: {name}, model: …}}], or leave it out"
            yield loaded.document.problem(("providers", name), message, hint, code="provider-unused")


# -- keys -------------------------------------------------------------------------------------------------------------


def _in_clear(loaded: Loaded) -> Iterator[Problem]:
    for name, provider in loaded.config.providers.items():
        url = urlsplit(provider.base_url)
        if url.scheme == "http" and not provider.keyless and url.hostname and not is_near(url.hostname):
            steps: Steps = ("providers", name, "base_url")
            message = f"the key of {name} is sent over plain http to another machine"
            yield loaded.document.problem(steps, message, "write https", code="key-in-clear")


def _pools(loaded: Loaded) -> Iterator[Problem]:
    for name, provider in loaded.config.providers.items():
        if provider.keys and provider.missing:
            missing = ", ".join(provider.missing)
            message = f"{missing} is empty: the pool has {len(provider.keys)} of {_pool_size(loaded, name)} keys"
            steps: Steps = ("providers", name, "api_keys")
            yield loaded.document.problem(steps, message, f"set {missing}", code="pool-key-missing")


def _pool_size(loaded: Loaded, name: str) -> int:
    row = loaded.rows.providers.get(name)
    return len(row.api_keys or ()) if row is not None else 0


# -- limits -----------------------------------------------------------------------------------------------------------


def _requests(loaded: Loaded) -> Iterator[Problem]:
    for route in loaded.config.routes.values():
        for provider, calls in _calls(route).values():
            allowed = provider.limits.requests_per_minute
            if allowed is not None and calls > allowed:
                message = (
                    f"one request of {route.name} may make {calls} calls to {provider.name}, whose account allows"
                    f" {allowed} a minute"
                )
                hint = "lower attempts_per_deployment in its policy, or name fewer deployments of that provider"
                steps = _limit(loaded, route, provider, "requests_per_minute")
                yield loaded.document.problem(steps, message, hint, code="limit-below-attempts")


def _calls(route: Route) -> dict[str, tuple[Provider, int]]:
    """How many calls to each provider one request may make at most."""
    policy = route.policy
    calls: dict[str, tuple[Provider, int]] = {}
    for deployment in (one for tier in route.tiers for one in tier):
        provider = deployment.provider
        before = calls.get(provider.name, (provider, 0))[1]
        calls[provider.name] = provider, min(before + policy.attempts_per_deployment, policy.attempts)
    return calls


def _tokens(loaded: Loaded) -> Iterator[Problem]:
    said: set[str] = set()
    for route in loaded.config.routes.values():
        for deployment in (one for tier in route.tiers for one in tier):
            provider, context = deployment.provider, deployment.endpoint.context
            allowed = provider.limits.tokens_per_minute
            if allowed is None or context is None or allowed >= context or provider.name in said:
                continue
            said.add(provider.name)
            message = f"{provider.name} allows {allowed:,} tokens a minute, and {deployment.name} holds {context:,}"
            hint = "send long prompts elsewhere, or have the limit raised"
            steps = _limit(loaded, route, provider, "tokens_per_minute")
            yield loaded.document.problem(steps, message, hint, code="limit-below-context")


def _limit(loaded: Loaded, route: Route, provider: Provider, key: str) -> Steps:
    """Where a limit stands: in the file, else where the route names the provider."""
    row = loaded.rows.providers.get(provider.name)
    if row is not None and key in row.limits.model_fields_set:
        return ("providers", provider.name, "limits", key)
    place = next(number for number, one in enumerate(route.deployments) if _is_at(one, provider))
    return ("routes", route.name, "deployments", place)


def _is_at(deployment: Deployment, provider: Provider) -> bool:
    return deployment.provider is provider


_RULES: tuple[Callable[[Loaded], Iterator[Problem]], ...] = (
    _same_account,
    _single_account,
    _unused,
    _in_clear,
    _pools,
    _requests,
    _tokens,
)
