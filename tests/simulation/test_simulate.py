"""What a simulation shows: the same for the same seed, and what its providers, limits, faults and fleets do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from router.errors import ConfigError
from router.lab.simulation import Assumptions, Scene, Traffic, differences, load_assumptions, simulate
from router.lab.simulation.facts import percentiles
from router.lab.simulation.requests import sample
from tests.lab.simulated import ALPHA, BETA, assumed, config, script


def facts(scene: Scene, *names: str, **policy: Any) -> Any:
    """The numbers of *scene*, over alpha and beta."""
    return simulate(config(*(names or ("alpha", "beta")), **policy), scene).facts


def down(who: str, begin: str, until: str) -> dict[str, Any]:
    return {"who": who, "what": "down", "when": {"from": begin, "until": until}}


def test_the_same_seed_gives_the_same_bytes():
    """And another seed others."""
    scenes = [Scene(rate=20, seconds=60, seed=seed, faults=[script(down("first", "20s", "30s"))]) for seed in (1, 1, 2)]
    one, same, other = (json.dumps(facts(scene)) for scene in scenes)

    assert one == same
    assert one != other


def test_an_outage_moves_the_traffic_and_nobody_notices():
    """The second answers while the first is down; nearly nothing is asked of the first meanwhile."""
    scene = Scene(rate=20, seconds=300, faults=[script(down("first", "100s", "200s"))])
    found = facts(scene)
    rows = {row["at"]: row for row in found["buckets"]["rows"]}

    assert 1.0 == found["success"]
    assert rows[90]["answered"][BETA] < 5
    assert rows[150]["answered"] == {ALPHA: 0, BETA: rows[150]["requests"]}
    assert rows[150]["attempts"][ALPHA] <= 3
    assert rows[250]["answered"][BETA] < 5
    assert found["deployments"][ALPHA]["circuit_opened"] > 3


def test_when_everybody_is_down_it_is_told():
    """Success falls, the errors have names, and every request is counted once."""
    found = facts(Scene(rate=20, seconds=120, faults=[script(down("all", "30s", "60s"))]), deadline="60s")

    assert 0.6 < found["success"] < 0.76  # a quarter of the time, and until the circuits are tried again
    assert set(found["errors"]) <= {"DeploymentsExhausted", "DeadlineExceeded"}
    assert found["requests"] == sum(found["errors"].values()) + sum(
        one["answered"] for one in found["deployments"].values()
    )
    assert found["requests"] == sum(row["requests"] for row in found["buckets"]["rows"])


def test_latencies_are_those_that_were_assumed():
    """Medians and spread of the first token, and the time that the tokens take."""
    given = assumed(
        {"answer_tokens": 100, "answer_spread": 0},
        all={"first_token": "500ms", "spread": 0.5, "tokens_per_second": 50},
    )
    found = facts(Scene(rate=50, seconds=120, assumptions=given))

    assert found["first_token"]["p50"] == pytest.approx(0.5, rel=0.05)
    assert found["first_token"]["p95"] == pytest.approx(0.5 * 2.718 ** (1.645 * 0.5), rel=0.1)
    assert found["total"]["p50"] == pytest.approx(2.5, rel=0.02)


def test_cost_is_what_the_prices_say():
    """Input and output of what was answered, by the prices of the file."""
    given = assumed({"prompt_tokens": 1000, "prompt_spread": 0, "answer_tokens": 500, "answer_spread": 0})
    found = facts(Scene(rate=10, seconds=60, assumptions=given))

    assert found["cost"]["per_request"] == pytest.approx((1000 * 0.1 + 500 * 0.4) / 1e6, rel=0.01)
    assert found["cost"]["unknown"] == 0


def test_an_answer_that_breaks_is_paid_for():
    """What was said before the break is on the bill, and in what was wasted."""
    cut = {"who": "first", "what": {"cut_after": {"events": 100}}, "when": {"share": "20%"}}
    found = facts(Scene(rate=20, seconds=60, faults=[script(cut)]))

    assert found["cost"]["wasted_usd"] > 0
    assert found["errors"] == {"StreamInterrupted": found["deployments"][ALPHA]["failed"]["TruncatedReply"]}


@pytest.mark.parametrize("repeats", [True, False])
def test_a_broken_stream_goes_on_elsewhere_only_where_answers_repeat(repeats):
    """`recover` splices an answer that is the same to the letter, and no other."""
    cut = {"who": "first", "what": {"cut_after": {"events": 20}}, "when": {"share": "20%"}}
    scene = Scene(rate=20, seconds=60, faults=[script(cut)], assumptions=assumed({"repeats": repeats}))
    found = facts(scene, on_interruption="recover")

    assert (found["errors"] == {}) is repeats


def test_a_fleet_shares_an_account_that_each_router_thinks_is_its_own():
    """One router stays within the limits that the file names; four of them together meet 429."""
    limited = config("alpha", "beta", limits={"requests_per_minute": 300})
    refused = {}
    for routers in (1, 4):
        found = simulate(limited, Scene(rate=9, seconds=300, routers=routers)).facts
        refused[routers] = sum(one["failed"].get("RateLimited", 0) for one in found["deployments"].values())

    assert 0 == refused[1]
    assert refused[4] > 20


def test_every_router_of_a_fleet_finds_out_for_itself():
    """Each has its own health: so many routers, so many circuits that open."""
    scenes = [Scene(rate=40, seconds=60, routers=n, faults=[script(down("first", "20s", "23s"))]) for n in (1, 4)]
    opened = [facts(scene)["deployments"][ALPHA]["circuit_opened"] for scene in scenes]

    assert 1 <= opened[0] < 4 <= opened[1]


def test_a_comparison_has_the_same_arrivals():
    """Two files under the same conditions: what differs is theirs."""
    scene = Scene(rate=10, seconds=120, faults=[script(down("alpha", "30s", "60s"))])
    one, other = simulate(config("alpha", "beta"), scene), simulate(config("alpha", "beta", attempts=1), scene)
    found = differences(one, other)

    assert one.facts["requests"] == other.facts["requests"]
    assert found["success"]["change"] == pytest.approx(other.success - one.success)
    assert other.success < one.success
    assert set(differences(one, one)["total.p50"].values()) == {one.facts["total"]["p50"], 0.0}


def test_hedges_are_simulated_too():
    """Whatever the router does: it is the router."""
    slow = {"who": "first", "what": {"slow": {"times": 20}}, "when": {"share": "5%"}}
    scene = Scene(rate=10, seconds=300, faults=[script(slow)], assumptions=assumed({"stream": False}))
    plain, hedged = facts(scene), facts(scene, hedge={})

    assert hedged["total"]["p99"] < plain["total"]["p99"]
    assert hedged["attempts_per_request"] > plain["attempts_per_request"]


# -- refusals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["framing", "think_in_content", "no_done", "usage_missing", "hold_open"])
def test_a_fault_that_times_cannot_tell_is_refused_by_name(what):
    """With what to do instead."""
    with pytest.raises(ConfigError, match=rf"{what} is about the bytes of an answer.*router drill"):
        facts(Scene(faults=[script({"who": "all", "what": what})]))


def test_who_is_not_there_is_refused(tmp_path):
    """In faults and in assumptions, with the nearest right name."""
    with pytest.raises(ConfigError, match=r"'alhpa' is nobody here.*'alpha'"):
        facts(Scene(faults=[script({"who": "alhpa", "what": "down"})]))
    path = tmp_path / "assumed.yaml"
    path.write_text("traffic: {}\nconduct:\n  all: {spread: 0}\n  bta: {spread: 0}\n")
    with pytest.raises(ConfigError, match=r"assumed\.yaml:4: conduct.bta: 'bta' is nobody here.*'beta'"):
        facts(Scene(assumptions=load_assumptions(path)))
    with pytest.raises(ConfigError, match=r"nobody knows 'caht'.*'chat'"):
        facts(Scene(route="caht"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("traffic: {answer_token: 3}", "1: traffic.answer_token: unknown key 'answer_token'.*answer_tokens"),
        ("conduct: {all: {first_token: soon}}", "'soon' is not a duration"),
        ("conduct:\n  all: {tokens_per_second: 0}", "2: conduct.all.tokens_per_second: should be greater than 0"),
        ("traffic: {arrivals: sometimes}", "'sometimes' is not known here"),
        ("conduct: {all: {spread: 9}}", "should be less than or equal to 3"),
    ],
)
def test_wrong_assumptions_are_told_with_their_line(tmp_path, text, message):
    """As every file of the project is."""
    path = tmp_path / "assumed.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_assumptions(path)


# -- parts --------------------------------------------------------------------------------------------------------------


def test_assumptions_lie_over_each_other():
    """All, the provider, the deployment; the last one wins."""
    given = load_assumptions(
        {
            "conduct": {
                "all": {"first_token": "1s", "spread": 0.1},
                "alpha": {"first_token": "2s", "limits": {"concurrency": 3}},
                ALPHA: {"tokens_per_second": 9},
            }
        }
    )
    found = given.conduct(ALPHA)

    assert (2.0, 0.1, 9) == (found.first_token, found.spread, found.tokens_per_second)
    assert found.limits is not None
    assert 3 == found.limits.concurrency
    assert 1.0 == given.conduct(BETA).first_token


def test_the_sample_has_the_lengths_that_were_asked_for():
    """Medians of prompt and answer, and no answer beyond max_tokens."""
    asked = sample("chat", Traffic(prompt_tokens=400, answer_tokens=90))
    prompts, answers = sorted(one.prompt for one in asked), sorted(one.answer for one in asked)

    assert prompts[128] == pytest.approx(400, rel=0.02)
    assert answers[128] == pytest.approx(90, rel=0.02)
    assert prompts[-1] > 1000


def test_percentiles_are_values_that_were_seen():
    """The smallest that so many are not above."""
    assert {"p50": 50, "p90": 90, "p95": 95, "p99": 99} == percentiles(range(1, 101))
    assert {"p50": 7, "p90": 7, "p95": 7, "p99": 7} == percentiles([7])
    assert {None} == set(percentiles([]).values())


def test_even_arrivals_are_even():
    """Rate times time, to the request."""
    scene = Scene(rate=7, seconds=60, assumptions=Assumptions(Traffic(arrivals="even")))

    assert 420 == facts(scene)["requests"]
