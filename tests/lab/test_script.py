"""Fault scripts: what is read, what is refused, and whom a fault meets when."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from router.errors import ConfigError
from router.lab import Answer, Fault, emulate
from router.lab.demands import Demands, Mended
from router.lab.emulators import Mixlayer
from router.lab.script import Script, Trouble, When, load_scripts
from tests.lab.talk import ask

ORDER = ("mixlayer/a", "runware/a", "mixlayer/b", "aiml/a")


def script(*faults, **keys) -> Script:
    (only,) = load_scripts({"faults": list(faults), **keys})
    return only


def met(one: Script, *arrivals, seed=0) -> list[str | None]:
    """The kind or code of the fault that each arrival (deployment, second) meets."""
    cast, rng = one.cast(ORDER), Random(seed)
    found = [cast.fault_for(deployment, now, rng) for deployment, now in arrivals]
    return [None if fault is None else str(fault.code or fault.kind) for fault in found]


def problems(text: str, tmp_path) -> list[str]:
    """What is wrong with a file, as `line path: message`."""
    path = tmp_path / "faults.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_scripts(path)
    return [str(one).replace(str(path), "faults.yaml") for one in caught.value.problems]


# -- reading ----------------------------------------------------------------------------------------------------------


def test_a_file_holds_one_script_or_several(tmp_path):
    """The name of a lone one is the file's, unless it has one."""
    path = tmp_path / "bad-day.yaml"
    path.write_text("faults:\n  - {who: first, what: reset}\n")
    (lone,) = load_scripts(path)
    path.write_text("""
scenarios:
  - name: one
    says: the first one
    seed: 7
    faults: [{who: mixlayer, what: overloaded, when: {from: 10s, until: 70s}}]
  - {name: two, expect: [RateLimited, answer], callers: {count: 3, every: 500ms, stream: false}}
""")
    one, two = load_scripts(path)

    assert ("bad-day", "bad-day", ("answer",)) == (lone.name, lone.says, lone.expect)
    assert ("one", "the first one", 7, 70.0) == (one.name, one.says, one.seed, one.ends)
    assert (Trouble(("mixlayer",), Fault.overloaded(), When(begin=10, until=70), line=6),) == one.troubles
    assert (("RateLimited", "answer"), 3, 0.5, False) == (
        two.expect, two.callers.count, two.callers.every, two.callers.stream,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("overloaded", Fault.overloaded()),
        ("down", Fault.overloaded()),
        ({"slow": {"times": 10}}, Fault.slow(10)),
        ({"rate_limited": {"retry_after": 2}}, Fault.rate_limited(2)),
        ({"rate_limited": None}, Fault.rate_limited()),
        ({"cut_after": {"events": 41, "clean": False}}, Fault.cut_after(41, clean=False)),
        ({"first_token_delay": {"seconds": "20s"}}, Fault.first_token_delay(20)),
        ({"status": {"code": 418, "headers": {"X": "1"}, "body": {"a": 1}}}, Fault.status(418, {"X": "1"}, {"a": 1})),
        ({"garbage": {"raw": "SSH"}}, Fault.garbage(b"SSH")),
    ],
)
def test_what_is_the_name_of_a_fault_with_its_arguments(said, meant):
    """Durations may have units; the convenient words are spelled out."""
    assert meant == script({"who": "all", "what": said}).troubles[0].what


def test_every_fault_can_be_written():
    """A constructor of the lab is a word of the script, whatever arguments it wants."""
    wanted: dict[str, dict[str, Any]] = {
        "status": {"code": 500}, "redirect": {"url": "http://x.test"}, "slow_headers": {"seconds": 1},
        "first_token_delay": {"seconds": 1}, "truncate_body": {"size": 1}, "trickle": {"size": 1, "interval": 1},
        "cut_after": {"events": 1}, "reset_after": {"events": 1}, "stall_after": {"events": 1},
        "malformed_event": {"at": 1}, "error_event": {"at": 1}, "duplicate_event": {"at": 1}, "slow": {"times": 2},
        "late_usage": {"seconds": 1},
    }  # fmt: skip
    for name in Fault.names():
        what: Any = {name: wanted[name]} if name in wanted else name

        assert getattr(Fault, name)(**wanted.get(name, {})) == script({"who": "all", "what": what}).troubles[0].what


def test_every_problem_is_told_with_its_line_and_the_nearest_right_word(tmp_path):
    """All of them at once."""
    told = problems(
        """scenarios:
  - name: one
    faults:
      - {who: mixlayer, what: overlaoded, when: {from: 10s, until: 7s}}
      - {who: first, what: {rate_limited: {retry_aftr: 2}}, when: {request: 1-3}}
      - {who: first, what: {cut_after: {clean: false}}, when: {requests: 3-1}}
      - {who: all, what: {slow: 10}, when: {share: 1000%}}
      - {who: []}
      - {who: rest, what: {slow: {times: fast}}}
      - {who: rest, what: {first_token_delay: {seconds: -2s}}}
      - {who: rest, what: {cut_after: {events: 1, clean: 7}}}
  - expect: NoDeploymnt
""",
        tmp_path,
    )

    for line, *words in (
        (4, "'overlaoded' is no fault (did you mean 'overloaded'?)"),
        (4, "until", "no later than from"),
        (5, "rate_limited.retry_aftr", "did you mean 'retry_after'?"),
        (5, "unknown key 'request' (did you mean 'requests'?)"),
        (6, "'events' is required (write e.g. {cut_after: {events: …}})"),
        (6, "requests", "they count from 1, and upwards"),
        (7, "its arguments are a mapping (write e.g. {slow: {times: …}})"),
        (7, "'1000%' is no share"),
        (8, "who", "at least 1"),
        (8, "what: is required"),
        (9, "slow.times", "'fast' is not a number"),
        (10, "first_token_delay.seconds", "not a duration"),
        (11, "cut_after.clean", "7 cannot be the clean of cut_after"),
        (12, "'NoDeploymnt' cannot be expected (did you mean 'NoDeployment'?)"),
    ):
        assert any(f"faults.yaml:{line}: " in one and all(word in one for word in words) for one in told), (line, words)


def test_demands_are_read():
    """What is not said may be as it likes."""
    said = {
        "by": "second",
        "seams": [{"how": "spliced", "words": 40}, {"how": "continued"}],
        "first_token": {"after": "500ms", "within": 2},
        "requests": {"first": 1, "rest": "0-2", "mixlayer": "3-"},
    }
    one = script({"who": "first", "what": "reset"}, demands=said)

    assert Demands(
        "second",
        (Mended("spliced", 40), Mended("continued")),
        0.5,
        2.0,
        {"first": (1, 1), "rest": (0, 2), "mixlayer": (3, None)},
    ) == replace(one.demands, line=None)
    assert Demands() == script({"who": "first", "what": "reset"}).demands
    assert () == replace(one, demands=Demands(seams=())).demands.seams


def test_who_is_demanded_of_must_be_somebody(tmp_path):
    """With the line, and the nearest name."""
    path = tmp_path / "faults.yaml"
    path.write_text("faults: [{who: first, what: reset}]\ndemands: {by: secnd, requests: {runwar: 1}}\n")
    (one,) = load_scripts(path)

    assert [(2, "'secnd' is nobody here"), (2, "'runwar' is nobody here")] == [
        (problem.line, problem.message) for problem in one.strangers(ORDER)
    ]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("says: nothing\n", "has no faults"),
        ("{}\n", "has no faults"),
        ("scenarios: [{faults: []}]\n", "has no name"),
        ("scenarios: [{name: a}, {name: a}]\n", "'a' stands twice"),
        ("name: x\nscenarios: [{name: a}]\n", "stands beside scenarios"),
        ("faults: [{who: all, what: [reset]}]\n", "the name of a fault"),
        ("faults: [{who: all, what: {reset: {}, refuse: {}}}]\n", "a mapping of one name"),
        ("faults: [{who: all, what: reset, when: {share: 0}}]\n", "is no share"),
        ("faults: [{who: all, what: reset, when: {requests: 0.5}}]\n", "are no requests"),
        ("faults: [{who: all, what: {reset: {hard: true}}}]\n", "it takes none"),
        ("- a\n", "should be a mapping"),
        ("scenarios: []\n", "names no scenario"),
        ("faults: [{who: all, what: {status: {code: 0}}}]\n", "status: 0 is no status (write 99 to 999)"),
        ("faults: [{who: all, what: {redirect: {url: x, code: 200}}}]\n", "redirect: 200 is no redirect"),
        ('faults: [{who: all, what: {redirect: {url: "x\\r\\ny: z"}}}]\n', "redirect: the header 'Location'"),
        ("faults: [{who: all, what: {status: {code: 503, headers: {a b: c}}}}]\n", "status: the header 'a b'"),
        ("faults: [{who: all, what: {slow: {times: 0}}}]\n", "slow: 0 times as long is no time at all"),
        ("faults: [{who: all, what: {trickle: {size: 0, interval: 1s}}}]\n", "trickle: pieces of 0 bytes"),
        ("faults: [{who: all, what: {framing: {newline: xx}}}]\n", "framing: 'xx' ends no line"),
        ("faults: [{who: all, what: reset}]\ncallers: {request: {temperature: hot}}\n", "callers.request.temperature"),
        (
            "faults: [{who: all, what: reset}]\ncallers: {request: {reasoning_effort: much}}\n",
            "'none', 'minimal', 'low'",
        ),
        ("faults: [{who: all, what: reset}]\ndemands: {requests: {first: 3-1}}\n", "they count from 0, and upwards"),
        ("faults: [{who: all, what: reset}]\ndemands: {requests: {first: some}}\n", "are no requests"),
        ("faults: [{who: all, what: reset}]\ndemands: {first_token: {after: 9s, within: 2s}}\n", "sooner than after"),
        ("faults: [{who: all, what: reset}]\ndemands: {seams: [{how: glued}]}\n", "seams"),
        ("faults: [{who: all, what: reset}]\ndemands: {bye: first}\n", "did you mean 'by'?"),
    ],
)
def test_a_file_that_means_nothing_is_refused(text, word, tmp_path):
    """With what to write instead."""
    assert any(word in one for one in problems(text, tmp_path))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Fault.status(1000),
        lambda: Fault.status("503"),  # type: ignore[arg-type]  # that is the test
        lambda: Fault.status(503, {"Retry-After": "1\r\nX: y"}),
        lambda: Fault.slow_headers(-1),
        lambda: Fault.cut_after(-1),
        lambda: Fault.malformed_event("3"),  # type: ignore[arg-type]  # that is the test
        lambda: Fault.slow(0),
        lambda: Fault.trickle_headers(0),
    ],
)
def test_a_fault_that_cannot_be_carried_out_is_refused_where_it_is_made(make):
    """And not by a stack trace of the emulator, which would pass for a trouble of the provider."""
    with pytest.raises(ValueError, match=r"write|less than 0|whole number|header"):
        make()


def test_what_is_no_fault_is_told_so():
    """The names of scripts are no faults of `fail`."""
    with pytest.raises(TypeError, match=r"'overloaded' is no Fault; write Fault\.overloaded"):
        Mixlayer().fail("overloaded")  # type: ignore[arg-type]  # that is the test


def test_names_that_are_nobody_are_told():
    """Against the deployments that there are."""
    one = script({"who": ["mixlayr", "all", "runware", "aiml/a"], "what": "reset"}, {"who": "frist", "what": "reset"})

    assert ["'mixlayr' is nobody here", "'frist' is nobody here"] == [
        problem.message for problem in one.strangers(ORDER)
    ]
    assert ["did you mean 'mixlayer'?", "did you mean 'first'?"] == [problem.hint for problem in one.strangers(ORDER)]


# -- whom a fault meets -----------------------------------------------------------------------------------------------


def test_roles_are_those_of_the_order_in_which_deployments_are_asked():
    """`rest` is everybody but the first, the second included."""
    whom = {
        role: script({"who": role, "what": "reset"}).cast(ORDER, {"aiml": "mixlayer"}).concerned
        for role in ("first", "second", "rest", "all", "account", "mixlayer", "mixlayer/b")
    }

    assert {
        "first": ORDER[:1], "second": ORDER[1:2], "rest": ORDER[1:], "all": ORDER,
        "mixlayer": ("mixlayer/a", "mixlayer/b"), "mixlayer/b": ("mixlayer/b",),
        "account": ("mixlayer/a", "mixlayer/b", "aiml/a"),
    } == whom  # fmt: skip
    assert [None] == met(script({"who": "all", "what": "reset"}), ("elsewhere/a", 0))
    assert ["reset"] == met(script({"who": "elsewhere", "what": "reset"}), ("elsewhere/a", 0))


def test_requests_are_counted_for_whom_the_line_names():
    """Those of a provider over its deployments, those of a role for each by itself."""
    by_provider = script({"who": "mixlayer", "what": "reset", "when": {"requests": 2}})
    by_role = script({"who": "all", "what": "reset", "when": {"requests": "2-3"}})
    onwards = script({"who": "first", "what": "reset", "when": {"requests": "3-"}})
    asked = [("mixlayer/a", 0), ("mixlayer/b", 0), ("mixlayer/a", 0), ("mixlayer/a", 0), ("mixlayer/b", 0)]

    assert [None, "reset", None, None, None] == met(by_provider, *asked)
    assert [None, None, "reset", "reset", "reset"] == met(by_role, *asked)
    assert [None, None, None, "reset", None] == met(onwards, *asked)


def test_a_window_holds_from_its_beginning_to_just_before_its_end():
    """In seconds since the script began."""
    one = script({"who": "first", "what": "reset", "when": {"from": "10s", "until": "70s"}})

    assert [None, "reset", "reset", None] == met(one, *((ORDER[0], now) for now in (9.99, 10, 69.99, 70)))


def test_all_that_is_said_of_a_time_must_hold():
    """The second request comes too early, the third is meant, the fourth too late."""
    one = script({"who": "first", "what": "reset", "when": {"requests": "2-3", "from": "5s"}})

    assert [None, None, "reset", None] == met(one, *((ORDER[0], now) for now in (0, 1, 6, 7)))


def test_a_share_is_a_chance_that_the_seed_repeats():
    """About a tenth of a thousand; the same ones for the same seed."""
    one = script({"who": "all", "what": "reset", "when": {"share": "10%"}})
    asked = [("aiml/a", 0)] * 1000
    first = met(one, *asked, seed=3)

    assert 70 < first.count("reset") < 130
    assert first == met(one, *asked, seed=3)
    assert first != met(one, *asked, seed=4)


def test_the_first_line_that_holds_and_can_be_carried_out_wins():
    """One that means nothing for this request leaves it to the next."""
    one = script(
        {"who": "first", "what": {"cut_after": {"events": 1}}, "when": {"requests": 1}},
        {"who": "mixlayer", "what": "reset"},
        {"who": "all", "what": "overloaded"},
    )
    cast, rng = one.cast(ORDER), Random(0)

    def whole(fault):
        return fault.fits(streaming=False, generates=True)

    assert Fault.reset() == cast.fault_for("mixlayer/a", 0, rng, whole)
    assert ["cut_after", "reset", "overloaded"] == met(one, (ORDER[0], 0), (ORDER[0], 0), (ORDER[1], 0))


def test_a_poll_is_no_request_of_its_own():
    """It is not counted, and met by what its task is met by."""
    one = script({"who": "first", "what": "reset", "when": {"requests": 2}})
    cast, rng = one.cast(ORDER), Random(0)
    found = [
        cast.fault_for(ORDER[0], 0, rng, counts=counts) for counts in (True, False, False, True, False, True, False)
    ]

    assert [False, False, False, True, True, False, False] == [bool(fault) for fault in found]


# -- at an emulator ---------------------------------------------------------------------------------------------------


async def test_a_director_chooses_the_fault_of_every_request():
    """It sees what arrived; what `fail` was told comes first; `heal` ends both."""
    seen = []

    def director(received, fits, generates):
        seen.append((received.path, generates, fits(Fault.no_done())))
        return Fault.overloaded() if len(seen) == 1 else None

    async with emulate("openai") as emulator:
        emulator.direct(director)
        emulator.fail(Fault.server_error)
        statuses = [(await ask(emulator)).status for _ in range(3)]
        statuses.append((await ask(emulator, stream=True)).status)
        emulator.heal()
        await ask(emulator)

    assert [500, 503, 200, 200] == statuses
    assert [("/v1/chat/completions", True, way) for way in (False, False, True)] == seen


async def test_a_slow_answer_takes_so_many_times_as_long():
    """Until the first token, and between tokens."""
    async with emulate("openai", latency=0.02, token_delay=0.01) as emulator:
        emulator.reply(Answer("one two three four five six"))
        emulator.fail(Fault.slow(10))
        loop = asyncio.get_running_loop()
        began = loop.time()
        slow = await ask(emulator, stream=True)
        took = loop.time() - began

    assert slow.joined("content").endswith("six")
    assert took >= 0.2 + 6 * 0.1
