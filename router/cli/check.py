"""`router check`: everything that is wrong with a routes file, or will disappoint, in one list.

Knows what is asked of a configuration and how a finding looks. The file's own problems come from `router.load`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from router.cli.base import FOUND, WRONG, Failure, json_option, with_own_keys
from router.cli.output import clean, console, print_json, styled

if TYPE_CHECKING:
    from providers.errors import ConfigError
    from router.documents import Document
    from router.lint.kinds import Severity
    from router.problems import Problem

_EPILOG = """\b
Examples:
  router check routes.yaml
  router check routes.yaml --json | jq '.findings[] | "\\(.line): \\(.message)"'
  router check                    the packaged catalog

\b
Exit codes: 0 nothing found that is more than worth knowing (info); 1 errors or warnings;
2 wrong usage, or the file cannot be read.
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to mend, or to know. *code* names its kind: `router.lint.kinds` says what each means."""

    severity: Severity
    code: str
    message: str
    route: str | None = None
    deployment: str | None = None
    path: str | None = None
    line: int | None = None
    fix: str | None = None

    @property
    def counts(self) -> bool:
        """Whether it makes the exit code 1; what is only worth knowing does not."""
        return self.severity != "info"


@click.command(short_help="What is wrong with a routes file.", epilog=_EPILOG)
@click.argument("file", required=False, type=click.Path(path_type=Path), metavar="[ROUTES.yaml]")
@click.option("-c", "--config", "config", type=click.Path(path_type=Path), metavar="F", help="The same, as an option.")
@json_option
def check(*, file: Path | None, config: Path | None, as_json: bool) -> int:
    """Say everything that is wrong with a routes file: mistakes, missing keys, needs that a deployment cannot meet.

    Nothing is sent anywhere. Without a file: the packaged catalog.
    """
    if file is not None and config is not None:
        raise click.UsageError("give the file once: as an argument, or with --config")
    path = file or config
    found = list(findings(path))
    unreadable = next((one for one in found if one.code == "unreadable"), None)
    wrong = any(one.counts for one in found)
    if as_json:
        print_json({"ok": not wrong, "findings": [_facts(one) for one in found]})
    if unreadable:
        raise Failure(f"{path}: {unreadable.message}", hint=unreadable.fix or "", code=WRONG)
    if not as_json:
        _show(found, "catalog.yaml" if path is None else str(path))
    return FOUND if wrong else 0


def _facts(finding: Finding) -> dict[str, Any]:
    order = ("severity", "code", "route", "deployment", "path", "line", "message", "fix")
    said = asdict(finding)
    return {name: said[name] for name in order}


# -- what there is to find --------------------------------------------------------------------------------------------


def findings(path: Path | None) -> Iterator[Finding]:
    """Everything that can be found without asking anybody, in the order of the file. It is read once: it may be a pipe."""
    from router import catalog, documents
    from router.errors import ConfigError

    problems: Iterable[ConfigError | Problem]
    try:
        document = catalog.document() if path is None else documents.read(path, file=str(path))
    except ConfigError as error:
        document, problems = documents.Document(None, file=str(path)), error.problems
    else:
        problems = _problems(None if path is None else document)
    yield from sorted((_finding(problem, document) for problem in problems), key=lambda one: one.line or 0)


def _problems(document: Document | None) -> Iterator[ConfigError | Problem]:
    """What is wrong with *document*; with the packaged catalog, where there is none."""
    from router.errors import ConfigError
    from router.lint import inspect
    from router.load import examine

    try:
        loaded = examine(document, environ=os.environ)
    except ConfigError as error:
        yield from error.problems
        # What is only a key that is not set hides nothing else: look at the rest as if it were.
        try:
            loaded = examine(document, environ=with_own_keys(document))
        except ConfigError:
            return
    yield from inspect(loaded)
    config = loaded.config
    for name in (*config.deployments, *config.models):
        config.route(name)  # made when first looked at: a row that cannot be compiled is to fail here, not in service


def _finding(problem: ConfigError | Problem, document: Document) -> Finding:
    from router.lint.about import about
    from router.lint.kinds import KINDS

    route, deployment = about(problem.path, document)
    foreign = problem.file is not None and problem.file != document.file
    message = f"{problem.file}: {problem.message}" if foreign else problem.message
    kind, path = KINDS[problem.code], problem.path or None
    fix = problem.hint or kind.fix
    return Finding(kind.severity, kind.code, message, route, deployment, path, problem.line, fix)


# -- for people -------------------------------------------------------------------------------------------------------


_COLOURS: Mapping[Severity, str] = {"error": "red", "warning": "yellow", "info": "blue"}


def _show(found: Sequence[Finding], file: str) -> None:
    out = console()
    if not any(one.counts for one in found):
        out.print(styled("ok", "bold green"), styled(file), soft_wrap=True)
    last: object = None
    for one in found:
        where = file if one.line is None else f"{file}:{one.line}"
        if where != last:
            out.print(styled(where, "bold"), soft_wrap=True)
        last = where
        line = styled(f"  {one.severity}: ", _COLOURS[one.severity])
        line.append(f"{one.path}: " if one.path else "", style="cyan").append(clean(one.message))
        line.append(f" [{one.code}]", style="dim")
        out.print(line, soft_wrap=True)
        if one.fix:
            out.print(styled(f"    → {one.fix}", "dim"), soft_wrap=True)
    if found:
        out.print(styled(_count(found), "bold"))


def _count(found: Sequence[Finding]) -> str:
    """`3 findings, 2 of them errors`."""
    errors = sum(one.severity == "error" for one in found)
    count = f"{len(found)} finding{'s' if len(found) != 1 else ''}"
    if not any(one.counts for one in found):
        return f"{count}, worth knowing"
    return f"{count}, {errors} of them errors" if errors else f"{count}, no errors"
