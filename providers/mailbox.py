"""Results that are brought, not fetched: webhooks, matched with the exchanges that wait for them.

Knows tasks by their id, that a result may come before anybody waits for it, twice, or for nobody. Refuses to know HTTP:
whoever receives a webhook hands its payload to `Mailbox.deliver`, after having checked who sent it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Any

MOST = 10_000  # tasks whose results are kept until somebody asks; the oldest goes first


class Mailbox:
    """One box a task. Used from one event loop."""

    def __init__(self) -> None:
        self._boxes: OrderedDict[str, deque[Mapping[str, Any]]] = OrderedDict()
        self._bells: dict[str, asyncio.Event] = {}
        self._awaited: set[str] = set()  # also while whoever waits asks the provider himself

    def deliver(self, task: str, payload: Mapping[str, Any]) -> bool:
        """Put *payload* into the box of *task*; a copy of what is there already is not kept. True if somebody waits."""
        box = self._boxes.setdefault(task, deque())
        self._boxes.move_to_end(task)
        if payload not in box:
            box.append(payload)
        while len(self._boxes) > MOST:
            self._boxes.popitem(last=False)
        bell = self._bells.get(task)
        if bell is not None:
            bell.set()
        return task in self._awaited

    async def wait(self, task: str, seconds: float) -> Mapping[str, Any] | None:
        """The next result for *task*, or None when none has come within *seconds*. It is awaited until `leave`."""
        self._awaited.add(task)
        if not self._boxes.get(task):
            bell = self._bells[task] = asyncio.Event()
            try:
                async with asyncio.timeout(seconds):
                    await bell.wait()
            except TimeoutError:
                return None
            finally:
                self._bells.pop(task, None)
        box = self._boxes.get(task)
        return box.popleft() if box else None

    def forget(self, task: str) -> None:
        """*task* has had its answer."""
        self._boxes.pop(task, None)
        self._awaited.discard(task)

    def leave(self, task: str) -> None:
        """Whoever waited for *task* does not any more; what comes is kept for who may ask again."""
        self._awaited.discard(task)
