"""2.F: status codes. Each row of the matrix by its name, on virtual time; over sockets they are in `test_failover`."""

from __future__ import annotations

import pytest

from providers.errors import AuthenticationFailed, BadRequest, ContentBlocked, Overloaded, RequestTooLarge
from router.errors import DeploymentsExhausted, NoDeployment
from router.events import KeySetAside
from router.lab.virtual import windows
from tests.matrix.timeline import ALPHA, QUICK, ask, says

AT_ONCE = 0.05  # seconds in which two quick calls are over


def coded(code: str, message: str = "no") -> dict[str, dict[str, str]]:
    return {"error": {"code": code, "type": code, "message": message}}


def serves(*conducts, outcome=None):
    """Each fails over to the second one at once."""
    for conduct in conducts:
        heard = ask(conduct).heard[0]
        assert heard.error is None
        assert 2 == len(heard.attempts)
        assert heard.seconds < AT_ONCE
        if outcome is not None:
            assert outcome == heard.outcomes[0]


@pytest.mark.parametrize(("row", "status", "kind"), [
    ("F1", 400, BadRequest), ("F9", 413, RequestTooLarge), ("F10", 422, BadRequest),
    ("F15", 418, BadRequest), ("F15", 460, BadRequest), ("F15", 499, BadRequest),
])  # fmt: skip
def test_f1_f9_f10_f15_a_callers_fault_is_raised_at_once(row, status, kind):
    """As itself, after one attempt, and never a failure of the breaker."""
    told = ask(says(status), *range(10))

    assert {kind} == {type(heard.error) for heard in told.heard}
    assert 10 == len(told.asked["alpha"])
    assert [] == told.asked["beta"]
    assert "closed" == told.health.state(ALPHA)


def test_f1_a_context_that_is_too_short_goes_elsewhere():
    """A 400 that another deployment may not give; and no failure of the breaker either."""
    told = ask(says(400, body=coded("context_length_exceeded")), *range(5))

    assert all(heard.error is None for heard in told.heard)
    assert 5 == len(told.asked["alpha"])
    assert "closed" == told.health.state(ALPHA)


@pytest.mark.parametrize(("row", "status", "code", "rest"), [
    ("F2", 401, "invalid_api_key", 300), ("F4", 403, "permission_error", 300),
    ("F3", 402, "", 900), ("F3", 429, "insufficient_quota", 900), ("F3", 429, "billing_hard_limit_reached", 900),
    ("F3", 403, "billing_not_active", 900),
])  # fmt: skip
def test_f2_f3_f4_a_key_that_is_refused_rests(row, status, code, rest):
    """The next one serves at once; after the rest the key is tried again; told once, not for each request."""
    told = ask(says(status, body=coded(code)), 0, 1, 2, rest - 1, rest + 1, rest + 2)

    assert all(heard.error is None and heard.seconds < AT_ONCE for heard in told.heard)
    assert [0, rest + 1] == told.asked["alpha"]
    assert 1 == len(told.kinds(KeySetAside))
    assert "closed" == told.health.state(ALPHA)


def test_f2_after_the_rest_there_is_one_probe():
    """Of ten requests that come together, one tries the key."""
    told = ask(says(401), 0, *[301] * 10)

    assert 2 == len(told.asked["alpha"])


def test_f2_another_key_is_used_at_once():
    """The same deployment, another key; and the dead one is left alone."""
    script = windows(QUICK, (0.0, 0.005, says(401)))
    told = ask(script, 0, 1, 2, keys=2)

    assert all(heard.error is None for heard in told.heard)
    assert [] == told.asked["beta"]
    assert ["AuthenticationFailed", "success"] == told.heard[0].outcomes
    assert 1 == len({heard.attempts[-1].credential for heard in told.heard})


@pytest.mark.parametrize("status", [402, 429])
def test_f3_nobody_waits_for_credit(status):
    """Even where nobody else is there: it fails at once, and the next one without a call."""
    told = ask(says(status, {"Retry-After": "2"}, coded("insufficient_quota")), 0, 1, alone=True)

    assert all(heard.seconds < AT_ONCE for heard in told.heard)
    assert [0] == told.asked["alpha"]


@pytest.mark.parametrize("status", [400, 403])
def test_f4_a_moderation_block_is_the_callers(status):
    """Nobody else is asked: that would be a way around a policy."""
    told = ask(says(status, body=coded("content_policy_violation")))

    assert isinstance(told.heard[0].error, ContentBlocked)
    assert [] == told.asked["beta"]


@pytest.mark.parametrize(
    ("row", "status"), [("F5", 404), ("F6", 405), ("F6", 406), ("F6", 410), ("F6", 415), ("F6", 501)]
)
def test_f5_f6_what_is_not_there_is_not_asked_for_ten_minutes(row, status):
    """One answer is enough; the next one serves, and nothing is retried here."""
    told = ask(says(status), 0, 1, 599, 601)

    assert all(heard.error is None and heard.seconds < AT_ONCE for heard in told.heard)
    assert [0, 601] == told.asked["alpha"]


def test_f5_with_nobody_else_it_is_not_retried():
    """The same answer would come."""
    assert 1 == len(ask(says(404), alone=True).asked["alpha"])


@pytest.mark.parametrize(("row", "status", "outcome"), [
    ("F7", 408, "UpstreamTimeout"), ("F8", 409, "ServerError"), ("F11", 425, "ServerError"),
    ("F16", 500, "ServerError"), ("F17", 502, "ServerError"), ("F17", 503, "Overloaded"),
    ("F17", 504, "UpstreamTimeout"), ("F18", 529, "Overloaded"), ("F18", 520, "ServerError"),
    *[("F18", status, None) for status in (521, 522, 523, 524, 525, 526, 530)],
])  # fmt: skip
def test_f7_f8_f11_f16_f17_f18_a_failure_of_the_provider_goes_elsewhere(row, status, outcome):
    """At once; and three of them open the circuit."""
    serves(says(status), outcome=outcome)
    told = ask(says(status), 0, 0.1, 0.2, 0.3, 0.4)

    assert 3 == len(told.asked["alpha"])
    assert all(heard.error is None for heard in told.heard)


@pytest.mark.parametrize(("row", "status"), [("F8", 409), ("F11", 425), ("F16", 500)])
def test_f8_f11_with_nobody_else_it_is_asked_once_more(row, status):
    """And no more than that."""
    told = ask(says(status), alone=True)
    assert 2 == len(told.asked["alpha"])
    assert isinstance(told.heard[0].error, DeploymentsExhausted)

    told = ask(windows(QUICK, (0.0, 0.005, says(status))), alone=True)
    assert told.heard[0].error is None


def test_f12_a_rate_limit_cools_the_key_and_is_no_failure():
    """The next one serves at once; the breaker knows nothing of it."""
    told = ask(says(429, {"Retry-After": "20"}), 0, 1, 19, 21, 42, 63)

    assert all(heard.error is None and heard.seconds < AT_ONCE for heard in told.heard)
    assert [0, 21, 42, 63] == told.asked["alpha"]
    assert "closed" == told.health.state(ALPHA)


def test_f13_slow_down_goes_elsewhere():
    """As a rate limit."""
    serves(says(429, body=coded("slow_down")), outcome="RateLimited")


def test_f14_a_nested_gateway_without_deployments_is_overloaded():
    """It is the model there that has nobody, not our key that was too fast."""
    serves(says(429, body={"error": {"message": "No deployments available for selected model"}}), outcome="Overloaded")


def test_f17_a_wait_that_is_asked_for_is_kept():
    """Until then nobody comes."""
    told = ask(says(503, {"Retry-After": "20"}), 0, 5, 19, 21)

    assert [0, 21] == told.asked["alpha"]


@pytest.mark.parametrize("status", [600, 999, 99])
def test_f19_a_status_that_is_none_goes_elsewhere(status):
    """No such thing; not the caller's fault."""
    serves(says(status))


@pytest.mark.parametrize("status", [201, 202, 203, 204, 205, 206, 226])
@pytest.mark.parametrize("body", [b"", b"{}", b'{"status": "queued"}'], ids=repr)
def test_f20_another_success_without_an_answer_is_none(status, body):
    """A job that was queued is no answer of a chat."""
    serves(says(status, body=body))


def test_f21_should_not_be_retried():
    """With nobody else there: once."""
    assert 1 == len(ask(says(503, {"x-should-retry": "false"}), alone=True).asked["alpha"])


def test_f21_may_still_go_elsewhere():
    """The header speaks of this provider."""
    serves(says(503, {"x-should-retry": "false"}))


def test_f22_should_be_retried():
    """A 4xx whose sender knows better: once more."""
    told = ask(windows(QUICK, (0.0, 0.005, says(400, {"x-should-retry": "true"}))), alone=True)

    assert told.heard[0].error is None


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>Bad Gateway</html>", b"\xff\xfe", b"[]", b"null", b'"no"', b"42", b"{", b'{"error": 5}',
     b'{"error": {"code": "invalid_request_error", "message": "your fault"}}', b'{"status": 400, "message": "no"}'],
)  # fmt: skip
def test_f23_a_body_that_says_nothing_or_lies_leaves_the_status(body):
    """The class comes from the status."""
    serves(says(503, body=body), outcome="Overloaded")


@pytest.mark.parametrize("reason", ["content_filter", "refusal"])
def test_f24_a_refusal_is_a_result(reason):
    """Delivered, and nobody else is asked."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "I cannot."}, "finish_reason": reason}
    told = ask(says(200, body={"choices": [choice]}))

    assert "I cannot." == told.heard[0].answer.content
    assert [] == told.asked["beta"]


def test_f25_all_keys_dead():
    """No call goes out until a recheck is due, it fails at once, and says which keys by their labels."""
    told = ask(says(401), 0, 1, 2, 299, alone=True, keys=2)
    first, *others = told.heard

    assert 2 == len(told.asked["alpha"])
    assert isinstance(first.error, DeploymentsExhausted | AuthenticationFailed)
    assert all(isinstance(heard.error, NoDeployment | DeploymentsExhausted) for heard in others)
    assert all(heard.seconds <= 0.01 for heard in others)
    labels = {event.label for event in told.kinds(KeySetAside)}
    assert 2 == len(labels)
    assert all(label in str(heard.error) for heard in others for label in labels)
    assert not any("sk-alpha" in str(heard.error) for heard in told.heard)


def test_f25_a_recheck_brings_it_back():
    """The key works again."""
    told = ask(windows(QUICK, (0.0, 100.0, says(401))), 0, 50, 301, 302, alone=True)

    assert [True, True, False, False] == [heard.error is not None for heard in told.heard]
    assert [0, 301, 302] == told.asked["alpha"]


def test_the_overload_of_one_is_told():
    """With nobody else: the group holds what each said."""
    error = ask(says(503), alone=True).heard[0].error

    assert all(isinstance(inner, Overloaded) for inner in error.exceptions)
