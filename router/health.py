"""What is known of each deployment and each key: who may be asked, how busy and how quick it is.

Knows which outcome speaks against whom: a deployment's circuit, a key, or nobody. Refuses to read clocks (`now` is an
argument) and to decide whom to ask (`router.plan`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Literal, Self

from providers.errors import CredentialFailed, ModelNotFound, ProviderError, ProviderTimeout, RateLimited
from providers.quick import quick
from router.affinity import Memory
from router.budget import Budget
from router.circuit import Circuit, State
from router.hedge import Hedges
from router.keys import THROTTLED, KeyPool
from router.learning import Fact, knowing
from router.limits import Account
from router.pace import Pace
from router.slots import Slots, slows_down, throttles

if TYPE_CHECKING:
    from providers.dialect import Endpoint
    from router.config import CircuitSettings, Deployment, Key, Provider, Route, Tier

SMOOTHING = 0.2  # weight of the newest first-token time in the running average
GONE = 600.0  # seconds that a model which is not there rests
LONGEST_COOLDOWN = 900.0  # seconds that one Retry-After can cool a deployment
RETRIES = 10.0  # same-deployment retries that are in the bucket at most, and at first
RETRY_PER_SUCCESS = 0.1
RAMP = 10.0  # seconds in which a deployment that has come back gets its usual load again
FEW = 3.0  # calls at once that are no crowd
FADING = 0.99  # of the usual load, with each call: it is the largest of late


@dataclass(frozen=True, slots=True)
class Bar:
    """Why a deployment is not to be asked now. *kind*: `config` until the configuration changes, else *retry_in*."""

    kind: Literal["config", "keys", "circuit"]
    why: str
    retry_in: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Ticket:
    """A call under way: given by `began`, handed back with its outcome, once. Two are never the same."""

    deployment: str
    provider: str
    key: Key | None
    began: float
    limit: float
    probe: bool
    moved: State | None = None
    """The circuit's new state, if the call moved it."""


_ticket = quick(Ticket)


class Health:
    """The state of everything that a router asks. One per router, used from one event loop.

    *rng*: for jitter. *secret*: the key under which conversations are remembered. *memory*: those conversations.
    """

    def __init__(self, rng: Random | None = None, *, secret: bytes = b"") -> None:
        self._rng = rng or Random(0)
        self.memory = Memory(secret)
        self._facts: dict[str, tuple[Fact, ...]] = {}
        self._known: dict[str, Endpoint] = {}
        self._circuits: dict[str, Circuit] = {}
        self._pools: dict[str, KeyPool] = {}
        self._cooling: dict[str, float] = {}
        self._load: dict[str, int] = {}
        self._latency: dict[str, float] = {}
        self._retries: dict[str, float] = {}
        self._last: dict[str, ProviderError] = {}
        self._accounts: dict[str, Account] = {}
        self._budgets: dict[str, Budget] = {}
        self.hedges = Hedges()
        self._slots: dict[str, Slots] = {}
        self._paces: dict[str, Pace] = {}
        self._usual: dict[str, float] = {}

    # -- may it be asked?

    def barred(self, deployment: Deployment, now: float) -> Bar | None:
        """Why *deployment* must not be asked now; None if it may, perhaps after `ready_in`."""
        provider = deployment.provider
        if not provider.usable:
            names = " or ".join(provider.missing) or "its environment variable"
            return Bar("config", f"no API key: set {names}, or api_key under providers.{provider.name}")
        pool = self._pools.get(provider.name)
        if pool is not None and pool.rests and pool.keys and pool.ready_in(now) is None:
            return Bar("keys", pool.why_dead(now), min(max(rest.until - now, 0.0) for rest in pool.rests.values()))
        circuit = self._circuits.get(deployment.name)
        if circuit is not None and not circuit.admits(now):
            last = self._last.get(deployment.name)
            why = f"its circuit is {circuit.state.replace('_', '-')}" + (f" after {last}" if last is not None else "")
            return Bar("circuit", why, circuit.retry_in(now))
        return None

    def ready_in(self, deployment: Deployment, now: float) -> float:
        """Seconds that *deployment* is not to be asked for: it asked for it, or its account's limits are used up."""
        name, provider = deployment.name, deployment.provider.name
        seconds = self._cooling.get(name, now) - now if self._cooling else 0.0
        pool = self._pools.get(provider)
        if pool is not None and pool.rests and pool.keys:
            seconds = max(seconds, pool.ready_in(now) or 0.0)
        if self._accounts:
            for limited in (provider, name):
                if (account := self._accounts.get(limited)) is not None:
                    seconds = max(seconds, account.wait(now))
        return max(0.0, seconds)

    def aside(self, deployment: Deployment, now: float) -> str | None:
        """Why others should be asked before *deployment*, though it may be asked; None where nothing speaks for that."""
        pool = self._pools.get(deployment.provider.name)
        if pool is not None and pool.spared and (seconds := pool.spared_for(now)):
            return f"its last answer left nothing of its limits for {seconds:.3g} s"
        for name in (deployment.provider.name, deployment.name):
            slots = self._slots.get(name)
            if slots is not None and slots.is_full:
                return f"{slots.under_way} calls are under way at {name}, and it carries no more"
        circuit = self._circuits.get(deployment.name)
        if circuit is not None and circuit.state == "closed" and now - circuit.since < RAMP:
            return self._ramping(deployment.name, now - circuit.since)
        return None

    def _ramping(self, name: str, back: float) -> str | None:
        """Why others should be asked, *back* seconds after its circuit was closed: the crowd comes little by little."""
        load = self._load.get(name, 0)
        if load < max(self._usual.get(name, 0.0) * back / RAMP, FEW):
            return None
        return f"it is back since {back:.2g} s, and {load} calls are enough so far"

    def slow(self, deployment: Deployment, tier: Tier, now: float) -> str | None:
        """Why *deployment* is slow, for itself and beside the others of its *tier*; None where it is not."""
        pace = self._paces.get(deployment.name)
        if pace is None or len(tier.members) < 2:
            return None
        return pace.slow(now, lambda: self._peers(deployment, tier, now))

    def _peers(self, deployment: Deployment, tier: Tier, now: float) -> list[Pace]:
        return [
            self._paces[one.name]
            for one in tier.members
            if one.name in self._paces and one.name != deployment.name and self.barred(one, now) is None
        ]

    def slots(self, deployment: Deployment) -> tuple[Slots, ...]:
        """What limits the calls under way at once: the account's slots, and the deployment's own where it has a limit."""
        account, own = deployment.provider, deployment.limits.concurrency
        slots = self._slots.get(account.name)
        if slots is None:
            slots = self._slots[account.name] = Slots(account.limits.concurrency)
        if own is None:
            return (slots,)
        return slots, self._slots.setdefault(deployment.name, Slots(own))

    def accounts(self, deployment: Deployment) -> list[Account]:
        """The minutes that limit *deployment*: its account's, and its own where its place in a route has a limit."""
        found = []
        provider = deployment.provider
        for name, limits in ((provider.name, provider.limits), (deployment.name, deployment.limits)):
            if limits.requests_per_minute is None and limits.tokens_per_minute is None:
                continue
            account = self._accounts.get(name)
            if account is None:
                account = self._accounts[name] = Account(limits.requests_per_minute, limits.tokens_per_minute)
            found.append(account)
        return found

    def budget(self, route: Route) -> Budget | None:
        """What *route* has spent of its budget; None where it has none."""
        if route.budget is None:
            return None
        found = self._budgets.get(route.name)
        if found is None:
            found = self._budgets[route.name] = Budget(route.budget.limit, route.budget.per)
        return found

    def may_trickle(self, deployment: Deployment, now: float) -> bool:
        """Whether *deployment* may be asked although its circuit is open, when nobody else is there."""
        bar = self.barred(deployment, now)
        return bar is not None and bar.kind == "circuit" and self._circuits[deployment.name].may_trickle(now)

    def other_key(self, deployment: Deployment, label: str | None, now: float) -> bool:
        """Whether the account has a key that may be used now and is not the one named *label*."""
        pool = self._pools.get(deployment.provider.name)
        return pool is not None and pool.ready_in(now, besides=label) == 0.0

    def may_retry(self, name: str) -> bool:
        """Whether the deployment's bucket of retries, filled by its successes, holds one."""
        return self._retries.get(name, RETRIES) >= 1.0

    def spend_retry(self, name: str) -> None:
        """Take a retry out of the deployment's bucket."""
        self._retries[name] = max(self._retries.get(name, RETRIES) - 1.0, 0.0)

    def give_back_retry(self, name: str) -> None:
        """Put a retry back that was not made."""
        self._retries[name] = min(self._retries.get(name, RETRIES) + 1.0, RETRIES)

    def endpoint(self, deployment: Deployment) -> Endpoint:
        """The deployment's endpoint, without what it has shown that it does not take."""
        return self._known.get(deployment.name) or deployment.endpoint

    # -- what happens

    def began(self, deployment: Deployment, now: float, *, limit: float, circuit: CircuitSettings) -> Ticket:
        """A call goes out: whose turn the key is, and whether it is a probe."""
        name, provider = deployment.name, deployment.provider
        key = self._pool(provider).take(now) if provider.keys else None
        load = self._load[name] = self._load.get(name, 0) + 1
        state = self._circuits.get(name)
        if state is None:
            state = self._circuits[name] = Circuit(circuit.failures, circuit.cooldown, circuit.max_cooldown)
        before = state.state
        if before == "closed":
            self._usual[name] = max(load, self._usual.get(name, 0.0) * FADING)
        probe = state.began(now, limit)
        moved = state.state if state.state != before else None
        return _ticket(name, provider.name, key, now, limit, probe, moved)

    def sent(self, ticket: Ticket, now: float, *, streaming: bool) -> None:
        """The call leaves: from here on it is the provider that takes its time."""
        pace = self._paces.get(ticket.deployment)
        if pace is None:
            pace = self._paces[ticket.deployment] = Pace()
        pace.sent(ticket, now, streaming=streaming)

    def spoke(self, ticket: Ticket, now: float, left: float | None = None) -> None:
        """The call has said something. *left*: seconds for which it says that nothing is left of the limits."""
        seconds = self._paces[ticket.deployment].spoke(ticket, now)
        if seconds is not None:
            self.first_token(ticket.deployment, seconds)
        if left is not None:
            pool = self._pools.setdefault(ticket.provider, KeyPool(()))
            pool.spare(ticket.key.label if ticket.key is not None else None, now, left)

    def succeeded(self, ticket: Ticket, now: float, tokens: int | None = None) -> State | None:
        """The call was answered, with so many *tokens*. The circuit's new state, if it changed."""
        name = ticket.deployment
        pace = self._paces.get(name)
        if pace is not None:
            pace.answered(ticket, now, tokens or 0)
        self._load[name] = max(self._load.get(name, 0) - 1, 0)
        self._retries[name] = min(self._retries.get(name, RETRIES) + RETRY_PER_SUCCESS, RETRIES)
        pool = self._pools.get(ticket.provider)
        if pool is not None:
            pool.succeeded(ticket.key.label if ticket.key is not None else None, ticket.began)
        slots = self._slots.get(ticket.provider)
        if slots is not None:
            slots.succeeded(ticket.began)
        circuit = self._circuits[name]
        return circuit.state if circuit.success(now, ticket.began, probe=ticket.probe) else None

    def failed(self, ticket: Ticket, error: ProviderError, now: float) -> State | None:
        """The call has failed. The circuit's new state, if it changed."""
        self._ended(ticket)
        name = ticket.deployment
        circuit = self._circuits[name]
        self._last[name] = error
        if throttles(error):
            self._throttled(ticket.provider, now)
        if isinstance(error, RateLimited) and ticket.key is None and not slows_down(error):
            self._cool(name, now, error.retry_after or THROTTLED)  # without a key there is only the deployment to rest
        if not self._speaks_against(ticket, error):
            circuit.neutral(ticket.began, probe=ticket.probe)
            return None
        if error.retry_after is not None:
            self._cool(name, now, error.retry_after)
        if isinstance(error, ModelNotFound):
            return circuit.state if circuit.open_for(now, ticket.began, GONE) else None
        return circuit.state if circuit.failure(now, ticket.began, self._rng, probe=ticket.probe) else None

    def key_failed(self, ticket: Ticket, error: ProviderError, now: float) -> bool:
        """Note what *error* says of the key. True the first time that it is found dead."""
        if ticket.key is None or not isinstance(error, CredentialFailed | RateLimited) or slows_down(error):
            return False
        return self._pools[ticket.provider].failed(ticket.key.label, error, now)

    def resting(self, ticket: Ticket, now: float) -> float:
        """Seconds that the key which *ticket* went out with is left alone; without a key, its deployment."""
        if ticket.key is None:
            return max(self._cooling.get(ticket.deployment, 0.0) - now, 0.0)
        rest = self._pools[ticket.provider].rests.get(ticket.key.label)
        return max(rest.until - now, 0.0) if rest is not None else 0.0

    def canceled(self, ticket: Ticket) -> None:
        """The caller did not want it any more: that says nothing of the deployment."""
        self._ended(ticket)
        self._circuits[ticket.deployment].neutral(ticket.began, probe=ticket.probe)

    def forget_load(self) -> None:
        """Nothing is under way any more, whatever had begun: it was another process's."""
        self._load.clear()
        self._slots.clear()
        for pace in self._paces.values():
            pace.forget_calls()

    def first_token(self, name: str, seconds: float) -> None:
        """It took *seconds* until the deployment *name* said something."""
        known = self._latency.get(name)
        self._latency[name] = seconds if known is None else known + SMOOTHING * (seconds - known)

    def learned(self, fact: Fact, endpoint: Endpoint) -> bool:
        """Note *fact* about *endpoint*; False if it was known."""
        facts = self._facts.get(fact.deployment, ())
        if any((known.param, known.allowed) == (fact.param, fact.allowed) for known in facts):
            return False
        self._facts[fact.deployment] = (*facts, fact)
        self._known[fact.deployment] = knowing(endpoint, (fact,))
        return True

    # -- what is known

    def load(self, name: str) -> int:
        """Calls under way at the deployment *name*."""
        return self._load.get(name, 0)

    def latency(self, name: str) -> float | None:
        """Seconds to the first token, lately; None if unknown."""
        return self._latency.get(name)

    def timed(self) -> Collection[str]:
        """The deployments that were ever sent a call."""
        return self._paces.keys()

    def seconds(self, name: str, tokens: int, now: float, *, streaming: bool) -> float | None:
        """How long the deployment *name* takes to answer with so many *tokens*, lately; None if unknown."""
        pace = self._paces.get(name)
        return None if pace is None else pace.seconds(tokens, streaming=streaming, now=now)

    def unasked_for(self, name: str, now: float) -> float:
        """Seconds since the deployment *name* was sent a call."""
        pace = self._paces.get(name)
        return float("inf") if pace is None else now - pace.asked

    def state(self, name: str) -> State:
        """The state of the deployment's circuit."""
        circuit = self._circuits.get(name)
        return circuit.state if circuit is not None else "closed"

    def last_error(self, name: str) -> ProviderError | None:
        """How the deployment *name* failed last."""
        return self._last.get(name)

    # -- as a value

    def snapshot(self, deployments: Iterable[Deployment], now: float) -> dict[str, Any]:
        """What is known of *deployments*, their keys and accounts, ready for JSON; what is as at first is left out.

        Whoever restores it gets the same answers. Not in it: a key, the last failure (it only words a reason), which
        conversation was where, what routes have spent, and what decides nothing before the next outcome.
        """
        said: dict[str, dict[str, Any]] = {}
        for deployment in deployments:
            for what, name, known in self._known_of(deployment, now):
                if known:
                    said.setdefault(what, {})[name] = known
        return said

    def _known_of(self, deployment: Deployment, now: float) -> Iterator[tuple[str, str, Any]]:
        name, provider = deployment.name, deployment.provider.name
        if (circuit := self._circuits.get(name)) is not None:
            yield "circuits", name, circuit.snapshot()
        if (until := self._cooling.get(name, 0.0)) > now:
            yield "cooling", name, until
        if (left := self._retries.get(name, RETRIES)) != RETRIES:
            yield "retries", name, [left]  # in a list, because 0 is something too
        yield "load", name, self._load.get(name)
        yield "latency", name, self._latency.get(name)
        yield "usual", name, self._usual.get(name)
        if (pace := self._paces.get(name)) is not None:
            yield "paces", name, pace.snapshot()
        for known in (name, provider):
            if (slots := self._slots.get(known)) is not None:
                yield "slots", known, slots.snapshot()
        yield "facts", name, [fact.lesson for fact in self._facts.get(name, ())]
        if (pool := self._pools.get(provider)) is not None:
            yield "pools", provider, pool.snapshot()
        for limited in (provider, name):
            if (account := self._accounts.get(limited)) is not None:
                yield "accounts", limited, account.snapshot(now)

    @classmethod
    def restored(cls, said: Mapping[str, Any], deployments: Iterable[Deployment]) -> Self:
        """The health that a `snapshot` was taken of, as far as it is about *deployments*; of all else nothing is known."""
        health, known = cls(), {deployment.name: deployment for deployment in deployments}
        providers = {deployment.provider.name: deployment.provider for deployment in known.values()}
        health._circuits.update((name, Circuit.restored(one)) for name, one in said.get("circuits", {}).items())
        health._retries.update((name, left) for name, (left,) in said.get("retries", {}).items())
        for what in ("cooling", "load", "latency", "usual"):
            getattr(health, f"_{what}").update(said.get(what, {}))
        for name, lessons in said.get("facts", {}).items():
            for lesson in lessons if name in known else ():
                health.learned(Fact.of(name, lesson), health.endpoint(known[name]))
        health._paces.update((name, Pace.restored(one)) for name, one in said.get("paces", {}).items())
        health._slots.update((name, Slots.restored(one)) for name, one in said.get("slots", {}).items())
        for name, one in said.get("pools", {}).items():
            if name in providers:
                health._pool(providers[name]).restore(one)
        for name, one in said.get("accounts", {}).items():
            limits = known[name].limits if name in known else providers[name].limits if name in providers else None
            if limits is not None:
                account = Account(limits.requests_per_minute, limits.tokens_per_minute)
                account.restore(one)
                health._accounts[name] = account
        return health

    def _pool(self, provider: Provider) -> KeyPool:
        pool = self._pools.get(provider.name)
        if pool is None:
            pool = self._pools[provider.name] = KeyPool(provider.keys)
        return pool

    def _cool(self, name: str, now: float, seconds: float) -> None:
        """Let a deployment rest; a rest is only ever extended."""
        self._cooling[name] = max(self._cooling.get(name, 0.0), now + min(seconds, LONGEST_COOLDOWN))

    def _throttled(self, provider: str, now: float) -> None:
        """Too much came at once."""
        slots = self._slots.get(provider)
        if slots is not None:
            slots.throttled(now)

    def _ended(self, ticket: Ticket) -> None:
        pace = self._paces.get(ticket.deployment)
        if pace is not None:
            pace.left(ticket)
        self._load[ticket.deployment] = max(self._load.get(ticket.deployment, 0) - 1, 0)

    def _speaks_against(self, ticket: Ticket, error: ProviderError) -> bool:
        """Whether *error* counts against the deployment; a time that was too short for it anyway does not."""
        if error.blames != "deployment":
            return False
        if isinstance(error, ProviderTimeout) and error.phase == "answer":
            known = self._latency.get(ticket.deployment)
            return known is None or ticket.limit >= known
        return True
