"""What a fault script demands beyond an answer: who gives it, when it begins, where it is mended, how often each is asked.

Knows the values, and how they are written in YAML. Refuses to judge (`drills.exact`). Pure.

What any router owes any caller is demanded of every script and stands in none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BeforeValidator, Field, model_validator

from providers.dialect import Row
from router import units
from router.fields import Whole

_RANGE = r"([0-9]+)(-([0-9]+)?)?"


class Mended(NamedTuple):
    """One seam of an answer: *how* it was mended, after so many *words* of the text; None: wherever."""

    how: str
    words: int | None = None


@dataclass(frozen=True, slots=True)
class Demands:
    """What has to come of a script; what is not said may be as it likes.

    *by*: who gives the answer, as `who` of a trouble. *seams*: how it was mended, () for not at all. *after*, *within*:
    seconds that the first token has to wait, or may. *requests*: the least and the most that whoever is meant may get,
    None for no end; where there are time windows, as long as these last. *line* of the file, where there is one.
    """

    by: str | None = None
    seams: tuple[Mended, ...] | None = None
    after: float = 0.0
    within: float | None = None
    requests: Mapping[str, tuple[int, int | None]] = field(default_factory=dict)
    line: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Everybody who is named."""
        return (*([self.by] if self.by else []), *self.requests)


ANYTHING = Demands()


def span(value: object, *, lowest: int) -> tuple[int, int | None]:
    """The ends of `2`, `1-3` or `4-` requests, None for no end.

    Raises:
        ValueError: it is none of these, begins below *lowest*, or counts downwards.
    """
    found = re.fullmatch(_RANGE, str(value), re.ASCII) if not isinstance(value, bool) else None
    if found is None or isinstance(value, float):
        raise ValueError(f"{value!r} are no requests; write e.g. 1, 1-3 or 4-")
    least = int(found[1])
    most = least if found[2] is None else int(found[3]) if found[3] else None
    if least < lowest or (most is not None and most < least):
        raise ValueError(f"{value!r} are no requests: they count from {lowest}, and upwards; write e.g. 1-3")
    return least, most


Requests = Annotated[tuple[int, int | None], BeforeValidator(partial(span, lowest=0))]
Seconds = Annotated[float, BeforeValidator(units.duration)]


class SeamRow(Row):
    """One place where the answer was mended."""

    how: Literal["spliced", "continued", "restarted"]
    words: Whole | None = None


class FirstTokenRow(Row):
    """When the first token comes."""

    after: Seconds | None = None
    within: Seconds | None = None

    @model_validator(mode="after")
    def _is_some_time(self) -> Self:
        if self.within is not None and self.within < (self.after or 0.0):
            raise ValueError(f"within: {self.within:g}s is sooner than after")
        return self


class DemandsRow(Row):
    """What has to come of a script, beside what it expects."""

    by: str | None = None
    seams: tuple[SeamRow, ...] | None = None
    first_token: FirstTokenRow = Field(default_factory=FirstTokenRow)
    requests: dict[str, Requests] = Field(default_factory=dict)

    def demands(self, line: int | None = None) -> Demands:
        """The value that the row means."""
        seams = None if self.seams is None else tuple(Mended(one.how, one.words) for one in self.seams)
        first = self.first_token
        return Demands(self.by, seams, first.after or 0.0, first.within, self.requests, line)
