"""The sixteen scenarios of the field's public fault benchmark, as data: what goes wrong, and what has to come of it.

Pure. Knows the faults and the conduct that is expected; times are real seconds; `scaled` makes a rehearsal over
sockets short.
Refuses to play them (`rehearsal`) and to judge (`verdict`).

Two providers serve one route, the primary first, and both would say the same sixty tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from router.lab.faults import Fault

TOKENS = 60
TOKEN_DELAY = 0.08  # seconds between two tokens: a model of middling speed
FACTOR = 20.0  # over sockets a rehearsal's clock runs so many times as fast

# What a team would write; every second in it is scaled with the faults.
POLICY: Mapping[str, Any] = {
    "attempts": 4,
    "attempts_per_deployment": 2,
    "order": "elsewhere_first",
    "backoff": {"initial": 0.5, "max": 8.0},
    "deadline": 120.0,
    "timeouts": {"connect": 5.0, "headers": 10.0, "first_token": 10.0, "idle": 10.0},
    "circuit": {"failures": 3, "cooldown": 2.0, "max_cooldown": 15.0},
    "on_interruption": "recover",
}

Side = Literal["primary", "secondary"]


@dataclass(frozen=True, slots=True)
class Trouble:
    """A fault at one provider, for so many requests (None: for ever). *prefilled*: only where the assistant has begun."""

    fault: Fault
    times: int | None = 1
    prefilled: bool = False


@dataclass(frozen=True, slots=True)
class Expected:
    """What has to come of it.

    *error*: the class that the caller meets in place of an answer. *by*: who gave the answer. *primary*, *secondary*:
    the least and the most requests that each may get. *seam*: how a broken answer was mended. *waits*, *within*:
    seconds that the first token has to wait, or may. *sent*: tokens of the first answer that anything was seen of.
    """

    by: Side = "secondary"
    error: str | None = None
    primary: tuple[int, int] = (1, 1)
    secondary: tuple[int, int] = (1, 1)
    seam: Literal["spliced"] | None = None
    waits: float = 0.0
    within: float | None = None
    sent: int = TOKENS


@dataclass(frozen=True, slots=True)
class Outage:
    """The primary is down for *down* seconds while a request comes every *every*; it has *back* seconds to serve again."""

    down: float
    every: float
    back: float


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario. *continues*: the secondary's row says that it goes on from a prefilled assistant turn."""

    name: str
    says: str
    expected: Expected
    primary: tuple[Trouble, ...] = ()
    secondary: tuple[Trouble, ...] = ()
    policy: Mapping[str, Any] = field(default_factory=dict)
    continues: bool = False
    outage: Outage | None = None


HERE: Mapping[str, Any] = {"order": "here_first"}
AT_ONCE = 2.5  # seconds within which a failover shows its first token

_NO_PREFILL = Fault.status(400, body={"error": {"message": "The last message must be the user's."}})

_WAIT = Scenario(
    "wait",
    "429 with Retry-After: 2",
    Expected("primary", primary=(2, 2), secondary=(0, 0), waits=2.0, within=2.0 + AT_ONCE),
    (Trouble(Fault.rate_limited(2)),),
    policy=HERE,
)
_ONE_500 = Scenario("one-500", "one 500", Expected(within=AT_ONCE), (Trouble(Fault.server_error()),))
_OVERLOADED = Scenario("503", "persistent 503", Expected(within=AT_ONCE), (Trouble(Fault.overloaded(), None),))
_LIMITED = Scenario("429", "persistent 429", Expected(within=AT_ONCE), (Trouble(Fault.rate_limited(), None),))
_SILENCE = Scenario("silence", "silence", Expected(waits=9.9, within=15.0), (Trouble(Fault.silence()),))
_SLOW = Scenario(
    "slow-first-token",
    "first token after 20 s",
    Expected(waits=9.9, within=15.0),
    (Trouble(Fault.first_token_delay(20)),),
)

# Events are counted from 0, and the first only announces the role: event number 40 is the fortieth token.
SIXTEEN: tuple[Scenario, ...] = (
    _WAIT,
    _LIMITED,
    _ONE_500,
    _OVERLOADED,
    Scenario("reset", "reset before headers", Expected(within=AT_ONCE), (Trouble(Fault.reset()),)),
    _SILENCE,
    _SLOW,
    Scenario(
        "cut",
        "cut at token 40 of 60",
        Expected(seam="spliced", sent=40, within=AT_ONCE),
        (Trouble(Fault.cut_after(41, clean=False)),),
    ),
    Scenario(
        "stall",
        "stall at token 20",
        Expected(seam="spliced", sent=20, within=AT_ONCE),
        (Trouble(Fault.stall_after(21)),),
    ),
    Scenario(
        "malformed",
        "malformed tenth event",
        Expected(seam="spliced", sent=8, within=AT_ONCE),
        (Trouble(Fault.malformed_event(9)),),
    ),
    Scenario(
        "no-done",
        "no [DONE]",
        Expected("primary", secondary=(0, 0), within=AT_ONCE),
        (Trouble(Fault.no_done(), None),),
    ),
    Scenario(
        "context",
        "context_length_exceeded",
        Expected(within=AT_ONCE),
        (Trouble(Fault.context_length(), None),),
    ),
    Scenario(
        "policy",
        "content_policy_violation",
        Expected(error="ContentBlocked", secondary=(0, 0)),
        (Trouble(Fault.content_policy(), None),),
    ),
    Scenario(
        "prefill-rejected",
        "cut, and the fallback rejects a prefilled assistant turn",
        Expected("primary", primary=(2, 2), seam="spliced", sent=40, within=AT_ONCE),
        (Trouble(Fault.cut_after(41)),),
        (Trouble(_NO_PREFILL, None, prefilled=True),),
        continues=True,
    ),
    Scenario(
        "outage",
        "primary down for 60 s and back",
        # Three failures open the circuit; then one trial per rest of 2, 4, 8 and at most 15 seconds, a tenth early.
        Expected("primary", primary=(3, 10), secondary=(20, 60), within=AT_ONCE),
        (Trouble(Fault.refuse(), None),),
        outage=Outage(down=60, every=2, back=25),
    ),
    Scenario(
        "accounting",
        "failed-over accounting",
        Expected(within=AT_ONCE),
        (Trouble(Fault.server_error()),),
    ),
)

# The same troubles under the other order, or with nobody left who is well.
VARIANTS: tuple[Scenario, ...] = (
    replace(
        _WAIT, name="wait-elsewhere", says="429 with Retry-After: 2, elsewhere_first",
        policy={}, expected=Expected(within=AT_ONCE),
    ),
    replace(
        _ONE_500, name="one-500-here", says="one 500, here_first",
        policy=HERE, expected=Expected("primary", primary=(2, 2), secondary=(0, 0), within=AT_ONCE),
    ),
    replace(
        _OVERLOADED, name="503-here", says="persistent 503, here_first",
        policy=HERE, expected=Expected(primary=(2, 2), within=AT_ONCE),
    ),
    replace(_SILENCE, name="silence-here", says="silence, here_first", policy=HERE),
    replace(_SLOW, name="slow-first-token-here", says="first token after 20 s, here_first", policy=HERE),
    replace(
        _LIMITED, name="429-everywhere", says="persistent 429 from both",
        secondary=(Trouble(Fault.rate_limited(), None),),
        expected=Expected(error="DeploymentsExhausted", primary=(1, 2), secondary=(1, 2)),
    ),
    Scenario(
        "cut-everywhere", "both cut at token 40 of 60",
        Expected(error="StreamInterrupted", primary=(1, 2), secondary=(1, 2), sent=40, within=AT_ONCE),
        (Trouble(Fault.cut_after(41), None),),
        (Trouble(Fault.cut_after(41), None),),
    ),
)  # fmt: skip


def scaled(fault: Fault, factor: float) -> Fault:
    """*fault* with its own time and the wait that it asks for divided by *factor*."""
    headers = tuple(
        (name, f"{float(value) / factor:g}" if name == "Retry-After" else value) for name, value in fault.headers
    )
    return replace(fault, seconds=fault.seconds / factor, headers=headers)


def scaled_policy(changes: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """POLICY with *changes*, as YAML has it, every time divided by *factor*."""
    policy = {**POLICY, **changes}
    times = {"backoff": policy["backoff"], "timeouts": policy["timeouts"], "circuit": policy["circuit"]}
    divided = {
        name: {key: value if key == "failures" else _text(value / factor) for key, value in row.items()}
        for name, row in times.items()
    }
    return {**policy, **divided, "deadline": _text(policy["deadline"] / factor)}


def _text(seconds: float) -> str:
    return f"{seconds * 1000:g}ms"
