"""The assertions that users put into their own tests."""

from __future__ import annotations

import pytest

from providers.types import Change, Completion
from router.lab import assert_no_silent_changes

SEED = Change("seed", 0, 1, "clamped", "the range here is 1 or more")
LEVEL = Change("reasoning_effort", "low", True, "nearest", "the provider does not tell this level apart")
DEFAULT = Change("max_tokens", None, 4096, "defaulted", "nothing was asked; this is the provider's default")


@pytest.mark.parametrize(
    ("changes", "options", "named"),
    [
        ((), {}, []),
        ((DEFAULT,), {}, []),
        ((DEFAULT,), {"defaults": True}, ["max_tokens"]),
        ((SEED,), {}, ["seed"]),
        ((SEED,), {"allow": ("seed",)}, []),
        ((SEED, LEVEL), {"allow": ("seed",)}, ["reasoning_effort"]),
        ((SEED, LEVEL), {}, ["seed", "reasoning_effort"]),
    ],
)
def test_a_change_that_was_not_allowed_fails_by_name(changes, options, named):
    """With every such change in the message, and who answered."""
    answer = Completion(deployment="p/m", changes=changes)
    try:
        assert_no_silent_changes(answer, **options)
        text = ""
    except AssertionError as error:
        text = str(error)

    assert bool(named) is text.startswith("p/m did not do what was asked")
    assert named == [change.param for change in (SEED, LEVEL, DEFAULT) if f"  {change.param}: " in text]
