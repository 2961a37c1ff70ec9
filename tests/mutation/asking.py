"""One request to one deployment, and all that is to be seen of it.

Knows what can be seen: what was refused, what arrived, what was reported as changed, what the answer says, what it
costs. Refuses to look at a row, at a dialect, and at what another encoding of the same request would have been: what
is right comes with each `Ask`, from the documents.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING, Any, cast

from router import Completion, Router
from router.config import Config
from router.errors import DeploymentsExhausted, RouterError
from router.lab import Answer, Emulator, Fault
from tests.mutation.documents import SOLD, Sold
from tests.mutation.stand import Line, emulator
from tests.parameters.table import BARE, INTEGERS, STREAMED, Changes, Provider, Sent, flat, without

TEXT, THOUGHT = "It is 391.", "17 * 23 = 391."
USUAL = Answer(TEXT, THOUGHT)
QUESTION = [{"role": "user", "content": "17 * 23?"}]
BOTH = (False, True)

if TYPE_CHECKING:
    from providers.transport import Transport

Findings = Iterator[str]


@dataclass(frozen=True)
class Trial:
    """One thing that is tried at one deployment. *run* yields what is not as it should be."""

    name: str
    deployment: str
    run: Callable[[Config], Awaitable[list[str]]]

    @cached_property
    def lowered(self) -> str:
        """Its name in small letters."""
        return self.name.lower()


@dataclass(frozen=True)
class Ask:
    """A request to *deployment*, and what the documents say becomes of it.

    *sent*: what is on the wire beside what is on every wire, the changes, and whether it is out by default. *defaulted*:
    what the provider does of itself; None is not looked at. *turns*: the conversation as it arrives, None as it was asked.
    *said*: content, reasoning, end. *fails*: the class of the failure in its place. *priced*: nothing tells the cost.
    """

    deployment: str
    fields: Mapping[str, Any]
    sent: Sent = field(default_factory=Sent)
    stream: bool = False
    defaulted: Changes | None = None
    turns: list[dict[str, Any]] | None = None
    answer: Answer = USUAL
    said: tuple[str | None, str | None, str | None] = (TEXT, THOUGHT, "stop")
    switches: Mapping[str, Any] = field(default_factory=dict)
    fault: Fault | None = None
    fails: str | None = None
    priced: bool = False
    counted: bool = True
    calls: tuple[tuple[str, str], ...] = ()

    @property
    def provider(self) -> Provider:
        return self.deployment.partition("/")[0]  # type: ignore[return-value]  # one of four

    @property
    def sold(self) -> Sold:
        return SOLD[self.deployment]

    @property
    def request(self) -> dict[str, Any]:
        return {"messages": QUESTION, **self.fields, "model": self.deployment}

    @property
    def wire(self) -> dict[str, Any]:
        bare = {**BARE[self.provider], "model": self.sold.model, **(STREAMED[self.provider] if self.stream else {})}
        return {**bare, **self.sent.wire}

    async def findings(self, config: Config) -> list[str]:
        """What is not as it should be."""
        found = list(self._planned(config))
        one = emulator(self.provider, **self.switches)
        one.reply(self.answer)
        if self.fault is not None:
            one.fail(self.fault)
        try:
            answer = await hear(config, one, {**self.request, "fidelity": "best_effort"}, stream=self.stream)
        except RouterError as error:
            failed = kind_of(error)
            return found if failed == self.fails else [*found, f"it failed as {failed}: {str(error)[:200]}"]
        if self.fails is not None:
            return [*found, f"no {self.fails}"]
        return [*found, *self._arrived(one), *self._reported(answer), *self._heard(answer, one)]

    def _planned(self, config: Config) -> Findings:
        plan = Router(config, rng=Random(0)).plan(self.request, streaming=self.stream)
        if self.sent.out is not (not plan.candidates):
            yield f"by default it is {'served' if self.sent.out else 'excluded'}"

    def _arrived(self, one: Emulator) -> Findings:
        received = one.requests[0]
        body = received.body
        if isinstance(body, list) is not (self.provider == "runware"):
            yield f"the body is a {type(body).__name__}"
            return
        wire = flat(body[0] if isinstance(body, list) else body)
        turns, wanted = wire.pop("messages"), self.wire
        if wire.pop("taskUUID", None) is None and self.provider == "runware":
            yield "no taskUUID"
        if wire != wanted:
            yield f"the wire has {without(wire, wanted)}, the documents want {without(wanted, wire)}"
        for path in wanted.keys() & wire.keys():  # 1 is True and 1.0 in Python, and not in JSON
            kinds = (bool, int) if path.endswith(INTEGERS) else (bool,)
            if any(isinstance(wanted[path], kind) is not isinstance(wire[path], kind) for kind in kinds):
                yield f"{path} is {wire[path]!r}"
        if turns != (self.request["messages"] if self.turns is None else self.turns):
            yield f"the conversation arrives as {str(turns)[:300]}"
        if received.headers["Authorization"] != "Bearer sk-emulated" or "session_id" in received.headers:
            yield f"the headers are {received.headers}"

    def _reported(self, answer: Completion) -> Findings:
        told = [(change.param, change.how, change.sent) for change in answer.changes]
        asked = tuple(change for change in told if change[1] != "defaulted")
        if asked != self.sent.changes:
            yield f"the changes are {asked}, not {self.sent.changes}"
        itself = sorted((change for change in told if change[1] == "defaulted"), key=str)
        if self.defaulted is not None and itself != sorted(self.defaulted, key=str):
            yield f"reported as the provider's own: {itself}, not {self.defaulted}"

    def _heard(self, answer: Completion, one: Emulator) -> Findings:
        said = (answer.content, answer.reasoning_content, answer.finish_reason)
        if said != self.said:
            yield f"the answer is {said}, the model said {self.said}"
        calls = tuple((call.name, call.arguments) for call in answer.tool_calls)
        if calls != self.calls:
            yield f"the calls are {calls}"
        if answer.deployment != self.deployment or len(answer.attempts) != 1:
            yield f"{answer.deployment} after {len(answer.attempts)} attempts"
        if self.counted:
            yield from self._billed(answer, one)

    def _billed(self, answer: Completion, one: Emulator) -> Findings:
        invoice, usage = one.invoices[-1], answer.usage
        if (usage.prompt_tokens, usage.completion_tokens) != (invoice.prompt, invoice.completion):
            yield f"the usage is {usage}, the invoice {invoice}"
        if usage.cached_tokens not in (None, invoice.cached):
            yield f"cached: {usage.cached_tokens}, not {invoice.cached}"
        reported = self.provider in ("runware", "aiml") and not self.priced
        model = one.models[self.sold.model]  # type: ignore[attr-defined]  # each of the four has models
        usd = invoice.usd if reported else model.usd(invoice.prompt, usage.cached_tokens or 0, invoice.completion)
        told = (answer.cost.source, answer.cost.usd)
        if told[0] != ("reported" if reported else "estimated") or abs((told[1] or 0) - usd) > 1e-6 * usd:
            yield f"the cost is {told}, the price list says {usd}"


async def hear(config: Config, one: Emulator, request: Mapping[str, Any], *, stream: bool) -> Completion:
    """The answer of *one*, over the whole pipeline."""
    line = cast("Transport", Line(one, asyncio.get_running_loop()))
    async with Router(config, rng=Random(0), transports=lambda _: line) as router:
        if not stream:
            return await router.complete(request)
        last = None
        async for chunk in router.stream(request):
            last = chunk.completion
        assert last is not None
        return last


def kind_of(error: RouterError) -> str:
    """The class of what failed; of a group that of its one attempt."""
    return error.attempts[-1].outcome if isinstance(error, DeploymentsExhausted) else type(error).__name__


def trial_of(name: str, ask: Ask) -> Trial:
    return Trial(f"{name}{', streamed' if ask.stream else ''}", ask.deployment, ask.findings)


def is_off(wire: Mapping[str, Any]) -> bool:
    switched = (wire.get("thinking"), wire.get("enable_thinking"), wire.get("settings.thinkingLevel"))
    return any(word is False or word == "off" for word in switched)
