"""The canonical request: what may be asked, named as OpenAI and Qwen name it.

Knows every field, its spellings, and when a request contradicts itself: all that is refused before anything is sent.
Refuses to know providers, dialects and wires. Validated here, once, at the edge (pydantic).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    Field,
    PrivateAttr,
    Strict,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import from_json, to_json

from providers.errors import InvalidRequest, nearest
from providers.messages import Message, Value, check_order
from providers.tools import ResponseFormat, Tool, ToolChoice, check_tool_choice, said_only

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
EFFORTS: tuple[Effort, ...] = get_args(Effort)

# The fields that are said one by one, in the order in which they are translated.
PARAMS = (
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "stop",
    "seed",
    "n",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "user",
)

Fidelity = Literal["strict", "declared", "best_effort"]
Sampling = Literal["recommended", "thinking", "precise_coding", "instruct"]
OnInterruption = Literal["error", "recover", "restart"]

Int = Annotated[int, Strict()]  # a bool or "7" is a mistake, not a number
Number = Annotated[float, Strict()]

_SPELLINGS = {"thinking_budget": "reasoning_budget", "max_completion_tokens": "max_tokens"}
_SWITCHES = ("thinking", "enable_thinking")
# An OpenAI mapping says how it wants to be answered; here the method called says it.
_DELIVERY = ("stream", "stream_options")


class PriceLimit(Value):
    """The most that a deployment may cost: dollars per million tokens. None: no limit."""

    input: Annotated[float, Field(ge=0)] | None = None
    output: Annotated[float, Field(ge=0)] | None = None


class Request(Value):
    """What is asked, in canonical words. Everything but *model* and *messages* is optional; None means *not asked*.

    Args:
        model: a route, a catalog model (`qwen3.5-27b`) or one deployment (`mixlayer/qwen3.5-27b`).
        messages: OpenAI-shaped mappings or `Message` values, at least one.
        reasoning_effort: none, minimal, low, medium, high, xhigh or max. `thinking=True|False` and
            `enable_thinking=True|False` are spellings of it (True reads as *medium*, as Qwen's own default does).
        reasoning_budget: tokens of reasoning, ≥ 1. Spelled `thinking_budget` too.
        max_tokens: ≥ 1, reasoning included. Spelled `max_completion_tokens` too.
        temperature, top_p, top_k, min_p, presence_penalty, frequency_penalty, repetition_penalty: sampling.
        stop: one string or several. seed: any integer. n: number of choices.
        logprobs, top_logprobs, logit_bias, tools, tool_choice, parallel_tool_calls, response_format, user: as OpenAI's.
        extra: further fields for the wire, verbatim, whatever the dialect.
        fidelity: strict, declared, best_effort, or a mapping by field; overrides the route's.
        sampling: `recommended` fills in the makers' advice for the mode (thinking or instruct) where nothing is asked;
            `thinking`, `precise_coding` or `instruct` name the mode.
        delivery: how a job API is to answer: `sync` in its reply, `async` later (polled, or by webhook).
        policy: the name of another policy of the routes file than the route's own.
        deadline: seconds for the whole request. attempts: how many at most. max_cost: dollars for all attempts together.
            Each may be less than the policy allows, not more.
        only, ignore: deployments (`mixlayer/qwen3.5-27b`) or providers (`mixlayer`) of the route; one, or several.
        max_price: dollars per million tokens, `{"input": 0.5, "output": 2}`; a deployment that costs more, or nobody
            knows how much, is out. prefer_price: one that costs more comes after those that do not.
        on_interruption: error, recover or restart; overrides the policy's.

    Raises:
        InvalidRequest: an unknown field, two spellings that disagree, or a value that cannot mean anything.
    """

    model: str = Field(min_length=1)
    messages: tuple[Message, ...] = Field(min_length=1)
    reasoning_effort: Effort | None = None
    reasoning_budget: Annotated[Int, Field(ge=1)] | None = None
    max_tokens: Annotated[Int, Field(ge=1)] | None = None
    temperature: Annotated[Number, Field(ge=0)] | None = None
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    top_k: Annotated[Int, Field(ge=1)] | None = None
    min_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    presence_penalty: Number | None = None
    frequency_penalty: Number | None = None
    repetition_penalty: Annotated[Number, Field(ge=0)] | None = None
    stop: tuple[str, ...] | None = None
    seed: Int | None = None
    n: Annotated[Int, Field(ge=1)] | None = None
    logprobs: Annotated[bool, Strict()] | None = None
    top_logprobs: Annotated[Int, Field(ge=0)] | None = None
    logit_bias: dict[str, Annotated[Number, Field(ge=-100, le=100)]] | None = None
    tools: tuple[Tool, ...] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: Annotated[bool, Strict()] | None = None
    response_format: ResponseFormat | None = None
    user: str | None = None
    extra: dict[str, Any] = Field(default_factory=dict)
    fidelity: Fidelity | dict[str, Fidelity] | None = None
    sampling: Sampling | None = None
    delivery: Literal["sync", "async"] | None = None
    policy: Annotated[str, Field(min_length=1)] | None = None
    deadline: Annotated[Number, Field(gt=0)] | None = None
    attempts: Annotated[Int, Field(ge=1)] | None = None
    max_cost: Annotated[Number, Field(ge=0)] | None = None
    only: tuple[str, ...] | None = None
    ignore: tuple[str, ...] | None = None
    max_price: PriceLimit | None = None
    prefer_price: PriceLimit | None = None
    on_interruption: OnInterruption | None = None

    # `thinking=True` asks for reasoning, not for a level: whatever level serves it is as asked.
    _any_level: bool = PrivateAttr(default=False)

    @property
    def any_level(self) -> bool:
        """True when reasoning was asked for with a switch (`thinking=True`), so that every level fits."""
        return self._any_level

    if TYPE_CHECKING:

        def __init__(  # the canonical request is wide; every field but two has a default
            self,
            *,
            model: str,
            messages: Iterable[Message | Mapping[str, Any]],
            reasoning_effort: Effort | None = None,
            reasoning_budget: int | None = None,
            max_tokens: int | None = None,
            temperature: float | None = None,
            top_p: float | None = None,
            top_k: int | None = None,
            min_p: float | None = None,
            presence_penalty: float | None = None,
            frequency_penalty: float | None = None,
            repetition_penalty: float | None = None,
            stop: str | Sequence[str] | None = None,
            seed: int | None = None,
            n: int | None = None,
            logprobs: bool | None = None,
            top_logprobs: int | None = None,
            logit_bias: Mapping[str, float] | None = None,
            tools: Iterable[Mapping[str, Any]] | None = None,
            tool_choice: str | Mapping[str, Any] | None = None,
            parallel_tool_calls: bool | None = None,
            response_format: Mapping[str, Any] | None = None,
            user: str | None = None,
            extra: Mapping[str, Any] | None = None,
            fidelity: Fidelity | Mapping[str, Fidelity] | None = None,
            sampling: Sampling | None = None,
            delivery: Literal["sync", "async"] | None = None,
            policy: str | None = None,
            deadline: float | None = None,
            attempts: int | None = None,
            max_cost: float | None = None,
            only: str | Sequence[str] | None = None,
            ignore: str | Sequence[str] | None = None,
            max_price: PriceLimit | Mapping[str, float] | None = None,
            prefer_price: PriceLimit | Mapping[str, float] | None = None,
            on_interruption: OnInterruption | None = None,
            thinking: bool | None = None,
            enable_thinking: bool | None = None,
            thinking_budget: int | None = None,
            max_completion_tokens: int | None = None,
        ) -> None: ...

    else:

        def __init__(self, **data: Any) -> None:
            switched = data.get("reasoning_effort") is None and True in [data.get(name) for name in _SWITCHES]
            try:
                super().__init__(**_canonical_spelling(data))
                self._any_level = switched
            except ValidationError as error:
                raise _invalid(error, cls=type(self)) from None

    @classmethod
    def of(cls, value: "Request | Mapping[str, Any]") -> "Request":
        """*value* itself, or the request that an OpenAI-shaped mapping means (the method called says how to stream)."""
        if isinstance(value, Request):
            return value
        if not isinstance(value, Mapping):
            message = f"a request is a Request or a mapping, not {type(value).__name__}"
            raise InvalidRequest(message)
        return cls(**{str(key): item for key, item in value.items() if key not in _DELIVERY})

    def but(self, **changes: Any) -> "Request":
        """This request with some fields said otherwise; validated again."""
        return Request(**{**{name: getattr(self, name) for name in self.model_fields_set}, **changes})

    @field_validator("stop", mode="before")
    @classmethod
    def _lone_stop(cls, value: Any) -> Any:
        value = (value,) if isinstance(value, str) else value
        if isinstance(value, (list, tuple)) and any(item == "" for item in value):
            message = "a stop sequence must not be empty"
            raise ValueError(message)
        return value or None if isinstance(value, (list, tuple)) else value

    @field_validator("only", "ignore", mode="before")
    @classmethod
    def _lone_name(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("only", mode="after")
    @classmethod
    def _names_somebody(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value == ():
            message = "an empty list leaves nobody to ask; leave it out"
            raise ValueError(message)
        return value

    @field_validator("tools", mode="after")
    @classmethod
    def _said_tools(cls, value: tuple[Tool, ...] | None) -> tuple[Tool, ...] | None:
        """No tools are nothing asked; and what is null in a tool is not said."""
        for tool in value or ():
            said_only(tool["function"])
        names = [tool["function"]["name"] for tool in value or ()]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            message = f"two tools have the name {twice[0]!r}"
            raise ValueError(message)
        return value or None

    @field_validator("response_format", mode="after")
    @classmethod
    def _said_format(cls, value: ResponseFormat | None) -> ResponseFormat | None:
        if value is not None and "json_schema" in value:
            said_only(value["json_schema"])
        return value

    @field_validator("tools", "response_format", "extra", mode="after")
    @classmethod
    def _is_json(cls, value: Any) -> Any:
        """What goes to the wire as it is must be JSON."""
        if value:
            try:
                from_json(to_json(value), allow_inf_nan=False)
            except ValueError as error:
                message = f"is not JSON: {str(error)[:100]}"
                raise ValueError(message) from None
        return value

    @field_validator("fidelity", mode="after")
    @classmethod
    def _fields_of_fidelity(cls, value: Any) -> Any:
        for name in value if isinstance(value, dict) else ():
            if name not in (known := ("default", "messages", *cls.model_fields)):
                message = f"{name!r} is not a field; {nearest(name, known)}"
                raise ValueError(message)
        return value

    @field_validator("logit_bias", mode="before")
    @classmethod
    def _token_ids(cls, value: Any) -> Any:
        return {str(key): bias for key, bias in value.items()} if isinstance(value, Mapping) else value

    @field_validator("extra", mode="before")
    @classmethod
    def _no_extra(cls, value: Any) -> Any:
        return {} if value is None else value

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        check_order(self.messages)
        if self.reasoning_effort == "none" and self.reasoning_budget is not None:
            message = "reasoning_effort='none' and a reasoning_budget disagree: leave one out"
            raise ValueError(message)
        if self.top_logprobs is not None and not self.logprobs:
            message = "top_logprobs needs logprobs=True"
            raise ValueError(message)
        wanted = self.response_format
        if wanted and wanted["type"] == "json_schema" and "json_schema" not in wanted:
            message = "response_format of type json_schema needs a json_schema with a name and a schema"
            raise ValueError(message)
        check_tool_choice(self.tool_choice, self.tools)
        return self


def _canonical_spelling(data: dict[str, Any]) -> dict[str, Any]:
    """*data* with every other spelling replaced by the canonical one; two that disagree are refused."""
    for other, name in _SPELLINGS.items():
        if other in data:
            value = data.pop(other)
            if value is not None and data.get(name, value) not in (None, value):
                message = f"{other}={value!r} and {name}={data[name]!r} disagree: leave one out"
                raise InvalidRequest(message, field=name)
            data[name] = value if data.get(name) is None else data[name]
    for switch in _SWITCHES:
        if switch in data:
            _read_switch(switch, data)
    return data


def _read_switch(switch: str, data: dict[str, Any]) -> None:
    value = data.pop(switch)
    if value is None:
        return
    if not isinstance(value, bool):
        message = f"{switch} is True or False, not {value!r}; levels are said with reasoning_effort"
        raise InvalidRequest(message, field=switch)
    effort = data.get("reasoning_effort")
    if effort is not None and (effort != "none") is not value:
        message = f"{switch}={value} and reasoning_effort={effort!r} disagree: leave one out"
        raise InvalidRequest(message, field="reasoning_effort")
    if effort is not None:
        return
    if value and data.get("reasoning_budget") is not None:
        return  # a budget already says that there shall be reasoning, and how much
    data["reasoning_effort"] = "medium" if value else "none"


def _invalid(error: ValidationError, cls: type[BaseModel]) -> InvalidRequest:
    """The first problem that pydantic found, in a sentence that says what would have been right."""
    # A union reports every branch; the branch that got furthest is the one that was meant.
    # Of two as deep, a misspelt field comes before the missing one that it may have been meant to be.
    found = error.errors(include_url=False, include_context=False)
    first = max(found, key=lambda one: (len(one["loc"]), one["type"] == "extra_forbidden"))
    field = ".".join(str(step) for step in first["loc"] if "[" not in str(step) and step not in _BRANCHES)
    message = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        name = first["loc"][-1]
        known = cls.model_fields if len(first["loc"]) == 1 else _fields_near(first["loc"])
        message = f"unknown field {name!r}; {nearest(name, known)}"
        if len(first["loc"]) == 1:
            message += " To send it to the wire verbatim, put it under extra={...}."
    elif first["type"] == "missing":
        message = "is required"
    elif first["loc"] == ("messages",) and first["type"] == "too_short":
        message = "must hold at least one message"
    return InvalidRequest(message, field=field)


_BRANCHES = ("str", "NamedTool", "FunctionSpec", "Tool", "ResponseFormat", "JsonSchema")  # pydantic's names of branches


def _fields_near(loc: tuple[int | str, ...]) -> Iterable[str]:
    if loc[0] == "messages":
        return Message.model_fields if len(loc) == 3 else ("type", "text", "image_url", "video_url", "url", "detail")
    if loc[0] == "tools":
        return ("type", "function", "name", "description", "parameters", "strict")
    return ("type", "json_schema", "name", "schema", "strict", "description", "function")
