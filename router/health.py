"""What is known of each deployment and each key: who may be asked, how busy and how quick it is.

Knows which outcome speaks against whom: a deployment's circuit, a key, or nobody; what is known of one deployment is one
record (`router.known`). Refuses to read clocks (`now` is an argument) and to decide whom to ask (`router.plan`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Literal, Self

from providers.errors import CredentialFailed, ModelNotFound, ProviderError, ProviderTimeout, RateLimited
from providers.quick import quick
from router.affinity import Memory
from router.budget import Budget
from router.circuit import Circuit, State
from router.hedge import Hedges
from router.keys import THROTTLED
from router.known import RETRIES, Known, KnownAccount
from router.learning import Fact, knowing
from router.pace import Pace
from router.slots import slows_down, throttles

if TYPE_CHECKING:
    from providers.dialect import Endpoint
    from router.config import CircuitSettings, Deployment, Key, Provider, Route, Tier

SMOOTHING = 0.2  # weight of the newest first-token time in the running average
GONE = 600.0  # seconds that a model which is not there rests
LONGEST_COOLDOWN = 900.0  # seconds that one Retry-After can cool a deployment
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
    known: Known = field(repr=False)
    moved: State | None = None
    """The circuit's new state, if the call moved it."""


_bar, _ticket = quick(Bar), quick(Ticket)


class Health:
    """The state of everything that a router asks. One per router, used from one event loop.

    *rng*: for jitter. *secret*: the key under which conversations are remembered. *memory*: those conversations.
    """

    def __init__(self, rng: Random | None = None, *, secret: bytes = b"") -> None:
        self._rng = rng or Random(0)
        self.memory = Memory(secret)
        self.hedges = Hedges()
        self._deployments: dict[str, Known] = {}
        self._accounts: dict[str, KnownAccount] = {}
        self._timed: dict[str, None] = {}  # deployments that were ever sent a call, in that order
        self._budgets: dict[str, Budget] = {}

    def of(self, deployment: Deployment) -> Known:
        """The record of *deployment*."""
        known = self._deployments.get(deployment.name)
        if known is None:
            known = Known(deployment.name, self.account(deployment.provider))
            self._deployments[deployment.name] = known
        return known

    def account(self, provider: Provider) -> KnownAccount:
        """The record of *provider*'s account."""
        known = self._accounts.get(provider.name)
        if known is None:
            known = self._accounts[provider.name] = KnownAccount(provider, provider.usable)
        return known

    # -- may it be asked?

    def unhindered(self, deployment: Deployment, tier: Tier, now: float) -> bool:
        """Whether nothing at all speaks against asking *deployment* now and in its place.

        That is what `barred`, `ready_in`, `aside` and `slow` say one by one, asked at once because it is nearly always so.
        False where any of them has something to say, or may have.
        """
        known = self._deployments.get(deployment.name)
        if known is None or known.circuit is None or known.cooling > now:
            return False
        account, circuit, own = known.account, known.circuit, known.slots
        pool, slots = account.pool, account.slots
        if circuit.state != "closed" or now - circuit.since < RAMP or not account.usable:
            return False
        if pool is not None and (pool.rests or pool.spared):
            return False
        if (slots is not None and slots.is_full) or (own is not None and own.is_full):
            return False
        if account.minute is not None and account.minute.wait(now) > 0:
            return False
        if known.minute is not None and known.minute.wait(now) > 0:
            return False
        return known.pace is None or len(tier.members) < 2 or known.pace.is_calm(now)

    def barred(self, deployment: Deployment, now: float) -> Bar | None:
        """Why *deployment* must not be asked now; None if it may, perhaps after `ready_in`."""
        provider = deployment.provider
        if not provider.usable:
            names = " or ".join(provider.missing) or "its environment variable"
            return _bar("config", f"no API key: set {names}, or api_key under providers.{provider.name}")
        account = self._accounts.get(provider.name)
        pool = account.pool if account is not None else None
        if pool is not None and pool.rests and pool.keys and pool.ready_in(now) is None:
            return _bar("keys", pool.why_dead(now), min(max(rest.until - now, 0.0) for rest in pool.rests.values()))
        known = self._deployments.get(deployment.name)
        circuit = known.circuit if known is not None else None
        if known is None or circuit is None or circuit.admits(now):
            return None
        why = f"its circuit is {circuit.state.replace('_', '-')}{known.after}"
        return _bar("circuit", why, circuit.retry_in(now))

    def ready_in(self, deployment: Deployment, now: float) -> float:
        """Seconds that *deployment* is not to be asked for: it asked for it, or its account's limits are used up."""
        known, account = self._deployments.get(deployment.name), self._accounts.get(deployment.provider.name)
        seconds = known.cooling - now if known is not None else 0.0
        if account is not None:
            pool = account.pool
            if pool is not None and pool.rests and pool.keys:
                seconds = max(seconds, pool.ready_in(now) or 0.0)
            if account.minute is not None:
                seconds = max(seconds, account.minute.wait(now))
        if known is not None and known.minute is not None:
            seconds = max(seconds, known.minute.wait(now))
        return max(0.0, seconds)

    def aside(self, deployment: Deployment, now: float) -> str | None:
        """Why others should be asked before *deployment*, though it may be asked; None where nothing speaks for that."""
        known, account = self._deployments.get(deployment.name), self._accounts.get(deployment.provider.name)
        if account is not None and account.pool is not None:
            seconds = account.pool.spared_for(now)
            if seconds:
                return f"its last answer left nothing of its limits for {seconds:.3g} s"
        for name, slots in (
            (deployment.provider.name, account.slots if account is not None else None),
            (deployment.name, known.slots if known is not None else None),
        ):
            if slots is not None and slots.is_full:
                return f"{slots.under_way} calls are under way at {name}, and it carries no more"
        if known is None or known.circuit is None:
            return None
        back = now - known.circuit.since
        return _ramping(known, back) if known.circuit.state == "closed" and back < RAMP else None

    def slow(self, deployment: Deployment, tier: Tier, now: float) -> str | None:
        """Why *deployment* is slow, for itself and beside the others of its *tier*; None where it is not."""
        pace = self._pace(deployment.name)
        if pace is None or len(tier.members) < 2:
            return None
        return pace.slow(now, lambda: self._peers(deployment, tier, now))

    def _peers(self, deployment: Deployment, tier: Tier, now: float) -> list[Pace]:
        return [
            pace
            for one in tier.members
            if (pace := self._pace(one.name)) is not None
            and one.name != deployment.name
            and self.barred(one, now) is None
        ]

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
        bar, circuit = self.barred(deployment, now), self.of(deployment).circuit
        return bar is not None and bar.kind == "circuit" and circuit is not None and circuit.may_trickle(now)

    def other_key(self, deployment: Deployment, label: str | None, now: float) -> bool:
        """Whether the account has a key that may be used now and is not the one named *label*."""
        account = self._accounts.get(deployment.provider.name)
        pool = account.pool if account is not None else None
        return pool is not None and pool.ready_in(now, besides=label) == 0.0

    def may_retry(self, deployment: Deployment) -> bool:
        """Whether the deployment's bucket of retries, filled by its successes, holds one."""
        return self.of(deployment).retries >= 1.0

    def spend_retry(self, deployment: Deployment) -> None:
        """Take a retry out of the deployment's bucket."""
        known = self.of(deployment)
        known.retries = max(known.retries - 1.0, 0.0)

    def give_back_retry(self, deployment: Deployment) -> None:
        """Put a retry back that was not made."""
        known = self.of(deployment)
        known.retries = min(known.retries + 1.0, RETRIES)

    def endpoint(self, deployment: Deployment) -> Endpoint:
        """The deployment's endpoint, without what it has shown that it does not take."""
        known = self._deployments.get(deployment.name)
        return deployment.endpoint if known is None or known.endpoint is None else known.endpoint

    # -- what happens

    def began(self, deployment: Deployment, now: float, *, limit: float, circuit: CircuitSettings) -> Ticket:
        """A call goes out: whose turn the key is, and whether it is a probe."""
        provider = deployment.provider
        known = self._deployments.get(deployment.name) or self.of(deployment)
        account = known.account
        key = (account.pool or account.keys()).take(now) if provider.keys else None
        load = known.load = known.load + 1
        state = known.circuit
        if state is None:
            state = known.circuit = Circuit(circuit.failures, circuit.cooldown, circuit.max_cooldown)
        before, probe = state.state, False
        if before == "closed":
            known.usual = max(load, known.usual * FADING)
        else:
            probe = state.began(now, limit)
        moved = state.state if state.state != before else None
        return _ticket(deployment.name, provider.name, key, now, limit, probe, known, moved)

    def sent(self, ticket: Ticket, now: float, *, streaming: bool) -> None:
        """The call leaves: from here on it is the provider that takes its time."""
        pace = ticket.known.pace
        if pace is None:
            pace = ticket.known.pace = Pace()
            self._timed[ticket.deployment] = None
        pace.sent(ticket, now, streaming=streaming)

    def spoke(self, ticket: Ticket, now: float, left: float | None = None) -> None:
        """The call has said something. *left*: seconds for which it says that nothing is left of the limits."""
        known = ticket.known
        seconds = known.pace.spoke(ticket, now) if known.pace is not None else None
        if seconds is not None:
            before = known.latency
            known.latency = seconds if before is None else before + SMOOTHING * (seconds - before)
        if left is not None:
            known.account.keys().spare(ticket.key.label if ticket.key is not None else None, now, left)

    def succeeded(self, ticket: Ticket, now: float, tokens: int | None = None) -> State | None:
        """The call was answered, with so many *tokens*. The circuit's new state, if it changed."""
        known = ticket.known
        account, circuit = known.account, known.circuit
        if known.pace is not None:
            known.pace.answered(ticket, now, tokens or 0)
        if known.load:
            known.load -= 1
        if known.retries < RETRIES:
            known.retries = min(known.retries + RETRY_PER_SUCCESS, RETRIES)
        pool = account.pool
        if pool is not None and (pool.rests or pool.spared):
            pool.succeeded(ticket.key.label if ticket.key is not None else None, ticket.began)
        if account.slots is not None:
            account.slots.succeeded(ticket.began)
        if circuit is None:
            return None  # never: whoever has a ticket has one
        return circuit.state if circuit.success(now, ticket.began, probe=ticket.probe) else None

    def failed(self, ticket: Ticket, error: ProviderError, now: float) -> State | None:
        """The call has failed. The circuit's new state, if it changed."""
        self._ended(ticket)
        known, circuit = ticket.known, ticket.known.circuit
        known.last, known.after = error, f" after {error}"
        if throttles(error) and known.account.slots is not None:
            known.account.slots.throttled(now)  # too much came at once
        if isinstance(error, RateLimited) and ticket.key is None and not slows_down(error):
            _cool(known, now, error.retry_after or THROTTLED)  # without a key there is only the deployment to rest
        if circuit is None:
            return None
        if not _speaks_against(ticket, error):
            circuit.neutral(ticket.began, probe=ticket.probe)
            return None
        if error.retry_after is not None:
            _cool(known, now, error.retry_after)
        if isinstance(error, ModelNotFound):
            return circuit.state if circuit.open_for(now, ticket.began, GONE) else None
        return circuit.state if circuit.failure(now, ticket.began, self._rng, probe=ticket.probe) else None

    def key_failed(self, ticket: Ticket, error: ProviderError, now: float) -> bool:
        """Note what *error* says of the key. True the first time that it is found dead."""
        if ticket.key is None or not isinstance(error, CredentialFailed | RateLimited) or slows_down(error):
            return False
        return ticket.known.account.keys().failed(ticket.key.label, error, now)

    def resting(self, ticket: Ticket, now: float) -> float:
        """Seconds that the key which *ticket* went out with is left alone; without a key, its deployment."""
        if ticket.key is None:
            return max(ticket.known.cooling - now, 0.0)
        rest = ticket.known.account.keys().rests.get(ticket.key.label)
        return max(rest.until - now, 0.0) if rest is not None else 0.0

    def canceled(self, ticket: Ticket) -> None:
        """The caller did not want it any more: that says nothing of the deployment."""
        self._ended(ticket)
        if ticket.known.circuit is not None:
            ticket.known.circuit.neutral(ticket.began, probe=ticket.probe)

    def forget_load(self) -> None:
        """Nothing is under way any more, whatever had begun: it was another process's."""
        for account in self._accounts.values():
            account.slots = None
        for known in self._deployments.values():
            known.load, known.slots = 0, None
            if known.pace is not None:
                known.pace.forget_calls()

    def learned(self, fact: Fact, endpoint: Endpoint) -> bool:
        """Note *fact* about *endpoint*, which belongs to a deployment that was asked; False if it was known."""
        known = self._deployments[fact.deployment]
        if any((one.param, one.allowed) == (fact.param, fact.allowed) for one in known.facts):
            return False
        known.facts = (*known.facts, fact)
        known.endpoint = knowing(endpoint, (fact,))
        return True

    # -- what is known

    def load(self, name: str) -> int:
        """Calls under way at the deployment *name*."""
        known = self._deployments.get(name)
        return known.load if known is not None else 0

    def latency(self, name: str) -> float | None:
        """Seconds to the first token, lately; None if unknown."""
        known = self._deployments.get(name)
        return known.latency if known is not None else None

    def timed(self) -> Collection[str]:
        """The deployments that were ever sent a call."""
        return self._timed.keys()

    def seconds(self, name: str, tokens: int, now: float, *, streaming: bool) -> float | None:
        """How long the deployment *name* takes to answer with so many *tokens*, lately; None if unknown."""
        pace = self._pace(name)
        return None if pace is None else pace.seconds(tokens, streaming=streaming, now=now)

    def unasked_for(self, name: str, now: float) -> float:
        """Seconds since the deployment *name* was sent a call."""
        pace = self._pace(name)
        return float("inf") if pace is None else now - pace.asked

    def state(self, name: str) -> State:
        """The state of the deployment's circuit."""
        known = self._deployments.get(name)
        return known.circuit.state if known is not None and known.circuit is not None else "closed"

    def last_error(self, name: str) -> ProviderError | None:
        """How the deployment *name* failed last."""
        known = self._deployments.get(name)
        return known.last if known is not None else None

    def _pace(self, name: str) -> Pace | None:
        known = self._deployments.get(name)
        return known.pace if known is not None else None

    # -- as a value

    def snapshot(self, deployments: Iterable[Deployment], now: float) -> dict[str, Any]:
        """What is known of *deployments*, their keys and accounts, ready for JSON; what is as at first is left out.

        Whoever restores it gets the same answers. Not in it: a key, the last failure (it only words a reason), which
        conversation was where, what routes have spent, and what decides nothing before the next outcome.
        """
        said: dict[str, dict[str, Any]] = {}
        for deployment in deployments:
            records: tuple[tuple[str, Known | KnownAccount | None], ...] = (
                (deployment.name, self._deployments.get(deployment.name)),
                (deployment.provider.name, self._accounts.get(deployment.provider.name)),
            )
            for name, known in records:
                for what, value in known.snapshot(now) if known is not None else ():
                    if value:
                        said.setdefault(what, {})[name] = value
        return said

    @classmethod
    def restored(cls, said: Mapping[str, Any], deployments: Iterable[Deployment]) -> Self:
        """The health that a `snapshot` was taken of, as far as it is about *deployments*; of all else nothing is known."""
        health = cls()
        for deployment in deployments:
            known = health.of(deployment)
            known.account.restore(said)
            known.restore(said, deployment)
            if known.pace is not None:
                health._timed[deployment.name] = None
            for lesson in said.get("facts", {}).get(deployment.name, ()):
                health.learned(Fact.of(deployment.name, lesson), health.endpoint(deployment))
        return health

    def _ended(self, ticket: Ticket) -> None:
        known = ticket.known
        if known.pace is not None:
            known.pace.left(ticket)
        known.load = max(known.load - 1, 0)


def _ramping(known: Known, back: float) -> str | None:
    """Why others should be asked, *back* seconds after its circuit was closed: the crowd comes little by little."""
    if known.load < max(known.usual * back / RAMP, FEW):
        return None
    return f"it is back since {back:.2g} s, and {known.load} calls are enough so far"


def _cool(known: Known, now: float, seconds: float) -> None:
    """Let a deployment rest; a rest is only ever extended."""
    known.cooling = max(known.cooling, now + min(seconds, LONGEST_COOLDOWN))


def _speaks_against(ticket: Ticket, error: ProviderError) -> bool:
    """Whether *error* counts against the deployment; a time that was too short for it anyway does not."""
    if error.blames != "deployment":
        return False
    if isinstance(error, ProviderTimeout) and error.phase == "answer":
        latency = ticket.known.latency
        return latency is None or ticket.limit >= latency
    return True
