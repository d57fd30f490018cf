"""Everything a Test document can say of a call, a caller, a reply and the world reaches the rules that read it."""

from typing import get_args

import pytest
import yaml

from sidecar import wire
from sidecar.compiler import compile_layers
from sidecar.config import documents
from sidecar.config.load import load
from sidecar.testing import document
from sidecar.workbench import cases

NOW = 1_767_225_600.0
PRICE = {"input": 1, "output": 1, "per": "1M"}
CHAT = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5000}
PARTS = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
BASE = [
    document("Identity", "id", methods=[{"anonymous": {}}], claims={"mfa": {"type": "bool"}}),
    document("Upstream", "openai", protocol="llm", dialect="openai", url="echo:", models=[{"name": "gpt-4o", "price": PRICE}]),
    document("Upstream", "claude", protocol="llm", dialect="anthropic", url="echo:", models=[{"name": "claude-4", "price": PRICE}]),
    document("Upstream", "google", protocol="llm", dialect="gemini", url="echo:", models=[{"name": "gemini-2", "price": PRICE}]),
    document(
        "Policy",
        "p",
        match={"operation": ["*"]},
        rules=[
            {"name": "all", "effect": "allow"},
            {"name": "long", "when": "call.params.?max_tokens.orValue(0) > 4000", "effect": "deny", "message": "Too long.", "help": "https://example.com"},
            {"name": "streamed", "when": "call.stream", "effect": "require", "then": {"label": ["streamed"]}},
            {"name": "mfa", "when": "principal.claims.mfa", "effect": "require", "then": {"label": ["mfa"]}},
            {"name": "away", "when": "source.namespace == 'prod' || source.ip == '10.0.0.1'", "effect": "deny"},
            {"name": "group", "when": "'eng' in principal.groups || principal.team == 'core' || 'bot' in principal.actors", "effect": "require", "then": {"label": ["group"]}},
        ],
    ),
    document(
        "Policy",
        "t",
        match={"operation": ["tool_call"]},
        rules=[
            {"name": "hosted", "when": "call.tool.kind == 'web_search' || call.tool.server == 'fs'", "effect": "deny"},
            {"name": "etc", "when": "call.args.?path.orValue('') == '/etc'", "effect": "deny"},
        ],
    ),
    document("Policy", "shell", match={"operation": ["tool_call"], "target": ["shell"]}, rules=[{"name": "none", "effect": "deny"}]),
    document(
        "Policy",
        "r",
        match={"phase": "response", "operation": ["chat"]},
        rules=[
            {"name": "many", "when": "reply.tool_calls.size() > 1", "effect": "deny", "buffer": True},
            {"name": "cut", "when": "reply.finish == 'length' && reply.status == 200", "effect": "warn", "buffer": True},
        ],
    ),
    document("Quota", "q", key=["principal.id"], limits=[{"metric": "requests", "max": 3, "per": "1m"}, {"metric": "requests", "max": 9, "per": "day", "timezone": "Europe/Berlin"}]),
]  # fmt: skip
FIXTURES = {
    "principals": {"dev": {"id": "user:dev"}, "all": {"id": "user:all", "team": "core", "groups": ["eng"], "actors": ["bot"], "claims": {"mfa": True}}},
    "calls": {
        "cool": {"operation": "chat", "target": "gpt-4o"},
        "openai_chat": {"dialect": "openai_chat", "body": {**CHAT, "model": "gpt-4o"}},
        "newer": {"dialect": "openai_chat", "target": "gpt-4o", "body": {"messages": CHAT["messages"], "max_completion_tokens": 5000}},
        "openai_completions": {"dialect": "openai_completions", "target": "gpt-4o", "body": {"prompt": "hi", "max_tokens": 5000}},
        "openai_responses": {"dialect": "openai_responses", "target": "gpt-4o", "body": {"input": "hi", "max_output_tokens": 5000}},
        "openai_embeddings": {"dialect": "openai_embeddings", "target": "gpt-4o", "body": {"input": "hi"}},
        "openai_moderations": {"dialect": "openai_moderations", "target": "gpt-4o", "body": {"input": "hi"}},
        "openai_models": {"dialect": "openai_models"},
        "one_model": {"dialect": "openai_models", "target": "gpt-4o"},
        "anthropic_messages": {"dialect": "anthropic_messages", "target": "claude-4", "body": CHAT},
        "anthropic_count_tokens": {"dialect": "anthropic_count_tokens", "target": "claude-4", "body": {"messages": CHAT["messages"]}},
        "gemini_generate": {"dialect": "gemini_generate", "target": "gemini-2", "body": {**PARTS, "generationConfig": {"maxOutputTokens": 5000}}},
        "gemini_count_tokens": {"dialect": "gemini_count_tokens", "target": "gemini-2", "body": PARTS},
        "streamed": {"operation": "chat", "target": "gpt-4o", "stream": True},
        "sse": {"dialect": "gemini_generate", "target": "gemini-2", "stream": True, "body": PARTS},
        "away": {"operation": "chat", "target": "gpt-4o", "source": {"namespace": "prod"}},
        "known": {"dialect": "openai_responses", "target": "gpt-4o", "body": {"input": "hi", "previous_response_id": "resp_1"}},
        "foreign": {"dialect": "openai_responses", "target": "gpt-4o", "body": {"input": "hi", "previous_response_id": "resp_1"}, "facts": {"owners": {"resp_1": "foreign"}}},
        "search": {"operation": "tool_call", "target": "web_search", "model": "gpt-4o", "tool": {"kind": "web_search"}, "args": {}},
        "fs": {"operation": "tool_call", "target": "read", "model": "gpt-4o", "tool": {"server": "fs"}, "args": {}},
        "fs2": {"operation": "tool_call", "target": "fs/read", "model": "gpt-4o", "args": {}},
        "read": {"operation": "tool_call", "target": "read", "model": "gpt-4o", "args": {"path": "/srv"}},
        "provider": {"dialect": "openai_responses", "target": "gpt-4o", "body": {"input": "hi", "tools": [{"type": "web_search"}]}},
        "proposes": {"operation": "chat", "target": "gpt-4o", "reply": {"toolCalls": ["shell"]}},
        "two": {"operation": "chat", "target": "gpt-4o", "reply": {"toolCalls": ["shell", "shell", "look"]}},
        "cut": {"operation": "chat", "target": "gpt-4o", "reply": {"finish": "length"}},
    },
}  # fmt: skip
CAPPED = {**BASE[4], "metadata": {"name": "capped"}, "spec": {"match": {"operation": ["chat", "embeddings"], "subjects": ["user:capped"]}, "rules": [{"name": "all", "effect": "allow", "then": {"cap": {"max_tokens": 9}}}]}}  # fmt: skip
LONG = ["openai_chat", "newer", "openai_completions", "openai_responses", "anthropic_messages", "gemini_generate"]


def results(*expect, changed=None):
    test = document("Test", "t", **{**FIXTURES, **(changed or {})}, expect=list(expect))
    loaded = load([("base", [("all.yaml", yaml.safe_dump_all([*BASE, CAPPED, test]).encode())])], {}, NOW)
    assert [item for item in loaded.diagnostics if item.severity == "error"] == []
    snapshot = compile_layers(loaded.layers, now=NOW).snapshot
    assert snapshot is not None
    return cases.run(snapshot, snapshot.tests[0])


def row(call, effect="deny", who="dev", **more):
    return {"principal": who, "call": call, "effect": effect, **more}


def test_the_dialects_of_a_test_are_those_of_the_wire():
    assert set(get_args(documents.Dialect)) - {""} == set(wire.CODECS)


def test_every_dialect_has_a_fixture_here():
    assert {call.get("dialect") for call in FIXTURES["calls"].values()} > set(wire.CODECS)


@pytest.mark.parametrize(
    "expectation",
    [
        row(LONG, by="p/long", refusal={"status": 403, "code": "policy_denied", "message": "Too long.", "help": "https://example.com"}),
        row(LONG, "allow", without=["params.max_tokens"]),
        row(["openai_embeddings", "openai_moderations", "openai_models", "one_model", "anthropic_count_tokens", "gemini_count_tokens"], "allow"),
        row(["streamed", "sse"], "allow", obligations={"label": "streamed"}),
        row("away", by="p/away"),
        row("away", "allow", without=["source.namespace"]),
        row("away", "allow", without=["source"]),
        row("known", "allow"),
        row("foreign", refusal={"status": 404, "code": "not_found"}),
        row("foreign", "allow", facts={"owners": {"resp_1": "own"}}),
        row("known", facts={"owners": {"resp_1": "unknown"}}, refusal={"status": 404}),
        row("known", facts={"owners": {"resp_1": "unavailable"}}, refusal={"status": 503, "code": "owners_unavailable"}),
        row(["search", "fs", "fs2"], by="t/hosted"),
        row("search", "allow", without=["tool"]),
        row("search", "allow", without=["tool.kind"]),
        row("read", "allow"),
        row("read", by="t/etc", without=["args"]),
        row("provider", by="t/hosted"),
        row("proposes", by=["shell/none"]),
        row("cut", "allow", obligations={"warn": "r/cut"}),
        row("cool", "allow", who="all", obligations={"label": ["mfa", "group"]}),
        row("cool", "allow", who="all", without=["principal.claims.mfa"]),
        row("cool", "allow", facts={"used": {"q": {"requests/1m": 2}}}),
        row("cool", by="q", facts={"used": {"q": {"requests/1m": 3}}}, refusal={"status": 429}),
        row("cool", "allow", facts={"used": {"q": {"requests/day": 8}}}),
        row("cool", by="q", facts={"used": {"q": {"requests/day": 9}}}),
        row("cool", by="q", facts={"used": {"q": {"requests": 3}}}),
        row("cool", by="q", facts={"quota": {"q": "unavailable"}}, refusal={"status": 503, "code": "quota_unavailable"}),
    ],
)
def test_what_is_told_reaches_the_rules(expectation):
    assert [(result.name, result.detail) for result in results(expectation) if not result.passed] == []


def test_a_claim_that_is_taken_out_has_its_default():
    (kept, less) = results(
        row("cool", "allow", who="all", obligations={"label": "mfa"}),
        row("cool", "allow", who="all", obligations={"label": "mfa"}, without=["principal.claims.mfa"]),
    )
    assert (kept.passed, less.passed) == (True, False)


@pytest.mark.parametrize("part", ["team", "groups", "actors"])
def test_each_part_of_a_caller_can_be_taken_out(part):
    others = [f"principal.{other}" for other in ("team", "groups", "actors") if other != part]
    label = {"obligations": {"label": "group"}}
    one, none = results(
        row("cool", "allow", who="all", without=others, **label), row("cool", "allow", who="all", without=[*others, f"principal.{part}"], **label)
    )
    assert (one.passed, none.passed) == (True, False)


def test_a_proposal_that_is_denied_is_not_seen_by_rules_about_the_reply():
    """Two of three are taken out, so one is left: the reply itself is released, and the no that stands is the proposal's."""
    (result,) = results(row("two", by="shell/none"))
    assert result.passed


@pytest.mark.parametrize(
    ("less", "words"),
    [
        ("args.pth", "`without: args.pth` takes nothing out, did you mean `path`?"),
        ("args.path.deep", "takes nothing out"),
        ("tool.kind", "takes nothing out"),
    ],
)
def test_a_path_that_takes_nothing_out_is_a_failure(less, words):
    (result,) = results(row("read", "allow", without=[less]))
    assert not result.passed
    assert words in result.detail


def test_a_parameter_that_the_body_does_not_tell_is_a_failure():
    (result,) = results(row("openai_chat", without=["params.max_token"]))
    assert "takes nothing out, did you mean `max_tokens`?" in result.detail


@pytest.mark.parametrize("shape", [{"status": 429}, {"code": "nope"}, {"message": "Too"}, {"help": "https://example.org"}])
def test_a_refusal_that_looks_otherwise_is_a_failure(shape):
    (result,) = results(row("openai_chat", refusal=shape))
    assert not result.passed
    assert f"expected the refusal's {next(iter(shape))}" in result.detail


def test_a_case_is_named_for_what_its_row_changes():
    (result,) = results(row("newer", without=["params.max_tokens"], facts={"quota": {"q": "exhausted"}, "used": {"q": {"requests": 2}}}))
    assert result.name == "t: dev / newer without params.max_tokens with q exhausted, q used requests 2"


def test_what_a_dialect_cannot_carry_a_told_call_cannot_either():
    """A cap on the output has no place in embeddings: the real call is refused, and so is the one of a test."""
    calls = {"chat": {"operation": "chat", "target": "gpt-4o"}, "vectors": {"operation": "embeddings", "target": "gpt-4o"}}
    told = results(row("chat", "allow", who="me"), row("vectors", "deny", who="me"), changed={"principals": {"me": {"id": "user:capped"}}, "calls": calls})
    assert [(result.name, result.detail) for result in told if not result.passed] == []
