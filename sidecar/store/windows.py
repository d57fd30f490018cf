"""Time arithmetic of quota windows: slices of a sliding window, bounds of a calendar one. Pure; the counters hold state.

A sliding window is cut into `SLICES` slices. What was taken in a slice counts until the whole slice has left the window, so
never more than the limit falls into any window, and an amount is held for at most one slice longer than need be.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

SLICES = 60
"""Slices of a sliding window: the resolution is window / 60 (1 s for a minute)."""
GUARD = 1e-6
"""Seconds added to every wait: a float of Unix seconds resolves 0.24 µs, and a wait must never end just before its due."""


def slice_ends(index: float, width: float, slices: int) -> float:
    """Unix seconds at which slice `index` (of `width` seconds) has left a window of `slices` slices."""
    return (index + slices + 1.0) * width


def bounds(window: str, now: float) -> tuple[float, float]:
    """Start and end, in Unix seconds, of the calendar period around `now`: `start <= now < end`.

    `window` is `day:<zone>` or `month:<zone>` with an IANA zone (none is UTC). Days of 23, 24 or 25 hours are as long as they
    are. Raises ValueError for another period and `zoneinfo.ZoneInfoNotFoundError` (a KeyError) for an unknown zone.
    """
    period, _, name = window.partition(":")
    zone = ZoneInfo(name or "UTC")
    first, after = _dates(period, datetime.fromtimestamp(now, zone).date())
    begun = [at for at in _midnights(first, zone) if at <= now]
    ahead = [at for at in _midnights(after, zone) if at > now]
    return begun[-1], ahead[0]


def _dates(period: str, today: date) -> tuple[date, date]:
    """The first day of the period that holds `today`, and the first one after it."""
    if period == "day":
        return today, today + timedelta(days=1)
    if period == "month":
        first = today.replace(day=1)
        return first, (first + timedelta(days=31)).replace(day=1)
    raise ValueError(f"no such calendar window: `{period}`")


def _midnights(day: date, zone: ZoneInfo) -> tuple[float, ...]:
    """When that day begins: once, or twice where the clock is set back over midnight.

    Where it is set forward over midnight, PEP 495 makes fold 0 the instant of the change, which is when the day begins.
    """
    midnight = datetime.combine(day, time.min, zone)
    once, again = midnight.timestamp(), midnight.replace(fold=1).timestamp()
    return (once, again) if again > once else (once,)
