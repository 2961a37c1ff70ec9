"""The whole pipeline and an emulator in one process, without sockets and on virtual time: a call costs microseconds.

Knows how a sent request becomes the emulator's `Received` and its outcome the router's response, and where the
documents say that each provider lives. Refuses to know rows, rules and what is right.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from providers.errors import Unreachable
from providers.mailbox import Mailbox
from router.lab.emulators import EMULATORS, Emulator, Headers, Received
from router.lab.emulators.playback import Frame, Stream, Whole, play
from router.lab.memory import BEGINNING
from router.lab.virtual import VirtualResponse

KEY = "sk-emulated"
LATER = 0.01  # seconds
# Typed in from the pages: where each provider is.
HOSTS: Mapping[str, str] = {
    "models.mixlayer.ai": "mixlayer",
    "api.runware.ai": "runware",
    "api.empiriolabs.ai": "empiriolabs",
    "api.aimlapi.com": "aiml",
}


def emulator(provider: str, **switches: Any) -> Emulator:
    """A fresh emulator that listens nowhere."""
    return EMULATORS[provider](api_key=KEY, **switches)


class Line:
    """Stands for `providers.transport.Transport`: whatever is sent reaches *one*, if it is sent to where it lives."""

    def __init__(self, one: Emulator, loop: asyncio.AbstractEventLoop) -> None:
        self.one, self.mailbox = one, Mailbox()
        self._loop = loop

    def clock(self) -> float:
        """The time of day, by the clock of the loop."""
        return BEGINNING + self._loop.time()

    async def send(self, http: Any, *, secrets: Mapping[str, str], connect: float | None = None) -> VirtualResponse:
        """Let the emulator answer.

        Raises:
            Unreachable: nobody lives there.
        """
        where = urlsplit(http.url)
        if where.scheme != "https" or HOSTS.get(where.netloc) != self.one.name:
            message = f"no connection: {http.url} is not where {self.one.name} is"
            raise Unreachable(message)
        raw = http.body
        headers = Headers({**http.headers, **secrets})
        received = Received(self._loop.time(), http.method, where.path, {}, headers, raw, json.loads(raw))
        self.one.requests.append(received)
        outcome, fault = self.one.respond(received)
        assert outcome is not None, "a fault of the connection has no place here"
        if isinstance(outcome, Whole):
            received.status, kind = outcome.status, "application/json"
            pieces = [(0.0, outcome.body)]
        else:
            assert isinstance(outcome, Stream), "nothing is recorded here"
            received.status, kind = 200, "text/event-stream"
            pieces = _pieces(play(outcome, fault)[0])
        said = {**self.one.reply_headers(received), **outcome.headers}
        return VirtualResponse(received.status, kind, pieces, said)

    def leave(self, response: VirtualResponse, *, whole: bool) -> None:
        """Nothing is held."""

    async def close(self) -> None:
        """Nothing is open."""


def _pieces(frames: Sequence[Frame]) -> list[tuple[float, bytes]]:
    """A stream all at once, but for what comes after its end: that comes a little later."""
    end = next((place for place, frame in enumerate(frames, 1) if frame.kind == "done"), len(frames))
    parts = [(0.0, frames[:end]), (LATER, frames[end:])]
    return [(after, b"".join(frame.encode() for frame in part)) for after, part in parts if part]
