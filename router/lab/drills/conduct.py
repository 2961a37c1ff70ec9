"""The providers' view of a scenario, and the bill: whether they were asked as they should be. Pure.

Every measure is the route's own policy: so many attempts, so long a cooldown, this order. What overloads a provider is
told apart from what is merely wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from router.lab.drills.stage import LATENCY
from router.lab.script import provider_of

if TYPE_CHECKING:
    from router.config import CircuitSettings
    from router.lab.drills.play import Asked, Heard, Played

Load = Literal["load", "conduct"]
AT_ONCE = 0.5  # seconds within which another deployment is asked after a failure
LIMITED = frozenset({"rate_limited"})
REFUSED = frozenset({"content_policy"})  # what the request itself has caused
DOWN = frozenset({"refuse", "reset", "silence", "server_error", "overloaded", "gateway_timeout"})


def conduct(played: Played) -> Iterator[tuple[Load, str]]:
    """Everything that was not right about the way."""
    yield from (("load", message) for message in _hammered(played))
    yield from (("load", message) for message in _through_an_outage(played))
    yield from (("conduct", message) for message in _too_soon(played))
    yield from (("conduct", message) for message in _refused_again(played))
    yield from (("conduct", message) for message in _late_failover(played))
    yield from (("conduct", message) for message in _not_back(played))
    yield from (("conduct", message) for message in _other_words(played))
    yield from (("conduct", message) for message in _bill(played))


def kind_of(asked: Asked) -> str:
    """The word for the fault that a request met; empty for none."""
    return "" if asked.fault is None else str(asked.fault.code or asked.fault.kind)


# -- how often --------------------------------------------------------------------------------------------------------


def _hammered(played: Played) -> Iterator[str]:
    """More requests than the policy allows so many callers."""
    policy, callers = played.ground.route.policy, len(played.heard)
    hedged = 1 if policy.hedge is not None else 0  # a second call beside the first is no retry
    deployments = played.ground.deployments
    spare = sum(max(len(one.provider.keys) - 1, 0) for one in deployments.values())  # another key is asked at once
    total = sum(1 for one in played.asked if one.generates)
    if total > callers * (policy.attempts + spare + hedged):
        yield (
            f"{_callers(callers)} made {total} requests; the policy allows {policy.attempts} attempts"
            f"{' each' if callers > 1 else ''}"
        )
    for name, deployment in deployments.items():
        count = len(played.requests(name))
        most = callers * (policy.attempts_per_deployment + max(len(deployment.provider.keys) - 1, 0) + hedged)
        if count > most:
            yield (
                f"{name} got {count} requests from {_callers(callers)}; the policy allows"
                f" {policy.attempts_per_deployment} attempts per deployment"
            )


def _callers(count: int) -> str:
    return "1 caller" if count == 1 else f"{count} callers"


def _through_an_outage(played: Played) -> Iterator[str]:
    """A deployment that is down is left alone but for probes, as long as another one serves."""
    policy = played.ground.route.policy
    circuit, per = policy.circuit, policy.attempts_per_deployment
    again = per if policy.order == "here_first" else 1  # how often a probe that fails is asked again at once
    well = [name for name in played.cast.order if name not in played.cast.concerned]
    for name in played.cast.concerned if well else ():
        down = [one for one in played.requests(name) if kind_of(one) in DOWN]
        if len(down) < 2:
            continue
        lasted = down[-1].at - down[0].at
        most = circuit.failures + per + _probes(circuit, lasted) * again
        if len(down) > most:
            yield (
                f"{name} was asked {len(down)} times in the {lasted:.0f} s that it was down; with"
                f" circuit: {{failures: {circuit.failures}, cooldown: {circuit.cooldown:g}s}} {most} are enough"
            )


def _probes(circuit: CircuitSettings, seconds: float) -> int:
    """How many rests, each at least four fifths of its cooldown, end within so many *seconds*."""
    count, rest, passed = 0, circuit.cooldown, 0.0
    while passed <= seconds:
        passed += 0.8 * rest
        rest = min(2 * rest, circuit.max_cooldown)
        count += 1
    return count


# -- when -------------------------------------------------------------------------------------------------------------


def _too_soon(played: Played) -> Iterator[str]:
    """Whoever says when he can be asked again is not asked before, with that key."""
    for one in played.asked:
        wait = _asked_wait(one)
        if wait is None:
            continue
        known = one.at + 2 * LATENCY  # until the answer was there, others may have been on their way
        for other in played.asked:
            same = provider_of(other.deployment) == provider_of(one.deployment) and _key(other) == _key(one)
            if same and other.deployment == one.deployment and known < other.at < one.at + wait:
                yield f"{one.deployment} asked to be left alone for {wait:g} s, and was asked again sooner"
                return


def _asked_wait(asked: Asked) -> float | None:
    headers = dict(asked.fault.headers) if asked.fault is not None and kind_of(asked) in LIMITED else {}
    try:
        return float(headers["Retry-After"])
    except (KeyError, ValueError):
        return None


def _key(asked: Asked) -> Any:
    return asked.received.headers.get("Authorization")


def _refused_again(played: Played) -> Iterator[str]:
    """What was refused for its content is taken to nobody else."""
    refused = [one for one in played.asked if kind_of(one) in REFUSED]
    others = [one for one in played.asked if one.generates and kind_of(one) not in REFUSED]
    if refused and (others or len(refused) > len(played.heard)):
        whom = (others or refused)[-1].deployment
        yield f"a request that {refused[0].deployment} had refused for its content was sent again, to {whom}"


def _late_failover(played: Played) -> Iterator[str]:
    """Another deployment that has not been asked yet is asked at once."""
    if played.ground.route.policy.order != "elsewhere_first" or len(played.heard) != 1:
        return
    attempts = played.heard[0].attempts
    seen: set[str] = set()
    for failed, following in pairwise(attempts):
        seen.add(failed.deployment)
        gap = following.started - (failed.started + failed.duration)
        if following.deployment not in seen and gap > AT_ONCE:
            yield f"{following.deployment} was asked only {gap:.1f} s after {failed.deployment} had failed"


def _not_back(played: Played) -> Iterator[str]:
    """When a window is over, who is first in order is asked again, a longest cooldown later at the latest."""
    route, order = played.ground.route, played.cast.order
    if played.script.ends is None or route.select not in ("priority", "cheapest"):
        return
    windows = [one.trouble.when for one in played.cast.parts(order[0]) if one.trouble.when.until is not None]
    if not windows or not any(kind_of(one) in DOWN | LIMITED for one in played.requests(order[0])):
        return
    over = max(one.until or 0.0 for one in windows)
    latest = over + 1.1 * route.policy.circuit.max_cooldown + 2 * played.script.callers.every
    later = [heard for heard in played.heard if heard.asked_at >= over]
    if later and not any(over <= one.at <= latest for one in played.requests(order[0])):
        yield f"{order[0]} was well again after {over:g} s, and was not asked within {latest - over:.0f} s"


# -- what -------------------------------------------------------------------------------------------------------------


def _other_words(played: Played) -> Iterator[str]:
    """The caller's own conversation, for the model that is sold there, with the provider's own key."""
    question = played.ground.request["messages"][0]
    for one in played.asked:
        if not one.generates:
            continue
        body = one.received.body[0] if isinstance(one.received.body, list) else one.received.body
        messages = body.get("messages", []) if isinstance(body, dict) else []
        strange = [message for message in messages if not _known(message, question, played)]
        if strange:
            yield f"{one.deployment} was asked something that the caller had not said: {str(strange[0])[:80]}"
        key = str(_key(one) or "")
        provider = provider_of(one.deployment)
        if "lab-key-" in key and not key.endswith(f"-of-{provider}"):
            yield f"{one.deployment} was asked with the key of another provider"


def _known(message: Any, question: Any, played: Played) -> bool:
    """Whether it is the question, or the beginning of an answer to it."""
    if not isinstance(message, dict):
        return False
    content = message.get("content")
    if message.get("role") == "assistant":
        return any(said.content.startswith(str(content)) for said in played.ground.said.values())
    return message.get("role") == question["role"] and (content == question["content"] or isinstance(content, list))


# -- what it cost -----------------------------------------------------------------------------------------------------


def _bill(played: Played) -> Iterator[str]:
    """An answer's cost is that of its attempts; where all was told, it is what the providers invoice."""
    for heard in played.heard:
        facts = heard.answer or getattr(heard.error, "partial", None)
        costs = [attempt.cost.usd for attempt in facts.attempts] if facts is not None else []
        known = [cost for cost in costs if cost is not None]
        if facts is not None and facts.cost.usd is not None and abs(sum(known) - facts.cost.usd) > 1e-9:
            yield f"an answer says that it cost ${facts.cost.usd:g}, and its attempts ${sum(known):g}"
    if len(played.heard) == 1:
        yield from _invoice(played.heard[0], played)
    billed, known_cost = _sums(played)
    if billed is not None and known_cost is not None and abs(billed - known_cost) > 1e-9:
        yield f"the answers cost ${known_cost:.6f}, and the providers' invoices come to ${billed:.6f}"


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
    lost = [one for one in played.asked if one.fault is not None and not one.fault.at_arrival]
    costs = [answer.cost.usd for answer in answers if answer is not None]
    guessed = any(one.error is not None and one.cost.usd for heard in played.heard for one in heard.attempts)
    if lost or guessed or None in answers or None in costs:
        return None, None
    billed = math.fsum(invoice.usd for invoices in played.invoices.values() for invoice in invoices)
    return billed, math.fsum(cost for cost in costs if cost is not None)
