"""Writes decisions down: to a file of JSON lines that never grows beyond its bound.

Knows when a configuration must be written before the decisions made under it, and what happens when the disk says no:
the requests go on, and the log says it once. Refuses to know how decisions are made, and keeps no key and, unless it is
asked to, no text.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from router import estimate
from router.decisions.record import accounts, config_facts, digest, line
from router.decisions.shape import shape, spoken
from router.decisions.trace import Trace

if TYPE_CHECKING:
    from random import Random

    from providers.types import Request
    from router.config import Config, Route
    from router.health import Health

log = logging.getLogger("router")

LARGEST = 64 * 2**20  # bytes of a file before it is put aside


class DecisionRecorder:
    """Writes every request's decisions to *file*, for `router replay`.

    Give it to a router: `Router.open("routes.yaml", recorder=DecisionRecorder("decisions.jsonl"))`. One file belongs to
    one router of one process.

    Args:
        file: a path, which is appended to, or an open text file, which is never closed.
        text: keep the prompts and what providers said; by default a text is only counted.
        largest: bytes after which a file at a path is put aside as `<file>.1`, in place of the one that was there.
        wall_clock: seconds since 1970, noted with each request; only people read them.
    """

    def __init__(
        self,
        file: str | os.PathLike[str] | TextIO,
        *,
        text: bool = False,
        largest: int = LARGEST,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = Path(file) if isinstance(file, str | os.PathLike) else None
        self._stream: TextIO | None = None if isinstance(file, str | os.PathLike) else file
        self._text, self._largest, self._wall_clock = text, largest, wall_clock
        self._size = 0
        self._config: Config | None = None  # the one that decides, with what is said of it
        self._above: dict[str, Any] = {}
        self._digests: dict[str, str] = {}
        self._is_above = False  # whether its line is in the file
        self._broken = False

    def trace(
        self,
        request: Request,
        route: Route,
        config: Config,
        *,
        key: str,
        streaming: bool,
        health: Health,
        rng: Random,
        clock: Callable[[], float],
        count: estimate.Tokenizer = estimate.text_tokens,
    ) -> Trace:
        """Where the run of *request* notes its decisions."""
        if config is not self._config:
            self._config, self._above, self._digests, self._is_above = config, config_facts(config), {}, False
        if route.name not in self._digests:
            self._digests[route.name] = digest(config, route)
        facts = {
            "id": key,
            "at": self._wall_clock(),
            "route": route.name,
            "digest": self._digests[route.name],
            "accounts": accounts(route),
            "streaming": streaming,
            "text": self._text,
            "request": spoken(request) if self._text else shape(request, count),
            "tokens": estimate.prompt_tokens(request, count),
        }
        affinity = route.affinity
        conversation = None if affinity is None else health.memory.key(route.name, affinity.by, request)
        return Trace(
            facts,
            self._write,
            route=route,
            health=health,
            conversation=conversation,
            rng=rng,
            clock=clock,
            text=self._text,
        )

    def close(self) -> None:
        """Close the file at a path; the next decision opens it again. A router closes its recorder with itself."""
        if self._path is not None and self._stream is not None:
            stream, self._stream, self._is_above = self._stream, None, False
            stream.close()

    def _write(self, facts: dict[str, Any]) -> None:
        if self._broken:
            return
        try:
            text = line("decisions", facts | {"config": self._above["config"]})
            self._make_room(len(text))
            if not self._is_above:
                text = line("config", self._above) + text
                self._is_above = True
            self._file().write(text)
            self._size += len(text)
        except Exception:  # a record is not worth a request
            self._broken = True
            log.exception("decisions are not recorded any more, in %s", self._path or "the stream that was given")

    def _file(self) -> TextIO:
        if self._stream is None:
            assert self._path is not None  # noqa: S101  # there is a path or a stream
            self._stream = self._path.open("a", encoding="ascii", buffering=1)
            self._size = self._stream.tell()
        return self._stream

    def _make_room(self, length: int) -> None:
        """Put the file aside when it would grow too large."""
        if self._path is None or not self._size or self._file() is None or self._size + length <= self._largest:
            return
        self.close()
        self._path.replace(self._path.with_name(self._path.name + ".1"))
        self._size = 0
