"""Whom to ask, when, and what next: one canonical chat request to several LLM providers.

`Router.open("routes.yaml")`, then `complete`, `stream` or `plan` with a `Request`.
"""

from providers.types import (
    Attempt,
    Change,
    Choice,
    Chunk,
    Completion,
    Cost,
    Message,
    Request,
    ToolCall,
    Usage,
)
from router.router import Router

__all__ = [
    "Attempt",
    "Change",
    "Choice",
    "Chunk",
    "Completion",
    "Cost",
    "Message",
    "Request",
    "Router",
    "ToolCall",
    "Usage",
]
