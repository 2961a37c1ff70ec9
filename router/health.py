"""What is known of each deployment and each key: who may be asked, how busy and how quick it is.

Knows counters. Refuses to read clocks (`now` is an argument) and to decide whom to ask (`router.plan`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.learning import Fact, knowing

if TYPE_CHECKING:
    from providers.dialect import Endpoint
    from router.config import Deployment, Key, Provider

SMOOTHING = 0.2  # weight of the newest first-token time in the running average


class Health:
    """The state of everything that a router asks. One per router, used from one event loop."""

    def __init__(self) -> None:
        self._facts: dict[str, tuple[Fact, ...]] = {}
        self._known: dict[str, Endpoint] = {}
        self._load: dict[str, int] = {}
        self._latency: dict[str, float] = {}
        self._turn: dict[str, int] = {}

    def barred(self, deployment: Deployment) -> str | None:
        """Why *deployment* must not be asked now; None if it may."""
        provider = deployment.provider
        if provider.usable:
            return None
        names = " or ".join(provider.missing) or "its environment variable"
        return f"no API key: set {names}, or api_key under providers.{provider.name}"

    def endpoint(self, deployment: Deployment) -> Endpoint:
        """The deployment's endpoint, without what it has shown that it does not take."""
        return self._known.get(deployment.name) or deployment.endpoint

    def learned(self, fact: Fact, endpoint: Endpoint) -> bool:
        """Note *fact* about *endpoint*; False if it was known."""
        facts = self._facts.get(fact.deployment, ())
        if any((known.param, known.allowed) == (fact.param, fact.allowed) for known in facts):
            return False
        self._facts[fact.deployment] = (*facts, fact)
        self._known[fact.deployment] = knowing(endpoint, (fact,))
        return True

    def key(self, provider: Provider) -> Key | None:
        """The key whose turn it is; None where the provider needs none."""
        if not provider.keys:
            return None
        turn = self._turn.get(provider.name, 0)
        self._turn[provider.name] = turn + 1
        return provider.keys[turn % len(provider.keys)]

    def load(self, name: str) -> float:
        """Calls under way at the deployment *name*."""
        return self._load.get(name, 0)

    def latency(self, name: str) -> float | None:
        """Seconds to the first token, lately; None if unknown."""
        return self._latency.get(name)

    def began(self, name: str) -> None:
        """A call to the deployment *name* is under way."""
        self._load[name] = self._load.get(name, 0) + 1

    def ended(self, name: str) -> None:
        """It is over, however it went."""
        self._load[name] = max(self._load.get(name, 0) - 1, 0)

    def first_token(self, name: str, seconds: float) -> None:
        """It took *seconds* until the deployment *name* said something."""
        known = self._latency.get(name)
        self._latency[name] = seconds if known is None else known + SMOOTHING * (seconds - known)
