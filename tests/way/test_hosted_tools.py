"""Tools that the provider would run itself are judged in the request; and proposals that cannot be read are judged without what could not be read."""

import json

import aiohttp
import anthropic
import openai
import pytest
from aiohttp import web
from google import genai
from google.genai import types as genai_types

from sidecar.testing import document

ASK = [{"role": "user", "content": "hi"}]
CONTENTS = [{"role": "user", "parts": [{"text": "hi"}]}]
GEMINI = "/v1beta/models/gemini-2.5-flash:generateContent"
HOSTED = {
    "responses web_search": ("/v1/responses", {"model": "gpt-4o", "input": "hi", "tools": [{"type": "web_search"}]}),
    "responses preview": ("/v1/responses", {"model": "gpt-4o", "input": "hi", "tools": [{"type": "web_search_preview_2025_03_11"}]}),
    "responses mcp": ("/v1/responses", {"model": "gpt-4o", "input": "hi", "tools": [{"type": "mcp", "server_label": "evil", "server_url": "https://mcp.evil.example"}]}),
    "responses second": ("/v1/responses", {"model": "gpt-4o", "input": "hi", "tools": [{"type": "function", "name": "f", "parameters": {}}, {"type": "web_search"}]}),
    "chat": ("/v1/chat/completions", {"model": "gpt-4o", "messages": ASK, "web_search_options": {}}),
    "chat streamed": ("/v1/chat/completions", {"model": "gpt-4o", "messages": ASK, "web_search_options": {}, "stream": True}),
    "messages": ("/v1/messages", {"model": "claude-sonnet-5-5", "max_tokens": 9, "messages": ASK, "tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
    "messages mcp": ("/v1/messages", {"model": "claude-sonnet-5-5", "max_tokens": 9, "messages": ASK, "mcp_servers": [{"type": "url", "name": "evil", "url": "https://mcp.evil.example"}]}),
    "gemini": (GEMINI, {"contents": CONTENTS, "tools": [{"googleSearch": {}}]}),
    "gemini snake": (GEMINI, {"contents": CONTENTS, "tools": [{"google_search": {}}]}),
    "gemini beside functions": (GEMINI, {"contents": CONTENTS, "tools": [{"functionDeclarations": [{"name": "f"}], "googleSearch": {}}]}),
}  # fmt: skip


def denying(stage):
    rules = [{"name": "no-search", "effect": "deny", "message": "Search from here is closed."}]
    targets = ["web_search*", "evil", "evil/**", "google_search"]
    return [*stage.documents(), document("Policy", "hosted", match={"protocol": ["llm"], "operation": ["tool_call"], "target": targets}, rules=rules)]


async def post(stage, path, body, token="dev"):
    headers = {"authorization": f"Bearer {stage.tokens[token]}"}
    async with aiohttp.ClientSession() as session, session.post(stage.base + path, json=body, headers=headers) as answer:
        return answer.status, await answer.read()


@pytest.mark.parametrize("case", HOSTED)
async def test_a_tool_that_the_provider_would_run_is_denied_before_the_upstream_sees_anything(make_stage, case):
    async with make_stage(denying) as stage:
        status, data = await post(stage, *HOSTED[case])
        assert status == 403
        row = stage.records()[-1]
        assert "hosted/no-search" in row["by"]
        assert row["id"].encode() in data
        assert stage.upstream.count == 0


@pytest.mark.parametrize("case", HOSTED)
async def test_without_that_rule_the_same_request_is_forwarded(make_stage, case):
    def free(stage):
        return [each for each in stage.documents() if each["metadata"]["name"] != "tools"]

    async with make_stage(free) as stage:
        status, _ = await post(stage, *HOSTED[case])
        assert status == 200
        assert stage.upstream.count == 1


@pytest.mark.parametrize("case", HOSTED)
async def test_where_tool_calls_are_denied_by_default_hosted_tools_are_too(make_stage, case):
    def listed(stage):
        return [each for each in stage.documents(default={"toolCall": "deny"}) if each["metadata"]["name"] != "tools"]

    async with make_stage(listed) as stage:
        status, _ = await post(stage, *HOSTED[case])
        assert status == 403
        assert stage.upstream.count == 0


CALL = {"id": "call_1", "type": "function", "function": {"name": "read", "arguments": ""}}
BROKEN = ['{"path": "/srv/QQQQ', "[1]", '"QQQQ"', '{"path":"/srv/a","path":"/etc/QQQQ"}', '{"path":"\\ud800"}', '{"path":"/srv/a"} {"path":"/etc/QQQQ"}']


def only_srv(stage, **settings):
    rule = {"name": "only-srv", "when": "!path.within(string(call.args.path), '/srv')", "effect": "deny"}
    return [*stage.documents(**settings), document("Policy", "mine", match={"protocol": ["llm"], "operation": ["tool_call"], "target": ["read"]}, rules=[rule])]


def proposing(arguments):
    """An upstream that proposes `read` with these very arguments, whole or streamed in two pieces."""
    whole = {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4o"}
    call = {**CALL, "function": {"name": "read", "arguments": arguments}}

    async def answer(request, body):
        if not json.loads(body).get("stream"):
            return web.json_response(
                {**whole, "choices": [{"index": 0, "message": {"role": "assistant", "content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}]}
            )
        half = len(arguments) // 2
        deltas = [
            {"role": "assistant", "tool_calls": [{"index": 0, **CALL}]},
            *({"tool_calls": [{"index": 0, "function": {"arguments": text}}]} for text in (arguments[:half], arguments[half:])),
        ]
        chunks = [{**whole, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
        chunks.append({**whole, "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
        text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        return web.Response(text=text, content_type="text/event-stream")

    return answer  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("arguments", BROKEN)
async def test_arguments_with_no_reading_or_two_count_as_matched_by_a_deny(make_stage, capfd, arguments, stream):
    async with make_stage(only_srv) as stage:
        stage.upstream.custom = proposing(arguments)
        status, data = await post(stage, "/v1/chat/completions", {"model": "gpt-4o", "messages": ASK, "stream": stream})
        assert status == 200
        assert b"tool call denied by mine/only-srv" in data
        assert b"tool_calls" not in data
        assert b"QQQQ" not in data
        row = next(row for row in stage.records() if row["call"]["operation"] == "tool_call")
        assert (row["effect"], [reason["result"] for reason in row["reasons"] if reason["rule"] == "mine/only-srv"]) == ("deny", ["error"])
        assert "QQQQ" not in (stage.state / "decisions.jsonl").read_text() + "".join(capfd.readouterr())


@pytest.mark.parametrize("denied", [True, False])
async def test_arguments_over_the_cap_are_judged_unread(make_stage, denied):
    """A rule on arguments counts as matched; one on the name alone lets the whole of it through."""

    def documents(stage):
        small = {"limits": {"event": "4KiB"}}
        return only_srv(stage, **small) if denied else stage.documents(**small)

    async with make_stage(documents) as stage:
        path = "/srv/" + "Q" * 6000
        stage.upstream.custom = proposing(json.dumps({"path": path}))
        status, data = await post(stage, "/v1/chat/completions", {"model": "gpt-4o", "messages": ASK, "stream": True})
        assert status == 200
        assert (b"QQQQ" in data, b"tool call denied by mine/only-srv" in data) == (not denied, denied)
        assert data.endswith(b"data: [DONE]\n\n")
        assert (b'"finish_reason":"stop"' in data) == denied


# ---------------------------------------------------------------- the SDKs read what is left


TEXT = 'call read {"path":"/srv/a"}\ncall rm {"path":"/srv/QQQQ"}'
FUNCTIONS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("read", "rm")]


async def test_the_openai_sdk_reads_a_stream_with_a_proposal_taken_out(stage):
    client = openai.AsyncOpenAI(base_url=f"{stage.base}/v1", api_key=stage.tokens["dev"])
    async with client.chat.completions.stream(model="gpt-4o", messages=[{"role": "user", "content": TEXT}], tools=FUNCTIONS) as stream:
        message = (await stream.get_final_completion()).choices[0].message
    tools = [{"type": "function", "name": each["function"]["name"], "parameters": {"type": "object"}, "strict": False} for each in FUNCTIONS]
    async with client.responses.stream(model="gpt-4o", input=TEXT, tools=tools) as stream:
        response = await stream.get_final_response()
    await client.close()
    assert [call.function.name for call in message.tool_calls] == ["read"]
    assert "denied by tools/no-rm" in message.content
    assert [item.type for item in response.output] == ["function_call", "message"]
    assert "denied by tools/no-rm" in response.output_text


async def test_the_anthropic_sdk_reads_a_stream_with_a_proposal_taken_out(stage):
    tools = [{"name": name, "input_schema": {"type": "object"}} for name in ("read", "rm")]
    client = anthropic.AsyncAnthropic(base_url=stage.base, api_key=stage.tokens["dev"])
    async with client.messages.stream(model="claude-sonnet-5-5", max_tokens=99, messages=[{"role": "user", "content": TEXT}], tools=tools) as stream:
        message = await stream.get_final_message()
    await client.close()
    assert [block.type for block in message.content] == ["tool_use", "text"]
    assert "denied by tools/no-rm" in message.content[1].text
    assert message.stop_reason == "tool_use"


async def test_the_gemini_sdk_reads_a_stream_with_a_proposal_taken_out(stage):
    client = genai.Client(api_key=stage.tokens["dev"], http_options=genai_types.HttpOptions(base_url=stage.base))
    declared = [genai_types.FunctionDeclaration(name=name) for name in ("read", "rm")]
    config = genai_types.GenerateContentConfig(tools=[genai_types.Tool(function_declarations=declared)])
    parts = []
    async for chunk in await client.aio.models.generate_content_stream(model="gemini-2.5-flash", contents=TEXT, config=config):
        parts += chunk.candidates[0].content.parts
    await client.aio.aclose()
    client.close()
    assert [part.function_call.name for part in parts if part.function_call] == ["read"]
    assert "denied by tools/no-rm" in "".join(part.text or "" for part in parts)
