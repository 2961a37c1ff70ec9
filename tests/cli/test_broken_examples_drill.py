"""The shipped examples pass every named scenario; mistakes that no look at a file can see fail one of them, by its name."""

from __future__ import annotations

from time import process_time

import pytest

from router.lab.drills import drill
from tests.cli.breaking import EXAMPLES, Broken
from tests.cli.running import run
from tests.cli.test_broken_examples import STATIC


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_passes_every_scenario(path):
    """All that apply to its routes, and most do; they take no time to speak of."""
    began = process_time()
    report = drill(path)
    took = process_time() - began
    verdicts = {(one.name, one.route): one.verdict for one in report.scenarios}

    assert {} == {where: word for where, word in verdicts.items() if word not in ("pass", "skipped")}, str(report)
    assert sum(word == "pass" for word in verdicts.values()) > 0.9 * len(verdicts)
    assert report.ok
    assert took < 10  # seconds of the processor, of the 20 that two cores may take for one file


# Each with the scenario that tells.
DRILLED = [
    (Broken("a stream that may be silent for ever", "chat.yaml", "idle: 15s ", "idle: null "), "stall"),
    (Broken("a stream that is given up when it breaks", "chat.yaml", "on_interruption: recover", "on_interruption: error"),
     "cut"),
    (Broken("an answer that is seen before it is whole", "batch.yaml", "    hold: all  ", "    # hold: all  "), "malformed"),
    (Broken("limits of time that were taken away", "self-hosted.yaml", "first_token: 30s, idle: 30s",
            "first_token: null, idle: null"), "stall"),
    (Broken("reasoning that is taken for text", "self-hosted.yaml", "    system: {join: true}",
            "    reading: {think: never}\n    system: {join: true}"), "thinking-in-content"),
    (Broken("a fallback that was taken out", "minimal.yaml", "      - mixlayer/qwen3.5-27b  ", "      # - mixlayer/qwen3.5-27b"),
     "out-of-credit"),
]  # fmt: skip


@pytest.mark.parametrize(("broken", "scenario"), DRILLED, ids=lambda one: getattr(one, "name", one))
def test_what_no_look_can_see_is_caught_by_a_scenario(broken, scenario, tmp_path):
    """`check` has nothing against it; the drill names the scenario, and the same one passes with the example itself."""
    path = broken.write(tmp_path)
    report = drill(path, [scenario])

    assert {"ok": True, "findings": []} == run("check", path, "--json", keys=True).json
    assert not report.ok
    assert {scenario} == {one.name for one in report.scenarios if one.verdict in ("fail", "partial", "safe")}
    assert drill(EXAMPLES[0].parent / broken.example, [scenario]).ok


def test_a_file_with_a_pool_of_unset_keys_is_drilled(tmp_path):
    """Each variable holds a key of its own, as the file means it."""
    text = 'providers: {mixlayer: {api_keys: ["${FIRST}", "${SECOND}"]}}\nroutes: {chat: {deployments: '
    path = tmp_path / "routes.yaml"
    path.write_text(text + "[mixlayer/qwen3.5-27b, empiriolabs/qwen3.5-27b]}}\n")

    assert drill(path, ["one-500", "out-of-credit"]).ok


def test_what_check_says_the_drill_says_too(tmp_path):
    """By the same code, and not what is only worth knowing."""
    [broken] = [one for one in STATIC if one.codes == ("single-account",)]
    report = drill(broken.write(tmp_path), ["one-500"])

    assert [("single-account", broken.line)] == [(one.code, one.line) for one in report.findings]
