"""The `router` command: one module for each of its commands; what they share is in `base` and `output`.

Knows which commands there are and how a run ends: its exit code, and an error in words, never as a traceback. Whatever
a command needs beside click it imports when it runs, so that `router --help` is quick.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import click

from router.cli import chat, check, demo, drift, drill, emulate, models, plan, replay, schema, simulate
from router.cli.base import guarded

__all__ = ["cli", "main"]

_COMMANDS = (
    demo.demo, chat.chat, plan.plan, check.check, drill.drill, simulate.simulate, models.models, schema.schema,
    emulate.emulate, drift.drift, replay.replay,
)  # fmt: skip
_EPILOG = """\b
Exit codes:
  0    done, and nothing to complain about
  1    findings, or no answer
  2    wrong usage, wrong input or a wrong configuration
  130  interrupted

\b
Start here:
  router demo                     a failover, in two seconds, without a key
  router check routes.yaml        what is wrong with a configuration
  router drill routes.yaml        what it does when providers fail
  router plan request.json        who would be asked, and in which words
"""


class _Commands(click.Group):
    """A group whose every ending is an exit code. Commands return theirs; None is 0."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in our order: what one needs first comes first

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run, and exit; or return the exit code where that is asked for."""
        run: Callable[..., Any] = super().main
        code = guarded(lambda: run(*args, standalone_mode=False, **extra))
        if standalone_mode:
            sys.exit(code)
        return code

    def invoke(self, ctx: click.Context) -> int:
        """Run the command inside click, which has opinions of its own about interrupts and broken pipes."""
        return guarded(lambda: super(_Commands, self).invoke(ctx))


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001  # as click calls it
    from importlib.metadata import PackageNotFoundError, version

    if not wanted or ctx.resilient_parsing:
        return
    try:
        click.echo(f"router {version('provider-router')}")
    except PackageNotFoundError:
        click.echo("router, not installed: run from its source")
    ctx.exit(0)


@click.group(
    "router",
    cls=_Commands,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version,
              help="Print the version.")  # fmt: skip
def cli() -> None:
    """Send one canonical chat request to open-weight models at several providers.

    The same meaning on every route, or the route is not used; failover that you can try today, without a key.
    """


for _command in _COMMANDS:
    cli.add_command(_command)


def _open_closed() -> None:
    """Put something into the place of an output that was closed before we began (`>&-`): nobody wants to read it.

    Python has None there, and a file or socket of ours that took the free number would get what is printed.
    """
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", closefd=False))


def main() -> None:
    """Run the command line of this process, and exit."""
    _open_closed()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a character is no reason to fail
    cli(prog_name="router")
