"""Timestamps and durations in nanoseconds: reading, writing, arithmetic and getters. The present is a binding, never read here.

A time zone is a literal and resolved at load, so that no call can make the sidecar read files.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sidecar.expr.overload import Overload, function, method, reading
from sidecar.expr.types import DURATION, INT, STRING, TIMESTAMP, Type
from sidecar.expr.values import (
    DURATION_MAX,
    EPOCH,
    INT_MAX,
    INT_MIN,
    SECOND,
    TIMESTAMP_MAX,
    TIMESTAMP_MIN,
    Duration,
    EvalError,
    Timestamp,
    to_timestamp,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_RFC3339: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt]((?:[01]\d|2[0-3]):\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DURATION: Final = re.compile(r"([+-]?)((?:\d{1,20}(?:\.\d{0,20})?(?:h|ms|us|µs|μs|ns|m|s))+|0)", re.ASCII)
_PART: Final = re.compile(r"(\d+)(?:\.(\d*))?(h|ms|us|µs|μs|ns|m|s)", re.ASCII)
_TEXT_LIMIT: Final = 256
"""Characters of a duration; all units with twenty digits each are fewer."""
_UNITS: Final = {"h": 3600 * SECOND, "m": 60 * SECOND, "s": SECOND, "ms": 1_000_000, "us": 1000, "µs": 1000, "μs": 1000, "ns": 1}
_OFFSET: Final = re.compile(r"([+-]?)(\d\d):(\d\d)", re.ASCII)
_DAY: Final = 86_400 * SECOND


def instant(value: int) -> Timestamp:
    """Nanoseconds as a timestamp. Raises EvalError outside the years 1 to 9999."""
    if TIMESTAMP_MIN <= value <= TIMESTAMP_MAX:
        return Timestamp(value)
    raise EvalError("the timestamp is out of range")


def span(value: int) -> Duration:
    """Nanoseconds as a duration. Raises EvalError beyond what 64 bits of nanoseconds hold."""
    if INT_MIN <= value <= INT_MAX and abs(value) <= DURATION_MAX:
        return Duration(value)
    raise EvalError("the duration is out of range")


def parse_timestamp(text: str) -> Timestamp:
    """RFC 3339 with up to nine digits of a second. Raises EvalError."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise EvalError("the `string` is no RFC 3339 time")
    day, clock, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone in 'Zz' else zone}")
    except ValueError:
        raise EvalError("the `string` is no RFC 3339 time") from None
    return instant((moment - EPOCH) // timedelta(seconds=1) * SECOND + int((fraction or "0").ljust(9, "0")))


def parse_duration(text: str) -> Duration:
    """A Go duration: `1h30m`, `-1.5s`, `250ms`. Raises EvalError."""
    match = _DURATION.fullmatch(text) if len(text) <= _TEXT_LIMIT else None
    if match is None:
        raise EvalError("the `string` is no duration")
    total = 0
    for whole, fraction, unit in _PART.findall(match.group(2)):
        scale = _UNITS[unit]
        total += int(whole) * scale + (int(fraction) * scale // 10 ** len(fraction) if fraction else 0)
    return span(-total if match.group(1) == "-" else total)


def text_of_timestamp(value: int) -> str:
    """RFC 3339 in UTC with as many digits of a second as it takes."""
    seconds, nanos = divmod(to_timestamp(value), SECOND)
    moment = EPOCH + timedelta(seconds=seconds)
    return moment.strftime(f"{moment.year:04}-%m-%dT%H:%M:%S") + _fraction(nanos) + "Z"


def text_of_duration(value: int) -> str:
    """Seconds with as many digits as it takes, as protobuf's JSON writes them."""
    seconds, nanos = divmod(abs(value), SECOND)
    return f"{'-' if value < 0 else ''}{seconds}{_fraction(nanos)}s"


def _fraction(nanos: int) -> str:
    return f".{nanos:09}".rstrip("0") if nanos else ""


# ---------------------------------------------------------------- getters


def zone_of(name: str) -> tzinfo:
    """An IANA name or `±HH:MM`. Raises ValueError."""
    if match := _OFFSET.fullmatch(name):
        sign, hours, minutes = match.groups()
        if int(hours) > 23 or int(minutes) > 59:
            raise ValueError(f"unknown time zone `{name}`")
        return timezone((-1 if sign == "-" else 1) * timedelta(hours=int(hours), minutes=int(minutes)))
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError):
        raise ValueError(f"unknown time zone `{name}`") from None


def _local(value: int, zone: tzinfo) -> datetime:
    return (EPOCH + timedelta(seconds=to_timestamp(value) // SECOND)).astimezone(zone)


_GETTERS: Final[tuple[tuple[str, Callable[[datetime], int]], ...]] = (
    ("getFullYear", lambda d: d.year),
    ("getMonth", lambda d: d.month - 1),
    ("getDate", lambda d: d.day),
    ("getDayOfMonth", lambda d: d.day - 1),
    ("getDayOfWeek", lambda d: d.isoweekday() % 7),
    ("getDayOfYear", lambda d: d.timetuple().tm_yday - 1),
    ("getHours", lambda d: d.hour),
    ("getMinutes", lambda d: d.minute),
    ("getSeconds", lambda d: d.second),
)
_QUICK: Final[dict[str, Callable[[int], int]]] = {
    # in UTC these need no calendar
    "getDayOfWeek": lambda v: (to_timestamp(v) // _DAY + 4) % 7,
    "getHours": lambda v: to_timestamp(v) // (3600 * SECOND) % 24,
    "getMinutes": lambda v: to_timestamp(v) // (60 * SECOND) % 60,
    "getSeconds": lambda v: to_timestamp(v) // SECOND % 60,
}


def _getters(name: str, read: Callable[[datetime], int]) -> tuple[Overload, ...]:
    def prepare(zone_name: str) -> Callable[[int], int]:
        zone = zone_of(zone_name)
        return lambda value: read(_local(value, zone))

    def never(value: Any, zone_name: str) -> int:
        return prepare(zone_name)(value)

    plain = _QUICK.get(name, lambda v: read(_local(v, UTC)))
    return (
        method(name, TIMESTAMP, result=INT, apply=plain),
        Overload(name, (TIMESTAMP, STRING), INT, never, member=True, prepare=prepare, literal=True, cost=2),
    )


def _milliseconds() -> tuple[Overload, ...]:
    def read(value: int) -> int:
        return to_timestamp(value) % SECOND // 1_000_000

    def prepare(zone_name: str) -> Callable[[int], int]:
        zone_of(zone_name)
        return read

    return (
        method("getMilliseconds", TIMESTAMP, result=INT, apply=read),
        Overload("getMilliseconds", (TIMESTAMP, STRING), INT, lambda v, _: read(v), member=True, prepare=prepare, literal=True),
    )


def _whole(unit: int) -> Callable[[int], int]:
    return lambda value: abs(value) // unit * (-1 if value < 0 else 1)


def _arithmetic() -> tuple[Overload, ...]:
    rows: tuple[tuple[str, Type, Type, Type], ...] = (
        ("+", TIMESTAMP, DURATION, TIMESTAMP),
        ("+", DURATION, TIMESTAMP, TIMESTAMP),
        ("+", DURATION, DURATION, DURATION),
        ("-", TIMESTAMP, DURATION, TIMESTAMP),
        ("-", TIMESTAMP, TIMESTAMP, DURATION),
        ("-", DURATION, DURATION, DURATION),
    )
    make = {TIMESTAMP: instant, DURATION: span}

    def apply(sign: str, result: Type, a: Type, b: Type) -> Callable[[Any, Any], int]:
        convert = make[result]
        left, right = (to_timestamp if t is TIMESTAMP else int for t in (a, b))
        if sign == "+":
            return lambda x, y: convert(int(left(x)) + int(right(y)))
        return lambda x, y: convert(int(left(x)) - int(right(y)))

    return tuple(function(f"_{sign}_", a, b, result=r, apply=apply(sign, r, a, b)) for sign, a, b, r in rows)


TIME_FUNCTIONS: Final = (
    reading("timestamp", STRING, result=TIMESTAMP, apply=parse_timestamp, cost=3),
    function("timestamp", INT, result=TIMESTAMP, apply=lambda v: instant(v * SECOND)),
    function("timestamp", TIMESTAMP, result=TIMESTAMP, apply=to_timestamp),
    reading("duration", STRING, result=DURATION, apply=parse_duration, cost=3),
    function("duration", DURATION, result=DURATION, apply=lambda v: v),
    *_arithmetic(),
    *(overload for name, read in _GETTERS for overload in _getters(name, read)),
    *_milliseconds(),
    method("getHours", DURATION, result=INT, apply=_whole(3600 * SECOND)),
    method("getMinutes", DURATION, result=INT, apply=_whole(60 * SECOND)),
    method("getSeconds", DURATION, result=INT, apply=_whole(SECOND)),
    method("getMilliseconds", DURATION, result=INT, apply=lambda v: abs(v) % SECOND // 1_000_000 * (-1 if v < 0 else 1)),
)
