"""The shipped examples are clean, and a copy of them with one mistake is caught: by its name, in its line."""

from __future__ import annotations

import pytest

from router.lint.kinds import KINDS
from tests.cli.breaking import EXAMPLES, Broken
from tests.cli.running import KEYS, run


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_has_no_finding(path):
    """Not even one that is only worth knowing."""
    ran = run("check", str(path), "--json", keys=True)

    assert {"ok": True, "findings": []} == ran.json
    assert 0 == ran.code


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_without_keys_an_example_lacks_keys_and_nothing_else(path):
    """Each of them by its variable, on the line that wants it."""
    ran = run("check", str(path), "--json", keys=False)
    found = ran.json["findings"]
    lines = path.read_text("utf-8").splitlines()

    assert (1, False) == (ran.code, ran.json["ok"])
    assert {one["code"] for one in found} <= {"variable-missing", "missing-key"}
    for one in found:
        [variable] = [name for name in KEYS if name in one["message"] + one["fix"]]
        provider = variable.partition("_")[0].lower()
        assert variable in lines[one["line"] - 1] or provider in lines[one["line"] - 1]


STATIC = [
    # -- the file says what it cannot mean: the loader
    Broken("a key misspelt", "routes.yaml", "    policy: quick\n", "    polcy: quick\n", ("unknown-key",), "polcy"),
    Broken("a deployment misspelt", "routes.yaml", "- runware/qwen3.5-27b", "- runware/qwen3.5-72b", ("unknown-name",)),
    Broken("a policy misspelt", "chat.yaml", "policy: live", "policy: life", ("unknown-name",)),
    Broken("a provider misspelt", "self-hosted.yaml", "- provider: vllm", "- provider: vlm", ("unknown-name",) * 2),
    Broken("a variable misspelt", "batch.yaml", "${EMPIRIOLABS_API_KEY}", "${EMPIRIO_API_KEY}", ("variable-missing",)),
    Broken("a deployment named twice", "chat.yaml", "- mixlayer/qwen3.5-27b", "- {deployment: runware/qwen3.5-27b}",
           ("named-twice",)),
    Broken("a bare on", "self-hosted.yaml", 'reasoning_effort: "on"', "reasoning_effort: on", ("yaml",)),
    Broken("a unit that is none", "chat.yaml", "deadline: 90s", "deadline: 90 seconds", ("invalid-value",)),
    Broken("no calls at once", "batch.yaml", "concurrency: 20", "concurrency: 0", ("invalid-value",)),
    Broken("a level of reasoning forgotten", "self-hosted.yaml", ", xhigh: true, max: true}", ", max: true}",
           ("invalid-value",), "levels: {none"),
    # -- time
    Broken("a deadline that holds two attempts of four", "routes.yaml", "deadline: 300s", "deadline: 120s",
           ("deadline-too-short",)),
    Broken("a time-out after the deadline", "routes.yaml", "first_token: 15s, idle: 15s", "first_token: 15s, idle: 90s",
           ("timeout-never-fires",)),
    Broken("a hold as long as the deadline", "chat.yaml", "hold: 300ms", "hold: 90s", ("hold-outlasts-deadline",)),
    Broken("fewer attempts than deployments", "routes.yaml", "attempts: 4  ", "attempts: 3  ", ("never-reached",),
           "aiml/qwen3.6-35b-a3b, priority: 2"),
    Broken("one attempt, and a stream to be recovered", "chat.yaml", "attempts: 4\n", "attempts: 1\n",
           ("recovery-impossible", "never-reached"), "on_interruption: recover"),
    Broken("the same one once, and here first", "self-hosted.yaml", "attempts_per_deployment: 2",
           "attempts_per_deployment: 1", ("order-unused", "attempts-unused"), "order: here_first"),
    Broken("a pause before an attempt that is not allowed", "batch.yaml", "attempts_per_deployment: 2",
           "attempts_per_deployment: 1", ("backoff-unused", "attempts-unused"), "backoff: {"),
    # -- who may serve
    Broken("a fallback without tools", "routes.yaml", "- empiriolabs/qwen3.5-35b-a3b", "- runware/qwen3.5-397b-a17b",
           ("need-unmet", "need-unmet")),
    Broken("a need that one fallback cannot meet", "chat.yaml", "needs: [reasoning_off]", "needs: [reasoning_off, tools]",
           ("need-unmet",), "- runware/qwen3.5-27b"),
    Broken("a strictness that nobody passes", "batch.yaml", "seed: strict", "reasoning_effort: strict",
           (*("excluded-by-fidelity",) * 3, "need-unmet"), "- empiriolabs/qwen3.5-35b-a3b"),
    Broken("one account behind two deployments", "minimal.yaml", "- mixlayer/qwen3.5-27b", "- empiriolabs/qwen3.5-9b",
           ("single-account",), "deployments:"),
    Broken("one account under two names", "self-hosted.yaml", 'base_url: "${VLLM_URL:-http://localhost:8000/v1}"',
           'base_url: https://api.empiriolabs.ai/v1\n    api_key: "${EMPIRIOLABS_API_KEY}"', ("same-account",), "  vllm:"),
    Broken("a weight of nothing", "routes.yaml", "mixlayer/qwen3.5-9b, weight: 1", "mixlayer/qwen3.5-9b, weight: 0",
           ("weight-zero", "select-no-effect", "weight-no-effect")),
    Broken("the wrong policy, and one left over", "routes.yaml", "policy: patient", "policy: quick",
           ("never-reached", "policy-unused"), "aiml/qwen3.6-35b-a3b, priority: 2"),
    Broken("a choice among one", "minimal.yaml", "    needs: [tools]",
           "      - {deployment: aiml/qwen3.6-35b-a3b, weight: 0}\n    needs: [tools]", ("weight-zero",), "weight: 0"),
    # -- money, limits, keys
    Broken("an account with one request a minute", "batch.yaml", "requests_per_minute: 50", "requests_per_minute: 1",
           ("limit-below-attempts",)),
    Broken("a key over plain http", "self-hosted.yaml", 'base_url: "${VLLM_URL:-http://localhost:8000/v1}"',
           'base_url: http://gpu.example.com/v1\n    api_key: "${MIXLAYER_API_KEY}"', ("key-in-clear",), "base_url: http:"),
    Broken("a price limit that only one keeps", "routes.yaml", "    needs: [tools, json_schema]\n",
           "    needs: [tools, json_schema]\n    max_price: {output: $1}\n", ("price-over-limit",) * 2,
           "- mixlayer/qwen3.5-35b-a3b"),
    Broken("a budget in cents of what it should be", "chat.yaml", "    select: fastest",
           "    budget: {limit: $0.0005}\n    select: fastest", ("budget-below-request",), "budget:"),
    Broken("a second call after the end", "chat.yaml", "    hold: 300ms", "    hedge: {after: 20s}\n    hold: 300ms",
           ("hedge-never-fires",), "hedge:"),
]  # fmt: skip


@pytest.mark.parametrize("broken", STATIC, ids=lambda broken: broken.name)
def test_a_mistake_is_caught_by_its_name(broken, tmp_path):
    """With the right line first, a fix for each finding, and nothing that is not due to the mistake."""
    ran = run("check", broken.write(tmp_path), "--json", keys=True)
    found = ran.json["findings"]

    assert sorted(broken.codes) == sorted(one["code"] for one in found)
    assert broken.line == next(one["line"] for one in found if one["code"] == broken.codes[0])
    assert all(one["fix"] for one in found)
    assert (ran.code, ran.json["ok"]) == ((0, True) if KINDS[broken.codes[0]].severity == "info" else (1, False))


def test_every_example_has_broken_copies():
    """At least two of each, and sixteen together."""
    counted = {path.name: sum(one.example == path.name for one in STATIC) for path in EXAMPLES}

    assert min(counted.values()) >= 2
    assert len({one.name for one in STATIC}) == len(STATIC) >= 16
