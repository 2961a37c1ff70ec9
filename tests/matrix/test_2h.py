"""2.H: time, cancellation, lifecycle. Each row of the matrix by its name, on virtual time where it can be.

H1, more of H3, H4, H10, H11 and H15 stand with the steps that they go through, in `tests/router/test_cancellation.py`.
H13, H14, H16 and H17 are the gateway's and the reload's, which do not exist yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import multiprocessing
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from providers.transport import Transport
from router import Router
from router.config import Provider
from router.errors import DeadlineExceeded, DeploymentsExhausted
from router.lab import Fault, emulate
from router.lab.virtual import DOWN, UP, Script, VirtualProvider, VirtualTransports, always, run_virtually, windows
from router.load import load
from tests.matrix.timeline import ALPHA, QUICK, REQUEST, ask
from tests.router.stage import MODELS, stage
from tests.simulation import fleet

ROOT = Path(__file__).resolve().parents[2]
HANGING = replace(UP, kind="silent")
HERE = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15, 18}


def test_every_row_has_its_test():
    """By its name, here or beside the steps that it goes through."""
    files = (Path(__file__), ROOT / "tests" / "router" / "test_cancellation.py")
    named = {int(row) for file in files for row in re.findall(r"def test_h(\d+)_", file.read_text("utf-8"))}

    assert HERE == named


def virtually(names: dict[str, Script], story: Any, **config: Any) -> Any:
    """What *story*, a coroutine function, makes of a router over virtual providers that do as *names* say."""

    async def main() -> Any:
        providers = [VirtualProvider(name, script, Random(name)) for name, script in names.items()]
        made = fleet.fleet_config(tuple(names), **config)
        async with Router(made, rng=Random(1), transports=VirtualTransports(*providers)) as router:
            return await story(router, providers)

    return run_virtually(main())


async def cancelled_after(seconds: float, asked: Coroutine[Any, Any, Any]) -> float:
    """Seconds from the cancellation of *asked* to its end."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(asked)
    await asyncio.sleep(seconds)
    task.cancel()
    began = loop.time()
    with pytest.raises(asyncio.CancelledError):
        await task
    return loop.time() - began


# -- cancellation -----------------------------------------------------------------------------------------------------


def test_h2_cancelled_while_it_probes():
    """The circuit stays half-open with its place free: the next request is the probe."""
    script = windows(HANGING, (0.0, 1.0, DOWN), (60.0, 1e9, QUICK))

    async def story(router: Router, providers: list[VirtualProvider]) -> None:
        for _ in range(3):
            with contextlib.suppress(Exception):
                await router.complete(REQUEST)
        assert "open" == router.health.state(ALPHA)
        await asyncio.sleep(10)
        before = len(providers[0].began)
        await cancelled_after(1.0, router.complete(REQUEST))
        assert before + 1 == len(providers[0].began), "it was a probe"
        assert "half_open" == router.health.state(ALPHA)
        assert 0 == router.health.load(ALPHA)
        await asyncio.sleep(60)
        assert ALPHA == (await router.complete(REQUEST)).deployment
        assert "closed" == router.health.state(ALPHA)

    virtually({"alpha": script}, story, written="attempts=1")


def test_h3_cancelled_while_it_waits_for_a_place():
    """At once; and whoever is next gets the place."""

    async def story(router: Router, providers: list[VirtualProvider]) -> None:
        first = asyncio.ensure_future(router.complete(REQUEST))
        await asyncio.sleep(0.1)
        assert 0.0 == await cancelled_after(0.1, router.complete(REQUEST))
        deployment = router.config.routes["chat"].deployments[0]
        assert [0] == [slots.waiting for slots in router.health.of(deployment).places(deployment)]
        assert 1 == len(providers[0].began)
        await first
        await router.complete(REQUEST)
        assert 2 == len(providers[0].began)

    virtually({"alpha": always(replace(UP, spread=0.0))}, story, concurrency=1)


def test_h3_cancelled_while_it_waits_for_its_minute():
    """At once; the place in the minute is given back."""
    config = load(
        {
            "providers": {
                "alpha": {
                    "protocol": "chat_completions",
                    "base_url": "http://alpha.test/v1",
                    "api_key": "k",
                    "limits": {"requests_per_minute": 2},
                }
            },
            "models": {"m": {"deployments": [{"provider": "alpha", "model": "m"}]}},
        },
        environ={},
    )

    async def main() -> None:
        provider = VirtualProvider("alpha", always(QUICK), Random(1))
        async with Router(config, rng=Random(1), transports=VirtualTransports(provider)) as router:
            request = {**REQUEST, "model": "alpha/m"}
            for _ in range(2):
                await router.complete(request)
            deployment = config.deployments["alpha/m"]
            (account,) = router.health.of(deployment).minutes(deployment)
            assert 0.0 == await cancelled_after(1.0, router.complete(request))
            assert 2 == len(account.places) == len(provider.began)

    run_virtually(main())


# -- deadlines --------------------------------------------------------------------------------------------------------


def test_h5_the_deadline_is_kept():
    """Within 250 ms of it, and with every attempt."""
    told = ask(HANGING, alone=True, deadline="3s")

    assert isinstance(told.heard[0].error, DeadlineExceeded)
    assert 3.0 <= told.heard[0].seconds <= 3.25
    assert ["ProviderTimeout"] == told.heard[0].outcomes


@pytest.mark.parametrize(("deadline", "state"), [("3s", "closed"), ("6s", "open")])
def test_h5_time_that_was_too_short_for_it_speaks_against_nobody(deadline, state):
    """It takes four seconds, as is known: whoever gives it three has himself to blame; who gives it six has not."""
    config = load(
        {
            "providers": {
                "alpha": {"protocol": "chat_completions", "base_url": "http://alpha.test/v1", "api_key": "k"}
            },
            "models": {"alpha-model": {"deployments": [{"provider": "alpha", "model": "m"}]}},
            "routes": {
                "patient": {"deployments": [ALPHA]},
                "chat": {"deployments": [ALPHA], "policy": {"deadline": deadline, "attempts": 1}},
            },
        },
        environ={},
    )
    script = windows(replace(QUICK, latency=4.0), (100.0, 1e9, HANGING))

    async def main() -> str:
        alpha = VirtualTransports(VirtualProvider("alpha", script, Random(1)))
        async with Router(config, rng=Random(1), transports=alpha) as router:
            await router.complete({**REQUEST, "model": "patient"})
            await asyncio.sleep(100)
            for _ in range(3):
                with pytest.raises((DeadlineExceeded, DeploymentsExhausted)):
                    await router.complete(REQUEST)
            return router.health.state(ALPHA)

    assert state == run_virtually(main())


def test_h6_a_deadline_that_is_over_sends_nothing():
    """Nor does it take time."""
    config = fleet.fleet_config(("alpha",))
    route = config.routes["chat"]
    over = replace(config, routes={"chat": replace(route, policy=replace(route.policy, deadline=0.0))})

    async def main() -> tuple[Any, float, int]:
        provider, loop = VirtualProvider("alpha", always(UP), Random(1)), asyncio.get_running_loop()
        async with Router(over, rng=Random(1), transports=VirtualTransports(provider)) as router:
            with pytest.raises(DeadlineExceeded) as caught:
                await router.complete(REQUEST)
            return caught.value, loop.time(), len(provider.began)

    error, seconds, asked = run_virtually(main())

    assert ((), "the deadline was over before the first attempt") == (error.attempts, error.why)
    assert (0.0, 0) == (seconds, asked)


def test_h7_nobody_else_waits_for_a_hanging_one():
    """A silent first deployment takes at most half of the deadline."""
    story = fleet.simulate(
        {"alpha": always(HANGING), "beta": always(replace(UP, latency=2.0, spread=0.0))},
        rate=0.2,
        seconds=60,
        policy="deadline=10s",
    )

    assert 1.0 == story.success
    assert max(end.duration for _, end in story.ends) <= 7.5


# -- clocks and loops -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [0.0, 3600.0, -3600.0, "x3600", "frozen"])
def test_h8_the_wall_clock_may_jump(monkeypatch, jump):
    """No wait, no circuit, no deadline follows it: the story is the same to the byte."""
    usual = fleet.short(7)
    real, calls, start = time.time, [0], time.time()

    def jumping() -> float:
        calls[0] += 1
        if jump == "frozen":
            return 1e9
        return start + (real() - start) * 3600 if jump == "x3600" else real() + float(jump) * (calls[0] % 2)

    monkeypatch.setattr(time, "time", jumping)

    assert usual.lines == fleet.short(7).lines
    seconds = asyncio.run(_waited())
    assert 0.2 <= seconds <= 2.0
    assert calls[0] > 0, "somebody does look at it: `created` is a date"


async def _waited() -> float:
    """Seconds that a request takes over sockets, whose only deployment asks it to wait for 200 ms."""
    async with stage("mixlayer", policy={"attempts_per_deployment": 2}) as on:
        on.first.fail(Fault.status(429, headers={"retry-after-ms": "200"}))
        heard = await on.ask()
        assert None is heard.error
        return heard.seconds


def _whole_call(connection: socket.socket) -> bool:
    """Read one call with its body; False when there is none any more."""
    data = b""
    while not data.rstrip().endswith(b"}"):
        more = connection.recv(65536)
        if not more:
            return False
        data += more
    return True


@dataclass
class Server:
    """A server in threads of its own: where it listens, and how many calls have come and been answered."""

    port: int
    came: int = 0
    answered: int = 0


@contextlib.contextmanager
def answering(may: threading.Event | None = None) -> Iterator[Server]:
    """A server that answers every call once it *may*; at once without that."""
    answer = json.dumps({"choices": [{"message": {"role": "assistant", "content": "391"}, "finish_reason": "stop"}]})
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        over, lock, server = threading.Event(), threading.Lock(), Server(listening.getsockname()[1])

        def serve() -> None:
            kept = []
            while not over.is_set():
                with contextlib.suppress(OSError):
                    connection, _ = listening.accept()
                    kept.append(connection)
                    threading.Thread(target=talk, args=(connection,), daemon=True).start()
            for connection in kept:
                connection.close()

        def talk(connection: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while _whole_call(connection):
                    with lock:
                        server.came += 1
                    if may is not None:
                        may.wait(20)
                    connection.sendall((head + answer).encode())
                    with lock:
                        server.answered += 1

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            over.set()
            with contextlib.suppress(OSError):
                socket.create_connection(listening.getsockname()).close()
            thread.join(2)


def routed(port: int, timeouts: dict[str, str]) -> Any:
    """A configuration with one deployment, at *port* of this machine."""
    return load(
        {
            "providers": {
                "here": {"protocol": "chat_completions", "base_url": f"http://127.0.0.1:{port}/v1", "api_key": "k"}
            },
            "models": {"m": {"deployments": [{"provider": "here", "model": "m"}]}},
            "routes": {"chat": {"deployments": ["here/m"], "policy": "p"}},
            "policies": {"p": {"attempts": 1, "timeouts": timeouts}},
        },
        environ={},
    )


async def test_h9_a_loop_that_was_blocked_reads_first():
    """What had arrived while the caller's code held the loop is an answer, though every limit had passed meanwhile."""
    may, calls = threading.Event(), 5
    with answering(may) as server:
        config = routed(server.port, {"connect": "5s", "headers": "1s", "first_token": "1s", "idle": "1s"})
        async with Router(config) as router:
            tasks = [asyncio.ensure_future(router.complete(REQUEST)) for _ in range(calls)]
            async with asyncio.timeout(1):
                while server.came < calls:  # noqa: ASYNC110  # another thread counts
                    await asyncio.sleep(0.005)
            may.set()
            until = time.monotonic() + 1.1  # from here on nothing runs in the loop, and every limit passes
            while time.monotonic() < until or server.answered < calls:
                time.sleep(0.01)  # noqa: ASYNC251  # that is the fault
            heard = await asyncio.gather(*tasks, return_exceptions=True)

            assert ["391"] * calls == [getattr(one, "content", one) for one in heard]
            assert "closed" == router.health.state("here/m")


ENDS = """
import asyncio, logging, sys
logging.getLogger("router").addHandler(logging.NullHandler())
sys.path.insert(0, {root!r})
from router.lab import Fault, emulate
from tests.router.stage import REQUEST, stage

async def main():
    asyncio.get_running_loop().slow_callback_duration = 60  # a busy machine is not what this is about
    async with stage("mixlayer", "aiml") as on:
        on.first.fail(Fault.stall_after(4))
        chunks = on.router.stream(REQUEST)
        await anext(chunks)
        kept.append(chunks)

kept = []
asyncio.run(main())
kept.clear()
import gc
gc.collect()
print("ended")
"""


def test_h10_the_loop_ends_with_an_open_stream_and_nobody_warns():
    """As a process of its own, with every warning an error."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", ENDS.format(root=str(ROOT))],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (0, "ended\n", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
def test_h11_another_loop_is_refused(streaming):
    """At once, in words, and without a call; the loop that it belongs to does not notice."""
    provider = VirtualProvider("alpha", always(QUICK), Random(1))

    def connected(one: Provider) -> Transport:
        return VirtualTransports(provider)(one)  # made in the loop that asks

    router = Router(fleet.fleet_config(("alpha",)), transports=connected)

    async def asked() -> Any:
        if streaming:
            return [chunk async for chunk in router.stream(REQUEST)]
        return await router.complete(REQUEST)

    run_virtually(asked())
    with pytest.raises(RuntimeError, match="belongs to another event loop, which has ended: open one in each loop"):
        run_virtually(asked())

    assert 1 == len(provider.began)
    assert 0 == router.health.load(ALPHA)


def _in_the_child(router: Router, out: Any) -> None:
    """Ask once, in a loop of the child's own; tell what came of it and which sockets it had."""
    gc.collect()

    async def main() -> tuple[str | None, int]:
        assert {} == router._transports
        async with router:
            return (await router.complete(REQUEST)).content, router.health.load("here/m")

    out.send(asyncio.run(main()))
    out.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
async def test_h12_a_child_has_its_own_connections():
    """It asks over a socket of its own; the parent's kept-alive one goes on, and so does a call that was under way."""
    async with stage("mixlayer") as on:
        on.first.fail(Fault.slow_headers(0.3))
        under_way = asyncio.ensure_future(on.ask())
        await asyncio.sleep(0.05)
        with answering() as server:
            async with Router(routed(server.port, {})) as router:
                await router.complete(REQUEST)
                before = next(iter(router._transports.values()))
                fork = multiprocessing.get_context("fork")
                ours, theirs = fork.Pipe(duplex=False)
                child = fork.Process(target=_in_the_child, args=(router, theirs))
                child.start()
                theirs.close()
                assert await asyncio.to_thread(ours.poll, 20)
                assert ("391", 0) == ours.recv()
                await asyncio.to_thread(child.join, 20)
                assert 0 == child.exitcode
                assert "391" == (await router.complete(REQUEST)).content
                assert before is next(iter(router._transports.values()))
        heard = await under_way

        assert None is heard.error


# -- what others do ---------------------------------------------------------------------------------------------------


async def test_h15_a_hook_cannot_swallow_a_cancellation():
    """Whatever it raises: the caller's cancellation comes out as one, and the request is recorded once."""
    events: list[Any] = []

    def hook(event: Any) -> None:
        events.append(event)
        raise ValueError

    async with stage("mixlayer", hooks=[hook]) as on:
        on.first.fail(Fault.silence())
        task = asyncio.ensure_future(on.ask())
        await asyncio.sleep(0.03)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert ["canceled"] == [end.outcome for end in on.ends]
        assert [0] == on.loads


async def test_h18_a_key_that_is_rotated_while_calls_are_under_way():
    """Those that went out with the old key end well; who meets its 401 is tried once with the new one, and so is the rest."""
    model = MODELS["mixlayer"]
    async with (
        emulate("mixlayer") as emulator,
        Router.open(
            {"providers": {"mixlayer": {"base_url": emulator.base_url, "api_keys": ["sk-old", "sk-new"]}}}, environ={}
        ) as router,
    ):
        request = {**REQUEST, "model": model}
        emulator.fail(Fault.slow_headers(0.1))
        under_way = asyncio.ensure_future(router.complete(request))
        await asyncio.sleep(0.03)
        await router.complete(request)  # the turn of the new one
        emulator.fail(Fault.status(401))
        met = await router.complete(request)
        later = [await router.complete(request) for _ in range(3)]
        old = await under_way

    assert ["1"] == [attempt.credential for attempt in old.attempts]
    assert [("1", "AuthenticationFailed"), ("2", "success")] == [(one.credential, one.outcome) for one in met.attempts]
    assert [["2"]] * 3 == [[attempt.credential for attempt in one.attempts] for one in later]
