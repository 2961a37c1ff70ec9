"""Fault scripts, read from YAML (docs/failover-testing.md): every mistake with its line and the nearest right word.

Knows the format, and how each `what` becomes a `Fault`. What a script means is in `troubles`. Pure but for the one
function that reads a file.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self, get_type_hints

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError, model_validator

from providers.dialect import Row
from providers.errors import InvalidRequest, nearest
from providers.types import Request
from router import units
from router.documents import Document, plain, read
from router.fields import Count, Name
from router.lab.demands import ANYTHING, DemandsRow, span
from router.lab.faults import Fault
from router.lab.troubles import ALWAYS, ROLES, Callers, Cast, Script, Trouble, When, provider_of
from router.problems import Problem, Steps, together
from router.validate import check

__all__ = [
    "ALWAYS",
    "ROLES",
    "Callers",
    "Cast",
    "Script",
    "Trouble",
    "When",
    "load_scripts",
    "provider_of",
    "scripts_of",
]

ALIASES: Mapping[str, str] = {"down": "overloaded"}  # words for people, spelled out
_SECONDS = ("seconds", "interval")  # arguments of faults that may have a unit


# -- what: a Fault ----------------------------------------------------------------------------------------------------


def _fault(value: object) -> Fault:
    """The fault that a name, or a mapping of one name to its arguments, means."""
    if isinstance(value, Fault):
        return value
    if isinstance(value, str):
        return _made(value, {})
    if isinstance(value, Mapping) and len(value) == 1:
        name, arguments = next(iter(value.items()))
        if arguments is None or isinstance(arguments, Mapping):
            return _made(name, arguments or {})
        raise ValueError(f"{name}: its arguments are a mapping; write e.g. {{{name}: {_usage(name)}}}")
    raise ValueError("is the name of a fault, or a mapping of one name to its arguments; write e.g. overloaded")


def _made(name: str, arguments: Mapping[str, Any]) -> Fault:
    names = (*Fault.names(), *ALIASES)
    if name not in names:
        raise ValueError(f"{name!r} is no fault; {nearest(name, names)}")
    make = getattr(Fault, ALIASES.get(name, name))
    wanted = inspect.signature(make).parameters
    for argument in arguments:
        if argument not in wanted:
            hint = nearest(argument, wanted) if wanted else "it takes none"
            raise ValueError(f"{name}.{argument}: {argument!r} is no argument of {name}; {hint}")
    for argument, parameter in wanted.items():
        if argument not in arguments and parameter.default is parameter.empty:
            raise ValueError(f"{name}: {argument!r} is required; write e.g. {{{name}: {_usage(name)}}}")
    types = get_type_hints(make)
    fault: Fault = make(**{key: _argument(name, key, types[key], value) for key, value in arguments.items()})
    return fault


def _usage(name: str) -> str:
    """The arguments of a fault as one would write them."""
    wanted = inspect.signature(getattr(Fault, ALIASES.get(name, name))).parameters if name in Fault.names() else {}
    shown = (f"{argument}: …" for argument, one in wanted.items() if one.default is one.empty)
    return f"{{{', '.join(shown)}}}"


def _argument(fault: str, name: str, wanted: Any, value: Any) -> Any:
    """One argument of a fault as its constructor takes it."""
    if wanted is bytes and isinstance(value, str):
        return value.encode()
    try:
        if name in _SECONDS:
            return units.duration(value)
        if wanted is int:
            return units.whole(value)
        if wanted is float:
            return units.amount(value)
        found = TypeAdapter(wanted).validate_python(value, strict=wanted is bool)
        return value if isinstance(value, int) else found  # 2 in a header is 2, not 2.0
    except ValidationError:
        raise ValueError(f"{fault}.{name}: {value!r} cannot be the {name} of {fault}") from None
    except ValueError as error:
        raise ValueError(f"{fault}.{name}: {error}") from None


What = Annotated[Any, BeforeValidator(_fault)]


# -- rows -------------------------------------------------------------------------------------------------------------


def _share(value: object) -> float:
    text = value.strip() if isinstance(value, str) else ""
    share = units.number(text[:-1].strip()) / 100 if text.endswith("%") else units.number(value)
    if not 0 < share <= 1:
        raise ValueError(f"{value!r} is no share; write e.g. 10% or 0.1")
    return share


def _moment(value: object) -> float:
    """Seconds since the script began; it may be the very beginning."""
    return 0.0 if value in ("0", "0s", "0ms", "0m", "0h") or value == 0 else units.duration(value)


def _names(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _expectations(value: object) -> object:
    said = _names(value)
    if not isinstance(said, (list, tuple)):
        return said
    known = ("answer", "error", *error_names())
    for name in said:
        if name not in known:
            raise ValueError(f"{name!r} cannot be expected; {nearest(name, known)}")
    return said


def _request(value: object) -> object:
    for name in value if isinstance(value, Mapping) else ():
        if name not in Request.model_fields or name in ("model", "messages"):
            known = (one for one in Request.model_fields if one not in ("model", "messages"))
            raise ValueError(f"{name!r} is no field that callers may ask; {nearest(name, known)}")
    return value


def _asked(value: dict[str, Any]) -> dict[str, Any]:
    """*value*, if a request with these fields can be made."""
    try:
        Request.of({"model": "any", "messages": [{"role": "user", "content": "?"}], **value})
    except InvalidRequest as error:
        raise ValueError(str(error)) from None
    return value


def error_names() -> tuple[str, ...]:
    """The classes that a caller of the router may meet."""
    from router import errors

    found = vars(errors).items()
    return tuple(sorted(name for name, one in found if isinstance(one, type) and issubclass(one, errors.RouterError)))


Moment = Annotated[float, BeforeValidator(_moment)]
Names = Annotated[tuple[str, ...], BeforeValidator(_names), Field(min_length=1)]
Expectations = Annotated[tuple[str, ...], BeforeValidator(_expectations), Field(min_length=1)]


class WhenRow(Row):
    """When a fault holds: all that is said must."""

    requests: Annotated[tuple[int, int | None], BeforeValidator(partial(span, lowest=1))] | None = None
    begin: Moment | None = Field(default=None, alias="from")
    until: Moment | None = None
    share: Annotated[float, BeforeValidator(_share)] | None = None
    continuation: bool = False

    @model_validator(mode="after")
    def _is_some_time(self) -> Self:
        if self.until is not None and self.until <= (self.begin or 0.0):
            raise ValueError(f"until: {self.until:g}s is no later than from")
        return self


class TroubleRow(Row):
    """Who, what, when."""

    who: Names
    what: What
    when: WhenRow = Field(default_factory=WhenRow)


class CallersRow(Row):
    """Who calls while the script runs."""

    count: Count | None = None
    every: Annotated[float, BeforeValidator(units.duration)] = Callers().every
    stream: bool = True
    request: Annotated[dict[str, Any], BeforeValidator(_request), AfterValidator(_asked)] = Field(default_factory=dict)


class ScriptRow(Row):
    """One script."""

    name: Name | None = None
    says: str = ""
    seed: Annotated[int, BeforeValidator(units.whole)] = 0
    faults: tuple[TroubleRow, ...] = ()
    expect: Expectations = ("answer",)
    demands: DemandsRow | None = None
    callers: CallersRow = Field(default_factory=CallersRow)


class ScriptsFile(ScriptRow):
    """A file: one script, or several under `scenarios`."""

    scenarios: tuple[ScriptRow, ...] | None = None


# -- reading ----------------------------------------------------------------------------------------------------------


def load_scripts(source: str | Path | Mapping[str, Any]) -> tuple[Script, ...]:
    """The scripts in a YAML file, or in the same as a mapping.

    Raises:
        ConfigError: it cannot be read, or means nothing; `.problems` has all that is wrong, each with its line.
    """
    document = plain(source) if isinstance(source, Mapping) else read(Path(source), file=str(source))
    return scripts_of(document)


def scripts_of(document: Document) -> tuple[Script, ...]:
    """The scripts that *document* holds.

    Raises:
        ConfigError: `.problems` has all that is wrong.
    """
    checked = check(document, ScriptsFile)
    rows = checked.rows
    problems = list(checked.problems)
    if not problems:
        problems += _oddities(document, rows)
    if problems:
        raise together(problems)
    if rows.scenarios is None:
        stem = Path(document.file).stem if document.file else "faults"
        return (_script(rows, document, (), rows.name or stem),)
    return tuple(
        _script(row, document, ("scenarios", place), row.name or "") for place, row in enumerate(rows.scenarios)
    )


def _oddities(document: Document, rows: ScriptsFile) -> Iterator[Problem]:
    """What no row alone can get wrong."""
    if rows.scenarios is None:
        if not rows.faults:
            yield document.problem((), "has no faults", "write faults: [{who: first, what: overloaded}]")
        return
    if not rows.scenarios:
        yield document.problem(("scenarios",), "names no scenario", "write e.g. [{name: down, faults: [...]}]")
    for name in sorted(rows.model_fields_set - {"scenarios"}):
        yield document.problem((name,), "stands beside scenarios", "move it into one of them")
    seen: set[str] = set()
    for place, row in enumerate(rows.scenarios):
        steps: Steps = ("scenarios", place)
        if row.name is None:
            yield document.problem(steps, "has no name", "add name:")
        elif row.name in seen:
            yield document.problem((*steps, "name"), f"{row.name!r} stands twice", "give it another name")
        seen.add(row.name or "")


def _script(row: ScriptRow, document: Document, steps: Steps, name: str) -> Script:
    return Script(
        name=name,
        says=row.says or name,
        seed=row.seed,
        troubles=tuple(_trouble(one, document.line((*steps, "faults", place))) for place, one in enumerate(row.faults)),
        expect=row.expect,
        demands=row.demands.demands(document.line((*steps, "demands"))) if row.demands is not None else ANYTHING,
        callers=Callers(**row.callers.model_dump()),
        file=document.file,
    )


def _trouble(row: TroubleRow, line: int | None) -> Trouble:
    when = row.when
    first, last = when.requests or (None, None)
    return Trouble(row.who, row.what, When(first, last, when.begin, when.until, when.share, when.continuation), line)
