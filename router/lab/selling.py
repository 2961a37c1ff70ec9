"""Emulators that sell what a configuration buys: without it they know the documented models alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from router.config import Config


def switches(config: Config, names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """For each of the emulators *names*, the models that *config* buys there, as an argument of its class.

    At the price that a route says, where one does; of two routes the last one.
    """
    from router.lab.emulators import Model

    shops: dict[str, dict[str, Model]] = {}
    placed = [deployment for route in config.routes.values() for deployment in route.deployments]
    for deployment in (*config.deployments.values(), *placed):
        endpoint, price = deployment.endpoint, deployment.price
        if endpoint.provider not in names:
            continue
        limits = {"context": endpoint.context, "max_output": endpoint.max_output}
        shops.setdefault(endpoint.provider, {})[endpoint.wire_model] = Model(
            (price.input if price else None) or 0.0,
            (price.output if price else None) or 0.0,
            price.cached if price else None,
            **{name: limit for name, limit in limits.items() if limit is not None},
        )
    return {name: {"models": models} for name, models in shops.items()}
