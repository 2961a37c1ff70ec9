"""The canonical values, in one place to import them from: one request, one answer, and `fold` between chunks and it.

Requests live in `request.py`, `messages.py` and `tools.py`, answers in `answer.py`, folding in `fold.py`.
"""

from __future__ import annotations

from providers.answer import (
    Attempt,
    Change,
    Choice,
    Chunk,
    Completion,
    Cost,
    CostSource,
    FinishReason,
    How,
    Seam,
    ToolCallDelta,
    Usage,
    usage_to_openai,
)
from providers.fold import Folder, fold, with_completion
from providers.messages import Function, Image, MediaURL, Message, Part, Role, Text, ToolCall, Video
from providers.request import EFFORTS, PARAMS, Effort, Fidelity, OnInterruption, PriceLimit, Request, Sampling
from providers.tools import ResponseFormat, Tool, ToolChoice

__all__ = [
    "EFFORTS",
    "PARAMS",
    "Attempt",
    "Change",
    "Choice",
    "Chunk",
    "Completion",
    "Cost",
    "CostSource",
    "Effort",
    "Fidelity",
    "FinishReason",
    "Folder",
    "Function",
    "How",
    "Image",
    "MediaURL",
    "Message",
    "OnInterruption",
    "Part",
    "PriceLimit",
    "Request",
    "ResponseFormat",
    "Role",
    "Sampling",
    "Seam",
    "Text",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "ToolChoice",
    "Usage",
    "Video",
    "fold",
    "usage_to_openai",
    "with_completion",
]
