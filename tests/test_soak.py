"""The soak runs, and sees what is left behind. How much 100,000 streams leave stands in benchmarks/README.md."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

from benchmarks import soak
from router.errors import RouterError

ROOT = Path(__file__).resolve().parent.parent


def test_a_tiny_soak_leaves_nothing_behind():
    program = [sys.executable, str(ROOT / "benchmarks" / "soak.py"), "--streams", "150", "--seed", "3", "--json"]
    made = subprocess.run(program, stdout=subprocess.PIPE, text=True, timeout=100, check=False)

    report = json.loads(made.stdout)
    points = report["points"]
    assert [] == report["wrong"]
    assert 0 == made.returncode
    assert 150 == points[-1]["streams"]
    assert (points[0]["tasks"], points[0]["files"]) == (points[-1]["tasks"], points[-1]["files"])
    assert report["outcomes"]["answered, at once"] > 0


def test_the_same_seed_plans_the_same_streams():
    first, again, other = ([*soak.plans(500, Random(seed))] for seed in (1, 1, 2))

    assert first == again != other
    assert {*soak.FAULTS, "none"} == {fault for plan in soak.plans(20_000, Random(1)) for fault in plan.faults}
    assert {*soak.LEAVING, "stays"} == {plan.leaves for plan in first}


def point(streams: int, *, tasks: int = 1, files: int = 9, blocks: int = 10_000, resident: int = 0) -> soak.Counts:
    return soak.Counts(streams, 0.0, tasks, files, blocks, resident)


def test_what_is_left_behind_is_seen():
    start, end = point(0), point(10_000)
    leaks = {
        "tasks 1 -> 2": point(10_000, tasks=2),
        "descriptors 9 -> 10": point(10_000, files=10),
        "10000 blocks more": point(10_000, blocks=20_000),
        "10000000 bytes more": point(10_000, resident=10_000_000),
    }

    assert [] == soak.left_behind([start, end], soak.Tally())
    for says, last in leaks.items():
        assert any(says in line for line in soak.left_behind([start, last], soak.Tally())), says


def test_a_wrong_answer_is_seen():
    tally = soak.Tally(Counter(), 0, [])
    plan = next(soak.plans(1, Random(1)))
    tally.failed(plan, "", AttributeError("not ours"))
    tally.failed(plan, "something else", RouterError("ours"))

    assert 2 == len(tally.wrong)
    assert 2 == len(soak.left_behind([point(0), point(2)], tally))
