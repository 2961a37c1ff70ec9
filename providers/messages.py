"""The turns of a conversation, canonical: parts, tool calls, messages, and the order in which they make sense.

Knows what one message may hold and what no chat model can read. Refuses to know the rest of a request.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Value(BaseModel):
    """A canonical value: frozen, and unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Text(Value):
    """Text of a message that has parts."""

    type: Literal["text"] = "text"
    text: str


class MediaURL(Value):
    """Where a picture or a video is: https, or a `data:` URL; *detail* is how closely to look."""

    url: str = Field(min_length=1)
    detail: Literal["auto", "low", "high", "original"] | None = None


class Image(Value):
    """A picture: *url* is https, or a `data:` URL."""

    type: Literal["image_url"] = "image_url"
    image_url: MediaURL


class Video(Value):
    """A video: *url* is https, or a `data:` URL."""

    type: Literal["video_url"] = "video_url"
    video_url: MediaURL


Part = Annotated[Text | Image | Video, Field(discriminator="type")]


class Function(Value):
    """A function's name, and its arguments as the model wrote them."""

    name: str = Field(min_length=1)
    arguments: str = "{}"  # JSON text, exactly as the model wrote it


class ToolCall(Value):
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


class Message(Value):
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


def _is_usual(message: Message) -> bool:
    """Whether a turn is plain text and nothing else: nothing can be wrong with it."""
    content = message.content
    return content.__class__ is str and content.isascii() and not message.tool_calls


_SPEAKERS = ("user", "assistant", "system")


def check_order(messages: tuple[Message, ...]) -> None:
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
