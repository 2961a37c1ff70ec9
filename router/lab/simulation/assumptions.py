"""What a simulation takes for granted: how the providers answer, and what is asked of them. Read from YAML.

Knows the rows, their defaults, and how they lie over each other: `all`, then the provider, then the deployment. Refuses
to know any real provider's speed: nobody publishes it, and the defaults are the same for everybody. Who wants to learn
something of his latency puts his own measurements here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from providers.dialect import Row
from providers.errors import nearest
from router.config import Limits
from router.documents import Document, plain, read
from router.fields import Amount, Count, Duration
from router.problems import Problem, together
from router.rows import LimitsRow
from router.validate import check

EVERYBODY = "all"
Arrivals = Literal["poisson", "even"]


@dataclass(frozen=True, slots=True)
class Conduct:
    """How a deployment answers when nothing is wrong. Times are seconds.

    *first_token*: the median until the first token; *spread* the sigma of its logarithm (0: always the same). *refusal*:
    until a refusal or a broken connection shows. *limits*: what it takes a minute and at once; more is answered with 429,
    with `Retry-After` where *retry_after*. None of the limits: those that the routes file says of the account.
    """

    first_token: float = 0.6
    spread: float = 0.35
    tokens_per_second: float = 60.0
    refusal: float = 0.08
    retry_after: bool = False
    limits: Limits | None = None

    def slower(self, times: float) -> Conduct:
        """The same, so many times slower."""
        return replace(self, first_token=self.first_token * times, tokens_per_second=self.tokens_per_second / times)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is asked. Tokens are medians, with the sigma of their logarithm beside them.

    *repeats*: whether two answers to one request are the same to the letter, so that a broken stream can be spliced.
    """

    prompt_tokens: float = 500.0
    prompt_spread: float = 0.7
    answer_tokens: float = 250.0
    answer_spread: float = 0.5
    arrivals: Arrivals = "poisson"
    stream: bool = True
    repeats: bool = False


@dataclass(frozen=True, slots=True)
class Assumptions:
    """*conducts*: by deployment, provider or `all`, as rows of what differs from what lies under it."""

    traffic: Traffic = field(default_factory=Traffic)
    conducts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    file: str | None = None
    lines: Mapping[str, int | None] = field(default_factory=dict)

    def conduct(self, deployment: str) -> Conduct:
        """How *deployment* (`provider/model`) answers."""
        provider = deployment.partition("/")[0]
        layers = (self.conducts.get(name, {}) for name in (EVERYBODY, provider, deployment))
        return replace(Conduct(), **{key: value for layer in layers for key, value in layer.items()})

    def strangers(self, known: Iterable[str]) -> tuple[Problem, ...]:
        """The names that mean nobody; *known* are deployments, `provider/model`."""
        deployments = tuple(known)
        names = {EVERYBODY, *deployments, *(name.partition("/")[0] for name in deployments)}
        return tuple(
            Problem(
                f"{name!r} is nobody here", self.file, self.lines.get(name), f"conduct.{name}", nearest(name, names)
            )
            for name in self.conducts
            if name not in names
        )


# -- rows -------------------------------------------------------------------------------------------------------------

Spread = Annotated[Amount, Field(le=3)]  # beyond it one answer in a thousand would take ten thousand times the median


class ConductRow(Row):
    """How a deployment answers; what is left out is as the layer below says."""

    first_token: Duration | None = None
    spread: Spread | None = None
    tokens_per_second: Annotated[Amount, Field(gt=0)] | None = None
    refusal: Duration | None = None
    retry_after: bool | None = None
    limits: LimitsRow | None = None


class TrafficRow(Row):
    """What is asked."""

    prompt_tokens: Count | None = None
    prompt_spread: Spread | None = None
    answer_tokens: Count | None = None
    answer_spread: Spread | None = None
    arrivals: Arrivals | None = None
    stream: bool | None = None
    repeats: bool | None = None


class AssumptionsFile(Row):
    """The whole file."""

    traffic: TrafficRow = Field(default_factory=TrafficRow)
    conduct: dict[str, ConductRow] = Field(default_factory=dict)


def load_assumptions(source: str | Path | Mapping[str, Any]) -> Assumptions:
    """The assumptions in a YAML file, or in the same as a mapping.

    Raises:
        ConfigError: it cannot be read, or means nothing; `.problems` has all that is wrong, each with its line.
    """
    document = plain(source) if isinstance(source, Mapping) else read(Path(source), file=str(source))
    checked = check(document, AssumptionsFile)
    if checked.problems:
        raise together(checked.problems)
    return _assumptions(checked.rows, document)


def _assumptions(rows: AssumptionsFile, document: Document) -> Assumptions:
    return Assumptions(
        replace(Traffic(), **_said(rows.traffic)),
        {name: _said(row) for name, row in rows.conduct.items()},
        document.file,
        {name: document.line(("conduct", name)) for name in rows.conduct},
    )


def _said(row: Row) -> dict[str, Any]:
    """What *row* says; null says nothing."""
    said = {name: value for name in row.model_fields_set if (value := getattr(row, name)) is not None}
    if isinstance(said.get("limits"), LimitsRow):
        said["limits"] = Limits(**said["limits"].model_dump())
    return {name: said[name] for name in type(row).model_fields if name in said}
