"""`drill`: good files pass, each mistake gets the verdict that it deserves, and the finding says what would have helped."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from router.errors import ConfigError
from router.lab import Fault, Script, adrill, drill, named_scenarios
from router.lab.demands import Demands, Mended
from router.lab.drills import play, rehearsal
from router.lab.script import Callers, Trouble, When, load_scripts
from tests.lab.drilling import AIML, EMPIRIO, EVERYWHERE, MIXLAYER, PAIR, RUNWARE, drilled, one, routes, said, words

ROOT = Path(__file__).resolve().parents[2]
BROKEN_STREAMS = ("cut", "stall", "malformed", "error-event")


# -- what is good passes ----------------------------------------------------------------------------------------------


def test_the_sixteen_and_those_of_the_providers_are_there_by_name():
    """The public benchmark's first; each says what goes wrong."""
    named = named_scenarios()

    assert [
        "undisturbed",
        "rate-limit-wait", "rate-limit", "one-500", "overloaded", "reset", "silence", "slow-first-token", "cut", "stall",
        "malformed", "no-done", "context-length", "content-policy", "prefill-rejected", "outage", "accounting",
    ] == list(named)[:17]  # fmt: skip
    assert {
        "thinking-in-content", "answer-in-reasoning", "error-in-200", "cost-after-finish", "no-done", "out-of-credit",
        "model-retired", "cold-start", "account-rate-limit", "duplicate-task",
    } <= set(named)  # fmt: skip
    assert all(script.says and script.name == name for name, script in named.items())


def test_two_providers_of_one_model_pass_everything():
    """With Runware among them not even the duplicate task is skipped."""
    report = drilled(routes(RUNWARE, EMPIRIO))

    report.assert_ok()
    assert {"pass"} == set(words(report).values())
    assert list(named_scenarios()) == list(words(report))


def test_every_scenario_has_met_its_fault():
    """A scenario that nothing happens in would pass everywhere; those with troubles have been in them."""
    for result in drilled(routes(RUNWARE, EMPIRIO)).scenarios:
        faults = sum(provider["faults"] for provider in result.providers.values())

        assert (faults > 0) is (result.name != "undisturbed"), result.name


def test_both_views_and_the_bill_are_told():
    """Who was asked how often, what came of each attempt and when, and what was invoiced."""
    result = one(routes(), "one-500")

    assert ("pass", {"count": 1, "answered": 1, "errors": {}}) == (result.verdict, result.callers)
    assert [(MIXLAYER, "ServerError", 500), (EMPIRIO, "success", 200)] == [
        (attempt["deployment"], attempt["outcome"], attempt["status"]) for attempt in result.attempts
    ]
    assert {MIXLAYER: (1, 1), EMPIRIO: (1, 0)} == {
        name: (found["requests"], found["faults"]) for name, found in result.providers.items()
    }
    assert 0 == result.providers[MIXLAYER]["billed"] < result.providers[EMPIRIO]["billed"] == result.cost["usd"]
    assert 0.6 <= (result.first_token or 0) < 0.8
    assert 3 < (result.total or 0) < 5


# -- a policy is the measure ------------------------------------------------------------------------------------------


def test_here_first_asks_again_here_and_elsewhere_first_there():
    """Both are rescued: the route says how."""
    asked = {
        order: {
            name: found["requests"]
            for name, found in one(routes(policy={"order": order}), "rate-limit-wait").providers.items()
        }
        for order in ("here_first", "elsewhere_first")
    }

    assert {"here_first": {MIXLAYER: 2, EMPIRIO: 0}, "elsewhere_first": {MIXLAYER: 1, EMPIRIO: 1}} == asked


@pytest.mark.parametrize("select", ["weighted", "cheapest", "fastest", "least_busy"])
def test_roles_go_by_the_order_in_which_a_route_asks(select):
    """Whoever is asked first has the trouble, whatever the file's order is."""
    for seed in range(4):
        result = one(routes(AIML, *PAIR, select=select), "one-500", seed=seed)
        first, *_ = (attempt["deployment"] for attempt in result.attempts)

        assert ("pass", 1) == (result.verdict, result.providers[first]["faults"])


def test_what_callers_rely_on_is_asked_for():
    """A deployment that cannot do it is no fallback: one that was thought to be one is told."""
    result = one(routes(MIXLAYER, RUNWARE, needs=["tools"]), "overloaded")

    assert "safe" == result.verdict
    assert f"only {MIXLAYER} may serve this request; {RUNWARE} is out: " in said(result)
    assert "tools" in said(result)


def test_fidelity_that_shuts_the_fallback_out_is_told():
    """`strict` lets nobody stand in who has fewer levels."""
    file = routes(EMPIRIO, MIXLAYER, needs=["reasoning_levels"], fidelity="strict")
    loose = routes(EMPIRIO, MIXLAYER, needs=["reasoning_levels"])

    assert ("safe", "pass") == (one(file, "overloaded").verdict, one(loose, "overloaded").verdict)
    assert "routes.chat.fidelity: allow the change in fidelity" in said(one(file, "overloaded"))


def test_a_route_that_nobody_may_serve_is_skipped_with_the_reasons():
    """Not passed in silence."""
    report = drilled(routes(RUNWARE, needs=["tools"]), "one-500")

    assert {"one-500": "skipped"} == words(report)
    assert f"no deployment may serve the request ({RUNWARE}: " in report.scenarios[0].skipped


# -- mistakes ---------------------------------------------------------------------------------------------------------


def test_a_lone_deployment_is_safe_at_best():
    """Retries mend what passes; what stays is an honest error."""
    report = drilled(routes(MIXLAYER), *EVERYWHERE)

    assert {
        "one-500": "pass", "reset": "pass", "empty-stream": "pass", "overloaded": "safe", "error-in-200": "safe",
        "model-retired": "safe", "out-of-credit": "safe", "proxy-page": "safe",
    } == words(report)  # fmt: skip
    assert {"mixlayer/qwen3.5-27b is the only deployment: nobody stands in for it"} == {
        finding.message for finding in report.findings
    }
    assert {"routes.chat.deployments"} == {finding.path for finding in report.findings}
    with pytest.raises(AssertionError, match="the only deployment"):
        report.assert_ok()


def test_one_attempt_is_no_failover():
    """The finding names the deployment that was never asked, and the key."""
    report = drilled(routes(policy={"attempts": 1}), *EVERYWHERE)

    assert {"safe"} == set(words(report).values())
    assert f"the one attempt was used up, and {EMPIRIO} was never asked" in said(report.scenarios[0])
    assert "routes.chat.policy.attempts: raise attempts to 2 or more" in said(report.scenarios[0])


def test_interruptions_that_are_given_up_are_safe():
    """What was delivered is kept, nothing is pretended."""
    report = drilled(routes(policy={"on_interruption": "error"}), *BROKEN_STREAMS)

    assert dict.fromkeys(BROKEN_STREAMS, "safe") == words(report)
    assert {"StreamInterrupted": 1} == report.scenarios[0].callers["errors"]
    assert "on_interruption is error" in said(report.scenarios[0])


def test_another_model_cannot_end_a_sentence_that_was_begun():
    """It says something else. To begin again, or to hold the stream until it is whole, is another matter."""
    found = {
        name: set(words(drilled(routes(MIXLAYER, AIML, policy=policy), *BROKEN_STREAMS)).values())
        for name, policy in (
            ("recover", {"attempts_per_deployment": 1}),
            ("restart", {"attempts_per_deployment": 1, "on_interruption": "restart"}),
            ("hold", {"attempts_per_deployment": 1, "hold": "all"}),
        )
    }

    assert {"recover": {"safe"}, "restart": {"pass"}, "hold": {"pass"}} == found
    told = said(one(routes(MIXLAYER, AIML, policy={"attempts_per_deployment": 1}), "cut"))
    assert "a stream of qwen3.5-27b that breaks cannot go on with qwen3.6-35b-a3b" in told


def test_two_deployments_at_one_provider_fail_together():
    """An outage of the account takes both."""
    report = drilled(routes(MIXLAYER, "mixlayer/qwen3.5-9b"), "one-500", "overloaded", "out-of-credit")

    assert {"one-500": "pass", "overloaded": "safe", "out-of-credit": "safe"} == words(report)
    assert "every deployment is at mixlayer: they fail together" in said(report.scenarios[1])


def test_one_account_under_two_names_is_one_account():
    """The same address and the same key: a second name is no second provider."""
    again = {
        "providers": {
            "mixlayer": {"api_key": "${MIXLAYER_API_KEY}"},
            "spare": {
                "protocol": "chat_completions",
                "base_url": "https://models.mixlayer.ai/v1",
                "api_key": "${MIXLAYER_API_KEY}",
            },
        },
        "models": {"qwen3.5-27b": {"deployments": [{"provider": "spare", "model": "qwen/qwen3.5-27b"}]}},
        **routes(MIXLAYER, "spare/qwen3.5-27b"),
    }
    other: dict[str, Any] = json.loads(json.dumps(again))
    other["providers"]["spare"]["api_key"] = "${ANOTHER_KEY}"

    assert ("safe", "pass") == (one(again, "overloaded").verdict, one(other, "overloaded").verdict)
    assert "every deployment is at one account (mixlayer, spare)" in said(one(again, "overloaded"))


def test_a_policy_that_does_not_fit_its_deadline_is_a_finding(tmp_path):
    """The loader only warns of it; the drill's report is not ok, with the line, whatever the scenarios say."""
    path = tmp_path / "routes.yaml"
    path.write_text(
        f"routes:\n  chat:\n    deployments: [{MIXLAYER}, {EMPIRIO}]\n    policy: hasty\n"
        "policies:\n  hasty:\n    deadline: 10s\n    timeouts: {first_token: 60s}\n"
    )
    report = drill(path, ["one-500"])

    assert {"one-500": "pass"} == words(report)
    assert not report.ok
    assert (7, "policies.hasty.deadline") in {(finding.line, finding.path) for finding in report.findings}


def test_a_silence_longer_than_the_deadline_is_told_with_where_the_time_went():
    """One deployment, a deadline of 10 s: nobody is left to ask, and the error is in time."""
    result = one(routes(MIXLAYER, policy={"deadline": "10s", "timeouts": {"first_token": "60s"}}), "silence")

    assert ("safe", {"DeadlineExceeded": 1}) == (result.verdict, result.callers["errors"])
    assert 9.5 < (result.total or 0) <= 10.5


def test_a_stall_that_takes_the_whole_deadline_is_mended_by_the_limit_that_would_have_ended_it():
    """A longer deadline would go the same way; with what the finding says, the scenario passes."""
    limits = {"headers": "5s", "first_token": "5s", "idle": "60s"}
    result = one(routes(policy={"deadline": "30s", "timeouts": limits}), "stall")
    [finding] = result.findings

    assert "safe" == result.verdict
    assert "routes.chat.policy.timeouts.idle" == finding.path
    assert "lower it" in (finding.fix or "")
    assert "pass" == one(routes(policy={"deadline": "30s", "timeouts": {**limits, "idle": "5s"}}), "stall").verdict


def test_a_deadline_that_is_too_short_for_an_answer_says_no_stall():
    """It was still coming."""
    result = one(routes(MIXLAYER, policy={"deadline": "2s", "timeouts": {"first_token": "1s"}}), "undisturbed")

    assert "routes.chat.policy.deadline" == result.findings[0].path
    assert "the answer was not complete after 2 s" in result.attempts[0]["why"]


# -- scripts of one's own ---------------------------------------------------------------------------------------------


def test_a_script_of_ones_own_is_played(tmp_path):
    """A window over which callers call until it is over, and everybody is back."""
    path = tmp_path / "bad-day.yaml"
    path.write_text("faults:\n  - {who: mixlayer, what: down, when: {from: 10s, until: 40s}}\n")
    (result,) = drill(routes(), [path]).scenarios

    assert ("bad-day", "pass") == (result.name, result.verdict)
    assert result.callers["count"] == result.callers["answered"] > 20
    assert 0 < result.providers[MIXLAYER]["faults"] < 10


def test_a_script_may_expect_an_error():
    """Then the error is what passes, and an answer is not."""
    alone = Script("none", troubles=(Trouble(("all",), Fault.overloaded()),), expect=("DeploymentsExhausted",))
    wrong = Script("none", troubles=(Trouble(("first",), Fault.overloaded()),), expect=("RateLimited",))

    assert "pass" == one(routes(), alone).verdict
    assert ("partial", True) == ((found := one(routes(), wrong)).verdict, "an answer came" in said(found))


def test_a_script_may_demand_more_than_an_answer():
    """Who gives it, where it is mended, when it begins, how often each is asked: to the letter, for any file."""
    cut = Trouble(("first",), Fault.cut_after(41), When(first=1, last=1))
    exact = Demands("second", (Mended("spliced"),), 0.3, 0.5, {"first": (1, 1), "rest": (1, 1)})
    wrong = Demands("first", (Mended("continued"),), 0.4, None, {"all": (1, 1), "runware": (5, 5)})

    assert "pass" == one(routes(), Script("x", troubles=(cut,), demands=exact)).verdict
    result = one(routes(), Script("x", troubles=(cut,), demands=wrong))
    assert "partial" == result.verdict
    for told in (
        f"the answer came from {EMPIRIO}, and first was to give it",
        "demanded: continued after some words",
        "the first token came after 0.350 s, and had to wait 0.4 s",
        "all got 2 requests, and 1 were demanded",
    ):
        assert told in said(result)
    assert "runware" not in said(result)  # it is not of this route


def test_what_cannot_be_is_skipped_and_says_so():
    """Nobody of the route is meant; or nobody met the fault."""
    absent = one(routes(), Script("x", troubles=(Trouble(("aiml",), Fault.reset()),)))
    never = one(routes(), Script("x", troubles=(Trouble(("second",), Fault.reset(), When(first=2)),)))
    whole = one(routes(), Script("x", troubles=(Trouble(("first",), Fault.truncate_body(3)),)))

    assert ["skipped"] * 3 == [result.verdict for result in (absent, never, whole)]
    assert "it is about aiml, and the route has mixlayer, empiriolabs" == absent.skipped
    assert f"only {MIXLAYER} was asked" in never.skipped
    assert drill(routes(), ["duplicate-task"]).ok


def test_a_stream_that_one_attempt_could_not_mend_says_what_to_mend():
    """Attempts count for a stream that broke, too; and no sentence ends in a colon."""
    report = drill(routes(policy={"attempts": 1}), ["cut"])
    (finding,) = (one for one in report.findings if one.scenario == "cut")

    assert "the stream broke after its first token; the one attempt was used up" in finding.message
    assert "raise attempts to 2 or more" == finding.fix
    assert not finding.message.rstrip().endswith(":")


def test_a_script_of_ones_own_that_shows_nothing_is_a_finding():
    """A slip in it would be green otherwise; a shipped one that does not fit a route is none."""
    slip = Script("mine", troubles=(Trouble(("second",), Fault.reset(), When(first=2)),))
    report = drill(routes(), [slip])
    shipped = drill(routes(), ["duplicate-task"])

    assert not report.ok
    (finding,) = (one for one in report.findings if one.scenario == "mine")
    assert "has shown nothing on any route" in finding.message
    assert finding.fix
    assert shipped.ok
    assert ["skipped"] == [one.verdict for one in shipped.scenarios]


def test_what_the_file_says_names_the_route_as_check_does(tmp_path):
    """`route` and `deployment` are for machines."""
    file = tmp_path / "routes.yaml"
    file.write_text(f"routes:\n  chat:\n    deployments: [{MIXLAYER}, mixlayer/qwen3.5-9b]\n", "utf-8")
    noted = [one for one in drill(file, ["one-500"]).findings if one.scenario is None]

    assert noted
    assert all(one.route == "chat" for one in noted)


def test_where_nobody_was_asked_it_is_said_so():
    """Of a route whose budget has no room for the request."""
    result = one(routes(budget={"limit": "$0.0000001"}), "overloaded")

    assert ("skipped", "no request met the fault: nobody was asked") == (result.verdict, result.skipped)


def test_a_script_about_nobody_is_a_mistake(tmp_path):
    """With its line, and the nearest name."""
    path = tmp_path / "faults.yaml"
    path.write_text("name: x\nfaults:\n  - {who: mixlayr, what: down}\n")
    with pytest.raises(ConfigError, match=r"faults.yaml:3: 'mixlayr' is nobody here \(did you mean 'mixlayer'\?\)"):
        drill(routes(), [path])


@pytest.mark.parametrize(
    ("how", "word"),
    [
        ({"scenarios": ["cutt"]}, "did you mean 'cut'"),
        ({"routes": ["chatt"]}, "did you mean 'chat'"),
        ({"clock": "virtaul"}, "did you mean 'virtual'"),
        ({"at_least": "fail"}, "known: partial, pass, safe"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(how, word):
    with pytest.raises(ValueError, match=word):
        drill(routes(), **how)


def test_callers_may_ask_for_more():
    """A field that is none is refused when the script is read."""
    (loud,) = load_scripts({"faults": [{"who": "first", "what": "reset"}], "callers": {"request": {"seed": 7}}})

    assert "pass" == one(routes(), loud).verdict
    with pytest.raises(ConfigError, match="did you mean 'seed'"):
        load_scripts({"faults": [{"who": "first", "what": "reset"}], "callers": {"request": {"sead": 7}}})


# -- what a drill never does ------------------------------------------------------------------------------------------


def test_no_key_and_no_environment_is_needed_or_read(monkeypatch):
    """Neither what stands in the file nor what the environment holds comes anywhere near an emulator."""
    monkeypatch.setenv("MIXLAYER_API_KEY", "canary-of-the-environment")
    file = {
        "providers": {
            "mixlayer": {"api_key": "${MIXLAYER_API_KEY}", "headers": {"x-team-token": "${TEAM_TOKEN}"}},
            "empiriolabs": {"api_keys": {"web": "canary-in-the-file", "batch": "${NOT_SET}"}},
        },
        **routes(),
    }
    seen: list[str] = []
    ask = play.play

    async def watched(ground: Any, script: Any) -> Any:
        played = await ask(ground, script)
        seen.extend(repr(dict(one.received.headers.items())) + str(one.received.raw) for one in played.asked)
        return played

    monkeypatch.setattr(rehearsal, "play", watched)
    report = drill(file, ["one-500", "key-revoked"])

    assert report.ok, str(report)
    assert any("lab-key-web-of-empiriolabs" in headers for headers in seen)
    assert "canary" not in "".join(seen) + report.to_json() + str(report) + repr(report)


def test_a_pool_of_keys_is_used_up_before_the_account_is_left():
    """One key that is refused is not the account."""
    file = {"providers": {"mixlayer": {"api_keys": ["one", "two"]}}, **routes()}
    script = Script("k", troubles=(Trouble(("first",), Fault.bad_key(), When(first=1, last=1)),))
    result = one(file, script)

    assert ("pass", {MIXLAYER: 2, EMPIRIO: 0}) == (
        result.verdict, {name: found["requests"] for name, found in result.providers.items()},
    )  # fmt: skip


def test_a_provider_of_ones_own_is_stood_in_for():
    """Anything that speaks chat completions; whatever it is called, with a key or without."""
    file = {
        "providers": {
            "My_vLLM": {"protocol": "chat_completions", "base_url": "http://gpu-1:8000/v1"},
            "second": {"protocol": "tasks", "base_url": "https://tasks.example.com/v1", "api_key": "k"},
        },
        "models": {
            "m": {"deployments": [{"provider": "My_vLLM", "model": "org/m"}, {"provider": "second", "model": "a:b@1"}]}
        },
        **routes("My_vLLM/m", "second/m"),
    }
    report = drilled(file, *EVERYWHERE, "cut", "outage")

    assert {"pass"} == set(words(report).values()), str(report)


def test_a_key_may_stand_in_any_header():
    """The stand-in of a provider of one's own wants it where the file says that it is."""
    file = {
        "providers": {
            "own": {
                "protocol": "chat_completions",
                "base_url": "https://own.example.com/v1",
                "api_key": "k",
                "auth": {"header": "api-key", "scheme": ""},
            }
        },
        "models": {"m": {"deployments": [{"provider": "own", "model": "org/m"}]}},
        **routes("own/m", MIXLAYER),
    }
    (result,) = drilled(file, "undisturbed").scenarios

    assert ("pass", ["success"]) == (result.verdict, [attempt["outcome"] for attempt in result.attempts])


def test_wrong_words_for_a_provider_are_found():
    """It is well and refuses what it is sent: no scenario of trouble passes that over."""
    file = {
        "providers": {"empiriolabs": {"params": {"tools": {"to": "functions"}}}},
        **routes(EMPIRIO, MIXLAYER, needs=["tools"]),
    }
    first, fallback = one(file, "undisturbed"), one({**file, **routes(MIXLAYER, EMPIRIO, needs=["tools"])}, "one-500")

    assert "safe" == first.verdict
    for result in (first, fallback):
        assert f"{EMPIRIO} was well, and refused the request with 400: look at the words for it" in said(result)


def test_the_same_seed_gives_the_same_report_to_the_byte(tmp_path):
    """In other processes too, whatever their hashes are; another seed is another chance."""
    code = (
        "import sys, logging; logging.getLogger('router').addHandler(logging.NullHandler());"
        "from router.lab import drill;"
        "print(drill(sys.argv[1], ['hiccups', 'cut'], seed=int(sys.argv[2])).to_json())"
    )
    (tmp_path / "routes.yaml").write_text(f"routes:\n  chat:\n    deployments: [{MIXLAYER}, {EMPIRIO}]\n")

    def told(seed: int, hashes: str) -> str:
        command = [sys.executable, "-c", code, str(tmp_path / "routes.yaml"), str(seed)]
        environ = {**os.environ, "PYTHONHASHSEED": hashes, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=60).stdout

    first = told(3, "1")

    assert first == told(3, "2")
    other = drill(tmp_path / "routes.yaml", ["hiccups", "cut"], seed=4).to_json()
    assert json.loads(first)["scenarios"] != json.loads(other)["scenarios"]


def test_what_is_rehearsed_is_not_in_the_log(caplog, monkeypatch):
    """It has not happened; what happens elsewhere meanwhile is still told."""
    ask = play.play

    async def watched(ground: Any, script: Any) -> Any:
        meanwhile = threading.Thread(target=lambda: logging.getLogger("router").warning("for real"))
        meanwhile.start()
        meanwhile.join()
        return await ask(ground, script)

    monkeypatch.setattr(rehearsal, "play", watched)
    drill(routes(), ["one-500", "cut"])

    assert ["for real", "for real"] == [record.message for record in caplog.records]
    assert not logging.getLogger("router").filters


async def test_a_drill_can_be_called_where_a_loop_runs():
    """In a thread of its own; `adrill` lets the loop go on."""
    assert drill(routes(), ["one-500"]).ok
    assert (await adrill(routes(), ["one-500"])).ok


def test_sockets_and_the_machines_clock_give_the_same_verdict():
    """A scenario that is quick by itself."""
    report = drill(routes(), ["content-policy", "one-500"], clock="real")

    assert {"content-policy": "pass", "one-500": "pass"} == words(report), str(report)


def test_progress_is_told_after_every_rehearsal():
    told = []
    drill(routes(), ["one-500", "cut"], progress=lambda done, total, result: told.append((done, total, result.name)))

    assert [(1, 2, "one-500"), (2, 2, "cut")] == told


def test_at_least_says_what_is_good_enough():
    """`safe` is no finding for whoever wants no more."""
    strict, content = (drill(routes(MIXLAYER), ["overloaded"], at_least=word) for word in ("pass", "safe"))

    assert (False, True) == (strict.ok, content.ok)
    assert ["safe", "safe"] == [strict.scenarios[0].verdict, content.scenarios[0].verdict]
    assert content.scenarios[0].findings


@pytest.mark.parametrize(
    ("limits", "seconds"),
    [({"requests_per_minute": 5, "concurrency": 1}, 100), ({"concurrency": 1}, 8), ({"requests_per_minute": 5}, 30)],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else str(value),
)
def test_whoever_waits_for_a_place_hears_before_the_deadline(limits, seconds):
    """More callers than the account carries: each is answered, or told so in time, and no stream runs beyond it."""
    file = {
        "providers": {"mixlayer": {"limits": limits}},
        **routes(MIXLAYER, policy={"deadline": seconds, "timeouts": {"first_token": seconds / 4}}),
    }
    result = one(file, Script("crowd", callers=Callers(count=40, every=1.0), expect=("answer", "error")))

    assert ("pass", 40) == (result.verdict, result.callers["count"]), said(result)
    assert 0 < result.callers["answered"] < 40
