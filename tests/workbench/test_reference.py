"""Conditions of documents run by cel-python too: what agrees, what differs, what cannot be compared and why."""

from importlib.util import find_spec

import pytest

from sidecar.cli.main import main
from sidecar.config.load import LayerFiles
from sidecar.expr.parser import parse
from sidecar.workbench import reference
from sidecar.workbench.celpython import CelPython, Failed, NotComparable, unsupported
from sidecar.workbench.prepare import compiled

pytestmark = pytest.mark.skipif(find_spec("celpy") is None, reason="cel-python is not installed")

FRAME = """
apiVersion: sidecar.dev/v1
kind: Identity
metadata: {name: who}
spec: {methods: [{apiKey: {keys: []}}], claims: {level: {type: int}}}
---
apiVersion: sidecar.dev/v1
kind: Upstream
metadata: {name: up}
spec: {protocol: llm, dialect: openai, url: "echo:", models: [{name: gpt-4o, price: {input: 1, output: 1, per: 1M}}]}
---
apiVersion: sidecar.dev/v1
kind: Policy
metadata: {name: p}
spec:
  match: {protocol: llm}
  variables:
    big: call.tokens > 1000
  rules:
    - {name: open, effect: allow}
    - {name: RULE, effect: deny, when: "CONDITION"}
---
apiVersion: sidecar.dev/v1
kind: Test
metadata: {name: t}
spec:
  now: 2026-03-02T10:00:00Z
  principals: {dev: {id: "user:u1", team: build, claims: {level: 2}}}
  calls:
    one: {operation: chat, target: gpt-4o, tokens: 2000, params: {temperature: 1, flag: true}}
  expect:
    - {principal: [dev], call: ["*"], effect: allow}
    - {principal: ["*"], call: [one], effect: allow}
"""


def report(condition):
    text = FRAME.replace("CONDITION", condition).replace("RULE", "no")
    made = compiled((LayerFiles("conf", (("all.yaml", text.encode()),)),), {}, 0.0)
    assert made.snapshot is not None, made.diagnostics
    return reference.check(made.snapshot)


@pytest.mark.parametrize(
    "condition",
    [
        "call.tokens > 9000 || principal.team != 'build'",
        "principal.claims.level > 2",
        "now < timestamp('2026-03-02T09:00:00Z') || now.getHours() == 9",
        "has(call.params.top_p) && call.params.top_p > 0.5",
        "call.params.top_p > 0.5",
        "'x' in principal.groups || call.upstreams.exists(u, u == 'other')",
    ],
)
def test_conditions_that_both_run_alike_agree(condition):
    told = report(condition)
    assert (told.agreed, told.disagreements, told.apart) == (1, [], {})


def test_a_variable_is_run_as_well_as_what_reads_it():
    told = report("variables.big && call.stream")
    assert told.agreed == 2
    assert told.expressions == {"call.tokens > 1000", "variables.big && call.stream"}


def test_a_difference_is_told_with_its_rule_and_place():
    told = report("call.params.flag == 1")
    assert [each[:2] for each in told.disagreements] == [("p/no", "conf/all.yaml:21")]
    assert told.disagreements[0][2:] == ("call.params.flag == 1", "t: dev / one", "false", "true")
    assert reference.lines(told) == [
        "DIFFERS p/no conf/all.yaml:21",
        "     call.params.flag == 1",
        "     t: dev / one: false here, true in cel-python",
        "reference: 1 expressions, 0 agreed, 1 differ, 0 cannot be compared",
    ]


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ("call.params.temperature > 1.5", "a known fault of cel-python: values of different types, numbers too, cannot be compared"),
        ("has(call.params.x.y)", "a known fault of cel-python: `has` swallows every error"),
        ("call.?params.?x.hasValue()", "cel-python cannot run the function `hasValue`"),
        ("path.within(call.target, '/srv')", "cel-python cannot run the function `path.within`"),
        ("call.target.lowerAscii() == 'x'", "cel-python cannot run the function `lowerAscii`"),
        ("cel.bind(n, call.tokens, n > 9000 && n < 9)", "cel-python cannot run the macro `cel.bind`"),
        ("duration(call.target) > duration('1s')", "cel-python cannot run `duration` of what is no short literal (it may take for ever)"),
    ],
)
def test_what_cannot_be_compared_is_told_with_the_reason(condition, reason):
    told = report(condition)
    assert (told.agreed, told.disagreements) == (0, [])
    assert told.apart == {("p/no", "conf/all.yaml:21", reason): 1}


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("a[?0]", "optional syntax"),
        ("[?a]", "optional syntax"),
        ("a.all(k, v, v)", "with two variables"),
        ("a.transformList(k, v, v)", "`transformList`"),
        ("a.existsOne(k, k)", "`existsOne`"),
        ("a.`b-c`", "backticks"),
        ("a.map(b, duration('11111111111111111111111111111111s'))", "`duration`"),
        ("a.exists(b, b.startsWith('x')) && 1 in [1] && duration('1h') > a", ""),
    ],
)
def test_what_it_does_not_have_is_known_before_it_runs(source, why):
    told = unsupported(source, parse(source))
    assert why in told
    assert bool(told) is bool(why)


def test_its_errors_hold_no_values():
    failed = CelPython().evaluate("a.b < secret.c", {"a": {"b": 1}, "secret": {"c": "hunter2"}})
    assert isinstance(failed, Failed)
    assert "hunter2" not in str(failed)
    assert "hunter2" not in str(CelPython().evaluate("nowhere", {"secret": "hunter2"}))


def test_a_value_it_has_nothing_like_is_not_comparable():
    with pytest.raises(NotComparable):
        CelPython().evaluate("a", {"a": object()})


@pytest.fixture
def directory(tmp_path):
    def write(condition):
        (tmp_path / "all.yaml").write_text(FRAME.replace("CONDITION", condition).replace("RULE", "no"))
        return str(tmp_path)

    return write


def test_the_command_fails_where_the_two_differ(directory, capsys):
    assert main(["test", "-c", directory("call.tokens > 9000"), "--reference", "--quiet"]) == 0
    assert "reference: 1 expressions, 1 agreed, 0 differ, 0 cannot be compared" in capsys.readouterr().out
    assert main(["test", "-c", directory("call.params.flag == 1"), "--reference", "--quiet"]) == 1
    assert main(["test", "-c", directory("call.params.flag == 1"), "--quiet"]) == 0


def test_the_command_says_what_is_not_installed(directory, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "celpy", None)
    assert main(["test", "-c", directory("call.tokens > 9000"), "--reference", "--quiet"]) == 2
    assert "the extra `[reference]`" in capsys.readouterr().err
