import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.call import Call, Member
from sidecar.route.strategy import STRATEGIES, share, weighted

CALL = Call(id="d_1", protocol="llm", operation="chat", dialect="openai_chat", target="m", tokens=100)


class Idle:
    def busy(self, member):
        return 0

    def latency(self, member):
        return 0.0


members = st.lists(st.integers(0, 100), min_size=1, max_size=6).map(lambda weights: tuple(Member(f"u{n}", "m", weight=w) for n, w in enumerate(weights)))


@given(members, st.integers(), st.sampled_from(sorted(STRATEGIES)))
def test_a_strategy_orders_members_and_never_drops_or_adds_one(chosen, seed, name):
    order = STRATEGIES[name](chosen, CALL, Idle(), random.Random(seed).random)
    assert sorted(order, key=lambda member: member.upstream) == sorted(chosen, key=lambda member: member.upstream)


def test_ninety_to_ten_holds():
    pair = (Member("a", "m", weight=90), Member("b", "m", weight=10))
    draw = random.Random(7).random
    first = [weighted(pair, CALL, Idle(), draw)[0].upstream for _ in range(10_000)]
    assert first.count("a") / len(first) == pytest.approx(0.9, abs=0.015)


def test_a_draw_from_the_principal_is_sticky_and_still_holds_the_shares():
    pair = (Member("a", "m", weight=90), Member("b", "m", weight=10))

    def choice(who):
        return weighted(pair, CALL, Idle(), lambda: share(who))[0].upstream

    people = [f"user:{n}" for n in range(5_000)]
    first = [choice(who) for who in people]
    assert first == [choice(who) for who in people]
    assert first.count("a") / len(first) == pytest.approx(0.9, abs=0.02)


@given(st.floats(0, 1, exclude_max=True))
def test_weight_nought_is_the_last_resort(point):
    order = weighted((Member("spare", "m", weight=0), Member("a", "m"), Member("b", "m")), CALL, Idle(), lambda: point)
    assert order[-1].upstream == "spare"


def test_idle_upstreams_share_the_load_by_chance():
    pair = (Member("a", "m"), Member("b", "m"))
    draw = random.Random(7).random
    first = [STRATEGIES["least_busy"](pair, CALL, Idle(), draw)[0].upstream for _ in range(200)]
    assert 60 < first.count("a") < 140
