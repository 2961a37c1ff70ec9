"""A status, a code and a text into a class of failure.

Knows the words that providers have for failures: the row's own table first, then codes that mean the same everywhere,
then the status, and the text last of all — a 500 whose body happens to mention a policy is an outage, not a refusal.
Refuses to know what is done about a failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from providers import errors as e
from providers.retry_after import retry_after

if TYPE_CHECKING:
    from providers.dialect import ErrorRule

# The words that a row may use after `is:`.
FAILURES: Mapping[str, type[e.ProviderError]] = {
    "bad_request": e.BadRequest,
    "too_large": e.RequestTooLarge,
    "content_blocked": e.ContentBlocked,
    "context_length": e.ContextLengthExceeded,
    "model_not_found": e.ModelNotFound,
    "authentication": e.AuthenticationFailed,
    "permission": e.PermissionDenied,
    "out_of_credit": e.OutOfCredit,
    "rate_limited": e.RateLimited,
    "overloaded": e.Overloaded,
    "server_error": e.ServerError,
    "upstream_timeout": e.UpstreamTimeout,
}

# Codes and types that OpenAI-compatible servers share, lower case. (OpenAI's error guide; wire-protocols.md, 2.5, 4.4.)
_CODES: Mapping[str, type[e.ProviderError]] = {
    "context_length_exceeded": e.ContextLengthExceeded,
    "content_policy_violation": e.ContentBlocked,
    "content_filter": e.ContentBlocked,
    "model_not_found": e.ModelNotFound,
    "model_unavailable": e.Overloaded,
    "insufficient_quota": e.OutOfCredit,
    "insufficient_credits": e.OutOfCredit,
    "billing_hard_limit_reached": e.OutOfCredit,
    "billing_not_active": e.OutOfCredit,
    "invalid_api_key": e.AuthenticationFailed,
    "missing_api_key": e.AuthenticationFailed,
    "authentication_error": e.AuthenticationFailed,
    "permission_error": e.PermissionDenied,
    "rate_limit_exceeded": e.RateLimited,
    "rate_limit_error": e.RateLimited,
    "overloaded_error": e.Overloaded,
    "upstream_error": e.ServerError,
    "server_error": e.ServerError,
    "invalid_request_error": e.BadRequest,
}

_STATUSES: Mapping[int, type[e.ProviderError]] = {
    400: e.BadRequest,
    401: e.AuthenticationFailed,
    402: e.OutOfCredit,
    403: e.PermissionDenied,
    404: e.ModelNotFound,
    405: e.ModelNotFound,
    406: e.ModelNotFound,
    408: e.UpstreamTimeout,
    409: e.ServerError,
    410: e.ModelNotFound,
    413: e.RequestTooLarge,
    415: e.ModelNotFound,
    422: e.BadRequest,
    425: e.ServerError,
    429: e.RateLimited,
    500: e.ServerError,
    501: e.ModelNotFound,
    502: e.ServerError,
    503: e.Overloaded,
    504: e.UpstreamTimeout,
    524: e.UpstreamTimeout,
    529: e.Overloaded,
}

# Only a refusal (4xx) is looked at for these, and only when neither code nor row has said what it is.
_CONTEXT_TEXTS = (
    "maximum context length",
    "context length",
    "context window",
    "model's context",
    "prompt is too long",
    "input is too long",
    "too many tokens",
    "exceeds the model's maximum",
)
_POLICY_TEXTS = ("content policy", "content_policy", "safety system", "content management policy")
_REFUSALS = (400, 413, 422)
_BAD_REQUEST = (400, 422)
_REFUSED = (400, 403, 413, 422)
# A code that only repeats what the status says decides nothing: "invalid_request_error" stands on 401s and 404s too.
_VAGUE = ("invalid_request_error", "server_error", "invalid_request", "api_error")


def classify(
    *,
    status: int | None,
    codes: Sequence[str] = (),
    message: str = "",
    rules: Sequence[ErrorRule] = (),
) -> type[e.ProviderError]:
    """The class of a failure. *codes* are the provider's own words for it, most telling first."""
    lowered, words = message.lower(), [code.lower() for code in codes]
    told = [FAILURES[rule.is_] for rule in rules if _matches(rule, status, words, lowered)]
    told += [_CODES[word] for word in words if word in _CODES and word not in _VAGUE]
    believed = next((kind for kind in told if believable(kind, status)), None)
    if believed is not None:
        return believed
    if status == 429 and "no deployments available" in lowered:
        return e.Overloaded  # another gateway behind this one has nobody; our key was not too fast
    if status in _REFUSALS and any(text in lowered for text in _CONTEXT_TEXTS):
        return e.ContextLengthExceeded
    if status in _REFUSALS and any(text in lowered for text in _POLICY_TEXTS):
        return e.ContentBlocked
    if status is not None and status in _STATUSES:
        return _STATUSES[status]
    if status is not None and status >= 400:
        return e.BadRequest if status < 500 else e.ServerError
    return next((_CODES[word] for word in words if word in _CODES), e.ServerError)


def believable(kind: type[e.ProviderError], status: int | None) -> bool:
    """Whether a body may say that the request is at fault: not under a status that says something else itself."""
    if not issubclass(kind, e.CallerFault | e.ContextLengthExceeded) or status is None:
        return True
    return status < 400 or status in (_BAD_REQUEST if kind is e.BadRequest else _REFUSED)


def _matches(rule: ErrorRule, status: int | None, words: Sequence[str], lowered: str) -> bool:
    if rule.status is not None and rule.status != status:
        return False
    if rule.code is not None and not any(fnmatchcase(word, rule.code.lower()) for word in words):
        return False
    return rule.text is None or rule.text.lower() in lowered


def embedded_status(error: Mapping[str, Any]) -> int | None:
    """The status that an error object names itself: a number under status, statusCode or code."""
    for name in ("status", "statusCode", "status_code", "code"):
        value = error.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599:
            return value
    return None


def read_failure(
    payload: Any,
    *,
    rules: Sequence[ErrorRule],
    status: int | None,
    headers: Mapping[str, str] | None = None,
    body: str = "",
) -> e.ProviderError:
    """The failure that an error *payload* means, whichever of the known envelopes it came in.

    *status* is the HTTP status, 200 for an error inside a success: then the one that the payload names counts.
    """
    error = _error_object(payload)
    message = _first_text(error, ("message", "detail", "title", "error")) or _first_text(payload, ("message", "title"))
    codes = [str(error[name]) for name in ("code", "type", "name") if isinstance(error.get(name), str | int)]
    named = embedded_status(error) or (embedded_status(payload) if isinstance(payload, Mapping) else None)
    if status is None or status < 400:
        status = named or status
    kind = classify(status=status, codes=codes, message=message or body[:2000], rules=rules)
    if status is None or status < 400:
        status = kind.usual  # an error inside 200 counts as if it had come with its own status
    headers = headers or {}
    allowed = error.get("allowedValues")
    failure = kind(
        message or body or f"HTTP status {status} and no explanation",
        status=status,
        code=codes[0] if codes else None,
        request_id=_request_id(payload, error, headers),
        body=body,
        retry_after=retry_after(headers),
        parameter=_first_text(error, ("parameter", "param")),
        allowed=tuple(str(value) for value in allowed) if isinstance(allowed, list) else (),
    )
    failure.should_retry = {"true": True, "false": False}.get(headers.get("x-should-retry", "").lower())
    return failure


def refused(status: int, body: bytes, headers: Mapping[str, str], rules: Sequence[ErrorRule]) -> e.ProviderError:
    """The failure that a refusal (a status that is not a success) means."""
    text = body.decode("utf-8", "replace")
    if 300 <= status < 400:
        message = f"the provider answered with a redirect ({status}); redirects are not followed"
        return e.ProtocolViolation(message, status=status, body=text)
    try:
        payload = from_json(body)
    except ValueError:
        payload = None
    return read_failure(payload, rules=rules, status=status, headers=headers, body=text)


def _error_object(payload: Any) -> Mapping[str, Any]:
    """The innermost mapping that speaks of the error: `errors[0]`, `error`, or the payload itself."""
    if not isinstance(payload, Mapping):
        return {"message": payload} if isinstance(payload, str) else {}
    errors, error = payload.get("errors"), payload.get("error")
    if isinstance(errors, list) and errors:
        error = errors[0]
    if isinstance(error, str):
        return {**payload, "message": error}
    if isinstance(error, Mapping):
        nested = error.get("error")
        return nested if isinstance(nested, Mapping) and "message" not in error else error
    return payload


def _first_text(value: Any, names: Sequence[str]) -> str | None:
    if not isinstance(value, Mapping):
        return None
    return next((value[name] for name in names if isinstance(value.get(name), str) and value[name]), None)


def _request_id(payload: Any, error: Mapping[str, Any], headers: Mapping[str, str]) -> str | None:
    for name in ("x-request-id", "x-inference-id", "request-id"):
        if name in headers:
            return headers[name]
    names = ("taskUUID", "requestId", "request_id")
    return _first_text(error, names) or _first_text(payload, names)
