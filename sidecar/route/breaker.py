"""A circuit breaker and a retry budget: two small machines that keep a failing upstream from being hammered.

Both are sans-IO: time comes in as seconds of any clock that only moves forward.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

CLOSED: Final = "closed"
OPEN: Final = "open"
HALF_OPEN: Final = "half_open"

NEXT: Mapping[tuple[str, str], str] = {
    (CLOSED, "too many failures"): OPEN,
    (OPEN, "rested"): HALF_OPEN,
    (HALF_OPEN, "the trial failed"): OPEN,
    (HALF_OPEN, "the trial succeeded"): CLOSED,
}
"""The whole machine; any other (state, event) leaves the state as it is."""


class Breaker:
    """Opens after `failures` in a row, for `open_for` seconds; then lets one trial through whose outcome decides."""

    __slots__ = ("_failures", "_in_a_row", "_open_for", "_opened", "_state", "_trial")

    def __init__(self, failures: int, open_for: float) -> None:
        self._failures = failures
        self._open_for = open_for
        self._state = CLOSED
        self._in_a_row = 0
        self._opened = 0.0
        self._trial = False

    def state(self, now: float) -> str:
        """In one word: closed, open or half_open."""
        if self._state == OPEN and now - self._opened >= self._open_for:
            self._go("rested")
        return self._state

    def ready(self, now: float) -> bool:
        """Whether a call may be sent now."""
        if self._state == CLOSED:
            return True
        return self.state(now) == HALF_OPEN and not self._trial

    def enter(self) -> None:
        """A call is sent; in half_open it is the trial."""
        if self._state == HALF_OPEN:
            self._trial = True

    def succeeded(self) -> None:
        """It answered."""
        self._in_a_row = 0
        self._trial = False
        self._go("the trial succeeded")

    def failed(self, now: float) -> None:
        """It did not answer, or broke off."""
        self._in_a_row += 1
        self._trial = False
        if self._state != OPEN:
            self._opened = now
        self._go("the trial failed")
        if self._in_a_row >= self._failures:
            self._go("too many failures")

    def abandoned(self) -> None:
        """The call ended without telling anything (the client left, our credential was refused): another trial may go."""
        self._trial = False

    def _go(self, event: str) -> None:
        self._state = NEXT.get((self._state, event), self._state)


class Budget:
    """Retries as a share of calls: each call pays `share` in, each retry takes one out. A small reserve serves quiet times."""

    __slots__ = ("_held",)

    RESERVE = 10.0

    def __init__(self) -> None:
        self._held = self.RESERVE

    def pay(self, share: float) -> None:
        """A call was made."""
        self._held = min(self.RESERVE, self._held + share)

    def take(self) -> bool:
        """One retry, if there is one to be had."""
        if self._held < 1.0:
            return False
        self._held -= 1.0
        return True
