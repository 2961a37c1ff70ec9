"""A key is where it must be, in one header of one request, and nowhere else: in no log, repr, text, plan or error.

A canary takes the place of the key. What is looked for is any piece of it, because half a key is a leak too; and it is
looked for in everything that can be reached from what a caller gets: chained exceptions, attempts, events, renderings.
"""

from __future__ import annotations

import json
import logging
import pprint
import ssl
import traceback
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from router import Request, Router
from router.errors import ConfigError, RouterError
from router.lab import Answer, Fault, emulate_all
from router.load import load
from tests.wire.replay import Reply, replay

CANARY = "sk-canary-QZ7xPq4VbN2mWd9RtKc3LfYh8JsGe5Tu"
PIECE = 9  # characters of the key that are already too many
PIECES = [CANARY[start : start + PIECE] for start in range(3, len(CANARY) - PIECE + 1)]
MODELS = {
    "mixlayer": "mixlayer/qwen3.5-27b",
    "runware": "runware/qwen3.5-27b",
    "empiriolabs": "empiriolabs/qwen3.5-4b",
    "aiml": "aiml/qwen3.6-35b-a3b",
}
QUESTION = [{"role": "user", "content": "17 * 23?"}]


WHOLE = ("Endpoint", "Deployment", "Provider", "Config", "Health")  # rendered, not opened


def leaks(*things: Any) -> list[str]:
    """Where a piece of the canary shows, in any rendering of *things* and of what hangs on them."""
    found = []
    for thing, path in reachable(things):
        for text in renderings(thing):
            if any(piece in text for piece in PIECES):
                found.append(f"{path}: {text[:300]}")
                break
    return found


def renderings(thing: Any) -> Iterable[str]:
    if isinstance(thing, str):
        return [thing]
    if isinstance(thing, bytes):
        return [thing.decode("utf-8", "replace")]
    return dict.fromkeys([repr(thing), str(thing), f"{thing}"])


def reachable(things: Iterable[Any]) -> Iterable[tuple[Any, str]]:
    """*things* and what they hold, as far as it is a value, an error or a record."""
    seen: set[int] = set()
    queue = [(thing, type(thing).__name__) for thing in things]
    while queue:
        thing, path = queue.pop()
        if id(thing) in seen or type(thing).__name__ == "Secret":
            continue
        seen.add(id(thing))
        yield thing, path
        queue += [(inner, f"{path}.{name}") for name, inner in held(thing)]


def held(thing: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(thing, BaseException):
        yield "text", "".join(traceback.format_exception(thing))
        yield from (("cause", thing.__cause__), ("context", thing.__context__), ("args", thing.args))
        yield from vars(thing).items()
        yield from enumerate_(getattr(thing, "exceptions", ()))
    elif type(thing).__name__ in WHOLE:
        return
    elif is_dataclass(thing) and not isinstance(thing, type):
        yield from ((field.name, getattr(thing, field.name, None)) for field in fields(thing))
    elif isinstance(thing, Mapping):
        yield from ((str(name), inner) for name, inner in thing.items())
        yield from ((f"{name!r} itself", name) for name in thing if isinstance(name, str))
    elif isinstance(thing, list | tuple | set | frozenset):
        yield from enumerate_(thing)
    elif type(thing).__module__.startswith(("router.", "providers.")):
        names = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
        public = [name for name in (*names, *getattr(thing, "__dict__", ())) if not name.startswith("_")]
        yield from ((name, getattr(thing, name, None)) for name in public)
        if hasattr(thing, "candidates"):
            yield from (("candidates", thing.candidates), ("excluded", thing.excluded))
        if hasattr(thing, "body"):
            yield "body", thing.body


def enumerate_(things: Iterable[Any]) -> Iterable[tuple[str, Any]]:
    return ((f"[{place}]", thing) for place, thing in enumerate(things))


def test_a_leak_is_seen():
    """What looks for the canary finds it: in a chained exception, in an attribute, in a piece."""
    try:
        try:
            raise ValueError(f"Bearer {CANARY}")  # noqa: TRY301  # two errors, one inside the other
        except ValueError:
            raise RouterError("nothing to see") from None
    except RouterError as error:
        hidden = error
    spoken = RouterError("nothing to see")
    vars(spoken)["body"] = CANARY[10:20]

    assert leaks(hidden)
    assert leaks(spoken)
    assert leaks({"a": [CANARY[:16]]})
    assert not leaks(RouterError("sk-canary"), "sk-", 5)


@asynccontextmanager
async def watched(base_urls: Mapping[str, str], **more: Any) -> AsyncIterator[tuple[Router, list[Any]]]:
    """A router whose keys are canaries, and everything that its hooks are told."""
    told: list[Any] = []
    source = {
        "providers": {name: {"base_url": url, "api_key": CANARY, **more} for name, url in base_urls.items()},
        "models": {"m": {"deployments": [{"provider": "any", "model": "m"}]}} if "any" in base_urls else {},
        "routes": {"chat": {"deployments": [MODELS.get(name, "any/m") for name in base_urls]}},
        "policies": {
            "default": {
                "attempts": 2,
                "deadline": "3s",
                "backoff": {"initial": "1ms", "max": "1ms"},
                "timeouts": {"connect": "1s", "headers": "100ms", "first_token": "100ms", "idle": "100ms"},
            }
        },
    }
    async with Router.open(source, environ={}, hooks=[told.append]) as router:
        yield router, told


async def outcome(router: Router, model: str, *, stream: bool) -> list[Any]:
    """Everything that a caller gets: the answer or the error, the chunks, the plan."""
    request = Request(model=model, messages=QUESTION)
    got: list[Any] = [request, router.plan(request), router.plan(request, streaming=stream)]
    try:
        if stream:
            async for chunk in router.stream(request):
                got.append(chunk)  # noqa: PERF401  # what came before an error counts
        else:
            answer = await router.complete(request)
            got += [answer, answer.to_openai()]
    except RouterError as error:
        got.append(error)
    return [*got, router, router.health]


def configuration(router: Router) -> list[Any]:
    """The configuration, as a person would look at it."""
    config = router.config
    parts = (config, config.providers, config.gateway, config.deployments[one(router)])
    return [*parts, *map(pprint.pformat, parts)]


def one(router: Router) -> str:
    """The deployment that the route asks first."""
    return router.config.routes["chat"].deployments[0].name


@pytest.fixture
def logged(caplog):
    """Every log record, of every logger, down to the last level."""
    caplog.set_level(0)
    for name in list(logging.root.manager.loggerDict):
        logging.getLogger(name).setLevel(0)
    return caplog


def said(logged: pytest.LogCaptureFixture) -> list[Any]:
    return [logged.text, *(vars(record) for record in logged.records)]


@pytest.mark.parametrize("stream", [False, True], ids=["complete", "stream"])
async def test_a_success_shows_no_key(stream, logged):
    """And the provider gets it, in the one header that it belongs in."""
    async with emulate_all(api_key=CANARY) as running:
        async with watched({name: one.base_url for name, one in running.items()}) as (router, told):
            got = [await outcome(router, model, stream=stream) for model in MODELS.values()]
            found = leaks(got, told, configuration(router), *said(logged))
        for emulator in running.values():
            (received,) = emulator.requests
            assert f"Bearer {CANARY}" == received.headers["Authorization"]
            assert CANARY not in received.raw.decode()
            assert [200] == [received.status]

    assert [] == found


FAULTS = {
    "rate_limited": Fault.rate_limited(0.01),
    "out_of_credit": Fault.out_of_credit(),
    "bad_key": Fault.bad_key(),
    "server_error": Fault.server_error(),
    "model_gone": Fault.model_gone(),
    "context_length": Fault.context_length(),
    "content_policy": Fault.content_policy(),
    "error_in_200": Fault.error_in_200(),
    "refuse": Fault.refuse(),
    "reset": Fault.reset(),
    "silence": Fault.silence(),
    "garbage": Fault.garbage(),
    "half a header": Fault.garbage(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000),
    "a bad length": Fault.garbage(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"),
    "a bad chunk": Fault.garbage(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "a bad encoding": Fault.garbage(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd"),
    "redirect": Fault.redirect(f"https://example.com/?key={CANARY}"),
    "html": Fault.html_200(),
    "empty": Fault.empty_200(),
    "lost_response": Fault.lost_response(),
    "truncate_body": Fault.truncate_body(10),
    "body_reset": Fault.body_reset(),
    "cut_after": Fault.cut_after(2),
    "reset_after": Fault.reset_after(3),
    "stall_after": Fault.stall_after(2),
    "malformed_event": Fault.malformed_event(1),
    "error_event": Fault.error_event(2),
    "abort": Fault.abort(),
    "empty_stream": Fault.empty_stream(),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_failure_shows_no_key(name, logged):
    """Whichever way a call fails, whole and streamed, at a chat provider and at a task provider."""
    found = []
    async with emulate_all(api_key=CANARY, names=("aiml", "runware")) as running:
        for emulator in running.values():
            emulator.reply(Answer("one two three four", "five six"))
            emulator.fail(FAULTS[name], times=None)
        async with watched({name: one.base_url for name, one in running.items()}) as (router, told):
            for stream in (False, True):
                got = await outcome(router, "chat", stream=stream)
                found += leaks(got, told)

    assert [] == found + leaks(*said(logged))


LONG = "x" * (500 - len(CANARY) // 2)  # a text that is cut inside the key
HUGE = "y" * (65_536 - len(CANARY) // 2)
INVALID = f"Incorrect API key provided: {CANARY}. You can find it elsewhere."
ECHOES: dict[str, Reply] = {
    "a message": Reply(json.dumps({"error": {"message": INVALID}}).encode(), 401),
    "a code": Reply(json.dumps({"error": {"message": "no", "code": CANARY, "type": CANARY}}).encode(), 401),
    "a parameter": Reply(json.dumps({"error": {"message": "no", "param": CANARY}}).encode(), 400),
    "allowed values": Reply(
        json.dumps({"errors": [{"message": "no", "parameter": "apiKey", "allowedValues": [CANARY]}]}).encode(), 400
    ),
    "a request id": Reply(json.dumps({"message": "no", "requestId": CANARY}).encode(), 500),
    "a header": Reply(b"{}", 500, headers={"x-request-id": CANARY, "x-echo": CANARY}),
    "a plain text": Reply(INVALID.encode(), 500, "text/plain"),
    "a page": Reply(f"<html><body>{INVALID}</body></html>".encode(), 502, "text/html"),
    "a page under 200": Reply(f"<html><body>{INVALID}</body></html>".encode(), 200, "text/html"),
    "a text that is cut in the key": Reply((LONG + CANARY + LONG).encode(), 500, "text/plain"),
    "a body that is cut in the key": Reply((HUGE + CANARY + "z" * 1000).encode(), 500, "text/plain"),
    "a body cut there under 200": Reply(("y" * (2000 - 20) + CANARY).encode(), 200, "application/json"),
    "a string": Reply(json.dumps({"error": INVALID}).encode(), 403),
    "an error in 200": Reply(json.dumps({"error": {"message": INVALID, "code": 503}}).encode(), 200),
    "no JSON": Reply(f'{{"error": "{CANARY}'.encode(), 200),
    "a list": Reply(json.dumps([CANARY]).encode(), 200),
    "an event": Reply(f"data: {json.dumps({'error': {'message': INVALID}})}\n\n".encode(), 200, "text/event-stream"),
    "a broken event": Reply(f"data: {CANARY}\n\n".encode(), 200, "text/event-stream"),
    "an event after text": Reply(
        b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\ndata: {"error":"' + CANARY.encode() + b'"}\n\n',
        200,
        "text/event-stream",
    ),
    "a status line": Reply(b"", raw=f"HTTP/1.1 {CANARY}\r\n\r\n".encode()),
    "a bad header": Reply(b"", raw=f"HTTP/1.1 200 OK\r\n{CANARY}\r\n\r\n".encode()),
    "a redirect": Reply(b"", 302, headers={"Location": f"/?key={CANARY}"}),
    "an end": Reply(
        json.dumps({"choices": [{"message": {"content": "x"}, "finish_reason": "abort"}], "error": CANARY}).encode()
    ),
}


@pytest.mark.parametrize("name", ECHOES)
async def test_a_provider_that_echoes_the_key(name, logged):
    """What it says is repeated without the key, also where the text was cut in the middle of it."""
    found = []
    async with replay(ECHOES[name]) as server, watched({"any": server.base_url}) as (router, told):
        for stream in (False, True):
            found += leaks(await outcome(router, "chat", stream=stream), told)
        assert [CANARY] == [head.split("Bearer ")[1].split("\r")[0] for head in server.heads][:1]

    assert [] == found + leaks(*said(logged))


async def test_a_task_provider_that_echoes_the_key(logged):
    """In the parameter and the values that it would have taken."""
    error = {
        "code": "invalidApiKey",
        "message": INVALID,
        "parameter": CANARY,
        "allowedValues": [CANARY],
        "type": CANARY,
    }
    found = []
    for status in (200, 400, 401):
        reply = Reply(json.dumps({"errors": [error]}).encode(), status)
        async with replay(reply) as server, watched({"runware": server.base_url}) as (router, told):
            for stream in (False, True):
                found += leaks(await outcome(router, "chat", stream=stream), told)

    assert [] == found + leaks(*said(logged))


@pytest.mark.parametrize(
    "base_url",
    ["http://127.0.0.1:1/v1", "http://nowhere.invalid/v1", "https://127.0.0.1:1/v1", "http://[::1]:1/v1"],
)
async def test_a_provider_that_cannot_be_reached(base_url, logged):
    """No connection, no name, no TLS."""
    async with watched({"any": base_url}) as (router, told):
        found = leaks(await outcome(router, "chat", stream=False), await outcome(router, "chat", stream=True), told)

    assert [] == found + leaks(*said(logged))


async def test_a_provider_that_speaks_no_tls(logged):
    """A handshake with a server of plain HTTP."""
    plain = Reply(b"{}")
    async with replay(plain) as server, watched({"any": server.base_url.replace("http", "https")}) as (router, told):
        found = leaks(await outcome(router, "chat", stream=False), told)

    assert [] == found + leaks(*said(logged))
    assert ssl.OPENSSL_VERSION  # else the handshake was not what failed


# -- the configuration ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "account",
    [
        {"api_key": CANARY},
        {"api_key": "${THE_KEY}"},
        {"api_key": "${NO_KEY:-" + CANARY + "}"},
        {"api_keys": [CANARY, "sk-other"]},
        {"api_keys": {"main": CANARY}},
        {"api_key": CANARY, "auth": {"header": "x-api-key", "scheme": ""}},
        {"api_key": "sk-other", "headers": {"x-second-key": "${THE_KEY}"}},
    ],
    ids=json.dumps,
)
async def test_a_key_anywhere_in_the_configuration(account, logged):
    """It is sent, and in no rendering of configuration, router, plan, answer or error."""
    async with replay(Reply(b'{"error": {"message": "no"}}', 500)) as server:
        providers = {"any": {"base_url": server.base_url, **account}}
        source = {
            "providers": providers,
            "models": {"m": {"deployments": [{"provider": "any", "model": "m"}]}},
            "gateway": {"api_keys": [CANARY]},
            "routes": {"chat": {"deployments": ["any/m"]}},
            "policies": {"default": {"attempts": 1}},
        }
        async with Router.open(source, environ={"THE_KEY": CANARY}) as router:
            found = leaks(await outcome(router, "any/m", stream=False), configuration(router))
        assert any(CANARY in head for head in server.heads)

    assert [] == found + leaks(*said(logged))


WRONG = {
    "a key for a number": 'providers: {mixlayer: {api_key: ["K"]}}',
    "a mapping for a key": "providers: {mixlayer: {api_key: {key: K}}}",
    "a text for a pool": 'providers: {mixlayer: {api_keys: "K"}}',
    "twins": "providers: {mixlayer: {api_keys: [K, K]}}",
    "both": "providers: {mixlayer: {api_keys: [K], api_key: K}}",
    "a space": 'providers: {mixlayer: {api_key: "K K"}}',
    "a line end": 'providers: {mixlayer: {api_key: "K\\nX-Evil: K"}}',
    "beyond ASCII": 'providers: {mixlayer: {api_key: "Ké"}}',
    "a wrong name": "providers: {mixlayer: {api_kye: K}}",
    "an open quote": 'providers:\n  mixlayer:\n    api_key: "K\n',
    "a tab": "providers:\n  mixlayer:\n\tapi_key: K\n",
    "an alias": "providers: {mixlayer: {api_key: &k K}, aiml: {api_key: *k}}",
    "a tag": "providers: {mixlayer: {api_key: !!binary K}}",
    "a key in a URL": "providers: {mixlayer: {base_url: 'https://u:K@example.com/v1'}}",
    "a key in a query": "providers: {mixlayer: {base_url: 'https://example.com/v1?key=K'}}",
    "a nested variable": 'providers: {mixlayer: {api_key: "${A:-${K}}"}}',
    "a variable's name": 'providers: {mixlayer: {api_key: "${THE_KYE}"}}',
    "a broken header": 'providers: {mixlayer: {headers: {X-Note: "K\\n"}}}',
    "a gateway's key": 'gateway: {api_keys: "K"}',
    "a gateway's twins": "gateway: {api_keys: [K, K]}",
    "beside an error": "providers: {mixlayer: {api_key: K, colour: red}}",
    "twice": "providers: {mixlayer: {api_key: K, api_key: K}}",
    "a variable for a number": 'policies: {default: {attempts: "${THE_KEY}"}}',
    "a variable for a word": 'routes: {chat: {deployments: ["${THE_KEY}"], select: "${THE_KEY}"}}',
    "a variable for a protocol": 'providers: {x: {protocol: "${THE_KEY}", base_url: "${THE_KEY}"}}',
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_refused_without_repeating_a_key(name, tmp_path, logged):
    """The place is named; what stands there is not, where it may be a key."""
    path = tmp_path / "routes.yaml"
    path.write_text(WRONG[name].replace("K", CANARY) if "THE_K" not in WRONG[name] else WRONG[name])
    with pytest.raises(ConfigError) as caught:
        load(path, environ={"THE_KEY": CANARY})

    assert [] == leaks(caught.value, *caught.value.problems, *said(logged))
