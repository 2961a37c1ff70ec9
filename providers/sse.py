"""Bytes into server-sent events, exactly as the WHATWG living standard reads them. Pure.

Knows lines, fields and limits: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
Refuses to know what an event means (JSON, `[DONE]` and errors are its reader's), where bytes come from, and
reconnecting: `retry` is ignored. The end of input needs no call: the standard discards an event without its blank line.

The events are the same for every split of the same bytes. Time is linear in the input; between two reads the parser
keeps at most one line, one event, one type and one id, whatever is sent.
"""

from typing import Final, NamedTuple

__all__ = ["Event", "EventParser", "LimitExceeded"]

_BOM: Final = b"\xef\xbb\xbf"
_CR: Final = 13
_LF: Final = 10
_MIB: Final = 1024 * 1024


class Event(NamedTuple):
    """One dispatched event; *id* is the last event id of the stream, which outlives the event that set it."""

    data: str
    event: str = "message"
    id: str = ""


class LimitExceeded(ValueError):
    """The stream holds a line or an event longer than allowed.

    *events* are the complete events that came before it in the same read. They are lost unless taken from here.
    """

    def __init__(self, limit: str, value: int) -> None:
        super().__init__(limit, value)
        self.limit = limit
        self.value = value
        self.events: list[Event] = []

    def __str__(self) -> str:
        what = self.limit.removeprefix("max_")
        return (
            f"the event stream holds {'an' if what == 'event' else 'a'} {what} of more than {self.value} bytes; "
            f"this limit is configurable: {self.limit}={self.value}"
        )


class EventParser:
    """The events of one stream, fed in whatever pieces the network gives.

    *max_line* bounds the bytes of a line without its end (a BOM counts), *max_event* those of an event's joined data.
    A stream that has exceeded a limit stays failed: going on in its middle would be a silent loss.
    """

    __slots__ = (
        "_after_cr", "_at_start", "_data", "_failed", "_id", "_max_event", "_max_line", "_small", "_tail", "_type",
        "_whole",
    )  # fmt: skip

    def __init__(self, *, max_line: int = _MIB, max_event: int = 8 * _MIB) -> None:
        self._max_line = max_line
        self._max_event = max_event
        self._small = min(max_line, max_event)  # a read of this size cannot exceed a limit by itself
        self._tail = bytearray()  # the line that has not ended
        self._data = bytearray()  # the standard's data buffer: every data line and a newline after each
        self._type = ""
        self._id = ""
        self._after_cr = False  # a newline that comes now is the second half of a CRLF
        self._at_start = True  # no line has ended yet, so a BOM may be in it
        self._whole = 0  # the longest read that may be cut as whole frames: none unless nothing is held
        self._failed: LimitExceeded | None = None

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that *data* completes, or raise `LimitExceeded`."""
        frames, last_id = self._frames(data), self._id
        if frames is not None:
            return [_new(Event, (frame, "message", last_id)) for frame in frames]
        return self._scan(data)

    def data(self, data: bytes) -> list[str]:
        """Return the data of the events that *data* completes, for whoever wants no more of them; as `feed` otherwise."""
        frames = self._frames(data)
        return [event.data for event in self._scan(data)] if frames is None else frames

    def _frames(self, data: bytes) -> list[str] | None:
        """Return the data of each event, where that can be seen at once.

        Nearly every read of a model's stream is whole frames of one data line. Those are cut by a few calls into C; the
        count of newlines proves that there is no other line among them. All the rest goes to the machine.
        """
        if len(data) <= self._whole and _CR not in data:
            text = data.decode("utf-8", "replace")
            if text[:6] == "data: " and text[-2:] == "\n\n":
                frames = text[6:-2].split("\n\ndata: ")
                if text.count("\n") == 2 * len(frames):
                    return frames
        return None

    def _scan(self, data: bytes) -> list[Event]:
        """Do what `feed` does, line by line: the whole standard."""
        if self._failed:
            raise LimitExceeded(self._failed.limit, self._failed.value)
        events: list[Event] = []
        try:
            self._read(data, events)
        except LimitExceeded as error:
            self._fail(error, events)
            raise
        held = self._at_start or self._after_cr or self._tail or self._data or self._type
        self._whole = 0 if held else self._small
        return events

    def _read(self, data: bytes, events: list[Event]) -> None:
        for line in self._lines(data):
            self._take(line, events)
        if len(self._tail) > self._max_line:
            raise LimitExceeded("max_line", self._max_line)

    def _lines(self, data: bytes) -> list[bytes]:
        """Return the lines that *data* ends, and keep the one that it leaves open."""
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if not data:
            return []
        lines = data.splitlines()  # of bytes: at LF, CR and CRLF and nowhere else, unlike str.splitlines
        last = data[-1]
        self._after_cr = last == _CR
        rest = b"" if last in (_CR, _LF) else lines.pop()
        if lines and self._tail:
            self._tail += lines[0]
            lines[0] = bytes(self._tail)
            self._tail = bytearray()
        self._tail += rest
        return lines

    def _take(self, line: bytes, events: list[Event]) -> None:
        if len(line) > self._max_line:
            raise LimitExceeded("max_line", self._max_line)
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        if not line:
            self._dispatch(events)
            return
        if line[:6] == b"data: ":  # what the general rule below says, sooner
            self._append(line[6:])
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._append(value)
        elif name == b"event":
            self._type = _text(value)
        elif name == b"id" and b"\0" not in value:
            self._id = _text(value)

    def _append(self, value: bytes) -> None:
        if len(self._data) + len(value) > self._max_event:
            raise LimitExceeded("max_event", self._max_event)
        self._data += value
        self._data += b"\n"

    def _dispatch(self, events: list[Event]) -> None:
        """End the event. Without a data line there is none, but its type is forgotten all the same."""
        if self._data:
            del self._data[-1]
            events.append(Event(_text(self._data), self._type or "message", self._id))
            self._data = bytearray()
        self._type = ""

    def _fail(self, error: LimitExceeded, events: list[Event]) -> None:
        """Let go of what is held, and keep failing."""
        error.events = events
        self._failed = LimitExceeded(error.limit, error.value)
        self._whole = 0
        self._tail = bytearray()
        self._data = bytearray()


_new = tuple.__new__  # a third of the cost of calling the class


def _text(raw: bytes | bytearray) -> str:
    """Decode *raw*, which is whole lines: no character of UTF-8 crosses a line's end."""
    return raw.decode("utf-8", "replace")
