"""Recording at the seam of the transport: all that went over the wire is in the file, and no key, wherever one came up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import stat
from collections.abc import Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from router import Router
from router.errors import BadRequest, DeploymentsExhausted, RouterError, StreamInterrupted
from router.lab import Fault, Recorder, RecordingError, in_memory, read_recording
from router.lab.emulators import EMULATORS
from router.lab.recording import first_line
from router.lab.virtual import run_virtually
from tests.test_secrets import CANARY, MODELS, PIECES, QUESTION
from tests.wire.replay import Reply, replay


@asynccontextmanager
async def recorded(
    file, *names: str, source: Mapping[str, Any] | None = None, recorder: Mapping[str, Any] | None = None
):
    """A router over emulators in memory, whose keys are canaries, and its recorder."""
    async with in_memory({name: EMULATORS[name](token_delay=0.5) for name in names}) as lab:
        providers = {name: {"base_url": lab[name].base_url, "api_key": CANARY} for name in names}
        routes = {"chat": {"deployments": [MODELS[name] for name in names]}}
        written = {"providers": providers, "routes": routes, **(source or {})}
        with Recorder(file, transports=lab.transports, **(recorder or {})) as made:
            async with Router.open(written, environ={}, transports=made) as router:
                yield router, lab, made


async def answer(router: Router, *, streaming: bool):
    """The answer to one question, whichever way it comes."""
    request = {"model": "chat", "messages": QUESTION}
    if streaming:
        return [chunk async for chunk in router.stream(request)][-1].completion
    return await router.complete(request)


def leaks(file) -> list[str]:
    text = file.read_text("utf-8")
    return [piece for piece in PIECES if piece in text]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
def test_what_was_sent_and_what_came_is_in_the_file(tmp_path, name, streaming):
    """Method, path, body, status, every byte of the answer and when it came; and no key."""
    file = tmp_path / "t.jsonl"

    async def ask():
        async with recorded(file, name) as (router, lab, _):
            return await answer(router, streaming=streaming), lab[name].requests

    got, received = run_virtually(ask())
    (one,) = read_recording(file).exchanges
    assert one.response is not None
    said = one.response.body.decode()

    assert (name, "POST", "whole", 200) == (one.provider, one.method, one.ended, one.response.status)
    assert received[0].path == "/v1" + one.path
    assert received[0].body == one.body
    assert got.id in said
    assert "You" in said
    assert {"Content-Type", "Accept"} == set(one.headers)
    assert "Content-Type" in one.response.headers
    # Two tokens a second, and nothing else takes time: the pace is in the file.
    took = sum(piece.after for piece in one.response.pieces)
    assert (took > 2.0) is streaming
    assert [] == leaks(file)


def test_a_recorded_answer_is_the_answer(tmp_path):
    """Whoever records gets what he would have got."""

    async def ask(file):
        async with recorded(file, "mixlayer", "runware") as (router, lab, _):
            lab["mixlayer"].fail(Fault.cut_after(4, clean=False), times=2)
            request = {"model": "chat", "messages": QUESTION}
            chunks = [chunk async for chunk in router.stream(request)]
            return [(chunk.content, chunk.reasoning_content, chunk.finish_reason) for chunk in chunks]

    async def ask_plainly():
        async with in_memory({name: EMULATORS[name](token_delay=0.5) for name in ("mixlayer", "runware")}) as lab:
            lab["mixlayer"].fail(Fault.cut_after(4, clean=False), times=2)
            providers = {name: {"base_url": lab[name].base_url, "api_key": CANARY} for name in ("mixlayer", "runware")}
            routes = {"chat": {"deployments": ["mixlayer/qwen3.5-27b", "runware/qwen3.5-27b"]}}
            async with Router.open(
                {"providers": providers, "routes": routes}, environ={}, transports=lab.transports
            ) as router:
                chunks = [chunk async for chunk in router.stream({"model": "chat", "messages": QUESTION})]
                return [(chunk.content, chunk.reasoning_content, chunk.finish_reason) for chunk in chunks]

    assert run_virtually(ask_plainly()) == run_virtually(ask(tmp_path / "t.jsonl"))


@pytest.mark.parametrize(
    ("fault", "ended", "kind", "streaming"),
    [
        (Fault.overloaded(), "whole", None, False),
        (Fault.refuse(), "failed", "ConnectionFailed", False),
        (Fault.silence(), "left", None, False),
        (Fault.cut_after(4, clean=False), "failed", "TruncatedReply", True),
        (Fault.stall_after(4), "left", None, True),
        (Fault.garbage(), "failed", "ProtocolViolation", False),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else str(value),
)
def test_how_an_exchange_ended_is_in_the_file(tmp_path, fault, ended, kind, streaming):
    """Also one that the router itself left, after its time limits."""
    file = tmp_path / "t.jsonl"

    async def ask():
        policy = {"attempts": 1, "timeouts": {"headers": "5s", "idle": "5s"}, "on_interruption": "error"}
        route = {"deployments": ["mixlayer/qwen3.5-27b"], "policy": policy}
        async with recorded(file, "mixlayer", source={"routes": {"chat": route}}) as (router, lab, _):
            lab["mixlayer"].fail(fault)
            with pytest.raises((DeploymentsExhausted, StreamInterrupted)):
                await answer(router, streaming=streaming)

    run_virtually(ask())
    (one,) = read_recording(file).exchanges

    assert (ended, kind) == (one.ended, one.failure and one.failure.kind)


def test_a_canceled_call_is_left_and_stays_canceled(tmp_path):
    """A CancelledError is written down and passed on."""
    file = tmp_path / "t.jsonl"

    async def ask():
        async with recorded(file, "mixlayer") as (router, lab, _):
            lab["mixlayer"].fail(Fault.silence())
            task = asyncio.ensure_future(router.complete({"model": "chat", "messages": QUESTION}))
            await asyncio.sleep(3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run_virtually(ask())

    assert ["left"] == [one.ended for one in read_recording(file).exchanges]


ESCAPED = json.dumps({"error": {"message": f"Bearer {CANARY}"}}).replace("/", "\\u002f")
SPELLED = "".join(
    f'data: {{"id":"1","choices":[{{"index":0,"delta":{{"content":"{CANARY[at : at + 3]}"}}}}]}}\n\n'
    for at in range(0, len(CANARY), 3)
)
FINISH = 'data: {"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
WHOLE = {
    "id": CANARY,
    "choices": [{"index": 0, "message": {"content": f"Your key is {CANARY}"}, "finish_reason": "stop"}],
}
ECHOES = {
    "a refusal": Reply(
        json.dumps({"error": {"message": f"Incorrect API key: {CANARY}", "code": CANARY}}).encode(), 401
    ),
    "a refusal that is no JSON": Reply(f"<html>{CANARY}</html>".encode(), 500, "text/html"),
    "a refusal in small pieces": Reply(f'{{"error": "{CANARY}"}}'.encode(), 401, split=5),
    "an answer": Reply(json.dumps(WHOLE).encode()),
    "a name in an answer": Reply(json.dumps({**WHOLE, CANARY: 1}).encode()),
    "a header": Reply(b"{}", 429, headers={"X-Request-Id": CANARY, "X-RateLimit-Key": CANARY, "Set-Cookie": CANARY}),
    "a redirect": Reply(b"", 307, headers={"Location": f"https://elsewhere.test/?key={CANARY}"}),
    "an event": Reply((f'data: {{"id":"{CANARY}"}}\n\n' + FINISH).encode(), content_type="text/event-stream"),
    "a comment": Reply((f": {CANARY}\n\n" + FINISH).encode(), content_type="text/event-stream"),
    "many events": Reply((SPELLED + FINISH).encode(), content_type="text/event-stream"),
    "a stream that breaks": Reply(SPELLED[:200].encode(), content_type="text/event-stream", holds=True),
    "a body that is cut inside": Reply(f'{{"error": "{CANARY[:-4]}'.encode(), 500),
    "rubbish": Reply(b"", raw=f"HTTP/1.1 {CANARY} {CANARY}\r\n\r\n".encode()),
}


@pytest.mark.parametrize("reply", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
async def test_a_key_that_comes_back_is_not_in_the_file(tmp_path, reply, streaming):
    """Whichever way the provider echoes it; what cannot be mended is withheld."""
    file = tmp_path / "t.jsonl"
    async with replay(reply) as server:
        written = {
            "providers": {"any": {"protocol": "chat_completions", "base_url": server.base_url, "api_key": CANARY}},
            "models": {"m": {"deployments": [{"provider": "any", "model": "m"}]}},
            "policies": {"default": {"attempts": 1, "timeouts": {"first_token": "200ms", "idle": "200ms"}}},
            "routes": {"chat": {"deployments": ["any/m"]}},
        }
        with Recorder(file) as recorder:
            async with Router.open(written, environ={}, transports=recorder) as router:
                with contextlib.suppress(RouterError):
                    await answer(router, streaming=streaming)

    assert [] == leaks(file)
    assert 1 == len(read_recording(file))


async def test_an_answer_that_spells_out_a_key_is_withheld(tmp_path):
    """Three characters an event: it is in no single one, and there would be nothing to take out."""
    async with replay(ECHOES["many events"]) as server:
        written = {
            "providers": {"any": {"protocol": "chat_completions", "base_url": server.base_url, "api_key": CANARY}},
            "models": {"m": {"deployments": [{"provider": "any", "model": "m"}]}},
        }
        with Recorder(tmp_path / "t.jsonl") as recorder:
            async with Router.open(written, environ={}, transports=recorder) as router:
                chunks = [chunk async for chunk in router.stream({"model": "m", "messages": QUESTION})]
    (one,) = read_recording(tmp_path / "t.jsonl").exchanges

    assert CANARY == "".join(chunk.content or "" for chunk in chunks)
    assert "a key is spelled out in the answer" == one.withheld
    assert one.response is not None
    assert ((), None) == (one.response.pieces, one.body)


@pytest.mark.parametrize(
    "asked",
    [
        {"messages": [{"role": "user", "content": f"my key is {CANARY}"}]},
        {"extra": {"metadata": {CANARY: CANARY}}},
        {"extra": {"apiKey": "sk-another-key-of-mine"}},
        {"user": CANARY},
    ],
    ids=["prompt", "extra", "a field that is called so", "user"],
)
def test_a_key_that_the_caller_sends_is_not_in_the_file(tmp_path, asked):
    """In a prompt, or in a field of his own."""
    file = tmp_path / "t.jsonl"

    async def ask():
        async with recorded(file, "mixlayer") as (router, _, _):
            with contextlib.suppress(BadRequest):
                await router.complete({"model": "chat", "messages": QUESTION, "fidelity": "best_effort", **asked})

    run_virtually(ask())

    assert [] == leaks(file)
    assert "sk-another" not in file.read_text("utf-8")
    assert 1 == len(read_recording(file))


def test_hidden_headers_and_addresses_are_not_in_the_file(tmp_path):
    """A header of the user's own that is called like a secret, a key in the path, and what follows a question mark."""
    file = tmp_path / "t.jsonl"

    async def ask():
        async with in_memory({"openai": EMULATORS["openai"]()}) as lab:
            provider = {
                "protocol": "chat_completions",
                "base_url": f"{lab['openai'].base_url}/{CANARY}",
                "api_key": "sk-the-key-itself",
                "headers": {"X-Auth-Token": CANARY, "X-Team": "blue"},
            }
            models = {"m": {"deployments": [{"provider": "mine", "model": "m"}]}}
            with Recorder(file, transports=lab.transports) as recorder:
                async with Router.open(
                    {"providers": {"mine": provider}, "models": models}, environ={}, transports=recorder
                ) as router:
                    with pytest.raises(DeploymentsExhausted):
                        await router.complete({"model": "m", "messages": QUESTION})

    run_virtually(ask())

    assert [] == leaks(file)
    assert "blue" not in file.read_text("utf-8")
    assert "the-key" not in file.read_text("utf-8")
    assert ["/chat/completions"] == [one.path for one in read_recording(file).exchanges]


def test_more_secrets_can_be_named(tmp_path):
    """Of whom the configuration knows nothing."""
    file = tmp_path / "t.jsonl"

    async def ask():
        async with recorded(file, "mixlayer", recorder={"secrets": ["hush-hush"]}) as (router, _, _):
            await router.complete({"model": "chat", "messages": [{"role": "user", "content": "say hush-hush"}]})

    run_virtually(ask())

    assert "hush-hush" not in file.read_text("utf-8")
    assert "say ***" in file.read_text("utf-8")


# -- the file ---------------------------------------------------------------------------------------------------------


def ask_once(file, **how):
    async def ask():
        async with recorded(file, "mixlayer", recorder=how) as (router, _, recorder):
            await router.complete({"model": "chat", "messages": QUESTION})
            return recorder

    return run_virtually(ask())


def test_a_recording_is_continued(tmp_path):
    """A second run writes behind the first, also behind a line that was cut."""
    file = tmp_path / "t.jsonl"
    ask_once(file)
    ask_once(file)
    whole = len(read_recording(file))
    file.write_bytes(file.read_bytes() + b'{"provider"')
    ask_once(file)

    assert 2 == whole
    assert [True, True, False, True] == [_is_json(line) for line in file.read_text("utf-8").splitlines()[1:]]


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def test_prompts_are_for_the_owner_alone(tmp_path):
    """Nobody else on the machine can read them."""
    ask_once(tmp_path / "t.jsonl")

    assert 0o600 == stat.S_IMODE((tmp_path / "t.jsonl").stat().st_mode)


@pytest.mark.parametrize(
    ("content", "said"),
    [("routes: {}\n", "not recorded traffic"), ('{"format": "provider-router traffic", "version": 2}\n', "2")],
)
def test_another_file_is_not_written_to(tmp_path, content, said):
    """It stays as it is."""
    file = tmp_path / "routes.yaml"
    file.write_text(content)

    with pytest.raises(RecordingError, match=said):
        Recorder(file)
    assert content == file.read_text()


def test_a_place_that_cannot_be_written_is_said_at_once(tmp_path):
    """Before anything is asked."""
    with pytest.raises(RecordingError, match="cannot be written"):
        Recorder(tmp_path)


def test_a_full_file_stops_the_recording_and_nothing_else(tmp_path, caplog):
    """The request is answered; the log says so, once."""
    file = tmp_path / "t.jsonl"
    with caplog.at_level(logging.WARNING, "router"):
        recorder = ask_once(file, most=200)

    assert "is full: 200 bytes" in recorder.stopped
    assert 0 == recorder.recorded
    assert 1 == sum("nothing more is recorded" in record.getMessage() for record in caplog.records)
    assert first_line() == file.read_bytes()


def test_a_disk_that_fails_stops_the_recording_and_nothing_else(tmp_path, monkeypatch):
    """An answer is worth more than its record."""

    def fail(descriptor, data):
        raise OSError(28, "No space left on device")

    recorder = None

    async def ask():
        nonlocal recorder
        async with recorded(tmp_path / "t.jsonl", "mixlayer") as (router, _, recorder):
            monkeypatch.setattr("router.lab.recorder.os.write", fail)
            return await router.complete({"model": "chat", "messages": QUESTION})

    assert "You said" in run_virtually(ask()).content
    assert recorder is not None
    assert "No space left" in recorder.stopped


def test_what_is_too_large_is_withheld(tmp_path):
    """The exchange is in the file, its bodies are not, and what is held meanwhile is bounded."""
    file = tmp_path / "t.jsonl"
    ask_once(file, most_each=50)
    (one,) = read_recording(file).exchanges

    assert "larger than 50 bytes" == one.withheld
    assert one.body is None
    assert one.response is not None
    assert (200, ()) == (one.response.status, one.response.pieces)
