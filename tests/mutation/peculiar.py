"""The trials of what is peculiar to one deployment: its name on the wire, its price, its sizes, its own parameters."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from random import Random
from typing import Any

from router import Router
from router.config import Config
from router.lab import Answer, Fault
from tests.mutation.asking import BOTH, QUESTION, TEXT, THOUGHT, Ask, Trial, hear, is_off, trial_of
from tests.mutation.documents import ADVICE, M1, OWN, OWN_DEFAULT, SOLD, WORDS
from tests.mutation.stand import emulator
from tests.parameters.table import DEFAULTS, MODELS, Sent, flat

LOOK = {"type": "text", "text": "Look."}
PICTURE, FILM = "https://example.com/cat.png", "https://example.com/cat.mp4"
IMAGE = {"type": "image_url", "image_url": {"url": PICTURE}}
VIDEO = {"type": "video_url", "video_url": {"url": FILM}}


def silence(deployment: str) -> Iterator[Trial]:
    """Nothing asked is nothing sent, and what the provider does of itself is told."""
    ask = Ask(deployment, {})
    own = list(DEFAULTS[ask.provider])
    if deployment in OWN_DEFAULT:
        own = [change for change in own if change[0] != "reasoning_effort"]
        own.append(("reasoning_effort", "defaulted", OWN_DEFAULT[deployment]))
    injected = ("messages", "defaulted", "a system prompt of the provider's own")
    said = (TEXT, None if OWN_DEFAULT.get(deployment) == "off" else THOUGHT, "stop")
    for stream in BOTH:
        told = (*own, *((injected,) if ask.provider == "empiriolabs" else ()))
        yield trial_of("nothing asked: defaults always", replace(ask, stream=stream, defaulted=told, said=said))
    spoken = [{"role": "system", "content": "Be brief."}, *QUESTION]
    sent, turns = (
        (Sent({"settings.systemPrompt": "Be brief."}), QUESTION) if ask.provider == "runware" else (Sent(), None)
    )
    yield trial_of(
        "a system message: defaults",
        replace(ask, fields={"messages": spoken}, sent=sent, turns=turns, defaulted=tuple(own), said=said),
    )


def sold_as_documented(deployment: str) -> Iterator[Trial]:
    """Its name on the wire, its price, its sizes, what it reads, its own parameters, the makers' advice."""
    ask, sold = Ask(deployment, {}), SOLD[deployment]
    if deployment != MODELS[ask.provider]:
        yield from silence(deployment)
    yield _price(ask)
    off = OWN_DEFAULT.get(deployment) == "off"
    thinks = (TEXT, None if off else THOUGHT, "stop")
    for size in (sold.max_output or 10**6, 10**7):
        most = size if sold.max_output is None else min(size, sold.max_output)
        path = {"mixlayer": "max_completion_tokens", "runware": "settings.maxTokens"}.get(ask.provider, "max_tokens")
        changes = () if most == size else (("max_tokens", "clamped", most),)
        sent = Sent({path: most}, changes)
        asked = replace(ask, fields={"max_tokens": size}, sent=sent, said=thinks)
        unknown = ask.provider == "empiriolabs" and sold.max_output is None  # its emulator sells no unbounded output
        yield Trial(f"max_output: max_tokens={size}", deployment, _only_planned(asked) if unknown else asked.findings)
    if sold.context is not None:
        yield Trial("context", deployment, _room(deployment, sold.context))
    else:
        yield Trial("context", deployment, _room(deployment, None))
    for kind, part in (("images", IMAGE), ("videos", VIDEO)):
        yield trial_of(f"input: {kind}", _media(ask, kind, part, reads=kind[0] in sold.reads, said=thinks))
    for case in OWN.get(deployment, ()):
        for stream in BOTH:
            wire = case.sent[ask.provider].wire
            quiet = off and not wire.get("enable_thinking")
            said = (TEXT, None if quiet or is_off(wire) else THOUGHT, "stop")
            own = replace(ask, fields=case.fields, sent=case.sent[ask.provider], stream=stream, said=said)
            if wire.get("reasoning.max_tokens", 9) < 9 or wire.get("thinking_budget", 9) < 9:
                own = replace(own, answer=Answer(TEXT, "Hm."), said=(TEXT, "Hm" if "1" in case.name else "Hm.", "stop"))
            yield trial_of(case.name, own)
    if "qwen3.5-" in deployment and deployment.partition("/qwen3.5-")[2][:1].isdigit() and ask.provider != "aiml":
        yield from _advice(ask)


def _only_planned(ask: Ask) -> Callable[[Config], Awaitable[list[str]]]:
    async def run(config: Config) -> list[str]:
        (candidate,) = Router(config, rng=Random(0)).plan(ask.request).candidates
        wire = flat(json.loads(candidate.call.http.body))
        wire.pop("messages")
        changes = tuple((c.param, c.how, c.sent) for c in candidate.call.changes if c.how != "defaulted")
        return [] if (wire, changes) == (ask.wire, ask.sent.changes) else [f"{wire} and {changes}"]

    return run


def _price(ask: Ask) -> Trial:
    """A million tokens of each kind, at a provider that does not tell what they cost."""
    million = Answer(TEXT, THOUGHT, None or (), None, 1_000_000, 1_000_000, 10, 400_000)
    off = OWN_DEFAULT.get(ask.deployment) == "off"
    ask = replace(ask, answer=million, said=(TEXT, None if off else THOUGHT, "stop"), priced=True)
    if ask.provider == "aiml":
        return trial_of("price", replace(ask, switches={"meta": False}))
    if ask.provider == "runware":
        return Trial("price", ask.deployment, _untold(ask))
    return trial_of("price", ask)


def _untold(ask: Ask) -> Callable[[Config], Awaitable[list[str]]]:
    """An answer of Runware's without a cost: "may be missing: unknown, not zero"."""

    async def run(config: Config) -> list[str]:
        one = emulator("runware")
        tokens = {"prompt": {}, "cache": {"billableTokens": 400_000}}
        usage = {"promptTokens": 1_000_000, "completionTokens": 1_000_000, "costBreakdown": {"tokens": tokens}}
        item = {"taskType": "textInference", "taskUUID": "", "text": TEXT, "finishReason": "stop", "usage": usage}
        one.fail(Fault.status(200, body={"data": [item]}))
        answer = await hear(config, one, ask.request, stream=False)
        usd = one.models[ask.sold.model].usd(1_000_000, 400_000, 1_000_000)  # type: ignore[attr-defined]  # it has
        told = (answer.cost.source, round(answer.cost.usd or 0, 9))
        return [] if told == ("estimated", round(usd, 9)) else [f"the cost is {told}, the price list says {usd}"]

    return run


def _room(deployment: str, context: int | None) -> Callable[[Config], Awaitable[list[str]]]:
    """A prompt of a fifth more than the context may fit by our estimate's margin, one of three fifths more may not."""

    async def run(config: Config) -> list[str]:
        router, found = Router(config, rng=Random(0), tokenizer=int), []  # the text says how many tokens it has
        sizes = ((1.2, True), (1.6, False)) if context is not None else ((100, True),)
        for factor, fits in sizes:
            tokens = int(factor * (context or M1))
            plan = router.plan({"model": deployment, "messages": [{"role": "user", "content": str(tokens)}]})
            if bool(plan.candidates) is not fits:
                found.append(f"{factor} times its context {'does not fit' if fits else 'fits'}")
        return found

    return run


def _media(ask: Ask, kind: str, part: dict[str, Any], *, reads: bool, said: Any) -> Ask:
    asked = [{"role": "user", "content": [LOOK, part]}]
    lost = (("messages", "dropped", None),)
    if ask.provider == "runware":
        url = part[part["type"]]["url"]
        sent = Sent({f"inputs.{kind}": [url]}) if reads else Sent({}, lost, out=True)
        return replace(ask, fields={"messages": asked}, sent=sent, turns=[{"role": "user", "content": "Look."}])
    sent = Sent() if reads else Sent({}, lost, out=True)
    turns = asked if reads else [{"role": "user", "content": [LOOK]}]
    return replace(ask, fields={"messages": asked}, sent=sent, turns=turns, said=said)


def _advice(ask: Ask) -> Iterator[Trial]:
    """The advice of each mode, in the provider's words; Mixlayer "does not currently expose a min_p parameter"."""
    for mode, values in ADVICE.items():
        wire = {WORDS[ask.provider][name]: value for name, value in values.items() if name in WORDS[ask.provider]}
        yield trial_of(f"sampling: {mode}", replace(ask, fields={"sampling": mode}, sent=Sent(wire)))
