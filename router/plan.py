"""Whom to ask, in which order, and why the others are out. Pure.

Knows a plan: candidates in order and the excluded, worked out as far as it is looked at (`router.walk`), so that the first
candidate costs one translation, however many deployments stand behind it. Refuses to do I/O and to read clocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import TYPE_CHECKING, cast

from providers.types import Request, Usage
from router.candidates import Candidate, Excluded, Setting
from router.terms import Terms, terms
from router.walk import Walk

if TYPE_CHECKING:
    from router.config import Route

__all__ = ["Candidate", "Excluded", "Plan", "Setting", "make_plan"]


class Plan:
    """The candidates of one request in order, and the deployments that are out. Worked out as it is read.

    *route*: its name. *policy*: the route's, with what the request says otherwise.
    """

    __slots__ = ("_candidates", "_count", "_excluded", "_route", "_setting", "_source", "_terms", "_walk", "policy", "request",
                 "route")  # fmt: skip

    def __init__(
        self,
        request: Request,
        route: Route,
        terms: Terms,
        setting: Setting,
        walk: Walk,
    ) -> None:
        self.request, self.route, self.policy = request, route.name, terms.policy
        self._route, self._terms, self._setting, self._walk = route, terms, setting, walk
        self._source: Iterator[Candidate | Excluded] | None = None  # once more than the first candidate was wanted
        self._count = len(route.deployments)
        self._candidates: list[Candidate] = []
        self._excluded: list[Excluded] = []

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        self._work_out(None)
        return tuple(self._candidates)

    @property
    def excluded(self) -> tuple[Excluded, ...]:
        self._work_out(None)
        return tuple(self._excluded)

    @property
    def seen(self) -> Sequence[Candidate]:
        """The candidates as far as they have been worked out; looks at none that has not been looked at."""
        return self._candidates

    @property
    def passed(self) -> Sequence[Excluded]:
        """The deployments that were passed over so far: out, or put off behind all others, each with its why.

        Only ever longer; who is put off may still become a candidate.
        """
        return self._walk.passed

    @property
    def names(self) -> tuple[str, ...]:
        """Every deployment of the route, in the order of the file."""
        return tuple(deployment.name for deployment in self._route.deployments)

    def candidate(self, place: int) -> Candidate | None:
        """The candidate at *place*; None when there are not so many. Works out no more than that."""
        known = self._candidates
        if place >= len(known):
            self._work_out(place)
        return known[place] if place < len(known) else None

    def may_have(self, place: int) -> bool:
        """Whether there may be a candidate at *place*; looks at none that has not been looked at."""
        return place < len(self._candidates) or len(self._candidates) + len(self._excluded) < self._count

    def wait(self, candidate: Candidate, *, failed: int = 0) -> float | None:
        """Seconds until *candidate* may be asked, as things stand now; None if it may not.

        *failed*: how often this request has failed there. Where that alone would have opened the circuit, it does not
        keep this request away: how often one request may ask is the policy's to say. A trickle is one call, and no more.
        """
        standing, now = self._setting.standing, self._setting.now()
        bar = standing.barred(candidate.target, now)
        own = failed >= self.policy.circuit.failures
        if bar is not None and not (bar.kind == "circuit" and (own or (candidate.trickle and not failed))):
            return None
        return standing.ready_in(candidate.target, now)

    def is_outdated(self) -> bool:
        """Whether somebody who was out for a while may be asked again, as things stand now."""
        shut = self._walk.shut
        if not shut:
            return False
        standing, now = self._setting.standing, self._setting.now()
        return any(standing.barred(deployment, now) is None for deployment in shut)

    def may_be_sooner(self, awaited: Candidate, seconds: float) -> bool:
        """Whether the state of anybody else would let it be asked within so many *seconds*; cheaper than to plan anew.

        Who is full is not sooner: whoever left one queue for another would only lose his place.
        """
        standing, now = self._setting.standing, self._setting.now()
        return any(
            one.name != awaited.deployment
            and one.weight > 0
            and standing.ready_in(one, now) < seconds
            and standing.barred(one, now) is None
            and standing.aside(one, now) is None
            for one in self._route.deployments
        )

    def renewed(self, rng: Random | None = None) -> Plan:
        """The plan for the same request, as things stand now; by the chance *rng*, or the same as before."""
        return Plan(self.request, self._route, self._terms, self._setting, self._walk.anew(rng))

    def give_back_retry(self, candidate: Candidate) -> None:
        """A retry that was taken out of *candidate*'s bucket and not made."""
        self._setting.standing.give_back_retry(candidate.target)

    def other_key(self, candidate: Candidate, label: str | None) -> bool:
        """Whether *candidate* may be asked again at once with another key than the one named *label*."""
        return self._setting.standing.other_key(candidate.target, label, self._setting.now())

    def may_retry(self, candidate: Candidate) -> bool:
        """Whether *candidate* has a retry left in its bucket."""
        return self._setting.standing.may_retry(candidate.target)

    def spend_retry(self, candidate: Candidate) -> None:
        """Take a retry out of *candidate*'s bucket."""
        self._setting.standing.spend_retry(candidate.target)

    def remember(self, candidate: Candidate, usage: Usage) -> None:
        """*candidate* has answered: where the route keeps conversations together, the next turn goes there too."""
        affinity = self._route.affinity
        if affinity is None:
            return
        setting = self._setting
        key = setting.standing.memory.key(self._route.name, affinity.by, self.request)
        if key is not None:
            tokens = (usage.prompt_tokens or 0) + (usage.completion_tokens or 0)
            setting.standing.memory.remember(key, candidate.deployment, setting.now(), tokens)

    def _work_out(self, place: int | None) -> None:
        known = self._candidates
        if self._source is None:
            if not known and (head := self._walk.head()) is not None:
                known.append(head)
            if place is not None and len(known) > place:
                return
            self._source = self._walk.steps()
        elif place is not None and len(known) > place:
            return
        for found in self._source:
            if found.__class__ is not Candidate:
                self._excluded.append(cast("Excluded", found))
                continue
            known.append(found)
            if len(known) - 1 == place:
                return

    def __repr__(self) -> str:
        names = ", ".join(candidate.deployment for candidate in self.candidates)
        return f"<Plan {self.route}: {names or 'nobody'}; {len(self.excluded)} excluded>"


def make_plan(
    request: Request,
    route: Route,
    setting: Setting,
    *,
    rng: Random,
    streaming: bool = False,
    key: str = "plan",
    tokens: int | None = None,
) -> Plan:
    """The plan for *request* on *route*. *rng* decides where the route leaves it to chance; *key* names the request.

    *tokens*: of the prompt, where somebody has counted them before.

    Raises:
        InvalidRequest: the request asks for more than the route allows, or names somebody who is not in it.
    """
    agreed = terms(route, request)
    walk = Walk(request, route, agreed, setting, rng=rng, streaming=streaming, key=key, tokens=tokens)
    return Plan(request, route, agreed, setting, walk)
