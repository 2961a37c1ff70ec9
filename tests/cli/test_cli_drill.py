"""`router drill`: for people, for machines and for a CI; and the page that shows it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from router.lab import named_scenarios
from tests.cli.running import ROOT, run, write
from tests.test_docs import blocks

GOOD = "routes:\n  chat:\n    deployments: [mixlayer/qwen3.5-27b, empiriolabs/qwen3.5-27b]\n"
ALONE = "routes:\n  chat:\n    deployments:\n      - mixlayer/qwen3.5-27b\n"
HASTY = f"{GOOD}    policy: hasty\npolicies:\n  hasty: {{deadline: 10s, timeouts: {{first_token: 60s}}}}\n"
PAGE = ROOT / "docs" / "failover-testing.md"
SCENARIO = {
    "name", "route", "verdict", "says", "skipped", "findings", "callers", "attempts", "providers", "first_token",
    "total", "cost",
}  # fmt: skip
FINDING = {"severity", "scenario", "code", "route", "deployment", "path", "line", "message", "fix"}


def test_a_good_file_passes_everything(tmp_path):
    """Every named scenario is in the table, with its verdict."""
    ran = run("drill", write(tmp_path, GOOD))

    assert (0, "") == (ran.code, ran.err)
    for name in named_scenarios():
        verdict = "skipped" if name == "duplicate-task" else "pass"
        assert re.search(rf"^{verdict} +{name} ", ran.out, re.MULTILINE), name
    assert ran.out.endswith(f"ok {len(named_scenarios()) - 1} pass, 1 skipped\n")


def test_a_finding_says_where_and_what_mends_it(tmp_path):
    """Once, with all the scenarios in which it showed; the exit code is 1."""
    ran = run("drill", write(tmp_path, ALONE), "--scenario", "overloaded", "--scenario", "model-retired")

    assert 1 == ran.code
    assert 1 == ran.out.count("nobody stands in for it")
    assert "[overloaded, model-retired]" in ran.out
    assert "→ line 3, routes.chat.deployments: add a deployment at another provider" in ran.out


def test_json_has_every_key(tmp_path):
    """And nothing that a clock of the machine has said: twice is the same text."""
    path = write(tmp_path, ALONE)
    ran = run("drill", "--config", path, "--json", "--scenario", "overloaded", "--scenario", "duplicate-task")
    found = ran.json

    assert {"ok", "file", "seed", "at_least", "findings", "scenarios"} == found.keys()
    assert (1, False, path) == (ran.code, found["ok"], found["file"])
    assert [("overloaded", "chat", "safe"), ("duplicate-task", "chat", "skipped")] == [
        (one["name"], one["route"], one["verdict"]) for one in found["scenarios"]
    ]
    assert all(SCENARIO == one.keys() for one in found["scenarios"])
    assert found["scenarios"][1]["skipped"]
    assert FINDING == found["findings"][0].keys()
    assert ("overloaded", 3) == (found["findings"][0]["scenario"], found["findings"][0]["line"])
    assert ran.out == run("drill", path, "--json", "--scenario", "overloaded", "--scenario", "duplicate-task").out


def test_what_the_loader_warns_of_is_a_finding(tmp_path):
    """Whatever the scenarios say, the exit code is 1."""
    ran = run("drill", write(tmp_path, HASTY), "--json", "--scenario", "one-500")

    assert (1, "pass") == (ran.code, ran.json["scenarios"][0]["verdict"])
    assert {"policies.hasty.deadline", "policies.hasty.timeouts.first_token"} <= {
        one["path"] for one in ran.json["findings"]
    }


def test_at_least_safe_is_content_with_an_honest_error(tmp_path):
    """The verdict stays what it is."""
    ran = run("drill", write(tmp_path, ALONE), "--scenario", "overloaded", "--at-least", "safe")

    assert (0, True) == (ran.code, "safe" in ran.out)
    assert ran.out.endswith("ok 1 safe\n")


def test_junit_is_what_readers_of_the_format_expect(tmp_path):
    """Suites that count their cases; a failure with its text, a skipped case with its reason, times in seconds."""
    junit = tmp_path / "drill.xml"
    wanted = ["--scenario", "one-500", "--scenario", "overloaded", "--scenario", "duplicate-task"]
    ran = run("drill", write(tmp_path, ALONE), *wanted, "--junit", str(junit))
    root = ET.fromstring(junit.read_bytes())  # noqa: S314  # written just now
    suites = {suite.get("name"): suite for suite in root}
    chat = suites["chat"]

    assert (1, "testsuites", {"testsuite"}) == (ran.code, root.tag, {suite.tag for suite in root})
    assert ("4", "1", "1") == (root.get("tests"), root.get("failures"), root.get("skipped"))
    for suite in root:
        cases = suite.findall("testcase")
        assert str(len(cases)) == suite.get("tests")
        assert str(len(suite.findall("testcase/failure"))) == suite.get("failures")
        assert str(len(suite.findall("testcase/skipped"))) == suite.get("skipped")
        assert all(case.get("classname") and case.get("name") for case in cases)
    assert ["one-500", "overloaded", "duplicate-task"] == [case.get("name") for case in chat]
    assert all(float(case.get("time", "x")) >= 0 for case in chat)
    failure, skipped = chat.find("testcase/failure"), chat.find("testcase/skipped")
    assert failure is not None
    assert ("safe", True) == (failure.get("type"), "nobody stands in for it" in (failure.get("message") or ""))
    assert "add a deployment" in (failure.text or "")
    assert skipped is not None
    assert "runware" in (skipped.get("message") or "")


def test_junit_holds_names_that_xml_has_words_for(tmp_path):
    """Whatever stands in a user's file is text."""
    name = "a<b>&\"c'"
    text = f"routes:\n  '{name.replace(chr(39), chr(39) * 2)}':\n    deployments: [mixlayer/qwen3.5-27b]\n"
    junit = tmp_path / "drill.xml"
    run("drill", write(tmp_path, text), "--scenario", "overloaded", "--junit", str(junit))

    assert name in {suite.get("name") for suite in ET.fromstring(junit.read_bytes())}  # noqa: S314


def test_the_scenarios_can_be_listed():
    """With what goes wrong in each; no file is needed."""
    listed = run("drill", "--list", "--json").json["scenarios"]

    assert list(named_scenarios()) == [one["name"] for one in listed]
    assert all(one["says"] for one in listed)
    assert "answer-in-reasoning" in run("drill", "--list").out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--scenario", "cutt"], "did you mean 'cut'"),
        (["--route", "chatt"], "did you mean 'chat'"),
        (["--at-least", "fail"], "'pass', 'partial', 'safe'"),
        (["--faults", "nowhere.yaml"], "does not exist"),
        (["--junit", "no/such/folder.xml", "--scenario", "one-500"], "cannot write no/such/folder.xml"),
    ],
)
def test_wrong_usage_is_told_with_what_would_be_right(arguments, word, tmp_path):
    """Exit code 2, and nothing on stdout."""
    ran = run("drill", write(tmp_path, GOOD), *arguments)

    assert (2, "") == (ran.code, ran.out)
    assert word in ran.err


def test_a_file_is_needed_and_routes_in_it(tmp_path):
    """The catalog alone holds no decisions to be tested; a model of it may be named all the same."""
    empty = write(tmp_path, "policies: {default: {attempts: 3}}\n")

    assert "give the routes file" in run("drill").err
    assert (2, True) == ((ran := run("drill", empty)).code, "has no routes" in ran.err)
    assert 0 == run("drill", empty, "--route", "qwen3.5-27b", "--scenario", "overloaded").code


def test_mistakes_of_a_script_are_told_with_their_lines(tmp_path):
    """As those of a routes file are."""
    faults = write(tmp_path, "faults:\n  - {who: first, what: overlaoded}\n", "faults.yaml")
    ran = run("drill", write(tmp_path, GOOD), "--faults", faults)

    assert (2, True) == (ran.code, f"{faults}:2: faults[0].what: 'overlaoded' is no fault" in ran.err)
    assert "did you mean 'overloaded'?" in ran.err


def test_no_key_is_needed_and_none_is_shown(tmp_path):
    """The example wants four, and none is set; one that stands in a file is not repeated."""
    text = GOOD + "providers:\n  mixlayer: {api_key: sk-canary-0123456789}\n"
    ran = run("drill", write(tmp_path, text), "--json", "--scenario", "key-revoked")

    assert 0 == run("drill", str(ROOT / "examples" / "routes.yaml"), "--scenario", "one-500").code
    assert (0, False) == (ran.code, "canary" in ran.out + ran.err)


def test_the_page_shows_what_happens(tmp_path, monkeypatch):
    """Every command of docs/failover-testing.md, in its order, prints what stands below it."""
    monkeypatch.chdir(tmp_path)
    command, shown = "", 0
    for block in blocks(PAGE.read_text("utf-8")):
        if block.file_name:
            Path(block.file_name).write_text(block.text)
        if block.language == "sh":
            command = block.text.strip()
        elif block.language == "text" and command.startswith("router drill"):
            ran = run(*shlex.split(command)[1:], COLUMNS="120")
            assert block.text.strip() == "\n".join(line.rstrip() for line in ran.out.strip().splitlines())
            shown += 1
            command = ""

    assert 3 == shown
