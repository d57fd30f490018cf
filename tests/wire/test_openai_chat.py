import contextlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.call import Member, Tool, Usage
from sidecar.errors import CallError, CannotCarry, MalformedCall, UpstreamGarbage, WrongMediaType
from sidecar.segment import Edit
from sidecar.wire import openai_chat, pointer

CODEC = openai_chat.CODEC
MEMBER = Member("openai", "gpt-4o-2026")

EVERYTHING = {
    "model": " GPT-4o ",
    "messages": [
        {"role": "system", "content": "SYSTEM", "name": "boss"},
        {"role": "developer", "content": [{"type": "text", "text": "DEVELOPER"}]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "USER", "cache_control": {"type": "KEEP"}},
                {"type": "image_url", "image_url": {"url": "https://pictures.example/PICTURE", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                {"type": "file", "file": {"file_id": "file-1", "filename": "FILENAME"}},
                {"type": "hologram", "beam": "HOLOGRAM"},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "refusal": "REFUSED",
            "reasoning_content": "REASONED",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{ "q" : "ARGUMENT" }'}},
                {"id": "c2", "type": "custom", "custom": {"name": "shell", "input": "CUSTOM"}},
                {"id": "c3", "type": "function", "function": {"name": "look", "arguments": "NOJSON{"}},
            ],
        },
        {"role": "assistant", "function_call": {"name": "old", "arguments": '{"o":"OLDARGUMENT"}'}},
        {"role": "tool", "tool_call_id": "c1", "content": "TOOLRESULT"},
        {"role": "function", "name": "old", "content": "FUNCTIONRESULT"},
        {"role": "user", "content": "LAST", "mood": {"deep": "MOOD"}},
    ],
    "tools": [
        {"type": "function", "function": {"name": "look", "description": "DESCRIPTION", "parameters": {"properties": {"q": {"description": "SCHEMA"}}}}},
        {"type": "custom", "custom": {"name": "shell", "description": "CUSTOMDESCRIPTION"}},
        {"type": "code_runner", "image": "RUNNER"},
    ],
    "functions": [{"name": "old", "description": "OLDDESCRIPTION"}],
    "web_search_options": {"user_location": {"city": "CITY"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"description": "FORMAT"}}},
    "prediction": {"type": "content", "content": "PREDICTION"},
    "metadata": {"k": "METADATA"},
    "user": "ENDUSER",
    "prompt_cache_key": "CACHEKEY",
    "service_tier": "flex",
    "stop": ["STOP"],
    "temperature": 0.5,
    "max_tokens": 10,
    "max_completion_tokens": 20,
    "n": 3,
    "stream": True,
    "surprise": {"deep": ["SURPRISE"]},
}


def read(kit, body, **how):
    return CODEC.read_call("c1", kit.request(body, **how), {})


def test_every_text_of_a_request_is_in_a_segment(kit):
    call = read(kit, EVERYTHING)
    seen = "\n".join(segment.text for segment in call.segments)
    words = {
        word for word in orjson.dumps(EVERYTHING).decode().replace('"', " ").replace("\\", " ").split() if word.isalpha() and word.isupper() and word != "AAAA"
    }
    missing = {word for word in words if word not in seen and word.lower() not in call.target}
    assert words > {"SYSTEM", "SURPRISE", "SCHEMA"}
    assert not missing


def test_segments_know_where_they_stand_and_who_speaks(kit):
    found = {segment.text: (segment.pointer, segment.role, segment.origin) for segment in read(kit, EVERYTHING).segments}
    assert found["SYSTEM"] == ("/messages/0/content", "system", "system")
    assert found["DEVELOPER"] == ("/messages/1/content/0/text", "developer", "system")
    assert found["USER"] == ("/messages/2/content/0/text", "user", "user")
    assert found["image"] == ("/messages/2/content/2", "user", "media")
    assert found["https://pictures.example/PICTURE"] == ("/messages/2/content/1/image_url/url", "user", "user")
    assert found["REASONED"][2] == "reasoning"
    assert found["REFUSED"][2] == "refusal"
    assert found['{"q":"ARGUMENT"}'] == ("/messages/3/tool_calls/0/function/arguments", "assistant", "tool_args")
    assert found["TOOLRESULT"] == ("/messages/5/content", "tool", "tool_result")
    assert found["DESCRIPTION"][2] == "tool_definition"
    assert found['{"deep":["SURPRISE"]}'] == ("/surprise", "", "unknown")
    assert found['{"deep":"MOOD"}'] == ("/messages/7/mood", "", "unknown")


def test_every_pointer_points_at_its_own_text(kit):
    call = read(kit, EVERYTHING)
    for segment in call.segments:
        value = pointer.get(call.body, segment.pointer)
        assert segment.origin == "media" or segment.text == value or orjson.loads(segment.text) == value


def test_the_call_tells_what_policy_asks_for(kit):
    call = read(kit, EVERYTHING)
    assert (call.target, call.operation, call.dialect, call.stream, call.choices, call.max_output) == ("gpt-4o", "chat", "openai_chat", True, 3, 20)
    assert call.params["temperature"] == 0.5
    assert call.params["stop"] == ["STOP"]
    assert call.refs == (("file", "file-1"),)
    assert [(tool.name, tool.kind) for tool in call.tools] == [("code_runner", "code_runner"), ("web_search", "web_search")]


def test_json_in_strings_is_sent_as_it_was_judged(kit):
    sent = orjson.loads(CODEC.write_call(read(kit, EVERYTHING), MEMBER, ()).body)
    assert sent["messages"][3]["tool_calls"][0]["function"]["arguments"] == '{"q":"ARGUMENT"}'
    assert sent["messages"][3]["tool_calls"][2]["function"]["arguments"] == "NOJSON{"


def test_without_edits_the_same_document_is_sent_with_the_members_model(kit):
    body = kit.chat(temperature=0.1, tools=[], unknown=[1, 2.5, None])
    out = CODEC.write_call(read(kit, body), MEMBER, ())
    assert orjson.loads(out.body) == {**body, "model": "gpt-4o-2026"}
    assert (out.method, out.path) == ("POST", "/chat/completions")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=4), x, max_size=3),
)


@given(st.dictionaries(st.sampled_from(["metadata", "extra", "logit_bias", "a~b/c", "audio"]), JSON))
def test_whatever_passes_is_forwarded_unchanged(kit, more):
    body = kit.chat(**more)
    try:
        call = read(kit, body)
    except CallError:
        return
    assert orjson.loads(CODEC.write_call(call, MEMBER, ()).body) == {**body, "model": "gpt-4o-2026"}


@given(
    JSON, st.sampled_from(["", "messages", "tools", "functions", "n", "stream", "max_tokens", "web_search_options", "message", "content", "tool_calls", "part"])
)
def test_garbage_raises_only_call_errors(kit, value, where):
    nests = {
        "message": lambda: {"messages": [value]},
        "content": lambda: {"messages": [{"role": "user", "content": value}]},
        "tool_calls": lambda: {"messages": [{"role": "assistant", "tool_calls": value, "function_call": value}]},
        "part": lambda: {"messages": [{"role": "user", "content": [value, {"type": "image_url", "image_url": value}]}]},
    }
    body = value if not where else {**kit.chat(), **(nests[where]() if where in nests else {where: value})}
    with contextlib.suppress(CallError):
        CODEC.write_call(read(kit, body), MEMBER, ())


@pytest.mark.parametrize(
    ("more", "at"),
    [
        ({"messages": "SECRET"}, "/messages"),
        ({"messages": ["SECRET"]}, "/messages/0"),
        ({"messages": [{"content": "SECRET"}]}, "/messages/0/role"),
        ({"messages": [{"role": "user", "content": 7}]}, "/messages/0/content"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": ["SECRET"]}]}]}, "/messages/0/content/0/text"),
        ({"messages": [{"role": "assistant", "tool_calls": {"SECRET": 1}}]}, "/messages/0/tool_calls"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": {"SECRET": 1}}}]}]}, "/messages/0/tool_calls/0/function/arguments"),
        ({"tools": ["SECRET"]}, "/tools/0"),
        ({"tools": [{"type": "function", "function": {}}]}, "/tools/0/function/name"),
        ({"model": ""}, "/model"),
        ({"model": "gpt\u202e4"}, "/model"),
        ({"model": "gpt\x004"}, "/model"),
        ({"model": ["SECRET"]}, "/model"),
        ({"stream": "SECRET"}, "/stream"),
        ({"max_tokens": "SECRET"}, "/max_tokens"),
        ({"n": 0}, "/n"),
    ],
)
def test_a_wrong_shape_is_refused_by_its_pointer_and_without_its_value(kit, more, at):
    with pytest.raises(MalformedCall) as caught:
        read(kit, kit.chat(**more))
    assert f"`{at}`" in str(caught.value)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("kind", ["text/plain", "application/json; charset=latin-1", "", "application/jsonx", "multipart/form-data"])
def test_other_media_types_are_refused(kit, kind):
    with pytest.raises(WrongMediaType):
        read(kit, kit.chat(), headers=(("content-type", kind),))


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"'])
def test_json_is_json_however_it_is_spelt(kit, kind):
    assert read(kit, kit.chat(), headers=(("content-type", kind),)).target == "gpt-4o"


def test_only_listed_headers_travel_and_no_credential(kit):
    headers = (
        ("content-type", "application/json"),
        ("authorization", "Bearer SECRET"),
        ("api-key", "SECRET"),
        ("x-api-key", "SECRET"),
        ("cookie", "SECRET"),
        ("openai-organization", "org"),
        ("openai-beta", "assistants=v2"),
        ("idempotency-key", "k 1"),
        ("x-forwarded-for", "1.2.3.4"),
    )
    out = CODEC.write_call(read(kit, kit.chat(), headers=headers), MEMBER, ())
    assert out.headers == (("content-type", "application/json"), ("accept", "application/json"), ("openai-beta", "assistants=v2"))


def test_a_query_never_travels(kit):
    out = CODEC.write_call(read(kit, kit.chat(), query=(("api-key", "SECRET"), ("x", "1"))), MEMBER, ())
    assert out.path == "/chat/completions"


@pytest.mark.parametrize(
    ("more", "name", "maximum", "expected"),
    [
        ({}, "max_tokens", 50, {"max_tokens": 50}),
        ({"max_tokens": None}, "max_tokens", 50, {"max_tokens": 50}),
        ({"max_tokens": 40}, "max_tokens", 50, {"max_tokens": 40}),
        ({"max_tokens": 90}, "max_tokens", 50.0, {"max_tokens": 50}),
        ({"max_completion_tokens": 90}, "max_tokens", 50, {"max_completion_tokens": 50}),
        ({"max_completion_tokens": 90, "max_tokens": 80}, "max_tokens", 50, {"max_completion_tokens": 50, "max_tokens": 50}),
        ({}, "n", 2, {}),
        ({"n": 4}, "n", 2, {"n": 2}),
        ({}, "temperature", 0.2, {"temperature": 0.2}),
        ({"temperature": 0.1}, "temperature", 0.2, {"temperature": 0.1}),
        ({}, "presence_penalty", 0, {}),
    ],
)
def test_a_cap_holds_whether_the_parameter_is_there_or_not(kit, more, name, maximum, expected):
    call = read(kit, kit.chat(**more))
    sent = orjson.loads(CODEC.write_call(call, MEMBER, CODEC.cap(call, name, maximum)).body)
    assert {key: value for key, value in sent.items() if key not in ("model", "messages")} == expected


def test_a_parameter_is_set_under_the_wires_own_name(kit):
    call = read(kit, kit.chat(max_completion_tokens=9))
    edits = (*CODEC.set(call, "max_tokens", 5), *CODEC.set(call, "seed", 7), *CODEC.set(call, "store", False))
    sent = orjson.loads(CODEC.write_call(call, MEMBER, edits).body)
    assert (sent["max_completion_tokens"], sent["seed"], sent["store"]) == (5, 7, False)
    assert call.body["max_completion_tokens"] == 9


@pytest.mark.parametrize("name", ["stream", "messages", "model", "tools", "nonsense"])
def test_what_may_not_be_set_or_capped_cant_be_carried(kit, name):
    call = read(kit, kit.chat())
    with pytest.raises(CannotCarry):
        CODEC.set(call, name, 1)
    with pytest.raises(CannotCarry):
        CODEC.cap(call, name, 1)


def test_a_cap_of_a_text_cant_be_carried(kit):
    with pytest.raises(CannotCarry):
        CODEC.cap(read(kit, kit.chat(temperature="hot")), "temperature", 1)


def test_an_edit_lands_at_its_pointer(kit):
    call = read(kit, kit.chat())
    sent = orjson.loads(CODEC.write_call(call, MEMBER, [Edit("/messages/0/content", "[gone]")]).body)
    assert sent["messages"][0]["content"] == "[gone]"
    assert call.body["messages"][0]["content"] == "hi"


@given(st.text(), st.text(max_size=5))
def test_the_estimate_grows_with_every_character(kit, text, more):
    count = lambda words: read(kit, kit.chat(messages=[{"role": "user", "content": words}])).tokens  # noqa: E731
    assert count(text) <= count(text + more)
    assert count(text) >= len(text.encode()) // 3


REPLY = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o-2026",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Let me look.",
                "tool_calls": [
                    {"id": "c0", "type": "function", "function": {"name": "read", "arguments": '{"path":"/srv/a"}'}},
                    {"id": "c1", "type": "function", "function": {"name": "wipe", "arguments": '{"path":"ALL"}'}},
                    {"id": "c2", "type": "custom", "custom": {"name": "shell", "input": "ls"}},
                ],
            },
            "finish_reason": "tool_calls",
        },
        {
            "index": 1,
            "message": {"role": "assistant", "content": None, "function_call": {"name": "wipe", "arguments": "not json"}},
            "finish_reason": "function_call",
        },
        {"index": 2, "message": {"role": "assistant", "content": "Done.", "reasoning_content": "WHY", "weird": "ODD"}, "finish_reason": "stop"},
    ],
    "usage": {"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16},
}


def test_a_reply_is_read_in_all_its_choices(kit):
    view = CODEC.read_reply(read(kit, kit.chat()), orjson.dumps(REPLY))
    assert view.tools == (
        Tool("read", args={"path": "/srv/a"}, call_id="c0"),
        Tool("wipe", args={"path": "ALL"}, call_id="c1"),
        Tool("shell", kind="custom", args={"input": "ls"}, call_id="c2"),
        Tool("wipe", args=None),
    )
    assert view.usage == Usage(7, 9)
    assert view.finish == ("tool_calls", "function_call", "stop")
    assert view.model == "gpt-4o-2026"
    assert {"Let me look.", "Done.", "WHY", "ODD", "not json"} <= {segment.text for segment in view.segments}
    for segment in view.segments:
        assert pointer.get(view.body, segment.pointer) == segment.text


@given(st.sets(st.integers(0, 3)))
def test_denied_proposals_are_taken_out_and_their_text_stands_there(kit, gone):
    view = CODEC.read_reply(read(kit, kit.chat()), orjson.dumps(REPLY))
    out = orjson.loads(CODEC.write_reply(view, {number: f"[no {number}]" for number in gone}))
    again = CODEC.read_reply(read(kit, kit.chat()), orjson.dumps(out))
    assert again.tools == tuple(tool for number, tool in enumerate(view.tools) if number not in gone)
    for number in gone:
        message = out["choices"][1 if number == 3 else 0]["message"]
        assert f"[no {number}]" in message["content"]
    assert again.finish == ("stop" if gone >= {0, 1, 2} else "tool_calls", "stop" if 3 in gone else "function_call", "stop")
    assert orjson.loads(orjson.dumps(view.body)) == REPLY


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"choices":1}',
        b'{"choices":[1]}',
        b'{"choices":[{}]}',
        b'{"choices":[],"choices":[]}',
        b'{"choices":[{"message":{"tool_calls":[1]}}]}',
        b'{"choices":[{"message":{"tool_calls":[{"custom":{"name":"a"},"function":{"name":"b"}}]}}]}',
    ],
)
def test_a_reply_that_cant_be_read_is_garbage(kit, body):
    with pytest.raises(UpstreamGarbage):
        CODEC.read_reply(read(kit, kit.chat()), body)


@pytest.mark.parametrize("arguments", ["[1]", '{"path":"/srv","path":"/etc"}', '{"path":"/srv","PATH":"/etc"}', "{", "\ud800"])
def test_arguments_with_more_than_one_reading_are_not_known(arguments):
    assert openai_chat.openai_chat_reply.tool_of({"function": {"name": "x", "arguments": arguments}}).args is None
