"""Documents to a snapshot: what is found at load, and where."""

import pytest


def found(kit, *layers):
    compilation = kit.compiled(*layers)
    return [(item.severity, item.code) for item in compilation.diagnostics], compilation


def one(kit, *documents):
    """The only error, with the source line it points at."""
    compilation = kit.compiled([kit.upstream(), *documents])
    assert compilation.snapshot is None
    (item,) = [each for each in compilation.diagnostics if each.severity == "error"]
    assert item.position.line
    return item


@pytest.mark.parametrize(
    ("document", "near"),
    [
        (lambda kit: kit.policy("p", kit.rule("r", "deny", "call.toknes > 1")), "toknes"),
        (lambda kit: kit.policy("p", kit.rule("r", "deny"), when="call.nope"), "nope"),
        (lambda kit: kit.policy("p", kit.rule("r", "deny"), variables={"v": "call.nope"}), "nope"),
        (lambda kit: kit.policy("p", kit.rule("r", "deny", "reply.status > 1")), "reply"),
        (lambda kit: kit.policy("p", kit.rule("r", "deny", "call.tokens")), "bool"),
        (lambda kit: kit.document("Quota", "q", key=["principal.tea"], limits=[{"metric": "requests", "max": 1, "per": "1m"}]), "tea"),
        (lambda kit: kit.document("Quota", "q", when="1", limits=[{"metric": "requests", "max": 1, "per": "1m"}]), "bool"),
        (
            lambda kit: kit.document(
                "Roles", "r", roles={"a": {"allow": ["llm:chat:*"]}}, bindings=[{"role": "a", "subjects": ["group:x"], "when": "principal.x"}]
            ),
            "x",
        ),
        (lambda kit: kit.policy("p", kit.rule("r", "deny", "session.calls > 1")), "not built"),
        (lambda kit: kit.policy("p", kit.rule("r", "deny", "1 / 0 == 1")), "whatever the call"),
    ],
)
def test_a_bad_condition_is_an_error_at_its_place(kit, document, near):
    item = one(kit, document(kit))
    assert near in item.message
    assert item.source_line.strip()


def test_all_mistakes_are_told_at_once_over_all_layers(kit):
    bad = kit.policy("p", kit.rule("a", "deny", "call.x"), kit.rule("b", "deny", "call.y"))
    compilation = kit.compiled([kit.upstream(), bad], [bad])
    assert len([item for item in compilation.diagnostics if item.code == "condition"]) == 4


def test_claims_are_typed_and_never_absent(kit):
    kit.built(kit.policy("p", kit.rule("r", "deny", "principal.claims.mfa && principal.claims.level > 1")))
    assert one(kit, kit.policy("p", kit.rule("r", "deny", 'principal.claims.level == "high"'))).code == "condition"


def test_variables_have_the_types_of_their_programs_in_any_order(kit):
    kit.built(kit.policy("p", kit.rule("r", "deny", "variables.b > 1"), variables={"b": "variables.a + 1", "a": "call.tokens"}))
    assert one(kit, kit.policy("p", kit.rule("r", "deny", 'variables.a == "x"'), variables={"a": "call.tokens"})).code == "condition"


def test_a_variable_that_reads_itself_is_an_error(kit):
    compilation = kit.compiled(
        [kit.upstream(), kit.policy("p", kit.rule("r", "deny", "variables.a"), variables={"a": "variables.b", "b": "variables.a", "ab": "true"})]
    )
    assert [item.message.split("`")[1] for item in compilation.diagnostics if item.code == "cycle"] == ["a", "b"]


def test_a_name_that_begins_like_another_is_no_cycle(kit):
    kit.built(kit.policy("p", kit.rule("r", "deny", "variables.file"), variables={"file": "variables.files > 1", "files": "call.tokens"}))


def test_a_condition_that_is_never_true_is_dropped_and_told(kit):
    codes, compilation = found(kit, [kit.upstream(), kit.policy("p", kit.rule("r", "deny", "false"), kit.rule("s", "deny"))])
    assert ("warning", "always-false") in codes
    assert [rule.name for rule in compilation.snapshot.layers[0].request.rules] == ["p/s"]


def test_a_condition_that_is_always_true_is_not_read(kit):
    (layer,) = kit.built(kit.policy("p", kit.rule("r", "deny", "1 < 2"))).layers
    assert layer.request.rules[0].condition is None


# ---------------------------------------------------------------- coverage


def test_a_response_rule_that_needs_the_end_must_say_buffer(kit):
    def late(when, **more):
        return kit.policy("p", kit.rule("r", "deny", when, **more), phase="response", operation=["chat"])

    assert one(kit, late('reply.finish == "stop"')).code == "needs-buffer"
    kit.built(late('reply.finish == "stop"', buffer=True))
    kit.built(late("reply.status != 200"))
    kit.built(kit.policy("p", kit.rule("r", "deny", "reply.tokens > 1"), phase="response", operation=["embeddings"]))


def test_a_variable_that_reads_the_end_counts_too(kit):
    assert one(kit, kit.policy("p", kit.rule("r", "deny", "variables.long"), variables={"long": "reply.tokens > 5"}, phase="response")).code == "needs-buffer"


@pytest.mark.parametrize(
    ("name", "when"),
    [("seed", "call.params.seed == 1"), ("max_tokens", "call.?params.?max_completion_tokens.orValue(1) > 5"), ("seed", "size(call.params) > 1")],
)
def test_what_a_condition_reads_cannot_be_set(kit, name, when):
    reading = kit.policy("a", kit.rule("r", "deny", when), mode="audit")
    assert one(kit, reading, kit.policy("b", kit.rule("s", "require", then={"set": {name: 1}}))).code == "set-and-read"


def test_what_no_condition_reads_can_be_set(kit):
    kit.built(
        kit.policy("a", kit.rule("r", "deny", "call.params.?seed.orValue(0) == 1")), kit.policy("b", kit.rule("s", "require", then={"set": {"user": "x"}}))
    )


def test_what_is_matched_cannot_be_redacted(kit):
    assert one(kit, kit.policy("a", kit.rule("r", "require", then={"redact": ["/model"]}))).code == "then"


def test_a_delegate_cannot_carry_a_route(kit):
    settings = kit.document("Settings", "s", core="delegate", delegate="https://gateway.example.com")
    assert one(kit, settings, kit.policy("a", kit.rule("r", "require", then={"route": {"region": "eu"}}))).code == "cannot-carry"


@pytest.mark.parametrize(("match", "warned"), [({}, True), ({"target": ["bare"]}, True), ({"target": ["gpt-4o"]}, False)])
def test_a_dollar_limit_over_a_model_without_a_price_is_a_warning(kit, match, warned):
    upstream = kit.upstream(models=[{"name": "gpt-4o", "price": kit.PRICE}, {"name": "bare"}])
    quota = kit.document("Quota", "q", match=match, limits=[{"metric": "cost_usd", "max": 1, "per": "day"}])
    codes, _ = found(kit, [upstream, quota])
    assert (("warning", "no-price") in codes) is warned


@pytest.mark.parametrize("operation", ["tool_call", "models"])
def test_a_response_rule_for_what_has_no_reply_is_an_error(kit, operation):
    assert one(kit, kit.policy("p", kit.rule("r", "deny"), phase="response", operation=["chat", operation])).code == "coverage"


def test_a_quota_of_tool_calls_is_an_error(kit):
    assert one(kit, kit.document("Quota", "q", match={"operation": ["tool_call"]}, limits=[{"metric": "requests", "max": 1, "per": "1m"}])).code == "coverage"


def test_two_routes_for_one_pattern_are_an_error(kit):
    routes = [
        kit.document("Route", name, match={"target": ["GPT-*", "gpt-*"][index : index + 1]}, to=[{"upstream": "openai"}]) for index, name in enumerate("ab")
    ]
    assert one(kit, *routes).code == "duplicate-route"


@pytest.mark.parametrize("grant", [True, False])
def test_an_allow_of_an_alias_is_a_warning(kit, grant):
    roles = kit.document("Roles", "r", roles={"a": {"allow": ["llm:chat:smart"]}}, bindings=[{"role": "a", "subjects": ["group:x"]}])
    codes, _ = found(kit, [kit.upstream(), roles if grant else kit.policy("p", kit.rule("a", "allow"), target=["smart"])])
    assert ("warning", "alias") in codes


# ---------------------------------------------------------------- roles


def grants(kit, allow, *, inherits=()):
    roles = {"base": {"allow": ["llm:embeddings:*"]}, "dev": {"inherits": list(inherits), "allow": allow}}
    return kit.document("Roles", "eng", roles=roles, bindings=[{"role": "dev", "subjects": ["group:eng"]}])


def test_a_role_is_an_allow_named_for_its_document_and_role(kit):
    decision = kit.asked(kit.built(grants(kit, ["llm:chat:gpt-*"])))
    assert decision.by == ("eng/dev",)
    assert decision.reasons[0].kind == "Roles"


def test_inherited_grants_count(kit):
    made = kit.call("text-embed", operation="embeddings")
    assert kit.asked(kit.built(grants(kit, ["llm:chat:*"], inherits=["base"])), made).effect == "allow"
    assert kit.asked(kit.built(grants(kit, ["llm:chat:*"])), made).effect == "deny"


@pytest.mark.parametrize(
    ("allow", "effect"), [(["llm:*:gpt-4o"], "allow"), (["llm:c*:**"], "allow"), (["llm:e*:**"], "deny"), (["llm:chat:openai/*"], "allow")]
)
def test_globs_in_operation_and_target(kit, allow, effect):
    assert kit.asked(kit.built(grants(kit, allow))).effect == effect


def test_a_star_grants_no_tool_call(kit):
    from sidecar.call import Tool
    from sidecar.evaluate import reply

    settings = kit.document("Settings", "s", default={"toolCall": "deny"})
    for allow, effect in ((["llm:*:**"], "deny"), (["llm:t*:**"], "deny"), (["llm:tool_call:**"], "allow")):
        snapshot = kit.built(settings, grants(kit, allow))
        assert reply.judge_tool(snapshot, snapshot.resolve(kit.call(), "openai"), kit.DEV, Tool("x", args={}), now=kit.NOW, decision_id="t").effect == effect


def test_a_binding_may_have_a_condition(kit):
    roles = kit.document(
        "Roles", "eng", roles={"dev": {"allow": ["llm:chat:*"]}}, bindings=[{"role": "dev", "subjects": ["group:eng"], "when": "principal.claims.level > 5"}]
    )
    assert kit.asked(kit.built(roles)).effect == "deny"


def test_roles_in_audit_never_grant(kit):
    audit = grants(kit, ["llm:chat:*"])
    audit["spec"]["mode"] = "audit"
    decision = kit.asked(kit.built(audit))
    assert (decision.effect, [reason.rule for reason in decision.would]) == ("deny", ["eng/dev"])


# ---------------------------------------------------------------- digest


def test_the_digest_is_sixty_four_hex_digits_and_changes_with_a_rule(kit):
    one_, other = (kit.built(kit.policy("p", kit.rule("r", "deny", when))).digest for when in ("call.stream", "!call.stream"))
    assert len(one_) == 64
    assert one_ != other


def test_the_order_of_destinations_is_part_of_the_digest(kit):
    both = [kit.upstream("a"), kit.upstream("b")]
    to = [{"upstream": "a"}, {"upstream": "b"}]
    digests = {kit.built(*both, kit.document("Route", "r", match={"target": ["x"]}, to=order)).digest for order in (to, to[::-1])}
    assert len(digests) == 2


def test_names_for_labels_are_all_that_a_decision_may_name(kit):
    quota = kit.document("Quota", "q", limits=[{"metric": "requests", "max": 1, "per": "1m"}])
    snapshot = kit.built(kit.policy("p", kit.rule("r", "deny"), kit.rule("s", "allow")), grants(kit, ["llm:chat:*"]), quota)
    assert snapshot.rule_names == ("eng/dev", "p/r", "p/s", "q")


def test_the_memory_for_candidates_is_bounded(kit, monkeypatch):
    from sidecar.compiler import memo

    monkeypatch.setattr(memo, "LIMIT", 8)
    snapshot = kit.built(kit.upstream(models=[{"name": "gpt-*"}]), kit.ALLOW)
    for index in range(50):
        assert kit.asked(snapshot, kit.call(f"gpt-{index}")).effect == "allow"
    assert len(snapshot._candidates) <= 8
    assert len(snapshot._members) <= 8
