"""A lab for one test: the providers of a configuration as emulators, and routers over them.

Knows how emulators, a configuration and a router are put together so that nothing leaves the process and no key is
needed; in a test that is a coroutine, and in one that is not. Refuses pytest (`pytest_plugin` makes one for each test).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from providers.errors import nearest
from router.events import AttemptEnded, Event
from router.lab.emulators import EMULATORS, Emulator
from router.lab.emulators.replaying import kind_of
from router.lab.ground import Ground
from router.lab.recording import Recording, read_recording

if TYPE_CHECKING:
    from providers.types import Attempt, Chunk, Completion, Request
    from router import Router
    from router.config import Config
    from router.events import Hook
    from router.lab.emulators import Invoice, Received
    from router.lab.script import Script
    from router.plan import Plan

T = TypeVar("T")
Source = str | Path | Mapping[str, Any] | None


class ProviderLab:
    """Emulated providers, and routers over them. Its own attributes are the emulators: `lab.mixlayer.fail(...)`.

    In a test that is a coroutine: `async with lab.router("routes.yaml") as router`. In one that is not, `lab.use("routes.yaml")`,
    then `lab.complete(...)` and `lab.stream(...)`, which run to their end on virtual time: seconds of waiting cost nothing.

    Args:
        root: where a relative path is looked for that is not in the current directory.
        sockets: True for real sockets and real time; by default emulators and router are joined in memory.
        environ: where `${NAME}` of a file is looked up; the process's environment by default. What holds nothing there
            gets a value of the lab, and no key of it is used.
    """

    def __init__(
        self, *, root: Path | None = None, sockets: bool = False, environ: Mapping[str, str] | None = None
    ) -> None:
        self.emulators: dict[str, Emulator] = {}
        self.events: list[Event] = []
        self._root, self._ground = root, Ground(sockets=sockets)
        self._chance = Random(0)  # of the requests' keys, which are never the same twice
        self._environ = os.environ if environ is None else environ
        self._source: Source = None
        self._runner: asyncio.Runner | None = None
        self._stack = AsyncExitStack()
        self._router: Router | None = None

    def __repr__(self) -> str:
        return f"<ProviderLab {', '.join(self.emulators) or 'no emulator yet'}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End what `complete`, `stream` and `run` have started."""
        runner, self._runner = self._runner, None
        if runner is not None:
            with runner:
                runner.run(self._leave())

    # -- emulators

    def start(self, *names: str, kind: str | None = None, **switches: Any) -> None:
        """Have an emulator for each of *names*, made with *switches* (the arguments of its class).

        Nobody needs this who only wants the providers of his file as they are: these are there once they are looked at.

        Args:
            names: of providers; beside mixlayer, runware, empiriolabs and aiml any name of yours.
            kind: whose emulator it is, where the name does not say: `openai` (any OpenAI-compatible server), or one of the four.

        Raises:
            ValueError: there is no such kind, or the emulator is there already.
        """
        for name in names:
            if name in self.emulators:
                message = f"there is an emulator of {name!r} already: say its switches before it is used"
                raise ValueError(message)
            which = kind or name
            if which not in EMULATORS:
                message = f"no emulator is called {which!r}; {nearest(which, EMULATORS)}"
                raise ValueError(message + ("" if kind else ". For a provider of your own, say kind='openai'"))
            self.emulators[name] = EMULATORS[which](**switches)

    def __getattr__(self, name: str) -> Emulator:
        if name.startswith("_") or name == "emulators":  # ours, and not there yet: a copy under way, or somebody looks
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(error.args[0]) from None

    def __getitem__(self, name: str) -> Emulator:
        """The emulator of the provider of that name."""
        if name not in self.emulators:
            if name in EMULATORS:
                self.start(name)
            elif name in (sold := self._kinds()):
                self.start(name, kind=sold[name])
            else:
                known = {*EMULATORS, *self.emulators, *sold}
                message = f"the lab has no provider called {name!r}; {nearest(name, known)}"
                raise KeyError(message)
        return self.emulators[name]

    def _kinds(self) -> dict[str, str]:
        """The providers of the file in use, each with the emulator that stands for it."""
        if self._source is None:
            return {}
        return _kinds(self._load(self._source))

    # -- what went over the wire, and what it cost

    def requests(self, provider: str | None = None) -> list[Received]:
        """What arrived at one provider, or at all of them, in the order of coming."""
        chosen = self.emulators.values() if provider is None else [self[provider]]
        return sorted((one for emulator in chosen for one in emulator.requests), key=lambda one: one.at)

    def invoices(self, provider: str | None = None) -> list[Invoice]:
        """What one provider, or all of them, have invoiced, in the order of coming."""
        chosen = self.emulators.values() if provider is None else [self[provider]]
        return sorted((one for emulator in chosen for one in emulator.invoices), key=lambda one: one.request.at)

    @property
    def ledger(self) -> tuple[Attempt, ...]:
        """Every attempt of every router of this lab, with what it says to have cost."""
        return tuple(event.attempt for event in self.events if isinstance(event, AttemptEnded))

    def replay(self, recording: Recording | str | Path, **how: Any) -> None:
        """Have each provider that is in *recording* answer from it; *how* is as in `Emulator.replay`.

        Raises:
            RecordingError: it cannot be read.
        """
        if not isinstance(recording, Recording):
            recording = read_recording(found(recording, self._root))
        for name in recording.providers:
            if name not in self.emulators and name not in EMULATORS and name not in self._kinds():
                self.start(name, kind=kind_of(name, recording))
            self[name].replay(recording, provider=name, **how)

    def play(self, script: Script | str | Path | Mapping[str, Any], *, route: str) -> None:
        """From now on the emulators have the troubles of a fault script; its roles (`first`, `rest`, ...) are those of *route*.

        Args:
            script: a file, a mapping or a `Script`, as for `drill`. Its times begin with the first request that arrives.
            route: a name of the file in use; `heal()` of an emulator ends it there.

        Raises:
            ConfigError: the script has mistakes, or names somebody who is not on the route.
        """
        from router.lab.directing import direct, script_of

        config = self._load(self._source)
        self._furnish(config)
        direct(self.emulators, config, script_of(found(script, self._root)), route)

    # -- for tests that are coroutines

    @asynccontextmanager
    async def router(
        self, source: Source = None, *, hooks: Iterable[Hook] = (), rng: Random | None = None
    ) -> AsyncIterator[Router]:
        """A router for *source*, as `Router.open` takes it, whose every provider is an emulator of this lab.

        Args:
            source: a routes file or a mapping; by default what `use` was told, else the packaged catalog.
            hooks: called with every event, as of any router.
            rng: its chance; by default always the same.

        Raises:
            ConfigError: the file has mistakes.
        """
        from router import Router
        from router.lab.redirect import redirect

        config = self._load(self._source if source is None else source)
        self._furnish(config)
        rng = rng or Random(0)
        async with self._ground.under(self.emulators) as addresses:
            router = Router(
                redirect(config, addresses),
                hooks=[self.events.append, *hooks],
                rng=rng,
                transports=self._ground.transports,
                new_key=lambda: f"{self._chance.getrandbits(128):032x}",
            )
            async with router:
                yield router

    def _load(self, source: Source) -> Config:
        from router import documents
        from router.lab.redirect import environ_for
        from router.load import load

        path = found(source, self._root)
        written = (
            documents.read(Path(path), file=str(source))
            if isinstance(path, str | Path)
            else documents.plain(path or {})
        )
        return load(written, environ=environ_for(written.value, self._environ))

    def _furnish(self, config: Config) -> None:
        """Have an emulator for every provider of *config*; each sells what is bought there, at the price that is known."""
        from router.lab.selling import switches

        for name, kind in _kinds(config).items():
            if name not in self.emulators:
                self.start(name, kind=kind)
        for name, sold in switches(config, tuple(self.emulators)).items():
            emulator: Any = self.emulators[name]
            emulator.models = {**emulator.models, **sold["models"]}

    # -- for tests that are not

    def use(self, source: Source) -> None:
        """From now on `complete`, `stream`, `plan` and `run` go by *source*, with a new router."""
        self._source = source
        if self._runner is not None:
            self._runner.run(self._leave())

    def complete(self, request: Request | Mapping[str, Any]) -> Completion:
        """The whole answer; raises what `Router.complete` raises."""
        return self.run(lambda router: router.complete(request))

    def stream(self, request: Request | Mapping[str, Any], *, reasoning: bool = True) -> list[Chunk]:
        """Every chunk of the streamed answer; the last one has the `completion`. Raises what `Router.stream` raises."""

        async def chunks(router: Router) -> list[Chunk]:
            return [chunk async for chunk in router.stream(request, reasoning=reasoning)]

        return self.run(chunks)

    def plan(self, request: Request | Mapping[str, Any], *, streaming: bool = False) -> Plan:
        """Whom the request would be sent to, in order, as which call."""

        async def plan(router: Router) -> Plan:
            return router.plan(request, streaming=streaming)

        return self.run(plan)

    def wait(self, seconds: float) -> None:
        """Let *seconds* pass, for a circuit or a limit to recover; on virtual time at once."""
        self.run(lambda _: asyncio.sleep(seconds))

    def run(self, main: Callable[[Router], Coroutine[Any, Any, T]]) -> T:
        """What the coroutine function *main* returns, run to its end with this lab's router: several calls at once, say.

        The router is the same one from call to call, so what it has learned of its providers stays.
        """
        if _in_a_loop():
            message = (
                "this test is a coroutine: use `async with provider_lab.router(...) as router`, and await the router"
            )
            raise RuntimeError(message)
        if self._runner is None:
            self._runner = asyncio.Runner(loop_factory=self._ground.loop_factory)
        return self._runner.run(self._with_router(main))

    async def _with_router(self, main: Callable[[Router], Coroutine[Any, Any, T]]) -> T:
        if self._router is None:
            self._router = await self._stack.enter_async_context(self.router())
        return await main(self._router)

    async def _leave(self) -> None:
        self._router = None
        await self._stack.aclose()


def found(source: Any, root: Path | None) -> Any:
    """*source*; where it is a relative path of nothing that is there, the same path from *root*, if that is."""
    if not isinstance(source, str | Path) or root is None or Path(source).exists():
        return source
    return root / source if (root / source).exists() else source


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _kinds(config: Config) -> dict[str, str]:
    """Each provider that somebody buys from, with the emulator that stands for it."""
    found: dict[str, str] = {}
    for name, deployment in _one_each(config):
        found[name] = name if name in EMULATORS else "runware" if deployment == "tasks" else "openai"
    return found


def _one_each(config: Config) -> Iterator[tuple[str, str]]:
    """Every provider of *config* that has a deployment, with its wire protocol."""
    seen: set[str] = set()
    for name in config.deployments:
        provider = name.split("/", 1)[0]
        if provider not in seen:
            seen.add(provider)
            yield provider, config.deployments[name].endpoint.protocol
