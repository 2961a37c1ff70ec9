"""What is wrong with a file, as values: a place, a sentence, and what would have been right.

Knows how a place is written and how many problems become one error. Refuses to know what is checked, and of what.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import starmap

from providers.errors import ConfigError

Steps = tuple[str | int, ...]  # the keys and places on the way to a value


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or will disappoint: *message* at *path*, which stands in *line* of *file*; *hint* mends it.

    Of a file that cannot be loaded it is part of a `ConfigError`; of one that can be, a warning. *code* names its kind,
    for machines; `router.lint.kinds` has them all.
    """

    message: str
    file: str | None = None
    line: int | None = None
    path: str = ""
    hint: str | None = None
    code: str = "invalid-value"

    def error(self) -> ConfigError:
        """This problem as an error."""
        return ConfigError(self.message, file=self.file, line=self.line, path=self.path, hint=self.hint, code=self.code)

    def __str__(self) -> str:
        return str(self.error())


def dotted(steps: Steps) -> str:
    """*steps* as people write them: `routes.chat.deployments[0].weight`."""
    return "".join(starmap(_step, enumerate(steps)))


def _step(place: int, step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if place else step


def together(problems: Iterable[Problem]) -> ConfigError:
    """All *problems* as one error, in the order of their lines; it speaks of the first and lists them all."""
    ordered = sorted(problems, key=lambda problem: (problem.file or "", problem.line or 0))
    first, errors = ordered[0], [problem.error() for problem in ordered]
    if len(errors) == 1:
        return errors[0]
    return ConfigError(
        first.message,
        file=first.file,
        line=first.line,
        path=first.path,
        hint=first.hint,
        code=first.code,
        problems=errors,
    )
