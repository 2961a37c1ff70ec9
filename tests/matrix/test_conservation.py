"""The law of conservation: every byte of reasoning and content that was sent is delivered once, in order, in its field.

For every dialect, streamed in every split and framing, and whole. The emulators render, without their sockets; the
parser, the protocol's reader and `fold` read.
"""

from __future__ import annotations

import json
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from providers.client import PROTOCOLS, encode
from providers.dialect import Endpoint
from providers.sse import EventParser
from providers.types import Chunk, Completion, Request, fold
from providers.wire import Call
from router.lab import Answer, Emulator
from router.lab.emulators import EMULATORS, Headers, Received
from router.lab.emulators.playback import Stream, Whole, play
from router.load import load
from tests.router.stage import KEYS, MODELS

OPENAI = ("reasoning", "reasoning_content", "both", "think")
DIALECTS = ("mixlayer", "runware", "empiriolabs", "aiml", *(f"openai, {how}" for how in OPENAI))
SPACE = " \t\r\n"

# What may go wrong at an edge: tags and their pieces, line ends and what only looks like one, characters of every width.
ODD = ["<think>", "</think>", "<", "</", "think>", "\n", "\r", "\r\n", " ", "\u2028", "\x85", "\x0b", "\x00", "\ufeff",
       "é", "三", "😀", "\u0301", "data: ", "[DONE]", "\\", '"', "word ", "a"]  # fmt: skip
TEXTS = st.lists(st.sampled_from(ODD) | st.text(max_size=5), max_size=8)


@cache
def endpoint(dialect: str) -> Endpoint:
    """The catalog's endpoint, or a row that says no more than the protocol."""
    name = dialect.partition(",")[0]
    local = {"protocol": "chat_completions", "base_url": "http://openai.test/v1", "api_key": "sk-local"}
    written = {
        "providers": {"openai": local, **{known: {"api_key": KEYS[known]} for known in KEYS}},
        "models": {"m": {"deployments": [{"provider": "openai", "model": "m"}]}},
    }
    return load(written, environ={}).deployments[MODELS.get(name, "openai/m")].endpoint


@cache
def emulator(dialect: str) -> Emulator:
    name, _, how = dialect.partition(", ")
    switches: dict[str, Any] = {"reasoning": how} if how else {}
    return EMULATORS[name](**switches)


@cache
def called(dialect: str, *, streaming: bool) -> Call:
    request = {"model": "m", "messages": [{"role": "user", "content": "?"}], "reasoning_effort": "high"}
    return encode(Request.of(request), endpoint(dialect), streaming=streaming, key="k")


def rendered(dialect: str, answer: Answer, *, streaming: bool) -> Stream | Whole:
    """What the emulator would send."""
    call, server = called(dialect, streaming=streaming), emulator(dialect)
    server.forget()
    if seen := getattr(server, "_tasks_seen", None):
        seen.clear()
    server.reply(answer)
    raw = call.http.body
    headers = Headers({"Authorization": "Bearer sk-any"})
    return server.answer(Received(0.0, "POST", "/", {}, headers, raw, json.loads(raw)), None)


def read_whole(dialect: str, sent: Whole) -> Completion:
    call = called(dialect, streaming=False)
    found = PROTOCOLS[call.endpoint.protocol].reader(call).whole(sent.body, sent.headers)
    assert isinstance(found, list)
    return fold(found)


def read_stream(dialect: str, pieces: list[bytes]) -> Completion:
    call = called(dialect, streaming=True)
    parser, reader = EventParser(), PROTOCOLS[call.endpoint.protocol].reader(call)
    chunks: list[Chunk] = []
    for piece in pieces:
        for event in parser.feed(piece):
            found = reader.event(event.data)
            assert isinstance(found, list)
            chunks += found
    return fold([*chunks, *reader.end()])


def meant(dialect: str, reasoning: str, content: str) -> tuple[str, str]:
    """What the caller must get, by the rules of `providers.think` said in another way."""
    if dialect == "openai, think" and reasoning:
        reasoning, content = "", f"<think>\n{reasoning}\n</think>\n\n{content}"
    if reasoning or endpoint(dialect).dialect.reading.think == "never":
        return reasoning, content
    start = content.lstrip(SPACE)
    space = content[: len(content) - len(start)]
    if not start.startswith("<think>"):
        return "", content
    block, _, rest = start.removeprefix("<think>").lstrip("\r\n").partition("</think>")
    return space + block, rest.lstrip("\r\n")


@st.composite
def cuts(draw: st.DrawFn) -> tuple[int, list[int]]:
    """Pieces of one size, or a few anywhere: (size, places); a place is taken modulo the length."""
    return draw(st.integers(1, 40) | st.just(10**6)), draw(st.lists(st.integers(0, 10**6), max_size=6))


def cut(raw: bytes, how: tuple[int, list[int]]) -> list[bytes]:
    size, places = how
    edges = sorted({0, len(raw), *range(0, len(raw), size), *(place % len(raw) for place in places)})
    return [raw[start:end] for start, end in pairwise(edges)]


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(thoughts=TEXTS, words=TEXTS, how=cuts(), newline=st.sampled_from(["\n", "\r\n", "\r"]))
def test_what_was_sent_is_what_is_delivered(dialect, thoughts, words, how, newline):
    """Reasoning and content, each concatenated, streamed in any split and whole alike; 480 examples in all."""
    reasoning, content = "".join(thoughts), "".join(words)
    expected = meant(dialect, reasoning, content)
    assume(any(expected))
    answer = Answer(content, reasoning, pieces=tuple(word for word in words if word))
    whole, stream = (rendered(dialect, answer, streaming=streaming) for streaming in (False, True))
    assert isinstance(whole, Whole)
    assert isinstance(stream, Stream)
    assert not whole.refused
    raw = b"".join(frame.encode(newline) for frame in play(stream, None)[0])
    found = [read_whole(dialect, whole), read_stream(dialect, cut(raw, how))]

    assert [expected] * 2 == [(one.reasoning_content or "", one.content or "") for one in found]
    assert ["stop"] * 2 == [one.finish_reason for one in found]


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name != "runware"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(thoughts=TEXTS, words=TEXTS, size=st.integers(1, 9))
def test_a_think_tag_in_pieces(dialect, thoughts, words, size):
    """Tags that are split over events at any character, where a server leaves reasoning in the content."""
    reasoning, content = "".join(thoughts), "".join(words)
    sent = f"<think>\n{reasoning}\n</think>\n\n{content}"
    expected = meant(dialect, "", sent)
    assume(any(expected))
    pieces = tuple(sent[at : at + size] for at in range(0, len(sent), size))
    stream = rendered(dialect, Answer(sent, pieces=pieces), streaming=True)
    assert isinstance(stream, Stream)
    found = read_stream(dialect, [frame.encode() for frame in play(stream, None)[0]])

    assert expected == (found.reasoning_content or "", found.content or "")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_split_in_two(dialect):
    """One answer, cut at every third byte, and in pieces of one size; test_sse.py and E15 cut at every byte."""
    answer = Answer("It is <b>391</b>,\n三 😀.", "17 × 23:\n340 + 51.")
    stream = rendered(dialect, answer, streaming=True)
    assert isinstance(stream, Stream)
    raw = b"".join(frame.encode() for frame in play(stream, None)[0])
    splits = [[raw[:at], raw[at:]] for at in range(0, len(raw) + 1, 3)]
    splits += [[raw[at : at + size] for at in range(0, len(raw), size)] for size in (1, 2, 3, 7, 40)]
    found = [read_stream(dialect, pieces) for pieces in splits]

    reasoning, content = meant(dialect, str(answer.reasoning_content), answer.content)
    assert {(reasoning, content)} == {(one.reasoning_content, one.content) for one in found}
