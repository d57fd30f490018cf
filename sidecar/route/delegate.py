"""The core that hands every permit whole to one other gateway (a LiteLLM proxy, say), which routes as it pleases.

So it cannot keep a promise about upstreams: with a `route` obligation, or any narrowing of who may serve, the call is
denied at load (`carries`) and again here, should one come all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.errors import CannotCarry, UpstreamUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sidecar.call import Call
    from sidecar.decision import Permit
    from sidecar.route.base import Reply
    from sidecar.route.lane import Clocks, Lane


class DelegateCore:
    """One gateway for all. `lanes` hold each Upstream's dialect, credential and headers, and all dial the same address."""

    def __init__(self, lanes: Mapping[str, Lane], clocks: Clocks, *, trace: Callable[[Call], str], passthrough: Callable[[Permit], str | None]) -> None:
        self._lanes = lanes
        self._clocks = clocks
        self._trace = trace
        self._passthrough = passthrough

    async def send(self, permit: Permit) -> Reply:
        """Redeem the permit and hand its bytes on, once. Raises PermitError, CannotCarry, UpstreamError."""
        permit.redeem(self._clocks.wall())
        if permit.members != permit.call.members:
            raise CannotCarry("another gateway serves this call, and which upstream it takes cannot be held to what was decided")
        member = permit.members[0]
        lane = self._lanes[member.upstream]
        if not lane.ready():
            raise UpstreamUnreachable("the gateway failed lately and is being left alone")
        passed = self._passthrough(permit) if lane.passthrough else None
        return await lane.attempt(permit.payload(member), member, trace=self._trace(permit.call), passed=passed)

    def carries(self, _call: Call) -> bool:
        """Nothing about who serves: obligations on the route or the model are not for this core."""
        return False

    def health(self) -> Mapping[str, str]:
        """Breaker state by Upstream."""
        return {name: lane.state() for name, lane in self._lanes.items()}

    async def close(self) -> None:
        """The channel belongs to the process."""
