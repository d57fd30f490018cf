"""The connections to one endpoint: dialled at checked addresses, kept for reuse. An asyncio Protocol over `http1.ResponseReader`.

Its user is `channel`. What is kept is keyed by endpoint and address: a connection to an address that the name has no longer
is not used again. It knows neither paths nor what an answer means.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections import deque
from typing import TYPE_CHECKING, cast

from sidecar import address as addresses
from sidecar.errors import ConnectTimeout, UpstreamCut, UpstreamError, UpstreamGarbage, UpstreamTimeout, UpstreamUnreachable
from sidecar.http1 import ResponseReader

if TYPE_CHECKING:
    from sidecar.config.documents import UpstreamTls
    from sidecar.route.channel import Channel, Endpoint
    from sidecar.route.inbound import Inbound

HIGH_WATER = 256 * 2**10
"""Bytes of an answer kept for a slow reader; past this the upstream has to wait."""
JOIN = 64 * 2**10
"""Up to this a body is copied behind its head; above, the two are handed over side by side."""


class Stale(Exception):
    """A kept connection died before a byte of this answer: the request may be sent once more, on a new one."""


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, pool: Pool, address: str) -> None:
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
        self.context: ssl.SSLContext | None = None
        """The TLS identity it was opened with."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def send(self, inbound: Inbound, method: str, head: bytes, body: bytes, deadline: float) -> None:
        """Write a request; the answer goes to `inbound`."""
        self.inbound = inbound
        self.touched = False
        self.deadline = deadline
        self.reader.expect(method)
        if self.lost:  # between the dialling and now: nobody would ever call back
            self._died(inbound)
            return
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
        if not self.touched:
            self._died(inbound)
        elif exc is not None:
            self._fail(UpstreamCut("the answer ended before its end"))
        else:
            self._end(inbound)

    def _died(self, inbound: Inbound) -> None:
        """The connection is gone and no byte of the answer came."""
        self.inbound = None
        inbound.fail(Stale() if self.used else UpstreamUnreachable("the upstream closed without an answer"))

    def _end(self, inbound: Inbound) -> None:
        """The upstream closed in order: that is the end of an answer that says no length."""
        try:
            self.reader.end()
        except UpstreamCut as error:
            self._fail(error)
            return
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

    def cut(self) -> None:
        """The channel closes. An abort of ours must not pass for the end of an answer that says no length."""
        self._fail(UpstreamCut("the channel was closed"))

    def abandon(self) -> None:
        """Nobody wants the rest."""
        self.inbound = None
        self.transport.abort()


class Pool:
    """The connections of one endpoint, kept by address, newest first."""

    __slots__ = ("addresses", "channel", "context", "endpoint", "fresh_until", "idle", "open", "resolving", "retired", "waiting")

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
        self.retired = False
        """The configuration has this endpoint no longer; what runs may end."""

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
        # Certificates that were reloaded meanwhile, or an endpoint that was retired: the connection has had its day.
        outdated = self.retired or connection.context is not self.context
        if channel.closed or outdated or len(kept) >= channel.max_idle:
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
            self.resolving.add_done_callback(_seen)  # all who asked may have given up meanwhile
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
            # The caller is told what kind of address it is, not which: the map of an inner network is not its to have.
            reasons = "; ".join(dict.fromkeys(reason.replace(f"`{ip}`", "its address") for ip, reason in verdicts if reason)) or "it has no address"
            raise UpstreamUnreachable(f"`{endpoint.host}` can't be dialled: {reasons}")
        self.fresh_until = math.inf if endpoint.literal else self.channel.loop.time() + self.channel.ttl

    async def acquire(self, until: float, *, fresh: bool) -> Connection:
        """Give an idle connection, or dial one before the loop's time `until`; with `fresh` only dial.

        Raises UpstreamUnreachable, UpstreamTimeout.
        """
        while True:
            if not fresh and (kept := self.take()) is not None:
                return kept
            if len(self.open) < self.channel.max_connections:
                return await self._dial(until)
            await self._turn(until)

    async def _turn(self, until: float) -> None:
        """Wait until a connection is kept or closed."""
        waiter = self.channel.loop.create_future()
        self.waiting.append(waiter)
        try:
            async with asyncio.timeout_at(until):
                await waiter
        except TimeoutError:
            raise UpstreamUnreachable(f"`{self.endpoint.upstream}` has no free connection") from None

    async def _dial(self, until: float) -> Connection:
        """Open a connection to the first checked address that takes one; none may use up the time of those after it."""
        loop = self.channel.loop
        tried = self.addresses
        error: UpstreamError = UpstreamUnreachable(f"`{self.endpoint.host}` has no address")
        for number, address in enumerate(tried):
            share = (until - loop.time()) / (len(tried) - number)
            try:
                async with asyncio.timeout(share):
                    return await self._connect(address)
            except TimeoutError:
                error = ConnectTimeout(f"no connection to `{self.endpoint.host}` in time")
            except (OSError, ssl.SSLError) as failure:
                error = UpstreamUnreachable(f"no connection to `{self.endpoint.host}`: {told(failure)}")
        raise error

    async def _connect(self, address: str) -> Connection:
        endpoint = self.endpoint
        context = name = None
        if endpoint.scheme == "https":
            context, name = await self.tls(), endpoint.server_hostname or endpoint.literal or endpoint.host
        connection = Connection(self, address)
        connection.context = context
        self.open.add(connection)  # before the wait: those who dial at the same time count too
        try:
            await self.channel.loop.create_connection(lambda: connection, address, endpoint.port, ssl=context, server_hostname=name)
        except BaseException:  # a cancelled dial too: what never connected must not count; it goes on up
            self.drop(connection)
            raise
        return connection

    async def tls(self) -> ssl.SSLContext:
        """Give the TLS context, loaded off the loop at first. Raises OSError, ssl.SSLError."""
        if self.context is None:
            self.context = await self.channel.loop.run_in_executor(None, _client_context, self.endpoint.tls)
        return self.context


def _seen(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()


def told(failure: Exception) -> str:
    """Say what failed below HTTP, without addresses or file names."""
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
