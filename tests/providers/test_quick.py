"""What `quick` makes is what the class makes."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest

from providers.client import Limits
from providers.quick import quick
from providers.types import Attempt, Choice, Completion, Cost, Usage
from providers.wire import Call
from router.events import RequestEnded
from router.health import Ticket
from router.plan import Candidate
from router.policy import Try

MADE = (Attempt, Call, Candidate, Choice, Completion, Cost, Limits, RequestEnded, Ticket, Try, Usage)


@pytest.mark.parametrize("kind", MADE)
def test_it_is_the_frozen_value_itself(kind):
    """Of the same class, with the same fields, by place or by name; and it cannot be changed."""
    values = [str(place) for place, _ in enumerate(fields(kind))]
    names = [one.name for one in fields(kind)]
    made = quick(kind)(*values)

    assert kind is type(made)
    assert repr(kind(*values)) == repr(made)
    assert repr(made) == repr(quick(kind)(**dict(zip(names, values, strict=True))))
    with pytest.raises(FrozenInstanceError):
        setattr(made, names[0], "other")


def test_it_has_the_same_defaults():
    """Also where they are made anew."""
    assert Completion() == quick(Completion)()
    some: Any = "endpoint", "http"
    assert Call(*some) == quick(Call)(*some)


def test_it_is_equal_hashed_copied_and_pickled_as_any():
    """Nothing shows how it was made."""
    made = quick(Attempt)("one/model", "success", cost=quick(Cost)(0.5, "reported"))
    usual = Attempt("one/model", "success", cost=Cost(0.5, "reported"))

    assert usual == made
    assert hash(usual) == hash(made)
    assert usual == copy.deepcopy(made) == pickle.loads(pickle.dumps(made))  # noqa: S301  # our own
    assert replace(usual, status=200) == replace(made, status=200)
