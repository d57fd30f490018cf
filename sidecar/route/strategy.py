"""In which order the members of a permit are tried. Pure: loads, latencies and chance are handed in.

The first of the order is the choice, the rest are where a failure falls back to. A strategy orders members and never drops
one, so it can't widen or narrow what was decided.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sidecar.call import Call, Member

Order = tuple["Member", ...]


class View(Protocol):
    """What strategies may know of the upstreams now."""

    def busy(self, member: Member) -> int:
        """Calls under way at the member's upstream."""
        ...

    def latency(self, member: Member) -> float:
        """Seconds to the head of an answer, smoothed, fading towards 0 while unused; 0 where nothing is known."""
        ...


Strategy = "Callable[[Sequence[Member], Call, View, Callable[[], float]], Order]"


def priority(members: Sequence[Member], _call: Call, _view: View, _draw: Callable[[], float]) -> Order:
    """As the route lists them."""
    return tuple(members)


def weighted(members: Sequence[Member], _call: Call, _view: View, draw: Callable[[], float]) -> Order:
    """By chance, each in proportion to its weight, and so on among the rest. Weight 0 serves only when all others failed."""
    rest, order = list(members), []
    while rest:
        total = sum(member.weight for member in rest)
        order.append(rest.pop(_drawn(rest, draw() * total) if total else 0))
    return tuple(order)


def _drawn(members: Sequence[Member], point: float) -> int:
    """Whose share of the line the point falls on."""
    for index, member in enumerate(members):
        point -= member.weight
        if point < 0 and member.weight:
            return index
    return max(index for index, member in enumerate(members) if member.weight)  # rounding put the point past the end


def least_busy(members: Sequence[Member], _call: Call, view: View, draw: Callable[[], float]) -> Order:
    """Fewest calls under way first; equals by chance, or an idle fleet would send everything to the first."""
    return _by(members, view.busy, draw)


def lowest_latency(members: Sequence[Member], _call: Call, view: View, draw: Callable[[], float]) -> Order:
    """Fastest to answer first. What was not measured, or not for long, counts as fast and so gets measured."""
    return _by(members, view.latency, draw)


def lowest_cost(members: Sequence[Member], call: Call, _view: View, _draw: Callable[[], float]) -> Order:
    """Cheapest for this call first, by its input and the output it may ask for; equals as listed, unknown prices last."""
    output = call.max_output if call.max_output is not None else call.tokens
    return tuple(sorted(members, key=lambda member: cost(member, call.tokens, output)))


def cost(member: Member, input_tokens: int, output_tokens: int) -> float:
    """Dollars; infinite where a price is not known."""
    if member.price_input is None:
        return float("inf")
    return input_tokens * member.price_input + output_tokens * (member.price_output or 0.0)


def _by(members: Sequence[Member], measure: Callable[[Member], float], draw: Callable[[], float]) -> Order:
    ranked = sorted(((measure(member), draw(), index) for index, member in enumerate(members)))
    return tuple(members[index] for _, _, index in ranked)


STRATEGIES: Mapping[str, Callable[[Sequence[Member], Call, View, Callable[[], float]], Order]] = {
    "priority": priority,
    "weighted": weighted,
    "least_busy": least_busy,
    "lowest_latency": lowest_latency,
    "lowest_cost": lowest_cost,
}
"""The visible table; a Route names one."""


def share(name: str) -> float:
    """A number in [0, 1) that is always the same for the same name: a weighted choice drawn with it is sticky."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big") / 2**48
