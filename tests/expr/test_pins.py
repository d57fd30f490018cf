"""What a condition asks of single fields: found where it holds whatever the rest does, and nowhere else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar import expr
from sidecar.expr import BOOL, DYN, INT, STRING, Declarations, Field, Record, list_of, map_of

R = Record("r", {"s": Field(STRING), "t": Field(STRING), "b": Field(BOOL), "w": Field(list_of(STRING)), "n": Field(INT), "m": Field(map_of(STRING, DYN))})
DECLARED = Declarations({"r": R, "now": expr.TIMESTAMP})


def pins(source):
    return [(pin.path, set(pin.values)) for pin in expr.compile(source, DECLARED).pins]


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ('r.s == "a"', [("r.s", {"a"})]),
        ('"a" == r.s', [("r.s", {"a"})]),
        ('r.s in ["a", "b"]', [("r.s", {"a", "b"})]),
        ('"a" in r.w', [("r.w", {"a"})]),
        ("r.b", [("r.b", {True})]),
        ("!r.b", [("r.b", {False})]),
        ("r.b == false", [("r.b", {False})]),
        ('r.n > 1 && (r.b && r.s == "a") && 1 / r.n > 0', [("r.b", {True}), ("r.s", {"a"})]),
        ('r.s == "a" || r.s in ["b"]', [("r.s", {"a", "b"})]),
        ('("a" in r.w || "b" in r.w) && r.b', [("r.w", {"a", "b"}), ("r.b", {True})]),
    ],
)
def test_what_a_top_level_conjunct_compares_with_constants_is_a_pin(source, wanted):
    assert pins(source) == wanted


@pytest.mark.parametrize(
    "source",
    [
        'r.s != "a"', '!(r.s == "a")', 'r.s == "a" || r.b', 'r.s == "a" || r.t == "a"', "r.s == r.t", 'r.s in ["a", r.t]', 'r.s in ["a", ?r.m.?x]', "r.n == 1",
        'r.b ? r.s == "a" : r.n > 1', 'r.m.s == "a"', 'r.?m.?s.orValue("") == "a"', 'r.w.exists(s, s == "a")', 'cel.bind(s, r.s, s == "a")', "!!r.b == r.b",
        "type(now) == google.protobuf.Timestamp", 'r.w[0] == "a"', 'r.s.startsWith("a")',
    ],
)  # fmt: skip
def test_nothing_else_is(source):
    assert pins(source) == []


TERMS = st.sampled_from(
    ['r.s == "a"', 'r.s in ["b", "c"]', '"x" in r.w', "r.b", "!r.b", "1 / r.n > 0", "r.n > 0", 'r.s == "b" || r.s == "c"', 'r.b || r.s == "a"', 'r.m.k == "a"']
)
VALUES = st.fixed_dictionaries(
    {
        "s": st.sampled_from("abc"),
        "t": st.just(""),
        "b": st.booleans(),
        "w": st.lists(st.sampled_from(["x", "y"]), max_size=2),
        "n": st.sampled_from([0, 1]),
        "m": st.sampled_from([{}, {"k": "a"}]),
    }
)


@settings(max_examples=300, deadline=None)
@given(st.lists(TERMS, min_size=1, max_size=4), VALUES)
def test_where_a_pin_fails_the_condition_is_false(terms, values):
    program = expr.compile(" && ".join(f"({term})" for term in terms), DECLARED)
    for pin in program.pins:
        value = values[pin.path.removeprefix("r.")]
        if pin.values.isdisjoint(value if isinstance(value, list) else [value]):
            assert program({"r": values}) is False
