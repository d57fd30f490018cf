"""The port: sockets in, exchanges out. An asyncio Protocol over `http1.RequestReader`, one object per connection.

Its counterpart on the other side of the gate is `route/channel.py`. It knows bytes, limits and time, and nothing of policy: a
`Door` says what the answer is. Requests of one connection are served strictly in order; what a client pipelines waits as
raw bytes. There is one timer per listener (`_sweep`), none per request.

A client that half-closes is taken for one that left: no client of the APIs served here does that, and it is the only
sign of a client that died while its answer is being made.

Longer than most files here because the phases of a connection are only understood together.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, cast

from sidecar.errors import CallError, OverCapacity, TooSlow
from sidecar.http1 import CONTINUE, RequestLimits, RequestReader, response_head
from sidecar.http1.rules import bodiless
from sidecar.server.exchange import Answer, Door, Exchange

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Callable

    from sidecar.config.documents import Limits

HELD = 64 * 2**10
"""Pipelined bytes kept while an answer is being made; past this the client has to wait."""
LINGER_BYTES = 4 * 2**20
"""Bytes read and dropped after a refusal, so that a client still sending gets to read it (RFC 9112, 9.6)."""
MIN_RATE = 1024
"""Bytes per second a body must come at, on top of the allowance: a trickle can't hold a call open."""
PROGRESS = 4 * 2**10
"""A paused reader must take this many bytes within the write time-out, or it is cut."""


class ListenLimits(NamedTuple):
    """Bounds of a listener; seconds. A time-out fires up to one `sweep` late, never early."""

    request: RequestLimits = RequestLimits()
    client: float = 30.0
    """For a whole head, and between two parts of a body."""
    idle: float = 75.0
    """Between two requests of a connection."""
    write: float = 30.0
    """For a client to read the next part of its answer."""
    linger: float = 2.0
    """Reading on after a refusal."""
    connections: int = 8192
    unread: int = 64 * 2**20
    """Bytes of bodies that are still coming, over all connections; what a door holds is its own to count."""
    sweep: float = 0.5

    @classmethod
    def of(cls, limits: Limits) -> ListenLimits:
        """The bounds that `Settings.limits` asks for."""
        request = RequestLimits(head=limits.header_bytes, headers=limits.headers, body=limits.body)
        return cls(request, client=limits.client_timeout, idle=limits.idle, write=limits.client_timeout, unread=limits.inflight_bytes)


class Connection(asyncio.Protocol):
    """One client. Phases follow from what is set: lingering, an exchange, a head, bytes of a head, nothing (idle)."""

    transport: asyncio.Transport

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._door = listener.door
        self._reader = RequestReader(listener.limits.request)
        self._exchange: Exchange | None = None
        self._admitted = False
        self._lingering = False
        self._closing = False
        self._dropped = 0
        self._held = False
        self._waiter: asyncio.Future[None] | None = None
        self._since = listener.now
        self._last = listener.now
        self._unread = 0
        self._coming = 0
        self.write_paused = False
        self.peer = ("", 0)
        self.certificate: bytes | None = None
        self.tls = False

    # ------------------------------------------------------------ what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if not self._listener.enter(self):
            self.transport.abort()
            return
        name = transport.get_extra_info("peername")
        if isinstance(name, tuple):
            self.peer = (name[0], name[1])
        secured = transport.get_extra_info("ssl_object")
        if secured is not None:
            self.tls = True
            self.certificate = secured.getpeercert(binary_form=True)

    def data_received(self, data: bytes) -> None:
        if self._lingering or self._closing:
            self._drop(len(data))
        elif self._exchange is not None or self.write_paused:
            self._hold(data)
        else:
            self._take(data)

    def eof_received(self) -> bool:
        self._leave()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        self._listener.leave(self)

    def pause_writing(self) -> None:
        self.write_paused = True
        self._since = self._listener.now
        self._unread = self.transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        self.write_paused = False
        self._since = self._listener.now
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        if self._exchange is None and self._held:
            self._next()

    # ------------------------------------------------------------ what an exchange calls

    def closing(self) -> bool:
        """Whether this answer is the connection's last."""
        return self._listener.draining

    def drained(self) -> asyncio.Future[None]:
        """Done when the client has read enough; ConnectionResetError when it left."""
        if self._waiter is None or self._waiter.done():
            self._waiter = self._listener.loop.create_future()
        return self._waiter

    def done(self, exchange: Exchange) -> None:
        """Hand the connection to the next request, or close it."""
        if self._exchange is not exchange:
            return
        self._exchange = None
        if exchange.close or self._listener.draining:
            self._shut()
        elif self._held or self._reader.rest:
            # Through the loop: a pipeline of answers that are ready at once must not grow the stack.
            self._held = True
            self._listener.loop.call_soon(self._next)
        else:
            self._since = self._listener.now
            self._admitted = False
            self._reader.next()

    # ------------------------------------------------------------ reading

    def _take(self, data: bytes) -> None:
        reader = self._reader
        fresh = not reader.begun
        try:
            reader.feed(data)
            head = reader.head
            if head is not None and not self._admitted and not self._admit():
                return
            self._count(0 if reader.complete else reader.received)
            if reader.complete and head is not None:
                exchange = self._exchange = Exchange(self, head, reader.body())
                self._listener.run(exchange)
                return
        except CallError as error:
            self._refuse(error)
            return
        self._last = self._listener.now
        if fresh:
            self._since = self._listener.now

    def _count(self, size: int) -> None:
        """Count what is held of a body that is still coming. Raises OverCapacity where all that is held is too much."""
        listener = self._listener
        listener.unread += size - self._coming
        self._coming = size
        if size and listener.unread > listener.limits.unread:
            raise OverCapacity("too many request bytes at once")

    def _admit(self) -> bool:
        """Ask the door about a whole head. False: it was refused, and that answer is on its way."""
        reader = self._reader
        self._admitted = True
        self._since = self._listener.now
        try:
            answer = self._door.admit(reader.method, reader.target, reader.headers)
        except Exception as error:  # noqa: BLE001  boundary: a door that fails must refuse, loudly
            answer = self._listener.bug(error)
        if answer is None:
            if reader.head is not None and reader.head.expects and not reader.complete and not reader.received:
                self.transport.write(CONTINUE)
            return True
        keep = reader.complete and reader.head is not None and reader.head.keep_alive
        self._send(answer, close=not keep)
        return False

    def _hold(self, data: bytes) -> None:
        """Keep what came before its turn; past HELD bytes let the client wait."""
        self._held = True
        reader = self._reader
        reader.rest += data
        if len(reader.rest) > HELD:
            self.transport.pause_reading()

    def _next(self) -> None:
        """Turn to what was held. Also called late: the connection may have ended meanwhile."""
        if self._exchange is not None or self._closing or self._lingering or self.transport.is_closing() or self.write_paused:
            return
        reader = self._reader
        data, reader.rest = reader.rest, b""
        self._held = False
        self._since = self._listener.now
        if reader.complete:  # a client that read slowly may have been held in the middle of its body
            reader.next()
            self._admitted = False
        self.transport.resume_reading()
        if data:
            self._take(data)

    def _refuse(self, error: CallError) -> None:
        """Answer what has no single reading, and end the connection: where the next request would begin is not known."""
        reader = self._reader
        try:
            answer = self._door.refuse(reader.method, reader.target, reader.headers, error)
        except Exception as bug:  # noqa: BLE001  boundary: a door that fails must refuse, loudly
            answer = self._listener.bug(bug)
        self._send(answer, close=True)

    def _send(self, answer: Answer, *, close: bool) -> None:
        """Answer without an exchange, then linger or turn to the next request."""
        status, headers, body = answer
        close = close or self._listener.draining
        silent = bodiless(status)
        head = response_head(status, headers, "" if silent else str(len(body)), close=close)
        self.transport.write(head if silent or self._reader.method == "HEAD" else head + body)
        if close:
            self._linger()
        else:
            self._held = True
            self._listener.loop.call_soon(self._next)

    # ------------------------------------------------------------ ending

    def _linger(self) -> None:
        self._lingering = True
        self._since = self._listener.now
        self._reader.rest = b""
        self._count(0)
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _drop(self, size: int) -> None:
        self._dropped += size
        if self._dropped > LINGER_BYTES:
            self.transport.abort()

    def _shut(self) -> None:
        self._closing = True
        self._since = self._listener.now
        self.transport.close()

    def _leave(self) -> None:
        exchange, self._exchange = self._exchange, None
        waiter, self._waiter = self._waiter, None
        self._closing = True
        self._count(0)
        if waiter is not None and not waiter.done():
            waiter.set_exception(ConnectionResetError("the client left"))
        if exchange is None:
            return
        for callback in exchange.leave():
            try:
                callback()
            except Exception as error:  # noqa: BLE001  boundary: one callback must not keep the others from running
                self._listener.bug(error)

    # ------------------------------------------------------------ time

    def sweep(self, now: float, limits: ListenLimits) -> None:
        """Look whether something took too long. Called by the listener's one timer."""
        reader, waited = self._reader, now - self._since
        if self._lingering:
            if waited > limits.linger:
                self.transport.abort()
        elif self.write_paused or self._closing:
            self._sweep_writer(now, limits)
        elif self._exchange is not None or self._held:
            return
        elif reader.head is not None:
            if now - self._last > limits.client or waited > limits.client + reader.received / MIN_RATE:
                self._refuse(TooSlow("the request body did not come in time"))
        elif reader.begun:
            if waited > limits.client:
                self._refuse(TooSlow("the request head did not come in time"))
        elif waited > limits.idle:
            self._shut()

    def _sweep_writer(self, now: float, limits: ListenLimits) -> None:
        unread = self.transport.get_write_buffer_size()
        if unread + PROGRESS <= self._unread:
            self._unread, self._since = unread, now
        elif now - self._since > limits.write:
            self.transport.abort()

    def drain(self) -> None:
        """The listener is closing: end now unless a request has begun."""
        if self._exchange is None and not self._held and not self._reader.begun and not self._lingering:
            self._shut()


class Listener:
    """One port. `on_bug` is told of every exception that a door let escape; the client got a bare 500 or a cut."""

    def __init__(self, door: Door, limits: ListenLimits | None = None, *, on_bug: Callable[[BaseException], object]) -> None:
        self.door = door
        self.limits = limits or ListenLimits()
        self.draining = False
        self.now = 0.0
        """The loop's clock at the last sweep: near enough for time-outs, and free to read."""
        self.unread = 0
        """Bytes of bodies that are still coming."""
        self._on_bug = on_bug
        self._connections: set[Connection] = set()
        self._running: set[Exchange] = set()
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._empty: asyncio.Future[None] | None = None

    async def start(self, host: str, port: int, ssl: ssl_module.SSLContext | None = None) -> int:
        """Listen, and give the actual port. Raises OSError where that can't be had."""
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time()
        timeout = self.limits.client if ssl is not None else None
        self._server = await self.loop.create_server(lambda: Connection(self), host, port, ssl=ssl, backlog=1024, ssl_handshake_timeout=timeout)
        self._timer = self.loop.call_later(self.limits.sweep, self._sweep)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self, grace: float) -> None:
        """Stop accepting, let begun requests end within `grace` seconds, then cut what is left. Idempotent."""
        self.draining = True
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            connection.drain()
        await self._emptied(grace)
        for exchange in tuple(self._running):
            if exchange.task is not None and not exchange.finished:
                exchange.task.cancel()
        for connection in tuple(self._connections):
            connection.transport.abort()
        await self._emptied(1.0)
        if self._timer is not None:
            self._timer.cancel()

    @property
    def connections(self) -> int:
        """Open connections, idle ones too."""
        return len(self._connections)

    # ------------------------------------------------------------ what connections call

    def enter(self, connection: Connection) -> bool:
        """Count a connection in; False where there are too many, or the port is closing."""
        self._connections.add(connection)
        return len(self._connections) <= self.limits.connections and not self.draining

    def leave(self, connection: Connection) -> None:
        """Count it out."""
        self._connections.discard(connection)
        self._settle()

    def run(self, exchange: Exchange) -> None:
        """Start a task for one request; `_running` keeps it alive (the loop holds tasks weakly)."""
        self._running.add(exchange)
        exchange.task = self.loop.create_task(self._serve(exchange))

    def bug(self, error: BaseException) -> Answer:
        """Tell `on_bug`, and give the bare answer."""
        self._on_bug(error)
        return 500, (("content-type", "text/plain"),), b"internal error\n"

    async def _serve(self, exchange: Exchange) -> None:
        try:
            await self.door.serve(exchange)
            if not (exchange.finished or exchange.gone):
                self._fail(exchange, RuntimeError("the door returned without an answer"))
        except ConnectionError as error:
            if not exchange.gone:
                self._fail(exchange, error)
        except Exception as error:  # noqa: BLE001  the boundary: a bug is loud and the call is refused
            self._fail(exchange, error)
        finally:
            exchange.abort()
            self._running.discard(exchange)
            if self._empty is not None:
                self._settle()

    def _fail(self, exchange: Exchange, error: BaseException) -> None:
        answer = self.bug(error)
        if not (exchange.started or exchange.finished or exchange.gone):
            exchange.respond(*answer)

    def _settle(self) -> None:
        empty = self._empty
        if empty is not None and not empty.done() and not self._connections and not self._running:
            empty.set_result(None)

    async def _emptied(self, seconds: float) -> None:
        if not self._connections and not self._running:
            return
        self._empty = self.loop.create_future()
        await asyncio.wait((self._empty,), timeout=seconds)

    def _sweep(self) -> None:
        limits = self.limits
        self.now = now = self.loop.time()
        self._timer = self.loop.call_later(limits.sweep, self._sweep)
        for connection in tuple(self._connections):
            connection.sweep(now - limits.sweep, limits)


__all__ = ["Answer", "Connection", "Door", "Exchange", "ListenLimits", "Listener"]
