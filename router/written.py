"""A routes file as it may be kept with a record: what it decides, without what it must not tell. Pure.

Knows where a file holds keys, addresses and tokens. Refuses to judge the rest: it has been read and found sound.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

MASK = "***"
LONG = 8  # characters from which a key is looked for in other values; a shorter one would be found in anything
NOWHERE = "https://webhook.invalid/"

_KEYS = ("api_key", "api_keys")


def without_secrets(document: Any) -> dict[str, Any]:
    """*document*, a routes file filled from the environment, without keys, headers, webhooks and the gateway's section."""
    if not isinstance(document, dict):
        return {}
    secrets = sorted({key for key in _keys(document) if len(key) >= LONG}, key=len, reverse=True)
    kept = {name: value for name, value in document.items() if name != "gateway"}
    cleaned: dict[str, Any] = _clean(kept, secrets)
    return cleaned


def _keys(value: Any, *, inside: bool = False) -> Iterator[str]:
    """Every text under a key's name, wherever it stands."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _keys(item, inside=inside or name in _KEYS)
    elif isinstance(value, list):
        for item in value:
            yield from _keys(item, inside=inside)
    elif inside and isinstance(value, str):
        yield value


def _clean(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, dict):
        return {name: _said(name, item, secrets) for name, item in value.items() if name not in _KEYS}
    if isinstance(value, list):
        return [_clean(item, secrets) for item in value]
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, MASK)
    return value


def _said(name: str, value: Any, secrets: list[str]) -> Any:
    if name == "headers" and isinstance(value, dict):
        return dict.fromkeys(value, MASK)
    if name == "webhook" and value is not None:
        return NOWHERE
    value = _clean(value, secrets)
    return _address(value) if name == "base_url" and isinstance(value, str) else value


def _address(url: str) -> str:
    """*url* without what may stand around host and path: a user, a password, a query."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
