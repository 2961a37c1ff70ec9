"""What one request is served on: its route's terms, tightened by what the request itself says. Pure.

Knows whom a request leaves in, what it may cost and how long it may take. A request may ask for less than its route
allows, never for more: what is more is refused in words, not quietly lowered. Refuses to know calls and health.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from providers.errors import InvalidRequest, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from providers.dialect import Price
    from providers.types import PriceLimit, Request
    from router.config import Deployment, Policy, Route

_POLICY = ("deadline", "attempts", "max_cost")  # of a request: none may be more than the policy's own
_ASKED = frozenset((*_POLICY, "on_interruption", "only", "ignore", "max_price", "prefer_price"))


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for one request on one route."""

    policy: Policy
    max_price: PriceLimit | None = None
    prefer_price: PriceLimit | None = None
    only: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    priced: bool = False
    """Whether money is limited, so that a deployment whose price nobody knows cannot serve."""
    narrow: bool = field(init=False, repr=False, compare=False)
    """Whether there is anything by which `refuses` could refuse somebody."""

    def __post_init__(self) -> None:
        narrow = bool(self.only or self.ignore or self.priced or self.max_price is not None)
        object.__setattr__(self, "narrow", narrow)

    def refuses(self, deployment: Deployment) -> str | None:
        """Why *deployment* is out, whatever it would be asked; None where it is in."""
        if self.only and not _named(deployment, self.only):
            return "the request names others under `only`"
        if self.ignore and _named(deployment, self.ignore):
            return "the request names it under `ignore`"
        price = deployment.price
        if self.max_price is not None and (why := above(price, self.max_price)) is not None:
            return f"{why}: `max_price` does not allow it"
        if self.priced and (price is None or price.input is None or price.output is None):
            return "its price is not known, and money is limited here: say `price` in the route"
        return None

    def refuses_cost(self, dollars: float | None) -> str | None:
        """Why an attempt that is estimated at *dollars* may not be made at all."""
        most = self.policy.max_cost
        if most is None or dollars is None or dollars <= most:
            return None
        return f"it would cost about ${dollars:.6f}, and `max_cost` is ${most:.6f}"

    def is_dear(self, deployment: Deployment) -> bool:
        """Whether others are preferred for their price."""
        return self.prefer_price is not None and above(deployment.price, self.prefer_price) is not None


def above(price: Price | None, limit: PriceLimit) -> str | None:
    """How *price* is above *limit*; None where it is not. A price that nobody knows is above every limit."""
    for name in ("input", "output"):
        most, own = getattr(limit, name), getattr(price, name, None)
        if most is None:
            continue
        if own is None:
            return f"its price of {name} is not known"
        if own > most:
            return f"its {name} costs ${own:g} per million tokens, more than ${most:g}"
    return None


def _named(deployment: Deployment, names: tuple[str, ...]) -> bool:
    return deployment.name in names or deployment.provider.name in names


def usual(route: Route) -> Terms:
    """The terms for a request on *route* that has none of its own."""
    priced = route.policy.max_cost is not None or route.budget is not None
    return Terms(route.policy, route.max_price, route.prefer_price, priced=priced)


def terms(route: Route, request: Request) -> Terms:
    """The terms for *request* on *route*.

    Raises:
        InvalidRequest: it asks for more than the route allows, or names somebody who is not in the route.
    """
    if _ASKED.isdisjoint(request.model_fields_set):
        return route.terms
    policy = route.policy
    changes: dict[str, Any] = {
        name: own for name in _POLICY if (own := _lowered(route, name, getattr(request, name))) is not None
    }
    if request.on_interruption is not None:
        changes["on_interruption"] = request.on_interruption
    for name in ("only", "ignore"):
        _known(route, name, getattr(request, name))
    return Terms(
        replace(policy, **changes) if changes else policy,
        _both(route, request.max_price),
        request.prefer_price or route.prefer_price,
        request.only or (),
        request.ignore or (),
        route.terms.priced or request.max_cost is not None,
    )


def _lowered(route: Route, name: str, asked: float | None) -> float | None:
    allowed = getattr(route.policy, name)
    if asked is not None and allowed is not None and asked > allowed:
        message = (
            f"{asked:g} is more than route {route.name!r} allows ({allowed:g}); ask for less, or raise {name} in the"
            f" policy {route.policy.name!r}"
        )
        raise InvalidRequest(message, field=name)
    return asked


def _known(route: Route, field: str, names: Iterable[str] | None) -> None:
    for name in names or ():
        if not any(_named(deployment, (name,)) for deployment in route.deployments):
            known = [known for one in route.deployments for known in (one.name, one.provider.name)]
            raise InvalidRequest(f"{name!r} is not in route {route.name!r}; {nearest(name, known)}", field=field)


def _both(route: Route, asked: PriceLimit | None) -> PriceLimit | None:
    """The tighter of the two limits, number by number."""
    own = route.max_price
    if asked is None or own is None:
        return asked or own
    tighter = {
        name: min(limits)
        for name in ("input", "output")
        if (limits := [limit for one in (asked, own) if (limit := getattr(one, name)) is not None])
    }
    return own.model_copy(update=tighter)
