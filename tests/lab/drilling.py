"""Routes files for drills, and how one is drilled in a test."""

from __future__ import annotations

from typing import Any

from router.lab import Report, drill
from router.lab.drills import Result

MIXLAYER, EMPIRIO, RUNWARE, AIML = (
    "mixlayer/qwen3.5-27b", "empiriolabs/qwen3.5-27b", "runware/qwen3.5-27b", "aiml/qwen3.6-35b-a3b",
)  # fmt: skip
PAIR = (MIXLAYER, EMPIRIO)
EVERYWHERE = [
    "one-500", "overloaded", "reset", "error-in-200", "model-retired", "out-of-credit", "empty-stream", "proxy-page",
]  # fmt: skip


def routes(*deployments: Any, policy: dict[str, Any] | None = None, **route: Any) -> dict[str, Any]:
    """A file with one route, `chat`."""
    placed = {"deployments": list(deployments or PAIR), **route}
    return {"routes": {"chat": placed | ({"policy": policy} if policy is not None else {})}}


def drilled(file: Any, *scenarios: Any, **how: Any) -> Report:
    """The drill of *file* through *scenarios*, or all of them."""
    return drill(file, scenarios or None, **how)


def one(file: Any, scenario: Any, **how: Any) -> Result:
    """What became of the only scenario."""
    (result,) = drill(file, [scenario], **how).scenarios
    return result


def words(report: Report) -> dict[str, str]:
    """The verdict of every scenario."""
    return {result.name: result.verdict for result in report.scenarios}


def said(result: Result) -> str:
    """All that the findings say, and how they would be mended."""
    return "\n".join(f"{finding.message} → {finding.path}: {finding.fix}" for finding in result.findings)
