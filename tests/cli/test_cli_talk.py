"""`router emulate`, `chat` and `demo`: processes, signals and sockets."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
import urllib.error
import urllib.request

import pytest

from router import Router
from tests.cli.running import COMMAND, emulating, environment, next_line, run, spawn, started, write

ROUTES = {"chat": {"deployments": ["mixlayer/qwen3.5-27b", "runware/qwen3.5-27b"]}}


def post(base_url, *, key="any"):
    """The status that an emulator answers a chat request with."""
    body = {"model": "qwen/qwen3.5-27b", "messages": [{"role": "user", "content": "Hi"}]}
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    asked = urllib.request.Request(f"{base_url}/chat/completions", json.dumps(body).encode(), headers)  # noqa: S310
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


# -- emulate ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_emulators_announce_themselves_in_one_line_and_end_on_a_signal(end):
    """The four, each on a port of its own; any key is accepted, none at all is a 401; exit code 0."""
    with started("emulate", "--port", "0", "--json") as process:
        emulators = json.loads(next_line(process))["emulators"]
        statuses = [post(emulators["mixlayer"]["base_url"], key=key) for key in ("any", None)]
        process.send_signal(end)
        rest = process.communicate(timeout=10)

    assert ["mixlayer", "runware", "empiriolabs", "aiml"] == list(emulators)
    assert all({"base_url"} == one.keys() for one in emulators.values())
    assert 4 == len({one["base_url"] for one in emulators.values()})
    assert [200, 401] == statuses
    assert (0, ("", "")) == (process.returncode, rest)


def test_ports_follow_each_other_and_a_key_can_be_asked_for():
    """The named emulators, in their order."""
    with socket.socket() as free, socket.socket() as taken:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        try:
            taken.bind(("127.0.0.1", port + 1))
        except OSError:
            pytest.skip("the port after a free one is in use")
    with started("emulate", "mixlayer", "openai", "--port", str(port), "--api-key", "K", "--json") as process:
        emulators = json.loads(next_line(process))["emulators"]
        statuses = [post(emulators["mixlayer"]["base_url"], key=key) for key in ("K", "any")]

    assert {
        "mixlayer": {"base_url": f"http://127.0.0.1:{port}/v1", "api_key": "K"},
        "openai": {"base_url": f"http://127.0.0.1:{port + 1}/v1", "api_key": "K"},
    } == emulators
    assert [200, 401] == statuses


def test_a_taken_port_is_an_error():
    """With exit code 2."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ran = spawn("emulate", "mixlayer", "--port", str(taken.getsockname()[1]))

    assert (2, "") == (ran.code, ran.out)
    assert "error: cannot listen" in ran.err


def test_people_see_a_block_to_paste_and_the_requests(tmp_path):
    """The block loads as it stands; a request is a line with model and status."""
    with started("emulate", "mixlayer", "aiml", "openai") as process:
        lines: list[str] = []
        while not lines or "Ctrl-C" not in lines[-1]:
            lines.append(next_line(process))
        at = lines.index("providers:\n")
        text = "".join(lines[at : at + 4])
        base_url = Router.open(write(tmp_path, text)).config.providers["mixlayer"].base_url
        assert 200 == post(base_url)
        assert 401 == post(base_url, key=None)
        said = [next_line(process) for _ in range(2)]

    assert all(line.startswith("mixlayer") and "POST /v1/chat/completions  qwen/qwen3.5-27b" in line for line in said)
    assert ["200", "401"] == [line.split()[4] for line in said]


# -- chat -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def routes(tmp_path_factory):
    """A routes file over emulators in a process of their own."""
    with emulating(tmp_path_factory.mktemp("chat"), ROUTES) as path:
        yield str(path)


@pytest.mark.parametrize(("as_started", "streaming"), [(spawn, []), (run, ["--no-stream"])])
def test_the_answer_is_on_stdout_and_all_else_beside_it(routes, as_started, streaming):
    """Reasoning first, then a footer: who answered, what was changed, tokens and cost."""
    ran = as_started("chat", "--config", routes, "--effort", "low", *streaming, "17 * 23?")

    assert (0, "You said: 17 * 23?\n") == (ran.code, ran.out)
    reasoning, footer, change = ran.err.splitlines()
    assert "The user says: 17 * 23?" in reasoning
    assert footer.startswith("— mixlayer/qwen3.5-27b · ")
    assert "tokens" in footer
    assert "$0.0" in footer
    assert 'reasoning_effort "low" → true, nearest' in change


def test_a_prompt_can_come_from_stdin(routes):
    """Without the newline at its end."""
    ran = run("chat", "-c", routes, "-m", "runware/qwen3.5-27b", text="Hi\n")

    assert (0, "You said: Hi\n") == (ran.code, ran.out)
    assert 2 == run("chat", "-c", routes, text=" \n").code


def test_json_is_the_openai_answer_and_what_the_router_did(routes):
    """One object."""
    ran = run("chat", "-c", routes, "--json", "-s", "Be brief.", "--max-tokens", "100", "Hi")

    assert (0, "") == (ran.code, ran.err)
    assert "You said: Hi" == ran.json["choices"][0]["message"]["content"]
    assert ran.json["choices"][0]["message"]["reasoning_content"]
    router = ran.json["router"]
    assert {"deployment", "changes", "attempts", "cost"} == router.keys()
    assert ("mixlayer/qwen3.5-27b", "success", 200) == tuple(
        router["attempts"][0][name] for name in ("deployment", "outcome", "status")
    )
    assert {"usd", "source"} == router["cost"].keys()


def test_without_an_answer_the_exit_code_is_1(tmp_path):
    """Every attempt is named, for people and for machines, and no key."""
    text = "providers: {mixlayer: {base_url: 'http://127.0.0.1:1/v1', api_key: secret-key}}\n"
    path = write(tmp_path, text + "routes: {chat: {deployments: [mixlayer/qwen3.5-27b], policy: {attempts: 1}}}\n")
    people, machines = run("chat", "-c", path, "Hi"), run("chat", "-c", path, "Hi", "--json")

    assert (1, "", 1) == (people.code, people.out, machines.code)
    assert people.err.startswith("error: 1 attempt, no answer")
    assert "mixlayer/qwen3.5-27b" in people.err
    assert "DeploymentsExhausted" == machines.json["error"]["type"]
    assert ["mixlayer/qwen3.5-27b"] == [one["deployment"] for one in machines.json["router"]["attempts"]]
    assert "secret-key" not in "".join((*people[1:], *machines[1:]))


def test_a_request_that_nobody_may_serve_names_everybody(routes):
    """And exits with 1."""
    ran = run("chat", "-c", routes, "-m", "aiml/qwen3.6-35b-a3b", "--effort", "none", "Hi")

    assert (1, "") == (ran.code, ran.out)
    assert "aiml/qwen3.6-35b-a3b: reasoning_effort" in ran.err


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_conversation_remembers_and_ends_with_ctrl_d(routes):
    """Each turn is answered; Ctrl-C at the prompt ends nothing, Ctrl-D ends it with 0."""
    import pty

    child, terminal = pty.fork()
    if child == 0:
        os.execve(COMMAND[0], [*COMMAND, "chat", "-c", routes], environment(TERM="dumb"))  # noqa: S606
    told, ended = b"", 0

    def until(text, typed=b""):
        """Type, and read until *text*; what was typed while the prompt was not ready yet is typed again."""
        nonlocal told
        deadline = time.monotonic() + 20
        os.write(terminal, typed)
        while text not in told:
            assert time.monotonic() < deadline, told
            if select.select([terminal], [], [], 2.0)[0]:
                told += os.read(terminal, 4096)
            else:
                os.write(terminal, typed)
        told = told.split(text, 1)[1]

    try:
        until(b"> ")
        until(b"You said: One", b"One\n")
        until(b"> ")
        until(b"Ctrl-D ends.", b"\x03")
        until(b"> ")
        until(b"You said: Two", b"Two\n")
        until(b"tokens")
        until(b"> ")
        status = 1
        for _ in range(40):
            os.write(terminal, b"\x04")
            time.sleep(0.25)  # the child ends in its own time; there is nothing to wait on but itself
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                break
    finally:
        if not ended:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        os.close(terminal)

    assert 0 == os.waitstatus_to_exitcode(status)


# -- demo -------------------------------------------------------------------------------------------------------------


def test_the_demo_fails_over_and_says_so():
    """Who failed, who answered, the same request in four providers' words, answer and cost; in under three seconds."""
    before = os.times()
    ran = spawn("demo", COLUMNS="100")
    after = os.times()

    assert (0, "") == (ran.code, ran.err)
    # Of the processor: a busy machine makes everything take longer.
    assert after.children_user - before.children_user + after.children_system - before.children_system < 3
    for said in ("Overloaded", "503", "success", "max_completion_tokens", "thinkingLevel", "17 * 23 = 391", "$0.0"):
        assert said in ran.out, said
    assert not [line for line in ran.out.splitlines() if len(line) > 100 and line[:1] not in "{["]
    assert "\x1b" not in ran.out


def test_the_demo_has_the_same_facts_for_machines():
    """Two rounds that really happened, and everybody's translation."""
    ran = run("demo", "--json")
    whole, streamed = ran.json["rounds"]

    assert (0, "") == (ran.code, ran.err)
    assert (
        4 == len(ran.json["translation"]) == len({one["deployment"].split("/")[0] for one in ran.json["translation"]})
    )
    assert all(one["body"] and one["says"] for one in ran.json["translation"])
    for made, failures in ((whole, 1), (streamed, 2)):
        order = [one["deployment"] for one in ran.json["translation"]][: failures + 1]
        assert order == [one["deployment"] for one in made["attempts"]]
        assert ["success"] == [one["outcome"] for one in made["attempts"] if one["outcome"] == "success"]
        assert (order[-1], "17 * 23 = 391") == (made["deployment"], made["content"])
        assert "391" in made["reasoning_content"]
        assert made["cost"]["usd"] > 0
    assert (False, True) == (whole["streaming"], streamed["streaming"])
    assert 503 == whole["attempts"][0]["status"]
