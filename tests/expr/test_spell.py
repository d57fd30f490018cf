"""What is spelt parses to the same tree, whatever parentheses there were."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from sidecar.expr import tree
from sidecar.expr.parser import parse
from sidecar.expr.spell import spell, within

ROOT = Path(__file__).parents[2]
SOURCES = [
    "a", "-1", "1u + 2u", "-x", "!a", "!!a", "- -x", "!(a && b)", "(a || b) && c", "a || b && c", "((a))", "(a ? b : c) ? d : e", "a ? b : c ? d : e",
    "a - (b - c)", "(a - b) - c", "a * (b + c) == d", "(a == b) == c", "a in [1, 2, ?b]", "!(a in b)", "x.y.?z.orValue(1) > 2", "has(a.b) && a.b[0] == c[?'d'].orValue(1)",
    "{'a': 1, ?'b': c}", "a.`b c` == 1", "x.exists(i, i > 1 || i < 0)", "x.map(i, i > 1, i + 1)", "cel.bind(t, a + b, t * t)", "a.?b.optMap(v, v + 1).orValue(2)",
    "f(a, g(b))", "a.f(b).g()", r"a == 'it\'s' && b == r'\d'", "(-1).f()", "(a + b).f()", "(a || b).f()", '"x" + "y"', "path.clean(a.?p.orValue('/'))", "a.all(k, v, v in [k])",
    "(a in b) ? 1 : 2", ".a.b", "a == (b ? c : d)",
]  # fmt: skip


def same(one, other):
    """Equal but for places."""
    if isinstance(one, tree.Node):
        fields = [field.name for field in dataclasses.fields(one) if field.name not in {"start", "end"}]
        return type(one) is type(other) and all(same(getattr(one, name), getattr(other, name)) for name in fields)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


def conditions():
    for file in sorted((ROOT / "policies").rglob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            yield from found(document)


def found(value):
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "when":
                yield str(item)
            else:
                yield from found(item)
    elif isinstance(value, list):
        for item in value:
            yield from found(item)


@pytest.mark.parametrize("source", dict.fromkeys([*SOURCES, *conditions()]))
def test_what_is_spelt_is_the_same_expression(source):
    root = parse(source)
    assert same(root, parse(spell(root, source, {})))


@pytest.mark.parametrize(
    ("source", "place", "text", "want"),
    [
        ("(a || b) && c", 0, "x || y", "(x || y) && c"),
        ("(a || b) && c", 1, "true", "(a || b) && true"),
        ("!a", 0, "b == c", "!(b == c)"),
        ("a + 1 > 2", 1, "-3", "a + 1 > (-3)"),
    ],
)
def test_a_change_stands_in_parentheses_where_it_must(source, place, text, want):
    root = parse(source)
    assert spell(root, source, {within(root)[place]: text}) == want
