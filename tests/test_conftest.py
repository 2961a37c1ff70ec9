"""`async def` tests run, with fixtures and parameters, and one that leaves a task behind fails and names it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

pytest_plugins = ["pytester"]


async def test_it_runs_in_a_loop():
    """Time passes, and nothing is left."""
    assert "done" == await asyncio.sleep(0, result="done")


@pytest.mark.parametrize("word", ["one", "two"])
async def test_fixtures_and_parameters_arrive(word, tmp_path):
    """A test's arguments are those of any other test."""
    (tmp_path / word).touch()

    assert [word] == [path.name for path in tmp_path.iterdir()]


async def test_a_task_cancelled_with_the_last_breath_is_no_task_left_behind():
    """Whoever cancels need not wait: a task that obeys is no leak."""
    task = asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)

    assert task.cancel()


async def test_a_session_left_in_the_middle_of_a_stream_is_no_task_left_behind():
    """What aiohttp has running at both ends it cancels, and that counts as the end of it."""

    async def endless(request):
        stream = web.StreamResponse()
        await stream.prepare(request)
        while True:
            await stream.write(b"data: {}\n\n")
            await asyncio.sleep(0.001)

    app = web.Application()
    app.router.add_post("/", endless)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        async with aiohttp.ClientSession() as session, session.post(address, data=b"x" * 2**20) as reply:
            line = await reply.content.readline()
    finally:
        await runner.cleanup()

    assert b"data: {}\n" == line


FAILING = """
import asyncio, contextlib, pytest

async def test_a_task_left_running():
    global running
    running = asyncio.create_task(asyncio.sleep(60), name="the-forgotten")

async def stubborn():
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(60)
    await asyncio.sleep(60)

async def test_a_task_that_does_not_obey():
    global disobedient
    disobedient = asyncio.create_task(stubborn(), name="the-stubborn")
    await asyncio.sleep(0)
    disobedient.cancel()

async def test_a_failing_assertion():
    global beside
    beside = asyncio.create_task(asyncio.sleep(60))
    assert 1 == 2

@pytest.fixture
async def late():
    return 1

async def test_an_async_fixture(late):
    pass
"""


def test_what_goes_wrong_is_reported(pytester):
    """A task left, a task that ignores its cancellation, a failing assertion, an async fixture: each fails its test."""
    pytester.makeconftest((Path(__file__).parent / "conftest.py").read_text())
    pytester.makepyfile(FAILING)

    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:hypothesispytest", timeout=60)

    result.assert_outcomes(failed=3, errors=1)
    result.stdout.fnmatch_lines_random(
        [
            "*_ test_a_task_left_running _*",
            "  the-forgotten: sleep",
            "*_ test_a_task_that_does_not_obey _*",
            "  the-stubborn: stubborn",
            "*_ test_a_failing_assertion _*",
            "*assert 1 == 2",
            "*requested an async fixture 'late'*",
        ]
    )
