"""The assembled sidecar: ports, stores, cores and the live configuration, joined once. `cli/run` and the test kit start this.

Order of start: the configuration is loaded and tested before any port opens; the data port opens last, so that what answers
there is ready. Order of stop: readiness drops, the data port drains, then stores and records close.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.config.documents import ApiKeys, Identity, Method
from sidecar.credentials import Authenticator
from sidecar.errors import ConfigError
from sidecar.gate import Gate
from sidecar.live import Active, Live
from sidecar.route import build as build_core
from sidecar.route import resolve
from sidecar.route.channel import Channel
from sidecar.server import promotion
from sidecar.server.health import Health
from sidecar.server.listener import Listener, ListenLimits
from sidecar.server.services import Services
from sidecar.server.tls import Certificates
from sidecar.server.way import Way
from sidecar.store import Refusals, counters, owners
from sidecar.telemetry import open_recorder
from sidecar.telemetry.kept import open_keeper
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.tracing import open_tracer
from sidecar.workbench.files import read_layers
from sidecar.workbench.prepare import Prepared, prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from ssl import SSLContext

    from sidecar.compiler.snapshot import Snapshot
    from sidecar.config.documents import Address, Settings
    from sidecar.credentials.base import Fetch
    from sidecar.decision import Decision
    from sidecar.route.resolve import Resolver
    from sidecar.server.admin import Admin
    from sidecar.server.inbound import Read
    from sidecar.server.local import LocalKey
    from sidecar.server.settle import Settlement
    from sidecar.shadow import Shadow
    from sidecar.telemetry.kept import Keeper


def load(directories: Sequence[str], environ: Mapping[str, str], now: float) -> Prepared:
    """Read, compile and test the configuration. Raises ConfigError with every diagnostic."""
    prepared = prepare(read_layers(directories), environ, now)
    if prepared.snapshot is None:
        raise ConfigError("the configuration does not load", prepared.diagnostics)
    return prepared


class Sidecar:
    """One running sidecar. `ports` is filled by `start`: data, admin, health.

    `fetch` brings key sets and `resolver` turns upstream names into addresses, where somebody embeds this with ways of their own.
    """

    def __init__(
        self,
        directories: Sequence[str],
        *,
        prepared: Prepared,
        environ: Mapping[str, str],
        state: Path,
        on_finished: Callable[[Read | None, Decision, int, Settlement | None], None] | None = None,
        local: LocalKey | None = None,
        clock: Callable[[], float] = time.time,
        fetch: Fetch | None = None,
        resolver: Resolver = resolve.system,
    ) -> None:
        if prepared.snapshot is None:
            raise ConfigError("the configuration does not load", prepared.diagnostics)
        self._directories = tuple(directories)
        self._prepared = prepared
        self._environ = environ
        self._clock = clock
        self._on_finished = on_finished
        self._local = local
        self._fetch = fetch
        self._resolver = resolver
        self._verifier: Authenticator | None = None
        self._tasks: list[asyncio.Task[object]] = []
        self._opening: asyncio.Task[object] | None = None
        self._listeners: dict[str, Listener] = {}
        self._admin_port: socket.socket | None = None
        self._admin_context: SSLContext | None = None
        self.state = state
        self.settings: Settings = prepared.snapshot.settings
        self.ports: dict[str, int] = {}
        self.admin: Admin | None = None
        self.shadow: Shadow | None = None
        self._keeper: Keeper | None = None
        self.ready = False

    # ------------------------------------------------------------ start

    async def start(self) -> None:
        """Open everything. Raises ConfigError or OSError; then nothing stays open."""
        self._keeper = open_keeper(self.settings.records)
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.channel = Channel(self._resolver)
        self.owners = owners(self.settings.database, self.state)
        self.metrics = Metrics()
        self.live = Live(
            self._directories,
            read=lambda directory: read_layers([directory])[0],
            build=self._build,
            environ=self._environ,
            clock=self._clock,
            on_swap=self._swapped,
            on_bug=self._bug,
        )
        self.services = self._services()
        self.metrics.upstream_states(lambda: self.services.active().core.health())  # noqa: PLW0108  the core changes with each reload
        self.metrics.lost_records(lambda: self.services.recorder.lost)
        try:
            await self.live.start(self._prepared)
            admin = await self._open_ports()
        except BaseException:  # whatever stopped the start: nothing stays open; it goes on up
            await self.close(0.0)
            raise
        self.ready = True
        self._spawn(self.live.watch())
        self._cast()
        self._opening = self._spawn(self._open_admin(admin))
        self._spawn(self.services.recorder.keep())

    def _cast(self) -> None:
        """Begin to compare with the candidate, where Settings name one."""
        named = self.settings.candidate
        if not named or [os.path.abspath(each) for each in named] == [os.path.abspath(each) for each in self._directories]:  # noqa: PTH100  (names, not where links lead)
            return
        from sidecar.shadow import Shadow  # noqa: PLC0415  (only where there is a candidate)

        shadow = Shadow(
            self.settings.candidate,
            active=self.services.active,
            pin=self.live.pinned,
            environ=self._environ,
            clock=self._clock,
            told=self.metrics,
            on_bug=self._bug,
        )
        self.shadow = self.services.shadow = shadow
        self._spawn(shadow.watch())
        self._spawn(shadow.run())

    async def promote(self, digest: str) -> bool:
        """Put the candidate in force. False where that can't be written down, and so ends with this process.

        Raises ConfigError where there is none, it is another by now, it does not load, or nobody could tell later what it replaced; then nothing
        has changed.
        """
        shadow = self.shadow
        if shadow is None or shadow.snapshot is None:
            raise ConfigError("the candidate does not load", shadow.prepared.diagnostics if shadow is not None else ())
        if shadow.promoted or shadow.snapshot.digest != digest:
            raise ConfigError("the candidate is another one by now: look at it again")
        replaced = await asyncio.to_thread(promotion.fingerprint, self._directories)
        await self.live.promote(shadow.prepared, shadow.directories, shadow.seen)
        shadow.promoted = True
        try:
            promotion.keep(self.state, replaced, shadow.directories)
        except OSError as error:
            self.services.complain(f"the promotion is in force and could not be written down: {error.strerror or error}")
            return False
        return True

    def _services(self) -> Services:
        self.counters = counters(self.settings.store)
        self.metrics.quota_totals(self.counters.reserved, self.counters.settled)
        return Services(
            self.settings,
            live=self.live,
            counters=self.counters,
            owners=self.owners,
            refusals=Refusals(self.settings.limits.refusals),
            recorder=open_recorder(self.settings.records, self.state, mode=self.settings.mode),
            metrics=self.metrics,
            tracer=open_tracer(self.settings.telemetry),
            keeper=self._keeper,
            on_finished=self._on_finished,
            clock=self._clock,
        )

    async def _build(self, snapshot: Snapshot) -> Active:
        """Join a snapshot with what serves it: fetch keys, open pools."""
        for message in missing_credentials(snapshot, self._environ):
            self.services.complain(message)
        verifier = Authenticator(self._identity(snapshot), fetch=self._fetch or _fetch(snapshot), clock=self._clock)
        if self._verifier is not None:
            verifier.inherit(self._verifier)
        await verifier.warm()
        core = build_core(
            snapshot,
            self.settings,
            channel=self.channel,
            environ=self._environ,
            clock=self._clock,
            rand=random.random,
            passthrough=self.services.login,
            on_attempt=self.metrics.attempt,
        )

        async def close() -> None:
            await core.close()
            await verifier.close()

        self._verifier = verifier
        return Active(snapshot, Gate(verifier, self.counters, self.owners), core, close)

    def _identity(self, snapshot: Snapshot) -> Identity:
        """The document's methods, and the key this process minted for its own machine where it did."""
        identity = snapshot.identity or Identity(methods=())
        if self._local is None:
            return identity
        keys = tuple(key for method in identity.methods if method.api_key is not None for key in method.api_key.keys)
        others = tuple(method for method in identity.methods if method.api_key is None)
        return replace(identity, methods=(*others, Method(api_key=ApiKeys(keys=(*keys, self._local.entry)))))

    def _swapped(self, active: Active, healthy: bool) -> None:
        snapshot = active.snapshot
        models = [model.name for upstream in snapshot.upstreams.values() for model in upstream.models]
        self.metrics.known(snapshot.rule_names, snapshot.upstreams, models)
        self.metrics.generation(snapshot.digest, active.generation, healthy=healthy, since=active.since)
        if not healthy:
            found = next((item for item in self.live.outcome.diagnostics if item.severity == "error"), None)
            first = f" ({found.position}: {found.message})" if found is not None else ""
            self.services.complain(f"the newest configuration does not load; the last good one is in force{first}")

    def _bug(self, error: Exception) -> None:
        self.services.report_bug(error)

    def sample(self) -> None:
        """Gauges that are read at a scrape."""
        self.metrics.inflight(self.services.inflight, self.services.inflight_bytes)

    def reload_soon(self) -> None:
        """Reload without waiting for it (SIGHUP)."""
        self._spawn(self.live.reload())

    async def _open_ports(self) -> socket.socket:
        listen = ListenLimits.of(self.settings.limits)
        admin = self._bind_admin(self.settings.admin)
        await self._listen("health", Listener(Health(self), ListenLimits(), on_bug=self.services.report_bug), self.settings.health)
        await self._listen("data", Listener(Way(self.services), listen, on_bug=self.services.report_bug), self.settings.listen)
        return admin

    async def _listen(self, name: str, listener: Listener, address: Address) -> None:
        context = self._context(address)
        self._listeners[name] = listener
        self.ports[name] = await listener.start(address.host, address.port, context)

    def _context(self, address: Address) -> SSLContext | None:
        """The TLS context of a port, which follows its files. Raises ConfigError."""
        if address.tls is None:
            return None
        certificates = Certificates(address.tls)
        self._spawn(self._renew(certificates))
        return certificates.context

    async def _renew(self, certificates: Certificates) -> None:
        """Take new certificates as their files change; broken ones are told and the old stay."""
        from watchfiles import awatch  # noqa: PLC0415  (20 ms of import that a start does not need)

        async for _ in awatch(*{Path(file).parent for file in certificates.files}):
            try:
                certificates.reload()
            except ConfigError as error:
                self.services.complain(error.message)

    def _bind_admin(self, address: Address) -> socket.socket:
        """Take the admin port with the others, so that a port that is taken stops the start; who calls early waits in its backlog."""
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self._admin_port = socket.create_server((address.host, address.port), family=family)
        self._admin_context = self._context(address)
        self.ports["admin"] = int(self._admin_port.getsockname()[1])
        return self._admin_port

    async def _open_admin(self, port: socket.socket) -> None:
        """After the data port: aiohttp takes longer to import than all the rest, and no call needs it."""
        from sidecar.server.admin import Admin  # noqa: PLC0415  (see above)

        self.admin = Admin(self)
        self.ports["admin"] = await self.admin.start(port, self._admin_context)

    def _spawn(self, coroutine: Coroutine[object, object, object]) -> asyncio.Task[object]:
        self._tasks.append(asyncio.ensure_future(coroutine))
        return self._tasks[-1]

    # ------------------------------------------------------------ stop

    async def close(self, grace: float | None = None) -> None:
        """Drain: readiness drops, no new calls, open ones finish within the grace (seconds; `limits.drain`)."""
        self.ready = False
        self.services.draining = True
        wait = self.settings.limits.drain if grace is None else grace
        if "data" in self._listeners:
            await self._listeners["data"].close(wait)
        if self._opening is not None:
            await asyncio.wait((self._opening,))  # cancelled half-way, asyncio forgets a socket that it has bound
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        if self.admin is not None:
            await self.admin.close()
        if self._admin_port is not None:
            self._admin_port.close()
        if "health" in self._listeners:
            await self._listeners["health"].close(0)
        await self._shut()

    async def _shut(self) -> None:
        await self.live.close()
        await self.channel.close()
        await self.owners.close()
        await asyncio.to_thread(self.services.tracer.close)  # sends what it holds, and waits for a collector that does not answer
        self.services.recorder.close()


def missing_credentials(snapshot: Snapshot, environ: Mapping[str, str]) -> list[str]:
    """What to tell the platform before the first call fails with a 502."""
    named = [(name, upstream.credential.env) for name, upstream in snapshot.upstreams.items() if upstream.credential is not None and upstream.credential.env]
    return [
        f"upstream `{name}`: ${variable} is not set, so its calls will fail with 502 `upstream_auth`" for name, variable in named if not environ.get(variable)
    ]


def _fetch(snapshot: Snapshot) -> Fetch | None:
    """The guarded HTTP fetch of key sets, imported only where a document names an https key set."""
    methods = snapshot.identity.methods if snapshot.identity is not None else ()
    if not any(method.jwt is not None and method.jwt.jwks.startswith("https://") for method in methods):
        return None
    from sidecar.credentials.fetch import fetcher  # noqa: PLC0415  (brings aiohttp)

    return fetcher()


def state_directory(environ: Mapping[str, str]) -> Path:
    """Where records, keys and databases lie: `$SIDECAR_STATE`, else the user's state directory."""
    given = environ.get("SIDECAR_STATE")
    if given:
        return Path(given)
    base = environ.get("XDG_STATE_HOME") or os.path.join(environ.get("HOME", "."), ".local", "state")  # noqa: PTH118
    return Path(base) / "sidecar"
