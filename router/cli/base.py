"""What the commands share: options, exit codes, how an error is said, how a configuration is opened.

Knows every way in which a run can end. Refuses to know tables (`output`) and what any command does.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from router.config import Config, Route
    from router.documents import Document

FOUND = 1  # findings, or no answer
WRONG = 2  # usage, input, configuration
BUG = 70  # ours: EX_SOFTWARE of sysexits.h
INTERRUPTED = 130  # 128 + SIGINT, as a shell has it
BROKEN_PIPE = 141  # 128 + SIGPIPE: whoever read our output has seen enough

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # where the output goes there is no room for it

_SILENCE = logging.NullHandler()  # what the log would say, the output says
_USE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")  # one without a default

FILE = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
config_option = click.option("-c", "--config", "config", type=FILE, metavar="F", help="The routes file (YAML).")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")


class Failure(Exception):
    """The end of a command: *message*, what to do next, and the exit code."""

    def __init__(self, message: str, *, hint: str = "", code: int = WRONG) -> None:
        self.hint, self.code = hint, code
        super().__init__(message)


# -- endings ----------------------------------------------------------------------------------------------------------


def guarded(run: Callable[[], Any]) -> int:
    """The exit code of *run*, whatever happens in it; errors are said on stderr."""
    logging.getLogger("router").addHandler(_SILENCE)
    try:
        code = run()
        sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return BROKEN_PIPE
    except OSError as error:
        if error.errno not in _FULL:
            return say(error)
        _forget_stdout()
        return say(Failure(f"the output cannot be written: {error.strerror}", hint="make room where it goes"))
    except click.exceptions.Exit as ending:
        return ending.exit_code
    except Exception as error:  # noqa: BLE001  # nobody above us would say it better
        return say(error)
    return code if isinstance(code, int) else 0


def _forget_stdout() -> None:
    """Let the interpreter flush what nobody reads any more into nothing, silently."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        pass  # not a file: nothing will be flushed


def say(error: BaseException) -> int:
    """Say *error* on stderr with what to do next; its exit code."""
    message, hint, code = _in_words(error)
    click.secho("error:", fg="red", bold=True, nl=False, err=True, color=None if colours() else False)
    click.echo(f" {message}", err=True)
    if hint:
        click.echo(f"  {hint}", err=True)
    return code


def warn(message: str) -> None:
    """Say on stderr what will disappoint, but is allowed."""
    click.secho("warning:", fg="yellow", bold=True, nl=False, err=True, color=None if colours() else False)
    click.echo(f" {message}", err=True)


def colours() -> bool:
    """Whether colours are welcome: https://no-color.org."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _in_words(error: BaseException) -> tuple[str, str, int]:
    from router import errors as e

    if isinstance(error, Failure):
        return str(error), error.hint, error.code
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx is not None else "router"
        return error.format_message(), f"see: {command} --help", WRONG
    if isinstance(error, click.ClickException):
        return error.format_message(), "", WRONG
    if isinstance(error, e.ConfigError):
        file = next((one.file for one in error.problems if one.file), None)
        return str(error), f"see: router check {file}" if file and Path(file).is_file() else "", WRONG
    if isinstance(error, e.UnknownModel):
        return str(error), "see: router models", WRONG
    if isinstance(error, e.InvalidRequest):
        return str(error), "", WRONG
    if isinstance(error, e.NoDeployment):
        return str(error), "see: router plan, which shows what each of them would be sent", FOUND
    if isinstance(error, e.DeploymentsExhausted):
        return error.message, "see: router plan, which shows what each of them is sent", FOUND
    if isinstance(error, e.RouterError):
        return str(error), "", FOUND
    return f"this is a bug in the router: {type(error).__name__}: {error}", "please report it", BUG


@contextmanager
def explained(files: Iterable[Path | str], where: str) -> Iterator[None]:
    """A mistake in one of *files* sends its reader to *where* they are explained: `router check` reads routes files alone."""
    from router.errors import ConfigError

    try:
        yield
    except ConfigError as error:
        file = next((one.file for one in error.problems if one.file), None)
        if file is None or file not in {str(one) for one in files}:
            raise
        raise Failure(str(error), hint=f"its format: {where}") from None


# -- configurations ---------------------------------------------------------------------------------------------------


def open_config(path: Path | None, *, ignore_keys: bool = False) -> Config:
    """The configuration in *path*, else the packaged catalog's. Its warnings go to stderr."""
    from router.load import load

    config = load(path, environ=with_keys(path) if ignore_keys else os.environ)
    for problem in config.warnings:
        warn(str(problem))
    return config


def with_keys(path: Path | None) -> Mapping[str, str]:
    """The environment, with something in every variable that should hold a key and holds none."""
    from router import catalog, documents

    written = [catalog.document().value]
    if path is not None:
        written.append(documents.read(path, file=str(path)).value)
    return _placeholders(written) | {name: value for name, value in os.environ.items() if value}


def with_own_keys(document: Document | None) -> Mapping[str, str]:
    """The environment, with something in every variable of a key that *document* itself asks for and that is not set."""
    return _placeholders([document.value if document is not None else None]) | dict(os.environ)


def _placeholders(written: Iterable[Any]) -> dict[str, str]:
    return {name: f"no-key-in-{name}" for value in written for name in _key_variables(value)}


def _key_variables(value: Any) -> set[str]:
    """The variables under the keys `api_key` and `api_keys`, wherever these stand."""
    if isinstance(value, list):
        return {name for item in value for name in _key_variables(item)}
    if not isinstance(value, dict):
        return set()
    names: set[str] = set()
    for key, item in value.items():
        names |= set(_USE.findall(str(item))) if key in ("api_key", "api_keys") else _key_variables(item)
    return names


def needs_a_key(route: Route) -> None:
    """Refuse a *route* none of whose providers has a key.

    Raises:
        Failure: names the variables to set.
    """
    providers = {deployment.provider.name: deployment.provider for deployment in route.deployments}.values()
    if any(provider.usable for provider in providers):
        return
    names = list(dict.fromkeys(name for provider in providers for name in provider.missing))
    wanted = " or ".join(names) if names else "api_key under providers, in the routes file"
    message = f"no API key for {route.name!r}: set {wanted}"
    raise Failure(message, hint="or try it without a key: router demo")
