"""What stands for `providers.client.Exchange`: chunks and failures at the times that a course has, under the policy's limits.

Knows the time limits of one exchange as `providers.client.Limits` means them. Refuses to know why a course is as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from providers import errors as e
from providers.quick import quick
from providers.types import Chunk, Usage
from router.lab.simulation.clock import pause

if TYPE_CHECKING:
    from providers.client import Limits
    from router.config import Timeouts
    from router.lab.simulation.course import Course
    from router.lab.simulation.world import Account
    from router.lab.virtual import VirtualLoop

_usage = quick(Usage)
State = Literal["headers", "first", "rest", "whole", "over"]
"""What is awaited."""


class SimulatedExchange:
    """One call under way: `next()` until it is empty, and `close()` in any case.

    *prompt*: its tokens. *number*: what it says; two answers are the same to the letter where their numbers are.
    """

    __slots__ = ("_accounts", "_limits", "_loop", "_name", "_number", "_prompt", "_sent", "_state", "_streaming",
                 "_total", "course", "status")  # fmt: skip

    headers: Mapping[str, str] = MappingProxyType({})
    reader: object = None
    request_id: str | None = None

    def __init__(  # noqa: PLR0917  # by place: one is made for every call
        self,
        course: Course,
        accounts: tuple[Account, ...],
        limits: Limits,
        loop: VirtualLoop,
        name: str,
        prompt: int,
        number: int,
        streaming: bool,  # noqa: FBT001  # as above
    ) -> None:
        self.course, self._accounts, self._limits, self._total = course, accounts, limits, limits.total
        self._loop, self._name, self._prompt, self._number, self._streaming = loop, name, prompt, number, streaming
        self._sent: float = loop.clock
        if course.headers > 0.0:
            self._state: State = "headers"
            self.status: int | None = None
        else:  # the status of a stream comes at once
            self._state, self.status = "first", course.status

    @property
    def clock(self) -> Callable[[], float]:
        """Virtual, as all time here."""
        return self._loop.time

    @property
    def over(self) -> bool:
        """True when nothing more will come."""
        return self._state == "over"

    @property
    def _text(self) -> str:
        """What it says: as long for every number, so that a broken answer costs the same whichever it was."""
        return f"{self._number:08} "

    def extend(self, total: float) -> None:
        """Let the exchange take *total* seconds from its start."""
        self._total = total

    def close(self, *, whole: bool = False) -> None:
        """It is over, for the provider too. May be called again."""
        accounts, self._accounts = self._accounts, ()
        for account in accounts:
            account.left()

    async def next(self) -> list[Chunk]:
        """The next chunks; empty when the answer is over. May be canceled, and called again.

        Raises:
            ProviderError: as the course has it, or a time limit.
        """
        while (state := self._state) != "over":
            course, limits, loop = self.course, self._limits, self._loop
            phase: e.Phase
            at: float | None
            if state == "first" and course.tokens:  # the usual cases, without a detour
                when, phase, at = course.first, "first_token", limits.first_token
            elif state == "rest" and not course.stalls and not self._is_slow():
                when, phase, at = course.end, "idle", None
            else:
                when, phase, at = self._awaited()
            total = self._total
            if at is None or (total is not None and total < at):
                phase, at = "answer", inf if total is None else total
            left = (min(when, at)) - (loop.clock - self._sent)
            if left == inf:
                await loop.create_future()  # nothing limits the wait, and nobody will answer
            if left > 0:
                await pause(left, loop)
            try:
                if when > at:
                    raise self._late(phase, loop.time() - self._sent)
                chunks = self.arrived()
            except e.ProviderError as error:
                error.deployment = self._name
                self.close()
                raise
            if chunks:
                return chunks
        self.close()
        return []

    def _late(self, phase: e.Phase, seconds: float) -> e.ProviderTimeout:
        message = f"nothing that says anything came for {seconds:.3g} s"
        if phase == "answer" and self._state == "rest":
            message = f"the answer was not complete after {seconds:.3g} s"
        return e.ProviderTimeout(message, phase=phase, status=self.status)

    def _awaited(self) -> tuple[float, e.Phase, float | None]:
        """When that happens which comes next, and the limit on it: seconds after the call was sent."""
        course, limits, state = self.course, self._limits, self._state
        end = inf if course.stalls else course.end
        if state == "first":
            return course.first if course.tokens else end, "first_token", _limit(limits.first_token)
        if state == "rest":
            return end, "idle", self._stuck()
        if state == "whole":
            return end, "idle", course.end + _limit(limits.idle)
        first = _limit(limits.first_token if self._streaming else None)
        headers = _limit(limits.headers)
        sooner: tuple[e.Phase, float] = ("headers", headers) if headers <= first else ("first_token", first)
        return min(course.headers, course.end), *sooner

    def _stuck(self) -> float:
        """When a stream has been silent for too long: after its last token, or between two that come too slowly."""
        course, idle = self.course, _limit(self._limits.idle)
        if course.stalls:
            return course.end + idle
        return course.first + idle if self._is_slow() else inf

    def _is_slow(self) -> bool:
        return _is_slow(self.course, self._limits.idle)

    def arrived(self) -> list[Chunk] | None:
        """What was awaited has come: the chunks of it; None for a status.

        Raises:
            ProviderError: it was a failure.
        """
        course, state = self.course, self._state
        self.status = course.status
        if state == "headers":
            if course.failure is not None and course.end <= course.headers:
                raise course.failure()
            self._state = "first" if self._streaming else "whole"
            return None
        if state == "first" and course.tokens:
            self._state = "rest"
            return [Chunk(self._text)]
        if course.failure is not None:
            raise course.failure()
        # The text of a stream has all come with the first token: what matters is when.
        text, prompt = None if state == "rest" else self._text, self._prompt
        self._state = "over"
        self.close()
        return [Chunk(text, finish_reason="stop", usage=_usage(prompt, course.tokens, prompt + course.tokens))]


def _limit(seconds: float | None) -> float:
    return inf if seconds is None else seconds


def _is_slow(course: Course, idle: float | None) -> bool:
    """Whether a stream's tokens come further apart than it may be silent."""
    return idle is not None and course.end - course.first > idle * course.tokens


def goes_well(course: Course, times: Timeouts, limit: float, deadline: float, *, streaming: bool) -> bool:
    """Whether the whole answer comes, and in time: an attempt may take *limit*, and once it speaks all until *deadline*.

    Then nothing happens but its first token and its end.
    """
    if course.failure is not None or course.stalls or not course.tokens:
        return False
    begins, ends = course.first, course.end
    if not streaming:
        return ends <= limit and (times.headers is None or ends <= times.headers)
    if begins > limit or ends > deadline or (times.first_token is not None and begins > times.first_token):
        return False
    return course.headers == 0.0 and not _is_slow(course, times.idle)
