"""What must hold of every explanation: each way it tells is truly allowed, none is larger than it must be, and its verdicts are the decision's."""

import random
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.config.documents import TestCall as Called
from sidecar.config.documents import TestPrincipal as Spoken
from sidecar.workbench import cases, explain
from sidecar.workbench.explain.asked import from_source, source_of
from sidecar.workbench.explain.changes import changes
from sidecar.workbench.explain.relevance import near
from sidecar.workbench.explain.scene import scenes

relaxed = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
BOUND = 3000
NOW = 1_790_000_000.0

WHENS = st.sampled_from(
    [
        "true", "call.stream", "!call.stream", "call.tokens > 10", 'principal.team == "core"', "principal.claims.mfa",
        "call.params.depth > 1", 'call.model == "gpt-4o"', 'call.model.endsWith("mini")', 'source.ip == "10.0.0.1"',
        "has(call.params.depth) && call.params.depth > 1", "variables.big", "variables.big && call.stream",
        'now.getHours("Europe/Berlin") >= 18', "now.getDayOfWeek() == 0 && call.stream", 'now < timestamp("2026-01-01T00:00:00Z")',
        '"eng" in principal.groups && principal.claims.level >= 2', "source.loopback", "!principal.claims.mfa || call.params.depth == 7",
    ]
)  # fmt: skip
TARGETS = st.lists(st.sampled_from(["gpt-4o", "gpt-*", "**", "openai/*", "text-*", "*-mini"]), max_size=2)
SUBJECTS = st.lists(st.sampled_from(["group:eng", "group:e*", "user:dev", "team:core", "group:ops", "key:*"]), max_size=2)
OPERATIONS = st.lists(st.sampled_from(["*", "chat", "embeddings", "tool_call"]), max_size=2)
MATCHES = st.fixed_dictionaries({"target": TARGETS, "subjects": SUBJECTS, "operation": OPERATIONS}).map(
    lambda match: {name: held for name, held in match.items() if held}
)
THENS = st.sampled_from([{"route": {"region": "eu"}}, {"route": {"region": "us"}}, {"label": ["x"]}])
"""What every operation can carry: what it can't is no configuration."""


@st.composite
def policies(draw):
    made = draw(st.lists(st.tuples(st.sampled_from(["deny", "allow", "allow", "require"]), WHENS, THENS), min_size=1, max_size=3))
    rules = [{"name": f"r{index}", "effect": effect, "when": when} | ({"then": then} if effect == "require" else {}) for index, (effect, when, then) in enumerate(made)]  # fmt: skip
    return {
        "mode": draw(st.sampled_from(["enforce", "enforce", "enforce", "audit"])),
        "match": draw(MATCHES),
        "variables": {"big": "call.tokens > 100 || call.params.depth > 5"},
        "rules": rules,
    }


SETS = st.lists(policies(), min_size=1, max_size=4)
CALLS = st.one_of(
    st.builds(
        Called,
        operation=st.sampled_from(["chat", "embeddings", "count_tokens", "models"]),
        target=st.sampled_from(["gpt-4o", "gpt-4o-mini", "nothing"]),
        stream=st.booleans(),
        tokens=st.sampled_from([0, 500]),
        params=st.sampled_from([{}, {"depth": 0}, {"depth": 9}, {"depth": "deep"}]),
    ).map(lambda made: replace(made, target="") if made.operation == "models" else made),
    st.builds(Called, operation=st.just("tool_call"), target=st.sampled_from(["shell", "fs/read"]), model=st.just("gpt-4o")),
    st.builds(Called, dialect=st.just("openai_chat"), body=st.sampled_from([{"model": "gpt-4o", "messages": [], "temperature": 1, "depth": 3}])),
)
CALLERS = st.sampled_from(
    [Spoken(id="user:dev", team="core", groups=("eng",), claims={"mfa": True, "level": 1}), Spoken(id="user:ops", groups=("ops",)), Spoken(id="key:bot")]
)


def built(kit, specs, draw=None):
    documents = [kit.upstream(labels={"region": "us"}), *(kit.document("Policy", f"p{index}", **spec) for index, spec in enumerate(specs))]
    if draw is not None:
        draw.shuffle(documents)
    return kit.built(*documents)


def explained(kit, specs, who, what, draw=None):
    snapshot = built(kit, specs, draw)
    asked = explain.Asked(who, what, NOW)
    return snapshot, asked, explain.explained(snapshot, asked, bound=BOUND).tree


def applied(asked, change):
    """The change as it is told, made by other means than the search's own."""
    root, _, path = change["what"].partition(".")
    who, what, gone, to = asked.who, asked.what, "to" not in change, change.get("to")
    if root in {"params", "args"}:
        held = "body" if what.dialect else root
        return replace(asked, what=replace(what, **{held: {name: value for name, value in {**getattr(what, held), path: to}.items() if name != path or not gone}}))  # fmt: skip
    if root in {"tokens", "stream", "operation", "model", "target"}:
        return replace(asked, what=replace(what, **{root: to}))
    if root == "now":
        return replace(asked, now=to)
    if root.startswith("group:"):
        name = root.removeprefix("group:")
        return replace(asked, who=replace(who, groups=(*who.groups, name) if to else tuple(group for group in who.groups if group != name)))
    if root == "claims":
        return replace(asked, who=replace(who, claims={**who.claims, path: to}))
    if root == "source":
        return replace(asked, what=from_source(what, {**source_of(what), path: to}))
    return replace(asked, who=replace(who, **{root: to}))


@relaxed
@given(SETS, CALLERS, CALLS)
def test_every_way_that_is_told_is_allowed_by_the_rules_that_are_told(kit, specs, who, what):
    snapshot, asked, tree = explained(kit, specs, who, what)
    for way in tree.get("smallest", {"ways": []})["ways"]:
        other = asked
        for change in way["changes"]:
            other = applied(other, change)
        decision = cases.decide(snapshot, other.who, other.what, other.quota, other.now)
        assert (decision.effect, list(decision.by)) == ("allow", way["by"]), way


@relaxed
@given(SETS, CALLERS, CALLS)
def test_no_pair_is_told_where_one_change_would_do(kit, specs, who, what):
    snapshot, asked, tree = explained(kit, specs, who, what)
    found = tree.get("smallest")
    if found is None:
        assert tree["effect"] == "allow"
        return
    assert found["decisions"] <= BOUND
    assert {len(way["changes"]) for way in found["ways"]} <= {found["size"]}
    alone = [change for change in changes(snapshot, asked, near(snapshot, list(scenes(snapshot, asked)))) if allowed(snapshot, change.apply(asked))]
    assert (found["size"] == 1) is bool(alone)


def allowed(snapshot, asked):
    return asked is not None and cases.decide(snapshot, asked.who, asked.what, asked.quota, asked.now).effect == "allow"


@relaxed
@given(SETS, CALLERS, CALLS, st.randoms(use_true_random=False))
def test_the_same_question_has_the_same_answer_whatever_the_order_of_documents(kit, specs, who, what, draw: random.Random):
    _, _, one = explained(kit, specs, who, what)
    _, _, other = explained(kit, specs, who, what, draw)
    assert told(one) == told(other)


def told(tree):
    """Without places, which move with the documents."""
    if isinstance(tree, dict):
        return {name: told(value) for name, value in tree.items() if name != "where"}
    return [told(item) for item in tree] if isinstance(tree, list) else tree


@relaxed
@given(SETS, CALLERS, CALLS)
def test_the_verdicts_are_those_of_the_decision(kit, specs, who, what):
    snapshot, asked, tree = explained(kit, specs, who, what)
    decision = cases.decide(snapshot, asked.who, asked.what, asked.quota, asked.now)
    rules = {rule["rule"]: rule for part in tree["parts"] for layer in part["layers"] for rule in layer["rules"]}
    audits = {rule["rule"]: rule for part in tree["parts"] for layer in part["layers"] for rule in layer["audits"]}
    assert {rules[name]["verdict"] for name in decision.by} <= {"matched", "error"}
    for reason in decision.reasons:
        rule = rules[reason.rule]
        assert rule["verdict"] != "unread"
        if reason.effect == "require" and reason.rule in decision.by:
            continue  # a demand that can't be met is recorded as true, also where its condition is an error
        assert rule["result"] == reason.result
        assert (rule["verdict"] in {"matched", "error"}) is (reason.result == "true" or (reason.result == "error" and reason.effect != "allow"))
    read = {reason.rule for reason in decision.reasons}
    unread = {name for name, rule in rules.items() if rule["verdict"] == "unread"}
    assert unread <= set(rules) - read
    passed = {name for name in set(rules) - read - unread if rules[name]["result"] == "false"}
    """What the index passed by, because a guard of its condition was false: the tree tells it, the decision never read it."""
    assert unread == set(rules) - read - passed or what.operation == "tool_call", "of a proposal that owes what can't be done the allows are not recorded"
    assert {name for name, rule in audits.items() if rule["verdict"] == "would"} == {reason.rule for reason in decision.would}
    if decision.permit is not None:
        assert [each["member"] for each in tree["members"] if each["serves"]] == [member.name for member in decision.permit.members]


@relaxed
@given(SETS, CALLERS, CALLS)
def test_a_condition_is_told_with_the_value_that_it_had(kit, specs, who, what):
    _, _, tree = explained(kit, specs, who, what)
    for rule in (rule for part in tree["parts"] for layer in part["layers"] for rule in layer["rules"]):
        values = [[node.get("value") for node in entry["parts"]] for entry in rule["conditions"]]
        if rule["result"] == "true" and values:
            assert any(all(value is True for value in each) for each in values)
        if rule["result"] == "false":
            assert all(False in each for each in values)
        if rule["result"] == "error":
            assert any(node["is"] == "error" for entry in rule["conditions"] for node in entry["parts"])
