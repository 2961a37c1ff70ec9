"""Rows of a provider's or a deployment's wire that say what never takes effect. Pure.

Knows the keys of a parameter's row and the order in which lines of `errors` are read. Refuses to know any provider.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from providers.dialect import DialectRow, ErrorRule
from providers.failures import FAILURES, believable
from router.documents import Document
from router.problems import Problem, Steps
from router.rows import RoutesFile

_LISTS = ("stop", "tools")  # the fields of which max_items can speak


def dialects(rows: RoutesFile, document: Document) -> Iterator[Problem]:
    """Every finding about what *rows* say of the wire."""
    for name, provider in rows.providers.items():
        yield from _dialect(provider, document, ("providers", name))
    for name, model in rows.models.items():
        for place, row in enumerate(model.deployments):
            yield from _dialect(row, document, ("models", name, "deployments", place))


def _dialect(row: DialectRow, document: Document, steps: Steps) -> Iterator[Problem]:
    for name, rule in row.params.items():
        if rule is None:
            continue
        for key, dead in (
            ("levels", rule.levels is not None and name != "reasoning_effort"),
            ("range", rule.range is not None and (name == "reasoning_effort" or set(rule.range) == {None})),
            ("exact", rule.exact and rule.levels is None),
            ("max_items", rule.max_items is not None and name not in _LISTS),
        ):
            if dead:
                message = f"{key} has no effect on {name} here"
                where = (*steps, "params", name, key)
                yield document.problem(where, message, "leave it out", code="word-no-effect")
    yield from _errors(row.errors, document, (*steps, "errors"))


def _errors(rules: Sequence[ErrorRule], document: Document, steps: Steps) -> Iterator[Problem]:
    for place, rule in enumerate(rules):
        if rule.status is not None and not believable(FAILURES[rule.is_], rule.status):
            message = f"under {rule.status} nobody is believed that the request is at fault: it never takes effect"
            hint = "leave it out, or say what it is of the provider"
            yield document.problem((*steps, place), message, hint, code="error-rule-disbelieved")
        above = next((number for number, other in enumerate(rules[:place]) if _covers(other, rule)), None)
        if above is not None:
            line = document.line((*steps, above))
            which = f"the one in line {line}" if line is not None else f"number {above + 1}"
            message = f"a line above it, {which}, matches all that it matches: it is never read"
            hint = "put it above that line, or leave it out"
            yield document.problem((*steps, place), message, hint, code="error-rule-shadowed")


def _covers(wide: ErrorRule, narrow: ErrorRule) -> bool:
    """Whether *wide* matches whatever *narrow* matches."""
    return (
        (wide.status is None or wide.status == narrow.status)
        and (wide.code is None or (narrow.code is not None and _code_covers(wide.code, narrow.code)))
        and (wide.text is None or (narrow.text is not None and wide.text.lower() in narrow.text.lower()))
    )


def _code_covers(wide: str, narrow: str) -> bool:
    """The same of two codes, in which `*` stands for anything: a star of *narrow* can only be met by one of *wide*."""
    pattern = ".*".join(re.escape(piece) for piece in wide.lower().split("*"))
    return re.fullmatch(pattern, narrow.lower()) is not None
