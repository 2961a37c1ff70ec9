"""Splits a leading inline `<think>…</think>` block out of content, across any chunk boundary. Pure.

Knows the two tags and the white space around them. Refuses to know models and providers: whether there may be a block,
and whether the prompt has opened it already, is what the caller says.

- Only a block at the very start counts, after at most `MAX_LEAD` characters of white space. A `<think>` that comes
  later, in code for instance, is content. The first `</think>` closes the block.
- The tags, the newlines directly after `<think>` and the newlines between `</think>` and the content are neither
  reasoning nor content. A newline is LF or CR. Where the prompt has opened the block, the text starts directly after
  the tag.
- Every other character comes out once and in order: the reasoning followed by the content is the text. White space
  before `<think>` is therefore reasoning when the tag comes, and content when it does not.
"""

from typing import Final, Literal

__all__ = ["MAX_LEAD", "ThinkSplitter"]

MAX_LEAD: Final = 256
"""Characters of white space to wait through for a tag, so that a model that repeats them for ever is not withheld."""

_OPEN: Final = "<think>"
_CLOSE: Final = "</think>"
_NEWLINES: Final = "\r\n"
_SPACE: Final = " \t\r\n"


class ThinkSplitter:
    """The reasoning and the content of one text, fed in pieces.

    *opened* says that the prompt ended in `<think>` (Qwen's template), so that the text starts with the reasoning. A
    model that says the tag once more is understood; one that never closes the block has sent nothing but reasoning.

    Once *done* is true all the rest is content, and calling `feed` is no longer necessary.
    """

    __slots__ = ("_fresh", "_held", "_opened", "_place", "done")

    def __init__(self, *, opened: bool = False) -> None:
        self.done = False
        self._opened = opened
        self._place: Literal["lead", "block", "gap"] = "lead"
        self._fresh = True  # in the block: nothing but newlines since it began
        self._held = ""  # what may still become a tag

    def feed(self, text: str) -> tuple[str, str]:
        """Return the (reasoning, content) that are certain with *text*."""
        if self.done:
            return "", text
        text, self._held = self._held + text, ""
        if self._place == "lead":
            return self._lead(text)
        if self._place == "block":
            return self._block(text)
        return "", self._gap(text)

    def end(self) -> tuple[str, str]:
        """Return the rest: of a block that was never closed it is reasoning."""
        held, self._held = self._held, ""
        self.done = True
        if self._place == "lead" and not self._opened:
            return "", held
        return (held.lstrip(_NEWLINES) if self._fresh else held), ""

    def _lead(self, text: str) -> tuple[str, str]:
        """Look for the opening tag: it is there, it may still come, it was in the prompt, or there is none."""
        start = text.lstrip(_SPACE)
        space = text[: len(text) - len(start)]
        if len(space) <= MAX_LEAD:
            if start.startswith(_OPEN):
                self._place = "block"
                reasoning, content = self._block(start[len(_OPEN) :])
                return (space.lstrip(_NEWLINES) if self._opened else space) + reasoning, content
            if _OPEN.startswith(start):
                self._held = text
                return "", ""
        if self._opened:
            self._place = "block"
            return self._block(text)
        self.done = True
        return "", text

    def _block(self, text: str) -> tuple[str, str]:
        if self._fresh:
            text = text.lstrip(_NEWLINES)
            self._fresh = not text
        reasoning, tag, rest = text.partition(_CLOSE)
        if tag:
            self._place = "gap"
            return reasoning, self._gap(rest)
        sure = _before_partial_close(text)
        self._held = text[sure:]
        return text[:sure], ""

    def _gap(self, text: str) -> str:
        content = text.lstrip(_NEWLINES)
        self.done = bool(content)
        return content


def _before_partial_close(text: str) -> int:
    """Where a closing tag may have begun at the end of *text*, or the length of *text*."""
    start = text.rfind("<", 1 - len(_CLOSE))  # only its first character is a "<", so the last one is the only candidate
    return start if start >= 0 and _CLOSE.startswith(text[start:]) else len(text)
