"""What `config.source` makes of bytes, beside the cases of tests/diagnostics."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config import source
from sidecar.config.load import load
from sidecar.config.source import MAX_ALIASED, MAX_BYTES, MAX_DEPTH, ListNode, MapNode, ScalarNode, read


def root(text):
    found = read("f.yaml", text.encode())
    assert found.diagnostics == []
    (only,) = found.roots
    return only


def codes(data):
    found = read("f.yaml", data if isinstance(data, bytes) else data.encode())
    return [item.code for item in found.diagnostics]


@pytest.mark.parametrize("text", ["no", "yes", "on", "017", "12:30:45", "2026-01-01", "1_000", "0x1f", ".inf", "1e3", "~", "=", "<<"])
def test_scalars_keep_their_text(text):
    node = root(f"- {text}\n").items[0]
    assert (node.text, node.style) == (text, "")


def test_quoted_is_told_from_plain():
    items = root("[a, 'a', \"a\"]\n").items
    assert [item.style for item in items] == ["", "'", '"']


def test_every_node_knows_its_place():
    found = root("a:\n  b: [x, 'yy']\n")
    inner = found.entries["a"][1]
    key, value = inner.entries["b"]
    assert (key.line, key.column) == (2, 3)
    assert (value.line, value.column) == (2, 6)
    assert [(item.line, item.column, item.end_column) for item in value.items] == [(2, 7, 8), (2, 10, 14)]


def test_several_documents_and_comments_alone_are_read():
    assert len(read("f", b"# nothing\n---\na: 1\n---\n---\nb: 2\n").roots) == 2
    assert read("f", b"# nothing\n").roots == []


def test_a_byte_order_mark_is_no_part_of_the_first_key():
    assert "kind" in root("\ufeffkind: Policy\n").entries


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_lines_count_the_same_with_every_line_ending(ending):
    assert root(f"a: 1{ending}b: 2{ending}").entries["b"][0].line == 2


def test_after_a_broken_document_the_next_one_is_read_at_its_own_lines():
    found = read("f", b"a: [\n---\nb: 1\n---\nc: {\n---\nd: 1\n")
    assert [next(iter(node.entries)) for node in found.roots] == ["b", "d"]
    assert [node.line for node in found.roots] == [3, 7]
    assert [item.position.line for item in found.diagnostics] == [2, 6]
    assert found.lost


def test_both_places_of_a_duplicate_key_are_told():
    (only,) = read("f", b"a: 1\nb: 2\na: 3\n").diagnostics
    assert only.position.line == 3
    assert "line 1, column 1" in only.message


def test_a_key_quoted_in_two_ways_is_still_twice():
    assert codes("a: 1\n'a': 2\n") == ["duplicate-key"]


def test_nesting_is_bounded_and_what_is_within_is_read():
    deepest = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert codes(deepest) == []
    assert codes(f"[{deepest}]") == ["depth"]
    assert codes("[" * 100_000) == ["depth"]


def test_an_alias_is_what_it_stands_for():
    items = root("- &a {x: 1}\n- *a\n").items
    assert items[0] is items[1]


def test_aliases_are_expanded_within_a_budget():
    ten = ", ".join(["*a"] * 10)
    assert codes(f"- &a [1, 2, 3]\n- [{ten}]\n") == []
    thousand = ", ".join(["1"] * 1000)
    assert codes(f"- &a [{thousand}]\n- [{ten}]\n") == ["alias"]
    assert MAX_ALIASED == 10_000


def test_anchors_do_not_reach_into_the_next_document():
    assert codes("a: &x 1\n---\nb: *x\n") == ["alias"]


def test_a_file_that_is_too_large_is_refused_unread():
    assert codes(b"a" * (MAX_BYTES + 1)) == ["too-large"]


def test_the_bad_byte_is_pointed_at():
    (only,) = read("f", b"a: 1\nb: \xff\n").diagnostics
    assert (only.position.line, only.position.column) == (2, 4)


def test_no_diagnostic_repeats_a_secret():
    secret = "sk-ant-" + "Zz9" * 10
    document = f"apiVersion: sidecar.dev/v1\nkind: Settings\nmetadata: {{name: x}}\nspec:\n  mode: {secret} # {secret}\n  {secret}: 1\n  core: 'x\n"
    for text in (document, document.replace("'", "")):
        found = load([("", [("f", text.encode())])], {}, 0.0).diagnostics
        assert [item.code for item in found].count("secret") == 3
        assert len(found) > 3
        assert all("Zz9" not in repr(item) for item in found)


@given(st.binary(max_size=300))
def test_no_bytes_raise(data):
    read("f", data)


@given(st.text(alphabet="ab:-[]{}#&*!|>'\"%@`, \n\t?.~<=\\", max_size=120))
def test_no_yaml_raises_and_what_is_refused_is_told(text):
    found = read("f", text.encode())
    assert found.diagnostics or not found.lost
    for node in found.roots:
        assert isinstance(node, ScalarNode | ListNode | MapNode)


def test_the_order_of_errors_is_that_of_the_file():
    found = read("f", b"a: !x 1\nb: !y 2\nc: *z\n")
    assert [item.position.line for item in found.diagnostics] == [1, 2, 3]
    assert not found.lost
    assert found.roots[0].entries["a"][1].style == source.BAD
