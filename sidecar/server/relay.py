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

    from sidecar.decision import Decision, Permit
    from sidecar.live import Active
    from sidecar.route.base import Body, Reply
    from sidecar.server.exchange import Exchange
    from sidecar.server.inbound import Read
    from sidecar.server.services import Services
    from sidecar.server.settle import Settlement

NOTHING = ReplyView({})
"""What an upstream's own no says to response rules, beside its status."""


async def relay(services: Services, active: Active, exchange: Exchange, read: Read, decision: Decision, settlement: Settlement) -> None:
    """Carry out a yes, and settle it with what was used; a call that failed is given back."""
    try:
        if read.call.operation == "models":
            listed(services, active, exchange, read, decision)
        else:
            await _sent(services, active, exchange, read, decision, settlement)
    except UpstreamError as error:
        settlement.refund()
        _failed(services, exchange, read, decision, error, settlement=settlement)
    except ConnectionError:  # the client left while its answer was being made
        exchange.abort()
        services.finished(read, decision, status=LEFT, settlement=settlement)


def listed(services: Services, active: Active, exchange: Exchange, read: Read, decision: Decision) -> None:
    """`/v1/models`: what this caller may use, from the snapshot; no upstream is asked. A hidden model is an unknown one."""
    if decision.principal is None:
        raise UpstreamError("a list without a principal")
    family, asked = openai_models.family_of(read.call), read.call.target
    names = models(active.snapshot, decision.principal, family, decision.now)
    if asked and asked not in names:
        _refused(services, exchange, read, decision, unknown_model(decision.id))
        return
    body = openai_models.entry(asked, family) if asked else openai_models.listing(names, family)
    exchange.respond(200, [("content-type", "application/json"), *marks(read.request_id, decision.id), *rate_headers(read, decision)], body)
    services.finished(read, decision, status=200)


async def _sent(services: Services, active: Active, exchange: Exchange, read: Read, decision: Decision, settlement: Settlement) -> None:
    if decision.permit is None:
        raise UpstreamError("a yes without a permit")
    services.keep_login(active, read, decision.permit)
    sent = services.monotonic()
    reply = await _asked(active, exchange, decision.permit, settlement)
    try:
        if reply.status < 300 and read.call.stream and reply.header("content-type").startswith("text/event-stream"):
            await stream.relay(services, active, exchange, read, decision, reply, settlement, sent=sent)
        else:
            await _whole(services, active, exchange, read, decision, reply, settlement)
    finally:
        reply.body.close()


async def _asked(active: Active, exchange: Exchange, permit: Permit, settlement: Settlement) -> Reply:
    """Send the permit. A client that leaves ends the upstream call, before its head as after it."""
    leaving = Leaving(exchange.task)
    exchange.on_gone(leaving)
    try:
        reply = await active.core.send(permit)
    except asyncio.CancelledError:
        if not exchange.gone or exchange.task is None:
            raise
        exchange.task.uncancel()
        settlement.left(permit)
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


async def _whole(services: Services, active: Active, exchange: Exchange, read: Read, decision: Decision, reply: Reply, settlement: Settlement) -> None:
    try:
        body = await reply.body.read(services.settings.limits.reply)
    except UpstreamCut:
        if exchange.gone:  # the provider worked for it all the same
            settlement.served(reply.upstream, reply.model, Usage(read.call.tokens, estimated=True))
        raise
    if reply.status >= 300:
        settlement.refund()
        refusal, _ = judged(services, active, decision, NOTHING, status=reply.status)
        if refusal is not None:
            _refused(services, exchange, read, decision, refusal)
        else:
            _error_reply(services, exchange, read, decision, reply, body)
        return
    view = read.codec.read_reply(read.call, body)
    if view.pending:
        settlement.pending(reply.upstream, reply.model)
    else:
        settlement.served(reply.upstream, reply.model, view.usage or Usage(read.call.tokens, estimate(view), estimated=True), view.finish)
    denied = proposals(services, active, decision, view)
    refusal, warnings = judged(services, active, decision, view, status=reply.status, denied=denied)
    refusal = refusal or await remember(services, decision, view.minted, reply.upstream)
    if refusal is not None:
        _refused(services, exchange, read, decision, refusal, settlement=settlement)
        return
    data = read.codec.write_reply(view, denied) if denied else body
    exchange.respond(reply.status, head(read, decision, reply.headers, warnings), data)
    services.finished(read, decision, status=reply.status, settlement=settlement)


def estimate(view: ReplyView) -> int:
    """Our count of output tokens where the provider told none: a third of the bytes, rounded up."""
    return sum(len(segment.text.encode()) + 2 for segment in view.segments) // 3


def proposals(services: Services, active: Active, decision: Decision, view: ReplyView) -> Mapping[int, str]:
    """Decide every proposed tool call; the denied ones with the text that takes their place."""
    denied: dict[int, str] = {}
    for index, tool in enumerate(view.tools):
        text = services.judge_tool(active, decision, tool)
        if text is not None:
            denied[index] = text
    return denied


def judged(
    services: Services, active: Active, decision: Decision, view: ReplyView, *, status: int, denied: Collection[int] = ()
) -> tuple[Refusal | None, tuple[str, ...]]:
    """Response rules, over what the client would see: a no or None, and the warnings they owe."""
    if decision.principal is None or not judge.has_rules(active.snapshot, decision.call, decision.principal):
        return None, ()
    tools = tuple(tool.target for index, tool in enumerate(view.tools) if index not in denied)
    tokens = view.usage.output_tokens if view.usage else estimate(view)
    verdict = services.judge_reply(active, decision, judge.ReplyFacts(status, ",".join(view.finish), tokens, tools))
    return verdict.refusal, verdict.obligations.warn


def _refused(services: Services, exchange: Exchange, read: Read, decision: Decision, refusal: Refusal, *, settlement: Settlement | None = None) -> None:
    whole = read.codec.refuse(refuse.disclosed(services, refusal), read.request_id)
    exchange.respond(whole.status, whole.headers, whole.body)
    services.finished(read, decision, status=whole.status, settlement=settlement)


def _error_reply(services: Services, exchange: Exchange, read: Read, decision: Decision, reply: Reply, body: bytes) -> None:
    """An upstream's own no: relayed where it is JSON in this dialect, else told in our words (HTML pages tell too much)."""
    if reply.header("content-type").startswith("application/json") and body[:1] == b"{":
        exchange.respond(reply.status, head(read, decision, reply.headers), body)
        services.finished(read, decision, status=reply.status)
        return
    refusal = Refusal(kind="upstream", status=502, code="upstream_error", message=f"the upstream answered {reply.status} in no dialect", decision=decision.id)
    _refused(services, exchange, read, decision, refusal)


def _failed(services: Services, exchange: Exchange, read: Read, decision: Decision, error: UpstreamError, *, settlement: Settlement) -> None:
    """The upstream failed. Before the first byte a plain error; after it `stream` has already ended the answer."""
    if exchange.gone or exchange.started:
        exchange.abort()
        services.finished(read, decision, status=LEFT if exchange.gone else error.status, settlement=settlement)
        return
    _refused(services, exchange, read, decision, refuse.upstream(error, decision.id))
