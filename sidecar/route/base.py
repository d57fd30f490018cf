"""What a routing core is: it takes a `Permit` and brings back a `Reply`. It may not leave the permit's members.

The same gates run whichever core is configured. One core per file, one line in the table of `route/__init__.py`; a
user's own comes by entry point (group `sidecar.cores`), loaded only when a document names it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sidecar.value import value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.call import Call
    from sidecar.decision import Permit


class Body(Protocol):
    """A reply body that is pulled, so that a slow reader slows the upstream."""

    async def chunk(self) -> bytes:
        """The next bytes; `b""` at the end. Raises UpstreamError."""
        ...

    async def read(self, limit: int) -> bytes:
        """All of it. Raises UpstreamGarbage past `limit`."""
        ...

    def close(self) -> None:
        """Let go: the upstream call is closed unless it has ended. Idempotent."""
        ...


@value
class Reply:
    """The head of an answer, and its body. `upstream` and `model` name what served; header names are lower-case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: Body
    upstream: str
    model: str
    attempts: int = 1

    def header(self, name: str) -> str:
        """The first value of a header, or ""."""
        return next((value for key, value in self.headers if key == name), "")


class RoutingCore(Protocol):
    """A way to the upstreams."""

    async def send(self, permit: Permit) -> Reply:
        """Redeem the permit and send its bytes. Raises UpstreamError, PermitError. Never retries after a first byte."""
        ...

    def carries(self, call: Call) -> bool:
        """Whether obligations on this call (route, model) can be honoured by this core."""
        ...

    def health(self) -> Mapping[str, str]:
        """Upstream name to closed | open | half_open, for metrics."""
        ...

    async def close(self) -> None:
        """Close pools."""
        ...
