"""What the index knows of a call is what conditions see of it; and a rule whose guard fails is not evaluated."""

import pytest

from sidecar.call import Tool
from sidecar.compiler.dimensions import DIMENSIONS, facts
from sidecar.evaluate import bindings, tools, why
from sidecar.evaluate.reply import ReplyFacts, judge_reply, needs_buffer
from sidecar.expr import Program
from sidecar.principal import Principal

WHO = Principal("user:ops", "user", "web", ("ops", "eng"), ("reader",), {}, ("first", "second"), frozenset({"user:ops"}))


def bound(call, who, model):
    """Every field by its dotted path, as conditions see it."""
    tree = {"call": bindings.of_call(call, model), "principal": bindings.of_principal(who, bindings.People())}
    return {f"{root}.{name}": value for root, fields in tree.items() for name, value in fields.items()} | {
        f"call.tool.{name}": value for name, value in tree["call"].get("tool", {}).items()
    }


@pytest.mark.parametrize("tool", [None, Tool("rm", "fs", kind="custom", args={})])
def test_a_dimension_is_what_is_bound(kit, tool):
    route = kit.document("Route", "fast", match={"target": ["fast"]}, to=[{"upstream": "openai", "model": name} for name in ("gpt-4o", "gpt-4o-mini")])
    snapshot = kit.built(kit.upstream(), route)
    call = snapshot.resolve(kit.call("fast", stream=True), "openai")
    call = tools.as_call(snapshot, call, tool) if tool else call
    known = facts(DIMENSIONS, call, WHO)
    seen = bound(call, WHO, "gpt-4o-mini")
    for path, values in known.items():
        if path not in seen:
            assert (tool, list(values)) == (None, [])
        elif path == "call.model":
            assert list(values) == ["gpt-4o", "gpt-4o-mini"]
        else:
            assert list(values) == (list(seen[path]) if isinstance(seen[path], list | tuple) else [seen[path]])


def test_what_a_list_cannot_know_is_no_fact_of_it(kit):
    unknown = {name for name, dimension in DIMENSIONS.items() if not dimension.listed}
    assert unknown == set(DIMENSIONS) & {f"call.{name}" for name in bindings.OPEN}
    assert not unknown & set(facts(DIMENSIONS, kit.call(), WHO, listing=True))


@pytest.fixture
def evaluated(monkeypatch):
    """The sources of the programs that ran."""
    ran = []
    run = Program.__call__
    monkeypatch.setattr(Program, "__call__", lambda self, bindings: (ran.append(self.source), run(self, bindings))[1])
    return ran


def test_a_condition_whose_guard_fails_is_not_evaluated(kit, evaluated):
    whens = [f'call.tokens >= 0 && principal.team == "team-{number}"' for number in range(50)]
    whens += [f'call.model in ["m-{number}", "n-{number}"]' for number in range(50)]
    whens += ['principal.team == "core" && call.tokens > 5']
    snapshot = kit.built(kit.ALLOW, kit.policy("p", *[kit.rule(f"r{number}", "deny", when) for number, when in enumerate(whens)]))
    evaluated.clear()
    assert kit.asked(snapshot).effect == "allow"
    assert evaluated == whens[-1:]


def test_the_guard_that_tells_most_rules_apart_is_looked_up(kit):
    whens = [f'principal.team == "core" && call.model == "m-{number}"' for number in range(50)]
    snapshot = kit.built(kit.ALLOW, kit.policy("p", *[kit.rule(f"r{number}", "deny", when) for number, when in enumerate(whens)]))
    (drawer,) = [drawer for shelf in snapshot.layers[0].request._shelves["*"].find(["x"]) for drawer in shelf.find([]) if drawer.guarded]
    assert list(drawer.guarded) == ["call.model"]


def test_what_a_guard_left_out_is_explained_as_false(kit):
    rules = [
        kit.rule("theirs", "deny", 'principal.team == "x"'),
        kit.rule("ours", "deny", 'principal.team == "core"'),
        kit.rule("later", "require", "call.tokens > 1", then={"label": ["x"]}),
    ]
    snapshot = kit.built(kit.ALLOW, kit.policy("p", *rules))
    decision = kit.asked(snapshot)
    assert [reason.rule for reason in decision.reasons] == ["p/ours"], "what was not read is not in the record"
    told = [(rule["rule"], rule["result"]) for rule in why.tree(snapshot, decision)["rules"]]
    assert told == [("p/ours", "true"), ("p/theirs", "false"), ("p/later", "unread"), ("open/all", "unread")]


def test_an_allow_that_a_guard_leaves_out_still_is_one_that_could_have_allowed(kit):
    allow = kit.policy("a", kit.rule("theirs", "allow", 'principal.team == "x"'))
    snapshot = kit.built(allow, kit.policy("p", kit.rule("no", "deny")))
    assert kit.asked(snapshot).by == ("p/no",), "a deny stands, and is told: the default says no only where nothing is granted at all"


def test_a_stream_is_not_held_for_a_rule_whose_guard_fails(kit):
    when = 'principal.team == "{}" && reply.finish == "stop"'
    for team, held in (("core", True), ("x", False)):
        snapshot = kit.built(kit.ALLOW, kit.policy("p", kit.rule("r", "deny", when.format(team), buffer=True), phase="response", operation=["chat"]))
        call = snapshot.resolve(kit.call(), "openai")
        assert needs_buffer(snapshot, call, kit.DEV) is held
        judged = judge_reply(snapshot, call, kit.DEV, ReplyFacts(200, "stop"), now=kit.NOW, decision_id="r", complete=True)
        assert judged.effect == ("deny" if held else "allow")


# ---------------------------------------------------------------- variables


def test_a_variable_is_computed_once_however_many_rules_read_it_and_not_at_all_where_none_does(kit, evaluated):
    variables = {"big": "call.tokens > 100", "twice": "variables.big && variables.big", "idle": "call.bytes > 5"}
    rules = [kit.rule(f"r{number}", "deny", f"call.tokens == {number} && variables.big && variables.twice") for number in (500, 500, 500, 1, 2)]
    rules = [{**rule, "name": f"r{number}"} for number, rule in enumerate(rules)]
    snapshot = kit.built(kit.ALLOW, kit.policy("p", *rules, variables=variables))
    evaluated.clear()
    assert kit.asked(snapshot, kit.call(tokens=500)).by == ("p/r0", "p/r1", "p/r2")
    assert [source for source in evaluated if source in variables.values()] == ["call.tokens > 100", "variables.big && variables.big"]
    evaluated.clear()
    assert kit.asked(snapshot, kit.call(tokens=7)).effect == "allow"
    assert not set(evaluated) & set(variables.values()), "no rule came as far as to read one"


def test_a_variable_that_fails_is_computed_once_too(kit, evaluated):
    variables = {"deep": "call.params.depth > 3"}
    rules = [kit.rule(f"r{number}", "deny", f"variables.deep || call.tokens == {number}") for number in range(3)]
    snapshot = kit.built(kit.ALLOW, kit.policy("p", *rules, variables=variables))
    evaluated.clear()
    assert [reason.result for reason in kit.asked(snapshot, kit.call(tokens=9)).reasons[:3]] == ["error"] * 3
    assert evaluated.count("call.params.depth > 3") == 1


def test_a_variable_that_reads_the_model_is_computed_once_for_each(kit, evaluated):
    route = kit.document("Route", "fast", match={"target": ["fast"]}, to=[{"upstream": "openai", "model": name} for name in ("gpt-4o", "gpt-4o-mini")])
    variables = {"mini": 'call.model.endsWith("mini")'}
    rules = [kit.rule(f"r{number}", "deny", f"variables.mini && call.tokens == {number}") for number in range(3)]
    snapshot = kit.built(kit.upstream(), route, kit.ALLOW, kit.policy("p", *rules, variables=variables))
    evaluated.clear()
    kit.asked(snapshot, kit.call("fast", tokens=9))
    assert evaluated.count('call.model.endsWith("mini")') == 2
