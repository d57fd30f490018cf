import dataclasses

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.call import Call, Tool
from sidecar.decision import Decision
from sidecar.errors import BadRecord
from sidecar.principal import Principal
from sidecar.telemetry import record
from sidecar.telemetry.chain import Chain

SNAPSHOT = "ab" * 32


def test_a_line_says_who_asked_what_and_which_rules_decided(decision):
    read = record.read(record.Writer().line(decision(trace=("t" * 32, "s" * 16, "01")), snapshot=SNAPSHOT, request="req-1"))
    assert (read.id, read.effect, read.by, read.now) == ("d_0199aabbccddeeff00112233445566aa", "allow", ("eng/developer",), 1_790_000_000.25)
    assert (read.snapshot, read.request, read.trace, read.mode) == (SNAPSHOT, "req-1", "t" * 32, "enforce")
    assert read.principal == {"id": "key:ci-bot", "kind": "key", "team": "build", "groups": ["eng"], "actors": ["user:u1"]}
    assert read.call == {
        "protocol": "llm",
        "operation": "chat",
        "dialect": "openai_chat",
        "target": "gpt-4o",
        "members": ["openai/gpt-4o", "azure/gpt-4o"],
        "stream": False,
        "tokens": 250,
        "bytes": 1024,
        "source": "10.0.0.7",
    }
    assert read.reasons[0] == {"rule": "eng/developer", "kind": "Roles", "effect": "allow", "result": "true", "where": "policies/roles.yaml:7", "layer": "base"}
    assert read.reasons[1]["lifted"] == "ir-1"
    assert [reason["rule"] for reason in read.would] == ["trial/r"]
    assert read.obligations == {"route": {"region": "eu"}, "cap": {"max_tokens": 100.0}, "set": ["user"], "label": ["eu"]}
    assert read.timings == {"identify": 2_000, "authorize": 900, "apply_policies": 4_000}


def test_a_refusal_is_told_by_kind_code_and_rule(decision, refusal):
    read = record.read(record.Writer().line(decision(effect="deny", refusal=refusal, principal=False, audited=True)))
    assert read.refusal == {"kind": "policy", "code": "policy_denied", "status": 403, "rule": "p/r"}
    assert (read.principal, read.audited) == (None, True)


def test_a_proposed_tool_call_is_told_by_its_target(decision):
    assert record.read(record.Writer().line(decision(tool=True))).call["tool"] == "fs/read"


def test_no_content_and_no_credential_is_in_a_line(decision, refusal):
    assert b'SECRET"' not in record.Writer().line(decision(tool=True, refusal=refusal))


def test_what_is_read_writes_the_same_bytes_again(decision, refusal):
    for line in (record.Writer().line(decision(), snapshot=SNAPSHOT), record.Writer().line(decision(refusal=refusal, principal=False))):
        assert record.write(record.read(line)) == line


@given(
    st.builds(
        Decision,
        id=st.text(min_size=1),
        call=st.builds(
            Call, id=st.just("d"), protocol=st.just("llm"), operation=st.text(), dialect=st.text(), target=st.text(max_size=300), tokens=st.integers(0, 2**53)
        ),
        principal=st.none() | st.builds(Principal.of, st.text(min_size=1), team=st.text(), groups=st.tuples(st.text())),
        effect=st.sampled_from(["allow", "deny"]),
        by=st.tuples(st.text()),
        facts=st.dictionaries(st.text(), st.integers() | st.text() | st.floats() | st.booleans(), max_size=3),
        now=st.floats(0, 4e9),
        audited=st.booleans(),
    )
)
def test_every_decision_makes_one_line_that_reads_and_writes_equal(decision):
    line = record.Writer().line(decision)
    assert b"\n" not in line
    assert record.write(record.read(line)) == line


def test_pieces_that_are_kept_are_those_of_the_value_itself(decision):
    writer = record.Writer()
    first, second = decision(), decision(principal=False)
    assert writer.line(first) == writer.line(first) == record.Writer().line(first)
    assert writer.line(second) == record.Writer().line(second)


def test_the_kept_pieces_are_bounded():
    memo = record.Memo(lambda value: value)
    values = [[number] for number in range(record.KEPT + 10)]
    assert [bytes(orjson.dumps(memo.of(value))) for value in values] == [orjson.dumps(value) for value in values]
    assert len(memo._alive) == len(memo._pieces) <= record.KEPT


def test_a_name_the_caller_chose_is_cut_short(decision):
    made = Decision(id="d", call=Call(id="d", protocol="llm", operation="chat", dialect="x", target="m" * 100_000), principal=None, effect="deny")
    assert len(record.Writer().line(made)) < 2_000


@pytest.mark.parametrize("value", [2**70, -(2**70), "\ud800"])
def test_what_json_cannot_hold_is_written_as_text_and_not_lost(decision, value):
    assert record.read(record.Writer().line(decision(facts={"odd": value}))).facts["odd"]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"1",
        b"{}",
        b'{"v":2,"type":"decision","id":"d","now":1,"effect":"allow"}',
        b'{"v":"1"}',
        b'{"v":1,"type":"checkpoint"}',
        b'{"v":1,"type":"decision"}',
    ],
)
def test_another_version_or_no_record_is_refused(line):
    with pytest.raises(BadRecord):
        record.read(line)


@given(st.binary(max_size=200))
def test_garbage_raises_only_the_one_error(data):
    with pytest.raises(BadRecord):
        record.read(data)


# ---------------------------------------------------------------- what inputs add


def test_without_inputs_and_phase_a_line_says_nothing_of_them(decision):
    line = record.Writer().line(decision())
    assert b"inputs" not in line
    assert b"phase" not in line
    assert (record.read(line).inputs, record.read(line).phase) == (None, "")


@pytest.mark.parametrize("phase", ["", "response", "head"])
@pytest.mark.parametrize("inputs", [None, {"values": {}, "absent": [], "left": []}, {"values": {"call.params.n": 1.0}, "absent": ["a"], "left": ["b"]}, {"sealed": "x", "key": "k"}])  # fmt: skip
def test_a_line_with_inputs_reads_and_writes_the_same_bytes(decision, phase, inputs):
    line = record.Writer().line(decision(), snapshot=SNAPSHOT, phase=phase, inputs=inputs)
    assert record.write(record.read(line)) == line
    assert (record.read(line).phase, record.read(line).inputs) == (phase, inputs)


def test_a_line_with_inputs_is_linked_and_written_again_whole(decision):
    linked = Chain("c1").link(record.Writer().line(decision(), phase="response", inputs={"values": {}, "absent": [], "left": []}))
    assert record.write(record.read(linked)) + b"\n" == linked


def test_a_line_of_the_release_before_reads_and_writes_the_same_bytes(decision):
    value = orjson.loads(record.Writer().line(decision(tool=True)))
    del value["call"]["asked"], value["call"]["server"]
    old = orjson.dumps(value)
    assert record.write(record.read(old)) == old


def test_counts_and_names_that_replay_needs_are_there_where_they_say_something(decision):
    made = decision()
    call = dataclasses.replace(made.call, max_output=50, choices=2, refs=(("response", "SECRET"),), tools=(Tool("web_search", args={"q": "SECRET"}),))
    told = record.read(record.Writer().line(dataclasses.replace(made, call=call))).call
    assert (told["max_output"], told["choices"], told["refs"], told["tools"]) == (50, 2, ["response"], ["web_search"])
    assert not {"max_output", "choices", "refs", "tools", "asked", "server"} & set(record.read(record.Writer().line(made)).call)
    assert (record.read(record.Writer().line(decision(tool=True))).call["server"], record.read(record.Writer().line(decision(tool=True))).call["asked"]) == (
        "fs",
        "",
    )


@pytest.mark.parametrize("field", ["by", "reasons", "would"])
def test_a_list_that_is_none_is_refused(decision, field):
    with pytest.raises(BadRecord):
        record.read(orjson.dumps({**orjson.loads(record.Writer().line(decision())), field: None}))
