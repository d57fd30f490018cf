"""Bounds of calendar windows, in every time zone there is."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.store.windows import bounds, slice_ends

ZONES = sorted(zoneinfo.available_timezones() - {"Factory", "localtime"})
instants = st.floats(min_value=0.0, max_value=4e9, allow_nan=False)
windows = st.builds("{}:{}".format, st.sampled_from(["day", "month"]), st.sampled_from(ZONES))


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@given(windows, instants)
def test_now_is_within_its_own_period(window, now):
    start, end = bounds(window, now)
    assert start <= now < end


@given(windows, instants)
def test_where_one_period_ends_the_next_begins(window, now):
    _, end = bounds(window, now)
    start, _ = bounds(window, end)
    assert start == end


@given(windows, st.integers(0, 10_000_000).map(lambda n: n * 400.0))
def test_a_period_ends_at_midnight_or_where_the_clock_skips_it(window, now):
    zone = zoneinfo.ZoneInfo(window.partition(":")[2])
    _, end = bounds(window, now)
    here, before = datetime.fromtimestamp(end, zone), datetime.fromtimestamp(end - 1e-3, zone)
    skipped = before.utcoffset() != here.utcoffset()
    assert (here.hour, here.minute, here.second) == (0, 0, 0) or skipped
    assert here.date() > before.date()
    assert window.startswith("day") or here.day == 1


@pytest.mark.parametrize(
    ("window", "now", "hours"),
    [
        ("day:Europe/Berlin", "2026-03-29T12:00", 23),
        ("day:Europe/Berlin", "2026-10-25T12:00", 25),
        ("day:Europe/Berlin", "2026-06-01T12:00", 24),
        ("day:Africa/Cairo", "2026-04-24T12:00", 23),  # set forward at midnight: the day begins at 01:00
        ("day:Australia/Lord_Howe", "2026-04-04T20:00", 24.5),
        ("month:UTC", "2028-02-10T00:00", 29 * 24),
        ("month:Europe/Berlin", "2026-03-10T00:00", 31 * 24 - 1),
        ("month:", "2026-04-10T00:00", 30 * 24),
    ],
)
def test_periods_are_as_long_as_they_are(window, now, hours):
    start, end = bounds(window, at(now))
    assert end - start == hours * 3600


def test_a_clock_that_is_set_back_over_midnight_does_not_end_a_period_in_the_past():
    # St. John's, 1 November 2009: 00:01 became 23:01 of the day before
    first_minute_of_sunday = at("2009-11-01T02:30:30")
    saturday_again = at("2009-11-01T03:00:00")
    assert bounds("day:America/St_Johns", first_minute_of_sunday)[1] - first_minute_of_sunday > 86400
    assert bounds("day:America/St_Johns", saturday_again)[1] == at("2009-11-01T03:30")


def test_a_day_that_a_zone_never_had_is_skipped():
    # Samoa went from 29 to 31 December 2011
    start, end = bounds("day:Pacific/Apia", at("2011-12-30T09:00"))
    assert (start, end) == (at("2011-12-29T10:00"), at("2011-12-30T10:00"))
    assert bounds("day:Pacific/Apia", end)[1] == end + timedelta(days=1).total_seconds()


@pytest.mark.parametrize("window", ["week:UTC", "", "60"])
def test_another_period_is_an_error(window):
    with pytest.raises(ValueError, match="no such calendar window"):
        bounds(window, 0.0)


def test_an_unknown_zone_is_an_error():
    with pytest.raises(zoneinfo.ZoneInfoNotFoundError):
        bounds("day:Mars/Base", 0.0)


def test_a_slice_counts_until_all_of_it_has_left_the_window():
    assert slice_ends(10.0, 1.0, 60) == 71.0
