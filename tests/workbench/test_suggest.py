"""`sidecar suggest`: what was seen is allowed, nothing else is, and the rules are few."""

import itertools
import json
import random

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.call import Tool
from sidecar.evaluate import reply
from sidecar.principal import Principal
from sidecar.telemetry import record
from sidecar.workbench import cases, suggest
from sidecar.workbench.fmt import format_documents
from sidecar.workbench.suggest import known

NOW = 1_790_000_000.0
FAMILIES = ["gpt-4o", "gpt-4o-mini", "gpt-4o-nano", "gpt-4o-max", "o3", "o3-mini"]


@pytest.fixture(scope="module")
def stage(kit):
    return Stage(kit)


class Stage:
    """A platform in `mode: audit`, the lines that it writes, and what is decided once the suggestion is laid beside it."""

    def __init__(self, kit):
        self.kit = kit
        price = {"input": 1.0}
        models = [{"name": name, "price": price} for name in FAMILIES]
        self.platform = [
            kit.upstream(models=[*models, {"name": "wild-*"}]),
            kit.upstream("second", models=[{"name": "gpt-4o", "price": price}]),
            kit.policy("guard", kit.rule("no-heat", "deny", when="call.params.?temperature.orValue(0.0) > 1.0"), operation=["chat"]),
            kit.policy("trial", kit.rule("no-o3", "deny"), mode="audit", target=["o3"], operation=["embeddings"]),
            kit.document("Route", "all", match={"target": ["gpt-4o"]}, to=[{"upstream": "openai"}, {"upstream": "second"}]),
        ]
        self.audit = self.built(kit.document("Settings", "s", mode="audit", default={"toolCall": "deny"}))
        self.known = known.of(self.audit)

    def built(self, *more):
        return self.kit.built(*self.platform, *more)

    def line(self, who, model, operation="chat", **params):
        return record.Writer().line(self.kit.asked(self.audit, self.kit.call(model, operation, params=params), who), mode="audit")

    def tool(self, who, name):
        call = self.audit.resolve(self.kit.call("o3"), "openai")
        return record.Writer().line(reply.judge_tool(self.audit, call, who, Tool(name), now=NOW, decision_id="d"), mode="audit")

    def enforced(self, text):
        settings = self.kit.document("Settings", "s", default={"toolCall": "deny"})
        return self.built(settings, *(each for each in yaml.safe_load_all(text) if each))

    def effect(self, snapshot, who, model, operation="chat"):
        return self.kit.asked(snapshot, self.kit.call(model, operation), who).effect


def person(id, team="", *groups):
    return Principal.of(id, team=team, groups=groups)


ANN, BOB = person("key:ann", "core", "eng"), person("key:bob", "core", "eng")
EVE = person("user:eve", "sales", "eng")


def parsed(text):
    (only,) = yaml.safe_load_all(text)
    return only["spec"]


def roles(made):
    """{the subjects of a role: its grants}."""
    spec = parsed(made.policy)
    return {tuple(binding["subjects"]): spec["roles"][binding["role"]]["allow"] for binding in spec["bindings"]}


# ---------------------------------------------------------------- what is suggested


def test_a_team_that_does_the_same_goes_by_its_name_and_a_group_that_does_not_by_its_callers(stage):
    made = suggest.suggest([stage.line(ANN, "o3"), stage.line(BOB, "o3"), stage.line(EVE, "o3-mini")], known=stage.known)
    assert roles(made) == {("team:core",): ["llm:chat:o3"], ("user:eve",): ["llm:chat:o3-mini"]}


def test_the_most_general_subject_whose_callers_all_did_it_is_named(stage):
    made = suggest.suggest([stage.line(who, "o3") for who in (ANN, BOB, EVE)], known=stage.known)
    assert roles(made) == {("group:eng",): ["llm:chat:o3"]}


def test_one_caller_alone_is_no_group(stage):
    assert roles(suggest.suggest([stage.line(ANN, "o3")], known=stage.known)) == {("key:ann",): ["llm:chat:o3"]}


def test_a_caller_that_was_only_refused_keeps_its_group_from_being_named(stage):
    lines = [stage.line(ANN, "o3"), stage.line(BOB, "o3"), stage.line(person("key:cat", "core", "eng"), "o3", temperature=2.0)]
    assert roles(suggest.suggest(lines, known=stage.known)) == {("key:ann", "key:bob"): ["llm:chat:o3"]}


def test_a_caller_that_left_its_group_is_not_known_by_it(stage):
    lines = [stage.line(ANN, "o3"), stage.line(BOB, "o3"), stage.line(person("key:bob"), "o3")]
    assert roles(suggest.suggest(lines, known=stage.known)) == {("key:ann", "key:bob"): ["llm:chat:o3"]}


def test_nobody_in_particular_is_named_only_where_seen(stage):
    made = suggest.suggest([stage.line(person("anonymous"), "o3")], known=stage.known)
    assert roles(made) == {("anonymous",): ["llm:chat:o3"]}


def test_what_a_rule_refuses_or_would_refuse_is_not_suggested_and_is_told(stage):
    lines = [stage.line(ANN, "o3", temperature=2.0), stage.line(ANN, "o3", "embeddings"), stage.line(ANN, "o3-mini")]
    made = suggest.suggest(lines, known=stage.known)
    assert roles(made) == {("key:ann",): ["llm:chat:o3-mini"]}
    assert "# not covered: 1 call that `guard/no-heat` refuses\n" in made.policy
    assert "# not covered: 1 call that `trial/no-o3` refuses\n" in made.policy


def test_what_was_really_refused_is_not_suggested(stage, kit):
    snapshot = stage.built()
    line = record.Writer().line(kit.asked(snapshot, kit.call("o3"), ANN))
    assert json.loads(line)["effect"] == "deny"
    made = suggest.suggest([line], known=stage.known)
    assert (made.policy, made.tests) == ("", "")


def test_names_that_begin_alike_become_one_pattern_where_nothing_else_begins_so(stage):
    whole = suggest.suggest([stage.line(ANN, name) for name in FAMILIES[1:4]], known=stage.known)
    assert roles(whole) == {("key:ann",): ["llm:chat:gpt-4o-*"]}
    part = suggest.suggest([stage.line(ANN, name) for name in FAMILIES[1:3]], known=stage.known)
    assert roles(part) == {("key:ann",): ["llm:chat:gpt-4o-mini", "llm:chat:gpt-4o-nano"]}


def test_a_pattern_never_holds_what_was_denied_or_what_the_platform_has_and_nobody_used(stage):
    denied = suggest.suggest([*(stage.line(ANN, name) for name in FAMILIES[1:4]), stage.line(BOB, "gpt-4o-max", temperature=2.0)], known=stage.known)
    assert roles(denied) == {("key:ann",): [f"llm:chat:{name}" for name in sorted(FAMILIES[1:4])]}
    wild = [stage.line(ANN, f"wild-{name}") for name in "abc"]
    assert roles(suggest.suggest(wild, known=stage.known)) == {("key:ann",): ["llm:chat:wild-*"]}
    assert len(roles(suggest.suggest([*wild, stage.line(BOB, "wild-d")], known=stage.known))[("key:ann",)]) == 3


def test_a_model_goes_with_its_upstream_where_the_platform_is_not_known_or_has_another(stage, kit):
    line = stage.line(ANN, "gpt-4o")
    assert roles(suggest.suggest([line])) == {("key:ann",): ["llm:chat:openai/gpt-4o", "llm:chat:second/gpt-4o"]}
    assert roles(suggest.suggest([line], known=stage.known)) == {("key:ann",): ["llm:chat:gpt-4o"]}
    one = record.Writer().line(kit.asked(stage.audit, kit.call("gpt-4o"), ANN)).replace(b',"second/gpt-4o"', b"")
    assert roles(suggest.suggest([one], known=stage.known)) == {("key:ann",): ["llm:chat:openai/gpt-4o"]}


def test_tools_are_suggested_where_they_are_asked_for(stage):
    lines = [stage.line(ANN, "o3"), stage.tool(ANN, "read_file")]
    assert roles(suggest.suggest(lines, known=stage.known)) == {("key:ann",): ["llm:chat:o3"]}
    made = suggest.suggest(lines, known=stage.known, tools=True)
    assert roles(made) == {("key:ann",): ["llm:chat:o3", "llm:tool_call:read_file"]}
    snapshot = stage.enforced(made.policy)
    judged = {
        name: reply.judge_tool(snapshot, snapshot.resolve(stage.kit.call("o3"), "openai"), ANN, Tool(name), now=NOW, decision_id="d").effect
        for name in ("read_file", "wipe")
    }
    assert judged == {"read_file": "allow", "wipe": "deny"}


def test_housekeeping_alone_gets_a_grant_and_beside_other_use_needs_none(stage):
    lists = stage.line(ANN, "", "models")
    assert roles(suggest.suggest([lists], known=stage.known)) == {("key:ann",): ["llm:models:*"]}
    made = suggest.suggest([lists, stage.line(ANN, "o3")], known=stage.known)
    assert roles(made) == {("key:ann",): ["llm:chat:o3"]}
    assert stage.effect(stage.enforced(made.policy), ANN, "", "models") == "allow"


def test_few_calls_are_left_out_and_told(stage):
    made = suggest.suggest([*[stage.line(ANN, "o3")] * 3, stage.line(BOB, "o3-mini")], known=stage.known, min_count=2)
    assert roles(made) == {("key:ann",): ["llm:chat:o3"]}
    assert "# left out, 1 call, 1 caller, last seen 2026-09-21: `key:bob` may `llm:chat:o3-mini`\n" in made.policy
    assert "    # 3 calls, 1 caller, last seen 2026-09-21\n" in made.policy
    assert (made.roles, made.left_out, made.calls) == (1, 1, 3)


@pytest.mark.parametrize("id", ["user:a*b", "user:a b", "nonsense", ""])
def test_callers_that_no_rule_can_name_exactly_are_told_and_not_named(stage, id):
    made = suggest.suggest([stage.line(person(id), "o3"), stage.line(ANN, "o3")], known=stage.known)
    assert roles(made) == {("key:ann",): ["llm:chat:o3"]}
    assert "by callers whose id no rule can name exactly" in made.policy


@pytest.mark.parametrize(
    "line", [b"", b"{", b"5\n", b'{"v": 9}', b'{"v":1,"type":"decision","id":"x","now":"y","effect":"allow","principal":{"id":"key:a"},"call":5}']
)
def test_lines_that_are_no_records_are_counted(stage, line):
    made = suggest.suggest([line, stage.line(ANN, "o3")], known=stage.known)
    assert made.seen.skipped == {"not readable as records": 1}
    assert roles(made) == {("key:ann",): ["llm:chat:o3"]}


def test_checkpoints_are_no_decisions(stage):
    made = suggest.suggest([b'{"v":1,"type":"checkpoint","at":1,"head":"","closing":false}', stage.line(ANN, "o3")], known=stage.known)
    assert not made.seen.skipped


def test_names_of_callers_cannot_write_into_the_document(stage):
    lines = [stage.line(person('user:"]}\u202e', "a\nkind: Policy"), "o3")]
    made = suggest.suggest(lines, known=stage.known)
    assert roles(made) == {('user:"]}\u202e',): ["llm:chat:o3"]}


def test_different_uses_are_bounded(stage, monkeypatch):
    monkeypatch.setattr("sidecar.workbench.suggest.seen.MOST", 3)
    made = suggest.suggest([stage.line(ANN, f"wild-{number}") for number in range(10)], known=stage.known)
    assert len(made.seen.uses) == 3
    assert made.seen.skipped["past the first 3 different uses"] == 7


# ---------------------------------------------------------------- properties

PEOPLE = [
    person(f"key:{name}", team, *groups)
    for name, team, groups in [("a", "t1", ("g",)), ("b", "t1", ()), ("c", "t2", ("g",)), ("d", "t2", ("g", "h")), ("e", "", ("h",))]
]
CELLS = st.tuples(st.sampled_from(PEOPLE), st.sampled_from(FAMILIES), st.sampled_from(["chat", "embeddings"]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CELLS, min_size=1, max_size=25), st.booleans(), st.integers(0, 1000))
def test_the_traffic_is_allowed_and_of_all_other_calls_none(stage, traffic, platform_is_known, seed):
    traffic = [each for each in traffic if each[1:] != ("o3", "embeddings")] or [(PEOPLE[0], "o3", "chat")]
    lines = [stage.line(*each) for each in traffic]
    made = suggest.suggest(lines, known=stage.known if platform_is_known else None)
    snapshot = stage.enforced(made.policy)
    seen = {(who.id, model, operation) for who, model, operation in traffic}
    met = dict.fromkeys(who for who, *_ in traffic)
    for who, model, operation in itertools.product(met, FAMILIES, ["chat", "embeddings"]):
        told = platform_is_known or any((model, operation) == each[1:] for each in traffic)  # what neither is declared nor was seen may be in a pattern
        if told and (model, operation) != ("o3", "embeddings"):
            wanted = "allow" if (who.id, model, operation) in seen else "deny"
            assert stage.effect(snapshot, who, model, operation) == wanted, (who.id, model, operation, made.policy)
    stranger = person("key:x")
    assert {stage.effect(snapshot, stranger, model) for model in FAMILIES} == {"deny"}
    random.Random(seed).shuffle(lines)
    again = suggest.suggest(lines, known=stage.known if platform_is_known else None)
    assert (again.policy, again.tests) == (made.policy, made.tests)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CELLS, min_size=1, max_size=25), st.booleans())
def test_its_tests_pass_are_formatted_and_no_grant_is_needless(stage, traffic, platform_is_known):
    traffic = [each for each in traffic if each[1:] != ("o3", "embeddings")] or [(PEOPLE[0], "o3", "chat")]
    made = suggest.suggest([stage.line(*each) for each in traffic], known=stage.known if platform_is_known else None)
    snapshot = stage.enforced(f"{made.policy}---\n{made.tests}")
    results = [result for test in snapshot.tests for result in cases.run(snapshot, test)]
    assert [result for result in results if not result.passed] == []
    assert any("stranger" in result.name for result in results)
    for text in (made.policy, made.tests):
        assert format_documents("f", text.encode()).text == text
    assert len(roles(made)) <= len({who.id for who, *_ in traffic})
    if platform_is_known:
        for place in range(len(parsed(made.policy)["bindings"])):
            assert any(stage.effect(stage.enforced(without_role(made.policy, place)), *each) == "deny" for each in traffic)


def without_role(text, place):
    (only,) = yaml.safe_load_all(text)
    del only["spec"]["bindings"][place]
    return yaml.safe_dump(only)


def test_a_million_different_lines_would_be_as_many_entries_as_there_are_uses(stage):
    line = stage.line(ANN, "o3")
    made = suggest.suggest(itertools.repeat(line, 20_000), known=stage.known)
    assert (len(made.seen.uses), made.calls) == (1, 20_000)
