"""The catalog and the user's file, one over the other: who said what of each provider and each deployment.

Knows how rows lie over each other (the last one that says a key wins) and which row said it, for errors. Refuses to
know what the keys mean beyond that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from providers.dialect import Row
from router.documents import Document
from router.problems import Problem, Steps
from router.rows import CatalogFile, ModelRow, PlacedRow, ProviderRow

R_co = TypeVar("R_co", bound=Row, covariant=True)


@dataclass(frozen=True, slots=True)
class Layer(Generic[R_co]):
    """One row, and where it stands."""

    row: R_co
    document: Document
    steps: Steps

    def problem(self, *steps: str | int, message: str, hint: str | None = None, code: str = "invalid-value") -> Problem:
        """*message* about *steps* inside this row; *code* names its kind."""
        return self.document.problem((*self.steps, *steps), message, hint, code=code)


@dataclass(frozen=True, slots=True)
class Stack(Generic[R_co]):
    """Rows about the same thing, the lowest first."""

    layers: list[Layer[R_co]] = field(default_factory=list)

    @property
    def top(self) -> Layer[R_co]:
        """The last that spoke."""
        return self.layers[-1]

    @property
    def rows(self) -> tuple[R_co, ...]:
        """All the rows, lowest first."""
        return tuple(layer.row for layer in self.layers)

    def who_says(self, *keys: str) -> Layer[R_co] | None:
        """The last row that says one of *keys*; None if none does."""
        return next((layer for layer in reversed(self.layers) if layer.row.model_fields_set & set(keys)), None)

    def last(self, key: str) -> Any:
        """What the last row that says *key* says of it, else the default."""
        layer = self.who_says(key) or self.top
        return getattr(layer.row, key)

    def merged(self, key: str) -> dict[str, Any]:
        """What all the rows under *key* say, by inner key."""
        inner: dict[str, Any] = {}
        for layer in self.layers:
            row = getattr(layer.row, key)
            if row is not None:
                inner |= {name: getattr(row, name) for name in row.model_fields_set}
        return inner


@dataclass(frozen=True, slots=True)
class Facts:
    """All providers, deployments (by `provider/model`) and models that any file speaks of. *models*: their deployments."""

    providers: dict[str, Stack[ProviderRow]] = field(default_factory=dict)
    deployments: dict[str, Stack[PlacedRow]] = field(default_factory=dict)
    models: dict[str, dict[str, None]] = field(default_factory=dict)
    sampling: dict[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)

    def add(self, rows: CatalogFile, document: Document) -> Iterator[Problem]:
        """Lay *rows* over what is known. Yields what this cannot mean."""
        for name, row in rows.providers.items():
            self.providers.setdefault(name, Stack()).layers.append(Layer(row, document, ("providers", name)))
        for name, model in rows.models.items():
            yield from self._model(name, model, document)

    def _model(self, name: str, model: ModelRow, document: Document) -> Iterator[Problem]:
        ours = self.models.setdefault(name, {})
        self.sampling[name] = {**self.sampling.get(name, {}), **model.sampling}
        for place, row in enumerate(model.deployments):
            layer = Layer(row, document, ("models", name, "deployments", place))
            full = f"{row.provider}/{name}"
            stack = self.deployments.setdefault(full, Stack())
            if any(known.document is document for known in stack.layers):
                message = f"{row.provider} stands twice in this model"
                yield layer.problem("provider", message=message, hint="say it once", code="named-twice")
            stack.layers.append(layer)
            ours[full] = None
