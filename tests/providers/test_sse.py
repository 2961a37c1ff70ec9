"""Bytes into events: the standard's vectors, every split, and the limits."""

import pickle
import re
import time
import tracemalloc
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.sse import Event, EventParser, LimitExceeded

VECTORS: list[tuple[bytes, list[tuple[str, str, str]]]] = [
    (b"data: a\n\n", [("message", "a", "")]),
    (b"data:1\r\rdata:2\n\ndata:3\r\n\r\n", [("message", "1", ""), ("message", "2", ""), ("message", "3", "")]),
    (b"data:1\r\ndata:2\r\n\r\n", [("message", "1\n2", "")]),  # CRLF is one end
    (b"data:1\n\rdata:2\n\n", [("message", "1", ""), ("message", "2", "")]),  # LF CR are two
    (b"\xef\xbb\xbfdata:1\n\ndata:2\n\n", [("message", "1", ""), ("message", "2", "")]),
    (b"\xef\xbb\xbf\xef\xbb\xbfdata:1\n\ndata:2\n\ndata:3\n\n", [("message", "2", ""), ("message", "3", "")]),
    (b"data:1\n\n\xef\xbb\xbfdata:2\n\ndata:3\n\n", [("message", "1", ""), ("message", "3", "")]),
    (
        b"data:1\r:\0\n:\r\ndata:2\n:" + b"x" * 2048 + b"\rdata:3\n:data:fail\r:" + b"x" * 2048 + b"\ndata:4\n\n",
        [("message", "1\n2\n3\n4", "")],
    ),
    (b"retry:1000\ndata:test1\n\nid:test\ndata:test2", [("message", "test1", "")]),  # the end discards
    (b"data:\n\ndata\ndata\n\ndata:test\n\n", [("message", "", ""), ("message", "\n", ""), ("message", "test", "")]),
    (b"event: \ndata:data\n\n", [("message", "data", "")]),
    (b"event:test\ndata:x\n\ndata:x\n\n", [("test", "x", ""), ("message", "x", "")]),
    (b"event:foo\n\ndata:x\n\n", [("message", "x", "")]),  # no data: no event, and the type is forgotten
    (b"id:1\ndata:a\n\ndata:b\n\n", [("message", "a", "1"), ("message", "b", "1")]),
    (b"id:1\ndata:a\n\nid\ndata:b\n\n", [("message", "a", "1"), ("message", "b", "")]),
    (b"id:1\ndata:a\n\nid:2\x003\ndata:b\n\n", [("message", "a", "1"), ("message", "b", "1")]),
    (b"id:1\n\ndata:a\n\n", [("message", "a", "1")]),
    (
        (
            b"data:\x00\ndata:  2\rData:1\ndata\x00:2\ndata:1\r\x00data:4\n"
            b"da-ta:3\rdata_5\ndata:3\rdata:\r\n data:32\ndata:4\n\n"
        ),
        [("message", "\x00\n 2\n1\n3\n\n4", "")],
    ),
    (b"data:\ttest\rdata: \ndata:test\n\n", [("message", "\ttest\n\ntest", "")]),  # one space only
    (b"data:test\r\ndata\ndata:test\r\n\r\n", [("message", "test\n\ntest", "")]),
    (
        b"data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test\n\n",
        [("message", "test\n\ntest", "")],
    ),
    (b"data:\x00\n\n\n\n", [("message", "\x00", "")]),
    ("data:ok\u2026\n\n".encode(), [("message", "ok\u2026", "")]),
    (b"data:a\xffb\n\ndata:c\n\n", [("message", "a\ufffdb", ""), ("message", "c", "")]),
    (b"data:\xe2\x80\n\ndata:c\n\n", [("message", "\ufffd", ""), ("message", "c", "")]),
    (
        "data:a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\n\n".encode(),
        [("message", "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg", "")],
    ),
    ("data:\U0001f600\n\n".encode(), [("message", "\U0001f600", "")]),
    (b"data: : x\n\n", [("message", ": x", "")]),
    (b"retry:5\n\ndata:a\n\n", [("message", "a", "")]),
    (b"retry:-5\nretry:1_0\nretry: 10\nretry:x\ndata:a\n\n", [("message", "a", "")]),
    (b"\n\n\n\r\r\r\n", []),
    (b"", []),
    (b"data: {}\n\ndata: [DONE]\n\n", [("message", "{}", ""), ("message", "[DONE]", "")]),
    # Ours, around the cut of whole frames.
    (b"data: 1\n\ndata: 2\n\n\ndata: 3\n\n", [("message", "1", ""), ("message", "2", ""), ("message", "3", "")]),
    (b"data: 1\n\ndata: \n\ndata:  3\n\n", [("message", "1", ""), ("message", "", ""), ("message", " 3", "")]),
    (
        b"data: 1\n\ndata: 2\ndata: 3\n\ndata: 4\n\n",
        [("message", "1", ""), ("message", "2\n3", ""), ("message", "4", "")],
    ),
    (b"data: 1\n\ndata:2\n\ndata: 3\n\n", [("message", "1", ""), ("message", "2", ""), ("message", "3", "")]),
    (
        b"data: 1\n\ndata: a\xe2\n\ndata: \x80b\n\n",
        [("message", "1", ""), ("message", "a\ufffd", ""), ("message", "\ufffdb", "")],
    ),
    (b"event: ping\n\nevent: ping\nid: \0\nretry: 1e9\n\ndata: 1\n\n", [("message", "1", "")]),  # E28, E29
    (b": OPENROUTER PROCESSING\n\ndata: 1\n\n: x\n\ndata: 2\n\n", [("message", "1", ""), ("message", "2", "")]),
]


class Machine(EventParser):
    """The parser without its fast path."""

    __slots__ = ()

    def feed(self, data: bytes) -> list[Event]:
        """Scan *data*, whatever it holds."""
        return self._scan(data)


def reference(stream: bytes) -> list[Event]:
    """Interpret a whole stream by the words of the standard, without limits, splits or speed."""
    text = stream.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    events, data, kind, last_id = [], "", "", ""
    for line in re.split("\r\n|\r|\n", text)[:-1]:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                events.append(Event(data[:-1], kind or "message", last_id))
            data = kind = ""
        elif name == "data":
            data += value + "\n"
        elif name == "event":
            kind = value
        elif name == "id" and "\0" not in value:
            last_id = value
    return events


def parse(parser: EventParser, reads: Iterable[bytes]) -> list[Event]:
    return [event for read in reads for event in parser.feed(read)]


def outcome(parser: EventParser, reads: Iterable[bytes]) -> tuple[list[Event], str | None]:
    """Return every event of *reads*, and the limit at which they ended."""
    events = []
    for read in reads:
        try:
            events += parser.feed(read)
        except LimitExceeded as error:
            return events + error.events, error.limit
    return events, None


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


def pieces(stream: bytes, size: int) -> list[bytes]:
    return [stream[start : start + size] for start in range(0, len(stream), size)]


_PARTS = [
    *(b"data: a\n\n", b"data: \n\n", b'data: {"x": 1}\n\n', b"data: b\r\n\r\n", b"data:c\n\n", b"data: [DONE]\n\n"),
    *(
        b"data",
        b"data:",
        b"data: ",
        b"event",
        b"event: e\n",
        b"id",
        b"id: 1\n",
        b"id: \0\n",
        b"retry: 1\n",
        b":",
        b": c\n\n",
    ),
    *(
        b"\n",
        b"\n\n",
        b"\r",
        b"\r\n",
        b" ",
        b"\0",
        b"\xef\xbb\xbf",
        b"\xef",
        b"\xe2\x80",
        b"\xff",
        "é😀\u2028".encode(),
    ),
]
streams = st.lists(st.sampled_from(_PARTS) | st.binary(max_size=6), max_size=16).map(b"".join)
places = st.lists(st.integers(min_value=0, max_value=400), max_size=8)


@pytest.mark.parametrize(("stream", "expected"), VECTORS)
def test_vectors(stream: bytes, expected: list[tuple[str, str, str]]) -> None:
    """The standard's events come out whole, in pieces of 1, 2 and 3 bytes, and for every cut into two."""
    events = [Event(data, kind, last_id) for kind, data, last_id in expected]
    splits = [[stream], *(pieces(stream, size) for size in (1, 2, 3))]
    splits += [cut(stream, [place]) for place in range(len(stream) + 1 if len(stream) < 200 else 0)]

    assert events == reference(stream)
    for kind in (EventParser, Machine):
        for split in splits:
            assert events == parse(kind(), split), split


@pytest.mark.parametrize(("stream", "expected"), VECTORS)
def test_vectors_after_an_event(stream: bytes, expected: list[tuple[str, str, str]]) -> None:
    """In the middle of a stream, where whole frames may be cut, only the BOM is read differently."""
    events = [Event(data, kind, last_id) for kind, data, last_id in expected]
    parser = EventParser()
    parser.feed(b"data: first\n\n")

    if not stream.startswith(b"\xef\xbb\xbf"):
        assert events == parser.feed(stream)


@settings(max_examples=200, deadline=None)
@given(streams, places)
def test_any_split_gives_the_same_events(stream: bytes, places: list[int]) -> None:
    """For any bytes and any split, the fast path, the machine and the words of the standard agree."""
    expected = reference(stream)
    reads = cut(stream, places)

    assert expected == parse(EventParser(), reads)
    assert expected == parse(Machine(), reads)


@settings(max_examples=200, deadline=None)
@given(st.lists(streams, max_size=6))
def test_any_reads_after_an_event_give_the_same_events(reads: list[bytes]) -> None:
    """Where every read could be cut as whole frames, the fast path gives what the machine gives."""
    reads = [b"data: first\n\n", *reads]

    assert parse(Machine(), reads) == parse(EventParser(), reads)


@settings(max_examples=200, deadline=None)
@given(streams, places, st.integers(0, 16), st.integers(0, 16))
def test_any_split_meets_the_same_limit(stream: bytes, places: list[int], max_line: int, max_event: int) -> None:
    """The events before a limit and the limit that is met do not depend on the split or on the path."""
    expected = outcome(Machine(max_line=max_line, max_event=max_event), [stream])
    reads = cut(stream, places)

    assert expected == outcome(Machine(max_line=max_line, max_event=max_event), reads)
    assert expected == outcome(EventParser(max_line=max_line, max_event=max_event), reads)
    assert expected == outcome(EventParser(max_line=max_line, max_event=max_event), pieces(stream, 1))


def test_whole_frames_do_not_reach_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the first line has been read, reads of whole frames are cut and not scanned."""
    parser = EventParser()
    parser.feed(b"id: 7\n\n")
    monkeypatch.setattr(EventParser, "_scan", None)

    assert [Event("a", id="7")] == parser.feed(b"data: a\n\n")
    assert [Event("b", id="7"), Event("é\ufffd", id="7")] == parser.feed(b"data: b\n\ndata: \xc3\xa9\xff\n\n")


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_an_event_is_given_at_its_blank_line(end: bytes) -> None:
    """No event waits for the next read, not even where a CR may be half of a CRLF."""
    parser = EventParser()

    assert [] == parser.feed(b"data: a" + end)
    assert [Event("a")] == parser.feed(end[:1])


@pytest.mark.parametrize(
    ("limit", "value", "stream", "before"),
    [
        ("max_line", 8, b"data: 12\n\ndata: 123\n\n", [Event("12")]),
        ("max_line", 8, b"data: 12\n\n" + b"x" * 9, [Event("12")]),
        ("max_line", 8, b"data: 12\n\n:" + b"x" * 8 + b"\n\ndata: 3\n\n", [Event("12")]),
        ("max_line", 8, b"\xef\xbb\xbfdata:1\n\n", []),
        ("max_event", 4, b"data: 1234\n\ndata: 12345\n\n", [Event("1234")]),
        ("max_event", 4, b"data: 1\ndata: 2\n\ndata: 1\ndata: 2\ndata: 3\n\n", [Event("1\n2")]),
        ("max_event", 4, b"data\ndata\ndata\ndata\ndata\n\n" + b"data\n" * 6, [Event("\n\n\n\n")]),
    ],
)
def test_limits(limit: str, value: int, stream: bytes, before: list[Event]) -> None:
    """A line or an event beyond its limit is an error that carries the events before it."""
    expected = (before, limit)

    for kind in (EventParser, Machine):
        for size in (1, 2, 3, 1000):
            assert expected == outcome(kind(**{limit: value}), pieces(stream, size))


def test_a_failed_stream_stays_failed() -> None:
    """After a limit every read fails, whatever it holds, and gives no event twice."""
    parser = EventParser(max_line=8)
    with pytest.raises(LimitExceeded) as first:
        parser.feed(b"data: 1\n\n123456789")
    with pytest.raises(LimitExceeded) as second:
        parser.feed(b"\n\ndata: 2\n\n")

    assert [Event("1")] == first.value.events
    assert [] == second.value.events


def test_limit_exceeded_says_what_to_do() -> None:
    """The error names the limit, its value and that it can be changed, and survives pickling."""
    error = LimitExceeded("max_line", 1048576)
    error.events = [Event("a")]
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert (
        "the event stream holds a line of more than 1048576 bytes; this limit is configurable: max_line=1048576"
        == str(error)
        == str(copy)
    )
    assert ("max_line", 1048576, [Event("a")]) == (copy.limit, copy.value, copy.events)
    assert "an event of more than 5 bytes" in str(LimitExceeded("max_event", 5))


def test_an_endless_line_is_held_only_to_its_limit() -> None:
    """A line without an end fails at 1 MiB, and costs at most 256 KiB more than that (E21)."""
    reads = [b"x" * 65536] * 17
    tracemalloc.start()
    try:
        with pytest.raises(LimitExceeded):
            parse(EventParser(), reads)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak <= (1024 + 256) * 1024


@pytest.mark.parametrize("stream", [b"data:" + b"x" * (1024 * 1024 - 8), b"data:\n" * 174_762, b"data:\n\n" * 149_796])
def test_single_bytes_take_linear_time(stream: bytes) -> None:
    """1 MiB in reads of one byte takes about a second and never minutes: as one line, one event or many (E22)."""
    parser = EventParser()
    start = time.process_time()
    for byte in pieces(stream, 1):
        parser.feed(byte)

    assert time.process_time() - start < 6
