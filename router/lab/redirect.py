"""A configuration whose providers are emulators: other addresses, the lab's keys, all else as it was written. Pure.

Knows what of a `Config` must change so that no request can leave the lab and no key is needed. Refuses to change what
is being tested: routes, policies, limits, prices, words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from providers.secret import Secret
from router.config import Config, Deployment, Key, Lazy, Provider, Route

_USE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")  # a variable without a default


def redirect(config: Config, addresses: Mapping[str, str]) -> Config:
    """*config* with each provider at its base URL in *addresses*; as many keys as it has, but at least one, of the lab.

    A provider that has no address there keeps its own and loses its keys: it is never asked.
    """
    providers = {name: _provider(one, addresses.get(name)) for name, one in config.providers.items()}

    def deployment(one: Deployment) -> Deployment:
        moved = providers[one.provider.name]
        url = moved.base_url + one.endpoint.url.removeprefix(one.provider.base_url)
        return replace(one, provider=moved, endpoint=replace(one.endpoint, url=url))

    def routes(known: Mapping[str, Route]) -> Lazy[Route]:
        def route(name: str) -> Route:
            return replace(known[name], deployments=tuple(map(deployment, known[name].deployments)))

        return Lazy(known, route)

    return replace(
        config,
        providers=providers,
        deployments=Lazy(config.deployments, lambda name: deployment(config.deployments[name])),
        models=routes(config.models),
        routes=routes(config.routes),
        alone=routes(config.alone),
    )


def _provider(provider: Provider, address: str | None) -> Provider:
    if address is None:
        return replace(provider, keys=(), keyless=False, missing=("an emulator",))
    labels = [key.label for key in provider.keys] or ["1"]
    keys = tuple(Key(label, Secret(f"lab-key-{label}-of-{provider.name}")) for label in labels)
    return replace(provider, base_url=address, keys=keys, keyless=False, missing=())


def environ_for(document: Any, environ: Mapping[str, str]) -> dict[str, str]:
    """*environ* with something in every variable that *document* asks for and that holds nothing."""
    return {**dict.fromkeys(_variables(document), "lab"), **{name: value for name, value in environ.items() if value}}


def _variables(value: Any) -> set[str]:
    if isinstance(value, Mapping):
        return {name for item in value.values() for name in _variables(item)}
    if isinstance(value, list | tuple):
        return {name for item in value for name in _variables(item)}
    return set(_USE.findall(value)) if isinstance(value, str) else set()
