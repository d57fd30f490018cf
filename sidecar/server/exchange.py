"""One request and the way to answer it. A door (`server/way.py`, the admin and health ports) sees this and nothing below it.

Its counterpart is `listener.Connection`, which makes exchanges and puts their bytes on the wire. An answer is either
`respond`, or `start`, `write` …, `finish`; `abort` ends it anywhere. It knows no policy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sidecar.http1 import LAST_CHUNK, chunk, response_head
from sidecar.http1.rules import bodiless
from sidecar.http1.write import CHUNKED

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Sequence

    from sidecar.errors import CallError
    from sidecar.http1 import RequestHead

Answer = tuple[int, "Sequence[tuple[str, str]]", bytes]
"""Status, headers, body: a whole answer of ours."""


class Door(Protocol):
    """Who answers. `admit` and `refuse` are called on the loop and must not block; what they raise is a bug."""

    async def serve(self, exchange: Exchange) -> None:
        """Answer one request. When it returns, the answer must be finished or aborted."""
        ...

    def admit(self, method: str, target: str, headers: list[tuple[str, str]]) -> Answer | None:
        """Look at a whole head before its body is waited for. None lets it come; an answer ends it. It must not reserve anything."""
        ...

    def refuse(self, method: str, target: str, headers: list[tuple[str, str]], error: CallError) -> Answer:
        """Shape the answer to what never became a request: framing, size, time. The three may be empty where they could not be read."""
        ...


class Line(Protocol):
    """What an exchange needs of its connection."""

    transport: asyncio.Transport
    write_paused: bool
    peer: tuple[str, int]
    certificate: bytes | None
    tls: bool

    def closing(self) -> bool:
        """Whether the answer must say `connection: close`."""
        ...

    def drained(self) -> asyncio.Future[None]:
        """Done when the client has read enough; ConnectionResetError when it left."""
        ...

    def done(self, exchange: Exchange) -> None:
        """The answer is finished."""
        ...


class Exchange:
    """One request, whole, and its answer.

    `target` is the raw request target, header names are lower-case, `body` is decoded. `peer` is (address, port),
    `certificate` the DER of a verified client certificate. Writing after the client left raises ConnectionResetError;
    answering twice raises RuntimeError.
    """

    __slots__ = (
        "_callbacks", "_close", "_line", "_muted", "_plain", "body", "certificate", "finished", "gone", "headers", "method", "peer", "started", "target", "task", "tls",
    )  # fmt: skip

    def __init__(self, line: Line, head: RequestHead, body: bytes) -> None:
        self.method = head.method
        self.target = head.target
        self.headers = head.headers
        self.body = body
        self.peer = line.peer
        self.certificate = line.certificate
        self.tls = line.tls
        self.started = False
        """A head went out."""
        self.finished = False
        self.gone = False
        """The client left before the answer was finished."""
        self.task: asyncio.Task[None] | None = None
        self._line = line
        self._close = not head.keep_alive
        self._plain = head.http10
        self._muted = head.method == "HEAD"
        self._callbacks: list[Callable[[], object]] | None = None

    def respond(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        """Send a whole answer in one write."""
        self._check(started=False)
        silent = bodiless(status)
        head = response_head(status, headers, "" if silent else str(len(body)), close=self._closing())
        self.started = True
        self._line.transport.write(head if silent or self._muted else head + body)
        self.finish_now()

    async def start(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """Send the head of a streamed answer at once."""
        self._check(started=False)
        if self._plain:
            self._close = True  # HTTP/1.0 has no chunks: the end of the connection is the end of the body
        silent = bodiless(status)
        self._muted = self._muted or silent
        framing = "" if silent or self._plain else CHUNKED
        head = response_head(status, headers, framing, close=self._closing())
        self.started = True
        self._line.transport.write(head)

    async def write(self, data: bytes) -> None:
        """Send a piece of a streamed answer; returns when the client has room for more."""
        self._check(started=True)
        if not data or self._muted:
            return
        line = self._line
        line.transport.write(data if self._plain else chunk(data))
        if line.write_paused:
            await line.drained()

    async def finish(self) -> None:
        """End a streamed answer."""
        self._check(started=True)
        if not self._plain and not self._muted:
            self._line.transport.write(LAST_CHUNK)
        self.finish_now()

    def abort(self) -> None:
        """Cut the connection, so that no client can take what it got for the whole. Idempotent."""
        if not self.finished:
            self.finished = True
            self._line.transport.abort()

    def on_gone(self, callback: Callable[[], object]) -> None:
        """Call back once when the client leaves before the answer is finished; at once if it already has."""
        if self.gone:
            callback()
        elif self._callbacks is None:
            self._callbacks = [callback]
        else:
            self._callbacks.append(callback)

    # ------------------------------------------------------------ for the connection

    @property
    def close(self) -> bool:
        """Whether the connection ends with this answer."""
        return self._close

    def leave(self) -> list[Callable[[], object]]:
        """The client left: give the callbacks to call."""
        if self.gone or self.finished:
            return []
        self.gone = True
        callbacks, self._callbacks = self._callbacks or [], None
        return callbacks

    def finish_now(self) -> None:
        """Mark the end and hand the connection back."""
        self.finished = True
        self._callbacks = None
        self._line.done(self)

    def _check(self, *, started: bool) -> None:
        if self.gone:
            raise ConnectionResetError("the client left")
        if self.finished or self.started is not started:
            raise RuntimeError("an exchange is answered once: `respond`, or `start`, `write`, `finish`")

    def _closing(self) -> bool:
        if not self._close and self._line.closing():
            self._close = True
        return self._close
