"""The life of a configuration: read → validate → compile → run its tests → warm → swap → retire the old.

The new one is built whole beside the old and swapped by one assignment; any failure leaves the old in place, drops
`healthy` and keeps the diagnostics for the admin API. Compiling runs in a thread, never on the event loop. It knows
nothing of HTTP; `server/app.py` hands it the builder that joins a snapshot with stores and cores.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sidecar.config.diagnostics import Diagnostic, Position
from sidecar.config.load import LayerFiles
from sidecar.errors import ConfigError
from sidecar.workbench.files import fingerprint
from sidecar.workbench.prepare import Prepared, prepare_over

if TYPE_CHECKING:
    from sidecar.compiler.snapshot import Snapshot
    from sidecar.config.document import Document
    from sidecar.gate import Gate
    from sidecar.route.base import RoutingCore
    from sidecar.workbench.files import Fingerprint

SETTLE = 0.15
"""Seconds of quiet after a change before it is read: editors and ConfigMap swaps write in several steps."""

POLL = 1.0
"""Seconds after which the files are looked at although nothing was heard."""


@dataclass(slots=True)
class Active:
    """One snapshot joined with what serves it. A call pins it from its first to its last byte."""

    snapshot: Snapshot
    gate: Gate
    core: RoutingCore
    close: Callable[[], Awaitable[None]]
    generation: int = 0
    since: float = 0.0
    replaced: float | None = None
    """When another took its place; calls that pinned it may still be under way."""
    calls: int = 0
    documents: tuple[Document, ...] = ()
    retired: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def pin(self) -> Active:
        """Take part in it."""
        self.calls += 1
        return self

    def unpin(self) -> None:
        """Leave it; the last to leave a retired one lets it close."""
        self.calls -= 1
        if self.retired and not self.calls:
            self.done.set()

    async def retire(self) -> None:
        """Wait for the last call, then close."""
        self.retired = True
        if self.calls:
            await self.done.wait()
        await self.close()


Read = Callable[[str], LayerFiles]
Build = Callable[["Snapshot"], Awaitable[Active]]


@dataclass(slots=True)
class Outcome:
    """What the last load came to, for readiness, metrics and the admin API."""

    healthy: bool = False
    diagnostics: tuple[Diagnostic, ...] = ()
    reloads: int = 0
    failures: int = 0


class Live:
    """Holds the active snapshot. `current` is read once per call; `reload` replaces it.

    `read` gives the files of one directory (raises ConfigError), `on_swap` hears after every load whether it was healthy,
    `on_bug` of what nobody foresaw.
    """

    def __init__(
        self,
        directories: Sequence[str],
        *,
        read: Read,
        build: Build,
        environ: Mapping[str, str],
        clock: Callable[[], float],
        on_swap: Callable[[Active, bool], None],
        on_bug: Callable[[Exception], None],
    ) -> None:
        self._directories = tuple(directories)
        self._read = read
        self._build = build
        self._environ = environ
        self._clock = clock
        self._on_swap = on_swap
        self._on_bug = on_bug
        self._first: Snapshot | None = None
        self._good: tuple[LayerFiles, ...] = ()
        self._retiring: set[asyncio.Task[None]] = set()
        self._lock = asyncio.Lock()
        self._seen = fingerprint(self._directories)
        self.current: Active | None = None
        self.outcome = Outcome()

    async def start(self, prepared: Prepared) -> Active:
        """Serve what was prepared before any port opened. Raises ConfigError."""
        if prepared.snapshot is None:
            raise ConfigError("the configuration does not load", prepared.diagnostics)
        self._first = prepared.snapshot
        await self._swap(prepared, prepared.snapshot)
        return self._active()

    async def reload(self, *, anyway: bool = True) -> bool:
        """Read again (`anyway` False: only if files changed). True where all that was read is in force; on any failure the last good stays."""
        async with self._lock:
            if not anyway and await asyncio.to_thread(fingerprint, self._directories) == self._seen:
                return self.outcome.healthy
            try:
                with still():
                    return await self._load()
            except ConfigError as error:
                return self._failed(error.diagnostics or (Diagnostic("error", "build", error.message, Position("")),))
            except Exception as error:  # noqa: BLE001  the boundary of a load: a bug in it is loud, and what serves goes on serving and watching
                self._on_bug(error)
                return self._failed((Diagnostic("error", "bug", f"the load failed: {type(error).__name__}", Position("")),))

    async def _load(self) -> bool:
        prepared = self.pinned(await asyncio.to_thread(self._prepare))
        if prepared.snapshot is None:
            return self._failed(prepared.diagnostics)
        if prepared.snapshot.digest == self._active().snapshot.digest:
            self._loaded(prepared, swapped=False)
        else:
            await self._swap(prepared, prepared.snapshot)
        return not prepared.broken

    def _failed(self, diagnostics: Sequence[Diagnostic]) -> bool:
        self.outcome = Outcome(False, tuple(diagnostics), self.outcome.reloads, self.outcome.failures + 1)
        self._on_swap(self._active(), False)
        return False

    def _prepare(self) -> Prepared:
        """Layers compile and test alone: a broken later layer falls back to its last good files, never to nothing."""
        self._seen = fingerprint(self._directories)  # before they are read: what changes meanwhile is read again
        layers: list[LayerFiles] = []
        unread: list[Diagnostic] = []
        lost: set[str] = set()
        for directory in self._directories:
            try:
                layers.append(self._read(directory))
            except ConfigError as error:  # a directory in the middle of a swap, a file without permission
                if not layers:
                    raise
                unread += error.diagnostics
                layers.append(self._good[len(layers)])
                lost.add(layers[-1].name)
        done = prepare_over(layers, self._good, self._environ, self._clock())
        return done._replace(diagnostics=(*unread, *done.diagnostics), broken=done.broken | lost)

    def pinned(self, prepared: Prepared) -> Prepared:
        """Settings are the bootstrap: ports, stores and cores were made from them. Other ones wait for a restart, and that is told."""
        snapshot, first = prepared.snapshot, self._first
        if snapshot is None or first is None or snapshot.settings == first.settings:
            return prepared
        document = next((document for document in prepared.documents if document.kind == "Settings"), None)
        place = document.at("/spec") if document is not None else Position("")
        told = Diagnostic("warning", "restart", "Settings have changed; the running ones stay until a restart", place)
        digest = hashlib.sha256(f"{snapshot.digest} under the Settings of {first.digest}".encode()).hexdigest()
        return prepared._replace(snapshot=replace(snapshot, settings=first.settings, digest=digest), diagnostics=(*prepared.diagnostics, told))

    async def _swap(self, prepared: Prepared, snapshot: Snapshot) -> None:
        old, new = self.current, await self._build(snapshot)
        new.generation, new.since = (old.generation + 1 if old else 1), self._clock()
        new.documents = prepared.documents
        self.current = new
        if old is not None:
            old.replaced = new.since
        self._loaded(prepared, swapped=True)
        if old is not None:
            self._keep(asyncio.ensure_future(old.retire()))

    def _loaded(self, prepared: Prepared, *, swapped: bool) -> None:
        self._good = prepared.layers
        healthy = not prepared.broken
        self.outcome = Outcome(healthy, prepared.diagnostics, self.outcome.reloads + swapped, self.outcome.failures + (not healthy))
        self._on_swap(self._active(), healthy)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def _active(self) -> Active:
        if self.current is None:
            raise ConfigError("nothing is loaded yet")
        return self.current

    async def promote(self, prepared: Prepared, directories: Sequence[str], seen: Fingerprint) -> bool:
        """Take over a `pinned` configuration that was built beside this one, and watch its directories from now on. False where it did not load.

        Raises ConfigError where it can't be joined with what serves it; then nothing has changed.
        """
        async with self._lock:
            if prepared.snapshot is None:
                return False
            await self._swap(prepared, prepared.snapshot)
            self._directories, self._seen = tuple(directories), seen
            return True

    async def watch(self) -> None:
        """Reload on every change in the directories, until cancelled."""
        while True:
            watched = self._directories
            async with aclosing(turns(watched)) as waking:
                async for _ in waking:
                    await self.reload(anyway=False)
                    if self._directories is not watched:
                        break

    async def close(self) -> None:
        """Retire what is current."""
        if self.current is not None:
            await self.current.retire()
        await asyncio.gather(*self._retiring)


@contextmanager
def still() -> Iterator[None]:
    """No garbage collection while a configuration is built; what was built is left out of those that come.

    A full collection visits every object there is: with 10,000 rules it stopped all calls for a quarter of a second, several
    times a load. Nothing in a snapshot holds a cycle, so a retired one is freed without any.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if running:
            gc.enable()


async def turns(directories: Sequence[str]) -> AsyncGenerator[None, None]:
    """A turn soon after every change, and one every second: a notice gets lost with a directory that is replaced, or on a network mount."""
    from watchfiles import awatch  # noqa: PLC0415  (20 ms of import that a start does not need)

    yield
    try:
        async for _ in awatch(*directories, debounce=int(SETTLE * 1000), step=50, recursive=True, rust_timeout=int(POLL * 1000), yield_on_timeout=True):
            yield
    except (OSError, RuntimeError):  # a node has only so many watches to give; looking is enough
        while True:
            yield
            await asyncio.sleep(POLL)
