"""What is known of one deployment, and of the account behind it: one record each, which `router.health` keeps.

Knows which pieces there are and how they are said as a value. Refuses to know what an outcome means for them
(`router.health`), and to read clocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from router.circuit import Circuit
from router.keys import KeyPool
from router.limits import Account
from router.pace import Pace
from router.slots import Slots

if TYPE_CHECKING:
    from providers.dialect import Endpoint
    from providers.errors import ProviderError
    from router.config import Deployment, Limits, Provider
    from router.learning import Fact

RETRIES = 10.0  # same-deployment retries that are in the bucket at most, and at first

Said = Mapping[str, Mapping[str, Any]]
"""What a snapshot says: by kind of piece, then by the name of whom it is about."""


@dataclass(slots=True, eq=False)
class KnownAccount:
    """One provider's: its keys, the calls under way, and its minute; each None until it matters."""

    provider: Provider
    usable: bool
    pool: KeyPool | None = None
    slots: Slots | None = None
    minute: Account | None = None

    def keys(self) -> KeyPool:
        """Its keys, whose turns and rests begin with the first question."""
        if self.pool is None:
            self.pool = KeyPool(self.provider.keys)
        return self.pool

    def places(self) -> Slots:
        """Its calls under way at once."""
        if self.slots is None:
            self.slots = Slots(self.provider.limits.concurrency)
        return self.slots

    def snapshot(self, now: float) -> Iterator[tuple[str, Any]]:
        """What decides, piece by piece; ready for JSON, and without a key."""
        if self.slots is not None:
            yield "slots", self.slots.snapshot()
        if self.pool is not None:
            yield "pools", self.pool.snapshot()
        if self.minute is not None:
            yield "accounts", self.minute.snapshot(now)

    def restore(self, said: Said) -> None:
        """Be as a `snapshot` says."""
        name = self.provider.name
        if name in said.get("slots", ()):
            self.slots = Slots.restored(said["slots"][name])
        if name in said.get("pools", ()):
            self.keys().restore(said["pools"][name])
        self.minute = _minute(said, name, self.provider.limits)


@dataclass(slots=True, eq=False)
class Known:
    """One deployment's. *cooling*: until when it is not to be asked. *usual*: calls under way at most, of late."""

    name: str
    account: KnownAccount
    circuit: Circuit | None = None
    pace: Pace | None = None
    load: int = 0
    usual: float = 0.0
    cooling: float = 0.0
    latency: float | None = None
    retries: float = RETRIES
    last: ProviderError | None = None
    after: str = ""
    """The same in words, for a reason that every plan gives while its circuit is open."""
    slots: Slots | None = None
    """Where its place in a route has a limit of its own."""
    minute: Account | None = None
    """As above."""
    facts: tuple[Fact, ...] = ()
    endpoint: Endpoint | None = None
    """Without what it has shown that it does not take; None where that is nothing."""

    def places(self, deployment: Deployment) -> tuple[Slots, ...]:
        """What limits the calls under way at once: the account's slots, and its own where *deployment* has a limit."""
        slots, own = self.account.slots or self.account.places(), deployment.limits.concurrency
        if own is None:
            return (slots,)
        if self.slots is None:
            self.slots = Slots(own)
        return slots, self.slots

    def minutes(self, deployment: Deployment) -> tuple[Account, ...]:
        """The minutes that limit it: its account's, and its own where *deployment*, its place in a route, has a limit."""
        if not deployment.per_minute:
            return ()
        account, own = self.account.provider.limits, deployment.limits
        if self.account.minute is None and account.per_minute:
            self.account.minute = Account(account.requests_per_minute, account.tokens_per_minute)
        if self.minute is None and own.per_minute:
            self.minute = Account(own.requests_per_minute, own.tokens_per_minute)
        found = (self.account.minute if account.per_minute else None, self.minute if own.per_minute else None)
        return tuple([one for one in found if one is not None])

    def snapshot(self, now: float) -> Iterator[tuple[str, Any]]:
        """What decides, piece by piece; ready for JSON. What is as at first may be among it, and is false."""
        if self.circuit is not None:
            yield "circuits", self.circuit.snapshot()
        if self.cooling > now:
            yield "cooling", self.cooling
        if self.retries != RETRIES:
            yield "retries", [self.retries]  # in a list, because 0 is something too
        yield "load", self.load
        yield "latency", self.latency
        yield "usual", self.usual
        if self.pace is not None:
            yield "paces", self.pace.snapshot()
        if self.slots is not None:
            yield "slots", self.slots.snapshot()
        yield "facts", [fact.lesson for fact in self.facts]
        if self.minute is not None:
            yield "accounts", self.minute.snapshot(now)

    def restore(self, said: Said, deployment: Deployment) -> None:
        """Be as a `snapshot` says, but for the facts: these are learned again."""
        name = self.name
        if name in said.get("circuits", ()):
            self.circuit = Circuit.restored(said["circuits"][name])
        if name in said.get("paces", ()):
            self.pace = Pace.restored(said["paces"][name])
        if name in said.get("slots", ()):
            self.slots = Slots.restored(said["slots"][name])
        self.cooling = said.get("cooling", {}).get(name, 0.0)
        (self.retries,) = said.get("retries", {}).get(name, (RETRIES,))
        self.load = said.get("load", {}).get(name, 0)
        self.latency = said.get("latency", {}).get(name)
        self.usual = said.get("usual", {}).get(name, 0.0)
        self.minute = _minute(said, name, deployment.limits)


def _minute(said: Said, name: str, limits: Limits) -> Account | None:
    if name not in said.get("accounts", ()):
        return None
    minute = Account(limits.requests_per_minute, limits.tokens_per_minute)
    minute.restore(said["accounts"][name])
    return minute
