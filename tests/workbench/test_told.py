"""A failed case tells every candidate and where to look next; CI gets JSON and well-formed JUnit XML of the same."""

import json
from xml.etree import ElementTree as ET

import pytest

from sidecar.workbench import coverage, failing, mutate, told

CHAT = {"operation": "chat", "target": "gpt-4o"}
CALLS = {
    "plain": CHAT,
    "two": {**CHAT, "params": {"n": 2}},
    "vectors": {"operation": "embeddings", "target": "gpt-4o"},
    "gone": {"operation": "chat", "target": "gpt-9"},
    "mini": {"operation": "chat", "target": "gpt-4o-mini"},
    "broken": {"dialect": "openai_chat", "body": {"model": 7}},
}


def row(call, effect="allow", who="dev", **more):
    return {"principal": who, "call": call, "effect": effect, **more}


def documents(bench):
    return (
        bench.document(
            "Policy",
            "p",
            match={"operation": ["chat"], "target": ["gpt-4o"], "subjects": ["user:dev"]},
            rules=[
                {"name": "yes", "effect": "allow", "when": "call.params.?n.orValue(1) < 5"},
                {"name": "many", "effect": "deny", "when": "call.params.n > 2", "message": "<Fewer> & fewer."},
            ],
        ),
        bench.document("Policy", "r", match={"operation": ["chat"], "phase": "response"}, rules=[{"name": "cut", "effect": "deny", "when": "reply.tokens > 9", "buffer": True}]),
        bench.document("Quota", "q", limits=[{"metric": "requests", "max": 1, "per": "1m"}]),
    )  # fmt: skip


def reported(bench, expectation):
    made = bench(*documents(bench), rows=[expectation], calls=CALLS)
    (result,) = made.results
    assert not result.passed
    return failing.explain(made.snapshot, result)


@pytest.mark.parametrize(
    ("expectation", "words"),
    [
        (row("two", "deny", by="p/many"), "`p/many` (base/all.yaml:"),
        (row("two", "deny", by="p/many"), "was read, and its condition is false"),
        (row("vectors", "deny", by="p/many"), "is not about this: its operation is chat, the call's is embeddings"),
        (
            row("mini", "deny", by="p/many"),
            "its match is operation chat, target gpt-4o, subjects user:dev, the call is known as gpt-4o-mini, openai/gpt-4o-mini",
        ),
        (row("two", "deny", by="p/many", who="eve"), "the caller is user:eve"),
        (row("two", "deny", by="r/cut"), "`r/cut` (base/all.yaml:"),
        (row("two", "deny", by="r/cut"), "is not about this: there is no reply"),
        (row("two", "deny", by="q"), "`q` (base/all.yaml:"),
        (row("vectors"), "no allow rule and no grant is about this call and this caller"),
        (row("gone"), "no Upstream serves `gpt-9`"),
        (row("plain"), "the condition of `p/many` (base/all.yaml:"),
        (row("plain"), "fails, and an error counts as matched: is a field missing?"),
    ],
)
def test_a_failure_says_where_to_look_next(bench, expectation, words):
    assert [sentence for sentence in reported(bench, expectation).next if words in sentence]


def test_an_allow_whose_condition_is_false_is_named(bench):
    policy = bench.document("Policy", "p", match={"operation": ["chat"]}, rules=[{"name": "streams", "effect": "allow", "when": "call.stream"}])
    made = bench(policy, rows=[row("plain")], calls=CALLS)
    (sentence,) = failing.explain(made.snapshot, made.results[0]).next
    assert sentence == f"`p/streams` (base/all.yaml:{made.line('name: streams')}) would allow it, but its condition is false"


def test_every_candidate_is_told_the_determining_ones_first(bench):
    report = reported(bench, row("plain"))
    assert [(each.rule, each.effect, each.result, each.decides) for each in report.candidates] == [
        ("p/many", "deny", "error", True),
        ("p/yes", "allow", "true", False),
        ("q", "quota", "true", False),
    ]


def test_a_case_that_could_not_be_read_has_nothing_behind_it(bench):
    assert reported(bench, row("broken")) == ((), ())


@pytest.fixture
def found(bench):
    made = bench(*documents(bench), rows=[row("two"), row("plain"), row("broken", "deny")], calls=CALLS)
    return told.Found(made.snapshot, made.results, coverage.measure(made.snapshot, made.cases), None, 100)


def test_the_text_counts_at_its_end(found):
    lines = told.text(found).splitlines()
    assert lines[0] == "ok   t: dev / two"
    assert lines[-1] == "1 passed, 2 failed"
    assert any(line.startswith("coverage ") for line in lines)
    assert "ok " not in told.text(found._replace(quiet=True))


def test_json_has_every_case_and_what_stands_behind_a_failure(found):
    data = json.loads(told.as_json(found))
    assert (data["passed"], data["failed"], len(data["cases"])) == (1, 2, 3)
    assert data["cases"][1]["candidates"][0] | {"where": ""} == {"rule": "p/many", "effect": "deny", "result": "error", "where": "", "decides": True}
    assert data["coverage"]["percent"] < 100
    assert {"file", "line", "name", "missing", "row"} == set(data["coverage"]["gaps"][0])
    assert "mutants" not in data


def test_junit_is_well_formed_and_counts_what_it_holds(found):
    root = ET.fromstring(told.junit(found))
    suites = list(root)
    assert [suite.get("name") for suite in suites] == ["t", "coverage"]
    for suite in suites:
        assert int(suite.get("tests")) == len(suite.findall("testcase"))
        assert int(suite.get("failures")) == len(suite.findall("testcase/failure"))
    assert int(root.get("failures")) == sum(int(suite.get("failures")) for suite in suites)
    (failure, _) = suites[0].findall("testcase/failure")
    assert "<Fewer> & fewer." in failure.get("message")
    case = suites[0].find("testcase[failure]")
    assert case.get("file") == "base/all.yaml"
    assert int(case.get("line")) > 0


def test_junit_does_not_fail_for_gaps_that_are_allowed(found):
    root = ET.fromstring(told.junit(found._replace(least=0)))
    assert root.find("testsuite[@name='coverage']").get("failures") == "0"


def test_what_xml_and_terminals_cannot_hold_is_spelt_out(bench):
    calls = {"a\u202e\u0001b": CHAT}
    made = bench(*documents(bench), rows=[{"principal": "dev", "call": "*", "effect": "allow"}], calls=calls)
    seen = told.Found(made.snapshot, made.results)
    assert "a\\u202e\\u0001b" in told.text(seen)
    assert "a\\u202e\\u0001b" in ET.fromstring(told.junit(seen)).find(".//testcase").get("name")


def test_survivors_are_told_in_every_format(bench):
    made = bench(bench.ALLOW, rows=[row("plain")], calls=CALLS)
    seen = told.Found(made.snapshot, made.results, None, mutate.run(made.snapshot, made.cases))
    assert "survived: open: `operation` widened to `*`" in told.text(seen)
    assert json.loads(told.as_json(seen))["mutants"]["survivors"][0]["what"] == "`operation` widened to `*`"
    assert ET.fromstring(told.junit(seen)).find("testsuite[@name='mutants']").get("failures") == "1"
