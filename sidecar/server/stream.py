"""A streamed reply, event by event as it arrives. The dialect's `StreamScreen` holds what must be judged; this drives it.

A slow reader slows the upstream (each chunk is awaited out before the next is pulled), a client that leaves closes the
upstream, and whichever way it ends the quota is settled: with the provider's usage, or when cut short with the larger
of the provider's and our own count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.call import Usage
from sidecar.errors import UpstreamError
from sidecar.evaluate import reply as judge
from sidecar.server import refuse
from sidecar.server.outward import head, remember
from sidecar.wire.base import Proposal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.call import Tool
    from sidecar.decision import Refusal
    from sidecar.route.base import Reply
    from sidecar.server.settle import Settlement
    from sidecar.server.turn import Turn
    from sidecar.wire.base import Piece


LEFT = 499
"""What metrics and spans call an answer that nobody waited for to its end; it is never sent."""


async def relay(turn: Turn, reply: Reply, sent: int) -> None:
    """Relay one stream to its end. `sent` is when it was asked for, in nanoseconds of the monotonic clock."""
    run = Run(turn, reply, sent)
    try:
        await (run.held() if run.buffered() else run.live())
    except ConnectionError:
        run.status = LEFT
        turn.exchange.abort()
    finally:
        run.settle(turn.settlement)
        turn.finished(run.status, released=run.released)


class Run:
    """One stream under way. `_active` and `_judged` are the snapshot and decision it stands on, which a reload may replace."""

    def __init__(self, turn: Turn, reply: Reply, sent: int) -> None:
        limit = turn.services.settings.limits.event
        self._turn = turn
        self._services = turn.services
        self._active = turn.active
        self._exchange = turn.exchange
        self._read = turn.read
        self._decision = turn.decision
        self._judged = turn.decision
        self._reply = reply
        self._screen = turn.read.codec.screen(turn.read.call, cap=limit, event_limit=limit)
        self._minted = 0
        self._tools: list[str] = []
        self._cut = False
        self._heard = False
        """Whether response rules judged its end."""
        self._sent = sent
        self.status = reply.status
        self.released = 0

    def buffered(self) -> bool:
        """Whether a response rule must see the end before anything goes out."""
        principal = self._decision.principal
        return principal is not None and judge.needs_buffer(self._active.snapshot, self._decision.call, principal)

    def _audited(self) -> bool:
        principal = self._decision.principal
        return principal is not None and judge.audits_end(self._active.snapshot, self._decision.call, principal)

    async def live(self) -> None:
        """Headers at once, then every event as it comes."""
        refusal, warnings = self._judge(complete=False)
        if refusal is not None:
            self._refuse(refusal)
            return
        headers = head(self._read, self._decision, self._reply.headers, warnings)
        await self._exchange.start(self._reply.status, [*headers, ("cache-control", "no-cache")])
        try:
            refusal = await self._pump()
        except UpstreamError as error:
            await self._abort(error)
            return
        if refusal is not None:
            self._cut = True
            await self._write(self._last(refusal))
        elif self._audited():
            self._judge(complete=True)
        await self._exchange.finish()

    def _last(self, refusal: Refusal) -> bytes:
        """A no in the middle: the dialect's own end for a denial; an outage is an error, and tells nothing of the reply."""
        if refusal.kind == "unavailable":
            return self._screen.abort(refusal)
        return self._screen.terminate(self._services.disclosed(refusal))

    async def _pump(self) -> Refusal | None:
        """Everything to the end, or to the refusal that ends it."""
        while data := await self._reply.body.chunk():
            refusal = await self._again() if self._services.stale(self._active) else None
            refusal = refusal or await self._pass(self._screen.feed(data))
            if refusal is not None:
                return refusal
        return await self._pass(self._screen.finish_input())

    async def _pass(self, pieces: Sequence[Piece]) -> Refusal | None:
        out, refusal = await self._resolve(pieces)
        if refusal is None and out:
            await self._write(out)
        return refusal

    async def _resolve(self, pieces: Sequence[Piece]) -> tuple[bytes, Refusal | None]:
        """Decide every proposal in turn; what may go out, in order."""
        out: list[bytes] = []
        while pieces:
            rest: Sequence[Piece] = ()
            for piece in pieces:
                if isinstance(piece, Proposal):
                    rest = self._screen.resolve(self._proposed(piece.tool))
                else:
                    out.append(piece.data)
            pieces = rest
        refusal = await self._owned()
        return b"".join(out), refusal

    def _proposed(self, tool: Tool) -> str | None:
        denied = self._services.judge_tool(self._active, self._judged, tool)
        if denied is None:
            self._tools.append(tool.target)
        return denied

    async def _owned(self) -> Refusal | None:
        minted = self._screen.minted
        if len(minted) == self._minted:
            return None
        new, self._minted = minted[self._minted :], len(minted)
        return await remember(self._turn, new, self._reply.upstream)

    async def _write(self, data: bytes) -> None:
        if not self.released and not self._cut:
            self._services.metrics.first_event(self._reply.upstream, self._services.monotonic() - self._sent)
        self.released += len(data)
        await self._exchange.write(data)

    async def held(self) -> None:
        """Hold all of it, judge the end, then let it go or refuse it plainly. Nothing has gone out yet, so a failure is plain too."""
        try:
            await self._hold()
        except UpstreamError as error:
            if self._exchange.gone:
                raise ConnectionResetError("the client left") from None
            self._refuse(refuse.upstream(error, self._decision.id))

    async def _hold(self) -> None:
        held: list[bytes] = []
        size = 0
        while data := await self._reply.body.chunk():
            out, refusal = await self._resolve(self._screen.feed(data))
            size += len(out)
            if refusal is None and size > self._services.settings.limits.reply:
                refusal = self._too_long()
            if refusal is not None:
                self._refuse(refusal)
                return
            held.append(out)
        out, refusal = await self._resolve(self._screen.finish_input())
        if refusal is None:
            refusal, warnings = self._judge(complete=True)
        if refusal is not None:
            self._refuse(refusal)
            return
        await self._exchange.start(self._reply.status, head(self._read, self._decision, self._reply.headers, warnings))
        await self._write(b"".join((*held, out)))
        await self._exchange.finish()

    def _judge(self, *, complete: bool) -> tuple[Refusal | None, tuple[str, ...]]:
        """Response rules: a no or None, and the warnings they owe."""
        principal = self._decision.principal
        if principal is None or not judge.has_rules(self._active.snapshot, self._decision.call, principal):
            return None, ()
        self._heard = self._heard or complete
        verdict = self._services.judge_reply(self._active, self._decision, self._facts(), complete=complete)
        return verdict.refusal, verdict.obligations.warn

    def _facts(self) -> judge.ReplyFacts:
        screen = self._screen
        tokens = screen.usage.output_tokens if screen.usage else screen.output_bytes // 3
        return judge.ReplyFacts(self._reply.status, ",".join(screen.finish), tokens, tuple(self._tools))

    async def _again(self) -> Refusal | None:
        """The configuration changed under a long stream: decide it again under the new one, which judges the rest (DESIGN.md, Documents)."""
        active = self._services.active()
        again = await self._services.decide_again(active, self._read, self._decision)
        if again.refusal is None:
            self._active, self._judged = active, again
        return again.refusal

    def _refuse(self, refusal: Refusal) -> None:
        self.status = self._turn.refuse(refusal)

    def _too_long(self) -> Refusal:
        return refuse.upstream(UpstreamError("the reply is over the limit"), self._decision.id)

    async def _abort(self, error: UpstreamError) -> None:
        """After the first byte: the dialect's error event, then close without a false end."""
        self._cut = True
        if self._exchange.gone:
            raise ConnectionResetError("the client left")
        await self._write(self._screen.abort(refuse.upstream(error, self._decision.id)))
        await self._exchange.finish()

    def settle(self, settlement: Settlement) -> None:
        """True usage when it came to its end; when cut short the larger of the provider's and ours."""
        screen, call = self._screen, self._decision.call
        own = Usage(call.tokens, -(-screen.output_bytes // 3), estimated=True)
        told = screen.usage
        cut = self._cut or not screen.ended
        if told is None:
            usage = own
        elif cut:
            usage = Usage(max(told.input_tokens, own.input_tokens), max(told.output_tokens, own.output_tokens), estimated=True)
        else:
            usage = told
        settlement.served(self._reply.upstream, self._reply.model, usage, screen.finish)
        if not cut and not self._heard:
            self._services.unjudged(self._decision, self._facts())
