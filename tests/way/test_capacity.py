"""More than fits: every limit of calls, bytes and time, with its answer. Nothing that was turned away reaches the upstream."""

import asyncio
import contextlib
import gzip
import json

import aiohttp
import anthropic
import openai
import pytest

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}


async def until(holds, seconds=10):
    """Wait for what nobody tells: counts and files."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def settled(stage):
    await until(lambda: not stage.sidecar.services.inflight and not stage.sidecar.counters.stats().pending)
    assert stage.sidecar.services.inflight_bytes == 0


def limited(**limits):
    return lambda stage: stage.patient(limits=limits)


@contextlib.asynccontextmanager
async def full(stage, ask, count, **body):
    """Hold this many calls at the upstream; they are let go at the end, and must come out well."""
    gate = asyncio.Event()

    async def hold(request, body):
        await gate.wait()
        return await stage.upstream._answered(request, body)

    stage.upstream.custom = hold
    held = [asyncio.ensure_future(ask(stage, **body)) for _ in range(count)]
    await until(lambda: stage.upstream.count == count)
    try:
        yield gate
    finally:
        gate.set()
        assert {answer.status for answer in await asyncio.gather(*held)} == {200}
        await settled(stage)


PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages", "gemini": "/v1beta/models/gemini-2.5-flash:generateContent", "unknown": "/v1/files"}
SHAPES = {
    "openai": ("type", "server_error"),
    "anthropic": ("type", "overloaded_error"),
    "gemini": ("status", "UNAVAILABLE"),
    "unknown": ("type", "server_error"),
}


async def test_one_call_too_many_is_turned_away_at_once_in_its_dialect(make_stage, ask):
    async with make_stage(limited(inflight=2)) as stage:
        async with full(stage, ask, 2):
            for dialect, path in PATHS.items():
                answer = await ask(stage, path=path)
                assert (answer.status, answer.headers["retry-after"]) == (503, "1"), dialect
                assert "x-should-retry" not in answer.headers or answer.headers["x-should-retry"] == "true"
                field, expected = SHAPES[dialect]
                assert answer.json["error"][field] == expected
                assert answer.headers["x-sidecar-decision"] in {row["id"] for row in stage.records()}, "it can be asked about"
            assert stage.upstream.count == 2
        assert (await ask(stage)).status == 200, "and there is room again"


async def test_a_burst_never_gets_more_in_than_the_limit(make_stage, ask):
    async with make_stage(limited(inflight=5)) as stage:
        async with full(stage, ask, 5):
            answers = await asyncio.gather(*(ask(stage) for _ in range(40)))
            assert {answer.status for answer in answers} == {503}
        stage.upstream.custom, stage.upstream.mode = None, "hang"
        body = json.dumps(CHAT).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {stage.tokens['dev']}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        before = stage.upstream.count
        lines = [await asyncio.open_connection("127.0.0.1", stage.port("data")) for _ in range(60)]
        for _, writer in lines:
            writer.write(head.encode() + body)
        reading = [asyncio.ensure_future(reader.readuntil(b"\r\n")) for reader, _ in lines]
        await until(lambda: sum(task.done() for task in reading) == 55 and stage.upstream.count == before + 5)
        assert {task.result() for task in reading if task.done()} == {b"HTTP/1.1 503 Service Unavailable\r\n"}
        for task, (_, writer) in zip(reading, lines, strict=True):
            task.cancel()
            writer.transport.abort()
        await settled(stage)


async def test_the_sdks_wait_a_second_and_come_again(make_stage, ask):
    async with make_stage(limited(inflight=1)) as stage:
        one = openai.AsyncOpenAI(base_url=f"{stage.base}/v1", api_key=stage.tokens["dev"])
        two = anthropic.AsyncAnthropic(base_url=stage.base, api_key=stage.tokens["dev"])
        async with full(stage, ask, 1) as gate:
            coming = [one.chat.completions.create(**CHAT), two.messages.create(model="claude-sonnet-5-5", max_tokens=9, messages=CHAT["messages"])]
            asking = [asyncio.ensure_future(each) for each in coming]
            await until(lambda: sum(row["effect"] == "deny" for row in stage.records()) >= 2)
            gate.set()
            assert all(await asyncio.gather(*asking))
        refused = [row["refusal"]["code"] for row in stage.records() if row["effect"] == "deny"]
        assert set(refused) == {"over_capacity"}, "each attempt is a decision of its own"
        assert stage.upstream.count == 3
        await one.close()
        await two.close()


LONG = {"messages": [{"role": "user", "content": "x" * 40_000}]}


async def test_more_bytes_than_may_be_held_are_turned_away(make_stage, ask):
    async with make_stage(limited(inflightBytes="64KiB", body="64KiB")) as stage, full(stage, ask, 1, **LONG):
        assert (await ask(stage, **LONG)).status == 503
        chunked = await raw(stage, json.dumps({**CHAT, **LONG}).encode(), chunked=True)
        assert chunked == 503, "though it says no length"
        assert stage.upstream.count == 1


async def test_bodies_that_are_still_coming_are_held_too(make_stage, ask):
    async with make_stage(limited(inflightBytes="64KiB", body="64KiB", clientTimeout="5s")) as stage:
        lines = [await asyncio.open_connection("127.0.0.1", stage.port("data")) for _ in range(3)]
        head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 60000\r\n\r\n"
        for _, writer in lines:
            writer.write(head.encode() + b'{"x":"' + b"x" * 30_000)
        reading = [asyncio.ensure_future(reader.readuntil(b"\r\n")) for reader, _ in lines]
        done, waiting = await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED, timeout=5)
        assert [task.result() for task in done] == [b"HTTP/1.1 503 Service Unavailable\r\n"]
        assert len(waiting) == 2
        for task, (_, writer) in zip(reading, lines, strict=True):
            task.cancel()
            writer.transport.abort()
        await until(lambda: not stage.sidecar._listeners["data"].unread)
        assert (await ask(stage)).status == 200


async def raw(stage, body, *headers, chunked=False, path="/v1/chat/completions"):
    """The status of one request, whose body is sent in pieces."""

    async def pieces():
        for start in range(0, len(body), 8192):
            yield body[start : start + 8192]

    named = {"authorization": f"Bearer {stage.tokens['dev']}", "content-type": "application/json", **dict(headers)}
    async with aiohttp.ClientSession() as session, session.post(stage.base + path, data=pieces() if chunked else body, headers=named) as answer:
        said = await answer.json(content_type=None)
        assert said["error"]["message"]
        return answer.status


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1beta/models/gemini-2.5-flash:generateContent"])
async def test_a_body_over_the_limit_is_a_413_however_it_comes(make_stage, path):
    async with make_stage(limited(body="64KiB")) as stage:
        big = json.dumps({**CHAT, "user": "x" * 80_000}).encode()
        assert await raw(stage, big, path=path) == 413
        assert await raw(stage, big, chunked=True, path=path) == 413
        bomb = gzip.compress(b" " * 10_000_000)
        assert len(bomb) < 65536
        assert await raw(stage, bomb, ("content-encoding", "gzip"), path=path) == 413
        assert await raw(stage, bomb, ("content-encoding", "gzip"), path=path, chunked=True) == 413
        assert stage.upstream.count == 0
        assert [row["refusal"]["code"] for row in stage.records()] == ["too_large"] * 4


async def test_a_client_that_does_not_send_on_is_a_408(make_stage):
    start = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    slow = [
        start[:30],
        start,
        start + b"content-length: 50\r\n\r\n",
        start + b"content-length: 50\r\n\r\n{",
        start + b"transfer-encoding: chunked\r\n\r\n5\r\n{",
    ]

    async def wait(stage, data):
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port("data"))
        writer.write(data)
        async with asyncio.timeout(10):
            said = await reader.read()
        writer.close()
        return said.partition(b"\r\n")[0]

    async with make_stage(limited(clientTimeout="100ms")) as stage:
        assert set(await asyncio.gather(*(wait(stage, data) for data in slow))) == {b"HTTP/1.1 408 Request Timeout"}
        assert stage.upstream.count == 0
        assert [row["refusal"]["code"] for row in stage.records()] == ["timeout"] * len(slow)
