"""Programs: values, faults and what is not known at the border; nothing is raised and nothing leaks."""

import inspect
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar import expr
from sidecar.expr import BOOL, DOUBLE, DYN, INT, STRING, TIMESTAMP, UNKNOWN, VARYING, Declarations, Fault, Field, Record, Timestamp, closures, list_of, map_of
from sidecar.expr.program import checked_tree

X = Declarations({"x": DYN, "y": DYN})
TYPED = Declarations(
    {
        "n": INT,
        "d": DOUBLE,
        "s": STRING,
        "b": BOOL,
        "words": list_of(STRING),
        "m": map_of(STRING, DYN),
        "now": TIMESTAMP,
        "r": Record("r", {"a": Field(STRING), "o": Field(STRING, optional=True)}),
    }
)


def run(source, declarations=X, /, **bindings):
    return expr.compile(source, declarations, result=DYN)(bindings)


@pytest.mark.parametrize(
    ("source", "bindings", "wanted"),
    [
        ("x == 1.0", {"x": 1}, True),
        ("x < 2.5", {"x": 2}, True),
        ("x == 1", {"x": True}, False),
        ("x == 'a'", {"x": 5}, False),
        ("x in [1, 2]", {"x": 2.0}, True),
        ("x in ['a']", {"x": ["a"]}, False),
        ("true in x", {"x": [1]}, False),
        ("x[true]", {"x": {1: 2}}, Fault("no such key")),
        ("size(x)", {"x": "é😀"}, 2),
        ("x.y == null", {"x": {"y": None}}, True),
        ("has(x.y)", {"x": {"y": None}}, True),
        ("has(x.y)", {"x": {}}, False),
        ("has(x.y.z)", {"x": {}}, Fault("no such field or key: `y`")),
        ("x.?y.?z.orValue(3)", {"x": {}}, 3),
        ("x[?0].orValue('none')", {"x": []}, "none"),
        ("x.y", {"x": {}}, Fault("no such field or key: `y`")),
        ("x.y", {"x": "text"}, Fault("a `string` has no field `y`")),
        ("x.y", {}, Fault("`x` is not bound")),
        ("x[-1]", {"x": [1]}, Fault("the index is out of range")),
        ("x + 1", {"x": 2**63 - 1}, Fault("integer overflow")),
        ("x / y", {"x": -7, "y": 2}, -3),
        ("x % y", {"x": -7, "y": 2}, -1),
        ("x / y", {"x": 1, "y": 0}, Fault("division by zero")),
        ("x % y", {"x": -(2**63), "y": -1}, Fault("integer overflow")),
        ("1.0 / math.ceil(x)", {"x": -0.5}, float("-inf")),
        ("math.round(x)", {"x": 0.49999999999999994}, 0.0),
        ("math.round(x)", {"x": -2.5}, -3.0),
        ("math.round(x)", {"x": 4503599627370497.0}, 4503599627370497.0),
        ("x.?a.orValue(x.b)", {"x": {"a": 1}}, 1),
        ("x.?a.orValue(x.b)", {"x": {}}, Fault("no such field or key: `b`")),
        ("x.?a.or(x.b).orValue(2)", {"x": {"a": 1}}, 1),
        ("x.or(y)", {"x": 1, "y": 2}, Fault("`or` is not defined for `int`")),
        ("x + y", {"x": 1, "y": "a"}, Fault("`+` is not defined for `int`, `string`")),
        ("x && true", {"x": 1}, Fault("a `int` stands where `bool` is needed")),
        ("x ? 1 : 2", {"x": "true"}, Fault("a `string` stands where `bool` is needed")),
        ("!x", {"x": 0}, Fault("`!` is not defined for `int`")),
        ("x.exists(e, e == 'b')", {"x": [1, "b"]}, True),
        ("x.exists(k, k == 'b')", {"x": {"b": 1}}, True),
        ("x.exists(k, v, v == 1)", {"x": {"b": 1}}, True),
        ("x.map(e, e * 2).filter(e, e > 2)", {"x": [1, 2]}, [4]),
        ("x.exists_one(e, e > 1)", {"x": [1, 2, 3]}, False),
        ("x.all(e, e > 0)", {"x": "abc"}, Fault("a macro goes over a list or a map, not a `string`")),
        ("x.lowerAscii().split(',').join('-')", {"x": "A,B"}, "a-b"),
        ("cel.bind(a, x + 1, a * a)", {"x": 2}, 9),
        ("optional.of(x).optMap(v, v + 1).orValue(0)", {"x": 1}, 2),
        ("type(x) == int", {"x": 1}, True),
        ("type(x) == int", {"x": True}, False),
    ],
)
def test_values_are_those_of_the_specification(source, bindings, wanted):
    got = run(source, **bindings)
    assert got == wanted
    assert type(got) is type(wanted)


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("x.y || true", True),
        ("true || x.y", True),
        ("x.y && false", False),
        ("false && x.y", False),
        ("x.y || false", Fault),
        ("x.y && true", Fault),
        ("[1, 2].exists(e, e == 2 || x.y)", True),
        ("[2, 1].all(e, e == 2 || x.y)", Fault),
        ("[1, 2].all(e, e == 2 && x.y)", False),
        ("x.y && x.z && false", False),
    ],
)
def test_logic_absorbs_errors_from_both_sides(source, wanted):
    got = run(source, x={})
    assert got is wanted if isinstance(wanted, bool) else isinstance(got, Fault)


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("x == 1", UNKNOWN),
        ("x.a.b == 1", UNKNOWN),
        ("x.a == 1 && false", False),
        ("false && x.a == 1", False),
        ("x.a == 1 || true", True),
        ("x.a == 1 && true", UNKNOWN),
        ("x.a == 1 && 1 / y == 1", UNKNOWN),
        ("1 / y == 1 && x.a == 1", UNKNOWN),
        ("1 / y == 1 || x.a == 1 || 1 / y == 2", UNKNOWN),
        ("has(x.a)", UNKNOWN),
        ("size(x) == 1", UNKNOWN),
        ("x.exists(e, e == 1)", UNKNOWN),
        ("[1, x]", UNKNOWN),
        ("x.?a.orValue(1) == 1", UNKNOWN),
        ("string(x) == 'a'", UNKNOWN),
        ("x in [1]", UNKNOWN),
        ("x in ['a']", UNKNOWN),
        ("x ? 1 : 2", UNKNOWN),
    ],
)
def test_what_is_not_known_goes_through_unless_it_does_not_matter(source, wanted):
    assert run(source, x=UNKNOWN, y=0) is wanted


@pytest.mark.parametrize(
    ("source", "binding", "wanted"),
    [
        ("x.a", {"a": UNKNOWN}, UNKNOWN),
        ("has(x.a)", {"a": UNKNOWN}, UNKNOWN),
        ("x.l.exists(e, e == 1)", {"l": [UNKNOWN, 1]}, True),
        ("x.l.exists(e, e == 2)", {"l": [UNKNOWN, 1]}, UNKNOWN),
        ("1 in x.l", {"l": [UNKNOWN, 1]}, True),
        ("2 in x.l", {"l": [UNKNOWN, 1]}, UNKNOWN),
        ("x.l == [1]", {"l": [UNKNOWN]}, UNKNOWN),
        ("x", {"l": [UNKNOWN]}, UNKNOWN),
        ("'a' in x", {"a": UNKNOWN}, UNKNOWN),
        ("'b' in x", {"a": UNKNOWN}, False),
    ],
)
def test_unknown_is_found_at_any_depth(source, binding, wanted):
    assert run(source, x=binding) is wanted


def test_typed_fields_that_are_unknown_are_unknown():
    assert run("s.startsWith('a')", TYPED, s=UNKNOWN) is UNKNOWN
    assert run("r.a in ['a', 'b']", TYPED, r={"a": UNKNOWN}) is UNKNOWN
    assert run("'a' in words", TYPED, words=["b", UNKNOWN]) is UNKNOWN
    assert run("n < 5", TYPED, n=UNKNOWN) is UNKNOWN
    assert run("now < timestamp('2026-01-01T00:00:00Z')", TYPED, now=UNKNOWN) is UNKNOWN


def test_an_optional_field_that_is_none_is_absent():
    assert run("has(r.o)", TYPED, r={"a": "x", "o": None}) is False
    assert run("r.?o.orValue('d')", TYPED, r={"a": "x", "o": None}) == "d"
    assert run("has(r.o) && r.o == 'v'", TYPED, r={"a": "x", "o": "v"}) is True


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 5, 1, 22, 30, tzinfo=UTC),
        datetime(2026, 5, 1, 22, 30, tzinfo=UTC).replace(tzinfo=None),
        1777674600,
        1777674600.0,
        Timestamp(1777674600 * 10**9),
    ],
)
def test_a_timestamp_may_be_bound_as_datetime_or_seconds(moment):
    source = "now.getHours() == 22 && now.getHours('Europe/Berlin') == 0 && now > timestamp('2026-05-01T22:29:59Z') && now.getDayOfWeek() == 5"
    assert run(source, TYPED, now=moment) is True


def test_a_binding_that_is_not_of_its_declared_type_is_a_fault_and_never_true():
    for source, bindings in [
        ("n < 5", {"n": "4"}),
        ("s.startsWith('a')", {"s": 5}),
        ("b", {"b": "yes"}),
        ("b && true", {"b": 1}),
        ("b || b", {"b": 1}),
        ("bool(b) && true", {"b": 1}),
        ("dyn(m).transformMapEntry(k, v, dyn(v)) && true", {"m": {"a": {}}}),
        ("cel.bind(t, b, t) && true", {"b": "no"}),
        ("(b ? b : b) && true", {"b": "no"}),
        ("words.exists(w, w == 'a')", {"words": 7}),
        ("'a' in words", {"words": "abc"}),
        ("s.contains('a')", {"s": ["a"]}),
        ("s.matches('a')", {"s": ["a"]}),
        ("has(m.a)", {"m": "abc"}),
        ("now > timestamp('2020-01-01T00:00:00Z')", {"now": "2026"}),
    ]:
        assert isinstance(run(source, TYPED, **bindings), Fault), source


def test_a_fault_names_types_and_names_but_no_values():
    secret = "sk-secret-4711"
    for source in [
        "x + 1",
        "x.y",
        "x[0]",
        "int(x)",
        "timestamp(x) == x",
        "duration(x) == x",
        "{'a': 1}[x]",
        "x.map(e, e)",
        "x && true",
        "path.clean(x + '%')",
        "semver.major(x)",
        "bool(x)",
        "dyn([x].sort()) < 1",
    ]:
        fault = run(source, x=secret)
        assert isinstance(fault, Fault), source
        assert "4711" not in fault.message


def test_neither_a_fault_nor_unknown_can_be_taken_for_a_truth():
    with pytest.raises(TypeError):
        bool(Fault("no"))
    with pytest.raises(expr.values.EvalError):
        bool(UNKNOWN)


def test_iterations_have_a_budget():
    nested = "x.all(a, x.all(b, x.all(c, true)))"
    assert run(nested, x=list(range(15))) is True
    assert run(nested, x=list(range(25))) == Fault("more than 10000 iterations")
    assert run("x.exists(a, a == 1)", x=[0] * 10_001) == Fault("more than 10000 iterations")


def test_the_budget_is_fresh_for_every_evaluation():
    program = expr.compile("x.all(e, e == 0)", X)
    assert [program({"x": [0] * 9_000}) for _ in range(3)] == [True, True, True]


def test_doubling_ends_in_a_fault():
    source = "".join(f"cel.bind(v{i + 1}, v{i} + v{i}, " for i in range(30)) + "size(v30)" + ")" * 30
    assert isinstance(run(f"cel.bind(v0, x, {source})", x="ab"), Fault)


@pytest.mark.parametrize("end", ["v24 == v24", "'%s'.format([v24])", "v24", "v24.flatten(30)", "v24 in [v24]"])
def test_lists_that_hold_each_other_twice_end_in_a_fault(end):
    source = "".join(f"cel.bind(v{i + 1}, [v{i}, v{i}], " for i in range(24)) + end + ")" * 24
    assert isinstance(run(f"cel.bind(v0, x, {source})", x=1), Fault)


def test_a_deep_stack_of_the_caller_is_a_clean_error_too():
    def deep(levels):
        return expr.compile("(" * 32 + "x" + ")" * 32 + "+ 1" * 60, X, result=DYN) if levels == 0 else deep(levels - 1)

    with pytest.raises(expr.ExprError, match="nested"):
        deep(sys.getrecursionlimit() - len(inspect.stack(0)) - 120)


def test_bindings_are_not_written_to():
    bindings = {"x": [1, 2]}
    assert expr.compile("x.exists(e, e == 2)", X)(bindings) is True
    assert bindings == {"x": [1, 2]}


@pytest.mark.parametrize(
    ("source", "constant"),
    [
        ("1 + 2 == 3", True),
        ("false && x", False),
        ("x == 1 || true", True),
        ("[1, 2].exists(e, e == 2)", True),
        ("x == 1", VARYING),
        ("1 / 0 == 1", Fault("division by zero")),
    ],
)
def test_what_does_not_vary_is_folded(source, constant):
    assert expr.compile(source, X).constant == constant


def test_a_mapping_that_computes_its_values_is_read_lazily():
    class Lazy(dict):
        def __missing__(self, key):
            return len(key)

    assert expr.compile("x.abc == 3 && x.exists(k, true) == false", X)({"x": Lazy()}) is True
    assert expr.compile("n == 1", TYPED)(Lazy()) is True


# ---------------------------------------------------------------- properties

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats() | st.text(max_size=3) | st.binary(max_size=3) | st.just(UNKNOWN),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)
OPERATORS = ["+", "-", "*", "/", "%", "<", "<=", "==", "!=", "in", "&&", "||"]
LEAVES = st.sampled_from(["x", "y", "x.a", "y[0]", "x[y]", "x.?a", "1", "2.5", "'a'", "b'a'", "null", "true", "[x]", "{'a': y}", "has(x.a)", "1u"])
CALLS = ["size({})", "string({})", "int({})", "double({})", "type({})", "{}.exists(e, e == y)", "{}.map(e, e)", "!{}", "-({})", "{}.startsWith('a')", "{}.orValue(1)",
         "timestamp({})", "duration({})", "math.greatest({}, 1)", "{}.split('a')", "[{}].flatten()", "dyn({}).sort()", "'%s'.format([{}])", "{}.matches('a+')", "net.inRange({}, '10.0.0.0/8')", "url.private({})"]  # fmt: skip
SOURCES = st.recursive(
    LEAVES,
    lambda inner: (
        st.tuples(inner, st.sampled_from(OPERATORS), inner).map(lambda t: f"(dyn({t[0]}) {t[1]} dyn({t[2]}))")
        | st.tuples(st.sampled_from(CALLS), inner).map(lambda t: t[0].format(f"dyn({t[1]})"))
        | st.tuples(inner, inner, inner).map(lambda t: f"(dyn({t[0]}) ? dyn({t[1]}) : dyn({t[2]}))")
    ),
    max_leaves=6,
)


def compiled(source):
    try:
        return expr.compile(source, X, result=DYN)
    except expr.ExprError:
        return None


@settings(max_examples=400)
@given(SOURCES, VALUES, VALUES)
def test_no_evaluation_raises_and_each_is_repeatable(source, x, y):
    program = compiled(source)
    if program is not None:
        first, second = program({"x": x, "y": y}), program({"x": x, "y": y})
        assert repr(first) == repr(second)


@settings(max_examples=200)
@given(SOURCES, SOURCES, VALUES, VALUES)
def test_and_and_or_commute_and_obey_de_morgan(a, b, x, y):
    def value(source):
        program = compiled(source)
        got = None if program is None else program({"x": x, "y": y})
        return "fault" if isinstance(got, Fault) else got

    both, either = value(f"dyn({a}) && dyn({b})"), value(f"dyn({a}) || dyn({b})")
    if both is not None:
        assert both is value(f"dyn({b}) && dyn({a})")
        assert either is value(f"dyn({b}) || dyn({a})")
        assert value(f"!(dyn({a}) && dyn({b}))") is value(f"!dyn({a}) || !dyn({b})")


@given(VALUES)
def test_a_constant_program_needs_no_bindings(x):
    program = expr.compile("[1, 2, 3].filter(e, e > 1).size() == 2", X)
    assert program.constant is True
    assert program({"x": x}) is True


def test_a_deep_expression_is_built_in_time_linear_in_its_depth():
    source = "x"
    for _ in range(15):
        source = f"x && (y || ({source}))"
    calls = 0
    make = closures.Builder.make

    class Counting(closures.Builder):
        def make(self, node):
            nonlocal calls
            calls += 1
            return make(self, node)

    root, checked = checked_tree(source, X, DYN)
    Counting(checked).build(root)
    assert calls < 100
