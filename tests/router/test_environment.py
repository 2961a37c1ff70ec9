"""Variables in values: what replaces them, what stays as it is, and what is missing."""

from __future__ import annotations

import pytest

from router.documents import parse
from router.environment import fill

ENVIRON = {"KEY": "sk-1", "HOST": "local", "EMPTY": "", "NESTED": "${KEY}", "YAML": "x: [1]\n- y", "lower_1": "low"}

FILLED = [
    ("${KEY}", "sk-1"),
    ("http://${HOST}:${PORT:-80}/v1", "http://local:80/v1"),
    ("${KEY}${KEY}", "sk-1sk-1"),
    ("${lower_1}", "low"),
    ("${EMPTY:-other}", "other"),  # as in a shell: unset or empty
    ("${EMPTY}", ""),
    ("${NONE:-}", ""),
    ("${NONE:-a:-b}", "a:-b"),
    ("${NESTED}", "${KEY}"),  # once, not again
    ("${YAML}", "x: [1]\n- y"),  # text, never structure
    ("$KEY and $$ and $", "$KEY and $$ and $"),
    ("{KEY}", "{KEY}"),
]


@pytest.mark.parametrize(("text", "value"), FILLED)
def test_variables_are_replaced_once_inside_a_value(text, value):
    """What a variable holds is text, whatever it looks like."""
    document = fill(parse(f"a: ['{text}']"), ENVIRON)

    assert [value] == document.value["a"]
    assert () == document.problems


def test_only_what_came_from_the_environment_is_marked():
    """Such values are not repeated in errors."""
    assert {("b",)} == fill(parse("a: x\nb: '${KEY}'"), ENVIRON).filled


def test_keys_are_never_replaced():
    """Structure is the file's alone."""
    assert {"${KEY}": 1} == fill(parse("'${KEY}': 1"), ENVIRON).value


@pytest.mark.parametrize(
    "text", ["${}", "${KEY", "${1X}", "${A-b}", "${A:-${KEY}}", "${ KEY }", "${A.B}", "a${KEY}b${"]
)
def test_a_variable_that_is_not_written_rightly_is_a_problem(text):
    """No nesting, no other forms; the right ones are named."""
    (problem,) = fill(parse(f"x: 1\na: '{text}'"), ENVIRON).problems

    assert (2, "a") == (problem.line, problem.path)
    assert "write ${NAME} or ${NAME:-default}" in str(problem.hint)


def test_a_missing_variable_is_a_problem_that_names_it():
    """The line, what to do, and the variable that was perhaps meant."""
    document = fill(parse("a:\n  b: x${KEZ}y"), ENVIRON)
    (problem,) = document.problems

    assert {"a": {"b": None}} == document.value
    assert (2, "a.b") == (problem.line, problem.path)
    assert "the environment variable KEZ is not set" == problem.message
    assert "${KEZ:-default}" in str(problem.hint)
    assert "KEY" in str(problem.hint)


def test_where_a_variable_is_optional_its_absence_is_noted():
    """In the catalog nobody needs every key; an empty variable is as good as none."""
    document = fill(parse("a: ${NONE}\nb: ['${EMPTY}']\nc: ${NONE:-}"), ENVIRON, optional=True)

    assert {"a": None, "b": [""], "c": ""} == document.value
    assert {("a",): ("NONE",), ("b", 0): ("EMPTY",)} == document.missing
    assert () == document.problems
