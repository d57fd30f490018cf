"""Reserve before, settle after: all or none, true waits, nothing shared, nothing for ever."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sidecar.need import Exhausted, Reservation, Reserve, Reserved, Unavailable
from sidecar.store.memory import MemoryStore

NOW = 1_790_000_000.0


def item(amount=1.0, limit=10.0, *, counter="c", metric="requests", window: float | str = 60.0, rule="q"):
    return Reservation(counter, metric, amount, limit, window, rule)


def ask(*items, now=NOW):
    return Reserve("call", items, now)


def granted(answer) -> Reserved:
    assert isinstance(answer, Reserved)
    return answer


def refused(answer) -> Exhausted:
    assert isinstance(answer, Exhausted)
    return answer


def test_call_n_plus_one_is_refused():
    store = MemoryStore()
    for _ in range(10):
        granted(store.reserve(ask(item())))
    assert refused(store.reserve(ask(item()))).level.remaining == 0.0


def test_levels_are_told_without_taking_anything_or_making_a_counter():
    store = MemoryStore()
    for _ in range(20):
        assert [level.remaining for level in store.levels(ask(item(), item(counter="d", limit=3.0)))] == [10.0, 3.0]
    assert store.stats().counters == 0
    granted(store.reserve(ask(item(4.0))))
    assert [level.remaining for level in store.levels(ask(item(), item(counter="d", limit=3.0)))] == [6.0, 3.0]


def test_a_refusal_takes_nothing_from_any_counter():
    store = MemoryStore()
    plenty, scarce = item(counter="plenty"), item(counter="scarce", limit=1.0)
    granted(store.reserve(ask(scarce)))
    for _ in range(50):
        refused(store.reserve(ask(plenty, scarce)))
    assert granted(store.reserve(ask(plenty))).levels[0].remaining == 9.0
    assert store.stats().pending == 2


def test_two_limits_never_share_a_counter():
    store = MemoryStore()
    variants = [item(), item(metric="tokens"), item(window=3600.0), item(window="day:UTC"), item(counter="d")]
    for one in variants:
        granted(store.reserve(ask(item(10.0, metric=one.metric, window=one.window, counter=one.counter))))
    assert store.stats().counters == len(variants)


def test_levels_tell_what_is_left_and_when_it_changes():
    level = granted(MemoryStore().reserve(ask(item(3.0), now=600.0))).levels[0]
    assert (level.remaining, level.limit, level.window, level.metric, level.rule) == (7.0, 10.0, 60.0, "requests", "q")
    assert level.reset_after == pytest.approx(61.0, abs=1e-5)


def test_amounts_that_add_up_to_the_limit_fit():
    store = MemoryStore()
    for _ in range(3):
        granted(store.reserve(ask(item(0.1, 0.3, metric="cost_usd"))))
    refused(store.reserve(ask(item(0.0001, 0.3, metric="cost_usd"))))


@pytest.mark.parametrize("amount", [11.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize(("metric", "window"), [("tokens", 60.0), ("tokens", "month:UTC"), ("concurrency", 0)])
def test_what_can_never_fit_is_refused_without_a_wait(amount, metric, window):
    answer = refused(MemoryStore().reserve(ask(item(amount, metric=metric, window=window))))
    assert answer.retry_after is None


def test_the_limit_that_takes_longest_is_reported_and_never_beats_all():
    store = MemoryStore()
    soon, late = item(10.0, counter="soon"), item(10.0, counter="late", window=3600.0)
    granted(store.reserve(ask(soon, late)))
    answer = refused(store.reserve(ask(soon, late)))
    assert answer.level.counter == "late"
    assert [level.counter for level in answer.levels] == ["soon", "late"]
    answer = refused(store.reserve(ask(soon, late, item(11.0, counter="never"))))
    assert (answer.level.counter, answer.retry_after) == ("never", None)


# ------------------------------------------------------------ true waits

spans = st.sampled_from([1.0, 60.0, 3600.0, 86400.0, 7.0])
takes = st.lists(st.tuples(st.floats(0.0, 30.0), st.floats(0.01, 6.0)), min_size=1, max_size=40)


@given(spans, takes, st.floats(0.01, 10.0), st.floats(0, 1e6))
def test_after_retry_after_the_same_amount_fits_and_a_slice_earlier_it_does_not(span, taken, amount, start):
    def filled():
        store, now = MemoryStore(), NOW + start
        for gap, size in taken:
            now += gap * span / 300
            store.reserve(ask(item(size, window=span), now=now))
        return store, now

    store, now = filled()
    answer = store.reserve(ask(item(amount, window=span), now=now))
    if isinstance(answer, Exhausted):
        assert answer.retry_after is not None
        assert answer.retry_after <= span * (1 + 1 / 60) + 1e-5
        early, _ = filled()
        refused(early.reserve(ask(item(amount, window=span), now=now + answer.retry_after - 1e-4)))
        granted(store.reserve(ask(item(amount, window=span), now=now + answer.retry_after)))


@given(takes, st.sampled_from([1.0, 60.0, 3600.0]))
def test_never_more_than_the_limit_within_any_window(taken, span):
    store, now, log = MemoryStore(), NOW, []
    for gap, size in taken:
        now += gap * span / 60
        if isinstance(store.reserve(ask(item(size, window=span), now=now)), Reserved):
            log.append((now, size))
    for start, _ in log:
        assert sum(size for when, size in log if start <= when < start + span) <= 10.0 * (1 + 1e-9)


@given(st.floats(0, 3e9), st.sampled_from(["day:Europe/Berlin", "month:America/Santiago", "day:UTC"]))
def test_a_calendar_limit_is_whole_again_at_its_end_and_not_before(now, window):
    store = MemoryStore()
    granted(store.reserve(ask(item(10.0, window=window), now=now)))
    wait = refused(store.reserve(ask(item(1.0, window=window), now=now))).retry_after
    assert wait is not None
    if wait > 1e-3:
        refused(store.reserve(ask(item(1.0, window=window), now=now + wait - 1e-3)))
    assert granted(store.reserve(ask(item(1.0, window=window), now=now + wait))).levels[0].remaining == 9.0


def test_a_day_ends_at_midnight_of_its_zone():
    now = datetime(2026, 10, 24, 21, 59, 0, tzinfo=UTC).timestamp()
    level = granted(MemoryStore().reserve(ask(item(window="day:Europe/Berlin"), now=now))).levels[0]
    assert level.reset_after == pytest.approx(60.0, abs=1e-5)
    assert level.window == 86400.0


def test_a_clock_that_steps_back_frees_nothing():
    store = MemoryStore()
    granted(store.reserve(ask(item(10.0), item(10.0, window="day:UTC", metric="tokens"))))
    refused(store.reserve(ask(item(), now=NOW - 3600)))
    refused(store.reserve(ask(item(window="day:UTC", metric="tokens"), now=NOW - 5 * 86400)))


# ------------------------------------------------------------ settle


def settled(reserved, true, metric="tokens", window: float | str = 60.0):
    store = MemoryStore()
    answer = granted(store.reserve(ask(item(reserved, metric=metric, window=window))))
    store.settle(answer.token, {metric: true}, NOW + 1)
    return store


@pytest.mark.parametrize("window", [60.0, "day:UTC"])
def test_what_was_reserved_in_vain_is_given_back(window):
    store = settled(10.0, 4.0, window=window)
    assert granted(store.reserve(ask(item(6.0, metric="tokens", window=window), now=NOW + 1))).levels[0].remaining == 0.0


@pytest.mark.parametrize("window", [60.0, "day:UTC"])
def test_true_usage_may_exceed_the_limit_and_then_nothing_fits(window):
    store = settled(10.0, 25.0, window=window)
    answer = refused(store.reserve(ask(item(0.0, metric="tokens", window=window), now=NOW + 1)))
    assert answer.level.remaining == 0.0
    assert answer.retry_after is not None


def test_a_correction_counts_from_when_the_reservation_was_made():
    store = MemoryStore()
    answer = granted(store.reserve(ask(item(1.0, metric="tokens"))))
    store.settle(answer.token, {"tokens": 10.0}, NOW + 50)
    refused(store.reserve(ask(item(1.0, metric="tokens"), now=NOW + 59)))
    granted(store.reserve(ask(item(10.0, metric="tokens"), now=NOW + 61.1)))


@pytest.mark.parametrize(("window", "later"), [(60.0, 3600.0), ("day:UTC", 2 * 86400.0)])
def test_a_correction_of_a_window_that_has_passed_changes_nothing(window, later):
    store = MemoryStore(hold=1e9)
    answer = granted(store.reserve(ask(item(1.0, metric="tokens", window=window))))
    granted(store.reserve(ask(item(5.0, metric="tokens", window=window), now=NOW + later)))
    store.settle(answer.token, {"tokens": 10.0}, NOW + later)
    granted(store.reserve(ask(item(5.0, metric="tokens", window=window), now=NOW + later)))


def test_settling_twice_does_nothing_more():
    store = MemoryStore()
    first = granted(store.reserve(ask(item(6.0, metric="concurrency", window=0))))
    granted(store.reserve(ask(item(4.0, metric="concurrency", window=0))))
    for _ in range(3):
        store.settle(first.token, {}, NOW)
    assert granted(store.reserve(ask(item(6.0, metric="concurrency", window=0)))).levels[0].remaining == 0.0


def test_an_unknown_token_is_nothing():
    store = MemoryStore()
    store.settle("", {"tokens": 1.0}, NOW)
    assert store.stats().counters == 0


@pytest.mark.parametrize("true", [math.nan, math.inf, -1.0])
def test_what_is_no_amount_leaves_the_reservation_as_it_was(true):
    store = settled(7.0, true)
    assert granted(store.reserve(ask(item(3.0, metric="tokens"), now=NOW + 1))).levels[0].remaining == 0.0


def test_a_metric_that_is_not_named_stays_as_reserved_and_concurrency_never_does():
    store = MemoryStore()
    items = (item(10.0, counter="r"), item(1.0, 1.0, metric="concurrency", window=0), item(10.0, metric="tokens"))
    answer = granted(store.reserve(ask(*items)))
    store.settle(answer.token, {"tokens": 0.0}, NOW)
    refused(store.reserve(ask(items[0])))
    granted(store.reserve(ask(items[1], items[2])))


def test_a_concurrency_limit_says_that_waiting_helps():
    store = MemoryStore()
    slot = item(1.0, 1.0, metric="concurrency", window=0)
    granted(store.reserve(ask(slot)))
    assert refused(store.reserve(ask(slot))).retry_after == 1.0


# ------------------------------------------------------------ bounds


def test_idle_counters_are_forgotten():
    store = MemoryStore()
    for key in range(2000):
        granted(store.reserve(ask(item(counter=str(key)), now=NOW + key)))
    # a minute's worth is alive; the clock hand is a few steps behind
    assert store.stats().counters < 200


def test_a_counter_with_an_open_reservation_of_nothing_is_not_forgotten():
    store = MemoryStore(max_counters=1)
    answer = granted(store.reserve(ask(item(0.0, metric="output_tokens"))))
    store.sweep(NOW + 1)
    store.settle(answer.token, {"output_tokens": 10.0}, NOW + 2)
    refused(store.reserve(ask(item(1.0, metric="output_tokens"), now=NOW + 3)))


def test_past_the_most_counters_a_new_one_is_an_outage_that_is_counted():
    store = MemoryStore(max_counters=3)
    for key in "abc":
        granted(store.reserve(ask(item(counter=key))))
    assert isinstance(store.reserve(ask(item(counter="d"))), Unavailable)
    assert isinstance(store.reserve(ask(item(counter="a"), item(counter="e"))), Unavailable)
    assert granted(store.reserve(ask(item(counter="a")))).levels[0].remaining == 8.0
    assert store.stats().refused == 2
    granted(store.reserve(ask(item(counter="d"), now=NOW + 120)))


def test_a_refused_reservation_keeps_no_new_counter():
    store = MemoryStore()
    for key in range(100):
        refused(store.reserve(ask(item(99.0, counter=str(key)))))
    assert store.stats().counters == 0


def test_what_is_never_settled_expires_and_gives_its_slot_back():
    store = MemoryStore(hold=100.0)
    slot, tokens = item(1.0, 1.0, metric="concurrency", window=0), item(10.0, metric="tokens", window=3600.0)
    lost = granted(store.reserve(ask(slot, tokens)))
    refused(store.reserve(ask(slot, now=NOW + 99)))
    granted(store.reserve(ask(slot, now=NOW + 106)))
    refused(store.reserve(ask(tokens, now=NOW + 106)))
    store.settle(lost.token, {"tokens": 0.0}, NOW + 107)
    refused(store.reserve(ask(tokens, now=NOW + 107)))
    assert store.stats().expired == 1


@pytest.mark.parametrize("window", [0.0, -1.0, "week:UTC"])
def test_a_window_that_is_none_is_loud(window):
    with pytest.raises(ValueError, match="no such"):
        MemoryStore().reserve(ask(item(window=window)))


def test_one_counter_named_twice_in_one_reservation_is_loud():
    with pytest.raises(ValueError, match="share"):
        MemoryStore().reserve(ask(item(), item()))


class Ledger(RuleBasedStateMachine):
    """Any interleaving of reservations and settlements agrees with a list of everything that ever happened."""

    def __init__(self):
        super().__init__()
        self.store, self.now, self.open, self.log = MemoryStore(), NOW, [], []

    @rule(amount=st.integers(0, 12), gap=st.sampled_from([0.0, 0.5, 3.0, 20.0, 61.0]))
    def reserve(self, amount, gap):
        self.now += gap
        answer = self.store.reserve(ask(item(float(amount), 20.0), item(1.0, 3.0, metric="concurrency", window=0), now=self.now))
        if isinstance(answer, Reserved):
            self.log.append([self.now, float(amount)])
            self.open.append((answer.token, self.log[-1]))
        else:
            assert len(self.open) == 3 or self.used(61.0) + amount > 20

    @precondition(lambda self: self.open)
    @rule(true=st.integers(0, 30), which=st.integers(0, 2))
    def settle(self, true, which):
        token, entry = self.open.pop(which % len(self.open))
        self.store.settle(token, {"requests": float(true)}, self.now)
        entry[1] = float(true)

    def used(self, within):
        return sum(amount for when, amount in self.log if self.now - when < within)

    @invariant()
    def what_is_left_is_at_most_what_the_window_leaves(self):
        probe = self.store.reserve(ask(item(0.0, 20.0), now=self.now))
        level = probe.levels[0]
        assert level.remaining <= max(0.0, 20.0 - self.used(60.0))
        assert level.remaining >= max(0.0, 20.0 - self.used(61.0 + 1e-6))
        if isinstance(probe, Reserved):
            self.store.settle(probe.token, {}, self.now)


TestLedger = Ledger.TestCase
