"""Many at once: 500 open streams, relayed in order, in bounded memory, all settled."""

import asyncio
import json
import resource
import time
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from sidecar.testing import document

STREAMS = 500
EVENTS = 4


def rss():
    """Resident bytes of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def room_for(files):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < files:
        pytest.skip("too few file descriptors here")
    if soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))


class Gates:
    """An upstream whose streams send their first event at once and each further one when its gate opens."""

    def __init__(self):
        self.gates = [asyncio.Event() for _ in range(EVENTS)]
        self.gates[0].set()

    async def __call__(self, request, body):
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        asked = json.loads(body)["messages"][0]["content"]
        for number, gate in enumerate(self.gates):
            await gate.wait()
            chunk = {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": f"{asked} {number}"}, "finish_reason": None}]}
            await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response


class Reader:
    """One client of a stream; `next` gives the words of one event."""

    def __init__(self, stage, session, name):
        headers = {"authorization": f"Bearer {stage.tokens['dev']}"}
        body = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": name}]}
        self.asking = session.post(f"{stage.base}/v1/chat/completions", json=body, headers=headers)
        self.name = name

    async def open(self):
        self.answer = await self.asking
        assert self.answer.status == 200
        return await self.next()

    async def next(self):
        line = await self.answer.content.readuntil(b"\n\n")
        return line if b"[DONE]" in line else json.loads(line[6:])["choices"][0]["delta"]["content"]


async def test_500_streams_at_once_are_relayed_in_order_and_all_settled(make_stage, fetch):
    room_for(4096)
    concurrency = {"match": {}, "limits": [{"metric": "concurrency", "max": STREAMS}]}
    async with make_stage(lambda stage: [*stage.patient(), document("Quota", "slots", **concurrency)]) as stage:
        stage.upstream.custom = gates = Gates()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            before, started = rss(), time.perf_counter()
            readers = [Reader(stage, session, f"caller-{number}") for number in range(STREAMS)]
            assert await asyncio.gather(*(reader.open() for reader in readers)) == [f"{reader.name} 0" for reader in readers]
            grown = rss() - before
            assert stage.sidecar.services.inflight == STREAMS
            assert stage.sidecar.counters.stats().pending == STREAMS
            extra = Reader(stage, session, "one too many")
            assert (await extra.asking).status == 429, "the quota holds them all"
            for number in range(1, EVENTS):
                gates.gates[number].set()
                assert await asyncio.gather(*(reader.next() for reader in readers)) == [f"{reader.name} {number}" for reader in readers]
            assert await asyncio.gather(*(reader.next() for reader in readers)) == [b"data: [DONE]\n\n"] * STREAMS
            print(f"{STREAMS} streams: {grown / 2**20:.0f} MiB for clients, sidecar and upstream together, {time.perf_counter() - started:.1f} s")
            assert grown < 150 * 2**20
            await settled(stage)
        assert "sidecar_inflight 0.0" in (await fetch(stage, "health", "/metrics")).text
        assert len(stage.records()) == STREAMS + 1


async def until(holds, seconds=10):
    """Wait for what nobody tells: counts and files."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def settled(stage):
    await until(lambda: not stage.sidecar.services.inflight and not stage.sidecar.counters.stats().pending)
    assert stage.sidecar.services.inflight_bytes == 0
