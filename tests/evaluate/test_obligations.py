"""What matching requires and allows demand adds up; what can't be met is a no that names the rule."""

import pytest

from sidecar.wire import CODECS
from sidecar.wire.base import WireRequest

EU = {"region": "eu"}


def require(kit, name, **then):
    return kit.policy(name, kit.rule("must", "require", then=then))


def test_a_require_grants_nothing(kit):
    assert kit.asked(kit.built(require(kit, "a", label=["x"]))).effect == "deny"


def test_the_smallest_cap_wins(kit):
    snapshot = kit.built(kit.ALLOW, require(kit, "a", cap={"max_tokens": 200, "n": 1}), require(kit, "b", cap={"max_tokens": 100}))
    decision = kit.asked(snapshot, kit.call(params={"max_tokens": 500}))
    assert decision.obligations.cap == (("max_tokens", 100.0), ("n", 1.0))
    decision.permit.redeem(kit.NOW)
    assert b'"max_tokens":100' in decision.permit.payload(decision.permit.members[0]).body


def test_labels_and_warnings_accumulate(kit):
    snapshot = kit.built(
        kit.ALLOW, require(kit, "a", label=["x"], warn=["w1"]), require(kit, "b", label=["x", "y"]), kit.policy("c", kit.rule("psst", "warn", message="w2"))
    )
    owed = kit.asked(snapshot).obligations
    assert (owed.label, owed.warn) == (("x", "y"), ("w1", "w2"))


def test_equal_settings_are_one_and_unequal_ones_deny(kit):
    same = kit.built(kit.ALLOW, require(kit, "a", set={"seed": 1}), require(kit, "b", set={"seed": 1}))
    assert kit.asked(same).obligations.set == (("seed", 1),)
    other = kit.built(kit.ALLOW, require(kit, "a", set={"seed": 1}), require(kit, "b", set={"seed": 2}))
    assert kit.asked(other).by == ("b/must",)


def test_true_is_not_one(kit):
    snapshot = kit.built(kit.ALLOW, require(kit, "a", set={"store": True}), require(kit, "b", set={"store": 1}))
    assert kit.asked(snapshot).by == ("b/must",)


def test_a_route_label_leaves_only_upstreams_that_carry_it(kit):
    both = [kit.upstream("eu", labels=EU), kit.upstream("us")]
    decision = kit.asked(kit.built(*both, kit.ALLOW, require(kit, "a", route=EU)))
    assert [member.upstream for member in decision.permit.members] == ["eu"]


def test_no_upstream_with_the_label_is_a_no_of_the_rule(kit):
    decision = kit.asked(kit.built(kit.ALLOW, require(kit, "a", route=EU)))
    assert (decision.by, decision.refusal.status) == (("a/must",), 403)


def test_contrary_route_labels_deny(kit):
    both = [kit.upstream("eu", labels=EU), kit.upstream("us")]
    decision = kit.asked(kit.built(*both, kit.ALLOW, require(kit, "a", route=EU), require(kit, "b", route={"region": "us"})))
    assert decision.by == ("b/must",)


def test_obligations_of_an_allow_hold_where_it_matches(kit):
    snapshot = kit.built(kit.ALLOW, kit.policy("p", kit.rule("capped", "allow", "call.stream", then={"cap": {"max_tokens": 5}})))
    assert kit.asked(snapshot, kit.call(stream=True)).obligations.cap == (("max_tokens", 5.0),)
    assert kit.asked(snapshot).obligations.cap == ()


def test_redaction_replaces_what_is_there(kit):
    snapshot = kit.built(kit.ALLOW, require(kit, "a", redact=["/user", "/absent"]))
    decision = kit.asked(snapshot, kit.call(params={"user": "u-17"}))
    decision.permit.redeem(kit.NOW)
    assert decision.permit.payload(decision.permit.members[0]).body == b'{"user":"[redacted]","model":"gpt-4o"}'


@pytest.mark.parametrize("dialect", ["openai_chat"])
def test_a_real_codec_carries_them_out(kit, dialect):
    codec = CODECS[dialect]
    body = b'{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}],"max_tokens":900,"user":"u-17"}'
    made = codec.read_call("c1", WireRequest("POST", "/v1/chat/completions", (), [("content-type", "application/json")], body), {})
    decision = kit.asked(kit.built(kit.ALLOW, require(kit, "a", cap={"max_tokens": 100}, redact=["/user"])), made, codec=codec)
    decision.permit.redeem(kit.NOW)
    sent = decision.permit.payload(decision.permit.members[0]).body
    assert b"900" not in sent
    assert b"u-17" not in sent
    assert b"100" in sent


def test_what_a_codec_cannot_carry_is_a_no_of_the_rule(kit):
    codec = CODECS["openai_embeddings"]
    body = b'{"model":"text-embed","input":"hi"}'
    made = codec.read_call("c1", WireRequest("POST", "/v1/embeddings", (), [("content-type", "application/json")], body), {})
    decision = kit.asked(kit.built(kit.ALLOW, require(kit, "a", cap={"max_tokens": 100})), made, codec=codec)
    assert (decision.effect, decision.by) == ("deny", ("a/must",))
