"""Answers the needs of the evaluator from the real stores. Its counterparts in `workbench/` answer them from data.

This is where an outage becomes the value `Unavailable`: a deadline that passed or a store that failed is not an exception to
anyone below. It knows nothing of HTTP and nothing of what the answers mean.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from sidecar.need import Exhausted, Need, Owned, OwnerOf, Reserve, Reserved, Steps, Unauthenticated, Unavailable, Verify
from sidecar.principal import Presented, Principal, Source

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

T = TypeVar("T")
READY = (Principal, Unauthenticated, Unavailable, Reserved, Exhausted)
"""Answers that are at hand. Anything else is to be awaited (asking an ABC costs more than the decision's conditions)."""
DEADLINE = 10.0
"""Seconds any one need may take. Only a key set that must be fetched ever takes more than a moment."""


class Verifier(Protocol):
    """`credentials.Authenticator`."""

    def verify(
        self, presented: tuple[Presented, ...], source: Source, now: float
    ) -> Principal | Unauthenticated | Unavailable | Awaitable[Principal | Unauthenticated | Unavailable]: ...


class Counters(Protocol):
    """`store.memory.MemoryStore`."""

    def reserve(self, need: Reserve) -> Reserved | Exhausted | Unavailable: ...
    def settle(self, token: str, actual: Mapping[str, float], now: float) -> None: ...


class Owners(Protocol):
    """`store.owners`."""

    async def get(self, kind: str, id: str) -> Owned | Unavailable | None: ...
    async def put(self, kind: str, id: str, principal: str, upstream: str) -> Owned | Unavailable: ...


@dataclass(frozen=True, slots=True)
class Gate:
    """The rim's answers for one snapshot."""

    verifier: Verifier
    counters: Counters
    owners: Owners

    def answer(self, need: Need, now: float) -> object:
        """The answer, or an awaitable of it."""
        if isinstance(need, Verify):
            return self.verifier.verify(need.presented, need.source, now)
        if isinstance(need, Reserve):
            return self.counters.reserve(need)
        return self.owners.get(need.kind, need.id)

    async def drive(self, steps: Steps[T], now: float) -> T:
        """Run a decision to its end."""
        answer: object = None
        while True:
            try:
                need = steps.send(answer)
            except StopIteration as stop:
                return cast("T", stop.value)
            answer = self.answer(need, now)
            if not isinstance(answer, READY):
                answer = await within(cast("Awaitable[object]", answer), need)


async def within(answer: Awaitable[object], need: Need) -> object:
    """Wait for a slow answer, but not for ever: a deadline that passed is an outage."""
    try:
        async with asyncio.timeout(DEADLINE):
            return await answer
    except TimeoutError:
        return Unavailable(_named(need))


def _named(need: Need) -> str:
    return f"owners of {need.kind}" if isinstance(need, OwnerOf) else type(need).__name__.lower()
