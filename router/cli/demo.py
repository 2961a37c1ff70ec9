"""`router demo`: a failover that really happens, over sockets, between the four emulated providers.

Knows the scene: which route, which question, what is broken. Everything that is shown is taken from what happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from router.cli.base import json_option
from router.cli.output import attempt_facts, change_facts, console, cost_facts, plain, print_json

if TYPE_CHECKING:
    from providers.types import Completion
    from router import Router
    from router.cli.scene import Scene
    from router.lab import Emulator
    from router.plan import Plan

_EPILOG = """\b
Examples:
  router demo
  router demo --json | jq '.rounds[].attempts'

\b
Exit codes: 0; 1 no answer; 130 interrupted.
"""

ROUTE = "demo"
KEY = "demo-key"  # the emulators accept this one alone
DEPLOYMENTS = ("mixlayer/qwen3.5-27b", "runware/qwen3.5-27b", "empiriolabs/qwen3.5-27b", "aiml/qwen3.6-35b-a3b")
REQUEST: Mapping[str, Any] = {
    "model": ROUTE,
    "messages": [{"role": "user", "content": "17 * 23?"}],
    "reasoning_effort": "medium",
    "max_tokens": 2000,
    "temperature": 0.6,
    "top_k": 20,
    "stop": ["\n\n\n"],
    "seed": 7,
}
REASONING = "17 * 23 is 17 * 20 and 17 * 3, that is 340 and 51; together 391."
ANSWER = "17 * 23 = 391"


@click.command(short_help="Watch a failover, without a key.", epilog=_EPILOG)
@json_option
def demo(*, as_json: bool) -> None:
    """Watch a failover: one question, four emulated providers, the first of which is out of order.

    Needs no key and no network beyond this machine, and takes about a second. Then the same question as a stream, with
    the first provider out of order again and the second one breaking off before it has said anything.
    """
    facts = asyncio.run(_play(as_json=as_json))
    if as_json:
        print_json(facts)


async def _play(*, as_json: bool) -> dict[str, Any]:
    from router import Router
    from router.cli.scene import Scene
    from router.lab import emulate_all
    from router.lab.emulators import PROVIDERS
    from router.lab.selling import switches

    loop = asyncio.get_running_loop()
    began = loop.time()
    catalog = Router.open(environ={})
    scene = Scene(console(), silent=as_json)
    async with emulate_all(api_key=KEY, switches=switches(catalog.config, PROVIDERS)) as emulators:
        async with Router.open(_routes(emulators), environ={}) as router:
            plan = router.plan(REQUEST)
            _script(emulators)
            scene.opening(emulators, plan)
            rounds = [await _whole(router, emulators, plan, scene), await _streamed(router, emulators, plan, scene)]
        seconds = loop.time() - began
        scene.closing(seconds)
    return {
        "question": plan.request.messages[-1].text,
        "emulators": {name: one.base_url for name, one in emulators.items()},
        "translation": translation(plan),
        "rounds": rounds,
        "seconds": round(seconds, 3),
    }


def _routes(emulators: Mapping[str, Emulator]) -> dict[str, Any]:
    """A routes file, as a user would write it."""
    return {
        "providers": {name: {"base_url": one.base_url, "api_key": KEY} for name, one in emulators.items()},
        "routes": {ROUTE: {"deployments": [*DEPLOYMENTS], "policy": {"attempts": 4, "deadline": "30s",
                   "timeouts": {"first_token": "5s", "idle": "5s"}}}},
    }  # fmt: skip


def _script(emulators: Mapping[str, Emulator]) -> None:
    from router.lab import Answer

    for emulator in emulators.values():
        emulator.reply(Answer(content=ANSWER, reasoning_content=REASONING))


def _break(emulators: Mapping[str, Emulator], plan: Plan, streaming: bool) -> list[dict[str, str]]:  # noqa: FBT001
    """Put those out of order that come first: with 503; of a stream the second too, cut off before it says anything."""
    from router.lab import Fault

    faults = [Fault.overloaded(), *([Fault.cut_after(0)] if streaming else [])]
    names = [candidate.deployment for candidate in plan.candidates]
    for name, fault in zip(names, faults, strict=False):
        emulators[name.split("/", 1)[0]].fail(fault)
    said = ["answers 503", "breaks off before it has said anything"]
    return [{"deployment": name, "fault": what} for name, what, _ in zip(names, said, faults, strict=False)]


async def _whole(router: Router, emulators: Mapping[str, Emulator], plan: Plan, scene: Scene) -> dict[str, Any]:
    broken = _break(emulators, plan, streaming=False)
    scene.act("The question", broken)
    answer = await router.complete(plan.request)
    scene.attempts(answer)
    scene.translation(plan)
    scene.answer(answer)
    return _round(answer, broken, streaming=False)


async def _streamed(router: Router, emulators: Mapping[str, Emulator], plan: Plan, scene: Scene) -> dict[str, Any]:
    broken = _break(emulators, plan, streaming=True)
    scene.act("The same question, as a stream", broken)
    answer = await scene.follow(router.stream(plan.request))
    scene.attempts(answer)
    return _round(answer, broken, streaming=True)


# -- for machines -----------------------------------------------------------------------------------------------------


def _round(answer: Completion, broken: list[dict[str, str]], *, streaming: bool) -> dict[str, Any]:
    return {
        "streaming": streaming,
        "faults": broken,
        "attempts": [attempt_facts(one) for one in answer.attempts],
        "deployment": answer.deployment,
        "changes": [plain(change_facts(one)) for one in answer.changes],
        "reasoning_content": answer.reasoning_content,
        "content": answer.content,
        "cost": cost_facts(answer.cost),
    }


def translation(plan: Plan) -> list[dict[str, Any]]:
    """The request in each candidate's words: by canonical part, the body, and what that changed."""
    from router.cli.words import parts, said

    asked = parts(plan.request)
    return [
        {
            "deployment": one.deployment,
            "says": {part: said(plan.request, one.call.endpoint, fields) for part, fields in asked.items()},
            "body": one.call.http.json,
            "changes": [plain(change_facts(change)) for change in one.call.changes],
        }
        for one in plan.candidates
    ]
