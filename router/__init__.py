"""Whom to ask, when, and what next: one canonical chat request to several LLM providers.

    async with Router.open("routes.yaml") as router:
        answer = await router.complete(Request(model="chat", messages=[{"role": "user", "content": "17 * 23?"}]))
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
