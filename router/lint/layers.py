"""What a provider's row says and every deployment's row says otherwise: it never takes effect. Pure.

Knows how rows lie over each other: a deployment's, the catalog's too, lies over its provider's. Refuses to know what the
keys mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from providers.dialect import DialectRow
from router.problems import Problem, Steps

if TYPE_CHECKING:
    from router.layers import Facts, Layer
    from router.load import Loaded
    from router.rows import PlacedRow

_MERGED = frozenset(("params", "always", "when_streaming", "defaults", "headers"))  # by key; all else is replaced whole
_ADDED = frozenset(("errors",))  # the lines of all rows are read


def layers(loaded: Loaded) -> Iterator[Problem]:
    """Every word of a provider's row that no deployment in use is left to hear.

    In use are those of the file's routes; all that the provider serves, where no route names one.
    """
    routed = {one.name for route in loaded.config.routes.values() for tier in route.tiers for one in tier}
    for name, row in loaded.rows.providers.items():
        served = [each for each in loaded.facts.deployments if each.partition("/")[0] == name]
        heard = [each for each in served if each in routed] or served
        for word in _words(row) if heard else ():
            above = [_over(word, each, loaded.facts) for each in heard]
            if all(above):
                said = next(one for one in above if one is not None)
                where = "models." + ".".join(map(str, said.steps[1:2]))
                file = f" of {said.document.file}" if said.document is not loaded.document else ""
                who = f"{', '.join(heard)} say{'s' * (len(heard) == 1)} otherwise ({where}{file})"
                message = f"{who}: it never takes effect{' on the routes of this file' if routed & set(heard) else ''}"
                hint = f"say it of the deployment, under {where}.deployments"
                yield loaded.document.problem(("providers", name, *word), message, hint, code="row-overridden")


def _words(row: DialectRow) -> Iterator[Steps]:
    """What *row* says of the wire, as steps inside it."""
    for key in sorted((row.model_fields_set & DialectRow.model_fields.keys()) - _ADDED):
        if key in _MERGED:
            yield from ((key, inner) for inner in getattr(row, key))
        else:
            yield (key,)


def _over(word: Steps, deployment: str, facts: Facts) -> Layer[PlacedRow] | None:
    """The row of *deployment* that says *word*, too."""
    stack = facts.deployments[deployment]
    return next((layer for layer in reversed(stack.layers) if word in set(_words(layer.row))), None)
