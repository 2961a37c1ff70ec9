"""The bill of a scenario: usage and dollars that answers speak of, and what the providers invoice. Pure.

Knows where all was told, and where a broken answer has left it to an estimate. Refuses to know prices: an emulator has them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from router.lab.script import provider_of

if TYPE_CHECKING:
    from router.lab.drills.play import Heard, Played

CENT = 1e-12  # dollars by which a sum may be off
WITHHELD = frozenset({"usage_missing", "late_usage"})  # what leaves the count of tokens to an estimate


def bill(played: Played) -> Iterator[str]:
    """An answer's cost is that of its attempts; where all was told, it is what the providers invoice."""
    for heard in played.heard:
        yield from _added_up(heard, played)
    if len(played.heard) == 1:
        yield from _invoice(played.heard[0], played)
    billed, known_cost = _sums(played)
    if billed is not None and known_cost is not None and abs(billed - known_cost) > CENT:
        yield f"the answers cost ${known_cost:.6f}, and the providers' invoices come to ${billed:.6f}"


def _added_up(heard: Heard, played: Played) -> Iterator[str]:
    facts = heard.answer or getattr(heard.error, "partial", None)
    if facts is None:
        return
    unknown = [one.deployment for one in facts.attempts if one.cost.usd is None]
    known = math.fsum(one.cost.usd for one in facts.attempts if one.cost.usd is not None)
    if facts.cost.usd is not None and abs(known - facts.cost.usd) > CENT:
        yield f"an answer says that it cost ${facts.cost.usd:g}, and its attempts ${known:g}"
    if facts.cost.usd is None and not unknown:
        yield f"an answer does not say what it cost, and its attempts cost ${known:g}"
    for name in unknown:
        deployment = played.ground.deployments.get(name)
        if deployment is not None and deployment.price is not None:
            yield f"{name} has a price, and an attempt there does not say what it cost"


def _invoice(heard: Heard, played: Played) -> Iterator[str]:
    """The usage of an answer is the invoice's of whoever gave it."""
    answer = heard.answer
    if answer is None or answer.usage.estimated:
        return
    bills = played.invoices.get(provider_of(answer.deployment), [])
    found = (answer.usage.prompt_tokens, answer.usage.completion_tokens)
    if not bills or found != (bills[-1].prompt, bills[-1].completion):
        billed = (bills[-1].prompt, bills[-1].completion) if bills else "nothing"
        yield f"usage is {found}, and {answer.deployment} has invoiced {billed}"


def _sums(played: Played) -> tuple[float | None, float | None]:
    """Dollars invoiced, and dollars that the answers speak of; None where a broken answer has left it to an estimate."""
    answers = [heard.answer for heard in played.heard]
    costs = [answer.cost.usd for answer in answers if answer is not None]
    withheld = any(one.fault is not None and one.fault.kind in WITHHELD for one in played.asked)
    guessed = any(one.outcome != "success" and one.cost.usd for heard in played.heard for one in heard.attempts)
    if guessed or withheld or None in answers or None in costs:
        return None, None
    billed = math.fsum(invoice.usd for invoices in played.invoices.values() for invoice in invoices)
    return billed, math.fsum(cost for cost in costs if cost is not None)
