"""A recorded call decided again: the same where all was kept, and where parts were not, sure only of what holds whatever they were."""

import dataclasses

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from sidecar.call import Tool
from sidecar.evaluate import inputs, reply
from sidecar.principal import Principal, Source
from sidecar.telemetry import record
from sidecar.workbench.compare import outcome
from sidecar.workbench.recorded import Reader
from sidecar.workbench.replay import Decider, agree

relaxed = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])

REQUEST = (
    "true", "call.stream", "call.params.depth > 1", "has(call.params.depth)", '"depth" in call.params', "call.params.size() > 1", "source.loopback",
    "!source.loopback", "principal.claims.mfa", "principal.claims.level > 1 || call.params.depth > 5", "principal.claims.level == 2 && !call.stream",
    'call.params.?mood.orValue("") == "odd"', 'call.model == "gpt-4o" && principal.claims.mfa', "variables.deep", "variables.deep || source.loopback",
    'principal.roles.exists(r, r == "boss")', 'call.params.tags.exists(t, t == "x")', "call.params.nest.inner == 1", "call.tokens > 10",
)  # fmt: skip
TOOL = (*REQUEST, 'call.args.path.startsWith("/srv")', "has(call.args.force) && call.args.force", "call.args.size() > 1", 'call.tool.kind == "function"')
REPLY = (*REQUEST, "reply.status > 399", "reply.tokens > 10", 'reply.tool_calls.exists(t, t == "rm")', 'reply.finish == "stop" && principal.claims.mfa')
OBLIGED = ({"cap": {"n": 1}}, {"cap": {"temperature": 0.5}}, {"route": {"region": "eu"}}, {"route": {"region": "us"}}, {"label": ["x"]})


@st.composite
def rules(draw, whens, index, *, late):
    effect = draw(st.sampled_from(("deny", "require", "warn") if late else ("deny", "allow", "allow", "require", "warn")))
    made = {"name": f"r{index}", "effect": effect, "when": draw(st.sampled_from(whens)), **({"buffer": True} if late else {})}
    if effect == "require":
        made["then"] = {"label": ["x"]} if late else draw(st.sampled_from(OBLIGED))
    elif effect == "allow" and draw(st.integers(0, 4)) == 0:
        made["then"] = draw(st.sampled_from(OBLIGED))
    return made


@st.composite
def policies(draw, whens=REQUEST, operation=("chat",), phase="request"):
    late = phase == "response"
    return {
        "mode": draw(st.sampled_from(["enforce", "enforce", "enforce", "audit"])),
        "match": {"operation": list(operation), "phase": phase},
        "when": draw(st.sampled_from(["true", "true", "call.stream", "source.loopback"])),
        "variables": {"deep": "call.params.depth > 5 || principal.claims.mfa"},
        "rules": [draw(rules(whens, index, late=late)) for index in range(draw(st.integers(1, 3)))],
    }


def sets(**more):
    return st.lists(policies(**more), min_size=1, max_size=3)


LIFTS = st.lists(st.sampled_from(["principal.claims.mfa", "source.loopback", "has(call.params.depth)"]), max_size=1)
ABSENT = object()
LEAVES = {
    "call.params.depth": st.sampled_from([ABSENT, 0, 2, 9, "deep"]),
    "call.params.mood": st.sampled_from([ABSENT, "odd", "even"]),
    "call.params.tags": st.sampled_from([ABSENT, [], ["x"], 3]),
    "call.params.nest": st.sampled_from([ABSENT, {}, {"inner": 1}, {"inner": 2}]),
    "call.params.temperature": st.sampled_from([ABSENT, 0.2, 1.0]),
    "principal.claims.mfa": st.booleans(),
    "principal.claims.level": st.integers(0, 3),
    "principal.roles": st.sampled_from([(), ("boss",), ("aide",)]),
    "source.loopback": st.booleans(),
    "call.args.path": st.sampled_from([ABSENT, "/srv/a", "/etc", 7]),
    "call.args.force": st.sampled_from([ABSENT, True, False, "yes"]),
    "call.tool.kind": st.sampled_from(["function", "custom"]),
    "reply.status": st.sampled_from([200, 500]),
    "reply.tokens": st.sampled_from([3, 30]),
    "reply.tool_calls": st.sampled_from([(), ("rm",)]),
    "reply.finish": st.sampled_from(["stop", "length"]),
}
WORLDS = st.fixed_dictionaries(LEAVES)
OTHERS = st.lists(WORLDS, min_size=6, max_size=6)
FACES = st.fixed_dictionaries({"stream": st.booleans(), "tokens": st.sampled_from([5, 50]), "target": st.sampled_from(["gpt-4o", "fast"])})
PHASES = {"request": {"whens": REQUEST}, "tool_call": {"whens": TOOL, "operation": ("tool_call",)}, "response": {"whens": REPLY, "phase": "response"}}


def platform(kit):
    models = [{"name": "gpt-4o", "price": kit.PRICE}, {"name": "gpt-4o-mini", "price": kit.PRICE}]
    to = [{"upstream": "openai", "model": "gpt-4o"}, {"upstream": "azure", "model": "gpt-4o-mini"}]
    return [kit.upstream(), kit.upstream("azure", labels={"region": "eu"}, models=models), kit.document("Route", "fast", match={"target": ["fast"]}, to=to)]


def snapshot_of(kit, specs, lifts=(), more=()):
    made = [kit.document("Policy", f"p{index}", **spec) for index, spec in enumerate(specs)]
    denies = [f"p{index}/{rule['name']}" for index, spec in enumerate(specs) for rule in spec["rules"] if rule["effect"] == "deny"]
    if denies:
        words = {"reason": "R-1", "approvedBy": "a@example.com", "expires": "2026-10-31T00:00:00Z"}
        made += [kit.document("Exception", f"x{index}", lifts=[f"Policy/{denies[0]}"], when=when, **words) for index, when in enumerate(lifts)]
    return kit.built(*platform(kit), *made, *more)


class World:
    """One completion of everything that a record may lack."""

    def __init__(self, kit, face, leaves):
        def under(prefix):
            return {path.removeprefix(prefix): value for path, value in leaves.items() if path.startswith(prefix) and value is not ABSENT}

        self.kit = kit
        params = {"n": 2, **under("call.params.")}
        self.call = kit.call(**face, params=params, bytes=100, choices=2, source=Source("10.0.0.1", leaves["source.loopback"]))
        made = Principal.of("user:dev", team="core", groups=("eng",), claims=under("principal.claims."))
        self.who = dataclasses.replace(made, roles=leaves["principal.roles"])
        self.tool = Tool("rm", kind=leaves["call.tool.kind"], args=under("call.args."))
        self.reply = reply.ReplyFacts(leaves["reply.status"], leaves["reply.finish"], leaves["reply.tokens"], leaves["reply.tool_calls"])

    def decide(self, snapshot, phase):
        kit, resolved = self.kit, snapshot.resolve(self.call, "openai")
        if phase == "tool_call":
            return reply.judge_tool(snapshot, resolved, self.who, self.tool, now=kit.NOW, decision_id="d1")
        if phase == "response":
            return reply.judge_reply(snapshot, resolved, self.who, self.reply, now=kit.NOW, decision_id="d1", complete=True)
        return kit.asked(snapshot, self.call, self.who)

    def recorded(self, snapshot, phase, kept):
        decision, late = self.decide(snapshot, phase), self.reply if phase == "response" else None
        held = kept(snapshot, decision, late)
        return record.read(record.Writer().line(decision, snapshot=snapshot.digest, phase="response" if late else "", inputs=held))


def everything(_snapshot, decision, late):
    return inputs.everything(decision.call, decision.principal, late, body=True)


def facts(snapshot, decision, late):
    paths = inputs.wanted(snapshot, decision.call, decision.principal, "response" if late else "request")
    return inputs.facts(paths, decision.call, decision.principal, late)


def full(decision):
    """What `recorded` tells of a live decision."""
    return outcome(decision)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("kept", [everything, facts])
def test_what_conditions_read_is_enough_to_decide_the_same_again(kit, phase, kept):
    @relaxed
    @given(sets(**PHASES[phase]), LIFTS, FACES, WORLDS)
    def check(specs, lifts, face, leaves):
        snapshot, world = snapshot_of(kit, specs, lifts), World(kit, face, leaves)
        again = Decider(snapshot).decide(Reader().read(world.recorded(snapshot, phase, kept)))
        assert not again.undecided or again.undecided == "call.params.temperature"  # a cap that was not carried: the call was denied
        if not again.undecided:
            assert agree(again, full(world.decide(snapshot, phase)))

    check()


@pytest.mark.parametrize("phase", PHASES)
def test_a_sure_answer_holds_for_every_completion_of_what_was_not_kept(kit, phase):
    @relaxed
    @given(st.tuples(sets(**PHASES[phase]), LIFTS), FACES, WORLDS, st.sets(st.sampled_from(sorted(LEAVES)), max_size=4), OTHERS)
    def check(made, face, leaves, removed, others):
        snapshot = snapshot_of(kit, *made)

        def partly(_snapshot, _decision, _late):
            held = {path: value for path, value in leaves.items() if path not in removed}
            absent = [path for path, value in held.items() if value is ABSENT]
            values = {path: value for path, value in held.items() if value is not ABSENT}
            return {"values": {**values, "call.params.n": 2}, "absent": absent, "left": []}

        line = World(kit, face, leaves).recorded(snapshot, phase, partly)
        again = Decider(snapshot).decide(Reader().read(line))
        event("undecided" if again.undecided else "sure")
        if again.undecided:
            assert removed or {"call.params", "call.args", "call.params.temperature"} & set(again.undecided.split(", ")), "the parts are not the whole"
            return
        for other in others:
            completed = World(kit, face, {**leaves, **{path: other[path] for path in removed}})
            assert agree(again, full(completed.decide(snapshot, phase)))

    check()


@relaxed
@given(sets(), st.tuples(sets(), LIFTS), FACES, WORLDS)
def test_a_sure_answer_under_another_policy_is_the_answer_of_that_policy(kit, before, after, face, leaves):
    world, later = World(kit, face, leaves), snapshot_of(kit, *after)
    again = Decider(later).decide(Reader().read(world.recorded(snapshot_of(kit, before), "request", facts)))
    if not again.undecided:
        assert agree(again, full(world.decide(later, "request")))


@relaxed
@given(sets(), FACES, WORLDS)
def test_with_names_and_counts_alone_no_answer_is_wrong(kit, specs, face, leaves):
    snapshot, world = snapshot_of(kit, specs), World(kit, face, leaves)
    again = Decider(snapshot).decide(Reader().read(world.recorded(snapshot, "request", lambda *_: None)))
    if not again.undecided:
        assert agree(again, full(world.decide(snapshot, "request")))


@relaxed
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)), st.data())
def test_a_value_comes_back_as_it_was(kit, value, data):
    world = World(kit, {}, data.draw(WORLDS))
    call = kit.replace(world.call, params={"odd": value})
    held = inputs.facts(("call.params.odd",), call, world.who, None)
    assert held["left"] == ["call.params.odd"] or held["values"]["call.params.odd"] == value
