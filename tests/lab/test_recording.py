"""The file of recorded traffic: what is written is read again, and what is no recording is refused with its line."""

from __future__ import annotations

import json

import pytest

from router.lab import RecordingError, read_recording
from router.lab.recording import FORMAT, VERSION, Answered, Failed, Piece, Recorded, first_line, line_of

WHOLE = Recorded(
    "mixlayer",
    "POST",
    "/chat/completions",
    {"model": "m", "messages": [{"role": "user", "content": "Grüße \N{SNOWMAN}"}]},
    {"Accept": "text/event-stream"},
    at=1.5,
    response=Answered(
        200,
        {"Content-Type": "text/event-stream"},
        0.25,
        (Piece(0.0, b"data: "), Piece(0.5, b"\xe2\x98"), Piece(0.0, b"\x83\r\n\r\n"), Piece(1.0, b"\xff\x00")),
    ),
)
OTHERS = [
    Recorded("runware", "POST", "", [{"taskUUID": "u"}], ended="left"),
    Recorded("runware", "POST", "", None, ended="failed", failure=Failed("ConnectionFailed", "it broke")),
    Recorded("aiml", "POST", "/x", None, response=Answered(200), withheld="larger than 10 bytes"),
]


def written(path, *exchanges: Recorded):
    path.write_bytes(first_line() + b"".join(map(line_of, exchanges)))
    return path


def test_what_is_written_is_read(tmp_path):
    """To the byte, also where a character is cut in two, or where it is no text at all."""
    recording = read_recording(written(tmp_path / "t.jsonl", WHOLE, *OTHERS))

    assert [2, 3, 4, 5] == [one.line for one in recording.exchanges]
    assert WHOLE.response == recording.exchanges[0].response
    assert [line_of(one) for one in (WHOLE, *OTHERS)] == [line_of(one) for one in recording.exchanges]
    assert ("mixlayer", "runware", "aiml") == recording.providers
    assert [3, 4] == [one.line for one in recording.of("runware")]
    assert 4 == len(recording)


def test_every_line_is_json(tmp_path):
    """Other tools read it too; text is text in it."""
    lines = [json.loads(line) for line in written(tmp_path / "t.jsonl", WHOLE).read_text("utf-8").splitlines()]

    assert {"format": FORMAT, "version": VERSION} == lines[0]
    assert [0.0, "data: "] == lines[1]["response"]["pieces"][0]
    assert {"base64": "4pg="} == lines[1]["response"]["pieces"][1][1]


LINE = json.loads(line_of(WHOLE))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["routes: {}"], r":1: not recorded traffic: the first line is \{\"format\""),
        ([], r":1: not recorded traffic"),
        (
            [{"format": FORMAT, "version": 9}],
            r":1: version 9 of the format; this router reads version 1: record it again",
        ),
        (
            [{"format": FORMAT, "version": VERSION}, {**LINE, "provider": 1}],
            r":2: provider: Input should be a valid string",
        ),
        ([{"format": FORMAT, "version": VERSION}, LINE, {**LINE, "sent": 1}], r":3: sent: Extra inputs"),
        ([{"format": FORMAT, "version": VERSION}, "{"], r":2: Invalid JSON"),
        ([{"format": FORMAT, "version": VERSION}, {**LINE, "response": {"status": 99}}], r":2: response.status"),
        (
            [
                {"format": FORMAT, "version": VERSION},
                {**LINE, "response": {"status": 200, "pieces": [[0, {"base64": "%"}]]}},
            ],
            r":2: ",
        ),
    ],
)
def test_what_is_no_recording_is_refused_with_its_line(tmp_path, lines, said):
    """The message says what it is instead."""
    path = tmp_path / "t.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))

    with pytest.raises(RecordingError, match=said) as refused:
        read_recording(path)
    assert str(refused.value).startswith(str(path))


def test_a_line_that_was_cut_is_named(tmp_path):
    """The process died while it wrote."""
    path = written(tmp_path / "t.jsonl", WHOLE)
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(RecordingError, match=r":2: the line is cut"):
        read_recording(path)


def test_a_file_that_is_not_there(tmp_path):
    """With the system's own words."""
    with pytest.raises(RecordingError, match="cannot be read: No such file"):
        read_recording(tmp_path / "none.jsonl")
