"""`Document.at`: from a pointer, and a place in a text, back to the file."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config.load import load

HEAD = "apiVersion: sidecar.dev/v1\nkind: Policy\nmetadata: {name: p}\nspec:\n  rules:\n    - name: r\n      effect: deny\n"
NOW = 1_793_527_200.0


def policy(rest):
    text = HEAD + rest
    loaded = load([("", [("p.yaml", text.encode())])], {}, NOW)
    assert [item for item in loaded.diagnostics if item.severity == "error"] == []
    return loaded.layers[0].documents[0], text.splitlines()


def when(written):
    return policy(f"      when: {written}\n")


def pointed(document, lines, offset):
    """The character of the file that stands for the one at `offset` of the condition."""
    value = document.spec.rules[0].when
    line = value.count("\n", 0, offset) + 1
    column = offset - (value.rfind("\n", 0, offset) + 1) + 1
    place = document.at("/spec/rules/0/when", line, column)
    return lines[place.line - 1][place.column - 1]


@pytest.mark.parametrize(
    "written",
    [
        "call.stream && call.tokens > 5",
        "'call.target == ''gpt'' && call.stream'",
        '"call.target == \\"gpt\\" && call.stream"',
        '"call.target\\x20== \\u0027x\\u0027 && call.stream"',
        "call.stream &&\n        call.tokens > 5 &&\n\n        call.target == 'x'",
        "'call.stream &&\n        call.tokens > 5'",
        '"call.stream &&\n        call.tok\\\n        ens > 5"',
        "|\n        call.stream &&\n          call.tokens > 5",
        "|\n\n        call.stream &&\n\n        call.tokens > 5\n",
        "|2-\n          call.stream &&\n        call.tokens > 5",
        ">\n        call.stream &&\n        call.tokens > 5\n\n        && call.target == 'x'\n",
        ">-\n        call.stream ||\n          call.tokens > 5\n        || true",
    ],
)
def test_every_character_of_a_condition_is_found_again(written):
    document, lines = when(written)
    value = document.spec.rules[0].when
    for offset, character in enumerate(value):
        if not character.isspace() and character not in "\"'":
            assert pointed(document, lines, offset) in (character, "\\"), (value, offset)


@given(st.text(alphabet="ab.&|'\"\\ ()>é", min_size=1, max_size=30).filter(lambda text: text.strip()), st.sampled_from(["single", "double", "block"]))
def test_any_text_is_found_again_in_any_quotes(text, style):
    text = text.strip()
    written = {"single": "'" + text.replace("'", "''") + "'", "double": json.dumps(text, ensure_ascii=False), "block": "|-\n        " + text}[style]
    document, lines = when(written)
    assert document.spec.rules[0].when == text
    for offset, character in enumerate(text):
        if character not in " '\"\\":
            assert pointed(document, lines, offset) == character


def test_a_pointer_to_what_is_not_written_gives_its_nearest_ancestor():
    document, _ = policy("")
    rule = document.at("/spec/rules/0")
    assert (rule.line, rule.column) == (6, 7)
    assert document.at("/spec/rules/0/when", 1, 5) == rule
    assert document.at("/spec/nothing/at/all").line == 5
    assert document.at("").line == 1


def test_one_value_that_stands_for_a_list_answers_to_zero():
    document, lines = policy("  match: {target: gpt-4o}\n")
    place = document.at("/spec/match/target/0")
    assert lines[place.line - 1][place.column - 1 :].startswith("gpt-4o")


def test_a_complaint_has_the_line_and_both_ends():
    document, lines = when("'call.streem && true'")
    item = document.complaint("error", "unknown", "no field `streem`", "/spec/rules/0/when", line=1, column=6, end_column=12)
    assert item.source_line == lines[7]
    assert item.source_line[item.position.column - 1 : item.end_column - 1] == "streem"


def test_a_complaint_of_a_whole_value_covers_it():
    document, _ = when("call.stream")
    item = document.complaint("error", "x", "y", "/spec/rules/0/when")
    assert item.source_line[item.position.column - 1 : item.end_column - 1] == "call.stream"
