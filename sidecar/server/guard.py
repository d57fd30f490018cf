"""Host and Origin: a request must name a host that is configured, and a browser's page must be one that is allowed.

Without this any web page could talk to a sidecar on loopback under its visitor's feet (DNS rebinding, cross-site requests).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.config.documents import Address, Settings

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Guard:
    """Checks of one port; the table is made once."""

    def __init__(self, settings: Settings, address: Address | None = None) -> None:
        listen = address or settings.listen
        self._hosts = LOOPBACK | {listen.host.lower(), *(host.lower() for host in listen.hosts)}
        self._origins = frozenset(origin.lower() for origin in listen.origins)

    def wrong(self, headers: Sequence[tuple[str, str]]) -> str:
        """What is wrong with them, or ""."""
        host = None
        for name, value in headers:
            if name == "host":
                host = value
            elif name == "origin" and value.lower() not in self._origins:
                return "this origin is not allowed"
        return "" if host is not None and self._known(host) else "this host is not configured"

    def _known(self, host: str) -> bool:
        name, colon, port = host.lower().rpartition(":")
        if not colon or host.endswith("]"):
            name, port = host.lower(), "0"
        return port.isdigit() and name.rstrip(".") in self._hosts
