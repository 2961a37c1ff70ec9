"""OpenAI Chat Completions: Mixlayer, EmpirioLabs, AIML, and every clone.

Knows how a canonical request is said in this format and how its answers are read, streamed or whole, from any server
that calls itself compatible (wire-protocols.md, 7, lists how they differ). Refuses to know any of them by name: what
is peculiar to one stands in its row. Does no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from providers.assemble import Reading, dig, reported_cost, text_of, usage_of
from providers.errors import MalformedReply, Untranslatable
from providers.failures import read_failure, refused
from providers.quick import quick
from providers.secret import MASK
from providers.translate import nearest_detail, put, system_text, translate
from providers.types import PARAMS, Change, Chunk, Image, Message, Request, Text, Usage
from providers.wire import Call, HttpRequest, Poll, with_extra

if TYPE_CHECKING:
    from providers.dialect import Dialect, Endpoint

_call = quick(Call)
path = "/chat/completions"
MOST_CHOICES = 1024  # an index beyond is rubbish

# OpenAI's own words. What its API does not know (top_k, min_p, repetition_penalty, budgets) is said by no clone unless
# that clone's row says so.
row: Mapping[str, Any] = {
    "params": {
        **{name: {} for name in PARAMS},
        "top_k": None,
        "min_p": None,
        "repetition_penalty": None,
        "reasoning_effort": {"to": "reasoning_effort"},
        "reasoning_budget": None,
        "images": {"only": ("auto", "low", "high")},
        "videos": {},
    },
    "when_streaming": {"stream": True, "stream_options": {"include_usage": True}},
}


def encode(request: Request, endpoint: Endpoint, *, streaming: bool = False, key: str = "") -> Call:
    """*request* as a Chat Completions call. *key* is not used: this format has no idempotency."""
    del key
    dialect = endpoint.dialect
    said = translate(request, dialect, streaming=streaming)
    try:
        turns = messages(request, dialect)
    except Untranslatable as error:
        raise Untranslatable(str(error), said.changes) from None
    body: dict[str, Any] = {"model": endpoint.wire_model, "messages": turns, **said.fields}
    if dialect.system.to is not None and (text := system_text(request.messages)):
        put(body, tuple(dialect.system.to.split(".")), text)
    if dialect.always:
        with_extra(body, dialect.always)
    if streaming:
        with_extra(body, dialect.when_streaming)
    if None in body.values():
        body = {name: value for name, value in body.items() if value is not None}
    if request.extra:
        with_extra(body, request.extra)
    http = http_request(endpoint, body, streaming=streaming)
    changes = said.changes
    if request.delivery == "async":
        changes = (*changes, Change("delivery", "async", None, "dropped", "answers are only given at once here"))
    facts = {"choices": body["n"]} if isinstance(body.get("n"), int) else {}
    return _call(endpoint, http, changes, said.thinking, streaming, facts)


def http_request(endpoint: Endpoint, body: Any, *, streaming: bool) -> HttpRequest:
    """The POST that carries *body* to *endpoint*, its keys masked."""
    auth = endpoint.auth
    headers = {
        auth.header: f"{auth.scheme} {MASK}".strip(),
        "Content-Type": "application/json",
        "Accept": "text/event-stream" if streaming else "application/json",
        **endpoint.headers,
        **dict.fromkeys(endpoint.hidden_headers, MASK),
    }
    return HttpRequest(endpoint.url, body, headers, hidden=frozenset((auth.header, *endpoint.hidden_headers)))


def messages(request: Request, dialect: Dialect) -> list[dict[str, Any]]:
    """The conversation in OpenAI's shape; the system message goes elsewhere where the dialect says so."""
    system = dialect.system
    if system.to is None and not (system.join and _systems(request.messages) > 0):
        return [_message(message, dialect) for message in request.messages]
    turns = [_message(message, dialect) for message in request.messages if message.role != "system"]
    return turns if system.to is not None else [{"role": "system", "content": system_text(request.messages)}, *turns]


def _systems(messages: tuple[Message, ...]) -> int:
    """How many system messages there are beside a single first one."""
    return sum(1 for place, message in enumerate(messages) if message.role == "system" and place > 0)


def _message(message: Message, dialect: Dialect) -> dict[str, Any]:
    content = message.content
    said: dict[str, Any] = {"role": message.role}
    if content is None or isinstance(content, str):
        said["content"] = content
    else:
        said["content"] = _parts(message, dialect)
    if message.tool_calls:
        said["tool_calls"] = [call.model_dump() for call in message.tool_calls]
    if message.tool_call_id is not None:
        said["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        said["name"] = message.name
    if message.reasoning_content and dialect.history.reasoning == "replay":
        said["reasoning_content"] = message.reasoning_content
    return said


def _parts(message: Message, dialect: Dialect) -> list[dict[str, Any]]:
    parts = []
    for part in message.content or ():
        if isinstance(part, str):
            continue
        if isinstance(part, Text):
            parts.append(part.model_dump())
        elif (word := dialect.words["images" if isinstance(part, Image) else "videos"]) is not None:
            said = part.model_dump(exclude_none=True)
            if isinstance(part, Image) and part.image_url.detail is not None:
                said["image_url"]["detail"] = nearest_detail(part.image_url.detail, word)
            parts.append(said)
    if not parts:
        text = "a message would be left empty here"
        raise Untranslatable(text)
    return parts


class reader(Reading):  # noqa: N801  # the interface's name: `protocol.reader(call)` makes one
    """Reads one answer. See `providers.wire.Reader`."""

    __slots__ = ("_cost_paths", "_cost_roots")

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self._cost_paths = call.endpoint.dialect.reading.cost
        self._cost_roots = {path_.split(".", 1)[0] for path_ in self._cost_paths}

    def event(self, data: str) -> list[Chunk]:
        if data == "[DONE]":
            self.closed = True
            return []
        return self._payload(parse(data), "delta", data)

    def whole(self, body: bytes, headers: Mapping[str, str]) -> list[Chunk] | Poll:
        payload = parse(body)
        chunks = self._payload(payload, "message", body, headers)
        for name in self._call.endpoint.dialect.reading.cost_headers:
            cost = reported_cost(headers.get(name), self._call)
            if cost is not None and not any(chunk.cost for chunk in chunks):
                chunks.append(Chunk(cost=cost))
        return self._ended(chunks)

    def delivered(self, payload: Mapping[str, Any]) -> list[Chunk] | Poll:
        """Nothing is delivered by webhook in this format; a whole answer is read all the same."""
        return self.whole(to_json(dict(payload)), {})

    def refused(self, status: int, body: bytes, headers: Mapping[str, str]) -> Poll:
        raise refused(status, body, headers, self._call.endpoint.dialect.errors)

    # -- one JSON object, whole or a piece

    def _payload(
        self, payload: dict[str, Any], field: str, raw: str | bytes, headers: Mapping[str, str] | None = None
    ) -> list[Chunk]:
        if payload.get("error") or payload.get("errors"):
            text = raw if isinstance(raw, str) else raw.decode("utf-8", "replace")
            rules = self._call.endpoint.dialect.errors
            raise read_failure(payload, rules=rules, status=200, headers=headers, body=text)
        choices = payload.get("choices") or ()
        if choices.__class__ is not list and choices:
            message = "choices is not a list"
            raise MalformedReply(message, status=200)
        pieces = [self._choice(choice, field) for choice in choices if isinstance(choice, dict)]
        chunks = [piece for piece in pieces if piece is not None]
        if not self.id and (found := payload.get("id")):
            self.id, self.model = str(found), str(payload.get("model") or "")
        usage = payload.get("usage")
        if usage or not self._cost_roots.isdisjoint(payload):
            self._accounts(payload, usage, chunks)
        return chunks

    def _choice(self, choice: dict[str, Any], field: str) -> Chunk | None:
        piece = choice.get(field) or choice.get("message" if field == "delta" else "delta") or {}
        index, finish = choice.get("index", 0), choice.get("finish_reason")
        if index is None:
            index = 0
        sound = index.__class__ is int and 0 <= index < MOST_CHOICES and (finish is None or finish.__class__ is str)
        if not sound or not isinstance(piece, dict):
            message = f"choices[] holds no {field} that can be read"
            raise MalformedReply(message, status=200)
        content, reasoning = piece.get("content"), piece.get("reasoning_content")
        if (
            len(piece) == 1 and finish is None and (content or reasoning).__class__ is str
        ):  # most events of most streams
            return self._assembler.delta(index, content=content, reasoning=reasoning, logprobs=choice.get("logprobs"))
        if content.__class__ is not str and content is not None:
            content = text_of(content)
        if not content and (refusal := piece.get("refusal")):
            content = text_of(refusal)
        if reasoning.__class__ is not str or not reasoning:
            reasoning = _other_reasoning(piece)
        calls = piece.get("tool_calls")
        return self._assembler.delta(
            index,
            content=content,
            reasoning=reasoning,
            tool_calls=calls if isinstance(calls, list) else None,
            finish=finish,
            logprobs=choice.get("logprobs"),
        )

    def _accounts(self, payload: dict[str, Any], usage: Any, chunks: list[Chunk]) -> None:
        found = _usage(usage) if isinstance(usage, dict) else None
        cost = None
        for path_ in self._cost_paths:
            cost = cost or reported_cost(dig(payload, path_), self._call)
        self._costs += cost is not None
        if found is not None or cost is not None:
            chunks.append(Chunk(usage=found, cost=cost))


def parse(data: str | bytes) -> dict[str, Any]:
    """The JSON object that *data* is.

    Raises:
        MalformedReply: it is not JSON (NaN and infinities are not), or not an object.
    """
    try:
        payload = from_json(data, allow_inf_nan=False)
    except (ValueError, RecursionError) as error:
        message = f"not JSON: {str(error)[:100]}"
        raise MalformedReply(message, status=200, body=_excerpt(data)) from None
    if not isinstance(payload, dict):
        message = f"a JSON object was expected, not {type(payload).__name__}"
        raise MalformedReply(message, status=200, body=_excerpt(data))
    return payload


def _excerpt(data: str | bytes) -> str:
    return data[:2000] if isinstance(data, str) else data[:2000].decode("utf-8", "replace")


def _other_reasoning(piece: dict[str, Any]) -> str | None:
    """Reasoning under its other names, or not as a string; a server that sends it under two names is read once."""
    if reasoning := piece.get("reasoning_content"):
        return text_of(reasoning)
    if (reasoning := piece.get("reasoning")) or (reasoning := piece.get("reasoningContent") or piece.get("thinking")):
        return text_of(reasoning)
    details = piece.get("reasoning_details")
    return text_of(details) if details else None


def _usage(usage: dict[str, Any]) -> Usage | None:
    return usage_of(
        usage.get("prompt_tokens"),
        usage.get("completion_tokens"),
        usage.get("total_tokens"),
        _detail(usage.get("completion_tokens_details"), "reasoning_tokens"),
        _detail(usage.get("prompt_tokens_details"), "cached_tokens"),
    )


def _detail(details: Any, name: str) -> Any:
    return details.get(name) if isinstance(details, dict) else None
