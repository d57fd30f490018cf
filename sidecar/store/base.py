"""What a store is, as its users see it. One file per store, one line in the tables of `store/__init__.py`.

An outage of a store is the value `need.Unavailable`, never an exception.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.need import Exhausted, Owned, Reserve, Reserved, Unavailable


class CounterStore(Protocol):
    """Counters of quotas."""

    def reserve(self, need: Reserve) -> Reserved | Exhausted | Unavailable:
        """Take every item or none."""
        ...

    def settle(self, token: str, actual: Mapping[str, float], now: float) -> None:
        """Replace what was reserved by what was used (metric to amount); the second time it does nothing."""
        ...


class OwnerStore(Protocol):
    """Who made the ids that providers mint. Insert-only: the first owner stays."""

    async def open(self) -> Unavailable | None:
        """Make it ready; None where it is. Every other method opens by itself."""
        ...

    async def put(self, kind: str, id: str, principal: str, upstream: str) -> Owned | Unavailable:
        """Record an owner and return the one on record, which is another where somebody came first."""
        ...

    async def get(self, kind: str, id: str) -> Owned | Unavailable | None:
        """The owner on record; None where there is none."""
        ...

    async def close(self) -> None:
        """Let go of files and threads."""
        ...
