"""A Test document that is written loads back as it was, whatever its texts hold."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.config import documents as kinds
from sidecar.config.load import load
from sidecar.workbench import cases, written

PLATFORM = """\
apiVersion: sidecar.dev/v1
kind: Identity
metadata: {name: i}
spec: {methods: [{anonymous: {}}], claims: {mfa: {type: bool}}}
"""


def read(text):
    loaded = load([("", [("p.yaml", PLATFORM.encode()), ("t.yaml", text.encode())])], {}, 0.0)
    assert [item.message for item in loaded.diagnostics if item.severity == "error"] == [], text
    (test,) = [each for each in loaded.layers[0].documents if each.kind == "Test"]
    return test


WORDS = st.text(max_size=12).filter(lambda words: not any(0xD800 <= ord(character) < 0xE000 for character in words))
SCALARS = st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.floats(-1e6, 1e6).map(lambda value: round(value, 6)) | WORDS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS.filter(bool), inner, max_size=3), max_leaves=8)
FREE = st.dictionaries(WORDS.filter(bool), VALUES, max_size=4)
TOLD = WORDS.filter(lambda words: "${" not in words and words.strip())


@st.composite
def specs(draw):
    calls = {
        "told": kinds.TestCall(operation="chat", target=draw(TOLD), params=draw(FREE), stream=draw(st.booleans()), tokens=draw(st.integers(0, 9)), source=kinds.TestSource(ip="10.0.0.1", loopback=draw(st.booleans()))),
        "bodied": kinds.TestCall(dialect="openai_chat", body=draw(FREE)),
        "tool": kinds.TestCall(operation="tool_call", target=draw(TOLD), model="gpt-4o", args=draw(FREE), tool=kinds.TestTool(kind="mcp")),
        "reply": kinds.TestCall(operation="chat", target="gpt-4o", reply=kinds.TestReply(finish=draw(TOLD), tool_calls=("a", draw(TOLD)))),
    }  # fmt: skip
    row = kinds.Expectation(
        principal=("dev",),
        call=tuple(draw(st.sets(st.sampled_from(sorted(calls)), min_size=1))),
        effect="deny",
        obligations=draw(FREE),
        without=("params.n",),
        refusal=kinds.TestRefusal(status=403, message=draw(TOLD)),
        facts=kinds.TestFacts(owners={draw(TOLD): "foreign"}),
    )
    who = kinds.TestPrincipal(id="user:dev", team=draw(TOLD), groups=("eng", draw(TOLD)), claims={"mfa": draw(st.booleans())})
    now = draw(st.none() | st.integers(0, 4_000_000_000).map(float))
    return kinds.Test(now=now, principals={"dev": who, draw(TOLD): who}, calls=calls, expect=(row, row))


@settings(deadline=None, max_examples=150)
@given(spec=specs())
def test_what_is_written_loads_back_as_it_was(spec):
    assert plain(read(written.document("made", spec)).spec) == plain(spec)


def plain(value):
    """Lists for tuples and floats for whole ones: a free value may come as either."""
    return written.flow(value)


@pytest.mark.parametrize("words", ["", "no", "Null", "12:30:45", "1e3", "0x1", "-", "*", "a: b", "a #b", "'", '"', "\\", "\n", "\u202e", "\U0001f600", "{a}", "~", "=", "1_000", "user:u1"])  # fmt: skip
def test_texts_that_yaml_reads_otherwise_are_quoted(words):
    spec = kinds.Test(principals={"a": kinds.TestPrincipal(id="user:a")}, calls={"c": kinds.TestCall(operation="chat", params={"x": words})}, expect=())
    (call,) = read(written.document("t", spec).replace("  expect:\n", "  expect: []\n")).spec.calls.values()
    assert call.params == {"x": words}


def test_a_row_is_a_line_as_people_write_it():
    row = kinds.Expectation(principal=("dev",), call=("a", "b"), effect="deny", by=("p/x",), without=("params.n",))
    spec = kinds.Test(now=1_767_225_600.0, principals={"dev": kinds.TestPrincipal(id="key:ci", team="core")}, calls={"a": kinds.TestCall(operation="chat", target="gpt-4o")}, expect=(row,))  # fmt: skip
    assert written.document("made", spec).splitlines() == [
        "apiVersion: sidecar.dev/v1",
        "kind: Test",
        "metadata: {name: made}",
        "spec:",
        "  now: 2026-01-01T00:00:00Z",
        "  principals:",
        '    dev: {id: "key:ci", team: core}',
        "  calls:",
        "    a: {operation: chat, target: gpt-4o}",
        "  expect:",
        "    - {principal: dev, call: [a, b], effect: deny, by: p/x, without: params.n}",
    ]


def test_a_written_test_decides_as_the_one_it_was_made_from(bench):
    rows = [{"principal": "dev", "call": "c", "effect": "allow", "by": "open/all"}]
    made = bench(bench.ALLOW, rows=rows, calls={"c": {"operation": "chat", "target": "gpt-4o", "params": {"n": 1, "temperature": 0.5}}})
    again = read(written.document("t", made.snapshot.tests[0].spec).replace("by: open/all, ", "").replace(", by: open/all", ""))
    (case,) = cases.cases_of(again)
    assert cases.result(made.snapshot, case).passed
