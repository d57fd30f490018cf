"""The way back: send the permit, screen the reply, hand it over, settle. Whole replies here, streams in `stream.py`.

Every tool call that a model proposes is decided and recorded before the client sees it; ids the provider minted are put
on record before they are told. Nothing that no rule edited is re-serialised: it goes out as its own bytes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sidecar.call import Usage
from sidecar.decision import Refusal
from sidecar.errors import UpstreamCut, UpstreamError
from sidecar.evaluate import reply as judge
from sidecar.evaluate.combine import unknown_model
from sidecar.evaluate.listing import models
from sidecar.server import refuse, stream
from sidecar.server.outward import head, marks, rate_headers, remember
from sidecar.server.stream import LEFT
from sidecar.wire import openai_models
from sidecar.wire.base import ReplyView

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sidecar.decision import Permit
    from sidecar.route.base import Body, Reply
    from sidecar.server.turn import Turn

NOTHING = ReplyView({})
"""What an upstream's own no says to response rules, beside its status."""


async def relay(turn: Turn) -> None:
    """Carry out a yes, and settle it with what was used; a call that failed is given back."""
    try:
        if turn.read.call.operation == "models":
            turn.finished(listed(turn))
        else:
            await _sent(turn)
    except UpstreamError as error:
        turn.settlement.refund()
        _failed(turn, error)
    except ConnectionError:  # the client left while its answer was being made
        turn.exchange.abort()
        turn.finished(LEFT)


def listed(turn: Turn) -> int:
    """`/v1/models`: what this caller may use, from the snapshot; no upstream is asked. A hidden model is an unknown one."""
    read, decision = turn.read, turn.decision
    if decision.principal is None:
        raise UpstreamError("a list without a principal")
    family, asked = openai_models.family_of(read.call), read.call.target
    names = models(turn.active.snapshot, decision.principal, family, decision.now)
    if asked and asked not in names:
        return turn.refuse(unknown_model(decision.id))
    body = openai_models.entry(asked, family) if asked else openai_models.listing(names, family)
    turn.exchange.respond(200, [("content-type", "application/json"), *marks(read.request_id, decision.id), *rate_headers(read, decision)], body)
    return 200


async def _sent(turn: Turn) -> None:
    permit = turn.decision.permit
    if permit is None:
        raise UpstreamError("a yes without a permit")
    turn.services.keep_login(turn.active, turn.read, permit)
    sent = turn.services.monotonic()
    reply = await _asked(turn, permit)
    try:
        if reply.status < 300 and turn.read.call.stream and reply.header("content-type").startswith("text/event-stream"):
            await stream.relay(turn, reply, sent)
        else:
            turn.finished(await _whole(turn, reply))
    finally:
        reply.body.close()


async def _asked(turn: Turn, permit: Permit) -> Reply:
    """Send the permit. A client that leaves ends the upstream call, before its head as after it."""
    exchange = turn.exchange
    leaving = Leaving(exchange.task)
    exchange.on_gone(leaving)
    try:
        reply = await turn.active.core.send(permit)
    except asyncio.CancelledError:
        if not exchange.gone or exchange.task is None:
            raise
        exchange.task.uncancel()
        turn.settlement.left(permit)
        raise UpstreamCut("the client left") from None
    leaving.body = reply.body
    return reply


class Leaving:
    """What is done when the client leaves: before there is a reply its wait is ended, later the upstream is let go."""

    __slots__ = ("_task", "body")

    def __init__(self, task: asyncio.Task[None] | None) -> None:
        self._task = task
        self.body: Body | None = None

    def __call__(self) -> None:
        """The client left."""
        if self.body is not None:
            self.body.close()
        elif self._task is not None:
            self._task.cancel()


async def _whole(turn: Turn, reply: Reply) -> int:
    """A reply that is no stream: read, judged, handed over. The status that went out."""
    body = await _read(turn, reply)
    if reply.status >= 300:
        return _error_reply(turn, reply, body)
    read, decision = turn.read, turn.decision
    view = read.codec.read_reply(read.call, body)
    _settle(turn, reply, view)
    denied = proposals(turn, view)
    refusal, warnings = judged(turn, view, status=reply.status, denied=denied)
    refusal = refusal or await remember(turn, view.minted, reply.upstream)
    if refusal is not None:
        return turn.refuse(refusal)
    data = read.codec.write_reply(view, denied) if denied else body
    turn.exchange.respond(reply.status, head(read, decision, reply.headers, warnings), data)
    return reply.status


async def _read(turn: Turn, reply: Reply) -> bytes:
    try:
        return await reply.body.read(turn.services.settings.limits.reply)
    except UpstreamCut:
        if turn.exchange.gone:  # the provider worked for it all the same
            turn.settlement.served(reply.upstream, reply.model, Usage(turn.read.call.tokens, estimated=True))
        raise


def _settle(turn: Turn, reply: Reply, view: ReplyView) -> None:
    if view.pending:
        turn.settlement.pending(reply.upstream, reply.model)
        return
    usage = view.usage or Usage(turn.read.call.tokens, estimate(view), estimated=True)
    turn.settlement.served(reply.upstream, reply.model, usage, view.finish)


def estimate(view: ReplyView) -> int:
    """Our count of output tokens where the provider told none: a third of the bytes, rounded up."""
    return sum(len(segment.text.encode()) + 2 for segment in view.segments) // 3


def proposals(turn: Turn, view: ReplyView) -> Mapping[int, str]:
    """Decide every proposed tool call; the denied ones with the text that takes their place."""
    denied: dict[int, str] = {}
    for index, tool in enumerate(view.tools):
        text = turn.services.judge_tool(turn.active, turn.decision, tool)
        if text is not None:
            denied[index] = text
    return denied


def judged(turn: Turn, view: ReplyView, *, status: int, denied: Collection[int] = ()) -> tuple[Refusal | None, tuple[str, ...]]:
    """Response rules, over what the client would see: a no or None, and the warnings they owe."""
    decision, snapshot = turn.decision, turn.active.snapshot
    ruled = decision.principal is not None and judge.has_rules(snapshot, decision.call, decision.principal)
    if not ruled and turn.services.shadow is None:
        return None, ()
    tools = tuple(tool.target for index, tool in enumerate(view.tools) if index not in denied)
    tokens = view.usage.output_tokens if view.usage else estimate(view)
    facts = judge.ReplyFacts(status, ",".join(view.finish), tokens, tools)
    if not ruled:
        turn.services.unjudged(decision, facts)
        return None, ()
    verdict = turn.services.judge_reply(turn.active, decision, facts)
    return verdict.refusal, verdict.obligations.warn


def _error_reply(turn: Turn, reply: Reply, body: bytes) -> int:
    """An upstream's own no: relayed where it is JSON in this dialect, else told in our words (HTML pages tell too much)."""
    turn.settlement.refund()
    refusal, _ = judged(turn, NOTHING, status=reply.status)
    if refusal is not None:
        return turn.refuse(refusal)
    if reply.header("content-type").startswith("application/json") and body[:1] == b"{":
        turn.exchange.respond(reply.status, head(turn.read, turn.decision, reply.headers), body)
        return reply.status
    text = f"the upstream answered {reply.status} in no dialect"
    return turn.refuse(Refusal(kind="upstream", status=502, code="upstream_error", message=text, decision=turn.decision.id))


def _failed(turn: Turn, error: UpstreamError) -> None:
    """The upstream failed. Before the first byte a plain error; after it `stream` has already ended the answer."""
    exchange = turn.exchange
    if exchange.gone or exchange.started:
        exchange.abort()
        turn.finished(LEFT if exchange.gone else error.status)
    else:
        turn.finished(turn.refuse(refuse.upstream(error, turn.decision.id)))
