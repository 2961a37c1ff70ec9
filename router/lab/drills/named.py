"""The scenarios that ship with the lab, by name. They are fault scripts like a user's own, in `scenarios.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib import resources

from router.documents import read
from router.lab.script import Script, scripts_of

SIXTEEN = 16  # of them are the public benchmark's; they come first, here after `undisturbed`; `benchmark` has them to the letter


@cache
def named_scenarios() -> Mapping[str, Script]:
    """Every named scenario, in order."""
    document = read(resources.files("router.lab.drills") / "scenarios.yaml", file="scenarios.yaml")
    return {script.name: replace(script, file=None) for script in scripts_of(document)}
