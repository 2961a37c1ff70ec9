"""`router plan`, `models` and `schema`: what they say without asking anybody."""

from __future__ import annotations

import json

import pytest

from router import Router
from tests.cli.running import KEYS, ROOT, run, spawn, write

REQUEST = {
    "model": "qwen3.5-27b",
    "messages": [{"role": "user", "content": "17 * 23?"}],
    "reasoning_effort": "low",
    "max_tokens": 800,
}


def request(folder, **more):
    return write(folder, json.dumps({**REQUEST, **more}), "request.json")


@pytest.mark.parametrize("stream", [False, True])
def test_a_plan_is_what_the_library_plans(stream, tmp_path):
    """Order, calls, changes and costs, to the byte; keys masked."""
    ran = run("plan", request(tmp_path), "--json", *["--stream"] * stream, keys=True)

    planned = Router.open(environ=KEYS).plan(REQUEST, streaming=stream)
    assert 0 == ran.code
    assert {"route", "candidates", "excluded"} == ran.json.keys()
    assert [one.deployment for one in planned.candidates] == [one["deployment"] for one in ran.json["candidates"]]
    for expected, found in zip(planned.candidates, ran.json["candidates"], strict=True):
        http, call = expected.call.http, found["call"]
        assert {"deployment", "call", "changes", "cost"} == found.keys()
        assert (http.method, http.url, dict(http.headers)) == (call["method"], call["url"], call["headers"])
        assert json.loads(http.body) == call["body"]
        assert [one.param for one in expected.call.changes] == [one["param"] for one in found["changes"]]
        assert {"param", "asked", "sent", "how", "why"} == {name for one in found["changes"] for name in one}
        assert expected.cost.source == found["cost"]["source"] == "estimated"
        assert "***" in call["headers"]["Authorization"]


def test_the_excluded_stand_there_with_their_reasons(tmp_path):
    """And with the changes that speak against them; somebody is left, so all is well."""
    ran = run("plan", request(tmp_path, n=2), "--json", keys=True)

    assert 0 == ran.code
    assert ["runware/qwen3.5-27b"] == [one["deployment"] for one in ran.json["candidates"]]
    assert {"mixlayer/qwen3.5-27b", "empiriolabs/qwen3.5-27b"} == {one["deployment"] for one in ran.json["excluded"]}
    for one in ran.json["excluded"]:
        assert {"deployment", "why", "changes"} == one.keys()
        assert "n: asked 2" in one["why"]
        assert "n" in [change["param"] for change in one["changes"]]


def test_without_a_candidate_the_exit_code_says_so(tmp_path):
    """The plan is printed all the same: it has the reasons."""
    for arguments in ([], ["--json"]):
        ran = run("plan", request(tmp_path), *arguments)

        assert 1 == ran.code
        assert "MIXLAYER_API_KEY" in ran.out


def test_keys_can_be_ignored(tmp_path):
    """Those of the catalog and those of the file; defaults stay as they are."""
    routes = write(
        tmp_path,
        'providers:\n  mixlayer: {api_keys: ["${ONE}", "${TWO}"], base_url: "${NO_SUCH_URL:-http://localhost:1/v1}"}\n',
    )
    ran = run("plan", request(tmp_path), "--ignore-keys", "--config", routes, "--json")

    assert (0, []) == (ran.code, ran.json["excluded"])
    assert 3 == len(ran.json["candidates"])
    assert "http://localhost:1/v1/chat/completions" in [one["call"]["url"] for one in ran.json["candidates"]]


@pytest.mark.parametrize("width", [80, 120])
def test_a_person_reads_who_says_what(width, tmp_path):
    """Order, words for reasoning, changes and cost, within the width."""
    ran = run("plan", request(tmp_path, n=2, seed=7), "--ignore-keys", COLUMNS=str(width))

    assert 0 == ran.code
    assert not [line for line in ran.out.splitlines() if len(line) > width]
    for said in ("1", "runware/qwen3.5-27b", "thinkingLevel", '"low"', '"high"', "nearest", "$0.00", "excluded"):
        assert said in ran.out, said
    assert "textInference" not in ran.out


def test_the_bodies_can_be_seen(tmp_path):
    """Each on a line of its own, as it is sent, with its masked headers."""
    ran = run("plan", request(tmp_path), "--ignore-keys", "--bodies")

    bodies = [json.loads(line) for line in ran.out.splitlines() if line.startswith(("{", "[{"))]
    assert 3 == len(bodies)
    assert {"qwen3-5-27b", "qwen/qwen3.5-27b"} <= {one["model"] for one in bodies if isinstance(one, dict)}
    assert "Authorization: Bearer ***" in ran.out


def test_a_request_can_come_from_stdin(tmp_path):
    """With a dash."""
    ran = spawn("plan", "-", "--ignore-keys", "--json", text=json.dumps(REQUEST))

    assert (0, "qwen3.5-27b") == (ran.code, ran.json["route"])


def test_what_is_shown_is_text_and_nothing_else(tmp_path):
    """Brackets are no markup, and control characters do not reach the terminal."""
    ran = run("plan", request(tmp_path, user="[red]\x1b[2J[/red]"), "--ignore-keys", "--bodies")

    assert "\x1b" not in ran.out
    assert "user" in ran.out


# -- models and schema ------------------------------------------------------------------------------------------------


def test_every_model_is_listed_with_what_is_known_of_it():
    """For each deployment limits, prices, what it reads, and whether there is a key."""
    ran = run("models", "--json", MIXLAYER_API_KEY="here")

    config = Router.open(environ={}).config
    assert list(config.models) == [one["model"] for one in ran.json["models"]]
    by_name = {one["deployment"]: one for model in ran.json["models"] for one in model["deployments"]}
    assert set(config.deployments) == set(by_name)
    assert (True, []) == (by_name["mixlayer/qwen3.5-27b"]["key"], by_name["mixlayer/qwen3.5-27b"]["missing"])
    runware = by_name["runware/qwen3.5-27b"]
    assert (False, ["RUNWARE_API_KEY"]) == (runware["key"], runware["missing"])
    assert (262144, 65536, ["text", "image", "video"]) == (runware["context"], runware["max_output"], runware["input"])
    assert {"input": 0.165, "output": 1.326, "cached": 0.024} == runware["price"]


def test_models_are_found_by_a_part_of_their_name():
    """Or of the name of a deployment; when nothing is found, the exit code says so."""
    assert ["qwen3.5-4b"] == [one["model"] for one in run("models", "3.5-4B", "--json").json["models"]]
    found = run("models", "runware/", "--json").json["models"]
    assert {"runware"} == {one["provider"] for model in found for one in model["deployments"]}
    assert (1, "") == run("models", "gpt")[:2]


@pytest.mark.parametrize("width", [80, 120])
def test_models_are_a_table(width):
    """That fits, and names the keys to set."""
    ran = run("models", "--config", str(ROOT / "examples" / "routes.yaml"), COLUMNS=str(width), keys=True)

    assert not [line for line in ran.out.splitlines() if len(line) > width]
    for said in ("qwen3.5-397b-a17b", "262K", "image, video", "0.165", "yes", "agent", "cheapest"):
        assert said in ran.out, said
    assert "Missing keys: set " in run("models").out
    assert all(name in run("models").out for name in KEYS)


def test_the_schema_is_that_of_the_routes_file():
    """One JSON document."""
    ran = run("schema")

    assert 0 == ran.code
    assert {"providers", "models", "routes", "policies", "gateway"} == ran.json["properties"].keys()
