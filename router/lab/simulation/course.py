"""What a provider does with one call, as a few times: when its status comes, its first token, its end or its failure. Pure.

Knows how a healthy answer runs, and what each fault of `router.lab.faults` makes of it. Refuses to know bytes: a fault
that is about the words or the framing of an answer cannot be told in times, and is refused by name (`inexpressible`).

Faults that mean a moment of a stream do nothing to an answer that is asked for whole, and the other way round, as in the
emulators: they leave the request to the next entry of the script.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import inf

from providers import errors as e
from providers.failures import classify
from providers.retry_after import retry_after
from router.lab.faults import Fault
from router.lab.simulation.assumptions import Conduct

Failure = Callable[[], e.ProviderError]


@dataclass(slots=True)  # not frozen, as `Chunk` is not: one is made for every call
class Course:
    """One answer. Times are seconds after the call was sent; infinite where it never happens.

    *headers*: the status comes. *first*: the first token. *end*: the last token, or the *failure* shows. *tokens*: those
    that come. *stalls*: after the last of them nothing happens any more.
    """

    headers: float
    first: float
    end: float
    tokens: int
    failure: Failure | None = None
    status: int | None = 200
    stalls: bool = False


@dataclass(slots=True)
class Draw:
    """What chance has settled for one call before any fault: *first* token after so many seconds, *tokens* in all."""

    conduct: Conduct
    first: float
    tokens: int
    streaming: bool

    @property
    def healthy(self) -> Course:
        """The answer when nothing is wrong."""
        return healthy(self.conduct, self.first, self.tokens, streaming=self.streaming)


def healthy(conduct: Conduct, first: float, tokens: int, *, streaming: bool) -> Course:
    """An answer that nothing is wrong with. The status of a stream comes at once, that of a whole answer with it."""
    end = first + tokens / conduct.tokens_per_second
    return Course(0.0 if streaming else end, first, end, tokens)


# -- what is wrong with it --------------------------------------------------------------------------------------------

_WORDS: Mapping[str, type[e.ProviderError]] = {
    "rate_limited": e.RateLimited,
    "out_of_credit": e.OutOfCredit,
    "bad_key": e.AuthenticationFailed,
    "server_error": e.ServerError,
    "overloaded": e.Overloaded,
    "gateway_timeout": e.UpstreamTimeout,
    "model_gone": e.ModelNotFound,
    "context_length": e.ContextLengthExceeded,
    "content_policy": e.ContentBlocked,
}


def refused(draw: Draw, kind: type[e.ProviderError], *, status: int | None = None, wait: float | None = None) -> Course:
    """A refusal: a status, soon, and no answer."""
    status, after = status or kind.usual, draw.conduct.refusal

    def failure() -> e.ProviderError:
        return kind("simulated", status=status, retry_after=wait)

    return Course(after, inf, after, 0, failure, status)


def _status(draw: Draw, fault: Fault) -> Course:
    body = str(fault.body) if fault.body is not None else ""
    kind = classify(status=fault.http_status, message=body)
    return refused(draw, kind, status=fault.http_status, wait=retry_after(dict(fault.headers)))


def _words(draw: Draw, fault: Fault) -> Course:
    return refused(draw, _WORDS[str(fault.code)], wait=retry_after(dict(fault.headers)))


def _error_in_200(draw: Draw, fault: Fault) -> Course:
    kind = classify(status=None, codes=() if fault.code is None else (str(fault.code),))
    return replace(refused(draw, kind), status=200)


def _unusable(kind: type[e.ProviderError], *, status: int | None = 200) -> Callable[[Draw, Fault], Course]:
    """An answer that is none."""

    def course(draw: Draw, fault: Fault) -> Course:
        return replace(refused(draw, kind, status=fault.http_status or status), status=fault.http_status or status)

    return course


def _broken(draw: Draw, _: Fault) -> Course:
    """The connection breaks before anything has come."""
    return Course(inf, inf, draw.conduct.refusal, 0, lambda: e.ConnectionFailed("simulated"), None)


def _lost(draw: Draw, _: Fault) -> Course:
    """The work is done, and the connection breaks when the answer is due."""
    return Course(inf, inf, draw.first, 0, lambda: e.ConnectionFailed("simulated"), None)


def _silent(_: Draw, __: Fault) -> Course:
    return Course(inf, inf, inf, 0, None, None)


def _empty(draw: Draw, _: Fault) -> Course:
    return Course(0.0, inf, draw.first, 0, lambda: e.EmptyReply("simulated", status=200))


def _slow(draw: Draw, fault: Fault) -> Course:
    conduct = draw.conduct.slower(fault.times)
    return replace(draw, conduct=conduct, first=draw.first * fault.times).healthy


def _slow_headers(draw: Draw, fault: Fault) -> Course:
    course = draw.healthy
    return replace(
        course,
        headers=course.headers + fault.seconds,
        first=course.first + fault.seconds,
        end=course.end + fault.seconds,
    )


def _late(draw: Draw, fault: Fault) -> Course:
    return replace(draw, first=fault.seconds).healthy


def _after(draw: Draw, events: int, failure: Failure | None) -> Course:
    """Broken after so many events, of which the first only announces the role; whole where the answer is shorter."""
    whole, tokens = draw.healthy, max(events - 1, 0)
    if tokens >= whole.tokens:
        return whole
    at = draw.first + max(tokens - 1, 0) / draw.conduct.tokens_per_second
    first = draw.first if tokens else inf
    return Course(whole.headers, first, at, tokens, failure, 200, stalls=failure is None)


def _cut(kind: type[e.ProviderError]) -> Callable[[Draw, Fault], Course]:
    def course(draw: Draw, fault: Fault) -> Course:
        return _after(draw, fault.count, lambda: kind("simulated", status=200))

    return course


def _stalled(draw: Draw, fault: Fault) -> Course:
    return _after(draw, fault.count, None)


def _aborted(draw: Draw, _: Fault) -> Course:
    """Half of the text, and the provider's own word that it gave up."""
    half = draw.tokens // 2
    end = draw.first + half / draw.conduct.tokens_per_second
    headers = 0.0 if draw.streaming else end
    return Course(headers, draw.first, end, half, lambda: e.GenerationAborted("simulated", status=200))


def _torn(draw: Draw, _: Fault) -> Course:
    """Part of a whole answer's body."""
    end = draw.healthy.end
    return Course(end, inf, end, 0, lambda: e.TruncatedReply("simulated", status=200))


def _stuck(draw: Draw, _: Fault) -> Course:
    """Part of a whole answer's body, and nothing more."""
    end = draw.healthy.end
    return Course(end, inf, end, 0, None, 200, stalls=True)


_COURSES: Mapping[str, Callable[[Draw, Fault], Course]] = {
    "status": _status,
    "words": _words,
    "error_in_200": _error_in_200,
    "redirect": _unusable(e.ProtocolViolation),
    "html_200": _unusable(e.ProtocolViolation),
    "garbage": _unusable(e.ProtocolViolation, status=None),
    "empty_200": _unusable(e.EmptyReply),
    "empty_stream": _empty,
    "refuse": _broken,
    "reset": _broken,
    "lost_response": _lost,
    "silence": _silent,
    "interim_forever": _silent,
    "slow": _slow,
    "slow_headers": _slow_headers,
    "first_token_delay": _late,
    "cut_after": _cut(e.TruncatedReply),
    "reset_after": _cut(e.TruncatedReply),
    "malformed_event": _cut(e.MalformedReply),
    "error_event": _cut(e.ServerError),
    "stall_after": _stalled,
    "comments_forever": _stalled,
    "abort": _aborted,
    "truncate_body": _torn,
    "body_reset": _torn,
    "stall_body": _stuck,
}


def expressible(fault: Fault) -> bool:
    """Whether *fault* can be told in times."""
    return fault.kind in _COURSES


def course_of(draw: Draw, fault: Fault) -> Course:
    """What becomes of the call: as chance has drawn it, with what *fault* makes of it."""
    return _COURSES[fault.kind](draw, fault)
