"""A recorded decision is made again from its record, whatever had gone before; and under another file, as far as is known."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.decisions import DecisionRecorder
from router.decisions.record import with_accounts
from router.decisions.replay import Replay, Replayer
from router.load import load
from tests.decisions.scenes import CONDUCTS, SELECTS, config_of, record, recorded
from tests.simulation import fleet

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("alpha", "beta", "gamma")


def differing(replays: list[Replay]) -> list[tuple[object, object]]:
    """For each request that differs: the decision on record, and the one that was made now."""
    found = [(one, one.first_difference) for one in replays]
    return [(one.turns[place].then, one.turns[place].now) for one, place in found if place is not None]


@settings(max_examples=25, deadline=None)
@given(
    conducts=st.lists(st.sampled_from(sorted(CONDUCTS)), min_size=1, max_size=3),
    select=st.sampled_from(SELECTS),
    order=st.sampled_from(["elsewhere_first", "here_first"]),
    attempts=st.integers(1, 6),
    each=st.integers(1, 3),
    keys=st.integers(1, 3),
    limits=st.sampled_from([None, {"requests_per_minute": 30}, {"concurrency": 2}]),
    streaming=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_a_recorded_decision_is_made_again(*, conducts, select, order, attempts, each, keys, limits, streaming, seed):
    """For every request of every history: from its record alone, the very same decisions, to the last bit of a delay."""
    names = dict(zip(NAMES, conducts, strict=False))
    policy = {"order": order, "attempts": attempts, "attempts_per_deployment": each}
    config = config_of(tuple(names), select=select, policy=policy, keys=keys, limits=limits)
    text = record(config, names, seed=seed, streaming=streaming)

    requests = recorded(text)
    document, environ = with_accounts(requests[0].written or {}, requests[0].facts["accounts"])
    again = Replayer(load(document, environ=environ))
    replays = [again.replay(one) for one in requests]

    assert [] == differing(replays)
    assert all(one.is_as_then for one in replays)
    assert [len(one.facts["steps"]) for one in requests] == [len(one.turns) for one in replays]
    assert "canary" not in text


@pytest.mark.parametrize("select", SELECTS)
def test_the_same_file_is_no_other_one(select):
    """The counterfactual of the file itself: everything as it was, outcomes and all."""
    names = dict(zip(NAMES, ("shaky", "too fast", "resets"), strict=True))
    config = config_of(NAMES, select=select, policy={"attempts_per_deployment": 2})
    again = Replayer(config, other=True)
    replays = [again.replay(one) for one in recorded(record(config, names))]

    assert [] == differing(replays)
    assert any(len(one.turns) > 1 for one in replays)


def test_recording_changes_nothing():
    """The story with a recorder is the story without one, to the byte."""
    config = config_of(NAMES, select="fastest")
    scripts = {name: CONDUCTS[conduct] for name, conduct in zip(NAMES, ("shaky", "resets", "up"), strict=True)}
    told = fleet.simulate(scripts, rate=4, seconds=15.0, config=config)
    recorded_one = fleet.simulate(
        scripts, rate=4, seconds=15.0, config=config, recorder=DecisionRecorder(io.StringIO())
    )

    assert told.lines == recorded_one.lines
    assert len(told.lines) > 100


def test_the_order_of_hashes_does_not_matter():
    """A record has the same bytes in every process."""
    digests = set()
    for seed in ("0", "4242"):
        done = subprocess.run(
            [sys.executable, "-m", "tests.decisions.scenes"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        digests.add(done.stdout)

    assert 1 == len(digests)


# -- what would have been ---------------------------------------------------------------------------------------------


def would_have(other, text):
    """The replays of all requests in *text* under the configuration *other*."""
    again = Replayer(other, other=True)
    return [again.replay(one) for one in recorded(text)]


def test_who_was_asked_answers_as_then():
    """The other file asks the second one first: what it answered is on record wherever it was asked."""
    names = {"alpha": "down", "beta": "up"}
    text = record(config_of(("alpha", "beta")), names, seconds=2.0)
    turned = config_of(("beta", "alpha"))
    first = would_have(turned, text)[0]

    assert ["beta/beta-model"] == [turn.now["try"] for turn in first.turns]
    assert "alpha/alpha-model" == (first.turns[0].then or {})["try"]
    assert first.turns[0].outcome.startswith("answered in")
    assert not first.is_as_then


def test_who_was_not_asked_is_not_known():
    """Nobody makes an answer up; and the replay stops there."""
    text = record(config_of(("alpha", "beta")), {"alpha": "up", "beta": "up"}, seconds=2.0)
    first = would_have(config_of(("beta", "alpha")), text)[0]

    assert ["not known: nobody asked it"] == [turn.outcome for turn in first.turns]


def test_fewer_attempts_stop_earlier():
    """The chain goes the same way as far as it goes, and then says why it stopped."""
    names = {"alpha": "down", "beta": "down", "gamma": "up"}
    text = record(config_of(NAMES), names, seconds=2.0)
    first = would_have(config_of(NAMES, policy={"attempts": 2}), text)[0]

    assert ["alpha/alpha-model", "beta/beta-model", None] == [turn.now.get("try") for turn in first.turns]
    assert "all 2 attempts of the policy are used up" == first.turns[-1].now["why"]
    assert 1 == first.first_difference  # the last attempt need not leave time for another


def test_less_time_than_it_took_is_not_known():
    """An answer that came later than it would have been waited for is no answer."""
    text = record(config_of(("alpha",)), {"alpha": "slow"}, seconds=3.0)
    first = would_have(config_of(("alpha",), policy={"deadline": "50ms"}), text)[0]

    assert first.turns[0].outcome.startswith("not known: it took")


def test_its_own_attempts_are_told_to_its_health():
    """Once it goes its own way, a key that was refused there rests, and the other one is asked."""
    names = {"alpha": "no credit", "beta": "no credit"}
    text = record(config_of(("alpha", "beta"), keys=2), names, seconds=10.0)
    turned = [one for one in would_have(config_of(("beta", "alpha"), keys=2), text) if len(one.turns) > 1]

    assert turned
    for one in turned:
        assert "beta/beta-model" == one.turns[0].now["try"]
        assert "the same deployment with another key" == one.turns[1].now["why"]
