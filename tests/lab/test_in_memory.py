"""The emulators in memory: what a router sees of them is what it sees over sockets, and on virtual time it is the same every time."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

from providers.transport import Transport
from providers.wire import HttpRequest
from router import Router
from router.config import Provider
from router.lab import EMULATORS, Answer, Emulator, Fault, Received, in_memory
from router.lab.emulators import OpenAICompatible
from router.lab.memory import BEGINNING
from router.lab.virtual import Standstill, run_virtually
from router.load import load

ROOT = Path(__file__).resolve().parents[2]
SAID = "one two three four five six seven eight"
REQUEST = {"model": "chat", "messages": [{"role": "user", "content": "Count."}]}
LIMIT = "4s"  # over sockets all faults come at once, on a machine that may be busy
MEASURED = re.compile(r"(within|came for) [\d.]+ s")  # of the real clock it is not quite the limit
TIMES = {"connect": LIMIT, "headers": LIMIT, "first_token": LIMIT, "idle": LIMIT}
# One of each kind; the numbers are such that it shows within the limits.
FAULTS: Mapping[str, Fault] = {
    "abort": Fault.abort(),
    "answer_in_reasoning": Fault.answer_in_reasoning(),
    "bad_key": Fault.bad_key(),
    "body_reset": Fault.body_reset(),
    "comments_forever": Fault.comments_forever(after=3),
    "content_policy": Fault.content_policy(),
    "context_length": Fault.context_length(),
    "cut_after": Fault.cut_after(4, clean=False),
    "drop_after": Fault.drop_after(),
    "duplicate_event": Fault.duplicate_event(3),
    "duplicate_task": Fault.duplicate_task(),
    "empty_200": Fault.empty_200(),
    "empty_stream": Fault.empty_stream(),
    "error_event": Fault.error_event(3),
    "error_in_200": Fault.error_in_200(),
    "first_token_delay": Fault.first_token_delay(20),
    "framing": Fault.framing(bom=True),
    "garbage": Fault.garbage(),
    "gateway_timeout": Fault.gateway_timeout(),
    "hold_open": Fault.hold_open(),
    "html_200": Fault.html_200(),
    "interim_forever": Fault.interim_forever(0.001),
    "json_instead_of_stream": Fault.json_instead_of_stream(),
    "late_usage": Fault.late_usage(0.01),
    "lost_response": Fault.lost_response(),
    "malformed_event": Fault.malformed_event(3),
    "model_gone": Fault.model_gone(),
    "no_done": Fault.no_done(),
    "no_finish": Fault.no_finish(),
    "out_of_credit": Fault.out_of_credit(),
    "overloaded": Fault.overloaded(),
    "rate_limited": Fault.rate_limited(7),
    "redirect": Fault.redirect("http://elsewhere.test/v1"),
    "refuse": Fault.refuse(),
    "reset": Fault.reset(),
    "reset_after": Fault.reset_after(4),
    "server_error": Fault.server_error(),
    "silence": Fault.silence(),
    "slow": Fault.slow(2),
    "slow_headers": Fault.slow_headers(20),
    "stall_after": Fault.stall_after(4),
    "stall_body": Fault.stall_body(),
    "status": Fault.status(418),
    "think_in_content": Fault.think_in_content(),
    "trickle": Fault.trickle(50, 0.001),
    "trickle_headers": Fault.trickle_headers(50, 0.001),
    "truncate_body": Fault.truncate_body(20),
    "usage_missing": Fault.usage_missing(),
}
Seen = dict[str, Any]


def config(emulators: Mapping[str, Emulator], **policy: Any) -> dict[str, Any]:
    """A route over all of them, in their order."""
    entries = {name: {"provider": name, "model": "some/model"} for name in emulators}
    return {
        "providers": {
            name: {"protocol": "chat_completions", "base_url": emulator.base_url, "api_key": "sk-canary-0123456789"}
            for name, emulator in emulators.items()
        },
        "models": {f"model-{name}": {"deployments": [entry]} for name, entry in entries.items()},
        "routes": {"chat": {"deployments": [f"{name}/model-{name}" for name in emulators], "policy": "quick"}},
        "policies": {"quick": {"attempts": 1, "deadline": "30s", "timeouts": TIMES, "on_interruption": "error", **policy}},
    }  # fmt: skip


async def heard(router: Router, request: Mapping[str, Any] = REQUEST, *, streaming: bool = False) -> Seen:
    """What one caller sees: words, the answer or the error with its text, and every attempt."""
    text, answer, error = "", None, None
    try:
        if streaming:
            async for chunk in router.stream(request):
                text += chunk.content or ""
                answer = chunk.completion or answer
        else:
            answer = await router.complete(request)
    except Exception as raised:  # noqa: BLE001  # which one it was is compared
        error = raised
    attempts = answer.attempts if answer is not None else getattr(error, "attempts", ())
    return {
        "text": text,
        "answer": answer and (answer.content, answer.reasoning_content, answer.finish_reason, answer.usage),
        "error": (type(error).__name__, MEASURED.sub(r"\1 N s", str(error))),
        "attempts": [(one.outcome, one.status, MEASURED.sub(r"\1 N s", one.why)) for one in attempts],
    }


def well(**switches: Any) -> OpenAICompatible:
    emulator = OpenAICompatible(**switches)
    emulator.reply(Answer(SAID, reasoning_content="Hm."))
    return emulator


def connections(emulator: Any) -> list[Any]:
    """The server's side of those that are open."""
    return list(emulator._runner.server.connections)


def silent() -> OpenAICompatible:
    emulator = well()
    emulator.fail(Fault.silence(), times=None)
    return emulator


def names(fault: str, received: Received) -> bool:
    return f'"{fault}"'.encode() in received.raw


async def every_fault(
    emulator: Emulator, transports: Callable[[Provider], Transport], *, streaming: bool
) -> dict[str, Seen]:
    """All at once, each for a caller of its own, who names it, and whose router knows of no other."""
    for name, fault in FAULTS.items():
        emulator.fail(fault, times=None, when=partial(names, name))
    loaded = load(config({"only": emulator}), environ={})

    async def one(name: str) -> Seen:
        request = {"model": "chat", "messages": [{"role": "user", "content": name}]}
        async with Router(loaded, rng=Random(1), transports=transports) as router:
            return await heard(router, request, streaming=streaming)

    return dict(zip(FAULTS, await asyncio.gather(*map(one, FAULTS)), strict=True))


async def over_sockets(*, streaming: bool) -> dict[str, Seen]:
    async with well() as emulator:
        return await every_fault(emulator, lambda _: Transport(), streaming=streaming)


async def inside(*, streaming: bool) -> dict[str, Seen]:
    async with in_memory({"only": well()}) as lab:
        return await every_fault(lab["only"], lab.transports, streaming=streaming)


def test_the_table_has_every_fault():
    assert Fault.names() == tuple(sorted(FAULTS))


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])
def test_every_fault_looks_as_over_sockets(streaming):
    """Words, class and text of the error, and every attempt; a fault that does not fit waits, there as here."""

    async def both() -> tuple[dict[str, Seen], dict[str, Seen]]:
        return await asyncio.gather(over_sockets(streaming=streaming), inside(streaming=streaming))

    async def alone() -> dict[str, Seen]:
        seen = await inside(streaming=streaming)
        assert {asyncio.current_task()} == asyncio.all_tasks()
        return seen

    sockets, memory = asyncio.run(both())
    virtual = run_virtually(alone())

    assert sockets == memory
    assert sockets == virtual
    assert 15 < sum("NoneType" != seen["error"][0] for seen in sockets.values())


@pytest.mark.parametrize("name", list(EMULATORS))
def test_every_provider_answers_in_memory(name):
    """Each speaks its own protocol there; of the connection only the way is another."""

    async def main() -> Any:
        async with in_memory({name: EMULATORS[name]()}) as lab:
            lab[name].reply(Answer(SAID))
            written = config(lab.emulators) if name == "openai" else shipped(name, lab[name])
            async with Router.open(written, environ={}, rng=Random(1), transports=lab.transports) as router:
                whole = await router.complete(REQUEST)
                async for chunk in router.stream(REQUEST):
                    last = chunk.completion
            return whole.content, last and last.content, [received.status for received in lab[name].requests]

    assert (SAID, SAID, [200, 200]) == run_virtually(main())


def shipped(name: str, emulator: Emulator) -> dict[str, Any]:
    models = {"empiriolabs": "qwen3.5-4b", "aiml": "qwen3.6-35b-a3b"}
    return {
        "providers": {name: {"base_url": emulator.base_url, "api_key": "sk-canary-0123456789"}},
        "routes": {"chat": {"deployments": [f"{name}/{models.get(name, 'qwen3.5-27b')}"]}},
    }


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])
def test_a_caller_who_leaves_is_noticed(streaming):
    """Whenever he does: the emulator's handler ends in the same moment, and nothing goes on."""

    async def main() -> int:
        left = 0
        async with in_memory({"only": well(latency=1.0, token_delay=0.1)}) as lab:
            loaded = load(config(lab.emulators, timeouts={}), environ={})
            for tenths in range(30):
                async with Router(loaded, rng=Random(1), transports=lab.transports) as router:
                    caller = asyncio.create_task(heard(router, streaming=streaming))
                    await asyncio.sleep(tenths / 10 + 0.05)
                    left += caller.cancel()
                    await asyncio.wait([caller])
                    for _ in range(10):
                        await asyncio.sleep(0)
                    assert not lab["only"]._tasks
        assert {asyncio.current_task()} == asyncio.all_tasks()
        return left

    assert 10 <= run_virtually(main()) < 30


def test_a_caller_who_reads_slowly_holds_the_emulator():
    """It waits, with what fits on the way written; a megabyte is not heaped up on either side."""
    long = Answer(pieces=("x" * 1000,) * 2000)

    async def main() -> None:
        async with in_memory({"only": OpenAICompatible()}) as lab:
            emulator = lab["only"]
            emulator.reply(long)
            loaded = load(config(lab.emulators), environ={})
            async with Router(loaded, rng=Random(1), transports=lab.transports) as router:
                chunks = router.stream(REQUEST)
                text = (await anext(chunks)).content or ""
                await asyncio.sleep(0.3)
                (connection,) = connections(emulator)
                assert connection.writing_paused
                assert emulator._tasks
                async for chunk in chunks:
                    text += chunk.content or ""

        assert long.text == text

    run_virtually(main())


# -- the way there ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "outcome", "why", "seconds"),
    [
        ("refused", "Unreachable", "no connection: ECONNREFUSED", 0.0),
        ("unknown", "Unreachable", "the host name cannot be resolved", 0.0),
        ("unanswered", "ProviderTimeout", "no connection within the limit", 4.0),
    ],
)
def test_a_host_that_cannot_be_reached(way, outcome, why, seconds):
    """In the words of the same trouble over sockets; the next deployment answers, and later the first again."""

    async def main() -> None:
        async with in_memory({"a": well(), "b": well()}) as lab:
            lab.network.block("a.test", way)
            written = config(lab.emulators, attempts=2)
            async with Router.open(written, environ={}, rng=Random(1), transports=lab.transports) as router:
                first = await router.complete(REQUEST)
                lab.network.unblock("a.test")
                await asyncio.sleep(600)
                later = await router.complete(REQUEST)

        assert (outcome, "success") == tuple(one.outcome for one in first.attempts)
        assert why in first.attempts[0].why
        assert pytest.approx(seconds) == first.attempts[0].duration
        assert ("b/model-b", "a/model-a") == (first.deployment, later.deployment)

    run_virtually(main())


def test_a_provider_that_is_none_of_them_is_not_on_the_network():
    """Nothing leaves the memory: a host that nobody plays is not looked up anywhere."""

    async def main() -> Seen:
        async with in_memory({"only": OpenAICompatible()}) as lab:
            written = config(lab.emulators)
            written["providers"]["only"]["base_url"] = "https://api.example.com/v1"
            async with Router.open(written, environ={}, rng=Random(1), transports=lab.transports) as router:
                return await heard(router, streaming=False)

    assert "the host name cannot be resolved" in run_virtually(main())["attempts"][0][2]


def test_an_emulator_that_has_ended_refuses():
    """Its pooled connection is closed, and nobody listens for a new one."""

    async def main() -> None:
        async with in_memory({}) as lab:
            emulator = well().inside(lab.network, "only.test")
            async with emulator:
                router = Router.open(config({"only": emulator}), environ={}, rng=Random(1), transports=lab.transports)
                assert SAID == (await router.complete(REQUEST)).content
            seen = await heard(router, streaming=False)
            await router.close()

        assert "ECONNREFUSED" in seen["attempts"][0][2]

    run_virtually(main())


async def test_two_of_one_name_are_refused():
    """Host names know no case."""
    with pytest.raises(OSError, match=r"one\.test has a server already"):
        async with in_memory({"one": OpenAICompatible(), "One": OpenAICompatible()}):
            pass


# -- virtual time -----------------------------------------------------------------------------------------------------


def test_an_hour_of_outage_takes_no_time():
    """The clock of the loop is the only one: limits, circuits, `Date` and the age of a connection go by it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with in_memory({"a": silent(), "b": OpenAICompatible()}) as lab:
            written = config(lab.emulators, attempts=2)
            async with Router.open(written, environ={}, rng=Random(1), transports=lab.transports) as router:
                while loop.time() < 3600:
                    answer = await router.complete(REQUEST)
                    assert "b/model-b" == answer.deployment
                    await asyncio.sleep(60)
                lab["a"].heal()
                await asyncio.sleep(60)
                answer = await router.complete(REQUEST)

        assert "a/model-a" == answer.deployment
        assert BEGINNING + 3600 < answer.created < BEGINNING + 4000

    began = time.perf_counter()
    run_virtually(main())

    assert time.perf_counter() - began < 5


def test_a_connection_grows_old_by_the_clock_of_the_loop():
    """Used again after fourteen seconds, a new one after sixteen: the pool keeps an idle one for fifteen."""

    async def main() -> list[bool]:
        async with (
            in_memory({"only": well()}) as lab,
            Router.open(config(lab.emulators), environ={}, rng=Random(1), transports=lab.transports) as router,
        ):
            seen = []
            for pause in (14, 16, 0):
                await router.complete(REQUEST)
                before = connections(lab["only"])
                await asyncio.sleep(pause)
                await router.complete(REQUEST)
                seen.append(connections(lab["only"]) == before)
            return seen

    assert [True, False, True] == run_virtually(main())


@pytest.mark.parametrize(("latency", "outcomes"), [(0.0, ["success"]), (0.06, ["ConnectionFailed", "success"])])
def test_a_connection_that_was_dead_before_shows_it_by_the_clock_of_the_loop(latency, outcomes):
    """Closed at once, the request is sent again unseen; closed after 60 ms somebody has worked on it: an attempt."""

    async def main() -> list[str]:
        async with in_memory({"only": well(latency=latency)}) as lab:
            written = config(lab.emulators, attempts=2, attempts_per_deployment=2)
            async with Router.open(written, environ={}, rng=Random(1), transports=lab.transports) as router:
                await router.complete(REQUEST)
                lab["only"].fail(Fault.refuse())
                answer = await router.complete(REQUEST)
            assert 3 == len(lab["only"].requests)
        return [attempt.outcome for attempt in answer.attempts]

    assert outcomes == run_virtually(main())


async def test_a_router_makes_connections_once_for_each_provider_and_closes_them():
    """The factory is told the provider, at the first request that goes there and not before."""
    made: list[tuple[str, Transport]] = []
    async with in_memory({"a": well(), "b": well()}) as lab:

        def transports(provider: Provider) -> Transport:
            made.append((provider.base_url, lab.transports(provider)))
            return made[-1][1]

        async with Router.open(config(lab.emulators, attempts=2), environ={}, transports=transports) as router:
            assert [] == made
            await router.complete(REQUEST)
            await router.complete(REQUEST)
            assert ["http://a.test/v1"] == [url for url, _ in made]
            lab["a"].fail(Fault.overloaded())
            await router.complete(REQUEST)
            assert ["http://a.test/v1", "http://b.test/v1"] == [url for url, _ in made]
            assert [1, 1] == [len(connections(emulator)) for emulator in lab.emulators.values()]
        await asyncio.sleep(0.01)
        assert [0, 0] == [len(connections(emulator)) for emulator in lab.emulators.values()]


def test_who_waits_for_ever_meets_a_standstill():
    """A bare transport has no limits, and the emulator is silent: no timer hides that nothing will ever come."""

    async def main() -> None:
        async with (
            in_memory({"only": silent()}) as lab,
            Transport(create_connection=lab.network.create_connection) as transport,
        ):
            http = HttpRequest(lab["only"].base_url + "/chat/completions", {}, {"Authorization": "Bearer x"})
            await transport.send(http, secrets={})

    with pytest.raises(Standstill):
        run_virtually(main())


def told() -> str:
    """Everything that both sides saw of two hundred requests under every fault, as one digest."""
    events: list[str] = []
    numbers = count(1)

    async def main() -> None:
        pair = {"a": well(token_delay=0.01), "b": well(token_delay=0.02)}
        rng = Random(7)
        async with in_memory(pair) as lab:
            for emulator in pair.values():
                for fault in rng.choices(list(FAULTS.values()), k=40):
                    emulator.fail(fault)
            async with Router.open(
                config(lab.emulators, attempts=4, backoff={"initial": "50ms", "max": "1s"}, on_interruption="recover"),
                environ={},
                rng=Random(7),
                hooks=[lambda event: events.append(repr(event))],
                transports=lab.transports,
                new_key=lambda: f"{next(numbers):032x}",
            ) as router:

                async def one() -> None:
                    await asyncio.sleep(rng.uniform(0, 30))
                    events.append(repr(await heard(router, streaming=rng.random() < 0.5)))

                await asyncio.gather(*(one() for _ in range(200)))
        for name, emulator in pair.items():
            events.extend(
                f"{name} {received.at!r} {received.status} {sorted(received.headers.items())} {received.raw!r}"
                for received in emulator.requests
            )

    run_virtually(main())
    return hashlib.sha256("\n".join(events).encode()).hexdigest() + f" {len(events)}"


def test_the_same_again_to_the_byte():
    """Also in another process, whose sets have another order."""
    program = "from tests.lab.test_in_memory import told; print(told())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )

    assert told() == done.stdout.strip()
