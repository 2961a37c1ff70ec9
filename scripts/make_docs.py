"""Rewrites the parts of README.md and docs/ that the code knows better: `python scripts/make_docs.py`.

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`; NAME is a key of `REGIONS`. Everything but `main` is
pure; tests/test_generated_docs.py fails when a part is stale.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run as a script from anywhere

from providers.client import PROTOCOLS  # noqa: E402  # after the path is set
from providers.dialect import MEDIA, REASONING, Dialect, DialectRow, Word, compile_dialect  # noqa: E402
from providers.errors import ProviderError, RouterError  # noqa: E402
from providers.failures import _STATUSES, FAILURES, classify  # noqa: E402
from providers.translate import LEVEL_BUDGETS  # noqa: E402
from providers.types import EFFORTS, PARAMS, Change, Fidelity, Request, ResponseFormat  # noqa: E402
from router import Router, catalog, errors, events  # noqa: E402
from router.config import Deployment  # noqa: E402
from router.documents import Document, read  # noqa: E402
from router.environment import fill  # noqa: E402
from router.lab import Fault, named_scenarios  # noqa: E402
from router.lint.kinds import KINDS  # noqa: E402
from router.rows import CatalogFile, ProviderRow  # noqa: E402
from router.validate import check  # noqa: E402

REGION = re.compile(
    r"(?P<head><!-- generated: (?P<name>[\w-]+) -->\n).*?(?P<end>^<!-- end -->$)", re.DOTALL | re.MULTILINE
)
NAMES = {"mixlayer": "Mixlayer", "runware": "Runware", "empiriolabs": "EmpirioLabs", "aiml": "AI/ML API"}
FORMATS = frozenset(get_args(get_type_hints(ResponseFormat)["type"]))  # a row that names them all excludes nothing
FIDELITIES: tuple[Fidelity, ...] = get_args(Fidelity)


# -- Markdown ---------------------------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a bar inside a cell is escaped."""
    lines = [list(head), ["---"] * len(head), *map(list, rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def code(text: object) -> str:
    """*text* as code."""
    return f"`{text}`"


def prose(text: str) -> str:
    """*text* on one line, with nothing in it that a browser takes for a tag."""
    return " ".join(text.split()).replace("<", "&lt;")


def yaml_word(value: Any) -> str:
    """A scalar as it stands on the wire and in YAML."""
    return value if isinstance(value, str) else json.dumps(value)


# -- the catalog ------------------------------------------------------------------------------------------------------


@cache
def provider_rows() -> Mapping[str, ProviderRow]:
    """The rows of the catalog's providers, by name."""
    document: Document = fill(catalog.document(), {}, optional=True)
    return check(document, CatalogFile).rows.providers


@cache
def router() -> Router:
    """A router over the catalog alone, with a key for everybody; it is only asked for plans."""
    text = json.dumps(catalog.document().value)
    return Router.open(environ=dict.fromkeys(re.findall(r"\$\{(\w+)\}", text), "none"))


@cache
def dialect(provider: str) -> Dialect:
    """What *provider* calls things wherever a deployment says nothing else."""
    row = provider_rows()[provider]
    return compile_dialect(DialectRow.model_validate(PROTOCOLS[row.protocol].row), row)


def deployments() -> Mapping[str, Deployment]:
    """Every deployment of the catalog, by name."""
    return router().config.deployments


# -- what a provider can say ------------------------------------------------------------------------------------------


def bounds(word: Word) -> str:
    """The range of a word, in words."""
    if word.low is None and word.high is None:
        return ""
    if word.high is None:
        return f"≥ {word.low:.15g}"
    return f"≤ {word.high:.15g}" if word.low is None else f"{word.low:.15g} to {word.high:.15g}"


def limits(word: Word) -> Iterator[str]:
    """All that bounds what can be said with *word*."""
    if range_ := bounds(word):
        yield range_
    if word.max_items is not None:
        yield f"up to {word.max_items}"
    if word.only is not None and not word.only >= FORMATS:
        yield "only " + ", ".join(sorted(word.only))
    if not word.streaming:
        yield "not while streaming"


def short_cell(word: Word | None) -> str:
    """Whether it can be said, and within which limits."""
    return "no" if word is None else ", ".join(limits(word)) or "yes"


def long_cell(name: str, word: Word | None) -> str:
    """What it is called, and within which limits; the same name is not repeated."""
    if word is None:
        return "no"
    path = ".".join(word.path)
    if name == "reasoning_effort":
        return levels_cell(word)
    return ", ".join([code(path) if path != name else "yes", *limits(word)])


def levels_cell(word: Word) -> str:
    """What every level of reasoning_effort becomes, levels that become the same put together."""
    groups: list[tuple[list[str], str]] = []
    for effort in EFFORTS:
        wire = word.levels[effort] if word.levels is not None else None
        said = "no word" if wire is None else ", ".join(code(f"{'.'.join(p)}: {yaml_word(v)}") for p, v in wire.items())
        if groups and groups[-1][1] == said:
            groups[-1][0].append(effort)
        else:
            groups.append(([effort], said))
    return "<br>".join(f"{names[0]}{'…' + names[-1] if len(names) > 1 else ''} → {said}" for names, said in groups)


def can_be_told_apart(word: Word | None) -> str:
    """The levels of reasoning that are different things at the provider."""
    exact = [effort for effort in EFFORTS if word is not None and effort in word.exact and effort != "none"]
    return ", ".join(exact) if len(exact) > 1 else "on only"


def how_many(provider: str, able: Callable[[Dialect], bool]) -> str:
    """Whether the provider's models in the catalog are *able*."""
    found = [able(one.endpoint.dialect) for one in deployments().values() if one.endpoint.provider == provider]
    return "yes" if all(found) else "some models" if any(found) else "no"


def can_switch_off(dialect: Dialect) -> bool:
    """Whether the provider can be told not to reason, and obeys."""
    word = dialect.words["reasoning_effort"]
    return word is not None and "none" in word.exact


def reads(kind: str) -> Callable[[Dialect], bool]:
    """Whether pictures or videos are read."""
    return lambda dialect: dialect.words[kind] is not None


SHORT: tuple[str, ...] = (
    "tools",
    "tool_choice",
    "response_format",
    "n",
    "logprobs",
    "stop",
    "seed",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
)


def short_table() -> str:
    """What each provider can say, the short form."""
    names = list(NAMES)
    efforts = {name: dialect(name).words["reasoning_effort"] for name in names}
    rows = [
        ["reasoning off", *(how_many(name, can_switch_off) for name in names)],
        ["levels of reasoning", *(can_be_told_apart(efforts[name]) for name in names)],
        ["`reasoning_budget`", *(short_cell(dialect(name).words["reasoning_budget"]) for name in names)],
        *([code(field), *(short_cell(dialect(name).words[field]) for name in names)] for field in SHORT),
        ["pictures", *(how_many(name, reads("images")) for name in names)],
        ["videos", *(how_many(name, reads("videos")) for name in names)],
    ]
    return table(["", *NAMES.values()], rows)


def long_table() -> str:
    """Every canonical field at every provider."""
    rows = [
        [code(name), *(long_cell(name, dialect(provider).words[name]) for provider in NAMES)]
        for name in (*PARAMS, *REASONING)
    ]
    rows += [[code(kind), *(media_cell(provider, kind) for provider in NAMES)] for kind in MEDIA]
    rows += [[label, *(say(dialect(provider)) for provider in NAMES)] for label, say in BESIDE.items()]
    return table(["", *NAMES.values()], rows)


def media_cell(provider: str, kind: str) -> str:
    """What pictures or videos are called, and whether the models read them."""
    able = how_many(provider, reads(kind))
    word = long_cell(kind, dialect(provider).words[kind])
    return word if able == "yes" else able if able == "no" or word == "yes" else f"{word}, {able}"


def _pairs(values: Mapping[str, Any]) -> str:
    return (
        "<br>".join(code(f"{name}: {yaml_word(value)}") for name, value in values.items() if value is not None) or "–"
    )


def _system(dialect: Dialect) -> str:
    system = dialect.system
    where = "a message" if system.to is None else code(system.to)
    return where + (f", up to {system.max_length} characters" if system.max_length is not None else "")


BESIDE: Mapping[str, Callable[[Dialect], str]] = {
    "the system message is": _system,
    "earlier reasoning is": lambda one: "sent back" if one.history.reasoning == "replay" else "left out",
    "the last message must be of": lambda one: ", ".join(one.history.last_role) or "any role",
    "reasoning excludes": lambda one: ", ".join(map(code, sorted(one.reasoning_excludes))) or "–",
    "does on its own": lambda one: _pairs(one.defaults),
    "sent with every call": lambda one: _pairs(one.always),
    "sent when streaming": lambda one: _pairs(one.when_streaming),
}


def differences() -> str:
    """What single deployments say otherwise than their provider, the images and videos of their models aside."""
    lines = []
    for name, one in deployments().items():
        endpoint = one.endpoint
        base, own = dialect(endpoint.provider), endpoint.dialect
        said = [
            f"{code(field)}: {long_cell(field, own.words[field]).replace('<br>', '; ')}"
            for field in (*PARAMS, *REASONING)
            if _shape(own.words[field], field) != _shape(base.words[field], field)
        ]
        if own.defaults != base.defaults:
            said.append("does on its own: " + _pairs(own.defaults).replace("<br>", ", "))
        if said:
            lines.append(f"- **{name}**: {'; '.join(said)}.")
    return "\n".join(lines)


def _shape(word: Word | None, field: str) -> object:
    """What can differ of a word; the model's max_output is no difference."""
    return (word is not None, word and word.path) if field == "max_tokens" else word


def models_table() -> str:
    """Every deployment of the catalog: what it holds, reads and costs."""
    head = ["Deployment", "Called there", "Context", "Max output", "Reads", "$ in", "$ out", "$ cached"]
    return table(head, (_model(name, one) for name, one in deployments().items()))


def _model(name: str, one: Deployment) -> list[str]:
    endpoint, price = one.endpoint, one.price
    kinds = ", ".join(kind for kind in ("text", "image", "video") if endpoint.input is None or kind in endpoint.input)
    numbers = (endpoint.context, endpoint.max_output)
    dollars = (price.input, price.output, price.cached) if price is not None else (None, None, None)
    return [
        code(name),
        code(endpoint.wire_model),
        *(f"{number:,}" if number is not None else "unknown" for number in numbers),
        kinds,
        *(f"{dollar:g}" if dollar is not None else "–" for dollar in dollars),
    ]


# -- reasoning: every deployment, every level -------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """What becomes of one wish for reasoning at one deployment.

    *asked* is a level, None where nothing is asked; *sent* the wire fields that say it; *changes* what is reported of
    reasoning; *used* the fidelities under which the deployment serves; *default* what the provider does on its own.
    """

    deployment: str
    asked: str | None
    sent: tuple[tuple[str, Any], ...]
    changes: tuple[Change, ...]
    used: tuple[Fidelity, ...]
    default: Any = None


@cache
def reasoning_cells() -> tuple[Cell, ...]:
    """Every deployment of the catalog with every level, and with nothing asked; from the plans themselves."""
    return tuple(cell for name in deployments() for cell in _cells(name))


def _cells(name: str) -> Iterator[Cell]:
    bare: dict[str, Any] = {}
    for effort in (None, *EFFORTS):
        request = Request(model=name, messages=[{"role": "user", "content": "?"}], reasoning_effort=effort)
        plans = {fidelity: router().plan(request.but(fidelity=fidelity)) for fidelity in FIDELITIES}
        used = tuple(fidelity for fidelity, plan in plans.items() if plan.candidates)
        candidates = plans["best_effort"].candidates
        body = flat(json.loads(candidates[0].call.http.body)) if candidates else {}
        bare = body if effort is None else bare
        sent = tuple((path, value) for path, value in body.items() if effort is not None and bare.get(path) != value)
        all_changes = candidates[0].call.changes if candidates else plans["best_effort"].excluded[0].changes
        changes = tuple(change for change in all_changes if change.param.startswith("reasoning_"))
        default = deployments()[name].endpoint.dialect.defaults.get("reasoning_effort")
        yield Cell(name, effort, sent, changes, used, default)


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """The fields of a body by dotted path; what is different in every call (a task's UUID) is left out."""
    items: Iterable[tuple[Any, Any]]
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        return {path: value}
    fields: dict[str, Any] = {}
    for name, item in items:
        if name != "taskUUID":
            step = "" if isinstance(name, int) and not path else str(name)  # the array around a lone task is no step
            fields |= flat(item, f"{path}.{step}".strip("."))
    return fields


def reasoning_tables() -> str:
    """One table for all the deployments that behave alike."""
    alike: dict[tuple[tuple[str, ...], ...], list[str]] = {}
    for name in deployments():
        rows = tuple(_reasoning_row(cell) for cell in reasoning_cells() if cell.deployment == name)
        alike.setdefault(rows, []).append(name)
    head = ["Asked", "Sent", "Change", "Used under"]
    return "\n\n".join(f"{', '.join(map(code, names))}:\n\n{table(head, rows)}" for rows, names in alike.items())


def _reasoning_row(cell: Cell) -> tuple[str, ...]:
    asked = "nothing" if cell.asked is None else "none (off)" if cell.asked == "none" else cell.asked
    sent = ", ".join(code(f"{path}: {yaml_word(value)}") for path, value in cell.sent) or "nothing"
    said = "; ".join(_change(change) for change in cell.changes) or "–"
    used = ", ".join(cell.used) if len(cell.used) < len(FIDELITIES) else "all three"
    return asked, sent, said, used or "nowhere"


def _change(change: Change) -> str:
    if change.how == "defaulted":
        return f"**defaulted**: it will do {code(yaml_word(change.sent))}"
    return f"**{change.how}**: {change.why}"


def budgets_table() -> str:
    """Where a budget of tokens can be said."""
    said: dict[str, list[str]] = {}
    for name, one in deployments().items():
        if (word := one.endpoint.dialect.words["reasoning_budget"]) is not None:
            said.setdefault(long_cell("reasoning_budget", word), []).append(code(name))
    return table(["A budget is said as", "By"], ([word, ", ".join(names)] for word, names in said.items()))


def level_budgets() -> str:
    """The tokens that each level stands for."""
    return table(["Level", "Tokens"], [[level, f"{tokens:,}"] for level, tokens in LEVEL_BUDGETS.items()])


# -- errors -----------------------------------------------------------------------------------------------------------

_PERMITS = {True: "yes", False: "no", None: "perhaps"}


def error_classes(base: type[RouterError] = RouterError, depth: int = 0) -> Iterator[tuple[int, type[RouterError]]]:
    """The tree, every class under its parent, in the order of definition."""
    yield depth, base
    for child in base.__subclasses__():
        if child.__name__ in errors.__all__ and getattr(errors, child.__name__) is child:
            yield from error_classes(child, depth + 1)


def _tree_name(depth: int, kind: type[RouterError]) -> str:
    return "&nbsp;" * 4 * depth + code(kind.__name__)


def _says(kind: type[RouterError]) -> str:
    return prose((kind.__doc__ or "").strip().partition("\n\n")[0])


def own_errors() -> str:
    """The errors that are not a provider's."""
    rows = [
        [_tree_name(depth, kind), _says(kind)] for depth, kind in error_classes() if not issubclass(kind, ProviderError)
    ]
    return table(["Class", "What it says"], rows)


def provider_errors() -> str:
    """The providers' failures, and what each permits."""
    head = ["Class", "What it says", "Here again", "Elsewhere", "Speaks against", "Billed", "Advice"]
    rows = [
        [
            _tree_name(depth - 1, kind),
            _says(kind),
            _PERMITS[kind.here],
            _PERMITS[kind.elsewhere],
            kind.blames,
            _PERMITS[kind.billed],
            prose(kind.advice) or "–",
        ]
        for depth, kind in error_classes()
        if issubclass(kind, ProviderError)
    ]
    return table(head, rows)


def failure_words() -> str:
    """The words for `is:` in a row's table of errors."""
    return table(["`is:`", "Class"], [[code(word), code(kind.__name__)] for word, kind in FAILURES.items()])


def statuses() -> str:
    """What a status means where neither the row nor the provider's code says more."""
    found: dict[str, list[str]] = {}
    for status, kind in _STATUSES.items():
        found.setdefault(kind.__name__, []).append(str(status))
    rows = [[", ".join(listed), code(name)] for name, listed in found.items()]
    rows += [[f"any other {digit}xx", code(classify(status=digit * 100 + 99).__name__)] for digit in (4, 5)]
    return table(["Status", "Class"], rows)


# -- findings of `router check` ---------------------------------------------------------------------------------------


def findings_table() -> str:
    """Every kind of finding, the gravest first: its code, what it means and how it is mended."""
    rows = [[code(kind.code), kind.severity, kind.means, kind.mend] for kind in KINDS.values()]
    return table(["Code", "Severity", "It means", "To mend it"], rows)


# -- events -----------------------------------------------------------------------------------------------------------


def events_table() -> str:
    """Every event with its fields."""
    rows = [
        [code(kind.__name__), prose(kind.__doc__ or ""), ", ".join(code(field.name) for field in fields(kind))]
        for kind in get_args(events.Event)
    ]
    return table(["Event", "What has happened", "Fields"], rows)


# -- the house --------------------------------------------------------------------------------------------------------


def modules() -> str:
    """Every module of both packages with the first line of its docstring; of a package within, its own."""
    rows = []
    for package in ("providers", "router"):
        for path in sorted((ROOT / package).glob("*")):
            file = path / "__init__.py" if path.is_dir() else path
            if file.suffix == ".py" and file.exists() and path.name != "__init__.py":
                opening = (ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "").partition("\n\n")[0]
                rows.append([code(path.relative_to(ROOT).as_posix() + "/" * path.is_dir()), prose(opening)])
    return table(["File", "Knows"], rows)


# -- the lab ----------------------------------------------------------------------------------------------------------


def scenarios() -> str:
    """The named scenarios of a drill: what goes wrong, for whom, and how one would write it."""
    rows = [
        [code(script.name), script.says, "<br>".join(code(line) for line in lines)]
        for script, lines in zip(named_scenarios().values(), _written(), strict=True)
    ]
    return table(["Scenario", "What goes wrong", "As a script"], rows)


def _written() -> Iterator[list[str]]:
    """The faults of every named scenario, as they stand in the file."""
    document = read(ROOT / "router" / "lab" / "drills" / "scenarios.yaml", file="scenarios.yaml")
    for script in document.value["scenarios"]:
        yield [_flow(line) for line in script.get("faults", [])] or ["–"]


def _flow(value: Any) -> str:
    """*value* as YAML on one line, with no more quotes than it needs."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_flow(item)}" for name, item in value.items()) + "}"
    if isinstance(value, str):
        return value if re.fullmatch(r"[\w%.-]+( [\w%.-]+)*", value) else json.dumps(value)
    return json.dumps(value)


def faults() -> str:
    """Every word for a fault, its arguments, and what it does."""
    rows = []
    for name in Fault.names():
        wanted = inspect.signature(getattr(Fault, name)).parameters.values()
        said = [one.name if one.default is one.empty else f"{one.name}: {_default(one.default)}" for one in wanted]
        opening = (inspect.getdoc(getattr(Fault, name)) or "").partition("\n\n")[0]
        rows.append([code(name), ", ".join(map(code, said)) or "–", _OF[_needs(name)], prose(opening)])
    return table(["Fault", "Arguments", "Of", "What happens"], rows)


_OF = {"stream": "a stream", "whole": "a whole answer", "any": "any"}


def _needs(name: str) -> str:
    """What kind of request the fault called *name* is for; its numbers do not matter."""
    some = {"events": 1, "at": 1, "size": 1, "times": 2, "seconds": 1, "interval": 1, "code": 307, "url": "/"}
    make = getattr(Fault, name)
    wanted = [key for key, one in inspect.signature(make).parameters.items() if one.default is one.empty]
    fault: Fault = make(**{key: some[key] for key in wanted})
    return fault.needs


def _default(value: object) -> str:
    return "…" if isinstance(value, bytes) else json.dumps(value)


# -- regions ----------------------------------------------------------------------------------------------------------

REGIONS: Mapping[str, Callable[[], str]] = {
    "capabilities-short": short_table,
    "capabilities": long_table,
    "differences": differences,
    "models": models_table,
    "reasoning": reasoning_tables,
    "budgets": budgets_table,
    "level-budgets": level_budgets,
    "own-errors": own_errors,
    "provider-errors": provider_errors,
    "failure-words": failure_words,
    "statuses": statuses,
    "events": events_table,
    "findings": findings_table,
    "modules": modules,
    "scenarios": scenarios,
    "faults": faults,
}


def rewrite(markdown: str) -> str:
    """*markdown* with every region as the code has it now.

    Raises:
        KeyError: a region has a name that nobody knows.
    """
    return REGION.sub(lambda found: f"{found['head']}\n{REGIONS[found['name']]()}\n\n{found['end']}", markdown)


def documents() -> list[Path]:
    """Every document that may hold regions."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def main() -> None:
    """Rewrite the documents in place, and name those that changed."""
    for path in documents():
        before = path.read_text("utf-8")
        after = rewrite(before)
        if before != after:
            path.write_text(after, "utf-8")
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
