"""Tokens and dollars, estimated where nobody has counted them. Pure.

Knows a rule of thumb and its margin, and how a price list is applied. Refuses to know the catalog.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from providers.quick import quick
from providers.types import Choice, Cost, Image, Request, Usage

if TYPE_CHECKING:
    from providers.dialect import Price

Tokenizer = Callable[[str], int]

# Qwen's tokenizer takes about four characters of English for a token and about one and a half of Chinese.
ASCII_PER_TOKEN = 4.0
OTHER_PER_TOKEN = 1.5
PER_MESSAGE = 4  # tokens of a turn's frame in the chat template
PER_IMAGE = 1000  # a picture of about a megapixel
PER_VIDEO = 4000
UNKNOWN = Cost()
_cost = quick(Cost)
MARGIN = 0.3  # a prompt is only called too long when it would be so with 30 % fewer tokens than estimated


def text_tokens(text: str) -> int:
    """About how many tokens *text* has; 0 for none."""
    if not text:
        return 0
    if text.isascii():
        return int(len(text) / ASCII_PER_TOKEN) + 1
    ascii_count = len(text.encode("ascii", "ignore"))
    return int(ascii_count / ASCII_PER_TOKEN + (len(text) - ascii_count) / OTHER_PER_TOKEN) + 1


def prompt_tokens(request: Request, count: Tokenizer = text_tokens) -> int:
    """About how many tokens the prompt of *request* has, tools included; *count* counts a text's."""
    total = 0
    for message in request.messages:
        if message.content.__class__ is str and not message.tool_calls:  # the usual turn
            total += PER_MESSAGE + count(message.content)
            continue
        total += PER_MESSAGE + count(message.text)
        total += sum(PER_IMAGE if isinstance(part, Image) else PER_VIDEO for part in message.media)
        total += sum(count(call.name + call.arguments) for call in message.tool_calls)
    return total + (count(str(request.tools)) if request.tools else 0)


def price_of(usage: Usage, price: Price | None) -> Cost:
    """What *usage* costs by *price*; unknown where either is."""
    if usage.prompt_tokens is None:
        return UNKNOWN
    return priced(usage.prompt_tokens, usage.completion_tokens or 0, usage.cached_tokens or 0, price)


def priced(prompt: int, completion: int, cached: int, price: Price | None) -> Cost:
    """What so many tokens cost by *price*, of the *prompt* as many at the price of what is *cached*; or unknown."""
    if price is None or price.input is None or price.output is None:
        return UNKNOWN
    cached = min(cached, prompt)
    cached_price = price.input if price.cached is None else price.cached
    return _cost(
        ((prompt - cached) * price.input + cached * cached_price + completion * price.output) / 1e6, "estimated"
    )


def is_counted(usage: Usage, *, reasoned: bool) -> bool:
    """Whether the provider has counted all that there is to count; *reasoned*: there was reasoning."""
    if usage.prompt_tokens is None or usage.completion_tokens is None:
        return False
    return usage.reasoning_tokens is not None or not reasoned


def usage_or_estimate(found: Usage, request: Request, choices: Sequence[Choice]) -> Usage:
    """*found*, with what the provider left out counted by us and marked as such."""
    thoughts = "".join([choice.reasoning_content or "" for choice in choices])
    if is_counted(found, reasoned=bool(thoughts)):
        return found
    uncounted = found.reasoning_tokens is None and bool(thoughts)
    reasoning = text_tokens(thoughts) if uncounted else found.reasoning_tokens
    prompt, generated = found.prompt_tokens, found.completion_tokens
    if prompt is None:
        prompt = prompt_tokens(request)
    if generated is None:
        generated = completion_tokens(choices)
    if uncounted:
        reasoning = min(reasoning or 0, generated)
    total = found.total_tokens if found.total_tokens is not None else prompt + generated
    return Usage(prompt, generated, total, reasoning, found.cached_tokens, estimated=True)


def completion_tokens(choices: Sequence[Choice]) -> int:
    """About how many tokens were generated."""
    total = 0
    for choice in choices:
        total += text_tokens(choice.content or "") + text_tokens(choice.reasoning_content or "")
        total += sum(text_tokens(call.name + call.arguments) for call in choice.tool_calls)
    return total


def sum_costs(costs: list[Cost]) -> Cost:
    """All costs as one: unknown if one is, reported only if all that are not zero were."""
    if len(costs) == 1 and costs[0].usd is not None:
        return costs[0]  # one attempt, nearly always
    if not costs or any(cost.usd is None for cost in costs):
        return UNKNOWN
    dollars = sum(cost.usd or 0.0 for cost in costs)
    told = all(cost.source == "reported" for cost in costs if cost.usd) and costs[-1].source == "reported"
    return Cost(dollars, "reported" if told else "estimated")
