"""`router drift`: recorded traffic held against a configuration. What is looked for stands in `router.lab.drift`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from router.cli.base import FILE, FOUND, Failure, config_option, json_option, open_config
from router.cli.output import clean, console, print_json, styled

if TYPE_CHECKING:
    from router.lab.drift import Drift
    from router.lab.recording import Recording

_EPILOG = """\b
Examples:
  router chat --record traffic.jsonl "17 * 23?"
  router drift traffic.jsonl
  router drift traffic.jsonl --config routes.yaml --json | jq '.findings[] | select(.fix) | .fix'

\b
Exit codes: 0 nothing to mend; 1 errors or warnings; 2 wrong usage, or the file is no recording.
"""
_COLOURS = {"error": "red", "warning": "yellow", "info": "dim"}


@click.command(short_help="What recorded traffic shows that a configuration does not know.", epilog=_EPILOG)
@click.argument("recording", type=FILE, metavar="RECORDING")
@config_option
@json_option
def drift(*, recording: Path, config: Path | None, as_json: bool) -> int:
    """Hold recorded traffic against the configuration: say where providers and their rows have drifted apart.

    Nothing is sent anywhere, and no key is needed. Each answer is read again as it would be in service.
    """
    from router.lab.drift import drift as look
    from router.lab.recording import RecordingError, read_recording

    try:
        recorded = read_recording(recording)
    except RecordingError as error:
        raise Failure(str(error), hint="make one with: router chat --record FILE") from None
    found = look(recorded, open_config(config, ignore_keys=True))
    grave = any(one.severity != "info" for one in found)
    if as_json:
        print_json({"ok": not grave, "exchanges": len(recorded), "findings": [_facts(one, recorded) for one in found]})
    else:
        _show(found, recorded)
    return FOUND if grave else 0


def _facts(one: Drift, recording: Recording) -> dict[str, Any]:
    return {
        "severity": one.severity, "code": one.code, "provider": one.provider, "deployment": one.deployment,
        "file": recording.name, "line": one.line, "count": one.count, "message": one.message, "fix": one.fix,
    }  # fmt: skip


def _show(found: Sequence[Drift], recording: Recording) -> None:
    out = console()
    for one in found:
        line = styled(f"{clean(recording.name)}:{one.line}: ", "bold")
        line.append(f"{one.severity}: ", style=_COLOURS[one.severity])
        line.append(f"{one.deployment or one.provider}: ", style="cyan").append(clean(one.message))
        line.append(f" ({one.count} times)" if one.count > 1 else "", style="dim")
        out.print(line, soft_wrap=True)
        if one.fix:
            out.print(styled(f"    → {clean(one.fix)}", "dim"), soft_wrap=True)
    told = f"{len(recording)} exchange{'s' if len(recording) != 1 else ''}"
    if not found:
        out.print(
            styled("ok", "bold green"), styled(f"{told}, nothing that the configuration does not know"), soft_wrap=True
        )
        return
    graves = sum(one.severity != "info" for one in found)
    out.print(styled(f"{told}, {len(found)} finding{'s' if len(found) != 1 else ''}, {graves} to mend", "bold"))
