"""The two ways a lane reaches what it stands for: over the channel to an address, or to the embedded echo.

A dial takes the exact bytes for a member and all headers, and gives the head of the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from sidecar.route import urls
from sidecar.route.channel import Endpoint
from sidecar.route.echo import EchoBody, answer
from sidecar.route.echo_script import Memory

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sidecar.call import Outgoing
    from sidecar.config import documents
    from sidecar.route.channel import Channel
    from sidecar.route.lane import Headers, Inbound

    Dial = Callable[[Outgoing, Headers], Awaitable[Inbound]]


def endpoint(name: str, url: str, upstream: documents.Upstream) -> Endpoint:
    """Where to connect. Raises ConfigError for a URL that cannot be read."""
    base = urls.read(url)
    return Endpoint(upstream=name, scheme=base.scheme, host=base.host, port=base.port, allowed=upstream.addresses, tls=upstream.tls)


def over(channel: Channel, name: str, url: str, upstream: documents.Upstream) -> Dial:
    """Over the network. Raises ConfigError for a URL that cannot be read."""
    where, prefix, timeouts = endpoint(name, url, upstream), urls.read(url).prefix, upstream.timeouts

    def dial(out: Outgoing, headers: Headers) -> Awaitable[Inbound]:
        return channel.send(where, out.method, prefix + out.path, headers, out.body, timeouts)

    return dial


class EchoInbound(EchoBody):
    """An answer of the echo, as the channel would give it."""

    __slots__ = ("headers", "status")

    def __init__(self, status: int, body: bytes | tuple[bytes, ...]) -> None:
        super().__init__(body)
        self.status = status
        self.headers: Headers = (("content-type", "application/json" if isinstance(body, bytes) else "text/event-stream"),)


def echoing(wall: Callable[[], float]) -> Dial:
    """To an echo of its own. `wall` gives Unix seconds."""
    memory = Memory(run=f"{int(wall() * 1000):x}")

    async def dial(out: Outgoing, _headers: Headers) -> Inbound:
        said = answer(out.method, out.path, orjson.loads(out.body) if out.body else {}, memory, wall())
        return EchoInbound(said.status, said.body)

    return dial
