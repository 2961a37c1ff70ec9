"""What a refusal teaches: a 400 that names a parameter, or lists the values it would have taken, becomes a fact. Pure.

Knows how to find the canonical field behind a provider's word, what follows for the dialect, and the line of YAML that
would say so for good. Refuses to guess: a refusal that does not say plainly what it will not take teaches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from providers.assemble import dig
from providers.errors import BadRequest, ProviderError
from providers.types import EFFORTS, Effort
from providers.wire import Call

if TYPE_CHECKING:
    from providers.dialect import Dialect, Endpoint, Path, Scalar, Word

    Levels = Mapping[Effort, Mapping[Path, Scalar] | None]

# How providers say that they do not know a parameter at all; the name stands in quotes. Compiled at the first refusal.
_UNKNOWN = (
    r"(?:un(?:supported|known|recognized|expected)\s+(?:\w+\s+){0,3}(?:parameter|argument|field|property|key\w*|keyword)"
    r"|unrecognized request argument supplied|extra inputs are not permitted|is not supported|does not support"
    r"|unrecognized key\(s\) in object)"
)
_QUOTED = r"['\"`]([A-Za-z_][A-Za-z0-9_.»]{0,60})['\"`]|:\s*([A-Za-z_][A-Za-z0-9_.]{0,60})\s*$"
_UNKNOWN_CODES = ("unknownparameter", "unsupported_parameter", "unsupportedparameter", "unknown_parameter")


@dataclass(frozen=True, slots=True)
class Fact:
    """One deployment does not take canonical field *param* (*allowed* empty), or only these values of it.

    *wire* is the provider's word for it; *said* what it said; *fix* a line of YAML for routes.yaml that says the same.
    """

    deployment: str
    param: str
    wire: str
    allowed: tuple[str, ...]
    said: str
    fix: str

    @property
    def lesson(self) -> list[Any]:
        """What it teaches, without what was said: field, word and values, ready for JSON."""
        return [self.param, self.wire, [*self.allowed]]

    @classmethod
    def of(cls, deployment: str, lesson: list[Any]) -> Self:
        """The fact whose `lesson` this is."""
        param, wire, allowed = lesson
        return cls(deployment, param, wire, tuple(allowed), said="", fix="")


def learn(error: ProviderError, call: Call) -> Fact | None:
    """The fact that *error* teaches of the deployment that *call* went to; None if it teaches none."""
    if not isinstance(error, BadRequest):
        return None
    names = _names(error)
    if not names:
        return None
    body = call.http.json[0] if isinstance(call.http.json, list) else call.http.json
    for param, word in call.endpoint.dialect.words.items():
        if word is None:
            continue
        for path in _paths(word):
            wire = ".".join(path)
            if dig(body, wire) is not None and (wire in names or path[-1] in names):
                return Fact(
                    deployment=call.endpoint.name,
                    param=param,
                    wire=wire,
                    allowed=error.allowed,
                    said=error.message[:200],
                    fix=_fix(call.endpoint, param, word, wire, error.allowed),
                )
    return None


def _names(error: ProviderError) -> set[str]:
    """The parameters that the refusal plainly does not take."""
    unknown = (error.code or "").lower() in _UNKNOWN_CODES or bool(re.search(_UNKNOWN, error.message, re.IGNORECASE))
    if not (unknown or error.allowed):
        return set()
    if error.parameter:
        name = error.parameter.replace("»", ".")
        return {name, name.rsplit(".", 1)[-1]}
    quoted = {one or other for one, other in re.findall(_QUOTED, error.message[:1000])}
    return quoted | {name.rsplit(".", 1)[-1] for name in quoted}


def _paths(word: Word) -> Iterable[tuple[str, ...]]:
    yield word.path
    for wire in (word.levels or {}).values():
        yield from wire or ()


def _fix(endpoint: Endpoint, param: str, word: Word, wire: str, allowed: tuple[str, ...]) -> str:
    said = "null"
    if allowed and word.levels is not None:
        path = tuple(wire.split("."))
        levels = _levels(word.levels, path, allowed)
        shown = {effort: None if said is None else said.get(path) for effort, said in levels.items()}
        pairs = ", ".join(f"{effort}: {'null' if value is None else repr(value)}" for effort, value in shown.items())
        said = f"{{to: {wire}, levels: {{{pairs}}}, exact: [{', '.join(e for e in EFFORTS if e in word.exact)}]}}"
    elif allowed:
        said = f"{{to: {wire}, only: [{', '.join(allowed)}]}}"
    deployment = f"{{provider: {endpoint.provider}, model: {endpoint.wire_model!r}, params: {{{param}: {said}}}}}"
    return f"models: {{{endpoint.model}: {{deployments: [{deployment}]}}}}"


def knowing(endpoint: Endpoint, facts: Iterable[Fact]) -> Endpoint:
    """*endpoint* as it has shown itself to be: what it refused cannot be said to it any more."""
    words: dict[str, Word | None] = dict(endpoint.dialect.words)
    for fact in facts:
        word = words.get(fact.param)
        words[fact.param] = _narrowed(word, fact) if word is not None and fact.allowed else None
    return replace(endpoint, dialect=_with(endpoint.dialect, words))


def _narrowed(word: Word, fact: Fact) -> Word | None:
    """*word* with only the values that the provider says it takes."""
    if word.levels is None:
        return replace(word, only=frozenset(fact.allowed))
    levels = _levels(word.levels, tuple(fact.wire.split(".")), fact.allowed)
    return replace(word, levels=levels) if any(wire is not None for wire in levels.values()) else None


def _levels(levels: Levels, path: Path, allowed: tuple[str, ...]) -> Levels:
    """*levels* with only the *allowed* words at *path*.

    A word that is not among them is replaced where it can only be one: when a single allowed word is not used yet, and a
    single word of ours has been refused. Otherwise the level cannot be said.
    """
    ours = {str(wire[path]) for wire in levels.values() if wire is not None and path in wire}
    spare, refused = sorted(set(allowed) - ours), ours - set(allowed)
    instead = spare[0] if len(spare) == 1 and len(refused) == 1 else None
    narrowed: dict[Effort, Mapping[Path, Scalar] | None] = {}
    for effort, wire in levels.items():
        if wire is None or path not in wire or str(wire[path]) in allowed:
            narrowed[effort] = wire
        else:
            narrowed[effort] = {**wire, path: instead} if instead is not None else None
    return narrowed


def _with(dialect: Dialect, words: Mapping[str, Any]) -> Dialect:
    return replace(dialect, words=words)
