"""Numbers: JSON's 1 and 1.0 behave alike wherever CEL lets an int and a double meet; where it does not, both are errors or one is."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar import expr
from sidecar.expr import DOUBLE, DYN, INT, UINT, Declarations, Fault, Uint
from sidecar.expr.environment import request_declarations

REQUEST = request_declarations({}, {})
X = Declarations({"x": DYN, "y": DYN, "i": INT, "j": INT, "u": UINT, "d": DOUBLE})


def run(source, /, **bindings):
    return expr.compile(source, X, result=DYN)(bindings)


def of(number, source):
    """The value where a client sent this number, alone, in a list and in a map."""
    program = expr.compile(source, REQUEST, result=DYN)
    return program({"call": {"params": {"n": number, "l": [number], "m": {"a": number}}}})


ALIKE = [
    "n == 1", "n == 1.0", "n == 1u", "1 == n", "n != 2", "n != 1", "n <= 1", "n < 1", "n < 1.5", "n >= 1u", "0.5 < n", "n == '1'", "n == true", "n == null",
    "n in [1]", "n in [1.0]", "n in [2, 1u]", "n in ['1']", "n in {1: 'a'}", "n in {1u: 'a'}", "n in {'1': 'a'}", "n in {true: 'a'}",
    "int(n)", "uint(n)", "double(n)", "string(n)", "'%s %d %.1f'.format([n, n, n])",
    "{1: 'a'}[n]", "{1u: 'a'}[n]", "[10, 20][n]", "[10, 20][?n].orValue(0)", "{true: 'a'}[?n].hasValue()",
    "l == [1]", "l == [1.0]", "l.exists(v, v == 1)", "l.filter(v, v in [1u]).size()", "sets.contains([1], l)", "[1, n].distinct()", "m == {'a': 1}", "m.?a.orValue(0) == 1",
    "math.greatest(n, 0) == 1", "math.abs(n) == 1", "-n == -1", "[n].sort() == [1]", "optional.ofNonZeroValue(n).hasValue()", "{'k': n}.k == 1",
]  # fmt: skip


def _written_out(source):
    for name in ("n", "l", "m"):
        source = re.sub(rf"(?<![\w.'%]){name}(?![\w('])", f"call.params.{name}", source)
    return source


@pytest.mark.parametrize("source", ALIKE)
def test_1_and_1_0_give_the_same(source):
    whole, real = of(1, _written_out(source)), of(1.0, _written_out(source))
    assert whole == real
    assert type(whole) is type(real)
    assert not isinstance(whole, Fault)


@pytest.mark.parametrize(
    ("source", "whole", "real"),
    [
        # arithmetic is for numbers of one kind: the author says which, `int(n) + 1`
        ("n + 1", 2, Fault("`+` is not defined for `double`, `int`")),
        ("n + 1.0", Fault("`+` is not defined for `int`, `double`"), 2.0),
        ("n % 2", 1, Fault("`%` is not defined for `double`, `int`")),
        ("int(n) + 1", 2, 2),
        ("double(n) + 1.0", 2.0, 2.0),
        ("lists.range(n)", [0], Fault("`lists.range` is not defined for `double`")),
        ("{n: 'a'}", {1: "a"}, Fault("a `double` cannot be a map key")),
        ("type(n)", "int", "double"),
    ],
)
def test_where_cel_tells_an_int_from_a_double_nothing_is_guessed(source, whole, real):
    assert of(1, _written_out(source)) == whole
    assert of(1.0, _written_out(source)) == real


@pytest.mark.parametrize(
    "source",
    ["'9000' > n", "n > '5'", "n < true", "n + '1'", "n && true", "n ? 1 : 2", "!n", "[n, '1'].sort()", "n.contains('1')", "n.size()", "l + '1'", "l < 1"],
)  # fmt: skip
@pytest.mark.parametrize("number", [1, 1.0])
def test_what_is_sent_is_never_turned_into_another_type(source, number):
    assert isinstance(of(number, _written_out(source)), Fault)


def test_text_that_looks_like_a_number_is_text():
    for source in ("n == 1", "n == 1.0", "n in [1]", "n in {1: 'a'}"):
        assert of("1", _written_out(source)) is False
    for source in ("n > 5", "n <= 1.5", "n + 1", "[10][n]", "{1: 2}[n]"):
        assert isinstance(of("9000", _written_out(source)), Fault)


# ---------------------------------------------------------------- edges


@pytest.mark.parametrize("left", ["x", "i"])
@pytest.mark.parametrize("right", ["y", "d"])
def test_an_int_beside_a_double_is_rounded_to_one_whatever_the_types_say(left, right):
    """As in the specification's tests: 2**63 - 1 is not below 2.0**63. Dynamic and static ways must not differ."""
    bindings = {"x": 2**63 - 1, "i": 2**63 - 1, "y": 2.0**63, "d": 2.0**63}
    values = {sign: run(f"{left} {sign} {right}", **bindings) for sign in ("<", "<=", "==", "!=", ">=", ">")}
    assert values == {"<": False, "<=": True, "==": True, "!=": False, ">=": True, ">": False}
    assert run(f"{left} in [{right}]", **bindings) is True


@pytest.mark.parametrize("constant", ["9007199254740992.0", "9007199254740994.0", "9223372036854775808.0", "double(9007199254740992)"])
def test_a_constant_double_rounds_the_int_too(constant):
    for number in (2**53 + 1, 2**63 - 1):
        for sign in ("<", "<=", "==", "!=", ">=", ">"):
            assert run(f"i {sign} {constant}", i=number) is run(f"x {sign} y", x=number, y=run(constant)), (number, sign)


WHOLE = st.integers(-(2**63), 2**63 - 1) | st.integers(2**53 - 3, 2**53 + 3) | st.integers(-3, 3)
REAL = st.floats(allow_nan=True) | WHOLE.map(float)


@given(WHOLE, REAL)
def test_typed_and_dynamic_comparisons_agree(whole, real):
    for sign in ("<", "<=", "==", "!=", ">=", ">"):
        typed = run(f"i {sign} d", i=whole, d=real)
        assert run(f"x {sign} y", x=whole, y=real) is typed
        assert run(f"dyn(i) {sign} d", i=whole, d=real) is typed
        assert run(f"[1].exists(e, i {sign} d)", i=whole, d=real) is typed
        if real == real and abs(real) < 1e15:  # noqa: PLR0124 not NaN
            assert run(f"i {sign} {real!r}", i=whole) is typed


@given(WHOLE, st.integers(0, 2**64 - 1))
def test_ints_and_uints_compare_by_value(whole, unsigned):
    for sign, wanted in (("<", whole < unsigned), ("==", whole == unsigned), (">=", whole >= unsigned)):
        assert run(f"i {sign} u", i=whole, u=Uint(unsigned)) is wanted
        assert run(f"x {sign} y", x=whole, y=Uint(unsigned)) is wanted


@given(WHOLE, WHOLE)
def test_arithmetic_is_exact_or_an_error(a, b):
    for sign, wanted in (("+", a + b), ("-", a - b), ("*", a * b)):
        got = run(f"i {sign} j", i=a, j=b)
        assert got == wanted if -(2**63) <= wanted < 2**63 else got == Fault("integer overflow")
    if b:
        assert run("j == 0 || (i / j) * j + i % j == i || i / j == -i", i=a, j=b) is True


def test_the_least_int_has_no_opposite():
    assert run("-i", i=-(2**63)) == Fault("integer overflow")
    assert run("i / j", i=-(2**63), j=-1) == Fault("integer overflow")
    assert run("-9223372036854775808") == -(2**63)
