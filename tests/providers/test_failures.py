"""What a status, a code and a text mean, provider by provider, in the providers' own bodies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers import errors as e
from providers.failures import FAILURES, classify, read_failure, refused
from router import Router

MODELS = {
    "mixlayer": "mixlayer/qwen3.5-27b",
    "runware": "runware/qwen3.5-27b",
    "empiriolabs": "empiriolabs/qwen3.5-4b",
    "aiml": "aiml/qwen3.6-35b-a3b",
}
_KEYS = {f"{name.upper()}_API_KEY": "a-key" for name in MODELS}
_CONFIG = Router.open({}, environ=_KEYS).config
RULES = {name: _CONFIG.deployments[model].endpoint.dialect.errors for name, model in MODELS.items()}
every = pytest.mark.parametrize("name", MODELS)


def body(name: str, message: str, *, code: Any = None, kind: Any = None, **more: Any) -> Any:
    """An error in the provider's own envelope."""
    fields = {key: value for key, value in {"code": code, "type": kind, **more}.items() if value is not None}
    if name == "runware":
        return {"errors": [{"message": message, "taskType": "textInference", **fields}]}
    if name == "aiml":
        return {"message": message, "path": "/v1/chat/completions", **fields}
    return {"error": {"message": message, **fields}}


def meaning(name: str, status: int, payload: Any, headers: Mapping[str, str] | None = None) -> e.ProviderError:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return refused(status, raw, headers or {}, RULES[name])


# -- wire-protocols.md, section 6: every row, every provider ----------------------------------------------------------

ROWS: list[tuple[str, int, Any, type[e.ProviderError]]] = [
    # auth
    ("mixlayer", 401, body("mixlayer", "Bad key", kind="authentication_error"), e.AuthenticationFailed),
    ("runware", 401, {"errors": [{"code": "invalidApiKey", "message": "Invalid API key. Get one at https://my.runware.ai/signup",
                                  "parameter": "apiKey", "type": "string", "taskType": "authentication"}]}, e.AuthenticationFailed),
    ("runware", 400, body("runware", "no", code="missingApiKey"), e.AuthenticationFailed),
    ("empiriolabs", 401, body("empiriolabs", "no", code="invalid_api_key"), e.AuthenticationFailed),
    ("empiriolabs", 401, body("empiriolabs", "no", code="missing_api_key"), e.AuthenticationFailed),
    ("aiml", 401, {"title": "Unauthorized", "status": 401, "message": "You provided an empty string instead of valid API key.",
                   "instance": "/v1/chat/completions", "requestId": "r", "error": {"name": "UnauthorizedException", "message": "..."}},
     e.AuthenticationFailed),
    # permission
    ("mixlayer", 403, body("mixlayer", "No access", kind="permission_error"), e.PermissionDenied),
    ("runware", 403, body("runware", "no", code="forbidden"), e.PermissionDenied),
    ("runware", 403, body("runware", "no", code="accountSuspended"), e.PermissionDenied),
    ("aiml", 403, body("aiml", "Forbidden resource", statusCode="403"), e.PermissionDenied),
    # out of credit
    ("runware", 402, body("runware", "no", code="insufficientCredits"), e.OutOfCredit),
    ("runware", 402, body("runware", "no"), e.OutOfCredit),
    ("runware", 400, body("runware", "no", code="quotaExceeded"), e.OutOfCredit),
    ("runware", 400, body("runware", "no", code="insufficientBalance"), e.OutOfCredit),
    ("empiriolabs", 402, body("empiriolabs", "Insufficient credits.", code="insufficient_credits", kind="insufficient_credits"), e.OutOfCredit),
    ("aiml", 403, body("aiml", "You've run out of credits. Please top up your balance", statusCode="403"), e.OutOfCredit),
    # model missing
    ("mixlayer", 400, {"error": {"message": "Model not found.", "type": "model_not_found", "code": "model_not_found"}}, e.ModelNotFound),
    ("runware", 400, body("runware", "Invalid value for 'model' parameter", code="invalidModel", parameter="model"), e.ModelNotFound),
    ("runware", 404, body("runware", "no"), e.ModelNotFound),
    ("runware", 400, body("runware", "no", code="modelDisabled"), e.ModelNotFound),
    ("empiriolabs", 404, body("empiriolabs", "no", code="model_not_found"), e.ModelNotFound),
    ("empiriolabs", 400, body("empiriolabs", "no", code="model_not_found"), e.ModelNotFound),
    ("aiml", 404, body("aiml", "The model does not exist", statusCode=404), e.ModelNotFound),
    ("aiml", 400, body("aiml", "Invalid enum value. Expected 'a' | 'b', received 'alibaba/qwen-x'"), e.ModelNotFound),
    # bad request
    ("mixlayer", 400, body("mixlayer", "temperature out of range", kind="invalid_request_error"), e.BadRequest),
    ("mixlayer", 400, body("mixlayer", "bad media", kind="invalid_media"), e.BadRequest),
    ("mixlayer", 400, body("mixlayer", "no", kind="invalid_request_error", code="invalid_response_format"), e.BadRequest),
    ("mixlayer", 413, b"", e.RequestTooLarge),
    ("runware", 400, body("runware", "Invalid value for 'maxTokens'", code="invalidMaxTokens"), e.BadRequest),
    ("runware", 400, body("runware", "no", code="unsupportedParameter"), e.BadRequest),
    ("empiriolabs", 400, body("empiriolabs", "no"), e.BadRequest),
    ("aiml", 400, body("aiml", "Body validation error"), e.BadRequest),
    ("aiml", 400, body("aiml", "Unsupported value: 'messages[0].role' does not support 'system' with this model."), e.BadRequest),
    # content blocked
    ("runware", 400, body("runware", "no", code="contentPolicyViolation"), e.ContentBlocked),
    ("runware", 400, body("runware", "no", code="providerContentPolicyViolation"), e.ContentBlocked),
    ("runware", 400, body("runware", "no", code="nsfwContentDetected"), e.ContentBlocked),
    ("runware", 400, body("runware", "no", code="moderationFailed"), e.ContentBlocked),
    # rate limited
    ("mixlayer", 429, body("mixlayer", "no", kind="rate_limit_error"), e.RateLimited),
    ("runware", 429, body("runware", "Queue capacity exceeded"), e.RateLimited),
    ("runware", 400, body("runware", "no", code="rateLimit"), e.RateLimited),
    ("runware", 400, body("runware", "no", code="providerRateLimitExceeded"), e.RateLimited),
    ("empiriolabs", 429, body("empiriolabs", "no", code="rate_limit_exceeded"), e.RateLimited),
    ("aiml", 429, body("aiml", "Too Many Requests", statusCode="429"), e.RateLimited),
    # an hour's free tier is money, not patience
    ("aiml", 429, body("aiml", "Free-tier limit: You've reached your free limit for the hour.", statusCode="429"), e.OutOfCredit),
    # overloaded
    ("mixlayer", 503, body("mixlayer", "no"), e.Overloaded),
    ("runware", 503, body("runware", "no"), e.Overloaded),
    ("runware", 500, body("runware", "no", code="noAvailableServer"), e.Overloaded),
    ("runware", 400, body("runware", "no", code="modelNotReady"), e.Overloaded),
    ("empiriolabs", 503, body("empiriolabs", "no", code="model_unavailable"), e.Overloaded),
    ("aiml", 503, body("aiml", "Service unavailable"), e.Overloaded),
    ("aiml", 500, body("aiml", "The model is under maintenance. Please try another one."), e.Overloaded),
    # upstream failed
    ("mixlayer", 500, body("mixlayer", "no", kind="server_error", code="model_server_error"), e.ServerError),
    ("runware", 500, body("runware", "no", code="internalServerError"), e.ServerError),
    ("runware", 504, body("runware", "no", code="failedProviderTimeout", status="error"), e.UpstreamTimeout),
    ("runware", 400, body("runware", "no", code="timeoutProvider"), e.UpstreamTimeout),
    ("runware", 400, body("runware", "no", code="providerGatewayTimeout"), e.UpstreamTimeout),
    ("runware", 400, body("runware", "no", code="timeout"), e.UpstreamTimeout),
    ("runware", 400, body("runware", "no", code="providerError"), e.ServerError),
    ("runware", 400, body("runware", "no", code="inferenceError"), e.ServerError),
    ("empiriolabs", 502, body("empiriolabs", "no", code="upstream_error"), e.ServerError),
    ("aiml", 500, body("aiml", "Something wrong with the server. Please, try again later."), e.ServerError),
    ("aiml", 502, body("aiml", "Bad Gateway"), e.ServerError),
    ("aiml", 504, body("aiml", "Generation timeout"), e.UpstreamTimeout),
    # too long
    ("mixlayer", 400, body("mixlayer", "The prompt exceeds the context window of x.", code="context_length_exceeded"), e.ContextLengthExceeded),
    ("mixlayer", 400, body("mixlayer", "This model's maximum context length is 131072 tokens.", kind="invalid_request_error"), e.ContextLengthExceeded),
    ("runware", 400, body("runware", "too long", code="maxContextLengthExceeded"), e.ContextLengthExceeded),
    ("runware", 400, body("runware", "The prompt exceeds the context window.", code="invalidMessages"), e.ContextLengthExceeded),
    ("empiriolabs", 413, body("empiriolabs", "prompt is too long: 9 tokens"), e.ContextLengthExceeded),
    ("aiml", 400, body("aiml", "This model's maximum context length is 262144 tokens"), e.ContextLengthExceeded),
]  # fmt: skip


@pytest.mark.parametrize(("name", "status", "payload", "kind"), ROWS, ids=[
    f"{name}-{status}-{kind.__name__}-{place}" for place, (name, status, _, kind) in enumerate(ROWS)
])  # fmt: skip
def test_every_row_of_the_table(name, status, payload, kind):
    """The providers' own words; the status that came is the status that is told."""
    failure = meaning(name, status, payload)

    assert kind is type(failure)
    assert status == failure.status


RUNWARE_IN_200 = [row for row in ROWS if row[0] == "runware" and row[2]["errors"][0].get("code")]


@pytest.mark.parametrize(("name", "status", "payload", "kind"), RUNWARE_IN_200, ids=[
    row[2]["errors"][0]["code"] for row in RUNWARE_IN_200
])  # fmt: skip
def test_runware_the_same_inside_200(name, status, payload, kind):
    """The code alone says what it is; the status is the one that it usually has."""
    failure = read_failure(payload, rules=RULES[name], status=200)

    assert kind is type(failure)
    assert failure.status is not None
    assert failure.status >= 400


STATUSES = {
    400: e.BadRequest, 401: e.AuthenticationFailed, 402: e.OutOfCredit, 403: e.PermissionDenied, 404: e.ModelNotFound,
    408: e.UpstreamTimeout, 409: e.ServerError, 413: e.RequestTooLarge, 422: e.BadRequest, 425: e.ServerError,
    429: e.RateLimited, 500: e.ServerError, 502: e.ServerError, 503: e.Overloaded, 504: e.UpstreamTimeout,
    520: e.ServerError, 522: e.ServerError, 529: e.Overloaded, 530: e.ServerError,
}  # fmt: skip
BODIES = {
    "nothing": b"",
    "text": b"Sorry.",
    "html": b"<html><body><h1>An error</h1></body></html>",
    "half of JSON": b'{"error": {"mess',
    "not UTF-8": b"\xff\xfe\x00",
    "a list": b"[1, 2]",
    "a number": b"42",
    "an empty object": b"{}",
    "an error that is text": b'{"error": "Sorry."}',
    "a detail": b'{"detail": "Sorry."}',
    "details": b'{"detail": [{"msg": "Sorry.", "loc": ["body"]}]}',
    "an error that is null": b'{"error": null}',
    "no errors": b'{"errors": []}',
    "errors of rubbish": b'{"errors": [5]}',
    "odd types": b'{"error": {"message": {"a": 1}, "code": {"b": 2}, "type": [3], "param": 4, "allowedValues": 5}}',
    "a number for a code": b'{"error": {"message": "Sorry.", "code": 7}}',
    "the commonplace type": b'{"error": {"message": "Sorry.", "type": "invalid_request_error"}}',
    "mentions 429": b'{"error": {"message": "HTTP 429 Too Many Requests, rate limit exceeded, error code 429"}}',
    "mentions 401": b'{"error": {"message": "status 401: Unauthorized. Invalid API key. insufficient_quota"}}',
    "says another status": b'{"error": {"message": "Sorry.", "status": 418, "code": 418}}',
    "very deep": b'{"a":' * 100_000,
    "long": b"x" * 200_000,
}


@every
@pytest.mark.parametrize("sort", BODIES)
def test_the_status_decides_where_the_body_says_nothing(name, sort):
    """Unreadable, empty, lying or merely talkative: the body is kept for a person, the status decides."""
    found = {status: type(meaning(name, status, BODIES[sort])) for status in STATUSES}

    assert found == STATUSES


@every
@pytest.mark.parametrize(("status", "elsewhere"), [
    (405, True), (406, True), (410, True), (415, True), (501, True), (499, False), (418, False),
])  # fmt: skip
def test_odd_statuses(name, status, elsewhere):
    """A route that is set up wrongly is asked no more and another is; what nobody knows is treated as a 400."""
    failure = meaning(name, status, b"")

    assert elsewhere is failure.elsewhere
    assert not failure.here


@every
@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308, 399])
def test_a_redirect_is_no_answer(name, status):
    """Not followed, and no fault of the caller."""
    assert e.ProtocolViolation is type(meaning(name, status, b"moved", {"Location": "https://elsewhere.test"}))


@every
@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("message", [
    "content policy", "the context window of the cache is broken", "credit", "invalid key cache", "maximum context length"
])  # fmt: skip
def test_an_outage_that_mentions_a_policy_is_an_outage(name, status, message):
    """Text never makes a server's failure the caller's, the key's or the prompt's."""
    failure = meaning(name, status, body(name, message))

    assert isinstance(failure, e.ServerError | e.Overloaded)


@every
def test_a_body_that_contains_429_is_no_rate_limit(name):
    """Inside 200 too."""
    payload = body(name, "upstream said: 429 Too Many Requests")

    assert e.ServerError is type(read_failure(payload, rules=RULES[name], status=200))
    assert e.BadRequest is type(meaning(name, 400, payload))
    assert e.ServerError is type(meaning(name, 500, payload))


@pytest.mark.parametrize(("payload", "kind", "status"), [
    ({"error": {"message": "x", "code": 429}}, e.RateLimited, 429),
    ({"error": {"message": "x", "code": "429"}}, e.RateLimited, 429),
    ({"error": {"message": "x", "status": 503}}, e.Overloaded, 503),
    ({"message": "x", "statusCode": "429"}, e.RateLimited, 429),
    ({"error": {"message": "x", "code": 400}}, e.BadRequest, 400),
    ({"error": {"message": "x", "code": "insufficient_quota"}}, e.OutOfCredit, 402),
    ({"error": {"message": "x", "type": "invalid_request_error"}}, e.BadRequest, 400),
    ({"error": {"message": "x", "type": "server_error"}}, e.ServerError, 500),
    ({"error": {"message": "x", "code": True}}, e.ServerError, 500),
    ({"error": {"message": "x", "code": 99999}}, e.ServerError, 500),
    ({"error": "x"}, e.ServerError, 500),
    ({"error": {"message": "x"}, "status": 503}, e.Overloaded, 503),
])  # fmt: skip
def test_an_error_inside_200_counts_as_its_own_status(payload, kind, status):
    """By its code, else by the status that it names, else as a failure of the server."""
    failure = read_failure(payload, rules=(), status=200)

    assert (kind, status) == (type(failure), failure.status)


def test_what_a_failure_carries():
    """Status, code, id, parameter, allowed values, the wait, and the raw body, bounded."""
    raw = {"errors": [{"code": "invalidThinkingLevel", "message": "no", "parameter": "settings.thinkingLevel",
                       "allowedValues": ["off", "high"], "taskUUID": "u-1"}]}  # fmt: skip
    failure = meaning("runware", 400, raw, {"Retry-After": "3"})

    assert (400, "invalidThinkingLevel", "u-1", 3) == (
        failure.status,
        failure.code,
        failure.request_id,
        failure.retry_after,
    )
    assert ("settings.thinkingLevel", ("off", "high")) == (failure.parameter, failure.allowed)
    assert json.loads(failure.body) == raw
    assert e.BODY_LIMIT == len(meaning("mixlayer", 500, b"x" * 10**6).body)
    assert "h-1" == meaning("mixlayer", 500, b"{}", {"x-request-id": "h-1"}).request_id


def test_a_message_cannot_forge_log_lines():
    """One printable line, of bounded length."""
    failure = meaning("mixlayer", 500, body("mixlayer", "a\r\nFAKE 2026 all is well\x1b[31m\x00" + "b" * 5000))

    assert str(failure).isprintable()
    assert len(str(failure)) < 700


def test_every_word_of_the_rows_names_a_class():
    """And every class that a provider can mean has a word, so that a row can say it."""
    meant = {e.BadRequest, e.RequestTooLarge, e.ContentBlocked, e.ContextLengthExceeded, e.ModelNotFound,
             e.AuthenticationFailed, e.PermissionDenied, e.OutOfCredit, e.RateLimited, e.Overloaded, e.ServerError,
             e.UpstreamTimeout}  # fmt: skip

    assert meant == set(FAILURES.values())


def _classes(kind: type[e.ProviderError]) -> set[type[e.ProviderError]]:
    found = {kind}.union(*map(_classes, kind.__subclasses__()))
    return {one for one in found if one.__module__ == e.__name__}


@pytest.mark.parametrize("kind", sorted(_classes(e.ProviderError), key=str))
def test_every_class_says_what_it_permits(kind):
    """Only what is the caller's is final; what is his speaks against nobody else; the tree is drawn where it is defined."""
    assert kind.__name__ in str(e.__doc__)
    assert kind.elsewhere is not issubclass(kind, e.CallerFault)
    assert (kind.blames == "caller") is issubclass(kind, e.CallerFault | e.ContextLengthExceeded)
    assert kind.billed in (True, False, None)
    assert (kind.blames == "credential") is issubclass(kind, e.CredentialFailed)
    assert kind.here or kind.blames != "nobody"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["error", "errors", "message", "code", "type", "status", "statusCode", "param", "detail", "name",
                         "taskUUID", "allowedValues", "title", "x"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(json_values, st.integers(100, 999), st.sampled_from(sorted(MODELS)))
def test_no_body_ever_breaks_the_classifier(payload, status, name):
    """Every status with every JSON is a failure of ours."""
    raw = json.dumps(payload).encode()
    for failure in (refused(status, raw, {}, RULES[name]), read_failure(payload, rules=RULES[name], status=200)):
        assert isinstance(failure, e.ProviderError)
        assert isinstance(failure.message, str)
        assert str(failure)


@given(st.binary(max_size=60), st.integers(100, 999))
def test_no_bytes_ever_break_it(raw, status):
    """Nor bytes that are no JSON."""
    assert isinstance(refused(status, raw, {}, ()), e.ProviderError)


@given(st.text(max_size=40), st.sampled_from([500, 502, 503, 504, 520, 529]), st.sampled_from(sorted(MODELS)))
def test_no_text_makes_an_outage_the_callers(text, status, name):
    """A 5xx is never raised as the caller's fault because of its words."""
    kind = classify(status=status, message=text, rules=RULES[name])

    assert not issubclass(kind, e.CallerFault)
