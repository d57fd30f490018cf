"""How the middle asks the rim. A stage is a generator that yields a `Need` and is sent its answer.

`gate.py` answers from real stores; `sidecar test` and `explain` answer from data. An outage comes back as the value
`Unavailable`; looking at a reply without handling it does not type-check, and its truth value raises.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

from sidecar.value import value

if TYPE_CHECKING:
    from sidecar.principal import Presented, Principal, Source


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A dependency did not answer. `what` names it (a store, an issuer), never content."""

    what: str

    def __bool__(self) -> bool:
        raise TypeError("an outage is neither true nor false: handle Unavailable")


@value
class Verify:
    """Who is this? Answered with `Principal | Unauthenticated | Unavailable`."""

    presented: tuple[Presented, ...]
    source: Source


@dataclass(frozen=True, slots=True)
class Unauthenticated:
    """No, and why: a short sentence without the credential in it."""

    reason: str


@value
class Reservation:
    """One quota counter to reserve from.

    `counter` is unique to (document, limit index, key values): two limits never share one. `metric` is
    requests | input_tokens | output_tokens | tokens | cost_usd | concurrency. `window` is seconds of a sliding window,
    or `day:<zone>` / `month:<zone>` for a calendar window; 0 for concurrency.
    """

    counter: str
    metric: str
    amount: float
    limit: float
    window: float | str
    rule: str
    """The document that set it, for the refusal: `team-budget`."""


@value
class Reserve:
    """Take all or none. Answered with `Reserved | Exhausted | Unavailable`."""

    call_id: str
    items: tuple[Reservation, ...]
    now: float


@value
class Level:
    """A counter's state after the answer: for rate headers."""

    counter: str
    metric: str
    limit: float
    remaining: float
    reset_after: float
    """Seconds until the window frees something (sliding) or ends (calendar)."""
    window: float
    """Seconds of the window, for the IETF `w`."""
    rule: str


@value
class Reserved:
    """Granted. `token` is handed to settle or release."""

    token: str
    levels: tuple[Level, ...]


@value
class Exhausted:
    """Refused: which counter, and after how many seconds the same amount would fit (None: waiting does not help)."""

    level: Level
    retry_after: float | None
    levels: tuple[Level, ...] = ()


@value
class OwnerOf:
    """Who owns this provider-minted id? Answered with `Owned | None | Unavailable`."""

    kind: str
    id: str


@dataclass(frozen=True, slots=True)
class Owned:
    """The owner on record, and where the id lives."""

    principal: str
    upstream: str


Need = Verify | Reserve | OwnerOf
T = TypeVar("T")
Steps = Generator[Need, object, T]


def verify(need: Verify) -> Steps[Principal | Unauthenticated | Unavailable]:
    """Ask who this is."""
    return cast("Principal | Unauthenticated | Unavailable", (yield need))


def reserve(need: Reserve) -> Steps[Reserved | Exhausted | Unavailable]:
    """Ask for quota."""
    return cast("Reserved | Exhausted | Unavailable", (yield need))


def owner_of(need: OwnerOf) -> Steps[Owned | Unavailable | None]:
    """Ask whose id this is."""
    return cast("Owned | Unavailable | None", (yield need))
