"""What is asked in a simulation: one request in many lengths, and when each comes.

Knows a sample of lengths that is the same for every seed, so that a small simulation is not the victim of one long
prompt, and translations made once for each of them. Refuses to know routes and routers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp
from random import Random
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from providers.errors import Untranslatable
from providers.types import Request
from router import estimate

if TYPE_CHECKING:
    from router.lab.simulation.assumptions import Traffic

LENGTHS = 256  # of prompt and answer: the longest stands for one request in 256
SHUFFLE = 7  # seed of who has which answer: a long prompt need not have a long one
CHARACTERS = 4  # of English to a token, as `router.estimate` counts


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: the tokens of its *prompt*, as the router estimates them, and of its *answer*."""

    request: Request
    prompt: int
    answer: int


def sample(wanted: Request | str, traffic: Traffic) -> tuple[Asked, ...]:
    """The request *wanted* (or a question to the route of that name) with every length of answer (and of prompt)."""
    answers = _lengths(traffic.answer_tokens, traffic.answer_spread)
    Random(SHUFFLE).shuffle(answers)
    if isinstance(wanted, str):
        prompts = _lengths(traffic.prompt_tokens, traffic.prompt_spread)
        requests = [_question(wanted, tokens) for tokens in prompts]
    else:
        requests = [wanted.model_copy() for _ in answers]  # each its own: the translation of each is remembered
    return tuple(
        Asked(request, estimate.prompt_tokens(request), min(answer, request.max_tokens or answer))
        for request, answer in zip(requests, answers, strict=True)
    )


def _lengths(median: float, spread: float) -> list[int]:
    normal = NormalDist()
    return [max(round(median * exp(spread * normal.inv_cdf((place + 0.5) / LENGTHS))), 1) for place in range(LENGTHS)]


def _question(model: str, tokens: int) -> Request:
    characters = max((tokens - estimate.PER_MESSAGE) * CHARACTERS - 1, 1)
    text = ("Why is the sky blue? " * (characters // 21 + 1))[:characters]
    return Request.of({"model": model, "messages": [{"role": "user", "content": text}]})


def arrivals(rate: float, seconds: float, traffic: Traffic, rng: Random) -> Iterator[float]:
    """When requests come: *rate* a second for so many *seconds*, by chance or evenly."""
    even = traffic.arrivals == "even"
    at = 0.5 / rate if even else rng.expovariate(rate)
    while at < seconds:
        yield at
        at += 1 / rate if even else rng.expovariate(rate)


class Remembered:
    """Translations, each made once for a request of the sample and an endpoint: what a real router does every time.

    Only the translation is remembered, not what is decided with it. Others are made as they come (sampling that a route
    recommends is asked for anew with every request, and is remembered by the request that it began with).
    """

    def __init__(self, translate: Any, sample: tuple[Asked, ...]) -> None:
        self._translate = translate
        self._known = {id(asked.request): asked for asked in sample}
        self._made: dict[tuple[int, bool], tuple[Any, dict[int, Any]]] = {}  # an endpoint, and its calls by request

    def __call__(
        self, request: Request, endpoint: Any, *, sampling: Any, advice: Any, streaming: bool, key: str
    ) -> Any:
        """The call that says *request* to *endpoint*.

        Raises:
            Untranslatable: as the translation does.
        """
        name = (id(endpoint), streaming)
        _, calls = self._made.get(name) or self._made.setdefault(name, (endpoint, {}))  # kept: its id stays its own
        call = calls.get(id(request))
        if call is None:
            try:
                call = self._translate(
                    request, endpoint, sampling=sampling, advice=advice, streaming=streaming, key=key
                )
            except Untranslatable as error:
                call = error
            if id(request) in self._known:
                calls[id(request)] = call
        if call.__class__ is Untranslatable:
            raise call
        return call
