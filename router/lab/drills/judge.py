"""Judges what was played, on both views: what the callers got, and what the providers were asked. Pure.

The four verdicts are those of the public benchmark:

- `pass`: the callers got what they should, and every provider was asked as it should be;
- `partial`: the callers got what they should; something about the way there was not right;
- `safe`: a caller did not get what he should, and was told so: an error that names it, and nothing false;
- `fail`: a caller was misled (a wrong, doubled or cut answer presented as a whole one) or heard nothing in time, or a
  provider was hammered.

What should come of a scenario is derived from the route: the policy that is being tested is the measure, not another.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

from router.lab.drills.bill import bill
from router.lab.drills.conduct import conduct
from router.lab.drills.exact import exact
from router.lab.drills.why import Cause, cause_of

if TYPE_CHECKING:
    from router.lab.drills.play import Heard, Played

Word = Literal["pass", "partial", "safe", "fail", "skipped"]
Kind = Literal["truth", "load", "served", "conduct"]
VERDICTS: tuple[Word, ...] = ("fail", "safe", "partial", "pass")  # from worst to best
READING = 0.5  # of the time that the tokens took to leave the provider, which the caller must have been reading


class Flaw(NamedTuple):
    """Something that was not as it should be: whether it misleads, overloads, fails to serve, or is wrong conduct."""

    kind: Kind
    cause: Cause


def judge(played: Played) -> tuple[Word, tuple[Flaw, ...]]:
    """The verdict on what was played, and why it is no better."""
    found = tuple(_distinct(_flaws(played)))
    kinds = {one.kind for one in found}
    if kinds & {"truth", "load"}:
        return "fail", found
    return ("safe" if "served" in kinds else "partial" if kinds else "pass"), found


def _distinct(flaws: Iterator[Flaw]) -> Iterator[Flaw]:
    """Each only once, however many callers met it."""
    seen: set[tuple[Kind, str]] = set()
    for one in flaws:
        if (key := (one.kind, one.cause.message)) not in seen:
            seen.add(key)
            yield one


def _flaws(played: Played) -> Iterator[Flaw]:
    for heard in played.heard:
        yield from (Flaw("truth", Cause(message)) for message in _truth(heard, played))
    yield from _served(played)
    for kind, message in conduct(played):
        yield Flaw(kind, Cause(message))
    for message in (*bill(played), *exact(played)):
        yield Flaw("conduct", Cause(message))
    yield from (Flaw("conduct", Cause(message)) for message in _reading(played))


# -- the truth --------------------------------------------------------------------------------------------------------


def _truth(heard: Heard, played: Played) -> Iterator[str]:
    deadline = played.ground.route.policy.deadline
    if heard.hung:
        yield f"a caller still waited {heard.total:.0f} s after he had asked; the deadline is {deadline:g} s"
        return
    if heard.total > deadline + played.ground.slack:
        yield f"it took {heard.total:.1f} s, and the deadline is {deadline:g} s"
    if heard.error is None:
        yield from _whole_truth(heard, played)
    else:
        yield from _honest(heard, played)


def _whole_truth(heard: Heard, played: Played) -> Iterator[str]:
    """What was presented as an answer is one, to the letter."""
    answer = heard.answer
    if answer is None:
        yield "a stream ended without a completion and without an error"
        return
    said = played.ground.said.get(answer.deployment)
    if said is None:
        yield f"the answer names {answer.deployment!r}, which is not of this route"
        return
    if heard.reasoning not in ("", said.reasoning) and not _leaks(played):
        yield f"reasoning that {answer.deployment} had not said (…{heard.reasoning[-30:]!r}) was presented as its own"
    if heard.text != said.content:
        yield f"{_measure(heard.text, said.content)} was presented as a whole answer"
    elif (answer.content, answer.reasoning_content or "") != (said.content, heard.reasoning):
        yield "the completion does not hold what the caller had read"
    if heard.finish_reason != "stop":
        yield f"finish_reason is {heard.finish_reason!r}, and the model had stopped by itself"


def _leaks(played: Played) -> bool:
    """Whether a provider mixed up thought and answer: then its reasoning is the fault's, and the text alone is judged."""
    return any(one.fault is not None and one.fault.kind in _LEAKS for one in played.asked)


def _measure(text: str, whole: str) -> str:
    if whole.startswith(text):
        return f"an answer of {len(text.split())} words of {len(whole.split())}"
    return f"something that no deployment had said (…{text[-30:]!r})"


def _honest(heard: Heard, played: Played) -> Iterator[str]:
    """What was read before an error came was said by somebody, and the error holds it."""
    from router.errors import RouterError

    if not isinstance(heard.error, RouterError):
        yield f"the caller met {type(heard.error).__name__}, no error of the router: {heard.error}"
    if heard.text and not any(said.content.startswith(heard.text) for said in played.ground.said.values()):
        yield f"the caller read something that no deployment had said (…{heard.text[-30:]!r})"
    thoughts = [said.reasoning for said in played.ground.said.values()]
    if not any(thought.startswith(heard.reasoning) for thought in thoughts) and not _leaks(played):
        yield f"the caller read reasoning that no deployment had said (…{heard.reasoning[-30:]!r})"
    partial = getattr(heard.error, "partial", None)
    held = ("", "") if partial is None else (partial.content or "", partial.reasoning_content or "")
    if held != (heard.text, heard.reasoning):
        yield "the error does not hold what the caller had read"


# -- served -----------------------------------------------------------------------------------------------------------


def _served(played: Played) -> Iterator[Flaw]:
    expected = played.script.expect
    lost = [heard for heard in played.heard if not _as_expected(heard, expected)]
    told: dict[str, tuple[Cause, int]] = {}
    for heard in lost:
        if heard.error is None:
            yield Flaw("conduct", Cause(f"{' or '.join(expected)} was to come of it, and an answer came"))
            continue
        cause = cause_of(heard, played)
        told[cause.message] = (cause, told.get(cause.message, (cause, 0))[1] + 1)
    for cause, count in told.values():
        many = f"{count} of {len(played.heard)} callers got no answer: " if len(played.heard) > 1 else ""
        yield Flaw("served", cause._replace(message=many + cause.message))


def _as_expected(heard: Heard, expected: tuple[str, ...]) -> bool:
    if heard.error is None:
        return "answer" in expected
    names = {kind.__name__ for kind in type(heard.error).__mro__}
    return "error" in expected or bool(names & set(expected))


# -- the pace ---------------------------------------------------------------------------------------------------------


def _reading(played: Played) -> Iterator[str]:
    """Streams reach their callers while they are being said; where the machine's clock rules, most of many do."""
    held = sum(_held_back(heard, played) for heard in played.heard)
    stumbles = len(played.heard) // 2 if played.ground.clock == "real" else 0  # a busy machine may halt one of them
    if held > stumbles:
        yield "the first token reached the caller when the last one had left the provider"


def _held_back(heard: Heard, played: Played) -> bool:
    """Whether a stream came when it had been said, although no policy holds it."""
    unusual = any(one.fault is not None and one.fault.kind in _AT_ONCE for one in played.asked)
    unusual = unusual or not all(one.generates for one in played.asked)  # who polls gets the answer in one piece
    if not played.script.callers.stream or heard.first is None or heard.last is None:
        return False
    if unusual or played.ground.route.policy.hold is not None:
        return False
    facts = heard.answer or getattr(heard.error, "partial", None)
    seams = facts.seams if facts is not None else ()
    words = len(heard.text[: seams[0].content if seams else None].split())
    leaving = max(words - 1, 0) * played.ground.voice.token_delay
    return heard.last - heard.first < READING * leaving


# What is whole before any of it can be passed on.
_AT_ONCE = frozenset({"json_instead_of_stream", "trickle", "answer_in_reasoning", "duplicate_task"})
# What mixes up thought and answer.
_LEAKS = frozenset({"think_in_content", "answer_in_reasoning"})
