"""One answer of an upstream, pulled by its reader. Its user is a core (`route.base.Body`); its counterpart is `pool.Connection`, which fills it.

It undoes compression that came unasked for, within bounds. It knows no pool and no socket.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from sidecar.errors import UpstreamCut, UpstreamGarbage
from sidecar.http1 import Decoder


class Source(Protocol):
    """The connection an answer comes over."""

    paused: bool

    def resume(self) -> None:
        """Read on."""
        ...

    def abandon(self) -> None:
        """Close: nobody wants the rest."""
        ...


class Inbound:
    """One answer: `status`, `headers` (lower-case, decoded bodies lose `content-encoding`), and a `route.base.Body`."""

    __slots__ = ("_connection", "_decoder", "_error", "_pieces", "_waiter", "headers", "idle", "ready", "status")

    def __init__(self, connection: Source, idle: float) -> None:
        self.status = 0
        self.headers: tuple[tuple[str, str], ...] = ()
        self.idle = idle
        self.ready = False
        """Status and headers came."""
        self._connection: Source | None = connection
        self._pieces: list[bytes] = []
        self._decoder: Decoder | None = None
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def chunk(self) -> bytes:
        """Give the next bytes, `b""` at the end. Raises UpstreamCut, UpstreamTimeout, UpstreamGarbage."""
        decoder = self._decoder
        while True:
            if decoder is not None and (piece := decoder.pull()):
                return piece
            data = self._taken() or await self._more()
            if decoder is None:
                return data
            if not data:
                decoder.end()
                return b""
            decoder.feed(data)

    async def read(self, limit: int) -> bytes:
        """Give all of it. Raises UpstreamGarbage past `limit` bytes (decoded), and what `chunk` raises."""
        parts: list[bytes] = []
        size = 0
        while piece := await self.chunk():
            size += len(piece)
            if size > limit:
                self.close()
                raise UpstreamGarbage("the answer is too large")
            parts.append(piece)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Let go. Before the end this closes the connection, so the upstream stops working. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()
            self._error = self._error or UpstreamCut("the answer was let go")
            self.wake()

    async def head(self) -> None:
        """Wait for status and headers. Raises UpstreamError, or `pool.Stale`."""
        while not self.ready:
            if self._error is not None:
                raise self._error
            await self._wait()

    def _taken(self) -> bytes:
        """What has come so far."""
        connection = self._connection
        pieces = self._pieces
        if not pieces:
            return b""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        if connection is not None and connection.paused:
            connection.resume()
        return data

    async def _more(self) -> bytes:
        while True:
            if self._error is not None:
                raise self._error
            if self._connection is None:
                return self._taken()
            await self._wait()
            if data := self._taken():
                return data

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    # ------------------------------------------------------------ for the connection

    def begin(self, status: int, headers: list[tuple[str, str]], pieces: list[bytes]) -> None:
        """The head came; `pieces` is filled by the reader until it turns to another answer. Raises UpstreamGarbage."""
        coding = next((value for name, value in headers if name == "content-encoding"), "")
        if coding:
            self._decoder = Decoder.of(coding)
            headers = [pair for pair in headers if pair[0] not in ("content-encoding", "content-length")]
        self.status = status
        self.headers = tuple(headers)
        self._pieces = pieces
        self.ready = True

    def buffered(self) -> int:
        """Bytes that wait to be taken."""
        return sum(map(len, self._pieces))

    def wake(self) -> None:
        """Something came."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def detach(self) -> None:
        """The answer is whole: the connection is free for another."""
        self._connection = None

    def fail(self, error: Exception) -> None:
        """It will not be whole. What came before is still given first."""
        self._error = error
        self.detach()
        self.wake()
