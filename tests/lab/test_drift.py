"""Drift: what recorded traffic shows that a configuration does not know, each kind by its code, its line and its fix."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from router.lab import Answer, Fault, ToolCall
from router.lab.drift import drift
from router.lab.recording import Answered, Piece, Recorded, Recording
from router.lab.virtual import run_virtually
from router.load import load
from tests.lab.test_replaying import REQUESTS, TOOL, recording_router, told

CATALOG = load(None, environ={})
ASKED = {"model": "qwen/qwen3.5-27b", "messages": [{"role": "user", "content": "2?"}]}
ANSWER: dict[str, Any] = {
    "id": "1", "object": "chat.completion", "created": 1, "model": "qwen/qwen3.5-27b",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "4"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3},
}  # fmt: skip
JSON = {"Content-Type": "application/json"}


def one(
    answer: Any = ANSWER, *, status: int = 200, headers: Any = JSON, provider: str = "mixlayer", **more: Any
) -> Recorded:
    raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    said = Answered(status, headers, 0.0, (Piece(0.0, raw),))
    return Recorded(
        provider, "POST", "/chat/completions", more.pop("body", ASKED), **{"response": said, "line": 2, **more}
    )


def found(*exchanges: Recorded, config=CATALOG) -> list[tuple[str, str, int]]:
    return [(it.severity, it.code, it.line) for it in drift(Recording("t.jsonl", exchanges), config)]


def test_what_the_emulators_say_is_known(tmp_path):
    """Everything that the documents show, whole and streamed, is read: but for a few fields that mean nothing to us."""
    from router.lab import read_recording

    async def record():
        async with recording_router(tmp_path / "t.jsonl", {}) as (router, lab):
            lab["mixlayer"].reply(
                Answer("4", tool_calls=(ToolCall("1", "add", "{}"),)), when=lambda it: "tools" in it.body
            )
            for name, request in REQUESTS.items():
                for streaming in (False, True):
                    if name != "plain" and not (streaming and "n" in request):
                        await told(router, request, streaming=streaming)
            await told(router, {"model": "mixlayer/qwen3.5-27b", "tools": [TOOL]}, streaming=False)

    run_virtually(record())
    messages = [it.message for it in drift(read_recording(tmp_path / "t.jsonl"), CATALOG)]

    assert [
        "nobody reads the answer's field data[].seed",
        "nobody reads the answer's field choices[].matched_stop",
        "nobody reads the answer's field usage.completion_tokens_details.text_tokens",
        "nobody reads the answer's field usage.prompt_tokens_details.text_tokens",
        "nobody reads the answer's field meta.usage.credits_used",
    ] == messages


def test_an_answer_that_is_known_is_no_drift():
    """Nor is one that broke off in the recording, or a failure that we know the words of."""
    assert [] == found(one())
    assert [] == found(one(b'{"id": "1", "cho', ended="left"))
    assert [] == found(one(b"", response=None, ended="failed"))
    assert [] == found(one(None, withheld="too large", body=None))
    assert [] == found(one({"error": {"message": "overloaded", "code": "overloaded"}}, status=503))


def changed(**fields: Any) -> dict[str, Any]:
    return {**ANSWER, **fields}


def choice(**fields: Any) -> dict[str, Any]:
    return changed(choices=[{**ANSWER["choices"][0], **fields}])


@pytest.mark.parametrize(
    ("exchange", "severity", "code", "message", "fix"),
    [
        (one(choice(finish_reason="eos_token")), "warning", "unknown-finish-reason", "ended with 'eos_token'",
         "providers: {mixlayer: {reading: {finish_reasons: {eos_token: stop}}}}"),
        (one(changed(moderation={"score": 3})), "info", "unread-field", "field moderation.score", None),
        (one(choice(message={"content": "4", "thoughts": "hm"})), "info", "unread-field", "choices[].message.thoughts", None),
        (one(changed(usage={**ANSWER["usage"], "search_units": 4})), "info", "unread-usage", "usage.search_units", None),
        (one(changed(billing={"cost_usd": 0.5})), "warning", "unread-cost", "billing.cost_usd",
         "providers: {mixlayer: {reading: {cost: [billing.cost_usd]}}}"),
        (one(b"<html>"), "error", "unreadable-answer", "ProtocolViolation", None),
        (one(b"{}"), "error", "unreadable-answer", "EmptyReply", None),
        (one(choice(message={"content": ""})), "error", "unreadable-answer", "EmptyReply", None),
        (one({"error": {"message": "Unsupported parameter: 'seed'", "param": "seed", "code": "unsupported_parameter"}},
             status=400, body={**ASKED, "seed": 7}), "error", "refused-parameter", "does not take 'seed'",
         "models: {qwen3.5-27b: {deployments: [{provider: mixlayer, model: 'qwen/qwen3.5-27b', params: {seed: null}}]}}"),
        (one({"error": {"message": "No."}}, status=400), "warning", "refused", "not plain why: No.", None),
        (one(body={**ASKED, "top_a": 0.1}), "warning", "unknown-request-field", "says 'top_a'", None),
        (one(body={**ASKED, "model": "qwen/qwen9"}), "warning", "unknown-deployment", "'qwen/qwen9' at mixlayer",
         "models: {qwen9: {deployments: [{provider: mixlayer, model: 'qwen/qwen9'}]}}"),
        (one(provider="elsewhere"), "warning", "unknown-deployment", "no provider 'elsewhere'", None),
        (one(headers={**JSON, "X-RateLimit-Limit-Requests": "60"}), "info", "other-limit", "says nothing of requests",
         "providers: {mixlayer: {limits: {requests_per_minute: 60}}}"),
        (one(headers={**JSON, "X-Quota-Left": "9"}), "info", "unread-header", "nobody reads the header X-Quota-Left", None),
        (one(choice(message={"content": "4", "reasoning_content": "hm"}), body={**ASKED, "thinking": False}),
         "warning", "not-as-sent", "reasoning", None),
    ],
)  # fmt: skip
def test_each_kind_is_found(exchange, severity, code, message, fix):
    """With its line; and where there is a fix, it is YAML that the configuration takes."""
    (item,) = drift(Recording("t.jsonl", (exchange,)), CATALOG)

    assert (severity, code, 2, 1) == (item.severity, item.code, item.line, item.count)
    assert message in item.message
    if fix is not None:
        assert item.fix is not None
        assert item.fix.split("  #")[0] == fix
        load(yaml.safe_load(fix), environ={})


def test_a_fix_mends():
    """With its line in the file, the same traffic shows no drift."""
    exchange = one({**choice(finish_reason="eos_token"), "billing": {"cost_usd": 0.5}})
    fixes = [item.fix for item in drift(Recording("t.jsonl", (exchange,)), CATALOG)]
    reading = {"finish_reasons": {"eos_token": "stop"}, "cost": ["billing.cost_usd"]}

    assert 2 == len(fixes)
    assert [] == found(exchange, config=load({"providers": {"mixlayer": {"reading": reading}}}, environ={}))


def test_the_same_thing_is_told_once():
    """With the first line, and how often."""
    exchanges = [one(choice(finish_reason="eos_token"), line=line) for line in (5, 6, 9)]
    (item,) = drift(Recording("t.jsonl", tuple(exchanges)), CATALOG)

    assert (5, 3) == (item.line, item.count)


def test_fields_of_a_stream_are_looked_for_in_every_event():
    """Also in one that only the last chunk has."""
    events = [
        {"id": "1", "choices": [{"index": 0, "delta": {"content": "4"}}]},
        {"id": "1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "x_trace": "t"},
    ]
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    exchange = one(body.encode(), headers={"Content-Type": "text/event-stream"}, body={**ASKED, "stream": True})

    assert [("info", "unread-field", 2)] == found(exchange)


def test_a_limit_that_the_configuration_knows_is_no_drift():
    """Only another one is."""
    headers = {**JSON, "X-RateLimit-Limit-Requests": "60", "X-RateLimit-Remaining-Requests": "59", "Retry-After": "1"}
    config = load({"providers": {"mixlayer": {"limits": {"requests_per_minute": 60}}}}, environ={})

    assert [] == found(one(headers=headers), config=config)
    assert [("info", "other-limit", 2)] == found(one(headers=headers))


def test_what_an_emulator_refuses_is_found(tmp_path):
    """Over the whole pipeline: a parameter that the provider does not take any more."""
    from router.lab import read_recording

    async def record():
        async with recording_router(tmp_path / "t.jsonl", {}) as (router, lab):
            body = {
                "error": {"message": "Unsupported parameter: 'seed'", "type": "invalid_request_error", "param": "seed"}
            }
            lab["aiml"].fail(Fault.status(400, body=body))
            with pytest.raises(Exception, match="seed"):
                await told(router, {"model": "aiml/qwen3.6-35b-a3b"}, streaming=False)

    run_virtually(record())
    (item,) = drift(read_recording(tmp_path / "t.jsonl"), CATALOG)

    assert ("error", "refused-parameter", "aiml/qwen3.6-35b-a3b", 2) == (
        item.severity,
        item.code,
        item.deployment,
        item.line,
    )
