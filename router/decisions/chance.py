"""Chance on record: draws that are written down as they are made, and made again from what is written. Pure.

Knows the two methods that everything else of `random.Random` is made from. A recorded router draws the very same as one
that is not: the draws go through, and are noted on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

Draw = float | int


class Taped(Random):
    """Draws from *source*, and notes each draw on the *tape*."""

    def __init__(self, source: Random) -> None:
        super().__init__(0)
        self.tape: list[Draw] = []
        self._source = source

    def random(self) -> float:
        drawn = self._source.random()
        self.tape.append(drawn)
        return drawn

    def getrandbits(self, k: int, /) -> int:
        drawn = self._source.getrandbits(k)
        self.tape.append(drawn)
        return drawn


class Played(Random):
    """Draws what is on the tape that was put in last; what goes *beyond* it comes from a chance of its own, *seed*."""

    def __init__(self, seed: str) -> None:
        super().__init__(seed)
        self._tape: list[Draw] = []
        self.beyond = 0

    def put_in(self, tape: Sequence[Draw]) -> None:
        """The draws to come."""
        self._tape = [*tape]

    @property
    def left(self) -> int:
        """Draws that nobody has made."""
        return len(self._tape)

    def random(self) -> float:
        return float(self._next(float, super().random))

    def getrandbits(self, k: int, /) -> int:
        return int(self._next(int, lambda: super(Played, self).getrandbits(k)))

    def _next(self, kind: type, own: Any) -> Draw:
        if self._tape and self._tape[0].__class__ is kind:
            return self._tape.pop(0)
        self.beyond += 1
        drawn: Draw = own()
        return drawn
