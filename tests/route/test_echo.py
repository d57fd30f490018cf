"""The echo: real SDK types read what it says, whole and streamed alike, and it serves a permit like any core."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import orjson
import pytest
from anthropic.types import Message, MessageTokensCount
from google.genai.types import GenerateContentResponse
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import Completion, CreateEmbeddingResponse, ModerationCreateResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from sidecar.call import Call, Member, Outgoing
from sidecar.decision import Permit
from sidecar.errors import PermitError, UpstreamGarbage
from sidecar.principal import Principal
from sidecar.route.echo import EchoCore, answer
from sidecar.route.echo_script import Memory

TOOLS = 'call look {"q": "ab", "n": [1, 2]}\ncall wipe\ncall unknown {}\ncall look {broken}'
FUNCTIONS = [{"type": "function", "function": {"name": name}} for name in ("look", "wipe")]


def post(path: str, body: dict[str, Any], memory: Memory | None = None) -> Any:
    said = answer("POST", path, body, memory or Memory(), 1000.5)
    assert said.status == 200
    return orjson.loads(said.body) if isinstance(said.body, bytes) else said.body


def events(stream: tuple[bytes, ...]) -> list[Any]:
    assert all(one.endswith(b"\n\n") for one in stream)
    return [json.loads(one.rpartition(b"data: ")[2]) for one in stream if b"[DONE]" not in one]


def ask(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


def test_chat_says_the_last_user_text_back_n_times():
    said = ChatCompletion.model_validate(post("/v1/chat/completions", ask("hello there", n=2)))
    assert [(c.index, c.message.content, c.finish_reason) for c in said.choices] == [(0, "You said: hello there", "stop"), (1, "You said: hello there", "stop")]
    assert said.usage
    assert (said.usage.prompt_tokens, said.usage.completion_tokens, said.usage.total_tokens) == (3, 8, 11)
    assert (said.model, said.created) == ("m", 1000)


def test_a_token_limit_cuts_the_answer():
    said = ChatCompletion.model_validate(post("/chat/completions", ask("one two three", max_tokens=3)))
    assert (said.choices[0].message.content, said.choices[0].finish_reason) == ("You said: one", "length")


def test_chat_proposes_the_offered_tools_it_was_told_to_call():
    said = ChatCompletion.model_validate(post("/chat/completions", ask(TOOLS, tools=FUNCTIONS)))
    calls = said.choices[0].message.tool_calls or []
    assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == [("look", {"q": "ab", "n": [1, 2]}), ("wipe", {})]
    assert (said.choices[0].message.content, said.choices[0].finish_reason) == (None, "tool_calls")


def test_after_a_tools_result_nothing_is_proposed_again():
    body = ask(TOOLS, tools=FUNCTIONS)
    body["messages"] += [{"role": "assistant", "content": None}, {"role": "tool", "tool_call_id": "c", "content": "42"}]
    assert post("/chat/completions", body)["choices"][0]["message"]["content"] == "The tool said: 42"


@pytest.mark.parametrize("text", ["hello there", TOOLS])
def test_a_chat_stream_adds_up_to_the_whole_answer(text):
    asked = ask(text, tools=FUNCTIONS, n=2)
    whole = post("/chat/completions", asked)
    stream = post("/chat/completions", {**asked, "stream": True, "stream_options": {"include_usage": True}})
    chunks = [ChatCompletionChunk.model_validate(value) for value in events(stream)]
    assert stream[-1] == b"data: [DONE]\n\n"
    assert chunks[-1].usage
    assert chunks[-1].usage.model_dump(exclude_none=True) == whole["usage"]
    for index in (0, 1):
        mine = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
        message = whole["choices"][index]["message"]
        assert "".join(choice.delta.content or "" for choice in mine) == (message["content"] or "")
        arguments: dict[int, str] = {}
        for delta in (delta for choice in mine for delta in choice.delta.tool_calls or []):
            arguments[delta.index] = arguments.get(delta.index, "") + ((delta.function and delta.function.arguments) or "")
        assert list(arguments.values()) == [call["function"]["arguments"] for call in message.get("tool_calls", [])]
        assert mine[-1].finish_reason == whole["choices"][index]["finish_reason"]


def test_arguments_are_streamed_in_pieces():
    stream = events(post("/chat/completions", ask(TOOLS, tools=FUNCTIONS, stream=True)))
    assert sum("tool_calls" in choice["delta"] for value in stream for choice in value["choices"]) > 4


def test_completions_answer_each_prompt():
    said = Completion.model_validate(post("/completions", {"model": "m", "prompt": ["a", "b"], "n": 2}))
    assert [choice.text for choice in said.choices] == ["You said: a", "You said: a", "You said: b", "You said: b"]
    chunks = events(post("/completions", {"model": "m", "prompt": "a b", "stream": True}))
    assert "".join(choice["text"] for chunk in chunks for choice in chunk["choices"]) == "You said: a b"
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * 4 + ["stop"]


def test_embeddings_are_the_same_for_the_same_text_in_both_encodings():
    plain = CreateEmbeddingResponse.model_validate(post("/embeddings", {"model": "m", "input": ["a", "b", "a"], "dimensions": 4}))
    vectors = [one.embedding for one in plain.data]
    assert vectors[0] == vectors[2] != vectors[1]
    assert [len(vector) for vector in vectors] == [4, 4, 4]
    packed = post("/embeddings", {"model": "m", "input": "a", "dimensions": 4, "encoding_format": "base64"})["data"][0]["embedding"]
    assert list(struct.unpack("<4f", base64.b64decode(packed))) == pytest.approx(vectors[0])


def test_moderations_flag_nothing():
    said = ModerationCreateResponse.model_validate(post("/moderations", {"input": ["a", "b"]}))
    assert [result.flagged for result in said.results] == [False, False]


def respond(memory: Memory, **more: Any) -> Any:
    return post("/responses", {"model": "m", "input": "hello there", **more}, memory)


def test_responses_are_kept_and_found_cancelled_and_deleted_by_id():
    memory = Memory(run="r")
    said = Response.model_validate(respond(memory))
    assert (said.output_text, said.status) == ("You said: hello there", "completed")
    assert orjson.loads(answer("GET", f"/v1/responses/{said.id}", {}, memory).body)["id"] == said.id
    assert Response.model_validate(post(f"/responses/{said.id}/cancel", {}, memory)).status == "cancelled"
    assert orjson.loads(answer("DELETE", f"/responses/{said.id}", {}, memory).body)["deleted"] is True
    assert answer("GET", f"/responses/{said.id}", {}, memory).status == 404
    assert answer("GET", f"/responses/{respond(memory, store=False)['id']}", {}, memory).status == 404


def test_a_response_goes_on_from_one_it_knows_and_from_no_other():
    memory = Memory()
    first = respond(memory)
    assert respond(memory, previous_response_id=first["id"])["usage"]["input_tokens"] == 2 + first["usage"]["total_tokens"]
    assert answer("POST", "/responses", {"input": "x", "previous_response_id": "resp_other"}, memory).status == 404


def test_what_is_remembered_is_bounded():
    memory = Memory(limit=2)
    ids = [respond(memory)["id"] for _ in range(3)]
    assert list(memory.responses) == ids[1:]


@pytest.mark.parametrize("text", ["hello there", TOOLS])
def test_a_response_stream_adds_up_to_its_last_event(text):
    tools = [{"type": "function", "name": name, "parameters": {}, "strict": False} for name in ("look", "wipe")]
    values = events(respond(Memory(), input=[{"role": "user", "content": [{"type": "input_text", "text": text}]}], tools=tools, stream=True))
    for value in values:
        TypeAdapter(ResponseStreamEvent).validate_python(value)
    assert [value["sequence_number"] for value in values] == list(range(len(values)))
    final = Response.model_validate(values[-1]["response"])
    assert "".join(value["delta"] for value in values if value["type"] == "response.output_text.delta") == final.output_text
    pieces: dict[str, str] = {}
    for value in values:
        if value["type"] == "response.function_call_arguments.delta":
            pieces[value["item_id"]] = pieces.get(value["item_id"], "") + value["delta"]
    assert pieces == {item.id: item.arguments for item in final.output if item.type == "function_call"}
    assert (values[-1]["type"], len(pieces)) == ("response.completed", 2 if text == TOOLS else 0)


def test_messages_and_their_count():
    body = ask("hello there", max_tokens=99)
    said = Message.model_validate(post("/v1/messages", body))
    assert [block.text for block in said.content if block.type == "text"] == ["You said: hello there"]
    assert (said.stop_reason, said.usage.input_tokens, said.usage.output_tokens) == ("end_turn", 3, 4)
    assert MessageTokensCount.model_validate(post("/v1/messages/count_tokens", body)).input_tokens == 3
    assert Message.model_validate(post("/messages", ask("a b c", max_tokens=3))).stop_reason == "max_tokens"


def test_messages_propose_tools_once():
    body = ask(TOOLS, max_tokens=99, tools=[{"name": "look"}, {"name": "wipe"}, {"type": "web_search_20250305", "name": "unknown"}])
    said = Message.model_validate(post("/messages", body))
    assert [(block.name, block.input) for block in said.content if block.type == "tool_use"] == [("look", {"q": "ab", "n": [1, 2]}), ("wipe", {})]
    assert said.stop_reason == "tool_use"
    body["messages"].append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "42"}]})
    assert post("/messages", body)["content"][0]["text"] == "The tool said: 42"


def generate(text: str, **more: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": text}]}], **more}


def test_gemini_answers_each_candidate_and_counts():
    body = generate("hello there", generationConfig={"candidateCount": 2, "maxOutputTokens": 3})
    said = GenerateContentResponse.model_validate(post("/v1beta/models/g:generateContent", body))
    assert [(one.content.parts[0].text, one.finish_reason.name) for one in said.candidates or []] == [("You said: hello", "MAX_TOKENS")] * 2
    assert (said.usage_metadata.prompt_token_count, said.usage_metadata.candidates_token_count) == (3, 6)
    assert post("/models/g:countTokens", body) == {"totalTokens": 3}


@pytest.mark.parametrize("text", ["hello there", TOOLS])
def test_a_gemini_stream_adds_up_to_the_whole_answer(text):
    body = generate(text, tools=[{"functionDeclarations": [{"name": "look"}, {"name": "wipe"}]}])
    whole = GenerateContentResponse.model_validate(post("/models/g:generateContent", body))
    chunks = [GenerateContentResponse.model_validate(value) for value in events(post("/models/g:streamGenerateContent?alt=sse", body))]
    said = [part for chunk in chunks for part in chunk.candidates[0].content.parts]
    assert "".join(part.text or "" for part in said) == "".join(part.text or "" for part in whole.candidates[0].content.parts)
    assert [call.args for chunk in chunks for call in chunk.function_calls or []] == [call.args for call in whole.function_calls or []]
    assert chunks[-1].candidates[0].finish_reason == whole.candidates[0].finish_reason
    assert chunks[-1].usage_metadata == whole.usage_metadata


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/chat/completions"), ("POST", "/nothing"), ("POST", "/models/g:embed"), ("PUT", "/responses/r"), ("GET", "/")]
)
def test_what_it_does_not_know_is_404(method, path):
    assert answer(method, path, {}, Memory()).status == 404


junk = st.recursive(
    st.none() | st.integers(-1, 9) | st.sampled_from(["hi", "user", "call look {}"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "parts", "function", "name"]), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = [
    "messages",
    "input",
    "prompt",
    "contents",
    "tools",
    "n",
    "max_tokens",
    "dimensions",
    "stream",
    "stream_options",
    "generationConfig",
    "previous_response_id",
]


@settings(deadline=None)
@given(
    st.sampled_from(["/chat/completions", "/completions", "/responses", "/embeddings", "/messages", "/models/g:streamGenerateContent"]),
    st.dictionaries(st.sampled_from(FIELDS), junk),
)
def test_whatever_it_is_sent_it_has_an_answer(path, body):
    assert answer("POST", path, body, Memory()).status in (200, 404)


def permit(body: dict[str, Any], path: str = "/chat/completions") -> Permit:
    member = Member("echo", "m")
    call = Call(id="c", protocol="llm", operation="chat", dialect="openai_chat", target="m")
    payload = Outgoing("POST", path, (), orjson.dumps(body))
    return Permit(call, Principal.of("key:a"), "d1", (member,), {"m": payload}, expires=100.0)


async def test_the_core_answers_a_permit_once():
    core = EchoCore(lambda: 50.0)
    held = permit(ask("hi"))
    reply = await core.send(held)
    assert (reply.status, reply.upstream, reply.model, reply.header("content-type")) == (200, "echo", "m", "application/json")
    assert orjson.loads(await reply.body.read(10_000))["choices"][0]["message"]["content"] == "You said: hi"
    with pytest.raises(PermitError):
        await core.send(held)
    with pytest.raises(PermitError):
        await EchoCore(lambda: 101.0).send(permit(ask("hi")))
    assert (core.carries(held.call), core.health()) == (True, {})
    await core.close()


async def test_the_core_streams_event_by_event_until_it_is_closed():
    reply = await EchoCore(lambda: 50.0).send(permit(ask("hi", stream=True)))
    assert reply.header("content-type") == "text/event-stream"
    assert (await reply.body.chunk()).startswith(b"data: {")
    reply.body.close()
    assert await reply.body.chunk() == b""


async def test_a_body_over_the_limit_is_not_read():
    reply = await EchoCore(lambda: 50.0).send(permit(ask("hi")))
    with pytest.raises(UpstreamGarbage):
        await reply.body.read(10)


async def test_two_runs_mint_no_id_twice():
    ids = set()
    for now in (50.0, 51.0):
        reply = await EchoCore(lambda now=now: now).send(permit({"model": "m", "input": "x"}, "/responses"))
        ids.add(orjson.loads(await reply.body.read(10_000))["id"])
    assert len(ids) == 2
