"""What is exact about an answer: who gave it, where it was mended, when it began, how often each was asked. Pure.

Knows what any answer on any route must say of itself, and what a script demands beyond that (`Demands`). Refuses to know
what a caller should have got (`judge`) and what a policy allows (`conduct`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from providers.types import Completion
    from router.lab.drills.play import Heard, Played


def exact(played: Played) -> Iterator[str]:
    """Everything that is not as exact as it should be."""
    for heard in played.heard:
        if heard.answer is not None:
            yield from _names(heard.answer, played)
            yield from _by(heard.answer, played)
        yield from _seams(heard, played)
    if len(played.heard) == 1:
        yield from _given(played.heard[0], played)
    yield from _first_token(played)
    yield from _requests(played)


# -- of any answer ----------------------------------------------------------------------------------------------------


def _names(answer: Completion, played: Played) -> Iterator[str]:
    """Deployment and model of an answer are one; some providers leave out whose model it is."""
    deployment = played.ground.deployments.get(answer.deployment)
    wire = deployment.endpoint.wire_model if deployment is not None else answer.model
    if answer.model not in (wire, wire.rpartition("/")[2]):
        yield f"the answer of {answer.deployment} says that {answer.model!r} gave it"


def _given(heard: Heard, played: Played) -> Iterator[str]:
    """An answer names whoever was asked last; where two are asked at once, either may have been quicker."""
    asked = [one.deployment for one in played.asked if one.generates]
    if heard.answer is None or played.ground.route.policy.hedge is not None or not asked:
        return
    if heard.answer.deployment != asked[-1]:
        yield f"the answer names {heard.answer.deployment}, and {asked[-1]} gave it"


def _seams(heard: Heard, played: Played) -> Iterator[str]:
    """A seam is where the caller had got to when the stream broke; and where the script demands it."""
    facts = heard.answer or getattr(heard.error, "partial", None)
    if facts is None:
        return
    for seam in facts.seams:
        if seam.content not in heard.marks:
            yield f"the answer was {seam.how} at character {seam.content}, and the caller never stood there"
    demanded = played.script.demands.seams
    if demanded is None or heard.answer is None:
        return
    found = [(seam.how, len((facts.content or "")[: seam.content].split())) for seam in facts.seams]
    fits = len(found) == len(demanded) and all(
        how == one.how and one.words in (None, many) for (how, many), one in zip(found, demanded, strict=False)
    )
    if not fits:
        yield f"the answer was mended: {_list(found)}; demanded: {_list(demanded)}"


def _list(seams: Iterable[tuple[str, int | None]]) -> str:
    said = [f"{how} after {words if words is not None else 'some'} words" for how, words in seams]
    return ", ".join(said) or "not at all"


# -- what the script demands ------------------------------------------------------------------------------------------


def _by(answer: Completion, played: Played) -> Iterator[str]:
    by = played.script.demands.by
    meant = played.cast.meant(by) if by is not None else ()
    if meant and answer.deployment not in meant:
        yield f"the answer came from {answer.deployment}, and {by} was to give it"


def _first_token(played: Played) -> Iterator[str]:
    demands, firsts = played.script.demands, [one.first for one in played.heard if one.first is not None]
    early = [first for first in firsts if first < demands.after]
    if early:
        yield f"the first token came after {min(early):.3f} s, and had to wait {demands.after:g} s"
    late = [first for first in firsts if demands.within is not None and first > demands.within + played.ground.slack]
    if late:
        yield f"the first token came only after {max(late):.3f} s, and was demanded within {demands.within:g} s"


def _requests(played: Played) -> Iterator[str]:
    for who, (least, most) in played.script.demands.requests.items():
        meant = played.cast.meant(who)
        count = sum(map(played.count, meant))
        if meant and (count < least or (most is not None and count > most)):
            wanted = f"{least} or more" if most is None else f"{least}" if least == most else f"{least} to {most}"
            yield f"{who} got {count} requests, and {wanted} were demanded"
