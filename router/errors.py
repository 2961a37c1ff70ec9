"""Every error that a caller can meet, in one place to import from.

Knows the errors that only a router can have. The failures of a single provider live in `providers.errors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from providers.errors import (
    AuthenticationFailed,
    BadRequest,
    BrokenReply,
    CallerFault,
    CertificateRejected,
    ConfigError,
    ConnectionFailed,
    ContentBlocked,
    ContextLengthExceeded,
    CredentialFailed,
    EmptyReply,
    GenerationAborted,
    InvalidRequest,
    LocalFailure,
    MalformedReply,
    ModelNotFound,
    OutOfCredit,
    Overloaded,
    PermissionDenied,
    ProtocolViolation,
    ProviderError,
    ProviderTimeout,
    RateLimited,
    RequestTooLarge,
    RouterError,
    ServerError,
    TruncatedReply,
    Unreachable,
    Untranslatable,
    UpstreamTimeout,
    nearest,
)
from providers.types import Attempt

if TYPE_CHECKING:
    from providers.types import Completion
    from router.plan import Plan

__all__ = [
    "AnswersDisagree",
    "AuthenticationFailed",
    "BadRequest",
    "BrokenReply",
    "BudgetExceeded",
    "CallerFault",
    "CertificateRejected",
    "ConfigError",
    "ConnectionFailed",
    "ContentBlocked",
    "ContextLengthExceeded",
    "ContinuationRejected",
    "CredentialFailed",
    "DeadlineExceeded",
    "DeploymentsExhausted",
    "EmptyReply",
    "GenerationAborted",
    "InvalidRequest",
    "LocalFailure",
    "MalformedReply",
    "ModelNotFound",
    "NoDeployment",
    "NoPlace",
    "OutOfCredit",
    "Overloaded",
    "PermissionDenied",
    "ProtocolViolation",
    "ProviderError",
    "ProviderTimeout",
    "RateLimited",
    "RequestTooLarge",
    "Resting",
    "RouterError",
    "ServerError",
    "StreamInterrupted",
    "TruncatedReply",
    "UnknownModel",
    "Unreachable",
    "Untranslatable",
    "UpstreamTimeout",
]


LISTED = 20  # deployments that were not asked which an error names


class UnknownModel(InvalidRequest):
    """`model` names neither a route, nor a catalog model, nor a deployment."""

    def __init__(self, model: str, known: Sequence[str]) -> None:
        self.model = model
        super().__init__(f"nobody knows {model!r}; {nearest(model, known)}", field="model")


class NoDeployment(RouterError):
    """No deployment of the route may serve the request; nothing was sent. `plan.excluded` says why, one by one."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        reasons = [f"  {out.deployment}: {out.why}" for out in plan.excluded] or ["  the route is empty"]
        head = f"no deployment of {plan.route!r} can serve this request as it is asked:"
        tail = "Ask for less, add a deployment, or allow changes with fidelity: best_effort."
        super().__init__("\n".join([head, *reasons, tail]))


class BudgetExceeded(RouterError):
    """A route's budget is used up; nothing was sent.

    *retry_after*: seconds until there is room for this request; None where it costs more than the whole budget.
    """

    def __init__(self, route: str, limit: float, per: float, estimate: float, retry_after: float | None) -> None:
        self.route, self.limit, self.per, self.estimate, self.retry_after = route, limit, per, estimate, retry_after
        when = "and never will be" if retry_after is None else f"but in {retry_after:.0f} s"
        super().__init__(
            f"the budget of route {route!r} (${limit:g} in {per:g} s) has no room for this request, which would cost about"
            f" ${estimate:.6f}, {when}. Ask for fewer max_tokens, or raise routes.{route}.budget.limit."
        )


def _lines(attempts: Sequence[Attempt]) -> str:
    return "\n".join(f"  {attempt.why or f'{attempt.deployment}: {attempt.outcome}'}" for attempt in attempts)


class DeploymentsExhausted(RouterError, ExceptionGroup[Exception]):
    """Every deployment that could be asked has failed. `exceptions` are the failures, `attempts` the exchanges.

    *why* is what ended it; *others* a line for each deployment of the route that was not asked.
    """

    attempts: tuple[Attempt, ...]

    def __new__(cls, attempts: Sequence[Attempt], *, why: str = "", others: Sequence[str] = ()) -> Self:
        failures = [attempt.error for attempt in attempts if attempt.error is not None]
        made = sum(not isinstance(error, Resting) for error in failures)  # who rests was not asked
        count = f"{made or 'no'} attempt{'s' if made != 1 else ''}"
        text = f"{count}, no answer{f' ({why})' if why else ''}:\n{_lines(attempts)}"
        text = "\n".join([text, *(f"  {other}" for other in others)])
        self = super().__new__(cls, text, failures)
        self.attempts = tuple(attempts)
        return self

    def __init__(self, attempts: Sequence[Attempt], *, why: str = "", others: Sequence[str] = ()) -> None:
        self.why, self.others = why, tuple(others)

    def derive(self, excs: Sequence[Any]) -> DeploymentsExhausted:  # type: ignore[override]  # never another group
        """The group that holds some of the failures: what `except*` and `split` make."""
        kept = [attempt for attempt in self.attempts if attempt.error in excs]
        return DeploymentsExhausted(kept, why=self.why, others=self.others)

    @property
    def retry_after(self) -> float | None:
        """Seconds after which the first of the deployments said that it can be asked again."""
        waits = [wait for error in self.exceptions if (wait := getattr(error, "retry_after", None)) is not None]
        return min(waits) if waits else None


class AnswersDisagree(ProviderError):
    """Another deployment's answer is not the one that the caller has begun to read; it was left at once."""

    here = False
    elsewhere = False
    blames = "nobody"
    billed = True
    advice = "set on_interruption: restart where a consumer can begin again"


class ContinuationRejected(ProviderError):
    """The deployment would not go on from the text delivered so far; that says nothing about the request itself."""

    here = False
    blames = "nobody"


class NoPlace(ProviderError):
    """Our own limits left no place within the time of the attempt: nothing was sent."""

    blames = "local"
    usual = 429
    advice = "spread the load over more deployments, or raise `limits` if the account carries more"


class Resting(ProviderError):
    """The deployment was not asked: its circuit is open, its keys are dead, or it has asked for a rest."""

    blames = "nobody"


def everybody_rests(plan: Plan) -> DeploymentsExhausted | None:
    """The error when deployments could serve and none may be asked now; None where none could serve at all."""
    resting: list[tuple[str, str, float]] = [
        (out.deployment, out.why, out.retry_in) for out in plan.excluded if out.retry_in is not None
    ]
    resting += [
        (candidate.deployment, f"it rests for {candidate.wait:.3g} s", candidate.wait)
        for candidate in plan.candidates
        if candidate.wait
    ]
    if not resting:
        return None
    attempts = []
    for name, why, seconds in resting:
        error = Resting(why, status=Overloaded.usual, retry_after=max(seconds, 0.001), deployment=name)
        attempts.append(Attempt(deployment=name, outcome="Resting", why=str(error), error=error))
    group = DeploymentsExhausted(attempts, why="nobody may be asked now")
    group.attempts = ()  # nothing was sent
    return group


def not_asked(plan: Plan, attempts: Sequence[Attempt]) -> tuple[str, ...]:
    """A line for each deployment of the route that was not asked. Looks at none that the plan has not looked at."""
    asked = {attempt.deployment for attempt in attempts}
    known = dict.fromkeys((one.deployment for one in plan.seen), "was not asked any more")
    known |= {out.deployment: f"was passed over: {out.why}" for out in plan.passed}
    names = [name for name in plan.names if name not in asked]
    lines = [f"{name} {known.get(name, 'was never come to')}" for name in names[:LISTED]]
    return (*lines, *([f"and {len(names) - LISTED} more that were not asked"] if len(names) > LISTED else ()))


class DeadlineExceeded(RouterError):
    """The deadline of the request passed. `attempts` is what was tried; `partial` what a stream had delivered.

    *why* says where it was met: before the first attempt, or after the last.
    """

    def __init__(
        self, deadline: float, attempts: Sequence[Attempt], partial: Completion | None = None, *, why: str = ""
    ) -> None:
        self.deadline, self.attempts, self.partial, self.why = deadline, tuple(attempts), partial, why
        text = f"no answer within the deadline of {deadline:g} s"
        super().__init__(f"{text}:\n{_lines(attempts)}" if attempts else text)


class StreamInterrupted(RouterError):
    """A stream broke after the caller had seen part of it.

    *partial* is a `Completion` with all that was delivered and what it cost; `__cause__` and *error* are what broke it,
    *also* is why it could not be mended, where that was tried.
    """

    def __init__(self, error: Exception, partial: Completion, also: Exception | None = None) -> None:
        self.error, self.partial, self.also = error, partial, also
        self.attempts = partial.attempts
        text = f"the stream of {partial.deployment} broke after it had begun: {error}"
        super().__init__(f"{text}\nIt could not be mended: {also}" if also is not None else text)
