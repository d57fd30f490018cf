"""Server-sent events (WHATWG HTML, 9.2): bytes in any split to whole events, each with its own bytes.

Sans-IO. Every byte of a complete event is in some event's `raw`, so that what nobody edits is relayed as it came. Its counterpart is
`event`, which writes one. Knows nothing of what the data means.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from sidecar.errors import UpstreamGarbage

_BOM = b"\xef\xbb\xbf"
_EOL = re.compile(rb"\r\n|\n|\r")
# Two line ends in a row. A CR at the very end of what is here may be half of a CRLF: it waits for the next byte.
_BLANK = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?=[^\n]))")
_SIMPLE = b"data: "


class Event(NamedTuple):
    """One block up to and with its blank line. `data` is None where it has no data line (a comment, a lone `retry:`): relay it."""

    raw: bytes
    type: str = ""
    """The `event:` field; "" where there is none."""
    data: bytes | None = None
    """The data lines joined by LF, not decoded."""
    id: str | None = None


class SseParser:
    """One stream. `limit` bounds the bytes of one event, its blank line counted."""

    __slots__ = ("_carriage", "_held", "_limit", "_started")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = bytearray()
        self._carriage = False  # a CR was seen: line ends are no longer LF alone
        self._started = False

    @property
    def pending(self) -> int:
        """Bytes of an event that is not complete."""
        return len(self._held)

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes. Raises UpstreamGarbage on one over the limit."""
        self._carriage = self._carriage or b"\r" in data
        if not self._held and not self._carriage and data[-2:] == b"\n\n" and data.find(b"\n\n") == len(data) - 2:
            return [self._read(data)]
        return [self._read(raw) for raw in self._cut(data)]

    def finish(self) -> list[Event]:
        """The end of input: an event that only waited for the byte after its last CR. What is incomplete is dropped, as the standard says."""
        held, self._held = bytes(self._held), bytearray()
        match = _BLANK.search(held + b"x") if self._carriage else None
        return [self._read(held)] if match is not None else []

    def _cut(self, data: bytes) -> list[bytes]:
        held = self._held
        seen = len(held)
        held += data
        start, found = 0, self._end(max(0, seen - 3))
        raws = []
        while found:
            raws.append(bytes(held[start:found]))
            start, found = found, self._end(found)
        del held[:start]
        if len(held) > self._limit:
            raise UpstreamGarbage("an event is over the size limit")
        return raws

    def _end(self, start: int) -> int:
        """Where the block that is open at `start` ends; 0 where it does not yet."""
        if not self._carriage:
            return self._held.find(b"\n\n", start) + 2 if self._held.find(b"\n\n", start) >= 0 else 0
        match = _BLANK.search(self._held, start)
        return match.end() if match else 0

    def _read(self, raw: bytes) -> Event:
        if len(raw) > self._limit:
            raise UpstreamGarbage("an event is over the size limit")
        text = raw
        if not self._started:
            self._started = True
            text = raw.removeprefix(_BOM)
        if text[:6] == _SIMPLE and text.find(b"\n") == len(text) - 2 and (not self._carriage or b"\r" not in text):
            return Event(raw, "", text[6:-2])
        return _fields(raw, text)


def event(data: bytes, type: str = "") -> bytes:
    """One event with a single data line; `data` holds no line end (JSON never does)."""
    return b"event: %b\ndata: %b\n\n" % (type.encode(), data) if type else b"data: %b\n\n" % data


def _fields(raw: bytes, text: bytes) -> Event:
    kind, mark = "", None
    lines: list[bytes] = []
    for line in _EOL.split(text) if b"\r" in text else text.split(b"\n"):
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            lines.append(value)
        elif name == b"event":
            kind = value.decode(errors="replace")
        elif name == b"id" and b"\0" not in value:
            mark = value.decode(errors="replace")
    return Event(raw, kind, b"\n".join(lines) if lines else None, mark)
