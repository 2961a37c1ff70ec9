"""YAML text into plain values, with a line for every path; nothing else.

Knows a small, strict YAML: the scalars of YAML 1.2 (true, false, null, decimal numbers; all else is text), mappings
whose keys are text, lists. What YAML 1.1 reads otherwise than it looks is refused, and so is whatever can make a small
file large or a clear one obscure: aliases, anchors, tags, duplicate keys, deep nesting. Refuses to know what any key
means, and the environment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from providers.errors import ConfigError
from router.problems import Problem, Steps, dotted, together

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

SIZE = 2**20  # bytes of a file; 100 MB must not cost more than reading this much of it
DEPTH = 50  # mappings and lists inside each other
PROBLEMS = 100  # of one file; more do not help anybody
DIGITS = 20  # of a number; beyond that it is not one that anybody meant
CODE = "yaml"  # the kind of every problem that is found here

_CONSTANTS: Mapping[str, bool | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
}
_OLD_BOOLEANS = {**dict.fromkeys(("y", "yes", "on"), "true"), **dict.fromkeys(("n", "no", "off"), "false")}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")  # a leading zero is octal in YAML 1.1: such a word stays text
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Document:
    """A file's *value*, the 1-based *lines* of its paths, and the *problems* that did not prevent reading it.

    *filled* are the paths whose value came from the environment; *missing* the variables that left a path empty.
    """

    value: Any = field(repr=False)  # it may hold keys
    lines: Mapping[Steps, int] = field(default_factory=dict)
    file: str | None = None
    problems: tuple[Problem, ...] = ()
    filled: frozenset[Steps] = frozenset()
    missing: Mapping[Steps, tuple[str, ...]] = field(default_factory=dict)

    def line(self, steps: Steps) -> int | None:
        """The line of *steps*, or of what is nearest around it."""
        while steps and steps not in self.lines:
            steps = steps[:-1]
        return self.lines.get(steps)

    def quoted(self, steps: Steps, value: object) -> str:
        """*value*, which stands at *steps*, for a message. What the environment gave is not repeated: it may be a key."""
        return "what the environment gave" if steps in self.filled else repr(value)

    def problem(self, steps: Steps, message: str, hint: str | None = None, *, code: str = "invalid-value") -> Problem:
        """*message* about the place *steps*; *code* names its kind."""
        return Problem(message, file=self.file, line=self.line(steps), path=dotted(steps), hint=hint, code=code)


def read(path: Path | Traversable, *, file: str) -> Document:
    """The document in *path*; *file* is what errors call it.

    Raises:
        ConfigError: it cannot be read, or is too large, or is no YAML.
    """
    failure = ""
    data = b""
    try:
        with path.open("rb") as stream:
            data = stream.read(SIZE + 1)
    except OSError as error:
        failure = error.strerror or type(error).__name__
    if failure:
        hint = "check the path and its permissions"
        raise ConfigError(f"cannot be read: {failure}", file=file, hint=hint, code="unreadable")
    return parse(data, file=file)


def parse(text: str | bytes, *, file: str | None = None) -> Document:
    """The document that *text* says. What is merely not allowed is in `problems`, all of it.

    Raises:
        ConfigError: it is too large or too deep, or is no YAML.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(data) > SIZE:
        raise ConfigError(f"is larger than {SIZE // 2**20} MiB", file=file, code=CODE)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError("is not UTF-8 text", file=file, line=line, code=CODE) from None
    loader = _LOADER(text)
    try:
        return _Reading(loader, file).document()
    except yaml.YAMLError as error:
        raise _syntax_error(error, text, file) from None
    finally:
        loader.dispose()


def plain(value: object) -> Document:
    """A document made in Python, copied; it has no file and no lines."""
    problems: list[Problem] = []
    copied = _copy(value, (), problems)
    return Document(copied, problems=tuple(problems[:PROBLEMS]))


def _copy(value: Any, steps: Steps, problems: list[Problem]) -> Any:
    if len(steps) > DEPTH:
        problems.append(Problem(f"is nested deeper than {DEPTH}", path=dotted(steps), code=CODE))
    elif isinstance(value, Mapping):
        return {str(key): _copy(item, (*steps, str(key)), problems) for key, item in value.items()}
    elif isinstance(value, (list, tuple)):
        return [_copy(item, (*steps, place), problems) for place, item in enumerate(value)]
    elif isinstance(value, float) and not isfinite(value):
        problems.append(Problem("is not a finite number", path=dotted(steps), code=CODE))
    elif value is None or isinstance(value, (str, int, float)):
        return value
    else:
        problems.append(Problem(f"a {type(value).__name__} is no value of YAML", path=dotted(steps), code=CODE))
    return None


def _syntax_error(error: yaml.YAMLError, text: str, file: str | None) -> ConfigError:
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        problem = getattr(error, "problem", None) or "syntax error"
        # A newer libyaml counts depth itself, and reads ahead of the events: it may be first to see it.
        message = f"is nested deeper than {DEPTH}" if "nesting depth" in problem else f"is not YAML: {problem}"
        return ConfigError(message, file=file, line=mark.line + 1, code=CODE)
    position = getattr(error, "position", 0) or 0
    line = text.count("\n", 0, position) + 1
    return ConfigError("is not YAML: control characters are not allowed", file=file, line=line, code=CODE)


class _Reading:
    """One pass over a file's events. Events, not `yaml.compose`: depth is refused before anything recurses."""

    def __init__(self, loader: Any, file: str | None) -> None:
        self._next = loader.get_event
        self._file = file
        self._lines: dict[Steps, int] = {}
        self._problems: list[Problem] = []

    def document(self) -> Document:
        self._next()  # the start of the stream
        if type(self._next()) is yaml.StreamEndEvent:
            return Document(None, {(): 1}, self._file)
        first = self._next()
        self._lines[()] = first.start_mark.line + 1
        value = self._node(first, ())
        self._next()  # the end of the document
        if type(event := self._next()) is not yaml.StreamEndEvent:
            line = event.start_mark.line + 1
            raise ConfigError("holds more than one document", file=self._file, line=line, code=CODE)
        return Document(value, self._lines, self._file, tuple(self._problems))

    def _note(self, event: Any, steps: Steps, message: str, hint: str | None = None) -> None:
        line = event.start_mark.line + 1
        self._problems.append(Problem(message, self._file, line, dotted(steps), hint, CODE))
        if len(self._problems) >= PROBLEMS:
            raise together(self._problems)

    def _node(self, event: Any, steps: Steps) -> Any:
        self._refuse_extras(event, steps)
        kind = type(event)
        if kind is yaml.ScalarEvent:
            return event.value if event.style else self._scalar(event, steps)
        if kind is yaml.AliasEvent:
            return None
        if len(steps) >= DEPTH:
            line = event.start_mark.line + 1
            message, path = f"is nested deeper than {DEPTH}", dotted(steps[:3])
            raise ConfigError(message, file=self._file, line=line, path=path, code=CODE)
        return self._mapping(steps) if kind is yaml.MappingStartEvent else self._sequence(steps)

    def _refuse_extras(self, event: Any, steps: Steps) -> None:
        if type(event) is yaml.AliasEvent:
            self._note(event, steps, f"the alias *{event.anchor} is not allowed", "write the value out")
            return
        if event.anchor is not None:
            self._note(event, steps, f"the anchor &{event.anchor} is not allowed", "write the value where it is used")
        if event.tag is not None:
            self._note(event, steps, f"the tag {event.tag} is not allowed", "write the plain value")

    def _mapping(self, steps: Steps) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while type(event := self._next()) is not yaml.MappingEndEvent:
            key = self._key(event, steps)
            inner = (*steps, key)
            known = key in found
            if known:
                first = self._lines[inner]
                self._note(event, inner, f"the key {key!r} stands twice", f"the first is in line {first}")
            else:
                self._lines[inner] = event.start_mark.line + 1
            value = self._node(self._next(), inner)
            if not known:
                found[key] = value
        return found

    def _key(self, event: Any, steps: Steps) -> str:
        if type(event) is not yaml.ScalarEvent:
            line = event.start_mark.line + 1
            path = dotted(steps)
            raise ConfigError("a key must be a plain word", file=self._file, line=line, path=path, code=CODE)
        key: str = event.value
        self._refuse_extras(event, (*steps, key))
        if key == "<<" and not event.style:
            self._note(event, (*steps, key), "merge keys are not allowed", "write the values out")
        return key

    def _sequence(self, steps: Steps) -> list[Any]:
        found: list[Any] = []
        while type(event := self._next()) is not yaml.SequenceEndEvent:
            inner = (*steps, len(found))
            self._lines[inner] = event.start_mark.line + 1
            found.append(self._node(event, inner))
        return found

    def _scalar(self, event: Any, steps: Steps) -> Any:
        text: str = event.value
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if text[0] in "+-.0123456789":
            return self._number(event, steps)
        self._refuse_old_boolean(event, steps)
        return text

    def _refuse_old_boolean(self, event: Any, steps: Steps) -> None:
        word: str = event.value
        if meant := _OLD_BOOLEANS.get(word.lower()):
            hint = f'write "{word}" in quotes for the word, or {meant}'
            self._note(event, steps, f"{word} is a boolean in YAML 1.1", hint)

    def _number(self, event: Any, steps: Steps) -> str | float:
        text: str = event.value
        if _INT.fullmatch(text):
            if len(text) <= DIGITS:
                return int(text)
        elif not _FLOAT.fullmatch(text):
            return text
        elif isfinite(number := float(text)):
            return number
        self._note(event, steps, "the number is too large", "write text in quotes")
        return 0
