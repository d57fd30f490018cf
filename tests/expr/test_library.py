"""The functions of CEL and of cel-go's extension libraries (strings, math, lists, sets, encoders, optionals, two-variable macros).

What the conformance suite does not show: edges, and that each function is there at all.
"""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar import expr
from sidecar.expr import DYN, STRING, Declarations, ExprError, Fault, Uint, list_of
from sidecar.expr.functions import FUNCTIONS

X = Declarations({"x": DYN, "y": DYN, "s": STRING, "t": STRING, "l": list_of(DYN)})


def run(source, /, **bindings):
    return expr.compile(source, X, result=DYN)(bindings)


LIBRARIES = {
    "standard": "size type dyn int uint double string bytes bool timestamp duration matches startsWith endsWith contains getFullYear getMonth getDate getDayOfMonth getDayOfWeek getDayOfYear getHours getMinutes getSeconds getMilliseconds",
    "strings 4": "charAt indexOf lastIndexOf join split replace substring trim lowerAscii upperAscii reverse format strings.quote",
    "math 2": "math.greatest math.least math.bitAnd math.bitOr math.bitXor math.bitNot math.bitShiftLeft math.bitShiftRight math.ceil math.floor math.round math.trunc math.abs math.sign math.isNaN math.isInf math.isFinite math.sqrt",
    "lists 2": "slice flatten sort distinct reverse lists.range first last",
    "sets": "sets.contains sets.equivalent sets.intersects",
    "encoders": "base64.encode base64.decode",
    "optionals 2": "optional.of optional.none optional.ofNonZeroValue optional.unwrap unwrapOpt hasValue value or orValue first last",
    "network": "ip cidr isIP isCIDR ip.isCanonical family isUnspecified isLoopback isGlobalUnicast isLinkLocalUnicast isLinkLocalMulticast containsIP containsCIDR masked prefixLength",
}  # fmt: skip


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_function_of_the_library_is_there(library):
    assert set(LIBRARIES[library].split()) - set(FUNCTIONS) == set()


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        # strings
        ("'héllo😀'.charAt(5)", "😀"),
        ("'abc'.charAt(3)", ""),
        ("'abc'.charAt(4)", Fault),
        ("'abcabc'.indexOf('c', 3)", 5),
        ("'abc'.indexOf('', 3)", 3),
        ("'abc'.indexOf('a', 4)", Fault),
        ("'hello mellow'.lastIndexOf('')", 12),
        ("'hello mellow'.lastIndexOf('ello', 6)", 1),
        ("'hello mellow'.lastIndexOf('ello', 7)", 7),
        ("'abc'.lastIndexOf('a', -1)", Fault),
        ("'tacocat'.substring(2, 1)", Fault),
        ("'a,b,,c'.split(',', 2)", ["a", "b,,c"]),
        ("'abc'.split('')", ["a", "b", "c"]),
        ("'abc'.split('', 2)", ["a", "bc"]),
        ("''.split(',')", [""]),
        ("'a,b'.split(',', 0)", []),
        ("'aaa'.replace('a', 'b', 2)", "bba"),
        ("'ab'.replace('', '-')", "-a-b-"),
        ("'ab'.replace('', '-', 2)", "-a-b"),
        ("'\\u200b x \\u00a0'.trim()", "\u200b x"),
        ("'ÀÉa'.upperAscii() + 'ÀÉA'.lowerAscii()", "ÀÉAÀÉa"),
        ("strings.quote('a\\n\"\\\\')", '"a\\n\\"\\\\"'),
        ("'%d|%s|%x|%X|%o|%b|%e|%.2f|%%'.format([7, 'a', 255, 255, 8, 5, 1234.5, 2])", "7|a|ff|FF|10|101|1.234500e+03|2.00|%"),
        ("'%s'.format([[1, 'a', null, 1.5, {'k': b'v'}]])", "[1, a, null, 1.5, {k: v}]"),
        ("'%d %d %d %d'.format([1.0, 1.5, 1e21, -0.25])", "1 1.5 1000000000000000000000 -0.25"),
        ("'%d'.format(['a'])", Fault),
        ("'%q'.format([1])", Fault),
        ("'%d %d'.format([1])", Fault),
        # math
        ("math.bitAnd(-3, -5)", -7),
        ("math.bitOr(1, 2, 4)", 7),
        ("math.bitXor(3u, 5u, 1u)", Uint(7)),
        ("math.bitNot(0u)", Uint(2**64 - 1)),
        ("math.bitShiftRight(-1, 1)", 2**63 - 1),
        ("math.bitShiftLeft(1, 63)", -(2**63)),
        ("math.bitShiftLeft(1, 64)", 0),
        ("math.bitShiftLeft(1, -1)", Fault),
        ("math.round(-1.5)", -2.0),
        ("math.round(0.49999999999999994)", 0.0),
        ("math.round(4503599627370497.0)", 4503599627370497.0),
        ("math.trunc(-1.7)", -1.0),
        ("math.abs(-9223372036854775807 - 1)", Fault),
        ("math.sqrt(-1)", math.nan),
        ("math.sign(-0.5)", -1.0),
        ("math.greatest(1, 2u, 1.5)", Uint(2)),
        ("math.greatest([])", Fault),
        # lists and sets
        ("[3, 1, 2].sort()", [1, 2, 3]),
        ("[1, 'a'].sort()", Fault),
        ("[[1]].sort()", Fault),
        ("[timestamp(2), timestamp(1)].sort() == [timestamp(1), timestamp(2)]", True),
        ("['bb', 'a', 'ccc'].sortBy(w, -size(w))", ["ccc", "bb", "a"]),
        ("[{'n': 2, 'v': 'x'}, {'n': 1, 'v': 'y'}].sortBy(e, e.n).map(e, e.v)", ["y", "x"]),
        ("[1, 2].sortBy(e, x)", Fault),
        ("[2, 1].sortBy(e, e % 1)", [2, 1]),
        ("[1, 2, 3, 4].slice(1, 3)", [2, 3]),
        ("[1].slice(0, 2)", Fault),
        ("[1, [2, [3, [4]]]].flatten(2)", [1, 2, 3, [4]]),
        ("[1].flatten(-1)", Fault),
        ("[1, 1.0, 1u, 2, 'a', 'a'].distinct()", [1, 2, "a"]),
        ("lists.range(3)", [0, 1, 2]),
        ("lists.range(-1)", Fault),
        ("sets.contains([1, 2.0, 3u], [1.0, 2u, 3])", True),
        ("sets.equivalent([1], [1, 1.0])", True),
        ("sets.intersects([[1], [2, 3]], [[1, 2], [2, 3.0]])", True),
        ("sets.contains(['a'], ['a', 'b'])", False),
        # encoders
        ("base64.decode('aGVsbG8')", b"hello"),
        ("base64.decode('a*==')", Fault),
        ("base64.encode(b'hello')", "aGVsbG8="),
        # optionals
        ("optional.unwrap([optional.of(1), optional.none(), optional.of(2)])", [1, 2]),
        ("[optional.none(), optional.of('a')].unwrapOpt()", ["a"]),
        ("[dyn(1)].unwrapOpt()", Fault),
        ("[].first().orValue('none')", "none"),
        ("[1, 2].last().value()", 2),
        ("optional.none().value()", Fault),
        ("optional.ofNonZeroValue('').or(optional.of('b')).value()", "b"),
        ("{'a': {'b': 1}}.?a.?b.orValue(0)", 1),
        ("{'a': 1}[?'b'].hasValue()", False),
        ("[1][?5].orValue(9)", 9),
        ("[?optional.none(), ?optional.of(2), 3]", [2, 3]),
        ("optional.of(1).optMap(v, v + 1).value()", 2),
        ("optional.of(1).optFlatMap(v, v > 5 ? optional.of(v) : optional.none()).hasValue()", False),
        # two-variable macros
        ("{'a': 1, 'b': 2}.transformMap(k, v, v > 1, v * 10)", {"b": 20}),
        ("['a', 'b'].transformMapEntry(i, v, {v: i})", {"a": 0, "b": 1}),
        ("['a', 'a'].transformMapEntry(i, v, {v: i})", Fault),
        ("[1, 2].transformMapEntry(i, v, dyn(v))", Fault),
        ("[5, 6].transformList(i, v, i > 0, v)", [6]),
        ("{'a': 1}.exists_one(k, v, k == 'a' && v == 1)", True),
        # maps
        ("{1: 'int', true: 'bool'}[true] + {1: 'int', true: 'bool'}[1]", "boolint"),
        ("{1: 'a', true: 'b'} == {true: 'b', 1u: 'a'}", True),
        ("{1: 'a', true: 'b'}.size() == 2 && 1.0 in {1: 'a', true: 'b'} && !(false in {0: 1, true: 2})", True),
        ("{1: 'a', true: 'b'}.transformMap(k, v, v + '!')[true]", "b!"),
        ("{1: 'a', true: 'b', 1u: 'c'}", Fault),
        ("{true: 1, true: 2}", Fault),
        # conversions
        ("int(' 1')", Fault),
        ("double('1_0')", Fault),
        ("double('\\u0661')", Fault),
        ("string(b'\\xff')", Fault),
        ("int(9223372036854775807.0)", Fault),
        ("uint(-1)", Fault),
        ("string(1e21)", "1e+21"),
        ("string(1.0)", "1"),
        ("bool('True')", True),
        ("bool('yes')", Fault),
    ],
)
def test_values_are_those_of_the_libraries(source, wanted):
    got = run(source, x={"a": 1})
    if wanted is Fault:
        assert isinstance(got, Fault)
    elif isinstance(wanted, float) and math.isnan(wanted):
        assert math.isnan(got)
    else:
        assert got == wanted
        assert type(got) is type(wanted)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{'a': 1}.sortBy(e, e)", "`sortBy` goes over a list, not a `map(string, int)`"),
        ("[1].sortBy(e, [e])", "`sortBy` cannot order keys of type `list(int)`"),
        ("[1].sortBy(l)", "`sortBy` does not take 1 arguments"),
        ("timestamp('2026-13-01T00:00:00Z') == timestamp(0)", "`2026-13-01T00:00:00Z` is no RFC 3339 time"),
        ("duration('5 minutes') == duration('1s')", "`5 minutes` is no duration"),
        ("optional.unwrap([1])", "`optional.unwrap` is not defined for `list(int)`"),
        ("math.bitAnd(1, 1u)", "`math.bitAnd` is not defined for `int`, `uint`"),
    ],
)
def test_a_mistake_in_a_call_is_told(source, message):
    with pytest.raises(ExprError) as caught:
        expr.compile(source, X, result=DYN)
    assert [problem.message for problem in caught.value.problems] == [message]


@given(st.text(alphabet="ab", max_size=60), st.text(alphabet="ab", max_size=30), st.integers(0, 60))
def test_searching_backwards_is_what_python_does(text, part, start):
    assert run("s.lastIndexOf(t)", s=text, t=part) == text.rfind(part)
    got = run("s.lastIndexOf(t, x)", s=text, t=part, x=start)
    assert got == text.rfind(part, 0, start + len(part)) if start <= len(text) else isinstance(got, Fault)


@given(st.lists(st.integers(-5, 5) | st.floats(-5, 5) | st.text(max_size=2), max_size=8), st.lists(st.integers(-5, 5) | st.text(max_size=2), max_size=8))
def test_sets_are_what_the_macros_say(a, b):
    assert run("sets.contains(x, y) == y.all(e, e in x)", x=a, y=b) is True
    assert run("sets.intersects(x, y) == y.exists(e, e in x)", x=a, y=b) is True
    assert run("sets.equivalent(x, y) == (y.all(e, e in x) && x.all(e, e in y))", x=a, y=b) is True
    assert run("sets.equivalent(x.distinct(), x) && x.distinct().all(e, x.exists(f, f == e))", x=a) is True


@given(st.lists(st.integers(-9, 9), max_size=12))
def test_sorting_by_a_key_is_stable_and_agrees_with_sort(items):
    assert run("x.sortBy(e, e)", x=items) == sorted(items)
    assert run("x.sortBy(e, e % 3)", x=items) == sorted(items, key=lambda v: math.fmod(v, 3))
