"""What an explanation is made of: what conditions compare, when the clock matters, and changes in every dialect's own place."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sidecar import expr
from sidecar.cli import explained
from sidecar.compiler.rules import Condition, Variables
from sidecar.expr.environment import request_declarations
from sidecar.telemetry import record
from sidecar.telemetry.kept import Facts
from sidecar.workbench import explain
from sidecar.workbench.explain import moments
from sidecar.workbench.explain.constants import compared

DECLARED = request_declarations({"mfa": expr.BOOL, "level": expr.INT}, {"file": expr.STRING, "list": expr.list_of(expr.STRING)}, proposals=True)


def condition(source, **variables):
    program = expr.compile(source, DECLARED)
    return Condition((program,), program.reads, Variables({name: expr.compile(text, DECLARED, result=expr.DYN) for name, text in variables.items()}))


COMPARED = {
    "call.params.?max_tokens.orValue(0) > 4000": {("call.params.max_tokens", "is", value) for value in (3999, 4000, 4001)},
    "1.0 >= double(call.params.temperature)": {("call.params.temperature", "is", value) for value in (0.9, 1.0, 1.1)},
    'call.target in ["a", "b"]': {("call.target", "is", "a"), ("call.target", "is", "b")},
    '"leads" in principal.groups': {("principal.groups", "has", "leads")},
    'principal.groups.exists(g, g == "leads" || g.startsWith("sec-"))': {("principal.groups", "has", "leads"), ("principal.groups", "has", "sec-")},
    '["x", "y"].exists(p, call.model.startsWith(p))': {("call.model", "is", "x"), ("call.model", "is", "y")},
    "!principal.claims.mfa || call.stream": {(path, "is", value) for path in ("principal.claims.mfa", "call.stream") for value in (True, False)},
    'path.within(path.clean(call.args.?path.orValue("/")), "/srv")': {("call.args.path", "within", "/srv")},
    'net.inRange(source.ip, "10.0.0.0/8")': {("source.ip", "range", "10.0.0.0/8")},
    'call.params["user"] == "anna"': {("call.params.user", "is", "anna")},
    'principal.team == "a" ? call.stream : principal.claims.level == 2': {
        ("principal.team", "is", "a"), ("call.stream", "is", True), ("call.stream", "is", False),
        *(("principal.claims.level", "is", value) for value in (1, 2, 3)),
    },
    'cel.bind(t, principal.team, t == "x")': {("principal.team", "is", "x")},
    'variables.file == "/etc" && call.target in variables.list': {("call.args.path", "is", "/etc"), ("call.target", "is", "u")},
    "call.tokens > call.bytes": set(),
}  # fmt: skip


@pytest.mark.parametrize("source", COMPARED)
def test_what_a_condition_compares_is_read_from_its_syntax(source):
    found = compared(condition(source, file='path.clean(call.args.?path.orValue("/"))', list='["u"]'))
    assert {(".".join(hint.path), hint.how, hint.value) for hint in found.hints} == COMPARED[source]


NOON = datetime(2026, 11, 4, 12, tzinfo=UTC).timestamp()  # a Wednesday
TIMES = {
    'now.getHours("Europe/Berlin") >= 18': ["2026-11-04T17:00:00"],
    "now.getDayOfWeek() == 0": ["2026-11-08T00:00:00"],
    'now.getHours("Asia/Kolkata") == 19': ["2026-11-04T13:30:00"],
    "now.getDate() == 1": ["2026-12-01T00:00:00"],
    'now < timestamp("2026-11-04T13:00:00Z")': ["2026-11-04T12:59:59", "2026-11-04T13:00:00", "2026-11-04T13:00:01"],
    'now < timestamp("2026-11-04T11:00:00Z")': ["2026-11-04T11:00:01", "2026-11-04T11:00:00", "2026-11-04T10:59:59"],
    "now.getHours() >= 9 && now.getHours() < 17 && call.stream": ["2026-11-04T17:00:00", "2026-11-05T00:00:00"],
    "call.stream": [],
}


@pytest.mark.parametrize("source", TIMES)
def test_times_are_tried_where_a_condition_comes_out_otherwise(source):
    tried = moments.instants([compared(condition(source))], [], NOON)
    assert [datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S") for at in tried] == TIMES[source]


def test_an_exception_that_has_ended_is_tried_at_its_last_second():
    assert moments.instants([], [NOON - 100, NOON + 100], NOON) == [NOON - 101]


# ---------------------------------------------------------------- changes

BODIES = {
    "openai_chat": {"model": "gpt-4o", "messages": [], "max_completion_tokens": 9000},
    "openai_responses": {"model": "gpt-4o", "input": "x", "max_output_tokens": 9000},
    "anthropic_messages": {"model": "claude", "messages": [], "max_tokens": 9000},
    "gemini_generate": {"contents": [], "generationConfig": {"maxOutputTokens": 9000}},
}
NAMES = ("max_tokens", "max_completion_tokens", "max_output_tokens")
DENY = " || ".join(f"call.params.?{name}.orValue(0) > 4000" for name in NAMES)


@pytest.mark.parametrize("dialect", BODIES)
def test_a_parameter_is_changed_where_its_dialect_has_it(kit, dialect):
    family = dialect.partition("_")[0]
    model = {"anthropic": "claude", "gemini": "gemini"}.get(family, "gpt-4o")
    snapshot = kit.built(
        kit.upstream("up", family, models=[{"name": model, "price": kit.PRICE}]), kit.ALLOW, kit.policy("short", kit.rule("answers", "deny", DENY))
    )
    call = {"dialect": dialect, "body": BODIES[dialect]} | ({"target": model} if family == "gemini" else {})
    ways = explain.explain(snapshot, {"principal": {"id": "user:dev"}, "call": call}, kit.NOW)["smallest"]["ways"]
    assert [(way["changes"][0]["from"], way["changes"][0]["to"]) for way in ways if "to" in way["changes"][0]] == [(9000, 4000)]
    assert [way["changes"][0]["text"].partition(" ")[0] for way in ways] == [ways[0]["changes"][0]["text"].split()[0], *["without"] * (len(ways) - 1)]


def test_a_search_leaves_no_trace_in_what_the_snapshot_remembers(kit):
    snapshot = kit.built(kit.policy("leads", kit.rule("all", "allow"), subjects=["group:leads"]))
    explain.explain(snapshot, {"principal": {"id": "user:dev"}, "call": {"operation": "chat", "target": "gpt-4o"}}, kit.NOW)
    assert (len(snapshot._members), len(snapshot._candidates), len(snapshot.people), len(snapshot.counters)) == (0, 0, 0, 0)


def test_a_search_takes_no_more_decisions_than_its_bound(kit):
    snapshot = kit.built(*(kit.policy(f"p{index}", kit.rule("all", "allow", "call.tokens > 5 && call.stream"), subjects=[f"group:g{index}"]) for index in range(20)))  # fmt: skip
    asked = {"principal": {"id": "user:dev"}, "call": {"operation": "chat", "target": "gpt-4o"}}
    for bound in (0, 1, 100):
        found = explain.explain(snapshot, asked, kit.NOW, bound=bound)["smallest"]
        assert (found["decisions"], found["complete"], found["ways"]) == (bound, False, [])


def test_no_value_of_a_condition_is_in_what_a_refusal_or_a_record_would_hold(kit):
    snapshot = kit.built(kit.ALLOW, kit.policy("secret", kit.rule("no", "deny", 'call.params.user == "zanzibar7"')))
    asked = {"principal": {"id": "user:dev"}, "call": {"operation": "chat", "target": "gpt-4o", "params": {"user": "zanzibar7"}}}
    tree = explain.explain(snapshot, asked, kit.NOW)
    assert "zanzibar7" in str(tree["parts"])
    assert "zanzibar7" not in str([tree["refusal"], tree["rules"], tree["would"], tree["facts"]])


# ---------------------------------------------------------------- records


def kept(kit, snapshot, asked, **fields):
    """The record of a decision, with what `inputs: facts` keeps of it."""
    decision = replace(explain.read(asked, kit.NOW).decide(snapshot), id="d_1")
    line = record.Writer().line(decision, snapshot=snapshot.digest, inputs=Facts().keep(snapshot, decision), **fields)
    return record.read(line)


def test_a_way_that_would_read_what_was_not_kept_is_none(kit):
    snapshot = kit.built(
        kit.ALLOW,
        kit.policy("dear", kit.rule("closed", "deny"), target=["gpt-4o"]),
        kit.policy("cheap", kit.rule("cool", "deny", "call.params.?temperature.orValue(0.0) > 1.0"), target=["gpt-4o-mini"]),
    )
    asked = {"principal": {"id": "user:dev"}, "call": {"operation": "chat", "target": "gpt-4o", "params": {"temperature": 2.0}}}
    tree = explain.explained_record(snapshot, kept(kit, snapshot, asked)).tree
    assert (tree["effect"], tree["by"], tree["undecided"]) == ("deny", ["dear/closed"], "")
    models = {change["to"] for way in tree["smallest"]["ways"] for change in way["changes"] if change["kind"] == "model"}
    assert models == {"text-embed"}, "the temperature, which a rule about gpt-4o-mini reads, is not on record"


def test_the_quota_that_ran_out_then_is_told_as_that(kit):
    quota = kit.document("Quota", "rate", key=["principal.id"], limits=[{"metric": "requests", "max": 1, "per": "1m"}])
    snapshot = kit.built(kit.ALLOW, quota)
    asked = {"principal": {"id": "user:dev"}, "call": {"operation": "chat", "target": "gpt-4o"}, "quota": {"rate": "exhausted"}}
    tree = explain.explained_record(snapshot, kept(kit, snapshot, asked)).tree
    assert (tree["by"], [each["answer"] for each in tree["quotas"]]) == (["rate"], ["exhausted then"])
    assert [change["kind"] for way in tree["smallest"]["ways"] for change in way["changes"]] == ["quota"]


def test_rules_that_were_too_far_to_be_looked_at_are_counted(kit, monkeypatch):
    monkeypatch.setattr("sidecar.workbench.explain.relevance.MOST", 2)
    snapshot = kit.built(kit.policy("p", *(kit.rule(f"no{number}", "deny") for number in range(5)), operation=["chat"]))
    asked = {"principal": {"id": "user:dev"}, "call": {"operation": "chat", "target": "gpt-4o"}}
    found = explain.explain(snapshot, asked, now=1.0)["smallest"]
    assert (found["left"], found["ways"]) == (3, [])
    assert any("3 rules that are farther were not looked at" in line for line in explained._smallest(found, explained.Style()))
