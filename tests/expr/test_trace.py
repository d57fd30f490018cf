"""Traces: what each part of an expression gave. A trace runs as the program does, and tells no part that was never reached."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar import expr
from sidecar.expr import DYN, UNKNOWN, Declarations, Duration, ExprError, Fault, Timestamp, Uint
from sidecar.expr.shown import lines, shown
from sidecar.expr.trace import UNREAD, Trace, trace
from sidecar.expr.values import NONE, Maybe

X = Declarations({"x": DYN, "y": DYN})


def parts(source, **bindings):
    """Text and result of all parts in reading order."""
    found = []

    def walk(part: Trace) -> None:
        found.append((part.text, part.result))
        for child in part.children:
            walk(child)

    walk(trace(source, X, bindings))
    return found


def test_each_part_is_told_with_its_value():
    assert parts("x.a > 1 && !(x.b in ['u', 'v'])", x={"a": 2, "b": "u"}) == [
        ("x.a > 1 && !(x.b in ['u', 'v'])", False),
        ("x.a > 1", True),
        ("x.a", 2),
        ("!(x.b in ['u', 'v'])", False),
        ("x.b in ['u', 'v']", True),
        ("x.b", "u"),
    ]


def test_what_was_never_reached_is_unread():
    assert parts("x || y == 1", x=True)[1:] == [("x", True), ("y == 1", UNREAD), ("y", UNREAD)]
    assert parts("x ? y + 1 : 2 * 3", x=False) == [("x ? y + 1 : 2 * 3", 6), ("x", False), ("y + 1", UNREAD), ("y", UNREAD), ("2 * 3", 6)]
    assert parts("[x.a, y]", x={}, y=1)[1:] == [("x.a", Fault("no such field or key: `a`")), ("y", UNREAD)]


def test_an_error_that_the_other_side_outweighs_shows_where_it_was():
    assert parts("x.a || y", x={}, y=True) == [("x.a || y", True), ("x.a", Fault("no such field or key: `a`")), ("y", True)]


def test_unknown_shows_where_it_was_read():
    assert parts("x.a == 1 && y", x=UNKNOWN, y=True) == [("x.a == 1 && y", UNKNOWN), ("x.a == 1", UNKNOWN), ("x.a", UNKNOWN), ("y", True)]


def test_what_is_constant_is_told_though_it_ran_at_load():
    assert parts("x > 1 + 2", x=1) == [("x > 1 + 2", False), ("x", 1), ("1 + 2", 3)]
    assert parts("[1, 2].exists(e, e > 1) || x")[1:] == [("[1, 2].exists(e, e > 1)", True), ("e > 1", True), ("e", 2), ("x", UNREAD)]


@pytest.mark.parametrize(
    ("source", "items", "turn", "element"),
    [
        ("x.exists(e, e == y)", [1, 2, 3], 2, 2),
        ("x.exists(e, e == y)", [1, 3], 2, 3),
        ("x.all(e, e == y)", [2, 1, 2], 2, 1),
        ("x.exists(e, e > y)", [1, "a", 1], 2, "a"),
        ("x.exists(e, e > y)", [1, "a", UNKNOWN, 1], 3, UNKNOWN),
        ("x.exists_one(e, e == y)", [2, 1], 2, 1),
        ("x.filter(e, e == y)", [2, 1], 2, 1),
        ("x.map(e, e + y)", [2, "a", 3], 2, "a"),
    ],
)
def test_a_macro_shows_the_turn_that_decided_or_else_the_last(source, items, turn, element):
    told = trace(source, X, {"x": items, "y": 2})
    assert told.turn == turn
    assert told.children[1].children[0].result is element or told.children[1].children[0].result == element


def test_a_turn_shows_nothing_of_the_turn_before():
    told = trace("x.all(e, e.ok || e.why == 1)", X, {"x": [{"ok": False, "why": 1}, {"ok": True}]})
    assert [part.result for part in told.children[1].children] == [True, UNREAD]


def test_a_macro_within_a_macro_shows_its_own_turn():
    told = trace("x.exists(a, a.exists(b, b == y))", X, {"x": [[1, 2, 3], [5, 4]], "y": 4})
    assert (told.turn, told.children[1].turn) == (2, 2)
    assert told.children[1].children[1].children[0].result == 4


def test_the_text_of_a_part_has_its_parentheses():
    texts = [text for text, _ in parts("((x.a + 1) * (y)) == (3) && size((x.b)) == ')'.size()", x={}, y=1)]
    assert texts[1:4] == ["((x.a + 1) * (y)) == (3)", "(x.a + 1) * (y)", "x.a + 1"]


def test_an_expression_that_does_not_compile_is_refused_as_by_compile():
    with pytest.raises(ExprError):
        trace("z == 1", X, {})


LEAVES = st.sampled_from(["x", "y", "x.a", "x.b.c", "y[0]", "1", "2.5", "'a'", "true", "false", "null", "[1, 2]", "x.?a.orValue(1)", "has(x.a)"])


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.tuples(inner, st.sampled_from(["&&", "||", "==", "!=", "<", "+", "in"]), inner).map(lambda t: f"(dyn({t[0]}) {t[1]} dyn({t[2]}))")
    choice = st.tuples(inner, inner, inner).map(lambda t: f"(dyn({t[0]}) ? dyn({t[1]}) : dyn({t[2]}))")
    macro = st.tuples(inner, st.sampled_from(["all", "exists", "exists_one", "filter", "map"]), inner).map(lambda t: f"dyn({t[0]}).{t[1]}(x, dyn({t[2]}))")
    bound = st.tuples(inner, inner).map(lambda t: f"cel.bind(y, {t[0]}, {t[1]})")
    return st.one_of(binary, choice, macro, bound, inner.map(lambda t: f"!dyn({t})"))


VALUES = st.recursive(
    st.sampled_from([True, False, 1, 2.5, "a", None, UNKNOWN]),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)),
    max_leaves=6,
)


@given(st.recursive(LEAVES, _grown, max_leaves=8), VALUES, VALUES)
def test_a_trace_gives_what_the_program_gives(source, x, y):
    try:
        program = expr.compile(source, X, result=DYN)
    except ExprError:
        return
    wanted, got = program({"x": x, "y": y}), trace(source, X, {"x": x, "y": y})
    assert repr(got.result) == repr(wanted)
    _consistent(got)


def _consistent(told: Trace) -> None:
    if told.result is UNREAD:
        assert all(part.result is UNREAD for part in told.children)
    for part in told.children:
        _consistent(part)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (None, "null"),
        (4000, "4000"),
        (Uint(1), "1u"),
        (1.0, "1.0"),
        (1e300, "1e+300"),
        ("it's\n", r"'it\'s\n'"),
        (b"\x00a", r"b'\x00a'"),
        (["a", 1], "['a', 1]"),
        ({"k": [1.5]}, "{'k': [1.5]}"),
        (list(range(20)), "[0, 1, 2, 3, 4, 5, 6, 7, … 20 in all]"),
        (Timestamp(0), "timestamp('1970-01-01T00:00:00Z')"),
        (Duration(1_500_000_000), "duration('1.5s')"),
        (NONE, "optional.none()"),
        (Maybe(1), "optional.of(1)"),
        (UNKNOWN, "unknown"),
        (UNREAD, "not read"),
        (Fault("no such key"), "error: no such key"),
        (object(), "a `object`"),
    ],
)
def test_a_value_is_shown_as_an_author_would_write_it(value, text):
    assert shown(value) == text


def test_a_long_value_is_cut():
    assert len(shown("a" * 10_000)) <= 60
    deep: list[object] = []
    for _ in range(10_000):
        deep = [deep]
    assert "…" in shown(deep)


def test_a_trace_is_shown_line_by_line_with_parts_indented():
    told = trace("x.tokens > 4000 || x.words.exists(w, w == 'b')", X, {"x": {"tokens": 12, "words": ["a", "b", "c"]}})
    assert lines(told) == [
        "x.tokens > 4000 || x.words.exists(w, w == 'b')   true",
        "  x.tokens > 4000                                false",
        "    x.tokens                                     12",
        "  x.words.exists(w, w == 'b')                    true   (turn 2)",
        "    x.words                                      ['a', 'b', 'c']",
        "    w == 'b'                                     true",
        "      w                                          'b'",
    ]
