"""How many opcodes of Python a call takes, ours and the bare client's, and a simulated request: the same on every day.

    python benchmarks/opcodes.py                       # whole, failover, simulated
    python benchmarks/opcodes.py whole --functions 30  # and which functions of ours take them

Time on a shared machine varies by a half within a minute; this varies by less than a hundredth, and finds what a change
costs. It does not see what a call into C takes: `overhead.py` measures that.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import overhead  # after the path
from overhead import ROOT, both_sides, fake_provider, quiet

from router.lab.simulation import Scene, simulate
from router.load import load

SIMULATED = "simulated"


@dataclass
class Counted:
    """Opcodes, and calls of functions, by function."""

    opcodes: Counter[CodeType] = field(default_factory=Counter)
    calls: Counter[CodeType] = field(default_factory=Counter)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count what runs meanwhile in this thread, but for the frames that are there already."""

        def inside(frame: FrameType, event: str, _: Any) -> Any:
            if event == "opcode":
                self.opcodes[frame.f_code] += 1
            return inside

        def called(frame: FrameType, *_: Any) -> Any:
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            self.calls[frame.f_code] += 1
            return inside

        sys.settrace(called)
        try:
            yield
        finally:
            sys.settrace(None)

    def less(self, other: Counted) -> Counted:
        """What there is beyond *other*."""
        self.opcodes.subtract(other.opcodes)
        self.calls.subtract(other.calls)
        return self

    def show(self, name: str, count: int, functions: int = 0) -> None:
        """Print it for each of *count*, with so many *functions*."""
        print(f"{name:<20}{self.opcodes.total() / count:>9.0f} opcodes{self.calls.total() / count:>7.0f} calls")
        for code, found in self.opcodes.most_common(functions):
            place = "/".join(Path(code.co_filename).parts[-2:])
            print(
                f"{found / count:>29.1f}{self.calls[code] / count:>7.1f}  {place}:{code.co_firstlineno} {code.co_qualname}"
            )


async def called(case: overhead.Case, count: int, functions: int) -> None:
    """Both sides of one case."""
    for side, work in (("bare", case.bare), ("ours", case.ours)):
        found = Counted()
        for place in range(5 + count):
            if place < 5:
                await work()
            else:
                with found.counting():
                    await asyncio.ensure_future(work())
            if side == "ours" and case.rest is not None:
                await case.rest()
        found.show(f"{case.name}, {side}", count, functions if side == "ours" else 0)


def simulated(functions: int) -> None:
    """A request of a simulation: 1,200 of them, less what it takes to begin."""
    names = ("MIXLAYER_API_KEY", "RUNWARE_API_KEY", "EMPIRIOLABS_API_KEY", "AIML_API_KEY")
    config = load(ROOT / "examples/routes.yaml", environ=dict.fromkeys(names, "none"))
    runs = []
    for seconds in (2.0, 8.0):
        found = Counted()
        with found.counting():
            facts = simulate(config, Scene(rate=200, seconds=seconds, route="chat")).facts
        runs.append((found, facts["requests"]))
    (begun, few), (all_, many) = runs
    all_.less(begun).show(SIMULATED, many - few, functions)


async def main(cases: list[str], count: int, functions: int, base: str) -> None:
    """All *cases* that are calls."""
    options = argparse.Namespace(calls=200, events=[200, 1000])
    async with both_sides(options, base) as every:
        for case in every:
            if case.name in cases:
                await called(case, count, functions)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=["whole", "failover", SIMULATED])
    parser.add_argument("--count", type=int, default=30, help="calls that are counted (30)")
    parser.add_argument("--functions", type=int, default=0, help="functions of ours that are shown (0)")
    given = parser.parse_args()
    quiet()
    with fake_provider() as address:
        asyncio.run(main(given.cases, given.count, given.functions, address))
    if SIMULATED in given.cases:
        simulated(given.functions)
