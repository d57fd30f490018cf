"""From an `Exchange` to a `Call`: find the dialect, read the body, note who claims to ask. Raises CallError on what it cannot read.

What comes out is judged and sent; the caller's bytes are not looked at again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from sidecar import wire
from sidecar.server import presented
from sidecar.telemetry import tracing
from sidecar.wire import paths
from sidecar.wire.base import WireRequest

if TYPE_CHECKING:
    from sidecar.call import Call
    from sidecar.principal import Presented, Source
    from sidecar.server.exchange import Exchange
    from sidecar.server.services import Services
    from sidecar.telemetry.tracing import Context
    from sidecar.wire.base import Codec

REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


class Read(NamedTuple):
    """One call as it was read. `started` is nanoseconds of the monotonic clock."""

    codec: Codec
    call: Call
    presented: tuple[Presented, ...]
    request_id: str
    started: int


def read(exchange: Exchange, services: Services) -> Read:
    """The call in an exchange. Raises CallError."""
    started = services.monotonic()
    path, query = paths.canonical(exchange.target)
    codec, parts = wire.match(exchange.method, path)
    request = WireRequest(exchange.method, path, query, exchange.headers, exchange.body)
    call = codec.read_call(services.new_id(), request, parts)
    _came(call, presented.source(exchange, services.proxies), _trace(exchange))
    return Read(codec, call, presented.credentials(exchange, query), request_id(exchange.headers, call.id), started)


def _came(call: Call, source: Source, trace: Context | None) -> None:
    """Finish a call that nobody else has seen yet: a copy of its 25 fields would cost more than reading them did."""
    object.__setattr__(call, "source", source)
    object.__setattr__(call, "trace", trace)


def request_id(headers: list[tuple[str, str]], fallback: str) -> str:
    """The caller's own request id where it is a plain token, else ours."""
    for name, value in headers:
        if name == "x-request-id":
            return value if REQUEST_ID.match(value) else fallback
    return fallback


def _trace(exchange: Exchange) -> Context | None:
    for name, value in exchange.headers:
        if name == "traceparent":
            return tracing.parse(value)
    return None
