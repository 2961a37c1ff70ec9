"""What a call costs: CPU of this process, against a bare aiohttp client on the same fake provider, in one run.

    python benchmarks/overhead.py            # about two minutes
    python benchmarks/overhead.py --quick    # about fifteen seconds, and less certain
    python benchmarks/overhead.py --profile packets-1000

How it measures, what the bare client does and what the numbers were lately stands in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import json
import logging
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # this checkout is measured, not one that happens to be installed

import aiohttp  # noqa: E402  # after the path
import pydantic  # noqa: E402
from multidict import CIMultiDict  # noqa: E402

from providers.types import Chunk, Usage  # noqa: E402
from router import Request, Router  # noqa: E402

if TYPE_CHECKING:
    from providers.client import Limits
    from providers.wire import Call
    from router.config import Deployment
    from router.policy import Try

# What design section 5 promises, as ratios to the bare client.
TARGETS = {"whole": 1.25, "stream": 1.0, "failover": 1.25, "import": 1.25, "flat": 1.25}
SHAPES = ("packets", "packed", "paced")
EVENTS_PER_CALL = 5  # --calls 200 reads streams of 1,000 events in all, per side and round
OTHER_SELECTS = ("weighted", "cheapest", "fastest", "least_busy")
SECTIONS = ("calls", "plan", "decide", "import", "soak")
DECIDED = 50.0  # µs that deciding and bookkeeping may cost a request with three deployments (issue 5)
PAGE = os.sysconf("SC_PAGE_SIZE")
KEY = "no-key"

Work = Callable[[], Awaitable[int]]
"""Does one call and returns how many characters of answer it read."""


@dataclass(frozen=True)
class Case:
    """What both sides do: *bare* and *ours*, *per* of them at a time; *units* is what one of them is divided by.

    *rest*: done after each of ours, and not counted.
    """

    name: str
    target: float
    bare: Work
    ours: Work
    per: int
    units: int = 1
    rest: Work | None = None


@dataclass(frozen=True)
class Result:
    """Microseconds of CPU per unit (medians over the rounds), and ours/bare.

    *ratio* is the median of the rounds' ratios, *low* and *high* their quartiles, *ratio_of_minima* the cross-check.
    """

    name: str
    bare: float
    ours: float
    ratio: float
    low: float
    high: float
    ratio_of_minima: float
    target: float | None


def result(name: str, bare: Sequence[float], ours: Sequence[float], target: float | None) -> Result:
    """Summarise the interleaved rounds: *bare* and *ours* in seconds, pairwise from one moment."""
    ratios = [b / a for a, b in zip(bare, ours, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return Result(
        name,
        statistics.median(bare) * 1e6,
        statistics.median(ours) * 1e6,
        statistics.median(ratios),
        low,
        high,
        min(ours) / min(bare),
        target,
    )


# -- the two clients --------------------------------------------------------------------------------------------------

QUESTION: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "You are a careful assistant. Answer in one paragraph. " * 8},
        {"role": "user", "content": "What is the product of 17 and 23, and how do you find it? " * 8},
    ],
    "thinking": True,
    "max_tokens": 2000,
    "temperature": 0.6,
    "top_p": 0.95,
    "top_k": 20,
    "seed": 7,
}
TURNS = 60  # of the long conversation


def question(model: str, turns: int = 0) -> dict[str, Any]:
    """The mapping that our caller has; *turns* of an earlier conversation between the system message and the question."""
    system, user = QUESTION["messages"]
    earlier = [
        {"role": ("user", "assistant")[turn % 2], "content": f"{turn}: {user['content']}"} for turn in range(turns)
    ]
    return {**QUESTION, "model": model, "messages": [system, *earlier, user]}


class Bare:
    """What one writes without a library: aiohttp as it is, the standard library's JSON, no error handling."""

    def __init__(self, session: aiohttp.ClientSession, body: Mapping[str, Any]) -> None:
        self._session, self._body = session, body

    def whole(self, *urls: str) -> Work:
        """Ask each of *urls* for a whole answer; the last one is the answer."""
        post, body = self._session.post, self._body
        headers = {"Authorization": f"Bearer {KEY}"}

        async def work() -> int:
            for url in urls:
                async with post(url, json=body, headers=headers) as response:
                    payload = json.loads(await response.read())
            message = payload["choices"][0]["message"]
            return len(message["content"]) + len(message["reasoning_content"])

        return work

    def stream(self, url: str) -> Work:
        """Ask *url* for a stream."""
        post, body = self._session.post, self._body
        headers = {"Authorization": f"Bearer {KEY}"}

        async def work() -> int:
            size = 0
            usage = None
            async with post(url, json=body, headers=headers) as response:
                async for line in response.content:
                    if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
                        continue
                    event = json.loads(line[6:])
                    usage = event.get("usage") or usage
                    for choice in event["choices"]:
                        delta = choice["delta"]
                        size += len(delta.get("content") or "") + len(delta.get("reasoning_content") or "")
            assert usage is not None
            return size

        return work


class Ours:
    """The same by our router, from the caller's mapping to the canonical answer."""

    def __init__(self, router: Router, ask: Mapping[str, Any], attempts: int | None = 1) -> None:
        self._router, self._ask, self._attempts = router, ask, attempts

    async def whole(self) -> int:
        """One whole answer."""
        answer = await self._router.complete(self._ask)
        assert self._attempts in (len(answer.attempts), None), answer.attempts
        return len(answer.content or "") + len(answer.reasoning_content or "")

    async def twice_well(self) -> int:
        """Two answers at the first attempt: a deployment that mostly fails would soon not be asked any more."""
        for _ in range(2):
            answer = await self._router.complete(self._ask)
            assert len(answer.attempts) == 1, answer.attempts
        return 0

    async def stream(self) -> int:
        """One stream, read to its end."""
        size = 0
        completion = None
        async for chunk in self._router.stream(self._ask):
            size += len(chunk.content or "") + len(chunk.reasoning_content or "")
            completion = chunk.completion
        assert completion is not None
        return size

    async def abandoned(self) -> int:
        """One stream, left at its first chunk."""
        stream = self._router.stream(self._ask)
        async for _ in stream:
            break
        await stream.aclose()
        return 0


# -- the fake provider and the routes to it ---------------------------------------------------------------------------


@contextmanager
def fake_provider() -> Iterator[str]:
    """The fake provider in a process of its own; the start of its addresses."""
    program = [sys.executable, str(Path(__file__).with_name("fake_provider.py"))]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  # ours
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
        finally:
            process.kill()


ROUTE = "benchmark"
# Words of its own for everything that is asked, like a catalog row; not one of the catalog's, which change.
WORDS = {
    "max_tokens": {"to": "max_completion_tokens", "range": [1, None]},
    "temperature": {"range": [0, 2]},
    "top_p": {"range": [0, 1]},
    "top_k": "top_k",
    "seed": "seed",
    "reasoning_effort": {
        "to": "thinking",
        "levels": {
            "none": False,
            **dict.fromkeys(("minimal", "low", "medium", "high", "xhigh", "max"), True),
        },
        "exact": ["none"],
    },
}
PRICE = {"input": 0.1, "output": 0.4}


def opened(base: str, *paths: str) -> Router:
    """A router with a provider and a deployment for each of *paths* at the fake provider, asked in this order."""
    names = [f"provider-{place}" for place in range(len(paths))]
    rows = [{"provider": name, "model": "x/model", "context": 131072, "price": PRICE} for name in names]
    return Router.open(
        {
            "providers": {
                name: {
                    "protocol": "chat_completions",
                    "base_url": f"{base}/{path}/v1",
                    "api_key": KEY,
                    "params": WORDS,
                }
                for name, path in zip(names, paths, strict=True)
            },
            "models": {"model": {"deployments": rows}},
            # Failures in a row open no circuit; that there are not too many on the whole is the fake provider's part.
            "policies": {"steady": {"circuit": {"failures": 1_000_000}}},
            "routes": {ROUTE: {"deployments": [f"{name}/model" for name in names], "policy": "steady"}},
        },
        environ={},
    )


def many(base: str, sizes: Sequence[int]) -> Router:
    """A router with a route for each number of deployments (`r-100`), and the largest in every order (`weighted`)."""
    most = max(sizes)
    names = [f"many/m{place}" for place in range(most)]
    return Router.open(
        {
            "providers": {
                "many": {"protocol": "chat_completions", "base_url": f"{base}/whole/v1", "api_key": KEY},
            },
            "models": {
                f"m{place}": {"deployments": [{"provider": "many", "model": f"x/m{place}", "price": PRICE}]}
                for place in range(most)
            },
            "routes": {
                **{f"r-{size}": {"deployments": names[:size]} for size in sizes},
                **{select: {"deployments": names, "select": select} for select in OTHER_SELECTS},
            },
        },
        environ={},
    )


# -- calls, streams, failover -----------------------------------------------------------------------------------------


def cases(
    base: str, session: aiohttp.ClientSession, routers: list[Router], events: Sequence[int], calls: int
) -> Iterator[Case]:
    """Every case; what they open is put into *routers*."""
    ending = "v1/chat/completions"

    def ours(*paths: str, turns: int = 0, attempts: int = 1) -> tuple[Ours, Bare]:
        router = opened(base, *paths)
        routers.append(router)
        ask = question(ROUTE, turns)
        said = json.loads(router.plan(ask).candidates[0].call.http.body)  # what we send is what the bare client sends
        return Ours(router, ask, attempts), Bare(session, said)

    client, bare = ours("whole")
    yield Case("whole", TARGETS["whole"], bare.whole(f"{base}/whole/{ending}"), client.whole, calls)
    client, bare = ours("whole", turns=TURNS)
    yield Case("whole-long", TARGETS["whole"], bare.whole(f"{base}/whole/{ending}"), client.whole, calls)
    client, bare = ours("third", "whole", attempts=2)
    both = bare.whole(f"{base}/fail/{ending}", f"{base}/whole/{ending}")
    yield Case("failover", TARGETS["failover"], both, client.whole, max(calls // 2, 1), rest=client.twice_well)
    for shape in SHAPES:
        for count in events:
            client, bare = ours(f"{shape}/{count}")
            streams = max(calls * EVENTS_PER_CALL // count, 1)
            work = bare.stream(f"{base}/{shape}/{count}/{ending}")
            yield Case(f"{shape}-{count}", TARGETS["stream"], work, client.stream, streams, count)


async def timed(work: Work, count: int, rest: Work | None = None) -> float:
    """Seconds of CPU for one of *count* pieces of work, without *rest*; each begins without anybody's garbage."""
    gc.collect()
    spent = 0.0
    for _ in range(count if rest is not None else 1):
        began = time.process_time()
        for _ in range(1 if rest is not None else count):
            await work()
        spent += time.process_time() - began
        if rest is not None:
            await rest()
    return spent / count


async def compare(every: Sequence[Case], rounds: int) -> list[Result]:
    """All cases, *rounds* times, bare and ours in turn; who goes first alternates."""
    for case in every:
        read = [await case.bare(), await case.ours()]
        assert read[0] == read[1] > 0, f"{case.name}: the two sides have read different answers: {read}"
        if case.rest is not None:
            await case.rest()
        await timed(case.bare, max(case.per // 2, 2))
        await timed(case.ours, max(case.per // 2, 2), case.rest)
    gc.freeze()  # what is there by now costs neither side a collection
    bare: dict[str, list[float]] = {case.name: [] for case in every}
    ours: dict[str, list[float]] = {case.name: [] for case in every}
    for place in range(rounds):
        for case in every:
            for side in ("bare", "ours") if place % 2 == 0 else ("ours", "bare"):
                if side == "bare":
                    bare[case.name].append(await timed(case.bare, case.per) / case.units)
                else:
                    ours[case.name].append(await timed(case.ours, case.per, case.rest) / case.units)
    gc.unfreeze()
    found = [result(case.name, bare[case.name], ours[case.name], case.target) for case in every]
    return [*found, *slopes(every, bare, ours)]


def slopes(every: Sequence[Case], bare: Mapping[str, list[float]], ours: Mapping[str, list[float]]) -> Iterator[Result]:
    """One event more: the difference between the longest and the shortest stream, without what a call costs."""
    for shape in SHAPES:
        kinds = sorted((case for case in every if case.name.startswith(f"{shape}-")), key=lambda case: case.units)
        if len(kinds) < 2 or kinds[0].units == kinds[-1].units:
            continue
        short, long = kinds[0], kinds[-1]
        more = long.units - short.units

        def slope(
            side: Mapping[str, list[float]], short: Case = short, long: Case = long, more: int = more
        ) -> list[float]:
            pairs = zip(side[long.name], side[short.name], strict=True)
            # Noise in a short run must not make a price of nothing or less.
            return [max((a * long.units - b * short.units) / more, 1e-9) for a, b in pairs]

        yield result(f"{shape}-each-more", slope(bare), slope(ours), TARGETS["stream"])


# -- planning ---------------------------------------------------------------------------------------------------------


async def planning(base: str, sizes: Sequence[int], rounds: int, calls: int) -> list[dict[str, Any]]:
    """What a plan costs by the number of deployments, in microseconds; `first` and `call` are to be flat."""
    most = max(sizes)
    asks = [("priority", size, question_to(f"r-{size}")) for size in sizes]
    asks += [(select, most, question_to(select)) for select in OTHER_SELECTS]
    # Nobody there knows top_k. Who needs no change comes first, so all are looked at for one that needs none.
    asks.append(("all changed", most, question_to(f"r-{most}", top_k=20)))
    async with many(base, sizes) as router:
        for _, size, ask in asks:
            assert len(router.plan(ask).candidates) == size  # and every endpoint is compiled
        best: list[tuple[float, ...]] = [(math.inf,) * 3] * len(asks)
        for _ in range(rounds):
            for place, (order, size, ask) in enumerate(asks):
                count = calls if order == "priority" else max(calls // 10, 2)
                found = await planned(router, ask, count, max(count // size, 1))
                best[place] = tuple(map(min, best[place], found))
    return [
        {"order": order, "deployments": size, "first": first * 1e6, "all": whole * 1e6, "call": call * 1e6}
        for (order, size, _), (first, whole, call) in zip(asks, best, strict=True)
    ]


async def planned(router: Router, ask: Mapping[str, Any], count: int, plans: int) -> tuple[float, float, float]:
    """Seconds of CPU to the first candidate, for the whole plan, and for a whole call."""
    request = Request.of(ask)
    first = clocked(lambda: router.plan(request).candidate(0), count)
    whole = clocked(lambda: router.plan(request).candidates, plans)
    return first, whole, await timed(Ours(router, ask).whole, max(count // 2, 2))


def question_to(route: str, **more: Any) -> dict[str, Any]:
    """A question that plain OpenAI words can say, but for what *more* there is."""
    return {"model": route, "messages": QUESTION["messages"], "temperature": 0.6, **more}


def clocked(work: Callable[[], object], count: int) -> float:
    """Seconds of CPU for one of *count*."""
    gc.collect()
    began = time.process_time()
    for _ in range(count):
        work()
    return (time.process_time() - began) / count


# -- deciding ---------------------------------------------------------------------------------------------------------


USED = Usage(400, 480, 880)


class NoExchange:
    """Stands where an attempt has its HTTP: the answer is there at once, and costs nothing to read."""

    status, request_id, clock = 200, None, staticmethod(time.time)
    headers: Mapping[str, str] = CIMultiDict({"Content-Type": "application/json", "Date": "now", "Server": "none"})
    reader = None

    def __init__(self) -> None:
        self._left = [[Chunk(content="391", finish_reason="stop", usage=USED)], []]

    @property
    def over(self) -> bool:
        """Whether the answer was read."""
        return len(self._left) < 2

    async def next(self) -> list[Chunk]:
        """The answer, and then its end."""
        return self._left.pop(0)

    def extend(self, total: float) -> None:
        """It takes no time."""

    def close(self) -> None:
        """Nothing is held."""


async def deciding(histories: Sequence[int], rounds: int, calls: int) -> list[dict[str, Any]]:
    """What a call costs beside its HTTP, in microseconds, by select and by the *histories*: calls that went before it.

    `decide`: planned, translated, chosen, its slot taken, its outcome noted and recorded. `call`: the whole of
    `Router.complete`, which also makes the answer out of what came.
    """
    return [row for select in ("priority", *OTHER_SELECTS) for row in await decided(select, histories, rounds, calls)]


async def decided(select: str, histories: Sequence[int], rounds: int, calls: int) -> list[dict[str, Any]]:
    """The rows of one way to select."""
    found, behind, ask = [], 0, Request.of(question_to("chat"))
    async with three(select) as router:
        for history in histories:
            for _ in range(history - behind):
                await router.complete(ask)
            deciding = min([await clocked_each(lambda: decide(router, ask), calls) for _ in range(rounds)])
            whole = min([await clocked_each(lambda: router.complete(ask), calls) for _ in range(rounds)])
            behind = max(behind, history) + 2 * rounds * calls
            found.append({"order": select, "history": history, "decide": deciding * 1e6, "call": whole * 1e6})
    return found


async def decide(router: Router, ask: Request) -> None:
    """Everything that is done for a call but to make it, and to make an answer out of what came."""
    run = router._run(ask, streaming=False)  # noqa: SLF001  # the parts of a call, without the call
    attempt = router.delivery(run, cast("Try", run.step))
    attempt.open_now()
    attempt.speaks()
    attempt.settle(USED)
    attempt.close()


async def clocked_each(work: Callable[[], Awaitable[object]], count: int) -> float:
    """Seconds of CPU for one of *count*."""
    gc.collect()
    began = time.process_time()
    for _ in range(count):
        await work()
    return (time.process_time() - began) / count


class Exchangeless(Router):
    """A router whose exchanges bring their answer at once."""

    def exchange(self, call: Call, target: Deployment, request: Request, *, secret: str | None, limits: Limits) -> Any:
        return NoExchange()


def three(select: str) -> Router:
    """A router with a route of three deployments."""
    names = ("alpha", "beta", "gamma")
    deployment = {"model": "x/m", "price": PRICE}
    return Exchangeless.open(
        {
            "providers": {
                name: {"protocol": "chat_completions", "base_url": f"http://{name}.test/v1", "api_key": KEY}
                for name in names
            },
            "models": {f"{name}-m": {"deployments": [{"provider": name, **deployment}]} for name in names},
            "routes": {"chat": {"deployments": [f"{name}/{name}-m" for name in names], "select": select}},
        },
        environ={},
    )


# -- import -----------------------------------------------------------------------------------------------------------


def importing(rounds: int) -> Result:
    """`import router` against the libraries that it stands on, each in a new interpreter, in turn.

    The bytecode of both is kept in a folder of its own, whatever the environment says: compiling only ours each time,
    because the libraries were compiled when they were installed, would measure Python's compiler.
    """
    seconds: dict[str, list[float]] = {"aiohttp, pydantic, yaml": [], "router": []}
    with TemporaryDirectory() as folder:
        _import(seconds, rounds, folder)
    bare, ours = seconds.values()
    return result("import", bare, ours, TARGETS["import"])


def _import(seconds: dict[str, list[float]], rounds: int, folder: str) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environ["PYTHONPYCACHEPREFIX"] = folder
    for place in range(rounds + 1):
        for names, into in seconds.items():
            program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import time; began = time.process_time(); import {names}; print(time.process_time() - began)"  # fmt: skip
            command = [sys.executable, "-c", program]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environ)  # noqa: S603  # ours
            if place:  # the first round writes the bytecode
                into.append(float(done.stdout))


# -- memory -----------------------------------------------------------------------------------------------------------


async def soak(base: str, count: int, events: int) -> dict[str, Any]:
    """Memory after *count* requests of all kinds, no two the same, against what it was after a first tenth of them."""
    async with (
        opened(base, "whole") as whole,
        opened(base, "third", "whole") as failing,
        opened(base, f"packed/{events}") as streaming,
    ):

        async def some(first: int, last: int) -> None:
            for place in range(first, last):
                ask = question(ROUTE)
                ask["messages"] = [*ask["messages"][:1], {"role": "user", "content": f"{place}: {place * 7919}?"}]
                ask["seed"], ask["user"] = place, f"user-{place}"
                kind = place % 10
                if kind == 0:
                    await Ours(streaming, ask).abandoned()
                elif kind < 3:
                    await Ours(streaming, ask).stream()
                elif kind < 5:
                    await Ours(failing, ask, None).whole()
                else:
                    await Ours(whole, ask).whole()

        warm = max(count // 10, 50)
        await some(0, warm)
        before = memory()
        points = []
        step = max(count // 4, 1)
        for first in range(warm, warm + step * 4, step):
            await some(first, first + step)
            points.append(memory())
    after = points[-1]
    grown = {f"{name}_per_request": (after[name] - before[name]) / (step * 4) for name in before}
    return {"requests": step * 4, "before": before, "points": points, **grown}


def memory() -> dict[str, float]:
    """Blocks that Python's allocator holds, and resident bytes (0 where the system does not say)."""
    gc.collect()
    statm = Path("/proc/self/statm")
    resident = int(statm.read_text("ascii").split()[1]) * PAGE if statm.exists() else 0
    return {"blocks": sys.getallocatedblocks(), "bytes": resident}


# -- the run ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def both_sides(options: argparse.Namespace, base: str) -> AsyncIterator[list[Case]]:
    """Every case, with what both sides need open."""
    routers: list[Router] = []
    try:
        async with aiohttp.ClientSession() as session:
            yield list(cases(base, session, routers, options.events, options.calls))
    finally:
        for router in routers:
            await router.close()


async def measure(options: argparse.Namespace, base: str) -> dict[str, Any]:
    """Every section that was asked for."""
    report: dict[str, Any] = {"environment": environment(), "command": " ".join(["overhead.py", *sys.argv[1:]])}
    if "calls" in options.only:
        async with both_sides(options, base) as every:
            report["results"] = [asdict(one) for one in await compare(every, options.rounds)]
    if "plan" in options.only:
        report["plan"] = await planning(base, options.deployments, max(options.rounds // 3, 2), options.calls)
    if "decide" in options.only:
        # Short rounds and many: the best one is the one in which nobody else was at work on this machine.
        report["decide"] = await deciding(options.histories, options.rounds * 4, options.calls)
    if "import" in options.only:
        report.setdefault("results", []).append(asdict(importing(options.rounds)))
    if "soak" in options.only:
        report["soak"] = await soak(base, options.soak, min(options.events))
    return report


async def profiled(options: argparse.Namespace, base: str) -> None:
    """What our side of one case does beyond the bare one, by cProfile, which makes small functions look dear."""
    async with both_sides(options, base) as every:
        found = {case.name: case for case in every}
        if options.profile not in found:
            sys.exit(f"overhead.py: no case {options.profile!r}; there are {', '.join(found)}")
        case = found[options.profile]
        bare = await functions(case.bare, case.per)
        ours = await functions(case.ours, case.per, case.rest)
    print(f"{case.name}, {case.per} times; per time: function calls, µs in the function itself, µs with what it calls")
    for side, spent in (("bare", bare), ("ours", ours)):
        calls, own = (sum(one[place] for one in spent.values()) for place in (0, 1))
        print(f"{side}: {calls:.0f} calls, {own:.0f} µs")
    print(f"\n{'more, µs':>9} {'bare calls':>11} {'ours':>8} {'own µs':>8} {'with all':>9}")
    nothing = (0.0, 0.0, 0.0)
    more = {name: one[1] - bare.get(name, nothing)[1] for name, one in ours.items()}
    for name in sorted(more, key=more.__getitem__, reverse=True)[:50]:
        calls, own, whole = ours[name]
        print(f"{more[name]:9.1f} {bare.get(name, nothing)[0]:11.1f} {calls:8.1f} {own:8.1f} {whole:9.1f}  {name}")


async def functions(work: Work, count: int, rest: Work | None = None) -> dict[str, tuple[float, float, float]]:
    """Calls, own and whole microseconds by function, for one of *count*."""
    await timed(work, 5, rest)
    gc.disable()
    profile = cProfile.Profile()
    for _ in range(count):
        with profile:
            await work()
        if rest is not None:
            await rest()
    gc.enable()
    spent: dict[str, tuple[float, float, float]] = {}
    for entry in profile.getstats():
        code = entry.code
        name = code if isinstance(code, str) else f"{_short(code.co_filename)}:{code.co_firstlineno} {code.co_name}"
        before = spent.get(name, (0.0, 0.0, 0.0))
        now = (entry.callcount, entry.inlinetime * 1e6, entry.totaltime * 1e6)
        spent[name] = (before[0] + now[0] / count, before[1] + now[1] / count, before[2] + now[2] / count)
    return spent


def _short(path: str) -> str:
    return "/".join(Path(path).parts[-2:])


def environment() -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "python": platform.python_version(),
        "aiohttp": aiohttp.__version__,
        "pydantic": pydantic.VERSION,
        "system": platform.system(),
        "cores": os.cpu_count(),
    }


def show(report: Mapping[str, Any]) -> None:
    """The report for a person."""
    told = report["environment"]
    print(f"Python {told['python']}, aiohttp {told['aiohttp']}, pydantic {told['pydantic']}, {told['cores']} cores")
    if results := report.get("results"):
        print("\nCPU of the client, µs: per call, per event of a stream (the call included), per import")
        print(f"{'':20} {'bare':>9} {'ours':>9} {'ratio':>6} {'quartiles':>13} {'minima':>7} {'target':>7}")
        for row in results:
            spread = f"{row['low']:.2f} - {row['high']:.2f}"
            met = "met" if row["ratio"] <= row["target"] else "missed"
            print(
                f"{row['name']:20} {row['bare']:9.1f} {row['ours']:9.1f} {row['ratio']:6.2f} {spread:>13}"
                f" {row['ratio_of_minima']:7.2f} {row['target']:7.2f} {met}"
            )
    if plan := report.get("plan"):
        print("\nPlanning, µs: to the first candidate, the whole plan, and a whole call; the first and the last flat")
        print(f"{'order':20} {'deployments':>11} {'first':>10} {'all':>10} {'call':>10}")
        for row in plan:
            print(
                f"{row['order']:20} {row['deployments']:11} {row['first']:10.1f} {row['all']:10.1f} {row['call']:10.1f}"
            )
    if told := report.get("decide"):
        print(
            f"\nA call beside its HTTP, µs, three deployments, by the calls before it; deciding below {DECIDED:g}, and flat"
        )
        print(f"{'order':20} {'calls before':>12} {'decide':>10} {'call':>10}")
        for row in told:
            met = "met" if row["decide"] < DECIDED else "missed"
            print(f"{row['order']:20} {row['history']:12} {row['decide']:10.1f} {row['call']:10.1f} {met}")
    if soaked := report.get("soak"):
        blocks, size = soaked["blocks_per_request"], soaked["bytes_per_request"]
        print(f"\nMemory over {soaked['requests']} requests: {blocks:+.3f} blocks and {size:+.0f} bytes per request")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few of everything; what is given by name stays")
    parser.add_argument("--rounds", type=int, help="rounds of each pair (15; quick: 5)")
    parser.add_argument("--calls", type=int, help="calls of a round and side (200; quick: 50)")
    parser.add_argument("--events", type=int, nargs="+", default=[200, 1000], help="events of a stream (200 1000)")
    parser.add_argument("--deployments", type=int, nargs="+", default=[1, 10, 100, 1000], help="(1 10 100 1000)")
    parser.add_argument("--histories", type=int, nargs="+", default=[0, 100_000], help="calls before (0 100000)")
    parser.add_argument("--soak", type=int, metavar="N", help="requests of the memory test (2000; quick: 200)")
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, default=SECTIONS, metavar="SECTION", help=" ".join(SECTIONS)
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--profile", metavar="CASE", help="instead, where one case spends more than bare, e.g. whole")
    options = parser.parse_args()
    for name, usual, quick in (("rounds", 15, 5), ("calls", 200, 50), ("soak", 2000, 200)):
        if getattr(options, name) is None:
            setattr(options, name, quick if options.quick else usual)
        elif getattr(options, name) < 1:
            parser.error(f"--{name} must be 1 or more")
    if min(options.events) < 1 or min(options.deployments) < 1:
        parser.error("--events and --deployments must be 1 or more")
    return options


def quiet() -> None:
    """A failed attempt is logged as a warning. What writing it costs is the logging set-up's price, not the call's."""
    logging.getLogger("router").addHandler(logging.NullHandler())


def main() -> None:
    """Measure and print."""
    options = arguments()
    quiet()
    with fake_provider() as base:
        if options.profile:
            asyncio.run(profiled(options, base))
            return
        report = asyncio.run(measure(options, base))
    if options.json:
        print(json.dumps(report, indent=1))
    else:
        show(report)


if __name__ == "__main__":
    main()
