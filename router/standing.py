"""What planning and policy ask of health. An interface, and nothing else.

`router.health` answers; a record of decisions answers as it was then, and tests answer as they like.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from providers.dialect import Endpoint
    from router.affinity import Memory
    from router.config import Deployment, Tier
    from router.health import Bar


class Standing(Protocol):
    """What is known of deployments and keys. Times are seconds of one monotonic clock."""

    def unhindered(self, deployment: Deployment, tier: Tier, now: float) -> bool:
        """True only where none of `barred`, `ready_in`, `aside` and `slow` has anything to say."""
        ...

    def barred(self, deployment: Deployment, now: float) -> Bar | None:
        """Why the deployment must not be asked now; None if it may."""
        ...

    def ready_in(self, deployment: Deployment, now: float) -> float:
        """Seconds that it is not to be asked for, because it said so or its limits are used up."""
        ...

    def may_trickle(self, deployment: Deployment, now: float) -> bool:
        """Whether it may be asked although its circuit is open, when nobody else is there."""
        ...

    def other_key(self, deployment: Deployment, label: str | None, now: float) -> bool:
        """Whether another key than the one named *label* may be used now."""
        ...

    def may_retry(self, deployment: Deployment) -> bool:
        """Whether the bucket of same-deployment retries holds one."""
        ...

    def spend_retry(self, deployment: Deployment) -> None:
        """Take one out of it."""
        ...

    def give_back_retry(self, deployment: Deployment) -> None:
        """Put one back that was not made."""
        ...

    def endpoint(self, deployment: Deployment) -> Endpoint:
        """The deployment's endpoint, as it has shown itself to be."""
        ...

    def load(self, name: str) -> float:
        """Calls under way."""
        ...

    def timed(self) -> Collection[str]:
        """The deployments that were ever sent a call."""
        ...

    def seconds(self, name: str, tokens: int, now: float, *, streaming: bool) -> float | None:
        """How long it takes to answer with so many tokens, as lately observed; None if unknown."""
        ...

    def slow(self, deployment: Deployment, tier: Tier, now: float) -> str | None:
        """Why it is slow, for itself and beside the others of its tier; None where it is not."""
        ...

    def unasked_for(self, name: str, now: float) -> float:
        """Seconds since it was sent a call."""
        ...

    def aside(self, deployment: Deployment, now: float) -> str | None:
        """Why others should be asked first, though it may be asked; None where nothing speaks for that."""
        ...

    @property
    def memory(self) -> Memory:
        """Who answered which conversation last."""
        ...
