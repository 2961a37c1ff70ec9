"""Our ledger against the providers' invoices: attempts and invoices, paired, and what remains. Pure.

Knows what makes an attempt and an invoice the same: the provider, and every number that both of them tell. Refuses to
look for reasons.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from providers.types import Attempt
    from router.lab.emulators import Emulator, Invoice

CENT = 1e-9  # dollars that rounding may take: providers bill to the nano-dollar


def differences(attempts: Sequence[Attempt], emulators: Mapping[str, Emulator]) -> list[str]:
    """What the attempts say otherwise than the invoices, in words; empty where they agree."""
    found: list[str] = []
    for name, emulator in emulators.items():
        ours = [one for one in attempts if one.deployment.split("/", 1)[0] == name]
        found += _at(name, ours, list(emulator.invoices), sum(one.replayed is not None for one in emulator.requests))
    strangers = dict.fromkeys(one.deployment for one in attempts if one.deployment.split("/", 1)[0] not in emulators)
    return found + [f"{name}: an attempt, and no emulator of that provider to bill it" for name in strangers]


def _at(name: str, attempts: Sequence[Attempt], invoices: list[Invoice], replayed: int) -> list[str]:
    """What differs at one provider."""
    unpaired = []
    for attempt in attempts:
        if attempt.outcome != "success":
            continue
        same = next((one for one in invoices if not _against(attempt, one)), None)
        if same is None:
            unpaired.append(attempt)
        else:
            invoices.remove(same)
    found = []
    for attempt in unpaired:
        near = min(invoices, key=lambda one: len(_against(attempt, one)), default=None)
        if near is not None:
            invoices.remove(near)
            found.append(f"{attempt.deployment}: {', '.join(_against(attempt, near))}")
        elif replayed:
            replayed -= 1
        else:
            found.append(f"{attempt.deployment}: an answer ({_said(attempt)}) that was never invoiced")
    may_have_cost = sum(one.outcome != "success" and one.cost.usd != 0.0 for one in attempts)
    unclaimed = invoices[may_have_cost:]
    found += [f"{name}: invoiced {_billed(one)}, and no attempt accounts for it" for one in unclaimed]
    return found


def _against(attempt: Attempt, invoice: Invoice) -> list[str]:
    """Every number that the two tell differently."""
    usage, cost = attempt.usage, attempt.cost
    if usage is None:
        return ["the answer tells no tokens"]
    pairs: Iterable[tuple[str, int | None, int]] = (
        ("prompt_tokens", usage.prompt_tokens, invoice.prompt),
        ("completion_tokens", usage.completion_tokens, invoice.completion),
        # What part of an answer was reasoning, not every provider tells; it is billed as the rest of it anyway.
        ("reasoning_tokens", None if usage.estimated else usage.reasoning_tokens, invoice.reasoning),
        ("cached_tokens", usage.cached_tokens, invoice.cached),
    )
    found = [
        f"{word} {ours} in the answer{' (estimated)' if usage.estimated else ''}, {theirs} on the invoice"
        for word, ours, theirs in pairs
        if ours is not None and ours != theirs
    ]
    if cost.usd is not None and abs(cost.usd - invoice.usd) > CENT:
        found.append(f"${cost.usd:.9f} in the answer ({cost.source}), ${invoice.usd:.9f} on the invoice")
    return found


def _said(attempt: Attempt) -> str:
    usage = attempt.usage
    tokens = "no tokens" if usage is None else f"{usage.prompt_tokens} + {usage.completion_tokens} tokens"
    return f"{tokens}, {'cost unknown' if attempt.cost.usd is None else f'${attempt.cost.usd:.9f}'}"


def _billed(invoice: Invoice) -> str:
    return f"{invoice.prompt} + {invoice.completion} tokens of {invoice.model}, ${invoice.usd:.9f}"
