"""What is counted of calls that nobody heard to their end: the provider worked for them all the same."""

import asyncio
import json

import aiohttp
import pytest
from aiohttp import web

from sidecar.route.echo import answer
from sidecar.route.echo_script import Memory
from sidecar.testing import EPOCH, FrozenClock, document, write

WORDS = " ".join(f"word{number}" for number in range(30))
MESSAGE = {"model": "claude-sonnet-5-5", "max_tokens": 400, "messages": [{"role": "user", "content": WORDS}]}
REMAINING = "x-ratelimit-remaining-tokens"


class Half:
    """All of a reply but its end, then nothing until `gate` is open."""

    def __init__(self):
        self.held, self.gate = asyncio.Event(), asyncio.Event()

    async def __call__(self, request, body):
        body = json.loads(body)
        said = answer(request.method, request.path_qs, body, Memory()).body
        response = web.StreamResponse(headers={"content-type": "text/event-stream" if body.get("stream") else "application/json"})
        await response.prepare(request)
        await response.write(b"".join(said[:-2]) if body.get("stream") else said[:-2])
        self.held.set()
        await self.gate.wait()
        await response.write(b"".join(said[-2:]) if body.get("stream") else said[-2:])
        return response


def asking(session, stage, path, body):
    return session.post(stage.base + path, json=body, headers={"authorization": f"Bearer {stage.tokens['dev']}"})


async def test_a_stream_ended_by_a_no_counts_what_was_said_and_not_what_its_start_told(make_stage, ended):
    """An Anthropic stream begins with `output_tokens: 1`; the true count comes at an end that is not waited for."""
    clock, half = FrozenClock(EPOCH), Half()
    async with make_stage(lambda stage: stage.patient(), clock=clock, on_finished=ended) as stage, aiohttp.ClientSession() as session:
        stage.upstream.custom = half
        async with asking(session, stage, "/v1/messages", {**MESSAGE, "stream": True}) as got:
            await half.held.wait()
            await got.content.readuntil(b"word29")
            write(stage.directory, *stage.patient(), document("Policy", "stop", match={"operation": ["chat"]}, rules=[{"name": "now", "effect": "deny"}]))
            assert await stage.sidecar.live.reload()
            clock.move(300)
            half.gate.set()
            assert b'"stop_reason":"refusal"' in await got.read()
        _, settlement = await ended.one(200)
        assert settlement.usage.estimated
        assert settlement.usage.output_tokens >= 60, "200 bytes and more were said"


@pytest.mark.parametrize("begun", [False, True])
async def test_a_client_that_leaves_a_whole_call_is_still_counted(make_stage, ended, begun):
    half, came = Half(), asyncio.Event()

    async def never(request, body):
        came.set()
        await asyncio.Event().wait()

    quota = document("Quota", "one", match={"subjects": ["key:dev"]}, limits=[{"metric": "concurrency", "max": 1}])
    async with make_stage(lambda stage: [*stage.patient(), quota], on_finished=ended) as stage:
        stage.upstream.custom = half if begun else never
        async with aiohttp.ClientSession() as session:
            waiting = asyncio.ensure_future(_read(session, stage))
            await asyncio.wait_for((half.held if begun else came).wait(), 5)
            waiting.cancel()
            decision, settlement = await ended.one(499)
            await asyncio.wait_for(stage.upstream.closed.wait(), 5)
            assert settlement.usage.input_tokens == decision.call.tokens > 0
            assert settlement.usage.estimated
            stage.upstream.custom = None
            async with asking(session, stage, "/v1/messages", MESSAGE) as again:
                assert again.status == 200, "the slot came back"


async def _read(session, stage):
    async with asking(session, stage, "/v1/messages", MESSAGE) as got:
        await got.read()


async def test_a_reply_that_comes_later_keeps_what_was_reserved_for_it(make_stage):
    """`background: true` answers at once without usage: settling with nothing would make it free."""
    queued = {"id": "resp_later", "object": "response", "status": "queued", "model": "gpt-4o", "output": [], "usage": None}

    async def later(request, body):
        return web.json_response(queued)

    quota = document(
        "Quota", "tokens", match={"subjects": ["key:dev"]}, limits=[{"metric": "tokens", "max": 10_000, "per": "1h"}, {"metric": "concurrency", "max": 1}]
    )
    async with make_stage(lambda stage: [*stage.documents(), quota], clock=FrozenClock(EPOCH)) as stage, aiohttp.ClientSession() as session:
        stage.upstream.custom = later
        left = []
        for _ in range(2):
            async with asking(session, stage, "/v1/responses", {"model": "gpt-4o", "input": "x", "background": True, "max_output_tokens": 1000}) as got:
                assert got.status == 200
                left.append(int(got.headers[REMAINING]))
            queued["id"] += "x"
        assert left[0] - left[1] >= 1000
