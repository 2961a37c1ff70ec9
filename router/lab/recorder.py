"""Records real traffic: what goes over a router's connections (`tap` listens) is written down, without keys.

Knows what may be kept: no header that holds a key, none that is not known to be harmless, and no body with a key in it.
Refuses to change or to delay anything: what cannot be written is not recorded, and the request goes on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from providers.errors import one_line
from providers.transport import Transport
from router.lab.recording import (
    Answered,
    Failed,
    Recorded,
    RecordingError,
    check_first,
    first_line,
    line_of,
)
from router.lab.scrubbing import Scrub
from router.lab.tap import Tap

if TYPE_CHECKING:
    from router.config import Provider

log = logging.getLogger("router")

MOST = 256 * 2**20  # bytes of a file, after which nothing more is recorded
MOST_EACH = 8 * 2**20  # bytes of one request, or of one answer, above which its bodies are withheld
# Of an answer's headers those are kept that say how it is to be read, or what the account may still do; a cookie or the
# name of an organization is nobody's business.
_KEPT = re.compile(
    r"content-type|date|server|retry-after(-ms)?|x-should-retry|x-(request|inference)-id|x-\w*cost\w*|[\w-]*rate-?limit[\w-]*"
    r"|[\w-]*quota[\w-]*",
    re.IGNORECASE | re.ASCII,
)
_SENT = frozenset({"content-type", "accept", "user-agent"})


class Recorder:
    """Writes the traffic of a router to *file*; hand it to the router as its `transports`.

    A file that is there already is continued, if it is a recording. It is readable by its owner alone: keys are taken
    out of what is recorded, prompts and answers are not.

    Args:
        file: where to; JSON lines, see `router.lab.recording`.
        secrets: what must not be in it beside the keys and hidden headers of the providers, which are known anyway.
        transports: makes the connections that are recorded; ordinary ones by default.
        most, most_each: bytes of the file, and of one body. What is larger is not recorded, and the log says so.

    Raises:
        RecordingError: *file* cannot be written, or holds something else.
    """

    def __init__(
        self,
        file: str | Path,
        *,
        secrets: Iterable[str] = (),
        transports: Callable[[Provider], Transport] | None = None,
        most: int = MOST,
        most_each: int = MOST_EACH,
    ) -> None:
        self.file, self.recorded, self.stopped = Path(file), 0, ""
        self._make = transports or (lambda _: Transport())
        self.most_each, self._most = most_each, most
        self._scrub = Scrub()
        self._scrub.learn(secrets)
        self._began: float | None = None
        self._opened: int | None
        self._size, self._opened = _opened(self.file)

    def __call__(self, provider: Provider) -> Transport:
        """The connections to *provider*, recorded."""
        self._scrub.learn(key.secret.reveal() for key in provider.keys)
        return cast("Transport", Tap(self, provider, self._make(provider)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what is still under way is not recorded any more."""
        if self._opened is not None:
            os.close(self._opened)
            self._opened = None

    def time(self) -> float:
        """Seconds since the recording began, by the event loop's clock."""
        now = asyncio.get_running_loop().time()
        self._began = now if self._began is None else self._began
        return max(now - self._began, 0.0)  # another loop may have another clock

    def learn(self, secrets: Iterable[str]) -> None:
        """Keep these out of the file too."""
        self._scrub.learn(secrets)

    def write(self, one: Recorded) -> None:
        """Write *one* exchange, without keys."""
        if self._opened is None or self.stopped:
            return
        line = line_of(self._clean(one))
        if self._size + len(line) > self._most:
            self._stop(f"{self.file} is full: {self._most} bytes")
            return
        try:
            written = os.write(self._opened, line)
        except OSError as error:
            self._stop(f"{self.file} cannot be written: {error.strerror or error}")
            return
        if written < len(line):
            self._stop(f"{self.file} takes no more")
            return
        self._size += len(line)
        self.recorded += 1

    def _stop(self, why: str) -> None:
        self.stopped = why
        log.warning("%s; nothing more is recorded", why)

    def _clean(self, one: Recorded) -> Recorded:
        scrub, response = self._scrub, one.response
        withheld = one.withheld
        if withheld is None and response is not None:
            pieces = scrub.pieces(response.pieces)
            cleaned = Answered(response.status, _harmless(response.headers, scrub), response.after, pieces)
            if scrub.hidden_in(cleaned.body):
                withheld = "a key is spelled out in the answer"
            response = cleaned
        if withheld is not None and response is not None:
            response = Answered(response.status, _harmless(response.headers, scrub), response.after)
        failure = one.failure
        return Recorded(
            provider=one.provider,
            method=one.method,
            path=scrub.text(one.path),
            body=None if withheld is not None else scrub.json(one.body),
            headers={name: scrub.text(value) for name, value in one.headers.items() if name.lower() in _SENT},
            at=one.at,
            response=response,
            ended=one.ended,
            failure=None if failure is None else Failed(failure.kind, one_line(scrub.text(failure.why))),
            withheld=withheld,
        )


def _harmless(headers: Mapping[str, str], scrub: Scrub) -> dict[str, str]:
    return {name: scrub.text(value) for name, value in headers.items() if _KEPT.fullmatch(name)}


def _opened(file: Path) -> tuple[int, int]:
    """The size of *file* and its descriptor, ready to append to."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        message = f"{file}: cannot be written: {error.strerror or error}"
        raise RecordingError(message) from None
    try:
        with open(descriptor, "rb", closefd=False) as reading:  # a descriptor is no path
            first = reading.readline(1000)
            size = reading.seek(0, os.SEEK_END)
            if first:
                check_first(first, str(file))
                reading.seek(size - 1)
                if reading.read(1) != b"\n":
                    size += os.write(descriptor, b"\n")
        if not first:
            size = os.write(descriptor, first_line())
    except BaseException:
        os.close(descriptor)
        raise
    return size, descriptor


def secrets_of(providers: Mapping[str, Any]) -> list[str]:
    """Every key that *providers* of a configuration hold, to keep each of them out of a recording."""
    return [key.secret.reveal() for provider in providers.values() for key in provider.keys]
