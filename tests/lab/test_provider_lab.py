"""The lab for one test: in plain functions on virtual time, in coroutines, and on sockets."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from providers.types import Completion
from router.errors import ConfigError, DeploymentsExhausted, RouterError
from router.lab import Answer, Fault, ProviderLab, assert_attempts, assert_ledger_matches_invoices
from router.lab.emulators import Mixlayer, OpenAICompatible, Runware

ROOT = Path(__file__).resolve().parents[2]
QUESTION = [{"role": "user", "content": "17 * 23?"}]
ASKED = {"model": "chat", "messages": QUESTION}
FIRST, SECOND = "mixlayer/qwen3.5-27b", "runware/qwen3.5-27b"
CHAT = {"routes": {"chat": {"deployments": [FIRST, {"deployment": SECOND, "priority": 2}]}}}


@pytest.fixture
def lab():
    with ProviderLab(environ={}) as made:
        yield made


def test_ten_lines(lab):
    """A failover, without a loop, a key or a wait."""
    lab.use(CHAT)
    lab.mixlayer.fail(Fault.overloaded)
    answer = lab.complete(ASKED)

    assert_attempts(answer, [f"{FIRST}: Overloaded", f"{SECOND}: success"])
    assert_ledger_matches_invoices(lab)
    assert 1 == len(lab.requests("mixlayer")) == len(lab.requests("runware"))
    assert [("alibaba:qwen@3.5-27b", answer.usage.prompt_tokens)] == [(it.model, it.prompt) for it in lab.invoices()]
    assert ["Overloaded", "success"] == [one.outcome for one in lab.ledger]


async def test_in_a_coroutine(lab):
    """The router of a test that has a loop of its own; two at once share the emulators."""
    lab.mixlayer.fail(Fault.overloaded)
    async with lab.router(CHAT) as router, lab.router({"routes": {"other": {"deployments": [SECOND]}}}) as other:
        answer = await router.complete(ASKED)
        chunks = [chunk async for chunk in other.stream({**ASKED, "model": "other"})]

    assert_attempts(answer, [f"{FIRST}: Overloaded", f"{SECOND}: success"])
    assert_attempts(chunks[-1].completion, [f"{SECOND}: success"])
    assert_ledger_matches_invoices(lab)
    async with lab.router(CHAT) as router:  # and again, after the last one was closed
        assert_attempts(await router.complete(ASKED), [f"{FIRST}: success"])


async def test_a_coroutine_is_told_how(lab):
    """What runs to its end by itself would run inside of a loop that runs already."""
    with pytest.raises(RuntimeError, match=r"async with provider_lab.router\(...\) as router"):
        lab.complete(ASKED)


def test_sockets_say_the_same():
    """What a caller gets does not depend on where the emulators run."""
    heard, hosts = [], []
    for sockets in (False, True):
        with ProviderLab(environ={}, sockets=sockets) as lab:
            lab.use(CHAT)
            lab.mixlayer.reply(Answer("391", reasoning_content="20 * 23 is 460, less 69."))
            lab.mixlayer.fail(Fault.overloaded)
            answers = [lab.complete(ASKED), lab.stream(ASKED)[-1].completion or Completion()]
            heard.append([(one.choices, one.usage, [it.outcome for it in one.attempts]) for one in answers])
            hosts += [one.headers["Host"].split(":")[0] for one in lab.requests("mixlayer")]

    assert heard[0] == heard[1]
    assert [["Overloaded", "success"], ["success"]] == [outcomes for _, _, outcomes in heard[0]]
    assert ["mixlayer.test"] * 2 + ["127.0.0.1"] * 2 == hosts


def test_time_is_virtual(lab):
    """A provider that says nothing for a minute, and a circuit that rests, cost no time of ours."""
    policy = {"attempts": 1, "timeouts": {"headers": "60s", "first_token": "60s"}}
    lab.use({"routes": {"chat": {"deployments": [FIRST], "policy": policy}}})
    lab.mixlayer.fail(Fault.silence)
    begun = time.monotonic()
    with pytest.raises(DeploymentsExhausted):
        lab.complete(ASKED)
    lab.wait(3600)
    lab.complete(ASKED)
    first, second = (one.at for one in lab.requests("mixlayer"))

    assert pytest.approx(3660, abs=0.1) == second - first
    assert time.monotonic() - begun < 30


def test_several_calls_at_once(lab):
    """Whatever a coroutine can do with the lab's router."""
    lab.use(CHAT)

    async def both(router):
        return await asyncio.gather(router.complete(ASKED), router.complete(ASKED))

    assert [FIRST, FIRST] == [answer.deployment for answer in lab.run(both)]
    assert_ledger_matches_invoices(lab)


def test_a_file_needs_no_environment(lab, tmp_path):
    """Every variable without a value has one; the keys that are there are not sent."""
    path = tmp_path / "routes.yaml"
    path.write_text(
        "providers:\n"
        '  mixlayer: {api_keys: ["${ONE_KEY}", "${OTHER_KEY}"]}\n'
        '  my-vllm: {protocol: chat_completions, base_url: "https://${MY_HOST}/v1", api_key: "${MY_KEY}"}\n'
        "models: {mine: {deployments: [{provider: my-vllm, model: org/m}]}}\n"
        f"routes: {{chat: {{deployments: [{FIRST}, my-vllm/mine]}}}}\n"
    )
    lab._environ = {"OTHER_KEY": "sk-a-real-key"}
    lab.use(path)
    lab["my-vllm"].reply(Answer("from mine"))
    lab.mixlayer.fail(Fault.bad_key, times=2)

    assert "from mine" == lab.complete(ASKED).content
    assert isinstance(lab["my-vllm"], OpenAICompatible)
    assert ["lab-key-1-of-mixlayer", "lab-key-2-of-mixlayer"] == sorted(
        one.headers["Authorization"].removeprefix("Bearer ") for one in lab.requests("mixlayer")
    )


def test_the_shipped_example(lab):
    """Nothing of it leaves the process."""
    lab.use(ROOT / "examples" / "routes.yaml")
    name = next(iter(lab.run(_routes)))

    assert lab.complete({**ASKED, "model": name}).content
    assert all(one.headers["Host"].endswith(".test") for one in lab.requests())


async def _routes(router):
    return tuple(router.config.routes)


def test_mistakes_of_a_file_have_their_lines(lab, tmp_path):
    """As `Router.open` says them."""
    path = tmp_path / "routes.yaml"
    path.write_text(f"routes:\n  chat:\n    deployments: [{FIRST}]\n    selekt: priority\n")
    lab.use(path)

    with pytest.raises(ConfigError, match="did you mean 'select'") as wrong:
        lab.complete(ASKED)
    assert (str(path), 4) == (wrong.value.problems[0].file, wrong.value.problems[0].line)


def test_a_path_may_start_at_the_root(tmp_path, monkeypatch):
    """For a suite that is started somewhere else."""
    (tmp_path / "routes.yaml").write_text(f"routes: {{chat: {{deployments: [{FIRST}]}}}}\n")
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    with ProviderLab(root=tmp_path, environ={}) as lab:
        lab.use("routes.yaml")

        assert FIRST == lab.complete(ASKED).deployment


def test_using_another_file_begins_anew(lab):
    """With a new router; what the emulators remember stays."""
    lab.use(CHAT)
    lab.complete(ASKED)
    lab.use({"routes": {"chat": {"deployments": [SECOND]}}})

    assert SECOND == lab.complete(ASKED).deployment
    assert [1, 1] == [len(lab.requests(name)) for name in ("mixlayer", "runware")]


def test_without_a_file_it_is_the_catalog(lab):
    """With a key for everybody."""
    assert FIRST == lab.complete({**ASKED, "model": FIRST}).deployment
    assert {"mixlayer", "runware", "empiriolabs", "aiml"} <= set(lab.emulators)


def test_an_emulator_can_be_made_otherwise(lab):
    """With the switches of its class, and under any name."""
    lab.start("mixlayer", report_reasoning_tokens=True)
    lab.start("my-vllm", kind="openai", reasoning="think")
    lab.use(CHAT)

    assert (Mixlayer, OpenAICompatible) == (type(lab.mixlayer), type(lab["my-vllm"]))
    assert not lab.complete(ASKED).usage.estimated


@pytest.mark.parametrize(
    ("do", "error", "said"),
    [
        (lambda lab: lab.mixlyer, AttributeError, "the lab has no provider called 'mixlyer'; did you mean 'mixlayer'?"),
        (lambda lab: lab["mine"], KeyError, "the lab has no provider called 'mine'"),
        (lambda lab: lab.start("openia"), ValueError, "did you mean 'openai'"),
        (lambda lab: lab.start("mine"), ValueError, "For a provider of your own, say kind='openai'"),
        (
            lambda lab: (lab.mixlayer, lab.start("mixlayer", vision=False)),
            ValueError,
            "already: say its switches before",
        ),
    ],
)
def test_a_wrong_name_is_told(lab, do, error, said):
    """With the nearest right one, or with what to do."""
    with pytest.raises(error, match=said.replace("?", r"\?")):
        do(lab)


def test_the_same_test_twice_is_the_same(tmp_path):
    """To the byte: no chance, no clock, no key that is another one every time."""

    def played():
        with ProviderLab(environ={}) as lab:
            lab.use(CHAT)
            lab.mixlayer.fail(Fault.server_error, times=2)
            answers = [lab.complete(ASKED), lab.stream(ASKED)[-1].completion]
            return [
                (answer, [one.raw for one in lab.requests()], [one.at for one in lab.requests()]) for answer in answers
            ]

    first, second = played(), played()
    assert repr([each[1:] for each in first]) == repr([each[1:] for each in second])
    assert [each[0].attempts for each in first] == [each[0].attempts for each in second]


def test_errors_are_the_routers_own(lab):
    """With their attempts."""
    lab.use(CHAT)
    lab.mixlayer.fail(Fault.overloaded, times=None)
    lab.runware.fail(Fault.overloaded, times=None)
    with pytest.raises(DeploymentsExhausted) as failed:
        lab.complete(ASKED)

    assert {"Overloaded"} == {one.outcome for one in failed.value.attempts}
    assert_ledger_matches_invoices(lab)


def test_a_plan_asks_nobody(lab):
    """It is the router's."""
    lab.use(CHAT)

    assert [FIRST, SECOND] == [one.deployment for one in lab.plan(ASKED).candidates]
    assert [] == lab.requests()


def test_task_providers_of_ones_own(lab):
    """Stood in for by what speaks their protocol."""
    lab.use(
        {
            "providers": {"mine": {"protocol": "tasks", "base_url": "https://mine.test/v1"}},
            "models": {"m": {"deployments": [{"provider": "mine", "model": "mine:1@1"}]}},
        }
    )

    assert "You said: 17 * 23?" == lab.complete({**ASKED, "model": "m"}).content
    assert isinstance(lab["mine"], Runware)


SCRIPT = {
    "name": "down-for-a-minute",
    "faults": [
        {"who": "first", "what": "down", "when": {"from": "10s", "until": "70s"}},
        {"who": SECOND, "what": {"rate_limited": {"retry_after": 2}}, "when": {"requests": 1}},
    ],
}


def test_a_fault_script(lab):
    """Who, what and when, for the roles of a route; its times begin with the first request."""
    lab.use(CHAT)
    lab.play(SCRIPT, route="chat")
    served = []
    for pause in (0, 20, 20, 60):
        lab.wait(pause)
        served.append([f"{one.deployment.split('/')[0]}: {one.outcome}" for one in lab.complete(ASKED).attempts])

    assert [
        ["mixlayer: success"],
        ["mixlayer: Overloaded", "runware: RateLimited", "mixlayer: Overloaded", "runware: success"],
        ["mixlayer: Overloaded", "runware: success"],
        ["mixlayer: success"],
    ] == served


@pytest.mark.parametrize(
    ("script", "route", "error", "said"),
    [
        ({**SCRIPT, "faults": [{"who": "aiml", "what": "down"}]}, "chat", ConfigError, "'aiml' is nobody here"),
        ({**SCRIPT, "faults": [{"who": "first", "what": "dawn"}]}, "chat", ConfigError, "did you mean 'down'"),
        (SCRIPT, "chut", RouterError, "nobody knows 'chut'; did you mean 'chat'"),
        ({"scenarios": [SCRIPT, {**SCRIPT, "name": "again"}]}, "chat", ValueError, "down-for-a-minute, again"),
    ],
)
def test_a_script_that_cannot_be_played(lab, script, route, error, said):
    """It is refused before anything happens."""
    lab.use(CHAT)
    with pytest.raises(error, match=said):
        lab.play(script, route=route)


def test_names_that_are_no_hosts(lab):
    """A provider may be called what its owner likes."""
    names = ("My_vLLM", "my_vllm")
    lab.use(
        {
            "providers": {name: {"protocol": "chat_completions", "base_url": "http://x.test/v1"} for name in names},
            "models": {"m": {"deployments": [{"provider": name, "model": "m"} for name in names]}},
        }
    )
    lab["My_vLLM"].fail(Fault.overloaded)

    assert ["My_vLLM/m", "my_vllm/m"] == [one.deployment for one in lab.complete({**ASKED, "model": "m"}).attempts]
