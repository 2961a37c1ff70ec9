"""What an emulated model says, without a server."""

from __future__ import annotations

import pytest

from router.lab import Answer, ToolCall
from router.lab.answers import Asked, count_tokens, default_answer, generate, split, truncate
from router.lab.samples import sample


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("17 * 23?", 4), ("  one,two ", 3), ("über naïve_x", 2), ("…—!", 3)]
)
def test_a_token_is_a_word_or_one_other_character(text, tokens):
    """Whitespace counts for nothing, and cutting keeps the count."""
    assert tokens == count_tokens(text)
    assert [min(n, tokens) for n in range(5)] == [count_tokens(truncate(text, n)) for n in range(5)]


@pytest.mark.parametrize("text", ["", "a", " a  b\n\nc ", "one two", "\n"])
def test_pieces_lose_nothing(text):
    """They join to the text."""
    assert text == "".join(split(text))


def test_the_limit_is_spent_on_reasoning_content_and_calls_in_that_order():
    """A call whose arguments do not fit is a broken one, one whose name does not fit is none."""
    answer = Answer(
        "c d", reasoning_content="a b", tool_calls=(ToolCall("1", "f", '{"x": 1}'), ToolCall("2", "g", "{}"))
    )

    def made(limit):
        return generate(answer, Asked(prompt_tokens=1, last_text="", thinking=True, max_tokens=limit))

    assert ("a", "", ()) == (made(1).reasoning, made(1).content, made(1).tool_calls)
    assert ("a b", "c") == (made(3).reasoning, made(3).content)
    assert (ToolCall("1", "f", '{"'),) == made(7).tool_calls
    assert "length" == made(7).finish_reason
    assert "tool_calls" == made(None).finish_reason
    assert made(7).completion_tokens == 7


def test_the_earliest_stop_sequence_wins():
    """And the text before it is all there is."""
    asked = Asked(prompt_tokens=1, last_text="", thinking=False, stop=("zz", "c"))
    made = generate(Answer("a b c zz", reasoning_content="never said"), asked)

    assert ("a b ", "c", "stop", "") == (made.content, made.stopped_by, made.finish_reason, made.reasoning)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({}, "text"),
        ({"type": "string", "minLength": 6}, "textxx"),
        ({"type": ["integer", "null"], "minimum": 3}, 3),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [False, False]),
        ({"anyOf": [{"const": 5}, {"type": "null"}]}, 5),
        ({"properties": {"a": {"type": "null"}, "b": {"enum": ["x"]}}, "required": ["b"]}, {"b": "x"}),
        ({"type": "object", "properties": {"a": {"type": "number"}}}, {"a": 0}),
        ({"type": "string", "maxLength": 2}, "te"),
        ({"type": "number", "exclusiveMinimum": 3}, 4),
        ({"type": "number", "minimum": 0.5, "exclusiveMaximum": 1}, 0.5),
        ({"type": "integer", "maximum": -3}, -3),
        ({"type": "integer", "exclusiveMaximum": 0}, -1),
        ({"type": "integer", "minimum": 7, "multipleOf": 5}, 10),
        ({"allOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}], "title": "T"}, {"a": 1}),
    ],
    ids=str,
)
def test_a_sample_fits_its_schema(schema, value):
    """The smallest one that we can think of."""
    assert value == sample(schema)


def test_a_sample_follows_references():
    """As pydantic writes nested models: `$defs`, and `$ref` to them."""
    schema = {
        "type": "object",
        "properties": {
            "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}, "minItems": 1},
            "first": {"allOf": [{"$ref": "#/$defs/line"}], "description": "the first one"},
            "kind": {"$ref": "#/$defs/ki~1nd"},
        },
        "required": ["lines", "first", "kind"],
        "$defs": {
            "line": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
            "ki/nd": {"enum": ["a", "b"]},
        },
    }

    assert {"lines": [{"text": "text"}], "first": {"text": "text"}, "kind": "a"} == sample(schema)


def test_a_sample_of_a_model_that_holds_itself_ends():
    """Where the schema lets it: at the alternative that needs no further one."""
    node = {
        "type": "object",
        "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
        "required": ["next"],
    }
    schema = {"$ref": "#/$defs/node", "$defs": {"node": node}}

    assert {"next": None} == sample(schema)
    assert sample({"$ref": "#/$defs/gone"}) == sample({})


def test_the_arguments_of_a_call_may_be_given_as_a_mapping():
    """It is the JSON of it; text stays as it is, right or wrong."""
    assert '{"city": "Rome"}' == ToolCall("1", "weather", {"city": "Rome"}).arguments
    assert '{"city": ' == ToolCall("1", "weather", '{"city": ').arguments


def test_the_default_answer_calls_a_forced_tool():
    """With arguments that fit, and an id that repeats."""
    tools = {"f": {"type": "object", "properties": {"a": {"type": "integer"}}}}
    asked = Asked(prompt_tokens=1, last_text="x", thinking=False, tools=tools, forced_tool="f")

    assert default_answer(asked) == default_answer(asked)
    assert ('{"a": 0}', "f") == (
        default_answer(asked).tool_calls[0].arguments,
        default_answer(asked).tool_calls[0].name,
    )
