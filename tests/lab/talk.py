"""Speaks to an emulator with a bare aiohttp client: what is asserted is what was on the wire."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import aiohttp

KEY = {"Authorization": "Bearer a-key"}
MODELS = {
    "mixlayer": "qwen/qwen3.5-27b",
    "runware": "alibaba:qwen@3.5-27b",
    "empiriolabs": "qwen3-5-4b",
    "aiml": "alibaba/qwen3.6-35b-a3b",
    "openai": "some/model",
}
UUID = "a770f077-f413-47de-9dac-be0b26a35da6"
DONE = "[DONE]"


@dataclass
class Reply:
    """A whole answer, or what a stream brought: its events parsed, [DONE] as a string, comments apart."""

    status: int
    headers: Any
    raw: bytes
    events: list[Any] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    def joined(self, name: str) -> str:
        """The text of one field over all events, of either protocol."""
        return "".join(delta.get(name) or "" for delta in self.deltas())

    def deltas(self):
        for event in self.events:
            if event == DONE:
                continue
            choices = event.get("choices", [event])
            yield from (choice["delta"] for choice in choices if choice.get("delta") is not None)


def uuid(number: int) -> str:
    return f"{UUID[:-4]}{number:04x}"


def url(emulator) -> str:
    return emulator.base_url + ("" if emulator.name == "runware" else "/chat/completions")


def body_for(emulator, **fields: Any) -> Any:
    """Make a small valid request; a field of None is left out."""
    name = emulator.name
    body: dict[str, Any] = {"model": MODELS[name], "messages": [{"role": "user", "content": "17 * 23?"}]}
    if name == "runware":
        body |= {"taskType": "textInference", "taskUUID": uuid(len(emulator.requests)), "includeUsage": True}
        body |= {"includeCost": True}
        if fields.pop("stream", False):
            body["deliveryMethod"] = "stream"
    body |= fields
    body = {key: value for key, value in body.items() if value is not None}
    return [body] if name == "runware" else body


async def send(emulator, body: Any, *, headers: Any = None, to: str | None = None) -> Reply:
    """POST *body* as JSON, bytes as they are."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **(KEY if headers is None else headers)}
    async with (
        aiohttp.ClientSession() as session,
        session.post(to or url(emulator), data=raw, headers=headers, allow_redirects=False) as response,
    ):
        return read(response.status, response.headers, await response.read())


async def ask(emulator, *, headers: Any = None, **fields: Any) -> Reply:
    """POST a small valid request, with *fields*."""
    return await send(emulator, body_for(emulator, **fields), headers=headers)


async def get(to: str, *, headers: Any = None) -> Reply:
    async with aiohttp.ClientSession() as session, session.get(to, headers=headers or {}) as response:
        return Reply(response.status, response.headers, await response.read())


def read(status: int, headers: Any, raw: bytes) -> Reply:
    reply = Reply(status, headers, raw)
    if headers.get("Content-Type", "").startswith("text/event-stream"):
        for line in raw.decode().lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n"):
            if line.startswith(":"):
                reply.comments.append(line)
            elif line.startswith("data: "):
                reply.events.append(DONE if line[6:] == DONE else json.loads(line[6:]))
    return reply
