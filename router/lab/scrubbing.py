"""Keys out of what was on the wire: from text, from JSON, and from bytes that came in pieces. Pure.

Knows the spellings in which a key can come back: as it is, escaped for JSON or for a URL, in base64, cut off at the end
of an answer. What is spelled out over several events of a stream, or in escapes, it finds and does not mend: whoever
records then keeps the whole body to himself. Refuses to know which keys there are (`recorder` tells).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote, quote_plus

from providers.secret import MASK
from router.lab.recording import Piece

SHORTEST = 6  # characters; what is shorter is no key, and taking it out would leave holes in every text
_TAIL = 4  # characters of a key at the very end of a body that are taken for its beginning
# Fields of a body whose value is a secret whoever wrote it, and the address that results are brought to.
_FIELDS = frozenset({"apikey", "api_key", "authorization", "password", "access_token", "secret", "webhookurl"})


class Scrub:
    """Takes out every secret that it was told of."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._spelled: list[bytes] = []
        self._pattern: re.Pattern[bytes] | None = None

    def learn(self, secrets: Iterable[str]) -> None:
        """Know these too: keys, and what headers hold (`Bearer ...`)."""
        parts = {part for secret in secrets for part in (secret, secret.partition(" ")[2])}
        new = {part.strip() for part in parts if len(part.strip()) >= SHORTEST} - self._secrets
        if new:
            self._secrets |= new
            found = {way for secret in self._secrets for way in _spellings(secret)}
            self._spelled = sorted(found, key=lambda way: (-len(way), way))
            self._pattern = re.compile(b"|".join(map(re.escape, self._spelled)))

    def text(self, text: str) -> str:
        """*text* without them."""
        if self._pattern is None:
            return text
        return self._pattern.sub(MASK.encode(), text.encode("utf-8", "replace")).decode("utf-8", "replace")

    def json(self, value: Any) -> Any:
        """*value* without them, in keys and in values; a field that is called like a secret is masked."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list | tuple):
            return [self.json(item) for item in value]
        if isinstance(value, dict):
            return {
                self.text(str(name)): MASK if str(name).lower() in _FIELDS and item else self.json(item)
                for name, item in value.items()
            }
        return value

    def pieces(self, pieces: Sequence[Piece]) -> tuple[Piece, ...]:
        """*pieces* without them, also where one is spread over several; how many there are stays the same."""
        joined = b"".join(piece.data for piece in pieces)
        spans = list(self._spans(joined))
        if not spans:
            return tuple(pieces)
        kept, begin = [], 0
        for piece in pieces:
            end = begin + len(piece.data)
            kept.append(Piece(piece.after, _outside(joined, begin, end, spans)))
            begin = end
        return tuple(kept)

    def hidden_in(self, body: bytes) -> bool:
        """Whether a secret is still in *body*: spelled out over the events of a stream, or by escapes."""
        if not self._secrets:
            return False
        texts: dict[str, list[str]] = {}
        for document in _documents(body):
            for path, text in _strings(document):
                texts.setdefault(path, []).append(text)
        return any(secret in "".join(told) for told in texts.values() for secret in self._secrets)

    def _spans(self, data: bytes) -> Iterator[tuple[int, int]]:
        if self._pattern is None:
            return
        over = 0
        for found in self._pattern.finditer(data):
            yield found.span()
            over = found.end()
        longest = 0
        for way in self._spelled:
            sizes = range(min(len(way) - 1, len(data) - over), _TAIL - 1, -1)
            longest = max(longest, next((size for size in sizes if data.endswith(way[:size])), 0))
        if longest:
            yield len(data) - longest, len(data)


def _outside(data: bytes, begin: int, end: int, spans: Iterable[tuple[int, int]]) -> bytes:
    """data[begin:end] without *spans*; a mask stands where one of them begins."""
    kept, at = b"", begin
    for start, stop in spans:
        if start < end and stop > begin:
            kept += data[at : max(start, at)] + (MASK.encode() if start >= begin else b"")
            at = min(max(stop, at), end)
    return kept + data[at:end]


def _spellings(secret: str) -> Iterator[bytes]:
    yield secret.encode()
    yield json.dumps(secret)[1:-1].encode()
    yield json.dumps(secret, ensure_ascii=False)[1:-1].encode()
    yield quote(secret, safe="").encode()
    yield quote_plus(secret).encode()
    for shift in range(3):  # wherever in a longer text it stood: base64 turns three bytes into four characters
        shifted = b"\0" * shift + secret.encode()
        coded = base64.b64encode(shifted).rstrip(b"=")
        inner = coded[
            -(-shift * 4 // 3) : -1 if len(shifted) % 3 else None
        ]  # but for what its neighbours have a say in
        if len(inner) >= SHORTEST:
            yield inner


def _documents(body: bytes) -> Iterator[Any]:
    """The JSON in *body*: the whole of it, or that of every event."""
    lines = re.split(rb"\r\n|\n|\r", body)
    events = [line[5:] for line in lines if line.startswith(b"data:")]
    for text in events or [body]:
        try:
            yield json.loads(text)
        except (ValueError, RecursionError):
            continue


def _strings(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text in *value*, with where it stands; places in a list count as one where they are pieces of one text."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item, f"{path}[]")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield f"{path}.*", str(name)
            yield from _strings(item, f"{path}.{name}")
