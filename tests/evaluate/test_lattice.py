"""Deny over allow over default; errors; members; layers; exceptions; audit."""

import pytest

from sidecar.principal import Principal

OTHER = Principal.of("user:other", team="", groups=(), claims={"mfa": False, "level": 0})


def test_nothing_said_is_a_no_that_names_no_rule(kit):
    decision = kit.asked(kit.built())
    assert (decision.effect, decision.by, decision.permit) == ("deny", (), None)
    assert (decision.refusal.kind, decision.refusal.status, decision.refusal.code) == ("hidden", 403, "policy_denied")


def test_an_allow_permits_and_is_named_with_its_place(kit):
    decision = kit.asked(kit.built(kit.ALLOW))
    assert decision.effect == "allow"
    assert decision.by == ("open/all",)
    assert decision.reasons[0].where.startswith("layer0/all.yaml:")
    assert [member.name for member in decision.permit.members] == ["openai/gpt-4o"]
    assert decision.permit.expires == kit.NOW + 60


def test_a_deny_beats_every_allow_and_tells_the_authors_words(kit):
    snapshot = kit.built(kit.ALLOW, kit.policy("p", kit.rule("no", "deny", message="Not today.", help="https://example.com/no")))
    decision = kit.asked(snapshot)
    assert decision.by == ("p/no",)
    assert (decision.refusal.message, decision.refusal.help, decision.refusal.rule, decision.refusal.status) == (
        "Not today.",
        "https://example.com/no",
        "p/no",
        403,
    )


def test_a_deny_without_words_names_its_rule(kit):
    assert kit.asked(kit.built(kit.ALLOW, kit.policy("p", kit.rule("no", "deny")))).refusal.message == "denied by rule `p/no`"


def test_disclose_id_tells_neither_rule_nor_words(kit):
    settings = kit.document("Settings", "s", denials={"disclose": "id"})
    decision = kit.asked(kit.built(settings, kit.ALLOW, kit.policy("p", kit.rule("no", "deny", message="Secret reason."))))
    assert decision.by == ("p/no",), "the record knows"
    assert (decision.refusal.rule, decision.refusal.message) == ("", "denied by policy")


FAULT = "call.params.depth > 3"  # `params` holds no `depth`


@pytest.mark.parametrize(
    ("effect", "allowed"),
    [("deny", False), ("allow", False), ("warn", True)],
)
def test_an_error_counts_as_matched_for_a_no_and_as_not_matched_for_a_yes(kit, effect, allowed):
    base = [] if effect == "allow" else [kit.ALLOW]
    decision = kit.asked(kit.built(*base, kit.policy("p", kit.rule("odd", effect, FAULT))))
    assert (decision.effect == "allow") is allowed
    assert [reason.result for reason in decision.reasons if reason.rule == "p/odd"] == ["error"]


def test_an_error_in_a_require_still_demands(kit):
    snapshot = kit.built(kit.ALLOW, kit.policy("p", kit.rule("must", "require", FAULT, then={"cap": {"max_tokens": 7}})))
    assert kit.asked(snapshot).obligations.cap == (("max_tokens", 7.0),)


def test_a_false_document_condition_beats_an_error_in_the_rule(kit):
    snapshot = kit.built(kit.ALLOW, kit.policy("p", kit.rule("no", "deny", FAULT), when='principal.team == "nobody"'))
    assert kit.asked(snapshot).effect == "allow"


def test_the_document_condition_is_anded_to_each_rule(kit):
    snapshot = kit.built(kit.ALLOW, kit.policy("p", kit.rule("no", "deny", "call.stream"), when='principal.team == "core"'))
    assert kit.asked(snapshot, kit.call(stream=True)).by == ("p/no",)
    assert kit.asked(snapshot, kit.call(stream=True), OTHER).effect == "allow"
    assert kit.asked(snapshot, kit.call(stream=False)).effect == "allow"


def test_an_allow_must_cover_the_member_that_serves(kit):
    route = kit.document(
        "Route", "r", match={"target": ["fast"]}, to=[{"upstream": "openai", "model": "gpt-4o"}, {"upstream": "openai", "model": "gpt-4o-mini"}]
    )
    snapshot = kit.built(kit.upstream(), route, kit.policy("p", kit.rule("mini", "allow"), target=["gpt-4o-mini"]))
    decision = kit.asked(snapshot, kit.call("fast"))
    assert [member.name for member in decision.permit.members] == ["openai/gpt-4o-mini"]


def test_an_allow_of_the_asked_alias_covers_nothing(kit):
    snapshot = kit.built(kit.policy("p", kit.rule("smart", "allow"), target=["smart"]))
    assert kit.asked(snapshot, kit.call("smart")).effect == "deny"


@pytest.mark.parametrize("target", ["fast", "gpt-4o", "openai/gpt-4o", "*/gpt-4o-mini", "GPT-4O", "**"])
def test_a_deny_on_any_name_of_the_closed_set_holds(kit, target):
    route = kit.document(
        "Route", "r", match={"target": ["fast"]}, to=[{"upstream": "openai", "model": "gpt-4o"}, {"upstream": "openai", "model": "gpt-4o-mini"}]
    )
    snapshot = kit.built(kit.upstream(), route, kit.ALLOW, kit.policy("p", kit.rule("no", "deny"), target=[target]))
    assert kit.asked(snapshot, kit.call("fast")).by == ("p/no",)


def test_a_condition_on_the_model_is_read_for_each_model(kit):
    route = kit.document(
        "Route", "r", match={"target": ["fast"]}, to=[{"upstream": "openai", "model": "gpt-4o"}, {"upstream": "openai", "model": "gpt-4o-mini"}]
    )
    allowing = kit.built(kit.upstream(), route, kit.policy("p", kit.rule("mini", "allow", 'call.model.endsWith("mini")')))
    decision = kit.asked(allowing, kit.call("fast"))
    assert [member.model for member in decision.permit.members] == ["gpt-4o-mini"]
    denying = kit.built(kit.upstream(), route, kit.ALLOW, kit.policy("p", kit.rule("no", "deny", 'call.model.endsWith("mini")')))
    assert kit.asked(denying, kit.call("fast")).by == ("p/no",), "true for any model is true"


def test_operations_left_open_do_not_mean_tool_calls(kit):
    snapshot = kit.built(kit.ALLOW, kit.policy("p", kit.rule("no", "deny")))
    assert kit.asked(snapshot, kit.call(operation="chat")).effect == "deny"
    tools = kit.built(kit.ALLOW, kit.policy("p", kit.rule("no", "deny"), operation=["tool_call"]))
    assert kit.asked(tools).effect == "allow"


def test_subjects_match_by_glob(kit):
    snapshot = kit.built(kit.policy("p", kit.rule("eng", "allow"), subjects=["group:en*"]))
    assert kit.asked(snapshot).effect == "allow"
    assert kit.asked(snapshot, who=OTHER).effect == "deny"


def test_variables_are_computed_once_and_only_when_read(kit):
    variables = {"big": "call.params.depth > 3", "far": "variables.big || call.stream"}
    snapshot = kit.built(
        kit.ALLOW, kit.policy("p", kit.rule("big", "deny", "variables.far"), kit.rule("off", "deny", "call.tokens > 0 && variables.big"), variables=variables)
    )
    assert kit.asked(snapshot, kit.call(params={"depth": 1})).effect == "allow"
    assert kit.asked(snapshot, kit.call(params={"depth": 9})).by == ("p/big",)
    decision = kit.asked(snapshot, kit.call())
    assert decision.by == ("p/big",), "a variable that fails is an error where it is read"
    assert [reason.result for reason in decision.reasons if reason.rule == "p/off"] == ["false"], "and none where it is not"


# ---------------------------------------------------------------- layers


def test_a_later_layer_tightens_and_never_widens(kit):
    open_, closed = [kit.upstream(), kit.ALLOW], [kit.upstream()]
    tight = [kit.policy("t", kit.rule("no-stream", "deny", "call.stream"))]
    wide = [kit.policy("t", kit.rule("all", "allow"))]
    assert kit.asked(kit.built(*open_, later=[tight])).effect == "allow", "a layer that only denies abstains where it denies nothing"
    assert kit.asked(kit.built(*open_, later=[tight]), kit.call(stream=True)).by == ("t/no-stream",)
    assert kit.asked(kit.built(*closed, later=[wide])).effect == "deny"


def test_a_later_layer_with_an_allow_is_an_allow_list(kit):
    narrow = [kit.policy("t", kit.rule("mini", "allow"), target=["gpt-4o-mini"])]
    snapshot = kit.built(kit.upstream(), kit.ALLOW, later=[narrow])
    assert kit.asked(snapshot, kit.call("gpt-4o-mini")).by == ("open/all", "t/mini")
    assert kit.asked(snapshot, kit.call("gpt-4o")).effect == "deny"


def test_an_audit_allow_does_not_make_a_layer_an_allow_list(kit):
    narrow = [kit.policy("t", kit.rule("mini", "allow"), target=["gpt-4o-mini"], mode="audit")]
    assert kit.asked(kit.built(kit.upstream(), kit.ALLOW, later=[narrow])).effect == "allow"


def test_default_allow_is_of_the_first_layer_alone(kit):
    settings = kit.document("Settings", "s", default={"effect": "allow"})
    assert kit.asked(kit.built(settings)).effect == "allow"
    narrow = [kit.policy("t", kit.rule("mini", "allow"), target=["gpt-4o-mini"])]
    assert kit.asked(kit.built(settings, kit.upstream(), later=[narrow])).effect == "deny"


# ---------------------------------------------------------------- exceptions


def exception(kit, *lifts, expires="2026-10-01T00:00:00Z", when="true", **match):
    return kit.document("Exception", "ir-1", lifts=list(lifts), match=match, when=when, reason="IR-1", approvedBy="ciso", expires=expires)


def denying(kit, *more, later=()):
    return kit.built(kit.upstream(), kit.ALLOW, kit.policy("p", kit.rule("no", "deny")), *more, later=later)


def test_an_exception_lifts_its_rule_and_is_named(kit):
    decision = kit.asked(denying(kit, exception(kit, "Policy/p/no", subjects=["group:eng"])))
    assert decision.effect == "allow"
    assert [(reason.rule, reason.lifted) for reason in decision.reasons if reason.lifted] == [("p/no", "ir-1")]


def test_an_exception_is_void_past_its_end_for_others_and_on_an_error(kit):
    lifted = denying(kit, exception(kit, "Policy/p/no"))
    assert kit.asked(lifted, now=kit.NOW + 30 * 86400).effect == "deny"
    assert kit.asked(denying(kit, exception(kit, "Policy/p/no", subjects=["group:eng"])), who=OTHER).effect == "deny"
    assert kit.asked(denying(kit, exception(kit, "Policy/p/no", when=FAULT))).effect == "deny"


def test_an_exception_never_makes_a_yes(kit):
    snapshot = kit.built(kit.policy("p", kit.rule("no", "deny")), exception(kit, "Policy/p/no"))
    assert kit.asked(snapshot).effect == "deny"


def test_an_exception_lifts_in_its_own_layer_alone(kit):
    other = [kit.policy("p", kit.rule("no", "deny"))]
    snapshot = denying(kit, exception(kit, "Policy/p/no"), later=[other])
    decision = kit.asked(snapshot)
    assert decision.by == ("p/no",)
    assert decision.reasons[0].layer == "layer1"


# ---------------------------------------------------------------- audit


@pytest.mark.parametrize("effect", ["deny", "warn"])
@pytest.mark.parametrize("when", ["true", FAULT])
def test_an_audit_document_is_recorded_and_changes_nothing(kit, effect, when):
    snapshot = kit.built(kit.ALLOW, kit.policy("a", kit.rule("would", effect, when), mode="audit"))
    decision = kit.asked(snapshot)
    assert decision.effect == "allow"
    assert decision.by == ("open/all",)
    assert [reason.rule for reason in decision.would] == ["a/would"]
    assert "a/would" not in [reason.rule for reason in decision.reasons]


def test_an_audit_allow_never_grants_but_says_it_would(kit):
    decision = kit.asked(kit.built(kit.policy("a", kit.rule("would", "allow"), mode="audit")))
    assert decision.effect == "deny"
    assert [reason.rule for reason in decision.would] == ["a/would"]


def test_an_audit_require_obliges_nothing(kit):
    snapshot = kit.built(kit.ALLOW, kit.policy("a", kit.rule("would", "require", then={"cap": {"max_tokens": 1}}), mode="audit"))
    assert kit.asked(snapshot).obligations.cap == ()


def test_mode_audit_forwards_what_would_be_refused(kit):
    settings = kit.document("Settings", "s", mode="audit")
    denied = kit.asked(kit.built(settings, kit.ALLOW, kit.policy("p", kit.rule("no", "deny"))))
    assert (denied.effect, denied.audited, denied.refusal) == ("allow", True, None)
    assert [reason.rule for reason in denied.would] == ["p/no"]
    assert denied.permit is not None
    nothing = kit.asked(kit.built(settings))
    assert (nothing.effect, nothing.audited, [reason.rule for reason in nothing.would]) == ("allow", True, ["default"])


def test_mode_audit_still_refuses_an_unknown_model(kit):
    decision = kit.asked(kit.built(kit.document("Settings", "s", mode="audit")), kit.call("nope"))
    assert decision.refusal.code == "model_not_found"
