"""`router emulate`: the emulated providers as servers, for whatever speaks HTTP.

Knows how they are announced and how their requests are shown. What they are is `router.lab`'s business.
"""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from router.cli.base import FILE, Failure, config_option, json_option, open_config
from router.cli.output import clean, console, flush, milliseconds, styled, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from router.lab import Emulator, Received
    from router.lab.recording import Recording

KEEP = 10_000  # requests, and invoices, that each emulator remembers: a server may run for weeks
LOOK = 0.02  # seconds between two looks at what has arrived; and so the grain of the durations shown
_EPILOG = """\b
Examples:
  router emulate                          the four providers, on free ports
  router emulate mixlayer aiml --port 9001
  router emulate --json                   one line when ready:
                                          {"emulators": {"mixlayer": {"base_url": ...}, ...}}
  router emulate --recording traffic.jsonl --pace 0
                                          what was recorded, at once; all else is refused

They sell the documented models and all that the catalog, or --config F, buys there. Besides the four there is
"openai", a plain OpenAI-compatible server. Without --api-key any key is accepted; none at all is a 401.
Each remembers its newest 10,000 requests, so that it may run for as long as you like.

\b
Exit codes: 0 ended by SIGINT or SIGTERM; 2 wrong usage, or the port is taken.
"""


@click.command(short_help="Serve emulated providers until a signal.", epilog=_EPILOG)
@click.argument("names", nargs=-1, metavar="[NAMES]...")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True,
              help="The first port; the next ones follow. 0: free ones.")  # fmt: skip
@click.option("--api-key", metavar="K", help="The only key to accept.")
@click.option("--recording", type=FILE, metavar="FILE", help="Answer what was recorded there as it was answered then.")
@click.option("--pace", type=click.FloatRange(min=0), default=1.0, show_default=True, metavar="X",
              help="Of a recording: 0.5 in half of the time, 0 at once.")  # fmt: skip
@config_option
@json_option
def emulate(
    *,
    names: tuple[str, ...],
    host: str,
    port: int,
    api_key: str | None,
    recording: Path | None,
    pace: float,
    config: Path | None,
    as_json: bool,
) -> int:
    """Serve emulated providers until SIGINT or SIGTERM.

    NAMES are among mixlayer, runware, empiriolabs, aiml and openai; by default the first four, or those of a recording.
    """
    from router.lab.emulators import EMULATORS, PROVIDERS
    from router.lab.selling import switches

    recorded = _recorded(recording)
    names = tuple(dict.fromkeys(names)) or (recorded.providers if recorded is not None else PROVIDERS)
    for name in names:
        if name not in EMULATORS and (recorded is None or name not in recorded.providers):
            raise click.UsageError(f"there is no emulator called {name!r}; there are {', '.join(EMULATORS)}")
    if port and port + len(names) - 1 > 65535:
        raise click.UsageError(f"{len(names)} emulators from port {port} on need ports beyond 65535")
    if api_key is not None and not (api_key.isascii() and api_key.isprintable() and api_key.strip()):
        raise click.UsageError("--api-key holds nothing, or more than printable ASCII")
    shops = switches(open_config(config), names)
    made = {name: {**shops.get(name, {}), "keep": KEEP} for name in names}
    asyncio.run(_serve(_Wanted(names, host, port, api_key, made, recorded, pace), as_json=as_json))
    return 0


def _recorded(file: Path | None) -> Recording | None:
    from router.lab.recording import RecordingError, read_recording

    try:
        return None if file is None else read_recording(file)
    except RecordingError as error:
        raise Failure(str(error), hint="make one with: router chat --record FILE") from None


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be served, and where."""

    names: tuple[str, ...]
    host: str
    port: int
    api_key: str | None
    shops: Mapping[str, Mapping[str, Any]]
    recording: Recording | None
    pace: float

    @property
    def kinds(self) -> dict[str, str]:
        """Whose emulators serve what was recorded of providers that have none of their own."""
        from router.lab.emulators import EMULATORS
        from router.lab.emulators.replaying import kind_of

        if self.recording is None:
            return {}
        return {name: kind_of(name, self.recording) for name in self.names if name not in EMULATORS}

    def replay(self, emulators: Mapping[str, Emulator]) -> None:
        """Have *emulators* answer from the recording, where something of theirs is in it."""
        if self.recording is not None:
            for name in self.recording.providers:
                if name in emulators:
                    emulators[name].replay(self.recording, provider=name, pace=self.pace)


async def _serve(wanted: _Wanted, *, as_json: bool) -> None:
    from router.lab import emulate_all

    told = asyncio.Event()
    _obey(told)
    host, port, api_key = wanted.host, wanted.port, wanted.api_key
    async with AsyncExitStack() as stack:
        running = emulate_all(
            host=host, port=port, api_key=api_key, names=wanted.names, switches=wanted.shops, kinds=wanted.kinds
        )
        try:
            emulators = await stack.enter_async_context(running)
        except OSError as error:
            where = f"{host}{f', port {port} and on' if port else ''}"
            message = f"cannot listen on {where}: {error.strerror or error}"
            raise Failure(message, hint="take another --host or --port; --port 0 takes free ones") from None
        wanted.replay(emulators)
        if as_json:
            click.echo(json.dumps({"emulators": {name: _address(one, api_key) for name, one in emulators.items()}}))
            flush()
            await told.wait()
        else:
            await _narrate(console(), emulators, api_key, told)


def _obey(told: asyncio.Event) -> None:
    """SIGINT and SIGTERM end the command, in order."""
    loop = asyncio.get_running_loop()
    for one in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(one, told.set)
        except NotImplementedError:  # Windows: there KeyboardInterrupt ends it
            return


def _address(emulator: Emulator, api_key: str | None) -> dict[str, str]:
    return {"base_url": emulator.base_url, **({"api_key": api_key} if api_key is not None else {})}


# -- for people -------------------------------------------------------------------------------------------------------


async def _narrate(out: Console, emulators: Mapping[str, Emulator], api_key: str | None, told: asyncio.Event) -> None:
    running = table("emulator", "base_url", "models")
    for name, emulator in emulators.items():
        models = getattr(emulator, "models", None)
        running.add_row(styled(name, "green"), emulator.base_url, str(len(models)) if models else "any")
    out.print(running)
    out.print()
    key = "the one of --api-key" if api_key is not None else "any (none at all is a 401)"
    out.print(styled(f"Key: {key}. For your routes.yaml:", "dim"))
    out.print(_block(emulators), soft_wrap=True)
    out.print(styled("Requests, as they come; Ctrl-C ends.", "dim"))
    flush()
    watch = [(name, emulator, _Watch(emulator)) for name, emulator in emulators.items()]
    while not told.is_set():
        for name, emulator, seen in watch:
            for received, seconds in seen.answered():
                _log(out, name, emulator, received, seconds)
        try:
            await asyncio.wait_for(told.wait(), LOOK)
        except TimeoutError:
            continue


def _block(emulators: Mapping[str, Emulator]) -> str:
    lines = ["providers:"]
    for name, emulator in emulators.items():
        key = '"${EMULATOR_KEY:-any}"'
        protocol = "protocol: chat_completions, " if emulator.name == "openai" else ""
        lines.append(f"  {name}: {{{protocol}base_url: '{emulator.base_url}', api_key: {key}}}")
    return "\n".join(lines) + "\n"


class _Watch:
    """What has arrived at one emulator and has not been shown yet. A request is shown once it has a status."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._seen = 0
        self._waiting: list[Received] = []

    def answered(self) -> list[tuple[Received, float]]:
        """Those that were answered since the last look, with the seconds until then."""
        requests = self._emulator.requests
        new = min(requests.total - self._seen, len(requests))  # those that were forgotten in between are not shown
        self._waiting += requests[len(requests) - new :]
        self._seen = requests.total
        now = asyncio.get_running_loop().time()
        done = [(one, now - one.at) for one in self._waiting if one.status is not None]
        self._waiting = [one for one in self._waiting if one.status is None and now - one.at < 600]
        return done


def _log(out: Console, name: str, emulator: Emulator, received: Received, seconds: float) -> None:
    status = received.status or 0
    line = styled(f"{name:<12}", "cyan")
    line.append(f"{received.method} {clean(received.path)}  {clean(emulator.asked_model(received)) or '–'}  ")
    line.append(str(status), style="green" if status < 400 else "red")
    line.append(f"  {milliseconds(seconds)}", style="dim")
    out.print(line, soft_wrap=True)
    flush()
