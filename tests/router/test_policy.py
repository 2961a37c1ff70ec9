"""`next_step`: every rule of retry and failover, as tables and as laws. No socket, no clock, no dice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.errors import (
    AuthenticationFailed,
    BadRequest,
    CertificateRejected,
    ConnectionFailed,
    ContentBlocked,
    ContextLengthExceeded,
    CredentialFailed,
    EmptyReply,
    GenerationAborted,
    LocalFailure,
    MalformedReply,
    ModelNotFound,
    OutOfCredit,
    Overloaded,
    PermissionDenied,
    ProtocolViolation,
    ProviderTimeout,
    RateLimited,
    RequestTooLarge,
    ServerError,
    TruncatedReply,
    Unreachable,
    UpstreamTimeout,
)
from providers.types import Attempt
from router.config import Backoff, Policy
from router.policy import JITTER, LONGEST_WAIT, Stop, Try, callers_own, next_step

POLICY = Policy(attempts=4, attempts_per_deployment=2, deadline=100.0, backoff=Backoff(0.5, 8.0))
NEVER_AGAIN = [
    AuthenticationFailed, PermissionDenied, OutOfCredit, ModelNotFound, CertificateRejected, ContextLengthExceeded
]  # fmt: skip
AGAIN = [
    ConnectionFailed, Unreachable, LocalFailure, ProtocolViolation, MalformedReply, EmptyReply, TruncatedReply,
    GenerationAborted, RateLimited, Overloaded, ServerError, UpstreamTimeout,
]  # fmt: skip
CALLERS = [BadRequest, RequestTooLarge, ContentBlocked]
ERRORS = [*NEVER_AGAIN, *AGAIN, *CALLERS, ProviderTimeout]


def plan(names: str = "abc", policy: Policy = POLICY, rests: Mapping[str, float | None] = MappingProxyType({})) -> Any:
    """As much of a plan as the policy looks at: deployments named by a letter each, some of which rest."""
    candidates = [SimpleNamespace(deployment=name, wait=rests.get(name, 0.0)) for name in names]
    return SimpleNamespace(
        policy=policy,
        candidate=lambda place: candidates[place] if place < len(candidates) else None,
        wait=lambda candidate, failed=0: rests.get(candidate.deployment, 0.0),
        other_key=lambda candidate, label: False,
        may_retry=lambda candidate: True,
        may_have=lambda place: place < len(candidates),
    )


def error(kind=ServerError, **facts):
    if kind is ProviderTimeout:
        facts["phase"] = "headers"
    return kind("no", **facts)


def failed(name, kind=ServerError, *, started=0.0, duration=0.0, **facts):
    return Attempt(name, kind.__name__, started=started, duration=duration, error=error(kind, **facts))


def step(attempts, *, names="abc", elapsed=0.0, seed=1, policy=POLICY, rests: Any = MappingProxyType({})):
    return next_step(plan(names, policy, rests), attempts, elapsed, Random(seed))


def asked(names, attempts, **more):
    """Who is asked next: a letter; or how it stops."""
    found = step(attempts, names=names, **more)
    return names[found.place] if isinstance(found, Try) else found.how


# -- the first step ---------------------------------------------------------------------------------------------------


def test_the_first_in_order_is_asked_at_once():
    """With half of the deadline while somebody stands behind it, and all of it otherwise."""
    first = step([])

    assert (0, 0.0, 50.0) == (first.place, first.delay, first.limit)
    assert 100.0 == step([], names="a").limit
    assert 100.0 == step([], policy=replace(POLICY, attempts=1)).limit


def test_nobody_and_too_late():
    """An empty plan, and a deadline that passed while the request waited."""
    assert Stop is type(step([], names=""))
    assert "nobody" == step([], names="").how
    assert "deadline" == step([], elapsed=100.0).how
    assert "deadline" == step([], elapsed=101.0).how


# -- after a failure --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*NEVER_AGAIN, *AGAIN, ProviderTimeout])
def test_elsewhere_first_leaves_at_once(kind):
    """Whatever it was, and whatever it asked us to wait: the next one, without delay."""
    found = step([failed("a", kind, retry_after=30.0)])

    assert (1, 0.0) == (found.place, found.delay)


@pytest.mark.parametrize("kind", CALLERS)
@pytest.mark.parametrize("order", ["elsewhere_first", "here_first"])
def test_a_callers_fault_stops_at_once(kind, order):
    """Nobody else would take it."""
    assert "caller" == step([failed("a", kind)], policy=replace(POLICY, order=order)).how
    assert "caller" == step([failed("a"), failed("b", kind)]).how


@pytest.mark.parametrize(
    ("names", "history", "expected"),
    [
        ("abc", "a", "b"),
        ("abc", "ab", "c"),
        ("abc", "b", "a"),
        ("abc", "ac", "b"),
        ("a", "a", "a"),
        ("a", "aa", "exhausted"),
        ("ab", "aba", "b"),
        ("ab", "abab", "exhausted"),
        ("abcdef", "abcd", "exhausted"),
    ],
)
def test_elsewhere_first(names, history, expected):
    """The untried first; then again, as often as the policy lets each and all."""
    assert expected == asked(names, [failed(name) for name in history], elapsed=50.0)


@pytest.mark.parametrize(
    ("names", "history", "expected"),
    [
        ("abc", "a", "a"),
        ("abc", "aa", "b"),
        ("abc", "aab", "b"),
        ("abc", "aabb", "exhausted"),
        ("ab", "aa", "b"),
        ("a", "a", "a"),
        ("a", "aa", "exhausted"),
    ],
)
def test_here_first(names, history, expected):
    """Once more where it just failed, then on."""
    policy = replace(POLICY, order="here_first")

    assert expected == asked(names, [failed(name) for name in history], policy=policy)


@pytest.mark.parametrize("kind", [*NEVER_AGAIN, ProviderTimeout])
def test_here_first_leaves_what_cannot_be_better(kind):
    """A key, a model, a certificate, a silence: the same deployment will not change its mind."""
    assert "b" == asked("ab", [failed("a", kind)], policy=replace(POLICY, order="here_first"))
    assert "exhausted" == asked("a", [failed("a", kind)], policy=replace(POLICY, order="here_first"))


def test_here_first_leaves_whose_circuit_others_have_opened():
    here = replace(POLICY, order="here_first")

    assert "a" == asked("ab", [failed("a")], policy=here)
    assert "b" == asked("ab", [failed("a")], policy=here, rests={"a": None})


def test_here_first_and_rate_limits():
    """It stays only where it was told of a short wait."""
    here = replace(POLICY, order="here_first")

    assert "b" == asked("ab", [failed("a", RateLimited)], policy=here)
    assert "a" == asked("ab", [failed("a", RateLimited, retry_after=0.5)], policy=here)
    assert "b" == asked("ab", [failed("a", RateLimited, retry_after=30.0)], policy=here)
    assert 0.5 <= step([failed("a", RateLimited, retry_after=0.5)], policy=here).delay <= 0.5 * (1 + JITTER)


def test_here_first_with_one_attempt_per_deployment_is_elsewhere_first():
    """The number of attempts comes before the order."""
    policy = replace(POLICY, order="here_first", attempts_per_deployment=1)

    assert "b" == asked("ab", [failed("a")], policy=policy)


@pytest.mark.parametrize("kind", [*NEVER_AGAIN, ProviderTimeout])
def test_what_must_not_be_asked_again_is_not(kind):
    """Not even when everybody else has failed; another that may be is."""
    assert "exhausted" == asked("a", [failed("a", kind)])
    assert "b" == asked("ab", [failed("a", kind), failed("b")])
    assert "a" == asked("ab", [failed("a"), failed("b", kind)])


@pytest.mark.parametrize("kind", [AuthenticationFailed, PermissionDenied, OutOfCredit])
def test_a_key_that_was_refused_is_not_tried_again(kind):
    """The last word counts, whatever failed before it."""
    policy = replace(POLICY, attempts_per_deployment=3)

    assert "exhausted" == asked("a", [failed("a"), failed("a", kind)], policy=policy)
    assert "b" == asked("ab", [failed("a"), failed("b"), failed("a", kind)], policy=policy)


def test_the_attempts_of_the_policy():
    """All of them together are counted; nothing follows the last one, not even a wait."""
    policy = replace(POLICY, attempts=2)

    assert "b" == asked("abc", [failed("a")], policy=policy)
    assert "exhausted" == asked("abc", [failed("a"), failed("b")], policy=policy)
    assert isinstance(step([failed("a", retry_after=1.0)], names="a", policy=replace(POLICY, attempts=1)), Stop)


def test_the_deadline_stops_everything():
    """Even with untried deployments left."""
    assert "deadline" == asked("abc", [failed("a")], elapsed=100.0)
    assert "deadline" == asked("abc", [failed("a")], elapsed=1000.0)
    assert "b" == asked("abc", [failed("a")], elapsed=99.0)


def test_the_share_of_each():
    """Half of what is left while another stands behind; the last attempt and the last deployment get it all."""
    assert 30.0 == step([failed("a")], elapsed=40.0).limit
    assert 60.0 == step([failed("a"), failed("b")], elapsed=40.0).limit
    assert 60.0 == step([failed("a")], elapsed=40.0, policy=replace(POLICY, attempts=2)).limit


def test_a_repeated_attempt_gets_what_is_left_after_its_wait():
    """The wait is part of the deadline."""
    found = step([failed("a", retry_after=10.0)], names="a", elapsed=40.0)

    assert pytest.approx(60.0) == found.delay + found.limit


# -- waits ------------------------------------------------------------------------------------------------------------


def test_full_jitter():
    """Anything from nothing to the doubled step, evenly; never beyond the maximum."""
    policy = replace(POLICY, attempts=20, attempts_per_deployment=20)
    for tries, top in ((1, 0.5), (2, 1.0), (3, 2.0), (5, 8.0), (9, 8.0)):
        delays = [step([failed("a")] * tries, names="a", seed=seed, policy=policy).delay for seed in range(400)]

        assert 0 <= min(delays) < 0.1 * top
        assert 0.9 * top < max(delays) <= top
        assert 0.4 * top < sum(delays) / len(delays) < 0.6 * top


def test_a_long_history_does_not_overflow():
    """Doubling ends at the maximum."""
    policy = replace(POLICY, attempts=5000, attempts_per_deployment=5000)

    assert 0 <= step([failed("a")] * 2000, names="a", policy=policy).delay <= 8.0


@pytest.mark.parametrize("seed", range(5))
def test_retry_after_is_kept_to(seed):
    """Never earlier, a little later: a crowd must not come back at once. What has passed since is not waited again."""
    early = step([failed("a", RateLimited, retry_after=10.0)], names="a", seed=seed)
    late = step(
        [failed("a", RateLimited, started=1.0, duration=2.0, retry_after=10.0)], names="a", elapsed=9.0, seed=seed
    )

    assert 10.0 <= early.delay <= 11.0
    assert 4.0 <= late.delay <= 5.0


@pytest.mark.parametrize("asked_for", [LONGEST_WAIT + 0.1, 99.0, 1e9])
def test_a_wait_too_long_is_a_refusal(asked_for):
    """Beyond a minute, or beyond the deadline, nobody waits: it fails at once."""
    assert "exhausted" == asked("a", [failed("a", RateLimited, retry_after=asked_for)])
    assert "exhausted" == asked("a", [failed("a", RateLimited, started=75.0, retry_after=30.0)], elapsed=75.0)
    assert f"{asked_for:.3g}" in step([failed("a", RateLimited, retry_after=asked_for)], names="a").why


def test_the_one_that_is_ready_first_is_asked_first():
    """Whatever its place."""
    history = [failed("a", RateLimited, retry_after=30.0), failed("b", RateLimited, retry_after=5.0)]

    assert "b" == asked("ab", history, policy=replace(POLICY, attempts=5))


def test_one_that_asks_too_much_does_not_keep_the_other_waiting():
    """`a` asked for an hour, `b` for nothing."""
    assert "b" == asked("ab", [failed("a", RateLimited, retry_after=3600.0), failed("b")])


@pytest.mark.parametrize("rest", [0.92, 0.99, 1.0])
def test_a_rest_that_ends_with_the_deadline_is_not_waited_for(rest):
    """Jitter included: an attempt that would begin when all is over is none."""
    policy = replace(POLICY, deadline=10.0)
    first = [step([], names="a", seed=seed, policy=policy, rests={"a": 10.0 * rest}) for seed in range(20)]

    assert [] == [one for one in first if isinstance(one, Try) and (one.delay >= 10.0 or one.limit <= 0)]

    failure = [failed("a", ModelNotFound, started=5.0)]
    later = [
        step(failure, names="ab", elapsed=5.0, seed=seed, policy=policy, rests={"b": 5.0 * rest}) for seed in range(20)
    ]

    assert [] == [one for one in later if isinstance(one, Try) and (one.delay >= 5.0 or one.limit <= 0)]


# -- whose failure is raised ------------------------------------------------------------------------------------------


def test_what_is_raised_as_itself():
    """The caller's own fault; and a prompt that was too long for everybody."""
    assert BadRequest is type(callers_own([failed("a"), failed("b", BadRequest)]))
    assert ContextLengthExceeded is type(callers_own([failed("a", ContextLengthExceeded)] * 2))
    assert None is callers_own([failed("a"), failed("b", ContextLengthExceeded)])
    assert None is callers_own([failed("a", BadRequest), failed("b")])


# -- laws -------------------------------------------------------------------------------------------------------------

policies = st.builds(
    Policy,
    attempts=st.integers(1, 9),
    attempts_per_deployment=st.integers(1, 4),
    order=st.sampled_from(["elsewhere_first", "here_first"]),
    deadline=st.floats(0.01, 200),
    backoff=st.builds(lambda initial, more: Backoff(initial, initial + more), st.floats(0.001, 30), st.floats(0, 60)),
)
failures = st.lists(
    st.tuples(st.sampled_from(ERRORS), st.none() | st.floats(0.001, 1e9), st.floats(0, 20)), min_size=12, max_size=12
)


resting = st.dictionaries(st.sampled_from("abcde"), st.none() | st.floats(0, 250), max_size=3)


@settings(max_examples=300)
@given(policies, st.integers(0, 5), failures, st.integers(0, 2**32), st.just({}) | resting)
def test_the_laws_hold_for_every_history(policy, deployments, outcomes, seed, rests):
    """Play a request to its end, with everything failing: it ends, and on its way nothing unlawful is done."""
    names, rng = "abcde"[:deployments], Random(seed)
    ready = {name for name in names if rests.get(name, 0.0) == 0}
    history: list[Attempt] = []
    elapsed = 0.0
    for kind, wait, duration in outcomes:
        found = next_step(plan(names, policy, rests), history, elapsed, rng)
        if isinstance(found, Stop):
            break
        name = names[found.place]
        others = {one.deployment for one in history}
        own = [one for one in history if one.deployment == name]
        left = policy.deadline - elapsed
        assert len(history) < policy.attempts
        assert len([one for one in own if not isinstance(one.error, CredentialFailed)]) < policy.attempts_per_deployment
        assert 0 <= found.delay < left
        assert 0 < found.limit <= left - found.delay + 1e-9
        if not own:
            assert (rests.get(name, 0.0) or 0.0) <= found.delay <= LONGEST_WAIT * (1 + JITTER)
            assert rests.get(name, 0.0) is not None
        else:
            assert getattr(own[-1].error, "here", False)
            assert not isinstance(own[-1].error, ProviderTimeout)
            here_first = policy.order == "here_first" and name == history[-1].deployment
            assert here_first or ready <= others
            if (asked_for := getattr(own[-1].error, "retry_after", None)) is not None:
                assert asked_for <= LONGEST_WAIT
                assert elapsed + found.delay >= own[-1].started + own[-1].duration + asked_for - 1e-6
            else:
                assert found.delay <= policy.backoff.max
        assert not any(isinstance(one.error, (BadRequest, RequestTooLarge, ContentBlocked)) for one in history)
        elapsed += found.delay
        took = min(duration, found.limit)
        facts = {} if kind is ProviderTimeout else {"retry_after": wait}
        history.append(failed(name, kind, started=elapsed, duration=took, **facts))
        elapsed += took
    else:
        found = next_step(plan(names, policy, rests), history, elapsed, rng)

    assert isinstance(found, Stop)
    assert len(history) <= policy.attempts
    if found.how == "exhausted" and history and elapsed < policy.deadline - 1 and len(history) < policy.attempts:
        assert ready <= {one.deployment for one in history}  # nobody was passed over
