"""THE way of one call, on one screen. Read this first; `evaluate/ladder.py` next.

bytes → codec → Call → gate.decide(ladder) → record → refuse, or Permit → core.send → screen → bytes → settle.
There is no `if protocol ==` here: what differs between dialects is in `wire/`, what differs between streams and whole
replies is in `server/relay.py` and `server/stream.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.errors import CallError, SidecarError
from sidecar.server import inbound, refuse
from sidecar.server.inbound import Read
from sidecar.server.relay import relay
from sidecar.server.settle import Settlement
from sidecar.server.turn import Turn

if TYPE_CHECKING:
    from sidecar.live import Active
    from sidecar.server.exchange import Exchange
    from sidecar.server.services import Services


class Way:
    """The data port's door: every byte that leaves went through `_go`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def serve(self, exchange: Exchange) -> None:
        """One call, from its bytes to its settlement. Never raises: what escapes is a bug, and the call is refused."""
        services = self._services
        active = services.active().pin()  # 1 pin one snapshot for the whole call
        services.enter(exchange)
        try:
            await self._go(exchange, active)
        except CallError as error:
            refuse.malformed(services, active, exchange, error)
        except SidecarError as error:
            refuse.failed(services, exchange, error)
        except ConnectionError:
            exchange.abort()
        except Exception as error:  # noqa: BLE001  the one boundary: a bug is loud and the call is refused
            refuse.bug(services, exchange, error)
        finally:
            services.leave(exchange)
            active.unpin()

    async def _go(self, exchange: Exchange, active: Active) -> None:
        services = self._services
        services.fit()  # is there room: many may have been admitted before the first of them counted
        read = inbound.read(exchange, services)  # 2 which language is spoken, 3 bytes → Call
        decision = await services.decide(active, read)  # 4 may it, and under which obligations
        turn = Turn(services, active, exchange, read, decision, Settlement(services, decision))
        try:
            services.record(active, read, decision)  # 5 written before anything leaves
            if decision.refusal is not None:
                turn.finished(turn.refuse(decision.refusal))  # 6 a no, in the caller's own dialect
            else:
                await relay(turn)  # 7 only a Permit can be sent, 8 screened, settled
        finally:
            turn.settlement.close()  # 9 whichever way it went: what was reserved and not used is given back

    def admit(self, method: str, target: str, headers: list[tuple[str, str]]) -> tuple[int, list[tuple[str, str]], bytes] | None:
        """Before the body is read: Host, Origin, capacity. None lets it come."""
        return refuse.early(self._services, method, target, headers)

    def refuse(self, method: str, target: str, headers: list[tuple[str, str]], error: CallError) -> tuple[int, list[tuple[str, str]], bytes]:
        """For the listener: what is no call (framing, size, time), in the dialect of its path's prefix."""
        return refuse.unread(self._services, method, target, headers, error)


__all__ = ["Read", "Way"]
