"""What must hold for every configuration: adding a deny never turns a no into a yes, order says nothing, an outage is a no, …"""

import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.need import Exhausted, Level, Owned, OwnerOf, Reserve, Reserved, Unavailable, Verify
from sidecar.principal import Principal

relaxed = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

WHENS = st.sampled_from(
    [
        "true", "call.stream", "!call.stream", "call.tokens > 10", 'principal.team == "core"', "principal.claims.mfa",
        "call.params.depth > 1", 'call.model == "gpt-4o"', 'call.model.endsWith("mini")', 'source.ip == "10.0.0.1"',
        "has(call.params.depth) && call.params.depth > 1", "variables.big", "variables.big && call.stream",
    ]
)  # fmt: skip
TARGETS = st.lists(st.sampled_from(["gpt-4o", "gpt-*", "**", "openai/*", "*/gpt-4o-mini", "text-*", "azure/**", "fast", "*-mini"]), max_size=2)
SUBJECTS = st.lists(st.sampled_from(["group:eng", "group:e*", "user:dev", "team:core", "group:ops", "user:*"]), max_size=2)
OPERATIONS = st.lists(st.sampled_from(["*", "chat", "embeddings", "tool_call", "count_tokens"]), max_size=2)
THENS = st.sampled_from(
    [{"cap": {"n": 1}}, {"route": {"region": "eu"}}, {"route": {"region": "us"}}, {"label": ["x"]}, {"set": {"seed": 1}}, {"set": {"seed": 2}}]
)
MATCHES = st.fixed_dictionaries({"target": TARGETS, "subjects": SUBJECTS, "operation": OPERATIONS}).map(
    lambda match: {name: held for name, held in match.items() if held}
)


@st.composite
def rules(draw, effects=("deny", "allow", "require", "warn")):
    effect = draw(st.sampled_from(effects))
    rule = {"effect": effect, "when": draw(WHENS)}
    if effect == "require" or (effect == "allow" and draw(st.booleans())):
        rule["then"] = draw(THENS)
    return rule


@st.composite
def policies(draw, effects=("deny", "allow", "require", "warn"), modes=("enforce",)):
    made = draw(st.lists(rules(effects), min_size=1, max_size=3))
    return {
        "mode": draw(st.sampled_from(modes)),
        "match": draw(MATCHES),
        "when": draw(st.sampled_from(["true", "true", "call.stream", "call.params.depth > 1"])),
        "variables": {"big": "call.tokens > 100 || call.params.depth > 5"},
        "rules": [{"name": f"r{index}", **rule} for index, rule in enumerate(made)],
    }


SETS = st.lists(policies(modes=("enforce", "enforce", "enforce", "audit")), max_size=5)
CALLS = st.fixed_dictionaries(
    {
        "target": st.sampled_from(["gpt-4o", "gpt-4o-mini", "text-embed", "fast"]),
        "operation": st.sampled_from(["chat", "embeddings", "count_tokens"]),
        "stream": st.booleans(),
        "tokens": st.sampled_from([0, 50, 500]),
        "params": st.sampled_from([{}, {"depth": 0}, {"depth": 9}, {"depth": "deep"}]),
    }
)
CALLERS = st.sampled_from(
    [
        Principal.of("user:dev", team="core", groups=("eng",), claims={"mfa": True, "level": 1}),
        Principal.of("user:ops", team="", groups=("ops",), claims={"mfa": False, "level": 0}),
        Principal.of("key:bot", claims={"mfa": False, "level": 0}),
    ]
)


def documents(kit, specs, prefix="p"):
    return [kit.document("Policy", f"{prefix}{index}", **spec) for index, spec in enumerate(specs)]


def platform(kit):
    models = [{"name": "gpt-4o", "price": kit.PRICE}, {"name": "gpt-4o-mini", "price": kit.PRICE}]
    to = [{"upstream": "openai", "model": "gpt-4o"}, {"upstream": "azure", "model": "gpt-4o-mini"}]
    return [kit.upstream(), kit.upstream("azure", labels={"region": "eu"}, models=models), kit.document("Route", "fast", match={"target": ["fast"]}, to=to)]


def outcome(decision):
    """All that an answer and a record tell of it, places aside."""
    members = decision.permit.members if decision.permit is not None else ()
    return (
        decision.effect,
        decision.by,
        [(reason.rule, reason.result, reason.lifted) for reason in decision.reasons],
        [(reason.rule, reason.result) for reason in decision.would],
        decision.obligations,
        decision.refusal,
        [member.name for member in members],
    )


def decided(kit, specs, made, who, *, later=(), script=None):
    snapshot = kit.built(*platform(kit), *documents(kit, specs), later=[documents(kit, layer, "l") for layer in later])
    return kit.asked(snapshot, kit.call(**made), who, script=script)


def never_more(before, after):
    """`after` permits nothing that `before` did not."""
    if after.effect == "allow":
        assert before.effect == "allow"
        allowed = {member.name for member in before.permit.members}
        assert {member.name for member in after.permit.members} <= allowed


@relaxed
@given(SETS, policies(effects=("deny",)), CALLS, CALLERS)
def test_adding_a_deny_never_turns_a_no_into_a_yes(kit, specs, extra, made, who):
    never_more(decided(kit, specs, made, who), decided(kit, [*specs, extra], made, who))


@relaxed
@given(SETS, policies(effects=("require", "warn")), CALLS, CALLERS)
def test_adding_a_require_never_turns_a_no_into_a_yes(kit, specs, extra, made, who):
    never_more(decided(kit, specs, made, who), decided(kit, [*specs, extra], made, who))


@relaxed
@given(SETS, policies(effects=("allow",)), CALLS, CALLERS)
def test_adding_an_allow_never_removes_a_deny(kit, specs, extra, made, who):
    before, after = decided(kit, specs, made, who), decided(kit, [*specs, extra], made, who)
    denies = {reason.rule for reason in before.reasons if reason.effect == "deny" and reason.rule in before.by}
    if denies:
        assert after.effect == "deny"
        assert denies <= set(after.by)


@relaxed
@given(SETS, st.lists(policies(), min_size=1, max_size=3), CALLS, CALLERS)
def test_a_further_layer_never_turns_a_no_into_a_yes(kit, specs, layer, made, who):
    never_more(decided(kit, specs, made, who), decided(kit, specs, made, who, later=[layer]))


@relaxed
@given(SETS, st.lists(policies(modes=("audit",)), min_size=1, max_size=3), CALLS, CALLERS)
def test_audit_documents_never_change_a_live_decision(kit, specs, audits, made, who):
    live = [spec for spec in specs if spec["mode"] == "enforce"]
    before, after = decided(kit, live, made, who), decided(kit, [*live, *audits], made, who)
    assert outcome(before)[:3] == outcome(after)[:3]
    assert outcome(before)[4:] == outcome(after)[4:]


@relaxed
@given(SETS, CALLS, CALLERS, st.randoms(use_true_random=False))
def test_the_order_of_files_documents_and_rules_says_nothing(kit, specs, made, who, draw):
    first = [*platform(kit), *documents(kit, specs)]
    second = shuffled(first, draw)
    one, other = kit.built(*first), kit.built(*second)
    assert one.digest == other.digest
    assert outcome(kit.asked(one, kit.call(**made), who)) == outcome(kit.asked(other, kit.call(**made), who))


def shuffled(held, draw: random.Random):
    """The same documents in another order: of documents, rules, lists of a match, and keys. Destinations keep theirs."""
    if isinstance(held, dict):
        items = [(key, value if key == "to" else shuffled(value, draw)) for key, value in held.items()]
        draw.shuffle(items)
        return dict(items)
    if isinstance(held, list):
        items = [shuffled(item, draw) for item in held]
        draw.shuffle(items)
        return items
    return held


@relaxed
@given(SETS, CALLS, CALLERS)
def test_the_same_call_snapshot_and_facts_give_the_same_decision(kit, specs, made, who):
    snapshot = kit.built(*platform(kit), *documents(kit, specs))
    first = kit.asked(snapshot, kit.call(**made), who)
    assert outcome(first) == outcome(kit.asked(snapshot, kit.call(**made), who))
    assert outcome(first) == outcome(kit.asked(kit.built(*platform(kit), *documents(kit, specs)), kit.call(**made), who)), "whatever a snapshot remembers"


ANSWERS = {
    Verify: st.sampled_from(["who", "down"]),
    OwnerOf: st.sampled_from(["own", "down"]),
    Reserve: st.sampled_from(["granted", "exhausted", "down"]),
}


@relaxed
@given(SETS, CALLS, CALLERS, st.fixed_dictionaries(ANSWERS))
def test_every_outage_under_deny_is_a_no(kit, specs, made, who, answers):
    level = Level("c", "requests", 1.0, 0.0, 1.0, 60.0, "q")
    spelt = {"who": who, "own": Owned(who.id, "openai"), "granted": Reserved("t", ()), "exhausted": Exhausted(level, 1.0), "down": Unavailable("x")}
    quota = kit.document("Quota", "q", key=["principal.id"], limits=[{"metric": "requests", "max": 1, "per": "1m"}])
    snapshot = kit.built(*platform(kit), *documents(kit, specs), quota)
    script = kit.Script(by={kind: spelt[answer] for kind, answer in answers.items()})
    decision = kit.asked(snapshot, kit.call(**made, refs=(("response", "r"),)), script=script)
    asked = [type(need) for need in script.needs]
    if any(answers[kind] == "down" for kind in asked):
        assert decision.refusal.status == 503
    if any(answers[kind] != "down" and answers[kind] == "exhausted" for kind in asked):
        assert decision.refusal.status == 429
    assert (decision.permit is None) == (decision.effect == "deny")
    assert (decision.refusal is None) == (decision.effect == "allow")


@relaxed
@given(SETS, CALLS, CALLERS)
def test_a_permit_holds_members_of_the_closed_set_and_a_no_names_no_upstream(kit, specs, made, who):
    snapshot = kit.built(*platform(kit), *documents(kit, specs))
    decision = kit.asked(snapshot, kit.call(**made), who)
    if decision.permit is None:
        assert not any(name in decision.refusal.message for name in ("openai", "azure"))
    else:
        assert {member.name for member in decision.permit.members} <= {member.name for member in snapshot.members("openai", made["target"])}
