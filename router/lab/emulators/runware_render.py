"""Runware's results, events and errors as JSON. Pure; knows nothing of requests beyond one valid task."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from router.lab.answers import Asked, Generation, count_tokens, split
from router.lab.emulators.chat_shapes import MEDIA_TOKENS
from router.lab.emulators.playback import DONE, Frame, Json
from router.lab.emulators.words import Model, Problem

MODEL = Model(0.165, 1.326, 0.024, context=262_144, max_output=65_536)  # price FOUND[R14], context and output DOC
_PING = Frame(b"ping", "comment")


@dataclass(frozen=True, slots=True)
class Shape:
    """How results look; every field is a switch of the emulator, where its source is named."""

    reasoning_as: Literal["list", "string"] = "list"
    reasoning_usage: Literal["thinkingTokens", "details"] = "thinkingTokens"
    thinking_in_completion: bool = True
    cost_breakdown: bool = False
    late_cost: bool = True
    ping_every: int = 5
    tool_finish: str = "stop"


@dataclass(frozen=True, slots=True)
class Result:
    """One generated result with what it costs."""

    made: Generation
    seed: int
    usd: float


def read(task: Json, *, thinks: bool) -> Asked:
    """Take from a valid task what matters for its answer."""
    settings, choice = task.get("settings", {}), task.get("toolChoice", {})
    tools = {tool["name"]: tool["schema"] for tool in task.get("tools", [])}
    wanted = task.get("jsonSchema")
    # FOUND[R17, R18]: the bare schema, or {name, strict, schema}.
    schema = wanted.get("schema", wanted) if wanted is not None else {} if task.get("outputFormat") == "JSON" else None
    forced = choice.get("name") if choice.get("type") == "tool" else next(iter(tools), None)
    return Asked(
        prompt_tokens=_prompt_tokens(task),
        last_text=str(task["messages"][-1].get("content", "")),
        thinking=thinks,
        max_tokens=settings.get("maxTokens"),
        stop=tuple(settings.get("stopSequences", ())),
        tools=tools,
        forced_tool=forced if choice.get("type") in ("any", "tool") else None,
        json_schema=schema,
    )


def _prompt_tokens(task: Json) -> int:
    texts = [task.get("settings", {}).get("systemPrompt", "")]
    for message in task["messages"]:
        texts += [message.get("content", ""), json.dumps(message["tools"]) if message.get("tools") else ""]
    texts.append(json.dumps(task["tools"]) if task.get("tools") else "")
    return sum(map(count_tokens, texts)) + MEDIA_TOKENS * sum(map(len, task.get("inputs", {}).values()))


def seed_of(task: Json, number: int) -> int:
    """DOC: each result has another seed; one that nobody chose is derived from the task, so that runs repeat."""
    first = task.get("seed", zlib.crc32(task["taskUUID"].encode()))
    return int((first + number) % 2**32)


def result_item(task: Json, result: Result, shape: Shape, *, usage: bool = True) -> Json:
    """One item of ``data``."""
    made = result.made
    item: Json = {"taskType": "textInference", "taskUUID": task["taskUUID"], "text": made.content}
    item |= {"finishReason": _finish(made, shape), "seed": result.seed}
    if made.reasoning:
        item["reasoningContent"] = [made.reasoning] if shape.reasoning_as == "list" else made.reasoning
    if made.tool_calls:
        item["tools"] = [_call(call.id, call.name, call.arguments) for call in made.tool_calls]
    if usage and task.get("includeUsage"):
        item["usage"] = usage_of(made, shape)
    return item | ({"cost": result.usd} if task.get("includeCost") else {})


def _finish(made: Generation, shape: Shape) -> str | None:
    return shape.tool_finish if made.finish_reason == "tool_calls" else made.finish_reason


def _call(identity: str, name: str, arguments: str) -> Json:
    """INFERRED from the request's shape: ``input`` is an object there, so broken JSON stays a string."""
    try:
        return {"id": identity, "name": name, "input": json.loads(arguments)}
    except ValueError:
        return {"id": identity, "name": name, "input": arguments}


def usage_of(made: Generation, shape: Shape) -> Json:
    """FOUND[R8, R9]: thinking tokens in one of two places."""
    hidden = 0 if shape.thinking_in_completion else made.reasoning_tokens
    completion = made.completion_tokens - hidden
    total = made.prompt_tokens + made.completion_tokens
    usage: Json = {"promptTokens": made.prompt_tokens, "completionTokens": completion, "totalTokens": total}
    if made.reasoning_tokens:
        details = shape.reasoning_usage == "details"
        usage |= {"completionTokensDetails": {"reasoningTokens": made.reasoning_tokens}} if details else {}
        usage |= {} if details else {"thinkingTokens": made.reasoning_tokens}
    if shape.cost_breakdown or made.cached_tokens:
        usage["costBreakdown"] = _breakdown(made)
    return usage


def _breakdown(made: Generation) -> Json:
    cached = made.cached_tokens or 0
    fresh = made.prompt_tokens - cached
    parts = {
        "prompt": _part(fresh, MODEL.usd(fresh, 0, 0)),
        "cache": _part(cached, MODEL.usd(cached, cached, 0)),
        "completion": _part(made.completion_tokens, MODEL.usd(0, 0, made.completion_tokens))
        | {"textTokens": made.completion_tokens - made.reasoning_tokens, "reasoningTokens": made.reasoning_tokens},
    }
    total = MODEL.usd(made.prompt_tokens, cached, made.completion_tokens)
    return {"tokens": parts, "total": total, "totalDisplay": f"${total:.7f}"}


def _part(tokens: int, usd: float) -> Json:
    return {"billableTokens": tokens, "cost": usd, "costDisplay": f"${usd:.7f}"}


def events(task: Json, result: Result, shape: Shape, *, usage: bool, done: bool) -> tuple[Frame, ...]:
    """The stream of one task: FOUND[R1, R7, R8]; reasoning is a string here, cost may come after the finish reason."""
    made, head = result.made, {"taskUUID": task["taskUUID"], "taskType": "textInference"}
    deltas: list[Json] = [{"reasoningContent": piece} for piece in split(made.reasoning)]
    deltas += [{"text": piece} for piece in made.pieces]
    frames = [_frame({**head, "delta": delta, "finishReason": None}, "token") for delta in deltas]
    calls = [_call(call.id, call.name, call.arguments) for call in made.tool_calls]
    if calls:
        frames.append(_frame({**head, "delta": {"tools": calls}, "finishReason": None}, "token"))
    bill: Json = {"usage": usage_of(made, shape)} if usage and task.get("includeUsage") else {}
    cost: Json = {"cost": result.usd} if task.get("includeCost") else {}
    finish = {**head, "delta": {}, "finishReason": _finish(made, shape)} | bill
    frames.append(_frame(finish | ({} if shape.late_cost else cost)))
    if cost and shape.late_cost:
        frames.append(_frame(head | cost))
    return (*_with_pings(frames, shape.ping_every), *((DONE,) if done else ()))


def _frame(body: Json, kind: Literal["event", "token"] = "event") -> Frame:
    return Frame(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(), kind)


def _with_pings(frames: Sequence[Frame], every: int) -> list[Frame]:
    mixed: list[Frame] = []
    for number, frame in enumerate(frames):
        mixed += [_PING, frame] if every and number % every == 0 else [frame]
    return mixed


def error_entry(problem: Problem, task: Any) -> Json:
    """A problem as an entry of ``errors``."""
    entry: Json = {"code": problem.code, "message": problem.message}
    if problem.param is not None:
        entry |= {"parameter": problem.param, "type": "string"}
    if isinstance(task, dict):
        entry |= {name: task[name] for name in ("taskType", "taskUUID") if name in task}
    if problem.type == "authentication":
        entry["taskType"] = "authentication"
    if problem.status == 504:  # FOUND[R24]: observed with a status word
        entry["status"] = "error"
    return entry
