"""How much an emulator remembers: everything in a test, the newest where it runs for weeks."""

from __future__ import annotations

import pytest

from router.cli.emulate import KEEP, _Watch
from router.cli.emulate import emulate as emulate_command
from router.lab import emulate
from router.lab.emulators import EMULATORS
from tests.lab.talk import ask, send, uuid


@pytest.mark.parametrize("name", EMULATORS)
async def test_only_the_newest_are_remembered(name):
    """Requests and invoices both, and how many there ever were is known."""
    async with emulate(name, keep=3) as emulator:
        for number in range(5):
            more = {"taskUUID": uuid(number)} if name == "runware" else {}
            await ask(emulator, messages=[{"role": "user", "content": f"question {number}"}], **more)

    assert (3, 5) == (len(emulator.requests), emulator.requests.total)
    assert (3, 5) == (len(emulator.invoices), emulator.invoices.total)
    said = [str(received.body) for received in emulator.requests]
    assert ["question 2", "question 3", "question 4"] == [
        next(text for text in (f"question {number}" for number in range(5)) if text in body) for body in said
    ]
    assert emulator.requests == [invoice.request for invoice in emulator.invoices]


async def test_a_forgotten_task_is_as_an_unknown_one():
    """Runware's answers are kept for polls: those of the newest tasks alone."""
    async with emulate("runware", keep=2) as emulator:
        for number in range(3):
            await ask(emulator, taskUUID=uuid(number), deliveryMethod="async")
        await send(emulator, [{"taskType": "getResponse", "taskUUID": uuid(2)}])
        polls = [await send(emulator, [{"taskType": "getResponse", "taskUUID": uuid(n)}]) for n in (0, 2)]

    assert [0, 1] == [len(poll.json["data"]) for poll in polls]


async def test_by_default_everything_is_remembered():
    """A test asserts on all that arrived."""
    async with emulate("mixlayer") as emulator:
        for _ in range(3):
            await ask(emulator)

    assert 3 == len(emulator.requests) == len(emulator.invoices)


def test_nothing_is_not_a_number_of_requests():
    """A list that keeps nothing would answer no question."""
    with pytest.raises(ValueError, match="at least 1"):
        EMULATORS["mixlayer"](keep=0)


def test_the_command_remembers_the_newest_only(monkeypatch):
    """`router emulate` may run for weeks: every emulator that it starts has a bound, the openai one too."""
    told: dict[str, dict[str, object]] = {}

    async def serve(wanted, *, as_json):
        told.update(wanted.shops)

    monkeypatch.setattr("router.cli.emulate._serve", serve)
    emulate_command.main(["mixlayer", "openai", "--json"], standalone_mode=False)

    assert {"mixlayer": KEEP, "openai": KEEP} == {name: shop["keep"] for name, shop in told.items()}
    assert 10_000 == KEEP  # as the help and docs/cli.md say


async def test_what_was_forgotten_before_it_could_be_shown_is_not_shown_and_nothing_is_shown_twice():
    """The narration follows the requests by their number, not by their place in the list."""
    async with emulate("mixlayer", keep=2) as emulator:
        watch = _Watch(emulator)
        await ask(emulator)
        first = watch.answered()
        for _ in range(3):
            await ask(emulator)
        rest, none = watch.answered(), watch.answered()

    assert [1, 2, 0] == [len(first), len(rest), len(none)]
