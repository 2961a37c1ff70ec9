"""Frozen values, made as quickly as others. Knows dataclasses; refuses to know what is in them.

Freezing makes every field of a new value cost a call of `object.__setattr__`: for one of fourteen fields that was three
quarters of what making it takes. A few are made for every call.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar

T = TypeVar("T")


def quick(frozen: type[T]) -> type[T]:
    """What makes values of the *frozen* dataclass with slots: called as the class is, and gives the very same.

    A twin that is not frozen fills the slots; then the value is told what it is. Of the twin nothing is compiled but this.
    """
    every: tuple[Field[Any], ...] = fields(frozen)  # type: ignore[arg-type]  # a dataclass, as said above
    space: dict[str, Any] = {"_frozen": frozen, "_missing": MISSING}
    for one in every:
        space |= {f"_default_{one.name}": one.default, f"_make_{one.name}": one.default_factory}
    by_place = [_parameter(one) for one in every if not one.kw_only]
    by_name = [_parameter(one) for one in every if one.kw_only]
    parameters = ", ".join(["self", *by_place, *(["*", *by_name] if by_name else [])])
    lines = [*(f"self.{one.name} = {_value(one)}" for one in every), "self.__class__ = _frozen"]
    exec(f"def __init__({parameters}):\n" + "".join(f"    {line}\n" for line in lines), space)  # noqa: S102  # our own names
    twin: Any = type(frozen.__name__, (), {"__slots__": [one.name for one in every], "__init__": space["__init__"]})
    return twin  # type: ignore[no-any-return]  # it is called like *frozen*, and what it gives is one


def _parameter(one: Field[Any]) -> str:
    if one.default is not MISSING:
        return f"{one.name}=_default_{one.name}"
    return f"{one.name}=_missing" if one.default_factory is not MISSING else one.name


def _value(one: Field[Any]) -> str:
    return (
        one.name if one.default_factory is MISSING else f"_make_{one.name}() if {one.name} is _missing else {one.name}"
    )
