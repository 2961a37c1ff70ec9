"""The providers' view of a scenario: whether they were asked as they should be. Pure.

Every measure is the route's own policy: so many attempts, so long a cooldown, this order. What overloads a provider is
told apart from what is merely wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from router.lab.script import provider_of

if TYPE_CHECKING:
    from providers.types import Attempt
    from router.config import CircuitSettings
    from router.lab.drills.play import Asked, Played

Load = Literal["load", "conduct"]
KEY = "lab-key-"  # how every key of the lab begins
AT_ONCE = 0.5  # seconds of the machine's clock within which another deployment is asked after a failure
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
    yield from (("conduct", message) for message in _refused_for_nothing(played))


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
    served = {attempt.deployment for one in played.heard for attempt in one.attempts if attempt.outcome == "success"}
    well = [name for name in played.cast.order if name in served and name not in played.cast.concerned]
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
        known = (
            one.at + 2 * played.ground.voice.latency
        )  # until the answer was there, others may have been on their way
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


def _key(asked: Asked) -> str:
    """The key of the lab that a request came with, in whichever header."""
    values = asked.received.headers.values()
    return next((value[value.index(KEY) :] for value in values if KEY in value), "")


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
    attempts, at_once = played.heard[0].attempts, AT_ONCE * played.ground.factor
    seen: set[str] = set()
    for failed, following in pairwise(attempts):
        seen.add(failed.deployment)
        gap = following.started - (failed.started + failed.duration)
        if following.deployment not in seen and gap > at_once and not _rests_too(failed, following, played):
            yield f"{following.deployment} was asked only {gap:.1f} s after {failed.deployment} had failed"


def _rests_too(failed: Attempt, following: Attempt, played: Played) -> bool:
    """Whether the failure was one of the account that both have."""
    accounts = played.ground.accounts
    same = accounts[provider_of(failed.deployment)] == accounts[provider_of(following.deployment)]
    return same and failed.outcome == "RateLimited"


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
    again = [one for one in played.requests(order[0]) if over <= one.at <= latest + played.ground.slack]
    if later and not again:
        yield f"{order[0]} was well again after {over:g} s, and was not asked within {latest - over:.0f} s"
    if not again or route.policy.hedge is not None:  # of two that are asked at once, the other may always be quicker
        return
    answered = {one.deployment for heard in later for one in heard.attempts if one.outcome == "success"}
    if order[0] not in answered and all(one.fault is None for one in again):
        yield f"{order[0]} was well again after {over:g} s, was asked, and none of its answers was taken"


# -- what -------------------------------------------------------------------------------------------------------------


def _other_words(played: Played) -> Iterator[str]:
    """The caller's own conversation, for the model that is sold there, with the provider's own key."""
    for one in played.asked:
        if not one.generates:
            continue
        yield from _strange(one, played)
        deployment, key = played.ground.deployments[one.deployment], _key(one)
        if one.model != deployment.endpoint.wire_model:
            yield f"{deployment.provider.name} was asked for {one.model!r}, which this route does not buy there"
        if key and not key.endswith(f"-of-{deployment.provider.name}"):
            yield f"{one.deployment} was asked with the key of another provider"


def _strange(asked: Asked, played: Played) -> Iterator[str]:
    """The question, and behind it at most the beginning of an answer, where the row says that one goes on from it."""
    question, endpoint = played.ground.request["messages"][0], played.ground.deployments[asked.deployment].endpoint
    body = asked.received.body[0] if isinstance(asked.received.body, list) else asked.received.body
    messages = body.get("messages", []) if isinstance(body, dict) else []
    begun = messages[1:]
    may_go_on = endpoint.dialect.continuation is not None
    strange = [one for one in messages[:1] if not _is_question(one, question)]
    strange += [one for one in begun if not _is_beginning(one, played)] or begun[1 if may_go_on else 0 :]
    if strange:
        yield f"{asked.deployment} was asked something that the caller had not said: {str(strange[0])[:80]}"


def _is_question(message: Any, question: Any) -> bool:
    if not isinstance(message, dict):
        return False
    return message.get("role") == question["role"] and _text(message.get("content")) == _text(question["content"])


def _is_beginning(message: Any, played: Played) -> bool:
    """Whether it is what the caller has read of an answer."""
    if not isinstance(message, dict) or message.get("role") != "assistant":
        return False
    return any(said.content.startswith(str(message.get("content"))) for said in played.ground.said.values())


def _text(content: Any) -> str:
    """The text of a message; pictures travel in many ways."""
    if not isinstance(content, list):
        return str(content)
    return " ".join(str(part.get("text")) for part in content if isinstance(part, dict) and part.get("type") == "text")


def _refused_for_nothing(played: Played) -> Iterator[str]:
    """A provider that nothing is wrong with takes what it is sent; if not, the words for it are wrong."""
    seen: set[str] = set()
    for one in played.asked:
        task = _task(one)
        again = task in seen  # the first copy was taken: that is what the refusal says
        seen |= {task} if task else set()
        status = one.received.status or 200
        if one.fault is None and one.generates and 400 <= status < 500 and not again:
            yield f"{one.deployment} was well, and refused the request with {status}: look at the words for it"


def _task(asked: Asked) -> str:
    body = asked.received.body
    return str(body[0].get("taskUUID")) if isinstance(body, list) and body and isinstance(body[0], dict) else ""
