"""The checker: everything wrong is told before anything runs, at its place and with help."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar import expr
from sidecar.expr import BOOL, DOUBLE, DYN, INT, STRING, ExprError, list_of, map_of
from sidecar.expr.environment import request_declarations, response_declarations

REQUEST = request_declarations({"tier": STRING, "level": INT}, {"cheap": BOOL})
RESPONSE = response_declarations({}, {})


def problems(source, declarations=REQUEST, result=BOOL):
    with pytest.raises(ExprError) as caught:
        expr.compile(source, declarations, result=result)
    return caught.value.problems


@pytest.mark.parametrize(
    ("source", "message", "hint"),
    [
        ("principle.team == 'a'", "undeclared name `principle`", "did you mean `principal`?"),
        ("principal.taem == 'a'", "`principal` has no field `taem`", "did you mean `principal.team`?"),
        ("call.tokens == 'x'", "`==` compares `int` with `string`, which are never equal", ""),
        ("call.tokens < '5'", "`<` is not defined for `int` and `string`", ""),
        ("call.tokens + 1.5 > 2.0", "`+` is not defined for `int` and `double`", "convert one side: `double(…)`"),
        ("call.target.startWith('x')", "unknown function `startWith`", "did you mean `startsWith`?"),
        ("call.target.startsWith()", "`startsWith` takes 1 argument, not 0", "it is `string.startsWith(string)`"),
        ("call.target.startsWith(5)", "`startsWith` is not defined for `string` with `int`", "it is `string.startsWith(string)`"),
        ("math.greatst(1, 2) == 2", "unknown function `math.greatst`", "did you mean `math.greatest`?"),
        ("startsWith(call.target, 'x')", "`startsWith` is not called this way", "write `value.startsWith(…)`"),
        ("call.tokens", "the result is `int`, it must be `bool`", "compare it with something"),
        ("call.params.x", "the type of the result is not known, it must be `bool`", "compare it with something, as in `… == true`"),
        ("call.tokens && true", "an operand of `&&` must be `bool`, not `int`", "only `true` and `false` are true or false: compare with something"),
        ("call.target ? true : false", "the test of `? :` must be `bool`, not `string`", "only `true` and `false` are true or false: compare with something"),
        ("'a' in principal.team", "`in` is not defined for `string` and `string`", ""),
        ("1 in principal.groups", "`int` is never in `list(string)`", ""),
        ("now == '2026-01-01T00:00:00Z'", "`==` compares `timestamp` with `string`, which are never equal", "write `timestamp('…')`"),
        ("call.target.matches(principal.team)", "the last argument of `matches` must be a literal", "it is compiled once, when the document loads"),
        ("call.target.matches('(')", "bad pattern: missing ): (", ""),
        ("call.target.matches('(?=a)b')", "bad pattern: invalid perl operator: (?=", ""),
        ("now.getHours('Mars/X') == 1", "unknown time zone `Mars/X`", ""),
        ("net.inRange(source.ip, '10.0.0.0/99')", "`10.0.0.0/99` is no network in CIDR notation", ""),
        ("reply.status == 200", "`reply` belongs to phase `response`", "a document of phase `response` can read it"),
        ("call.target.name == 'x'", "`call.target` is a `string` and has no field `name`", ""),
        ("call['target'] == 'x'", "`call` has fields, not keys", "write `.field`"),
        ("math == 1", "`math` is a namespace of functions, not a value", ""),
        ("principal.groups.exists(g, g == 1)", "`==` compares `string` with `int`, which are never equal", ""),
        ("call.tokens.exists(g, true)", "`exists` goes over a list or a map, not a `int`", ""),
        ("call.?agent == 'a'", "`==` compares `optional(string)` with `string`, which are never equal", "it may be empty: give a default with `.orValue(…)`"),
        ("call.tokens in [1, '2']", "this list holds `int`, and here `string`", "write `dyn(…)` around it if it is meant"),
        ("call.params.x in ['a', 'b', 3]", "this list holds `string`, and here `int`", "write `dyn(…)` around it if it is meant"),
        ("call.params.x in [[1], ['a']]", "this list holds `list(int)`, and here `list(string)`", "write `dyn(…)` around it if it is meant"),
        ("call.params.x in [true, 'true']", "this list holds `bool`, and here `string`", "write `dyn(…)` around it if it is meant"),
        ("'a' in [1, 2]", "`string` is never in `list(int)`", ""),
        ("principal.claims.level in ['1', '2']", "`int` is never in `list(string)`", ""),
        ("now > timestamp('yesterday')", "`yesterday` is no RFC 3339 time", ""),
        ("now - duration('1 day') > now", "`1 day` is no duration", ""),
        ("call.target == null", "`==` compares `string` with `null`, which are never equal", "test for presence with `has(…)`"),
    ],
)
def test_a_mistake_is_told_with_help(source, message, hint):
    (problem,) = problems(source)
    assert (problem.message, problem.hint) == (message, hint)


def test_all_mistakes_are_told_at_once_in_reading_order():
    found = problems("principal.taem == 'a' &&\n  call.tokens == 'x' &&\n  foo")
    assert [(p.line, p.column, p.end_column) for p in found] == [(1, 1, 15), (2, 3, 21), (3, 3, 6)]


def test_one_mistake_is_told_once():
    assert len(problems("nobody.a.b + 1 == nobody.c")) == 2  # once for each place it is written at


@pytest.mark.parametrize(
    "source",
    [
        "call.params.x in [1, 2.5, 3u]",
        "call.params.x in [1, null]",
        "call.params.x in [1, dyn('2')]",
        "call.params.x in [call.params.y, 'a']",
        "'%s of %d'.format([principal.team, call.tokens]) == 'a of 5'",
        "call.params.x in [[], ['a']]",
        "call.params == {'a': 1, 'b': 'text'}",
    ],
)
def test_a_list_whose_types_are_meant_is_accepted(source):
    assert expr.compile(source, REQUEST).type == BOOL


@pytest.mark.parametrize(
    "source",
    [
        "has(call.tool) && call.tool.name == 'x'",
        "!has(call.tool) || call.tool.name == 'x'",
        "has(call.tool) ? call.tool.name == 'x' : false",
        "!has(call.tool) ? false : call.tool.name == 'x'",
        "!(has(call.tool) && call.tokens > 1) || call.tool.name == 'x'",
        "(has(call.tool) && has(call.agent)) && call.agent == 'a' && call.tool.name == 'x'",
        "!(!has(call.tool) || call.tokens > 1) && call.tool.name == 'x'",
        "has(call.tool) && principal.groups.exists(g, g == call.tool.name)",
        "call.?tool.?name.orValue('') == 'x'",
        "call.?tool.name.orValue('') == 'x'",
        "principal.claims.?level.orValue(0) > 3",
        "has(principal.claims.tier) && principal.claims.tier == 'gold'",
        "principal.claims.tier == 'gold'",
        "has(call.args) && has(call.args.path) && path.within(call.args.path, '/srv')",
        "call.params.temperature <= 1",
        "variables.cheap",
    ],
)
def test_a_guarded_optional_field_is_accepted(source):
    assert expr.compile(source, REQUEST).type == BOOL


@pytest.mark.parametrize(
    "source",
    [
        "call.tool.name == 'x'",
        "has(call.tool) || call.tool.name == 'x'",
        "!has(call.tool) && call.tool.name == 'x'",
        "call.tool.name == 'x' && has(call.tool)",
        "has(call.tool) ? true : call.tool.name == 'x'",
        "(has(call.tool) || call.tokens > 1) && call.tool.name == 'x'",
        "has(call.agent) && call.tool.name == 'x'",
        "has(call.tool.name)",
        "principal.groups.exists(call, has(call.tool)) && call.tool.name == 'x'",
    ],
)
def test_an_unguarded_optional_field_is_an_error(source):
    assert any("may be absent" in p.message and "guard it" in p.hint for p in problems(source)) or "has no field" in str(problems(source))


def test_a_field_of_the_response_is_read_in_its_phase_only():
    assert expr.compile("reply.status >= 400 && 'shell' in reply.tool_calls", RESPONSE).reads == {"reply.status", "reply.tool_calls"}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("1 + 2", INT),
        ("[1, 2].map(x, double(x))", list_of(DOUBLE)),
        ("[]", list_of(DYN)),
        ("[[], [1]]", list_of(list_of(INT))),
        ("{'a': 1}", map_of(STRING, INT)),
        ("call.params.x", DYN),
        ("principal.groups[0]", STRING),
        ("call.tokens > 5 ? 'a' : 'b'", STRING),
        ("call.?agent.orValue('none')", STRING),
        ("cel.bind(x, 1, x + x)", INT),
    ],
)
def test_the_type_of_an_expression_is_known(source, found):
    assert expr.compile(source, REQUEST, result=DYN).type == found


@pytest.mark.parametrize(
    ("source", "reads"),
    [
        ("call.params.temperature < 1 && principal.team == 'a'", {"call.params.temperature", "principal.team"}),
        ("has(call.params.top_p)", {"call.params.top_p"}),
        ("call.params['top_p'] == 1", {"call.params.top_p"}),
        ("call.params[principal.team] == 1", {"call.params", "principal.team"}),
        ("principal.groups.exists(g, g.startsWith(call.target))", {"principal.groups", "call.target"}),
        ("call.?tool.?name.hasValue()", {"call.tool.name"}),
        ("size(call.upstreams) > 1", {"call.upstreams"}),
        ("call == call", {"call"}),
        ("1 == 1", set()),
    ],
)
def test_what_is_read_is_known(source, reads):
    assert expr.compile(source, REQUEST).reads == reads


def test_cost_grows_with_what_is_done():
    def cost(source):
        return expr.compile(source, REQUEST).cost

    assert cost("true") == 0
    assert 0 < cost("call.tokens < 5") < cost("call.tokens < 5 && call.stream") < cost("principal.groups.exists(g, g == 'a')")
    assert cost("principal.groups.all(a, " * 8 + "true" + ")" * 8) == 10**9


PIECES = [
    "call", "principal", ".tool", ".?tool", ".name", ".params", ".x", ".groups", "[0]", "['a']", " && ", " || ", "!", "has(", "(", ")", " == ", " < ", " + ", " in ",
    "1", "1.5", "'a'", "[1]", "{'a': 1}", "null", ".exists(g, ", ".map(x, ", ".size()", "size(", ".startsWith(", ".matches('a')", " ? ", " : ", "now", "cel.bind(v, ", ", ", "reply", "math.abs(",
]  # fmt: skip


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_garbage_raises_only_the_one_error_and_the_rest_compiles(source):
    try:
        program = expr.compile(source, REQUEST, result=DYN)
    except ExprError as error:
        found = error.problems
    else:
        found = ()
        assert program.source == source
    assert all(p.message and not p.message.endswith(".") and 1 <= p.column < p.end_column for p in found)
