import contextlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar import wire
from sidecar.call import Member, Tool, Usage
from sidecar.errors import CallError, CannotCarry, MalformedCall, UpstreamGarbage
from sidecar.segment import Edit
from sidecar.wire import openai_responses, pointer

CODEC, STORED = openai_responses.CODEC, openai_responses.STORED
MEMBER = Member("openai", "gpt-4o-2026")
PATH = "/v1/responses"

EVERYTHING = {
    "model": "GPT-4o",
    "instructions": "INSTRUCTIONS",
    "previous_response_id": "resp_before",
    "conversation": {"id": "conv_1"},
    "input": [
        {"role": "user", "content": "SHORTHAND"},
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "PARTTEXT"},
                {"type": "input_image", "image_url": "https://pictures.example/PICTURE"},
                {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
                {"type": "input_file", "file_id": "file-1", "filename": "FILENAME"},
                {"type": "hologram", "beam": "HOLOGRAM"},
            ],
        },
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "ANSWERED", "annotations": [{"title": "CITED"}]}, {"type": "refusal", "refusal": "REFUSED"}],
        },
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "SUMMARY"}],
            "content": [{"type": "reasoning_text", "text": "REASONED"}],
        },
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": '{ "q": "ARGUMENT" }'},
        {"type": "function_call_output", "call_id": "call_1", "output": "RESULT"},
        {"type": "function_call_output", "call_id": "call_1", "output": [{"type": "input_text", "text": "RESULTPART"}]},
        {"type": "custom_tool_call", "call_id": "call_2", "name": "shell", "input": "CUSTOM"},
        {"type": "custom_tool_call_output", "call_id": "call_2", "output": "CUSTOMRESULT"},
        {"type": "mcp_call", "server_label": "files", "name": "x", "arguments": "{}", "output": "MCPRESULT"},
        {"type": "computer_call_output", "call_id": "call_3", "output": {"type": "computer_screenshot", "image_url": "data:image/png;base64,AAAA"}},
        {"type": "image_generation_call", "id": "ig_1", "result": "AAAA"},
        {"type": "item_reference", "id": "msg_stored"},
        {"type": "additional_tools", "role": "developer", "tools": [{"type": "mcp", "server_label": "late", "server_url": "https://late.example/LATE"}]},
        {"type": "brand_new_thing", "payload": "NEWTHING"},
    ],
    "tools": [
        {"type": "function", "name": "look", "description": "DESCRIPTION", "parameters": {"description": "SCHEMA"}},
        {"type": "custom", "name": "shell", "description": "CUSTOMDESCRIPTION"},
        {"type": "web_search_preview"},
        {"type": "mcp", "server_label": "files", "server_url": "https://mcp.example", "server_description": "MCPDESCRIPTION"},
        {"type": "namespace", "name": "crm", "description": "NAMESPACE", "tools": [{"type": "function", "name": "deep", "description": "NESTED"}]},
        {"type": "code_interpreter", "container": "cntr_1"},
    ],
    "text": {"format": {"type": "json_schema", "schema": {"description": "FORMAT"}}, "verbosity": "low"},
    "reasoning": {"effort": "high"},
    "metadata": {"k": "METADATA"},
    "max_output_tokens": 30,
    "background": True,
    "store": True,
    "surprise": ["SURPRISE"],
}


def read(kit, body, **how):
    return CODEC.read_call("c1", kit.request(body, PATH, **how), {})


def words_of(value):
    return {word for word in orjson.dumps(value).decode().replace('"', " ").replace("/", " ").split() if word.isalpha() and word.isupper() and word != "AAAA"}


def test_every_text_of_a_request_is_in_a_segment(kit):
    seen = "\n".join(segment.text for segment in read(kit, EVERYTHING).segments)
    assert words_of(EVERYTHING) > {"INSTRUCTIONS", "LATE", "NESTED", "NEWTHING"}
    assert {word for word in words_of(EVERYTHING) if word not in seen} == set()


def test_every_pointer_points_at_its_own_text(kit):
    call = read(kit, EVERYTHING)
    for segment in call.segments:
        value = pointer.get(call.body, segment.pointer)
        if segment.origin != "media" and "namespace" not in segment.text:
            assert segment.text == value or orjson.loads(segment.text) == value


def test_the_call_tells_what_policy_asks_for(kit):
    call = read(kit, EVERYTHING)
    assert (call.target, call.operation, call.dialect, call.max_output, call.choices) == ("gpt-4o", "chat", "openai_responses", 30, 1)
    assert set(call.refs) == {("response", "resp_before"), ("conversation", "conv_1"), ("file", "file-1"), ("item", "msg_stored"), ("container", "cntr_1")}
    assert {(tool.name, tool.kind) for tool in call.tools} == {
        ("web_search_preview", "web_search_preview"),
        ("files", "mcp"),
        ("late", "mcp"),
        ("code_interpreter", "code_interpreter"),
    }
    assert call.params | {"max_tokens": 30, "background": True, "store": True, "reasoning_effort": "high", "verbosity": "low"} == call.params


def test_a_stored_prompt_is_an_id_whose_content_nobody_here_has_seen(kit):
    call = read(kit, {"model": "m", "prompt": {"id": "pmpt_1", "variables": {"a": "VARIABLE"}}})
    assert call.refs == (("prompt", "pmpt_1"),)
    assert "VARIABLE" in call.segments[0].text


def test_without_edits_the_same_document_is_sent(kit):
    body = {"model": "m", "input": "hi", "extra": {"a": [1.5]}}
    out = CODEC.write_call(read(kit, body), MEMBER, ())
    assert orjson.loads(out.body) == {**body, "model": "gpt-4o-2026"}
    assert (out.method, out.path) == ("POST", "/responses")


def test_json_in_strings_is_sent_as_it_was_judged(kit):
    sent = orjson.loads(CODEC.write_call(read(kit, EVERYTHING), MEMBER, ()).body)
    assert sent["input"][4]["arguments"] == '{"q":"ARGUMENT"}'


@pytest.mark.parametrize(
    ("more", "name", "maximum", "expected"),
    [
        ({}, "max_tokens", 5, {"max_output_tokens": 5}),
        ({"max_output_tokens": 9}, "max_tokens", 5, {"max_output_tokens": 5}),
        ({"max_output_tokens": 3}, "max_tokens", 5, {"max_output_tokens": 3}),
        ({}, "n", 1, {}),
        ({}, "max_tool_calls", 2, {"max_tool_calls": 2}),
        ({"max_tool_calls": 1}, "max_tool_calls", 2, {"max_tool_calls": 1}),
        ({}, "temperature", 0.5, {"temperature": 0.5}),
    ],
)
def test_a_cap_holds_under_the_wires_own_name(kit, more, name, maximum, expected):
    call = read(kit, {"model": "m", "input": "hi", **more})
    sent = orjson.loads(CODEC.write_call(call, MEMBER, CODEC.cap(call, name, maximum)).body)
    assert {key: value for key, value in sent.items() if key not in ("model", "input")} == expected


def test_nested_parameters_are_set_in_their_place(kit):
    call = read(kit, {"model": "m", "input": "hi", "reasoning": {"summary": "auto"}})
    sent = orjson.loads(CODEC.write_call(call, MEMBER, CODEC.set(call, "reasoning_effort", "low")).body)
    assert sent["reasoning"] == {"summary": "auto", "effort": "low"}
    with pytest.raises(CannotCarry):
        CODEC.set(call, "stream", True)


@pytest.mark.parametrize(
    ("more", "at"),
    [
        ({"input": 7}, "/input"),
        ({"input": ["SECRET"]}, "/input/0"),
        ({"input": [{"type": ["SECRET"]}]}, "/input/0/type"),
        ({"input": [{"role": "user", "content": {"SECRET": 1}}]}, "/input/0/content"),
        ({"input": [{"type": "function_call", "arguments": {"SECRET": 1}}]}, "/input/0/arguments"),
        ({"input": [{"type": "item_reference"}]}, "/input/0/id"),
        ({"tools": [{"type": "mcp"}]}, "/tools/0/server_label"),
        ({"previous_response_id": ["SECRET"]}, "/previous_response_id"),
        ({"conversation": {"SECRET": 1}}, "/conversation/id"),
        ({"reasoning": "SECRET"}, "/reasoning"),
        ({"instructions": ["SECRET"]}, "/instructions"),
        ({"model": None}, "/model"),
    ],
)
def test_a_wrong_shape_is_refused_by_its_pointer_and_without_its_value(kit, more, at):
    with pytest.raises(MalformedCall) as caught:
        read(kit, {"model": "m", "input": "hi", **more})
    assert f"`{at}`" in str(caught.value)
    assert "SECRET" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=4), x, max_size=3),
)
KINDS = st.sampled_from(
    ["message", "function_call", "function_call_output", "reasoning", "item_reference", "additional_tools", "image_generation_call", "x_call", "mcp"]
)


@given(
    st.sampled_from(["input", "tools"]),
    KINDS,
    st.dictionaries(st.sampled_from(["role", "content", "arguments", "output", "summary", "tools", "id", "call_id", "name"]), JSON),
)
def test_garbage_items_raise_only_call_errors(kit, where, kind, item):
    with contextlib.suppress(CallError):
        CODEC.write_call(read(kit, {"model": "m", "input": "hi", where: [{"type": kind, **item}]}), MEMBER, ())


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/v1/responses/resp_A1", "/responses/resp_A1"),
        ("DELETE", "/V1/Responses/resp_A1", "/responses/resp_A1"),
        ("POST", "/v1/responses/resp_A1/CANCEL", "/responses/resp_A1/cancel"),
        ("GET", "/v1/responses/resp_A1/input_items", "/responses/resp_A1/input_items"),
    ],
)
def test_a_stored_response_is_a_chat_call_that_names_its_id(kit, method, path, expected):
    codec, parts = wire.match(method, path)
    call = codec.read_call("c1", kit.request(b"", path, method, headers=()), parts)
    assert (call.operation, call.refs, call.method) == ("chat", (("response", "resp_A1"),), method)
    out = codec.write_call(call, MEMBER, ())
    assert (out.method, out.path, out.body) == (method, expected, b"")


def test_only_listed_query_parameters_of_a_retrieval_travel(kit):
    query = (("include[]", "a.b"), ("include[]", "c"), ("stream", "true"), ("starting_after", "4"), ("api-key", "SECRET"))
    call = STORED.read_call("c1", kit.request(b"", method="GET", headers=(), query=query), {"id": "resp_1"})
    out = STORED.write_call(call, MEMBER, ())
    assert call.stream
    assert out.path == "/responses/resp_1?include[]=a.b&include[]=c&stream=true&starting_after=4"
    assert ("accept", "text/event-stream") in out.headers


@pytest.mark.parametrize("query", [(("stream", "true"), ("stream", "false")), (("starting_after", "x"),), (("limit", "-1"),), (("order", "SECRET"),)])
def test_a_query_with_two_readings_is_refused(kit, query):
    with pytest.raises(MalformedCall):
        STORED.read_call("c1", kit.request(b"", method="GET", headers=(), query=query), {"id": "resp_1"})


def test_a_stored_response_takes_no_body_and_no_edit(kit):
    with pytest.raises(MalformedCall):
        STORED.read_call("c1", kit.request(b'{"model":"m"}', method="POST"), {"id": "resp_1", "action": "cancel"})
    call = STORED.read_call("c1", kit.request(b"", method="GET", headers=()), {"id": "resp_1"})
    assert STORED.cap(call, "max_tokens", 1) == ()
    with pytest.raises(CannotCarry):
        STORED.set(call, "max_tokens", 1)
    with pytest.raises(CannotCarry):
        STORED.write_call(call, MEMBER, [Edit("/x", 1)])


REPLY = {
    "id": "resp_1",
    "object": "response",
    "model": "gpt-4o-2026",
    "status": "completed",
    "output": [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "SUMMARY"}], "encrypted_content": "gAAAA"},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "TEXT", "annotations": []}]},
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "wipe", "arguments": '{"path":"ALL-OF-IT"}', "status": "completed"},
        {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_2", "name": "shell", "input": "ls"},
        {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "files", "name": "read", "arguments": "{}"},
        {"type": "local_shell_call", "id": "lsh_1", "call_id": "call_3", "action": {"type": "exec", "command": ["ls"]}, "status": "completed"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"query": "QUERY"}},
    ],
    "usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
}


def test_a_reply_is_read_with_its_proposals_and_its_minted_ids(kit):
    view = CODEC.read_reply(read(kit, {"model": "m", "input": "hi"}), orjson.dumps(REPLY))
    assert view.tools == (
        Tool("wipe", args={"path": "ALL-OF-IT"}, call_id="call_1"),
        Tool("shell", kind="custom", args={"input": "ls"}, call_id="call_2"),
        Tool("read", server="files", kind="mcp", args={}, call_id="mcpr_1"),
        Tool("local_shell", kind="local_shell", args={"type": "exec", "command": ["ls"]}, call_id="call_3"),
    )
    assert view.minted[:2] == (("response", "resp_1"), ("item", "rs_1"))
    assert (view.usage, view.finish, view.model) == (Usage(3, 4), ("completed",), "gpt-4o-2026")
    seen = "\n".join(segment.text for segment in view.segments)
    assert all(word in seen for word in ("SUMMARY", "TEXT", "ALL-OF-IT", "QUERY"))


@given(st.sets(st.integers(0, 3)))
def test_a_denied_item_becomes_a_message_in_its_place(kit, gone):
    view = CODEC.read_reply(read(kit, {"model": "m", "input": "hi"}), orjson.dumps(REPLY))
    out = orjson.loads(CODEC.write_reply(view, {number: f"[no {number}]" for number in gone}))
    for place, (item, before) in enumerate(zip(out["output"], REPLY["output"], strict=True)):
        number = place - 2
        if number in gone and 0 <= number <= 3:
            assert (item["type"], item["content"][0]["text"]) == ("message", f"[no {number}]")
        else:
            assert item == before
    assert view.body == REPLY


def test_an_unstored_response_mints_no_items(kit):
    view = CODEC.read_reply(read(kit, {"model": "m", "input": "hi"}), orjson.dumps({**REPLY, "store": False}))
    assert view.minted == (("response", "resp_1"),)


def test_what_went_in_and_comes_back_is_screened_too(kit):
    call = STORED.read_call("c1", kit.request(b"", method="GET", headers=()), {"id": "resp_1"})
    view = STORED.read_reply(call, orjson.dumps({"object": "list", "data": EVERYTHING["input"]}))
    assert "RESULT" in [segment.text for segment in view.segments]
    assert (view.tools, view.minted) == ((), ())
    assert STORED.write_reply(STORED.read_reply(call, b'{"id":"resp_1","deleted":true}'), {}) == b'{"id":"resp_1","deleted":true}'


@pytest.mark.parametrize("body", [b"", b"[]", b'{"output":1}', b'{"output":[1]}', b'{"output":[],"output":[]}', b'{"output":[{"type":"message","role":1}]}'])
def test_a_reply_that_cant_be_read_is_garbage(kit, body):
    with pytest.raises(UpstreamGarbage):
        CODEC.read_reply(read(kit, {"model": "m", "input": "hi"}), body)
