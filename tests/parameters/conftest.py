"""The four emulators, started once for all tests of this folder, in a loop and a thread of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest

from router import Router
from router.config import Config
from router.lab import Emulator, emulate_all
from router.load import load
from tests.parameters.table import MODELS

KEY = "sk-emulated"


class Lab:
    """The running emulators by name; and routers over them, which belong to the loop of the test that opens one."""

    def __init__(self, emulators: Mapping[str, Emulator]) -> None:
        self.emulators = emulators
        self.config = self.load()

    def load(self, environ: Mapping[str, str] | None = None, **more: Any) -> Config:
        """A configuration with a key for each provider; or, with an *environ*, only with the keys that it holds."""
        key = {"api_key": KEY} if environ is None else {}
        own = {name: {"base_url": one.base_url, **key, **more.get(name, {})} for name, one in self.emulators.items()}
        source = {"providers": own, "routes": {"chat": {"deployments": [*MODELS.values()]}}, **more.get("source", {})}
        return load(source, environ=environ or {})

    def router(self, config: Config | None = None) -> Router:
        """A fresh router: nothing learned, no circuit open."""
        return Router(config or self.config)

    def arrived(self) -> list[Any]:
        """Every request that arrived anywhere since the test began."""
        return [received for emulator in self.emulators.values() for received in emulator.requests]


@pytest.fixture(scope="session")
def running() -> Iterator[Lab]:
    """The lab itself; tests take `lab`."""
    loop, stack = asyncio.new_event_loop(), AsyncExitStack()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        starting = asyncio.run_coroutine_threadsafe(stack.enter_async_context(emulate_all(api_key=KEY)), loop)
        yield Lab(starting.result(10))
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@pytest.fixture
def lab(running: Lab) -> Lab:
    """The lab, with everything forgotten that an earlier test has left."""
    for emulator in running.emulators.values():
        emulator.forget()
    return running
