"""Names beyond the documents' own: dots, containers, blocks, declared functions, and the unchecked mode."""

import pytest

from sidecar import expr
from sidecar.expr import BOOL, DYN, INT, STRING, Declarations, ExprError, Fault, Field, Record, Type, list_of, map_of
from sidecar.expr.overload import declared


def compiled(source, declarations, **options):
    return expr.compile(source, declarations, result=DYN, **options)


# ---------------------------------------------------------------- dots and containers

DOTTED = Declarations({"a.b": map_of(STRING, STRING), "a.b.c": STRING, "x.y.z": INT, "x.z": INT, "z": INT}, container="x.y")


@pytest.mark.parametrize(
    ("source", "reads"),
    [
        ("a.b.c", {"a.b.c"}),
        ("a.b.d", {"a.b.d"}),
        ("z", {"x.y.z"}),
        (".z", {"z"}),
        ("y.z", {"x.y.z"}),
        (".x.z", {"x.z"}),
        ("[1].map(z, z)", set()),
        ("[1].map(z, .z)", {"z"}),
        ("[{'b': {'c': 1}}].map(a, a.b.c)", set()),
        ("has(a.b.e)", {"a.b.e"}),
    ],
)
def test_the_longest_name_of_the_innermost_container_is_meant(source, reads):
    assert compiled(source, DOTTED).reads == reads


def test_dotted_names_are_bound_by_their_whole_name():
    bindings = {"a.b.c": "long", "a.b": {"c": "short", "d": "field"}, "x.y.z": 1, "z": 3}
    assert compiled("a.b.c + a.b.d", DOTTED)(bindings) == "longfield"
    assert compiled("[5].exists(i, z + .z == 4)", DOTTED)(bindings) is True
    assert compiled("a.b.?e.orValue('none')", DOTTED)(bindings) == "none"


def test_a_part_of_a_dotted_name_is_no_name():
    with pytest.raises(ExprError, match="undeclared name `a`"):
        compiled("a.x", DOTTED)


def test_a_guard_holds_for_a_dotted_record():
    declarations = Declarations({"a.r": Record("r", {"o": Field(STRING, optional=True)})})
    assert compiled("has(a.r.o) && a.r.o == 'v'", declarations)({"a.r": {"o": "v"}}) is True
    with pytest.raises(ExprError, match="may be absent"):
        compiled("a.r.o == 'v'", declarations)


# ---------------------------------------------------------------- bindings and blocks


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("cel.bind(x, [1][5], true || x == 1)", True),
        ("cel.bind(x, [1][5], x == 1 || true)", True),
        ("cel.bind(x, [1][5], x == 1)", Fault("the index is out of range")),
        ("cel.bind(x, 1, cel.bind(x, x + 1, x + x))", 4),
        ("[1, 2].map(i, cel.bind(x, i * 2, x + x))", [4, 8]),
        ("cel.bind(m, {'a': {'b': 3}}, m.a.b + m['a'].b + m.?a.?b.orValue(0))", 9),
        ("cel.bind(t, timestamp(s), t.getFullYear())", 2026),
        ("cel.block([1, cel.index(0) + 1], cel.index(1) * 10)", 20),
        ("cel.block([[1][5], 2], cel.index(1))", 2),
        ("[1, 2].map(cel.iterVar(0, 0), [3].map(cel.iterVar(1, 0), cel.iterVar(0, 0) * cel.iterVar(1, 0)))", [[3], [6]]),
    ],
)
def test_a_binding_is_found_when_it_is_read(source, wanted):
    assert compiled(source, Declarations({"s": STRING}))({"s": "2026-01-01T00:00:00Z"}) == wanted


def test_a_binding_is_found_once():
    class Counting(dict):
        read = 0

        def __missing__(self, key):
            Counting.read += 1
            return 1

    assert compiled("cel.bind(v, x.n, v + v + v)", Declarations({"x": DYN}))({"x": Counting()}) == 3
    assert Counting.read == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("cel.index(0)", "undeclared name `cel.index(0)`"),
        ("cel.block([cel.index(1), 2], cel.index(0))", "undeclared name `cel.index(1)`"),
        ("cel.block(1, 2)", "`cel.block` takes a list of values and an expression"),
        ("cel.block([?x], 2)", "`cel.block` takes a list of values and an expression"),
        ("cel.iterVar(0)", "undeclared name `cel`"),
    ],
)
def test_a_block_that_makes_no_sense_is_an_error(source, message):
    with pytest.raises(ExprError) as caught:
        compiled(source, Declarations({}))
    assert message in [problem.message for problem in caught.value.problems]


# ---------------------------------------------------------------- declared functions


def test_a_declared_function_has_a_type_and_calling_it_is_an_error_value():
    pair = Type("pair", (Type("param", name="A"), Type("param", name="B")))
    declarations = Declarations(
        {"n": INT},
        functions={
            "pair": (declared("pair", *pair.params, result=pair),),
            "my.fn": (declared("my.fn", INT, result=BOOL),),
            "size": (declared("size", INT, result=INT),),
        },
    )
    assert str(compiled("pair(1, 'a')", declarations).type) == "pair(int, string)"
    assert compiled("my.fn(n)", declarations)({"n": 1}) == Fault("`my.fn` is declared and has no implementation")
    assert compiled("my.fn(n) || true", declarations)({"n": 1}) is True
    assert compiled("size('abc')", declarations)({}) == 3
    assert compiled("size(n)", declarations)({"n": 1}) == Fault("`size` is declared and has no implementation")
    with pytest.raises(ExprError, match=r"`my.fn` is not defined for `string`"):
        compiled("my.fn('a')", declarations)


# ---------------------------------------------------------------- unchecked

TYPED = Declarations({"n": INT, "words": list_of(STRING), "r": Record("r", {"o": Field(STRING, optional=True)})})


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("nobody || true", True),
        ("nobody", Fault("`nobody` is not bound")),
        ("free == 5", True),
        ("fn(1) || true", True),
        ("fn(1)", Fault("unknown function `fn`")),
        ("nobody.fn() && false", False),
        ("1 + 'a' == 2 || true", True),
        ("1 + 'a'", Fault("`+` is not defined for `int` and `string`")),
        ("false && 32", False),
        ("true && 32", Fault("a `int` stands where `bool` is needed")),
        ("true ? 1 : 'a'", 1),
        ("['a'] == [1]", False),
        ("1 in ['a']", False),
        ("[1] + ['a']", [1, "a"]),
        ("n.size()", Fault("`size` is not defined for `int`")),
        ("n[0]", Fault("a `int` cannot be indexed")),
        ("words.x", Fault("a `list` has no field `x`")),
        ("words[0.0]", "w"),
        ("r.o", Fault("no such field or key: `o`")),
        ("r.p", Fault("no such field or key: `p`")),
        ("n.all(x, true)", Fault("a macro goes over a list or a map, not a `int`")),
        ("{1.5: 2}", Fault("a `double` cannot be a map key")),
        ("[?1]", Fault("`?` takes an optional value, not `int`")),
        ("optional.of(1).optFlatMap(x, x)", Fault("`optFlatMap` makes an optional value, not `int`")),
        ("'abc'.matches(free2)", True),
        ("timestamp('x') == 1 || true", True),
        ("n < 'a'", Fault("`<` is not defined for `int` and `string`")),
        ("[1, 'a'].sortBy(x, x)", Fault("`sortBy` takes values of one type")),
    ],
)
def test_unchecked_what_is_wrong_is_an_error_where_it_comes_to_run(source, wanted):
    bindings = {"n": 1, "words": ["w"], "r": {}, "free": 5, "free2": "b"}
    assert compiled(source, TYPED, checked=False)(bindings) == wanted


def test_unchecked_syntax_is_still_an_error():
    with pytest.raises(ExprError, match="a value is expected"):
        compiled("1 +", TYPED, checked=False)


def test_unless_it_is_asked_for_everything_is_checked():
    with pytest.raises(ExprError, match="undeclared name `nobody`"):
        compiled("nobody || true", TYPED)
