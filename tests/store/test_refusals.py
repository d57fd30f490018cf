"""Refusals are counted, so that probing is not free."""

from __future__ import annotations

from itertools import pairwise

from sidecar.store.refusals import Refusals

NOW = 1_790_000_000.0


def test_past_the_limit_each_refusal_says_how_long_to_wait():
    refusals = Refusals(3)
    assert [refusals.hit("key:a", "10.0.0.1", NOW + n) for n in range(3)] == [None, None, None]
    wait = refusals.hit("key:a", "10.0.0.1", NOW + 3)
    assert wait is not None
    assert refusals.hit("key:a", "10.0.0.1", NOW + 3 + wait - 1e-3) is not None
    assert refusals.hit("key:a", "10.0.0.1", NOW + 3 + wait) is None


def test_principals_and_sources_are_counted_apart():
    refusals = Refusals(1)
    for who, source in [("key:a", "10.0.0.1"), ("key:a", "10.0.0.2"), ("key:b", "10.0.0.1"), ("", "10.0.0.1")]:
        assert refusals.hit(who, source, NOW) is None
    assert refusals.hit("", "10.0.0.1", NOW) is not None


def test_refusals_past_the_limit_do_not_prolong_the_wait():
    refusals = Refusals(1)
    refusals.hit("", "ip", NOW)
    waits = [refusals.hit("", "ip", NOW + n) or 0.0 for n in range(1, 60)]
    assert all(later < earlier for earlier, later in pairwise(waits))


def test_zero_switches_it_off():
    refusals = Refusals(0)
    assert all(refusals.hit("", "ip", NOW) is None for _ in range(1000))
    assert len(refusals) == 0


def test_memory_is_bounded_and_the_one_refused_last_is_kept():
    refusals = Refusals(1, most=10)
    refusals.hit("", "kept", NOW)
    for n in range(1000):
        refusals.hit("", str(n), NOW)
        refusals.hit("", "kept", NOW)
    assert len(refusals) == 10
    assert refusals.hit("", "kept", NOW) is not None
