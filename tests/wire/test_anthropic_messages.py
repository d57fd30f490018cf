"""The Anthropic request: everything it says is seen, what was judged is what is sent, and garbage is only ever a CallError."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.call import Call, Member, Tool, Usage
from sidecar.errors import CallError, CannotCarry, MalformedCall, UpstreamGarbage, WrongMediaType
from sidecar.segment import Edit
from sidecar.wire import anthropic_count_tokens, anthropic_messages, pointer
from sidecar.wire.base import WireRequest

CODEC = anthropic_messages.CODEC
MEMBER = Member("anthropic", "claude-real")
JSON = (("content-type", "application/json"),)


def request(body: object, headers: tuple[tuple[str, str], ...] = (), query: tuple[tuple[str, str], ...] = ()) -> WireRequest:
    return WireRequest("POST", "/v1/messages", query, (*JSON, *headers), body if isinstance(body, bytes) else orjson.dumps(body))


def read(body: dict[str, Any], **more: Any) -> Call:
    return CODEC.read_call("c1", request({"model": "claude", "max_tokens": 100, "messages": [], **body}, **more), {})


def said(content: Any, role: str = "user") -> Call:
    return read({"messages": [{"role": role, "content": content}]})


def seen(call: Call) -> dict[str, tuple[str, str]]:
    return {segment.text: (segment.pointer, segment.origin) for segment in call.segments}


FULL = {
    "model": "claude",
    "max_tokens": 100,
    "system": [{"type": "text", "text": "SYS", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": "ONE"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "THINK", "signature": "sealed"},
                {"type": "redacted_thinking", "data": "sealed"},
                {"type": "text", "text": "TWO", "citations": [{"type": "char_location", "cited_text": "CITED"}]},
                {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"q": "ARG", "deep": [{"x": "NESTED"}], "a key that speaks": 4111111111111111}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "RESULT"}, {"type": "image", "source": {"type": "base64", "data": "AAAA"}}]},
                {"type": "document", "title": "TITLE", "context": "CONTEXT", "source": {"type": "text", "media_type": "text/plain", "data": "PLAIN"}},
                {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "INNER"}]}},
                {"type": "search_result", "source": "SOURCE", "title": "HIT", "content": [{"type": "text", "text": "FOUND"}]},
                {"type": "image", "source": {"type": "url", "url": "https://x.test/URL"}},
                {"type": "from_the_future", "payload": {"words": "FUTURE"}},
            ],
        },
        {"role": "assistant", "content": [{"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"type": "web_search_result", "title": "WEB", "encrypted_content": "sealed"}]}]},
        {"role": "system", "content": "LATE"},
    ],
    "tools": [{"name": "look", "description": "DESCRIBED", "input_schema": {"type": "object", "title": "SCHEMA"}, "input_examples": [{"q": "EXAMPLE"}]}],
    "metadata": {"user_id": "USER"},
    "surprise": {"a": "UNKNOWN"},
}  # fmt: skip
ORIGINS = {
    "SYS": "system",
    "ONE": "user",
    "THINK": "reasoning",
    "TWO": "assistant",
    "CITED": "assistant",
    "look": "tool_definition",
    "ARG": "tool_args",
    "NESTED": "tool_args",
    "a key that speaks": "tool_args",
    "4111111111111111": "tool_args",
    "RESULT": "tool_result",
    "TITLE": "user",
    "CONTEXT": "user",
    "PLAIN": "user",
    "INNER": "user",
    "SOURCE": "user",
    "HIT": "user",
    "FOUND": "user",
    "https://x.test/URL": "user",
    "FUTURE": "unknown",
    "WEB": "tool_result",
    "LATE": "system",
    "DESCRIBED": "tool_definition",
    "EXAMPLE": "tool_definition",
    "USER": "input",
}


def test_every_text_of_a_body_is_a_segment_with_its_origin():
    found = {segment.text: segment.origin for segment in read(FULL).segments}
    assert {text: found.get(text) for text in ORIGINS} == ORIGINS
    assert any("SCHEMA" in text for text in found)
    assert any("UNKNOWN" in text for text in found)


def test_what_is_sealed_carries_no_text():
    assert "sealed" not in seen(read(FULL))


def test_media_is_named_by_its_kind():
    assert [s.text for s in read(FULL).segments if s.origin == "media"] == ["image", "image"]


texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).map(lambda text: "~" + text)
values = st.recursive(
    texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/~", min_size=1, max_size=4), inner, max_size=3), max_leaves=6
)
blocks = st.recursive(
    st.builds(lambda t: {"type": "text", "text": t}, texts)
    | st.builds(lambda v: {"type": "tool_use", "id": "t", "name": "n", "input": {"v": v}}, values)
    | st.builds(lambda t, v: {"type": "no_such_block", "words": t, "more": v}, texts, values)
    | st.builds(lambda t: {"type": "thinking", "thinking": t, "signature": "s"}, texts),
    lambda inner: st.builds(lambda blocks: {"type": "tool_result", "tool_use_id": "t", "content": blocks}, st.lists(inner, max_size=3)),
    max_leaves=6,
)
bodies = st.fixed_dictionaries(
    {
        "model": st.just("claude"),
        "max_tokens": st.integers(1, 99),
        "messages": st.lists(
            st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": texts | st.lists(blocks, max_size=4)}), max_size=4
        ),
    },
    optional={"system": texts, "tools": st.lists(st.builds(lambda t: {"name": "n", "description": t, "input_schema": {}}, texts), max_size=2)},
)


def leaves(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value] if value.startswith("~") else []
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [leaf for child in children for leaf in leaves(child)]


@settings(deadline=None)
@given(bodies)
def test_no_text_goes_out_unseen_and_each_pointer_leads_to_its_text(body):
    call = CODEC.read_call("c", request(body), {})
    assert sorted(leaves(body)) == sorted(s.text for s in call.segments if s.text.startswith("~") and pointer.get(call.body, s.pointer) == s.text)


@settings(deadline=None)
@given(bodies)
def test_without_edits_the_same_document_is_sent_with_the_members_model(body):
    out = CODEC.write_call(CODEC.read_call("c", request(body), {}), MEMBER, ())
    assert orjson.loads(out.body) == {**body, "model": "claude-real"}
    assert (out.method, out.path) == ("POST", "/messages")


@settings(deadline=None)
@given(bodies, st.data())
def test_an_edit_lands_where_its_segment_was_read_and_nowhere_else(body, data):
    call = CODEC.read_call("c", request(body), {})
    places = [s for s in call.segments if s.text.startswith("~") and s.origin != "reasoning" and pointer.get(call.body, s.pointer) == s.text]
    if places:
        place = data.draw(st.sampled_from(places))
        sent = orjson.loads(CODEC.write_call(call, MEMBER, (Edit(place.pointer, "[gone]"),)).body)
        assert pointer.get(sent, place.pointer) == "[gone]"
        assert pointer.apply(sent, [Edit(place.pointer, place.text)]) == {**body, "model": "claude-real"}


def test_an_edit_inside_a_signed_block_is_refused_but_the_block_may_go_whole():
    call = read(FULL)
    with pytest.raises(CannotCarry):
        CODEC.write_call(call, MEMBER, (Edit("/messages/1/content/0/thinking", "x"),))
    sent = orjson.loads(CODEC.write_call(call, MEMBER, (Edit("/messages/1/content/0", op="remove"),)).body)
    assert [block["type"] for block in sent["messages"][1]["content"]] == ["redacted_thinking", "text", "tool_use"]


def test_tools_that_are_not_the_callers_own_are_judged_in_the_request():
    call = read({
        "tools": [
            {"name": "mine", "input_schema": {}},
            {"type": "custom", "name": "mine too", "input_schema": {}},
            {"type": "web_search_20250305", "name": "web_search"},
            {"type": "bash_20250124", "name": "bash"},
            {"type": "computer_toolset_20260801"},
            {"type": "mcp_toolset", "mcp_server_name": "docs"},
        ],
        "mcp_servers": [{"type": "url", "name": "docs", "url": "https://mcp.test"}],
        "messages": [{"role": "system", "content": [{"type": "tool_addition", "tool": {"type": "tool_definition", "definition": {"type": "code_execution_20250825", "name": "code_execution"}}}]}],
    })  # fmt: skip
    assert call.tools == (
        Tool("code_execution", kind="code_execution_20250825"),
        Tool("web_search", kind="web_search_20250305"),
        Tool("bash", kind="bash_20250124"),
        Tool("computer_toolset_20260801", kind="computer_toolset_20260801"),
        Tool("docs", kind="mcp_toolset"),
        Tool("docs", kind="mcp"),
    )
    assert "https://mcp.test" in seen(call)


def test_ids_the_provider_made_are_references():
    call = read({
        "container": {"id": "cont_1", "skills": []},
        "thread": {"type": "continue", "previous_message_id": "msg_1"},
        "messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "file", "file_id": "file_1"}}, {"type": "container_upload", "file_id": "file_2"}]}],
    })  # fmt: skip
    assert call.refs == (("file", "file_1"), ("file", "file_2"), ("container", "cont_1"), ("message", "msg_1"))
    assert read({"container": "cont_2"}).refs == (("container", "cont_2"),)


def test_a_fallback_to_another_model_is_refused():
    with pytest.raises(MalformedCall, match="fallbacks"):
        read({"fallbacks": [{"model": "claude-dearer"}]})


def test_the_model_is_matched_in_one_spelling():
    assert {read({"model": name}).target for name in ("Claude", " claude ", "CLAUDE")} == {"claude"}


def test_parameters_have_canonical_names():
    call = read({"temperature": 0.5, "top_k": 3, "stop_sequences": ["x"], "thinking": {"type": "enabled", "budget_tokens": 2048}, "stream": True})
    assert call.params == {"max_tokens": 100, "temperature": 0.5, "top_k": 3, "stop": ["x"], "thinking": "enabled", "thinking_budget": 2048}
    assert (call.stream, call.max_output, call.choices, call.operation, call.dialect) == (True, 100, 1, "chat", "anthropic_messages")


def test_headers_travel_by_list_and_beta_flags_by_value():
    call = read({}, headers=(
        ("x-api-key", "secret"),
        ("authorization", "Bearer secret"),
        ("anthropic-version", "2023-06-01"),
        ("anthropic-beta", "interleaved-thinking-2025-05-14, server-side-fallback-2026-07-01"),
        ("anthropic-beta", "claude-code-20250219,made-up-2026-01-01"),
    ))  # fmt: skip
    assert call.headers == (("anthropic-version", "2023-06-01"), ("anthropic-beta", "interleaved-thinking-2025-05-14,claude-code-20250219"))
    assert read({}, headers=(("anthropic-version", "2023-06-01\tx"),)).headers == ()


def test_of_the_query_only_beta_travels():
    assert CODEC.write_call(read({}, query=(("beta", "true"), ("key", "secret"))), MEMBER, ()).path == "/messages?beta=true"


@pytest.mark.parametrize(
    ("body", "name", "maximum", "edits"),
    [
        ({}, "max_tokens", 50, {"/max_tokens": 50}),
        ({}, "max_tokens", 100, {}),
        ({"thinking": {"type": "enabled", "budget_tokens": 90}}, "max_tokens", 50, {"/max_tokens": 50, "/thinking/budget_tokens": 49}),
        ({}, "temperature", 0.5, {"/temperature": 0.5}),
        ({"temperature": 0.2}, "temperature", 0.5, {}),
        ({"thinking": {"type": "enabled", "budget_tokens": 9000}}, "thinking_budget", 2000, {"/thinking/budget_tokens": 2000}),
        ({}, "thinking_budget", 2000, {}),
        ({}, "n", 1, {}),
    ],
)
def test_a_cap_holds_a_number_down(body, name, maximum, edits):
    assert {edit.pointer: edit.value for edit in CODEC.cap(read(body), name, maximum)} == edits


def test_what_has_no_place_is_not_carried():
    for name in ("presence_penalty", "model", "messages", "stream"):
        with pytest.raises(CannotCarry):
            CODEC.cap(read({}), name, 1)
        with pytest.raises(CannotCarry):
            CODEC.set(read({}), name, 1)
    with pytest.raises(CannotCarry):
        CODEC.cap(read({"temperature": "hot"}), "temperature", 1)
    with pytest.raises(CannotCarry):
        CODEC.cap(read({"thinking": {"type": "adaptive"}}), "thinking_budget", 1)


def test_parameters_are_set_where_the_wire_has_them():
    edits = [*CODEC.set(read({}), "stop", ["x"]), *CODEC.set(read({}), "user", "u"), *CODEC.set(read({}), "temperature", 0)]
    sent = orjson.loads(CODEC.write_call(read({}), MEMBER, edits).body)
    assert (sent["stop_sequences"], sent["metadata"], sent["temperature"]) == (["x"], {"user_id": "u"}, 0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"model": "claude"}',
        b'{"model": "claude", "messages": {}}',
        b'{"model": "claude", "messages": ["x"]}',
        b'{"model": "claude", "messages": [{"role": "robot", "content": "x"}]}',
        b'{"model": "claude", "messages": [{"role": "user", "content": 1}]}',
        b'{"model": "claude", "messages": [{"role": "user", "content": [{"text": "x"}]}]}',
        b'{"model": "claude", "messages": [], "messages": []}',
        b'{"model": "", "messages": []}',
        b'{"model": "claude", "messages": [], "stream": "yes"}',
        b'{"model": "claude", "messages": [], "max_tokens": "many"}',
        b'{"model": "claude", "messages": [], "tools": [{"type": 1}]}',
        b'{"model": "claude", "messages": [], "thinking": "deep"}',
    ],
)
def test_a_shape_that_is_none_is_malformed(body):
    with pytest.raises(MalformedCall):
        CODEC.read_call("c", request(body), {})


def test_other_media_types_are_refused():
    with pytest.raises(WrongMediaType):
        CODEC.read_call("c", WireRequest("POST", "/v1/messages", (), (("content-type", "text/plain"),), b"{}"), {})


junk = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["text", "user", "image", "tool_use", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "source", "tool", "definition", "name", "input"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["messages", "system", "tools", "mcp_servers", "thinking", "container", "thread", "metadata", "max_tokens"]), junk))
def test_garbage_raises_only_call_errors(body):
    try:
        call = CODEC.read_call("c", request({"model": "claude", "messages": [], **body}), {})
        CODEC.write_call(call, MEMBER, ())
    except CallError:
        pass


def test_the_deepest_body_that_parses_is_read():
    value: Any = "DEEP"
    for _ in range(60):
        value = [{"type": "tool_result", "tool_use_id": "t", "content": value}]
    assert "DEEP" in seen(said(value))
    value = "DEEP"
    for _ in range(120):
        value = [{"x": value}]
    assert "DEEP" in seen(read({"messages": [{"role": "user", "content": [{"type": "new", "v": value}]}]}))


def test_counting_is_an_operation_of_its_own_and_costs_nothing():
    codec = anthropic_count_tokens.CODEC
    call = codec.read_call("c", request({**FULL, "stream": True}), {})
    assert (call.operation, call.stream, codec.write_call(call, MEMBER, ()).path) == ("count_tokens", False, "/messages/count_tokens")
    assert {s.text for s in call.segments} >= set(ORIGINS)
    view = codec.read_reply(call, b'{"input_tokens": 7}')
    assert (view.usage, view.tools, codec.write_reply(view, {})) == (Usage(), (), b'{"input_tokens":7}')
    with pytest.raises(UpstreamGarbage):
        codec.read_reply(call, b"{}")
