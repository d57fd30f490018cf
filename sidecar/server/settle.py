"""Settles one reservation exactly once: with true usage, or by giving it back. Nothing that was reserved is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.call import Usage
from sidecar.evaluate import quotas

if TYPE_CHECKING:
    from sidecar.call import Member
    from sidecar.decision import Decision, Permit
    from sidecar.server.services import Services


class Settlement:
    """One call's account. `usage` and `cost` are what it came to, for metrics, spans and the console."""

    __slots__ = ("_decision", "_done", "_services", "cost", "finish", "model", "upstream", "usage")

    def __init__(self, services: Services, decision: Decision) -> None:
        self._services = services
        self._decision = decision
        self._done = False
        self.usage: Usage | None = None
        self.cost: float | None = None
        self.upstream = ""
        self.model = ""
        self.finish: tuple[str, ...] = ()

    def served(self, upstream: str, model: str, usage: Usage, finish: tuple[str, ...] = ()) -> None:
        """It was answered: settle with what was used by whom. A call without a body (a stored reply, say) used nothing: its maker has paid."""
        usage = usage if self._decision.call.body is not None else Usage()
        self.upstream, self.model, self.usage, self.finish = upstream, model, usage, finish
        member = self._member()
        if member is not None and member.price_input is not None and member.price_output is not None:
            self.cost = usage.input_tokens * member.price_input + usage.output_tokens * member.price_output
        self._settle(quotas.settlement(self._decision, usage, member))

    def pending(self, upstream: str, model: str) -> None:
        """It is answered later (`background`), maybe never to us: what was reserved stays, only the slot goes back."""
        self.upstream, self.model = upstream, model
        self._settle({"concurrency": 0.0})

    def left(self, permit: Permit) -> None:
        """The client left before any answer: what was sent up is counted, for the provider worked on it; the first member stands for all."""
        member, call = permit.members[0], self._decision.call
        self.served(member.upstream, member.model, Usage(call.tokens, estimated=True))

    def refund(self) -> None:
        """It was not answered: tokens, dollars and the concurrency slot go back; the request stays counted."""
        self._settle(quotas.refund())

    def close(self) -> None:
        """At the end of the way, whatever happened before."""
        if not self._done:
            self.refund()

    def _settle(self, actual: dict[str, float]) -> None:
        if self._done:
            return
        self._done = True
        if self._decision.reservation:
            self._services.counters.settle(self._decision.reservation, actual, self._services.clock())
        self._services.settled(self._decision, actual)

    def _member(self) -> Member | None:
        permit = self._decision.permit
        members = permit.members if permit is not None else ()
        return next((m for m in members if m.upstream == self.upstream and m.model == self.model), None)
