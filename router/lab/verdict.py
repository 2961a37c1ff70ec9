"""Judges a rehearsal on both views: what the caller got, and what each provider was asked. Pure.

The four verdicts are those of the public benchmark:

- `pass`: the caller got what he should, and every provider was asked as it should be;
- `partial`: the caller got what he should; something about the way there was not right;
- `safe`: the caller did not get what he should, and was told so: an error that names it, and nothing false;
- `fail`: the caller was misled (a wrong, doubled or cut answer presented as a whole one), or heard nothing in time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

from router.lab.answers import count_tokens
from router.lab.rehearsal import QUESTION, SIDES, TEXT, Heard, Played
from router.lab.scenarios import TOKEN_DELAY

if TYPE_CHECKING:
    from providers.types import Completion
    from router.lab.emulators import Received

Word = Literal["pass", "partial", "safe", "fail"]
Kind = Literal["truth", "served", "conduct"]
STREAMED = 0.5  # of the time that the tokens took to leave the provider, which the caller must have been reading


class Finding(NamedTuple):
    """Something that was not as it should be: whether it misleads, fails to serve, or is wrong conduct."""

    kind: Kind
    says: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict, why it is no better, and what became of the stream when it failed."""

    word: Word
    findings: tuple[Finding, ...]
    recover: str


def judge(played: Played) -> Verdict:
    """The verdict on what was played."""
    findings = tuple(_findings(played))
    kinds = {finding.kind for finding in findings}
    word: Word = "fail" if "truth" in kinds else "safe" if "served" in kinds else "partial" if kinds else "pass"
    return Verdict(word, findings, _recovery(played))


def _findings(played: Played) -> Iterator[Finding]:
    for heard in played.heard:
        yield from _truth(heard, played)
        yield from _accounts(heard)
    if played.scenario.outage is None:
        yield from _served(played.only, played)
        yield from _times(played.only, played)
        yield from _invoices(played.only, played)
    else:
        yield from _outage(played)
    yield from _asked(played)


# -- the caller's view ------------------------------------------------------------------------------------------------


def _truth(heard: Heard, played: Played) -> Iterator[Finding]:
    from router.errors import RouterError

    if not TEXT.startswith(heard.text):
        yield Finding("truth", f"the caller read something that nobody had said: …{heard.text[-40:]!r}")
    if heard.error is None:
        if heard.text != TEXT or heard.answer is None or heard.answer.content != TEXT:
            yield Finding("truth", f"an answer of {count_tokens(heard.text)} tokens was presented as a whole one")
        if heard.finish_reason != "stop":
            yield Finding("truth", f"finish_reason is {heard.finish_reason!r}")
    else:
        if not isinstance(heard.error, RouterError):
            yield Finding("truth", f"the caller met a {type(heard.error).__name__}, no error of ours")
        partial: Completion | None = getattr(heard.error, "partial", None)
        if (partial.content or "" if partial is not None else "") != heard.text:
            yield Finding("truth", "the error does not hold what the caller had read")
    if heard.total > _deadline(played) + played.slack:
        yield Finding("truth", f"it took {heard.total:.2f} s, longer than the deadline")


def _deadline(played: Played) -> float:
    from router.lab.scenarios import POLICY

    return float(POLICY["deadline"]) / played.factor


def _served(heard: Heard, played: Played) -> Iterator[Finding]:
    expected = played.scenario.expected
    found = type(heard.error).__name__ if heard.error is not None else None
    if found != expected.error:
        yield Finding(
            "served", f"{expected.error or 'an answer'} was expected, not {found or 'an answer'}: {heard.error}"
        )
    if heard.error is not None or heard.answer is None:
        return
    answer, name = heard.answer, expected.by
    if (answer.deployment, answer.model) != (f"{name}/model-{name}", f"lab/{name}"):
        yield Finding("conduct", f"the answer names {answer.deployment} and {answer.model}; {name} gave it")
    seams = [seam.how for seam in answer.seams]
    if seams != ([expected.seam] if expected.seam else []):
        yield Finding("conduct", f"mended by {seams or 'nothing'}, not by {expected.seam or 'nothing'}")
    if expected.seam and answer.seams and count_tokens(TEXT[: answer.seams[0].content]) != expected.sent:
        yield Finding("conduct", f"the seam is at character {answer.seams[0].content}, not at token {expected.sent}")


def _times(heard: Heard, played: Played) -> Iterator[Finding]:
    expected, factor = played.scenario.expected, played.factor
    if heard.first is None or heard.last is None:
        return
    if heard.first < expected.waits / factor:
        yield Finding("conduct", f"the first token came after {heard.first:.3f} s: nobody waited")
    if expected.within is not None and heard.first > expected.within / factor + played.slack:
        yield Finding("conduct", f"the first token came only after {heard.first:.3f} s")
    leaving = (min(expected.sent, count_tokens(heard.text)) - 1) * TOKEN_DELAY / factor
    if heard.last - heard.first < STREAMED * leaving:
        yield Finding("conduct", "the first token reached the caller when the last one had left the provider")


# -- the money --------------------------------------------------------------------------------------------------------


def _accounts(heard: Heard) -> Iterator[Finding]:
    """The answer's cost is that of its attempts, whatever happened."""
    facts = heard.answer or getattr(heard.error, "partial", None)
    if facts is None:
        return
    costs = [attempt.cost.usd for attempt in facts.attempts]
    known = [cost for cost in costs if cost is not None]
    if known != costs or facts.cost.usd is None or abs(sum(known) - facts.cost.usd) > 1e-12:
        yield Finding("conduct", f"the attempts cost {costs}, and the answer says {facts.cost}")


def _invoices(heard: Heard, played: Played) -> Iterator[Finding]:
    """Usage is the invoice's of whoever answered; dollars sum to all invoices, where none was for a broken stream."""
    if heard.answer is None:
        return
    usage, side = heard.answer.usage, played.scenario.expected.by
    bills = played.invoices[side]
    if not bills or (usage.prompt_tokens, usage.completion_tokens) != (bills[-1].prompt, bills[-1].completion):
        yield Finding("conduct", f"usage is {usage}, which is not {side}'s invoice")
    if any(attempt.error is not None and attempt.cost.usd for attempt in heard.answer.attempts):
        return  # a broken stream brings no usage: its cost is an estimate, and says so
    billed = sum(invoice.usd for invoices in played.invoices.values() for invoice in invoices)
    if heard.answer.cost.usd is None or abs(heard.answer.cost.usd - billed) > 1e-12:
        yield Finding("conduct", f"the answer cost {heard.answer.cost.usd}, and the invoices sum to {billed}")


# -- the providers' view ----------------------------------------------------------------------------------------------


def _asked(played: Played) -> Iterator[Finding]:
    expected = played.scenario.expected
    for side, (least, most) in zip(SIDES, (expected.primary, expected.secondary), strict=True):
        if not least <= played.count(side) <= most:
            yield Finding("conduct", f"{side} got {played.count(side)} requests, not {least} to {most}")
        for received in played.requests[side]:
            yield from _request(received, side, may_continue=played.scenario.continues)


def _request(received: Received, side: str, *, may_continue: bool) -> Iterator[Finding]:
    """The caller's own conversation, for the model that is sold there; never a word of ours."""
    messages = received.body["messages"]
    begun = messages[len(QUESTION) :]
    own = all(one["role"] == "assistant" and TEXT.startswith(one["content"]) for one in begun)
    if messages[: len(QUESTION)] != QUESTION or len(begun) > may_continue or not own:
        yield Finding("conduct", f"{side} was asked something that the caller had not said: {messages}")
    if received.body["model"] != f"lab/{side}" or received.headers.get("Authorization") != f"Bearer key-of-{side}":
        yield Finding("conduct", f"{side} was asked for another's model, or with another's key")


def _outage(played: Played) -> Iterator[Finding]:
    outage = played.scenario.outage
    lost = [heard for heard in played.heard if heard.error is not None]
    if lost:
        yield Finding("served", f"{len(lost)} of {len(played.heard)} callers got no answer: {lost[0].error}")
    within = (played.scenario.expected.within or 0.0) / played.factor + played.slack
    slow = [heard for heard in played.heard if heard.first is not None and heard.first > within]
    if slow:
        yield Finding("conduct", f"{len(slow)} callers waited longer than {within:.2f} s for the first token")
    if outage is None or played.healed_at is None:
        return
    again = played.served_again_at
    if again is None or again - played.healed_at > outage.back / played.factor + played.slack:
        yield Finding("conduct", "the primary was back and was not asked again")


# -- in words ---------------------------------------------------------------------------------------------------------


def _recovery(played: Played) -> str:
    """What was done about the failure, for a person."""
    heard = played.only
    facts = heard.answer or getattr(heard.error, "partial", None)
    attempts = facts.attempts if facts is not None else getattr(heard.error, "attempts", ())
    if played.scenario.outage is not None and played.healed_at is not None:
        return f"failed over unseen; {_back(played, played.healed_at)}"
    if heard.error is not None:
        return f"raises {type(heard.error).__name__}"
    if facts is not None and facts.seams:
        rejected = any(attempt.outcome == "ContinuationRejected" for attempt in attempts)
        seam = facts.seams[0]
        after = "continuation refused; " if rejected else ""
        return f"{after}{seam.how} by {_side(seam.after)} after token {count_tokens(TEXT[: seam.content])}"
    if len(attempts) < 2:
        return "nothing to mend"
    same = any(before.deployment == after.deployment for before, after in pairwise(attempts))
    waited = attempts[-1].delay * played.factor
    here = f"asked again after {waited:.1f} s" if same and attempts[-1].deployment == attempts[0].deployment else ""
    return here or f"failed over unseen{' after a second try here' if same else ''}"


def _back(played: Played, healed_at: float) -> str:
    if played.served_again_at is None:
        return "primary is not asked again"
    return f"primary serves within {math.ceil((played.served_again_at - healed_at) * played.factor)} s of its return"


def _side(deployment: str) -> str:
    return deployment.partition("/")[0]
