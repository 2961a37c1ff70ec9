"""Where a lab's emulators run: in memory or on sockets, from the first router that needs them to the last.

Knows how they are started, shared and stopped. Refuses to know configurations and routers.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from providers.transport import Transport
from router.lab.memory import Network
from router.lab.virtual import Threadless

if TYPE_CHECKING:
    from router.config import Provider
    from router.lab.emulators import Emulator

_HOST = re.compile(r"[a-z][a-z0-9-]*")


class Ground:
    """In memory, where nothing leaves the process and an event loop may be virtual; or, with *sockets*, on this machine."""

    def __init__(self, *, sockets: bool = False) -> None:
        self._sockets = sockets
        self._network = Network()
        self._stack = AsyncExitStack()
        self._up: set[str] = set()
        self._users = 0

    @property
    def loop_factory(self) -> Callable[[], asyncio.AbstractEventLoop] | None:
        """What makes an event loop for it, where the lab has one of its own; None for an ordinary one."""
        return None if self._sockets else Threadless

    def transports(self, provider: Provider) -> Transport:
        """The `transports` of a router."""
        if self._sockets:
            return Transport()
        return Transport(create_connection=self._network.create_connection, clock=self._network.now)

    def _host(self, name: str) -> str:
        """*name* where it can stand in a URL, else a number."""
        return f"{name if _HOST.fullmatch(name) else f'provider-{len(self._up)}'}.test"

    @asynccontextmanager
    async def under(self, emulators: Mapping[str, Emulator]) -> AsyncIterator[dict[str, str]]:
        """The base URLs of *emulators*, which run at least until the end of this."""
        self._users += 1
        try:
            for name, emulator in emulators.items():
                if name not in self._up:
                    placed = emulator.bind() if self._sockets else emulator.inside(self._network, self._host(name))
                    await self._stack.enter_async_context(placed)
                    self._up.add(name)
            yield {name: emulator.base_url for name, emulator in emulators.items()}
        finally:
            self._users -= 1
            if not self._users:
                self._up.clear()
                await self._stack.aclose()
                self._network = Network()
