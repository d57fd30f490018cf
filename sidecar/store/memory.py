"""Quota counters in this process. Its counterpart is `need.Reserve`; what is counted and for whom it does not know.

One event loop uses it, and no method awaits: a reservation is all or none without a lock. Memory is bounded: counters that hold
nothing are forgotten a few at a time (a clock hand), there is a most, and what is never settled expires.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from sidecar.need import Exhausted, Level, Reservation, Reserve, Reserved, Unavailable
from sidecar.store.counters import SLACK, Counter, Slot, fits, make

if TYPE_CHECKING:
    from collections.abc import Mapping

FULL = Unavailable("quota counters: too many keys")
EVERY = 5.0
"""Seconds between two rounds of forgetting."""
STEPS = 256
"""Counters looked at in such a round; two more whenever one is made, 64 when there is no room."""
Key = tuple[str, str, float | str]
Pending = tuple[float, list[tuple[Counter, Slot, Reservation]]]
"""When it expires, and what to correct."""


class Stats(NamedTuple):
    """For metrics: counters kept, reservations not settled, reservations refused for want of room, reservations that expired."""

    counters: int
    pending: int
    refused: int
    expired: int


class MemoryStore:
    """Reserve before, settle after.

    `max_counters` bounds the counters that hold something; past it a reservation that needs a new one is `Unavailable`.
    `hold` is how long, in seconds, a reservation waits for its settlement: after it, concurrency is given back, other amounts
    stay taken at their upper bound, and a later settlement is ignored.
    """

    def __init__(self, *, max_counters: int = 100_000, hold: float = 6 * 3600.0) -> None:
        self._counters: dict[Key, Counter] = {}
        self._ring: deque[Key] = deque()
        self._pending: dict[str, Pending] = {}
        self._max = max_counters
        self._hold = hold
        self._next = 0.0
        self._serial = 0
        self._refused = 0
        self._expired = 0
        self.reserved: dict[str, float] = {}
        """Amounts taken so far, by metric."""
        self.settled: dict[str, float] = {}
        """Amounts that were settled for, by metric: what was used, or what was reserved where nobody said."""

    def reserve(self, need: Reserve) -> Reserved | Exhausted | Unavailable:
        """Take every item or none. An amount over its limit, negative or NaN is Exhausted without `retry_after`.

        Waiting `retry_after` makes the same reservation fit if nobody else takes any (concurrency: a hint of one second).
        """
        now = need.now
        if now >= self._next:
            self.sweep(now)
        counters = self._counters
        found: list[tuple[Counter, float]] = []
        fresh = 0
        for item in need.items:
            counter = counters.get((item.counter, item.metric, item.window))
            if counter is None:
                counter = make(item.metric, item.window, now)
                fresh += 1
            # written out: `fits` costs a call per item
            after = counter.used(now) + item.amount
            if not (item.amount >= 0.0 and after <= item.limit * SLACK):
                return self._exhausted(need)
            found.append((counter, after))
        if fresh and not self._admit(need, found, fresh):
            self._refused += 1
            return FULL
        return self._take(need, found)

    def _take(self, need: Reserve, found: list[tuple[Counter, float]]) -> Reserved:
        now = need.now
        marks, levels, totals = [], [], self.reserved
        for (counter, after), item in zip(found, need.items, strict=True):
            totals[item.metric] = totals.get(item.metric, 0.0) + item.amount
            marks.append((counter, counter.add(item.amount), item))
            levels.append(_level(counter, item, after, now))
        self._serial += 1
        token = f"{need.call_id}.{self._serial}"
        self._pending[token] = (now + self._hold, marks)
        return Reserved(token, tuple(levels))

    def _admit(self, need: Reserve, found: list[tuple[Counter, float]], fresh: int) -> bool:
        """Keep the new counters, if there is room for all of them. Raises ValueError where one reservation names one twice."""
        self._forget(need.now, 2 * fresh)
        if len(self._counters) + fresh > self._max:
            self._forget(need.now, 64)
        if len(self._counters) + fresh > self._max:
            return False
        for item, (counter, _) in zip(need.items, found, strict=True):
            key = (item.counter, item.metric, item.window)
            if key not in self._counters:  # new, or just forgotten because it was idle
                self._counters[key] = counter
                self._ring.append(key)
            elif self._counters[key] is not counter:
                raise ValueError(f"two limits share the counter `{item.counter}`")
        return True

    def _exhausted(self, need: Reserve) -> Exhausted:
        """Every level as it stands, and the limit that takes longest; one that waiting does not help beats all."""
        worst: tuple[float, Level, float | None] | None = None
        levels = []
        for item in need.items:
            counter = self._counters.get((item.counter, item.metric, item.window)) or make(item.metric, item.window, need.now)
            used = counter.used(need.now)
            level = _level(counter, item, used, need.now)
            levels.append(level)
            if not fits(used, item.amount, item.limit):
                wait = counter.wait(item.amount, item.limit, need.now)
                rank = inf if wait is None else wait
                if worst is None or rank > worst[0]:
                    worst = (rank, level, wait)
        assert worst is not None  # noqa: S101 - reserve() found one that does not fit, and nothing ran in between
        return Exhausted(worst[1], worst[2], tuple(levels))

    def levels(self, need: Reserve) -> tuple[Level, ...]:
        """Every level as it stands, in the order of the items. Takes nothing and makes no counter."""
        found = []
        for item in need.items:
            counter = self._counters.get((item.counter, item.metric, item.window)) or make(item.metric, item.window, need.now)
            found.append(_level(counter, item, counter.used(need.now), need.now))
        return tuple(found)

    def settle(self, token: str, actual: Mapping[str, float], now: float) -> None:
        """Replace reserved amounts by the true ones of `actual` (metric to amount), over the limit if need be; idempotent.

        A metric that `actual` does not name, or names with something that is no amount, stays as reserved. Concurrency is
        always given back. The correction counts from when the reservation was made.
        """
        if now >= self._next:
            self.sweep(now)
        pending = self._pending.pop(token, None)
        if pending is None:
            return
        totals = self.settled
        for counter, slot, item in pending[1]:
            amount, metric = item.amount, item.metric
            true = 0.0 if metric == "concurrency" else actual.get(metric, amount)
            if not 0.0 <= true < inf:
                true = amount
            if true != amount:
                counter.correct(slot, true - amount)
            totals[metric] = totals.get(metric, 0.0) + true

    def sweep(self, now: float) -> None:
        """Forget some idle counters and what was never settled. Called by itself every few seconds of use."""
        self._next = now + EVERY
        late = []
        for token, pending in self._pending.items():  # in order of time: stops at the first that is not due
            if pending[0] > now:
                break
            late.append(token)
        for token in late:
            self.settle(token, {}, now)
        self._expired += len(late)
        self._forget(now, STEPS)

    def _forget(self, now: float, steps: int) -> None:
        ring, counters = self._ring, self._counters
        for _ in range(min(steps, len(ring))):
            key = ring.popleft()
            if counters[key].idle(now):
                del counters[key]
            else:
                ring.append(key)

    def stats(self) -> Stats:
        """How full it is."""
        return Stats(len(self._counters), len(self._pending), self._refused, self._expired)


def _level(counter: Counter, item: Reservation, used: float, now: float) -> Level:
    """The counter as it stands with `used` taken."""
    remaining = item.limit - used
    if remaining < 0.0:  # noqa: PLR1730 - max() takes three times as long
        remaining = 0.0
    return Level(item.counter, item.metric, item.limit, remaining, counter.reset_after(now), counter.span, item.rule)
