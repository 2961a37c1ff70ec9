"""A JSON value that fits a JSON schema: what an emulated model answers where a structured answer is asked.

Knows the words of JSON schema that structured output uses: types, bounds, `enum`, alternatives, `allOf`, and references
inside the schema. Refuses to know patterns and formats: a text is only as long as it has to be. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import ceil
from typing import Any, NamedTuple

Schema = Mapping[str, Any]


class _Endless(Exception):  # a way out of a search, no error
    """A schema that holds itself, and this way for ever."""


class _Place(NamedTuple):
    """Where the search stands: the whole schema, for its references, and those that are being followed."""

    root: Schema
    followed: frozenset[str] = frozenset()


def sample(schema: Schema) -> Any:
    """Return the smallest value that we can think of which fits a JSON *schema*."""
    try:
        return _sample(schema, _Place(schema))
    except _Endless:
        return None


def _sample(schema: Any, place: _Place) -> Any:
    if not isinstance(schema, Mapping):  # `true` is any value
        return "text"
    if isinstance(schema.get("$ref"), str):
        return _sample(*_followed(schema, place))
    if isinstance(schema.get("allOf"), list):
        return _sample(_merged(schema, place), place)
    if "const" in schema:
        return schema["const"]
    for choices in (schema.get("enum"), schema.get("examples")):
        if isinstance(choices, list) and choices:
            return choices[0]
    for alternatives in (schema.get("anyOf"), schema.get("oneOf")):
        if isinstance(alternatives, list) and alternatives:
            return _first(alternatives, place)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    return _sample_of(kind[0] if isinstance(kind, list) else kind, schema, place)


def _followed(schema: Schema, place: _Place) -> tuple[Schema, _Place]:
    """What the reference of *schema* means, with what stands beside it; `{}` where it leads nowhere."""
    reference = schema["$ref"]
    if reference in place.followed:
        raise _Endless(reference)
    found: Any = place.root
    for step in reference.removeprefix("#").strip("/").split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        found = found if not name else found.get(name) if isinstance(found, Mapping) else None
    beside = {name: value for name, value in schema.items() if name != "$ref"}
    return {**(found if isinstance(found, Mapping) else {}), **beside}, _Place(place.root, place.followed | {reference})


def _merged(schema: Schema, place: _Place) -> Schema:
    """*schema* with all parts of its `allOf` in it; properties and what is required add up."""
    merged: dict[str, Any] = {}
    parts = [*schema["allOf"], {name: value for name, value in schema.items() if name != "allOf"}]
    for part in parts:
        found: Any = part
        if isinstance(found, Mapping) and isinstance(found.get("$ref"), str):
            found, place = _followed(found, place)
        if not isinstance(found, Mapping):
            continue
        properties = {**merged.get("properties", {}), **(found.get("properties") or {})}
        required = [*merged.get("required", ()), *(found.get("required") or ())]
        merged |= found
        merged |= {"properties": properties} if properties else {}
        merged |= {"required": list(dict.fromkeys(required))} if required else {}
    return merged


def _first(alternatives: list[Any], place: _Place) -> Any:
    """A value of the first alternative that comes to an end."""
    for alternative in alternatives:
        try:
            return _sample(alternative, place)
        except _Endless:
            continue
    raise _Endless


def _sample_of(kind: str, schema: Schema, place: _Place) -> Any:
    if kind == "object":
        return dict(_properties(schema, place))
    if kind == "array":
        least = int(schema.get("minItems", 0))
        return [_sample(schema.get("items") or {}, place)] * least if least else []
    if kind == "string":
        return "text".ljust(int(schema.get("minLength", 0)), "x")[: int(schema.get("maxLength", 2**31))]
    if kind in ("integer", "number"):
        return _number(schema)
    return False if kind == "boolean" else None


def _properties(schema: Schema, place: _Place) -> Iterator[tuple[str, Any]]:
    """What is required; without a word about that, all that comes to an end."""
    properties = schema.get("properties") or {}
    required = schema.get("required")
    for name in properties if required is None else required:
        if name not in properties:
            continue
        try:
            yield name, _sample(properties[name], place)
        except _Endless:
            if required is not None:
                raise


def _number(schema: Schema) -> Any:
    """Zero, else the bound that is nearest to it and fits."""
    bounds = [schema.get("minimum"), schema.get("maximum")]
    beyond = [(schema.get("exclusiveMinimum"), 1), (schema.get("exclusiveMaximum"), -1)]
    tried = [0, *(one for one in bounds if one is not None), *(one + by for one, by in beyond if one is not None)]
    step = schema.get("multipleOf")
    if step:
        tried = [ceil(one / step) * step for one in tried] + [(ceil(one / step) - 1) * step for one in tried]
    return next((one for one in tried if _is_within(one, schema)), tried[0])


def _is_within(number: float, schema: Schema) -> bool:
    inside = schema.get("minimum", number) <= number <= schema.get("maximum", number)
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    return inside and (above is None or number > above) and (below is None or number < below)
