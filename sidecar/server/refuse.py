"""Every no, in the caller's own dialect. Its counterpart is `wire/*_errors`, which knows the shapes; here is only which no it is.

A refusal of something that never became a call (framing, an unknown path, JSON with two readings) still has an id and a
record, so that nothing is refused that cannot be asked about.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sidecar import wire
from sidecar.call import Call
from sidecar.decision import Decision, Refusal
from sidecar.errors import CallError, MethodNotAllowed, OverCapacity, PermitError, RecordsDown, SidecarError, UpstreamError
from sidecar.server import inbound
from sidecar.server.outward import Headers

if TYPE_CHECKING:
    from sidecar.live import Active
    from sidecar.server.exchange import Exchange
    from sidecar.server.services import Services

Whole = tuple[int, Headers, bytes]

KIND_BY_STATUS = {400: "malformed", 403: "policy", 404: "not_found", 405: "method", 408: "timeout", 413: "too_large", 415: "media_type", 503: "capacity"}
SOON = 1.0
"""Seconds after which one who was turned away for lack of room may try again."""


def malformed(services: Services, active: Active, exchange: Exchange, error: CallError) -> None:
    """Refuse and record what could not be read as a call."""
    decision = _noted(services, active, unread_decision(services, exchange.method, exchange.target, error))
    status, headers, body = _shaped(exchange.target, exchange.headers, decision)
    exchange.respond(status, [*headers, *_allow(error)], body)


def _allow(error: CallError) -> Headers:
    return [("allow", ", ".join(error.allow))] if isinstance(error, MethodNotAllowed) and error.allow else []


def unread(services: Services, method: str, target: str, headers: Headers, error: CallError) -> Whole:
    """The same for the listener, which has no exchange yet."""
    decision = _noted(services, services.active(), unread_decision(services, method, target, error))
    return _shaped(target, headers, decision)


def unread_decision(services: Services, method: str, target: str, error: CallError) -> Decision:
    """A decision about something that is no call: content-free, and always a no."""
    id = services.new_id()
    call = Call(id=id, protocol="llm", operation="unknown", dialect=wire.family_of(target), target="", method=method[:16])
    kind = KIND_BY_STATUS.get(error.status, "malformed")
    wait = SOON if isinstance(error, OverCapacity) else None
    refusal = Refusal(kind=kind, status=error.status, code=error.code, message=error.message, retry_after=wait, retry=wait is not None, decision=id)
    return Decision(id=id, call=call, principal=None, effect="deny", refusal=refusal, now=services.clock())


def _noted(services: Services, active: Active, decision: Decision) -> Decision:
    """The same, on record; where records are down, the no that says so."""
    try:
        services.record_unread(active, decision)
    except RecordsDown as error:
        services.metrics.refused("unavailable")
        return replace(decision, refusal=unavailable(error, decision.id))
    return decision


def unavailable(error: SidecarError, decision: str) -> Refusal:
    """A dependency that is down, and closed."""
    return Refusal(kind="unavailable", status=error.status, code=error.code, message=error.message, decision=decision)


def _shaped(target: str, headers: Headers, decision: Decision) -> Whole:
    refusal = decision.refusal
    if refusal is None:
        raise PermitError("a yes is no refusal")
    request_id = inbound.request_id(headers, decision.id)
    whole = wire.refuse(wire.family_of(target), refusal, request_id)
    return whole.status, list(whole.headers), whole.body


def upstream(error: SidecarError, decision: str) -> Refusal:
    """What an upstream's failure is to the caller (WIRE.md: 502, 504; never a 401 of its own)."""
    return Refusal(kind="upstream", status=error.status, code=error.code, message=error.message or "the upstream failed", decision=decision)


def failed(services: Services, exchange: Exchange, error: SidecarError) -> None:
    """A dependency failed: records down, an upstream that did not answer."""
    id = services.new_id()
    _bare(services, exchange, upstream(error, id) if isinstance(error, UpstreamError) else unavailable(error, id))


def bug(services: Services, exchange: Exchange, error: BaseException) -> None:
    """Something we did not foresee: loud in the log, a plain 500 to the caller, nothing forwarded."""
    services.report_bug(error)
    _bare(services, exchange, Refusal(kind="unavailable", status=500, code="internal_error", message="the sidecar failed", decision=services.new_id()))


def _bare(services: Services, exchange: Exchange, refusal: Refusal) -> None:
    services.metrics.refused(refusal.kind)
    if exchange.started:
        exchange.abort()
        return
    request_id = inbound.request_id(exchange.headers, refusal.decision)
    whole = wire.refuse(wire.family_of(exchange.target), refusal, request_id)
    exchange.respond(whole.status, list(whole.headers), whole.body)


def early(services: Services, method: str, target: str, headers: Headers) -> Whole | None:
    """What is refused before its body is read: a Host or Origin that is not ours, no room, draining."""
    error = services.turn_away(headers)
    return None if error is None else unread(services, method, target, headers, error)
