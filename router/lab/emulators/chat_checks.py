"""Messages, tools and response formats of OpenAI's chat requests. Pure.

Knows the shapes that the four documents have in common; where they differ is a ``ChatRules``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from router.lab.emulators.checks import BOOLEAN, OBJECT, STRING, Complaint, Field, check_fields, kind_of

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # FOUND at Mixlayer; OpenAI's own rule, so taken for all
_MESSAGE_KEYS = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "reasoning_content", "refusal"})
_PART_OF = {"input_text": "text", "image_url": "image_url", "video_url": "video_url", "refusal": "refusal"}
_FUNCTION = {"name": STRING, "description": STRING, "parameters": OBJECT, "strict": Field("boolean null")}
_FORMATS = ("text", "json_object", "json_schema")


@dataclass(frozen=True, slots=True)
class ChatRules:
    """Where the chat providers differ."""

    roles: tuple[str, ...] = ("system", "user", "assistant", "tool")
    user_parts: tuple[str, ...] = ("text", "image_url")
    image_details: tuple[str, ...] = ("low", "high", "auto")
    max_tools: int | None = None
    strict_tools: bool = False  # extra keys in a tool are refused
    schema_name: bool = True  # json_schema.name is required
    ignore_message_keys: bool = True  # INFERRED everywhere: no document says what an unknown key of a message does


def check_messages(messages: list[Any], rules: ChatRules) -> Complaint | None:
    """Return what is wrong with the first wrong message."""
    for number, message in enumerate(messages):
        if not isinstance(message, dict):
            return Complaint(f"messages[{number}]", "type", f"Expected object, received {kind_of(message)}")
        complaint = _check_message(message, rules)
        if complaint is not None:
            return complaint.inside(f"messages[{number}]")
    return None


def _check_message(message: Mapping[str, Any], rules: ChatRules) -> Complaint | None:
    role = message.get("role")
    if role is None:
        return Complaint("role", "missing", "Required")
    if complaint := Field("string", choices=rules.roles).complain("role", role):
        return complaint
    if not rules.ignore_message_keys and (unknown := sorted(set(message) - _MESSAGE_KEYS)):
        return Complaint(unknown[0], "unknown", f"Unrecognized key(s) in object: '{unknown[0]}'", None, unknown[0])
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        return Complaint("tool_call_id", "missing", "Required")
    if role == "assistant" and message.get("tool_calls") is not None:
        return _check_calls(message["tool_calls"]) or _check_content(
            message.get("content"), ("text",), rules, empty=True
        )
    if message.get("content") is None:
        return Complaint("content", "missing", "Required")
    parts = {"user": rules.user_parts, "assistant": ("text", "refusal")}.get(role, ("text",))
    return _check_content(message["content"], parts, rules)


def _check_content(content: Any, types: tuple[str, ...], rules: ChatRules, *, empty: bool = False) -> Complaint | None:
    if isinstance(content, str) or (empty and content is None):
        return None
    if not isinstance(content, list):
        return Complaint("content", "type", f"Expected string or array, received {kind_of(content)}")
    if not content:
        return Complaint("content", "few", "Must contain at least 1 element(s)", 1, 0)
    for number, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        complaint = Field("string", choices=types).complain("type", kind) or _check_part(part, str(kind), rules)
        if complaint is not None:
            return complaint.inside(f"content[{number}]")
    return None


def _check_part(part: Mapping[str, Any], kind: str, rules: ChatRules) -> Complaint | None:
    key = _PART_OF.get(kind, kind)
    if key in ("text", "refusal"):
        return STRING.complain(key, part.get(key))
    media = part.get(key)
    if not isinstance(media, dict):
        return Complaint(key, "type", f"Expected object, received {kind_of(media)}")
    complaint = STRING.complain("url", media.get("url"))
    if complaint is None and media.get("detail") is not None:
        complaint = Field("string", choices=rules.image_details).complain("detail", media["detail"])
    return complaint.inside(key) if complaint is not None else None


def _check_calls(calls: Any) -> Complaint | None:
    if not isinstance(calls, list) or not calls:
        return Complaint("tool_calls", "type", f"Expected a non-empty array, received {kind_of(calls)}")
    for number, call in enumerate(calls):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(call.get("id"), str):
            return Complaint(f"tool_calls[{number}]", "value", "Expected an id and a function")
        for name in ("name", "arguments"):
            if complaint := STRING.complain(name, function.get(name)):
                return complaint.inside(f"tool_calls[{number}].function")
    return None


def check_tools(tools: list[Any], rules: ChatRules) -> Complaint | None:
    """Return what is wrong with the first wrong tool."""
    if rules.max_tools is not None and len(tools) > rules.max_tools:
        message = f"Must contain at most {rules.max_tools} element(s)"
        return Complaint("tools", "many", message, rules.max_tools, len(tools))
    for number, tool in enumerate(tools):
        complaint = _check_tool(tool, rules)
        if complaint is not None:
            return complaint.inside(f"tools[{number}]")
    return None


def _check_tool(tool: Any, rules: ChatRules) -> Complaint | None:
    if not isinstance(tool, dict):
        return Complaint("", "type", f"Expected object, received {kind_of(tool)}")
    fields = {"type": Field("string", choices=("function",)), "function": OBJECT}
    complaint = check_fields(tool, fields, required=("type", "function"), ignore_unknown=not rules.strict_tools)
    if complaint is not None:
        return complaint
    function = tool["function"]
    complaint = check_fields(function, _FUNCTION, required=("name",), ignore_unknown=not rules.strict_tools)
    if complaint is None and not _NAME.fullmatch(function["name"]):
        complaint = Complaint("name", "value", f"Expected to match {_NAME.pattern}", _NAME.pattern, function["name"])
    return complaint.inside("function") if complaint is not None else None


def check_tool_choice(choice: Any, tools: list[Any], *, strings: bool = True) -> Complaint | None:
    """Return what is wrong with a tool choice; a named tool must be one of *tools*."""
    if isinstance(choice, str) and strings:
        return Field("string", choices=("none", "auto", "required")).complain("tool_choice", choice)
    if not isinstance(choice, dict):
        expected = "string or object" if strings else "object"
        return Complaint("tool_choice", "type", f"Expected {expected}, received {kind_of(choice)}")
    function = choice.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    if choice.get("type") != "function" or not isinstance(name, str):
        return Complaint("tool_choice", "value", "Expected {type: function, function: {name}}")
    if name not in [tool["function"]["name"] for tool in tools]:
        return Complaint("tool_choice", "value", f"Tool '{name}' is not in tools", None, name)
    return None


def check_response_format(wanted: Mapping[str, Any], rules: ChatRules) -> Complaint | None:
    """Return what is wrong with a response format."""
    if complaint := Field("string", choices=_FORMATS).complain("type", wanted.get("type")):
        return complaint.inside("response_format")
    if wanted["type"] != "json_schema":
        return None
    held = wanted.get("json_schema")
    if not isinstance(held, dict):
        return Complaint("response_format.json_schema", "missing", "Required")
    fields = {"name": STRING, "schema": OBJECT, "strict": Field("boolean null"), "description": STRING}
    required = ("name", "schema") if rules.schema_name else ("schema",)
    complaint = check_fields(held, fields, required=required, ignore_unknown=True)
    return complaint.inside("response_format.json_schema") if complaint is not None else None


def check_stream_options(options: Mapping[str, Any]) -> Complaint | None:
    """Return what is wrong with stream options; *include_usage* is required inside (FOUND at AIML)."""
    complaint = check_fields(options, {"include_usage": BOOLEAN}, required=("include_usage",), ignore_unknown=True)
    return complaint.inside("stream_options") if complaint is not None else None
