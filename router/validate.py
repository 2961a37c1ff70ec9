"""A document against the rows: the rows it means, and every problem with its line and the nearest right word.

Knows how pydantic names a place and a mistake, and how that is said to a person. Refuses to know any row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Generic, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from providers.errors import nearest
from router.documents import Document
from router.problems import Problem, Steps

M = TypeVar("M", bound=BaseModel)
ROUNDS = 50  # of leaving out what is broken, to look at the rest

# pydantic's types of mistake -> what should have stood there.
_WANTED: Mapping[str, str] = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "dict": "a mapping",
    "model": "a mapping",
    "list": "a list",
    "tuple": "a list",
    "none": "null",
}
# How it is written, where that is not plain from the word.
_EXAMPLES: Mapping[str, str] = {"a list": "write it as [...]", "a mapping": "write it as {key: value}"}
_KINDS: Mapping[type, str] = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "text",
    dict: "a mapping",
    list: "a list",
    type(None): "null",
}
_TYPE = re.compile(
    r"(string|int|float|bool|dict|model|list|tuple|none)_(type|parsing|attributes_type|required|from_float)"
)


@dataclass(frozen=True, slots=True)
class Checked(Generic[M]):
    """The *rows* of a document, as far as they are sound; the *problems*; the *broken* names that had to be left out."""

    rows: M
    problems: tuple[Problem, ...] = ()
    broken: frozenset[Steps] = frozenset()


def check(document: Document, model: type[M]) -> Checked[M]:
    """The rows of *document*, and all that is wrong with it: what is broken is left out, and the rest looked at."""
    value = {} if document.value is None else document.value
    found = _attempt(model, value)
    if not isinstance(found, ValidationError):
        return Checked(found, document.problems)
    problems = (*document.problems, *_problems(found, document, model))
    rest, broken = deepcopy(value), set[Steps]()
    for _ in range(ROUNDS):
        if not isinstance(rest, dict) or not (cut := _cut(found, rest)):
            break
        broken |= cut
        found = _attempt(model, rest)
        if not isinstance(found, ValidationError):
            return Checked(found, _distinct(problems), frozenset(broken))
    return Checked(model(), _distinct(problems), frozenset((name,) for name in model.model_fields))


def _attempt(model: type[M], value: object) -> M | ValidationError:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        return error


def _distinct(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """One problem for a place: what the document itself said of it comes first, and explains the others."""
    first: dict[tuple[int | None, str], Problem] = {}
    for problem in problems:
        first.setdefault((problem.line, problem.path), problem)
    return tuple(first.values())


# -- leaving out ------------------------------------------------------------------------------------------------------


def _cut(error: ValidationError, value: dict[str, Any]) -> set[Steps]:
    """Take what *error* complains of out of *value*, as little as goes; never an item of a list, which would renumber it."""
    cut: set[Steps] = set()
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        steps = _place(detail["loc"], value)
        while steps and not isinstance(steps[-1], str):
            steps = steps[:-1]
        if steps and (owner := _value_at(value, steps[:-1])) is not None and steps[-1] in owner:
            del owner[steps[-1]]
            cut.add(steps)
    return cut


def _value_at(value: Any, steps: Steps) -> Any:
    for step in steps:
        if not _holds(value, step):
            return None
        value = value[step]
    return value


def _holds(value: Any, step: str | int) -> bool:
    if isinstance(value, dict):
        return step in value
    return isinstance(value, list) and isinstance(step, int) and step < len(value)


def _place(loc: Sequence[str | int], value: Any) -> Steps:
    """*loc* as steps into the document: pydantic's names of the branches of a union are no keys of anybody."""
    steps: Steps = ()
    for step in loc:
        if _holds(value, step):
            value, steps = value[step], (*steps, step)
    return steps


# -- saying it --------------------------------------------------------------------------------------------------------


def _problems(error: ValidationError, document: Document, model: type[BaseModel]) -> Iterator[Problem]:
    by_place: dict[Steps, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        by_place.setdefault(_place(detail["loc"], document.value), []).append(detail)
    for steps, details in by_place.items():
        if any(_inside(other, steps) for other in by_place) and all(_TYPE.match(one["type"]) for one in details):
            continue  # another branch of the union got further: that is the one that was meant
        wrong = [one for one in details if not _TYPE.match(one["type"])]
        if not wrong:
            yield _wrong_type(document, steps, details)
        for detail in wrong:
            yield _problem(document, steps, detail, model)


def _inside(steps: Steps, outer: Steps) -> bool:
    return len(steps) > len(outer) and steps[: len(outer)] == outer


def _wrong_type(document: Document, steps: Steps, details: Iterable[ErrorDetails]) -> Problem:
    wanted: dict[str, None] = {}
    kind = ""
    for detail in details:
        found = _TYPE.match(detail["type"])
        wanted[_WANTED[found[1]] if found else ""] = None
        kind = _KINDS.get(type(detail["input"]), "something else")
    hint = next((_EXAMPLES[one] for one in wanted if one in _EXAMPLES), None)
    return document.problem(steps, f"should be {' or '.join(wanted)}, not {kind}", hint)


def _problem(document: Document, steps: Steps, detail: ErrorDetails, model: type[BaseModel]) -> Problem:
    kind, value = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        hint = nearest(steps[-1], _known_keys(model, steps[:-1]))
        return document.problem(steps, f"unknown key {str(steps[-1])!r}", hint, code="unknown-key")
    if kind == "missing":
        return document.problem((*steps, detail["loc"][-1]), "is required", code="required")
    if kind == "literal_error":
        expected = re.findall(r"'([^']*)'", str(detail["ctx"]["expected"]))
        said = f"{value!r} is not known here"
        return _masked(document, steps, said, value, nearest(value, expected))
    message = detail["msg"].removeprefix("Value error, ").replace("Input should", "should", 1)
    if kind == "value_error":
        steps, message = _nearer(steps, message, document.value)
    message, advice = _hint(message)
    return _masked(document, steps, message, value, advice)


def _masked(document: Document, steps: Steps, message: str, value: object, hint: str | None) -> Problem:
    return document.problem(steps, message.replace(repr(value), document.quoted(steps, value)), hint)


def _hint(message: str) -> tuple[str, str | None]:
    """A validator says what would have been right behind a semicolon."""
    said, _, hint = message.partition("; ")
    return said, hint or None


def _nearer(steps: Steps, message: str, value: Any) -> tuple[Steps, str]:
    """A validator of a whole row begins with the key at fault, or quotes it: that is the place, not the row."""
    word = re.match(r"([\w.]+)(: )?", message)
    if word is not None:
        inner = _place(word[1].split("."), _value_at(value, steps))
        if inner and word[2]:
            message = message[word.end() :]
        steps = (*steps, *inner)
    quoted = re.search(r"'([^']*)'", message)
    if quoted is not None and _holds(_value_at(value, steps), quoted[1]):
        steps = (*steps, quoted[1])
    return steps, message


def _known_keys(annotation: Any, steps: Steps) -> list[str]:
    """The keys that a mapping at *steps* may have, by the types of the rows."""
    keys: list[str] = []
    for option in _options(annotation):
        inner = get_args(option)
        if isinstance(option, type) and issubclass(option, BaseModel):
            fields = {field.alias or name: field.annotation for name, field in option.model_fields.items()}
            if not steps:
                keys += fields
            elif steps[0] in fields:
                keys += _known_keys(fields[str(steps[0])], steps[1:])
        elif steps and inner:
            keys += _known_keys(inner[1] if get_origin(option) is dict else inner[0], steps[1:])
    return keys


def _options(annotation: Any) -> Iterator[Any]:
    """The branches of a union; a lone type is the only one."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _options(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for option in get_args(annotation):
            yield from _options(option)
    else:
        yield annotation
