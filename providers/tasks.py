"""Task arrays (Runware's native API): sync, stream, and async with polling.

Knows the array of task objects, its own shapes for tools, its results and its errors (which also come inside HTTP 200),
and that a task's UUID is its idempotency key: a conflict about it means *this task is known, fetch its answer*. Refuses
to know which provider speaks it: every parameter's word stands in the provider's row. Does no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic_core import from_json, to_json

from providers.assemble import Reading, count, dig, reported_cost, text_of, usage_of
from providers.chat_completions import http_request, parse
from providers.errors import EmptyReply, MalformedReply, ProviderError, Untranslatable
from providers.failures import read_failure, refused
from providers.translate import Shape, put, system_text, translate
from providers.types import Change, Chunk, Cost, Image, Message, Request, Usage
from providers.wire import Call, HttpRequest, Poll, with_extra

if TYPE_CHECKING:
    from providers.dialect import Dialect, Endpoint

path = ""
TASK = "textInference"
CONFLICT = "conflicttaskuuid"

row: Mapping[str, Any] = {
    "always": {"deliveryMethod": "sync", "includeCost": True, "includeUsage": True},
    "when_streaming": {"deliveryMethod": "stream"},
}


def encode(request: Request, endpoint: Endpoint, *, streaming: bool = False, key: str = "") -> Call:
    """*request* as one task. *key* names the logical request: the same key is the same task, however often it is sent.

    Raises:
        Untranslatable: the conversation holds tool calls and the row has no word for tools.
    """
    dialect = endpoint.dialect
    said = translate(request, dialect, streaming=streaming, shapes=_SHAPES)
    changes = list(said.changes)
    task: dict[str, Any] = {"taskType": TASK, "taskUUID": task_uuid(key, endpoint.name), "model": endpoint.wire_model}
    task["messages"] = [_message(message, dialect) for message in request.messages if message.role != "system"]
    task |= said.fields
    if dialect.system.to is not None and (text := system_text(request.messages)):
        put(task, tuple(dialect.system.to.split(".")), text)
    _media(request.messages, dialect, task, changes)
    with_extra(task, dialect.always)
    delivery = request.delivery or dialect.delivery
    if delivery is not None:
        task["deliveryMethod"] = delivery
    if dialect.webhook is not None and delivery == "async":
        task["webhookURL"] = dialect.webhook
    if streaming and delivery != "async":
        with_extra(task, dialect.when_streaming)
    task = {name: value for name, value in task.items() if value is not None}
    with_extra(task, request.extra)
    http = http_request(endpoint, [task], streaming=streaming)
    facts = {
        "task": str(task["taskUUID"]),
        "results": int(task.get("numberResults") or 1),
    }
    return Call(endpoint, http, tuple(changes), said.thinking, streaming, facts, polled=delivery == "async")


def task_uuid(key: str, endpoint: str) -> str:
    """A version-4 UUID that the same logical request always has at the same endpoint."""
    digest = sha256(f"{key}\n{endpoint}".encode()).digest()
    return str(UUID(bytes=digest[:16], version=4))


# -- shapes that differ from OpenAI's (wire-protocols.md, 3.5) --------------------------------------------------------


def _message(message: Message, dialect: Dialect) -> dict[str, Any]:
    if (message.tool_calls or message.role == "tool") and dialect.words["tools"] is None:
        text = "the conversation holds tool calls, and there is no word for tools here"
        raise Untranslatable(text)
    if message.role == "tool":
        return {"role": "tool", "id": message.tool_call_id, "content": message.text}
    said: dict[str, Any] = {"role": message.role}
    if message.text or not message.tool_calls:
        said["content"] = message.text
    if message.tool_calls:
        said["tools"] = [
            {"id": call.id, "name": call.name, "input": _arguments(call.arguments)} for call in message.tool_calls
        ]
    return said


def _arguments(text: str) -> Any:
    try:
        return from_json(text or "{}")
    except ValueError:
        return {}


def _tools(tools: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [_tool(tool["function"]) for tool in tools]


def _tool(function: Mapping[str, Any]) -> dict[str, Any]:
    said = {"type": "function", "name": function["name"], "schema": function.get("parameters") or {"type": "object"}}
    if function.get("description"):
        said["description"] = function["description"]
    return said


def _tool_choice(choice: Any) -> dict[str, Any]:
    if isinstance(choice, Mapping):
        return {"type": "tool", "name": choice["function"]["name"]}
    return {"type": {"required": "any"}.get(choice, choice)}


def _response_format(wanted: Mapping[str, Any]) -> Any:
    return wanted["json_schema"] if wanted["type"] == "json_schema" else wanted


_SHAPES: Mapping[str, Shape] = {"tools": _tools, "tool_choice": _tool_choice, "response_format": _response_format}


def _media(messages: tuple[Message, ...], dialect: Dialect, task: dict[str, Any], changes: list[Change]) -> None:
    """Pictures and videos stand beside the conversation here, tied to no message."""
    found: dict[str, list[str]] = {"images": [], "videos": []}
    earlier = False
    for message in messages:
        for part in message.media:
            name, url = ("images", part.image_url.url) if isinstance(part, Image) else ("videos", part.video_url.url)
            if dialect.words[name] is not None:
                found[name].append(url)
                earlier |= message is not messages[-1]
    for name, urls in found.items():
        if urls and (word := dialect.words[name]) is not None:
            put(task, word.path, urls)
    _unsaid(messages, changes)
    if earlier:
        why = "pictures stand beside the conversation here, tied to no message"
        asked = "a picture in an earlier message"
        changes.append(Change("messages", asked, "beside the conversation", "emulated", why))


def _unsaid(messages: tuple[Message, ...], changes: list[Change]) -> None:
    """What a task has no place for, though it alters little: how closely to look, and a speaker's name."""
    pictures = [part for message in messages for part in message.media if isinstance(part, Image)]
    if any(picture.image_url.detail not in (None, "auto") for picture in pictures):
        changes.append(Change("messages", "a picture's detail", None, "nearest", "there is one detail for all here"))
    if any(message.name for message in messages):
        changes.append(Change("messages", "a speaker's name", None, "nearest", "speakers have no names here"))


# -- answers ----------------------------------------------------------------------------------------------------------


class reader(Reading):  # noqa: N801  # the interface's name: `protocol.reader(call)` makes one
    """Reads the answer to one task. See `providers.wire.Reader`."""

    __slots__ = ("_after", "_polling", "_raw", "_results", "_task")

    def __init__(self, call: Call) -> None:
        self._task: str = call.facts["task"]
        super().__init__(call, call_id=self._task, model=call.endpoint.wire_model)
        self._results: list[dict[str, Any]] = []
        self._raw = ""  # what arrived last, for the failure that it may hold
        self._polling = call.polled
        self._after = call.endpoint.dialect.polling.first

    def event(self, data: str) -> list[Chunk] | Poll:
        if data == "[DONE]":
            self.closed = True
            return []
        payload = parse(data)
        self._raw = data
        if self._check(payload):
            return self._poll()
        wrapped = payload.get("data")
        items = wrapped if isinstance(wrapped, list) else [wrapped if isinstance(wrapped, dict) else payload]
        ours = [item for item in items if isinstance(item, dict) and self._is_ours(item)]
        return [chunk for item in ours for chunk in self._piece(item)]

    def whole(self, body: bytes, headers: Mapping[str, str]) -> list[Chunk] | Poll:
        payload = parse(body)
        self._raw = body.decode("utf-8", "replace")
        if self._check(payload, headers):
            return self._poll()
        found, asked = self._complete(payload), self._call.facts["results"]
        if len(found) >= len(self._results):
            self._results = found  # a poll repeats what an earlier one brought
        if len(self._results) < asked and self._polling:
            return self._poll()
        if not self._results:
            message = "a success without a result for the task"
            raise EmptyReply(message, status=200, request_id=self._task)
        if len(self._results) < asked:
            why = "the provider gave fewer results than it was asked for"
            self._assembler.changes.append(Change("n", asked, len(self._results), "dropped", why))
        return self._ended(self._chunks())

    def _complete(self, payload: dict[str, Any]) -> list[dict[str, Any]]:
        """The results of our task that are complete; what arrived twice counts once, where there are too many."""
        data = payload.get("data")
        items = [item for item in data if isinstance(item, dict)] if isinstance(data, list) else []
        done = [
            item
            for item in items
            if item.get("taskType", TASK) == TASK and self._is_ours(item) and self._is_complete(item)
        ]
        if len(done) <= self._call.facts["results"]:
            return done
        return list({to_json(item): item for item in done}.values())

    def delivered(self, payload: Mapping[str, Any]) -> list[Chunk] | Poll:
        """A webhook brings one flat result at a time; two that are the same are one that came twice."""
        known = {"data": [*self._results, dict(payload)]}
        return self.whole(to_json(known if not _is_failure(payload) else dict(payload)), {})

    def refused(self, status: int, body: bytes, headers: Mapping[str, str]) -> Poll:
        failure = refused(status, body, headers, self._call.endpoint.dialect.errors)
        if (failure.code or "").lower() == CONFLICT:
            return self._poll()  # the task is known: an earlier try arrived, and its answer waits
        raise failure

    def _poll(self) -> Poll:
        self._polling = True
        after, pace = self._after, self._call.endpoint.dialect.polling
        self._after = min(after * pace.factor, pace.longest)
        asked = [{"taskType": "getResponse", "taskUUID": self._task}]
        sent = self._call.http
        return Poll(HttpRequest(sent.url, asked, sent.headers, hidden=sent.hidden), after, self._task)

    def _is_ours(self, item: Mapping[str, Any]) -> bool:
        return item.get("taskUUID") in (self._task, "", None)  # one adapter answers with an empty one

    def _check(self, payload: dict[str, Any], headers: Mapping[str, str] | None = None) -> bool:
        """Raise the failure in *payload*, if one is ours: failures of other tasks in the same reply are not.

        True for a conflict about the task's UUID: it is known, and its answer is to be fetched.
        """
        errors = payload.get("errors")
        if isinstance(errors, list):
            ours = [error for error in errors if isinstance(error, dict) and self._is_ours(error)]
            failure = self._failure({"errors": ours}, headers) if ours else None
        else:
            failure = self._failure(payload, headers) if errors or payload.get("error") else None
        if failure is None:
            return False
        if (failure.code or "").lower() == CONFLICT:
            return True
        raise failure

    def _failure(self, payload: dict[str, Any], headers: Mapping[str, str] | None = None) -> ProviderError:
        rules = self._call.endpoint.dialect.errors
        return read_failure(payload, rules=rules, status=200, headers=headers, body=self._raw)

    def _piece(self, item: dict[str, Any]) -> list[Chunk]:
        delta = item.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        finish = item.get("finishReason")
        chunk = self._assembler.delta(
            content=text_of(delta.get("text")) or None,
            reasoning=text_of(delta.get("reasoningContent")) or None,
            tool_calls=_calls(delta.get("tools")),
            finish=_word(finish),
        )
        return [chunk for chunk in (chunk, self._accounts(item)) if chunk is not None]

    def _is_complete(self, item: dict[str, Any]) -> bool:
        if item.get("status") == "error":
            raise self._failure({"errors": [item.get("error") or item]})
        return item.get("status") in (None, "success") and any(key in item for key in ("text", "finishReason", "tools"))

    def _chunks(self) -> list[Chunk]:
        chunks, usages, cost = [], [], 0.0
        costs_known = bool(self._results)
        for index, item in enumerate(self._results):
            chunk = self._assembler.delta(
                index,
                content=text_of(item.get("text")) or None,
                reasoning=text_of(item.get("reasoningContent")) or None,
                tool_calls=_calls(item.get("tools")),
                finish=_word(item.get("finishReason")) or "unknown",
            )
            accounts = self._accounts(item)
            chunks += [chunk] if chunk is not None else []
            usages += [accounts.usage] if accounts is not None and accounts.usage is not None else []
            found = accounts.cost if accounts is not None else None
            costs_known = costs_known and found is not None
            cost += (found.usd or 0.0) if found is not None else 0.0
        total = Cost(cost, "reported") if costs_known else None
        if usages or total:
            chunks.append(Chunk(usage=_sum(usages), cost=total))
        return chunks

    def _accounts(self, item: dict[str, Any]) -> Chunk | None:
        usage = item.get("usage")
        found = _usage(usage) if isinstance(usage, dict) else None
        cost = reported_cost(item.get("cost"), self._call)
        self._costs += cost is not None
        return Chunk(usage=found, cost=cost) if found is not None or cost is not None else None


def _is_failure(payload: Mapping[str, Any]) -> bool:
    return bool(payload.get("errors") or payload.get("error"))


def _calls(tools: Any) -> list[dict[str, Any]] | None:
    """Tool calls of a result, in OpenAI's shape. The shape is INFERRED from that of requests."""
    if not isinstance(tools, list):
        return None
    calls = []
    for place, tool in enumerate(tools):
        if isinstance(tool, dict) and "name" in tool:
            function = {"name": tool["name"], "arguments": tool.get("input", tool.get("arguments", {}))}
            calls.append({"index": place, "id": tool.get("id"), "function": function})
    return calls


def _word(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        message = "finishReason is not a word"
        raise MalformedReply(message, status=200)
    return value


def _usage(usage: dict[str, Any]) -> Usage | None:
    reasoning = usage.get("thinkingTokens")
    if reasoning is None:
        reasoning = dig(usage, "completionTokensDetails.reasoningTokens")
    cached = dig(usage, "costBreakdown.tokens.cache")
    cached = cached.get("billableTokens") if isinstance(cached, dict) else cached
    return usage_of(
        usage.get("promptTokens"), usage.get("completionTokens"), usage.get("totalTokens"), reasoning, count(cached)
    )


def _sum(usages: list[Usage]) -> Usage | None:
    if len(usages) < 2:
        return usages[0] if usages else None
    return Usage(
        _total(usage.prompt_tokens for usage in usages),
        _total(usage.completion_tokens for usage in usages),
        _total(usage.total_tokens for usage in usages),
        _total(usage.reasoning_tokens for usage in usages),
        _total(usage.cached_tokens for usage in usages),
    )


def _total(counts: Iterable[int | None]) -> int | None:
    known = [value for value in counts if value is not None]
    return sum(known) if known else None
