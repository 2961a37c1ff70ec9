"""Fault matrix 2.D: bodies that are not streams."""

from __future__ import annotations

import json
import time
import tracemalloc
import zlib
from typing import Any

import pytest

from router.errors import BadRequest, DeadlineExceeded, ProviderTimeout
from tests.matrix.raw import (
    CHUNKED,
    OK,
    PRICE,
    TEXT,
    answers,
    chunk,
    forever,
    longest_stall,
    says,
    scene,
    sized,
    to_b,
    usage,
    whole,
)

BODY = whole("FAILED")
both = pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
endings = pytest.mark.parametrize("ending", ["close", "reset"])


def json_200(body: str | bytes) -> bytes:
    return sized(body if isinstance(body, bytes) else body.encode())


@both
@endings
async def test_d1_broken_inside_a_sized_body(ending, streaming):
    """Less came than the length had promised."""
    await to_b(says(sized(BODY[:-9], more=9), ending=ending), "TruncatedReply", streaming=streaming)


@both
@endings
async def test_d2_broken_inside_a_chunked_body(ending, streaming):
    """The last chunk never came; even where all of the JSON had."""
    for body in (BODY[:-9], BODY):
        await to_b(says(CHUNKED + chunk(body), ending=ending), "TruncatedReply", streaming=streaming)


@both
async def test_d3_a_truncated_body_that_ends_with_its_connection(streaming):
    """HTTP/1.0: nothing but the JSON shows it."""
    raw = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + BODY[:-9]
    await to_b(says(raw), "MalformedReply", streaming=streaming)


@pytest.mark.virtual
@both
async def test_d4_a_body_that_stalls(streaming):
    """The idle limit ends it."""
    times = {"connect": "1s", "headers": "2s", "first_token": "80ms", "idle": "80ms"}
    script = says(sized(BODY[:9], more=500), ending="hang")
    found = await to_b(script, "ProviderTimeout", streaming=streaming, timeouts=times)

    assert 0.07 <= found.failed.duration < 0.3


@pytest.mark.virtual
async def test_d5_a_trickle_leaves_time_for_the_next():
    """A byte now and then keeps an idle limit content; half of the deadline is all that it gets while B can be asked."""
    script = forever(b" ", sized(b"", more=100_000), pause=0.01)
    found = await to_b(script, "ProviderTimeout", deadline="300ms", timeouts={"idle": "100ms"})

    assert 0.14 <= found.failed.duration < 0.25


@pytest.mark.virtual
async def test_d5_a_trickle_with_nobody_else_ends_with_the_deadline():
    """And is then what it is: a `DeadlineExceeded`."""
    async with scene(forever(b" ", sized(b"", more=100_000), pause=0.01), policy={"deadline": "200ms"}) as on:
        heard = await on.ask()

        assert isinstance(heard.error, DeadlineExceeded)
        assert isinstance(heard.error.attempts[0].error, ProviderTimeout)
        assert heard.seconds < 0.45


@pytest.mark.virtual
async def test_d5_a_trickle_makes_no_progress():
    """In virtual time: less than 1 KiB in 30 s is a failure long before the deadline."""
    times = {"connect": "60s", "headers": "60s", "first_token": "60s", "idle": "60s"}
    async with scene(
        forever(b" ", sized(b"", more=100_000), pause=0.2), policy={"deadline": "120s", "timeouts": times}
    ) as on:
        heard = await on.ask()

        assert 200 == heard.error.attempts[0].status
        assert heard.error.attempts[0].duration < 50


@both
async def test_d6_a_page_of_html(streaming):
    """A `ProtocolViolation` here (the project has no `UnexpectedContentType`), with no more of the page than is bearable."""
    page = b"<html>\n<script>\x1b[31m" + b"evil " * 100_000 + b"</html>"
    raw = sized(page, head=b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n")
    found = await to_b(says(raw), "ProtocolViolation", streaming=streaming)

    assert found.failed.why.isprintable()
    assert len(found.failed.why) < 1000
    assert len(getattr(found.failed.error, "body", "")) <= 2000


@both
@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        ({"code": 429, "message": "slow down"}, "RateLimited"),
        ({"code": 502, "message": "Provider returned error"}, "ServerError"),
        ({"code": "503", "message": "overloaded"}, "Overloaded"),
        ({"status": 401, "message": "no"}, "AuthenticationFailed"),
        ({"code": 402, "message": "no credit"}, "OutOfCredit"),
        ({"code": "context_length_exceeded", "message": "too long"}, "ContextLengthExceeded"),
        ({"message": "something"}, "ServerError"),
        ("something", "ServerError"),
    ],
    ids=str,
)
async def test_d7_an_error_inside_200(error, outcome, streaming):
    """Exactly as if it had come with the status that it names."""
    found = await to_b(says(json_200(json.dumps({"error": error}))), outcome, streaming=streaming)

    assert (found.failed.status or 0) >= 400


@both
async def test_d7_a_callers_error_inside_200(streaming):
    """Is raised as itself, and nobody else is asked."""
    raw = json_200('{"error": {"code": 400, "message": "bad temperature"}}')
    async with scene(says(raw), answers()) as on:
        heard = await on.ask(streaming=streaming)

        assert (BadRequest, 400) == (type(heard.error), heard.error.status)
        assert [1, 0] == on.counts


@both
@pytest.mark.parametrize("body", [b"", b" \r\n "], ids=["empty", "blank"])
async def test_d8_an_empty_body(body, streaming):
    """An `EmptyReply`."""
    await to_b(says(json_200(body)), "EmptyReply", streaming=streaming)


@both
async def test_d9_204(streaming):
    """A success without anything is none."""
    await to_b(says(b"HTTP/1.1 204 No Content\r\n\r\n"), "EmptyReply", streaming=streaming)


@both
async def test_d10_invalid_utf_8(streaming):
    """Not JSON."""
    await to_b(says(json_200(whole("X").replace(b"X", b"\xff\xfe"))), "MalformedReply", streaming=streaming)


@both
@pytest.mark.parametrize("body", ["[]", '"x"', "null", "42", "true", "[[]]"])
async def test_d11_valid_json_of_the_wrong_type(body, streaming):
    """An object was expected."""
    await to_b(says(json_200(body)), "MalformedReply", streaming=streaming)


@both
@pytest.mark.parametrize(
    "body", [b'{"choices": []}', b"{}", whole(None), whole(""), b'{"choices": [{"index": 0, "finish_reason": "stop"}]}']
)
async def test_d12_nothing_said(body, streaming):
    """To B. The project has no `empty=True` to choose instead: an empty success is a failure."""
    await to_b(says(json_200(body)), "EmptyReply", streaming=streaming)


@both
@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", '"\\ud800"', '"a\\udfffb"'])
async def test_d13_values_that_are_no_json(value, streaming):
    """NaN, infinities and lone surrogates are refused: what is delivered can always be encoded."""
    await to_b(says(json_200(whole("X").replace(b'"X"', value.encode()))), "MalformedReply", streaming=streaming)


async def test_d13_duplicate_keys():
    """The last one counts, as with every JSON parser that does not refuse them."""
    async with scene(says(json_200(b'{"choices": [], ' + whole()[1:]))) as on:
        heard = await on.ask()

        assert (None, TEXT) == (heard.error, heard.content)
        assert heard.content.encode()


@both
@pytest.mark.parametrize("opening", ["[", '{"a":', '{"choices":['])
async def test_d14_nesting(opening, streaming):
    """100 000 deep: no RecursionError, and soon."""
    script = says(json_200(opening * 100_000))
    found = [await to_b(script, "MalformedReply", streaming=streaming) for _ in range(3)]

    assert min(one.failed.duration for one in found) < 0.1


@both
@pytest.mark.parametrize("place", ["index", "usage"])
async def test_d15_an_integer_of_5000_digits(place, streaming):
    """A `MalformedReply` where it matters; a count of tokens that cannot be is not counted."""
    number = b"9" * 5000
    if place == "index":
        await to_b(
            says(json_200(BODY.replace(b'"index": 0', b'"index": ' + number))), "MalformedReply", streaming=streaming
        )
        return
    async with scene(says(json_200(whole(usage=usage(7, 0)).replace(b": 0}", b": " + number + b"}"))), answers()) as on:
        heard = await on.ask(streaming=streaming)

        assert None is heard.error
        assert (TEXT, True) == (heard.content, heard.answer.usage.estimated)
        assert heard.answer.usage.completion_tokens < 100


def bomb(mebibytes: int) -> bytes:
    """So many MiB of blanks in gzip: after a full flush the same block can be said again and again."""
    packer, blank = zlib.compressobj(9, zlib.DEFLATED, 31), b" " * 2**20
    first, again = (packer.compress(blank) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + again * (mebibytes - 1)


@both
async def test_d16_a_gzip_bomb(streaming):
    """512 MiB from half a MiB: it stops at 64, soon, and holds no more than twice that."""
    raw = sized(bomb(512), head=OK + b"Content-Encoding: gzip\r\n")
    tracemalloc.start()
    began = time.process_time()
    try:
        await to_b(says(raw, ending="hang"), "MalformedReply", streaming=streaming, within=9.0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 2 * 64 * 2**20
    assert time.process_time() - began < 1.0


@both
@pytest.mark.parametrize("later", [False, True])
async def test_d17_gzip_that_is_none(later, streaming, monkeypatch):
    """A label, and plain JSON behind it."""
    monkeypatch.setattr("providers.client.LOOK", 0.03)
    head = OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    script = says(*([head, BODY] if later else [head + BODY]), pause=0.01)
    await to_b(script, ("TruncatedReply", "ProtocolViolation", "MalformedReply"), streaming=streaming)


async def test_d18_an_error_body_of_114_mb():
    """64 KiB of it are read, the connection is closed, and the loop is never held up."""
    stalls: list[float] = []
    head = b"HTTP/1.1 500 No\r\nContent-Type: application/json\r\nContent-Length: 114000000\r\n\r\n"
    while len(stalls) < 10 and not any(
        stall < 0.02 for stall in stalls
    ):  # another process may hold us up, but not always
        found, stall = await longest_stall(to_b(forever(b"x" * 16384, head), "ServerError"))
        stalls.append(stall)

        assert 500 == found.failed.status
        assert len(found.failed.error.body) <= 64 * 1024
        assert abs(found.on.a.left[0] - found.on.b.at[0]) < 0.1

    assert min(stalls) < 0.02


@both
@pytest.mark.parametrize("reported", [None, {}, []])
async def test_d19_usage_is_missing(reported, streaming):
    """The cost is an estimate: never zero, never an error."""
    body = whole() if reported is None else whole(usage=reported)
    async with scene(says(json_200(body)), rows={"price": PRICE}) as on:
        heard = await on.ask(streaming=streaming)

        assert None is heard.error
        assert heard.answer.usage.estimated
        assert "estimated" == heard.answer.cost.source
        assert heard.answer.cost.usd > 0


@both
@pytest.mark.parametrize("value", [-5, 1e30, "12", True, [1], {"a": 1}, 12.5, -0.5], ids=str)
async def test_d20_usage_that_cannot_be(value, streaming):
    """It is ignored and counted by us instead (the project keeps no counter of it; `estimated` shows it)."""
    body = whole(usage={"prompt_tokens": value, "completion_tokens": value, "total_tokens": value})
    async with scene(says(json_200(body)), rows={"price": PRICE}) as on:
        heard = await on.ask(streaming=streaming)

        assert None is heard.error
        found = heard.answer.usage
        assert all(0 <= count < 10_000 for count in (found.prompt_tokens, found.completion_tokens, found.total_tokens))
        assert (value != 12.5) == found.estimated
        assert 0 < heard.answer.cost.usd < 1


@both
async def test_d20_a_cost_that_cannot_be(streaming):
    """Never negative, whatever the provider reports."""
    costs: list[Any] = [-1, "NaN", "-3", 1e9, [], True]
    for cost in costs:
        async with scene(says(json_200(whole(usage={**usage(), "cost": cost}))), rows={"price": PRICE}) as on:
            heard = await on.ask(streaming=streaming)

            assert None is heard.error
            assert "estimated" == heard.answer.cost.source
            assert heard.answer.cost.usd == pytest.approx(23e-6)


@both
async def test_d21_another_model_answers(streaming):
    """It is delivered, and `model` is the one that served; the deployment is the one that was asked."""
    async with scene(says(json_200(whole(model="somebody-else")))) as on:
        heard = await on.ask(streaming=streaming)

        assert (None, TEXT) == (heard.error, heard.content)
        assert ("somebody-else", "a/m") == (heard.answer.model, heard.answer.deployment)


@both
@pytest.mark.parametrize("label", [b"Content-Type: text/plain\r\n", b"", b"Content-Type: application/octet-stream\r\n"])
async def test_d22_json_under_another_label(label, streaming):
    """Accepted by its looks."""
    async with scene(says(sized(whole(), head=b"HTTP/1.1 200 OK\r\n" + label))) as on:
        heard = await on.ask(streaming=streaming)

        assert (None, TEXT) == (heard.error, heard.content)
