"""The Gemini request: one spelling, everything it says is seen, what was judged is what is sent."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.call import Call, Member, Tool, Usage
from sidecar.errors import CallError, CannotCarry, MalformedCall, UpstreamGarbage
from sidecar.segment import Edit
from sidecar.wire import family_of, gemini_count_tokens, gemini_generate, match, pointer
from sidecar.wire.base import WireRequest

CODEC = gemini_generate.CODEC
MEMBER = Member("gemini", "gemini-real")
JSON = (("content-type", "application/json"),)
SSE = (("alt", "sse"),)


def read(body: object, path: str = "/v1beta/models/gemini-x:generateContent", query: tuple[tuple[str, str], ...] = ()) -> Call:
    codec, parts = match("POST", path)
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return codec.read_call("c1", WireRequest("POST", path, query, (*JSON, ("x-goog-api-key", "secret"), ("authorization", "Bearer secret")), raw), parts)


def sent(call: Call, *edits: Edit) -> Any:
    return orjson.loads(CODEC.write_call(call, MEMBER, edits).body)


FULL = {
    "systemInstruction": {"role": "user", "parts": [{"text": "SYS"}]},
    "contents": [
        {"parts": [{"text": "ONE"}, {"inlineData": {"mimeType": "image/png", "data": "sealed"}}]},
        {
            "role": "model",
            "parts": [
                {"text": "THINK", "thought": True, "thoughtSignature": "sealed"},
                {"functionCall": {"name": "look", "args": {"q": "ARG", "a key that speaks": [{"x": "NESTED"}]}}, "thoughtSignature": "sealed"},
                {"executableCode": {"language": "PYTHON", "code": "CODE"}},
                {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "OUTPUT"}},
            ],
        },
        {"role": "function", "parts": [{"functionResponse": {"name": "look", "response": {"r": "RESULT"}, "parts": [{"inlineData": {"mimeType": "audio/wav", "data": "sealed"}}]}}]},
        {"role": "user", "parts": [{"fileData": {"fileUri": "https://x.test/URI"}}, {"fromTheFuture": {"words": "FUTURE"}}]},
    ],
    "tools": [{"functionDeclarations": [{"name": "look", "description": "DESCRIBED", "parameters": {"type": "OBJECT", "title": "SCHEMA"}}]}],
    "generationConfig": {"stopSequences": ["STOPPER"], "responseSchema": {"description": "SHAPE"}, "temperature": 0.5},
    "safetySettings": [{"category": "CATEGORY", "threshold": "BLOCK_NONE"}],
    "surprise": {"a": "UNKNOWN"},
}  # fmt: skip
ORIGINS = {
    "SYS": "system",
    "ONE": "user",
    "THINK": "reasoning",
    "ARG": "tool_args",
    "NESTED": "tool_args",
    "a key that speaks": "tool_args",
    "CODE": "tool_args",
    "OUTPUT": "tool_result",
    "RESULT": "tool_result",
    "https://x.test/URI": "unknown",
    "FUTURE": "unknown",
    "DESCRIBED": "tool_definition",
    "STOPPER": "input",
    "SHAPE": "input",
    "CATEGORY": "input",
}  # fmt: skip


def test_every_text_of_a_body_is_a_segment_with_its_origin():
    found = {segment.text: segment.origin for segment in read(FULL).segments}
    assert {text: found.get(text) for text in ORIGINS} == ORIGINS
    assert any("SCHEMA" in text for text in found)
    assert any("UNKNOWN" in text for text in found)
    assert "sealed" not in found
    assert [s.text for s in read(FULL).segments if s.origin == "media"] == ["image", "audio", "file"]


def test_without_edits_the_same_document_is_sent_to_the_members_own_path():
    out = CODEC.write_call(read(FULL), MEMBER, ())
    assert orjson.loads(out.body) == FULL
    assert (out.method, out.path) == ("POST", "/models/gemini-real:generateContent")
    assert not [value for _, value in out.headers if "secret" in value]


def test_a_stream_is_asked_for_as_events_and_in_no_other_form():
    path = "/v1beta/models/gemini-x:streamGenerateContent"
    call = read(FULL, path, (*SSE, ("key", "secret"), ("$httpMethod", "DELETE")))
    assert call.stream
    assert CODEC.write_call(call, MEMBER, ()).path == "/models/gemini-real:streamGenerateContent?alt=sse"
    for query in ((), (("alt", "json"),)):
        with pytest.raises(MalformedCall, match="alt=sse"):
            read(FULL, path, query)


@pytest.mark.parametrize(
    "path",
    [
        "/v1beta/models/gemini-x:generateContent",
        "/v1/models/gemini-x:generateContent",
        "/V1BETA/Models/Gemini-X:GENERATECONTENT",
        "/v1/models/GEMINI-X:streamgeneratecontent",
    ],
)
def test_each_spelling_of_the_path_is_the_same_call(path):
    call = read(FULL, path, SSE)
    assert (call.operation, call.dialect, call.target) == ("chat", "gemini_generate", "gemini-x")
    assert family_of(path) == "gemini"


SNAKE = {
    "system_instruction": {"parts": {"text": "SYS"}},
    "contents": {"role": "user", "parts": {"text": "ONE"}},
    "generation_config": {"max_output_tokens": 9, "thinking_config": {"thinking_budget": 7}},
    "tools": {"google_search": {}, "function_declarations": {"name": "look", "parameters": {"properties": {"snake_case": {"type": "STRING"}}}}},
    "cached_content": "cachedContents/1",
}


@pytest.mark.parametrize("respell", [lambda raw: raw, lambda raw: raw.replace(b"_", b"\\u005f")])
def test_the_other_spelling_and_single_objects_read_the_same(respell):
    call = read(respell(orjson.dumps(SNAKE)))
    assert {s.text: s.origin for s in call.segments}.items() >= {"SYS": "system", "ONE": "user"}.items()
    assert (call.params, call.max_output) == ({"max_tokens": 9, "thinking_budget": 7}, 9)
    assert (call.tools, call.refs) == ((Tool("google_search", kind="googleSearch"),), (("cached_content", "cachedContents/1"),))
    assert sent(call)["generationConfig"]["maxOutputTokens"] == 9
    assert "snake_case" in sent(call)["tools"]["functionDeclarations"]["parameters"]["properties"]


def test_a_field_said_in_both_spellings_is_refused():
    with pytest.raises(MalformedCall, match="two spellings"):
        read({"contents": [], "generationConfig": {"maxOutputTokens": 1, "max_output_tokens": 10_000}})


def test_what_the_provider_runs_is_judged_in_the_request():
    tools = [
        {"googleSearch": {}, "urlContext": {}},
        {"codeExecution": {}},
        {"mcpServers": [{"name": "docs", "streamableHttpTransport": {"url": "https://mcp.test"}}]},
    ]
    call = read({"contents": [], "tools": tools})
    assert [(tool.name, tool.kind) for tool in call.tools] == [
        ("google_search", "googleSearch"),
        ("url_context", "urlContext"),
        ("code_execution", "codeExecution"),
        ("docs", "mcp"),
    ]
    assert "https://mcp.test" in {s.text for s in call.segments}


@pytest.mark.parametrize("uri", ["files/abc", "https://generativelanguage.googleapis.com/v1beta/files/abc"])
def test_files_at_the_provider_are_references(uri):
    assert read({"contents": [{"parts": [{"fileData": {"fileUri": uri}}]}]}).refs == (("file", "files/abc"),)


def test_the_model_of_the_body_must_be_that_of_the_path():
    assert "model" not in sent(read({"model": "models/Gemini-X", "contents": []}))
    with pytest.raises(MalformedCall, match="not the model"):
        read({"model": "models/gemini-dearer", "contents": []})


def test_an_edit_inside_a_signed_part_is_refused():
    with pytest.raises(CannotCarry):
        sent(read(FULL), Edit("/contents/1/parts/1/functionCall/args/q", "x"))
    assert sent(read(FULL), Edit("/contents/1/parts/2/executableCode/code", "x"))["contents"][1]["parts"][2]["executableCode"]["code"] == "x"


@pytest.mark.parametrize(
    ("config", "name", "maximum", "edits"),
    [
        ({}, "max_tokens", 50, {"maxOutputTokens": 50}),
        ({"maxOutputTokens": 40}, "max_tokens", 50, {}),
        ({}, "n", 1, {}),
        ({"candidateCount": 4}, "n", 2, {"candidateCount": 2}),
        ({}, "temperature", 0.5, {"temperature": 0.5}),
        ({}, "thinking_budget", 100, {"thinkingConfig/thinkingBudget": 100}),
        ({"thinkingConfig": {"thinkingBudget": -1}}, "thinking_budget", 100, {"thinkingConfig/thinkingBudget": 100}),
        ({"thinkingConfig": {"thinkingBudget": 0}}, "thinking_budget", 100, {}),
    ],
)
def test_a_cap_holds_a_number_down(config, name, maximum, edits):
    call = read({"contents": [], "generationConfig": config})
    assert {edit.pointer.removeprefix("/generationConfig/"): edit.value for edit in CODEC.cap(call, name, maximum)} == edits


def test_what_has_no_place_is_not_carried():
    call = read({"contents": [], "generationConfig": {"thinkingConfig": {"thinkingLevel": "HIGH"}}})
    for name in ("model", "service_tier", "stream"):
        with pytest.raises(CannotCarry):
            CODEC.cap(call, name, 1)
        with pytest.raises(CannotCarry):
            CODEC.set(call, name, 1)
    with pytest.raises(CannotCarry):
        CODEC.cap(call, "thinking_budget", 1)


def test_parameters_are_set_where_the_wire_has_them():
    call = read({"contents": []})
    made = sent(call, *CODEC.set(call, "stop", ["x"]), *CODEC.set(call, "max_tokens", 5), *CODEC.set(call, "thinking_budget", 0))
    assert made["generationConfig"] == {"stopSequences": ["x"], "maxOutputTokens": 5, "thinkingConfig": {"thinkingBudget": 0}}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"contents": "x"}',
        b'{"contents": ["x"]}',
        b'{"contents": [{"role": "robot"}]}',
        b'{"contents": [{"parts": ["x"]}]}',
        b'{"contents": [], "contents": []}',
        b'{"systemInstruction": "x"}',
        b'{"generationConfig": []}',
        b'{"generationConfig": {"maxOutputTokens": "9"}}',
        b'{"generationConfig": {"candidateCount": 1.5}}',
        b'{"generationConfig": {"temperature": "0.5"}}',
        b'{"tools": [{"mcpServers": [{}]}]}',
        b'{"contents": [{"parts": [{"fileData": {}}]}]}',
        b'{"toolConfig": {"functionCallingConfig": {"streamFunctionCallArguments": true}}}',
    ],
)
def test_a_shape_that_is_none_is_malformed(body):
    with pytest.raises(MalformedCall):
        read(body)


texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).map(lambda text: "~" + text)
values = st.recursive(
    texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/~", min_size=1, max_size=4), inner, max_size=3), max_leaves=6
)
parts = (
    st.builds(lambda t: {"text": t}, texts)
    | st.builds(lambda v: {"functionCall": {"name": "n", "args": {"v": v}}}, values)
    | st.builds(lambda v: {"functionResponse": {"name": "n", "response": {"v": v}}}, values)
    | st.builds(lambda v: {"noSuchPart": v}, values)
)
contents = st.builds(lambda role, parts: {"role": role, "parts": parts}, st.sampled_from(["user", "model"]), st.lists(parts, max_size=4) | parts)
bodies = st.fixed_dictionaries(
    {"contents": st.lists(contents, max_size=4) | contents}, optional={"systemInstruction": st.builds(lambda p: {"parts": [p]}, parts), "surprise": texts}
)


def leaves(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value] if value.startswith("~") else []
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [leaf for child in children for leaf in leaves(child)]


@settings(deadline=None)
@given(bodies)
def test_no_text_goes_out_unseen_and_each_pointer_leads_to_its_text(body):
    call = read(body)
    assert sorted(leaves(body)) == sorted(s.text for s in call.segments if s.text.startswith("~") and pointer.get(call.body, s.pointer) == s.text)
    assert sent(call) == body


@settings(deadline=None)
@given(bodies, st.data())
def test_an_edit_lands_where_its_segment_was_read_and_nowhere_else(body, data):
    call = read(body)
    places = [s for s in call.segments if s.text.startswith("~") and pointer.get(call.body, s.pointer) == s.text]
    if places:
        place = data.draw(st.sampled_from(places))
        made = sent(call, Edit(place.pointer, "[gone]"))
        assert pointer.get(made, place.pointer) == "[gone]"
        assert pointer.apply(made, [Edit(place.pointer, place.text)]) == body


junk = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["text", "user", "x"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["role", "parts", "text", "function_call", "functionCall", "inlineData", "mcpServers", "name", "functionCallingConfig"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "cachedContent", "model"]), junk))
def test_garbage_raises_only_call_errors(body):
    with suppress(CallError):
        CODEC.write_call(read(body), MEMBER, ())


@pytest.mark.parametrize(
    "body",
    [{"contents": [{"parts": [{"text": "ONE"}]}]}, {"generate_content_request": {"model": "models/gemini-x", "contents": [{"parts": [{"text": "ONE"}]}]}}],
)
def test_counting_reads_both_forms_and_costs_nothing(body):
    codec = gemini_count_tokens.CODEC
    call = read(body, "/v1beta/models/gemini-x:countTokens")
    assert (call.operation, [s.text for s in call.segments]) == ("count_tokens", ["ONE"])
    out = codec.write_call(call, MEMBER, ())
    assert out.path == "/models/gemini-real:countTokens"
    assert orjson.loads(out.body).get("generateContentRequest", {}).get("model", "models/gemini-real") == "models/gemini-real"
    view = codec.read_reply(call, b'{"totalTokens": 7}')
    assert (view.usage, codec.write_reply(view, {}), codec.cap(call, "max_tokens", 1)) == (Usage(), b'{"totalTokens":7}', ())
    with pytest.raises(UpstreamGarbage):
        codec.read_reply(call, b'{"totalTokens": "7"}')


def test_the_deepest_body_that_parses_is_read():
    value: Any = "DEEP"
    for _ in range(120):
        value = [{"snake_case": value}]
    assert "DEEP" in {s.text for s in read({"contents": [{"parts": [{"new_part": value}]}]}).segments}


def test_counting_for_another_model_than_the_paths_is_refused():
    with pytest.raises(MalformedCall):
        read({"generateContentRequest": {"model": "models/other", "contents": []}}, "/v1beta/models/gemini-x:countTokens")
