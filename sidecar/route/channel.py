"""Pooled connections to upstreams: a request's bytes out, an `Inbound` back. An asyncio Protocol over `http1.ResponseReader`.

Its counterpart on the other side of the gate is `server/listener.py`. It dials the very address that `sidecar.address`
has judged while TLS verifies and names the URL's own host, so a resolver that answers differently a moment later
changes nothing. It follows no redirect, reads no proxy variables, retries nothing but a kept connection that was already
dead, and knows nothing of policy, retries over upstreams, or breakers: those are `direct`'s.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from sidecar import address as addresses
from sidecar.errors import ConfigError, UpstreamCut, UpstreamError, UpstreamGarbage, UpstreamTimeout, UpstreamUnreachable
from sidecar.http1 import Decoder, ResponseLimits, ResponseReader, request_head
from sidecar.route import resolve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.config.documents import Timeouts, UpstreamTls
    from sidecar.route.resolve import Resolver

HIGH_WATER = 256 * 2**10
"""Bytes of an answer kept for a slow reader; past this the upstream has to wait."""
JOIN = 64 * 2**10
"""Up to this a body is copied behind its head; above, the two are handed over side by side."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an upstream is. Equal endpoints share connections; those of two upstreams never do.

    `host` is the URL's, `allowed` what the Upstream names beside it (addresses, CIDR ranges); a literal address in the
    URL is named by itself. `server_hostname` is what TLS verifies and names instead of `host`, where set.
    """

    upstream: str
    scheme: str
    host: str
    port: int
    allowed: tuple[str, ...] = ()
    tls: UpstreamTls | None = None
    server_hostname: str = ""
    authority: str = field(init=False)
    """The Host field."""
    literal: str | None = field(init=False)

    def __post_init__(self) -> None:
        """Raise ConfigError for a scheme or host that can't be dialled."""
        if self.scheme not in ("http", "https"):
            raise ConfigError(f"`{self.scheme}` is not a scheme an upstream can have; use https or http")
        object.__setattr__(self, "literal", addresses.literal(self.host))
        host = f"[{self.host}]" if ":" in self.host and not self.host.startswith("[") else self.host
        usual = self.port == (443 if self.scheme == "https" else 80)
        object.__setattr__(self, "authority", host if usual else f"{host}:{self.port}")


class _Stale(Exception):
    """A kept connection died before a byte of this answer: the request may be sent once more, on a new one."""


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, pool: _Pool, address: str) -> None:
        self.pool = pool
        self.address = address
        self.reader = ResponseReader(pool.channel.limits)
        self.transport: asyncio.Transport
        self.inbound: Inbound | None = None
        self.used = False
        """It has carried an answer before: if it dies now, it may have been dead already."""
        self.touched = False
        """A byte of the current answer came."""
        self.paused = False
        self.deadline = 0.0
        """The loop's time at which `inbound` (or an idle connection) has waited too long."""
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def send(self, inbound: Inbound, method: str, head: bytes, body: bytes, deadline: float) -> None:
        """Write a request; the answer goes to `inbound`."""
        self.inbound = inbound
        self.touched = False
        self.deadline = deadline
        self.reader.expect(method)
        if len(body) <= JOIN:
            self.transport.write(head + body)
        else:
            self.transport.writelines((head, body))

    def data_received(self, data: bytes) -> None:
        inbound, reader = self.inbound, self.reader
        if inbound is None:
            self.transport.abort()  # bytes nobody asked for, on an idle connection
            return
        self.touched = True
        try:
            reader.feed(data)
        except UpstreamGarbage as error:
            self._fail(error)
            return
        if reader.ready:
            self._progress(inbound)

    def _progress(self, inbound: Inbound) -> None:
        reader = self.reader
        if not inbound.ready:
            try:
                inbound.begin(reader.status, reader.headers, reader.pieces)
            except UpstreamGarbage as error:
                self._fail(error)
                return
        if reader.complete:
            self._release(inbound)
        else:
            self.deadline = self.pool.channel.loop.time() + inbound.idle
            if not self.paused and inbound.buffered() > HIGH_WATER:
                self.paused = True
                self.transport.pause_reading()
        inbound.wake()

    def _release(self, inbound: Inbound) -> None:
        """The answer is whole: back to the pool, or closed."""
        self.inbound = None
        inbound.detach()
        if self.paused:
            self.resume()
        # An answer that overtook its request leaves request bytes unsent: nothing may follow on that connection.
        if self.reader.reusable and not self.lost and not self.transport.is_closing() and not self.transport.get_write_buffer_size():
            self.used = True
            self.pool.keep(self)
        else:
            self.transport.close()

    def resume(self) -> None:
        """The reader of the answer has room again."""
        self.paused = False
        if not self.transport.is_closing():
            self.transport.resume_reading()
        if self.inbound is not None:
            self.deadline = self.pool.channel.loop.time() + self.inbound.idle

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.pool.drop(self)
        inbound = self.inbound
        if inbound is None:
            return
        if self.used and not self.touched:
            self.inbound = None
            inbound.fail(_Stale())
            return
        try:
            if exc is not None and not self.reader.complete:
                raise UpstreamCut(_lost(self.touched))
            self.reader.end()
        except UpstreamCut as error:
            self._fail(error if self.touched else UpstreamUnreachable(_lost(self.touched)))
        else:
            self.inbound = None
            inbound.detach()
            inbound.wake()

    def expire(self) -> None:
        """The deadline passed."""
        if self.inbound is None:
            self.transport.close()
        elif not self.paused:
            self._fail(UpstreamTimeout("the upstream stopped in the middle" if self.reader.ready else "the upstream did not answer in time"))

    def _fail(self, error: UpstreamError) -> None:
        inbound, self.inbound = self.inbound, None
        if inbound is not None:
            inbound.fail(error)
        self.transport.abort()

    def abandon(self) -> None:
        """Nobody wants the rest."""
        self.inbound = None
        self.transport.abort()


def _lost(touched: bool) -> str:
    return "the answer ended before its end" if touched else "the upstream closed without an answer"


class Inbound:
    """One answer: `status`, `headers` (lower-case, decoded bodies lose `content-encoding`), and a `route.base.Body`."""

    __slots__ = ("_connection", "_decoder", "_error", "_pieces", "_waiter", "headers", "idle", "ready", "status")

    def __init__(self, connection: Connection, idle: float) -> None:
        self.status = 0
        self.headers: tuple[tuple[str, str], ...] = ()
        self.idle = idle
        self.ready = False
        """Status and headers came."""
        self._connection: Connection | None = connection
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
        """Wait for status and headers. Raises UpstreamError, or _Stale."""
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
        self.ready = True
        self.status = status
        coding = next((value for name, value in headers if name == "content-encoding"), "")
        if coding:
            self._decoder = Decoder.of(coding)
            headers = [pair for pair in headers if pair[0] not in ("content-encoding", "content-length")]
        self.headers = tuple(headers)
        self._pieces = pieces

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


class _Pool:
    """The connections of one endpoint, kept by address, newest first."""

    __slots__ = ("addresses", "channel", "context", "endpoint", "fresh_until", "idle", "open", "resolving", "waiting")

    def __init__(self, channel: Channel, endpoint: Endpoint) -> None:
        self.channel = channel
        self.endpoint = endpoint
        self.idle: dict[str, list[Connection]] = {}
        self.open: set[Connection] = set()
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.addresses: tuple[str, ...] = ()
        self.fresh_until = 0.0
        self.resolving: asyncio.Task[None] | None = None
        self.context: ssl.SSLContext | None = None

    def take(self) -> Connection | None:
        """Give the newest idle connection to an address that the name has now."""
        for address in self.addresses:
            kept = self.idle.get(address)
            while kept:
                connection = kept.pop()
                if not connection.transport.is_closing():
                    return connection
        return None

    def keep(self, connection: Connection) -> None:
        """Make it idle."""
        channel = self.channel
        kept = self.idle.setdefault(connection.address, [])
        if channel.closed or len(kept) >= channel.max_idle:
            connection.transport.close()
            return
        connection.deadline = channel.loop.time() + channel.idle_timeout
        kept.append(connection)
        if self.waiting:
            self._let_in()

    def drop(self, connection: Connection) -> None:
        """Forget one that is closed."""
        self.open.discard(connection)
        kept = self.idle.get(connection.address)
        if kept and connection in kept:
            kept.remove(connection)
        self._let_in()

    def _let_in(self) -> None:
        while self.waiting:
            waiter = self.waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    async def resolve(self) -> None:
        """Find and check the addresses, once for all who ask meanwhile. Raises UpstreamUnreachable."""
        if self.resolving is None or self.resolving.done():
            self.resolving = self.channel.loop.create_task(self._resolve())
        await asyncio.shield(self.resolving)

    async def _resolve(self) -> None:
        endpoint = self.endpoint
        if endpoint.literal is not None:
            found, allowed = [endpoint.literal], (*endpoint.allowed, endpoint.literal)
        else:
            found, allowed = await self.channel.resolver(endpoint.host, endpoint.port), endpoint.allowed
        verdicts = [(ip, addresses.check(ip, allowed)) for ip in found]
        self.addresses = tuple(ip for ip, reason in verdicts if reason is None)
        if not self.addresses:
            reasons = "; ".join(reason for _, reason in verdicts if reason) or "it has no address"
            raise UpstreamUnreachable(f"`{endpoint.host}` can't be dialled: {reasons}")
        self.fresh_until = self.channel.loop.time() + self.channel.ttl

    async def dial(self, used_up: float) -> Connection:
        """Open a connection to the first checked address that takes one, before the loop's time `used_up`."""
        await self._slot(used_up)
        loop = self.channel.loop
        tried = self.addresses
        error: Exception = UpstreamUnreachable(f"`{self.endpoint.host}` has no address")
        for number, address in enumerate(tried):
            share = (used_up - loop.time()) / (len(tried) - number)
            try:
                async with asyncio.timeout(share):
                    return await self._connect(address)
            except TimeoutError:
                error = UpstreamTimeout(f"no connection to `{self.endpoint.host}` in time")
            except (OSError, ssl.SSLError) as failure:
                error = UpstreamUnreachable(f"no connection to `{self.endpoint.host}`: {_told(failure)}")
        raise error

    async def _slot(self, used_up: float) -> None:
        while len(self.open) >= self.channel.max_connections:
            waiter = self.channel.loop.create_future()
            self.waiting.append(waiter)
            try:
                async with asyncio.timeout_at(used_up):
                    await waiter
            except TimeoutError:
                raise UpstreamUnreachable(f"`{self.endpoint.upstream}` has no free connection") from None

    async def _connect(self, address: str) -> Connection:
        endpoint = self.endpoint
        context = name = None
        if endpoint.scheme == "https":
            context, name = await self._context(), endpoint.server_hostname or endpoint.literal or endpoint.host
        connection = Connection(self, address)
        self.open.add(connection)  # before the wait: those who dial at the same time count too
        try:
            await self.channel.loop.create_connection(lambda: connection, address, endpoint.port, ssl=context, server_hostname=name)
        except BaseException:
            self.drop(connection)
            raise
        return connection

    async def _context(self) -> ssl.SSLContext:
        if self.context is None:
            self.context = await self.channel.loop.run_in_executor(None, _client_context, self.endpoint.tls)
        return self.context


def _told(failure: Exception) -> str:
    if isinstance(failure, ssl.SSLCertVerificationError):
        return f"its certificate does not verify: {failure.verify_message}"
    if isinstance(failure, ssl.SSLError):
        return f"TLS failed: {failure.reason or failure}"
    return getattr(failure, "strerror", None) or type(failure).__name__


def _client_context(spec: UpstreamTls | None) -> ssl.SSLContext:
    """Make a context that always verifies. Raises OSError, ssl.SSLError for files that can't be loaded."""
    context = ssl.create_default_context(cafile=spec.ca if spec and spec.ca else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if spec and spec.cert:
        context.load_cert_chain(spec.cert, spec.key or None)
    return context


class Channel:
    """All pools. Made on a running loop; `close` it at the end."""

    def __init__(
        self,
        resolver: Resolver = resolve.system,
        *,
        limits: ResponseLimits | None = None,
        ttl: float = 10.0,
        idle_timeout: float = 30.0,
        max_idle: int = 256,
        max_connections: int = 1024,
        sweep: float = 0.25,
    ) -> None:
        """`ttl` is how long addresses are believed, `idle_timeout` how long a connection is kept; seconds. The maxima are per endpoint."""
        self.loop = asyncio.get_running_loop()
        self.resolver = resolver
        self.limits = limits or ResponseLimits()
        self.ttl = ttl
        self.idle_timeout = idle_timeout
        self.max_idle = max_idle
        self.max_connections = max_connections
        self.closed = False
        self._pools: dict[Endpoint, _Pool] = {}
        self._sweep = sweep
        self._timer: asyncio.TimerHandle | None = None

    async def send(
        self, endpoint: Endpoint, method: str, path: str, headers: Sequence[tuple[str, str]], body: bytes, timeouts: Timeouts
    ) -> Inbound:
        """Send one request and wait for the head of its answer.

        `path` is the whole target with its query. The framing and Host fields are said here; those in `headers` are left
        out. Raises UpstreamUnreachable, UpstreamTimeout, UpstreamGarbage, UpstreamCut; ValueError for a head that would
        split. Cancelling it closes the connection.
        """
        length = len(body) if body or method not in ("GET", "HEAD", "DELETE", "OPTIONS") else None
        head = request_head(method, path, endpoint.authority, headers, length)
        pool = self._pools.get(endpoint) or self._pool(endpoint)
        now = self.loop.time()
        if pool.fresh_until <= now:
            await self._resolved(pool, now + timeouts.connect)
        connection = pool.take()
        if connection is not None:
            try:
                return await self._exchange(connection, method, head, body, timeouts)
            except _Stale:
                now = self.loop.time()
        connection = await pool.dial(now + timeouts.connect)
        return await self._exchange(connection, method, head, body, timeouts)

    async def warm(self, endpoint: Endpoint) -> None:
        """Load an endpoint's certificates ahead of its first call. Raises UpstreamUnreachable where they can't be."""
        if endpoint.scheme == "https":
            try:
                await self._pool(endpoint)._context()  # noqa: SLF001  one module
            except (OSError, ssl.SSLError) as error:
                raise UpstreamUnreachable(f"the certificates for `{endpoint.upstream}` can't be loaded: {_told(error)}") from None

    def reload(self) -> None:
        """Forget TLS contexts and idle connections: certificates or keys changed. Running answers go on."""
        for pool in self._pools.values():
            pool.context = None
            self._close_idle(pool)

    def retain(self, endpoints: frozenset[Endpoint]) -> None:
        """Let go of the pools of endpoints that the configuration no longer has; their running answers go on."""
        for endpoint in [known for known in self._pools if known not in endpoints]:
            pool = self._pools.pop(endpoint)
            self._close_idle(pool)

    async def close(self) -> None:
        """Close everything. Answers still under way are cut."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        for pool in self._pools.values():
            if pool.resolving is not None:
                pool.resolving.cancel()
            for connection in tuple(pool.open):
                if getattr(connection, "transport", None) is not None:
                    connection.transport.abort()
        await asyncio.sleep(0)

    @property
    def connections(self) -> int:
        """Open connections, idle ones too."""
        return sum(len(pool.open) for pool in self._pools.values())

    async def _exchange(self, connection: Connection, method: str, head: bytes, body: bytes, timeouts: Timeouts) -> Inbound:
        inbound = Inbound(connection, timeouts.idle)
        connection.send(inbound, method, head, body, self.loop.time() + timeouts.first_byte)
        try:
            await inbound.head()
        except BaseException:
            inbound.close()
            raise
        return inbound

    async def _resolved(self, pool: _Pool, used_up: float) -> None:
        try:
            async with asyncio.timeout_at(used_up):
                await pool.resolve()
        except TimeoutError:
            raise UpstreamTimeout(f"`{pool.endpoint.host}` did not resolve in time") from None

    def _pool(self, endpoint: Endpoint) -> _Pool:
        pool = self._pools.get(endpoint)
        if pool is None:
            pool = self._pools[endpoint] = _Pool(self, endpoint)
            if self._timer is None:
                self._timer = self.loop.call_later(self._sweep, self._look)
        return pool

    def _close_idle(self, pool: _Pool) -> None:
        for kept in pool.idle.values():
            for connection in tuple(kept):
                connection.transport.close()
        pool.idle.clear()

    def _look(self) -> None:
        """One timer for all that may take too long."""
        now = self.loop.time()
        self._timer = self.loop.call_later(self._sweep, self._look)
        for pool in self._pools.values():
            for connection in tuple(pool.open):
                if connection.deadline and connection.deadline < now:
                    connection.expire()
