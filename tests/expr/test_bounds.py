"""No expression and no data take an evaluation past its budgets: it ends in a Fault, with little memory, and soon.

Nothing here is timed. What must not happen would take minutes or gigabytes.
"""

import tracemalloc

import pytest

from sidecar import expr
from sidecar.expr import DYN, STRING, Declarations, Fault, list_of

X = Declarations({"x": DYN, "y": DYN, "s": STRING, "l": list_of(DYN), "w": list_of(STRING)})
LARGE = "a" * 4_000_000
ITERATIONS = Fault("more than 10000 iterations")
WORK = Fault("the texts and lists are too large for what is done with them")
TEXT = Fault("the text grows too long")
LIST = Fault("the list grows too long")
COMPARED = Fault("the lists or maps are too large to be compared")
DEEP = Fault("a value is nested too deep")


def run(source, /, **bindings):
    return expr.compile(source, X, result=DYN)(bindings)


def growing(start, step, end, times=26):
    """`cel.bind(v0, start, cel.bind(v1, step of v0, …, end))`."""
    source = "".join(f"cel.bind(v{i + 1}, {step.replace('V', f'v{i}')}, " for i in range(times))
    return f"cel.bind(v0, {start}, {source}{end.replace('V', f'v{times}')}" + ")" * (times + 1)


def nested(levels):
    deep = []
    for _ in range(levels):
        deep = [deep]
    return deep


HOSTILE = {
    "iterations multiply": ("x.exists(a, x.exists(b, a == -b))", {"x": list(range(1, 10_001))}, ITERATIONS),
    "iterations of one walk": ("x.all(a, true)", {"x": [0] * 10_001}, ITERATIONS),
    "a long body costs more": ("x.all(i, " + " && ".join(["i >= 0"] * 1_500) + ")", {"x": [0] * 1_000}, ITERATIONS),
    "ranges in ranges": ("lists.range(10000).map(a, lists.range(10000))", {}, WORK),
    "ranges that fail": ("lists.range(10000).exists(a, lists.range(10000).size() < 0)", {}, WORK),
    "literals in ranges": ("lists.range(10000).map(i, [" + "i, " * 200 + "i])", {}, WORK),
    "many literals": ("[" + ", ".join(["s + s"] * 2_000) + "].size()", {"s": LARGE}, WORK),
    "a text doubles": (growing("s", "V + V", "size(V)"), {"s": "ab"}, WORK),
    "a text stays large": (growing("s", "V.replace('a', 'b') + 'a'", "size(V)"), {"s": LARGE * 8}, WORK),
    "a list doubles": (growing("l", "V + V", "size(V)"), {"l": [1, 2]}, WORK),
    "replace grows": ("s.replace('a', s)", {"s": "a" * 20_000}, TEXT),
    "replace of nothing": (growing("s", "V.replace('', V)", "size(V)", 10), {"s": "abc"}, TEXT),
    "join grows": (growing("s", "[V, V].join(V)", "size(V)"), {"s": "abc"}, WORK),
    "join of a loop": ("lists.range(5000).map(i, s).join()", {"s": "a" * 100_000}, TEXT),
    "format grows": (growing("s", "'%s%s'.format([V, V])", "size(V)"), {"s": "abc"}, WORK),
    "format with digits": ("s.format(l)", {"s": "%.999f" * 70_000, "l": [1e300] * 70_000}, TEXT),
    "split into letters": ("s.split('')", {"s": LARGE}, LIST),
    "flatten of nothing": (growing("[]", "[V, V]", "V.flatten(40)"), {}, WORK),
    "a list that holds itself twice": (growing("[]", "[V, V]", "V == V"), {}, WORK),
    "such a list in a loop": ("w.exists(p, " + growing("[[]]", "[V, V]", "V != dyn(V)", 14) + ")", {"w": ["a"] * 9_000}, WORK),
    "such a list as a result": (growing("x", "[V, V]", "V", 20), {"x": 1}, COMPARED),
    "distinct lists": ("l.distinct()", {"l": [[i] * 100 for i in range(5_000)]}, COMPARED),
    "sets of lists": ("sets.equivalent(l, l)", {"l": list(range(5_000))}, COMPARED),
    "a text read for every word": ("w.exists(p, s.contains(p))", {"s": LARGE, "w": ["b"] * 10_000}, WORK),
    "a text read again and again": ("w.exists(p, s.contains('bb'))", {"s": LARGE, "w": ["b"] * 10_000}, WORK),
    "a text matched again and again": ("w.exists(p, s.matches('b[0-9]+b'))", {"s": LARGE, "w": ["b"] * 10_000}, WORK),
    "a text copied again and again": ("w.exists(p, s.lowerAscii() == p)", {"s": LARGE, "w": ["b"] * 10_000}, WORK),
    "equal texts compared again and again": ("w.all(p, p == s)", {"s": LARGE[:-1] + "a", "w": [LARGE] * 10_000}, WORK),
    "texts ordered again and again": ("w.all(p, p <= s)", {"s": LARGE[:-1] + "a", "w": [LARGE] * 10_000}, WORK),
    "a prefix as long as the text": ("w.all(p, s.startsWith(p))", {"s": LARGE, "w": [LARGE[:-1]] * 10_000}, WORK),
    "a list searched for every element": ("w.exists(p, 'z' in w)", {"w": ["b"] * 9_000}, WORK),
    "a list sorted for every element": ("l.exists(i, l.sort()[0] == -1)", {"l": list(range(9_000))}, WORK),
    "a list turned for every element": ("l.exists(i, l.reverse()[0] == -1)", {"l": list(range(9_000))}, WORK),
    "maps compared for every element": ("l.exists(i, x != y)", {"l": [1] * 9_000, "x": {str(i): i for i in range(999)}, "y": {str(i): i for i in range(999)}}, WORK),
    "many patterns in a row": (" || ".join(f"s.matches('b{i}[0-9]+b')" for i in range(500)), {"s": LARGE}, WORK),
    "deep data compared": ("x == y", {"x": nested(100_000), "y": nested(100_000)}, DEEP),
    "deep data in a result": ("[x]", {"x": nested(100_000)}, DEEP),
    "deep data flattened": ("l.flatten(1000000)", {"l": nested(100_000)}, DEEP),
    "deep data written": ("'%s'.format([x])", {"x": nested(100_000)}, DEEP),
    "huge numbers multiplied": ("x * y", {"x": 10**4_000, "y": 10**4_000}, Fault("integer overflow")),
    "huge digits": ("int(s)", {"s": "1" * 4_000_000}, Fault("the `string` is no integer")),
    "a long duration": ("duration(s)", {"s": "1h" * 2_000_000}, Fault("the `string` is no duration")),
    "a long wrong duration": ("duration(s)", {"s": "1.1h" * 1_000_000 + "."}, Fault("the `string` is no duration")),
    "a long time": ("timestamp(s)", {"s": "2026-01-01T00:00:00." + "1" * 4_000_000}, Fault("the `string` is no RFC 3339 time")),
    "a long version": ("semver.major(s)", {"s": "1.2.3-" + "a." * 2_000_000}, Fault("the `string` is no semantic version")),
    "a long address": ("ip(s)", {"s": "1:" * 2_000_000}, Fault("the `string` is no IP address")),
    "a failure read twice": (growing("x.nope", "V || V", "V"), {"x": {}}, Fault("no such field or key: `nope`")),
    "a failure read in a macro": (growing("x.nope", "[1, 2].exists(i, V)", "V"), {"x": {}}, Fault("no such field or key: `nope`")),
}  # fmt: skip


@pytest.mark.parametrize(("source", "bindings", "wanted"), HOSTILE.values(), ids=HOSTILE)
def test_what_is_hostile_ends_in_a_fault_within_bounds(source, bindings, wanted):
    program = expr.compile(source, X, result=DYN)
    tracemalloc.start()
    try:
        got = program(bindings)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert got == wanted
    assert peak < 128 * 2**20


@pytest.mark.parametrize(
    ("source", "bindings", "wanted"),
    [
        ("s.lastIndexOf(y)", {"s": LARGE, "y": "a" * 1_000_000 + "b" + "a" * 1_000_000}, -1),
        ("s.lastIndexOf(y, 3000000)", {"s": LARGE, "y": "a" * 1_000_000 + "b" + "a" * 1_000_000}, -1),
        ("s.indexOf(y)", {"s": LARGE, "y": "a" * 1_000_000 + "b" + "a" * 1_000_000}, -1),
        ("w.all(p, p.contains('b'))", {"w": ["b" * 40_000] * 100}, True),
        ("sets.contains(w, w) && 'b' in w", {"w": [str(i) for i in range(500_000)] + ["b"]}, True),
        ("l.sort()[0]", {"l": [str(i) for i in range(300_000, 100_000, -1)]}, "100001"),
        ("s.lowerAscii().contains('b')", {"s": LARGE * 8}, False),
        ("x.map(a, x.map(b, a * b)).size()", {"x": list(range(90))}, 90),
    ],
)
def test_what_is_merely_large_is_answered(source, bindings, wanted):
    assert run(source, **bindings) == wanted


@pytest.mark.parametrize(
    "source", ["x.all(a, true) || y", "!x.all(a, true) && !y", "[1, 2].exists(i, x.all(a, true) || y)", "cel.bind(b, x.all(a, true), b || y)"]
)
def test_a_spent_budget_is_absorbed_by_nothing(source):
    assert run(source, x=[0] * 10_001, y=True) == ITERATIONS
    assert run("y || " + source, x=[0] * 10_001, y=True) is True


def test_a_spent_budget_ends_the_evaluation_at_once():
    class Counting(dict):
        read = 0

        def __missing__(self, key):
            Counting.read += 1
            return False

    terms = " || ".join(["x.all(a, true)"] + ["y.n"] * 50)
    assert run(terms, x=[0] * 10_001, y=Counting()) == ITERATIONS
    assert Counting.read == 0


def test_each_evaluation_has_budgets_of_its_own():
    program = expr.compile("w.exists(p, s.contains(p))", X)
    assert [program({"s": "a" * 400_000, "w": ["b"] * 150}) for _ in range(3)] == [False, False, False]
