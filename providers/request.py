"""The canonical request: what may be asked, named as OpenAI and Qwen name it.

Knows every field, its spellings, and when a request contradicts itself: all that is refused before anything is sent.
Refuses to know providers, dialects and wires. Validated here, once, at the edge (pydantic).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    Strict,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import from_json, to_json
from typing_extensions import TypedDict

from providers.errors import InvalidRequest, nearest

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
EFFORTS: tuple[Effort, ...] = get_args(Effort)

Fidelity = Literal["strict", "declared", "best_effort"]
Sampling = Literal["recommended", "thinking", "precise_coding", "instruct"]

Int = Annotated[int, Strict()]  # a bool or "7" is a mistake, not a number
Number = Annotated[float, Strict()]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


# -- the request ------------------------------------------------------------------------------------------------------


class Text(_Value):
    """Text of a message that has parts."""

    type: Literal["text"] = "text"
    text: str


class MediaURL(_Value):
    """Where a picture or a video is: https, or a `data:` URL; *detail* is how closely to look."""

    url: str = Field(min_length=1)
    detail: Literal["auto", "low", "high", "original"] | None = None


class Image(_Value):
    """A picture: *url* is https, or a `data:` URL."""

    type: Literal["image_url"] = "image_url"
    image_url: MediaURL


class Video(_Value):
    """A video: *url* is https, or a `data:` URL."""

    type: Literal["video_url"] = "video_url"
    video_url: MediaURL


Part = Annotated[Text | Image | Video, Field(discriminator="type")]


class Function(_Value):
    """A function's name, and its arguments as the model wrote them."""

    name: str = Field(min_length=1)
    arguments: str = "{}"  # JSON text, exactly as the model wrote it


class ToolCall(_Value):
    """A tool call of an assistant; `complete` is False when the answer broke off inside its arguments."""

    id: str
    type: Literal["function"] = "function"
    function: Function
    complete: bool = Field(default=True, exclude=True)

    @property
    def name(self) -> str:
        return self.function.name

    @property
    def arguments(self) -> str:
        return self.function.arguments


Role = Literal["system", "user", "assistant", "tool"]


class Message(_Value):
    """One turn. `developer` is read as `system`; fields that are null or empty lists say nothing and may stay."""

    role: Role
    content: str | tuple[Part, ...] | None = None
    name: str | None = None
    reasoning_content: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _tidy(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        if len(data) == 2 and data.get("role") in ("user", "assistant", "system") and data.get("content"):
            return data  # the usual turn says just these two
        # Other libraries' assistant messages carry `refusal: null`, `annotations: []` and the like back to us.
        said = {key: value for key, value in data.items() if value is not None and value != []}
        if said.get("role") == "developer":
            said["role"] = "system"
        return said

    @property
    def text(self) -> str:
        """The text of this turn, its parts joined."""
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        return "".join(part.text for part in self.content if isinstance(part, Text))

    @property
    def media(self) -> tuple[Image | Video, ...]:
        if self.content is None or isinstance(self.content, str):
            return ()
        return tuple(part for part in self.content if not isinstance(part, Text))


class FunctionSpec(TypedDict):
    """A function that the model may call; *parameters* is a JSON Schema."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # pydantic's own way to configure a TypedDict

    name: str
    description: NotRequired[str | None]
    parameters: NotRequired[dict[str, Any] | None]
    strict: NotRequired[bool | None]


class Tool(TypedDict):
    """A tool, in OpenAI's shape."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # as above

    type: Literal["function"]
    function: FunctionSpec


class FunctionName(TypedDict):
    """A function, named."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # as above

    name: str


class NamedTool(TypedDict):
    """The tool that must be called."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # as above

    type: Literal["function"]
    function: FunctionName


class JsonSchema(TypedDict):
    """The schema that the answer must fit."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # as above

    name: str
    schema: dict[str, Any]
    strict: NotRequired[bool | None]
    description: NotRequired[str | None]


class ResponseFormat(TypedDict):
    """The format that the answer must have."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # as above

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NotRequired[JsonSchema]


ToolChoice = Literal["none", "auto", "required"] | NamedTool

# Other spellings of a canonical field, with how their value reads. `thinking` and `enable_thinking` are handled apart.
_SPELLINGS = {"thinking_budget": "reasoning_budget", "max_completion_tokens": "max_tokens"}
_SWITCHES = ("thinking", "enable_thinking")
# An OpenAI mapping says how it wants to be answered; here the method called says it.
_DELIVERY = ("stream", "stream_options")


class Request(_Value):
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
    def of(cls, value: Request | Mapping[str, Any]) -> Request:
        """*value* itself, or the request that an OpenAI-shaped mapping means (the method called says how to stream)."""
        if isinstance(value, Request):
            return value
        if not isinstance(value, Mapping):
            message = f"a request is a Request or a mapping, not {type(value).__name__}"
            raise InvalidRequest(message)
        return cls(**{str(key): item for key, item in value.items() if key not in _DELIVERY})

    def but(self, **changes: Any) -> Request:
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

    @field_validator("tools", mode="after")
    @classmethod
    def _said_tools(cls, value: tuple[Tool, ...] | None) -> tuple[Tool, ...] | None:
        """No tools are nothing asked; and what is null in a tool is not said."""
        for tool in value or ():
            _said_only(tool["function"])
        names = [tool["function"]["name"] for tool in value or ()]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            message = f"two tools have the name {twice[0]!r}"
            raise ValueError(message)
        return value or None

    @field_validator("response_format", mode="after")
    @classmethod
    def _said_format(cls, value: ResponseFormat | None) -> ResponseFormat | None:
        if value is not None and "json_schema" in value:
            _said_only(value["json_schema"])
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
        _check_order(self.messages)
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
        _check_tool_choice(self.tool_choice, self.tools)
        return self


def _said_only(mapping: Any) -> None:
    """Take out of *mapping*, which pydantic has made for us, what is null: it says nothing."""
    for name in [name for name, said in mapping.items() if said is None]:
        del mapping[name]


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
    first = max(error.errors(include_url=False, include_context=False), key=lambda one: len(one["loc"]))
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


def _is_usual(message: Message) -> bool:
    """Whether a turn is plain text and nothing else: nothing can be wrong with it."""
    return isinstance(message.content, str) and message.content.isascii() and not message.tool_calls


_SPEAKERS = ("user", "assistant", "system")


def _check_order(messages: tuple[Message, ...]) -> None:
    """Refuse what no chat model can read: tool results that answer nothing, tool calls that nobody answers."""
    waiting: set[str] = set()
    for place, message in enumerate(messages):
        if not waiting and message.role in _SPEAKERS and _is_usual(message):
            continue
        where = f"messages[{place}]"
        if message.role == "tool":
            if message.tool_call_id not in waiting:
                problem = f"{where}: a tool message must answer a tool_call of the assistant message before it"
                raise ValueError(f"{problem}; tool_call_id is {message.tool_call_id!r}")
            waiting.discard(message.tool_call_id)
        else:
            if waiting:
                problem = f"{where}: tool calls {sorted(waiting)} have not been answered by a tool message yet"
                raise ValueError(problem)
            waiting = {call.id for call in message.tool_calls}
        _check_turn(where, message)
    if waiting:
        problem = f"the conversation ends before tool calls {sorted(waiting)} are answered by tool messages"
        raise ValueError(problem)


def _check_turn(where: str, message: Message) -> None:
    ids = [call.id for call in message.tool_calls]
    if len(set(ids)) < len(ids):
        twice = next(one for one in ids if ids.count(one) > 1)
        problem = f"{where}: two tool_calls have the id {twice!r}"
        raise ValueError(problem)
    try:
        message.text.encode()
    except UnicodeEncodeError:
        problem = f"messages.{where[9:-1]}.content: holds half a character (a lone surrogate)"
        raise ValueError(problem) from None
    if message.tool_calls and message.role != "assistant":
        problem = f"{where}: only an assistant message has tool_calls"
        raise ValueError(problem)
    if message.media and message.role != "user":
        problem = f"{where}: only a user message holds images or videos"
        raise ValueError(problem)
    said_by_assistant = message.role == "assistant" and (message.tool_calls or message.reasoning_content is not None)
    if message.content is None and not said_by_assistant:
        problem = f"{where}: content is required"
        raise ValueError(problem)


def _check_tool_choice(choice: ToolChoice | None, tools: tuple[Tool, ...] | None) -> None:
    if choice in (None, "auto", "none"):
        return
    names = [tool["function"]["name"] for tool in tools or ()]
    if not names:
        problem = f"tool_choice={choice!r} needs tools"
        raise ValueError(problem)
    if isinstance(choice, dict) and choice["function"]["name"] not in names:
        name = choice["function"]["name"]
        problem = f"tool_choice names {name!r}, which is not among the tools; {nearest(name, names)}"
        raise ValueError(problem)
