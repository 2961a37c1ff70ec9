"""The sixteen scenarios of the public fault benchmark, over sockets, while really streaming; and the judge's own tests."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from router.lab.faults import Fault
from router.lab.rehearsal import TEXT, Played, play
from router.lab.scenarios import SIXTEEN, TOKENS, VARIANTS, Expected, Scenario, Trouble, scaled, scaled_policy
from router.lab.verdict import judge
from scripts import scenarios as report

ISSUE = (
    "429 with Retry-After: 2; persistent 429; one 500; persistent 503; reset before headers; silence; "
    "first token after 20 s; cut at token 40 of 60; stall at token 20; malformed tenth event; no [DONE]; "
    "context_length_exceeded; content_policy_violation; cut, and the fallback rejects a prefilled assistant turn; "
    "primary down for 60 s and back; failed-over accounting"
)
STREAMS = Path(__file__).resolve().parents[2] / "docs" / "streams.md"


def test_they_are_those_of_the_issue():
    assert ISSUE == "; ".join(scenario.says for scenario in SIXTEEN)
    assert len({scenario.name for scenario in SIXTEEN + VARIANTS}) == len(SIXTEEN + VARIANTS)


@pytest.mark.parametrize("scenario", SIXTEEN + VARIANTS, ids=lambda scenario: scenario.name)
async def test_it_passes(scenario):
    """Both views are as they should be."""
    played = await play(scenario)

    verdict = judge(played)

    assert () == verdict.findings
    assert "pass" == verdict.word


# -- the judge sees what it is there to see ---------------------------------------------------------------------------

WELL = Scenario("well", "nothing", Expected("primary", secondary=(0, 0)))


async def well() -> Played:
    return await play(WELL)


def says(played: Played) -> str:
    return "; ".join(finding.says for finding in judge(played).findings)


async def test_nothing_wrong_passes():
    played = await well()

    assert "pass" == judge(played).word
    assert TEXT == played.only.text
    assert TOKENS == played.invoices["primary"][0].completion


@pytest.mark.parametrize(
    ("text", "verdict"), [(TEXT[:-4], "fail"), (TEXT.replace("word7 ", ""), "fail"), (TEXT + TEXT, "fail")]
)
async def test_a_wrong_answer_that_looks_whole_fails(text, verdict):
    played = await well()
    played.only.text = text

    assert verdict == judge(played).word


async def test_an_honest_error_in_place_of_the_answer_is_safe():
    """Under `on_interruption: error` a cut is not mended, and said."""
    cut = next(scenario for scenario in SIXTEEN if scenario.name == "cut")
    played = await play(replace(cut, policy={"on_interruption": "error"}))

    assert "safe" == judge(played).word
    assert "an answer was expected, not StreamInterrupted" in says(played)


async def test_an_answer_without_the_conduct_is_partial():
    """It was asked to wait here, and went elsewhere."""
    wait = SIXTEEN[0]
    played = await play(replace(wait, policy={}))

    assert "partial" == judge(played).word
    assert "primary got 1 requests, not 2 to 2" in says(played)


async def test_a_first_token_out_of_its_time_is_seen():
    early, late = Expected("primary", secondary=(0, 0), waits=1000), Expected("primary", secondary=(0, 0), within=0)
    played = await well()

    played.scenario = replace(WELL, expected=early)
    assert "nobody waited" in says(played)
    played.scenario = replace(WELL, expected=late)
    played.only.first = 1.0
    assert "only after 1.000 s" in says(played)


async def test_a_buffered_answer_is_not_streamed():
    """`hold: all` gives everything at once: right, and no stream."""
    played = await play(replace(WELL, policy={"hold": "all"}))

    assert "partial" == judge(played).word
    assert "when the last one had left the provider" in says(played)


async def test_a_foreign_error_fails():
    played = await well()
    played.only.error = AttributeError("ours")

    assert "fail" == judge(played).word


async def test_a_word_of_ours_in_the_conversation_is_seen():
    played = await well()
    played.requests["primary"][0].body["messages"].insert(0, {"role": "system", "content": "Go on."})

    assert "the caller had not said" in says(played)


async def test_a_wrong_account_is_seen():
    played = await well()
    played.invoices["primary"][0] = replace(played.invoices["primary"][0], completion=7, usd=1.0)

    assert "not primary's invoice" in says(played)
    assert "the invoices sum to 1.0" in says(played)


async def test_a_fallback_that_says_something_else_is_never_glued_on():
    """Two models rarely say the same to the letter: then the caller is told, with all that he has read."""
    other = Scenario(
        "other", "cut, and B says something else", Expected(error="StreamInterrupted", sent=40),
        (Trouble(Fault.cut_after(41)),), policy={"attempts_per_deployment": 1},
        secondary=(Trouble(Fault.abort()),),
    )  # fmt: skip
    played = await play(other)

    assert "pass" == judge(played).word
    assert TEXT.startswith(played.only.text)


def test_every_time_is_scaled_by_one_factor():
    assert (("Retry-After", "0.1"),) == scaled(Fault.rate_limited(2), 20).headers
    assert 1 == scaled(Fault.first_token_delay(20), 20).seconds
    policy = scaled_policy({"order": "here_first"}, 20)
    assert ("6000ms", "500ms", "750ms", 3, "here_first") == (
        policy["deadline"],
        policy["timeouts"]["idle"],
        policy["circuit"]["max_cooldown"],
        policy["circuit"]["failures"],
        policy["order"],
    )


# -- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_shows_every_scenario_with_its_verdict():
    """Names, verdicts and counts, of the sixteen and the variants; `scripts/scenarios --write` renews it."""
    shown = report.REGION.search(STREAMS.read_text("utf-8"))
    assert shown is not None
    rows = re.findall(r"^ *(?:\d+|–) +(\S.*?) {2,}(pass|partial|safe|fail) ", shown["output"], re.MULTILINE)

    assert [(scenario.says, "pass") for scenario in SIXTEEN + VARIANTS] == rows


def test_the_report_has_the_shape_of_the_page():
    """One made now, of what was never played, has the same head and the same first columns."""
    text = report.rendered([], factor=20.0)

    shown = report.REGION.search(STREAMS.read_text("utf-8"))
    assert shown is not None
    assert "20 times as fast" in text
    assert "20 times as fast" in shown["output"]
