"""The core that goes straight to the providers: choose a member, try it, fall back, give up in time.

Never after a first byte: a retry happens only while nothing of an answer was handed on, and only for a failure that
another attempt may mend (no connection, 429, 500, 502, 503, 529), within the attempts of the Upstream and a budget that
is a share of its calls, so that retries cannot multiply an outage.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from sidecar.errors import UpstreamError, UpstreamUnreachable
from sidecar.route.breaker import Budget
from sidecar.route.strategy import STRATEGIES, share

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from sidecar.call import Call, Member
    from sidecar.decision import Permit
    from sidecar.route.base import Reply
    from sidecar.route.lane import Clocks, Lane

AGAIN = frozenset({429, 500, 502, 503, 529})
"""Answers that another attempt may better (529 is Anthropic's «overloaded»)."""
PAUSE, LONGEST = 0.1, 2.0
"""Seconds before the same member is tried again: doubled each time, drawn between half and whole, never longer than LONGEST."""


class DirectCore:
    """Sends permits to lanes. `strategy` tells the strategy for a dialect and an asked target; `trace` the `traceparent` of a call.

    `draw` gives numbers in [0, 1); with `sticky` weighted choices are drawn from the principal instead, so that one caller
    stays with one member. `passthrough` gives the caller's own credential for upstreams that ask for it.
    """

    def __init__(
        self,
        lanes: Mapping[str, Lane],
        clocks: Clocks,
        *,
        draw: Callable[[], float],
        strategy: Callable[[str, str], str],
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

    async def _tried(self, permit: Permit, pending: list[Member]) -> Reply:
        first = self._lanes[pending[0].upstream]
        self._budgets[first.name].pay(first.retry.budget)
        member, made = pending.pop(0), 0
        while True:
            made += 1
            try:
                reply = await self._attempt(permit, member)
            except UpstreamError as error:
                turn = self._turn(first, member, pending, made) if error.retryable else None
                if turn is None:
                    raise
            else:
                turn = self._turn(first, member, pending, made, _asked(reply)) if reply.status in AGAIN else None
                if turn is None:
                    return replace(reply, attempts=made) if made > 1 else reply
                reply.body.close()
            member, pause = turn
            if pause:
                await self._sleep(pause)

    async def _attempt(self, permit: Permit, member: Member) -> Reply:
        lane = self._lanes[member.upstream]
        passed = self._passthrough(permit) if lane.passthrough else None
        return await lane.attempt(permit.payload(member), member, trace=self._trace(permit.call), passed=passed)

    def _turn(self, first: Lane, member: Member, pending: list[Member], made: int, asked: float = 0.0) -> tuple[Member, float] | None:
        """Who is tried next and after how many seconds, or None: another member at once, else the same one after a pause.

        `made` counts attempts so far; `asked` is the pause that the upstream itself asked for.
        """
        if made >= first.retry.attempts:
            return None
        while pending and not self._lanes[pending[0].upstream].ready():
            pending.pop(0)
        if pending:
            return (pending.pop(0), 0.0) if self._budgets[first.name].take() else None
        pause = max(asked, min(LONGEST, PAUSE * 2 ** (made - 1)) * (0.5 + self._draw() / 2))
        if pause > LONGEST or not self._lanes[member.upstream].ready():
            return None
        return (member, pause) if self._budgets[first.name].take() else None

    def _ordered(self, permit: Permit) -> tuple[Member, ...]:
        members, call = permit.members, permit.call
        if len(members) == 1:
            return members
        draw = (lambda: share(permit.principal.id)) if self._sticky else self._draw
        return STRATEGIES[self._strategy(self._lanes[members[0].upstream].family, call.target)](members, call, self, draw)

    # ------------------------------------------------------------ strategy.View

    def busy(self, member: Member) -> int:
        """Calls under way at the member's upstream."""
        return self._lanes[member.upstream].busy

    def latency(self, member: Member) -> float:
        """Smoothed seconds to the head of an answer."""
        return self._lanes[member.upstream].latency(member.model)

    # ------------------------------------------------------------ RoutingCore

    def carries(self, _call: Call) -> bool:
        """Every obligation: members are chosen here."""
        return True

    def health(self) -> Mapping[str, str]:
        """Breaker state by upstream."""
        return {name: lane.state() for name, lane in self._lanes.items()}

    async def close(self) -> None:
        """The channel and its pools belong to the process: connections outlive a configuration."""


def _asked(reply: Reply) -> float:
    """Seconds of a Retry-After in its numeric form; a date asks for longer than any pause we make."""
    value = reply.header("retry-after").strip()
    if not value:
        return 0.0
    return float(value) if value.isascii() and value.isdigit() else LONGEST + 1
