"""The sixteen scenarios of the public fault benchmark, on virtual time and over sockets; and the judge's own tests."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from router.documents import plain, read
from router.lab.demands import Demands
from router.lab.drills.benchmark import benchmark_scenarios, ground_for, rehearsals
from router.lab.drills.engine import loaded
from router.lab.drills.judge import judge
from router.lab.drills.named import SIXTEEN
from router.lab.drills.play import Played, play
from router.lab.drills.rehearsal import rehearse
from router.lab.drills.stage import WORDS
from router.lab.faults import Fault
from router.lab.script import Script, Trouble, When
from router.lab.virtual import run_virtually
from scripts import scenarios as report

ISSUE = (
    "429 with Retry-After: 2; persistent 429; one 500; persistent 503; reset before headers; silence; "
    "first token after 20 s; cut at token 40 of 60; stall at token 20; malformed tenth event; no [DONE]; "
    "context_length_exceeded; content_policy_violation; cut, and the fallback rejects a prefilled assistant turn; "
    "primary down for 60 s and back; failed-over accounting"
)
STREAMS = Path(__file__).resolve().parents[2] / "docs" / "streams.md"
PAIR = read(Path(__file__).resolve().parents[2] / "router" / "lab" / "drills" / "benchmark-routes.yaml", file="pair")
ALL = benchmark_scenarios()
NAMED = {script.name: script for script in ALL}


def test_they_are_those_of_the_issue():
    assert ISSUE == "; ".join(script.says for script in ALL[:SIXTEEN])
    assert (23, 23) == (len(ALL), len(NAMED))


def test_each_says_how_often_everybody_is_asked_and_who_answers():
    """A benchmark that demands nothing would be passed by anybody; the outage has many answers."""
    loose = [script.name for script in ALL if {"first", "second"} != set(script.demands.requests)]
    anyhow = [script.name for script in ALL if script.expect == ("answer",) and script.demands.by is None]

    assert ([], ["outage"]) == (loose, anyhow)


@pytest.mark.parametrize("script", ALL, ids=lambda script: script.name)
def test_it_passes(script):
    """Both views are as they should be."""
    rehearsal = rehearse(ground_for(script), script)

    assert ((), "pass") == (rehearsal.flaws, rehearsal.verdict), rehearsal.skipped


def test_the_sixteen_pass_over_sockets():
    """While really streaming, through the kernel and by the real clock, and the same is done about each failure."""
    played = list(rehearsals(ALL[:SIXTEEN], clock="real"))

    assert {} == {one.script.name: one.flaws or one.skipped for one in played if one.verdict != "pass"}
    assert 16 == len(played)


def test_it_is_the_same_again():
    """On virtual time, to the last digit of every moment."""
    first, second = played("outage"), played("outage")

    assert [(heard.text, heard.first, heard.last, heard.total) for heard in first.heard] == [
        (heard.text, heard.first, heard.last, heard.total) for heard in second.heard
    ]


# -- the judge sees what it is there to see ---------------------------------------------------------------------------

WELL = Script("well", "nothing goes wrong")


def played(script: Script | str = WELL, *, route: str | None = None, **policy: Any) -> Played:
    """What was seen of *script*, on another *route* of the pair or under its policy with some changes."""
    script = NAMED[script] if isinstance(script, str) else script
    usual = ground_for(script)
    written = dict(PAIR.value)
    name = usual.route.policy.name
    written["policies"] = {**written["policies"], name: {**written["policies"][name], **policy}}
    config = loaded(plain(written)).config
    changed = config.route(route or usual.route.name)
    assert changed is not None
    return run_virtually(play(replace(usual, config=config, route=changed), script))


def word(one: Played) -> str:
    return judge(one)[0]


def says(one: Played) -> str:
    return "; ".join(flaw.cause.message for flaw in judge(one)[1])


def test_nothing_wrong_passes():
    one = played()

    assert ("pass", "") == (word(one), says(one))
    assert (WORDS, WORDS) == (len(one.heard[0].text.split()), one.invoices["primary"][0].completion)


@pytest.mark.parametrize("wrong", ["cut", "hole", "twice"])
def test_a_wrong_answer_that_looks_whole_fails(wrong):
    """To the token: the last letters, one word, or the whole of it again."""
    one = played()
    text = one.heard[0].text
    one.heard[0].text = {"cut": text[:-4], "hole": text.replace("word7 ", ""), "twice": text + text}[wrong]

    assert "fail" == word(one)


def test_an_honest_error_in_place_of_the_answer_is_safe():
    """Under `on_interruption: error` a cut is not mended, and said."""
    one = played("cut", on_interruption="error")

    assert "safe" == word(one)
    assert "on_interruption is error" in says(one)


def test_an_answer_without_the_conduct_is_partial():
    """It was asked to wait here, and went elsewhere."""
    one = played("wait", route="usual")

    assert "partial" == word(one)
    assert "first got 1 requests, and 2 were demanded" in says(one)
    assert "the answer came from secondary/twin, and first was to give it" in says(one)


@pytest.mark.parametrize(
    ("demands", "told"),
    [
        (Demands(after=1000), "the first token came after 0.080 s, and had to wait 1000 s"),
        (Demands(within=0.05), "the first token came only after 0.080 s, and was demanded within 0.05 s"),
        (Demands(requests={"all": (2, None)}), "all got 1 requests, and 2 or more were demanded"),
        (Demands(requests={"primary": (2, 3)}), "primary got 1 requests, and 2 to 3 were demanded"),
    ],
)
def test_a_demand_that_is_not_met_is_seen(demands, told):
    one = played(replace(WELL, demands=demands))

    assert ("partial", told) == (word(one), says(one))


def test_a_seam_is_demanded_to_the_token():
    """Where it was cut and nowhere else; none where none is demanded; one where one is."""
    cut = NAMED["cut"]
    (seam,) = cut.demands.seams or ()
    for wrong, demanded in (((seam._replace(words=39),), "spliced after 39 words"), ((), "not at all")):
        one = played(replace(cut, demands=replace(cut.demands, seams=wrong)))

        assert f"the answer was mended: spliced after 40 words; demanded: {demanded}" == says(one)
    assert "mended: not at all" in says(played(replace(WELL, demands=Demands(seams=(seam,)))))


def test_a_deadline_is_kept_to_the_rounding():
    """On virtual time nothing else is added."""
    one = played()
    one.heard[0].total = 120.01

    assert "fail" == word(one)
    assert "and the deadline is 120 s" in says(one)


def test_a_foreign_error_fails():
    one = played()
    one.heard[0].error = AttributeError("ours")

    assert "fail" == word(one)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (0, {"role": "system", "content": "Go on."}),
        (1, {"role": "user", "content": "Say sixty words."}),
        (1, {"role": "assistant", "content": "word1 word2"}),
    ],
)
def test_a_word_of_ours_in_the_conversation_is_seen(place, message):
    """The question comes once; nobody is asked to go on whose row does not say that he does."""
    one = played()
    one.asked[0].received.body["messages"].insert(place, message)

    assert "the caller had not said" in says(one)


def test_a_request_for_anothers_model_or_with_anothers_key_is_seen():
    one, other = played(), played()
    one.asked[0] = one.asked[0]._replace(model="lab/secondary")
    other.asked[0].received.headers["Authorization"] = "Bearer lab-key-1-of-secondary"

    assert "primary was asked for 'lab/secondary'" in says(one)
    assert "primary/twin was asked with the key of another provider" in says(other)


def test_a_wrong_account_is_seen():
    one = played()
    one.invoices["primary"][0] = replace(one.invoices["primary"][0], completion=7, usd=1.0)

    assert "and primary/twin has invoiced" in says(one)
    assert "the providers' invoices come to $1.000000" in says(one)


def test_a_primary_that_is_asked_and_never_heard_is_seen():
    """It is back, and all that it says is thrown away."""
    one = played("outage")
    for heard in one.heard:
        heard.attempts = [replace(attempt, deployment="secondary/twin") for attempt in heard.attempts]

    assert "primary/twin was well again after 60 s, was asked, and none of its answers was taken" in says(one)


def test_a_fallback_that_says_something_else_is_never_glued_on():
    """Two models rarely say the same to the letter: then the caller is told, with all that he has read."""
    other = Script(
        "other",
        "cut, and B says something else",
        troubles=(
            Trouble(("first",), Fault.cut_after(41), When(first=1, last=1)),
            Trouble(("second",), Fault.abort(), When(first=1, last=1)),
        ),
        expect=("StreamInterrupted",),
    )
    one = played(other, attempts_per_deployment=1)

    assert ("pass", 40) == (word(one), len(one.heard[0].text.split()))


def test_a_fault_that_nobody_met_is_no_pass():
    """Whatever came of it shows nothing."""
    never = replace(NAMED["one-500"], troubles=(Trouble(("second",), Fault.server_error()),))
    rehearsal = rehearse(ground_for(never), never)

    assert "skipped" == rehearsal.verdict
    assert "no request met the fault" in rehearsal.skipped


# -- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_shows_what_comes_of_them():
    """To the letter: on virtual time the table is the same every time. `scripts/scenarios --write` renews it."""
    shown = report.REGION.search(STREAMS.read_text("utf-8"))
    text = report.rendered(list(rehearsals()))

    assert shown is not None
    assert f"```text\n{text}\n```" == shown["output"].strip()
    assert [script.says for script in ALL] == re.findall(r"^ *(?:\d+|–) +(\S.*?) {2,}pass ", text, re.MULTILINE)


def test_what_was_skipped_is_told_and_is_no_pass():
    """In the table, below it, and in the count."""
    never = replace(NAMED["one-500"], troubles=(Trouble(("second",), Fault.server_error()),))
    text = report.rendered([rehearse(ground_for(never), never)])

    assert "0 of 1 pass" in text
    assert "one-500: no request met the fault" in text
