"""Pooled connections to upstreams: a request's bytes out, an `Inbound` back. `pool` holds the connections of one endpoint.

Its counterpart on the other side of the gate is `server/listener.py`. It dials the very address that `sidecar.address`
has judged while TLS verifies and names the URL's own host, so a resolver that answers differently a moment later
changes nothing. It follows no redirect, reads no proxy variables, retries nothing but a kept connection that was already
dead, and knows nothing of policy, retries over upstreams, or breakers: those are `direct`'s.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sidecar import address as addresses
from sidecar.errors import ConfigError, ConnectTimeout, UpstreamUnreachable
from sidecar.http1 import ResponseLimits, request_head
from sidecar.route import resolve
from sidecar.route.inbound import Inbound
from sidecar.route.pool import Connection, Pool, Stale, told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.config.documents import Timeouts, UpstreamTls
    from sidecar.route.resolve import Resolver


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
    _hash: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Raise ConfigError for a scheme or host that can't be dialled."""
        if self.scheme not in ("http", "https"):
            raise ConfigError(f"`{self.scheme}` is not a scheme an upstream can have; use https or http")
        object.__setattr__(self, "literal", addresses.literal(self.host))
        host = f"[{self.host}]" if ":" in self.host and not self.host.startswith("[") else self.host
        usual = self.port == (443 if self.scheme == "https" else 80)
        object.__setattr__(self, "authority", host if usual else f"{host}:{self.port}")
        object.__setattr__(self, "_hash", hash((self.upstream, self.scheme, self.host, self.port, self.allowed, self.tls, self.server_hostname)))

    def __hash__(self) -> int:
        """Hash once: an endpoint is looked up on every call."""
        return self._hash


class Channel:
    """All pools. Made on a running loop; `close` it at the end."""

    def __init__(
        self,
        resolver: Resolver = resolve.system,
        *,
        limits: ResponseLimits | None = None,
        ttl: float = 30.0,
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
        self._pools: dict[Endpoint, Pool] = {}
        self._sweep = sweep
        self._timer: asyncio.TimerHandle | None = None

    async def send(  # noqa: PLR0917  the order of an HTTP request
        self, endpoint: Endpoint, method: str, path: str, headers: Sequence[tuple[str, str]], body: bytes, timeouts: Timeouts
    ) -> Inbound:
        """Send one request and wait for the head of its answer.

        `path` is the whole target with its query. The framing and Host fields are said here; those in `headers` are left
        out. Raises UpstreamUnreachable, UpstreamTimeout, UpstreamGarbage, UpstreamCut; ValueError for a head that would
        split. Cancelling it closes the connection.
        """
        length = len(body) if body or method not in ("GET", "HEAD", "DELETE", "OPTIONS") else None
        head = request_head(method, path, endpoint.authority, headers, length)
        pool = self._pool(endpoint)
        now = self.loop.time()
        if pool.fresh_until <= now:
            await self._resolved(pool, now + timeouts.connect)
        connection = pool.take() or await pool.acquire(now + timeouts.connect, fresh=False)
        try:
            return await self._exchange(connection, method, head, body, timeouts)
        except Stale:
            connection = await pool.acquire(self.loop.time() + timeouts.connect, fresh=True)
            return await self._exchange(connection, method, head, body, timeouts)

    async def warm(self, endpoint: Endpoint) -> None:
        """Load an endpoint's certificates ahead of its first call. Raises UpstreamUnreachable where they can't be."""
        if endpoint.scheme == "https":
            try:
                await self._pool(endpoint).tls()
            except (OSError, ssl.SSLError) as error:
                raise UpstreamUnreachable(f"the certificates for `{endpoint.upstream}` can't be loaded: {told(error)}") from None

    def reload(self) -> None:
        """Forget TLS contexts and idle connections: certificates or keys changed. Running answers go on."""
        for pool in self._pools.values():
            pool.context = None
            self._close_idle(pool)

    def retain(self, endpoints: frozenset[Endpoint]) -> None:
        """Let go of the pools of endpoints that the configuration no longer has; their running answers go on."""
        for endpoint, pool in self._pools.items():
            pool.retired = endpoint not in endpoints
            if pool.retired:
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
                    connection.cut()
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
        except BaseException:  # a cancelled wait too: half an exchange must not stay in the pool; it goes on up
            inbound.close()
            raise
        return inbound

    async def _resolved(self, pool: Pool, used_up: float) -> None:
        try:
            async with asyncio.timeout_at(used_up):
                await pool.resolve()
        except TimeoutError:
            raise ConnectTimeout(f"`{pool.endpoint.host}` did not resolve in time") from None

    def _pool(self, endpoint: Endpoint) -> Pool:
        pool = self._pools.get(endpoint)
        if pool is None:
            pool = self._pools[endpoint] = Pool(self, endpoint)
            if self._timer is None:
                self._timer = self.loop.call_later(self._sweep, self._look)
        pool.retired = False
        return pool

    def _close_idle(self, pool: Pool) -> None:
        for kept in pool.idle.values():
            for connection in tuple(kept):
                connection.transport.close()
        pool.idle.clear()

    def _look(self) -> None:
        """One timer for all that may take too long."""
        now = self.loop.time()
        self._timer = self.loop.call_later(self._sweep, self._look)
        for endpoint, pool in tuple(self._pools.items()):
            for connection in tuple(pool.open):
                if connection.deadline and connection.deadline < now:
                    connection.expire()
            if pool.retired and not pool.open:
                del self._pools[endpoint]
