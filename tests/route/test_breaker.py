from hypothesis import given
from hypothesis import strategies as st

from sidecar.route.breaker import Breaker, Budget


def opened(now=0.0):
    breaker = Breaker(failures=1, open_for=10.0)
    breaker.failed(now)
    return breaker


def test_opens_after_failures_in_a_row_only():
    breaker = Breaker(failures=3, open_for=10.0)
    for _ in range(2):
        breaker.failed(0.0)
    breaker.succeeded()
    for _ in range(2):
        breaker.failed(0.0)
    assert breaker.state(0.0) == "closed"
    breaker.failed(0.0)
    assert breaker.state(0.0) == "open"
    assert not breaker.ready(9.9)


def test_half_open_lets_one_trial_through():
    breaker = opened()
    assert breaker.ready(10.0)
    breaker.enter()
    assert not breaker.ready(10.0)


def test_a_failed_trial_opens_it_for_the_whole_time_again():
    breaker = opened()
    assert breaker.ready(10.0)
    breaker.enter()
    breaker.failed(12.0)
    assert not breaker.ready(21.9)
    assert breaker.ready(22.0)


def test_an_abandoned_trial_makes_room_for_another():
    breaker = opened()
    assert breaker.ready(10.0)
    breaker.enter()
    breaker.abandoned()
    assert breaker.ready(10.0)


def test_failures_of_calls_that_were_under_way_do_not_prolong_the_rest():
    breaker = opened(0.0)
    breaker.failed(9.0)
    assert breaker.ready(10.0)


@given(st.lists(st.sampled_from(["fail", "succeed", "abandon", "wait", "enter"]), max_size=40))
def test_it_always_lets_calls_through_again_in_time_whatever_happened(events):
    breaker, now = Breaker(failures=2, open_for=10.0), 0.0
    for event in events:
        now += 1.0
        match event:
            case "fail":
                breaker.failed(now)
            case "succeed":
                breaker.succeeded()
            case "abandon":
                breaker.abandoned()
            case "enter" if breaker.ready(now):
                breaker.enter()
            case "wait":
                now += 10.0
    breaker.abandoned()  # the trial under way, if any, ends
    assert breaker.ready(now + 10.0)


@given(st.integers(0, 500), st.floats(0, 1))
def test_retries_never_exceed_the_share_and_the_reserve(calls, share):
    budget, retries = Budget(), 0
    for _ in range(calls):
        budget.pay(share)
        retries += budget.take()
    assert retries <= Budget.RESERVE + calls * share + 1e-6
