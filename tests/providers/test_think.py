"""Inline reasoning out of content: a table of texts, for every split."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from providers.think import MAX_LEAD, ThinkSplitter

# Each case: a text, its reasoning, its content.
CLOSED = [
    ("", "", ""),
    ("Hello", "", "Hello"),
    ("<think>why</think>so", "why", "so"),
    ("<think>\nwhy\n</think>\n\nso\n", "why\n", "so\n"),  # the newline before </think> is reasoning
    ("<think>\r\nwhy</think>\r\n\r\nso", "why", "so"),
    ("<think>\n\n</think>\n\nso", "", "so"),  # Qwen with thinking off
    ("<think></think>", "", ""),
    ("<think></think>\n\n", "", ""),
    ("<think>\n why</think> \nso", " why", " \nso"),  # only newlines, only next to the tag
    ("\n \t<think>why</think>so", "\n \twhy", "so"),  # nothing is lost
    ("\n \tso", "", "\n \tso"),
    (" \n", "", " \n"),
    ("<think>why", "why", ""),  # never closed
    ("<think>why</thin", "why</thin", ""),
    ("<think>\n", "", ""),
    ("<think", "", "<think"),
    ("  <thi", "", "  <thi"),
    ("<thinking>a</thinking>", "", "<thinking>a</thinking>"),
    ("<Think>a</Think>", "", "<Think>a</Think>"),
    ("<<think>a</think>", "", "<<think>a</think>"),
    ("```\n<think>a</think>\n```", "", "```\n<think>a</think>\n```"),
    ("a</think>b", "", "a</think>b"),
    ("<think>a</think>b<think>c</think>d", "a", "b<think>c</think>d"),
    ("<think>a</think><think>b</think>c", "a", "<think>b</think>c"),
    ("<think>a<think>b</think>c</think>d", "a<think>b", "c</think>d"),
    ("<think>if a < b </ c << </thin</think>so", "if a < b </ c << </thin", "so"),
    ("<think></</think></think>", "</", "</think>"),
    ("<think>日本😀</think>\n答え", "日本😀", "答え"),
    (" " * MAX_LEAD + "<think>a</think>b", " " * MAX_LEAD + "a", "b"),
    (" " * (MAX_LEAD + 1) + "<think>a</think>b", "", " " * (MAX_LEAD + 1) + "<think>a</think>b"),
]
OPENED = [
    ("", "", ""),
    ("why</think>so", "why", "so"),
    ("\nwhy\n</think>\n\nso", "why\n", "so"),
    ("\n \nwhy</think>so", " \nwhy", "so"),
    ("</think>\n\nso", "", "so"),
    ("why", "why", ""),
    ("why</think", "why</think", ""),
    ("\n\n", "", ""),
    (" \n", " \n", ""),
    ("<thi", "<thi", ""),
    ("\n<thi", "<thi", ""),
    ("<think>\nwhy</think>so", "why", "so"),  # said again
    ("\n \n<think>\nwhy</think>so", " \nwhy", "so"),
    ("a<think>b</think>so", "a<think>b", "so"),
    ("\n" * (MAX_LEAD + 9) + "why</think>so", "why", "so"),
    ("\n" * (MAX_LEAD + 9) + "<think>why</think>so", "<think>why", "so"),
]
CASES = [(False, *case) for case in CLOSED] + [(True, *case) for case in OPENED]


def split(pieces: Iterable[str], *, opened: bool) -> tuple[str, str]:
    splitter = ThinkSplitter(opened=opened)
    parts = [splitter.feed(piece) for piece in pieces]
    parts.append(splitter.end())
    return "".join(reasoning for reasoning, _ in parts), "".join(content for _, content in parts)


def cuts(text: str) -> Iterator[list[str]]:
    """Cut *text* into single characters, and at every one place or two."""
    yield list(text)
    for first in range(len(text) + 1):
        for second in range(first, len(text) + 1 if len(text) < 64 else first + 1):
            yield [text[:first], text[first:second], text[second:]]


@pytest.mark.parametrize(("opened", "text", "reasoning", "content"), CASES)
def test_every_split_gives_the_same(opened: bool, text: str, reasoning: str, content: str) -> None:
    """Reasoning and content do not depend on where the text was cut."""
    for pieces in cuts(text):
        assert (reasoning, content) == split(pieces, opened=opened), pieces


@pytest.mark.parametrize(
    ("opened", "pieces", "expected"),
    [
        (False, ["Hi"], [("", "Hi")]),
        (False, ["", "\n", "<", "b>", "x"], [("", ""), ("", ""), ("", ""), ("", "\n<b>"), ("", "x")]),
        (False, ["<think>", "\n", "a", "\n", "b"], [("", ""), ("", ""), ("a", ""), ("\n", ""), ("b", "")]),
        (
            False,
            ["<think>a<", "b</", "think", ">", "\n", "c"],
            [("a", ""), ("<b", ""), ("", ""), ("", ""), ("", ""), ("", "c")],
        ),
        (False, ["<think>a</think>\nb<", "think>"], [("a", "b<"), ("", "think>")]),
        (True, ["a", "<", "/", "x"], [("a", ""), ("", ""), ("", ""), ("</x", "")]),
    ],
)
def test_nothing_certain_is_withheld(opened: bool, pieces: list[str], expected: list[tuple[str, str]]) -> None:
    """Every piece gives at once all that can no longer become a tag."""
    splitter = ThinkSplitter(opened=opened)

    assert expected == [splitter.feed(piece) for piece in pieces]


@pytest.mark.parametrize(
    ("opened", "text", "done"),
    [
        (False, "", False),
        (False, "\n<thin", False),
        (False, "\n<thinx", True),
        (False, "x", True),
        (False, " " * MAX_LEAD, False),
        (False, " " * (MAX_LEAD + 1), True),
        (False, "<think>x", False),
        (False, "<think>x</think>\n", False),
        (False, "<think>x</think>\ny", True),
        (True, "x", False),
        (True, "x</think>y", True),
    ],
)
def test_done_as_soon_as_all_the_rest_is_content(opened: bool, text: str, done: bool) -> None:
    """A splitter is done when nothing can be reasoning or a dropped newline any more, and then passes text through."""
    splitter = ThinkSplitter(opened=opened)
    splitter.feed(text)

    assert done == splitter.done
    if done:
        assert ("", "\n<think>") == splitter.feed("\n<think>")


def test_end_gives_the_rest_once() -> None:
    """What was held comes out at the first end and not again."""
    splitter = ThinkSplitter()
    splitter.feed("<think>a</th")

    assert ("</th", "") == splitter.end()
    assert ("", "") == splitter.end()


_PARTS = ["<think>", "</think>", "<", "</", "think", ">", "\n", "\r\n", " ", "\t", "a", "<b>", "é😀", "\x0b"]
texts = st.lists(st.sampled_from(_PARTS) | st.text(max_size=4), max_size=14).map("".join)
_BLOCK = re.compile(r"(?P<lead>[ \t\r\n]*)<think>[\r\n]*(?P<why>.*?)(?:</think>[\r\n]*(?P<so>.*)|\Z)", re.DOTALL)
_REST = re.compile(r"(?:(?P<lead>[ \t\r\n]*)<think>)?[\r\n]*(?P<why>.*?)(?:</think>[\r\n]*(?P<so>.*)|\Z)", re.DOTALL)


def reference(text: str, *, opened: bool) -> tuple[str, str]:
    """Split a whole text by the grammar."""
    match = (_REST if opened else _BLOCK).fullmatch(text)
    if match is None:
        return "", text
    lead = match["lead"] or ""
    return (lead.lstrip("\r\n") if opened else lead) + match["why"], match["so"] or ""


@settings(max_examples=500, deadline=None)
@given(texts, st.lists(st.integers(min_value=0, max_value=200), max_size=8), st.booleans())
def test_conservation(text: str, places: list[int], opened: bool) -> None:
    """Whatever the text and its split, every character but the tags and their newlines comes out once and in order."""
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    pieces = [text[start:end] for start, end in pairwise(edges)]
    reasoning, content = split(pieces, opened=opened)
    rest = iter(text)
    dropped = Counter(text)
    dropped.subtract(reasoning + content)
    del dropped["\r"], dropped["\n"]

    assert reference(text, opened=opened) == (reasoning, content)
    assert all(character in rest for character in reasoning + content)  # *in* consumes: this is a subsequence
    assert +dropped in [Counter(tags) for tags in ("", "<think>", "</think>", "<think></think>")]


@settings(deadline=None)
@given(texts, texts)
def test_a_block_round_trips(why: str, so: str) -> None:
    """What a model's template has wrapped comes out as it went in."""
    assume("</think>" not in why)
    why = why.lstrip("\r\n")
    so = so.lstrip("\r\n")

    assert (why, so) == split(f"<think>\n{why}</think>\n\n{so}", opened=False)
    assert (why, so) == split(f"<think>\n{why}</think>\n\n{so}", opened=True)
