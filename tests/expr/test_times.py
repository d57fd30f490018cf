"""Timestamps and durations: to the nanosecond, within their ranges, and read in linear time."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar import expr
from sidecar.expr import DURATION, DYN, STRING, TIMESTAMP, Declarations, Duration, Fault, Timestamp

X = Declarations({"s": STRING, "t": TIMESTAMP, "u": TIMESTAMP, "d": DURATION, "x": DYN})
SECOND = 10**9
FIRST, LAST = -62_135_596_800 * SECOND, 253_402_300_800 * SECOND - 1


def run(source, /, **bindings):
    return expr.compile(source, X, result=DYN)(bindings)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("1969-12-31T23:59:59.999999999Z", -1),
        ("2026-05-01T00:00:00.123456789+02:00", 1_777_586_400 * SECOND + 123_456_789),
        ("0001-01-01T00:00:00Z", FIRST),
        ("9999-12-31T23:59:59.999999999Z", LAST),
        ("2024-02-29t12:00:00z", 1_709_208_000 * SECOND),
    ],
)
def test_a_time_is_read_to_the_nanosecond(text, nanoseconds):
    assert run("timestamp(s)", s=text) == Timestamp(nanoseconds)


@pytest.mark.parametrize(
    "text",
    [
        "", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01 00:00:00Z", "2026-1-1T00:00:00Z", "2026-02-29T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:60Z", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00.1234567890Z", "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+0200",
        "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "10000-01-01T00:00:00Z", "\uff12026-01-01T00:00:00Z", " 2026-01-01T00:00:00Z",
    ],
)  # fmt: skip
def test_what_is_no_rfc_3339_time_is_a_fault(text):
    assert isinstance(run("timestamp(s)", s=text), Fault)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0), ("0s", 0), ("1ns", 1), ("1us", 1_000), ("1µs", 1_000), ("1μs", 1_000), ("1ms", 10**6), ("1s", SECOND), ("1m", 60 * SECOND), ("1h", 3600 * SECOND),
        ("-1.5h", -5400 * SECOND), ("1h2m3.004s", 3723 * SECOND + 4 * 10**6), ("+1s1s", 2 * SECOND), ("0.000000001s", 1), ("0.0000000001s", 0), ("1.s", SECOND),
        ("9223372036854775807ns", 2**63 - 1), ("-9223372036854775808ns", -(2**63)),
    ],
)  # fmt: skip
def test_a_duration_is_read_to_the_nanosecond(text, nanoseconds):
    assert run("duration(s)", s=text) == Duration(nanoseconds)


@pytest.mark.parametrize(
    "text", ["", "1", "s", "1d", "1 s", "1s ", ".", "-", "1h-1m", "--1s", "1e3s", "9223372036854775808ns", "292278994h", "\u0661s", "1,5s"]
)
def test_what_is_no_duration_is_a_fault(text):
    assert isinstance(run("duration(s)", s=text), Fault)


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("timestamp('9999-12-31T23:59:59.999999999Z') + duration('1ns')", Fault("the timestamp is out of range")),
        ("timestamp('0001-01-01T00:00:00Z') - duration('1ns')", Fault("the timestamp is out of range")),
        ("timestamp('9999-12-31T23:59:59Z') - timestamp('0001-01-01T00:00:00Z')", Fault("the duration is out of range")),
        ("duration('9223372036854775807ns') + duration('1ns')", Fault("the duration is out of range")),
        ("timestamp(253402300800)", Fault("the timestamp is out of range")),
        ("timestamp('2026-01-01T00:00:00.000000002Z') - timestamp('2026-01-01T00:00:00.000000001Z') == duration('1ns')", True),
        ("timestamp('2026-01-01T00:00:00Z') < timestamp('2026-01-01T00:00:00.000000001Z')", True),
        ("string(timestamp('2026-01-01T02:00:00.100+02:00'))", "2026-01-01T00:00:00.1Z"),
        ("string(duration('-1.5s'))", "-1.5s"),
        ("string(duration('1h'))", "3600s"),
        ("int(timestamp('1969-12-31T23:59:59.5Z'))", -1),
        ("duration('-90m').getHours() == -1 && duration('-90m').getMinutes() == -90", True),
        ("timestamp('2026-03-29T00:59:59Z').getHours('Europe/Berlin') == 1 && timestamp('2026-03-29T01:00:00Z').getHours('Europe/Berlin') == 3", True),
        ("timestamp('2026-01-01T00:00:00Z').getDayOfYear('-00:30') == 364", True),
        ("timestamp('1969-12-31T23:59:59.999Z').getMilliseconds() == 999", True),
    ],
)
def test_arithmetic_is_exact_within_the_ranges(source, wanted):
    assert run(source) == wanted


MOMENTS = st.integers(FIRST, LAST)
SPANS = st.integers(-(2**63), 2**63 - 1)


@given(MOMENTS, SPANS)
def test_adding_and_taking_away_is_exact_or_a_fault(moment, span):
    later = run("t + d", t=Timestamp(moment), d=Duration(span))
    assert later == (Timestamp(moment + span) if FIRST <= moment + span <= LAST else Fault("the timestamp is out of range"))
    if not isinstance(later, Fault):
        assert run("t + d - d == t && t + d - t == d && (t < t + d) == (d > duration('0'))", t=Timestamp(moment), d=Duration(span)) is True


@given(MOMENTS)
def test_a_time_that_is_written_reads_back(moment):
    assert run("timestamp(string(t)) == t", t=Timestamp(moment)) is True


@given(SPANS)
def test_a_duration_that_is_written_reads_back(span):
    assert run("duration(string(d)) == d", d=Duration(span)) is True


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)))  # noqa: DTZ001 the strategy wants them naive
def test_getters_agree_with_the_calendar(moment):
    shown = run(
        "[t.getFullYear(), t.getMonth() + 1, t.getDate(), t.getDayOfMonth() + 1, t.getDayOfWeek(), t.getDayOfYear() + 1, t.getHours(), t.getMinutes(), t.getSeconds(), t.getMilliseconds()]",
        t=moment.replace(tzinfo=UTC),
    )
    m = moment
    assert shown == [m.year, m.month, m.day, m.day, m.isoweekday() % 7, m.timetuple().tm_yday, m.hour, m.minute, m.second, m.microsecond // 1000]
    east = (moment + timedelta(hours=5, minutes=30)).hour
    assert run("t.getHours('+05:30')", t=moment.replace(tzinfo=UTC)) == east
