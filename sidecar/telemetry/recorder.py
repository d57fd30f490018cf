"""Writes each decision to every sink before anything leaves, and signs checkpoints behind the hot path.

Its counterparts: `record.py` makes the line, `chain.py` links it, `sinks.py` takes it. With `onError: deny` one sink that
fails refuses the call; with `allow` the loss is counted. Every sink has a chain of its own, because one that was down for
a while must not leave a gap in the others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Literal

from sidecar.errors import RecordsDown, SinkDown
from sidecar.telemetry.chain import Chain, Checkpoint, checkpoint_line
from sidecar.telemetry.record import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sidecar.decision import Decision
    from sidecar.telemetry.seal import Seal
    from sidecar.telemetry.sinks import Sink

EVERY = 10_000
"""Lines after which a checkpoint is due."""
PROBE = 5.0
"""Seconds between two tries of a sink that is down and that no call tries."""
RECENT = 200
"""Lines kept in memory for the admin port."""
INTERVAL = 60.0
"""Seconds after which one is due if anything was written."""


class Outlet:
    """A sink and its chain. `down` holds why the last line was not taken, or ""."""

    __slots__ = ("chain", "down", "sink")

    def __init__(self, sink: Sink, chain: Chain) -> None:
        self.sink = sink
        self.chain = chain
        self.down = ""

    def put(self, line: bytes) -> None:
        """Link and write. Raises SinkDown; the chain then stays where it was."""
        linked = self.chain.link(line)
        self.sink.write(linked)
        self.chain.commit(linked)


class Recorder:
    """The records of one process. `new_id` makes a random id per chain; `lost` counts lines that a sink did not take."""

    def __init__(
        self, sinks: Sequence[Sink], on_error: Literal["deny", "allow"], new_id: Callable[[], str], seal: Seal | None = None, *, mode: str = "enforce"
    ) -> None:
        self._outlets = tuple(Outlet(sink, Chain(new_id())) for sink in sinks)
        self._deny = on_error == "deny"
        self._seal = seal
        self._mode = mode
        self._line = Writer().line
        self._due = asyncio.Event()
        self._recent: deque[bytes] = deque(maxlen=RECENT)
        self.lost = 0
        self.unsealed = ""
        """Why the last checkpoint could not be made, or ""."""

    @property
    def down(self) -> tuple[str, ...]:
        """Why sinks are down, one sentence each; empty when all took the last line."""
        return tuple(outlet.down for outlet in self._outlets if outlet.down)

    def recent(self) -> list[bytes]:
        """The last lines, newest first, not yet linked; for the admin port."""
        return list(reversed(self._recent))

    def write(
        self, decision: Decision, *, snapshot: str = "", request_id: str = "", phase: str = "", about: str = "", inputs: Mapping[str, Any] | None = None
    ) -> None:
        """Write one line everywhere. Raises RecordsDown with `onError: deny` when any sink did not take it. The last three as in `Record`."""
        line = self._line(decision, snapshot=snapshot, request=request_id, mode=self._mode, phase=phase, about=about, inputs=inputs)
        self._recent.append(line)
        refused = ""
        for outlet in self._outlets:
            try:
                outlet.put(line)
                outlet.down = ""
            except SinkDown as error:
                refused = outlet.down = error.message
                self.lost += 1
            if outlet.chain.unsigned >= EVERY:
                self._due.set()
        if refused and self._deny:
            raise RecordsDown("decision records cannot be written")

    async def keep(self, interval: float = INTERVAL) -> None:
        """Sign checkpoints until cancelled: every `interval` seconds in which something was written, and every `EVERY` lines."""
        while True:
            try:
                async with asyncio.timeout(min(interval, PROBE) if self.down else interval):
                    await self._due.wait()
            except TimeoutError:
                self.probe()
            self._due.clear()
            await self.checkpoint()

    def probe(self) -> None:
        """Try sinks that are down with an empty line, which readers skip: without readiness no call would come to find them well again."""
        for outlet in self._outlets:
            if outlet.down:
                try:
                    outlet.sink.write(b"\n")
                    outlet.down = ""
                except SinkDown as error:
                    outlet.down = error.message

    async def checkpoint(self) -> None:
        """Sign every chain's head in a thread and write the checkpoints. A failure is noted in `unsealed`; records go on."""
        for outlet in self._outlets:
            point = outlet.chain.checkpoint() if outlet.chain.unsigned else None
            if point is not None and self._seal is not None:
                await asyncio.to_thread(self._settle, outlet.sink)
                signed = await asyncio.to_thread(self._sign, point)
                self._put(outlet, signed)

    def close(self) -> None:
        """Close every chain with a signed checkpoint and let the sinks go. Blocks for a moment."""
        for outlet in self._outlets:
            point = outlet.chain.checkpoint(closing=True)
            if point is not None and self._seal is not None:
                self._put(outlet, self._sign(point))
            self._settle(outlet.sink)
            outlet.sink.close()

    def _sign(self, point: Checkpoint) -> Checkpoint | None:
        try:
            signed = self._seal.sign(point) if self._seal is not None else None
        except (OSError, ValueError) as error:
            self.unsealed = f"the key for checkpoints cannot be used: {error}"
            return None
        self.unsealed = ""
        return signed

    def _put(self, outlet: Outlet, point: Checkpoint | None) -> None:
        if point is None:
            return
        try:
            outlet.put(checkpoint_line(point))
            outlet.chain.signed = point.at + 2  # what is signed, and the checkpoint itself: lines written meanwhile wait for the next
        except SinkDown as error:
            outlet.down = error.message

    def _settle(self, sink: Sink) -> None:
        try:
            sink.sync()
        except SinkDown as error:
            self.unsealed = error.message
