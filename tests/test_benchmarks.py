"""The benchmark runs and measures something. How much is not a test's business: the machine is busy with this suite."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OVERHEAD = ROOT / "benchmarks" / "overhead.py"
TINY = ("--rounds", "1", "--calls", "4", "--events", "4", "20", "--deployments", "1", "3", "--histories", "0",
        "--soak", "12")  # fmt: skip


def run(*arguments: str) -> str:
    """Run the benchmark with few of everything; what it printed."""
    program = [sys.executable, str(OVERHEAD), *TINY, *arguments]
    return subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True, timeout=100).stdout


def test_every_section_is_measured_and_every_ratio_is_sane():
    report = json.loads(run("--json"))
    results = {row["name"]: row for row in report["results"]}
    calls = {"whole", "whole-long", "failover", "import"}
    streams = {f"{shape}-{events}" for shape in ("packets", "packed", "paced") for events in ("4", "20", "each-more")}
    assert results.keys() == calls | streams
    for name, row in results.items():
        assert row["bare"] > 0, name
        assert row["ours"] > 0, name
        assert row["ratio"] > 0, name
        assert row["ratio_of_minima"] > 0, name
        assert row["low"] <= row["ratio"] <= row["high"], name
    for name in calls:
        assert 0.1 < results[name]["ratio"] < 100, name  # the streams' few microseconds drown in noise here
    assert [row["deployments"] for row in report["plan"]][:2] == [1, 3]
    assert all(row[part] > 0 for row in report["plan"] for part in ("first", "all", "call"))
    assert report["soak"]["requests"] == 12
    assert report["soak"]["points"][-1]["blocks"] > 0


def test_for_a_person_it_prints_the_targets():
    printed = run("--only", "calls")
    assert "target" in printed
    assert "failover" in printed
    assert printed.count("\n") > 10


def test_a_profile_says_what_ours_does_beyond_the_bare_client():
    printed = run("--profile", "whole")
    assert "bare:" in printed
    assert "ours:" in printed
    assert "providers/" in printed


def test_opcodes_are_counted_and_are_the_same_again():
    """A number that varies would be no use: of a simulation there is no chance in it."""
    program = [sys.executable, str(ROOT / "benchmarks" / "opcodes.py"), "whole", "simulated", "--count", "3"]
    first, second = (
        subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True, timeout=100).stdout.splitlines()
        for _ in range(2)
    )

    assert ["whole, bare", "whole, ours", "simulated"] == [line[:20].strip() for line in first]
    assert first[-1] == second[-1]
    assert 1000 < int(first[-1][20:29]) < 10_000
