"""Assertions for users' own tests: what an answer must not hide.

Knows answers, not providers: these work on whatever the router returned, from an emulator or from the real thing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from providers.types import Completion


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
    allowed = set(allow)
    found = [
        change for change in answer.changes if change.param not in allowed and (defaults or change.how != "defaulted")
    ]
    if found:
        lines = "\n".join(f"  {change}" for change in found)
        message = f"{answer.deployment} did not do what was asked:\n{lines}"
        raise AssertionError(message)
