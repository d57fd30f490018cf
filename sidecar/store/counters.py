"""The three counters behind a quota: what slides, what follows the calendar, what is held. No I/O, no clock, no policy.

Each takes `now` in Unix seconds and treats a clock that steps back as standing still. `add` hands out the slot it wrote to, and
`correct` changes that very slot, so that a late settlement lands where the reservation was, or nowhere once that has passed.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from sidecar.store.windows import GUARD, SLICES, bounds, slice_ends

Slot = list[float]
"""[slice index or period end, amount]: a list, because it is shared with the pending reservation and changed in place."""
SLACK = 1.0 + 1e-9
"""Amounts are compared to nine digits: three times 0.1 must fit into 0.3."""
HINT = 1.0
"""Seconds to wait for a concurrency slot: nobody knows when a running call ends, only that waiting helps."""


class Counter(Protocol):
    """One counter of one limit for one key."""

    def used(self, now: float) -> float:
        """What counts at `now`; lets go of what has passed. Call it before anything else."""
        ...

    def add(self, amount: float) -> Slot:
        """Take `amount` at the time `used` was last asked."""
        ...

    def correct(self, slot: Slot, delta: float) -> None:
        """Change what was taken by `delta`; nothing happens where the slot has passed."""
        ...

    def wait(self, amount: float, limit: float, now: float) -> float | None:
        """Seconds after which `amount` fits if nobody else takes any; None where waiting does not help."""
        ...

    def reset_after(self, now: float) -> float:
        """Seconds until something is freed (sliding) or everything is (calendar); 0 where nothing is due."""
        ...

    def idle(self, now: float) -> bool:
        """Forgetting it changes nothing."""
        ...

    @property
    def span(self) -> float:
        """Seconds of the window; 0 for what is held."""
        ...


def fits(used: float, amount: float, limit: float) -> bool:
    """Whether `amount` more stays within `limit`. False for a negative amount, and for anything that is not a number."""
    return amount >= 0.0 and used + amount <= limit * SLACK


class Sliding:
    """A true sliding window, to the resolution of one slice (`windows.SLICES`)."""

    __slots__ = ("_index", "_slices", "_slots", "_total", "_width", "span")

    def __init__(self, span: float, slices: int = SLICES) -> None:
        self.span = span
        self._slices = slices
        self._width = span / slices
        self._slots: deque[Slot] = deque()
        self._total = 0.0
        self._index = 0.0

    def used(self, now: float) -> float:
        index = now // self._width
        if index > self._index:
            self._advance(index)
        return self._total

    def _advance(self, index: float) -> None:
        self._index = index
        slots, oldest = self._slots, index - self._slices
        if slots and slots[0][0] < oldest:
            while slots and slots[0][0] < oldest:
                slots.popleft()
            # summed anew, newest first: rounding errors do not pile up, and `wait` adds in the same order
            self._total = sum(slot[1] for slot in reversed(slots))

    def add(self, amount: float) -> Slot:
        slots = self._slots
        if slots and slots[-1][0] == self._index:
            slot = slots[-1]
        else:
            slot = [self._index, 0.0]
            slots.append(slot)
        slot[1] += amount
        self._total += amount
        return slot

    def correct(self, slot: Slot, delta: float) -> None:
        if slot[0] >= self._index - self._slices:
            slot[1] = max(0.0, slot[1] + delta)
            self._total = max(0.0, self._total + delta)

    def wait(self, amount: float, limit: float, now: float) -> float | None:
        if not fits(0.0, amount, limit):
            return None
        kept = 0.0
        for index, held in reversed(self._slots):
            kept += held
            if not fits(kept, amount, limit):
                return max(0.0, slice_ends(index, self._width, self._slices) - now) + GUARD
        return self.reset_after(now)

    def reset_after(self, now: float) -> float:
        if not self._slots:
            return 0.0
        left = slice_ends(self._slots[0][0], self._width, self._slices) - now
        return left + GUARD if left > 0.0 else GUARD

    def idle(self, now: float) -> bool:
        self.used(now)
        return not self._slots


class Calendar:
    """A day or a month in a time zone; everything comes back at its end."""

    __slots__ = ("_slot", "_window", "span")

    def __init__(self, window: str, now: float) -> None:
        self._window = window
        start, end = bounds(window, now)
        self.span = end - start
        self._slot: Slot = [end, 0.0]

    def used(self, now: float) -> float:
        if now >= self._slot[0]:
            start, end = bounds(self._window, now)
            self.span = end - start
            self._slot = [end, 0.0]
        return self._slot[1]

    def add(self, amount: float) -> Slot:
        self._slot[1] += amount
        return self._slot

    def correct(self, slot: Slot, delta: float) -> None:
        slot[1] = max(0.0, slot[1] + delta)

    def wait(self, amount: float, limit: float, now: float) -> float | None:
        return self.reset_after(now) if fits(0.0, amount, limit) else None

    def reset_after(self, now: float) -> float:
        left = self._slot[0] - now
        return left + GUARD if left > 0.0 else GUARD

    def idle(self, now: float) -> bool:
        return now >= self._slot[0]


class Held:
    """What is taken until it is given back: concurrency."""

    __slots__ = ("_slot",)
    span = 0.0

    def __init__(self) -> None:
        self._slot: Slot = [0.0, 0.0]

    def used(self, now: float) -> float:
        return self._slot[1]

    def add(self, amount: float) -> Slot:
        self._slot[1] += amount
        return self._slot

    def correct(self, slot: Slot, delta: float) -> None:
        slot[1] = max(0.0, slot[1] + delta)

    def wait(self, amount: float, limit: float, now: float) -> float | None:
        return HINT if fits(0.0, amount, limit) else None

    def reset_after(self, now: float) -> float:
        return 0.0

    def idle(self, now: float) -> bool:
        return self._slot[1] == 0.0


def make(metric: str, window: float | str, now: float) -> Counter:
    """The counter a `need.Reservation` asks for. Raises ValueError for a window that is none (a bug of the compiler)."""
    if metric == "concurrency":
        return Held()
    if isinstance(window, str):
        return Calendar(window, now)
    if not window > 0.0:
        raise ValueError(f"no such window: {window!r}")
    return Sliding(window)
