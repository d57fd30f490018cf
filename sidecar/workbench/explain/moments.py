"""When conditions that look at the clock come out otherwise: the next instants at which one of them may change.

Hours, weekdays and days are tried on a grid and kept where a part of a condition gives something else; times that conditions and
exceptions name are kept as they are. Counterpart: `constants.py`, which finds those parts.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Final

from sidecar import expr
from sidecar.expr import ExprError, Program
from sidecar.expr.environment import request_declarations
from sidecar.expr.times import parse_timestamp, zone_of
from sidecar.expr.values import SECOND, EvalError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sidecar.workbench.explain.constants import Found

STEP: Final = 900
"""Seconds between two points of the grid: every zone's offset is a multiple."""
WEEK: Final = 8 * 86_400
"""How far ahead the grid goes: every hour of every weekday."""
YEAR: Final = 366
"""Days whose beginning is tried beyond that."""
MOST: Final = 64
"""Parts that are looked at."""


def instants(found: Iterable[Found], ends: Iterable[float], now: float) -> list[float]:
    """Unix seconds to try, the soonest first, then those that are past, the latest first. `ends` are ends of exceptions."""
    everything = list(found)
    named = {at for each in everything for hint in each.hints if hint.path == ("now",) for at in _named(hint.value)}
    named |= {end - 1.0 for end in ends if end <= now}
    zones = sorted({zone for each in everything for zone in each.zones})
    programs = _programs(dict.fromkeys(text for each in everything for text in each.moments))
    tried = sorted(named | set(_turns(programs, zones, now)))
    return [at for at in tried if at > now] + [at for at in reversed(tried) if at < now]


def _named(value: object) -> tuple[float, ...]:
    """A time that a condition names, and the second on either side of it."""
    try:
        at = parse_timestamp(value) / SECOND if isinstance(value, str) else None
    except EvalError:
        at = None
    return (at - 1.0, at, at + 1.0) if at is not None else ()


def _programs(sources: Iterable[str]) -> list[Program]:
    declared = request_declarations({}, {})
    made = []
    for source in list(sources)[:MOST]:
        try:
            made.append(expr.compile(source, declared))
        except ExprError:  # a part that is no truth by itself, as `now.getHours()` is none
            continue
    return made


def _turns(programs: Sequence[Program], zones: Sequence[str], now: float) -> Iterator[float]:
    """The first instant of each set of results, of those that are not the present one."""
    if not programs or not zones:
        return
    seen = {_results(programs, now)}
    for at in sorted({*_hours(now), *(day for zone in zones for day in _days(zone, now))}):
        results = _results(programs, at)
        if results not in seen:
            seen.add(results)
            yield at


def _results(programs: Sequence[Program], at: float) -> tuple[object, ...]:
    return tuple(program({"now": at}) for program in programs)


def _hours(now: float) -> Iterator[float]:
    start = now // STEP * STEP
    return (start + STEP * index for index in range(1, WEEK // STEP + 1))


def _days(zone: str, now: float) -> Iterator[float]:
    """The beginning of each day of the year to come."""
    where = zone_of(zone)
    today = datetime.fromtimestamp(now, UTC).astimezone(where).date()
    return (datetime.combine(today + timedelta(days=ahead), time(), where).timestamp() for ahead in range(1, YEAR + 1))
