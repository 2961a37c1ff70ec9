"""The machine's clock, some times as fast: every wait of the loop and of all that runs on it is as many times shorter.

Knows an event loop over sockets whose seconds are shorter than the machine's. Refuses to know what runs on it: whatever
asks the loop for the time, as everything here does, needs no scaling of its own.
"""

from __future__ import annotations

import asyncio
import selectors


class _Short(selectors.DefaultSelector):
    """Waits for what the loop calls so many seconds, which are fewer of the machine's."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self._factor = factor

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(timeout / self._factor if timeout is not None else None)


class HurriedLoop(asyncio.SelectorEventLoop):
    """An event loop over sockets, whose clock runs *factor* times as fast as the machine's."""

    def __init__(self, factor: float) -> None:
        self._factor = factor
        super().__init__(_Short(factor))

    def time(self) -> float:
        return super().time() * self._factor
