"""Recorded traffic, served again: over the whole pipeline, from a recorder's file to a router's answer."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from router.errors import BadRequest, DeploymentsExhausted, StreamInterrupted
from router.lab import Fault, ProviderLab, Recorder, RecordingError, read_recording
from router.lab.drift import drift
from router.lab.emulators import EMULATORS
from router.lab.recording import Answered, Piece, Recorded, first_line, line_of
from router.lab.virtual import run_virtually
from router.load import load

CHAT = {
    "routes": {
        "chat": {"deployments": ["mixlayer/qwen3.5-27b", {"deployment": "runware/qwen3.5-27b", "priority": 2}]},
    }
}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "17 * 23?"}], "seed": 7}
REQUESTS: dict[str, dict[str, Any]] = {
    "plain": {"model": "chat"},
    "without thinking": {"model": "runware/qwen3.5-27b", "reasoning_effort": "none"},
    "with tools": {"model": "mixlayer/qwen3.5-27b", "tools": [TOOL]},
    "two answers": {"model": "runware/qwen3.5-27b", "n": 2},
    "later": {"model": "runware/qwen3.5-27b", "delivery": "async"},
    "EmpirioLabs": {"model": "empiriolabs/qwen3.5-4b"},
    "AIML": {"model": "aiml/qwen3.6-35b-a3b"},
}


@asynccontextmanager
async def recording_router(file: Path, source: Any, names=("mixlayer", "runware", "empiriolabs", "aiml")):
    from router import Router
    from router.lab import in_memory

    async with in_memory({name: EMULATORS[name](token_delay=0.25, latency=1.0) for name in names}) as lab:
        providers = {name: {"base_url": lab[name].base_url, "api_key": "sk-a-real-key"} for name in names}
        with Recorder(file, transports=lab.transports) as recorder:
            async with Router.open({**source, "providers": providers}, environ={}, transports=recorder) as router:
                yield router, lab


async def told(router, request: dict[str, Any], *, streaming: bool) -> Any:
    """What a caller gets, but for what is new every time."""
    request = {**ASKED, **request}
    if not streaming:
        answer = await router.complete(request)
        return answer.choices, answer.usage, answer.cost, [one.outcome for one in answer.attempts]
    chunks = [chunk async for chunk in router.stream(request)]
    return [
        (one.content, one.reasoning_content, one.tool_calls, one.finish_reason, one.usage, one.cost) for one in chunks
    ]


@pytest.fixture
def lab():
    with ProviderLab(environ={}) as made:
        yield made


@pytest.mark.parametrize(
    ("request_", "streaming"),
    [
        pytest.param(request, streaming, id=f"{name}, {'streamed' if streaming else 'whole'}")
        for name, request in REQUESTS.items()
        for streaming in (False, True)
        if not (streaming and "n" in request)  # Runware streams one answer
    ],
)
def test_what_was_recorded_is_answered_again(tmp_path, lab, request_, streaming):
    """To the character, to the token and to the cent; and nobody is asked who was not."""
    file = tmp_path / "t.jsonl"

    async def record():
        async with recording_router(file, CHAT) as (router, _):
            return await told(router, request_, streaming=streaming)

    before = run_virtually(record())
    lab.use(CHAT)
    lab.replay(file)

    assert before == lab.run(lambda router: told(router, request_, streaming=streaming))
    assert [one.line for one in read_recording(file).exchanges] == [one.replayed for one in lab.requests()]


def test_the_pace_is_the_recorded_one(tmp_path):
    """A second to the headers and four tokens a second; half of it, or none, where that is asked for."""
    file = tmp_path / "t.jsonl"

    async def record():
        async with recording_router(file, CHAT) as (router, _):
            return [await _seconds(router)]

    (took,) = run_virtually(record())
    paced = []
    for pace in (1.0, 0.5, 0.0):
        with ProviderLab(environ={}) as lab:
            lab.use(CHAT)
            lab.replay(file, pace=pace)
            paced.append(lab.run(_seconds))

    assert took[0] > 1.0
    assert took[1] - took[0] > 2.0
    for seconds, pace in zip(paced, (1.0, 0.5, 0.0), strict=True):
        assert [time * pace for time in took] == pytest.approx(seconds, abs=1e-4)


async def _seconds(router) -> tuple[float, float]:
    """When the first chunk of a stream came, and the last one."""
    clock = asyncio.get_running_loop().time
    begun = clock()
    times = [clock() - begun async for _ in router.stream({**ASKED, "model": "chat"})]
    return times[0], times[-1]


def test_a_failover_is_recorded_and_happens_again(tmp_path, lab):
    """The refusal first, then the answer: in their order, and the last one from then on."""
    file = tmp_path / "t.jsonl"

    async def record():
        async with recording_router(file, CHAT) as (router, emulated):
            emulated["mixlayer"].fail(Fault.overloaded)
            await router.complete({**ASKED, "model": "chat"})
            await router.complete({**ASKED, "model": "chat"})

    run_virtually(record())
    lab.use(CHAT)
    lab.replay(file)
    outcomes = [
        [f"{one.deployment.split('/')[0]}: {one.outcome}" for one in lab.complete({**ASKED, "model": "chat"}).attempts]
        for _ in range(3)
    ]

    assert [["mixlayer: Overloaded", "runware: success"], ["mixlayer: success"], ["mixlayer: success"]] == outcomes


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Fault.refuse(), "ConnectionFailed"),
        (Fault.silence(), "ProviderTimeout"),
        (Fault.reset_after(4), "TruncatedReply"),
        (Fault.stall_after(4), "ProviderTimeout"),
        (Fault.malformed_event(3), "MalformedReply"),
        (Fault.framing("\r\n", bom=True), "success"),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
def test_a_broken_exchange_breaks_again(tmp_path, lab, fault, outcome):
    """In the same place, and with the same bytes before it."""
    file = tmp_path / "t.jsonl"
    policy = {
        "attempts": 1,
        "timeouts": {"headers": "5s", "first_token": "5s", "idle": "5s"},
        "on_interruption": "error",
    }
    source = {"routes": {"chat": {"deployments": ["mixlayer/qwen3.5-27b"], "policy": policy}}}

    async def ask(router):
        seen = ""
        try:
            async for chunk in router.stream({**ASKED, "model": "chat"}):
                seen += (chunk.reasoning_content or "") + (chunk.content or "")
        except StreamInterrupted as error:
            return seen, [one.outcome for one in error.partial.attempts]
        except DeploymentsExhausted as error:
            return seen, [one.outcome for one in error.attempts]
        return seen, ["success"]

    async def record():
        async with recording_router(file, source) as (router, emulated):
            emulated["mixlayer"].fail(fault)
            return await ask(router)

    before = run_virtually(record())
    lab.use(source)
    lab.replay(file)

    assert [outcome] == before[1]
    assert before == lab.run(ask)


@pytest.fixture
def streamed(tmp_path, lab):
    """A lab that has one stream of Mixlayer's recorded."""
    file = tmp_path / "t.jsonl"

    async def record():
        async with recording_router(file, CHAT) as (router, _):
            await told(router, {"model": "chat"}, streaming=True)

    run_virtually(record())
    lab.use({"routes": {"chat": {"deployments": ["mixlayer/qwen3.5-27b"], "policy": {"on_interruption": "error"}}}})
    lab.replay(file)
    return lab


def test_a_fault_works_on_a_recorded_stream(streamed):
    """What if *this* stream had broken after five events."""
    streamed.mixlayer.fail(Fault.cut_after(5, clean=False), times=None)
    with pytest.raises(StreamInterrupted) as broken:
        streamed.stream({**ASKED, "model": "chat"})

    assert "The user says: 17 " == broken.value.partial.reasoning_content


def test_a_fault_at_arrival_uses_no_recorded_answer_up(streamed):
    """The provider's own words, and then the recording."""
    streamed.mixlayer.fail(Fault.rate_limited)
    chunks = streamed.stream({**ASKED, "model": "chat"})

    assert ["RateLimited", "success"] == [one.outcome for one in chunks[-1].completion.attempts]
    assert [None, 2] == [one.replayed for one in streamed.requests("mixlayer")]


def test_a_fault_that_shapes_answers_waits_for_one_that_is_made(streamed):
    """A recorded answer was made long ago."""
    streamed.mixlayer.fail(Fault.think_in_content)
    streamed.mixlayer.replay(read_recording(_file_of(streamed)), otherwise="generate")
    left = []
    for seed in (7, 8):
        streamed.stream({**ASKED, "model": "chat", "seed": seed})
        left.append(len(streamed.mixlayer._faults))

    assert [2, None] == [one.replayed for one in streamed.requests("mixlayer")]
    assert [1, 0] == left


def _file_of(lab) -> Path:
    return Path(lab.mixlayer._replay._name)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"temperature": 0.6}, "the nearest is line 2, and differs in temperature (not recorded, asked 0.6)"),
        ({"seed": 8}, "differs in seed (recorded 7, asked 8)"),
        ({"seed": None}, "differs in seed (recorded 7, not asked)"),
        ({"messages": [{"role": "user", "content": "2?"}]}, 'messages[0].content (recorded "17 * 23?", asked "2?")'),
    ],
)
def test_what_was_not_recorded_is_refused_and_told(streamed, asked, said):
    """With the nearest recorded request, and every field that differs. No other provider is asked in its place."""
    streamed.use(CHAT)
    with pytest.raises(BadRequest) as refused:
        streamed.stream({**ASKED, "model": "chat", **asked})

    assert "not_recorded" == refused.value.code
    assert said in refused.value.message
    assert [] == streamed.requests("runware")


def test_whole_and_streamed_are_two_requests(streamed):
    """Each is recorded by itself."""
    with pytest.raises(BadRequest, match=r"stream \(recorded true, not asked\)"):
        streamed.complete({**ASKED, "model": "chat"})


def test_what_was_not_recorded_can_be_made_up(streamed):
    """The emulator answers by itself, and bills it."""
    streamed.mixlayer.replay(read_recording(_file_of(streamed)), otherwise="generate")
    streamed.stream({**ASKED, "model": "chat"})
    streamed.complete({**ASKED, "model": "chat", "messages": [{"role": "user", "content": "2?"}]})

    assert [2, None] == [one.replayed for one in streamed.requests("mixlayer")]
    assert [streamed.requests("mixlayer")[1]] == [one.request for one in streamed.invoices("mixlayer")]


def test_a_recording_of_somebody_else_is_refused(streamed):
    """With whom it has."""
    with pytest.raises(RecordingError, match="nothing in it went to 'runware'; it has mixlayer"):
        streamed.runware.replay(_file_of(streamed))


def test_the_same_task_is_asked_after_under_its_new_name(tmp_path, lab):
    """Two tasks under way at once: each poll gets what was recorded of its own task."""
    file = tmp_path / "t.jsonl"
    questions = [{**ASKED, "messages": [{"role": "user", "content": text}]} for text in ("one", "two")]
    later = {"model": "runware/qwen3.5-27b", "delivery": "async"}

    async def both(router):
        answers = await asyncio.gather(*(router.complete({**question, **later}) for question in questions))
        return [answer.content for answer in answers]

    async def record():
        async with recording_router(file, {}) as (router, _):
            return await both(router)

    before = run_virtually(record())
    lab.replay(file)

    assert ["You said: one", "You said: two"] == before
    assert before == lab.run(both)


def test_an_answer_that_was_withheld_cannot_be_given(tmp_path, lab):
    """And the refusal says so."""
    file = tmp_path / "t.jsonl"
    withheld = Recorded("mixlayer", "POST", "/chat/completions", None, response=Answered(200), withheld="too large")
    file.write_bytes(first_line() + line_of(withheld))
    lab.replay(file)

    with pytest.raises(BadRequest, match=r"1 exchanges have no body in it\): nothing that went to this provider"):
        lab.complete({**ASKED, "model": "mixlayer/qwen3.5-27b"})


def test_a_provider_without_an_emulator_of_its_own(tmp_path, lab):
    """Its recording says what it speaks; so a file can be served without the configuration that it came from."""
    file = tmp_path / "t.jsonl"
    body = {"model": "m", "messages": ASKED["messages"]}
    answer = b'{"id":"1","model":"m","choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}'
    said = Answered(200, {"Content-Type": "application/json"}, 0.0, (Piece(0.0, answer),))
    file.write_bytes(first_line() + line_of(Recorded("my-vllm", "POST", "/chat/completions", body, response=said)))
    lab.use(
        {
            "providers": {"my-vllm": {"protocol": "chat_completions", "base_url": "http://127.0.0.1:1/v1"}},
            "models": {"mine": {"deployments": [{"provider": "my-vllm", "model": "m"}]}},
        }
    )
    lab.replay(file)

    assert "hi" == lab.complete({"model": "mine", "messages": ASKED["messages"]}).content


@pytest.mark.parametrize("cut", [(5_000_000,), (0, 10, 10, 5_000_000)], ids=["one piece", "with empty pieces"])
def test_a_large_answer(tmp_path, lab, cut):
    """One that is parsed beside the event loop, where there are threads; and pieces with nothing in them."""
    text = "x" * (cut[-1] - 1_000_000 + 500_000)
    answer = b'{"id":"1","choices":[{"index":0,"message":{"content":"' + text.encode() + b'"},"finish_reason":"stop"}]}'
    edges = [0, *(min(one, len(answer)) for one in cut), len(answer)]
    pieces = tuple(Piece(0.0, answer[a:b]) for a, b in pairwise(edges))
    body = {"model": "qwen/qwen3.5-27b", "messages": ASKED["messages"], "seed": 7}
    said = Answered(200, {"Content-Type": "application/json"}, 0.0, pieces)
    file = tmp_path / "t.jsonl"
    file.write_bytes(first_line() + line_of(Recorded("mixlayer", "POST", "/chat/completions", body, response=said)))
    lab.replay(file)

    assert text == lab.complete({**ASKED, "model": "mixlayer/qwen3.5-27b"}).content
    assert [] == [one.code for one in drift(read_recording(file), load(None, environ={}))]
