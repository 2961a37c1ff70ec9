"""What an emulator remembers and what it is told to do: received requests, invoices, scripts.

Knows no provider and no socket.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any, Generic, TypeVar

_SECRET = frozenset({"authorization", "x-api-key", "api-key", "cookie"})

T = TypeVar("T")


class Headers(dict[str, str]):
    """Headers as they came, read case-insensitively; keys are masked in every rendering."""

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(self._spelled(name))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(self._spelled(name))

    def get(self, name: str, default: Any = None) -> Any:
        """Return the header or *default*."""
        return super().get(self._spelled(name), default)

    def _spelled(self, name: str) -> str:
        return next((held for held in self if held.lower() == name.lower()), name)

    def __repr__(self) -> str:
        return repr({name: "***" if name.lower() in _SECRET else value for name, value in self.items()})

    __str__ = __repr__


@dataclass(slots=True, eq=False)
class Received:
    """One request that arrived. Its rendering shows no body: Runware's may hold a key."""

    at: float  # the event loop's time
    method: str
    path: str
    query: dict[str, str]
    headers: Headers
    raw: bytes
    body: Any  # the parsed JSON, or None
    too_large: bool = False  # the body was not read to its end
    status: int | None = None  # what it was answered with; None while, or if, no status was ever sent
    replayed: int | None = None  # the line of the recording that it was answered from

    def __repr__(self) -> str:
        return f"Received({self.method} {self.path}, status={self.status}, at={self.at:.3f}, headers={self.headers!r})"


@dataclass(frozen=True, slots=True)
class Invoice:
    """What one request costs; *completion* includes *reasoning*."""

    request: Received
    model: str
    prompt: int
    cached: int
    completion: int
    reasoning: int
    usd: float


class Newest(list[T]):
    """A list that is only ever appended to and forgets its oldest items: at most *keep* stay, all where that is None."""

    def __init__(self, keep: int | None = None) -> None:
        super().__init__()
        self.keep = keep
        self.total = 0  # ever appended, the forgotten ones too

    def append(self, item: T) -> None:
        super().append(item)
        self.total += 1
        if self.keep is not None and len(self) > self.keep:
            del self[: len(self) - self.keep]


@dataclass(slots=True, eq=False)
class Entry(Generic[T]):
    """One line of a script."""

    item: T
    left: int | None  # None: for ever
    when: Callable[[Received], bool] | None = None

    def rank(self) -> int:
        """Counted lines come first, standing ones with a condition before those without."""
        return 0 if self.left is not None else 1 if self.when is not None else 2


class Script(Generic[T]):
    """Counted entries first, first in, first out; then the standing ones, newest first."""

    def __init__(self) -> None:
        self._counted: list[Entry[T]] = []
        self._standing: list[Entry[T]] = []  # in the order in which they are asked

    def __len__(self) -> int:
        return len(self._counted) + len(self._standing)

    def add(self, item: T, times: int | None, when: Callable[[Received], bool] | None = None) -> None:
        """Append *item* for so many requests; *times* None is for ever."""
        if times is not None and times < 1:
            raise ValueError(f"times must be at least 1, or None for ever, not {times}")
        entry = Entry(item, times, when)
        if times is None:
            self._standing = sorted([entry, *self._standing], key=Entry.rank)
        else:
            self._counted.append(entry)

    def take(self, received: Received, fits: Callable[[T], bool] | None = None) -> Entry[T] | None:
        """Use one turn of the first entry that is meant for this request."""
        for entry in chain(self._counted, self._standing):
            if (fits is None or fits(entry.item)) and (entry.when is None or entry.when(received)):
                self._use(entry)
                return entry
        return None

    def _use(self, entry: Entry[T]) -> None:
        if entry.left is not None:
            entry.left -= 1
            if entry.left == 0:
                self._counted.remove(entry)

    def give_back(self, entry: Entry[T]) -> None:
        """Return a turn that was not used after all."""
        if entry.left is not None:
            entry.left += 1
            if entry.left == 1:
                self._counted.insert(0, entry)

    def clear(self) -> None:
        """Forget everything."""
        self._counted.clear()
        self._standing.clear()
