"""Every parameter at its edges, streamed and whole, over sockets to the emulators of all four providers.

What arrived is compared with what the pages say (`tests/parameters/table.py`), and with nothing else on the wire; the
changes on the answer with those of the plan; the answer with what the emulated model said and billed.
"""

from __future__ import annotations

from typing import Any

import pytest

from providers.types import Change, Chunk
from router import Completion, Router
from router.errors import NoDeployment
from router.lab import Answer, Emulator, ToolCall, emulate_all
from tests.parameters.table import (
    BARE,
    CASES,
    DEFAULTS,
    INTEGERS,
    MODELS,
    PROVIDERS,
    STREAMED,
    Case,
    Changes,
    Provider,
    flat,
    without,
)

TEXT = "It is 391."
THOUGHT = "17 * 23 = 391."
QUESTION = [{"role": "user", "content": "17 * 23?"}]


def task_or_body(emulator: Emulator) -> dict[str, Any]:
    """The one body that arrived last, flat."""
    body = emulator.requests[-1].body
    if isinstance(body, list):
        (body,) = body
    return flat(body)


def asked(changes: tuple[Change, ...]) -> Changes:
    """The changes of what was asked."""
    return tuple((change.param, change.how, change.sent) for change in changes if change.how != "defaulted")


async def ask(router: Router, request: dict[str, Any], *, stream: bool) -> Completion:
    if not stream:
        return await router.complete(request)
    chunks: list[Chunk] = [chunk async for chunk in router.stream(request)]
    last = chunks[-1].completion
    assert last is not None
    assert (last.content or "") == "".join(chunk.content or "" for chunk in chunks if chunk.index == 0)
    return last


def differences(
    case: Case, provider: Provider, emulator: Emulator, plan: Any, answer: Completion, *, stream: bool
) -> list[str]:
    """What is not as the table says, in words."""
    said = case.sent[provider].when(streaming=stream)
    where = f"{provider}{' streamed' if stream else ''}"
    found = []
    wire = task_or_body(emulator)
    messages, uuid = wire.pop("messages"), wire.pop("taskUUID", None)
    wanted = {**BARE[provider], **(STREAMED[provider] if stream else {}), **said.wire}
    if wanted != wire:
        found.append(f"{where}: the wire has {without(wire, wanted)}, the pages want {without(wanted, wire)}")
    for path in wanted.keys() & wire.keys():  # 1 is True and 1.0 in Python, and not in JSON
        kinds = (bool, int) if path.endswith(INTEGERS) else (bool,)
        if any(isinstance(wanted[path], kind) is not isinstance(wire[path], kind) for kind in kinds):
            found.append(f"{where}: {path} is {wire[path]!r}")
    if messages != QUESTION:
        found.append(f"{where}: messages are {messages}")
    if (uuid is not None) is not (provider == "runware"):
        found.append(f"{where}: taskUUID {uuid}")
    if said.changes != asked(answer.changes):
        found.append(f"{where}: changes are {asked(answer.changes)}, not {said.changes}")
    (candidate,) = plan.candidates
    if candidate.call.changes != answer.changes:
        found.append(f"{where}: plan and answer report different changes")
    return found


def not_normal(case: Case, provider: Provider, answer: Completion, emulator: Emulator) -> list[str]:
    """Where the normalised answer is not what the emulated model said and billed."""
    found = []
    invoice = emulator.invoices[-1]
    wire = task_or_body(emulator)
    off = wire.get("thinking") is False or wire.get("enable_thinking") is False
    off |= wire.get("settings.thinkingLevel") == "off"
    if case.name.startswith(("max_tokens=1", "max_tokens=2")):
        return [] if answer.finish_reason == "length" else [f"{provider}: finish is {answer.finish_reason}"]
    if "tool_choice" not in case.name and answer.content != TEXT:
        found.append(f"{provider}: content is {answer.content!r}")
    if answer.reasoning_content != (None if off else THOUGHT):
        found.append(f"{provider}: reasoning_content is {answer.reasoning_content!r}")
    if "stop" != answer.finish_reason:
        found.append(f"{provider}: finish is {answer.finish_reason}")
    counted = (answer.usage.prompt_tokens, answer.usage.completion_tokens)
    if counted != (invoice.prompt, invoice.completion) and len(answer.choices) == 1:
        found.append(f"{provider}: usage is {answer.usage}, the invoice {invoice}")
    source = "reported" if provider in ("runware", "aiml") else "estimated"
    if answer.cost.source != source or answer.cost.usd != pytest.approx(invoice.usd, rel=1e-6, abs=1e-12):
        found.append(f"{provider}: cost is {answer.cost}, the invoice {invoice.usd}")
    if answer.deployment != MODELS[provider] or len(answer.attempts) != 1:
        found.append(f"{provider}: {answer.deployment} after {len(answer.attempts)} attempts")
    return found


def same(one: Completion, other: Completion) -> bool:
    """Whether a streamed and a whole answer are the same to their reader."""

    def seen(answer: Completion) -> Any:
        return (answer.choices, answer.usage, answer.cost, answer.model, answer.deployment, answer.changes)

    return bool(seen(one) == seen(other))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_parameter_arrives_as_the_pages_say(case, lab):
    """At all four providers, streamed and whole, the wire, the changes and the answer are right."""
    found: list[str] = []
    async with lab.router() as router:
        for provider in PROVIDERS:
            emulator = lab.emulators[provider]
            emulator.reply(Answer(TEXT, THOUGHT))
            request = {"model": MODELS[provider], "messages": QUESTION, **case.fields, "fidelity": "best_effort"}
            answers = []
            for stream in (False, True):
                plan = router.plan(request, streaming=stream)
                try:
                    answer = await ask(router, request, stream=stream)
                except Exception as error:  # noqa: BLE001  # told with all the others
                    found.append(f"{provider}{' streamed' if stream else ''}: {error}")
                    continue
                answers.append(answer)
                found += differences(case, provider, emulator, plan, answer, stream=stream)
                found += not_normal(case, provider, answer, emulator)
            streams_differ = case.sent[provider].streamed is not None
            if len(answers) == 2 and not streams_differ and not same(*answers):
                found.append(f"{provider}: streamed {answers[1]} is not whole {answers[0]}")

    assert [] == found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_what_a_provider_cannot_keep_excludes_it(case, lab):
    """By default a binding parameter that would be lost leaves the deployment out, and nothing is sent there."""
    found = []
    async with lab.router() as router:
        for provider in PROVIDERS:
            request = {"model": MODELS[provider], "messages": QUESTION, **case.fields}
            for stream in (False, True):
                said = case.sent[provider].when(streaming=stream)
                plan = router.plan(request, streaming=stream)
                if said.out is not (not plan.candidates):
                    found.append(f"{provider}{' streamed' if stream else ''}: {plan.excluded or plan.candidates}")
                if said.out:
                    with pytest.raises(NoDeployment) as caught:
                        await ask(router, request, stream=stream)
                    (excluded,) = caught.value.plan.excluded
                    named = [param in excluded.why for param, *_ in said.changes]
                    if MODELS[provider] not in str(caught.value) or True not in named:
                        found.append(f"{provider}: {caught.value}")

    assert [] == found
    assert [] == lab.arrived()


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("stream", [False, True], ids=["complete", "stream"])
async def test_nothing_asked_is_nothing_sent(provider, stream, lab):
    """What is absent stays absent, and what the provider will do on its own is reported as such."""
    async with lab.router() as router:
        answer = await ask(router, {"model": MODELS[provider], "messages": QUESTION}, stream=stream)
        wire = task_or_body(lab.emulators[provider])

    wanted = {**BARE[provider], **(STREAMED[provider] if stream else {})}
    assert QUESTION == wire.pop("messages")
    wire.pop("taskUUID", None)
    assert wanted == wire
    reported = tuple((change.param, change.how, change.sent) for change in answer.changes)
    told = tuple(change for change in reported if change[0] != "messages")
    assert DEFAULTS[provider] == tuple(sorted(told))
    assert ("messages" in [param for param, *_ in reported]) is (provider == "empiriolabs")
    assert all(change.asked is None for change in answer.changes)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_none_is_not_asked(provider, lab):
    """Every optional field as None is the same request as without it."""
    names = (
        "reasoning_effort reasoning_budget max_tokens temperature top_p top_k min_p presence_penalty frequency_penalty"
        " repetition_penalty stop seed n logprobs top_logprobs logit_bias tools tool_choice parallel_tool_calls"
        " response_format user extra fidelity thinking enable_thinking thinking_budget max_completion_tokens"
    )
    async with lab.router() as router:
        await router.complete({"model": MODELS[provider], "messages": QUESTION})
        await router.complete({"model": MODELS[provider], "messages": QUESTION, **dict.fromkeys(names.split())})
        first, second = (request.body for request in lab.emulators[provider].requests)

    for body in (first, second):
        if isinstance(body, list):
            body[0].pop("taskUUID")
    assert first == second


# -- messages ---------------------------------------------------------------------------------------------------------

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Hello"}
PICTURE = "https://example.com/cat.png"
FILM = "https://example.com/cat.mp4"
IMAGE = {"type": "image_url", "image_url": {"url": PICTURE}}
VIDEO = {"type": "video_url", "video_url": {"url": FILM}}
LOOK = {"type": "text", "text": "Look."}


async def sent(
    lab: Any, provider: Provider, *, stream: bool = False, **fields: Any
) -> tuple[dict[str, Any], Completion]:
    async with lab.router() as router:
        answer = await ask(router, {"model": MODELS[provider], **fields}, stream=stream)
    return task_or_body(lab.emulators[provider]), answer


@pytest.mark.parametrize("stream", [False, True], ids=["complete", "stream"])
@pytest.mark.parametrize("role", ["system", "developer"])
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_system_message_is_said_where_the_provider_reads_it(provider, role, stream, lab):
    """As a message, or in Runware's `settings.systemPrompt`; nothing has changed by that."""
    wire, answer = await sent(lab, provider, messages=[{**SYSTEM, "role": role}, USER], stream=stream)

    if provider == "runware":
        assert ("Be brief.", [USER]) == (wire["settings.systemPrompt"], wire["messages"])
    else:
        assert [SYSTEM, USER] == wire["messages"]
    assert () == asked(answer.changes)
    assert "messages" not in [change.param for change in answer.changes]  # no other system message is put before it


@pytest.mark.parametrize("length", [1, 131072])
async def test_runware_s_system_prompt_at_its_edges(length, lab):
    """1 to 131,072 characters."""
    text = "ä" * length
    wire, _ = await sent(lab, "runware", messages=[{"role": "system", "content": text}, USER])

    assert text == wire["settings.systemPrompt"]


async def test_a_system_prompt_that_is_too_long_for_runware_is_not_cut(lab):
    """One character more, and the deployment is out."""
    messages = [{"role": "system", "content": "a" * 131073}, USER]
    async with lab.router() as router:
        with pytest.raises(NoDeployment, match="131072"):
            await router.complete({"model": MODELS["runware"], "messages": messages, "fidelity": "best_effort"})

        assert [] == lab.emulators["runware"].requests


async def test_an_empty_system_message_is_no_system_prompt(lab):
    """At least one character: an empty one is left out."""
    wire, _ = await sent(lab, "runware", messages=[{"role": "system", "content": ""}, USER])

    assert "settings.systemPrompt" not in wire


async def test_system_messages_amid_the_conversation_move_and_that_is_reported(lab):
    """Runware has one place for all of them; the last one too, as long as the last turn is the user's."""
    late = {"role": "system", "content": "In German."}
    for messages in ([SYSTEM, USER, {"role": "assistant", "content": "Hi"}, late, USER], [SYSTEM, USER, late]):
        wire, answer = await sent(lab, "runware", messages=messages)

        assert "Be brief.\n\nIn German." == wire["settings.systemPrompt"]
        assert "system" not in [message["role"] for message in wire["messages"]]
        assert [("messages", "emulated")] == [(param, how) for param, how, _ in asked(answer.changes)]


@pytest.mark.parametrize("stream", [False, True], ids=["complete", "stream"])
@pytest.mark.parametrize(("part", "plural"), [(IMAGE, "images"), (VIDEO, "videos")], ids=["image", "video"])
async def test_media_go_where_the_provider_reads_them(part, plural, stream, lab):
    """Runware's task-level `inputs`, EmpirioLabs' and AIML's content parts; Mixlayer's page has none: excluded."""
    messages = [{"role": "user", "content": [LOOK, part]}]
    task, _ = await sent(lab, "runware", messages=messages, stream=stream)
    parts, _ = await sent(lab, "empiriolabs", messages=messages, stream=stream)

    assert ([PICTURE] if part is IMAGE else [FILM]) == task[f"inputs.{plural}"]
    assert [{"role": "user", "content": "Look."}] == task["messages"]
    assert messages == parts["messages"]
    parts, _ = await sent(lab, "aiml", messages=messages, stream=stream)
    assert messages == parts["messages"]
    async with lab.router() as router:
        with pytest.raises(NoDeployment, match=plural):
            await ask(router, {"model": MODELS["mixlayer"], "messages": messages}, stream=stream)
        assert [] == lab.emulators["mixlayer"].requests


async def test_a_picture_of_an_earlier_turn_is_said_to_stand_apart(lab):
    """Runware ties no picture to a message."""
    messages = [{"role": "user", "content": [LOOK, IMAGE]}, {"role": "assistant", "content": "A cat."}, USER]
    wire, answer = await sent(lab, "runware", messages=messages)

    assert [PICTURE] == wire["inputs.images"]
    assert [("messages", "emulated")] == [(param, how) for param, how, _ in asked(answer.changes)]


@pytest.mark.parametrize("provider", ["empiriolabs", "aiml"])
async def test_a_detail_that_only_mixlayer_knows_is_not_sent_to_others(provider, lab):
    """`original` is in the canonical request, and refused by these two: so it is translated, and reported."""
    part = {"type": "image_url", "image_url": {"url": PICTURE, "detail": "original"}}
    wire, answer = await sent(lab, provider, messages=[{"role": "user", "content": [LOOK, part]}])

    assert "original" != wire["messages"][0]["content"][1]["image_url"].get("detail")
    assert ["messages"] == [param for param, *_ in asked(answer.changes)]


async def test_what_runware_cannot_say_of_a_message_is_reported(lab):
    """A detail of a picture and the name of a speaker have no place in a task."""
    part = {"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}}
    _, detail = await sent(lab, "runware", messages=[{"role": "user", "content": [LOOK, part]}])
    _, name = await sent(lab, "runware", messages=[{**USER, "name": "Ada"}])

    assert ["messages"] == [param for param, *_ in asked(detail.changes)]
    assert ["messages"] == [param for param, *_ in asked(name.changes)]


@pytest.mark.parametrize("provider", ["mixlayer", "empiriolabs", "aiml"])
async def test_a_message_left_empty_by_what_was_dropped_is_not_sent(provider, lab):
    """A turn that was only a picture, at a model that reads none: nothing is better than an empty list of parts."""
    messages = [{"role": "user", "content": [IMAGE]}]
    blind = {"blind": {"deployments": [{"provider": provider, "model": "m", "input": ["text"]}]}}
    async with lab.router(lab.load(source={"models": blind})) as router:
        request = {"model": f"{provider}/blind", "messages": messages, "fidelity": "best_effort"}
        plan = router.plan(request)

    assert [] == [candidate.call.http.json["messages"] for candidate in plan.candidates]


CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "X"}'}}],
}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "22°C"}
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}


@pytest.mark.parametrize("stream", [False, True], ids=["complete", "stream"])
@pytest.mark.parametrize("provider", ["mixlayer", "empiriolabs", "aiml"])
async def test_a_conversation_with_tools(provider, stream, lab):
    """Calls and results arrive in OpenAI's shape, and a call comes back as one, streamed or whole."""
    async with lab.router() as router:
        call = {"id": "c2", "name": "get_weather", "arguments": '{"city": "Y"}'}
        lab.emulators[provider].reply(Answer(reasoning_content=THOUGHT, tool_calls=(ToolCall(**call),)))
        request = {"model": MODELS[provider], "messages": [USER, CALL, RESULT], "tools": [TOOL]}
        answer = await ask(router, request, stream=stream)
        wire = task_or_body(lab.emulators[provider])
        again = [*request["messages"], answer.message, {"role": "tool", "tool_call_id": "c2", "content": "7"}]
        await ask(router, {**request, "messages": again}, stream=stream)

    assert [USER, CALL, RESULT] == wire["messages"]
    assert [("c2", "get_weather", '{"city": "Y"}', True)] == [
        (one.id, one.name, one.arguments, one.complete) for one in answer.tool_calls
    ]
    assert (None, THOUGHT, "tool_calls") == (answer.content or None, answer.reasoning_content, answer.finish_reason)


async def test_a_conversation_with_tools_cannot_be_said_to_runware(lab):
    """Its page lists no tools: whatever the fidelity, the deployment is out."""
    async with lab.router() as router:
        request = {"model": MODELS["runware"], "messages": [USER, CALL, RESULT], "fidelity": "best_effort"}
        with pytest.raises(NoDeployment, match="tool"):
            await router.complete(request)

        assert [] == lab.emulators["runware"].requests


@pytest.mark.parametrize("provider", ["mixlayer", "empiriolabs", "aiml"])
async def test_what_is_null_in_a_tool_is_not_said(provider, lab):
    """None means *not asked* in a tool and in a schema too; a provider reads null as a wrong type."""
    tool = {"type": "function", "function": {"name": "f", "description": None, "parameters": None, "strict": None}}
    wire, _ = await sent(lab, provider, messages=[USER], tools=[tool])
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}, "description": None}}
    schema, _ = await sent(lab, provider, messages=[USER], response_format=form)

    assert [{"type": "function", "function": {"name": "f"}}] == wire["tools"]
    assert "description" not in schema["response_format"]["json_schema"]


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_no_tools_are_no_tools(provider, lab):
    """An empty list asks for nothing: it is left out (OpenAI's own API refuses one)."""
    wire, answer = await sent(lab, provider, messages=[USER], tools=[])

    assert "tools" not in wire
    assert () == asked(answer.changes)


async def test_earlier_reasoning_stays_here_and_that_is_reported(lab):
    """No page asks for it back."""
    thinker = {"role": "assistant", "content": "Hi", "reasoning_content": "Hm."}
    for provider in PROVIDERS:
        wire, answer = await sent(lab, provider, messages=[USER, thinker, USER])

        assert "Hm." not in str(wire)
        assert ["reasoning_content"] == [param for param, *_ in asked(answer.changes)]


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_extra_goes_along_verbatim_and_takes_nothing_away(provider, lab):
    """A field beside those that the request itself says, nested or not."""
    extra = {"settings": {"splitThinking": True}} if provider == "runware" else {"prediction": {"a": [1, None]}}
    async with lab.router() as router:
        request = {
            "model": MODELS[provider],
            "messages": [SYSTEM, USER],
            "temperature": 0.5,
            "extra": extra,
        }
        (candidate,) = router.plan(request).candidates
    body = candidate.call.http.json
    wire = flat(body[0] if isinstance(body, list) else body)

    assert 0.5 == wire["settings.temperature" if provider == "runware" else "temperature"]
    if provider == "runware":
        assert (True, "Be brief.") == (wire["settings.splitThinking"], wire.get("settings.systemPrompt"))
    else:
        assert {"a": [1, None]} == wire["prediction"]


async def test_a_very_large_number_is_itself(lab):
    """Mixlayer's seed has no documented end: no digit is lost on the way."""
    wire, _ = await sent(lab, "mixlayer", messages=[USER], seed=2**63 + 1, max_tokens=10**15)

    assert (2**63 + 1, 10**15) == (wire["seed"], wire["max_completion_tokens"])


@pytest.mark.parametrize("field", ["reasoning", "think"])
@pytest.mark.parametrize("stream", [False, True], ids=["complete", "stream"])
async def test_empiriolabs_reasoning_in_whichever_field(field, stream):
    """Its page does not name the field: reasoning is never inside content."""
    async with emulate_all(names=("empiriolabs",), switches={"empiriolabs": {"reasoning_field": field}}) as running:
        one = running["empiriolabs"]
        one.reply(Answer(TEXT, THOUGHT))
        source = {"providers": {"empiriolabs": {"base_url": one.base_url, "api_key": "k"}}}
        async with Router.open(source, environ={}) as router:
            answer = await ask(router, {"model": MODELS["empiriolabs"], "messages": [USER]}, stream=stream)

    assert (TEXT, THOUGHT) == (answer.content, (answer.reasoning_content or "").strip())


@pytest.mark.parametrize("provider", ["empiriolabs", "aiml"])
@pytest.mark.parametrize("top", [None, 2])
async def test_log_probabilities_come_back(provider, top, lab):
    """Streamed in pieces or whole, they are the same."""
    async with lab.router() as router:
        lab.emulators[provider].reply(Answer("a b c"))
        request = {"model": MODELS[provider], "messages": [USER], "logprobs": True, "top_logprobs": top}
        whole = await ask(router, request, stream=False)
        streamed = await ask(router, request, stream=True)

    assert 3 == len(whole.choices[0].logprobs["content"])
    assert whole.choices[0].logprobs == streamed.choices[0].logprobs
    assert (top or 0) == len(whole.choices[0].logprobs["content"][0].get("top_logprobs") or [])


async def test_results_of_runware_are_choices(lab):
    """Four at most, each its own seed."""
    async with lab.router() as router:
        lab.emulators["runware"].reply([Answer("a"), Answer("b"), Answer("c"), Answer("d")])
        answer = await router.complete({"model": MODELS["runware"], "messages": [USER], "n": 4})
        invoice = lab.emulators["runware"].invoices[-1]

    assert ["a", "b", "c", "d"] == [choice.content for choice in answer.choices]
    assert answer.cost.usd == pytest.approx(invoice.usd)
    assert answer.usage.completion_tokens == invoice.completion


async def test_runware_delivered_later_is_the_same_answer(lab):
    """`async` with polling gives what `sync` gives, to a streaming caller too, and may say n there."""
    later = {"delivery": "async", "polling": {"first": 0.001, "factor": 1, "longest": 0.01}}
    async with lab.router(lab.load(runware=later)) as router:
        lab.emulators["runware"].reply([Answer(TEXT, THOUGHT), Answer("b", THOUGHT)])
        request = {"model": MODELS["runware"], "messages": [USER]}
        answers = [await ask(router, request, stream=stream) for stream in (False, True)]
        two = await ask(router, {**request, "n": 2}, stream=False)
        bodies = [received.body[0] for received in lab.emulators["runware"].requests]

    tasks = [body for body in bodies if body["taskType"] == "textInference"]
    assert ["async"] * 3 == [task["deliveryMethod"] for task in tasks]
    assert {"getResponse"} == {body["taskType"] for body in bodies if body not in tasks}
    assert [(TEXT, THOUGHT)] * 2 == [(answer.content, answer.reasoning_content) for answer in answers]
    assert [TEXT, "b"] == [choice.content for choice in two.choices]
