"""Values in the rows of YAML, and what makes each of them sound: numbers with units, names, keys, addresses.

Knows one value at a time, and how the JSON Schema describes it. Refuses to know which key it stands under.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Discriminator, PlainValidator, Tag, WithJsonSchema

from providers.dialect import Price
from providers.errors import nearest
from providers.secret import Secret
from router import units
from router.config import Hold

VARIABLE = r"\$\{.+\}"  # a value that the environment gives


def _schema(kind: str, pattern: str, description: str, **bounds: float) -> WithJsonSchema:
    said = f"{pattern}|{VARIABLE}" if pattern else VARIABLE
    number = {"type": kind, **bounds}
    return WithJsonSchema({"anyOf": [number, {"type": "string", "pattern": said}], "description": description})


Duration = Annotated[
    float,
    BeforeValidator(units.duration),
    _schema("number", units.DURATION, "500ms, 30s, 2m, 1h; a plain number is seconds", exclusiveMinimum=0),
]
Size = Annotated[
    int,
    BeforeValidator(units.size),
    _schema("integer", units.SIZE, "64KB, 32MB, 1GB (1024-based); a plain number is bytes", exclusiveMinimum=0),
]
HoldFor = Annotated[
    Hold,
    PlainValidator(lambda value: Hold(*units.hold(value))),
    WithJsonSchema({"type": "string", "description": "300ms, 64 tokens, or all: held before the caller sees it"}),
]
Money = Annotated[
    float,
    BeforeValidator(units.money),
    _schema("number", units.MONEY, "dollars: $0.50, or the plain number", minimum=0),
]
Share = Annotated[
    float,
    BeforeValidator(units.share),
    _schema("number", units.SHARE, "5%, or 0.05", exclusiveMinimum=0, maximum=1),
]
HedgeAfter = Annotated[
    float | None,
    PlainValidator(units.hedge_after),
    WithJsonSchema({"type": ["string", "number", "null"], "description": "p95, or a duration such as 2s"}),
]
Count = Annotated[int, BeforeValidator(units.count), _schema("integer", "", "1 or more", minimum=1)]
Whole = Annotated[int, BeforeValidator(units.whole), _schema("integer", "", "0 or more", minimum=0)]
Amount = Annotated[float, BeforeValidator(units.amount), _schema("number", "", "0 or more", minimum=0)]


# -- text that must be sound ------------------------------------------------------------------------------------------


def _name(pattern: str, rule: str) -> Callable[[str], str]:
    def check(name: str) -> str:
        if not re.fullmatch(pattern, name):
            raise ValueError(f"{name!r} cannot be a name: {rule}")
        return name

    return check


Name = Annotated[str, BeforeValidator(_name(r"[^\s\x00-\x1f\x7f]+", "it is empty, or holds spaces"))]
ProviderName = Annotated[
    str, BeforeValidator(_name(r"[^\s/\x00-\x1f\x7f]+", "it is empty, or holds spaces or a slash"))
]


def _secret(value: object) -> Secret:
    """A key as it can stand in a header. No message repeats it."""
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise ValueError("a key is text: write it in quotes")  # noqa: TRY004  # pydantic wants a ValueError
    key = value.strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ValueError("a key holds only printable ASCII, no spaces")
    return Secret(key)


SecretText = Annotated[Secret, PlainValidator(_secret), WithJsonSchema({"type": "string"})]
Pool = Annotated[
    Annotated[list[SecretText | None], Tag("a list")] | Annotated[dict[str, SecretText | None], Tag("a mapping")],
    Discriminator(lambda value: "a mapping" if isinstance(value, Mapping) else "a list"),
]


def _base_url(value: object) -> str:
    text = value.strip() if isinstance(value, str) else ""
    try:
        url = urlsplit(text)
        port_is_sound = url.port is None or url.port > 0
    except ValueError:
        port_is_sound = False
    if not port_is_sound or url.scheme not in ("http", "https") or not url.hostname or not text.isprintable():
        raise ValueError("is not a URL; write e.g. https://api.example.com/v1")
    if url.username is not None or url.password is not None:
        raise ValueError("holds a user or a password; write keys under api_key")
    if url.query or url.fragment or "?" in text or "#" in text or " " in text:
        raise ValueError("must end with the path; no query, no fragment, no spaces")
    if url.path.rstrip("/").endswith("/chat/completions"):
        raise ValueError("leave /chat/completions away, it is appended")
    return text.rstrip("/")


BaseURL = Annotated[str, BeforeValidator(_base_url), WithJsonSchema({"type": "string", "pattern": "^https?://"})]


def _protocol(value: object) -> object:
    from providers.client import PROTOCOLS  # it brings aiohttp, which the rows alone do not need

    if not isinstance(value, str) or value not in PROTOCOLS:
        raise ValueError(f"{value!r} is not a protocol; {nearest(value, PROTOCOLS)}")
    return value


Protocol = Annotated[str, BeforeValidator(_protocol)]


def _dollars(value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    return {name: units.money(item) if isinstance(item, (str, bool)) else item for name, item in value.items()}


Dollars = Annotated[Price | None, BeforeValidator(_dollars)]
