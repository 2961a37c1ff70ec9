"""`router check`: findings with all their keys, none of them ever missing."""

from __future__ import annotations

import os

import pytest

from router.lint.kinds import KINDS
from tests.cli.running import KEYS, ROOT, run, write

FINDING = {"severity", "code", "route", "deployment", "path", "line", "message", "fix"}


def check(folder, text, *, keys=True, notes=False, **environ):
    """The findings about *text*; what is only worth knowing where *notes* are asked for."""
    ran = run("check", write(folder, text), "--json", keys=keys, **environ)
    found = ran.json

    assert {"ok", "findings"} == found.keys()
    assert all(FINDING == one.keys() for one in found["findings"])
    counted = [one for one in found["findings"] if one["severity"] != "info"]
    assert (found["ok"], ran.code) == ((True, 0) if not counted else (False, 1))
    assert all(one["severity"] == KINDS[one["code"]].severity for one in found["findings"])
    assert all(one["message"] and one["fix"] for one in found["findings"])
    return found["findings"] if notes else counted


def route(*deployments, more=""):
    """A file with one route; its deployments stand in the lines from 4 on."""
    lines = "".join(f"      - {one}\n" for one in deployments)
    return f"routes:\n  chat:\n    deployments:\n{lines}{more}"


def test_what_is_good_is_ok(tmp_path):
    """For machines and for people; the catalog is good too, without a key."""
    path = write(tmp_path, route("mixlayer/qwen3.5-27b", "runware/qwen3.5-27b"))

    assert [] == check(tmp_path, route("mixlayer/qwen3.5-27b"))
    assert f"ok {path}\n" == run("check", path, keys=True).out
    assert f"ok {path}\n" == run("check", "--config", path, keys=True).out
    assert (0, "ok catalog.yaml\n") == run("check")[:2]
    assert run("check", "--json").json == {"ok": True, "findings": []}


def test_the_example_is_good():
    """With all its keys."""
    assert 0 == run("check", str(ROOT / "examples" / "routes.yaml"), keys=True).code


PROBLEMS = [
    ("routs: {}\n", 1, "routs", "unknown key", "routes"),
    (route("mixlayer/qwen3.5-72b"), 4, "routes.chat.deployments[0]", "not known", "qwen3.5-27b"),
    (route("mixlayer/qwen3.5-27b", more="    fidelity: off\n"), 5, "routes.chat.fidelity", "boolean", '"off"'),
    (route("mixlayer/qwen3.5-27b", more="    policy: fast\n"), 5, "routes.chat.policy", "not known", "default"),
    ('providers: {mixlayer: {api_key: "${NO_KEY}"}}\n', 1, "providers.mixlayer.api_key", "NO_KEY is not set", ":-"),
    ("policies:\n  p: {deadline: 5 parsecs}\n", 2, "policies.p.deadline", "parsecs", ""),
    ("routes: [\n", 2, None, "is not YAML", None),
]


@pytest.mark.parametrize("case", PROBLEMS, ids=lambda case: case[3])
def test_a_mistake_is_an_error_with_its_line(case, tmp_path):
    """Its path, and what would have been right."""
    text, line, path, message, fix = case
    [found] = check(tmp_path, text)

    assert ("error", line, path) == (found["severity"], found["line"], found["path"])
    assert message in found["message"]
    assert fix is None or fix in (found["fix"] or "")
    assert found["route"] == ("chat" if path and path.startswith("routes.chat") else None)


def test_one_run_finds_everything(tmp_path):
    """Mistakes together; and a key that is not set hides nothing else."""
    two = check(tmp_path, "routs: {}\npolicys: {}\n")
    both = check(tmp_path, 'providers: {aiml: {api_key: "${NO_KEY}"}}\n'
                 + route("runware/qwen3.5-27b", more="    needs: [tools]\n"))  # fmt: skip

    assert [1, 2] == [one["line"] for one in two]
    assert ["providers.aiml.api_key", "routes.chat.deployments[0]"] == [one["path"] for one in both]


def test_a_route_knows_its_name_and_its_deployment(tmp_path):
    """Also where names hold dots."""
    [found] = check(
        tmp_path, "routes:\n  qwen.v1.5:\n    deployments: [{deployment: mixlayer/qwen3.5-27b, wight: 1}]\n"
    )

    assert ("qwen.v1.5", "mixlayer/qwen3.5-27b") == (found["route"], found["deployment"])
    assert "weight" in found["fix"]


def test_a_provider_without_a_key_is_found_where_a_route_uses_it(tmp_path):
    """And nowhere else; an empty variable is no key."""
    text = route("mixlayer/qwen3.5-27b", "runware/qwen3.5-27b")
    [found] = check(tmp_path, text, keys=False, MIXLAYER_API_KEY="here")

    assert ("error", "chat", "runware/qwen3.5-27b", 5) == tuple(
        found[name] for name in ("severity", "route", "deployment", "line")
    )
    assert "set RUNWARE_API_KEY" in found["fix"]
    assert 1 == len(check(tmp_path, text, keys=True, RUNWARE_API_KEY=""))
    assert [] == check(tmp_path, "providers: {local: {base_url: 'http://localhost:1/v1'}}\n"
                       "models: {m: {deployments: [{provider: local, model: m}]}}\n" + route("local/m"), keys=False)  # fmt: skip


NEEDS = {
    "tools": {"runware/qwen3.5-27b"},
    "json_object": {"runware/qwen3.5-27b"},
    "json_schema": {"runware/qwen3.5-27b"},
    "images": {"mixlayer/qwen3.5-27b"},
    "video": {"mixlayer/qwen3.5-27b"},
    "logprobs": {"mixlayer/qwen3.5-27b", "runware/qwen3.5-27b"},
    "reasoning_off": {"aiml/qwen3.6-35b-a3b"},
    "reasoning_levels": {"mixlayer/qwen3.5-27b", "runware/qwen3.5-27b"},
}
FOUR = ("mixlayer/qwen3.5-27b", "runware/qwen3.5-27b", "empiriolabs/qwen3.5-4b", "aiml/qwen3.6-35b-a3b")


@pytest.mark.parametrize("need", NEEDS)
@pytest.mark.parametrize("fidelity", ["declared", "best_effort"])
def test_every_deployment_is_held_to_the_needs(need, fidelity, tmp_path):
    """By translating; whatever the route lets pass otherwise."""
    found = check(tmp_path, route(*FOUR, more=f"    fidelity: {fidelity}\n    needs: [{need}]\n"))

    assert NEEDS[need] == {one["deployment"] for one in found}
    for one in found:
        assert ("error", "chat") == (one["severity"], one["route"])
        assert 4 + FOUR.index(one["deployment"]) == one["line"]
        assert f"need {need}" in one["message"]
        assert need in one["fix"]


def test_who_comes_after_the_attempts_is_never_reached(tmp_path):
    """Within a tier and behind one; not where chance, price or load decide the order."""
    tier = route(*FOUR, more="    policy: {attempts: 2}\n")
    tiers = route("mixlayer/qwen3.5-27b", "{deployment: aiml/qwen3.6-35b-a3b, priority: 2}",
                  more="    policy: {attempts: 1, attempts_per_deployment: 1}\n")  # fmt: skip

    assert [*FOUR[2:]] == [one["deployment"] for one in check(tmp_path, tier)]
    assert {"warning"} == {one["severity"] for one in check(tmp_path, tier)}
    [behind] = check(tmp_path, tiers)
    assert ("aiml/qwen3.6-35b-a3b", 5) == (behind["deployment"], behind["line"])
    assert [] == check(tmp_path, tier + "    select: weighted\n")


def test_a_policy_that_cannot_fit_is_a_warning(tmp_path):
    """What loading only warns about has a non-zero exit here."""
    [found] = check(tmp_path, "policies:\n  p: {attempts: 4, deadline: 10s, timeouts: {first_token: 5s, idle: 5s}}\n")

    assert ("warning", "policies.p.deadline", 2) == (found["severity"], found["path"], found["line"])


def test_people_get_a_list_by_line(tmp_path):
    """Each place once, with its findings and how to mend them."""
    path = write(tmp_path, route("runware/qwen3.5-27b", more="    needs: [tools, logprobs]\n"))
    ran = run("check", path, keys=True)

    assert 1 == ran.code
    assert [f"{path}:4"] == [line for line in ran.out.splitlines() if line.startswith(path)]
    assert 2 == ran.out.count("    → take runware/qwen3.5-27b out of the route")
    assert "2 findings, 2 of them errors" in ran.out
    assert not [key for key in KEYS.values() if key in ran.out]


def test_a_file_that_cannot_be_read_is_a_finding_and_an_error(tmp_path):
    """Machines get their object in any case; the exit code is that of wrong input."""
    ran = run("check", str(tmp_path / "nothing.yaml"), "--json")

    assert (2, False) == (ran.code, ran.json["ok"])
    assert "cannot be read" in ran.json["findings"][0]["message"]
    assert ran.err.startswith("error: ")


def test_a_pipe_is_read_once():
    """`router check <(make-routes)`: what comes out of it is what is checked."""
    reading, writing = os.pipe()
    os.write(writing, route("mixlayer/qwen3.5-72b").encode())
    os.close(writing)
    try:
        ran = run("check", f"/dev/fd/{reading}", "--json", keys=True)
    finally:
        os.close(reading)

    assert (1, ["unknown-name"]) == (ran.code, [one["code"] for one in ran.json["findings"]])
