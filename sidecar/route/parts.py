"""What a core is made of, and how the built-in ones are put together from it. A user's own core gets the same `Parts`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sidecar.errors import ConfigError
from sidecar.route import credential
from sidecar.route.delegate import DelegateCore
from sidecar.route.dial import echoing, over
from sidecar.route.direct import DirectCore
from sidecar.route.echo import EchoCore
from sidecar.route.lane import Clocks, Lane

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from sidecar.call import Call
    from sidecar.config import documents
    from sidecar.decision import Permit
    from sidecar.route.channel import Channel
    from sidecar.route.dial import Dial

ECHO = "echo:"
"""The URL of an Upstream that the embedded stand-in serves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """All a core may need. `wall` gives Unix seconds, `steady` seconds that only move forward, `draw` numbers in [0, 1).

    `strategy` tells the strategy of the route for a dialect and an asked target, `trace` the `traceparent` of a call, `passthrough` the caller's
    own credential (asked for where an Upstream says so), `on_attempt` hears (upstream, outcome, nanoseconds).
    """

    upstreams: Mapping[str, documents.Upstream]
    strategy: Callable[[str, str], str]
    delegate: str
    channel: Channel
    environ: Mapping[str, str]
    wall: Callable[[], float]
    steady: Callable[[], float]
    draw: Callable[[], float]
    trace: Callable[[Call], str]
    passthrough: Callable[[Permit], str | None]
    on_attempt: Callable[[str, str, int], None] | None = None
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    @property
    def clocks(self) -> Clocks:
        """Both clocks."""
        return Clocks(self.wall, self.steady)

    def lane(self, name: str, upstream: documents.Upstream, dial: Dial) -> Lane:
        """An upstream behind this way of dialling."""
        value = credential.source(upstream.credential, self.environ, self.steady)
        return Lane(name, upstream, dial, self.clocks, value=value, on_attempt=self.on_attempt)


def direct(parts: Parts) -> DirectCore:
    """`core: direct`. Raises ConfigError for a URL that cannot be read."""
    lanes = {name: parts.lane(name, upstream, _dial(parts, name, upstream)) for name, upstream in parts.upstreams.items()}
    return DirectCore(lanes, parts.clocks, draw=parts.draw, strategy=parts.strategy, trace=parts.trace, passthrough=parts.passthrough, sleep=parts.sleep)


def delegate(parts: Parts) -> DelegateCore:
    """`core: delegate`. Raises ConfigError where Settings name no gateway."""
    if not parts.delegate:
        raise ConfigError("`core: delegate` needs `delegate:`, the base URL of the gateway")
    lanes = {name: parts.lane(name, upstream, over(parts.channel, "delegate", parts.delegate, upstream)) for name, upstream in parts.upstreams.items()}
    return DelegateCore(lanes, parts.clocks, trace=parts.trace, passthrough=parts.passthrough)


def echo(parts: Parts) -> EchoCore:
    """`core: echo`."""
    return EchoCore(parts.wall)


def _dial(parts: Parts, name: str, upstream: documents.Upstream) -> Dial:
    return echoing(parts.wall) if upstream.url.startswith(ECHO) else over(parts.channel, name, upstream.url, upstream)
