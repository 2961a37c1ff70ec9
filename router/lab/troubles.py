"""Fault scripts as values: who has which trouble, when; and who plays the roles of a route. Pure.

Knows roles, counts, windows and shares, and answers for every request which fault it meets. Refuses to know YAML
(`script`), how a fault is carried out (emulators, simulation), a clock and chance (arguments), and to judge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

from providers.errors import nearest
from router.lab.demands import ANYTHING, Demands
from router.lab.faults import Fault
from router.problems import Problem

ROLES = ("first", "second", "rest", "all", "account")


@dataclass(frozen=True, slots=True)
class When:
    """When a fault holds; what is None does not matter.

    *first*, *last*: of the requests that whoever is meant gets, counted from 1. *begin*, *until*: seconds since the
    script began. *continuation*: only requests that ask to go on with an answer that has begun. *share*: the chance of
    each request, 0 to 1.
    """

    first: int | None = None
    last: int | None = None
    begin: float | None = None
    until: float | None = None
    share: float | None = None
    continuation: bool = False

    def holds(self, number: int, now: float, rng: Random, *, continues: bool = False) -> bool:
        """Whether it holds for request *number* at *now*. Draws from *rng* only where all else holds."""
        if self.continuation and not continues:
            return False
        if (self.first is not None and number < self.first) or (self.last is not None and number > self.last):
            return False
        if (self.begin is not None and now < self.begin) or (self.until is not None and now >= self.until):
            return False
        return self.share is None or rng.random() < self.share


ALWAYS = When()


@dataclass(frozen=True, slots=True)
class Trouble:
    """One entry of a script. *who*: roles, providers or deployments; *line* of the file, where there is one."""

    who: tuple[str, ...]
    what: Fault
    when: When = ALWAYS
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Callers:
    """Who calls while a script runs: *count* requests, one *every* so many seconds, streamed or whole.

    *count* None: as many as the script's times need. *request*: canonical fields that they ask beside what the route's
    callers rely on.
    """

    count: int | None = None
    every: float = 2.0
    stream: bool = True
    request: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Script:
    """Troubles in the order in which they are asked: the first that holds is the one.

    *says*: for a person. *seed*: of `share`. *expect*: `answer`, or the classes of errors that are right, or nothing is
    expected but honesty (`error`). *demands*: what else has to come of it. *file*: where it stands.
    """

    name: str
    says: str = ""
    seed: int = 0
    troubles: tuple[Trouble, ...] = ()
    expect: tuple[str, ...] = ("answer",)
    callers: Callers = Callers()
    file: str | None = None
    demands: Demands = ANYTHING

    def cast(self, order: Sequence[str], accounts: Mapping[str, str] | None = None) -> Cast:
        """The script over the deployments of a route, in the *order* in which they are asked.

        *accounts*: by provider, where two of them are one account in truth.
        """
        return Cast(self, order, accounts or {})

    def strangers(self, known: Sequence[str]) -> tuple[Problem, ...]:
        """What names nobody: neither a role nor one of the deployments *known*, nor a provider of them."""
        names = {*ROLES, *known, *(provider_of(name) for name in known)}
        meant = [(who, trouble.line) for trouble in self.troubles for who in trouble.who]
        meant += [(who, self.demands.line) for who in self.demands.names]
        return tuple(
            Problem(f"{who!r} is nobody here", file=self.file, line=line, hint=nearest(who, names))
            for who, line in meant
            if who not in names
        )

    @property
    def ends(self) -> float | None:
        """When the last time window is over; None if there is none that ends."""
        return max((one.when.until for one in self.troubles if one.when.until is not None), default=None)


class _Part(NamedTuple):
    """A trouble that one deployment may have; *counted*: under which name its requests are counted."""

    trouble: Trouble
    counted: str


@dataclass
class Cast:
    """A script with its roles given to the deployments of one route. Counts what each of them is asked.

    *order*: the deployments as `provider/model`, the one that is asked first at the head. A deployment that is not in it
    plays no role; its own name and its provider's are heard all the same.
    """

    script: Script
    order: Sequence[str]
    accounts: Mapping[str, str] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict, init=False)
    _parts: dict[str, tuple[_Part, ...]] = field(default_factory=dict, init=False)

    def fault_for(
        self,
        deployment: str,
        now: float,
        rng: Random,
        fits: Callable[[Fault], bool] = lambda _: True,
        *,
        counts: bool = True,
        continues: bool = False,
    ) -> Fault | None:
        """The fault of a request that arrives at *deployment* at *now*, seconds since the script began; None if none.

        *fits*: whether a fault can be carried out on this request; one that cannot leaves it to the next entry.
        *counts*: False for what belongs to an earlier request (a poll). *continues*: whether the request asks to go on
        with an answer that has begun.
        """
        if counts:
            for name in (deployment, provider_of(deployment)):
                self._counts[name] = self._counts.get(name, 0) + 1
        for trouble, counted in self.parts(deployment):
            if fits(trouble.what) and trouble.when.holds(self._counts.get(counted, 0), now, rng, continues=continues):
                return trouble.what
        return None

    def parts(self, deployment: str) -> tuple[_Part, ...]:
        """The troubles that *deployment* may have, in order."""
        found = self._parts.get(deployment)
        if found is None:
            found = self._parts[deployment] = tuple(self._parts_of(deployment))
        return found

    def _parts_of(self, deployment: str) -> Iterator[_Part]:
        provider, roles = provider_of(deployment), self.roles(deployment)
        for trouble in self.script.troubles:
            if deployment in trouble.who or roles & set(trouble.who):
                yield _Part(trouble, deployment)
            elif provider in trouble.who:
                yield _Part(trouble, provider)

    def meant(self, who: str) -> tuple[str, ...]:
        """The deployments of the order that *who*, a role, a provider or a deployment, means."""
        return tuple(name for name in self.order if who in {name, provider_of(name), *self.roles(name)})

    def roles(self, deployment: str) -> set[str]:
        """The roles of *deployment*."""
        if deployment not in self.order:
            return set()
        place = list(self.order).index(deployment)
        roles = {"all", "first"} if place == 0 else {"all", "rest", *(["second"] if place == 1 else [])}
        return roles | ({"account"} if self._account(deployment) == self._account(self.order[0]) else set())

    def _account(self, deployment: str) -> str:
        provider = provider_of(deployment)
        return self.accounts.get(provider, provider)

    @property
    def concerned(self) -> tuple[str, ...]:
        """The deployments of the order that may have any trouble at all."""
        return tuple(name for name in self.order if self.parts(name))


def provider_of(deployment: str) -> str:
    """The provider of `provider/model`."""
    return deployment.partition("/")[0]
