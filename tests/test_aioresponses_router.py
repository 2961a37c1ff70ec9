"""Users mock HTTP with aioresponses: the whole router works under it, whole and streamed."""

from __future__ import annotations

import pytest
from aioresponses import CallbackResult, aioresponses

from router import Router
from router.errors import DeploymentsExhausted

URL = "https://models.mixlayer.ai/v1/chat/completions"
ASK = {"model": "mixlayer/qwen3.5-27b", "messages": [{"role": "user", "content": "17 * 23?"}]}
WHOLE = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "qwen/qwen3.5-27b",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "391", "reasoning_content": "340 + 51"},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
}
STREAM = (
    'data: {"choices":[{"delta":{"role":"assistant"}}]}\n\n'
    'data: {"choices":[{"delta":{"reasoning_content":"340 + 51"}}]}\n\n'
    'data: {"choices":[{"delta":{"content":"391"},"finish_reason":"stop"}]}\n\n'
)


async def test_a_whole_answer():
    """And the request that was sent holds the key, nobody else does."""
    seen = []

    def answer(url, **kwargs):
        seen.append(kwargs["headers"]["Authorization"])
        return CallbackResult(payload=WHOLE)

    async with Router.open(environ={"MIXLAYER_API_KEY": "sk-canary"}) as router:
        with aioresponses() as mocked:
            mocked.post(URL, callback=answer)
            got = await router.complete(ASK)

    assert ("391", "340 + 51", "stop") == (got.content, got.reasoning_content, got.finish_reason)
    assert ["Bearer sk-canary"] == seen


async def test_a_stream():
    """Chunks, and the whole answer on the last one."""
    async with Router.open(environ={"MIXLAYER_API_KEY": "sk-canary"}) as router:
        with aioresponses() as mocked:
            mocked.post(URL, body=STREAM, content_type="text/event-stream")
            chunks = [chunk async for chunk in router.stream(ASK)]

    assert "391" == "".join(chunk.content or "" for chunk in chunks)
    answer = chunks[-1].completion
    assert answer is not None
    assert ("391", "340 + 51") == (answer.content, answer.reasoning_content)


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_a_failure_is_retried_where_there_is_nobody_else(status):
    """As often as the policy says."""
    file = {
        "routes": {
            "chat": {"deployments": ["mixlayer/qwen3.5-27b"], "policy": {"backoff": {"initial": "1ms", "max": "2ms"}}}
        }
    }
    async with Router.open(file, environ={"MIXLAYER_API_KEY": "sk-canary"}) as router:
        with aioresponses() as mocked:
            mocked.post(URL, status=status, payload={"error": {"message": "no"}}, repeat=True)
            with pytest.raises(DeploymentsExhausted) as caught:
                await router.complete({**ASK, "model": "chat"})

    assert [status, status] == [attempt.status for attempt in caught.value.attempts]
