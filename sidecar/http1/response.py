"""Reads answers: bytes in, status, headers and body pieces out. Its user is `route/channel.py`; its counterpart is `request`.

It skips 1xx, drops trailers, and refuses what has two readings with UpstreamGarbage. It knows no sockets and no time, and
follows no redirect: a 3xx is an answer like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from sidecar.errors import UpstreamCut, UpstreamGarbage
from sidecar.http1 import rules

if TYPE_CHECKING:
    from sidecar.http1.rules import ResponseLimits

END = b"\r\n\r\n"
START = b"HTTP/1."


class ResponseReader:
    """One connection's answers, one after the other. `pieces` holds body bytes that were read and not yet taken."""

    __slots__ = (
        "_close", "_head_only", "_informational", "_limits", "_parser", "_pending",
        "complete", "expecting", "headers", "pieces", "ready", "reusable", "status",
    )  # fmt: skip

    def __init__(self, limits: ResponseLimits) -> None:
        self._limits = limits
        self._parser = HttpResponseParser(self)
        self.expecting = False
        self.expect("GET")
        self.expecting = False

    def expect(self, method: str) -> None:
        """Make ready for the answer to a request with this method."""
        self._head_only = method == "HEAD"
        self._informational = 0
        self._close = False
        self._pending = b""
        self.expecting = True
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.pieces: list[bytes] = []
        self.ready = False
        """The head is whole."""
        self.complete = False
        self.reusable = False
        """After `complete`: the connection may carry another request."""

    def feed(self, data: bytes) -> None:
        """Take bytes. Raises UpstreamGarbage; the reader is then of no more use."""
        if not self.expecting or self.complete:
            self.reusable = False
            raise UpstreamGarbage("the upstream sent bytes nobody asked for")
        while data and not self.ready:
            data = self._take_head(data)
        if data:
            self._parse(data)

    def _take_head(self, data: bytes) -> bytes:
        data = self._pending + data
        end = data.find(END, max(0, len(self._pending) - 3)) + 4
        if end > self._limits.head or (end == 3 and len(data) > self._limits.head):
            raise UpstreamGarbage("the head of the answer is too large")
        if not data.startswith(START[: len(data)]):
            raise UpstreamGarbage("the answer is not HTTP/1")
        if end == 3:
            if rules.BARE_LF.search(data, max(0, len(self._pending) - 1)):
                raise UpstreamGarbage("the answer has a bare line feed")
            self._pending = data
            return b""
        self._pending = b""
        head = data[:end]
        self._parse(head)
        self._read_head(head)
        return data[end:]

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            raise UpstreamGarbage("the upstream switched protocols") from None
        except HttpParserError as error:
            if not self.complete:  # what follows a whole answer spoils the connection alone
                raise UpstreamGarbage(f"the answer is malformed: {error}") from None
            self.reusable = False

    def end(self) -> None:
        """The upstream closed. Raises UpstreamCut unless that is how this answer ends."""
        self.reusable = False
        if self.complete:
            return
        if not (self.ready and self._close):
            raise UpstreamCut("the answer ended before its end" if self.ready else "the upstream closed without an answer")
        self.complete = True

    def _read_head(self, head: bytes) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            self._interim(status)
            return
        self.headers = headers = rules.fields(head)
        if len(headers) > self._limits.headers:
            raise UpstreamGarbage("the answer has too many header fields")
        by_name = dict(headers)
        if len(by_name) != len(headers) and (twice := rules.repeated(headers, rules.SINGLE_IN_ANSWERS)):
            raise UpstreamGarbage(f"the field {twice} came twice")
        self._frame(status, by_name, http10=head[7:8] == b"0")
        self.status = status
        self.ready = True

    def _interim(self, status: int) -> None:
        self._informational += 1
        if status == 101 or status < 100 or self._informational > self._limits.informational:
            raise UpstreamGarbage("the upstream switched protocols, or sent too many interim answers")

    def _frame(self, status: int, by_name: dict[str, str], *, http10: bool) -> None:
        coding, length = by_name.get("transfer-encoding"), by_name.get("content-length")
        if coding is not None and (length is not None or http10 or coding.lower() != "chunked"):
            raise UpstreamGarbage("the framing of the answer has two readings")
        bodiless = rules.bodiless(status)
        if bodiless or self._head_only or length == "0":
            self.complete = True
        self._close = coding is None and length is None and not bodiless
        # llhttp can't be told that this answers HEAD: it waits for a body, so such a connection is not used again.
        self.reusable = not (self._close or self._head_only or http10) and rules.lasting(self.headers, by_name)

    # ------------------------------------------------------------ what llhttp calls (trailers it checks, and tells nobody)

    def on_message_begin(self) -> None:
        if self.complete:
            self.reusable = False  # a second answer to one request: never to be taken for the next one's

    def on_body(self, data: bytes) -> None:
        if not self.complete:
            self.pieces.append(data)

    def on_message_complete(self) -> None:
        if self.ready:
            self.complete = True
