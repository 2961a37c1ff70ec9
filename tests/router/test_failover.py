"""Failover: what a provider does wrong, and that the caller sees nothing but the next one's answer.

Over sockets; where a limit of time is what is tested, in virtual time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from itertools import pairwise
from typing import Any

import pytest

from router.errors import (
    BadRequest,
    ContentBlocked,
    ContextLengthExceeded,
    DeadlineExceeded,
    DeploymentsExhausted,
    ProviderError,
    RequestTooLarge,
    RouterError,
    StreamInterrupted,
)
from router.lab import Answer, Fault
from tests.router.stage import KEYS, MODELS, PROVIDERS, TEXT, THOUGHT, stage

NEXT = dict(pairwise((*PROVIDERS, PROVIDERS[0])))
WHOLE, STREAMED = False, True
virtual = pytest.mark.virtual
every = pytest.mark.parametrize("name", PROVIDERS)
both = pytest.mark.parametrize("streaming", [WHOLE, STREAMED], ids=["whole", "streamed"])

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
GARBAGE = {
    "status line": b"SSH-2.0-OpenSSH_9.6\r\n",
    "http/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64",
    "tls alert": b"\x15\x03\x03\x00\x02\x02\x28",
    "long header": HEAD + b"X-Long: " + b"a" * 20_000 + b"\r\n\r\n",
    "length and chunks": HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "chunk size": HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZZ\r\n{}",
    "unknown encoding": HEAD + b"Content-Encoding: br\r\nContent-Length: 2\r\n\r\n{}",
    "half a header": HEAD[:30],
    "NUL in a header": HEAD + b"X-Nul: a\x00b\r\nContent-Length: 2\r\n\r\n{}",
}
NOT_AN_ANSWER: dict[str, str | bytes] = {
    "truncated JSON": '{"choices": [{"message": {"con',
    "array": "[]",
    "string": '"hello"',
    "null": "null",
    "number": "42",
    "empty object": "{}",
    "NaN": '{"choices": [{"message": {"content": NaN}}], "data": [{"taskType": "textInference", "text": NaN}]}',
    "invalid UTF-8": b'{"choices": [{"message": {"content": "\xff\xfe"}}], "data": [{"text": "\xff"}]}',
    "deep": "[" * 100_000,
    "deep object": '{"a":' * 100_000,
    "lone surrogate": '{"choices": [{"message": {"content": "\\ud800"}, "finish_reason": "stop"}], "data": [{"text": "\\ud800"}]}',
    "huge integer": '{"choices": [{"index": ' + "9" * 5000 + "}]}",
    "no choices": '{"choices": [], "data": []}',
    "choices is a number": '{"choices": 5, "data": 5}',
    "choices of numbers": '{"choices": [5], "data": [5]}',
    "nothing said": '{"choices": [{"message": {"content": null}, "finish_reason": "stop"}]}',
    "message is a number": '{"choices": [{"message": 5}], "data": [{"text": 5, "finishReason": "stop"}]}',
    "finish_reason is an object": (
        '{"choices": [{"message": {"content": "FAILED"}, "finish_reason": {}}],'
        ' "data": [{"taskType": "textInference", "text": "FAILED", "finishReason": {}}]}'
    ),
    "index is an object": '{"choices": [{"message": {"content": "FAILED"}, "index": {}, "finish_reason": "stop"}]}',
}

# What makes the next deployment serve: the fault, and the outcome that its attempt must have.
VARIANTS = {
    **{f"status {code}": (Fault.status(code), outcome) for code, outcome in {
        401: "AuthenticationFailed", 402: "OutOfCredit", 403: None, 404: "ModelNotFound",
        405: "ModelNotFound", 406: None, 408: "UpstreamTimeout", 409: "ServerError", 410: "ModelNotFound", 415: None,
        425: "ServerError", 429: "RateLimited", 500: "ServerError", 501: "ModelNotFound", 502: "ServerError",
        503: "Overloaded", 504: "UpstreamTimeout", 520: "ServerError", 524: "UpstreamTimeout", 529: "Overloaded",
        530: "ServerError", 999: None,
    }.items()},
    **{f"redirect {code}": (Fault.redirect("http://127.0.0.1:1/", code), "ProtocolViolation")
       for code in (301, 302, 303, 307, 308)},
    **{f"garbage: {what}": (Fault.garbage(raw), None) for what, raw in GARBAGE.items()},
    **{f"200 with {what}": (Fault.status(200, {"Content-Type": "application/json"}, body), None)
       for what, body in NOT_AN_ANSWER.items()},
}  # fmt: skip
BOTH_WAYS = {
    "rate limited": (Fault.rate_limited(), "RateLimited"),
    "out of credit": (Fault.out_of_credit(), "OutOfCredit"),
    "bad key": (Fault.bad_key(), "AuthenticationFailed"),
    "server error": (Fault.server_error(), "ServerError"),
    "overloaded": (Fault.overloaded(), "Overloaded"),
    "gateway timeout": (Fault.gateway_timeout(), "UpstreamTimeout"),
    "model gone": (Fault.model_gone(), "ModelNotFound"),
    "context length": (Fault.context_length(), "ContextLengthExceeded"),
    "error in 200": (Fault.error_in_200(), "ServerError"),
    "rate limit in 200": (Fault.error_in_200("rate_limit_exceeded"), None),
    "204": (Fault.status(204), "EmptyReply"),
    "html error page": (Fault.status(502, body="<html><h1>Bad Gateway</h1></html>"), "ServerError"),
    "a body that lies": (
        Fault.status(503, body={"error": {"message": "no", "type": "invalid_request_error"}}),
        "Overloaded",
    ),
    "refuse": (Fault.refuse(), "ConnectionFailed"),
    "reset": (Fault.reset(), "ConnectionFailed"),
    "garbage": (Fault.garbage(), "ProtocolViolation"),
    "redirect": (Fault.redirect("http://127.0.0.1:1/"), "ProtocolViolation"),
    "503": (Fault.status(503), "Overloaded"),
    "html_200": (Fault.html_200(), "ProtocolViolation"),
    "empty_200": (Fault.empty_200(), "EmptyReply"),
    "lost_response": (Fault.lost_response(), "ConnectionFailed"),
}
WHOLE_ONLY = {
    "truncate_body": (Fault.truncate_body(30), "TruncatedReply"),
    "body_reset": (Fault.body_reset(), "TruncatedReply"),
    "abort": (Fault.abort(), "GenerationAborted"),
}
BEFORE_THE_COMMIT = {
    "cut_after": (Fault.cut_after(0), None),
    "cut_after, not clean": (Fault.cut_after(0, clean=False), None),
    "reset_after": (Fault.reset_after(0), None),
    "malformed_event": (Fault.malformed_event(0), "MalformedReply"),
    "error_event": (Fault.error_event(0), "ServerError"),
    "error_event, done": (Fault.error_event(0, done=True), "ServerError"),
    "empty_stream": (Fault.empty_stream(), "EmptyReply"),
    "empty_stream, no [DONE]": (Fault.empty_stream(done=False), "EmptyReply"),
    "an event that is no object": (Fault.error_event(0, b"[1, 2]"), "MalformedReply"),
    "an event of rubbish": (Fault.error_event(0, b'{"choices": 5, "data": 5, "delta": 5}', done=True), None),
}
# These take a time limit to notice.
SLOW: dict[str, tuple[Fault, tuple[bool, ...]]] = {
    "silence": (Fault.silence(), (WHOLE, STREAMED)),
    "interim_forever": (Fault.interim_forever(), (WHOLE, STREAMED)),
    "slow_headers": (Fault.slow_headers(2), (WHOLE, STREAMED)),
    "trickle_headers": (Fault.trickle_headers(1, 0.02), (WHOLE,)),
    "stall_body": (Fault.stall_body(1), (WHOLE,)),
    "first_token_delay": (Fault.first_token_delay(2), (STREAMED,)),
    "stall_after": (Fault.stall_after(0), (STREAMED,)),
    "comments_forever": (Fault.comments_forever(), (STREAMED,)),
}
# These break a stream after the caller has seen some of it; the number counts events.
AFTER_THE_COMMIT = {
    "cut_after": Fault.cut_after(4),
    "cut_after, not clean": Fault.cut_after(4, clean=False),
    "reset_after": Fault.reset_after(4),
    "malformed_event": Fault.malformed_event(4),
    "error_event": Fault.error_event(4),
    "error_event, done": Fault.error_event(4, done=True),
    "abort": Fault.abort(),
    "stall_after": Fault.stall_after(4),
    "comments_forever": Fault.comments_forever(after=4),
}
# These change nothing that a caller would notice.
HARMLESS: dict[str, tuple[Fault, tuple[bool, ...]]] = {
    "no_finish": (Fault.no_finish(), (WHOLE,)),
    "trickle": (Fault.trickle(64, 0.001), (WHOLE, STREAMED)),
    "usage_missing": (Fault.usage_missing(), (WHOLE, STREAMED)),
    "json_instead_of_stream": (Fault.json_instead_of_stream(), (STREAMED,)),
    "hold_open": (Fault.hold_open(), (STREAMED,)),
    "no_done": (Fault.no_done(), (STREAMED,)),
    "framing crlf": (Fault.framing("\r\n"), (STREAMED,)),
    "framing cr": (Fault.framing("\r"), (STREAMED,)),
    "framing bom": (Fault.framing(bom=True), (STREAMED,)),
    "late_usage": (Fault.late_usage(0.05), (STREAMED,)),
    "slow": (Fault.slow(3), (WHOLE, STREAMED)),
}
ELSEWHERE = {
    "content_policy",
    "drop_after",
    "duplicate_task",
    "think_in_content",
    "answer_in_reasoning",
    "duplicate_event",
}  # tests of their own below


def text(name: str) -> str:
    return TEXT.format(name=name)


def table(cases):
    """Parameters `fault, outcome`, named as in *cases*."""
    return pytest.mark.parametrize(("fault", "outcome"), cases.values(), ids=cases)


async def served_by_the_next(name, fault, outcome, streaming, **policy):
    """The rule of this file: one request each, two attempts, not a byte of the failed answer."""
    async with stage(name, NEXT[name], policy=policy) as on:
        on.first.reply(Answer("FAILED FAILED FAILED", "FAILED"))
        on.first.fail(fault)
        heard = await on.ask(streaming=streaming)

        assert heard.error is None
        assert [1, 1] == on.counts
        assert (text(NEXT[name]), THOUGHT) == (heard.content, heard.reasoning)
        assert (text(NEXT[name]), THOUGHT) == (heard.answer.content, heard.answer.reasoning_content)
        assert MODELS[NEXT[name]] == heard.answer.deployment
        assert [MODELS[name], MODELS[NEXT[name]]] == [attempt.deployment for attempt in heard.answer.attempts]
        failed, won = heard.answer.attempts
        assert ("success", 200, 0.0) == (won.outcome, won.status, won.delay)
        assert failed.outcome != "success"
        assert outcome in (None, failed.outcome)
        assert failed.why
        assert on.outcomes == [failed.outcome, "success"]
        assert ["success"] == [end.outcome for end in on.ends]
        assert [0, 0] == on.loads
        return heard, failed


@every
@both
@table(BOTH_WAYS)
async def test_the_next_deployment_serves(name, streaming, fault, outcome):
    """Whatever the first one does, it is asked once, and the caller sees the second one's answer alone."""
    await served_by_the_next(name, fault, outcome, streaming)


@pytest.mark.parametrize("name", ["mixlayer", "runware", "aiml"])  # both wire protocols, and rows of its own
@table(VARIANTS)
async def test_the_next_deployment_serves_for_every_variant(name, fault, outcome):
    """Every status, every rubbish, every body that is no answer."""
    await served_by_the_next(name, fault, outcome, WHOLE)


@pytest.mark.parametrize("name", ["mixlayer", "runware"])  # one for each wire protocol
@table(VARIANTS)
async def test_the_next_deployment_serves_for_every_variant_streamed(name, fault, outcome):
    """The same in place of a stream."""
    await served_by_the_next(name, fault, outcome, STREAMED)


@every
@table(WHOLE_ONLY)
async def test_the_next_deployment_serves_a_whole_answer(name, fault, outcome):
    """A body that breaks off is no answer, and an aborted one is none either."""
    await served_by_the_next(name, fault, outcome, WHOLE)


@every
@table(BEFORE_THE_COMMIT)
async def test_the_next_deployment_serves_a_stream(name, fault, outcome):
    """Headers, empty events and events that say nothing do not commit."""
    await served_by_the_next(name, fault, outcome, STREAMED)


@pytest.mark.parametrize("name", ["mixlayer", "empiriolabs", "aiml"])
@pytest.mark.parametrize(
    "fault", [Fault.cut_after(1), Fault.reset_after(1), Fault.error_event(1)], ids=lambda f: f.kind
)
async def test_a_role_only_event_does_not_commit(name, fault):
    """The first event of these three providers says who speaks, and nothing else."""
    async with stage(name) as on:
        await on.ask(streaming=True)
        on.first.fail(Fault.cut_after(1))
        says = (await on.ask(streaming=True)).content
    if says:
        pytest.skip("this emulator sends no role-only event")
    await served_by_the_next(name, fault, None, STREAMED)


@pytest.mark.parametrize(
    ("fault", "streaming"),
    [(fault, streaming) for fault, ways in SLOW.values() for streaming in ways],
    ids=[f"{name}-{'streamed' if way else 'whole'}" for name, (_, ways) in SLOW.items() for way in ways],
)
@virtual
async def test_the_next_deployment_serves_when_the_first_is_silent(fault, streaming):
    """A time limit ends the wait, the connection is dropped at once, and the limit is all the time that is lost."""
    times = {"connect": "1s", "headers": "120ms", "first_token": "150ms", "idle": "120ms"}
    for name in PROVIDERS:
        heard, failed = await served_by_the_next(name, fault, "ProviderTimeout", streaming, timeouts=times)

        assert 0.12 <= failed.duration <= 0.151
        assert heard.seconds - failed.duration < 0.001


def test_every_fault_is_in_a_table():
    """A new fault of the lab must say here what it does to a request."""
    tables: list[dict[str, tuple[Fault, Any]]] = [BOTH_WAYS, WHOLE_ONLY, BEFORE_THE_COMMIT, dict(SLOW), dict(HARMLESS)]
    kinds = {fault.kind for table in tables for fault, _ in table.values()} | ELSEWHERE | {"words"}
    named = {getattr(Fault, name).__name__ for name in Fault.names()}
    words = {"rate_limited", "out_of_credit", "bad_key", "server_error", "overloaded", "gateway_timeout", "model_gone"}

    assert set() == named - kinds - words - {"context_length"}


# -- harmless, and committed ------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize(
    ("fault", "streaming"),
    [(fault, streaming) for fault, ways in HARMLESS.values() for streaming in ways],
    ids=[f"{name}-{'streamed' if way else 'whole'}" for name, (_, ways) in HARMLESS.items() for way in ways],
)
async def test_what_is_merely_odd_is_an_answer(name, fault, streaming, monkeypatch):
    """The first one serves, all of it arrives, and the next request finds a connection that works."""
    monkeypatch.setattr("providers.client.GRACE", 0.1)  # how long AIML, without [DONE], is waited for
    async with stage(name, NEXT[name]) as on:
        on.first.fail(fault)
        odd, again = await on.ask(streaming=streaming), await on.ask(streaming=streaming)

        assert (None, None) == (odd.error, again.error)
        assert (text(name), THOUGHT) == (odd.content, odd.reasoning) == (again.content, again.reasoning)
        assert [2, 0] == on.counts
        assert ["success", "success"] == on.outcomes


@every
@pytest.mark.parametrize("fault", AFTER_THE_COMMIT.values(), ids=AFTER_THE_COMMIT)
async def test_after_the_commit_nothing_is_replayed(name, fault):
    """The stream breaks visibly; what was delivered is exactly what `.partial` holds; nobody else is asked."""
    policy = {"attempts_per_deployment": 2, "timeouts": {"headers": "3s", "idle": "100ms"}}
    async with stage(name, NEXT[name], policy=policy) as on:
        on.first.fail(fault)
        heard = await on.ask(streaming=True)

        assert isinstance(heard.error, StreamInterrupted)
        assert [1, 0] == on.counts
        assert heard.content + heard.reasoning
        assert text(name).startswith(heard.content)
        assert THOUGHT.startswith(heard.reasoning)
        assert (text(name), THOUGHT) != (heard.content, heard.reasoning)
        partial = heard.error.partial
        assert (heard.content, heard.reasoning) == (partial.content or "", partial.reasoning_content or "")
        assert MODELS[name] == partial.deployment
        assert 1 == len(partial.attempts) == len(heard.error.attempts) == len(on.attempts)
        assert isinstance(heard.error.error, ProviderError)
        assert "success" not in on.outcomes
        assert all(chunk.completion is None and chunk.finish_reason is None for chunk in heard.chunks)
        assert 1 == len(on.ends)
        assert "success" != on.ends[0].outcome
        assert [0, 0] == on.loads


async def test_a_stream_without_finish_reason_needs_its_done():
    """`[DONE]` alone is an end, and the reason is then unknown; neither is a truncated answer."""
    async with stage("mixlayer", "aiml", switches={"aiml": {"done": False}}) as on:
        on.first.fail(Fault.no_finish())
        ended = await on.ask(streaming=True)
        on.first.fail(Fault.server_error())
        on.second.fail(Fault.no_finish())
        cut = await on.ask(streaming=True)

        assert (None, "unknown") == (ended.error, ended.answer.finish_reason)
        assert isinstance(cut.error, StreamInterrupted)
        assert text("aiml") == cut.content == cut.error.partial.content


async def test_a_duplicate_event_is_delivered_as_it_came():
    """Chat events carry no number: nothing is invented, and the answer still ends well."""
    async with stage("mixlayer") as on:
        on.first.fail(Fault.duplicate_event(3))
        heard = await on.ask(streaming=True)

        assert None is heard.error
        assert len(text("mixlayer") + THOUGHT) < len(heard.content + heard.reasoning)


# -- the caller's own mistakes ----------------------------------------------------------------------------------------


@every
@both
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.status(400), BadRequest),
        (Fault.status(422), BadRequest),
        (Fault.status(413), RequestTooLarge),
        (Fault.status(418), BadRequest),
        (Fault.content_policy(), ContentBlocked),
        (Fault.status(400, body="no JSON at all"), BadRequest),
        (Fault.status(400, body={"error": {"message": "429 Too Many Requests is what you sent"}}), BadRequest),
    ],
    ids=["400", "422", "413", "418", "content_policy", "400 text", "400 that mentions 429"],
)
@pytest.mark.parametrize("order", ["elsewhere_first", "here_first"])
async def test_a_callers_mistake_is_raised_as_itself_and_once(name, streaming, fault, kind, order):
    """One error, no group; one request at the first, none at the second."""
    async with stage(name, NEXT[name], policy={"order": order, "attempts_per_deployment": 2}) as on:
        on.first.fail(fault)
        heard = await on.ask(streaming=streaming)

        assert kind is type(heard.error)
        assert not isinstance(heard.error, ExceptionGroup)
        assert [1, 0] == on.counts
        assert heard.error.status in (400, 413, 418, 422)
        assert MODELS[name] == heard.error.deployment
        assert [kind.__name__] == on.outcomes


async def test_a_callers_mistake_at_the_second_is_raised_as_itself():
    """The first one's failure does not make a group of it."""
    async with stage("mixlayer", "aiml") as on:
        on.first.fail(Fault.status(503))
        on.second.fail(Fault.status(422))
        heard = await on.ask()

        assert BadRequest is type(heard.error)
        assert 422 == heard.error.status
        assert [1, 1] == on.counts


async def test_too_long_for_everybody_is_the_callers():
    """Each has its own window, so all are asked; when none is large enough, it is raised as itself."""
    async with stage("mixlayer", "empiriolabs", "aiml") as on:
        for emulator in on.emulators.values():
            emulator.fail(Fault.context_length())
        heard = await on.ask()

        assert ContextLengthExceeded is type(heard.error)
        assert [1, 1, 1] == on.counts


# -- Runware: errors in 200, and the task that is known already -------------------------------------------------------


@both
async def test_runware_a_validation_error_inside_200_is_the_callers(streaming):
    """As if it had come as a 400: raised as itself, once."""
    async with stage("runware", "aiml", switches={"runware": {"validation_in_200": True}}) as on:
        heard = await on.ask(streaming=streaming, extra={"unheardOf": True})

        assert BadRequest is type(heard.error)
        assert 400 == heard.error.status
        assert [1, 0] == on.counts


@both
@pytest.mark.parametrize(
    "code", ["timeoutProvider", "providerTimeout", "noAvailableServer", "rateLimit", "modelNotReady"]
)
async def test_runware_its_own_trouble_inside_200_fails_over(streaming, code):
    """`timeoutProvider` has a small t, and the vendor's own SDKs miss it."""
    await served_by_the_next("runware", Fault.error_in_200(code), None, streaming)


@both
async def test_runware_trouble_of_all_tasks_inside_200_with_nobody_else(streaming):
    """A task that the provider has given up is asked for again, and the second one is answered."""
    async with stage("runware", policy={"attempts_per_deployment": 2}) as on:
        on.first.fail(Fault.error_in_200("timeoutProvider"))
        heard = await on.ask(streaming=streaming)

        assert None is heard.error
        assert text("runware") == heard.content
        assert [2] == on.counts


def task(received):
    return json.loads(received.raw)[0]


@both
@pytest.mark.parametrize("in_200", [False, True], ids=["conflict as 400", "conflict in 200"])
async def test_runware_a_lost_response_is_fetched_not_paid_twice(streaming, in_200):
    """The retry is the same task; the conflict about it means *known*, and its answer is polled for."""
    switches = {"runware": {"validation_in_200": in_200}}
    async with stage("runware", policy={"attempts_per_deployment": 2}, switches=switches) as on:
        on.first.fail(Fault.lost_response())
        heard = await on.ask(streaming=streaming)

        assert None is heard.error
        assert (text("runware"), THOUGHT) == (heard.content, heard.reasoning)
        tasks = [task(received) for received in on.first.requests]
        assert ["textInference", "textInference", "getResponse"] == [one["taskType"] for one in tasks]
        assert 1 == len({one["taskUUID"] for one in tasks})
        assert 1 == len(on.first.invoices)
        assert ["ConnectionFailed", "success"] == on.outcomes
        assert 200 == heard.answer.attempts[-1].status


@virtual
@both
@pytest.mark.parametrize("envelope", ["error", "errors"])
async def test_runware_a_conflict_never_reaches_the_caller(streaming, envelope):
    """Not even where the task is known and its answer does not come: that is a time-out of ours."""
    body: dict[str, Any] = {
        "errors": [{"code": "conflictTaskUUID", "message": "already used", "parameter": "taskUUID"}]
    }
    if envelope == "error":
        body = {"error": body["errors"][0]}
    async with stage("runware", "aiml", policy={"deadline": "800ms"}) as on:
        on.first.fail(Fault.status(400, body=body))
        heard = await on.ask(streaming=streaming)

        assert None is heard.error
        assert text("aiml") == heard.content
        assert "conflict" not in heard.answer.attempts[0].why
        assert heard.seconds < 1.3


async def test_runware_two_requests_are_two_tasks():
    """Only a retry is the same task."""
    async with stage("runware") as on:
        await on.ask()
        await on.ask()
        first, second = (task(received)["taskUUID"] for received in on.first.requests)

        assert first != second
        assert [4, 4] == [int(one[14], 16) for one in (first, second)]


@virtual
@both
async def test_runware_polling_outlasts_the_time_limit_for_headers(streaming):
    """Headers have a limit from each request on, not from the first: a job may take as long as the deadline."""
    async with stage(
        "runware",
        policy={"timeouts": {"headers": "100ms", "first_token": "2s", "idle": "2s"}, "attempts": 1},
        providers={"runware": {"delivery": "async", "polling": {"first": 0.05, "factor": 1, "longest": 0.05}}},
        switches={"runware": {"processing_polls": 6}},
    ) as on:
        heard = await on.ask(streaming=streaming)

        assert None is heard.error
        assert text("runware") == heard.content
        assert 8 == len(on.first.requests)


# -- attempts, orders and waits ---------------------------------------------------------------------------------------


@virtual
async def test_a_failed_over_request_leaves_at_once():
    """No backoff between deployments, however long it is."""
    async with stage("mixlayer", "aiml", policy={"backoff": {"initial": "5s", "max": "8s"}}) as on:
        on.first.fail(Fault.status(503))
        heard = await on.ask()

        assert None is heard.error
        assert heard.seconds < 0.2


async def test_each_is_asked_once_before_any_is_asked_again():
    """Then those that failed, up to the policy's number."""
    async with stage(*PROVIDERS, policy={"attempts": 6, "attempts_per_deployment": 2}) as on:
        for emulator in on.emulators.values():
            emulator.fail(Fault.status(503), times=None)
        heard = await on.ask()

        assert isinstance(heard.error, DeploymentsExhausted)
        asked = [attempt.deployment for attempt in heard.error.attempts]
        assert [MODELS[name] for name in PROVIDERS] == asked[:4]
        assert 6 == len(asked) == sum(on.counts)
        assert max(on.counts) <= 2


@pytest.mark.parametrize("code", [401, 402, 403])
async def test_a_key_that_was_refused_is_not_tried_again(code):
    """Not within the request, even where something else had failed before."""
    async with stage("mixlayer", policy={"attempts": 6, "attempts_per_deployment": 4}) as on:
        on.first.fail(Fault.status(503))
        on.first.fail(Fault.status(code), times=None)
        heard = await on.ask()

        assert isinstance(heard.error, DeploymentsExhausted)
        assert [2] == on.counts


async def test_here_first_asks_the_preferred_one_once_more():
    """And then leaves it."""
    async with stage("mixlayer", "aiml", policy={"order": "here_first", "attempts_per_deployment": 2}) as on:
        on.first.fail(Fault.status(503), times=None)
        heard = await on.ask()

        assert None is heard.error
        assert [2, 1] == on.counts


@virtual
async def test_here_first_leaves_a_silent_one_at_once():
    """What was silent once is likely to be silent again."""
    async with stage(
        "mixlayer",
        "aiml",
        policy={"order": "here_first", "attempts_per_deployment": 2, "timeouts": {"headers": "100ms"}},
    ) as on:
        on.first.fail(Fault.silence(), times=None)
        heard = await on.ask()

        assert None is heard.error
        assert [1, 1] == on.counts


@virtual
async def test_the_only_deployment_is_asked_again_when_it_said():
    """`retry-after-ms` is kept to: not earlier, and not much later."""
    async with stage("mixlayer", policy={"attempts_per_deployment": 2}) as on:
        on.first.fail(Fault.status(429, headers={"retry-after-ms": "200"}))
        heard = await on.ask()

        assert None is heard.error
        first, second = on.first.requests
        assert 0.2 <= second.at - first.at < 0.35
        assert 0.18 <= heard.answer.attempts[1].delay < 0.25


@virtual
async def test_a_wait_that_the_provider_asks_for_inside_200_counts_too():
    """An error inside 200 is treated as if it had come with its own status, headers included."""
    limited = {"error": {"code": "rate_limit_exceeded", "message": "slow down"}}
    async with stage("mixlayer", policy={"attempts_per_deployment": 2}) as on:
        on.first.fail(Fault.status(200, {"retry-after-ms": "200", "Content-Type": "application/json"}, limited))
        heard = await on.ask()

        assert None is heard.error
        assert "RateLimited" == heard.answer.attempts[0].outcome
        first, second = on.first.requests
        assert 0.2 <= second.at - first.at < 0.35


@virtual
async def test_nobody_waits_for_a_retry_after_while_another_is_free():
    """The second one is asked at once."""
    async with stage("mixlayer", "aiml") as on:
        on.first.fail(Fault.rate_limited(20))
        heard = await on.ask()

        assert None is heard.error
        assert heard.seconds < 0.2


@virtual
@pytest.mark.parametrize("value", ["30", "61", "1e9", "99999999999999999999999999999999999"])
async def test_a_wait_beyond_the_deadline_fails_at_once(value):
    """And the error says how long the provider asked for."""
    async with stage("mixlayer", policy={"attempts_per_deployment": 2, "deadline": "3s"}) as on:
        on.first.fail(Fault.rate_limited(value), times=None)
        heard = await on.ask()

        if value == "1e9":  # no number of seconds: our own backoff
            assert [2] == on.counts
            return
        assert isinstance(heard.error, DeploymentsExhausted)
        assert [1] == on.counts
        assert heard.seconds < 0.2
        assert heard.error.retry_after is not None
        assert heard.error.retry_after >= 30


@virtual
async def test_nothing_is_slept_after_the_last_attempt():
    """The error comes when the last answer does."""
    backoff = {"initial": "4s", "max": "4s"}
    async with stage(
        "mixlayer", "aiml", policy={"attempts": 2, "attempts_per_deployment": 2, "backoff": backoff}
    ) as on:
        for emulator in on.emulators.values():
            emulator.fail(Fault.status(429, headers={"Retry-After": "1"}), times=None)
        heard = await on.ask()

        assert isinstance(heard.error, DeploymentsExhausted)
        assert [1, 1] == on.counts
        assert heard.seconds < 0.2


@every
@both
async def test_a_dead_connection_is_no_dead_provider(name, streaming):
    """A kept-alive connection that the provider has closed is opened anew: no failure of his, and no attempt of ours."""
    async with stage(name, NEXT[name]) as on:
        on.first.fail(Fault.drop_after())
        first, second = await on.ask(streaming=streaming), await on.ask(streaming=streaming)

        assert (None, None) == (first.error, second.error)
        assert (MODELS[name], MODELS[name]) == (first.answer.deployment, second.answer.deployment)
        assert 0 == len(on.second.requests)


# -- deadlines --------------------------------------------------------------------------------------------------------


@virtual
@both
async def test_the_deadline_ends_everything(streaming):
    """All of them hang: the caller has his error within 250 ms of the deadline, and nobody is left holding a socket."""
    async with stage("mixlayer", "aiml", policy={"deadline": "400ms", "timeouts": {"headers": "30s"}}) as on:
        for emulator in on.emulators.values():
            emulator.fail(Fault.silence(), times=None)
        heard = await on.ask(streaming=streaming)

        assert isinstance(heard.error, DeadlineExceeded)
        assert 0.4 <= heard.seconds < 0.65
        assert ["ProviderTimeout", "ProviderTimeout"] == [attempt.outcome for attempt in heard.error.attempts]
        assert [1, 1] == on.counts
        assert 0 == on.connections
        assert all(name in str(heard.error) for name in (MODELS["mixlayer"], MODELS["aiml"]))


@virtual
@both
async def test_a_hung_first_deployment_leaves_time_for_the_second(streaming):
    """At most half of the deadline, without any other limit."""
    none = {"headers": "30s", "first_token": "30s", "idle": "30s"}
    async with stage("mixlayer", "aiml", policy={"deadline": "500ms", "timeouts": none}) as on:
        on.first.fail(Fault.silence())
        on.second.fail(Fault.slow_headers(0.1))
        heard = await on.ask(streaming=streaming)

        assert None is heard.error
        assert 0.2 < heard.answer.attempts[0].duration < 0.3
        assert heard.seconds < 0.5


@virtual
async def test_the_share_does_not_cut_a_stream_that_has_begun():
    """A stream that speaks within its share may take the rest of the deadline."""
    async with stage("mixlayer", "aiml", policy={"deadline": "1s"}, switches={"mixlayer": {"token_delay": 0.06}}) as on:
        heard = await on.ask(streaming=True)

        assert None is heard.error
        assert heard.seconds > 0.5
        assert [1, 0] == on.counts


@virtual
async def test_the_deadline_ends_a_stream_that_has_begun():
    """With what was seen in `.partial`."""
    async with stage(
        "mixlayer", "aiml", policy={"deadline": "400ms"}, switches={"mixlayer": {"token_delay": 0.09}}
    ) as on:
        heard = await on.ask(streaming=True)

        assert isinstance(heard.error, DeadlineExceeded)
        assert 0.4 <= heard.seconds < 0.65
        assert heard.error.partial is not None
        assert heard.reasoning == (heard.error.partial.reasoning_content or "")
        assert heard.reasoning
        assert 1 == len(heard.error.attempts)


@virtual
async def test_a_trickle_does_not_outlast_the_deadline():
    """A byte now and then keeps every idle timer happy; the deadline is not idle."""
    async with stage("mixlayer", policy={"deadline": "500ms"}) as on:
        on.first.fail(Fault.trickle(1, 0.05))
        heard = await on.ask()

        assert isinstance(heard.error, DeadlineExceeded)
        assert heard.seconds < 0.75


@virtual
async def test_a_backoff_never_outlasts_the_deadline():
    """Rather than to wait in vain it fails, at once."""
    slow = {"initial": "30s", "max": "30s"}
    async with stage("mixlayer", policy={"deadline": "1s", "attempts_per_deployment": 4, "backoff": slow}) as on:
        on.first.fail(Fault.status(503), times=None)
        heard = await on.ask()

        assert isinstance(heard.error, DeploymentsExhausted)
        assert heard.seconds < 1.25


@virtual
async def test_a_slow_consumer_is_no_silent_provider():
    """Idle time counts only while we wait for the provider."""
    async with stage("mixlayer", policy={"timeouts": {"first_token": "200ms", "idle": "60ms"}}) as on:
        seen = []
        async with contextlib.aclosing(
            on.router.stream({"model": "chat", "messages": [{"role": "user", "content": "?"}]})
        ) as it:
            async for chunk in it:
                seen.append(chunk.content or "")
                await asyncio.sleep(0.03 if len(seen) > 2 else 0.1)

        assert text("mixlayer") == "".join(seen)


# -- what the errors say ----------------------------------------------------------------------------------------------


@both
async def test_the_group_names_every_deployment(streaming):
    """Each with its own failure, status included; no answer means no status."""
    faults = {
        "mixlayer": Fault.status(503), "runware": Fault.bad_key(), "empiriolabs": Fault.rate_limited(), "aiml": Fault.reset()
    }  # fmt: skip
    async with stage(*PROVIDERS) as on:
        for name, fault in faults.items():
            on.emulators[name].fail(fault, times=None)
        heard = await on.ask(streaming=streaming)

        group = heard.error
        errors: tuple[Any, ...] = group.exceptions
        assert DeploymentsExhausted is type(group)
        assert issubclass(DeploymentsExhausted, RouterError)
        assert issubclass(DeploymentsExhausted, ExceptionGroup)
        assert [503, 401, 429, None] == [error.status for error in errors]
        assert [503, 401, 429, None] == [attempt.status for attempt in group.attempts]
        assert all(isinstance(error, ProviderError) for error in errors)
        assert all(MODELS[name] in str(group) for name in PROVIDERS)
        assert [MODELS[name] for name in PROVIDERS] == [error.deployment for error in errors]
        matched, rest = group.split(lambda error: getattr(error, "status", None) == 429)
        assert isinstance(matched, DeploymentsExhausted)
        assert isinstance(rest, DeploymentsExhausted)
        assert (1, 3) == (len(matched.attempts), len(rest.attempts))


async def test_no_key_is_in_what_was_raised_and_recorded():
    """A provider that echoes the key everywhere it can: in the message, the code, the body, the headers."""
    key = KEYS["mixlayer"]
    echo = {"error": {"message": f"bad {key}", "code": f"c-{key}", "param": f"p-{key}", "type": key,
                      "allowedValues": [key], "request_id": f"r-{key}"}}  # fmt: skip
    async with stage("mixlayer") as on:
        on.first.fail(Fault.status(401, {"x-request-id": f"x-{key}"}, echo), times=None)
        heard = await on.ask()

        seen = [heard.error, *heard.error.exceptions, *on.events, *(vars(error) for error in heard.error.exceptions)]
        assert [] == [what for what in seen if key in repr(what) or key in str(what)]


async def test_a_key_is_not_cut_in_half_before_it_is_removed():
    """A long plain-text body that holds the key where our excerpt ends."""
    key = KEYS["mixlayer"]
    async with stage("mixlayer") as on:
        on.first.fail(Fault.status(500, body="x" * 485 + key + " is your key"), times=None)
        heard = await on.ask()

        assert key[:8] not in str(heard.error)
        assert key[:8] not in heard.error.exceptions[0].message
