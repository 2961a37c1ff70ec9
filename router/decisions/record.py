"""The record of a request's decisions: JSON lines, versioned, and the values they stand for. Pure.

Knows what a line holds: `config` (the routes file without its keys, once for each file) or `decisions` (one request: what
every decision was made from, what it was, and how the attempts ended). Refuses to know how a decision is made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, cast

from pydantic import BaseModel

from providers.errors import ProviderError, ProviderTimeout
from providers.types import Attempt, Cost
from router import errors
from router.config import Config, Deployment, Route
from router.plan import Candidate, Excluded, Plan
from router.policy import Stop, Try

FORMAT = "provider-router decisions"
VERSION = 1

# What decides nothing, or must not be told.
_UNTOLD = frozenset(
    ("url", "base_url", "auth", "headers", "hidden_headers", "keys", "missing", "keyless", "webhook", "tiers", "ranks")
)


class ForeignRecord(ValueError):
    """A file is no record of decisions, or one that this version cannot read. *line* is 1-based."""

    def __init__(self, message: str, line: int) -> None:
        self.line = line
        super().__init__(message)


# -- decisions and outcomes -------------------------------------------------------------------------------------------


def decision_facts(plan: Plan, step: Try | Stop, seen: int, passed: int) -> dict[str, Any]:
    """What was decided, and on what part of the plan: those looked at since *seen* candidates and *passed* others."""
    facts: dict[str, Any] = {}
    if isinstance(step, Try):
        candidate = cast("Candidate", plan.candidate(step.place))
        facts |= {"try": candidate.deployment, "delay": step.delay, "limit": step.limit}
    else:
        facts |= {"stop": step.how}
    facts["why"] = step.why
    if plan.seen[seen:]:
        facts["candidates"] = [one.deployment for one in plan.seen[seen:]]
    if plan.passed[passed:]:
        facts["passed"] = [_passed(out) for out in plan.passed[passed:]]
    return facts


def _passed(out: Excluded) -> dict[str, Any]:
    """Without its sentence: that may repeat what the caller asked, or what a provider said."""
    facts: dict[str, Any] = {"deployment": out.deployment}
    if out.retry_in is not None:
        facts["retry_in"] = out.retry_in
    if out.changes:
        facts["changes"] = [[change.param, change.how] for change in out.changes]
    return facts


def attempt_facts(attempt: Attempt, *, text: bool) -> dict[str, Any]:
    """An attempt; with what the provider said only where *text* is kept."""
    facts: dict[str, Any] = {
        "deployment": attempt.deployment,
        "outcome": attempt.outcome,
        "status": attempt.status,
        "started": attempt.started,
        "duration": attempt.duration,
        "delay": attempt.delay,
        "credential": attempt.credential,
        "cost": [attempt.cost.usd, attempt.cost.source],
    }
    if isinstance(attempt.error, ProviderError):
        facts["error"] = _error_facts(attempt.error, text=text)
    return {name: value for name, value in facts.items() if value is not None}


def attempt_of(facts: Mapping[str, Any]) -> Attempt:
    """The attempt that `attempt_facts` has said."""
    usd, source = facts["cost"]
    error = _error(facts["error"], facts["deployment"]) if "error" in facts else None
    return Attempt(
        deployment=facts["deployment"],
        outcome=facts["outcome"],
        status=facts.get("status"),
        duration=facts["duration"],
        started=facts["started"],
        cost=Cost(usd, source),
        why=str(error) if error is not None else "",
        delay=facts["delay"],
        credential=facts.get("credential"),
        error=error,
    )


def _error_facts(error: ProviderError, *, text: bool) -> dict[str, Any]:
    kind = type(error)
    facts: dict[str, Any] = {
        "is": next(one.__name__ for one in kind.__mro__ if getattr(errors, one.__name__, None) is one),
        "permits": [kind.here, kind.elsewhere, kind.blames],
        "status": error.status,
        "code": error.code,
        "retry_after": error.retry_after,
        "should_retry": error.should_retry,
        "phase": getattr(error, "phase", None),
        "message": error.message if text else None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _error(facts: Mapping[str, Any], deployment: str) -> ProviderError:
    known = getattr(errors, facts["is"], None)
    kind: type[ProviderError] = known if isinstance(known, type) and issubclass(known, ProviderError) else ProviderError
    here, elsewhere, blames = facts["permits"]
    if [kind.here, kind.elsewhere, kind.blames] != [here, elsewhere, blames]:
        # A wire protocol's own class: what it permits is on record, its code need not be here.
        kind = type(kind.__name__, (kind,), {"here": here, "elsewhere": elsewhere, "blames": blames})
    more: dict[str, Any] = {"phase": facts.get("phase", "answer")} if issubclass(kind, ProviderTimeout) else {}
    error = kind(
        facts.get("message", "(its words were not recorded)"),
        status=facts.get("status"),
        code=facts.get("code"),
        retry_after=facts.get("retry_after"),
        deployment=deployment,
        **more,
    )
    error.should_retry = facts.get("should_retry")
    return error


# -- the configuration ------------------------------------------------------------------------------------------------


def accounts(route: Route) -> dict[str, dict[str, Any]]:
    """How each provider of *route* can be asked: its keys by label, or that it wants none, or what would hold one."""
    providers = {one.provider.name: one.provider for one in route.deployments}
    return {
        name: {"keys": [key.label for key in provider.keys]}
        if provider.keys
        else {"keyless": True}
        if provider.keyless
        else {"missing": [*provider.missing]}
        for name, provider in providers.items()
    }


def with_accounts(
    written: Mapping[str, Any], said: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Any], dict[str, str]]:
    """*written* with as many keys as *said*, none of them real; and the environment to load it in."""
    document, environ = dict(written), dict[str, str]()
    providers = {name: dict(row or {}) for name, row in dict(document.get("providers") or {}).items()}
    for name, account in said.items():
        row = providers.setdefault(name, {})
        if account.get("keys"):
            row["api_keys"] = {label: f"no-key-{label}" for label in account["keys"]}
        elif not account.get("keyless"):
            names = account.get("missing") or ["NO_KEY"]
            environ |= dict.fromkeys(names, "")
            row["api_key"] = "${" + names[0] + "}"
        elif "api_key" not in row:
            row["api_key"] = ""
    if providers:
        document["providers"] = providers
    return document, environ


def digest(config: Config, route: Route) -> str:
    """A short name for all of *config* that decides for *route*: no key and no address is in it."""
    models = {one.endpoint.model for one in route.deployments}
    advice = {model: config.sampling[model] for model in models if model in config.sampling}
    return _hash(_plain([route, advice]))


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """*value* as JSON has it, in one order whatever the hashes."""
    if isinstance(value, BaseModel):
        return _plain(dict(value))
    if is_dataclass(value) and not isinstance(value, type):
        told = [field.name for field in fields(value) if field.name not in _UNTOLD]
        return {name: _plain(getattr(value, name)) for name in told}
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, type):
        return value.__name__
    return value


# -- lines ------------------------------------------------------------------------------------------------------------


def line(kind: str, facts: Mapping[str, Any]) -> str:
    """One line of a record."""
    return json.dumps({"format": FORMAT, "version": VERSION, "kind": kind, **facts}, separators=(",", ":")) + "\n"


def config_facts(config: Config) -> dict[str, Any]:
    """The line that comes before the decisions made under *config*."""
    written = None if config.written is None else dict(config.written)
    return {
        "config": _hash(written),
        "file": None if config.file is None else config.file.rpartition("/")[2],
        "written": written,
    }


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request on record, with the routes file it was decided under (None: it had none)."""

    facts: Mapping[str, Any]
    written: Mapping[str, Any] | None
    file: str | None

    @property
    def id(self) -> str:
        return str(self.facts["id"])

    @property
    def attempts(self) -> list[Attempt]:
        return [attempt_of(one) for one in self.facts["attempts"]]


def read(lines: Iterable[str]) -> Iterator[Recorded]:
    """Every request on record, in the order of their ends. The last line may be torn: a process may have died in it.

    Raises:
        ForeignRecord: a line is of no record, or of a version that is not known here.
    """
    configs: dict[str, Mapping[str, Any]] = {}
    torn: ForeignRecord | None = None
    for number, text in enumerate(lines, 1):
        if torn is not None:
            raise torn
        try:
            facts = _checked(text, number)
        except json.JSONDecodeError as error:
            torn = ForeignRecord(f"is not JSON: {error.msg}", number)
            if number == 1:
                raise torn from None
            continue
        if facts["kind"] == "config":
            configs[facts["config"]] = facts
        elif facts["kind"] == "decisions":
            above = configs.get(facts["config"], {})
            yield Recorded(facts, above.get("written"), above.get("file"))


def _checked(text: str, number: int) -> dict[str, Any]:
    facts = json.loads(text)
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        message = f"is no record of decisions: there is no format {FORMAT!r} in it"
        raise ForeignRecord(message, number)
    if facts.get("version") != VERSION:
        message = f"is a record of version {facts.get('version')!r}; this router reads version {VERSION}"
        raise ForeignRecord(message, number)
    return facts


def deployments_of(route: Route) -> tuple[Deployment, ...]:
    """Those that a snapshot is taken of: at most so many, in the order of the file."""
    return route.deployments[:MOST]


MOST = 100  # deployments of a route whose state is recorded; of the others nothing is known when it is replayed
