"""What a drill has found, for people and for machines. No value in it comes from a clock of the machine.

Knows how a finding, a result and a report look. Refuses to judge (`judge`) and to know terminals (`router.cli`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from router.lab.drills.judge import VERDICTS, Word
from router.lab.script import provider_of

if TYPE_CHECKING:
    from providers.types import Attempt
    from router.lab.drills.play import Played

DIGITS = 6  # of seconds
CENTS = 12  # digits of dollars


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to mend, or to know. *scenario*: where it showed; None for what the file alone says, which has a *code*."""

    severity: str
    message: str
    scenario: str | None = None
    route: str | None = None
    deployment: str | None = None
    path: str | None = None
    line: int | None = None
    fix: str | None = None
    code: str | None = None

    def facts(self) -> dict[str, Any]:
        """The finding, ready for JSON."""
        order = ("severity", "scenario", "code", "route", "deployment", "path", "line", "message", "fix")
        said = asdict(self)
        return {name: said[name] for name in order}

    def __str__(self) -> str:
        """The place, what is wrong and what mends it."""
        place = self.path or "" if self.scenario is None else ", ".join(filter(None, (self.route, self.scenario)))
        line = f" (line {self.line})" if self.line is not None else ""
        fix = f"\n    {self.path}: {self.fix}" if self.fix and self.path else f"\n    {self.fix}" if self.fix else ""
        return f"{place}: {self.message}{line}{fix}"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one scenario on one route.

    *verdict*: `pass`, `partial`, `safe`, `fail`, or `skipped`, and then *skipped* says why. *findings*: why it is no
    better. *callers*: how many asked, were answered, and met which errors. *attempts*: of a lone caller. *providers*: by
    deployment, the requests that it got, how many of them met the fault, and its invoices' dollars. *first_token*,
    *total*: seconds that the slowest caller waited. *cost*: dollars that the answers speak of, and that were invoiced.
    """

    name: str
    route: str
    verdict: Word
    says: str
    skipped: str = ""
    findings: tuple[Finding, ...] = ()
    callers: Mapping[str, Any] = field(default_factory=dict)
    attempts: tuple[Mapping[str, Any], ...] = ()
    providers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    first_token: float | None = None
    total: float | None = None
    cost: Mapping[str, float | None] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """The result, ready for JSON."""
        return {
            "name": self.name,
            "route": self.route,
            "verdict": self.verdict,
            "says": self.says,
            "skipped": self.skipped or None,
            "findings": [finding.facts() for finding in self.findings],
            "callers": dict(self.callers),
            "attempts": [dict(attempt) for attempt in self.attempts],
            "providers": {name: dict(one) for name, one in self.providers.items()},
            "first_token": self.first_token,
            "total": self.total,
            "cost": dict(self.cost),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """A whole drill.

    *file*: what was drilled; *noted*: what it alone says; *at_least*: the verdict that was asked for.
    """

    file: str
    scenarios: tuple[Result, ...] = ()
    noted: tuple[Finding, ...] = ()
    at_least: Word = "pass"
    seed: int = 0

    @property
    def ok(self) -> bool:
        """Whether there is nothing to complain about."""
        return not self.findings

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All that makes it not `ok`: what the file alone says, and what kept scenarios below the verdict asked for."""
        return (*self.noted, *(finding for result in self.short for finding in result.findings))

    @property
    def short(self) -> tuple[Result, ...]:
        """The scenarios below the verdict that was asked for."""
        enough = VERDICTS.index(self.at_least)
        return tuple(one for one in self.scenarios if one.verdict != "skipped" and VERDICTS.index(one.verdict) < enough)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many scenarios have each verdict."""
        return Counter(one.verdict for one in self.scenarios)

    def to_json(self, *, indent: int | None = 2) -> str:
        """The report as JSON: the same text for the same file, scenarios and seed."""
        return json.dumps(self.facts(), indent=indent)

    def facts(self) -> dict[str, Any]:
        """The report, ready for JSON."""
        return {
            "ok": self.ok,
            "file": self.file,
            "seed": self.seed,
            "at_least": self.at_least,
            "findings": [finding.facts() for finding in self.findings],
            "scenarios": [one.facts() for one in self.scenarios],
        }

    def assert_ok(self) -> None:
        """Nothing, or everything that is to be mended.

        Raises:
            AssertionError: there are findings.
        """
        if not self.ok:
            raise AssertionError(str(self))

    def __str__(self) -> str:
        """The verdicts that are no `pass`, how many of each there are, and the findings."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        counted = ", ".join(f"{count} {word}" for word, count in sorted(self.counts.items(), key=_rank))
        yield f"drill of {self.file}: {counted or 'no scenarios'}"
        for one in self.scenarios:
            if one.verdict not in ("pass", "skipped"):
                yield f"  {one.verdict:<8} {one.route}: {one.name} ({one.says})"
        if self.findings:
            yield "findings:"
            yield from (f"  {finding}" for finding in self.findings)


def _rank(item: tuple[str, int]) -> int:
    return -VERDICTS.index(item[0]) if item[0] in VERDICTS else 1


# -- from what was played ---------------------------------------------------------------------------------------------


def result_of(played: Played, verdict: Word, findings: Sequence[Finding]) -> Result:
    """What *played* came to."""
    heard, script = played.heard, played.script
    firsts = [one.first for one in heard if one.first is not None]
    return Result(
        name=script.name,
        route=played.ground.route.name,
        verdict=verdict,
        says=script.says,
        findings=tuple(findings),
        callers={
            "count": len(heard),
            "answered": sum(one.error is None for one in heard),
            "errors": dict(sorted(Counter(type(one.error).__name__ for one in heard if one.error is not None).items())),
        },
        attempts=tuple(map(attempt_facts, heard[0].attempts)) if len(heard) == 1 else (),
        providers={name: _provider(played, name) for name in played.cast.order},
        first_token=_seconds(max(firsts, default=None)),
        total=_seconds(max((one.total for one in heard), default=None)),
        cost=_cost(played),
    )


def attempt_facts(attempt: Attempt) -> dict[str, Any]:
    """An attempt, ready for JSON; times are seconds since the request came in."""
    return {
        "deployment": attempt.deployment,
        "outcome": attempt.outcome,
        "status": attempt.status,
        "started": _seconds(attempt.started),
        "duration": _seconds(attempt.duration),
        "cost": _dollars(attempt.cost.usd),
        "why": attempt.why.partition("\n")[0],
    }


def _provider(played: Played, deployment: str) -> dict[str, Any]:
    requests = played.requests(deployment)
    provider = provider_of(deployment)
    model = played.ground.deployments[deployment].endpoint.wire_model
    invoices = [one for one in played.invoices.get(provider, ()) if one.model == model]
    return {
        "requests": len(requests),
        "faults": sum(one.fault is not None for one in requests),
        "billed": _dollars(sum(one.usd for one in invoices)),
    }


def _cost(played: Played) -> dict[str, float | None]:
    facts = [one.answer or getattr(one.error, "partial", None) for one in played.heard]
    told = [one.cost.usd for one in facts if one is not None and one.cost.usd is not None]
    billed = [invoice.usd for invoices in played.invoices.values() for invoice in invoices]
    return {"usd": _dollars(sum(told)) if told else None, "billed": _dollars(sum(billed))}


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)


def _dollars(value: float | None) -> float | None:
    return None if value is None else round(value, CENTS)
