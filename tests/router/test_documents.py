"""Strict YAML: what each scalar means, where it stands, and what is refused."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from providers.errors import ConfigError
from router import documents
from router.documents import parse, plain, read
from router.problems import together

SCALARS = [
    ("true", True),
    ("False", False),
    ("null", None),
    ("~", None),
    ("", None),
    ("0", 0),
    ("-12", -12),
    ("+3", 3),
    ("1.10", 1.1),
    (".5", 0.5),
    ("1e3", 1000.0),
    ("2.5E-1", 0.25),
    ("010", "010"),  # octal in YAML 1.1
    ("0o17", "0o17"),
    ("0x1F", "0x1F"),
    ("1_000", "1_000"),
    ("12:30:00", "12:30:00"),  # 45000 in YAML 1.1
    ("2024-01-31", "2024-01-31"),  # a date in YAML 1.1
    (".inf", ".inf"),
    (".nan", ".nan"),
    ("30s", "30s"),
    ("none", "none"),
    ("'off'", "off"),
    ('"true"', "true"),
    ("'7'", "7"),
    ("''", ""),
    ("|\n  two\n  lines", "two\nlines"),
]


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_scalars_are_those_of_yaml_1_2(text, value):
    """True, false, null and decimal numbers mean themselves; everything else, and everything in quotes, is text."""
    read_value = parse(f"a: {text}").value["a"]

    assert (value, type(value)) == (read_value, type(read_value))


@pytest.mark.parametrize("loader", [getattr(yaml, "CSafeLoader", yaml.SafeLoader), yaml.SafeLoader])
def test_both_parsers_read_the_same(monkeypatch, loader):
    """Without libyaml the same text means the same."""
    monkeypatch.setattr(documents, "_LOADER", loader)
    document = parse("a: [1, 'off', {b: no}]\nc: *x\n")

    assert {"a": [1, "off", {"b": "no"}], "c": None} == document.value
    assert [1, 2] == [problem.line for problem in document.problems]


def test_every_path_has_its_line():
    """A mapping's entry has the line of its key, a list's item its own; what is unknown has the line around it."""
    document = parse("# a comment\na:\n  b: 1\n  c:\n    - x\n    -\n      d: 2\n")

    assert {
        (): 2,
        ("a",): 2,
        ("a", "b"): 3,
        ("a", "c"): 4,
        ("a", "c", 0): 5,
        ("a", "c", 1): 7,
        ("a", "c", 1, "d"): 7,
    } == (document.lines)
    assert 4 == document.line(("a", "c", "missing", "deeper"))
    assert "a.c[1].d" == document.problem(("a", "c", 1, "d"), "is odd").path


OLD_BOOLEANS = [(word, "true") for word in ("y", "Y", "yes", "Yes", "on", "ON")] + [
    (word, "false") for word in ("n", "N", "no", "NO", "off", "Off")
]


@pytest.mark.parametrize(("word", "meant"), OLD_BOOLEANS)
def test_a_bare_word_that_yaml_1_1_reads_as_a_boolean_is_refused(word, meant):
    """Whoever wrote it meant a word or a boolean; both are told how to write it."""
    (problem,) = parse(f"a: 1\nlevels: {{none: {word}}}").problems

    assert (2, "levels.none", f"{word} is a boolean in YAML 1.1") == (problem.line, problem.path, problem.message)
    assert f'write "{word}" in quotes for the word, or {meant}' == problem.hint


def test_keys_are_text_whatever_they_look_like():
    """`n` is a parameter, `400` a status: a key is never read as anything but text."""
    document = parse("n: 1\noff: 2\n400: 3\ntrue: 4\n")

    assert {"n": 1, "off": 2, "400": 3, "true": 4} == document.value
    assert () == document.problems


PROBLEMS = [
    ("a: 1\nb: 2\na: 3", 3, "a", "stands twice"),
    ("x: {a: 1, 'a': 2}", 1, "x.a", "stands twice"),
    ("a: &x 1", 1, "a", "anchor &x is not allowed"),
    ("b: 1\na: *x", 2, "a", "alias *x is not allowed"),
    ("a: !!str 1", 1, "a", "tag tag:yaml.org,2002:str is not allowed"),
    ("a: !!python/object/apply:os.system [ls]", 1, "a", "is not allowed"),
    ("a: ! x", 1, "a", "tag ! is not allowed"),
    ("a:\n  <<: {b: 1}", 2, "a.<<", "merge keys are not allowed"),
    ("a: 123456789012345678901234567890", 1, "a", "too large"),
    ("a: 1e999", 1, "a", "too large"),
]


@pytest.mark.parametrize(("text", "line", "path", "message"), PROBLEMS)
def test_what_obscures_a_file_is_a_problem_with_its_line(text, line, path, message):
    """Duplicate keys, anchors, aliases, tags, merge keys and monstrous numbers are refused, and reading goes on."""
    (problem,) = parse(text, file="f.yaml").problems

    assert ("f.yaml", line, path) == (problem.file, problem.line, problem.path)
    assert message in problem.message


def test_the_first_of_two_equal_keys_is_kept_and_all_problems_are_listed():
    """One reading finds everything."""
    document = parse("a: 1\na: {b: off}\nc: *d\n")

    assert {"a": 1, "c": None} == document.value
    assert ["a", "a.b", "c"] == [problem.path for problem in document.problems]


REFUSED = [
    ("a: [1\nb: 2", "is not YAML", 2),
    ("a: 1\n\tb: 2", "is not YAML", 2),
    ("a: 1\nb: c: d", "is not YAML", 2),
    ("a: 1\nb: \x00", "control characters", 2),
    (b"a: 1\nb: \xff", "is not UTF-8", 2),
    ("a: 1\n---\nb: 2", "more than one document", 2),
    ("a: 1\n? [x]\n: 2", "a key must be a plain word", 2),
    ("a:\n  " + "[" * 50 + "]" * 50, "nested deeper than 50", 2),
    ("[" * 20_000, "nested deeper than 50", 1),
    ("#" * (2**20 + 1), "larger than 1 MiB", None),
    ("\n".join(f"a{place}: off" for place in range(200)), "100 problems", 1),
]


@pytest.mark.parametrize(("text", "message", "line"), REFUSED)
def test_what_cannot_be_read_is_one_error(text, message, line):
    """What prevents reading on is raised at once, with its line."""
    with pytest.raises(ConfigError, match=message) as caught:
        parse(text, file="f.yaml")

    assert ("f.yaml", line) == (caught.value.file, caught.value.line)


def _sound(text):
    """The value of *text*, or every problem as an error."""
    document = parse(text)
    if document.problems:
        raise together(document.problems)
    return document.value


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8)
)


@pytest.mark.parametrize("text", [BOMB, "[" * 20_000, "{a: " * 20_000, "- " * 20_000, "? " * 20_000])
def test_small_files_that_grow_are_refused_quickly(text):
    """An alias bomb and bottomless nesting cost less than a tenth of a second."""
    began = time.perf_counter()
    with pytest.raises(ConfigError):
        _sound(text)

    assert time.perf_counter() - began < 0.1


def test_depth_fifty_is_fine():
    """The limit itself may be reached."""
    assert () == parse("[" * 50 + "]" * 50).problems


def test_reading_files(tmp_path: Path):
    """A byte order mark is no part of the text; a file that is not there, a folder and an endless file are errors."""
    good = tmp_path / "good.yaml"
    good.write_bytes(b"\xef\xbb\xbfa: \xc3\xa9\n")

    assert {"a": "é"} == read(good, file="good").value
    for path, message in (
        (tmp_path / "none.yaml", "cannot be read: No such file"),
        (tmp_path, "cannot be read: Is a directory"),
        (Path("/dev/zero"), "larger than 1 MiB"),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            read(path, file="routes.yaml")
        assert "routes.yaml" == caught.value.file


def test_an_empty_file_is_null():
    """Nothing, and comments alone, mean nothing."""
    assert None is parse("").value
    assert None is parse("# nothing\n").value


def test_a_mapping_made_in_python_is_copied_and_has_no_lines():
    """What Python gives must be what YAML could have said."""
    source = {"a": [1, {2: "x"}], "b": float("nan"), "c": object()}
    document = plain(source)

    assert {"a": [1, {"2": "x"}], "b": None, "c": None} == document.value
    assert source["a"] is not document.value["a"]
    assert ["b", "c"] == [problem.path for problem in document.problems]
    assert [None, None] == [problem.line for problem in document.problems]


def test_a_mapping_that_holds_itself_is_refused():
    """It would never end."""
    loop: dict[str, object] = {}
    loop["a"] = loop

    assert any("nested deeper" in problem.message for problem in plain(loop).problems)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.text(st.characters(codec="ascii", exclude_categories=["Cc"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abc", min_size=1), VALUES, max_size=4))
def test_whatever_is_written_in_quotes_comes_back(value):
    """JSON is YAML: what a JSON writer writes is read as it was meant, every path with a line."""
    import json

    document = parse(json.dumps(value))

    assert value == document.value
    assert () == document.problems
    assert {1} == set(document.lines.values())


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    """No text whatsoever raises anything but a ConfigError."""
    with suppress(ConfigError):
        parse(text)
