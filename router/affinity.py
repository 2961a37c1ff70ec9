"""Who served a conversation last, so that its next turn can go where the prompt cache is warm. Pure.

Knows how requests of one conversation are recognised, and remembers who answered, when, and how many tokens are likely
to be cached there. Holds no text and no name: only keyed hashes, so that what is in memory says nothing of what was
asked. Time is an argument. Refuses to decide whether going there is worth it (`router.plan`).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from pydantic_core import to_json

if TYPE_CHECKING:
    from providers.types import Request
    from router.config import AffinityBy

REMEMBERED = 10_000  # conversations; who was longest silent is forgotten first
EXPLICIT = "prompt_cache_key"  # the field with which OpenAI's callers name what shares a cache


@dataclass(frozen=True, slots=True)
class Warm:
    """Who answered a conversation last: *deployment*, at *at*. *tokens* of its next prompt are likely cached there."""

    deployment: str
    at: float
    tokens: int


class Memory:
    """The conversations that are remembered. *secret*: the key of the hashes, anew for every process."""

    __slots__ = ("_secret", "_warm")

    def __init__(self, secret: bytes = b"") -> None:
        self._secret = secret
        self._warm: OrderedDict[bytes, Warm] = OrderedDict()

    def __len__(self) -> int:
        return len(self._warm)

    def key(self, route: str, by: AffinityBy, request: Request) -> bytes | None:
        """What *request* is remembered by; None where it does not say whose it is.

        A conversation is its `prompt_cache_key` (under `extra`), else all up to its first user message: that stays the
        same from turn to turn. `user` is the request's own field.
        """
        named = request.user if by == "user" else request.extra.get(EXPLICIT)
        if by == "user" and not named:
            return None
        hashed = blake2b(key=self._secret, digest_size=16)
        hashed.update(to_json([route, by, None if named is None else str(named)]))
        if named is None:
            for message in request.messages:
                hashed.update(message.model_dump_json().encode())
                if message.role == "user":
                    break
        return hashed.digest()

    def warm(self, key: bytes, now: float, seconds: float) -> Warm | None:
        """Who served *key* last, if that is no longer ago than *seconds*."""
        found = self._warm.get(key)
        return found if found is not None and now - found.at <= seconds else None

    def remember(self, key: bytes, deployment: str, now: float, tokens: int) -> None:
        """*deployment* has answered *key*; prompt and answer had *tokens*."""
        self._warm[key] = Warm(deployment, now, tokens)
        self._warm.move_to_end(key)
        while len(self._warm) > REMEMBERED:
            self._warm.popitem(last=False)
