"""Runs the command: inside this process where nothing else matters, as a process of its own where that is the point."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from click.testing import CliRunner

from router.cli import cli

ROOT = Path(__file__).resolve().parent.parent.parent
COMMAND = [sys.executable, "-m", "router.cli"]
KEYS = {name: f"secret-{name.lower()}" for name in
        ("MIXLAYER_API_KEY", "RUNWARE_API_KEY", "EMPIRIOLABS_API_KEY", "AIML_API_KEY")}  # fmt: skip
NO_KEYS = dict.fromkeys(KEYS)  # CliRunner takes these out of the environment


class Ran(NamedTuple):
    """How a run ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(*arguments: str, keys: bool = False, text: str | None = None, **environ: str | None) -> Ran:
    """Inside this process, 80 columns wide."""
    given: dict[str, str | None] = {**(KEYS if keys else NO_KEYS), "COLUMNS": "80", **environ}
    done = CliRunner().invoke(cli, list(arguments), input=text, env=given)
    assert "Traceback" not in done.stderr
    return Ran(done.exit_code, done.stdout, done.stderr)


def environment(**more: str) -> dict[str, str]:
    """This process's, without keys and colours."""
    dropped = {*KEYS, "NO_COLOR", "FORCE_COLOR", "COLUMNS"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", **more}


def spawn(*arguments: str, text: str = "", **environ: str) -> Ran:
    """As a process of its own."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment(**environ),
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@contextlib.contextmanager
def started(*arguments: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """A process that goes on; gone at the end, however that was."""
    with subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**environ),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def next_line(process: subprocess.Popen[str]) -> str:
    """What it says next."""
    assert process.stdout is not None
    return process.stdout.readline()


@contextlib.contextmanager
def emulating(folder: Path, routes: dict[str, Any]) -> Iterator[Path]:
    """A routes file over emulators that run in another process."""
    with started("emulate", "--json") as process:
        emulators = json.loads(next_line(process))["emulators"]
        providers = {name: {**one, "api_key": "secret-of-an-emulator"} for name, one in emulators.items()}
        path = folder / "routes.yaml"
        path.write_text(yaml.safe_dump({"providers": providers, "routes": routes}))
        yield path


def write(folder: Path, text: str, name: str = "routes.yaml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)
