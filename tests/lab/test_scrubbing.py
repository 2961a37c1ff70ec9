"""Keys out of recorded text, JSON and pieces, in every spelling that can come back from a server."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.lab.recording import Piece
from router.lab.scrubbing import Scrub

KEY = 'sk-canary/QZ7x+Pq4"Vb=N2'
SPELLINGS = {
    "as it is": KEY,
    "in JSON": json.dumps(KEY)[1:-1],
    "in a URL": quote(KEY, safe=""),
    "in base64": base64.b64encode(KEY.encode()).decode(),
    "in basic authentication": base64.b64encode(f"user:{KEY}".encode()).decode(),
    "in basic authentication, otherwise aligned": base64.b64encode(f"me:{KEY}:x".encode()).decode(),
}


def scrub(*secrets: str) -> Scrub:
    made = Scrub()
    made.learn(secrets or [f"Bearer {KEY}"])
    return made


@pytest.mark.parametrize("spelled", SPELLINGS.values(), ids=SPELLINGS)
def test_a_key_is_found_in_every_spelling(spelled):
    """It was learned from a header, with its scheme before it; nothing of eight characters is left."""
    left = scrub().text(f"before {spelled} after")

    assert not [spelled[at : at + 8] for at in range(len(spelled) - 7) if spelled[at : at + 8] in left]
    assert left.startswith("before ")
    assert left.endswith(" after")
    assert "***" in left


def test_json_is_scrubbed_in_names_and_values():
    """And a field that is called like a secret is masked whatever it holds."""
    body = [
        {
            KEY: [f"x{KEY}", 1, None, True],
            "apiKey": "another",
            "webhookURL": "https://me.test/?token=t",
            "max_tokens": 5,
        }
    ]

    assert [
        {"***": ["x***", 1, None, True], "apiKey": "***", "webhookURL": "***", "max_tokens": 5}
    ] == scrub().json(body)  # fmt: skip


@given(st.lists(st.integers(0, 60), max_size=8), st.sampled_from([KEY, json.dumps(KEY)[1:-1]]))
def test_a_key_is_found_wherever_the_pieces_are_cut(cuts, spelled):
    """The rest stays as it was, in as many pieces, at the same times."""
    body = f"data: one {spelled} two {spelled}{spelled} three".encode()
    edges = sorted({0, *(min(cut, len(body)) for cut in cuts), len(body)})
    pieces = [Piece(float(number), body[a:b]) for number, (a, b) in enumerate(pairwise(edges))]

    cleaned = scrub().pieces(pieces)

    assert b"data: one *** two ****** three" == b"".join(piece.data for piece in cleaned)
    assert [piece.after for piece in pieces] == [piece.after for piece in cleaned]


def test_a_key_that_is_cut_off_at_the_end_is_found():
    """The connection broke inside of it."""
    pieces = [Piece(0.0, b"Incorrect API key: sk-can"), Piece(0.1, b"ary/QZ")]

    assert b"Incorrect API key: ***" == b"".join(piece.data for piece in scrub().pieces(pieces))


def test_what_is_not_there_changes_nothing():
    """The very pieces come back."""
    pieces = (Piece(0.0, b"nothing"), Piece(0.5, b"to see"))

    assert pieces == scrub().pieces(pieces)
    assert pieces == Scrub().pieces(pieces)


def test_short_words_are_no_keys():
    """A lab's `any` is not taken out of every text."""
    assert "anything" == scrub("Bearer any").text("anything")


def test_a_key_spelled_out_over_events_is_noticed():
    """Token by token, it is in no single event."""
    events = [{"choices": [{"delta": {"content": KEY[at : at + 3]}}]} for at in range(0, len(KEY), 3)]
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events).encode()

    assert body == b"".join(piece.data for piece in scrub().pieces([Piece(0.0, body)]))
    assert scrub().hidden_in(body)
    assert not scrub().hidden_in(body[: len(body) // 2])


def test_a_key_in_escapes_is_noticed():
    r"""`\u0073` is an s for whoever reads JSON."""
    escaped = "".join(f"\\u{ord(character):04x}" for character in KEY)

    assert scrub().hidden_in(f'{{"error": "{escaped}"}}'.encode())
    assert not scrub().hidden_in(b'{"error": "none"}')
