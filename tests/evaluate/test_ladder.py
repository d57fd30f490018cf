"""The order of the rungs, who asks, whose ids, and what a permit holds."""

import pytest

from sidecar.errors import CannotCarry, PermitError
from sidecar.evaluate.ladder import LADDER
from sidecar.need import Exhausted, Level, Owned, OwnerOf, Reserve, Reserved, Unauthenticated, Unavailable, Verify
from sidecar.principal import Presented, Principal
from sidecar.workbench.fixtures import Plain

LEVEL = Level("c", "requests", 1.0, 0.0, 30.0, 60.0, "q")


def test_the_order_is_the_literal_one():
    assert [stage.__name__ for stage in LADDER] == ["identify", "own", "authorize", "apply_policies", "reserve_quota", "screen_call"]


def test_the_caller_is_asked_for_with_what_was_presented(kit):
    script = kit.Script()
    presented = (Presented("bearer", "k"),)
    snapshot = kit.built(kit.ALLOW)
    from sidecar.evaluate import ladder

    decision = script.drive(ladder.decide(snapshot, kit.call(), presented, codec=Plain("openai"), now=kit.NOW, decision_id="d9"))
    assert [(type(need), need.presented) for need in script.needs] == [(Verify, presented)]
    assert (decision.id, decision.principal.id) == ("d9", "user:dev")


def test_a_caller_nobody_knows_is_401(kit):
    decision = kit.asked(kit.built(kit.ALLOW), script=kit.Script(Unauthenticated("no such key")))
    assert (decision.refusal.kind, decision.refusal.status, decision.refusal.message) == ("unauthenticated", 401, "no such key")


def test_mode_audit_does_not_forgive_a_missing_identity(kit):
    settings = kit.document("Settings", "s", mode="audit")
    decision = kit.asked(kit.built(settings, kit.ALLOW), script=kit.Script(Unauthenticated("no")))
    assert decision.refusal.status == 401


def test_a_known_principal_is_not_verified_again(kit):
    script = kit.Script()
    kit.asked(kit.built(kit.ALLOW), script=script, principal=kit.DEV)
    assert script.needs == []


def outage(kind):
    return {"by": {kind: Unavailable("somewhere")}}


QUOTA = {"limits": [{"metric": "requests", "max": 1, "per": "1m"}]}


@pytest.mark.parametrize("kind", [Verify, OwnerOf, Reserve])
def test_every_outage_is_a_no_with_503(kit, kind):
    snapshot = kit.built(kit.ALLOW, kit.document("Quota", "q", **QUOTA))
    decision = kit.asked(
        snapshot, kit.call(refs=(("response", "r1"),)), script=kit.Script(by={OwnerOf: Owned("user:dev", "openai")} | {kind: Unavailable("somewhere")})
    )
    assert (decision.effect, decision.refusal.kind, decision.refusal.status, decision.refusal.retry) == ("deny", "unavailable", 503, False)
    assert decision.permit is None


# ---------------------------------------------------------------- ids


def test_an_own_id_is_served_where_it_lives(kit):
    both = [kit.upstream("a"), kit.upstream("b"), kit.ALLOW]
    decision = kit.asked(kit.built(*both), kit.call(refs=(("response", "r1"),)), script=kit.Script(by={OwnerOf: Owned("user:dev", "b")}))
    assert [member.upstream for member in decision.permit.members] == ["b"]


def test_a_foreign_id_and_an_unknown_one_are_told_alike(kit):
    snapshot = kit.built(kit.ALLOW)
    made = kit.call(refs=(("response", "r1"),))
    foreign = kit.asked(snapshot, made, script=kit.Script(by={OwnerOf: Owned("user:x", "openai")}))
    unknown = kit.asked(snapshot, made, script=kit.Script(by={OwnerOf: None}))
    assert foreign.refusal == unknown.refusal
    assert (foreign.refusal.kind, foreign.refusal.status) == ("not_found", 404)
    assert foreign.facts != unknown.facts, "the record knows"


def test_mode_audit_does_not_hand_out_a_foreign_id(kit):
    snapshot = kit.built(kit.document("Settings", "s", mode="audit"), kit.ALLOW)
    decision = kit.asked(snapshot, kit.call(refs=(("response", "r1"),)), script=kit.Script(by={OwnerOf: Owned("user:x", "openai")}))
    assert decision.refusal.status == 404


def test_a_stored_reply_without_a_model_is_judged_under_every_model_of_its_upstream(kit):
    made = kit.call("", method="GET", refs=(("response", "r1"),), body=None)
    owner = {OwnerOf: Owned("user:dev", "openai")}
    allowed = kit.asked(kit.built(kit.policy("p", kit.rule("mini", "allow"), target=["gpt-4o-mini"])), made, script=kit.Script(by=owner))
    assert allowed.effect == "allow"
    denied = kit.asked(kit.built(kit.ALLOW, kit.policy("p", kit.rule("no", "deny"), target=["gpt-4o"])), made, script=kit.Script(by=owner))
    assert denied.by == ("p/no",)


# ---------------------------------------------------------------- models


def test_an_unknown_model_is_404(kit):
    decision = kit.asked(kit.built(kit.ALLOW), kit.call("gpt-9"))
    assert (decision.refusal.status, decision.refusal.code) == (404, "model_not_found")


def test_a_hidden_upstream_is_told_like_an_unknown_model(kit):
    hidden = kit.built(kit.upstream(hidden=True))
    assert kit.asked(hidden).refusal == kit.asked(hidden, kit.call("gpt-9")).refusal


def test_what_may_be_allowed_is_not_hidden(kit):
    snapshot = kit.built(kit.upstream(hidden=True), kit.policy("p", kit.rule("stream", "allow", "call.stream")))
    assert kit.asked(snapshot).refusal.status == 403


def test_another_dialects_upstream_is_unknown(kit):
    assert kit.asked(kit.built(kit.ALLOW), family="anthropic").refusal.code == "model_not_found"


@pytest.mark.parametrize("operation", ["count_tokens", "models"])
def test_housekeeping_is_allowed_to_whoever_may_use_anything(kit, operation):
    snapshot = kit.built(kit.policy("p", kit.rule("mini", "allow", "call.stream"), operation=["chat"], target=["gpt-4o-mini"], subjects=["group:eng"]))
    made = kit.call("" if operation == "models" else "gpt-4o", operation=operation)
    assert kit.asked(snapshot, made).effect == "allow"
    assert kit.asked(snapshot, made, Principal.of("user:x")).effect == "deny"


def test_housekeeping_can_be_denied(kit):
    snapshot = kit.built(kit.ALLOW, kit.policy("p", kit.rule("no", "deny"), operation=["count_tokens"]))
    assert kit.asked(snapshot, kit.call(operation="count_tokens")).by == ("p/no",)


def test_a_list_of_models_needs_no_permit(kit):
    decision = kit.asked(kit.built(kit.ALLOW), kit.call("", operation="models"))
    assert (decision.effect, decision.permit) == ("allow", None)


# ---------------------------------------------------------------- the permit


def test_the_permit_holds_one_payload_per_model_and_is_used_once(kit):
    route = kit.document(
        "Route", "r", match={"target": ["fast"]}, to=[{"upstream": "openai", "model": "gpt-4o"}, {"upstream": "openai", "model": "gpt-4o-mini"}]
    )
    permit = kit.asked(kit.built(kit.upstream(), route, kit.ALLOW), kit.call("fast")).permit
    permit.redeem(kit.NOW)
    assert [permit.payload(member).body for member in permit.members] == [b'{"model":"gpt-4o"}', b'{"model":"gpt-4o-mini"}']
    with pytest.raises(PermitError):
        permit.redeem(kit.NOW)


def test_a_dialect_that_cannot_write_a_call_denies_it(kit):
    class Mute(Plain):
        def write_call(self, call, member, edits):
            raise CannotCarry("no place for it")

    decision = kit.asked(kit.built(kit.ALLOW), codec=Mute("openai"))
    assert (decision.effect, decision.permit) == ("deny", None)


def test_timings_are_there_only_with_a_clock(kit):
    ticks = iter(range(0, 1000, 7))
    snapshot = kit.built(kit.ALLOW)
    assert kit.asked(snapshot).timings == ()
    timed = kit.asked(snapshot, clock=lambda: next(ticks)).timings
    assert timed == tuple((stage.__name__, 7) for stage in LADDER)


def test_a_decision_again_spends_no_quota(kit):
    script = kit.Script()
    snapshot = kit.built(kit.ALLOW, kit.document("Quota", "q", **QUOTA))
    assert kit.asked(snapshot, script=script, reserve=False).effect == "allow"
    assert [type(need) for need in script.needs] == [Verify]


def test_policies_are_asked_before_quota_and_quota_before_the_screen(kit):
    no = kit.policy("p", kit.rule("no", "deny", "call.stream"))
    script = kit.Script()
    snapshot = kit.built(kit.ALLOW, no, kit.document("Quota", "q", **QUOTA))
    kit.asked(snapshot, kit.call(stream=True), script=script)
    assert Reserve not in [type(need) for need in script.needs]


def test_what_was_reserved_is_in_a_later_refusal_to_be_given_back(kit):
    class Capless(Plain):
        def cap(self, call, name, maximum):
            raise CannotCarry(f"`{name}` has no place here")

    must = kit.policy("p", kit.rule("must", "require", then={"cap": {"n": 1}}))
    snapshot = kit.built(kit.ALLOW, must, kit.document("Quota", "q", **QUOTA))
    decision = kit.asked(snapshot, codec=Capless("openai"), script=kit.Script(by={Reserve: Reserved("tok", (LEVEL,))}))
    assert (decision.effect, decision.reservation, decision.by) == ("deny", "tok", ("p/must",))
    assert "`n` has no place here" in decision.refusal.message


def test_mode_audit_forwards_over_an_empty_quota(kit):
    snapshot = kit.built(kit.document("Settings", "s", mode="audit"), kit.ALLOW, kit.document("Quota", "q", **QUOTA))
    decision = kit.asked(snapshot, script=kit.Script(by={Reserve: Exhausted(LEVEL, 3.0)}))
    assert (decision.effect, decision.audited, decision.reservation) == ("allow", True, "")
    assert [reason.rule for reason in decision.would] == ["q"]
