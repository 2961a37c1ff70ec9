"""Drills: a user's own routes file, run against emulators through every failure we know of, with a verdict for each.

`engine` runs them, and `rehearsal` each: `stage` sets it up, `play` lets the callers call, `judge` looks at what came of it,
with `conduct`, `exact` and `bill`, and `why` says what would have helped; `report` has it all. `benchmark` is one pair of
deployments and the scripts of the public fault benchmark, for `scripts/scenarios`.
"""

from router.lab.drills.engine import adrill, drill
from router.lab.drills.named import named_scenarios
from router.lab.drills.report import Finding, Report, Result

__all__ = ["Finding", "Report", "Result", "adrill", "drill", "named_scenarios"]
