"""The life of a configuration: read → validate → compile → run its tests → warm → swap → retire the old.

The new one is built whole beside the old and swapped by one assignment; any failure leaves the old in place, drops
`healthy` and keeps the diagnostics for the admin API. Compiling runs in a thread, never on the event loop. It knows
nothing of HTTP; `server/app.py` hands it the builder that joins a snapshot with stores and cores.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sidecar.config.load import LayerFiles
from sidecar.errors import ConfigError
from sidecar.workbench.prepare import Prepared, prepare

if TYPE_CHECKING:
    from sidecar.compiler.snapshot import Snapshot
    from sidecar.config.document import Document
    from sidecar.gate import Gate
    from sidecar.route.base import RoutingCore

SETTLE = 0.15
"""Seconds of quiet after a change before it is read: editors and ConfigMap swaps write in several steps."""


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


Read = Callable[[], Sequence[LayerFiles]]
Build = Callable[["Snapshot"], Awaitable[Active]]


@dataclass(slots=True)
class Outcome:
    """What the last load came to, for readiness, metrics and the admin API."""

    healthy: bool = False
    diagnostics: tuple[object, ...] = ()
    reloads: int = 0
    failures: int = 0


class Live:
    """Holds the active snapshot. `current` is read once per call; `reload` replaces it."""

    def __init__(self, read: Read, build: Build, environ: Mapping[str, str], clock: Callable[[], float], on_swap: Callable[[Active, bool], None]) -> None:
        self._read = read
        self._build = build
        self._environ = environ
        self._clock = clock
        self._on_swap = on_swap
        self._good: dict[str, LayerFiles] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._lock = asyncio.Lock()
        self.current: Active | None = None
        self.outcome = Outcome()

    async def start(self, prepared: Prepared) -> Active:
        """Serve what was prepared before any port opened. Raises ConfigError."""
        if prepared.snapshot is None:
            raise ConfigError("the configuration does not load", prepared.diagnostics)
        await self._swap(prepared)
        return self._active()

    async def reload(self) -> bool:
        """Read again. True where the new configuration is in force; on any failure the old one stays."""
        async with self._lock:
            prepared = await asyncio.to_thread(self._prepare)
            if prepared.snapshot is None:
                self.outcome = Outcome(False, prepared.diagnostics, self.outcome.reloads, self.outcome.failures + 1)
                self._on_swap(self._active(), False)
                return False
            if prepared.snapshot.digest != self._active().snapshot.digest or not self.outcome.healthy:
                await self._swap(prepared)
            return True

    def _prepare(self) -> Prepared:
        """Layers compile and test alone: a broken later layer falls back to its last good files, never to nothing."""
        try:
            layers = tuple(self._read())
        except ConfigError as error:  # a directory in the middle of a swap, a file without permission
            return Prepared(None, error.diagnostics)
        whole = prepare(layers, self._environ, self._clock())
        if whole.snapshot is not None or len(layers) == 1:
            return whole
        kept = tuple(self._good.get(layer.name, layer) if index and layer.name in whole.broken else layer for index, layer in enumerate(layers))
        if kept == layers:
            return whole
        fallen = prepare(kept, self._environ, self._clock())
        return Prepared(fallen.snapshot, whole.diagnostics, kept, whole.broken, fallen.documents)

    async def _swap(self, prepared: Prepared) -> None:
        snapshot = prepared.snapshot
        if snapshot is None:
            raise ConfigError("nothing to swap in")
        old, new = self.current, await self._build(snapshot)
        new.generation, new.since = (old.generation + 1 if old else 1), self._clock()
        new.documents = prepared.documents
        self.current = new
        if old is not None:
            old.replaced = new.since
        self._good = {layer.name: layer for layer in prepared.layers}
        self.outcome = Outcome(not prepared.broken, prepared.diagnostics, self.outcome.reloads + 1, self.outcome.failures + bool(prepared.broken))
        self._on_swap(new, not prepared.broken)
        if old is not None:
            self._keep(asyncio.ensure_future(old.retire()))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def _active(self) -> Active:
        if self.current is None:
            raise ConfigError("nothing is loaded yet")
        return self.current

    async def watch(self, directories: Sequence[str]) -> None:
        """Reload on every change below the directories, until cancelled."""
        from watchfiles import awatch  # noqa: PLC0415  (20 ms of import that a start does not need)

        async for _ in awatch(*directories, debounce=int(SETTLE * 1000), step=50, recursive=True, rust_timeout=5000):
            await self.reload()

    async def close(self) -> None:
        """Retire what is current."""
        if self.current is not None:
            await self.current.retire()
        await asyncio.gather(*self._retiring)
