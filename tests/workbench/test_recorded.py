"""What a record says is there is there, what it says is absent is absent, and everything else is not known."""

import functools

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar import expr
from sidecar.errors import BadRecord
from sidecar.expr import UNKNOWN, Declarations, map_of
from sidecar.expr.types import DYN, STRING
from sidecar.telemetry import record, sealing
from sidecar.workbench.recorded import Kept, Reader
from sidecar.workbench.replay import Decider

TOLD = {
    "protocol": "llm", "operation": "chat", "dialect": "openai_chat", "target": "gpt-4o", "members": ["openai/gpt-4o"], "stream": False,
    "tokens": 5, "bytes": 90, "source": "10.0.0.7",
}  # fmt: skip
WHO = {"id": "key:dev", "kind": "key", "team": "core", "groups": ["eng"], "actors": []}


def line(**changes):
    made = {"v": 1, "type": "decision", "id": "d_1", "now": 5.0, "effect": "allow", "by": ["p/r"], "principal": WHO, "call": TOLD, "facts": {}, **changes}
    return record.read(orjson.dumps(made))


def read(**changes):
    return Reader().read(line(**changes))


def kept(values=None, absent=()):
    return Kept(values or {}, frozenset(absent))


def test_names_and_counts_come_back_and_all_else_is_not_known():
    made = read()
    assert (made.call.target, made.call.tokens, made.call.source.ip, made.family, made.phase) == ("gpt-4o", 5, "10.0.0.7", "openai", "request")
    assert (made.principal.id, made.principal.subjects) == ("key:dev", {"key:dev", "group:eng", "team:core"})
    assert {made.call.id, made.call.source.loopback, made.call.source.pod, made.principal.roles} == {UNKNOWN}
    assert made.call.params["anything"] is UNKNOWN
    assert made.principal.claims.get("mfa", False) is UNKNOWN
    assert not made.settled


def test_a_value_that_was_kept_is_there_and_one_that_was_absent_is_not():
    params = read(inputs={"values": {"call.params.n": 3, "call.params.a.b": 1}, "absent": ["call.params.x", "call.params.a.c"], "left": []}).call.params
    assert params["n"] == 3
    assert params.get("x", "none") == "none"
    with pytest.raises(KeyError):
        params["x"]
    assert (params["a"]["b"], params["a"].get("c"), params["a"]["d"], params["else"]) == (1, None, UNKNOWN, UNKNOWN)


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("m.n == 3", True), ("has(m.x)", False), ("has(m.n)", True), ("has(m.y)", UNKNOWN), ("m.y == 1", UNKNOWN), ('"n" in m', True), ('"x" in m', False),
        ('"y" in m', UNKNOWN), ("m.size() == 1", UNKNOWN), ("m == {}", UNKNOWN), ('m.exists(k, k == "n")', UNKNOWN), ("m.?x.orValue(7) == 7", True),
        ("m.?y.orValue(7) == 7", UNKNOWN), ("m.y == 1 || m.n == 3", True), ("m.y == 1 && m.n == 4", False), ('m["a.b"] == 1', UNKNOWN), ("m.a.b == 1", True),
    ],
)  # fmt: skip
def test_conditions_see_the_third_value_in_a_mapping_of_which_parts_were_kept(source, result):
    held = kept({"call.params.n": 3, "call.params.a.b": 1}, ["call.params.x"]).mapping("call.params")
    assert expr.compile(source, Declarations({"m": map_of(STRING, DYN)}))({"m": held}) is result


def test_what_was_kept_whole_is_a_plain_mapping():
    params = read(inputs={"values": {"call.params": {"n": 3}}, "absent": [], "left": []}).call.params
    assert params == {"n": 3}
    assert "x" not in params


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("call.params.a", True), ("call.params.a.b.c", True), ("call.params", False), ("call", False), ("call.params.b", False), ("call.params.gone", True),
        ("call.params.gone.below", True),
    ],
)  # fmt: skip
def test_a_path_is_known_where_it_or_what_is_above_it_was_kept(path, known):
    assert kept({"call.params.a": 1}, ["call.params.gone"]).knows(path) is known


def test_arguments_that_were_no_json_are_known_to_be_unreadable_and_those_not_kept_are_not_known():
    told = {**TOLD, "operation": "tool_call", "target": "rm", "tool": "rm", "asked": "gpt-4o"}
    unreadable = read(call=told, inputs={"values": {"call.args": None}, "absent": [], "left": []})
    assert (unreadable.phase, unreadable.tool.args, unreadable.call.target) == ("tool_call", None, "gpt-4o")
    assert read(call=told).tool.args is UNKNOWN


def test_a_tool_of_a_server_comes_back_under_its_two_names():
    tool = read(call={**TOLD, "operation": "tool_call", "target": "fs/a/b", "tool": "fs/a/b", "server": "fs", "asked": "gpt-4o"}).tool
    assert (tool.server, tool.name, tool.target) == ("fs", "a/b", "fs/a/b")


def test_the_same_caller_is_the_same_object_and_another_claim_is_another():
    reader = Reader()
    one, two = reader.read(line()), reader.read(line(id="d_2"))
    other = reader.read(line(inputs={"values": {"principal.claims.mfa": True}, "absent": [], "left": []}))
    assert one.principal is two.principal
    assert one.principal is not other.principal
    assert other.principal.claims["mfa"] is True


@pytest.mark.parametrize(
    "changes", [{"principal": None}, {"facts": {"owner": "foreign"}}, {"facts": {"owner": "unknown"}}, {"facts": {"identity": "unavailable"}}]
)
def test_what_no_policy_decided_is_settled(changes):
    assert read(**changes).settled


def test_what_only_an_audit_let_pass_is_the_no_it_would_have_been():
    would = [{"rule": "p/r", "where": "a:1"}, {"rule": "p/r", "where": "a:2"}]
    assert read(audited=True, would=would, by=[]).answer[:2] == ("deny", ("p/r",))


# ---------------------------------------------------------------- sealed


def test_sealed_inputs_open_with_their_key_and_count_without():
    private, public = sealing.make()
    sealer = sealing.Sealer(public)
    plain = orjson.dumps({"values": {"call.params": {"n": 3}, "call.body": {"n": 3}}, "absent": [], "left": []})
    made = line(inputs={"sealed": sealer.seal(plain, id="d_1", snapshot=""), "key": sealer.key})
    opened = Reader(sealing.Opener(private)).read(made)
    assert (opened.call.params, opened.call.body, opened.has_body) == ({"n": 3}, {"n": 3}, True)
    for reader in (Reader(), Reader(sealing.Opener(sealing.make()[0]))):
        assert reader.read(made).call.params["n"] is UNKNOWN
        assert reader.unopened == 1


@pytest.mark.parametrize("moved", [{"id": "d_2"}, {"snapshot": "ab"}])
def test_sealed_inputs_in_another_record_do_not_open(moved):
    private, public = sealing.make()
    sealer = sealing.Sealer(public)
    made = line(**moved, inputs={"sealed": sealer.seal(b"{}", id="d_1", snapshot=""), "key": sealer.key})
    with pytest.raises(BadRecord, match="do not open"):
        Reader(sealing.Opener(private)).read(made)


# ---------------------------------------------------------------- garbage

JSON = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3), lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2), max_leaves=4)  # fmt: skip
PLACES = st.sampled_from([
    ("now",), ("effect",), ("by",), ("principal",), ("principal", "groups"), ("principal", "id"), ("call",), *(("call", name) for name in TOLD), ("call", "tool"),
    ("call", "tools"), ("call", "refs"), ("call", "max_output"), ("facts",), ("facts", "quotas"), ("facts", "bill"), ("inputs",), ("inputs", "values"),
    ("inputs", "absent"), ("would",), ("audited",), ("obligations",), ("phase",), ("snapshot",), ("id",),
])  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(PLACES, JSON)
def test_a_record_of_another_shape_raises_only_the_one_error(kit, place, value):
    whole = {
        "v": 1, "type": "decision", "id": "d", "now": 5.0, "effect": "deny", "principal": dict(WHO), "call": dict(TOLD),
        "facts": {}, "inputs": {"values": {}, "absent": [], "left": []},
    }  # fmt: skip
    held = whole
    for name in place[:-1]:
        held = held[name]
    held[place[-1]] = value
    try:
        made = Reader().read(record.read(orjson.dumps(whole)))
    except BadRecord:
        return
    assert Decider(strict(kit)).decide(made).effect in {"allow", "deny"}


@functools.cache
def strict(kit):
    """Reads what a record may hold, counts in two ways, demands something, and lists tools."""
    rules = [kit.rule("a", "allow"), kit.rule("b", "deny", 'call.tokens > 100 || call.params.x == 1 || principal.groups.exists(g, g == "x")')]
    rules += [kit.rule("c", "require", then={"cap": {"max_tokens": 5, "n": 1}}), kit.rule("d", "deny", "now < timestamp('2020-01-01T00:00:00Z')")]
    limits = [{"metric": "requests", "max": 5, "per": "1m"}, {"metric": "cost_usd", "max": 5, "per": "1m"}]
    tools = kit.policy("t", kit.rule("a", "deny", "call.args.path == 1"), operation=["tool_call"])
    return kit.built(kit.policy("p", *rules, operation=["*"]), tools, kit.document("Quota", "q", key=["principal.team"], limits=limits))
