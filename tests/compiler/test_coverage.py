"""Coverage: the table of what runs where is true of the evaluator, and findings follow from it."""

import pytest

from sidecar import wire
from sidecar.call import Tool
from sidecar.compiler.coverage import surface
from sidecar.compiler.coverage.matrix import matrix
from sidecar.compiler.coverage.surface import PLACES, REPLY, REQUEST, RESPONSE, STREAM
from sidecar.evaluate import reply
from sidecar.need import Reserve
from sidecar.workbench.check import check

FACTS = reply.ReplyFacts(200)
DENY = {"name": "r", "effect": "deny"}
IDS = [f"{place.operation}-{place.phase}-{place.direction}" for place in PLACES]


def decided(kit, place, *documents, tools=(), when=None, script=None):
    """The decision of a call at this place."""
    snapshot = kit.built(*documents)
    if place.phase == RESPONSE:
        call = snapshot.resolve(kit.call(operation=place.operation), "openai")
        return reply.judge_reply(snapshot, call, kit.DEV, FACTS, now=kit.NOW, decision_id="d", complete=True)
    if place.operation == "tool_call" and place.direction == REPLY:
        return reply.judge_tool(snapshot, snapshot.resolve(kit.call(), "openai"), kit.DEV, Tool("x", args={"a": 1}), now=kit.NOW, decision_id="d")
    if place.operation == "tool_call":
        return kit.asked(snapshot, kit.call(tools=(Tool("x", kind="web_search", args={"a": 1}),)), script=script)
    return kit.asked(snapshot, kit.call(operation=place.operation), script=script)


def policy(kit, place, *rules):
    match = {"phase": place.phase} if place.phase == RESPONSE else {}
    return kit.policy("p", *rules, operation=[place.operation], **match)


@pytest.mark.parametrize("place", PLACES, ids=IDS)
def test_a_rule_runs_at_every_place_of_the_table(kit, place):
    assert decided(kit, place, kit.ALLOW).effect == "allow"
    assert decided(kit, place, kit.ALLOW, policy(kit, place, DENY)).by == ("p/r",)


@pytest.mark.parametrize("place", PLACES, ids=IDS)
def test_what_a_condition_sees_is_there_and_nothing_else(kit, place):
    for path in surface.ABSENT:
        rule = DENY | {"when": f"has({path})"}
        if path in place.sees:
            assert decided(kit, place, kit.ALLOW, policy(kit, place, rule)).effect == "deny"
        else:
            codes = [item.code for item in kit.compiled([kit.upstream(), policy(kit, place, rule)]).diagnostics if item.severity == "error"]
            assert codes == ([] if place.operation == "tool_call" and path in {"call.args", "call.tool"} else ["coverage"])


@pytest.mark.parametrize("place", PLACES, ids=IDS)
def test_what_can_be_carried_is_carried_and_what_cannot_is_a_no(kit, place):
    owed = {"route": {"region": "us"}, "cap": {"max_tokens": 5}, "set": {"user": "x"}, "redact": ["/user"], "label": ["l"], "warn": ["w"]}
    for kind, value in owed.items():
        rule = {"name": "r", "effect": "require", "then": {kind: value}}
        compilation = kit.compiled([kit.upstream(), kit.ALLOW, policy(kit, place, rule)])
        if place.phase == RESPONSE and kind not in place.carries:
            assert [item.code for item in compilation.diagnostics] == ["cannot-carry"]
        elif compilation.snapshot is not None:
            made = decided(kit, place, kit.ALLOW, policy(kit, place, rule))
            assert made.effect == ("allow" if kind in place.carries or not place.owed else "deny"), kind
            assert bool(getattr(made.obligations, kind)) is (kind in place.carries), kind


@pytest.mark.parametrize("place", [place for place in PLACES if place.phase == REQUEST], ids=lambda place: f"{place.operation}-{place.direction}")
def test_quotas_count_where_the_table_says(kit, place):
    quota = kit.document("Quota", "q", match={"operation": ["*"]}, limits=[{"metric": "requests", "max": 5, "per": "1m"}])
    script = kit.Script()
    decided(kit, place, kit.ALLOW, quota, script=script)
    asked = any(isinstance(need, Reserve) for need in script.needs)
    assert asked is (place.counted or (place.operation, place.direction) == ("tool_call", REQUEST))  # which stands in a chat, that is counted


def test_every_operation_of_the_wire_has_a_place_and_streams_where_its_codec_can():
    assert {codec.operation for codec in wire.CODECS.values()} | {"tool_call"} == set(surface.OPERATIONS)
    streaming = {place.operation for place in PLACES if STREAM in place.shapes}
    assert streaming == {"chat", "tool_call"}


# ---------------------------------------------------------------- the matrix


def rows(kit, *documents):
    compilation = kit.compiled([kit.upstream(), *documents])
    assert compilation.snapshot is not None, compilation.diagnostics
    return {row.name: {(c.place.operation, c.place.phase, c.place.direction, c.shape): c.state for c in row.cells} for row in matrix(compilation.whole)}


def test_a_star_leaves_tool_calls_out(kit):
    states = rows(kit, kit.policy("p", DENY, operation=["*"]))["p/r"]
    assert {key[0] for key, state in states.items() if state == "runs"} == {"chat", "embeddings", "moderation", "count_tokens", "models"}


def test_an_audit_is_recorded_only(kit):
    states = rows(kit, kit.policy("p", DENY, operation=["chat"], mode="audit"))["p/r"]
    assert set(states.values()) == {"would", "out"}


def test_a_condition_that_names_an_operation_is_never_true_elsewhere(kit):
    states = rows(kit, kit.policy("p", DENY | {"when": 'call.operation == "chat" && call.stream'}, operation=["*"]))["p/r"]
    assert states["chat", "request", "request", "stream"] == "runs"
    assert states["embeddings", "request", "request", "whole"] == "never"


def test_a_rule_that_waits_for_the_end_holds_streams_to_it(kit):
    rule = DENY | {"when": "reply.tokens > 5", "buffer": True}
    states = rows(kit, kit.policy("p", rule, operation=["chat"], phase="response"))["p/r"]
    assert (states["chat", "response", "reply", "whole"], states["chat", "response", "reply", "stream"]) == ("runs", "end")


def test_replies_without_text_have_no_finish(kit):
    rule = DENY | {"when": 'reply.finish == "length"', "buffer": True}
    states = rows(kit, kit.policy("p", rule, phase="response"))["p/r"]
    assert states["embeddings", "response", "reply", "whole"] == "never"


def test_grants_and_quotas_have_rows_too(kit):
    roles = kit.document("Roles", "r", roles={"a": {"allow": ["llm:chat:*", "llm:tool_call:x"]}}, bindings=[{"role": "a", "subjects": ["group:x"]}])
    quota = kit.document("Quota", "q", limits=[{"metric": "requests", "max": 1, "per": "1m"}])
    states = rows(kit, roles, quota)
    assert states["q"]["chat", "request", "request", "whole"] == "runs"
    assert "r/a" in states


def test_the_cost_of_a_rule_has_that_of_its_variables_in_it(kit):
    loop = "principal.groups.exists(g, g.startsWith(principal.team))"
    made = kit.compiled([kit.upstream(), kit.policy("p", DENY | {"when": "variables.a"}, variables={"a": "variables.b", "b": loop, "unread": loop})])
    direct = kit.compiled([kit.upstream(), kit.policy("p", DENY | {"when": loop})])
    (through,), (plain,) = matrix(made.whole), matrix(direct.whole)
    assert plain.cost < through.cost < 2 * plain.cost


# ---------------------------------------------------------------- all mistakes at once


def told(*documents):
    text = "\n---\n".join(documents)
    return [(item.code, item.message) for item in check([("base", (("a.yaml", text.encode()),))], {}, 1_790_000_000.0).diagnostics]


def text(kind, spec, name="x"):
    return f"apiVersion: sidecar.dev/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}"


BAD_FIELD = text("Settings", "{mode: audti}")
UPSTREAM = text("Upstream", "{protocol: llm, url: 'echo:', models: [{name: gpt-4o}]}")


def test_a_condition_is_checked_whatever_else_is_wrong():
    codes = [code for code, _ in told(BAD_FIELD, text("Policy", "{rules: [{name: r, effect: deny, when: call.nope}]}"))]
    assert codes == ["type", "condition"]


@pytest.mark.parametrize("identity", [text("Identity", "{methods: [{anonymus: {}}], claims: {mfa: {type: bool}}}"), "kind: [", "just text"])
def test_claims_of_an_identity_that_did_not_load_are_not_unknown(identity):
    found = told(identity, text("Policy", "{rules: [{name: r, effect: deny, when: principal.claims.mfa && principal.claims.level > 1}]}"))
    assert "condition" not in [code for code, _ in found]
    found = told(identity, text("Policy", "{rules: [{name: r, effect: deny, when: 'principal.claims.mfa && call.tokens'}]}"))
    assert "condition" in [code for code, _ in found]


def test_an_identity_that_is_not_there_declares_no_claim():
    assert "condition" in [code for code, _ in told(BAD_FIELD, text("Policy", "{rules: [{name: r, effect: deny, when: principal.claims.mfa}]}"))]


def test_a_route_to_an_upstream_that_did_not_load_is_no_second_mistake():
    broken = text("Upstream", "{protocol: llm, urll: x}", "u")
    quota = text("Quota", "{limits: [{metric: cost_usd, max: 1, per: day}]}")
    codes = [
        code
        for code, _ in told(
            broken, text("Route", "{to: [{upstream: u}]}"), quota, text("Policy", "{match: {target: [nowhere]}, rules: [{name: r, effect: deny}]}")
        )
    ]
    assert codes == ["unknown-field"]


def test_labels_of_an_upstream_that_did_not_load_are_not_missing():
    broken = text("Upstream", "{protocol: llm, urll: x}", "eu")
    rule = text("Policy", "{match: {operation: [chat]}, rules: [{name: r, effect: require, then: {route: {region: eu}}}]}")
    assert [code for code, _ in told(UPSTREAM, broken, rule)] == ["unknown-field"]
    assert [code for code, _ in told(UPSTREAM, rule)] == ["no-route"]


def test_a_variable_that_does_not_compile_is_told_once():
    rules = "{variables: {a: call.nope}, rules: [{name: r, effect: deny, when: variables.a}, {name: s, effect: deny, when: 'variables.a && call.no'}]}"
    assert [message for _, message in told(UPSTREAM, text("Policy", rules))] == ["`call` has no field `nope`", "`call` has no field `no`"]


@pytest.mark.parametrize(
    ("spec", "codes"),
    [
        ("{rules: [{name: r, efect: deny, when: call.nope}]}", ["missing-field", "unknown-field", "condition"]),
        ("{match: {phase: respnse}, rules: [{name: r, effect: deny, when: reply.status > 1}]}", ["type"]),
        ("{match: {operation: [tool_cal]}, rules: [{name: r, effect: deny, when: call.args.x == 1}]}", ["type"]),
        ("{variabels: {a: call.stream}, rules: [{name: r, effect: deny, when: variables.a}]}", ["unknown-field"]),
        ("{variables: {a: [1]}, rules: [{name: r, effect: deny, when: variables.a}]}", ["type"]),
        ("{rules: {name: r, when: call.nope}}", ["missing-field"]),
        ("{rules: [{name: r, effect: deny, when: }], when: call.nope}", ["no-value", "condition"]),
    ],
)
def test_the_conditions_of_a_broken_document_are_checked_as_far_as_its_fields_tell(spec, codes):
    assert [code for code, _ in told(UPSTREAM, text("Policy", spec))] == codes


def test_a_mistake_in_coverage_is_told_beside_one_in_a_field():
    document = text("Policy", "{match: {operation: [models], phase: response}, rules: [{name: r, effect: deny}]}")
    assert [code for code, _ in told(BAD_FIELD, document)] == ["type", "coverage"]


# ---------------------------------------------------------------- demands


def refused(kit, then, **match):
    claude = kit.upstream("anthropic", dialect="anthropic", models=[{"name": "claude"}])
    rule = {"name": "r", "effect": "require", "then": then}
    found = kit.compiled([kit.upstream(), claude, kit.policy("p", rule, **match)])
    assert found.snapshot is not None, "refusing is what such a rule does, so it loads"
    return [item.message.partition(":")[0] for item in found.diagnostics if item.code == "cannot-carry"]


def test_what_one_dialect_has_no_place_for_is_refused_in_part(kit):
    seed = {"set": {"seed": 1}}
    assert refused(kit, seed, operation=["chat"]) == ["such calls are refused in part"]
    assert refused(kit, seed, operation=["chat"], target=["gpt-4o"]) == []
    assert refused(kit, seed, operation=["chat"], target=["claude"]) == ["such calls are always refused"]


def test_what_a_condition_chooses_itself_is_left_to_it(kit):
    rule = {"name": "r", "effect": "require", "when": 'call.dialect == "openai_chat"', "then": {"set": {"seed": 1}}}
    compilation = kit.compiled([kit.upstream(), kit.policy("p", rule, operation=["*"])])
    assert [item.code for item in compilation.diagnostics] == []


def test_of_an_audit_it_is_said_that_it_does_not_bite_yet(kit):
    rule = {"name": "r", "effect": "require", "then": {"cap": {"max_tokens": 1}}}
    (item,) = kit.compiled([kit.upstream(), kit.policy("p", rule, operation=["embeddings"], mode="audit")]).diagnostics
    assert "once this is enforced" in item.message
