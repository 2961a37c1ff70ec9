"""The shorter way of a request whose first attempt is sent at once and goes well: of nearly every one in a simulation.

Knows what an attempt (`router.under_way`) takes and gives back, and what is told of it and when, where nothing goes wrong.
The same is told to the same health at the same moments, so that a simulation is the same to the byte on both ways;
`tests/simulation/test_shortcuts.py` holds them to it. Refuses to decide anything, and whatever could go otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from providers.quick import quick
from providers.types import Usage
from router import estimate
from router.lab.simulation.exchange import goes_well
from router.policy import Try

if TYPE_CHECKING:
    from router.candidates import Candidate
    from router.config import Deployment
    from router.health import Health, Ticket
    from router.lab.simulation.clock import QuickLoop
    from router.lab.simulation.course import Course
    from router.lab.simulation.requests import Asked
    from router.lab.simulation.series import Series
    from router.lab.simulation.world import Account, World
    from router.limits import Account as Minute
    from router.limits import Place
    from router.plan import Plan
    from router.run import Run
    from router.slots import Slots

Sent = tuple["Course", tuple["Account", ...]]
"""What becomes of a call, and the accounts that it is under way at."""
Paid = tuple[Usage, float | None]
"""What an answer has used, and the dollars that it costs."""
_usage = quick(Usage)


class Shortcuts:
    """What the shorter ways through one router have in common. *over* is called at the end of each, which is then counted.

    *sent*: what becomes of the call that is made next, where it was asked of the world before.
    """

    __slots__ = ("_paid", "health", "loop", "over", "sent", "series", "world")

    def __init__(self, health: Health, world: World, series: Series, loop: QuickLoop, over: Callable[[], None]) -> None:
        self.health, self.world, self.series, self.loop, self.over = health, world, series, loop, over
        self._paid: dict[tuple[str, int, int], Paid] = {}
        self.sent: Sent | None = None

    def taken(self, run: Run, asked: Asked, *, streaming: bool) -> bool:
        """Whether *run* takes the shorter way, and is on it; else it has to go the whole way, and that at once.

        Then nothing was told so far; but where its first attempt is *sent*, what becomes of it is settled.
        """
        step, plan = run.step, run.plan
        policy = plan.policy
        if step.__class__ is not Try or step.delay or run.reserved:
            return False  # nobody to ask, or not now; or a budget that wants to be told what it has cost
        if policy.hedge is not None or policy.hold is not None:
            return False  # something else may happen meanwhile
        candidate = run.candidate(step)
        target, health, now = candidate.target, self.health, run.began
        known = health.of(target)
        if known.circuit is not None and known.circuit.state != "closed":
            return False  # a probe is told of
        slots, minutes = known.places(target), known.minutes(target) if target.per_minute else ()
        if not _is_free(slots, minutes, now, asked.prompt):
            return False
        sent = course, _ = self.world.asked(target.name, now, asked.prompt, asked.answer, streaming=streaming)
        if not goes_well(course, policy.timeouts, step.limit, policy.deadline, streaming=streaming):
            self.sent = sent
            return False
        ticket = health.began(target, now, limit=step.limit, circuit=policy.circuit)
        for slot in slots:
            slot.take()
        places = tuple([(minute, minute.reserve(now, asked.prompt)) for minute in minutes]) if minutes else ()
        health.sent(ticket, now, streaming=streaming)
        way = _Shortcut(self, plan, candidate, ticket, asked.prompt, sent, slots, places)
        if streaming:
            self.loop.at(now + course.first, way.speaks)
        else:
            self.loop.at(now + course.end, way.ends)
        return True

    def paid(self, target: Deployment, prompt: int, tokens: int) -> Paid:
        """What an answer of *tokens* to so long a *prompt* has used, and what it costs: worked out once."""
        found = self._paid.get(key := (target.name, prompt, tokens))
        if found is None:
            usage = _usage(prompt, tokens, prompt + tokens)
            found = self._paid[key] = usage, estimate.price_of(usage, target.price).usd
        return found


def _is_free(slots: tuple[Slots, ...], minutes: tuple[Minute, ...], now: float, tokens: int) -> bool:
    """Whether the limits of account and deployment leave a place at once."""
    for slot in slots:
        if slot.is_full:
            return False
    return not minutes or all(minute.wait(now, tokens) <= 0 for minute in minutes)


class _Shortcut:
    """One request under way: what it holds, until its answer is whole."""

    __slots__ = ("_accounts", "_candidate", "_course", "_first", "_places", "_plan", "_prompt", "_slots", "_ticket",
                 "_ways")  # fmt: skip

    def __init__(  # noqa: PLR0917  # by place: one is made for nearly every request
        self,
        ways: Shortcuts,
        plan: Plan,
        candidate: Candidate,
        ticket: Ticket,
        prompt: int,
        sent: Sent,
        slots: tuple[Slots, ...],
        places: tuple[tuple[Minute, Place], ...],
    ) -> None:
        self._ways, self._plan, self._candidate, self._ticket, self._prompt = ways, plan, candidate, ticket, prompt
        self._course, self._accounts = sent
        self._slots, self._places = slots, places
        self._first: float | None = None  # seconds to the first token of a stream

    def speaks(self) -> None:
        """The first token of a stream has come."""
        ways, ticket = self._ways, self._ticket
        loop = ways.loop
        now = loop.clock
        ways.health.spoke(ticket, now)
        self._first = passed = now - ticket.began
        loop.at(now + (self._course.end - passed), self.ends)

    def ends(self) -> None:
        """The whole answer has come; one that is no stream says its first word with it."""
        ways, ticket, target, tokens = self._ways, self._ticket, self._candidate.target, self._course.tokens
        first, health, now, began = self._first, ways.health, ways.loop.clock, ticket.began
        if first is None:
            health.spoke(ticket, now)
        usage, usd = ways.paid(target, self._prompt, tokens)
        for minute, place in self._places:
            minute.used(place, self._prompt + tokens)
        health.succeeded(ticket, now, tokens)
        self._plan.remember(self._candidate, usage)
        for slot in self._slots:
            slot.give_back(now - began)
        for account in self._accounts:
            account.left()
        ways.series.answered(began, target.name, usd, first, now - began)
        ways.over()
