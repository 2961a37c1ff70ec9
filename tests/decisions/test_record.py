"""What is written down: all that decides, no key and no text; within its bound, and never at a request's expense."""

from __future__ import annotations

import io
import json
from dataclasses import fields, replace
from random import Random
from typing import Any

import pytest

from providers.errors import ProviderError
from providers.secret import Secret
from providers.types import Request
from router import Router, estimate
from router.config import Key, Tier
from router.decisions import DecisionRecorder
from router.decisions.record import ForeignRecord, attempt_facts, attempt_of, digest, read
from router.decisions.shape import PLAIN, PRIVATE, request_of, shape, spoken
from router.health import Health
from router.keys import KeyPool, Rest
from router.known import Known, KnownAccount
from router.lab import Fault
from router.load import load
from router.plan import Setting, make_plan
from router.written import without_secrets
from tests.decisions.scenes import CONDUCTS, config_of, record, recorded
from tests.router.stage import REQUEST, stage
from tests.simulation import fleet

QUESTION = "17 * 23?"  # as REQUEST asks it
PICTURE = {"type": "image_url", "image_url": {"url": "https://private.test/face.png", "detail": "low"}}
ASKED = {
    "model": "chat",
    "messages": [
        {"role": "system", "content": "private rules"},
        {
            "role": "user",
            "name": "private",
            "content": [{"type": "text", "text": "private words, many of them"}, PICTURE],
        },
        {
            "role": "assistant",
            "reasoning_content": "private thought",
            "tool_calls": [
                {
                    "id": "private-id",
                    "type": "function",
                    "function": {"name": "private_tool", "arguments": '{"private": 1}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "private-id", "content": "private result"},
    ],
    "thinking": True,
    "max_tokens": 2000,
    "temperature": 0.6,
    "stop": ["private", "stop"],
    "logit_bias": {"4711": -100},
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "private_tool",
                "description": "private purpose",
                "parameters": {"type": "object", "properties": {"private": {"type": "string"}}},
                "strict": True,
            },
        }
    ],
    "tool_choice": {"type": "function", "function": {"name": "private_tool"}},
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "private", "schema": {"title": "private"}, "strict": True},
    },
    "user": "private person",
    "extra": {"private_field": "private value"},
    "fidelity": {"default": "best_effort", "seed": "strict"},
}


# -- what is kept of a request ----------------------------------------------------------------------------------------


def test_a_shape_has_no_text():
    """Whatever field it stands in."""
    assert "private" not in json.dumps(shape(Request.of(ASKED)))
    assert "4711" not in json.dumps(shape(Request.of(ASKED)))


def test_every_field_of_a_request_is_plain_or_private():
    """A new field has to be put on one side before it is kept."""
    assert set(Request.model_fields) == PLAIN | PRIVATE
    assert set() == PLAIN & PRIVATE
    assert set(ASKED) - {"thinking"} <= PLAIN | PRIVATE


@pytest.mark.parametrize("kept", [shape, spoken], ids=["shape", "text"])
def test_a_shape_is_planned_as_what_it_is_the_shape_of(kept):
    """By every deployment of the catalog: the same changes, excluded for the same."""
    request, config = Request.of(ASKED), load(environ={})
    again = request_of(json.loads(json.dumps(kept(request))))

    for name, route in config.alone.items():
        plans = [make_plan(one, route, Setting(Health()), rng=Random(1), tokens=100) for one in (request, again)]
        told = [
            [
                *([(change.param, change.how) for change in one.call.changes] for one in plan.candidates),
                *([(change.param, change.how) for change in one.changes] for one in plan.excluded),
            ]
            for plan in plans
        ]
        assert told[0] == told[1], name
    assert request.any_level is again.any_level


def test_a_text_of_so_many_tokens_is_one():
    """What a shape is filled with has as many tokens as the text had."""
    for text in ("", "a", "four", "fives", "a longer one, with several words", "中文 too"):
        said = {"model": "chat", "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}]}
        again = request_of(shape(Request.of(said)))

        assert estimate.text_tokens(text) == estimate.text_tokens(again.messages[0].text)


# -- what is kept of a failure ----------------------------------------------------------------------------------------


async def test_a_failure_permits_what_it_permitted():
    """Also one of a class that is not here any more; and its words stay out of a record unless they are asked for."""

    class Odd(ProviderError):
        elsewhere = False
        blames = "nobody"

    error = Odd("private words", status=418, code="teapot", retry_after=2.5)
    error.should_retry = True
    async with stage("mixlayer") as on:
        on.first.fail(Fault.status(503))
        await on.ask()
        attempt = on.attempts[0].attempt
    kept = json.loads(json.dumps(attempt_facts(replace(attempt, error=error), text=False)))
    again = attempt_of(kept).error

    assert "private" not in json.dumps(kept)
    assert isinstance(again, ProviderError)
    assert (True, False, "nobody") == (again.here, again.elsewhere, again.blames)
    assert (418, "teapot", 2.5, True) == (again.status, again.code, again.retry_after, again.should_retry)
    assert "private words" in json.dumps(attempt_facts(replace(attempt, error=error), text=True))


# -- what is kept of a configuration ----------------------------------------------------------------------------------


def test_a_file_is_kept_without_its_secrets():
    """Keys, headers, webhooks, passwords in addresses, the gateway's section; and a key that stands where none belongs."""
    written = without_secrets(
        {
            "providers": {
                "mine": {
                    "base_url": "https://ada:secret-word@mine.test:8443/v1?token=secret-token",
                    "api_keys": {"first": "secret-canary-1", "second": "secret-canary-2"},
                    "headers": {"X-Team": "secret-header"},
                    "webhook": "https://hooks.test/secret-token",
                    "always": {"note": "uses secret-canary-1"},
                }
            },
            "gateway": {"api_keys": ["secret-gateway"]},
            "policies": {"quick": {"deadline": "8s"}},
        }
    )

    assert "secret" not in json.dumps(written)
    assert "https://mine.test:8443/v1" == written["providers"]["mine"]["base_url"]
    assert {"quick": {"deadline": "8s"}} == written["policies"]


def test_a_digest_is_of_what_decides():
    """Another key or address is the same; another deadline is not."""

    def said(key: str = "k", url: str = "http://a.test/v1", deadline: str = "8s") -> str:
        config = load(
            {
                "providers": {"mine": {"protocol": "chat_completions", "base_url": url, "api_key": key}},
                "models": {"m": {"deployments": [{"provider": "mine", "model": "m"}]}},
                "routes": {"chat": {"deployments": ["mine/m"], "policy": {"deadline": deadline}}},
            },
            environ={},
        )
        return digest(config, config.routes["chat"])

    assert said() == said(key="other", url="http://b.test/v1")
    assert said() != said(deadline="9s")


# -- the state that decides -------------------------------------------------------------------------------------------

KEPT = {
    "circuit", "cooling", "load", "latency", "usual", "retries", "pace", "slots", "minute", "facts", "pool"
}  # fmt: skip
LEFT_OUT = {
    "name": "whose record it is",
    "account": "a record of its own",
    "provider": "the configuration's",
    "usable": "the configuration's",
    "endpoint": "made again from the facts",
    "last": "it only words a reason",
    "after": "as above",
}
BESIDE = {
    "_deployments": "the records",
    "_accounts": "the records",
    "_timed": "those of the records that have a pace",
    "_rng": "it draws the jitter of what comes after",
    "memory": "of the conversations only the request's own is recorded, by the trace",
    "hedges": "a second call is no decision of the policy; its attempt is on record",
    "_budgets": "a route's money is set aside before anything is decided",
}


def test_a_snapshot_leaves_nothing_out_unsaid():
    """Whoever gives Health a new part decides here whether a decision needs it, and its `snapshot` says it if so."""
    pieces = {field.name for kind in (Known, KnownAccount) for field in fields(kind)}
    assert KEPT | LEFT_OUT.keys() == pieces
    assert BESIDE.keys() == vars(Health()).keys()


def test_a_restored_health_gives_the_same_answers():
    """Of everything that planning and policy ask, now and later; and its snapshot is the same again."""
    names = {"alpha": "shaky", "beta": "no credit", "gamma": "too fast"}
    config = config_of(tuple(names), keys=2, limits={"requests_per_minute": 30})
    deployments = config.routes["chat"].deployments
    seen: list[Health] = []

    class Looking(DecisionRecorder):
        def trace(self, *args: Any, **more: Any) -> Any:
            health, now = more["health"], more["clock"]()
            said = json.loads(json.dumps(health.snapshot(deployments, now)))
            again = Health.restored(said, deployments)
            for later in (0.0, 0.5, 3.0, 30.0):
                assert _answers(health, deployments, now + later) == _answers(again, deployments, now + later)
            assert said == json.loads(json.dumps(again.snapshot(deployments, now)))
            seen.append(again)
            return super().trace(*args, **more)

    scripts = {name: CONDUCTS[conduct] for name, conduct in names.items()}
    fleet.simulate(scripts, rate=4, seconds=30.0, config=config, recorder=Looking(io.StringIO()))

    assert len(seen) > 80
    assert any(one.state("alpha/alpha-model") == "open" for one in seen)


def _answers(health: Health, deployments: Any, now: float) -> list[Any]:
    tiers = [Tier(tuple(deployments))]
    found: list[Any] = [sorted(health.timed())]
    for one in deployments:
        bar = health.barred(one, now)
        found += [
            (bar.kind, bar.retry_in) if bar is not None else None,
            health.ready_in(one, now),
            health.may_trickle(one, now),
            [health.other_key(one, label, now) for label in (None, "1", "2")],
            health.may_retry(one),
            health.load(one.name),
            health.latency(one.name),
            *(health.seconds(one.name, 500, now, streaming=streaming) for streaming in (False, True)),
            *(health.slow(one, tier, now) for tier in tiers),
            health.unasked_for(one.name, now),
            health.aside(one, now),
            health.endpoint(one).dialect.words == one.endpoint.dialect.words,
        ]
    return found


async def test_what_a_refusal_taught_is_on_record():
    """A fact makes the same call again: what the deployment does not take is not planned for it."""
    out = io.StringIO()
    async with stage("mixlayer") as on:
        on.router._recorder = DecisionRecorder(out)
        on.first.fail(Fault.status(400, body={"error": {"message": "Unsupported parameter: 'seed'", "param": "seed"}}))
        await on.ask(seed=7)
        heard = await on.ask(seed=7)
        assert ["seed"] == [change.param for change in heard.answer.changes if change.how == "dropped"]
        health = recorded(out.getvalue())[1].facts["steps"][0]["health"]
        deployments = on.router.config.routes["chat"].deployments
        again = Health.restored(health, deployments)

        assert None is again.endpoint(deployments[0]).dialect.words["seed"]


# -- the file ---------------------------------------------------------------------------------------------------------


async def test_a_record_is_lines_of_json_without_a_key(tmp_path):
    """The configuration first, then one line a request; streamed and failed ones too. Closed with its router."""
    file = tmp_path / "decisions.jsonl"
    async with stage("mixlayer", "aiml") as on:
        on.router._recorder = DecisionRecorder(file)
        on.first.fail(Fault.status(503))
        await on.ask()
        await on.ask(streaming=True)
        on.second.fail(Fault.silence())
    lines = [json.loads(line) for line in file.read_text().splitlines()]

    assert ["config", "decisions", "decisions"] == [line["kind"] for line in lines]
    assert ["success"] * 2 == [line["outcome"] for line in lines[1:]]
    assert [end.request for end in on.ends] == [line["id"] for line in lines[1:]]
    assert [False, True] == [line["streaming"] for line in lines[1:]]
    assert "canary" not in file.read_text()
    assert QUESTION not in file.read_text()


async def test_text_is_kept_where_it_is_asked_for(tmp_path):
    """`text=True` keeps prompts, and what providers say; still no key."""
    file = tmp_path / "decisions.jsonl"
    async with stage("mixlayer") as on:
        on.router._recorder = DecisionRecorder(file, text=True)
        on.first.fail(Fault.status(503))
        await on.ask()

    assert QUESTION in file.read_text()
    assert "canary" not in file.read_text()


async def test_a_file_does_not_grow_beyond_its_bound(tmp_path):
    """It is put aside, once; both parts can be read alone."""
    file = tmp_path / "decisions.jsonl"
    async with stage("mixlayer") as on:
        on.router._recorder = DecisionRecorder(file, largest=6000)
        for _ in range(12):
            await on.ask()
    parts = [file, tmp_path / "decisions.jsonl.1"]

    assert sorted(parts) == sorted(tmp_path.iterdir())
    for part in parts:
        assert part.stat().st_size <= 6000
        with part.open() as lines:
            found = [*read(lines)]
        assert found
        assert all(one.written is not None for one in found)


async def test_a_disk_that_says_no_hurts_nobody(tmp_path, caplog):
    """It is said once, and nothing is recorded any more."""
    async with stage("mixlayer") as on:
        on.router._recorder = DecisionRecorder(tmp_path / "nowhere" / "decisions.jsonl")
        heard = [await on.ask() for _ in range(3)]

    assert [None] * 3 == [one.error for one in heard]
    assert 1 == sum("not recorded any more" in line.message for line in caplog.records)


def test_a_torn_last_line_is_left_out():
    """A process may die while it writes; what stands before is good. In the middle it is no record."""
    text = record(config_of(("alpha",)), {"alpha": "up"}, seconds=4.0)
    whole = len(recorded(text))
    lines = text.splitlines(keepends=True)

    assert whole - 1 == len(recorded("".join([*lines[:-1], lines[-1][:40]])))
    with pytest.raises(ForeignRecord, match="is not JSON") as caught:
        recorded("".join([*lines[:-2], lines[-2][:40] + "\n", lines[-1]]))
    assert len(lines) - 1 == caught.value.line


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("hello", "is not JSON"),
        ("[1, 2]", "is no record of decisions"),
        ('{"kind": "decisions"}', "is no record of decisions"),
        (
            '{"format": "provider-router decisions", "version": 99, "kind": "decisions"}',
            "version 99; this router reads version 1",
        ),
    ],
)
def test_what_is_no_record_is_refused(line, says):
    """With the line, and in words."""
    with pytest.raises(ForeignRecord, match=says):
        recorded(line + "\n")


async def test_without_a_recorder_nothing_is_kept():
    """A request is watched by nobody, and its plan goes by the loop's own clock."""
    async with stage("mixlayer") as on, Router(on.router.config) as router:
        run = router._run(Request.of(REQUEST), streaming=False)

        assert None is run.watch
        assert run.plan._setting is router._setting


def test_a_pool_is_kept_by_its_labels():
    """And a rest of a key that is not there any more is nobody's."""
    pool = KeyPool(
        (Key("a", Secret("secret-a")), Key("b", Secret("secret-b"))), turn=1, rests={"b": Rest(9.0, "x", dead=True)}
    )
    said = json.loads(json.dumps(pool.snapshot()))
    again, other = KeyPool(pool.keys), KeyPool((Key("c", Secret("secret-c")),))
    again.restore(said)
    other.restore(said)

    assert "secret" not in json.dumps(said)
    assert (pool.turn, pool.rests) == (again.turn, again.rests)
    assert (0, {}) == (other.turn, other.rests)
