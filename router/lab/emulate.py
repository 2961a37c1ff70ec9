"""Start emulators. Knows their names and ports; everything else is theirs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from router.lab.emulators import EMULATORS, PROVIDERS, Emulator


@asynccontextmanager
async def emulate(
    name: str, *, host: str = "127.0.0.1", port: int = 0, api_key: str | None = None, **switches: Any
) -> AsyncIterator[Emulator]:
    """Run the emulator of one provider; *switches* are the arguments of its class. Port 0 takes a free one."""
    if name not in EMULATORS:
        raise ValueError(f"unknown provider {name!r}; there are {', '.join(EMULATORS)}")
    async with EMULATORS[name](api_key=api_key, **switches).bind(host, port) as emulator:
        yield emulator


@asynccontextmanager
async def emulate_all(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    api_key: str | None = None,
    names: tuple[str, ...] = PROVIDERS,
    switches: Mapping[str, Mapping[str, Any]] | None = None,
) -> AsyncIterator[dict[str, Emulator]]:
    """Run several, by default the four providers, on *port* and the ports after it, or each on a free one."""
    async with AsyncExitStack() as stack:
        running: dict[str, Emulator] = {}
        for number, name in enumerate(names):
            one = emulate(
                name, host=host, port=port + number if port else 0, api_key=api_key, **(switches or {}).get(name, {})
            )
            running[name] = await stack.enter_async_context(one)
        yield running
