"""For every deployment of the catalog: what is asked is on the wire or in `changes`, and nothing else is on the wire.

No provider's numbers stand here; the deployment's own words say where a field belongs, and the change what became of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from providers.client import encode
from providers.dialect import Dialect, Endpoint
from providers.errors import Untranslatable
from providers.types import EFFORTS, PARAMS, Change, Request
from router import Router

ROUTER = Router.open({}, environ={})  # only its endpoints are looked at
NAMES = sorted(ROUTER.config.deployments)

# Values that ask for nothing, so that leaving them out is no change.
NEUTRAL: Mapping[str, Any] = {
    "n": 1,
    "tools": [],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "response_format": {"type": "text"},
    "logprobs": False,
    "logit_bias": {},
    "min_p": 0,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "repetition_penalty": 1,
}
ENVELOPE = ("model", "messages", "taskType", "taskUUID")

TOOLS = [{"type": "function", "function": {"name": f"f{n}", "parameters": {"type": "object"}}} for n in range(129)]
NAMED = {"type": "function", "function": {"name": "f0"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
VIDEO = {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}

texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)


def reals(low: float, high: float) -> st.SearchStrategy[float]:
    return st.one_of(st.floats(low, high), st.integers(int(low), int(high)), st.sampled_from([low, high]))


FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "max_tokens": st.integers(1, 10**7),
    "temperature": reals(0, 5),
    "top_p": reals(0, 1),
    "top_k": st.integers(1, 1000),
    "min_p": reals(0, 1),
    "presence_penalty": reals(-5, 5),
    "frequency_penalty": reals(-5, 5),
    "repetition_penalty": reals(0, 5),
    "stop": st.one_of(texts, st.lists(texts, max_size=6)),
    "seed": st.integers(-(2**70), 2**70),
    "n": st.integers(1, 9),
    "logprobs": st.booleans(),
    "logit_bias": st.dictionaries(st.integers(0, 9).map(str), reals(-100, 100), max_size=2),
    "parallel_tool_calls": st.booleans(),
    "response_format": st.sampled_from([{"type": "text"}, {"type": "json_object"}, SCHEMA]),
    "user": texts,
    "reasoning_effort": st.sampled_from(EFFORTS),
    "reasoning_budget": st.integers(1, 10**6),
    "thinking": st.booleans(),
}


@st.composite
def messages(draw: st.DrawFn) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"role": "system", "content": draw(texts)}] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 2))):
        found.append({"role": "user", "content": draw(texts)})
        thoughts = {"reasoning_content": draw(texts)} if draw(st.booleans()) else {}
        found.append({"role": "assistant", "content": draw(texts), **thoughts})
    media = draw(st.lists(st.sampled_from([IMAGE, VIDEO]), max_size=2))
    text = draw(texts)
    found.append({"role": "user", "content": [{"type": "text", "text": text}, *media] if media else text})
    return found


@st.composite
def requests(draw: st.DrawFn) -> Request:
    fields = {name: draw(FIELDS[name]) for name in draw(st.sets(st.sampled_from(sorted(FIELDS))))}
    effort = fields.get("reasoning_effort")
    if effort is not None:
        fields.pop("thinking", None)
    if effort == "none" or fields.get("thinking") is False:
        fields.pop("reasoning_budget", None)
    if fields.get("logprobs") and draw(st.booleans()):
        fields["top_logprobs"] = draw(st.integers(0, 40))
    if draw(st.booleans()):
        fields["tools"] = TOOLS[: draw(st.sampled_from([1, 2, 128, 129]))]
        if draw(st.booleans()):
            fields["tool_choice"] = draw(st.sampled_from(["none", "auto", "required", NAMED]))
    return Request(model="m", messages=draw(messages()), **fields)


@settings(max_examples=800, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(request=requests(), name=st.sampled_from(NAMES), streaming=st.booleans())
def test_what_is_asked_is_sent_or_reported_and_nothing_else_is_sent(request, name, streaming):
    """Nothing is lost and nothing is made up, whoever is asked."""
    endpoint = ROUTER.config.deployments[name].endpoint
    try:
        call = encode(request, endpoint, streaming=streaming, key="k")
    except Untranslatable as error:
        raise AssertionError(f"{name}: {error}") from error
    body = json.loads(call.http.body, parse_constant=lambda word: 1 / 0)
    if isinstance(body, list):
        (body,) = body
    wire = dict(leaves(body, declared(endpoint.dialect)))

    reported: dict[str, list[Change]] = {}
    for change in call.changes:
        reported.setdefault(change.param, []).append(change)
    for field in PARAMS:
        check_field(field, request, endpoint.dialect, wire, reported.get(field, []))
    check_reasoning(request, endpoint.dialect, wire, reported)
    check_messages(request, endpoint, body, wire, reported)
    assert set(wire) <= set(expected(request, endpoint, streaming=streaming))
    assert endpoint.wire_model == wire["model"]


def leaves(value: Mapping[str, Any], open_: set[tuple[str, ...]], path: tuple[str, ...] = ()) -> Iterator[Any]:
    """The fields of a body by dotted path; only what the dialect nests is opened."""
    for name, inner in value.items():
        steps = (*path, name)
        if isinstance(inner, dict) and steps in open_:
            yield from leaves(inner, open_, steps)
        else:
            yield ".".join(steps), inner


def declared(dialect: Dialect) -> set[tuple[str, ...]]:
    """The mappings that the dialect nests fields in."""
    paths = [word.path for word in dialect.words.values() if word is not None]
    levels = dialect.words["reasoning_effort"]
    paths += [path for wire in ((levels.levels or {}).values() if levels else ()) for path in wire or ()]
    paths += [tuple(dialect.system.to.split("."))] if dialect.system.to else []
    return {path[:end] for path in paths for end in range(1, len(path))}


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def check_field(field: str, request: Request, dialect: Dialect, wire: Mapping[str, Any], told: list[Change]) -> None:
    asked, word = plain(getattr(request, field)), dialect.words[field]
    path = ".".join(word.path) if word is not None else None
    told = [change for change in told if change.how != "defaulted"]
    if asked is None:
        assert [] == told
        return
    assert len(told) <= 1, f"{field} is reported twice"
    if path is not None and path in wire:
        sent = wire[path]
        alike = asked in (sent, [sent])  # a lone stop stands alone where it has to
        if not told:
            assert alike, f"{field}: {asked!r} became {sent!r}, and nobody says so"
        else:
            assert not alike, f"{field}: {asked!r} is on the wire, and {told} is reported"
            assert plain(told[0].sent) in (sent, None)
            assert told[0].how in ("clamped", "nearest", "dropped", "emulated")
    elif not told:
        neutral = asked == NEUTRAL.get(field, ()) or (field == "tool_choice" and asked == "none")
        assert neutral, f"{field}: {asked!r} is lost, and nobody says so"
    else:
        assert (None, "dropped") == (told[0].sent, told[0].how)
    for change in told:
        assert plain(change.asked) == asked
        assert change.why


def check_reasoning(
    request: Request, dialect: Dialect, wire: Mapping[str, Any], reported: Mapping[str, list[Change]]
) -> None:
    levels, limit = dialect.words["reasoning_effort"], dialect.words["reasoning_budget"]
    effort, budget = request.reasoning_effort, request.reasoning_budget
    told = {
        change.param: change
        for name in ("reasoning_effort", "reasoning_budget")
        for change in reported.get(name, [])
        if change.how != "defaulted"
    }
    controls = (
        {".".join(path) for fields in (levels.levels or {}).values() for path in fields or ()} if levels else set()
    )
    on_wire = controls & wire.keys()
    budget_on_wire = limit is not None and ".".join(limit.path) in wire
    if effort is None and budget is None:
        assert {} == told
        assert not budget_on_wire
        return
    if budget is not None and "reasoning_budget" not in told:
        assert limit is not None
        assert budget == wire[".".join(limit.path)]
    if effort is not None and "reasoning_effort" not in told:
        exact = levels is not None and effort in levels.exact
        settled_off = effort == "none" and dialect.defaults.get("reasoning_effort") in ("off", "none", False)
        assert exact or request.any_level or settled_off, f"{effort} is not told apart here, and nobody says so"
        assert on_wire or settled_off, f"{effort} is lost, and nobody says so"
    if "reasoning_effort" in told and effort == "none":
        assert "inverted" == told["reasoning_effort"].how or not (dialect.defaults.get("reasoning_effort"))
    for change in told.values():
        assert (change.sent is None) is (change.how == "dropped" or not (on_wire or budget_on_wire))


def check_messages(
    request: Request,
    endpoint: Endpoint,
    body: Mapping[str, Any],
    wire: Mapping[str, Any],
    reported: Mapping[str, list[Change]],
) -> None:
    dialect = endpoint.dialect
    said = json.dumps(wire, ensure_ascii=False)
    told = " ".join(str(change.asked) for change in reported.get("messages", []))
    for message in request.messages:
        if message.role == "system" and dialect.system.to is not None:
            assert message.text in str(wire[dialect.system.to])
        else:
            assert json.dumps(message.text, ensure_ascii=False) in said
        for part in message.media:
            url = part.image_url.url if part.type == "image_url" else part.video_url.url
            kind = "image" if part.type == "image_url" else "video"
            assert url in said or kind in told, f"a {kind} is lost, and nobody says so"
        if message.reasoning_content and dialect.history.reasoning == "strip":
            assert ["dropped"] == [change.how for change in reported["reasoning_content"]]
    roles = [message.role for message in request.messages if message.role != "system" or dialect.system.to is None]
    assert roles == [message["role"] for message in body["messages"]]


def expected(request: Request, endpoint: Endpoint, *, streaming: bool) -> Iterator[str]:
    """Every path that may be on the wire for this request."""
    dialect = endpoint.dialect
    yield from ENVELOPE[:2]
    if endpoint.protocol == "tasks":
        yield from ENVELOPE
        yield "deliveryMethod"
    for field in PARAMS:
        word = dialect.words[field]
        if word is not None and getattr(request, field) is not None:
            yield ".".join(word.path)
    levels, limit = dialect.words["reasoning_effort"], dialect.words["reasoning_budget"]
    excluded = request.response_format is not None and dialect.reasoning_excludes
    if levels is not None and (request.reasoning_effort or request.reasoning_budget or excluded):
        yield from (".".join(path) for fields in (levels.levels or {}).values() for path in fields or ())
    if limit is not None and request.reasoning_budget is not None:
        yield ".".join(limit.path)
    yield from dialect.always
    if streaming:
        yield from (name for name, value in dialect.when_streaming.items() if value is not None)
    if dialect.system.to is not None and any(message.role == "system" for message in request.messages):
        yield dialect.system.to
    for kind, part in (("images", "image_url"), ("videos", "video_url")):
        word = dialect.words[kind]
        media = [one for message in request.messages for one in message.media if one.type == part]
        if word is not None and media and endpoint.protocol == "tasks":
            yield ".".join(word.path)
