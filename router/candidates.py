"""Who may be asked and who is out, as values, and what finding that out goes by.

Knows a candidate with its call, an excluded one with its why, and how a call is made. Refuses to know any order
(`router.walk`), and who is well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from providers.client import encode
from providers.types import Change, Cost, Request, Sampling
from providers.wire import Call
from router import estimate
from router.sampling import Advice, advised, mode_of, reported

if TYPE_CHECKING:
    from providers.dialect import Endpoint
    from router.config import Deployment
    from router.standing import Standing


@dataclass(frozen=True, slots=True)
class Candidate:
    """A deployment that may serve, and the very call that it would be sent."""

    deployment: str
    call: Call
    target: Deployment
    prompt: int = 0
    """Tokens of the prompt, about."""
    answer: int = 0
    """Tokens of the answer at most: `max_tokens`, or 1,000 where nothing is asked."""
    trickle: bool = False
    """Its circuit is open; it is asked all the same, because nobody else is there."""
    wait: float = 0.0
    """Seconds that it is not to be asked for, when the plan was made."""
    why: str = ""
    """What has moved it out of the order of its tier; empty where nothing has."""

    @property
    def cost(self) -> Cost:
        """Estimated, for the prompt and as long an answer. Worked out when it is looked at: few routes limit money."""
        return estimate.priced(self.prompt, self.answer, 0, self.target.price)


@dataclass(frozen=True, slots=True)
class Excluded:
    """A deployment that may not serve: *why*, and the *changes* that speak against it.

    *retry_in*: seconds after which it may be asked again, where it is its state that speaks against it.
    """

    deployment: str
    why: str
    changes: tuple[Change, ...] = ()
    retry_in: float | None = None


class Translate(Protocol):
    """What makes the calls of a plan: `translated`, or what remembers its answers."""

    def __call__(
        self,
        request: Request,
        endpoint: Endpoint,
        *,
        sampling: Sampling | None,
        advice: Advice | None,
        streaming: bool,
        key: str,
    ) -> Call:
        """The call, as `translated` makes it."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What planning goes by beside request and route.

    *standing*: what is known of the deployments. *advice*: the makers' sampling by model. *count*: tokens of a text.
    *now*: seconds of the clock that the standing goes by. *translate*: makes the calls, as `translated` does.
    """

    standing: Standing
    advice: Mapping[str, Advice] = field(default_factory=dict)
    count: estimate.Tokenizer = estimate.text_tokens
    now: Callable[[], float] = lambda: 0.0
    translate: Translate = field(default_factory=lambda: translated)


def translated(
    request: Request,
    endpoint: Endpoint,
    *,
    sampling: Sampling | None,
    advice: Advice | None,
    streaming: bool,
    key: str,
) -> Call:
    """*request* in the words of *endpoint*, with the makers' *advice* under it where *sampling* wants that.

    Raises:
        Untranslatable: there is no way to say it there.
    """
    if sampling is None or advice is None:
        return encode(request, endpoint, streaming=streaming, key=key)
    asked = request if request.sampling else request.model_copy(update={"sampling": sampling})
    filled_in, filled = advised(asked, endpoint, advice)
    call = encode(filled_in, endpoint, streaming=streaming, key=key)
    return replace(call, changes=reported(call.changes, filled, mode_of(asked, endpoint))) if filled else call
