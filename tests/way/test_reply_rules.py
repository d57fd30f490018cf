"""Response rules on the wire: what must see the end holds the stream, what reads the head speaks before the first byte, and a reply denied is a plain no."""

import asyncio
import json

import aiohttp
import pytest
from aiohttp import web

from sidecar.route.echo import answer
from sidecar.route.echo_script import Memory
from sidecar.testing import document

TURN = [{"role": "user", "content": "one two three"}]
TOOL = [{"type": "function", "function": {"name": "read", "parameters": {"type": "object"}}}, {"type": "function", "function": {"name": "rm", "parameters": {"type": "object"}}}]  # fmt: skip
DIALECTS = {
    "chat": ("/v1/chat/completions", {"model": "gpt-4o", "messages": TURN}),
    "responses": ("/v1/responses", {"model": "gpt-4o", "input": "one two three"}),
    "messages": ("/v1/messages", {"model": "claude-sonnet-5-5", "max_tokens": 99, "messages": TURN}),
    "gemini": ("/v1beta/models/gemini-2.5-flash:generateContent", {"contents": [{"role": "user", "parts": [{"text": "one two three"}]}]}),
}
both = pytest.mark.parametrize(("dialect", "stream"), [(dialect, stream) for dialect in DIALECTS for stream in (False, True)])


def ruled(when, effect="deny", *, mode="enforce", buffer=True, **more):
    rule = {"name": "end", "when": when, "effect": effect, "buffer": buffer, "message": "Not this reply.", **more}

    def documents(stage):
        return [
            *stage.documents(),
            document("Policy", "after", mode=mode, match={"protocol": ["llm"], "operation": ["chat"], "phase": "response"}, rules=[rule]),
        ]

    return documents


async def asked(stage, dialect, stream, **more):
    path, body = DIALECTS[dialect]
    body = {**body, **more}
    if stream and dialect == "gemini":
        path = path.replace("generateC", "streamGenerateC") + "?alt=sse"
    elif stream:
        body["stream"] = True
    headers = {"authorization": f"Bearer {stage.tokens['dev']}"}
    async with asyncio.timeout(5), aiohttp.ClientSession() as session, session.post(stage.base + path, json=body, headers=headers) as got:
        return got.status, got.headers, await got.read()


@both
async def test_a_reply_that_is_denied_is_a_plain_403_whole_or_streamed(make_stage, ended, dialect, stream):
    async with make_stage(ruled("reply.tokens > 2"), on_finished=ended) as stage:
        status, headers, data = await asked(stage, dialect, stream)
        assert (status, headers["content-type"].split(";")[0]) == (403, "application/json")
        assert b"Not this reply." in data
        assert b"three" not in data
        assert stage.upstream.count == 1
        assert [(row["effect"], row["by"]) for row in stage.records()] == [("allow", ["base/known"]), ("deny", ["after/end"])]
        _, settlement = await ended.one(403)
        assert settlement.usage.output_tokens > 2, "the provider worked for it"


@both
async def test_a_reply_that_the_rule_lets_go_passes_whole(make_stage, dialect, stream):
    async with make_stage(ruled("reply.tokens > 2000")) as stage:
        status, _, data = await asked(stage, dialect, stream)
        assert status == 200
        assert data == stage.upstream.answers[0]


async def test_a_held_stream_tells_nothing_before_its_end(make_stage):
    gate, said = asyncio.Event(), asyncio.Event()

    async def paced(request, body):
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        events = answer("POST", request.path_qs, json.loads(body), Memory()).body
        await response.write(b"".join(events[:-1]))
        said.set()
        await gate.wait()
        await response.write(events[-1])
        return response

    async with make_stage(lambda stage: [*stage.patient(), ruled("reply.tokens > 2000")(stage)[-1]]) as stage:
        stage.upstream.custom = paced
        waiting = asyncio.ensure_future(asked(stage, "chat", stream=True))
        await asyncio.wait_for(said.wait(), 5)
        done, _ = await asyncio.wait((waiting,), timeout=0.05)
        assert not done
        gate.set()
        status, _, data = await waiting
        assert status == 200
        assert data.endswith(b"[DONE]\n\n")


@pytest.mark.parametrize("mode", ["cut", "stall"])
async def test_a_held_stream_that_breaks_off_is_a_plain_error(make_stage, ended, mode):
    async with make_stage(ruled("reply.tokens > 2000"), on_finished=ended) as stage:
        stage.upstream.mode = mode
        status, headers, data = await asked(stage, "chat", stream=True)
        assert (status, headers["content-type"]) == ({"cut": 502, "stall": 504}[mode], "application/json")
        assert json.loads(data)["error"]["code"] == {"cut": "upstream_cut", "stall": "upstream_timeout"}[mode]
        assert [entry[0] for entry in ended.seen] == [status], "told once"


@both
async def test_a_rule_on_the_status_alone_speaks_before_the_first_byte(make_stage, dialect, stream):
    async with make_stage(ruled("reply.status == 200", buffer=False)) as stage:
        status, headers, data = await asked(stage, dialect, stream)
        assert (status, headers["content-type"].split(";")[0]) == (403, "application/json")
        assert b"three" not in data
        assert stage.records()[-1]["by"] == ["after/end"]


@both
async def test_an_upstreams_own_no_is_judged_as_a_reply_too(make_stage, dialect, stream):
    async with make_stage(ruled("reply.status == 429", buffer=False)) as stage:
        stage.upstream.mode, stage.upstream.status = "status", 429
        status, _, data = await asked(stage, dialect, stream)
        assert status == 403
        assert b"as told" not in data


@both
async def test_a_warning_of_a_response_rule_reaches_the_caller_and_the_record(make_stage, dialect, stream):
    async with make_stage(ruled("reply.status == 200", "warn", buffer=False, message="Kostet — viel.\nSehr viel: 5%")) as stage:
        status, headers, data = await asked(stage, dialect, stream)
        assert (status, data) == (200, stage.upstream.answers[0])
        assert headers["x-sidecar-warning"] == "Kostet %E2%80%94 viel. Sehr viel: 5%25"
        assert stage.records()[-1]["obligations"] == {"warn": ["Kostet — viel.\nSehr viel: 5%"]}


@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_rule_sees_of_proposals_is_what_the_client_would_see(make_stage, stream):
    """A proposal that was taken out is none: whole and streamed replies are judged alike."""
    seen = "reply.tool_calls.exists(t, t == 'rm') || !reply.tool_calls.exists(t, t == 'read')"
    lines = [{"role": "user", "content": "call read {}\ncall rm {}"}]
    async with make_stage(ruled(seen)) as stage:
        status, _, data = await asked(stage, "chat", stream, messages=lines, tools=TOOL)
        assert status == 200
        assert b"denied by tools/no-rm" in data
    assert [row["call"].get("tool", "") for row in stage.records()] == ["", "read", "rm", ""]


@both
async def test_an_audited_rule_on_the_end_holds_nothing_and_is_recorded(make_stage, dialect, stream):
    async with make_stage(ruled("reply.tokens > 2", mode="audit")) as stage:
        status, _, data = await asked(stage, dialect, stream)
        assert (status, data) == (200, stage.upstream.answers[0])
        row = stage.records()[-1]
        assert (row["effect"], [reason["rule"] for reason in row["would"]]) == ("allow", ["after/end"])
