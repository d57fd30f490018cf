"""What is reserved, in which counters, what refuses, and what is settled."""

import pytest

from sidecar.call import Member, Usage
from sidecar.evaluate import quotas
from sidecar.need import Exhausted, Level, Reserve, Reserved, Unavailable
from sidecar.principal import Principal

METRICS = ("requests", "input_tokens", "output_tokens", "tokens", "cost_usd", "concurrency")


def quota(kit, name="q", *metrics, **more):
    limits = [{"metric": metric, "max": 100, **({} if metric == "concurrency" else {"per": "1m"})} for metric in metrics or ("requests",)]
    return kit.document("Quota", name, **{"limits": limits, **more})


def reserved(kit, snapshot, made=None, who=None):
    script = kit.Script(who or kit.DEV)
    decision = kit.asked(snapshot, made, script=script)
    return decision, [item for need in script.needs if isinstance(need, Reserve) for item in need.items]


def test_all_limits_of_all_matching_quotas_are_asked_for_at_once(kit):
    snapshot = kit.built(kit.ALLOW, quota(kit, "a", "requests", "tokens"), quota(kit, "b", "concurrency"))
    script = kit.Script()
    kit.asked(snapshot, script=script)
    (need,) = [need for need in script.needs if isinstance(need, Reserve)]
    assert sorted((item.rule, item.metric) for item in need.items) == [("a", "requests"), ("a", "tokens"), ("b", "concurrency")]
    assert (need.call_id, need.now) == ("d1", kit.NOW)


def test_the_bound_is_the_callers_cap_times_the_choices(kit):
    made = kit.call(tokens=10, max_output=50, choices=3)
    _, items = reserved(kit, kit.built(kit.ALLOW, quota(kit, "q", *METRICS)), made)
    amounts = {item.metric: item.amount for item in items}
    assert amounts == {
        "requests": 1,
        "input_tokens": 10,
        "output_tokens": 150,
        "tokens": 160,
        "concurrency": 1,
        "cost_usd": pytest.approx((10 * 1 + 150 * 2) / 1e6),
    }


@pytest.mark.parametrize(("target", "output"), [("gpt-4o", 1000), ("gpt-4o-mini", quotas.OUTPUT)])
def test_without_a_cap_it_is_the_models_largest_output_or_a_default(kit, target, output):
    _, items = reserved(kit, kit.built(kit.ALLOW, quota(kit, "q", "output_tokens")), kit.call(target))
    assert items[0].amount == output


def test_an_obligation_lowers_the_bound(kit):
    cap = kit.policy("p", kit.rule("must", "require", then={"cap": {"max_tokens": 7}}))
    _, items = reserved(kit, kit.built(kit.ALLOW, cap, quota(kit, "q", "output_tokens")), kit.call(max_output=900))
    assert items[0].amount == 7


def test_what_has_no_output_reserves_none(kit):
    _, items = reserved(kit, kit.built(kit.ALLOW, quota(kit, "q", "output_tokens", "tokens")), kit.call("text-embed", operation="embeddings", tokens=9))
    assert {item.metric: item.amount for item in items} == {"output_tokens": 0, "tokens": 9}


def test_dollars_are_those_of_the_dearest_member_that_survived(kit):
    models = [{"name": "gpt-4o", "price": {"input": 9.0, "output": 9.0}}]
    dear, cheap = kit.upstream("dear", models=models), kit.upstream("cheap", labels={"region": "eu"})
    made = kit.call(tokens=1_000_000, max_output=1)
    _, items = reserved(kit, kit.built(dear, cheap, kit.ALLOW, quota(kit, "q", "cost_usd")), made)
    assert items[0].amount == pytest.approx(9.000009)
    eu = kit.policy("p", kit.rule("eu", "require", then={"route": {"region": "eu"}}))
    _, items = reserved(kit, kit.built(dear, cheap, kit.ALLOW, eu, quota(kit, "q", "cost_usd")), made)
    assert items[0].amount == pytest.approx(1.000002)


def test_windows_are_seconds_or_calendar(kit):
    limits = [
        {"metric": "requests", "max": 1, "per": "1h"},
        {"metric": "requests", "max": 9, "per": "day", "timezone": "Europe/Berlin"},
        {"metric": "concurrency", "max": 2},
    ]
    _, items = reserved(kit, kit.built(kit.ALLOW, kit.document("Quota", "q", limits=limits)))
    assert {item.window for item in items} == {3600.0, "day:Europe/Berlin", 0.0}


# ---------------------------------------------------------------- counters


def test_two_limits_never_share_a_counter(kit):
    limits = [{"metric": "requests", "max": m, "per": p} for m, p in ((1, "1m"), (2, "1m"), (1, "1h"), (1, "day"))]
    limits.append({"metric": "requests", "max": 1, "per": "day", "timezone": "Asia/Tokyo"})
    later = [kit.document("Quota", "q", limits=limits)]
    _, items = reserved(
        kit, kit.built(kit.upstream(), kit.ALLOW, kit.document("Quota", "q", limits=limits), kit.document("Quota", "q2", limits=limits), later=[later])
    )
    assert len({item.counter for item in items}) == len(items) == 15


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a|1=b", "c"), ("a", "b|1=c")),
        (("1", ""), ("", "1")),
        (("a", "bc"), ("ab", "c")),
        (("|", "|"), ("||", "")),
    ],
)
def test_keys_that_differ_never_read_the_same(kit, one, other):
    document = quota(kit, key=["principal.id", 'principal.team + "."'])
    snapshot = kit.built(kit.ALLOW, document)
    counters = [reserved(kit, snapshot, who=Principal.of(f"user:{id}", team=team))[1][0].counter for id, team in (one, other)]
    assert counters[0] != counters[1]


def test_a_text_and_a_number_are_different_keys(kit):
    text, number = (kit.built(kit.ALLOW, quota(kit, key=[key])) for key in ('"2"', "principal.claims.level"))
    assert reserved(kit, text)[1][0].counter != reserved(kit, number)[1][0].counter


def test_a_counter_outlives_a_change_of_its_size_and_place(kit):
    def counters(*limits):
        return {(item.metric, item.window): item.counter for item in reserved(kit, kit.built(kit.ALLOW, kit.document("Quota", "q", limits=list(limits))))[1]}

    a, b = {"metric": "requests", "max": 1, "per": "1m"}, {"metric": "tokens", "max": 5, "per": "1m"}
    assert counters(a, b) == counters(b, {**a, "max": 3})


def test_a_key_that_tells_models_apart_counts_each_that_may_serve(kit):
    route = kit.document(
        "Route", "r", match={"target": ["fast"]}, to=[{"upstream": "openai", "model": "gpt-4o"}, {"upstream": "openai", "model": "gpt-4o-mini"}]
    )
    snapshot = kit.built(kit.upstream(), route, kit.ALLOW, quota(kit, key=["call.model"]))
    assert len(reserved(kit, snapshot, kit.call("fast"))[1]) == 2
    assert len(reserved(kit, snapshot, kit.call("gpt-4o"))[1]) == 1


def test_a_quota_counts_whom_it_matches(kit):
    snapshot = kit.built(kit.ALLOW, quota(kit, match={"subjects": ["group:eng"]}, when="call.stream"))
    assert reserved(kit, snapshot, kit.call(stream=True))[1]
    assert not reserved(kit, snapshot)[1]
    assert not reserved(kit, snapshot, kit.call(stream=True), Principal.of("user:x"))[1]


def test_an_error_in_its_condition_counts(kit):
    assert reserved(kit, kit.built(kit.ALLOW, quota(kit, when="call.params.depth > 1")))[1]


def test_a_quota_in_audit_reserves_nothing(kit):
    assert not reserved(kit, kit.built(kit.ALLOW, quota(kit, mode="audit")))[1]


# ---------------------------------------------------------------- answers


def level(**more):
    return Level(**{"counter": "c", "metric": "requests", "limit": 100.0, "remaining": 0.0, "reset_after": 30.0, "window": 60.0, "rule": "q", **more})


@pytest.mark.parametrize(
    ("wait", "kind", "code", "retry"),
    [
        (3.0, "quota", "rate_limit_exceeded", True),
        (120.0, "quota", "rate_limit_exceeded", True),
        (5000.0, "budget", "insufficient_quota", False),
        (None, "budget", "insufficient_quota", False),
    ],
)
def test_over_a_quota_is_429_and_says_whether_waiting_helps(kit, wait, kind, code, retry):
    decision = kit.asked(kit.built(kit.ALLOW, quota(kit)), script=kit.Script(by={Reserve: Exhausted(level(), wait, (level(),))}))
    refusal = decision.refusal
    assert (refusal.kind, refusal.status, refusal.code, refusal.retry, refusal.retry_after, refusal.rule) == (kind, 429, code, retry, wait, "q")
    assert (decision.by, decision.levels) == (("q",), (level(),))


def test_a_granted_reservation_is_in_the_decision(kit):
    decision = kit.asked(kit.built(kit.ALLOW, quota(kit)), script=kit.Script(by={Reserve: Reserved("tok", (level(remaining=9.0),))}))
    assert (decision.reservation, decision.levels, decision.facts["quota"]) == ("tok", (level(remaining=9.0),), "granted")


def test_a_store_that_is_down_follows_on_error(kit):
    down = {"by": {Reserve: Unavailable("store")}}
    closed = kit.asked(kit.built(kit.ALLOW, quota(kit)), script=kit.Script(**down))
    assert (closed.refusal.status, closed.refusal.code, closed.refusal.rule, closed.by) == (503, "quota_unavailable", "q", ("q",))
    opened = kit.asked(kit.built(kit.ALLOW, quota(kit, onError="allow")), script=kit.Script(**down))
    assert opened.effect == "allow"
    assert [reason.result for reason in opened.reasons if reason.kind == "Quota"] == ["unavailable"]
    mixed = kit.asked(kit.built(kit.ALLOW, quota(kit, "open", onError="allow"), quota(kit, "shut")), script=kit.Script(**down))
    assert mixed.refusal.rule == "shut"


@pytest.mark.parametrize("key", ["principal.team", "call.params.customer"])
def test_a_missing_part_of_the_key_follows_on_error(kit, key):
    nobody = Principal.of("user:x")
    closed, items = reserved(kit, kit.built(kit.ALLOW, quota(kit, key=[key])), who=nobody)
    assert (closed.refusal.status, closed.refusal.code, closed.refusal.rule, items) == (503, "quota_unavailable", "q", [])
    opened, items = reserved(kit, kit.built(kit.ALLOW, quota(kit, key=[key], onError="allow")), who=nobody)
    assert (opened.effect, items) == ("allow", [])
    assert [reason.result for reason in opened.reasons if reason.kind == "Quota"] == ["skipped"]


def test_a_missing_price_under_a_dollar_limit_follows_on_error(kit):
    bare = kit.upstream(models=[{"name": "gpt-4o"}])
    closed, _ = reserved(kit, kit.built(bare, kit.ALLOW, quota(kit, "q", "cost_usd")))
    assert closed.refusal.code == "quota_unavailable"
    opened, items = reserved(kit, kit.built(bare, kit.ALLOW, quota(kit, "q", "cost_usd", "requests", onError="allow")))
    assert (opened.effect, [item.metric for item in items]) == ("allow", ["requests"])


def test_past_its_share_a_limit_warns(kit):
    limits = [{"metric": "requests", "max": 100, "per": "1m", "warnAt": "80%"}]
    snapshot = kit.built(kit.ALLOW, kit.document("Quota", "q", limits=limits))

    def answer(remaining):
        return lambda need: Reserved("tok", (level(counter=need.items[0].counter, remaining=remaining),))

    warned = kit.asked(snapshot, script=kit.Script(by={Reserve: answer(20.0)}))
    assert [reason.result for reason in warned.reasons if reason.kind == "Quota"] == ["warned"]
    quiet = kit.asked(snapshot, script=kit.Script(by={Reserve: answer(21.0)}))
    assert [reason for reason in quiet.reasons if reason.kind == "Quota"] == []


# ---------------------------------------------------------------- after


def test_settlement_is_true_usage_at_the_price_of_who_served(kit):
    decision = kit.asked(kit.built(kit.ALLOW))
    served = Member("up", "m", price_input=2.0, price_output=3.0)
    actual = quotas.settlement(decision, Usage(10, 4), served)
    assert actual == {"requests": 1.0, "input_tokens": 10.0, "output_tokens": 4.0, "tokens": 14.0, "cost_usd": 32.0, "concurrency": 0.0}


def test_dollars_that_nobody_can_tell_stay_as_reserved(kit):
    decision = kit.asked(kit.built(kit.ALLOW))
    assert "cost_usd" not in quotas.settlement(decision, Usage(10, 4), Member("up", "m"))
    assert "cost_usd" not in quotas.settlement(decision, Usage(10, 4), None)


def test_a_refund_keeps_the_request_counted():
    assert quotas.refund() == {"requests": 1.0, "input_tokens": 0.0, "output_tokens": 0.0, "tokens": 0.0, "cost_usd": 0.0, "concurrency": 0.0}


# ---------------------------------------------------------------- on record


def test_the_facts_name_the_quotas_that_were_granted_and_the_amounts_that_were_asked_for(kit):
    snapshot = kit.built(kit.ALLOW, quota(kit), quota(kit, "t", "tokens"))
    facts = kit.asked(snapshot, kit.call(tokens=10, max_output=20, body={})).facts
    assert facts["quota"] == "granted"
    assert [name.partition("#")[0] for name in facts["quotas"]] == ["q", "t"]
    assert facts["bill"] == {"input_tokens": 10.0, "output_tokens": 20.0, "tokens": 30.0, "cost_usd": facts["bill"]["cost_usd"]}


def test_of_several_the_facts_name_the_one_that_ran_out_and_no_bill_where_nothing_is_metered(kit):
    snapshot = kit.built(kit.ALLOW, quota(kit), quota(kit, "r"))
    script = kit.Script(by={Reserve: lambda need: Exhausted(kit.replace(level(), counter=need.items[1].counter), 1.0)})
    facts = kit.asked(snapshot, script=script).facts
    assert (facts["quota"], [name.partition("#")[0] for name in facts["quotas"]], "bill" in facts) == ("exhausted", ["r"], False)


def test_what_is_not_reserved_is_said_to_be_spared(kit):
    assert kit.asked(kit.built(kit.ALLOW, quota(kit)), reserve=False).facts == {"quota": "spared"}
    assert kit.asked(kit.built(kit.ALLOW), reserve=False).facts == {}


def identity(kit, **spec):
    (rule,) = (
        kit.built(kit.ALLOW, kit.document("Quota", "q", **{"key": ["principal.id"], "limits": [{"metric": "requests", "max": 5, "per": "1m"}], **spec}))
        .layers[0]
        .quotas.rules
    )
    return rule.identity


def test_a_quota_is_another_question_when_its_key_or_a_limit_is_another(kit):
    same = identity(kit)
    assert same.startswith("q#")
    assert same == identity(kit, onError="allow") == identity(kit, match={"operation": ["chat"]})
    limits = [[{"metric": "requests", "max": most, "per": per}] for most, per in ((6, "1m"), (5, "1h"))]
    assert len({same, identity(kit, key=["principal.team"]), *(identity(kit, limits=each) for each in limits)}) == 4
