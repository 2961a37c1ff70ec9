"""Conversations that are remembered: recognised from turn to turn, bounded, and without a word of what was said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.types import Request
from router.affinity import REMEMBERED, Memory

SYSTEM = {"role": "system", "content": "You answer in one word."}
FIRST = {"role": "user", "content": "17 * 23?"}
TURNS = [{"role": "assistant", "content": "391"}, {"role": "user", "content": "And 18 * 23?"}]


def request(*messages: dict[str, Any], **more: Any) -> Request:
    return Request.of({"model": "chat", "messages": list(messages), **more})


def key(one: Request, by: Any = "conversation", route: str = "chat") -> bytes | None:
    return Memory(b"secret").key(route, by, one)


def test_every_turn_of_a_conversation_is_recognised():
    """By its beginning, whatever follows, and however else it is asked."""
    assert key(request(SYSTEM, FIRST)) == key(request(SYSTEM, FIRST, *TURNS, max_tokens=5))
    assert key(request(SYSTEM, FIRST)) != key(request(SYSTEM, {**FIRST, "content": "1 + 1?"}))
    assert key(request(SYSTEM, FIRST)) != key(request({**SYSTEM, "content": "You are verbose."}, FIRST))
    assert key(request(SYSTEM, FIRST)) != key(request(SYSTEM, FIRST), route="other")


def test_who_names_his_conversation_is_taken_at_his_word():
    """`prompt_cache_key` is what OpenAI's callers say it with."""
    named = {"prompt_cache_key": "thread-7"}

    assert key(request(FIRST, extra=named)) == key(request(SYSTEM, FIRST, extra=named))
    assert key(request(FIRST, extra=named)) != key(request(FIRST))


def test_by_user_goes_by_the_user():
    """And who does not say who he is stays nowhere."""
    assert key(request(FIRST, user="ada"), "user") == key(request(SYSTEM, FIRST, user="ada"), "user")
    assert key(request(FIRST, user="ada"), "user") != key(request(FIRST, user="bob"), "user")
    assert key(request(FIRST), "user") is None


def test_nothing_that_was_said_is_kept():
    """Neither text, nor user, nor route; and another process would know nobody by the same hash."""
    memory = Memory(b"one")
    one = request({**SYSTEM, "content": "SECRET-PROMPT"}, FIRST, user="SECRET-USER")
    for by in ("conversation", "user"):
        found = memory.key("SECRET-ROUTE", by, one)
        assert found is not None
        assert 16 == len(found)
        assert found != Memory(b"two").key("SECRET-ROUTE", by, one)
        memory.remember(found, "alpha/m", 0.0, 10)

    assert "SECRET" not in repr(memory._warm)


def test_it_is_remembered_for_so_long():
    """From the last answer on."""
    memory, one = Memory(), b"k"
    memory.remember(one, "alpha/m", 0.0, 10)
    memory.remember(one, "beta/m", 100.0, 20)
    warm = memory.warm(one, 400.0, 300.0)

    assert warm is not None
    assert ("beta/m", 20) == (warm.deployment, warm.tokens)
    assert memory.warm(one, 400.1, 300.0) is None


@pytest.mark.parametrize("touched", [0, 5])
def test_memory_is_bounded(touched):
    """Who was silent longest is forgotten first."""
    memory = Memory()
    for number in range(REMEMBERED):
        memory.remember(b"%d" % number, "alpha/m", float(number), 1)
    memory.remember(b"%d" % touched, "alpha/m", 1e6, 1)
    memory.remember(b"new", "alpha/m", 1e6, 1)

    assert REMEMBERED == len(memory)
    assert memory.warm(b"%d" % touched, 1e6, 1.0) is not None
    assert memory.warm(b"%d" % (1 if touched == 0 else 0), 1e6, 1e9) is None


@given(text=st.text(), other=st.text(), turns=st.lists(st.text(), max_size=3))
def test_a_key_says_the_beginning_and_nothing_more(text, other, turns):
    """Whatever characters are in it; and one beginning that contains another is not the same."""
    later = [{"role": ("assistant", "user")[place % 2], "content": turn} for place, turn in enumerate(turns)]
    if len(later) % 2:
        later.pop()
    one = {"role": "user", "content": text}

    assert key(request(one)) == key(request(one, *later))
    assert (text == other) == (key(request(one)) == key(request({"role": "user", "content": other})))
