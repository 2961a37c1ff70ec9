"""AI/ML API's error envelopes, its words, and the rows of its model list. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from router.lab.emulators.chat_shapes import dumps
from router.lab.emulators.checks import Complaint
from router.lab.emulators.playback import Json, Whole
from router.lab.emulators.words import JSON_TYPE, Model, Problem

_NAMES = {
    400: "BadRequestException",
    401: "UnauthorizedException",
    403: "ForbiddenException",
    404: "NotFoundException",
    429: "ThrottlerException",
    500: "InternalServerErrorException",
    502: "BadGatewayException",
    503: "ServiceUnavailableException",
    504: "GatewayTimeoutException",
}
_TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
_KEY_PAGE = "You can create a new API key on the Billing page: https://aimlapi.com/app/keys"

# Texts FOUND[A3, A6]; *type* is the exception's name.
WORDS = {
    "bad_json": Problem(400, "Body validation error"),
    "no_key": Problem(401, f"You provided an empty string instead of valid API key. {_KEY_PAGE}"),
    "bad_key": Problem(401, f"This request requires a valid API key. {_KEY_PAGE}"),
    "out_of_credit": Problem(
        403, "You've run out of credits. Please top up your balance: https://aimlapi.com/app/billing"
    ),
    "model_gone": Problem(404, "The model {model} does not exist or has been deprecated."),  # wording INFERRED
    "rate_limited": Problem(429, "Too Many Requests"),
    "server_error": Problem(500, "Something wrong with the server. Please, try again later."),
    "upstream": Problem(502, "Bad Gateway"),
    "overloaded": Problem(503, "Service unavailable"),
    "gateway_timeout": Problem(504, "Generation timeout"),
    # INFERRED: no text of these is published.
    "context_length": Problem(400, "This model's maximum context length is exceeded by the prompt."),
    "content_policy": Problem(400, "The request was rejected by the content policy."),
    "too_large": Problem(413, "request entity too large"),
    "no_route": Problem(404, "Cannot find this path"),
    "bad_method": Problem(405, "Method Not Allowed"),
}


def enum_message(known: str, asked: object) -> str:
    """The published words for a value that is not in an enum."""
    return f"Invalid enum value. Expected {known}, received '{asked}'"


def body_error(complaint: Complaint) -> Problem:
    """A complaint as the Zod-like validation puts it."""
    return Problem(400, "Body validation error", code=complaint.message, param=complaint.param)


def envelope(problem: Problem, path: str, *, legacy: bool) -> Whole:
    """One of the two published envelopes; where the detail of a 400 stands in them is INFERRED."""
    detail = [str(part) for part in (problem.param, problem.code) if part is not None]
    said = ": ".join([problem.message, *detail])
    identity = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{path} {said}"))
    when = "2026-08-30T18:23:01.734Z"  # the capture's own: an emulator has no clock
    if legacy:
        body: Json = {"message": said, "path": path, "requestId": identity, "statusCode": str(problem.status)}
        return Whole(dumps(body | {"timestamp": when}), problem.status, JSON_TYPE)
    error: Json = {"name": _NAMES.get(problem.status, "HttpException"), "message": said}
    if problem.code is not None and problem.param is not None:
        error["data"] = [{"path": problem.param.split("."), "message": problem.code}]
    body = {
        "title": _TITLES.get(problem.status, "Error"),
        "status": problem.status,
        "message": said,
        "instance": path,
        "requestId": identity,
        "timestamp": when,
        "error": error,
    }
    return Whole(dumps(body), problem.status, {"Content-Type": "application/problem+json"})


def model_row(name: str, model: Model, query: Mapping[str, str]) -> Json:
    """A row of GET /v1/models (real, A4); unknown values of include are ignored."""
    wanted = set(query.get("include", "").split(","))
    wanted = {"modalities", "capabilities", "pricing"} if "all" in wanted else wanted
    units = [
        {"name": "token", "measure": measure, "price": price, "per": 1_000_000}
        for measure, price in (("input", model.input), ("output", model.output))
    ]
    extras: Json = {
        "modalities": {"input": ["image", "text"], "output": ["text"]},
        "capabilities": ["parallel_tool_calls", "streaming", "structured_output", "tools", "vision"],
        "pricing": {"kind": "fixed", "currency": "USD", "units": units},
    }
    row: Json = {
        "id": name,
        "type": "openai/chat-completions",
        "aliases": [name.rpartition("/")[2]],
        "tags": ["playground:chat"],
        "info": {"name": name, "contextLength": model.context, "outputMax": model.max_output},
    }
    return row | {key: value for key, value in extras.items() if key in wanted}
