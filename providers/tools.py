"""Tools and the format of the answer, in OpenAI's shapes.

Plain mappings, because they go to the wire as they are; validated all the same.
"""

from typing import Any, Literal, NotRequired

from pydantic import ConfigDict
from typing_extensions import TypedDict

from providers.errors import nearest


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


def check_tool_choice(choice: ToolChoice | None, tools: tuple[Tool, ...] | None) -> None:
    """Refuse a choice among tools that are not there.

    Raises:
        ValueError: which pydantic turns into the request's own error.
    """
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


def said_only(mapping: Any) -> None:
    """Take out of *mapping*, which pydantic has made for us, what is null: it says nothing."""
    for name in [name for name, said in mapping.items() if said is None]:
        del mapping[name]
