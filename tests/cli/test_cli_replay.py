"""`router replay`: a record made again, step by step; what would have been; and what is no record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.running import run, spawn, write
from tests.decisions.scenes import config_of, record

NAMES = ("alpha", "beta", "gamma")
OTHER = """
providers:
  beta: {protocol: chat_completions, base_url: "http://beta.test/v1", api_key: "${NOBODY_HAS_SET_THIS_KEY}"}
models:
  beta-model: {deployments: [{provider: beta, model: model}]}
routes:
  chat: {deployments: [beta/beta-model], policy: {deadline: 8s}}
"""


@pytest.fixture
def records(tmp_path: Path) -> str:
    """What was recorded of a fleet whose first deployment is down and whose second is not well."""
    conducts = {"alpha": "down", "beta": "shaky", "gamma": "up"}
    return write(tmp_path, record(config_of(NAMES), conducts, seconds=6.0), "decisions.jsonl")


def first_of(path: str, decisions: int) -> str:
    """The id of the first request of so many decisions."""
    lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
    return next(line["id"] for line in lines if len(line.get("steps", ())) == decisions)


def test_a_record_gives_the_same_decisions(records):
    """Every request of it; without a configuration, a key or a network."""
    done = run("replay", records)

    assert 0 == done.code
    assert "the same decisions" in done.out
    assert "decision 1 is another one" not in done.out


def test_one_request_is_told_step_by_step(records):
    """Who was asked, for how long at most, why, and what came of it."""
    done = run("replay", records, "--request", first_of(records, 3), COLUMNS="140")

    assert 0 == done.code
    lines = [line for line in done.out.splitlines() if "ask " in line]
    assert ["alpha/alpha-model", "beta/beta-model", "gamma/gamma-model"] == [
        next(word for word in line.replace(",", "").split() if "/" in word) for line in lines
    ]
    assert "Overloaded after 0.02 s" in lines[0]
    assert "answered in" in lines[2]
    assert "The same decisions; it ended with: success, it was answered." in done.out


def test_a_decision_that_differs_is_shown(records):
    """An edited record is found out: exit 1, and both decisions side by side."""
    text = Path(records).read_text().replace('"try":"alpha/alpha-model"', '"try":"gamma/gamma-model"')
    Path(records).write_text(text)
    done = run("replay", records, "--request", first_of(records, 3), COLUMNS="140")

    assert 1 == done.code
    assert "Decision 1 is another one." in done.out
    assert "on record: ask gamma/gamma-model" in done.out
    assert "now:       ask alpha/alpha-model" in done.out


def test_another_file_tells_what_would_have_been(records, tmp_path):
    """As far as the record knows; exit 0, since that is what was asked for."""
    other = write(tmp_path, OTHER)
    done = run("replay", records, "--config", other, "--json")
    told = done.json

    assert 0 == done.code
    assert (True, False, True) == (told["ok"], told["same"], told["counterfactual"])
    for one in told["requests"]:
        assert {step["decided"]["try"] for step in one["steps"] if "try" in step["decided"]} <= {"beta/beta-model"}
    outcomes = [step["outcome"] for one in told["requests"] for step in one["steps"]]
    assert any(outcome and outcome.startswith("answered") for outcome in outcomes)


def test_machines_read_every_step(records):
    """Both decisions, who was passed over and why, and the outcome."""
    told = run("replay", records, "--json").json

    assert told["ok"]
    one = next(one for one in told["requests"] if len(one["steps"]) == 3)
    assert {"id", "route", "outcome", "same", "first_difference", "facts_as_then", "steps"} == one.keys()
    assert all(step["recorded"] == step["decided"] for step in one["steps"])
    passed = [out for one in told["requests"] for step in one["steps"] for out in step["passed"]]
    assert {"alpha/alpha-model"} <= {out["deployment"] for out in passed}
    assert any("its circuit is open" in out["why"] for out in passed)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no request"),
        ("hello\n", "is not JSON"),
        ('{"model": "chat"}\n', "is no record of decisions"),
        ('{"format": "provider-router decisions", "version": 2}\n', "version 2; this router reads version 1"),
        ('{"format": "provider-router decisions", "version": 1, "kind": "decisions"}\n', "is no sound record"),
        ("\ufffe\x00", "is not JSON"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path, text, says):
    """In words, with what to give instead."""
    done = run("replay", write(tmp_path, text, "decisions.jsonl"))

    assert 2 == done.code
    assert says in done.err.replace("\n", " ")


def test_a_request_that_is_not_there_is_said(records):
    """With how to find those that are."""
    done = run("replay", records, "--request", "zzz")

    assert 2 == done.code
    assert "holds no request whose id begins with zzz" in done.err


def test_a_route_that_the_other_file_does_not_have_is_said(records, tmp_path):
    """And which names it has."""
    other = write(tmp_path, OTHER.replace("chat:", "chatter:"))
    done = run("replay", records, "--config", other)

    assert 2 == done.code
    assert "nobody knows 'chat'; did you mean 'chatter'?" in done.err


def test_every_process_prints_the_same(records):
    """Whatever the hashes."""
    printed = {run("replay", records, "--json").out, spawn("replay", records, "--json", PYTHONHASHSEED="77").out}

    assert 1 == len(printed)
