"""Assertions for users' own tests: what an answer must not hide, whom it took to get it, and what it cost.

Knows answers, not providers: these work on whatever the router returned, from an emulator or from the real thing. Only
the invoices come from emulators: no provider shows us his.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from providers.types import Attempt, Completion
    from router.lab.emulators import Emulator
    from router.lab.provider_lab import ProviderLab


def assert_no_silent_changes(answer: Completion, *, allow: Iterable[str] = (), defaults: bool = False) -> None:
    """Fail unless the answer means what was asked, as far as the router knows.

    Args:
        answer: what `Router.complete` returned, or the `completion` of a stream's last chunk.
        allow: canonical fields that may have been changed, e.g. `("seed", "top_k")`.
        defaults: True to hold the answer also to what nobody asked for: a provider's own default that alters the
            meaning (`how` is `defaulted`) then fails too, unless its field is allowed.

    Raises:
        AssertionError: with every change, one a line.
    """
    __tracebackhide__ = True
    allowed = set(allow)
    found = [
        change for change in answer.changes if change.param not in allowed and (defaults or change.how != "defaulted")
    ]
    if found:
        lines = "\n".join(f"  {change}" for change in found)
        message = f"{answer.deployment} did not do what was asked:\n{lines}"
        raise AssertionError(message)


def assert_attempts(
    answer: Completion | BaseException | Sequence[Attempt], expected: Iterable[str | tuple[str, str]]
) -> None:
    """Fail unless these were asked, in this order, and each attempt ended so.

    Args:
        answer: a completion, an error that carries `attempts` (`DeploymentsExhausted`, `DeadlineExceeded`,
            `StreamInterrupted`, ...), or the attempts themselves.
        expected: one line an attempt, `"mixlayer/qwen3.5-27b: Overloaded"`, or a pair of deployment and outcome. An outcome is
            `success`, `canceled`, or the class of a failure; `*` in a deployment stands for anything.

    Raises:
        AssertionError: with both lists side by side, and what each failure said.
        ValueError: an outcome that there is not, with the nearest that there is.
    """
    __tracebackhide__ = True
    wanted = [_pair(line) for line in expected]
    attempts = _attempts(answer)
    same = [_fits(one, attempt) for one, attempt in zip(wanted, attempts, strict=False)]
    if all(same) and len(wanted) == len(attempts):
        return
    left = [f"{deployment}: {outcome}" for deployment, outcome in wanted]
    right = [f"{attempt.deployment}: {attempt.outcome}" for attempt in attempts]
    width = max(map(len, [*left, "expected"]))
    lines = [f"    {'expected':<{width}}   got"]
    for place in range(max(len(left), len(right))):
        one = left[place] if place < len(left) else "–"
        other = right[place] if place < len(right) else "–"
        lines.append(f"  {' ' if place < len(same) and same[place] else '≠'} {one:<{width}}   {other}")
    said = [f"  {place}. {attempt.why}" for place, attempt in enumerate(attempts, 1) if attempt.why]
    message = "\n".join(["the attempts were not the expected ones:", *lines, *(["", *said] if said else [])])
    raise AssertionError(message)


def _pair(line: str | tuple[str, str]) -> tuple[str, str]:
    from providers.errors import nearest

    deployment, outcome = line.rpartition(":")[::2] if isinstance(line, str) else line
    deployment, outcome = deployment.strip(), outcome.strip()
    if not deployment or not outcome:
        message = f"{line!r}: an attempt is written 'provider/model: outcome'"
        raise ValueError(message)
    if outcome not in (known := _outcomes()):
        message = f"{line!r}: no attempt ends with {outcome!r}; {nearest(outcome, known)}"
        raise ValueError(message)
    return deployment, outcome


def _outcomes() -> set[str]:
    from providers import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return {"success", "canceled", *(kind.__name__ for kind in kinds if issubclass(kind, errors.ProviderError))}


def _attempts(answer: Any) -> Sequence[Attempt]:
    found = getattr(answer, "attempts", answer)
    if isinstance(found, BaseException) or not isinstance(found, Sequence):
        message = f"{type(answer).__name__} carries no attempts; what has some is a completion, or an error of a route"
        raise TypeError(message)
    return found


def _fits(wanted: tuple[str, str], attempt: Attempt) -> bool:
    return fnmatchcase(attempt.deployment, wanted[0]) and attempt.outcome == wanted[1]


def assert_ledger_matches_invoices(
    lab: ProviderLab | Mapping[str, Emulator], *answers: Completion | BaseException | Sequence[Attempt]
) -> None:
    """Fail unless what our answers say of tokens and dollars is what the emulators have invoiced, to the token.

    Every successful attempt must have an invoice with the same numbers. An attempt that broke may have one: nobody told
    us how much it was, so it is enough that the attempt does not claim to have cost nothing. An invoice that no attempt
    accounts for is a difference. Recorded answers (`Emulator.replay`) are on nobody's invoice and are left out.

    Args:
        lab: the `provider_lab` fixture, or emulators by the names of their providers (what `emulate_all` gives).
        answers: everything that was asked of these emulators: completions, errors that carry attempts, or attempts.
            For `provider_lab` without them: every attempt of every router that it made.

    Raises:
        AssertionError: with every difference, one a line.
    """
    __tracebackhide__ = True
    from router.lab.ledger import differences

    emulators: Mapping[str, Emulator] = lab if isinstance(lab, Mapping) else lab.emulators
    if not answers and isinstance(lab, Mapping):
        message = "give the answers to compare with the invoices, or provider_lab, which knows them"
        raise TypeError(message)
    attempts = [attempt for answer in answers for attempt in _attempts(answer)]
    if not answers and not isinstance(lab, Mapping):
        attempts = list(lab.ledger)
    found = differences(attempts, emulators)
    if found:
        lines = "\n".join(f"  {line}" for line in found)
        message = f"the ledger and the invoices differ:\n{lines}"
        raise AssertionError(message)
