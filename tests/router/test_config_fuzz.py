"""Whatever a file says, loading ends in a configuration or in a ConfigError."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from providers.errors import ConfigError
from router.documents import parse
from router.environment import fill
from router.lint import inspect
from router.lint.kinds import KINDS
from router.load import examine, load
from router.problems import Problem
from tests.router.configs import CATALOG, KEYS, ROUTES

SOUND = {**parse(CATALOG).value, **parse(ROUTES).value}
JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        1.5,
        10**15,
        "",
        "x",
        "off",
        "$1",
        "5s",
        "${",
        "${NO}",
        "a/b",
        [],
        [1],
        [[]],
        {},
        {"a": 1},
        {"": {}},
    ]
)


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(deeper for key, item in inner for deeper in _paths(item, (*path, key)))]


@settings(deadline=None)  # a whole load each
@given(st.lists(st.tuples(st.sampled_from(_paths(SOUND)[1:]), JUNK, st.booleans()), min_size=1, max_size=4))
def test_a_file_with_junk_in_it_loads_or_says_why(changes):
    """Values replaced and keys added anywhere: nothing but a ConfigError, every problem of it with a place and a kind."""
    value = deepcopy(SOUND)
    for path, junk, add in changes:
        _put(value, path, junk, add=add)
    found: tuple[ConfigError | Problem, ...]
    try:
        loaded = examine(value, environ=KEYS)
    except ConfigError as error:
        found = error.problems
    else:
        found = tuple(inspect(loaded))
        assert all(loaded.config.route(name) is not None for name in loaded.config.names())

    assert all(problem.path and problem.message and problem.code in KINDS for problem in found)
    assert len({(problem.path, problem.message) for problem in found}) == len(found)


def _put(value: Any, path: tuple[str | int, ...], junk: Any, *, add: bool) -> None:
    for step in path[:-1]:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return
    if isinstance(value, dict):
        value[f"{path[-1]}x" if add else path[-1]] = junk
    elif isinstance(value, list):
        value.append(junk)


def test_what_is_changed_is_sound_to_begin_with():
    """Else the test above would say little."""
    document = fill(parse(ROUTES), KEYS)

    assert () == document.problems
    assert load(SOUND, environ=KEYS).route("chat") is not None
