"""What Runware accepts in a ``textInference`` task, from ``runware-qwen3.5-27b.txt``. Pure.

Knows the fields, their types and ranges; knows nothing of delivery. The document's step of 0.01 is not enforced
(INFERRED): a step reads as advice to a user interface, no source shows a refusal, and in binary no 0.07 is a multiple.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from router.lab.emulators.checks import BOOLEAN, OBJECT, STRING, Complaint, Field, check_fields, kind_of
from router.lab.emulators.playback import Json

_UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)
_SOURCE = re.compile(r"https?://\S+|data:[\w.+/-]+;base64,\S+|[A-Za-z0-9+/=_-]{16,}")  # URL, data URI, UUID or base64
_URI = re.compile(r"https?://\S+")
_MEDIA = Field("array", few=1, item=STRING)
_INPUTS = {"images": _MEDIA, "videos": _MEDIA}  # FOUND[R13] for the 397B sibling
_FIELDS = {
    "taskType": Field("string", choices=("textInference",)),
    "taskUUID": STRING,
    "model": STRING,
    "messages": Field("array", few=1),
    "webhookURL": STRING,
    "deliveryMethod": Field("string", choices=("sync", "async", "stream")),  # count DOC, names FOUND[R1, R8, R13]
    "includeCost": BOOLEAN,
    "includeUsage": BOOLEAN,
    "numberResults": Field("integer", 1, 4),
    "seed": Field("integer", 0, 4_294_967_295),
    "inputs": OBJECT,
    "settings": OBJECT,
}
_TOOL_FIELDS = {"tools": Field("array", few=1), "toolChoice": OBJECT}
_JSON_FIELDS = {"outputFormat": Field("string", choices=("TEXT", "JSON")), "jsonSchema": OBJECT}
_SETTINGS = {
    "systemPrompt": Field("string", few=1, many=131_072),
    "temperature": Field("number", 0, 2),
    "topP": Field("number", 0, 1),
    "frequencyPenalty": Field("number", 0, 2),
    "minP": Field("number", 0, 1),
    "presencePenalty": Field("number", 0, 2),
    "repetitionPenalty": Field("number", 0, 2),
    "stopSequences": Field("array", few=1, item=STRING),
    "topK": Field("integer", 1, 100),
}


@dataclass(frozen=True, slots=True)
class TaskRules:
    """What this Runware accepts beyond the document's page."""

    thinking_levels: tuple[str, str]
    tools: bool
    structured: bool
    max_tokens: int = 65_536  # DOC for the 27B; what the task's model gives at most


def check_task(task: Mapping[str, Any], rules: TaskRules) -> Complaint | None:
    """Return the first thing wrong with a textInference task; the model's name is not looked up."""
    fields = _FIELDS | (_TOOL_FIELDS if rules.tools else {}) | (_JSON_FIELDS if rules.structured else {})
    settings = _SETTINGS | {
        "maxTokens": Field("integer", 1, rules.max_tokens),
        "thinkingLevel": Field("string", choices=rules.thinking_levels),
    }
    return (
        check_fields(task, fields, required=("taskUUID", "model", "messages"))
        or check_uuid(task["taskUUID"])
        or _inside("settings", task.get("settings", {}), settings)
        or _inside("inputs", task.get("inputs", {}), _INPUTS)
        or _check_sources(task.get("inputs", {}))
        or _check_messages(task["messages"], rules)
        or _check_tools(task)
        or _check_delivery(task)
    )


def check_uuid(value: Any) -> Complaint | None:
    """A taskUUID must be a UUID v4."""
    if isinstance(value, str) and _UUID4.fullmatch(value):
        return None
    return Complaint("taskUUID", "value", "'taskUUID' must be a valid UUID v4", "UUIDv4", value)


def _inside(outer: str, held: Mapping[str, Any], fields: Mapping[str, Field]) -> Complaint | None:
    complaint = check_fields(held, fields)
    return complaint.inside(outer) if complaint is not None else None


def _check_sources(inputs: Mapping[str, Any]) -> Complaint | None:
    for kind, sources in inputs.items():
        for number, source in enumerate(sources):
            if not _SOURCE.fullmatch(source):
                return Complaint(f"inputs.{kind}[{number}]", "value", "Expected a UUID, URL, data URI or base64")
    return None


def _check_messages(messages: list[Any], rules: TaskRules) -> Complaint | None:
    """FOUND[R8]: roles user and assistant, plain strings, "the final message must use the user role"."""
    for number, message in enumerate(messages):
        complaint = _check_message(message, rules)
        if complaint is not None:
            return complaint.inside(f"messages[{number}]")
    last = messages[-1]["role"]
    if last == "user" or (rules.tools and last == "tool"):
        return None
    name = f"messages[{len(messages) - 1}].role"
    return Complaint(name, "value", "The final message must use the user role", "user", last)


def _check_message(message: Any, rules: TaskRules) -> Complaint | None:
    if not isinstance(message, dict):
        return Complaint("", "type", f"Expected object, received {kind_of(message)}")
    roles = ("user", "assistant", "tool") if rules.tools else ("user", "assistant")
    fields = {"role": Field("string", choices=roles), "content": STRING}
    calls = rules.tools and message.get("role") == "assistant" and bool(message.get("tools"))
    if rules.tools and message.get("role") == "assistant":
        fields["tools"] = Field("array", item=OBJECT)
    if rules.tools and message.get("role") == "tool":
        fields["id"] = STRING
    return check_fields(message, fields, required=("role",) if calls else ("role", "content"))


def _check_tools(task: Mapping[str, Any]) -> Complaint | None:
    """FOUND[R9, R10]: name and schema flat in the tool; a choice of auto, any, tool (with a name) or none."""
    fields = {"type": Field("string", choices=("function",)), "name": STRING, "description": STRING, "schema": OBJECT}
    names = []
    for number, tool in enumerate(task.get("tools", [])):
        if not isinstance(tool, dict):
            return Complaint(f"tools[{number}]", "type", f"Expected object, received {kind_of(tool)}")
        if complaint := check_fields(tool, fields, required=("type", "name", "schema")):
            return complaint.inside(f"tools[{number}]")
        names.append(tool["name"])
    choice = task.get("toolChoice")
    if choice is None:
        return None
    types = Field("string", choices=("auto", "any", "tool", "none"))
    complaint = check_fields(choice, {"type": types, "name": STRING}, required=("type",))
    if complaint is None and choice["type"] == "tool" and choice.get("name") not in names:
        complaint = Complaint("name", "value", "Expected the name of one of the tools", names, choice.get("name"))
    return complaint.inside("toolChoice") if complaint is not None else None


def _check_delivery(task: Mapping[str, Any]) -> Complaint | None:
    if "webhookURL" in task and not _URI.fullmatch(task["webhookURL"]):
        return Complaint("webhookURL", "value", "Expected a URI", "URI", task["webhookURL"])
    if task.get("deliveryMethod") == "stream" and task.get("numberResults", 1) != 1:  # FOUND[R7]
        return Complaint("numberResults", "high", "numberResults must be 1 with deliveryMethod stream", 1)
    return None


def error_of(complaint: Complaint, task: Mapping[str, Any]) -> Json:
    """A complaint as an entry of ``errors``: keys FOUND[R3, R10], codes beyond ``unknownParameter`` INFERRED."""
    leaf = re.sub(r"\[\d+\]", "", complaint.param).rpartition(".")[2] or complaint.param
    name = leaf[:1].upper() + leaf[1:]
    code = {"unknown": "unknownParameter", "missing": f"missing{name}"}.get(complaint.reason, f"invalid{name}")
    error: Json = {
        "code": code,
        "message": f"Invalid value for '{complaint.param}' parameter. {complaint.message}.",
        "parameter": complaint.param,
        "type": _type_of(complaint),
        "taskType": task.get("taskType"),
    }
    if complaint.reason == "enum":
        error["allowedValues"] = complaint.expected
    if isinstance(task.get("taskUUID"), str):
        error["taskUUID"] = task["taskUUID"]
    return error


def _type_of(complaint: Complaint) -> str:
    if complaint.reason == "type" and isinstance(complaint.expected, list):
        return str(complaint.expected[0])
    return "float" if complaint.reason in ("low", "high") else "string"
