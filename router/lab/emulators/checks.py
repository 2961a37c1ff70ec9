"""Types, ranges and item counts of JSON fields. Knows what is wrong with a value; knows nobody's words for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Reason = Literal["missing", "type", "low", "high", "enum", "few", "many", "unknown", "value"]


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong with the field *param*; *expected* is the bound, the list of right values or the kinds."""

    param: str
    reason: Reason
    message: str
    expected: Any = None
    got: Any = None

    def inside(self, outer: str) -> Complaint:
        """The same complaint about a field of *outer*."""
        joined = f"{outer}{self.param}" if self.param.startswith("[") else f"{outer}.{self.param}"
        return Complaint(joined if self.param else outer, self.reason, self.message, self.expected, self.got)


@dataclass(frozen=True, slots=True)
class Field:
    """What a value must be. *kinds* are JSON Schema's names of types, separated by blanks."""

    kinds: str
    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] | None = None
    few: int | None = None  # fewest and most items of an array, characters of a string
    many: int | None = None
    item: Field | None = None

    def complain(self, param: str, value: Any) -> Complaint | None:
        """Say what is wrong with *value*, or None."""
        kinds = self.kinds.split()
        kind = kind_of(value)
        if kind not in kinds and not (kind == "integer" and "number" in kinds):
            return Complaint(param, "type", f"Expected {' or '.join(kinds)}, received {kind}", kinds, kind)
        if value is None:
            return None
        if self.choices is not None and value not in self.choices:
            right = " | ".join(f"'{choice}'" for choice in self.choices)
            message = f"Invalid enum value. Expected {right}, received '{value}'"
            return Complaint(param, "enum", message, list(self.choices), value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return self._range(param, value)
        return self._size(param, value) if isinstance(value, (str, list)) else None

    def _range(self, param: str, value: float) -> Complaint | None:
        if self.low is not None and value < self.low:
            return Complaint(param, "low", f"Number must be greater than or equal to {self.low}", self.low, value)
        if self.high is not None and value > self.high:
            return Complaint(param, "high", f"Number must be less than or equal to {self.high}", self.high, value)
        return None

    def _size(self, param: str, value: str | list[Any]) -> Complaint | None:
        if isinstance(value, str) and "array" in self.kinds:
            return None  # a lone string in place of a list of strings has no size of its own
        noun = "character" if isinstance(value, str) else "element"
        if self.few is not None and len(value) < self.few:
            return Complaint(param, "few", f"Must contain at least {self.few} {noun}(s)", self.few, len(value))
        if self.many is not None and len(value) > self.many:
            return Complaint(param, "many", f"Must contain at most {self.many} {noun}(s)", self.many, len(value))
        if self.item is not None and isinstance(value, list):
            found = (self.item.complain(f"{param}[{number}]", held) for number, held in enumerate(value))
            return next((complaint for complaint in found if complaint is not None), None)
        return None


def kind_of(value: Any) -> str:
    """JSON Schema's name of the value's type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    names: dict[type, str] = {float: "number", str: "string", list: "array", dict: "object"}
    return names[type(value)]


def check_fields(
    body: Mapping[str, Any],
    fields: Mapping[str, Field],
    *,
    required: tuple[str, ...] = (),
    ignore_unknown: bool = False,
) -> Complaint | None:
    """Return the first complaint: what is missing, then each field in the order in which it was sent."""
    for name in required:
        if name not in body:
            return Complaint(name, "missing", "Required")
    for name, value in body.items():
        field = fields.get(name)
        if field is None and not ignore_unknown:
            return Complaint(name, "unknown", f"Unrecognized key(s) in object: '{name}'", list(fields), name)
        complaint = field.complain(name, value) if field is not None else None
        if complaint is not None:
            return complaint
    return None


STRING = Field("string")
BOOLEAN = Field("boolean")
INTEGER = Field("integer")
NUMBER = Field("number")
OBJECT = Field("object")
ANYTHING = Field("null boolean integer number string array object")
