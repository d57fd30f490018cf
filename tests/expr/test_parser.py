"""The parser: precedence, literals, macros, and hostile source."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.expr import tree
from sidecar.expr.parser import DEPTH, LENGTH, parse
from sidecar.expr.problems import ExprError


def shape(node: tree.Node) -> object:
    """A tree as nested tuples."""
    match node:
        case tree.Constant(value=value):
            return value
        case tree.Ident(name=name):
            return name
        case tree.Select(operand=operand, field=field, mode=mode):
            return (mode, shape(operand), field)
        case tree.Index(operand=operand, index=index):
            return ("index", shape(operand), shape(index))
        case tree.Call(function=function, target=target, args=args):
            return (function, *([shape(target)] if target else []), *map(shape, args))
        case tree.Logic(op=op, terms=terms):
            return (op, *map(shape, terms))
        case tree.Choice(test=test, yes=yes, no=no):
            return ("?", shape(test), shape(yes), shape(no))
        case tree.Listing(items=items):
            return list(map(shape, items))
        case tree.Fold(macro=macro, over=over, names=names, test=test, body=body):
            return (macro, shape(over), names, test and shape(test), body and shape(body))
    raise AssertionError(node)


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("1 + 2 * 3", ("_+_", 1, ("_*_", 2, 3))),
        ("1 - 2 - 3", ("_-_", ("_-_", 1, 2), 3)),
        ("(1 - 2) * 3", ("_*_", ("_-_", 1, 2), 3)),
        ("a || b && c", ("||", "a", ("&&", "b", "c"))),
        ("a && b && c", ("&&", "a", "b", "c")),
        ("!a == b", ("_==_", ("!_", "a"), "b")),
        ("a ? b : c ? d : e", ("?", "a", "b", ("?", "c", "d", "e"))),
        ("1 < 2 == true", ("_==_", ("_<_", 1, 2), True)),
        ("-1", -1),
        ("--1", ("-_", -1)),
        ("-9223372036854775808", -(2**63)),
        ("a.b.c", ("plain", ("plain", "a", "b"), "c")),
        ("a.?b", ("optional", "a", "b")),
        ("a.`b-c`", ("plain", "a", "b-c")),
        ("has(a.b)", ("test", "a", "b")),
        ("a[0].b(1)", ("b", ("index", "a", 0), 1)),
        ("a in [1, 2,]", ("@in", "a", [1, 2])),
        ("l.exists(x, x)", ("exists", "l", ("x",), "x", None)),
        ("l.map(x, x > 1, x)", ("map", "l", ("x",), ("_>_", "x", 1), "x")),
        ("l.all(i, v, i)", ("all", "l", ("i", "v"), "i", None)),
        ("a // a comment\n && b", ("&&", "a", "b")),
        ("0x1F", 31),
        ("1e3", 1000.0),
    ],
)
def test_source_is_read_by_the_precedence_of_the_specification(source, wanted):
    assert shape(parse(source)) == wanted


@pytest.mark.parametrize(
    ("source", "value"),
    [
        (r"'a\n\x41\u00e9\101'", "a\nAéA"),
        (r"r'a\n'", r"a\n"),
        ("'''a\r\n'b'''", "a\n'b"),
        (r"b'\377\x00é'", b"\xff\x00\xc3\xa9"),
        ('"\\""', '"'),
    ],
)
def test_text_literals_are_unescaped(source, value):
    assert shape(parse(source)) == value


@pytest.mark.parametrize(
    ("source", "message", "column"),
    [
        ("1 +", "the expression ends where a value is expected", 4),
        ("", "the expression ends where a value is expected", 1),
        ("a b", "unexpected `b`, expected an operator or the end", 3),
        ("a = b", "unexpected character `=`", 3),
        ("'abc", "this text is not closed", 1),
        (r"'\q'", r"`\q` is no escape", 2),
        (r"'\ud800'", r"`\ud800` is no escape", 2),
        ("9223372036854775808", "`9223372036854775808` is out of range for `int`", 1),
        ("12abc", "`12abc` is no number", 1),
        ("for", "`for` is a reserved word", 1),
        ("Foo{a: 1}", "messages cannot be built in a condition", 1),
        ("l.exists(1, true)", "the variable of `exists` must be a plain name", 10),
        ("has(a)", "`has` takes one field", 1),
        ("a.b(", "the expression ends where a value is expected", 5),
    ],
)
def test_a_syntax_error_says_what_and_where(source, message, column):
    with pytest.raises(ExprError) as caught:
        parse(source)
    (problem,) = caught.value.problems
    assert (problem.message, problem.line, problem.column) == (message, 1, column)


def test_problems_count_lines_and_code_points():
    with pytest.raises(ExprError) as caught:
        parse("'é😀' ==\n  'x' ~")
    (problem,) = caught.value.problems
    assert (problem.line, problem.column, problem.end_column) == (2, 7, 8)


@pytest.mark.parametrize(
    "hostile",
    ["(" * 10_000, "[" * 10_000, "-" * 10_000 + "1", "!" * 10_000 + "true", "a." * 5_000 + "a", "1+" * 8_000 + "1", "a?b:" * 4_000 + "c", "f(" * 5_000],
)
def test_deep_source_is_a_clean_error(hostile):
    with pytest.raises(ExprError):
        parse(hostile)


def test_nesting_is_allowed_to_its_limit_and_not_further():
    assert shape(parse("(" * DEPTH + "7" + ")" * DEPTH)) == 7
    with pytest.raises(ExprError, match="nested"):
        parse("(" * (DEPTH + 1) + "7" + ")" * (DEPTH + 1))


def test_long_chains_of_logic_are_flat():
    assert parse(" && ".join(["a"] * 3000)).height == 2


def test_source_over_the_limit_is_refused():
    with pytest.raises(ExprError, match="longer"):
        parse(" " * LENGTH + "1")


def complaints(source):
    """The problems of the source; anything else that is raised fails the test."""
    try:
        parse(source)
    except ExprError as error:
        return error.problems
    return ()


@given(st.text())
def test_garbage_raises_only_the_one_error(source):
    assert all(p.line >= 1 and 1 <= p.column < p.end_column for p in complaints(source))


@given(
    st.lists(
        st.sampled_from(
            [*"()[]{}.,?:!-+*/%<>'\"\\`", "&&", "||", "==", "in", " ", "a", "has(", "1", "0x", "1u", "r'", 'b"', "'''", ".?", "[?", ".map(x,", "\n"]
        ),
        max_size=40,
    ).map("".join)
)
def test_garbage_of_tokens_raises_only_the_one_error(source):
    assert all(p.message for p in complaints(source))
