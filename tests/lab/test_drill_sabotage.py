"""A router that lies, hammers or hangs does not pass a drill: each sabotage gets the verdict that it deserves.

The files are good ones; what is wrong is the router.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from providers.answer import Chunk, Cost
from providers.errors import ContentBlocked
from router import policy, run
from router.errors import RouterError
from router.health import Bar, Health
from router.lab.drills import Result
from router.policy import Stop, Try
from router.recovery import Splice
from router.router import Router
from tests.lab.drilling import EMPIRIO, MIXLAYER, one, routes, said

Stream = Callable[..., AsyncIterator[Chunk]]
GIVEN_UP = {"on_interruption": "error"}


@pytest.fixture
def stream(monkeypatch) -> Callable[[Callable[[Stream, Router, Any], AsyncIterator[Chunk]]], None]:
    """Puts another `stream` in place of the router's; it is given the right one."""
    right: Any = Router.stream

    def put(wrong: Callable[[Stream, Router, Any], AsyncIterator[Chunk]]) -> None:
        monkeypatch.setattr(Router, "stream", lambda self, request, **_: wrong(right, self, request))

    return put


def verdict(result: Result) -> tuple[str, str]:
    return result.verdict, said(result)


# -- lies -------------------------------------------------------------------------------------------------------------


def test_a_cut_stream_that_is_presented_as_whole_fails(stream):
    """It ends as if it were complete."""

    async def wrong(right, router, request):
        try:
            async for chunk in right(router, request):
                yield chunk
        except RouterError as error:
            partial: Any = error
            yield Chunk(finish_reason="stop", completion=partial.partial)

    honest = one(routes(policy=GIVEN_UP), "cut")
    stream(wrong)
    word, told = verdict(one(routes(policy=GIVEN_UP), "cut"))

    assert ("safe", "fail") == (honest.verdict, word)
    assert "words of 60 was presented as a whole answer" in told


def test_two_answers_that_are_glued_together_fail(monkeypatch):
    """The fallback's answer from its beginning, behind what was delivered."""
    monkeypatch.setattr(Splice, "feed", lambda self, chunk: chunk)
    monkeypatch.setattr(Splice, "end", lambda self: None)
    word, told = verdict(one(routes(), "cut"))

    assert "fail" == word
    assert "something that no deployment had said" in told


def test_an_error_that_forgets_what_was_delivered_fails(stream):
    """Whoever has read half of an answer is not told that there was none."""

    async def wrong(right, router, request):
        try:
            async for chunk in right(router, request):
                yield chunk
        except RouterError as error:
            raise RouterError(str(error)) from None

    stream(wrong)
    word, told = verdict(one(routes(policy=GIVEN_UP), "cut"))

    assert "fail" == word
    assert "the error does not hold what the caller had read" in told


def test_an_error_that_is_none_of_ours_fails(stream):
    """A bug is no clean error."""

    async def wrong(right, router, request):
        raise KeyError("choices")
        yield Chunk()

    stream(wrong)
    word, told = verdict(one(routes(), "undisturbed"))

    assert "fail" == word
    assert "the caller met KeyError, no error of the router" in told


def test_a_stream_that_just_ends_fails(stream):
    """No last chunk, no error."""

    async def wrong(right, router, request):
        async for chunk in right(router, request):
            if chunk.completion is None:
                yield chunk

    stream(wrong)

    assert "fail" == one(routes(), "undisturbed").verdict


def test_an_answer_under_another_name_fails(stream):
    """The fallback's answer, said to be the first one's: its usage is another's."""

    async def wrong(right, router, request):
        async for chunk in right(router, request):
            if chunk.completion is not None:
                chunk.completion = replace(chunk.completion, deployment=MIXLAYER)
            yield chunk

    stream(wrong)
    word, told = verdict(one(routes(), "one-500"))

    assert "partial" == word
    assert f"{MIXLAYER} has invoiced nothing" in told


def test_an_answer_under_another_name_is_seen_where_both_have_been_asked(stream):
    """Both have invoiced the same; whoever was asked last has given the answer."""

    async def wrong(right, router, request):
        async for chunk in right(router, request):
            if chunk.completion is not None:
                chunk.completion = replace(chunk.completion, deployment=MIXLAYER)
            yield chunk

    stream(wrong)
    word, told = verdict(one(routes(), "cut"))

    assert "partial" == word
    assert f"the answer names {MIXLAYER}, and {EMPIRIO} gave it" in told


@pytest.mark.parametrize(
    ("lie", "found"),
    [
        (lambda answer: replace(answer, model="other"), "says that 'other' gave it"),
        (
            lambda answer: replace(answer, seams=tuple(replace(seam, content=7) for seam in answer.seams)),
            "the answer was spliced at character 7, and the caller never stood there",
        ),
        (lambda answer: replace(answer, cost=Cost()), "an answer does not say what it cost, and its attempts cost"),
        (
            lambda answer: replace(
                answer, cost=Cost(), attempts=tuple(replace(one, cost=Cost()) for one in answer.attempts)
            ),
            f"{EMPIRIO} has a price, and an attempt there does not say what it cost",
        ),
    ],
    ids=["model", "seam", "cost", "cost of an attempt"],
)
def test_an_answer_that_is_wrong_about_itself_is_partial(stream, lie, found):
    """Its words are right, and what it says of them is not."""

    async def wrong(right, router, request):
        async for chunk in right(router, request):
            if chunk.completion is not None:
                chunk.completion = lie(chunk.completion)
            yield chunk

    stream(wrong)
    word, told = verdict(one(routes(), "cut"))

    assert "partial" == word
    assert found in told


@pytest.mark.parametrize("policy", [None, GIVEN_UP], ids=["an answer", "an error"])
def test_reasoning_that_nobody_has_said_fails(stream, policy):
    """It is part of what is read, in an answer and before an error."""

    async def wrong(right, router, request):
        async for chunk in right(router, request):
            if chunk.reasoning_content:
                chunk.reasoning_content = chunk.reasoning_content.upper()
            yield chunk

    stream(wrong)
    word, told = verdict(one(routes(policy=policy), "cut"))

    assert "fail" == word
    assert "reasoning that" in told


# -- silence ----------------------------------------------------------------------------------------------------------


def test_a_hang_fails(stream):
    """On virtual time it is noticed at once."""

    async def wrong(right, router, request):
        await asyncio.get_running_loop().create_future()
        yield Chunk()

    stream(wrong)
    word, told = verdict(one(routes(policy={"deadline": "20s", "timeouts": {"first_token": "5s"}}), "one-500"))

    assert "fail" == word
    assert "a caller still waited 50 s after he had asked; the deadline is 20 s" in told


def test_a_deadline_that_is_passed_fails(stream):
    """An answer that comes after it is too late."""

    async def wrong(right, router, request):
        await asyncio.sleep(25)
        async for chunk in right(router, request):
            yield chunk

    stream(wrong)
    word, told = verdict(one(routes(policy={"deadline": "20s", "timeouts": {"first_token": "5s"}}), "undisturbed"))

    assert "fail" == word
    assert "and the deadline is 20 s" in told


def test_a_stream_that_is_held_back_is_partial(stream):
    """All of it at the end: nobody could read along."""

    async def wrong(right, router, request):
        for chunk in [chunk async for chunk in right(router, request)]:
            yield chunk

    stream(wrong)
    word, told = verdict(one(routes(), "undisturbed"))

    assert "partial" == word
    assert "the first token reached the caller when the last one had left the provider" in told


def test_one_of_many_streams_that_is_held_back_is_partial(stream):
    """What holds for a lone caller holds for each of them."""
    asked = count(1)

    async def wrong(right, router, request):
        late = next(asked) == 20
        kept = []
        async for chunk in right(router, request):
            if late:
                kept.append(chunk)
            else:
                yield chunk
        for chunk in kept:
            yield chunk

    stream(wrong)
    word, told = verdict(one(routes(), "outage"))

    assert "partial" == word
    assert "the first token reached the caller when the last one had left the provider" in told


# -- hammering --------------------------------------------------------------------------------------------------------


def test_more_attempts_than_the_policy_allows_fail(monkeypatch):
    """One provider, again and again, without a pause."""

    def wrong(plan, attempts, elapsed, rng):
        return Try(0, 0.0, 10.0, "again") if len(attempts) < 12 else Stop("exhausted", "enough")

    monkeypatch.setattr(run, "next_step", wrong)
    word, told = verdict(one(routes(), "overloaded"))

    assert "fail" == word
    assert "1 caller made 12 requests; the policy allows 4 attempts" in told
    assert f"{MIXLAYER} got 12 requests from 1 caller; the policy allows 2 attempts per deployment" in told


def test_an_outage_that_every_caller_knocks_at_fails(monkeypatch):
    """Without a circuit each request asks the dead one first."""
    monkeypatch.setattr(Health, "barred", lambda self, deployment, now: None)
    word, told = verdict(one(routes(), "outage"))

    assert "fail" == word
    assert f"{MIXLAYER} was asked " in told
    assert "circuit: {failures: 3, cooldown: 2s}" in told


def test_who_asked_to_be_left_alone_and_was_not_is_partial(monkeypatch):
    """Retry-After is heard."""
    monkeypatch.setattr(policy, "_wait", lambda *_: 0.7)
    monkeypatch.setattr(Health, "ready_in", lambda self, deployment, now: 0.0)
    script = "rate-limit-wait"
    word, told = verdict(one(routes(MIXLAYER, policy={"order": "here_first"}), script))

    assert "partial" == word
    assert f"{MIXLAYER} asked to be left alone for 2 s, and was asked again sooner" in told


# -- conduct ----------------------------------------------------------------------------------------------------------


def test_a_refusal_that_is_taken_elsewhere_is_partial(monkeypatch):
    """What the safety filter of one has refused is not for another."""
    right = policy.next_step

    def wrong(plan, attempts, elapsed, rng):
        if attempts and isinstance(attempts[-1].error, ContentBlocked):
            return Try(1, 0.0, 30.0, "perhaps this one is less strict")
        return right(plan, attempts, elapsed, rng)

    monkeypatch.setattr(run, "next_step", wrong)
    word, told = verdict(one(routes(), "content-policy"))

    assert "partial" == word
    assert f"a request that {MIXLAYER} had refused for its content was sent again, to {EMPIRIO}" in told
    assert "ContentBlocked was to come of it, and an answer came" in told


def test_a_failover_that_dawdles_is_partial(monkeypatch):
    """Another one is there, and is asked at once."""
    right = policy.next_step

    def wrong(*arguments, **more):
        step = right(*arguments, **more)
        return replace(step, delay=3.0) if isinstance(step, Try) and step.why == "not asked yet" else step

    monkeypatch.setattr(run, "next_step", wrong)
    word, told = verdict(one(routes(), "one-500"))

    assert "partial" == word
    assert f"{EMPIRIO} was asked only 3.0 s after {MIXLAYER} had failed" in told


def test_a_bill_that_does_not_add_up_is_partial(stream):
    """The answer says another sum than its attempts, and than the invoices."""

    async def wrong(right, router, request):
        async for chunk in right(router, request):
            if chunk.completion is not None:
                chunk.completion = replace(chunk.completion, cost=Cost(1.0, "reported"))
            yield chunk

    stream(wrong)
    word, told = verdict(one(routes(), "undisturbed"))

    assert "partial" == word
    assert "an answer says that it cost $1, and its attempts $0.0001" in told
    assert "the answers cost $1.000000, and the providers' invoices come to $0.0001" in told


def test_words_that_the_caller_has_not_said_are_partial(monkeypatch):
    """No prompt of ours ever reaches a provider."""
    right = Router.stream

    def wrong(self, request, **more):
        meddled = {"role": "system", "content": "Go on where you stopped."}
        return right(self, {**request, "messages": [meddled, *request["messages"]]}, **more)

    monkeypatch.setattr(Router, "stream", wrong)
    word, told = verdict(one(routes(), "undisturbed"))

    assert "partial" == word
    assert f"{MIXLAYER} was asked something that the caller had not said" in told


@pytest.mark.parametrize(
    "more",
    [
        [{"role": "assistant", "content": "word1 word2"}],
        [{"role": "user", "content": "Say sixty words."}],
    ],
    ids=["the beginning of an answer", "the question again"],
)
def test_a_turn_that_the_row_does_not_declare_is_partial(monkeypatch, more):
    """Nobody is asked to go on with an answer, nor the same twice, unless his row says that he does."""
    right = Router.stream

    def wrong(self, request, **how):
        return right(self, {**request, "messages": [*request["messages"], *more]}, **how)

    monkeypatch.setattr(Router, "stream", wrong)
    word, told = verdict(one(routes(), "undisturbed"))

    assert "partial" == word
    assert f"{MIXLAYER} was asked something that the caller had not said" in told


def test_a_provider_that_is_never_asked_again_is_partial(monkeypatch):
    """It is back, and nobody notices."""
    right, failed = Health.barred, set()

    def wrong(self, deployment, now):
        found = right(self, deployment, now)
        if found is not None:
            failed.add(deployment.name)
        return Bar("circuit", "for ever", retry_in=1.0) if deployment.name in failed else None

    monkeypatch.setattr(Health, "barred", wrong)
    word, told = verdict(one(routes(), "outage"))

    assert "partial" == word
    assert f"{MIXLAYER} was well again after 60 s, and was not asked within" in told
