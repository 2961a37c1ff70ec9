"""`router simulate`: what it prints, what it refuses, and that a seed means the same bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest

from router.cli.simulate import fault
from tests.cli.running import run, spawn, write

ROUTES = """\
providers:
  alpha: {protocol: chat_completions, base_url: "http://alpha.test/v1", api_key: "${ALPHA_KEY}"}
  beta: {protocol: chat_completions, base_url: "http://beta.test/v1", api_key: "${BETA_KEY}"}
models:
  small: {deployments: [{provider: alpha, model: m, price: {input: 0.1, output: 0.4}}]}
  other: {deployments: [{provider: beta, model: m, price: {input: 0.2, output: 0.8}}]}
routes:
  chat: {deployments: [alpha/small, beta/other]}
"""
SHORT = ("--rate", "10/s", "--for", "60s")


@pytest.fixture
def routes(tmp_path: Path) -> str:
    return write(tmp_path, ROUTES)


def test_it_needs_no_keys(routes):
    """Neither a key nor a network: the numbers come anyway, as tables for people."""
    done = run("simulate", routes, *SHORT, "--fault", "alpha:down:20s-40s")

    assert 0 == done.code, done.err
    assert "chat: 10 requests/s for 60 s, seed 0" in done.out
    assert all(word in done.out for word in ("success", "first token, p95", "alpha/small", "beta/other", "cost"))
    assert all(len(line) <= 80 for line in done.out.splitlines())


def test_json_has_it_all(routes):
    """What was simulated, what came of it, and over time."""
    found = run("simulate", "--config", routes, *SHORT, "--fault", "first:down:20s-40s", "--json").json

    assert ["overloaded"] == [one["what"] for one in found["faults"]]
    assert {"p50", "p90", "p95", "p99"} == set(found["first_token"]) == set(found["total"])
    assert found["requests"] == sum(row["requests"] for row in found["buckets"]["rows"])
    assert found["success"] == 1.0
    assert found["deployments"]["beta/other"]["answered"] > 100


def test_a_fault_that_nobody_has_met_is_told(routes):
    """Not silent: what was simulated is as if it were not there."""
    done = run("simulate", routes, *SHORT, "--fault", "first:body_reset", "--fault", "first:down:20s-40s")
    found = run(
        "simulate", routes, *SHORT, "--fault", "first:body_reset", "--fault", "first:down:20s-40s", "--json"
    ).json

    assert "warning: no call has met first:body_reset" in done.out.replace("\n", " ")
    assert "first:down" not in done.out
    assert 0 == found["faults"][0]["met"] < found["faults"][1]["met"]


def test_a_seed_is_the_same_bytes_in_every_process(routes):
    """Whatever the order in which Python's hashes happen to be, and whatever the environment holds."""
    arguments = ("simulate", routes, *SHORT, "--fault", "all:reset:5%", "--routers", "2", "--seed", "7", "--json")
    outs = [run(*arguments).out, spawn(*arguments, PYTHONHASHSEED="4711", ALPHA_KEY="secret-4711").out]

    assert 1 == len(set(outs))
    assert json.loads(outs[0])["requests"] > 500
    assert "secret" not in outs[0]


def test_a_comparison_shows_both_and_the_change(routes, tmp_path):
    """Both under the same conditions, and the differences."""
    other = write(tmp_path, ROUTES.replace("[alpha/small, beta/other]", "[beta/other, alpha/small]"), "other.yaml")
    arguments = ("simulate", routes, *SHORT, "--compare", other)
    shown, found = run(*arguments), run(*arguments, "--json").json

    assert all(word in shown.out for word in ("routes.yaml", "other.yaml", "change", "the same"))
    assert ["routes.yaml", "other.yaml"] == [one["config"] for one in found["simulations"]]
    assert found["differences"]["cost.per_request"]["change"] > 0
    assert found["simulations"][0]["requests"] == found["simulations"][1]["requests"]


def test_a_script_and_assumptions_come_from_files(routes, tmp_path):
    """The same fault scripts as everywhere, and what is assumed."""
    faults = write(tmp_path, "faults: [{who: first, what: {slow: {times: 5}}}]", "faults.yaml")
    assumed = write(tmp_path, "conduct: {all: {first_token: 100ms, spread: 0}}", "assumed.yaml")
    found = run("simulate", routes, *SHORT, "--fault", faults, "--assume", assumed, "--json").json

    assert 0.5 == found["first_token"]["p50"]


def test_a_request_of_ones_own(routes, tmp_path):
    """What is asked decides who may serve."""
    request = write(tmp_path, json.dumps({"model": "x", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}),
                    "request.json")  # fmt: skip
    found = run("simulate", routes, *SHORT, "--request", request, "--route", "chat", "--json").json

    assert found["total"]["p99"] < 3
    assert found["cost"]["per_request"] < 10e-6


def test_the_report_is_one_file(routes, tmp_path):
    """With everything in it."""
    page = tmp_path / "report.html"
    done = run("simulate", routes, *SHORT, "--html", str(page))
    text = page.read_text("utf-8")

    assert 0 == done.code
    assert str(page) in done.out.replace("\n", "")
    assert "<title>chat – simulated</title>" in text
    assert "src=" not in text.partition("<script>")[0]


@pytest.mark.parametrize(
    ("said", "entry"),
    [
        ("mixlayer:down", {"who": ["mixlayer"], "what": "down"}),
        ("mixlayer:overloaded:10m-20m", {"who": ["mixlayer"], "what": "overloaded", "when": {"from": "10m", "until": "20m"}}),
        ("runware:slow*10:5m-", {"who": ["runware"], "what": {"slow": {"times": 10}}, "when": {"from": "5m"}}),
        ("a,b:reset:-30s", {"who": ["a", "b"], "what": "reset", "when": {"until": "30s"}}),
        ("a/b:reset:10%", {"who": ["a/b"], "what": "reset", "when": {"share": "10%"}}),
        ("first:cut_after*20:#1-3", {"who": ["first"], "what": {"cut_after": {"events": 20}}, "when": {"requests": "1-3"}}),
        ("all:status*502:1m-2m,1%",
         {"who": ["all"], "what": {"status": {"code": 502}}, "when": {"from": "1m", "until": "2m", "share": "1%"}}),
        ("x:first_token_delay*2.5", {"who": ["x"], "what": {"first_token_delay": {"seconds": 2.5}}}),
        ("x:rate_limited*2", {"who": ["x"], "what": {"rate_limited": {"retry_after": 2}}}),
    ],
)  # fmt: skip
def test_a_fault_in_short(said, entry: dict[str, Any]):
    """Who, what, and when: as a script would say it."""
    assert entry == fault(said)


@pytest.mark.parametrize("said", ["mixlayer", "mixlayer:", ":down", "a:down:soon", "a:down:-"])
def test_a_fault_that_is_none(said):
    """It says what would have been one."""
    with pytest.raises(click.UsageError, match="write"):
        fault(said)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--fault", "alpha:doun"), "'doun' is no fault (did you mean 'down'?)"),
        (("--fault", "alfa:down"), "'alfa' is nobody here"),
        (("--fault", "alpha:framing"), "framing is about the bytes of an answer"),
        (("--fault", "nothing.yaml"), "nothing.yaml"),
        (("--rate", "fast"), "'fast' is no rate; write e.g. 200/s"),
        (("--rate", "0/s"), "is no rate"),
        (("--for", "long"), "is not a duration"),
        (("--route", "caht"), "nobody knows 'caht'"),
        (("--html", "no/such/folder/report.html"), "cannot be written"),
    ],
)
def test_what_cannot_be_simulated_is_told(routes, arguments, message):
    """With exit code 2, and what would have been right."""
    done = run("simulate", routes, "--for", "2s", *arguments)

    assert 2 == done.code
    assert message in " ".join(done.err.split())


def test_a_routes_file_is_given_once(routes):
    """Not twice, and not never."""
    assert "once" in run("simulate", routes, "--config", routes).err
    assert "--route" in run("simulate").err
    assert 0 == run("simulate", "--route", "qwen3.5-27b", "--for", "5s").code


def test_without_the_charts_it_says_what_to_install(routes, tmp_path, monkeypatch):
    """Before anything is simulated."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None)
    done = run("simulate", routes, "--html", str(tmp_path / "report.html"))

    assert 2 == done.code
    assert "pip install 'provider-router[report]'" in done.err


def test_errors_of_many_kinds_leave_the_table_readable(tmp_path):
    """Each in a row of its own: the names of the numbers stay whole in 80 columns."""
    text = ROUTES + "    policy: {deadline: 8s, timeouts: {headers: 5s}}\n"
    routes = write(
        tmp_path, text.replace("{deployments: [alpha/small, beta/other]}", "\n    deployments: [alpha/small]")
    )
    other = write(
        tmp_path, text.replace("{deployments: [alpha/small, beta/other]}", "\n    deployments: [beta/other]"), "o.yaml"
    )
    troubles = (
        "--fault",
        "all:silence:10s-20s",
        "--fault",
        "all:down:30s-40s",
        "--fault",
        "all:context_length:5%",
    )
    done = run("simulate", routes, "--rate", "20/s", "--for", "60s", "--compare", other, *troubles)
    found = run("simulate", routes, "--rate", "20/s", "--for", "60s", "--compare", other, *troubles, "--json").json

    kinds = {kind for one in found["simulations"] for kind in one["errors"]}
    assert len(kinds) > 1
    assert all(any(line.startswith(name) for line in done.out.splitlines()) for name in (*kinds, "spent on failed"))
    assert all(len(line) <= 80 for line in done.out.splitlines())
