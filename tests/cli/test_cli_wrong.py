"""Wrong usage, wrong input, wrong configuration: one clear error on stderr, the exit code that is documented."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import COMMAND, KEYS, environment, run, write

GOOD = '{"model": "qwen3.5-27b", "messages": [{"role": "user", "content": "Hi"}]}'
FILES = {
    "good.json": GOOD,
    "not.json": "{model: qwen}",
    "list.json": "[1]",
    "nan.json": '{"model": "x", "seed": NaN}',
    "deep.json": "[" * 100_000,
    "field.json": GOOD.replace('"model"', '"temprature": 1, "model"'),
    "model.json": GOOD.replace("qwen3.5-27b", "qwen3.5-72b"),
    "value.json": GOOD.replace('"model"', '"max_tokens": 0, "model"'),
    "off.yaml": "routes:\n  chat:\n    deployments: [mixlayer/qwen3.5-27b]\n    fidelity: off\n",
    "key.yaml": "routs: {}\n",
    "env.yaml": 'providers:\n  mixlayer: {api_key: "${NO_SUCH_KEY}"}\n',
    "not.yaml": "routes: [\n",
    "binary.yaml": "\udcff",
}

WRONG = [
    (["nonsense"], "No such command 'nonsense'"),
    (["--nonsense"], "No such option"),
    (["plan"], "Missing argument"),
    (["plan", "missing.json"], "missing.json cannot be read: No such file"),
    (["plan", "."], ". cannot be read"),
    (["plan", "not.json"], "not.json:1: is not JSON"),
    (["plan", "nan.json"], "NaN"),
    (["plan", "deep.json"], "not JSON"),
    (["plan", "list.json"], "no JSON object"),
    (["plan", "field.json"], "did you mean 'temperature'?"),
    (["plan", "model.json"], "did you mean 'qwen3.5-27b'?"),
    (["plan", "value.json"], "max_tokens"),
    (["plan", "good.json", "--config", "missing.yaml"], "missing.yaml"),
    (["plan", "good.json", "--config", "off.yaml"], "off.yaml:4"),
    (["plan", "good.json", "--config", "key.yaml"], "did you mean 'routes'?"),
    (["plan", "good.json", "--config", "env.yaml"], "NO_SUCH_KEY"),
    (["plan", "good.json", "--config", "not.yaml"], "is not YAML"),
    (["plan", "good.json", "--config", "binary.yaml"], "is not UTF-8"),
    (["plan", "good.json", "--ignore-keys", "--config", "not.yaml"], "is not YAML"),
    (["models", "--config", "off.yaml"], "off.yaml:4"),
    (["check", "missing.yaml"], "cannot be read"),
    (["check", "."], "cannot be read"),
    (["check", "key.yaml", "--config", "key.yaml"], "once"),
    (["emulate", "mixlayr"], "there are mixlayer"),
    (["emulate", "--port", "99999"], "99999"),
    (["emulate", "--port", "65534"], "beyond 65535"),
    (["emulate", "--api-key", ""], "--api-key"),
    (["emulate", "--host", "192.0.2.1"], "cannot listen on 192.0.2.1"),
    (["chat", "Hi"], "MIXLAYER_API_KEY"),
    (["chat", "Hi", "--model", "nobody"], "nobody knows 'nobody'"),
    (["chat", "Hi", "--model", "aiml/qwen3.6-35b-a3b"], "set AIML_API_KEY"),
    (["chat", "Hi", "--effort", "much"], "much"),
    (["chat", "Hi", "--max-tokens", "0"], "--max-tokens"),
    (["chat", "Hi", "--config", "env.yaml"], "NO_SUCH_KEY"),
]


@pytest.mark.parametrize(
    ("arguments", "said"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_what_is_wrong_is_said_in_one_error(arguments, said, tmp_path, monkeypatch):
    """With exit code 2, nothing on stdout and no traceback."""
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))

    ran = run(*arguments)

    assert (2, "") == (ran.code, ran.out)
    assert ran.err.startswith("error: ")
    assert 1 == ran.err.count("error:")
    assert said in ran.err


def test_an_error_says_what_to_do_next(tmp_path):
    """On a line of its own."""
    assert "see: router plan --help" in run("plan").err
    assert "router demo" in run("chat", "Hi").err
    assert f"see: router check {tmp_path / 'r.yaml'}" in run("models", "-c", write(tmp_path, "x: 1", "r.yaml")).err


def test_a_mistake_in_what_is_no_routes_file_does_not_send_its_reader_to_check(tmp_path):
    """`router check` would only say that it knows none of the keys."""
    routes = write(tmp_path, "routes:\n  chat: {deployments: [mixlayer/qwen3.5-27b]}\n")
    script = write(tmp_path, "faults:\n  - {who: frist, what: down}\n", "faults.yaml")
    assumed = write(tmp_path, "conduct: {all: {first_tokn: 1s}}\n", "assumed.yaml")
    asked = (
        ("docs/failover-testing.md", "drill", routes, "--faults", script),
        ("docs/failover-testing.md", "simulate", routes, "--fault", script),
        ("docs/simulation.md", "simulate", routes, "--assume", assumed),
    )

    for where, *arguments in asked:
        ran = run(*arguments)
        assert (2, True, False) == (ran.code, where in ran.err, "router check" in ran.err), ran.err


def test_a_bug_is_called_one(monkeypatch):
    """What nobody has thought of is neither the user's fault nor a traceback."""
    monkeypatch.setattr("router.rows.schema", lambda: 1 / 0)

    ran = run("schema")

    assert (70, "") == (ran.code, ran.out)
    assert "this is a bug in the router: ZeroDivisionError" in ran.err


def test_an_interrupt_is_130(monkeypatch):
    """And says nothing."""

    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr("router.rows.schema", interrupt)

    assert (130, "", "") == run("schema")


@pytest.mark.parametrize("command", ["schema", "models"])
def test_a_broken_pipe_is_silent(command):
    """A reader that has seen enough leaves, and nobody complains."""
    with subprocess.Popen([*COMMAND, command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as it:
        assert it.stdout is not None
        assert it.stderr is not None
        it.stdout.close()
        said = it.stderr.read()

    assert (141, b"") == (it.returncode, said)


@pytest.mark.parametrize("command", ["schema", "models", "check", "check --json"])
def test_an_output_that_is_closed_is_an_output_that_nobody_reads(command):
    """`router schema >&-`: the exit code is what was asked for."""
    closed = ["sh", "-c", f'"$@" {command} >&-', "sh", *COMMAND]
    ran = subprocess.run(closed, stderr=subprocess.PIPE, check=False, timeout=60, env=environment())

    assert (0, b"") == (ran.returncode, ran.stderr)


def test_an_error_output_that_is_closed_changes_no_exit_code():
    closed = ["sh", "-c", '"$@" check missing.yaml 2>&-', "sh", *COMMAND]
    ran = subprocess.run(closed, stdout=subprocess.PIPE, check=False, timeout=60, env=environment())

    assert (2, b"") == (ran.returncode, ran.stdout)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("command", ["schema", "models", "check --json"])
def test_a_full_disk_is_no_bug_of_ours(command):
    full = ["sh", "-c", f'"$@" {command} >/dev/full', "sh", *COMMAND]
    ran = subprocess.run(full, stderr=subprocess.PIPE, text=True, check=False, timeout=60, env=environment())

    assert 2 == ran.returncode
    assert ran.stderr.startswith("error: the output cannot be written: No space left on device\n")
    assert 2 == len(ran.stderr.splitlines())


@pytest.mark.parametrize(
    "command", ["", "demo", "chat", "plan", "check", "drill", "models", "schema", "emulate", "drift", "replay"]
)
def test_every_command_helps(command):
    """With what it is for, its exit codes or its examples, within 100 columns."""
    ran = run(*command.split(), "--help")

    assert (0, "") == (ran.code, ran.err)
    assert "Examples:" in ran.out or not command
    assert command in ("", "schema") or "--json" in ran.out
    assert not [line for line in ran.out.splitlines() if len(line) > 100]


def test_the_commands_of_this_version():
    """No more than there are."""
    listed = [line.split()[0] for line in run("--help").out.split("Commands:\n")[1].split("\n\n")[0].splitlines()]

    known = ["demo", "chat", "plan", "check", "drill", "simulate", "models", "schema", "emulate", "drift", "replay"]
    assert known == listed


def test_the_library_does_not_bring_the_command():
    """`import router` imports neither click nor rich, and the command imports rich only when it shows something."""
    library = "import router, sys; sys.exit(bool({'click', 'rich', 'router.cli'} & set(sys.modules)))"
    command = "import router.cli, sys; sys.exit('rich' in sys.modules)"
    for program in (library, command):
        assert 0 == subprocess.run([sys.executable, "-c", program], check=False, env=environment()).returncode


def test_keys_never_appear(tmp_path):
    """Not in what is shown, not in JSON, not in an error, wherever somebody has put one."""
    key = KEYS["MIXLAYER_API_KEY"]
    request = write(tmp_path, GOOD.replace('"model"', f'"extra": {{"own": "{key}"}}, "model"'), "request.json")
    routes = write(tmp_path, 'providers: {mixlayer: {headers: {X-Api-Key: "${MIXLAYER_API_KEY}", X-Team: a}}}\n')
    wrong = write(tmp_path, 'providers: {mixlayer: {api_key: "${MIXLAYER_API_KEY}", colour: 1}}\n', "wrong.yaml")
    for arguments in (
        ["plan", request, "--config", routes, "--json"],
        ["plan", request, "--config", routes, "--bodies"],
        ["plan", request, "--config", wrong],
        ["models", "--config", routes, "--json"],
        ["check", routes, "--json"],
        ["check", wrong],
    ):
        ran = run(*arguments, keys=True)

        assert "secret-" not in ran.out + ran.err, arguments
    shown = run("plan", request, "--config", routes, "--json", keys=True).json["candidates"]
    headers = next(one["call"]["headers"] for one in shown if one["deployment"].startswith("mixlayer"))
    assert ("***", "a") == (headers["X-Api-Key"], headers["X-Team"])


def test_colours_only_where_they_are_welcome(tmp_path):
    """Not in a pipe; and where they are forced, not against NO_COLOR."""
    path = write(tmp_path, "routs: {}\n")
    for environ, coloured in (
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ):
        given: dict[str, Any] = {"FORCE_COLOR": None, "NO_COLOR": None, **environ}
        assert coloured == ("\x1b[31m" in run("check", path, **given).out), environ
