"""`chat --record`, `emulate --recording` and `drift`: one recording's way through the command line."""

from __future__ import annotations

import json
import os
import signal

import pytest
import yaml

from router.lab import read_recording
from router.lab.recording import Answered, Piece, Recorded, first_line, line_of
from tests.cli.running import KEYS, emulating, next_line, run, spawn, started, write

MODEL = "mixlayer/qwen3.5-27b"
ROUTES = {"chat": {"deployments": [MODEL]}}
BODY = {"model": "qwen/qwen3.5-27b", "messages": [{"role": "user", "content": "2?"}]}
ANSWER = {"id": "1", "choices": [{"index": 0, "message": {"content": "4"}, "finish_reason": "done"}], "x": {"y": 1}}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A conversation of two questions, recorded by two runs; and what the first one said."""
    folder = tmp_path_factory.mktemp("recorded")
    file = folder / "traffic.jsonl"
    with emulating(folder, ROUTES) as config:
        asked = ("chat", "-c", str(config), "--record", str(file))
        first, second = spawn(*asked, "17 * 23?"), run(*asked, "--no-stream", "18 * 23?")
    assert (0, 0) == (first.code, second.code), first.err + second.err
    return file, first


def test_chat_records(recorded):
    """A file that is there is continued; no key is in it, and nothing else is said or different."""
    file, first = recorded
    recording = read_recording(file)

    assert [True, None] == [one.body.get("stream") for one in recording.exchanges]
    assert ("mixlayer",) == recording.providers
    assert "secret-of-an-emulator" not in file.read_text("utf-8")
    assert "You said: 17 * 23?\n" == first.out


def test_emulate_serves_a_recording(recorded, tmp_path):
    """The same question gets the same answer; another one is refused, with what differs."""
    file, first = recorded
    with started("emulate", "--recording", str(file), "--pace", "0", "--json") as process:
        emulators = json.loads(next_line(process))["emulators"]
        config = tmp_path / "routes.yaml"
        providers = {name: {**one, "api_key": "another-secret"} for name, one in emulators.items()}
        config.write_text(yaml.safe_dump({"providers": providers, "routes": ROUTES}))
        again = run("chat", "-c", str(config), "17 * 23?")
        other = run("chat", "-c", str(config), "19 * 23?")
        process.send_signal(signal.SIGTERM)
        process.wait(20)

    assert {"mixlayer"} == set(emulators)
    assert first.out == again.out
    assert 1 == other.code
    assert 'messages[0].content (recorded "17 * 23?", asked "19 * 23?")' in other.err


def test_a_recording_of_a_provider_without_an_emulator(tmp_path):
    """It has a name of its own, and what it speaks is seen from its recording."""
    said = Answered(200, {"Content-Type": "application/json"}, 0.0, (Piece(0.0, json.dumps(ANSWER).encode()),))
    file = tmp_path / "traffic.jsonl"
    file.write_bytes(first_line() + line_of(Recorded("my-vllm", "POST", "/chat/completions", BODY, response=said)))
    with started("emulate", "--recording", str(file), "--json") as process:
        emulators = json.loads(next_line(process))["emulators"]

    assert {"my-vllm"} == set(emulators)


def test_drift_finds_nothing_where_there_is_nothing(recorded):
    """In words, and for machines."""
    file, _ = recorded

    assert (0, "ok 2 exchanges, nothing that the configuration does not know\n", "") == run("drift", str(file))
    assert {"ok": True, "exchanges": 2, "findings": []} == run("drift", str(file), "--json").json


@pytest.fixture
def drifted(tmp_path):
    said = Answered(200, {"Content-Type": "application/json"}, 0.0, (Piece(0.0, json.dumps(ANSWER).encode()),))
    file = tmp_path / "traffic.jsonl"
    file.write_bytes(first_line() + line_of(Recorded("mixlayer", "POST", "/chat/completions", BODY, response=said)) * 2)
    return str(file)


def test_drift_tells_file_line_provider_and_a_fix(drifted, tmp_path):
    """What is only to be known does not fail; with the fix in the file, nothing does."""
    ran = run("drift", drifted, COLUMNS="500")
    found = run("drift", drifted, "--json").json
    fix = found["findings"][0]["fix"]
    config = write(tmp_path, fix + "\n")

    assert 1 == ran.code
    assert (
        f"{drifted}:2: warning: {MODEL}: the answer ended with 'done', which is read as `unknown` (2 times)" in ran.out
    )
    assert "→ providers: {mixlayer: {reading: {finish_reasons: {done: stop}}}}  # or whatever it means" in ran.out
    assert "2 exchanges, 2 findings, 1 to mend" in ran.out
    assert {
        "severity": "warning", "code": "unknown-finish-reason", "provider": "mixlayer", "deployment": MODEL,
        "file": drifted, "line": 2, "count": 2, "message": "the answer ended with 'done', which is read as `unknown`",
        "fix": fix,
    } == found["findings"][0]  # fmt: skip
    assert ["unread-field"] == [one["code"] for one in run("drift", drifted, "-c", config, "--json").json["findings"]]
    assert 0 == run("drift", drifted, "-c", config).code


@pytest.mark.parametrize(
    "arguments",
    [("drift", "{}"), ("emulate", "--recording", "{}"), ("chat", "-m", MODEL, "--record", "{}", "hello")],
    ids=lambda arguments: arguments[0],
)
def test_what_is_no_recording_is_left_alone(tmp_path, arguments):
    """One line that says what it is instead, and exit code 2; the file stays as it is."""
    file = write(tmp_path, "routes: {}\n")
    ran = run(*(one.format(file) for one in arguments), keys=True)

    assert (2, "") == (ran.code, ran.out)
    assert f"error: {file}:1: not recorded traffic" in ran.err.replace("\n", " ")
    assert "routes: {}\n" == (tmp_path / "routes.yaml").read_text()


def test_nothing_is_recorded_before_it_can_be(tmp_path):
    """A place that cannot be written to is told before anything is asked, and no key with it."""
    ran = run("chat", "-m", MODEL, "--record", str(tmp_path / "none" / "t.jsonl"), "hello", keys=True)

    assert 2 == ran.code
    assert f"cannot be written: {os.strerror(2)}" in ran.err
    assert not [key for key in KEYS.values() if key in ran.err]
