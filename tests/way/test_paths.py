"""One decision however a call is spelt: paths, dialects, model names; and what is not listed is never forwarded."""

import asyncio
import json

import pytest

CHAT = {"messages": [{"role": "user", "content": "hi"}]}


async def raw(stage, target, body=b"", *, method="POST", token="dev", headers=()):
    """Send these very bytes; returns (status, body)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port("data"))
    lines = [
        f"{method} {target} HTTP/1.1",
        "host: localhost",
        f"authorization: Bearer {stage.tokens[token]}",
        "content-type: application/json",
        "connection: close",
        *headers,
    ]
    writer.write("\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body)
    data = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    head, _, rest = data.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), rest


def chat(model="gpt-4o", **more):
    return json.dumps({"model": model, **CHAT, **more}).encode()


SAME = [
    "/v1/chat/completions",
    "/v1/chat/completions/",
    "//v1//chat/completions",
    "/V1/Chat/COMPLETIONS",
    "/v1/chat/%63ompletions",
    "/v1/chat/completions?x=1",
    "/v1/chat/completions?api-version=1&a=%2e%2e",
]


@pytest.mark.parametrize("target", SAME)
@pytest.mark.parametrize("model", ["gpt-4o", "GPT-4O", " gpt-4o"])
async def test_every_spelling_of_path_and_model_meets_the_same_deny(stage, target, model):
    status, _ = await raw(stage, target, chat(model, temperature=2))
    assert status in {400, 403}
    assert stage.upstream.count == 0


@pytest.mark.parametrize("target", SAME)
async def test_every_spelling_that_is_allowed_is_forwarded_under_one_name(stage, target):
    status, _ = await raw(stage, target, chat("GPT-4o"))
    assert status == 200
    assert [(seen.path, seen.json["model"]) for seen in stage.upstream.requests] == [("/v1/chat/completions", "gpt-4o")]


@pytest.mark.parametrize(
    "target",
    ["/v1/chat/completions/../../admin", "/v1/chat%2fcompletions", "/v1/chat/completions%00", "/v1/fine_tuning/jobs", "/v1/files", "/v1/images/generations", "/v1/audio/speech", "/v1/batches", "/", "/mcp", "/a2a/x", "/v1/chat/completions/x", "/v1/chat\\completions", "/v1/%2e%2e/v1/chat/completions", "/v1/messages/batches", "/v1/realtime", "*"],
)  # fmt: skip
async def test_what_is_not_listed_is_refused_and_never_forwarded(stage, target):
    status, _ = await raw(stage, target, chat())
    assert status in {400, 404}
    assert stage.upstream.count == 0


DIALECTS = {
    "chat": ("/v1/chat/completions", lambda m: {"model": m, **CHAT}),
    "completions": ("/v1/completions", lambda m: {"model": m, "prompt": "hi"}),
    "responses": ("/v1/responses", lambda m: {"model": m, "input": "hi"}),
    "messages": ("/v1/messages", lambda m: {"model": m, "max_tokens": 10, **CHAT}),
    "gemini": ("/v1beta/models/{m}:generateContent", lambda m: {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
    "gemini v1": ("/v1/models/{m}:generateContent", lambda m: {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
    "gemini stream": ("/v1beta/models/{m}:streamGenerateContent?alt=sse", lambda m: {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
}
MODEL = {"messages": "claude-sonnet-5-5", "gemini": "gemini-2.5-flash", "gemini v1": "gemini-2.5-flash", "gemini stream": "gemini-2.5-flash"}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("denied", [True, False])
async def test_one_deny_on_chat_holds_on_every_path_that_chats(make_stage, dialect, denied):
    from sidecar.testing import document

    def documents(stage):
        deny = document("Policy", "no-chat", match={"operation": ["chat"]}, rules=[{"name": "none", "effect": "deny"}])
        return [*stage.documents(), *([deny] if denied else [])]

    async with make_stage(documents) as stage:
        path, body = DIALECTS[dialect]
        model = MODEL.get(dialect, "gpt-4o")
        status, _ = await raw(stage, path.format(m=model), json.dumps(body(model)).encode())
        assert status == (403 if denied else 200)
        assert stage.upstream.count == (0 if denied else 1)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"gpt-4o","model":"gpt-4o-mini","messages":[]}',
        b'{"model":"gpt-4o","Model":"gpt-4o-mini","messages":[{"role":"user","content":"x"}]}',
        b'{"model":"gpt-4o","messages":[{"role":"user","content":"x","con\\u0074ent":"y"}]}',
        b'{"model":"gpt-4o","seed":123456789012345678901234567890,"messages":[{"role":"user","content":"x"}]}',
        b'{"model":"gpt-4o","messages":[{"role":"user","content":"\\ud800"}]}',
        b"[]",
        b"{",
        b'{"model":"gpt-4o"',
        b'\xef\xbb\xbf{"model":"gpt-4o","messages":[]}',
        b'{"model":["gpt-4o"],"messages":[]}',
        b'{"messages":[{"role":"user","content":"x"}]}',
        b'{"model":"gpt-4o","messages":"x"}',
        b'{"model":"gpt-4o","messages":' + b"[" * 2000 + b"]" * 2000 + b"}",
    ],
)
async def test_a_body_with_two_readings_or_none_is_refused(stage, body):
    status, answer = await raw(stage, "/v1/chat/completions", body)
    assert status == 400
    assert json.loads(answer)["error"]["type"]
    assert stage.upstream.count == 0
    assert stage.records()[-1]["effect"] == "deny"


async def test_a_body_that_is_no_json_by_its_type_is_a_415(stage):
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port("data"))
    body = chat()
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        + body
    )
    assert b" 415 " in (await reader.read()).split(b"\r\n")[0]
    writer.close()
    assert stage.upstream.count == 0


@pytest.mark.parametrize("header", ["host: evil.example", "origin: https://evil.example"])
async def test_a_foreign_host_or_origin_is_refused_before_anything_is_read(stage, header):
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port("data"))
    host = "" if header.startswith("host") else "host: localhost\r\n"
    body = chat()
    writer.write(
        f"POST /v1/chat/completions HTTP/1.1\r\n{host}{header}\r\nauthorization: Bearer {stage.tokens['dev']}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        + body
    )
    assert b" 403 " in (await reader.read()).split(b"\r\n")[0]
    writer.close()
    assert stage.upstream.count == 0


async def test_a_wrong_method_is_a_405_that_names_the_right_ones(stage):
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port("data"))
    writer.write(b"GET /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    head = (await reader.read()).partition(b"\r\n\r\n")[0].split(b"\r\n")
    writer.close()
    assert b" 405 " in head[0]
    assert b"allow: POST" in head
