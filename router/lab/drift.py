"""What recorded traffic shows that a configuration does not know: drift between a provider and its dialect. Pure.

Knows how to hold recorded exchanges against the rows: each answer is read again, by the very code that reads it in
service, and each request and refusal is compared with the words of the deployment that it went to. A field of an answer
counts as read if the answer is another one without it: there is no second list of what the readers know.

Refuses to say what a provider means by a field that nobody reads; and sees nothing of a request that was never sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from providers.assemble import FINISH_REASONS, dig
from providers.client import encode
from providers.errors import BadRequest, BrokenReply, GenerationAborted, ProviderError, RouterError, one_line
from providers.types import Request
from providers.wire import Call, HttpRequest
from router.lab.readings import Reading, fields_not_read, reread
from router.learning import learn

if TYPE_CHECKING:
    from providers.dialect import Endpoint, Word
    from router.config import Config, Deployment
    from router.lab.recording import Answered, Recorded, Recording

Severity = Literal["error", "warning", "info"]

# What every server of these formats says, and what alters nothing that we deliver.
_MEANS_NOTHING = frozenset(
    {
        "object",
        "created",
        "system_fingerprint",
        "service_tier",
        "role",
        "type",
        "tasktype",
        "taskuuid",
        "index",
        "status",
    }
)
_LIMIT = re.compile(r"x-ratelimit-limit-(requests|tokens)", re.IGNORECASE)
_READ = re.compile(r"retry-after(-ms)?|ratelimit|x-ratelimit-(remaining|reset)-(requests|tokens)", re.IGNORECASE)
_RATES = re.compile(r"rate-?limit|quota", re.IGNORECASE)
_DOLLARS = re.compile(r"cost|price|charge", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that the traffic shows and the configuration does not know.

    *code* names the kind; *line* is the first line of the recording that shows it, *count* how many do; *fix* a line of
    YAML for routes.yaml, where one would mend it. An `info` is to be known, nothing to be mended.
    """

    severity: Severity
    code: str
    provider: str
    deployment: str | None
    line: int
    message: str
    fix: str | None = None
    count: int = 1


def drift(recording: Recording, config: Config) -> list[Drift]:
    """Everything in *recording* that *config* does not know, in the order of the lines; the same thing once."""
    found: dict[tuple[str, str | None, str], Drift] = {}
    look = _Look(recording, config)
    for one in recording.exchanges:
        for item in look.at(one):
            key = (item.code, item.deployment or item.provider, item.message)
            known = found.get(key)
            found[key] = item if known is None else replace(known, count=known.count + 1)
    return list(found.values())


class _Look:
    """One look through a recording: what is needed for every exchange is worked out once."""

    def __init__(self, recording: Recording, config: Config) -> None:
        self._config = config
        self._polls: dict[str, list[Recorded]] = {}
        self._settled: set[tuple[str, bool, str]] = set()  # fields of answers: provider, streamed or not, path
        self._deployments: dict[tuple[str, str], Deployment | None] = {}
        self._words: dict[str, set[str]] = {}
        for one in recording.exchanges:
            for asked in one.body if _is_poll(one.body) else ():
                self._polls.setdefault(str(asked.get("taskUUID")), []).append(one)

    def at(self, one: Recorded) -> Iterator[Drift]:
        """What one exchange shows."""
        if one.withheld is not None or one.response is None or _is_poll(one.body):
            return  # nothing to read; a poll is read with the task that it asks after
        body = one.body[0] if isinstance(one.body, list) and one.body else one.body
        if not isinstance(body, dict) or "model" not in body:
            return
        deployment = self._deployment(one.provider, str(body["model"]))
        if deployment is None:
            yield _stranger(one, str(body["model"]), self._config)
            return
        place = _Place(one, body, deployment)
        yield from place.unknown_words(self._words_of(deployment.endpoint))
        yield from place.rates(one.response)
        call = _call(one, body, deployment.endpoint)
        polls = self._polls.get(str(body.get("taskUUID")), []) if isinstance(one.body, list) else []
        reading = reread(call, one.response, polls)
        if one.ended == "whole" or reading.error is None:
            yield from place.read(reading, call)
        if one.ended == "whole" and reading.error is None:
            yield from self._fields(place, call, one.response, polls)

    def _deployment(self, provider: str, model: str) -> Deployment | None:
        if (provider, model) not in self._deployments:
            own = [name for name in self._config.deployments if name.split("/", 1)[0] == provider]
            made = (self._config.deployments[name] for name in own)
            self._deployments[provider, model] = next((one for one in made if one.endpoint.wire_model == model), None)
        return self._deployments[provider, model]

    def _words_of(self, endpoint: Endpoint) -> set[str]:
        if endpoint.name not in self._words:
            self._words[endpoint.name] = _words_of(endpoint)
        return self._words[endpoint.name]

    def _fields(self, place: _Place, call: Call, answered: Answered, polls: list[Recorded]) -> Iterator[Drift]:
        """Fields of the answer that nobody reads. What was settled for one answer of a provider is so for all of them."""
        provider, streaming = place.one.provider, call.streaming

        def skip(path: str) -> bool:
            nothing = path.rsplit(".", 1)[-1].removesuffix("[]").lower() in _MEANS_NOTHING
            return nothing or (provider, streaming, path) in self._settled

        for path, value, is_read in fields_not_read(call, answered, polls, skip):
            self._settled.add((provider, streaming, path))
            if not is_read:
                yield place.unread(path, value)


def _is_poll(body: Any) -> bool:
    return isinstance(body, list) and any(
        isinstance(one, dict) and one.get("taskType") == "getResponse" for one in body
    )


def _stranger(one: Recorded, model: str, config: Config) -> Drift:
    """It went to something that the configuration does not buy."""
    provider = one.provider
    if provider in config.providers:
        name = model.rsplit("/", 1)[-1].replace(":", "-").replace("@", "-")
        message = f"no deployment of the configuration is the model {model!r} at {provider}"
        fix = f"models: {{{name}: {{deployments: [{{provider: {provider}, model: {model!r}}}]}}}}"
    else:
        message = f"the configuration has no provider {provider!r}"
        fix = f"providers: {{{provider}: {{base_url: ...}}}}"
    return Drift("warning", "unknown-deployment", provider, None, one.line, message, fix)


def _call(one: Recorded, body: Mapping[str, Any], endpoint: Endpoint) -> Call:
    """The call that the recorded request was; its facts as the protocols note them."""
    http = HttpRequest(endpoint.url, one.body, one.headers, one.method)
    streaming = body.get("stream") is True or body.get("deliveryMethod") == "stream"
    facts: dict[str, Any] = {"choices": body["n"]} if isinstance(body.get("n"), int) else {}
    if isinstance(one.body, list):
        facts = {"task": str(body.get("taskUUID")), "results": int(body.get("numberResults") or 1)}
    later = body.get("deliveryMethod") == "async"
    return Call(endpoint, http, (), _thinking(body, endpoint), streaming, facts, polled=later)


def _thinking(body: Mapping[str, Any], endpoint: Endpoint) -> bool | None:
    """False where the request plainly said that the model shall not think."""
    word = endpoint.dialect.words["reasoning_effort"]
    off = (word.levels or {}).get("none") if word is not None else None
    return False if off and all(dig(body, ".".join(path)) == value for path, value in off.items()) else None


@dataclass(frozen=True, slots=True)
class _Place:
    """One exchange, and the deployment that it went to."""

    one: Recorded
    body: Mapping[str, Any]
    deployment: Deployment

    def _found(self, severity: Severity, code: str, message: str, fix: str | None = None) -> Drift:
        return Drift(severity, code, self.one.provider, self.deployment.name, self.one.line, message, fix)

    def unknown_words(self, known: set[str]) -> Iterator[Drift]:
        """Fields of the request that the dialect has no word for: from `extra`, or from an older row."""
        for name in self.body:
            if name not in known:
                message = f"the request says {name!r}, which the dialect has no word for: it came by `extra`, or from another row"
                yield self._found("warning", "unknown-request-field", message)

    def rates(self, answered: Answered) -> Iterator[Drift]:
        """Headers about the account's limits that say otherwise than the configuration, or that nobody reads."""
        limits = self.deployment.provider.limits
        ours = {"requests": limits.requests_per_minute, "tokens": limits.tokens_per_minute}
        for name, value in answered.headers.items():
            if (limit := _LIMIT.fullmatch(name)) is not None:
                what = limit[1].lower()
                if value.isascii() and value.isdigit() and int(value) != ours[what]:
                    said = "nothing" if ours[what] is None else ours[what]
                    message = f"the provider says {name}: {value}; the configuration says {said} of {what} per minute"
                    fix = f"providers: {{{self.one.provider}: {{limits: {{{what}_per_minute: {value}}}}}}}"
                    yield self._found("info", "other-limit", message, f"{fix}  # if it is meant for a minute")
            elif _RATES.search(name) and not _READ.fullmatch(name):
                yield self._found("info", "unread-header", f"nobody reads the header {name}")

    def read(self, reading: Reading, call: Call) -> Iterator[Drift]:
        """What came of reading the answer."""
        error = reading.error
        if isinstance(error, BadRequest):
            yield self._refused(error, call)
        elif isinstance(error, BrokenReply) and not isinstance(error, GenerationAborted):
            message = f"the answer cannot be read: {type(error).__name__}: {one_line(error.message)}"
            yield self._found("error", "unreadable-answer", message)
        for raw in reading.finish_reasons:
            known = {**FINISH_REASONS, **self.deployment.endpoint.dialect.reading.finish_reasons}
            if raw not in known:
                fix = f"providers: {{{self.one.provider}: {{reading: {{finish_reasons: {{{raw}: stop}}}}}}}}"
                message = f"the answer ended with {raw!r}, which is read as `unknown`"
                yield self._found("warning", "unknown-finish-reason", message, f"{fix}  # or whatever it means")
        for change in reading.changes:
            yield self._found(
                "warning", "not-as-sent", f"the answer is not as it was asked for: {one_line(str(change))}"
            )

    def _refused(self, error: ProviderError, call: Call) -> Drift:
        fact = learn(error, call)
        said = one_line(error.message)
        if fact is None:
            return self._found("warning", "refused", f"the request was refused, and it is not plain why: {said}")
        what = (
            f"takes only {', '.join(fact.allowed)} for {fact.wire!r}"
            if fact.allowed
            else f"does not take {fact.wire!r}"
        )
        return self._found("error", "refused-parameter", f"the provider {what} ({said})", fact.fix)

    def unread(self, path: str, value: Any) -> Drift:
        """A field of the answer that nobody reads."""
        message = f"nobody reads the answer's field {path}"
        plain = path.removeprefix("data[].")
        if _DOLLARS.search(path.rsplit(".", 1)[-1]) and not isinstance(value, bool) and "[]" not in plain:
            fix = f"providers: {{{self.one.provider}: {{reading: {{cost: [{plain}]}}}}}}  # if it is dollars"
            return self._found("warning", "unread-cost", message, fix)
        return self._found("info", "unread-usage" if "usage" in path.split(".") else "unread-field", message)


def _words_of(endpoint: Endpoint) -> set[str]:
    """The names at the top of a body that this endpoint's dialect can say."""
    dialect = endpoint.dialect
    known = {*dialect.always, *dialect.when_streaming, "deliveryMethod", "webhookURL"}
    known |= {path[0] for word in dialect.words.values() if word is not None for path in _paths(word)}
    if dialect.continuation is not None:
        known |= set(dialect.continuation.fields)
    if dialect.system.to is not None:
        known.add(dialect.system.to.split(".")[0])
    request = Request(model="m", messages=[{"role": "user", "content": "?"}])
    for streaming in (False, True):
        try:
            body = encode(request, endpoint, streaming=streaming, key="drift").http.json
        except RouterError:
            continue
        known |= set(body[0] if isinstance(body, list) else body)
    return known


def _paths(word: Word) -> Iterator[tuple[str, ...]]:
    yield word.path
    for said in (word.levels or {}).values():
        yield from said or ()
