"""The index finds what a linear scan over all rules finds, no more and no less."""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.compiler.index import ANY, EXCLUDED, Index, Matcher
from sidecar.compiler.patterns import compile_pattern

WORDS = st.text("ab/*", min_size=1, max_size=5).filter(lambda text: "***" not in text)
NAMES = st.text("ab/", max_size=5)
OPERATIONS = ("chat", "models", *EXCLUDED)


@dataclass(frozen=True)
class Rule:
    match: Matcher
    order: tuple[str, ...]


@st.composite
def matchers(draw):
    return Matcher(
        frozenset(draw(st.lists(st.sampled_from((*OPERATIONS, ANY)), min_size=1, max_size=3))),
        tuple(compile_pattern(text, fold=True) for text in draw(st.lists(WORDS, max_size=3))),
        tuple(compile_pattern(text, fold=False) for text in draw(st.lists(WORDS, max_size=3))),
    )


def slowly(rules, operation, names, subjects):
    """The definition: AND over fields, OR in a list; empty is any; `*` never means what is excluded."""
    return [
        rule
        for rule in rules
        if (operation in rule.match.operations or (ANY in rule.match.operations and operation not in EXCLUDED))
        and (not rule.match.targets or any(pattern.test(name) for pattern in rule.match.targets for name in names))
        and (not rule.match.subjects or any(pattern.test(subject) for pattern in rule.match.subjects for subject in subjects))
    ]


@settings(max_examples=300, deadline=None)
@given(st.lists(matchers(), max_size=12), st.sampled_from(OPERATIONS), st.lists(NAMES, min_size=1, max_size=3), st.lists(NAMES, max_size=3))
def test_the_index_agrees_with_a_linear_scan(made, operation, names, subjects):
    rules = [Rule(match, (f"{number:03}",)) for number, match in enumerate(made)]
    assert Index(rules).find(operation, tuple(names), subjects) == slowly(rules, operation, names, subjects)


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(6)))
def test_what_is_found_comes_in_the_order_of_the_rules(numbers):
    rules = [Rule(Matcher(frozenset({"chat"})), (f"{number}",)) for number in numbers]
    assert [rule.order for rule in Index(rules).find("chat", ("x",), ())] == [(f"{number}",) for number in range(6)]


def test_rules_that_do_not_match_are_not_looked_at():
    looked = []

    @dataclass(frozen=True)
    class Watched:
        number: int
        order: tuple[str, ...]

        @property
        def match(self):
            looked.append(self.number)
            return matches[self.number]

    matches = [
        Matcher(frozenset({"chat"}), (compile_pattern(f"model-{n}*" if n % 3 else f"*-{n}-tail", fold=True),), (compile_pattern(f"group:g{n}", fold=False),))
        for n in range(300)
    ]
    index = Index([Watched(number, (f"{number:04}",)) for number in range(300)])
    looked.clear()
    found = index.find("chat", ("model-7", "up/model-7"), ("group:g7", "user:x"))
    assert [rule.number for rule in found] == [7]
    assert set(looked) == {7}
