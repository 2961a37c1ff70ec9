"""`${NAME}` and `${NAME:-default}` in the values of a document, replaced from an environment that is an argument.

Replaced after parsing and once: what a variable holds is text, never structure, and a `${…}` inside it stays as it is.
As in a shell, `:-` means *unset or empty*. Keys are never replaced, `$` alone and `$$` mean themselves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from providers.errors import nearest
from router.documents import Document
from router.problems import Problem, Steps

_USE = re.compile(r"\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<fallback>:-[^{}]*)?\})?")


def fill(document: Document, environ: Mapping[str, str], *, optional: bool = False) -> Document:
    """*document* with every variable replaced.

    A variable that is not set, and has no default, leaves null; that is a problem, unless it is *optional*. Either way,
    and when it is set but empty, its name is in `missing` under the path.
    """
    filling = _Filling(document, environ, optional=optional)
    value = filling.value(document.value, ())
    problems = (*document.problems, *filling.problems)
    filled = frozenset(filling.filled)
    return replace(document, value=value, problems=problems, filled=filled, missing=filling.missing)


class _Filling:
    def __init__(self, document: Document, environ: Mapping[str, str], *, optional: bool) -> None:
        self._document, self._environ, self._optional = document, environ, optional
        self.problems: list[Problem] = []
        self.filled: set[Steps] = set()
        self.missing: dict[Steps, tuple[str, ...]] = {}

    def value(self, value: Any, steps: Steps) -> Any:
        if isinstance(value, dict):
            for key in (one for one in value if isinstance(one, str) and "${" in one):
                self._problem(
                    (*steps, key), f"{key} is a key, and variables are read in values", "write it out", "yaml"
                )
            return {key: self.value(item, (*steps, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(item, (*steps, place)) for place, item in enumerate(value)]
        return self._text(value, steps) if isinstance(value, str) and "${" in value else value

    def _text(self, text: str, steps: Steps) -> str | None:
        uses = list(_USE.finditer(text))
        if any(use["name"] is None for use in uses):
            self._problem(
                steps, "a variable is not written rightly", "write ${NAME} or ${NAME:-default}, no nesting", "yaml"
            )
            return None
        wanted = [use["name"] for use in uses if use["fallback"] is None]
        if empty := tuple(name for name in wanted if not self._environ.get(name)):
            self.missing[steps] = empty
        unset = [name for name in wanted if name not in self._environ]
        for name in unset if not self._optional else ():
            close = nearest(name, self._environ)
            also = f"; {close}" if close.startswith("did you mean") else ""
            self._problem(
                steps,
                f"the environment variable {name} is not set",
                f"set it, or write ${{{name}:-default}}{also}",
                "variable-missing",
            )
        self.filled.add(steps)
        return None if unset else _USE.sub(self._replacement, text)

    def _replacement(self, use: re.Match[str]) -> str:
        return self._environ.get(use["name"], "") or (use["fallback"] or "").removeprefix(":-")

    def _problem(self, steps: Steps, message: str, hint: str, code: str) -> None:
        self.problems.append(self._document.problem(steps, message, hint, code=code))
