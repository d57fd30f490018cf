"""What every call shares: settings, stores, records, metrics, and the few steps of the way that touch several of them.

Made once at start from the first snapshot's Settings; the snapshot itself is in `live`. It is the rim's side of the way:
clocks, ids, counters. It decides nothing.
"""

from __future__ import annotations

import ipaddress
import sys
import time
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sidecar.decision import Decision, Permit, Refusal
from sidecar.errors import CallError, ConfigError, ForeignHost, OverCapacity
from sidecar.evaluate import combine, ladder
from sidecar.evaluate import reply as judge
from sidecar.server.guard import Guard
from sidecar.server.ids import Ids

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sidecar.call import Tool
    from sidecar.config.documents import Settings
    from sidecar.gate import Owners
    from sidecar.live import Active, Live
    from sidecar.server.exchange import Exchange
    from sidecar.server.inbound import Read
    from sidecar.server.settle import Settlement
    from sidecar.shadow import Shadow
    from sidecar.store.memory import MemoryStore
    from sidecar.store.refusals import Refusals
    from sidecar.telemetry.kept import Keeper
    from sidecar.telemetry.metrics import Metrics
    from sidecar.telemetry.recorder import Recorder
    from sidecar.telemetry.tracing import Tracer

TIMED = 16
"""One decision in so many is timed stage by stage (all of them where traces are on): a sample tells as much and costs a sixteenth."""


class Services:
    """Shared by all calls of one process."""

    def __init__(
        self,
        settings: Settings,
        *,
        live: Live,
        counters: MemoryStore,
        owners: Owners,
        refusals: Refusals,
        recorder: Recorder,
        metrics: Metrics,
        tracer: Tracer,
        keeper: Keeper | None = None,
        on_finished: Callable[[Read | None, Decision, int, Settlement | None], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.shadow: Shadow | None = None
        """A candidate that decides the same calls, where Settings name one."""
        self.live = live
        self.counters = counters
        self.owners = owners
        self.refusals = refusals
        self.recorder = recorder
        self.metrics = metrics
        self.tracer = tracer
        self.clock = clock
        self.monotonic = time.perf_counter_ns
        self.new_id = Ids()
        self.proxies = tuple(ipaddress.ip_network(text, strict=False) for text in settings.trust.proxies)
        self.guard = Guard(settings)
        self._untimed = 0
        self._timed_every = 1 if settings.telemetry.otlp else TIMED
        self.inflight = 0
        self.inflight_bytes = 0
        self.draining = False
        self._on_finished = on_finished
        self._keeper = keeper
        self._logins: dict[str, str] = {}

    def active(self) -> Active:
        """The snapshot in force."""
        if self.live.current is None:
            raise ConfigError("nothing is loaded yet")
        return self.live.current

    # ------------------------------------------------------------ capacity

    def enter(self, exchange: Exchange) -> None:
        """A call begins."""
        self.inflight += 1
        self.inflight_bytes += len(exchange.body)

    def leave(self, exchange: Exchange) -> None:
        """A call has ended."""
        self.inflight -= 1
        self.inflight_bytes -= len(exchange.body)

    def turn_away(self, headers: Sequence[tuple[str, str]]) -> CallError | None:
        """Why this request may not even send its body, or None."""
        wrong = self.guard.wrong(headers)
        if wrong:
            return ForeignHost(wrong)
        limits = self.settings.limits
        if self.draining:
            return OverCapacity("the sidecar is shutting down")
        if self.inflight >= limits.inflight or self.inflight_bytes + _length(headers) > limits.inflight_bytes:
            return OverCapacity("too many calls at once")
        return None

    def fit(self) -> None:
        """Whether there is room for the call that has just entered: many may be admitted before the first of them counts. Raises OverCapacity."""
        limits = self.settings.limits
        if self.inflight > limits.inflight or self.inflight_bytes > limits.inflight_bytes:
            raise OverCapacity("too many calls at once")

    # ------------------------------------------------------------ deciding

    async def decide(self, active: Active, read: Read) -> Decision:
        """Run the ladder; then count a refusal against its prober."""
        now = self.clock()
        self._untimed -= 1
        clock = None
        if self._untimed < 0:
            self._untimed, clock = self._timed_every - 1, self.monotonic
        steps = ladder.decide(active.snapshot, read.call, read.presented, codec=read.codec, now=now, decision_id=read.call.id, clock=clock)
        decision = await active.gate.drive(steps, now)
        if decision.permit is not None and decision.permit.members is not decision.call.members and not active.core.carries(decision.call):
            decision = combine.uncarried(decision)
        if decision.refusal is not None and decision.refusal.kind in {"unauthenticated", "policy", "hidden", "not_found"}:
            return self._probed(decision, now)
        return decision

    def _probed(self, decision: Decision, now: float) -> Decision:
        """Refusals are not free: past `limits.refusals` a minute the answer is 429, whatever it would have been."""
        who = decision.principal.id if decision.principal is not None else ""
        wait = self.refusals.hit(who, decision.call.source.ip, now)
        if wait is None:
            return decision
        text = "too many refused calls"
        refusal = Refusal(kind="quota", status=429, code="rate_limit_exceeded", message=text, retry_after=wait, retry=True, decision=decision.id)
        return replace(decision, refusal=refusal)

    async def decide_again(self, active: Active, read: Read, decision: Decision) -> Decision:
        """Decide a call that is under way under another snapshot, without spending quota. Who asks is verified as of when it began."""
        steps = ladder.decide(active.snapshot, read.call, read.presented, codec=read.codec, now=self.clock(), decision_id=self.new_id(), reserve=False)
        again = await active.gate.drive(steps, decision.now)
        self.recorder.write(again, snapshot=active.snapshot.digest, request_id=read.request_id, inputs=self._kept(active, again))
        self.metrics.decision(again)
        return again

    def stale(self, active: Active) -> bool:
        """Whether a stream judged under this snapshot must be decided again: it was replaced `maxSnapshotAge` ago."""
        return active.replaced is not None and self.clock() - active.replaced >= self.settings.max_snapshot_age

    def judge_tool(self, active: Active, decision: Decision, tool: Tool) -> str | None:
        """Decide and record one proposed tool call. None lets it through; a text takes its place."""
        if decision.principal is None:
            raise ConfigError("a proposal without a principal")
        verdict = judge.judge_tool(active.snapshot, decision.call, decision.principal, tool, now=self.clock(), decision_id=self.new_id())
        self.recorder.write(verdict, snapshot=active.snapshot.digest, about=decision.id, inputs=self._kept(active, verdict))
        self.metrics.decision(verdict)
        if self.shadow is not None:
            self.shadow.proposed(decision, verdict, tool)
        if self._on_finished is not None:
            self._on_finished(None, verdict, 200 if verdict.refusal is None else 403, None)
        return None if verdict.refusal is None else self._taken(verdict.refusal)

    def _taken(self, refusal: Refusal) -> str:
        """The short text that stands where a denied tool call stood."""
        if self.settings.denials.disclose == "id":
            return f"[tool call denied by policy; decision {refusal.decision}]"
        words = f": {refusal.message}" if refusal.message else ""
        return f"[tool call denied by {refusal.rule or 'policy'}{words}; decision {refusal.decision}]"

    def judge_reply(self, active: Active, decision: Decision, facts: judge.ReplyFacts, *, complete: bool = True) -> Decision:
        """Response rules. Records the verdict; what it owes are warnings alone."""
        if decision.principal is None:
            raise ConfigError("a reply without a principal")
        verdict = judge.judge_reply(active.snapshot, decision.call, decision.principal, facts, now=self.clock(), decision_id=self.new_id(), complete=complete)
        phase = "response" if complete else "head"
        self.recorder.write(verdict, snapshot=active.snapshot.digest, phase=phase, about=decision.id, inputs=self._kept(active, verdict, facts))
        self.metrics.decision(verdict)
        if self.shadow is not None:
            self.shadow.replied(verdict, facts, complete=complete)
        return verdict

    def unjudged(self, decision: Decision, facts: judge.ReplyFacts) -> None:
        """A reply that no rule in force had anything to say about, at its end: a candidate may."""
        if self.shadow is not None:
            self.shadow.unjudged(decision, facts)

    # ------------------------------------------------------------ telling

    def record(self, active: Active, read: Read, decision: Decision) -> None:
        """Write the record before anything leaves. Raises RecordsDown where `records.onError` is deny."""
        self.recorder.write(decision, snapshot=active.snapshot.digest, request_id=read.request_id, inputs=self._kept(active, decision))
        self.metrics.decision(decision)
        self.metrics.overhead(self.monotonic() - read.started)
        if self.shadow is not None:
            self.shadow.saw(read, decision)

    def settled(self, decision: Decision, actual: Mapping[str, float]) -> None:
        """What a call came to is known; told once for each."""
        if self.shadow is not None:
            self.shadow.settled(decision.id, actual)

    def _kept(self, active: Active, decision: Decision, reply: judge.ReplyFacts | None = None) -> Mapping[str, Any] | None:
        """What `records.inputs` keeps of it."""
        return self._keeper.keep(active.snapshot, decision, reply) if self._keeper is not None else None

    def record_unread(self, active: Active, decision: Decision) -> None:
        """The same for what never became a call."""
        self.recorder.write(decision, snapshot=active.snapshot.digest, request_id="")
        self.metrics.decision(decision)

    def finished(self, read: Read, decision: Decision, *, status: int, settlement: Settlement | None = None, released: int = 0) -> None:
        """The answer is out: metrics, span, console. `released` counts streamed bytes."""
        self._logins.pop(decision.id, None)
        self.metrics.finished(decision, status=status, settlement=settlement, released=released, nanoseconds=self.monotonic() - read.started)
        self.tracer.finished(decision, status=status, settlement=settlement, nanoseconds=self.monotonic() - read.started)
        if self._on_finished is not None:
            self._on_finished(read, decision, status, settlement)

    def disclosed(self, refusal: Refusal) -> Refusal:
        """What of it may be told: with `denials: {disclose: id}` neither rule nor words."""
        if self.settings.denials.disclose == "rule" or refusal.kind != "policy":
            return refusal
        return replace(refusal, rule="", help="", message="denied by policy")

    def keep_login(self, active: Active, read: Read, permit: Permit) -> None:
        """Hold the caller's own credential until the answer, where an upstream of this permit asks for it (`passthrough`)."""
        for member in permit.members:
            credential = active.snapshot.upstreams[member.upstream].credential
            if credential is not None and credential.passthrough:
                value = next((one.value for one in read.presented if one.form == "bearer"), "")
                self._logins[permit.decision] = str(value)
                return

    def login(self, permit: Permit) -> str | None:
        """The credential held for a permit."""
        return self._logins.get(permit.decision)

    def complain(self, message: str) -> None:
        """Tell the operator; never content."""
        sys.stderr.write(f"warning: {message}\n")
        sys.stderr.flush()

    def report_bug(self, error: BaseException) -> None:
        """Loud: the traceback on standard error (frames and types; the message may hold content and is left out)."""
        self.metrics.bug()
        frames = "".join(traceback.format_tb(error.__traceback__))
        sys.stderr.write(f"bug: {type(error).__name__}\n{frames}")
        sys.stderr.flush()


def _length(headers: Sequence[tuple[str, str]]) -> int:
    for name, value in headers:
        if name == "content-length":
            return int(value) if value.isdigit() else 0
    return 0
