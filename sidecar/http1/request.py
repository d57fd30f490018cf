"""Reads requests: bytes in, one `RequestHead` and body at a time. Its user is `server/listener.py`; its counterpart is `response`.

The reader finds where the head and the message end by itself and hands llhttp exactly those bytes, so both must agree on
every boundary: where llhttp sees the end of a message and this does not, the request is refused. What follows a message
stays unread in `rest` until `next`, which is how pipelining is served in order. It knows no sockets, no time, no policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser

from sidecar.errors import CallError, MalformedCall, MethodNotAllowed, TooLarge
from sidecar.http1 import rules
from sidecar.http1.coding import decode, request_encoding

if TYPE_CHECKING:
    from sidecar.http1.rules import RequestLimits

END = b"\r\n\r\n"


@dataclass(slots=True)
class RequestHead:
    """A head that was read. Header names are lower-case, values without outer whitespace, in the order they came."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    http10: bool
    keep_alive: bool
    expects: bool
    """`Expect: 100-continue`."""
    encoding: str
    """`gzip`, or "" for none."""


class RequestReader:
    """One connection's requests, one after the other.

    `feed` raises CallError on what has no single reading or is over a limit; the reader is then of no more use, and
    `method`, `target` and `headers` hold what could be read of the request, to shape the refusal.
    """

    __slots__ = (
        "_body", "_chunked", "_ended", "_length", "_limits", "_minor", "_parser", "_pending", "_wire",
        "complete", "head", "headers", "method", "received", "rest", "target",
    )  # fmt: skip

    def __init__(self, limits: RequestLimits) -> None:
        self._limits = limits
        self._parser = HttpRequestParser(self)
        self.rest = b""
        self.next()

    def next(self) -> None:
        """Make ready for the following request; its bytes so far are in `rest`."""
        self._pending = b""
        self._body: bytes | bytearray = b""
        self._chunked = False
        self._ended = False
        self._length = 0
        self._minor = b""
        self._wire = 0
        self.method = ""
        self.target = ""
        self.headers: list[tuple[str, str]] = []
        self.head: RequestHead | None = None
        self.complete = False
        self.received = 0
        """Body bytes so far, after chunks are joined."""

    @property
    def begun(self) -> bool:
        """Whether any byte of the current request came."""
        return bool(self._pending) or self.head is not None

    def feed(self, data: bytes) -> None:
        """Take bytes; look at `head` and `complete` afterwards. Raises CallError."""
        if self.complete:
            self.rest += data
            return
        if self.head is None:
            data = self._take_head(data)
            if self.head is None:
                return
        if data and not self.complete:
            data = self._take_chunks(data) if self._chunked else self._take_length(data)
        self.rest = data

    def body(self) -> bytes:
        """The whole body, decoded. Raises TooLarge (a bomb), MalformedCall (no gzip)."""
        head = self.head
        if head is None or not head.encoding:
            return bytes(self._body)
        return decode(head.encoding, bytes(self._body), self._limits.body)

    # ------------------------------------------------------------ boundaries

    def _take_head(self, data: bytes) -> bytes:
        if self._pending:
            data = self._pending + data
        # Where a long head comes byte by byte only the new bytes can hold its end.
        end = data.find(END, max(0, len(self._pending) - 3)) + 4
        if end == 3 or end > self._limits.head:
            self._check_unfinished(data)
            self._pending = data
            return b""
        self._pending = b""
        self._read_line(data)
        head = data[:end]
        self._parse(head)
        self._read_head(head)
        return data[end:]

    def _check_unfinished(self, data: bytes) -> None:
        """Refuse early what can't become a head: too long, or a line that is already wrong."""
        if len(data) > self._limits.head:
            self._read_start(data)
            raise TooLarge("the request head is too large")
        if rules.BARE_LF.search(data, max(0, len(self._pending) - 1)) or not rules.REQUEST_LINE_START.match(data):
            self._read_start(data)
            raise MalformedCall("the request line is malformed, or a line feed stands alone")
        if b"\n" in data:
            self._read_line(data)

    def _take_length(self, data: bytes) -> bytes:
        due = self._length - self.received
        self._parse(data if len(data) <= due else data[:due])
        self.complete = self._agreed(self.received == self._length)
        return data[due:]

    def _take_chunks(self, data: bytes) -> bytes:
        """A chunked message ends with a blank line, and may end nowhere else: stop at each and ask llhttp."""
        start, size = 0, len(data)
        while start < size and not self._ended:
            # A blank line that straddles two feeds ends within the first three bytes of the second: take those one by one.
            found = data.find(END, start - 3) if start > 2 else start - 3
            end = size if found < 0 and start > 2 else found + 4
            self._parse(data[start:end])
            start = end
        self._wire += start
        if self._wire > self.received * rules.CHUNK_FACTOR + rules.CHUNK_OVERHEAD:
            raise MalformedCall("the chunks carry too little")
        self.complete = self._ended
        return data[start:]

    def _agreed(self, ended: bool) -> bool:
        if ended is not self._ended:
            raise MalformedCall("the message has two possible ends")
        return ended

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserCallbackError as error:
            if isinstance(error.__context__, CallError):
                raise error.__context__ from None
            raise
        except (HttpParserError, HttpParserUpgrade) as error:
            raise MalformedCall(_reason(error)) from None

    # ------------------------------------------------------------ the head

    def _read_start(self, data: bytes) -> None:
        start = rules.REQUEST_LINE_START.match(data)
        if start is not None:
            self.method = start[1].decode()
            self.target = (start[2] or b"").decode()

    def _read_line(self, data: bytes) -> None:
        line = rules.REQUEST_LINE.match(data)
        if line is None:
            self._read_start(data)
            raise MalformedCall("the request line is malformed")
        method, target, major, minor = line.groups()
        self.target = target.decode()
        self.method = rules.METHODS.get(method, "")
        if not self.method:
            self.method = method.decode()
            raise MethodNotAllowed("this method is not served")
        self._minor = minor
        if major != b"1" or minor not in (b"0", b"1"):
            raise MalformedCall("only HTTP/1.1 and HTTP/1.0 are spoken here")
        if self.target[0] != "/" or "#" in self.target:
            raise MalformedCall("the request target must be a path (no absolute form, no authority, no fragment)")

    def _read_head(self, head: bytes) -> None:
        self.headers = headers = rules.fields(head)
        if len(headers) > self._limits.headers:
            raise TooLarge("too many header fields")
        by_name = dict(headers)
        if len(by_name) != len(headers) and (twice := rules.repeated(headers, rules.SINGLE)):
            raise MalformedCall(f"the field {twice} came twice")
        if "upgrade" in by_name or not rules.OVERRIDES.isdisjoint(by_name):
            raise MalformedCall("Upgrade and method-override fields are refused")
        http10 = self._minor == b"0"
        host = by_name.get("host")
        if (host is None and not http10) or (host is not None and rules.HOST.fullmatch(host) is None):
            raise MalformedCall("the Host field is missing or malformed")
        self._frame(by_name, http10)
        keep_alive = not http10 and rules.lasting(headers, by_name)
        expects = "expect" in by_name and _expects(by_name["expect"], http10)
        encoding = request_encoding(by_name["content-encoding"]) if "content-encoding" in by_name else ""
        if encoding:
            self.headers = headers = [field for field in headers if field[0] != "content-encoding"]
        self.head = RequestHead(self.method, self.target, headers, http10, keep_alive, expects, encoding)

    def _frame(self, by_name: dict[str, str], http10: bool) -> None:
        coding = by_name.get("transfer-encoding")
        length = by_name.get("content-length")
        if coding is not None:
            if http10 or length is not None or coding.lower() != "chunked":
                raise MalformedCall("the only transfer coding is `chunked`, on HTTP/1.1, without a Content-Length")
            self._chunked = True
        elif length is not None:
            if not (length.isascii() and length.isdigit() and len(length) < 20):
                raise MalformedCall("the Content-Length is malformed")
            self._length = int(length)
            if self._length > self._limits.body:
                raise TooLarge("the request body is too large")
        if not self._chunked and not self._length:
            self.complete = self._agreed(ended=True)

    # ------------------------------------------------------------ what llhttp calls (trailers it checks, and tells nobody)

    def on_body(self, data: bytes) -> None:
        self.received += len(data)
        if self.received > self._limits.body:
            raise TooLarge("the request body is too large")
        if not self._body:
            self._body = data
            return
        if isinstance(self._body, bytes):
            self._body = bytearray(self._body)
        self._body += data

    def on_message_complete(self) -> None:
        self._ended = True


def _expects(value: str, http10: bool) -> bool:
    if value.lower() != "100-continue":
        raise MalformedCall("the only expectation is `100-continue`")
    return not http10  # RFC 9110, 10.1.1: an HTTP/1.0 client's is ignored


def _reason(error: Exception) -> str:
    """Words of llhttp: they name grammar, never the caller's bytes."""
    return f"the request is malformed: {error.args[0] if error.args and isinstance(error.args[0], str) else 'upgrade'}"
