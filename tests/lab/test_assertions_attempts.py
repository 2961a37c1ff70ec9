"""`assert_attempts` and `assert_ledger_matches_invoices`: what passes, and what a failure says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from providers.types import Attempt, Completion, Cost, Usage
from router.errors import DeadlineExceeded, DeploymentsExhausted, Overloaded
from router.lab import Fault, ProviderLab, assert_attempts, assert_ledger_matches_invoices
from router.lab.emulators import Headers, Invoice, Mixlayer, Received

FAILED = Attempt("mixlayer/a", "Overloaded", 503, why="mixlayer/a: Overloaded (503): busy", error=Overloaded("busy"))
WORKED = Attempt("runware/b", "success", 200)
ANSWER = Completion(deployment="runware/b", attempts=(FAILED, WORKED))
RIGHT = ["mixlayer/a: Overloaded", "runware/b: success"]


@pytest.mark.parametrize(
    "answer",
    [
        ANSWER,
        ANSWER.attempts,
        list(ANSWER.attempts),
        DeploymentsExhausted([FAILED, WORKED]),
        DeadlineExceeded(1.0, [FAILED, WORKED]),
    ],
    ids=lambda answer: type(answer).__name__,
)
def test_what_carries_attempts(answer):
    """A completion, an error of the route, or the attempts themselves."""
    assert_attempts(answer, RIGHT)


@pytest.mark.parametrize(
    "expected",
    [
        RIGHT,
        [("mixlayer/a", "Overloaded"), ("runware/b", "success")],
        ["mixlayer/*: Overloaded", "*: success"],
        iter(RIGHT),
    ],
)
def test_ways_to_say_them(expected):
    """Lines or pairs; a star stands for anything."""
    assert_attempts(ANSWER, expected)


@pytest.mark.parametrize(
    ("expected", "shown"),
    [
        (
            RIGHT[:1],
            ["  mixlayer/a: Overloaded   mixlayer/a: Overloaded", "≠ –                        runware/b: success"],
        ),
        ([*RIGHT, "aiml/c: success"], ["≠ aiml/c: success          –"]),
        (
            RIGHT[::-1],
            ["≠ runware/b: success       mixlayer/a: Overloaded", "≠ mixlayer/a: Overloaded   runware/b: success"],
        ),
        ([], ["≠ –          mixlayer/a: Overloaded"]),
        (["runware/*: Overloaded", RIGHT[1]], ["≠ runware/*: Overloaded   mixlayer/a: Overloaded"]),
    ],
)
def test_a_failure_shows_both(expected, shown):
    """Side by side, what differs marked; and what each failure said."""
    with pytest.raises(AssertionError) as failed:
        assert_attempts(ANSWER, expected)
    lines = str(failed.value).splitlines()

    assert "the attempts were not the expected ones:" == lines[0]
    assert set(shown) <= {line[2:] for line in lines[1:]}
    assert "  1. mixlayer/a: Overloaded (503): busy" == lines[-1]


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        (["mixlayer/a: Overload"], "no attempt ends with 'Overload'; did you mean 'Overloaded'?"),
        (["mixlayer/a"], "an attempt is written 'provider/model: outcome'"),
        ([("mixlayer/a", "")], "an attempt is written"),
    ],
)
def test_a_typing_mistake_is_no_failure_of_the_router(expected, said):
    """It is told as what it is."""
    with pytest.raises(ValueError, match="mixlayer/a") as wrong:
        assert_attempts(ANSWER, expected)

    assert said in str(wrong.value)


def test_what_carries_none():
    """A single provider's failure is no attempt."""
    with pytest.raises(TypeError, match="Overloaded carries no attempts"):
        assert_attempts(Overloaded("busy"), RIGHT)


# -- the ledger -------------------------------------------------------------------------------------------------------

BILLED = replace(WORKED, deployment="mixlayer/a", usage=Usage(10, 5, 15, 2, 0), cost=Cost(0.25, "reported"))


def billed(*invoices: tuple[int, int, float]):
    emulator = Mixlayer()
    request = Received(0.0, "POST", "/v1/chat/completions", {}, Headers(), b"", {})
    emulator.invoices += [Invoice(request, "a", prompt, 0, completion, 2, usd) for prompt, completion, usd in invoices]
    return {"mixlayer": emulator}


@pytest.mark.parametrize(
    ("attempts", "invoices"),
    [
        ([BILLED], [(10, 5, 0.25)]),
        ([BILLED, replace(BILLED, usage=Usage(1, 1))], [(1, 1, 0.25), (10, 5, 0.25)]),
        ([replace(BILLED, cost=Cost())], [(10, 5, 0.25)]),
        ([FAILED], []),
        ([replace(FAILED, cost=Cost(0.1, "estimated")), BILLED], [(7, 3, 0.1), (10, 5, 0.25)]),
        ([replace(FAILED, cost=Cost(0.0, "estimated"))], []),
        ([], []),
    ],
)
def test_ledgers_that_match(attempts, invoices):
    """In whatever order; what nobody has told us is not held against us."""
    assert_ledger_matches_invoices(billed(*invoices), attempts)


@pytest.mark.parametrize(
    ("attempts", "invoices", "told"),
    [
        ([BILLED], [(11, 5, 0.25)], ["mixlayer/a: prompt_tokens 10 in the answer, 11 on the invoice"]),
        ([BILLED], [(10, 4, 0.2)], ["mixlayer/a: completion_tokens 5 in the answer, 4 on the invoice, $0.250000000 in the answer (reported), $0.200000000 on the invoice"]),
        ([BILLED], [], ["mixlayer/a: an answer (10 + 5 tokens, $0.250000000) that was never invoiced"]),
        ([], [(10, 5, 0.25)], ["mixlayer: invoiced 10 + 5 tokens of a, $0.250000000, and no attempt accounts for it"]),
        ([replace(FAILED, cost=Cost(0.0, "estimated"))], [(1, 1, 0.1)], ["mixlayer: invoiced 1 + 1 tokens of a, $0.100000000, and no attempt accounts for it"]),
        ([BILLED], [(10, 5, 0.25), (10, 5, 0.25)], ["mixlayer: invoiced 10 + 5 tokens of a, $0.250000000, and no attempt accounts for it"]),
        ([replace(BILLED, usage=None)], [(10, 5, 0.25)], ["mixlayer/a: the answer tells no tokens"]),
        ([replace(WORKED, usage=Usage(1, 1))], [], ["runware/b: an attempt, and no emulator of that provider to bill it"]),
        ([BILLED, replace(BILLED, usage=Usage(1, 1))], [(11, 5, 0.25), (1, 2, 0.25)],
         ["mixlayer/a: prompt_tokens 10 in the answer, 11 on the invoice", "mixlayer/a: completion_tokens 1 in the answer, 2 on the invoice"]),
    ],
)  # fmt: skip
def test_every_difference_is_told(attempts, invoices, told):
    """One a line, with both numbers."""
    with pytest.raises(AssertionError) as failed:
        assert_ledger_matches_invoices(billed(*invoices), attempts)

    assert ["the ledger and the invoices differ:", *(f"  {line}" for line in told)] == str(failed.value).splitlines()


def test_emulators_alone_know_no_answers():
    """They must be given; a lab knows its own."""
    with pytest.raises(TypeError, match="give the answers"):
        assert_ledger_matches_invoices(billed())


CHAT = {"routes": {"chat": {"deployments": ["mixlayer/qwen3.5-27b", "runware/qwen3.5-27b", "aiml/qwen3.6-35b-a3b"]}}}
ASKED = {"model": "chat", "messages": [{"role": "user", "content": "17 * 23?"}]}


@pytest.mark.parametrize(
    "fault",
    [Fault.server_error(), Fault.lost_response(), Fault.cut_after(4), Fault.truncate_body(20), Fault.bad_key(), Fault.no_finish(),
     Fault.think_in_content(), Fault.slow_headers(700)],
    ids=lambda fault: fault.kind + str(fault.code or ""),
)  # fmt: skip
def test_the_ledger_of_a_failover_matches(fault):
    """Whole and streamed, over the whole pipeline: what was wasted is owned up to, what was answered is exact."""
    with ProviderLab(environ={}) as lab:
        lab.use(CHAT)
        lab.mixlayer.fail(fault, times=2)
        lab.complete(ASKED)
        lab.stream(ASKED)

        assert_ledger_matches_invoices(lab)
        assert len(lab.invoices()) >= 2


def test_a_price_that_is_wrong_is_seen():
    """In the configuration, against what the provider bills."""
    with ProviderLab(environ={}) as lab:
        lab.use(CHAT)
        before = lab.complete(ASKED)
        lab.mixlayer.invoices[0] = replace(lab.mixlayer.invoices[0], usd=1.0)

        assert before.cost.usd is not None
        with pytest.raises(AssertionError, match=r"\(estimated\), \$1.000000000 on the invoice"):
            assert_ledger_matches_invoices(lab)


@pytest.mark.parametrize("name", ["mixlayer/qwen3.5-27b", "runware/qwen3.5-27b", "aiml/qwen3.6-35b-a3b"])
def test_a_price_of_the_route_is_what_is_billed(name):
    """The emulators sell at the prices of the file, so that a negotiated one is no difference."""
    route = {"deployments": [{"deployment": name, "price": {"input": 7.0, "output": 9.0}}]}
    with ProviderLab(environ={}) as lab:
        lab.use({"routes": {"chat": route}})
        answer = lab.complete(ASKED)

        assert_ledger_matches_invoices(lab)
        assert answer.usage.prompt_tokens is not None
        assert answer.usage.completion_tokens is not None
        paid = (7.0 * answer.usage.prompt_tokens + 9.0 * answer.usage.completion_tokens) / 1e6
        assert pytest.approx(paid) == lab.invoices()[0].usd
