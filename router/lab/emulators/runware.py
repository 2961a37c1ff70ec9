"""Runware's native task API, from ``runware-qwen3.5-27b.txt`` and section 3 of ``wire-protocols.md``.

DOC: the task's parameters. FOUND: array bodies, delivery, polling, the duplicate guard, error entries. What is INFERRED
is an argument of the constructor. Left out: the web socket, the OpenAI-compatible side, and webhooks (the URL is
checked and not called: nothing in the lab speaks as a client).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from router.lab.answers import Answer, default_answer, distort, generate
from router.lab.emulators import runware_render as render
from router.lab.emulators.base import Emulator
from router.lab.emulators.chat_shapes import dumps
from router.lab.emulators.playback import Json, Outcome, Stream, Whole
from router.lab.emulators.record import Invoice, Received
from router.lab.emulators.runware_checks import TaskRules, check_task, check_uuid, error_of
from router.lab.emulators.words import JSON_TYPE, Model, Problem
from router.lab.faults import Fault

_MODELS = {
    "alibaba:qwen@3.5-27b": render.MODEL,
    "alibaba:qwen@3.5-397b": Model(0.327, 1.989, 0.05, context=262_144, max_output=128_000),  # FOUND[R13, R14]
}
# FOUND[R20]: the answer to the element form of authentication.
_LOGGED_IN = {"taskType": "authentication", "connectionSessionUUID": "00000000-0000-4000-8000-000000000000"}
_SIGN_UP = "Get one at https://my.runware.ai/signup"
# Codes FOUND[R3, R7] but for the wording; the vendor calls its raw codes unstable.
_WORDS = {
    "no_key": Problem(401, f"Missing API key. {_SIGN_UP}", "authentication", "missingApiKey", "apiKey"),
    "bad_key": Problem(401, f"Invalid API key. {_SIGN_UP}", "authentication", "invalidApiKey", "apiKey"),
    "not_an_array": Problem(400, "The body must be a JSON array of task objects.", code="invalidBody"),
    "out_of_credit": Problem(402, "Insufficient credits to process this task.", code="insufficientCredits"),
    "model_gone": Problem(400, "Invalid value for 'model' parameter: {model}.", code="invalidModel", param="model"),
    "rate_limited": Problem(429, "Queue capacity exceeded, please retry.", code="rateLimitExceeded"),
    "server_error": Problem(500, "Internal server error.", code="internalServerError"),
    "overloaded": Problem(503, "No server is available right now.", code="noAvailableServer"),
    "gateway_timeout": Problem(504, "The provider did not respond in time.", code="failedProviderTimeout"),
    "context_length": Problem(400, "The messages exceed the model's context.", code="maxContextLengthExceeded"),
    "content_policy": Problem(400, "The prompt violates the content policy.", code="contentPolicyViolation"),
    "conflict": Problem(400, "already used", code="conflictTaskUUID"),  # FOUND[R19], its literal words
    "one_stream": Problem(400, "A stream takes exactly one task.", code="invalidDeliveryMethod"),
    "too_large": Problem(413, "Payload too large.", code="payloadTooLarge"),
    "no_route": Problem(404, "Not found.", code="notFound"),
    "bad_method": Problem(405, "Method not allowed.", code="methodNotAllowed"),
}


@dataclass(slots=True, eq=False)
class _Task:
    """An accepted task: what it was answered, and how many polls still find it running."""

    items: list[Json]
    polls: int


class Runware(Emulator):
    """api.runware.ai, the native side: everything is a POST of an array to one URL."""

    name = "runware"
    words = _WORDS

    def __init__(
        self,
        *,
        models: Mapping[str, Model] | None = None,
        thinking_levels: tuple[str, str] = ("off", "high"),
        tools: bool = False,
        structured: bool = False,
        processing_polls: int = 1,
        running_reply: Literal["processing", "empty"] = "processing",
        validation_in_200: bool = False,
        stream_error: Literal["error", "errors"] = "error",
        done: bool = True,
        shape: render.Shape | None = None,
        **common: Any,
    ) -> None:
        """Make one.

        *thinking_levels*: the words for off and on; DOC says two and "high", INFERRED the other. *tools*, *structured*:
        not on the model's page, NOT FOUND, so refused. *processing_polls*: how many polls find an async task running.
        *running_reply*: FOUND both; an unknown UUID is always ``{"data": []}``. *validation_in_200*: a refusal of every
        task inside HTTP 200 instead of 400 (FOUND[R3, R7] for errors in general). *stream_error*: the envelope before a
        stream starts, FOUND[R1]. *shape*: variations of the results.
        """
        super().__init__(**common)
        self.models = dict(_MODELS if models is None else models)
        self._rules = TaskRules(thinking_levels, tools=tools, structured=structured)
        self._processing_polls = processing_polls
        self._running_reply = running_reply
        self._validation_status = 200 if validation_in_200 else None
        self._stream_error = stream_error
        self._done = done
        self._shape = render.Shape() if shape is None else shape
        self._tasks_seen: dict[str, _Task] = {}

    def is_inference(self, received: Received) -> bool:
        return received.method == "POST" and received.path in ("/v1", "/v1/")

    def generates(self, received: Received) -> bool:
        return any(task.get("taskType") == "textInference" for task in _tasks(received))

    def wants_stream(self, received: Received) -> bool:
        return any(task.get("deliveryMethod") == "stream" for task in _tasks(received))

    def asked_model(self, received: Received) -> str:
        return next((str(task["model"]) for task in _tasks(received) if "model" in task), "")

    def forget(self) -> None:
        super().forget()
        self._tasks_seen.clear()

    def answer(self, received: Received, fault: Fault | None) -> Outcome:
        if problem := self._check_key(received):
            return self.refuse(problem, received)
        if not isinstance(received.body, list) or not received.body:
            return self.in_words("not_an_array", received)
        tasks = [task for task in received.body if not _is_login(task)]
        if self.wants_stream(received):
            if len(tasks) != 1:
                return self.in_words("one_stream", received)
            return self._stream(tasks[0], received, fault)
        data: list[Json] = [_LOGGED_IN] if len(tasks) < len(received.body) else []
        errors: list[tuple[int, Json]] = []
        for task in tasks:
            self._work(task, received, fault, data, errors)
        return self._together(data, errors, asked=len(tasks))

    def _together(self, data: list[Json], errors: list[tuple[int, Json]], *, asked: int) -> Whole:
        """FOUND[R3, R4, R7]: with partial success data and errors stand together under HTTP 200."""
        if not errors:
            return Whole(dumps({"data": data}), headers=JSON_TYPE)
        body = dumps({"data": data, "errors": [entry for _, entry in errors]})
        failed = len(errors) == asked
        status = self._validation_status or errors[0][0] if failed else 200
        return Whole(body, status, JSON_TYPE, refused=failed)

    def _work(
        self, task: Any, received: Received, fault: Fault | None, data: list[Json], errors: list[tuple[int, Json]]
    ) -> None:
        kind = task.get("taskType") if isinstance(task, dict) else None
        if kind == "getResponse":
            complaint = check_uuid(task.get("taskUUID"))
            if complaint is not None:
                errors.append((400, error_of(complaint, task)))
            else:
                data += self._poll(task["taskUUID"])
            return
        error = self._refusal(task)
        if error is not None:
            errors.append(error)
            return
        _, items = self._accept(task, received, fault)
        if fault is not None and fault.kind == "duplicate_task":
            errors.append(self._conflict(task))
        elif task.get("deliveryMethod") == "async":
            self._tasks_seen[task["taskUUID"].lower()].polls = self._processing_polls
            data.append({"taskType": "textInference", "taskUUID": task["taskUUID"]})
        else:
            data += items

    def _poll(self, uuid: str) -> list[Json]:
        task = self._tasks_seen.get(uuid.lower())
        if task is None:
            return []  # FOUND[R19]: an unknown UUID is not an error
        if task.polls > 0:
            task.polls -= 1
            running = {"taskType": "textInference", "taskUUID": uuid, "status": "processing"}
            return [running] if self._running_reply == "processing" else []
        return [item | {"status": "success"} for item in task.items]

    # --- Accepting and refusing ---------------------------------------------------------------------------------

    def _check_key(self, received: Received) -> Problem | None:
        """FOUND[R6]: a bearer header or an ``authentication`` element."""
        scheme, _, key = str(received.headers.get("Authorization", "")).partition(" ")
        logins = [str(task.get("apiKey", "")) for task in _tasks(received) if _is_login(task)]
        keys = [found for found in (key.strip() if scheme.lower() == "bearer" else "", *logins) if found]
        if not keys:
            return self.words["no_key"]
        return self.words["bad_key"] if self.api_key is not None and keys[0] != self.api_key else None

    def _refusal(self, task: Any) -> tuple[int, Json] | None:
        if not isinstance(task, dict) or task.get("taskType") != "textInference":
            problem = Problem(400, "Invalid value for 'taskType' parameter.", code="invalidTaskType", param="taskType")
            return 400, render.error_entry(problem, task)
        model = self.models.get(str(task.get("model")))
        rules = self._rules if model is None else replace(self._rules, max_tokens=model.max_output)
        complaint = check_task(task, rules)
        if complaint is not None:
            return 400, error_of(complaint, task)
        kind = self._against(task)
        if kind is None:
            return None
        problem = self.words[kind]
        message = problem.message.replace("{model}", task["model"])
        return problem.status, render.error_entry(replace(problem, message=message), task)

    def _conflict(self, task: Json) -> tuple[int, Json]:
        """The answer to the second copy of a task."""
        problem = self.words["conflict"]
        return problem.status, render.error_entry(problem, task)

    def _against(self, task: Json) -> str | None:
        if task["model"] not in self.models:
            return "model_gone"
        if task["taskUUID"].lower() in self._tasks_seen:  # the answer is there to be polled for (FOUND[R9])
            return "conflict"
        asked = render.read(task, thinks=False)
        return "context_length" if asked.prompt_tokens > self.models[task["model"]].context else None

    def _accept(self, task: Json, received: Received, fault: Fault | None) -> tuple[list[render.Result], list[Json]]:
        kind = fault.kind if fault is not None else ""
        results = self._generate(task, received, kind)
        usage = kind != "usage_missing"
        items = [render.result_item(task, result, self._shape, usage=usage) for result in results]
        # How long a UUID stays taken is NOT FOUND; here until ``forget``, or until *keep* newer ones have come.
        self._tasks_seen[task["taskUUID"].lower()] = _Task(items, 0)
        if self.requests.keep is not None and len(self._tasks_seen) > self.requests.keep:
            del self._tasks_seen[next(iter(self._tasks_seen))]
        self._bill(task, received, results)
        return results, items

    def _generate(self, task: Json, received: Received, kind: str) -> list[render.Result]:
        level = task.get("settings", {}).get("thinkingLevel", self._rules.thinking_levels[1])  # DOC: default high
        asked = render.read(task, thinks=level != self._rules.thinking_levels[0])
        entry = self._answers.take(received)
        scripted: Sequence[Answer] = entry.item if entry is not None else (default_answer(asked),)
        results = []
        for number in range(task.get("numberResults", 1)):
            made = distort(generate(scripted[min(number, len(scripted) - 1)], asked), kind)
            # INFERRED: several results read their prompt once.
            prompt, cached = (made.prompt_tokens, made.cached_tokens or 0) if number == 0 else (0, 0)
            usd = self.models[task["model"]].usd(prompt, cached, made.completion_tokens)
            results.append(render.Result(made, render.seed_of(task, number), round(usd, 9)))
        return results

    def _bill(self, task: Json, received: Received, results: Sequence[render.Result]) -> None:
        first = results[0].made
        completion = sum(result.made.completion_tokens for result in results)
        reasoning = sum(result.made.reasoning_tokens for result in results)
        usd = round(sum(result.usd for result in results), 9)
        cached = first.cached_tokens or 0
        self.invoices.append(Invoice(received, task["model"], first.prompt_tokens, cached, completion, reasoning, usd))

    # --- Streams and errors -------------------------------------------------------------------------------------

    def _stream(self, task: Any, received: Received, fault: Fault | None) -> Outcome:
        error = self._refusal(task)
        if error is not None:
            return replace(self._before_stream(*error), refused=True)
        results, items = self._accept(task, received, fault)
        if fault is not None and fault.kind == "duplicate_task":
            return self._before_stream(*self._conflict(task))
        usage = fault is None or fault.kind != "usage_missing"
        frames = render.events(task, results[0], self._shape, usage=usage, done=self._done)
        failure = render.error_entry(self.problem_in_200(None), task)
        whole = Whole(dumps({"data": items}), headers=JSON_TYPE)
        return Stream(frames, whole, dumps({"errors": [failure]}))

    def _before_stream(self, status: int, entry: Json) -> Whole:
        """FOUND[R1]: the streaming endpoint has an envelope of its own."""
        if self._stream_error == "errors":
            return Whole(dumps({"data": [], "errors": [entry]}), status, JSON_TYPE)
        outer = {name: entry[name] for name in ("taskUUID", "taskType") if name in entry}
        inner = {name: value for name, value in entry.items() if name not in outer}
        return Whole(dumps({"error": inner} | outer), status, JSON_TYPE)

    def envelope(self, problem: Problem, received: Received) -> Whole:
        tasks = [task for task in _tasks(received) if not _is_login(task)]
        if problem.type == "authentication":  # FOUND[R3], real: no data, and no task of yours
            return Whole(dumps({"errors": [render.error_entry(problem, None)]}), problem.status, JSON_TYPE)
        entry = render.error_entry(problem, tasks[0] if tasks else None)
        return Whole(dumps({"data": [], "errors": [entry]}), problem.status, JSON_TYPE)

    def other(self, received: Received) -> Whole:
        """FOUND[R15, R22]: the list needs the key and is a bare array."""
        if (received.method, received.path) != ("GET", "/v1/models"):
            return self.in_words("bad_method" if received.path == "/v1" else "no_route", received)
        if problem := self._check_key(received):
            return self.refuse(problem, received)
        rows = [
            {
                "id": name,
                "context_length": model.context,
                "max_output_tokens": model.max_output,
                "input_modalities": ["text", "image"],
                "pricing": _pricing(model),
            }
            for name, model in self.models.items()
        ]
        return Whole(dumps(rows), headers=JSON_TYPE)


def _pricing(model: Model) -> dict[str, str]:
    """Dollars for one token, as text (FOUND[R15, R22])."""
    prices = {"prompt": model.input, "completion": model.output, "input_cache_read": model.cached}
    return {name: f"{price / 1e6:.12f}" for name, price in prices.items() if price is not None}


def _tasks(received: Received) -> list[Json]:
    body = received.body if isinstance(received.body, list) else []
    return [task for task in body if isinstance(task, dict)]


def _is_login(task: Any) -> bool:
    return isinstance(task, dict) and task.get("taskType") == "authentication"
