"""A stream that outlives its configuration: past `maxSnapshotAge` it is decided again, under the new one, as of who began it."""

import asyncio
import json

import aiohttp
import pytest
from aiohttp import web

from sidecar.route.echo import answer
from sidecar.route.echo_script import Memory
from sidecar.testing import EPOCH, FrozenClock, document, write

AGE = 300
TURN = [{"role": "user", "content": "one two three four"}]
CALLS = [{"role": "user", "content": "call read {}\ncall write {}"}]
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("read", "write")]
DIALECTS = {
    "chat": ("/v1/chat/completions", {"model": "gpt-4o", "messages": TURN, "stream": True}),
    "responses": ("/v1/responses", {"model": "gpt-4o", "input": "one two three four", "stream": True}),
    "messages": ("/v1/messages", {"model": "claude-sonnet-5-5", "max_tokens": 99, "messages": TURN, "stream": True}),
    "gemini": ("/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", {"contents": [{"role": "user", "parts": [{"text": "one two three four"}]}]}),
}
NO_CHAT = document("Policy", "stop", match={"operation": ["chat"]}, rules=[{"name": "now", "effect": "deny", "message": "Stopped by hand."}])


class Long:
    """A stream that stops after `at` events until `gate` is open. `sent` is what came before."""

    def __init__(self, at=4):
        self.at, self.gate, self.held, self.events = at, asyncio.Event(), asyncio.Event(), ()

    async def __call__(self, request, body):
        self.events = answer(request.method, request.path_qs, json.loads(body), Memory()).body
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"".join(self.events[: self.at]))
        self.held.set()
        await self.gate.wait()
        for event in self.events[self.at :]:
            await response.write(event)
        return response


class Scene:
    """A stage under a frozen clock with one stream under way."""

    def __init__(self, stage, clock, long):
        self.stage, self.clock, self.long = stage, clock, long

    async def reload(self, *documents):
        write(self.stage.directory, *documents)
        assert await self.stage.sidecar.live.reload()

    async def rest(self, got):
        self.long.gate.set()
        return await got.content.read()


async def through(make_stage, dialect, change, *, seconds=AGE, **more):
    """Begin a stream, change the configuration, let time pass, and go on. Gives (stage, what came before, what came after)."""
    clock, long = FrozenClock(EPOCH), Long()
    path, body = DIALECTS[dialect]
    async with make_stage(lambda stage: stage.patient(), clock=clock) as stage:
        stage.upstream.custom = long
        scene, headers = Scene(stage, clock, long), {"authorization": f"Bearer {stage.tokens['dev']}"}
        async with asyncio.timeout(5), aiohttp.ClientSession() as session, session.post(stage.base + path, json={**body, **more}, headers=headers) as got:
            await long.held.wait()
            before = await got.content.readuntil(b"\n\n")
            await scene.reload(*change(stage))
            clock.move(seconds)
            after = await scene.rest(got)
        return stage.records(), long, before + after


def events(data):
    found = [line[6:] for line in data.decode().splitlines() if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in found]


def stopped(dialect, data):
    """Whether it ended in the dialect's own way of saying no."""
    end = events(data)
    if dialect == "chat":
        return end[-1] == "[DONE]" and end[-2]["choices"][0]["finish_reason"] == "content_filter"
    if dialect == "responses":
        return (end[-1]["type"], end[-1]["response"]["incomplete_details"]) == ("response.incomplete", {"reason": "content_filter"})
    if dialect == "messages":
        return (end[-2]["delta"]["stop_reason"], end[-1]["type"]) == ("refusal", "message_stop")
    return end[-1]["candidates"][0]["finishReason"] == "SAFETY"


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_stream_that_is_now_denied_ends_in_its_dialect(make_stage, dialect):
    rows, long, data = await through(make_stage, dialect, lambda stage: [*stage.patient(), NO_CHAT])
    assert data.startswith(b"".join(long.events[: long.at]))
    assert stopped(dialect, data)
    assert b"Stopped by hand." in data
    assert b"".join(long.events[long.at :])[:40] not in data[len(b"".join(long.events[: long.at])) :], "not an event more"
    assert [(row["effect"], row["by"]) for row in rows] == [("allow", ["base/known"]), ("deny", ["stop/now"])]
    assert rows[0]["snapshot"] != rows[1]["snapshot"]
    assert rows[1]["id"].encode() in data


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_stream_that_is_still_allowed_goes_on_untouched(make_stage, dialect):
    other = document("Policy", "other", rules=[{"name": "hot", "when": "call.params.?temperature.orValue(0) > 1.9", "effect": "deny"}])
    rows, long, data = await through(make_stage, dialect, lambda stage: [*stage.patient(), other])
    assert data == b"".join(long.events)
    assert [row["effect"] for row in rows] == ["allow", "allow"], "decided once more, and once only"


async def test_a_stream_younger_than_that_is_left_alone(make_stage):
    rows, long, data = await through(make_stage, "chat", lambda stage: [*stage.patient(), NO_CHAT], seconds=AGE - 1)
    assert data == b"".join(long.events)
    assert len(rows) == 1


async def test_a_key_that_was_taken_back_ends_its_streams(make_stage):
    def revoked(stage):
        made = stage.patient()
        keys = made[1]["spec"]["methods"][0]["apiKey"]["keys"]
        keys[:] = [key for key in keys if key["id"] != "dev"]
        return made

    rows, _, data = await through(make_stage, "chat", revoked)
    assert stopped("chat", data)
    assert rows[-1]["refusal"]["kind"] == "unauthenticated"


async def test_what_a_stream_proposes_after_that_is_judged_by_the_new_rules(make_stage):
    rule = document("Policy", "later", match={"operation": ["tool_call"], "target": ["write"]}, rules=[{"name": "no-write", "effect": "deny"}])
    rows, _, data = await through(make_stage, "chat", lambda stage: [*stage.patient(), rule], messages=CALLS, tools=TOOLS)
    assert b"denied by later/no-write" in data
    assert [(row["call"].get("tool", ""), row["effect"]) for row in rows] == [("", "allow"), ("read", "allow"), ("", "allow"), ("write", "deny")]


async def test_reloads_one_after_the_other_do_not_make_a_stream_young_again(make_stage):
    clock, long = FrozenClock(EPOCH), Long()
    path, body = DIALECTS["chat"]
    async with make_stage(lambda stage: stage.patient(), clock=clock) as stage:
        stage.upstream.custom = long
        scene, headers = Scene(stage, clock, long), {"authorization": f"Bearer {stage.tokens['dev']}"}
        async with asyncio.timeout(5), aiohttp.ClientSession() as session, session.post(stage.base + path, json=body, headers=headers) as got:
            await long.held.wait()
            for step in range(2):
                await scene.reload(*stage.patient(), {**NO_CHAT, "metadata": {"name": f"stop{step}"}})
                clock.move(AGE - 100)
            assert stopped("chat", await scene.rest(got))
