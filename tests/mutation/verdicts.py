"""Every mutant tried: which trial caught it, or that none did.

Knows how a broken catalog becomes a configuration, and in which order trials are worth trying. Refuses to know rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from providers.types import Request
from router.config import Config
from router.errors import ConfigError, InvalidRequest
from router.lab.virtual import run_virtually
from router.load import load
from tests.mutation.asking import Trial
from tests.mutation.battery import battery
from tests.mutation.mutants import Mutant, mutants, rows_of
from tests.mutation.stand import KEY
from tests.parameters.table import MODELS

NOTHING = Path(__file__).with_name("empty.yaml")  # in place of the packaged catalog: the rows come as the user's own


Kind = Literal["caught", "the same", "cannot be asked", "cannot be seen", "survived"]

# Mutants that no request and no answer can tell from the catalog, with the reason. Reviewed by hand; the test holds that
# each of these is alive, and that nothing else is.
UNSEEN: Mapping[str, str] = {
    r"(mixlayer|empiriolabs|aiml): params\.response_format: dropped": (
        "the canonical request knows the three formats that are listed, and no fourth"
    ),
    r"(runware|empiriolabs|aiml)/\S+: input: dropped": "the model reads all that there is: text, images and videos",
    r"(empiriolabs/qwen3\.8-max|aiml/qwen3\.7-max): price\.cached: dropped": (
        "a cached token costs as much as a fresh one there, and so it does where no price of its own is said"
    ),
    r"runware: history\.last_role: without tool": (
        "its page lists no tools, so no result of one is ever sent; the word waits for whoever switches tools on"
    ),
    r"aiml: errors\[status \d+, text .*\]: whatever the status": (
        "its documents print each of these texts under one status; what it would mean under another, nobody says"
    ),
}


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant; *by* is the trial that caught it, or `load`, *why* what that found."""

    mutant: Mutant
    kind: Kind
    by: str = ""
    why: str = ""


def config_of(rows: Any) -> Config:
    """What *rows* mean, asked once and in good time.

    Raises:
        ConfigError: nothing.
    """
    source = {**rows, "policies": {"default": {"attempts": 1}}}
    return load(source, environ={}, catalog=NOTHING)


def with_key(rows: Any) -> dict[str, Any]:
    """*rows* with a key for its providers."""
    return {**rows, "providers": {name: {**row, "api_key": KEY} for name, row in rows["providers"].items()}}


@cache
def trials(deployment: str) -> tuple[Trial, ...]:
    """The battery of one deployment."""
    every = battery(deployment.partition("/")[0])  # type: ignore[arg-type]  # one of four
    return tuple(trial for trial in every if trial.deployment == deployment)


@cache
def verdicts(provider: str) -> tuple[Verdict, ...]:
    """A verdict for each mutant of *provider*'s rows."""
    return tuple(map(judge, mutants(provider, page_of(provider))))


def page_of(provider: str) -> str:
    """The model that the provider's page describes."""
    return MODELS[provider].partition("/")[2]  # type: ignore[index]  # one of four


@cache
def sound(deployment: str) -> Config:
    """The catalog as it is, of one deployment."""
    provider, _, model = deployment.partition("/")
    return config_of(with_key(rows_of(provider, model)))


def judge(mutant: Mutant) -> Verdict:
    """Who catches *mutant*; or why nobody can."""
    try:
        broken = config_of(with_key(mutant.rows))
        same = means(broken) == means(sound(mutant.deployment))
    except ConfigError as error:
        return Verdict(mutant, "caught", "load", str(error))
    if same:
        return Verdict(mutant, "the same")
    mute = bool(mutant.telling) and not any(can_be_asked(mutant.about, value) for value in mutant.telling)
    unasked = Verdict(mutant, "cannot be asked", why=f"the canonical request refuses {mutant.telling}")
    if mute and mutant.rule.endswith(".range"):  # only such values are sent otherwise
        return unasked
    by, why = run_virtually(first_finding(broken, in_order(mutant)))
    if by is not None:
        return Verdict(mutant, "caught", by, why)
    if mute:
        return unasked
    for pattern, reason in UNSEEN.items():
        if re.fullmatch(pattern, mutant.name):
            return Verdict(mutant, "cannot be seen", pattern, reason)
    return Verdict(mutant, "survived")


def can_be_asked(field: str, value: float) -> bool:
    """Whether a canonical request can hold *value*."""
    try:
        Request(model="m", messages=[{"role": "user", "content": "Hi"}], **{field: value, **_BESIDE.get(field, {})})
    except InvalidRequest:
        return False
    return True


_BESIDE: Mapping[str, Mapping[str, Any]] = {"top_logprobs": {"logprobs": True}}


def means(config: Config) -> Any:
    """All that a configuration says of the wire and of prices: two that are equal here cannot be told apart."""
    return ({name: one.endpoint for name, one in config.deployments.items()}, config.sampling)


def in_order(mutant: Mutant) -> Iterable[Trial]:
    """The trials that could catch it, the likeliest first: those whose names speak of what is broken."""
    words = [word.lower() for word in re.split(r"[*_ ]+", mutant.about) if word]
    own = trials(mutant.deployment)
    return sorted(own, key=lambda trial: not any(word in trial.lowered for word in words))


async def first_finding(config: Config, some: Iterable[Trial]) -> tuple[str | None, str]:
    """The first trial of *some* that finds something, and what it found."""
    for trial in some:
        if found := await findings(config, trial):
            return trial.name, found[0]
    return None, ""


async def findings(config: Config, trial: Trial) -> list[str]:
    """What *trial* finds; whatever it raises is found too."""
    try:
        return await trial.run(config)
    except Exception as error:  # noqa: BLE001  # a broken row may break anything, and that is seen
        return [f"{type(error).__name__}: {error}"]
