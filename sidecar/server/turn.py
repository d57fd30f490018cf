"""One call after its decision: what every step of the way back needs, in one value. Made in `way.py`, passed down, gone at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sidecar.decision import Decision, Refusal
    from sidecar.live import Active
    from sidecar.server.exchange import Exchange
    from sidecar.server.inbound import Read
    from sidecar.server.services import Services
    from sidecar.server.settle import Settlement


class Turn(NamedTuple):
    """Who answers whom, about what, and on whose account."""

    services: Services
    active: Active
    exchange: Exchange
    read: Read
    decision: Decision
    settlement: Settlement

    def refuse(self, refusal: Refusal) -> int:
        """Send a no in the caller's dialect; the status that went out."""
        whole = self.read.codec.refuse(self.services.disclosed(refusal), self.read.request_id)
        self.exchange.respond(whole.status, whole.headers, whole.body)
        return whole.status

    def finished(self, status: int, *, released: int = 0) -> None:
        """Tell metrics, spans and the console that it is over."""
        self.services.finished(self.read, self.decision, status=status, settlement=self.settlement, released=released)
