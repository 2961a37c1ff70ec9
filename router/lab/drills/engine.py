"""`drill`: the user's routes file through every scenario, one route and one rehearsal after the other.

Knows the order of things, and how a finding gets its line. Refuses to play (`rehearsal`) and to judge (`judge`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from providers.errors import nearest
from router.documents import Document, plain, read
from router.lab.drills.judge import VERDICTS, Flaw, Word
from router.lab.drills.named import named_scenarios
from router.lab.drills.rehearsal import rehearse
from router.lab.drills.report import Finding, Report, Result, result_of
from router.lab.drills.stage import CLOCKS, Clock, Ground
from router.lab.redirect import environ_for
from router.lab.script import Script, load_scripts
from router.lint import inspect
from router.lint.about import about
from router.lint.kinds import KINDS
from router.problems import dotted, together

if TYPE_CHECKING:
    from router.load import Loaded
    from router.problems import Steps

Source = str | Path | Mapping[str, Any]
Progress = Callable[[int, int, Result], None]
"""Told after every rehearsal: how many are done, of how many, and the latest."""


def drill(
    source: Source,
    scenarios: Iterable[str | Script | Path] | None = None,
    *,
    routes: Iterable[str] | None = None,
    seed: int = 0,
    clock: Clock = "virtual",
    at_least: Word = "pass",
    progress: Progress | None = None,
) -> Report:
    """Run a routes file through scenarios of trouble, against emulators of its providers.

    No key, no environment and no network is needed: every provider of a route is stood in for by an emulator, and what
    the file says of policies, timeouts, tiers and fidelity is what is tested.

    Args:
        source: path of a YAML file, or the same as a mapping.
        scenarios: names of shipped scenarios (`named_scenarios`), `Script`s, and paths of files with scripts; all the
            shipped ones by default.
        routes: names of routes; by default all of the file.
        seed: of all chance; the same seed gives the same report, to the byte.
        clock: `virtual` (in memory, a minute takes milliseconds) or `real` (over sockets, a minute takes a minute).
        at_least: the worst verdict that is no finding: `pass`, `partial` or `safe`.
        progress: told after every rehearsal.

    Raises:
        ConfigError: the file, or a file of scripts, means nothing; `.problems` has all that is wrong.
        ValueError: a scenario, a route, a clock or a verdict is not known; the message names the nearest one.
    """
    _known("clock", clock, CLOCKS)
    _known("verdict", at_least, VERDICTS[1:])
    one = _Drill(source, _scripts(scenarios), routes, seed, clock, at_least, progress)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return one.report()
    with ThreadPoolExecutor(1) as apart:  # a loop that runs here cannot run another one inside
        return apart.submit(one.report).result()


async def adrill(
    source: Source,
    scenarios: Iterable[str | Script | Path] | None = None,
    *,
    routes: Iterable[str] | None = None,
    seed: int = 0,
    clock: Clock = "virtual",
    at_least: Word = "pass",
    progress: Progress | None = None,
) -> Report:
    """As `drill`, for a caller whose event loop goes on meanwhile."""
    return await asyncio.to_thread(
        drill, source, scenarios, routes=routes, seed=seed, clock=clock, at_least=at_least, progress=progress
    )


def _known(what: str, word: str, words: Iterable[str]) -> None:
    words = tuple(words)
    if word not in words:
        raise ValueError(f"there is no {what} called {word!r}; {nearest(word, words)}")


def _scripts(wanted: Iterable[str | Script | Path] | None) -> list[Script]:
    named = named_scenarios()
    if wanted is None:
        return list(named.values())
    found: list[Script] = []
    for one in [wanted] if isinstance(wanted, (str, Script, Path)) else wanted:
        if isinstance(one, Script):
            found.append(one)
        elif isinstance(one, Path) or one.endswith((".yaml", ".yml")):
            found += load_scripts(one)
        else:
            _known("scenario", one, named)
            found.append(named[one])
    return found


@dataclass
class _Drill:
    """One drill under way."""

    source: Source
    scripts: Sequence[Script]
    wanted: Iterable[str] | None
    seed: int
    clock: Clock
    at_least: Word
    progress: Progress | None

    def report(self) -> Report:
        """Play everything."""
        source = self.source
        self.document = plain(source) if isinstance(source, Mapping) else read(Path(source), file=str(source))
        self.loaded = loaded(self.document)
        self.config = self.loaded.config
        routes = self._routes()
        problems = [problem for script in self.scripts for problem in script.strangers(tuple(self.config.deployments))]
        if problems:
            raise together(problems)
        results: list[Result] = []
        total = len(routes) * len(self.scripts)
        for name in routes:
            for result in self._of_route(name):
                results.append(result)
                if self.progress is not None:
                    self.progress(len(results), total, result)
        noted = (*self._noted(), *self._unmet(results))
        return Report(self.config.file or "routes", tuple(results), noted, self.at_least, self.seed)

    def _routes(self) -> list[str]:
        known = list(self.config.routes)
        if self.wanted is None:
            return known
        chosen = [self.wanted] if isinstance(self.wanted, str) else list(self.wanted)
        for name in chosen:
            if self.config.route(name) is None:
                _known("route", name, known)
        return chosen

    def _of_route(self, name: str) -> Iterator[Result]:
        route = self.config.route(name)
        assert route is not None  # noqa: S101  # `_routes` has looked
        usual = Ground(self.config, route, self.clock, self.seed)
        for script in self.scripts:
            asks = script.callers.request
            yield self._result(replace(usual, asks=asks) if asks else usual, script)

    def _result(self, ground: Ground, script: Script) -> Result:
        name, rehearsal = ground.route.name, rehearse(ground, script)
        played, verdict = rehearsal.played, rehearsal.verdict
        if played is None or verdict == "skipped":
            return Result(script.name, name, "skipped", script.says, skipped=rehearsal.skipped)
        findings = [self._finding(one, verdict, script, name) for one in rehearsal.flaws]
        return result_of(played, verdict, findings)

    def _finding(self, flaw: Flaw, verdict: Word, script: Script, route: str) -> Finding:
        cause = flaw.cause
        return Finding(
            severity="error" if verdict == "fail" else "warning",
            message=cause.message,
            scenario=script.name,
            route=route,
            deployment=cause.deployment,
            path=dotted(cause.path) if cause.path else None,
            line=self._line(cause.path) if cause.path else None,
            fix=cause.fix,
        )

    def _line(self, steps: Steps) -> int | None:
        """Where *steps* stand, or what is nearest around them; None where the file does not speak of such things."""
        return self.document.line(steps) if steps[:1] in self.document.lines else None

    def _unmet(self, results: Sequence[Result]) -> Iterator[Finding]:
        """Scripts of one's own that have shown nothing on any route: a slip in one is no success of the routes."""
        shipped = named_scenarios()
        for script in self.scripts:
            own = [result for result in results if result.name == script.name]
            if own and script != shipped.get(script.name) and all(result.verdict == "skipped" for result in own):
                yield Finding(
                    severity="warning",
                    message=f"the scenario has shown nothing on any route: {own[0].skipped}",
                    scenario=script.name,
                    fix="mend its `who`, `what` or `when`, or leave it out",
                )

    def _noted(self) -> Iterator[Finding]:
        """What `router check` says of the file; every key is the lab's, so that none is missing."""
        for problem in inspect(self.loaded):
            kind = KINDS[problem.code]
            if kind.severity != "info":
                route, deployment = about(problem.path, self.document)
                yield Finding(
                    severity=kind.severity,
                    message=problem.message,
                    route=route,
                    deployment=deployment,
                    path=problem.path,
                    line=problem.line,
                    fix=problem.hint or kind.fix,
                    code=kind.code,
                )


def loaded(document: Document) -> Loaded:
    """The configuration that *document* means, with something of the lab's in every variable that it names.

    Raises:
        ConfigError: with every problem.
    """
    from router import catalog
    from router.load import examine

    wanted = environ_for([document.value, catalog.document().value], {})
    # Each its own: two accounts are one where their keys are the same.
    return examine(document, environ={name: f"lab-{name}" for name in wanted})
