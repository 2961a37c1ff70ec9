"""What the documents say of the code is what the code says: generated parts are fresh, the tables of keys complete."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

import pytest
import yaml
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from providers import dialect
from providers.types import EFFORTS
from router import rows
from scripts import make_docs

# -- generated parts --------------------------------------------------------------------------------------------------

DOCUMENTS = make_docs.documents()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(make_docs.ROOT).as_posix())
def test_a_generated_part_is_fresh(path):
    """Run `python scripts/make_docs.py` when it is not."""
    text = path.read_text("utf-8")

    assert make_docs.rewrite(text) == text, "stale: run python scripts/make_docs.py"


def test_every_region_stands_somewhere():
    """A region that no document has is made for nobody; one that is opened is closed."""
    texts = [path.read_text("utf-8") for path in DOCUMENTS]
    opened = sorted(name for text in texts for name in re.findall(r"<!-- generated: ([\w-]+) -->", text))
    found = sorted(match["name"] for text in texts for match in make_docs.REGION.finditer(text))

    assert sorted(make_docs.REGIONS) == opened == found


def test_a_stale_region_is_seen():
    """What stands between the markers is replaced, and nothing else."""
    markdown = "before\n<!-- generated: level-budgets -->\nold\n<!-- end -->\nafter\n"

    made = make_docs.rewrite(markdown)

    assert made.startswith("before\n<!-- generated: level-budgets -->\n\n| Level | Tokens |")
    assert made.endswith("\n\n<!-- end -->\nafter\n")
    assert make_docs.rewrite(made) == made


def test_a_region_that_nobody_knows_is_refused():
    """A misspelt name does not silently stay empty."""
    with pytest.raises(KeyError, match="reasonning"):
        make_docs.rewrite("<!-- generated: reasonning -->\n<!-- end -->\n")


# -- reasoning: the law over every deployment and every level ----------------------------------------------------------

CELLS = make_docs.reasoning_cells()
OFF: tuple[Any, ...] = (False, "none", "off", 0)


def is_off(cell: make_docs.Cell) -> bool:
    """Whether what stands on the wire, or the default where nothing does, is off. Knows nothing of the changes."""
    said = [value for _, value in cell.sent] or [cell.default]
    return all(any(value is off or value == off != 0 for off in OFF) for value in said)


def test_the_cells_are_all_there():
    """Every deployment of the catalog, every level, and nothing asked."""
    wishes = (None, *EFFORTS)

    assert [(name, wish) for name in make_docs.deployments() for wish in wishes] == [
        (cell.deployment, cell.asked) for cell in CELLS
    ]


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.asked == "none"], ids=lambda cell: cell.deployment)
def test_no_cell_says_on_when_off_was_asked_without_saying_so(cell):
    """Either it is off on the wire, or it is reported as lost and serves under best_effort alone."""
    lost = [change for change in cell.changes if change.how in ("inverted", "dropped")]

    if is_off(cell):
        assert () == cell.changes
        assert make_docs.FIDELITIES == cell.used
    else:
        assert [("reasoning_effort", "none")] == [(change.param, change.asked) for change in lost]
        assert ("best_effort",) == cell.used


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.asked != "none"], ids=str)
def test_no_cell_is_silent(cell):
    """Whoever asks for reasoning gets a word on the wire that is not off, or is told; whoever asks nothing is told."""
    told = [change for change in cell.changes if change.param == "reasoning_effort"]

    if cell.asked is None:
        assert () == cell.sent
        assert ["defaulted"] == [change.how for change in told]
    elif not cell.sent:
        assert ["dropped"] == [change.how for change in told]
        assert ("best_effort",) == cell.used
    else:
        assert not is_off(cell)
        assert "strict" not in cell.used or () == cell.changes


def test_the_table_shows_every_deployment_once():
    """However the alike ones are put together."""
    heads = [line for line in make_docs.reasoning_tables().splitlines() if line.endswith(":")]
    named = [name for line in heads for name in re.findall(r"`([^`]+)`", line)]

    assert sorted(make_docs.deployments()) == sorted(named)


# -- configuration.md: every key, and its default ----------------------------------------------------------------------

CONFIGURATION = (make_docs.ROOT / "docs" / "configuration.md").read_text("utf-8")
KEYS = re.compile(r"<!-- keys: (?P<row>\w+) -->\n\n(?P<table>(?:\|.*\n)+)")
NOTHING: tuple[Any, ...] = (None, "", (), {})


class Key(NamedTuple):
    """A line of a table of keys."""

    row: str
    name: str
    default: str


def documented() -> Iterator[Key]:
    for found in KEYS.finditer(CONFIGURATION):
        for line in found["table"].splitlines()[2:]:
            name, default = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:3])
            yield Key(found["row"], name.strip("`"), default.strip("`"))


def row(name: str) -> Any:
    return getattr(rows, name, None) or getattr(dialect, name)


def own_fields(name: str) -> dict[str, FieldInfo]:
    """The fields of a row by the names they have in YAML; what every row of a wire has is said once."""
    shared = set() if name == "DialectRow" else set(dialect.DialectRow.model_fields)
    fields = row(name).model_fields
    wire = issubclass(row(name), dialect.DialectRow)
    return {field.alias or key: field for key, field in fields.items() if not (wire and key in shared)}


def type_of(field: FieldInfo) -> TypeAdapter[Any]:
    """What is checked of the field's value."""
    annotated: Any = Annotated[field.annotation, "", *field.metadata]
    return TypeAdapter(annotated)


def test_every_row_has_a_table():
    """Every row that a routes file can hold, and none that it cannot."""
    known = {*rows.schema()["$defs"], "RoutesFile", "DialectRow"}

    assert known == {found["row"] for found in KEYS.finditer(CONFIGURATION)}


@pytest.mark.parametrize("name", sorted({key.row for key in documented()}))
def test_every_key_is_documented(name):
    """In the order of the code."""
    assert list(own_fields(name)) == [key.name for key in documented() if key.row == name]


@pytest.mark.parametrize("key", [pytest.param(key, id=f"{key.row}.{key.name}") for key in documented()])
def test_a_documented_default_is_the_default(key):
    """Written as in YAML, with its unit, and read as YAML is."""
    field = own_fields(key.row)[key.name]
    default: Any = None if field.is_required() else field.get_default(call_default_factory=True)

    if key.default == "required":
        assert field.is_required()
    elif key.default == "–":
        assert not field.is_required()
        assert default in NOTHING or not default.model_fields_set
    else:
        assert default == type_of(field).validate_python(yaml.safe_load(key.default))
