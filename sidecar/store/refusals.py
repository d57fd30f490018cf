"""How often somebody was refused: refusals cost nothing from any quota, so that probing would be free without this.

Its counterpart is `limits.refusals` of Settings. Counted per (principal, source address); whoever is not known counts by the
source alone. Bounded: the one that was refused longest ago is forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict

from sidecar.store.counters import Sliding, fits

MINUTE = 60.0
SLICES = 12
"""Coarser than a quota, because an attacker chooses how many of these there are: the resolution is 5 s."""


class Refusals:
    """At most `per_minute` refusals in any minute for each caller; 0 switches it off. Keeps the last `most` callers. O(1)."""

    def __init__(self, per_minute: int, *, most: int = 4096) -> None:
        self._limit = float(per_minute)
        self._most = most
        self._seen: OrderedDict[tuple[str, str], Sliding] = OrderedDict()

    def hit(self, principal: str, source: str, now: float) -> float | None:
        """Count one refusal. None while within the limit, else the seconds after which one more is (that one is not counted)."""
        if not self._limit:
            return None
        counter = self._counter((principal, source))
        if not fits(counter.used(now), 1.0, self._limit):
            return counter.wait(1.0, self._limit, now)
        counter.add(1.0)
        return None

    def _counter(self, who: tuple[str, str]) -> Sliding:
        counter = self._seen.get(who)
        if counter is None:
            counter = self._seen[who] = Sliding(MINUTE, SLICES)
            if len(self._seen) > self._most:
                self._seen.popitem(last=False)
        else:
            self._seen.move_to_end(who)
        return counter

    def __len__(self) -> int:
        return len(self._seen)
