"""Start emulators, over sockets or in memory. Knows their names and where they listen; everything else is theirs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from providers.transport import Transport
from router.lab.emulators import EMULATORS, PROVIDERS, Emulator
from router.lab.memory import Network

if TYPE_CHECKING:
    from router.config import Provider


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
    kinds: Mapping[str, str] | None = None,
) -> AsyncIterator[dict[str, Emulator]]:
    """Run several, by default the four providers, on *port* and the ports after it, or each on a free one.

    *switches*, *kinds*: the arguments of its class, and whose emulator it is where the name does not say, by name.
    """
    async with AsyncExitStack() as stack:
        running: dict[str, Emulator] = {}
        for number, name in enumerate(names):
            kind, place = (kinds or {}).get(name, name), port + number if port else 0
            one = emulate(kind, host=host, port=place, api_key=api_key, **(switches or {}).get(name, {}))
            running[name] = await stack.enter_async_context(one)
        yield running


@dataclass(frozen=True, slots=True)
class InMemory:
    """Emulators that run in memory, by the names they were given, and the *network* that they are on."""

    emulators: Mapping[str, Emulator]
    network: Network

    def __getitem__(self, name: str) -> Emulator:
        return self.emulators[name]

    def transports(self, provider: Provider) -> Transport:
        """The `transports` of a `Router`: every connection goes to this network and nowhere else."""
        return Transport(create_connection=self.network.create_connection, clock=self.network.now)


@asynccontextmanager
async def in_memory(emulators: Mapping[str, Emulator]) -> AsyncIterator[InMemory]:
    """Run *emulators* in memory: no sockets and no ports, and as much at home on virtual time.

    Each listens as `http://NAME.test/v1`, which is its `base_url`. Several may be of one class. A `Router` reaches them
    with `transports=` what this gives; a host that is none of them cannot be resolved.

    Raises:
        OSError: two names differ only in their case.
    """
    network = Network()
    async with AsyncExitStack() as stack:
        for name, emulator in emulators.items():
            await stack.enter_async_context(emulator.inside(network, f"{name}.test".lower()))
        yield InMemory(dict(emulators), network)
