"""`sidecar eval`: the value, the type and the cost; problems with their place; exit codes."""

import io
import json

import pytest

from sidecar.cli.main import main

FIXTURE = """
principal: {id: u1, team: build, groups: [eng], claims: {mfa: true}}
call: {operation: chat, target: gpt-4o, tokens: 5000, params: {temperature: 0.7}}
now: 2026-03-02T10:00:00Z
"""
IDENTITY = """
apiVersion: sidecar.dev/v1
kind: Identity
metadata: {name: who}
spec:
  methods: [{apiKey: {keys: []}}]
  claims:
    mfa: {type: bool}
---
apiVersion: sidecar.dev/v1
kind: Upstream
metadata: {name: up}
spec: {protocol: llm, dialect: openai, url: "echo:", models: [{name: gpt-4o, price: {input: 1, output: 1, per: 1M}}]}
"""


@pytest.fixture
def bind(tmp_path):
    def write(text):
        file = tmp_path / "bind.yaml"
        file.write_text(text)
        return str(file)

    return write


@pytest.mark.parametrize(
    ("expression", "code", "first"),
    [
        ("call.tokens > 4000 && principal.team == 'build'", 0, "true"),
        ("call.tokens > 9000", 1, "false"),
        ("call.params.temperature < 1 && now < timestamp('2026-03-02T10:00:01Z')", 0, "true"),
        ("call.params.top_p > 1", 1, "error: no such field or key: `top_p`"),
        ("call.model", 0, "'gpt-4o'"),
        ("principal.groups.map(g, g.upperAscii())", 0, "['ENG']"),
        ("has(call.tool)", 1, "false"),
    ],
)
def test_a_condition_is_tried_on_the_caller_and_the_call_of_a_test(bind, capsys, expression, code, first):
    assert main(["eval", expression, "--bind", bind(FIXTURE)]) == code
    assert capsys.readouterr().out.splitlines()[0] == first


def test_a_proposed_tool_call_and_a_reply_can_be_tried(bind, capsys):
    tool = bind("call: {operation: tool_call, target: fs/read_file, model: gpt-4o, args: {path: /etc/passwd}}")
    assert main(["eval", "has(call.args) && call.args.path.startsWith('/etc') && has(call.tool) && call.tool.server == 'fs'", "--bind", tool]) == 0
    reply = bind("call: {operation: chat, target: gpt-4o, reply: {finish: length, tokens: 7}}")
    assert main(["eval", "reply.finish == 'length' && reply.tokens == 7", "--phase", "response", "--bind", reply]) == 0
    capsys.readouterr()
    assert main(["eval", "reply.tokens == 7", "--bind", reply]) == 1
    assert "a document of phase `response` can read it" in capsys.readouterr().out


def test_plain_names_have_the_types_of_their_values(bind, capsys):
    names = bind('{"n": 3, "s": "a,b", "m": {"k": [1, 2.5]}, "none": null}')
    assert main(["eval", "s.split(',').size() + n", "--bind", names]) == 0
    assert capsys.readouterr().out.splitlines() == ["5", "type int", "cost 4 (in comparisons)", "reads n, s"]
    assert main(["eval", "n == s", "--bind", names]) == 1
    assert "`==` compares `int` with `string`, which are never equal" in capsys.readouterr().out
    assert main(["eval", "m.k[1] > n || none == null", "--bind", names]) == 0


def test_without_values_an_expression_is_checked(capsys):
    assert main(["eval", "call.tokens > 4000"]) == 0
    assert capsys.readouterr().out.splitlines() == ["type bool", "cost 2 (in comparisons)", "reads call.tokens"]
    assert main(["eval", "1 + 2"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "3"


def test_what_does_not_compile_is_told_with_its_place(capsys):
    assert main(["eval", "call.stream &&\n  call.tokns > 1"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "expression:2:3: error: `call` has no field `tokns` [condition]",
        "      call.tokns > 1",
        "      ^^^^^^^^^^",
        "    hint: did you mean `call.tokens`?",
    ]


def test_claims_are_those_of_the_configuration(tmp_path, bind, capsys):
    assert main(["eval", "principal.claims.mfa"]) == 1
    directory = tmp_path / "conf"
    directory.mkdir()
    (directory / "identity.yaml").write_text(IDENTITY)
    capsys.readouterr()
    assert main(["eval", "principal.claims.mfa", "-c", str(directory), "--bind", bind(FIXTURE)]) == 0, capsys.readouterr()
    assert main(["eval", "true", "-c", str(tmp_path / "nowhere")]) == 3


def test_a_trace_tells_each_part(bind, capsys):
    assert main(["eval", "call.stream || call.tokens > 4000", "--trace", "--bind", bind(FIXTURE)]) == 0
    assert capsys.readouterr().out.splitlines()[5:] == [
        "call.stream || call.tokens > 4000   true",
        "  call.stream                       false",
        "  call.tokens > 4000                true",
        "    call.tokens                     5000",
    ]


def test_json_has_the_same(bind, capsys):
    assert main(["eval", "call.tokens > 4000", "--trace", "--format", "json", "--bind", bind(FIXTURE)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["value"] is True
    assert told["trace"]["parts"] == [{"text": "call.tokens", "start": 0, "end": 11, "result": 5000}]
    assert main(["eval", "call.tokens >", "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["diagnostics"][0]["column"] == 14
    assert main(["eval", "[0.0 / 0.0, dyn(duration('1s'))]", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["value"] == ["NaN", "duration('1s')"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("principal: {idd: 4}", "unknown field `idd` of `principal`"),
        ("[1, 2]", "one mapping is expected"),
        ("a: 1\na: 2", "`a` is given twice"),
        ("call: {dialect: nope, body: {}}", "`nope` is not one of"),
        ("now: soon\nprincipal: {id: a}", "now: soon"),
    ],
)
def test_bindings_that_are_none_are_told_with_their_place(bind, capsys, text, told):
    assert main(["eval", "true", "--bind", bind(text)]) == 2
    assert told in capsys.readouterr().err


def test_a_file_that_is_not_there_is_a_mistake_of_usage(capsys):
    assert main(["eval", "true", "--bind", "/nowhere/bind.yaml"]) == 2


def test_the_expression_may_come_from_standard_input(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("1 < 2"))
    assert main(["eval", "-"]) == 0
