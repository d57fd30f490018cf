"""Patterns: the fast ways answer as RE2 does."""

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from sidecar.expr.patterns import _simple, compile_pattern

PIECES = st.sampled_from(["a", "b", "ab", r"\.", ".", r"\$", "^", "$", ".*", "|", "(", ")", "(?:", "-", r"\d", "[ab]", "", r"\\", "\n"])
TEXTS = st.text(alphabet="ab.$-\n\\1", max_size=6)


@given(st.lists(PIECES, max_size=6).map("".join), TEXTS)
def test_every_pattern_answers_as_re2_does(pattern, text):
    options = re2.Options()
    options.log_errors = False
    try:
        wanted = re2.compile(pattern, options).search(text) is not None
    except re2.error:
        with pytest.raises(ValueError, match="bad pattern"):
            compile_pattern(pattern)
    else:
        assert compile_pattern(pattern)(text) is wanted


@pytest.mark.parametrize("pattern", ["^gpt-4", "^gpt-4.*", "mini$", "^a$", "a", "^(a|b)$", "(?:a|b)", r"^gpt-4\.1", "^(gpt|o1)", ""])
def test_simple_patterns_need_no_engine(pattern):
    assert _simple(pattern) is not None


@pytest.mark.parametrize("pattern", ["a+", "^a|b$", "[ab]", r"\d", "(?i)a", "a.b", "^a.*$", "(a)(b)", r"a\b"])
def test_other_patterns_go_to_the_engine(pattern):
    assert _simple(pattern) is None


def test_a_pattern_takes_linear_time():
    assert compile_pattern("^(a+)+$")("a" * 50_000 + "b") is False
