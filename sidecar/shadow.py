"""A whole configuration beside the active one (`Settings.candidate`): it decides the same live calls, later, and changes none.

Every live decision is noted here after its record was written, and decided again under the candidate off the answer's path.
The candidate counts quotas in a store of its own and reaches no upstream, no sink and no caller: what comes out is counters of agreement and
a report of what would change. Counterparts: `live.py`, which holds what is in force and takes the candidate over when it is
promoted; `workbench/compare.py`, which tells two answers apart.

Who asks is taken from the live decision, with the claims that the candidate declares. Calls that no documents decided
(no credential, a foreign id, an outage of the rim) are not compared.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from sidecar.compiler.memo import Memo
from sidecar.config.diagnostics import Diagnostic, Position
from sidecar.decision import NONE
from sidecar.errors import ConfigError
from sidecar.evaluate import ladder
from sidecar.evaluate import reply as judge
from sidecar.live import still, turns
from sidecar.need import Owned, Reserve, Unauthenticated, Verify
from sidecar.store.memory import MemoryStore
from sidecar.workbench import fixtures
from sidecar.workbench.compare import Change, Tally, compare, outcome
from sidecar.workbench.files import fingerprint, read_layers
from sidecar.workbench.prepare import Prepared, prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sidecar.call import Call, Tool
    from sidecar.compiler.snapshot import Snapshot
    from sidecar.decision import Decision
    from sidecar.live import Active
    from sidecar.need import Need
    from sidecar.principal import Presented, Principal
    from sidecar.wire.base import Codec
    from sidecar.workbench.files import Fingerprint

WAITING: Final = 4096
"""Decisions that may wait for their turn; more are dropped and counted."""
BYTES: Final = 32 * 2**20
"""Request bytes that those may hold."""
TURN: Final = 8
"""Decisions made before live calls get the loop again."""
PART: Final = Diagnostic(
    "error", "candidate", "the candidate has no Settings: it is a whole configuration, and would serve as one after a restart", Position("")
)
RIM: Final = frozenset({"unauthenticated", "unavailable", "capacity"})
"""Refusals that are not the documents' own."""


class Read(Protocol):
    """`server.inbound.Read`: a call as it was read."""

    @property
    def codec(self) -> Codec: ...
    @property
    def call(self) -> Call: ...
    @property
    def presented(self) -> tuple[Presented, ...]: ...


class Told(Protocol):
    """Where counts go: `telemetry.metrics.Metrics`."""

    def candidate(self, kind: str) -> None: ...
    def candidate_dropped(self) -> None: ...
    def candidate_healthy(self, *, healthy: bool) -> None: ...


class Shadow:
    """One candidate. `active` gives what is in force, `pin` puts the running Settings into a configuration: ports and stores were made from them."""

    def __init__(
        self,
        directories: Sequence[str],
        *,
        active: Callable[[], Active],
        pin: Callable[[Prepared], Prepared],
        environ: Mapping[str, str],
        clock: Callable[[], float],
        told: Told,
        on_bug: Callable[[Exception], None],
    ) -> None:
        self.directories = tuple(directories)
        self._active = active
        self._pin = pin
        self._environ = environ
        self._clock = clock
        self._told = told
        self._on_bug = on_bug
        self._queue: deque[tuple[int, Callable[[Snapshot], None]]] = deque()
        self._held = 0
        self._work = asyncio.Event()
        self._forget()
        self.prepared = Prepared(None, ())
        self.seen: Fingerprint = ()
        """Of the files that were read."""
        self.promoted = False
        self.dropped = 0

    def _forget(self) -> None:
        """Begin anew: what was counted was another candidate's."""
        self.tally = Tally()
        self.since = self._clock()
        self._store = MemoryStore(hold=600.0)
        self._tokens: dict[str, str] = {}
        self._people: Memo[Principal, Principal] = Memo()

    @property
    def snapshot(self) -> Snapshot | None:
        """The candidate, where it loads and passes its own tests."""
        return self.prepared.snapshot

    # ------------------------------------------------------------ loading

    async def load(self) -> None:
        """Read it again, off the loop. One that does not load, or fails its tests, compares nothing and says why."""
        try:
            await self._load()
        except Exception as error:  # noqa: BLE001  the boundary of a load: a bug in it is loud, and the candidate goes on being watched
            self._on_bug(error)

    async def _load(self) -> None:
        self.seen = await asyncio.to_thread(fingerprint, self.directories)
        with still():
            prepared = await asyncio.to_thread(self._prepare)
        if prepared.snapshot is None or self.snapshot is None or prepared.snapshot.digest != self.snapshot.digest:
            self._queue.clear()
            self._held = 0
            self._forget()
        self.prepared = prepared
        self._told.candidate_healthy(healthy=prepared.snapshot is not None)

    def _prepare(self) -> Prepared:
        try:
            prepared = prepare(read_layers(self.directories), self._environ, self._clock())
        except ConfigError as error:
            return Prepared(None, error.diagnostics or (Diagnostic("error", "unreadable", error.message, Position("")),))
        if prepared.snapshot is not None and not any(document.kind == "Settings" for document in prepared.documents):
            return prepared._replace(snapshot=None, diagnostics=(*prepared.diagnostics, PART))
        return self._pin(prepared)

    async def watch(self) -> None:
        """Load, and again on every change, until cancelled."""
        await self.load()
        async with aclosing(turns(self.directories)) as waking:
            async for _ in waking:
                if not self.promoted and await asyncio.to_thread(fingerprint, self.directories) != self.seen:
                    await self.load()

    # ------------------------------------------------------------ noting (on the way of a call: one append each)

    def saw(self, read: Read, decision: Decision) -> None:
        """A call was decided."""
        refusal = decision.refusal
        if decision.principal is not None and not (refusal is not None and (refusal.kind in RIM or refusal.code == "not_found")):
            self._note(read.call.bytes, partial(self._call, read, decision))

    def proposed(self, decision: Decision, verdict: Decision, tool: Tool) -> None:
        """A tool call that the answer to a decided call proposes was judged."""
        self._note(0, partial(self._tool, decision, verdict, tool))

    def replied(self, verdict: Decision, facts: judge.ReplyFacts, *, complete: bool) -> None:
        """A reply was judged."""
        self._note(0, partial(self._reply, verdict, facts, complete=complete))

    def unjudged(self, decision: Decision, facts: judge.ReplyFacts) -> None:
        """A whole reply was let through that no rule in force had anything to say about."""
        if self.snapshot is not None and self.snapshot.judges_replies and decision.principal is not None:
            released = replace(decision, reasons=(), by=(), would=(), obligations=NONE, audited=False)
            self._note(0, partial(self._reply, released, facts, complete=True))

    def settled(self, decision: str, actual: Mapping[str, float]) -> None:
        """What a call came to in the end, for the candidate's own counters."""
        if self._fits(0):
            self._put(0, partial(self._settle, decision, actual))

    def _note(self, bytes: int, work: Callable[[Snapshot], None]) -> None:
        if self.snapshot is None or self.promoted:
            return
        if self._fits(bytes):
            self._put(bytes, work)
        else:
            self.dropped += 1
            self._told.candidate_dropped()

    def _fits(self, bytes: int) -> bool:
        return len(self._queue) < WAITING and self._held + bytes <= BYTES

    def _put(self, bytes: int, work: Callable[[Snapshot], None]) -> None:
        self._queue.append((bytes, work))
        self._held += bytes
        self._work.set()

    # ------------------------------------------------------------ deciding (off the way)

    async def run(self) -> None:
        """Decide what was noted, a few at a time, until cancelled."""
        while True:
            await self._work.wait()
            for _ in range(TURN):
                self._step()
            if not self._queue:
                self._work.clear()
            await asyncio.sleep(0)

    def _step(self) -> None:
        snapshot = self.snapshot
        if not self._queue:
            return
        bytes, work = self._queue.popleft()
        self._held -= bytes
        if snapshot is None:
            return
        try:
            work(snapshot)
        except Exception as error:  # noqa: BLE001  the boundary of the shadow: a bug in it is loud, and no live call hears of it
            self._on_bug(error)

    def _call(self, read: Read, decision: Decision, snapshot: Snapshot) -> None:
        who = self._known(snapshot, decision)
        steps = ladder.decide(snapshot, read.call, (), codec=read.codec, now=decision.now, decision_id=decision.id, principal=who)
        found = fixtures.drive(steps, Answers(self._store, decision))
        if found.reservation:
            self._expect(decision.id, found.reservation)
        self._count(decision, found)

    def _expect(self, decision: str, token: str) -> None:
        """Keep a reservation until its call is settled; of too many the oldest, whose settlement was dropped, is let go."""
        if len(self._tokens) >= WAITING:
            oldest = next(iter(self._tokens))
            self._store.settle(self._tokens.pop(oldest), {}, self._clock())
        self._tokens[decision] = token

    def _tool(self, decision: Decision, verdict: Decision, tool: Tool, snapshot: Snapshot) -> None:
        call, who = self._again(snapshot, decision)
        self._count(verdict, judge.judge_tool(snapshot, call, who, tool, now=verdict.now, decision_id=verdict.id))

    def _reply(self, verdict: Decision, facts: judge.ReplyFacts, snapshot: Snapshot, *, complete: bool) -> None:
        call, who = self._again(snapshot, verdict)
        self._count(verdict, judge.judge_reply(snapshot, call, who, facts, now=verdict.now, decision_id=verdict.id, complete=complete))

    def _again(self, snapshot: Snapshot, decision: Decision) -> tuple[Call, Principal]:
        """The call that was answered with the members that the candidate gives it, and who asked."""
        call, upstreams = decision.call, self._active().snapshot.upstreams
        family = next((upstreams[member.upstream].dialect for member in call.members if member.upstream in upstreams), "")
        members = snapshot.members(family, call.target) if family else ()
        return replace(call, members=members), self._known(snapshot, decision)

    def _known(self, snapshot: Snapshot, decision: Decision) -> Principal:
        who = cast("Principal", decision.principal)
        return self._people.get(who) or self._people.keep(who, lambda: known(snapshot, who))

    def _settle(self, decision: str, actual: Mapping[str, float], _snapshot: Snapshot) -> None:
        token = self._tokens.pop(decision, None)
        if token is not None:
            self._store.settle(token, actual, self._clock())

    def _count(self, live: Decision, found: Decision) -> None:
        change: Change = compare(outcome(live), outcome(found))
        self.tally.add(change, live.id)
        self._told.candidate(change.kind)

    # ------------------------------------------------------------ telling

    def report(self) -> dict[str, Any]:
        """What would change, by rule, as plain JSON values."""
        snapshot = self.snapshot
        told = self.tally.report()
        places = where(self._active().snapshot) | (where(snapshot) if snapshot is not None else {})
        groups = [{**group, "where": [places.get(rule, "") for rule in group["rules"]]} for group in told["groups"]]
        return {
            "directories": list(self.directories),
            "digest": snapshot.digest if snapshot is not None else None,
            "healthy": snapshot is not None,
            "promoted": self.promoted,
            "since": self.since,
            "counts": told["counts"],
            "groups": groups,
            "waiting": len(self._queue),
            "dropped": self.dropped,
        }


class Answers:
    """The rim's answers for a candidate: its own counters; of owners and callers what the live decision found."""

    def __init__(self, store: MemoryStore, live: Decision) -> None:
        self._store = store
        self._live = live

    def answer(self, need: Need) -> object:
        """The answer to one need."""
        if isinstance(need, Verify):
            return Unauthenticated("nobody was presented")
        if isinstance(need, Reserve):
            return self._store.reserve(need)
        who, members = self._live.principal, self._live.call.members
        return Owned(who.id if who is not None else "", members[0].upstream if members else "")


def known(snapshot: Snapshot, who: Principal) -> Principal:
    """The caller with every claim that this configuration declares."""
    declared = snapshot.identity.claims if snapshot.identity is not None else {}
    missing = {name: fixtures.natural(claim) for name, claim in declared.items() if name not in who.claims}
    return replace(who, claims={**missing, **who.claims}) if missing else who


def where(snapshot: Snapshot) -> dict[str, str]:
    """`file:line` of every rule and quota, by the name that decisions tell."""
    found = {rule.name: rule.where for layer in snapshot.layers for index in (layer.request, layer.response) for rule in index.rules}
    return found | {quota.name: quota.where for layer in snapshot.layers for quota in layer.quotas.rules}
