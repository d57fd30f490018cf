"""What every answer carries on its way out: ids, rate headers, the few upstream headers that travel on; and the ids it tells.

Shared by whole replies, streams and refusals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from sidecar.decision import Refusal
from sidecar.need import Unavailable
from sidecar.wire import ratelimits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.decision import Decision
    from sidecar.server.inbound import Read
    from sidecar.server.turn import Turn

Headers = list[tuple[str, str]]

_SAFE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")

KEPT = frozenset({"content-type", "retry-after", "retry-after-ms", "openai-processing-ms", "openai-version"})
"""Reply headers that travel on: cookies, organisation names and the upstream's own rate headers do not (WIRE.md)."""


def marks(request_id: str, decision: str) -> Headers:
    """The headers every answer carries."""
    return [("x-request-id", request_id), ("x-sidecar-decision", decision)]


def rate_headers(read: Read, decision: Decision) -> tuple[tuple[str, str], ...]:
    """Rate headers of an allowed answer, in the dialect's own names and the IETF's."""
    return ratelimits.headers(read.codec.family, decision.levels, decision.now) if decision.levels else ()


async def remember(turn: Turn, minted: Sequence[tuple[str, str]], upstream: str) -> Refusal | None:
    """Record who owns these ids, insert-only, before the client learns them. A store that is down is a no."""
    decision = turn.decision
    if decision.principal is None:
        return None
    for kind, id in minted:
        owned = await turn.services.owners.put(kind, id, decision.principal.id, upstream)
        if isinstance(owned, Unavailable) or (owned.principal, owned.upstream) != (decision.principal.id, upstream):
            return Refusal(
                kind="unavailable", status=503, code="owners_unavailable", message="the owner of a new id could not be recorded", decision=decision.id
            )
    return None


def head(read: Read, decision: Decision, headers: Sequence[tuple[str, str]], warnings: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Headers of an answer that is relayed. `warnings` are those of response rules."""
    kept = [(name, value) for name, value in headers if name in KEPT]
    kept += marks(read.request_id, decision.id)
    if read.codec.family == "anthropic":
        kept.append(("request-id", read.request_id))
    if decision.levels:
        kept += rate_headers(read, decision)
    kept += [("x-sidecar-warning", field_text(text)) for text in (*decision.obligations.warn, *warnings)]
    return kept


def field_text(text: str) -> str:
    """An author's words as a field value: one line, and what is not ASCII as percent-encoded UTF-8 (RFC 9110, 5.5)."""
    line = " ".join(text.split())
    return line if line.isascii() and line.isprintable() else quote(line, safe=_SAFE)
