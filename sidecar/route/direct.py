"""The core that goes straight to the providers: choose a member, try it, fall back, give up in time.

Never after a first byte: a retry happens only while nothing of an answer was handed on, and only for a failure that
another attempt may mend (no connection, 429, 500, 502, 503, 529), within the attempts of the Upstream and a budget that
is a share of its calls, so that retries cannot multiply an outage.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sidecar.errors import UpstreamError, UpstreamUnreachable
from sidecar.route.breaker import Budget
from sidecar.route.strategy import STRATEGIES, share

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from sidecar.call import Call, Member
    from sidecar.decision import Permit
    from sidecar.route.base import Reply
    from sidecar.route.lane import Clocks, Lane

AGAIN = frozenset({429, 500, 502, 503, 529})
"""Answers that another attempt may better (529 is Anthropic's «overloaded»)."""
PAUSE, LONGEST = 0.1, 2.0
"""Seconds before the same member is tried again: doubled each time, drawn between half and whole, never longer than LONGEST."""


class DirectCore:
    """Sends permits to lanes. `strategy` tells the strategy for an asked target; `trace` the `traceparent` of a call.

    `draw` gives numbers in [0, 1); with `sticky` weighted choices are drawn from the principal instead, so that one caller
    stays with one member. `passthrough` gives the caller's own credential for upstreams that ask for it.
    """

    def __init__(
        self,
        lanes: Mapping[str, Lane],
        clocks: Clocks,
        *,
        draw: Callable[[], float],
        strategy: Callable[[str], str],
        trace: Callable[[Call], str],
        passthrough: Callable[[Permit], str | None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        sticky: bool = False,
    ) -> None:
        self._lanes = lanes
        self._clocks = clocks
        self._draw = draw
        self._strategy = strategy
        self._trace = trace
        self._passthrough = passthrough
        self._sleep = sleep
        self._sticky = sticky
        self._budgets = {name: Budget() for name in lanes}

    async def send(self, permit: Permit) -> Reply:
        """Redeem the permit and bring back a reply. Raises PermitError, UpstreamError."""
        permit.redeem(self._clocks.wall())
        order = [member for member in self._ordered(permit) if self._lanes[member.upstream].ready()]
        if not order:
            raise UpstreamUnreachable("every upstream of this call failed lately and is being left alone")
        return await self._tried(permit, order)

    async def _tried(self, permit: Permit, order: list[Member]) -> Reply:
        first = self._lanes[order[0].upstream]
        budget, attempts = self._budgets[first.name], first.retry.attempts
        budget.pay(first.retry.budget)
        turns = self._turns(order)
        member, wait = next(turns)
        for number in range(1, attempts + 1):
            following = next(turns, None) if number < attempts else None
            try:
                reply = await self._attempt(permit, member)
            except UpstreamError as error:
                if following is None or not error.retryable or not budget.take():
                    raise
            else:
                if following is None or reply.status not in AGAIN or self._pointless(reply, following) or not budget.take():
                    return _counted(reply, number)
                reply.body.close()
            member, wait = following
            if wait:
                await self._sleep(wait)
        raise UpstreamUnreachable("no attempt was made")  # attempts ≥ 1 by the documents' schema
