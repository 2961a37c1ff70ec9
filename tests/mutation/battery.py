"""A fixed battery of requests for each provider that together touch each rule.

What must be seen of each stands in `tests/parameters/table` and `documents`, typed in from the pages.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

from router.config import Config
from router.lab import Answer, Fault, ToolCall
from tests.mutation.asking import BOTH, QUESTION, TEXT, THOUGHT, Ask, Trial, hear, is_off, trial_of
from tests.mutation.documents import RUNWARE_CODES, SOLD, TEXTS, WORDS
from tests.mutation.peculiar import silence, sold_as_documented
from tests.mutation.stand import emulator
from tests.parameters.table import CASES, MODELS, Provider, Sent


def battery(provider: Provider) -> list[Trial]:
    """Every trial of a provider, at the deployment of its page and at each of the others."""
    main = MODELS[provider]
    found = [*_parameters(main), *silence(main), *_conversations(main), *_answers(main), *_failures(main)]
    for deployment in SOLD:
        if deployment.startswith(f"{provider}/"):
            found += sold_as_documented(deployment)
    if provider == "runware":
        found += [_later(main)]
    return found


def _parameters(deployment: str) -> Iterator[Trial]:
    """The table of the pages' parameters."""
    provider: Provider = deployment.partition("/")[0]  # type: ignore[assignment]  # one of four
    for case in CASES:
        for stream in BOTH:
            sent = case.sent[provider].when(streaming=stream)
            ask = Ask(
                deployment, case.fields, sent, stream, said=(TEXT, None if is_off(sent.wire) else THOUGHT, "stop")
            )
            if case.fields.get("n", 1) > 1:
                ask = replace(ask, counted=False)
            if "max_tokens" in case.name and min(case.fields.values()) < 100:
                ask = replace(ask, answer=Answer("x", ""), said=("x", None, "stop"))
            yield trial_of(case.name, ask)


USER, HI = {"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}
SYSTEM, LATE = {"role": "system", "content": "Be brief."}, {"role": "system", "content": "In German."}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def _conversations(deployment: str) -> Iterator[Trial]:
    """What becomes of turns: system messages, earlier reasoning, tool calls, who speaks last."""
    ask, task = Ask(deployment, {}), deployment.startswith("runware/")
    joined = "Be brief.\n\nIn German."
    moved = (("messages", "emulated", "joined first"),)
    first = {"role": "system", "content": joined}
    one = Sent({"settings.systemPrompt": joined}) if task else Sent()
    two = Sent(one.wire, moved, out=False)
    yield trial_of(
        "two system messages",
        replace(ask, fields={"messages": [SYSTEM, LATE, USER]}, sent=one, turns=[USER] if task else [first, USER]),
    )
    yield trial_of(
        "a late system message",
        replace(
            ask,
            fields={"messages": [SYSTEM, USER, HI, LATE, USER]},
            sent=two,
            turns=[USER, HI, USER] if task else [first, USER, HI, USER],
        ),
    )
    yield trial_of(
        "history: earlier reasoning",
        replace(
            ask,
            fields={"messages": [USER, {**HI, "reasoning_content": "Hm."}, USER]},
            sent=Sent({}, (("reasoning_content", "dropped", None),)),
            turns=[USER, HI, USER],
        ),
    )
    last = replace(ask, fields={"messages": [USER, HI]})
    if task:  # "The final message must use the user role"
        last = replace(last, sent=Sent(out=True), fails="NoDeployment")
    yield trial_of("last: an assistant's turn", last)
    if not task:
        call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
        turns = [USER, {"role": "assistant", "content": None, "tool_calls": [call]}]
        turns.append({"role": "tool", "tool_call_id": "c1", "content": "7"})
        called = Answer(reasoning_content=THOUGHT, tool_calls=(ToolCall("c2", "f", '{"b": 2}'),))
        for stream in BOTH:
            yield trial_of(
                "tools: a conversation",
                replace(
                    ask,
                    fields={"messages": turns, "tools": [TOOL]},
                    sent=Sent({"tools": [TOOL]}),
                    stream=stream,
                    answer=called,
                    said=(None, THOUGHT, "tool_calls"),
                    calls=(("f", '{"b": 2}'),),
                ),
            )
    many = [{**TOOL, "function": {**TOOL["function"], "name": f"f{n}"}} for n in range(129)]  # type: ignore[dict-item]
    for count in (127, 128, 129):
        some = many[:count]
        sent = Sent({"tools": some})
        if task:
            sent = Sent({}, (("tools", "dropped", None),), out=True)
        elif deployment.startswith("aiml/") and count > 128:  # "A max of 128 functions are supported"
            sent = Sent({"tools": some[:128]}, (("tools", "dropped", None),), out=True)
        yield trial_of(f"tools: {count}", replace(ask, fields={"tools": some}, sent=sent))
    if task:
        yield from _long_prompts(ask)
        yield from _steps(ask)


def _long_prompts(ask: Ask) -> Iterator[Trial]:
    """Runware's system prompt: 1 to 131,072 characters."""
    for length in (131_072, 131_073):
        text = "a" * length
        fields = {"messages": [{"role": "system", "content": text}, *QUESTION]}
        if length > 131_072:
            yield trial_of("system: too long", replace(ask, fields=fields, sent=Sent(out=True), fails="NoDeployment"))
        else:
            said = Sent({"settings.systemPrompt": text})
            yield trial_of("system: the longest", replace(ask, fields=fields, sent=said, turns=QUESTION))


def _steps(ask: Ask) -> Iterator[Trial]:
    """Runware's page: "step: 0.01"."""
    for name, path in WORDS["runware"].items():
        if name == "top_k":
            continue
        near = replace(ask, fields={name: 0.125}, sent=Sent({path: 0.12}, ((name, "nearest", 0.12),)))
        yield trial_of(f"{name}: between two steps", near)
        yield trial_of(f"{name}: on a step", replace(ask, fields={name: 0.15}, sent=Sent({path: 0.15})))


def _answers(deployment: str) -> Iterator[Trial]:
    """How an answer is read: thinking in the text, the end, where cost and usage stand."""
    ask = Ask(deployment, {})
    for stream in BOTH:
        here = replace(ask, stream=stream)
        leaked = (f"\n\n{TEXT}", f"\n{THOUGHT}\n", "stop")
        yield Trial(f"reading: <think> in the text{', streamed' if stream else ''}", deployment, _leak(here, leaked))
        length = replace(here, answer=Answer(TEXT, THOUGHT, finish_reason="length"), said=(TEXT, THOUGHT, "length"))
        yield trial_of("reading: the end", length)
        yield trial_of("reading: no reasoning", replace(here, answer=Answer(TEXT), said=(TEXT, None, "stop")))
    if deployment.startswith("aiml/"):
        for name, switches in (
            ("cost in the headers alone", {"meta": False, "cost_headers": True}),
            ("cost in the body alone", {"meta": True, "cost_headers": False}),
        ):
            yield trial_of(name, replace(ask, switches=switches))
        yield trial_of("cost after the end", replace(ask, stream=True, switches={"done": True, "late_meta": True}))
        yield trial_of("cost before the end", replace(ask, stream=True, switches={"done": True}))


def _leak(ask: Ask, said: tuple[str, str, str]) -> Callable[[Config], Awaitable[list[str]]]:
    """A `<think>` block at the head of the text is reasoning; how the blanks around it fall is nobody's promise."""

    async def run(config: Config) -> list[str]:
        one = emulator(ask.provider)
        one.reply(ask.answer)
        one.fail(Fault.think_in_content())
        answer = await hear(config, one, ask.request, stream=ask.stream)
        got = ((answer.content or "").strip(), (answer.reasoning_content or "").strip(), answer.finish_reason)
        wanted = tuple(part.strip() for part in said)
        return [] if got == wanted else [f"the answer is {got}"]

    return run


def _failures(deployment: str) -> Iterator[Trial]:
    """Each documented code, status and text is the class of failure that the documents describe."""
    ask = Ask(deployment, {})
    for status, text, kind in TEXTS[ask.provider]:
        yield trial_of(
            f"errors: {status} {text[:40]}", replace(ask, fault=Fault.status(status, body=_told(ask, text)), fails=kind)
        )
    if ask.provider != "runware":
        return
    for code, kind in RUNWARE_CODES.items():
        for status in (200, 400):
            body = {"errors": [{"code": code, "message": "It did not work.", "taskType": "textInference"}]}
            yield trial_of(
                f"errors: {code} in {status}", replace(ask, fault=Fault.status(status, body=body), fails=kind)
            )


def _told(ask: Ask, text: str) -> dict[str, Any]:
    if ask.provider == "runware":
        return {"errors": [{"message": text, "taskType": "textInference"}]}
    return {"message": text} if ask.provider == "aiml" else {"error": {"message": text}}


def _later(deployment: str) -> Trial:
    """A task that is delivered later is polled for: from one or two seconds on, ever more rarely, ten at most."""

    async def run(config: Config) -> list[str]:
        one = emulator("runware", processing_polls=12)
        one.reply(Answer(TEXT, THOUGHT))
        answer = await hear(config, one, {**Ask(deployment, {}).request, "delivery": "async"}, stream=False)
        at = [received.at for received in one.requests]
        waits = [after - before for before, after in itertools.pairwise(at)]
        found = [] if (answer.content, answer.reasoning_content) == (TEXT, THOUGHT) else [f"the answer is {answer}"]
        if not 1 <= waits[0] <= 2:
            found.append(f"the first poll comes after {waits[0]:.2f} s")
        if not all(before < after or after > 5 for before, after in itertools.pairwise(waits)):
            found.append(f"it does not back off: {waits}")
        if max(waits) > 10.001:
            found.append(f"it waits up to {max(waits):.1f} s")
        return found

    return Trial("delivery: later, with polling", deployment, run)
