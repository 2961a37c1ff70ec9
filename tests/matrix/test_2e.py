"""Fault matrix 2.E: streams."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import time
import tracemalloc
import zlib
from functools import cache
from typing import Any

import pytest

from providers.client import PROTOCOLS, encode
from providers.sse import EventParser, LimitExceeded
from providers.types import Chunk, Completion, Request, fold
from providers.wire import Call
from router.errors import (
    BadRequest,
    MalformedReply,
    Overloaded,
    ProviderTimeout,
    RateLimited,
    ServerError,
    StreamInterrupted,
    TruncatedReply,
)
from tests.matrix.raw import (
    DONE,
    END,
    FINISH,
    KEY,
    OK,
    PRICE,
    ROLE,
    SSE,
    TEXT,
    THOUGHT,
    Line,
    Scene,
    Script,
    answers,
    chunk,
    delta,
    event,
    forever,
    says,
    scene,
    sized,
    streams,
    to_b,
    usage,
    whole,
)
from tests.providers.test_transport_errors import endpoint
from tests.router.stage import REQUEST, Heard, soon

WORDS = [delta(word) for word in ("It ", "is ", "391", ".")]
GOOD = [ROLE, *WORDS, FINISH, DONE]
RECOVER = {"on_interruption": "recover"}
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]


async def interrupted(script: Script, kind: type[Exception], seen: str, **policy: Any) -> StreamInterrupted:
    """The E5 rule: the caller gets what broke the stream, and in `partial` exactly what he has seen; b is not asked."""
    async with scene(script, answers(), policy=policy, rows={"price": PRICE}) as on:
        heard = await on.ask(streaming=True)

        assert isinstance(heard.error, StreamInterrupted), heard.error
        assert kind is type(heard.error.error)
        assert kind is type(heard.error.__cause__)
        assert [1, 0] == on.counts
        assert (seen, seen) == (heard.content, heard.error.partial.content)
        assert [kind.__name__] == on.outcomes == [attempt.outcome for attempt in heard.error.attempts]
        assert all(part.finish_reason is None and part.completion is None for part in heard.chunks)
        assert heard.error.partial.usage.completion_tokens
        assert "estimated" == heard.error.partial.cost.source
        assert heard.error.partial.cost.usd
        assert KEY not in repr(heard.error) + str(heard.error)
        await on.at_rest()
        return heard.error


async def served(script: Script, *, streaming: bool = True, **more: Any) -> Heard:
    """A success of the only deployment."""
    async with scene(script, **more) as on:
        heard = await on.ask(streaming=streaming)

        assert None is heard.error, heard.error
        assert ["success"] == on.outcomes
        assert (heard.content or None) == (heard.answer.content or None)
        assert (heard.reasoning or None) == heard.answer.reasoning_content
        await on.at_rest()
        return heard


@cache
def asked() -> Call:
    """A streamed call whose answer is read without a socket."""
    return encode(Request.of(REQUEST), endpoint("http://x.test"), streaming=True)


def read(raw: bytes, size: int) -> Completion:
    """The answer in *raw*, fed to parser and reader *size* bytes at a time."""
    parser, reader = EventParser(), PROTOCOLS["chat_completions"].reader(asked())
    chunks: list[Chunk] = []
    for at in range(0, len(raw), size):
        for found in parser.feed(raw[at : at + size]):
            more = reader.event(found.data)
            assert isinstance(more, list)
            chunks += more
    return fold([*chunks, *reader.end()])


@pytest.mark.parametrize("ending", ["close", "reset"])
@pytest.mark.parametrize("events", [[], [ROLE], [ROLE, b": ping\n\n", delta("")]], ids=["none", "role", "empty delta"])
async def test_e1_broken_before_the_first_word(ending, events):
    """The caller's iterator shows B's events alone."""
    raw = SSE + b"".join(map(chunk, events))
    await to_b(says(raw, ending=ending), ("TruncatedReply", "EmptyReply"), streaming=True)


@pytest.mark.parametrize("events", [[], [ROLE]], ids=["first", "after the role"])
@pytest.mark.parametrize(
    ("code", "outcome"), [(503, "Overloaded"), (429, "RateLimited"), (None, "ServerError")], ids=str
)
async def test_e2_an_error_as_the_first_event(events, code, outcome):
    """As its status: to B."""
    failure = event({"error": {"message": "no", **({"code": code} if code else {})}})
    await to_b(streams(*events, failure, DONE), outcome, streaming=True)


async def test_e2_a_callers_error_as_the_first_event():
    """As its status: the caller's, as itself."""
    async with scene(streams(event({"error": {"code": 400, "message": "bad"}})), answers()) as on:
        heard = await on.ask(streaming=True)

        assert (BadRequest, [1, 0]) == (type(heard.error), on.counts)


async def test_e3_a_json_error_in_place_of_a_stream():
    """As an error inside 200 of a whole answer."""
    raw = sized(b'{"error": {"code": 429, "message": "slow down"}}')
    await to_b(says(raw), "RateLimited", streaming=True)


@pytest.mark.parametrize("label", [b"application/json", b"text/event-stream"])
async def test_e4_a_whole_answer_in_place_of_a_stream(label):
    """One delta and the end, usage kept; even where the label lies."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: " + label + b"\r\n"
    heard = await served(says(sized(whole(usage=usage()), head=head)))

    assert TEXT == heard.content
    assert ["stop"] == [part.finish_reason for part in heard.chunks if part.finish_reason]
    assert (9, 7, False) == (
        heard.answer.usage.prompt_tokens,
        heard.answer.usage.completion_tokens,
        heard.answer.usage.estimated,
    )


async def test_e5_reset_after_words():
    """`on_interruption: error`, because the default of this project is `recover`: nothing is replayed."""
    await interrupted(streams(*GOOD[:4], ending="reset"), TruncatedReply, "It is 391")


async def test_e5_the_default_recovers():
    """The default: the same answer from B, joined where the first one broke, seam and both attempts on record."""
    script = streams(delta(reasoning_content=THOUGHT), *GOOD[:4], ending="reset")
    async with scene(script, answers(), policy=RECOVER) as on:
        heard = await on.ask(streaming=True)

        assert None is heard.error
        assert (TEXT, THOUGHT) == (heard.content, heard.reasoning)
        assert [1, 1] == on.counts
        assert ["TruncatedReply", "success"] == on.outcomes
        (seam,) = heard.answer.seams
        assert ("a/m", "b/m", "spliced") == (seam.before, seam.after, seam.how)
        assert (len(THOUGHT), len("It is 391")) == (seam.reasoning, seam.content)
        await on.at_rest()


async def test_e6_a_clean_end_without_a_terminal_signal():
    """A `TruncatedReply`: not a success, and no `finish_reason` is made up."""
    await interrupted(streams(*GOOD[:4]), TruncatedReply, "It is 391")


async def test_e7_finish_reason_without_done():
    """A success."""
    heard = await served(streams(*GOOD[:-1]))

    assert (TEXT, "stop") == (heard.content, heard.answer.finish_reason)


async def test_e8_done_without_finish_reason():
    """A success whose reason is unknown."""
    heard = await served(streams(*GOOD[:-2], DONE))

    assert (TEXT, "unknown") == (heard.content, heard.answer.finish_reason)


@pytest.mark.virtual
async def test_e9_held_open_after_done():
    """The iterator ends at once; what is left is drained for 100 ms and then closed, not leaked."""
    done, loop = 0.0, asyncio.get_running_loop()

    async def script(line: Line) -> None:
        nonlocal done
        await line.say(SSE + b"".join(map(chunk, GOOD)))
        done = loop.time()
        await line.hang()

    async with scene(script) as on:
        heard = await on.ask(streaming=True)

        assert loop.time() - done < 0.001
        assert None is heard.error
        assert TEXT == heard.content
        assert await soon(lambda: on.connections == 0 and on.a.open == 0, 0.11)


async def test_e10_twenty_streams_two_connections():
    """Read to the end, a connection is used again."""
    async with scene(answers()) as on:
        for _ in range(20):
            assert TEXT == (await on.ask(streaming=True)).content

        assert [20] == on.counts
        assert on.a.connections <= 2


async def test_e11_an_error_event_in_the_middle():
    """With the provider's own code."""
    failure = event({"error": {"code": "server_error", "message": "gave up"}})
    error = await interrupted(streams(*GOOD[:4], failure, DONE), ServerError, "It is 391")

    assert "server_error" == error.error.code  # type: ignore[attr-defined]


IDLE: dict[str, Any] = {"timeouts": {"connect": "1s", "headers": "1s", "first_token": "1s", "idle": "80ms"}}
FIRST: dict[str, Any] = {"timeouts": {"connect": "1s", "headers": "1s", "first_token": "80ms", "idle": "1s"}}


@pytest.mark.virtual
async def test_e12_a_stall_in_the_middle():
    """The idle limit ends it, and what was seen is kept."""
    began = asyncio.get_running_loop().time()
    error = await interrupted(streams(*GOOD[:4], ending="hang"), ProviderTimeout, "It is 391", **IDLE)

    assert "idle" == error.error.phase  # type: ignore[attr-defined]
    assert 0.08 <= asyncio.get_running_loop().time() - began < 0.1


@pytest.mark.virtual
@pytest.mark.parametrize("ping", [b": ping\n\n", ROLE, event({"choices": []}), b"event: ping\n\n"], ids=len)
async def test_e13_pings_for_ever_in_the_middle(ping):
    """Bytes flow, nothing is said: the idle limit counts what means something."""
    script = forever(chunk(ping), SSE + b"".join(map(chunk, GOOD[:4])), pause=0.005)
    error = await interrupted(script, ProviderTimeout, "It is 391", **IDLE)

    assert "idle" == error.error.phase  # type: ignore[attr-defined]


@pytest.mark.virtual
@pytest.mark.parametrize("ping", [b": PROCESSING\n\n", ROLE, event({"choices": []})], ids=len)
async def test_e14_pings_before_the_first_word(ping):
    """The limit for the first token ends it: to B."""
    found = await to_b(forever(chunk(ping), SSE, pause=0.005), "ProviderTimeout", streaming=True, **FIRST)

    assert "first_token" == found.failed.error.phase  # type: ignore[union-attr]
    assert 0.07 <= found.failed.duration < 0.3


def framed(*newlines: str, events: list[bytes] = GOOD) -> bytes:
    """The events with these line ends, in turn."""
    ends = [newline.encode() for newline in newlines]
    return b"".join(part.replace(b"\n", ends[place % len(ends)]) for place, part in enumerate(events))


@pytest.mark.parametrize("newline", ["\n", "\r", "\r\n"], ids=repr)
async def test_e15_line_ends(newline):
    """Over a socket, byte by byte: the same answer."""
    raw = framed(newline)
    heard = await served(says(SSE + b"".join(chunk(raw[at : at + 1]) for at in range(len(raw))), END))

    assert (TEXT, "stop") == (heard.content, heard.answer.finish_reason)


@pytest.mark.parametrize("newlines", ["\n", "\r", ["\r\n"], ["\r\n", "\n", "\r"]], ids=repr)
def test_e15_every_split(newlines):
    """In pieces of every size: the same answer. Appendix A in every split is in tests/providers/test_sse.py."""
    two_lines = delta("§ 391 — ").replace(b' "choices"', b'\ndata: "choices"')
    events = [ROLE, delta(reasoning_content="¿"), two_lines, delta("三"), FINISH, DONE]
    raw = framed(*newlines, events=events)
    answers_read = [read(raw, size) for size in range(1, len(raw) + 1)]

    assert {("§ 391 — 三", "¿", "stop")} == {
        (one.content, one.reasoning_content, one.finish_reason) for one in answers_read
    }


async def test_e16_byte_order_marks():
    """The first one is dropped; a later one makes an unknown field of its line, as the standard says."""
    bom = b"\xef\xbb\xbf"
    heard = await served(streams(bom + WORDS[0], bom + WORDS[1], *WORDS[2:], FINISH, DONE))

    assert "It 391." == heard.content


async def test_e17_a_character_split_over_chunks():
    """Every byte in a read of its own."""
    raw = b"".join([delta("三 😀 é"), FINISH, DONE])
    heard = await served(streams(*(raw[at : at + 1] for at in range(len(raw))), pause=0))

    assert "三 😀 é" == heard.content


async def test_e18_invalid_utf_8():
    """Inside a string it is U+FFFD; where it spoils the JSON it is E20."""
    heard = await served(streams(delta("a?b").replace(b"?", b"\xff"), FINISH, DONE))

    assert "a\ufffdb" == heard.content
    await interrupted(streams(*WORDS[:2], b"data: \xff{}\n\n", FINISH, DONE), MalformedReply, "It is ")


async def test_e19_characters_that_are_no_line_ends():
    """U+2028, U+2029, U+0085 as they are; VT and FF, which JSON must escape, in the parser as they are."""
    text = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg"
    heard = await served(streams(delta(text), FINISH, DONE))

    assert text == heard.content
    (found,) = EventParser().feed(f"data: {text}\n\n".encode())
    assert text == found.data


@pytest.mark.parametrize("rubbish", [b"{half", b"x", b"[]", b'"x"', b"NaN", b"null", b'{"choices": [{"delta": NaN}]}'])
async def test_e20_one_malformed_event(rubbish):
    """An error, always: the project has no lenient mode, because a skipped event is a silent hole in the answer."""
    bad = b"data: " + rubbish + b"\n\n"
    await to_b(streams(ROLE, bad, *GOOD), "MalformedReply", streaming=True)
    await interrupted(streams(*WORDS[:2], bad, *WORDS[2:], FINISH, DONE), MalformedReply, "It is ")


async def test_e21_a_line_without_an_end():
    """Over a socket it is the next one's to serve."""
    await to_b(forever(chunk(b"x" * 65536), SSE), "MalformedReply", streaming=True)


def _feed_for_ever(parser: EventParser, piece: bytes) -> None:
    for _ in range(1000):
        parser.feed(piece)


def test_e21_the_memory_of_a_line_without_an_end():
    """At most the limit and a quarter of a MiB."""
    parser, piece = EventParser(), b"x" * 4096
    tracemalloc.start()
    try:
        with pytest.raises(LimitExceeded):
            _feed_for_ever(parser, piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak <= 2**20 + 256 * 2**10


async def test_e22_an_event_of_a_million_lines():
    """More than an event may hold is a `MalformedReply`, over a socket too."""
    lines = chunk(b"data: 12345678\n" * 4000)
    await to_b(says(SSE, *[lines] * 250, ending="hang"), "MalformedReply", streaming=True, within=2.0)


def test_e22_a_mebibyte_byte_by_byte():
    """Linear: 1 MiB of short lines in reads of one byte takes at most 2 s."""
    parser, raw = EventParser(), b"data: x\n" * (2**20 // 8)
    began = time.process_time()
    for at in range(len(raw)):
        parser.feed(raw[at : at + 1])
    (found,) = parser.feed(b"\n")

    assert time.process_time() - began < 2
    assert len(raw) // 8 == found.data.count("x")


async def test_e23_a_duplicated_chunk():
    """Chat events carry no number: it is delivered as it came, and nothing is invented."""
    heard = await served(streams(ROLE, WORDS[0], WORDS[0], *WORDS[1:], FINISH, DONE))

    assert "It " + TEXT == heard.content


def call(index: int | None = None, call_id: str | None = None, name: str | None = None, arguments: Any = None) -> bytes:
    """An event with a piece of a tool call."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    piece = {
        key: value for key, value in (("index", index), ("id", call_id), ("function", function)) if value is not None
    }
    return delta(tool_calls=[piece])


CALLS: dict[str, list[bytes]] = {
    "interleaved": [
        call(0, "c0", "look", ""), call(1, "c1", "find", ""), call(1, None, None, '{"b"'), call(0, None, None, '{"a"'),
        call(0, None, None, ": 1}"), call(1, None, None, ": 2}"),
    ],
    "no index": [
        call(None, "c0", "look", '{"a"'), call(None, None, None, ": 1}"),
        call(None, "c1", "find", '{"b"'), call(None, None, None, ": 2}"),
    ],
    "by id": [
        call(None, "c0", "look", '{"a"'), call(None, "c1", "find", '{"b"'),
        call(None, "c0", None, ": 1}"), call(None, "c1", None, ": 2}"),
    ],
    "late names": [
        call(0, "c0", None, '{"a"'), call(0, None, "look", ": 1}"), call(1, "c1", None, '{"b": 2'), call(1, None, "find", "}"),
    ],
    "an object": [call(0, "c0", "look", {"a": 1}), call(1, "c1", "find", {"b": 2})],
    "out of order": [call(5, "c0", "look", '{"a"'), call(2, "c1", "find", '{"b": 2}'), call(5, None, None, ": 1}")],
}  # fmt: skip


@pytest.mark.parametrize("events", CALLS.values(), ids=CALLS)
async def test_e24_pieces_of_tool_calls(events):
    """Keyed by index, else by id, else the last one open; the ids are kept."""
    heard = await served(streams(ROLE, *events, delta(finish="tool_calls"), DONE))

    found = heard.answer.tool_calls
    assert [("c0", "look", {"a": 1}), ("c1", "find", {"b": 2})] == [
        (one.id, one.function.name, json.loads(one.function.arguments)) for one in found
    ]
    assert "tool_calls" == heard.answer.finish_reason
    assert all(one.complete for one in found)


async def test_e25_arguments_cut_at_the_limit():
    """The reason is surfaced, and the call is flagged; nothing is repaired."""
    heard = await served(streams(ROLE, call(0, "c0", "look", '{"a": "ha'), delta(finish="length"), DONE))

    (found,) = heard.answer.tool_calls
    assert ('{"a": "ha', False) == (found.function.arguments, found.complete)
    assert "length" == heard.answer.finish_reason


@pytest.mark.parametrize(
    "accounts",
    [[usage()], [usage(), usage()], [usage(9, 1), usage(9, 4), usage()], [usage(), usage(0, 0)]],
    ids=["once", "twice", "growing", "zeroes behind it"],
)
async def test_e26_usage_in_chunks_of_their_own(accounts):
    """Exactly one is recorded: the last one that says something."""
    heard = await served(streams(*GOOD[:-1], *(event({"choices": [], "usage": one}) for one in accounts), DONE))

    assert (9, 7, 16, False) == (
        heard.answer.usage.prompt_tokens,
        heard.answer.usage.completion_tokens,
        heard.answer.usage.total_tokens,
        heard.answer.usage.estimated,
    )
    assert 1 == len([part for part in heard.chunks if part.usage is not None])


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
async def test_e26_usage_of_an_answer_that_was_given_up(streaming):
    """`abort` is no success; but what it has cost is read, behind the end too."""
    if streaming:
        script = streams(ROLE, *WORDS, delta(finish="abort"), event({"choices": [], "usage": usage()}), DONE)
    else:
        body = json.loads(whole())
        body["choices"][0]["finish_reason"] = "abort"
        body["usage"] = usage()
        script = says(sized(json.dumps(body).encode()))
    async with scene(script, policy={"attempts": 1}) as on:
        heard = await on.ask(streaming=streaming)
        error = heard.error
        attempt = error.partial.attempts[-1] if streaming else error.attempts[-1]

    assert "GenerationAborted" == attempt.outcome
    assert (9, 7, False) == (attempt.usage.prompt_tokens, attempt.usage.completion_tokens, attempt.usage.estimated)


async def test_e26_usage_nowhere():
    """No provider says usage in headers alone; should one, it is an estimate of ours, marked, once."""
    raw = SSE.replace(b"\r\n\r\n", b"\r\nX-Usage-Completion-Tokens: 7\r\n\r\n")
    heard = await served(says(raw + b"".join(map(chunk, GOOD)) + END))

    assert heard.answer.usage.estimated
    assert 1 == len([part for part in heard.chunks if part.usage is not None])


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", ["reasoning", "reasoning_content", "thinking", "reasoningContent"])
async def test_e27_the_names_of_reasoning(name, streaming):
    """Each byte once, in `reasoning_content`, none in `content`."""
    if streaming:
        words = [delta(**{name: word}) for word in ("Seventeen ", "times ", "twenty ", "is ", "340.")]
        script = streams(ROLE, *words, *WORDS, FINISH, DONE)
    else:
        body = json.loads(whole())
        body["choices"][0]["message"][name] = THOUGHT
        script = says(sized(json.dumps(body).encode()))
    heard = await served(script, streaming=streaming)

    assert (TEXT, THOUGHT) == (heard.content, heard.reasoning)


async def test_e27_under_two_names_at_once():
    """Said twice in every delta, it is read once."""
    words = [
        delta(reasoning=word, reasoning_content=word) for word in ("Seventeen ", "times ", "twenty ", "is ", "340.")
    ]
    heard = await served(streams(ROLE, *words, *WORDS, FINISH, DONE))

    assert (TEXT, THOUGHT) == (heard.content, heard.reasoning)


async def test_e28_events_without_data():
    """They are no events."""
    ping = b"event: ping\n\n"
    heard = await served(streams(ping, ROLE, ping, *WORDS, ping, FINISH, ping, DONE))

    assert TEXT == heard.content


async def test_e29_retry_and_id():
    """Ignored: nothing waits, nothing fails."""
    odd = b"retry: 1e9\nid: \0\nretry: 99999999999\n\n"
    heard = await served(streams(odd, ROLE, *(odd[:-1] + word for word in WORDS), odd, FINISH, DONE))

    assert TEXT == heard.content
    assert heard.seconds < 0.5


# -- callers --------------------------------------------------------------------------------------------------------


async def _breaks(on: Scene) -> None:
    async with contextlib.aclosing(on.router.stream(REQUEST)) as chunks:
        async for part in chunks:
            if part.content:
                break


async def _is_collected(on: Scene) -> None:
    async for part in on.router.stream(REQUEST):
        if part.content:
            break
    gc.collect()


async def _raises(on: Scene) -> None:
    with contextlib.suppress(ZeroDivisionError):
        async with contextlib.aclosing(on.router.stream(REQUEST)) as chunks:
            async for _ in chunks:
                1 / 0  # noqa: B018  # the body of the loop fails


async def _is_cancelled(on: Scene) -> None:
    task = asyncio.ensure_future(on.ask(streaming=True))
    assert await soon(lambda: on.a.requests)
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("leave", [_breaks, _is_collected, _raises, _is_cancelled])
async def test_e30_the_caller_leaves(leave):
    """The socket is closed within 100 ms, and what was seen has an estimated cost."""
    async with scene(streams(*GOOD[:4], ending="hang"), answers(), rows={"price": PRICE}) as on:
        await leave(on)
        assert await soon(lambda: on.a.open == 0)

        assert ["canceled"] == on.outcomes == [end.outcome for end in on.ends]
        (ended,) = on.attempts
        assert "estimated" == ended.attempt.cost.source
        assert ended.attempt.cost.usd
        assert ended.attempt.usage is not None
        assert ended.attempt.usage.completion_tokens
        assert ended.attempt.usage.estimated
        assert [1, 0] == on.counts
        await on.at_rest()


async def test_e31_a_slow_caller():
    """TCP pauses the provider, memory stays flat, and the idle limit counts only the time that we wait for it."""
    sent = 0

    async def script(line: Line) -> None:
        nonlocal sent
        piece = chunk(b"".join([delta("x" * 4000)] * 4))
        await line.say(SSE)
        while True:
            await line.say(piece)
            sent += len(piece)

    async with scene(script, policy=IDLE) as on, contextlib.aclosing(on.router.stream(REQUEST)) as chunks:
        await anext(chunks)
        await asyncio.sleep(0.05)
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            paused_at = -1
            while paused_at != sent:  # the buffers of the kernel are full
                paused_at = sent
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.15)  # longer than the idle limit
            grown = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()

        assert paused_at == sent
        assert grown < 2**20
        for _ in range(200):
            assert "x" * 4000 == (await anext(chunks)).content


async def test_e32_two_tasks_over_one_stream():
    """The second one gets a RuntimeError that says so; the first one is none the worse."""

    async def script(line: Line) -> bool:
        await line.say(SSE + chunk(WORDS[0]), pause=0.05)
        await line.say(*map(chunk, [*WORDS[1:], FINISH, DONE]), END)
        return True

    async with scene(script) as on:
        chunks = on.router.stream(REQUEST)
        seen = [(await anext(chunks)).content]
        first = asyncio.ensure_future(anext(chunks))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="already running"):
            await anext(chunks)
        seen.append((await first).content)
        seen += [part.content async for part in chunks]

        assert TEXT == "".join(part or "" for part in seen)
        assert ["success"] == on.outcomes


async def test_e33_gzip():
    """Decoded as it comes: the first event is delivered before the stream ends."""
    delivered = asyncio.Event()

    async def script(line: Line) -> None:
        packer = zlib.compressobj(6, zlib.DEFLATED, 31)
        head = SSE.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
        await line.say(head + chunk(packer.compress(WORDS[0]) + packer.flush(zlib.Z_SYNC_FLUSH)))
        await asyncio.wait_for(delivered.wait(), 1)
        await line.say(chunk(packer.compress(b"".join([*WORDS[1:], FINISH, DONE])) + packer.flush()) + END)

    async with scene(script) as on:
        seen = []
        async for part in on.router.stream(REQUEST):
            seen.append(part.content or "")
            delivered.set()

        assert TEXT == "".join(seen)
        assert ["success"] == on.outcomes


# -- going on where it broke ----------------------------------------------------------------------------------------

FORTY = [delta(f"word{number} ") for number in range(40)]
SAID = "".join(f"word{number} " for number in range(40))
NATIVE = {
    "price": PRICE,
    "continuation": {"modes": ["instruct", "thinking"], "fields": {"continue_final_message": True}},
}


async def continued(first: Script, second: Script, *more: Script, **fields: Any) -> tuple[Heard, Scene]:
    """What the caller got, and the scene behind it, where b's row declares native continuation."""
    async with scene(first, second, *more, policy=RECOVER, rows={"price": PRICE}, row_of_b=NATIVE) as on:
        heard = await on.ask(streaming=True, **fields)
        await on.at_rest()
        assert 1 == len(on.ends)
        return heard, on


GOES_ON = streams(ROLE, delta("and "), delta("on."), FINISH, event({"choices": [], "usage": usage(60, 2)}), DONE)


async def test_e34_native_continuation():
    """Prefix and continuation, no duplicate, one end; B's row declares it in YAML, no catalog row does."""
    heard, on = await continued(streams(*FORTY, ending="reset"), GOES_ON, max_tokens=500)

    assert None is heard.error
    assert SAID + "and on." == heard.content == heard.answer.content
    assert ["stop"] == [part.finish_reason for part in heard.chunks if part.finish_reason]
    assert ["a/m", "b/m"] == [attempt.deployment for attempt in heard.answer.attempts]
    (seam,) = heard.answer.seams
    assert ("continued", len(SAID)) == (seam.how, seam.content)
    (asked,) = on.b.requests
    assert [*REQUEST["messages"], {"role": "assistant", "content": SAID}] == asked["messages"]
    assert asked["continue_final_message"]
    assert 0 < asked["max_tokens"] < 500
    first, second = (attempt.usage for attempt in heard.answer.attempts)
    assert (True, True) == (first.estimated, first.completion_tokens > 0)
    assert (60, 2, False) == (second.prompt_tokens, second.completion_tokens, second.estimated)
    assert heard.answer.cost.usd == pytest.approx(sum(attempt.cost.usd for attempt in heard.answer.attempts))


async def test_e34_the_usage_of_both():
    """The answer's usage counts what the caller has: A's part, estimated, and B's."""
    heard, _ = await continued(streams(*FORTY, ending="reset"), GOES_ON)

    first, second = (attempt.usage for attempt in heard.answer.attempts)
    assert first.completion_tokens + second.completion_tokens == heard.answer.usage.completion_tokens
    assert heard.answer.usage.estimated


@pytest.mark.parametrize("begun", [[call(0, "c0", "look", '{"a"')], [*FORTY, call(0, "c0", "look", "")]])
async def test_e35_a_tool_call_had_begun(begun):
    """No continuation and no splice: E5's conduct, with the original failure."""
    heard, on = await continued(streams(*begun, ending="reset"), GOES_ON, tools=TOOLS)

    assert isinstance(heard.error, StreamInterrupted)
    assert TruncatedReply is type(heard.error.error)
    assert [1, 0] == on.counts
    assert ("c0", False) == (heard.error.partial.tool_calls[0].id, heard.error.partial.tool_calls[0].complete)


async def test_e35_b_cannot_continue():
    """The project asks such a B for the whole answer, and goes on only where it agrees to the letter; else E5."""
    for text, agrees in ((SAID + "and on.", True), ("Something else.", False)):
        async with scene(streams(*FORTY, ending="reset"), answers(text, None), policy=RECOVER) as on:
            heard = await on.ask(streaming=True)

            assert [1, 1] == on.counts
            assert REQUEST["messages"] == on.b.requests[0]["messages"]
            if agrees:
                assert (None, text) == (heard.error, heard.content)
                continue
            assert isinstance(heard.error, StreamInterrupted)
            assert TruncatedReply is type(heard.error.error)
            assert TruncatedReply is type(heard.error.__cause__)
            assert SAID == heard.content == heard.error.partial.content


async def test_e35_b_rejects_the_assistant_turn():
    """Its 400 is about our continuation, not about the caller's request: the original failure is raised."""
    refusal = sized(
        b'{"error": {"message": "assistant prefill is not supported", "type": "invalid_request_error"}}',
        head=OK.replace(b"200 OK", b"400 No"),
    )
    heard, on = await continued(streams(*FORTY, ending="reset"), says(refusal))

    assert isinstance(heard.error, StreamInterrupted)
    assert TruncatedReply is type(heard.error.error)
    assert SAID == heard.error.partial.content
    assert "prefill" in str(heard.error.also)
    assert ["TruncatedReply", "ContinuationRejected"] == on.outcomes


async def test_e36_the_continuation_fails_too():
    """A's failure, with B's attached; before B has said anything, and after."""
    overloaded = sized(b'{"error": {"message": "busy"}}', head=OK.replace(b"200 OK", b"503 No"))
    heard, on = await continued(streams(*FORTY, ending="reset"), says(overloaded))

    assert isinstance(heard.error, StreamInterrupted)
    assert TruncatedReply is type(heard.error.error)
    assert Overloaded in {type(error) for error in heard.error.also.exceptions}  # type: ignore[union-attr]
    assert SAID == heard.error.partial.content == heard.content
    assert ["TruncatedReply", "Overloaded"] == on.outcomes
    assert ["a/m", "b/m"] == [attempt.deployment for attempt in heard.error.attempts]


async def test_e36_the_continuation_breaks_in_the_middle():
    """Then B's failure is what broke the stream that the caller was reading; A's is attached, and on the seam."""
    limited = event({"error": {"code": 429, "message": "slow down"}})
    heard, on = await continued(streams(*FORTY, ending="reset"), streams(delta("and "), limited))

    assert isinstance(heard.error, StreamInterrupted)
    assert SAID + "and " == heard.content == heard.error.partial.content
    assert RateLimited is type(heard.error.error)
    assert {TruncatedReply, RateLimited} == {type(error) for error in heard.error.also.exceptions}  # type: ignore[union-attr]
    assert ["continued"] == [seam.how for seam in heard.error.partial.seams]
    assert {TruncatedReply, RateLimited} == {type(attempt.error) for attempt in heard.error.attempts}
    assert [1, 1] == on.counts
