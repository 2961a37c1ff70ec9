"""Every payload of the providers' documents, literally, through the whole pipeline: what comes out is what they say.

The bytes in tests/wire/ are the documents' own; a few are put together from a shape that they describe. They are sent
whole, byte by byte and in between, as the answer to a streamed and to a whole call, and must always mean the same.

On Mixlayer's page the lines of its stream stand directly below each other; a blank line is put between them, as in its
other stream, because four `data:` lines without one are a single event by the standard.
"""

from __future__ import annotations

import asyncio
import gc
import json
import warnings
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from router import Completion, Router
from router.errors import (
    AuthenticationFailed,
    BadRequest,
    ContentBlocked,
    DeploymentsExhausted,
    EmptyReply,
    GenerationAborted,
    MalformedReply,
    ModelNotFound,
    OutOfCredit,
    Overloaded,
    PermissionDenied,
    ProtocolViolation,
    ProviderError,
    RateLimited,
    RouterError,
    ServerError,
    StreamInterrupted,
    TruncatedReply,
    UpstreamTimeout,
)
from tests.wire.replay import FOLDER, Reply, literal, replay

MODELS = {
    "mixlayer": "mixlayer/qwen3.5-27b",
    "runware": "runware/qwen3.5-27b",
    "empiriolabs": "empiriolabs/qwen3.5-4b",
    "aiml": "aiml/qwen3.6-35b-a3b",
    "any": "any/m",
}
QUESTION = [{"role": "user", "content": "17 * 23?"}]
PRICES = {"mixlayer": (0.30, 2.40), "runware": (0.165, 1.326), "empiriolabs": (0.04, 0.07), "aiml": (0.4875, 2.925)}


def router_at(base_url: str, provider: str, **policy: Any) -> Router:
    """A router that knows one server, and asks it once."""
    source: dict[str, Any] = {
        "providers": {provider: {"base_url": base_url, "api_key": "sk-a-key"}},
        "policies": {"default": {"attempts": 1, "deadline": "5s", **policy}},
    }
    if provider == "any":
        levels = {
            "none": {"enable_thinking": False},
            **{level: {"enable_thinking": True} for level in ("minimal", "low", "medium", "high", "xhigh", "max")},
        }
        source["providers"]["any"]["params"] = {
            "reasoning_effort": {"levels": levels, "to": "enable_thinking", "exact": ["none"]}
        }
        source["models"] = {"m": {"deployments": [{"provider": "any", "model": "m"}]}}
    return Router.open(source, environ={})


async def answer(provider: str, *replies: Reply, stream: bool, **fields: Any) -> Completion:
    """The completion that *replies* mean; of a stream the one on its last chunk, after its pieces were checked."""
    async with replay(*replies) as server, router_at(server.base_url, provider) as router:
        return await ask(router, provider, stream=stream, **fields)


async def answers(provider: str, *replies: Reply, stream: bool) -> list[Completion]:
    """One completion for each of *replies*, by one router."""
    async with replay(*replies) as server, router_at(server.base_url, provider) as router:
        return [await ask(router, provider, stream=stream) for _ in replies]


async def ask(router: Router, provider: str, *, stream: bool, **fields: Any) -> Completion:
    request = {"model": MODELS[provider], "messages": QUESTION, **fields}
    if not stream:
        return await router.complete(request)
    chunks = [chunk async for chunk in router.stream(request)]
    last = chunks[-1].completion
    assert last is not None
    for index, choice in enumerate(last.choices):
        own = [chunk for chunk in chunks if chunk.index == index]
        assert (choice.content or "") == "".join(chunk.content or "" for chunk in own)
        assert (choice.reasoning_content or "") == "".join(chunk.reasoning_content or "" for chunk in own)
        assert [choice.finish_reason] == [chunk.finish_reason for chunk in own if chunk.finish_reason]
    return last


# -- answers ----------------------------------------------------------------------------------------------------------


class Says(NamedTuple):
    """What a payload says. *usage*: prompt, completion, total, reasoning and cached tokens; a ? was not counted."""

    content: str | None
    reasoning: str | None = None
    finish: str = "stop"
    usage: tuple[Any, ...] = ()
    usd: float | None = None  # reported; None: the price list's
    id: str | None = None
    model: str | None = None
    calls: tuple[tuple[str, str, str], ...] = ()


PAGE = json.loads((FOLDER / "aiml/answer.json").read_text())
PAGE_MESSAGE = PAGE["choices"][0]["message"]
SCHEMA_TEXT = (
    "Hello! I'm just a program, so I don't have feelings, but I'm here and ready to help you. "
    "How can I assist you today?"
)
CAPTURE = Says(
    None,
    "Okay",
    usage=(13, 2010, 2023, 82, None),
    id="chatcmpl-81964e30-1a7c-9668-b78c-a750587ec497",
    model="qwen3-32b",
)
WEATHER = (("call_abc", "get_weather", '{"city":"Tokyo"}'),)
CALLS = Says(None, finish="tool_calls", usage=(14, 17, 31, None, None), calls=WEATHER)
CHIHUAHUA = "Chihuahuas have the largest brain-to-body ratio of any dog breed."
THOUGHT = "Let me think. 17 * 23 = 17 * 20 + 17 * 3 = 340 + 51."
HAIKU = "Ocean breathes the dawn"
GREETS = Says("Hi!", "The user greets me.", usage=(20, 30, 50, 18, 0), id="chatcmpl-…", model="qwen3-5-4b")
NO_USAGE = GREETS._replace(usage=())

ANSWERS = {
    "aiml/answer.json": Says(
        PAGE_MESSAGE["content"],
        PAGE_MESSAGE["reasoning_content"],
        usage=(19, 1197, 1216, 840, None),
        usd=0.003511,  # 7022 credits, 2,000,000 to the dollar
        id="chatcmpl-314d7343-2d3b-9edb-934b-a5e813705e75",
        model="qwen3.6-35b-a3b",
    ),
    "aiml/schema-example.json": Says(
        SCHEMA_TEXT,
        usage=(137, 914, 1051, None, None),
        usd=0.06,
        id="chatcmpl-CQ9FPg3osank0dx0k46Z53LTqtXMl",
        model="alibaba/qwen3.6-35b-a3b",
    ),
    "aiml/stream.sse": CAPTURE,
    "aiml/stream-meta.sse": CAPTURE._replace(usd=0.00124),
    "aiml/stream-meta-done.sse": CAPTURE._replace(usd=0.00124),
    "aiml/stream-meta-usage.sse": CAPTURE._replace(usd=0.00124),
    "aiml/stream-done-meta.sse": CAPTURE._replace(usd=0.00124),  # open question 5: any order
    "mixlayer/answer.json": Says(
        CHIHUAHUA, usage=(14, 17, 31, None, None), id="chatcmpl-abc123...", model="qwen/qwen3.5-4b-free"
    ),
    "mixlayer/answer-reasoning.json": Says(
        "The answer is 42.", "Let me work through this. The user is asking about..."
    ),
    "mixlayer/answer-cached.json": Says("Hi.", finish="length", usage=(100, 2, 102, None, 64)),
    "mixlayer/answer-tools-empty.json": CALLS,
    "mixlayer/answer-tools-null.json": CALLS,
    "mixlayer/answer-tools-absent.json": CALLS,
    "mixlayer/stream.sse": Says("Chihuahuas are tiny.", id="..."),
    "mixlayer/stream-reasoning.sse": Says("17 * 23 = 391.", THOUGHT),
    "mixlayer/stream-usage.sse": Says("answer", "step 1step 2", usage=(5, 7, 12, "?", None)),
    "mixlayer/stream-tools.sse": Says(None, finish="tool_calls", calls=WEATHER),
    "empiriolabs/answer.json": GREETS,
    "empiriolabs/stream.sse": GREETS,
    "empiriolabs/stream-usage-on-finish.sse": GREETS,
    "empiriolabs/stream-zero-usage.sse": GREETS,
    "empiriolabs/stream-no-usage.sse": NO_USAGE,
    "empiriolabs/stream-reasoning-field.sse": NO_USAGE,
    "empiriolabs/stream-think.sse": NO_USAGE._replace(reasoning="The user greets me.\n"),
    "runware/sync.json": Says(HAIKU, usage=(10, 5, 15, None, None), usd=0.0005),
    "runware/sync-reasoning.json": Says(HAIKU, "Count the syllables.", usage=(10, 25, 35, 20, 2), usd=0.0005),
    "runware/sync-reasoning-string.json": Says(HAIKU, "Count the syllables.", usage=(10, 25, 35, 20, None), usd=0.0005),
    "runware/sync-authentication.json": Says("Hello", usd=0.0005),
    "runware/sync-empty-uuid.json": Says("Hello", usd=0.0005),
    "runware/sync-others-error.json": Says("Hello", usd=0.0005),
    "runware/sync-think.json": Says("Hello", "Count.\n", usd=0.0005),
    "runware/sync-length.json": Says(None, "Let me", "length", usage=(10, 2, 12, "?", None), usd=0.0005),
    "runware/sync-free.json": Says("Hello", usage=(10, 5, 15, None, None)),  # a zero of a paid model is no price
    "runware/stream.sse": Says("Hello", "Let me think...", usage=(10, 5, 15, "?", None), usd=0.001),
    "runware/stream-late-cost.sse": Says("Hello", "Let me think...", usage=(10, 5, 15, "?", None), usd=0.001),
    "runware/stream-wrapped.sse": Says("Hello", "Let me think...", usage=(10, 5, 15, "?", None), usd=0.001),
    "runware/stream-no-done.sse": Says("Hello", "Let me think...", usage=(10, 5, 15, "?", None), usd=0.001),
    "any/stream-both-reasonings.sse": Says("Yes.", "Hm."),
    "any/stream-azure.sse": Says("Yes.", id="c-1", model="m"),
    "any/stream-null-delta.sse": Says("Yes.", id="c-1"),
    "any/stream-details.sse": Says("Yes.", "Hm."),
    "any/stream-tools-no-index.sse": Says(
        None, finish="tool_calls", calls=(("a", "f", '{"x":1}'), ("b", "g", '{"y":2}'))
    ),
    "any/stream-tools-off-by-one.sse": Says(None, "Hm.", "tool_calls", calls=(("a", "f", "{}"),)),
    "any/answer-tools-object.json": Says(None, "Hm.", "tool_calls", calls=(("a", "f", '{"x":1}'),)),
    "any/answer-parts.json": Says("Yes.", "Hm.", "unknown"),
}


def check(name: str, said: Says, got: Completion) -> None:
    provider = name.split("/", maxsplit=1)[0]

    assert (said.content or "") == (got.content or "")
    assert said.reasoning == got.reasoning_content
    assert said.finish == got.finish_reason
    assert said.calls == tuple((call.id, call.name, call.arguments) for call in got.tool_calls)
    assert not (said.calls and got.content)
    if said.id is not None:
        assert said.id == got.id
    if said.model is not None:
        assert said.model == got.model
    usage = got.usage
    counted = (
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.total_tokens,
        usage.reasoning_tokens,
        usage.cached_tokens,
    )
    if said.usage:
        known = [(want, have) for want, have in zip(said.usage, counted, strict=True) if want != "?"]
        assert [want for want, _ in known] == [have for _, have in known]
    if not said.usage or "?" in said.usage:
        assert usage.estimated  # nobody has counted it, and the answer says so
    check_cost(provider, said, got)
    assert MODELS[provider] == got.deployment
    assert [] == [change for change in got.changes if change.how != "defaulted"]
    assert ["success"] == [attempt.outcome for attempt in got.attempts]


def check_cost(provider: str, said: Says, got: Completion) -> None:
    if said.usd is not None:
        assert "reported" == got.cost.source
        assert got.cost.usd == pytest.approx(said.usd)
    elif provider == "any":
        assert ("unknown", None) == (got.cost.source, got.cost.usd)  # no price list: never a zero
    elif said.usage and not said.usage[4]:
        price_in, price_out = PRICES[provider]
        listed = (said.usage[0] * price_in + said.usage[1] * price_out) / 1e6
        assert "estimated" == got.cost.source
        assert got.cost.usd == pytest.approx(listed)
    else:
        assert "estimated" == got.cost.source


@pytest.mark.parametrize("stream", [False, True], ids=["complete", "stream"])
@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_says_what_the_documents_say(name, stream):
    """However it was asked for, and wherever the network cuts it."""
    provider = name.split("/", maxsplit=1)[0]
    size = (FOLDER / name).stat().st_size
    splits = (0, 7 if size < 3000 else 700, *([1] if size < 1100 else []))
    for got in await answers(provider, *(literal(name, split=split) for split in splits), stream=stream):
        check(name, ANSWERS[name], got)


@pytest.mark.parametrize("name", [name for name in ANSWERS if name.endswith(".sse")])
async def test_the_framing_of_a_stream_means_nothing(name):
    """CRLF and CR line ends, a byte order mark, no Content-Length, no space after the colon."""
    provider = name.split("/", maxsplit=1)[0]
    body = (FOLDER / name).read_bytes()
    framings = (
        body.replace(b"\n", b"\r\n"),
        body.replace(b"\n", b"\r"),
        b"\xef\xbb\xbf" + body,
        body.replace(b"data: ", b"data:"),
        b": keep-alive\n\nevent: message\nid: 7\nretry: 100\n" + body,
    )
    replies = [replace(literal(name, ends=True), body=framed) for framed in framings]
    for got in await answers(provider, *replies, stream=True):
        check(name, ANSWERS[name], got)


@pytest.mark.parametrize("split", [0, 1, 6])
@pytest.mark.parametrize("content_type", ["text/event-stream; charset=utf-8", "text/plain", None])
async def test_a_stream_is_known_by_its_label_else_by_its_looks(content_type, split):
    """Whatever part of it comes first."""
    reply = literal("mixlayer/stream-reasoning.sse", content_type=content_type, split=split)

    check(
        "mixlayer/stream-reasoning.sse",
        ANSWERS["mixlayer/stream-reasoning.sse"],
        await answer("mixlayer", reply, stream=True),
    )


def test_the_credits_of_the_page_are_its_dollars():
    """2,000,000 credits are a dollar, in both of the page's answers."""
    for name in ("aiml/answer.json", "aiml/schema-example.json"):
        spent = json.loads((FOLDER / name).read_text())["meta"]["usage"]

        assert spent["usd_spent"] == pytest.approx(spent["credits_used"] / 2_000_000)


async def test_the_price_list_gives_the_page_s_cost_to_the_credit():
    """Without `meta` the estimate is off by less than the rounding of a credit per component."""
    page = {key: value for key, value in PAGE.items() if key != "meta"}

    got = await answer("aiml", Reply(json.dumps(page).encode()), stream=False)

    assert "estimated" == got.cost.source
    assert got.cost.usd == pytest.approx(0.003511, abs=2 / 2_000_000)


async def test_the_headers_report_the_cost_where_the_body_does_not():
    """`meta` may be null; `x-aimlapi-usd-spent` says it too."""
    page = Reply(json.dumps({**PAGE, "meta": None}).encode(), headers={"x-aimlapi-usd-spent": "0.003511000"})

    got = await answer("aiml", page, stream=False)

    assert ("reported", 0.003511) == (got.cost.source, got.cost.usd)


async def test_the_provider_s_ids_are_on_the_answer():
    """The inference id of the headers, and the task's UUID."""
    page = literal("aiml/answer.json", headers={"x-inference-id": "inf-1"})
    got = await answer("aiml", page, stream=False)
    async with replay(literal("runware/sync.json")) as server, router_at(server.base_url, "runware") as router:
        task = await router.complete({"model": MODELS["runware"], "messages": QUESTION})

        assert server.requests[0][0]["taskUUID"] == task.id
    assert ("inf-1", "inf-1") == (got.request_id, got.attempts[0].request_id)


# -- several results --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "texts"), [("runware/sync-two.json", ["One", "Two"]), ("runware/sync-twins.json", ["Yes", "Yes"])]
)
async def test_several_results_are_several_choices(name, texts):
    """Each result is a choice, two that say the same too; usage and cost are those of all."""
    got = await answer("runware", literal(name), stream=False, n=2)
    items = json.loads((FOLDER / name).read_text())["data"]

    assert texts == [choice.content for choice in got.choices]
    assert [0, 1] == [choice.index for choice in got.choices]
    assert "reported" == got.cost.source
    assert got.cost.usd == pytest.approx(sum(item["cost"] for item in items))
    assert 22 == got.usage.total_tokens


async def test_fewer_results_than_asked_are_not_passed_off_as_all():
    """One of two is a failure, or a change that the answer shows."""
    try:
        got = await answer("runware", literal("runware/sync.json"), stream=False, n=2)
    except RouterError:
        return

    assert "n" in [change.param for change in got.changes]


async def test_two_choices_of_a_stream_are_told_apart():
    """By their index."""
    got = await answer("any", literal("any/stream-two-choices.sse"), stream=True, n=2)

    assert [("A", "stop"), ("Bb", "length")] == [(choice.content, choice.finish_reason) for choice in got.choices]


async def test_a_choice_that_was_cut_is_no_success():
    """The first one has ended, the second has not, and the stream is over."""
    with pytest.raises(RouterError) as caught:
        await answer("any", literal("any/stream-two-choices-cut.sse"), stream=False, n=2)

    assert isinstance(the_failure(caught.value), TruncatedReply)


async def test_a_choice_that_is_slower_than_another_is_waited_for(monkeypatch):
    """The grace after a finish reason is for usage and cost; while a choice is still speaking nothing is cut."""
    monkeypatch.setattr("providers.client.GRACE", 0.01)
    got = await answer("any", literal("any/stream-two-choices.sse", split=130, pause=0.03), stream=True, n=2)

    assert [("A", "stop"), ("Bb", "length")] == [(choice.content, choice.finish_reason) for choice in got.choices]


# -- reasoning that was switched off ----------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["complete", "stream"])
@pytest.mark.parametrize("name", ["any/answer-in-reasoning.json", "any/stream-in-reasoning.sse"])
async def test_an_answer_in_the_reasoning_field_is_the_answer(name, stream):
    """With thinking off and no content, the reasoning field holds the answer: surfaced as content, and flagged."""
    got = await answer("any", literal(name), stream=stream, thinking=False)

    assert ("Yes.", None, "stop") == (got.content, got.reasoning_content, got.finish_reason)
    assert [("reasoning_effort", "inverted")] == [(change.param, change.how) for change in got.changes]


@pytest.mark.parametrize("stream", [False, True], ids=["complete", "stream"])
@pytest.mark.parametrize("name", ["any/answer-in-reasoning-tools.json", "any/stream-in-reasoning-tools.sse"])
async def test_reasoning_before_a_tool_call_is_reasoning(name, stream):
    """Also with thinking off, also in a whole answer: the tool call is the answer."""
    got = await answer("any", literal(name), stream=stream, thinking=False)

    assert ("", "I call it.") == (got.content or "", got.reasoning_content)
    assert ["f"] == [call.name for call in got.tool_calls]


# -- failures ---------------------------------------------------------------------------------------------------------


def the_failure(error: BaseException) -> ProviderError:
    """The provider's failure inside whatever the router raised."""
    if isinstance(error, DeploymentsExhausted):
        (inner,) = error.exceptions
        return the_failure(inner)
    if isinstance(error, StreamInterrupted):
        return the_failure(error.error)
    assert isinstance(error, ProviderError)
    return error


class Fails(NamedTuple):
    """What a refusal means."""

    kind: type[ProviderError]
    code: str | None = None
    status: int | None = None  # None: the one in the file's name


ERRORS = {
    "mixlayer/error-model-400.json": Fails(ModelNotFound, "model_not_found"),
    "mixlayer/error-schema-400.json": Fails(BadRequest, "invalid_response_format"),
    "mixlayer/error-media-400.json": Fails(BadRequest, "invalid_media"),
    "mixlayer/error-auth-401.json": Fails(AuthenticationFailed, "authentication_error"),
    "mixlayer/error-permission-403.json": Fails(PermissionDenied, "permission_error"),
    "mixlayer/error-server-500.json": Fails(ServerError, "server_error"),
    "mixlayer/stream-error.sse": Fails(ServerError, "model_server_error", 500),
    "mixlayer/stream-done-only.sse": Fails(EmptyReply, None, 200),
    "mixlayer/stream-nothing.sse": Fails(EmptyReply, None, 200),
    "runware/error-key-401.json": Fails(AuthenticationFailed, "invalidApiKey"),
    "runware/error-balance-402.json": Fails(OutOfCredit, "insufficientCredits"),
    "runware/error-capacity-429.json": Fails(RateLimited, "rateLimit"),
    "runware/error-504.json": Fails(UpstreamTimeout, "failedProviderTimeout"),
    "runware/error-before-stream-503.json": Fails(Overloaded, "noAvailableServer"),
    "runware/error-message-500.json": Fails(ServerError),
    "runware/error-string-500.json": Fails(ServerError),
    "runware/error-moderation-400.json": Fails(ContentBlocked, "providerContentPolicyViolation"),
    "runware/error-model-400.json": Fails(ModelNotFound, "invalidModel"),
    "runware/error-level-400.json": Fails(BadRequest, "invalidThinkingLevel"),
    "runware/error-timeout-200.json": Fails(UpstreamTimeout, "timeoutProvider", 504),
    "runware/error-validation-200.json": Fails(BadRequest, "invalidTemperature", 400),
    "runware/stream-error.sse": Fails(UpstreamTimeout, "timeoutProvider", 504),
    "empiriolabs/error-credit-402.json": Fails(OutOfCredit, "insufficient_credits"),
    "empiriolabs/error-missing_api_key-401.json": Fails(AuthenticationFailed, "missing_api_key"),
    "empiriolabs/error-invalid_api_key-401.json": Fails(AuthenticationFailed, "invalid_api_key"),
    "empiriolabs/error-model_not_found-404.json": Fails(ModelNotFound, "model_not_found"),
    "empiriolabs/error-rate_limit_exceeded-429.json": Fails(RateLimited, "rate_limit_exceeded"),
    "empiriolabs/error-model_unavailable-503.json": Fails(Overloaded, "model_unavailable"),
    "empiriolabs/error-upstream_error-502.json": Fails(ServerError, "upstream_error"),
    "aiml/error-problem-401.json": Fails(AuthenticationFailed, "UnauthorizedException"),
    "aiml/error-legacy-429.json": Fails(OutOfCredit),  # the free hour is used up: waiting a moment does not help
    "aiml/error-credit-403.json": Fails(OutOfCredit),
    "aiml/error-credit-problem-403.json": Fails(OutOfCredit, "ForbiddenException"),
    "aiml/error-enum-400.json": Fails(ModelNotFound),
    "aiml/error-role-400.json": Fails(BadRequest),
    "aiml/error-deprecated-404.json": Fails(ModelNotFound, "NotFoundException"),
    "aiml/error-rate-429.json": Fails(RateLimited),
    "aiml/error-upstream-500.json": Fails(ServerError),
    "aiml/error-maintenance-500.json": Fails(Overloaded),
    "aiml/error-timeout-504.json": Fails(UpstreamTimeout),
    "any/stream-error-string.sse": Fails(ServerError, None, 500),
    "any/page.txt": Fails(ProtocolViolation, None, 200),
    "any/rubbish.txt": Fails(MalformedReply, None, 200),
}
ONCE = (BadRequest, ContentBlocked)  # raised as themselves; all others as a group of one


@pytest.mark.parametrize("stream", [False, True], ids=["complete", "stream"])
@pytest.mark.parametrize("name", ERRORS)
async def test_a_failure_is_what_the_documents_say(name, stream):
    """Its class by the provider's code, its status, its code, and the provider's own bytes."""
    wanted, reply = ERRORS[name], literal(name)
    if name == "any/rubbish.txt":
        reply.content_type = "text/plain"

    with pytest.raises(RouterError) as caught:
        await answer(name.split("/", maxsplit=1)[0], reply, stream=stream)
    failure = the_failure(caught.value)

    assert wanted.kind is type(failure)
    assert (wanted.status or reply.status) == failure.status
    assert wanted.code == failure.code
    assert isinstance(caught.value, DeploymentsExhausted) is not issubclass(wanted.kind, ONCE)
    assert MODELS[name.split("/", maxsplit=1)[0]] in str(caught.value)
    attempts = getattr(caught.value, "attempts", None)
    if attempts is not None:
        assert [(wanted.kind.__name__, failure.status)] == [(one.outcome, one.status) for one in attempts]


@pytest.mark.parametrize("name", [name for name in ERRORS if name.endswith(".json")])
async def test_the_raw_body_of_a_failure_is_kept(name):
    """As the provider sent it, inside HTTP 200 too: JSON stays JSON."""
    reply = literal(name)
    with pytest.raises(RouterError) as caught:
        await answer(name.split("/", maxsplit=1)[0], reply, stream=False)
    kept = json.loads(the_failure(caught.value).body)

    assert set(json.loads(reply.body)) == set(kept)


async def test_an_error_inside_a_chat_200_keeps_its_raw_body_and_its_headers():
    """The bytes are JSON, the request id is the header's, the wait is the one asked for."""
    body = b'{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}'
    with pytest.raises(DeploymentsExhausted) as caught:
        await answer("any", Reply(body, headers={"x-request-id": "r-1", "Retry-After": "7"}), stream=False)
    failure = the_failure(caught.value)

    assert RateLimited is type(failure)
    assert json.loads(body) == json.loads(failure.body)
    assert "r-1" == caught.value.attempts[0].request_id
    assert 7 == failure.retry_after


BROKEN = {
    "mixlayer/stream-cut.sse": (TruncatedReply, "Let me think. "),
    "mixlayer/stream-error-late.sse": (ServerError, "Let me think. "),
    "runware/stream-cut.sse": (TruncatedReply, "Let me think..."),
    "runware/stream-error-late.sse": (ServerError, "Let me think..."),
    "any/stream-abort.sse": (GenerationAborted, None),
}


@pytest.mark.parametrize("split", [0, 5])
@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_stream_is_never_a_success(name, split):
    """Who has seen part of it gets that part back, with the failure; who has not gets the failure."""
    kind, reasoning = BROKEN[name]
    provider = name.split("/", maxsplit=1)[0]
    with pytest.raises(StreamInterrupted) as broken:
        await answer(provider, literal(name, split=split), stream=True)
    with pytest.raises(DeploymentsExhausted) as whole:
        await answer(provider, literal(name, split=split), stream=False)

    assert kind is type(the_failure(broken.value))
    assert kind is type(the_failure(whole.value))
    partial = broken.value.partial
    assert (reasoning or "") in (partial.reasoning_content or "")
    assert partial.content or partial.reasoning_content


async def test_what_is_not_http_is_the_provider_s_failure():
    """aiohttp calls it a response error with status 400; it is not the caller's fault."""
    with pytest.raises(DeploymentsExhausted) as caught:
        await answer("any", Reply(b"", raw=b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), stream=False)

    assert ProtocolViolation is type(the_failure(caught.value))
    assert 400 != the_failure(caught.value).status


@pytest.mark.parametrize("name", ["mixlayer/stream.sse", "runware/stream.sse"])
@pytest.mark.parametrize("stream", [False, True], ids=["complete", "stream"])
async def test_a_stream_that_is_held_open_leaves_no_connection_behind(name, stream):
    """All has been said, the server does not hang up, and the router is closed at once."""
    asyncio.get_running_loop().set_debug(True)  # then aiohttp says which response nobody has closed
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        got = await answer(name.split("/", maxsplit=1)[0], literal(name, holds=True), stream=stream)
        gc.collect()

    check(name, ANSWERS[name], got)
    assert [] == [str(warning.message)[:200] for warning in told]


# -- Runware's tasks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["runware/conflict-400.json", "runware/ack.json", "runware/ack-empty.json"])
@pytest.mark.parametrize("stream", [False, True], ids=["complete", "stream"])
async def test_a_known_task_is_fetched(first, stream):
    """`conflictTaskUUID`, and an acknowledgement, mean: poll for it. An empty poll means: not yet."""
    delivery = {"delivery": "async"} if "ack" in first else {}
    quick = {"polling": {"first": 0.001, "factor": 1, "longest": 0.001}}
    replies = [literal(name) for name in (first, "runware/ack-empty.json", "runware/poll-processing.json")]
    async with replay(*replies, literal("runware/poll-success.json")) as server:
        runware = {"base_url": server.base_url, "api_key": "sk-a-key", **delivery, **quick}
        async with Router.open({"providers": {"runware": runware}}, environ={}) as router:
            request = {"model": MODELS["runware"], "messages": QUESTION}
            if stream:
                got = [chunk async for chunk in router.stream(request)][-1].completion
                assert got is not None
            else:
                got = await router.complete(request)

    task, *polls = [tasks[0] for tasks in server.requests]
    assert ("async" if "ack" in first else "stream" if stream else "sync") == task["deliveryMethod"]
    assert [{"taskType": "getResponse", "taskUUID": task["taskUUID"]}] * 3 == polls
    assert ("Hello", "Hm.", "stop") == (got.content, got.reasoning_content, got.finish_reason)
    assert ("reported", 0.001) == (got.cost.source, got.cost.usd)
    assert 1 == len(got.attempts)


@pytest.mark.parametrize("name", ["runware/poll-error.json", "runware/poll-item-error.json"])
async def test_a_task_that_failed_while_it_was_polled_for(name):
    """`timeoutProvider`, the documented word that no vendor SDK retries, is a time-out of the upstream."""
    printed = (b"24cd5dff-cb81-4db5-8506-b72a9425f9d1", b"a770f077-f413-47de-9dac-be0b26a35da6")
    quick = {"polling": {"first": 0.001, "factor": 1, "longest": 0.001}, "delivery": "async"}
    async with replay(literal("runware/ack.json"), literal(name, printed=printed)) as server:
        runware = {"base_url": server.base_url, "api_key": "sk-a-key", **quick}
        source = {"providers": {"runware": runware}, "policies": {"default": {"attempts": 1}}}
        async with Router.open(source, environ={}) as router:
            with pytest.raises(DeploymentsExhausted) as caught:
                await router.complete({"model": MODELS["runware"], "messages": QUESTION})
    failure = the_failure(caught.value)

    assert (UpstreamTimeout, "timeoutProvider", True) == (type(failure), failure.code, failure.here)


async def test_a_retry_of_a_lost_answer_is_the_same_task():
    """The UUID is derived from the request: sent again, it is the same; another request has another."""
    cut = Reply(b"", raw=b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")
    async with replay(cut, literal("runware/sync.json")) as server:
        backoff = {"initial": "1ms", "max": "1ms"}
        async with router_at(server.base_url, "runware", attempts=2, backoff=backoff) as router:
            request = {"model": MODELS["runware"], "messages": QUESTION}
            first = await router.complete(request)
            await router.complete(request)

    uuids = [tasks[0]["taskUUID"] for tasks in server.requests]
    assert 2 == len(first.attempts)
    assert uuids[0] == uuids[1] != uuids[2]
    assert ["4", "4", "4"] == [uuid[14] for uuid in uuids]


# -- what no document says --------------------------------------------------------------------------------------------

STRANGE: tuple[Any, ...] = (None, 0, -1, 2.5, True, "x", "", [], {}, [1], {"a": 1}, [[]], [None], ["x"], 10**30)


def mutations(value: Any) -> Any:
    """*value* with each of its parts replaced, one at a time, by something else that is JSON."""
    yield from STRANGE
    if isinstance(value, dict):
        for name, part in value.items():
            yield from ({**value, name: strange} for strange in mutations(part))
    elif isinstance(value, list):
        for place, part in enumerate(value):
            yield from ([*value[:place], strange, *value[place + 1 :]] for strange in mutations(part))


WHOLE = [
    "aiml/schema-example.json",
    "mixlayer/answer-tools-null.json",
    "mixlayer/answer-cached.json",
    "empiriolabs/answer.json",
    "runware/sync-reasoning.json",
    "runware/poll-success.json",
    "runware/error-level-400.json",
    "aiml/error-problem-401.json",
]


@pytest.mark.parametrize("name", WHOLE)
def test_json_of_any_shape_is_an_answer_or_the_provider_s_failure(name):
    """Never a TypeError: a caller can only handle what is in the tree, and nothing else fails over."""
    strange: dict[str, str] = {}
    for body in mutations(json.loads((FOLDER / name).read_text())):
        text = json.dumps(body)
        for how in ("whole", "event", "refused"):
            try:
                read_by_reader(name.split("/", maxsplit=1)[0], text, how)
            except ProviderError:
                pass
            except Exception as error:  # noqa: BLE001  # that is what is looked for
                strange.setdefault(f"{how}: {type(error).__name__}: {str(error)[:80]}", text)

    assert {} == strange


def read_by_reader(provider: str, text: str, how: str) -> None:
    """One body through the protocol's reader and the fold, as `Exchange` and `Router` do it."""
    from providers.client import PROTOCOLS, encode
    from providers.types import Folder, Request
    from providers.wire import Poll

    endpoint = ROUTER.config.deployments[MODELS[provider]].endpoint
    call = encode(Request(model="m", messages=QUESTION), endpoint, streaming=how == "event", key="k")
    text = text.replace("a770f077-f413-47de-9dac-be0b26a35da6", call.facts.get("task", ""))
    reader = PROTOCOLS[endpoint.protocol].reader(call)
    if how == "refused":
        reader.refused(400, text.encode(), {})
        return
    found = reader.event(text) if how == "event" else reader.whole(text.encode(), {})
    if isinstance(found, Poll):
        return
    folder = Folder()
    for chunk in [*found, *(reader.end() if how == "event" else ())]:
        assert chunk.content is None or isinstance(chunk.content, str)
        assert chunk.reasoning_content is None or isinstance(chunk.reasoning_content, str)
        folder.add(chunk)
    json.dumps(folder.completion().to_openai())


ROUTER = Router.open(
    {"providers": {name: {"api_key": "sk-a-key"} for name in PRICES}}, environ={}
)  # only its endpoints are looked at


def test_every_payload_is_used():
    """A file that no test reads says nothing."""
    text = (FOLDER / "test_literal_payloads.py").read_text()
    files = sorted(
        path.relative_to(FOLDER).as_posix() for path in FOLDER.glob("*/*.*") if path.suffix in (".json", ".sse", ".txt")
    )

    assert [] == [name for name in files if f'"{name}"' not in text]
