"""What is allowed and will disappoint, seen without running anything: `lint` by the file alone, `inspect` by what it means.

Knows which rules there are and in which order they are asked; each is a function that yields problems, and every problem
has a code of `kinds`. Refuses to look at the environment, and to send anything. `load` warns of what `lint` finds that is
worth a warning; `router check` says all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from router.documents import Document
from router.lint.dialects import dialects
from router.lint.gateway import gateway
from router.lint.kinds import severity_of
from router.lint.policies import policies
from router.lint.routes import routes
from router.problems import Problem
from router.rows import RoutesFile

if TYPE_CHECKING:
    from router.load import Loaded

__all__ = ["inspect", "lint", "warnings"]

_BY_ROWS: tuple[Callable[[RoutesFile, Document], Iterator[Problem]], ...] = (policies, routes, dialects, gateway)


def lint(rows: RoutesFile, document: Document) -> Iterator[Problem]:
    """Everything about *rows*, which stand in *document*, that can be said without compiling them."""
    for rule in _BY_ROWS:
        yield from rule(rows, document)


def warnings(rows: RoutesFile, document: Document) -> Iterator[Problem]:
    """What `lint` finds that is more than worth knowing: whoever opens the file is told."""
    return (problem for problem in lint(rows, document) if severity_of(problem.code) != "info")


def inspect(loaded: Loaded) -> Iterator[Problem]:
    """All that can be said of a configuration: what `lint` finds, and what its compiled routes and accounts show."""
    # These bring the protocols, and aiohttp with them, which `load` alone does not need.
    from router.lint.accounts import accounts
    from router.lint.fallbacks import fallbacks
    from router.lint.layers import layers
    from router.lint.money import money

    yield from lint(loaded.rows, loaded.document)
    yield from layers(loaded)
    yield from accounts(loaded)
    yield from fallbacks(loaded)
    yield from money(loaded)
