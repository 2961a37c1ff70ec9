"""What one provider calls things: rows of YAML, validated and compiled once, at load.

Knows the words of a row (`Rule`, `DialectRow`, `DeploymentRow`, …), how rows layer (protocol ← provider ← deployment,
last wins) and what is checked of them. Refuses to know any provider by name, and what a request says (`translate`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from providers.errors import nearest
from providers.secret import Secret
from providers.types import EFFORTS, PARAMS, Effort

Modality = Literal["text", "image", "video"]
Scalar = str | int | float | bool | None

REASONING = ("reasoning_effort", "reasoning_budget")
MEDIA = ("images", "videos")


class Row(BaseModel):
    """A mapping of YAML: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Rule(Row):
    """How one canonical field is said.

    to: where on the wire, dotted (`settings.topP`); the canonical name if left out.
    range: [lowest, highest], null for open; a value outside is clamped to it, and reported.
    step: values are multiples of it; one between is rounded, and reported.
    max_items: of a list. shape: `list` (always one), `one_or_list` (a lone item stands alone).
    values: words that differ; only: the words that can be said at all.
    streaming: false where it cannot be said while streaming.
    levels: for reasoning_effort, what each of the seven levels is on the wire: a word for *to*, or a mapping of wire
      fields. exact: the levels that the provider itself tells apart; every other level is reported as `nearest`.
    """

    to: str | None = None
    range: tuple[float | None, float | None] | None = None
    step: Annotated[float, Field(gt=0)] | None = None
    max_items: Annotated[int, Field(ge=1)] | None = None
    shape: Literal["list", "one_or_list"] = "list"
    values: dict[str, Scalar] = Field(default_factory=dict)
    only: tuple[str, ...] | None = None
    streaming: bool = True
    levels: dict[str, Scalar | dict[str, Scalar]] | None = None
    exact: tuple[Effort, ...] = ()

    @model_validator(mode="after")
    def _levels_are_total(self) -> Self:
        if self.levels is None:
            return self
        for name in self.levels:
            if name not in EFFORTS:
                message = f"levels: {name!r} is not a level; {nearest(name, EFFORTS)}"
                raise ValueError(message)
        if missing := [level for level in EFFORTS if level not in self.levels]:
            message = f"levels has a hole: say what {', '.join(missing)} should be (null where it cannot be said)"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _range_is_one(self) -> Self:
        if self.range and None not in self.range and self.range[0] > self.range[1]:  # type: ignore[operator]  # None is excluded
            message = f"range {list(self.range)} is upside down"
            raise ValueError(message)
        return self


def _rule_shorthand(value: Any) -> Any:
    return {"to": value} if isinstance(value, str) else value


RuleOrWord = Annotated[Rule, BeforeValidator(_rule_shorthand)]


class ErrorRule(Row):
    """One line of a provider's failure table: all that is given must match; the first line that matches wins.

    code: the provider's own word, `*` stands for anything, case does not matter. text: a piece of the message.
    is: the class of failure, see `FAILURES` in providers/failures.py.
    """

    status: int | None = None
    code: str | None = None
    text: str | None = None
    is_: str = Field(alias="is")

    @model_validator(mode="after")
    def _matches_something(self) -> Self:
        from providers.failures import FAILURES  # failures reads rows, rows name failures

        if self.status is None and self.code is None and self.text is None:
            message = "an error rule needs a status, a code or a text to match"
            raise ValueError(message)
        if self.is_ not in FAILURES:
            message = f"is: {self.is_!r} is not a class of failure; {nearest(self.is_, FAILURES)}"
            raise ValueError(message)
        return self


class Auth(Row):
    """Which header holds the key, and the word before it."""

    header: str = "Authorization"
    scheme: str = "Bearer"


class System(Row):
    """Where the system message goes: a message (the default), or a wire field.

    join: true where only one is read, and only as the first message (Qwen's own chat template is like that).
    """

    to: str | None = None
    join: bool = False
    max_length: int | None = None


class History(Row):
    """What becomes of earlier turns. reasoning: replay sends `reasoning_content` back, strip leaves it out."""

    reasoning: Literal["replay", "strip"] = "strip"
    last_role: tuple[Literal["user", "tool", "assistant", "system"], ...] = ()


class Reading(Row):
    """How an answer is read.

    think: what a `<think>` in the text means: `leading` (default): a leading block is reasoning; `opened`: the prompt
      had opened it already; `never`: it is text.
    finish_reasons: the provider's words for why it stopped, beyond the usual ones; `failed` makes it a failure.
    cost, cost_headers: dotted paths into the JSON, and headers, where the price of the call in dollars is found;
      late_cost: in a stream it may come after everything else, even after the end.
    """

    think: Literal["leading", "opened", "never"] = "leading"
    cost: tuple[str, ...] = ("usage.cost",)
    cost_headers: tuple[str, ...] = ()
    late_cost: bool = False
    finish_reasons: dict[str, Literal["stop", "length", "tool_calls", "content_filter", "unknown", "failed"]] = Field(
        default_factory=dict
    )


class Polling(Row):
    """Pace of polling a job, in seconds: *first*, then times *factor* up to *longest*; Runware says start at 1–2 s."""

    first: Annotated[float, Field(gt=0)] = 1.0
    factor: Annotated[float, Field(ge=1)] = 1.5
    longest: Annotated[float, Field(gt=0)] = 10.0


class Continuation(Row):
    """Native continuation: the endpoint goes on from an assistant message that ends the conversation.

    modes: in which it does so (`instruct`: reasoning off; `thinking`). fields: what tells it to, e.g. vLLM's
    `{continue_final_message: true, add_generation_prompt: false}`.
    """

    modes: tuple[Literal["instruct", "thinking"], ...] = ("instruct",)
    fields: dict[str, Any] = Field(default_factory=dict)


class DialectRow(Row):
    """All that a protocol's, a provider's or a deployment's row can say about the wire. Every key may be left out."""

    params: dict[str, RuleOrWord | None] = Field(default_factory=dict)
    always: dict[str, Any] = Field(default_factory=dict)
    when_streaming: dict[str, Any] = Field(default_factory=dict)
    defaults: dict[str, Any] = Field(default_factory=dict)
    reasoning_excludes: tuple[str, ...] | None = None
    system: System | None = None
    history: History | None = None
    reading: Reading | None = None
    auth: Auth | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    errors: tuple[ErrorRule, ...] = ()
    delivery: Literal["sync", "async"] | None = None
    polling: Polling | None = None
    webhook: str | None = None
    continuation: Continuation | None = None

    @model_validator(mode="after")
    def _params_are_canonical(self) -> Self:
        known = (*PARAMS, *REASONING, *MEDIA)
        for name, rule in self.params.items():
            if name not in known:
                message = f"params: {name!r} is not a canonical field; {nearest(name, known)}"
                raise ValueError(message)
            if rule is not None and rule.levels is None and name == "reasoning_effort" and rule.to is None:
                message = "params.reasoning_effort needs levels (all seven), or a word for `to`"
                raise ValueError(message)
        return self


class Price(Row):
    """Dollars per million tokens. cached: of cached input tokens; *input* where the provider names none."""

    input: Annotated[float, Field(ge=0)] | None = None
    output: Annotated[float, Field(ge=0)] | None = None
    cached: Annotated[float, Field(ge=0)] | None = None


class Source(Row):
    """Where a fact comes from: a page, and when it was read; note says what disagrees or is only inferred."""

    page: str
    date: str | None = None
    note: str | None = None


class DeploymentRow(DialectRow):
    """One model at one provider. Whatever a provider's row says of the wire, a deployment's may say otherwise."""

    provider: str
    model: str
    context: Annotated[int, Field(ge=1)] | None = None
    max_output: Annotated[int, Field(ge=1)] | None = None
    input: tuple[Modality, ...] | None = None
    price: Price | None = None
    features: tuple[str, ...] = ()
    source: tuple[Source, ...] = ()


# -- compiled ---------------------------------------------------------------------------------------------------------

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Word:
    """A `Rule`, compiled: the path split, the bounds apart, numbers of the right kind."""

    path: Path
    low: float | None = None
    high: float | None = None
    step: float | None = None
    max_items: int | None = None
    lone: bool = False
    values: Mapping[str, Scalar] = field(default_factory=dict)
    only: frozenset[str] | None = None
    streaming: bool = True
    levels: Mapping[Effort, Mapping[Path, Scalar] | None] | None = None
    exact: frozenset[Effort] = frozenset()
    easy: str | None = field(init=False, repr=False, compare=False)
    """Its field on the wire, where a simple value within the bounds is sent as it is; else None."""

    def __post_init__(self) -> None:
        is_easy = len(self.path) == 1 and self.streaming and self.only is None and self.step is None and not self.values
        object.__setattr__(self, "easy", self.path[0] if is_easy else None)


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one endpoint calls things, ready for `translate`. None for a field: it cannot be said."""

    words: Mapping[str, Word | None]
    always: Mapping[str, Any]
    when_streaming: Mapping[str, Any]
    defaults: Mapping[str, Any]
    reasoning_excludes: frozenset[str]
    system: System
    history: History
    reading: Reading
    errors: tuple[ErrorRule, ...]
    delivery: Literal["sync", "async"] | None
    polling: Polling
    webhook: str | None = None
    continuation: Continuation | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One model at one provider, ready to address. Holds no key.

    *name* is `provider/model`; *wire_model* what the provider calls the model; *url* where calls are posted;
    *context* and *max_output* are tokens, None where unknown.
    """

    name: str
    provider: str
    model: str
    wire_model: str
    protocol: str
    url: str
    dialect: Dialect
    auth: Auth = Auth()
    headers: Mapping[str, str] = field(default_factory=dict)
    hidden_headers: Mapping[str, Secret] = field(default_factory=dict)
    context: int | None = None
    max_output: int | None = None
    input: frozenset[Modality] | None = None
    price: Price | None = None


def layer(*rows: DialectRow) -> dict[str, Any]:
    """The rows as one, last wins; mappings merge by key, everything else is replaced whole."""
    merged: dict[str, Any] = {}
    for row in rows:
        for name in row.model_fields_set & DialectRow.model_fields.keys():
            value, known = getattr(row, name), merged.get(name)
            if name == "errors":
                merged[name] = (*value, *(known or ()))  # the nearer row is read first
            elif isinstance(value, dict):
                merged[name] = {**(known or {}), **value}
            else:
                merged[name] = value
    return merged


def compile_dialect(
    *rows: DialectRow, max_output: int | None = None, media: frozenset[Modality] | None = None
) -> Dialect:
    """The rows, layered and compiled. *max_output* bounds max_tokens; *media* says which inputs the model reads."""
    merged = layer(*rows)
    params: dict[str, Rule | None] = merged.get("params", {})
    words = {name: _word(name, params[name]) if name in params else None for name in (*PARAMS, *REASONING, *MEDIA)}
    limit = words["max_tokens"]
    if limit is not None and max_output is not None and (limit.high is None or limit.high > max_output):
        words["max_tokens"] = _bounded(limit, max_output)
    if media is not None:
        words["images"] = words["images"] if "image" in media else None
        words["videos"] = words["videos"] if "video" in media else None
    return Dialect(
        words=words,
        always=merged.get("always", {}),
        when_streaming=merged.get("when_streaming", {}),
        defaults=merged.get("defaults", {}),
        reasoning_excludes=frozenset(merged.get("reasoning_excludes") or ()),
        system=merged.get("system") or System(),
        history=merged.get("history") or History(),
        reading=merged.get("reading") or Reading(),
        errors=merged.get("errors", ()),
        delivery=merged.get("delivery"),
        polling=merged.get("polling") or Polling(),
        webhook=merged.get("webhook"),
        continuation=merged.get("continuation"),
    )


def _bounded(word: Word, high: int) -> Word:
    return replace(word, high=high)


def _word(name: str, rule: Rule | None) -> Word | None:
    if rule is None:
        return None
    path = tuple((rule.to or name).split("."))
    low, high = rule.range or (None, None)
    return Word(
        path=path,
        low=low,
        high=high,
        step=rule.step,
        max_items=rule.max_items,
        lone=rule.shape == "one_or_list",
        values=rule.values,
        only=frozenset(rule.only) if rule.only is not None else None,
        streaming=rule.streaming,
        levels=_levels(path, rule),
        exact=frozenset(rule.exact if rule.levels is not None else EFFORTS),
    )


def _levels(path: Path, rule: Rule) -> Mapping[Effort, Mapping[Path, Scalar] | None]:
    """Each level as wire fields; a rule without levels says them all in our words."""
    levels: dict[Effort, Mapping[Path, Scalar] | None] = {}
    for effort in EFFORTS:
        said = effort if rule.levels is None else rule.levels[effort]
        if said is None:
            levels[effort] = None
        elif isinstance(said, dict):
            levels[effort] = {tuple(name.split(".")): value for name, value in said.items()}
        else:
            levels[effort] = {path: said}
    return levels
