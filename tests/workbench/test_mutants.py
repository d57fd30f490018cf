"""Each kind of mistake is made, one at a time; a suite that would not notice it is told which, and one that would has no survivor."""

from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.compiler import compile_layers
from sidecar.config.document import LayerSource
from sidecar.workbench import cases, mutants, mutate
from sidecar.workbench.files import read_layers
from sidecar.workbench.prepare import compiled
from sidecar.workbench.weaker import weaker

ROOT = Path(__file__).parents[2]
CHAT = {"operation": "chat", "target": "gpt-4o"}
CALLS = {
    "short": {**CHAT, "params": {"n": 1}},
    "long": {**CHAT, "params": {"n": 3}},
    "mini": {**CHAT, "target": "gpt-4o-mini", "params": {"n": 3}},
    "vectors": {"operation": "embeddings", "target": "gpt-4o", "params": {"n": 3}},
    "tool": {"operation": "tool_call", "target": "shell", "model": "gpt-4o", "args": {}},
    "look": {"operation": "tool_call", "target": "look", "model": "gpt-4o", "args": {}},
    "bash": {"operation": "tool_call", "target": "bash", "model": "gpt-4o", "args": {}},
}


def rule(name, effect, when="true", **more):
    return {"name": name, "effect": effect, "when": when, **more}


def row(call, effect="allow", who="dev", **more):
    return {"principal": who, "call": call, "effect": effect, **more}


def whats(bench, *documents, rows, name, **more):
    return [what for owner, what in bench(*documents, rows=rows, calls=CALLS, **more).survivors if owner.startswith(name)]


# ---------------------------------------------------------------- conditions


def changes(source):
    return {each.source: each.what for each in weaker(source)}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("call.stream", {"true", "false", "!call.stream"}),
        ("!a", {"true", "false", "!!a", "a"}),
        ("a && b", {"true", "false", "!(a && b)", "a", "b"}),
        ("(a || b) && c", {"a || b", "c", "a && c", "b && c"}),
        ("a > 5", {"a >= 5", "a > 6", "a > 4"}),
        ("a <= 1.5", {"a < 1.5", "a <= 2.5", "a <= 0.5"}),
        ("a == 'x'", {"a != 'x'"}),
        ("a in ['x', 'y']", {"a in ['y']", "a in ['x']"}),
        ("a ? b : c", {"b", "c"}),
    ],
)
def test_a_condition_is_changed_in_every_way(source, expected):
    made = {text.replace("(", "").replace(")", "") for text in changes(source)}
    assert {text.replace("(", "").replace(")", "") for text in expected} <= made


@pytest.mark.parametrize(
    ("source", "never"),
    [
        ("a.?b.orValue(0) > 5", "orValue1"),  # the missing-field case of coverage shows that one
        ("a in ['x', 'x']", "in ['x']"),
        ("a in ['x']", "in []"),
    ],
)
def test_changes_that_mean_the_same_are_left_out(source, never):
    made = [text.replace("(", "").replace(")", "") for text in changes(source)]
    assert not [text for text in made if never in text]


def test_no_change_is_the_source_itself_and_none_comes_twice():
    for source in ("true", "a && a", "x > 1 || x > 1", "!(!a)"):
        made = [each.source for each in weaker(source)]
        assert source not in made
        assert len(made) == len(set(made))


# ---------------------------------------------------------------- documents

POLICY = {"match": {"operation": ["chat"], "target": ["gpt-4o"], "subjects": ["team:core"]}, "rules": [rule("many", "deny", "call.params.?n.orValue(1) > 2")]}
OPEN = {"match": {"operation": ["chat", "embeddings"]}, "rules": [rule("all", "allow")]}


@pytest.mark.parametrize(
    ("missing", "left"),
    [
        ([], []),
        (["mini"], ["`target` dropped: any will do"]),
        (["vectors"], ["`operation` widened to `*`"]),
        (["eve"], ["`subjects` dropped: any will do"]),
        (["limit"], ["condition `>` made `>=` before `2`", "condition `2` made `1`"]),
    ],
)
def test_a_match_is_loosened_and_a_limit_moved_and_only_the_row_at_the_boundary_tells(bench, missing, left):
    rows = {
        "one": row("short"),
        "limit": row("two"),
        "long": row("long", "deny"),
        "mini": row("mini"),
        "vectors": row("vectors"),
        "eve": row("long", who="eve"),
    }
    calls = {**CALLS, "two": {**CHAT, "params": {"n": 2}}}
    documents = bench.document("Policy", "p", **POLICY), bench.document("Policy", "open", **OPEN)
    made = bench(*documents, rows=[each for name, each in rows.items() if name not in missing], calls=calls)
    assert [what for name, what in made.survivors if name.startswith("p")] == left


def test_a_rule_that_no_row_is_about_can_be_dropped_or_turned_round(bench):
    policy = bench.document("Policy", "t", match={"operation": ["tool_call"], "target": ["shell"]}, rules=[rule("no", "deny")])
    assert whats(bench, policy, bench.ALLOW, rows=[row("short")], name="t/no") == ["rule dropped", "effect `deny` made `allow`"]
    assert whats(bench, policy, bench.ALLOW, rows=[row("short"), row("tool", "deny")], name="t/no") == []


def test_each_name_of_a_list_is_due_unless_another_covers_it(bench):
    policy = bench.document("Policy", "t", match={"operation": ["tool_call"], "target": ["shell", "bash", "ba*"]}, rules=[rule("no", "deny")])
    left = whats(bench, policy, bench.ALLOW, rows=[row("look"), row("tool", "deny")], name="t")
    assert left == ["`ba*` dropped from `target`"]


def test_an_obligation_that_no_row_asks_for_can_be_dropped(bench):
    policy = bench.document("Policy", "o", match={"operation": ["chat"]}, rules=[rule("r", "require", then={"label": ["a", "b"], "cap": {"max_tokens": 9}})])
    rows = [row("short", obligations={"label": "a"})]
    assert whats(bench, policy, bench.ALLOW, rows=rows, name="o/") == ["obligation `cap: max_tokens` dropped", "obligation `label: b` dropped"]


def test_grants_and_bindings_are_widened_and_dropped(bench):
    roles = bench.document("Roles", "r", roles={"a": {"allow": ["llm:chat:gpt-4o"]}}, bindings=[{"role": "a", "subjects": ["team:core", "team:other"]}])
    assert set(whats(bench, roles, rows=[row("short")], name="r")) == {
        "grant `llm:chat:gpt-4o` widened to every target",
        "grant `llm:chat:gpt-4o` widened to every operation",
        "bound to everyone",
        "`team:other` dropped from `subjects`",
    }
    rows = [row("short"), row("mini", "deny"), row("vectors", "deny"), row("short", "deny", who="eve"), row("short", who="other")]
    people = {"dev": {"id": "user:dev", "team": "core"}, "eve": {"id": "user:eve"}, "other": {"id": "user:o", "team": "other"}}
    assert whats(bench, roles, rows=rows, name="r", principals=people) == []


def test_a_limit_is_doubled_and_an_outage_passed(bench):
    quota = bench.document("Quota", "q", limits=[{"metric": "requests", "max": 5, "per": "1m"}])
    exhausted = row("short", "deny", facts={"quota": {"q": "exhausted"}})
    assert whats(bench, bench.ALLOW, quota, rows=[row("short"), exhausted], name="q") == ["onError `deny` made `allow`", "limit of requests 5 doubled"]
    told = [row("short", "deny", facts={"used": {"q": {"requests": 5}}}), row("short", "deny", facts={"quota": {"q": "unavailable"}})]
    assert whats(bench, bench.ALLOW, quota, rows=[row("short"), *told], name="q") == []


def test_what_an_exception_lifts_can_be_dropped(bench):
    policy = bench.document(
        "Policy", "p", match={"operation": ["chat"]}, rules=[rule("a", "deny", "call.params.n > 2"), rule("b", "deny", "call.params.n > 9")]
    )
    lift = bench.document("Exception", "e", lifts=["Policy/p/a", "Policy/p/b"], match={"subjects": ["user:dev"]}, reason="r", approvedBy="a", expires="2026-02-01T00:00:00Z")  # fmt: skip
    left = whats(bench, bench.ALLOW, policy, lift, rows=[row("short"), row("long"), row("long", "deny", who="eve")], name="e")
    assert left == ["no longer lifts `Policy/p/b`"]


def test_the_default_is_turned_round(bench):
    settings = bench.document("Settings", "s", default={"toolCall": "deny"})
    assert whats(bench, settings, bench.ALLOW, rows=[row("short")], name="s") == ["default effect `deny` made `allow`", "default toolCall `deny` made `allow`"]
    assert whats(bench, settings, bench.ALLOW, rows=[row("short"), row("vectors", "deny"), row("tool", "deny")], name="s") == []


def test_what_only_records_has_no_mutants_that_could_be_told(bench):
    quota = bench.document("Quota", "q", mode="audit", limits=[{"metric": "requests", "max": 5, "per": "1m"}])
    assert whats(bench, bench.ALLOW, quota, rows=[row("short")], name="q") == []


def test_a_survivor_stands_where_the_change_was_made(bench):
    policy = bench.document("Policy", "p", match={"operation": ["chat"]}, rules=[rule("many", "deny", "call.stream || call.params.?n.orValue(1) > 2")])
    made = bench(policy, bench.ALLOW, rows=[row("short"), row("long", "deny")], calls=CALLS)
    (stream,) = [each for each in mutate.run(made.snapshot, made.cases).survivors if each.what == "condition without `call.stream`"]
    assert stream.position.line == made.line("call.stream ||")


# ---------------------------------------------------------------- running

EXAMPLES = sorted(folder for folder in (ROOT / "policies").iterdir() if list(folder.glob("*.yaml")))


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_short_cuts_change_no_verdict(folder):
    """A mutant compiled from all documents and run against every case is killed just where the fast way kills it, with half of the rows gone too."""
    snapshot = compiled(read_layers([str(folder)]), {}, 1_790_000_000.0).snapshot
    chosen = [case for test in snapshot.tests for case in cases.cases_of(test)][::2]
    bench = mutate.Bench(snapshot, chosen)
    ready = [(case, cases.ready(snapshot, case)) for case in chosen]
    for mutant in (each for document in snapshot.documents for each in mutants.of(document)):
        assert bench.kills(mutant) == slowly(snapshot, mutant, ready), (mutant.name, mutant.what)


def slowly(snapshot, mutant, ready):
    kept = [
        each if each is not mutant.document else replace(each, spec=mutant.spec)
        for each in snapshot.documents
        if each is not mutant.document or mutant.spec is not None
    ]
    made = compile_layers([LayerSource(snapshot.layers[0].name, tuple(kept))], now=0.0).snapshot
    return made is None or any(list(cases.differences(cases.of(made, each), case.row)) for case, each in ready)


def test_the_tests_must_pass_as_they_are_before_a_mutant_says_anything(bench):
    made = bench(bench.ALLOW, rows=[row("short", "deny")], calls=CALLS)
    assert not made.results[0].passed
    with pytest.raises(AssertionError):
        _ = made.survivors
