"""Fault matrix 2.C: rubbish in headers and framing. Never a `BadRequest`, always the next one's to serve."""

from __future__ import annotations

import asyncio
import importlib.util

import pytest

from tests.matrix.raw import (
    CHUNKED,
    END,
    OK,
    SSE,
    TEXT,
    answers,
    chunk,
    delta,
    says,
    scene,
    serve,
    sized,
    to_b,
    whole,
)

both = pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch):
    """A connection that broke without a word is seen when it is looked at, once a second; here more often."""
    monkeypatch.setattr("providers.client.LOOK", 0.03)


BODY = whole("FORGED")
BROKEN = ("ProtocolViolation", "TruncatedReply")  # the two that blame the provider's framing


@both
async def test_c1_a_garbage_status_line(streaming):
    """An SSH server on the port."""
    await to_b(says(b"SSH-2.0-OpenSSH_9.6\r\n"), "ProtocolViolation", streaming=streaming)


@both
@pytest.mark.parametrize(
    "raw", [b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64", b"\x15\x03\x03\x00\x02\x02\x28"],
    ids=["http/2", "tls alert"],
)  # fmt: skip
async def test_c2_http2_preface_or_tls_alert(raw, streaming):
    """Another protocol."""
    await to_b(says(raw), "ProtocolViolation", streaming=streaming)


@both
async def test_c3_reset_in_the_middle_of_headers(streaming):
    """Nothing has come that could be used."""
    await to_b(says(OK, ending="reset"), "ConnectionFailed", streaming=streaming)


@both
@pytest.mark.parametrize(
    "headers", [b"X-Long: " + b"a" * 20_000 + b"\r\n", b"".join(b"X-%d: 1\r\n" % n for n in range(500))],
    ids=["20000 bytes", "500 headers"],
)  # fmt: skip
async def test_c4_headers_beyond_measure(headers, streaming):
    """One that is too long, and too many."""
    await to_b(says(sized(BODY, head=OK + headers)), "ProtocolViolation", streaming=streaming)


@both
async def test_c5_length_and_chunks_together(streaming):
    """How request smuggling begins."""
    raw = OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(BODY) + END
    await to_b(says(raw), "ProtocolViolation", streaming=streaming)


@both
async def test_c6_two_different_lengths(streaming):
    """Neither is believed."""
    raw = OK + b"Content-Length: %d\r\nContent-Length: 3\r\n\r\n" % len(BODY) + BODY
    await to_b(says(raw), "ProtocolViolation", streaming=streaming)


@both
@pytest.mark.parametrize("size", [b"ZZZ", b"-1", b"f" * 40], ids=["letters", "negative", "overflow"])
@pytest.mark.parametrize("place", ["at once", "later"])
async def test_c7_a_bad_chunk_size(size, place, streaming):
    """With the headers, or after a first piece."""
    rubbish = size + b"\r\n" + BODY
    pieces = [CHUNKED + rubbish] if place == "at once" else [CHUNKED + chunk(BODY[:9]), rubbish]
    await to_b(says(*pieces, pause=0.01), (*BROKEN, "MalformedReply"), streaming=streaming, within=1.5)


@both
@pytest.mark.parametrize("place", ["at once", "later"])
async def test_c8_a_garbage_trailer(place, streaming):
    """The body is whole and what follows it is no trailer: it is not believed."""
    trailer = b"0\r\n\x01bad\r\n\r\n"
    pieces = [CHUNKED + chunk(BODY) + trailer] if place == "at once" else [CHUNKED + chunk(BODY), trailer]
    await to_b(says(*pieces, pause=0.01), BROKEN, streaming=streaming, within=1.5)


@both
async def test_c9_an_encoding_that_we_cannot_read(streaming):
    """To B; and we ask for nothing that we cannot read."""
    raw = sized(b"\x0b\x02\x80{}\x03", head=OK + b"Content-Encoding: br\r\n")
    have_brotli = any(map(importlib.util.find_spec, ("brotli", "brotlicffi")))
    found = await to_b(says(raw), (*BROKEN, "MalformedReply") if have_brotli else BROKEN, streaming=streaming)

    asked = next(line for line in found.on.a.heads[0].lower().split("\r\n") if line.startswith("accept-encoding:"))
    assert {"gzip", "deflate"} <= {word.strip() for word in asked.partition(":")[2].split(",")}
    assert have_brotli == ("br" in asked.partition(":")[2].replace(" ", "").split(","))


@pytest.mark.parametrize("pause", [0.0, 0.01], ids=["at once", "later"])
async def test_c10_a_second_response_behind_the_first(pause):
    """It is delivered to nobody, whether it comes with the first one or while the connection rests."""
    first, stuffed = sized(whole(TEXT)), sized(BODY)
    pieces = [first + stuffed] if not pause else [first, stuffed]
    async with scene([says(*pieces, pause=pause, ending="keep"), answers()], answers("B")) as on:
        heard = []
        for _ in range(3):
            heard.append(await on.ask())
            await asyncio.sleep(0.03)

        assert [None] * 3 == [one.error for one in heard]
        assert {TEXT, "B"} >= {one.content for one in heard}
        assert 2 <= on.a.connections, "the connection was not closed"
        await on.at_rest()


@both
@pytest.mark.parametrize("value", [b"a\x00b", b"a\x01b", b"a\x7fb"], ids=["NUL", "SOH", "DEL"])
async def test_c11_control_bytes_in_a_header(value, streaming):
    """To B for a NUL; the others a recipient may keep (RFC 9110, 5.5), so they make a plain answer with an odd header."""
    script = says(sized(BODY, head=OK + b"X-Odd: " + value + b"\r\n"))
    if value != b"a\x00b":
        async with scene(script, answers()) as on:
            heard = await on.ask(streaming=streaming)

            assert None is heard.error
            assert ["success"] == on.outcomes
        return
    await to_b(script, "ProtocolViolation", streaming=streaming)


@both
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_c12_a_redirect_elsewhere(code, streaming):
    """Not followed: the other host gets no connection, so neither key nor prompt.

    The project has no `UpstreamRedirect`: it is a `ProtocolViolation` that says so, and names nothing of the Location.
    """
    async with serve(answers("FORGED")) as other:
        place = f"{other.base_url}/steal?token=s3cret".encode()
        raw = b"HTTP/1.1 %d Moved\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (code, place)
        found = await to_b(says(raw), "ProtocolViolation", streaming=streaming)

        assert (0, []) == (other.connections, other.heads)
    assert code == found.failed.status
    assert "redirect" in found.failed.why
    assert "s3cret" not in found.failed.why + repr(found.on.events)


async def test_c13_http_1_0_with_a_close():
    """A plain success."""
    async with scene(says(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + whole())) as on:
        heard = await on.ask()

        assert None is heard.error
        assert TEXT == heard.content
        await on.at_rest()


@both
async def test_c14_connection_close_every_time(streaming):
    """It works, and each request has its own connection."""
    if streaming:
        stream = SSE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        raw = stream + chunk(delta(TEXT)) + chunk(delta(finish="stop")) + chunk(b"data: [DONE]\n\n") + END
    else:
        raw = sized(whole(), head=OK + b"Connection: close\r\n")
    async with scene(says(raw)) as on:
        heard = [await on.ask(streaming=streaming) for _ in range(5)]

        assert [(None, TEXT)] * 5 == [(one.error, one.content) for one in heard]
        assert (5, [5]) == (on.a.connections, on.counts)
        await on.at_rest()
