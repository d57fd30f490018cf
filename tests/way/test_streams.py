"""Streams on the wire: relayed as they arrive, ended truly, given up when nobody listens."""

import asyncio
import contextlib
import json

import aiohttp
import pytest
from aiohttp import web

from sidecar.route.echo import answer
from sidecar.route.echo_script import Memory

PATIENCE = 5
GEMINI = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
TURN = [{"role": "user", "content": "one two three"}]
DIALECTS = {
    "chat": ("/v1/chat/completions", {"model": "gpt-4o", "messages": TURN, "stream": True}),
    "completions": ("/v1/completions", {"model": "gpt-4o", "prompt": "one two three", "stream": True}),
    "responses": ("/v1/responses", {"model": "gpt-4o", "input": "one two three", "stream": True}),
    "messages": ("/v1/messages", {"model": "claude-sonnet-5-5", "max_tokens": 99, "messages": TURN, "stream": True}),
    "gemini": (GEMINI, {"contents": [{"role": "user", "parts": [{"text": "one two three"}]}]}),
}
ENDS = {"chat": b"[DONE]", "completions": b"[DONE]", "responses": b"response.completed", "messages": b"message_stop", "gemini": b'"finishReason"'}
every = pytest.mark.parametrize("dialect", DIALECTS)


class Paced:
    """An upstream that sends the echo's events, and waits for `gate` before event number `at`."""

    def __init__(self, at):
        self.at = at
        self.gate = asyncio.Event()
        self.came = asyncio.Event()
        self.events = ()

    async def __call__(self, request, body):
        self.events = answer(request.method, request.path_qs, json.loads(body), Memory(run="p")).body
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for number, event in enumerate(self.events):
            if number == self.at:
                self.came.set()
                await self.gate.wait()
            await response.write(event)
        return response


@contextlib.asynccontextmanager
async def asked(stage, dialect, token="dev", **more):
    path, body = DIALECTS[dialect]
    headers = {"authorization": f"Bearer {stage.tokens[token]}"}
    async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as session, session.post(stage.base + path, json={**body, **more}, headers=headers) as got:
        yield got


def heard(data):
    """The events' data, parsed."""
    found = [line[6:] for line in data.decode().splitlines() if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in found]


@every
async def test_the_first_event_arrives_before_the_upstream_has_sent_the_next(patient_stage, dialect):
    patient_stage.upstream.custom = paced = Paced(1)
    async with asked(patient_stage, dialect) as got:
        first = await got.content.readuntil(b"\n\n")
        assert first == paced.events[0]
        assert not paced.gate.is_set()
        paced.gate.set()
        assert await got.content.read() == b"".join(paced.events[1:])


@every
async def test_headers_go_out_before_the_first_event(patient_stage, dialect):
    patient_stage.upstream.custom = paced = Paced(0)
    async with asked(patient_stage, dialect) as got:
        assert got.status == 200
        assert got.content_type == "text/event-stream"
        assert got.headers["x-sidecar-decision"] == patient_stage.records()[-1]["id"]
        assert got.headers["x-request-id"]
        paced.gate.set()
        assert await got.content.read() == b"".join(paced.events)


@pytest.mark.parametrize("dialect", ["chat", "responses", "messages", "gemini"])
async def test_a_client_that_leaves_closes_the_upstream_call(patient_stage, dialect):
    patient_stage.upstream.custom = paced = Paced(1)
    async with asked(patient_stage, dialect) as got:
        await got.content.readuntil(b"\n\n")
        got.close()
        await patient_stage.upstream.closed.wait()
    assert not paced.gate.is_set()
    assert patient_stage.sidecar.live.current.core.health()["up-openai"] == "closed", "the upstream is not to blame"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_before_any_answer_closes_the_upstream_call(patient_stage, stream):
    begun = asyncio.Event()

    async def never(request, body):
        begun.set()
        await asyncio.Event().wait()

    patient_stage.upstream.custom = never
    waiting = asyncio.ensure_future(_whole(patient_stage, stream))
    await asyncio.wait_for(begun.wait(), PATIENCE)
    waiting.cancel()
    await asyncio.wait_for(patient_stage.upstream.closed.wait(), PATIENCE)


async def _whole(stage, stream):
    async with asked(stage, "chat", stream=stream) as got:
        await got.read()


async def test_a_slow_reader_slows_the_upstream(patient_stage):
    """Whatever the upstream has to say, only as much is taken as fits in bounded buffers."""
    sent, event = 0, b'data: {"id":"c","model":"gpt-4o","choices":[{"index":0,"delta":{"content":"' + b"x" * 65536 + b'"}}]}\n\n'

    async def flood(request, body):
        nonlocal sent
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        while True:
            await response.write(event)
            sent += len(event)

    patient_stage.upstream.custom = flood
    reader, writer = await asyncio.open_connection("127.0.0.1", patient_stage.port("data"), limit=4096)
    body = json.dumps(DIALECTS["chat"][1])
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {patient_stage.tokens['dev']}\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
    assert b"200" in await reader.readline()
    stuck = await _until_still(lambda: sent)
    assert 0 < stuck < 48 * 2**20
    while sent == stuck:
        await reader.readexactly(65536)
    writer.transport.abort()
    await asyncio.wait_for(patient_stage.upstream.closed.wait(), PATIENCE)


async def _until_still(measure, polls=5):
    """The value once it has stayed the same for some polls."""
    last, same = -1, 0
    while same < polls:
        await asyncio.sleep(0.02)
        same = same + 1 if measure() == last else 0
        last = measure()
    return last


def told(dialect, event):
    """The error code in a dialect's last event."""
    if dialect == "responses":
        return event["code"]
    if dialect == "messages":
        return event["error"]["details"]["error_code"]
    return event["error"]["code"] if dialect != "gemini" else event["error"]["details"][0]["reason"]


@every
@pytest.mark.parametrize("mode", ["cut", "stall"])
async def test_a_stream_that_breaks_off_ends_in_the_dialects_error_and_no_false_end(stage, dialect, mode):
    stage.upstream.mode = mode
    async with asked(stage, dialect) as got:
        data = await got.content.read()
    assert data.startswith(b"data" if dialect not in {"responses", "messages"} else b"event"), "what came before was relayed"
    events = heard(data)
    assert len(events) == stage.upstream.after + 1
    assert ENDS[dialect] not in data
    assert told(dialect, events[-1]).lower() == {"cut": "upstream_cut", "stall": "upstream_timeout"}[mode]
    assert stage.upstream.count == 1, "a stream that began is never tried again"


@pytest.mark.parametrize("dialect", ["chat", "responses", "messages", "gemini"])
async def test_an_event_that_is_no_json_ends_the_stream_with_an_error(stage, dialect):
    stage.upstream.custom = said(b"data: {nonsense}\n\n")
    async with asked(stage, dialect) as got:
        data = await got.content.read()
    assert told(dialect, heard(data)[-1]).lower() == "upstream_garbage"
    assert b"nonsense" not in data


def said(*events):
    """An upstream that says these very bytes."""

    async def answered(request, body):
        return web.Response(body=b"".join(events), headers={"content-type": "text/event-stream; charset=utf-8"})

    return answered


UNKNOWN = {
    "chat": b'event: new.kind\nid: 7\nretry: 10\ndata: {"object":"brand.new","choices":[]}\n\n: a comment\n\ndata: {"x_new":\r\ndata: 1}\r\n\r\n',
    "responses": b'event: response.brand_new.delta\ndata: {"type":"response.brand_new.delta","sequence_number":0,"x":[1]}\n\n: ping\n\n',
    "messages": b'event: brand_new\ndata: {"type":"brand_new","x":{"y":null}}\n\n: ping\n\n',
    "gemini": b': ping\n\ndata: {"brandNew":{"x":1}}\n\n',
}


@pytest.mark.parametrize("dialect", UNKNOWN)
async def test_events_that_nobody_knows_pass_as_their_own_bytes(stage, dialect):
    path, body = DIALECTS[dialect]
    known = answer("POST", path, body, Memory(run="u")).body
    whole = known[0] + UNKNOWN[dialect] + b"".join(known[1:]) if dialect == "messages" else UNKNOWN[dialect] + b"".join(known)
    stage.upstream.custom = said(whole)
    async with asked(stage, dialect) as got:
        assert await got.content.read() == whole


@every
async def test_a_body_of_json_for_a_stream_is_relayed_as_what_it_is(stage, dialect):
    """Some upstreams answer a stream whole: it is screened as a whole reply."""
    path, body = DIALECTS[dialect]
    plain = answer("POST", path.replace("streamG", "g"), {**body, "stream": False}, Memory(run="w")).body
    stage.upstream.custom = lambda _request, _body: _json(plain)
    async with asked(stage, dialect) as got:
        assert (got.content_type, await got.read()) == ("application/json", plain)


async def _json(body):
    return web.Response(body=body, content_type="application/json")


@pytest.mark.parametrize("dialect", ["chat", "completions", "responses", "messages"])
async def test_events_where_no_stream_was_asked_for_are_no_answer(stage, dialect):
    stage.upstream.custom = said(b'data: {"choices":[]}\n\n')
    async with asked(stage, dialect, stream=False) as got:
        assert got.status == 502
        assert b"choices" not in await got.read()
