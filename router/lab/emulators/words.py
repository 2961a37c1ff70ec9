"""What a provider says no with, what it sells, and the answers that no provider would give. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from router.lab.emulators.playback import Whole, body_bytes
from router.lab.faults import Body, Fault

JSON_TYPE = {"Content-Type": "application/json"}
_HTML = "<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>"


@dataclass(frozen=True, slots=True)
class Problem:
    """A refusal before it is put into an envelope."""

    status: int
    message: str
    type: str = "invalid_request_error"
    code: str | int | None = None
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """What a provider sells: dollars per million tokens, tokens of context and of output."""

    input: float
    output: float
    cached: float | None = None
    context: int = 262_144
    max_output: int = 65_536

    def usd(self, prompt: int, cached: int, completion: int) -> float:
        """What these tokens cost; *cached* ones are part of *prompt*."""
        cached_price = self.input if self.cached is None else self.cached
        return ((prompt - cached) * self.input + cached * cached_price + completion * self.output) / 1_000_000


def problem_of(words: Mapping[str, Problem], status: int) -> Problem:
    """The words for a bare status; a provider has none for most, and then the status' own phrase serves."""
    for problem in words.values():
        if problem.status == status:
            return problem
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else f"Status {status}"
    return Problem(status, phrase, "server_error" if status >= 500 else "invalid_request_error")


def stand_in(fault: Fault) -> Whole | None:
    """The answer of something that is not the provider: a proxy, a captive portal, a script."""
    match fault.kind:
        case "status":
            return Whole(body_bytes(fault.body), fault.http_status, _type_of(fault.body))
        case "redirect":
            return Whole(b"", fault.http_status)
        case "html_200":
            return Whole(_HTML.encode(), 200, {"Content-Type": "text/html; charset=utf-8"})
        case "empty_200":
            return Whole(b"", 200, JSON_TYPE)
    return None


def _type_of(body: Body) -> Mapping[str, str]:
    raw = body_bytes(body).lstrip()
    if raw[:1] in (b"{", b"["):
        return JSON_TYPE
    return {"Content-Type": "text/html" if raw[:1] == b"<" else "text/plain"}
