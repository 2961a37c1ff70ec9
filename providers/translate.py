"""Canonical parameters into a dialect, and what that changed. Pure.

Knows how one canonical value becomes wire fields, and when that is a difference worth a `Change`. Refuses to know which
provider it speaks of, how messages are shaped (the wire protocols) and whether a change is acceptable (`router.plan`).

How reasoning is mapped, in one place:
- a level that the provider does not tell apart becomes the one that its row names, reported as `nearest`;
- a budget where there are only levels becomes the lowest level whose `LEVEL_BUDGETS` entry holds it (never less
  reasoning than asked, but for the top), reported as `nearest`;
- a level *and* a budget where both exist: the budget is the one control sent, the level is `emulated` by it;
- off where it cannot be switched off is `inverted`;
- nothing asked: nothing is sent, and what the provider will do on its own is reported as `defaulted`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from providers.errors import Untranslatable
from providers.quick import quick
from providers.types import PARAMS, Change, Effort, Image, Message, Request

if TYPE_CHECKING:
    from providers.dialect import Dialect, Path, Scalar, System, Word

# Tokens of reasoning that a level stands for where a provider has budgets and no such level. Doubling between the two
# ends that EmpirioLabs documents (1024–32768), with its medium = 4096 (empiriolabs-qwen3.5-4b.txt).
LEVEL_BUDGETS: Mapping[Effort, int] = {
    "minimal": 1024,
    "low": 2048,
    "medium": 4096,
    "high": 8192,
    "xhigh": 16384,
    "max": 32768,
}

# Values that ask for nothing: where a provider has no word for the field, leaving them out changes nothing.
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "tools": ((),),
    "tool_choice": ("auto",),
    "parallel_tool_calls": (True,),
    "response_format": ({"type": "text"},),
    "logprobs": (False,),
    "logit_bias": ({},),
    "min_p": (0,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "repetition_penalty": (1,),
}
_OFF = ("none", "off", False)

Fields = dict[str, Any]
Shape = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Translation:
    """*fields* for the wire, nested; what that *changes*; *thinking*: what was settled, if anything."""

    fields: Fields
    changes: tuple[Change, ...]
    thinking: bool | None = None


_translation = quick(Translation)
_NO_SHAPES: Mapping[str, Shape] = {}
_PLACES: Mapping[str, int] = {name: place for place, name in enumerate(PARAMS)}
_SIMPLE = frozenset((int, float, str, bool))  # what may be sent as it is


def translate(
    request: Request, dialect: Dialect, *, streaming: bool = False, shapes: Mapping[str, Shape] = _NO_SHAPES
) -> Translation:
    """*request*'s parameters in *dialect*. *shapes* re-expresses structured fields for a protocol with its own shapes.

    Raises:
        Untranslatable: there is no way to say it, under any fidelity.
    """
    fields: Fields = {}
    changes: list[Change] = []
    words = dialect.words
    values = request.__dict__  # pydantic's own store of the fields: the look-ups of every call are worth the short cut
    for name in _said(request):
        value = values[name]
        word, is_simple = words[name], value.__class__ in _SIMPLE
        if value is None:
            continue
        if (
            word is not None
            and is_simple
            and word.easy is not None
            and (word.low is None or value >= word.low)
            and (word.high is None or value <= word.high)
        ):
            fields[word.easy] = value  # nearly always: it is sent as it is
        else:
            _say(name, value, word, fields, changes, streaming=streaming, shape=shapes.get(name))
    thinking = _reasoning(request, dialect, fields, changes)
    _messages(request, dialect, changes)
    if dialect.defaults:
        _defaults(request, dialect, changes)
    return _translation(fields, tuple(changes), thinking)


def _said(request: Request) -> list[str]:
    """The plain parameters that *request* says something of, in the order in which they are sent."""
    return sorted(_PLACES.keys() & request.model_fields_set, key=_PLACES.__getitem__)


def put(fields: Fields, path: Path, value: Any) -> None:
    """Set *value* at *path*, making the mappings on the way."""
    for step in path[:-1]:
        fields = fields.setdefault(step, {})
    fields[path[-1]] = value


# -- one parameter ----------------------------------------------------------------------------------------------------


def _say(
    name: str,
    value: Any,
    word: Word | None,
    fields: Fields,
    changes: list[Change],
    *,
    streaming: bool,
    shape: Shape | None,
) -> None:
    why = _unsayable(value, word, streaming=streaming)
    if word is None or why is not None:
        if not _is_neutral(name, value, fields):
            changes.append(Change(name, _plain(value), None, "dropped", why or ""))
        return
    sent = value
    if word.low is not None or word.high is not None:
        sent = _clamp(value, word)
        if sent != value:
            changes.append(Change(name, value, sent, "clamped", f"the range here is {_bounds(word)}"))
        elif word.step is not None and (sent := _on_step(value, word.step)) != value:
            changes.append(Change(name, value, sent, "nearest", f"values are multiples of {word.step:g} here"))
    elif isinstance(value, tuple):
        sent = _items(name, value, word, changes)
    elif word.values:
        sent = word.values.get(_kind(value), value)
    if shape is not None:
        sent = shape(sent)
    if len(word.path) == 1:
        fields[word.path[0]] = sent
    else:
        put(fields, word.path, sent)


def _unsayable(value: Any, word: Word | None, *, streaming: bool) -> str | None:
    """Why *value* cannot be said; None if it can."""
    if word is None:
        return "there is no word for it here"
    if streaming and not word.streaming:
        return "it cannot be said while streaming"
    if word.only is not None and _kind(value) not in word.only:
        return f"only {', '.join(sorted(word.only))} can be said here"
    return None


def _is_neutral(name: str, value: Any, fields: Fields) -> bool:
    if name == "tool_choice" and value == "none" and "tools" not in fields:
        return True
    return value in _NEUTRAL.get(name, ())


def _kind(value: Any) -> str:
    """The word that stands for *value* in a row: its type for objects, true or false for booleans."""
    if isinstance(value, Mapping):
        return "named" if value.get("type") == "function" else str(value.get("type"))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _clamp(value: float, word: Word) -> float:
    bound: float | None = None
    if word.low is not None and value < word.low:
        bound = word.low
    elif word.high is not None and value > word.high:
        bound = word.high
    if bound is None:
        return value
    return int(bound) if isinstance(value, int) or float(bound).is_integer() else bound


def _on_step(value: float, step: float) -> float:
    """The multiple of *step* nearest to *value*; the value itself where it is one, but for what floats cannot say."""
    nearest = round(round(value / step) * step, 10)
    return value if abs(nearest - value) < 1e-9 else nearest


def _items(name: str, value: tuple[Any, ...], word: Word, changes: list[Change]) -> Any:
    if word.max_items is not None and len(value) > word.max_items:
        kept = list(value[: word.max_items])
        sent = None if name == "tools" else kept
        changes.append(Change(name, _plain(value), sent, "dropped", f"at most {word.max_items} can be said here"))
        return kept
    return value[0] if word.lone and len(value) == 1 else list(value)


def _bounds(word: Word) -> str:
    low = "any" if word.low is None else f"{word.low:g}"
    return f"{low} or more" if word.high is None else f"{low} to {word.high:.15g}"


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


# -- reasoning --------------------------------------------------------------------------------------------------------


def _reasoning(request: Request, dialect: Dialect, fields: Fields, changes: list[Change]) -> bool | None:
    effort, budget = request.reasoning_effort, request.reasoning_budget
    levels, limit = dialect.words["reasoning_effort"], dialect.words["reasoning_budget"]
    if excluded := _exclusion(request, dialect):
        return _without_reasoning(request, levels, fields, changes, excluded)
    if effort is None and budget is None:
        return None
    if budget is not None and limit is not None:
        _budget(effort, budget, limit, fields, changes)
        if request.max_tokens is not None and budget >= request.max_tokens:
            why = "max_tokens leaves no room for it and an answer: there will be less reasoning"
            changes.append(Change("reasoning_budget", budget, request.max_tokens, "nearest", why))
        return True
    if budget is not None and effort is not None:
        why = "only levels can be said here, and the level says how much"
        changes.append(Change("reasoning_budget", budget, None, "dropped", why))
    if effort is None:
        level = _level_for(budget or 0)
        wire = levels.levels[level] if levels is not None and levels.levels is not None else None
        how = "nearest" if wire is not None else "dropped"
        why = f"there is no budget here; level {level} is the nearest" if wire else "there is no word for it here"
        changes.append(Change("reasoning_budget", budget, _shown(wire), how, why))  # type: ignore[arg-type]  # one of two literals
        if wire is None:  # a budget asks for reasoning too, and that binds
            changes.append(Change("reasoning_effort", "on", None, "dropped", why))
        _put_all(fields, wire)
        return True if wire is not None else None
    return _level(request, levels, dialect, fields, changes)


def _level(request: Request, word: Word | None, dialect: Dialect, fields: Fields, changes: list[Change]) -> bool | None:
    effort: Effort = request.reasoning_effort or "none"
    wire = word.levels[effort] if word is not None and word.levels is not None else None
    exact = word is not None and effort in word.exact
    if wire is None:
        settled = dialect.defaults.get("reasoning_effort")
        if effort == "none" and settled in _OFF:
            return False
        inverted = effort == "none" and settled is not None
        why = "reasoning cannot be switched off here" if effort == "none" else "there is no word for it here"
        changes.append(Change("reasoning_effort", effort, None, "inverted" if inverted else "dropped", why))
        return None
    _put_all(fields, wire)
    if exact:
        return effort != "none"
    if effort == "none":
        why = "reasoning cannot be switched off here"
        changes.append(Change("reasoning_effort", effort, _shown(wire), "inverted", why))
    elif not request.any_level:
        why = "the provider does not tell this level apart"
        changes.append(Change("reasoning_effort", effort, _shown(wire), "nearest", why))
    return True


def _budget(effort: Effort | None, budget: int, word: Word, fields: Fields, changes: list[Change]) -> None:
    sent = _clamp(budget, word)
    if sent != budget:
        changes.append(Change("reasoning_budget", budget, sent, "clamped", f"the range here is {_bounds(word)}"))
    put(fields, word.path, sent)
    if effort is not None:
        why = "one control is sent, and the budget says it more exactly"
        changes.append(Change("reasoning_effort", effort, {".".join(word.path): sent}, "emulated", why))


def _level_for(budget: int) -> Effort:
    return next((level for level, tokens in LEVEL_BUDGETS.items() if budget <= tokens), "max")


def _exclusion(request: Request, dialect: Dialect) -> str | None:
    """What the request asks for that excludes reasoning here, e.g. `response_format.json_schema`."""
    if not dialect.reasoning_excludes or request.response_format is None:
        return None
    name = f"response_format.{request.response_format['type']}"
    return name if name in dialect.reasoning_excludes else None


def _without_reasoning(
    request: Request, word: Word | None, fields: Fields, changes: list[Change], excluded: str
) -> bool | None:
    """Reasoning is switched off on the wire; whoever asked for it is told that he would not get it."""
    wire = word.levels["none"] if word is not None and word.levels is not None else None
    _put_all(fields, wire)
    why = f"reasoning and {excluded} exclude each other here"
    if request.reasoning_budget is not None:
        changes.append(Change("reasoning_budget", request.reasoning_budget, None, "dropped", why))
    if request.reasoning_effort not in (None, "none") or request.reasoning_budget is not None:
        changes.append(Change("reasoning_effort", request.reasoning_effort or "on", _shown(wire), "inverted", why))
    elif request.reasoning_effort is None:
        changes.append(Change("reasoning_effort", None, _shown(wire), "defaulted", why))
    return False if wire is not None else None


def _put_all(fields: Fields, wire: Mapping[Path, Scalar] | None) -> None:
    for path, value in (wire or {}).items():
        put(fields, path, value)


def _shown(wire: Mapping[Path, Scalar] | None) -> Any:
    """The wire fields of a level as a person wants to see them: the lone word, or the fields."""
    if wire is None:
        return None
    if len(wire) == 1:
        return next(iter(wire.values()))
    return {".".join(path): value for path, value in wire.items()}


# -- messages and silence ---------------------------------------------------------------------------------------------


def _messages(request: Request, dialect: Dialect, changes: list[Change]) -> None:
    words, history, system = dialect.words, dialect.history, dialect.system
    if history.last_role:
        last = [message.role for message in request.messages if message.role != "system"][-1:]
        if last and last[0] not in history.last_role:
            message = f"the last message must be of role {' or '.join(history.last_role)} here"
            raise Untranslatable(message)
    if system.to is None and not system.join and all(map(_is_plain, request.messages)):
        return
    thoughts = sum(1 for message in request.messages if message.reasoning_content)
    if thoughts and history.reasoning == "strip":
        why = "earlier reasoning is not sent back here"
        changes.append(Change("reasoning_content", f"{thoughts} earlier turns", None, "dropped", why))
    if (word := words["images"]) is not None and word.only is not None:
        _details(request.messages, word, changes)
    if words["images"] is None or words["videos"] is None:
        _media(request.messages, words, changes)
    if system.to is not None or system.join:
        _system_moves(request.messages, system, changes)


def _is_plain(message: Message) -> bool:
    """Whether a turn is text and nothing else: there is nothing to say of it."""
    return message.content.__class__ is str and message.reasoning_content is None


def _media(messages: tuple[Message, ...], words: Mapping[str, Word | None], changes: list[Change]) -> None:
    for name, kind in (("images", True), ("videos", False)):
        if words[name] is None:
            count = sum(1 for message in messages for part in message.media if isinstance(part, Image) is kind)
            if count:
                why = f"the model reads no {name} here"
                asked = name[:-1] if count == 1 else name
                changes.append(Change("messages", f"{count} {asked}", None, "dropped", why))


def _details(messages: tuple[Message, ...], word: Word, changes: list[Change]) -> None:
    for message in messages:
        for part in message.media:
            detail = part.image_url.detail if isinstance(part, Image) else None
            if detail is not None and nearest_detail(detail, word) != detail:
                why = "the provider does not tell this detail apart"
                changes.append(Change("messages", f"detail {detail}", nearest_detail(detail, word), "nearest", why))


def nearest_detail(detail: str, word: Word) -> str:
    """How closely to look at a picture, in the words that there are: what is not known is `high`."""
    return detail if word.only is None or detail in word.only else "high"


def _system_moves(messages: tuple[Message, ...], system: System, changes: list[Change]) -> None:
    """A leading system message moves without a change of meaning; one from amid the conversation does not."""
    late = seen = False
    for message in messages:
        late |= message.role == "system" and seen
        seen |= message.role != "system"
    if not seen and system.to is not None:
        text = "a conversation of system messages alone cannot be said here"
        raise Untranslatable(text)
    if late:
        why = "system messages stand before the conversation here"
        changes.append(Change("messages", "a system message amid the conversation", "joined first", "emulated", why))
    length = len(system_text(messages))
    if system.max_length is not None and length > system.max_length:
        text = f"the system message has {length} characters; {system.max_length} are allowed here"
        raise Untranslatable(text)


def system_text(messages: tuple[Message, ...]) -> str:
    """All system messages as one text, a blank line between them."""
    return "\n\n".join(message.text for message in messages if message.role == "system" and message.text)


def _defaults(request: Request, dialect: Dialect, changes: list[Change]) -> None:
    """What the provider will do on its own where nothing was asked, as far as it alters the meaning."""
    for name, value in dialect.defaults.items():
        if name == "messages":
            asked = any(message.role == "system" for message in request.messages)
        elif name == "reasoning_effort":
            settled = any(change.param == name for change in changes)
            asked = request.reasoning_effort is not None or request.reasoning_budget is not None or settled
        else:
            asked = getattr(request, name, None) is not None
        if not asked:
            changes.append(Change(name, None, value, "defaulted", "nothing was asked; this is the provider's default"))
