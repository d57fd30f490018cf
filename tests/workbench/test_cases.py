"""`Test` documents over the real ladder, and `explain`."""

import pytest
import yaml

from sidecar.compiler import compile_layers
from sidecar.config.load import load
from sidecar.testing import document
from sidecar.workbench import cases
from sidecar.workbench.explain import explain

NOW = 1_767_225_600.0
BASE = [
    document("Identity", "id", methods=[{"anonymous": {}}], claims={"mfa": {"type": "bool"}, "level": {"type": "int", "default": 3}}),
    document("Upstream", "openai", protocol="llm", dialect="openai", url="echo:", models=[{"name": "gpt-4o"}, {"name": "gpt-4o-mini"}]),
    document("Upstream", "claude", protocol="llm", dialect="anthropic", url="echo:", models=[{"name": "claude-4"}]),
    document("Upstream", "google", protocol="llm", dialect="gemini", url="echo:", models=[{"name": "gemini-2"}]),
    document(
        "Policy",
        "p",
        match={"operation": ["*"]},
        rules=[
            {"name": "all", "effect": "allow"},
            {"name": "hot", "when": "call.params.temperature > 1.5", "effect": "deny"},
            {"name": "must", "when": "principal.claims.level > 2", "effect": "require", "then": {"label": ["seen"], "cap": {"n": 1}}},
        ],
    ),
    document(
        "Policy",
        "t",
        match={"operation": ["tool_call"]},
        rules=[{"name": "no-etc", "when": 'has(call.args) && call.args.path.startsWith("/etc")', "effect": "deny"}],
    ),
    document("Policy", "a", mode="audit", rules=[{"name": "would", "effect": "deny", "when": "call.stream"}]),
    document(
        "Policy",
        "r",
        match={"phase": "response", "operation": ["chat"]},
        rules=[{"name": "short", "when": "reply.tokens > 100", "effect": "deny", "buffer": True}],
    ),
    document("Quota", "q", key=["principal.id"], limits=[{"metric": "requests", "max": 1, "per": "1m"}]),
]
BODY = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5, "temperature": 0.1}
FIXTURES = {
    "principals": {"dev": {"id": "user:dev"}, "low": {"id": "user:low", "claims": {"level": 1}}},
    "calls": {
        "cool": {"operation": "chat", "target": "gpt-4o", "params": {"temperature": 0.1}},
        "hot": {"operation": "chat", "target": "gpt-4o", "params": {"temperature": 1.9}},
        "streamed": {"operation": "chat", "target": "gpt-4o", "stream": True, "params": {"temperature": 0.1}},
        "openai": {"dialect": "openai_chat", "body": {**BODY, "model": "gpt-4o"}},
        "anthropic": {"dialect": "anthropic_messages", "target": "claude-4", "body": BODY},
        "gemini": {
            "dialect": "gemini_generate",
            "target": "gemini-2",
            "body": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "generationConfig": {"temperature": 0.1}},
        },
        "broken": {"dialect": "openai_chat", "body": {"model": 7}},
        "etc": {"operation": "tool_call", "target": "read", "model": "gpt-4o", "args": {"path": "/etc/passwd"}},
        "srv": {"operation": "tool_call", "target": "read", "model": "gpt-4o", "args": {"path": "/srv"}},
        "long": {"operation": "chat", "target": "gpt-4o", "params": {"temperature": 0.1}, "reply": {"tokens": 500}},
    },
}


def snapshot_of(*documents):
    loaded = load([("base", [("all.yaml", yaml.safe_dump_all([*BASE, *documents]).encode())])], {}, NOW)
    compilation = compile_layers(loaded.layers, now=NOW)
    assert compilation.snapshot is not None, (loaded.diagnostics, compilation.diagnostics)
    return compilation.snapshot


def results(*expect):
    snapshot = snapshot_of(document("Test", "t", **FIXTURES, expect=list(expect)))
    (test,) = snapshot.tests
    return cases.run(snapshot, test)


def row(call, effect, who="dev", **more):
    return {"principal": who, "call": call, "effect": effect, **more}


@pytest.mark.parametrize(
    "expectation",
    [
        row("cool", "allow", by="p/all"),
        row("hot", "deny", by="p/hot"),
        row("cool", "deny", by="p/hot", without=["params.temperature"]),
        row("streamed", "allow", would="a/would"),
        row(["openai", "anthropic", "gemini"], "allow"),
        row("openai", "deny", by="p/hot", without=["params.temperature"]),
        row("etc", "deny", by="t/no-etc"),
        row("srv", "allow"),
        row("srv", "deny", without=["args.path"], by="t/no-etc"),
        row("long", "deny", by="r/short"),
        row("cool", "allow", obligations={"label": "seen", "cap": {"n": 1}}),
        row("cool", "deny", by="q", facts={"quota": {"q": "exhausted"}}),
        row("cool", "deny", by="q", facts={"quota": {"q": "unavailable"}}),
        row("*", "allow", who="*")
        | {"call": ["cool", "srv"]},
    ],
)  # fmt: skip
def test_a_true_expectation_passes(expectation):
    assert [(result.name, result.detail) for result in results(expectation) if not result.passed] == []


@pytest.mark.parametrize(
    ("expectation", "words"),
    [
        (row("hot", "allow"), "expected allow, got deny by `p/hot`: denied by rule `p/hot`"),
        (row("cool", "deny"), "expected deny, got allow by `p/all`"),
        (row("cool", "allow", by="p/other"), "expected `p/other` among the determining rules, got `p/all`"),
        (row("cool", "allow", would="a/would"), "expected `a/would` among the would-be rules, got no rule"),
        (row("cool", "allow", who="low", obligations={"label": ["seen"]}), "expected the obligation `label` to hold"),
        (row("broken", "deny"), "the call can't be read"),
    ],
)
def test_a_false_expectation_fails_and_says_why(expectation, words):
    (result,) = results(expectation)
    assert not result.passed
    assert words in result.detail
    assert result.position.file == "base/all.yaml"
    assert result.position.line > 1


def test_a_row_is_a_matrix():
    names = [result.name for result in results(row(["cool", "srv"], "allow", who="*"))]
    assert names == ["t: dev / cool", "t: dev / srv", "t: low / cool", "t: low / srv"]


def test_explain_tells_the_tree():
    told = explain(snapshot_of(), {"principal": {"id": "user:dev"}, "call": {"operation": "chat", "target": "gpt-4o", "params": {"temperature": 2}}}, NOW)
    assert (told["effect"], told["by"]) == ("deny", ["p/hot"])
    assert [rule["rule"] for rule in told["rules"]] == ["p/hot", "p/must", "p/all"]


@pytest.mark.parametrize(
    "data",
    [
        [],
        {"cal": {}},
        {"call": []},
        {"call": {"oops": 1}},
        {"principal": {"name": "x"}},
        {"now": "soon"},
        {"call": {"dialect": "nope"}},
        {"call": {"dialect": "openai_chat", "body": {}}},
    ],
)
def test_explain_refuses_what_is_no_call(data):
    with pytest.raises(ValueError, match=r".+"):
        explain(snapshot_of(), data, NOW)
