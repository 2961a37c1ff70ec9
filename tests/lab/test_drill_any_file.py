"""Whatever a file says, this router lies to nobody, keeps its deadline and hammers nobody: no drill of it may say otherwise.

The files are drawn by a seed from the whole catalog and from what a policy can say; most of them nobody should run.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from router.lab import drill
from router.load import load

SCENARIOS = [
    "undisturbed",
    "cut",
    "silence",
    "outage",
    "account-rate-limit",
    "content-policy",
    "lost-response",
    "hiccups",
]
POLICY: dict[str, list[Any]] = {
    "attempts": [1, 2, 3, 6],
    "attempts_per_deployment": [1, 2, 3],
    "order": ["here_first", "elsewhere_first"],
    "deadline": ["5s", "10s", "30s", "300s"],
    "on_interruption": ["error", "restart", "recover"],
    "hold": ["300ms", "20 tokens", "all"],
    "timeouts": [{"first_token": "2s"}, {"first_token": "20s", "idle": "5s"}, {"headers": "1s"}, {"idle": None}],
    "circuit": [{"failures": 1}, {"failures": 10, "cooldown": "1s"}, {"cooldown": "30s", "max_cooldown": "60s"}],
    "hedge": [{}, {"after": "500ms", "budget": "100%"}],
}
ROUTE: dict[str, list[Any]] = {
    "select": ["weighted", "cheapest", "fastest", "least_busy"],
    "needs": [["tools"], ["json_schema", "reasoning_off"], ["images"], ["logprobs"], ["reasoning_levels"]],
    "fidelity": ["strict", "best_effort"],
}
LIMITS = [{"requests_per_minute": 5}, {"requests_per_minute": 50, "concurrency": 1}, {"concurrency": 5}]


def some(rng: Random, of: dict[str, list[Any]]) -> dict[str, Any]:
    return {name: rng.choice(values) for name, values in of.items() if rng.random() < 0.4}


def drawn(rng: Random) -> dict[str, Any]:
    """A file with one route."""
    known = load(environ={})
    names = rng.sample(list(known.deployments), rng.randint(1, 3))
    if rng.random() < 0.5:
        names = [one.name for one in known.models[rng.choice(list(known.models))].deployments]
    placed = [{"deployment": name, "priority": rng.randint(1, 2), "weight": rng.choice([0.5, 1, 2])} for name in names]
    accounts = {"mixlayer": {"api_keys": ["one", "two"]}, "empiriolabs": {"limits": rng.choice(LIMITS)}}
    providers = {name: row for name, row in accounts.items() if rng.random() < 0.4}
    route = {"deployments": placed, "policy": some(rng, POLICY), **some(rng, ROUTE)}
    return {"providers": providers, "routes": {"drawn": route}}


@pytest.mark.parametrize("seed", range(10))
def test_no_drill_of_any_file_finds_a_lie_or_wrong_conduct(seed):
    """Every scenario is rescued, or ends in a clean error in time, or cannot show anything."""
    file = drawn(Random(seed))
    report = drill(file, SCENARIOS, seed=seed)

    assert {} == {
        one.name: [finding.message for finding in one.findings]
        for one in report.scenarios
        if one.verdict not in ("pass", "safe", "skipped")
    }, file
