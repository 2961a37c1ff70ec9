"""`router models`: every model, who serves it, what it costs there, and whether there is a key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from router.cli.base import FOUND, Failure, config_option, json_option, open_config
from router.cli.output import NOTHING, console, print_json, styled, table

if TYPE_CHECKING:
    from router.config import Config, Deployment

_EPILOG = """\b
Examples:
  router models                   all of them
  router models 27b               those with "27b" in the name of the model or of a deployment
  router models --config routes.yaml --json

\b
Exit codes: 0; 1 nothing matches; 2 wrong usage or configuration.
"""


@click.command(short_help="Every model: who serves it, at what price, and is there a key.", epilog=_EPILOG)
@click.argument("text", required=False, default="")
@config_option
@json_option
def models(*, text: str, config: Path | None, as_json: bool) -> None:
    """List models and their deployments, those with TEXT in their name.

    Prices are dollars per million tokens. A deployment without a key is never asked.
    """
    opened = open_config(config)
    facts = _facts(opened, text.lower())
    if not facts["models"] and not facts["routes"]:
        message = f"no model and no deployment has {text!r} in its name"
        raise Failure(message, hint="see: router models", code=FOUND)
    if as_json:
        print_json(facts)
    else:
        _show(facts)


def _facts(config: Config, text: str) -> dict[str, Any]:
    found = []
    for name, route in config.models.items():
        wanted = [one for one in route.deployments if text in name.lower() or text in one.name.lower()]
        if wanted:
            sampling = {mode: dict(values) for mode, values in config.sampling.get(name, {}).items()}
            found.append({"model": name, "deployments": [_deployment(one) for one in wanted], "sampling": sampling})
    routes = [
        {"route": name, "deployments": [one.name for one in route.deployments], "select": route.select}
        for name, route in config.routes.items()
        if text in name.lower() or any(text in one.name.lower() for one in route.deployments)
    ]
    return {"models": found, "routes": routes}


def _deployment(deployment: Deployment) -> dict[str, Any]:
    endpoint, provider, price = deployment.endpoint, deployment.provider, deployment.price
    return {
        "deployment": deployment.name,
        "provider": provider.name,
        "wire_model": endpoint.wire_model,
        "context": endpoint.context,
        "max_output": endpoint.max_output,
        "input": sorted(endpoint.input, key=_kind) if endpoint.input is not None else None,
        "price": {name: getattr(price, name) if price is not None else None for name in ("input", "output", "cached")},
        "key": provider.usable,
        "missing": list(provider.missing) if not provider.usable else [],
    }


def _kind(kind: str) -> int:
    kinds = ("text", "image", "video")
    return kinds.index(kind) if kind in kinds else len(kinds)


def _show(facts: dict[str, Any]) -> None:
    out = console()
    numbers = ("context", "max out", "$ in", "$ out", "cached")
    made = table("model", "context", "max out", "sees", "$ in", "$ out", "cached", "key", right=numbers)
    for model in facts["models"]:
        made.add_row(styled(model["model"], "bold"))
        for one in model["deployments"]:
            made.add_row(*_row(one))
    if facts["models"]:
        out.print(made)
        out.print()
    if facts["routes"]:
        routes = table("route", "select", "deployments")
        for one in facts["routes"]:
            routes.add_row(styled(one["route"], "bold"), one["select"], "\n".join(one["deployments"]))
        out.print(routes)
        out.print()
    missing = {name: None for model in facts["models"] for one in model["deployments"] for name in one["missing"]}
    if missing:
        out.print(styled(f"Missing keys: set {', '.join(missing)}.", "dim"))


def _row(one: dict[str, Any]) -> tuple[Any, ...]:
    """One deployment: the provider alone, for the model stands above it."""
    price = (one["price"][name] for name in ("input", "output", "cached"))
    sees = None if one["input"] is None else ", ".join(kind for kind in one["input"] if kind != "text")
    return (
        f"  {one['provider']}",
        _tokens(one["context"]),
        _tokens(one["max_output"]),
        "?" if sees is None else sees or NOTHING,
        *(NOTHING if dollars is None else f"{dollars:.3g}" for dollars in price),
        styled("yes", "green") if one["key"] else styled("no", "red"),
    )


def _tokens(count: int | None) -> str:
    """Tokens as they are talked of: 262144 is 262K."""
    if count is None:
        return NOTHING
    return f"{count // 1000}K" if count < 1_000_000 else f"{count / 1_000_000:g}M"
