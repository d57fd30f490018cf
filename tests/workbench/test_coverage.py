"""Coverage tells what no case shows, and the row that would; what short-circuits hide on the way of a call counts all the same."""

import pytest

from sidecar.workbench.coverage import Coverage

CHAT = {"operation": "chat", "target": "gpt-4o"}


def rule(name, effect, when="true", **more):
    return {"name": name, "effect": effect, "when": when, **more}


def allowed(bench, *rules, **match):
    return bench.document("Policy", "p", match={"operation": ["chat"], **match}, rules=[rule("all", "allow"), *rules])


def row(call, effect="allow", who="dev", **more):
    return {"principal": who, "call": call, "effect": effect, **more}


LONG = rule("long", "deny", "call.params.max_tokens > 10")
CALLS = {"short": {**CHAT, "params": {"max_tokens": 1}}, "long": {**CHAT, "params": {"max_tokens": 11}}, "tool": {"operation": "tool_call", "target": "x", "model": "gpt-4o", "args": {}}}  # fmt: skip
WHOLE = [row("short"), row("long", "deny"), row("short", "deny", without=["params.max_tokens"]), row("tool")]


def test_a_condition_is_covered_when_it_was_true_and_false_and_missed_its_field(bench):
    assert bench(allowed(bench, LONG), rows=WHOLE, calls=CALLS).coverage == Coverage(7, 7, ())


@pytest.mark.parametrize(
    ("left", "gap"),
    [
        (0, ("p/long", "never false")),
        (1, ("p/long", "never true")),
        (2, ("p/long", "never with params.max_tokens missing")),
        (3, ("p/all", "never missed")),
    ],
)
def test_each_row_that_is_left_out_is_a_gap(bench, left, gap):
    assert gap in bench(allowed(bench, LONG), rows=WHOLE[:left] + WHOLE[left + 1 :], calls=CALLS).gaps


def test_a_gap_names_its_place_and_the_row_to_add(bench):
    made = bench(allowed(bench, LONG), rows=[row("short"), row("long", "deny"), row("tool")], calls=CALLS)
    (gap,) = made.coverage.gaps
    assert gap.position.line == made.line("call.params.max_tokens > 10")
    assert gap.row == "{principal: dev, call: short, without: [params.max_tokens], effect: …}"


def test_the_row_to_add_is_the_row_that_is_missing(bench):
    """What a gap asks for, added, closes it."""
    rows = [row("short"), row("long", "deny"), row("tool")]
    assert bench(allowed(bench, LONG), rows=[*rows, row("short", "deny", without=["params.max_tokens"])], calls=CALLS).gaps == []


def test_a_rule_that_no_case_reaches_says_so_once(bench):
    made = bench(allowed(bench, LONG, subjects=["team:other"]), bench.ALLOW, rows=[row("short")], calls=CALLS)
    assert [gap for gap in made.gaps if gap[0].startswith("p/")] == [("p/all", "never reached"), ("p/long", "never reached"), ("p/long", "never reached")]
    assert "team:other" in made.coverage.gaps[-1].row + made.coverage.gaps[0].row


def test_a_deny_that_stands_hides_no_other_condition(bench):
    """The allow is not read on the way of this call, and its condition is seen true all the same."""
    policy = bench.document("Policy", "p", match={"operation": ["chat"]}, rules=[rule("no", "deny"), rule("yes", "allow", "call.stream")])
    made = bench(policy, rows=[row("a", "deny"), row("b", "deny")], calls={"a": {**CHAT, "stream": True}, "b": CHAT})
    assert not [gap for gap in made.gaps if gap[0] == "p/yes" and gap[1] != "never missed"]


def test_a_document_s_condition_that_is_false_hides_no_rule_s(bench):
    policy = bench.document("Policy", "q", match={"operation": ["chat"]}, when="call.stream", rules=[rule("long", "deny", "call.params.max_tokens > 10")])
    made = bench(policy, bench.ALLOW, rows=[row("long", "allow")], calls=CALLS)
    assert ("q/long", "never true") not in made.gaps
    assert ("q", "never true") in made.gaps


def test_fields_are_missed_one_by_one_with_the_others_in_place(bench):
    both = rule("both", "deny", "call.params.n > 1 && call.params.temperature > 1.0")
    calls = {"both": {**CHAT, "params": {"n": 1, "temperature": 0.5}}, "none": CHAT}
    bare = bench(allowed(bench, both), rows=[row("none", "deny")], calls=calls).gaps
    assert {("p/both", "never with params.n missing"), ("p/both", "never with params.temperature missing")} <= set(bare)
    one = bench(allowed(bench, both), rows=[row("both", without=["params.n"])], calls=calls).gaps
    assert ("p/both", "never with params.n missing") not in one
    assert ("p/both", "never with params.temperature missing") in one


def test_fields_that_a_variable_reads_count(bench):
    policy = {**allowed(bench, rule("deep", "deny", "variables.file == '/'")), "spec": {"match": {"operation": ["tool_call"]}, "variables": {"file": "call.args.?path.orValue('/')"}, "rules": [rule("deep", "deny", "variables.file == '/'")]}}  # fmt: skip
    calls = {"there": {"operation": "tool_call", "target": "x", "model": "gpt-4o", "args": {"path": "/srv"}}}
    assert bench(policy, rows=[row("there")], calls=calls).gaps == [
        ("p/deep", "never hit"),
        ("p/deep", "never true"),
        ("p/deep", "never with args.path missing"),
    ]


def test_where_calls_and_tool_calls_are_meant_both_kinds_are_due(bench):
    policy = bench.document("Policy", "m", match={"operation": ["chat", "tool_call"]}, rules=[rule("x", "deny", "has(call.tool) && call.tool.name == 'shell'")])
    made = bench(policy, bench.ALLOW, rows=[row("tool")], calls=CALLS)
    assert ("m/x", "never with a call that is no tool call") in made.gaps
    assert ("m/x", "never with a call that is no tool call") not in bench(policy, bench.ALLOW, rows=[row("tool"), row("short")], calls=CALLS).gaps


def test_arguments_that_are_not_known_are_no_missing_field(bench):
    policy = bench.document("Policy", "m", match={"operation": ["tool_call"]}, rules=[rule("x", "deny", "call.args.path == '/'")])
    made = bench(policy, rows=[row("t", "deny")], calls={"t": {"operation": "tool_call", "target": "x", "model": "gpt-4o"}})
    assert ("m/x", "never with args.path missing") in made.gaps


def test_every_grant_and_every_binding_is_due(bench):
    roles = bench.document(
        "Roles",
        "r",
        roles={"small": {"allow": ["llm:chat:gpt-4o-mini"]}, "large": {"inherits": ["small"], "allow": ["llm:chat:gpt-4o", "llm:embeddings:*"]}},
        bindings=[{"role": "large", "subjects": ["team:core"]}, {"role": "small", "subjects": ["group:none"], "when": "call.stream"}],
    )
    made = bench(roles, rows=[row("short"), row("short", "deny", who="eve")], calls=CALLS)
    assert made.gaps == [
        ("r/small llm:chat:gpt-4o-mini", "never hit"),
        ("r/large llm:embeddings:*", "never hit"),
        ("r/small", "never reached"),
        ("r/small", "never reached"),
    ]


def test_a_quota_is_due_to_refuse_and_to_let_pass(bench):
    quota = bench.document("Quota", "q", when="call.params.n > 1", limits=[{"metric": "requests", "max": 1, "per": "1m"}])
    calls = {"two": {**CHAT, "params": {"n": 2}}}
    assert [gap for gap in bench(bench.ALLOW, quota, rows=[row("two")], calls=calls).gaps if gap[0] == "q"] == [
        ("q", "never hit"),
        ("q", "never false"),
        ("q", "never with params.n missing"),
    ]
    spent = row("two", "deny", facts={"used": {"q": {"requests": 1}}})
    assert ("q", "never hit") not in bench(bench.ALLOW, quota, rows=[row("two"), spent], calls=calls).gaps


def test_an_exception_is_due_to_lift_a_rule_that_matched(bench):
    lift = bench.document(
        "Exception", "e", lifts=["Policy/p/long"], match={"subjects": ["user:dev"]}, reason="r", approvedBy="a", expires="2026-02-01T00:00:00Z"
    )
    silent = bench(allowed(bench, LONG), lift, rows=[row("short"), row("long", "deny", who="eve")], calls=CALLS)
    assert ("e", "never hit") in silent.gaps
    assert ("e", "never hit") not in bench(allowed(bench, LONG), lift, rows=[row("long")], calls=CALLS).gaps
    over = bench(allowed(bench, LONG), lift, rows=[row("long", "deny")], calls=CALLS, now="2026-03-01T00:00:00Z")
    assert ("e", "never hit") in over.gaps


def test_audited_rules_are_covered_too(bench):
    policy = bench.document("Policy", "a", mode="audit", match={"operation": ["chat"]}, rules=[rule("s", "deny", "call.stream")])
    assert ("a/s", "never true") in bench(bench.ALLOW, policy, rows=[row("short")], calls=CALLS).gaps


def test_replies_and_hosted_tools_are_moments_of_their_call(bench):
    reply = bench.document(
        "Policy", "r", match={"operation": ["chat"], "phase": "response"}, rules=[rule("cut", "deny", "reply.finish == 'length'", buffer=True)]
    )
    tool = bench.document("Policy", "t", match={"operation": ["tool_call"], "target": ["web_search", "shell"]}, rules=[rule("no", "deny")])
    calls = {
        "cut": {**CHAT, "reply": {"finish": "length"}},
        "hosted": {"dialect": "openai_responses", "body": {"model": "gpt-4o", "input": "x", "tools": [{"type": "web_search"}]}},
        "proposed": {**CHAT, "reply": {"toolCalls": ["shell"]}},
    }
    gaps = bench(bench.ALLOW, reply, tool, rows=[row("cut", "deny")], calls=calls).gaps
    assert ("r/cut", "never true") not in gaps
    assert ("t/no", "never reached") in gaps
    for call in ("hosted", "proposed"):
        assert ("t/no", "never reached") not in bench(bench.ALLOW, reply, tool, rows=[row(call, "deny")], calls=calls).gaps


def test_a_case_that_was_not_decided_shows_nothing(bench):
    assert bench(allowed(bench), rows=[row("broken")], calls={"broken": {"dialect": "openai_chat", "body": {"model": 7}}}).coverage.seen == 0


@pytest.mark.parametrize(("seen", "wanted", "percent"), [(9999, 10000, 99), (10000, 10000, 100), (0, 3, 0), (2, 3, 66), (0, 0, 100)])
def test_the_percentage_is_floored(seen, wanted, percent):
    assert Coverage(seen, wanted, ()).percent == percent
