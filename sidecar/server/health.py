"""The health port: `/healthz`, `/readyz` (one word each) and `/metrics`, nothing else. Why not ready is told on the admin port."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import TYPE_CHECKING

from sidecar.server.guard import Guard

if TYPE_CHECKING:
    from sidecar.errors import CallError
    from sidecar.server.app import Sidecar
    from sidecar.server.exchange import Exchange

PLAIN = [("content-type", "text/plain; charset=utf-8")]
METRICS = [("content-type", "text/plain; version=0.0.4; charset=utf-8")]


class Health:
    """Its door. A scrape is rendered in a thread: it must not delay a call."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar
        self._guard = Guard(sidecar.settings, sidecar.settings.health)

    async def serve(self, exchange: Exchange) -> None:
        """Answer one probe."""
        path = exchange.target.partition("?")[0]
        if exchange.method not in {"GET", "HEAD"}:
            exchange.respond(405, [*PLAIN, ("allow", "GET, HEAD")], b"method not allowed\n")
        elif path == "/healthz":
            exchange.respond(200, PLAIN, b"ok\n")
        elif path == "/readyz":
            word = self._readiness()
            exchange.respond(503 if word == "unready" else 200, PLAIN, f"{word}\n".encode())
        elif path == "/metrics":
            self._sidecar.sample()
            exchange.respond(200, METRICS, await asyncio.to_thread(self._sidecar.metrics.render))
        else:
            exchange.respond(404, PLAIN, b"not found\n")

    def _readiness(self) -> str:
        """`stale`: it serves, under the last good configuration. No 503, or a typing mistake would take a whole fleet out."""
        if not self._sidecar.ready or self._sidecar.services.recorder.down:
            return "unready"
        return "ready" if self._sidecar.live.outcome.healthy else "stale"

    def admit(self, method: str, target: str, headers: list[tuple[str, str]]) -> tuple[int, list[tuple[str, str]], bytes] | None:
        """Host and Origin, as on every port. Kubernetes probes name the pod's address, so a literal address is a known host here."""
        wrong = self._guard.wrong([(name, "localhost" if name == "host" and _literal(value) else value) for name, value in headers])
        return (403, PLAIN, wrong.encode() + b"\n") if wrong else None

    def refuse(self, method: str, target: str, headers: list[tuple[str, str]], error: CallError) -> tuple[int, list[tuple[str, str]], bytes]:
        """What is no request."""
        return error.status, PLAIN, error.message.encode() + b"\n"


def _literal(host: str) -> bool:
    """Whether it is an address, with or without a port: no page can make a browser send that under a name of its own."""
    bare = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        return False
    return True
