"""Patterns: the fast ways answer as RE2 does."""

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.expr.patterns import _plan, _simple, compile_pattern

PIECES = st.sampled_from(
    [
        "a", "b", "ab", r"\.", ".", r"\$", "^", "$", ".*", "|", "(", ")", "(?:", "-", r"\d", "[ab]", "", r"\\", "\n", "(a|b)", "(a|ab|)", r"(?:a\||b)", "[ab]+", "[^ab]*",
        r"\w+", ".+", r"[a-b\-.]*", r"[\d$]+", "[^-]+", "[]a]", "[^]|]", "a?", "b+", "(?i)", "(?s)", "(?m)", "(?i:a)", r"\Qa|\E", r"\|", "[|]", "{2}", "[[:alpha:]]", "é", "*",
    ]
)  # fmt: skip
TEXTS = st.text(alphabet="abAB.$-\n\\1|é_", max_size=8)


def by_engine(pattern, text):
    """What RE2 says, by its plain interface."""
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options).search(text) is not None
    except re2.error:
        return None


@settings(max_examples=400)
@given(st.lists(PIECES, max_size=6).map("".join), st.lists(TEXTS, min_size=1, max_size=6))
def test_every_pattern_answers_as_re2_does(pattern, texts):
    if by_engine(pattern, "") is None:
        with pytest.raises(ValueError, match="bad pattern"):
            compile_pattern(pattern)
        return
    test = compile_pattern(pattern)
    for text in texts:
        assert test(text) is by_engine(pattern, text), (pattern, text)


PREFIXES = st.sampled_from(["^", "^a", "^(a|b)", "^(?:ab|a|)", "^a(b|-)", r"^a\.", "^(a|ab)(b|)", "", "a", "(a|b)"])
RUNS = st.sampled_from(["[ab]", "[^a]", "[^ab]", r"\w", r"\d", ".", "[a-b-]", r"[\w.]", r"[^\n]", "[b-]", r"[\]a]"])


@settings(max_examples=400)
@given(PREFIXES, RUNS, st.sampled_from(["+", "*", "?", ""]), st.sampled_from(["", "$", "b$", ".*"]), st.lists(TEXTS, min_size=1, max_size=8))
def test_a_prefix_with_a_run_answers_as_re2_does(prefix, run, times, end, texts):
    pattern = prefix + run + times + end
    test = compile_pattern(pattern)
    for text in texts:
        assert test(text) is by_engine(pattern, text), (pattern, text)


@pytest.mark.parametrize(
    "pattern",
    [
        "^gpt-4",
        "^gpt-4.*",
        "mini$",
        "^a$",
        "a",
        "^(a|b)$",
        "(?:a|b)",
        r"^gpt-4\.1",
        "^(gpt|o1)",
        "",
        "^(read|list)_",
        "^(read|list)_[a-z]+$",
        r"^fs/[^/]*$",
        "^a.*$",
        "(a)(b)",
        r"^v\d+",
        "^a(b|c)d",
    ],
)
def test_simple_patterns_need_no_engine(pattern):
    assert _simple(_plan(pattern)) is not None


@pytest.mark.parametrize("pattern", ["a+", "^a|b$", "[ab]", r"\d", "(?i)a", "a.b", "^a.*b$", "(a)+(b)", r"a\b", "^a[^bcdef]*$", "^[[:alpha:]]+$"])
def test_other_patterns_go_to_the_engine(pattern):
    plan = _plan(pattern)
    assert plan is None or _simple(plan) is None


@pytest.mark.parametrize("pattern", ["^a|b", "(a)|b", r"a\Q|\E", "a[[:alpha:]|", "a|", "^a(?m)*b", "^(?m)*a"])
def test_a_choice_over_the_whole_leaves_nothing_sure(pattern):
    assert _plan(pattern) is None


def test_a_pattern_takes_linear_time():
    assert compile_pattern("^(a+)+$")("a" * 50_000 + "b") is False
