"""Exact, `*` within a segment, `**` across."""

import pytest

from sidecar.compiler.patterns import compile_pattern


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("gpt-4o", ["gpt-4o"], ["gpt-4o-mini", "x/gpt-4o", ""]),
        ("GPT-4*", ["gpt-4", "gpt-4o"], ["gpt-5", "gpt-4/x"]),
        ("*", ["gpt-4o", ""], ["openai/gpt-4o"]),
        ("**", ["gpt-4o", "a/b/c", ""], []),
        ("openai/*", ["openai/gpt-4o"], ["openai/a/b", "gpt-4o", "xopenai/y"]),
        ("openai/**", ["openai/a/b", "openai/a"], ["openai"]),
        ("*/gpt-4o", ["azure/gpt-4o"], ["gpt-4o", "a/b/gpt-4o"]),
        ("**/gpt-4o", ["azure/gpt-4o", "a/b/gpt-4o"], ["gpt-4o"]),
        ("a*c*e", ["ace", "abcde"], ["a/ce", "acf"]),
        ("a.b+c", ["a.b+c"], ["axb+c", "a.bbc"]),
        ("a**z", ["az", "a/y/z"], ["a/y"]),
    ],
)
def test_a_pattern_matches_as_the_documents_say(pattern, yes, no):
    test = compile_pattern(pattern, fold=True).test
    assert [name for name in yes if not test(name)] == []
    assert [name for name in no if test(name)] == []


def test_subjects_keep_their_case():
    assert not compile_pattern("group:Eng", fold=False).test("group:eng")


@pytest.mark.parametrize("bad", ["", " ", " a", "a***b"])
def test_what_is_no_pattern_is_an_error(bad):
    with pytest.raises(ValueError):
        compile_pattern(bad, fold=True)


def test_a_long_name_and_many_stars_take_linear_time():
    assert not compile_pattern("*a" * 30 + "b", fold=True).test("a" * 20_000)
