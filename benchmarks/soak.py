"""Many short streams with random faults; at the end no task, no socket and no memory more than there was at the start.

    python benchmarks/soak.py --streams 100000 --seed 1

Two emulators in a process of their own do to each stream what its question says; a fifth of the callers leaves early, by
`break`, by dropping the iterator, by an exception, or canceled. Exit code 1 if anything is left behind, if an answer was
not what the emulator had said, or if an error was not one of ours.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the checkout that this file lies in

from pydantic_core import from_json  # noqa: E402

from providers.errors import RouterError  # noqa: E402
from router import Router  # noqa: E402
from router.lab import Answer, Emulator, Fault, Received, emulate  # noqa: E402

SIDES = ("primary", "secondary")
TEXT = "one two three four"
WORKERS = 48  # streams at a time
WARM_UP, LEAST_WARM_UP = 0.03, 500  # of the streams, and streams, sent before anything is counted
POINTS = 10
QUICK = "400ms"  # what a silent provider gets; long enough for a busy machine, short enough for many streams
# What the end may have more than the start. One object left behind by each stream is fifty times that.
BLOCKS_PER_STREAM, RAGGED_BLOCKS = 0.02, 2000  # of Python's allocator
BYTES_PER_STREAM, RAGGED_BYTES = 32.0, 4 * 2**20  # resident

FAULTS: dict[str, Fault] = {
    "rate_limited": Fault.rate_limited(0.001),  # without a wait the deployment rests, and most streams would too
    "server_error": Fault.server_error(),
    "overloaded": Fault.overloaded(),
    "bad_request": Fault.status(400),
    "context_length": Fault.context_length(),
    "content_policy": Fault.content_policy(),
    "error_in_200": Fault.error_in_200(),
    "refuse": Fault.refuse(),
    "reset": Fault.reset(),
    "silence": Fault.silence(),
    "garbage": Fault.garbage(),
    "html": Fault.html_200(),
    "empty": Fault.empty_200(),
    "slow": Fault.first_token_delay(30.0),
    "cut": Fault.cut_after(3),
    "cut_hard": Fault.cut_after(3, clean=False),
    "reset_after": Fault.reset_after(2),
    "stall": Fault.stall_after(3),
    "comments": Fault.comments_forever(after=2),
    "hold_open": Fault.hold_open(),
    "malformed": Fault.malformed_event(2),
    "error_event": Fault.error_event(2),
    "no_done": Fault.no_done(),
    "abort": Fault.abort(),
    "empty_stream": Fault.empty_stream(),
    "json": Fault.json_instead_of_stream(),
}
RARE = ("silence", "slow", "stall", "comments")  # each costs a time limit; all others milliseconds
LEAVING = ("break", "drop", "raise", "cancel")


# -- the providers, in a process of their own -------------------------------------------------------------------------


def serve() -> None:
    """Run the emulators until standard input closes."""
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)  # clients that leave early are what this is about
    with asyncio.Runner() as runner:
        runner.run(_serve())


async def _serve() -> None:
    async with contextlib.AsyncExitStack() as stack:
        emulators = [await stack.enter_async_context(emulate("openai")) for _ in SIDES]
        for place, emulator in enumerate(emulators):
            _script(emulator, place)
        print(json.dumps([emulator.base_url for emulator in emulators]), flush=True)
        over = asyncio.Event()
        loop = asyncio.get_running_loop()
        threading.Thread(target=_until_closed, args=(loop, over), daemon=True).start()
        while not over.is_set():
            for emulator in emulators:  # what they remember would grow for ever
                emulator.requests.clear()
                emulator.invoices.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), 0.5)


def _until_closed(loop: asyncio.AbstractEventLoop, over: asyncio.Event) -> None:
    sys.stdin.read()
    loop.call_soon_threadsafe(over.set)


def _script(emulator: Emulator, place: int) -> None:
    """Do what the question says: its last line holds one word for each provider."""
    emulator.reply(Answer(TEXT))
    for word, fault in FAULTS.items():
        emulator.fail(fault, times=None, when=partial(_meant, place, word))


def _meant(place: int, word: str, received: Received) -> bool:
    question = str(received.body["messages"][0]["content"])
    return question.splitlines()[-1].split()[place] == word


@contextlib.contextmanager
def providers() -> Iterator[list[str]]:
    """The emulators' addresses, while they run."""
    program = [sys.executable, str(Path(__file__).resolve()), "--serve"]
    process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(10)


# -- the streams ------------------------------------------------------------------------------------------------------


class Plan(NamedTuple):
    """What shall happen to one stream: a fault (or `none`) at each provider, and how and when its caller leaves."""

    number: int
    faults: tuple[str, str]
    leaves: str
    after: float

    @property
    def question(self) -> str:
        return f"Stream {self.number}.\n{' '.join(self.faults)}"


def plans(count: int, rng: Random) -> Iterator[Plan]:
    """So many streams, the same for the same chance."""
    usual = [word for word in FAULTS if word not in RARE]
    for number in range(count):
        first, second = (_fault(rng, usual, chance) for chance in (0.4, 0.2))
        leaves = rng.choice(LEAVING) if rng.random() < 0.2 else "stays"
        yield Plan(number, (first, second), leaves, rng.random())


def _fault(rng: Random, usual: list[str], chance: float) -> str:
    if rng.random() >= chance:
        return "none"
    return rng.choice(RARE if rng.random() < 0.03 else usual)


@dataclass
class Tally:
    """What became of the streams."""

    outcomes: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    wrong: list[str] = field(default_factory=list)

    def answered(self, plan: Plan, text: str, answer: Any) -> None:
        """A stream that was read to its end."""
        self.attempts += len(answer.attempts)
        how = answer.seams[0].how if answer.seams else "failed over" if len(answer.attempts) > 1 else "at once"
        self.outcomes[f"answered, {how}"] += 1
        if not text == answer.content == TEXT:
            self.wrong.append(f"{plan}: {text!r}, {answer.content!r}")

    def failed(self, plan: Plan, text: str, error: Exception) -> None:
        """A stream that ended in an error."""
        self.outcomes[type(error).__name__] += 1
        if not isinstance(error, RouterError) or not TEXT.startswith(text):
            self.wrong.append(f"{plan}: {text!r}, {error!r}")


class Enough(Exception):
    """The caller's own, raised in the body of its loop."""


async def one(router: Router, plan: Plan, tally: Tally) -> None:
    """One stream, as planned."""
    request = {"model": "chat", "messages": [{"role": "user", "content": plan.question}]}
    if plan.leaves == "cancel":
        task = asyncio.create_task(_read(router.stream(request), plan, tally))
        await asyncio.sleep(plan.after * 0.03)
        task.cancel()
        await asyncio.wait([task])
        tally.outcomes["left: cancel"] += task.cancelled()
    else:
        with contextlib.suppress(Enough):
            await _read(router.stream(request), plan, tally)


def _leave(how: str) -> None:
    if how == "raise":
        raise Enough


async def _read(stream: AsyncGenerator[Any, None], plan: Plan, tally: Tally) -> None:
    text, answer = "", None
    try:
        async for chunk in stream:
            text += chunk.content or ""
            answer = chunk.completion or answer
            if plan.leaves in ("break", "drop", "raise") and answer is None:
                tally.outcomes[f"left: {plan.leaves}"] += 1
                _leave(plan.leaves)
                break
        else:
            tally.answered(plan, text, answer)
    except Enough:
        raise
    except Exception as error:  # noqa: BLE001  # counted, and judged
        tally.failed(plan, text, error)
    finally:
        if plan.leaves != "drop":
            await stream.aclose()


async def batch(router: Router, todo: Iterator[Plan], tally: Tally) -> None:
    """Work off *todo*, several at a time."""

    async def work() -> None:
        for plan in todo:
            await one(router, plan, tally)

    await asyncio.gather(*(work() for _ in range(WORKERS)))


# -- what is left -----------------------------------------------------------------------------------------------------


class Counts(NamedTuple):
    """What this process holds."""

    streams: int
    seconds: float
    tasks: int
    files: int  # descriptors: sockets for the most part
    blocks: int  # of Python's allocator
    resident: int  # bytes


def _counts(streams: int, began: float) -> Counts:
    gc.collect()
    files = len(os.listdir("/dev/fd"))  # noqa: PTH208
    return Counts(
        streams, time.monotonic() - began, len(asyncio.all_tasks()), files, sys.getallocatedblocks(), _resident()
    )


def _resident() -> int:
    """Resident bytes; 0 where the system has no /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


@contextlib.asynccontextmanager
async def opened(addresses: list[str]) -> AsyncIterator[Router]:
    """A router over the two emulators."""
    written = {
        "providers": {
            side: {"protocol": "chat_completions", "base_url": address, "api_key": "any"}
            for side, address in zip(SIDES, addresses, strict=True)
        },
        "models": {side: {"deployments": [{"provider": side, "model": f"lab/{side}"}]} for side in SIDES},
        "routes": {"chat": {"deployments": [f"{side}/{side}" for side in SIDES], "policy": "quick"}},
        "policies": {
            "quick": {
                "attempts": 4,
                "attempts_per_deployment": 2,
                "backoff": {"initial": "1ms", "max": "5ms"},
                "deadline": "10s",
                "timeouts": {"connect": "2s", "headers": QUICK, "first_token": QUICK, "idle": QUICK},
                "circuit": {"failures": 20, "cooldown": "5ms", "max_cooldown": "20ms"},
            }
        },
    }
    async with Router.open(written, environ={}, rng=Random(0)) as router:
        yield router


async def _settle(tasks: int) -> None:
    """Let what has been left early end: its sockets close within a few turns of the loop."""
    for _ in range(100):
        gc.collect()
        await asyncio.sleep(0.01)
        if len(asyncio.all_tasks()) <= tasks:
            break
    await asyncio.sleep(0.05)


async def soak(streams: int, seed: int) -> tuple[list[Counts], Tally]:
    """The counts, first before the router was opened and last when it is closed, and what became of the streams."""
    tally, rng = Tally(), Random(seed)
    warm = max(int(streams * WARM_UP), LEAST_WARM_UP)
    with providers() as addresses:
        # First, uncounted, with a router of its own: what use imports, compiles and caches once is no leak.
        _fill_string_cache()
        async with opened(addresses) as router:
            await batch(router, plans(warm, Random(seed + 1)), Tally())
        await _settle(1)
        began = time.monotonic()
        points = [_counts(0, began)]
        async with opened(addresses) as router:
            done = 0
            for size in _split(streams):
                await batch(router, plans(size, rng), tally)
                await _settle(1)
                done += size
                points.append(_counts(done, began))
        await _settle(1)
        points.append(_counts(done, began))
    return points, tally


def _fill_string_cache() -> None:
    """pydantic's JSON parser keeps the last short strings it met, 16,384 at most: every id of an answer is one."""
    for number in range(20):
        from_json(json.dumps([f"{number}-{place}" for place in range(16_384)]), cache_strings="all")


def _split(count: int) -> list[int]:
    return [count * (place + 1) // POINTS - count * place // POINTS for place in range(POINTS)]


def left_behind(points: list[Counts], tally: Tally) -> list[str]:
    """What is wrong, a line each."""
    start, end = points[0], points[-1]
    wrong = [f"not what the emulator said, or not our error: {line}" for line in tally.wrong[:5]]
    if (end.tasks, end.files) != (start.tasks, start.files):
        wrong.append(f"tasks {start.tasks} -> {end.tasks}, descriptors {start.files} -> {end.files}")
    if end.blocks - start.blocks > BLOCKS_PER_STREAM * end.streams + RAGGED_BLOCKS:
        wrong.append(f"{end.blocks - start.blocks} blocks more than at the start")
    if end.resident - start.resident > BYTES_PER_STREAM * end.streams + RAGGED_BYTES:
        wrong.append(f"{end.resident - start.resident} bytes more than at the start")
    return wrong


def report(points: list[Counts], tally: Tally, wrong: list[str]) -> Iterator[str]:
    """The lines for a person."""
    yield f"{'streams':>8}  {'seconds':>8}  {'tasks':>6}  {'descriptors':>11}  {'blocks':>8}  {'resident':>9}"
    names = {0: "before the router", len(points) - 1: "router closed"}
    for place, point in enumerate(points):
        row = f"{point.streams:>8}  {point.seconds:>8.1f}  {point.tasks:>6}  {point.files:>11}  {point.blocks:>8}"
        yield f"{row}  {point.resident / 2**20:>6.1f} MB  {names.get(place, '')}".rstrip()
    start, end = points[0], points[-1]
    streams, blocks, resident = max(end.streams, 1), end.blocks - start.blocks, end.resident - start.resident
    yield ""
    yield f"end less start: {blocks / streams:+.4f} blocks and {resident / streams:+.1f} bytes per stream"
    yield ", ".join(f"{name} {count}" for name, count in tally.outcomes.most_common())
    yield ""
    yield from wrong or ["nothing left behind, nothing wrong"]


def main() -> None:
    """Run it and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=100_000, help="how many (100000)")
    parser.add_argument("--seed", type=int, default=1, help="of the faults and of the callers who leave (1)")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve()
        return
    logging.getLogger("router").addHandler(logging.NullHandler())
    logging.getLogger("router").propagate = False
    points, tally = asyncio.run(soak(arguments.streams, arguments.seed))
    wrong = left_behind(points, tally)
    if arguments.json:
        facts = {"points": [point._asdict() for point in points], "outcomes": tally.outcomes, "wrong": wrong}
        print(json.dumps(facts, indent=1))
    else:
        print("\n".join(report(points, tally, wrong)))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
