"""Every kind of finding by its code: how grave it is, what it means, and how it is mended.

Knows the words that `router check` and the documents have for them. Refuses to know how any of them is found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of finding. *code* is its name for machines, and stays; *means* and *mend* are Markdown for people.

    An `error` stops the file, or a deployment of a route, from being used; a `warning` disappoints when it matters; an
    `info` is worth knowing, and leaves the exit code alone.
    """

    code: str
    severity: Severity
    means: str
    mend: str

    @property
    def fix(self) -> str:
        """How it is mended, as plain text: for a finding that cannot say it better."""
        return self.mend.replace("`", "")


_ERRORS: Mapping[str, tuple[str, str]] = {
    # of the file: it is not loaded
    "unreadable": ("the file cannot be opened", "check the path and its permissions"),
    "yaml": (
        "it is no YAML, or YAML that is refused: a key twice, a bare `off`, aliases, tags",
        "say it in plain YAML: each key once, words like `off` in quotes, no aliases, no tags",
    ),
    "unknown-key": ("no such key is known at this place", "take the nearest right word, which is named"),
    "invalid-value": ("the value has the wrong type, unit or word", "write what it should be"),
    "required": ("a value is missing without which the rest means nothing", "add it"),
    "variable-missing": (
        "an environment variable is not set",
        "set it, or write `${NAME:-default}` where it may be unset",
    ),
    "unknown-name": (
        "a provider, deployment or policy is named that is not there",
        "take the nearest right name, which is named",
    ),
    "named-twice": ("the same deployment or provider stands twice in one list", "say it once"),
    "empty": ("a list that must name somebody names nobody, or only such as have weight 0", "name one"),
    # of a route: it loads, and a deployment cannot be used
    "missing-key": ("a provider of the route has no API key: its deployment is never asked", "set its variable"),
    "need-unmet": (
        "a deployment cannot meet what the route `needs`",
        "take the deployment out of the route, or the need out of `needs`",
    ),
}
_WARNINGS: Mapping[str, tuple[str, str]] = {
    # time
    "deadline-too-short": (
        "all attempts, each up to its time-out, take longer than the deadline: the later ones are cut short, or not made",
        "raise `deadline`, or lower `attempts` or the time-out",
    ),
    "timeout-never-fires": ("a time-out is longer than the deadline", "lower it, or raise `deadline`"),
    "hold-outlasts-deadline": (
        "a stream is held as long as the deadline or longer: its beginning is never seen early",
        "shorten `hold`, or write `all`",
    ),
    # words that never take effect
    "attempts-per-deployment-unused": (
        "one deployment may take more attempts than there are",
        "raise `attempts`, or lower it",
    ),
    "backoff-unused": ("there is no second attempt at a deployment to wait for", "leave `backoff` out"),
    "order-unused": ("`here_first` asks again where only one attempt is allowed", "allow two, or leave `order` out"),
    "recovery-impossible": (
        "a broken stream is to be recovered or restarted, and there is no attempt left for it",
        "raise `attempts`, add a deployment, or write `on_interruption: error`",
    ),
    "provider-unused": ("a provider of the file serves no model", "name it under `models`, or leave it out"),
    "hedge-impossible": (
        "a second call goes to another deployment, and there is none, or no attempt for it",
        "add a deployment, raise `attempts`, or leave `hedge` out",
    ),
    "hedge-never-fires": (
        "a second call would go out only after the first one has passed its limits",
        "lower `hedge.after`, or write `p95`",
    ),
    "select-no-effect": (
        "`select` chooses among the deployments of a tier, and no tier has two",
        "give two deployments the same priority, or leave `select` out",
    ),
    "affinity-no-effect": (
        "`affinity` keeps to one of the deployments of a tier, and no tier has two",
        "give two deployments the same priority, or leave `affinity` out",
    ),
    "sampling-no-effect": (
        "`sampling` is set, and the makers' advice is known for no model of the route",
        "leave it out, or say the advice under `models.<name>.sampling`",
    ),
    "word-no-effect": ("a key of a parameter's row means nothing for that parameter", "leave it out"),
    "error-rule-shadowed": (
        "a line of `errors` is never read, since one above it matches all that it matches",
        "put the narrower line first, or leave it out",
    ),
    "error-rule-disbelieved": (
        "a line of `errors` says that the request is at fault, under a status that says something else itself",
        "leave it out, or say what it is of the provider",
    ),
    "row-overridden": (
        "what a provider's row says, the row of every deployment in use says otherwise, and lies over it",
        "say it of the deployment, under `models.<name>.deployments`",
    ),
    # deployments that nobody reaches
    "weight-zero": ("a deployment has weight 0 in every route where it stands", "give it a weight, or leave it out"),
    "never-reached": (
        "more deployments stand before it than there are attempts",
        "raise `attempts`, or put it further up",
    ),
    "excluded-by-fidelity": (
        "the route's fidelity leaves an ordinary request with one deployment, or none; or without one that `needs` count on",
        "lower the fidelity of the field that is named, or add a deployment that serves it unchanged",
    ),
    # failures that are not independent
    "single-account": (
        "all deployments of a route are at one account: its outage, its empty balance and its limits hit all of them",
        "add a deployment at another provider",
    ),
    "same-account": (
        "two providers are one account: it has the same address and the same key",
        "put the deployments under one of them",
    ),
    # money and limits
    "price-missing": (
        "a deployment has no price where `cheapest`, `prefer_price` or a limit of money needs one: it is asked last, or never",
        "say `price: {input, output}` in the route",
    ),
    "price-over-limit": (
        "a deployment costs more than `max_price`, or an ordinary request there more than `max_cost`: it is not asked",
        "raise the limit, or take the deployment out of the route",
    ),
    "budget-below-request": (
        "an ordinary request costs more than the whole `budget` of its route, and is refused",
        "raise `budget.limit`",
    ),
    "limit-below-attempts": (
        "one request may make more calls to an account than it allows in a minute",
        "lower `attempts_per_deployment`, or name fewer of its deployments",
    ),
    # keys and doors
    "key-in-clear": ("a key is sent over plain http to another machine", "write https"),
    "pool-key-missing": ("a variable of a pool of keys is empty: the pool is smaller than it looks", "set it"),
    "gateway-open": (
        "the gateway listens beyond this machine and asks for no key",
        "say `api_keys`, or listen on 127.0.0.1",
    ),
}
_INFOS: Mapping[str, tuple[str, str]] = {
    "policy-unused": (
        "no route names the policy: only a request that does is served by it",
        "name it in a route, or leave it out",
    ),
    "fallback-lacks": (
        "the route says no `needs`, and a deployment cannot do what the first one can",
        "say in `needs` what the callers rely on, `[]` for nothing of the kind",
    ),
    "fallback-smaller": (
        "a deployment holds less than half of what the first one does: long prompts or answers have no fallback",
        "put a larger one beside it, if such requests come",
    ),
    "attempts-unused": ("there are more attempts than the deployments may take", "lower `attempts`"),
    "prefer-price-no-effect": (
        "all deployments of a tier are above `prefer_price`, or none is",
        "set it between their prices, or leave it out",
    ),
    "weight-no-effect": (
        "a weight is set where `select` does not look at it, or where nobody else stands in the tier",
        "write `select: weighted`, or leave `weight` out",
    ),
    "limit-below-context": (
        "a prompt that fits a deployment's context can be more than the account's tokens of a minute",
        "send such prompts elsewhere, or have the limit raised",
    ),
}


def _kinds(severity: Severity, said: Mapping[str, tuple[str, str]]) -> dict[str, Kind]:
    return {code: Kind(code, severity, means, mend) for code, (means, mend) in said.items()}


KINDS: Mapping[str, Kind] = {**_kinds("error", _ERRORS), **_kinds("warning", _WARNINGS), **_kinds("info", _INFOS)}


def severity_of(code: str) -> Severity:
    """How grave a finding of this *code* is."""
    return KINDS[code].severity
