"""Hedging: a second call, elsewhere, while the first one is silent. Over the whole pipeline, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.errors import BadRequest, ServerError
from router import Router
from router.config import Hedge
from router.errors import DeploymentsExhausted, RouterError
from router.events import AttemptEnded, Event, RequestEnded
from router.hedge import KNOWN, Hedges
from router.lab.virtual import (
    Conduct,
    Script,
    VirtualProvider,
    VirtualTransports,
    always,
    run_virtually,
    windows,
)
from router.race import race

QUICK = Conduct(latency=0.1, spread=0.0)
SLOW = Conduct(latency=20.0, spread=0.0)
ASKED = {"model": "chat", "messages": [{"role": "user", "content": "17 * 23?"}], "max_tokens": 100}
NAMES = ("alpha", "beta", "gamma")


class Stage:
    """A router over virtual providers that behave as *scripts* say, and what it told its hooks."""

    def __init__(self, scripts: Sequence[Script | Conduct], hedge: Mapping[str, Any] | None, **policy: Any) -> None:
        self.events: list[Event] = []
        names = NAMES[: len(scripts)]
        written = {
            "providers": {name: {"base_url": f"http://{name}.test/v1", "api_key": f"key-{name}"} for name in names},
            "models": {
                f"m-{name}": {"deployments": [{"provider": name, "model": "m", "price": {"input": 1, "output": 1}}]}
                for name in names
            },
            "routes": {"chat": {"deployments": [f"{name}/m-{name}" for name in names], "policy": "own"}},
            "policies": {"own": {"on_interruption": "error", **({"hedge": hedge} if hedge else {}), **policy}},
        }
        providers = [
            VirtualProvider(name, always(script) if isinstance(script, Conduct) else script, Random(name))
            for name, script in zip(names, scripts, strict=True)
        ]
        self.transports = VirtualTransports(*providers)
        self.router = Router.open(
            written, environ={}, hooks=[self.events.append], rng=Random(5), transports=self.transports
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.router.close()
        assert all(transport.under_way == 0 for transport in self.transports.values())
        assert all(self.router.health.load(f"{name}/m-{name}") == 0 for name in NAMES)

    @property
    def asked(self) -> list[int]:
        return [len(transport.provider.began) for transport in self.transports.values()]

    async def ask(self, *, streaming: bool = False) -> Any:
        """The answer, as the caller has it in the end."""
        if not streaming:
            return await self.router.complete(ASKED)
        chunks = [chunk async for chunk in self.router.stream(ASKED)]
        answer = chunks[-1].completion
        assert answer is not None
        assert "".join(chunk.content or "" for chunk in chunks) == answer.content
        return answer


ALWAYS = {"after": "2s", "budget": "100%"}
both = pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])


def told(attempts: Sequence[Any]) -> list[tuple[str, str]]:
    return [(one.deployment.partition("/")[0], one.outcome) for one in attempts]


@both
def test_the_second_call_wins_when_the_first_is_silent(streaming):
    """After two seconds, elsewhere; the first one is left, and both are on the bill."""

    async def main() -> None:
        async with Stage([SLOW, QUICK, QUICK], ALWAYS) as on:
            answer = await on.ask(streaming=streaming)

            assert 2.1 <= asyncio.get_running_loop().time() < 2.5
            assert [1, 1, 0] == on.asked
            assert "beta/m-beta" == answer.deployment
            assert [("alpha", "canceled"), ("beta", "success")] == told(answer.attempts)
            assert "estimated" == answer.attempts[0].cost.source
            assert answer.attempts[0].cost.usd > 0
            assert answer.cost.usd == pytest.approx(sum(one.cost.usd for one in answer.attempts))
            ended = [event for event in on.events if isinstance(event, AttemptEnded)]
            assert told(answer.attempts) == told([event.attempt for event in ended])
            assert ["success"] == [event.outcome for event in on.events if isinstance(event, RequestEnded)]

    run_virtually(main())


@both
def test_the_first_one_wins_when_it_speaks_before_the_second(streaming):
    """It was silent for long enough; then it was quicker all the same."""

    async def main() -> None:
        async with Stage([Conduct(latency=3.0, spread=0.0), SLOW], ALWAYS) as on:
            answer = await on.ask(streaming=streaming)

            assert [1, 1] == on.asked
            assert "alpha/m-alpha" == answer.deployment
            assert [("beta", "canceled"), ("alpha", "success")] == told(answer.attempts)

    run_virtually(main())


@both
def test_nobody_else_is_asked_while_the_first_one_is_quick(streaming):
    async def main() -> None:
        async with Stage([QUICK, QUICK], ALWAYS) as on:
            answers = [await on.ask(streaming=streaming) for _ in range(5)]

            assert [5, 0] == on.asked
            assert all([("alpha", "success")] == told(answer.attempts) for answer in answers)

    run_virtually(main())


@both
def test_a_failure_before_the_time_is_an_ordinary_failover(streaming):
    async def main() -> None:
        async with Stage([Conduct("status", latency=0.1, spread=0.0), QUICK], ALWAYS) as on:
            answer = await on.ask(streaming=streaming)

            assert [("alpha", "Overloaded"), ("beta", "success")] == told(answer.attempts)
            assert asyncio.get_running_loop().time() < 1

    run_virtually(main())


@both
def test_whoever_fails_leaves_it_to_the_other(streaming):
    """The first fails after the second was sent; and the other way round."""
    late = Conduct("status", latency=4.0, spread=0.0)

    async def main(first: Conduct, second: Conduct) -> list[tuple[str, str]]:
        async with Stage([first, second], ALWAYS) as on:
            return told((await on.ask(streaming=streaming)).attempts)

    slowly = Conduct(latency=5.0, spread=0.0)
    assert [("alpha", "Overloaded"), ("beta", "success")] == run_virtually(main(late, slowly))
    assert [("beta", "Overloaded"), ("alpha", "success")] == run_virtually(
        main(slowly, Conduct("status", latency=0.1, spread=0.0))
    )


@both
def test_when_both_fail_the_third_is_asked(streaming):
    async def main() -> None:
        late = Conduct("status", latency=4.0, spread=0.0)
        async with Stage([late, late, QUICK], ALWAYS) as on:
            answer = await on.ask(streaming=streaming)

            assert [("alpha", "Overloaded"), ("beta", "Overloaded"), ("gamma", "success")] == told(answer.attempts)

    run_virtually(main())


@both
def test_what_the_caller_did_wrong_ends_it_at_once(streaming):
    """The first says so after the second was sent: the second is left, and nobody else is asked."""

    async def main() -> None:
        async with Stage([Conduct("status", status=400, latency=3.0, spread=0.0), SLOW, QUICK], ALWAYS) as on:
            with pytest.raises(BadRequest):
                await on.ask(streaming=streaming)

            assert [1, 1, 0] == on.asked
            assert asyncio.get_running_loop().time() < 3.5

    run_virtually(main())


@both
@pytest.mark.parametrize("share", [0.05, 0.2])
def test_the_share_is_kept_and_has_no_floor(streaming, share):
    """Everybody is silent for long: of two hundred requests, the share has a second call, and none of the first ones."""

    async def main() -> None:
        async with Stage([Conduct(latency=3.0, spread=0.0), QUICK], {"after": "1s", "budget": share}) as on:
            answers = [await on.ask(streaming=streaming) for _ in range(200)]

            assert round(200 * share) == on.asked[1]
            hedged = [place for place, answer in enumerate(answers) if len(answer.attempts) > 1]
            assert hedged[0] + 1 == round(1 / share)

    run_virtually(main())


@both
def test_without_a_time_it_waits_for_the_observed_p95(streaming):
    """Nothing is known: no second call. Then it goes out when nineteen of twenty would have spoken, after a second at least."""
    script = windows(Conduct(latency=3.0, spread=0.3), (10_000.0, 20_000.0, Conduct("silent")))

    async def main() -> None:
        async with Stage([script, QUICK], {"budget": "100%"}) as on:
            for _ in range(KNOWN):
                await on.ask(streaming=streaming)
            before = on.asked[1]
            await asyncio.sleep(10_000 - asyncio.get_running_loop().time())
            began = asyncio.get_running_loop().time()
            answer = await on.ask(streaming=streaming)

            assert 0 == before
            assert "beta/m-beta" == answer.deployment
            assert 3.0 < asyncio.get_running_loop().time() - began < 8.0

    run_virtually(main())


def test_the_p95_is_never_less_than_a_second():
    hedges = Hedges()
    for _ in range(KNOWN):
        hedges.observed("a", 0.1, streaming=True)

    assert 1.0 == hedges.after(Hedge(), "a", streaming=True)
    assert None is hedges.after(Hedge(), "a", streaming=False)


def test_where_a_second_call_would_cost_too_much_there_is_none():
    async def main() -> None:
        async with Stage([Conduct(latency=3.0, spread=0.0), QUICK], ALWAYS, max_cost="$0.00015") as on:
            answer = await on.ask()

            assert [1, 0] == on.asked
            assert "alpha/m-alpha" == answer.deployment

    run_virtually(main())


@both
@pytest.mark.parametrize("at", [0.5, 2.05, 2.5])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_caller_who_leaves_leaves_nothing_behind(streaming, at, times):
    """Before the second call, as it goes out, and while both are under way; however often he says so."""

    async def main() -> None:
        async with Stage([SLOW, SLOW], ALWAYS) as on:
            task = asyncio.ensure_future(on.ask(streaming=streaming))
            await asyncio.sleep(at)
            for _ in range(times):
                task.cancel()
                await asyncio.sleep(0)
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0)

            ended = [event.attempt.outcome for event in on.events if isinstance(event, AttemptEnded)]
            assert ["canceled"] * (1 if at < 2 else 2) == ended
            assert 1 == len(asyncio.all_tasks())

    run_virtually(main())


def test_everybody_silent_ends_with_the_deadline():
    async def main() -> None:
        silent = Conduct("silent")
        async with Stage(
            [silent, silent], ALWAYS, deadline="10s", timeouts={"first_token": "4s", "headers": "4s"}
        ) as on:
            with pytest.raises(RouterError) as error:
                await on.ask(streaming=True)

            assert isinstance(error.value, DeploymentsExhausted) or "deadline" in str(error.value)
            assert asyncio.get_running_loop().time() <= 10.25

    run_virtually(main())


# -- the race alone ---------------------------------------------------------------------------------------------------


class Prize:
    """What an attempt gives: it counts how often it is given back."""

    def __init__(self, deployment: str) -> None:
        self.deployment, self.closed = deployment, 0

    def close(self) -> None:
        self.closed += 1


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0]),
    st.sampled_from([0.0, 1.0, 2.0]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, 0.5, 2.0, 2.5, 3.0]),
)
def test_one_wins_and_the_other_gives_everything_back(first, second, first_fails, second_fails, leaves):
    """Whoever is quicker, also in the same turn of the loop; whoever fails; and a caller who leaves at any time."""
    made: list[Prize] = []

    async def entrant(name: str, seconds: float, *, fails: bool) -> Prize:
        await asyncio.sleep(seconds)
        if fails:
            raise ServerError(name)
        made.append(prize := Prize(name))
        return prize

    async def main() -> Prize | Exception | None:
        running = asyncio.ensure_future(
            race(entrant("first", first, fails=first_fails), 2.0, lambda: entrant("second", second, fails=second_fails))
        )
        if leaves is not None:
            asyncio.get_running_loop().call_later(leaves, running.cancel)
        try:
            return await running
        except ServerError as error:
            return error
        except asyncio.CancelledError:
            return None
        finally:
            assert 1 == len(asyncio.all_tasks())

    came = run_virtually(main())
    kept = [prize for prize in made if prize.closed == 0]
    if isinstance(came, Prize):
        assert [came] == kept
    else:
        assert [] == kept
        assert isinstance(came, ServerError) <= first_fails
    assert all(prize.closed <= 1 for prize in made)
