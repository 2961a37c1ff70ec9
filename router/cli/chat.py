"""`router chat`: ask, and read the answer as it comes.

The answer goes to stdout; reasoning, footer and errors go to stderr, so that a pipe gets the answer alone.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from router.cli.base import FOUND, Failure, config_option, json_option, needs_a_key, open_config, say, warn
from router.cli.output import (
    attempt_facts,
    change_facts,
    cost_facts,
    plain,
    print_json,
)

if TYPE_CHECKING:
    from providers.types import Completion
    from router import Router
    from router.cli.talk import Screen
    from router.config import Config, Route
    from router.lab.recorder import Recorder

_EPILOG = """\b
Examples:
  router chat "17 * 23?"
  router chat --model qwen3.5-27b --effort high "Prove it."
  router chat --config routes.yaml --model chat < prompt.txt > answer.txt
  router chat --json "17 * 23?" | jq .router.deployment
  router chat --record traffic.jsonl "17 * 23?"
  router chat                     a conversation: Ctrl-C interrupts an answer, Ctrl-D ends it

The answer goes to stdout, all else to stderr.

\b
Exit codes: 0; 1 no answer; 2 wrong usage, request or configuration, no key; 130 interrupted.
"""
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


@click.command(short_help="Ask, and read the answer as it comes.", epilog=_EPILOG)
@click.argument("prompt", required=False)
@click.option("-m", "--model", metavar="M", help="A route, a model, or provider/model. [default: the first with a key]")
@click.option("-s", "--system", metavar="S", help="The system message.")
@click.option("-e", "--effort", type=click.Choice(EFFORTS), help="How much reasoning.")
@click.option("--max-tokens", type=click.IntRange(min=1), metavar="N", help="At most so many, reasoning included.")
@click.option("--no-stream", is_flag=True, help="Wait for the whole answer.")
@click.option("--record", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Record the traffic, without keys, at the end of FILE.")  # fmt: skip
@config_option
@json_option
def chat(
    *,
    prompt: str | None,
    model: str | None,
    system: str | None,
    effort: str | None,
    max_tokens: int | None,
    no_stream: bool,
    record: Path | None,
    config: Path | None,
    as_json: bool,
) -> int:
    """Ask PROMPT, or what stdin says, and read the answer; without both, have a conversation."""
    opened = open_config(config)
    route = _route(opened, model)
    needs_a_key(route)
    asked = {"model": route.name, "reasoning_effort": effort, "max_tokens": max_tokens}
    said = [{"role": "system", "content": system}] if system else []
    text = _prompt(prompt)
    if text is None and as_json:
        raise click.UsageError("--json needs a PROMPT, or one on stdin")
    with _recording(record, opened) as recorder, asyncio.Runner() as runner:
        talk = _Talk(_router(opened, recorder), asked, said, streaming=not no_stream)
        try:
            if text is None:
                return _converse(runner, talk)
            return runner.run(talk.once_as_json(text) if as_json else talk.once(text))
        finally:
            runner.run(talk.router.close())


@contextmanager
def _recording(file: Path | None, config: Config) -> Iterator[Recorder | None]:
    """What records the conversation, where it is to be recorded."""
    if file is None:
        yield None
        return
    from router.lab.recorder import Recorder, secrets_of
    from router.lab.recording import RecordingError

    try:
        recorder = Recorder(file, secrets=secrets_of(config.providers))
    except RecordingError as error:
        raise Failure(str(error), hint="record into another file") from None
    with recorder:
        yield recorder
    if recorder.stopped:
        warn(f"{recorder.stopped}; what came after is not recorded")


def _router(config: Config, recorder: Recorder | None) -> Router:
    from router import Router

    return Router(config) if recorder is None else Router(config, transports=recorder)


def _route(config: Config, model: str | None) -> Route:
    """The route of that name; else the first of the file, else the first model that somebody with a key serves."""
    from router.errors import UnknownModel

    if model is not None:
        if (found := config.route(model)) is None:
            raise UnknownModel(model, config.names())
        return found
    if config.routes:
        return config.routes[next(iter(config.routes))]
    for route in config.models.values():
        if any(deployment.provider.usable for deployment in route.deployments):
            return route
    names = dict.fromkeys(name for provider in config.providers.values() for name in provider.missing)
    message = f"no API key: set one of {', '.join(names)}"
    raise Failure(message, hint="or try it without a key: router demo")


def _prompt(given: str | None) -> str | None:
    """What is asked; None for a conversation."""
    if given is None and sys.stdin.isatty():
        return None
    text = sys.stdin.read().rstrip("\n") if given in (None, "-") else given
    if not text or not text.strip():
        raise click.UsageError("the prompt is empty: give one as PROMPT, or on stdin")
    return text


def _converse(runner: asyncio.Runner, talk: _Talk) -> int:
    """Turns until Ctrl-D. A turn that fails, or is interrupted, is forgotten."""
    with suppress(ImportError):
        import readline  # noqa: F401  # gives `input` a history and keys; not everywhere
    talk.screen.note(f"{talk.asked['model']}: Ctrl-C interrupts an answer, Ctrl-D ends.")
    while True:
        try:
            text = input("> ")
        except EOFError:
            talk.screen.note("")
            return 0
        except KeyboardInterrupt:
            talk.screen.note("\nCtrl-D ends.")
            continue
        if not text.strip():
            continue
        try:
            runner.run(talk.once(text))
        except KeyboardInterrupt:
            talk.screen.note("\ninterrupted")
        except Exception as error:  # noqa: BLE001  # said; the conversation goes on
            say(error)


class _Talk:
    """A conversation: what was said so far, and how the next turn is asked."""

    def __init__(self, router: Router, asked: dict[str, Any], said: list[Any], *, streaming: bool) -> None:
        from router.cli.talk import Screen

        self.router, self.asked, self.said, self._streaming = router, asked, said, streaming
        self.screen: Screen = Screen()

    def _request(self, text: str) -> dict[str, Any]:
        return {**self.asked, "messages": [*self.said, {"role": "user", "content": text}]}

    async def once(self, text: str) -> int:
        """Ask, show, remember."""
        from router.errors import DeadlineExceeded, StreamInterrupted

        request = self._request(text)
        try:
            answer = (
                await self.screen.follow(self.router.stream(request)) if self._streaming else await self._whole(request)
            )
        except (StreamInterrupted, DeadlineExceeded) as error:
            if error.partial is not None:
                self.screen.footer(error.partial)
            raise
        self.screen.footer(answer)
        self.said = [*request["messages"], answer.message]
        return 0

    async def _whole(self, request: dict[str, Any]) -> Completion:
        answer = await self.router.complete(request)
        self.screen.show(answer)
        return answer

    async def once_as_json(self, text: str) -> int:
        """Ask, and print all that is known of the answer as one object."""
        from router.errors import DeadlineExceeded, DeploymentsExhausted

        try:
            answer = await self.router.complete(self._request(text))
        except (DeploymentsExhausted, DeadlineExceeded) as error:
            failed = {"type": type(error).__name__, "message": getattr(error, "message", str(error))}
            print_json({"error": failed, "router": {"attempts": [attempt_facts(one) for one in error.attempts]}})
            say(error)
            return FOUND
        print_json({**answer.to_openai(), "router": router_facts(answer)})
        return 0


def router_facts(answer: Completion) -> dict[str, Any]:
    """What the router did for *answer*, ready for JSON."""
    return {
        "deployment": answer.deployment,
        "changes": [plain(change_facts(one)) for one in answer.changes],
        "attempts": [attempt_facts(one) for one in answer.attempts],
        "cost": cost_facts(answer.cost),
    }
