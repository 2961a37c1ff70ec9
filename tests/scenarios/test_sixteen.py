"""The sixteen scenarios of the public fault benchmark, on virtual time and over sockets; and the judge's own tests."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from router.lab.faults import Fault
from router.lab.rehearsal import TEXT, Played, play, play_virtually
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
def test_it_passes(scenario):
    """Both views are as they should be."""
    verdict = judge(play_virtually(scenario))

    assert () == verdict.findings
    assert "pass" == verdict.word


async def test_the_sixteen_pass_over_sockets():
    """While really streaming, through the kernel and by the real clock, and the same is done about each failure."""
    played = [await play(scenario) for scenario in SIXTEEN]

    verdicts = [judge(one) for one in played]
    assert {} == {
        one.scenario.name: verdict.findings for one, verdict in zip(played, verdicts, strict=True) if verdict.findings
    }
    assert ["pass"] * 16 == [verdict.word for verdict in verdicts]


def test_it_is_the_same_again():
    """On virtual time, to the last digit of every moment."""
    outage = next(scenario for scenario in SIXTEEN if scenario.outage)
    first, second = play_virtually(outage), play_virtually(outage)

    assert [(heard.text, heard.first, heard.last, heard.total) for heard in first.heard] == [
        (heard.text, heard.first, heard.last, heard.total) for heard in second.heard
    ]
    assert 60 == first.healed_at


# -- the judge sees what it is there to see ---------------------------------------------------------------------------

WELL = Scenario("well", "nothing", Expected("primary", secondary=(0, 0)))


def well() -> Played:
    return play_virtually(WELL)


def says(played: Played) -> str:
    return "; ".join(finding.says for finding in judge(played).findings)


def test_nothing_wrong_passes():
    played = well()

    assert "pass" == judge(played).word
    assert TEXT == played.only.text
    assert TOKENS == played.invoices["primary"][0].completion


@pytest.mark.parametrize(
    ("text", "verdict"), [(TEXT[:-4], "fail"), (TEXT.replace("word7 ", ""), "fail"), (TEXT + TEXT, "fail")]
)
def test_a_wrong_answer_that_looks_whole_fails(text, verdict):
    played = well()
    played.only.text = text

    assert verdict == judge(played).word


def test_an_honest_error_in_place_of_the_answer_is_safe():
    """Under `on_interruption: error` a cut is not mended, and said."""
    cut = next(scenario for scenario in SIXTEEN if scenario.name == "cut")
    played = play_virtually(replace(cut, policy={"on_interruption": "error"}))

    assert "safe" == judge(played).word
    assert "an answer was expected, not StreamInterrupted" in says(played)


def test_an_answer_without_the_conduct_is_partial():
    """It was asked to wait here, and went elsewhere."""
    wait = SIXTEEN[0]
    played = play_virtually(replace(wait, policy={}))

    assert "partial" == judge(played).word
    assert "primary got 1 requests, not 2 to 2" in says(played)


def test_a_first_token_out_of_its_time_is_seen():
    early, late = Expected("primary", secondary=(0, 0), waits=1000), Expected("primary", secondary=(0, 0), within=0)
    played = well()

    played.scenario = replace(WELL, expected=early)
    assert "nobody waited" in says(played)
    played.scenario = replace(WELL, expected=late)
    played.only.first = 1.0
    assert "only after 1.000 s" in says(played)


def test_a_buffered_answer_is_not_streamed():
    """`hold: all` gives everything at once: right, and no stream."""
    played = play_virtually(replace(WELL, policy={"hold": "all"}))

    assert "partial" == judge(played).word
    assert "when the last one had left the provider" in says(played)


def test_a_foreign_error_fails():
    played = well()
    played.only.error = AttributeError("ours")

    assert "fail" == judge(played).word


def test_a_word_of_ours_in_the_conversation_is_seen():
    played = well()
    played.requests["primary"][0].body["messages"].insert(0, {"role": "system", "content": "Go on."})

    assert "the caller had not said" in says(played)


def test_a_wrong_account_is_seen():
    played = well()
    played.invoices["primary"][0] = replace(played.invoices["primary"][0], completion=7, usd=1.0)

    assert "not primary's invoice" in says(played)
    assert "the invoices sum to 1.0" in says(played)


def test_a_fallback_that_says_something_else_is_never_glued_on():
    """Two models rarely say the same to the letter: then the caller is told, with all that he has read."""
    other = Scenario(
        "other", "cut, and B says something else", Expected(error="StreamInterrupted", sent=40),
        (Trouble(Fault.cut_after(41)),), policy={"attempts_per_deployment": 1},
        secondary=(Trouble(Fault.abort()),),
    )  # fmt: skip
    played = play_virtually(other)

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


def test_the_page_shows_what_comes_of_them():
    """To the letter: on virtual time the table is the same every time. `scripts/scenarios --write` renews it."""
    shown = report.REGION.search(STREAMS.read_text("utf-8"))
    text = report.rendered(report.rehearse())

    assert shown is not None
    assert f"```text\n{text}\n```" == shown["output"].strip()
    assert [scenario.says for scenario in SIXTEEN + VARIANTS] == re.findall(
        r"^ *(?:\d+|–) +(\S.*?) {2,}pass ", text, re.MULTILINE
    )
