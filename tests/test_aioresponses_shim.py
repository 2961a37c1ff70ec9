"""aioresponses answers for the aiohttp that is installed; `tests/conftest.py` mends what it needs for that.

When aioresponses has learned it by itself, `test_the_mending_is_still_needed` fails: delete the shim and this file.
"""

from __future__ import annotations

import json

import aiohttp
import pytest
from aioresponses import aioresponses
from aioresponses.compat import stream_reader_factory
from aioresponses.core import RequestMatch
from yarl import URL

ADDRESS = "https://provider.test/v1/chat/completions"


async def test_a_json_body():
    """A JSON answer arrives with its status, its type and its content, and the request is on record."""
    with aioresponses() as provider:
        provider.post(ADDRESS, status=429, payload={"error": {"code": "slow_down"}}, headers={"Retry-After": "2"})

        async with aiohttp.ClientSession() as session, session.post(ADDRESS, json={"model": "m"}) as reply:
            body = await reply.json()

    assert {"error": {"code": "slow_down"}} == body
    assert (429, "application/json", "2") == (reply.status, reply.content_type, reply.headers["Retry-After"])
    assert {"model": "m"} == provider.requests["POST", URL(ADDRESS)][0].kwargs["json"]


@pytest.mark.parametrize("size", [0, 1, 2**16, 2**17 + 1, 2**22])
async def test_a_body_of_any_size(size):
    """A body beyond the buffer's limit arrives too, read at once or in pieces."""
    with aioresponses() as provider:
        provider.get(ADDRESS, body=b"x" * size, repeat=True)

        async with aiohttp.ClientSession() as session:
            async with session.get(ADDRESS) as reply:
                at_once = await reply.read()
            async with session.get(ADDRESS) as reply:
                in_pieces = b"".join([piece async for piece in reply.content.iter_any()])

    assert b"x" * size == at_once
    assert b"x" * size == in_pieces


async def test_an_exception_in_place_of_an_answer():
    """A connection that fails is a connection that fails."""
    with aioresponses() as provider:
        provider.get(ADDRESS, exception=aiohttp.ClientConnectionError("refused"))

        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectionError, match="refused"):
                await session.get(ADDRESS)


async def test_an_event_stream():
    """The lines of a stream can be read one by one."""
    events = [{"n": 1}, {"n": 2}]
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    with aioresponses() as provider:
        provider.get(ADDRESS, body=body, content_type="text/event-stream")

        async with aiohttp.ClientSession() as session, session.get(ADDRESS) as reply:
            lines = [line.strip() async for line in reply.content if line.strip()]

    assert [f"data: {json.dumps(event)}".encode() for event in events] == lines


async def test_the_mending_is_still_needed():
    """Without it, no answer can be built, and none beyond 128 KiB can be read."""
    with pytest.raises(TypeError, match="stream_writer"):
        RequestMatch(ADDRESS)._build_response(URL(ADDRESS), response_class=aiohttp.ClientResponse)
    with pytest.raises(AssertionError):
        stream_reader_factory(None).feed_data(b"x" * (2**17 + 1))
